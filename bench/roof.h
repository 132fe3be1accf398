/* What this machine can do at best: read from memory, and multiply and add. The shares of the other benches are
 * taken of these, measured in alternation. */
#ifndef BENCH_ROOF_H
#define BENCH_ROOF_H

#include <stddef.h>

#include "ops/panel.h"

struct roof_read {
    const unsigned char *data; /* [bytes], far beyond the last-level cache */
    size_t bytes;              /* a multiple of 4096 */
    int threads;
};
void roof_read(void *arg); /* struct roof_read: reads everything once, threads side by side */

struct roof_fma {
    int threads;
    enum peak peak; /* PEAK_F32 by default; also where the machine has no such arithmetic */
};
/* Multiply-adds on registers of the widest usable instruction set, on each thread. */
void roof_fma(void *arg);
double roof_fma_flops(const struct roof_fma *r); /* operations of one call */
const char *roof_fma_name(enum peak peak);       /* "avx512vnni"; NULL: this machine has no such arithmetic */

#endif
