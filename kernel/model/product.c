#include "model/product.h"

size_t operand_bytes(const struct weight *w, int m, uint64_t features)
{
    const struct panel_kernel *kernel = panel_kernel_choose(w->layout, m, features);
    size_t whole = (size_t)(m / ROW_BLOCK), bytes = whole * kernel->x_bytes(ROW_BLOCK, w->k);
    return m % ROW_BLOCK ? bytes + kernel->x_bytes(m % ROW_BLOCK, w->k) : bytes;
}

struct operand operand_at(const struct weight *w, int m, uint64_t features, void *data)
{
    const struct panel_kernel *kernel = panel_kernel_choose(w->layout, m, features);
    return (struct operand){
        .kernel = kernel,
        .data = data,
        .block_bytes = kernel->x_bytes(ROW_BLOCK, w->k),
        .m = m,
        .k = w->k,
    };
}

bool operands_alike(const struct weight *a, const struct weight *b, uint64_t features)
{
    if (a->k != b->k) return false;
    /* Each kernel takes over at a number of rows of its own; between these numbers nothing changes. */
    for (const struct panel_kernel *const *list = panel_kernels(); *list; list++) {
        const struct panel_kernel *first = panel_kernel_choose(a->layout, (*list)->m_min, features);
        if (first->pack_x != panel_kernel_choose(b->layout, (*list)->m_min, features)->pack_x) return false;
    }
    return true;
}

void operand_pack(const struct operand *o, const float *x, ptrdiff_t ldx, const int *rows, int block0, int block1)
{
    for (int b = block0; b < block1; b++) {
        const float *first = rows ? x : x + (ptrdiff_t)b * ROW_BLOCK * ldx;
        o->kernel->pack_x(o->data + (size_t)b * o->block_bytes, first, ldx, rows ? rows + b * ROW_BLOCK : NULL,
                          operand_block_rows(o, b), o->k, 0, o->k);
    }
}

void product(float *y, ptrdiff_t ldy, const struct weight *w, const struct operand *o, int row0, int row1,
             void *scratch)
{
    int n_blocks = operand_blocks(o), nr = w->layout->nr, last = (row1 + nr - 1) / nr * nr;
    int step =
        n_blocks == 1 ? last - row0 : tile_rows(w, w); /* several blocks: finish a tile of weights with all of them */
    for (int r = row0; r < last; r += step) {
        int end = r + step < last ? r + step : last;
        for (int b = 0; b < n_blocks; b++)
            o->kernel->run(y + (ptrdiff_t)b * ROW_BLOCK * ldy, ldy, w->data, o->data + (size_t)b * o->block_bytes, r,
                           end, operand_block_rows(o, b), o->k, scratch);
    }
    if (!w->bias) return;
    for (int i = 0; i < o->m; i++)
        for (int r = row0; r < row1; r++) y[i * ldy + r] += w->bias[r];
}

void pack_group(const struct model *m, struct workspace *ws, struct thread *t, const struct weight *const *weights,
                int n_weights, const float *x, ptrdiff_t ldx, int n_rows, struct operand *operands)
{
    bool own = n_rows == 1;
    size_t region_bytes = own ? ws->own_packed_bytes : ws->packed_bytes;
    unsigned char *region =
        own ? ws->own_packed + (size_t)t->id * (size_t)ws->n_regions * ws->own_packed_bytes : ws->packed;
    if (ws->collector) {
        int begin, end;
        team_range(t, weights[0]->k, 1, &begin, &end);
        ws->collector->collect(ws->collector->context, t, weights[0], -1, x, ldx, NULL, n_rows, begin, end);
    }
    for (int i = 0; i < n_weights; i++) {
        operands[i] = operand_at(weights[i], n_rows, m->features, region);
        int same = 0;
        while (same < i && operands[same].kernel->pack_x != operands[i].kernel->pack_x) same++;
        if (same < i) {
            operands[i].data = operands[same].data;
            continue;
        }
        region += region_bytes;
        int begin = 0, end = operand_blocks(&operands[i]);
        if (!own) team_range(t, end, 1, &begin, &end);
        operand_pack(&operands[i], x, ldx, NULL, begin, end);
    }
}

void project(const struct model *m, struct workspace *ws, struct thread *t, const struct weight *const *weights,
             int n_weights, const float *x, ptrdiff_t ldx, int n_rows, float *const *y, const ptrdiff_t *ldy)
{
    struct operand operands[MAX_GROUP];
    pack_group(m, ws, t, weights, n_weights, x, ldx, n_rows, operands);
    if (n_rows > 1) team_barrier(t);
    for (int i = 0; i < n_weights; i++) {
        int begin, end;
        team_range(t, weights[i]->n, weights[i]->layout->nr, &begin, &end);
        if (begin < end) product(y[i], ldy[i], weights[i], &operands[i], begin, end, own_scratch(ws, t));
        if (t->id == 0) ws->bytes_read += weight_bytes(weights[i]);
    }
    team_barrier(t);
}
