#include "model/cache.h"

#include <limits.h>
#include <string.h>

#include "ops/ops.h"

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

static struct cache_layer carve_attention(const struct mixer *mixer, int capacity, int latent_width,
                                          struct arena *arena)
{
    struct cache_layer layer = {.capacity = capacity};
    if (mixer->kind == MIX_MLA) {
        layer.latent_width = latent_width;
        layer.latents = arena_take(arena, (size_t)capacity, (size_t)latent_width * sizeof(float));
    }
    if (mixer->kind != MIX_GQA) return layer;
    size_t positions = (size_t)mixer->n_kv_heads * (size_t)capacity;
    layer.n_kv_heads = mixer->n_kv_heads;
    layer.head_dim = mixer->head_dim;
    layer.v_head_dim = mixer->v_head_dim;
    layer.keys = arena_take(arena, positions, (size_t)mixer->head_dim * sizeof(float));
    layer.values = arena_take(arena, positions, (size_t)mixer->v_head_dim * sizeof(float));
    return layer;
}

static int latent_width(const struct model_config *c, const struct mixer *m)
{
    return m->kv_lora_rank + c->rope[m->rope].n_rot;
}

void cache_carve(struct cache *cache, const struct model_config *c, int n_context, struct arena *arena)
{
    *cache = (struct cache){.n_layers = c->n_layers, .capacity = (n_context + KEY_PANEL - 1) / KEY_PANEL * KEY_PANEL};
    cache->layers = ARENA_TAKE(arena, struct cache_layer, (size_t)c->n_layers);
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        struct cache_layer layer = carve_attention(mixer, cache->capacity, latent_width(c, mixer), arena);
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
    size_t base = (size_t)kv_head * (size_t)layer->capacity, head_dim = (size_t)layer->head_dim;
    float *panel = layer->keys + (base + (size_t)(position - position % KEY_PANEL)) * head_dim + position % KEY_PANEL;
    for (size_t d = 0; d < head_dim; d++) panel[d * KEY_PANEL] = key[d];
    size_t width = (size_t)layer->v_head_dim;
    memcpy(layer->values + (base + (size_t)position) * width, value, width * sizeof(float));
}

uint64_t cache_bytes_per_token(const struct model_config *c)
{
    uint64_t bytes = 0;
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        if (mixer->kind == MIX_GQA)
            bytes += sizeof(float) * (uint64_t)mixer->n_kv_heads * (uint64_t)(mixer->head_dim + mixer->v_head_dim);
        else if (mixer->kind == MIX_MLA)
            bytes += sizeof(float) * (uint64_t)latent_width(c, mixer);
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
    const size_t panels = (size_t)((n + KEY_PANEL - 1) / KEY_PANEL * KEY_PANEL);
    if (n == 0) return;
    for (int head = 0; head < src->n_kv_heads; head++) {
        memcpy((float *)cache_keys(dst, head, 0), cache_keys(src, head, 0),
               panels * (size_t)src->head_dim * sizeof(float));
        memcpy((float *)cache_values(dst, head, 0), cache_values(src, head, 0),
               (size_t)n * (size_t)src->v_head_dim * sizeof(float));
    }
    if (src->latents) memcpy(dst->latents, src->latents, (size_t)n * (size_t)src->latent_width * sizeof(float));
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
