#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int golden_names(char names[MAX_CASES][64])
{
    FILE *file = fopen(SLUICE_TEST_DIR "/golden/models/cases.txt", "r");
    int n = 0;
    cr_assert_not_null(file, "cases.txt");
    while (n < MAX_CASES && fscanf(file, "%63s", names[n]) == 1) n++;
    fclose(file);
    cr_assert_geq(n, 20);
    return n;
}

void golden_open(struct golden *g, const char *name, int n_threads, unsigned flags)
{
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    o.n_threads = n_threads;
    o.flags = flags;
    *g = (struct golden){0};
    snprintf(g->path, sizeof g->path, "%s/golden/models/%s", SLUICE_TEST_DIR, name);
    cr_assert_eq(sluice_engine_open(&g->engine, g->path, &o, &error), SLUICE_OK, "%s: %s", name, error.text);
    sluice_engine_get_info(g->engine, &g->info);
    snprintf(g->path, sizeof g->path, "%s/golden/models/%s/expected.safetensors", SLUICE_TEST_DIR, name);
    cr_assert_eq(sluice_arrays_open(&g->arrays, g->path, &error), SLUICE_OK, "%s: %s", name, error.text);
    struct array tokens = golden_ints(g, "tokens");
    g->tokens = tokens.i;
    g->n_tokens = tokens.n;
    cr_assert_geq(g->n_tokens, 20);
}

void golden_close(struct golden *g)
{
    free(g->tokens);
    sluice_arrays_close(&g->arrays);
    sluice_engine_close(&g->engine);
}

static size_t count(struct array *a, size_t n_dims)
{
    a->n = 1;
    for (size_t i = 0; i < n_dims; i++) a->n *= a->shape[i];
    return a->n;
}

struct array golden_floats(const struct golden *g, const char *name)
{
    struct array a = {0};
    size_t n_dims = 3;
    if (sluice_arrays_get_float(g->arrays, name, &a.f, a.shape, &n_dims, NULL) == SLUICE_OK) count(&a, n_dims);
    return a;
}

struct array golden_ints(const struct golden *g, const char *name)
{
    struct array a = {0};
    size_t n_dims = 3;
    if (sluice_arrays_get_int(g->arrays, name, &a.i, a.shape, &n_dims, NULL) == SLUICE_OK) count(&a, n_dims);
    return a;
}

void array_free(struct array *a)
{
    free(a->f);
    free(a->i);
}

static void see(void *context, sluice_observation what, int layer, size_t first, size_t n_rows, size_t width,
                const void *data)
{
    struct seen *s = context;
    size_t moe = layer < 0 || s->moe_index[layer] < 0 ? 0 : (size_t)s->moe_index[layer];
    size_t row = (layer < 0 ? 0 : (size_t)layer) * s->n_tokens + first, moe_row = moe * s->n_tokens + first;
    void *target = NULL;
    size_t expected_width = 0;
    switch (what) {
    case SLUICE_SEE_LOGITS:
        target = s->logits + first * width;
        expected_width = s->vocab_size;
        break;
    case SLUICE_SEE_ATTENTION:
        target = s->attention + row * width;
        expected_width = s->hidden_size;
        break;
    case SLUICE_SEE_FFN:
        target = s->ffn + row * width;
        expected_width = s->hidden_size;
        break;
    case SLUICE_SEE_HIDDEN:
        target = s->hidden + row * width;
        expected_width = s->hidden_size;
        break;
    case SLUICE_SEE_ROUTER_SCORES:
        target = s->router_scores + moe_row * width;
        expected_width = s->n_experts;
        break;
    case SLUICE_SEE_EXPERTS:
        target = s->experts + moe_row * width;
        expected_width = s->top_k;
        break;
    case SLUICE_SEE_EXPERT_WEIGHTS:
        target = s->expert_weights + moe_row * width;
        expected_width = s->top_k;
        break;
    case SLUICE_N_OBSERVATIONS: break;
    }
    cr_assert_eq(width, expected_width, "observation %d: width %zu, expected %zu", (int)what, width, expected_width);
    memcpy(target, data, n_rows * width * 4);
}

void golden_run(struct golden *g, int chunk, struct seen *s)
{
    const sluice_model_info *info = &g->info;
    *s = (struct seen){.n_tokens = g->n_tokens,
                       .hidden_size = (size_t)info->hidden_size,
                       .vocab_size = (size_t)info->vocab_size,
                       .n_experts = (size_t)info->n_experts,
                       .top_k = (size_t)info->top_k,
                       .n_layers = (size_t)info->n_layers};
    for (int l = 0; l < info->n_layers; l++) {
        char text[512];
        sluice_engine_get_layer(g->engine, l, text, sizeof text);
        s->moe_index[l] = strstr(text, "experts x") ? (int)s->n_moe_layers++ : -1;
        s->cut_rounds |= strstr(text, "latent attention") || strstr(text, "gated delta");
    }
    size_t wide = s->n_layers * s->n_tokens * s->hidden_size + 1, moe = s->n_moe_layers * s->n_tokens;
    s->logits = calloc(s->n_tokens * s->vocab_size, 4);
    s->attention = calloc(wide, 4);
    s->ffn = calloc(wide, 4);
    s->hidden = calloc(wide, 4);
    s->router_scores = calloc(moe * s->n_experts + 1, 4);
    s->expert_weights = calloc(moe * s->top_k + 1, 4);
    s->experts = calloc(moe * s->top_k + 1, 4);
    sluice_session *session = new_session(g->engine, (int)g->n_tokens, chunk);
    sluice_observer observer = {(1u << SLUICE_N_OBSERVATIONS) - 1, see, s};
    cr_assert_eq(sluice_session_observe(session, &observer), SLUICE_OK);
    cr_assert_eq(sluice_session_prefill(session, g->tokens, g->n_tokens), SLUICE_OK, "%s",
                 sluice_session_error(session));
    sluice_session_free(&session);
}

void seen_free(struct seen *s)
{
    free(s->logits);
    free(s->attention);
    free(s->ffn);
    free(s->hidden);
    free(s->router_scores);
    free(s->expert_weights);
    free(s->experts);
}

double nmse(const float *found, const float *expected, size_t n)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)found[i] - (double)expected[i];
        error += d * d;
        power += (double)expected[i] * (double)expected[i];
    }
    return power > 0 ? error / power : error;
}

double max_difference(const float *found, const float *expected, size_t n)
{
    double max = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)found[i] - (double)expected[i]);
        if (!(d <= max)) max = d;
    }
    return max;
}

sluice_session *new_session(const sluice_engine *e, int n_context, int n_chunk)
{
    sluice_session *session;
    sluice_error error = {0};
    sluice_session_options o = sluice_session_options_default();
    o.n_context = n_context;
    o.n_chunk = n_chunk;
    o.cache_type = "f32"; /* what is compared here knows no rounding */
    cr_assert_eq(sluice_session_create(&session, e, &o, &error), SLUICE_OK, "%s", error.text);
    return session;
}
