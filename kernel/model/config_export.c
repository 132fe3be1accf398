/* Owns the way from struct model_config to the keys of a GGUF file; see the header, and config_gguf.c for the way back.
 * Keys that have rules are written by the same rules that read them. */
#include "model/config_export.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config_parts.h"
#include "weights/gguf_write.h"

/* Whole name of a key of the architecture. */
static const char *full_key(char out[KEY_PLACE_BYTES], const struct model_config *c, const char *name)
{
    snprintf(out, KEY_PLACE_BYTES, "%s.%s", c->arch->gguf_arch, name);
    return out;
}

/* A number that is 0 has no key. */
static void put_rules(struct gguf_writer *w, const struct model_config *c, const struct key_rule *rules)
{
    char key[KEY_PLACE_BYTES];
    int integer;
    float number;
    bool boolean;
    for (const struct key_rule *rule = rules; rule->name; rule++) {
        const char *field = (const char *)c + rule->offset;
        full_key(key, c, rule->name);
        switch (rule->kind) {
        case KEY_INT:
        case KEY_INT_OR_NULL:
        case KEY_INT_PER_LAYER:
            memcpy(&integer, field, sizeof integer);
            if (integer > 0) gguf_put_u32(w, key, (uint32_t)integer);
            break;
        case KEY_FLOAT:
            memcpy(&number, field, sizeof number);
            if (number > 0) gguf_put_f32(w, key, number);
            break;
        case KEY_BOOL:
            memcpy(&boolean, field, sizeof boolean);
            gguf_put_bool(w, key, boolean);
            break;
        }
    }
}

/* ---- RoPE -------------------------------------------------------------------------------------------------------- */

static bool is_float(double x) { return (double)(float)x == x; }

/* Whether config_gguf.c gets the same numbers from the standard keys. */
static bool rope_is_standard(const struct rope_config *r)
{
    bool numbers = is_float(r->theta) && is_float(r->factor) && r->attention_factor == 0;
    switch (r->scaling) {
    case ROPE_DEFAULT: return numbers && r->factor == 1;
    case ROPE_LINEAR: return numbers && r->factor != 1;
    case ROPE_LLAMA3: return false;
    case ROPE_YARN:
        return numbers && r->truncate && r->mscale == 0 && r->mscale_all_dim == 0 && is_float(r->beta_fast) &&
               is_float(r->beta_slow) && r->original_context == floor(r->original_context);
    }
    return false;
}

static void put_exact_rope(struct gguf_writer *w, const struct rope_config *r)
{
    gguf_put_text(w, "sluice.rope.type", rope_scaling_names[r->scaling]);
    for (const struct rope_field *field = gguf_rope_fields; field->name; field++) {
        double number;
        memcpy(&number, (const char *)r + field->offset, sizeof number);
        if (number != 0) gguf_put_f64(w, field->name, number);
    }
    if (r->truncate) gguf_put_bool(w, "sluice.rope.truncate", true);
}

static void put_yarn(struct gguf_writer *w, const struct model_config *c)
{
    const struct rope_config *r = &c->rope;
    char key[KEY_PLACE_BYTES];
    gguf_put_u32(w, full_key(key, c, "rope.scaling.original_context_length"), (uint32_t)lround(r->original_context));
    gguf_put_f32(w, full_key(key, c, "rope.scaling.yarn_beta_fast"), (float)r->beta_fast);
    gguf_put_f32(w, full_key(key, c, "rope.scaling.yarn_beta_slow"), (float)r->beta_slow);
}

static void put_rope(struct gguf_writer *w, const struct model_config *c)
{
    const struct rope_config *r = &c->rope;
    char key[KEY_PLACE_BYTES];
    gguf_put_u32(w, full_key(key, c, "rope.dimension_count"), (uint32_t)c->head_dim);
    gguf_put_f32(w, full_key(key, c, "rope.freq_base"), (float)r->theta);
    if (r->scaling == ROPE_LINEAR || r->scaling == ROPE_YARN) {
        gguf_put_text(w, full_key(key, c, "rope.scaling.type"), rope_scaling_names[r->scaling]);
        gguf_put_f32(w, full_key(key, c, "rope.scaling.factor"), (float)r->factor);
    }
    if (r->scaling == ROPE_YARN) put_yarn(w, c);
    /* readers multiply the magnitude that follows from the factor by this one */
    double usual = rope_magnitude(&(struct rope_config){.scaling = r->scaling, .factor = r->factor});
    double magnitude = rope_magnitude(r);
    if (magnitude != usual) gguf_put_f32(w, full_key(key, c, "rope.scaling.attn_factor"), (float)(magnitude / usual));
    if (!rope_is_standard(r)) put_exact_rope(w, r);
}

bool config_rope_divisors(const struct model_config *c, float *divisors)
{
    const struct rope_config *r = &c->rope;
    if (r->scaling != ROPE_LLAMA3 && !r->divisors) return false;
    for (int i = 0; i < c->head_dim / 2; i++)
        divisors[i] = r->divisors ? r->divisors[i] : (float)rope_llama3_divisor(r, i, c->head_dim);
    return true;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static void put_window(struct gguf_writer *w, const struct model_config *c)
{
    char key[KEY_PLACE_BYTES];
    bool sliding[MAX_LAYERS];
    int window = 0, n = 0;
    for (int l = 0; l < c->n_layers; l++) {
        sliding[l] = c->layers[l].mixer.window > 0;
        if (sliding[l]) window = c->layers[l].mixer.window;
        n += sliding[l];
    }
    if (window == 0) return;
    gguf_put_u32(w, full_key(key, c, "attention.sliding_window"), (uint32_t)window);
    if (n < c->n_layers)
        gguf_put_bools(w, full_key(key, c, "attention.sliding_window_pattern"), sliding, (size_t)c->n_layers);
}

static void put_dense_layers(struct gguf_writer *w, const struct model_config *c)
{
    int32_t dense[MAX_LAYERS];
    size_t n = 0;
    for (int l = 0; l < c->n_layers; l++)
        if (c->layers[l].ffn.kind == FFN_DENSE) dense[n++] = l;
    if (c->n_experts > 0 && n > 0) gguf_put_i32s(w, "sluice.dense_layers", dense, n);
}

/* Another family of the same name may stand before this one and see its marker, or this one's marker may be absent. */
static void put_family(struct gguf_writer *w, const struct model_config *c)
{
    bool has_window = false, has_experts = c->n_experts > 0, taken = false;
    for (int l = 0; l < c->n_layers; l++) has_window |= c->layers[l].mixer.window > 0;
    for (int i = 0; arch_list[i] && !taken; i++) {
        const char *marker = arch_list[i]->gguf_marker;
        if (strcmp(arch_list[i]->gguf_arch, c->arch->gguf_arch) != 0) continue;
        taken = !marker || (strcmp(marker, "expert_count") == 0 && has_experts) ||
                (strcmp(marker, "attention.sliding_window") == 0 && has_window);
        if (taken && arch_list[i] != c->arch) gguf_put_text(w, "sluice.family", c->arch->name);
    }
}

/* ---- tokens and sampling ----------------------------------------------------------------------------------------- */

static void put_tokens(struct gguf_writer *w, const struct model_config *c)
{
    if (c->bos_token >= 0) gguf_put_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)c->bos_token);
    if (c->n_end_tokens == 0) return;
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)c->end_tokens[0]);
    gguf_put_i32s(w, "sluice.end_tokens", c->end_tokens, (size_t)c->n_end_tokens);
}

static void put_generation(struct gguf_writer *w, const struct generation_config *g)
{
    bool has_temperature = g->do_sample || g->temperature != 1;
    if (has_temperature) gguf_put_f32(w, "general.sampling.temp", g->temperature);
    if (g->top_p != 1) gguf_put_f32(w, "general.sampling.top_p", g->top_p);
    if (g->min_p != 0) gguf_put_f32(w, "general.sampling.min_p", g->min_p);
    if (g->repetition_penalty != 1) gguf_put_f32(w, "general.sampling.penalty_repeat", g->repetition_penalty);
    if (g->top_k != 0) gguf_put_u32(w, "general.sampling.top_k", (uint32_t)g->top_k);
    bool follows = has_temperature && g->temperature > 0;
    if (g->do_sample != follows) gguf_put_bool(w, "sluice.do_sample", g->do_sample);
}

void config_export(const struct model_config *c, const struct generation_config *g, struct gguf_writer *w)
{
    char key[KEY_PLACE_BYTES];
    gguf_put_text(w, "general.architecture", c->arch->gguf_arch);
    put_rules(w, c, gguf_common_keys);
    gguf_put_u32(w, full_key(key, c, "attention.value_length"), (uint32_t)c->head_dim);
    put_rules(w, c, c->arch->gguf_keys);
    put_rope(w, c);
    put_window(w, c);
    put_dense_layers(w, c);
    put_family(w, c);
    put_tokens(w, c);
    put_generation(w, g);
}

/* ---- other programs ---------------------------------------------------------------------------------------------- */

static void add_words(char *list, size_t cap, const char *words)
{
    size_t n = strlen(list);
    snprintf(list + n, cap - n, "%s%s", n ? ", " : "", words);
}

/* What readers of this architecture take for norm_topk_prob where the key is absent; llama.cpp never asks for it. */
static bool usual_norm_topk_prob(const struct model_config *c)
{
    for (const struct key_rule *rule = c->arch->gguf_keys; rule && rule->name; rule++)
        if (strcmp(rule->name, "expert_weights_norm") == 0) return rule->fallback != 0;
    return c->norm_topk_prob;
}

struct config_peer_limits config_peer_limits(const struct model_config *c)
{
    struct config_peer_limits limits = {0};
    bool window = false, clip = false, bias = false, wide = false;
    int n_dense = 0;
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        window |= mixer->window > 0;
        clip |= mixer->clip_qkv > 0;
        bias |= mixer->qkv_bias || mixer->output_bias;
        wide |= mixer->n_heads * mixer->head_dim != c->hidden_size;
        n_dense += c->layers[l].ffn.kind == FFN_DENSE;
    }
    const unsigned lack = c->arch->gguf_peer_limits;
    char *refused = limits.refused, *ignored = limits.ignored;
    if (bias && lack & PEERS_LACK_BIAS) add_words(refused, sizeof limits.refused, "attention biases");
    if (c->tied_embeddings && lack & PEERS_LACK_TIED) add_words(refused, sizeof limits.refused, "a tied output");
    if (wide && lack & PEERS_LACK_HEAD_DIM) add_words(refused, sizeof limits.refused, "this head_dim");
    if (c->n_experts > 0 && n_dense > 0)
        add_words(refused, sizeof limits.refused, "dense layers among those with experts");
    if (window) add_words(ignored, sizeof limits.ignored, "the sliding window");
    if (clip) add_words(ignored, sizeof limits.ignored, "clip_qkv");
    if (c->n_experts > 0 && c->norm_topk_prob != usual_norm_topk_prob(c))
        add_words(ignored, sizeof limits.ignored, "norm_topk_prob");
    if (c->rope.scaling == ROPE_YARN && !rope_is_standard(&c->rope))
        add_words(ignored, sizeof limits.ignored, "parameters of YaRN");
    return limits;
}
