/* Dense float products by OpenBLAS, as one kernel among others: the baseline that `compare` measures against. The only
 * file that includes cblas.h. Two traps and what is done about them:
 *
 *   - OpenBLAS has threads of its own. Ours call it, so it is told once to use one; without that each of our threads
 *     would wake its pool. With an OpenMP build of OpenBLAS the number is taken anew from OpenMP at each call
 *     (OpenMathLib/OpenBLAS issue 5806), except inside a parallel region, where it is one: run this from the team.
 *   - Its order of sums depends on the shape of the call. The shape is therefore fixed along the rows: one call per
 *     panel of 256, whichever thread makes it, so results do not depend on the number of threads. They do depend on m
 *     and on the processor that OpenBLAS detects, so this kernel is not exact. */
#include <cblas.h>
#include <pthread.h>
#include <string.h>

#include "ops/assume.h"
#include "ops/variants.h"

static void use_one_thread(void) { openblas_set_num_threads(1); }

static size_t x_bytes(int m, int k) { return (size_t)m * (size_t)k * sizeof(float); }

static size_t scratch_bytes(int k)
{
    (void)k;
    return 0;
}

/* dst [m, k] = the chosen rows of x, without gaps. */
static void pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k)
{
    float *to = dst;
    for (int i = 0; i < m; i++, to += k) memcpy(to, x + (rows ? rows[i] : i) * ldx, (size_t)k * sizeof(float));
}

static void run(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k, void *scratch)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const int panel = layout_f32_rows.nr;
    ASSUME(row0 >= 0 && row0 % panel == 0 && row1 % panel == 0 && m >= 1 && k >= 1 && ldy >= row1);
    (void)scratch;
    pthread_once(&once, use_one_thread);
    for (int row = row0; row < row1; row += panel)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, panel, k, 1.0f, x, k,
                    (const float *)w + (size_t)row * (size_t)k, k, 0.0f, y + row, (blasint)ldy);
}

const struct panel_kernel kernel_f32_rows_f32_openblas = {
    .name = "f32_rows_f32_openblas", .needs = 0, .layout = &layout_f32_rows, .m_min = 1, .m_tile = 1, .exact = false,
    .x_bytes = x_bytes, .pack_x = pack_x, .scratch_bytes = scratch_bytes, .run = run,
};
