/* Which element type each tensor of a new GGUF file gets: from its name and shape alone, so that files of unknown
 * architectures are treated like all others. Pure functions. */
#ifndef QUANTIZE_TYPES_H
#define QUANTIZE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/dtype.h"
#include "sluice/experimental.h"

struct mix; /* one word of --type: an element type, or a mixture of several */

/* The mix of this name in any case; NULL when there is none. */
const struct mix *mix_find(const char *name);
/* general.file_type of the whole, as llama.cpp numbers its kinds of files; the nearest where rules change the mix. */
uint32_t mix_file_type(const struct mix *mix);
/* "f32, f16, ...": the names of all mixes, or of element types only, for messages. */
void mix_list(char *out, size_t cap, bool element_types_only);

/* What the choice depends on besides the tensor itself. */
struct mix_model {
    int n_layers;
    bool has_experts;
    bool has_output; /* false: the embedding is the output head too */
};
/* Takes one more tensor's name into account; begin with zeros. */
void mix_model_add(struct mix_model *m, const char *name);

/* May this tensor be anything but F32? Matrices of layers, embedding and head; not vectors, norms, routers, and the
 * small tensors of other architectures that their readers want exact. */
bool tensor_is_rounded(const char *name, int n_dims);
/* The type that the mix means for a tensor that may be rounded. */
enum dtype mix_type(const struct mix *mix, const struct mix_model *m, const char *name);
bool rule_fits(const char *pattern, const char *name);

/* "blk.12.x": 12; -1: no such beginning. */
int tensor_layer(const char *name);

#endif
