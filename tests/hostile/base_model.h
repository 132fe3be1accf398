/* Models that are good, for cases to break one thing in: a Qwen3-MoE of one layer made here, and the golden models,
 * whose weights become holes (zeros) because no case here looks at values. */
#ifndef BASE_MODEL_H
#define BASE_MODEL_H

#include "tests/hostile/hostile.h"

/* A case hands its text to its writer through `value`. */
#define TEXT(s) ((uintptr_t)(s))
static inline const char *text_of(uint64_t value) { return (const char *)(uintptr_t)value; }

/* Edits of a configuration, one a line: "KEY=JSON" replaces or adds a key of the outermost object, "KEY=" leaves it
 * out. NULL or "": no edits. Their text need not be JSON. */
void base_config(struct hostile *h, const char *edits);

/* The tensor that cases break; it stands first, at bytes 0..32 of the data. */
#define BASE_TENSOR  "model.norm.weight"
#define BASE_ENTRY   "\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]"
#define BASE_BYTES   32
#define BASE_SHARD_1 "model-00001-of-00002.safetensors"
#define BASE_SHARD_2 "model-00002-of-00002.safetensors"
#define BASE_INDEX   "model.safetensors.index.json"
enum { BASE_TOTAL_BYTES = 3584 }; /* of all tensors */

/* What is different in model.safetensors; all zero: nothing. */
struct base_weights {
    const char *metadata;     /* of "__metadata__" */
    const char *name, *entry; /* of the tensor that cases break, as JSON writes them between quotes and braces */
    const char *more;         /* further entries, after all others */
    uint64_t gap;             /* bytes of the data after that tensor that belong to none */
    uint64_t trailing;        /* bytes of the data after the last tensor */
};
/* model.safetensors, or all tensors but the one that cases break. NULL: as it should be. */
void base_weights(struct hostile *h, const char *file, const struct base_weights *w);
void base_rest(struct hostile *h, const char *file);

/* The whole model as one file, and in two shards: BASE_TENSOR is in the first, the others in the second. `first` is the
 * entry of BASE_TENSOR in the index, with its comma; NULL: as it should be. `total` is the text of total_size. */
void base_model(struct hostile *h);
void base_shards(struct hostile *h, const char *first, const char *total);

/* A model of tests/golden/models in one file, with edits of its configuration. */
void base_golden(struct hostile *h, const char *name, const char *edits);

/* Gives the first tensor of model.safetensors whose name contains `from` another name, as long as the old one. */
void base_rename(struct hostile *h, const char *from, const char *to);

/* A file of so many bytes that takes no room on the disk, beginning with `text`. */
void base_sparse(struct hostile *h, const char *file, const char *text, uint64_t bytes);

/* before, n times piece, after; malloc'ed. */
char *base_repeat(const char *before, const char *piece, size_t n, const char *after);

#endif
