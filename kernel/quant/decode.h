/* One block of each format to floats: decode_<name>(y [elements], block) for every line of formats.inc.
 *
 * Plain C in loops of constant length, for files compiled with any instruction set: quant_decode is made of these
 * functions, and so are the kernels that decode into a tile before they multiply. Blocks may lie anywhere; nothing
 * beyond a block is read. The bits are the same under any flags: products of a scale and a small integer fit in a
 * float exactly, so that at most one rounding happens per element, wherever a compiler might fuse. */
#ifndef QUANT_DECODE_H
#define QUANT_DECODE_H

#include "quant/decode_book.h"
#include "quant/decode_k.h"
#include "quant/decode_small.h"

#endif
