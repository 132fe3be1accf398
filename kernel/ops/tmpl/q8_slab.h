/* Products with many tokens by way of a slab, for instruction sets on which levels are dear: the levels of one unit (2
 * or 4 KiB) and its scales are written to scratch once and used for up to Q8_CHUNK tokens, in tiles of up to
 * Q8_TILE_TOKENS whose sums stay in registers. Everything of one unit lies in L1: levels, scales, activations, totals.
 * A part of q8_tmpl.h. */
#ifndef OPS_TMPL_Q8_SLAB_H
#define OPS_TMPL_Q8_SLAB_H

enum {
    Q8_CHUNK = 64,                          /* tokens that share decoded levels */
    Q8_BLOCK_BYTES = Q8_GROUPS * Q8_VECTOR, /* levels of one block */
};

/* A decoded unit, and the running results of one panel. Aligned as the scratch is. */
struct q8_slab {
    uint8_t levels[Q8_PLANES * Q8_MAX_BLOCKS * Q8_BLOCK_BYTES];
    float scale[Q8_MAX_SUBS * Q8_ROWS], offset[Q8_MAX_SUBS * Q8_ROWS];
    float total[Q8_CHUNK * Q8_ROWS];
};

enum { Q8_SLAB_BYTES = sizeof(struct q8_slab), Q8_MOST_TOKENS = Q8_TILE_TOKENS };

/* total += the unit's share, for n_t tokens from t0 on. */
ALWAYS_INLINE void q8_tile(float *total, const struct q8_slab *slab, const struct q8_rows *x, int block, int n_blocks,
                           int t0, int n_t, struct q8_kind kind)
{
    const int parts = Q8_BLOCK / kind.sub, n = Q8_GROUPS / parts;
    const uint8_t *levels = slab->levels;
    const float *scale = slab->scale, *offset = slab->offset;
    vec16 sum[Q8_TILE_TOKENS];
    UNROLL for (int t = 0; t < n_t; t++) sum[t] = vec16_load(total + t * Q8_ROWS);
    for (int end = block + n_blocks; block < end; block++) {
        const ptrdiff_t at = (ptrdiff_t)block * x->m + t0;
        vec16 sub[Q8_TILE_TOKENS];
        UNROLL for (int t = 0; t < n_t; t++) sub[t] = vec16_broadcast(0.0f);
        UNROLL for (int h = 0; h < parts; h++) {
            const int32_t *zero = q8_zero(x, block, x->m, parts, h) + t0;
            vec16 dot[Q8_TILE_TOKENS];
            q8_dot_tile(dot, levels + h * n * Q8_VECTOR, n, x->q + at * Q8_BLOCK + h * kind.sub, n_t, zero, kind.shift,
                        kind.max);
            q8_add_sub(sub, dot, n_t, scale + h * Q8_ROWS, offset + h * Q8_ROWS, zero, kind);
        }
        q8_add_block(sum, sub, n_t, x->scale + at);
        levels += Q8_BLOCK_BYTES;
        scale += parts * Q8_ROWS;
        offset += parts * Q8_ROWS;
    }
    UNROLL for (int t = 0; t < n_t; t++) vec16_store(total + t * Q8_ROWS, sum[t]);
}

typedef void q8_tile_function(float *total, const struct q8_slab *slab, const struct q8_rows *x, int block,
                              int n_blocks, int t0);

#define Q8_TILE(kind_name, n_t)                                                                                     \
    static void kind_name##_tile_##n_t(float *total, const struct q8_slab *slab, const struct q8_rows *x, int block, \
                                       int n_blocks, int t0)                                                        \
    {                                                                                                               \
        q8_tile(total, slab, x, block, n_blocks, t0, n_t, kind_name);                                               \
    }

/* Q8_TILES(X, kind): X(kind, n) for n = 1 .. Q8_TILE_TOKENS, from the file of the instruction set. */
#define Q8_KIND_TILES(name)    \
    Q8_TILES(Q8_TILE, name)    \
    static q8_tile_function *const name##_tiles[Q8_TILE_TOKENS + 1] = {NULL, Q8_TILES(Q8_TILE_NAME, name)};
#define Q8_TILE_NAME(kind_name, n_t) kind_name##_tile_##n_t,

/* Tokens t0 .. t1 of one unit, in tiles of nearly equal width. */
static void q8_tiles(struct q8_slab *slab, const struct q8_rows *x, int block, int n_blocks, int t0, int t1,
                     q8_tile_function *const *tiles)
{
    const int n = t1 - t0, n_tiles = (n + Q8_TILE_TOKENS - 1) / Q8_TILE_TOKENS;
    for (int i = 0, t = t0; i < n_tiles; i++) {
        const int width = n / n_tiles + (i < n % n_tiles);
        tiles[width](slab->total + (t - t0) * Q8_ROWS, slab, x, block, n_blocks, t);
        t += width;
    }
}

#define SLAB_KERNEL(id, unit_columns, kind)                                                                            \
    /* Levels of block b to the slab. */                                                                               \
    ALWAYS_INLINE void id##_keep(struct q8_slab *slab, const unsigned char *unit, int n, int b)                        \
    {                                                                                                                  \
        UNROLL for (int g = 0; g < Q8_GROUPS; g += 2)                                                                  \
            q8_store_levels(slab->levels + b * Q8_BLOCK_BYTES + g * Q8_VECTOR, id##_level(unit, n, b, g),              \
                            id##_level(unit, n, b, g + 1), kind.shift, kind.max);                                      \
    }                                                                                                                  \
    /* Tokens t0 .. t1, one panel; totals are left in the slab. */                                                     \
    static void id##_many(struct q8_slab *slab, const unsigned char *unit, const struct q8_rows *x, int t0, int t1)    \
    {                                                                                                                  \
        memset(slab->total, 0, (size_t)(t1 - t0) * Q8_ROWS * sizeof(float));                                           \
        for (int block = 0, n; block < x->n_blocks; block += n) {                                                      \
            n = x->n_blocks - block < id##_unit_blocks ? x->n_blocks - block : id##_unit_blocks;                       \
            const size_t bytes = r16_unit_bytes(sizeof(struct block_##id), (unit_columns) == 256 ? 1 : n);             \
            id##_scales(slab->scale, slab->offset, unit, n);                                                           \
            for (int b = 0; b < n; b += id##_at_once) {                                                                \
                UNROLL for (int i = 0; i < id##_at_once; i++) {                                                        \
                    q8_fetch(unit + (b + i) * id##_block_bytes, id##_block_bytes, kind, false);                        \
                    id##_keep(slab, unit, n, b + i);                                                                   \
                }                                                                                                      \
            }                                                                                                          \
            q8_tiles(slab, x, block, n, t0, t1, kind##_tiles);                                                         \
            unit += bytes;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    /* All tokens, one panel. */                                                                                       \
    static bool id##_run_slab(float *y, ptrdiff_t ldy, const unsigned char *panel, const struct q8_rows *x,            \
                              void *scratch)                                                                           \
    {                                                                                                                  \
        struct q8_slab *slab = scratch;                                                                                \
        for (int t0 = 0, t1; t0 < x->m; t0 = t1) {                                                                     \
            t1 = x->m - t0 < Q8_CHUNK ? x->m : t0 + Q8_CHUNK;                                                          \
            id##_many(slab, panel, x, t0, t1);                                                                         \
            for (int t = t0; t < t1; t++) vec16_store(y + t * ldy, vec16_load(slab->total + (t - t0) * Q8_ROWS));      \
        }                                                                                                              \
        return true;                                                                                                   \
    }
/* False: there are too few tokens. */
#define RUN_SLAB(id, kind, y, ldy, panel, x, scratch) \
    ((x)->m > Q8_DIRECT(kind) && id##_run_slab(y, ldy, panel, x, scratch))

#endif
