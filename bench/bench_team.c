/* What it costs to work as a team: to begin and end a region, at once and after a pause in which the workers fall
 * asleep; a barrier; a piece from a counter. Nanoseconds of one each. */
#include <stdio.h>
#include <time.h>

#include "base/team.h"
#include "bench/harness.h"

enum { N_SAMPLES = 31, N_STEPS = 2000 };

static void nothing(struct thread *t, void *context) { (void)t, (void)context; }

static void barriers(struct thread *t, void *context)
{
    (void)context;
    for (int i = 0; i < N_STEPS; i++) team_barrier(t);
}

static void pieces(struct thread *t, void *context)
{
    (void)context;
    while (team_next(t, 0) < N_STEPS) {}
}

struct measured {
    const char *name, *shape;
    void (*work)(struct thread *t, void *context);
    int steps;     /* in one region */
    long pause_ns; /* before it */
};

static void measure(struct team *team, struct measured what)
{
    double samples[N_SAMPLES];
    const int regions = what.steps > 1 || what.pause_ns ? 1 : 100;
    for (int i = -1; i < N_SAMPLES; i++) { /* the first starts the workers */
        if (what.pause_ns) nanosleep(&(struct timespec){.tv_nsec = what.pause_ns}, NULL);
        double begin = bench_now_ns();
        for (int r = 0; r < regions; r++) team_run(team, what.work, NULL);
        if (i >= 0) samples[i] = (bench_now_ns() - begin) / regions / what.steps;
    }
    bench_print((struct bench_case){.variant = what.name, .shape = what.shape, .threads = team->n_threads},
                bench_quartiles(samples, N_SAMPLES), 0);
}

int main(int argc, char **argv)
{
    static const struct measured all[] = {
        {"region", "at once", nothing, 1, 0},
        {"region", "after 1 ms", nothing, 1, 1000000},
        {"region", "after 50 ms", nothing, 1, 50000000},
        {"barrier", "2000 in a region", barriers, N_STEPS, 0},
        {"piece", "2000 from a counter", pieces, N_STEPS, 0},
    };
    struct bench_options o = bench_options(argc, argv);
    static struct team team;
    team_init(&team, o.threads);
    bench_header();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) measure(&team, all[i]);
    return 0;
}
