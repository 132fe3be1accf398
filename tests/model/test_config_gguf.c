/* The keys of a GGUF file: every way that a number may lie (G26..G37 are rows of a catalogue of malformed inputs), what
 * absent keys mean, and that a configuration survives being written and read again. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/arch.h"
#include "model/config_export.h"
#include "tests/model/checkpoint.h"
#include "tests/model/keys.h"
#include "tests/support/rng.h"
#include "weights/archive.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(config_gguf, .init = create, .fini = destroy);

static struct model_config config;
static struct generation_config generation;
static struct failure failure;
enum { MAX_HALF = 512 };

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

struct bad_row {
    struct key keys[MAX_KEYS];
    const char *line; /* after "m.gguf: " */
};

static void all_refused(const char *arch, const struct bad_row *rows, size_t n, sluice_status status)
{
    for (size_t i = 0; i < n; i++) {
        char sentence[1024];
        snprintf(sentence, sizeof sentence, "m.gguf: %s", rows[i].line);
        keys_write(&folder, arch, rows[i].keys);
        sluice_status s = read_file();
        cr_expect_eq((int)s, (int)status, "row %zu: status %d", i, (int)s);
        cr_expect_eq((int)failure.status, (int)s);
        cr_expect_str_eq(failure.text, sentence, "\n     got: %s\nexpected: %s", failure.text, sentence);
        if (s)
            cr_expect_null(config.layers, "nothing is owned after a failure");
        else
            config_free(&config);
    }
}
#define ALL_REFUSED(arch, rows, status) all_refused(arch, rows, sizeof(rows) / sizeof *(rows), status)

#define EXPERTS                         {"@expert_count", "u", "8"}, {"@expert_used_count", "u", "2"}, WIDTH
#define WIDTH                                    \
    {                                            \
        "@expert_feed_forward_length", "u", "16" \
    }

/* ---- malformed --------------------------------------------------------------------------------------------------- */

/* A sentence about an unknown name ends with every name once. */
static void not_supported(const char *name, const char *shown)
{
    char line[512];
    int n = snprintf(line, sizeof line, "key \"general.architecture\": \"%s\" is not supported (known: ", shown);
    for (int i = 0; arch_list[i]; i++) {
        bool again = i > 0;
        for (int j = 0; j < i; j++) again &= strcmp(arch_list[j]->gguf_arch, arch_list[i]->gguf_arch) != 0;
        if (i == 0 || again)
            n += snprintf(line + n, sizeof line - (size_t)n, "%s%s", i ? ", " : "", arch_list[i]->gguf_arch);
    }
    snprintf(line + n, sizeof line - (size_t)n, ")");
    const struct bad_row row = {{{"general.architecture", "str", name}}, line};
    all_refused("llama", &row, 1, SLUICE_UNSUPPORTED);
}

Test(config_gguf, G26_G27_the_architecture_is_known)
{
    static const struct bad_row malformed[] = {
        {{{"general.architecture", NULL, ""}}, "key \"general.architecture\": missing"},
        {{{"general.architecture", "u", "7"}}, "key \"general.architecture\": found 7, expected a string"},
    };
    ALL_REFUSED("llama", malformed, SLUICE_FORMAT);
    not_supported("../../etc", "../../etc");
    not_supported("gpt\033[2J", "gpt\\x1b[2J");
    not_supported("Llama", "Llama");
    not_supported("llama2", "llama2");
    not_supported("", "");
    char *long_name = malloc(1 << 20);
    cr_assert(long_name);
    memset(long_name, 'a', 1 << 20);
    long_name[(1 << 20) - 1] = 0;
    keys_write(&folder, "llama", (const struct key[MAX_KEYS]){{"general.architecture", "str", long_name}});
    cr_expect_eq((int)read_file(), (int)SLUICE_UNSUPPORTED);
    cr_expect_lt(strlen(failure.text), 500);
    free(long_name);
}

Test(config_gguf, G28_G29_block_count)
{
    static const struct bad_row rows[] = {
        {{{"@block_count", "u", "0"}}, "key \"llama.block_count\": found 0, expected an integer in 1..1024"},
        {{{"@block_count", "u", "1025"}}, "key \"llama.block_count\": found 1025, expected an integer in 1..1024"},
        {{{"@block_count", "u", "4294967295"}},
         "key \"llama.block_count\": found 4294967295, expected an integer in 1..1024"},
        {{{"@block_count", "str", "4"}}, "key \"llama.block_count\": found \"4\", expected an integer in 1..1024"},
        {{{"@block_count", "f", "4"}}, "key \"llama.block_count\": found 4.0, expected an integer in 1..1024"},
        {{{"@block_count", "bool", "true"}}, "key \"llama.block_count\": found true, expected an integer in 1..1024"},
        {{{"@block_count", "is", "4,4,4,4"}},
         "key \"llama.block_count\": found an array, expected an integer in 1..1024"},
        {{{"@block_count", NULL, ""}}, "key \"llama.block_count\": missing"},
    };
    ALL_REFUSED("llama", rows, SLUICE_FORMAT);
}

#define HEADS "key \"llama.attention.head_count"

Test(config_gguf, G30_G31_heads)
{
    static const struct bad_row rows[] = {
        {{{"@attention.head_count", "u", "0"}}, HEADS "\": found 0, expected an integer in 1..1024"},
        {{{"@attention.head_count", NULL, ""}}, HEADS "\": missing"},
        {{{"@attention.head_count", "is", "4,4,4,0"}}, HEADS "[3]\": found 0, expected an integer in 1..1024"},
        {{{"@attention.head_count", "is", "4,4,4,-4"}}, HEADS "[3]\": found -4, expected an integer in 1..1024"},
        {{{"@attention.head_count", "fs", "4,4,4,4"}}, HEADS "[0]\": found 4.0, expected an integer in 1..1024"},
        {{{"@attention.head_count", "is", "4,4,4"}},
         HEADS "\": found 3 values, expected one, or one for each of 4 layers"},
        {{{"@attention.head_count", "is", "4,4,4,4,4"}},
         HEADS "\": found 5 values, expected one, or one for each of 4 layers"},
        {{{"@attention.head_count", "is", ""}}, HEADS "\": found 0 values, expected one, or one for each of 4 layers"},
        {{{"@attention.head_count", "u", "12"}, {"@attention.head_count_kv", "u", "5"}},
         HEADS "\": 12 heads are not a multiple of 5 key-value heads"},
        {{{"@attention.head_count", "u", "2"}, {"@attention.head_count_kv", "u", "4"}},
         HEADS "\": 2 heads are not a multiple of 4 key-value heads"},
        {{{"@attention.head_count_kv", "u", "0"}}, HEADS "_kv\": found 0, expected an integer in 1..1024"},
        {{{"@attention.head_count", "u", "6"}},
         HEADS "\": 6 does not divide embedding_length 32, and attention.key_length is missing"},
        {{{"@attention.key_length", "u", "7"}},
         "key \"llama.attention.key_length\": found 7, expected an even number in 2..1024"},
        {{{"@attention.key_length", "u", "100000"}},
         "key \"llama.attention.key_length\": found 100000, expected an integer in 2..1024"},
    };
    ALL_REFUSED("llama", rows, SLUICE_FORMAT);
    static const struct bad_row unsupported[] = {
        {{{"@attention.head_count", "is", "4,4,8,4"}}, HEADS "[2]\": found 8, expected 4 as in layer 0"},
        {{{"@attention.head_count_kv", "is", "2,4,4,4"}}, HEADS "_kv[1]\": found 4, expected 2 as in layer 0"},
        {{{"@feed_forward_length", "is", "48,48,48,64"}},
         "key \"llama.feed_forward_length[3]\": found 64, expected 48 as in layer 0"},
        {{{"@attention.value_length", "u", "16"}},
         "key \"llama.attention.value_length\": found 16, expected 8, the length of keys"},
    };
    ALL_REFUSED("llama", unsupported, SLUICE_UNSUPPORTED);
    ACCEPTED("llama", {"@attention.head_count", "is", "4,4,4,4"}, {"@feed_forward_length", "is", "40,40,40,40"},
             {"@attention.head_count_kv", NULL, ""}, {"@attention.key_length", "u", "16"},
             {"@attention.value_length", "u", "16"});
    cr_expect_eq(config.layers[3].mixer.n_heads, 4);
    cr_expect_eq(config.layers[3].mixer.n_kv_heads, 4, "absent: as many as heads");
    cr_expect_eq(config.layers[3].mixer.head_dim, 16);
    cr_expect_eq(config.layers[3].ffn.intermediate_size, 40);
    config_free(&config);
}

Test(config_gguf, G32_experts)
{
#define USED "key \"qwen3moe.expert_used_count"
    static const struct bad_row rows[] = {
        {{EXPERTS, {"@expert_used_count", "u", "0"}}, USED "\": found 0, expected an integer in 1..64"},
        {{EXPERTS, {"@expert_used_count", "u", "9"}}, USED "\": found 9, expected at most the number of experts, 8"},
        {{EXPERTS, {"@expert_used_count", "is", "2,2,0,2"}}, USED "[2]\": found 0, expected an integer in 1..64"},
        {{{"@expert_count", "u", "8"}}, USED "\": missing"},
        {{{"@expert_used_count", "u", "2"}}, "key \"qwen3moe.expert_count\": missing"},
        {{EXPERTS, {"@expert_count", "u", "0"}},
         "key \"qwen3moe.expert_count\": found 0, expected an integer in 1..4096"},
        {{EXPERTS, {"@expert_count", "u", "5000"}},
         "key \"qwen3moe.expert_count\": found 5000, expected an integer in 1..4096"},
        {{{"@expert_count", "u", "8"}, {"@expert_used_count", "u", "2"}, {"@feed_forward_length", NULL, ""}},
         "key \"qwen3moe.expert_feed_forward_length\": missing"},
        {{EXPERTS, {"sluice.dense_layers", "is", "2"}, {"@feed_forward_length", NULL, ""}},
         "key \"qwen3moe.feed_forward_length\": missing"},
        {{EXPERTS, {"sluice.dense_layers", "is", "4"}},
         "key \"sluice.dense_layers\": found 4, expected an integer in 0..3"},
        {{EXPERTS, {"sluice.dense_layers", "u", "1"}},
         "key \"sluice.dense_layers\": found 1, expected an array of layer numbers"},
        {{EXPERTS, {"@expert_weights_norm", "u", "1"}},
         "key \"qwen3moe.expert_weights_norm\": found 1, expected true or false"},
    };
    ALL_REFUSED("qwen3moe", rows, SLUICE_FORMAT);
    static const struct bad_row unsupported[] = {
        {{EXPERTS, {"@expert_used_count", "is", "2,3,2,2"}}, USED "[1]\": found 3, expected 2 as in layer 0"},
        {{EXPERTS, {"@expert_gating_func", "u", "2"}}, "key \"qwen3moe.expert_gating_func\": found 2, expected 0 or 1"},
        {{EXPERTS, {"@expert_weights_scale", "f", "2.5"}},
         "key \"qwen3moe.expert_weights_scale\": found 2.5, expected 0 or 1"},
        {{EXPERTS, {"@expert_group_count", "u", "4"}}, "key \"qwen3moe.expert_group_count\": found 4, expected 0 or 1"},
    };
    ALL_REFUSED("qwen3moe", unsupported, SLUICE_UNSUPPORTED);
    static const struct bad_row shared[] = {
        {{EXPERTS, {"@feed_forward_length", NULL, ""}}, "key \"qwen2moe.expert_shared_feed_forward_length\": missing"},
    };
    ALL_REFUSED("qwen2moe", shared, SLUICE_FORMAT);
    static const struct bad_row mixtral[] = {
        {{EXPERTS, {"@expert_weights_norm", "bool", "false"}},
         "key \"llama.expert_weights_norm\": found false, expected true"},
    };
    ALL_REFUSED("llama", mixtral, SLUICE_UNSUPPORTED);
}

Test(config_gguf, G33_G35_rope)
{
#define BASE_RANGE "expected a number in 1..1e+15"
    static const struct bad_row rows[] = {
        {{{"@rope.freq_base", "f", "nan"}}, "key \"llama.rope.freq_base\": found nan, " BASE_RANGE},
        {{{"@rope.freq_base", "f", "inf"}}, "key \"llama.rope.freq_base\": found inf, " BASE_RANGE},
        {{{"@rope.freq_base", "f", "0"}}, "key \"llama.rope.freq_base\": found 0, " BASE_RANGE},
        {{{"@rope.freq_base", "f", "-1"}}, "key \"llama.rope.freq_base\": found -1, " BASE_RANGE},
        {{{"@rope.freq_base", "str", "1e4"}}, "key \"llama.rope.freq_base\": found \"1e4\", " BASE_RANGE},
        {{{"@rope.dimension_count", "u", "0"}},
         "key \"llama.rope.dimension_count\": found 0, expected an integer in 2..1024"},
        {{{"@rope.dimension_count", "u", "7"}}, "key \"llama.rope.dimension_count\": found 7, expected an even number"},
        {{{"@rope.dimension_count", "u", "96"}},
         "key \"llama.rope.dimension_count\": found 96, expected at most the head dimension, 8"},
        {{{"@rope.scaling.factor", "f", "-4"}},
         "key \"llama.rope.scaling.factor\": found -4, expected a number in 1e-06..1e+06"},
        {{{"@rope.scaling.factor", "f", "nan"}},
         "key \"llama.rope.scaling.factor\": found nan, expected a number in 1e-06..1e+06"},
        {{{"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.original_context_length", "u", "0"}},
         "key \"llama.rope.scaling.original_context_length\": found 0, expected a number in 1..1.67772e+07"},
        {{{"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.yarn_beta_fast", "f", "0.5"}},
         "key \"llama.rope.scaling.yarn_beta_fast\": found 0.5, expected at least beta_slow 1"},
        {{{"sluice.rope.type", "str", "llama3"}, {"sluice.rope.theta", "d", "5e5"}, {"sluice.rope.factor", "d", "8"}},
         "key \"sluice.rope.type\": found \"llama3\", expected with it theta and what the scaling needs"},
        {{{"sluice.rope.type", "str", "linear"}, {"sluice.rope.theta", "d", "1e4"}, {"sluice.rope.factor", "d", "0"}},
         "key \"sluice.rope.factor\": found 0, expected a number in 1e-06..1e+06"},
    };
    ALL_REFUSED("llama", rows, SLUICE_FORMAT);
    static const struct bad_row unsupported[] = {
        {{{"@rope.dimension_count", "u", "4"}},
         "key \"llama.rope.dimension_count\": found 4, expected the whole head, 8"},
        {{{"@rope.scaling.type", "str", "longrope"}},
         "key \"llama.rope.scaling.type\": found \"longrope\", expected one of none, linear, yarn"},
        {{{"@rope.scaling.type", "u", "1"}},
         "key \"llama.rope.scaling.type\": found 1, expected one of none, linear, yarn"},
        {{{"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.yarn_log_multiplier", "f", "0.1"}},
         "key \"llama.rope.scaling.yarn_log_multiplier\": found 0.100000001, expected 0"},
        {{{"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.yarn_ext_factor", "f", "0.5"}},
         "key \"llama.rope.scaling.yarn_ext_factor\": found 0.5, expected 1"},
        {{{"sluice.rope.type", "str", "dynamic"}},
         "key \"sluice.rope.type\": found \"dynamic\", expected one of default, linear, llama3, yarn, proportional"},
    };
    ALL_REFUSED("llama", unsupported, SLUICE_UNSUPPORTED);
}

Test(config_gguf, G34_G36_G37_sizes)
{
#define EPSILON "key \"llama.attention.layer_norm_rms_epsilon\": "
    static const struct bad_row rows[] = {
        {{{"@attention.layer_norm_rms_epsilon", "f", "nan"}}, EPSILON "found nan, expected a number in 1e-30..1"},
        {{{"@attention.layer_norm_rms_epsilon", "f", "-1"}}, EPSILON "found -1, expected a number in 1e-30..1"},
        {{{"@attention.layer_norm_rms_epsilon", "f", "0"}}, EPSILON "found 0, expected a number in 1e-30..1"},
        {{{"@attention.layer_norm_rms_epsilon", "f", "1e30"}},
         EPSILON "found 1.00000002e+30, expected a number in 1e-30..1"},
        {{{"@attention.layer_norm_rms_epsilon", NULL, ""}}, EPSILON "missing"},
        {{{"@embedding_length", "u", "0"}},
         "key \"llama.embedding_length\": found 0, expected an integer in 1..131072"},
        {{{"@embedding_length", "u", "4294967295"}},
         "key \"llama.embedding_length\": found 4294967295, expected an integer in 1..131072"},
        {{{"@context_length", "u", "0"}}, "key \"llama.context_length\": found 0, expected an integer in 1..16777216"},
        {{{"@context_length", "u", "4294967295"}},
         "key \"llama.context_length\": found 4294967295, expected an integer in 1..16777216"},
        {{{"@context_length", NULL, ""}}, "key \"llama.context_length\": missing"},
        {{{"@feed_forward_length", "u", "0"}},
         "key \"llama.feed_forward_length\": found 0, expected an integer in 1..16777216"},
        {{{"@feed_forward_length", NULL, ""}}, "key \"llama.feed_forward_length\": missing"},
        {{{"@vocab_size", "u", "0"}}, "key \"llama.vocab_size\": found 0, expected an integer in 1..4194304"},
        {{{"@vocab_size", NULL, ""}}, "key \"llama.vocab_size\": missing, and so is key \"tokenizer.ggml.tokens\""},
        {{{"@vocab_size", NULL, ""}, {"tokenizer.ggml.tokens", "u", "5"}},
         "key \"tokenizer.ggml.tokens\": found 0 tokens, expected 1..4194304"},
    };
    ALL_REFUSED("llama", rows, SLUICE_FORMAT);
}

Test(config_gguf, windows_and_tokens_are_in_range)
{
#define PATTERN "key \"llama.attention.sliding_window_pattern"
    static const struct bad_row rows[] = {
        {{{"@attention.sliding_window", "str", "9"}},
         "key \"llama.attention.sliding_window\": found \"9\", expected an integer in 0..16777216"},
        {{{"@attention.sliding_window", "u", "9"}, {"@attention.sliding_window_pattern", "bs", "1,0,1"}},
         PATTERN "\": found 3 values, expected one for each of 4 layers"},
        {{{"@attention.sliding_window", "u", "9"}, {"@attention.sliding_window_pattern", "is", "1,0,1,0"}},
         PATTERN "[0]\": found 1, expected true or false"},
        {{{"@attention.sliding_window", "u", "9"}, {"@attention.sliding_window_pattern", "u", "5000"}},
         PATTERN "\": found 5000, expected an integer in 0..1024"},
        {{{"@attention.sliding_window", "u", "9"}, {"@attention.sliding_window_pattern", "str", "x"}},
         PATTERN "\": found \"x\", expected an integer or an array"},
        {{{"tokenizer.ggml.bos_token_id", "u", "100"}},
         "key \"tokenizer.ggml.bos_token_id\": found 100, expected an integer in 0..99"},
        {{{"tokenizer.ggml.eos_token_id", "u", "100"}},
         "key \"tokenizer.ggml.eos_token_id\": found 100, expected an integer in 0..99"},
        {{{"tokenizer.ggml.eot_token_id", "str", "a"}},
         "key \"tokenizer.ggml.eot_token_id\": found \"a\", expected an integer in 0..99"},
        {{{"sluice.end_tokens", "is", "1,100"}}, "key \"sluice.end_tokens\": found 100, expected an integer in 0..99"},
        {{{"sluice.end_tokens", "u", "1"}}, "key \"sluice.end_tokens\": found 1, expected an array of token ids"},
        {{{"general.sampling.temp", "f", "-1"}},
         "key \"general.sampling.temp\": found -1, expected a number in 0..100"},
        {{{"general.sampling.top_p", "f", "1.5"}},
         "key \"general.sampling.top_p\": found 1.5, expected a number in 1e-09..1"},
        {{{"sluice.do_sample", "u", "1"}}, "key \"sluice.do_sample\": found 1, expected true or false"},
    };
    ALL_REFUSED("llama", rows, SLUICE_FORMAT);
    static const struct bad_row unsupported[] = {
        {{{"@attention.causal", "bool", "false"}}, "key \"llama.attention.causal\": found false, expected true"},
        {{{"@final_logit_softcapping", "f", "30"}}, "key \"llama.final_logit_softcapping\": found 30, expected 0"},
        {{{"@residual_scale", "f", "0.25"}}, "key \"llama.residual_scale\": found 0.25, expected 0 or 1"},
        {{{"sluice.family", "str", "qwen3"}},
         "key \"sluice.family\": found \"qwen3\", expected a family of this architecture"},
        {{{"sluice.family", "u", "3"}}, "key \"sluice.family\": found 3, expected a family of this architecture"},
    };
    ALL_REFUSED("llama", unsupported, SLUICE_UNSUPPORTED);
    ACCEPTED("llama", {"@attention.causal", "bool", "true"}, {"@final_logit_softcapping", "f", "0"},
             {"@residual_scale", "f", "1"}, {"@logit_scale", "f", "0"});
    config_free(&config);
}

/* ---- what keys mean ---------------------------------------------------------------------------------------------- */

Test(config_gguf, the_marker_tells_families_of_one_name)
{
    ACCEPTED("llama", {0});
    cr_expect_str_eq(config.arch->name, "llama");
    config_free(&config);
    ACCEPTED("llama", {"@expert_count", "u", "0"}, {"@attention.sliding_window", "u", "0"});
    cr_expect_str_eq(config.arch->name, "llama");
    config_free(&config);
    ACCEPTED("llama", {"@attention.sliding_window", "u", "9"});
    cr_expect_str_eq(config.arch->name, "mistral");
    for (int l = 0; l < 4; l++) cr_expect_eq(config.layers[l].mixer.window, 9);
    config_free(&config);
    ACCEPTED("llama", EXPERTS);
    cr_expect_str_eq(config.arch->name, "mixtral");
    cr_expect_eq(config.layers[0].ffn.expert_size, 48, "the width of its experts is feed_forward_length");
    config_free(&config);
    ACCEPTED("llama", EXPERTS, {"@attention.sliding_window", "u", "9"});
    cr_expect_str_eq(config.arch->name, "mixtral");
    cr_expect_eq(config.layers[3].mixer.window, 9);
    config_free(&config);
    ACCEPTED("llama", {"sluice.family", "str", "mistral"});
    cr_expect_str_eq(config.arch->name, "mistral");
    cr_expect_eq(config.layers[0].mixer.window, 0);
    config_free(&config);
}

/* Without a key, what llama.cpp does: Mixtral and Qwen3-MoE divide by the sum, OLMoE and Qwen2-MoE do not. */
Test(config_gguf, families_differ_where_keys_are_absent)
{
    static const struct {
        const char *arch, *family;
        bool normalise, qkv_bias;
        int qk_norm, ffn, shared;
    } rows[] = {
        {"llama", "mixtral", true, false, QK_NORM_NONE, 48, 0},
        {"olmoe", "olmoe", false, false, QK_NORM_FULL, 48, 0},
        {"qwen2moe", "qwen2_moe", false, false, QK_NORM_NONE, 16, 48},
        {"qwen3moe", "qwen3_moe", true, false, QK_NORM_PER_HEAD, 16, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int stated = 0; stated < 3; stated++) {
            bool always = i == 0; /* Mixtral has no other way */
            const struct key keys[MAX_KEYS] = {
                EXPERTS, {"@expert_weights_norm", stated ? "bool" : NULL, stated == 1 || always ? "true" : "false"}};
            accepted(rows[i].arch, keys);
            const struct layer_config *layer = &config.layers[1];
            bool normalise = stated == 0 || always ? rows[i].normalise : stated == 1;
            cr_expect_str_eq(config.arch->name, rows[i].family);
            cr_expect_eq(layer->ffn.kind, FFN_MOE);
            cr_expect_eq(layer->router.normalise, normalise, "%s, %d", rows[i].arch, stated);
            cr_expect_eq(layer->router.n_experts, 8);
            cr_expect_eq(layer->router.top_k, 2);
            cr_expect_eq((int)layer->mixer.qk_norm, rows[i].qk_norm);
            cr_expect_eq(layer->mixer.qkv_bias, rows[i].qkv_bias);
            cr_expect_eq(layer->ffn.expert_size, rows[i].ffn, "%s", rows[i].arch);
            cr_expect_eq(layer->ffn.shared_size, rows[i].shared, "%s", rows[i].arch);
            config_free(&config);
        }
    ACCEPTED("qwen3moe", {"@expert_count", "u", "8"}, {"@expert_used_count", "u", "2"});
    cr_expect_eq(config.layers[0].ffn.expert_size, 24, "old files: feed_forward_length over all chosen experts");
    config_free(&config);
    ACCEPTED("qwen2moe", EXPERTS, {"@expert_shared_feed_forward_length", "u", "20"});
    cr_expect_eq(config.layers[0].ffn.shared_size, 20);
    config_free(&config);
    ACCEPTED("olmoe", EXPERTS, {"@attention.clamp_kqv", "f", "8"});
    cr_expect_eq(config.layers[2].mixer.clip_qkv, 8.0f);
    config_free(&config);
    ACCEPTED("qwen3moe", EXPERTS, {"sluice.dense_layers", "is", "1,3"});
    for (int l = 0; l < 4; l++) {
        cr_expect_eq(config.layers[l].ffn.kind, l % 2 ? FFN_DENSE : FFN_MOE);
        cr_expect_eq(config.layers[l].ffn.intermediate_size, l % 2 ? 48 : 0);
        cr_expect_eq(config.layers[l].ffn.expert_size, l % 2 ? 0 : 16);
    }
    config_free(&config);
}

Test(config_gguf, tensors_tell_biases_and_tied_outputs)
{
    ACCEPTED("llama", {"blk.1.attn_q.bias", "tensor", ""}, {"blk.2.attn_output.bias", "tensor", ""},
             {"blk.3.ffn_gate.bias", "tensor", ""});
    for (int l = 0; l < 4; l++) {
        cr_expect_eq(config.layers[l].mixer.qkv_bias, l == 1, "layer %d", l);
        cr_expect_eq(config.layers[l].mixer.output_bias, l == 2, "layer %d", l);
        cr_expect_eq(config.layers[l].ffn.bias, l == 3, "layer %d", l);
    }
    cr_expect(!config.tied_embeddings);
    config_free(&config);
    ACCEPTED("qwen2", {"output.weight", NULL, ""}, {"token_embd.weight", "tensor", ""});
    cr_expect(config.tied_embeddings);
    cr_expect(config.layers[0].mixer.qkv_bias, "Qwen2 does not work without: they will be missed");
    config_free(&config);
}

Test(config_gguf, windows_per_layer)
{
    static const struct {
        const char *type, *pattern;
        bool sliding[4];
    } rows[] = {
        {NULL, "", {true, true, true, true}},   {"bs", "0,1,1,0", {false, true, true, false}},
        {"u", "0", {true, true, true, true}},   {"u", "1", {false, false, false, false}},
        {"u", "2", {true, false, true, false}}, {"u", "3", {true, true, false, true}},
        {"u", "6", {true, true, true, true}},
    };
    static const char *const archs[] = {"llama", "qwen2", "qwen3", "qwen3moe"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof archs / sizeof *archs; j++) {
            const struct key keys[MAX_KEYS] = {{"@attention.sliding_window", "u", "9"},
                                               {"@attention.sliding_window_pattern", rows[i].type, rows[i].pattern},
                                               {"@expert_count", j == 3 ? "u" : NULL, "8"},
                                               {"@expert_used_count", j == 3 ? "u" : NULL, "2"}};
            accepted(archs[j], keys);
            for (int l = 0; l < 4; l++)
                cr_expect_eq(config.layers[l].mixer.window, rows[i].sliding[l] ? 9 : 0, "%s, row %zu, layer %d",
                             archs[j], i, l);
            config_free(&config);
        }
}

Test(config_gguf, rope_scalings)
{
    ACCEPTED("llama", {0});
    cr_expect_eq(config.rope[0].scaling, ROPE_DEFAULT);
    cr_expect_eq(config.rope[0].theta, 1e4);
    cr_expect(!config.rope[0].has_divisors);
    config_free(&config);
    ACCEPTED("llama", {"@rope.freq_base", "f", "5e5"}, {"@rope.dimension_count", "u", "8"},
             {"rope_freqs.weight", "tensor", ""});
    cr_expect_eq(config.rope[0].theta, 5e5);
    cr_expect(config.rope[0].has_divisors);
    cr_expect_null(config.rope[0].divisors);
    config_free(&config);
    static const char *const linear_keys[] = {"@rope.scaling.factor", "@rope.scale_linear"};
    for (int i = 0; i < 2; i++) {
        ACCEPTED("llama", {linear_keys[i], "f", "2.5"});
        cr_expect_eq(config.rope[0].scaling, ROPE_LINEAR, "a factor alone is a linear one");
        cr_expect_eq(config.rope[0].factor, 2.5);
        config_free(&config);
        ACCEPTED("llama", {linear_keys[i], "f", "2.5"}, {"@rope.scaling.type", "str", "none"});
        cr_expect_eq(config.rope[0].scaling, ROPE_DEFAULT);
        config_free(&config);
        ACCEPTED("llama", {linear_keys[i], "f", "0"}, {"@rope.scaling.type", "str", "linear"});
        cr_expect_eq(config.rope[0].scaling, ROPE_DEFAULT);
        config_free(&config);
    }
}

Test(config_gguf, yarn)
{
    ACCEPTED("qwen3", {"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.factor", "f", "4"},
             {"@rope.scaling.original_context_length", "u", "64"});
    cr_expect_eq(config.rope[0].scaling, ROPE_YARN);
    cr_expect_eq(config.rope[0].original_context, 64);
    cr_expect_eq(config.rope[0].beta_fast, 32);
    cr_expect_eq(config.rope[0].beta_slow, 1);
    cr_expect(config.rope[0].truncate, "always, in these files");
    cr_expect_float_eq(rope_magnitude(&config.rope[0]), 1.138629436, 1e-9);
    cr_expect_eq(config.n_context, 256, "the stretched context counts");
    config_free(&config);
    ACCEPTED("qwen3", {"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.factor", "f", "4"},
             {"@rope.scaling.attn_factor", "f", "0.5"}, {"@rope.scaling.yarn_ext_factor", "f", "1"},
             {"@rope.scaling.yarn_beta_fast", "f", "16"}, {"@rope.scaling.yarn_beta_slow", "f", "2"});
    cr_expect_eq(config.rope[0].original_context, 128, "absent: the context");
    cr_expect_eq(config.rope[0].beta_fast, 16);
    cr_expect_eq(config.rope[0].beta_slow, 2);
    cr_expect_float_eq(rope_magnitude(&config.rope[0]), 0.5 * 1.138629436, 1e-9);
    config_free(&config);
    ACCEPTED("qwen3", {"@rope.scaling.type", "str", "yarn"}, {"@rope.scaling.factor", "f", "4"},
             {"@rope.scaling.yarn_attn_factor", "f", "1.25"}, {"@rope.scaling.yarn_ext_factor", "f", "-1"});
    cr_expect_eq(rope_magnitude(&config.rope[0]), 1.25, "config.json's attention_factor");
    config_free(&config);
    ACCEPTED("qwen3", {"@rope.scaling.type", "str", "none"}, {"@rope.scaling.attn_factor", "f", "0.5"});
    cr_expect_eq(rope_magnitude(&config.rope[0]), 0.5, "with any scaling");
    config_free(&config);
}

Test(config_gguf, first_and_last_tokens)
{
    ACCEPTED("llama", {"tokenizer.ggml.bos_token_id", "u", "1"}, {"tokenizer.ggml.eos_token_id", "u", "2"},
             {"tokenizer.ggml.eot_token_id", "u", "7"}, {"tokenizer.ggml.eom_token_id", "u", "2"});
    cr_expect_eq(config.bos_token, 1);
    cr_expect_eq(config.n_end_tokens, 2);
    cr_expect_eq(config.end_tokens[0], 2);
    cr_expect_eq(config.end_tokens[1], 7);
    config_free(&config);
    ACCEPTED("llama", {"tokenizer.ggml.bos_token_id", "u", "4294967295"});
    cr_expect_eq(config.bos_token, -1, "-1 in 32 bits is no token");
    cr_expect_eq(config.n_end_tokens, 0);
    config_free(&config);
    /* chat models end their turns with tokens that no key names */
    ACCEPTED("qwen2", {"tokenizer.ggml.eos_token_id", "u", "3"}, {"@vocab_size", NULL, ""},
             {"tokenizer.ggml.tokens", "strs", "a,<|im_end|>,<|im_start|>,<|endoftext|>,<|eot_id|"});
    cr_expect_eq(config.vocab_size, 5);
    cr_expect_eq(config.n_end_tokens, 2);
    cr_expect_eq(config.end_tokens[0], 3);
    cr_expect_eq(config.end_tokens[1], 1);
    config_free(&config);
    /* gpt-oss ends messages, not texts, with <|end|> */
    ACCEPTED("qwen2", {"@vocab_size", NULL, ""},
             {"tokenizer.ggml.tokens", "strs", "a,<|return|>,<|end|>,<|call|>,<turn|>"});
    cr_expect_eq(config.n_end_tokens, 3);
    cr_expect(config.end_tokens[0] == 1 && config.end_tokens[1] == 3 && config.end_tokens[2] == 4);
    config_free(&config);
    ACCEPTED("qwen2", {"@vocab_size", NULL, ""},
             {"tokenizer.ggml.tokens", "strs", "a,<|return|>,<|end|>,<|calls|>,<turn|>"});
    cr_expect_eq(config.n_end_tokens, 3);
    cr_expect_eq(config.end_tokens[1], 2);
    config_free(&config);
    ACCEPTED("qwen2", {"tokenizer.ggml.eos_token_id", "u", "3"}, {"sluice.end_tokens", "is", "4,0"},
             {"tokenizer.ggml.tokens", "strs", "a,<|im_end|>,<|im_start|>,<|endoftext|>,<|eot_id|"});
    cr_expect_eq(config.n_end_tokens, 2, "all are listed");
    cr_expect_eq(config.end_tokens[0], 4);
    cr_expect_eq(config.end_tokens[1], 0);
    config_free(&config);
}

Test(config_gguf, sampling_defaults)
{
    ACCEPTED("llama", {0});
    cr_expect(!generation.do_sample);
    cr_expect_eq(generation.temperature, 1.0f);
    cr_expect_eq(generation.repetition_penalty, 1.0f);
    config_free(&config);
    ACCEPTED("llama", {"general.sampling.temp", "f", "0.5"}, {"general.sampling.top_k", "u", "20"},
             {"general.sampling.top_p", "f", "0.75"}, {"general.sampling.min_p", "f", "0.125"},
             {"general.sampling.penalty_repeat", "f", "1.25"});
    cr_expect(generation.do_sample);
    cr_expect_eq(generation.temperature, 0.5f);
    cr_expect_eq(generation.top_k, 20);
    cr_expect_eq(generation.top_p, 0.75f);
    cr_expect_eq(generation.min_p, 0.125f);
    cr_expect_eq(generation.repetition_penalty, 1.25f);
    config_free(&config);
    ACCEPTED("llama", {"general.sampling.temp", "f", "0.5"}, {"sluice.do_sample", "bool", "false"});
    cr_expect(!generation.do_sample);
    config_free(&config);
    ACCEPTED("llama", {"general.sampling.temp", "f", "0"});
    cr_expect(!generation.do_sample);
    config_free(&config);
}

/* ---- files that llama.cpp's converter wrote ---------------------------------------------------------------------- */

Test(config_gguf, files_of_llama_cpp)
{
    static const struct {
        const char *file, *family;
        int qk_norm;
        bool moe, normalise, qkv_bias, divisors;
    } rows[] = {
        {"llama3-f32", "llama", QK_NORM_NONE, false, false, false, true},
        {"mistral-bf16", "llama", QK_NORM_NONE, false, false, false, false},
        {"mixtral-f32", "mixtral", QK_NORM_NONE, true, true, false, false},
        {"olmoe-f32", "olmoe", QK_NORM_FULL, true, false, false, false},
        {"qwen2-f16", "qwen2", QK_NORM_NONE, false, false, true, false},
        {"qwen2-moe-f32", "qwen2_moe", QK_NORM_NONE, true, false, true, false},
        {"qwen3-bf16", "qwen3", QK_NORM_PER_HEAD, false, false, false, false},
        {"qwen3-moe-f32", "qwen3_moe", QK_NORM_PER_HEAD, true, true, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/golden/gguf/%s.gguf", SLUICE_TEST_DIR, rows[i].file);
        cr_assert_eq((int)read_path(path, ARCHIVE_TENSORS | ARCHIVE_CONFIG), (int)SLUICE_OK, "%s", failure.text);
        const struct layer_config *layer = &config.layers[config.n_layers - 1];
        cr_expect_str_eq(config.arch->name, rows[i].family, "%s: %s", rows[i].file, config.arch->name);
        cr_expect_eq((int)layer->mixer.qk_norm, rows[i].qk_norm, "%s", rows[i].file);
        cr_expect_eq(layer->ffn.kind == FFN_MOE, rows[i].moe, "%s", rows[i].file);
        cr_expect_eq(layer->router.normalise, rows[i].normalise, "%s", rows[i].file);
        cr_expect_eq(layer->mixer.qkv_bias, rows[i].qkv_bias, "%s", rows[i].file);
        cr_expect_eq(config.rope[0].has_divisors, rows[i].divisors, "%s", rows[i].file);
        config_free(&config);
    }
}

/* ---- there and back ---------------------------------------------------------------------------------------------- */

static void expect_same_layer(const struct layer_config *a, const struct layer_config *b, const char *name, int l)
{
#define SAME(field) cr_expect(a->field == b->field, "%s, layer %d: " #field, name, l)
    SAME(mixer.kind);
    SAME(mixer.n_heads);
    SAME(mixer.n_kv_heads);
    SAME(mixer.head_dim);
    SAME(mixer.window);
    SAME(mixer.qk_norm);
    SAME(mixer.qkv_bias);
    SAME(mixer.output_bias);
    SAME(mixer.scale);
    SAME(mixer.clip_qkv);
    SAME(mixer.v_head_dim);
    SAME(mixer.rope);
    SAME(mixer.v_norm);
    SAME(mixer.v_is_k);
    SAME(mixer.output_gate);
    SAME(mixer.sinks);
    SAME(mixer.softcap);
    SAME(mixer.q_lora_rank);
    SAME(mixer.kv_lora_rank);
    SAME(mixer.lora_eps);
    SAME(mixer.n_key_heads);
    SAME(mixer.n_value_heads);
    SAME(mixer.conv_kernel);
    SAME(router.score);
    SAME(router.bias);
    SAME(router.selection_bias);
    SAME(router.n_group);
    SAME(router.topk_group);
    SAME(router.group_rank);
    SAME(router.normalise);
    SAME(router.normalise_eps);
    SAME(router.scale);
    SAME(router.expert_scale);
    SAME(router.input);
    SAME(router.n_experts);
    SAME(router.top_k);
    SAME(ffn.kind);
    SAME(ffn.activation);
    SAME(ffn.limit);
    SAME(ffn.intermediate_size);
    SAME(ffn.expert_size);
    SAME(ffn.shared_size);
    SAME(ffn.shared);
    SAME(ffn.bias);
    SAME(ffn.expert_bias);
    SAME(post_norms);
    SAME(layer_scale);
#undef SAME
}

static void expect_same_rope(const struct rope_config *a, const struct rope_config *b, const char *name)
{
    enum { POSITIONS = 64, HALF = 256 };
    static float tables[4][POSITIONS * HALF];
#define SAME(field) cr_expect(a->field == b->field, "%s: rope." #field, name)
    SAME(scaling);
    SAME(n_rot);
    SAME(partial);
    SAME(theta);
    SAME(factor);
    SAME(low_freq_factor);
    SAME(high_freq_factor);
    SAME(original_context);
    SAME(beta_fast);
    SAME(beta_slow);
    SAME(attention_factor);
    SAME(mscale);
    SAME(mscale_all_dim);
    SAME(truncate);
    SAME(has_divisors);
    SAME(divisors);
#undef SAME
    cr_assert_leq(a->n_rot, 2 * HALF);
    if (a->n_rot != b->n_rot) return;
    rope_table(a, POSITIONS, tables[0], tables[1]);
    rope_table(b, POSITIONS, tables[2], tables[3]);
    size_t bytes = sizeof(float) * POSITIONS * (size_t)(a->n_rot / 2);
    cr_expect_arr_eq(tables[0], tables[2], bytes, "%s", name);
    cr_expect_arr_eq(tables[1], tables[3], bytes, "%s", name);
}

static void expect_same(const struct model_config *a, const struct generation_config *g, const char *name)
{
    const struct model_config *b = &config;
#define SAME(field) cr_expect(a->field == b->field, "%s: " #field, name)
    SAME(arch);
    SAME(n_layers);
    SAME(hidden_size);
    SAME(vocab_size);
    SAME(n_context);
    SAME(rms_norm_eps);
    SAME(tied_embeddings);
    SAME(embedding_scale);
    SAME(final_softcap);
    SAME(n_heads);
    SAME(n_kv_heads);
    SAME(head_dim);
    SAME(bos_token);
    SAME(n_end_tokens);
    SAME(n_experts);
    SAME(top_k);
    for (int i = 0; i < a->n_end_tokens; i++) SAME(end_tokens[i]);
#undef SAME
    for (int i = 0; i < N_ROPES; i++) expect_same_rope(&a->rope[i], &b->rope[i], name);
    for (int l = 0; l < a->n_layers && l < b->n_layers; l++) expect_same_layer(&a->layers[l], &b->layers[l], name, l);
#define SAME(field) cr_expect(g->field == generation.field, "%s: generation." #field, name)
    SAME(do_sample);
    SAME(temperature);
    SAME(top_p);
    SAME(min_p);
    SAME(repetition_penalty);
    SAME(top_k);
#undef SAME
}

static void add_tensor(struct gguf_writer *w, size_t *n, const char *name, int l)
{
    static const uint64_t one = 1;
    char full[64];
    snprintf(full, sizeof full, name, l);
    gguf_add_tensor(w, full, DTYPE_F32, 1, &one);
    ++*n;
}

/* The tensors that say something about the configuration. */
static size_t add_telling_tensors(struct gguf_writer *w, const struct model_config *c)
{
    float divisors[64];
    size_t n = 0;
    add_tensor(w, &n, "token_embd.weight", 0);
    if (!c->tied_embeddings) add_tensor(w, &n, "output.weight", 0);
    if (config_rope_divisors(c, divisors) || c->rope[0].has_divisors) add_tensor(w, &n, "rope_freqs.weight", 0);
    for (int l = 0; l < c->n_layers; l++) {
        if (c->layers[l].mixer.qkv_bias) add_tensor(w, &n, "blk.%d.attn_q.bias", l);
        if (c->layers[l].mixer.output_bias) add_tensor(w, &n, "blk.%d.attn_output.bias", l);
        if (c->layers[l].ffn.bias) add_tensor(w, &n, "blk.%d.ffn_gate.bias", l);
        if (c->layers[l].router.selection_bias) add_tensor(w, &n, "blk.%d.exp_probs_b.bias", l);
        if (c->layers[l].mixer.v_is_k) add_tensor(w, &n, "blk.%d.attn_k.weight", l);
    }
    return n;
}

/* Writes the configuration that was read last, reads it again and compares. */
static void and_back(const char *name)
{
    struct model_config original = config;
    struct generation_config defaults = generation;
    struct gguf_writer *w = keys_start(&folder);
    config_export(&original, &defaults, w);
    keys_finish(w, add_telling_tensors(w, &original));
    cr_assert_eq((int)read_file(), (int)SLUICE_OK, "%s: %s", name, failure.text);
    expect_same(&original, &defaults, name);
    config_free(&original);
}

/* Folder -> configuration -> GGUF file -> configuration, which stays in `config`. */
static void there_and_back(const char *path, unsigned flags, const char *name)
{
    cr_assert_eq((int)read_path(path, flags), (int)SLUICE_OK, "%s: %s", name, failure.text);
    and_back(name);
}

/* Every model of a list; how many. */
static int list_there_and_back(const char *list)
{
    char path[512], line[128];
    int n = 0;
    snprintf(path, sizeof path, "%s/golden/models/%s", SLUICE_TEST_DIR, list);
    FILE *cases = fopen(path, "r");
    while (cases && fgets(line, sizeof line, cases)) {
        line[strcspn(line, " \n")] = 0;
        if (!line[0] || line[0] == '#') continue;
        snprintf(path, sizeof path, "%s/golden/models/%s", SLUICE_TEST_DIR, line);
        there_and_back(path, ARCHIVE_TENSORS | ARCHIVE_CONFIG, line);
        config_free(&config);
        n++;
    }
    if (cases) fclose(cases);
    return n;
}

Test(config_gguf, every_golden_model_survives_there_and_back)
{
    int n = list_there_and_back("cases.txt") + list_there_and_back("cases_new.txt");
    cr_expect_geq(n, 33);
}

static void folder_there_and_back(const struct edit *edits, const char *generation_text)
{
    config_write(&folder, edits);
    remove(folder_path(&folder, "generation_config.json"));
    remove(folder_path(&folder, "m.gguf")); /* it would be taken for the model */
    if (generation_text) folder_write_text(&folder, "generation_config.json", generation_text);
    there_and_back(folder.path, ARCHIVE_CONFIG, edits[0].value ? edits[0].value : "base");
}
#define THERE_AND_BACK(...) folder_there_and_back((const struct edit[]){__VA_ARGS__, {0}}, NULL)

#define FAMILY(name)                      \
    {                                     \
        "architectures", "[\"" name "\"]" \
    }

/* What the standard has no key for, or only in float. */
Test(config_gguf, numbers_without_a_key_survive)
{
    static const char *const ropes[] = {
        "{\"rope_type\":\"default\",\"rope_theta\":10000.1}",
        "{\"rope_type\":\"linear\",\"factor\":1.1,\"rope_theta\":1e4}",
        "{\"rope_type\":\"linear\",\"factor\":1,\"rope_theta\":1e4}",
        "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
        "\"original_max_position_embeddings\":32,\"rope_theta\":5e5}",
        "{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32,\"rope_theta\":1e6}",
        "{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32,\"truncate\":false}",
        "{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32,\"attention_factor\":1.25}",
        "{\"rope_type\":\"yarn\",\"factor\":40,\"original_max_position_embeddings\":4,\"mscale\":0.707,"
        "\"mscale_all_dim\":0.707}",
        "{\"rope_type\":\"yarn\",\"factor\":0.5,\"original_max_position_embeddings\":32,\"beta_fast\":16.1}",
        "{\"rope_type\":\"yarn\",\"factor\":4.3,\"original_max_position_embeddings\":32.5}",
    };
    for (size_t i = 0; i < sizeof ropes / sizeof *ropes; i++) {
        THERE_AND_BACK(FAMILY("LlamaForCausalLM"), {"rope_theta", NULL}, {"rope_parameters", ropes[i]});
        config_free(&config);
    }
    THERE_AND_BACK(FAMILY("MistralForCausalLM"), {"sliding_window", "null"});
    cr_expect_str_eq(config.arch->name, "mistral");
    config_free(&config);
    THERE_AND_BACK(FAMILY("MixtralForCausalLM"), {"sliding_window", "7"}, {"rms_norm_eps", "0.1"});
    config_free(&config);
    THERE_AND_BACK(FAMILY("Qwen3ForCausalLM"), {"use_sliding_window", "true"}, {"max_window_layers", "1"});
    cr_expect_eq(config.layers[0].mixer.window, 0);
    cr_expect_eq(config.layers[1].mixer.window, 4096);
    config_free(&config);
    THERE_AND_BACK(FAMILY("Qwen3MoeForCausalLM"), {"decoder_sparse_step", "2"}, {"mlp_only_layers", "[3]"},
                   {"norm_topk_prob", "false"});
    cr_expect_eq(config_n_moe_layers(&config), 1);
    config_free(&config);
    THERE_AND_BACK(FAMILY("Qwen2MoeForCausalLM"), {"qkv_bias", "false"}, {"norm_topk_prob", "true"});
    config_free(&config);
    THERE_AND_BACK(FAMILY("OlmoeForCausalLM"), {"clip_qkv", "8.1"}, {"num_key_value_heads", "null"});
    config_free(&config);
}

/* Of the newer families: tables, lists and numbers that only keys of ours can say. */
Test(config_gguf, what_the_standard_cannot_say_survives)
{
#define GELU                                         \
    {                                                \
        "hidden_activation", "\"gelu_pytorch_tanh\"" \
    }
#define LATENT                                                                                              \
    {"num_key_value_heads", "4"}, {"n_routed_experts", "8"}, {"kv_lora_rank", "20"}, {"q_lora_rank", "24"}, \
        {"qk_nope_head_dim", "10"}, {"qk_rope_head_dim", "6"}, {"v_head_dim", "12"},                        \
    {                                                                                                       \
        "n_group", "1"                                                                                      \
    }
    static const char *const locals[] = {
        "{\"rope_theta\":10000.1}",
        "{\"rope_type\":\"linear\",\"factor\":1.1}",
        "{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32,\"truncate\":false}",
        "{\"rope_type\":\"proportional\",\"factor\":3}",
    };
    for (size_t i = 0; i < sizeof locals / sizeof *locals; i++) {
        char map[256];
        snprintf(map, sizeof map, "{\"full_attention\":{\"rope_theta\":1e6},\"sliding_attention\":%s}", locals[i]);
        THERE_AND_BACK(FAMILY("Gemma3ForCausalLM"), GELU, {"rope_parameters", map}, {"query_pre_attn_scalar", "7.3"});
        config_free(&config);
    }
    static const char *const yarns[] = {
        "{\"type\":\"yarn\",\"factor\":40,\"original_max_position_embeddings\":4,\"mscale\":0.707,"
        "\"mscale_all_dim\":0.707}",
        "{\"type\":\"yarn\",\"factor\":40,\"original_max_position_embeddings\":4,\"mscale\":1.0,"
        "\"mscale_all_dim\":0.5}",
        "{\"type\":\"yarn\",\"factor\":40,\"original_max_position_embeddings\":4,\"mscale_all_dim\":0.70710678}",
        "{\"type\":\"yarn\",\"factor\":40,\"original_max_position_embeddings\":4,\"attention_factor\":0.9}",
        "{\"type\":\"linear\",\"factor\":40,\"mscale_all_dim\":0.707}",
        "null",
    };
    for (size_t i = 0; i < sizeof yarns / sizeof *yarns; i++) {
        THERE_AND_BACK(FAMILY("DeepseekV3ForCausalLM"), LATENT, {"topk_group", "1"}, {"rope_scaling", yarns[i]});
        config_free(&config);
    }
    THERE_AND_BACK(FAMILY("DeepseekV2ForCausalLM"), LATENT, {"first_k_dense_replace", "1"});
    cr_expect_str_eq(config.arch->name, "deepseek_v2");
    config_free(&config);
    THERE_AND_BACK(FAMILY("Glm4MoeLiteForCausalLM"), LATENT,
                   {"mlp_layer_types", "[\"dense\",\"sparse\",\"dense\",\"sparse\"]"});
    cr_expect_eq(config_n_moe_layers(&config), 2);
    config_free(&config);
    THERE_AND_BACK(FAMILY("Gemma2ForCausalLM"), GELU, {"attn_logit_softcapping", "null"},
                   {"layer_types", "[\"full_attention\",\"full_attention\",\"sliding_attention\",\"full_attention\"]"});
    cr_expect_eq(config.layers[2].mixer.window, 4096);
    config_free(&config);
    THERE_AND_BACK(FAMILY("GptOssForCausalLM"), {"swiglu_limit", "6.3"}, {"sliding_window", "5"},
                   {"layer_types", "[\"sliding_attention\",\"sliding_attention\",\"sliding_attention\","
                                   "\"sliding_attention\"]"});
    config_free(&config);
    THERE_AND_BACK(
        FAMILY("Qwen3NextForCausalLM"), {"partial_rotary_factor", "0.5"}, {"norm_topk_prob", "false"},
        {"layer_types", "[\"full_attention\",\"linear_attention\",\"full_attention\",\"linear_attention\"]"});
    config_free(&config);
    THERE_AND_BACK(FAMILY("Lfm2MoeForCausalLM"), {"full_attn_idxs", "[0]"}, {"use_expert_bias", "false"},
                   {"num_dense_layers", "0"}, {"routed_scaling_factor", "0.3"});
    config_free(&config);
    THERE_AND_BACK(FAMILY("Gemma4ForCausalLM"), GELU, {"hidden_size_per_layer_input", "0"}, {"global_head_dim", "16"},
                   {"sliding_window", "3"});
    config_free(&config);
}

Test(config_gguf, divisors_survive)
{
    ACCEPTED("llama", {"rope_freqs.weight", "tensor", ""}, {"@rope.freq_base", "f", "5e5"});
    and_back("standard keys");
    cr_expect(config.rope[0].has_divisors);
    config_free(&config);
    ACCEPTED("llama", {"rope_freqs.weight", "tensor", ""}, {"@rope.scaling.attn_factor", "f", "0.3"});
    and_back("keys of ours");
    cr_expect(config.rope[0].has_divisors);
    config_free(&config);
}

Test(config_gguf, tokens_and_sampling_survive)
{
    static const char *const texts[] = {
        "{\"do_sample\":true}",
        "{\"do_sample\":false,\"temperature\":0.6}",
        "{\"do_sample\":true,\"temperature\":0.6,\"top_p\":0.95,\"top_k\":20,\"min_p\":0.05}",
        "{\"do_sample\":true,\"temperature\":0,\"repetition_penalty\":1.05}",
        "{\"top_k\":50,\"eos_token_id\":[5,6,7,8]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct edit edits[] = {FAMILY("LlamaForCausalLM"),
                                     {"bos_token_id", i % 2 ? "0" : "null"},
                                     {"eos_token_id", i % 2 ? "null" : "9"},
                                     {0}};
        folder_there_and_back(edits, texts[i]);
        config_free(&config);
    }
    cr_expect_eq(config.n_end_tokens, 5);
}

/* Standard keys suffice for ordinary models, and nothing of ours stands beside them but the end tokens. */
Test(config_gguf, ordinary_models_need_no_keys_of_ours)
{
    static const char *const families[] = {"[\"LlamaForCausalLM\"]", "[\"Qwen3MoeForCausalLM\"]",
                                           "[\"OlmoeForCausalLM\"]", "[\"MixtralForCausalLM\"]"};
    for (int i = 0; i < 4; i++) {
        const struct edit edits[] = {{"architectures", families[i]}, {"eos_token_id", "3"}, {0}};
        struct archive *a = NULL;
        const char *key;
        folder_there_and_back(edits, "{\"do_sample\":true,\"temperature\":0.5}");
        config_free(&config);
        cr_assert_eq((int)archive_open(&a, folder_path(&folder, "m.gguf"), 0, &failure), (int)SLUICE_OK);
        struct meta value;
        for (size_t k = 0; (key = archive_gguf_key(a, k, &value)); k++)
            cr_expect(strncmp(key, "sluice.", 7) != 0 || strcmp(key, "sluice.end_tokens") == 0, "%s", key);
        archive_close(&a);
    }
}

/* Of Llama 3.1 8B, with 128 positions per head. */
Test(config_gguf, divisors_of_llama_3)
{
    static const double ramp[] = {1.207484, 1.553415, 2.026313, 2.694530, 3.684253, 5.257327};
    struct model_config c = {.rope = {{.scaling = ROPE_LLAMA3,
                                       .n_rot = 128,
                                       .theta = 5e5,
                                       .factor = 8,
                                       .low_freq_factor = 1,
                                       .high_freq_factor = 4,
                                       .original_context = 8192}}};
    float divisors[64];
    cr_assert(config_rope_divisors(&c, divisors));
    for (int i = 0; i < 64; i++) {
        double expected = i < 29 ? 1 : i < 35 ? ramp[i - 29] : 8;
        cr_expect_float_eq((double)divisors[i], expected, 1e-6 * expected, "%d: %.9g", i, (double)divisors[i]);
    }
    c.rope[0].scaling = ROPE_YARN;
    cr_expect(!config_rope_divisors(&c, divisors));
    static const float given[] = {1, 2, 3, 4};
    float copied[4];
    c = (struct model_config){.rope = {{.n_rot = 8, .theta = 1e4, .factor = 1, .divisors = given}}};
    cr_assert(config_rope_divisors(&c, copied));
    cr_expect_arr_eq(copied, given, sizeof given);
}

/* Keys of any type and value: a sentence that names the file, or a configuration that holds together. */
Test(config_gguf, random_keys_are_refused_or_make_sense)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe"};
    static const char *const names[] = {"@block_count",
                                        "@embedding_length",
                                        "@attention.head_count",
                                        "@attention.head_count_kv",
                                        "@attention.key_length",
                                        "@feed_forward_length",
                                        "@expert_count",
                                        "@expert_used_count",
                                        "@expert_feed_forward_length",
                                        "@attention.sliding_window",
                                        "@attention.sliding_window_pattern",
                                        "@rope.freq_base",
                                        "@rope.scaling.type",
                                        "@rope.scaling.factor",
                                        "@rope.scaling.attn_factor",
                                        "@rope.scaling.original_context_length",
                                        "@rope.scaling.yarn_beta_fast",
                                        "sluice.rope.type",
                                        "sluice.rope.theta",
                                        "sluice.rope.factor",
                                        "sluice.rope.original_context",
                                        "sluice.dense_layers",
                                        "sluice.end_tokens",
                                        "sluice.family",
                                        "@vocab_size",
                                        "@context_length"};
    static const char *const types[] = {"u", "f", "d", "bool", "str", "is", "fs", "bs", "strs", NULL};
    static const char *const values[] = {"0",    "1",   "2",       "4",          "8",      "64",
                                         "1e6",  "-1",  "nan",     "yarn",       "linear", "mistral",
                                         "true", "1,2", "2,2,2,2", "4294967295", ""};
    enum { ROUNDS = 150 };
    struct rng rng = rng_seed(36);
    int n_good = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct key keys[MAX_KEYS] = {EXPERTS};
        int n = 3 + (int)rng_below(&rng, 4);
        for (int i = 3; i < n; i++) {
            keys[i].name = names[rng_below(&rng, sizeof names / sizeof *names)];
            keys[i].type = types[rng_below(&rng, sizeof types / sizeof *types)];
            keys[i].value = values[rng_below(&rng, sizeof values / sizeof *values)];
        }
        keys_write(&folder, archs[round % 6], keys);
        sluice_status s = read_file();
        if (s) {
            cr_expect(s == SLUICE_FORMAT || s == SLUICE_UNSUPPORTED, "status %d", (int)s);
            cr_expect_eq(strncmp(failure.text, "m.gguf: key \"", 13), 0, "%s", failure.text);
            continue;
        }
        n_good++;
        for (int l = 0; l < config.n_layers; l++) {
            const struct layer_config *layer = &config.layers[l];
            cr_expect_eq(layer->mixer.n_heads % layer->mixer.n_kv_heads, 0);
            cr_expect_gt(layer->ffn.kind == FFN_MOE ? layer->ffn.expert_size : layer->ffn.intermediate_size, 0);
            if (layer->ffn.kind == FFN_MOE) cr_expect(layer->router.top_k <= layer->router.n_experts);
        }
        float cosine[4 * MAX_HALF], sine[4 * MAX_HALF];
        cr_assert_leq(config.rope[0].n_rot / 2, MAX_HALF);
        rope_table(&config.rope[0], 4, cosine, sine);
        for (int i = 0; i < 2 * config.rope[0].n_rot; i++) cr_expect(isfinite(cosine[i]) && isfinite(sine[i]));
        config_free(&config);
    }
    cr_expect(n_good > ROUNDS / 20 && n_good < ROUNDS, "%d of %d are good: both must occur", n_good, ROUNDS);
}

Test(config_gguf, memory_that_is_short_is_reported)
{
    struct archive *a = NULL;
    keys_write(&folder, "llama", (const struct key[MAX_KEYS]){{0}});
    cr_assert_eq((int)archive_open(&a, folder_path(&folder, "m.gguf"), ARCHIVE_CONFIG, &failure), (int)SLUICE_OK);
    memory_fail_after(1);
    cr_expect_eq((int)config_read(&config, &generation, a, &failure), (int)SLUICE_MEMORY);
    cr_expect_null(config.layers);
    cr_expect_eq((int)config_read(&config, &generation, a, NULL), (int)SLUICE_OK,
                 "and nobody has to want the sentence");
    config_free(&config);
    archive_close(&a);
}
