#include "tests/model/tiny.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "tests/support/rng.h"

static void *own(struct tiny *t, size_t bytes)
{
    cr_assert_lt(t->n_owned, TINY_PIECES);
    void *p = calloc(bytes + 64, 1); /* kernels may read 64 bytes more */
    cr_assert(p);
    return t->owned[t->n_owned++] = p;
}

void tiny_make(struct tiny *t, int hidden_size)
{
    memset(t, 0, sizeof *t);
    t->config.mixer =
        (struct mixer){.kind = MIX_GQA, .n_heads = 1, .n_kv_heads = 1, .head_dim = 1, .v_head_dim = 1, .scale = 1};
    t->config.router.scale = 1;
    t->layer.config = &t->config;
    t->model.layers = &t->layer;
    t->model.features = cpu_features(NULL);
    t->model.config.n_layers = 1;
    t->model.config.layers = &t->config;
    t->model.config.hidden_size = hidden_size;
    t->model.config.n_context = TINY_CONTEXT;
    t->model.config.rms_norm_eps = 1e-6f;
    t->model.config.embedding_scale = 1;
}

static void carve(struct tiny *t, int max_rows)
{
    workspace_carve(&t->ws, &t->model, max_rows, t->n_threads, TINY_CONTEXT, &t->arena);
    for (int i = 0; i < TINY_SESSIONS; i++)
        cache_carve(&t->caches[i], &t->model.config, TINY_CONTEXT, t->cache_type, &t->arena);
}

void tiny_start(struct tiny *t, int max_rows, int n_threads)
{
    t->n_threads = n_threads;
    t->ws = (struct workspace){0};
    t->arena = (struct arena){0};
    carve(t, max_rows);
    cr_assert(arena_commit(&t->arena, false));
    carve(t, max_rows);
    workspace_init(&t->ws, &t->model, TINY_CONTEXT);
    for (int i = 0; i < TINY_SESSIONS; i++) cache_clear(&t->caches[i]);
}

void tiny_stop(struct tiny *t) { arena_free(&t->arena); }

void tiny_free(struct tiny *t)
{
    tiny_stop(t);
    for (int i = 0; i < t->n_owned; i++) free(t->owned[i]);
}

const float *tiny_floats(struct tiny *t, const float *values, size_t n)
{
    return memcpy(own(t, n * sizeof *values), values, n * sizeof *values);
}

const float *tiny_random(struct tiny *t, size_t n, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    float *values = own(t, n * sizeof *values);
    rng_fill(&rng, values, n, -1, 1);
    return values;
}

struct bank tiny_bank(struct tiny *t, int n_matrices, int n, int k, const float *values, const float *bias)
{
    const struct panel_layout *layout = panel_layout_choose(DTYPE_F32, n, k, t->model.features, 0);
    const size_t stride = layout->packed_bytes(n, k), row_bytes = (size_t)k * sizeof *values;
    char *packed = own(t, (size_t)n_matrices * stride);
    for (int i = 0; i < n_matrices; i++)
        layout->pack(packed + (size_t)i * stride, values + (size_t)i * (size_t)n * (size_t)k, row_bytes, 0, n, n, k);
    return (struct bank){
        .first = {.layout = layout, .data = packed, .bias = bias, .n = n, .k = k, .file_dtype = DTYPE_F32},
        .stride = stride,
        .n_matrices = n_matrices,
    };
}

struct weight tiny_weight(struct tiny *t, int n, int k, const float *values)
{
    return tiny_bank(t, 1, n, k, values, NULL).first;
}

struct weight tiny_pick(struct tiny *t, int n, int k, int first)
{
    float *values = own(t, (size_t)n * (size_t)k * sizeof *values);
    for (int r = 0; r < n && first + r < k; r++) values[r * k + first + r] = 1;
    return tiny_weight(t, n, k, values);
}

struct call {
    struct tiny *tiny;
    tiny_block *block;
    struct chunk chunk;
};

static void run_block(struct thread *thread, void *context)
{
    struct call *call = context;
    call->block(call->tiny, &call->chunk, call->tiny->ws.h, thread);
}

static void run_forward(struct thread *thread, void *context)
{
    struct call *call = context;
    forward(&call->tiny->model, &call->tiny->ws, &call->chunk, thread);
}

void tiny_run(struct tiny *t, tiny_block *block, const float *h, int first, int n_rows, float *out)
{
    const size_t row_bytes = (size_t)t->model.config.hidden_size * sizeof *h;
    struct row *rows = calloc((size_t)n_rows, sizeof *rows);
    struct team team;
    cr_assert(rows && n_rows <= t->ws.max_rows);
    memset(t->ws.x, 0, (size_t)(n_rows * t->ws.ld_hidden) * sizeof(float));
    for (int i = 0; i < n_rows; i++) {
        rows[i] = (struct row){.cache = &t->caches[0], .position = first + i};
        memcpy(t->ws.h + i * t->ws.ld_hidden, h + i * t->model.config.hidden_size, row_bytes);
    }
    team_init(&team, t->n_threads);
    team_run(&team, run_block, &(struct call){t, block, {.rows = rows, .n_rows = n_rows}});
    for (int i = 0; i < n_rows; i++)
        memcpy(out + i * t->model.config.hidden_size, t->ws.branch + i * t->ws.ld_hidden, row_bytes);
    free(rows);
}

void tiny_forward(struct tiny *t, const struct row *rows, int n_rows, const struct observer *observer)
{
    struct team team;
    team_init(&team, t->n_threads);
    team_run(&team, run_forward, &(struct call){t, NULL, {.rows = rows, .n_rows = n_rows, .observer = observer}});
}
