/* The team: shares that cover everything once, barriers that hold, counters that hand out each number once. */
#include "base/team.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

Test(team, ranges_cover_everything_once_in_whole_pieces)
{
    static const int sizes[] = {0, 1, 2, 15, 16, 17, 31, 63, 64, 65, 100, 151936};
    static const int multiples[] = {1, 2, 16, 64, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; j < sizeof multiples / sizeof *multiples; j++)
            for (int threads = 1; threads <= TEAM_MAX_THREADS; threads += threads < 9 ? 1 : 19) {
                int n = sizes[i], multiple = multiples[j], at = 0, widest = 0, narrowest = n;
                for (int id = 0; id < threads; id++) {
                    struct thread t = {.id = id, .n = threads};
                    int begin, end;
                    team_range(&t, n, multiple, &begin, &end);
                    cr_assert(begin == at && begin <= end && end <= n, "%d of %d threads, n %d by %d: %d..%d", id,
                              threads, n, multiple, begin, end);
                    cr_assert(begin == end || (begin % multiple == 0 && (end % multiple == 0 || end == n)));
                    at = end;
                    if (end - begin > widest) widest = end - begin;
                    if (end - begin < narrowest) narrowest = end - begin;
                }
                cr_assert_eq(at, n);
                cr_assert(widest - narrowest < 2 * multiple, "shares are fair");
            }
}

Test(team, a_range_of_many_rows_does_not_overflow)
{
    for (int id = 0; id < TEAM_MAX_THREADS; id++) {
        struct thread t = {.id = id, .n = TEAM_MAX_THREADS};
        int begin, end;
        team_range(&t, INT32_MAX - 1, 1, &begin, &end);
        cr_assert(begin < end && begin >= 0);
        if (id == TEAM_MAX_THREADS - 1) cr_assert_eq(end, INT32_MAX - 1);
    }
}

static const int team_sizes[] = {1, 2, 3, 8}; /* the last are more than many machines have CPUs */
enum { N_TEAM_SIZES = sizeof team_sizes / sizeof *team_sizes, ROUNDS = 2000, MAX_IDS = 8 };

struct shared {
    int slots[MAX_IDS][16]; /* a line each; plain, so that only the barrier orders them */
    int wrong, ids[MAX_IDS], n;
    int *handed[TEAM_COUNTERS];
};

static void note_ids(struct thread *t, void *context)
{
    struct shared *s = context;
    s->ids[t->id]++;
    if (t->id == 0) s->n = t->n;
}

Test(team, every_thread_runs_once_with_its_own_number)
{
    for (int i = 0; i < N_TEAM_SIZES; i++) {
        struct team team;
        struct shared s = {0};
        team_init(&team, team_sizes[i]);
        team_run(&team, note_ids, &s);
        cr_expect_eq(s.n, team_sizes[i]);
        for (int id = 0; id < MAX_IDS; id++) cr_expect_eq(s.ids[id], id < s.n);
    }
}

static void write_and_read(struct thread *t, void *context)
{
    struct shared *s = context;
    int wrong = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        s->slots[t->id][0] = round;
        team_barrier(t);
        for (int id = 0; id < t->n; id++) wrong += s->slots[id][0] != round;
        team_barrier(t);
    }
    if (wrong) __atomic_fetch_add(&s->wrong, wrong, __ATOMIC_RELAXED);
}

Test(team, barriers_make_writes_visible)
{
    for (int i = 0; i < N_TEAM_SIZES; i++) {
        struct team team;
        struct shared s = {0};
        team_init(&team, team_sizes[i]);
        for (int run = 0; run < 3; run++) team_run(&team, write_and_read, &s); /* a barrier works again after a run */
        cr_expect_eq(s.wrong, 0, "%d threads", team_sizes[i]);
    }
}

enum { NUMBERS = 500, COUNTER_ROUNDS = 20 };

static void take_numbers(struct thread *t, void *context)
{
    struct shared *s = context;
    for (int round = 0; round < COUNTER_ROUNDS; round++) {
        team_barrier(t);
        for (int counter = 0; counter < TEAM_COUNTERS; counter++)
            for (int i; (i = team_next(t, counter)) < NUMBERS;)
                __atomic_fetch_add(&s->handed[counter][i], 1, __ATOMIC_RELAXED);
        team_barrier(t);
    }
}

Test(team, counters_hand_out_each_number_once)
{
    for (int i = 0; i < N_TEAM_SIZES; i++) {
        struct team team;
        struct shared s = {0};
        for (int c = 0; c < TEAM_COUNTERS; c++) s.handed[c] = calloc(NUMBERS, sizeof(int));
        team_init(&team, team_sizes[i]);
        team_run(&team, take_numbers, &s);
        for (int c = 0; c < TEAM_COUNTERS; c++) {
            for (int j = 0; j < NUMBERS; j++) cr_assert_eq(s.handed[c][j], COUNTER_ROUNDS, "counter %d: %d", c, j);
            free(s.handed[c]);
        }
    }
}

static void take_parts(struct thread *t, void *context)
{
    struct shared *s = context;
    int begin, end;
    while (team_take(t, 1, NUMBERS, 16, &begin, &end)) {
        if (end - begin > 16 || begin >= end) __atomic_fetch_add(&s->wrong, 1, __ATOMIC_RELAXED);
        for (int i = begin; i < end; i++) __atomic_fetch_add(&s->handed[1][i], 1, __ATOMIC_RELAXED);
        if (end == NUMBERS) s->n = end - begin;
    }
}

Test(team, parts_cover_everything_once_and_the_last_is_single)
{
    for (int i = 0; i < N_TEAM_SIZES; i++) {
        struct team team;
        struct shared s = {0};
        s.handed[1] = calloc(NUMBERS, sizeof(int));
        team_init(&team, team_sizes[i]);
        for (int region = 1; region <= 2; region++) { /* a region begins at 0 */
            team_run(&team, take_parts, &s);
            for (int j = 0; j < NUMBERS; j++) cr_assert_eq(s.handed[1][j], region, "%d", j);
            cr_expect_eq(s.n, 1);
        }
        cr_expect_eq(s.wrong, 0);
        free(s.handed[1]);
    }
}

enum { NAP_MS = 20, NAPS = 4 };

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = NAP_MS * 1000000L}, NULL); }

/* Each thread lets the others wait in turn. */
static void nap_in_turn(struct thread *t, void *context)
{
    struct shared *s = context;
    for (int i = 0; i < NAPS; i++) {
        if (i % t->n == t->id) nap();
        s->slots[t->id][0]++;
        team_barrier(t);
        for (int id = 0; id < t->n; id++)
            if (s->slots[id][0] != i + 1) __atomic_fetch_add(&s->wrong, 1, __ATOMIC_RELAXED);
        team_barrier(t);
    }
    if (t->id == 0) s->n = t->n_barriers;
}

/* Long enough that they sleep: also more of them than there are CPUs. */
Test(team, who_waits_long_is_woken_and_the_wait_is_counted)
{
    for (int i = 0; i < N_TEAM_SIZES; i++) {
        struct team team;
        struct shared s = {0};
        team_init(&team, team_sizes[i]);
        team_run(&team, nap_in_turn, &s);
        const double waited = 1e-3 * NAP_MS * NAPS * (team_sizes[i] - 1);
        cr_expect_eq(s.wrong, 0);
        cr_expect_eq(s.n, 2 * NAPS);
        cr_expect_geq(team.wait_seconds, 0.9 * waited, "%d threads", team_sizes[i]);
        if (team_sizes[i] == 1) cr_expect_eq(team.wait_seconds, 0);
    }
}

static void do_nothing(struct thread *t, void *context) { (void)t, (void)context; }

/* The waits are those of the last region. */
Test(team, waits_do_not_add_up_over_regions)
{
    struct team team;
    struct shared s = {0};
    team_init(&team, 2);
    team_run(&team, nap_in_turn, &s);
    const double before = team.wait_seconds;
    team_run(&team, do_nothing, &s);
    cr_expect_lt(team.wait_seconds, before);
}
