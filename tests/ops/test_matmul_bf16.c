/* Every exact weight product with activations rounded to bfloat16, one test per kernel; those on tile registers are in
 * test_matmul_amx.c. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/ops/ops_cases.h"

ParameterizedTestParameters(matmul_bf16, kernel)
{
    static int index[MAX_TESTED_KERNELS];
    size_t n_exact = 0, n = kernels_of(KERNEL_BF16, index);
    for (size_t i = 0; i < n; i++)
        if (tested_kernels()[index[i]]->exact) index[n_exact++] = index[i];
    return cr_make_param_array(int, index, n_exact);
}

ParameterizedTest(int *index, matmul_bf16, kernel)
{
    const struct panel_kernel *kernel = tested_kernels()[*index];
    const char *missing = missing_feature(kernel->needs);
    if (missing) cr_skip_test("%s skipped: needs %s", kernel->name, missing);
    const char *wrong = check_kernel_parity(kernel);
    if (!wrong) wrong = check_kernel_bound(kernel);
    if (!wrong) wrong = check_kernel_independence(kernel);
    cr_assert(!wrong, "%s", wrong);
}
