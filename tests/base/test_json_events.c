/* The event parser: events of a small text, exact numbers, skipping, and agreement with jansson on what JSON is. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_events.h"

Test(json_events, one_event_per_token)
{
    static const char text[] =
        " {\"a\" : [ 1, -2.5e3 , \"x\\ty\"], \"\":{}, \"c\":[[]],\"d\":true,\"e\":false,\"f\":null}\n";
    static const struct {
        enum json_event event;
        const char *raw;
        size_t depth;
    } expected[] = {
        {EVENT_OBJECT_OPEN, "{", 1},  {EVENT_KEY, "a", 1},         {EVENT_ARRAY_OPEN, "[", 2},
        {EVENT_NUMBER, "1", 2},       {EVENT_NUMBER, "-2.5e3", 2}, {EVENT_STRING, "x\\ty", 2},
        {EVENT_ARRAY_CLOSE, "]", 1},  {EVENT_KEY, "", 1},          {EVENT_OBJECT_OPEN, "{", 2},
        {EVENT_OBJECT_CLOSE, "}", 1}, {EVENT_KEY, "c", 1},         {EVENT_ARRAY_OPEN, "[", 2},
        {EVENT_ARRAY_OPEN, "[", 3},   {EVENT_ARRAY_CLOSE, "]", 2}, {EVENT_ARRAY_CLOSE, "]", 1},
        {EVENT_KEY, "d", 1},          {EVENT_TRUE, "true", 1},     {EVENT_KEY, "e", 1},
        {EVENT_FALSE, "false", 1},    {EVENT_KEY, "f", 1},         {EVENT_NULL, "null", 1},
        {EVENT_OBJECT_CLOSE, "}", 0},
    };
    struct json_reader r;
    json_start(&r, text, strlen(text));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        cr_assert_eq((int)json_next(&r), (int)expected[i].event, "event %zu", i);
        cr_expect(json_text_is(&r, expected[i].raw), "event %zu: %.*s", i, (int)r.raw_n, r.raw);
        cr_expect_eq(r.depth, expected[i].depth, "event %zu", i);
    }
    cr_expect_eq((int)json_next(&r), (int)EVENT_END);
    cr_expect_eq((int)json_next(&r), (int)EVENT_END);
}

Test(json_events, an_error_stays)
{
    struct json_reader r;
    json_start(&r, "[1 2]", 5);
    json_next(&r);
    json_next(&r);
    cr_expect_eq((int)json_next(&r), (int)EVENT_ERROR);
    cr_expect_eq((int)json_next(&r), (int)EVENT_ERROR);
    cr_expect_eq(r.problem_at, 3u);
}

Test(json_events, skip_moves_behind_the_matching_end)
{
    static const char text[] = "{\"a\":{\"b\":[{},[1]]},\"c\":2}";
    struct json_reader r;
    json_start(&r, text, strlen(text));
    json_next(&r);
    json_next(&r);
    cr_expect(json_skip(&r, json_next(&r)));
    cr_expect_eq((int)json_next(&r), (int)EVENT_KEY);
    cr_expect(json_text_is(&r, "c"));
    cr_expect(json_skip(&r, json_next(&r)), "a scalar needs no skipping");
    cr_expect_eq((int)json_next(&r), (int)EVENT_OBJECT_CLOSE);

    json_start(&r, "[[1", 3);
    cr_expect_not(json_skip(&r, json_next(&r)));
}

Test(json_events, unsigned_numbers_are_exact)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } rows[] = {{"0", true, 0},
                {"9007199254740993", true, 9007199254740993},
                {"18446744073709551615", true, UINT64_MAX},
                {"18446744073709551616", false, 0},
                {"184467440737095516150", false, 0},
                {"-1", false, 0},
                {"-0", false, 0},
                {"1.0", false, 0},
                {"1e2", false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_reader r;
        uint64_t value = 7;
        json_start(&r, rows[i].text, strlen(rows[i].text));
        cr_assert_eq((int)json_next(&r), (int)EVENT_NUMBER);
        cr_expect_eq(json_u64(&r, &value), rows[i].good, "%s", rows[i].text);
        cr_expect_eq(value, rows[i].good ? rows[i].value : 7u);
    }
}

/* jansson refuses some legal JSON: NUL and half surrogates in strings, numbers out of range. */
static bool jansson_refuses_legal_text(const json_error_t *e)
{
    enum json_error_code code = json_error_code(e);
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           code == json_error_null_character || strstr(e->text, "\\u") != NULL;
}

Test(json_events, accepts_what_jansson_accepts, .timeout = 120)
{
    static const char base[] =
        "{\"k\":[1,-2.5e+3,0,{\"a\":\"\\u00e9\\n\xc3\xa9\"},[],{}],\"b\":true,\"c\":null,\"d\":false}";
    static const char alphabet[] = "{}[]\",:0123456789-+.eE\\u \xc3\xa9\xf0tfn\n";
    char text[sizeof base];
    size_t n = sizeof base - 1;
    uint64_t random = 88172645463325252u;
    int accepted = 0;
    for (int round = 0; round < 200000; round++) {
        memcpy(text, base, sizeof base);
        for (int k = 0; k <= round % 4; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            text[(random >> 32) % n] = alphabet[random % (sizeof alphabet - 1)];
        }
        char *exact = malloc(n); /* its end is watched by a sanitizer */
        memcpy(exact, text, n);
        struct json_reader r;
        enum json_event event;
        json_start(&r, exact, n);
        while ((event = json_next(&r)) > EVENT_END) {
            char decoded[sizeof base];
            size_t decoded_n;
            if (event == EVENT_STRING || event == EVENT_KEY) json_text(&r, decoded, &decoded_n);
        }
        json_error_t e;
        json_t *tree = json_loadb(exact, n, JSON_DECODE_INT_AS_REAL, &e);
        if (!tree && event == EVENT_END) cr_expect(jansson_refuses_legal_text(&e), "%s\n%s", text, e.text);
        if (tree) cr_expect_eq((int)event, (int)EVENT_END, "%s\n%s", text, r.reason);
        accepted += tree != NULL;
        json_decref(tree);
        free(exact);
    }
    cr_expect_gt(accepted, 1000, "the comparison must see both outcomes");
}
