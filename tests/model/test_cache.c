/* The cache: every key and value comes back from where the attention kernels look for it, and states from their
 * checkpoints. */
#include "model/cache.h"

#include <criterion/criterion.h>
#include <string.h>

#include "ops/ops.h"

enum { LAYERS = 2, CONTEXT = 37 };

/* Two layers of different shape. */
static struct model_config make_config(struct layer_config *layers)
{
    memset(layers, 0, LAYERS * sizeof *layers);
    layers[0].mixer = (struct mixer){.n_heads = 4, .n_kv_heads = 3, .head_dim = 10, .v_head_dim = 10};
    layers[1].mixer = (struct mixer){.n_heads = 4, .n_kv_heads = 1, .head_dim = 24, .v_head_dim = 20};
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
            value[d] = mark(l, head, position, d, false); /* of v_head_dim, the first */
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
        }
        for (int d = 0; d < layer->v_head_dim; d++)
            cr_assert_eq(value[d], mark(l, head, position, d, false), "value of layer %d, head %d, position %d", l,
                         head, position);
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
    cr_expect_eq(cache_bytes_per_token(&c), sizeof(float) * (3 * (10 + 10) + 1 * (24 + 20)));
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
    layers[0].mixer = (struct mixer){.n_kv_heads = 1024, .head_dim = 1024, .v_head_dim = 1024};
    struct cache cache = {0};
    struct arena arena = {.used = SIZE_MAX - ((size_t)1 << 40)}; /* as if much had been carved before */
    cache_carve(&cache, &c, 1 << 24, &arena);
    cr_expect(arena.overflow);
    cr_expect(!arena_commit(&arena, false));
}

/* ---- latents and states ------------------------------------------------------------------------------------------ */

enum { HYBRID_LAYERS = 4, DELTA_TAIL = 3 * (2 * 2 * 5 + 4 * 7), DELTA_MATRIX = 4 * 5 * 7, CONV_TAIL = 2 * 11 };

/* One layer of each kind. */
static struct model_config make_hybrid(struct layer_config *layers)
{
    memset(layers, 0, HYBRID_LAYERS * sizeof *layers);
    layers[0].mixer = (struct mixer){
        .kind = MIX_DELTA, .n_key_heads = 2, .n_value_heads = 4, .head_dim = 5, .v_head_dim = 7, .conv_kernel = 4};
    layers[1].mixer = (struct mixer){.kind = MIX_GQA, .n_heads = 4, .n_kv_heads = 2, .head_dim = 12, .v_head_dim = 10};
    layers[2].mixer = (struct mixer){.kind = MIX_CONV, .conv_kernel = 3};
    layers[3].mixer = (struct mixer){.kind = MIX_MLA, .kv_lora_rank = 9};
    return (struct model_config){
        .n_layers = HYBRID_LAYERS, .layers = layers, .hidden_size = 11, .rope[ROPE_GLOBAL].n_rot = 4};
}

Test(cache, states_of_all_layers_lie_one_after_the_other)
{
    struct layer_config layers[HYBRID_LAYERS];
    struct model_config c = make_hybrid(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    cr_expect_eq(cache.state_floats, (size_t)(DELTA_TAIL + DELTA_MATRIX + CONV_TAIL));
    cr_expect_eq(cache_state_bytes(&c), sizeof(float) * (DELTA_TAIL + DELTA_MATRIX + CONV_TAIL));
    cr_expect_eq(cache_bytes_per_token(&c), sizeof(float) * (2 * (12 + 10) + 9 + 4));
    cr_expect(cache.layers[0].tail == cache.states && cache.layers[0].matrix == cache.states + DELTA_TAIL);
    cr_expect_eq(cache.layers[2].tail, cache.states + DELTA_TAIL + DELTA_MATRIX);
    cr_expect(!cache.layers[1].tail && !cache.layers[1].matrix && !cache.layers[3].tail && !cache.layers[2].keys);
    cr_expect_geq(arena.used, (1 + CACHE_CHECKPOINTS) * cache_state_bytes(&c) + CONTEXT * cache_bytes_per_token(&c));
    cr_expect(cache.states_at == 0 && cache.n_checkpoints == 0);
    arena_free(&arena);
}

Test(cache, latents_come_back)
{
    struct layer_config layers[HYBRID_LAYERS];
    struct model_config c = make_hybrid(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    cr_assert_eq(cache.layers[3].latent_width, 13);
    for (int position = 0; position < cache.capacity; position++)
        for (int i = 0; i < 13; i++) cache_latent(&cache.layers[3], position)[i] = (float)(position * 13 + i);
    for (int i = 0; i < cache.capacity * 13; i++) cr_assert_eq(cache.layers[3].latents[i], (float)i);
    arena_free(&arena);
}

/* As a pass does it: states that tell their position. */
static void move_states(struct cache *cache, int at)
{
    for (size_t i = 0; i < cache->state_floats; i++) cache->states[i] = (float)(at * 1000) + (float)i;
    cache->states_at = at;
}

static void expect_states(const struct cache *cache, int at)
{
    cr_expect_eq(cache->states_at, at, "at %d, expected %d", cache->states_at, at);
    for (size_t i = 0; i < cache->state_floats; i++)
        cr_assert_eq(cache->states[i], at ? (float)(at * 1000) + (float)i : 0, "element %zu at %d", i, at);
}

static void expect_checkpoints(const struct cache *cache, int n, const int *at)
{
    cr_expect_eq(cache->n_checkpoints, n);
    unsigned places = 0;
    for (int i = 0; i < CACHE_CHECKPOINTS; i++) places |= 1u << cache->checkpoint[i].place;
    cr_expect_eq(places, (1u << CACHE_CHECKPOINTS) - 1, "no place twice");
    for (int i = 0; i < n; i++) {
        const float *copy = cache->checkpoints + (size_t)cache->checkpoint[i].place * cache->state_floats;
        cr_expect_eq(cache->checkpoint[i].at, at[i], "checkpoint %d is at %d", i, cache->checkpoint[i].at);
        cr_expect_eq(copy[7], (float)(at[i] * 1000 + 7), "contents of checkpoint %d", i);
    }
}

static void checkpoint_at(struct cache *cache, int at)
{
    move_states(cache, at);
    cache_checkpoint(cache);
}

Test(cache, restores_the_last_checkpoint_before)
{
    struct layer_config layers[HYBRID_LAYERS];
    struct model_config c = make_hybrid(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    checkpoint_at(&cache, 10);
    checkpoint_at(&cache, 20);
    cache_checkpoint(&cache); /* there already */
    checkpoint_at(&cache, 30);
    expect_checkpoints(&cache, 3, (const int[]){10, 20, 30});
    cache.states_at = STATES_TORN;
    cache_restore(&cache, 30);
    expect_states(&cache, 30);
    move_states(&cache, 35);
    cache_restore(&cache, 29);
    expect_states(&cache, 20);
    expect_checkpoints(&cache, 2, (const int[]){10, 20});
    checkpoint_at(&cache, 25);
    expect_checkpoints(&cache, 3, (const int[]){10, 20, 25});
    cache_restore(&cache, 24);
    expect_states(&cache, 20);
    cache_restore(&cache, 9);
    expect_states(&cache, 0);
    expect_checkpoints(&cache, 0, NULL);
    checkpoint_at(&cache, 5);
    cache.length = 5;
    cache_clear(&cache);
    expect_states(&cache, 0);
    cr_expect(cache.length == 0 && cache.n_checkpoints == 0);
    arena_free(&arena);
}

Test(cache, the_most_crowded_checkpoint_makes_room)
{
    struct layer_config layers[HYBRID_LAYERS];
    struct model_config c = make_hybrid(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    cr_assert_eq((int)CACHE_CHECKPOINTS, 4, "the numbers below are for four");
    for (int i = 0; i < 4; i++) checkpoint_at(&cache, (const int[]){10, 20, 40, 100}[i]);
    checkpoint_at(&cache, 110); /* between their neighbours lie 20, 30, 80, 70 */
    expect_checkpoints(&cache, 4, (const int[]){20, 40, 100, 110});
    checkpoint_at(&cache, 112); /* 40, 80, 70, 12 */
    expect_checkpoints(&cache, 4, (const int[]){20, 40, 100, 112});
    checkpoint_at(&cache, 180); /* 40, 80, 72, 80 */
    expect_checkpoints(&cache, 4, (const int[]){40, 100, 112, 180});
    cache_restore(&cache, 111);
    expect_states(&cache, 100);
    checkpoint_at(&cache, 101);
    checkpoint_at(&cache, 102);
    expect_checkpoints(&cache, 4, (const int[]){40, 100, 101, 102});
    cache_restore(&cache, 101);
    expect_states(&cache, 101);
    cache_clear(&cache);
    for (int i = 1; i <= 5; i++) checkpoint_at(&cache, 128 * i); /* of equals the earliest */
    expect_checkpoints(&cache, 4, (const int[]){256, 384, 512, 640});
    arena_free(&arena);
}

Test(cache, without_states_nothing_is_kept_or_restored)
{
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    cr_expect(!cache.states && !cache.checkpoints && cache_state_bytes(&c) == 0);
    cache.states_at = 20;
    cache_checkpoint(&cache);
    cr_expect_eq(cache.n_checkpoints, 0);
    cache_restore(&cache, 10);
    cache.length = 20;
    cache_clear(&cache);
    cr_expect_eq(cache.length, 0);
    arena_free(&arena);
}

Test(cache, a_copy_is_equal_and_its_own)
{
    struct layer_config layers[HYBRID_LAYERS];
    struct model_config c = make_hybrid(layers);
    struct cache from = {0}, to = {0};
    struct arena arena = {0}, other = {0};
    make_cache(&from, &arena, &c, CONTEXT);
    make_cache(&to, &other, &c, 3 * CONTEXT);
    checkpoint_at(&to, 3); /* is forgotten */
    for (int position = 0; position < 21; position++) {
        write_all(&from, 1, position);
        for (int i = 0; i < 13; i++) cache_latent(&from.layers[3], position)[i] = (float)(position * 13 + i);
    }
    for (int i = 0; i < 5; i++) checkpoint_at(&from, (const int[]){1, 4, 9, 12, 17}[i]);
    move_states(&from, 21);
    from.length = 21;
    cache_copy(&to, &from);
    memset(from.states, 0, from.state_floats * sizeof *from.states);
    memset(from.checkpoints, 0, CACHE_CHECKPOINTS * from.state_floats * sizeof *from.states);
    memset(from.layers[1].keys, 0, 16 * sizeof(float));
    cr_expect_eq(to.length, 21);
    cr_expect_eq(to.capacity, 112);
    expect_states(&to, 21);
    for (int position = 0; position < 21; position++) expect_all(&to, 1, position);
    for (int i = 0; i < 21 * 13; i++) cr_assert_eq(to.layers[3].latents[i], (float)i);
    expect_checkpoints(&to, 4, (const int[]){4, 9, 12, 17});
    cache_restore(&to, 11);
    expect_states(&to, 9);
    cr_expect_eq(from.n_checkpoints, 4);
    from.length = 0; /* nothing to copy but states */
    cache_copy(&to, &from);
    cr_expect_eq(to.length, 0);
    arena_free(&arena);
    arena_free(&other);
}
