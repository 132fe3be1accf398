/* The team: one OpenMP parallel region in which every thread runs the same function (SPMD) and takes its share of each
 * step. Work is shared in two ways: fixed ranges, and a counter from which threads take the next piece. Steps are
 * separated by explicit barriers. Nothing here decides the order of a sum, so results cannot depend on the number of
 * threads. */
#ifndef BASE_TEAM_H
#define BASE_TEAM_H

#include <stdatomic.h>

enum { TEAM_MAX_THREADS = 256, TEAM_COUNTERS = 2 };

struct team {
    int n_threads; /* wanted; a region may get fewer */
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_int counters[TEAM_COUNTERS];
};

struct thread { /* a thread's own view of the team, on its stack */
    struct team *team;
    int id, n; /* 0 <= id < n */
};

void team_init(struct team *team, int n_threads);

/* Runs work(thread, context) on every thread of one parallel region and returns when all have finished. */
void team_run(struct team *team, void (*work)(struct thread *t, void *context), void *context);

/* Nobody passes until all have arrived; what was written before is visible after. */
void team_barrier(struct thread *t);

/* This thread's part [*begin, *end) of 0..n, cut at multiples of `multiple`. */
void team_range(const struct thread *t, int n, int multiple, int *begin, int *end);

/* The counters give 0, 1, 2 ... to whoever asks first. Thread 0 resets both between two barriers. */
int team_next(struct thread *t, int counter);
void team_reset_counters(struct thread *t);

#endif
