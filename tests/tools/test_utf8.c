/* Tests of tools/utf8.c. */
#include <criterion/criterion.h>

#include <string.h>

#include "tools/utf8.h"

Test(utf8, valid_sequences_have_their_length)
{
    uint32_t c = 0;
    cr_expect_eq(utf8_sequence("a", 1, &c), 1);
    cr_expect_eq(c, 'a');
    cr_expect_eq(utf8_sequence("\xc3\xa9", 2, &c), 2);
    cr_expect_eq(c, 0xe9);
    cr_expect_eq(utf8_sequence("\xe2\x82\xac", 3, &c), 3);
    cr_expect_eq(c, 0x20ac);
    cr_expect_eq(utf8_sequence("\xf4\x8f\xbf\xbf", 4, &c), 4);
    cr_expect_eq(c, 0x10ffff);
    cr_expect_eq(utf8_sequence("\0", 1, &c), 1);
    cr_expect_eq(c, 0);
}

Test(utf8, what_is_not_utf8_has_no_length)
{
    static const char *const wrong[] = {
        "\x80",
        "\xc3",
        "\xc3(",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xe2\x82",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq(utf8_sequence(wrong[i], strlen(wrong[i]), NULL), 0, "case %zu", i);
    cr_expect_eq(utf8_sequence("", 0, NULL), 0);
}

Test(utf8, the_valid_prefix_ends_at_the_first_wrong_byte)
{
    cr_expect_eq(utf8_prefix("abc", 3), 3);
    cr_expect_eq(utf8_prefix("a\xc3\xa9\xff"
                             "b",
                             5),
                 3);
    cr_expect_eq(utf8_prefix("a\xc3", 2), 1);
    cr_expect_eq(utf8_prefix("", 0), 0);
}
