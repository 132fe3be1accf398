/* What the parts of the quantiser share: the list of tensors of the file to be written. */
#ifndef QUANTIZE_PARTS_H
#define QUANTIZE_PARTS_H

#include "engine/calibrate.h"
#include "engine/quantize_types.h"
#include "model/plan.h"
#include "weights/archive.h"
#include "weights/gguf_write.h"

/* One tensor of the new file. It consists of the rows of n_parts sources, one after the other, for example of the
 * matrices of all experts; a vector of a folder is a matrix of one column. */
struct target {
    char name[65];
    int n_dims;
    uint64_t shape[4];             /* row-major, outermost first */
    const float *values;           /* computed, not read: written as they are; else NULL */
    const struct tensor_view *raw; /* its bytes are copied as they are; NULL: rows are read */
    const struct row_source *parts;
    size_t n_parts;
    int part_rows, k;         /* rows of each part */
    struct row_order order;   /* ORDER_PAIRS: rows that rotate together become neighbours (paired_row) */
    enum dtype from, to, wanted;
    /* For the importance matrix: what it is in the model. N_TENSOR_ROLES: unknown. */
    enum tensor_role role;
    int layer, expert;        /* expert -1: of none, or of each: expert_rows rows */
    int expert_rows;
};

struct source {
    struct archive *archive;
    struct model_config config; /* of a folder; of a GGUF file only with has_plan, as the next two */
    struct generation_config generation;
    bool has_plan;
    struct plan plan;
    struct row_source *rows;    /* the parts of all targets */
    float *divisors;            /* of RoPE's frequencies, where a tensor says them */
    struct target *targets;
    size_t n_targets;
};

/* Opens IN and lists what the new file will hold: targets without `to`, in the order of layers and names. A plan of a
 * GGUF file is made on demand only: then the architecture must be known. On failure nothing is owned. */
sluice_status source_open(struct source *s, const char *path, bool want_roles, void (*warn)(void *, const char *),
                          void *context, struct failure *f);
void source_close(struct source *s);

/* Writes all keys: of a folder its configuration and tokenizer, of a GGUF file its own. */
sluice_status source_write_keys(const struct source *s, struct gguf_writer *w, uint32_t file_type,
                                void (*warn)(void *, const char *), void *context, struct failure *f);

static inline uint64_t target_rows(const struct target *t) { return (uint64_t)t->n_parts * (uint64_t)t->part_rows; }

#endif
