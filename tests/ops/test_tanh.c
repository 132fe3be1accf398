/* The hyperbolic tangent: accuracy against double precision, special values, and the vector forms through softcap. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/float16.h"
#include "ops/scalar/tanh.h"
#include "ops/variants.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"

Test(tanh, error_is_small_absolutely_and_relatively)
{
    double worst = 0.0, worst_relative = 0.0;
    float worst_x = 0.0f;
    for (uint32_t bits = 0; bits < 0xff800000u; bits += 251) { /* every exponent and sign */
        float x = bits_float(bits);
        if (isnan(x)) continue;
        double exact = tanh((double)x), error = fabs((double)tanh_scalar(x) - exact);
        cr_assert_leq(fabsf(tanh_scalar(x)), 1.0f, "beyond 1 at %a", (double)x);
        if (!(error <= worst)) worst = error, worst_x = x;
        if (fabsf(x) >= 1e-36f)
            worst_relative = fmax(worst_relative, error / fabs(exact)); /* below, ulps of subnormals */
    }
    cr_assert_leq(worst, 2e-7, "%g at %a", worst, (double)worst_x);
    cr_assert_leq(worst_relative, 4e-7);
    for (float x = 0.0f; x < 12.0f; x += 0x1p-16f) {
        double error =
            fmax(fabs((double)tanh_scalar(x) - tanh((double)x)), fabs((double)tanh_scalar(-x) + tanh((double)x)));
        cr_assert_leq(error, 2e-7, "%g at +-%a", error, (double)x);
    }
}

Test(tanh, special_values)
{
    cr_assert_eq(tanh_scalar(0.0f), 0.0f);
    cr_assert_eq(tanh_scalar(-0.0f), 0.0f);
    cr_assert_eq(tanh_scalar(0x1p-149f), 0x1p-149f, "the smallest subnormal");
    cr_assert_eq(tanh_scalar(-0x1p-149f), -0x1p-149f);
    const float large[] = {9.5f, 10.0f, 11.0f, 50.0f, 100.0f, 3e38f, INFINITY};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        cr_assert_eq(tanh_scalar(large[i]), 1.0f);
        cr_assert_eq(tanh_scalar(-large[i]), -1.0f);
    }
    cr_assert(isnan(tanh_scalar(NAN)));
    cr_assert(isnan(tanh_scalar(-NAN)));
}

/* Through softcap with a cap of 1 over all magnitudes. */
Test(tanh, vector_forms_have_the_bits_of_scalar)
{
    enum { N = 4096 };
    static float want[N], got[N];
    for (int v = 0; v < n_op_variants; v++) {
        if (strncmp(op_variants[v].name, "softcap_", 8) || missing_feature(op_variants[v].needs)) continue;
        __typeof__(((struct ops *)0)->softcap) softcap = (__typeof__(softcap))op_variants[v].function;
        for (uint32_t bits = 0, i = 0; bits < 0xffff0000u; bits += 1021) {
            want[i++] = bits_float(bits);
            if (i < N) continue;
            i = 0;
            memcpy(got, want, sizeof got);
            for (int j = 0; j < N; j++) want[j] = tanh_scalar(want[j]);
            softcap(got, 1.0f, N);
            cr_assert_eq(first_difference(got, want, N), -1, "%s", op_variants[v].name);
        }
    }
}
