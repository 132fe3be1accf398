/* The sizes of layouts <format>_r16, which panel.h draws. A unit takes as many bytes as its blocks do in the file, up
 * to the next multiple of 64. */
#ifndef OPS_R16_H
#define OPS_R16_H

#include <stddef.h>

#include "quant/blocks.h"
#include "quant/dtype.h"

enum { R16_ROWS = 16, R16_UNIT_BLOCKS = 4, R16_ALIGNMENT = 64 };

/* Blocks of a unit that is not cut short by the end of the row: they cover 128 columns, or 256. */
static inline int r16_unit_blocks(int elements_per_block) { return elements_per_block == 32 ? R16_UNIT_BLOCKS : 1; }

/* Bytes of a unit of n blocks of 16 rows. */
static inline size_t r16_unit_bytes(size_t block_bytes, int n_blocks)
{
    return (R16_ROWS * (size_t)n_blocks * block_bytes + R16_ALIGNMENT - 1) & ~(size_t)(R16_ALIGNMENT - 1);
}

/* Byte of a unit at which levels of so many bits begin (r16_bits.h): behind everything else of a block. */
#define R16_LEVELS_AT(block, bits) \
    ((R16_ROWS * (sizeof(block) - 32 * (bits)) + R16_ALIGNMENT - 1) / R16_ALIGNMENT * R16_ALIGNMENT)

/* Bytes of a panel: 16 rows of k columns, k a multiple of the block's elements. */
static inline size_t r16_panel_bytes(int elements_per_block, size_t block_bytes, int k)
{
    int n_blocks = k / elements_per_block, whole = r16_unit_blocks(elements_per_block);
    return (size_t)(n_blocks / whole) * r16_unit_bytes(block_bytes, whole) +
           r16_unit_bytes(block_bytes, n_blocks % whole);
}

/* block = the block number `index` of row `row` (0 .. 15) of a panel with k columns, as the file has it. For formats of
 * r16.inc. */
void r16_get_block(enum dtype format, void *block, const void *panel, int row, int index, int k);

#endif
