/* Softmax with the maximum subtracted, so that no exponential overflows. */
#include <math.h>

#include "ops/assume.h"
#include "ops/scalar/exp.h"
#include "ops/scalar/lanes.h"
#include "ops/variants.h"

/* x [n] in place. A NaN anywhere makes the sum NaN and with it every element. */
void ops_softmax_scalar(float *x, int n)
{
    ASSUME(n >= 1);
    float max = -INFINITY, lane[OPS_LANES] = {0};
    for (int i = 0; i < n; i++) max = larger(x[i], max);
    for (int i = 0; i < n; i++) {
        x[i] = exp_scalar(x[i] - max);
        lane[i % OPS_LANES] += x[i];
    }
    float sum = lanes_sum(lane);
    for (int i = 0; i < n; i++) x[i] = x[i] / sum;
}
