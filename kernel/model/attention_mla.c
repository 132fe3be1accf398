/* Multi-head latent attention (DeepSeek-V2 2024): the cache keeps one latent per position, from which the keys and
 * values of all heads follow, and one rotated part of the key that all heads share.
 *
 *   q = Wq h, or Wq (rms(Wqa h) * q_a_norm)                 [n_rows, heads * (nope + n_rot)]
 *   [latent | r] = Wkva h,  latent = rms(latent) * kv_a_norm
 *   cache row = [latent | rope(r)]                          [kv_lora_rank + n_rot]
 *   key = [K_B latent | rope(r)],  value = V_B latent       per head
 *   mixed = softmax(q key * scale) value,  x += Wo mixed
 *
 * Two forms of the same sums. Expanded: keys and values of a block of positions are computed once for all rows of a
 * run. Absorbed: K_B moves to the query and V_B behind the softmax, so that the cached row itself is the key of all
 * heads, and its latent the value:
 *
 *   q' = [K_B^T q_nope | q_rope],  mixed = V_B (sum of p * latent)
 *
 * `scale` is 1 / sqrt(nope + n_rot), times the square of YaRN's temperature where a family has it (mscale_all_dim in
 * arch_mla.c): once for the query, once for the key.
 *
 * A piece of work is some heads of one run, the rows of one session. */
#include <math.h>
#include <string.h>

#include "model/forward.h"

enum {
    QUERIES = 64, /* absorbed: (row, head) pairs, expanded: rows that read a block together */
};

struct sizes {
    int nope, n_rot, head, v; /* of a head: both parts, their sum, the value */
    int latent, width;        /* of a cache row: without and with the rotated part */
    ptrdiff_t ld_head, ld_v, ld_latent, ld_width;
};

/* A thread's buffers. */
struct own {
    void *scratch;                /* of kernels */
    unsigned char *packed;        /* operand of up to ROW_BLOCK rows */
    float *latents;               /* cache rows as floats [ROW_BLOCK, ld_width] */
    float *panels;                /* keys of a block of positions, in panels (ops/attention.h) */
    float *rows;                  /* absorbed: q' [QUERIES, ld_width]; expanded: keys [ROW_BLOCK, ld_head] */
    float *values;                /* absorbed: results [QUERIES, ld_v]; expanded: values [ATTENTION_BLOCK, ld_v] */
    float *out;                   /* absorbed: sums of latents [QUERIES, ld_latent] */
    float *max, *sum;             /* [QUERIES]; expanded: [max_rows] */
    float *block_out;             /* of one block: [QUERIES, ld_latent], expanded: [QUERIES, ld_v] */
    float *block_max, *block_sum; /* [QUERIES] */
    float *attention;             /* scratch of ops.attention */
};

/* One call of attention_mla, as a thread sees it. */
struct pass {
    const struct model *m;
    const struct layer *layer;
    const struct mixer *mixer;
    struct workspace *ws;
    const struct chunk *c;
    struct thread *t;
    int l;
    struct sizes s;
    struct own own;
};

/* Heads [head, head_end) of the rows [first, end) of one session. */
struct piece {
    int first, end, head, head_end;
    bool expanded, rounds; /* attention_block.rounds */
};

static struct sizes sizes_of(const struct model *m, const struct mixer *mixer)
{
    const int n_rot = m->config.rope[mixer->rope].n_rot, latent = mixer->kv_lora_rank;
    return (struct sizes){
        .nope = mixer->head_dim - n_rot,
        .n_rot = n_rot,
        .head = mixer->head_dim,
        .v = mixer->v_head_dim,
        .latent = latent,
        .width = latent + n_rot,
        .ld_head = pad16(mixer->head_dim),
        .ld_v = pad16(mixer->v_head_dim),
        .ld_latent = pad16(latent),
        .ld_width = pad16(latent + n_rot),
    };
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

/* Moves `at` behind a buffer of n floats, which is 64-byte aligned and followed by 64 readable bytes. */
static size_t after(size_t at, size_t n) { return at + (n + 15) / 16 * 16 + 16; }

/* Places the buffers of a layer in `base` (NULL: only counts) and gives their floats. */
static size_t place(struct own *own, const struct sizes *s, const struct workspace *ws, float *base)
{
    const int widest = s->width > s->head ? s->width : s->head;
    const ptrdiff_t ld_out = s->ld_latent > s->ld_v ? s->ld_latent : s->ld_v;
    const size_t states = ws->max_rows > QUERIES ? (size_t)ws->max_rows : QUERIES;
    size_t packed = ws->mla.scratch_bytes / sizeof(float), latents = packed + ws->mla.packed_bytes / sizeof(float);
    size_t panels = after(latents, (size_t)ROW_BLOCK * (size_t)s->ld_width);
    size_t rows = after(panels, (size_t)ATTENTION_BLOCK * (size_t)widest);
    size_t values = after(rows, (size_t)QUERIES * (size_t)pad16(widest));
    size_t out = after(values, (size_t)ATTENTION_BLOCK * (size_t)s->ld_v);
    size_t max = after(out, (size_t)QUERIES * (size_t)s->ld_latent), sum = after(max, states);
    size_t block_out = after(sum, states), block_max = after(block_out, (size_t)QUERIES * (size_t)ld_out);
    size_t block_sum = after(block_max, QUERIES), attention = after(block_sum, QUERIES);
    if (base)
        *own = (struct own){
            .scratch = base,
            .packed = (unsigned char *)(base + packed),
            .latents = base + latents,
            .panels = base + panels,
            .rows = base + rows,
            .values = base + values,
            .out = base + out,
            .max = base + max,
            .sum = base + sum,
            .block_out = base + block_out,
            .block_max = base + block_max,
            .block_sum = base + block_sum,
            .attention = base + attention,
        };
    return after(attention, attention_scratch_floats(QUERIES, widest, (int)ld_out));
}

/* Room for products of up to ROW_BLOCK rows. */
static void extend(struct mla_workspace *mla, const struct model *m, const struct weight *w)
{
    const size_t packed = operand_room(m, w, ROW_BLOCK, 1);
    mla->packed_bytes = max_size(mla->packed_bytes, (packed + 127) & ~(size_t)63);
    for (int rows = 1; rows <= ROW_BLOCK; rows++) {
        size_t scratch = kernel_for(m, w, rows)->scratch_bytes(w->k);
        mla->scratch_bytes = max_size(mla->scratch_bytes, (scratch + 127) & ~(size_t)63);
    }
}

void mla_carve(struct workspace *ws, const struct model *m, struct arena *arena)
{
    struct mla_workspace *mla = &ws->mla;
    *mla = (struct mla_workspace){0};
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *layer = &m->layers[l];
        if (layer->config->mixer.kind != MIX_MLA) continue;
        if (layer->mla.q_a.layout && pad16(layer->mla.q_a.n) > mla->ld_q_a) mla->ld_q_a = pad16(layer->mla.q_a.n);
        if (pad16(layer->mla.kv_a.n) > mla->ld_kv_a) mla->ld_kv_a = pad16(layer->mla.kv_a.n);
        extend(mla, m, &layer->mla.k_b.first);
        extend(mla, m, &layer->mla.k_b_t.first);
        extend(mla, m, &layer->mla.v_b.first);
    }
    if (!mla->ld_kv_a) return;
    for (int l = 0; l < m->config.n_layers; l++) {
        if (m->layers[l].config->mixer.kind != MIX_MLA) continue;
        struct sizes s = sizes_of(m, &m->layers[l].config->mixer);
        mla->own_floats = max_size(mla->own_floats, place(NULL, &s, ws, NULL));
    }
    mla->q_a = ARENA_TAKE(arena, float, (size_t)ws->max_rows *(size_t)mla->ld_q_a);
    mla->kv_a = ARENA_TAKE(arena, float, (size_t)ws->max_rows *(size_t)mla->ld_kv_a);
    mla->own = ARENA_TAKE(arena, float, (size_t)ws->n_threads * mla->own_floats);
}

/* ---- projections and the cache ----------------------------------------------------------------------------------- */

static void rotate(const struct pass *p, float *x, int position)
{
    const ptrdiff_t at = (ptrdiff_t)position * (p->s.n_rot / 2);
    const enum rope_index rope = p->mixer->rope;
    p->ws->ops.rope(x, p->ws->cosine[rope] + at, p->ws->sine[rope] + at, p->s.n_rot);
}

/* Normalises the latents of this thread's rows and appends theirs to the caches. */
static void append(const struct pass *p)
{
    const struct mla_weights *w = &p->layer->mla;
    struct mla_workspace *mla = &p->ws->mla;
    int begin, end;
    team_range(p->t, p->c->n_rows, 1, &begin, &end);
    for (int i = begin; i < end; i++) {
        const struct row *row = &p->c->rows[i];
        float *latent = mla->kv_a + i * mla->ld_kv_a, *q_a = mla->q_a + i * mla->ld_q_a;
        p->ws->ops.rms_norm(latent, latent, w->kv_a_norm, p->s.latent, p->mixer->lora_eps);
        rotate(p, latent + p->s.latent, row->position);
        cache_write_latent(&row->cache->layers[p->l], row->position, latent);
        if (w->q_a.layout) p->ws->ops.rms_norm(q_a, q_a, w->q_a_norm, w->q_a.n, p->mixer->lora_eps);
    }
}

/* q, not yet rotated, and the cache rows of all rows of the chunk. */
static void prepare(const struct pass *p, const float *h)
{
    struct workspace *ws = p->ws;
    const struct weight *q = &p->layer->q, *q_a = &p->layer->mla.q_a;
    const bool has_latent = q_a->layout != NULL;
    const struct weight *weights[2] = {has_latent ? q_a : q, &p->layer->mla.kv_a};
    float *outputs[2] = {has_latent ? ws->mla.q_a : ws->q, ws->mla.kv_a};
    ptrdiff_t strides[2] = {has_latent ? ws->mla.ld_q_a : ws->ld_q, ws->mla.ld_kv_a};
    project(p->m, ws, p->t, TRACE_LATENT, weights, 2, h, ws->ld_hidden, p->c->n_rows, outputs, strides);
    trace_mark(p->t, TRACE_ROPE);
    append(p);
    team_barrier(p->t);
    if (has_latent)
        project(p->m, ws, p->t, TRACE_LATENT, &q, 1, ws->mla.q_a, ws->mla.ld_q_a, p->c->n_rows, &ws->q, &ws->ld_q);
}

/* ---- what both forms need ---------------------------------------------------------------------------------------- */

/* y[i] = w x[i] for i < n <= ROW_BLOCK, by this thread alone. */
static void multiply(const struct pass *p, const struct weight *w, float *y, ptrdiff_t ldy, const float *x,
                     ptrdiff_t ldx, int n)
{
    struct operand o = operand_at(p->m, w, n, p->own.packed);
    operand_pack(&o, x, ldx, NULL, 0, operand_pieces(&o));
    product(y, ldy, w, &o, 0, w->n, p->own.scratch);
}

/* Calibration (engine/calibrate.c) counts how large each input of each matrix usually is. project() and
 * project_branch() show it theirs; K_B^T and V_B are multiplied by one thread, which shows what it multiplies. */
static void show(const struct pass *p, const struct bank *bank, int head, const float *x, ptrdiff_t ldx, int n)
{
    const struct input_collector *c = p->ws->collector;
    if (c) c->collect(c->context, p->t, &bank->first, head, x, ldx, NULL, n, 0, bank->first.k);
}

/* n <= ROW_BLOCK cache rows from `start` on as floats, *ld apart. */
static const float *read_latents(const struct pass *p, const struct cache_layer *cache, int start, int n, ptrdiff_t *ld)
{
    *ld = cache->type == DTYPE_F32 ? p->s.width : p->s.ld_width;
    if (cache->type == DTYPE_F32) return (const void *)cache_latent(cache, start);
    for (int i = 0; i < n; i++)
        p->ws->ops.widen(p->own.latents + i * *ld, cache_latent(cache, start + i), cache->type, p->s.width);
    return p->own.latents;
}

/* Keys [row0, row1) of a block, [row0, row1) x width at `from`, into the panels; row0 is a multiple of KEY_PANEL. A
 * panel of keys is a panel of f32_r16. */
static void put_keys(const struct pass *p, const float *from, ptrdiff_t stride, int row0, int row1, int width)
{
    const struct panel_layout *layout = panel_layout_choose(DTYPE_F32, KEY_PANEL, width, p->m->features, 0);
    layout->pack(p->own.panels, from, (size_t)stride * sizeof *from, row0, row1, row1, width);
}

static float *query(const struct pass *p, int row, int head)
{
    return p->ws->q + row * p->ws->ld_q + (ptrdiff_t)head * p->s.head;
}

static float *mixed(const struct pass *p, int row, int head)
{
    return p->ws->mixed + row * p->ws->ld_mixed + (ptrdiff_t)head * p->s.v;
}

/* The first of the rows [first, end) of a run that sees something of the block at `start`; the others do too. */
static int first_row(const struct pass *p, int first, int end, int start)
{
    while (first < end && p->c->rows[first].position < start) first++;
    return first;
}

/* Adds the n results of a block to those before it: out rows ld apart, `width` wide; block_out rows block_ld apart. */
static void merge(const struct pass *p, float *out, ptrdiff_t ld, float *max, float *sum, ptrdiff_t block_ld, int n,
                  int width)
{
    const struct own *own = &p->own;
    for (int i = 0; i < n; i++)
        p->ws->ops.attention_merge(out + i * ld, &max[i], &sum[i], own->block_out + i * block_ld, own->block_max[i],
                                   own->block_sum[i], width);
}

/* to = from / sum; to may be from. */
static void finish_softmax(float *to, const float *from, float sum, int n)
{
    for (int d = 0; d < n; d++) to[d] = from[d] / sum;
}

static int at_most(int n, int limit) { return n < limit ? n : limit; }

/* ---- absorbed ---------------------------------------------------------------------------------------------------- */

/* q' of n rows from `first` on: row i, head g of the piece at rows + (i * n_heads + g) * ld_width. */
static void absorb_queries(const struct pass *p, const struct piece *piece, int first, int n)
{
    const struct sizes *s = &p->s;
    const int n_heads = piece->head_end - piece->head;
    for (int g = 0; g < n_heads; g++) {
        const struct weight w = bank_weight(&p->layer->mla.k_b_t, piece->head + g);
        const float *q = query(p, first, piece->head + g);
        float *to = p->own.rows + g * s->ld_width;
        multiply(p, &w, to, n_heads * s->ld_width, q, p->ws->ld_q, n);
        show(p, &p->layer->mla.k_b_t, piece->head + g, q, p->ws->ld_q, n);
        for (int i = 0; i < n; i++)
            memcpy(to + i * n_heads * s->ld_width + s->latent, q + i * p->ws->ld_q + s->nope,
                   (size_t)s->n_rot * sizeof *to);
    }
}

/* out = softmax(q' cache) latents for n rows from `first` on, whose heads share what a row sees. */
static void attend_latents(const struct pass *p, const struct piece *piece, int first, int n)
{
    const struct sizes *s = &p->s;
    const struct own *own = &p->own;
    const struct row *rows = p->c->rows + first;
    const int n_heads = piece->head_end - piece->head, n_queries = n * n_heads;
    const struct cache_layer *cache = &rows->cache->layers[p->l];
    memset(own->sum, 0, (size_t)n_queries * sizeof *own->sum);
    for (int start = 0; start <= rows[n - 1].position; start += ATTENTION_BLOCK) {
        const int seen = at_most(rows[n - 1].position + 1 - start, ATTENTION_BLOCK);
        for (int j = 0; j < seen; j += ROW_BLOCK) {
            ptrdiff_t ld;
            const float *latents = read_latents(p, cache, start + j, at_most(seen - j, ROW_BLOCK), &ld);
            put_keys(p, latents, ld, j, j + at_most(seen - j, ROW_BLOCK), s->width);
        }
        const int skip = first_row(p, first, first + n, start) - first;
        p->ws->ops.attention(&(struct attention_block){
            .q = own->rows + skip * n_heads * s->ld_width,
            .q_row = n_heads * s->ld_width,
            .q_head = s->ld_width,
            .k = own->panels,
            .v = cache_latent(cache, start),
            .v_stride = cache->latent_bytes,
            .v_type = cache->type,
            .n_rows = n - skip,
            .group = n_heads,
            .head_dim = s->width,
            .v_head_dim = s->latent,
            .position = rows[skip].position - start,
            .scale = p->mixer->scale,
            .rounds = piece->rounds,
            .scratch = own->attention,
            .out = own->block_out,
            .out_stride = s->ld_latent,
            .max = own->block_max,
            .sum = own->block_sum,
        });
        merge(p, own->out + skip * n_heads * s->ld_latent, s->ld_latent, own->max + skip * n_heads,
              own->sum + skip * n_heads, s->ld_latent, (n - skip) * n_heads, s->latent);
    }
    for (int i = 0; i < n_queries; i++)
        finish_softmax(own->out + i * s->ld_latent, own->out + i * s->ld_latent, own->sum[i], s->latent);
}

static void absorbed(const struct pass *p, const struct piece *piece)
{
    const struct sizes *s = &p->s;
    const int n_heads = piece->head_end - piece->head, step = QUERIES / n_heads;
    for (int first = piece->first; first < piece->end; first += step) {
        const int n = at_most(piece->end - first, step);
        trace_switch(p->t, TRACE_LATENT_HEADS);
        absorb_queries(p, piece, first, n);
        trace_switch(p->t, TRACE_ATTENTION);
        attend_latents(p, piece, first, n);
        trace_switch(p->t, TRACE_LATENT_HEADS);
        for (int g = 0; g < n_heads; g++) {
            const struct weight w = bank_weight(&p->layer->mla.v_b, piece->head + g);
            const float *latents = p->own.out + g * s->ld_latent;
            show(p, &p->layer->mla.v_b, piece->head + g, latents, n_heads * s->ld_latent, n);
            multiply(p, &w, p->own.values, s->ld_v, latents, n_heads * s->ld_latent, n);
            for (int i = 0; i < n; i++) /* the product's padding would write into the next head */
                memcpy(mixed(p, first + i, piece->head + g), p->own.values + i * s->ld_v, (size_t)s->v * sizeof(float));
        }
    }
}

/* ---- expanded ---------------------------------------------------------------------------------------------------- */

/* Keys and values of one head for n positions from `start` on. */
static void expand_block(const struct pass *p, const struct cache_layer *cache, int head, int start, int n)
{
    const struct sizes *s = &p->s;
    const struct weight k_b = bank_weight(&p->layer->mla.k_b, head), v_b = bank_weight(&p->layer->mla.v_b, head);
    for (int j = 0; j < n; j += ROW_BLOCK) {
        const int count = at_most(n - j, ROW_BLOCK);
        ptrdiff_t ld;
        const float *latents = read_latents(p, cache, start + j, count, &ld);
        multiply(p, &k_b, p->own.rows, s->ld_head, latents, ld, count);
        for (int i = 0; i < count; i++)
            memcpy(p->own.rows + i * s->ld_head + s->nope, latents + i * ld + s->latent,
                   (size_t)s->n_rot * sizeof(float));
        put_keys(p, p->own.rows, s->ld_head, j, j + count, s->head);
        multiply(p, &v_b, p->own.values + j * s->ld_v, s->ld_v, latents, ld, count);
    }
}

/* The rows of a piece read the block at `start`. */
static void attend_block(const struct pass *p, const struct piece *piece, int start)
{
    for (int i = first_row(p, piece->first, piece->end, start), n; i < piece->end; i += n) {
        n = at_most(piece->end - i, QUERIES);
        p->ws->ops.attention(&(struct attention_block){
            .q = query(p, i, piece->head),
            .q_row = p->ws->ld_q,
            .k = p->own.panels,
            .v = p->own.values,
            .v_stride = (size_t)p->s.ld_v * sizeof(float),
            .n_rows = n,
            .group = 1,
            .head_dim = p->s.head,
            .v_head_dim = p->s.v,
            .position = p->c->rows[i].position - start,
            .scale = p->mixer->scale,
            .rounds = piece->rounds,
            .scratch = p->own.attention,
            .out = p->own.block_out,
            .out_stride = p->s.ld_v,
            .max = p->own.block_max,
            .sum = p->own.block_sum,
        });
        merge(p, mixed(p, i, piece->head), p->ws->ld_mixed, p->own.max + (i - piece->first),
              p->own.sum + (i - piece->first), p->s.ld_v, n, p->s.v);
    }
}

static void expanded(const struct pass *p, const struct piece *piece)
{
    const struct row *rows = p->c->rows;
    const int head = piece->head, last = rows[piece->end - 1].position;
    memset(p->own.sum, 0, (size_t)(piece->end - piece->first) * sizeof *p->own.sum);
    for (int start = 0; start <= last; start += ATTENTION_BLOCK) {
        trace_switch(p->t, TRACE_LATENT_HEADS);
        expand_block(p, &rows[piece->first].cache->layers[p->l], head, start,
                     at_most(last + 1 - start, ATTENTION_BLOCK));
        trace_switch(p->t, TRACE_ATTENTION);
        attend_block(p, piece, start);
    }
    for (int i = piece->first; i < piece->end; i++)
        finish_softmax(mixed(p, i, head), mixed(p, i, head), p->own.sum[i - piece->first], p->s.v);
}

/* ---- which form, and who does what ------------------------------------------------------------------------------- */

/* Multiplications per head of n rows of which the last sees T positions, P pairs of a row and a position it sees:
 *
 *   absorbed   n * latent * (nope + v)  +  P * (latent + n_rot + latent)
 *   expanded   T * latent * (nope + v)  +  P * (nope + n_rot + v)
 *
 * With a collector (calibration for a GGUF file) the form is the absorbed one, since K_B^T and V_B are the banks that
 * such files hold and their inputs have to be seen. In an exact model too: one form for any number of rows, and the
 * other would expand the whole cache for every decoded token. Prefill then pays: 3.4 times the multiplications of
 * attention with DeepSeek-V3's sizes. mla.force is for tests. */
static bool is_expanded(const struct pass *p, int first, int end)
{
    const struct sizes *s = &p->s;
    if (p->ws->mla.force != MLA_BY_COUNT) return p->ws->mla.force == MLA_EXPANDED;
    if (p->ws->collector || p->m->exact) return false;
    const double n = end - first, seen = p->c->rows[end - 1].position + 1.0, pairs = n * seen - n * (n - 1) / 2;
    const double bank = (double)s->latent * (s->nope + s->v);
    const double as_absorbed = n * bank + pairs * (s->latent + s->width);
    const double as_expanded = seen * bank + pairs * (s->head + s->v);
    return as_expanded < as_absorbed;
}

/* Heads of a piece. Heads that are absorbed together share the transposed cache, so take as many as the buffers hold
 * and the threads leave; no bit depends on it. */
static int heads_per_piece(const struct pass *p, bool expanded, int n_rows, int n_runs)
{
    if (expanded || n_rows >= QUERIES) return 1;
    const int share = (int)(((long)p->mixer->n_heads * n_runs + p->t->n - 1) / p->t->n);
    return at_most(at_most(QUERIES / n_rows, share), p->mixer->n_heads);
}

/* Into how many pieces the rows of a run are cut: threads that no head is left for take rows. The expanded form then
 * expands the same block several times. */
static int parts_of_rows(const struct pass *p, int n_rows, int n_runs)
{
    const int spare = p->t->n / (p->mixer->n_heads * n_runs), most = (n_rows + QUERIES - 1) / QUERIES;
    return spare <= 1 ? 1 : at_most(spare, most);
}

/* Whether the rows [first, end) of a run let attention round: a cache of floats asks for floats. */
static bool rounds(const struct pass *p, int first, int end)
{
    return p->m->attention_rounds && p->c->rows[first].cache->layers[p->l].type != DTYPE_F32 &&
           end - first >= ATTENTION_ROUNDS_FROM;
}

/* Piece number `index`; false: there are fewer. */
static bool find_piece(const struct pass *p, int index, int n_runs, struct piece *out)
{
    const int n_heads = p->mixer->n_heads;
    for (int first = 0, end; first < p->c->n_rows; first = end) {
        end = chunk_run_end(p->c, first);
        const bool expanded = is_expanded(p, first, end);
        const int step = heads_per_piece(p, expanded, end - first, n_runs), n = (n_heads + step - 1) / step;
        const int parts = parts_of_rows(p, end - first, n_runs), rows = (end - first + parts - 1) / parts;
        if (index < n * parts) {
            const int from = at_most(first + index / n * rows, end), head = index % n * step;
            *out = (struct piece){from,     at_most(from + rows, end), head, at_most(head + step, n_heads),
                                  expanded, rounds(p, first, end)};
            return true;
        }
        index -= n * parts;
    }
    return false;
}

static void do_piece(const struct pass *p, const struct piece *piece)
{
    if (piece->first == piece->end) return;
    for (int i = piece->first; i < piece->end; i++)
        for (int head = piece->head; head < piece->head_end; head++)
            rotate(p, query(p, i, head) + p->s.nope, p->c->rows[i].position);
    if (piece->expanded)
        expanded(p, piece);
    else
        absorbed(p, piece);
    trace_switch(p->t, TRACE_ATTENTION);
}

/* The banks in use, and the rows of each session's cache that its rows see, once; multiplications as is_expanded()
 * counts them, those with a bank by the kernel that most of its rows meet. Positions that are expanded again for other
 * rows of a run count once. Thread 0. */
static void account(const struct pass *p)
{
    const struct mla_weights *w = &p->layer->mla;
    const struct sizes *s = &p->s;
    const uint64_t heads = (uint64_t)p->mixer->n_heads;
    bool used[MLA_EXPANDED + 1] = {false};
    for (int first = 0, end; first < p->c->n_rows; first = end) {
        end = chunk_run_end(p->c, first);
        const bool expanded = is_expanded(p, first, end);
        const uint64_t n = (uint64_t)(end - first), seen = (uint64_t)p->c->rows[end - 1].position + 1;
        const uint64_t pairs = n * seen - n * (n - 1) / 2, multiplied = expanded ? seen : n;
        used[expanded ? MLA_EXPANDED : MLA_ABSORBED] = true;
        count_cache(p->ws, p->t, TRACE_ATTENTION, p->c->rows[first].cache->layers[p->l].latent_bytes * seen);
        trace_operations(p->t, TRACE_ATTENTION, rounds(p, first, end) ? PEAK_BF16 : PEAK_F32,
                         2 * heads * pairs * (uint64_t)(expanded ? s->head + s->v : s->latent + s->width));
        const struct weight *keys = expanded ? &w->k_b.first : &w->k_b_t.first;
        const int rows = multiplied < ROW_BLOCK ? (int)multiplied : ROW_BLOCK;
        trace_operations(p->t, TRACE_LATENT_HEADS, kernel_for(p->m, keys, rows)->peak,
                         2 * heads * multiplied * (uint64_t)s->latent * (uint64_t)s->nope);
        trace_operations(p->t, TRACE_LATENT_HEADS, kernel_for(p->m, &w->v_b.first, rows)->peak,
                         2 * heads * multiplied * (uint64_t)s->latent * (uint64_t)s->v);
    }
    const size_t keys = (used[MLA_ABSORBED] ? weight_bytes(&w->k_b_t.first) : 0) +
                        (used[MLA_EXPANDED] ? weight_bytes(&w->k_b.first) : 0);
    count_weights(p->ws, p->t, TRACE_LATENT_HEADS, (uint64_t)(keys + weight_bytes(&w->v_b.first)) * heads);
    trace_call(p->t, TRACE_LATENT_HEADS);
}

void attention_mla(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                   const float *h, struct thread *t)
{
    const struct mixer *mixer = &layer->config->mixer;
    struct pass p = {.m = m, .layer = layer, .mixer = mixer, .ws = ws, .c = c, .t = t, .l = l};
    p.s = sizes_of(m, mixer);
    place(&p.own, &p.s, ws, ws->mla.own + (size_t)t->id * ws->mla.own_floats);
    prepare(&p, h);

    const int n_runs = chunk_n_runs(c);
    trace_mark(t, TRACE_ATTENTION);
    for (struct piece piece; find_piece(&p, team_next(t, 0), n_runs, &piece);) do_piece(&p, &piece);
    if (t->id == 0) account(&p);
    team_barrier(t);
    project_branch(m, layer, &layer->o, ws->mixed, ws->ld_mixed, ws, c, t);
}
