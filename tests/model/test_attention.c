/* Grouped-query attention: every optional part against numbers worked out by hand, and all of them together against
 * plain sums in double precision. In the cases by hand the projections pick their numbers out of h, so a row of h is
 * [query, key, value, gate] of a single head. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/tiny.h"
#include "tests/support/compare.h"

enum { HEAD = 4, HIDDEN = 4 * HEAD };

static void attend(struct tiny *t, const struct chunk *c, const float *h, struct thread *thread)
{
    attention_gqa(&t->model, &t->layer, 0, &t->ws, c, h, thread);
}

/* One head of HEAD elements. */
static void make_head(struct tiny *t)
{
    tiny_make(t, HIDDEN);
    t->config.mixer.n_heads = t->config.mixer.n_kv_heads = 1;
    t->config.mixer.head_dim = t->config.mixer.v_head_dim = HEAD;
    t->layer.q = tiny_pick(t, HEAD, HIDDEN, 0);
    t->layer.k = tiny_pick(t, HEAD, HIDDEN, HEAD);
    t->layer.v = tiny_pick(t, HEAD, HIDDEN, 2 * HEAD);
    t->layer.o = tiny_pick(t, HIDDEN, HEAD, 0);
}

/* Runs n rows in one pass and one by one, with one thread and with two: the same bits. The first HEAD numbers of each
 * row of the result are what the head gave. */
static void run_head(struct tiny *t, const float *h, int n, float *out)
{
    float other[8 * HIDDEN];
    cr_assert_leq(n, 8);
    for (int n_threads = 1; n_threads <= 2; n_threads++)
        for (int together = 0; together < 2; together++) {
            tiny_start(t, 8, n_threads);
            for (int i = 0; i < (together ? 1 : n); i++)
                tiny_run(t, attend, h + i * HIDDEN, i, together ? n : 1, other + i * HIDDEN);
            tiny_stop(t);
            if (n_threads == 1 && together == 0) memcpy(out, other, (size_t)n * HIDDEN * sizeof *out);
            cr_assert_eq(first_difference(out, other, (size_t)n * HIDDEN), -1, "%d threads, together %d", n_threads,
                         together);
        }
}

static void expect_head(const float *out, double a, double b, double c, double d)
{
    const double expected[HEAD] = {a, b, c, d};
    for (int i = 0; i < HEAD; i++)
        cr_expect(fabs((double)out[i] - expected[i]) <= 2e-6 * (1 + fabs(expected[i])), "[%d]: %.9g, expected %.9g", i,
                  (double)out[i], expected[i]);
}

/* Scores ln 3 and 0: weights 3/4 and 1/4. */
Test(attention, two_positions)
{
    static const float h[2][HIDDEN] = {
        {0, 0, 0, 0, /**/ 1.0986123f, 0, 0, 0, /**/ 8, -4, 0, 1},
        {1, 0, 0, 0, /**/ 0, 5, 6, 7, /**/ 0, 4, 2, 1},
    };
    float out[2 * HIDDEN];
    struct tiny t;
    make_head(&t);
    run_head(&t, h[0], 2, out);
    expect_head(out, 8, -4, 0, 1);
    expect_head(out + HIDDEN, 6, -2, .5, 1);
    tiny_free(&t);
}

/* 1 / (1 + exp(sink - score)) of the value, here with score 0; two positions of score 0 share what the sink leaves. */
Test(attention, sinks)
{
    static const float h[2][HIDDEN] = {{[8] = 8, -4, 0, 1}, {[8] = 0, 4, 2, 1}};
    static const struct {
        float sink;
        double one, two; /* weight of each position, when there is one and when there are two */
    } rows[] = {
        {1.0986123f, 0.25, 0.2},
        {0, 0.5, 1.0 / 3},
        {-1.0986123f, 0.75, 3.0 / 7},
        {-200, 1, 0.5},
        {20, 2.0611536e-9, 2.0611536e-9},
        {200, 0, 0},
        {3e38f, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float out[2 * HIDDEN];
        struct tiny t;
        make_head(&t);
        t.config.mixer.sinks = true;
        t.layer.sinks = tiny_floats(&t, &rows[i].sink, 1);
        run_head(&t, h[0], 2, out);
        const double one = rows[i].one, two = rows[i].two;
        expect_head(out, 8 * one, -4 * one, 0, one);
        expect_head(out + HIDDEN, 8 * two, 0, 2 * two, 2 * two);
        if (one > 0) cr_expect_float_eq((double)out[0] / (8 * one), 1, 1e-5, "relatively too");
        tiny_free(&t);
    }
}

/* The sink is measured against the true maximum, whatever its size: scores 90, whose exponential is beyond floats. */
Test(attention, a_sink_beside_large_scores)
{
    static const float h[1][HIDDEN] = {{9, 0, 0, 0, /**/ 10, 0, 0, 0, /**/ 8, -4, 0, 1}};
    static const float sink = 90;
    float out[HIDDEN];
    struct tiny t;
    make_head(&t);
    t.config.mixer.sinks = true;
    t.layer.sinks = tiny_floats(&t, &sink, 1);
    run_head(&t, h[0], 1, out);
    expect_head(out, 4, -2, 0, .5);
    tiny_free(&t);
}

/* Scores 0 and 2 tanh(1000 / 2) = 2: weights 1 / (1 + e^2) and the rest. And 2 tanh(1 / 2) = 0.92423431. */
Test(attention, softcap)
{
    static const float h[2][HIDDEN] = {{[8] = 1}, {1000, 0, 0, 0, /**/ 1, 0, 0, 0, /**/ 0, 1}};
    float out[2 * HIDDEN];
    struct tiny t;
    make_head(&t);
    t.config.mixer.softcap = 2;
    run_head(&t, h[0], 2, out);
    expect_head(out + HIDDEN, 0.119202922, 0.880797078, 0, 0);
    t.config.mixer.scale = 1e-3f; /* multiplies before the cap */
    run_head(&t, h[0], 2, out);
    expect_head(out + HIDDEN, 0.284095910, 0.715904090, 0, 0);
    tiny_free(&t);
}

/* sigmoid(0) = 1/2, sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4, sigmoid(-200) = 0. */
Test(attention, output_gate)
{
    static const float h[1][HIDDEN] = {{[8] = 8, -4, 16, 1, /**/ 0, 1.0986123f, -1.0986123f, -200}};
    float q[2 * HEAD * HIDDEN] = {0}, out[HIDDEN];
    struct tiny t;
    make_head(&t);
    t.config.mixer.output_gate = true;
    for (int i = 0; i < HEAD; i++) q[i * HIDDEN + i] = q[(HEAD + i) * HIDDEN + 3 * HEAD + i] = 1;
    t.layer.q = tiny_weight(&t, 2 * HEAD, HIDDEN, q);
    run_head(&t, h[0], 1, out);
    expect_head(out, 4, -3, 4, 0);
    tiny_free(&t);
}

/* The value is the raw key (3, 4, 0, 0), divided by its root mean square 2.5: neither k_norm nor RoPE touch it. */
Test(attention, v_is_k)
{
    static const float h[1][HIDDEN] = {{[4] = 3, 4}};
    static const float weights[2][HEAD] = {{1, 1, 1, 1}, {7, -8, 9, 10}};
    float out[HIDDEN];
    struct tiny t;
    make_head(&t);
    t.model.config.rope[ROPE_LOCAL] = (struct rope_config){.n_rot = HEAD, .theta = 100, .factor = 1};
    t.config.mixer.rope = ROPE_LOCAL;
    t.config.mixer.v_is_k = true;
    t.config.mixer.qk_norm = QK_NORM_PER_HEAD;
    t.layer.q_norm = tiny_floats(&t, weights[0], HEAD);
    t.layer.k_norm = tiny_floats(&t, weights[1], HEAD);
    t.layer.v = (struct weight){0};
    for (int v_norm = 0; v_norm < 2; v_norm++) {
        t.config.mixer.v_norm = v_norm;
        tiny_start(&t, 1, 1);
        tiny_run(&t, attend, h[0], 5, 1, out); /* positions 0 to 4 have keys and values 0: all scores are 0 */
        expect_head(out, v_norm ? 0.2 : 0.5, v_norm ? 1.6 / 6 : 4.0 / 6, 0, 0);
        tiny_stop(&t);
    }
    tiny_free(&t);
}

/* Scores all 0, a window of 2: the mean of the last two values. */
Test(attention, window)
{
    static const float h[4][HIDDEN] = {{[8] = 1, 2}, {[8] = 3, 4}, {[8] = 5, 6}, {[8] = 7, 10}};
    float out[4 * HIDDEN];
    struct tiny t;
    make_head(&t);
    t.config.mixer.window = 2;
    run_head(&t, h[0], 4, out);
    expect_head(out, 1, 2, 0, 0);
    expect_head(out + HIDDEN, 2, 3, 0, 0);
    expect_head(out + 2 * HIDDEN, 4, 5, 0, 0);
    expect_head(out + 3 * HIDDEN, 6, 8, 0, 0);
    tiny_free(&t);
}

/* n_rot 2 of 4: elements 0 and 1 turn by one a position, so q . k of neighbours is cos 1 + 1 - and not at all, 2. */
Test(attention, partial_rotation)
{
    static const float h[2][HIDDEN] = {
        {0, 0, 0, 0, /**/ 1, 0, 1, 0, /**/ 1, 0},
        {1, 0, 1, 0, /**/ 0, 0, 0, 0, /**/ 0, 1},
    };
    float out[2 * HIDDEN];
    struct tiny t;
    make_head(&t);
    for (int n_rot = 0; n_rot <= 2; n_rot += 2) {
        const double score = n_rot ? cos(1) + 1 : 2, weight = 1 / (1 + exp(-score));
        t.model.config.rope[ROPE_GLOBAL] = (struct rope_config){.n_rot = n_rot, .theta = 100, .factor = 1};
        run_head(&t, h[0], 2, out);
        expect_head(out + HIDDEN, weight, 1 - weight, 0, 0);
    }
    tiny_free(&t);
}

/* ---- everything together ----------------------------------------------------------------------------------------- */

enum { WIDE = 24 };

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* The matrices and rows of h as plain floats, and what they make of a row, in double precision. */
struct plain {
    const struct tiny *t;
    const float *q, *k, *v, *o, *h;
};

/* y [head_dim] = rows [head * stride, ...) of w . h, normalised and rotated as asked. */
static void plain_head(const struct plain *p, double *y, const float *w, int row, int n, const float *norm,
                       bool normalise, int position, bool rotate)
{
    const struct rope_config *rope = &p->t->model.config.rope[p->t->config.mixer.rope];
    double squares = 0;
    for (int d = 0; d < n; d++) {
        y[d] = dot(w + (row + d) * WIDE, p->h + position * WIDE, WIDE);
        squares += y[d] * y[d];
    }
    for (int d = 0; d < n && normalise; d++) y[d] *= (norm ? (double)norm[d] : 1) / sqrt(squares / n + 1e-6);
    for (int i = 0, j = rope->n_rot / 2; rotate && j < rope->n_rot; i++, j++) {
        double angle = position * pow(rope->theta, -2.0 * i / rope->n_rot), a = y[i], b = y[j];
        y[i] = a * cos(angle) - b * sin(angle);
        y[j] = b * cos(angle) + a * sin(angle);
    }
}

/* mixed [v_head_dim] of one head at one position. */
static void plain_attend(const struct plain *p, double *mixed, int head, int position)
{
    const struct mixer *mixer = &p->t->config.mixer;
    const int n = mixer->head_dim, nv = mixer->v_head_dim, kv = head / (mixer->n_heads / mixer->n_kv_heads);
    const int row = head * (mixer->output_gate ? 2 * n : n);
    const bool normed = mixer->qk_norm != QK_NORM_NONE;
    double q[8], k[8], v[8], gate[8], sum = mixer->sinks ? exp((double)p->t->layer.sinks[head]) : 0;
    plain_head(p, q, p->q, row, n, p->t->layer.q_norm, normed, position, true);
    if (mixer->output_gate) plain_head(p, gate, p->q, row + n, n, NULL, false, position, false);
    for (int d = 0; d < nv; d++) mixed[d] = 0;
    for (int j = 0; j <= position; j++) {
        if (mixer->window && position - j >= mixer->window) continue;
        plain_head(p, k, p->k, kv * n, n, p->t->layer.k_norm, normed, j, true);
        plain_head(p, v, mixer->v_is_k ? p->k : p->v, kv * nv, nv, NULL, mixer->v_norm, j, false);
        double score = 0;
        for (int d = 0; d < n; d++) score += q[d] * k[d] * (double)mixer->scale;
        if (mixer->softcap > 0) score = (double)mixer->softcap * tanh(score / (double)mixer->softcap);
        sum += exp(score);
        for (int d = 0; d < nv; d++) mixed[d] += exp(score) * v[d];
    }
    for (int d = 0; d < nv; d++) mixed[d] /= mixer->output_gate ? sum * (1 + exp(-gate[d])) : sum;
}

static void expect_plain(const struct plain *p, const float *out, int position, const char *what)
{
    const struct mixer *mixer = &p->t->config.mixer;
    const int n = mixer->n_heads * mixer->v_head_dim;
    double mixed[4 * 8];
    for (int head = 0; head < mixer->n_heads; head++) plain_attend(p, mixed + head * mixer->v_head_dim, head, position);
    for (int r = 0; r < WIDE; r++) {
        double expected = 0;
        for (int i = 0; i < n; i++) expected += (double)p->o[r * n + i] * mixed[i];
        cr_assert_float_eq((double)out[r], expected, 2e-5, "%s, position %d, output %d: %.9g, expected %.9g", what,
                           position, r, (double)out[r], expected);
    }
}

/* Prefill in passes of `step` rows. */
static void prefill(struct tiny *t, const float *h, int n, int step, int n_threads, float *out)
{
    tiny_start(t, step, n_threads);
    for (int i = 0; i < n; i += step) tiny_run(t, attend, h + i * WIDE, i, n - i < step ? n - i : step, out + i * WIDE);
    tiny_stop(t);
}

static void check_all(const struct mixer *mixer, int n_rot, int n, const char *what)
{
    static const int cuts[][2] = {{1, 2}, {2, 3}, {7, 1}, {64, 2}, {600, 2}}; /* rows of a pass, threads */
    const int n_q = mixer->n_heads * mixer->head_dim * (mixer->output_gate ? 2 : 1);
    const int n_mixed = mixer->n_heads * mixer->v_head_dim;
    struct tiny t;
    tiny_make(&t, WIDE);
    t.config.mixer = *mixer;
    t.model.config.rope[mixer->rope] = (struct rope_config){.n_rot = n_rot, .theta = 50, .factor = 1};
    struct plain p = {
        .t = &t,
        .q = tiny_random(&t, (size_t)(n_q * WIDE), 1),
        .k = tiny_random(&t, (size_t)(mixer->n_kv_heads * mixer->head_dim * WIDE), 2),
        .v = tiny_random(&t, (size_t)(mixer->n_kv_heads * mixer->v_head_dim * WIDE), 3),
        .o = tiny_random(&t, (size_t)(WIDE * n_mixed), 4),
        .h = tiny_random(&t, (size_t)(n * WIDE), 5),
    };
    t.layer.q = tiny_weight(&t, n_q, WIDE, p.q);
    t.layer.k = tiny_weight(&t, mixer->n_kv_heads * mixer->head_dim, WIDE, p.k);
    if (!mixer->v_is_k) t.layer.v = tiny_weight(&t, mixer->n_kv_heads * mixer->v_head_dim, WIDE, p.v);
    t.layer.o = tiny_weight(&t, WIDE, n_mixed, p.o);
    t.layer.q_norm = tiny_random(&t, (size_t)mixer->head_dim, 6);
    t.layer.k_norm = tiny_random(&t, (size_t)mixer->head_dim, 7);
    t.layer.sinks = tiny_random(&t, (size_t)mixer->n_heads, 8);
    const size_t floats = (size_t)(n * WIDE);
    float *first = malloc(floats * sizeof *first), *other = malloc(floats * sizeof *other);
    cr_assert(first && other);
    prefill(&t, p.h, n, 1, 1, first);
    for (int i = 0; i < n; i += i < 20 ? 1 : 97) expect_plain(&p, first + i * WIDE, i, what);
    expect_plain(&p, first + (n - 1) * WIDE, n - 1, what);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        prefill(&t, p.h, n, cuts[i][0], cuts[i][1], other);
        cr_assert_eq(first_difference(first, other, floats), -1, "%s: passes of %d rows, %d threads", what, cuts[i][0],
                     cuts[i][1]);
    }
    free(first);
    free(other);
    tiny_free(&t);
}

Test(attention, all_parts_agree_with_plain_sums)
{
    struct mixer m = {.n_heads = 4, .n_kv_heads = 2, .head_dim = 8, .v_head_dim = 8, .scale = 0.3f};
    check_all(&m, 8, 40, "plain");
    m.window = 7;
    m.sinks = true;
    check_all(&m, 8, 40, "gpt-oss");
    m.sinks = false;
    m.softcap = 1.5f;
    m.rope = ROPE_LOCAL;
    check_all(&m, 8, 40, "Gemma 2");
    m = (struct mixer){.n_heads = 4, .n_kv_heads = 1, .head_dim = 8, .v_head_dim = 8, .scale = 1, .output_gate = true};
    m.qk_norm = QK_NORM_PER_HEAD;
    check_all(&m, 2, 40, "Qwen3-Next");
    m.output_gate = false;
    m.v_norm = m.v_is_k = true;
    check_all(&m, 8, 40, "Gemma 4");
    m.v_is_k = false;
    m.v_head_dim = 5;
    check_all(&m, 0, 40, "narrow values");
    m = (struct mixer){.n_heads = 4, .n_kv_heads = 4, .head_dim = 4, .v_head_dim = 8, .scale = 1};
    check_all(&m, 4, 40, "wide values");
}

/* Beyond ATTENTION_BLOCK results are merged block by block, by one thread or by several. */
Test(attention, sinks_after_several_blocks)
{
    struct mixer m = {.n_heads = 2, .n_kv_heads = 1, .head_dim = 8, .v_head_dim = 8, .scale = 0.3f, .sinks = true};
    check_all(&m, 8, ATTENTION_BLOCK + 80, "two blocks");
    m.window = 40;
    check_all(&m, 8, ATTENTION_BLOCK + 80, "a window that leaves the first block");
}

/* The same, but only the last rows in passes of `step`: all else in one. */
static void prefill_end(struct tiny *t, const float *h, int n, int step, int n_threads, float *out)
{
    const int whole = n - 9;
    tiny_start(t, whole, n_threads);
    tiny_run(t, attend, h, 0, whole, out);
    for (int i = whole; i < n; i += step)
        tiny_run(t, attend, h + i * WIDE, i, n - i < step ? n - i : step, out + i * WIDE);
    tiny_stop(t);
}

/* Where attention may round, which it does on some machines only, bits depend on the length of a pass, but not on the
 * number of threads that share it. */
Test(attention, rounds_alike_for_any_number_of_threads)
{
    enum { N = ATTENTION_BLOCK + 40, N_HEADS = 6, DIM = 40 };
    static float first[N * WIDE], other[N * WIDE];
    struct tiny t;
    tiny_make(&t, WIDE);
    t.model.attention_rounds = true;
    t.cache_type = DTYPE_F16;
    t.config.mixer = (struct mixer){
        .n_heads = N_HEADS, .n_kv_heads = 2, .head_dim = DIM, .v_head_dim = DIM, .scale = 0.2f, .window = 530};
    const float *h = tiny_random(&t, N * WIDE, 5);
    t.layer.q = tiny_weight(&t, N_HEADS * DIM, WIDE, tiny_random(&t, N_HEADS * DIM * WIDE, 1));
    t.layer.k = tiny_weight(&t, 2 * DIM, WIDE, tiny_random(&t, 2 * DIM * WIDE, 2));
    t.layer.v = tiny_weight(&t, 2 * DIM, WIDE, tiny_random(&t, 2 * DIM * WIDE, 3));
    t.layer.o = tiny_weight(&t, WIDE, N_HEADS * DIM, tiny_random(&t, WIDE * N_HEADS * DIM, 4));
    for (int step = 1; step <= 9; step += 4) {
        prefill_end(&t, h, N, step, 1, first);
        for (int n_threads = 2; n_threads <= 5; n_threads++) {
            prefill_end(&t, h, N, step, n_threads, other);
            cr_assert_eq(first_difference(first, other, N * WIDE), -1, "passes of %d rows, %d threads", step,
                         n_threads);
        }
    }
    tiny_free(&t);
}

/* As much as the type of the cache rounds, and the same bits however a prompt is cut. */
Test(attention, keys_and_values_of_every_type)
{
    static const struct {
        enum dtype type;
        float error;
    } types[] = {{DTYPE_F32, 0}, {DTYPE_F16, 2e-3f}, {DTYPE_BF16, 2e-2f}, {DTYPE_Q8_0, 3e-2f}};
    static const int cuts[][2] = {{1, 1}, {1, 2}, {2, 3}, {5, 2}, {9, 1}};
    enum { N = ATTENTION_BLOCK + 40, N_HEADS = 6, DIM = 40 };
    struct tiny t;
    tiny_make(&t, WIDE);
    t.config.mixer = (struct mixer){
        .n_heads = N_HEADS, .n_kv_heads = 2, .head_dim = DIM, .v_head_dim = DIM, .scale = 0.2f, .window = 530};
    t.model.config.rope[ROPE_GLOBAL] = (struct rope_config){.n_rot = DIM, .theta = 50, .factor = 1};
    const float *h = tiny_random(&t, N * WIDE, 5);
    t.layer.q = tiny_weight(&t, N_HEADS * DIM, WIDE, tiny_random(&t, N_HEADS * DIM * WIDE, 1));
    t.layer.k = tiny_weight(&t, 2 * DIM, WIDE, tiny_random(&t, 2 * DIM * WIDE, 2));
    t.layer.v = tiny_weight(&t, 2 * DIM, WIDE, tiny_random(&t, 2 * DIM * WIDE, 3));
    t.layer.o = tiny_weight(&t, WIDE, N_HEADS * DIM, tiny_random(&t, WIDE * N_HEADS * DIM, 4));
    static float exact[N * WIDE], first[N * WIDE], other[N * WIDE];
    for (size_t i = 0; i < 4; i++) {
        t.cache_type = types[i].type;
        prefill_end(&t, h, N, cuts[0][0], cuts[0][1], first);
        for (size_t c = 1; c < sizeof cuts / sizeof *cuts; c++) {
            prefill_end(&t, h, N, cuts[c][0], cuts[c][1], other);
            cr_assert_eq(first_difference(first, other, N * WIDE), -1, "type %zu: passes of %d rows, %d threads", i,
                         cuts[c][0], cuts[c][1]);
        }
        if (i == 0) memcpy(exact, first, sizeof exact);
        cr_expect(i == 0 || memcmp(exact, first, sizeof exact), "type %zu rounds nothing", i);
        double error = 0, size = 0;
        for (int j = 0; j < N * WIDE; j++) {
            error += ((double)first[j] - (double)exact[j]) * ((double)first[j] - (double)exact[j]);
            size += (double)exact[j] * (double)exact[j];
        }
        cr_expect_leq(sqrt(error / size), (double)types[i].error, "type %zu: %g", i, sqrt(error / size));
    }
    tiny_free(&t);
}

/* What four rows read of the cache, once, in its type. */
Test(attention, counts_the_bytes_of_the_cache)
{
    uint64_t bytes[2];
    float out[4 * HIDDEN], h[4 * HIDDEN] = {0};
    for (int i = 0; i < 2; i++) {
        struct tiny t;
        make_head(&t);
        t.cache_type = i ? DTYPE_BF16 : DTYPE_F32;
        tiny_start(&t, 4, 2);
        t.ws.bytes_read = 0;
        tiny_run(&t, attend, h, 0, 4, out);
        bytes[i] = t.ws.bytes_read;
        tiny_stop(&t);
        tiny_free(&t);
    }
    cr_expect_eq(bytes[0] - bytes[1], 4 * 2 * HEAD * 2);
}
