/* The operations of struct ops, every variant, at the sizes of a 2,048-wide model: how much of a token they cost beside
 * the weight products. Shares are of the peak of fused multiply-adds and only given for attention. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/harness.h"
#include "bench/roof.h"
#include "ops/variants.h"
#include "tests/support/rng.h"

enum { N = 2048, HEAD = 128, MAX_QUERIES = 64, ROTATED = 128 };

struct work {
    float y[N], x[N], w[N], sign[N], cosine[ROTATED / 2], sine[ROTATED / 2];
    float q[MAX_QUERIES * HEAD], out[MAX_QUERIES * HEAD], max[MAX_QUERIES], sum[MAX_QUERIES];
    float scratch[MAX_QUERIES * (ATTENTION_SCORES + HEAD / 2) + ATTENTION_CHUNK * HEAD + 16];
    float keys[ATTENTION_BLOCK * HEAD], values[ATTENTION_BLOCK * HEAD]; /* or numbers of a smaller type */
    int n_q;
    enum dtype cache_type;
    void (*function)(void);
};

#define TYPED(member) ((__typeof__(((struct ops *)0)->member))w->function)

static void run_rms_norm(void *arg)
{
    struct work *w = arg;
    TYPED(rms_norm)(w->y, w->x, w->w, N, 1e-6f);
}
static void run_l2_norm(void *arg)
{
    struct work *w = arg;
    TYPED(l2_norm)(w->y, w->x, N, 1e-6f);
}
static void run_rope(void *arg)
{
    struct work *w = arg;
    TYPED(rope)(w->y, w->cosine, w->sine, ROTATED);
}
static void run_silu_mul(void *arg)
{
    struct work *w = arg;
    TYPED(silu_mul)(w->y, w->x, w->w, N);
}
static void run_gelu_mul(void *arg)
{
    struct work *w = arg;
    TYPED(gelu_mul)(w->y, w->x, w->w, N);
}
static void run_swiglu_clamped(void *arg)
{
    struct work *w = arg;
    TYPED(swiglu_clamped)(w->y, w->x, w->w, N, 7.0f);
}
static void run_silu(void *arg)
{
    struct work *w = arg;
    memcpy(w->y, w->x, sizeof w->y);
    TYPED(silu)(w->y, N);
}
static void run_sigmoid(void *arg)
{
    struct work *w = arg;
    TYPED(sigmoid)(w->y, N);
}
static void run_softcap(void *arg)
{
    struct work *w = arg;
    memcpy(w->y, w->x, sizeof w->y);
    TYPED(softcap)(w->y, 30.0f, N);
}
static void run_softmax(void *arg)
{
    struct work *w = arg;
    memcpy(w->y, w->x, sizeof w->y);
    TYPED(softmax)(w->y, N);
}
static void run_dot(void *arg)
{
    struct work *w = arg;
    w->y[0] = TYPED(dot)(w->x, w->w, N);
}
static void run_add(void *arg)
{
    struct work *w = arg;
    TYPED(add)(w->y, w->x, N);
}
static void run_add_scaled(void *arg)
{
    struct work *w = arg;
    TYPED(add_scaled)(w->y, w->x, 0.5f, N);
}
static void run_mul(void *arg)
{
    struct work *w = arg;
    TYPED(mul)(w->y, w->sign, N);
}
static void run_mul_add(void *arg)
{
    struct work *w = arg;
    TYPED(mul_add)(w->y, w->x, w->w, N);
}
static void run_scale(void *arg)
{
    struct work *w = arg;
    TYPED(scale)(w->y, -1.0f, N);
}
static void run_clamp(void *arg)
{
    struct work *w = arg;
    TYPED(clamp)(w->y, 1.0f, N);
}
static void run_attention_merge(void *arg)
{
    struct work *w = arg;
    float max = 1, sum = 1;
    TYPED(attention_merge)(w->y, &max, &sum, w->x, 0.5f, 1, N);
}
static void run_widen(void *arg)
{
    struct work *w = arg;
    TYPED(widen)(w->y, w->x, DTYPE_BF16, N);
}
static void run_attention(void *arg)
{
    struct work *w = arg;
    struct attention_block b = {.q = w->q,
                                .q_head = HEAD,
                                .k = w->keys,
                                .v = w->values,
                                .k_type = w->cache_type,
                                .v_type = w->cache_type,
                                .v_stride = value_row_bytes(w->cache_type, HEAD),
                                .n_rows = 1,
                                .group = w->n_q,
                                .head_dim = HEAD,
                                .v_head_dim = HEAD,
                                .position = ATTENTION_BLOCK - 1,
                                .scale = 0.088f,
                                .rounds = w->n_q >= ATTENTION_ROUNDS_FROM && w->cache_type != DTYPE_F32,
                                .scratch = w->scratch,
                                .out = w->out,
                                .out_stride = HEAD,
                                .max = w->max,
                                .sum = w->sum};
    TYPED(attention)(&b);
}

/* vectors: of N floats that are read or written, for GB/s from the nearest cache. */
static void bench_vector_op(const char *variant, void (*body)(void *), struct work *w, double vectors)
{
    char shape[32];
    snprintf(shape, sizeof shape, "n=%d", body == run_rope ? ROTATED : N);
    bench_run((struct bench_case){.variant = variant,
                                  .shape = shape,
                                  .threads = 1,
                                  .body = body,
                                  .arg = w,
                                  .bytes = vectors * sizeof(float) * (body == run_rope ? ROTATED : N)});
}

static void bench_attention(const char *variant, struct work *w)
{
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0};
    struct roof_fma fma = {.threads = 1};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (w->n_q = 1; w->n_q <= MAX_QUERIES; w->n_q *= w->n_q == 8 ? 8 : 2) {
            w->cache_type = types[t];
            memset(w->keys, 0, sizeof w->keys); /* any bytes would do, but for NaN and subnormal scales */
            memset(w->values, 0, sizeof w->values);
            const size_t keys = ATTENTION_BLOCK / KEY_PANEL * key_panel_bytes(types[t], HEAD);
            char shape[96];
            snprintf(shape, sizeof shape, "queries=%d head_dim=%d positions=%d cache=%s", w->n_q, HEAD, ATTENTION_BLOCK,
                     dtype_info(types[t])->name);
            double flops = 4.0 * w->n_q * HEAD * ATTENTION_BLOCK;
            bench_run((struct bench_case){.variant = variant,
                                          .shape = shape,
                                          .threads = 1,
                                          .flops = flops,
                                          .bytes = (double)(keys + ATTENTION_BLOCK * value_row_bytes(types[t], HEAD)),
                                          .body = run_attention,
                                          .arg = w,
                                          .roof = roof_fma,
                                          .roof_arg = &fma,
                                          .roof_work = roof_fma_flops(&fma),
                                          .body_work = flops});
        }
}

int main(int argc, char **argv)
{
    static struct work w;
    static const struct {
        const char *operation, *name;
        uint64_t needs;
        void (*function)(void), (*body)(void *);
    } variants[] = {
#define OP(operation, isa, needs) \
    {#operation, #operation "_" #isa, needs, (void (*)(void))ops_##operation##_##isa, run_##operation},
#include "ops/variants.inc"
    };
    static const struct {
        const char *operation;
        double vectors;
    } traffic[] = {
        {"rms_norm", 4},   {"l2_norm", 3}, {"rope", 3},    {"silu_mul", 3}, {"gelu_mul", 3}, {"swiglu_clamped", 3},
        {"silu", 4},       {"sigmoid", 2}, {"softcap", 4}, {"softmax", 5},  {"dot", 2},      {"add", 3},
        {"add_scaled", 3}, {"mul", 3},     {"mul_add", 4}, {"scale", 2},    {"clamp", 2},    {"attention_merge", 3},
        {"widen", 1.5}};

    struct bench_options o = bench_options(argc, argv);
    struct rng rng = rng_seed(1);
    rng_fill(&rng, w.x, N, -4.0f, 4.0f);
    rng_fill(&rng, w.w, N, -1.0f, 1.0f);
    for (int i = 0; i < N; i++) w.sign[i] = i % 3 ? 1.0f : -1.0f;               /* products stay as large as they are */
    for (int i = 0; i < ROTATED / 2; i++) w.cosine[i] = 0.6f, w.sine[i] = 0.8f; /* keeps lengths over many calls */
    rng_fill(&rng, w.y, N, -1.0f, 1.0f);
    rng_fill(&rng, w.q, MAX_QUERIES * HEAD, -1.0f, 1.0f);
    bench_header();
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        if ((variants[i].needs & ~cpu_features(NULL)) || !strstr(variants[i].name, o.filter)) continue;
        w.function = variants[i].function;
        if (variants[i].body == run_attention) bench_attention(variants[i].name, &w);
        for (size_t t = 0; t < sizeof traffic / sizeof traffic[0]; t++)
            if (!strcmp(traffic[t].operation, variants[i].operation))
                bench_vector_op(variants[i].name, variants[i].body, &w, traffic[t].vectors);
    }
    return 0;
}
