#include "model/workspace.h"

#include "model/product.h"

/* The widest of everything, over all layers. */
struct extent {
    int q, kv, v, mixed, experts, experts_per_row, slots_per_row;
    bool both, router_in; /* some layer has an MLP beside experts, a router with an own input */
    /* Packed bytes: of one row, of all rows; of all rows behind gate and up; of all slots; of those behind gate and up.
     */
    size_t one_row, rows, gated, slots, gated_slots;
    size_t scratch;   /* of a kernel */
    int tile_columns; /* of gate and up together */
    void (*kinds[MAX_GROUP])(void *, const float *, ptrdiff_t, const int *, int, int, int, int); /* of packing */
    int n_kinds;
};

/* Kernels of w for up to max_rows rows: their scratch, and ways of packing not seen yet. */
static void extend(struct extent *e, const struct model *m, const struct weight *w, int max_rows)
{
    const struct panel_kernel *last = NULL;
    for (int rows = 1; rows <= max_rows && rows <= 2 * ROW_BLOCK; rows++) {
        const struct panel_kernel *kernel = kernel_for(m, w, rows);
        if (kernel == last) continue;
        last = kernel;
        e->scratch = max_size(e->scratch, kernel->scratch_bytes(w->k));
        int i = 0;
        while (i < e->n_kinds && e->kinds[i] != kernel->pack_x) i++;
        if (i == e->n_kinds && i < MAX_GROUP) e->kinds[e->n_kinds++] = kernel->pack_x;
    }
}

/* Widens `room` to hold any `parts` operands of w of together `rows` rows. */
static void hold(size_t *room, const struct model *m, const struct weight *w, int rows, int parts)
{
    if (w->layout) *room = max_size(*room, operand_room(m, w, rows, parts));
}

/* What the packed rows of a layer need. */
static void extend_layer(struct extent *e, const struct workspace *ws, const struct model *m,
                         const struct layer *layer, int max_rows)
{
    struct named_weight all[WEIGHTS_PER_LAYER];
    const struct router *router = &layer->config->router;
    const int n_slots = max_rows * slots_per_row(ws, router), n_experts = router->n_experts;
    const struct weight *gate[] = {&layer->dense.gate, &layer->shared.gate, &layer->gate.first};
    const struct weight *up[] = {&layer->dense.up, &layer->shared.up, &layer->up.first};
    model_list_layer(layer, all);
    for (int i = 0; i < WEIGHTS_PER_LAYER; i++) {
        if (!all[i].weight->layout) continue;
        extend(e, m, all[i].weight, max_rows);
        e->one_row = max_size(e->one_row, operand_bytes(m, all[i].weight, 1));
        hold(&e->rows, m, all[i].weight, max_rows, 1);
    }
    for (int i = 0; i < 3; i++)
        if (gate[i]->layout)
            e->tile_columns = (int)max_size((size_t)e->tile_columns, 2 * (size_t)gated_columns(gate[i], up[i]));
    hold(&e->gated, m, &layer->dense.down, max_rows, 1);
    hold(&e->gated, m, &layer->shared.down, max_rows, 1);
    if (max_rows > 1) /* the dense twin's experts read the same rows, packed once */
        hold(&e->slots, m, &layer->gate.first, ws->dense_twin ? max_rows : n_slots, ws->dense_twin ? 1 : n_experts);
    hold(&e->gated_slots, m, &layer->down.first, n_slots, n_experts);
}

/* Layers are mostly alike: true if the same matrices lie in the same layouts. */
static bool packs_alike(const struct layer *a, const struct layer *b)
{
    struct named_weight all_a[WEIGHTS_PER_LAYER], all_b[WEIGHTS_PER_LAYER];
    model_list_layer(a, all_a);
    model_list_layer(b, all_b);
    for (int i = 0; i < WEIGHTS_PER_LAYER; i++)
        if (all_a[i].weight->layout != all_b[i].weight->layout || all_a[i].weight->k != all_b[i].weight->k)
            return false;
    return a->config->router.top_k == b->config->router.top_k &&
           a->config->router.n_experts == b->config->router.n_experts;
}

static void larger(int *max, int value)
{
    if (value > *max) *max = value;
}

static struct extent measure(const struct workspace *ws, const struct model *m, int max_rows)
{
    struct extent e = {.tile_columns = SHARE_OUTPUTS};
    const int logit_rows = max_rows < LOGIT_ROWS ? max_rows : LOGIT_ROWS;
    if (m->head.layout) {
        extend(&e, m, &m->head, logit_rows);
        e.one_row = operand_bytes(m, &m->head, 1);
    }
    hold(&e.rows, m, &m->head, logit_rows, 1);
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *layer = &m->layers[l];
        const struct layer_config *c = layer->config;
        larger(&e.q, layer->q.n);
        larger(&e.kv, layer->k.n);
        larger(&e.v, layer->k.n > layer->v.n ? layer->k.n : layer->v.n);
        larger(&e.mixed, layer->o.k);
        e.both |= c->ffn.kind == FFN_DENSE_AND_MOE;
        e.router_in |= c->router.input == INPUT_RESIDUAL;
        larger(&e.experts, c->router.n_experts);
        larger(&e.experts_per_row, experts_per_row(ws, &c->router));
        larger(&e.slots_per_row, slots_per_row(ws, &c->router));
        if (l == 0 || !packs_alike(layer, layer - 1)) extend_layer(&e, ws, m, layer, max_rows);
    }
    return e;
}

static void carve_routing(struct routing *r, int rows, const struct extent *e, struct arena *arena)
{
    const size_t n = (size_t)e->experts;
    const size_t chosen = (size_t)rows * (size_t)e->experts_per_row, slots = (size_t)rows * (size_t)e->slots_per_row;
    r->scores = ARENA_TAKE(arena, float, (size_t)rows *(size_t)pad16(e->experts));
    r->experts = ARENA_TAKE(arena, int32_t, chosen);
    r->weights = ARENA_TAKE(arena, float, chosen);
    r->begin = ARENA_TAKE(arena, int, n + 1);
    r->slot_row = ARENA_TAKE(arena, int, slots);
    r->slot_weight = ARENA_TAKE(arena, float, slots);
    r->used = ARENA_TAKE(arena, int, n);
    r->input_at = ARENA_TAKE(arena, size_t, n);
    r->gated_at = ARENA_TAKE(arena, size_t, n);
    r->first_piece = ARENA_TAKE(arena, int, n + 1);
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
    ws->own_tile_floats =
        (size_t)(ws->max_rows < ROW_BLOCK ? ws->max_rows : ROW_BLOCK) * (size_t)tile_stride(e->tile_columns);
    ws->own_tile = ARENA_TAKE(arena, float, n * ws->own_tile_floats);
    ws->own_scratch_bytes = (e->scratch + 127) & ~(size_t)63;
    ws->own_scratch = ARENA_TAKE(arena, unsigned char, n * ws->own_scratch_bytes);
    ws->own_routing = ARENA_TAKE(arena, struct routing, n);
    for (size_t i = 0; i < n; i++) {
        struct routing unused;
        carve_routing(ws->own_routing ? &ws->own_routing[i] : &unused, 1, e, arena);
    }
}

void workspace_carve(struct workspace *ws, const struct model *m, int max_rows, int n_threads, int n_context,
                     struct arena *arena)
{
    const struct model_config *c = &m->config;
    struct extent e = measure(ws, m, max_rows);
    const size_t rows = (size_t)max_rows;
    ws->max_rows = max_rows;
    ws->n_threads = n_threads;
    ws->n_experts = e.experts;
    ws->n_regions = e.n_kinds;
    ws->ld_hidden = pad16(c->hidden_size);
    ws->ld_q = pad16(e.q);
    ws->ld_kv = pad16(e.kv);
    ws->ld_v = pad16(e.v);
    ws->ld_mixed = pad16(e.mixed);
    ws->ld_experts = pad16(e.experts);
    ws->ld_vocab = pad16(c->vocab_size);

    ws->x = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_hidden);
    ws->h = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_hidden);
    ws->branch = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_hidden);
    ws->q = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_q);
    ws->k = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_kv);
    ws->v = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_v);
    ws->mixed = ARENA_TAKE(arena, float, rows *(size_t)ws->ld_mixed);
    ws->beside = ARENA_TAKE(arena, float, e.both ? rows *(size_t)ws->ld_hidden : 0);
    ws->router_in = ARENA_TAKE(arena, float, e.router_in ? rows *(size_t)ws->ld_hidden : 0);
    gqa_carve(ws, m, n_context, arena);
    mla_carve(ws, m, arena);
    recurrent_carve(ws, m, arena);
    ws->shared_switch = ARENA_TAKE(arena, float, rows * 16);
    ws->logits = ARENA_TAKE(arena, float, LOGIT_ROWS *(size_t)ws->ld_vocab);
    carve_routing(&ws->routing, max_rows, &e, arena);
    ws->packed_bytes = (e.rows + 127) & ~(size_t)63;
    ws->packed = ARENA_TAKE(arena, unsigned char, ws->packed_bytes *(size_t)ws->n_regions);
    ws->packed_gated = ARENA_TAKE(arena, unsigned char, e.gated);
    ws->packed_slots = ARENA_TAKE(arena, unsigned char, e.slots);
    ws->packed_gated_slots = ARENA_TAKE(arena, unsigned char, e.gated_slots);
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
    atomic_init(&ws->routing_fault.found, false);
}
