/* Workspaces of every golden model: measured is what is carved, and the buffers are large enough for what they hold. */
#include "model/workspace.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "model/product.h"
#include "tests/model/checkpoint.h"

static struct bound bound;

static void for_each_golden(void (*check)(const struct model *m, const char *name))
{
    char name[128], path[512];
    snprintf(path, sizeof path, "%s/golden/models/cases.txt", SLUICE_TEST_DIR);
    FILE *cases = fopen(path, "r");
    cr_assert_not_null(cases);
    while (fscanf(cases, "%127s", name) == 1) {
        bind_golden(&bound, name);
        check(&bound.model, name);
        model_free(&bound.model);
    }
    fclose(cases);
}

static void carve(struct workspace *ws, struct arena *arena, const struct model *m, int max_rows, int n_threads,
                  int n_context)
{
    struct workspace measured = {0};
    *arena = (struct arena){0};
    workspace_carve(&measured, m, max_rows, n_threads, n_context, arena);
    cr_assert(!arena->overflow);
    size_t used = arena->used;
    cr_assert(arena_commit(arena, false));
    workspace_carve(ws, m, max_rows, n_threads, n_context, arena);
    cr_assert_eq(arena->used, used);
    cr_assert(!arena->overflow);
}

static void check_passes(const struct model *m, const char *name)
{
    static const int rows[] = {1, 2, 64, 65, 300}, threads[] = {1, 3, 8};
    for (int i = 0; i < 15; i++) {
        struct workspace ws = {0};
        struct arena arena;
        carve(&ws, &arena, m, rows[i % 5], threads[i / 5], 64);
        cr_expect(ws.max_rows == rows[i % 5] && ws.n_threads == threads[i / 5], "%s", name);
        arena_free(&arena);
    }
}

Test(workspace, both_passes_agree_for_every_golden_model) { for_each_golden(check_passes); }

/* Room for the operands of every weight, alone and for all rows, and for every expert with any number of rows. */
static void check_room(const struct model *m, const char *name)
{
    enum { ROWS = 70 };
    struct workspace ws = {0};
    struct arena arena;
    carve(&ws, &arena, m, ROWS, 2, 64);
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *layer = &m->layers[l];
        const struct weight *weights[] = {&layer->q,           &layer->k,          &layer->v,
                                          &layer->o,           &layer->dense.gate, &layer->dense.up,
                                          &layer->dense.down,  &layer->router,     &layer->shared.gate,
                                          &layer->shared.down, &layer->gate.first, &layer->down.first};
        for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
            if (!weights[i]->layout) continue;
            cr_expect_leq(operand_bytes(m, weights[i], 1) + 64, ws.own_packed_bytes, "%s", name);
            for (int rows = 1; rows <= ROWS; rows++) {
                cr_expect_leq(operand_bytes(m, weights[i], rows) + 64, ws.packed_bytes, "%s", name);
                cr_expect_leq(kernel_for(m, weights[i], rows)->scratch_bytes(weights[i]->k), ws.own_scratch_bytes, "%s",
                              name);
            }
        }
        cr_expect_geq(ws.ld_q, layer->q.n);
        cr_expect_geq(ws.ld_kv, layer->k.n);
        cr_expect_geq(ws.ld_v, layer->v.n);
        cr_expect(!layer->config->mixer.v_is_k || ws.ld_v >= layer->k.n, "%s", name);
        cr_expect_geq(ws.ld_mixed, layer->o.k);
        const struct mixer *mixer = &layer->config->mixer;
        if (mixer->kind == MIX_GQA)
            cr_expect_geq(
                ws.gqa.own_floats,
                (size_t)(mixer->n_heads / mixer->n_kv_heads * (ATTENTION_SCORES + 2 * (2 + mixer->v_head_dim))), "%s",
                name);
        cr_expect(layer->config->ffn.kind != FFN_DENSE_AND_MOE || ws.beside, "%s", name);
        cr_expect(layer->config->router.input == INPUT_NORMED || (ws.router_in && ws.own_router_in), "%s", name);
        for (int rows = 1; rows <= ROWS; rows++) { /* the buffers lie in this order */
            const size_t gated = (size_t)(ws.packed_slots - ws.packed_gated);
            if (layer->dense.down.layout) cr_expect_leq(operand_bytes(m, &layer->dense.down, rows) + 64, gated);
            if (layer->shared.down.layout) cr_expect_leq(operand_bytes(m, &layer->shared.down, rows) + 64, gated);
        }
        if (layer->config->ffn.kind == FFN_DENSE) continue;
        const int top_k = layer->config->router.top_k; /* experts that all rows choose; and experts of one row */
        const size_t slots = (size_t)(ws.packed_gated_slots - ws.packed_slots);
        const size_t gated_slots = (size_t)((unsigned char *)ws.own_h - ws.packed_gated_slots);
        cr_expect_leq((size_t)top_k * operand_bytes(m, &layer->gate.first, ROWS) + 64, slots, "%s", name);
        cr_expect_leq((size_t)top_k * operand_bytes(m, &layer->down.first, ROWS) + 64, gated_slots, "%s", name);
        cr_expect_geq(ws.ld_experts, layer->config->router.n_experts);
        cr_expect_geq(ws.n_experts, layer->config->router.n_experts);
    }
    const ptrdiff_t strides[] = {ws.ld_hidden, ws.ld_q, ws.ld_kv, ws.ld_v, ws.ld_mixed, ws.ld_experts, ws.ld_vocab};
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) cr_expect_eq(strides[i] % 16, 0, "%s", name);
    arena_free(&arena);
}

Test(workspace, buffers_hold_the_widest_of_every_layer) { for_each_golden(check_room); }

Test(workspace, init_fills_tables_and_operations)
{
    enum { CONTEXT = 50 };
    struct workspace ws = {0};
    struct arena arena;
    bind_golden(&bound, "qwen3-moe-hub-bf16");
    carve(&ws, &arena, &bound.model, 4, 1, CONTEXT);
    workspace_init(&ws, &bound.model, CONTEXT);
    const int half = bound.model.config.rope[ROPE_GLOBAL].n_rot / 2;
    cr_expect(ws.cosine[ROPE_GLOBAL][0] == 1.0f && ws.sine[ROPE_GLOBAL][0] == 0.0f);
    const int last = (CONTEXT - 1) * half;
    cr_expect_float_eq(ws.cosine[ROPE_GLOBAL][last], (float)cos(CONTEXT - 1),
                       1e-6f); /* the first pair turns by one a position */
    cr_expect_not_null(ws.ops.name);
    cr_expect(!ws.not_finite);
    arena_free(&arena);
    model_free(&bound.model);
}

/* Gemma 3 has two: each with its own base, as float. */
Test(workspace, each_rope_has_its_table)
{
    enum { CONTEXT = 50 };
    struct workspace ws = {0};
    struct arena arena;
    bind_golden(&bound, "gemma3-hub-bf16");
    carve(&ws, &arena, &bound.model, 4, 1, CONTEXT);
    workspace_init(&ws, &bound.model, CONTEXT);
    cr_expect_neq(bound.model.config.rope[ROPE_GLOBAL].theta, bound.model.config.rope[ROPE_LOCAL].theta);
    for (int i = 0; i < N_ROPES; i++) {
        const struct rope_config *r = &bound.model.config.rope[i];
        const int half = r->n_rot / 2, pair = (CONTEXT - 1) * half + 1;
        const double factor = r->scaling == ROPE_LINEAR ? r->factor : 1;
        const double angle = (CONTEXT - 1) * pow(r->theta, -2.0 / r->n_rot) / factor;
        cr_assert_geq(half, 2);
        cr_expect_float_eq((double)ws.cosine[i][pair], cos(angle), 1e-5, "table %d", i);
        cr_expect_float_eq((double)ws.sine[i][pair], sin(angle), 1e-5, "table %d", i);
    }
    arena_free(&arena);
    model_free(&bound.model);
}
