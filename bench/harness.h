/* Timing for benches: warm-up, alternation with a roof, median and quartiles, one CSV row per measurement. */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stddef.h>

struct bench_time {
    double median_ns, lower_ns, upper_ns; /* of one call; the quartiles show how quiet the machine was */
};

/* What is measured: `body(arg)` once, moving `bytes` from memory and doing `flops` operations. */
struct bench_case {
    const char *variant; /* "bf16_r16k2_f32_avx512" */
    const char *shape;   /* "m=1 n=2048 k=2048"; no comma */
    int threads;
    double bytes, flops;
    void (*body)(void *arg);
    void *arg;
    /* The roof: what the machine does of the same kind at best; runs between the samples of the body. NULL: none. */
    void (*roof)(void *arg);
    void *roof_arg;
    double roof_work; /* bytes or flops of one call of the roof, whichever the share is about */
    double body_work; /* the same of the body */
};

/* Reads options (-t threads, -f substring of variants) from argv; exits with a usage line on anything else. */
struct bench_options {
    int threads;
    const char *filter; /* "" takes all */
};
struct bench_options bench_options(int argc, char **argv);

void bench_header(void);                          /* prints the CSV header */
struct bench_time bench_run(struct bench_case c); /* measures and prints one row */

/* For what has to be timed otherwise: the clock, quartiles of samples (which are sorted), and the row. The share is a
 * percentage; 0: none. */
double bench_now_ns(void);
struct bench_time bench_quartiles(double *samples, int n);
void bench_print(struct bench_case c, struct bench_time t, double share);

/* Pages for large matrices, touched by this thread, advised to 2 MiB; never NULL (exits). */
void *bench_pages(size_t bytes);

#endif
