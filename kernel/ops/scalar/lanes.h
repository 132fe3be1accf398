/* The virtual vector of 16 lanes that fixes the order of every sum (ops.h), as plain arrays. */
#ifndef OPS_SCALAR_LANES_H
#define OPS_SCALAR_LANES_H

#include "ops/ops.h"

/* Sum of the lanes in halves: l and l + 8, then l + 4, l + 2, l + 1. Overwrites `lane` [16]. */
static inline float lanes_sum(float *lane)
{
    for (int half = OPS_LANES / 2; half >= 1; half /= 2)
        for (int l = 0; l < half; l++) lane[l] = lane[l] + lane[l + half];
    return lane[0];
}

/* The larger of two numbers; b when either is NaN. This is what one x86 instruction does, so it is the rule. */
static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }

#endif
