/* The weight product in plain C, for every layout: the order of sums that all exact kernels reproduce. */
#include <math.h>
#include <string.h>

#include "ops/assume.h"
#include "ops/file_kernel.h"
#include "ops/variants.h"

static size_t x_bytes(int m, int k) { return (size_t)m * (size_t)k * sizeof(float); }
static size_t scratch_bytes(int k) { return (size_t)k * sizeof(float); }

/* dst [m, k] = the chosen rows of x, without gaps. */
static void pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1)
{
    float *to = (float *)dst + k0;
    for (int i = 0; i < m; i++, to += k)
        memcpy(to, x + (rows ? rows[i] : i) * ldx, (size_t)(k1 - k0) * sizeof(float));
}

/* w [k] . x [k]: a chain of fused multiply-adds within each block of MATMUL_K_BLOCK, the blocks added in order. */
static float dot(const float *w, const float *x, int k)
{
    float total = 0.0f;
    for (int begin = 0; begin < k; begin += MATMUL_K_BLOCK) {
        int end = k - begin < MATMUL_K_BLOCK ? k : begin + MATMUL_K_BLOCK;
        float sum = 0.0f;
        for (int i = begin; i < end; i++) sum = fmaf(w[i], x[i], sum);
        total = begin ? total + sum : sum;
    }
    return total;
}

static void run(const struct panel_layout *layout, float *y, ptrdiff_t ldy, const void *w, const void *x, int row0,
                int row1, int m, int k, void *scratch)
{
    ASSUME(row0 >= 0 && row0 % layout->nr == 0 && row1 % layout->nr == 0 && m >= 1 && k >= 1);
    float *weight = scratch; /* [k] one row as floats */
    for (int row = row0; row < row1; row++) {
        layout->get_row(weight, w, row, k);
        for (int t = 0; t < m; t++) y[t * ldy + row] = dot(weight, (const float *)x + (ptrdiff_t)t * k, k);
    }
}

#define COMMON .m_min = 1, .m_tile = 1, .exact = true, .x_bytes = x_bytes, .pack_x = pack_x

/* SCALAR_KERNEL(layout): the kernel object kernel_<layout>_f32_scalar. */
#define SCALAR_KERNEL(id)                                                                                           \
    static void run_##id(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k,   \
                         void *scratch)                                                                             \
    {                                                                                                               \
        run(&layout_##id, y, ldy, w, x, row0, row1, m, k, scratch);                                                 \
    }                                                                                                               \
    const struct panel_kernel kernel_##id##_f32_scalar = {                                                          \
        .name = #id "_f32_scalar", .layout = &layout_##id,                                                          \
        .scratch_bytes = scratch_bytes, .run = run_##id, COMMON                                                     \
    };

SCALAR_KERNEL(f32_r16)
SCALAR_KERNEL(f16_r16)
SCALAR_KERNEL(bf16_r16k2)
SCALAR_KERNEL(f32_rows)
FILE_KERNEL(f32, f32_r16, f32_scalar, COMMON)
FILE_KERNEL(f16, f16_r16, f32_scalar, COMMON)
FILE_KERNEL(bf16, bf16_r16k2, f32_scalar, COMMON)

#define FORMAT(id, type, elements) SCALAR_KERNEL(id##_rows)
#include "quant/formats.inc"
