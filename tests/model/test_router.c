/* Routing: published reference vectors, ties, values that are no numbers, and slots that hold every pair once. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "model/forward.h"
#include "tests/support/compare.h"
#include "tests/support/rng.h"

/* A workspace with nothing but what route() needs, in blocks of exact size, so that a sanitizer sees each overrun. */
struct bench {
    struct layer_config config;
    struct layer layer;
    struct workspace ws;
    struct routing *result; /* of the last run */
    float *logits;          /* [n_rows, ld_experts] before routing */
    struct row *rows;       /* [n_rows] at positions 0, 1 ... */
    struct surgery surgery; /* of all rows */
    int n_rows, n_threads;
};

static void *zeros(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    cr_assert(p);
    return p;
}

static void make_routing(struct routing *r, int n_rows, ptrdiff_t ld, int n_experts, int top_k, int slots_of_row)
{
    size_t slots = (size_t)(n_rows * slots_of_row), chosen = (size_t)(n_rows * top_k);
    r->scores = zeros((size_t)n_rows * (size_t)ld, sizeof(float));
    r->experts = zeros(chosen, sizeof *r->experts);
    r->weights = zeros(chosen, sizeof(float));
    r->begin = zeros((size_t)n_experts + 1, sizeof(int));
    r->slot_row = zeros(slots, sizeof(int));
    r->slot_weight = zeros(slots, sizeof(float));
    r->used = zeros((size_t)n_experts, sizeof(int));
    r->ranks = zeros((size_t)n_experts, sizeof(float));
    r->group_ranks = zeros((size_t)n_experts, sizeof(float));
    r->groups = zeros((size_t)n_experts, sizeof *r->groups);
}

static void free_routing(struct routing *r)
{
    void *all[] = {r->scores,      r->experts, r->weights, r->begin,       r->slot_row,
                   r->slot_weight, r->used,    r->ranks,   r->group_ranks, r->groups};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void bench_make_as(struct bench *b, bool dense_twin, int n_experts, int top_k, bool normalise, int n_rows,
                          int n_threads)
{
    const int slots = dense_twin ? n_experts : top_k;
    *b = (struct bench){.n_rows = n_rows, .n_threads = n_threads};
    b->ws.dense_twin = dense_twin;
    b->ws.n_experts = n_experts;
    b->rows = zeros((size_t)n_rows, sizeof *b->rows);
    for (int i = 0; i < n_rows; i++) b->rows[i] = (struct row){.position = i, .surgery = &b->surgery};
    b->config.router = (struct router){
        .score = SCORE_SOFTMAX, .normalise = normalise, .scale = 1, .n_experts = n_experts, .top_k = top_k};
    b->layer.config = &b->config;
    b->ws.ld_experts = (n_experts + 15) / 16 * 16;
    ops_init(&b->ws.ops, cpu_features(NULL));
    b->logits = zeros((size_t)n_rows * (size_t)b->ws.ld_experts, sizeof(float));
    make_routing(&b->ws.routing, n_rows, b->ws.ld_experts, n_experts, top_k, slots);
    b->ws.own_routing = zeros((size_t)n_threads, sizeof(struct routing));
    for (int i = 0; i < n_threads; i++)
        make_routing(&b->ws.own_routing[i], 1, b->ws.ld_experts, n_experts, top_k, slots);
}

static void bench_make(struct bench *b, int n_experts, int top_k, bool normalise, int n_rows, int n_threads)
{
    bench_make_as(b, false, n_experts, top_k, normalise, n_rows, n_threads);
}

static void bench_free(struct bench *b)
{
    free_routing(&b->ws.routing);
    for (int i = 0; i < b->n_threads; i++) free_routing(&b->ws.own_routing[i]);
    free(b->ws.own_routing);
    free(b->logits);
    free(b->rows);
}

static float *logits_of(struct bench *b, int row) { return b->logits + row * b->ws.ld_experts; }
static const int32_t *experts_of(struct bench *b, int row) { return b->result->experts + row * b->config.router.top_k; }
static const float *weights_of(struct bench *b, int row) { return b->result->weights + row * b->config.router.top_k; }

static void run_route(struct thread *t, void *context)
{
    struct bench *b = context;
    struct routing *r = route(&b->layer, 0, &b->ws, &(struct chunk){.rows = b->rows, .n_rows = b->n_rows}, t);
    if (t->id == t->n - 1) b->result = r;
}

static void bench_run(struct bench *b)
{
    struct team team;
    memcpy(b->ws.routing.scores, b->logits, (size_t)b->n_rows * (size_t)b->ws.ld_experts * sizeof(float));
    team_init(&team, b->n_threads);
    team_run(&team, run_route, b);
}

/* In range, ascending (so never twice the same), and the slots hold every pair once, sorted by expert and row. */
static void expect_consistent(struct bench *b)
{
    const struct router *router = &b->config.router;
    const struct routing *r = b->result;
    int n_slots = b->n_rows * router->top_k, n_used = 0;
    for (int i = 0; i < n_slots; i++) {
        cr_assert(r->experts[i] >= 0 && r->experts[i] < router->n_experts, "expert %d", (int)r->experts[i]);
        if (i % router->top_k) cr_assert_lt(r->experts[i - 1], r->experts[i], "ascending");
    }
    cr_assert_eq(r->begin[0], 0);
    cr_assert_eq(r->begin[router->n_experts], n_slots);
    for (int e = 0; e < router->n_experts; e++) {
        cr_assert_leq(r->begin[e], r->begin[e + 1]);
        if (r->begin[e] < r->begin[e + 1]) cr_assert_eq(r->used[n_used++], e);
        for (int slot = r->begin[e]; slot < r->begin[e + 1]; slot++) {
            int row = r->slot_row[slot], i = 0;
            cr_assert(row >= 0 && row < b->n_rows);
            if (slot > r->begin[e]) cr_assert_gt(row, r->slot_row[slot - 1], "rows stay in order");
            while (i < router->top_k && experts_of(b, row)[i] != e) i++;
            cr_assert_lt(i, router->top_k, "row %d did not choose expert %d", row, e);
            cr_assert_eq(memcmp(&r->slot_weight[slot], &weights_of(b, row)[i], sizeof(float)), 0);
        }
    }
    cr_assert_eq(r->n_used, n_used);
}

/* ---- reference vectors ------------------------------------------------------------------------------------------- */

static const float reference[8] = {1, 2, .5f, 3, -1, 0, 2.5f, 1.5f};

Test(router, reference_vectors)
{
    static const double plain[2] = {0.402728, 0.244267}, normalised[2] = {0.622459, 0.377541};
    for (int normalise = 0; normalise < 2; normalise++)
        for (int n_rows = 1; n_rows <= 3; n_rows++) {
            struct bench b;
            bench_make(&b, 8, 2, normalise, n_rows, 2);
            for (int i = 0; i < n_rows; i++) memcpy(logits_of(&b, i), reference, sizeof reference);
            bench_run(&b);
            expect_consistent(&b);
            for (int i = 0; i < n_rows; i++) {
                const double *expected = normalise ? normalised : plain;
                cr_expect(experts_of(&b, i)[0] == 3 && experts_of(&b, i)[1] == 6);
                for (int j = 0; j < 2; j++) cr_expect_float_eq((double)weights_of(&b, i)[j], expected[j], 6e-7);
            }
            bench_free(&b);
        }
}

Test(router, scores_are_the_softmax_over_all_experts)
{
    struct bench b;
    bench_make(&b, 8, 2, true, 2, 1);
    for (int i = 0; i < 2; i++) memcpy(logits_of(&b, i), reference, sizeof reference);
    bench_run(&b);
    double sum = 0;
    for (int e = 0; e < 8; e++) sum += exp((double)reference[e]);
    for (int e = 0; e < 8; e++)
        cr_expect_float_eq((double)b.result->scores[b.ws.ld_experts + e], exp((double)reference[e]) / sum, 2e-7);
    bench_free(&b);
}

/* Every router of the supported families: the published vectors, and what distinguishes one step. */
Test(router, reference_vectors_of_every_kind)
{
    static const float bias[8] = {0, 0, .5f, -.2f, 0, 0, 0, .1f}, shares[8] = {9, 9, 9, 2, 9, 9, .5f, 9};
    static const float grouped[8] = {3, -2, 2.9f, -2, 1.5f, 1.4f, 1.3f, 1.2f};
    static const struct {
        const char *what;
        struct router router;
        const float *logits;
        bool expert_scale;
        int experts[2];
        double weights[2];
    } rows[] = {
        {"OLMoE", {.score = SCORE_SOFTMAX}, reference, false, {3, 6}, {0.402728, 0.244267}},
        {"Qwen3", {.normalise = true}, reference, false, {3, 6}, {0.622459, 0.377541}},
        {"sigmoid", {.score = SCORE_SIGMOID}, reference, false, {3, 6}, {0.952574, 0.924142}},
        {"sigmoid, normalised",
         {.score = SCORE_SIGMOID, .normalise = true, .normalise_eps = 1e-20f},
         reference,
         false,
         {3, 6},
         {0.507575, 0.492425}},
        {"DeepSeek-V3 without its scale",
         {.score = SCORE_SIGMOID, .selection_bias = true, .normalise = true, .normalise_eps = 1e-20f},
         reference,
         false,
         {2, 6},
         {0.402469, 0.597531}},
        {"DeepSeek-V3",
         {.score = SCORE_SIGMOID, .selection_bias = true, .normalise = true, .normalise_eps = 1e-20f, .scale = 2.5f},
         reference,
         false,
         {2, 6},
         {1.006173, 1.493827}},
        {"ERNIE", {.selection_bias = true, .normalise = true}, reference, false, {2, 6}, {0.119203, 0.880797}},
        {"the scale stands without the norm", {.scale = 16}, reference, false, {3, 6}, {6.443648, 3.908272}},
        /* 0.952574 / (0.952574 + 0.924142 + 1) and so on */
        {"the epsilon counts",
         {.score = SCORE_SIGMOID, .normalise = true, .normalise_eps = 1},
         reference,
         false,
         {3, 6},
         {0.331132, 0.321249}},
        {"Gemma 4", {.normalise = true}, reference, true, {3, 6}, {1.244918, 0.1887705}},
        {"DeepSeek-V3, groups",
         {.score = SCORE_SIGMOID, .n_group = 4, .topk_group = 2, .group_rank = GROUP_SUM_TOP2, .normalise = true},
         grouped,
         false,
         {4, 5},
         {0.504751, 0.495249}},
        {"DeepSeek-V2, groups",
         {.n_group = 4, .topk_group = 2, .group_rank = GROUP_MAX, .normalise = true},
         grouped,
         false,
         {0, 2},
         {0.524979, 0.475021}},
        {"one group is none", {.n_group = 1, .topk_group = 1}, reference, false, {3, 6}, {0.402728, 0.244267}},
        {"all groups are none",
         {.n_group = 4, .topk_group = 4, .group_rank = GROUP_MAX},
         reference,
         false,
         {3, 6},
         {0.402728, 0.244267}},
        /* groups of two: 0.924142 + 0.817574 is best, but with the bias 0.622459 + 0.5 + 0.952574 - 0.2 is */
        {"the groups see the bias",
         {.score = SCORE_SIGMOID, .selection_bias = true, .n_group = 4, .topk_group = 1, .group_rank = GROUP_SUM_TOP2},
         reference,
         false,
         {2, 3},
         {0.622459, 0.952574}},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        for (int n_rows = 1; n_rows <= 3; n_rows++) {
            struct bench b;
            bench_make(&b, 8, 2, false, n_rows, 2);
            const struct router sizes = b.config.router;
            b.config.router = rows[k].router;
            b.config.router.n_experts = sizes.n_experts;
            b.config.router.top_k = sizes.top_k;
            b.config.router.expert_scale = rows[k].expert_scale;
            if (rows[k].router.scale <= 0) b.config.router.scale = 1;
            b.layer.selection_bias = bias;
            b.layer.expert_scale = shares;
            for (int i = 0; i < n_rows; i++) memcpy(logits_of(&b, i), rows[k].logits, sizeof reference);
            bench_run(&b);
            expect_consistent(&b);
            for (int i = 0; i < n_rows; i++)
                for (int j = 0; j < 2; j++) {
                    cr_expect_eq(experts_of(&b, i)[j], rows[k].experts[j], "%s: expert %d", rows[k].what,
                                 (int)experts_of(&b, i)[j]);
                    cr_expect_float_eq((double)weights_of(&b, i)[j], rows[k].weights[j],
                                       8e-7 * (1 + rows[k].weights[j]), "%s: weight %.8f", rows[k].what,
                                       (double)weights_of(&b, i)[j]);
                }
            bench_free(&b);
        }
}

/* Observers see probabilities: neither bias nor groups show. */
Test(router, scores_are_shown_without_bias_and_groups)
{
    static const float bias[8] = {0, 0, .5f, -.2f, 0, 0, 0, .1f};
    for (int n_rows = 1; n_rows <= 2; n_rows++) {
        struct bench b;
        bench_make(&b, 8, 2, true, n_rows, 1);
        b.config.router.score = SCORE_SIGMOID;
        b.config.router.selection_bias = true;
        b.config.router.n_group = 4;
        b.config.router.topk_group = 1;
        b.layer.selection_bias = bias;
        for (int i = 0; i < n_rows; i++) memcpy(logits_of(&b, i), reference, sizeof reference);
        bench_run(&b);
        for (int e = 0; e < 8; e++)
            cr_expect_float_eq((double)b.result->scores[(n_rows - 1) * b.ws.ld_experts + e],
                               1 / (1 + exp(-(double)reference[e])), 2e-7);
        bench_free(&b);
    }
}

Test(router, ties_between_groups_go_to_the_lower_ids)
{
    for (int rank = 0; rank < 2; rank++) {
        struct bench b;
        bench_make(&b, 12, 3, true, 2, 1);
        b.config.router.n_group = 4;
        b.config.router.topk_group = 1;
        if (rank) b.config.router.group_rank = GROUP_SUM_TOP2;
        for (int e = 3; e < 6; e++) logits_of(&b, 1)[e] = 1; /* row 0: all equal; row 1: the second group */
        bench_run(&b);
        expect_consistent(&b);
        for (int j = 0; j < 3; j++) cr_expect(experts_of(&b, 0)[j] == j && experts_of(&b, 1)[j] == 3 + j);
        bench_free(&b);
    }
}

/* Negative ranks do not fall behind the experts of closed groups. */
Test(router, closed_groups_stay_closed_under_a_negative_bias)
{
    static const float bias[8] = {-2, -3, -4, -5, -9, -9, -9, -9};
    struct bench b;
    bench_make(&b, 8, 4, true, 1, 1);
    b.config.router.selection_bias = true;
    b.config.router.n_group = 2;
    b.config.router.topk_group = 1;
    b.layer.selection_bias = bias;
    bench_run(&b);
    expect_consistent(&b);
    for (int j = 0; j < 4; j++) cr_expect_eq(experts_of(&b, 0)[j], j);
    bench_free(&b);
}

/* The choice by sorting all experts by (score, id), for many sizes. */
Test(router, the_best_are_chosen)
{
    static const int sizes[][2] = {{1, 1},  {2, 1},   {2, 2},   {8, 2},    {60, 4},
                                   {64, 8}, {64, 64}, {128, 8}, {512, 10}, {17, 16}};
    struct rng rng = rng_seed(28);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct bench b;
        int n = sizes[s][0], top_k = sizes[s][1];
        bench_make(&b, n, top_k, s % 2, 50, 2);
        for (int row = 0; row < b.n_rows; row++)
            for (int e = 0; e < n; e++) logits_of(&b, row)[e] = (float)rng_below(&rng, 40) / 4; /* many ties */
        bench_run(&b);
        expect_consistent(&b);
        for (int row = 0; row < b.n_rows; row++) {
            const float *logits = logits_of(&b, row);
            double sum = 0;
            for (int i = 0; i < top_k; i++) sum += (double)weights_of(&b, row)[i];
            for (int e = 0, at = 0; e < n; e++) {
                int better = 0;
                for (int other = 0; other < n; other++)
                    better += logits[other] > logits[e] || (logits[other] == logits[e] && other < e);
                bool chosen = at < top_k && experts_of(&b, row)[at] == e;
                cr_assert_eq(chosen, better < top_k, "row %d, expert %d of %d", row, e, n);
                at += chosen;
            }
            if (s % 2) cr_assert_float_eq(sum, 1, 1e-5);
        }
        bench_free(&b);
    }
}

Test(router, all_experts_of_a_tie_go_to_the_lower_ids)
{
    struct bench b;
    bench_make(&b, 12, 5, true, 2, 1);
    bench_run(&b); /* all logits are zero */
    expect_consistent(&b);
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(experts_of(&b, 1)[i], i);
        cr_expect_float_eq(weights_of(&b, 1)[i], 0.2f, 1e-7f);
    }
    bench_free(&b);
}

Test(router, one_expert_alone_weighs_one_or_its_score)
{
    for (int normalise = 0; normalise < 2; normalise++) {
        struct bench b;
        bench_make(&b, 8, 1, normalise, 1, 2);
        memcpy(logits_of(&b, 0), reference, sizeof reference);
        bench_run(&b);
        expect_consistent(&b);
        cr_expect_eq(experts_of(&b, 0)[0], 3);
        cr_expect_float_eq(weights_of(&b, 0)[0], normalise ? 1.0f : 0.402728f, 6e-7f);
        bench_free(&b);
    }
}

/* ---- what is no number ------------------------------------------------------------------------------------------- */

Test(router, no_logits_lead_outside_or_twice_to_the_same_expert)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.0f, 1e-45f};
    static const int sizes[][2] = {{1, 1}, {3, 1}, {8, 2}, {8, 8}, {60, 4}, {128, 8}};
    struct rng rng = rng_seed(1);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int density = 0; density < 4; density++) {
            struct bench b;
            bench_make(&b, sizes[s][0], sizes[s][1], density % 2, 40, 2);
            for (int row = 0; row < b.n_rows; row++)
                for (int e = 0; e < sizes[s][0]; e++)
                    logits_of(&b, row)[e] =
                        rng_below(&rng, 4) <= (unsigned)density ? odd[rng_below(&rng, 7)] : rng_float(&rng, -3, 3);
            bench_run(&b);
            expect_consistent(&b);
            bench_free(&b);
        }
}

Test(router, nor_with_bias_and_groups)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.0f, 1e-45f};
    static const int sizes[][4] = {{4, 1, 4, 1}, {8, 2, 4, 2}, {8, 8, 2, 1}, {60, 4, 5, 3}, {256, 8, 8, 4}};
    struct rng rng = rng_seed(2);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < 16; kind++) {
            struct bench b;
            const int n = sizes[s][0];
            float *bias = zeros((size_t)n, sizeof *bias);
            bench_make(&b, n, sizes[s][1], kind & 1, 40, 2);
            b.config.router.n_group = sizes[s][2];
            b.config.router.topk_group = sizes[s][3];
            if (kind & 2) b.config.router.group_rank = GROUP_SUM_TOP2;
            if (kind & 4) b.config.router.score = SCORE_SIGMOID;
            b.config.router.selection_bias = kind & 8;
            for (int e = 0; e < n; e++) bias[e] = rng_below(&rng, 4) ? rng_float(&rng, -1, 1) : odd[rng_below(&rng, 7)];
            b.layer.selection_bias = bias;
            for (int row = 0; row < b.n_rows; row++)
                for (int e = 0; e < n; e++)
                    logits_of(&b, row)[e] =
                        rng_below(&rng, 40) < (unsigned)row ? odd[rng_below(&rng, 7)] : rng_float(&rng, -3, 3);
            bench_run(&b);
            expect_consistent(&b);
            bench_free(&b);
            free(bias);
        }
}

Test(router, rows_of_nothing_but_one_odd_value)
{
    static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 3e38f, -3e38f};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (int n_rows = 1; n_rows <= 2; n_rows++) {
            struct bench b;
            bench_make(&b, 8, 3, true, n_rows, 1);
            for (int e = 0; e < n_rows * 16; e++) b.logits[e] = odd[i];
            bench_run(&b);
            expect_consistent(&b);
            for (int j = 0; j < 3; j++) cr_expect_eq(experts_of(&b, 0)[j], j, "NaN goes to the lower id, too");
            bench_free(&b);
        }
}

/* ---- rows and threads -------------------------------------------------------------------------------------------- */

static void fill(struct bench *b, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    rng_fill(&rng, b->logits, (size_t)b->n_rows * (size_t)b->ws.ld_experts, -4, 4);
}

Test(router, a_row_is_routed_the_same_alone_and_in_company)
{
    enum { ROWS = 70 };
    struct bench many;
    bench_make(&many, 60, 4, true, ROWS, 3);
    fill(&many, 4);
    bench_run(&many);
    expect_consistent(&many);
    for (int row = 0; row < ROWS; row++) {
        struct bench one;
        bench_make(&one, 60, 4, true, 1, 2);
        memcpy(logits_of(&one, 0), logits_of(&many, row), 64 * sizeof(float));
        bench_run(&one);
        expect_consistent(&one);
        cr_assert_eq(memcmp(experts_of(&one, 0), experts_of(&many, row), 4 * sizeof(int32_t)), 0);
        cr_assert_eq(first_difference(weights_of(&one, 0), weights_of(&many, row), 4), -1);
        bench_free(&one);
    }
    bench_free(&many);
}

Test(router, the_number_of_threads_changes_nothing)
{
    enum { ROWS = 300, EXPERTS = 128, TOP_K = 8 };
    static const int threads[] = {1, 2, 3, 8};
    struct bench first;
    bench_make(&first, EXPERTS, TOP_K, true, ROWS, 1);
    fill(&first, 9);
    bench_run(&first);
    expect_consistent(&first);
    for (int i = 1; i < 4; i++) {
        struct bench b;
        bench_make(&b, EXPERTS, TOP_K, true, ROWS, threads[i]);
        fill(&b, 9);
        bench_run(&b);
        expect_consistent(&b);
        cr_expect_eq(memcmp(b.result->experts, first.result->experts, sizeof(int32_t) * ROWS * TOP_K), 0);
        cr_expect_eq(memcmp(b.result->begin, first.result->begin, sizeof(int) * (EXPERTS + 1)), 0);
        cr_expect_eq(memcmp(b.result->slot_row, first.result->slot_row, sizeof(int) * ROWS * TOP_K), 0);
        cr_expect_eq(first_difference(b.result->slot_weight, first.result->slot_weight, ROWS * TOP_K), -1);
        bench_free(&b);
    }
    bench_free(&first);
}

Test(router, all_rows_may_choose_the_same_experts)
{
    struct bench b;
    bench_make(&b, 32, 2, false, 200, 2);
    for (int row = 0; row < b.n_rows; row++) logits_of(&b, row)[31] = logits_of(&b, row)[7] = 5;
    bench_run(&b);
    expect_consistent(&b);
    cr_expect_eq(b.result->n_used, 2);
    cr_expect(b.result->used[0] == 7 && b.result->used[1] == 31);
    cr_expect_eq(b.result->begin[31], 200);
    bench_free(&b);
}

/* ---- surgery ----------------------------------------------------------------------------------------------------- */

enum { MOST = 64 };

/* The choice written down once more, in double and without a thought for speed. */
static void choose_plainly(const struct router *r, const float *logits, const float *bias, const unsigned char *marks,
                           int k, int *ids, double *weights)
{
    double p[MOST], rank[MOST], sum = 0;
    bool open[MOST], chosen[MOST] = {false};
    const int n = r->n_experts, n_groups = r->n_group > 1 ? r->n_group : 1, size = n / n_groups;
    for (int e = 0; e < n; e++) {
        const double odds = marks[e] & MARK_ABLATED ? 0 : exp((double)logits[e]);
        p[e] = r->score == SCORE_SIGMOID ? odds / (1 + odds) : odds;
        sum += odds;
        open[e] = n_groups == 1;
    }
    for (int e = 0; e < n; e++) {
        if (r->score == SCORE_SOFTMAX) p[e] /= sum;
        rank[e] = p[e] + (r->selection_bias ? (double)bias[e] : 0);
        if (marks[e] & MARK_ABLATED) rank[e] = -INFINITY;
    }
    for (int opened = 0, left = 0; n_groups > 1 && (opened < r->topk_group || left < k) && opened < n_groups;
         opened++) {
        int best = -1;
        double best_rank = 0;
        for (int g = 0; g < n_groups; g++) {
            double first = -INFINITY, second = -INFINITY;
            if (open[g * size]) continue;
            for (int e = g * size; e < (g + 1) * size; e++) {
                second = fmax(second, fmin(first, rank[e]));
                first = fmax(first, rank[e]);
            }
            const double group = r->group_rank == GROUP_SUM_TOP2 ? first + second : first;
            if (best < 0 || group > best_rank) best = g, best_rank = group;
        }
        for (int e = best * size; e < (best + 1) * size; e++) {
            open[e] = true;
            left += !(marks[e] & MARK_ABLATED);
        }
    }
    for (int i = 0; i < k; i++) {
        int best = -1;
        for (int e = 0; e < n; e++) {
            const double value = marks[e] & MARK_FORCED ? 1e30 : open[e] ? rank[e] : -INFINITY;
            const double best_value = best < 0                    ? 0
                                      : marks[best] & MARK_FORCED ? 1e30
                                      : open[best]                ? rank[best]
                                                                  : -INFINITY;
            if (!chosen[e] && (best < 0 || value > best_value)) best = e;
        }
        chosen[best] = true;
    }
    double total = 0;
    for (int e = 0, i = 0; e < n; e++)
        if (chosen[e]) total += p[e], ids[i++] = e;
    for (int i = 0; i < k; i++) {
        weights[i] = p[ids[i]] * (double)r->scale / (r->normalise ? total + (double)r->normalise_eps : 1);
        if (marks[ids[i]] & MARK_ZEROED) weights[i] = 0;
    }
}

static void expect_plain(struct bench *b, const float *bias, const char *what)
{
    const int k = experts_per_row(&b->ws, &b->config.router);
    const unsigned char none[MOST] = {0};
    for (int row = 0; row < b->n_rows; row++) {
        int ids[MOST];
        double weights[MOST];
        choose_plainly(&b->config.router, logits_of(b, row), bias, b->surgery.marks ? b->surgery.marks : none, k, ids,
                       weights);
        for (int i = 0; i < k; i++) {
            cr_assert_eq(b->result->experts[row * k + i], ids[i], "%s: row %d, expert %d is %d, not %d", what, row, i,
                         (int)b->result->experts[row * k + i], ids[i]);
            cr_assert_float_eq((double)b->result->weights[row * k + i], weights[i], 2e-6 * (1 + weights[i]),
                               "%s: row %d, expert %d", what, row, ids[i]);
        }
    }
}

/* Every kind of router, every mark, one row and many, and numbers of experts from one to all. */
Test(router, marks_and_active_experts_act_as_they_say)
{
    enum { N = 16 };
    struct rng rng = rng_seed(77);
    float bias[N];
    for (int kind = 0; kind < 128; kind++) {
        unsigned char marks[N] = {0};
        for (int e = 0; e < N; e++) bias[e] = rng_float(&rng, -.5f, .5f);
        const int n_rows = kind & 1 ? 1 : 30, k = 1 + (int)rng_below(&rng, kind & 64 ? N - 4 : 4);
        struct bench b;
        bench_make(&b, N, k, kind & 2, n_rows, 2);
        struct router *r = &b.config.router;
        if (kind & 4) r->score = SCORE_SIGMOID;
        r->selection_bias = kind & 8;
        r->scale = kind & 2 ? 2.5f : 1;
        if (kind & 16) r->n_group = 4, r->topk_group = 2;
        if (kind & 32) r->group_rank = GROUP_SUM_TOP2;
        b.layer.selection_bias = bias;
        r->top_k = 3; /* what the model would do */
        b.ws.active_experts = k;
        /* three ablated, one forced, two zeroed; a group may lose all or all but one of its experts */
        const int hole = (int)rng_below(&rng, N);
        for (int i = 0; i < 3; i++) marks[(hole + i) % N] = MARK_ABLATED;
        if (kind % 3) marks[(hole + 3 + (int)rng_below(&rng, 8)) % N] |= MARK_FORCED;
        for (int i = 0; i < 2; i++) marks[rng_below(&rng, N)] |= MARK_ZEROED;
        b.surgery.marks = marks;
        for (int row = 0; row < n_rows; row++)
            for (int e = 0; e < N; e++) logits_of(&b, row)[e] = rng_float(&rng, -3, 3);
        bench_run(&b);
        r->top_k = k; /* for expect_consistent */
        expect_consistent(&b);
        expect_plain(&b, bias, "surgery");
        bench_free(&b);
    }
}

/* What is left of a softmax is the softmax of a router without these rows. */
Test(router, ablated_experts_are_as_if_there_was_no_row_for_them)
{
    enum { N = 12, LEFT = 9, K = 4, ROWS = 20 };
    static const int kept[LEFT] = {0, 1, 3, 4, 6, 7, 8, 9, 10};
    unsigned char marks[N] = {[2] = MARK_ABLATED, [5] = MARK_ABLATED, [11] = MARK_ABLATED};
    for (int kind = 0; kind < 4; kind++) {
        struct bench whole, less;
        struct rng rng = rng_seed(5);
        bench_make(&whole, N, K, kind & 1, ROWS, 2);
        bench_make(&less, LEFT, K, kind & 1, ROWS, 2);
        if (kind & 2) whole.config.router.score = less.config.router.score = SCORE_SIGMOID;
        whole.surgery.marks = marks;
        for (int row = 0; row < ROWS; row++) {
            for (int e = 0; e < N; e++) logits_of(&whole, row)[e] = rng_float(&rng, -3, 3);
            logits_of(&whole, row)[2] = 9; /* it would be chosen */
            for (int i = 0; i < LEFT; i++) logits_of(&less, row)[i] = logits_of(&whole, row)[kept[i]];
        }
        bench_run(&whole);
        bench_run(&less);
        for (int row = 0; row < ROWS; row++)
            for (int i = 0; i < K; i++) {
                cr_assert_eq(experts_of(&whole, row)[i], kept[experts_of(&less, row)[i]]);
                cr_assert_float_eq(weights_of(&whole, row)[i], weights_of(&less, row)[i], 1e-6f);
            }
        for (int e = 0; e < N; e++)
            cr_expect_eq(whole.result->scores[e] <= 0, (marks[e] & MARK_ABLATED) != 0, "observers see a score of 0");
        bench_free(&whole);
        bench_free(&less);
    }
}

/* Two groups of four are open to two experts; to nine experts a third one has to be. */
Test(router, groups_open_as_experts_are_wanted)
{
    static const float logits[16] = {9, 0, 0, 0, 8, 0, 0, 0, 0, 1, 2, 3, 7, 0, 0, 0};
    unsigned char marks[16] = {[1] = MARK_ABLATED, [5] = MARK_ABLATED, [6] = MARK_ABLATED, [10] = MARK_FORCED};
    static const struct {
        int k, expected[9];
        bool marked;
    } rows[] = {
        {2, {0, 4}, false},
        {3, {0, 1, 4}, false},
        {8, {0, 1, 2, 3, 4, 5, 6, 7}, false},
        {9, {0, 1, 2, 3, 4, 5, 6, 7, 12}, false},
        {2, {0, 10}, true},              /* forced: its group stays closed to all others */
        {6, {0, 2, 3, 4, 10, 12}, true}, /* five are left in the first two groups: a third one opens */
        {5, {0, 2, 3, 4, 10}, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench b;
        bench_make(&b, 16, rows[i].k, true, 2, 1);
        b.config.router.n_group = 4;
        b.config.router.topk_group = 2;
        if (rows[i].marked) b.surgery.marks = marks;
        for (int row = 0; row < 2; row++) memcpy(logits_of(&b, row), logits, sizeof logits);
        bench_run(&b);
        expect_consistent(&b);
        for (int j = 0; j < rows[i].k; j++)
            cr_expect_eq(experts_of(&b, 1)[j], rows[i].expected[j], "row %zu: expert %d is %d", i, j,
                         (int)experts_of(&b, 1)[j]);
        bench_free(&b);
    }
}

/* Descending ids, and nothing for position 2. */
static bool give_last(void *context, int layer, size_t position, int n, int32_t *experts, float *weights)
{
    const int n_experts = *(const int *)context;
    for (int i = 0; i < n; i++) experts[i] = n_experts - 1 - i, weights[i] = (float)i + (float)layer;
    return position != 2;
}

Test(router, given_routing_takes_the_place_of_the_choice)
{
    enum { N = 8, K = 3, ROWS = 4 };
    int n = N;
    unsigned char marks[N] = {[3] = MARK_FORCED, [7] = MARK_ABLATED, [6] = MARK_ZEROED};
    for (int n_rows = 1; n_rows <= ROWS; n_rows += 3) {
        struct bench b;
        bench_make(&b, N, K, true, n_rows, 2);
        b.surgery = (struct surgery){.marks = marks, .route = give_last, .context = &n};
        for (int i = 0; i < n_rows; i++) memcpy(logits_of(&b, i), reference, sizeof reference);
        bench_run(&b);
        expect_consistent(&b);
        cr_expect_not(atomic_load(&b.ws.routing_fault.found));
        for (int i = 0; i < n_rows; i++) {
            const float given[K] = {2, 0, 0}; /* of experts 5, 6 and 7; 6 is zeroed and 7 came first */
            if (i != 2) {
                for (int j = 0; j < K; j++)
                    cr_expect(experts_of(&b, i)[j] == N - K + j && weights_of(&b, i)[j] == given[j], "row %d", i);
            } else {
                cr_expect(experts_of(&b, i)[0] == 1 && experts_of(&b, i)[1] == 3 && experts_of(&b, i)[2] == 6);
            }
        }
        bench_free(&b);
    }
}

static bool give_wrong(void *context, int layer, size_t position, int n, int32_t *experts, float *weights)
{
    static const int32_t ids[][3] = {{0, 1, 8}, {-1, 1, 2}, {4, 2, 4}, {0, 1, 2}};
    (void)layer;
    for (int i = 0; i < n; i++) experts[i] = ids[*(const int *)context][i], weights[i] = 1;
    if (*(const int *)context == 3) weights[1] = NAN;
    return position == 1 || position == 0;
}

Test(router, given_routing_that_cannot_be_is_noted_and_not_followed)
{
    static const char *const what[] = {"does not exist", "does not exist", "is there twice",
                                       "has a weight that is not finite"};
    static const int expert[] = {8, -1, 4, 1};
    for (int kind = 0; kind < 4; kind++)
        for (int n_rows = 1; n_rows <= 2; n_rows++) {
            struct bench b;
            bench_make(&b, 8, 3, true, n_rows, 2);
            b.surgery = (struct surgery){.route = give_wrong, .context = &kind};
            for (int i = 0; i < n_rows; i++) memcpy(logits_of(&b, i), reference, sizeof reference);
            bench_run(&b);
            expect_consistent(&b);
            const struct routing_fault *fault = &b.ws.routing_fault;
            cr_expect(atomic_load(&b.ws.routing_fault.found));
            cr_expect_str_eq(fault->what, what[kind]);
            cr_expect(fault->expert == expert[kind] && fault->layer == 0 && fault->position < n_rows);
            cr_expect(experts_of(&b, 0)[0] == 1 && experts_of(&b, 0)[1] == 3 && experts_of(&b, 0)[2] == 6);
            bench_free(&b);
        }
}

/* Every pair of a row and an expert has a slot, and those that were not chosen weigh nothing. */
Test(router, the_dense_twin_gives_every_row_to_every_expert)
{
    enum { N = 9, K = 2 };
    for (int n_rows = 1; n_rows <= 40; n_rows += 13) {
        struct bench sparse, dense;
        bench_make(&sparse, N, K, true, n_rows, 2);
        bench_make_as(&dense, true, N, K, true, n_rows, 2);
        fill(&sparse, 8);
        fill(&dense, 8);
        bench_run(&sparse);
        bench_run(&dense);
        const struct routing *r = dense.result;
        cr_assert_eq(r->n_used, N);
        for (int e = 0; e <= N; e++) cr_assert_eq(r->begin[e], e * n_rows);
        for (int e = 0; e < N; e++) {
            cr_assert_eq(r->used[e], e);
            for (int row = 0; row < n_rows; row++) {
                float expected = 0;
                for (int i = 0; i < K; i++)
                    if (experts_of(&sparse, row)[i] == e) expected = weights_of(&sparse, row)[i];
                cr_assert_eq(r->slot_row[e * n_rows + row], row);
                cr_assert_eq(r->slot_weight[e * n_rows + row], expected, "row %d, expert %d", row, e);
            }
        }
        bench_free(&sparse);
        bench_free(&dense);
    }
}
