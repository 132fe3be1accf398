#include "mixer_bench.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"

static void *owned[128];
static size_t n_owned;

static void *own(size_t bytes)
{
    cr_assert_lt(n_owned, sizeof owned / sizeof *owned);
    void *p = calloc(bytes + 64, 1);
    cr_assert(p);
    return owned[n_owned++] = p;
}

float *bench_floats(size_t n) { return own(n * sizeof(float)); }

void bench_free(void)
{
    while (n_owned) free(owned[--n_owned]);
}

struct weight bench_weight(const float *values, int n, int k)
{
    struct weight w = {.layout = panel_layout_choose(DTYPE_F32, n, k, cpu_features(NULL), 0), .n = n, .k = k};
    void *packed = own(w.layout->packed_bytes(n, k));
    w.layout->pack(packed, values, (size_t)k * sizeof *values, 0, n, n, k);
    w.data = packed;
    return w;
}

struct weight bench_random_weight(struct rng *rng, float **values, int n, int k)
{
    *values = bench_floats((size_t)n * (size_t)k);
    rng_fill(rng, *values, (size_t)n * (size_t)k, -1, 1);
    return bench_weight(*values, n, k);
}

static void connect(struct mixer_bench *b)
{
    b->layer.config = &b->config;
    b->model.layers = &b->layer;
    b->model.config.layers = &b->config;
    b->model.config.n_layers = 1;
    b->model.features = cpu_features(NULL);
}

void bench_open(struct mixer_bench *b, int n_threads)
{
    connect(b);
    b->n_threads = n_threads;
    b->n_rows = 0;
    b->arena = (struct arena){0};
    workspace_carve(&b->ws, &b->model, BENCH_ROWS, n_threads, 16, &b->arena);
    cr_assert(arena_commit(&b->arena, false));
    workspace_carve(&b->ws, &b->model, BENCH_ROWS, n_threads, 16, &b->arena);
    workspace_init(&b->ws, &b->model, 16);
    for (int i = 0; i < BENCH_SESSIONS; i++) {
        b->cache_arenas[i] = (struct arena){0};
        cache_carve(&b->caches[i], &b->model.config, 16, DTYPE_F32, &b->cache_arenas[i]);
        cr_assert(arena_commit(&b->cache_arenas[i], false));
        cache_carve(&b->caches[i], &b->model.config, 16, DTYPE_F32, &b->cache_arenas[i]);
    }
}

void bench_close(struct mixer_bench *b)
{
    arena_free(&b->arena);
    for (int i = 0; i < BENCH_SESSIONS; i++) arena_free(&b->cache_arenas[i]);
}

void bench_add(struct mixer_bench *b, int session, const float *h, int n)
{
    const size_t width = (size_t)b->model.config.hidden_size;
    cr_assert_leq(b->n_rows + n, BENCH_ROWS);
    memcpy(b->h + (size_t)b->n_rows * width, h, (size_t)n * width * sizeof *h);
    for (int i = 0; i < n; i++) b->rows[b->n_rows++] = (struct row){.cache = &b->caches[session]};
}

static void run_mixer(struct thread *t, void *context)
{
    struct mixer_bench *b = context;
    const struct chunk c = {.rows = b->rows, .n_rows = b->n_rows};
    team_barrier(t);
    (b->config.mixer.kind == MIX_DELTA ? delta_net : short_conv)(&b->model, &b->layer, 0, &b->ws, &c, b->ws.h, t);
}

void bench_pass(struct mixer_bench *b, float *out)
{
    const size_t width = (size_t)b->model.config.hidden_size, ld = (size_t)b->ws.ld_hidden;
    struct team team;
    for (int i = 0; i < b->n_rows; i++) {
        memcpy(b->ws.h + (size_t)i * ld, b->h + (size_t)i * width, width * sizeof *out);
        memset(b->ws.x + (size_t)i * ld, 0, width * sizeof *out);
    }
    team_init(&team, b->n_threads);
    team_run(&team, run_mixer, b);
    for (int i = 0; i < b->n_rows; i++) memcpy(out + (size_t)i * width, b->ws.x + (size_t)i * ld, width * sizeof *out);
    b->n_rows = 0;
}
