/* Owns the comparison of two models over a text. Both get the same tokens, in windows of n_window positions; within a
 * window they take turns, a block of positions each, so that the logits of one block are all that must be kept.
 *
 * Per position: KL(A||B), whether the best tokens agree, the negative log likelihood of the token that follows in the
 * text (perplexity), and for models with experts whether each layer chose the same set. */
#include "verify_models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "divergence.h"
#include "input.h"
#include "json.h"
#include "layer_order.h"
#include "load.h"
#include "output.h"
#include "progress.h"
#include "sluice/experimental.h"

enum { BLOCK_BYTES = 64 << 20, MAX_BLOCK = 256, DEFAULT_WINDOW = 512 };

/* One of the two models, and what it said about the current block. */
struct side {
    struct load_options load;
    sluice_engine *engine;
    sluice_session *session;
    sluice_model_info info;
    float *logits;    /* [n_block, vocab_size] */
    int32_t *experts; /* [n_moe_layers, n_block, top_k] */
    struct layer_order routers;
    size_t block_begin, n_block; /* position in the window of the block's first row; rows that there is room for */
    double loss;                 /* sum of negative log likelihoods */
};

struct models {
    struct side side[2];
    struct input_tokens tokens;
    size_t n_window;
    size_t vocab_size; /* common part: a padded vocabulary may be longer */
    bool compares_experts, b_is_rounded;
    char surgery[192]; /* of b, "": none */
    double *kl;        /* [n_positions] */
    size_t n_positions, n_predicted, n_top1_equal, n_choices, n_choices_equal;
};

/* ---- what a pass shows ------------------------------------------------------------------------------------------ */

static void keep(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows, size_t width,
                 const void *data)
{
    struct side *s = context;
    size_t row = first_position - s->block_begin;
    if (row + n_rows > s->n_block) return; /* cannot be: passes are as long as blocks */
    if (what == SLUICE_SEE_LOGITS) {
        memcpy(s->logits + row * width, data, n_rows * width * sizeof(float));
    } else {
        size_t order = (size_t)layer_order_of(&s->routers, layer);
        if (order >= (size_t)s->info.n_moe_layers || width != (size_t)s->info.top_k) return;
        memcpy(s->experts + (order * s->n_block + row) * width, data, n_rows * width * sizeof(int32_t));
    }
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static sluice_status open_side(struct side *s, const char *path, sluice_error *error)
{
    sluice_status status = s->engine ? SLUICE_OK : load_engine(&s->engine, path, &s->load, 0, error);
    if (status) return status;
    sluice_engine_get_info(s->engine, &s->info);
    s->info.top_k = surgery_top_k(&s->load.surgery, s->info.top_k);
    return SLUICE_OK;
}

static sluice_status check_pair(struct models *m, const struct verify_models_request *r, sluice_error *error)
{
    const sluice_model_info *a = &m->side[0].info, *b = &m->side[1].info;
    int smaller = a->vocab_size < b->vocab_size ? a->vocab_size : b->vocab_size;
    int context = a->n_context < b->n_context ? a->n_context : b->n_context;
    m->vocab_size = (size_t)smaller;
    m->compares_experts =
        a->n_experts > 0 && a->n_experts == b->n_experts && a->top_k == b->top_k && a->n_moe_layers == b->n_moe_layers;
    m->n_window = (size_t)(r->n_window ? r->n_window : context < DEFAULT_WINDOW ? context : DEFAULT_WINDOW);
    if (r->n_window > context || m->n_window < 2)
        return set_error(error, SLUICE_ARGUMENT, "-c: found %zu, these models have 2..%d positions", m->n_window,
                         context);
    return SLUICE_OK;
}

/* Both tokenizers must give the same ids: there is nothing to compare otherwise. */
static sluice_status tokenize(struct models *m, const struct verify_models_request *r, sluice_error *error)
{
    struct input_text text = {0};
    struct input_tokens other = {0};
    sluice_status status = input_read(&text, r->prompt, r->file, error);
    if (!status) status = input_tokenize(&m->tokens, m->side[0].engine, &text, SLUICE_TEXT_NO_BOS, error);
    if (!status) status = input_tokenize(&other, m->side[1].engine, &text, SLUICE_TEXT_NO_BOS, error);
    size_t n = m->tokens.count < other.count ? m->tokens.count : other.count, same = 0;
    while (!status && same < n && m->tokens.ids[same] == other.ids[same]) same++;
    if (!status && (same < m->tokens.count || same < other.count))
        status = set_error(error, SLUICE_ARGUMENT, "%s and %s: the tokenizers differ at token %zu of the text", r->a,
                           r->b, same);
    if (!status && m->tokens.count < 2)
        status = set_error(error, SLUICE_ARGUMENT, "%s: %zu tokens, expected at least 2", text.origin, m->tokens.count);
    if (!status && m->tokens.ids[0] >= (int32_t)m->vocab_size)
        status = set_error(error, SLUICE_ARGUMENT, "%s: token %d is beyond a model's vocabulary", text.origin,
                           m->tokens.ids[0]);
    input_free_tokens(&other);
    input_free(&text);
    return status;
}

static sluice_status prepare(struct side *s, const struct models *m, size_t n_block, size_t n_window,
                             sluice_error *error)
{
    sluice_observer observer = {.wanted = 1u << SLUICE_SEE_LOGITS, .see = keep, .context = s};
    s->n_block = n_block;
    s->logits = malloc(n_block * (size_t)s->info.vocab_size * sizeof *s->logits);
    if (m->compares_experts) {
        observer.wanted |= 1u << SLUICE_SEE_EXPERTS;
        s->experts = calloc(n_block * (size_t)s->info.n_moe_layers, (size_t)s->info.top_k * sizeof *s->experts);
    }
    if (!s->logits || (m->compares_experts && !s->experts))
        return set_error(error, SLUICE_MEMORY, "not enough memory to compare");
    sluice_status status = load_session(&s->session, s->engine, &s->load, n_window, n_block, error);
    if (!status) status = sluice_session_observe(s->session, &observer);
    if (status && s->session) set_error(error, status, "%s", sluice_session_error(s->session));
    return status;
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static sluice_status run_block(struct side *s, const int32_t *ids, size_t begin, size_t n, sluice_error *error)
{
    s->block_begin = begin;
    sluice_status status = sluice_session_prefill(s->session, ids, n);
    return status ? set_error(error, status, "%s", sluice_session_error(s->session)) : SLUICE_OK;
}

/* `next`: the token that follows in the window, or -1. */
static void compare_position(struct models *m, size_t row, int32_t next)
{
    const float *logits[2];
    for (int i = 0; i < 2; i++) {
        struct side *s = &m->side[i];
        logits[i] = s->logits + row * (size_t)s->info.vocab_size;
        if (next >= 0) s->loss += log_sum_exp(logits[i], m->vocab_size) - logits[i][next];
    }
    m->n_predicted += next >= 0;
    m->n_top1_equal += argmax(logits[0], m->vocab_size) == argmax(logits[1], m->vocab_size);
    m->kl[m->n_positions++] = divergence(logits[0], logits[1], m->vocab_size);
    if (!m->compares_experts) return;
    const size_t top_k = (size_t)m->side[0].info.top_k, n_block = m->side[0].n_block;
    for (size_t l = 0; l < (size_t)m->side[0].info.n_moe_layers; l++) {
        const size_t at = (l * n_block + row) * top_k; /* sets come in ascending order */
        m->n_choices++;
        m->n_choices_equal += memcmp(m->side[0].experts + at, m->side[1].experts + at, top_k * sizeof(int32_t)) == 0;
    }
}

/* One window: BOS, if the models know one and use it, and the tokens [begin, end) of the text. */
static sluice_status compare_window(struct models *m, int32_t *window, size_t n, struct progress *bar,
                                    sluice_error *error)
{
    sluice_status status = SLUICE_OK;
    for (int i = 0; !status && i < 2; i++) status = sluice_session_rewind(m->side[i].session, 0);
    for (size_t done = 0, n_rows; !status && done < n; done += n_rows) {
        n_rows = n - done < m->side[0].n_block ? n - done : m->side[0].n_block;
        for (int i = 0; !status && i < 2; i++) status = run_block(&m->side[i], window + done, done, n_rows, error);
        for (size_t row = 0; !status && row < n_rows; row++)
            compare_position(m, row, done + row + 1 < n ? window[done + row + 1] : -1);
        progress_update(bar, m->n_positions, m->tokens.count);
    }
    return status;
}

/* Does the tokenizer put BOS before a text? */
static bool begins_with_bos(const struct side *s)
{
    int32_t first = -1;
    size_t n = 0;
    sluice_error ignored;
    sluice_tokenize(s->engine, "a", 1, 0, &first, 1, &n, &ignored);
    return n > 0 && s->info.bos_token >= 0 && first == s->info.bos_token;
}

static sluice_status compare_all(struct models *m, sluice_error *error)
{
    const size_t n_window = m->n_window;
    const bool bos = begins_with_bos(&m->side[0]);
    int32_t *window = malloc(n_window * sizeof *window);
    struct progress bar = progress_begin("comparing", PROGRESS_TOKENS);
    sluice_status status =
        window ? SLUICE_OK : set_error(error, SLUICE_MEMORY, "not enough memory for a window of %zu tokens", n_window);
    for (size_t done = 0; !status && done < m->tokens.count;) {
        size_t n = 0;
        if (bos) window[n++] = m->side[0].info.bos_token;
        while (n < n_window && done < m->tokens.count) window[n++] = m->tokens.ids[done++];
        status = compare_window(m, window, n, &bar, error);
    }
    progress_end(&bar);
    free(window);
    return status;
}

/* ---- the figures ------------------------------------------------------------------------------------------------ */

struct figures {
    double mean_kl, median_kl, high_kl, max_kl, top1, perplexity[2], experts;
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct figures sum_up(struct models *m)
{
    struct figures f = {0};
    const double n = (double)m->n_positions;
    for (size_t i = 0; i < m->n_positions; i++) f.mean_kl += m->kl[i] / n;
    qsort(m->kl, m->n_positions, sizeof *m->kl, by_size);
    f.median_kl = m->kl[m->n_positions / 2];
    f.high_kl = m->kl[(size_t)(0.999 * (n - 1) + 0.5)];
    f.max_kl = m->kl[m->n_positions - 1];
    f.top1 = (double)m->n_top1_equal / n;
    for (int i = 0; i < 2; i++) f.perplexity[i] = exp(m->side[i].loss / (double)m->n_predicted);
    f.experts = m->n_choices ? 1 - (double)m->n_choices_equal / (double)m->n_choices : 0;
    return f;
}

static void print_figures(const struct models *m, const struct figures *f)
{
    const struct side *a = &m->side[0], *b = &m->side[1];
    printf("A             %s, %s, %s\n", a->info.path_name, a->info.weight_dtype,
           human_bytes((double)a->info.file_bytes).text);
    printf("B             %s, %s, %s%s\n", b->info.path_name, b->info.weight_dtype,
           human_bytes((double)(m->b_is_rounded ? b->info.weight_bytes : b->info.file_bytes)).text,
           m->b_is_rounded ? " in memory" : "");
    if (*m->surgery) printf("              with %s\n", m->surgery);
    printf("positions     %zu\n", m->n_positions);
    printf("KL(A||B)      mean %.6f, median %.6f, 99.9 %% %.6f, max %.6f nats\n", f->mean_kl, f->median_kl, f->high_kl,
           f->max_kl);
    printf("top-1         %.2f %% agree\n", 100 * f->top1);
    printf("perplexity    A %.4f, B %.4f (%+.3f %%)\n", f->perplexity[0], f->perplexity[1],
           100 * (f->perplexity[1] / f->perplexity[0] - 1));
    if (m->compares_experts)
        printf("experts       %.3f %% of %zu (token, layer) pairs chose another set\n", 100 * f->experts, m->n_choices);
    else
        printf("experts       %s\n",
               a->info.n_experts ? "not compared: the models do not have the same numbers of them" : "none");
}

static json_t *describe_figures(const struct models *m, const struct figures *f)
{
    json_t *experts = m->compares_experts ? json_real(f->experts) : json_null();
    return json_pack("{s:o, s:o, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:I}", "a",
                     json_string_or_null(m->side[0].info.path_name), "b",
                     json_string_or_null(m->side[1].info.path_name), "positions", (json_int_t)m->n_positions, "mean_kl",
                     f->mean_kl, "median_kl", f->median_kl, "kl_99_9", f->high_kl, "max_kl", f->max_kl,
                     "top1_agreement", f->top1, "perplexity_a", f->perplexity[0], "perplexity_b", f->perplexity[1],
                     "expert_sets_differ", experts, "expert_sets", (json_int_t)m->n_choices);
}

static sluice_status report(struct models *m, const struct verify_models_request *r, sluice_error *error)
{
    struct figures f = sum_up(m);
    sluice_status status = SLUICE_OK;
    if (r->json)
        status = json_print_line(describe_figures(m, &f), error);
    else
        print_figures(m, &f);
    if (!status) status = output_flush(error);
    if (!status && r->max_kl >= 0 && !(f.mean_kl <= r->max_kl))
        status =
            set_error(error, SLUICE_FORMAT, "mean KL(A||B): found %.6f, expected at most %g", f.mean_kl, r->max_kl);
    return status;
}

/* ---- all together ----------------------------------------------------------------------------------------------- */

sluice_status verify_models(const struct verify_models_request *r, sluice_error *error)
{
    struct models m = {.b_is_rounded = r->load.load_as != NULL, .side = {{.load = r->load}, {.load = r->load}}};
    surgery_describe(&r->load.surgery, m.surgery, sizeof m.surgery);
    m.side[0].load.load_as = NULL;
    m.side[0].load.surgery = (struct surgery_flags){0};
    m.side[0].load.keep_float |= !r->one_engine;
    sluice_status status = r->one_engine ? open_side(&m.side[1], r->b, error) : SLUICE_OK;
    if (r->one_engine) m.side[0].engine = m.side[1].engine;
    if (!status) status = open_side(&m.side[0], r->a, error);
    if (!status && !r->one_engine) status = open_side(&m.side[1], r->b, error);
    if (!status) status = check_pair(&m, r, error);
    if (!status) status = tokenize(&m, r, error);
    if (!status) {
        size_t larger = (size_t)(m.side[0].info.vocab_size > m.side[1].info.vocab_size ? m.side[0].info.vocab_size
                                                                                       : m.side[1].info.vocab_size);
        size_t n_block = BLOCK_BYTES / (larger * sizeof(float)), n_window = m.n_window;
        n_block = n_block < 1 ? 1 : n_block > MAX_BLOCK ? MAX_BLOCK : n_block;
        if (n_block > n_window) n_block = n_window;
        m.kl = malloc(2 * m.tokens.count * sizeof *m.kl); /* windows may add a BOS each, and have 2 tokens or more */
        if (!m.kl) status = set_error(error, SLUICE_MEMORY, "not enough memory to compare");
        for (int i = 0; !status && i < 2; i++) status = prepare(&m.side[i], &m, n_block, n_window, error);
    }
    if (!status) status = compare_all(&m, error);
    if (!status) status = report(&m, r, error);
    for (int i = 0; i < 2; i++) {
        free(m.side[i].logits);
        free(m.side[i].experts);
        load_free_session(&m.side[i].session);
    }
    if (r->one_engine) m.side[1].engine = NULL;
    for (int i = 0; i < 2; i++) sluice_engine_close(&m.side[i].engine);
    input_free_tokens(&m.tokens);
    free(m.kl);
    return status;
}
