/* Activations rounded to 8 bits: what the kernels "q8" read. The same bytes on every instruction set.
 *
 * Each block of 32 columns of a row has one scale: of the block's largest magnitude a, scale = a / 127 and
 * q = x * (127 / a), rounded to even. A block with a below 2^-120 is zero; with NaN or infinity in it the scale is NaN
 * and q is zero, so that every result it reaches is NaN.
 *
 *   q      int8  [n_blocks][m][32]    n_blocks = k / 32
 *   sum    int32 [n_blocks][m]        minus the sum of the block's q: times the zero point of unsigned levels it is
 *                                     what sums of products start from
 *   half   int32 [n_blocks][2][m]     the same of each half of the block, for formats with 16 columns per scale
 *   scale  float [n_blocks][m]
 *
 * Each array begins at a multiple of 64 bytes. */
#ifndef OPS_Q8_H
#define OPS_Q8_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "ops/panel.h"

#define Q8_SMALLEST 0x1p-120f /* largest magnitude below which a block is zero: 127 / a stays finite */

struct q8_rows {
    int8_t *q;
    int32_t *sum, *half;
    float *scale;
    size_t bytes; /* of all four */
    int m, n_blocks;
};

/* The arrays of m rows of k columns, k a multiple of 32, at `base` (NULL: only the sizes). */
static inline struct q8_rows q8_rows_at(const void *base, int m, int k)
{
    struct q8_rows r = {.m = m, .n_blocks = k / Q8_BLOCK};
    const size_t values = (size_t)m * (size_t)r.n_blocks;
    const size_t q = (values * Q8_BLOCK + 63) & ~(size_t)63;
    const size_t sum = (values * sizeof *r.sum + 63) & ~(size_t)63;
    const size_t half = (2 * values * sizeof *r.half + 63) & ~(size_t)63;
    r.bytes = q + sum + half + ((values * sizeof *r.scale + 63) & ~(size_t)63);
    if (!base) return r;
    unsigned char *p = (unsigned char *)base; /* kernels only read through it; pack_x gave it writable */
    r.q = (int8_t *)p;
    r.sum = (int32_t *)(void *)(p + q);
    r.half = (int32_t *)(void *)(p + q + sum);
    r.scale = (float *)(void *)(p + q + sum + half);
    return r;
}

/* Scale and factor of a block whose largest magnitude is `largest`, with these bits (NaN has the largest). */
static inline void q8_block_scale(float largest, uint32_t bits, float *scale, float *inverse)
{
    const uint32_t infinity = 0x7f800000;
    *scale = *inverse = 0.0f;
    if (bits >= infinity) {
        *scale = NAN;
    } else if (largest >= Q8_SMALLEST) {
        *scale = largest / 127.0f;
        *inverse = 127.0f / largest;
    }
}

#endif
