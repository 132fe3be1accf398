/* Lines about a model for people: what they say, and that they never leave their room. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/checkpoint.h"
#include "tests/support/guarded_buffer.h"

static struct bound bound;
static void destroy(void) { model_free(&bound.model); }
TestSuite(report, .fini = destroy);

static void expect_layer(const char *golden, int layer, const char *expected)
{
    char line[256];
    bind_golden(&bound, golden);
    model_describe_layer(&bound.model, layer, line, sizeof line);
    cr_expect_str_eq(line, expected, "\n     got: %s\nexpected: %s", line, expected);
    model_free(&bound.model);
}

Test(report, layers_are_described)
{
    expect_layer("qwen3-moe-hub-bf16", 0,
                 "attention 4 heads / 2 kv x 24, qk-norm per head, rope 1e+07 | 2 of 6 experts x 16 silu, softmax, "
                 "renormalised");
    expect_layer("qwen2-moe-window-hub", 0,
                 "attention 2 heads / 1 kv x 16, qkv bias, window 9, rope 10000 | 2 of 5 experts x 16 silu, softmax + "
                 "gated shared expert x 16");
}

Test(report, every_kind_of_layer_is_described)
{
    expect_layer(
        "deepseek-v3-hub-bf16", 1,
        "latent attention 3 heads x 16 / v 14, kv latent 18, q latent 22, rope 10000 yarn x40 on 6 | 3 of 8 "
        "experts x 8 silu, sigmoid, selection bias, 2 of 4 groups, renormalised, scale 2.5 + shared expert x 8");
    expect_layer(
        "gemma4-v5-f32", 0,
        "attention 3 heads / 1 kv x 24, qk-norm per head, v-norm, v is k, rope 100000 proportional x0.5 | mlp x "
        "24 gelu + 3 of 5 experts x 10 gelu, softmax, renormalised, scale per expert | post norms, layer scale");
    expect_layer("gemma2-hub-bf16", 0,
                 "attention 4 heads / 2 kv x 16, softcap 1.5, window 8, rope 10000 | mlp x 40 gelu | post norms");
    expect_layer("gpt-oss-hub-bf16", 0,
                 "attention 4 heads / 2 kv x 12, qkv bias, output bias, sinks, window 8, rope 150000 yarn x8 | 2 of 5 "
                 "experts x 14 clamped swiglu with bias, softmax, bias, renormalised");
    expect_layer(
        "qwen3-next-hub-bf16", 0,
        "gated delta 2 key / 4 value heads x 6 / v 10, convolution over 4 | 2 of 5 experts x 10 silu, softmax, "
        "renormalised + gated shared expert x 14");
    expect_layer("qwen3-next-hub-bf16", 1,
                 "attention 3 heads / 1 kv x 16, qk-norm per head, output gate, rope 1e+07 on 4 | 2 of 5 experts x 10 "
                 "silu, softmax, renormalised + gated shared expert x 14");
    expect_layer("lfm2-moe-hub-bf16", 0, "gated convolution over 3 | mlp x 44 silu");
}

/* The smallest room: whatever fits, always ended. Behind the block lies a page without access. */
Test(report, lines_are_cut_to_their_room)
{
    bind_golden(&bound, "olmoe-clip-f32");
    char whole_layer[512], whole_group[512];
    model_describe_layer(&bound.model, 0, whole_layer, sizeof whole_layer);
    cr_assert(model_describe_group(&bound.model, 3, whole_group, sizeof whole_group));
    for (size_t cap = 1; cap < 300; cap++) {
        struct guarded_buffer room = guarded_make(cap, 0);
        char *line = room.data;
        model_describe_layer(&bound.model, 0, line, cap);
        cr_assert_not_null(memchr(line, 0, cap));
        cr_assert_eq(strncmp(line, whole_layer, cap - 1), 0, "%zu bytes: %s", cap, line);
        memset(line, '#', cap);
        cr_assert(model_describe_group(&bound.model, 3, line, cap));
        cr_assert_not_null(memchr(line, 0, cap));
        cr_assert_eq(strncmp(line, whole_group, cap - 1), 0, "%zu bytes: %s", cap, line);
        guarded_free(&room);
    }
}

/* The counts of all groups add up to the matrices of the model. */
Test(report, every_matrix_belongs_to_one_group)
{
    char line[512];
    int n_matrices = 0, n_groups = 0;
    bind_golden(&bound, "qwen2-moe-step2-f32");
    const struct model_config *c = &bound.model.config;
    while (model_describe_group(&bound.model, n_groups, line, sizeof line)) {
        const char *count = strstr(line, "] x ");
        cr_assert_not_null(count, "%s", line);
        n_matrices += atoi(count + 4);
        n_groups++;
        cr_assert_lt(n_groups, 100);
    }
    int n_moe = config_n_moe_layers(c), n_dense = c->n_layers - n_moe;
    int n_experts = c->layers[1].router.n_experts;
    cr_expect_eq(n_matrices, 2 + 4 * c->n_layers + 3 * n_dense + n_moe * (1 + 3 * n_experts + 3 + 1));
    cr_expect(!model_describe_group(&bound.model, n_groups + 1, line, sizeof line));
    cr_expect_str_eq(line, "");
}

/* ---- other types ------------------------------------------------------------------------------------------------- */

static void bind_file(const char *name, bool convert, enum dtype load_as)
{
    char path[512];
    struct bind_options options = bound_options(&bound);
    options.convert = convert;
    options.load_as = load_as;
    options.load_weights = false;
    snprintf(path, sizeof path, "%s/golden/%s", SLUICE_TEST_DIR, name);
    bind_path_with(&bound, path, 1, &options);
    cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
}

static bool has_group(const char *begin)
{
    char line[512];
    for (int i = 0; model_describe_group(&bound.model, i, line, sizeof line); i++)
        if (strncmp(line, begin, strlen(begin)) == 0) return true;
    return false;
}

Test(report, groups_name_the_type_of_the_file_and_the_layout_of_the_memory)
{
    bind_file("models/qwen2-moe-window-hub", true, DTYPE_Q8_0);
    cr_expect(has_group("expert gate      BF16 [16, 32] x 20 -> q8_0_r16 ("));
    cr_expect(has_group("expert down      BF16 [32, 16] x 20 -> bf16_r16"), "inputs that no block fits");
    cr_expect(has_group("router           BF16 [5, 32] x 4 -> bf16_r16"), "routers keep their type");
    cr_expect(has_group("shared switch    BF16 [1, 32] x 4 -> bf16_r16"));
    model_free(&bound.model);
    bind_file("gguf/qwen3-moe-q4_k_m.gguf", false, DTYPE_F32);
    cr_expect(has_group("expert down      Q4_K [256, 256] x 4 -> q4_k_r16 ("));
    cr_expect(has_group("expert down      Q6_K [256, 256] x 4 -> q6_k_r16 ("), "a group per type of the file");
    model_free(&bound.model);
    bind_file("gguf/qwen3-moe-q4_k_m.gguf", true, DTYPE_Q5_K);
    cr_expect(has_group("expert down      Q4_K [256, 256] x 4 -> q4_k_r16 ("), "blocks do not become larger");
    cr_expect(has_group("expert down      Q6_K [256, 256] x 4 -> q5_k_r16 ("));
}

/* What is forecast for a type is what the model needs when it is loaded so. */
Test(report, a_smaller_type_needs_what_was_forecast)
{
    static const enum dtype types[] = {DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_Q5_K, DTYPE_Q4_K, DTYPE_Q3_K, DTYPE_Q2_K};
    static const char *const files[] = {"gguf/qwen3-moe-q4_k_m.gguf", "gguf/llama3-f32.gguf",
                                        "models/qwen2-moe-window-hub", "models/deepseek-v3-fp8-hub",
                                        "models/gpt-oss-mxfp4-hub"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        uint64_t needed[6], bytes = 0, least = UINT64_MAX;
        for (int t = 0; t < 6; t++) {
            bind_file(files[i], true, types[t]);
            needed[t] = bound.model.weight_bytes;
            if (needed[t] < least) least = needed[t];
            model_free(&bound.model);
        }
        bind_file(files[i], false, DTYPE_F32);
        cr_expect_eq((int)model_smaller_type(&bound.model, UINT64_MAX, &bytes), (int)DTYPE_Q8_0);
        cr_expect_eq(bytes, needed[0]);
        for (int t = 0; t < 6; t++) {
            int first = 0;
            while (needed[first] > needed[t]) first++;
            cr_expect_eq((int)model_smaller_type(&bound.model, needed[t], &bytes), (int)types[first],
                         "%s, budget of %s", files[i], dtype_info(types[t])->name);
            cr_expect_eq(bytes, needed[first]);
        }
        model_smaller_type(&bound.model, least - 1, &bytes);
        cr_expect_eq(bytes, least, "nothing fits: the smallest");
        model_free(&bound.model);
    }
    bind_file("gguf/qwen3-moe-q4_k_m.gguf", false, DTYPE_F32);
    uint64_t bytes = 0;
    cr_expect_eq((int)model_smaller_type(&bound.model, 0, &bytes), (int)DTYPE_Q2_K);
}

Test(report, types_are_spelt_as_people_type_them)
{
    char word[TYPE_WORD_BYTES];
    enum dtype type;
    for (int t = 0; t < N_DTYPES; t++) {
        if (!dtype_info((enum dtype)t)->can_encode) continue;
        cr_expect(dtype_from_word(model_type_word((enum dtype)t, word), &type) && type == (enum dtype)t, "%s", word);
    }
    cr_expect_str_eq(model_type_word(DTYPE_Q4_K, word), "q4_k");
    cr_expect_str_eq(model_type_word(DTYPE_BF16, word), "bf16");
}
