/* One weight product under test: buffers between guard pages, packing, multiplying. Shared by matmul_cases.c and
 * q8_cases.c. */
#ifndef TESTS_OPS_MATMUL_PROBLEM_H
#define TESTS_OPS_MATMUL_PROBLEM_H

#include <stdbool.h>

#include "ops/panel.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/rng.h"

/* The file's matrix as bytes and as floats, the packed matrix and the activations. */
struct problem {
    int n, k, m, n_padded;
    size_t row_bytes;                      /* of the file */
    float *weight;                         /* [n, k] what the packed matrix stands for */
    struct guarded_buffer file, packed, x; /* x [m, k] */
};

/* Buffers; file and x are to be filled. */
struct problem problem_alloc(const struct panel_layout *layout, int n, int k, int m);
/* Fills `weight` and `packed` from the file's bytes, in two ranges, as two threads would. */
void problem_pack(const struct panel_layout *layout, struct problem *p);
void problem_free(struct problem *p);

/* One block of random bytes: any (scales may be infinite or NaN), or one whose numbers are of a usual size. */
void fill_block(struct rng *rng, enum dtype type, unsigned char *block, bool any);

/* y [n_rows, n_padded] guarded, written by `kernel` for the given rows of x (NULL: 0, 1 ...), in row ranges of at most
 * `range` rows. Returns what was damaged, or NULL. */
const char *multiply(struct guarded_buffer *y, const struct panel_kernel *kernel, const struct problem *p,
                     const int *rows, int n_rows, int range);

/* One line about what is wrong. */
const char *report(const struct panel_kernel *kernel, const struct problem *p, const char *what, double got,
                   double limit);

#endif
