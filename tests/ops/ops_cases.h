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

/* In attention_cases.c: of every type, and of rows that see different positions. */
const char *check_attention(const struct op_variant *variant);
/* Of a variant that makes use of attention_block.rounds: the bits of a plain model of its arithmetic, on tiles if "amx"
 * is in its name, else in pairs; and a small error. */
const char *check_attention_rounded(const struct op_variant *variant);
const char *check_widen(const struct op_variant *variant);

extern const struct op_variant op_variants[];
extern const int n_op_variants;

/* "avx512" for the first feature of `needs` that the machine lacks, NULL if it has all. */
const char *missing_feature(uint64_t needs);

/* The scalar kernel of the same layout and type of activations, or NULL. */
const struct panel_kernel *scalar_kernel(const struct panel_kernel *kernel);

/* All kernels: panel_kernels() and those that exist for tests only. NULL ends the list. */
enum { MAX_TESTED_KERNELS = 512 };
const struct panel_kernel *const *tested_kernels(void);

/* What a kernel multiplies: plain floats, blocks with floats, or anything with activations of 8 bits or bfloat16. */
enum kernel_kind { KERNEL_FLOATS, KERNEL_BLOCKS, KERNEL_Q8, KERNEL_BF16 };
enum kernel_kind kernel_kind(const struct panel_kernel *kernel);

/* Indices in tested_kernels() of the kernels of one kind, at most MAX_TESTED_KERNELS; returns how many. */
size_t kernels_of(enum kernel_kind kind, int *indices);

/* k rounded up to what the layout takes. */
int fitting_k(const struct panel_layout *layout, int k);

/* Every shape, random and awkward values, gathered rows, row ranges, guard pages: an exact kernel has the bits of the
 * scalar one, any other stays within the bound of check_kernel_bound. */
const char *check_kernel_parity(const struct panel_kernel *kernel);
/* Each output within c * k * eps * sum |w x| of the sum in double precision, and the error of the whole as small as
 * the goal of the weight's type. */
const char *check_kernel_bound(const struct panel_kernel *kernel);
/* Row t of a product does not depend on m, on the row range or on the other rows. */
const char *check_kernel_independence(const struct panel_kernel *kernel);

/* Kernels of rounded activations (q8_cases.c).
 * The bits of scalar, of y and of the packed activations, for every number of tokens up to 17 and some beyond; weights
 * random, of any bytes, and extreme; activations usual, extreme, tiny, huge, zero, NaN and infinite; rows anywhere. */
const char *check_q8_parity(const struct panel_kernel *kernel);
/* With scales of one and levels and activations at their ends: the integers that come out are exact. */
const char *check_q8_integers(const struct panel_kernel *kernel);
/* NaN or infinity among the activations makes NaN of its token's results, and of no other. */
const char *check_q8_not_finite(const struct panel_kernel *kernel);
/* The error that rounding normal activations makes. */
const char *check_q8_error(const struct panel_kernel *kernel);
/* All four, and check_kernel_independence. */
const char *check_q8(const struct panel_kernel *kernel);

/* Activations packed in pieces of columns are those packed at once. Any kernel. */
const char *check_pack_x_pieces(const struct panel_kernel *kernel);

#endif
