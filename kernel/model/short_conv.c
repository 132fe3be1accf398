/* The gated short convolution of LFM2 (Liquid AI 2025).
 *
 *   b, c, u = W_in h              [n_rows, hidden_size] each
 *   y = causal_conv(b * u)        every channel on its own, over the last conv_kernel positions
 *   x += W_out (c * y)
 */
#include <string.h>

#include "model/recurrent.h"

enum { CHANNELS = 128 }; /* of a piece of work */

static int width_of(int hidden_size, int part)
{
    int left = hidden_size - part * CHANNELS;
    return left < CHANNELS ? left : CHANNELS;
}

static void mix_channels(const struct model *m, const struct layer *layer, int l, struct workspace *ws,
                         const struct piece *p, float *scratch)
{
    const int hidden_size = m->config.hidden_size, at = p->part * CHANNELS, width = width_of(hidden_size, p->part);
    const ptrdiff_t ld = ws->recurrent.ld_in;
    float *b = ws->recurrent.in + p->first * ld + at, *c = b + hidden_size, *u = c + hidden_size;
    const struct conv conv = {
        .x = u,
        .ldx = ld,
        .n_rows = p->end - p->first,
        .width = width,
        .n_taps = layer->config->mixer.conv_kernel,
        .taps = layer->conv + at,
        .tail = p->chunk->rows[p->first].cache->layers[l].tail + at,
        .channels = hidden_size,
    };
    for (int i = 0; i < conv.n_rows; i++) ws->ops.mul(u + i * ld, b + i * ld, width);
    causal_conv(&ws->ops, &conv, scratch);
    for (int i = 0; i < conv.n_rows; i++) {
        float *mixed = ws->mixed + (p->first + i) * ws->ld_mixed + at;
        memcpy(mixed, c + i * ld, (size_t)width * sizeof *mixed);
        ws->ops.mul(mixed, u + i * ld, width);
    }
}

void short_conv(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                const float *h, struct thread *t)
{
    const struct weight *weights[] = {&layer->conv_in};
    const int n_parts = (m->config.hidden_size + CHANNELS - 1) / CHANNELS;
    float *own = ws->recurrent.own + (size_t)t->id * ws->recurrent.own_floats;
    project(m, ws, t, TRACE_RECURRENT_IN, weights, 1, h, ws->ld_hidden, c->n_rows, &ws->recurrent.in,
            &ws->recurrent.ld_in);
    trace_mark(t, TRACE_RECURRENT);
    for (struct piece p = piece_first(c, n_parts, t); p.left > 0; piece_next(&p))
        mix_channels(m, layer, l, ws, &p, own);
    if (t->id == 0)
        trace_operations(t, TRACE_RECURRENT, PEAK_F32,
                         2 * (uint64_t)c->n_rows * (uint64_t)m->config.hidden_size *
                             (uint64_t)layer->config->mixer.conv_kernel);
    team_barrier(t);
    project_branch(m, layer, &layer->o, ws->mixed, ws->ld_mixed, ws, c, t);
}
