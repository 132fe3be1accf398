/* Models of one layer made by hand: every weight is a few numbers of the test, so that what a block computes can be
 * checked against sums on paper. */
#ifndef TESTS_MODEL_TINY_H
#define TESTS_MODEL_TINY_H

#include "model/forward.h"

enum { TINY_SESSIONS = 4, TINY_PIECES = 64, TINY_CONTEXT = 1040 };

struct tiny {
    struct model model;
    struct layer_config config; /* of the one layer */
    struct layer layer;
    struct workspace ws;
    struct cache caches[TINY_SESSIONS];
    enum dtype cache_type; /* F32 unless the test says otherwise */
    struct arena arena; /* of workspace and caches */
    int n_threads;
    void *owned[TINY_PIECES];
    int n_owned;
};

/* A layer with one head of attention, scale 1, no RoPE and no weights yet; the test fills in the rest, then starts. */
void tiny_make(struct tiny *t, int hidden_size);
void tiny_start(struct tiny *t, int max_rows, int n_threads);
/* Ends what tiny_start began; the weights stay. */
void tiny_stop(struct tiny *t);
void tiny_free(struct tiny *t);

/* A copy of `values` [n] that lives as long as the model. */
const float *tiny_floats(struct tiny *t, const float *values, size_t n);
/* Values in [-1, 1) that depend on `seed` alone. */
const float *tiny_random(struct tiny *t, size_t n, uint64_t seed);
/* Float matrices: of values [n, k]; and the one whose output r is its input first + r, or 0 if there is none. */
struct weight tiny_weight(struct tiny *t, int n, int k, const float *values);
struct weight tiny_pick(struct tiny *t, int n, int k, int first);
/* [n_matrices, n, k], with bias [n_matrices, n] or NULL. */
struct bank tiny_bank(struct tiny *t, int n_matrices, int n, int k, const float *values, const float *bias);

/* One block of the layer, as every thread of a team runs it; writes ws.branch. */
typedef void tiny_block(struct tiny *t, const struct chunk *c, const float *h, struct thread *thread);
/* Runs the block for n_rows rows h [n_rows, hidden_size] of session 0, from position `first` on, and copies branch to
 * out [n_rows, hidden_size]. The residual stream is 0 before. */
void tiny_run(struct tiny *t, tiny_block *block, const float *h, int first, int n_rows, float *out);
/* forward() for one chunk. */
void tiny_forward(struct tiny *t, const struct row *rows, int n_rows, const struct observer *observer);

#endif
