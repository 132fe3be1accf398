/* What the tests of kernel/ops share: the list of operation variants, and the checks of one variant against scalar.
 * A check returns NULL, or a sentence about the first thing that is wrong. The Criterion tests and the plain program
 * for emulated machines (plain/run_checks.c) both run them. */
#ifndef TESTS_OPS_OPS_CASES_H
#define TESTS_OPS_OPS_CASES_H

#include <stdint.h>

#include "ops/panel.h"

struct op_variant {
    const char *name; /* "rms_norm_avx2" */
    uint64_t needs;
    const char *(*check)(const struct op_variant *variant);
    void (*function)(void); /* cast back to the member's type by the check */
};

extern const struct op_variant op_variants[];
extern const int n_op_variants;

/* "avx512" for the first feature of `needs` that the machine lacks, NULL if it has all. */
const char *missing_feature(uint64_t needs);

/* The scalar kernel of the layout. */
const struct panel_kernel *scalar_kernel(const struct panel_layout *layout);

/* Indices in panel_kernels() of the kernels of plain floats, or of those of blocks; returns how many, at most max. */
size_t kernels_of(bool floats, int *indices, size_t max);

/* Every shape, random and awkward values, gathered rows, row ranges, guard pages: an exact kernel has the bits of the
 * scalar one, any other stays within the bound of check_kernel_bound. */
const char *check_kernel_parity(const struct panel_kernel *kernel);
/* Each output within c * k * eps * sum |w x| of the sum in double precision, and the error of the whole as small as
 * the goal of the weight's type. */
const char *check_kernel_bound(const struct panel_kernel *kernel);
/* Row t of a product does not depend on m, on the row range or on the other rows. */
const char *check_kernel_independence(const struct panel_kernel *kernel);

#endif
