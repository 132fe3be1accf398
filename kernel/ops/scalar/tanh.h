/* The hyperbolic tangent from the parts of our own exponential; tmpl/tanh_tmpl.h does the same operations on 16 lanes.
 *
 *   e = exp(2x) - 1 = 2^n (r + r^2 p) + (2^n - 1),  tanh(x) = e / (e + 2)
 *
 * Around zero n is 0 and e is the polynomial alone, so that small results keep all their digits. */
#ifndef OPS_SCALAR_TANH_H
#define OPS_SCALAR_TANH_H

#include "ops/scalar/exp.h"

#define TANH_MAX 10.0f /* tanh is 1 in float precision from 9.02 on */

/* +-infinity gives +-1, NaN gives NaN, either zero gives 0. Never beyond +-1. */
static inline float tanh_scalar(float x)
{
    x = -TANH_MAX > x ? -TANH_MAX : x; /* in this order NaN passes both */
    x = TANH_MAX < x ? TANH_MAX : x;
    float rounded, r, p = exp_parts(x + x, &rounded, &r), power = power_of_two(exp_power(rounded));
    float e = fmaf(power, fmaf(p * r, r, r), power - 1.0f);
    return e / (e + 2.0f);
}

#endif
