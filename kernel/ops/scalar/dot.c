/* The dot product in the order of every sum (ops.h). */
#include <math.h>

#include "ops/scalar/lanes.h"
#include "ops/variants.h"

/* Sum of a [n] * b [n]. A vector of lanes ends with products of zeros, which turn a lane of -0 into 0; adding 0 to the
 * sum makes that invisible. */
float ops_dot_scalar(const float *a, const float *b, int n)
{
    float lane[OPS_LANES] = {0};
    for (int i = 0; i < n; i++) lane[i % OPS_LANES] = fmaf(a[i], b[i], lane[i % OPS_LANES]);
    return lanes_sum(lane) + 0.0f;
}
