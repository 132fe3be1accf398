/* The exponential function, our own: libm's differs between machines by the last bit. tmpl/exp_tmpl.h does the same
 * operations on 16 lanes, and a test compares every bit.
 *
 *   x = n ln2 + r, |r| <= ln2 / 2    (Cody and Waite 1980: ln2 in two parts, so that r is exact to the last bit)
 *   exp(x) = 2^n (1 + r + r^2 (c2 + c3 r + ... + c6 r^4))
 *
 * The polynomial is a minimax fit with a relative error of 4.3e-9, a seventh of half an ulp; rounding brings the whole
 * to less than 2 ulp, subnormal results included. */
#ifndef OPS_SCALAR_EXP_H
#define OPS_SCALAR_EXP_H

#include <math.h>

#include "base/float16.h"

#define EXP_MIN -104.0f /* below, the result is less than half the smallest subnormal */
#define EXP_MAX 89.0f   /* above, it is infinite */
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HIGH 0x1.62e43p-1f
#define EXP_LN2_LOW -0x1.05c61p-29f
/* 1.5 * 2^23: a float of this size has no fraction, so adding it rounds to the nearest integer, ties to even, and
 * leaves that integer in the low bits. */
#define EXP_ROUND 12582912.0f
#define EXP_C2 0x1.fffffep-2f
#define EXP_C3 0x1.55547ep-3f
#define EXP_C4 0x1.55563ap-5f
#define EXP_C5 0x1.12472ap-7f
#define EXP_C6 0x1.6c3514p-10f

/* 2^n for a normal result. */
static inline float power_of_two(int n) { return bits_float((uint32_t)(n + 127) << 23); }

/* The parts of exp(x) = 2^n (1 + r + r^2 p): returns p; *rounded is EXP_ROUND + n. */
static inline float exp_parts(float x, float *rounded, float *r)
{
    *rounded = fmaf(x, EXP_LOG2E, EXP_ROUND);
    float n = *rounded - EXP_ROUND;
    *r = fmaf(n, -EXP_LN2_LOW, fmaf(n, -EXP_LN2_HIGH, x));
    float p = fmaf(*r, EXP_C6, EXP_C5);
    p = fmaf(p, *r, EXP_C4);
    p = fmaf(p, *r, EXP_C3);
    return fmaf(p, *r, EXP_C2);
}

/* n of EXP_ROUND + n. */
static inline int exp_power(float rounded) { return (int)(float_bits(rounded) - float_bits(EXP_ROUND)); }

/* -infinity gives 0, NaN gives NaN. */
static inline float exp_scalar(float x)
{
    x = EXP_MIN > x ? EXP_MIN : x; /* in this order NaN passes both */
    x = EXP_MAX < x ? EXP_MAX : x;
    float rounded, r, p = exp_parts(x, &rounded, &r);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    /* n reaches -150 and 128, beyond one exponent: two factors, the first product is exact. */
    int whole = exp_power(rounded), half = whole >> 1;
    return p * power_of_two(half) * power_of_two(whole - half);
}

#endif
