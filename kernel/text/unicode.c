/* Owns what the tokenizer asks about single characters: UTF-8, classes, and the byte-level alphabet. Unicode's tables
 * are utf8proc's (15.0). Read next: normalize.c. */
#include <utf8proc.h>

#include "text/vocab_internal.h"

int utf8_check(const unsigned char *bytes, size_t n)
{
    unsigned lead = bytes[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0) return -1;
    /* The second byte has a smaller range after four leads: overlong forms, surrogates, beyond U+10FFFF. */
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < length; i++) {
        if (i == n) return 0;
        if (bytes[i] < low || bytes[i] > high) return -1;
        low = 0x80;
        high = 0xbf;
    }
    return (int)length;
}

size_t utf8_valid_bytes(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        int bytes = utf8_check((const unsigned char *)text + at, n - at);
        if (bytes <= 0) break;
        at += (size_t)bytes;
    }
    return at;
}

size_t utf8_read(const char *text, int32_t *c)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) {
        *c = s[0];
        return 1;
    }
    if (s[0] < 0xe0) {
        *c = (s[0] & 0x1f) << 6 | (s[1] & 0x3f);
        return 2;
    }
    if (s[0] < 0xf0) {
        *c = (s[0] & 0x0f) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
        return 3;
    }
    *c = (s[0] & 0x07) << 18 | (s[1] & 0x3f) << 12 | (s[2] & 0x3f) << 6 | (s[3] & 0x3f);
    return 4;
}

size_t utf8_write(char out[4], int32_t c) { return (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)out); }

size_t utf8_back(const char *text, size_t at, int32_t *c)
{
    size_t start = at - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80) start--;
    return utf8_read(text + start, c);
}

bool is_white_space(int32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_numeric(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool is_decimal(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_ND; }

bool is_punctuation(int32_t c)
{
    if (c < 0x80) return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z');
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_mark(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

/* \w of Unicode's regular expressions (UTS 18): alphabetic, marks, decimal digits, connectors, joiners. The circled
 * and squared letters are symbols by category but alphabetic by property. */
bool is_word(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) return true;
    if (category == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d) return true;
    return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189);
}

/* Byte-level texts show each byte as one printable character: printable Latin-1 as itself, the 68 others as U+0100
 * and up, in order. */
static bool is_printable_byte(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

int32_t byte_to_char(unsigned byte)
{
    if (is_printable_byte(byte)) return (int32_t)byte;
    if (byte <= 0x20) return (int32_t)(0x100 + byte);
    if (byte <= 0xa0) return (int32_t)(0x121 + byte - 0x7f);
    return 0x143; /* 0xad, the soft hyphen */
}

int char_to_byte(int32_t c)
{
    if (c < 0x100) return c >= 0 && is_printable_byte((unsigned)c) ? c : -1;
    if (c <= 0x120) return c - 0x100;
    if (c <= 0x142) return c - 0x121 + 0x7f;
    return c == 0x143 ? 0xad : -1;
}
