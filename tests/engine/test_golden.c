/* The forward pass against Hugging Face transformers, on every tiny checkpoint of tests/golden/models. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "golden.h"
#include "rng.h"

/* NMSE of logits that rounding activations may cost these models: random weights, where a route sometimes flips. */
static const double ROUNDED = 3e-2;

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

/* With float activations: what transformers computes, but for the order of sums. */
static void compare(const char *name)
{
    struct golden g;
    struct seen s;
    golden_open(&g, name, 2, SLUICE_OPEN_FLOAT);
    golden_run(&g, 0, &s);
    const double limit = 1e-10;
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

/* As the engine runs by default, 16-bit and 8-bit products round their inputs: the error that this may cost. */
static void compare_rounded(const char *name)
{
    struct golden g;
    struct seen s;
    golden_open(&g, name, 2, 0);
    golden_run(&g, 0, &s);
    expect_close(name, "logits", &g, s.logits, strcmp(g.info.weight_dtype, "F32") == 0 ? 1e-10 : ROUNDED);
    seen_free(&s);
    golden_close(&g);
}

Test(golden, rounded_activations_stay_near_transformers)
{
    static char names[MAX_CASES][64];
    int n = golden_names(names);
    for (int i = 0; i < n; i++) compare_rounded(names[i]);
}

/* Logits of a whole prefill with one setting. */
static struct seen run_with(const char *name, const char *cpu, int n_threads, int chunk, unsigned flags)
{
    struct golden g;
    struct seen s;
    if (cpu)
        setenv("SLUICE_CPU", cpu, 1);
    else
        unsetenv("SLUICE_CPU");
    golden_open(&g, name, n_threads, flags);
    golden_run(&g, chunk, &s);
    golden_close(&g);
    return s;
}

/* Another cut into passes gives the same bits, or where layers have two forms nearly the same numbers (limit > 0). */
static void expect_equal(const char *name, const char *what, const struct seen *a, struct seen b, double limit)
{
    size_t wide = a->n_layers * a->n_tokens * a->hidden_size, logits = a->n_tokens * a->vocab_size;
    if (limit > 0 && a->cut_rounds) {
        cr_expect(nmse(b.logits, a->logits, logits) <= limit, "%s: %s changes logits", name, what);
        cr_expect(nmse(b.hidden, a->hidden, wide) <= limit, "%s: %s changes the residual stream", name, what);
    } else {
        cr_expect(memcmp(a->logits, b.logits, logits * 4) == 0, "%s: %s changes logits", name, what);
        cr_expect(memcmp(a->hidden, b.hidden, wide * 4) == 0, "%s: %s changes the residual stream", name, what);
    }
    seen_free(&b);
}

Test(golden, threads_and_chunks_and_instruction_sets_do_not_change_a_bit)
{
    static char names[MAX_CASES][64];
    const unsigned f = SLUICE_OPEN_FLOAT;
    const double cut = 1e-10;
    int n = golden_names(names);
    for (int i = 0; i < n; i++) {
        struct seen whole = run_with(names[i], "scalar", 1, 0, f), ones = run_with(names[i], "scalar", 1, 1, f);
        expect_equal(names[i], "chunk 1", &whole, ones, cut);
        expect_equal(names[i], "chunk 7", &whole, run_with(names[i], "scalar", 1, 7, f), cut);
        expect_equal(names[i], "2 threads", &whole, run_with(names[i], "scalar", 2, 0, f), 0);
        expect_equal(names[i], "3 threads, chunk 7", &whole, run_with(names[i], NULL, 3, 7, f), cut);
        expect_equal(names[i], "8 threads", &whole, run_with(names[i], NULL, 8, 0, f), 0);
        expect_equal(names[i], "the best instruction set", &whole, run_with(names[i], NULL, 1, 0, f), 0);
        ones = run_with(names[i], "scalar", 1, 1, f);
        expect_equal(names[i], "avx2, 2 threads, chunk 1", &ones, run_with(names[i], "avx2", 2, 1, f), 0);
        seen_free(&ones);
        seen_free(&whole);
    }
}

/* With rounded activations too. Two forms of a layer then differ by what rounding makes of their last bits; exact
 * engines use one form. Instruction sets agree but for 16-bit products, which only some machines have. */
Test(golden, rounding_activations_keeps_the_bits_equal)
{
    static char names[MAX_CASES][64];
    int n = golden_names(names);
    for (int i = 0; i < n; i += 2) {
        struct seen whole = run_with(names[i], NULL, 1, 0, 0);
        expect_equal(names[i], "3 threads", &whole, run_with(names[i], NULL, 3, 0, 0), 0);
        expect_equal(names[i], "2 threads, chunk 1", &whole, run_with(names[i], NULL, 2, 1, 0), ROUNDED);
        seen_free(&whole);
        whole = run_with(names[i], "avx512vnni", 2, 0, 0);
        expect_equal(names[i], "avx2, chunk 7", &whole, run_with(names[i], "avx2", 2, 7, 0), ROUNDED);
        seen_free(&whole);
    }
}

Test(golden, exact_engines_give_the_same_bits_for_any_chunk)
{
    static char names[MAX_CASES][64];
    int n = golden_names(names);
    for (int i = 0; i < n; i += 2) {
        struct seen whole = run_with(names[i], NULL, 2, 0, SLUICE_OPEN_EXACT);
        whole.cut_rounds = false;
        expect_equal(names[i], "exact, chunk 1", &whole, run_with(names[i], NULL, 1, 1, SLUICE_OPEN_EXACT), 0);
        expect_equal(names[i], "exact, chunk 7", &whole, run_with(names[i], NULL, 3, 7, SLUICE_OPEN_EXACT), 0);
        seen_free(&whole);
    }
}

/* A dense f32 model whose matrices fill OpenBLAS's panels of 256 outputs. */
static void write_wide_model(struct test_folder *folder)
{
    enum { WIDE = 256, INNER = 512 };
    static const struct {
        const char *name;
        uint64_t n, k; /* k 0: a vector */
    } shapes[] = {
        {"model.embed_tokens.weight", WIDE, WIDE},
        {"model.norm.weight", WIDE, 0},
        {"model.layers.0.input_layernorm.weight", WIDE, 0},
        {"model.layers.0.post_attention_layernorm.weight", WIDE, 0},
        {"model.layers.0.self_attn.q_proj.weight", WIDE, WIDE},
        {"model.layers.0.self_attn.k_proj.weight", WIDE, WIDE},
        {"model.layers.0.self_attn.v_proj.weight", WIDE, WIDE},
        {"model.layers.0.self_attn.o_proj.weight", WIDE, WIDE},
        {"model.layers.0.mlp.gate_proj.weight", INNER, WIDE},
        {"model.layers.0.mlp.up_proj.weight", INNER, WIDE},
        {"model.layers.0.mlp.down_proj.weight", WIDE, INNER},
    };
    enum { N = sizeof shapes / sizeof shapes[0] };
    struct test_tensor tensors[N];
    struct rng rng = rng_seed(7);
    float *data[N];
    for (int i = 0; i < N; i++) {
        size_t n = shapes[i].n * (shapes[i].k ? shapes[i].k : 1);
        data[i] = malloc(n * sizeof(float));
        rng_fill(&rng, data[i], n, -0.15f, 0.15f);
        tensors[i] =
            (struct test_tensor){shapes[i].name, "F32", shapes[i].k ? 2 : 1, {shapes[i].n, shapes[i].k}, data[i]};
    }
    folder_create(folder);
    folder_write_tensors(folder, "model.safetensors", tensors, N);
    folder_write_text(folder, "config.json",
                      "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 256, \"num_hidden_layers\": 1,"
                      " \"num_attention_heads\": 4, \"vocab_size\": 256, \"intermediate_size\": 512,"
                      " \"tie_word_embeddings\": true}");
    for (int i = 0; i < N; i++) free(data[i]);
}

static float *wide_logits(const struct test_folder *folder, unsigned flags, char *group, size_t group_cap)
{
    sluice_engine *e;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    int32_t tokens[40];
    o.n_threads = 2;
    o.flags = flags;
    cr_assert_eq(sluice_engine_open(&e, folder->path, &o, &error), SLUICE_OK, "%s", error.text);
    cr_assert(sluice_engine_get_matrix_group(e, 2, group, group_cap));
    sluice_session *s = new_session(e, 64, 0);
    for (int i = 0; i < 40; i++) tokens[i] = (i * 37 + 5) % 256;
    cr_assert_eq(sluice_session_prefill(s, tokens, 40), SLUICE_OK, "%s", sluice_session_error(s));
    float *logits = malloc(256 * sizeof *logits);
    memcpy(logits, sluice_session_logits(s), 256 * sizeof *logits);
    sluice_session_free(&s);
    sluice_engine_close(&e);
    return logits;
}

Test(golden, openblas_agrees_within_the_bound)
{
    struct test_folder folder;
    char own_group[256], blas_group[256];
    write_wide_model(&folder);
    float *own = wide_logits(&folder, 0, own_group, sizeof own_group);
    float *blas = wide_logits(&folder, SLUICE_OPEN_BLAS, blas_group, sizeof blas_group);
    folder_remove(&folder);
    cr_expect_null(strstr(own_group, "openblas"), "%s", own_group);
    cr_expect_not_null(strstr(blas_group, "openblas"), "%s", blas_group);
    cr_expect_leq(nmse(blas, own, 256), 1e-10);
    free(own);
    free(blas);
}
