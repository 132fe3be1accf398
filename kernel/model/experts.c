/* The mixture of experts: x += sum over the chosen experts e of p_e E_e(h), E(h) = Wdown(silu(Wgate h) * Wup h), plus
 * the shared expert where the model has one (Shazeer 2017; Dai 2024). Some families have another activation than silu,
 * or a bias behind each matrix, which is then inside the sum.
 *
 * Decode and prefill are the same code. The router sorts (row, expert) pairs into slots by expert; each expert's rows
 * are packed together (one row: once, for all); then two waves of pieces that threads take from a counter:
 *   gate-up: one piece is a tile of one expert's rows of Wgate and Wup, for the tokens that chose it. Its outputs are
 *            the columns of one group of packed activations, so the thread that made them packs them (gated_piece):
 *            floats between the waves exist only in its tile;
 *   down:    one piece owns a tile of outputs for all rows, and adds the experts in ascending id, so the sum has one
 *            order whatever the number of threads, and no token waits in a slot buffer for a combining pass.
 * Three barriers with one row: after the router's scores and after each wave. */
#include <string.h>

#include "model/forward.h"

static int rows_of(const struct routing *r, int i) { return r->begin[r->used[i] + 1] - r->begin[r->used[i]]; }

/* Pieces of the wave of gate and up for this many rows. */
static int n_gated_pieces(const struct weight *gate, const struct weight *up, int n_rows, const struct workspace *ws)
{
    return n_tiles(gate->n, gated_columns(gate, up)) * n_row_groups(n_rows, ws);
}

/* Where the packed rows of each used expert begin, and its pieces. Every thread does it for a row of its own; otherwise
 * one for all. */
static void place_experts(const struct model *m, const struct layer *layer, const struct workspace *ws,
                          struct routing *r)
{
    size_t input = 0, gated = 0;
    r->first_piece[0] = 0;
    for (int i = 0; i < r->n_used; i++) {
        const int n = rows_of(r, i);
        r->input_at[i] = ws->dense_twin ? 0 : input; /* all experts read the same rows in the same order */
        r->gated_at[i] = gated;
        r->first_piece[i + 1] = r->first_piece[i] + n_gated_pieces(&layer->gate.first, &layer->up.first, n, ws);
        input += operand_bytes(m, &layer->gate.first, n);
        gated += operand_bytes(m, &layer->down.first, n);
    }
}

/* Packs the rows of every used expert; each thread has its share of every expert. A barrier must follow. */
static void pack_experts(const struct model *m, const struct layer *layer, struct workspace *ws,
                         const struct routing *r, const float *h, struct thread *t)
{
    const struct input_collector *collector = ws->collector;
    const struct weight *w = &layer->gate.first;
    int begin, end;
    for (int i = 0; i < r->n_used; i++) {
        const int *rows = r->slot_row + r->begin[r->used[i]];
        struct operand o = operand_at(m, w, rows_of(r, i), ws->packed_slots + r->input_at[i]);
        team_range(t, operand_pieces(&o), 1, &begin, &end);
        if (i == 0 || !ws->dense_twin) operand_pack(&o, h, ws->ld_hidden, rows, begin, end);
        team_range(t, w->k, 1, &begin, &end);
        if (collector)
            collector->collect(collector->context, t, w, r->used[i], h + begin, ws->ld_hidden, rows, o.m, begin, end);
    }
}

/* With one row nothing is packed per expert: shows the collector what each reads. */
static void collect_row(const struct layer *layer, struct workspace *ws, const struct routing *r, const float *h,
                        const struct thread *t)
{
    const struct input_collector *collector = ws->collector;
    const struct weight *w = &layer->gate.first;
    for (int i = 0; collector && i < r->n_used; i++)
        collector->collect(collector->context, t, w, r->used[i], h, ws->ld_hidden, NULL, 1, 0, w->k);
}

/* What the wave of gate and up has in common: the shared expert, if there is one, and where the experts' rows lie. */
struct wave {
    const struct model *m;
    const struct layer *layer;
    const struct routing *r;
    const struct operand *row; /* of one row: the operand of all experts; else NULL */
    struct gated shared;       /* without rows: there is none */
};

static struct gated gated_expert(const struct wave *v, const struct workspace *ws, int i)
{
    const int e = v->r->used[i], n = rows_of(v->r, i);
    struct gated g = {.expert = e, .down = &v->layer->down.first};
    g.gate = bank_weight(&v->layer->gate, e);
    g.up = bank_weight(&v->layer->up, e);
    unsigned char *input = v->row ? v->row->data : ws->packed_slots + v->r->input_at[i];
    g.gate_in = operand_at(v->m, &g.gate, n, input);
    g.up_in = operand_at(v->m, &g.up, n, input); /* the same bytes: operands_alike */
    g.out = operand_at(v->m, g.down, n, ws->packed_gated_slots + v->r->gated_at[i]);
    return g;
}

/* First wave. The shared expert's pieces come first: they have the most rows. */
static void gate_up(const struct wave *v, struct workspace *ws, struct thread *t)
{
    const struct ffn *f = &v->layer->config->ffn;
    const int n_shared = v->shared.out.m ? n_gated_pieces(&v->shared.gate, &v->shared.up, v->shared.out.m, ws) : 0;
    if (n_shared) trace_mark(t, TRACE_SHARED_GATE_UP);
    int piece = team_next(t, 0);
    for (; piece < n_shared; piece = team_next(t, 0)) gated_piece(ws, f, &v->shared, piece, t);
    trace_mark(t, TRACE_EXPERT_GATE_UP);
    for (int i = 0; piece < n_shared + v->r->first_piece[v->r->n_used]; piece = team_next(t, 0)) {
        const int own = piece - n_shared;
        while (v->r->first_piece[i + 1] <= own) i++;
        struct gated g = gated_expert(v, ws, i);
        gated_piece(ws, f, &g, own - v->r->first_piece[i], t);
    }
}

/* Adds one expert's share of the outputs [begin, end) into the branch of its rows. */
static void add_expert(struct workspace *ws, const struct weight *down, const struct operand *o, const int *rows,
                       const float *weights, ptrdiff_t weight_stride, int begin, int end, struct thread *t)
{
    float *tile = own_tile(ws, t);
    const ptrdiff_t ld = tile_stride(end - begin);
    for (int b = 0; b < operand_blocks(o); b++) {
        const struct operand block = operand_part(o, b, b + 1);
        product(tile - begin, ld, down, &block, begin, end, own_scratch(ws, t));
        for (int j = 0; j < block.m; j++) {
            int slot = b * ROW_BLOCK + j, row = rows ? rows[slot] : slot;
            ws->ops.add_scaled(ws->branch + row * ws->ld_hidden + begin, tile + j * ld, weights[slot * weight_stride],
                               end - begin);
        }
    }
}

/* Second wave. */
static void down(const struct wave *v, struct workspace *ws, int n_rows, struct thread *t)
{
    const struct layer *layer = v->layer;
    const struct routing *r = v->r;
    const bool shared = v->shared.out.m > 0;
    const int n = layer->down.first.n, nr = layer->down.first.layout->nr;
    const int unit = shared && layer->shared.down.layout->nr > nr ? layer->shared.down.layout->nr : nr;
    trace_mark(t, TRACE_EXPERT_DOWN);
    for (int first, last; team_take(t, 0, n_tiles(n, unit), most_units(unit), &first, &last);) {
        const int begin = first * unit, end = last * unit < n ? last * unit : n;
        for (int i = 0; i < n_rows; i++)
            memset(ws->branch + i * ws->ld_hidden + begin, 0, (size_t)(end - begin) * sizeof(float));
        for (int i = 0; i < r->n_used; i++) {
            int e = r->used[i];
            struct weight w = bank_weight(&layer->down, e);
            struct operand o = operand_at(v->m, &w, rows_of(r, i), ws->packed_gated_slots + r->gated_at[i]);
            add_expert(ws, &w, &o, r->slot_row + r->begin[e], r->slot_weight + r->begin[e], 1, begin, end, t);
        }
        if (shared) {
            trace_switch(t, TRACE_SHARED_DOWN);
            add_expert(ws, &layer->shared.down, &v->shared.out, NULL, ws->shared_switch, 16, begin, end, t);
            trace_switch(t, TRACE_EXPERT_DOWN);
        }
        add_branch(layer, ws, 0, n_rows, begin, end);
    }
}

/* How much of the shared expert each row of these blocks gets, to column 0 of shared_switch: all, or sigmoid(w . h),
 * which is the softmax of (w . h, 0). */
static void set_switch(const struct layer *layer, struct workspace *ws, const struct operand *o, int block0, int block1,
                       struct thread *t)
{
    const bool gated = layer->config->ffn.shared == SHARED_GATED;
    const struct operand part = operand_part(o, block0, block1);
    float *row = ws->shared_switch + (ptrdiff_t)block0 * ROW_BLOCK * 16;
    if (gated) product(row, 16, &layer->shared_switch, &part, 0, 1, own_scratch(ws, t));
    for (int i = 0; i < part.m; i++, row += 16) {
        if (gated) {
            row[1] = 0;
            ws->ops.softmax(row, 2);
        } else {
            row[0] = 1;
        }
    }
}

/* Router logits. */
static void score_rows(const struct layer *layer, struct workspace *ws, const struct operand *o, struct thread *t)
{
    const struct weight *w = &layer->router;
    const int nr = w->layout->nr;
    struct share s = {.n_units = n_tiles(w->n, nr), .n_blocks = operand_blocks(o)};
    while (next_share(&s, t, 0, most_units(nr))) {
        const struct operand part = operand_part(o, s.block0, s.block1);
        product(ws->routing.scores + (ptrdiff_t)s.block0 * ROW_BLOCK * ws->ld_experts, ws->ld_experts, w, &part,
                s.begin * nr, s.end * nr < w->n ? s.end * nr : w->n, own_scratch(ws, t));
    }
}

/* Operands of what reads h beside the router: those of the shared expert, and with one row that of all experts. */
struct inputs {
    struct operand router, gate, up, shared_switch, experts;
};

static void pack_inputs(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c,
                        const float *h, const float *router_h, struct inputs *in, struct thread *t)
{
    const struct ffn *f = &layer->config->ffn;
    const struct weight *weights[MAX_GROUP] = {&layer->router};
    struct operand operands[MAX_GROUP];
    int n = 1;
    if (f->shared != SHARED_NONE) weights[n++] = &layer->shared.gate, weights[n++] = &layer->shared.up;
    if (f->shared == SHARED_GATED) weights[n++] = &layer->shared_switch;
    if (c->n_rows == 1) weights[n++] = &layer->gate.first;
    const int n_first = router_h == h ? n : 1;
    pack_group(m, ws, t, weights, n_first, router_h, ws->ld_hidden, c->n_rows, operands);
    if (c->n_rows > 1) team_barrier(t);
    in->router = operands[0];
    score_rows(layer, ws, &in->router, t);
    if (n_first < n) { /* they read other rows, packed to the place of the router's */
        if (c->n_rows > 1) team_barrier(t);
        pack_group(m, ws, t, weights + 1, n - 1, h, ws->ld_hidden, c->n_rows, operands + 1);
        if (c->n_rows > 1) team_barrier(t);
    }
    if (f->shared != SHARED_NONE) in->gate = operands[1], in->up = operands[2];
    if (f->shared == SHARED_GATED) in->shared_switch = operands[3];
    if (c->n_rows == 1) in->experts = operands[n - 1];
}

/* What was read and multiplied: the router, each used expert once, the shared expert. Thread 0. */
static void account(const struct wave *v, int l, struct workspace *ws, const struct chunk *c, const struct inputs *in,
                    const struct thread *t)
{
    const struct layer *layer = v->layer;
    const struct routing *r = v->r;
    const uint64_t n_used = (uint64_t)r->n_used;
    count_product(ws, t, TRACE_ROUTER, &layer->router, &in->router);
    if (v->shared.out.m) {
        count_product(ws, t, TRACE_SHARED_GATE_UP, &layer->shared.gate, &in->gate);
        count_product(ws, t, TRACE_SHARED_GATE_UP, &layer->shared.up, &in->up);
        count_product(ws, t, TRACE_SHARED_DOWN, &layer->shared.down, &v->shared.out);
        trace_call(t, TRACE_SHARED_DOWN);
    }
    if (layer->config->ffn.shared == SHARED_GATED)
        count_product(ws, t, TRACE_ROUTER, &layer->shared_switch, &in->shared_switch);
    count_weights(ws, t, TRACE_EXPERT_GATE_UP,
                  n_used * (weight_bytes(&layer->gate.first) + weight_bytes(&layer->up.first)));
    count_weights(ws, t, TRACE_EXPERT_DOWN, n_used * weight_bytes(&layer->down.first));
    ws->experts_read += n_used;
    ws->expert_rows += (uint64_t)r->begin[layer->config->router.n_experts];
    for (int i = 0; i < r->n_used; i++) {
        const struct gated g = gated_expert(v, ws, i);
        count_operations(ws, t, TRACE_EXPERT_GATE_UP, &g.gate, &g.gate_in);
        count_operations(ws, t, TRACE_EXPERT_GATE_UP, &g.up, &g.up_in);
        count_operations(ws, t, TRACE_EXPERT_DOWN, g.down, &g.out);
        trace_expert(t, r->used[i], rows_of(r, i));
        if (c->is_decode) ws->touched[l * ws->n_experts + r->used[i]] = 1;
    }
}

void experts(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
             const float *h, const float *router_h, struct thread *t)
{
    const int n_chosen = experts_per_row(ws, &layer->config->router);
    const struct mlp_weights *s = &layer->shared;
    struct inputs in;
    struct wave v = {.m = m, .layer = layer};
    int begin, end;

    trace_mark(t, TRACE_ROUTER);
    pack_inputs(m, layer, ws, c, h, router_h, &in, t);
    if (layer->config->ffn.shared != SHARED_NONE) {
        const struct operand out = operand_at(m, &s->down, c->n_rows, ws->packed_gated);
        v.shared = (struct gated){s->gate, s->up, &s->down, in.gate, in.up, out, -1};
        team_range(t, operand_blocks(&out), 1, &begin, &end);
        if (begin < end)
            set_switch(layer, ws, layer->config->ffn.shared == SHARED_GATED ? &in.shared_switch : &out, begin, end, t);
    }
    team_barrier(t);

    struct routing *r = route(layer, l, ws, c, t);
    v.r = r;
    if (c->n_rows == 1) {
        v.row = &in.experts;
        place_experts(m, layer, ws, r);
    } else {
        trace_mark(t, TRACE_EXPERT_PACK);
        if (t->id == 0) place_experts(m, layer, ws, r);
        team_barrier(t);
        pack_experts(m, layer, ws, r, h, t);
        team_barrier(t);
    }
    if (c->n_rows == 1 && t->id == 0) collect_row(layer, ws, r, h, t);
    observe(c, t, SEE_ROUTER_SCORES, l, r->scores, ws->ld_experts, layer->config->router.n_experts);
    observe(c, t, SEE_EXPERTS, l, r->experts, n_chosen, n_chosen);
    observe(c, t, SEE_EXPERT_WEIGHTS, l, r->weights, n_chosen, n_chosen);
    if (t->id == 0) account(&v, l, ws, c, &in, t);

    gate_up(&v, ws, t);
    team_barrier(t);
    down(&v, ws, c->n_rows, t);
    team_barrier(t);
}
