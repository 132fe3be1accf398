/* Measures what this machine can do at best, with the loops of ops/roof.h on a team's threads. */
#include "ops/roof.h"

#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/team.h"
#include "engine/engine_internal.h"

/* A round reads one of the pieces: by the time it comes back to it, the others have driven it out of the caches. */
enum { ROUNDS = 24, PIECES = 4, PAGE = 4096, READ_BYTES = 256 << 20, MAX_READ_BYTES = 1 << 30 };
static const double round_seconds = 2e-3; /* less than a time slice: some rounds fit between neighbours */

struct rounds {
    const struct roof_loop *loop; /* NULL: read */
    long steps;
    unsigned char *data; /* [n_pages * PAGE] */
    size_t n_pages;
    double start[TEAM_MAX_THREADS]; /* of this round */
    double fastest;                 /* seconds */
    int n_threads;                  /* that took part */
};

/* This thread's part of pages [first, first + n). */
static unsigned char *own_pages(const struct rounds *r, const struct thread *t, size_t first, size_t n, size_t *bytes)
{
    size_t begin = n * (size_t)t->id / (size_t)t->n, end = n * (size_t)(t->id + 1) / (size_t)t->n;
    *bytes = (end - begin) * PAGE;
    return r->data + (first + begin) * PAGE;
}

static void touch(struct thread *t, void *context)
{
    const struct rounds *r = context;
    size_t bytes;
    for (size_t piece = 0; piece < PIECES; piece++) {
        unsigned char *p = own_pages(r, t, r->n_pages / PIECES * piece, r->n_pages / PIECES, &bytes);
        memset(p, 1, bytes);
    }
}

/* From the first thread's start to now, when all have ended: one that starts late has had the machine to itself. */
static void note_round(struct rounds *r, int n_threads, bool is_first)
{
    double start = r->start[0];
    for (int i = 1; i < n_threads; i++)
        if (r->start[i] < start) start = r->start[i];
    double seconds = clock_seconds() - start;
    if (is_first || seconds < r->fastest) r->fastest = seconds;
    r->n_threads = n_threads;
}

static void run_rounds(struct thread *t, void *context)
{
    struct rounds *r = context;
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t bytes;
        const unsigned char *p = own_pages(r, t, r->n_pages / PIECES * (i % PIECES), r->n_pages / PIECES, &bytes);
        team_barrier(t);
        r->start[t->id] = clock_seconds();
        if (r->loop)
            r->loop->run(r->steps);
        else if (bytes)
            roof_read_range(p, p + bytes);
        team_barrier(t);
        if (t->id == 0) note_round(r, t->n, i == 0);
    }
}

/* Steps that take about round_seconds on one thread: by the fastest of three tries, because a neighbour may make any of
 * them long. Also brings the clock frequency up. */
static long choose_steps(const struct roof_loop *loop)
{
    for (long steps = 1 << 10;; steps *= 2) {
        double fastest = round_seconds;
        for (int i = 0; i < 3; i++) {
            double start = clock_seconds(), seconds;
            loop->run(steps);
            seconds = clock_seconds() - start;
            if (seconds < fastest) fastest = seconds;
        }
        if (fastest >= round_seconds) return steps;
    }
}

/* Operations per second; 0: there is no such arithmetic. */
static double measure_peak(struct team *team, const struct roof_loop *loop)
{
    if (!loop) return 0;
    struct rounds r = {.loop = loop, .steps = choose_steps(loop)};
    team_run(team, run_rounds, &r);
    return loop->operations * (double)r.steps * r.n_threads / r.fastest;
}

/* Bytes per second. */
static double measure_read(struct team *team, unsigned char *data, size_t bytes)
{
    struct rounds r = {.data = data, .n_pages = bytes / PAGE};
    team_run(team, touch, &r);
    team_run(team, run_rounds, &r);
    const size_t read = r.n_pages / PIECES * PAGE; /* a whole number of pages for each piece */
    return (double)read / r.fastest;
}

static void raise(double *best, double found)
{
    if (found > *best) *best = found;
}

static const char *name_of(const struct roof_loop *loop) { return loop ? loop->name : NULL; }

sluice_status sluice_measure_roof(int n_threads, sluice_roof *roof, sluice_error *error)
{
    struct failure f = {0};
    struct team team;
    uint64_t bytes = 4 * cpu_cache_bytes(), features = cpu_features(NULL);
    if (n_threads < 0 || n_threads > TEAM_MAX_THREADS) {
        fail(&f, SLUICE_ARGUMENT, "threads: found %d, expected 0..%d", n_threads, TEAM_MAX_THREADS);
        return report_failure(error, &f);
    }
    if (bytes < READ_BYTES) bytes = READ_BYTES;
    if (bytes > MAX_READ_BYTES) bytes = MAX_READ_BYTES;
    unsigned char *data = memory_map_pages(bytes, true);
    if (!data) {
        fail(&f, SLUICE_MEMORY, "no memory to measure how fast it is read");
        return report_failure(error, &f);
    }
    team_init(&team, n_threads ? n_threads : cpu_count());
    raise(&roof->read_gb_per_s, measure_read(&team, data, bytes) * 1e-9);
    memory_unmap_pages(data, bytes);
    const struct roof_loop *int8 = roof_loop_choose(PEAK_INT8, features);
    const struct roof_loop *bf16 = roof_loop_choose(PEAK_BF16, features);
    const struct roof_loop *f32 = roof_loop_choose(PEAK_F32, features);
    raise(&roof->int8_tops, measure_peak(&team, int8) * 1e-12);
    raise(&roof->bf16_tflops, measure_peak(&team, bf16) * 1e-12);
    raise(&roof->f32_tflops, measure_peak(&team, f32) * 1e-12);
    roof->int8_isa = name_of(int8);
    roof->bf16_isa = name_of(bf16);
    roof->f32_isa = name_of(f32);
    roof->cpu = cpu_model_name();
    roof->n_threads = team.n_threads;
    return SLUICE_OK;
}
