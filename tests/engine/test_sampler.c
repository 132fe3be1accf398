/* Sampling on the logits of a tiny model. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_internal.h"
#include "golden.h"

/* A session whose logits the test sets itself. */
static sluice_session *open_session(struct golden *g, const float *logits, int n)
{
    golden_open(g, "llama3-hub-bf16", 1, 0);
    sluice_session *s = new_session(g->engine, 0, 0);
    cr_assert_eq(sluice_session_prefill(s, g->tokens, 3), SLUICE_OK);
    for (int i = 0; i < g->info.vocab_size; i++) s->logits[i] = i < n ? logits[i] : -1000;
    return s;
}

static void close_session(struct golden *g, sluice_session **s)
{
    sluice_session_free(s);
    golden_close(g);
}

Test(sampler, greedy_takes_the_largest_and_the_lower_id_of_equals)
{
    struct golden g;
    sluice_sampling how = sluice_sampling_default();
    sluice_session *s = open_session(&g, (float[]){1, 3, -2, 3, 2}, 5);
    cr_expect_eq(sluice_sample(s, &how), 1);
    close_session(&g, &s);
}

/* Shares of the tokens over many draws; the position stays, the seed moves. */
static void count_draws(const sluice_session *s, sluice_sampling how, int n_draws, double *share, int n)
{
    memset(share, 0, (size_t)n * sizeof *share);
    for (int i = 0; i < n_draws; i++) {
        how.seed = (uint64_t)i;
        int32_t id = sluice_sample(s, &how);
        cr_assert(id >= 0 && id < n, "token %d", (int)id);
        share[id] += 1.0 / n_draws;
    }
}

static void expect_shares(const double *found, const double *expected, int n)
{
    for (int i = 0; i < n; i++)
        cr_expect(fabs(found[i] - expected[i]) < 0.015, "token %d: share %.3f, expected %.3f", i, found[i],
                  expected[i]);
}

Test(sampler, draws_follow_the_probabilities)
{
    struct golden g;
    double found[5];
    /* probabilities 0.5, 0.3, 0.15, 0.04, 0.01 */
    const float logits[] = {logf(0.3f), logf(0.04f), logf(0.5f), logf(0.01f), logf(0.15f)};
    sluice_session *s = open_session(&g, logits, 5);
    sluice_sampling how = sluice_sampling_default();
    how.temperature = 1;
    count_draws(s, how, 20000, found, 5);
    expect_shares(found, (double[]){0.3, 0.04, 0.5, 0.01, 0.15}, 5);
    how.top_k = 3; /* 0.5, 0.3, 0.15 of 0.95 */
    count_draws(s, how, 20000, found, 5);
    expect_shares(found, (double[]){0.3158, 0, 0.5263, 0, 0.1579}, 5);
    how.top_k = 0;
    how.top_p = 0.75f; /* 0.5 + 0.3 is the smallest set of at least 0.75 */
    count_draws(s, how, 20000, found, 5);
    expect_shares(found, (double[]){0.375, 0, 0.625, 0, 0}, 5);
    how.top_p = 1;
    how.min_p = 0.1f; /* at least 0.05 */
    count_draws(s, how, 20000, found, 5);
    expect_shares(found, (double[]){0.3158, 0, 0.5263, 0, 0.1579}, 5);
    how.min_p = 0;
    how.temperature = 0.5f; /* squares: 0.25, 0.09, 0.0225, 0.0016, 0.0001 of 0.3642 */
    count_draws(s, how, 20000, found, 5);
    expect_shares(found, (double[]){0.2471, 0.0044, 0.6864, 0.0003, 0.0618}, 5);
    how.top_k = 4; /* top_k first, then top_p within it: 0.6869 + 0.2473 of the four */
    how.top_p = 0.9f;
    count_draws(s, how, 20000, found, 5);
    expect_shares(found, (double[]){0.2647, 0, 0.7353, 0, 0}, 5);
    close_session(&g, &s);
}

Test(sampler, the_heap_and_the_whole_list_draw_from_the_same_distribution)
{
    struct golden g;
    double all[128], best[128];
    golden_open(&g, "llama3-hub-bf16", 1, 0);
    sluice_session *s = new_session(g.engine, 0, 0);
    cr_assert_eq(sluice_session_prefill(s, g.tokens, 9), SLUICE_OK);
    sluice_sampling how = sluice_sampling_default();
    how.temperature = 1;
    int n = g.info.vocab_size;
    cr_assert_leq(n, 128);
    count_draws(s, how, 20000, all, n);
    how.top_k = g.info.vocab_size; /* keeps all, sorted */
    how.top_p = 0.999999f;
    count_draws(s, how, 20000, best, n);
    expect_shares(all, best, n);
    close_session(&g, &s);
}

Test(sampler, repetition_penalty_weakens_seen_tokens_once)
{
    struct golden g;
    sluice_sampling how = sluice_sampling_default();
    sluice_session *s = open_session(&g, (float[]){0, 0, 0, 0, 0}, 5);
    for (int i = 0; i < g.info.vocab_size; i++) s->logits[i] = -3;
    s->tokens[0] = s->tokens[1] = 1;
    s->tokens[2] = 2;
    s->logits[1] = 4;    /* seen twice: 4 / 2 = 2, not 1 */
    s->logits[2] = -1;   /* seen: -1 * 2 = -2 */
    s->logits[3] = 1.9f; /* not seen */
    s->logits[4] = -1.5f;
    how.repetition_penalty = 2;
    cr_expect_eq(sluice_sample(s, &how), 1);
    s->logits[3] = 2.1f;
    cr_expect_eq(sluice_sample(s, &how), 3);
    s->logits[1] = s->logits[3] = -9;
    cr_expect_eq(sluice_sample(s, &how), 4);
    close_session(&g, &s);
}

Test(sampler, the_draw_is_a_function_of_seed_and_length_recorded_once)
{
    /* These numbers must never change, on any machine: people quote seeds. */
    static const int32_t expected[12] = {6, 1, 18, 19, 14, 8, 6, 5, 17, 6, 11, 2};
    struct golden g;
    float logits[20];
    for (int i = 0; i < 20; i++) logits[i] = 0.1f * (float)((i * 7) % 20);
    sluice_session *s = open_session(&g, logits, 20);
    sluice_sampling how = sluice_sampling_default();
    how.temperature = 0.9f;
    how.top_p = 0.97f;
    for (int i = 0; i < 12; i++) {
        how.seed = (uint64_t)i * 1000003;
        int32_t id = sluice_sample(s, &how);
        cr_expect_eq(id, expected[i], "draw %d: %d, recorded %d", i, (int)id, (int)expected[i]);
        cr_expect_eq(sluice_sample(s, &how), id, "asking twice gives the same");
    }
    close_session(&g, &s);
}

Test(sampler, refuses_fields_out_of_range_by_name)
{
    const struct {
        sluice_sampling how;
        const char *field;
    } bad[] = {
        {{.temperature = -1, .top_p = 1, .repetition_penalty = 1}, "temperature"},
        {{.temperature = NAN, .top_p = 1, .repetition_penalty = 1}, "temperature"},
        {{.temperature = 1, .top_p = 0, .repetition_penalty = 1}, "top_p"},
        {{.temperature = 1, .top_p = 1.5f, .repetition_penalty = 1}, "top_p"},
        {{.temperature = 1, .top_k = -1, .top_p = 1, .repetition_penalty = 1}, "top_k"},
        {{.temperature = 1, .top_p = 1, .min_p = 1, .repetition_penalty = 1}, "min_p"},
        {{.temperature = 1, .top_p = 1, .repetition_penalty = 0}, "repetition_penalty"},
    };
    struct golden g;
    sluice_session *s = open_session(&g, (float[]){1, 2}, 2);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *text = sluice_sampling_check(&bad[i].how);
        cr_assert_not_null(text);
        cr_expect_eq(strncmp(text, bad[i].field, strlen(bad[i].field)), 0, "%s", text);
        cr_expect_eq(sluice_sample(s, &bad[i].how), -1);
    }
    cr_expect_null(sluice_sampling_check(
        &(sluice_sampling){.temperature = 0.7f, .top_p = 0.9f, .min_p = 0.05f, .repetition_penalty = 1.1f}));
    close_session(&g, &s);
}
