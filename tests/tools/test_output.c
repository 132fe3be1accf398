/* Tests of the texts that tools/output.c makes. */
#include <criterion/criterion.h>

#include <string.h>

#include "tools/output.h"

static void expect_quoted(const char *bytes, size_t n, size_t cap, const char *expected)
{
    char out[64];
    memset(out, '#', sizeof out);
    cr_assert_leq(cap, sizeof out - 1);
    cr_expect_str_eq(quote_bytes(out, cap, bytes, n), expected);
    cr_expect_eq(out[cap], '#', "written beyond the end");
}

Test(output, quoting_keeps_text_and_escapes_the_rest)
{
    expect_quoted("a\xc3\xa9", 3, 63, "\"a\xc3\xa9\"");
    expect_quoted("\"\\\n\t\r", 5, 63, "\"\\\"\\\\\\n\\t\\r\"");
    expect_quoted("\0\x1b\x7f\xff", 4, 63, "\"\\x00\\x1b\\x7f\\xff\"");
    expect_quoted("\xc2\x9b", 2, 63, "\"\\xc2\\x9b\"");
    expect_quoted("", 0, 16, "\"\"");
    expect_quoted("aaaaaaaaaaaaaaaaaaaaaaaa", 24, 16, "\"aaaaaaaaaa\"...");
    expect_quoted("\xff\xff\xff\xff\xff", 5, 16, "\"\\xff\\xff\"...");
}

Test(output, numbers_are_readable)
{
    cr_expect_str_eq(human_bytes(999).text, "999 B");
    cr_expect_str_eq(human_bytes(16.4e6).text, "16.4 MB");
    cr_expect_str_eq(human_bytes(61.06e9).text, "61.1 GB");
    cr_expect_str_eq(human_bytes(999.7).text, "1 kB");
    cr_expect_str_eq(human_count(0).text, "0");
    cr_expect_str_eq(human_count(30.532e9).text, "30.5 billion");
}
