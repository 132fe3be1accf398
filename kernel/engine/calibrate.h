/* The importance matrix: how large the inputs of every matrix are while the model reads a text. An error in a column
 * of a matrix does as much harm as the inputs that meet this column are large, so the quantiser weighs it by their mean
 * square. Every expert has its own, from the tokens that chose it. */
#ifndef CALIBRATE_H
#define CALIBRATE_H

#include "base/failure.h"
#include "model/arch.h"
#include "sluice/experimental.h"

struct importance;

/* Loads the model at `path`, runs options->calibration_text through it, and frees the model. *out is NULL on failure.
 * Experts that no token chose are told by options->warning. */
sluice_status importance_collect(struct importance **out, const char *path, const sluice_quantize_options *options,
                                 struct failure *f);
void importance_free(struct importance **importance); /* nulls the pointer; NULL is fine */

/* The mean squares [k] of the inputs of one matrix. False: nothing is known about it, because it is not multiplied, or
 * because no token chose this expert. `expert` -1: not an expert's. */
bool importance_of(const struct importance *importance, enum tensor_role role, int layer, int expert, float *out,
                   int k);
uint64_t importance_n_tokens(const struct importance *importance);
uint64_t importance_n_untouched(const struct importance *importance);

#endif
