/* Configuration documents: values, kinds, numbers beyond 64 bits, limits. Errors of whole files: test_folder.c. */
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/weights/expect.h"
#include "weights/archive_parts.h"

/* Parses from a heap block of exactly the text's size, so that a sanitizer sees every byte read too far. */
static sluice_status parse(json_t **out, const char *text, struct failure *f)
{
    size_t n = strlen(text);
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    struct file_map map = {.data = copy, .bytes = n};
    sluice_status status = document_parse(out, "config.json", &map, f);
    free(copy);
    return status;
}

static void refused(const char *text, const char *sentence)
{
    struct failure f = {0};
    json_t *tree = NULL;
    cr_expect_eq((int)parse(&tree, text, &f), (int)SLUICE_FORMAT, "%.200s", text);
    cr_expect_null(tree);
    cr_expect_str_eq(f.text, sentence, "\n     got: %s\nexpected: %s", f.text, sentence);
}

Test(document, values_have_their_kind)
{
    struct failure f;
    json_t *d;
    cr_assert_eq(
        (int)parse(&d,
                   " {\"i\":-5,\"f\":1e-06,\"s\":\"\\u00e9\\u0041\",\"b\":true,\"o\":{\"p\":{\"q\":[1,\"two\",null]}},"
                   "\"big\":1000000000000000019884624838656,\"min\":-9223372036854775807,\"x.y\":3,\"\":4} ",
                   &f),
        (int)SLUICE_OK, "%s", f.text);
    cr_expect_eq((int)document_find(d, "i").kind, (int)META_INT);
    cr_expect_eq(document_find(d, "i").integer, -5);
    cr_expect_eq(document_find(d, "i").number, -5.0);
    cr_expect_eq((int)document_find(d, "f").kind, (int)META_FLOAT);
    cr_expect_eq(document_find(d, "f").number, 1e-06);
    cr_expect_str_eq(document_find(d, "s").string, "\xc3\xa9"
                                                   "A");
    cr_expect(document_find(d, "b").kind == META_BOOL && document_find(d, "b").boolean);
    cr_expect_eq((int)document_find(d, "big").kind, (int)META_FLOAT);
    cr_expect_eq(document_find(d, "big").number, 1e30);
    cr_expect_eq(document_find(d, "min").integer, -INT64_MAX);
    cr_expect_eq(document_find(d, "").integer, 4);
    cr_expect_eq(document_find(d, "o").n, 1u);

    struct meta q = document_find(d, "o.p.q");
    cr_assert_eq((int)q.kind, (int)META_ARRAY);
    cr_expect_eq(q.n, 3u);
    cr_expect_eq(meta_element(q, 0).integer, 1);
    cr_expect_str_eq(meta_element(q, 1).string, "two");
    cr_expect_eq((int)meta_element(q, 2).kind, (int)META_NULL);
    cr_expect_eq((int)meta_element(q, 3).kind, (int)META_ABSENT);
    cr_expect_eq((int)meta_member(document_find(d, "o"), "p").kind, (int)META_OBJECT);
    cr_expect_eq((int)meta_member(q, "p").kind, (int)META_ABSENT);
    cr_expect_eq((int)document_find(d, "i.j").kind, (int)META_ABSENT);
    cr_expect_eq((int)document_find(d, "o.x.q").kind, (int)META_ABSENT);
    cr_expect_eq((int)document_find(NULL, "o").kind, (int)META_ABSENT);
    json_decref(d);
}

Test(document, every_kind_has_a_name)
{
    struct failure f;
    json_t *d;
    cr_assert_eq((int)parse(&d, "{\"n\":null,\"b\":false,\"i\":1,\"f\":1.0,\"s\":\"\",\"a\":[],\"o\":{}}", &f),
                 (int)SLUICE_OK);
    static const char *const rows[][2] = {{"x", "absent"},   {"n", "null"},     {"b", "a boolean"}, {"i", "an integer"},
                                          {"f", "a number"}, {"s", "a string"}, {"a", "an array"},  {"o", "an object"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(meta_kind_name(document_find(d, rows[i][0]).kind), rows[i][1]);
    cr_expect_not(document_find(d, "b").boolean);
    json_decref(d);
}

Test(document, numbers_do_not_depend_on_the_locale)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "C"};
    size_t i = 0;
    while (!setlocale(LC_ALL, names[i])) i++;
    struct failure f;
    json_t *d;
    cr_assert_eq((int)parse(&d, "{\"theta\":1.5}", &f), (int)SLUICE_OK);
    cr_expect_eq(document_find(d, "theta").number, 1.5);
    json_decref(d);
}

Test(document, errors_name_the_byte)
{
    refused("", "config.json: JSON error at byte 0: a JSON object is missing");
    refused("  ", "config.json: JSON error at byte 2: a JSON object is missing");
    refused("[]", "config.json: JSON error at byte 0: a JSON object is missing");
    refused("\xef\xbb\xbf{}", "config.json: JSON error at byte 0: a JSON object is missing");
    refused("// c\n{}", "config.json: JSON error at byte 0: a JSON object is missing");
    refused("{/* c */}", "config.json: JSON error at byte 1: a key in quotes is missing");
    refused("{\"a\":\"\xff\"}", "config.json: JSON error at byte 6: not UTF-8");
    refused("{\"a\":1", "config.json: JSON error at byte 6: the text ends too early");
    refused("{\"a\":1.5", "config.json: JSON error at byte 8: the text ends too early");
    refused("{\"a\":99999999999999999999", "config.json: JSON error at byte 25: the text ends too early");
    refused("{\"a\":{\"b\":1", "config.json: JSON error at byte 11: the text ends too early");
    refused("{\"a\":1}}", "config.json: JSON error at byte 7: text after the end");
    refused("{\"a\":1,\"a\":2}", "config.json: \"a\" appears twice");
    refused("{\"o\":{\"a\":1,\"\\u0061\":2}}", "config.json: \"a\" appears twice");
    refused("{\"a\":\"x\\u0000\"}",
            "config.json: JSON error at byte 6: a string holds NUL or half of a surrogate pair");
    refused("{\"\\udfff\":1}", "config.json: JSON error at byte 2: a string holds NUL or half of a surrogate pair");
    refused("{\"a\":1e400}", "config.json: JSON error at byte 5: number out of range");
    refused("{\"a\":[-Infinity]}", "config.json: NaN and Infinity are not JSON (byte 6)");
}

static char *repeat(const char *before, const char *piece, size_t n, const char *after)
{
    size_t length = strlen(piece);
    char *text = malloc(strlen(before) + n * length + strlen(after) + 1), *p = stpcpy(text, before);
    for (size_t i = 0; i < n; i++) p = stpcpy(p, piece);
    strcpy(p, after);
    return text;
}

Test(document, a_small_file_cannot_become_a_large_tree)
{
    char *text = repeat("{\"a\":[0", ",0", 1100000, "]}");
    refused(text, "config.json: more than 1048576 values");
    free(text);
    text = repeat("{\"a\":[0", ",{}", 140000, "]}");
    refused(text, "config.json: more than 131072 objects and arrays");
    free(text);
}
