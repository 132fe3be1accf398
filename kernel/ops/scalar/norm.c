/* Normalisations: by the root mean square (Zhang and Sennrich 2019) and by the length. */
#include <math.h>

#include "ops/assume.h"
#include "ops/variants.h"

/* y [n] = x [n] * r * w [n], or x [n] * r when w is NULL; y may be x. */
void ops_rms_norm_scalar(float *y, const float *x, const float *w, int n, float eps)
{
    ASSUME(n >= 1);
    float r = 1.0f / sqrtf(ops_dot_scalar(x, x, n) / (float)n + eps);
    for (int i = 0; i < n; i++) y[i] = w ? (x[i] * r) * w[i] : x[i] * r;
}

/* y [n] = x [n] * r; y may be x. */
void ops_l2_norm_scalar(float *y, const float *x, int n, float eps)
{
    float r = 1.0f / sqrtf(ops_dot_scalar(x, x, n) + eps);
    for (int i = 0; i < n; i++) y[i] = x[i] * r;
}
