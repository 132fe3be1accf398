/* Owns the way from struct model_config to the keys of a GGUF file; see the header, and config_gguf.c for the way back.
 * Keys that have rules are written by the same rules that read them. */
#include "model/config_export.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config_parts.h"
#include "weights/gguf_write.h"

/* Whole name of a key of the architecture, the first of its spellings; a key of ours is whole. */
static const char *full_key(char out[KEY_PLACE_BYTES], const struct model_config *c, const char *name)
{
    const char *prefix = strncmp(name, "sluice.", 7) == 0 ? "" : c->arch->gguf_arch;
    snprintf(out, KEY_PLACE_BYTES, "%s%s%.*s", prefix, *prefix ? "." : "", (int)strcspn(name, "|"), /* bounded: ours */
             name);
    return out;
}

static void put_number(struct gguf_writer *w, const struct model_config *c, const char *name, int value)
{
    char key[KEY_PLACE_BYTES];
    gguf_put_u32(w, full_key(key, c, name), (uint32_t)value);
}

static double rule_value(const struct model_config *c, const struct key_rule *rule)
{
    const char *field = (const char *)c + rule->offset;
    int integer;
    float number;
    bool boolean;
    switch (rule->kind) {
    case KEY_FLOAT:
    case KEY_FLOAT_OR_NULL: memcpy(&number, field, sizeof number); return (double)number;
    case KEY_BOOL: memcpy(&boolean, field, sizeof boolean); return boolean;
    default: memcpy(&integer, field, sizeof integer); return integer;
    }
}

/* A number that is 0 has no key, unless its absence would mean another. */
static bool has_key(const struct model_config *c, const struct key_rule *rule)
{
    double value = rule_value(c, rule);
    if (strncmp(rule->name, "sluice.", 7) == 0) return value != (double)(float)rule->fallback;
    if (rule->kind == KEY_BOOL || rule->kind == KEY_WORD) return true;
    return value > 0 || rule->required || (value == 0 && rule->fallback != 0 && rule->min <= 0);
}

static void put_rule(struct gguf_writer *w, const struct model_config *c, const struct key_rule *rule)
{
    char key[KEY_PLACE_BYTES];
    double value = rule_value(c, rule);
    size_t n;
    full_key(key, c, rule->name);
    switch (rule->kind) {
    case KEY_FLOAT:
    case KEY_FLOAT_OR_NULL: gguf_put_f32(w, key, (float)value); break;
    case KEY_BOOL: gguf_put_bool(w, key, value != 0); break;
    case KEY_WORD: {
        const char *word = config_word(rule->words, (int)value, &n);
        if (word) gguf_put_string(w, key, word, n);
        break;
    }
    default: gguf_put_u32(w, key, (uint32_t)value); break;
    }
}

/* The common rules, but for those that the family has its own for or that are written by hand, then the family's. */
static void put_rules(struct gguf_writer *w, const struct model_config *c)
{
    for (const struct key_rule *rule = gguf_common_keys; rule->name; rule++) {
        bool by_hand = strcmp(rule->name, "attention.key_length") == 0;
        if (!by_hand && !config_has_rule(c->arch->gguf_keys, rule->name) && has_key(c, rule)) put_rule(w, c, rule);
    }
    for (const struct key_rule *rule = c->arch->gguf_keys; rule->name; rule++)
        if (has_key(c, rule)) put_rule(w, c, rule);
}

/* ---- heads ------------------------------------------------------------------------------------------------------- */

/* Layers without a cache of keys count as having none, where all others are alike but for that. */
static void put_kv_heads(struct gguf_writer *w, const struct model_config *c)
{
    char key[KEY_PLACE_BYTES];
    int32_t heads[MAX_LAYERS];
    bool differ = false;
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        heads[l] = mixer->kind == MIX_CONV ? 0 : mixer->kind == MIX_GQA ? mixer->n_kv_heads : c->n_kv_heads;
        differ |= heads[l] != heads[0];
    }
    full_key(key, c, "attention.head_count_kv");
    if (c->kv_lora_rank > 0)
        gguf_put_u32(w, key, 1);
    else if (differ)
        gguf_put_i32s(w, key, heads, (size_t)c->n_layers);
    else
        gguf_put_u32(w, key, (uint32_t)c->n_kv_heads);
}

/* Of latent attention as files have it since April 2025: the cache as one head, then the sizes of the heads. */
static void put_lengths(struct gguf_writer *w, const struct model_config *c)
{
    const int length = c->global_head_dim > 0 ? c->global_head_dim : c->head_dim;
    const bool latent = c->kv_lora_rank > 0;
    if (!config_has_rule(c->arch->gguf_keys, "attention.key_length"))
        put_number(w, c, "attention.key_length", latent ? c->kv_lora_rank + c->qk_rope_head_dim : length);
    put_number(w, c, "attention.value_length", latent ? c->kv_lora_rank : length);
    if (latent) put_number(w, c, "attention.key_length_mla", c->head_dim);
    if (latent) put_number(w, c, "attention.value_length_mla", c->v_head_dim);
    if (config_has_rule(c->arch->gguf_keys, "attention.key_length_swa") &&
        !config_has_rule(c->arch->gguf_keys, "attention.value_length_swa"))
        put_number(w, c, "attention.value_length_swa", c->head_dim);
}

/* ---- RoPE -------------------------------------------------------------------------------------------------------- */

static bool is_float(double x) { return (double)(float)x == x; }

/* Whether the numbers have standard keys. Those of a second table have but theta. */
static bool rope_has_keys(const struct model_config *c, enum rope_index i)
{
    const struct rope_config *r = &c->rope[i];
    bool numbers = is_float(r->theta) && is_float(r->factor) && r->attention_factor == 0;
    if (i == ROPE_LOCAL) return numbers && r->scaling == ROPE_DEFAULT && r->factor == 1;
    bool no_mscale = r->mscale == 0 && r->mscale_all_dim == 0;
    if (c->kv_lora_rank > 0)
        no_mscale =
            r->mscale == r->mscale_all_dim && gguf_mscale((float)(0.1 * r->mscale_all_dim)) == r->mscale_all_dim;
    switch (r->scaling) {
    case ROPE_DEFAULT: return numbers && r->factor == 1;
    case ROPE_LINEAR: return numbers && no_mscale && r->factor != 1;
    case ROPE_LLAMA3:
    case ROPE_PROPORTIONAL: return false;
    case ROPE_YARN:
        return numbers && no_mscale && is_float(r->beta_fast) && is_float(r->beta_slow) &&
               r->original_context == floor(r->original_context);
    }
    return false;
}

/* Whether our reader gets the same from the standard keys. */
static bool rope_is_standard(const struct model_config *c, enum rope_index i)
{
    const bool usual = c->rope[i].scaling != ROPE_YARN || c->rope[i].truncate != c->arch->gguf_exact_yarn;
    return usual && rope_has_keys(c, i);
}

static void put_exact_rope(struct gguf_writer *w, const struct rope_config *r, const char *prefix)
{
    char key[KEY_PLACE_BYTES];
    snprintf(key, sizeof key, "%s.type", prefix);
    gguf_put_text(w, key, rope_scaling_names[r->scaling]);
    for (const struct rope_field *field = gguf_rope_fields; field->name; field++) {
        double number;
        memcpy(&number, (const char *)r + field->offset, sizeof number);
        snprintf(key, sizeof key, "%s.%s", prefix, field->name);
        if (number != 0) gguf_put_f64(w, key, number);
    }
    snprintf(key, sizeof key, "%s.truncate", prefix);
    if (r->truncate) gguf_put_bool(w, key, true);
}

static void put_yarn(struct gguf_writer *w, const struct model_config *c)
{
    const struct rope_config *r = &c->rope[0];
    char key[KEY_PLACE_BYTES];
    const int original = (int)lround(r->original_context); /* bounded: at most MAX_CONTEXT */
    put_number(w, c, "rope.scaling.original_context_length", original);
    gguf_put_f32(w, full_key(key, c, "rope.scaling.yarn_beta_fast"), (float)r->beta_fast);
    gguf_put_f32(w, full_key(key, c, "rope.scaling.yarn_beta_slow"), (float)r->beta_slow);
}

/* Readers multiply the magnitude that follows from the other keys by this one. Of latent attention they expect mscale
 * and mscale_all_dim to be equal. */
static void put_magnitude(struct gguf_writer *w, const struct model_config *c)
{
    const struct rope_config *r = &c->rope[0];
    char key[KEY_PLACE_BYTES];
    struct rope_config followed = {.scaling = r->scaling, .factor = r->factor};
    if (c->kv_lora_rank > 0) followed.mscale = followed.mscale_all_dim = r->mscale_all_dim;
    double usual = rope_magnitude(&followed), magnitude = rope_magnitude(r);
    if (magnitude != usual) gguf_put_f32(w, full_key(key, c, "rope.scaling.attn_factor"), (float)(magnitude / usual));
}

/* How the pairs are shared out to time, height and width: evenly, and text has the same position in all three. */
static void put_sections(struct gguf_writer *w, const struct model_config *c)
{
    char key[KEY_PLACE_BYTES];
    const int pairs = c->rope[0].n_rot / 2;
    const int32_t sections[4] = {(pairs + 2) / 3, (pairs + 1) / 3, pairs / 3, 0};
    if (c->arch->gguf_peer_limits & PEERS_WANT_SECTIONS)
        gguf_put_i32s(w, full_key(key, c, "rope.dimension_sections"), sections, 4);
}

static void put_rope(struct gguf_writer *w, const struct model_config *c)
{
    const struct rope_config *r = &c->rope[ROPE_GLOBAL], *local = &c->rope[ROPE_LOCAL];
    char key[KEY_PLACE_BYTES];
    put_number(w, c, "rope.dimension_count", r->n_rot);
    gguf_put_f32(w, full_key(key, c, "rope.freq_base"), (float)r->theta);
    if (r->scaling == ROPE_LINEAR || r->scaling == ROPE_YARN) {
        gguf_put_text(w, full_key(key, c, "rope.scaling.type"), rope_scaling_names[r->scaling]);
        gguf_put_f32(w, full_key(key, c, "rope.scaling.factor"), (float)r->factor);
    }
    if (r->scaling == ROPE_YARN) put_yarn(w, c);
    if (c->kv_lora_rank > 0 && r->mscale_all_dim > 0)
        gguf_put_f32(w, full_key(key, c, "rope.scaling.yarn_log_multiplier"), (float)(0.1 * r->mscale_all_dim));
    put_magnitude(w, c);
    put_sections(w, c);
    if (!rope_is_standard(c, ROPE_GLOBAL)) put_exact_rope(w, r, gguf_rope_prefixes[ROPE_GLOBAL]);
    if (c->arch->default_local_theta == 0) return;
    put_number(w, c, "rope.dimension_count_swa", local->n_rot);
    gguf_put_f32(w, full_key(key, c, "rope.freq_base_swa"), (float)local->theta);
    if (!rope_is_standard(c, ROPE_LOCAL)) put_exact_rope(w, local, gguf_rope_prefixes[ROPE_LOCAL]);
}

/* Frequencies that are to be 0 are divided by what other programs write there. */
static float divisor(const struct rope_config *r, int i)
{
    if (r->divisors) return r->divisors[i];
    if (r->scaling == ROPE_LLAMA3) return (float)rope_llama3_divisor(r, i);
    return i < (int)(r->partial * r->n_rot / 2) ? (float)r->factor : 1e30f;
}

bool config_rope_divisors(const struct model_config *c, float *divisors)
{
    const struct rope_config *r = &c->rope[0];
    if (r->scaling != ROPE_LLAMA3 && r->scaling != ROPE_PROPORTIONAL && !r->divisors) return false;
    for (int i = 0; i < r->n_rot / 2; i++) divisors[i] = divisor(r, i);
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
    if (n < c->n_layers || c->arch->gguf_peer_limits & PEERS_HAVE_WINDOWS)
        gguf_put_bools(w, full_key(key, c, "attention.sliding_window_pattern"), sliding, (size_t)c->n_layers);
}

/* Those in front have a key in some families. */
static void put_dense_layers(struct gguf_writer *w, const struct model_config *c)
{
    int32_t dense[MAX_LAYERS];
    size_t n = 0;
    for (int l = 0; l < c->n_layers; l++)
        if (!ffn_has_experts(&c->layers[l].ffn)) dense[n++] = l;
    bool counted =
        config_has_rule(c->arch->gguf_keys, "leading_dense_block_count") && n == (size_t)c->first_dense_layers;
    if (c->n_experts > 0 && n > 0 && !counted) gguf_put_i32s(w, "sluice.dense_layers", dense, n);
}

/* Whether full_attention_interval does not say which layers are linear attention. */
static bool is_irregular(const struct model_config *c)
{
    bool has_linear = false, is_period = c->full_attention_interval > 0;
    for (int l = 0; l < c->n_layers; l++) {
        bool linear = c->layers[l].mixer.kind == MIX_DELTA;
        has_linear |= linear;
        if (is_period) is_period = linear == ((l + 1) % c->full_attention_interval != 0);
    }
    return has_linear && !is_period;
}

static void put_layer_types(struct gguf_writer *w, const struct model_config *c)
{
    const char *words[MAX_LAYERS];
    size_t lengths[MAX_LAYERS];
    for (int l = 0; l < c->n_layers; l++) {
        words[l] = config_layer_words[c->layers[l].mixer.kind == MIX_DELTA ? LISTED_LINEAR : LISTED_FULL];
        lengths[l] = strlen(words[l]);
    }
    if (is_irregular(c)) gguf_put_strings(w, "sluice.layer_types", words, lengths, (size_t)c->n_layers);
}

/* Whether the file has the key that tells a family, and it is not 0. */
static bool has_marker(const struct model_config *c, const char *marker)
{
    bool has = !marker;
    for (int l = 0; marker && strcmp(marker, "attention.sliding_window") == 0 && l < c->n_layers; l++)
        has |= c->layers[l].mixer.window > 0;
    for (const struct key_rule *rule = c->arch->gguf_keys; !has && rule->name; rule++)
        has = strcmp(rule->name, marker) == 0 && rule_value(c, rule) != 0;
    return has;
}

/* Another family of the same name may stand before this one and see its marker, or this one's marker may be absent. */
static void put_family(struct gguf_writer *w, const struct model_config *c)
{
    bool taken = false;
    for (int i = 0; arch_list[i] && !taken; i++) {
        if (strcmp(arch_list[i]->gguf_arch, c->arch->gguf_arch) != 0) continue;
        taken = has_marker(c, arch_list[i]->gguf_marker);
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
    gguf_put_text(w, "general.architecture", c->arch->gguf_arch);
    put_number(w, c, "block_count", c->n_layers);
    put_rules(w, c);
    put_kv_heads(w, c);
    put_lengths(w, c);
    put_rope(w, c);
    put_window(w, c);
    put_dense_layers(w, c);
    put_layer_types(w, c);
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

/* Keys of ours that say what no key of the standard does. */
static void add_own_keys(char *list, size_t cap, const struct model_config *c)
{
    char word[32];
    for (const struct key_rule *rule = c->arch->gguf_keys; rule->name; rule++) {
        if (strncmp(rule->name, "sluice.", 7) != 0 || !has_key(c, rule)) continue;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(rule->name + 7, "|"), rule->name + 7); /* bounded: ours */
        add_words(list, cap, word);
    }
}

/* What readers of this architecture take for norm_topk_prob; most never ask for the key. */
static bool usual_norm_topk_prob(const struct model_config *c)
{
    if (c->arch->gguf_peer_limits & PEERS_HAVE_NORM) return c->norm_topk_prob;
    for (const struct key_rule *rule = c->arch->gguf_keys; rule && rule->name; rule++)
        if (strcmp(rule->name, "expert_weights_norm") == 0) return rule->fallback != 0;
    return c->norm_topk_prob;
}

struct config_peer_limits config_peer_limits(const struct model_config *c)
{
    struct config_peer_limits limits = {0};
    bool window = false, clip = false, bias = false, wide = false, uneven = false, ranked = false;
    int n_dense = 0;
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        window |= mixer->window > 0;
        clip |= mixer->clip_qkv > 0;
        bias |= mixer->qkv_bias || mixer->output_bias;
        wide |= mixer->n_heads * mixer->head_dim != c->hidden_size; /* bounded: MAX_HEADS * MAX_HEAD_DIM */
        uneven |= mixer->kind == MIX_DELTA && mixer->head_dim != mixer->v_head_dim;
        n_dense += !ffn_has_experts(&c->layers[l].ffn);
        const struct router *router = &c->layers[l].router; /* they rank groups by the two best scores, added */
        ranked |= router->n_group > router->topk_group && router->group_rank == GROUP_MAX;
    }
    const unsigned lack = c->arch->gguf_peer_limits;
    char *refused = limits.refused, *ignored = limits.ignored;
    if (bias && lack & PEERS_LACK_BIAS) add_words(refused, sizeof limits.refused, "attention biases");
    if (c->tied_embeddings && lack & PEERS_LACK_TIED) add_words(refused, sizeof limits.refused, "a tied output");
    if (!c->tied_embeddings && lack & PEERS_LACK_UNTIED)
        add_words(refused, sizeof limits.refused, "an output that is not the embedding");
    if (wide && lack & PEERS_LACK_HEAD_DIM) add_words(refused, sizeof limits.refused, "this head_dim");
    if (is_irregular(c)) add_words(refused, sizeof limits.refused, "full attention without a period");
    if (uneven) add_words(refused, sizeof limits.refused, "keys and values of different lengths");
    /* it tells DeepSeek-V2-Lite and its like by their number of layers */
    if (c->kv_lora_rank > 0 && c->q_lora_rank == 0 && c->n_layers != 26 && c->n_layers != 27)
        add_words(refused, sizeof limits.refused, "queries without a latent");
    bool leading = lack & PEERS_HAVE_FIRST_DENSE && n_dense == c->first_dense_layers;
    if (c->n_experts > 0 && n_dense > 0 && !leading)
        add_words(refused, sizeof limits.refused, "dense layers among those with experts");
    if (window && !(lack & PEERS_HAVE_WINDOWS)) add_words(ignored, sizeof limits.ignored, "the sliding window");
    if (clip) add_words(ignored, sizeof limits.ignored, "clip_qkv");
    if (ranked) add_words(ignored, sizeof limits.ignored, "how groups of experts are ranked");
    add_own_keys(ignored, sizeof limits.ignored, c);
    if (c->n_experts > 0 && c->norm_topk_prob != usual_norm_topk_prob(c))
        add_words(ignored, sizeof limits.ignored, "norm_topk_prob");
    if (c->rope[0].scaling == ROPE_YARN && (!c->rope[0].truncate || !rope_has_keys(c, ROPE_GLOBAL)))
        add_words(ignored, sizeof limits.ignored, "parameters of YaRN");
    return limits;
}
