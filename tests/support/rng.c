/* Random numbers for tests; see the header. */
#include "tests/support/rng.h"

#include <math.h>

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t rng_below(struct rng *r, uint32_t n) { return (uint32_t)((rng_next(r) >> 32) * n >> 32); }

float rng_float(struct rng *r, float low, float high)
{
    float unit = (float)(rng_next(r) >> 40) * 0x1p-24f;
    return low + (high - low) * unit;
}

void rng_fill(struct rng *r, float *x, size_t n, float low, float high)
{
    for (size_t i = 0; i < n; i++) x[i] = rng_float(r, low, high);
}

void rng_fill_awkward(struct rng *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float sign = rng_below(r, 2) ? 1.0f : -1.0f;
        switch (rng_below(r, 5)) {
        case 0: x[i] = sign * 0.0f; break;
        case 1: x[i] = sign * 0x1p-149f * (float)(1 + rng_below(r, 1000)); break;
        case 2: x[i] = sign * ldexpf(1.0f, (int)rng_below(r, 121) - 60); break;
        default: x[i] = rng_float(r, -4.0f, 4.0f); break;
        }
    }
}
