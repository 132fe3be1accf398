/* Letting requests for memory fail, one at a time: which ones, and how far it has got.
 *
 * An ordinary run picks a few at random, from a seed that changes with the month and is printed, so that in time all
 * are met; SLUICE_SWEEP_SEED=N in the environment repeats one. With SLUICE_SWEEP=full every request fails once, but for
 * steps of more than SWEEP_MOST requests, of which the beginning, the end and as many in between fail; tools/sweep does
 * that, and SLUICE_SWEEP_ONLY=WORD keeps to names that hold the word. */
#ifndef TESTS_SUPPORT_SWEEP_H
#define TESTS_SUPPORT_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rng.h"

enum { SWEEP_MOST = 6000 };

struct sweep {
    bool full;
    uint64_t seed;
    struct rng rng;
    const char *title;
    uint64_t n_failed;
};

/* `title` lives as long as the sweep; it also varies the random numbers, so that models differ. */
struct sweep sweep_begin(const char *title);
bool sweep_is_full(void);

/* Numbers 1..n_requests of those that are to fail, in ascending order, at most `few` in an ordinary run. free() it. */
uint64_t *sweep_choose(struct sweep *s, uint64_t n_requests, size_t few, size_t *n);

/* The next point of a step is about to fail. Shows the way on a terminal, and in a full run one line per step. */
void sweep_show(struct sweep *s, const char *step, uint64_t n_requests, size_t i, size_t n);

/* Open files of this process. */
size_t sweep_count_files(void);

#endif
