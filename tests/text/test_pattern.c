/* The dialect: what regular expressions of tokenizer.json mean, where PCRE2 means something else. */
#include <criterion/criterion.h>
#include <string.h>

#include "text/pattern.h"
#include "text/vocab.h"

/* Marks the matches of `pattern` in `text` with brackets and compares. */
static void check(const char *pattern, const char *text, const char *expected)
{
    struct pattern *p;
    struct failure f = {0};
    cr_assert_eq(pattern_create(&p, pattern, strlen(pattern), false, &f), SLUICE_OK, "%s: %s", pattern, f.text);
    struct matcher m = {0};
    struct match_walk walk = {0};
    struct text_buffer out = {0};
    size_t start, end, done = 0;
    bool found;
    while (pattern_next(p, &m, text, strlen(text), &walk, &start, &end, &found, &f) == SLUICE_OK && found) {
        text_buffer_append(&out, text + done, start - done);
        text_buffer_append(&out, "[", 1);
        text_buffer_append(&out, text + start, end - start);
        text_buffer_append(&out, "]", 1);
        done = end;
    }
    text_buffer_append(&out, text + done, strlen(text) - done + 1);
    cr_expect_str_eq(out.data, expected, "%s: %s", pattern, out.data);
    text_buffer_free(&out);
    matcher_free(&m);
    pattern_free(p);
}

static void check_refused(const char *pattern)
{
    struct pattern *p;
    struct failure f = {0};
    cr_expect_eq(pattern_create(&p, pattern, strlen(pattern), false, &f), SLUICE_UNSUPPORTED, "%s", pattern);
    cr_expect_null(p);
}

Test(pattern, blanks_are_white_space)
{
    check("\\s+",
          "a \xc2\xa0\xe3\x80\x80"
          "b\xe1\xa0\x8e"
          "c",
          "a[ \xc2\xa0\xe3\x80\x80]b\xe1\xa0\x8e"
          "c");
    check("[^\\s]+", "a \xe1\xa0\x8e", "[a] [\xe1\xa0\x8e]");
    check("\\S", "\xe1\xa0\x8e", "[\xe1\xa0\x8e]");
}

Test(pattern, words_have_marks_and_connectors)
{
    check("\\w+", "a\xcc\x81_b-c", "[a\xcc\x81_b]-[c]");
    check("\\W", "a_-", "a_[-]");
    check("[\\w-]+", "a_- b", "[a_-] [b]");
}

Test(pattern, other_letters_after_a_backslash)
{
    check("\\h+", "0aFg", "[0aF]g");
    check("[\\hx]+", "0xFFg", "[0xFF]g");
    check("\\v", "a\vb\n", "a[\v]b\n");
    check("\\u4e2d|\\x{41}|\\x42",
          "\xe4\xb8\xad"
          "ABC",
          "[\xe4\xb8\xad][A][B]C");
    check("\\\xe4\xb8\xad", "\xe4\xb8\xad", "[\xe4\xb8\xad]");
    check("\\{\\}\\-", "{}-", "[{}-]");
}

Test(pattern, scripts_are_not_script_extensions)
{
    check("\\p{Han}+", "\xe4\xb8\xad\xe3\x83\xbc", "[\xe4\xb8\xad]\xe3\x83\xbc");
    check("\\p{^Han}",
          "\xe4\xb8\xad"
          "a",
          "\xe4\xb8\xad[a]");
}

Test(pattern, new_emoji_are_symbols)
{
    check(" ?\\p{S}+", " \xf0\x9f\xa9\xb7", "[ \xf0\x9f\xa9\xb7]");
    check("[\\p{S}x]+", "x\xf0\x9f\xa9\xb7", "[x\xf0\x9f\xa9\xb7]");
    check("\\P{S}",
          "\xf0\x9f\xa9\xb7"
          "a",
          "\xf0\x9f\xa9\xb7[a]");
}

Test(pattern, intervals)
{
    check("a{2,3}+b?", "aaaaa", "[aaaaa]");
    check("(?:ab){2}+", "ababababab", "[abababab]ab");
    check("[ab]{2,}+a", "abaa", "[abaa]");
    check("a{,2}b", "aaab", "a[aab]");
    check("a{x", "a{x", "[a{x]");
    check("a++a", "aaa", "aaa");
    check_refused("a{2}?");
}

Test(pattern, flags)
{
    check("(?i:'S)x", "'sx'Sx'SX", "['sx]['Sx]'SX");
    check("(?i)a|b", "aAbB", "[a][A][b][B]");
    check("(?m:.)", "\n", "[\n]");
    check(".", "\n\r", "\n[\r]");
    check_refused("a(?i)b|c");
    check_refused("(?x)a");
}

Test(pattern, lines)
{
    check("^a$", "a\na\nb", "[a]\n[a]\nb");
    check("\\s+$", "a  \n b \n", "a[  ]\n b[ \n]");
}

Test(pattern, intersections)
{
    check("[\\p{L}&&[^\\p{Han}]]+",
          "a\xe4\xb8\xad"
          "b",
          "[a]\xe4\xb8\xad[b]");
    check("[a-z&&[aeiou]]", "abe", "[a]b[e]");
    check_refused("[^a-z&&[b]]");
    check_refused("[a-z&&b]");
    check_refused("[a[b]]");
}

Test(pattern, empty_matches) { check("x*", "axxb", "[]a[xx]b[]"); }

Test(pattern, refused)
{
    static const char *const patterns[] = {"\\C",    "\\K",     "\\R",         "\\X",   "\\G",      "\\N",
                                           "\\g<1>", "(?R)",    "(?1)",        "(?&a)", "(?P<a>b)", "(?C)",
                                           "(*F)",   "(?(1)a)", "[[:alpha:]]", "[\\W]", "\\xff",    "\\x",
                                           "\\u12",  "\\",      "[]",          "\\p{}", "\\pL",     "\\0"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) check_refused(patterns[i]);
}
