/* Owns the way from the keys of a GGUF file to struct model_config. What a key means, and what its absence means, is
 * what llama.cpp's converter and loader make of it; where the standard has no key, ours are read (config_parts.h).
 *
 *   general.architecture = A        the family, with its marker (arch.h)
 *   A.embedding_length ...          rules: gguf_common_keys, then the family's gguf_keys
 *   A.block_count, A.attention.head_count_kv, A.attention.sliding_window*, lengths of latent attention:  by hand, below
 *   A.rope.*                        config_gguf_rope.c
 *   tokenizer.ggml.*_token_id       first and last tokens
 *   tensor names                    biases, tied embeddings, rope_freqs.weight: present or not
 *
 * Read next: config_export.c, which writes the same keys. */
#include <stdio.h>
#include <string.h>

#include "model/config_parts.h"

const struct key_rule gguf_common_keys[] = {
    KEY_RULE("embedding_length", KEY_INT, hidden_size, true, 0, 1, MAX_HIDDEN),
    KEY_RULE("context_length", KEY_INT, n_context, true, 0, 1, MAX_CONTEXT),
    KEY_RULE("vocab_size", KEY_INT, vocab_size, false, 0, 1, MAX_VOCAB),
    KEY_RULE("attention.head_count", KEY_INT_PER_LAYER, n_heads, true, 0, 1, MAX_HEADS),
    KEY_RULE("attention.key_length", KEY_INT, head_dim, false, 0, 2, MAX_HEAD_DIM),
    KEY_RULE("attention.layer_norm_rms_epsilon", KEY_FLOAT, rms_norm_eps, true, 0, 1e-30, 1),
    {0},
};

bool gguf_is_text(struct meta value, const char *text)
{
    return value.kind == META_STRING && value.n == strlen(text) && memcmp(value.string, text, value.n) == 0;
}

static bool is_zero(struct meta value) { return value.kind == META_INT && value.integer == 0; }

sluice_status gguf_read_number(const struct key_source *s, const char *name, double min, double max, double *out,
                               struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    struct meta value = config_key_value(s, name);
    if (value.kind == META_ABSENT) return SLUICE_OK;
    return config_float(s->file, config_key_place(s, name, place), value, min, max, out, f);
}

sluice_status gguf_unsupported_key(struct failure *f, const struct key_source *s, const char *name,
                                   const char *expected)
{
    char place[KEY_PLACE_BYTES];
    return config_unsupported(f, s->file, config_key_place(s, name, place), config_key_value(s, name), expected);
}

/* ---- architecture ------------------------------------------------------------------------------------------------ */

/* Every GGUF name once. */
static void list_known(char *out, size_t cap)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; arch_list[i]; i++) {
        bool listed = false;
        for (int j = 0; j < i; j++) listed |= strcmp(arch_list[j]->gguf_arch, arch_list[i]->gguf_arch) == 0;
        if (!listed && n < cap) n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", arch_list[i]->gguf_arch);
    }
}

static bool has_marker(const struct arch *arch, const struct key_source *plain)
{
    struct key_source s = *plain;
    s.prefix = arch->gguf_arch;
    if (!arch->gguf_marker) return true;
    struct meta value = config_key_value(&s, arch->gguf_marker);
    return value.kind != META_ABSENT && !is_zero(value);
}

static const struct arch *family_named(const struct key_source *plain, struct meta name)
{
    for (int i = 0; arch_list[i]; i++)
        if (gguf_is_text(name, arch_list[i]->gguf_arch) && has_marker(arch_list[i], plain)) return arch_list[i];
    return NULL;
}

static sluice_status find_arch(struct model_config *c, const struct key_source *plain, struct failure *f)
{
    char place[KEY_PLACE_BYTES], escaped[ESCAPED_BYTES], known[256];
    struct meta name = config_key_value(plain, "general.architecture");
    config_key_place(plain, "general.architecture", place);
    if (name.kind == META_ABSENT) return fail(f, SLUICE_FORMAT, "%s: %s: missing", plain->file, place);
    if (name.kind != META_STRING) return config_wrong_value(f, plain->file, place, name, "a string");
    c->arch = family_named(plain, name);
    if (!c->arch) {
        list_known(known, sizeof known);
        return fail(f, SLUICE_UNSUPPORTED, "%s: %s: \"%s\" is not supported (known: %s)", plain->file, place,
                    escape_text(escaped, sizeof escaped, name.string, name.n), known);
    }
    struct meta family = config_key_value(plain, "sluice.family");
    if (family.kind == META_ABSENT) return SLUICE_OK;
    for (int i = 0; arch_list[i]; i++)
        if (gguf_is_text(family, arch_list[i]->name) && strcmp(arch_list[i]->gguf_arch, c->arch->gguf_arch) == 0) {
            c->arch = arch_list[i];
            return SLUICE_OK;
        }
    return gguf_unsupported_key(f, plain, "sluice.family", "a family of this architecture");
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* Layers that predict further tokens stand behind the others and are counted with them. */
static sluice_status read_n_layers(struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const struct key_rule rules[] = {
        KEY_RULE("block_count", KEY_INT, n_layers, true, 0, 1, MAX_LAYERS),
        KEY_RULE("nextn_predict_layers", KEY_INT, n_extra_layers, false, 0, 0, MAX_LAYERS),
        {0},
    };
    char place[KEY_PLACE_BYTES];
    sluice_status status = config_keys(c, s, rules, NULL, f);
    if (!status && c->n_extra_layers >= c->n_layers)
        status = fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected less than block_count, %d", s->file,
                      config_key_place(s, "nextn_predict_layers", place), c->n_extra_layers, c->n_layers);
    c->n_layers -= c->n_extra_layers;
    return status;
}

/* An array with a value for each layer that is read, and perhaps for those behind them. */
static bool is_per_layer(const struct model_config *c, struct meta array)
{
    return array.n == (size_t)c->n_layers || array.n == (size_t)c->n_layers + (size_t)c->n_extra_layers;
}

/* One number, or one for each layer, where 0 is a layer without attention. */
static sluice_status read_kv_heads(struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const char name[] = "attention.head_count_kv";
    char place[KEY_PLACE_BYTES], place_l[KEY_PLACE_BYTES], element[64];
    struct meta value = config_key_value(s, name);
    config_key_place(s, name, place);
    if (value.kind == META_ABSENT) return SLUICE_OK;
    if (value.kind != META_ARRAY) return config_int(s->file, place, value, 1, MAX_HEADS, &c->n_kv_heads, f);
    if (!is_per_layer(c, value))
        return fail(f, SLUICE_FORMAT, "%s: %s: found %zu values, expected one, or one for each of %d layers", s->file,
                    place, value.n, c->n_layers);
    for (int l = 0; l < c->n_layers; l++) {
        int *listed = &c->layers[l].listed_kv_heads;
        snprintf(element, sizeof element, "%s[%d]", name, l);
        sluice_status status = config_int(s->file, config_key_place(s, element, place_l),
                                          meta_element(value, (size_t)l), 0, MAX_HEADS, listed, f);
        if (status) return status;
        if (*listed > c->n_kv_heads) c->n_kv_heads = *listed;
    }
    if (c->n_kv_heads == 0)
        return fail(f, SLUICE_FORMAT, "%s: %s: found 0 for every layer, expected one with attention", s->file, place);
    return SLUICE_OK;
}

/* A family whose layers do not differ refuses a list in which they do. */
static sluice_status check_kv_heads(const struct model_config *c, const struct key_source *s, struct failure *f)
{
    char place[KEY_PLACE_BYTES], element[64];
    const int first = c->layers[0].listed_kv_heads;
    bool fits = true;
    int other = 0;
    for (int l = 0; l < c->n_layers; l++) {
        const struct layer_config *layer = &c->layers[l];
        fits &= layer->listed_kv_heads < 0 || layer->mixer.kind != MIX_GQA ||
                layer->listed_kv_heads == layer->mixer.n_kv_heads;
        if (other == 0 && layer->listed_kv_heads != first) other = l;
    }
    if (fits) return SLUICE_OK;
    snprintf(element, sizeof element, "attention.head_count_kv[%d]", other);
    return fail(f, SLUICE_UNSUPPORTED, "%s: %s: found %d, expected %d as in layer 0", s->file,
                config_key_place(s, element, place), c->layers[other].listed_kv_heads, first);
}

/* A length, where the file states it, that must be what follows from others. */
static sluice_status check_length(const struct key_source *s, const char *name, int length, const char *of,
                                  struct failure *f)
{
    char place[KEY_PLACE_BYTES], expected[96];
    int found = length;
    struct meta value = config_key_value(s, name);
    if (value.kind == META_ABSENT) return SLUICE_OK;
    sluice_status status = config_int(s->file, config_key_place(s, name, place), value, 1, 1 << 24, &found, f);
    snprintf(expected, sizeof expected, "%d, the length of %s", length, of);
    return status || found == length ? status : config_unsupported(f, s->file, place, value, expected);
}

/* Layout A states the sizes of latent attention as those of ordinary heads. Layout B says there what the cache holds,
 * one head of kv_lora_rank + n_rot elements, and the sizes under names of their own. */
static sluice_status read_latent_sizes(struct model_config *c, const struct key_source *s, struct failure *f)
{
    const bool is_cache = config_key_value(s, "attention.key_length_mla").kind != META_ABSENT;
    const char *key_name = is_cache ? "attention.key_length_mla" : "attention.key_length";
    const struct key_rule rules[] = {
        KEY_RULE(key_name, KEY_INT, head_dim, true, 0, 2, MAX_HEAD_DIM),
        KEY_RULE(is_cache ? "attention.value_length_mla" : "attention.value_length", KEY_INT, v_head_dim, true, 0, 1,
                 MAX_HEAD_DIM),
        KEY_RULE("rope.dimension_count", KEY_INT, qk_rope_head_dim, true, 0, 2, MAX_HEAD_DIM),
        {0},
    };
    char place[KEY_PLACE_BYTES];
    sluice_status status = config_keys(c, s, rules, NULL, f);
    if (status) return status;
    if (c->qk_rope_head_dim >= c->head_dim)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected less than the head dimension, %d", s->file,
                    config_key_place(s, "rope.dimension_count", place), c->qk_rope_head_dim, c->head_dim);
    c->qk_nope_head_dim = c->head_dim - c->qk_rope_head_dim;
    if (is_cache)
        status = check_length(s, "attention.key_length", c->kv_lora_rank + c->qk_rope_head_dim, "the cache", f);
    if (is_cache && !status) status = check_length(s, "attention.value_length", c->kv_lora_rank, "the latent", f);
    return status;
}

/* ---- what would change the result and is not implemented --------------------------------------------------------- */

/* Keys that no rule of the family reads. */
static sluice_status check_neutral(const struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const struct {
        const char *name;
        double neutral; /* and 0 */
    } keys[] = {
        {"expert_gating_func", 1}, /* softmax */
        {"expert_weights_scale", 1},
        {"expert_group_count", 1},
        {"leading_dense_block_count", 0},
        {"interleave_moe_layer_step", 1},
        {"moe_every_n_layers", 1},
        {"attention.scale", 0},
        {"attention.output_scale", 1},
        {"attention.temperature_scale", 0},
        {"attention.temperature_length", 0},
        {"attention.clamp_kqv", 0},
        {"attention.q_lora_rank", 0},
        {"attention.kv_lora_rank", 0},
        {"attention.shared_kv_layers", 0},
        {"attn_logit_softcapping", 0},
        {"router_logit_softcapping", 0},
        {"final_logit_softcapping", 0},
        {"swiglu_clamp_exp", 0},
        {"swiglu_clamp_shexp", 0},
        {"embedding_length_per_layer_input", 0},
        {"full_attention_interval", 1},
        {"shortconv.l_cache", 0},
        {"ssm.state_size", 0},
        {"logit_scale", 1},
        {"residual_scale", 1},
        {"embedding_scale", 1},
        {"rope.scaling.alpha", 1},
        {"rope.scaling.yarn_log_multiplier", 0},
    };
    char expected[64];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct meta value = config_key_value(s, keys[i].name);
        bool is_number = value.kind == META_INT || value.kind == META_FLOAT;
        bool of_scores = c->kv_lora_rank > 0 && strcmp(keys[i].name, "rope.scaling.yarn_log_multiplier") == 0;
        if (value.kind == META_ABSENT || of_scores || config_has_rule(c->arch->gguf_keys, keys[i].name)) continue;
        if (is_number && (value.number == 0 || value.number == keys[i].neutral)) continue;
        snprintf(expected, sizeof expected, keys[i].neutral != 0 ? "0 or %g" : "0", keys[i].neutral);
        return gguf_unsupported_key(f, s, keys[i].name, expected);
    }
    return SLUICE_OK;
}

static sluice_status check_foreign_keys(struct model_config *c, const struct key_source *s, struct failure *f)
{
    struct meta gating = config_key_value(s, "expert_gating_func"), causal = config_key_value(s, "attention.causal");
    sluice_status status = SLUICE_OK;
    if (gating.kind == META_INT && gating.integer == SCORING_SOFTMAX_OF_CHOSEN &&
        !config_has_rule(c->arch->gguf_keys, "expert_gating_func"))
        c->norm_topk_prob = true; /* the same numbers */
    else
        status = check_neutral(c, s, f);
    if (status) return status;
    if (causal.kind != META_ABSENT && !(causal.kind == META_BOOL && causal.boolean))
        return gguf_unsupported_key(f, s, "attention.causal", "true");
    if (c->kv_lora_rank > 0) return SLUICE_OK;
    const int length = c->global_head_dim > 0 ? c->global_head_dim : c->head_dim;
    status = check_length(s, "attention.value_length", length, "keys", f);
    if (!status && c->arch->default_local_theta > 0)
        status = check_length(s, "attention.value_length_swa", c->head_dim, "keys", f);
    return status;
}

/* ---- lists of layers --------------------------------------------------------------------------------------------- */

/* Sliding layers: an array of booleans, or a period p, in which the last of p layers sees everything. */
static sluice_status read_window(struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const char name[] = "attention.sliding_window", pattern_name[] = "attention.sliding_window_pattern";
    char place[KEY_PLACE_BYTES], element[64];
    struct meta value = config_key_value(s, name), pattern = config_key_value(s, pattern_name);
    sluice_status status = SLUICE_OK;
    int period = 0;
    if (value.kind != META_ABSENT)
        status = config_int(s->file, config_key_place(s, name, place), value, 0, MAX_CONTEXT, &c->sliding_window, f);
    config_key_place(s, pattern_name, place);
    if (!status && pattern.kind == META_INT)
        status = config_int(s->file, place, pattern, 0, MAX_LAYERS, &period, f);
    else if (!status && pattern.kind == META_ARRAY && !is_per_layer(c, pattern))
        status = fail(f, SLUICE_FORMAT, "%s: %s: found %zu values, expected one for each of %d layers", s->file, place,
                      pattern.n, c->n_layers);
    else if (!status && pattern.kind != META_ABSENT && pattern.kind != META_ARRAY)
        status = config_wrong_value(f, s->file, place, pattern, "an integer or an array");

    c->has_layer_types = pattern.kind != META_ABSENT;
    for (int l = 0; c->has_layer_types && !status && l < c->n_layers; l++) {
        bool sliding = period == 0 || l % period < period - 1;
        snprintf(element, sizeof element, "%s[%d]", pattern_name, l);
        if (pattern.kind == META_ARRAY)
            status = config_bool(s->file, config_key_place(s, element, place), meta_element(pattern, (size_t)l),
                                 &sliding, f);
        c->layers[l].listed = sliding ? LISTED_SLIDING : LISTED_FULL;
    }
    return status;
}

/* In families whose windows llama.cpp does not know, the keys mean what they say: all layers slide, or those of the
 * pattern. */
static void place_windows(struct model_config *c)
{
    if (c->arch->gguf_peer_limits & PEERS_HAVE_WINDOWS) return;
    for (int l = 0; l < c->n_layers; l++) {
        bool sliding = !c->has_layer_types || c->layers[l].listed == LISTED_SLIDING;
        if (c->layers[l].mixer.kind == MIX_GQA) c->layers[l].mixer.window = sliding ? c->sliding_window : 0;
    }
}

static sluice_status read_dense_layers(struct model_config *c, const struct key_source *s, struct failure *f)
{
    bool dense[MAX_LAYERS];
    sluice_status status = config_layer_numbers(s, "sluice.dense_layers", c->n_layers, dense, &c->has_dense_list, f);
    for (int l = 0; !status && l < c->n_layers; l++) c->layers[l].listed_dense |= dense[l];
    return status;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static bool has_tensor(const struct archive *a, int l, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "blk.%d.%s", l, name);
    return archive_find(a, full) != NULL;
}

/* What tensors say that no key says, for derive(). */
static void find_tensors(struct model_config *c, const struct archive *a)
{
    c->moe_enabled = c->n_experts > 0;
    for (int l = 0; l < c->n_layers; l++) {
        c->use_expert_bias |= has_tensor(a, l, "exp_probs_b.bias") || has_tensor(a, l, "exp_probs_b");
        c->k_is_v |= has_tensor(a, l, "attn_k.weight") && !has_tensor(a, l, "attn_v.weight");
    }
}

/* No key speaks of biases: a layer has those whose tensors are there (and those without which its family does not
 * work, so that they are missed when they are not). */
static void find_biases(struct model_config *c, const struct archive *a)
{
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        if (layer->mixer.kind == MIX_GQA) layer->mixer.qkv_bias |= has_tensor(a, l, "attn_q.bias");
        if (layer->mixer.kind == MIX_GQA) layer->mixer.output_bias |= has_tensor(a, l, "attn_output.bias");
        if (layer->ffn.kind == FFN_DENSE) layer->ffn.bias |= has_tensor(a, l, "ffn_gate.bias");
    }
}

/* A width that some layer needs and that no key gives. */
static sluice_status check_widths(const struct model_config *c, const struct key_source *s, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    for (int l = 0; l < c->n_layers; l++) {
        const struct ffn *ffn = &c->layers[l].ffn;
        const char *missing = NULL;
        if (ffn->shared != SHARED_NONE && ffn->shared_size == 0) missing = "expert_shared_feed_forward_length";
        if (ffn_has_experts(ffn) && ffn->expert_size == 0) missing = "expert_feed_forward_length";
        if (ffn_has_mlp(ffn) && ffn->intermediate_size == 0) missing = "feed_forward_length";
        if (missing) return fail(f, SLUICE_FORMAT, "%s: %s: missing", s->file, config_key_place(s, missing, place));
    }
    return SLUICE_OK;
}

static sluice_status read_layers(struct model_config *c, const struct key_source *s, const struct field_names *names,
                                 struct failure *f)
{
    /* older converters left these widths out */
    if (c->moe_intermediate_size == 0 && c->top_k > 0) c->moe_intermediate_size = c->intermediate_size / c->top_k;
    if (c->shared_intermediate_size == 0) c->shared_intermediate_size = c->intermediate_size;
    c->decoder_sparse_step = 1;
    find_tensors(c, s->archive);
    sluice_status status = read_window(c, s, f);
    if (!status) status = config_layer_types(c, s, names->layer_types, f);
    if (!status) status = read_dense_layers(c, s, f);
    if (!status) status = config_derive(c, s->file, f);
    if (!status) status = check_widths(c, s, f);
    if (!status) status = check_kv_heads(c, s, f);
    if (status) return status;
    struct meta norm = config_key_value(s, "expert_weights_norm");
    if (c->n_experts > 0 && norm.kind == META_BOOL && norm.boolean != c->norm_topk_prob)
        return gguf_unsupported_key(f, s, "expert_weights_norm", c->norm_topk_prob ? "true" : "false");
    find_biases(c, s->archive);
    place_windows(c);
    return config_check_layers(c, s, names, f);
}

/* ---- vocabulary -------------------------------------------------------------------------------------------------- */

static sluice_status find_vocab_size(struct model_config *c, const struct key_source *s, const struct key_source *plain,
                                     struct failure *f)
{
    static const char name[] = "tokenizer.ggml.tokens";
    char place[KEY_PLACE_BYTES], other[KEY_PLACE_BYTES];
    if (c->vocab_size > 0) return SLUICE_OK;
    struct meta tokens = config_key_value(plain, name);
    config_key_place(plain, name, place);
    if (tokens.kind == META_ABSENT)
        return fail(f, SLUICE_FORMAT, "%s: %s: missing, and so is %s", s->file,
                    config_key_place(s, "vocab_size", other), place);
    if (tokens.kind != META_ARRAY || tokens.n < 1 || tokens.n > MAX_VOCAB)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %zu tokens, expected 1..%d", s->file, place,
                    tokens.kind == META_ARRAY ? tokens.n : 0, (int)MAX_VOCAB);
    c->vocab_size = (int)tokens.n; /* bounded: at most MAX_VOCAB */
    return SLUICE_OK;
}

/* Some converters write "no such token" as -1 in 32 bits. */
static bool is_no_token(struct meta value)
{
    return value.kind == META_ABSENT ||
           (value.kind == META_INT && (value.integer == -1 || value.integer == (int64_t)UINT32_MAX));
}

static bool has_text(struct meta tokens, const char *text)
{
    bool has = false;
    for (size_t i = 0; i < tokens.n && !has; i++) has = gguf_is_text(meta_element(tokens, i), text);
    return has;
}

/* Files name one end token, but chat models end their turns with others: those are known by their text, as other
 * programs know them. In the format of gpt-oss, which ends with "<|return|>" and "<|call|>", messages end with
 * "<|end|>" and the next one follows. */
static void add_end_texts(struct model_config *c, const struct key_source *plain, struct failure *f)
{
    static const char *const texts[] = {
        "<|end|>",       "<|eot_id|>",    "<|eom_id|>", "<|im_end|>", "<|end_of_text|>",
        "<|endoftext|>", "<end_of_turn>", "<turn|>",    "<|return|>", "<|call|>",
    };
    struct meta tokens = config_key_value(plain, "tokenizer.ggml.tokens");
    if (tokens.kind != META_ARRAY) return;
    const size_t first = has_text(tokens, "<|return|>") && has_text(tokens, "<|call|>");
    for (size_t i = 0; i < tokens.n && i < (size_t)c->vocab_size; i++) {
        struct meta token = meta_element(tokens, i);
        if (token.kind != META_STRING || token.n < 2 || token.string[0] != '<') continue;
        for (size_t j = first; j < sizeof texts / sizeof *texts; j++)
            if (gguf_is_text(token, texts[j]) && c->n_end_tokens < MAX_END_TOKENS)
                config_add_end_token(c, plain->file, "", (struct meta){.kind = META_INT, .integer = (int64_t)i}, f);
    }
}

static sluice_status read_end_tokens(struct model_config *c, const struct key_source *plain, struct failure *f)
{
    static const char *const names[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id"};
    char place[KEY_PLACE_BYTES];
    struct meta all = config_key_value(plain, "sluice.end_tokens");
    sluice_status s = SLUICE_OK;
    config_key_place(plain, "sluice.end_tokens", place);
    if (all.kind != META_ABSENT && all.kind != META_ARRAY)
        return config_wrong_value(f, plain->file, place, all, "an array of token ids");
    for (size_t i = 0; !s && i < all.n && all.kind == META_ARRAY; i++)
        s = config_add_end_token(c, plain->file, place, meta_element(all, i), f);
    if (s || all.kind == META_ARRAY) return s;

    for (size_t i = 0; !s && i < sizeof names / sizeof *names; i++) {
        struct meta value = config_key_value(plain, names[i]);
        if (!is_no_token(value))
            s = config_add_end_token(c, plain->file, config_key_place(plain, names[i], place), value, f);
    }
    if (!s) add_end_texts(c, plain, f);
    return s;
}

static sluice_status read_tokens(struct model_config *c, const struct key_source *plain, struct failure *f)
{
    static const char name[] = "tokenizer.ggml.bos_token_id";
    char place[KEY_PLACE_BYTES];
    struct meta bos = config_key_value(plain, name);
    sluice_status s = SLUICE_OK;
    c->bos_token = -1;
    if (!is_no_token(bos))
        s = config_int(plain->file, config_key_place(plain, name, place), bos, 0, c->vocab_size - 1, &c->bos_token, f);
    return s ? s : read_end_tokens(c, plain, f);
}

/* ---- sampling defaults ------------------------------------------------------------------------------------------- */

static sluice_status read_sampling(const struct key_source *plain, const char *name, double min, double max, float *out,
                                   struct failure *f)
{
    double number = (double)*out;
    sluice_status s = gguf_read_number(plain, name, min, max, &number, f);
    if (!s) *out = (float)number;
    return s;
}

static sluice_status read_generation(struct generation_config *g, const struct key_source *plain, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    struct meta top_k = config_key_value(plain, "general.sampling.top_k");
    struct meta draws = config_key_value(plain, "sluice.do_sample");
    *g = (struct generation_config){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    sluice_status s = read_sampling(plain, "general.sampling.temp", 0, 100, &g->temperature, f);
    if (!s) s = read_sampling(plain, "general.sampling.top_p", 1e-9, 1, &g->top_p, f);
    if (!s) s = read_sampling(plain, "general.sampling.min_p", 0, 1 - 1e-6, &g->min_p, f);
    if (!s) s = read_sampling(plain, "general.sampling.penalty_repeat", 1e-3, 1e3, &g->repetition_penalty, f);
    if (!s && top_k.kind == META_INT && top_k.integer <= 0) /* all tokens */
        g->top_k = 0;
    else if (!s && top_k.kind != META_ABSENT)
        s = config_int(plain->file, config_key_place(plain, "general.sampling.top_k", place), top_k, 0, MAX_VOCAB,
                       &g->top_k, f);
    g->do_sample = config_key_value(plain, "general.sampling.temp").kind != META_ABSENT && g->temperature > 0;
    if (!s && draws.kind != META_ABSENT)
        s = config_bool(plain->file, config_key_place(plain, "sluice.do_sample", place), draws, &g->do_sample, f);
    return s;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static sluice_status read_rest(struct model_config *c, struct generation_config *g, const struct key_source *s,
                               const struct key_source *plain, struct failure *f)
{
    static const struct field_names names = {
        .hidden_size = "embedding_length",
        .n_heads = "attention.head_count",
        .n_kv_heads = "attention.head_count_kv",
        .head_dim = "attention.key_length",
        .n_rot = "rope.dimension_count",
        .top_k = "expert_used_count",
        .n_group = "expert_group_count",
        .topk_group = "expert_group_used_count",
        .n_value_heads = "ssm.time_step_rank",
        .layer_types = "sluice.layer_types",
    };
    sluice_status status = read_kv_heads(c, s, f);
    if (!status) status = config_keys(c, s, c->arch->gguf_keys, NULL, f);
    if (!status && c->kv_lora_rank > 0) status = read_latent_sizes(c, s, f);
    if (!status) status = config_check_fields(c, s, &names, f);
    if (!status) status = check_foreign_keys(c, s, f);
    if (!status) status = gguf_read_rope(c, s, f);
    if (!status) status = read_layers(c, s, &names, f);
    if (!status) status = find_vocab_size(c, s, plain, f);
    if (!status) status = read_tokens(c, plain, f);
    if (!status) status = read_generation(g, plain, f);
    c->tied_embeddings = archive_n_tensors(s->archive) > 0 && !archive_find(s->archive, "output.weight");
    return status;
}

sluice_status config_read_gguf(struct model_config *c, struct generation_config *g, const struct archive *a,
                               struct failure *f)
{
    const struct key_source plain = {a, DOCUMENT_GGUF, archive_name(a), NULL};
    sluice_status status = find_arch(c, &plain, f);
    if (status) return status;
    const struct key_source source = {a, DOCUMENT_GGUF, archive_name(a), c->arch->gguf_arch};
    status = read_n_layers(c, &source, f);
    if (!status) status = config_keys(c, &source, gguf_common_keys, c->arch->gguf_keys, f);
    if (!status) status = config_make_layers(c, plain.file, f);
    if (status) return status;
    status = read_rest(c, g, &source, &plain, f);
    if (status) config_free(c);
    return status;
}
