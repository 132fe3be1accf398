/* Every operation of every instruction set against scalar, one test per line of variants.inc. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/ops/ops_cases.h"

enum { MAX_VARIANTS = 64 };

ParameterizedTestParameters(ops_parity, variant_equals_scalar_bit_for_bit)
{
    static int index[MAX_VARIANTS];
    for (int i = 0; i < n_op_variants; i++) index[i] = i;
    return cr_make_param_array(int, index, (size_t)n_op_variants);
}

ParameterizedTest(int *index, ops_parity, variant_equals_scalar_bit_for_bit)
{
    const struct op_variant *variant = &op_variants[*index];
    const char *missing = missing_feature(variant->needs);
    if (missing) cr_skip_test("%s skipped: needs %s", variant->name, missing);
    const char *wrong = variant->check(variant);
    cr_assert(!wrong, "%s", wrong);
}
