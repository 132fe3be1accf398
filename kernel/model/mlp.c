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

/* One block of rows: floats in this thread's tile, gate's outputs beside up's, then packed. */
static void gated_block(struct workspace *ws, const struct ffn *f, const struct gated *g, int b, int begin, int end,
                        struct thread *t)
{
    const int columns = gated_columns(&g->gate, &g->up);
    const ptrdiff_t ld = tile_stride(2 * columns);
    const struct operand gate_in = operand_part(&g->gate_in, b, b + 1), up_in = operand_part(&g->up_in, b, b + 1);
    const struct operand out = operand_part(&g->out, b, b + 1);
    float *gate = own_tile(ws, t), *up = gate + columns;
    product(gate - begin, ld, &g->gate, &gate_in, begin, end, own_scratch(ws, t));
    product(up - begin, ld, &g->up, &up_in, begin, end, own_scratch(ws, t));
    for (int i = 0; i < out.m; i++) activate(f, &ws->ops, gate + i * ld, up + i * ld, end - begin);
    if (ws->collector)
        ws->collector->collect(ws->collector->context, t, g->down, g->expert, gate, ld, NULL, out.m, begin, end);
    out.kernel->pack_x(out.data, gate, ld, NULL, out.m, out.k, begin, end);
}

void gated_piece(struct workspace *ws, const struct ffn *f, const struct gated *g, int piece, struct thread *t)
{
    const int n_groups = n_row_groups(g->out.m, ws), columns = gated_columns(&g->gate, &g->up);
    const int tile = piece / n_groups, group = piece % n_groups, n_blocks = operand_blocks(&g->out);
    const int begin = tile * columns, end = begin + columns < g->gate.n ? begin + columns : g->gate.n;
    const int n = ws->collector ? n_blocks : SHARE_BLOCKS, b0 = group * n, b1 = b0 + n < n_blocks ? b0 + n : n_blocks;
    for (int b = b0; b < b1; b++) gated_block(ws, f, g, b, begin, end, t);
}

void mlp(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c, const float *h,
         struct thread *t)
{
    const struct mlp_weights *w = &layer->dense;
    const struct weight *first[2] = {&w->gate, &w->up};
    struct operand o[2], out = operand_at(m, &w->down, c->n_rows, ws->packed_gated);

    trace_mark(t, TRACE_MLP_GATE_UP);
    pack_group(m, ws, t, first, 2, h, ws->ld_hidden, c->n_rows, o);
    if (c->n_rows > 1) team_barrier(t);
    const struct gated g = {w->gate, w->up, &w->down, o[0], o[1], out, -1};
    const int n_pieces = n_tiles(w->gate.n, gated_columns(&w->gate, &w->up)) * n_row_groups(c->n_rows, ws);
    for (int piece; (piece = team_next(t, 0)) < n_pieces;) gated_piece(ws, &layer->config->ffn, &g, piece, t);
    count_product(ws, t, TRACE_MLP_GATE_UP, &w->gate, &o[0]);
    count_product(ws, t, TRACE_MLP_GATE_UP, &w->up, &o[1]);
    team_barrier(t);
    trace_mark(t, TRACE_MLP_DOWN);
    add_product(layer, &w->down, &out, ws, TRACE_MLP_DOWN, t);
}
