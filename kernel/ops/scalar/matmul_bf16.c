/* The product of bfloat16 weights with activations rounded to bfloat16, in plain C: what the processors' instructions
 * for pairs of bfloat16 (vdpbf16ps) compute, which was found on Intel's description and on an AMD Zen 4. Per pair of
 * columns the second is added first, each with a fused multiply-add that takes subnormal numbers for zero and gives
 * none. Sums begin at zero in every block of PAIRS_BLOCK pairs; the blocks are added in order, as usual. */
#include <float.h>
#include <math.h>

#include "base/float16.h"
#include "ops/assume.h"
#include "ops/scalar/flush.h"
#include "ops/variants.h"

/* As many packed bytes of activations per block as in products of floats. */
enum { PAIRS_BLOCK = MATMUL_K_BLOCK };

static int whole_k(int k) { return (k + 1) / 2 * 2; }
static size_t x_bytes(int m, int k) { return (size_t)m * (size_t)whole_k(k) * sizeof(float); }
static size_t scratch_bytes(int k) { return (size_t)whole_k(k) * sizeof(float); }

/* dst [m][k, made even by a zero]: the rounded activations as floats. */
static void pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1)
{
    float *to = dst;
    for (int t = 0; t < m; t++, to += whole_k(k)) {
        const float *row = x + (rows ? rows[t] : t) * ldx;
        for (int i = k0; i < k1; i++) to[i] = bf16_to_float(float_to_bf16(row[i - k0]));
        if (k1 == k && k % 2) to[k] = 0.0f;
    }
}

static float dot(const float *w, const float *x, int k)
{
    float total = 0.0f;
    for (int begin = 0, end; begin < k; begin = end) {
        float sum = 0.0f;
        end = k - begin > 2 * PAIRS_BLOCK ? begin + 2 * PAIRS_BLOCK : k;
        for (int i = begin; i < end; i += 2) {
            sum = flushed_fma(w[i + 1], x[i + 1], sum);
            sum = flushed_fma(w[i], x[i], sum);
        }
        total = begin ? total + sum : sum;
    }
    return total;
}

static void run(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k, void *scratch)
{
    ASSUME(row0 >= 0 && row0 % 16 == 0 && row1 % 16 == 0 && m >= 1 && k >= 1);
    float *weight = scratch; /* one row as floats */
    weight[whole_k(k) - 1] = 0.0f;
    for (int row = row0; row < row1; row++) {
        layout_bf16_r16.get_row(weight, w, row, k);
        for (int t = 0; t < m; t++)
            y[t * ldy + row] = dot(weight, (const float *)x + (ptrdiff_t)t * whole_k(k), whole_k(k));
    }
}

const struct panel_kernel kernel_bf16_r16_bf16_scalar = {
    .name = "bf16_r16_bf16_scalar",
    .needs = 0,
    .layout = &layout_bf16_r16,
    .m_min = 1,
    .m_tile = 1,
    .exact = true,
    .peak = PEAK_BF16,
    .x_bytes = x_bytes,
    .pack_x = pack_x,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
