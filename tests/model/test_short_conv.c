/* LFM2's block, by hand and with every way of cutting its rows. */
#include <criterion/criterion.h>
#include <string.h>

#include "mixer_bench.h"

static const float identity[4] = {1, 0, 0, 1};

/* b = h, c = h swapped, u = (h0 + h1, h0 - h1); taps oldest first (1, 2, 3) and (.5, -1, 2). */
static void open_by_hand(struct mixer_bench *b)
{
    static const float in[12] = {1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, -1}, taps[6] = {1, .5f, 2, -1, 3, 2};
    memset(b, 0, sizeof *b);
    b->config.mixer = (struct mixer){.kind = MIX_CONV, .conv_kernel = 3};
    b->model.config.hidden_size = 2;
    b->layer.conv_in = bench_weight(in, 6, 2);
    b->layer.o = bench_weight(identity, 2, 2);
    b->layer.conv = taps;
    bench_open(b, 2);
}

Test(short_conv, block_by_hand)
{
    static const float h[6] = {1, 2, 0, 1, 2, 1}, expected[6] = {18, -4, 6, 0, 21, 4};
    static struct mixer_bench b;
    for (int step = 1; step <= 3; step++) {
        float out[6];
        open_by_hand(&b);
        for (int i = 0; i < 3; i += step) {
            bench_add(&b, 0, h + 2 * i, i + step < 3 ? step : 3 - i);
            bench_pass(&b, out + 2 * i);
        }
        for (int i = 0; i < 6; i++) cr_expect_eq(out[i], expected[i], "%d rows at a time, element %d", step, i);
        const float tail[4] = {0, -1, 6, 1}; /* b * u of the last two */
        cr_expect_arr_eq(b.caches[0].layers[0].tail, tail, sizeof tail);
        bench_close(&b);
        bench_free();
    }
}

enum { HIDDEN = 53, N = 30 };

/* Three sessions of N rows in passes of `step` rows each, all in one pass or one after the other. */
static void run_three(struct mixer_bench *b, const float *h, int step, bool together, int n_threads, float *out)
{
    bench_open(b, n_threads);
    for (int i = 0; i < N; i += step) {
        float pass[BENCH_ROWS * HIDDEN];
        int n = i + step < N ? step : N - i;
        for (int s = 0; s < BENCH_SESSIONS; s++) {
            bench_add(b, s, h + (s * N + i) * HIDDEN, n);
            if (together) continue;
            bench_pass(b, out + (s * N + i) * HIDDEN);
        }
        if (!together) continue;
        bench_pass(b, pass);
        for (int s = 0; s < BENCH_SESSIONS; s++)
            memcpy(out + (s * N + i) * HIDDEN, pass + s * n * HIDDEN, (size_t)(n * HIDDEN) * sizeof *out);
    }
    bench_close(b);
}

Test(short_conv, block_gives_the_same_bits_however_rows_come)
{
    static struct mixer_bench b;
    static float h[BENCH_SESSIONS * N * HIDDEN], first[BENCH_SESSIONS * N * HIDDEN], out[BENCH_SESSIONS * N * HIDDEN];
    struct rng rng = rng_seed(5);
    float *unused, taps[4 * HIDDEN + 16];
    memset(&b, 0, sizeof b);
    b.config.mixer = (struct mixer){.kind = MIX_CONV, .conv_kernel = 4};
    b.model.config.hidden_size = HIDDEN;
    b.layer.conv_in = bench_random_weight(&rng, &unused, 3 * HIDDEN, HIDDEN);
    b.layer.o = bench_random_weight(&rng, &unused, HIDDEN, HIDDEN);
    rng_fill(&rng, taps, 4 * HIDDEN, -1, 1);
    rng_fill(&rng, h, BENCH_SESSIONS * N * HIDDEN, -1, 1);
    b.layer.conv = taps;
    run_three(&b, h, N, false, 1, first);
    double sum = 0;
    for (int i = 0; i < BENCH_SESSIONS * N * HIDDEN; i++) sum += (double)(first[i] * first[i]);
    cr_expect_gt(sum, 1);
    for (int n_threads = 1; n_threads <= 3; n_threads++)
        for (int step = 1; step <= N; step = step * 3 + 1)
            for (int together = 0; together < 2; together++) {
                run_three(&b, h, step, together, n_threads, out);
                cr_expect_arr_eq(out, first, sizeof out, "%d threads, %d rows at a time", n_threads, step);
            }
    bench_free();
}
