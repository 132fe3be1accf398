/* Owns the check of UTF-8 for the tools (RFC 3629). */
#include "utf8.h"

size_t utf8_sequence(const char *text, size_t n, uint32_t *code_point)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0) return 0;
    unsigned char lead = (unsigned char)text[0];
    size_t length = lead < 0x80 ? 1 : (lead >> 5) == 6 ? 2 : (lead >> 4) == 14 ? 3 : (lead >> 3) == 30 ? 4 : 0;
    if (length == 0 || length > n) return 0;
    uint32_t value = length == 1 ? lead : lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c & 0xc0) != 0x80) return 0;
        value = value << 6 | (c & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 0;
    if (code_point) *code_point = value;
    return length;
}

size_t utf8_prefix(const char *text, size_t n)
{
    size_t at = 0, length;
    while (at < n && (length = utf8_sequence(text + at, n - at, NULL)) > 0) at += length;
    return at;
}
