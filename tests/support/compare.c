/* Comparison of floats; see the header. */
#include "tests/support/compare.h"

#include <math.h>

#include "base/float16.h"

ptrdiff_t first_difference(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (float_bits(a[i]) != float_bits(b[i]) && !(isnan(a[i]) && isnan(b[i]))) return (ptrdiff_t)i;
    return -1;
}

double ulp_error(float value, double exact)
{
    float rounded = (float)exact;
    if (isnan(value) || isnan(rounded)) return isnan(value) && isnan(rounded) ? 0.0 : INFINITY;
    if (isinf(value) || isinf(rounded)) return value == rounded ? 0.0 : INFINITY;
    int exponent;
    frexpf(rounded, &exponent);
    if (rounded == 0.0f || exponent < -125) exponent = -125;
    return fabs((double)value - exact) / ldexp(1.0, exponent - 24);
}

double nmse(const float *a, const double *b, size_t n)
{
    double error = 0.0, power = 0.0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        power += b[i] * b[i];
    }
    return error == 0.0 ? 0.0 : error / power;
}
