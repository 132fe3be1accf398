/* Tests of tools/surgery.c and tools/kl.c: what is typed, and what a knob costs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/divergence.h"
#include "tools/kl.h"
#include "tools/surgery.h"

static sluice_error error;

static void expect_places(const char *list, size_t n, const sluice_expert_place *expected)
{
    const struct surgery_flags flags = {.ablate = "9:9", .zero = list, .force = "7:*"};
    struct surgery s;
    cr_assert_eq(surgery_parse(&s, &flags, &error), SLUICE_OK, "%s: %s", list, error.text);
    cr_assert_eq(s.request.n_zero, n, "%s", list);
    for (size_t i = 0; i < n; i++)
        cr_expect(s.request.zero[i].layer == expected[i].layer && s.request.zero[i].expert == expected[i].expert,
                  "%s: place %zu is %d:%d", list, i, s.request.zero[i].layer, s.request.zero[i].expert);
    cr_expect(s.request.n_ablate == 1 && s.request.ablate[0].layer == 9 && s.request.ablate[0].expert == 9);
    cr_expect(s.request.n_force == 1 && s.request.force[0].layer == 7 && s.request.force[0].expert == SLUICE_EVERY);
    surgery_free(&s);
    cr_expect_null(s.places);
}

Test(surgery, lists_of_places)
{
    expect_places("3:5", 1, (sluice_expert_place[]){{3, 5}});
    expect_places("0:0,12:127", 2, (sluice_expert_place[]){{0, 0}, {12, 127}});
    expect_places("*:5,3:*,*:*", 3, (sluice_expert_place[]){{-1, 5}, {3, -1}, {-1, -1}});
    expect_places("1:99999999999999999999", 1, (sluice_expert_place[]){{1, 1 << 20}}); /* no model has it */
}

Test(surgery, what_is_no_list_is_refused)
{
    static const char *const lists[] = {"",      "3",     ":",    "3:",   ":3",    "3:5,",  ",3:5", "3:5,,4:5",
                                        "3:5:7", "3;5",   "-1:3", "3:-1", "3 :5",  "**:1",  "*5:1", "a:b",
                                        "3:5 ",  "3:0x5", "3:5.", "3-4:", "3-4:5", "\xff:1"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const struct surgery_flags flags = {.force = lists[i]};
        struct surgery s;
        cr_expect_eq(surgery_parse(&s, &flags, &error), SLUICE_ARGUMENT, "%s", lists[i]);
        cr_expect_null(s.places);
        cr_expect_eq(strncmp(error.text, "--force: found \"", 16), 0, "%s", error.text);
        cr_expect_not_null(strstr(error.text, ", expected LAYER:EXPERT, numbers or *"), "%s", error.text);
    }
}

Test(surgery, flags_are_described_as_they_are_typed)
{
    char text[192], list[401];
    struct surgery_flags flags = {.active_experts = {true, 4}, .zero = "1:3,*:2", .dense_twin = true};
    cr_expect_str_eq(surgery_describe(&flags, text, sizeof text), "--active-experts 4 --dense-twin --zero 1:3,*:2");
    cr_expect_str_eq(surgery_describe(&(struct surgery_flags){.force = "0:1"}, text, sizeof text), "--force 0:1");
    cr_expect_str_eq(surgery_describe(&(struct surgery_flags){0}, text, sizeof text), "");
    memset(list, '1', 400);
    list[400] = 0;
    flags.ablate = flags.zero = flags.force = list;
    cr_expect_geq(strlen(surgery_describe(&flags, text, sizeof text)), 150);
    cr_expect_lt(strlen(text), sizeof text);
    cr_expect(surgery_is_asked(&flags));
    cr_expect_not(surgery_is_asked(&(struct surgery_flags){0}));
    cr_expect_eq(surgery_top_k(&flags, 2), 4);
    cr_expect_eq(surgery_top_k(&(struct surgery_flags){0}, 2), 2);
}

/* ---- the price --------------------------------------------------------------------------------------------------- */

enum { TOKENS = 30 };

static sluice_engine *open_demo(int32_t tokens[TOKENS])
{
    sluice_engine *e;
    const sluice_engine_options o = {.n_threads = 2, .flags = SLUICE_OPEN_EXACT};
    for (int i = 0; i < TOKENS; i++) tokens[i] = 10 + 37 * i;
    cr_assert_eq(sluice_engine_open(&e, SLUICE_DEMO_DIR, &o, &error), SLUICE_OK, "%s", error.text);
    return e;
}

/* The same sums over tokens that are decoded one by one. */
Test(kl, is_the_mean_over_all_tokens)
{
    int32_t tokens[TOKENS];
    sluice_engine *e = open_demo(tokens);
    sluice_model_info info;
    sluice_engine_get_info(e, &info);
    const size_t vocab_size = (size_t)info.vocab_size;
    const struct load_options one = {.surgery.active_experts = {true, 1}};
    const sluice_expert_surgery surgery = {.active_experts = 1};
    sluice_session *s[2];
    const sluice_session_options native = {.n_context = TOKENS}, variant = {.n_context = TOKENS, .surgery = &surgery};
    cr_assert_eq(sluice_session_create(&s[0], e, &native, &error), SLUICE_OK);
    cr_assert_eq(sluice_session_create(&s[1], e, &variant, &error), SLUICE_OK);
    double kl = 0, loss[2] = {0};
    for (int t = 0; t < TOKENS; t++) {
        const float *logits[2];
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(sluice_session_decode(s[i], tokens[t]), SLUICE_OK);
            logits[i] = sluice_session_logits(s[i]);
            if (t + 1 < TOKENS) loss[i] += log_sum_exp(logits[i], vocab_size) - (double)logits[i][tokens[t + 1]];
        }
        kl += divergence(logits[0], logits[1], vocab_size);
    }
    struct kl_figures f;
    cr_assert_eq(kl_of_surgery(&f, e, &one, tokens, TOKENS, &error), SLUICE_OK, "%s", error.text);
    cr_expect_eq(f.n_tokens, TOKENS);
    cr_expect_float_eq(f.kl, kl / TOKENS, 1e-12);
    for (int i = 0; i < 2; i++) cr_expect_float_eq(f.loss[i], loss[i] / (TOKENS - 1), 1e-12);
    cr_expect_gt(f.kl, 0.001);
    for (size_t block = 1; block <= TOKENS; block += 7) { /* any cut into blocks gives the same */
        struct kl_figures again;
        cr_assert_eq(kl_between(&again, s[0], s[1], vocab_size, tokens, TOKENS, block, &error), SLUICE_OK);
        cr_expect_float_eq(again.kl, f.kl, 1e-12);
        cr_expect_float_eq(again.loss[1], f.loss[1], 1e-12);
    }
    sluice_session_free(&s[0]);
    sluice_session_free(&s[1]);
    sluice_engine_close(&e);
}

Test(kl, nothing_changed_costs_nothing)
{
    int32_t tokens[TOKENS];
    sluice_engine *e = open_demo(tokens);
    const struct load_options same[] = {{.surgery.active_experts = {true, 2}}, {.surgery.dense_twin = true}};
    for (int i = 0; i < 2; i++) {
        struct kl_figures f;
        cr_assert_eq(kl_of_surgery(&f, e, &same[i], tokens, TOKENS, &error), SLUICE_OK, "%s", error.text);
        cr_expect_eq(f.kl, 0);
        cr_expect_eq(f.loss[0], f.loss[1]);
        cr_assert_eq(kl_of_own_text(&f, e, &same[i], 20, &error), SLUICE_OK, "%s", error.text);
        cr_expect(f.kl == 0 && f.n_tokens == 20);
    }
    struct kl_figures f;
    const struct load_options one = {.surgery.active_experts = {true, 1}}, bad = {.surgery.zero = "99:1"};
    cr_assert_eq(kl_of_own_text(&f, e, &one, 20, &error), SLUICE_OK, "%s", error.text);
    cr_expect_gt(f.kl, 0.001);
    cr_expect_eq(kl_of_surgery(&f, e, &bad, tokens, TOKENS, &error), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "zero: layer 99 does not exist, expected 0..4");
    cr_expect_eq(f.n_tokens, 0);
    cr_assert_eq(kl_of_surgery(&f, e, &one, tokens, 1, &error), SLUICE_OK, "one token has a KL, and no loss");
    cr_expect(f.n_tokens == 1 && f.kl > 0 && f.loss[0] == 0);
    sluice_engine_close(&e);
}
