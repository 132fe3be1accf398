/* Grouped-query attention (Ainslie 2023; multi-head when every query head has its own key head), with RoPE and the
 * optional parts of the supported families: biases, norms of q, k and v, clipping, a sliding window, capped scores,
 * sinks, a gate.
 *
 *   q = Wq h, k = Wk h, v = Wv h            [n_rows, heads * head_dim]; v may be k
 *   q, k normalised, clipped, rotated       per head
 *   k, v appended to the cache
 *   mixed = softmax(q k^T * scale) v        online over blocks of positions, in fixed order
 *   mixed *= sigmoid(gate)                  where q has a gate beside each query
 *   x += Wo mixed
 */
#include <math.h>
#include <string.h>

#include "model/forward.h"

static void project_qkv(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c,
                        const float *h, struct thread *t)
{
    const struct weight *weights[3] = {&layer->q, &layer->k, &layer->v};
    float *outputs[3] = {ws->q, ws->k, ws->v};
    const ptrdiff_t strides[3] = {ws->ld_q, ws->ld_kv, ws->ld_v};
    const int n_weights = layer->config->mixer.v_is_k ? 2 : 3;
    project(m, ws, t, weights, n_weights, h, ws->ld_hidden, c->n_rows, outputs, strides);
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

/* Floats from one query head to the next. */
static int query_stride(const struct mixer *mixer)
{
    return mixer->output_gate ? 2 * mixer->head_dim : mixer->head_dim;
}

/* Norm, clip and rotation of one head, in place. */
static void prepare_head(const struct model *m, const struct mixer *mixer, const struct workspace *ws, float *head,
                         const float *norm_weight, int position)
{
    const int n_rot = m->config.rope[mixer->rope].n_rot;
    const ptrdiff_t at = (ptrdiff_t)position * (n_rot / 2);
    if (mixer->qk_norm == QK_NORM_PER_HEAD)
        ws->ops.rms_norm(head, head, norm_weight, mixer->head_dim, m->config.rms_norm_eps);
    if (mixer->clip_qkv > 0) ws->ops.clamp(head, mixer->clip_qkv, mixer->head_dim);
    if (n_rot > 0) ws->ops.rope(head, ws->cosine[mixer->rope] + at, ws->sine[mixer->rope] + at, n_rot);
}

static void prepare_value(const struct model *m, const struct mixer *mixer, const struct workspace *ws, float *value)
{
    if (mixer->v_norm) ws->ops.rms_norm(value, value, NULL, mixer->v_head_dim, m->config.rms_norm_eps);
    if (mixer->clip_qkv > 0) ws->ops.clamp(value, mixer->clip_qkv, mixer->v_head_dim);
}

/* Prepares the query heads of one (row, kv head) and appends its key and value. */
static void prepare(const struct model *m, const struct layer *layer, int l, struct workspace *ws,
                    const struct row *row, int i, int kv_head)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int group = mixer->n_heads / mixer->n_kv_heads;
    float *key = ws->k + i * ws->ld_kv + kv_head * mixer->head_dim;
    float *value = ws->v + i * ws->ld_v + kv_head * mixer->v_head_dim;
    if (mixer->v_is_k) memcpy(value, key, (size_t)mixer->v_head_dim * sizeof *value); /* before k is normalised */
    for (int g = 0; g < group; g++)
        prepare_head(m, mixer, ws, ws->q + i * ws->ld_q + (kv_head * group + g) * query_stride(mixer), layer->q_norm,
                     row->position);
    prepare_head(m, mixer, ws, key, layer->k_norm, row->position);
    prepare_value(m, mixer, ws, value);
    cache_write(&row->cache->layers[l], kv_head, row->position, key, value);
}

/* mixed = out / sum, the end of the softmax. A sink is one more position whose value is zero: sum += exp(sink - max).
 * That exponential may be beyond all floats, so out and sum are first multiplied by 1 / (1 + exp(sink - max)), which is
 * the first of softmax(max, sink). `pair`: scratch. */
static void divide_out(const struct workspace *ws, const float *sink, float max, float sum, float *pair, float *mixed,
                       const float *out, int n)
{
    float share = 1;
    if (sink) {
        pair[0] = max;
        pair[1] = *sink;
        ws->ops.softmax(pair, 2);
        share = pair[0];
        sum = sum * pair[0] + pair[1];
    }
    for (int d = 0; d < n; d++) mixed[d] = out[d] * share / sum;
}

/* The query heads of one (row, kv head) read all visible positions, block by block. Blocks are cut at absolute
 * multiples of ATTENTION_BLOCK, so the order of sums depends on the position alone. */
static void attend(const struct layer *layer, int l, struct workspace *ws, const struct row *row, int i, int kv_head,
                   struct thread *t)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int group = mixer->n_heads / mixer->n_kv_heads, v_head_dim = mixer->v_head_dim;
    const int first = mixer->window && row->position >= mixer->window ? row->position - mixer->window + 1 : 0;
    const struct cache_layer *cache = &row->cache->layers[l];
    float *q = ws->q + i * ws->ld_q + (ptrdiff_t)kv_head * group * query_stride(mixer);
    float *mixed = ws->mixed + i * ws->ld_mixed + (ptrdiff_t)kv_head * group * v_head_dim;
    float *own = ws->own_scores + (size_t)t->id * ws->own_scores_floats;
    float *max = own + (size_t)group * ATTENTION_BLOCK, *sum = max + group, *out = sum + group;
    for (int g = 0; g < group; g++) {
        max[g] = -INFINITY;
        sum[g] = 0;
    }
    memset(out, 0, (size_t)group * (size_t)v_head_dim * sizeof *out);
    for (int start = first - first % ATTENTION_BLOCK; start <= row->position; start += ATTENTION_BLOCK) {
        int last = row->position + 1 - start;
        struct attention_block block = {
            .q = q,
            .q_stride = query_stride(mixer),
            .k = cache_keys(cache, kv_head, start),
            .v = cache_values(cache, kv_head, start),
            .v_stride = v_head_dim,
            .n_q = group,
            .head_dim = mixer->head_dim,
            .v_head_dim = v_head_dim,
            .first = first > start ? first - start : 0,
            .last = last < ATTENTION_BLOCK ? last : ATTENTION_BLOCK,
            .scale = mixer->scale,
            .softcap = mixer->softcap,
            .scores = own,
            .out = out,
            .out_stride = v_head_dim,
            .max = max,
            .sum = sum,
        };
        ws->ops.attention(&block);
    }
    for (int g = 0; g < group; g++) {
        const float *sink = mixer->sinks ? &layer->sinks[kv_head * group + g] : NULL;
        divide_out(ws, sink, max[g], sum[g], own, mixed + g * v_head_dim, out + g * v_head_dim, v_head_dim);
        if (mixer->output_gate) {
            float *gate = q + g * query_stride(mixer) + mixer->head_dim;
            ws->ops.sigmoid(gate, v_head_dim);
            ws->ops.mul(mixed + g * v_head_dim, gate, v_head_dim);
        }
    }
}

void attention_gqa(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                   const float *h, struct thread *t)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int n_pieces = c->n_rows * mixer->n_kv_heads;
    int begin, end;
    project_qkv(m, layer, ws, c, h, t);
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
            attend(layer, l, ws, &c->rows[p / mixer->n_kv_heads], p / mixer->n_kv_heads, p % mixer->n_kv_heads, t);
    } else {
        for (int p = begin; p < end; p++) attend(layer, l, ws, c->rows, 0, p, t);
    }
    if (t->id == 0)
        for (int i = 0; i < c->n_rows; i++) {
            int visible = c->rows[i].position + 1;
            if (mixer->window && visible > mixer->window) visible = mixer->window;
            ws->bytes_read += sizeof(float) * (uint64_t)visible *
                              (uint64_t)(mixer->n_kv_heads * (mixer->head_dim + mixer->v_head_dim));
        }
    team_barrier(t);
    project_branch(m, layer, &layer->o, ws->mixed, ws->ld_mixed, ws, c, t);
}
