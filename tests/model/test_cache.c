/* The KV cache: every key and value comes back from where the attention kernels look for it. */
#include "model/cache.h"

#include <criterion/criterion.h>
#include <string.h>

#include "ops/ops.h"

enum { LAYERS = 2, CONTEXT = 37 };

/* Two layers of different shape. */
static struct model_config make_config(struct layer_config *layers)
{
    memset(layers, 0, LAYERS * sizeof *layers);
    layers[0].mixer = (struct mixer){.n_heads = 4, .n_kv_heads = 3, .head_dim = 10};
    layers[1].mixer = (struct mixer){.n_heads = 4, .n_kv_heads = 1, .head_dim = 24};
    return (struct model_config){.n_layers = LAYERS, .layers = layers};
}

static void make_cache(struct cache *cache, struct arena *arena, const struct model_config *c, int n_context)
{
    cache_carve(cache, c, n_context, arena);
    cr_expect_null(cache->layers, "the measure pass carves nothing");
    size_t measured = arena->used;
    cr_assert(arena_commit(arena, false));
    cache_carve(cache, c, n_context, arena);
    cr_assert_eq(arena->used, measured);
    cr_assert(!arena->overflow);
}

/* A value that tells where it was written. */
static float mark(int layer, int head, int position, int d, bool is_key)
{
    return (float)(((layer * 4 + head) * 64 + position) * 32 + d) * (is_key ? 1.0f : -1.0f);
}

static void write_all(const struct cache *cache, int l, int position)
{
    const struct cache_layer *layer = &cache->layers[l];
    float key[32], value[32];
    for (int head = 0; head < layer->n_kv_heads; head++) {
        for (int d = 0; d < layer->head_dim; d++) {
            key[d] = mark(l, head, position, d, true);
            value[d] = mark(l, head, position, d, false);
        }
        cache_write(layer, head, position, key, value);
    }
}

static void expect_all(const struct cache *cache, int l, int position)
{
    const struct cache_layer *layer = &cache->layers[l];
    for (int head = 0; head < layer->n_kv_heads; head++) {
        const float *panel = cache_keys(layer, head, position - position % KEY_PANEL);
        const float *value = cache_values(layer, head, position);
        for (int d = 0; d < layer->head_dim; d++) {
            cr_assert_eq(panel[d * KEY_PANEL + position % KEY_PANEL], mark(l, head, position, d, true),
                         "key of layer %d, head %d, position %d, element %d", l, head, position, d);
            cr_assert_eq(value[d], mark(l, head, position, d, false), "value of layer %d, head %d, position %d", l,
                         head, position);
        }
    }
}

Test(cache, every_position_comes_back)
{
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    cr_expect_eq(cache.length, 0);
    /* Any order of writing, the last position of the capacity included. */
    for (int i = 0; i < cache.capacity; i++)
        for (int l = 0; l < LAYERS; l++) write_all(&cache, l, i * 29 % cache.capacity);
    for (int l = 0; l < LAYERS; l++)
        for (int position = 0; position < cache.capacity; position++) expect_all(&cache, l, position);
    arena_free(&arena);
}

Test(cache, a_position_may_be_written_again)
{
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    const float other[32] = {[0] = 99, [9] = 98};
    for (int position = 0; position < 20; position++) write_all(&cache, 0, position);
    cache_write(&cache.layers[0], 1, 7, other, other);
    cr_expect_eq(cache_keys(&cache.layers[0], 1, 0)[7], 99);
    cr_expect_eq(cache_values(&cache.layers[0], 1, 7)[9], 98);
    write_all(&cache, 0, 7);
    for (int position = 0; position < 20; position++) expect_all(&cache, 0, position);
    arena_free(&arena);
}

Test(cache, the_capacity_is_whole_panels)
{
    static const int contexts[][2] = {{1, 16}, {15, 16}, {16, 16}, {17, 32}, {37, 48}, {512, 512}, {513, 528}};
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; i++) {
        struct cache cache = {0};
        struct arena arena = {0};
        cache_carve(&cache, &c, contexts[i][0], &arena);
        cr_expect_eq(cache.capacity, contexts[i][1]);
    }
}

Test(cache, bytes_per_token_count_keys_and_values_of_all_layers)
{
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    cr_expect_eq(cache_bytes_per_token(&c), 2u * sizeof(float) * (3 * 10 + 1 * 24));
    struct cache cache = {0};
    struct arena arena = {0};
    cache_carve(&cache, &c, 4096, &arena);
    cr_expect_geq(arena.used, 4096 * cache_bytes_per_token(&c));
    cr_expect_leq(arena.used, 4096 * cache_bytes_per_token(&c) + 4096);
}

Test(cache, sizes_beyond_the_machine_are_refused)
{
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    layers[0].mixer = (struct mixer){.n_kv_heads = 1024, .head_dim = 1024};
    struct cache cache = {0};
    struct arena arena = {.used = SIZE_MAX - ((size_t)1 << 40)}; /* as if much had been carved before */
    cache_carve(&cache, &c, 1 << 24, &arena);
    cr_expect(arena.overflow);
    cr_expect(!arena_commit(&arena, false));
}
