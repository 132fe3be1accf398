/* The forward pass against Hugging Face transformers, on every tiny checkpoint of tests/golden/models. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"

static void expect_close(const char *name, const char *what, const struct golden *g, const float *found, double limit)
{
    struct array expected = golden_floats(g, what);
    cr_assert_gt(expected.n, 0, "%s: %s is not in the file", name, what);
    double error = nmse(found, expected.f, expected.n);
    cr_expect(error <= limit, "%s: %s: NMSE %.3g exceeds %.3g", name, what, error, limit);
    array_free(&expected);
}

static void expect_same_experts(const char *name, const struct golden *g, const struct seen *s)
{
    struct array expected = golden_ints(g, "experts");
    cr_assert_eq(expected.n, s->n_moe_layers * s->n_tokens * s->top_k, "%s: shape of experts", name);
    for (size_t i = 0; i < expected.n; i++)
        cr_expect_eq(s->experts[i], expected.i[i], "%s: expert %zu: found %d, expected %d", name, i, s->experts[i],
                     expected.i[i]);
    array_free(&expected);
}

static void compare(const char *name)
{
    struct golden g;
    struct seen s;
    golden_open(&g, name, 2, 0);
    golden_run(&g, 0, &s);
    const double limit = strcmp(g.info.weight_dtype, "F32") == 0 ? 1e-10 : 1e-8;
    struct array logits = golden_floats(&g, "logits");
    cr_assert_eq(logits.n, s.n_tokens * s.vocab_size, "%s: shape of logits", name);
    cr_expect(max_difference(s.logits, logits.f, logits.n) <= 1e-4, "%s: logits differ by more than 1e-4", name);
    array_free(&logits);
    expect_close(name, "logits", &g, s.logits, limit);
    expect_close(name, "hidden", &g, s.hidden, limit);
    expect_close(name, "attention", &g, s.attention, limit);
    expect_close(name, "ffn", &g, s.ffn, limit);
    if (s.n_moe_layers) {
        expect_close(name, "router_scores", &g, s.router_scores, limit);
        expect_close(name, "expert_weights", &g, s.expert_weights, limit);
        expect_same_experts(name, &g, &s);
    }
    seen_free(&s);
    golden_close(&g);
}

Test(golden, every_checkpoint_agrees_with_transformers)
{
    static char names[MAX_CASES][64];
    int n = golden_names(names);
    for (int i = 0; i < n; i++) compare(names[i]);
}

/* Logits of a whole prefill with one setting. */
static struct seen run_with(const char *name, const char *cpu, int n_threads, int chunk)
{
    struct golden g;
    struct seen s;
    if (cpu)
        setenv("SLUICE_CPU", cpu, 1);
    else
        unsetenv("SLUICE_CPU");
    golden_open(&g, name, n_threads, 0);
    golden_run(&g, chunk, &s);
    golden_close(&g);
    return s;
}

static void expect_equal_bits(const char *name, const char *what, const struct seen *a, struct seen b)
{
    size_t wide = a->n_layers * a->n_tokens * a->hidden_size;
    cr_expect(memcmp(a->logits, b.logits, a->n_tokens * a->vocab_size * 4) == 0, "%s: %s changes logits", name, what);
    cr_expect(memcmp(a->hidden, b.hidden, wide * 4) == 0, "%s: %s changes the residual stream", name, what);
    seen_free(&b);
}

Test(golden, threads_and_chunks_and_instruction_sets_do_not_change_a_bit)
{
    static char names[MAX_CASES][64];
    int n = golden_names(names);
    for (int i = 0; i < n; i++) {
        struct seen whole = run_with(names[i], "scalar", 1, 0);
        expect_equal_bits(names[i], "chunk 1", &whole, run_with(names[i], "scalar", 1, 1));
        expect_equal_bits(names[i], "chunk 7", &whole, run_with(names[i], "scalar", 1, 7));
        expect_equal_bits(names[i], "2 threads", &whole, run_with(names[i], "scalar", 2, 0));
        expect_equal_bits(names[i], "3 threads, chunk 7", &whole, run_with(names[i], NULL, 3, 7));
        expect_equal_bits(names[i], "8 threads", &whole, run_with(names[i], NULL, 8, 0));
        expect_equal_bits(names[i], "avx2, chunk 1", &whole, run_with(names[i], "avx2", 2, 1));
        expect_equal_bits(names[i], "the best instruction set", &whole, run_with(names[i], NULL, 1, 0));
        seen_free(&whole);
    }
}

Test(golden, blas_agrees_within_the_bound_on_f32_weights)
{
    static char names[MAX_CASES][64];
    int n = golden_names(names), n_f32 = 0;
    for (int i = 0; i < n; i++) {
        struct golden g;
        struct seen s;
        golden_open(&g, names[i], 2, SLUICE_OPEN_BLAS);
        if (strcmp(g.info.weight_dtype, "F32") == 0) {
            golden_run(&g, 0, &s);
            expect_close(names[i], "logits", &g, s.logits, 1e-10);
            seen_free(&s);
            n_f32++;
        }
        golden_close(&g);
    }
    cr_expect_geq(n_f32, 4);
}
