/* Every weight product of plain floats, one test per kernel of variants.inc and property; and OpenBLAS called from
 * several threads. Those of blocks are in test_matmul_blocks.c. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "ops/variants.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"
#include "tests/support/rng.h"

static struct criterion_test_params kernel_indices(void)
{
    static int index[MAX_TESTED_KERNELS];
    return cr_make_param_array(int, index, kernels_of(KERNEL_FLOATS, index));
}

static const struct panel_kernel *usable_kernel(int index)
{
    const struct panel_kernel *kernel = tested_kernels()[index];
    const char *missing = missing_feature(kernel->needs);
    if (missing) cr_skip_test("%s skipped: needs %s", kernel->name, missing);
    if (kernel->usable && !kernel->usable()) cr_skip_test("%s skipped: needs its library", kernel->name);
    return kernel;
}

ParameterizedTestParameters(matmul, kernel_equals_scalar) { return kernel_indices(); }
ParameterizedTest(int *index, matmul, kernel_equals_scalar)
{
    const char *wrong = check_kernel_parity(usable_kernel(*index));
    cr_assert(!wrong, "%s", wrong);
}

ParameterizedTestParameters(matmul, error_is_within_the_bound) { return kernel_indices(); }
ParameterizedTest(int *index, matmul, error_is_within_the_bound)
{
    const char *wrong = check_kernel_bound(usable_kernel(*index));
    cr_assert(!wrong, "%s", wrong);
}

ParameterizedTestParameters(matmul, row_does_not_depend_on_its_company) { return kernel_indices(); }
ParameterizedTest(int *index, matmul, row_does_not_depend_on_its_company)
{
    const struct panel_kernel *kernel = usable_kernel(*index);
    if (!kernel->exact) cr_skip_test("%s skipped: sums in an order of its own", kernel->name);
    const char *wrong = check_kernel_independence(kernel);
    cr_assert(!wrong, "%s", wrong);
}

#ifdef SLUICE_BLAS

static int count_threads(void)
{
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    cr_assert(tasks);
    for (struct dirent *e; (e = readdir(tasks));) n += e->d_name[0] != '.';
    closedir(tasks);
    return n;
}

/* Large enough that OpenBLAS would share the work among threads of its own if it were let. */
Test(matmul, openblas_starts_no_threads_and_gives_the_same_bits_from_any_number)
{
    enum { N = 2048, K = 512, M = 64, PANEL = 256, THREADS = 4 };
    const struct panel_kernel *kernel = &kernel_f32_rows_f32_openblas;
    cr_assert(panel_blas_usable());
    struct rng rng = rng_seed(5);
    float *w = malloc(sizeof(float) * N * K), *x = malloc(sizeof(float) * M * K);
    float *one = malloc(sizeof(float) * M * N), *many = malloc(sizeof(float) * M * N);
    cr_assert(w && x && one && many);
    rng_fill(&rng, w, (size_t)N * K, -1.0f, 1.0f);
    rng_fill(&rng, x, (size_t)M * K, -1.0f, 1.0f);
#pragma omp parallel num_threads(THREADS) /* our own team exists before the count */
    {
#pragma omp barrier
    }
    int before = count_threads();
    kernel->run(one, N, w, x, 0, N, M, K, NULL);
    for (int round = 0; round < 8; round++) {
        memset(many, 0, sizeof(float) * M * N);
#pragma omp parallel for schedule(dynamic) num_threads(THREADS)
        for (int row = 0; row < N; row += PANEL) kernel->run(many, N, w, x, row, row + PANEL, M, K, NULL);
        cr_assert_eq(first_difference(many, one, (size_t)M * N), -1);
    }
    cr_assert_leq(count_threads(), before);
    free(w);
    free(x);
    free(one);
    free(many);
}

#endif
