/* Dense float products by OpenBLAS, as one kernel among others: the baseline that `compare` measures against. The only
 * file that includes cblas.h. Two traps and what is done about them:
 *
 *   - OpenBLAS starts threads of its own when it is loaded, so it is loaded only when somebody asks for it. Ours call
 *     it, so it is told once to use one; without that each of our threads would wake its pool. With an OpenMP build of
 *     OpenBLAS the number is taken anew from OpenMP at each call (OpenMathLib/OpenBLAS issue 5806), except inside a
 *     parallel region, where it is one: run this from the team.
 *   - Its order of sums depends on the shape of the call. The shape is therefore fixed along the rows: one call per
 *     panel of 256, whichever thread makes it, so results do not depend on the number of threads. They do depend on m
 *     and on the processor that OpenBLAS detects, so this kernel is not exact. */
#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "ops/assume.h"
#include "ops/variants.h"

/* Filled by load(); the types are those of cblas.h. */
static struct {
    __typeof__(&cblas_sgemm) sgemm;
    __typeof__(&openblas_set_num_threads) set_num_threads;
} blas;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

static void load(void)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    void *sgemm = library ? dlsym(library, "cblas_sgemm") : NULL;
    void *set = library ? dlsym(library, "openblas_set_num_threads") : NULL;
    if (!sgemm || !set) return;
    memcpy(&blas.set_num_threads, &set, sizeof set); /* C has no cast from an object's address to a function's */
    blas.set_num_threads(1);
    memcpy(&blas.sgemm, &sgemm, sizeof sgemm);
}

static bool usable(void)
{
    pthread_once(&loaded, load);
    return blas.sgemm != NULL;
}

static size_t x_bytes(int m, int k) { return (size_t)m * (size_t)k * sizeof(float); }

static size_t scratch_bytes(int k)
{
    (void)k;
    return 0;
}

/* dst [m, k] = the chosen rows of x, without gaps. */
static void pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1)
{
    float *to = (float *)dst + k0;
    for (int i = 0; i < m; i++, to += k)
        memcpy(to, x + (rows ? rows[i] : i) * ldx, (size_t)(k1 - k0) * sizeof(float));
}

static void run(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k, void *scratch)
{
    const int panel = layout_f32_rows.nr;
    ASSUME(blas.sgemm && row0 >= 0 && row0 % panel == 0 && row1 % panel == 0 && m >= 1 && k >= 1 && ldy >= row1);
    (void)scratch;
    for (int row = row0; row < row1; row += panel)
        blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, panel, k, 1.0f, x, k,
                   (const float *)w + (size_t)row * (size_t)k, k, 0.0f, y + row, (blasint)ldy);
}

const struct panel_kernel kernel_f32_rows_f32_openblas = {
    .name = "f32_rows_f32_openblas",
    .needs = 0,
    .layout = &layout_f32_rows,
    .m_min = 1,
    .m_tile = 1,
    .exact = false,
    .usable = usable,
    .x_bytes = x_bytes,
    .pack_x = pack_x,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
