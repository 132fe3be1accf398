/* Products of bfloat16 weights with activations rounded to bfloat16: vdpbf16ps takes a pair of columns at once, with
 * the arithmetic of scalar/matmul_bf16.c. A pair of columns of bf16_r16 fills 64 bytes, as one column of f32_r16 does,
 * so the tiles are those of floats with half as many columns. */
#include "ops/x86/vec_avx512.h"

#ifndef __AVX512BF16__
#error "compile this file with -mavx512bf16"
#endif

#include "base/float16.h"
#include "ops/tmpl/tokens.h"
#include "ops/variants.h"

#define MATMUL_ISA        avx512bf16
#define MATMUL_NEEDS      (CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512BF16))
#define MATMUL_ACTIVATION bf16
#define MATMUL_PEAK       PEAK_BF16
#define MATMUL_COLUMN     f32_r16
#define MATMUL_STEP       2
#define MATMUL_FMA        multiply_pairs
#define MATMUL_PACK_X     pack_pairs
#define MATMUL_MAX_TOKENS 12
/* As in matmul_avx512.c. */
#define MATMUL_TILES(X)                                                                                              \
    X(1, 4)                                                                                                          \
    X(1, 2) X(1, 1) X(2, 4) X(2, 2) X(2, 1) X(3, 4) X(3, 2) X(3, 1) X(4, 4) X(4, 2) X(4, 1) X(5, 4) X(5, 2) X(5, 1)  \
        X(6, 2) X(6, 1) X(7, 2) X(7, 1) X(8, 2) X(8, 1) X(9, 2) X(9, 1) X(10, 2) X(10, 1) X(11, 2) X(11, 1) X(12, 2) \
            X(12, 1)

static inline vec16 multiply_pairs(vec16 weights, vec16 activations, vec16 sum)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)activations);
}

/* Token tiles of pairs, [ceil(k / 2)][width]; the partner of the last column of an odd k is zero. */
static void pack_pairs(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1)
{
    const ptrdiff_t n_pairs = (k + 1) / 2;
    uint32_t *tile = dst;
    for (int t = 0, width; t < m; t += width, tile += width * n_pairs) {
        width = token_tile_width(t, m, MATMUL_MAX_TOKENS);
        for (int j = 0; j < width; j++) {
            const float *row = x + (rows ? rows[t + j] : t + j) * ldx;
            uint32_t *to = tile + k0 / 2 * width + j;
            int n = k1 - k0, i = 0;
            for (; i + 1 < n; i += 2, to += width)
                *to = float_to_bf16(row[i]) | (uint32_t)float_to_bf16(row[i + 1]) << 16;
            if (i < n) *to = float_to_bf16(row[i]);
        }
    }
}

#define MATMUL_LAYOUT bf16_r16
#include "ops/tmpl/matmul_tmpl.h"
