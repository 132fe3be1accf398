/* The team: one OpenMP parallel region in which every thread runs the same function (SPMD) and takes its share of each
 * step. Work is shared in two ways: fixed ranges, and counters from which threads take the next piece. Steps are
 * separated by explicit barriers, which also bring the counters back to 0. Nothing here decides the order of a sum, so
 * results cannot depend on the number of threads. */
#ifndef BASE_TEAM_H
#define BASE_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { TEAM_MAX_THREADS = 256, TEAM_COUNTERS = 2 };

struct team {
    int n_threads;       /* wanted; a region may get fewer */
    double wait_seconds; /* of the last region: time at barriers and before the start, summed over threads */
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation; /* of barriers; who waits for long sleeps on it */
    atomic_int sleepers;
    _Alignas(64) atomic_int counters[TEAM_COUNTERS];
    _Alignas(64) atomic_ullong wait_ticks;
};

struct trace_lane;

struct thread { /* a thread's own view of the team, on its stack */
    struct team *team;
    int id, n;                /* 0 <= id < n */
    int n_barriers;           /* passed so far in this region */
    uint64_t wait_ticks;      /* spent there */
    struct trace_lane *trace; /* where its time is noted (model/trace.h); NULL: nowhere */
};

void team_init(struct team *team, int n_threads);

/* Runs work(thread, context) on every thread of one parallel region and returns when all have finished. */
void team_run(struct team *team, void (*work)(struct thread *t, void *context), void *context);

/* Nobody passes until all have arrived; what was written before is visible after. All counters are 0 after. */
void team_barrier(struct thread *t);

/* This thread's part [*begin, *end) of 0..n, cut at multiples of `multiple`. */
void team_range(const struct thread *t, int n, int multiple, int *begin, int *end);

/* The counters give 0, 1, 2 ... to whoever asks first. A region begins with all at 0. */
int team_next(struct thread *t, int counter);

/* The same for a step whose pieces may have any size: takes the next part [*begin, *end) of 0..n, large ones (at most
 * `most`) first and single ones at the end, so that all finish together. False: nothing is left. A step uses a counter
 * with team_take or with team_next. */
bool team_take(struct thread *t, int counter, int n, int most, int *begin, int *end);

#endif
