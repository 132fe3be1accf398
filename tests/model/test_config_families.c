/* config.json of families beyond Llama's block: objects inside objects, tables of RoPE, words, lists of layers, and
 * what is refused by name. */
#include "model/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "model/arch.h"
#include "tests/model/checkpoint.h"
#include "weights/archive.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(config_families, .init = create, .fini = destroy);

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

static void refused(sluice_status status, const char *line, const struct edit *edits)
{
    char sentence[512];
    snprintf(sentence, sizeof sentence, "config.json: %s", line);
    config_write(&folder, edits);
    sluice_status s = read_folder();
    cr_expect_eq((int)s, (int)status, "%s: status %d", line, (int)s);
    cr_expect_str_eq(failure.text, sentence, "\n     got: %s\nexpected: %s", failure.text, sentence);
    if (s == SLUICE_OK) config_free(&config);
}
#define MALFORMED(line, ...)   refused(SLUICE_FORMAT, line, (const struct edit[]){__VA_ARGS__, {0}})
#define UNSUPPORTED(line, ...) refused(SLUICE_UNSUPPORTED, line, (const struct edit[]){__VA_ARGS__, {0}})

#define FAMILY(name)                      \
    {                                     \
        "architectures", "[\"" name "\"]" \
    }
#define KV(n)                    \
    {                            \
        "num_key_value_heads", n \
    }
#define GELU                                         \
    {                                                \
        "hidden_activation", "\"gelu_pytorch_tanh\"" \
    }
#define GEMMA3 FAMILY("Gemma3ForCausalLM"), GELU
#define GEMMA4 \
    FAMILY("Gemma4ForCausalLM"), GELU, { "hidden_size_per_layer_input", "0" }
#define DEEPSEEK(version) FAMILY("Deepseek" version "ForCausalLM"), KV("4"), {"n_routed_experts", "8"}, LATENT
#define LATENT            {"kv_lora_rank", "20"}, {"q_lora_rank", "null"}, {"qk_nope_head_dim", "10"}, LATENT_HEADS
#define LATENT_HEADS \
    {"qk_rope_head_dim", "6"}, { "v_head_dim", "12" }
#define SLIDING_LAYERS "[\"sliding_attention\",\"sliding_attention\",\"sliding_attention\",\"sliding_attention\"]"
#define NO_GROUPS \
    {"n_group", "1"}, { "topk_group", "1" }

#define GLM FAMILY("Glm4MoeLiteForCausalLM"), KV("4"), {"n_routed_experts", "8"}, LATENT

/* ---- objects in objects ------------------------------------------------------------------------------------------ */

static void write_text_config(const char *text, const char *beside)
{
    char whole[2048];
    snprintf(whole, sizeof whole,
             "{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"model_type\":\"gemma3\",%s\"text_config\":{"
             "\"model_type\":\"gemma3_text\",\"hidden_size\":24,\"num_hidden_layers\":6,\"num_attention_heads\":2,"
             "\"num_key_value_heads\":1,\"head_dim\":16,\"vocab_size\":64,\"intermediate_size\":28%s}}",
             beside, text);
    folder_write_text(&folder, "config.json", whole);
}

static void text_refused(const char *text, const char *beside, sluice_status status, const char *line)
{
    write_text_config(text, beside);
    cr_expect_eq((int)read_folder(), (int)status, "%s", line);
    cr_expect_str_eq(failure.text, line, "\n     got: %s\nexpected: %s", failure.text, line);
}

Test(config_families, keys_of_multimodal_models_are_in_text_config)
{
    write_text_config(",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8},\"sliding_window\":7",
                      "\"hidden_size\":99,");
    cr_assert_eq((int)read_folder(), (int)SLUICE_OK, "%s", failure.text);
    cr_expect_str_eq(config.arch->name, "gemma3");
    cr_expect_eq(config.hidden_size, 24);
    cr_expect_eq(config.n_layers, 6);
    cr_expect_eq(config.layers[0].mixer.window, 7);
    cr_expect_eq(config.layers[5].mixer.window, 0);
    cr_expect_eq((int)config.rope[ROPE_GLOBAL].scaling, (int)ROPE_LINEAR);
    cr_expect_eq(config.rope[ROPE_GLOBAL].factor, 8);
    cr_expect_eq((int)config.rope[ROPE_LOCAL].scaling, (int)ROPE_DEFAULT);
    cr_expect_eq(config.n_end_tokens, 0);
    cr_expect_eq(config.bos_token, -1);
    config_free(&config);

    text_refused(",\"rms_norm_eps\":2", "", SLUICE_FORMAT,
                 "config.json: text_config.rms_norm_eps: found 2, expected a number in 1e-30..1");
    text_refused(",\"rope_scaling\":{\"type\":\"linear\"}", "", SLUICE_FORMAT,
                 "config.json: text_config.rope_scaling.factor: missing");
    text_refused(",\"rope_scaling\":{\"type\":\"mrope\"}", "", SLUICE_UNSUPPORTED,
                 "config.json: text_config.rope_scaling.rope_type: found \"mrope\", expected one of default, linear, "
                 "llama3, yarn, proportional");
    text_refused(",\"layer_types\":[]", "", SLUICE_FORMAT,
                 "config.json: text_config.layer_types: found an array of 0 entries, expected an array of 6 layers");
    text_refused(",\"hidden_activation\":\"relu\"", "", SLUICE_UNSUPPORTED,
                 "config.json: text_config.hidden_activation: found \"relu\", expected \"gelu_pytorch_tanh\"");
    text_refused(",\"use_bidirectional_attention\":true", "", SLUICE_UNSUPPORTED,
                 "config.json: text_config.use_bidirectional_attention: found true, expected false (not supported)");
    text_refused(",\"eos_token_id\":64", "", SLUICE_FORMAT,
                 "config.json: text_config.eos_token_id: found 64, expected an integer in 0..63");
    text_refused("", "\"eos_token_id\":[1,64],", SLUICE_FORMAT,
                 "config.json: eos_token_id: found 64, expected an integer in 0..63");
    text_refused("", "\"quantization_config\":{\"quant_method\":\"awq\"},", SLUICE_UNSUPPORTED,
                 "config.json: quantization_config.quant_method: found \"awq\", expected \"fp8\" or \"mxfp4\", or no "
                 "quantization");
    text_refused("", "\"tie_word_embeddings\":1,", SLUICE_FORMAT,
                 "config.json: tie_word_embeddings: found 1, expected true or false");
}

/* All that the text_config of Gemma 3 4B has. */
Test(config_families, a_family_may_have_defaults_for_what_others_must_state)
{
    folder_write_text(&folder, "config.json",
                      "{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"text_config\":{\"hidden_size\":2560,"
                      "\"intermediate_size\":10240,\"model_type\":\"gemma3_text\",\"num_hidden_layers\":34,"
                      "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"},\"sliding_window\":1024}}");
    cr_assert_eq((int)read_folder(), (int)SLUICE_OK, "%s", failure.text);
    cr_expect(config.n_heads == 8 && config.n_kv_heads == 4 && config.head_dim == 256);
    cr_expect(config.vocab_size == 262208 && config.n_context == 131072);
    config_free(&config);
}

Test(config_families, tokens_and_ties_may_stand_beside_text_config)
{
    write_text_config(",\"eos_token_id\":2,\"tie_word_embeddings\":false",
                      "\"eos_token_id\":[1,16],\"bos_token_id\":5,\"tie_word_embeddings\":true,");
    cr_assert_eq((int)read_folder(), (int)SLUICE_OK, "%s", failure.text);
    cr_expect_eq(config.bos_token, 5);
    cr_assert_eq(config.n_end_tokens, 3, "all that either place names");
    cr_expect(config.end_tokens[0] == 2 && config.end_tokens[1] == 1 && config.end_tokens[2] == 16);
    cr_expect(!config.tied_embeddings, "the inner one wins");
    config_free(&config);
    write_text_config("", "\"tie_word_embeddings\":true,");
    cr_assert_eq((int)read_folder(), (int)SLUICE_OK, "%s", failure.text);
    cr_expect(config.tied_embeddings);
    config_free(&config);
}

Test(config_families, a_tie_may_have_another_name)
{
    static const char *const families[] = {"[\"Lfm2ForCausalLM\"]", "[\"Lfm2MoeForCausalLM\"]"};
    for (int i = 0; i < 2; i++) {
        ACCEPTED({"architectures", families[i]}, {"tie_embedding", "true"}, {"tie_word_embeddings", "false"});
        cr_expect(config.tied_embeddings);
        config_free(&config);
        ACCEPTED({"architectures", families[i]}, {"tie_embedding", "false"}, {"tie_word_embeddings", "true"});
        cr_expect(!config.tied_embeddings);
        config_free(&config);
        ACCEPTED({"architectures", families[i]}, {"tie_embedding", NULL}, {"tie_word_embeddings", "true"});
        cr_expect(config.tied_embeddings);
        config_free(&config);
    }
    MALFORMED("tie_embedding: found 1, expected true or false", FAMILY("Lfm2ForCausalLM"), {"tie_embedding", "1"});
    ACCEPTED({"tie_embedding", "true"}, {"tie_word_embeddings", "false"});
    cr_expect(!config.tied_embeddings, "other families do not know it");
    config_free(&config);
}

Test(config_families, the_cap_on_logits_of_gemma_3)
{
    ACCEPTED(GEMMA3, {"final_logit_softcapping", "20"}, {"attn_logit_softcapping", "null"});
    cr_expect_eq(config.final_softcap, 20.0f);
    cr_expect_eq(config.layers[0].mixer.softcap, 0.0f);
    config_free(&config);
}

Test(config_families, the_inner_model_type_will_do)
{
    ACCEPTED({"architectures", NULL}, {"model_type", "\"some_wrapper\""},
             {"text_config", "{\"model_type\":\"qwen3\",\"hidden_size\":32,\"num_hidden_layers\":1,"
                             "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,\"vocab_size\":9,"
                             "\"intermediate_size\":8}"});
    cr_expect_str_eq(config.arch->name, "qwen3");
    cr_expect_eq(config.vocab_size, 9);
    config_free(&config);
}

/* ---- RoPE -------------------------------------------------------------------------------------------------------- */

#define MAP(full, sliding)                                                                   \
    {                                                                                        \
        "rope_parameters", "{\"full_attention\":" full ",\"sliding_attention\":" sliding "}" \
    }

static void expect_rope(enum rope_index i, enum rope_scaling scaling, double theta, double factor, int n_rot)
{
    const struct rope_config *r = &config.rope[i];
    cr_expect_eq((int)r->scaling, (int)scaling);
    cr_expect_eq(r->theta, theta, "theta %g", r->theta);
    cr_expect_eq(r->factor, factor, "factor %g", r->factor);
    cr_expect_eq(r->n_rot, n_rot, "n_rot %d", r->n_rot);
}

Test(config_families, sliding_layers_have_a_table_of_their_own)
{
    ACCEPTED(GEMMA3, {"rope_theta", "5e5"}, {"rope_local_base_freq", "700"},
             {"rope_scaling", "{\"rope_type\":\"linear\",\"factor\":8}"});
    expect_rope(ROPE_GLOBAL, ROPE_LINEAR, 5e5, 8, 8);
    expect_rope(ROPE_LOCAL, ROPE_DEFAULT, 700, 1, 8);
    config_free(&config);
    ACCEPTED(GEMMA3, {"rope_theta", NULL});
    expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 1e6, 1, 8);
    expect_rope(ROPE_LOCAL, ROPE_DEFAULT, 1e4, 1, 8);
    config_free(&config);
    ACCEPTED(GEMMA3, {"rope_theta", NULL},
             MAP("{\"rope_type\":\"linear\",\"factor\":4,\"rope_theta\":3e5}", "{\"rope_theta\":900}"));
    expect_rope(ROPE_GLOBAL, ROPE_LINEAR, 3e5, 4, 8);
    expect_rope(ROPE_LOCAL, ROPE_DEFAULT, 900, 1, 8);
    config_free(&config);
    ACCEPTED(GEMMA3, {"rope_theta", NULL}, MAP("null", "{\"type\":\"linear\",\"factor\":2}"));
    expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 1e6, 1, 8);
    expect_rope(ROPE_LOCAL, ROPE_LINEAR, 1e4, 2, 8);
    config_free(&config);
    ACCEPTED(FAMILY("Qwen3ForCausalLM"), {"rope_theta", NULL},
             {"rope_parameters", "{\"full_attention\":{\"rope_theta\":7}}"});
    expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 7, 1, 8);
    cr_expect_eq(config.rope[ROPE_LOCAL].n_rot, 0, "no such table");
    config_free(&config);

    MALFORMED("rope_parameters.full_attention: missing, and so is sliding_attention", GEMMA3,
              {"rope_parameters", "{\"rope_type\":\"default\",\"rope_theta\":7}"});
    MALFORMED("rope_local_base_freq: found 0, expected a number in 1..1e+15", GEMMA3, {"rope_local_base_freq", "0"});
    MALFORMED("rope_parameters.sliding_attention: found 7, expected an object or null", GEMMA3, MAP("{}", "7"));
    MALFORMED("rope_parameters.full_attention.factor: missing", GEMMA3, MAP("{\"rope_type\":\"linear\"}", "{}"));
    MALFORMED("rope_parameters.sliding_attention.rope_theta: found -1, expected a number in 1..1e+15", GEMMA3,
              MAP("{}", "{\"rope_theta\":-1}"));
    UNSUPPORTED("rope_parameters.sliding_attention.rope_type: found \"longrope\", expected one of default, linear, "
                "llama3, yarn, proportional",
                GEMMA3, MAP("{}", "{\"rope_type\":\"longrope\"}"));
    UNSUPPORTED("rope_parameters.sliding_attention: found an object, expected one rotation for all layers",
                FAMILY("Qwen3ForCausalLM"), MAP("{}", "{}"));
}

Test(config_families, a_part_of_each_head_rotates)
{
    static const char *const places[][2] = {
        {"partial_rotary_factor", "0.5"},
        {"rope_scaling", "{\"type\":\"default\",\"partial_rotary_factor\":0.5}"},
        {"rope_parameters", "{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5,\"mrope_section\":[1,1,0],"
                            "\"mrope_interleaved\":true}"},
    };
    for (int i = 0; i < 3; i++) {
        ACCEPTED(FAMILY("Qwen3NextForCausalLM"), {places[i][0], places[i][1]});
        expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 1e4, 1, 4);
        config_free(&config);
    }
    ACCEPTED(FAMILY("Qwen3NextForCausalLM"), {"partial_rotary_factor", "0.87"}, {"head_dim", "14"});
    expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 1e4, 1, 12); /* of 12.18 */
    config_free(&config);

#define SHARE "expected a share of 8 elements that is even and at least 2"
    MALFORMED("partial_rotary_factor: found 0.4, " SHARE, FAMILY("Qwen3NextForCausalLM"),
              {"partial_rotary_factor", "0.4"});
    MALFORMED("partial_rotary_factor: found 0.2, " SHARE, FAMILY("Qwen3NextForCausalLM"),
              {"partial_rotary_factor", "0.2"});
    MALFORMED("partial_rotary_factor: found 1.5, expected a number in 1e-06..1", FAMILY("Qwen3NextForCausalLM"),
              {"partial_rotary_factor", "1.5"});
    static const char *const by_default[] = {"[\"Qwen3NextForCausalLM\"]", "[\"Qwen3_5ForCausalLM\"]",
                                             "[\"Qwen3_5MoeForCausalLM\"]"};
    for (int i = 0; i < 3; i++) {
        ACCEPTED({"architectures", by_default[i]}, {"head_dim", "24"});
        expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 1e4, 1, 6);
        config_free(&config);
        ACCEPTED({"architectures", by_default[i]}, {"head_dim", "24"}, {"rope_parameters", "{\"rope_theta\":7}"});
        expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 7, 1, 6);
        config_free(&config);
    }
    UNSUPPORTED("partial_rotary_factor: found 0.5, expected 1", {"partial_rotary_factor", "0.5"});
    UNSUPPORTED("partial_rotary_factor: found 0.5, expected 1", DEEPSEEK("V3"), NO_GROUPS,
                {"partial_rotary_factor", "0.5"});
}

Test(config_families, proportional_rotation)
{
    ACCEPTED(GEMMA4, {"global_head_dim", "16"},
             MAP("{\"rope_type\":\"proportional\",\"partial_rotary_factor\":0.5,\"rope_theta\":1e6}",
                 "{\"rope_type\":\"default\",\"rope_theta\":1e4}"));
    expect_rope(ROPE_GLOBAL, ROPE_PROPORTIONAL, 1e6, 1, 16);
    cr_expect_eq(config.rope[ROPE_GLOBAL].partial, 0.5);
    expect_rope(ROPE_LOCAL, ROPE_DEFAULT, 1e4, 1, 8);
    cr_expect_eq(config.layers[0].mixer.head_dim, 8);
    cr_expect_eq(config.layers[3].mixer.head_dim, 16);
    config_free(&config);
    ACCEPTED(GEMMA4, {"global_head_dim", "16"}, MAP("{\"rope_type\":\"proportional\",\"factor\":2}", "{}"));
    expect_rope(ROPE_GLOBAL, ROPE_PROPORTIONAL, 1e4, 2, 16);
    cr_expect_eq(config.rope[ROPE_GLOBAL].partial, 1, "as transformers, not the share that is usual without an object");
    config_free(&config);
    ACCEPTED(GEMMA4, {"global_head_dim", "16"}, {"rope_theta", NULL});
    expect_rope(ROPE_GLOBAL, ROPE_PROPORTIONAL, 1e6, 1, 16);
    cr_expect_eq(config.rope[ROPE_GLOBAL].partial, 0.25);
    expect_rope(ROPE_LOCAL, ROPE_DEFAULT, 1e4, 1, 8);
    config_free(&config);
    ACCEPTED(GEMMA4, {"global_head_dim", "16"}, MAP("{\"rope_type\":\"default\"}", "{}"));
    expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 1e4, 1, 16);
    config_free(&config);
    UNSUPPORTED("rope_parameters.full_attention.partial_rotary_factor: found 0.25, expected 1", GEMMA4,
                {"global_head_dim", "16"}, MAP("{\"rope_type\":\"default\",\"partial_rotary_factor\":0.25}", "{}"));
}

Test(config_families, a_family_may_be_scaled_where_the_file_says_nothing)
{
    static const char *const said[] = {NULL, "null"};
    for (int i = 0; i < 2; i++) {
        ACCEPTED(FAMILY("GptOssForCausalLM"), {"rope_theta", NULL}, {"rope_scaling", said[i]});
        const struct rope_config *r = &config.rope[ROPE_GLOBAL];
        expect_rope(ROPE_GLOBAL, ROPE_YARN, 150000, 32, 8);
        cr_expect(r->original_context == 4096 && r->beta_fast == 32 && r->beta_slow == 1 && !r->truncate);
        cr_expect_float_eq(rope_magnitude(r), 1.34657359, 1e-8); /* 0.1 ln 32 + 1 */
        cr_expect_eq(config.n_context, 131072);
        config_free(&config);
    }
    ACCEPTED(FAMILY("GptOssForCausalLM"), {"rope_parameters", "{\"rope_theta\":7}"});
    expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 7, 1, 8);
    config_free(&config);
}

Test(config_families, the_temperature_of_yarn_is_read_where_scores_have_it)
{
    ACCEPTED(DEEPSEEK("V2"),
             {"rope_scaling", "{\"type\":\"yarn\",\"rope_type\":\"yarn\",\"factor\":40,\"mscale\":0.707,"
                              "\"mscale_all_dim\":0.707,\"original_max_position_embeddings\":16}"});
    expect_rope(ROPE_GLOBAL, ROPE_YARN, 1e4, 40, 6);
    cr_expect_eq(rope_magnitude(&config.rope[ROPE_GLOBAL]), 1);
    /* m = 0.1 * 0.707 * ln 40 + 1 = 1.2608038; m^2 / sqrt(16) */
    cr_expect_float_eq(config.layers[0].mixer.scale, 0.397406565f, 1e-6f);
    cr_expect_eq(config.n_context, 640);
    config_free(&config);
}

Test(config_families, scores_have_a_temperature_with_any_scaling)
{
    static const char linear[] = "{\"type\":\"linear\",\"factor\":40,\"mscale_all_dim\":0.707}";
    ACCEPTED(DEEPSEEK("V2"), {"rope_scaling", linear});
    expect_rope(ROPE_GLOBAL, ROPE_LINEAR, 1e4, 40, 6);
    cr_expect_eq(rope_magnitude(&config.rope[ROPE_GLOBAL]), 1);
    cr_expect_float_eq(config.layers[0].mixer.scale, 0.397406565f, 1e-6f);
    config_free(&config);
    ACCEPTED(DEEPSEEK("V3"), NO_GROUPS, {"rope_scaling", linear});
    cr_expect_float_eq(config.layers[0].mixer.scale, 0.397406565f, 1e-6f);
    config_free(&config);
    ACCEPTED(DEEPSEEK("V3"), NO_GROUPS, {"rope_scaling", "{\"type\":\"default\",\"mscale_all_dim\":0.707}"});
    cr_expect_eq(config.layers[0].mixer.scale, 0.25f);
    config_free(&config);
}

/* ---- heads ------------------------------------------------------------------------------------------------------- */

#define V3_WITH(nope, n_rot)                                                                                \
    FAMILY("DeepseekV3ForCausalLM"), KV("4"), {"n_routed_experts", "8"}, NO_GROUPS, {"kv_lora_rank", "20"}, \
        {"qk_nope_head_dim", nope}, {"qk_rope_head_dim", n_rot},                                            \
    {                                                                                                       \
        "v_head_dim", "12"                                                                                  \
    }

Test(config_families, heads_of_latent_attention)
{
    ACCEPTED(DEEPSEEK("V3"), NO_GROUPS, {"head_dim", "6"});
    const struct mixer *mixer = &config.layers[3].mixer;
    cr_expect_eq((int)mixer->kind, (int)MIX_MLA);
    cr_expect(mixer->head_dim == 16 && mixer->v_head_dim == 12 && mixer->kv_lora_rank == 20 && mixer->q_lora_rank == 0);
    cr_expect(mixer->n_heads == 4 && mixer->n_kv_heads == 4);
    expect_rope(ROPE_GLOBAL, ROPE_DEFAULT, 1e4, 1, 6);
    config_free(&config);
    ACCEPTED(KV("null"), DEEPSEEK("V3"), NO_GROUPS, {"num_attention_heads", "5"});
    cr_expect_eq(config.layers[0].mixer.n_kv_heads, 5, "32 is not a multiple of 5 heads, and need not be");
    config_free(&config);

    MALFORMED("num_key_value_heads: found 2, expected one for each of 4 heads", KV("2"), DEEPSEEK("V3"), NO_GROUPS);
    MALFORMED("num_key_value_heads: found 1, expected one for each of 4 heads", KV("1"), DEEPSEEK("V3"), NO_GROUPS);
    MALFORMED("qk_rope_head_dim: found 7, expected an even number in 2..1024", V3_WITH("10", "7"));
    MALFORMED(
        "qk_rope_head_dim: found 512 beside 900 elements that do not rotate and 12 of values, expected heads of at "
        "most 1024",
        V3_WITH("900", "512"));
}

Test(config_families, layers_may_have_heads_of_their_own)
{
#define HEAD_16 "{\"head_dim\":16,\"num_key_value_heads\":1}"
    ACCEPTED(GEMMA4, {"attention_k_eq_v", "true"}, {"sliding_window", "5"},
             {"layer_types", "[\"full_attention\",\"sliding_attention\",\"sliding_attention\",\"full_attention\"]"},
             {"per_layer_config", "{\"0\":" HEAD_16 ",\"3\":" HEAD_16 "}"});
    for (int l = 0; l < 4; l++) {
        bool full = l % 3 == 0;
        cr_expect_eq(config.layers[l].mixer.head_dim, full ? 16 : 8, "layer %d", l);
        cr_expect_eq(config.layers[l].mixer.n_kv_heads, full ? 1 : 2, "layer %d", l);
        cr_expect_eq((int)config.layers[l].mixer.rope, (int)(full ? ROPE_GLOBAL : ROPE_LOCAL));
    }
    cr_expect_eq(config.rope[ROPE_GLOBAL].n_rot, 16);
    config_free(&config);

    MALFORMED("per_layer_config: found 7, expected an object", GEMMA4, {"per_layer_config", "7"});
    MALFORMED("per_layer_config: found 2 entries, expected numbers of layers in 0..3", GEMMA4,
              {"per_layer_config", "{\"3\":{},\"4\":{}}"});
    MALFORMED("per_layer_config.3.head_dim: found 0, expected an integer in 2..1024", GEMMA4,
              {"per_layer_config", "{\"3\":{\"head_dim\":0}}"});
    UNSUPPORTED("per_layer_config.3: found an object, expected an object with head_dim, num_key_value_heads or both",
                GEMMA4, {"per_layer_config", "{\"3\":{\"head_dim\":16,\"hidden_size\":8}}"});
    UNSUPPORTED("per_layer_config.0.num_key_value_heads: found 1, expected 2",
                {"per_layer_config", "{\"0\":{\"num_key_value_heads\":1}}"});
    MALFORMED("global_head_dim: found 21, expected an even number in 2..1024", GEMMA4, {"global_head_dim", "21"});
    MALFORMED("num_global_key_value_heads: 4 heads are not a multiple of 3 key-value heads", GEMMA4,
              {"attention_k_eq_v", "true"}, {"num_global_key_value_heads", "3"});
    UNSUPPORTED("per_layer_config.1.head_dim: found 16, expected 8",
                {"per_layer_config", "{\"1\":" HEAD_16 "}"});
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

Test(config_families, words_have_numbers)
{
    ACCEPTED(DEEPSEEK("V2"), {"scoring_func", "\"softmax\""}, {"topk_method", "\"group_limited_greedy\""},
             {"n_group", "4"}, {"topk_group", "2"}, {"first_k_dense_replace", "1"});
    const struct router *router = &config.layers[1].router;
    cr_expect_eq((int)router->score, (int)SCORE_SOFTMAX);
    cr_expect_eq((int)router->group_rank, (int)GROUP_MAX);
    cr_expect(router->n_group == 4 && router->topk_group == 2 && !router->normalise);
    cr_expect_eq((int)config.layers[0].ffn.kind, (int)FFN_DENSE);
    config_free(&config);
    ACCEPTED(DEEPSEEK("V3"), {"n_group", "4"}, {"topk_group", "2"}, {"scoring_func", "null"});
    router = &config.layers[3].router;
    cr_expect_eq((int)router->score, (int)SCORE_SIGMOID);
    cr_expect_eq((int)router->group_rank, (int)GROUP_SUM_TOP2);
    cr_expect(router->selection_bias && router->normalise);
    config_free(&config);

    UNSUPPORTED("scoring_func: found \"tanh\", expected \"sigmoid\"", DEEPSEEK("V3"), NO_GROUPS,
                {"scoring_func", "\"tanh\""});
    UNSUPPORTED("scoring_func: found 2, expected \"softmax\"", DEEPSEEK("V2"), {"scoring_func", "2"});
    UNSUPPORTED("scoring_func: found \"\", expected \"softmax\"", DEEPSEEK("V2"), {"scoring_func", "\"\""});
    UNSUPPORTED("topk_method: found \"noaux_tc\", expected \"greedy\" or \"group_limited_greedy\"", DEEPSEEK("V2"),
                {"topk_method", "\"noaux_tc\""});
    UNSUPPORTED("topk_method: found \"greedy|group_limited_greedy\", expected \"greedy\" or \"group_limited_greedy\"",
                DEEPSEEK("V2"), {"topk_method", "\"greedy|group_limited_greedy\""});
}

Test(config_families, groups_of_experts)
{
    MALFORMED("n_group: 3 groups do not divide 8 experts", DEEPSEEK("V3"), {"n_group", "3"}, {"topk_group", "1"});
    MALFORMED("n_group: 16 groups do not divide 8 experts", DEEPSEEK("V3"), {"n_group", "16"}, {"topk_group", "1"});
    MALFORMED("topk_group: found 5, expected 1..4 groups", DEEPSEEK("V3"), {"n_group", "4"}, {"topk_group", "5"});
    MALFORMED("num_experts_per_tok: found 5, expected at most the 4 experts of 2 groups", DEEPSEEK("V3"),
              {"n_group", "4"}, {"topk_group", "2"}, {"num_experts_per_tok", "5"});
    MALFORMED("n_group: found 8 groups of 8 experts, expected at least 2 experts in each", DEEPSEEK("V3"),
              {"n_group", "8"}, {"topk_group", "4"});
    ACCEPTED(DEEPSEEK("V2"), {"n_group", "8"}, {"topk_group", "4"}, {"topk_method", "\"group_limited_greedy\""});
    cr_expect_eq(config.layers[3].router.n_group, 8, "where the best expert of each group counts");
    config_free(&config);
}

Test(config_families, the_number_of_chosen_experts_has_a_name_of_its_own)
{
#define GEMMA4_EXPERTS(n, chosen) \
    {"num_experts", n}, {"num_experts_per_tok", NULL}, {"top_k_experts", chosen}, {"moe_intermediate_size", "16"}
    MALFORMED("top_k_experts: found 3, expected at most the number of experts, 2", GEMMA4, GEMMA4_EXPERTS("2", "3"),
              {"enable_moe_block", "true"});
    MALFORMED("experts_per_token: found 9, expected at most the number of experts, 8", FAMILY("GptOssForCausalLM"),
              {"num_experts_per_tok", NULL}, {"experts_per_token", "9"});
    MALFORMED("num_experts, top_k_experts, moe_intermediate_size: found 0, 2, 16, expected all of them with "
              "enable_moe_block",
              GEMMA4, GEMMA4_EXPERTS("null", "2"), {"enable_moe_block", "true"});
    ACCEPTED(GEMMA4, GEMMA4_EXPERTS("2", "3"), {"enable_moe_block", "false"});
    cr_expect_eq(config_n_moe_layers(&config), 0);
    config_free(&config);
    ACCEPTED({"mlp_only_layers", "[0,1,2,3]"}, {"num_experts", "1"});
    cr_expect_eq(config_n_moe_layers(&config), 0, "nor does the number count where no layer has experts");
    config_free(&config);
}

Test(config_families, how_weights_of_experts_are_scaled)
{
#define NO_SCALE "routed_scaling_factor: found 0, expected a number in 1e-06..1e+06"
#define LFM2_MOE FAMILY("Lfm2MoeForCausalLM"), {"full_attn_idxs", "[1,3]"}, {"num_dense_layers", "1"}
    MALFORMED(NO_SCALE, DEEPSEEK("V2"), {"routed_scaling_factor", "0"});
    MALFORMED(NO_SCALE, DEEPSEEK("V3"), NO_GROUPS, {"routed_scaling_factor", "0"});
    MALFORMED(NO_SCALE, GLM, {"routed_scaling_factor", "0"});
    MALFORMED(NO_SCALE, LFM2_MOE, {"routed_scaling_factor", "0"});
    ACCEPTED(LFM2_MOE, {"routed_scaling_factor", "0.5"});
    cr_expect_eq(config.layers[1].router.scale, 0.5f);
    cr_expect_eq(config.layers[1].router.normalise_eps, 1e-6f);
    config_free(&config);
    ACCEPTED(DEEPSEEK("V3"), NO_GROUPS);
    cr_expect_eq(config.layers[3].router.scale, 2.5f);
    cr_expect_eq(config.layers[3].router.normalise_eps, 1e-20f);
    config_free(&config);
}

Test(config_families, dense_layers_may_be_listed)
{
    ACCEPTED(GLM, {"mlp_layer_types", "[\"dense\",\"sparse\",\"dense\",\"sparse\"]"});
    for (int l = 0; l < 4; l++) cr_expect_eq(ffn_has_experts(&config.layers[l].ffn), l % 2 == 1, "layer %d", l);
    cr_expect_eq(config.first_dense_layers, 1);
    config_free(&config);
    ACCEPTED(GLM, {"mlp_layer_types", "[\"dense\",\"dense\",\"sparse\",\"sparse\"]"});
    cr_expect_eq(config.first_dense_layers, 2, "as GGUF files count them");
    config_free(&config);
}

/* ---- layers that are not attention ------------------------------------------------------------------------------- */

Test(config_families, full_attn_idxs_are_the_layers_that_are_not_convolutions)
{
#define LFM2 FAMILY("Lfm2ForCausalLM"), {"block_auto_adjust_ff_dim", "false"}
    ACCEPTED(LFM2, {"full_attn_idxs", "[1,3]"});
    for (int l = 0; l < 4; l++) cr_expect_eq((int)config.layers[l].mixer.kind, (int)(l % 2 ? MIX_GQA : MIX_CONV));
    config_free(&config);
    ACCEPTED(LFM2, {"full_attn_idxs", "[1,3]"}, {"layer_types", "[\"conv\",\"conv\",\"full_attention\",\"conv\"]"});
    for (int l = 0; l < 4; l++) cr_expect_eq((int)config.layers[l].mixer.kind, (int)(l == 2 ? MIX_GQA : MIX_CONV));
    config_free(&config);
    UNSUPPORTED("layer_types[1]: found \"linear_attention\", expected \"full_attention\"", LFM2,
                {"layer_types", "[\"conv\",\"linear_attention\",\"full_attention\",\"conv\"]"});
    UNSUPPORTED("layer_types[2]: found \"sliding_attention\", expected \"full_attention\"", LFM2,
                {"layer_types", "[\"conv\",\"conv\",\"sliding_attention\",\"conv\"]"});
    UNSUPPORTED("layer_types[0]: found \"sliding_attention\", expected \"full_attention\"",
                FAMILY("Lfm2MoeForCausalLM"), {"layer_types", SLIDING_LAYERS});
}

Test(config_families, linear_attention)
{
    ACCEPTED(FAMILY("Qwen3NextForCausalLM"));
    for (int l = 0; l < 4; l++) cr_expect_eq((int)config.layers[l].mixer.kind, (int)(l == 3 ? MIX_GQA : MIX_DELTA));
    cr_expect(mixer_is_recurrent(&config.layers[0].mixer) && !mixer_is_recurrent(&config.layers[3].mixer));
    config_free(&config);
    ACCEPTED(FAMILY("Qwen3NextForCausalLM"), {"full_attention_interval", "4"},
             {"layer_types", "[\"linear_attention\",\"full_attention\",\"linear_attention\",\"full_attention\"]"});
    cr_expect_eq(config.full_attention_interval, 2, "what the list makes of it");
    config_free(&config);
    MALFORMED("linear_num_value_heads: 5 value heads are not a multiple of 2 key heads", FAMILY("Qwen3NextForCausalLM"),
              {"linear_num_key_heads", "2"}, {"linear_num_value_heads", "5"});
    UNSUPPORTED("layer_types[0]: found \"conv\", expected \"full_attention\"", FAMILY("Qwen3NextForCausalLM"),
                {"layer_types", "[\"conv\",\"full_attention\",\"full_attention\",\"full_attention\"]"});
    UNSUPPORTED("layer_types[0]: found \"sliding_attention\", expected \"full_attention\"",
                FAMILY("Qwen3NextForCausalLM"), {"layer_types", SLIDING_LAYERS});
    UNSUPPORTED("layer_types[0]: found \"sliding_attention\", expected \"full_attention\"",
                FAMILY("Qwen3_5ForCausalLM"), {"layer_types", SLIDING_LAYERS});
    UNSUPPORTED("layer_types[0]: found \"sliding_attention\", expected \"full_attention\"",
                FAMILY("Qwen3_5MoeForCausalLM"), {"layer_types", SLIDING_LAYERS});
}

Test(config_families, an_adjusted_width_has_limits)
{
    MALFORMED("block_ff_dim: adjusted to 11184810240, expected 1..16777216", FAMILY("Lfm2ForCausalLM"),
              {"full_attn_idxs", "[1,3]"}, {"block_ff_dim", "16777216"}, {"block_ffn_dim_multiplier", "1000"});
}

/* ---- refused by name --------------------------------------------------------------------------------------------- */

Test(config_families, what_is_not_implemented_is_refused_by_name)
{
    UNSUPPORTED("num_kv_shared_layers: found 20, expected 0 (not supported)", GEMMA4, {"num_kv_shared_layers", "20"});
    UNSUPPORTED("hidden_size_per_layer_input: found 256, expected 0 (not supported)", FAMILY("Gemma4ForCausalLM"), GELU,
                {"hidden_size_per_layer_input", "256"});
    MALFORMED("hidden_size_per_layer_input: missing", FAMILY("Gemma4ForCausalLM"), GELU);
    UNSUPPORTED("attn_logit_softcapping: found 50, expected 0 (not supported)", GEMMA3,
                {"attn_logit_softcapping", "50"});
    UNSUPPORTED("conv_bias: found true, expected false (not supported)", LFM2, {"conv_bias", "true"});
    UNSUPPORTED("conv_bias: found \"no\", expected 0 (not supported)", LFM2, {"conv_bias", "\"no\""});
    UNSUPPORTED("attention_bias: found true, expected false (not supported)", DEEPSEEK("V3"), NO_GROUPS,
                {"attention_bias", "true"});
    UNSUPPORTED("moe_layer_freq: found 2, expected 1 (not supported)", DEEPSEEK("V3"), NO_GROUPS,
                {"moe_layer_freq", "2"});
    UNSUPPORTED("rope_interleave: found false, expected true (not supported)", DEEPSEEK("V3"), NO_GROUPS,
                {"rope_interleave", "false"});
    UNSUPPORTED("swiglu_alpha: found 2, expected 1.702 (not supported)", FAMILY("GptOssForCausalLM"),
                {"swiglu_alpha", "2"});
    UNSUPPORTED("hidden_act: found \"gelu\", expected \"silu\"", DEEPSEEK("V3"), NO_GROUPS, {"hidden_act", "\"gelu\""});
    UNSUPPORTED("hidden_activation: found \"gelu\", expected \"gelu_pytorch_tanh\"", FAMILY("Gemma3ForCausalLM"),
                {"hidden_activation", "\"gelu\""});
    ACCEPTED(LFM2, {"conv_bias", "null"});
    config_free(&config);
    ACCEPTED(DEEPSEEK("V3"), NO_GROUPS, {"attention_bias", "false"}, {"moe_layer_freq", "1"});
    config_free(&config);
}
