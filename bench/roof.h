/* What this machine can do at best: read from memory, and multiply and add floats. The shares of the other benches
 * are taken of these, measured in alternation. */
#ifndef BENCH_ROOF_H
#define BENCH_ROOF_H

#include <stddef.h>

struct roof_read {
    const unsigned char *data; /* [bytes], far beyond the last-level cache */
    size_t bytes;              /* a multiple of 4096 */
    int threads;
};
void roof_read(void *arg); /* struct roof_read: reads everything once, threads side by side */

struct roof_fma {
    int threads;
};
/* Fused multiply-adds on registers of the widest usable instruction set, on each thread. */
void roof_fma(void *arg);
double roof_fma_flops(const struct roof_fma *r); /* operations of one call */
const char *roof_fma_name(void);                  /* "avx512", "avx2", "neon" */

#endif
