/* Owns the way from the keys of a GGUF file to struct model_config. What a key means, and what its absence means, is
 * what llama.cpp's converter and loader make of it; where the standard has no key, ours are read (config_parts.h).
 *
 *   general.architecture = A        the family, with its marker (arch.h)
 *   A.block_count ...               rules: gguf_common_keys, then the family's gguf_keys
 *   A.rope.*, A.attention.sliding_window*        by hand, below
 *   tokenizer.ggml.*_token_id       first and last tokens
 *   tensor names                    biases, tied embeddings, rope_freqs.weight: present or not
 *
 * Read next: config_export.c, which writes the same keys. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/config_parts.h"

const struct key_rule gguf_common_keys[] = {
    KEY_RULE("block_count", KEY_INT, n_layers, true, 0, 1, MAX_LAYERS),
    KEY_RULE("embedding_length", KEY_INT, hidden_size, true, 0, 1, MAX_HIDDEN),
    KEY_RULE("context_length", KEY_INT, n_context, true, 0, 1, MAX_CONTEXT),
    KEY_RULE("vocab_size", KEY_INT, vocab_size, false, 0, 1, MAX_VOCAB),
    KEY_RULE("attention.head_count", KEY_INT_PER_LAYER, n_heads, true, 0, 1, MAX_HEADS),
    KEY_RULE("attention.head_count_kv", KEY_INT_PER_LAYER, n_kv_heads, false, 0, 1, MAX_HEADS),
    KEY_RULE("attention.key_length", KEY_INT, head_dim, false, 0, 2, MAX_HEAD_DIM),
    KEY_RULE("attention.layer_norm_rms_epsilon", KEY_FLOAT, rms_norm_eps, true, 0, 1e-30, 1),
    {0},
};

const struct rope_field gguf_rope_fields[] = {
    ROPE_FIELD(theta, 1.0 + 1e-9, 1e15),
    ROPE_FIELD(factor, 1e-6, 1e6),
    ROPE_FIELD(low_freq_factor, 1e-6, 1e6),
    ROPE_FIELD(high_freq_factor, 1e-6, 1e6),
    ROPE_FIELD(original_context, 1, MAX_CONTEXT),
    ROPE_FIELD(beta_fast, 1e-6, 1e6),
    ROPE_FIELD(beta_slow, 1e-6, 1e6),
    ROPE_FIELD(attention_factor, 1e-6, 1e6),
    ROPE_FIELD(mscale, 0, 1e6),
    ROPE_FIELD(mscale_all_dim, 0, 1e6),
    {0},
};

static bool is_text(struct meta value, const char *text)
{
    return value.kind == META_STRING && value.n == strlen(text) && memcmp(value.string, text, value.n) == 0;
}

static bool is_zero(struct meta value) { return value.kind == META_INT && value.integer == 0; }

/* A number; *out stays as it is when the key is absent. */
static sluice_status read_number(const struct key_source *s, const char *name, double min, double max, double *out,
                                 struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    struct meta value = config_key_value(s, name);
    if (value.kind == META_ABSENT) return SLUICE_OK;
    return config_float(s->file, config_key_place(s, name, place), value, min, max, out, f);
}

static sluice_status unsupported_key(struct failure *f, const struct key_source *s, const char *name,
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
        if (is_text(name, arch_list[i]->gguf_arch) && has_marker(arch_list[i], plain)) return arch_list[i];
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
        if (is_text(family, arch_list[i]->name) && strcmp(arch_list[i]->gguf_arch, c->arch->gguf_arch) == 0) {
            c->arch = arch_list[i];
            return SLUICE_OK;
        }
    return unsupported_key(f, plain, "sluice.family", "a family of this architecture");
}

/* ---- RoPE -------------------------------------------------------------------------------------------------------- */

/* All numbers as they were, where the standard keys round or lack them. */
static sluice_status read_exact_rope(struct rope_config *r, const struct key_source *plain, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    struct meta type = config_key_value(plain, "sluice.rope.type");
    int kind = -1;
    for (int i = 0; i < N_ROPE_SCALINGS; i++)
        if (is_text(type, rope_scaling_names[i])) kind = i;
    if (kind < 0) return unsupported_key(f, plain, "sluice.rope.type", "one of default, linear, llama3, yarn");
    *r = (struct rope_config){.scaling = (enum rope_scaling)kind};
    /* of Llama 3's scaling the tensor says the same as the numbers, but rounded */
    r->has_divisors = kind != ROPE_LLAMA3 && archive_find(plain->archive, GGUF_ROPE_DIVISORS);
    for (const struct rope_field *field = gguf_rope_fields; field->name; field++) {
        double *number = (double *)(void *)((char *)r + field->offset);
        sluice_status s = read_number(plain, field->name, field->min, field->max, number, f);
        if (s) return s;
    }
    struct meta truncate = config_key_value(plain, "sluice.rope.truncate");
    config_key_place(plain, "sluice.rope.truncate", place);
    if (truncate.kind != META_ABSENT) {
        sluice_status s = config_bool(plain->file, place, truncate, &r->truncate, f);
        if (s) return s;
    }
    bool whole = r->theta > 0 && (kind == ROPE_DEFAULT || r->factor > 0);
    if (kind == ROPE_LLAMA3) whole &= r->original_context > 0 && r->high_freq_factor > r->low_freq_factor;
    if (kind == ROPE_LLAMA3) whole &= r->low_freq_factor > 0;
    if (kind == ROPE_YARN) whole &= r->original_context > 0 && r->beta_fast >= r->beta_slow && r->beta_slow > 0;
    if (whole) return SLUICE_OK;
    config_key_place(plain, "sluice.rope.type", place);
    return fail(f, SLUICE_FORMAT, "%s: %s: found \"%s\", expected with it theta and what the scaling needs",
                plain->file, place, rope_scaling_names[kind]);
}

static sluice_status check_rotation(const struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const char name[] = "rope.dimension_count";
    char place[KEY_PLACE_BYTES], expected[96];
    int n = 0;
    struct meta value = config_key_value(s, name);
    if (value.kind == META_ABSENT) return SLUICE_OK;
    config_key_place(s, name, place);
    sluice_status status = config_int(s->file, place, value, 2, MAX_HEAD_DIM, &n, f);
    if (status) return status;
    if (n % 2 != 0) return config_wrong_value(f, s->file, place, value, "an even number");
    snprintf(expected, sizeof expected, "at most the head dimension, %d", c->head_dim);
    if (n > c->head_dim) return config_wrong_value(f, s->file, place, value, expected);
    snprintf(expected, sizeof expected, "the whole head, %d", c->head_dim);
    return n < c->head_dim ? config_unsupported(f, s->file, place, value, expected) : SLUICE_OK;
}

/* "rope.scaling.attn_factor" multiplies the magnitude that follows from the factor. "yarn_attn_factor" is what the
 * converter makes of config.json's attention_factor, so it replaces that magnitude. (llama.cpp itself ignores it in
 * these families, and so it does yarn_beta_fast and yarn_beta_slow.) */
static sluice_status read_yarn_magnitude(struct rope_config *r, const struct key_source *s, struct failure *f)
{
    double mix = 1, times = r->attention_factor > 0 ? r->attention_factor : 1, magnitude = 0;
    sluice_status status = read_number(s, "rope.scaling.yarn_ext_factor", -1e6, 1e6, &mix, f);
    if (!status && mix >= 0 && mix != 1) status = unsupported_key(f, s, "rope.scaling.yarn_ext_factor", "1");
    if (!status) status = read_number(s, "rope.scaling.yarn_attn_factor", 1e-6, 1e6, &magnitude, f);
    if (magnitude > 0)
        r->attention_factor = magnitude * times;
    else if (times != 1)
        r->attention_factor = rope_magnitude(&(struct rope_config){.scaling = ROPE_YARN, .factor = r->factor}) * times;
    return status;
}

static sluice_status read_yarn(struct model_config *c, const struct key_source *s, struct failure *f)
{
    struct rope_config *r = &c->rope;
    char place[KEY_PLACE_BYTES];
    r->original_context = c->n_context;
    r->beta_fast = 32;
    r->beta_slow = 1;
    r->truncate = true;
    sluice_status status =
        read_number(s, "rope.scaling.original_context_length", 1, MAX_CONTEXT, &r->original_context, f);
    if (!status) status = read_number(s, "rope.scaling.yarn_beta_fast", 1e-6, 1e6, &r->beta_fast, f);
    if (!status) status = read_number(s, "rope.scaling.yarn_beta_slow", 1e-6, 1e6, &r->beta_slow, f);
    if (!status) status = read_yarn_magnitude(r, s, f);
    if (!status && r->beta_fast < r->beta_slow)
        status = fail(f, SLUICE_FORMAT, "%s: %s: found %g, expected at least beta_slow %g", s->file,
                      config_key_place(s, "rope.scaling.yarn_beta_fast", place), r->beta_fast, r->beta_slow);
    return status;
}

/* The factor, under its name of today or of 2023; 0 means that there is none. */
static sluice_status read_factor(struct rope_config *r, const struct key_source *s, struct failure *f)
{
    static const char *const names[] = {"rope.scaling.factor", "rope.scale_linear"};
    double factor = 0;
    for (int i = 0; i < 2 && factor == 0; i++) {
        struct meta value = config_key_value(s, names[i]);
        double min = (value.kind == META_INT || value.kind == META_FLOAT) && value.number == 0 ? 0 : 1e-6;
        sluice_status status = read_number(s, names[i], min, 1e6, &factor, f);
        if (status) return status;
    }
    if (factor > 0) r->factor = factor;
    return SLUICE_OK;
}

static sluice_status read_standard_rope(struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const char type_name[] = "rope.scaling.type";
    struct rope_config *r = &c->rope;
    double times = 1;
    struct meta type = config_key_value(s, type_name);
    *r = (struct rope_config){.scaling = ROPE_DEFAULT, .theta = 1e4, .factor = 1};
    r->has_divisors = archive_find(s->archive, GGUF_ROPE_DIVISORS) != NULL;
    sluice_status status = read_number(s, "rope.freq_base", 1.0 + 1e-9, 1e15, &r->theta, f);
    if (!status) status = read_number(s, "rope.scaling.attn_factor", 1e-6, 1e6, &times, f);
    if (times != 1) r->attention_factor = times;
    if (status || is_text(type, "none")) return status;
    status = read_factor(r, s, f);
    if (status) return status;

    if (is_text(type, "yarn")) {
        r->scaling = ROPE_YARN;
        return read_yarn(c, s, f);
    }
    if (type.kind != META_ABSENT && !is_text(type, "linear"))
        return unsupported_key(f, s, type_name, "one of none, linear, yarn");
    r->scaling = r->factor == 1 ? ROPE_DEFAULT : ROPE_LINEAR; /* a factor without a type is a linear one */
    return SLUICE_OK;
}

static sluice_status read_rope(struct model_config *c, const struct key_source *s, const struct key_source *plain,
                               struct failure *f)
{
    sluice_status status = check_rotation(c, s, f);
    if (status) return status;
    if (config_key_value(plain, "sluice.rope.type").kind != META_ABSENT)
        status = read_exact_rope(&c->rope, plain, f);
    else
        status = read_standard_rope(c, s, f);
    if (!status) config_stretch_context(c);
    return status;
}

/* ---- what would change the result and is not implemented --------------------------------------------------------- */

static sluice_status check_foreign_keys(const struct model_config *c, const struct key_source *s, struct failure *f)
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
        {"attention.scale", 0},
        {"attn_logit_softcapping", 0},
        {"router_logit_softcapping", 0},
        {"final_logit_softcapping", 0},
        {"logit_scale", 1},
        {"residual_scale", 1},
        {"embedding_scale", 1},
        {"rope.scaling.alpha", 1},
        {"rope.scaling.yarn_log_multiplier", 0},
    };
    char place[KEY_PLACE_BYTES], expected[64];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct meta value = config_key_value(s, keys[i].name);
        if (value.kind == META_ABSENT) continue;
        bool is_number = value.kind == META_INT || value.kind == META_FLOAT;
        snprintf(expected, sizeof expected, keys[i].neutral != 0 ? "0 or %g" : "0", keys[i].neutral);
        if (!is_number || (value.number != 0 && value.number != keys[i].neutral))
            return unsupported_key(f, s, keys[i].name, expected);
    }
    struct meta causal = config_key_value(s, "attention.causal"),
                length = config_key_value(s, "attention.value_length");
    if (causal.kind != META_ABSENT && !(causal.kind == META_BOOL && causal.boolean))
        return unsupported_key(f, s, "attention.causal", "true");
    if (length.kind == META_ABSENT) return SLUICE_OK;
    int value_length = 0;
    config_key_place(s, "attention.value_length", place);
    sluice_status status = config_int(s->file, place, length, 1, MAX_HEAD_DIM, &value_length, f);
    snprintf(expected, sizeof expected, "%d, the length of keys", c->head_dim);
    if (!status && value_length != c->head_dim) status = config_unsupported(f, s->file, place, length, expected);
    return status;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

/* Sliding layers: an array of booleans, or a period p, in which the last of p layers sees everything. Without either
 * all slide. */
static sluice_status read_window(struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const char name[] = "attention.sliding_window", pattern_name[] = "attention.sliding_window_pattern";
    char place[KEY_PLACE_BYTES], element[64];
    struct meta value = config_key_value(s, name), pattern = config_key_value(s, pattern_name);
    sluice_status status = SLUICE_OK;
    int window = 0, period = 0;
    if (value.kind != META_ABSENT)
        status = config_int(s->file, config_key_place(s, name, place), value, 0, MAX_CONTEXT, &window, f);
    config_key_place(s, pattern_name, place);
    if (!status && pattern.kind == META_INT)
        status = config_int(s->file, place, pattern, 0, MAX_LAYERS, &period, f);
    else if (!status && pattern.kind == META_ARRAY && pattern.n != (size_t)c->n_layers)
        status = fail(f, SLUICE_FORMAT, "%s: %s: found %zu values, expected one for each of %d layers", s->file, place,
                      pattern.n, c->n_layers);
    else if (!status && pattern.kind != META_ABSENT && pattern.kind != META_ARRAY)
        status = config_wrong_value(f, s->file, place, pattern, "an integer or an array");

    c->sliding_window = window;
    for (int l = 0; !status && l < c->n_layers; l++) {
        bool sliding = period == 0 || l % period < period - 1;
        snprintf(element, sizeof element, "%s[%d]", pattern_name, l);
        if (pattern.kind == META_ARRAY)
            status = config_bool(s->file, config_key_place(s, element, place), meta_element(pattern, (size_t)l),
                                 &sliding, f);
        c->layers[l].mixer.window = sliding ? window : 0;
    }
    return status;
}

static sluice_status read_dense_layers(struct model_config *c, const struct key_source *plain, struct failure *f)
{
    static const char name[] = "sluice.dense_layers";
    char place[KEY_PLACE_BYTES];
    struct meta list = config_key_value(plain, name);
    config_key_place(plain, name, place);
    if (list.kind == META_ABSENT) return SLUICE_OK;
    if (list.kind != META_ARRAY) return config_wrong_value(f, plain->file, place, list, "an array of layer numbers");
    for (size_t i = 0; i < list.n; i++) {
        int l = 0;
        sluice_status s = config_int(plain->file, place, meta_element(list, i), 0, c->n_layers - 1, &l, f);
        if (s) return s;
        c->layers[l].listed_dense = true;
    }
    return SLUICE_OK;
}

static bool has_tensor(const struct archive *a, int l, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "blk.%d.%s", l, name);
    return archive_find(a, full) != NULL;
}

/* No key speaks of biases: a layer has those whose tensors are there (and those without which its family does not
 * work, so that they are missed when they are not). */
static void find_biases(struct model_config *c, const struct archive *a)
{
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        layer->mixer.qkv_bias |= has_tensor(a, l, "attn_q.bias");
        layer->mixer.output_bias |= has_tensor(a, l, "attn_output.bias");
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
        if (ffn->shared != SHARED_NONE && ffn->shared_intermediate_size == 0)
            missing = "expert_shared_feed_forward_length";
        if (ffn->intermediate_size == 0)
            missing = ffn->kind == FFN_MOE ? "expert_feed_forward_length" : "feed_forward_length";
        if (missing) return fail(f, SLUICE_FORMAT, "%s: %s: missing", s->file, config_key_place(s, missing, place));
    }
    return SLUICE_OK;
}

static sluice_status read_layers(struct model_config *c, const struct key_source *s, const struct key_source *plain,
                                 struct failure *f)
{
    /* older converters left these widths out */
    if (c->moe_intermediate_size == 0 && c->top_k > 0) c->moe_intermediate_size = c->intermediate_size / c->top_k;
    if (c->shared_intermediate_size == 0) c->shared_intermediate_size = c->intermediate_size;
    c->decoder_sparse_step = 1;
    bool norm = c->norm_topk_prob;
    sluice_status status = read_dense_layers(c, plain, f);
    if (!status) status = c->arch->derive(c, f);
    if (!status) status = check_widths(c, s, f);
    if (status) return status;
    if (c->n_experts > 0 && norm != c->norm_topk_prob)
        return unsupported_key(f, s, "expert_weights_norm", c->norm_topk_prob ? "true" : "false");
    find_biases(c, s->archive);
    return read_window(c, s, f);
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
    c->vocab_size = (int)tokens.n;
    return SLUICE_OK;
}

/* Some converters write "no such token" as -1 in 32 bits. */
static bool is_no_token(struct meta value)
{
    return value.kind == META_ABSENT ||
           (value.kind == META_INT && (value.integer == -1 || value.integer == (int64_t)UINT32_MAX));
}

/* Files name one end token, but chat models end their turns with others: those are known by their text, as other
 * programs know them. */
static void add_end_texts(struct model_config *c, const struct key_source *plain, struct failure *f)
{
    static const char *const texts[] = {
        "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "<end_of_turn>",
    };
    struct meta tokens = config_key_value(plain, "tokenizer.ggml.tokens");
    if (tokens.kind != META_ARRAY) return;
    for (size_t i = 0; i < tokens.n && i < (size_t)c->vocab_size; i++) {
        struct meta token = meta_element(tokens, i);
        if (token.kind != META_STRING || token.n < 2 || token.string[0] != '<') continue;
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++)
            if (is_text(token, texts[j]) && c->n_end_tokens < MAX_END_TOKENS)
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
    sluice_status s = read_number(plain, name, min, max, &number, f);
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
    static const struct field_names names = {"embedding_length", "attention.head_count", "attention.key_length",
                                             "expert_used_count"};
    sluice_status status = config_keys(c, s, c->arch->gguf_keys, f);
    if (!status) status = config_check_fields(c, s, &names, f);
    if (!status) status = check_foreign_keys(c, s, f);
    if (!status) status = read_rope(c, s, plain, f);
    if (!status) status = read_layers(c, s, plain, f);
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
    status = config_keys(c, &source, gguf_common_keys, f);
    if (status) return status;
    c->layers = memory_calloc((size_t)c->n_layers, sizeof *c->layers);
    if (!c->layers) return fail(f, SLUICE_MEMORY, "%s: no memory for %d layers", plain.file, c->n_layers);
    status = read_rest(c, g, &source, &plain, f);
    if (status) config_free(c);
    return status;
}
