#include "model/cache.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/float16.h"

/* ---- types ------------------------------------------------------------------------------------------------------- */

enum dtype cache_default_type(enum dtype weights)
{
    return weights == DTYPE_F32 || weights == DTYPE_BF16 ? weights : DTYPE_F16;
}

bool cache_type_from_word(const char *word, enum dtype *out)
{
    enum dtype t;
    if (!dtype_from_word(word, &t)) return false;
    if (t != DTYPE_F32 && t != DTYPE_F16 && t != DTYPE_BF16 && t != DTYPE_Q8_0) return false;
    *out = t;
    return true;
}

/* A half, at most +-65504. A few models have single keys and values beyond that, which as infinities would make NaN of
 * every later token; the largest half is only a little wrong. */
static uint16_t saturated_half(float f)
{
    f = f > 65504.0f ? 65504.0f : f;
    return float_to_fp16(f < -65504.0f ? -65504.0f : f);
}

static void put_half(unsigned char *to, size_t i, uint16_t half) { memcpy(to + 2 * i, &half, sizeof half); }

/* x [n] as plain numbers of type t, `step` numbers apart. */
static void put_numbers(unsigned char *to, size_t step, enum dtype t, const float *x, int n)
{
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)i * step;
        if (t == DTYPE_F32)
            memcpy(to + 4 * at, &x[i], sizeof x[i]);
        else
            put_half(to, at, t == DTYPE_F16 ? saturated_half(x[i]) : float_to_bf16(x[i]));
    }
}

/* x [n <= 32] as levels, `step` apart; returns their scale. A NaN makes all of them NaN, through the scale. Levels are
 * chosen for the scale as rounded, so that its rounding costs nothing. */
static uint16_t put_levels(unsigned char *to, size_t step, const float *x, int n)
{
    uint32_t largest = 0; /* of the bits of |x|, in which NaN is above infinity */
    for (int i = 0; i < n; i++) {
        const uint32_t bits = float_bits(x[i]) & 0x7fffffffu;
        if (bits > largest) largest = bits;
    }
    const uint16_t half = saturated_half(bits_float(largest) / 127.0f);
    const float scale = fp16_to_float(half), inverse = scale > 0.0f ? 1.0f / scale : 0.0f; /* NaN: 0 */
    for (int i = 0; i < n; i++) {
        float level = inverse > 0.0f ? x[i] * inverse : 0.0f;
        level = level > 127.0f ? 127.0f : level;
        level = level < -127.0f ? -127.0f : level;
        to[(size_t)i * step] = (unsigned char)(int8_t)lrintf(level);
    }
    return half;
}

/* x [n] as a row (ops/attention.h). */
static void put_row(unsigned char *to, enum dtype t, const float *x, int n)
{
    if (t != DTYPE_Q8_0) {
        put_numbers(to, 1, t, x, n);
        return;
    }
    for (int i = 0; i < n; i += Q8_0_ELEMENTS, to += Q8_0_BYTES)
        put_half(to, 0, put_levels(to + 2, 1, x + i, n - i < Q8_0_ELEMENTS ? n - i : Q8_0_ELEMENTS));
}

/* x [n] as column `lane` of a panel of keys. */
static void put_key(unsigned char *panel, enum dtype t, size_t lane, const float *x, int n)
{
    if (t != DTYPE_Q8_0) {
        put_numbers(panel + lane * (t == DTYPE_F32 ? 4 : 2), KEY_PANEL, t, x, n);
        return;
    }
    unsigned char *levels = panel + KEY_PANEL * 2 * q8_0_blocks(n) + lane;
    for (int i = 0; i < n; i += Q8_0_ELEMENTS) {
        const int count = n - i < Q8_0_ELEMENTS ? n - i : Q8_0_ELEMENTS;
        const uint16_t scale = put_levels(levels + (size_t)i * KEY_PANEL, KEY_PANEL, x + i, count);
        put_half(panel, (size_t)(i / Q8_0_ELEMENTS) * KEY_PANEL + lane, scale);
    }
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

/* Floats of the tail and of the matrix of a layer; zero for attention. */
static size_t tail_floats(const struct model_config *c, const struct mixer *m)
{
    if (m->kind == MIX_CONV) return (size_t)(m->conv_kernel - 1) * (size_t)c->hidden_size;
    if (m->kind != MIX_DELTA) return 0;
    return (size_t)(m->conv_kernel - 1) * (size_t)(2 * m->n_key_heads * m->head_dim + m->n_value_heads * m->v_head_dim);
}

static size_t matrix_floats(const struct mixer *m)
{
    return m->kind == MIX_DELTA ? (size_t)m->n_value_heads * (size_t)m->head_dim * (size_t)m->v_head_dim : 0;
}

static struct cache_layer carve_attention(const struct mixer *mixer, int capacity, int latent_width, enum dtype type,
                                          struct arena *arena)
{
    struct cache_layer layer = {.capacity = capacity, .type = type};
    if (mixer->kind == MIX_MLA) {
        layer.latent_width = latent_width;
        layer.latent_bytes = value_row_bytes(type, latent_width);
        layer.latents = arena_take(arena, (size_t)capacity, layer.latent_bytes);
    }
    if (mixer->kind != MIX_GQA) return layer;
    const size_t heads = (size_t)mixer->n_kv_heads;
    layer.n_kv_heads = mixer->n_kv_heads;
    layer.head_dim = mixer->head_dim;
    layer.v_head_dim = mixer->v_head_dim;
    layer.panel_bytes = key_panel_bytes(type, mixer->head_dim);
    layer.value_bytes = value_row_bytes(type, mixer->v_head_dim);
    layer.keys = arena_take(arena, heads * (size_t)(capacity / KEY_PANEL), layer.panel_bytes);
    layer.values = arena_take(arena, heads * (size_t)capacity, layer.value_bytes);
    return layer;
}

static int latent_width(const struct model_config *c, const struct mixer *m)
{
    return m->kv_lora_rank + c->rope[m->rope].n_rot;
}

void cache_carve(struct cache *cache, const struct model_config *c, int n_context, enum dtype type, struct arena *arena)
{
    *cache = (struct cache){.n_layers = c->n_layers, .capacity = (n_context + KEY_PANEL - 1) / KEY_PANEL * KEY_PANEL};
    cache->layers = ARENA_TAKE(arena, struct cache_layer, (size_t)c->n_layers);
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        struct cache_layer layer = carve_attention(mixer, cache->capacity, latent_width(c, mixer), type, arena);
        if (cache->layers) cache->layers[l] = layer;
        cache->state_floats += tail_floats(c, mixer) + matrix_floats(mixer);
    }
    if (cache->state_floats == 0) return;
    for (int i = 0; i < CACHE_CHECKPOINTS; i++) cache->checkpoint[i].place = i;
    cache->states = arena_take(arena, cache->state_floats, sizeof(float));
    cache->checkpoints = arena_take(arena, CACHE_CHECKPOINTS, cache->state_floats * sizeof(float));
    float *at = cache->states;
    for (int l = 0; l < c->n_layers && at; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        if (!mixer_is_recurrent(mixer)) continue;
        cache->layers[l].tail = at;
        cache->layers[l].matrix = at + tail_floats(c, mixer);
        at += tail_floats(c, mixer) + matrix_floats(mixer);
    }
}

void cache_write(const struct cache_layer *layer, int kv_head, int position, const float *key, const float *value)
{
    put_key(cache_keys(layer, kv_head, position), layer->type, (size_t)(position % KEY_PANEL), key, layer->head_dim);
    put_row(cache_values(layer, kv_head, position), layer->type, value, layer->v_head_dim);
}

void cache_write_latent(const struct cache_layer *layer, int position, const float *row)
{
    put_row(cache_latent(layer, position), layer->type, row, layer->latent_width);
}

uint64_t cache_bytes_per_token(const struct model_config *c, enum dtype type)
{
    uint64_t bytes = 0;
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        if (mixer->kind == MIX_GQA)
            bytes += (uint64_t)mixer->n_kv_heads *
                     (key_panel_bytes(type, mixer->head_dim) / KEY_PANEL + value_row_bytes(type, mixer->v_head_dim));
        else if (mixer->kind == MIX_MLA)
            bytes += value_row_bytes(type, latent_width(c, mixer));
    }
    return bytes;
}

uint64_t cache_state_bytes(const struct model_config *c)
{
    uint64_t floats = 0;
    for (int l = 0; l < c->n_layers; l++)
        floats += tail_floats(c, &c->layers[l].mixer) + matrix_floats(&c->layers[l].mixer);
    return floats * sizeof(float);
}

void cache_clear(struct cache *cache)
{
    cache->length = 0;
    cache_restore(cache, -1);
}

static float *checkpoint_states(const struct cache *cache, int i)
{
    return cache->checkpoints + (size_t)cache->checkpoint[i].place * cache->state_floats;
}

/* Moves checkpoint i behind all others, whose order stays. */
static void move_to_end(struct cache *cache, int i)
{
    int place = cache->checkpoint[i].place;
    for (; i + 1 < cache->n_checkpoints; i++) cache->checkpoint[i] = cache->checkpoint[i + 1];
    cache->checkpoint[i].place = place;
}

/* The checkpoint between the closest neighbours, the earliest of several. */
static int most_crowded(const struct cache *cache)
{
    int best = 0, smallest = INT_MAX;
    for (int i = 0; i < cache->n_checkpoints; i++) {
        int before = i ? cache->checkpoint[i - 1].at : 0;
        int after = i + 1 < cache->n_checkpoints ? cache->checkpoint[i + 1].at : cache->states_at;
        if (after - before >= smallest) continue;
        smallest = after - before;
        best = i;
    }
    return best;
}

void cache_checkpoint(struct cache *cache)
{
    if (!cache->states) return;
    if (cache->n_checkpoints && cache->checkpoint[cache->n_checkpoints - 1].at == cache->states_at) return;
    if (cache->n_checkpoints == CACHE_CHECKPOINTS)
        move_to_end(cache, most_crowded(cache));
    else
        cache->n_checkpoints++;
    cache->checkpoint[cache->n_checkpoints - 1].at = cache->states_at;
    memcpy(checkpoint_states(cache, cache->n_checkpoints - 1), cache->states, cache->state_floats * sizeof(float));
}

void cache_restore(struct cache *cache, int position)
{
    int n = cache->n_checkpoints;
    if (!cache->states) return;
    while (n && cache->checkpoint[n - 1].at > position) n--;
    cache->n_checkpoints = n;
    cache->states_at = n ? cache->checkpoint[n - 1].at : 0;
    if (n)
        memcpy(cache->states, checkpoint_states(cache, n - 1), cache->state_floats * sizeof(float));
    else
        memset(cache->states, 0, cache->state_floats * sizeof(float));
}

/* Keys and values of the first n positions, whole panels of keys; capacities may differ. */
static void copy_attention(struct cache_layer *dst, const struct cache_layer *src, int n)
{
    const size_t panels = (size_t)((n + KEY_PANEL - 1) / KEY_PANEL);
    if (n == 0) return;
    for (int head = 0; head < src->n_kv_heads; head++) {
        memcpy(cache_keys(dst, head, 0), cache_keys(src, head, 0), panels * src->panel_bytes);
        memcpy(cache_values(dst, head, 0), cache_values(src, head, 0), (size_t)n * src->value_bytes);
    }
    if (src->latents) memcpy(dst->latents, src->latents, (size_t)n * src->latent_bytes);
}

void cache_copy(struct cache *dst, const struct cache *src)
{
    for (int l = 0; l < src->n_layers; l++) copy_attention(&dst->layers[l], &src->layers[l], src->length);
    dst->length = src->length;
    dst->states_at = src->states_at;
    dst->n_checkpoints = src->n_checkpoints;
    memcpy(dst->checkpoint, src->checkpoint, sizeof dst->checkpoint);
    if (!src->states) return;
    memcpy(dst->states, src->states, src->state_floats * sizeof(float));
    for (int i = 0; i < src->n_checkpoints; i++)
        memcpy(checkpoint_states(dst, i), checkpoint_states(src, i), src->state_floats * sizeof(float));
}
