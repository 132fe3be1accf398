/* Owns the translation of regular expressions: Oniguruma's Ruby syntax, which tokenizer.json files are written in, to
 * PCRE2's. Mostly a copy; the differences that matter:
 *
 *   here              in PCRE2                     because
 *   \s \S             \p{White_Space} and not      PCRE2 counts U+180E as a blank
 *   \w                a class of properties        PCRE2 10.42 leaves out marks and connectors
 *   \p{Han}           \p{sc:Han}                   PCRE2 means "Han and what is used with it"
 *   \h \v \uHHHH      [0-9a-fA-F] \x0b \x{HHHH}    other meanings
 *   \p{S}             with newer emoji            PCRE2 10.42 has Unicode 14, the reference 16
 *   {1,3}+            (?:x{1,3})+                  possessive in PCRE2, a loop of loops in Ruby
 *   {,3}              {0,3}                        literal text in PCRE2
 *   (?m:              (?s:                         dot matches newline
 *   [a&&[^b]]         (?:(?![b])[a])               no such thing in PCRE2
 *
 * What is not known to mean the same is refused with its offset: recursion, callouts, verbs, conditions, \C, \K, \R,
 * \X, POSIX classes, nested classes elsewhere. Read next: pattern.c. */
#include <stdio.h>
#include <string.h>

#include "text/pattern.h"
#include "text/vocab_internal.h"

/* Symbols of Unicode 15 and 16, and the block that later ones go to. Other new characters are left out: rare scripts,
 * whose letters then stand as pieces of their own. */
#define NEW_SYMBOLS "\\x{1f6dc}\\x{1f774}-\\x{1f77f}\\x{1f7d9}\\x{1fa70}-\\x{1faff}"
#define WORD_CLASS  "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

struct translation {
    const char *in;
    size_t n, at;
    struct text_buffer *out;
    size_t groups[MAX_PATTERN_DEPTH]; /* where in out each open group begins */
    size_t depth;
    size_t atom; /* where in out the thing begins that a quantifier would repeat */
    struct failure *f;
};

static sluice_status refuse(struct translation *t, size_t offset)
{
    return fail(t->f, SLUICE_UNSUPPORTED, "pattern is not supported (offset %zu)", offset);
}

static sluice_status put(struct translation *t, const char *text, size_t n)
{
    return text_buffer_append(t->out, text, n) ? fail_memory(t->f, NULL) : SLUICE_OK;
}

static sluice_status put_text(struct translation *t, const char *text) { return put(t, text, strlen(text)); }

static bool next_is(const struct translation *t, const char *text)
{
    size_t n = strlen(text);
    return t->n - t->at >= n && memcmp(t->in + t->at, text, n) == 0;
}

static bool is_alnum(char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'); }

/* \p{Name}, \P{Name}, \p{^Name}; `at` is after the p. One or two letters are a general category, the few long names
 * below are properties, all other long names scripts. */
static sluice_status put_property(struct translation *t, char kind, bool in_class)
{
    static const char *const properties[] = {"Alphabetic", "White_Space", "Uppercase", "Lowercase", "Emoji", "Any"};
    size_t begin = t->at, name = begin + 1;
    bool negated = next_is(t, "{^");
    if (negated) name++;
    size_t end = name;
    while (end < t->n && (is_alnum(t->in[end]) || t->in[end] == '_')) end++;
    if (!next_is(t, "{") || end >= t->n || t->in[end] != '}' || end == name || end - name > 32) return refuse(t, begin);
    bool script = end - name > 2;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if (strlen(properties[i]) == end - name && memcmp(properties[i], t->in + name, end - name) == 0) script = false;
    t->at = end + 1;
    size_t bytes = end - name;
    const int shown = (int)bytes; /* bounded: at most 32 */
    bool symbols = (bytes == 1 && t->in[name] == 'S') || (bytes == 2 && memcmp(t->in + name, "So", 2) == 0);
    char text[128];
    if (symbols && !negated && (kind == 'p' || !in_class)) {
        const char *open = in_class ? "" : kind == 'p' ? "[" : "[^";
        snprintf(text, sizeof text, "%s\\p{%.*s}" NEW_SYMBOLS "%s", open, shown, t->in + name, in_class ? "" : "]");
        return put_text(t, text);
    }
    snprintf(text, sizeof text, "\\%c{%s%s%.*s}", kind, negated ? "^" : "", script ? "sc:" : "", shown, t->in + name);
    return put_text(t, text);
}

/* \xHH (ASCII only: above, Ruby means a byte), \x{H...}, \uHHHH. */
static sluice_status put_code_point(struct translation *t, char kind, size_t offset)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    bool braces = kind == 'x' && next_is(t, "{");
    if (braces) t->at++;
    size_t n = 0;
    while (n < 6 && t->at + n < t->n && memchr(hex, t->in[t->at + n], sizeof hex - 1)) n++;
    size_t wanted = kind == 'u' ? 4 : 2;
    if (!braces && n > wanted) n = wanted;
    if (n == 0 || (!braces && n != wanted)) return refuse(t, offset);
    if (kind == 'x' && !braces && t->in[t->at] > '7') return refuse(t, offset);
    char text[16];
    snprintf(text, sizeof text, "\\x{%.*s}", (int)n, t->in + t->at);
    t->at += n;
    if (braces && !next_is(t, "}")) return refuse(t, offset);
    if (braces) t->at++;
    return put_text(t, text);
}

static sluice_status put_escape(struct translation *t, bool in_class)
{
    size_t offset = t->at++;
    if (t->at >= t->n) return refuse(t, offset);
    char c = t->in[t->at++];
    switch (c) {
    case 's': return put_text(t, "\\p{White_Space}");
    case 'S': return put_text(t, "\\P{White_Space}");
    case 'w': return put_text(t, in_class ? WORD_CLASS : "[" WORD_CLASS "]");
    case 'W': return in_class ? refuse(t, offset) : put_text(t, "[^" WORD_CLASS "]");
    case 'h': return put_text(t, in_class ? "0-9a-fA-F" : "[0-9a-fA-F]");
    case 'v': return put_text(t, "\\x0b");
    case 'p':
    case 'P': return put_property(t, c, in_class);
    case 'x':
    case 'u': return put_code_point(t, c, offset);
    case 'd':
    case 'D':
    case 'r':
    case 'n':
    case 't':
    case 'f':
    case 'a':
    case 'e': return put(t, t->in + offset, 2);
    case 'b':
    case 'B':
    case 'A':
    case 'z':
    case 'Z': return in_class ? refuse(t, offset) : put(t, t->in + offset, 2);
    default: break;
    }
    if (c >= '1' && c <= '9' && !in_class) return put(t, t->in + offset, 2);
    if (is_alnum(c)) return refuse(t, offset);
    if ((unsigned char)c < 0x80) return put(t, t->in + offset, 2);
    t->at--; /* the caller copies the character; it needs no backslash */
    return SLUICE_OK;
}

/* A class without inner classes, from its '[' to its ']'. With `stop_at_and` it may end before "&&" instead; then the
 * ']' is added. */
static sluice_status put_class(struct translation *t, bool stop_at_and)
{
    size_t offset = t->at;
    sluice_status status = put(t, "[", 1);
    t->at++;
    if (!status && next_is(t, "^")) {
        status = put(t, "^", 1);
        t->at++;
    }
    if (next_is(t, "]")) return refuse(t, offset);
    while (!status) {
        if (t->at >= t->n) return refuse(t, offset);
        if (next_is(t, "[")) return refuse(t, t->at);
        if (next_is(t, "&&")) return stop_at_and ? put(t, "]", 1) : refuse(t, t->at);
        char c = t->in[t->at];
        if (c == '\\') {
            status = put_escape(t, true);
            continue;
        }
        status = put(t, &c, 1);
        t->at++;
        if (c == ']') break;
    }
    return status;
}

/* [a], or [a&&[b]], or [a&&[^b]]: the second and third as a look-ahead and a class. Only a first part that is not
 * negated, since ^ would apply to the whole. */
static sluice_status put_class_or_intersection(struct translation *t)
{
    size_t begin = t->at, scan = t->at + 1;
    bool intersection = false;
    for (; scan < t->n && t->in[scan] != ']' && !intersection; scan++) {
        if (t->in[scan] == '\\')
            scan++;
        else
            intersection = scan + 1 < t->n && t->in[scan] == '&' && t->in[scan + 1] == '&';
    }
    if (!intersection) return put_class(t, false);
    if (t->in[begin + 1] == '^') return refuse(t, begin);
    struct translation second = *t;
    second.at = scan + 1;
    if (second.at >= t->n || t->in[second.at] != '[') return refuse(t, scan - 1);
    sluice_status status = put_text(t, "(?:(?=");
    if (!status) status = put_class(&second, false);
    if (!status) status = put_text(t, ")");
    if (!status) status = put_class(t, true);
    if (!status) status = put_text(t, ")");
    if (status) return status;
    t->at = second.at;
    if (!next_is(t, "]")) return refuse(t, t->at);
    t->at++;
    return SLUICE_OK;
}

/* (?i) (?mi-x: and so on; `at` is after "(?". Ruby's m is PCRE2's s; its x is refused. A switch without a group of its
 * own reaches over '|' in Ruby only when nothing stands before it, so it may stand only there. */
static sluice_status put_flags(struct translation *t, size_t offset)
{
    sluice_status status = put_text(t, "(?");
    for (; !status && t->at < t->n; t->at++) {
        char c = t->in[t->at];
        if (c == 'i' || c == '-')
            status = put(t, &c, 1);
        else if (c == 'm')
            status = put(t, "s", 1);
        else
            break;
    }
    if (status) return status;
    bool at_front = offset == 0 || t->in[offset - 1] == '(';
    if (!next_is(t, ":") && !(next_is(t, ")") && at_front)) return refuse(t, offset);
    return put(t, t->in + t->at++, 1);
}

static sluice_status put_group(struct translation *t)
{
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    size_t offset = t->at, begin = t->out->n;
    if (t->depth == MAX_PATTERN_DEPTH || next_is(t, "(*")) return refuse(t, offset);
    t->groups[t->depth++] = begin;
    t->atom = begin;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (next_is(t, kinds[i])) {
            t->at += strlen(kinds[i]);
            return put_text(t, kinds[i]);
        }
    t->at++;
    if (!next_is(t, "?")) return put(t, "(", 1);
    t->at++;
    sluice_status status = put_flags(t, offset);
    if (!status && t->in[t->at - 1] == ')') t->depth--; /* a switch, not a group */
    return status;
}

/* "{n}", "{n,}", "{n,m}", "{,m}" at `at`: its length, or 0 when the brace is text. */
static size_t interval_bytes(const struct translation *t)
{
    size_t i = t->at + 1, digits = 0, commas = 0;
    for (; i < t->n && ((t->in[i] >= '0' && t->in[i] <= '9') || (t->in[i] == ',' && commas == 0)); i++) {
        if (t->in[i] == ',')
            commas++;
        else
            digits++;
    }
    return i < t->n && t->in[i] == '}' && digits > 0 ? i + 1 - t->at : 0;
}

static sluice_status put_interval(struct translation *t, size_t n)
{
    bool no_minimum = t->in[t->at + 1] == ',', exact = !memchr(t->in + t->at, ',', n);
    sluice_status status = put_text(t, no_minimum ? "{0" : "{");
    if (!status) status = put(t, t->in + t->at + 1, n - 1);
    t->at += n;
    if (status) return status;
    if (next_is(t, "?")) return exact ? refuse(t, t->at) : put(t, t->in + t->at++, 1);
    if (!next_is(t, "+")) return SLUICE_OK;
    /* Wrap what is repeated: "x{1,3}" becomes "(?:x{1,3})", and the plus follows. */
    if ((status = put_text(t, "(?:"))) return status;
    memmove(t->out->data + t->atom + 3, t->out->data + t->atom, t->out->n - 3 - t->atom);
    memcpy(t->out->data + t->atom, "(?:", 3);
    t->at++;
    return put_text(t, ")+");
}

static sluice_status put_next(struct translation *t)
{
    char c = t->in[t->at];
    if (c == '*' || c == '+' || c == '?') {
        sluice_status status = put(t, &c, 1);
        t->at++;
        if (!status && (next_is(t, "?") || next_is(t, "+"))) status = put(t, t->in + t->at++, 1);
        return status;
    }
    size_t interval = c == '{' ? interval_bytes(t) : 0;
    if (interval) return put_interval(t, interval);
    if (c == ')') {
        if (t->depth == 0) return refuse(t, t->at);
        t->atom = t->groups[--t->depth];
        t->at++;
        return put(t, ")", 1);
    }
    if (c == '(') return put_group(t);
    t->atom = t->out->n;
    if (c == '\\') return put_escape(t, false);
    if (c == '[') return put_class_or_intersection(t);
    if (c == '{') return t->at++, put_text(t, "\\{");
    int32_t ignored;
    size_t n = utf8_read(t->in + t->at, &ignored);
    t->at += n;
    return put(t, t->in + t->at - n, n);
}

sluice_status pattern_translate(struct text_buffer *out, const char *text, size_t n, struct failure *f)
{
    struct translation t = {.in = text, .n = n, .out = out, .f = f};
    /* "Blanks at the end of a line" tries again at every blank of a long run that ends elsewhere: quadratic. A match
     * cannot begin inside a run if none began at its start, so the rest of the run is skipped in one look back. */
    if (n == 4 && memcmp(text, "\\s+$", 4) == 0) return put_text(&t, "(?<!\\p{White_Space})\\p{White_Space}+$");
    while (t.at < n) {
        sluice_status status = put_next(&t);
        if (status) return status;
    }
    return t.depth ? refuse(&t, n) : SLUICE_OK;
}
