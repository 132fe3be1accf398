/* Grouped-query attention (Ainslie 2023; multi-head when every query head has its own key head), with RoPE and the
 * optional parts of the supported families: biases, norms of q, k and v, clipping, a sliding window, capped scores,
 * sinks, a gate.
 *
 *   q = Wq h, k = Wk h, v = Wv h            [n_rows, heads * head_dim]; v may be k
 *   q, k normalised, clipped, rotated       per head
 *   k, v appended to the cache
 *   mixed = softmax(q k^T * scale) v        per block of positions, then merged in ascending order
 *   mixed *= sigmoid(gate)                  where q has a gate beside each query
 *   x += Wo mixed
 *
 * A piece of work is some rows of one session and one kv head: all their queries read each key and value once. Where
 * there are too few of these for the threads, each block of positions is a piece of its own. Blocks are cut at absolute
 * multiples of ATTENTION_BLOCK, so a row's result depends on its position alone. */
#include <limits.h>
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
    project(m, ws, t, TRACE_QKV, weights, n_weights, h, ws->ld_hidden, c->n_rows, outputs, strides);
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

/* ---- room -------------------------------------------------------------------------------------------------------- */

enum {
    PIECE_QUERIES = 64, /* or one group: enough to read keys and values seldom, few enough for L2 */
    MAX_SPLIT_ROWS = 8, /* of a pass whose blocks are pieces: the room for their results grows with the context */
};

/* A thread's buffers for n_queries. */
struct own {
    float *scratch;                           /* of ops.attention */
    float *block_out, *out;                   /* [n_queries, ld] of one block, and of all until now */
    float *block_max, *block_sum, *max, *sum; /* [n_queries] */
    ptrdiff_t ld;
};

static int group_of(const struct mixer *mixer) { return mixer->n_heads / mixer->n_kv_heads; }

/* Places the buffers of a layer in `base` (NULL: only counts) and gives their floats. */
static size_t place(struct own *own, const struct mixer *mixer, float *base)
{
    const int queries = group_of(mixer) > PIECE_QUERIES ? group_of(mixer) : PIECE_QUERIES;
    const size_t n = (size_t)pad16(queries), ld = (size_t)pad16(mixer->v_head_dim);
    const size_t scratch = (attention_scratch_floats(queries, mixer->head_dim, mixer->v_head_dim) + 15) & ~(size_t)15;
    if (base)
        *own = (struct own){
            .scratch = base,
            .block_out = base + scratch,
            .out = base + scratch + n * ld,
            .block_max = base + scratch + 2 * n * ld,
            .block_sum = base + scratch + 2 * n * ld + n,
            .max = base + scratch + 2 * n * ld + 2 * n,
            .sum = base + scratch + 2 * n * ld + 3 * n,
            .ld = (ptrdiff_t)ld,
        };
    return scratch + 2 * n * ld + 4 * n + 16;
}

void gqa_carve(struct workspace *ws, const struct model *m, int n_context, struct arena *arena)
{
    struct gqa_workspace *gqa = &ws->gqa;
    size_t heads = 0;
    int fewest = INT_MAX;
    *gqa = (struct gqa_workspace){.n_blocks = (n_context + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK};
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct mixer *mixer = &m->config.layers[l].mixer;
        if (mixer->kind != MIX_GQA) continue;
        gqa->own_floats = max_size(gqa->own_floats, place(NULL, mixer, NULL));
        heads = max_size(heads, (size_t)mixer->n_heads * (size_t)(pad16(mixer->v_head_dim) + 2));
        if (mixer->n_kv_heads < fewest) fewest = mixer->n_kv_heads;
    }
    gqa->own = ARENA_TAKE(arena, float, (size_t)ws->n_threads * gqa->own_floats);
    if (heads == 0 || gqa->n_blocks < 2) return;
    gqa->max_split_rows = ws->n_threads / fewest < MAX_SPLIT_ROWS ? ws->n_threads / fewest : MAX_SPLIT_ROWS;
    if (gqa->max_split_rows > ws->max_rows) gqa->max_split_rows = ws->max_rows;
    if (gqa->max_split_rows < 1) gqa->max_split_rows = 1;
    gqa->blocks = ARENA_TAKE(arena, float, (size_t)gqa->n_blocks *(size_t)gqa->max_split_rows *heads);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* One call of attention_gqa, as a thread sees it. */
struct pass {
    const struct layer *layer;
    const struct mixer *mixer;
    struct workspace *ws;
    const struct chunk *c;
    struct thread *t;
    int l, group, rows_per_unit, n_units;
    bool may_round;
    struct own own;
};

/* Rows [first, end) of one session and the query heads of one kv head. */
struct unit {
    int first, end, kv_head;
    bool rounds;
};

/* Whether the rows [first, end), all of a session in this chunk, let attention round: a cache of floats asks for
 * floats. Counted before rows are divided among threads, on which no result depends. */
static bool rounds(const struct pass *p, int first, int end)
{
    return p->may_round && p->c->rows[first].cache->layers[p->l].type != DTYPE_F32 &&
           (end - first) * p->group >= ATTENTION_ROUNDS_FROM;
}

/* Unit number `index`: later rows, which see more, first, so that threads finish together. */
static struct unit unit_at(const struct pass *p, int index)
{
    const int n_kv_heads = p->mixer->n_kv_heads;
    int left = (p->n_units - 1 - index) / n_kv_heads;
    for (int first = 0, end;; first = end) {
        end = chunk_run_end(p->c, first);
        const int n = n_tiles(end - first, p->rows_per_unit);
        if (left >= n) {
            left -= n;
            continue;
        }
        const bool all_round = rounds(p, first, end);
        first += left * p->rows_per_unit;
        return (struct unit){first, end - first < p->rows_per_unit ? end : first + p->rows_per_unit, index % n_kv_heads,
                             all_round};
    }
}

/* The first position that a row sees. */
static int first_seen(const struct pass *p, int position)
{
    const int window = p->mixer->window;
    return window && position >= window ? position - window + 1 : 0;
}

static float *query(const struct pass *p, int row, int head)
{
    return p->ws->q + row * p->ws->ld_q + (ptrdiff_t)head * query_stride(p->mixer);
}

/* The rows of a unit that see something of the block at `start`: *first .. *end. */
static void rows_of_block(const struct pass *p, const struct unit *u, int start, int *first, int *end)
{
    *first = u->first;
    *end = u->end;
    while (*first < *end && p->c->rows[*first].position < start) ++*first;
    while (*first < *end && first_seen(p, p->c->rows[*end - 1].position) >= start + ATTENTION_BLOCK) --*end;
}

/* What the block at `start` gives to the rows [first, end) of a unit. */
static void attend_block(const struct pass *p, const struct unit *u, int start, int first, int end, float *out,
                         float *max, float *sum)
{
    const struct mixer *mixer = p->mixer;
    const struct cache_layer *cache = &p->c->rows[first].cache->layers[p->l];
    p->ws->ops.attention(&(struct attention_block){
        .q = query(p, first, u->kv_head * p->group),
        .q_row = p->ws->ld_q,
        .q_head = query_stride(mixer),
        .k = cache_keys(cache, u->kv_head, start),
        .v = cache_values(cache, u->kv_head, start),
        .v_stride = cache->value_bytes,
        .k_type = cache->type,
        .v_type = cache->type,
        .n_rows = end - first,
        .group = p->group,
        .head_dim = mixer->head_dim,
        .v_head_dim = mixer->v_head_dim,
        .position = p->c->rows[first].position - start,
        .window = mixer->window,
        .scale = mixer->scale,
        .softcap = mixer->softcap,
        .rounds = u->rounds,
        .scratch = p->own.scratch,
        .out = out,
        .out_stride = p->own.ld,
        .max = max,
        .sum = sum,
    });
}

/* The end of a query's softmax: out, max and sum of all its positions. */
static void finish(const struct pass *p, int row, int head, const float *out, float max, float sum)
{
    const int n = p->mixer->v_head_dim;
    float *mixed = p->ws->mixed + row * p->ws->ld_mixed + (ptrdiff_t)head * n;
    divide_out(p->ws, p->mixer->sinks ? &p->layer->sinks[head] : NULL, max, sum, p->own.scratch, mixed, out, n);
    if (!p->mixer->output_gate) return;
    float *gate = query(p, row, head) + p->mixer->head_dim;
    p->ws->ops.sigmoid(gate, n);
    p->ws->ops.mul(mixed, gate, n);
}

static void attend(const struct pass *p, const struct unit *u)
{
    const struct own *own = &p->own;
    const int n_v = p->mixer->v_head_dim, seen = first_seen(p, p->c->rows[u->first].position);
    memset(own->sum, 0, (size_t)((u->end - u->first) * p->group) * sizeof *own->sum);
    for (int start = seen - seen % ATTENTION_BLOCK; start <= p->c->rows[u->end - 1].position;
         start += ATTENTION_BLOCK) {
        int first, end;
        rows_of_block(p, u, start, &first, &end);
        attend_block(p, u, start, first, end, own->block_out, own->block_max, own->block_sum);
        for (int i = 0; i < (end - first) * p->group; i++) {
            const int at = (first - u->first) * p->group + i;
            p->ws->ops.attention_merge(own->out + at * own->ld, &own->max[at], &own->sum[at],
                                       own->block_out + i * own->ld, own->block_max[i], own->block_sum[i], n_v);
        }
    }
    for (int i = u->first; i < u->end; i++)
        for (int g = 0; g < p->group; g++) {
            const int at = (i - u->first) * p->group + g;
            finish(p, i, u->kv_head * p->group + g, own->out + at * own->ld, own->max[at], own->sum[at]);
        }
}

/* ---- blocks as pieces -------------------------------------------------------------------------------------------- */

/* What a block gives to the queries of one kv head: rows of out, then max, then sum, [max_split_rows * group] each. */
static float *block_result(const struct pass *p, int kv_head, int block)
{
    const size_t queries = (size_t)p->ws->gqa.max_split_rows * (size_t)p->group;
    return p->ws->gqa.blocks +
           ((size_t)kv_head * (size_t)p->ws->gqa.n_blocks + (size_t)block) * queries * ((size_t)p->own.ld + 2);
}

static int last_block(const struct pass *p)
{
    int last = 0;
    for (int i = 0; i < p->c->n_rows; i++)
        if (p->c->rows[i].position > last) last = p->c->rows[i].position;
    return last / ATTENTION_BLOCK;
}

/* Few units, which the threads cannot share evenly, and long enough that two more barriers do not matter. */
static bool is_split(const struct pass *p)
{
    return p->c->n_rows <= p->ws->gqa.max_split_rows && p->n_units < 4 * p->t->n && p->n_units % p->t->n != 0 &&
           last_block(p) > 0;
}

static void attend_split(const struct pass *p)
{
    const struct own *own = &p->own;
    const int n_blocks = last_block(p) + 1, queries = p->ws->gqa.max_split_rows * p->group;
    int begin, end;
    for (int piece; (piece = team_next(p->t, 0)) < p->n_units * n_blocks;) {
        const struct unit u = unit_at(p, piece / n_blocks);
        const int block = piece % n_blocks;
        float *out = block_result(p, u.kv_head, block), *max = out + queries * own->ld, *sum = max + queries;
        rows_of_block(p, &u, block * ATTENTION_BLOCK, &begin, &end);
        const int at = begin * p->group;
        if (begin < end)
            attend_block(p, &u, block * ATTENTION_BLOCK, begin, end, out + at * own->ld, max + at, sum + at);
    }
    team_barrier(p->t);
    team_range(p->t, p->c->n_rows * p->mixer->n_heads, 1, &begin, &end);
    for (int i = begin; i < end; i++) {
        const int row = i / p->mixer->n_heads, head = i % p->mixer->n_heads, position = p->c->rows[row].position;
        const int at = row * p->group + head % p->group;
        own->sum[0] = 0;
        for (int b = first_seen(p, position) / ATTENTION_BLOCK; b <= position / ATTENTION_BLOCK; b++) {
            const float *out = block_result(p, head / p->group, b), *max = out + queries * own->ld;
            p->ws->ops.attention_merge(own->out, own->max, own->sum, out + at * own->ld, max[at], max[queries + at],
                                       p->mixer->v_head_dim);
        }
        finish(p, row, head, own->out, own->max[0], own->sum[0]);
    }
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

/* Rows of a unit: as many as make PIECE_QUERIES, fewer where threads would have nothing to do. */
static void divide(struct pass *p)
{
    const int most = PIECE_QUERIES / p->group, fair = n_tiles(p->c->n_rows * p->mixer->n_kv_heads, 4 * p->t->n);
    p->rows_per_unit = fair < most ? fair : most;
    if (p->rows_per_unit < 1) p->rows_per_unit = 1;
    for (int first = 0, end; first < p->c->n_rows; first = end) {
        end = chunk_run_end(p->c, first);
        p->n_units += n_tiles(end - first, p->rows_per_unit) * p->mixer->n_kv_heads;
    }
}

/* The part of each session's cache that its rows see, once; and two products, with the key and with the value, for
 * each head and each pair of a row and a position that it sees. Thread 0. */
static void account(const struct pass *p)
{
    const struct mixer *mixer = p->mixer;
    for (int first = 0, end; first < p->c->n_rows; first = end) {
        const struct cache_layer *cache = &p->c->rows[first].cache->layers[p->l];
        end = chunk_run_end(p->c, first);
        const int from = first_seen(p, p->c->rows[first].position), to = p->c->rows[end - 1].position + 1;
        count_cache(p->ws, p->t, TRACE_ATTENTION,
                    (uint64_t)(to - from) * (uint64_t)mixer->n_kv_heads *
                        (cache->panel_bytes / KEY_PANEL + cache->value_bytes));
        uint64_t pairs = 0;
        for (int i = first; p->t->trace && i < end; i++)
            pairs += (uint64_t)(p->c->rows[i].position + 1 - first_seen(p, p->c->rows[i].position));
        trace_operations(p->t, TRACE_ATTENTION, rounds(p, first, end) ? PEAK_BF16 : PEAK_F32,
                         2 * pairs * (uint64_t)mixer->n_heads * (uint64_t)(mixer->head_dim + mixer->v_head_dim));
    }
}

void attention_gqa(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                   const float *h, struct thread *t)
{
    const struct mixer *mixer = &layer->config->mixer;
    struct pass p = {.layer = layer,
                     .mixer = mixer,
                     .ws = ws,
                     .c = c,
                     .t = t,
                     .l = l,
                     .group = mixer->n_heads / mixer->n_kv_heads,
                     .may_round = m->attention_rounds};
    int begin, end;
    place(&p.own, mixer, ws->gqa.own + (size_t)t->id * ws->gqa.own_floats);
    divide(&p);
    project_qkv(m, layer, ws, c, h, t);
    trace_mark(t, TRACE_ROPE);
    if (mixer->qk_norm == QK_NORM_FULL) norm_full_width(m, layer, ws, c, t);

    team_range(t, c->n_rows * mixer->n_kv_heads, 1, &begin, &end);
    for (int i = begin; i < end; i++)
        prepare(m, layer, l, ws, &c->rows[i / mixer->n_kv_heads], i / mixer->n_kv_heads, i % mixer->n_kv_heads);
    /* With one row the thread that appends a key may be the one that reads it; otherwise all keys of the chunk must be
     * there first. */
    const bool split = is_split(&p);
    if (c->n_rows > 1 || split) team_barrier(t);
    trace_mark(t, TRACE_ATTENTION);
    if (split) {
        attend_split(&p);
    } else if (c->n_rows > 1) {
        for (int i; (i = team_next(t, 0)) < p.n_units;) {
            const struct unit u = unit_at(&p, i);
            attend(&p, &u);
        }
    } else {
        for (int i = begin; i < end; i++) attend(&p, &(struct unit){0, 1, i, rounds(&p, 0, 1)});
    }
    if (t->id == 0) account(&p);
    team_barrier(t);
    project_branch(m, layer, &layer->o, ws->mixed, ws->ld_mixed, ws, c, t);
}
