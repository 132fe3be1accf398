/* Tests of tools/trace_stats.c with traces whose answers are known, or found in the plainest way. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/rng.h"
#include "tools/trace_stats.h"

enum { MAX_TOKENS = 4096 };

/* A trace of one or two layers whose tokens, texts and choices are given as [n_tokens] and [n_tokens, L, k]. */
static struct trace make_trace(size_t n_tokens, uint32_t n_layers, uint32_t n_experts, uint32_t top_k,
                               const int32_t *tokens, const uint16_t *experts)
{
    static const uint32_t layers[] = {0, 1};
    static const uint16_t lengths[MAX_TOKENS];
    static const size_t text_at[MAX_TOKENS];
    return (struct trace){.n_layers = 2,
                          .n_moe_layers = n_layers,
                          .n_experts = n_experts,
                          .top_k = top_k,
                          .vocab_size = 100,
                          .n_tokens = n_tokens,
                          .layers = layers,
                          .tokens = tokens,
                          .lengths = lengths,
                          .text = "",
                          .text_at = text_at,
                          .experts = experts};
}

Test(trace_stats, load_and_entropy)
{
    const uint16_t experts[] = {0, 1, 2, 3, 0, 1, 1, 3};
    const struct trace t = make_trace(2, 2, 4, 2, NULL, experts);
    uint64_t counts[8] = {0};
    stats_add_load(&t, counts);
    cr_expect_arr_eq(counts, ((uint64_t[]){2, 2, 0, 0, 0, 1, 1, 2}), sizeof counts);
    cr_expect_float_eq(stats_entropy(counts, 4), 1, 1e-12);
    cr_expect_float_eq(stats_entropy(counts + 4, 4), 1.5, 1e-12);
    cr_expect_eq(stats_entropy((uint64_t[]){0, 7, 0}, 3), 0);
    cr_expect_eq(stats_entropy((uint64_t[]){0, 0}, 2), 0);
    cr_expect_float_eq(stats_entropy((uint64_t[]){3, 3, 3, 3, 3, 3, 3, 3}, 8), 3, 1e-12);
}

Test(trace_stats, pairs_that_are_chosen_together)
{
    /* 0 and 1 always come together, 2 and 3 as well; 4 comes with anything. */
    const uint16_t experts[] = {0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 0, 4, 2, 4, 1, 4};
    const struct trace t = make_trace(8, 1, 5, 2, NULL, experts);
    uint32_t pairs[25] = {0};
    struct stats_pair best[3];
    stats_add_pairs(&t, 0, pairs);
    cr_expect(pairs[0 * 5 + 1] == 3 && pairs[1 * 5 + 0] == 3 && pairs[0] == 4 && pairs[4 * 5 + 2] == 1);
    cr_assert_eq(stats_top_pairs(pairs, 5, 8, best, 3), 2u, "the others come together less than by chance");
    cr_expect(best[0].a == 2 && best[0].b == 3 && best[0].together == 2);
    cr_expect_float_eq(best[0].times_chance, 2 / (3 * 2 / 8.0), 1e-12);
    cr_expect(best[1].a == 0 && best[1].b == 1 && best[1].together == 3);
    cr_expect_float_eq(best[1].score, (3 - 2) / sqrt(2), 1e-12);
    cr_assert_eq(stats_top_pairs(pairs, 5, 8, best, 1), 1u);
    cr_expect_eq(best[0].a, 2u);
}

Test(trace_stats, what_experts_tell_about_the_text)
{
    const uint64_t apart[] = {5, 5, 0, 0, 0, 0, 1, 1}, alike[] = {1, 2, 3, 100, 200, 300}, none[] = {4, 4, 0, 0},
                   half[] = {2, 0, 0, 1, 1, 0};
    cr_expect_float_eq(stats_text_information(apart, 2, 4), 1, 1e-12);
    cr_expect_float_eq(stats_text_information(alike, 2, 3), 0, 1e-12);
    cr_expect_float_eq(stats_text_information(none, 2, 2), 0, 1e-12);
    /* Shares 1, 0 and 1/2, 1/2: the mean is 3/4, 1/4. */
    cr_expect_float_eq(stats_text_information(half, 2, 3),
                       0.5 * log2(1 / 0.75) + 0.25 * log2(0.5 / 0.75) + 0.25 * log2(0.5 / 0.25), 1e-12);
}

Test(trace_stats, tokens_that_an_expert_sees_beyond_chance)
{
    /* Token 7 always meets expert 1, in both texts; token 9 any; token 5 comes too rarely. */
    const int32_t a[] = {7, 9, 7, 9, 5, 9, 9}, b[] = {9, 7, 9, 7, 5};
    const uint16_t to_a[] = {1, 0, 1, 2, 2, 1, 0}, to_b[] = {0, 1, 2, 1, 2};
    const struct trace traces[] = {make_trace(7, 1, 3, 1, a, to_a), make_trace(5, 1, 3, 1, b, to_b)};
    uint64_t load[3] = {0};
    uint32_t scratch[3];
    struct stats_token best[3 * STATS_TOP_TOKENS];
    struct stats_vocabulary v;
    stats_add_load(&traces[0], load);
    stats_add_load(&traces[1], load);
    cr_assert(stats_sort_tokens(traces, 2, &v));
    cr_expect_eq(v.count, 12u);
    stats_top_tokens(traces, &v, 0, load, scratch, best);
    const struct stats_token *of_one = best + STATS_TOP_TOKENS;
    cr_expect(of_one[0].token == 7 && of_one[0].seen == 4 && of_one[0].routed == 4);
    double expected = 5 / 12.0 * 4;
    cr_expect_float_eq(of_one[0].score, (4 - expected) / sqrt(expected), 1e-12);
    cr_expect_eq(of_one[1].seen, 0u, "9 met expert 1 once");
    cr_expect(best[0].token == 9 && best[0].seen == 6 && best[0].routed == 3 && best[1].seen == 0);
    cr_expect_eq(best[2 * STATS_TOP_TOKENS].seen, 0u, "5 and 9 met expert 2 twice each, which is too rare");
    free(v.items);
}

Test(trace_stats, the_five_best_tokens_are_kept_in_order)
{
    /* Token i comes 3 + i times and always meets expert 0; token 50 is all the rest, and meets expert 1. */
    int32_t tokens[MAX_TOKENS];
    uint16_t experts[MAX_TOKENS];
    size_t n = 0;
    for (int32_t i = 0; i < 8; i++)
        for (int32_t j = 0; j < 3 + i; j++) tokens[n] = i, experts[n++] = 0;
    for (int j = 0; j < 100; j++) tokens[n] = 50, experts[n++] = 1;
    const struct trace t = make_trace(n, 1, 2, 1, tokens, experts);
    uint64_t load[2] = {0};
    uint32_t scratch[2];
    struct stats_token best[2 * STATS_TOP_TOKENS];
    struct stats_vocabulary v;
    stats_add_load(&t, load);
    cr_assert(stats_sort_tokens(&t, 1, &v));
    stats_top_tokens(&t, &v, 0, load, scratch, best);
    for (int i = 0; i < STATS_TOP_TOKENS; i++) cr_expect(best[i].token == 7 - i && best[i].seen == (uint32_t)(10 - i));
    cr_expect_eq(best[STATS_TOP_TOKENS].token, 50);
    free(v.items);
}

Test(trace_stats, saturation_counts_equal_choices)
{
    const int32_t tokens[] = {1, 2}, others[] = {1, 3};
    const uint16_t a[] = {0, 1, 2, 3, 0, 3, 1, 2}, b[] = {0, 1, 0, 1, 1, 3, 0, 2};
    const struct trace x = make_trace(2, 2, 4, 2, tokens, a), y = make_trace(2, 2, 4, 2, tokens, b),
                       z = make_trace(2, 2, 4, 2, others, b), shorter = make_trace(1, 2, 4, 2, tokens, a);
    cr_expect(stats_same_tokens(&x, &y) && !stats_same_tokens(&x, &z) && !stats_same_tokens(&x, &shorter));
    cr_expect_float_eq(stats_saturation(&x, &x, 0), 1, 1e-12);
    cr_expect_float_eq(stats_saturation(&x, &y, 0), 3 / 4.0, 1e-12);
    cr_expect_float_eq(stats_saturation(&x, &y, 1), 1 / 4.0, 1e-12);
}

/* k different experts of E, ascending, for each of n tokens. */
static void choose_at_random(struct rng *rng, size_t n, size_t n_experts, size_t top_k, uint16_t *out)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        for (size_t e = 0; e < n_experts; e++) /* selection sampling: every set is as likely */
            if (rng_next(rng) % (n_experts - e) < top_k - at) out[i * top_k + at++] = (uint16_t)e;
    }
}

static double count_working_set(const struct trace *t, size_t n)
{
    double sum = 0;
    for (size_t end = n; end <= t->n_tokens; end++) {
        bool seen[64] = {0};
        for (size_t i = (end - n) * t->top_k; i < end * t->top_k; i++) {
            sum += !seen[t->experts[i]];
            seen[t->experts[i]] = true;
        }
    }
    return sum / (double)(t->n_tokens - n + 1);
}

Test(trace_stats, the_working_set_is_the_mean_of_all_windows)
{
    struct rng rng = rng_seed(5);
    uint16_t experts[3 * 200];
    size_t scratch[64];
    for (int turn = 0; turn < 20; turn++) {
        size_t n = 1 + rng_next(&rng) % 200, n_experts = 3 + rng_next(&rng) % 20, top_k = 1 + rng_next(&rng) % 3;
        choose_at_random(&rng, n, n_experts, top_k, experts);
        const struct trace t = make_trace(n, 1, (uint32_t)n_experts, (uint32_t)top_k, NULL, experts);
        for (size_t w = 1; w <= n; w = w < 5 ? w + 1 : 2 * w)
            cr_expect_float_eq(stats_working_set(&t, 0, w, scratch), count_working_set(&t, w), 1e-9);
        cr_expect_eq(stats_working_set(&t, 0, n + 1, scratch), 0);
    }
}

Test(trace_stats, even_choices_follow_the_formula)
{
    static uint16_t experts[4 * MAX_TOKENS];
    size_t scratch[32];
    struct rng rng = rng_seed(6);
    choose_at_random(&rng, MAX_TOKENS, 32, 4, experts);
    const struct trace t = make_trace(MAX_TOKENS, 1, 32, 4, NULL, experts);
    for (size_t n = 1; n <= 64; n *= 2) {
        double formula = stats_uniform_working_set(32, 4, (double)n);
        cr_expect_float_eq(stats_working_set(&t, 0, n, scratch), formula, 0.02 * formula, "%zu", n);
    }
    cr_expect_float_eq(stats_uniform_working_set(8, 2, 1), 2, 1e-12);
    cr_expect_float_eq(stats_uniform_working_set(8, 2, 2), 3.5, 1e-12);
    cr_expect_float_eq(stats_uniform_working_set(8, 8, 1), 8, 1e-12);
}

/* ---- caches ------------------------------------------------------------------------------------------------------ */

static size_t hits_of(const uint32_t *keys, size_t n, size_t capacity, enum stats_policy policy)
{
    size_t hits = 99;
    cr_assert(stats_cache_hits(keys, n, 8, capacity, policy, &hits));
    return hits;
}

Test(trace_stats, caches_do_what_their_names_say)
{
    const uint32_t loop[] = {0, 1, 2, 0, 1, 2, 0, 1, 2}, favourite[] = {0, 0, 0, 1, 2, 0, 3, 4, 0};
    cr_expect_eq(hits_of(loop, 9, 2, STATS_LRU), 0u, "a loop that is one too long defeats LRU");
    cr_expect_eq(hits_of(loop, 9, 2, STATS_OPTIMAL), 3u);
    cr_expect_eq(hits_of(loop, 9, 3, STATS_LRU), 6u);
    cr_expect_eq(hits_of(favourite, 9, 2, STATS_LFU), 4u, "what is used often stays");
    cr_expect_eq(hits_of(favourite, 9, 2, STATS_LRU), 2u);
    for (int p = 0; p < STATS_N_POLICIES; p++) {
        cr_expect_eq(hits_of(loop, 9, 0, (enum stats_policy)p), 0u);
        cr_expect_eq(hits_of(loop, 9, 100, (enum stats_policy)p), 6u);
        cr_expect_eq(hits_of(NULL, 0, 2, (enum stats_policy)p), 0u);
    }
}

/* The most hits that any way of evicting has: all of them are tried. `cache` is a set of bits. */
static size_t try_all(const uint32_t *keys, size_t n, size_t capacity, unsigned cache)
{
    if (n == 0) return 0;
    const unsigned key = 1u << keys[0];
    if (cache & key) return 1 + try_all(keys + 1, n - 1, capacity, cache);
    if ((size_t)__builtin_popcount(cache) < capacity) return try_all(keys + 1, n - 1, capacity, cache | key);
    size_t best = 0;
    for (unsigned out = 1; out <= cache; out <<= 1) {
        if (!(cache & out)) continue;
        size_t hits = try_all(keys + 1, n - 1, capacity, (cache & ~out) | key);
        if (hits > best) best = hits;
    }
    return best;
}

/* LRU and LFU with lists that are searched. */
static size_t simulate_plainly(const uint32_t *keys, size_t n, size_t capacity, enum stats_policy policy)
{
    size_t hits = 0, uses[8] = {0}, last[8] = {0}, count = 0;
    bool in[8] = {0};
    for (size_t i = 0; i < n; i++) {
        const uint32_t key = keys[i];
        if (in[key]) {
            hits++;
        } else {
            if (count == capacity) {
                int out = -1;
                for (int k = 0; k < 8; k++) {
                    if (!in[k]) continue;
                    bool better = out < 0 || (policy == STATS_LFU && uses[k] != uses[out] ? uses[k] < uses[out]
                                                                                          : last[k] < last[out]);
                    if (better) out = k;
                }
                in[out] = false;
                count--;
            }
            in[key] = true;
            count++;
        }
        uses[key]++;
        last[key] = i;
    }
    return hits;
}

Test(trace_stats, no_way_of_evicting_beats_the_optimum_and_it_is_one)
{
    struct rng rng = rng_seed(7);
    for (int turn = 0; turn < 400; turn++) {
        uint32_t keys[14];
        size_t n = 1 + rng_next(&rng) % 14, n_keys = 2 + rng_next(&rng) % 5, capacity = 1 + rng_next(&rng) % 3;
        for (size_t i = 0; i < n; i++) keys[i] = (uint32_t)(rng_next(&rng) % n_keys);
        cr_expect_eq(hits_of(keys, n, capacity, STATS_OPTIMAL), try_all(keys, n, capacity, 0));
    }
}

Test(trace_stats, heaps_and_lists_agree)
{
    struct rng rng = rng_seed(8);
    for (int turn = 0; turn < 200; turn++) {
        uint32_t keys[200];
        size_t capacity = 1 + rng_next(&rng) % 7;
        for (size_t i = 0; i < 200; i++) keys[i] = (uint32_t)(rng_next(&rng) % 8 & rng_next(&rng) % 8); /* uneven */
        for (int p = STATS_LRU; p <= STATS_LFU; p++)
            cr_expect_eq(hits_of(keys, 200, capacity, (enum stats_policy)p),
                         simulate_plainly(keys, 200, capacity, (enum stats_policy)p));
    }
}

Test(trace_stats, accesses_go_token_by_token_and_layer_by_layer)
{
    const uint16_t experts[] = {0, 1, 2, 3, 0, 3, 1, 2};
    const struct trace t = make_trace(2, 2, 4, 2, NULL, experts);
    uint32_t keys[8] = {0};
    cr_expect_eq(stats_accesses(&t, keys, 8), 8u);
    cr_expect_arr_eq(keys, ((uint32_t[]){0, 1, 6, 7, 0, 3, 5, 6}), sizeof keys);
    cr_expect_eq(stats_accesses(&t, keys, 7), 4u, "no half tokens");
}

Test(trace_stats, a_token_takes_what_it_reads)
{
    struct trace t = make_trace(1, 2, 4, 2, NULL, NULL);
    t.expert_bytes = 1000000000;
    t.other_bytes = 2000000000;
    cr_expect_float_eq(stats_seconds_per_token(&t, 0, 10, 2), 0.6, 1e-12);
    cr_expect_float_eq(stats_seconds_per_token(&t, 1.5, 10, 2), 0.6 + 0.75, 1e-12);
}
