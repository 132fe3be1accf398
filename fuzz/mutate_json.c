/* Owns mutate_json. The text is read leniently: what matters is where values begin and end, and text around them, such
 * as the "--- NAME" lines of memory_files.h, is left alone. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mutate.h"

struct value {
    size_t begin, end;
    bool is_key;
};
enum { MAX_VALUES = 4096, MAX_TEXT = 1 << 20 };

static size_t end_of_string(const uint8_t *text, size_t n, size_t at)
{
    for (at++; at < n && text[at] != '"' && text[at] != '\n'; at++)
        if (text[at] == '\\') at++;
    return at < n ? at + 1 : n;
}

static size_t end_of_nest(const uint8_t *text, size_t n, size_t at)
{
    size_t depth = 0;
    while (at < n) {
        uint8_t c = text[at];
        if (c == '"') {
            at = end_of_string(text, n, at);
            continue;
        }
        at++;
        depth += c == '[' || c == '{';
        if ((c == ']' || c == '}') && --depth == 0) return at;
    }
    return n;
}

static bool in_word(uint8_t c) { return isalnum(c) || c == '-' || c == '+' || c == '.'; }

static bool is_key(const uint8_t *text, size_t n, size_t at)
{
    while (at < n && isspace(text[at])) at++;
    return at < n && text[at] == ':';
}

/* Where values begin, keys among them; nests have no end yet. */
static size_t find_values(const uint8_t *text, size_t n, struct value *out)
{
    size_t count = 0;
    for (size_t at = 0; at < n && count < MAX_VALUES;) {
        struct value v = {at, at + 1, false};
        bool is = true;
        if (text[at] == '"') {
            v.end = end_of_string(text, n, at);
            v.is_key = is_key(text, n, v.end);
            at = v.end;
        } else if (text[at] == '[' || text[at] == '{') {
            v.end = 0;
            at++;
        } else if (in_word(text[at])) {
            while (v.end < n && in_word(text[v.end])) v.end++;
            at = v.end;
        } else {
            is = false;
            at++;
        }
        if (is) out[count++] = v;
    }
    return count;
}

/* text [begin, end) becomes piece [piece_n]; the new length, or n when that does not fit. */
static size_t replace(uint8_t *text, size_t n, size_t capacity, size_t begin, size_t end, const void *piece,
                      size_t piece_n)
{
    if (n - (end - begin) + piece_n > capacity) return n;
    memmove(text + begin + piece_n, text + end, n - end);
    memcpy(text + begin, piece, piece_n);
    return n - (end - begin) + piece_n;
}

static size_t odd_value(char out[64], struct fuzz_random *r)
{
    static const char *const odd[] = {
        "0",     "1",    "-1",   "2",    "3",      "8",        "null",        "true", "false", "[]",   "{}",
        "\"\"",  "1.5",  "1e99", "1e400", "-0",    "NaN",      "Infinity",    "\"a\"", "[1,2]", "[[]]", "{\"a\":1}",
        "1e-9",  "0.5",  "16",   "32",   "64",     "1048577",  "4294967296",  "\"\\u0000\"", "\"\\ud800\"",
        "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
    };
    enum { N_ODD = sizeof odd / sizeof *odd };
    size_t which = fuzz_below(r, N_ODD + N_ODD / 4);
    if (which < N_ODD) return (size_t)snprintf(out, 64, "%s", odd[which]);
    return (size_t)snprintf(out, 64, "%lld", (long long)fuzz_awkward(r));
}

/* Another number near the one that stands there. */
static size_t near_value(char out[64], const uint8_t *text, struct value v, struct fuzz_random *r)
{
    char digits[32] = "";
    long long number = 0;
    size_t n = v.end - v.begin < sizeof digits ? v.end - v.begin : sizeof digits - 1;
    memcpy(digits, text + v.begin, n);
    sscanf(digits, "%lld", &number);
    unsigned long long u = (unsigned long long)number;
    switch (fuzz_below(r, 5)) {
    case 0: u += 1; break;
    case 1: u -= 1; break;
    case 2: u *= 2; break;
    case 3: u /= 2; break;
    default: u = 0 - u;
    }
    return (size_t)snprintf(out, 64, "%lld", (long long)u);
}

/* Takes a value away, with its key and one comma. */
static size_t remove_value(uint8_t *text, size_t n, struct value v)
{
    size_t begin = v.begin, end = v.end;
    if (v.is_key) {
        while (end < n && text[end] != ',' && text[end] != '}')
            end = text[end] == '"' ? end_of_string(text, n, end)
                                   : text[end] == '[' || text[end] == '{' ? end_of_nest(text, n, end) : end + 1;
    }
    while (end < n && isspace(text[end])) end++;
    if (end < n && text[end] == ',') {
        end++;
    } else {
        while (begin > 0 && isspace(text[begin - 1])) begin--;
        if (begin > 0 && text[begin - 1] == ',') begin--;
    }
    memmove(text + begin, text + end, n - end);
    return n - (end - begin);
}

static size_t change_string(uint8_t *text, size_t n, size_t capacity, struct value v, struct fuzz_random *r)
{
    uint8_t piece[512];
    size_t piece_n = v.end - v.begin - 2;
    if (v.end - v.begin < 2 || piece_n > 256) return n;
    memcpy(piece, text + v.begin + 1, piece_n);
    piece_n = LLVMFuzzerMutate(piece, piece_n, 256 + fuzz_below(r, 256));
    if (fuzz_below(r, 8)) /* mostly stays one string */
        for (size_t i = 0; i < piece_n; i++)
            if (piece[i] == '"' || piece[i] < 0x20 || (piece[i] >= 0x80 && fuzz_below(r, 8))) piece[i] = 'a';
    return replace(text, n, capacity, v.begin + 1, v.end - 1, piece, piece_n);
}

/* A copy of one value takes the place of another, or stands before it. */
static size_t copy_value(uint8_t *text, size_t n, size_t capacity, struct value from, struct value to, bool before)
{
    static uint8_t piece[65536];
    size_t piece_n = from.end - from.begin;
    if (piece_n + 1 > sizeof piece) return n;
    memcpy(piece, text + from.begin, piece_n);
    if (before) piece[piece_n++] = to.is_key ? ':' : ',';
    return replace(text, n, capacity, to.begin, before ? to.begin : to.end, piece, piece_n);
}

/* The key and its value once more. */
static size_t repeat_member(uint8_t *text, size_t n, size_t capacity, struct value v)
{
    static uint8_t piece[65536];
    size_t end = v.end;
    while (end < n && text[end] != ',' && text[end] != '}')
        end = text[end] == '"' ? end_of_string(text, n, end)
                               : text[end] == '[' || text[end] == '{' ? end_of_nest(text, n, end) : end + 1;
    size_t piece_n = end - v.begin;
    if (piece_n + 1 > sizeof piece) return n;
    memcpy(piece, text + v.begin, piece_n);
    piece[piece_n++] = ',';
    return replace(text, n, capacity, v.begin, v.begin, piece, piece_n);
}

static size_t nest(uint8_t *text, size_t n, size_t capacity, struct value v, struct fuzz_random *r)
{
    uint8_t open[100], close[100];
    size_t depth = fuzz_below(r, 8) ? 1 : 1 + fuzz_below(r, sizeof open);
    memset(open, '[', depth);
    memset(close, ']', depth);
    size_t longer = replace(text, n, capacity, v.end, v.end, close, depth);
    return longer == n ? n : replace(text, longer, capacity, v.begin, v.begin, open, depth);
}

static size_t mutate_once(uint8_t *text, size_t n, size_t capacity, struct fuzz_random *r)
{
    static struct value values[MAX_VALUES];
    char piece[64];
    size_t count = find_values(text, n, values);
    if (count == 0) return LLVMFuzzerMutate(text, n, capacity);
    struct value v = values[fuzz_below(r, count)], other = values[fuzz_below(r, count)];
    if (!v.end) v.end = end_of_nest(text, n, v.begin);
    if (!other.end) other.end = end_of_nest(text, n, other.begin);
    bool is_string = text[v.begin] == '"', is_number = text[v.begin] == '-' || isdigit(text[v.begin]);
    switch (fuzz_below(r, 10)) {
    case 0: return remove_value(text, n, v);
    case 1: return copy_value(text, n, capacity, other, v, false);
    case 2: return copy_value(text, n, capacity, other, v, true);
    case 3: return nest(text, n, capacity, v, r);
    case 4: return v.is_key ? repeat_member(text, n, capacity, v) : copy_value(text, n, capacity, v, v, true);
    case 5: return replace(text, n, capacity, v.begin, v.end, piece, odd_value(piece, r));
    default:
        if (is_string) return change_string(text, n, capacity, v, r);
        return replace(text, n, capacity, v.begin, v.end, piece,
                       is_number && fuzz_below(r, 2) ? near_value(piece, text, v, r) : odd_value(piece, r));
    }
}

size_t mutate_json(uint8_t *data, size_t n, size_t capacity, struct fuzz_random *r)
{
    if (n > MAX_TEXT || fuzz_below(r, 8) == 0) return LLVMFuzzerMutate(data, n, capacity);
    for (size_t i = 0, times = 1 + fuzz_below(r, 3); i < times; i++) n = mutate_once(data, n, capacity, r);
    return n;
}
