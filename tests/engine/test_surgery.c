/* Sessions that choose experts otherwise than their model: every knob against a reference that is made without it - a
 * model whose configuration says so, sums of what observers saw, the routing of another session - in prefill, decode
 * and passes of many sessions, for every family with experts. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "tests/support/folder.h"

static sluice_error error;

static sluice_session *operated(const sluice_engine *e, int n_chunk, const sluice_expert_surgery *surgery)
{
    sluice_session *s;
    const sluice_session_options o = {.n_chunk = n_chunk, .cache_type = "f32", .surgery = surgery};
    cr_assert_eq(sluice_session_create(&s, e, &o, &error), SLUICE_OK, "%s", error.text);
    return s;
}

/* The whole file, malloc'ed with a NUL behind it; NULL: there is none. */
static char *read_file(const char *folder, const char *name, size_t *n)
{
    char path[600];
    snprintf(path, sizeof path, "%s/golden/models/%.63s/%.63s", SLUICE_TEST_DIR, folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*n + 1);
    cr_assert(bytes && fread(bytes, 1, *n, file) == *n);
    bytes[*n] = 0;
    fclose(file);
    return bytes;
}

/* The golden models that have experts. Returns how many. */
static int moe_names(char names[MAX_CASES][64])
{
    static char all[MAX_CASES][64];
    const int n = golden_names(all);
    int n_moe = 0;
    for (int i = 0; i < n; i++) {
        size_t length;
        char *text = read_file(all[i], "config.json", &length);
        if (strstr(text, "\"num_experts_per_tok\"") ||
            (strstr(text, "\"top_k_experts\"") && !strstr(text, "\"top_k_experts\": null")))
            memcpy(names[n_moe++], all[i], sizeof all[i]);
        free(text);
    }
    cr_assert_geq(n_moe, 30);
    return n_moe;
}

/* ---- what a session says ----------------------------------------------------------------------------------------- */

/* What an observer saw of a timeline: rows by layer and position. */
struct record {
    size_t n_tokens, n_layers, width[SLUICE_N_OBSERVATIONS];
    void *rows[SLUICE_N_OBSERVATIONS]; /* [n_layers, n_tokens, width] 4-byte elements; of logits one layer */
};

static void see(void *context, sluice_observation what, int layer, size_t first, size_t n_rows, size_t width,
                const void *data)
{
    struct record *r = context;
    const size_t l = layer < 0 ? 0 : (size_t)layer;
    if (!r->rows[what]) {
        r->width[what] = width;
        r->rows[what] = calloc((layer < 0 ? 1 : r->n_layers) * r->n_tokens * width, 4);
    }
    cr_assert(r->rows[what] && width == r->width[what], "observation %d of layer %d: width %zu", (int)what, layer,
              width);
    cr_assert_leq(first + n_rows, r->n_tokens);
    memcpy((char *)r->rows[what] + (l * r->n_tokens + first) * width * 4, data, n_rows * width * 4);
}

static const float *float_row(const struct record *r, sluice_observation what, size_t layer, size_t position)
{
    return (const float *)r->rows[what] + (layer * r->n_tokens + position) * r->width[what];
}

static const int32_t *experts_row(const struct record *r, size_t layer, size_t position)
{
    const size_t width = r->width[SLUICE_SEE_EXPERTS];
    return (const int32_t *)r->rows[SLUICE_SEE_EXPERTS] + (layer * r->n_tokens + position) * width;
}

static void record_free(struct record *r)
{
    for (int i = 0; i < SLUICE_N_OBSERVATIONS; i++) free(r->rows[i]);
}

/* Prefills all golden tokens but the last four, which are decoded. */
static void run_tokens(const struct golden *g, sluice_session *s)
{
    const size_t n = g->n_tokens - 4;
    cr_assert_eq(sluice_session_prefill(s, g->tokens, n), SLUICE_OK, "%s", sluice_session_error(s));
    for (size_t i = n; i < g->n_tokens; i++)
        cr_assert_eq(sluice_session_decode(s, g->tokens[i]), SLUICE_OK, "%s", sluice_session_error(s));
}

static struct record observe(const struct golden *g, const sluice_expert_surgery *surgery, sluice_session_stats *stats)
{
    struct record r = {.n_tokens = g->n_tokens, .n_layers = (size_t)g->info.n_layers};
    const sluice_observer observer = {(1u << SLUICE_N_OBSERVATIONS) - 1, see, &r};
    sluice_session *s = operated(g->engine, 0, surgery);
    cr_assert_eq(sluice_session_observe(s, &observer), SLUICE_OK);
    run_tokens(g, s);
    if (stats) sluice_session_get_stats(s, stats);
    sluice_session_free(&s);
    return r;
}

static void expect_same(const char *name, const char *what, const struct record *a, const struct record *b)
{
    const size_t logits = a->n_tokens * a->width[SLUICE_SEE_LOGITS];
    const size_t hidden = a->n_layers * a->n_tokens * a->width[SLUICE_SEE_HIDDEN];
    cr_expect(memcmp(a->rows[SLUICE_SEE_LOGITS], b->rows[SLUICE_SEE_LOGITS], logits * 4) == 0, "%s: %s: logits", name,
              what);
    cr_expect(memcmp(a->rows[SLUICE_SEE_HIDDEN], b->rows[SLUICE_SEE_HIDDEN], hidden * 4) == 0, "%s: %s: hidden", name,
              what);
}

static void copy_logits(const sluice_session *s, float *out, const struct golden *g)
{
    memcpy(out, sluice_session_logits(s), (size_t)g->info.vocab_size * sizeof *out);
}

/* Logits at the end of the golden tokens: [vocab_size], for the caller to free. */
static float *end_logits(const struct golden *g, int n_chunk, const sluice_expert_surgery *surgery)
{
    sluice_session *s = operated(g->engine, n_chunk, surgery);
    float *logits = malloc((size_t)g->info.vocab_size * sizeof *logits);
    run_tokens(g, s);
    copy_logits(s, logits, g);
    sluice_session_free(&s);
    return logits;
}

static bool has_experts(const struct golden *g, int layer)
{
    char text[512];
    sluice_engine_get_layer(g->engine, layer, text, sizeof text);
    return strstr(text, "experts x") != NULL;
}

static int first_moe_layer(const struct golden *g)
{
    int l = 0;
    while (!has_experts(g, l)) l++;
    return l;
}

/* ---- active experts ---------------------------------------------------------------------------------------------- */

/* If there is such a file. */
static void copy_file(const struct test_folder *to, const char *model, const char *name)
{
    size_t n;
    char *bytes = read_file(model, name, &n);
    if (bytes) folder_write(to, name, bytes, n);
    free(bytes);
}

/* The golden model with another number of experts per token in its configuration. */
static void write_model_with(struct test_folder *folder, const char *name, int top_k)
{
    static const char *const keys[] = {"\"num_experts_per_tok\":", "\"experts_per_token\":", "\"top_k_experts\":"};
    size_t n;
    char *text = read_file(name, "config.json", &n);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *at = strstr(text, keys[i]), digit[16];
        if (!at) continue;
        at += strlen(keys[i]);
        at += strspn(at, " ");
        cr_assert_eq(strspn(at, "0123456789"), 1);
        cr_assert_eq(snprintf(digit, sizeof digit, "%d", top_k), 1);
        *at = digit[0];
    }
    folder_create(folder);
    folder_write_text(folder, "config.json", text);
    free(text);
    copy_file(folder, name, "model.safetensors");
    copy_file(folder, name, "model.safetensors.index.json");
    for (int of = 2; of <= 6; of++)
        for (int i = 1; i <= of; i++) {
            char shard[64];
            snprintf(shard, sizeof shard, "model-%05d-of-%05d.safetensors", i, of);
            copy_file(folder, name, shard);
        }
}

/* More experts than the model's, fewer, and as many: the same bits as of a model that is made so. */
Test(surgery, active_experts_equal_a_model_with_that_top_k)
{
    static char names[MAX_CASES][64];
    const int n = moe_names(names);
    for (int i = 0; i < n; i++) {
        struct golden g;
        golden_open(&g, names[i], 2, 0);
        const int ks[] = {g.info.top_k, i % 2 && g.info.top_k > 1 ? g.info.top_k - 1 : g.info.top_k + 1};
        for (int j = 0; j < 2; j++) {
            struct test_folder folder;
            struct golden other = g;
            sluice_engine_options o = {.n_threads = 2};
            if (ks[j] > g.info.n_experts) continue;
            write_model_with(&folder, names[i], ks[j]);
            /* groups that are too small for so many are refused in a file */
            if (sluice_engine_open(&other.engine, folder.path, &o, &error) == SLUICE_OK) {
                const sluice_expert_surgery surgery = {.active_experts = ks[j]};
                struct record expected = observe(&other, NULL, NULL), found = observe(&g, &surgery, NULL);
                cr_expect_eq(found.width[SLUICE_SEE_EXPERTS], (size_t)ks[j]);
                expect_same(names[i], "active experts", &expected, &found);
                record_free(&expected);
                record_free(&found);
                sluice_engine_close(&other.engine);
            } else {
                cr_expect_not_null(strstr(error.text, "group"), "%s, %d: %s", names[i], ks[j], error.text);
            }
            folder_remove(&folder);
        }
        golden_close(&g);
    }
}

/* With as many active experts as there are, every expert is read, groups or not. */
Test(surgery, all_experts_can_be_active)
{
    static char names[MAX_CASES][64];
    const int n = moe_names(names);
    for (int i = 0; i < n; i += 2) {
        struct golden g;
        sluice_session_stats st;
        golden_open(&g, names[i], 3, 0);
        const sluice_expert_surgery all = {.active_experts = g.info.n_experts};
        struct record r = observe(&g, &all, &st);
        cr_expect_eq(st.experts_read, (uint64_t)(4 * g.info.n_moe_layers * g.info.n_experts), "%s", names[i]);
        cr_expect_eq(st.prefill_expert_rows,
                     (uint64_t)(g.info.n_moe_layers * g.info.n_experts) * (uint64_t)(g.n_tokens - 4), "%s", names[i]);
        record_free(&r);
        golden_close(&g);
    }
}

/* ---- the dense twin ---------------------------------------------------------------------------------------------- */

/* Bits equal for every family, with 1, 2 and 3 threads, in prefill and decode; and every expert was read. */
Test(surgery, the_dense_twin_gives_the_same_bits_and_reads_every_expert)
{
    static char names[MAX_CASES][64];
    const sluice_expert_surgery twin = {.dense_twin = true};
    const int n = moe_names(names);
    for (int i = 0; i < n; i++) {
        struct golden g;
        sluice_session_stats sparse_stats, st;
        golden_open(&g, names[i], 1 + i % 3, SLUICE_OPEN_EXACT);
        struct record sparse = observe(&g, NULL, &sparse_stats), dense = observe(&g, &twin, &st);
        expect_same(names[i], "dense twin", &sparse, &dense);
        const uint64_t pairs = (uint64_t)(g.info.n_moe_layers * g.info.n_experts);
        cr_expect_eq(st.experts_read, 4 * pairs, "%s", names[i]);
        cr_expect_eq(st.experts_touched, pairs, "%s", names[i]);
        cr_expect_eq(st.prefill_experts_read, pairs, "%s", names[i]);
        cr_expect_eq(st.prefill_expert_rows, pairs * (g.n_tokens - 4), "%s", names[i]);
        /* what is read more is these experts, in prefill and decode alike */
        const uint64_t more = st.decode_bytes - sparse_stats.decode_bytes;
        const uint64_t more_prefill = st.prefill_bytes - sparse_stats.prefill_bytes;
        const uint64_t experts = st.experts_read - sparse_stats.experts_read;
        const uint64_t experts_prefill = st.prefill_experts_read - sparse_stats.prefill_experts_read;
        cr_expect(g.info.top_k == g.info.n_experts || (experts > 0 && more > 0), "%s", names[i]);
        cr_expect_eq(more * experts_prefill, more_prefill * experts, "%s", names[i]);
        record_free(&sparse);
        record_free(&dense);
        golden_close(&g);
    }
}

/* An expert of this model has three matrices of floats, whose rows fill panels of 16. */
Test(surgery, the_dense_twin_reads_what_the_file_says)
{
    struct golden g;
    sluice_session_stats sparse_stats, st;
    const sluice_expert_surgery twin = {.dense_twin = true};
    char text[512];
    int width = 0;
    golden_open(&g, "olmoe-clip-f32", 2, SLUICE_OPEN_EXACT);
    struct record sparse = observe(&g, NULL, &sparse_stats), dense = observe(&g, &twin, &st);
    sluice_engine_get_layer(g.engine, first_moe_layer(&g), text, sizeof text);
    cr_assert_eq(sscanf(strstr(text, "experts x"), "experts x %d", &width), 1, "%s", text);
    const uint64_t up = (uint64_t)((width + 15) / 16 * 16) * (uint64_t)g.info.hidden_size;
    const uint64_t down = (uint64_t)((g.info.hidden_size + 15) / 16 * 16) * (uint64_t)width;
    cr_expect_eq(st.decode_bytes - sparse_stats.decode_bytes,
                 4 * (2 * up + down) * (st.experts_read - sparse_stats.experts_read));
    record_free(&sparse);
    record_free(&dense);
    golden_close(&g);
}

Test(surgery, the_dense_twin_does_not_depend_on_threads_and_chunks)
{
    static const char *const names[] = {"qwen3-moe-hub-bf16", "deepseek-v3-hub-bf16", "gpt-oss-hub-bf16",
                                        "gemma4-wrapped-hub"};
    const sluice_expert_surgery twin = {.dense_twin = true};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        float *expected = NULL;
        for (int threads = 1; threads <= 3; threads++)
            for (int chunk = 0; chunk <= 7; chunk += 7) {
                struct golden g;
                golden_open(&g, names[i], threads, SLUICE_OPEN_EXACT);
                float *logits = end_logits(&g, chunk, &twin);
                if (!expected) expected = end_logits(&g, 0, NULL);
                cr_expect_arr_eq(logits, expected, (size_t)g.info.vocab_size * sizeof *logits, "%s, %d threads",
                                 names[i], threads);
                free(logits);
                golden_close(&g);
            }
        free(expected);
    }
}

/* ---- single experts ---------------------------------------------------------------------------------------------- */

/* The outputs of the first layer with experts, to which nothing before differs, minus those of a session that zeroes
 * one expert, are that expert's share; the shares of all chosen ones, and what is left when all are zeroed, make the
 * whole. And the weight of a share is what observers saw: expert for expert, a share divided by the weight is the same
 * as with all other weights. */
Test(surgery, what_is_zeroed_is_a_term_of_the_sum)
{
    static char names[MAX_CASES][64];
    const int n = moe_names(names);
    int n_compared = 0;
    for (int i = 0; i < n; i += 3) {
        struct golden g;
        golden_open(&g, names[i], 2, SLUICE_OPEN_FLOAT | SLUICE_OPEN_EXACT);
        const int l = first_moe_layer(&g);
        char layer[512];
        sluice_engine_get_layer(g.engine, l, layer, sizeof layer);
        if (strstr(layer, "post norms") || strstr(layer, " + ")) { /* no plain sum, but in test_router.c */
            golden_close(&g);
            continue;
        }
        const sluice_expert_place every = {l, SLUICE_EVERY};
        const sluice_expert_surgery none_left = {.zero = &every, .n_zero = 1};
        struct record whole = observe(&g, NULL, NULL), rest = observe(&g, &none_left, NULL);
        const size_t width = whole.width[SLUICE_SEE_FFN], top_k = whole.width[SLUICE_SEE_EXPERTS];
        double *sum = calloc(g.n_tokens * width, sizeof *sum);
        for (size_t j = 0; j < g.n_tokens * width; j++)
            sum[j] = (double)float_row(&rest, SLUICE_SEE_FFN, (size_t)l, 0)[j];
        for (int e = 0; e < g.info.n_experts; e++) {
            const sluice_expert_place place = {l, e};
            const sluice_expert_surgery surgery = {.zero = &place, .n_zero = 1};
            struct record without = observe(&g, &surgery, NULL);
            for (size_t t = 0; t < g.n_tokens; t++) {
                const float *a = float_row(&whole, SLUICE_SEE_FFN, (size_t)l, t);
                const float *b = float_row(&without, SLUICE_SEE_FFN, (size_t)l, t);
                const int32_t *ids = experts_row(&whole, (size_t)l, t);
                const float *w = float_row(&whole, SLUICE_SEE_EXPERT_WEIGHTS, (size_t)l, t);
                const float *w0 = float_row(&without, SLUICE_SEE_EXPERT_WEIGHTS, (size_t)l, t);
                bool chosen = false;
                cr_expect_arr_eq(ids, experts_row(&without, (size_t)l, t), top_k * sizeof *ids, "%s", names[i]);
                for (size_t k = 0; k < top_k; k++) {
                    chosen |= ids[k] == e;
                    cr_expect_eq(w0[k], ids[k] == e ? 0 : w[k], "%s", names[i]);
                }
                cr_expect_eq(memcmp(a, b, width * 4) == 0, !chosen, "%s: layer %d, expert %d, token %zu", names[i], l,
                             e, t);
                for (size_t d = 0; d < width; d++) sum[t * width + d] += (double)a[d] - (double)b[d];
            }
            record_free(&without);
        }
        double off = 0, size = 0;
        for (size_t j = 0; j < g.n_tokens * width; j++) {
            const double whole_j = (double)float_row(&whole, SLUICE_SEE_FFN, (size_t)l, 0)[j];
            off += (sum[j] - whole_j) * (sum[j] - whole_j);
            size += whole_j * whole_j;
        }
        cr_expect(off <= 1e-10 * size, "%s: the parts are off by %g of %g", names[i], off, size);
        n_compared++;
        free(sum);
        record_free(&whole);
        record_free(&rest);
        golden_close(&g);
    }
    cr_expect_geq(n_compared, 6);
}

/* In every layer of every family; the choice is the router's for the others (its steps: tests/model/test_router.c). */
Test(surgery, ablated_experts_are_never_chosen_and_forced_ones_always)
{
    static char names[MAX_CASES][64];
    const int n = moe_names(names);
    for (int i = 0; i < n; i += 2) {
        struct golden g;
        golden_open(&g, names[i], 2, 0);
        struct record plain = observe(&g, NULL, NULL);
        const size_t top_k = plain.width[SLUICE_SEE_EXPERTS];
        const int l0 = first_moe_layer(&g);
        /* what the first token chose first, and what it did not choose */
        const int gone = experts_row(&plain, (size_t)l0, 0)[0];
        int there = 0;
        for (size_t k = 0; k < top_k; k++) there += experts_row(&plain, (size_t)l0, 0)[k] == there;
        if ((int)top_k < g.info.n_experts && there < g.info.n_experts) {
            const sluice_expert_place ablate = {SLUICE_EVERY, gone}, force = {SLUICE_EVERY, there};
            const sluice_expert_surgery surgery = {.ablate = &ablate, .n_ablate = 1, .force = &force, .n_force = 1};
            struct record r = observe(&g, &surgery, NULL);
            for (int l = 0; l < g.info.n_layers; l++) {
                if (!has_experts(&g, l)) continue;
                for (size_t t = 0; t < g.n_tokens; t++) {
                    bool found = false;
                    for (size_t k = 0; k < top_k; k++) {
                        found |= experts_row(&r, (size_t)l, t)[k] == there;
                        cr_assert_neq(experts_row(&r, (size_t)l, t)[k], gone, "%s", names[i]);
                    }
                    cr_assert(found, "%s", names[i]);
                    cr_assert_eq(float_row(&r, SLUICE_SEE_ROUTER_SCORES, (size_t)l, t)[gone], 0.0f, "%s", names[i]);
                }
            }
            record_free(&r);
        }
        record_free(&plain);
        golden_close(&g);
    }
}

/* ---- routing from elsewhere -------------------------------------------------------------------------------------- */

static bool replay(void *context, int layer, size_t position, int n, int32_t *experts, float *weights)
{
    const struct record *r = context;
    memcpy(experts, experts_row(r, (size_t)layer, position), (size_t)n * sizeof *experts);
    memcpy(weights, float_row(r, SLUICE_SEE_EXPERT_WEIGHTS, (size_t)layer, position), (size_t)n * sizeof *weights);
    return true;
}

/* A session with its own routing given back to it changes nothing; with that of another text it goes that way. */
Test(surgery, frozen_routing_is_followed)
{
    static char names[MAX_CASES][64];
    const int n = moe_names(names);
    for (int i = 0; i < n; i += 2) {
        struct golden g;
        golden_open(&g, names[i], 2, 0);
        struct record own = observe(&g, NULL, NULL);
        const sluice_expert_surgery frozen = {.route = replay, .context = &own};
        struct record again = observe(&g, &frozen, NULL);
        expect_same(names[i], "own routing", &own, &again);

        struct golden reversed = g;
        reversed.tokens = malloc(g.n_tokens * sizeof *g.tokens);
        for (size_t t = 0; t < g.n_tokens; t++) reversed.tokens[t] = g.tokens[g.n_tokens - 1 - t];
        struct record other = observe(&reversed, &frozen, NULL);
        for (int l = 0; l < g.info.n_layers; l++) {
            if (!has_experts(&g, l)) continue;
            cr_expect_arr_eq(experts_row(&own, (size_t)l, 0), experts_row(&other, (size_t)l, 0),
                             g.n_tokens * own.width[SLUICE_SEE_EXPERTS] * 4, "%s", names[i]);
            cr_expect_arr_eq(float_row(&own, SLUICE_SEE_EXPERT_WEIGHTS, (size_t)l, 0),
                             float_row(&other, SLUICE_SEE_EXPERT_WEIGHTS, (size_t)l, 0),
                             g.n_tokens * own.width[SLUICE_SEE_EXPERTS] * 4, "%s", names[i]);
        }
        free(reversed.tokens);
        record_free(&own);
        record_free(&again);
        record_free(&other);
        golden_close(&g);
    }
}

static bool give_absurd(void *context, int layer, size_t position, int n, int32_t *experts, float *weights)
{
    (void)layer;
    for (int i = 0; i < n; i++) experts[i] = i + *(const int *)context, weights[i] = 1;
    return position == 9;
}

Test(surgery, routing_that_cannot_be_fails_the_call_and_leaves_the_timeline)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-hub-bf16", 2, 0);
    int first = g.info.n_experts - g.info.top_k;
    const sluice_expert_surgery surgery = {.route = give_absurd, .context = &first};
    sluice_session *s = operated(g.engine, 4, &surgery);
    cr_expect_eq(sluice_session_prefill(s, g.tokens, 20), SLUICE_OK, "the last experts exist");
    cr_assert_eq(sluice_session_rewind(s, 3), SLUICE_OK);
    first++;
    cr_expect_eq(sluice_session_prefill(s, g.tokens + 3, 17), SLUICE_ARGUMENT);
    char expected[128];
    snprintf(expected, sizeof expected, "the given routing of layer %d at position 9: expert %d does not exist",
             first_moe_layer(&g), g.info.n_experts);
    cr_expect_str_eq(sluice_session_error(s), expected);
    cr_expect_eq(sluice_session_length(s), 3);
    first--;
    cr_expect_eq(sluice_session_prefill(s, g.tokens + 3, 17), SLUICE_OK);
    sluice_session_free(&s);
    golden_close(&g);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

/* Each session of a shared pass keeps its marks and its routing. */
Test(surgery, a_pass_for_many_sessions_equals_one_by_one)
{
    static const char *const names[] = {"qwen3-moe-hub-bf16", "deepseek-v3-hub-bf16", "gemma4-v5-f32",
                                        "gpt-oss-mxfp4-hub"};
    enum { N = 4, STEPS = 3 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int dense = 0; dense < 2; dense++) {
            struct golden g;
            golden_open(&g, names[i], 2, SLUICE_OPEN_EXACT);
            struct record own = observe(&g, NULL, NULL);
            const int l = first_moe_layer(&g), e = experts_row(&own, (size_t)l, 0)[0];
            const sluice_expert_place place = {l, e};
            const sluice_expert_surgery kinds[N] = {
                {.dense_twin = dense},
                {.dense_twin = dense, .ablate = &place, .n_ablate = 1},
                {.dense_twin = dense, .route = replay, .context = &own},
                {.dense_twin = dense, .zero = &place, .n_zero = 1},
            };
            sluice_session *many[N], *alone[N];
            int32_t next[N];
            float *expected = malloc((size_t)g.info.vocab_size * sizeof *expected);
            for (int j = 0; j < N; j++) {
                many[j] = operated(g.engine, 8, &kinds[j]);
                alone[j] = operated(g.engine, 8, &kinds[j]);
                cr_assert_eq(sluice_session_prefill(many[j], g.tokens, (size_t)(5 + j)), SLUICE_OK);
                cr_assert_eq(sluice_session_prefill(alone[j], g.tokens, (size_t)(5 + j)), SLUICE_OK);
            }
            for (int step = 0; step < STEPS; step++) {
                for (int j = 0; j < N; j++) next[j] = g.tokens[(7 * j + step) % 20];
                cr_assert_eq(sluice_decode_many(many, next, N), SLUICE_OK, "%s", sluice_session_error(many[0]));
                for (int j = 0; j < N; j++) {
                    cr_assert_eq(sluice_session_decode(alone[j], next[j]), SLUICE_OK);
                    copy_logits(alone[j], expected, &g);
                    cr_expect_arr_eq(sluice_session_logits(many[j]), expected,
                                     (size_t)g.info.vocab_size * sizeof *expected, "%s, session %d", names[i], j);
                }
            }
            free(expected);
            for (int j = 0; j < N; j++) sluice_session_free(&many[j]), sluice_session_free(&alone[j]);
            record_free(&own);
            golden_close(&g);
        }
}

Test(surgery, sessions_of_one_pass_have_as_many_experts)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-hub-bf16", 1, 0);
    const sluice_expert_surgery one = {.active_experts = 1}, twin = {.dense_twin = true};
    const sluice_expert_surgery *kinds[] = {NULL, &one, &twin};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            sluice_session *pair[] = {operated(g.engine, 8, kinds[i]), operated(g.engine, 8, kinds[j])};
            cr_expect_eq(sluice_decode_many(pair, g.tokens, 2), i == j ? SLUICE_OK : SLUICE_ARGUMENT);
            if (i != j) {
                cr_expect_str_eq(sluice_session_error(pair[1]), "session 1 has other active experts than session 0");
                cr_expect_eq(sluice_session_length(pair[0]) + sluice_session_length(pair[1]), 0);
            }
            sluice_session_free(&pair[0]);
            sluice_session_free(&pair[1]);
        }
    golden_close(&g);
}

/* Rewinding and copying move the timeline; the surgery stays with the session. */
Test(surgery, copies_and_rewinds_keep_to_their_sessions)
{
    static const char *const names[] = {"qwen3-moe-hub-bf16", "lfm2-moe-hub-bf16", "qwen3-next-hub-bf16"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct golden g;
        golden_open(&g, names[i], 2, SLUICE_OPEN_EXACT);
        const size_t bytes = (size_t)g.info.vocab_size * sizeof(float);
        const sluice_expert_surgery one = {.active_experts = 1};
        sluice_session *s = operated(g.engine, 0, &one), *copy = operated(g.engine, 0, &one);
        sluice_session *native = operated(g.engine, 0, NULL), *mixed = operated(g.engine, 0, NULL);
        cr_assert_eq(sluice_session_prefill(s, g.tokens, 12), SLUICE_OK);
        cr_assert_eq(sluice_session_copy(copy, s), SLUICE_OK);
        cr_assert_eq(sluice_session_copy(mixed, s), SLUICE_OK);
        cr_assert_eq(sluice_session_prefill(native, g.tokens, 12), SLUICE_OK);
        cr_assert_eq(sluice_session_prefill(s, g.tokens + 12, 6), SLUICE_OK);
        cr_assert_eq(sluice_session_rewind(s, 12), SLUICE_OK);
        sluice_session *all[] = {s, copy, mixed, native};
        for (int j = 0; j < 4; j++) cr_assert_eq(sluice_session_decode(all[j], g.tokens[12]), SLUICE_OK);
        cr_expect_arr_eq(sluice_session_logits(s), sluice_session_logits(copy), bytes, "%s", names[i]);
        cr_expect(memcmp(sluice_session_logits(s), sluice_session_logits(native), bytes) != 0, "%s", names[i]);
        cr_expect(memcmp(sluice_session_logits(s), sluice_session_logits(mixed), bytes) != 0, "%s", names[i]);
        for (int j = 0; j < 4; j++) sluice_session_free(&all[j]);
        golden_close(&g);
    }
}

Test(surgery, forecast_is_what_a_session_takes)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-hub-bf16", 2, 0);
    const sluice_expert_place place = {SLUICE_EVERY, 1};
    const sluice_expert_surgery kinds[] = {
        {.active_experts = g.info.n_experts}, {.dense_twin = true}, {.zero = &place, .n_zero = 1, .dense_twin = true}};
    size_t before = 0;
    for (int i = 0; i < 3; i++) {
        const sluice_session_options o = {.n_context = 40, .n_chunk = 40, .surgery = &kinds[i]},
                                     plain = {40, 40, NULL, NULL};
        sluice_session *s;
        cr_assert_eq(sluice_session_create(&s, g.engine, &o, &error), SLUICE_OK, "%s", error.text);
        const size_t forecast = sluice_session_forecast_bytes(g.engine, &o), taken = sluice_session_bytes(s);
        cr_expect(taken >= forecast && taken < forecast + 8192, "forecast %zu, taken %zu", forecast, taken);
        cr_expect_gt(forecast, sluice_session_forecast_bytes(g.engine, &plain));
        before = forecast;
        sluice_session_free(&s);
    }
    cr_expect_gt(before, 0);
    golden_close(&g);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static void expect_refused(const sluice_engine *e, sluice_expert_surgery surgery, const char *text)
{
    const sluice_session_options o = {.surgery = &surgery};
    sluice_session *s = (void *)1;
    cr_expect_eq(sluice_session_create(&s, e, &o, &error), SLUICE_ARGUMENT, "%s", text);
    cr_expect_null(s);
    cr_expect_str_eq(error.text, text);
    cr_expect_eq(sluice_expert_surgery_check(e, &surgery, &error), SLUICE_ARGUMENT, "%s", text);
    cr_expect_str_eq(error.text, text);
    cr_expect_eq(sluice_session_forecast_bytes(e, &o), 0);
}

#define LIST(name, ...)                                 \
    .name = (const sluice_expert_place[]){__VA_ARGS__}, \
    .n_##name = sizeof((const sluice_expert_place[]){__VA_ARGS__}) / sizeof(sluice_expert_place)

Test(surgery, what_the_model_does_not_have_is_refused_in_one_line)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-dense-layer-f32", 1, 0); /* 3 of N experts per token, and a dense layer */
    const int n = g.info.n_experts, layers = g.info.n_layers, l = first_moe_layer(&g);
    int dense = 0;
    char text[256];
    while (has_experts(&g, dense)) dense++;
    cr_assert(dense < layers && g.info.top_k == 3);
    snprintf(text, sizeof text, "active experts: found %d, expected 1..%d, the model's experts", n + 1, n);
    expect_refused(g.engine, (sluice_expert_surgery){.active_experts = n + 1}, text);
    snprintf(text, sizeof text, "active experts: found -1, expected 1..%d, the model's experts", n);
    expect_refused(g.engine, (sluice_expert_surgery){.active_experts = -1}, text);
    snprintf(text, sizeof text, "ablate: layer %d does not exist, expected 0..%d", layers, layers - 1);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(ablate, {layers, 0})}, text);
    snprintf(text, sizeof text, "zero: layer -2 does not exist, expected 0..%d", layers - 1);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(zero, {-2, 0})}, text);
    snprintf(text, sizeof text, "force: layer %d has no experts", dense);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(force, {dense, 0})}, text);
    snprintf(text, sizeof text, "force: expert %d does not exist, expected 0..%d", n, n - 1);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(force, {l, n})}, text);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(force, {SLUICE_EVERY, n})}, text);
    snprintf(text, sizeof text, "layer %d: expert 2 is both ablated and forced", l);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(ablate, {SLUICE_EVERY, 2}), LIST(force, {l, 2})}, text);
    snprintf(text, sizeof text, "ablate: layer %d: 0 of %d experts are left, expected at least the 3 of a token", l, n);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(ablate, {l, SLUICE_EVERY})}, text);
    snprintf(text, sizeof text, "ablate: layer %d: %d of %d experts are left, expected at least the %d of a token", l,
             n - 1, n, n);
    expect_refused(g.engine, (sluice_expert_surgery){.active_experts = n, LIST(ablate, {l, 0})}, text);
    snprintf(text, sizeof text, "force: layer %d: found 4 experts, expected at most the 3 of a token", l);
    expect_refused(g.engine, (sluice_expert_surgery){LIST(force, {l, 0}, {l, 1}, {l, 2}, {l, 3}, {l, 3})}, text);
    golden_close(&g);

    golden_open(&g, "llama3-hub-bf16", 1, 0);
    expect_refused(g.engine, (sluice_expert_surgery){.dense_twin = true}, "expert surgery: this model has no experts");
    cr_expect_eq(sluice_expert_surgery_check(g.engine, &(sluice_expert_surgery){0}, &error), SLUICE_OK);
    golden_close(&g);
}
