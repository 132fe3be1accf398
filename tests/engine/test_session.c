/* What a session promises: the timeline decides the logits, whatever the way it came about. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "golden.h"

/* Families with experts, a shared expert, windows, a dense one, and one with convolutions. Those whose results depend
 * on the cut into passes are in test_session_states.c. */
static const char *const cases[] = {"qwen3-moe-hub-bf16", "qwen2-moe-window-hub", "mixtral-window-f16",
                                    "olmoe-clip-f32",     "llama3-hub-bf16",      "lfm2-moe-hub-bf16"};
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* Copy of the logits after a whole prefill. */
static float *logits_of(const struct golden *g, const int32_t *tokens, size_t n)
{
    sluice_session *s = new_session(g->engine, 0, 0);
    float *copy = malloc((size_t)g->info.vocab_size * sizeof *copy);
    cr_assert_eq(sluice_session_prefill(s, tokens, n), SLUICE_OK, "%s", sluice_session_error(s));
    memcpy(copy, sluice_session_logits(s), (size_t)g->info.vocab_size * sizeof *copy);
    sluice_session_free(&s);
    return copy;
}

static void expect_logits(const struct golden *g, const sluice_session *s, const int32_t *tokens, size_t n,
                          const char *what)
{
    float *expected = logits_of(g, tokens, n);
    cr_assert_not_null(sluice_session_logits(s), "%s", what);
    cr_expect_arr_eq(sluice_session_logits(s), expected, (size_t)g->info.vocab_size * sizeof *expected, "%s", what);
    free(expected);
}

Test(session, decode_token_by_token_equals_prefill_bit_for_bit)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        golden_open(&g, cases[i], 2, 0);
        sluice_session *s = new_session(g.engine, 0, 0);
        for (size_t t = 0; t < g.n_tokens; t++) cr_assert_eq(sluice_session_decode(s, g.tokens[t]), SLUICE_OK);
        expect_logits(&g, s, g.tokens, g.n_tokens, cases[i]);
        cr_expect_eq(sluice_session_length(s), g.n_tokens);
        cr_expect_arr_eq(sluice_session_tokens(s), g.tokens, g.n_tokens * sizeof *g.tokens);
        sluice_session_free(&s);
        golden_close(&g);
    }
}

Test(session, rewind_and_redo_equals_fresh)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        golden_open(&g, cases[i], 2, 0);
        sluice_session *s = new_session(g.engine, 0, 7);
        cr_assert_eq(sluice_session_prefill(s, g.tokens, g.n_tokens), SLUICE_OK);
        cr_assert_eq(sluice_session_rewind(s, 11), SLUICE_OK);
        cr_expect_null(sluice_session_logits(s));
        int32_t other[9];
        for (int t = 0; t < 9; t++) other[t] = g.tokens[(t * 5 + 2) % 40];
        cr_assert_eq(sluice_session_prefill(s, other, 9), SLUICE_OK);
        int32_t timeline[20];
        memcpy(timeline, g.tokens, 11 * sizeof *timeline);
        memcpy(timeline + 11, other, sizeof other);
        expect_logits(&g, s, timeline, 20, cases[i]);
        sluice_session_free(&s);
        golden_close(&g);
    }
}

Test(session, sync_reuses_the_common_prefix_and_equals_fresh)
{
    struct golden g;
    golden_open(&g, cases[0], 2, 0);
    sluice_session *s = new_session(g.engine, 0, 0);
    size_t reused = 99;
    cr_assert_eq(sluice_session_sync(s, g.tokens, 20, &reused), SLUICE_OK);
    cr_expect_eq(reused, 0);
    cr_assert_eq(sluice_session_sync(s, g.tokens, 30, &reused), SLUICE_OK);
    cr_expect_eq(reused, 20);
    expect_logits(&g, s, g.tokens, 30, "longer");
    int32_t changed[25];
    memcpy(changed, g.tokens, sizeof changed);
    changed[13] = (changed[13] + 1) % g.info.vocab_size;
    cr_assert_eq(sluice_session_sync(s, changed, 25, &reused), SLUICE_OK);
    cr_expect_eq(reused, 13);
    expect_logits(&g, s, changed, 25, "changed");
    cr_assert_eq(sluice_session_sync(s, changed, 25, &reused), SLUICE_OK);
    cr_expect_eq(reused, 24, "the last token runs again, so that its logits are there");
    cr_assert_eq(sluice_session_sync(s, changed, 10, &reused), SLUICE_OK);
    expect_logits(&g, s, changed, 10, "shorter");
    cr_expect_eq(sluice_session_length(s), 10);
    sluice_session_free(&s);
    golden_close(&g);
}

Test(session, a_pass_for_many_sessions_equals_one_by_one)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        golden_open(&g, cases[i], 2, 0);
        enum { N = 5 };
        sluice_session *many[N];
        int32_t next[N];
        for (int j = 0; j < N; j++) { /* different lengths, contexts and chunks */
            many[j] = new_session(g.engine, 64 - j, 8 + j);
            cr_assert_eq(sluice_session_prefill(many[j], g.tokens + j, (size_t)(5 + 6 * j)), SLUICE_OK);
        }
        for (int step = 0; step < 3; step++) {
            for (int j = 0; j < N; j++) next[j] = g.tokens[(7 * j + step) % 40];
            cr_assert_eq(sluice_decode_many(many, next, N), SLUICE_OK);
        }
        for (int j = 0; j < N; j++) {
            size_t n = sluice_session_length(many[j]);
            int32_t *timeline = malloc(n * sizeof *timeline);
            memcpy(timeline, sluice_session_tokens(many[j]), n * sizeof *timeline);
            cr_expect_eq(n, (size_t)(8 + 6 * j));
            expect_logits(&g, many[j], timeline, n, cases[i]);
            free(timeline);
            sluice_session_free(&many[j]);
        }
        golden_close(&g);
    }
}

Test(session, refuses_what_does_not_fit_and_stays_as_it_was)
{
    struct golden g;
    golden_open(&g, cases[0], 1, 0);
    sluice_session *s = new_session(g.engine, 16, 4), *other = new_session(g.engine, 16, 4);
    cr_assert_eq(sluice_session_prefill(s, g.tokens, 10), SLUICE_OK);
    cr_expect_eq(sluice_session_prefill(s, g.tokens, 7), SLUICE_CONTEXT);
    cr_expect_str_eq(sluice_session_error(s), "7 tokens do not fit: 10 of 16 positions are used");
    cr_expect_eq(sluice_session_decode(s, -1), SLUICE_ARGUMENT);
    cr_expect_eq(sluice_session_decode(s, g.info.vocab_size), SLUICE_ARGUMENT);
    cr_expect_eq(sluice_session_prefill(s, g.tokens, 0), SLUICE_ARGUMENT);
    cr_expect_eq(sluice_session_rewind(s, 11), SLUICE_ARGUMENT);
    cr_expect_eq(sluice_session_sync(s, g.tokens, 17, NULL), SLUICE_CONTEXT);
    sluice_session *twice[2] = {s, s};
    cr_expect_eq(sluice_decode_many(twice, g.tokens, 2), SLUICE_ARGUMENT);
    cr_expect_eq(sluice_decode_many(twice, g.tokens, 0), SLUICE_ARGUMENT);
    cr_expect_eq(sluice_session_length(s), 10);
    expect_logits(&g, s, g.tokens, 10, "after refusals");
    sluice_session_free(&s);
    sluice_session_free(&other);
    golden_close(&g);
}

Test(session, refuses_options_out_of_range)
{
    struct golden g;
    golden_open(&g, cases[0], 1, 0);
    sluice_session *s;
    sluice_error error;
    const sluice_session_options bad[] = {{.n_context = -1},      {.n_context = g.info.n_context + 1},
                                          {.n_chunk = -1},        {.n_chunk = 1 << 20},
                                          {.cache_type = "q4_0"}, {.cache_type = ""}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s = (void *)1;
        cr_expect_eq(sluice_session_create(&s, g.engine, &bad[i], &error), SLUICE_ARGUMENT);
        cr_expect_null(s);
        cr_expect_eq(sluice_session_forecast_bytes(g.engine, &bad[i]), 0);
    }
    golden_close(&g);
}

Test(session, forecast_is_what_a_session_takes)
{
    struct golden g;
    golden_open(&g, cases[1], 2, 0);
    const sluice_session_options o = {.n_context = 40, .n_chunk = 9, .cache_type = "f32"};
    sluice_session *s = new_session(g.engine, 40, 9);
    size_t forecast = sluice_session_forecast_bytes(g.engine, &o), taken = sluice_session_bytes(s);
    cr_expect(taken >= forecast && taken < forecast + 8192, "forecast %zu, taken %zu", forecast, taken);
    sluice_session_free(&s);
    golden_close(&g);
}

/* Smaller caches take less and change little; a session of one type is no copy of another's. */
Test(session, keys_and_values_have_the_type_that_is_asked_for)
{
    static const char *const words[] = {"f32", "f16", "bf16", "q8_0"};
    static const double error[] = {0, 1e-5, 1e-3, 1e-3};
    struct golden g;
    sluice_session *s[4];
    golden_open(&g, cases[0], 2, SLUICE_OPEN_FLOAT);
    const size_t n = (size_t)g.info.vocab_size;
    size_t bytes[4];
    for (int i = 0; i < 4; i++) {
        sluice_error failure;
        const sluice_session_options o = {.n_context = g.info.n_context, .cache_type = words[i]};
        cr_assert_eq(sluice_session_create(&s[i], g.engine, &o, &failure), SLUICE_OK, "%s", failure.text);
        bytes[i] = sluice_session_bytes(s[i]);
        cr_assert_eq(sluice_session_prefill(s[i], g.tokens, g.n_tokens), SLUICE_OK);
        const double d = nmse(sluice_session_logits(s[i]), sluice_session_logits(s[0]), n);
        cr_expect(d <= error[i] && (i == 0 || d > 0), "%s: off by %g", words[i], d);
    }
    cr_expect(bytes[1] < bytes[0] && bytes[2] == bytes[1] && bytes[3] < bytes[2]);
    cr_expect_eq(sluice_session_copy(s[1], s[3]), SLUICE_ARGUMENT);
    cr_expect_neq(strstr(sluice_session_error(s[1]), "type of cache"), NULL);
    for (int i = 0; i < 4; i++) sluice_session_free(&s[i]);
    golden_close(&g);
}

Test(session, cancel_ends_a_pass_and_leaves_the_timeline)
{
    struct golden g;
    golden_open(&g, cases[0], 2, 0);
    sluice_session *s = new_session(g.engine, 0, 4);
    cr_assert_eq(sluice_session_prefill(s, g.tokens, 10), SLUICE_OK);
    sluice_session_cancel(s);
    cr_expect_eq(sluice_session_prefill(s, g.tokens + 10, 10), SLUICE_CANCELLED);
    cr_expect_eq(sluice_session_length(s), 10);
    cr_expect_null(sluice_session_logits(s));
    cr_assert_eq(sluice_session_prefill(s, g.tokens + 10, 10), SLUICE_OK, "the request was consumed");
    expect_logits(&g, s, g.tokens, 20, "after cancelling");
    sluice_session_free(&s);
    golden_close(&g);
}

struct canceller {
    sluice_session *session;
    int attended, fed; /* layers */
};

static void cancel_in_the_first_mixer(void *context, sluice_observation what, int layer, size_t first, size_t n_rows,
                                      size_t width, const void *data)
{
    struct canceller *c = context;
    (void)layer, (void)first, (void)n_rows, (void)width, (void)data;
    if (what == SLUICE_SEE_FFN) c->fed++;
    if (what == SLUICE_SEE_ATTENTION && c->attended++ == 0) sluice_session_cancel(c->session);
}

/* A pass may be seconds long: it stops within the layer. */
Test(session, cancel_is_obeyed_in_the_middle_of_a_pass)
{
    struct golden g;
    golden_open(&g, cases[0], 2, 0);
    cr_assert_gt(g.info.n_layers, 1);
    struct canceller c = {new_session(g.engine, 0, 0), 0, 0};
    sluice_observer observer = {1u << SLUICE_SEE_ATTENTION | 1u << SLUICE_SEE_FFN, cancel_in_the_first_mixer, &c};
    cr_assert_eq(sluice_session_observe(c.session, &observer), SLUICE_OK);
    cr_expect_eq(sluice_session_prefill(c.session, g.tokens, 10), SLUICE_CANCELLED);
    cr_expect_eq(c.attended, 1, "%d layers attended", c.attended);
    cr_expect_eq(c.fed, 1, "the half that had begun is finished");
    sluice_session_free(&c.session);
    golden_close(&g);
}

Test(session, cancelling_any_session_of_a_shared_pass_ends_it_for_all)
{
    struct golden g;
    golden_open(&g, cases[0], 2, 0);
    sluice_session *both[2] = {new_session(g.engine, 0, 4), new_session(g.engine, 0, 4)};
    for (int i = 0; i < 2; i++) cr_assert_eq(sluice_session_prefill(both[i], g.tokens, 5), SLUICE_OK);
    sluice_session_cancel(both[1]);
    cr_expect_eq(sluice_decode_many(both, g.tokens, 2), SLUICE_CANCELLED);
    for (int i = 0; i < 2; i++) cr_expect_str_eq(sluice_session_error(both[i]), "cancelled");
    cr_expect_eq(sluice_decode_many(both, g.tokens, 2), SLUICE_OK, "the request was consumed");
    for (int i = 0; i < 2; i++) sluice_session_free(&both[i]);
    golden_close(&g);
}

Test(session, decoding_requests_no_memory)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        golden_open(&g, cases[i], 2, 0);
        sluice_session *s = new_session(g.engine, 0, 16);
        sluice_sampling how = sluice_sampling_default();
        how.temperature = 1;
        how.top_p = 0.9f;
        cr_assert_eq(sluice_session_prefill(s, g.tokens, 20), SLUICE_OK);
        uint64_t before = memory_request_count();
        memory_fail_after(1);
        for (int t = 0; t < 10; t++) cr_assert_eq(sluice_session_decode(s, sluice_sample(s, &how)), SLUICE_OK);
        cr_assert_eq(sluice_session_prefill(s, g.tokens, 13), SLUICE_OK);
        memory_fail_after(0);
        cr_expect_eq(memory_request_count(), before, "%s", cases[i]);
        sluice_session_free(&s);
        golden_close(&g);
    }
}

Test(session, every_failing_request_of_opening_and_creating_is_reported)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden/models/%s", SLUICE_TEST_DIR, cases[0]);
    int n_failures = 0;
    for (uint64_t n = 1;; n++) {
        sluice_engine *e;
        sluice_session *s = NULL;
        sluice_error error = {0};
        memory_fail_after(n);
        sluice_status status = sluice_engine_open(&e, path, NULL, &error);
        if (!status) status = sluice_session_create(&s, e, NULL, &error);
        bool reached = memory_request_count() > 0 && status != SLUICE_OK;
        memory_fail_after(0);
        if (status) {
            cr_expect_eq(status, SLUICE_MEMORY, "request %d: %s", (int)n, error.text);
            cr_expect_neq(error.text[0], 0);
            cr_expect_null(s);
            n_failures++;
        }
        sluice_session_free(&s);
        sluice_engine_close(&e);
        if (!reached) break;
    }
    cr_expect_gt(n_failures, 5);
}

Test(session, stats_count_tokens_bytes_and_experts)
{
    struct golden g;
    golden_open(&g, cases[0], 2, 0);
    sluice_session *s = new_session(g.engine, 0, 0);
    sluice_session_stats st;
    cr_assert_eq(sluice_session_prefill(s, g.tokens, 12), SLUICE_OK);
    for (int i = 0; i < 4; i++) cr_assert_eq(sluice_session_decode(s, g.tokens[i]), SLUICE_OK);
    sluice_session_get_stats(s, &st);
    cr_expect_eq(st.prefill_tokens, 12);
    cr_expect_eq(st.decode_tokens, 4);
    cr_expect_eq(st.decode_passes, 4);
    cr_expect_eq(st.experts_read, (uint64_t)(4 * g.info.n_moe_layers * g.info.top_k));
    cr_expect_eq(st.experts_total, (uint64_t)(g.info.n_moe_layers * g.info.n_experts));
    cr_expect(st.experts_touched >= (uint64_t)(g.info.n_moe_layers * g.info.top_k) &&
              st.experts_touched <= st.experts_total);
    cr_expect_gt(st.decode_bytes, 4 * g.info.n_active_parameters, "four passes of at least one byte per weight");
    cr_expect_lt(st.decode_bytes, 4 * (g.info.weight_bytes + 64 * g.info.cache_bytes_per_token));
    cr_expect_geq(st.prefill_experts_read, (uint64_t)(g.info.n_moe_layers * g.info.top_k));
    cr_expect_eq(st.prefill_expert_rows, (uint64_t)(12 * g.info.n_moe_layers * g.info.top_k));
    /* Every active parameter but the norms with every token, the head with the last. */
    const uint64_t head = (uint64_t)g.info.vocab_size * (uint64_t)g.info.hidden_size;
    const uint64_t most = 2 * (12 * (g.info.n_active_parameters - head) + head);
    uint64_t operations = 0;
    for (int i = 0; i < SLUICE_N_PEAKS; i++) operations += st.prefill_operations[i];
    cr_expect(operations < most && (double)operations > 0.9 * (double)most);
    cr_expect(st.decode_wait_seconds > 0 && st.decode_wait_seconds <= 2 * st.decode_seconds);
    cr_expect(st.prefill_wait_seconds > 0 && st.prefill_wait_seconds <= 2 * st.prefill_seconds);
    sluice_session_reset_stats(s);
    sluice_session_get_stats(s, &st);
    cr_expect_eq(st.decode_tokens + st.prefill_tokens + st.experts_touched, 0);
    sluice_session_free(&s);
    golden_close(&g);
}

/* The rows of a pass share one reading of the cache: a longer prompt reads the positions that are new, not all of them
 * once more per row. */
Test(session, prefill_counts_the_cache_once_per_pass)
{
    struct golden g;
    uint64_t bytes[2];
    golden_open(&g, "llama3-hub-bf16", 2, 0);
    for (int i = 0; i < 2; i++) {
        sluice_session *s = new_session(g.engine, 0, 0);
        sluice_session_stats st;
        cr_assert_eq(sluice_session_prefill(s, g.tokens, (size_t)(15 + i)), SLUICE_OK);
        sluice_session_get_stats(s, &st);
        bytes[i] = st.prefill_bytes;
        sluice_session_free(&s);
    }
    const uint64_t row = 4 * (uint64_t)g.info.hidden_size; /* of the embedding, at most */
    cr_expect(bytes[1] > bytes[0] && bytes[1] - bytes[0] <= g.info.cache_bytes_per_token + row, "%llu and %llu bytes",
              (unsigned long long)bytes[0], (unsigned long long)bytes[1]);
    golden_close(&g);
}
