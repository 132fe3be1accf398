/* What a profile says: against a clock outside, against a count of bytes and operations made here from the shapes in
 * the files and the experts that an observer saw, and against the same run without it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "golden.h"

#define DEMO SLUICE_TEST_DIR "/../weights/demo"

enum { CHUNK = 12, PROMPT = 20, DECODED = 3, ROUNDED_UP = 16, MAX_LAYERS = 64, MAX_EXPERTS = 256 };

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static sluice_session *profiled(const sluice_engine *e, int n_context, int n_chunk, size_t max_spans)
{
    sluice_session *s = new_session(e, n_context, n_chunk);
    cr_assert_eq(sluice_session_begin_profile(s, max_spans), SLUICE_OK, "%s", sluice_session_error(s));
    return s;
}

/* The prompt in passes of CHUNK, then token by token. */
static void run_tokens(sluice_session *s, const int32_t *tokens)
{
    cr_assert_eq(sluice_session_prefill(s, tokens, PROMPT), SLUICE_OK, "%s", sluice_session_error(s));
    for (int i = 0; i < DECODED; i++) cr_assert_eq(sluice_session_decode(s, tokens[i]), SLUICE_OK);
}

static uint64_t sum_of(const uint64_t operations[SLUICE_N_PEAKS])
{
    uint64_t sum = 0;
    for (int i = 0; i < SLUICE_N_PEAKS; i++) sum += operations[i];
    return sum;
}

static double sum_of_parts(const sluice_session *s, int n_layers, sluice_phase phase)
{
    double sum = 0;
    for (int l = -1; l < n_layers; l++)
        for (int op = 0; op < SLUICE_N_OPERATIONS; op++)
            sum += sluice_profile_get(s, (sluice_operation)op, l, phase).seconds;
    return sum;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void open_demo(sluice_engine **engine, sluice_model_info *info, int n_threads)
{
    sluice_error error;
    sluice_engine_options o = sluice_engine_options_default();
    o.n_threads = n_threads;
    cr_assert_eq(sluice_engine_open(engine, DEMO, &o, &error), SLUICE_OK, "%s", error.text);
    sluice_engine_get_info(*engine, info);
}

/* The largest share of the time, measured here, that some of a few runs account for: another process may take the CPU
 * between two readings of two clocks, but not each time. */
static double best_share(const sluice_engine *e, const sluice_model_info *info, sluice_phase phase)
{
    enum { TRIES = 20 };
    int32_t tokens[256];
    double best = 0;
    sluice_session *s = profiled(e, 512, 0, 0);
    for (int i = 0; i < 256; i++) tokens[i] = (i * 37 + 11) % info->vocab_size;
    for (int i = 0; i < TRIES && best < 0.97; i++) {
        cr_assert_eq(sluice_session_rewind(s, 0), SLUICE_OK);
        if (phase == SLUICE_DECODE) cr_assert_eq(sluice_session_prefill(s, tokens, 256), SLUICE_OK);
        sluice_session_reset_profile(s);
        const double start = seconds_now();
        if (phase == SLUICE_PREFILL) cr_assert_eq(sluice_session_prefill(s, tokens, 256), SLUICE_OK);
        for (int t = 0; phase == SLUICE_DECODE && t < 16; t++)
            cr_assert_eq(sluice_session_decode(s, tokens[t]), SLUICE_OK);
        const double wall = seconds_now() - start, parts = sum_of_parts(s, info->n_layers, phase);
        cr_assert_leq(parts, wall * 1.001, "parts of %g s in %g s", parts, wall);
        if (parts / wall > best) best = parts / wall;
    }
    sluice_session_free(&s);
    return best;
}

Test(profile, parts_add_up_to_the_time_within_three_percent)
{
    sluice_engine *engine;
    sluice_model_info info;
    open_demo(&engine, &info, 2);
    double share = best_share(engine, &info, SLUICE_PREFILL);
    cr_expect_geq(share, 0.97, "prefill: %g", share);
    share = best_share(engine, &info, SLUICE_DECODE);
    cr_expect_geq(share, 0.97, "decode: %g", share);
    sluice_engine_close(&engine);
}

/* Every family: the cells against the total, threads against operations. */
Test(profile, cells_add_up_to_the_passes_of_every_family)
{
    char names[MAX_CASES][64];
    const int n = golden_names(names);
    for (int i = 0; i < n; i++) {
        struct golden g;
        golden_open(&g, names[i], 3, 0);
        sluice_session *s = profiled(g.engine, 0, CHUNK, 0);
        run_tokens(s, g.tokens);
        for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
            const sluice_profile_total total = sluice_profile_get_total(s, (sluice_phase)phase);
            const double parts = sum_of_parts(s, g.info.n_layers, (sluice_phase)phase);
            cr_expect(fabs(parts - total.seconds) <= 1e-3 * total.seconds, "%s: %g of %g", names[i], parts,
                      total.seconds);
            cr_expect_gt(total.seconds, 0);
            cr_expect_eq(total.passes, phase == SLUICE_PREFILL ? 2 : DECODED);
            cr_expect_eq(total.tokens, phase == SLUICE_PREFILL ? PROMPT : DECODED);
            double waited = 0;
            for (int l = -1; l < g.info.n_layers; l++)
                for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
                    const sluice_profile_cell c = sluice_profile_get(s, (sluice_operation)op, l, (sluice_phase)phase);
                    cr_expect_leq(c.wait_seconds, c.seconds * 1.01 + 1e-6, "%s: %s", names[i],
                                  sluice_operation_name((sluice_operation)op));
                    waited += c.wait_seconds;
                }
            for (int t = 0; t < 3; t++) waited -= sluice_profile_get_wait(s, t, (sluice_phase)phase) / 3;
            cr_expect(fabs(waited) < 1e-9, "%s: the waits of threads and of cells differ by %g s", names[i], waited);
        }
        sluice_session_free(&s);
        golden_close(&g);
    }
}

/* ---- bytes and operations, counted here -------------------------------------------------------------------------- */

/* What one cell should say. */
struct count {
    uint64_t weight_bytes, cache_bytes, operations;
};

struct counts {
    struct count at[SLUICE_N_PHASES][MAX_LAYERS + 1][SLUICE_N_OPERATIONS]; /* layer -1 first */
    /* Seen by the observer. */
    uint64_t rows[SLUICE_N_PHASES][MAX_LAYERS][MAX_EXPERTS], used[SLUICE_N_PHASES][MAX_LAYERS];
    bool has_experts[MAX_LAYERS];
};

static void see_experts(void *context, sluice_observation what, int layer, size_t first, size_t n_rows, size_t width,
                        const void *data)
{
    struct counts *c = context;
    const int32_t *ids = data;
    const sluice_phase phase = n_rows == 1 ? SLUICE_DECODE : SLUICE_PREFILL;
    bool used[MAX_EXPERTS] = {false};
    (void)what, (void)first;
    for (size_t i = 0; i < n_rows * width; i++) {
        c->rows[phase][layer][ids[i]]++;
        c->used[phase][layer] += !used[ids[i]];
        used[ids[i]] = true;
    }
    c->has_experts[layer] = true;
}

/* Rows and columns of a matrix in the file; false: there is none. Types of 2 bytes. */
static bool find_matrix(const sluice_arrays *arrays, const char *name, uint64_t *n, uint64_t *k)
{
    size_t shape[3], n_dims = 3;
    float *values;
    if (sluice_arrays_get_float(arrays, name, &values, shape, &n_dims, NULL)) return false;
    free(values);
    *n = shape[0];
    *k = shape[1];
    return n_dims == 2;
}

/* Panels of 16 rows are read whole. */
static uint64_t matrix_bytes(uint64_t n, uint64_t k) { return (n + ROUNDED_UP - 1) / ROUNDED_UP * ROUNDED_UP * k * 2; }

/* A matrix that `passes` passes read, and `rows` rows meet. */
static void add_matrix(struct counts *c, const sluice_arrays *arrays, sluice_phase phase, int layer,
                       sluice_operation op, const char *name, uint64_t passes, uint64_t rows)
{
    char full[128];
    uint64_t n, k;
    if (layer < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "model.layers.%d.%s.weight", layer, name);
    if (!find_matrix(arrays, full, &n, &k)) return;
    struct count *to = &c->at[phase][layer + 1][op];
    to->weight_bytes += passes * matrix_bytes(n, k);
    to->operations += 2 * n * k * rows;
}

static void add_layer(struct counts *c, const sluice_arrays *arrays, sluice_phase phase, int l)
{
    const uint64_t passes = phase == SLUICE_PREFILL ? 2 : DECODED, rows = phase == SLUICE_PREFILL ? PROMPT : DECODED;
    static const struct {
        sluice_operation op;
        const char *name;
    } always[] = {
        {SLUICE_OP_QKV, "self_attn.q_proj"},
        {SLUICE_OP_QKV, "self_attn.k_proj"},
        {SLUICE_OP_QKV, "self_attn.v_proj"},
        {SLUICE_OP_MIXER_OUT, "self_attn.o_proj"},
        {SLUICE_OP_ROUTER, "mlp.gate"},
        {SLUICE_OP_ROUTER, "mlp.shared_expert_gate"},
        {SLUICE_OP_SHARED_GATE_UP, "mlp.shared_expert.gate_proj"},
        {SLUICE_OP_SHARED_GATE_UP, "mlp.shared_expert.up_proj"},
        {SLUICE_OP_SHARED_DOWN, "mlp.shared_expert.down_proj"},
        {SLUICE_OP_MLP_GATE_UP, "mlp.gate_proj"},
        {SLUICE_OP_MLP_GATE_UP, "mlp.up_proj"},
        {SLUICE_OP_MLP_DOWN, "mlp.down_proj"},
    };
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        add_matrix(c, arrays, phase, l, always[i].op, always[i].name, passes, rows);
    uint64_t expert_rows = 0;
    for (int e = 0; e < MAX_EXPERTS; e++) expert_rows += c->rows[phase][l][e];
    add_matrix(c, arrays, phase, l, SLUICE_OP_EXPERT_GATE_UP, "mlp.experts.0.gate_proj", c->used[phase][l],
               expert_rows);
    add_matrix(c, arrays, phase, l, SLUICE_OP_EXPERT_GATE_UP, "mlp.experts.0.up_proj", c->used[phase][l], expert_rows);
    add_matrix(c, arrays, phase, l, SLUICE_OP_EXPERT_DOWN, "mlp.experts.0.down_proj", c->used[phase][l], expert_rows);
}

/* Keys and values in floats; the causal pairs of run_tokens. */
static void add_attention(struct counts *c, int l, uint64_t n_heads, uint64_t n_kv_heads, uint64_t head_dim)
{
    uint64_t seen[SLUICE_N_PHASES] = {CHUNK + PROMPT, 0}, pairs[SLUICE_N_PHASES] = {PROMPT * (PROMPT + 1) / 2, 0};
    for (uint64_t i = 1; i <= DECODED; i++) seen[SLUICE_DECODE] += PROMPT + i;
    pairs[SLUICE_DECODE] = seen[SLUICE_DECODE];
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
        struct count *to = &c->at[phase][l + 1][SLUICE_OP_ATTENTION];
        to->cache_bytes = seen[phase] * n_kv_heads * 2 * head_dim * 4;
        to->operations = pairs[phase] * n_heads * 2 * (2 * head_dim);
    }
}

static void expect_counts(const sluice_session *s, const struct counts *c, int n_layers, const char *name)
{
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
        for (int l = -1; l < n_layers; l++)
            for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
                const struct count *expected = &c->at[phase][l + 1][op];
                const sluice_profile_cell found = sluice_profile_get(s, (sluice_operation)op, l, (sluice_phase)phase);
                const char *what = sluice_operation_name((sluice_operation)op);
                cr_expect_eq(found.weight_bytes, expected->weight_bytes,
                             "%s, phase %d, layer %d, %s: weights %llu, %llu", name, phase, l, what,
                             (unsigned long long)found.weight_bytes, (unsigned long long)expected->weight_bytes);
                cr_expect_eq(found.cache_bytes, expected->cache_bytes, "%s, phase %d, layer %d, %s: cache %llu, %llu",
                             name, phase, l, what, (unsigned long long)found.cache_bytes,
                             (unsigned long long)expected->cache_bytes);
                cr_expect_eq(sum_of(found.operations), expected->operations,
                             "%s, phase %d, layer %d, %s: operations %llu, %llu", name, phase, l, what,
                             (unsigned long long)sum_of(found.operations), (unsigned long long)expected->operations);
            }
}

static void check_counts(const sluice_engine *e, const char *folder, const int32_t *tokens, const char *head,
                         uint64_t n_heads, uint64_t n_kv_heads, uint64_t head_dim)
{
    char path[600];
    sluice_error error;
    sluice_arrays *arrays;
    sluice_model_info info;
    struct counts *c = calloc(1, sizeof *c);
    const sluice_observer observer = {1u << SLUICE_SEE_EXPERTS, see_experts, c};
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    cr_assert_eq(sluice_arrays_open(&arrays, path, &error), SLUICE_OK, "%s", error.text);
    sluice_engine_get_info(e, &info);

    sluice_session *s = profiled(e, 64, CHUNK, 0);
    cr_assert_eq(sluice_session_observe(s, &observer), SLUICE_OK);
    run_tokens(s, tokens);
    for (int l = 0; l < info.n_layers; l++) {
        add_layer(c, arrays, SLUICE_PREFILL, l);
        add_layer(c, arrays, SLUICE_DECODE, l);
        add_attention(c, l, n_heads, n_kv_heads, head_dim);
    }
    /* Of a prompt only the last token's logits are computed. */
    add_matrix(c, arrays, SLUICE_PREFILL, -1, SLUICE_OP_HEAD, head, 1, 1);
    add_matrix(c, arrays, SLUICE_DECODE, -1, SLUICE_OP_HEAD, head, DECODED, DECODED);
    cr_assert_gt(c->at[SLUICE_DECODE][0][SLUICE_OP_HEAD].operations, 0);
    cr_assert_gt(c->at[SLUICE_PREFILL][1][SLUICE_OP_QKV].operations, 0);
    expect_counts(s, c, info.n_layers, folder);

    for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
        for (int l = 0; l < info.n_layers; l++)
            for (int x = 0; x < info.n_experts; x++)
                cr_expect_eq(sluice_profile_get_expert_rows(s, l, x, (sluice_phase)phase), c->rows[phase][l][x]);
    sluice_session_free(&s);
    sluice_arrays_close(&arrays);
    free(c);
}

Test(profile, bytes_and_operations_are_those_of_the_files_shapes_and_of_the_experts_seen)
{
    sluice_engine *engine;
    sluice_model_info info;
    int32_t tokens[PROMPT];
    open_demo(&engine, &info, 2);
    for (int i = 0; i < PROMPT; i++) tokens[i] = (i * 197 + 5) % info.vocab_size;
    check_counts(engine, DEMO, tokens, "model.embed_tokens.weight", 4, 2, 64);
    sluice_engine_close(&engine);

    struct golden g; /* a shared expert with a switch */
    golden_open(&g, "qwen2-moe-hub-bf16", 3, 0);
    check_counts(g.engine, SLUICE_TEST_DIR "/golden/models/qwen2-moe-hub-bf16", g.tokens, "lm_head.weight", 4, 4, 12);
    golden_close(&g);
}

/* Latent attention: both forms, whose sums are those of attention_mla.c, from the configuration of the file. */
Test(profile, latent_attention_counts_the_form_that_runs)
{
    enum { HEADS = 3, NOPE = 12, ROT = 8, VALUE = 10, LATENT = 20, FROM_SEEN = 4 * (LATENT + ROT) };
    for (int exact = 0; exact < 2; exact++) {
        struct golden g;
        golden_open(&g, "deepseek-v2-lite-hub", 2, exact ? SLUICE_OPEN_EXACT : 0);
        sluice_session *s = profiled(g.engine, 0, CHUNK, 0);
        run_tokens(s, g.tokens);
        for (int l = 0; l < 2; l++) {
            uint64_t bank = 0, pairs = 0, seen = 0; /* per head */
            const uint64_t end[2] = {CHUNK, PROMPT}, n[2] = {CHUNK, PROMPT - CHUNK};
            for (int i = 0; i < 2; i++) {
                const uint64_t p = n[i] * end[i] - n[i] * (n[i] - 1) / 2;
                const uint64_t absorbed = n[i] * LATENT * (NOPE + VALUE) + p * (2 * LATENT + ROT),
                               expanded = end[i] * LATENT * (NOPE + VALUE) + p * (NOPE + ROT + VALUE);
                const bool expands = !exact && expanded < absorbed;
                bank += (expands ? end[i] : n[i]) * LATENT * (NOPE + VALUE);
                pairs += p * (expands ? NOPE + ROT + VALUE : 2 * LATENT + ROT);
                seen += end[i];
            }
            sluice_profile_cell c = sluice_profile_get(s, SLUICE_OP_LATENT_HEADS, l, SLUICE_PREFILL);
            cr_expect_eq(sum_of(c.operations), 2 * HEADS * bank, "banks: %llu, expected %llu",
                         (unsigned long long)sum_of(c.operations), (unsigned long long)(2 * HEADS * bank));
            cr_expect_eq(c.calls, 2);
            c = sluice_profile_get(s, SLUICE_OP_ATTENTION, l, SLUICE_PREFILL);
            cr_expect_eq(sum_of(c.operations), 2 * HEADS * pairs, "pairs: %llu, expected %llu",
                         (unsigned long long)sum_of(c.operations), (unsigned long long)(2 * HEADS * pairs));
            cr_expect_eq(c.cache_bytes, seen * FROM_SEEN);
            c = sluice_profile_get(s, SLUICE_OP_LATENT_HEADS, l, SLUICE_DECODE);
            cr_expect_eq(sum_of(c.operations), (uint64_t)2 * HEADS * DECODED * LATENT * (NOPE + VALUE));
            c = sluice_profile_get(s, SLUICE_OP_LATENT, l, SLUICE_DECODE);
            cr_expect_eq(sum_of(c.operations),
                         (uint64_t)2 * DECODED * 36 * (HEADS * (NOPE + ROT) + LATENT + ROT)); /* hidden_size 36 */
        }
        sluice_session_free(&s);
        golden_close(&g);
    }
}

/* Gated DeltaNet, layer 0, and a short convolution. */
Test(profile, states_and_convolutions_are_counted)
{
    enum { KEY = 6, VALUE = 10, KEY_HEADS = 2, VALUE_HEADS = 4, TAPS = 4, STATE = VALUE_HEADS * KEY * VALUE };
    const uint64_t channels = 2 * KEY * KEY_HEADS + VALUE * VALUE_HEADS;
    struct golden g;
    golden_open(&g, "qwen3-next-hub-bf16", 2, 0);
    sluice_session *s = profiled(g.engine, 0, CHUNK, 0);
    run_tokens(s, g.tokens);
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
        const uint64_t rows = phase == SLUICE_PREFILL ? PROMPT : DECODED,
                       passes = phase == SLUICE_PREFILL ? 2 : DECODED;
        sluice_profile_cell c = sluice_profile_get(s, SLUICE_OP_RECURRENT, 0, (sluice_phase)phase);
        cr_expect_eq(c.cache_bytes, passes * STATE * sizeof(float));
        cr_expect_eq(sum_of(c.operations), rows * 2 * (3 * STATE + channels * TAPS));
        c = sluice_profile_get(s, SLUICE_OP_RECURRENT_IN, 0, (sluice_phase)phase);
        cr_expect_eq(sum_of(c.operations), rows * 2 * 36 * (8 + 104)); /* in_proj_ba and in_proj_qkvz */
    }
    sluice_session_free(&s);
    golden_close(&g);
    golden_open(&g, "lfm2-moe-hub-bf16", 2, 0);
    s = profiled(g.engine, 0, CHUNK, 0);
    run_tokens(s, g.tokens);
    cr_expect_eq(sum_of(sluice_profile_get(s, SLUICE_OP_RECURRENT, 0, SLUICE_PREFILL).operations), PROMPT * 2 * 36 * 3);
    sluice_session_free(&s);
    golden_close(&g);
}

/* All families: what the session's statistics count without a profile, and none of it lost. */
Test(profile, bytes_and_operations_add_up_to_the_statistics_of_every_family)
{
    char names[MAX_CASES][64];
    const int n = golden_names(names);
    for (int i = 0; i < n; i++) {
        struct golden g;
        sluice_session_stats stats;
        golden_open(&g, names[i], 2, 0);
        sluice_session *s = profiled(g.engine, 0, CHUNK, 0);
        run_tokens(s, g.tokens);
        sluice_session_get_stats(s, &stats);
        for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
            uint64_t bytes = 0, operations = 0;
            for (int l = -1; l < g.info.n_layers; l++)
                for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
                    const sluice_profile_cell c = sluice_profile_get(s, (sluice_operation)op, l, (sluice_phase)phase);
                    const bool is_product =
                        op != SLUICE_OP_ATTENTION && op != SLUICE_OP_LATENT_HEADS && op != SLUICE_OP_RECURRENT;
                    bytes += c.weight_bytes + c.cache_bytes;
                    if (is_product) operations += sum_of(c.operations);
                }
            cr_expect_eq(bytes, phase == SLUICE_PREFILL ? stats.prefill_bytes : stats.decode_bytes, "%s", names[i]);
            cr_expect_eq(operations,
                         sum_of(phase == SLUICE_PREFILL ? stats.prefill_operations : stats.decode_operations), "%s",
                         names[i]);
        }
        sluice_session_free(&s);
        golden_close(&g);
    }
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

Test(profile, rows_per_expert_and_the_kernels_for_them)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-dense-layer-f32", 2, 0);
    sluice_session *s = profiled(g.engine, 0, CHUNK, 0);
    run_tokens(s, g.tokens);
    const char *gate_up, *down;
    int n_moe = 0;
    for (int l = 0; l < g.info.n_layers; l++) {
        uint64_t rows = 0, from_counts = 0;
        for (int e = 0; e < g.info.n_experts; e++) rows += sluice_profile_get_expert_rows(s, l, e, SLUICE_PREFILL);
        for (int n = 1; n <= CHUNK; n++)
            from_counts += (uint64_t)n * sluice_profile_get_row_count(s, l, n, SLUICE_PREFILL);
        const bool has_experts = sluice_engine_get_expert_kernels(g.engine, l, 1, &gate_up, &down);
        n_moe += has_experts;
        cr_expect_eq(rows, has_experts ? (uint64_t)(PROMPT * g.info.top_k) : 0, "layer %d", l);
        cr_expect_eq(from_counts, rows);
        cr_expect_eq(sluice_profile_get_row_count(s, l, 1, SLUICE_DECODE),
                     has_experts ? (uint64_t)(DECODED * g.info.top_k) : 0);
        if (has_experts) cr_expect(strstr(gate_up, "f32") && strstr(down, "f32"), "%s, %s", gate_up, down);
    }
    cr_expect_eq(n_moe, g.info.n_moe_layers);
    cr_expect_lt(n_moe, g.info.n_layers);
    cr_expect_not(sluice_engine_get_expert_kernels(g.engine, g.info.n_layers, 1, &gate_up, &down));
    cr_expect_not(sluice_engine_get_expert_kernels(g.engine, -1, 1, &gate_up, &down));
    sluice_session_free(&s);
    golden_close(&g);
}

/* ---- spans ------------------------------------------------------------------------------------------------------- */

Test(profile, spans_of_a_thread_follow_each_other_without_a_gap)
{
    struct golden g;
    golden_open(&g, "qwen2-moe-hub-bf16", 2, 0);
    sluice_session *s = profiled(g.engine, 0, CHUNK, 1 << 16);
    run_tokens(s, g.tokens);
    for (int t = 0; t < 2; t++) {
        sluice_profile_span span, before = {0};
        double seconds[SLUICE_N_PHASES] = {0};
        bool seen[SLUICE_N_OPERATIONS] = {false};
        size_t i = 0;
        for (; sluice_profile_get_span(s, t, i, &span); i++) {
            cr_expect_leq(span.begin, span.end);
            cr_expect_leq(span.wait_seconds, (span.end - span.begin) * 1.01 + 1e-6);
            if (i && span.pass == before.pass)
                cr_expect(fabs(span.begin - before.end) < 1e-12);
            else
                cr_expect_geq(span.begin, before.end);
            cr_expect_lt(span.layer, g.info.n_layers);
            seconds[span.phase] += span.end - span.begin;
            seen[span.operation] = true;
            before = span;
        }
        cr_expect_eq(before.pass, 1 + DECODED);
        cr_expect(seen[SLUICE_OP_QKV] && seen[SLUICE_OP_EXPERT_DOWN] && seen[SLUICE_OP_HEAD] && seen[SLUICE_OP_PASS]);
        for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
            const double total = sluice_profile_get_total(s, (sluice_phase)phase).seconds;
            cr_expect(fabs(seconds[phase] - total) < 0.01 * total, "%g of %g", seconds[phase], total);
        }
        cr_expect_not(sluice_profile_get_span(s, t, i + 1, &span));
    }
    cr_assert_eq(sluice_session_begin_profile(s, 3), SLUICE_OK); /* room for few */
    run_tokens(s, g.tokens);
    sluice_profile_span span;
    cr_expect(sluice_profile_get_span(s, 1, 2, &span));
    cr_expect_not(sluice_profile_get_span(s, 1, 3, &span));
    cr_expect_not(sluice_profile_get_span(s, 2, 0, &span));
    cr_expect_not(sluice_profile_get_span(s, -1, 0, &span));
    sluice_session_free(&s);
    golden_close(&g);
}

/* ---- on and off -------------------------------------------------------------------------------------------------- */

Test(profile, no_bit_of_any_result_changes)
{
    char names[MAX_CASES][64];
    const int n = golden_names(names);
    for (int i = 0; i < n; i++) {
        struct golden g;
        golden_open(&g, names[i], 1 + i % 3, 0);
        sluice_session *plain = new_session(g.engine, 0, CHUNK), *s = profiled(g.engine, 0, CHUNK, 100);
        run_tokens(plain, g.tokens);
        run_tokens(s, g.tokens);
        cr_expect_arr_eq(sluice_session_logits(s), sluice_session_logits(plain),
                         (size_t)g.info.vocab_size * sizeof(float), "%s", names[i]);
        sluice_session_free(&plain);
        sluice_session_free(&s);
        golden_close(&g);
    }
}

static uint64_t all_calls(const sluice_session *s, int n_layers)
{
    uint64_t calls = 0;
    for (int l = -1; l < n_layers; l++)
        for (int op = 0; op < SLUICE_N_OPERATIONS; op++)
            calls += sluice_profile_get(s, (sluice_operation)op, l, SLUICE_PREFILL).calls;
    return calls;
}

Test(profile, reset_begins_again_and_end_forgets)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-hub-bf16", 2, 0);
    sluice_session *s = new_session(g.engine, 0, 0);
    const size_t bare = sluice_session_bytes(s);
    cr_assert_eq(sluice_session_begin_profile(s, 16), SLUICE_OK);
    run_tokens(s, g.tokens);
    const uint64_t calls = all_calls(s, g.info.n_layers);
    cr_expect_gt(calls, 0);
    sluice_session_reset_profile(s);
    cr_expect_eq(all_calls(s, g.info.n_layers), 0);
    cr_expect_eq(sluice_profile_get_total(s, SLUICE_DECODE).passes, 0);
    cr_expect_eq(sluice_profile_get_total(s, SLUICE_DECODE).seconds, 0);
    cr_expect_eq(sluice_profile_get_expert_rows(s, 0, 0, SLUICE_PREFILL), 0);
    sluice_profile_span span;
    cr_expect_not(sluice_profile_get_span(s, 0, 0, &span));
    cr_assert_eq(sluice_session_rewind(s, 0), SLUICE_OK);
    run_tokens(s, g.tokens);
    cr_expect_eq(all_calls(s, g.info.n_layers), calls, "the same tokens, the same calls");
    cr_expect_gt(sluice_session_bytes(s), bare);
    sluice_session_end_profile(s);
    cr_expect_eq(sluice_session_bytes(s), bare);
    cr_expect_eq(all_calls(s, g.info.n_layers), 0);
    cr_expect_eq(sluice_profile_get_wait(s, 0, SLUICE_PREFILL), 0);
    sluice_session_end_profile(s);
    sluice_session_reset_profile(s);
    sluice_session_free(&s);
    golden_close(&g);
}

Test(profile, what_does_not_exist_is_zero_and_too_much_is_refused)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-hub-bf16", 2, 0);
    sluice_session *s = profiled(g.engine, 0, CHUNK, 0);
    run_tokens(s, g.tokens);
    const int n = g.info.n_layers;
    cr_expect_eq(sluice_profile_get(s, SLUICE_N_OPERATIONS, 0, SLUICE_PREFILL).calls, 0);
    cr_expect_eq(sluice_profile_get(s, SLUICE_OP_NORM, n, SLUICE_PREFILL).calls, 0);
    cr_expect_eq(sluice_profile_get(s, SLUICE_OP_NORM, -2, SLUICE_PREFILL).calls, 0);
    cr_expect_eq(sluice_profile_get(s, SLUICE_OP_NORM, 0, SLUICE_N_PHASES).calls, 0);
    cr_expect_eq(sluice_profile_get(s, SLUICE_OP_NORM, n - 1, SLUICE_PREFILL).calls, 4, "2 norms in 2 passes");
    cr_expect_eq(sluice_profile_get_total(s, SLUICE_N_PHASES).passes, 0);
    cr_expect_eq(sluice_profile_get_wait(s, 2, SLUICE_PREFILL), 0);
    cr_expect_eq(sluice_profile_get_expert_rows(s, n, 0, SLUICE_PREFILL), 0);
    cr_expect_eq(sluice_profile_get_expert_rows(s, 0, g.info.n_experts, SLUICE_PREFILL), 0);
    cr_expect_eq(sluice_profile_get_row_count(s, 0, 0, SLUICE_PREFILL), 0);
    cr_expect_eq(sluice_profile_get_row_count(s, 0, CHUNK + 1, SLUICE_PREFILL), 0);
    cr_expect_null(sluice_operation_name(SLUICE_N_OPERATIONS));
    for (int op = 0; op < SLUICE_N_OPERATIONS; op++) cr_expect_not_null(sluice_operation_name((sluice_operation)op));

    const uint64_t calls = all_calls(s, n);
    cr_expect_eq(sluice_session_begin_profile(s, (size_t)1 << 25), SLUICE_ARGUMENT);
    cr_expect(strstr(sluice_session_error(s), "33554432"), "%s", sluice_session_error(s));
    for (uint64_t i = 1; i <= 2; i++) {
        memory_fail_after(i);
        cr_expect_eq(sluice_session_begin_profile(s, 0), SLUICE_MEMORY);
        memory_fail_after(0);
    }
    cr_expect_eq(all_calls(s, n), calls, "the profile before goes on");
    sluice_session_free(&s);
    golden_close(&g);
}

Test(profile, an_observer_and_a_cancelled_pass_have_their_place)
{
    struct golden g;
    struct counts *c = calloc(1, sizeof *c);
    const sluice_observer observer = {1u << SLUICE_SEE_EXPERTS, see_experts, c};
    golden_open(&g, "qwen3-moe-hub-bf16", 2, 0);
    sluice_session *s = profiled(g.engine, 0, CHUNK, 0);
    cr_assert_eq(sluice_session_observe(s, &observer), SLUICE_OK);
    run_tokens(s, g.tokens);
    cr_expect_eq(sluice_profile_get(s, SLUICE_OP_OBSERVE, 0, SLUICE_PREFILL).calls, 2);
    sluice_session_cancel(s);
    cr_expect_eq(sluice_session_prefill(s, g.tokens, PROMPT), SLUICE_CANCELLED);
    const double total = sluice_profile_get_total(s, SLUICE_PREFILL).seconds;
    cr_expect(fabs(sum_of_parts(s, g.info.n_layers, SLUICE_PREFILL) - total) <= 1e-3 * total);
    sluice_session_free(&s);
    golden_close(&g);
    free(c);
}
