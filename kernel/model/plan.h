/* The plan: every tensor that the model needs, found in an archive by the rules of its architecture, with its shape and
 * type checked. bind.c packs what stands here into a struct model; engine/quantize.c writes it into a GGUF file. */
#ifndef MODEL_PLAN_H
#define MODEL_PLAN_H

#include "model/arch.h"
#include "model/rows.h"

struct planned { /* one matrix, or one vector (is_vector: n floats, k == 1) */
    enum tensor_role role;
    int layer;              /* -1: of the model */
    int expert;             /* -1: no expert; the experts of a bank follow each other, ascending from 0 */
    bool is_vector;
    struct row_source rows;
};

struct plan {
    struct planned *items;
    size_t n;
    const struct tensor_view *divisors; /* GGUF: F32 [head_dim / 2] divides the frequencies of RoPE, checked; or NULL */
    bool *used; /* [archive_n_tensors] */
};

/* `c` is complete (config_read). All missing tensors are named in one sentence. On failure nothing is owned. */
sluice_status plan_tensors(struct plan *p, const struct model_config *c, const struct archive *a, struct failure *f);
void plan_free(struct plan *p);

/* Whether GGUF files of this family hold the rows of this role as pairs (row_source.head_dim), and not as halves. */
bool plan_gguf_reorders(const struct model_config *c, enum tensor_role role);

/* The name of a planned item in a GGUF file, and its shape there (row-major, the experts of a bank as one tensor). */
void plan_gguf_tensor(const struct planned *item, const struct model_config *c, char name[64], uint64_t shape[4],
                      int *n_dims);

#endif
