/* Operations on one element at a time: sums, scalings, limits. */
#include <math.h>

#include "ops/scalar/lanes.h"
#include "ops/scalar/tanh.h"
#include "ops/variants.h"

/* y [n] += x [n] */
void ops_add_scalar(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++) y[i] = y[i] + x[i];
}

/* y [n] += a * x [n], rounded once */
void ops_add_scaled_scalar(float *y, const float *x, float a, int n)
{
    for (int i = 0; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

/* y [n] *= x [n] */
void ops_mul_scalar(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++) y[i] = y[i] * x[i];
}

/* y [n] += a [n] * b [n], rounded once */
void ops_mul_add_scalar(float *y, const float *a, const float *b, int n)
{
    for (int i = 0; i < n; i++) y[i] = fmaf(a[i], b[i], y[i]);
}

/* y [n] *= a */
void ops_scale_scalar(float *y, float a, int n)
{
    for (int i = 0; i < n; i++) y[i] = y[i] * a;
}

/* y [n] limited to [-limit, limit]; NaN stays NaN, since each comparison with it fails. */
void ops_clamp_scalar(float *y, float limit, int n)
{
    for (int i = 0; i < n; i++) y[i] = smaller(limit, larger(-limit, y[i]));
}

/* x [n] = cap * tanh(x / cap) */
void ops_softcap_scalar(float *x, float cap, int n)
{
    for (int i = 0; i < n; i++) x[i] = cap * tanh_scalar(x[i] / cap);
}
