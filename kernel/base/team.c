#include "base/team.h"

#include <limits.h>
#include <omp.h>
#include <sched.h>

#include "base/clock.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* How long a barrier waits before it lets the CPU go: first with pauses, some tens of microseconds, longer than most
 * imbalances of decode; then leaving the CPU to whoever wants it; then asleep. The last two let a team of more threads
 * than CPUs make progress: on two CPUs with 20 others at work, eight threads are 1.6 times as fast as with 1,000
 * yields or without sleep. */
enum { SPINS = 2000, YIELDS = 100 };

void team_init(struct team *team, int n_threads)
{
    team->n_threads = n_threads < TEAM_MAX_THREADS ? n_threads : TEAM_MAX_THREADS;
    team->wait_seconds = 0;
    atomic_init(&team->arrived, 0);
    atomic_init(&team->generation, 0);
    atomic_init(&team->sleepers, 0);
    for (int i = 0; i < TEAM_COUNTERS; i++) atomic_init(&team->counters[i], 0);
    atomic_init(&team->wait_ticks, 0);
}

static void reset_counters(struct team *team)
{
    for (int i = 0; i < TEAM_COUNTERS; i++) atomic_store_explicit(&team->counters[i], 0, memory_order_relaxed);
}

void team_run(struct team *team, void (*work)(struct thread *t, void *context), void *context)
{
    const double start_seconds = clock_seconds();
    const uint64_t start = clock_ticks();
    reset_counters(team);
    atomic_store_explicit(&team->wait_ticks, 0, memory_order_relaxed);
#pragma omp parallel num_threads(team->n_threads)
    {
        struct thread t = {.team = team, .id = omp_get_thread_num(), .n = omp_get_num_threads()};
        const uint64_t now = clock_ticks(); /* a worker that slept comes late; clocks of two CPUs may differ a little */
        if (t.id && now > start) t.wait_ticks = now - start;
        work(&t, context);
        atomic_fetch_add_explicit(&team->wait_ticks, t.wait_ticks, memory_order_relaxed);
    }
    const uint64_t all = clock_ticks() - start, waited = atomic_load_explicit(&team->wait_ticks, memory_order_relaxed);
    team->wait_seconds = all ? (double)waited / (double)all * (clock_seconds() - start_seconds) : 0;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Sleeps until the generation is another one, or for no reason. The order matters: a sleeper is counted before the
 * kernel compares the generation, and the last to arrive moves the generation before it looks for sleepers. */
static void sleep_at(struct team *team, unsigned generation)
{
#ifdef __linux__
    atomic_fetch_add(&team->sleepers, 1);
    syscall(SYS_futex, &team->generation, FUTEX_WAIT_PRIVATE, generation, NULL, NULL, 0);
    atomic_fetch_sub(&team->sleepers, 1);
#else
    (void)team, (void)generation;
    sched_yield();
#endif
}

static void wake_all(struct team *team)
{
#ifdef __linux__
    if (atomic_load(&team->sleepers) > 0)
        syscall(SYS_futex, &team->generation, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#else
    (void)team;
#endif
}

static void wait_for(struct team *team, unsigned generation)
{
    for (int i = 0; atomic_load_explicit(&team->generation, memory_order_acquire) == generation; i++) {
        if (i < SPINS)
            relax();
        else if (i < SPINS + YIELDS)
            sched_yield();
        else
            sleep_at(team, generation);
    }
}

/* Our own barrier rather than OpenMP's: it may stand in any function, knows how long it took, and sanitizers see its
 * atomics. */
void team_barrier(struct thread *t)
{
    struct team *team = t->team;
    t->n_barriers++;
    if (t->n == 1) {
        reset_counters(team);
        return;
    }
    const unsigned generation = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == t->n) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        reset_counters(team);
        atomic_fetch_add(&team->generation, 1);
        wake_all(team);
        return;
    }
    const uint64_t start = clock_ticks();
    wait_for(team, generation);
    t->wait_ticks += clock_ticks() - start;
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

/* Guided self-scheduling: half of a fair share of what is left (Polychronopoulos 1987 takes all of it, which lets a
 * thread that comes late wait for the first pieces). */
bool team_take(struct thread *t, int counter, int n, int most, int *begin, int *end)
{
    atomic_int *next = &t->team->counters[counter];
    int at = atomic_load_explicit(next, memory_order_relaxed), size;
    do {
        if (at >= n) return false;
        size = (n - at) / (2 * t->n);
        if (size > most) size = most;
        if (size < 1) size = 1;
    } while (!atomic_compare_exchange_weak_explicit(next, &at, at + size, memory_order_relaxed, memory_order_relaxed));
    *begin = at;
    *end = at + size;
    return true;
}
