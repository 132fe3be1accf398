/* Blocks to floats and back, in plain C: the oracle of every format. What blocks look like is drawn in blocks.h.
 *
 * Decoding is bit-exact with the formats' reference (the PyPI package `gguf`): each float is what the format's formula
 * gives in float arithmetic, in the reference's order of operations. Encoding is ours: it searches scales for a small
 * error, and its quality, not its bits, is held against llama.cpp's. Pure functions, any number of threads. */
#ifndef QUANT_CODEC_H
#define QUANT_CODEC_H

#include "quant/dtype.h"

/* y [n] = the numbers of `blocks`. n is a multiple of the block's elements; t is a weight type (dtype_info). */
void quant_decode(enum dtype t, float *y, const void *blocks, size_t n);

/* blocks = x [n] rounded to type t (dtype_info(t)->can_encode). n as above. `importance` [n] (may be NULL) weighs the
 * squared error of each element, for example by the mean square of the inputs that meet this column (>= 0; all zero in
 * a block counts as NULL). Values that are not finite are not allowed. A block depends on nothing but its own x and
 * importance: rows may be cut anywhere. */
void quant_encode(enum dtype t, void *blocks, const float *x, size_t n, const float *importance);

#endif
