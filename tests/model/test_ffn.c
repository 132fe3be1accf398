/* MLP and experts: activations, biases and shared experts against numbers worked out by hand. Matrices pick their
 * numbers out of h: [gate, up] of N numbers each, then what the router reads. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/tiny.h"
#include "tests/support/compare.h"

enum { N = 4, HIDDEN = 3 * N, MAX_ROWS = 5 };

static void run_mlp(struct tiny *t, const struct chunk *c, const float *h, struct thread *thread)
{
    mlp(&t->model, &t->layer, &t->ws, c, h, thread);
}

static void run_experts(struct tiny *t, const struct chunk *c, const float *h, struct thread *thread)
{
    experts(&t->model, &t->layer, 0, &t->ws, c, h, h, thread);
}

/* The router reads the same numbers from another place, times -1. */
static void run_routed_apart(struct tiny *t, const struct chunk *c, const float *h, struct thread *thread)
{
    team_barrier(thread);
    for (int i = 0; thread->id == 0 && i < c->n_rows; i++)
        for (int d = 0; d < HIDDEN; d++) t->ws.router_in[i * t->ws.ld_hidden + d] = -h[i * t->ws.ld_hidden + d];
    team_barrier(thread);
    experts(&t->model, &t->layer, 0, &t->ws, c, h, t->ws.router_in, thread);
}

/* The same rows alone and in company, by one thread and by three: the same bits, and that x got what branch has. The
 * first N numbers of each row of the result are what the block gave. */
static void run_rows(struct tiny *t, tiny_block *block, const float *h, int n, float *out)
{
    float other[MAX_ROWS * HIDDEN];
    for (int n_threads = 1; n_threads <= 3; n_threads += 2)
        for (int together = 0; together < 2; together++) {
            tiny_start(t, MAX_ROWS, n_threads);
            for (int i = 0; i < (together ? 1 : n); i++)
                tiny_run(t, block, h + i * HIDDEN, i, together ? n : 1, other + i * HIDDEN);
            const float *last = other + (together ? 0 : n - 1) * HIDDEN;
            cr_expect_eq(first_difference(t->ws.x, last, HIDDEN), -1, "x += branch");
            tiny_stop(t);
            if (n_threads == 1 && together == 0) memcpy(out, other, (size_t)(n * HIDDEN) * sizeof *out);
            cr_assert_eq(first_difference(out, other, (size_t)(n * HIDDEN)), -1, "%d threads, together %d", n_threads,
                         together);
        }
}

static void expect_row(const float *out, double a, double b, double c, double d)
{
    const double expected[N] = {a, b, c, d};
    for (int i = 0; i < N; i++)
        cr_expect(fabs((double)out[i] - expected[i]) <= 1e-6 * (1 + fabs(expected[i])), "[%d]: %.9g, expected %.9g", i,
                  (double)out[i], expected[i]);
}

static struct mlp_weights pick_mlp(struct tiny *t)
{
    return (struct mlp_weights){
        .gate = tiny_pick(t, N, HIDDEN, 0), .up = tiny_pick(t, N, HIDDEN, N), .down = tiny_pick(t, HIDDEN, N, 0)};
}

static void make_mlp(struct tiny *t)
{
    tiny_make(t, HIDDEN);
    t->config.ffn.intermediate_size = N;
    t->layer.dense = pick_mlp(t);
}

/* gelu(1) = 0.841192, gelu(-1) = -0.158808, gelu(0.5) = 0.345714, gelu(-2) = -0.0454023 in the tanh form. */
Test(ffn, gelu_mlp)
{
    static const float h[HIDDEN] = {1, -1, .5f, -2, /**/ 1, 2, -10, 100};
    float out[HIDDEN];
    struct tiny t;
    make_mlp(&t);
    t.config.ffn.activation = ACT_GELU_TANH;
    run_rows(&t, run_mlp, h, 1, out);
    expect_row(out, 0.84119199, -0.31761602, -3.4571401, -4.5402306);
    tiny_free(&t);
}

/* silu(1) = 0.731059, silu(-1) = -0.268941; biases of all three matrices. */
Test(ffn, silu_mlp_with_biases)
{
    static const float gate[N] = {1, -1}, up[N] = {2, 3}, down[HIDDEN] = {10, 20, 30, 40};
    static const float h[2][HIDDEN] = {{0, 0, 0, 0, /**/ 0, 1, 5, 5}, {0}};
    float out[2 * HIDDEN];
    struct tiny t;
    make_mlp(&t);
    t.layer.dense.gate.bias = gate;
    t.layer.dense.up.bias = up;
    t.layer.dense.down.bias = down;
    run_rows(&t, run_mlp, h[0], 2, out);
    expect_row(out, 10 + 2 * 0.73105858, 20 - 4 * 0.26894142, 30, 40);
    expect_row(out + HIDDEN, 10 + 2 * 0.73105858, 20 - 3 * 0.26894142, 30, 40);
    tiny_free(&t);
}

/* What is to be normalised first stays out of x. */
Test(ffn, post_norms_leave_x_alone)
{
    static const float h[HIDDEN] = {1, 1, 1, 1, 1, 1, 1, 1};
    float out[HIDDEN];
    struct tiny t;
    make_mlp(&t);
    t.config.post_norms = true;
    tiny_start(&t, 1, 2);
    tiny_run(&t, run_mlp, h, 0, 1, out);
    expect_row(out, 0.73105858, 0.73105858, 0.73105858, 0.73105858);
    for (int d = 0; d < HIDDEN; d++) cr_expect_eq(t.ws.x[d], 0.0f);
    tiny_free(&t);
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

enum { EXPERTS = 3 };

/* Expert e gives 1, 10, 100 times what MLP would; the router's logits are the last numbers of h. */
static void make_experts(struct tiny *t, int top_k)
{
    float gate[EXPERTS][N][HIDDEN] = {{{0}}}, up[EXPERTS][N][HIDDEN] = {{{0}}}, down[EXPERTS][HIDDEN][N] = {{{0}}};
    tiny_make(t, HIDDEN);
    t->config.ffn.kind = FFN_MOE;
    t->config.ffn.expert_size = N;
    t->config.router.n_experts = EXPERTS;
    t->config.router.top_k = top_k;
    t->config.router.normalise = true;
    for (int e = 0, factor = 1; e < EXPERTS; e++, factor *= 10)
        for (int i = 0; i < N; i++) {
            gate[e][i][i] = up[e][i][N + i] = 1;
            down[e][i][i] = (float)factor;
        }
    t->layer.router = tiny_pick(t, EXPERTS, HIDDEN, 2 * N);
    t->layer.gate = tiny_bank(t, EXPERTS, N, HIDDEN, gate[0][0], NULL);
    t->layer.up = tiny_bank(t, EXPERTS, N, HIDDEN, up[0][0], NULL);
    t->layer.down = tiny_bank(t, EXPERTS, HIDDEN, N, down[0][0], NULL);
}

/* All three experts weigh a third; the sum has one order whatever the threads and rows, that of the ids. */
Test(ffn, experts_are_added_in_ascending_order)
{
    struct tiny t;
    struct ops ops;
    const float h[HIDDEN] = {0.7f, -1.3f, 2.1f, 0.37f, 1.1f, 0.9f, -0.6f, 3.3f}, third = 1.0f / 3;
    float out[HIDDEN], act[N];
    bool matters = false;
    ops_init(&ops, 0);
    ops.silu_mul(act, h, h + N, N);
    make_experts(&t, EXPERTS);
    run_rows(&t, run_experts, h, 1, out);
    for (int i = 0; i < N; i++) {
        const float one = act[i], ten = 10 * act[i], hundred = 100 * act[i];
        const float up = fmaf(third, hundred, fmaf(third, ten, third * one));
        const float down = fmaf(third, one, fmaf(third, ten, third * hundred));
        cr_expect_eq(out[i], up, "[%d]: %.9g, expected %.9g", i, (double)out[i], (double)up);
        matters |= up != down;
    }
    cr_expect(matters, "numbers that tell one order from the other");
    tiny_free(&t);
}

/* (1, .5) gives 1.268694, (8, -9) -41.999719, (-3, 2) -0.054214, (.5, -1) 0: here with all of gate and half of up from
 * the biases of expert 1, whose sum gets its own bias before it is weighed 3/4; expert 0 weighs 1/4. */
Test(ffn, clamped_experts_with_biases)
{
    static const float gate[EXPERTS][N] = {{0}, {1, 8, -3, .5f}, {NAN, NAN, NAN, NAN}};
    static const float up[EXPERTS][N] = {{0}, {.25f, -4.5f, 1, -.5f}, {NAN, NAN, NAN, NAN}};
    static const float down[EXPERTS][HIDDEN] = {{4, 8, 12, 16}, {100, 200, 300, 400}, {NAN, NAN, NAN, NAN}};
    static const float router[EXPERTS] = {0, 1.0986123f, -5};
    static const float h[3][HIDDEN] = {
        {0, 0, 0, 0, /**/ .25f, -4.5f, 1, -.5f}, {0, 0, 0, 0, /**/ .25f, -4.5f, 1, -.5f}, {[8] = 9, 9, 9}};
    float out[3 * HIDDEN];
    struct tiny t;
    make_experts(&t, 2);
    t.config.ffn.activation = ACT_SWIGLU_CLAMPED;
    t.config.ffn.limit = 7;
    t.config.ffn.expert_bias = true;
    t.layer.gate.first.bias = gate[0];
    t.layer.up.first.bias = up[0];
    t.layer.down.first.bias = down[0];
    t.layer.router.bias = router;
    run_rows(&t, run_experts, h[0], 3, out);
    for (int i = 0; i < 2; i++)
        expect_row(out + i * HIDDEN, 1 + 7.5 * 1.268694 + 75, 2 - 7.5 * 41.999719 + 150, 3 - 7.5 * 0.054214 + 225,
                   4 + 300);
    expect_row(out + 2 * HIDDEN, 1 + 7.5 * 1.0572447 + 75, 2 - 7.5 * 24.499836 + 150, 3 - 7.5 * 0.0361426 + 225,
               4 + 7.5 * 0.1751942 + 300);
    tiny_free(&t);
}

static void make_shared(struct tiny *t, bool gated)
{
    make_experts(t, 1);
    t->config.ffn.shared_size = N;
    t->config.ffn.shared = gated ? SHARED_GATED : SHARED_ADDED;
    t->layer.shared = pick_mlp(t);
    if (gated) t->layer.shared_switch = tiny_pick(t, 1, HIDDEN, HIDDEN - 1);
}

/* silu(1) = 0.731059; the best expert alone, and the shared one whole or times sigmoid(ln 3) = 3/4. */
Test(ffn, shared_experts)
{
    static const float h[3][HIDDEN] = {
        {1, 0, 0, 0, /**/ 1, 0, 0, 0, /**/ 5, 0, 0, 1.0986123f},
        {1, 1, 0, 0, /**/ 1, 2, 0, 0, /**/ 0, 5, 0, 1.0986123f},
        {0, 0, 1, 0, /**/ 0, 0, 1, 0, /**/ 0, 0, 5, 1.0986123f},
    };
    for (int gated = 0; gated < 2; gated++) {
        const double silu = 0.73105858, s = gated ? 0.75 : 1;
        float out[3 * HIDDEN];
        struct tiny t;
        make_shared(&t, gated);
        run_rows(&t, run_experts, h[0], 3, out);
        expect_row(out, silu * (1 + s), 0, 0, 0);
        expect_row(out + HIDDEN, silu * (10 + s), 2 * silu * (10 + s), 0, 0);
        expect_row(out + 2 * HIDDEN, 0, 0, silu * (100 + s), 0);
        tiny_free(&t);
    }
}

/* With logits negated the other expert of two wins, and the experts and the shared one read what they always read. */
Test(ffn, the_router_may_read_other_rows_than_the_experts)
{
    static const float h[2][HIDDEN] = {
        {1, 0, 0, 0, /**/ 1, 0, 0, 0, /**/ 5, 4, 3, 1.0986123f},
        {1, 1, 0, 0, /**/ 1, 2, 0, 0, /**/ 0, -5, 0, 1.0986123f},
    };
    for (int gated = 0; gated < 2; gated++) {
        const double silu = 0.73105858, s = gated ? 0.75 : 1;
        float out[2 * HIDDEN];
        struct tiny t;
        make_shared(&t, gated);
        t.config.router.input = INPUT_RESIDUAL;
        run_rows(&t, run_routed_apart, h[0], 2, out);
        expect_row(out, silu * (100 + s), 0, 0, 0);
        expect_row(out + HIDDEN, silu * (10 + s), 2 * silu * (10 + s), 0, 0);
        tiny_free(&t);
    }
}

/* What was read: the router, the experts in use, the shared expert, and its switch only where there is one. */
Test(ffn, bytes_read)
{
    static const float h[2][HIDDEN] = {{[8] = 5}, {[10] = 5}};
    for (int gated = 0; gated < 2; gated++) {
        float out[2 * HIDDEN];
        struct tiny t;
        make_shared(&t, gated);
        tiny_start(&t, 2, 1);
        tiny_run(&t, run_experts, h[0], 0, 2, out);
        const uint64_t matrix = t.layer.gate.stride, wide = t.layer.down.stride;
        cr_expect_eq(t.ws.bytes_read, matrix + 2 * (2 * matrix + wide) + (2 * matrix + wide) + (gated ? matrix : 0));
        cr_expect_eq(t.ws.experts_read, 2);
        tiny_free(&t);
    }
}

static int n_barriers; /* of the last block, thread 0's */

static void count_mlp(struct tiny *t, const struct chunk *c, const float *h, struct thread *thread)
{
    mlp(&t->model, &t->layer, &t->ws, c, h, thread);
    if (thread->id == 0) n_barriers = thread->n_barriers;
}

static void count_experts(struct tiny *t, const struct chunk *c, const float *h, struct thread *thread)
{
    experts(&t->model, &t->layer, 0, &t->ws, c, h, h, thread);
    if (thread->id == 0) n_barriers = thread->n_barriers;
}

Test(ffn, one_row_waits_three_times_for_experts_and_twice_for_an_mlp)
{
    static const float h[HIDDEN] = {1, -1, .5f, -2, /**/ 1, 2, -10, 100, /**/ 5, 4, 3, 1};
    float out[HIDDEN];
    struct tiny t;
    make_shared(&t, true);
    tiny_start(&t, 1, 2);
    tiny_run(&t, count_experts, h, 0, 1, out);
    cr_expect_eq(n_barriers, 3);
    tiny_free(&t);
    make_mlp(&t);
    tiny_start(&t, 1, 2);
    tiny_run(&t, count_mlp, h, 0, 1, out);
    cr_expect_eq(n_barriers, 2);
    tiny_free(&t);
}

/* Widths and rows that make several pieces of everything: of outputs, of columns, of rows of one expert. */
enum { WIDE = 80, EXPERT_SIZE = 300, MLP_SIZE = 400, N_EXPERTS = 5, MANY = 600 };

static void make_large(struct tiny *t)
{
    tiny_make(t, WIDE);
    struct ffn *f = &t->config.ffn;
    struct router *r = &t->config.router;
    f->kind = FFN_MOE;
    f->expert_size = EXPERT_SIZE;
    f->shared_size = f->intermediate_size = MLP_SIZE;
    f->shared = SHARED_GATED;
    r->n_experts = N_EXPERTS;
    r->top_k = 2;
    const size_t one = WIDE * EXPERT_SIZE, wide = WIDE * MLP_SIZE;
    const struct mlp_weights m = {
        .gate = tiny_weight(t, MLP_SIZE, WIDE, tiny_random(t, wide, 1)),
        .up = tiny_weight(t, MLP_SIZE, WIDE, tiny_random(t, wide, 2)),
        .down = tiny_weight(t, WIDE, MLP_SIZE, tiny_random(t, wide, 3)),
    };
    t->layer.shared = t->layer.dense = m;
    t->layer.shared_switch = tiny_weight(t, 1, WIDE, tiny_random(t, WIDE, 4));
    t->layer.router = tiny_weight(t, N_EXPERTS, WIDE, tiny_random(t, N_EXPERTS * WIDE, 5));
    const float *bias = tiny_random(t, N_EXPERTS * EXPERT_SIZE, 6);
    t->layer.gate = tiny_bank(t, N_EXPERTS, EXPERT_SIZE, WIDE, tiny_random(t, N_EXPERTS * one, 7), bias);
    t->layer.up = tiny_bank(t, N_EXPERTS, EXPERT_SIZE, WIDE, tiny_random(t, N_EXPERTS * one, 8), bias);
    t->layer.down = tiny_bank(t, N_EXPERTS, WIDE, EXPERT_SIZE, tiny_random(t, N_EXPERTS * one, 9), bias);
}

static void expect_same_rows(struct tiny *t, tiny_block *block, const float *h)
{
    static const int threads[] = {1, 2, 3, 8}, steps[] = {1, 70, MANY};
    float *first = malloc(sizeof(float) * MANY * WIDE), *out = malloc(sizeof(float) * MANY * WIDE);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 3; j++) {
            tiny_start(t, MANY, threads[i]);
            for (int at = 0; at < MANY; at += steps[j]) {
                const int left = MANY - at, n = left < steps[j] ? left : steps[j];
                if (steps[j] == 1 && at >= 20) break;
                tiny_run(t, block, h + at * WIDE, at, n, out + at * WIDE);
            }
            tiny_stop(t);
            const size_t n = WIDE * (steps[j] == 1 ? 20 : MANY);
            if (i == 0 && j == 1) memcpy(first, out, sizeof(float) * MANY * WIDE);
            if (i + j > 0)
                cr_assert_eq(first_difference(first, out, n), -1, "%d threads, %d rows a pass", threads[i], steps[j]);
        }
    free(first);
    free(out);
}

Test(ffn, pieces_of_work_do_not_change_a_bit)
{
    struct tiny t;
    make_large(&t);
    const float *h = tiny_random(&t, MANY * WIDE, 10);
    expect_same_rows(&t, run_experts, h);
    expect_same_rows(&t, run_mlp, h);
    tiny_free(&t);
}

static double squares[N_EXPERTS][MLP_SIZE];

static void sum_squares(void *context, const struct thread *t, const struct weight *w, int expert, const float *x,
                        ptrdiff_t ldx, const int *rows, int n_rows, int begin, int end)
{
    (void)t;
    if (w != context) return;
    for (int i = 0; i < n_rows; i++)
        for (int j = begin; j < end; j++) {
            const double value = (double)x[(rows ? rows[i] : i) * ldx + j - begin];
            squares[expert < 0 ? 0 : expert][j] += value * value;
        }
}

/* Sums over the rows that a matrix reads have one order, too. */
Test(ffn, what_a_collector_sees_does_not_depend_on_threads)
{
    static const int threads[] = {1, 2, 8};
    double first[N_EXPERTS][MLP_SIZE];
    struct tiny t;
    make_large(&t);
    const float *h = tiny_random(&t, MANY * WIDE, 10);
    float *out = malloc(sizeof(float) * MANY * WIDE);
    const struct weight *const seen[] = {&t.layer.gate.first, &t.layer.down.first, &t.layer.shared.down};
    for (int w = 0; w < 3; w++)
        for (int i = 0; i < 3; i++) {
            const struct input_collector collector = {sum_squares, (void *)seen[w]};
            memset(squares, 0, sizeof squares);
            tiny_start(&t, MANY, threads[i]);
            t.ws.collector = &collector;
            tiny_run(&t, run_experts, h, 0, MANY, out);
            tiny_stop(&t);
            if (i == 0) memcpy(first, squares, sizeof first);
            cr_expect_gt(squares[0][seen[w]->k - 1], 0);
            cr_expect_arr_eq(first, squares, sizeof first, "matrix %d, %d threads", w, threads[i]);
        }
    free(out);
    tiny_free(&t);
}

Test(ffn, operations_count_every_row_and_expert_once)
{
    struct tiny t;
    make_large(&t);
    const float *h = tiny_random(&t, MANY * WIDE, 10);
    float *out = malloc(sizeof(float) * MANY * WIDE);
    tiny_start(&t, MANY, 2);
    tiny_run(&t, run_experts, h, 0, MANY, out);
    const uint64_t per_row = 2 * WIDE * (N_EXPERTS + 1 + 2 * 3 * EXPERT_SIZE + 3 * MLP_SIZE);
    cr_expect_eq(t.ws.operations[PEAK_F32], MANY * per_row);
    cr_expect_eq(t.ws.expert_rows, 2 * MANY);
    free(out);
    tiny_free(&t);
}
