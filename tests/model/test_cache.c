/* The cache: every key and value comes back from where the attention kernels look for it, and states from their
 * checkpoints. */
#include "model/cache.h"

#include <criterion/criterion.h>
#include <math.h>
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

static void make_typed(struct cache *cache, struct arena *arena, const struct model_config *c, int n_context,
                       enum dtype type)
{
    cache_carve(cache, c, n_context, type, arena);
    cr_expect_null(cache->layers, "the measure pass carves nothing");
    size_t measured = arena->used;
    cr_assert(arena_commit(arena, false));
    cache_carve(cache, c, n_context, type, arena);
    cr_assert_eq(arena->used, measured);
    cr_assert(!arena->overflow);
}

static void make_cache(struct cache *cache, struct arena *arena, const struct model_config *c, int n_context)
{
    make_typed(cache, arena, c, n_context, DTYPE_F32);
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
        const float *panel = (const void *)cache_keys(layer, head, position - position % KEY_PANEL);
        const float *value = (const void *)cache_values(layer, head, position);
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
    cr_expect_eq(((const float *)(const void *)cache_keys(&cache.layers[0], 1, 0))[7], 99);
    cr_expect_eq(((const float *)(const void *)cache_values(&cache.layers[0], 1, 7))[9], 98);
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
        cache_carve(&cache, &c, contexts[i][0], DTYPE_F32, &arena);
        cr_expect_eq(cache.capacity, contexts[i][1]);
    }
}

Test(cache, bytes_per_token_count_keys_and_values_of_all_layers)
{
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    static const struct {
        enum dtype type;
        uint64_t bytes;
    } types[] = {{DTYPE_F32, 4 * (3 * (10 + 10) + 24 + 20)},
                 {DTYPE_F16, 2 * (3 * (10 + 10) + 24 + 20)},
                 {DTYPE_BF16, 2 * (3 * (10 + 10) + 24 + 20)},
                 {DTYPE_Q8_0, 3 * (12 + 34) + 26 + 34}}; /* blocks of values are whole */
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const uint64_t bytes = cache_bytes_per_token(&c, types[i].type);
        struct cache cache = {0};
        struct arena arena = {0};
        cr_expect_eq(bytes, types[i].bytes);
        cache_carve(&cache, &c, 4096, types[i].type, &arena);
        cr_expect_geq(arena.used, 4096 * bytes);
        cr_expect_leq(arena.used, 4096 * bytes + 4096);
    }
}

Test(cache, sizes_beyond_the_machine_are_refused)
{
    struct layer_config layers[LAYERS];
    struct model_config c = make_config(layers);
    layers[0].mixer = (struct mixer){.n_kv_heads = 1024, .head_dim = 1024, .v_head_dim = 1024};
    struct cache cache = {0};
    struct arena arena = {.used = SIZE_MAX - ((size_t)1 << 40)}; /* as if much had been carved before */
    cache_carve(&cache, &c, 1 << 24, DTYPE_F32, &arena);
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
    cr_expect_eq(cache_bytes_per_token(&c, DTYPE_F32), sizeof(float) * (2 * (12 + 10) + 9 + 4));
    cr_expect(cache.layers[0].tail == cache.states && cache.layers[0].matrix == cache.states + DELTA_TAIL);
    cr_expect_eq(cache.layers[2].tail, cache.states + DELTA_TAIL + DELTA_MATRIX);
    cr_expect(!cache.layers[1].tail && !cache.layers[1].matrix && !cache.layers[3].tail && !cache.layers[2].keys);
    cr_expect_geq(arena.used,
                  (1 + CACHE_CHECKPOINTS) * cache_state_bytes(&c) + CONTEXT * cache_bytes_per_token(&c, DTYPE_F32));
    cr_expect(cache.states_at == 0 && cache.n_checkpoints == 0);
    arena_free(&arena);
}

/* Writes a row that tells its position. */
static void write_latent(const struct cache *cache, int position)
{
    float row[13];
    for (int i = 0; i < 13; i++) row[i] = (float)(position * 13 + i);
    cache_write_latent(&cache->layers[3], position, row);
}

static const float *latents(const struct cache *cache) { return (const void *)cache_latent(&cache->layers[3], 0); }

Test(cache, latents_come_back)
{
    struct layer_config layers[HYBRID_LAYERS];
    struct model_config c = make_hybrid(layers);
    struct cache cache = {0};
    struct arena arena = {0};
    make_cache(&cache, &arena, &c, CONTEXT);
    cr_assert_eq(cache.layers[3].latent_width, 13);
    for (int position = 0; position < cache.capacity; position++) write_latent(&cache, position);
    for (int i = 0; i < cache.capacity * 13; i++) cr_assert_eq(latents(&cache)[i], (float)i);
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
        write_latent(&from, position);
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
    for (int i = 0; i < 21 * 13; i++) cr_assert_eq(latents(&to)[i], (float)i);
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

/* ---- types ------------------------------------------------------------------------------------------------------- */

static struct ops ops_init_scalar(void)
{
    struct ops ops;
    ops_init(&ops, 0);
    return ops;
}

static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0};

/* What attention reads of a key written alone, as its scalar form sees it: element d through a score. */
static float read_key(const struct cache_layer *layer, int kv_head, int position, int d)
{
    float q[32] = {0}, scratch[8192], out[64], max, sum;
    q[d] = 1;
    ops_init_scalar().attention(
        &(struct attention_block){.q = q,
                                  .k = cache_keys(layer, kv_head, position - position % KEY_PANEL),
                                  .k_type = layer->type,
                                  .v = cache_values(layer, kv_head, position - position % KEY_PANEL),
                                  .v_stride = layer->value_bytes,
                                  .v_type = layer->type,
                                  .n_rows = 1,
                                  .group = 1,
                                  .head_dim = layer->head_dim,
                                  .v_head_dim = layer->v_head_dim,
                                  .position = position % KEY_PANEL,
                                  .window = 1,
                                  .scale = 1,
                                  .scratch = scratch,
                                  .out = out,
                                  .out_stride = 64,
                                  .max = &max,
                                  .sum = &sum});
    return max;
}

/* `largest`: of the numbers that share a scale. */
static void expect_rounded(enum dtype type, float got, float wanted, double largest)
{
    const double x = fabs((double)wanted);
    /* of q8_0: half a step of largest / 127, whose scale is a half, so within 1/2048 */
    const double step = type == DTYPE_F32    ? 0
                        : type == DTYPE_F16  ? x * 0x1p-11 + 0x1p-25
                        : type == DTYPE_BF16 ? x * 0x1p-8
                                             : largest / 127 * 0.505 + 0x1p-25;
    cr_expect_leq(fabs((double)got - (double)wanted), step, "type %d: %g became %g", (int)type, (double)wanted,
                  (double)got);
}

/* Large values, small ones, zeros: what comes back is as close as the type allows. */
Test(cache, every_type_rounds_as_it_should)
{
    for (int t = 0; t < 4; t++)
        for (int round = 0; round < 4; round++) {
            struct layer_config layers[LAYERS];
            struct model_config c = make_config(layers);
            struct cache cache = {0};
            struct arena arena = {0};
            make_typed(&cache, &arena, &c, CONTEXT, types[t]);
            const struct cache_layer *layer = &cache.layers[1];
            float key[24], value[20], y[20];
            for (int d = 0; d < 24; d++) key[d] = (float)((d * 7 + 3) % 24 - 11) * (round == 1 ? 1e-3f : 0.3f);
            for (int d = 0; d < 20; d++) value[d] = key[d] * (round == 3 ? 1e4f : 2.0f);
            if (round == 2) memset(key, 0, sizeof key), memset(value, 0, sizeof value);
            cache_write(layer, 0, 21, key, value);
            ops_init_scalar().widen(y, cache_values(layer, 0, 21), types[t], 20);
            for (int d = 0; d < 24; d++)
                expect_rounded(types[t], read_key(layer, 0, 21, d), key[d], round == 1 ? 0.012 : 3.6);
            for (int d = 0; d < 20; d++)
                expect_rounded(types[t], y[d], value[d], round == 1 ? 0.024 : round == 3 ? 3.6e4 : 7.2);
            arena_free(&arena);
        }
}

Test(cache, what_is_too_large_for_a_half_saturates_and_nan_stays_nan)
{
    for (int t = 0; t < 4; t++) {
        struct layer_config layers[LAYERS];
        struct model_config c = make_config(layers);
        struct cache cache = {0};
        struct arena arena = {0};
        make_typed(&cache, &arena, &c, CONTEXT, types[t]);
        const float key[24] = {[0] = INFINITY, -1e30f, 1}, value[20] = {[3] = NAN, 1};
        float y[20];
        cache_write(&cache.layers[1], 0, 5, key, value);
        ops_init_scalar().widen(y, cache_values(&cache.layers[1], 0, 5), types[t], 20);
        cr_expect(isnan(y[3]), "type %d", t);
        const float first = read_key(&cache.layers[1], 0, 5, 0), second = read_key(&cache.layers[1], 0, 5, 1);
        if (t == 1) cr_expect(first == 65504 && second == -65504, "%g, %g", (double)first, (double)second);
        if (t == 3) cr_expect(first == 65504.0f * 127 && second == -first, "%g, %g", (double)first, (double)second);
        arena_free(&arena);
    }
}

Test(cache, copies_of_every_type_are_equal)
{
    for (int t = 0; t < 4; t++) {
        struct layer_config layers[HYBRID_LAYERS];
        struct model_config c = make_hybrid(layers);
        struct cache from = {0}, to = {0};
        struct arena arena = {0}, other = {0};
        make_typed(&from, &arena, &c, CONTEXT, types[t]);
        make_typed(&to, &other, &c, 3 * CONTEXT, types[t]);
        for (int position = 0; position < 21; position++) {
            write_all(&from, 1, position);
            write_latent(&from, position);
        }
        from.length = 21;
        cache_copy(&to, &from);
        for (int head = 0; head < 2; head++) {
            cr_expect_arr_eq(cache_keys(&to.layers[1], head, 16), cache_keys(&from.layers[1], head, 16),
                             from.layers[1].panel_bytes);
            cr_expect_arr_eq(cache_values(&to.layers[1], head, 20), cache_values(&from.layers[1], head, 20),
                             from.layers[1].value_bytes);
        }
        cr_expect_arr_eq(cache_latent(&to.layers[3], 20), cache_latent(&from.layers[3], 20),
                         from.layers[3].latent_bytes);
        arena_free(&arena);
        arena_free(&other);
    }
}

Test(cache, types_have_words_and_follow_the_weights)
{
    enum dtype t;
    cr_expect(cache_type_from_word("f32", &t) && t == DTYPE_F32);
    cr_expect(cache_type_from_word("f16", &t) && t == DTYPE_F16);
    cr_expect(cache_type_from_word("bf16", &t) && t == DTYPE_BF16);
    cr_expect(cache_type_from_word("q8_0", &t) && t == DTYPE_Q8_0);
    cr_expect(!cache_type_from_word("q4_0", &t) && !cache_type_from_word("", &t) && !cache_type_from_word("half", &t));
    cr_expect_eq(cache_default_type(DTYPE_F32), DTYPE_F32);
    cr_expect_eq(cache_default_type(DTYPE_BF16), DTYPE_BF16);
    cr_expect_eq(cache_default_type(DTYPE_F16), DTYPE_F16);
    cr_expect_eq(cache_default_type(DTYPE_Q4_K), DTYPE_F16);
}
