#include "model/cache.h"

#include <string.h>

#include "ops/ops.h"

void cache_carve(struct cache *cache, const struct model_config *c, int n_context, struct arena *arena)
{
    cache->capacity = (n_context + KEY_PANEL - 1) / KEY_PANEL * KEY_PANEL;
    cache->length = 0;
    cache->layers = ARENA_TAKE(arena, struct cache_layer, (size_t)c->n_layers);
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        size_t positions = (size_t)mixer->n_kv_heads * (size_t)cache->capacity;
        struct cache_layer layer = {
            .keys = arena_take(arena, positions, (size_t)mixer->head_dim * sizeof(float)),
            .values = arena_take(arena, positions, (size_t)mixer->head_dim * sizeof(float)),
            .n_kv_heads = mixer->n_kv_heads,
            .head_dim = mixer->head_dim,
            .capacity = cache->capacity,
        };
        if (cache->layers) cache->layers[l] = layer;
    }
}

void cache_write(const struct cache_layer *layer, int kv_head, int position, const float *key, const float *value)
{
    size_t base = (size_t)kv_head * (size_t)layer->capacity, head_dim = (size_t)layer->head_dim;
    float *panel = layer->keys + (base + (size_t)(position - position % KEY_PANEL)) * head_dim + position % KEY_PANEL;
    for (size_t d = 0; d < head_dim; d++) panel[d * KEY_PANEL] = key[d];
    memcpy(layer->values + (base + (size_t)position) * head_dim, value, head_dim * sizeof(float));
}

uint64_t cache_bytes_per_token(const struct model_config *c)
{
    uint64_t bytes = 0;
    for (int l = 0; l < c->n_layers; l++) {
        const struct mixer *mixer = &c->layers[l].mixer;
        bytes += 2 * sizeof(float) * (uint64_t)mixer->n_kv_heads * (uint64_t)mixer->head_dim;
    }
    return bytes;
}
