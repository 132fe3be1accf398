/* The mixture of experts: x += sum over the chosen experts e of p_e E_e(h), E(h) = Wdown(silu(Wgate h) * Wup h), plus
 * the shared expert where the model has one (Shazeer 2017; Dai 2024). Some families have another activation than silu,
 * or a bias behind each matrix, which is then inside the sum.
 *
 * Decode and prefill are the same code. The router sorts (row, expert) pairs into slots by expert; each expert's rows
 * are packed together; then two waves of pieces that threads take from a counter:
 *   gate-up: one piece is a tile of one expert's rows of Wgate and Wup, for all tokens that chose it;
 *   down:    one piece owns a tile of outputs for all rows, and adds the experts in ascending id, so the sum has one
 *            order whatever the number of threads, and no token waits in a slot buffer for a combining pass. */
#include <string.h>

#include "model/forward.h"

enum { COUNTER_GATE_UP, COUNTER_DOWN };

static int rows_of(const struct routing *r, int e) { return r->begin[e + 1] - r->begin[e]; }

static struct operand expert_operand(const struct model *m, const struct weight *w, const struct routing *r, int i,
                                     unsigned char *packed)
{
    return operand_at(w, rows_of(r, r->used[i]), m->features, packed + r->packed_at[i]);
}

/* Where the packed rows of each used expert begin. Every thread could compute it; one does when it is shared. */
static void place_operands(const struct model *m, const struct weight *w, struct routing *r)
{
    size_t at = 0;
    for (int i = 0; i < r->n_used; i++) {
        r->packed_at[i] = at;
        at += operand_bytes(w, rows_of(r, r->used[i]), m->features);
    }
}

/* Packs the input rows of every used expert: rows of h by index (slot_row), or of an activation slot by slot. With one
 * row every thread packs all for itself; otherwise experts are dealt out. A barrier follows in the second case. */
static unsigned char *pack_experts(const struct model *m, struct workspace *ws, const struct weight *w,
                                   struct routing *r, const float *x, ptrdiff_t ldx, bool by_slot, int n_rows,
                                   struct thread *t)
{
    bool own = n_rows == 1;
    unsigned char *packed =
        own ? ws->own_packed_experts + (size_t)t->id * ws->own_packed_experts_bytes : ws->packed_experts;
    if (own || t->id == 0) place_operands(m, w, r);
    if (!own) team_barrier(t);
    for (int i = own ? 0 : t->id; i < r->n_used; i += own ? 1 : t->n) {
        struct operand o = expert_operand(m, w, r, i, packed);
        int slot = r->begin[r->used[i]];
        const float *first = by_slot ? x + slot * ldx : x;
        const int *rows = by_slot ? NULL : r->slot_row + slot;
        operand_pack(&o, first, ldx, rows, 0, operand_blocks(&o));
        if (ws->collector && (!own || t->id == 0))
            ws->collector->collect(ws->collector->context, t, w, r->used[i], first, ldx, rows, o.m, 0, w->k);
    }
    if (!own) team_barrier(t);
    return packed;
}

/* gate = silu(Wgate x) * Wup x for one tile of outputs. */
static void gate_up_tile(struct workspace *ws, const struct ffn *f, const struct weight *gate, const struct weight *up,
                         const struct operand *gate_in, const struct operand *up_in, float *gate_out, float *up_out,
                         ptrdiff_t ld, int tile, struct thread *t)
{
    int step = tile_rows(gate, up), begin = tile * step, end = begin + step < gate->n ? begin + step : gate->n;
    product(gate_out, ld, gate, gate_in, begin, end, own_scratch(ws, t));
    product(up_out, ld, up, up_in, begin, end, own_scratch(ws, t));
    for (int i = 0; i < gate_in->m; i++)
        activate(f, &ws->ops, gate_out + i * ld + begin, up_out + i * ld + begin, end - begin);
}

/* First wave. The shared expert's tiles come first: they have the most rows. */
static void gate_up(const struct model *m, const struct layer *layer, struct workspace *ws, const struct routing *r,
                    unsigned char *packed, const struct operand *shared, struct thread *t)
{
    const struct weight *one = &layer->gate.first, *two = &layer->up.first;
    const struct mlp_weights *s = &layer->shared;
    const struct ffn *f = &layer->config->ffn;
    const int per_expert = n_tiles(one->n, tile_rows(one, two));
    const int n_shared = shared ? n_tiles(s->gate.n, tile_rows(&s->gate, &s->up)) : 0;
    for (int piece; (piece = team_next(t, COUNTER_GATE_UP)) < n_shared + r->n_used * per_expert;) {
        if (piece < n_shared) {
            gate_up_tile(ws, f, &s->gate, &s->up, &shared[1], &shared[2], ws->shared_gate, ws->shared_up,
                         ws->ld_shared_act, piece, t);
            continue;
        }
        int i = (piece - n_shared) / per_expert, e = r->used[i];
        struct weight gate = bank_weight(&layer->gate, e), up = bank_weight(&layer->up, e);
        struct operand gate_in = expert_operand(m, &gate, r, i, packed);
        struct operand up_in = expert_operand(m, &up, r, i, packed); /* the same bytes: operands_alike */
        ptrdiff_t slot = r->begin[e] * ws->ld_act;
        gate_up_tile(ws, f, &gate, &up, &gate_in, &up_in, ws->gate + slot, ws->up + slot, ws->ld_act,
                     (piece - n_shared) % per_expert, t);
    }
}

/* Adds one expert's share of the outputs [begin, end) into the branch of its rows. */
static void add_expert(struct workspace *ws, const struct weight *down, const struct operand *o, const int *rows,
                       const float *weights, ptrdiff_t weight_stride, int begin, int end, struct thread *t)
{
    float *partial = ws->own_tile + (ptrdiff_t)t->id * ROW_BLOCK * ws->ld_hidden;
    for (int b = 0; b < operand_blocks(o); b++) {
        struct operand block = *o;
        block.data += (size_t)b * o->block_bytes;
        block.m = operand_block_rows(o, b);
        product(partial, ws->ld_hidden, down, &block, begin, end, own_scratch(ws, t));
        for (int j = 0; j < block.m; j++) {
            int slot = b * ROW_BLOCK + j, row = rows ? rows[slot] : slot;
            ws->ops.add_scaled(ws->branch + row * ws->ld_hidden + begin, partial + j * ws->ld_hidden + begin,
                               weights[slot * weight_stride], end - begin);
        }
    }
}

/* Second wave. */
static void down(const struct model *m, const struct layer *layer, struct workspace *ws, const struct routing *r,
                 unsigned char *packed, const struct operand *shared, int n_rows, struct thread *t)
{
    const struct weight *one = &layer->down.first;
    const int n = m->config.hidden_size, step = tile_rows(one, shared ? &layer->shared.down : one);
    for (int tile; (tile = team_next(t, COUNTER_DOWN)) < n_tiles(n, step);) {
        int begin = tile * step, end = begin + step < n ? begin + step : n;
        for (int i = 0; i < n_rows; i++)
            memset(ws->branch + i * ws->ld_hidden + begin, 0, (size_t)(end - begin) * sizeof(float));
        for (int i = 0; i < r->n_used; i++) {
            int e = r->used[i];
            struct weight w = bank_weight(&layer->down, e);
            struct operand o = expert_operand(m, &w, r, i, packed);
            add_expert(ws, &w, &o, r->slot_row + r->begin[e], r->slot_weight + r->begin[e], 1, begin, end, t);
        }
        if (shared) add_expert(ws, &layer->shared.down, shared, NULL, ws->shared_switch, 16, begin, end, t);
        add_branch(layer, ws, n_rows, begin, end);
    }
}

/* How much of the shared expert each row gets, to column 0 of shared_switch: all, or sigmoid(w . h), which is the
 * softmax of (w . h, 0). */
static void set_switch(const struct layer *layer, struct workspace *ws, int n_rows, const struct operand *o,
                       struct thread *t)
{
    const bool gated = layer->config->ffn.shared == SHARED_GATED;
    if (gated) product(ws->shared_switch, 16, &layer->shared_switch, o, 0, 1, own_scratch(ws, t));
    for (int i = 0; i < n_rows; i++) {
        float *row = ws->shared_switch + i * 16;
        if (gated) {
            row[1] = 0;
            ws->ops.softmax(row, 2);
        } else {
            row[0] = 1;
        }
    }
}

/* Router logits and the shared expert's switch: small products, rows of outputs dealt out. operands[0] is the router's,
 * [1] and [2] those of the shared expert's gate and up, [3] its switch's. */
static void score_rows(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c,
                       const float *h, const float *router_h, struct operand *operands, struct thread *t)
{
    static const int counts[] = {[SHARED_NONE] = 1, [SHARED_ADDED] = 3, [SHARED_GATED] = MAX_GROUP};
    const struct weight *weights[MAX_GROUP] = {&layer->router, &layer->shared.gate, &layer->shared.up,
                                               &layer->shared_switch};
    const int n_weights = counts[layer->config->ffn.shared], n_first = router_h == h ? n_weights : 1;
    int begin, end;
    pack_group(m, ws, t, weights, n_first, router_h, ws->ld_hidden, c->n_rows, operands);
    if (c->n_rows > 1) team_barrier(t);
    team_range(t, layer->router.n, layer->router.layout->nr, &begin, &end);
    if (begin < end)
        product(ws->routing.scores, ws->ld_experts, &layer->router, &operands[0], begin, end, own_scratch(ws, t));
    if (n_first < n_weights) { /* the shared expert reads other rows, packed to the place of the router's */
        if (c->n_rows > 1) team_barrier(t);
        pack_group(m, ws, t, weights + 1, n_weights - 1, h, ws->ld_hidden, c->n_rows, operands + 1);
        if (c->n_rows > 1) team_barrier(t);
    }
    if (n_weights > 1 && t->id == t->n - 1) set_switch(layer, ws, c->n_rows, &operands[3], t);
    if (t->id == 0) team_reset_counters(t);
    team_barrier(t);
}

/* What was read: the router, each used expert once, the shared expert. */
static void account(const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                    const struct routing *r)
{
    size_t expert = layer->gate.stride + layer->up.stride + layer->down.stride;
    ws->bytes_read += weight_bytes(&layer->router) + expert * (size_t)r->n_used;
    ws->experts_read += (uint64_t)r->n_used;
    if (layer->config->ffn.shared != SHARED_NONE)
        ws->bytes_read +=
            weight_bytes(&layer->shared.gate) + weight_bytes(&layer->shared.up) + weight_bytes(&layer->shared.down);
    if (layer->config->ffn.shared == SHARED_GATED) ws->bytes_read += weight_bytes(&layer->shared_switch);
    for (int i = 0; c->is_decode && i < r->n_used; i++) ws->touched[l * ws->n_experts + r->used[i]] = 1;
}

void experts(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
             const float *h, const float *router_h, struct thread *t)
{
    const struct router *config = &layer->config->router;
    const bool has_shared = layer->config->ffn.shared != SHARED_NONE;
    const struct weight *shared_down[1] = {&layer->shared.down};
    struct operand operands[MAX_GROUP], shared_operand;

    score_rows(m, layer, ws, c, h, router_h, operands, t);
    struct routing *r = route(layer, ws, c->n_rows, t);
    observe(c, t, SEE_ROUTER_SCORES, l, r->scores, ws->ld_experts, config->n_experts);
    observe(c, t, SEE_EXPERTS, l, r->experts, config->top_k, config->top_k);
    observe(c, t, SEE_EXPERT_WEIGHTS, l, r->weights, config->top_k, config->top_k);
    if (t->id == 0) account(layer, l, ws, c, r);

    unsigned char *packed = pack_experts(m, ws, &layer->gate.first, r, h, ws->ld_hidden, false, c->n_rows, t);
    gate_up(m, layer, ws, r, packed, has_shared ? operands : NULL, t);
    team_barrier(t);

    packed = pack_experts(m, ws, &layer->down.first, r, ws->gate, ws->ld_act, true, c->n_rows, t);
    if (has_shared) {
        pack_group(m, ws, t, shared_down, 1, ws->shared_gate, ws->ld_shared_act, c->n_rows, &shared_operand);
        if (c->n_rows > 1) team_barrier(t);
    }
    down(m, layer, ws, r, packed, has_shared ? &shared_operand : NULL, c->n_rows, t);
    team_barrier(t);
}
