/* Loops that do nothing but what a machine does best: read, or multiply and add in registers. What products reach is
 * a share of these. The loops are assembler statements: as intrinsics, a compiler added moves to one and dropped the
 * loads of another. */
#ifndef OPS_ROOF_H
#define OPS_ROOF_H

#include <stdint.h>

#include "ops/panel.h"

struct roof_loop {
    enum peak peak;
    const char *name;        /* "avx512vnni" */
    uint64_t needs;          /* CPU feature bits, all of them */
    double operations;       /* multiplications and additions of one step */
    void (*run)(long steps); /* with enough independent sums to hide the latency of one; steps >= 1 */
};

/* Every loop that is built in, best first of each kind; one without a run ends the list. */
extern const struct roof_loop roof_loops[];

/* The best loop of this kind on a machine with `features`. NULL: no instruction does such arithmetic. */
const struct roof_loop *roof_loop_choose(enum peak peak, uint64_t features);

/* Reads every byte of [from, to), multiples of 4096 bytes apart. */
void roof_read_range(const unsigned char *from, const unsigned char *to);

#endif
