/* The gate of SwiGLU (Shazeer 2020): the swish of one projection times the other. */
#include "ops/scalar/exp.h"
#include "ops/variants.h"

/* y [n] = silu(gate [n]) * up [n]; y may be gate or up. Below about -88.7 the exponential is infinite and the result a
 * signed zero, as it should be; -infinity gives NaN. */
void ops_silu_mul_scalar(float *y, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++) y[i] = gate[i] / (1.0f + exp_scalar(-gate[i])) * up[i];
}
