/* How 16-row panels of each layout become vec16: one column is the weights of 16 rows at one k. Include after a
 * vec_<isa>.h. For each layout L:
 *   L_column(panel, i)        column i, any i
 *   L_first, L_second(panel, i)   columns i and i + 1, i even: for pairs of 16-bit floats one access serves both
 *   L_column_bytes            of one column
 *   L_k_multiple              columns of a panel: k rounded up to this */
#ifndef OPS_TMPL_COLUMNS_H
#define OPS_TMPL_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

enum { f32_r16_column_bytes = 64, f32_r16_k_multiple = 1 };
static inline vec16 f32_r16_column(const unsigned char *panel, ptrdiff_t i)
{
    return vec16_load((const float *)(const void *)panel + i * 16);
}
static inline vec16 f32_r16_first(const unsigned char *panel, ptrdiff_t i) { return f32_r16_column(panel, i); }
static inline vec16 f32_r16_second(const unsigned char *panel, ptrdiff_t i) { return f32_r16_column(panel, i + 1); }

enum { f16_r16_column_bytes = 32, f16_r16_k_multiple = 1 };
static inline vec16 f16_r16_column(const unsigned char *panel, ptrdiff_t i)
{
    return vec16_load_fp16((const uint16_t *)(const void *)panel + i * 16);
}
static inline vec16 f16_r16_first(const unsigned char *panel, ptrdiff_t i) { return f16_r16_column(panel, i); }
static inline vec16 f16_r16_second(const unsigned char *panel, ptrdiff_t i) { return f16_r16_column(panel, i + 1); }

enum { bf16_r16k2_column_bytes = 32, bf16_r16k2_k_multiple = 2 };
static inline vec16 bf16_r16k2_first(const unsigned char *panel, ptrdiff_t i)
{
    return vec16_load_bf16_first((const uint16_t *)(const void *)panel + i * 16);
}
static inline vec16 bf16_r16k2_second(const unsigned char *panel, ptrdiff_t i)
{
    return vec16_load_bf16_second((const uint16_t *)(const void *)panel + i * 16);
}
static inline vec16 bf16_r16k2_column(const unsigned char *panel, ptrdiff_t i)
{
    return i % 2 ? bf16_r16k2_second(panel, i - 1) : bf16_r16k2_first(panel, i);
}

#endif
