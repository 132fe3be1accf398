/* Reproducible random numbers for tests and benches (splitmix64, Steele 2014): the same on every machine. */
#ifndef TESTS_SUPPORT_RNG_H
#define TESTS_SUPPORT_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline struct rng rng_seed(uint64_t seed) { return (struct rng){seed}; }

uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);                            /* 0 <= result < n, n >= 1 */
float rng_float(struct rng *r, float low, float high);                    /* uniform in [low, high) */
void rng_fill(struct rng *r, float *x, size_t n, float low, float high);  /* x [n] */

/* x [n] of what breaks kernels: both zeros, subnormals, powers of two from 2^-60 to 2^60 and plain numbers. */
void rng_fill_awkward(struct rng *r, float *x, size_t n);

#endif
