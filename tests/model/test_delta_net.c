/* Gated DeltaNet: a published example, its two forms against each other and against sums in double precision, and the
 * whole block against a plain reading of its definition. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "mixer_bench.h"

/* ---- one head ---------------------------------------------------------------------------------------------------- */

static struct ops ops;
static float *own; /* for chunks of heads up to 128 by 128 */

static void setup(void)
{
    ops_init(&ops, cpu_features(NULL));
    own = bench_floats(delta_chunk_floats(128, 128, ops.features));
}

TestSuite(delta_net, .init = setup, .fini = bench_free);

static void run_form(bool chunked, const struct delta_rows *r)
{
    if (chunked)
        delta_chunk(&ops, r, own);
    else
        delta_recurrent(&ops, r);
}

Test(delta_net, logarithms_of_decays)
{
    const float rate = -expf(.3f);
    cr_expect_float_eq(delta_log_decay(rate, .1f), -1.004830, 5e-7);
    cr_expect_float_eq(delta_log_decay(rate, 1.1f), -1.872707, 5e-7);
    cr_expect_float_eq(delta_log_decay(-2, 50), -100, 1e-12, "softplus of a large number is that number");
    cr_expect_float_eq(delta_log_decay(-2, 1e30f), -2e30, 1e24);
    cr_expect_float_eq(delta_log_decay(-1, -50), -exp(-50), 1e-30);
    cr_expect_eq(delta_log_decay(-1, -INFINITY), 0);
    cr_expect(isnan(delta_log_decay(-1, NAN)));
}

/* Two tokens of one head of 2 by 2, worked out by hand. */
Test(delta_net, two_tokens_by_hand)
{
    for (int chunked = 0; chunked < 2; chunked++)
        for (int step = 1; step <= 2; step++) {
            float x[2][6 + 16] = {{3, 4, 0, 2, 1, 2}, {1, 0, 1, 1, 3, -1}}, out[2][2 + 16], state[4 + 16] = {0};
            const float rate = -expf(.3f);
            const float decay[2] = {expf((float)delta_log_decay(rate, .1f)), expf((float)delta_log_decay(rate, 1.1f))};
            const float beta[2] = {.5f, 1 / (1 + expf(-.5f))};
            static const double expected[2][2] = {{.282843, .565685}, {.916775, -.345056}};
            static const double last[2][2] = {{1.296516, -.487983}, {1.373370, -.334276}};
            for (int t = 0; t < 2; t++) {
                ops.l2_norm(x[t], x[t], 2, 1e-6f);
                ops.scale(x[t], 1 / sqrtf(2), 2);
                ops.l2_norm(x[t] + 2, x[t] + 2, 2, 1e-6f);
            }
            for (int t = 0; t < 2; t += step) {
                const struct delta_rows r = {
                    .q = x[t],
                    .k = x[t] + 2,
                    .v = x[t] + 4,
                    .ld = 6 + 16,
                    .decay = decay + t,
                    .beta = beta + t,
                    .out = out[t],
                    .ld_out = 2 + 16,
                    .state = state,
                    .n_rows = step,
                    .head_dim = 2,
                    .v_head_dim = 2,
                };
                run_form(chunked, &r);
            }
            for (int i = 0; i < 2; i++)
                for (int j = 0; j < 2; j++) {
                    cr_expect_float_eq((double)out[i][j], expected[i][j], 2e-6, "form %d: o%d[%d] is %g", chunked, i, j,
                                       (double)out[i][j]);
                    cr_expect_float_eq((double)state[j * 2 + i], last[i][j], 2e-6, "form %d: S[%d][%d] is %g", chunked,
                                       i, j, (double)state[j * 2 + i]);
                }
        }
}

/* The rule itself in double precision. */
static void reference_head(const struct delta_rows *r, double *state, double *out)
{
    const int keys = r->head_dim, values = r->v_head_dim;
    for (int t = 0; t < r->n_rows; t++) {
        const float *q = r->q + t * r->ld, *k = r->k + t * r->ld, *v = r->v + t * r->ld;
        for (int j = 0; j < values; j++) {
            double *s = state + j * keys, answer = 0, sum = 0;
            for (int i = 0; i < keys; i++) answer += (s[i] *= (double)r->decay[t]) * (double)k[i];
            for (int i = 0; i < keys; i++) {
                s[i] += (double)k[i] * (double)r->beta[t] * ((double)v[j] - answer);
                sum += s[i] * (double)q[i];
            }
            out[t * values + j] = sum;
        }
    }
}

/* The largest difference, as a share of the largest value. */
static double difference(const float *found, const double *expected, size_t n)
{
    double worst = 0, largest = 1e-30;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)found[i] - expected[i]);
        if (!(d <= worst)) worst = d; /* NaN too */
        if (fabs(expected[i]) > largest) largest = fabs(expected[i]);
    }
    return worst / largest;
}

enum decays { MILD, STRONG, MIXED, WITH_ZEROS, NONE, N_DECAYS };

static float draw_decay(struct rng *rng, enum decays kind)
{
    switch (kind) {
    case MILD: return expf(rng_float(rng, -.1f, 0));
    case STRONG: return expf(rng_float(rng, -60, -5));
    case MIXED: return rng_below(rng, 4) ? expf(rng_float(rng, -.01f, 0)) : expf(rng_float(rng, -90, 0));
    case WITH_ZEROS: return rng_below(rng, 5) ? expf(rng_float(rng, -1, 0)) : 0;
    default: return 1;
    }
}

static void check_forms(int keys, int values, int n, enum decays kind, struct rng *rng)
{
    const int ld = 2 * keys + values + 3;
    const size_t state_floats = (size_t)(keys * values), out_floats = (size_t)(n * values);
    float *x = malloc((size_t)(n * ld + 16) * sizeof *x), *start = malloc((state_floats + 16) * sizeof *start);
    double *expected_state = malloc(state_floats * sizeof(double)), *expected = malloc(out_floats * sizeof(double));
    float decay[DELTA_CHUNK], beta[DELTA_CHUNK];
    rng_fill(rng, x, (size_t)(n * ld), -1, 1);
    rng_fill(rng, start, state_floats, -1, 1);
    for (int t = 0; t < n; t++) {
        float *q = x + t * ld, *k = q + keys;
        if (t % 5 == 4) memcpy(k, k - ld, (size_t)keys * sizeof *k); /* a key that S knows already */
        ops.l2_norm(q, q, keys, 1e-6f);
        ops.scale(q, 1 / sqrtf((float)keys), keys);
        ops.l2_norm(k, k, keys, 1e-6f);
        decay[t] = draw_decay(rng, kind);
        beta[t] = rng_below(rng, 8) ? rng_float(rng, 0, 1) : (float)rng_below(rng, 2);
    }
    for (size_t i = 0; i < state_floats; i++) expected_state[i] = (double)start[i];
    for (int chunked = 0; chunked < 2; chunked++) {
        float *state = malloc((state_floats + 16) * sizeof *state), *out = malloc(out_floats * sizeof *out);
        memcpy(state, start, state_floats * sizeof *state);
        const struct delta_rows r = {x, x + keys, x + 2 * keys, ld, decay, beta, out, values, state, n, keys, values};
        if (!chunked) reference_head(&r, expected_state, expected);
        run_form(chunked, &r);
        double of_out = difference(out, expected, out_floats);
        double of_state = difference(state, expected_state, state_floats);
        cr_expect(of_out <= 1e-5 && of_state <= 1e-5, "form %d, %d by %d, %d rows, decays %d: %g, %g", chunked, keys,
                  values, n, (int)kind, of_out, of_state);
        free(state);
        free(out);
    }
    free(x);
    free(start);
    free(expected);
    free(expected_state);
}

Test(delta_net, both_forms_agree_with_double_precision)
{
    static const int shapes[][2] = {{1, 1}, {2, 2}, {6, 10}, {10, 6}, {16, 16}, {33, 7}, {7, 33}, {64, 80}, {128, 128}};
    static const int rows[] = {1, 2, 3, 8, 15, 16, 17, 33, 63, 64};
    struct rng rng = rng_seed(11);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
            for (int kind = 0; kind < N_DECAYS; kind++) check_forms(shapes[s][0], shapes[s][1], rows[n], kind, &rng);
}

/* ---- the block --------------------------------------------------------------------------------------------------- */

enum { HIDDEN = 21, N = 90 };

/* Every weight as floats, for the definition. */
struct definition {
    struct mixer mixer;
    float *qkv, *z, *ba, *b, *a, *o, *taps, *rate, *dt_bias, *norm;
};

static float *draw(struct rng *rng, int n, float low, float high)
{
    float *x = bench_floats((size_t)n);
    rng_fill(rng, x, (size_t)n, low, high);
    return x;
}

static int channels_of(const struct mixer *m)
{
    return 2 * m->n_key_heads * m->head_dim + m->n_value_heads * m->v_head_dim;
}

static void make_block(struct mixer_bench *b, struct definition *d, const struct mixer *mixer, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    const int heads = mixer->n_value_heads, channels = channels_of(mixer), values = heads * mixer->v_head_dim;
    memset(b, 0, sizeof *b);
    *d = (struct definition){.mixer = *mixer};
    b->config.mixer = *mixer;
    b->config.mixer.kind = MIX_DELTA;
    b->model.config.hidden_size = HIDDEN;
    b->model.config.rms_norm_eps = 1e-6f;
    struct delta_weights *w = &b->layer.delta;
    w->qkv = bench_random_weight(&rng, &d->qkv, channels, HIDDEN);
    w->z = bench_random_weight(&rng, &d->z, values, HIDDEN);
    struct weight ba = bench_random_weight(&rng, &d->ba, 2 * heads, HIDDEN);
    struct weight wb = bench_random_weight(&rng, &d->b, heads, HIDDEN);
    struct weight wa = bench_random_weight(&rng, &d->a, heads, HIDDEN);
    if (mixer->fused_ba) {
        w->ba = ba;
    } else {
        w->b = wb;
        w->a = wa;
    }
    b->layer.o = bench_random_weight(&rng, &d->o, HIDDEN, values);
    b->layer.conv = d->taps = draw(&rng, mixer->conv_kernel * channels, -1, 1);
    w->rate = d->rate = draw(&rng, heads, -2, -.01f);
    w->dt_bias = d->dt_bias = draw(&rng, heads, -2, 1);
    w->norm = d->norm = draw(&rng, mixer->v_head_dim, .5f, 1.5f);
}

static double row_dot(const float *w, const float *h, int row)
{
    double sum = 0;
    for (int i = 0; i < HIDDEN; i++) sum += (double)w[row * HIDDEN + i] * (double)h[i];
    return sum;
}

static double silu(double x) { return x / (1 + exp(-x)); }

/* Channel c after convolution and silu, at row t of the whole timeline h. */
static double convolved(const struct definition *d, const float *h, int t, int c)
{
    const int n_taps = d->mixer.conv_kernel;
    double sum = 0;
    for (int j = 0; j < n_taps; j++) {
        int from = t - (n_taps - 1) + j;
        if (from >= 0) sum += (double)d->taps[j * channels_of(&d->mixer) + c] * row_dot(d->qkv, h + from * HIDDEN, c);
    }
    return silu(sum);
}

static void unit(double *x, int n)
{
    double sum = 1e-6;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    for (int i = 0; i < n; i++) x[i] /= sqrt(sum);
}

/* What value head v gives to row t, gated: y [v_head_dim]. The state is carried on. */
static void define_head(const struct definition *d, const float *h, int t, int v, double *state, double *y)
{
    const struct mixer *m = &d->mixer;
    const int keys = m->head_dim, values = m->v_head_dim, group = m->n_value_heads / m->n_key_heads;
    const int key_head = m->value_heads_tiled ? v % m->n_key_heads : v / group;
    const int nth = m->value_heads_tiled ? v / m->n_key_heads : v % group;
    double q[64], k[64], b, a, square = 0;
    for (int i = 0; i < keys; i++) {
        q[i] = convolved(d, h, t, key_head * keys + i);
        k[i] = convolved(d, h, t, (m->n_key_heads + key_head) * keys + i);
    }
    unit(q, keys);
    unit(k, keys);
    if (m->fused_ba) {
        b = row_dot(d->ba, h + t * HIDDEN, key_head * 2 * group + nth);
        a = row_dot(d->ba, h + t * HIDDEN, key_head * 2 * group + group + nth);
    } else {
        b = row_dot(d->b, h + t * HIDDEN, v);
        a = row_dot(d->a, h + t * HIDDEN, v);
    }
    const double decay = exp((double)d->rate[v] * log1p(exp(a + (double)d->dt_bias[v])));
    for (int j = 0; j < values; j++) {
        double *s = state + j * keys, answer = 0;
        double value = convolved(d, h, t, 2 * m->n_key_heads * keys + v * values + j);
        for (int i = 0; i < keys; i++) answer += (s[i] *= decay) * k[i];
        y[j] = 0;
        for (int i = 0; i < keys; i++) {
            s[i] += k[i] / (1 + exp(-b)) * (value - answer);
            y[j] += s[i] * q[i] / sqrt(keys);
        }
        square += y[j] * y[j];
    }
    for (int j = 0; j < values; j++) {
        y[j] *= (double)d->norm[j] / sqrt(square / values + 1e-6);
        y[j] *= silu(row_dot(d->z, h + t * HIDDEN, v * values + j));
    }
}

/* out [n, HIDDEN] of a timeline from its beginning. */
static void define(const struct definition *d, const float *h, int n, double *out)
{
    const struct mixer *m = &d->mixer;
    const int values = m->v_head_dim, width = m->n_value_heads * values;
    double *state = calloc((size_t)(m->head_dim * width), sizeof *state), mixed[256];
    for (int t = 0; t < n; t++) {
        for (int v = 0; v < m->n_value_heads; v++)
            define_head(d, h, t, v, state + v * values * m->head_dim, mixed + v * values);
        for (int r = 0; r < HIDDEN; r++) {
            out[t * HIDDEN + r] = 0;
            for (int i = 0; i < width; i++) out[t * HIDDEN + r] += (double)d->o[r * width + i] * mixed[i];
        }
    }
    free(state);
}

static void run_timeline(struct mixer_bench *b, const float *h, int step, int n_threads, float *out)
{
    bench_open(b, n_threads);
    for (int i = 0; i < N; i += step) {
        bench_add(b, 0, h + i * HIDDEN, i + step < N ? step : N - i);
        bench_pass(b, out + i * HIDDEN);
    }
    bench_close(b);
}

static const struct mixer mixers[] = {
    {.n_key_heads = 2, .n_value_heads = 6, .head_dim = 5, .v_head_dim = 7, .conv_kernel = 4, .fused_ba = true},
    {.n_key_heads = 2, .n_value_heads = 6, .head_dim = 5, .v_head_dim = 7, .conv_kernel = 4, .value_heads_tiled = true},
    {.n_key_heads = 3, .n_value_heads = 6, .head_dim = 16, .v_head_dim = 16, .conv_kernel = 3},
    {.n_key_heads = 1, .n_value_heads = 1, .head_dim = 33, .v_head_dim = 20, .conv_kernel = 1, .fused_ba = true},
    {.n_key_heads = 2,
     .n_value_heads = 4,
     .head_dim = 8,
     .v_head_dim = 8,
     .conv_kernel = 2,
     .value_heads_tiled = true,
     .fused_ba = true},
};

Test(delta_net, block_is_its_definition)
{
    static struct mixer_bench b;
    static float h[N * HIDDEN], out[N * HIDDEN];
    static double expected[N * HIDDEN];
    static const int steps[] = {1, 3, 20, 64, 65, N};
    for (size_t i = 0; i < sizeof mixers / sizeof *mixers; i++) {
        struct definition d;
        struct rng rng = rng_seed(i + 100);
        make_block(&b, &d, &mixers[i], i);
        rng_fill(&rng, h, N * HIDDEN, -1, 1);
        define(&d, h, N, expected);
        for (int s = 0; s < 6; s++) {
            run_timeline(&b, h, steps[s], 2, out);
            double worst = difference(out, expected, N * HIDDEN);
            cr_expect_leq(worst, 1e-5, "mixer %zu, %d rows at a time: %g", i, steps[s], worst);
        }
    }
}

Test(delta_net, threads_do_not_matter)
{
    static struct mixer_bench b;
    static float h[N * HIDDEN], first[N * HIDDEN], out[N * HIDDEN];
    struct definition d;
    struct rng rng = rng_seed(7);
    make_block(&b, &d, &mixers[0], 7);
    rng_fill(&rng, h, N * HIDDEN, -1, 1);
    for (int step = 1; step <= N; step += 29) {
        run_timeline(&b, h, step, 1, first);
        for (int n_threads = 2; n_threads <= 3; n_threads++) {
            run_timeline(&b, h, step, n_threads, out);
            cr_expect_arr_eq(out, first, sizeof out, "%d threads, %d rows at a time", n_threads, step);
        }
    }
}

/* A model that is opened as exact has one form, and so one result whatever the cut of the rows into passes. */
Test(delta_net, passes_do_not_matter_to_an_exact_model)
{
    static struct mixer_bench b;
    static float h[N * HIDDEN], first[N * HIDDEN], out[N * HIDDEN];
    struct definition d;
    struct rng rng = rng_seed(8);
    make_block(&b, &d, &mixers[0], 8);
    b.model.exact = true;
    rng_fill(&rng, h, N * HIDDEN, -1, 1);
    run_timeline(&b, h, 1, 1, first);
    for (int step = 2; step <= N; step += 29) {
        run_timeline(&b, h, step, 2, out);
        cr_expect_arr_eq(out, first, sizeof out, "%d rows at a time", step);
    }
}

Test(delta_net, sessions_in_one_pass_do_not_meet)
{
    enum { M = 30 };
    static struct mixer_bench b;
    static float h[3 * M * HIDDEN], alone[3 * M * HIDDEN], pass[3 * M * HIDDEN];
    struct definition d;
    struct rng rng = rng_seed(8);
    make_block(&b, &d, &mixers[1], 8);
    rng_fill(&rng, h, 3 * M * HIDDEN, -1, 1);
    bench_open(&b, 2);
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < M; i += 10) {
            bench_add(&b, s, h + (s * M + i) * HIDDEN, 10);
            bench_pass(&b, alone + (s * M + i) * HIDDEN);
        }
    bench_close(&b);
    bench_open(&b, 2);
    for (int i = 0; i < M; i += 10) {
        for (int s = 0; s < 3; s++) bench_add(&b, s, h + (s * M + i) * HIDDEN, 10);
        bench_pass(&b, pass);
        for (int s = 0; s < 3; s++)
            cr_expect_arr_eq(pass + s * 10 * HIDDEN, alone + (s * M + i) * HIDDEN, 10 * HIDDEN * sizeof(float));
    }
    bench_close(&b);
}

/* A checkpoint of the state, other rows, and back: as if they had never been. */
Test(delta_net, restored_states_go_on_bit_for_bit)
{
    static struct mixer_bench b;
    static float h[N * HIDDEN], straight[20 * HIDDEN], again[20 * HIDDEN], other[N * HIDDEN];
    struct definition d;
    struct rng rng = rng_seed(9);
    make_block(&b, &d, &mixers[0], 9);
    rng_fill(&rng, h, N * HIDDEN, -1, 1);
    bench_open(&b, 2);
    struct cache *cache = &b.caches[0];
    bench_add(&b, 0, h, 25);
    bench_pass(&b, other);
    cache->states_at = 25;
    cache_checkpoint(cache);
    bench_add(&b, 0, h + 25 * HIDDEN, 20);
    bench_pass(&b, straight);
    bench_add(&b, 0, h + 45 * HIDDEN, 45);
    bench_pass(&b, other);
    cache_restore(cache, 60);
    cr_assert_eq(cache->states_at, 25);
    bench_add(&b, 0, h + 25 * HIDDEN, 20);
    bench_pass(&b, again);
    cr_expect_arr_eq(again, straight, sizeof again);
    bench_close(&b);
}
