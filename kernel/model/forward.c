/* The forward pass: the file to read first.
 *
 * Every thread of the team runs forward() and does its share in each call. One rule keeps it correct: a block that
 * writes x ends with the team's barrier. Decode is n_rows == 1, prefill is n_rows > 1; nothing else differs here.
 *
 *   x       [n_rows, hidden_size]   the residual stream
 *   h       [n_rows, hidden_size]   its normalised copy, which mixer and FFN read
 *   branch  [n_rows, hidden_size]   what they give back, added into x
 *
 * Read next: attention_gqa.c (how tokens see each other), router.c (which experts), experts.c (the experts). */
#include "model/forward.h"

#include <math.h>
#include <string.h>

/* x = E[token] * embedding_scale */
static void embed_tokens(const struct model *m, struct workspace *ws, const struct chunk *c, struct thread *t)
{
    int begin, end;
    trace_mark(t, TRACE_EMBED);
    team_range(t, c->n_rows, 1, &begin, &end);
    for (int i = begin; i < end; i++) {
        float *x = ws->x + i * ws->ld_hidden;
        m->embedding.layout->get_row(x, m->embedding.data, c->rows[i].token, m->config.hidden_size);
        if (m->config.embedding_scale != 1) ws->ops.scale(x, m->config.embedding_scale, m->config.hidden_size);
    }
    team_barrier(t);
}

/* y = rms_norm(x) * weight, of one row. */
static void norm_row(const struct model *m, const struct workspace *ws, float *y, const float *x, const float *weight)
{
    ws->ops.rms_norm(y, x, weight, m->config.hidden_size, m->config.rms_norm_eps);
}

/* out = rms_norm(x) * weight * factor. One row: every thread makes its own copy, which is cheaper than waiting. */
static const float *norm_into(float *out, float *own, const struct model *m, const float *weight, float factor,
                              const struct workspace *ws, const struct chunk *c, struct thread *t)
{
    int begin = 0, end = 1;
    float *y = own + t->id * ws->ld_hidden;
    trace_mark(t, TRACE_NORM);
    if (c->n_rows > 1) {
        team_range(t, c->n_rows, 1, &begin, &end);
        y = out;
    }
    for (int i = begin; i < end; i++) {
        norm_row(m, ws, y + i * ws->ld_hidden, ws->x + i * ws->ld_hidden, weight);
        if (factor != 1) ws->ops.scale(y + i * ws->ld_hidden, factor, m->config.hidden_size);
    }
    if (c->n_rows > 1) team_barrier(t);
    return y;
}

/* h = rms_norm(x) * weight */
static const float *norm(const struct model *m, const float *weight, struct workspace *ws, const struct chunk *c,
                         struct thread *t)
{
    return norm_into(ws->h, ws->own_h, m, weight, 1, ws, c, t);
}

/* What the router reads: h, or x with a norm of its own (Gemma 4). */
static const float *router_input(const struct model *m, const struct layer *layer, struct workspace *ws,
                                 const struct chunk *c, const float *h, struct thread *t)
{
    if (layer->config->router.input == INPUT_NORMED) return h;
    const float factor = (float)(1 / sqrt((double)m->config.hidden_size));
    return norm_into(ws->router_in, ws->own_router_in, m, layer->router_scale, factor, ws, c, t);
}

/* x += rms_norm(branch) * weight, where the block has left that to us (Gemma 2). */
static void add_normed_branch(const struct model *m, const struct layer *layer, const float *weight,
                              struct workspace *ws, const struct chunk *c, struct thread *t)
{
    if (!layer->config->post_norms) return;
    int begin, end;
    trace_mark(t, TRACE_NORM);
    team_range(t, c->n_rows, 1, &begin, &end);
    for (int i = begin; i < end; i++) {
        float *branch = ws->branch + i * ws->ld_hidden;
        norm_row(m, ws, branch, branch, weight);
        ws->ops.add(ws->x + i * ws->ld_hidden, branch, m->config.hidden_size);
    }
    team_barrier(t);
}

static void mix_tokens(const struct model *m, const struct layer *layer, int l, struct workspace *ws,
                       const struct chunk *c, const float *h, struct thread *t)
{
    switch (layer->config->mixer.kind) {
    case MIX_GQA: attention_gqa(m, layer, l, ws, c, h, t); break;
    case MIX_MLA: attention_mla(m, layer, l, ws, c, h, t); break;
    case MIX_DELTA: delta_net(m, layer, l, ws, c, h, t); break;
    case MIX_CONV: short_conv(m, layer, l, ws, c, h, t); break;
    }
    add_normed_branch(m, layer, layer->mixer_post_norm, ws, c, t);
    observe(c, t, SEE_ATTENTION, l, ws->branch, ws->ld_hidden, m->config.hidden_size);
}

/* branch = rms_norm(mlp(h)) * w + rms_norm(experts(h')) * w', both read x, each through a norm of its own (Gemma 4). A
 * thread normalises the same rows each time, so nobody waits for them. */
static void mlp_beside_experts(const struct model *m, const struct layer *layer, int l, struct workspace *ws,
                               const struct chunk *c, const float *h, struct thread *t)
{
    const ptrdiff_t ld = ws->ld_hidden;
    int begin, end;
    team_range(t, c->n_rows, 1, &begin, &end);

    mlp(m, layer, ws, c, h, t);
    trace_mark(t, TRACE_NORM);
    for (int i = begin; i < end; i++) norm_row(m, ws, ws->beside + i * ld, ws->branch + i * ld, layer->mlp_post_norm);

    h = norm(m, layer->moe_norm, ws, c, t);
    experts(m, layer, l, ws, c, h, router_input(m, layer, ws, c, h, t), t);
    trace_mark(t, TRACE_NORM);
    for (int i = begin; i < end; i++) {
        norm_row(m, ws, ws->branch + i * ld, ws->branch + i * ld, layer->moe_post_norm);
        ws->ops.add(ws->branch + i * ld, ws->beside + i * ld, m->config.hidden_size);
    }
}

static void feed_forward(const struct model *m, const struct layer *layer, int l, struct workspace *ws,
                         const struct chunk *c, const float *h, struct thread *t)
{
    switch (layer->config->ffn.kind) {
    case FFN_DENSE: mlp(m, layer, ws, c, h, t); break;
    case FFN_MOE: experts(m, layer, l, ws, c, h, router_input(m, layer, ws, c, h, t), t); break;
    case FFN_DENSE_AND_MOE: mlp_beside_experts(m, layer, l, ws, c, h, t); break;
    }
    add_normed_branch(m, layer, layer->ffn_post_norm, ws, c, t);
    observe(c, t, SEE_FFN, l, ws->branch, ws->ld_hidden, m->config.hidden_size);
}

/* x *= layer_scale, one number (Gemma 4). */
static void scale_layer(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c,
                        struct thread *t)
{
    if (!layer->config->layer_scale) return;
    int begin, end;
    trace_mark(t, TRACE_NORM);
    team_range(t, c->n_rows, 1, &begin, &end);
    for (int i = begin; i < end; i++)
        ws->ops.scale(ws->x + i * ws->ld_hidden, *layer->layer_scale, m->config.hidden_size);
    team_barrier(t);
}

/* 0 if n floats are finite. Sixteen at a time, which compilers turn into vectors. */
static uint32_t find_not_finite(const float *x, int n)
{
    enum { LANES = 16 };
    const uint32_t infinity = 0x7f800000;
    uint32_t bits[LANES], found[LANES] = {0};
    for (int i = 0; i < n; i += LANES) {
        const int left = n - i < LANES ? n - i : LANES;
        memset(bits, 0, sizeof bits);
        memcpy(bits, x + i, (size_t)left * sizeof *x);
        for (int j = 0; j < LANES; j++) found[j] |= (bits[j] & infinity) == infinity;
    }
    for (int j = 1; j < LANES; j++) found[0] |= found[j];
    return found[0];
}

/* Copies the outputs [begin, end) of one row's logits to whoever wants them, looking for NaN and infinity. */
static void deliver_logits(struct workspace *ws, const float *logits, float *out, int begin, int end)
{
    if (find_not_finite(logits + begin, end - begin))
        atomic_store_explicit(&ws->not_finite, true, memory_order_relaxed);
    if (out) memcpy(out + begin, logits + begin, (size_t)(end - begin) * sizeof *out);
}

/* The outputs that this thread takes of the logits of the rows at hand. */
static void head_product(const struct model *m, struct workspace *ws, const struct chunk *c, const int *rows,
                         const struct operand *o, struct thread *t)
{
    const int nr = m->head.layout->nr, n = m->head.n;
    struct share s = {.n_units = n_tiles(n, nr), .n_blocks = 1};
    while (next_share(&s, t, 0, most_units(nr))) {
        const int begin = s.begin * nr, end = s.end * nr < n ? s.end * nr : n;
        product(ws->logits, ws->ld_vocab, &m->head, o, begin, end, own_scratch(ws, t));
        for (int j = 0; j < o->m; j++) {
            float *logits = ws->logits + j * ws->ld_vocab;
            if (m->config.final_softcap > 0) ws->ops.softcap(logits + begin, m->config.final_softcap, end - begin);
            deliver_logits(ws, logits, c->rows[rows[j]].logits, begin, end);
        }
    }
    count_product(ws, t, TRACE_HEAD, &m->head, o);
}

/* logits = head . rms_norm(x), capped if the model says so, for the rows that want them, LOGIT_ROWS at a time. Of a
 * single row every thread normalises and packs a copy of its own. */
static void compute_logits(const struct model *m, struct workspace *ws, const struct chunk *c, struct thread *t)
{
    const bool see_all = (c->observer && (c->observer->wanted & 1u << SEE_LOGITS)) || ws->collector;
    const struct weight *head = &m->head;
    for (int i = 0; i < c->n_rows;) {
        int rows[LOGIT_ROWS], n_rows = 0, begin, end;
        struct operand o;
        for (; i < c->n_rows && n_rows < LOGIT_ROWS; i++)
            if (see_all || c->rows[i].logits) rows[n_rows++] = i;
        if (n_rows == 0) break;
        trace_mark(t, TRACE_HEAD);
        const bool own = n_rows == 1;
        float *h = own ? ws->own_h + t->id * ws->ld_hidden : ws->h;
        team_range(t, n_rows, 1, &begin, &end);
        for (int j = own ? 0 : begin; j < (own ? 1 : end); j++)
            norm_row(m, ws, h + j * ws->ld_hidden, ws->x + rows[j] * ws->ld_hidden, m->final_norm);
        if (!own) team_barrier(t);
        pack_group(m, ws, t, &head, 1, h, ws->ld_hidden, n_rows, &o);
        if (!own) team_barrier(t);
        head_product(m, ws, c, rows, &o, t);
        if (see_all) {
            struct chunk seen = *c;
            seen.rows = c->rows + rows[0];
            seen.n_rows = n_rows;
            observe(&seen, t, SEE_LOGITS, -1, ws->logits, ws->ld_vocab, m->config.vocab_size);
        }
        team_barrier(t);
    }
}

enum half { MIXER, FEED_FORWARD };

/* Thread 0 asks before each half of a layer whether to go on and everybody obeys after the half, whose barriers lie
 * between: so all leave at the same place. One answer per half, because thread 0 may ask for the next half while others
 * still read. */
static void ask_whether_cancelled(struct workspace *ws, const struct chunk *c, enum half half, struct thread *t)
{
    if (t->id != 0) return;
    bool cancelled = false;
    for (int i = 0; i < c->n_rows; i++)
        cancelled |= c->rows[i].cancel && atomic_load_explicit(c->rows[i].cancel, memory_order_relaxed);
    ws->cancelled[half] = cancelled;
}

void forward(const struct model *m, struct workspace *ws, const struct chunk *c, struct thread *t)
{
    embed_tokens(m, ws, c, t);

    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *layer = &m->layers[l];
        const float *h;
        trace_layer(t, l);
        ask_whether_cancelled(ws, c, MIXER, t);
        h = norm(m, layer->mixer_norm, ws, c, t);
        mix_tokens(m, layer, l, ws, c, h, t); /* x += attention(h)                                */
        if (ws->cancelled[MIXER]) return;

        ask_whether_cancelled(ws, c, FEED_FORWARD, t);
        h = norm(m, layer->ffn_norm, ws, c, t);
        feed_forward(m, layer, l, ws, c, h, t); /* x += mlp(h), or x += sum over experts p_e E_e(h) */
        scale_layer(m, layer, ws, c, t);

        observe(c, t, SEE_HIDDEN, l, ws->x, ws->ld_hidden, m->config.hidden_size);
        if (ws->cancelled[FEED_FORWARD]) return;
    }

    trace_layer(t, -1);
    compute_logits(m, ws, c, t);
}

int chunk_run_end(const struct chunk *c, int first)
{
    int end = first + 1;
    while (end < c->n_rows && c->rows[end].cache == c->rows[first].cache) end++;
    return end;
}

int chunk_n_runs(const struct chunk *c)
{
    int n = 0;
    for (int i = 0; i < c->n_rows; i = chunk_run_end(c, i)) n++;
    return n;
}

void project_branch(const struct model *m, const struct layer *layer, const struct weight *w, const float *x,
                    ptrdiff_t ldx, struct workspace *ws, const struct chunk *c, struct thread *t)
{
    struct operand o;
    trace_mark(t, TRACE_MIXER_OUT);
    pack_group(m, ws, t, &w, 1, x, ldx, c->n_rows, &o);
    if (c->n_rows > 1) team_barrier(t);
    add_product(layer, w, &o, ws, TRACE_MIXER_OUT, t);
}

void add_product(const struct layer *layer, const struct weight *w, const struct operand *o, struct workspace *ws,
                 enum trace_op op, struct thread *t)
{
    const int nr = w->layout->nr;
    struct share s = {.n_units = n_tiles(w->n, nr), .n_blocks = operand_blocks(o)};
    while (next_share(&s, t, 0, most_units(nr))) {
        const int begin = s.begin * nr, end = s.end * nr < w->n ? s.end * nr : w->n, row0 = s.block0 * ROW_BLOCK;
        const struct operand part = operand_part(o, s.block0, s.block1);
        product(ws->branch + row0 * ws->ld_hidden, ws->ld_hidden, w, &part, begin, end, own_scratch(ws, t));
        add_branch(layer, ws, row0, row0 + part.m, begin, end);
    }
    count_product(ws, t, op, w, o);
    team_barrier(t);
}

void add_branch(const struct layer *layer, struct workspace *ws, int row0, int row1, int begin, int end)
{
    if (layer->config->post_norms) return; /* add_normed_branch() needs whole rows: it adds them after the block */
    for (int i = row0; i < row1; i++)
        ws->ops.add(ws->x + i * ws->ld_hidden + begin, ws->branch + i * ws->ld_hidden + begin, end - begin);
}

void observe(const struct chunk *c, struct thread *t, enum observation what, int layer, const void *data, ptrdiff_t ld,
             int width)
{
    if (!c->observer || !(c->observer->wanted & 1u << what)) return;
    trace_mark(t, TRACE_OBSERVE);
    team_barrier(t);
    if (t->id == 0)
        c->observer->see(c->observer->context, what, layer, c->rows[0].position, data, ld, c->n_rows, width);
    team_barrier(t);
}
