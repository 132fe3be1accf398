/* Ways to say that two arrays of floats agree. */
#ifndef TESTS_SUPPORT_COMPARE_H
#define TESTS_SUPPORT_COMPARE_H

#include <stddef.h>

/* Index of the first element whose bits differ, or -1. Any NaN equals any NaN: which payload comes out of a NaN is up
 * to the processor. */
ptrdiff_t first_difference(const float *a, const float *b, size_t n);

/* Distance in units in the last place of `exact` rounded to float (subnormals: of 2^-149); 0 when both are infinite
 * with the same sign or both NaN, infinite when only one is. */
double ulp_error(float value, double exact);

/* sum (a - b)^2 / sum b^2, the normalised mean square error of a against b [n]; 0 when a equals b. */
double nmse(const float *a, const double *b, size_t n);

#endif
