/* Rotary position embedding (Su et al. 2021) in the "half" form: element i turns with element i + n_rot / 2. */
#include <math.h>

#include "ops/assume.h"
#include "ops/variants.h"

/* x [n_rot] in place; cosine, sine [n_rot / 2]. */
void ops_rope_scalar(float *x, const float *cosine, const float *sine, int n_rot)
{
    ASSUME(n_rot >= 0 && n_rot % 2 == 0);
    int half = n_rot / 2;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = fmaf(a, cosine[i], -(b * sine[i]));
        x[i + half] = fmaf(b, cosine[i], a * sine[i]);
    }
}
