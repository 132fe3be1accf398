/* The primitives of tmpl/q8_tmpl.h on NEON; what they mean is said in x86/vec_q8_avx512vnni.h. A vector of 64 bytes is
 * four registers, of four rows each.
 *
 * Products are of signed bytes. Levels up to 127 are signed bytes as they are, and sums start from minus the zero point
 * times the sum of q. Levels up to 255 have the zero point 128: they are multiplied as level - 128, and sums start from
 * zero.
 *
 * Three kinds of products, by the flags of the file that includes this:
 *   i8mm      smmla: two rows by two tokens, eight columns each. For this the slab holds two groups of 4 columns row by
 *             row; single tokens, which do not come from the slab, are multiplied by sdot
 *   dotprod   sdot: four rows by one token, four columns
 *   neither   smlal: to 16 bits, where products with levels up to 31 fit eight times and up to 63 four times, which are
 *             all of a sub-block. Products with levels up to 255 are widened at once (smull, sadalp) */
#ifndef OPS_ARM_VEC_Q8_NEON_H
#define OPS_ARM_VEC_Q8_NEON_H

#include <stdbool.h>
#include <string.h>

#include "ops/arm/vec_neon.h"
#include "ops/q8.h"
#include "ops/tmpl/unroll.h"

typedef struct {
    uint8x16_t part[4]; /* rows 0..3, 4..7, 8..11, 12..15 */
} q8_bytes;

ALWAYS_INLINE q8_bytes q8_load(const void *p)
{
    const uint8_t *b = p;
    return (q8_bytes){{vld1q_u8(b), vld1q_u8(b + 16), vld1q_u8(b + 32), vld1q_u8(b + 48)}};
}
ALWAYS_INLINE void q8_store(uint8_t *p, q8_bytes a)
{
    UNROLL for (int i = 0; i < 4; i++) vst1q_u8(p + 16 * i, a.part[i]);
}
ALWAYS_INLINE q8_bytes q8_bits(q8_bytes a, int shift, int mask)
{
    UNROLL for (int i = 0; i < 4; i++) {
        if (shift > 0) a.part[i] = a.part[i] >> (uint8_t)shift;
        if (shift < 0) a.part[i] = a.part[i] << (uint8_t)-shift;
        if (shift <= 0 || mask < 255 >> shift) a.part[i] = vandq_u8(a.part[i], vdupq_n_u8((uint8_t)mask));
    }
    return a;
}
ALWAYS_INLINE q8_bytes q8_or_bits(q8_bytes w, q8_bytes a, int shift, int mask)
{
    a = q8_bits(a, shift, mask);
    UNROLL for (int i = 0; i < 4; i++) w.part[i] = vorrq_u8(w.part[i], a.part[i]);
    return w;
}
ALWAYS_INLINE q8_bytes q8_flip_signs(q8_bytes a)
{
    UNROLL for (int i = 0; i < 4; i++) a.part[i] = veorq_u8(a.part[i], vdupq_n_u8(0x80));
    return a;
}
ALWAYS_INLINE q8_bytes q8_lookup(const uint8_t table[16], q8_bytes index)
{
    const uint8x16_t t = vld1q_u8(table);
    UNROLL for (int i = 0; i < 4; i++) index.part[i] = vqtbl1q_u8(t, index.part[i]);
    return index;
}
ALWAYS_INLINE q8_bytes q8_add_bits(q8_bytes w, q8_bytes a, int first, int value)
{
    static const uint8_t row[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    const uint8x16_t byte = vaddq_u8(vld1q_u8(row), vdupq_n_u8((uint8_t)(first / 8))); /* the one with the bits */
    const uint8x16_t bit = vreinterpretq_u8_u32(vdupq_n_u32(0x08040201u << first % 8));
    UNROLL for (int i = 0; i < 4; i++) {
        const uint8x16_t set = vtstq_u8(vqtbl1q_u8(a.part[i], byte), bit);
        w.part[i] = vorrq_u8(w.part[i], vandq_u8(set, vdupq_n_u8((uint8_t)value)));
    }
    return w;
}
ALWAYS_INLINE q8_bytes q8_widen_halves(const void *p)
{
    const unsigned char *halves = p;
    q8_bytes w;
    UNROLL for (int i = 0; i < 4; i++)
        w.part[i] = vreinterpretq_u8_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(halves + 8 * i))));
    return w;
}
ALWAYS_INLINE vec16 q8_field(q8_bytes a, int shift, int mask)
{
    vec16 f;
    UNROLL for (int i = 0; i < 4; i++) {
        const uint32x4_t bits = vreinterpretq_u32_u8(a.part[i]) >> (uint32_t)shift;
        f.part[i] = vcvtq_f32_u32(vandq_u32(bits, vdupq_n_u32((uint32_t)mask)));
    }
    return f;
}
ALWAYS_INLINE vec16 q8_byte(q8_bytes a, int i) { return q8_field(a, 8 * i, 255); }

/* 2^(e - 128) of four numbers e. The two smallest are subnormal: 2^-128 and 2^-127. */
ALWAYS_INLINE float32x4_t q8_half_powers_part(uint32x4_t e)
{
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t small = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), small, normal));
}
ALWAYS_INLINE vec16 q8_half_powers(const unsigned char *p)
{
    const uint8x16_t e = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(e)), high = vmovl_u8(vget_high_u8(e));
    return (vec16){
        {q8_half_powers_part(vmovl_u16(vget_low_u16(low))), q8_half_powers_part(vmovl_u16(vget_high_u16(low))),
         q8_half_powers_part(vmovl_u16(vget_low_u16(high))), q8_half_powers_part(vmovl_u16(vget_high_u16(high)))}};
}

/* (float)*p in all lanes. */
ALWAYS_INLINE vec16 q8_broadcast_count(const int32_t *p) { return vec16_broadcast((float)*p); }

enum { Q8_PLANES = 1, Q8_BYTE_SHIFT = 7 }; /* the zero point of levels that need all 8 bits, as a power of two */

/* Levels as signed bytes. */
ALWAYS_INLINE q8_bytes q8_signed(q8_bytes w, int max) { return max > INT8_MAX ? q8_flip_signs(w) : w; }

/* Minus the zero point of signed levels times each of the sums of q. */
ALWAYS_INLINE int32x4_t q8_start(int32x4_t zero, int shift)
{
    return shift < 0 || shift == Q8_BYTE_SHIFT ? vdupq_n_s32(0) : zero << shift;
}

#ifdef __ARM_FEATURE_DOTPROD

typedef struct {
    int32x4_t part[4];
} q8_sum;

ALWAYS_INLINE q8_sum q8_begin(const int32_t *zero, int shift)
{
    const int32x4_t start = q8_start(vdupq_n_s32(*zero), shift);
    return (q8_sum){{start, start, start, start}};
}
ALWAYS_INLINE q8_sum q8_step(q8_sum sum, q8_bytes w, const int8_t *q, int i, int max)
{
    (void)i;
    uint32_t four;
    memcpy(&four, q, sizeof four);
    const int8x8_t lane = vcreate_s8(four);
    w = q8_signed(w, max);
    UNROLL for (int p = 0; p < 4; p++)
        sum.part[p] = vdotq_lane_s32(sum.part[p], vreinterpretq_s8_u8(w.part[p]), lane, 0);
    return sum;
}
ALWAYS_INLINE vec16 q8_end(q8_sum sum, const int32_t *zero, int shift, int n, int max)
{
    (void)zero, (void)shift, (void)n, (void)max;
    vec16 dot;
    UNROLL for (int p = 0; p < 4; p++) dot.part[p] = vcvtq_f32_s32(sum.part[p]);
    return dot;
}

#else

/* 16-bit sums of every fourth column, two rows a register; of levels that do not fit, 32-bit sums of every second
 * column. */
typedef struct {
    int16x8_t rows[8];
} q8_sum;

/* sum + pairs of products, in 32 bits. */
ALWAYS_INLINE int16x8_t q8_add_pairs(int16x8_t sum, int16x8_t products)
{
    return vreinterpretq_s16_s32(vpadalq_s16(vreinterpretq_s32_s16(sum), products));
}

ALWAYS_INLINE q8_sum q8_begin(const int32_t *zero, int shift)
{
    (void)zero, (void)shift;
    q8_sum sum;
    UNROLL for (int i = 0; i < 8; i++) sum.rows[i] = vdupq_n_s16(0);
    return sum;
}
/* sum + signed levels times four q. */
ALWAYS_INLINE q8_sum q8_multiply(q8_sum sum, q8_bytes w, const int8_t *q, int max)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    const int8x16_t all = vreinterpretq_s8_s32(vdupq_n_s32(four));
    const int8x8_t half = vget_low_s8(all);
    UNROLL for (int p = 0; p < 4; p++) {
        const int8x16_t s = vreinterpretq_s8_u8(w.part[p]);
        int16x8_t *low = &sum.rows[2 * p], *high = low + 1;
        if (max > INT8_MAX) {
            *low = q8_add_pairs(*low, vmull_s8(vget_low_s8(s), half));
            *high = q8_add_pairs(*high, vmull_high_s8(s, all));
        } else {
            *low = vmlal_s8(*low, vget_low_s8(s), half);
            *high = vmlal_high_s8(*high, s, all);
        }
    }
    return sum;
}
ALWAYS_INLINE q8_sum q8_step(q8_sum sum, q8_bytes w, const int8_t *q, int i, int max)
{
    (void)i;
    return q8_multiply(sum, q8_signed(w, max), q, max);
}
ALWAYS_INLINE int32x4_t q8_two_columns(int16x8_t rows, int max)
{
    return max > INT8_MAX ? vreinterpretq_s32_s16(rows) : vpaddlq_s16(rows);
}
ALWAYS_INLINE vec16 q8_end(q8_sum sum, const int32_t *zero, int shift, int n, int max)
{
    (void)n;
    const int32x4_t start = q8_start(vdupq_n_s32(*zero), shift);
    vec16 dot;
    UNROLL for (int p = 0; p < 4; p++) {
        const int32x4_t low = q8_two_columns(sum.rows[2 * p], max), high = q8_two_columns(sum.rows[2 * p + 1], max);
        dot.part[p] = vcvtq_f32_s32(vaddq_s32(vpaddq_s32(low, high), start));
    }
    return dot;
}

#endif

#ifdef __ARM_FEATURE_MATMUL_INT8

/* Register i of the two groups: eight columns of row 2 i, eight of row 2 i + 1. */
ALWAYS_INLINE void q8_store_levels(uint8_t *to, q8_bytes w, q8_bytes next, int shift, int max)
{
    (void)shift;
    w = q8_signed(w, max);
    next = q8_signed(next, max);
    UNROLL for (int p = 0; p < 4; p++) {
        const uint32x4_t a = vreinterpretq_u32_u8(w.part[p]), b = vreinterpretq_u32_u8(next.part[p]);
        vst1q_u8(to + 32 * p, vreinterpretq_u8_u32(vzip1q_u32(a, b)));
        vst1q_u8(to + 32 * p + 16, vreinterpretq_u8_u32(vzip2q_u32(a, b)));
    }
}

/* Of a row and of the next, two tokens each. The last of an odd number of tokens is taken twice. */
ALWAYS_INLINE void q8_dot_tile(vec16 *dot, const uint8_t *levels, int n, const int8_t *q, int n_t, const int32_t *zero,
                               int shift, int max)
{
    (void)max;
    const int n_pairs = (n_t + 1) / 2;
    int32x4_t sum[4][8];
    UNROLL for (int u = 0; u < n_pairs; u++) {
        const int32x2_t two = 2 * u + 1 < n_t ? vld1_s32(zero + 2 * u) : vdup_n_s32(zero[2 * u]);
        const int32x4_t start = q8_start(vcombine_s32(two, two), shift);
        UNROLL for (int i = 0; i < 8; i++) sum[u][i] = start;
    }
    UNROLL for (int g = 0; g < n; g += 2) {
        int8x16_t eight[4];
        UNROLL for (int u = 0; u < n_pairs; u++) {
            const int8_t *first = q + 2 * u * Q8_BLOCK + 4 * g;
            eight[u] = vcombine_s8(vld1_s8(first), vld1_s8(2 * u + 1 < n_t ? first + Q8_BLOCK : first));
        }
        UNROLL for (int i = 0; i < 8; i++) {
            const int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(levels + g * 64 + i * 16));
            UNROLL for (int u = 0; u < n_pairs; u++) sum[u][i] = vmmlaq_s32(sum[u][i], w, eight[u]);
        }
    }
    UNROLL for (int t = 0; t < n_t; t++) {
        UNROLL for (int p = 0; p < 4; p++) {
            const int32x4_t a = sum[t / 2][2 * p], b = sum[t / 2][2 * p + 1];
            dot[t].part[p] = vcvtq_f32_s32(t % 2 ? vuzp2q_s32(a, b) : vuzp1q_s32(a, b));
        }
    }
}

#else

ALWAYS_INLINE void q8_store_levels(uint8_t *to, q8_bytes w, q8_bytes next, int shift, int max)
{
    (void)shift;
    q8_store(to, q8_signed(w, max));
    q8_store(to + 64, q8_signed(next, max));
}

#ifdef __ARM_FEATURE_DOTPROD

ALWAYS_INLINE int32x4_t q8_dot_lane(int32x4_t sum, int8x16_t w, int8x16_t q, int lane)
{
    switch (lane) { /* the intrinsic wants a number */
    case 0: return vdotq_laneq_s32(sum, w, q, 0);
    case 1: return vdotq_laneq_s32(sum, w, q, 1);
    case 2: return vdotq_laneq_s32(sum, w, q, 2);
    default: return vdotq_laneq_s32(sum, w, q, 3);
    }
}

ALWAYS_INLINE void q8_dot_tile(vec16 *dot, const uint8_t *levels, int n, const int8_t *q, int n_t, const int32_t *zero,
                               int shift, int max)
{
    q8_sum sum[8];
    int8x16_t sixteen[8];
    UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_begin(zero + t, shift);
    UNROLL for (int g = 0; g < n; g++) {
        if (g % 4 == 0) {
            UNROLL for (int t = 0; t < n_t; t++) sixteen[t] = vld1q_s8(q + t * Q8_BLOCK + 4 * g);
        }
        UNROLL for (int p = 0; p < 4; p++) {
            const int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(levels + g * 64 + p * 16));
            UNROLL for (int t = 0; t < n_t; t++) sum[t].part[p] = q8_dot_lane(sum[t].part[p], w, sixteen[t], g % 4);
        }
    }
    UNROLL for (int t = 0; t < n_t; t++) dot[t] = q8_end(sum[t], zero + t, shift, n, max);
}

#else

ALWAYS_INLINE void q8_dot_tile(vec16 *dot, const uint8_t *levels, int n, const int8_t *q, int n_t, const int32_t *zero,
                               int shift, int max)
{
    q8_sum sum[8];
    UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_begin(zero + t, shift);
    UNROLL for (int g = 0; g < n; g++) {
        const q8_bytes w = q8_load(levels + g * 64);
        UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_multiply(sum[t], w, q + t * Q8_BLOCK + 4 * g, max);
    }
    UNROLL for (int t = 0; t < n_t; t++) dot[t] = q8_end(sum[t], zero + t, shift, n, max);
}

#endif
#endif

/* Rounds n_blocks * 32 floats to q; half[i]: minus the sum of each 16 q (q8.h). */
ALWAYS_INLINE void q8_round_blocks(int8_t *q, int32_t *half, float *scale, const float *x, int n_blocks)
{
    for (int b = 0; b < n_blocks; b++, x += 32, q += 32, half += 2) {
        uint32x4_t most = vdupq_n_u32(0);
        for (int i = 0; i < 8; i++)
            most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + 4 * i)), vdupq_n_u32(0x7fffffff)));
        const uint32_t bits = vmaxvq_u32(most);
        float largest, inverse;
        memcpy(&largest, &bits, sizeof largest);
        q8_block_scale(largest, bits, &scale[b], &inverse);
        for (int i = 0; i < 2; i++) {
            int16x4_t r[4];
            UNROLL for (int j = 0; j < 4; j++)
                r[j] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 16 * i + 4 * j), inverse)));
            int8x16_t sixteen = vcombine_s8(vmovn_s16(vcombine_s16(r[0], r[1])), vmovn_s16(vcombine_s16(r[2], r[3])));
            if (inverse == 0.0f) sixteen = vdupq_n_s8(0);
            vst1q_s8(q + 16 * i, sixteen);
            half[i] = -vaddlvq_s8(sixteen);
        }
    }
}

#endif
