/* config.json: every way that a number may lie, both spellings of each key, and what the families make of them.
 * The numbers C11..C27 are rows of a catalogue of malformed inputs. */
#include "model/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/arch.h"
#include "tests/model/checkpoint.h"
#include "weights/archive.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(config, .init = create, .fini = destroy);

static struct model_config config;
static struct generation_config generation;
static struct failure failure;

static sluice_status read_folder(void)
{
    return config_read_path(folder.path, ARCHIVE_CONFIG, &config, &generation, &failure);
}

static void accepted(const struct edit *edits)
{
    config_write(&folder, edits);
    cr_assert_eq((int)read_folder(), (int)SLUICE_OK, "%s", failure.text);
}
#define ACCEPTED(...) accepted((const struct edit[]){__VA_ARGS__, {0}})

struct bad_row {
    struct edit edits[MAX_EDITS];
    const char *line; /* after "config.json: " */
};

static void all_refused(const struct bad_row *rows, size_t n, sluice_status status)
{
    for (size_t i = 0; i < n; i++) {
        char sentence[1024];
        snprintf(sentence, sizeof sentence, "config.json: %s", rows[i].line);
        config_write(&folder, rows[i].edits);
        sluice_status s = read_folder();
        cr_expect_eq((int)s, (int)status, "%s = %s: status %d", rows[i].edits[0].key, rows[i].edits[0].value, (int)s);
        cr_expect_eq((int)failure.status, (int)s);
        cr_expect_str_eq(failure.text, sentence, "\n     got: %s\nexpected: %s", failure.text, sentence);
        if (s)
            cr_expect_null(config.layers, "nothing is owned after a failure");
        else
            config_free(&config);
    }
}
#define ALL_REFUSED(rows, status) all_refused(rows, sizeof(rows) / sizeof *(rows), status)

#define LLAMA                                     \
    {                                             \
        "architectures", "[\"LlamaForCausalLM\"]" \
    }
#define MISTRAL                                     \
    {                                               \
        "architectures", "[\"MistralForCausalLM\"]" \
    }
#define MIXTRAL_                                    \
    {                                               \
        "architectures", "[\"MixtralForCausalLM\"]" \
    }
#define OLMOE                                     \
    {                                             \
        "architectures", "[\"OlmoeForCausalLM\"]" \
    }
#define QWEN2                                     \
    {                                             \
        "architectures", "[\"Qwen2ForCausalLM\"]" \
    }
#define QWEN2_MOE_                                   \
    {                                                \
        "architectures", "[\"Qwen2MoeForCausalLM\"]" \
    }
#define QWEN3                                     \
    {                                             \
        "architectures", "[\"Qwen3ForCausalLM\"]" \
    }
#define QWEN3_MOE                                    \
    {                                                \
        "architectures", "[\"Qwen3MoeForCausalLM\"]" \
    }

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

Test(config, C11_hidden_size_is_an_integer_in_its_range)
{
    static const struct bad_row rows[] = {
        {{{"hidden_size", "-1"}}, "hidden_size: found -1, expected an integer in 1..131072"},
        {{{"hidden_size", "0"}}, "hidden_size: found 0, expected an integer in 1..131072"},
        {{{"hidden_size", "131073"}}, "hidden_size: found 131073, expected an integer in 1..131072"},
        {{{"hidden_size", "1.5"}}, "hidden_size: found 1.5, expected an integer in 1..131072"},
        {{{"hidden_size", "32.0"}}, "hidden_size: found 32.0, expected an integer in 1..131072"},
        {{{"hidden_size", "\"4096\""}}, "hidden_size: found \"4096\", expected an integer in 1..131072"},
        {{{"hidden_size", "\"\\u001b[2J\""}}, "hidden_size: found \"\\x1b[2J\", expected an integer in 1..131072"},
        {{{"hidden_size", "true"}}, "hidden_size: found true, expected an integer in 1..131072"},
        {{{"hidden_size", "[32]"}}, "hidden_size: found an array, expected an integer in 1..131072"},
        {{{"hidden_size", "{}"}}, "hidden_size: found an object, expected an integer in 1..131072"},
        {{{"hidden_size", "1e99"}}, "hidden_size: found 1e+99, expected an integer in 1..131072"},
        {{{"hidden_size", "4294967328"}}, "hidden_size: found 4294967328, expected an integer in 1..131072"},
        {{{"hidden_size", "9223372036854775807"}},
         "hidden_size: found 9223372036854775807, expected an integer in 1..131072"},
        {{{"hidden_size", "18446744073709551648"}},
         "hidden_size: found 1.84467441e+19, expected an integer in 1..131072"},
        {{{"hidden_size", "null"}}, "hidden_size: missing"},
        {{{"hidden_size", NULL}}, "hidden_size: missing"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

/* Every integer key of every family refuses a value below, a value above, and a string. */
Test(config, C11_every_integer_key_is_checked)
{
    static const struct {
        struct edit family;
        const char *key;
        int64_t min, max;
    } keys[] = {
        {QWEN3_MOE, "num_hidden_layers", 1, 1024},
        {QWEN3_MOE, "num_attention_heads", 1, 1024},
        {QWEN3_MOE, "num_key_value_heads", 1, 1024},
        {QWEN3_MOE, "head_dim", 2, 1024},
        {QWEN3_MOE, "vocab_size", 1, 4194304},
        {QWEN3_MOE, "max_position_embeddings", 1, 16777216},
        {QWEN3_MOE, "intermediate_size", 1, 16777216},
        {QWEN3_MOE, "moe_intermediate_size", 1, 16777216},
        {QWEN3_MOE, "num_experts", 1, 4096},
        {QWEN3_MOE, "num_experts_per_tok", 1, 64},
        {QWEN3_MOE, "decoder_sparse_step", 1, 1024},
        {QWEN3_MOE, "sliding_window", 0, 16777216},
        {QWEN2_MOE_, "shared_expert_intermediate_size", 1, 16777216},
        {QWEN2_MOE_, "moe_intermediate_size", 1, 16777216},
        {QWEN2_MOE_, "decoder_sparse_step", 1, 1024},
        {QWEN2_MOE_, "max_window_layers", 0, 16777216},
        {QWEN2_MOE_, "sliding_window", 0, 16777216},
        {QWEN2, "max_window_layers", 0, 16777216},
        {QWEN2, "intermediate_size", 1, 16777216},
        {QWEN3, "intermediate_size", 1, 16777216},
        {QWEN3, "max_window_layers", 0, 16777216},
        {LLAMA, "intermediate_size", 1, 16777216},
        {MISTRAL, "sliding_window", 0, 16777216},
        {MISTRAL, "intermediate_size", 1, 16777216},
        {MIXTRAL_, "intermediate_size", 1, 16777216},
        {MIXTRAL_, "num_experts_per_tok", 1, 64},
        {MIXTRAL_, "sliding_window", 0, 16777216},
        {OLMOE, "intermediate_size", 1, 16777216},
        {OLMOE, "num_experts", 1, 4096},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const int64_t bad[] = {keys[i].min - 1, keys[i].max + 1, INT64_MIN + 1, INT64_MAX, INT64_C(1) << 32};
        char value[32], line[128];
        for (int j = 0; j < 6; j++) {
            if (j < 5)
                snprintf(value, sizeof value, "%lld", (long long)bad[j]);
            else
                snprintf(value, sizeof value, "\"8\"");
            snprintf(line, sizeof line, "%s: found %s, expected an integer in %lld..%lld", keys[i].key, value,
                     (long long)keys[i].min, (long long)keys[i].max);
            const struct bad_row row = {{keys[i].family, {keys[i].key, value}}, line};
            all_refused(&row, 1, SLUICE_FORMAT);
        }
    }
}

Test(config, C12_layers_are_counted_before_memory_is_taken)
{
    static const struct bad_row rows[] = {
        {{{"num_hidden_layers", "0"}}, "num_hidden_layers: found 0, expected an integer in 1..1024"},
        {{{"num_hidden_layers", "1000000000"}}, "num_hidden_layers: found 1000000000, expected an integer in 1..1024"},
        {{{"num_hidden_layers", NULL}}, "num_hidden_layers: missing"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
    ACCEPTED({"num_hidden_layers", "1024"});
    cr_expect_eq(config.n_layers, 1024);
    config_free(&config);
}

Test(config, C13_heads_fit_each_other_and_the_width)
{
    static const struct bad_row rows[] = {
        {{{"num_attention_heads", "30"}, {"num_key_value_heads", "4"}},
         "num_attention_heads: 30 heads are not a multiple of 4 key-value heads"},
        {{{"num_attention_heads", "2"}, {"num_key_value_heads", "4"}},
         "num_attention_heads: 2 heads are not a multiple of 4 key-value heads"},
        {{LLAMA, {"num_attention_heads", "6"}, {"head_dim", NULL}},
         "num_attention_heads: 6 does not divide hidden_size 32, and head_dim is missing"},
        {{LLAMA, {"num_attention_heads", "6"}, {"head_dim", "null"}},
         "num_attention_heads: 6 does not divide hidden_size 32, and head_dim is missing"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
    ACCEPTED(LLAMA, {"num_attention_heads", "6"}, {"head_dim", "10"});
    cr_expect_eq(config.layers[0].mixer.head_dim, 10);
    config_free(&config);
}

Test(config, C14_head_dim_is_even_and_bounded)
{
    static const struct bad_row rows[] = {
        {{{"head_dim", "0"}}, "head_dim: found 0, expected an integer in 2..1024"},
        {{{"head_dim", "-8"}}, "head_dim: found -8, expected an integer in 2..1024"},
        {{{"head_dim", "7"}}, "head_dim: found 7, expected an even number in 2..1024"},
        {{{"head_dim", "100000"}}, "head_dim: found 100000, expected an integer in 2..1024"},
        {{LLAMA, {"hidden_size", "36"}, {"head_dim", NULL}}, "head_dim: found 9, expected an even number in 2..1024"},
        {{LLAMA, {"hidden_size", "8192"}, {"head_dim", NULL}},
         "head_dim: found 2048, expected an even number in 2..1024"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

Test(config, C15_no_more_experts_are_chosen_than_there_are)
{
    static const struct bad_row rows[] = {
        {{{"num_experts_per_tok", "9"}}, "num_experts_per_tok: found 9, expected at most the number of experts, 8"},
        {{{"num_experts_per_tok", "0"}}, "num_experts_per_tok: found 0, expected an integer in 1..64"},
        {{{"num_experts_per_tok", "-1"}}, "num_experts_per_tok: found -1, expected an integer in 1..64"},
        {{{"num_experts", "0"}}, "num_experts: found 0, expected an integer in 1..4096"},
        {{{"num_experts", "1"}}, "num_experts_per_tok: found 2, expected at most the number of experts, 1"},
        {{MIXTRAL_, {"num_local_experts", "1"}, {"num_experts", NULL}},
         "num_experts_per_tok: found 2, expected at most the number of experts, 1"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

Test(config, C17_sizes_of_experts_are_positive)
{
    static const struct bad_row rows[] = {
        {{{"moe_intermediate_size", "0"}}, "moe_intermediate_size: found 0, expected an integer in 1..16777216"},
        {{OLMOE, {"intermediate_size", "0"}}, "intermediate_size: found 0, expected an integer in 1..16777216"},
        {{MIXTRAL_, {"intermediate_size", NULL}}, "intermediate_size: missing"},
        {{LLAMA, {"intermediate_size", NULL}}, "intermediate_size: missing"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

Test(config, C20_numbers_that_divide_are_not_zero)
{
    static const struct bad_row rows[] = {
        {{{"rms_norm_eps", "0"}}, "rms_norm_eps: found 0, expected a number in 1e-30..1"},
        {{{"rms_norm_eps", "-1e-6"}}, "rms_norm_eps: found -1e-06, expected a number in 1e-30..1"},
        {{{"rms_norm_eps", "1.5"}}, "rms_norm_eps: found 1.5, expected a number in 1e-30..1"},
        {{{"rms_norm_eps", "\"1e-6\""}}, "rms_norm_eps: found \"1e-6\", expected a number in 1e-30..1"},
        {{OLMOE, {"clip_qkv", "0"}}, "clip_qkv: found 0, expected a number in 1e-06..1e+30"},
        {{OLMOE, {"clip_qkv", "-8"}}, "clip_qkv: found -8, expected a number in 1e-06..1e+30"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

Test(config, C20_numbers_that_are_none_are_not_JSON)
{
    static const char *const values[] = {"NaN", "Infinity", "-Infinity", "1e400", "-1e400"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const struct edit edits[] = {{"rms_norm_eps", values[i]}, {0}};
        config_write(&folder, edits);
        cr_expect_eq((int)read_folder(), (int)SLUICE_FORMAT, "%s", values[i]);
        cr_expect(strncmp(failure.text, "config.json: JSON error at byte ", 32) == 0 ||
                      strncmp(failure.text, "config.json: NaN and Infinity are not JSON", 42) == 0,
                  "%s: %s", values[i], failure.text);
    }
}

Test(config, switches_are_true_or_false)
{
    static const struct bad_row rows[] = {
        {{{"norm_topk_prob", "1"}}, "norm_topk_prob: found 1, expected true or false"},
        {{{"attention_bias", "\"no\""}}, "attention_bias: found \"no\", expected true or false"},
        {{{"use_sliding_window", "[]"}}, "use_sliding_window: found an array, expected true or false"},
        {{LLAMA, {"mlp_bias", "0"}}, "mlp_bias: found 0, expected true or false"},
        {{QWEN2_MOE_, {"qkv_bias", "1.5"}}, "qkv_bias: found 1.5, expected true or false"},
        {{{"tie_word_embeddings", "\"yes\""}}, "tie_word_embeddings: found \"yes\", expected true or false"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

/* ---- RoPE -------------------------------------------------------------------------------------------------------- */

Test(config, C18_rope_theta_is_finite_and_more_than_one)
{
    static const struct bad_row rows[] = {
        {{{"rope_theta", "0"}}, "rope_theta: found 0, expected a number in 1..1e+15"},
        {{{"rope_theta", "1"}}, "rope_theta: found 1, expected a number in 1..1e+15"},
        {{{"rope_theta", "-10000"}}, "rope_theta: found -10000, expected a number in 1..1e+15"},
        {{{"rope_theta", "1e300"}}, "rope_theta: found 1e+300, expected a number in 1..1e+15"},
        {{{"rope_theta", "\"1e4\""}}, "rope_theta: found \"1e4\", expected a number in 1..1e+15"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
    static const char *const in_object[] = {"0", "-1", "true"};
    for (int i = 0; i < 3; i++) {
        char object[64];
        snprintf(object, sizeof object, "{\"rope_type\":\"default\",\"rope_theta\":%s}", in_object[i]);
        const struct edit edits[] = {{"rope_theta", NULL}, {"rope_parameters", object}, {0}};
        config_write(&folder, edits);
        cr_expect_eq((int)read_folder(), (int)SLUICE_FORMAT, "%s", object);
    }
}

#define SCALING(text, line)            \
    {                                  \
        {{"rope_scaling", text}}, line \
    }
#define ORIGINAL "\"original_max_position_embeddings\":"

Test(config, C19_rope_scaling_is_complete_and_in_range)
{
    static const struct bad_row rows[] = {
        SCALING("[]", "rope_scaling: found an array, expected an object or null"),
        SCALING("8", "rope_scaling: found 8, expected an object or null"),
        SCALING("{\"type\":\"linear\"}", "rope_scaling.factor: missing"),
        SCALING("{\"type\":\"linear\",\"factor\":null}", "rope_scaling.factor: missing"),
        SCALING("{\"type\":\"linear\",\"factor\":0}",
                "rope_scaling.factor: found 0, expected a number in 1e-06..1e+06"),
        SCALING("{\"rope_type\":\"linear\",\"factor\":-4}",
                "rope_scaling.factor: found -4, expected a number in 1e-06..1e+06"),
        SCALING("{\"rope_type\":\"yarn\",\"factor\":\"4\"}",
                "rope_scaling.factor: found \"4\", expected a number in 1e-06..1e+06"),
        SCALING("{\"rope_type\":\"yarn\",\"factor\":4," ORIGINAL "0}",
                "rope_scaling.original_max_position_embeddings: found 0, expected a number in 1..1.67772e+07"),
        SCALING("{\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":1,\"beta_slow\":2}",
                "rope_scaling.beta_fast: found 1, expected at least beta_slow 2"),
        SCALING("{\"rope_type\":\"yarn\",\"factor\":4,\"beta_slow\":0}",
                "rope_scaling.beta_slow: found 0, expected a number in 1e-06..1e+06"),
        SCALING("{\"rope_type\":\"yarn\",\"factor\":4,\"mscale\":-1}",
                "rope_scaling.mscale: found -1, expected a number in 0..1e+06"),
        SCALING("{\"rope_type\":\"yarn\",\"factor\":4,\"attention_factor\":0}",
                "rope_scaling.attention_factor: found 0, expected a number in 1e-06..1e+06"),
        SCALING("{\"rope_type\":\"llama3\",\"factor\":8," ORIGINAL "64}", "rope_scaling.low_freq_factor: missing"),
        SCALING("{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1}",
                "rope_scaling.high_freq_factor: missing"),
        SCALING("{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}",
                "rope_scaling.high_freq_factor: found 4, expected more than low_freq_factor 4"),
        {{{"rope_parameters", "{\"rope_type\":\"linear\",\"rope_theta\":100.0,\"factor\":0}"}},
         "rope_parameters.factor: found 0, expected a number in 1e-06..1e+06"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

Test(config, both_spellings_of_rope_in_one_file_are_refused)
{
    static const struct bad_row rows[] = {
        {{{"rope_parameters", "{\"rope_type\":\"default\",\"rope_theta\":10000}"},
          {"rope_scaling", "{\"rope_type\":\"linear\",\"factor\":2}"}},
         "rope_scaling: found beside rope_parameters, expected one of them (the scaling may stand in rope_parameters)"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

Test(config, yarn_stretches_the_context_that_the_file_states)
{
    static const struct edit edits[MAX_EDITS] = {
        {"max_position_embeddings", "64"},
        {"rope_scaling", "{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":48}"},
    };
    config_write(&folder, edits);
    cr_assert_eq((int)read_folder(), (int)SLUICE_OK, "%s", failure.text);
    cr_expect_eq(config.n_context, 192);
    config_free(&config);
}

Test(config, C19_unknown_rope_is_unsupported)
{
    static const struct bad_row rows[] = {
        SCALING("{\"type\":\"su\"}",
                "rope_scaling.rope_type: found \"su\", expected one of default, linear, llama3, yarn, proportional"),
        SCALING(
            "{\"rope_type\":\"longrope\",\"short_factor\":[1]}",
            "rope_scaling.rope_type: found \"longrope\", expected one of default, linear, llama3, yarn, proportional"),
        SCALING("{\"rope_type\":7}",
                "rope_scaling.rope_type: found 7, expected one of default, linear, llama3, yarn, proportional"),
        {{{"rope_parameters", "{\"rope_type\":\"dynamic\",\"factor\":2}"}},
         "rope_parameters.rope_type: found \"dynamic\", expected one of default, linear, llama3, yarn, proportional"},
        {{{"rope_parameters", "{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}"}},
         "rope_parameters.partial_rotary_factor: found 0.5, expected 1"},
    };
    ALL_REFUSED(rows, SLUICE_UNSUPPORTED);
}

/* The hubs' spelling and that of transformers 5 mean the same. */
Test(config, both_spellings_of_rope_give_the_same_numbers)
{
#define NUMBERS \
    "\"factor\":4.0," ORIGINAL "64,\"beta_fast\":16,\"beta_slow\":2,\"attention_factor\":1.5,\"truncate\":false"
    static const struct edit spellings[][4] = {
        {{"rope_theta", "500.0"}, {"rope_scaling", "{\"rope_type\":\"yarn\"," NUMBERS "}"}},
        {{"rope_theta", "500.0"}, {"rope_scaling", "{\"type\":\"yarn\"," NUMBERS "}"}},
        {{"rope_theta", NULL}, {"rope_parameters", "{\"rope_type\":\"yarn\",\"rope_theta\":500.0," NUMBERS "}"}},
        {{"rope_theta", "500.0"}, {"rope_parameters", "{\"rope_type\":\"yarn\"," NUMBERS "}"}},
        {{"rope_theta", "7.0"},
         {"rope_parameters", "{\"rope_type\":\"yarn\",\"rope_theta\":500," NUMBERS "}"},
         {"rope_scaling", "null"}},
    };
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        accepted(spellings[i]);
        const struct rope_config *r = &config.rope[0];
        cr_expect_eq((int)r->scaling, (int)ROPE_YARN);
        cr_expect(r->theta == 500 && r->factor == 4 && r->original_context == 64 && r->beta_fast == 16 &&
                      r->beta_slow == 2 && r->attention_factor == 1.5 && !r->truncate,
                  "spelling %zu", i);
        config_free(&config);
    }
}

Test(config, rope_numbers_that_are_absent_have_the_defaults_of_transformers)
{
    ACCEPTED({"rope_scaling", "{\"rope_type\":\"yarn\",\"factor\":4}"});
    const struct rope_config *r = &config.rope[0];
    cr_expect(r->original_context == 128 && r->beta_fast == 32 && r->beta_slow == 1 && r->attention_factor == 0 &&
              r->mscale == 0 && r->mscale_all_dim == 0 && r->truncate);
    config_free(&config);

    ACCEPTED({"rope_theta", NULL});
    cr_expect_eq((int)config.rope[0].scaling, (int)ROPE_DEFAULT);
    cr_expect_eq(config.rope[0].theta, 10000);
    config_free(&config);

    ACCEPTED({"rope_scaling", "null"}, {"rope_theta", "null"});
    cr_expect_eq((int)config.rope[0].scaling, (int)ROPE_DEFAULT);
    cr_expect_eq(config.rope[0].theta, 10000);
    config_free(&config);
}

/* ---- lists of layers --------------------------------------------------------------------------------------------- */

#define FULL    "\"full_attention\""
#define SLIDING "\"sliding_attention\""

Test(config, C22_layer_types_has_one_known_name_per_layer)
{
    static const struct bad_row rows[] = {
        {{{"layer_types", "[" FULL "]"}}, "layer_types: found an array of 1 entries, expected an array of 4 layers"},
        {{{"layer_types", "[]"}}, "layer_types: found an array of 0 entries, expected an array of 4 layers"},
        {{{"layer_types", "[" FULL "," FULL "," FULL "," FULL "," FULL "]"}},
         "layer_types: found an array of 5 entries, expected an array of 4 layers"},
        {{{"layer_types", "7"}}, "layer_types: found 7, expected an array of layers"},
        {{{"sliding_window", "-1"}}, "sliding_window: found -1, expected an integer in 0..16777216"},
        {{{"full_attn_idxs", "[0,4]"}}, "full_attn_idxs: found 4, expected an integer in 0..3"},
        {{{"full_attn_idxs", "2"}}, "full_attn_idxs: found 2, expected an array of layer numbers"},
        {{{"mlp_layer_types", "[\"dense\"]"}},
         "mlp_layer_types: found an array of 1 entries, expected an array of 4 layers"},
        {{{"mlp_layer_types", "true"}}, "mlp_layer_types: found true, expected an array of layers"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
#define LAYER_WORDS \
    "expected \"full_attention\", \"sliding_attention\", \"linear_attention\", \"conv\" or \"attention\""
    static const struct bad_row unsupported[] = {
        {{{"layer_types", "[" FULL "," FULL ",\"linear_attention\"," FULL "]"}},
         "layer_types[2]: found \"linear_attention\", expected \"full_attention\" or \"sliding_attention\""},
        {{{"layer_types", "[\"conv\"," FULL "," FULL "," FULL "]"}},
         "layer_types[0]: found \"conv\", expected \"full_attention\" or \"sliding_attention\""},
        {{{"layer_types", "[" FULL "," FULL "," FULL ",\"mamba\"]"}}, "layer_types[3]: found \"mamba\", " LAYER_WORDS},
        {{{"layer_types", "[" FULL ",\"chunked_attention\"," FULL "," FULL "]"}},
         "layer_types[1]: found \"chunked_attention\", " LAYER_WORDS},
        {{{"layer_types", "[" FULL ",1," FULL "," FULL "]"}}, "layer_types[1]: found 1, " LAYER_WORDS},
        {{{"layer_types", "[" FULL ",\"\"," FULL "," FULL "]"}}, "layer_types[1]: found \"\", " LAYER_WORDS},
        {{{"mlp_layer_types", "[\"dense\",\"sparse\",\"moe\",\"dense\"]"}},
         "mlp_layer_types[2]: found \"moe\", expected \"sparse\" or \"dense\""},
    };
    ALL_REFUSED(unsupported, SLUICE_UNSUPPORTED);
    ACCEPTED({"layer_types", "[\"attention\"," FULL ",\"attention\"," SLIDING "]"});
    cr_expect_eq((int)config.layers[0].listed, (int)LISTED_FULL, "another word for full_attention");
    cr_expect_eq((int)config.layers[3].listed, (int)LISTED_SLIDING);
    config_free(&config);
}

Test(config, C23_dense_layers_and_the_sparse_step_are_checked)
{
    static const struct bad_row rows[] = {
        {{{"mlp_only_layers", "[0,4]"}}, "mlp_only_layers: found 4, expected an integer in 0..3"},
        {{{"mlp_only_layers", "[-1]"}}, "mlp_only_layers: found -1, expected an integer in 0..3"},
        {{{"mlp_only_layers", "[\"1\"]"}}, "mlp_only_layers: found \"1\", expected an integer in 0..3"},
        {{{"mlp_only_layers", "3"}}, "mlp_only_layers: found 3, expected an array of layer numbers"},
        {{{"decoder_sparse_step", "0"}}, "decoder_sparse_step: found 0, expected an integer in 1..1024"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

/* ---- architecture and foreign keys ------------------------------------------------------------------------------- */

/* A sentence about an unknown name ends with every name that is known. */
static void not_supported(const struct edit *edits, const char *line)
{
    static const char known[] =
        "DeepseekV2ForCausalLM, DeepseekV3ForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM, "
        "Gemma3ForConditionalGeneration, Gemma4ForCausalLM, Gemma4ForConditionalGeneration, GemmaForCausalLM, "
        "Glm4MoeLiteForCausalLM, GptOssForCausalLM, Lfm2ForCausalLM, Lfm2MoeForCausalLM, LlamaForCausalLM, "
        "MistralForCausalLM, MixtralForCausalLM, OlmoeForCausalLM, Qwen2ForCausalLM, Qwen2MoeForCausalLM, "
        "Qwen3ForCausalLM, Qwen3MoeForCausalLM, Qwen3NextForCausalLM, Qwen3_5ForCausalLM, "
        "Qwen3_5ForConditionalGeneration, Qwen3_5MoeForCausalLM, Qwen3_5MoeForConditionalGeneration";
    char sentence[2048];
    snprintf(sentence, sizeof sentence, "%s is not supported (known: %s)", line, known);
    struct bad_row row = {.line = sentence};
    for (int i = 0; i < MAX_EDITS && edits[i].key; i++) row.edits[i] = edits[i];
    all_refused(&row, 1, SLUICE_UNSUPPORTED);
}
#define NOT_SUPPORTED(line, ...) not_supported((const struct edit[MAX_EDITS]){__VA_ARGS__}, line)

Test(config, C27_the_architecture_is_known)
{
    NOT_SUPPORTED("architectures: \"GPT2LMHeadModel\"", {"architectures", "[\"GPT2LMHeadModel\"]"});
    NOT_SUPPORTED("architectures: \"Qwen3MoeForCausalLM \"", {"architectures", "[\"Qwen3MoeForCausalLM \"]"});
    NOT_SUPPORTED("architectures: \"Gemma3ForCausalLM|Gemma3ForConditionalGeneration\"",
                  {"architectures", "[\"Gemma3ForCausalLM|Gemma3ForConditionalGeneration\"]"});
    NOT_SUPPORTED("architectures: \"\"", {"architectures", "[\"\"]"});
    NOT_SUPPORTED("architectures: \"\\x07\"", {"architectures", "[\"\\u0007\"]"});
    NOT_SUPPORTED("model_type: \"mamba\"", {"architectures", NULL}, {"model_type", "\"mamba\""});
    NOT_SUPPORTED("model_type: \"mamba\"", {"architectures", NULL}, {"model_type", "\"mamba\""},
                  {"text_config", "{\"model_type\":\"mamba2\"}"});
    static const struct bad_row malformed[] = {
        {{{"architectures", "[]"}}, "architectures: found an array of 0, expected an array of one string"},
        {{{"architectures", "[\"LlamaForCausalLM\",\"X\"]"}},
         "architectures: found an array of 2, expected an array of one string"},
        {{{"architectures", "[7]"}}, "architectures: found an array of 1, expected an array of one string"},
        {{{"architectures", "\"LlamaForCausalLM\""}},
         "architectures: found \"LlamaForCausalLM\", expected an array of one string"},
        {{{"architectures", NULL}, {"model_type", NULL}}, "architectures: missing, and so is model_type"},
        {{{"architectures", "null"}, {"model_type", "7"}}, "architectures: missing, and so is model_type"},
        {{{"text_config", "7"}}, "text_config: found 7, expected an object"},
    };
    ALL_REFUSED(malformed, SLUICE_FORMAT);
}

/* The i-th of the spellings "a|b", quoted; false when there are not so many. */
static bool spelling(const char *spellings, int i, const char *format, char out[96])
{
    char name[64];
    for (; i > 0; i--) {
        if (!spellings[strcspn(spellings, "|")]) return false;
        spellings += strcspn(spellings, "|") + 1;
    }
    snprintf(name, sizeof name, "%.*s", (int)strcspn(spellings, "|"), spellings);
    snprintf(out, 96, format, name);
    return true;
}

/* Keys without which some family does not do, and of which others have no use. */
#define ALL_FAMILIES \
    {"num_key_value_heads", "4"}, {"hidden_act", "null"}, { "hidden_size_per_layer_input", "0" }

Test(config, each_family_is_found_by_any_of_its_names)
{
    char name[96];
    for (int i = 0; arch_list[i]; i++) {
        for (int j = 0; spelling(arch_list[i]->hf_architecture, j, "[\"%s\"]", name); j++) {
            ACCEPTED({"architectures", name}, {"model_type", "\"other\""}, ALL_FAMILIES);
            cr_expect_eq(config.arch, arch_list[i]);
            config_free(&config);
        }
        for (int j = 0; spelling(arch_list[i]->hf_model_type, j, "\"%s\"", name); j++) {
            ACCEPTED({"architectures", NULL}, {"model_type", name}, ALL_FAMILIES);
            cr_expect_eq(config.arch, arch_list[i]);
            config_free(&config);
        }
    }
}

#define METHODS "\"fp8\" or \"mxfp4\", or no quantization"

Test(config, C24_quantised_weights_and_other_activations_are_unsupported)
{
    static const struct bad_row rows[] = {
        {{{"hidden_act", "\"gelu\""}}, "hidden_act: found \"gelu\", expected \"silu\""},
        {{{"hidden_act", "3"}}, "hidden_act: found 3, expected \"silu\""},
        {{{"quantization_config", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":0}"}},
         "quantization_config.quant_method: found \"gptq\", expected " METHODS},
        {{{"quantization_config", "{\"quant_method\":8}"}},
         "quantization_config.quant_method: found 8, expected " METHODS},
        {{{"quantization_config", "{\"bits\":8}"}}, "quantization_config: found an object, expected " METHODS},
        {{{"quantization_config", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,64]}"}},
         "quantization_config.weight_block_size: found 64, expected [128, 128]"},
        {{{"quantization_config", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128]}"}},
         "quantization_config.weight_block_size: found an array, expected [128, 128]"},
        {{{"quantization_config", "{\"quant_method\":\"fp8\",\"weight_block_size\":128}"}},
         "quantization_config.weight_block_size: found 128, expected [128, 128]"},
        {{{"quantization_config", "{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}"}},
         "quantization_config.fmt: found \"e5m2\", expected \"e4m3\""},
    };
    ALL_REFUSED(rows, SLUICE_UNSUPPORTED);
    static const char *const good[] = {
        "null",
        "{\"quant_method\":\"fp8\"}",
        "{\"quant_method\":\"fp8\",\"weight_block_size\":null}",
        "{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"activation_scheme\":\"dynamic\",\"weight_block_size\":[128,128]}",
        "{\"quant_method\":\"mxfp4\",\"modules_to_not_convert\":[\"lm_head\"]}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ACCEPTED({"quantization_config", good[i]}, {"hidden_act", NULL});
        config_free(&config);
    }
}

/* ---- end tokens and sampling defaults ---------------------------------------------------------------------------- */

static void end_tokens(const char *in_config, const char *in_generation, int n, const int32_t *expected)
{
    if (in_generation) folder_write_text(&folder, "generation_config.json", in_generation);
    ACCEPTED({"eos_token_id", in_config});
    cr_assert_eq(config.n_end_tokens, n);
    for (int i = 0; i < n; i++) cr_expect_eq(config.end_tokens[i], expected[i]);
    config_free(&config);
}

Test(config, end_tokens_come_from_both_files_without_repetition)
{
    end_tokens(NULL, NULL, 0, NULL);
    end_tokens("null", NULL, 0, NULL);
    end_tokens("5", NULL, 1, (int32_t[]){5});
    end_tokens("0", NULL, 1, (int32_t[]){0});
    end_tokens("[5,6,5]", NULL, 2, (int32_t[]){5, 6});
    end_tokens("[]", NULL, 0, NULL);
    end_tokens("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", NULL, 16,
               (int32_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
    end_tokens("5", "{\"eos_token_id\":[7,5,99]}", 3, (int32_t[]){5, 7, 99});
    end_tokens("null", "{\"eos_token_id\":7}", 1, (int32_t[]){7});
    end_tokens("5", "{\"eos_token_id\":null}", 1, (int32_t[]){5});
}

Test(config, C26_end_tokens_are_ids_of_the_vocabulary)
{
    static const struct bad_row rows[] = {
        {{{"eos_token_id", "-1"}}, "eos_token_id: found -1, expected an integer in 0..99"},
        {{{"eos_token_id", "100"}}, "eos_token_id: found 100, expected an integer in 0..99"},
        {{{"eos_token_id", "[3,4294967296]"}}, "eos_token_id: found 4294967296, expected an integer in 0..99"},
        {{{"eos_token_id", "[\"x\"]"}}, "eos_token_id: found \"x\", expected an integer in 0..99"},
        {{{"eos_token_id", "[[3]]"}}, "eos_token_id: found an array, expected an integer in 0..99"},
        {{{"eos_token_id", "[null]"}}, "eos_token_id: found null, expected an integer in 0..99"},
        {{{"eos_token_id", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"}}, "eos_token_id: more than 16 different ids"},
        {{{"bos_token_id", "100"}}, "bos_token_id: found 100, expected an integer in 0..99"},
        {{{"bos_token_id", "[1]"}}, "bos_token_id: found an array, expected an integer in 0..99"},
    };
    ALL_REFUSED(rows, SLUICE_FORMAT);
}

static void generation_refused(const char *text, const char *line)
{
    char sentence[256];
    snprintf(sentence, sizeof sentence, "generation_config.json: %s", line);
    folder_write_text(&folder, "generation_config.json", text);
    config_write(&folder, (const struct edit[]){{0}});
    cr_expect_eq((int)read_folder(), (int)SLUICE_FORMAT, "%s", text);
    cr_expect_str_eq(failure.text, sentence, "\n     got: %s\nexpected: %s", failure.text, sentence);
    cr_expect_null(config.layers);
}

Test(config, C26_generation_config_is_checked)
{
    generation_refused("{\"eos_token_id\":-1}", "eos_token_id: found -1, expected an integer in 0..99");
    generation_refused("{\"eos_token_id\":[1,4294967297]}",
                       "eos_token_id: found 4294967297, expected an integer in 0..99");
    generation_refused("{\"eos_token_id\":\"x\"}", "eos_token_id: found \"x\", expected an integer in 0..99");
    generation_refused("{\"do_sample\":1}", "do_sample: found 1, expected true or false");
    generation_refused("{\"temperature\":-0.5}", "temperature: found -0.5, expected a number in 0..100");
    generation_refused("{\"temperature\":101}", "temperature: found 101, expected a number in 0..100");
    generation_refused("{\"top_p\":0}", "top_p: found 0, expected a number in 1e-09..1");
    generation_refused("{\"top_p\":1.1}", "top_p: found 1.1, expected a number in 1e-09..1");
    generation_refused("{\"min_p\":1}", "min_p: found 1, expected a number in 0..0.999999");
    generation_refused("{\"repetition_penalty\":0}", "repetition_penalty: found 0, expected a number in 0.001..1000");
    generation_refused("{\"top_k\":-1}", "top_k: found -1, expected an integer in 0..4194304");
    generation_refused("{\"top_k\":1.5}", "top_k: found 1.5, expected an integer in 0..4194304");
}

/* A million ids: all equal is one id, all different are refused at the 17th. */
Test(config, C26_a_million_end_tokens)
{
    enum { N = 1000000 };
    char *text = malloc(N * 3 + 64);
    cr_assert(text);
    for (int different = 0; different < 2; different++) {
        int n = sprintf(text, "{\"eos_token_id\":[");
        for (int i = 0; i < N; i++) n += sprintf(text + n, "%s%d", i ? "," : "", different ? i % 90 : 7);
        sprintf(text + n, "]}");
        if (different) {
            generation_refused(text, "eos_token_id: more than 16 different ids");
        } else {
            end_tokens(NULL, text, 1, (int32_t[]){7});
        }
    }
    free(text);
}

Test(config, sampling_defaults_are_read_and_have_neutral_values)
{
    ACCEPTED({0});
    cr_expect(!generation.do_sample && generation.temperature == 1 && generation.top_p == 1 && generation.min_p == 0 &&
              generation.repetition_penalty == 1 && generation.top_k == 0);
    config_free(&config);
    folder_write_text(&folder, "generation_config.json",
                      "{\"do_sample\":true,\"temperature\":0.25,\"top_p\":0.5,\"top_k\":20,\"min_p\":0.125,"
                      "\"repetition_penalty\":1.5}");
    ACCEPTED({0});
    cr_expect(generation.do_sample && generation.temperature == 0.25f && generation.top_p == 0.5f &&
              generation.min_p == 0.125f && generation.repetition_penalty == 1.5f && generation.top_k == 20);
    config_free(&config);
    folder_write_text(&folder, "generation_config.json",
                      "{\"do_sample\":null,\"temperature\":null,\"top_p\":null,\"top_k\":null,\"min_p\":null}");
    ACCEPTED({0});
    cr_expect(!generation.do_sample && generation.temperature == 1 && generation.top_p == 1);
    config_free(&config);
}

Test(config, the_first_token_may_be_absent)
{
    ACCEPTED({0});
    cr_expect_eq(config.bos_token, -1);
    config_free(&config);
    ACCEPTED({"bos_token_id", "null"});
    cr_expect_eq(config.bos_token, -1);
    config_free(&config);
    ACCEPTED({"bos_token_id", "0"});
    cr_expect_eq(config.bos_token, 0);
    config_free(&config);
}

/* ---- what the families make of it -------------------------------------------------------------------------------- */

/* One letter per layer: d dense, e experts. */
static void expect_ffn(const char *letters)
{
    for (int l = 0; l < config.n_layers; l++)
        cr_expect_eq(config.layers[l].ffn.kind == FFN_MOE ? 'e' : 'd', letters[l], "layer %d of %s", l, letters);
    config_free(&config);
}

Test(config, layers_with_experts)
{
    ACCEPTED(QWEN3_MOE);
    expect_ffn("eeee");
    ACCEPTED({"decoder_sparse_step", "2"});
    expect_ffn("dede");
    ACCEPTED({"decoder_sparse_step", "5"});
    expect_ffn("dddd");
    ACCEPTED({"mlp_only_layers", "[0,3,3]"});
    expect_ffn("deed");
    ACCEPTED({"mlp_only_layers", "[1]"}, {"decoder_sparse_step", "2"});
    expect_ffn("ddde");
    ACCEPTED({"mlp_only_layers", "null"});
    expect_ffn("eeee");
    ACCEPTED(QWEN2_MOE_, {"mlp_only_layers", "[2]"});
    expect_ffn("eede");
    ACCEPTED(MIXTRAL_);
    expect_ffn("eeee");
    ACCEPTED(OLMOE);
    expect_ffn("eeee");
    ACCEPTED(LLAMA);
    expect_ffn("dddd");
    ACCEPTED(QWEN2);
    expect_ffn("dddd");
}

static void expect_windows(int a, int b, int c, int d)
{
    const int expected[4] = {a, b, c, d};
    for (int l = 0; l < 4; l++) cr_expect_eq(config.layers[l].mixer.window, expected[l], "layer %d", l);
    config_free(&config);
}
#define LISTED                                                       \
    {                                                                \
        "layer_types", "[" FULL "," SLIDING "," FULL "," SLIDING "]" \
    }
#define USE \
    {"use_sliding_window", "true"}, { "sliding_window", "9" }

/* As transformers does it: each family has its own rule. */
Test(config, windows)
{
    ACCEPTED(MISTRAL, {"sliding_window", "9"});
    expect_windows(9, 9, 9, 9);
    ACCEPTED(MISTRAL);
    expect_windows(4096, 4096, 4096, 4096);
    ACCEPTED(MISTRAL, {"sliding_window", "null"});
    expect_windows(0, 0, 0, 0);
    ACCEPTED(MIXTRAL_, {"sliding_window", "9"});
    expect_windows(9, 9, 9, 9);
    ACCEPTED(MIXTRAL_);
    expect_windows(0, 0, 0, 0);
    ACCEPTED(MIXTRAL_, {"sliding_window", "null"});
    expect_windows(0, 0, 0, 0);

    ACCEPTED(QWEN2, {"sliding_window", "9"});
    expect_windows(0, 0, 0, 0);
    ACCEPTED(QWEN2, USE, {"max_window_layers", "1"});
    expect_windows(0, 9, 9, 9);
    ACCEPTED(QWEN2, USE);
    expect_windows(0, 0, 0, 0);
    ACCEPTED(QWEN2, USE, {"max_window_layers", "0"}, LISTED);
    expect_windows(0, 9, 0, 9);
    ACCEPTED(QWEN3, USE, {"max_window_layers", "3"});
    expect_windows(0, 0, 0, 9);
    ACCEPTED(QWEN3, USE, LISTED);
    expect_windows(0, 9, 0, 9);

    ACCEPTED(QWEN2_MOE_, USE, {"max_window_layers", "3"});
    expect_windows(9, 0, 9, 0);
    ACCEPTED(QWEN2_MOE_, USE, {"max_window_layers", "2"});
    expect_windows(9, 0, 0, 0);
    ACCEPTED(QWEN2_MOE_, USE, LISTED);
    expect_windows(0, 9, 0, 9);
    ACCEPTED(QWEN2_MOE_, {"sliding_window", "9"});
    expect_windows(0, 0, 0, 0);
    ACCEPTED(QWEN3_MOE, USE);
    expect_windows(9, 9, 9, 9);
    ACCEPTED(QWEN3_MOE, {"use_sliding_window", "false"}, {"sliding_window", "9"});
    expect_windows(0, 0, 0, 0);
    ACCEPTED(LLAMA, USE);
    expect_windows(0, 0, 0, 0);
}

static int ffn_width(const struct ffn *ffn) { return ffn->kind == FFN_MOE ? ffn->expert_size : ffn->intermediate_size; }

struct layer_facts {
    struct edit edits[MAX_EDITS];
    int qk_norm;
    bool qkv_bias, output_bias, mlp_bias, normalise;
    int ffn, shared;
};

Test(config, each_family_has_its_own_layer)
{
    static const struct layer_facts rows[] = {
        {{LLAMA}, QK_NORM_NONE, false, false, false, false, 48, 0},
        {{LLAMA, {"attention_bias", "true"}}, QK_NORM_NONE, true, true, false, false, 48, 0},
        {{LLAMA, {"mlp_bias", "true"}}, QK_NORM_NONE, false, false, true, false, 48, 0},
        {{MISTRAL, {"attention_bias", "true"}}, QK_NORM_NONE, false, false, false, false, 48, 0},
        {{MIXTRAL_}, QK_NORM_NONE, false, false, false, true, 48, 0},
        {{OLMOE}, QK_NORM_FULL, false, false, false, false, 48, 0},
        {{OLMOE, {"norm_topk_prob", "true"}, {"attention_bias", "true"}}, QK_NORM_FULL, true, true, false, true, 48, 0},
        {{QWEN2}, QK_NORM_NONE, true, false, false, false, 48, 0},
        {{QWEN2_MOE_, {"shared_expert_intermediate_size", "20"}}, QK_NORM_NONE, true, false, false, false, 16, 20},
        {{QWEN2_MOE_, {"qkv_bias", "false"}, {"norm_topk_prob", "true"}},
         QK_NORM_NONE,
         false,
         false,
         false,
         true,
         16,
         5632},
        {{QWEN3}, QK_NORM_PER_HEAD, false, false, false, false, 48, 0},
        {{QWEN3, {"attention_bias", "true"}}, QK_NORM_PER_HEAD, true, true, false, false, 48, 0},
        {{QWEN3_MOE}, QK_NORM_PER_HEAD, false, false, false, false, 16, 0},
        {{QWEN3_MOE, {"norm_topk_prob", "true"}}, QK_NORM_PER_HEAD, false, false, false, true, 16, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        accepted(rows[i].edits);
        for (int l = 0; l < config.n_layers; l++) {
            const struct layer_config *layer = &config.layers[l];
            cr_expect_eq((int)layer->mixer.qk_norm, rows[i].qk_norm, "row %zu", i);
            cr_expect_eq(layer->mixer.qkv_bias, rows[i].qkv_bias, "row %zu", i);
            cr_expect_eq(layer->mixer.output_bias, rows[i].output_bias, "row %zu", i);
            cr_expect_eq(layer->ffn.bias, rows[i].mlp_bias, "row %zu", i);
            cr_expect_eq(layer->router.normalise, rows[i].normalise, "row %zu", i);
            cr_expect_eq(ffn_width(&layer->ffn), rows[i].ffn, "row %zu", i);
            cr_expect_eq(layer->ffn.shared_size, rows[i].shared, "row %zu", i);
            cr_expect_eq(layer->ffn.shared == SHARED_GATED, rows[i].shared > 0, "row %zu", i);
            cr_expect_eq(layer->mixer.n_heads, 4);
            cr_expect_eq(layer->mixer.n_kv_heads, 2);
            cr_expect_float_eq(layer->mixer.scale, 0.35355339f, 1e-7f);
        }
        config_free(&config);
    }
}

/* transformers 4 wrote num_experts where 5 writes num_local_experts, and Mixtral always had the second. */
Test(config, the_number_of_experts_has_two_spellings)
{
    static const struct edit families[] = {MIXTRAL_, OLMOE, QWEN2_MOE_, QWEN3_MOE};
    for (int i = 0; i < 4; i++)
        for (int spelling = 0; spelling < 3; spelling++) {
            const struct edit edits[] = {
                families[i],
                {"num_experts", spelling == 0   ? "5"
                                : spelling == 1 ? NULL
                                                : "null"},
                {"num_local_experts", spelling == 0 ? NULL : "5"},
                {0},
            };
            accepted(edits);
            cr_expect_eq(config.layers[0].router.n_experts, 5, "%s, spelling %d", families[i].value, spelling);
            cr_expect_eq(config.layers[0].router.top_k, 2);
            config_free(&config);
        }
}

Test(config, head_dim_is_the_share_of_the_width_where_it_is_absent)
{
    ACCEPTED(LLAMA, {"head_dim", NULL});
    cr_expect_eq(config.layers[0].mixer.head_dim, 8);
    config_free(&config);
    ACCEPTED(LLAMA, {"head_dim", "null"}, {"num_attention_heads", "2"});
    cr_expect_eq(config.layers[0].mixer.head_dim, 16);
    config_free(&config);
    ACCEPTED(LLAMA, {"head_dim", "20"});
    cr_expect_eq(config.layers[0].mixer.head_dim, 20);
    config_free(&config);
}

Test(config, every_head_has_its_own_keys_where_their_number_is_absent)
{
    ACCEPTED(LLAMA, {"num_key_value_heads", NULL});
    cr_expect_eq(config.layers[0].mixer.n_kv_heads, 4);
    config_free(&config);
    ACCEPTED(OLMOE, {"num_key_value_heads", "null"});
    cr_expect_eq(config.layers[0].mixer.n_kv_heads, 4);
    config_free(&config);
}

Test(config, null_is_the_same_as_absent)
{
    ACCEPTED(OLMOE, {"clip_qkv", "null"}, {"norm_topk_prob", "null"}, {"max_position_embeddings", "null"},
             {"attention_bias", "null"}, {"layer_types", "null"});
    cr_expect_eq(config.layers[0].mixer.clip_qkv, 0.0f);
    cr_expect(!config.layers[0].router.normalise);
    cr_expect_eq(config.n_context, 2048);
    config_free(&config);
}

Test(config, heads_are_tied_as_the_file_says)
{
    ACCEPTED({"tie_word_embeddings", "true"});
    cr_expect(config.tied_embeddings);
    config_free(&config);
    ACCEPTED({"tie_word_embeddings", "false"});
    cr_expect(!config.tied_embeddings);
    config_free(&config);
}

Test(config, layers_with_experts_are_counted)
{
    ACCEPTED({"mlp_only_layers", "[2]"});
    cr_expect_eq(config_n_moe_layers(&config), 3);
    config_free(&config);
}

/* ---- limits of the machine --------------------------------------------------------------------------------------- */

Test(config, memory_that_is_short_is_reported)
{
    struct archive *a = NULL;
    config_write(&folder, (const struct edit[]){{0}});
    cr_assert_eq((int)archive_open(&a, folder.path, ARCHIVE_CONFIG, &failure), (int)SLUICE_OK);
    memory_fail_after(1);
    cr_expect_eq((int)config_read(&config, &generation, a, &failure), (int)SLUICE_MEMORY);
    cr_expect_null(config.layers);
    archive_close(&a);
}

Test(config, nobody_has_to_want_the_sentence)
{
    static const struct edit bad[][2] = {{{"hidden_size", "0"}},
                                         {{"rope_scaling", "{\"rope_type\":\"x\"}"}},
                                         {{"hidden_act", "\"relu\""}},
                                         {{"architectures", "[\"X\"]"}}};
    static const sluice_status status[] = {SLUICE_FORMAT, SLUICE_UNSUPPORTED, SLUICE_UNSUPPORTED, SLUICE_UNSUPPORTED};
    for (int i = 0; i < 4; i++) {
        const struct edit edits[] = {bad[i][0], {0}};
        struct archive *a = NULL;
        config_write(&folder, edits);
        cr_assert_eq((int)archive_open(&a, folder.path, ARCHIVE_CONFIG, NULL), (int)SLUICE_OK);
        cr_expect_eq((int)config_read(&config, &generation, a, NULL), (int)status[i]);
        archive_close(&a);
    }
}
