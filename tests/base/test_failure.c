/* The sentence of a failure: never longer than its room, one line, safe to print. */
#include "base/failure.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(failure, fail_records_status_and_sentence)
{
    struct failure f;
    cr_expect_eq((int)fail(&f, SLUICE_FORMAT, "%s: found %d", "a.json", 7), (int)SLUICE_FORMAT);
    cr_expect_eq((int)f.status, (int)SLUICE_FORMAT);
    cr_expect_str_eq(f.text, "a.json: found 7");
}

Test(failure, nobody_has_to_want_the_sentence)
{
    cr_expect_eq((int)fail(NULL, SLUICE_IO, "x"), (int)SLUICE_IO);
    fail_in(NULL, "x");
}

Test(failure, a_later_failure_replaces_an_earlier_one)
{
    struct failure f;
    fail(&f, SLUICE_FORMAT, "a long first sentence");
    fail(&f, SLUICE_MEMORY, "second");
    cr_expect_eq((int)f.status, (int)SLUICE_MEMORY);
    cr_expect_str_eq(f.text, "second");
}

Test(failure, line_breaks_become_spaces)
{
    struct failure f;
    fail(&f, SLUICE_FORMAT, "a\nb\r\nc\n");
    cr_expect_str_eq(f.text, "a b  c ");
}

Test(failure, a_long_sentence_is_cut)
{
    char *text = malloc(2 * FAILURE_TEXT_BYTES);
    cr_assert(text);
    for (int n = FAILURE_TEXT_BYTES - 3; n <= FAILURE_TEXT_BYTES + 3; n++) {
        struct failure f;
        memset(text, 'x', (size_t)n);
        text[n] = 0;
        fail(&f, SLUICE_FORMAT, "%s", text);
        cr_expect_eq((int)strlen(f.text), n < FAILURE_TEXT_BYTES ? n : FAILURE_TEXT_BYTES - 1);
    }
    free(text);
}

Test(failure, fail_in_puts_the_place_before_the_sentence)
{
    struct failure f;
    fail(&f, SLUICE_UNSUPPORTED, "type F8");
    cr_expect_eq((int)fail_in(&f, "tensor \"a\""), (int)SLUICE_UNSUPPORTED);
    cr_expect_eq((int)fail_in(&f, "m.safetensors"), (int)SLUICE_UNSUPPORTED);
    cr_expect_str_eq(f.text, "m.safetensors: tensor \"a\": type F8");
}

/* Sentence and prefix of every awkward length: the beginning stays, the end is cut. */
Test(failure, fail_in_never_leaves_its_room)
{
    static const int sentences[] = {0, 1, 3000, FAILURE_TEXT_BYTES - 4, FAILURE_TEXT_BYTES - 3, FAILURE_TEXT_BYTES - 1};
    static const int prefixes[] = {0, 1, 511, 512, 513, 5000};
    char *text = malloc(8192);
    cr_assert(text);
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
        for (size_t j = 0; j < sizeof prefixes / sizeof *prefixes; j++) {
            int prefix = prefixes[j] < 512 ? prefixes[j] : 512, whole = prefix + 2 + sentences[i];
            struct failure f;
            memset(text, 's', 8191);
            text[sentences[i]] = 0;
            fail(&f, SLUICE_FORMAT, "%s", text);
            memset(text, 'p', 8191);
            text[prefixes[j]] = 0;
            fail_in(&f, text);
            cr_expect_eq((int)strlen(f.text), whole < FAILURE_TEXT_BYTES ? whole : FAILURE_TEXT_BYTES - 1);
            cr_expect_eq((int)strspn(f.text, "p"), prefix);
            cr_expect_eq(memcmp(f.text + prefix, ": ", 2), 0);
            cr_expect_eq(strspn(f.text + prefix + 2, "s"), strlen(f.text + prefix + 2));
        }
    free(text);
}

/* ---- escape_text ------------------------------------------------------------------------------------------------- */

Test(failure, escape_shows_every_byte_in_printable_ascii)
{
    for (int c = 0; c < 256; c++) {
        char out[8 + 1], expected[8], text = (char)c;
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            snprintf(expected, sizeof expected, "%c", c);
        else
            snprintf(expected, sizeof expected, "\\x%02x", (unsigned)c);
        cr_expect_str_eq(escape_text(out, sizeof out, &text, 1), expected);
    }
}

Test(failure, escape_cuts_after_64_source_bytes)
{
    char out[ESCAPED_BYTES], expected[ESCAPED_BYTES], text[80];
    memset(text, 'a', sizeof text);
    for (int n = 0; n <= 80; n++) {
        snprintf(expected, sizeof expected, "%.*s%s", n < 64 ? n : 64, text, n > 64 ? "..." : "");
        cr_expect_str_eq(escape_text(out, sizeof out, text, (size_t)n), expected, "%d bytes", n);
    }
}

Test(failure, escaped_bytes_is_room_for_64_bytes_that_all_need_escaping)
{
    char out[ESCAPED_BYTES], text[65];
    memset(text, 1, sizeof text);
    cr_expect_eq(strlen(escape_text(out, sizeof out, text, 64)), 64u * 4u);
    cr_expect_eq(strlen(escape_text(out, sizeof out, text, 65)), 64u * 4u + 3u);
}

/* Buffers of exactly `cap` bytes on the heap, where a sanitizer sees a write behind them. */
Test(failure, escape_respects_the_smallest_buffers)
{
    char plain[100], control[100], mixed[100];
    memset(plain, 'a', sizeof plain);
    memset(control, '\n', sizeof control);
    for (size_t i = 0; i < sizeof mixed; i++) mixed[i] = i % 3 ? 'b' : '\x7f';
    const char *const texts[] = {plain, control, mixed};
    for (size_t cap = 8; cap <= ESCAPED_BYTES + 8; cap++)
        for (size_t n = 0; n <= 70; n++)
            for (int i = 0; i < 3; i++) {
                char *out = malloc(cap);
                cr_assert(out);
                memset(out, '#', cap);
                escape_text(out, cap, texts[i], n);
                const char *end = memchr(out, 0, cap);
                cr_assert(end, "no NUL: capacity %zu, %zu bytes", cap, n);
                for (const char *p = out; p < end; p++) { /* only whole escapes */
                    cr_assert(*p >= 0x20 && *p < 0x7f);
                    if (*p == '\\') cr_assert(end - p >= 4 && p[1] == 'x');
                }
                if (n > 64) cr_assert(end - out >= 3 && strcmp(end - 3, "...") == 0);
                free(out);
            }
}

Test(failure, sizes_have_one_decimal_and_a_unit)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0 bytes"},           {999, "999 bytes"},    {1000, "1.0 kB"},
                 {999949, "999.9 kB"},     {999950, "1.0 MB"},    {35568384, "35.6 MB"},
                 {999950000, "1.0 GB"},    {61100000000, "61.1 GB"}, {UINT64_MAX, "18446744073.7 GB"}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char out[SIZE_BYTES];
        cr_expect_str_eq(size_text(out, sizes[i].bytes), sizes[i].text, "%s", out);
    }
}
