/* Keys of GGUF files of families beyond Llama's block: layers that are not read or have no attention, latent attention
 * in both layouts, a second table of RoPE, windows that follow from the family. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/arch.h"
#include "model/config_export.h"
#include "tests/model/checkpoint.h"
#include "tests/model/keys.h"
#include "tests/support/rng.h"
#include "weights/archive.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(config_gguf_families, .init = create, .fini = destroy);

static struct model_config config;
static struct generation_config generation;
static struct failure failure;

static sluice_status read_path(const char *path, unsigned flags)
{
    return config_read_path(path, flags, &config, &generation, &failure);
}

static sluice_status read_file(void)
{
    return read_path(folder_path(&folder, "m.gguf"), ARCHIVE_TENSORS | ARCHIVE_CONFIG);
}

static void accepted(const char *arch, const struct key *keys)
{
    keys_write(&folder, arch, keys);
    cr_assert_eq((int)read_file(), (int)SLUICE_OK, "%s", failure.text);
}
#define ACCEPTED(arch, ...) accepted(arch, (const struct key[MAX_KEYS]){__VA_ARGS__})

static void refused(sluice_status status, const char *arch, const char *line, const struct key *keys)
{
    char sentence[512];
    snprintf(sentence, sizeof sentence, "m.gguf: key \"%s.%s", arch, line);
    keys_write(&folder, arch, keys);
    sluice_status s = read_file();
    cr_expect_eq((int)s, (int)status, "%s: status %d", line, (int)s);
    cr_expect_str_eq(failure.text, sentence, "\n     got: %s\nexpected: %s", failure.text, sentence);
    if (s == SLUICE_OK) config_free(&config);
}
#define MALFORMED(arch, line, ...)   refused(SLUICE_FORMAT, arch, line, (const struct key[MAX_KEYS]){__VA_ARGS__})
#define UNSUPPORTED(arch, line, ...) refused(SLUICE_UNSUPPORTED, arch, line, (const struct key[MAX_KEYS]){__VA_ARGS__})

#define EXPERTS \
    {"@expert_count", "u", "8"}, {"@expert_used_count", "u", "2"}, { "@expert_feed_forward_length", "u", "16" }
/* 4 heads of 10 + 6 elements, values of 12, a latent of 20 */
#define LATENT \
    EXPERTS, SHARED("2"), {"@attention.kv_lora_rank", "u", "20"}, { "@rope.dimension_count", "u", "6" }
#define SHARED(n)                      \
    {                                  \
        "@expert_shared_count", "u", n \
    }
#define LAYOUT_A {"@attention.head_count_kv", "u", "4"}, {"@attention.key_length", "u", "16"}, VALUES_A
#define VALUES_A                             \
    {                                        \
        "@attention.value_length", "u", "12" \
    }
#define LAYOUT_B {"@attention.head_count_kv", "u", "1"}, {"@attention.key_length", "u", "26"}, VALUES_B, LENGTHS_B
#define VALUES_B                             \
    {                                        \
        "@attention.value_length", "u", "20" \
    }
#define LENGTHS_B \
    {"@attention.key_length_mla", "u", "16"}, { "@attention.value_length_mla", "u", "12" }
#define DELTA                                                                                                  \
    EXPERTS, {"@ssm.group_count", "u", "2"}, {"@ssm.time_step_rank", "u", "4"}, {"@ssm.state_size", "u", "6"}, \
        {"@ssm.inner_size", "u", "20"},                                                                        \
    {                                                                                                          \
        "@ssm.conv_kernel", "u", "4"                                                                           \
    }

/* ---- layers ------------------------------------------------------------------------------------------------------ */

Test(config_gguf_families, layers_that_predict_further_tokens_are_not_read)
{
    ACCEPTED("deepseek2", LATENT, LAYOUT_A, {"@block_count", "u", "5"}, {"@nextn_predict_layers", "u", "1"},
             {"@attention.head_count", "is", "4,4,4,4,4"}, {"@feed_forward_length", "is", "48,48,48,48,7"});
    cr_expect_eq(config.n_layers, 4);
    cr_expect_eq(config.n_extra_layers, 1);
    config_free(&config);
    MALFORMED("deepseek2", "nextn_predict_layers\": found 4, expected less than block_count, 4", LATENT, LAYOUT_A,
              {"@nextn_predict_layers", "u", "4"});
    MALFORMED("deepseek2", "nextn_predict_layers\": found 4000000000, expected an integer in 0..1024", LATENT, LAYOUT_A,
              {"@nextn_predict_layers", "u", "4000000000"});
    MALFORMED("deepseek2", "feed_forward_length\": found 6 values, expected one, or one for each of 3 layers", LATENT,
              LAYOUT_A, {"@nextn_predict_layers", "u", "1"}, {"@feed_forward_length", "is", "48,48,48,48,48,48"});
}

Test(config_gguf_families, layers_without_kv_heads)
{
    ACCEPTED("lfm2", {"@shortconv.l_cache", "u", "3"}, {"@attention.head_count_kv", "is", "0,2,0,2"});
    for (int l = 0; l < 4; l++) {
        cr_expect_eq((int)config.layers[l].mixer.kind, (int)(l % 2 ? MIX_GQA : MIX_CONV), "layer %d", l);
        cr_expect_eq(config.layers[l].mixer.n_kv_heads, l % 2 ? 2 : 0);
    }
    config_free(&config);
    MALFORMED("lfm2", "attention.head_count_kv\": found 0 for every layer, expected one with attention",
              {"@shortconv.l_cache", "u", "3"}, {"@attention.head_count_kv", "is", "0,0,0,0"});
    MALFORMED("lfm2", "attention.head_count_kv[1]\": found -2, expected an integer in 0..1024",
              {"@shortconv.l_cache", "u", "3"}, {"@attention.head_count_kv", "is", "0,-2,0,2"});
    MALFORMED("lfm2", "attention.head_count\": 4 heads are not a multiple of 3 key-value heads",
              {"@shortconv.l_cache", "u", "3"}, {"@attention.head_count_kv", "is", "0,3,0,2"});
    UNSUPPORTED("lfm2", "attention.head_count_kv[1]\": found 1, expected 0 as in layer 0",
                {"@shortconv.l_cache", "u", "3"}, {"@attention.head_count_kv", "is", "0,1,0,2"});
    UNSUPPORTED("llama", "attention.head_count_kv[2]\": found 0, expected 2 as in layer 0",
                {"@attention.head_count_kv", "is", "2,2,0,2"});
}

Test(config_gguf_families, which_layers_are_linear_attention)
{
    ACCEPTED("qwen3next", DELTA, {"@full_attention_interval", "u", "2"});
    for (int l = 0; l < 4; l++) cr_expect_eq((int)config.layers[l].mixer.kind, (int)(l % 2 ? MIX_GQA : MIX_DELTA));
    cr_expect(config.layers[0].mixer.head_dim == 6 && config.layers[0].mixer.v_head_dim == 5);
    cr_expect_eq(config.rope[ROPE_GLOBAL].n_rot, 8, "without a key the whole head");
    config_free(&config);
    ACCEPTED("qwen3next", DELTA, {"@rope.dimension_count", "u", "4"},
             {"sluice.layer_types", "strs", "full_attention,linear_attention,linear_attention,full_attention"});
    for (int l = 0; l < 4; l++) cr_expect_eq((int)config.layers[l].mixer.kind, (int)(l % 3 == 0 ? MIX_GQA : MIX_DELTA));
    cr_expect_eq(config.rope[ROPE_GLOBAL].n_rot, 4);
    config_free(&config);
    MALFORMED("qwen3next", "ssm.inner_size\": found 21, expected a multiple of ssm.time_step_rank 4", EXPERTS,
              {"@ssm.group_count", "u", "2"}, {"@ssm.time_step_rank", "u", "4"}, {"@ssm.state_size", "u", "6"},
              {"@ssm.inner_size", "u", "21"}, {"@ssm.conv_kernel", "u", "4"});
    MALFORMED("qwen3next", "ssm.time_step_rank\": 5 value heads are not a multiple of 2 key heads",
              {"@ssm.group_count", "u", "2"}, {"@ssm.time_step_rank", "u", "5"}, {"@ssm.state_size", "u", "6"},
              {"@ssm.inner_size", "u", "20"}, {"@ssm.conv_kernel", "u", "4"}, EXPERTS);
}

/* ---- latent attention -------------------------------------------------------------------------------------------- */

static void expect_latent(void)
{
    const struct mixer *mixer = &config.layers[3].mixer;
    cr_expect_eq((int)mixer->kind, (int)MIX_MLA);
    cr_expect(mixer->n_heads == 4 && mixer->n_kv_heads == 4);
    cr_expect(mixer->head_dim == 16 && mixer->v_head_dim == 12 && mixer->kv_lora_rank == 20);
    cr_expect_eq(config.rope[ROPE_GLOBAL].n_rot, 6);
    cr_expect(config.qk_nope_head_dim == 10 && config.qk_rope_head_dim == 6);
    config_free(&config);
}

Test(config_gguf_families, latent_attention_in_both_layouts)
{
    ACCEPTED("deepseek2", LATENT, LAYOUT_A);
    expect_latent();
    ACCEPTED("deepseek2", LATENT, LAYOUT_B);
    expect_latent();
    ACCEPTED("deepseek2", LATENT, LENGTHS_B, {"@attention.head_count_kv", NULL, ""});
    expect_latent();

    MALFORMED("deepseek2", "attention.head_count_kv\": found 2, expected one for each of 4 heads", LATENT, LENGTHS_B);
    MALFORMED("deepseek2", "attention.key_length\": missing", LATENT);
    MALFORMED("deepseek2", "attention.value_length_mla\": missing", LATENT, {"@attention.key_length_mla", "u", "16"});
    MALFORMED("deepseek2", "rope.dimension_count\": missing", EXPERTS, SHARED("0"),
              {"@attention.kv_lora_rank", "u", "20"}, LAYOUT_A);
    MALFORMED("deepseek2", "rope.dimension_count\": found 6, expected less than the head dimension, 6", LATENT,
              {"@attention.key_length", "u", "6"}, VALUES_A, {"@attention.head_count_kv", "u", "4"});
    MALFORMED("deepseek2", "rope.dimension_count\": found 7, expected an even number in 2..1024", EXPERTS, SHARED("0"),
              LAYOUT_A, {"@attention.kv_lora_rank", "u", "20"}, {"@rope.dimension_count", "u", "7"});
    UNSUPPORTED("deepseek2", "attention.key_length\": found 24, expected 26, the length of the cache", LATENT, VALUES_B,
                LENGTHS_B, {"@attention.head_count_kv", "u", "1"}, {"@attention.key_length", "u", "24"});
    UNSUPPORTED("deepseek2", "attention.value_length\": found 12, expected 20, the length of the latent", LATENT,
                VALUES_A, LENGTHS_B, {"@attention.head_count_kv", "u", "1"}, {"@attention.key_length", "u", "26"});
    UNSUPPORTED("llama", "attention.kv_lora_rank\": found 20, expected 0", {"@attention.kv_lora_rank", "u", "20"});
}

Test(config_gguf_families, the_temperature_of_latent_attention)
{
#define YARN(multiplier)                                                        \
    {"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.factor", "f", "40"}, \
        {"@rope.scaling.original_context_length", "u", "16"}, {"@rope.scaling.yarn_log_multiplier", "f", multiplier}
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, YARN("0.0707"));
    cr_expect_eq(config.rope[0].mscale_all_dim, 0.707, "the float stands for a short decimal");
    cr_expect_eq(rope_magnitude(&config.rope[0]), 1);
    cr_expect_float_eq(config.layers[0].mixer.scale, 0.397406565f, 1e-6f);
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, YARN("0.1"));
    cr_expect_eq(config.rope[0].mscale_all_dim, 1.0);
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, YARN("0"));
    cr_expect_float_eq(rope_magnitude(&config.rope[0]), 1.368887945, 1e-9);
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, {"@rope.scaling.type", "str", "linear"},
             {"@rope.scaling.factor", "f", "40"}, {"@rope.scaling.yarn_log_multiplier", "f", "0.0707"});
    cr_expect_eq((int)config.rope[0].scaling, (int)ROPE_LINEAR);
    cr_expect_float_eq(config.layers[0].mixer.scale, 0.397406565f, 1e-6f);
    config_free(&config);
    MALFORMED("deepseek2", "rope.scaling.yarn_log_multiplier\": found -1, expected a number in 0..100000", LATENT,
              LAYOUT_B, YARN("-1"));
}

Test(config_gguf_families, scores_of_deepseek2)
{
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, {"@expert_gating_func", "u", "2"}, {"@expert_weights_scale", "f", "2.5"},
             {"@expert_group_count", "u", "4"}, {"@expert_group_used_count", "u", "2"},
             {"@expert_weights_norm", "bool", "true"}, {"@leading_dense_block_count", "u", "1"});
    const struct layer_config *layer = &config.layers[1];
    cr_expect_eq((int)layer->router.score, (int)SCORE_SIGMOID);
    cr_expect(layer->router.n_group == 4 && layer->router.topk_group == 2 && layer->router.normalise);
    cr_expect_eq(layer->router.scale, 2.5f);
    cr_expect_eq(layer->ffn.shared_size, 32);
    cr_expect(!ffn_has_experts(&config.layers[0].ffn));
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B);
    cr_expect_eq((int)config.layers[1].router.score, (int)SCORE_SOFTMAX);
    cr_expect_eq(config.scoring, (int)SCORING_SOFTMAX);
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, {"@block_count", "u", "48"}, {"@nextn_predict_layers", "u", "1"});
    cr_expect_eq((int)config.layers[1].router.score, (int)SCORE_SIGMOID, "early files of GLM-4.7-Flash");
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, {"@leading_dense_block_count", "u", "1"},
             {"sluice.dense_layers", "is", "0,2"});
    for (int l = 0; l < 4; l++) cr_expect_eq(ffn_has_experts(&config.layers[l].ffn), l % 2 == 1, "layer %d", l);
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, {"@expert_gating_func", "u", "1"},
             {"blk.2.exp_probs_b.bias", "tensor", ""});
    cr_expect_eq((int)config.layers[1].router.score, (int)SCORE_SOFTMAX);
    cr_expect(config.layers[1].router.selection_bias, "a tensor that is there counts");
    config_free(&config);
    ACCEPTED("deepseek2", LATENT, LAYOUT_B, {"@expert_gating_func", "u", "1"}, {"@expert_weights_scale", "f", "0"});
    cr_expect(!config.layers[1].router.selection_bias);
    cr_expect_eq(config.layers[1].router.scale, 1.0f);
    config_free(&config);
    MALFORMED("deepseek2", "expert_shared_count\": missing", EXPERTS, LAYOUT_B, {"@attention.kv_lora_rank", "u", "20"},
              {"@rope.dimension_count", "u", "6"});
    MALFORMED("deepseek2", "expert_group_count\": 3 groups do not divide 8 experts", LATENT, LAYOUT_B,
              {"@expert_group_count", "u", "3"}, {"@expert_group_used_count", "u", "1"});
    MALFORMED("deepseek2", "expert_group_used_count\": found 5, expected 1..4 groups", LATENT, LAYOUT_B,
              {"@expert_group_count", "u", "4"}, {"@expert_group_used_count", "u", "5"});
}

/* ---- RoPE and windows -------------------------------------------------------------------------------------------- */

static void expect_local(enum rope_scaling scaling, double theta, double factor, int n_rot)
{
    const struct rope_config *r = &config.rope[ROPE_LOCAL];
    cr_expect_eq((int)r->scaling, (int)scaling);
    cr_expect(r->theta == theta && r->factor == factor, "theta %g, factor %g", r->theta, r->factor);
    cr_expect_eq(r->n_rot, n_rot);
    cr_expect(!r->has_divisors);
    config_free(&config);
}

/* With heads of 64 the ramp goes from pair 8.09 to pair 17.40, and rounded from 8 to 18: pair 12 tells. */
Test(config_gguf_families, the_ramp_of_gpt_oss_is_not_rounded)
{
    static const struct {
        const char *arch;
        bool truncate;
        double frequency; /* 150000^(-24 / 64) (1 - ramp + ramp / 32) */
    } rows[] = {{"gpt-oss", false, 0.006794959}, {"qwen3moe", true, 0.007015714}};
    for (int i = 0; i < 2; i++) {
        float cosine[2 * 32], sine[2 * 32];
        ACCEPTED(rows[i].arch, EXPERTS, {"@attention.key_length", "u", "64"}, {"@rope.freq_base", "f", "150000"},
                 {"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.factor", "f", "32"},
                 {"@rope.scaling.original_context_length", "u", "4096"});
        cr_expect_eq(config.rope[ROPE_GLOBAL].truncate, rows[i].truncate, "%s", rows[i].arch);
        rope_table(&config.rope[ROPE_GLOBAL], 2, cosine, sine);
        double angle = atan2((double)sine[32 + 12], (double)cosine[32 + 12]);
        cr_expect_float_eq(angle, rows[i].frequency, 1e-8, "%s: %.9g", rows[i].arch, angle);
        config_free(&config);
    }
}

Test(config_gguf_families, the_table_of_sliding_layers)
{
    ACCEPTED("gemma3", {"@rope.freq_base", "f", "1e6"}, {"@rope.scaling.factor", "f", "8"});
    cr_expect_eq((int)config.rope[ROPE_GLOBAL].scaling, (int)ROPE_LINEAR);
    expect_local(ROPE_DEFAULT, 1e4, 1, 8);
    ACCEPTED("gemma3", {"@rope.freq_base_swa", "f", "500"}, {"rope_freqs.weight", "tensor", ""});
    cr_expect(config.rope[ROPE_GLOBAL].has_divisors);
    expect_local(ROPE_DEFAULT, 500, 1, 8);
    ACCEPTED("gemma3", {"@rope.freq_base_swa", "f", "500"}, {"sluice.rope_local.type", "str", "linear"},
             {"sluice.rope_local.theta", "d", "500.1"}, {"sluice.rope_local.factor", "d", "1.1"});
    cr_expect_eq(config.rope[ROPE_GLOBAL].theta, 1e4);
    expect_local(ROPE_LINEAR, 500.1, 1.1, 8);

    MALFORMED("gemma3", "rope.freq_base_swa\": found 1, expected a number in 1..1e+15",
              {"@rope.freq_base_swa", "f", "1"});
    UNSUPPORTED("gemma3", "rope.dimension_count_swa\": found 4, expected the whole head, 8",
                {"@rope.dimension_count_swa", "u", "4"});
}

#define GEMMA4                                                                                                 \
    {"@attention.key_length", "u", "16"}, {"@attention.value_length", "u", "16"},                              \
        {"@attention.key_length_swa", "u", "8"}, {"@attention.sliding_window", "u", "5"},                      \
        {"@attention.head_count_kv", "is", "2,2,1,1"}, {"@attention.sliding_window_pattern", "bs", "1,1,0,0"}, \
        {"@embedding_length_per_layer_input", "u", "0"}, SHARED_LAYERS("0")
#define SHARED_LAYERS(n)                      \
    {                                         \
        "@attention.shared_kv_layers", "u", n \
    }

Test(config_gguf_families, heads_of_two_sizes)
{
    ACCEPTED("gemma4", GEMMA4, {"blk.2.attn_k.weight", "tensor", ""}, {"rope_freqs.weight", "tensor", ""});
    for (int l = 0; l < 4; l++) {
        const struct mixer *mixer = &config.layers[l].mixer;
        cr_expect_eq(mixer->head_dim, l < 2 ? 8 : 16);
        cr_expect_eq(mixer->n_kv_heads, l < 2 ? 2 : 1);
        cr_expect_eq(mixer->window, l < 2 ? 5 : 0);
        cr_expect_eq(mixer->v_is_k, l >= 2);
        cr_expect_eq((int)mixer->rope, (int)(l < 2 ? ROPE_LOCAL : ROPE_GLOBAL));
    }
    cr_expect(config.rope[ROPE_GLOBAL].n_rot == 16 && config.rope[ROPE_GLOBAL].has_divisors);
    expect_local(ROPE_DEFAULT, 1e4, 1, 8);
    ACCEPTED("gemma4", GEMMA4, {"sluice.rope.type", "str", "proportional"}, {"sluice.rope.theta", "d", "1e6"},
             {"sluice.rope.factor", "d", "1"}, {"sluice.rope.partial", "d", "0.25"},
             {"rope_freqs.weight", "tensor", ""});
    cr_expect_eq((int)config.rope[ROPE_GLOBAL].scaling, (int)ROPE_PROPORTIONAL);
    cr_expect_eq(config.rope[ROPE_GLOBAL].partial, 0.25);
    cr_expect(!config.rope[ROPE_GLOBAL].has_divisors, "the numbers say it");
    config_free(&config);

    UNSUPPORTED("gemma4", "attention.value_length_swa\": found 16, expected 8, the length of keys", GEMMA4,
                {"@attention.value_length_swa", "u", "16"});
    UNSUPPORTED("gemma4", "embedding_length_per_layer_input\": found 256, expected 0 (not supported)",
                {"@embedding_length_per_layer_input", "u", "256"}, {"@attention.key_length", "u", "16"},
                {"@attention.key_length_swa", "u", "8"}, SHARED_LAYERS("0"));
    UNSUPPORTED("gemma4", "attention.shared_kv_layers\": found 2, expected 0 (not supported)",
                {"@embedding_length_per_layer_input", "u", "0"}, {"@attention.key_length", "u", "16"},
                {"@attention.key_length_swa", "u", "8"}, SHARED_LAYERS("2"));
    keys_write(&folder, "gemma4",
               (const struct key[MAX_KEYS]){GEMMA4,
                                            {"sluice.rope.type", "str", "proportional"},
                                            {"sluice.rope.theta", "d", "1e6"},
                                            {"sluice.rope.factor", "d", "1"}});
    cr_expect_eq((int)read_file(), (int)SLUICE_FORMAT);
    cr_expect_str_eq(failure.text,
                     "m.gguf: key \"sluice.rope.type\": found \"proportional\", expected with it theta and "
                     "what the scaling needs");
}

Test(config_gguf_families, windows_follow_from_the_family_where_others_know_them)
{
    static const struct {
        const char *arch, *type, *pattern;
        bool sliding[4];
    } rows[] = {
        {"gemma2", NULL, "", {true, false, true, false}},    {"gemma3", NULL, "", {true, true, true, true}},
        {"gemma3", "u", "2", {true, false, true, false}},    {"gemma2", "bs", "0,0,1,1", {false, false, true, true}},
        {"gpt-oss", NULL, "", {true, false, true, false}},   {"gpt-oss", "bs", "1,1,1,1", {true, true, true, true}},
        {"gpt-oss", "u", "1", {false, false, false, false}}, {"qwen3", NULL, "", {true, true, true, true}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct key keys[MAX_KEYS] = {
            EXPERTS,
            {"@attention.sliding_window", "u", "9"},
            {"@attention.sliding_window_pattern", rows[i].type, rows[i].pattern},
        };
        accepted(rows[i].arch, keys);
        for (int l = 0; l < 4; l++)
            cr_expect_eq(config.layers[l].mixer.window, rows[i].sliding[l] ? 9 : 0, "row %zu, layer %d", i, l);
        config_free(&config);
    }
    ACCEPTED("qwen3next", DELTA, {"@attention.sliding_window", "u", "9"});
    cr_expect_eq(config.layers[0].mixer.window, 0, "no attention there");
    cr_expect_eq(config.layers[3].mixer.window, 9);
    config_free(&config);
}

/* ---- what tensors and other keys say ----------------------------------------------------------------------------- */

Test(config_gguf_families, selection_biases_are_tensors)
{
    static const char *const names[] = {"blk.3.exp_probs_b.bias", "blk.3.exp_probs_b"};
    ACCEPTED("lfm2moe", EXPERTS, {"@shortconv.l_cache", "u", "3"});
    cr_expect(!config.layers[3].router.selection_bias);
    config_free(&config);
    for (int i = 0; i < 2; i++) {
        ACCEPTED("lfm2moe", EXPERTS, {"@shortconv.l_cache", "u", "3"}, {names[i], "tensor", ""});
        cr_expect(config.layers[3].router.selection_bias);
        config_free(&config);
    }
}

Test(config_gguf_families, softmax_of_the_chosen_is_normalised_softmax)
{
    ACCEPTED("olmoe", EXPERTS, {"@expert_gating_func", "u", "3"});
    cr_expect(config.layers[0].router.normalise);
    config_free(&config);
    UNSUPPORTED("olmoe", "expert_weights_norm\": found false, expected true", EXPERTS,
                {"@expert_gating_func", "u", "3"}, {"@expert_weights_norm", "bool", "false"});
    UNSUPPORTED("olmoe", "expert_gating_func\": found 4, expected 0 or 1", EXPERTS, {"@expert_gating_func", "u", "4"});
    ACCEPTED("gpt-oss", EXPERTS, {"@expert_weights_norm", "bool", "true"});
    config_free(&config);
}

Test(config_gguf_families, keys_of_other_families_are_refused)
{
    UNSUPPORTED("llama", "full_attention_interval\": found 4, expected 0 or 1", {"@full_attention_interval", "u", "4"});
    UNSUPPORTED("llama", "shortconv.l_cache\": found 3, expected 0", {"@shortconv.l_cache", "u", "3"});
    UNSUPPORTED("llama", "ssm.state_size\": found 64, expected 0", {"@ssm.state_size", "u", "64"});
    UNSUPPORTED("llama", "attention.temperature_scale\": found 0.5, expected 0",
                {"@attention.temperature_scale", "f", "0.5"});
    UNSUPPORTED("deepseek2", "attention.temperature_length\": found 8192, expected 0", LATENT, LAYOUT_B,
                {"@attention.temperature_length", "u", "8192"});
    UNSUPPORTED("qwen3", "attention.clamp_kqv\": found 8, expected 0", {"@attention.clamp_kqv", "f", "8"});
    UNSUPPORTED("gpt-oss", "attention.output_scale\": found 0.5, expected 0 or 1", EXPERTS,
                {"@attention.output_scale", "f", "0.5"});
    UNSUPPORTED("gemma3", "attn_logit_softcapping\": found 50, expected 0", {"@attn_logit_softcapping", "f", "50"});
    UNSUPPORTED("gemma", "attn_logit_softcapping\": found 50, expected 0", {"@attn_logit_softcapping", "f", "50"});
    UNSUPPORTED("qwen3moe", "swiglu_clamp_exp\": found 7, expected 0", EXPERTS, {"@swiglu_clamp_exp", "f", "7"});
    ACCEPTED("gemma2", {"@attn_logit_softcapping", "f", "40"}, {"@final_logit_softcapping", "f", "20"});
    cr_expect_eq(config.layers[0].mixer.softcap, 40.0f);
    cr_expect_eq(config.final_softcap, 20.0f);
    config_free(&config);
}

Test(config_gguf_families, messages_of_harmony_do_not_end_the_turn)
{
    ACCEPTED("gpt-oss", EXPERTS, {"tokenizer.ggml.tokens", "strs", "a,<|end|>,<|return|>,<|call|>"},
             {"@vocab_size", NULL, ""});
    cr_assert_eq(config.n_end_tokens, 2);
    cr_expect(config.end_tokens[0] == 2 && config.end_tokens[1] == 3);
    config_free(&config);
    ACCEPTED("llama", {"tokenizer.ggml.tokens", "strs", "a,<|end|>"}, {"@vocab_size", NULL, ""});
    cr_assert_eq(config.n_end_tokens, 1);
    cr_expect_eq(config.end_tokens[0], 1);
    config_free(&config);
}

/* ---- what is written --------------------------------------------------------------------------------------------- */

/* Reads config.json and writes its keys; the file is open until archive_close. */
static struct archive *exported(const struct edit *edits)
{
    struct archive *a = NULL;
    remove(folder_path(&folder, "m.gguf")); /* it would be taken for the model */
    config_write(&folder, edits);
    cr_assert_eq((int)read_path(folder.path, ARCHIVE_CONFIG), (int)SLUICE_OK, "%s", failure.text);
    struct gguf_writer *w = keys_start(&folder);
    config_export(&config, &generation, w);
    keys_finish(w, 0);
    config_free(&config);
    cr_assert_eq((int)archive_open(&a, folder_path(&folder, "m.gguf"), 0, &failure), (int)SLUICE_OK, "%s",
                 failure.text);
    return a;
}
#define EXPORTED(...) exported((const struct edit[]){__VA_ARGS__, {0}})

static void expect_number(const struct archive *a, const char *key, double number)
{
    struct meta value = archive_meta(a, DOCUMENT_GGUF, key);
    cr_expect(value.kind == META_INT || value.kind == META_FLOAT, "%s", key);
    cr_expect_eq(value.number, number, "%s: %.9g", key, value.number);
}

static void expect_no_key(const struct archive *a, const char *key)
{
    cr_expect_eq((int)archive_meta(a, DOCUMENT_GGUF, key).kind, (int)META_ABSENT, "%s", key);
}

static void expect_nothing_of_ours(const struct archive *a)
{
    struct meta value;
    const char *key;
    for (size_t i = 0; (key = archive_gguf_key(a, i, &value)); i++)
        cr_expect(strncmp(key, "sluice.", 7) != 0 || strcmp(key, "sluice.family") == 0, "%s", key);
}

#define FAMILY(name)                      \
    {                                     \
        "architectures", "[\"" name "\"]" \
    }

Test(config_gguf_families, keys_of_latent_attention)
{
    struct archive *a =
        EXPORTED(FAMILY("DeepseekV3ForCausalLM"), {"num_key_value_heads", "4"}, {"n_routed_experts", "8"},
                 {"kv_lora_rank", "20"}, {"q_lora_rank", "null"}, {"qk_nope_head_dim", "10"}, {"qk_rope_head_dim", "6"},
                 {"v_head_dim", "12"}, {"n_group", "4"}, {"topk_group", "2"},
                 {"rope_scaling", "{\"type\":\"yarn\",\"factor\":40,\"mscale\":1.0,\"mscale_all_dim\":1.0,"
                                  "\"original_max_position_embeddings\":16}"});
    expect_number(a, "deepseek2.block_count", 4);
    expect_number(a, "deepseek2.attention.head_count_kv", 1);
    expect_number(a, "deepseek2.attention.key_length", 26);
    expect_number(a, "deepseek2.attention.value_length", 20);
    expect_number(a, "deepseek2.attention.key_length_mla", 16);
    expect_number(a, "deepseek2.attention.value_length_mla", 12);
    expect_number(a, "deepseek2.attention.kv_lora_rank", 20);
    expect_number(a, "deepseek2.rope.dimension_count", 6);
    expect_number(a, "deepseek2.rope.scaling.yarn_log_multiplier", (double)0.1f);
    expect_number(a, "deepseek2.expert_gating_func", 2);
    expect_number(a, "deepseek2.leading_dense_block_count", 3);
    expect_number(a, "deepseek2.expert_weights_scale", 2.5);
    expect_no_key(a, "deepseek2.rope.scaling.attn_factor");
    expect_no_key(a, "deepseek2.attention.q_lora_rank");
    expect_nothing_of_ours(a);
    archive_close(&a);
}

Test(config_gguf_families, keys_of_layers_that_differ)
{
    struct archive *a = EXPORTED(FAMILY("Lfm2MoeForCausalLM"), {"full_attn_idxs", "[1,3]"}, {"num_dense_layers", "1"});
    struct meta heads = archive_meta(a, DOCUMENT_GGUF, "lfm2moe.attention.head_count_kv");
    cr_assert(heads.kind == META_ARRAY && heads.n == 4);
    for (size_t l = 0; l < 4; l++) cr_expect_eq(meta_element(heads, l).integer, l % 2 ? 2 : 0);
    expect_number(a, "lfm2moe.expert_gating_func", 2);
    expect_number(a, "lfm2moe.leading_dense_block_count", 1);
    expect_nothing_of_ours(a);
    archive_close(&a);

    a = EXPORTED(FAMILY("Qwen3NextForCausalLM"));
    expect_number(a, "qwen3next.full_attention_interval", 4);
    expect_number(a, "qwen3next.attention.head_count_kv", 2);
    expect_number(a, "qwen3next.rope.dimension_count", 2);
    expect_number(a, "qwen3next.ssm.inner_size", 4096);
    expect_nothing_of_ours(a);
    archive_close(&a);

    a = EXPORTED(FAMILY("Qwen3NextForCausalLM"),
                 {"layer_types", "[\"full_attention\",\"linear_attention\",\"linear_attention\",\"full_attention\"]"});
    struct meta types = archive_meta(a, DOCUMENT_GGUF, "sluice.layer_types");
    cr_assert(types.kind == META_ARRAY && types.n == 4, "no period says it");
    cr_expect_str_eq(meta_element(types, 1).string, "linear_attention");
    archive_close(&a);
}

Test(config_gguf_families, keys_of_heads_of_two_sizes)
{
    struct archive *a = EXPORTED(FAMILY("Gemma4ForCausalLM"), {"hidden_size_per_layer_input", "0"},
                                 {"global_head_dim", "16"}, {"attention_k_eq_v", "true"},
                                 {"num_global_key_value_heads", "1"}, {"sliding_window", "5"}, {"hidden_act", NULL});
    struct meta heads = archive_meta(a, DOCUMENT_GGUF, "gemma4.attention.head_count_kv");
    struct meta pattern = archive_meta(a, DOCUMENT_GGUF, "gemma4.attention.sliding_window_pattern");
    cr_assert(heads.kind == META_ARRAY && pattern.kind == META_ARRAY);
    for (size_t l = 0; l < 4; l++) {
        cr_expect_eq(meta_element(heads, l).integer, l == 3 ? 1 : 2);
        cr_expect_eq(meta_element(pattern, l).boolean, l != 3);
    }
    expect_number(a, "gemma4.attention.key_length", 16);
    expect_number(a, "gemma4.attention.value_length", 16);
    expect_number(a, "gemma4.attention.key_length_swa", 8);
    expect_number(a, "gemma4.attention.value_length_swa", 8);
    expect_number(a, "gemma4.rope.dimension_count", 16);
    expect_number(a, "gemma4.rope.dimension_count_swa", 8);
    expect_number(a, "gemma4.rope.freq_base_swa", 1e4);
    expect_no_key(a, "sluice.rope_local.type");
    archive_close(&a);
}

/* Frequencies of pairs that stand still are divided by what llama.cpp writes. */
Test(config_gguf_families, divisors_of_a_proportional_rotation)
{
    struct model_config c = {
        .rope = {{.scaling = ROPE_PROPORTIONAL, .n_rot = 16, .theta = 1e6, .factor = 2, .partial = 0.25}}};
    static const float expected[8] = {2, 2, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f};
    float divisors[8];
    cr_assert(config_rope_divisors(&c, divisors));
    cr_expect_arr_eq(divisors, expected, sizeof expected);
}

Test(config_gguf_families, what_other_programs_lack)
{
    static const struct {
        struct edit edits[8];
        const char *refused, *ignored;
    } rows[] = {
        {{FAMILY("Lfm2MoeForCausalLM"), {"full_attn_idxs", "[1,3]"}, {"num_dense_layers", "1"}}, "", ""},
        {{FAMILY("GptOssForCausalLM"), {"sliding_window", "5"}}, "", "parameters of YaRN"},
        {{FAMILY("GptOssForCausalLM"), {"rope_parameters", "{\"rope_theta\":150000}"}}, "", ""},
        {{FAMILY("MistralForCausalLM"), {"sliding_window", "5"}}, "", "the sliding window"},
        {{FAMILY("Qwen3NextForCausalLM")}, "", ""},
        {{FAMILY("Qwen3NextForCausalLM"),
          {"layer_types", "[\"full_attention\",\"linear_attention\",\"linear_attention\",\"full_attention\"]"}},
         "full attention without a period",
         ""},
        {{FAMILY("Qwen3NextForCausalLM"), {"linear_key_head_dim", "64"}}, "keys and values of different lengths", ""},
        {{FAMILY("DeepseekV3ForCausalLM"), {"num_key_value_heads", "4"}, {"n_group", "1"}, {"topk_group", "1"}},
         "",
         ""},
        {{FAMILY("DeepseekV3ForCausalLM"),
          {"num_key_value_heads", "4"},
          {"n_group", "1"},
          {"q_lora_rank", "null"},
          {"topk_group", "1"}},
         "queries without a latent",
         ""},
        {{FAMILY("DeepseekV3ForCausalLM"),
          {"num_key_value_heads", "4"},
          {"n_group", "1"},
          {"q_lora_rank", "null"},
          {"topk_group", "1"},
          {"num_hidden_layers", "27"}},
         "",
         ""},
        {{FAMILY("Qwen3MoeForCausalLM"), {"mlp_only_layers", "[0]"}, {"norm_topk_prob", "true"}},
         "dense layers among those with experts",
         ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        config_write(&folder, rows[i].edits);
        cr_assert_eq((int)read_path(folder.path, ARCHIVE_CONFIG), (int)SLUICE_OK, "%s", failure.text);
        struct config_peer_limits limits = config_peer_limits(&config);
        cr_expect_str_eq(limits.refused, rows[i].refused, "row %zu: %s", i, limits.refused);
        cr_expect_str_eq(limits.ignored, rows[i].ignored, "row %zu: %s", i, limits.ignored);
        config_free(&config);
    }
}

/* ---- anything ---------------------------------------------------------------------------------------------------- */

static void expect_sound(void)
{
    enum { POSITIONS = 4, MAX_HALF = 512 };
    static float cosine[POSITIONS * MAX_HALF], sine[POSITIONS * MAX_HALF];
    for (int l = 0; l < config.n_layers; l++) {
        const struct layer_config *layer = &config.layers[l];
        const struct mixer *mixer = &layer->mixer;
        if (mixer->kind == MIX_GQA) cr_expect_eq(mixer->n_heads % mixer->n_kv_heads, 0);
        if (mixer->kind == MIX_DELTA) cr_expect_eq(mixer->n_value_heads % mixer->n_key_heads, 0);
        if (mixer_is_recurrent(mixer)) cr_expect(mixer->conv_kernel > 0 && mixer->conv_kernel <= 64);
        if (!mixer_is_recurrent(mixer)) cr_expect(config.rope[mixer->rope].n_rot <= mixer->head_dim);
        if (!mixer_is_recurrent(mixer)) cr_expect(isfinite(mixer->scale));
        if (ffn_has_experts(&layer->ffn)) cr_expect(layer->router.top_k <= layer->router.n_experts);
        if (ffn_has_experts(&layer->ffn)) cr_expect_gt(layer->ffn.expert_size, 0);
        if (ffn_has_mlp(&layer->ffn)) cr_expect_gt(layer->ffn.intermediate_size, 0);
    }
    for (int i = 0; i < N_ROPES; i++) {
        const struct rope_config *r = &config.rope[i];
        cr_assert_leq(r->n_rot / 2, MAX_HALF);
        rope_table(r, POSITIONS, cosine, sine);
        for (int j = 0; j < POSITIONS * (r->n_rot / 2); j++) cr_expect(isfinite(cosine[j]) && isfinite(sine[j]));
    }
}

/* A good file of each family, of which up to three keys are something else: a sentence that names the file, or a
 * configuration that holds together. */
Test(config_gguf_families, random_keys_are_refused_or_make_sense)
{
    static const struct {
        const char *arch;
        struct key keys[MAX_KEYS];
    } bases[] = {
        {"deepseek2",
         {LATENT,
          LAYOUT_B,
          YARN("0.1"),
          {"@expert_group_count", "u", "4"},
          {"@expert_group_used_count", "u", "2"},
          {"@leading_dense_block_count", "u", "1"},
          {"@nextn_predict_layers", "u", "1"},
          {"@expert_gating_func", "u", "2"}}},
        {"gemma4", {GEMMA4, EXPERTS, {"@rope.freq_base_swa", "f", "1e4"}, {"@rope.dimension_count_swa", "u", "8"}}},
        {"gemma3",
         {{"@attention.sliding_window", "u", "9"},
          {"sluice.rope_local.type", "str", "yarn"},
          {"sluice.rope_local.theta", "d", "1e4"},
          {"sluice.rope_local.factor", "d", "2"},
          {"sluice.rope_local.original_context", "d", "32"},
          {"sluice.rope_local.beta_fast", "d", "32"},
          {"sluice.rope_local.beta_slow", "d", "1"}}},
        {"qwen3next",
         {DELTA,
          {"@full_attention_interval", "u", "2"},
          {"@rope.dimension_count", "u", "4"},
          {"@expert_shared_feed_forward_length", "u", "16"}}},
        {"lfm2moe",
         {EXPERTS,
          {"@shortconv.l_cache", "u", "3"},
          {"@attention.head_count_kv", "is", "0,2,0,2"},
          {"@leading_dense_block_count", "u", "1"},
          {"@expert_weights_scale", "f", "1.5"}}},
        {"gpt-oss",
         {EXPERTS, {"@attention.sliding_window", "u", "9"}, {"@attention.sliding_window_pattern", "u", "2"}}},
    };
    static const char *const types[] = {"u", "f", "d", "bool", "str", "is", "fs", "bs", "strs", NULL};
    static const char *const values[] = {"0",   "1",  "2",    "3",       "6",       "7",          "16",  "1024",
                                         "1e6", "-1", "nan",  "yarn",    "default", "true",       "1,2", "0,2,2,0",
                                         "inf", "4",  "4096", "2,2,2,2", "0,0,0,0", "4294967295", ""};
    enum { N_BASES = sizeof bases / sizeof *bases, ROUNDS = 50 * N_BASES };
    struct rng rng = rng_seed(41);
    int n_good = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct key keys[MAX_KEYS];
        int n = 0;
        memcpy(keys, bases[round % N_BASES].keys, sizeof keys);
        while (keys[n].name) n++;
        for (int i = (int)rng_below(&rng, 3); i >= 0; i--) {
            struct key *key = &keys[rng_below(&rng, (uint32_t)n)];
            if (rng_below(&rng, 2)) key->type = types[rng_below(&rng, sizeof types / sizeof *types)];
            key->value = values[rng_below(&rng, sizeof values / sizeof *values)];
        }
        keys_write(&folder, bases[round % N_BASES].arch, keys);
        sluice_status s = read_file();
        if (s) {
            cr_expect(s == SLUICE_FORMAT || s == SLUICE_UNSUPPORTED, "status %d", (int)s);
            cr_expect_null(config.layers);
            cr_expect_eq(strchr(failure.text, '\n'), NULL);
            continue;
        }
        n_good++;
        expect_sound();
        config_free(&config);
    }
    cr_expect(n_good > ROUNDS / 20 && n_good < ROUNDS, "%d of %d are good: both must occur", n_good, ROUNDS);
}
