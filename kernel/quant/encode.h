/* What the quantisers share: a block as they see it, and one measurement on which all of them rest.
 *
 * A quantiser looks for the scale d (and the offset b) of a block and for the codes q that minimise
 *
 *     E = sum w(i) r(i)^2      r(i) = x(i) - (d q(i) + b)      q(i) = the code nearest to (x(i) - b) / d
 *
 * The codes jump when d and b change, so there is no closed form for the best. Every quantiser tries some d and b. A
 * trial yields codes, and for these codes the best d and b follow from least squares; so does the error they will have.
 * All sums are over the residuals r of the trial, not over x: they stay accurate when the error is a millionth of the
 * energy of x. The last choice, between numbers rounded as the block stores them, is made by the true error.
 *
 * Vectors of 4 floats (a GNU extension, no intrinsics) fix the order of the sums: the same blocks come out of every
 * compiler and machine. Nothing but + - * /, comparisons and rounding by an addition is used. */
#ifndef QUANT_ENCODE_H
#define QUANT_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/float16.h"

/* Quantisers are written once for all formats of a kind; inlining makes constants of grids and sizes. */
#define ENCODE_INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_int __attribute__((vector_size(16)));
enum { VEC = 4, ENCODE_MAX_VECS = 256 / VEC, ENCODE_MAX_GROUPS = 16 };

/* A block brought to a size at which squares neither overflow nor vanish:
 *
 *     x = (x of the file) / unit     unit is a power of two, 1 <= max |x| <= 2 unless all are zero
 *     w = importance / its own unit  0 < w <= 2; what had none gets very little, so that it still has sensible codes */
struct encode_block {
    vec x[ENCODE_MAX_VECS], w[ENCODE_MAX_VECS];
    float unit, per_unit; /* per_unit = 1 / unit, exactly */
};

/* Numbers beyond 2^30 are cut off: nothing that is a half times codes reaches so far. Kept, the largest scale would
 * vanish beside them, and all codes would do equally badly. */
enum { ENCODE_HALF_EXPONENT = 30, ENCODE_ANY_EXPONENT = 126 };

/* x, importance (may be NULL) [n] to a block with a unit of at most 2^max_exponent; n is a multiple of 8. */
void encode_load(struct encode_block *b, const float *x, const float *importance, size_t n, int max_exponent);

/* The numbers that codes stand for: the whole numbers low..high, or the entries of a table. For a table low..high is
 * cut into cells of equal width, so narrow that only two entries can be the nearest to a number in a cell:
 *
 *     below[cell] < above[cell]     cell = (number - low) * cells_per_unit, rounded down */
struct encode_grid {
    float low, high;
    const float *below, *above; /* [cells]; NULL: whole numbers */
    float cells_per_unit;
};

/* What a trial (d, b) tells. */
struct encode_sums {
    float error;     /* sum w r^2 */
    float code;      /* sum w r q */
    float one;       /* sum w r */
    float code_code; /* sum w q^2 */
    float code_one;  /* sum w q */
};

ENCODE_INLINE vec vec_of(float f) { return (vec){f, f, f, f}; }
ENCODE_INLINE float vec_sum(vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
ENCODE_INLINE vec vec_select(vec_int mask, vec a, vec b) { return (vec)((mask & (vec_int)a) | (~mask & (vec_int)b)); }

/* |f| < 2^22 to the nearest whole number, ties to even: the adder rounds. */
ENCODE_INLINE float round_whole(float f) { return (f + 0x1.8p23f) - 0x1.8p23f; }

ENCODE_INLINE float encode_inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/* The entry of the grid nearest to each t, either one where two are; for NaN the lowest. */
ENCODE_INLINE vec encode_nearest(const struct encode_grid *g, vec t)
{
    vec low = vec_of(g->low), high = vec_of(g->high);
    t = vec_select(t > low, t, low);
    t = vec_select(t < high, t, high);
    if (!g->below) return (t + 0x1.8p23f) - 0x1.8p23f; /* round_whole */
    vec_int cell = __builtin_convertvector((t - low) * g->cells_per_unit, vec_int);
    vec below = {g->below[cell[0]], g->below[cell[1]], g->below[cell[2]], g->below[cell[3]]};
    vec above = {g->above[cell[0]], g->above[cell[1]], g->above[cell[2]], g->above[cell[3]]};
    return vec_select(t - below < above - t, below, above);
}

/* All sums of a trial on x, w [n]. */
ENCODE_INLINE struct encode_sums encode_measure(const struct encode_grid *g, const vec *x, const vec *w, int n, float d,
                                                float b)
{
    vec error = {0}, code = {0}, one = {0}, code_code = {0}, code_one = {0};
    float inverse = encode_inverse(d);
    for (int i = 0; i < n / VEC; i++) {
        vec q = encode_nearest(g, (x[i] - b) * inverse), r = x[i] - (q * d + b), wr = w[i] * r, wq = w[i] * q;
        error += wr * r;
        code += wr * q;
        one += wr;
        code_code += wq * q;
        code_one += wq;
    }
    return (struct encode_sums){vec_sum(error), vec_sum(code), vec_sum(one), vec_sum(code_code), vec_sum(code_one)};
}

/* Its error alone. */
ENCODE_INLINE float encode_error(const struct encode_grid *g, const vec *x, const vec *w, int n, float d, float b)
{
    vec error = {0};
    float inverse = encode_inverse(d);
    for (int i = 0; i < n / VEC; i++) {
        vec r = x[i] - (encode_nearest(g, (x[i] - b) * inverse) * d + b);
        error += w[i] * r * r;
    }
    return vec_sum(error);
}

/* Its codes: q [n] = the entries of the grid, plus `bias`. */
ENCODE_INLINE void encode_codes(const struct encode_grid *g, const vec *x, int n, float d, float b, int bias, int *q)
{
    float inverse = encode_inverse(d);
    for (int i = 0; i < n / VEC; i++) {
        vec_int code = __builtin_convertvector(encode_nearest(g, (x[i] - b) * inverse), vec_int) + bias;
        for (int j = 0; j < VEC; j++) q[i * VEC + j] = code[j];
    }
}

/* The smallest and the largest of x [n]. */
ENCODE_INLINE void encode_range(const vec *x, int n, float *least, float *most)
{
    vec low = x[0], high = x[0];
    for (int i = 1; i < n / VEC; i++) {
        low = vec_select(x[i] < low, x[i], low);
        high = vec_select(x[i] > high, x[i], high);
    }
    *least = low[0];
    *most = high[0];
    for (int j = 1; j < VEC; j++) {
        *least = low[j] < *least ? low[j] : *least;
        *most = high[j] > *most ? high[j] : *most;
    }
}

/* The finite half nearest to f. */
ENCODE_INLINE uint16_t encode_half(float f)
{
    uint16_t h = float_to_fp16(f);
    return (h & 0x7fffu) > 0x7bffu ? (uint16_t)((h & 0x8000u) | 0x7bffu) : h;
}

/* i = 0: h itself, 1: the next half towards zero, 2: away from it. Rounding to the nearest is not always best: small
 * halves have few bits, and the codes follow the scale. */
ENCODE_INLINE uint16_t encode_half_beside(uint16_t h, int i)
{
    unsigned size = h & 0x7fffu;
    if (i == 1 && size > 0) size--;
    if (i == 2 && size < 0x7bffu) size++;
    return (uint16_t)((h & 0x8000u) | size);
}

/* The low 4 bits of q [n] to n / 2 bytes: q(i) | q(i + n / 2). */
ENCODE_INLINE void encode_pack_nibbles(uint8_t *bytes, const int *q, int n)
{
    for (int i = 0; i < n / 2; i++) bytes[i] = (uint8_t)((q[i] & 15) | (q[i + n / 2] & 15) << 4);
}

/* Bit 4 of q [32]: bit i belongs to q(i). */
ENCODE_INLINE uint32_t encode_pack_fifth_bits(const int *q)
{
    uint32_t bits = 0;
    for (int i = 0; i < 32; i++) bits |= ((uint32_t)q[i] >> 4 & 1u) << i;
    return bits;
}

/* One block of each format, anywhere in memory. */
typedef void encode_one(void *block, const float *x, const float *importance);
encode_one encode_q4_0, encode_q5_0, encode_q8_0, encode_iq4_nl, encode_mxfp4, encode_q3_k, encode_q6_k, encode_iq4_xs;
encode_one encode_q4_1, encode_q5_1, encode_q2_k, encode_q4_k, encode_q5_k;

#endif
