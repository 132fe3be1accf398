#include "kl.h"

#include <stdlib.h>
#include <string.h>

#include "divergence.h"
#include "interrupt.h"
#include "output.h"
#include "sluice/experimental.h"

enum { BLOCK_BYTES = 32 << 20, MAX_BLOCK = 128 };

/* One comparison: the native logits of a block, which those of the variant meet as they come. */
struct comparison {
    float *logits; /* [n_block, vocab_size] */
    size_t vocab_size, n_tokens, block_begin;
    const int32_t *tokens;
    double kl, loss[2]; /* sums */
};

static void keep(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows, size_t width,
                 const void *data)
{
    struct comparison *c = context;
    (void)what, (void)layer;
    memcpy(c->logits + (first_position - c->block_begin) * width, data, n_rows * width * sizeof(float));
}

static void compare(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows,
                    size_t width, const void *data)
{
    struct comparison *c = context;
    (void)what, (void)layer;
    for (size_t i = 0; i < n_rows; i++) {
        const size_t position = first_position + i;
        const float *native = c->logits + (position - c->block_begin) * width;
        const float *variant = (const float *)data + i * width;
        c->kl += divergence(native, variant, width);
        if (position + 1 == c->n_tokens) continue;
        const int32_t next = c->tokens[position + 1];
        c->loss[0] += log_sum_exp(native, width) - (double)native[next];
        c->loss[1] += log_sum_exp(variant, width) - (double)variant[next];
    }
}

static sluice_status run_block(sluice_session *s, const int32_t *tokens, size_t n, sluice_error *error)
{
    if (interrupt_requested()) return set_error(error, SLUICE_CANCELLED, "cancelled");
    interrupt_watch(s);
    sluice_status status = sluice_session_prefill(s, tokens, n);
    interrupt_watch(NULL);
    return status ? set_error(error, status, "%s", sluice_session_error(s)) : SLUICE_OK;
}

sluice_status kl_between(struct kl_figures *out, sluice_session *native, sluice_session *variant, size_t vocab_size,
                         const int32_t *tokens, size_t n, size_t n_block, sluice_error *error)
{
    struct comparison c = {.vocab_size = vocab_size, .n_tokens = n, .tokens = tokens};
    sluice_session *const sides[2] = {native, variant};
    *out = (struct kl_figures){0};
    c.logits = malloc(n_block * vocab_size * sizeof *c.logits);
    sluice_status status = c.logits ? SLUICE_OK : set_error(error, SLUICE_MEMORY, "not enough memory for the KL");
    for (int i = 0; !status && i < 2; i++) {
        const sluice_observer observer = {1u << SLUICE_SEE_LOGITS, i == 0 ? keep : compare, &c};
        status = sluice_session_rewind(sides[i], 0);
        if (!status) status = sluice_session_observe(sides[i], &observer);
        if (status) set_error(error, status, "%s", sluice_session_error(sides[i]));
    }
    for (size_t done = 0; !status && done < n; done += n_block) {
        c.block_begin = done;
        const size_t n_rows = n - done < n_block ? n - done : n_block;
        for (int i = 0; !status && i < 2; i++) status = run_block(sides[i], tokens + done, n_rows, error);
    }
    for (int i = 0; i < 2; i++) sluice_session_observe(sides[i], NULL);
    free(c.logits);
    if (status) return status;
    out->n_tokens = n;
    out->kl = c.kl > 0 ? c.kl / (double)n : 0; /* it is no less, up to rounding */
    for (int i = 0; i < 2; i++) out->loss[i] = n > 1 ? c.loss[i] / (double)(n - 1) : 0;
    return SLUICE_OK;
}

/* ---- of surgery -------------------------------------------------------------------------------------------------- */

/* The model as it is beside the one that is asked for, on one engine. */
struct pair {
    sluice_session *native, *variant;
    size_t vocab_size, n_block;
};

static sluice_status open_pair(struct pair *p, const sluice_engine *engine, const struct load_options *options,
                               size_t n, sluice_error *error)
{
    sluice_model_info info;
    struct load_options native = *options;
    native.surgery = (struct surgery_flags){0};
    sluice_engine_get_info(engine, &info);
    *p = (struct pair){.vocab_size = (size_t)info.vocab_size};
    p->n_block = BLOCK_BYTES / (p->vocab_size * sizeof(float));
    p->n_block = p->n_block < 1 ? 1 : p->n_block > MAX_BLOCK ? MAX_BLOCK : p->n_block;
    if (p->n_block > n) p->n_block = n;
    sluice_status status = load_session(&p->native, engine, &native, n, p->n_block, error);
    return status ? status : load_session(&p->variant, engine, options, n, p->n_block, error);
}

static void close_pair(struct pair *p)
{
    load_free_session(&p->native);
    load_free_session(&p->variant);
}

sluice_status kl_of_surgery(struct kl_figures *out, const sluice_engine *engine, const struct load_options *options,
                            const int32_t *tokens, size_t n, sluice_error *error)
{
    struct pair p;
    *out = (struct kl_figures){0};
    if (n > KL_TOKENS) n = KL_TOKENS;
    sluice_status status = open_pair(&p, engine, options, n, error);
    if (!status) status = kl_between(out, p.native, p.variant, p.vocab_size, tokens, n, p.n_block, error);
    close_pair(&p);
    return status;
}

/* Lets the session write until there are n tokens. */
static sluice_status write_text(sluice_session *s, int32_t first, int32_t *tokens, size_t n, sluice_error *error)
{
    const sluice_sampling how = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 1};
    tokens[0] = first;
    for (size_t i = 1; i < n; i++) {
        sluice_status status = run_block(s, tokens + i - 1, 1, error);
        if (status) return status;
        tokens[i] = sluice_sample(s, &how);
        if (tokens[i] < 0) return set_error(error, SLUICE_NUMERIC, "there are no logits to sample from");
    }
    return SLUICE_OK;
}

sluice_status kl_of_own_text(struct kl_figures *out, const sluice_engine *engine, const struct load_options *options,
                             size_t n, sluice_error *error)
{
    int32_t tokens[KL_TOKENS];
    struct pair p;
    sluice_model_info info;
    *out = (struct kl_figures){0};
    sluice_engine_get_info(engine, &info);
    sluice_status status = open_pair(&p, engine, options, n, error);
    if (!status) status = write_text(p.native, info.bos_token >= 0 ? info.bos_token : 0, tokens, n, error);
    if (!status) status = kl_between(out, p.native, p.variant, p.vocab_size, tokens, n, p.n_block, error);
    close_pair(&p);
    return status;
}
