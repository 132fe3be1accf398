/* Blocks as integer arithmetic sees them, in plain C: a small integer per element, a scale and maybe an offset per
 * sub-block. y(i) = scale * level(i) + offset are the floats of quant_decode, bit for bit. The oracle of the products
 * with 8-bit activations. */
#ifndef QUANT_LEVELS_H
#define QUANT_LEVELS_H

#include "quant/dtype.h"

struct levels_info {
    int columns; /* elements per sub-block: 32 or 16; 0: the format has no such levels */
    bool has_offset;
};

struct block_levels {
    int8_t level[DTYPE_MAX_BLOCK_ELEMENTS];
    float scale[16], offset[16]; /* [sub-blocks]; offset only where the format has one */
};

/* Total: every enum dtype has a row. */
struct levels_info quant_levels_info(enum dtype t);

/* One block of type t, which has levels. */
void quant_levels(enum dtype t, struct block_levels *out, const void *block);

#endif
