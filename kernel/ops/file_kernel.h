/* Products with matrices that stay in the order of their file (layouts <format>_file): one panel of 16 rows at a time
 * is packed into scratch and given to the kernel of the packed layout. So the bits and the packed activations are those
 * of that kernel. Nothing here depends on an instruction set; the macro belongs behind the kernel that it wraps. */
#ifndef OPS_FILE_KERNEL_H
#define OPS_FILE_KERNEL_H

#include "ops/assume.h"
#include "ops/variants.h"

enum { FILE_PANEL_ROWS = 16, FILE_PANEL_ALIGNMENT = 64 };

static inline size_t file_panel_bytes(const struct panel_kernel *packed, int k)
{
    size_t bytes = packed->layout->packed_bytes(FILE_PANEL_ROWS, k);
    return (bytes + FILE_PANEL_ALIGNMENT - 1) & ~(size_t)(FILE_PANEL_ALIGNMENT - 1);
}

static inline size_t file_scratch_bytes(const struct panel_kernel *packed, int k)
{
    return file_panel_bytes(packed, k) + packed->scratch_bytes(k);
}

static inline void file_run(const struct panel_kernel *packed, float *y, ptrdiff_t ldy, const void *w, const void *x,
                            int row0, int row1, int m, int k, void *scratch)
{
    ASSUME(packed->layout->nr == FILE_PANEL_ROWS && row0 % FILE_PANEL_ROWS == 0 && row1 % FILE_PANEL_ROWS == 0);
    const struct dtype_info *type = dtype_info(packed->layout->weight);
    const size_t row_bytes = (size_t)(k / type->elements_per_block) * type->bytes_per_block;
    unsigned char *inner = (unsigned char *)scratch + file_panel_bytes(packed, k);
    for (int row = row0; row < row1; row += FILE_PANEL_ROWS) {
        packed->layout->pack(scratch, (const unsigned char *)w + (size_t)row * row_bytes, row_bytes, 0, FILE_PANEL_ROWS,
                             FILE_PANEL_ROWS, k);
        packed->run(y + row, ldy, scratch, x, 0, FILE_PANEL_ROWS, m, k, inner);
    }
}

#define FILE_STRING(suffix) #suffix

/* FILE_KERNEL(id, packed_layout, suffix, initialisers): kernel_<id>_file_<suffix> out of
 * kernel_<packed_layout>_<suffix>. The initialisers are the members that both kernels have in common: all but name,
 * layout, scratch_bytes and run. */
#define FILE_KERNEL(id, packed_layout, suffix, ...) FILE_KERNEL_(id, packed_layout, suffix, __VA_ARGS__)
#define FILE_KERNEL_(id, packed_layout, suffix, ...)                                                                \
    static size_t id##_file_##suffix##_scratch_bytes(int k)                                                         \
    {                                                                                                               \
        return file_scratch_bytes(&kernel_##packed_layout##_##suffix, k);                                           \
    }                                                                                                               \
    static void id##_file_##suffix##_run(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, \
                                         int m, int k, void *scratch)                                               \
    {                                                                                                               \
        file_run(&kernel_##packed_layout##_##suffix, y, ldy, w, x, row0, row1, m, k, scratch);                      \
    }                                                                                                               \
    const struct panel_kernel kernel_##id##_file_##suffix = {                                                       \
        .name = #id "_file_" FILE_STRING(suffix),                                                                   \
        .layout = &layout_##id##_file,                                                                              \
        .scratch_bytes = id##_file_##suffix##_scratch_bytes,                                                        \
        .run = id##_file_##suffix##_run,                                                                            \
        __VA_ARGS__,                                                                                                \
    };

#endif
