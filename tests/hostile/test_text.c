/* Rows K17 and K24 of the catalogue (hostile.h), which no opening can find: patterns and added tokens that are sound by
 * themselves and make the encoding of some text explode, and tokens whose bytes are never UTF-8. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/sluice.h"
#include "tests/support/folder.h"
#include "text/vocab_internal.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(hostile_text, .init = create, .fini = destroy);

static sluice_engine *open_text(const char *tokenizer)
{
    sluice_engine *e = NULL;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    o.flags = SLUICE_OPEN_TOKENIZER_ONLY;
    folder_write_text(&folder, "tokenizer.json", tokenizer);
    cr_assert_eq(sluice_engine_open(&e, folder.path, &o, &error), SLUICE_OK, "%s", error.text);
    return e;
}

/* A tokenizer of a and b with these other parts: `"normalizer": ...,`. */
static sluice_engine *open_parts(const char *parts)
{
    char text[8192 + 128];
    snprintf(text, sizeof text,
             "{%.8191s \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}", parts);
    return open_text(text);
}

static sluice_engine *open_split(const char *pattern)
{
    char parts[4096];
    snprintf(parts, sizeof parts,
             "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"%s\"}, \"behavior\": \"Isolated\"},",
             pattern);
    return open_parts(parts);
}

/* `n` times "a", then "b". */
static char *run_of(size_t n)
{
    char *text = malloc(n + 1);
    cr_assert_not_null(text);
    memset(text, 'a', n);
    text[n] = 'b';
    return text;
}

static void expect_refused(sluice_engine *e, size_t n_a, const char *line)
{
    char *text = run_of(n_a);
    sluice_error error = {0};
    size_t n = 7;
    cr_expect_eq(sluice_tokenize(e, text, n_a + 1, 0, NULL, 0, &n, &error), SLUICE_ARGUMENT, "%s", error.text);
    cr_expect_str_eq(error.text, line);
    cr_expect_eq(n, 0);
    cr_expect_eq(sluice_tokenize(e, "ab", 2, 0, NULL, 0, &n, &error), SLUICE_OK, "the engine goes on");
    cr_expect_eq(n, 2);
    free(text);
    sluice_engine_close(&e);
}

static const char limit[] = "input: pattern exceeded its match limit";

/* One place takes all the steps. */
Test(hostile_text, a_pattern_that_never_ends)
{
    expect_refused(open_split("(a+)+$"), 40, limit);
    expect_refused(open_split("(a|aa)+$"), 100, limit);
    expect_refused(open_split("(a*)*[xy]"), 40, limit);
    expect_refused(open_split("([ab]+a)*[xy]"), 100000, limit);
    expect_refused(open_split("(?=(a+)+$)[ab]"), 40, limit);
    expect_refused(open_split("(a*?a*?a*?a*?a*?)[xy]"), 2000, limit);
}

/* Every place takes fewer steps than one match may, and there are many of them. */
Test(hostile_text, a_pattern_that_is_slow_everywhere, .timeout = 600)
{
    expect_refused(open_split("(?:a?){15}a{15}[xy]"), 100000, limit);
    expect_refused(open_split("(?:a|a){14}[xy]"), 100000, limit);
    expect_refused(open_split("a+a[xy]"), 100000, limit);
}

/* The limits leave honest patterns alone: these give a run back once, or never. */
Test(hostile_text, long_runs_are_no_crime, .timeout = 600)
{
    static const char *const patterns[] = {"a*[xy]+|a+(?!b)|a+", "(?:a{1,3})+", "a", "a+?", "[^\\\\s]?a+|b+",
                                           "a*[cd]|a*[ef]|a*[gh]|a+"};
    enum { N = 1 << 20 };
    char *text = run_of(N);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        sluice_engine *e = open_split(patterns[i]);
        sluice_error error = {0};
        size_t n = 0;
        cr_expect_eq(sluice_tokenize(e, text, N + 1, 0, NULL, 0, &n, &error), SLUICE_OK, "%s: %s", patterns[i],
                     error.text);
        cr_expect_eq(n, N + 1, "%s: %zu tokens", patterns[i], n);
        sluice_engine_close(&e);
    }
    free(text);
}

/* A text may not grow without bound on its way, whatever step makes it. */
Test(hostile_text, texts_that_grow)
{
    char parts[8192] = "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [";
    for (int i = 0; i < 32; i++)
        strcat(parts, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aa\"},");
    memcpy(parts + strlen(parts) - 1, "]},", 4);
    sluice_engine *e = open_parts(parts);
    sluice_error error = {0};
    size_t n = 7;
    cr_expect_eq(sluice_tokenize(e, "a", 1, 0, NULL, 0, &n, &error), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "input: grows beyond 1048640 bytes");
    cr_expect_eq(n, 0);
    cr_expect_eq(sluice_tokenize(e, "b", 1, 0, NULL, 0, &n, &error), SLUICE_OK);
    sluice_engine_close(&e);
}

/* ---- bytes that are no text -------------------------------------------------------------------------------------- */

/* Token i is byte i; then a few fragments. The decoder is byte-level, or by byte fallback. */
static sluice_engine *open_bytes(bool fallback)
{
    char text[16384];
    size_t n = (size_t)snprintf(text, sizeof text,
                                "{\"decoder\": {\"type\": \"%s\"}, \"pre_tokenizer\": %s, \"model\": {\"type\": "
                                "\"BPE\", \"merges\": [], \"byte_fallback\": %s, \"vocab\": {",
                                fallback ? "ByteFallback" : "ByteLevel",
                                fallback ? "null" : "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}",
                                fallback ? "true" : "false");
    for (unsigned byte = 0; byte < 256; byte++) {
        char c[8] = "", spelled[16];
        utf8_write(c, byte_to_char(byte));
        if (fallback)
            snprintf(spelled, sizeof spelled, "<0x%02X>", byte);
        else
            snprintf(spelled, sizeof spelled, "%s%s", c[0] == '"' || c[0] == '\\' ? "\\" : "", c);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\": %u", byte ? ", " : "", spelled, byte);
    }
    snprintf(text + n, sizeof text - n, "}}}");
    return open_text(text);
}

static bool is_utf8(const char *text, size_t n) { return utf8_valid_bytes(text, n) == n; }

/* At once and as a stream: no error, valid UTF-8 in every piece, and the same text. */
static void check_decoded(const sluice_engine *e, const int32_t *ids, size_t n_ids)
{
    char whole[8192], streamed[8192];
    size_t n = 0, n_streamed = 0, part;
    const char *piece;
    bool stopped;
    sluice_error error = {0};
    sluice_text_stream *s = NULL;
    cr_assert_eq(sluice_detokenize(e, ids, n_ids, 0, whole, sizeof whole, &n, &error), SLUICE_OK, "%s", error.text);
    cr_assert_leq(n, sizeof whole);
    cr_expect(is_utf8(whole, n));
    cr_assert_eq(sluice_text_stream_create(&s, e, 0, NULL, 0, &error), SLUICE_OK);
    for (size_t i = 0; i <= n_ids; i++) {
        sluice_status status = i < n_ids ? sluice_text_stream_push(s, ids[i], &piece, &part, &stopped)
                                         : sluice_text_stream_finish(s, &piece, &part);
        cr_assert_eq(status, SLUICE_OK);
        cr_expect(is_utf8(piece, part), "token %zu", i);
        cr_assert_leq(n_streamed + part, sizeof streamed);
        memcpy(streamed + n_streamed, piece, part);
        n_streamed += part;
    }
    cr_expect(n == n_streamed && memcmp(whole, streamed, n) == 0, "%.*s and %.*s", (int)n, whole, (int)n_streamed,
              streamed);
    sluice_text_stream_free(&s);
}

Test(hostile_text, bytes_that_are_never_text_are_replaced)
{
    static const struct {
        int32_t ids[8];
        size_t n;
        const char *level, *fallback; /* U+FFFD for each broken character, or for each byte of one */
    } cases[] = {
        {{0xff}, 1, "\xef\xbf\xbd", "\xef\xbf\xbd"},
        {{0x80, 0x80}, 2, "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd"},
        {{0xc3}, 1, "\xef\xbf\xbd", "\xef\xbf\xbd"},
        {{0xc3, 0x28}, 2, "\xef\xbf\xbd(", "\xef\xbf\xbd("},
        {{0xf0, 0x9f, 0x99}, 3, "\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {{0xf0, 0x9f, 0x99, 0x82}, 4, "\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82"},
        {{0xc0, 0x80}, 2, "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd"},
        {{'a', 0xed, 0xa0, 0x80, 'b'}, 5, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" "b",
         "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" "b"},
    };
    for (int fallback = 0; fallback < 2; fallback++) {
        sluice_engine *e = open_bytes(fallback);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *expected = fallback ? cases[i].fallback : cases[i].level;
            char text[64];
            size_t n = 0;
            cr_assert_eq(sluice_detokenize(e, cases[i].ids, cases[i].n, 0, text, sizeof text, &n, NULL), SLUICE_OK);
            cr_expect(n == strlen(expected) && memcmp(text, expected, n) == 0, "case %zu: \"%.*s\"", i, (int)n, text);
            check_decoded(e, cases[i].ids, cases[i].n);
        }
        sluice_engine_close(&e);
    }
}

/* Any bytes in any order, ids that no token has among them. */
Test(hostile_text, all_bytes_in_many_orders)
{
    for (int fallback = 0; fallback < 2; fallback++) {
        sluice_engine *e = open_bytes(fallback);
        int32_t ids[1024];
        uint32_t random = 1;
        for (int round = 0; round < 200; round++) {
            for (size_t i = 0; i < 1024; i++) {
                random = random * 1664525u + 1013904223u;
                ids[i] = (int32_t)(random >> 24);
                if (round % 3 == 1) ids[i] |= 0x80; /* hardly any text */
                if (round % 3 == 2 && random % 64 == 0) ids[i] = (int32_t)random;
            }
            check_decoded(e, ids, round == 0 ? 0 : 1024);
        }
        sluice_engine_close(&e);
    }
}
