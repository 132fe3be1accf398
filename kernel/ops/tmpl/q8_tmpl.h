/* Weight products with 8-bit activations over the layouts <format>_r16, written once for all formats. The order of
 * sums is that of scalar/matmul_q8.c, so the bits are.
 *
 * A file of an instruction set includes its vec_q8_<isa>.h, defines MATMUL_ISA, MATMUL_NEEDS, Q8_FEW with the list
 * Q8_FEWS, for a slab also Q8_DIRECT, Q8_TILE_TOKENS and Q8_TILES, and includes this file, which makes
 * kernel_<format>_r16_q8_<isa> for every line of r16.inc.
 *
 * Sums of levels times q are exact integers, so only the float steps have an order: in each block of 32 columns one
 * multiply-add per sub-block with the weights' scale, then one with the activations'. So there are two float steps for
 * 8 integer steps, which bounds a machine that does one of either at a time to 80 % of its integer peak. One scale of
 * activations per 128 columns moves the bound to 88 % (84 % were measured), and was measured to cost four times the
 * divergence.
 *
 * The levels go from memory through registers into the products, for at most Q8_FEW tokens at a time. For more than
 * Q8_DIRECT(kind) tokens, where that is defined, they go by way of a slab (q8_slab.h). */
#ifndef OPS_TMPL_Q8_TMPL_H
#define OPS_TMPL_Q8_TMPL_H

#include "ops/assume.h"
#include "ops/file_kernel.h"
#include "ops/q8.h"
#include "ops/r16.h"
#include "ops/tmpl/q8_formats.h"
#include "ops/tmpl/unroll.h"
#include "ops/variants.h"

#define Q8_JOIN_(a, b) a##b
#define Q8_JOIN(a, b)  Q8_JOIN_(a, b)
#define Q8_STRING_(a)  #a
#define Q8_STRING(a)   Q8_STRING_(a)

enum {
    Q8_MAX_BLOCKS = 8,                      /* of 32 columns in a unit */
    Q8_MAX_SUBS = 2 * Q8_MAX_BLOCKS,        /* sub-blocks of 16 columns in a unit */
    Q8_AT_ONCE = 4,                         /* blocks of activations that are rounded together */
    Q8_AHEAD = 4096,                        /* bytes between what several tokens multiply and what is fetched */
};

/* What the instructions must know of a format: columns per scale, whether there are offsets, the zero point as a power
 * of two (-1: levels count from zero), the largest level. */
struct q8_kind {
    int sub;
    bool offset;
    int shift, max;
};

/* ---- packing ----------------------------------------------------------------------------------------------------- */

static size_t q8_x_bytes(int m, int k) { return q8_rows_at(NULL, m, k).bytes; }

static void q8_pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1)
{
    const struct q8_rows to = q8_rows_at(dst, m, k);
    for (int t = 0; t < m; t++) {
        const float *row = x + (rows ? rows[t] : t) * ldx;
        for (int i = k0, n_blocks; i < k1; i += n_blocks * Q8_BLOCK, row += n_blocks * Q8_BLOCK) {
            int8_t q[Q8_AT_ONCE * Q8_BLOCK];
            int32_t half[2 * Q8_AT_ONCE];
            float scale[Q8_AT_ONCE];
            n_blocks = (k1 - i) / Q8_BLOCK < Q8_AT_ONCE ? (k1 - i) / Q8_BLOCK : Q8_AT_ONCE;
            q8_round_blocks(q, half, scale, row, n_blocks);
            for (int b = 0; b < n_blocks; b++) {
                const ptrdiff_t at = (ptrdiff_t)(i / Q8_BLOCK + b) * m;
                memcpy(to.q + (at + t) * Q8_BLOCK, q + b * Q8_BLOCK, Q8_BLOCK);
                to.scale[at + t] = scale[b];
                to.half[2 * at + t] = half[2 * b];
                to.half[2 * at + m + t] = half[2 * b + 1];
                to.sum[at + t] = half[2 * b] + half[2 * b + 1];
            }
        }
    }
}

/* ---- sub-blocks -------------------------------------------------------------------------------------------------- */

/* Minus the sums of q of sub-block h of a block, of all tokens; a block has `parts` of them. */
ALWAYS_INLINE const int32_t *q8_zero(const struct q8_rows *x, ptrdiff_t block, int m, int parts, int h)
{
    return parts == 1 ? x->sum + block * m : x->half + (2 * block + h) * m;
}

/* sub += what a sub-block adds to it, whose sums of products are `dot`. */
ALWAYS_INLINE void q8_add_sub(vec16 *sub, const vec16 *dot, int n_t, const float *scale, const float *offset,
                              const int32_t *zero, struct q8_kind kind)
{
    const vec16 s = vec16_load(scale);
    UNROLL for (int t = 0; t < n_t; t++) sub[t] = vec16_fma(dot[t], s, sub[t]);
    if (!kind.offset) return;
    const vec16 o = vec16_load(offset);
    UNROLL for (int t = 0; t < n_t; t++) sub[t] = vec16_fma(q8_broadcast_count(zero + t), o, sub[t]);
}

/* total += sub * the scale of each token: a block is complete. */
ALWAYS_INLINE void q8_add_block(vec16 *total, const vec16 *sub, int n_t, const float *scale)
{
    UNROLL for (int t = 0; t < n_t; t++) total[t] = vec16_fma(sub[t], vec16_broadcast(scale[t]), total[t]);
}

#ifdef Q8_DIRECT
#include "ops/tmpl/q8_slab.h"
#else
#define Q8_KIND_TILES(name)
#define SLAB_KERNEL(id, unit_columns, kind)
#define RUN_SLAB(id, kind, y, ldy, panel, x, scratch) ((void)(scratch), false)
enum { Q8_SLAB_BYTES = 0, Q8_MOST_TOKENS = Q8_FEW };
#endif

static size_t q8_scratch_bytes(int k)
{
    (void)k;
    return Q8_SLAB_BYTES;
}

#define Q8_KIND(name, columns, has_offset, zero_shift, largest)                    \
    static const struct q8_kind name = {columns, has_offset, zero_shift, largest}; \
    Q8_KIND_TILES(name)

Q8_KIND(nibbles_less_8, 32, false, 3, 15)
Q8_KIND(levels_less_16, 32, false, 4, 31)
Q8_KIND(codes_less_16, 32, false, 4, 28)
Q8_KIND(bytes_less_128, 32, false, 7, 255)
Q8_KIND(nibbles_offset, 32, true, -1, 15)
Q8_KIND(five_bits_offset, 32, true, -1, 31)
Q8_KIND(two_bits_offset, 16, true, -1, 3)
Q8_KIND(three_bits_less_4, 16, false, 2, 7)
Q8_KIND(six_bits_less_32, 16, false, 5, 63)

/* ---- the kernels ------------------------------------------------------------------------------------------------- */

/* At a block of `bytes` bytes, fetches its share of what comes later: for several tokens into L1; for a single one into
 * L2, and only where many scales stand between levels (Q6_K reads 27 GB/s with it, 22 without), because elsewhere the
 * processor's own prefetching does better (Q5_K 28 with it, 32 without). Several tokens read too slowly for that. */
ALWAYS_INLINE void q8_fetch(const unsigned char *at, size_t bytes, struct q8_kind kind, bool single)
{
    if (!single) {
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + Q8_AHEAD + i, 0, 3);
    } else if (kind.sub != Q8_BLOCK) {
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + 3 * bytes + i, 0, 2);
    }
}

/* What is fetched into L2 while a panel is read several times, for Q8_FEW tokens each time: the panel behind it, an
 * equal part each time. So reading memory and multiplying overlap, where fetching just ahead would read memory at full
 * speed the first time and not at all the other times. */
struct q8_next {
    const unsigned char *at; /* NULL: nothing */
    size_t step;             /* bytes per block */
};

/* At a block: the lines that begin in its share. */
ALWAYS_INLINE struct q8_next q8_fetch_next(struct q8_next next)
{
    const unsigned char *end = next.at + next.step;
    for (const unsigned char *line = next.at + (-(uintptr_t)next.at & 63); line < end; line += 64)
        __builtin_prefetch(line, 0, 2);
    return (struct q8_next){end, next.step};
}

/* Tokens from t on. */
static struct q8_rows q8_rows_from(const struct q8_rows *x, int t)
{
    struct q8_rows part = *x;
    part.q += t * Q8_BLOCK;
    part.sum += t;
    part.half += t;
    part.scale += t;
    return part;
}

typedef void q8_few_function(float *y, ptrdiff_t ldy, const unsigned char *unit, const struct q8_rows *x,
                             struct q8_next next);

/* Q8_FEWS(X, id): X(id, n) for n = 1 .. Q8_FEW. */
#define Q8_FEW_TOKENS(id, n_t)                                                                              \
    static void id##_few_##n_t(float *y, ptrdiff_t ldy, const unsigned char *unit, const struct q8_rows *x, \
                               struct q8_next next)                                                         \
    {                                                                                                       \
        id##_few(y, ldy, unit, x, next, n_t);                                                               \
    }
#define Q8_FEW_NAME(id, n_t) id##_few_##n_t,

/* The order in which the groups of a sub-block of 8 are decoded: two that may lie in the same bytes together. */
ALWAYS_INLINE int q8_order(int i, int n) { return n == Q8_GROUPS ? i / 2 + i % 2 * 4 : i; }

/* FORMAT_KERNEL(format, columns of a unit, its kind) */
#define FORMAT_KERNEL(id, unit_columns, kind)                                                                          \
    enum {                                                                                                             \
        id##_unit_blocks = (unit_columns) / Q8_BLOCK,                                                                  \
        id##_block_bytes = Q8_ROWS * sizeof(struct block_##id) / ((unit_columns) == 256 ? id##_unit_blocks : 1),       \
        id##_at_once = (unit_columns) / 128 /* two blocks of 256 columns may share bytes: shifts differ */             \
    };                                                                                                                 \
    /* total[t] += what block b of the unit, `block` of the row, adds to all n_t tokens. */                            \
    ALWAYS_INLINE void id##_add_block(vec16 *total, const unsigned char *unit, int n, int b, const struct q8_rows *x,  \
                                      int block, int n_t, const float *scale, const float *offset)                     \
    {                                                                                                                  \
        vec16 sub[Q8_FEW];                                                                                             \
        UNROLL for (int t = 0; t < n_t; t++) sub[t] = vec16_broadcast(0.0f);                                           \
        const int parts = Q8_BLOCK / kind.sub, n_groups = Q8_GROUPS / parts;                                           \
        const int8_t *q = x->q + (ptrdiff_t)block * x->m * Q8_BLOCK;                                                   \
        UNROLL for (int h = 0; h < parts; h++) {                                                                       \
            const int32_t *zero = q8_zero(x, block, x->m, parts, h);                                                   \
            const int at = (b * parts + h) * Q8_ROWS;                                                                  \
            q8_sum sum[Q8_FEW];                                                                                        \
            vec16 dot[Q8_FEW];                                                                                         \
            UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_begin(zero + t, kind.shift);                              \
            UNROLL for (int i = 0; i < n_groups; i++) {                                                                \
                const int g = h * n_groups + q8_order(i, n_groups);                                                    \
                const q8_bytes w = id##_level(unit, n, b, g);                                                          \
                UNROLL for (int t = 0; t < n_t; t++)                                                                   \
                    sum[t] = q8_step(sum[t], w, q + t * Q8_BLOCK + 4 * g, i, kind.max);                                \
            }                                                                                                          \
            UNROLL for (int t = 0; t < n_t; t++) dot[t] = q8_end(sum[t], zero + t, kind.shift, n_groups, kind.max);    \
            q8_add_sub(sub, dot, n_t, scale + at, offset + at, zero, kind);                                            \
        }                                                                                                              \
        q8_add_block(total, sub, n_t, x->scale + (ptrdiff_t)block * x->m);                                             \
    }                                                                                                                  \
    /* The first n_t tokens of x, at most Q8_FEW, one panel. */                                                        \
    ALWAYS_INLINE void id##_few(float *y, ptrdiff_t ldy, const unsigned char *unit, const struct q8_rows *x,           \
                                struct q8_next next, int n_t)                                                          \
    {                                                                                                                  \
        float scale[Q8_MAX_SUBS * Q8_ROWS], offset[Q8_MAX_SUBS * Q8_ROWS];                                             \
        vec16 total[Q8_FEW];                                                                                           \
        UNROLL for (int t = 0; t < n_t; t++) total[t] = vec16_broadcast(0.0f);                                         \
        for (int block = 0, n; block < x->n_blocks; block += n) {                                                      \
            n = x->n_blocks - block < id##_unit_blocks ? x->n_blocks - block : id##_unit_blocks;                       \
            const size_t bytes = r16_unit_bytes(sizeof(struct block_##id), (unit_columns) == 256 ? 1 : n);             \
            id##_scales(scale, offset, unit, n);                                                                       \
            for (int b = 0; b < n; b += id##_at_once) {                                                                \
                UNROLL for (int i = 0; i < id##_at_once; i++) {                                                        \
                    if (next.at) {                                                                                     \
                        next = q8_fetch_next(next);                                                                    \
                    } else {                                                                                           \
                        q8_fetch(unit + (b + i) * id##_block_bytes, id##_block_bytes, kind, n_t == 1);                 \
                    }                                                                                                  \
                    id##_add_block(total, unit, n, b + i, x, block + b + i, n_t, scale, offset);                       \
                }                                                                                                      \
            }                                                                                                          \
            unit += bytes;                                                                                             \
        }                                                                                                              \
        UNROLL for (int t = 0; t < n_t; t++) vec16_store(y + t * ldy, total[t]);                                       \
    }                                                                                                                  \
    Q8_FEWS(Q8_FEW_TOKENS, id)                                                                                         \
    static q8_few_function *const id##_fews[Q8_FEW + 1] = {NULL, Q8_FEWS(Q8_FEW_NAME, id)};                            \
    /* All tokens, one panel; behind it lies another one to be multiplied, or not. */                                  \
    static void id##_run_few(float *y, ptrdiff_t ldy, const unsigned char *panel, size_t panel_bytes, bool is_last,    \
                             const struct q8_rows *x)                                                                  \
    {                                                                                                                  \
        const int n_parts = (x->m + Q8_FEW - 1) / Q8_FEW;                                                              \
        for (int i = 0, t = 0, n; i < n_parts; i++, t += n) {                                                          \
            const struct q8_rows part = q8_rows_from(x, t);                                                            \
            struct q8_next next = {NULL, id##_block_bytes / (size_t)n_parts + 1};                                      \
            n = x->m / n_parts + (i < x->m % n_parts);                                                                 \
            if (n_parts > 1 && !is_last) next.at = panel + panel_bytes + (size_t)i * panel_bytes / (size_t)n_parts;    \
            id##_fews[n](y + t * ldy, ldy, panel, &part, next);                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    SLAB_KERNEL(id, unit_columns, kind)                                                                                \
    static void id##_run(float *y, ptrdiff_t ldy, const void *w, const void *packed, int row0, int row1, int m, int k, \
                         void *scratch)                                                                                \
    {                                                                                                                  \
        ASSUME(row0 >= 0 && row0 % Q8_ROWS == 0 && row1 % Q8_ROWS == 0 && m >= 1 && k % Q8_BLOCK == 0);                \
        const struct q8_rows x = q8_rows_at(packed, m, k);                                                             \
        const size_t panel_bytes = layout_##id##_r16.packed_bytes(Q8_ROWS, k);                                         \
        const unsigned char *panel = (const unsigned char *)w + (size_t)(row0 / Q8_ROWS) * panel_bytes;                \
        for (int row = row0; row < row1; row += Q8_ROWS, panel += panel_bytes) {                                       \
            if (!RUN_SLAB(id, kind, y + row, ldy, panel, &x, scratch))                                                 \
                id##_run_few(y + row, ldy, panel, panel_bytes, row + Q8_ROWS == row1, &x);                             \
        }                                                                                                              \
    }                                                                                                                  \
    const struct panel_kernel Q8_JOIN(kernel_##id##_r16_q8_, MATMUL_ISA) = {                                           \
        .name = #id "_r16_q8_" Q8_STRING(MATMUL_ISA),                                                                  \
        .needs = MATMUL_NEEDS,                                                                                         \
        .layout = &layout_##id##_r16,                                                                                  \
        .m_min = 1,                                                                                                    \
        .m_tile = Q8_MOST_TOKENS,                                                                                      \
        .exact = true,                                                                                                 \
        .peak = PEAK_INT8,                                                                                             \
        .x_bytes = q8_x_bytes,                                                                                         \
        .pack_x = q8_pack_x,                                                                                           \
        .scratch_bytes = q8_scratch_bytes,                                                                             \
        .run = id##_run,                                                                                               \
    };

FORMAT_KERNEL(q4_0, 128, nibbles_less_8)
FORMAT_KERNEL(q4_1, 128, nibbles_offset)
FORMAT_KERNEL(q5_0, 128, levels_less_16)
FORMAT_KERNEL(q5_1, 128, five_bits_offset)
FORMAT_KERNEL(q8_0, 128, bytes_less_128)
FORMAT_KERNEL(q2_k, 256, two_bits_offset)
FORMAT_KERNEL(q3_k, 256, three_bits_less_4)
FORMAT_KERNEL(q4_k, 256, nibbles_offset)
FORMAT_KERNEL(q5_k, 256, five_bits_offset)
FORMAT_KERNEL(q6_k, 256, six_bits_less_32)
FORMAT_KERNEL(iq4_nl, 128, bytes_less_128)
FORMAT_KERNEL(iq4_xs, 256, bytes_less_128)
FORMAT_KERNEL(mxfp4, 128, codes_less_16)

/* The same for blocks in the order of their file. */
#define R16(id, type, elements)                                                                                      \
    FILE_KERNEL(id, id##_r16, Q8_JOIN(q8_, MATMUL_ISA), .needs = MATMUL_NEEDS, .m_min = 1, .m_tile = Q8_MOST_TOKENS, \
                .exact = true, .peak = PEAK_INT8, .x_bytes = q8_x_bytes, .pack_x = q8_pack_x)
#include "ops/r16.inc"

#endif
