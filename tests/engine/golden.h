/* A tiny checkpoint made with transformers, opened, with what transformers computed from it. */
#ifndef ENGINE_GOLDEN_H
#define ENGINE_GOLDEN_H

#include "sluice/experimental.h"

struct array {
    float *f;       /* or */
    int32_t *i;
    size_t shape[3], n; /* n: all elements; 0: the file has no such array */
};

struct golden {
    char path[512];
    sluice_engine *engine;
    sluice_model_info info;
    sluice_arrays *arrays;
    int32_t *tokens;
    size_t n_tokens;
};

enum { MAX_CASES = 128 };

/* Names of the cases; returns how many. */
int golden_names(char names[MAX_CASES][64]);
void golden_open(struct golden *g, const char *name, int n_threads, unsigned flags);
void golden_close(struct golden *g);
struct array golden_floats(const struct golden *g, const char *name);
struct array golden_ints(const struct golden *g, const char *name);
void array_free(struct array *a);

/* What an observed prefill of the golden tokens shows, in the shapes of the golden file. */
struct seen {
    float *logits, *attention, *ffn, *hidden, *router_scores, *expert_weights;
    int32_t *experts;
    size_t n_tokens, hidden_size, vocab_size, n_experts, top_k, n_layers, n_moe_layers;
    int moe_index[1024]; /* layer -> index among the layers with experts, -1: dense */
    bool cut_rounds; /* some layer has two forms, for few and for many rows, which round differently */
};
void golden_run(struct golden *g, int chunk, struct seen *out);
void seen_free(struct seen *s);

double nmse(const float *found, const float *expected, size_t n);
double max_difference(const float *found, const float *expected, size_t n);

/* A session on the engine; ends the test when it cannot be created. */
sluice_session *new_session(const sluice_engine *e, int n_context, int n_chunk);

#endif
