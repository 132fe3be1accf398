/* What Gated DeltaNet and short convolutions share: buffers, pieces of work, projections, the convolution. */
#include "model/recurrent.h"

#include <string.h>

static void wider(ptrdiff_t *ld, int n)
{
    if (pad16(n) > *ld) *ld = pad16(n);
}

/* Floats that a thread needs for one piece of work on `rows` rows. */
static size_t own_floats(const struct model *m, const struct mixer *mixer, int rows)
{
    const size_t taps = (size_t)mixer->conv_kernel;
    if (mixer->kind == MIX_CONV) return taps * (size_t)pad16(m->config.hidden_size);
    const size_t widest = max_size((size_t)pad16(mixer->head_dim), (size_t)pad16(mixer->v_head_dim));
    const size_t chunk = delta_chunk_floats(mixer->head_dim, mixer->v_head_dim, m->features);
    return max_size(taps * widest, 2 * (size_t)pad16(rows) + chunk);
}

void recurrent_carve(struct workspace *ws, const struct model *m, struct arena *arena)
{
    struct recurrent_workspace *r = &ws->recurrent;
    const size_t rows = (size_t)ws->max_rows;
    *r = (struct recurrent_workspace){0};
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct mixer *mixer = &m->config.layers[l].mixer;
        if (!mixer_is_recurrent(mixer)) continue;
        r->own_floats = max_size(r->own_floats, own_floats(m, mixer, ws->max_rows));
        if (mixer->kind == MIX_CONV) wider(&r->ld_in, 3 * m->config.hidden_size);
        if (mixer->kind != MIX_DELTA) continue;
        wider(&r->ld_in, delta_channels(mixer));
        wider(&r->ld_z, mixer->n_value_heads * mixer->v_head_dim);
        wider(&r->ld_ba, 2 * (int)pad16(mixer->n_value_heads));
    }
    r->in = ARENA_TAKE(arena, float, rows *(size_t)r->ld_in);
    r->z = ARENA_TAKE(arena, float, rows *(size_t)r->ld_z);
    r->ba = ARENA_TAKE(arena, float, rows *(size_t)r->ld_ba);
    r->own = ARENA_TAKE(arena, float, (size_t)ws->n_threads * r->own_floats);
}

static void settle(struct piece *p)
{
    for (; p->left > 0 && p->part >= p->n_parts; p->part -= p->n_parts) {
        p->first = p->end;
        p->end = chunk_run_end(p->chunk, p->first);
    }
}

struct piece piece_first(const struct chunk *c, int n_parts, const struct thread *t)
{
    int begin, end;
    team_range(t, chunk_n_runs(c) * n_parts, 1, &begin, &end);
    struct piece p = {.chunk = c, .end = chunk_run_end(c, 0), .part = begin, .n_parts = n_parts, .left = end - begin};
    settle(&p);
    return p;
}

void piece_next(struct piece *p)
{
    p->left--;
    p->part++;
    settle(p);
}

/* The input at row i - back, which may lie before row 0. */
static const float *input_before(const struct conv *v, int i, int back)
{
    return i >= back ? v->x + (i - back) * v->ldx : v->tail + (v->n_taps - 1 + i - back) * v->channels;
}

void causal_conv(const struct ops *ops, const struct conv *v, float *scratch)
{
    const int before = v->n_taps - 1;
    const size_t bytes = (size_t)v->width * sizeof(float);
    for (int r = 0; r < before; r++) memcpy(scratch + r * v->width, input_before(v, v->n_rows, before - r), bytes);
    /* From the last row up, since a row reads only those above it. */
    for (int i = v->n_rows - 1; i >= 0; i--) {
        float *x = v->x + i * v->ldx;
        ops->mul(x, v->taps + before * v->channels, v->width);
        for (int back = 1; back <= before; back++)
            ops->mul_add(x, v->taps + (before - back) * v->channels, input_before(v, i, back), v->width);
    }
    for (int r = 0; r < before; r++) memcpy(v->tail + r * v->channels, scratch + r * v->width, bytes);
}
