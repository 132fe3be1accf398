/* The experts of one layer with the shapes of released models, as the engine runs them: router, choice, gate and up,
 * down. Random rows, so that experts are equally popular. The share is of the roof that binds: reading the experts that
 * are used, or multiplying at the peak of the kernels' kind of arithmetic. Without -f: Qwen3-30B-A3B in Q4_0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "bench/harness.h"
#include "bench/roof.h"
#include "bench/weights.h"
#include "model/forward.h"
#include "tests/support/rng.h"

enum { MAX_ROWS = 2048, MAX_SAMPLES = 31, READ_BYTES = 128 << 20 };
static const double budget_ns = 3e9; /* for the samples of one row of the table */

struct shape {
    const char *name;
    int hidden, expert, n_experts, top_k;
};
static const struct shape shapes[] = {
    {"qwen3-30b-a3b", 2048, 768, 128, 8}, {"olmoe-1b-7b", 2048, 1024, 64, 8},      {"mixtral-8x7b", 4096, 14336, 8, 2},
    {"gpt-oss-20b", 2880, 2880, 32, 4},   {"deepseek-v2-lite", 2048, 1408, 64, 6},
};
static const enum dtype types[] = {DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_MXFP4, DTYPE_IQ4_NL, DTYPE_Q4_K,
                                   DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_BF16,  DTYPE_F16};

struct bench {
    struct model model;
    struct layer_config config;
    struct layer layer;
    struct workspace ws;
    struct team team;
    struct row *rows;     /* [MAX_ROWS] */
    size_t bank_bytes[4]; /* gate, up, down, router */
    int n_rows, first;    /* of the rows that the next pass reads */
};

static void *need(void *p)
{
    if (p) return p;
    fprintf(stderr, "not enough memory\n");
    exit(4);
}

/* Equal matrices of small random numbers. */
static struct bank make_bank(enum dtype type, int n_matrices, int n, int k, size_t *bytes)
{
    const struct panel_layout *layout = need((void *)panel_layout_choose(type, n, k, cpu_features(NULL), 0));
    const size_t stride = (layout->packed_bytes(n, k) + 63) & ~(size_t)63;
    size_t one_bytes;
    void *one = bench_matrix(layout, n, k, &one_bytes);
    *bytes = stride * (size_t)n_matrices + 64; /* kernels may read beyond the end */
    char *packed = bench_pages(*bytes);
    for (int i = 0; i < n_matrices; i++) memcpy(packed + (size_t)i * stride, one, layout->packed_bytes(n, k));
    memory_unmap_pages(one, one_bytes);
    struct weight first = {.layout = layout, .data = packed, .n = n, .k = k, .file_dtype = type};
    return (struct bank){.first = first, .stride = stride, .n_matrices = n_matrices};
}

/* The matrices of banks repeat; a router's rows must differ. */
static struct weight make_router(int n, int k, size_t *bytes)
{
    struct weight w = make_bank(DTYPE_F32, 1, n, k, bytes).first;
    struct rng rng = rng_seed(2);
    float *values = need(malloc((size_t)n * (size_t)k * sizeof *values));
    rng_fill(&rng, values, (size_t)n * (size_t)k, -0.05f, 0.05f);
    w.layout->pack((void *)w.data, values, (size_t)k * sizeof *values, 0, n, n, k);
    free(values);
    return w;
}

static void carve(struct bench *b)
{
    workspace_carve(&b->ws, &b->model, MAX_ROWS, b->team.n_threads, 16, &b->model.arena);
}

static void make(struct bench *b, const struct shape *s, enum dtype type, int n_threads)
{
    struct rng rng = rng_seed(3);
    memset(b, 0, sizeof *b);
    team_init(&b->team, n_threads);
    b->config.mixer = (struct mixer){.kind = MIX_GQA, .n_heads = 1, .n_kv_heads = 1, .head_dim = 1, .v_head_dim = 1};
    b->config.router = (struct router){.n_experts = s->n_experts, .top_k = s->top_k, .scale = 1, .normalise = true};
    b->config.ffn = (struct ffn){.kind = FFN_MOE, .expert_size = s->expert};
    b->layer.config = &b->config;
    b->layer.router = make_router(s->n_experts, s->hidden, &b->bank_bytes[3]);
    b->layer.gate = make_bank(type, s->n_experts, s->expert, s->hidden, &b->bank_bytes[0]);
    b->layer.up = make_bank(type, s->n_experts, s->expert, s->hidden, &b->bank_bytes[1]);
    b->layer.down = make_bank(type, s->n_experts, s->hidden, s->expert, &b->bank_bytes[2]);
    b->model.layers = &b->layer;
    b->model.features = cpu_features(NULL);
    b->model.config = (struct model_config){.n_layers = 1,
                                            .layers = &b->config,
                                            .hidden_size = s->hidden,
                                            .n_context = 16,
                                            .rms_norm_eps = 1e-6f,
                                            .embedding_scale = 1};
    carve(b);
    if (!arena_commit(&b->model.arena, true)) need(NULL);
    carve(b);
    workspace_init(&b->ws, &b->model, 16);
    b->rows = need(calloc(MAX_ROWS, sizeof *b->rows));
    rng_fill(&rng, b->ws.h, (size_t)MAX_ROWS * (size_t)b->ws.ld_hidden, -1, 1);
}

static void drop(struct bench *b)
{
    const struct weight *weights[] = {&b->layer.gate.first, &b->layer.up.first, &b->layer.down.first, &b->layer.router};
    for (int i = 0; i < 4; i++) memory_unmap_pages((void *)weights[i]->data, b->bank_bytes[i]);
    arena_free(&b->model.arena);
    free(b->rows);
}

static void run_layer(struct thread *t, void *context)
{
    struct bench *b = context;
    const struct chunk c = {.rows = b->rows, .n_rows = b->n_rows};
    const float *h = b->ws.h + b->first * b->ws.ld_hidden;
    team_barrier(t);
    experts(&b->model, &b->layer, 0, &b->ws, &c, h, h, t);
}

/* A pass over the next rows, so that the experts of the one before do not lie in the caches. */
static double pass(struct bench *b, int n_rows)
{
    b->n_rows = n_rows;
    b->first = b->first + 2 * n_rows <= MAX_ROWS ? b->first + n_rows : 0;
    b->ws.bytes_read = 0;
    memset(b->ws.operations, 0, sizeof b->ws.operations);
    double begin = bench_now_ns();
    team_run(&b->team, run_layer, b);
    return bench_now_ns() - begin;
}

static double time_of(void (*body)(void *), void *arg)
{
    double begin = bench_now_ns();
    body(arg);
    return bench_now_ns() - begin;
}

/* Roofs are measured between the samples; what neighbours add is not the same to both, so the best are compared. */
static void measure(struct bench *b, const char *name, int n_rows, struct roof_read *read)
{
    double samples[MAX_SAMPLES], best_read = 1e300, best_fma[N_PEAKS], best = 1e300;
    double bytes = 0, flops = 0;
    int n = 0;
    for (int p = 0; p < N_PEAKS; p++) best_fma[p] = 1e300;
    pass(b, n_rows);
    for (double begin = bench_now_ns(); n < 5 || (n < MAX_SAMPLES && bench_now_ns() - begin < budget_ns); n++) {
        samples[n] = pass(b, n_rows);
        if (samples[n] < best) best = samples[n], bytes = (double)b->ws.bytes_read;
        double ns = time_of(roof_read, read);
        if (ns < best_read) best_read = ns;
        for (int p = 0; p < N_PEAKS; p++) {
            struct roof_fma fma = {.threads = read->threads, .peak = (enum peak)p};
            if (b->ws.operations[p] == 0) continue;
            for (int i = 0; i < 8; i++) { /* one takes a fraction of a millisecond */
                ns = time_of(roof_fma, &fma) / roof_fma_flops(&fma);
                if (ns < best_fma[p]) best_fma[p] = ns;
            }
        }
    }
    double reading = bytes * best_read / READ_BYTES, multiplying = 0;
    for (int p = 0; p < N_PEAKS; p++) {
        flops += (double)b->ws.operations[p];
        if (b->ws.operations[p]) multiplying += (double)b->ws.operations[p] * best_fma[p];
    }
    char shape[64];
    snprintf(shape, sizeof shape, "%d rows; bound by %s", n_rows, reading > multiplying ? "reading" : "multiplying");
    struct bench_case c = {.variant = name, .shape = shape, .threads = read->threads, .bytes = bytes, .flops = flops};
    bench_print(c, bench_quartiles(samples, n), 100 * (reading > multiplying ? reading : multiplying) / best);
}

int main(int argc, char **argv)
{
    static const int counts[] = {1, 32, 512, 2048};
    struct bench_options o = bench_options(argc, argv);
    struct roof_read read = {.data = bench_pages(READ_BYTES), .bytes = READ_BYTES, .threads = o.threads};
    static struct bench b;
    bench_header();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s_%s", shapes[s].name, dtype_info(types[i])->name);
            int block = dtype_info(types[i])->elements_per_block;
            if (!strstr(name, *o.filter ? o.filter : "qwen3-30b-a3b_Q4_0")) continue;
            if (shapes[s].hidden % block || shapes[s].expert % block) continue;
            make(&b, &shapes[s], types[i], o.threads);
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) measure(&b, name, counts[c], &read);
            drop(&b);
        }
    return 0;
}
