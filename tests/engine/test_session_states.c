/* Sessions of models with states: whatever was rewound, cancelled, copied or shared, the timeline decides the
 * logits. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"

/* Gated DeltaNet with heads grouped and tiled, a long text, short convolutions with and without experts. */
static const char *const cases[] = {"qwen3-next-hub-bf16", "qwen3_5-moe-wrapped-hub", "qwen3-next-long-bf16",
                                    "lfm2-moe-hub-bf16", "lfm2-v5-f32"};
enum { N_CASES = sizeof cases / sizeof cases[0], LONG = 2 };

/* The logits are those of one straight prefill: for convolutions alone the same bits, for states whose form depends on
 * the number of rows up to rounding. */
static void expect_straight(const struct golden *g, const sluice_session *s, const char *what)
{
    const size_t n = sluice_session_length(s), vocab_size = (size_t)g->info.vocab_size;
    const float *found = sluice_session_logits(s);
    sluice_session *straight = new_session(g->engine, 0, 0);
    cr_assert_eq(sluice_session_prefill(straight, sluice_session_tokens(s), n), SLUICE_OK);
    const float *expected = sluice_session_logits(straight);
    cr_assert_not_null(found, "%s: %s", g->path, what);
    double largest = 0;
    for (size_t i = 0; i < vocab_size; i++)
        if (fabs((double)expected[i]) > largest) largest = fabs((double)expected[i]);
    double worst = max_difference(found, expected, vocab_size);
    cr_expect(worst <= 1e-5 * largest, "%s: %s: off by %g of %g", g->path, what, worst, largest);
    if (strstr(g->path, "lfm2")) cr_expect_arr_eq(found, expected, vocab_size * sizeof *found, "%s: %s", g->path, what);
    sluice_session_free(&straight);
}

static uint64_t computed_tokens(const sluice_session *s)
{
    sluice_session_stats st;
    sluice_session_get_stats(s, &st);
    return st.prefill_tokens + st.decode_tokens;
}

/* Tokens that are not those of the text. */
static void make_other(const struct golden *g, int32_t *other, size_t n)
{
    for (size_t i = 0; i < n; i++) other[i] = (g->tokens[(i * 5 + 3) % g->n_tokens] + 1) % g->info.vocab_size;
}

static void append_and_check(const struct golden *g, sluice_session *s, const int32_t *tokens, size_t n,
                             const char *what)
{
    cr_assert_eq(sluice_session_prefill(s, tokens, n), SLUICE_OK, "%s", sluice_session_error(s));
    expect_straight(g, s, what);
}

Test(session_states, rewind_to_any_position_and_go_on)
{
    static const size_t keep[] = {0, 1, 6, 7, 8, 20, 21, 35, 39, 40};
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        int32_t other[9];
        golden_open(&g, cases[i], 2, 0);
        make_other(&g, other, 9);
        for (size_t k = 0; k < sizeof keep / sizeof *keep; k++) {
            sluice_session *s = new_session(g.engine, 0, 7);
            cr_assert_eq(sluice_session_prefill(s, g.tokens, 40), SLUICE_OK);
            cr_assert_eq(sluice_session_rewind(s, keep[k]), SLUICE_OK);
            cr_expect_null(sluice_session_logits(s));
            cr_expect_eq(sluice_session_length(s), keep[k]);
            append_and_check(&g, s, other, 9, "a prompt after a rewind");
            cr_assert_eq(sluice_session_rewind(s, keep[k] + 5), SLUICE_OK);
            cr_assert_eq(sluice_session_rewind(s, keep[k] + 2), SLUICE_OK, "again, with nothing in between");
            append_and_check(&g, s, g.tokens, 1, "a token after two rewinds");
            append_and_check(&g, s, g.tokens + 5, 1, "one more token");
            sluice_session_free(&s);
        }
        golden_close(&g);
    }
}

/* What a chat does for another answer: back to the end of the prompt, whose logits must not cost anything. */
Test(session_states, another_answer_to_the_same_prompt_is_free)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        size_t reused = 0;
        golden_open(&g, cases[i], 2, 0);
        const size_t bytes = (size_t)g.info.vocab_size * sizeof(float);
        sluice_session *s = new_session(g.engine, 0, 10), *copy = new_session(g.engine, 0, 10);
        float *prompt = malloc(bytes), *answer = malloc(bytes);
        cr_assert(prompt && answer);
        cr_assert_eq(sluice_session_prefill(s, g.tokens, 25), SLUICE_OK);
        memcpy(prompt, sluice_session_logits(s), bytes);
        cr_assert_eq(sluice_session_decode(s, 3), SLUICE_OK);
        memcpy(answer, sluice_session_logits(s), bytes);
        for (int again = 0; again < 3; again++) {
            sluice_session *now = again < 2 ? s : copy;
            sluice_session_reset_stats(now);
            cr_assert_eq(sluice_session_decode(s, 7), SLUICE_OK);
            if (now == copy) cr_assert_eq(sluice_session_copy(copy, s), SLUICE_OK);
            cr_assert_eq(sluice_session_sync(now, g.tokens, 25, &reused), SLUICE_OK);
            cr_expect_eq(reused, 25, "%s: found %zu", g.path, reused);
            cr_expect_eq(computed_tokens(now), now == copy ? 0 : 1);
            cr_expect_eq(sluice_session_length(now), 25);
            cr_expect_arr_eq(sluice_session_logits(now), prompt, bytes, "%s", g.path);
            cr_assert_eq(sluice_session_decode(now, 3), SLUICE_OK);
            cr_expect_arr_eq(sluice_session_logits(now), answer, bytes, "%s: the states are those of the prompt",
                             g.path);
        }
        /* a checkpoint in the middle of a prompt has no logits */
        cr_assert_eq(sluice_session_sync(s, g.tokens, 20, &reused), SLUICE_OK);
        cr_expect_eq(reused, 10, "%s: found %zu", g.path, reused);
        expect_straight(&g, s, "the beginning of the prompt");
        free(prompt);
        free(answer);
        sluice_session_free(&s);
        sluice_session_free(&copy);
        golden_close(&g);
    }
}

Test(session_states, only_what_lies_after_a_checkpoint_is_computed_again)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        size_t reused;
        golden_open(&g, cases[i], 2, 0);
        sluice_session *s = new_session(g.engine, 0, 10);
        cr_assert_eq(sluice_session_prefill(s, g.tokens, 25), SLUICE_OK); /* checkpoints at 10, 20, 25 */
        sluice_session_reset_stats(s);
        cr_assert_eq(sluice_session_rewind(s, 25), SLUICE_OK);
        append_and_check(&g, s, g.tokens, 1, "a rewind to the end");
        cr_expect_eq(computed_tokens(s), 1);
        cr_assert_eq(sluice_session_rewind(s, 25), SLUICE_OK);
        append_and_check(&g, s, g.tokens + 3, 1, "a rewind to a checkpoint");
        cr_expect_eq(computed_tokens(s), 2);
        cr_assert_eq(sluice_session_rewind(s, 23), SLUICE_OK);
        append_and_check(&g, s, g.tokens, 1, "a rewind behind a checkpoint");
        cr_expect_eq(computed_tokens(s), 2 + 3 + 1, "20, 21, 22 and the new one");
        int32_t changed[30];
        memcpy(changed, g.tokens, sizeof changed);
        changed[13] = (changed[13] + 1) % g.info.vocab_size;
        cr_assert_eq(sluice_session_sync(s, changed, 30, &reused), SLUICE_OK);
        cr_expect_eq(reused, 10, "found %zu", reused);
        cr_expect_eq(computed_tokens(s), 6 + 3 + 17);
        expect_straight(&g, s, "after a sync");
        int32_t endless[300] = {0};
        memcpy(endless, g.tokens, 20 * sizeof *endless);
        cr_expect_eq(sluice_session_sync(s, endless, 300, &reused), SLUICE_CONTEXT);
        append_and_check(&g, s, g.tokens, 1, "after a sync that was refused");
        cr_expect_eq(computed_tokens(s), 26 + 1, "nothing was lost");
        sluice_session_free(&s);
        golden_close(&g);
    }
}

Test(session_states, decoding_leaves_checkpoints)
{
    struct golden g;
    golden_open(&g, cases[LONG], 2, 0);
    cr_assert_geq(g.n_tokens, 140);
    sluice_session *s = new_session(g.engine, 0, 0);
    cr_assert_eq(sluice_session_prefill(s, g.tokens, 5), SLUICE_OK);
    for (int t = 5; t < 140; t++) cr_assert_eq(sluice_session_decode(s, g.tokens[t]), SLUICE_OK);
    expect_straight(&g, s, "decoded");
    cr_assert_eq(sluice_session_rewind(s, 135), SLUICE_OK);
    sluice_session_reset_stats(s);
    append_and_check(&g, s, g.tokens, 1, "rewound");
    cr_expect_eq(computed_tokens(s), 7 + 1, "128 to 134, and the new one");
    cr_assert_eq(sluice_session_rewind(s, 127), SLUICE_OK);
    append_and_check(&g, s, g.tokens, 1, "rewound before the last checkpoint");
    cr_expect_eq(computed_tokens(s), 8 + 122 + 1);
    sluice_session_free(&s);
    golden_close(&g);
}

Test(session_states, the_same_cut_gives_the_same_bits)
{
    for (int i = 0; i < N_CASES; i++) {
        float *first = NULL;
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            struct golden g;
            golden_open(&g, cases[i], n_threads, 0);
            const size_t bytes = (size_t)g.info.vocab_size * sizeof *first;
            if (!first) first = malloc(bytes);
            sluice_session *s = new_session(g.engine, 0, 10);
            cr_assert_eq(sluice_session_prefill(s, g.tokens, 25), SLUICE_OK);
            cr_assert_eq(sluice_session_decode(s, g.tokens[25]), SLUICE_OK);
            if (n_threads == 1) memcpy(first, sluice_session_logits(s), bytes);
            cr_expect_arr_eq(sluice_session_logits(s), first, bytes, "%s, %d threads", cases[i], n_threads);
            cr_assert_eq(sluice_session_prefill(s, g.tokens, 9), SLUICE_OK);
            cr_assert_eq(sluice_session_rewind(s, 25), SLUICE_OK);
            cr_assert_eq(sluice_session_decode(s, g.tokens[25]), SLUICE_OK);
            cr_expect_arr_eq(sluice_session_logits(s), first, bytes, "%s, after a rewind", cases[i]);
            sluice_session_free(&s);
            golden_close(&g);
        }
        free(first);
    }
}

/* ---- passes that do not end -------------------------------------------------------------------------------------- */

struct onlooker {
    sluice_session *cancel; /* when position `at` is seen */
    size_t at, first, n_calls;
};

/* Cancelling is allowed from anywhere, at any time. */
static void look(void *context, sluice_observation what, int layer, size_t first, size_t n_rows, size_t width,
                 const void *data)
{
    struct onlooker *o = context;
    (void)what, (void)layer, (void)n_rows, (void)width, (void)data;
    if (o->n_calls++ == 0) o->first = first;
    if (o->cancel && first == o->at) sluice_session_cancel(o->cancel);
}

static void watch(sluice_session *s, struct onlooker *o)
{
    const sluice_observer observer = {1u << SLUICE_SEE_HIDDEN, look, o};
    cr_assert_eq(sluice_session_observe(s, &observer), SLUICE_OK);
}

Test(session_states, a_cancelled_pass_leaves_no_trace)
{
    for (int i = 0; i < N_CASES; i++)
        for (size_t at = 10; at <= 18; at += 4) { /* in the first, second or third pass */
            struct golden g;
            int32_t other[9];
            golden_open(&g, cases[i], 2, 0);
            make_other(&g, other, 9);
            sluice_session *s = new_session(g.engine, 0, 4);
            struct onlooker o = {.cancel = s, .at = at};
            cr_assert_eq(sluice_session_prefill(s, g.tokens, 10), SLUICE_OK);
            watch(s, &o);
            cr_expect_eq(sluice_session_prefill(s, g.tokens + 10, 12), SLUICE_CANCELLED);
            cr_assert_eq(sluice_session_observe(s, NULL), SLUICE_OK);
            cr_expect_eq(sluice_session_length(s), 10);
            append_and_check(&g, s, other, 9, "other tokens after a cancelled pass");
            sluice_session_free(&s);
            golden_close(&g);
        }
}

Test(session_states, cancelling_while_tokens_are_computed_again)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        golden_open(&g, cases[i], 2, 0);
        sluice_session *s = new_session(g.engine, 0, 8), *other = new_session(g.engine, 0, 8), *both[2] = {other, s};
        cr_assert_eq(sluice_session_prefill(s, g.tokens, 30), SLUICE_OK);
        cr_assert_eq(sluice_session_prefill(other, g.tokens, 3), SLUICE_OK);
        for (int many = 0; many < 2; many++) {
            const size_t keep = many ? 6 : 7; /* before all checkpoints: everything again */
            cr_assert_eq(sluice_session_rewind(s, keep), SLUICE_OK);
            sluice_session_cancel(s);
            cr_expect_eq(many ? sluice_decode_many(both, g.tokens, 2) : sluice_session_decode(s, g.tokens[9]),
                         SLUICE_CANCELLED);
            cr_expect_eq(sluice_session_length(s), keep);
            cr_expect_eq(sluice_session_length(other), 3);
            if (many) cr_expect_str_eq(sluice_session_error(other), "cancelled");
            append_and_check(&g, s, g.tokens + 9, 5, "after a cancelled replay");
            sluice_session_reset_stats(s);
            append_and_check(&g, s, g.tokens, 1, "the states are where they should be");
            cr_expect_eq(computed_tokens(s), 1);
        }
        append_and_check(&g, other, g.tokens + 3, 2, "the bystander");
        sluice_session_free(&s);
        sluice_session_free(&other);
        golden_close(&g);
    }
}

Test(session_states, onlookers_do_not_see_what_is_computed_again)
{
    struct golden g;
    golden_open(&g, cases[0], 2, 0);
    sluice_session *s = new_session(g.engine, 0, 8);
    struct onlooker o = {0};
    cr_assert_eq(sluice_session_prefill(s, g.tokens, 20), SLUICE_OK);
    cr_assert_eq(sluice_session_rewind(s, 13), SLUICE_OK);
    watch(s, &o);
    cr_assert_eq(sluice_session_decode(s, g.tokens[13]), SLUICE_OK);
    cr_expect_eq(o.first, 13);
    cr_expect_eq(o.n_calls, (size_t)g.info.n_layers);
    sluice_session_free(&s);
    golden_close(&g);
}

/* ---- several sessions -------------------------------------------------------------------------------------------- */

Test(session_states, a_pass_for_many_sessions_brings_each_where_it_belongs)
{
    enum { N = 4 };
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        sluice_session *many[N];
        int32_t next[N];
        golden_open(&g, cases[i], 2, 0);
        for (int j = 0; j < N; j++) {
            many[j] = new_session(g.engine, 64 - j, 6 + j);
            cr_assert_eq(sluice_session_prefill(many[j], g.tokens + j, (size_t)(15 + 6 * j)), SLUICE_OK);
            if (j) cr_assert_eq(sluice_session_rewind(many[j], (size_t)(5 * j)), SLUICE_OK);
        }
        for (int step = 0; step < 3; step++) {
            for (int j = 0; j < N; j++) next[j] = g.tokens[(7 * j + step) % 40];
            cr_assert_eq(sluice_decode_many(many, next, N), SLUICE_OK);
            for (int j = 0; j < N; j++) expect_straight(&g, many[j], "one of many");
        }
        sluice_session_cancel(many[1]);
        cr_expect_eq(sluice_decode_many(many, next, N), SLUICE_CANCELLED);
        cr_assert_eq(sluice_decode_many(many, next, N), SLUICE_OK);
        for (int j = 0; j < N; j++) {
            expect_straight(&g, many[j], "one of many, after cancelling");
            sluice_session_free(&many[j]);
        }
        golden_close(&g);
    }
}

Test(session_states, a_copy_goes_its_own_way)
{
    for (int i = 0; i < N_CASES; i++) {
        struct golden g;
        int32_t other[9];
        golden_open(&g, cases[i], 2, 0);
        make_other(&g, other, 9);
        const size_t bytes = (size_t)g.info.vocab_size * sizeof(float);
        sluice_session *s = new_session(g.engine, 50, 6), *copy = new_session(g.engine, 80, 11);
        cr_assert_eq(sluice_session_prefill(copy, other, 9), SLUICE_OK); /* is forgotten */
        cr_assert_eq(sluice_session_prefill(s, g.tokens, 20), SLUICE_OK);
        cr_assert_eq(sluice_session_copy(copy, s), SLUICE_OK);
        cr_expect_eq(sluice_session_length(copy), 20);
        cr_expect_arr_eq(sluice_session_tokens(copy), g.tokens, 20 * sizeof *g.tokens);
        cr_expect_arr_eq(sluice_session_logits(copy), sluice_session_logits(s), bytes);
        sluice_session_reset_stats(copy);
        append_and_check(&g, copy, other, 9, "the copy");
        cr_expect_eq(computed_tokens(copy), 9);
        append_and_check(&g, s, g.tokens + 20, 10, "the original");
        cr_assert_eq(sluice_session_rewind(copy, 13), SLUICE_OK);
        append_and_check(&g, copy, other, 3, "the copy, rewound");
        cr_expect_eq(computed_tokens(copy), 9 + 1 + 3, "the checkpoint at 12 came along");

        cr_assert_eq(sluice_session_rewind(s, 17), SLUICE_OK); /* the states stand elsewhere */
        cr_assert_eq(sluice_session_copy(copy, s), SLUICE_OK);
        cr_expect_null(sluice_session_logits(copy));
        append_and_check(&g, copy, other, 2, "a copy of a rewound session");
        append_and_check(&g, s, other, 2, "the rewound session");
        sluice_session_free(&s);
        sluice_session_free(&copy);
        golden_close(&g);
    }
}

Test(session_states, copies_that_cannot_be)
{
    struct golden g, foreign;
    golden_open(&g, cases[0], 1, 0);
    golden_open(&foreign, cases[0], 1, 0);
    sluice_session *s = new_session(g.engine, 20, 8), *small = new_session(g.engine, 10, 8);
    sluice_session *stranger = new_session(foreign.engine, 20, 8);
    cr_assert_eq(sluice_session_prefill(s, g.tokens, 11), SLUICE_OK);
    cr_assert_eq(sluice_session_prefill(small, g.tokens, 5), SLUICE_OK);
    cr_expect_eq(sluice_session_copy(small, s), SLUICE_CONTEXT);
    cr_expect_str_eq(sluice_session_error(small), "a timeline of 11 tokens does not fit: the context is 10");
    cr_expect_eq(sluice_session_copy(stranger, s), SLUICE_ARGUMENT);
    cr_expect_eq(sluice_session_copy(s, s), SLUICE_OK);
    append_and_check(&g, small, g.tokens + 5, 2, "after a refusal");
    append_and_check(&g, s, g.tokens + 11, 2, "a copy of itself");
    sluice_session_free(&s);
    sluice_session_free(&small);
    sluice_session_free(&stranger);
    golden_close(&g);
    golden_close(&foreign);
}
