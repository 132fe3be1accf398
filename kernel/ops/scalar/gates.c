/* The logistic function and the gates made of it: one projection through a nonlinearity, times the other (Shazeer
 * 2020). Where an exponential is infinite the quotient is a signed zero, as it should be; -infinity gives NaN. */
#include "ops/scalar/gates.h"

#include <math.h>

#include "ops/scalar/exp.h"
#include "ops/scalar/lanes.h"
#include "ops/variants.h"

/* x / (1 + exp(t)) */
static float quotient(float x, float t) { return x / (1.0f + exp_scalar(t)); }

/* y [n] = silu(gate [n]) * up [n]; y may be gate or up. */
void ops_silu_mul_scalar(float *y, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++) y[i] = quotient(gate[i], -gate[i]) * up[i];
}

/* y [n] = gelu(gate [n]) * up [n]; y may be gate or up. */
void ops_gelu_mul_scalar(float *y, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++) {
        float g = gate[i], t = g * fmaf(g * g, GELU_CUBIC, GELU_LINEAR);
        y[i] = quotient(g, t) * up[i];
    }
}

/* y [n] = g sigmoid(1.702 g) (u + 1) of the limited gate [n] and up [n]; y may be gate or up. */
void ops_swiglu_clamped_scalar(float *y, const float *gate, const float *up, int n, float limit)
{
    for (int i = 0; i < n; i++) {
        float g = smaller(limit, gate[i]), u = smaller(limit, larger(-limit, up[i]));
        y[i] = quotient(g, g * -SWIGLU_SLOPE) * (u + 1.0f);
    }
}

/* x [n] in place. */
void ops_silu_scalar(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = quotient(x[i], -x[i]);
}

/* x [n] in place. */
void ops_sigmoid_scalar(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = quotient(1.0f, -x[i]);
}
