/* Every weight product with activations rounded to 8 bits, one test per kernel, and the packing of activations of all
 * kernels. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/ops/ops_cases.h"

ParameterizedTestParameters(matmul_q8, kernel)
{
    static int index[MAX_TESTED_KERNELS];
    return cr_make_param_array(int, index, kernels_of(KERNEL_Q8, index));
}

ParameterizedTest(int *index, matmul_q8, kernel)
{
    const struct panel_kernel *kernel = tested_kernels()[*index];
    const char *missing = missing_feature(kernel->needs);
    if (missing) cr_skip_test("%s skipped: needs %s", kernel->name, missing);
    const char *wrong = check_q8(kernel);
    cr_assert(!wrong, "%s", wrong);
}

Test(matmul_q8, activations_packed_in_pieces_of_columns_are_those_packed_at_once)
{
    for (const struct panel_kernel *const *list = tested_kernels(); *list; list++) {
        if (missing_feature((*list)->needs) || ((*list)->usable && !(*list)->usable())) continue;
        const char *wrong = check_pack_x_pieces(*list);
        cr_expect(!wrong, "%s: %s", (*list)->name, wrong);
    }
}
