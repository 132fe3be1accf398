/* Owns the JSON grammar (see json_events.h). An explicit stack of one bit per level replaces recursion, so hostile
 * nesting costs nothing. */
#include "base/json_events.h"

#include <string.h>

#include "base/checked.h"

enum expect { VALUE, FIRST_VALUE, FIRST_KEY, NEXT_KEY, COMMA, NOTHING };

void json_start(struct json_reader *r, const char *text, size_t n)
{
    *r = (struct json_reader){.text = text, .n = n, .expect = VALUE};
}

/* Length 1..4 of the UTF-8 sequence at p (n bytes left), 0 when there is none: no overlong forms, no surrogates,
 * nothing above U+10FFFF. */
static size_t utf8_length(const char *p, size_t n)
{
    const unsigned char *s = (const unsigned char *)p;
    if (s[0] < 0x80) return 1;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < length) return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0;
    if (s[0] == 0xed && s[1] > 0x9f) return 0;
    if (s[0] == 0xf0 && s[1] < 0x90) return 0;
    if (s[0] == 0xf4 && s[1] > 0x8f) return 0;
    return length;
}

static enum json_event problem(struct json_reader *r, size_t at, enum json_problem kind, const char *reason)
{
    if (at < r->n && utf8_length(r->text + at, r->n - at) == 0) {
        kind = JSON_NOT_UTF8;
        reason = "not UTF-8";
    }
    r->problem = kind;
    r->problem_at = at;
    r->reason = reason;
    return EVENT_ERROR;
}

static enum json_event wrong(struct json_reader *r, const char *reason)
{
    return problem(r, r->at, JSON_SYNTAX, r->at < r->n ? reason : "the text ends too early");
}

static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static bool is_digit(const struct json_reader *r, size_t at)
{
    return at < r->n && r->text[at] >= '0' && r->text[at] <= '9';
}

static void skip_blanks(struct json_reader *r)
{
    while (r->at < r->n) {
        char c = r->text[r->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
        r->at++;
    }
}

/* At the backslash; moves behind the escape. */
static bool read_escape(struct json_reader *r)
{
    r->at++;
    if (r->at == r->n) return false;
    char c = r->text[r->at++];
    if (c != 'u') return c && strchr("\"\\/bfnrt", c) != NULL;
    for (int i = 0; i < 4; i++, r->at++)
        if (r->at == r->n || !is_hex(r->text[r->at])) return false;
    return true;
}

/* At the opening quote; moves behind the closing one. `event` is EVENT_KEY or EVENT_STRING. */
static enum json_event read_string(struct json_reader *r, enum json_event event)
{
    size_t begin = ++r->at;
    while (r->at < r->n) {
        unsigned char c = (unsigned char)r->text[r->at];
        if (c == '"') {
            r->raw = r->text + begin;
            r->raw_n = r->at - begin;
            r->at++;
            return event;
        }
        size_t escape_at = r->at;
        if (c < 0x20) return wrong(r, "control character in a string");
        if (c == '\\') {
            if (!read_escape(r)) return problem(r, escape_at, JSON_SYNTAX, "unknown escape in a string");
        } else {
            size_t length = utf8_length(r->text + r->at, r->n - r->at);
            if (length == 0) return wrong(r, "not UTF-8");
            r->at += length;
        }
    }
    return wrong(r, "");
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static enum json_event read_number(struct json_reader *r)
{
    size_t begin = r->at;
    if (r->text[r->at] == '-') r->at++;
    if (!is_digit(r, r->at)) return wrong(r, "a digit is missing");
    if (r->text[r->at] == '0')
        r->at++;
    else
        while (is_digit(r, r->at)) r->at++;
    if (r->at < r->n && r->text[r->at] == '.') {
        r->at++;
        if (!is_digit(r, r->at)) return wrong(r, "a digit is missing");
        while (is_digit(r, r->at)) r->at++;
    }
    if (r->at < r->n && (r->text[r->at] == 'e' || r->text[r->at] == 'E')) {
        r->at++;
        if (r->at < r->n && (r->text[r->at] == '+' || r->text[r->at] == '-')) r->at++;
        if (!is_digit(r, r->at)) return wrong(r, "a digit is missing");
        while (is_digit(r, r->at)) r->at++;
    }
    r->raw = r->text + begin;
    r->raw_n = r->at - begin;
    return EVENT_NUMBER;
}

static bool starts_with(const struct json_reader *r, const char *word)
{
    size_t n = strlen(word);
    return r->n - r->at >= n && memcmp(r->text + r->at, word, n) == 0;
}

static enum json_event read_word(struct json_reader *r, const char *word, enum json_event event)
{
    if (!starts_with(r, word)) return wrong(r, "unknown word");
    r->raw = r->text + r->at;
    r->raw_n = strlen(word);
    r->at += r->raw_n;
    return event;
}

static enum json_event open_container(struct json_reader *r, bool object)
{
    if (r->depth == JSON_MAX_DEPTH) return problem(r, r->at, JSON_TOO_DEEP, "nested too deep");
    r->raw = r->text + r->at++;
    r->raw_n = 1;
    r->in_object[r->depth++] = object;
    r->expect = object ? FIRST_KEY : FIRST_VALUE;
    return object ? EVENT_OBJECT_OPEN : EVENT_ARRAY_OPEN;
}

static enum json_event close_container(struct json_reader *r)
{
    r->raw = r->text + r->at++;
    r->raw_n = 1;
    r->depth--;
    r->expect = r->depth ? COMMA : NOTHING;
    return r->in_object[r->depth] ? EVENT_OBJECT_CLOSE : EVENT_ARRAY_CLOSE;
}

static enum json_event read_value(struct json_reader *r)
{
    char c = r->text[r->at];
    if (c == '{' || c == '[') return open_container(r, c == '{');
    if (starts_with(r, "NaN") || starts_with(r, "Infinity") || starts_with(r, "-Infinity"))
        return problem(r, r->at, JSON_NOT_FINITE, "NaN and Infinity are not JSON");
    r->expect = r->depth ? COMMA : NOTHING;
    if (c == '"') return read_string(r, EVENT_STRING);
    if (c == '-' || is_digit(r, r->at)) return read_number(r);
    if (c == 't') return read_word(r, "true", EVENT_TRUE);
    if (c == 'f') return read_word(r, "false", EVENT_FALSE);
    if (c == 'n') return read_word(r, "null", EVENT_NULL);
    return wrong(r, "a value is missing");
}

static enum json_event read_key(struct json_reader *r)
{
    if (r->text[r->at] != '"') return wrong(r, "a key in quotes is missing");
    if (read_string(r, EVENT_KEY) == EVENT_ERROR) return EVENT_ERROR;
    skip_blanks(r);
    if (r->at == r->n || r->text[r->at] != ':') return wrong(r, "':' is missing");
    r->at++;
    r->expect = VALUE;
    return EVENT_KEY;
}

enum json_event json_next(struct json_reader *r)
{
    if (r->problem) return EVENT_ERROR;
    skip_blanks(r);
    if (r->expect == COMMA && r->at < r->n && r->text[r->at] == ',') {
        r->at++;
        r->expect = r->in_object[r->depth - 1] ? NEXT_KEY : VALUE;
        skip_blanks(r);
    }
    if (r->at == r->n) return r->expect == NOTHING ? EVENT_END : wrong(r, "");

    char c = r->text[r->at];
    switch (r->expect) {
    case VALUE: return read_value(r);
    case FIRST_VALUE: return c == ']' ? close_container(r) : read_value(r);
    case FIRST_KEY: return c == '}' ? close_container(r) : read_key(r);
    case NEXT_KEY: return read_key(r);
    case COMMA:
        if (r->in_object[r->depth - 1]) return c == '}' ? close_container(r) : wrong(r, "',' or '}' is missing");
        return c == ']' ? close_container(r) : wrong(r, "',' or ']' is missing");
    default: return wrong(r, "text after the end");
    }
}

bool json_skip(struct json_reader *r, enum json_event opened)
{
    if (opened != EVENT_OBJECT_OPEN && opened != EVENT_ARRAY_OPEN) return opened != EVENT_ERROR;
    size_t outer = r->depth - 1;
    while (r->depth > outer)
        if (json_next(r) == EVENT_ERROR) return false;
    return true;
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

static bool unescape(const struct json_reader *r, bool nul, char *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t o = 0;
    for (size_t i = 0; i < r->raw_n;) {
        char c = r->raw[i++];
        if (c != '\\') {
            out[o++] = c;
            continue;
        }
        c = r->raw[i++];
        if (c != 'u') {
            out[o++] = to[strchr(from, c) - from];
            continue;
        }
        uint32_t code = hex4(r->raw + i);
        i += 4;
        if (code >= 0xd800 && code < 0xdc00 && r->raw_n - i >= 6 && r->raw[i] == '\\' && r->raw[i + 1] == 'u') {
            uint32_t low = hex4(r->raw + i + 2);
            if (low < 0xdc00 || low > 0xdfff) return false;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            i += 6;
        }
        if ((code == 0 && !nul) || (code >= 0xd800 && code < 0xe000)) return false;
        o += put_utf8(out + o, code);
    }
    out[o] = 0;
    *n = o;
    return true;
}

bool json_text(const struct json_reader *r, char *out, size_t *n) { return unescape(r, false, out, n); }
bool json_text_with_nul(const struct json_reader *r, char *out, size_t *n) { return unescape(r, true, out, n); }

bool json_text_is(const struct json_reader *r, const char *text)
{
    return r->raw_n == strlen(text) && memcmp(r->raw, text, r->raw_n) == 0;
}

bool json_u64(const struct json_reader *r, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < r->raw_n; i++) {
        char c = r->raw[i];
        if (c < '0' || c > '9') return false;
        if (!checked_mul(&v, v, 10) || !checked_add(&v, v, (uint64_t)(c - '0'))) return false;
    }
    *out = v;
    return true;
}

sluice_status json_fail(const struct json_reader *r, const char *place, struct failure *f)
{
    if (r->problem == JSON_TOO_DEEP)
        fail(f, SLUICE_FORMAT, "JSON nested deeper than %d", JSON_MAX_DEPTH);
    else if (r->problem == JSON_NOT_FINITE)
        fail(f, SLUICE_FORMAT, "%s (byte %zu)", r->reason, r->problem_at);
    else
        fail(f, SLUICE_FORMAT, "JSON error at byte %zu: %s", r->problem_at, r->reason);
    return place ? fail_in(f, place) : SLUICE_FORMAT;
}
