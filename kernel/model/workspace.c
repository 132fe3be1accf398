#include "model/workspace.h"

#include "model/product.h"

/* The widest of everything, over all layers. */
struct extent {
    int q, kv, v, mixed, mlp, act, shared_act, experts, top_k, group, head_dim;
    bool both, router_in;                   /* some layer has an MLP beside experts, a router with an own input */
    size_t one_row, rows, row_slots, slots; /* packed bytes: one row, all rows, the slots of one row, all slots */
    size_t scratch;                         /* of a kernel */
    int n_regions;
};

static void extend(struct extent *e, const struct model *m, const struct weight *w, int max_rows)
{
    if (!w->layout) return;
    e->one_row = max_size(e->one_row, operand_bytes(w, 1, m->features));
    e->rows = max_size(e->rows, operand_bytes(w, max_rows, m->features));
    for (int rows = 1; rows <= max_rows; rows *= 2) {
        const struct panel_kernel *kernel = panel_kernel_choose(w->layout, rows, m->features);
        e->scratch = max_size(e->scratch, kernel->scratch_bytes(w->k));
    }
}

static void larger(int *max, int value)
{
    if (value > *max) *max = value;
}

static struct extent measure(const struct model *m, int max_rows)
{
    struct extent e = {.n_regions = 1};
    extend(&e, m, &m->head, max_rows < LOGIT_ROWS ? max_rows : LOGIT_ROWS);
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *layer = &m->layers[l];
        const struct layer_config *c = layer->config;
        larger(&e.q, layer->q.n);
        larger(&e.kv, layer->k.n);
        larger(&e.v, layer->k.n > layer->v.n ? layer->k.n : layer->v.n);
        larger(&e.mixed, layer->o.k);
        if (c->mixer.kind == MIX_GQA) larger(&e.group, c->mixer.n_heads / c->mixer.n_kv_heads);
        larger(&e.head_dim, c->mixer.v_head_dim);
        larger(&e.mlp, c->ffn.intermediate_size);
        larger(&e.act, c->ffn.expert_size);
        e.both |= c->ffn.kind == FFN_DENSE_AND_MOE;
        e.router_in |= c->router.input == INPUT_RESIDUAL;
        larger(&e.shared_act, c->ffn.shared_size);
        larger(&e.experts, c->router.n_experts);
        larger(&e.top_k, c->router.top_k);
        struct named_weight all[WEIGHTS_PER_LAYER];
        model_list_layer(layer, all);
        for (int i = 0; i < WEIGHTS_PER_LAYER; i++) extend(&e, m, all[i].weight, max_rows);
        const struct weight *experts[] = {&layer->gate.first, &layer->up.first, &layer->down.first};
        for (int i = 0; i < 3 && experts[i]->layout; i++) {
            size_t one_row_slots = (size_t)c->router.top_k * operand_bytes(experts[i], 1, m->features);
            e.row_slots = max_size(e.row_slots, one_row_slots);
            e.slots = max_size(e.slots, (size_t)max_rows * one_row_slots);
        }
        for (int i = 0; i < WEIGHTS_PER_LAYER; i++)
            if (all[i].weight->layout && all[i].weight->layout != layer->o.layout) e.n_regions = MAX_GROUP;
    }
    return e;
}

static void carve_routing(struct routing *r, int rows, int n_experts, int top_k, struct arena *arena)
{
    size_t slots = (size_t)rows * (size_t)top_k, n = (size_t)n_experts;
    r->scores = ARENA_TAKE(arena, float, (size_t)rows *(size_t)pad16(n_experts));
    r->experts = ARENA_TAKE(arena, int32_t, slots);
    r->weights = ARENA_TAKE(arena, float, slots);
    r->begin = ARENA_TAKE(arena, int, n + 1);
    r->slot_row = ARENA_TAKE(arena, int, slots);
    r->slot_weight = ARENA_TAKE(arena, float, slots);
    r->used = ARENA_TAKE(arena, int, n);
    r->packed_at = ARENA_TAKE(arena, size_t, n);
    r->ranks = ARENA_TAKE(arena, float, n);
    r->group_ranks = ARENA_TAKE(arena, float, n);
    r->groups = ARENA_TAKE(arena, int32_t, n);
}

static void carve_own(struct workspace *ws, const struct extent *e, struct arena *arena)
{
    size_t n = (size_t)ws->n_threads;
    ws->own_h = ARENA_TAKE(arena, float, n *(size_t)ws->ld_hidden);
    ws->own_router_in = ARENA_TAKE(arena, float, e->router_in ? n *(size_t)ws->ld_hidden : 0);
    ws->own_packed_bytes = (e->one_row + 127) & ~(size_t)63; /* 64 readable bytes after each */
    ws->own_packed = ARENA_TAKE(arena, unsigned char, n *(size_t)ws->n_regions * ws->own_packed_bytes);
    ws->own_packed_experts_bytes = (e->row_slots + 127) & ~(size_t)63;
    ws->own_packed_experts = ARENA_TAKE(arena, unsigned char, n * ws->own_packed_experts_bytes);
    /* per query of a group: scores of one block, running output, maximum, sum */
    ws->own_scores_floats = (size_t)pad16(e->group * (ATTENTION_BLOCK + (int)pad16(e->head_dim) + 2)) + 16;
    ws->own_scores = ARENA_TAKE(arena, float, n * ws->own_scores_floats);
    ws->own_tile = ARENA_TAKE(arena, float, n *ROW_BLOCK *(size_t)ws->ld_hidden);
    ws->own_scratch_bytes = (e->scratch + 127) & ~(size_t)63;
    ws->own_scratch = ARENA_TAKE(arena, unsigned char, n * ws->own_scratch_bytes);
    ws->own_routing = ARENA_TAKE(arena, struct routing, n);
    for (size_t i = 0; i < n; i++) {
        struct routing unused;
        carve_routing(ws->own_routing ? &ws->own_routing[i] : &unused, 1, e->experts, e->top_k, arena);
    }
}

void workspace_carve(struct workspace *ws, const struct model *m, int max_rows, int n_threads, int n_context,
                     struct arena *arena)
{
    const struct model_config *c = &m->config;
    struct extent e = measure(m, max_rows);
    const size_t rows = (size_t)max_rows;
    ws->max_rows = max_rows;
    ws->n_threads = n_threads;
    ws->n_experts = e.experts;
    ws->n_regions = e.n_regions;
    ws->ld_hidden = pad16(c->hidden_size);
    ws->ld_q = pad16(e.q);
    ws->ld_kv = pad16(e.kv);
    ws->ld_v = pad16(e.v);
    ws->ld_mixed = pad16(e.mixed);
    ws->ld_experts = pad16(e.experts);
    ws->ld_vocab = pad16(c->vocab_size);
    ws->ld_mlp = pad16(e.mlp);
    ws->ld_act = pad16(e.act);
    ws->ld_shared_act = pad16(e.shared_act);

    ws->x = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_hidden);
    ws->h = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_hidden);
    ws->branch = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_hidden);
    ws->q = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_q);
    ws->k = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_kv);
    ws->v = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_v);
    ws->mixed = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_mixed);
    ws->beside = ARENA_TAKE(arena, float, e.both ? rows *(size_t)ws->ld_hidden : 0);
    ws->router_in = ARENA_TAKE(arena, float, e.router_in ? rows *(size_t)ws->ld_hidden : 0);
    mla_carve(ws, m, arena);
    recurrent_carve(ws, m, arena);
    const size_t act = rows * max_size((size_t)ws->ld_mlp, (size_t)e.top_k * (size_t)ws->ld_act);
    ws->gate = ARENA_TAKE(arena, float, act);
    ws->up = ARENA_TAKE(arena, float, act);
    ws->shared_gate = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_shared_act);
    ws->shared_up = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_shared_act);
    ws->shared_switch = ARENA_TAKE(arena, float, rows * 16);
    ws->logits = ARENA_TAKE(arena, float, LOGIT_ROWS *(size_t)ws->ld_vocab);
    carve_routing(&ws->routing, max_rows, e.experts, e.top_k, arena);
    ws->packed_bytes = (e.rows + 127) & ~(size_t)63;
    ws->packed = ARENA_TAKE(arena, unsigned char, ws->packed_bytes *(size_t)ws->n_regions);
    ws->packed_experts = ARENA_TAKE(arena, unsigned char, e.slots);
    carve_own(ws, &e, arena);

    for (int i = 0; i < N_ROPES; i++) {
        size_t pairs = (size_t)n_context * (size_t)(c->rope[i].n_rot / 2);
        ws->cosine[i] = ARENA_TAKE(arena, float, pairs);
        ws->sine[i] = ARENA_TAKE(arena, float, pairs);
    }
    ws->touched = ARENA_TAKE(arena, unsigned char, (size_t)c->n_layers *(size_t)e.experts);
}

void workspace_init(struct workspace *ws, const struct model *m, int n_context)
{
    ops_init(&ws->ops, m->features);
    for (int i = 0; i < N_ROPES; i++)
        rope_table(&m->config.rope[i], n_context, (float *)ws->cosine[i], (float *)ws->sine[i]);
    atomic_init(&ws->not_finite, false);
}
