/* One layer's mixer alone: weights from plain floats, sessions with caches, and passes over any rows of them. */
#ifndef TESTS_MODEL_MIXER_BENCH_H
#define TESTS_MODEL_MIXER_BENCH_H

#include "model/recurrent.h"
#include "tests/support/rng.h"

enum { BENCH_SESSIONS = 3, BENCH_ROWS = 96 };

struct mixer_bench {
    struct layer_config config; /* the caller sets the mixer and hidden_size, then the weights, then opens */
    struct model model;
    struct layer layer;
    struct workspace ws;
    struct cache caches[BENCH_SESSIONS];
    struct arena arena, cache_arenas[BENCH_SESSIONS];
    int n_threads;
    float h[BENCH_ROWS * 64]; /* [n_rows, hidden_size], hidden_size <= 64 */
    struct row rows[BENCH_ROWS];
    int n_rows;
};

/* n floats, zero, readable beyond their end. They and the weights live until bench_free. */
float *bench_floats(size_t n);
void bench_free(void);
/* values [n, k] as a packed weight. */
struct weight bench_weight(const float *values, int n, int k);
/* The same of random values, which *values receives. */
struct weight bench_random_weight(struct rng *rng, float **values, int n, int k);
void bench_open(struct mixer_bench *b, int n_threads);
void bench_close(struct mixer_bench *b);
/* Adds n rows of a session to the pass. h [n, hidden_size] */
void bench_add(struct mixer_bench *b, int session, const float *h, int n);
/* Runs the pass: out [all rows, hidden_size] is what the mixer adds to x. */
void bench_pass(struct mixer_bench *b, float *out);

#endif
