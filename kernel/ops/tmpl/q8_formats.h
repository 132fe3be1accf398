/* What the units of each layout <format>_r16 hold (panel.h draws them, quant/blocks.h the fields), written once over
 * the primitives of a vec_q8_<isa>.h:
 *
 *   <format>_level(unit, n, b, g)    the unsigned levels of columns 4 g .. 4 g + 3, g = 0..7, of block b of the n
 *                                    blocks (32 columns each) of the unit; 16 rows of 4 bytes
 *   <format>_scales(scale, offset, unit, n)   per sub-block of the unit one vector of 16 rows: an element stands for
 *                                    scale * (level - zero) - offset; `offset` is only written by formats that have
 *                                    it, the zero point is the shift in q8_tmpl.h */
#ifndef OPS_TMPL_Q8_FORMATS_H
#define OPS_TMPL_Q8_FORMATS_H

#include "ops/r16.h"
#include "ops/tmpl/unroll.h"

enum {
    Q8_ROWS = 16,
    Q8_VECTOR = 64,          /* bytes: one group of 4 columns */
    Q8_HALVES = 2 * Q8_ROWS, /* bytes of one half per row */
    Q8_QUADS = 4 * Q8_ROWS,  /* bytes of four bytes per row */
    Q8_GROUPS = 8,           /* of 4 columns in a block of 32 */
};

static const uint8_t q8_curve[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                     129, 141, 153, 166, 181, 197, 217, 241};                      /* + 128 */
static const uint8_t q8_e2m1[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4}; /* + 16 */

/* ---- 32 elements, one scale: the fields of all n blocks of a unit lie side by side ------------------------------- */

/* Byte j of a block's q: element j in the low bits, j + 16 in the high ones. */
ALWAYS_INLINE q8_bytes q8_nibble(const unsigned char *q, int b, int g)
{
    return q8_bits(q8_load(q + (b * 4 + g % 4) * Q8_VECTOR), g / 4 * 4, 15);
}

/* Bit i of a row's 32: the fifth bit of element i. */
ALWAYS_INLINE q8_bytes q8_add_fifth_bit(q8_bytes w, const unsigned char *high, int b, int g)
{
    return q8_add_bits(w, q8_load(high + b * Q8_QUADS), 4 * g, 16);
}

ALWAYS_INLINE void q8_half_scales(float *scale, const unsigned char *d, int n)
{
    for (int b = 0; b < n; b++) vec16_store(scale + b * Q8_ROWS, vec16_load_fp16((const void *)(d + b * Q8_HALVES)));
}

ALWAYS_INLINE void q8_half_offsets(float *offset, const unsigned char *m, int n)
{
    for (int b = 0; b < n; b++)
        vec16_store(offset + b * Q8_ROWS, vec16_neg(vec16_load_fp16((const void *)(m + b * Q8_HALVES))));
}

ALWAYS_INLINE q8_bytes q4_0_level(const unsigned char *unit, int n, int b, int g)
{
    return q8_nibble(unit + n * Q8_HALVES, b, g);
}
ALWAYS_INLINE void q4_0_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset;
    q8_half_scales(scale, unit, n);
}

ALWAYS_INLINE q8_bytes q4_1_level(const unsigned char *unit, int n, int b, int g)
{
    return q8_nibble(unit + n * 2 * Q8_HALVES, b, g);
}
ALWAYS_INLINE void q4_1_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    q8_half_scales(scale, unit, n);
    q8_half_offsets(offset, unit + n * Q8_HALVES, n);
}

ALWAYS_INLINE q8_bytes q5_0_level(const unsigned char *unit, int n, int b, int g)
{
    const unsigned char *high = unit + n * Q8_HALVES;
    return q8_add_fifth_bit(q8_nibble(high + n * Q8_QUADS, b, g), high, b, g);
}
ALWAYS_INLINE void q5_0_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset;
    q8_half_scales(scale, unit, n);
}

ALWAYS_INLINE q8_bytes q5_1_level(const unsigned char *unit, int n, int b, int g)
{
    const unsigned char *high = unit + n * 2 * Q8_HALVES;
    return q8_add_fifth_bit(q8_nibble(high + n * Q8_QUADS, b, g), high, b, g);
}
ALWAYS_INLINE void q5_1_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    q4_1_scales(scale, offset, unit, n);
}

ALWAYS_INLINE q8_bytes q8_0_level(const unsigned char *unit, int n, int b, int g)
{
    return q8_load(unit + n * Q8_HALVES + (b * Q8_GROUPS + g) * Q8_VECTOR);
}
ALWAYS_INLINE void q8_0_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset;
    q8_half_scales(scale, unit, n);
}

ALWAYS_INLINE q8_bytes iq4_nl_level(const unsigned char *unit, int n, int b, int g)
{
    return q8_lookup(q8_curve, q8_nibble(unit + n * Q8_HALVES, b, g));
}
ALWAYS_INLINE void iq4_nl_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset;
    q8_half_scales(scale, unit, n);
}

ALWAYS_INLINE q8_bytes mxfp4_level(const unsigned char *unit, int n, int b, int g)
{
    return q8_lookup(q8_e2m1, q8_nibble(unit + n * Q8_ROWS, b, g));
}
ALWAYS_INLINE void mxfp4_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset;
    for (int b = 0; b < n; b++) vec16_store(scale + b * Q8_ROWS, q8_half_powers(unit + b * Q8_ROWS));
}

/* ---- 256 elements ------------------------------------------------------------------------------------------------ */

/* scale[first + i] = d * byte i of `small`, i = 0..3. */
ALWAYS_INLINE void q8_four_scales(float *scale, int first, vec16 d, q8_bytes small)
{
    UNROLL for (int i = 0; i < 4; i++) vec16_store(scale + (first + i) * Q8_ROWS, vec16_mul(d, q8_byte(small, i)));
}

/* The same of signed bytes that lie `zero` too high. */
ALWAYS_INLINE void q8_four_signed_scales(float *scale, int first, vec16 d, q8_bytes small, float zero)
{
    UNROLL for (int i = 0; i < 4; i++)
        vec16_store(scale + (first + i) * Q8_ROWS, vec16_mul(d, vec16_sub(q8_byte(small, i), vec16_broadcast(zero))));
}

/* Q4_K and Q5_K: 6 bits each for 8 scales and 8 offsets. */
ALWAYS_INLINE void q4_k_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)n;
    const vec16 d = vec16_load_fp16((const void *)unit);
    const vec16 dmin = vec16_load_fp16((const void *)(unit + Q8_HALVES));
    const unsigned char *packed = unit + 2 * Q8_HALVES;
    const q8_bytes a = q8_load(packed), b = q8_load(packed + Q8_QUADS), c = q8_load(packed + 2 * Q8_QUADS);
    q8_four_scales(scale, 0, d, q8_bits(a, 0, 63));
    q8_four_scales(scale, 4, d, q8_or_bits(q8_bits(c, 0, 15), a, 2, 48));
    q8_four_scales(offset, 0, dmin, q8_bits(b, 0, 63));
    q8_four_scales(offset, 4, dmin, q8_or_bits(q8_bits(c, 4, 15), b, 2, 48));
}

/* Byte 32 c + j of q holds elements 64 c + j and 64 c + 32 + j. */
ALWAYS_INLINE q8_bytes q4_k_level(const unsigned char *unit, int n, int b, int g)
{
    (void)n;
    const unsigned char *q = unit + 2 * Q8_HALVES + 3 * Q8_QUADS;
    return q8_bits(q8_load(q + (b / 2 * Q8_GROUPS + g) * Q8_VECTOR), b % 2 * 4, 15);
}

/* Levels of 2, 3, 5 or 6 bits, as r16_bits.h draws them. */
ALWAYS_INLINE q8_bytes q8_packed_level(const unsigned char *levels, int bits, int b, int g)
{
    const unsigned char *v = levels + b * bits * Q8_VECTOR;
    if (bits == 2) return q8_bits(q8_load(v + g / 4 * Q8_VECTOR), g % 4 * 2, 3);
    if (bits == 3) {
        if (g < 6) return q8_bits(q8_load(v + g / 2 * Q8_VECTOR), g % 2 * 3, 7);
        return q8_or_bits(q8_bits(q8_load(v + (g - 6) * Q8_VECTOR), 6, 3), q8_load(v + 2 * Q8_VECTOR), g - 2, 4);
    }
    if (bits == 5) {
        if (g < 5) return q8_bits(q8_load(v + g * Q8_VECTOR), 0, 31);
        const q8_bytes low = q8_bits(q8_load(v + (g - 5) * Q8_VECTOR), 5, 7);
        const q8_bytes v3 = q8_load(v + 3 * Q8_VECTOR), v4 = q8_load(v + 4 * Q8_VECTOR);
        return g < 7 ? q8_or_bits(low, g == 5 ? v3 : v4, 2, 24) : q8_or_bits(q8_or_bits(low, v3, 4, 8), v4, 3, 16);
    }
    v += g / 4 * 3 * Q8_VECTOR;
    if (g % 4 < 3) return q8_bits(q8_load(v + g % 4 * Q8_VECTOR), 0, 63);
    const q8_bytes low = q8_or_bits(q8_bits(q8_load(v), 6, 3), q8_load(v + Q8_VECTOR), 4, 12);
    return q8_or_bits(low, q8_load(v + 2 * Q8_VECTOR), 2, 48);
}

ALWAYS_INLINE q8_bytes q5_k_level(const unsigned char *unit, int n, int b, int g)
{
    (void)n;
    return q8_packed_level(unit + R16_LEVELS_AT(struct block_q5_k, 5), 5, b, g);
}
ALWAYS_INLINE void q5_k_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    q4_k_scales(scale, offset, unit, n);
}

ALWAYS_INLINE q8_bytes q6_k_level(const unsigned char *unit, int n, int b, int g)
{
    (void)n;
    return q8_packed_level(unit + R16_LEVELS_AT(struct block_q6_k, 6), 6, b, g);
}
ALWAYS_INLINE void q6_k_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset, (void)n;
    const vec16 d = vec16_load_fp16((const void *)(unit + 4 * Q8_QUADS));
    for (int i = 0; i < 4; i++)
        q8_four_signed_scales(scale, 4 * i, d, q8_flip_signs(q8_load(unit + i * Q8_QUADS)), 128);
}

ALWAYS_INLINE q8_bytes q2_k_level(const unsigned char *unit, int n, int b, int g)
{
    (void)n;
    return q8_packed_level(unit + R16_LEVELS_AT(struct block_q2_k, 2), 2, b, g);
}
ALWAYS_INLINE void q2_k_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)n;
    const unsigned char *last = unit + 4 * Q8_QUADS;
    const vec16 d = vec16_load_fp16((const void *)last), dmin = vec16_load_fp16((const void *)(last + Q8_HALVES));
    for (int i = 0; i < 4; i++) {
        const q8_bytes both = q8_load(unit + i * Q8_QUADS);
        q8_four_scales(scale, 4 * i, d, q8_bits(both, 0, 15));
        q8_four_scales(offset, 4 * i, dmin, q8_bits(both, 4, 15));
    }
}

ALWAYS_INLINE q8_bytes q3_k_level(const unsigned char *unit, int n, int b, int g)
{
    (void)n;
    return q8_packed_level(unit + R16_LEVELS_AT(struct block_q3_k, 3), 3, b, g);
}
ALWAYS_INLINE void q3_k_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset, (void)n;
    const vec16 d = vec16_load_fp16((const void *)(unit + 3 * Q8_QUADS));
    const q8_bytes a = q8_load(unit), b = q8_load(unit + Q8_QUADS), top = q8_load(unit + 2 * Q8_QUADS);
    UNROLL for (int i = 0; i < 4; i++) q8_four_signed_scales(
        scale, 4 * i, d, q8_or_bits(q8_bits(i % 2 ? b : a, i / 2 * 4, 15), top, 2 * i - 4, 3 << 4), 32);
}

ALWAYS_INLINE q8_bytes iq4_xs_level(const unsigned char *unit, int n, int b, int g)
{
    (void)n;
    return q8_lookup(q8_curve, q8_nibble(unit + 2 * Q8_HALVES + Q8_QUADS, b, g));
}
/* Bits 2 g .. of the half are the high bits of scale g; its low bits are nibble g of the four bytes. */
ALWAYS_INLINE void iq4_xs_scales(float *scale, float *offset, const unsigned char *unit, int n)
{
    (void)offset, (void)n;
    const vec16 d = vec16_load_fp16((const void *)unit);
    const q8_bytes top = q8_widen_halves(unit + Q8_HALVES), low = q8_load(unit + 2 * Q8_HALVES);
    UNROLL for (int g = 0; g < 8; g++) {
        const vec16 bits = q8_field(low, 4 * g, 15), high = q8_field(top, 2 * g, 3);
        const vec16 small = vec16_sub(vec16_fma(high, vec16_broadcast(16), bits), vec16_broadcast(32));
        vec16_store(scale + g * Q8_ROWS, vec16_mul(d, small));
    }
}

#endif
