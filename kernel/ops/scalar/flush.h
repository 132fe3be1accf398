/* Sums as the instructions for bfloat16 form them: subnormal numbers count as zero before, and become zeros of the same
 * sign after every step. A result counts as subnormal if it is one when rounded with an unbounded exponent. */
#ifndef OPS_SCALAR_FLUSH_H
#define OPS_SCALAR_FLUSH_H

#include <float.h>
#include <math.h>

static inline float flushed(float a) { return fabsf(a) < FLT_MIN ? copysignf(0.0f, a) : a; }

/* a * b + c rounded once; a and b are bfloat16 numbers. Rounding with the exponent bounded may give FLT_MIN for sums
 * that are nearer to the number before it: those are recognised in double precision, which holds them exactly. */
static inline float flushed_fma(float a, float b, float c)
{
    a = flushed(a), b = flushed(b), c = flushed(c);
    float sum = fmaf(a, b, c);
    if (fabsf(sum) == FLT_MIN && fabs((double)a * (double)b + (double)c) < 0x1p-126 - 0x1p-151) sum *= 0.0f;
    return flushed(sum);
}

#endif
