/* Every weight product of quantised blocks with float activations, one test per kernel: there are many formats, and a
 * test is a process. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "ops/panel.h"
#include "tests/ops/ops_cases.h"

ParameterizedTestParameters(matmul_blocks, kernel)
{
    static int index[MAX_TESTED_KERNELS];
    return cr_make_param_array(int, index, kernels_of(KERNEL_BLOCKS, index));
}

ParameterizedTest(int *index, matmul_blocks, kernel)
{
    const struct panel_kernel *kernel = tested_kernels()[*index];
    const char *missing = missing_feature(kernel->needs);
    if (missing) cr_skip_test("%s skipped: needs %s", kernel->name, missing);
    cr_assert(kernel->exact, "%s", kernel->name);
    const char *wrong = check_kernel_parity(kernel);
    if (!wrong) wrong = check_kernel_bound(kernel);
    if (!wrong) wrong = check_kernel_independence(kernel);
    cr_assert(!wrong, "%s", wrong);
}
