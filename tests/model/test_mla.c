/* Latent attention: both forms against the definition in double precision, against numbers worked out by hand, and
 * against each other. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "model/forward.h"
#include "tests/support/compare.h"
#include "tests/support/rng.h"

enum { CONTEXT = 640, MAX_ROWS = 600, SESSIONS = 3 };

struct shape {
    int hidden, heads, nope, n_rot, v, latent, q_lora; /* q_lora 0: no latent of the query */
};

static int head_of(const struct shape *s) { return s->nope + s->n_rot; }
static int width_of(const struct shape *s) { return s->latent + s->n_rot; }

/* A layer, its matrices as plain floats, and what it needs to run. */
struct bench {
    struct shape s;
    float *q, *q_a, *kv_a, *o; /* [n, k] */
    float *k_b, *k_b_t, *v_b;  /* [heads][n, k] */
    float *q_a_norm, *kv_a_norm;
    struct layer_config config;
    struct layer layer;
    struct model m;
    struct arena room, caches;
    struct workspace ws;
    struct cache cache[SESSIONS];
    enum dtype cache_type; /* F32 unless the test says otherwise */
    int n_threads;
    void *owned[16];
    int n_owned;
};

static void *zeros(size_t n)
{
    void *p = calloc(n + 64, 1); /* kernels may read 64 bytes more */
    cr_assert(p);
    return p;
}

static float *own_floats(struct bench *b, size_t n) { return b->owned[b->n_owned++] = zeros(n * sizeof(float)); }

/* `count` matrices [n, k] of floats, packed one after the other. */
static struct bank packed(struct bench *b, const float *values, int n, int k, int count)
{
    const struct panel_layout *layout = panel_layout_choose(DTYPE_F32, n, k, b->m.features, 0);
    struct bank bank = {.stride = layout->packed_bytes(n, k), .n_matrices = count};
    char *data = b->owned[b->n_owned++] = zeros(bank.stride * (size_t)count);
    const size_t row_bytes = (size_t)k * sizeof(float);
    for (int i = 0; i < count; i++)
        layout->pack(data + (size_t)i * bank.stride, values + (ptrdiff_t)i * n * k, row_bytes, 0, n, n, k);
    bank.first = (struct weight){.layout = layout, .data = data, .n = n, .k = k, .file_dtype = DTYPE_F32};
    return bank;
}

static void bench_make(struct bench *b, const struct shape *s, uint64_t features, int n_threads, float scale, float eps)
{
    *b = (struct bench){.s = *s, .n_threads = n_threads, .m.features = features};
    const size_t heads = (size_t)s->heads, latent = (size_t)s->latent;
    const int q_in = s->q_lora ? s->q_lora : s->hidden;
    b->q = own_floats(b, heads * (size_t)head_of(s) * (size_t)q_in);
    b->q_a = own_floats(b, (size_t)s->q_lora * (size_t)s->hidden);
    b->kv_a = own_floats(b, (size_t)width_of(s) * (size_t)s->hidden);
    b->o = own_floats(b, (size_t)s->hidden * heads * (size_t)s->v);
    b->k_b = own_floats(b, heads * (size_t)s->nope * latent);
    b->k_b_t = own_floats(b, heads * (size_t)s->nope * latent);
    b->v_b = own_floats(b, heads * (size_t)s->v * latent);
    b->q_a_norm = own_floats(b, (size_t)s->q_lora);
    b->kv_a_norm = own_floats(b, latent);
    b->config.mixer = (struct mixer){.kind = MIX_MLA,
                                     .n_heads = s->heads,
                                     .n_kv_heads = s->heads,
                                     .head_dim = head_of(s),
                                     .v_head_dim = s->v,
                                     .scale = scale,
                                     .q_lora_rank = s->q_lora,
                                     .kv_lora_rank = s->latent,
                                     .lora_eps = eps};
}

static void fill(struct rng *rng, float *x, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++) x[i] = rng_float(rng, -limit, limit);
}

static void fill_randomly(struct bench *b)
{
    struct rng rng = rng_seed(77);
    const struct shape *s = &b->s;
    const size_t heads = (size_t)s->heads, latent = (size_t)s->latent;
    fill(&rng, b->q, heads * (size_t)head_of(s) * (size_t)(s->q_lora ? s->q_lora : s->hidden), 0.5f);
    fill(&rng, b->q_a, (size_t)(s->q_lora * s->hidden), 1);
    fill(&rng, b->kv_a, (size_t)(width_of(s) * s->hidden), 0.5f);
    fill(&rng, b->o, (size_t)s->hidden * heads * (size_t)s->v, 1);
    fill(&rng, b->k_b, heads * (size_t)s->nope * latent, 0.5f);
    fill(&rng, b->v_b, heads * (size_t)s->v * latent, 1);
    for (int i = 0; i < s->q_lora; i++) b->q_a_norm[i] = rng_float(&rng, 0.5f, 1.5f);
    for (int i = 0; i < s->latent; i++) b->kv_a_norm[i] = rng_float(&rng, 0.5f, 1.5f);
}

/* With all values in place: packs them, and makes workspace and caches. */
static void bench_finish(struct bench *b)
{
    const struct shape *s = &b->s;
    for (int h = 0; h < s->heads; h++)
        for (int i = 0; i < s->nope; i++)
            for (int j = 0; j < s->latent; j++)
                b->k_b_t[(h * s->latent + j) * s->nope + i] = b->k_b[(h * s->nope + i) * s->latent + j];
    struct layer *layer = &b->layer;
    layer->config = &b->config;
    layer->q = packed(b, b->q, s->heads * head_of(s), s->q_lora ? s->q_lora : s->hidden, 1).first;
    layer->o = packed(b, b->o, s->hidden, s->heads * s->v, 1).first;
    if (s->q_lora) layer->mla.q_a = packed(b, b->q_a, s->q_lora, s->hidden, 1).first;
    layer->mla.kv_a = packed(b, b->kv_a, width_of(s), s->hidden, 1).first;
    layer->mla.q_a_norm = b->q_a_norm;
    layer->mla.kv_a_norm = b->kv_a_norm;
    layer->mla.k_b = packed(b, b->k_b, s->nope, s->latent, s->heads);
    layer->mla.k_b_t = packed(b, b->k_b_t, s->latent, s->nope, s->heads);
    layer->mla.v_b = packed(b, b->v_b, s->v, s->latent, s->heads);
    b->m.layers = layer;
    b->m.config = (struct model_config){.n_layers = 1, .hidden_size = s->hidden, .vocab_size = 1, .layers = &b->config};
    b->m.config.rope[ROPE_GLOBAL] = (struct rope_config){.n_rot = s->n_rot, .theta = 100};
    for (int pass = 0; pass < 2; pass++) {
        workspace_carve(&b->ws, &b->m, MAX_ROWS, b->n_threads, CONTEXT, &b->room);
        if (pass == 0) cr_assert(arena_commit(&b->room, false));
    }
    workspace_init(&b->ws, &b->m, CONTEXT);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < SESSIONS; i++) cache_carve(&b->cache[i], &b->m.config, CONTEXT, b->cache_type, &b->caches);
        if (pass == 0) cr_assert(arena_commit(&b->caches, false));
    }
}

static void bench_start(struct bench *b, const struct shape *s, enum dtype cache_type, int n_threads)
{
    bench_make(b, s, cpu_features(NULL), n_threads, 0.7f / sqrtf((float)head_of(s)), 1e-5f);
    b->cache_type = cache_type;
    fill_randomly(b);
    bench_finish(b);
}

static void bench_random(struct bench *b, const struct shape *s, uint64_t features, int n_threads)
{
    bench_make(b, s, features, n_threads, 0.7f / sqrtf((float)head_of(s)), 1e-5f);
    fill_randomly(b);
    bench_finish(b);
}

static void bench_free(struct bench *b)
{
    for (int i = 0; i < b->n_owned; i++) free(b->owned[i]);
    arena_free(&b->room);
    arena_free(&b->caches);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* Rows [first, first + n) of a session, from the same numbers everywhere. */
struct part {
    int session, first, n;
};

struct pass {
    struct bench *b;
    struct chunk chunk;
    const float *h;
};

static void run_pass(struct thread *t, void *context)
{
    struct pass *p = context;
    attention_mla(&p->b->m, &p->b->layer, 0, &p->b->ws, &p->chunk, p->h, t);
}

/* h of every session: [SESSIONS][CONTEXT][hidden]. */
static float *make_input(const struct shape *s)
{
    struct rng rng = rng_seed(5);
    const size_t n = (size_t)(SESSIONS * CONTEXT * s->hidden);
    float *h = zeros(n * sizeof(float));
    rng_fill(&rng, h, n, -1, 1);
    return h;
}

static const float *input_of(const struct bench *b, const float *h, int session, int position)
{
    return h + ((ptrdiff_t)session * CONTEXT + position) * b->s.hidden;
}

/* One pass over some parts; what it adds to x goes to out, which is shaped as h. */
static void run(struct bench *b, const float *h, const struct part *parts, int n_parts, float *out)
{
    struct row *rows = zeros(MAX_ROWS * sizeof *rows);
    struct workspace *ws = &b->ws;
    int n = 0;
    for (int p = 0; p < n_parts; p++)
        for (int i = 0; i < parts[p].n; i++) {
            rows[n] = (struct row){.cache = &b->cache[parts[p].session], .position = parts[p].first + i};
            memcpy(ws->h + n * ws->ld_hidden, input_of(b, h, parts[p].session, rows[n].position),
                   (size_t)b->s.hidden * sizeof(float));
            memset(ws->x + n * ws->ld_hidden, 0, (size_t)b->s.hidden * sizeof(float));
            n++;
        }
    cr_assert_leq(n, MAX_ROWS);
    /* What was in the buffers is no number. */
    memset(ws->mla.own, 0xff, (size_t)b->n_threads * ws->mla.own_floats * sizeof(float));
    memset(ws->mixed, 0xff, (size_t)(MAX_ROWS * ws->ld_mixed) * sizeof(float));
    struct pass pass = {.b = b, .chunk = {.rows = rows, .n_rows = n}, .h = ws->h};
    struct team team;
    team_init(&team, b->n_threads);
    team_run(&team, run_pass, &pass);
    for (int i = 0, p = 0, at = 0; i < n; i++) {
        float *to = out + (input_of(b, h, parts[p].session, rows[i].position) - h);
        memcpy(to, ws->x + i * ws->ld_hidden, (size_t)b->s.hidden * sizeof(float));
        if (++at == parts[p].n) p++, at = 0;
    }
    free(rows);
}

/* ---- the definition ---------------------------------------------------------------------------------------------- */

/* y = W x for W [n, k]. */
static void times(double *y, const float *w, const double *x, int n, int k)
{
    for (int i = 0; i < n; i++) {
        y[i] = 0;
        for (int j = 0; j < k; j++) y[i] += (double)w[i * k + j] * x[j];
    }
}

static void normalise(double *x, const float *w, int n, float eps)
{
    double squares = 0;
    for (int i = 0; i < n; i++) squares += x[i] * x[i];
    for (int i = 0; i < n; i++) x[i] = x[i] / sqrt(squares / n + (double)eps) * (double)w[i];
}

/* Pairs (i, i + n / 2) turn by position * theta^(-2i / n). */
static void turn(double *x, int n, int position)
{
    for (int i = 0; i < n / 2; i++) {
        double angle = position * pow(100, -2.0 * i / n), a = x[i], b = x[i + n / 2];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + n / 2] = b * cos(angle) + a * sin(angle);
    }
}

/* What one session of n positions gives. */
struct truth {
    double *latents; /* [n, width] */
    double *q;       /* [n, heads * head] rotated */
    double *mixed;   /* [n, heads * v] */
    double *out;     /* [n, hidden] */
};

static void truth_free(struct truth *t)
{
    free(t->latents);
    free(t->q);
    free(t->mixed);
    free(t->out);
}

static void define_row(const struct bench *b, const float *h, int position, struct truth *t)
{
    const struct shape *s = &b->s;
    double x[64], low[64], *latent = t->latents + position * width_of(s), *q = t->q + position * s->heads * head_of(s);
    for (int i = 0; i < s->hidden; i++) x[i] = (double)h[position * s->hidden + i];
    times(latent, b->kv_a, x, width_of(s), s->hidden);
    normalise(latent, b->kv_a_norm, s->latent, b->config.mixer.lora_eps);
    turn(latent + s->latent, s->n_rot, position);
    if (s->q_lora) {
        times(low, b->q_a, x, s->q_lora, s->hidden);
        normalise(low, b->q_a_norm, s->q_lora, b->config.mixer.lora_eps);
    }
    times(q, b->q, s->q_lora ? low : x, s->heads * head_of(s), s->q_lora ? s->q_lora : s->hidden);
    for (int i = 0; i < s->heads; i++) turn(q + i * head_of(s) + s->nope, s->n_rot, position);
}

/* keys [n, head], values [n, v] of one head. */
static void define_head(const struct bench *b, int head, int n, const struct truth *t, double *keys, double *values)
{
    const struct shape *s = &b->s;
    for (int j = 0; j < n; j++) {
        const double *latent = t->latents + j * width_of(s);
        times(keys + j * head_of(s), b->k_b + head * s->nope * s->latent, latent, s->nope, s->latent);
        memcpy(keys + j * head_of(s) + s->nope, latent + s->latent, (size_t)s->n_rot * sizeof *keys);
        times(values + j * s->v, b->v_b + head * s->v * s->latent, latent, s->v, s->latent);
    }
    for (int i = 0; i < n; i++) {
        const double *q = t->q + (i * s->heads + head) * head_of(s);
        double sum = 0, *mixed = t->mixed + (i * s->heads + head) * s->v;
        for (int j = 0; j <= i; j++) {
            double score = 0;
            for (int d = 0; d < head_of(s); d++) score += q[d] * keys[j * head_of(s) + d];
            double e = exp(score * (double)b->config.mixer.scale); /* small enough without a maximum */
            sum += e;
            for (int d = 0; d < s->v; d++) mixed[d] += e * values[j * s->v + d];
        }
        for (int d = 0; d < s->v; d++) mixed[d] /= sum;
    }
}

static struct truth define(const struct bench *b, const float *h, int n)
{
    const struct shape *s = &b->s;
    struct truth t = {.latents = zeros((size_t)(n * width_of(s)) * sizeof(double)),
                      .q = zeros((size_t)(n * s->heads * head_of(s)) * sizeof(double)),
                      .mixed = zeros((size_t)(n * s->heads * s->v) * sizeof(double)),
                      .out = zeros((size_t)(n * s->hidden) * sizeof(double))};
    double *keys = zeros((size_t)(n * head_of(s)) * sizeof *keys), *values = zeros((size_t)(n * s->v) * sizeof *values);
    for (int i = 0; i < n; i++) define_row(b, h, i, &t);
    for (int head = 0; head < s->heads; head++) define_head(b, head, n, &t, keys, values);
    for (int i = 0; i < n; i++)
        times(t.out + i * s->hidden, b->o, t.mixed + i * s->heads * s->v, s->hidden, s->heads * s->v);
    free(keys);
    free(values);
    return t;
}

/* ---- by hand ----------------------------------------------------------------------------------------------------- */

/* Two positions, h = (1, 0) and (0, 1); two heads of 1 + 2 elements, values of 1, latents of 2. The latents are (7, 1)
 * and (1, -7) with root mean square 5; the rotated part turns by the position in radians.
 *
 *   position 0   each head sees one value: 1.8 and 0.2
 *   position 1   head 0: scores 0.5 (1.6 - sin 1), 0.5 (-1.2 + 2); values 1.8, -2.6
 *                head 1: scores 0.5 (2 cos 1), 0.5 (0);            values 0.2, -1.4 */
static const struct shape by_hand = {.hidden = 2, .heads = 2, .nope = 1, .n_rot = 2, .v = 1, .latent = 2};

static void bench_by_hand(struct bench *b, int n_threads)
{
    static const float kv_a[] = {7, 1, 1, -7, 1, 0, 0, 2}, q[] = {2, 1, 1, 0, 0, 1, 1, 0, 0, 2, 3, 0};
    static const float k_b[] = {1, 1, 1, 0}, v_b[] = {1, 2, 0, 1}, o[] = {1, 10, 2, -1};
    bench_make(b, &by_hand, cpu_features(NULL), n_threads, 0.5f, 0);
    memcpy(b->kv_a, kv_a, sizeof kv_a);
    memcpy(b->q, q, sizeof q);
    memcpy(b->k_b, k_b, sizeof k_b);
    memcpy(b->v_b, v_b, sizeof v_b);
    memcpy(b->o, o, sizeof o);
    b->kv_a_norm[0] = b->kv_a_norm[1] = 1;
    bench_finish(b);
}

static void expect_near(float got, double expected, const char *what, int i)
{
    cr_expect(fabs((double)got - expected) <= 1e-6 * (1 + fabs(expected)), "%s %d: %.9g, expected %.9g", what, i,
              (double)got, expected);
}

Test(mla, numbers_worked_out_by_hand)
{
    static const float h[SESSIONS * CONTEXT * 2] = {1, 0, 0, 1};
    static const double rows[] = {1.4, 0.2, 1, 0, 0.2, -1.4, -1.682941970, 1.080604612};
    static const double mixed[] = {1.8, 0.2, -0.4228082244, -0.3889876176};
    for (int form = MLA_BY_COUNT; form <= MLA_EXPANDED; form++)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            struct bench b;
            float out[SESSIONS * CONTEXT * 2];
            bench_by_hand(&b, n_threads);
            b.ws.mla.force = form;
            run(&b, h, &(struct part){0, 0, 2}, 1, out);
            for (int i = 0; i < 8; i++)
                expect_near(((const float *)(const void *)cache_latent(b.cache[0].layers, 0))[i], rows[i],
                            "cached element", i);
            for (int i = 0; i < 4; i++)
                expect_near(b.ws.mixed[i / 2 * b.ws.ld_mixed + i % 2], mixed[i], "mixed element", i);
            for (int i = 0; i < 2; i++) {
                expect_near(out[2 * i], mixed[2 * i] + 10 * mixed[2 * i + 1], "output 0 of row", i);
                expect_near(out[2 * i + 1], 2 * mixed[2 * i] - mixed[2 * i + 1], "output 1 of row", i);
            }
            bench_free(&b);
        }
}

/* ---- both forms -------------------------------------------------------------------------------------------------- */

static const struct shape shapes[] = {
    {.hidden = 13, .heads = 3, .nope = 5, .n_rot = 6, .v = 7, .latent = 9},
    {.hidden = 21, .heads = 5, .nope = 17, .n_rot = 10, .v = 19, .latent = 23, .q_lora = 11},
    {.hidden = 32, .heads = 2, .nope = 16, .n_rot = 2, .v = 33, .latent = 48, .q_lora = 16},
    {.hidden = 5, .heads = 1, .nope = 1, .n_rot = 2, .v = 1, .latent = 1},
    {.hidden = 8, .heads = 70, .nope = 3, .n_rot = 2, .v = 2, .latent = 5}, /* more heads than a piece takes */
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static size_t output_floats(const struct shape *s) { return (size_t)(SESSIONS * CONTEXT * s->hidden); }

/* Relative distance of n rows of a session. */
static double distance(const struct bench *b, const float *h, const float *out, int session, int n, const double *exact)
{
    return sqrt(nmse(out + (input_of(b, h, session, 0) - h), exact, (size_t)(n * b->s.hidden)));
}

/* Two sessions in one pass, then all three in another. */
static const struct part first_pass[] = {{0, 0, 530}, {1, 0, 20}},
                         second_pass[] = {{2, 0, 1}, {0, 530, 40}, {1, 20, 3}};
static const int session_rows[SESSIONS] = {570, 23, 1};

static void run_sessions(struct bench *b, const float *h, float *out)
{
    run(b, h, first_pass, 2, out);
    run(b, h, second_pass, 3, out);
}

Test(mla, both_forms_follow_the_definition)
{
    for (int i = 0; i < N_SHAPES; i++) {
        struct bench b;
        bench_random(&b, &shapes[i], cpu_features(NULL), 2);
        float *h = make_input(&shapes[i]), *out[3];
        for (int form = MLA_BY_COUNT; form <= MLA_EXPANDED; form++) {
            out[form] = zeros(output_floats(&shapes[i]) * sizeof(float));
            b.ws.mla.force = form;
            run_sessions(&b, h, out[form]);
        }
        for (int session = 0; session < SESSIONS; session++) {
            const int n = session_rows[session];
            struct truth truth = define(&b, input_of(&b, h, session, 0), n);
            for (int form = MLA_BY_COUNT; form <= MLA_EXPANDED; form++) {
                double d = distance(&b, h, out[form], session, n, truth.out);
                cr_expect_leq(d, 1e-6, "shape %d, session %d, form %d: off by %g", i, session, form, d);
            }
            truth_free(&truth);
        }
        cr_expect(i == 3 || memcmp(out[1], out[2], output_floats(&shapes[i]) * sizeof(float)),
                  "shape %d: forms that round differently give the same bits: was one of them run?", i);
        for (int form = 0; form < 3; form++) free(out[form]);
        free(h);
        bench_free(&b);
    }
}

static void expect_same(const float *a, const float *b, size_t n, const char *what, int shape, int form, int k)
{
    ptrdiff_t i = first_difference(a, b, n);
    cr_expect_eq(i, -1, "%s: shape %d, form %d, %d: element %td", what, shape, form, k, i);
}

/* Also without the processor's vectors. */
Test(mla, any_number_of_threads_gives_the_same_bits)
{
    for (int i = 0; i < 3; i++)
        for (int form = MLA_BY_COUNT; form <= MLA_EXPANDED; form++) {
            const size_t n = output_floats(&shapes[i]);
            float *h = make_input(&shapes[i]), *one = zeros(n * sizeof(float)), *more = zeros(n * sizeof(float));
            for (int n_threads = 1; n_threads <= 4; n_threads++) {
                struct bench b;
                bench_random(&b, &shapes[i], n_threads == 4 ? 0 : cpu_features(NULL), n_threads);
                b.ws.mla.force = form;
                run_sessions(&b, h, n_threads == 1 ? one : more);
                if (n_threads > 1) expect_same(more, one, n, "threads", i, form, n_threads);
                bench_free(&b);
            }
            free(h);
            free(one);
            free(more);
        }
}

static float *run_in_steps(const struct shape *s, int form, int step, const float *h, int n_threads)
{
    struct bench b;
    float *out = zeros(output_floats(s) * sizeof(float));
    bench_random(&b, s, cpu_features(NULL), n_threads);
    b.ws.mla.force = form;
    for (int at = 0; at < 530; at += step) run(&b, h, &(struct part){0, at, at + step < 530 ? step : 530 - at}, 1, out);
    bench_free(&b);
    return out;
}

Test(mla, each_form_gives_the_same_bits_however_the_rows_are_cut)
{
    static const int steps[] = {1, 7, 100};
    for (int i = 0; i < 2; i++)
        for (int form = MLA_ABSORBED; form <= MLA_EXPANDED; form++) {
            float *h = make_input(&shapes[i]), *whole = run_in_steps(&shapes[i], form, 530, h, 2);
            for (int k = 0; k < 3; k++) {
                float *cut = run_in_steps(&shapes[i], form, steps[k], h, 2 + k % 2);
                expect_same(cut, whole, output_floats(&shapes[i]), "cut", i, form, steps[k]);
                free(cut);
            }
            free(whole);
            free(h);
        }
}

/* Rounds as much as the type of the cache does, and gives the same bits for any cut and any number of threads. */
Test(mla, latents_of_every_type)
{
    static const struct {
        enum dtype type;
        double error;
    } types[] = {{DTYPE_F16, 2e-3}, {DTYPE_BF16, 2e-2}, {DTYPE_Q8_0, 3e-2}};
    const struct shape *s = &shapes[2];
    const size_t n = output_floats(s);
    float *h = make_input(s), *out = zeros(n * sizeof(float)), *other = zeros(n * sizeof(float));
    for (int i = 0; i < 3; i++)
        for (int form = MLA_ABSORBED; form <= MLA_EXPANDED; form++)
            for (int cut = 0; cut < 2; cut++) {
                struct bench b;
                bench_start(&b, s, types[i].type, 1 + cut);
                b.ws.mla.force = form;
                for (int at = 0; at < 540; at += cut ? 90 : 540)
                    run(&b, h, &(struct part){0, at, cut ? 90 : 540}, 1, cut ? other : out);
                if (cut) expect_same(other, out, n, "type", 2, form, i);
                struct truth truth = define(&b, input_of(&b, h, 0, 0), 540);
                const double d = distance(&b, h, out, 0, 540, truth.out);
                cr_expect(d <= types[i].error && d > types[i].error / 1000, "type %d, form %d: off by %g", i, form, d);
                truth_free(&truth);
                bench_free(&b);
            }
    free(h);
    free(out);
    free(other);
}

/* One form for any number of rows, so that a row's bits do not depend on its company. */
Test(mla, an_exact_model_gives_the_same_bits_however_the_rows_are_cut)
{
    static const int steps[] = {1, 100, 530};
    const size_t n = output_floats(&shapes[0]);
    float *h = make_input(&shapes[0]), *out[3];
    for (int k = 0; k < 3; k++) {
        struct bench b;
        out[k] = zeros(n * sizeof(float));
        bench_random(&b, &shapes[0], cpu_features(NULL), 2);
        b.m.exact = true;
        for (int at = 0; at < 530; at += steps[k])
            run(&b, h, &(struct part){0, at, at + steps[k] < 530 ? steps[k] : 530 - at}, 1, out[k]);
        if (k) expect_same(out[k], out[0], n, "exact", 0, 0, steps[k]);
        bench_free(&b);
    }
    for (int k = 0; k < 3; k++) free(out[k]);
    free(h);
}

/* More threads than heads share the rows. */
Test(mla, more_threads_than_heads_give_the_same_bits)
{
    const size_t n = output_floats(&shapes[2]);
    float *h = make_input(&shapes[2]), *out[2];
    for (int k = 0; k < 2; k++) {
        struct bench b;
        out[k] = zeros(n * sizeof(float));
        bench_random(&b, &shapes[2], cpu_features(NULL), k ? 7 : 1); /* 2 heads */
        b.ws.mla.force = MLA_EXPANDED;
        run(&b, h, &(struct part){0, 0, 530}, 1, out[k]);
        bench_free(&b);
    }
    expect_same(out[1], out[0], n, "threads", 2, MLA_EXPANDED, 7);
    for (int k = 0; k < 2; k++) free(out[k]);
    free(h);
}

/* ---- what else is promised --------------------------------------------------------------------------------------- */

/* A latent that is wide for its heads: many rows are cheaper expanded,
 *     64 rows from 0:  absorbed 64 * 64 * 16 + 2080 * 130,  expanded 64 * 64 * 16 + 2080 * 18,
 * and one row is cheaper absorbed,
 *     row 64:          absorbed 64 * 16 + 65 * 130,         expanded 65 * 64 * 16 + 65 * 18. */
static const struct shape wide = {.hidden = 16, .heads = 2, .nope = 8, .n_rot = 2, .v = 8, .latent = 64};

Test(mla, takes_the_form_with_fewer_multiplications)
{
    static const struct part parts[] = {{0, 0, 64}, {0, 64, 1}};
    const size_t n = output_floats(&wide);
    float *h = make_input(&wide), *out[3];
    for (int form = MLA_BY_COUNT; form <= MLA_EXPANDED; form++) {
        struct bench b;
        out[form] = zeros(n * sizeof(float));
        bench_random(&b, &wide, cpu_features(NULL), 1);
        b.ws.mla.force = form;
        for (int p = 0; p < 2; p++) run(&b, h, &parts[p], 1, out[form]);
        bench_free(&b);
    }
    const size_t many = 64 * 16, row = 16;
    cr_expect_neq(first_difference(out[MLA_ABSORBED], out[MLA_EXPANDED], many), -1);
    cr_expect_neq(first_difference(out[MLA_ABSORBED] + many, out[MLA_EXPANDED] + many, row), -1);
    cr_expect_eq(first_difference(out[MLA_BY_COUNT], out[MLA_EXPANDED], many), -1);
    cr_expect_eq(first_difference(out[MLA_BY_COUNT] + many, out[MLA_ABSORBED] + many, row), -1);
    for (int form = 0; form < 3; form++) free(out[form]);
    free(h);
}

Test(mla, a_cache_row_is_the_latent_and_the_rotated_part)
{
    for (int i = 0; i < N_SHAPES; i++) {
        const struct shape *s = &shapes[i];
        struct bench b;
        bench_random(&b, s, cpu_features(NULL), 2);
        float *h = make_input(s), *out = zeros(output_floats(s) * sizeof(float));
        const struct cache_layer *cache = b.cache[1].layers;
        cr_assert_eq(cache->latent_width, width_of(s));
        float *rows = (void *)cache_latent(cache, 0);
        for (int j = 0; j < CONTEXT * width_of(s); j++) rows[j] = 12345;
        run(&b, h, &(struct part){1, 0, 9}, 1, out);
        struct truth truth = define(&b, input_of(&b, h, 1, 0), 9);
        cr_expect_leq(nmse(rows, truth.latents, (size_t)(9 * width_of(s))), 1e-12, "shape %d", i);
        for (int j = 9 * width_of(s); j < CONTEXT * width_of(s); j++)
            cr_assert_eq(rows[j], 12345, "shape %d wrote behind its last row", i);
        truth_free(&truth);
        free(h);
        free(out);
        bench_free(&b);
    }
}

Test(mla, counts_what_it_reads)
{
    const struct shape *s = &shapes[1]; /* all packed matrices have their outputs rounded up to 16 */
    const size_t always = sizeof(float) * (size_t)(16 * 21 + 48 * 21 + 144 * 11 + 32 * 95);
    const size_t heads = sizeof(float) * 5 * 23 * 32; /* K_B or V_B; K_B transposed is 17 * 32 */
    struct bench b;
    bench_random(&b, s, cpu_features(NULL), 2);
    float *h = make_input(s), *out = zeros(output_floats(s) * sizeof(float));
    b.ws.mla.force = MLA_EXPANDED;
    run(&b, h, &(struct part){0, 0, 3}, 1, out);
    cr_expect_eq(b.ws.bytes_read, always + 2 * heads + sizeof(float) * 3 * 33);
    b.ws.mla.force = MLA_ABSORBED;
    b.ws.bytes_read = 0;
    run(&b, h, &(struct part){0, 3, 1}, 1, out);
    cr_expect_eq(b.ws.bytes_read, always + heads + sizeof(float) * 5 * 17 * 32 + sizeof(float) * 4 * 33);
    free(h);
    free(out);
    bench_free(&b);
}

/* Sums of squares of every input that a collector sees. */
struct seen {
    const struct layer *layer;
    double q[16], q_a[16], k_b_t[5][17], v_b[5][23];
    int rows_v_b[5];
};

static void collect(void *context, const struct thread *t, const struct weight *w, int head, const float *x,
                    ptrdiff_t ldx, const int *rows, int n_rows, int begin, int end)
{
    struct seen *seen = context;
    const struct layer *layer = seen->layer;
    double *sums = w == &layer->q                 ? seen->q
                   : w == &layer->mla.q_a         ? seen->q_a
                   : w == &layer->mla.k_b_t.first ? seen->k_b_t[head]
                   : w == &layer->mla.v_b.first   ? seen->v_b[head]
                                                  : NULL;
    (void)t;
    if (!sums) return;
    cr_assert_null(rows);
    if (w == &layer->mla.v_b.first) seen->rows_v_b[head] += n_rows;
    for (int i = 0; i < n_rows; i++)
        for (int j = begin; j < end && j < 23; j++) {
            const double value = (double)x[i * ldx + j - begin];
            sums[j] += value * value;
        }
}

static void expect_sum(double got, double expected, const char *what)
{
    cr_expect_float_eq(got, expected, 1e-5 * expected, "%s: %g, expected %g", what, got, expected);
}

/* The matrices of the absorbed form are shown, whatever is cheaper. */
Test(mla, shows_the_inputs_of_its_matrices)
{
    const struct shape *s = &shapes[1];
    struct bench b;
    bench_random(&b, s, cpu_features(NULL), 2);
    struct seen seen = {.layer = &b.layer};
    b.ws.collector = &(struct input_collector){.collect = collect, .context = &seen};
    float *h = make_input(s), *out = zeros(output_floats(s) * sizeof(float));
    for (int at = 0; at < 100; at += 50) run(&b, h, &(struct part){0, at, 50}, 1, out);
    struct truth truth = define(&b, h, 100);
    for (int head = 0; head < 5; head++) {
        double keys = 0;
        for (int i = 0; i < 100; i++) {
            const double *q = truth.q + (i * 5 + head) * 27;
            keys += q[16] * q[16];
        }
        expect_sum(seen.k_b_t[head][16], keys, "last input of K_B_T");
        cr_expect_eq(seen.rows_v_b[head], 100);
    }
    double input = 0, latent[11], sum = 0;
    for (int i = 0; i < 100; i++) {
        double x[21];
        for (int j = 0; j < 21; j++) x[j] = (double)h[i * 21 + j];
        input += x[3] * x[3];
        times(latent, b.q_a, x, 11, 21);
        normalise(latent, b.q_a_norm, 11, 1e-5f);
        sum += latent[10] * latent[10];
    }
    expect_sum(seen.q_a[3], input, "input 3 of q_a");
    expect_sum(seen.q[10], sum, "input 10 of q");
    /* Row 0 sees itself alone: what V_B reads then is its latent. */
    memset(seen.v_b, 0, sizeof seen.v_b);
    run(&b, h, &(struct part){0, 0, 1}, 1, out);
    for (int head = 0; head < 5; head++)
        expect_sum(seen.v_b[head][22], truth.latents[22] * truth.latents[22], "last input of V_B");
    truth_free(&truth);
    free(h);
    free(out);
    bench_free(&b);
}
