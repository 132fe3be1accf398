/* The weight product with activations rounded to 8 bits, in plain C: the order of sums that all kernels "q8"
 * reproduce. For row r of the weights and token t, with levels, scales and offsets of quant/levels.h:
 *
 *     total = 0
 *     for each block of 32 columns:
 *         sub = 0
 *         for each sub-block of the block (the whole, or its halves):
 *             sub = fma(sum of level * q, scale of the sub-block, sub)        the sum of integers is exact
 *             sub = fma(sum of q, offset of the sub-block, sub)               only in formats with offsets
 *         total = fma(sub, scale of the block of activations, total)
 *     y = total
 *
 * So a row's result depends on nothing but the row, the token and k. */
#include <math.h>
#include <string.h>

#include "base/float16.h"
#include "ops/assume.h"
#include "ops/file_kernel.h"
#include "ops/q8.h"
#include "ops/r16.h"
#include "ops/variants.h"
#include "quant/levels.h"

static size_t x_bytes(int m, int k) { return q8_rows_at(NULL, m, k).bytes; }

/* q = the block x rounded; returns its scale. */
static float round_block(int8_t q[Q8_BLOCK], const float x[Q8_BLOCK])
{
    uint32_t bits = 0; /* of the largest magnitude; NaN is larger than infinity */
    for (int i = 0; i < Q8_BLOCK; i++) {
        uint32_t magnitude = float_bits(x[i]) & 0x7fffffffu;
        if (magnitude > bits) bits = magnitude;
    }
    const float largest = bits_float(bits);
    memset(q, 0, Q8_BLOCK);
    if (bits >= 0x7f800000u) return NAN;
    if (largest < Q8_SMALLEST) return 0.0f;
    const float inverse = 127.0f / largest;
    for (int i = 0; i < Q8_BLOCK; i++) q[i] = (int8_t)lrintf(x[i] * inverse);
    return largest / 127.0f;
}

static int sum_of(const int8_t *q, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) sum += q[i];
    return sum;
}

static void pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1)
{
    ASSUME(k % Q8_BLOCK == 0 && k0 % Q8_BLOCK == 0 && k1 % Q8_BLOCK == 0);
    const struct q8_rows to = q8_rows_at(dst, m, k);
    for (int t = 0; t < m; t++) {
        const float *row = x + (rows ? rows[t] : t) * ldx; /* column k0 */
        for (int block = k0 / Q8_BLOCK; block < k1 / Q8_BLOCK; block++, row += Q8_BLOCK) {
            const ptrdiff_t at = (ptrdiff_t)block * m;
            int8_t *q = to.q + (at + t) * Q8_BLOCK;
            to.scale[at + t] = round_block(q, row);
            const int first = sum_of(q, Q8_BLOCK / 2), second = sum_of(q + Q8_BLOCK / 2, Q8_BLOCK / 2);
            to.sum[at + t] = -(first + second);
            to.half[2 * at + t] = -first;
            to.half[2 * at + m + t] = -second;
        }
    }
}

/* One row of weights: levels [k], scales and offsets [k / columns]. */
struct row_levels {
    struct levels_info info;
    int8_t *level;
    float *scale, *offset;
};

enum { MIN_COLUMNS = 16 }; /* of a sub-block */

static size_t scratch_bytes(int k) { return (size_t)k + 2 * (size_t)(k / MIN_COLUMNS) * sizeof(float); }

/* The arrays in a scratch; floats first. */
static struct row_levels row_levels_at(void *scratch, enum dtype format, int k)
{
    float *scale = scratch, *offset = scale + k / MIN_COLUMNS;
    return (struct row_levels){quant_levels_info(format), (int8_t *)(offset + k / MIN_COLUMNS), scale, offset};
}

static void read_row(const struct row_levels *to, enum dtype format, const unsigned char *panel, int row, int k)
{
    const int elements = dtype_info(format)->elements_per_block, n_subs = elements / to->info.columns;
    for (int b = 0; b < k / elements; b++) {
        unsigned char block[DTYPE_MAX_BLOCK_BYTES];
        struct block_levels levels;
        r16_get_block(format, block, panel, row, b, k);
        quant_levels(format, &levels, block);
        memcpy(to->level + (ptrdiff_t)b * elements, levels.level, (size_t)elements);
        memcpy(to->scale + (ptrdiff_t)b * n_subs, levels.scale, (size_t)n_subs * sizeof(float));
        if (to->info.has_offset)
            memcpy(to->offset + (ptrdiff_t)b * n_subs, levels.offset, (size_t)n_subs * sizeof(float));
    }
}

/* The row times token t of x. */
static float dot(const struct row_levels *w, const struct q8_rows *x, int t, int k)
{
    float total = 0.0f;
    for (int block = 0; block < k / Q8_BLOCK; block++) {
        const ptrdiff_t place = (ptrdiff_t)block * x->m + t;
        float sub = 0.0f;
        for (int at = block * Q8_BLOCK; at < (block + 1) * Q8_BLOCK; at += w->info.columns) {
            const int8_t *q = x->q + place * Q8_BLOCK + at % Q8_BLOCK;
            int sum = 0;
            for (int i = 0; i < w->info.columns; i++) sum += w->level[at + i] * q[i];
            sub = fmaf((float)sum, w->scale[at / w->info.columns], sub);
            if (w->info.has_offset) sub = fmaf((float)sum_of(q, w->info.columns), w->offset[at / w->info.columns], sub);
        }
        total = fmaf(sub, x->scale[place], total);
    }
    return total;
}

static void run(enum dtype format, float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m,
                int k, void *scratch)
{
    ASSUME(row0 >= 0 && row0 % R16_ROWS == 0 && row1 % R16_ROWS == 0 && m >= 1 && k >= 1 && k % Q8_BLOCK == 0);
    const struct dtype_info *info = dtype_info(format);
    const size_t panel_bytes = r16_panel_bytes(info->elements_per_block, info->bytes_per_block, k);
    const struct q8_rows rows = q8_rows_at(x, m, k);
    const struct row_levels levels = row_levels_at(scratch, format, k);
    for (int r = row0; r < row1; r++) {
        read_row(&levels, format, (const unsigned char *)w + (size_t)(r / R16_ROWS) * panel_bytes, r % R16_ROWS, k);
        for (int t = 0; t < m; t++) y[t * ldy + r] = dot(&levels, &rows, t, k);
    }
}

#define COMMON .m_min = 1, .m_tile = 1, .exact = true, .peak = PEAK_INT8, .x_bytes = x_bytes, .pack_x = pack_x
#define R16(id, type, elements)                                                                                   \
    static void run_##id(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k, \
                         void *scratch)                                                                           \
    {                                                                                                             \
        run(DTYPE_##type, y, ldy, w, x, row0, row1, m, k, scratch);                                               \
    }                                                                                                             \
    const struct panel_kernel kernel_##id##_r16_q8_scalar = {                                                     \
        .name = #id "_r16_q8_scalar",                                                                             \
        .layout = &layout_##id##_r16,                                                                             \
        .scratch_bytes = scratch_bytes,                                                                           \
        .run = run_##id,                                                                                          \
        COMMON,                                                                                                   \
    };                                                                                                            \
    FILE_KERNEL(id, id##_r16, q8_scalar, COMMON)
#include "ops/r16.inc"
