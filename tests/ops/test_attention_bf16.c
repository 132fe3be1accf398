/* Attention with numbers rounded to bfloat16, one test per variant; on tile registers with the processor's tiles where
 * it has them and with emulated ones. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "ops/variants.h"
#include "tests/ops/ops_cases.h"

#ifdef __x86_64__

static const struct op_variant variants[] = {
    {"attention_avx512bf16", CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512BF16), check_attention,
     (void (*)(void))ops_attention_avx512bf16},
    {"attention_amx", CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512BF16) | CPU_FEATURE(AMX_BF16), check_attention,
     (void (*)(void))ops_attention_amx},
    {"attention_amx_emulated", CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512BF16), check_attention,
     (void (*)(void))ops_attention_amx_emulated},
};
enum { N_VARIANTS = sizeof variants / sizeof variants[0] };

ParameterizedTestParameters(attention_bf16, rounds_where_it_may_and_only_there)
{
    static int index[N_VARIANTS];
    for (int i = 0; i < N_VARIANTS; i++) index[i] = i;
    return cr_make_param_array(int, index, N_VARIANTS);
}

ParameterizedTest(int *index, attention_bf16, rounds_where_it_may_and_only_there)
{
    const struct op_variant *v = &variants[*index];
    const char *missing = missing_feature(v->needs);
    if (missing) cr_skip_test("%s skipped: needs %s", v->name, missing);
    if (strstr(v->name, "amx") && !__builtin_cpu_supports("avx512vbmi"))
        cr_skip_test("%s skipped: needs avx512vbmi", v->name);
    const char *wrong = v->check(v);
    if (!wrong) wrong = check_attention_rounded(v);
    cr_assert(!wrong, "%s", wrong);
}

#endif
