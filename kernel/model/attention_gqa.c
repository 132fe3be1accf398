/* Grouped-query attention (Ainslie 2023; multi-head when every query head has its own key head), with RoPE and the
 * optional parts of the supported families: biases, q/k norms, clipping, a sliding window.
 *
 *   q = Wq h, k = Wk h, v = Wv h            [n_rows, heads * head_dim]
 *   q, k normalised, clipped, rotated       per head
 *   k, v appended to the cache
 *   mixed = softmax(q k^T * scale) v        online over blocks of positions, in fixed order
 *   x += Wo mixed
 */
#include <math.h>
#include <string.h>

#include "model/forward.h"

static void project(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c,
                    const float *h, struct thread *t)
{
    const struct weight *weights[3] = {&layer->q, &layer->k, &layer->v};
    float *outputs[3] = {ws->q, ws->k, ws->v};
    ptrdiff_t strides[3] = {ws->ld_q, ws->ld_kv, ws->ld_kv};
    struct operand operands[3];
    pack_group(m, ws, t, weights, 3, h, ws->ld_hidden, c->n_rows, operands);
    if (c->n_rows > 1) team_barrier(t);
    for (int i = 0; i < 3; i++) {
        int begin, end;
        team_range(t, weights[i]->n, weights[i]->layout->nr, &begin, &end);
        if (begin < end) product(outputs[i], strides[i], weights[i], &operands[i], begin, end, own_scratch(ws, t));
        if (t->id == 0) ws->bytes_read += weight_bytes(weights[i]);
    }
    team_barrier(t);
}

/* OLMoE: one norm over all heads together, before the heads are separated. */
static void norm_full_width(const struct model *m, const struct layer *layer, struct workspace *ws,
                            const struct chunk *c, struct thread *t)
{
    int begin, end;
    team_range(t, c->n_rows, 1, &begin, &end);
    for (int i = begin; i < end; i++) {
        float *q = ws->q + i * ws->ld_q, *k = ws->k + i * ws->ld_kv;
        ws->ops.rms_norm(q, q, layer->q_norm, layer->q.n, m->config.rms_norm_eps);
        ws->ops.rms_norm(k, k, layer->k_norm, layer->k.n, m->config.rms_norm_eps);
    }
    team_barrier(t);
}

/* Norm, clip and rotation of one head, in place. */
static void prepare_head(const struct model *m, const struct mixer *mixer, const struct workspace *ws, float *head,
                         const float *norm_weight, int position)
{
    const ptrdiff_t half = mixer->head_dim / 2;
    if (mixer->qk_norm == QK_NORM_PER_HEAD)
        ws->ops.rms_norm(head, head, norm_weight, mixer->head_dim, m->config.rms_norm_eps);
    if (mixer->clip_qkv > 0) ws->ops.clamp(head, mixer->clip_qkv, mixer->head_dim);
    ws->ops.rope(head, ws->cosine + position * half, ws->sine + position * half, mixer->head_dim);
}

/* Prepares the query heads of one (row, kv head) and appends its key and value. */
static void prepare(const struct model *m, const struct layer *layer, int l, struct workspace *ws,
                    const struct row *row, int i, int kv_head)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int head_dim = mixer->head_dim, group = mixer->n_heads / mixer->n_kv_heads;
    float *key = ws->k + i * ws->ld_kv + kv_head * head_dim, *value = ws->v + i * ws->ld_kv + kv_head * head_dim;
    for (int g = 0; g < group; g++)
        prepare_head(m, mixer, ws, ws->q + i * ws->ld_q + (kv_head * group + g) * head_dim, layer->q_norm,
                     row->position);
    prepare_head(m, mixer, ws, key, layer->k_norm, row->position);
    if (mixer->clip_qkv > 0) ws->ops.clamp(value, mixer->clip_qkv, head_dim);
    cache_write(&row->cache->layers[l], kv_head, row->position, key, value);
}

/* The query heads of one (row, kv head) read all visible positions, block by block. Blocks are cut at absolute
 * multiples of ATTENTION_BLOCK, so the order of sums depends on the position alone. */
static void attend(const struct mixer *mixer, int l, struct workspace *ws, const struct row *row, int i, int kv_head,
                   struct thread *t)
{
    const int head_dim = mixer->head_dim, group = mixer->n_heads / mixer->n_kv_heads;
    const int first = mixer->window && row->position >= mixer->window ? row->position - mixer->window + 1 : 0;
    const struct cache_layer *cache = &row->cache->layers[l];
    float *own = ws->own_scores + (size_t)t->id * ws->own_scores_floats;
    float *max = own + (size_t)group * ATTENTION_BLOCK, *sum = max + group, *out = sum + group;
    for (int g = 0; g < group; g++) {
        max[g] = -INFINITY;
        sum[g] = 0;
    }
    memset(out, 0, (size_t)group * (size_t)head_dim * sizeof *out);
    for (int start = first - first % ATTENTION_BLOCK; start <= row->position; start += ATTENTION_BLOCK) {
        int last = row->position + 1 - start;
        struct attention_block block = {
            .q = ws->q + i * ws->ld_q + (ptrdiff_t)kv_head * group * head_dim,
            .q_stride = head_dim,
            .k = cache_keys(cache, kv_head, start),
            .v = cache_values(cache, kv_head, start),
            .v_stride = head_dim,
            .n_q = group,
            .head_dim = head_dim,
            .v_head_dim = head_dim,
            .first = first > start ? first - start : 0,
            .last = last < ATTENTION_BLOCK ? last : ATTENTION_BLOCK,
            .scale = mixer->scale,
            .scores = own,
            .out = out,
            .out_stride = head_dim,
            .max = max,
            .sum = sum,
        };
        ws->ops.attention(&block);
    }
    float *mixed = ws->mixed + i * ws->ld_q + (ptrdiff_t)kv_head * group * head_dim;
    for (int g = 0; g < group; g++)
        for (int d = 0; d < head_dim; d++) mixed[g * head_dim + d] = out[g * head_dim + d] / sum[g];
}

static void project_output(const struct model *m, const struct layer *layer, struct workspace *ws,
                           const struct chunk *c, struct thread *t)
{
    const struct weight *weights[1] = {&layer->o};
    struct operand o;
    pack_group(m, ws, t, weights, 1, ws->mixed, ws->ld_q, c->n_rows, &o);
    if (c->n_rows > 1) team_barrier(t);
    int begin, end;
    team_range(t, layer->o.n, layer->o.layout->nr, &begin, &end);
    if (begin < end) {
        product(ws->branch, ws->ld_hidden, &layer->o, &o, begin, end, own_scratch(ws, t));
        add_branch(ws, c->n_rows, begin, end);
    }
    if (t->id == 0) ws->bytes_read += weight_bytes(&layer->o);
    team_barrier(t);
}

void attention_gqa(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                   const float *h, struct thread *t)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int n_pieces = c->n_rows * mixer->n_kv_heads;
    int begin, end;
    project(m, layer, ws, c, h, t);
    if (mixer->qk_norm == QK_NORM_FULL) norm_full_width(m, layer, ws, c, t);

    /* A piece is one kv head of one row; pieces of one head are far apart in memory. With one row the thread that
     * appends a key is the one that reads it, otherwise all keys of the chunk must be there first. */
    team_range(t, n_pieces, 1, &begin, &end);
    for (int p = begin; p < end; p++)
        prepare(m, layer, l, ws, &c->rows[p / mixer->n_kv_heads], p / mixer->n_kv_heads, p % mixer->n_kv_heads);
    if (t->id == 0) team_reset_counters(t);
    if (c->n_rows > 1) {
        team_barrier(t);
        /* Later rows see more positions: whoever is free takes the next. */
        for (int p; (p = team_next(t, 0)) < n_pieces;)
            attend(mixer, l, ws, &c->rows[p / mixer->n_kv_heads], p / mixer->n_kv_heads, p % mixer->n_kv_heads, t);
    } else {
        for (int p = begin; p < end; p++) attend(mixer, l, ws, c->rows, 0, p, t);
    }
    if (t->id == 0)
        for (int i = 0; i < c->n_rows; i++) {
            int visible = c->rows[i].position + 1;
            if (mixer->window && visible > mixer->window) visible = mixer->window;
            ws->bytes_read += 2 * sizeof(float) * (uint64_t)visible * (uint64_t)(mixer->n_kv_heads * mixer->head_dim);
        }
    team_barrier(t);
    project_output(m, layer, ws, c, t);
}
