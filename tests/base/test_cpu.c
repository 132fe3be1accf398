/* What the machine offers, and the ladder by which SLUICE_CPU lowers it. */
#include "base/cpu.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint64_t features_with(const char *bound)
{
    if (bound)
        setenv("SLUICE_CPU", bound, 1);
    else
        unsetenv("SLUICE_CPU");
    return cpu_features(NULL);
}

Test(cpu, every_feature_has_a_name_of_its_own)
{
    for (unsigned i = 0; i < N_CPU_FEATURES; i++) {
        cr_assert_not_null(cpu_feature_name(i));
        for (unsigned j = 0; j < i; j++) cr_expect_str_neq(cpu_feature_name(i), cpu_feature_name(j));
    }
    cr_expect_null(cpu_feature_name(N_CPU_FEATURES));
    cr_expect_null(cpu_feature_name(1000));
}

Test(cpu, scalar_leaves_nothing) { cr_expect_eq(features_with("scalar"), 0u); }

Test(cpu, no_bound_and_an_empty_bound_leave_everything)
{
    uint64_t all = features_with(NULL);
    cr_expect_eq(features_with(""), all);
    cr_expect_eq(all >> N_CPU_FEATURES, 0u);
#ifdef __aarch64__
    cr_expect(all & CPU_FEATURE(NEON), "every aarch64 machine has it");
#endif
}

/* The k-th name keeps the features up to the k-th bit: nothing stronger, and all that is weaker. */
Test(cpu, each_name_is_an_upper_bound)
{
    uint64_t all = features_with(NULL);
    for (unsigned bit = 0; bit < N_CPU_FEATURES; bit++) {
        uint64_t bounded = features_with(cpu_feature_name(bit));
        for (unsigned other = 0; other < N_CPU_FEATURES; other++)
            cr_expect_eq(bounded >> other & 1, other <= bit ? all >> other & 1 : 0, "SLUICE_CPU=%s, bit %s",
                         cpu_feature_name(bit), cpu_feature_name(other));
    }
}

Test(cpu, avx2_is_below_avx512) { cr_expect_eq(features_with("avx2") & ~CPU_FEATURE(AVX2), 0u); }

Test(cpu, an_unknown_word_changes_nothing_and_is_reported)
{
    uint64_t all = features_with(NULL);
    const char *unknown = "?";
    cr_expect_eq(cpu_features(&unknown), all);
    cr_expect_null(unknown);
    setenv("SLUICE_CPU", "AVX2 ", 1);
    cr_expect_eq(cpu_features(&unknown), all);
    cr_assert_not_null(unknown);
    cr_expect_str_eq(unknown, "AVX2 ");
    setenv("SLUICE_CPU", "scalar", 1);
    cpu_features(&unknown);
    cr_expect_null(unknown);
}

Test(cpu, the_machine_has_a_processor)
{
    cr_expect_geq(cpu_count(), 1);
    cr_expect_leq(cpu_count(), 1 << 16);
    cr_expect(strlen(cpu_model_name()) > 0);
    cr_expect_null(strchr(cpu_model_name(), '\n'));
    cr_expect_lt(cpu_cache_bytes(), UINT64_C(1) << 40);
}
