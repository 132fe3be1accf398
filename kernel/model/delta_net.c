/* Gated DeltaNet (Yang 2024): attention without a past that grows. Every value head remembers in one matrix S.
 *
 *   q, k, v = silu(causal_conv(W_qkv h))     q and k have n_key_heads heads, v has n_value_heads
 *   q, k    = q / |q| / sqrt(head_dim), k / |k|
 *   beta    = sigmoid(W_b h), g = -exp(A_log) softplus(W_a h + dt_bias)   one number per value head
 *   o       = what S says to q, after it has been taught (k, v): below
 *   x      += W_o (rms_norm(o) * silu(W_z h))                             the norm is per head
 *
 * THE RULE. S maps keys to values: it answers k with S^T k. Token t lets the memory fade by a_t = e^g (0..1), compares
 * its answer to k_t with v_t, and corrects the answer by the share beta_t (0..1) of the difference:
 *
 *   S_t = a_t S_{t-1} + k_t u_t^T,   u_t = beta_t (v_t - a_t S_{t-1}^T k_t),   o_t = S_t^T q_t                      (1)
 *
 * delta_recurrent() does just that, row by row: 4 head_dim v_head_dim multiply-adds, all of them reading S.
 *
 * THE CHUNKED FORM. Unrolled from the state S before a chunk, with A_ts = a_{s+1} ... a_t (A_tt = 1) and a_0 ... a_t
 * written A_t,
 *
 *   S_t = A_t S + sum over s <= t of A_ts k_s u_s^T                                                                 (2)
 *
 * and this put into (1), where a_t A_{t-1,s} = A_ts, gives the u of the chunk without any S but the first:
 *
 *   u_t + beta_t sum over s < t of A_ts (k_t . k_s) u_s = beta_t (v_t - A_t S^T k_t)                                (3)
 *   o_t = A_t S^T q_t + sum over s <= t of A_ts (q_t . k_s) u_s                                                     (4)
 *
 * (3) is a system (1 + L) U = B with L strictly lower triangular, solved from the first row to the last. (Others form
 * (1 + L)^-1, the "UT transform" of the WY representation of products of Householder-like matrices (Bischof 1987), to
 * solve for all chunks before the states are known. Here chunks follow each other, so the state is known, and B is
 * one right-hand side.) All the rest are products of matrices: K K^T, Q K^T, K S, Q S, the sum in (4), and (2) for the
 * last t. They are done by the kernels that multiply weights, which keep their operands in registers, while (1) moves S
 * through them again and again. With heads of 128 by 128 (one Zen 4 core): 3.6 us a row one by one, 2.5 us in chunks of
 * 12 to 64 rows; from six rows on chunks win.
 *
 * Every A is made by multiplying decays, never by dividing or by exponentials of sums, so nothing can exceed 1, and
 * what underflows is what is forgotten. The two forms agree up to rounding, so results depend on how rows are cut into
 * passes at the level of 1e-6, but never on the number of threads. An exact model has the first form only. */
#include <math.h>
#include <string.h>

#include "model/recurrent.h"

static int max_int(int a, int b) { return a > b ? a : b; }

double delta_log_decay(float rate, float x)
{
    double softplus = x > 20 ? (double)x : log1p(exp((double)x));
    return (double)rate * softplus;
}

/* ---- row by row -------------------------------------------------------------------------------------------------- */

void delta_recurrent(const struct ops *ops, const struct delta_rows *r)
{
    const int n = r->head_dim;
    for (int t = 0; t < r->n_rows; t++) {
        const float *q = r->q + t * r->ld, *k = r->k + t * r->ld, *v = r->v + t * r->ld;
        for (int j = 0; j < r->v_head_dim; j++) { /* one column of S at a time, which lies together */
            float *s = r->state + (ptrdiff_t)j * n;
            ops->scale(s, r->decay[t], n);
            ops->add_scaled(s, k, r->beta[t] * (v[j] - ops->dot(s, k, n)), n);
            r->out[t * r->ld_out + j] = ops->dot(s, q, n);
        }
    }
}

/* ---- chunk by chunk ---------------------------------------------------------------------------------------------- */

/* Room for one chunk of one value head, C = DELTA_CHUNK; widths are padded to 16. */
struct delta_buffers {
    float *kk, *qk;         /* [C, C] products of rows, then times A_ts */
    float *u, *qs;          /* [C, v_head_dim]: K S, then u; Q S, then o */
    float *ut, *kt;         /* [v_head_dim, C], [head_dim, C]: columns of u, of k faded to the end of the chunk */
    float *y;               /* [C, v_head_dim] or [v_head_dim, head_dim] */
    float *since, *whole;   /* [C] A_ts of the row at hand; A_t */
    float *x, *w, *scratch; /* of the product at hand: packed rows, packed "weights", the kernel's scratch */
};

/* w [n, k] as a weight, not packed yet. */
static struct weight matrix_of(int n, int k, uint64_t features)
{
    return (struct weight){.layout = panel_layout_choose(DTYPE_F32, n, k, features, 0), .n = n, .k = k};
}

/* Floats that m rows times an [n, k] matrix need at most: packed rows, packed matrix, scratch. */
static void extend(size_t floats[3], int m, int n, int k, uint64_t features)
{
    struct weight w = matrix_of(n, k, features);
    floats[1] = max_size(floats[1], w.layout->packed_bytes(n, k) / sizeof(float) + 1);
    for (int rows = 1; rows <= m; rows++) {
        const struct panel_kernel *kernel = panel_kernel_choose(w.layout, rows, features);
        floats[0] = max_size(floats[0], kernel->x_bytes(rows, k) / sizeof(float) + 1);
        floats[2] = max_size(floats[2], kernel->scratch_bytes(k) / sizeof(float) + 1);
    }
}

/* Places the buffers from `own` on (NULL: nowhere) and says how many floats they take. */
static size_t place_buffers(struct delta_buffers *b, float *own, int head_dim, int v_head_dim, uint64_t features)
{
    enum { C = DELTA_CHUNK };
    const size_t keys = (size_t)pad16(head_dim), values = (size_t)pad16(v_head_dim);
    size_t product[3] = {0}, at = 0;
    extend(product, C, max_int(C, v_head_dim), head_dim, features);
    extend(product, max_int(C, v_head_dim), max_int(head_dim, v_head_dim), C, features);
    const struct {
        float **buffer;
        size_t floats;
    } list[] = {
        {&b->kk, C * C},
        {&b->qk, C * C},
        {&b->u, C * values},
        {&b->qs, C * values},
        {&b->ut, values * C},
        {&b->kt, keys * C},
        {&b->y, max_size(C * values, values * keys)},
        {&b->since, C},
        {&b->whole, C},
        {&b->x, product[0]},
        {&b->w, product[1]},
        {&b->scratch, product[2]},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        *list[i].buffer = own ? own + at : NULL;
        at += (list[i].floats + 15) / 16 * 16 + 16; /* kernels may read 64 bytes more */
    }
    return at;
}

size_t delta_chunk_floats(int head_dim, int v_head_dim, uint64_t features)
{
    struct delta_buffers unused;
    return place_buffers(&unused, NULL, head_dim, v_head_dim, features);
}

/* The rows w [n, ld], of which k columns count, as a weight. It lives until the next. */
static struct weight pack_matrix(struct delta_buffers *b, const float *w, ptrdiff_t ld, int n, int k, uint64_t features)
{
    struct weight out = matrix_of(n, k, features);
    out.layout->pack(b->w, w, (size_t)ld * sizeof *w, 0, n, n, k);
    out.data = b->w;
    return out;
}

/* y [m, ldy] = x [m, ldx] w^T; columns up to the next multiple of 16 are written. */
static void multiply(struct delta_buffers *b, float *y, ptrdiff_t ldy, const float *x, ptrdiff_t ldx, int m,
                     const struct weight *w, uint64_t features)
{
    struct operand o = operand_of(panel_kernel_choose(w->layout, m, features), m, w->k, b->x);
    operand_pack(&o, x, ldx, NULL, 0, operand_pieces(&o));
    product(y, ldy, w, &o, 0, w->n, b->scratch);
}

/* Fades the products of rows and solves (3): u holds K S before, U after. */
static void solve(const struct ops *ops, struct delta_buffers *b, const struct delta_rows *r)
{
    const ptrdiff_t ld = pad16(r->v_head_dim);
    const int n = r->n_rows, width = r->v_head_dim;
    float whole = 1;
    for (int t = 0; t < n; t++) {
        float *u = b->u + t * ld, *kk = b->kk + t * DELTA_CHUNK, *qk = b->qk + t * DELTA_CHUNK;
        ops->scale(b->since, r->decay[t], t);
        b->since[t] = 1;
        b->whole[t] = whole *= r->decay[t];
        ops->mul(kk, b->since, t + 1);
        ops->mul(qk, b->since, t + 1);
        for (int s = t + 1; s < n; s++) qk[s] = 0;

        ops->scale(u, -whole, width);
        ops->add(u, r->v + t * r->ld, width);
        for (int s = 0; s < t; s++) ops->add_scaled(u, b->u + s * ld, -kk[s], width);
        ops->scale(u, r->beta[t], width);
    }
}

/* The columns of u; those of k, faded to the end of the chunk. */
static void transpose(struct delta_buffers *b, const struct delta_rows *r)
{
    const ptrdiff_t ld = pad16(r->v_head_dim);
    for (int s = 0; s < r->n_rows; s++) {
        const float *u = b->u + s * ld, *k = r->k + s * r->ld;
        for (int j = 0; j < r->v_head_dim; j++) b->ut[j * DELTA_CHUNK + s] = u[j];
        for (int i = 0; i < r->head_dim; i++) b->kt[i * DELTA_CHUNK + s] = k[i] * b->since[s];
    }
}

void delta_chunk(const struct ops *ops, const struct delta_rows *r, float *own)
{
    const uint64_t features = ops->features;
    const int n = r->n_rows, keys = r->head_dim, values = r->v_head_dim;
    const ptrdiff_t ld_values = pad16(values), ld_keys = pad16(keys);
    struct delta_buffers b;
    place_buffers(&b, own, keys, values, features);

    struct weight w = pack_matrix(&b, r->k, r->ld, n, keys, features);
    multiply(&b, b.kk, DELTA_CHUNK, r->k, r->ld, n, &w, features);
    multiply(&b, b.qk, DELTA_CHUNK, r->q, r->ld, n, &w, features);
    w = pack_matrix(&b, r->state, keys, values, keys, features); /* rows are the columns of S, so x w^T is x S */
    multiply(&b, b.u, ld_values, r->k, r->ld, n, &w, features);
    multiply(&b, b.qs, ld_values, r->q, r->ld, n, &w, features);

    solve(ops, &b, r);
    transpose(&b, r);

    w = pack_matrix(&b, b.ut, DELTA_CHUNK, values, n, features); /* (4) */
    multiply(&b, b.y, ld_values, b.qk, DELTA_CHUNK, n, &w, features);
    for (int t = 0; t < n; t++) {
        float *o = b.qs + t * ld_values;
        ops->scale(o, b.whole[t], values);
        ops->add(o, b.y + t * ld_values, values);
        memcpy(r->out + t * r->ld_out, o, (size_t)values * sizeof *o);
    }
    w = pack_matrix(&b, b.kt, DELTA_CHUNK, keys, n, features); /* (2) */
    multiply(&b, b.y, ld_keys, b.ut, DELTA_CHUNK, values, &w, features);
    for (int j = 0; j < values; j++) {
        float *s = r->state + (ptrdiff_t)j * keys;
        ops->scale(s, b.whole[n - 1], keys);
        ops->add(s, b.y + j * ld_keys, keys);
    }
}

/* ---- the block --------------------------------------------------------------------------------------------------- */

static void project_input(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c,
                          const float *h, struct thread *t)
{
    const struct recurrent_workspace *r = &ws->recurrent;
    const struct delta_weights *d = &layer->delta;
    const bool fused = layer->config->mixer.fused_ba;
    const struct weight *weights[4] = {&d->qkv, &d->z, fused ? &d->ba : &d->b, &d->a};
    float *y[4] = {r->in, r->z, r->ba, r->ba + pad16(layer->config->mixer.n_value_heads)};
    const ptrdiff_t ld[4] = {r->ld_in, r->ld_z, r->ld_ba, r->ld_ba};
    project(m, ws, t, TRACE_RECURRENT_IN, weights, fused ? 3 : 4, h, ws->ld_hidden, c->n_rows, y, ld);
}

/* Convolution, silu, and length 1 for one head of the convolution's channels, which are those of all queries, then of
 * all keys, then of all values. */
static void prepare(const struct layer *layer, int l, struct workspace *ws, const struct piece *p, float *scratch)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int n_queries = mixer->n_key_heads, head_dim = mixer->head_dim;
    const int conv_head = p->part, value_head = conv_head - 2 * n_queries;
    const int width = value_head < 0 ? head_dim : mixer->v_head_dim;
    const int at = value_head < 0 ? conv_head * head_dim : 2 * n_queries * head_dim + value_head * width;
    const struct conv conv = {
        .x = ws->recurrent.in + p->first * ws->recurrent.ld_in + at,
        .ldx = ws->recurrent.ld_in,
        .n_rows = p->end - p->first,
        .width = width,
        .n_taps = mixer->conv_kernel,
        .taps = layer->conv + at,
        .tail = p->chunk->rows[p->first].cache->layers[l].tail + at,
        .channels = delta_channels(mixer),
    };
    causal_conv(&ws->ops, &conv, scratch);
    for (int i = 0; i < conv.n_rows; i++) {
        float *x = conv.x + i * conv.ldx;
        ws->ops.silu(x, width);
        if (value_head < 0) ws->ops.l2_norm(x, x, width, 1e-6f);
        if (conv_head < n_queries) ws->ops.scale(x, 1.0f / sqrtf((float)width), width);
    }
}

/* Decay and beta of one value head, the i-th of those that read its key head. */
static void weigh(const struct layer *layer, const struct workspace *ws, const struct piece *p, int key_head, int i,
                  float *decay, float *beta)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int value_head = p->part;
    const int group = mixer->n_value_heads / mixer->n_key_heads;
    const ptrdiff_t b_at = mixer->fused_ba ? key_head * 2 * group + i : value_head;
    const ptrdiff_t a_at = mixer->fused_ba ? b_at + group : pad16(mixer->n_value_heads) + value_head;
    for (int row = p->first; row < p->end; row++) {
        const float *ba = ws->recurrent.ba + row * ws->recurrent.ld_ba;
        const float rate = layer->delta.rate[value_head];
        *decay++ = (float)exp(delta_log_decay(rate, ba[a_at] + layer->delta.dt_bias[value_head]));
        *beta++ = (float)(1 / (1 + exp(-(double)ba[b_at])));
    }
}

/* The rule for one value head. */
static void run_head(const struct model *m, const struct layer *layer, int l, struct workspace *ws,
                     const struct piece *p, float *own)
{
    const struct mixer *mixer = &layer->config->mixer;
    const int n_keys = mixer->n_key_heads, group = mixer->n_value_heads / n_keys, values = mixer->v_head_dim;
    const int value_head = p->part;
    const int key_head = mixer->value_heads_tiled ? value_head % n_keys : value_head / group;
    const int i = mixer->value_heads_tiled ? value_head / n_keys : value_head % group;
    const float *in = ws->recurrent.in + p->first * ws->recurrent.ld_in;
    float *decay = own, *beta = own + pad16(ws->max_rows),
          *mixed = ws->mixed + p->first * ws->ld_mixed + value_head * values;
    float *chunk = beta + pad16(ws->max_rows);
    const struct delta_rows all = {
        .q = in + key_head * mixer->head_dim,
        .k = in + (n_keys + key_head) * mixer->head_dim,
        .v = in + 2 * n_keys * mixer->head_dim + value_head * values,
        .ld = ws->recurrent.ld_in,
        .state = p->chunk->rows[p->first].cache->layers[l].matrix +
                 (size_t)value_head * (size_t)mixer->head_dim * (size_t)values,
        .ld_out = ws->ld_mixed,
        .head_dim = mixer->head_dim,
        .v_head_dim = values,
    };
    weigh(layer, ws, p, key_head, i, decay, beta);
    for (int done = 0, left; (left = p->end - p->first - done) > 0; done += DELTA_CHUNK) {
        struct delta_rows r = all;
        r.q += done * r.ld;
        r.k += done * r.ld;
        r.v += done * r.ld;
        r.decay = decay + done;
        r.beta = beta + done;
        r.out = mixed + done * ws->ld_mixed;
        r.n_rows = left < DELTA_CHUNK ? left : DELTA_CHUNK;
        if (r.n_rows >= DELTA_CHUNK_MIN && !m->exact) /* in an exact model one form serves all */
            delta_chunk(&ws->ops, &r, chunk);
        else
            delta_recurrent(&ws->ops, &r);
    }
    for (int row = p->first; row < p->end; row++, mixed += ws->ld_mixed) {
        ws->ops.rms_norm(mixed, mixed, layer->delta.norm, values, m->config.rms_norm_eps);
        ws->ops.silu_mul(mixed, ws->recurrent.z + row * ws->recurrent.ld_z + value_head * values, mixed, values);
    }
}

/* Every state once; the convolution, and of the rule what its recurrent form multiplies: the state with the key, key
 * and value, the state with the query. Thread 0. */
static void account(const struct mixer *mixer, struct workspace *ws, const struct chunk *c, const struct thread *t)
{
    const uint64_t n_rows = (uint64_t)c->n_rows,
                   state = (uint64_t)mixer->n_value_heads * (uint64_t)mixer->head_dim * (uint64_t)mixer->v_head_dim;
    count_cache(ws, t, TRACE_RECURRENT, sizeof(float) * state * (uint64_t)chunk_n_runs(c));
    trace_operations(t, TRACE_RECURRENT, PEAK_F32,
                     2 * n_rows * (3 * state + (uint64_t)delta_channels(mixer) * (uint64_t)mixer->conv_kernel));
}

void delta_net(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
               const float *h, struct thread *t)
{
    const struct mixer *mixer = &layer->config->mixer;
    float *own = ws->recurrent.own + (size_t)t->id * ws->recurrent.own_floats;
    project_input(m, layer, ws, c, h, t);
    trace_mark(t, TRACE_RECURRENT);
    for (struct piece p = piece_first(c, 2 * mixer->n_key_heads + mixer->n_value_heads, t); p.left > 0; piece_next(&p))
        prepare(layer, l, ws, &p, own);
    team_barrier(t);
    for (struct piece p = piece_first(c, mixer->n_value_heads, t); p.left > 0; piece_next(&p))
        run_head(m, layer, l, ws, &p, own);
    if (t->id == 0) account(mixer, ws, c, t);
    team_barrier(t);
    project_branch(m, layer, &layer->o, ws->mixed, ws->ld_mixed, ws, c, t);
}
