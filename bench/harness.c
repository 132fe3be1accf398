/* Timing; see the header and README.md for the method. */
#include "bench/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "base/memory.h"

#ifndef BENCH_COMMIT
#define BENCH_COMMIT "unknown"
#endif

enum { N_SAMPLES = 31 };
static const double sample_ns = 1e6; /* a sample repeats the body until it has taken about this long */

double bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double time_calls(void (*body)(void *), void *arg, long calls)
{
    double begin = bench_now_ns();
    for (long i = 0; i < calls; i++) body(arg);
    return (bench_now_ns() - begin) / (double)calls;
}

/* Calls per sample. The search is also the warm-up of caches, pages and clock frequency. */
static long calibrate(void (*body)(void *), void *arg)
{
    long calls = 1;
    for (;;) {
        double ns = time_calls(body, arg, calls) * (double)calls;
        if (ns >= sample_ns) return calls;
        calls = ns < sample_ns / 16 ? calls * 8 : (long)((double)calls * sample_ns / ns) + 1;
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench_options bench_options(int argc, char **argv)
{
    struct bench_options o = {.threads = 1, .filter = ""};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && !strcmp(argv[i], "-t") && atoi(argv[i + 1]) > 0) {
            o.threads = atoi(argv[i + 1]);
        } else if (i + 1 < argc && !strcmp(argv[i], "-f")) {
            o.filter = argv[i + 1];
        } else {
            fprintf(stderr, "usage: %s [-t threads] [-f part of a variant's name]\n", argv[0]);
            exit(1);
        }
    }
    return o;
}

void bench_header(void)
{
    puts("commit,machine,threads,variant,shape,median_ns,lower_quartile_ns,upper_quartile_ns,gb_per_s,gflop_per_s,"
         "percent_of_roof");
}

struct bench_time bench_quartiles(double *samples, int n)
{
    qsort(samples, (size_t)n, sizeof samples[0], ascending);
    return (struct bench_time){samples[n / 2], samples[n / 4], samples[n - 1 - n / 4]};
}

void bench_print(struct bench_case c, struct bench_time t, double share)
{
    char machine[128];
    snprintf(machine, sizeof machine, "%s", cpu_model_name());
    for (char *p = machine; *p; p++)
        if (*p == ',') *p = ' ';
    printf("%s,%s,%d,%s,%s,%.0f,%.0f,%.0f,%.2f,%.2f,", BENCH_COMMIT, machine, c.threads, c.variant, c.shape,
           t.median_ns, t.lower_ns, t.upper_ns, c.bytes / t.median_ns, c.flops / t.median_ns);
    if (share > 0) printf("%.1f", share);
    putchar('\n');
    fflush(stdout);
}

struct bench_time bench_run(struct bench_case c)
{
    double body[N_SAMPLES], roof[N_SAMPLES], share = 0;
    long calls = calibrate(c.body, c.arg), roof_calls = c.roof ? calibrate(c.roof, c.roof_arg) : 0;
    for (int i = 0; i < N_SAMPLES; i++) {
        roof[i] = c.roof ? time_calls(c.roof, c.roof_arg, roof_calls) : 0.0;
        body[i] = time_calls(c.body, c.arg, calls);
    }
    struct bench_time t = bench_quartiles(body, N_SAMPLES);
    bench_quartiles(roof, N_SAMPLES);
    /* Neighbours only ever add time, and not the same to both: the best samples are compared. */
    if (c.roof) share = 100.0 * (c.body_work / body[0]) / (c.roof_work / roof[0]);
    bench_print(c, t, share);
    return t;
}

void *bench_pages(size_t bytes)
{
    void *p = memory_map_pages(bytes, true);
    if (!p) {
        fprintf(stderr, "not enough memory for %zu bytes\n", bytes);
        exit(4);
    }
    memset(p, 0, bytes);
    return p;
}
