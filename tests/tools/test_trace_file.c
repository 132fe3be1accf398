/* Tests of tools/trace_file.c: what is written is read again, and nothing that a stranger's file says does harm. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/folder.h"
#include "tools/trace_file.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(trace_file, .init = create, .fini = destroy);

enum { N_TOKENS = 3, N_LAYERS = 2, TOP_K = 2, N_EXPERTS = 5 };
static const uint32_t layers[N_LAYERS] = {1, 3};
static const int32_t tokens[N_TOKENS] = {7, 0, 99};
static const uint16_t lengths[N_TOKENS] = {2, 0, 3};
static const size_t text_at[N_TOKENS] = {0, 2, 2};
static const char text[] = "ab\xff\x01z";
static const uint16_t experts[N_TOKENS * N_LAYERS * TOP_K] = {0, 1, 3, 4, 0, 4, 1, 2, 2, 3, 0, 1};
static const float weights[N_TOKENS * N_LAYERS * TOP_K] = {1, 0, 0.5f,   0.5f,  0.25f, -1,
                                                           2, 3, 1e-30f, 1e30f, 0.1f,  0.9f};
static float scores[N_TOKENS * N_LAYERS * N_EXPERTS];

static struct trace make_head(bool has_scores)
{
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) scores[i] = (float)i / 7;
    return (struct trace){.n_layers = 5,
                          .hidden_size = 64,
                          .n_moe_layers = N_LAYERS,
                          .n_experts = N_EXPERTS,
                          .top_k = TOP_K,
                          .vocab_size = 100,
                          .n_context = 2,
                          .n_parameters = 12345,
                          .expert_bytes = 1000,
                          .other_bytes = 777,
                          .n_tokens = N_TOKENS,
                          .text_bytes = 5,
                          .has_scores = has_scores,
                          .model = "tiny \xc3\xa9",
                          .architecture = "made_up",
                          .label = "",
                          .tokens = tokens,
                          .lengths = lengths,
                          .text = text,
                          .text_at = text_at};
}

/* Writes the trace in two pieces, the later one first. */
static void write_trace(const char *name, bool has_scores)
{
    struct trace head = make_head(has_scores);
    struct trace_writer w;
    sluice_error error = {0};
    cr_assert_eq(trace_writer_create(&w, folder_path(&folder, name), &head, &error), SLUICE_OK, "%s", error.text);
    cr_assert_eq(trace_writer_rows(&w, 1, 2, experts + 4, weights + 4, scores + 10, &error), SLUICE_OK);
    cr_assert_eq(trace_writer_rows(&w, 0, 1, experts, weights, scores, &error), SLUICE_OK);
    cr_assert_eq(trace_writer_commit(&w, layers, &error), SLUICE_OK, "%s", error.text);
}

/* The bytes of a file, malloc'ed. */
static char *content(const char *name, size_t *n)
{
    FILE *file = fopen(folder_path(&folder, name), "rb");
    char *bytes = malloc(1 << 16);
    cr_assert(file && bytes);
    *n = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    cr_assert_gt(*n, 128u);
    return bytes;
}

Test(trace_file, what_is_written_is_read_again)
{
    for (int has_scores = 0; has_scores < 2; has_scores++) {
        struct trace t;
        sluice_error error = {0};
        write_trace("a.trace", has_scores);
        cr_assert_eq(trace_read(&t, folder_path(&folder, "a.trace"), &error), SLUICE_OK, "%s", error.text);
        cr_expect(t.n_layers == 5 && t.hidden_size == 64 && t.n_moe_layers == 2 && t.n_experts == 5 && t.top_k == 2);
        cr_expect(t.vocab_size == 100 && t.n_context == 2 && t.n_parameters == 12345 && t.n_tokens == 3);
        cr_expect(t.expert_bytes == 1000 && t.other_bytes == 777 && t.text_bytes == 5);
        cr_expect_str_eq(t.model, "tiny \xc3\xa9");
        cr_expect_str_eq(t.architecture, "made_up");
        cr_expect_str_eq(t.label, "");
        cr_expect_arr_eq(t.layers, layers, sizeof layers);
        cr_expect_arr_eq(t.tokens, tokens, sizeof tokens);
        cr_expect_arr_eq(t.lengths, lengths, sizeof lengths);
        cr_expect_arr_eq(t.text, text, 5);
        cr_expect_arr_eq(t.text_at, text_at, sizeof text_at);
        cr_expect_arr_eq(t.experts, experts, sizeof experts);
        cr_expect_arr_eq(t.weights, weights, sizeof weights);
        cr_expect_eq(t.scores != NULL, has_scores);
        if (t.scores) cr_expect_arr_eq(t.scores, scores, sizeof scores);
        cr_expect_eq(trace_experts(&t, 1, 1)[0], 1);
        trace_close(&t);
        trace_close(&t);
    }
}

/* Parses a copy of exactly n bytes, so that a sanitizer sees what is read beyond them. */
static sluice_status parse(struct trace *t, const char *bytes, size_t n, sluice_error *error)
{
    char *copy = malloc(n ? n : 1);
    cr_assert(copy);
    memcpy(copy, bytes, n);
    *error = (sluice_error){0};
    sluice_status status = trace_parse(t, copy, n, "x.trace", error);
    if (status) {
        cr_expect(strncmp(error->text, "\"x.trace\": ", 11) == 0 && !strchr(error->text, '\n'), "%s", error->text);
        cr_expect(!t->tokens && !t->experts, "nothing is left after a failure");
    }
    return status;
}

Test(trace_file, every_beginning_of_a_trace_is_refused)
{
    size_t n;
    write_trace("a.trace", true);
    char *bytes = content("a.trace", &n);
    for (size_t i = 0; i < n; i++) {
        struct trace t;
        sluice_error error;
        cr_expect_eq(parse(&t, bytes, i, &error), SLUICE_FORMAT, "%zu bytes", i);
    }
    free(bytes);
}

static void expect_in_range(const struct trace *t)
{
    size_t n = t->n_tokens * t->n_moe_layers * t->top_k, sum = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        cr_expect(t->tokens[i] >= 0 && (uint32_t)t->tokens[i] < t->vocab_size);
        cr_expect_eq(t->text_at[i], sum);
        sum += t->lengths[i];
    }
    cr_expect_eq(sum, t->text_bytes);
    for (size_t i = 0; i < n; i++) cr_expect(t->experts[i] < t->n_experts && isfinite(t->weights[i]));
}

Test(trace_file, every_flipped_bit_is_refused_or_harmless)
{
    size_t n, n_refused = 0;
    write_trace("a.trace", true);
    char *bytes = content("a.trace", &n);
    for (size_t i = 0; i < 8 * n; i++) {
        struct trace t;
        sluice_error error;
        bytes[i / 8] ^= (char)(1 << i % 8);
        sluice_status status = parse(&t, bytes, n, &error);
        cr_expect(status == SLUICE_OK || status == SLUICE_FORMAT || status == SLUICE_UNSUPPORTED);
        /* Of the header, sizes of bytes, the context and the letters of names may be others. */
        const size_t at = i / 8;
        if (at < 56 || (at >= 72 && at < 88) || (at >= 92 && at < 128))
            cr_expect_neq(status, SLUICE_OK, "byte %zu", at);
        n_refused += status != SLUICE_OK;
        if (!status) expect_in_range(&t);
        trace_close(&t);
        bytes[i / 8] ^= (char)(1 << i % 8);
    }
    cr_expect_gt(n_refused, 1000u);
    free(bytes);
}

/* Replaces `width` bytes and expects a message. */
static void expect_refusal(size_t at, uint64_t value, size_t width, const char *message)
{
    size_t n;
    struct trace t;
    sluice_error error;
    char *bytes = content("a.trace", &n);
    memcpy(bytes + at, &value, width);
    cr_expect_neq(parse(&t, bytes, n, &error), SLUICE_OK, "%s", message);
    cr_expect(strstr(error.text, message), "found: %s", error.text);
    free(bytes);
}

Test(trace_file, messages_name_the_field)
{
    write_trace("a.trace", false);
    expect_refusal(0, 'x', 1, "is not a routing trace");
    expect_refusal(8, 2, 4, "version: found 2, this program reads 1");
    expect_refusal(12, 2, 4, "flags: found 0x2");
    expect_refusal(16, 1, 8, "fingerprint: found 0000000000000001, expected ");
    expect_refusal(24, 0, 4, "n_layers: found 0, expected 1..1024");
    expect_refusal(32, 6, 4, "n_moe_layers: found 6, expected 1..5");
    expect_refusal(36, 1 << 20, 4, "n_experts: found 1048576, expected 1..65536");
    expect_refusal(40, 6, 4, "top_k: found 6, expected 1..5");
    expect_refusal(56, UINT64_MAX, 8, "expert_bytes: found 18446744073709551615, expected 0..68719476736");
    expect_refusal(72, UINT64_MAX, 8, "n_tokens: found 18446744073709551615, expected 1..16777216");
    expect_refusal(72, 1 << 24, 8, "bytes, expected");
    expect_refusal(88, 0, 4, "n_context: found 0");
    expect_refusal(92, UINT32_MAX, 4, "model_bytes: found 4294967295, expected at most 4096");
    expect_refusal(92, 4000, 4, "ends within its names");
    expect_refusal(127, 1, 1, "byte 127: found 1, expected 0");
    expect_refusal(128, 0, 1, "model: is not UTF-8 without control characters");
    const size_t layers_at = 128 + 16, tokens_at = layers_at + 8, lengths_at = tokens_at + 16,
                 text_begins = lengths_at + 8, experts_at = text_begins + 8, weights_at = experts_at + 24;
    expect_refusal(layers_at - 1, 1, 1, "byte 143: found 1, expected 0");
    expect_refusal(layers_at, 3, 4, "layers: item 1: found 3, expected ascending numbers below 5");
    expect_refusal(tokens_at, UINT32_MAX, 4, "tokens: item 0: found -1, expected 0..99");
    expect_refusal(tokens_at + 8, 100, 4, "tokens: item 2: found 100");
    expect_refusal(lengths_at, 1, 2, "lengths: their sum is 4, expected text_bytes, 5");
    expect_refusal(experts_at, 5, 2, "experts: token 0, layer 1: found 5, expected ascending ids below 5");
    expect_refusal(experts_at + 14, 1, 2, "experts: token 1, layer 3: found 1, expected ascending");
    expect_refusal(weights_at + 4, 0x7f800000, 4, "weights: token 0, layer 1: a value is not finite");
}

Test(trace_file, what_follows_the_last_section_is_refused)
{
    size_t n;
    struct trace t;
    sluice_error error;
    write_trace("a.trace", true);
    char *bytes = content("a.trace", &n);
    bytes[n] = 0;
    cr_expect_eq(parse(&t, bytes, n + 1, &error), SLUICE_FORMAT);
    free(bytes);
}

Test(trace_file, a_trace_is_whole_or_not_there)
{
    struct trace head = make_head(false);
    struct trace_writer w;
    sluice_error error = {0};
    const char *path = folder_path(&folder, "b.trace");
    cr_assert_eq(trace_writer_create(&w, path, &head, &error), SLUICE_OK);
    cr_assert_eq(trace_writer_rows(&w, 0, 2, experts, weights, NULL, &error), SLUICE_OK);
    cr_expect_eq(trace_writer_commit(&w, layers, &error), SLUICE_IO);
    cr_expect(strstr(error.text, "2 of 3 tokens were written"), "%s", error.text);
    cr_expect_neq(access(path, F_OK), 0);
    head.label = "a\x1b";
    cr_expect_eq(trace_writer_create(&w, path, &head, &error), SLUICE_ARGUMENT);
    cr_expect(strstr(error.text, "label: a trace cannot hold it"), "%s", error.text);
    head.top_k = 6;
    cr_expect_eq(trace_writer_create(&w, path, &head, &error), SLUICE_ARGUMENT);
    cr_expect(strstr(error.text, "a trace cannot hold top_k 6, at most 5"), "%s", error.text);
    trace_writer_discard(&w);
}

Test(trace_file, traces_of_other_models_are_told_apart)
{
    struct trace t;
    sluice_error error = {0};
    sluice_model_info info = {.architecture = "made_up",
                              .n_layers = 5,
                              .hidden_size = 64,
                              .n_moe_layers = 2,
                              .n_experts = 5,
                              .top_k = 2,
                              .vocab_size = 100,
                              .n_parameters = 12345};
    write_trace("a.trace", false);
    cr_assert_eq(trace_read(&t, folder_path(&folder, "a.trace"), &error), SLUICE_OK);
    cr_expect_eq(trace_check_model(&t, &info, "a", &error), SLUICE_OK);
    info.top_k = 1;
    cr_expect_eq(trace_check_model(&t, &info, "a", &error), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "\"a\": is a trace of another model: top_k: found 2, expected 1");
    info.architecture = NULL;
    cr_expect_eq(trace_check_model(&t, &info, "a", &error), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "\"a\": is a trace of another model: of architecture \"made_up\", expected none");
    trace_close(&t);
}

static void expect_json(json_t *value, const char *expected)
{
    char *found = json_dumps(value, JSON_REAL_PRECISION(9));
    cr_expect_str_eq(found, expected);
    free(found);
    json_decref(value);
}

Test(trace_file, json_lines_say_the_same)
{
    struct trace head = make_head(false);
    head.layers = layers;
    expect_json(
        trace_token_json(&head, 2, experts + 8, weights + 8, NULL),
        "{\"token\": 99, \"text\": \"\xef\xbf\xbd\\u0001z\", \"experts\": [[2, 3], [0, 1]], \"weights\": [[1e-30, "
        "1.00000002e30], [0.100000001, 0.899999976]]}");
    json_t *header = trace_header_json(&head);
    cr_expect_str_eq(json_string_value(json_object_get(header, "format")), "sluice-trace");
    cr_expect_eq(json_integer_value(json_object_get(header, "top_k")), 2);
    cr_expect_eq(json_integer_value(json_array_get(json_object_get(header, "layers"), 1)), 3);
    json_decref(header);
}
