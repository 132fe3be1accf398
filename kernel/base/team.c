#include "base/team.h"

#include <omp.h>
#include <sched.h>

enum { SPINS_BEFORE_YIELD = 2000 }; /* some microseconds: longer than a step of decode, shorter than a time slice */

void team_init(struct team *team, int n_threads)
{
    team->n_threads = n_threads;
    atomic_init(&team->arrived, 0);
    atomic_init(&team->generation, 0);
    for (int i = 0; i < TEAM_COUNTERS; i++) atomic_init(&team->counters[i], 0);
}

void team_run(struct team *team, void (*work)(struct thread *t, void *context), void *context)
{
#pragma omp parallel num_threads(team->n_threads)
    {
        struct thread t = {.team = team, .id = omp_get_thread_num(), .n = omp_get_num_threads()};
        work(&t, context);
    }
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Our own barrier rather than OpenMP's: it may stand in any function, spins for a bounded time and then yields (so
 * that more threads than CPUs make progress), and sanitizers see its atomics. */
void team_barrier(struct thread *t)
{
    struct team *team = t->team;
    if (t->n == 1) return;
    unsigned generation = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == t->n) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->generation, generation + 1, memory_order_release);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&team->generation, memory_order_acquire) == generation; spins++) {
        if (spins < SPINS_BEFORE_YIELD)
            relax();
        else
            sched_yield();
    }
}

void team_range(const struct thread *t, int n, int multiple, int *begin, int *end)
{
    int pieces = (n + multiple - 1) / multiple;
    int first = (int)((long long)pieces * t->id / t->n), last = (int)((long long)pieces * (t->id + 1) / t->n);
    *begin = first * multiple;
    *end = last * multiple < n ? last * multiple : n;
    if (*begin > *end) *begin = *end;
}

int team_next(struct thread *t, int counter)
{
    return atomic_fetch_add_explicit(&t->team->counters[counter], 1, memory_order_relaxed);
}

void team_reset_counters(struct thread *t)
{
    for (int i = 0; i < TEAM_COUNTERS; i++) atomic_store_explicit(&t->team->counters[i], 0, memory_order_relaxed);
}
