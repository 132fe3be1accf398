/* The KV cache of one session: per layer, the keys and values of every position so far.
 *
 * Keys lie in panels of 16 positions (ops.h KEY_PANEL), values row by row, both per kv head, all float. Positions
 * beyond `length` hold old bytes that nobody reads, so rewinding is setting the length. Layers with a window keep all
 * positions too; the window is applied when reading. */
#ifndef MODEL_CACHE_H
#define MODEL_CACHE_H

#include "base/arena.h"
#include "model/config.h"

struct cache_layer {
    float *keys;   /* [n_kv_heads][capacity / 16][head_dim][16] */
    float *values; /* [n_kv_heads][capacity][head_dim] */
    int n_kv_heads, head_dim, capacity;
};

struct cache {
    struct cache_layer *layers; /* [n_layers] */
    int capacity;               /* positions, a multiple of KEY_PANEL */
    int length;                 /* positions that are valid */
};

/* Carves a cache for at least n_context positions. Measure pass: arena without memory. */
void cache_carve(struct cache *cache, const struct model_config *c, int n_context, struct arena *arena);

/* Writes key and value [head_dim] of one kv head at `position` < capacity. */
void cache_write(const struct cache_layer *layer, int kv_head, int position, const float *key, const float *value);

static inline const float *cache_keys(const struct cache_layer *layer, int kv_head, int position)
{
    return layer->keys + ((size_t)kv_head * (size_t)layer->capacity + (size_t)position) * (size_t)layer->head_dim;
}

static inline const float *cache_values(const struct cache_layer *layer, int kv_head, int position)
{
    return layer->values + ((size_t)kv_head * (size_t)layer->capacity + (size_t)position) * (size_t)layer->head_dim;
}

/* Bytes that one more position costs, all layers. */
uint64_t cache_bytes_per_token(const struct model_config *c);

#endif
