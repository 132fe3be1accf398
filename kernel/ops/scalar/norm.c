/* Root mean square normalisation (Zhang and Sennrich 2019). */
#include <math.h>

#include "ops/assume.h"
#include "ops/scalar/lanes.h"
#include "ops/variants.h"

/* y [n] = x [n] * r * w [n]; y may be x. */
void ops_rms_norm_scalar(float *y, const float *x, const float *w, int n, float eps)
{
    ASSUME(n >= 1);
    float lane[OPS_LANES] = {0};
    for (int i = 0; i < n; i++) lane[i % OPS_LANES] = fmaf(x[i], x[i], lane[i % OPS_LANES]);
    float r = 1.0f / sqrtf(lanes_sum(lane) / (float)n + eps);
    for (int i = 0; i < n; i++) y[i] = (x[i] * r) * w[i];
}
