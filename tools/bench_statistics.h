/* Owns what samples mean: medians and quartiles, and how much of the machine's roofs a piece of work reached. */
#ifndef TOOLS_BENCH_STATISTICS_H
#define TOOLS_BENCH_STATISTICS_H

#include <stddef.h>

#include "sluice/experimental.h"

enum { BENCH_MAX_SAMPLES = 101 };

struct bench_samples {
    size_t count;
    double values[BENCH_MAX_SAMPLES];
};

struct quartiles {
    double median, q1, q3; /* between two samples: their mean, weighed by the distance */
};

/* Zeros for no samples. */
struct quartiles quartiles_of(const struct bench_samples *samples);

/* What one or more passes did. */
struct bench_work {
    double seconds, bytes, operations[SLUICE_N_PEAKS], tokens;
    double passes, experts_read, expert_rows, wait_seconds;
};

/* Adds the figures of a session: of decode passes, and with `prefill` of those with several rows too. */
void bench_work_add(struct bench_work *work, const sluice_session_stats *stats, bool prefill);

/* Seconds that the machine needs at best: to read the bytes, or for the multiplications, whatever takes longer.
 * Arithmetic that the machine has no roof for counts nothing. 0: no roof at all. */
double bench_roof_seconds(const struct bench_work *work, const sluice_roof *roof);

/* The numbers of a list that are at most `limit`; the first that is larger becomes `limit`, if that is larger than the
 * one before it. True: something was cut. */
bool bench_cut_list(int64_t *items, size_t *count, int64_t limit);

/* 1 for none. */
double geometric_mean(const double *values, size_t n);

#endif
