/* How keys and values of each type (ops/attention.h) become floats, over vec16. Include after a vec_<isa>.h. */
#ifndef OPS_TMPL_ATTENTION_LOAD_H
#define OPS_TMPL_ATTENTION_LOAD_H

#include "ops/attention.h"
#include "ops/tmpl/unroll.h"

/* Sixteen numbers of a type, or levels of Q8_0, from element i on. */
ALWAYS_INLINE vec16 load_numbers(const void *from, ptrdiff_t i, enum dtype type)
{
    if (type == DTYPE_F16) return vec16_load_fp16((const uint16_t *)from + i);
    if (type == DTYPE_BF16) return vec16_load_bf16((const uint16_t *)from + i);
    if (type == DTYPE_Q8_0) return vec16_load_int8((const int8_t *)from + i);
    return vec16_load((const float *)from + i);
}

/* Where a key panel of Q8_0 has its levels; scales come first. */
static inline size_t key_levels(enum dtype type, int head_dim)
{
    return type == DTYPE_Q8_0 ? KEY_PANEL * sizeof(uint16_t) * q8_0_blocks(head_dim) : 0;
}

/* Sixteen elements of a row, from element i on, a multiple of 16. The row may end among them. */
ALWAYS_INLINE vec16 load_row(const unsigned char *row, int i, enum dtype type)
{
    if (type != DTYPE_Q8_0) return load_numbers(row, i, type);
    row += i / Q8_0_ELEMENTS * Q8_0_BYTES;
    return vec16_mul(load_numbers(row + 2, i % Q8_0_ELEMENTS, type), vec16_broadcast_fp16(row));
}

#endif
