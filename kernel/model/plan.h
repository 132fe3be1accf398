/* The plan: every tensor that the model needs, found in an archive by the rules of its architecture, with its shape and
 * type checked. bind.c packs what stands here into a struct model; engine/quantize.c writes it into a GGUF file. */
#ifndef MODEL_PLAN_H
#define MODEL_PLAN_H

#include "model/arch.h"
#include "model/rows.h"

struct planned { /* one matrix, or what stays floats (is_vector): a vector (k == 1), the taps of a convolution */
    enum tensor_role role;
    int layer;              /* -1: of the model */
    int expert;             /* -1: of no bank; the matrices (or biases) of a bank follow each other, ascending from 0 */
    bool is_vector;
    struct row_source rows;
};

struct plan {
    struct planned *items;
    size_t n;
    const struct tensor_view *divisors; /* GGUF: F32 [n_rot / 2] divides the frequencies of RoPE, checked; or NULL */
    bool *used; /* [archive_n_tensors] */
};

/* `c` is complete (config_read). All missing tensors are named in one sentence. On failure nothing is owned. */
sluice_status plan_tensors(struct plan *p, const struct model_config *c, const struct archive *a, struct failure *f);
void plan_free(struct plan *p);

/* Tensors that no model of text needs, and whose presence is worth no warning: parts that see and hear, layers that
 * predict several tokens ahead, stored rotary frequencies, a head that is the embedding. */
bool plan_is_stray(const struct model_config *c, const char *name);

/* Where a GGUF file has a planned item: its tensor (the matrices of a bank are one), shape row-major, and the order of
 * its rows there: ORDER_STORED as planned, ORDER_PAIRS (paired_row). */
struct plan_gguf_place {
    char name[64];
    uint64_t shape[4];
    int n_dims;
    struct row_order order;
};
/* False: GGUF has no such tensor, because another one says the same (ROLE_K_B). */
bool plan_gguf_tensor(const struct planned *item, const struct model_config *c, struct plan_gguf_place *out);

#endif
