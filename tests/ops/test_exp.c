/* The exponential function: accuracy against double precision, special values, and the vector forms through softmax
 * and silu_mul, whose parity tests compare their bits. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/float16.h"
#include "ops/scalar/exp.h"
#include "ops/variants.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"

Test(exp, error_is_below_two_units_in_the_last_place)
{
    double worst = 0.0;
    float worst_x = 0.0f;
    for (uint32_t bits = 0; bits < 0xffffff00u; bits += 251) { /* every exponent and sign */
        float x = bits_float(bits);
        double error = ulp_error(exp_scalar(x), exp((double)x));
        if (!(error <= worst)) worst = error, worst_x = x;
    }
    cr_assert_leq(worst, 2.0, "%g ulp at %a", worst, (double)worst_x);
}

Test(exp, special_values)
{
    cr_assert_eq(exp_scalar(0.0f), 1.0f);
    cr_assert_eq(exp_scalar(-0.0f), 1.0f);
    cr_assert_eq(float_bits(exp_scalar(-INFINITY)), 0u);
    cr_assert_eq(float_bits(exp_scalar(-1000.0f)), 0u);
    cr_assert_eq(float_bits(exp_scalar(-104.5f)), 0u);
    cr_assert_eq(float_bits(exp_scalar(-103.0f)), 1u, "the smallest subnormal");
    cr_assert_eq(exp_scalar(INFINITY), INFINITY);
    cr_assert_eq(exp_scalar(88.8f), INFINITY);
    cr_assert(isfinite(exp_scalar(88.7f)));
    cr_assert(isnan(exp_scalar(NAN)));
    cr_assert(isnan(exp_scalar(-NAN)));
}

/* Through silu(x) * 1 = x / (1 + exp(-x)) over all magnitudes; softmax and attention show the smaller exponentials. */
Test(exp, vector_forms_have_the_bits_of_scalar)
{
    enum { N = 4096 };
    static float x[N], one[N], want[N], got[N];
    for (int i = 0; i < N; i++) one[i] = 1.0f;
    for (int v = 0; v < n_op_variants; v++) {
        if (strncmp(op_variants[v].name, "silu_mul_", 9) || missing_feature(op_variants[v].needs)) continue;
        __typeof__(((struct ops *)0)->silu_mul) silu_mul =
            (__typeof__(((struct ops *)0)->silu_mul))op_variants[v].function;
        for (uint32_t bits = 0, i = 0; bits < 0xffff0000u; bits += 1021) {
            x[i++] = bits_float(bits);
            if (i < N) continue;
            i = 0;
            ops_silu_mul_scalar(want, x, one, N);
            silu_mul(got, x, one, N);
            cr_assert_eq(first_difference(got, want, N), -1, "%s", op_variants[v].name);
        }
    }
}
