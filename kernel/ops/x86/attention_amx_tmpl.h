/* The products of attention_bf16.h on tile registers: four sums at a time, so that none waits for itself, and as many
 * loads as multiplications. Compiled twice, as amx_tmpl.h is. */
#ifndef OPS_X86_ATTENTION_AMX_TMPL_H
#define OPS_X86_ATTENTION_AMX_TMPL_H

#include "ops/x86/attention_bf16.h"
#include "ops/x86/tile.h"

#define BEGIN(t, used, from)                                     \
    do {                                                         \
        if ((used) && p->add) tile_load(t, from, p->sum_stride); \
        if ((used) && !p->add) tile_zero(t);                     \
    } while (0)
#define END(t, used, to)                            \
    do {                                            \
        if (used) tile_store(t, to, p->sum_stride); \
    } while (0)

static void multiply(const struct product *p)
{
    const bool rows = p->n[1] > 0, columns = p->b[1] != NULL;
    const char *a[2] = {p->a[0], p->a[1]}, *b[2] = {p->b[0], p->b[1]};
    BEGIN(0, true, p->sum[0]);
    BEGIN(1, columns, p->sum[0] + OPS_LANES);
    BEGIN(2, rows, p->sum[1]);
    BEGIN(3, rows && columns, p->sum[1] + OPS_LANES);
    for (ptrdiff_t i = 0; i < p->n_steps; i++) {
        const ptrdiff_t at = i * ROW_BYTES, b_at = i * p->b_step;
        tile_load(4, a[0] + at, p->a_stride);
        tile_load(6, b[0] + b_at, ROW_BYTES);
        tile_dot_bf16(0, 4, 6);
        if (columns) {
            tile_load(7, b[1] + b_at, ROW_BYTES);
            tile_dot_bf16(1, 4, 7);
        }
        if (rows) {
            tile_load(5, a[1] + at, p->a_stride);
            tile_dot_bf16(2, 5, 6);
            if (columns) tile_dot_bf16(3, 5, 7);
        }
    }
    END(0, true, p->sum[0]);
    END(1, columns, p->sum[0] + OPS_LANES);
    END(2, rows, p->sum[1]);
    END(3, rows && columns, p->sum[1] + OPS_LANES);
}

static void begin_products(int now[2], const int n[2])
{
    if (now[0] == n[0] && now[1] == n[1]) return;
    const int rows[N_TILES] = {n[0], n[0], n[1], n[1], n[0], n[1], TILE_ROWS, TILE_ROWS};
    struct tile_shapes shapes = {.palette = 1};
    for (int t = 0; t < N_TILES; t++) {
        shapes.rows[t] = (uint8_t)rows[t];
        shapes.row_bytes[t] = rows[t] ? ROW_BYTES : 0;
    }
    tile_configure(&shapes);
    now[0] = n[0];
    now[1] = n[1];
}

static void end_products(void) { tile_release(); }

#endif
