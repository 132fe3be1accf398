/* The dense MLP: x += Wdown(silu(Wgate h) * Wup h) (Shazeer 2020), or with another activation than silu. */
#include "model/forward.h"

void activate(const struct ffn *f, const struct ops *ops, float *gate, const float *up, int n)
{
    switch (f->activation) {
    case ACT_SILU: ops->silu_mul(gate, gate, up, n); break;
    case ACT_GELU_TANH: ops->gelu_mul(gate, gate, up, n); break;
    case ACT_SWIGLU_CLAMPED: ops->swiglu_clamped(gate, gate, up, n, f->limit); break;
    }
}

void mlp(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c, const float *h,
         struct thread *t)
{
    const struct mlp_weights *w = &layer->dense;
    const struct weight *first[2] = {&w->gate, &w->up};
    struct operand o[2];
    int begin, end;

    pack_group(m, ws, t, first, 2, h, ws->ld_hidden, c->n_rows, o);
    if (c->n_rows > 1) team_barrier(t);
    team_range(t, w->gate.n, tile_rows(&w->gate, &w->up), &begin, &end);
    if (begin < end) {
        product(ws->gate, ws->ld_mlp, &w->gate, &o[0], begin, end, own_scratch(ws, t));
        product(ws->up, ws->ld_mlp, &w->up, &o[1], begin, end, own_scratch(ws, t));
        for (int i = 0; i < c->n_rows; i++)
            activate(&layer->config->ffn, &ws->ops, ws->gate + i * ws->ld_mlp + begin, ws->up + i * ws->ld_mlp + begin,
                     end - begin);
    }
    if (t->id == 0) ws->bytes_read += weight_bytes(&w->gate) + weight_bytes(&w->up);
    team_barrier(t);
    project_branch(m, layer, &w->down, ws->gate, ws->ld_mlp, ws, c, t);
}
