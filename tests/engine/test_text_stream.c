/* Streams of text: whole characters, stop strings, the same text as at once. Uses the demo model's tokenizer. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/sluice.h"

#define DEMO SLUICE_TEST_DIR "/../weights/demo"

static sluice_engine *open_tokenizer(void)
{
    sluice_engine *e;
    sluice_error error;
    sluice_engine_options o = sluice_engine_options_default();
    o.flags = SLUICE_OPEN_TOKENIZER_ONLY;
    cr_assert_eq(sluice_engine_open(&e, DEMO, &o, &error), SLUICE_OK, "%s", error.text);
    return e;
}

/* Streams `text` token by token; returns what came out (malloc'ed) and whether a stop ended it. */
static char *stream(const sluice_engine *e, const char *text, const char *const *stops, size_t n_stops, bool *stopped)
{
    int32_t ids[512];
    size_t n, length = 0, part;
    const char *piece;
    char *out = calloc(1, 8192);
    sluice_text_stream *s;
    cr_assert_eq(sluice_tokenize(e, text, strlen(text), 0, ids, 512, &n, NULL), SLUICE_OK);
    cr_assert_leq(n, 512);
    cr_assert_eq(sluice_text_stream_create(&s, e, SLUICE_TEXT_CONTINUE, stops, n_stops, NULL), SLUICE_OK);
    *stopped = false;
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(sluice_text_stream_push(s, ids[i], &piece, &part, stopped), SLUICE_OK);
        if (part) cr_expect_neq((unsigned char)piece[0] & 0xc0, 0x80, "a piece begins inside a character");
        memcpy(out + length, piece, part);
        length += part;
        if (*stopped) break;
    }
    cr_assert_eq(sluice_text_stream_finish(s, &piece, &part), SLUICE_OK);
    memcpy(out + length, piece, part);
    sluice_text_stream_free(&s);
    cr_expect_null(s);
    return out;
}

static void expect_stream(const char *text, const char *const *stops, size_t n_stops, const char *expected, bool stop)
{
    sluice_engine *e = open_tokenizer();
    bool stopped;
    char *out = stream(e, text, stops, n_stops, &stopped);
    cr_expect_str_eq(out, expected);
    cr_expect_eq(stopped, stop);
    free(out);
    sluice_engine_close(&e);
}

Test(text_stream, gives_the_whole_text_without_stops)
{
    const char *text = "Na\xc3\xafve caf\xc3\xa9 \xe2\x80\x94 "
                       "\xf0\x9f\x99\x82\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac \xe6\x97\xa5\xe6\x9c\xac.\n";
    expect_stream(text, NULL, 0, text, false);
}

Test(text_stream, stops_at_the_first_of_several_stop_strings)
{
    const char *stops[] = {"dragon", "the king", ""};
    expect_stream("Once there was the king and a dragon.", stops, 3, "Once there was ", true);
}

Test(text_stream, a_stop_string_across_token_borders_leaks_nothing)
{
    const char *stops[] = {"was a po"};
    expect_stream("There was a poor man", stops, 1, "There ", true);
}

Test(text_stream, what_only_began_like_a_stop_string_is_given_at_the_end)
{
    const char *stops[] = {"poor mango"};
    expect_stream("There was a poor man", stops, 1, "There was a poor man", false);
}

Test(text_stream, a_stop_string_at_the_beginning_gives_nothing)
{
    const char *stops[] = {"Once"};
    expect_stream("Once upon a time", stops, 1, "", true);
}

Test(text_stream, a_stop_string_that_begins_inside_a_character_run)
{
    const char *stops[] = {"\xc3\xa9 "};
    expect_stream("caf\xc3\xa9 noir", stops, 1, "caf", true);
}

Test(text_stream, detokenize_replaces_what_is_not_utf8)
{
    sluice_engine *e = open_tokenizer();
    int32_t ids[8];
    size_t n, length;
    char out[32];
    cr_assert_eq(sluice_tokenize(e, "\xf0\x9f\x99\x82", 4, 0, ids, 8, &n, NULL), SLUICE_OK);
    cr_assert_gt(n, 1, "the character takes several tokens, so its parts can be cut");
    cr_assert_eq(sluice_detokenize(e, ids, n - 1, 0, out, sizeof out, &length, NULL), SLUICE_OK);
    cr_expect(length >= 3 && memcmp(out, "\xef\xbf\xbd", 3) == 0);
    sluice_engine_close(&e);
}

Test(text_stream, special_tokens_in_text_are_text_unless_asked)
{
    sluice_engine *e = open_tokenizer();
    int32_t ids[32];
    size_t n;
    const char *text = "a<|im_end|>b";
    cr_assert_eq(sluice_tokenize(e, text, strlen(text), 0, ids, 32, &n, NULL), SLUICE_OK);
    for (size_t i = 0; i < n; i++) cr_expect_lt(ids[i], 4093);
    cr_assert_eq(sluice_tokenize(e, text, strlen(text), SLUICE_TEXT_SPECIAL, ids, 32, &n, NULL), SLUICE_OK);
    cr_assert_eq(n, 3);
    cr_expect_eq(ids[1], 4095);
    sluice_engine_close(&e);
}
