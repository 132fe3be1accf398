#include "model/product.h"

/* Weights that are multiplied with all blocks of rows before the next: with a block of rows they stay in L2. */
enum { TILE_BYTES = 256 * 1024 };

static size_t round_up(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static size_t block_bytes_of(const struct panel_kernel *kernel, int rows, int k)
{
    return round_up(kernel->x_bytes(rows, k));
}

static size_t bytes_of(const struct panel_kernel *kernel, int rows, int k)
{
    const int whole = rows / ROW_BLOCK, rest = rows % ROW_BLOCK;
    const size_t bytes = whole ? (size_t)whole * block_bytes_of(kernel, ROW_BLOCK, k) : 0;
    return rest ? bytes + block_bytes_of(kernel, rest, k) : bytes;
}

size_t operand_bytes(const struct model *m, const struct weight *w, int rows)
{
    return bytes_of(kernel_for(m, w, rows), rows, w->k);
}

/* Two bounds: rows times the most that one row of an operand can take, which is reached with one or two blocks; and
 * that every part has one block that is not full. The second is needed where kernels pad few rows to many. */
size_t operand_room(const struct model *m, const struct weight *w, int rows, int parts)
{
    size_t per_row = 0, block = 0;
    for (int n = 1; n <= rows && n <= 2 * ROW_BLOCK; n++) {
        const struct panel_kernel *kernel = kernel_for(m, w, n);
        per_row = max_size(per_row, (bytes_of(kernel, n, w->k) + (size_t)n - 1) / (size_t)n);
        block = max_size(block, block_bytes_of(kernel, n < ROW_BLOCK ? n : ROW_BLOCK, w->k));
    }
    const size_t by_row = (size_t)rows * per_row, by_block = (size_t)(rows / ROW_BLOCK + parts) * block;
    return by_row < by_block ? by_row : by_block;
}

struct operand operand_of(const struct panel_kernel *kernel, int rows, int k, void *data)
{
    return (struct operand){
        .kernel = kernel, .data = data, .block_bytes = block_bytes_of(kernel, ROW_BLOCK, k), .m = rows, .k = k};
}

struct operand operand_at(const struct model *m, const struct weight *w, int rows, void *data)
{
    return operand_of(kernel_for(m, w, rows), rows, w->k, data);
}

struct operand operand_part(const struct operand *o, int block0, int block1)
{
    struct operand part = *o;
    part.data += (size_t)block0 * o->block_bytes;
    part.m = (block1 * ROW_BLOCK < o->m ? block1 * ROW_BLOCK : o->m) - block0 * ROW_BLOCK;
    return part;
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

void operand_pack(const struct operand *o, const float *x, ptrdiff_t ldx, const int *rows, int piece0, int piece1)
{
    const int columns = (o->k + PACK_COLUMNS - 1) / PACK_COLUMNS;
    for (int piece = piece0, next; piece < piece1; piece = next) {
        const int b = piece / columns, first = piece % columns;
        next = piece + columns - first < piece1 ? piece + columns - first : piece1;
        const int k0 = first * PACK_COLUMNS, end = k0 + (next - piece) * PACK_COLUMNS, k1 = end < o->k ? end : o->k;
        const float *from = rows ? x : x + (ptrdiff_t)b * ROW_BLOCK * ldx;
        o->kernel->pack_x(o->data + (size_t)b * o->block_bytes, from + k0, ldx, rows ? rows + b * ROW_BLOCK : NULL,
                          operand_block_rows(o, b), o->k, k0, k1);
    }
}

/* Outputs that are multiplied with all blocks before the next ones. */
static int tile_rows(const struct weight *w)
{
    const int nr = w->layout->nr;
    const size_t panels = TILE_BYTES / w->layout->packed_bytes(nr, w->k);
    return panels ? (int)panels * nr : nr;
}

void product(float *y, ptrdiff_t ldy, const struct weight *w, const struct operand *o, int row0, int row1,
             void *scratch)
{
    const int n_blocks = operand_blocks(o), nr = w->layout->nr, last = (row1 + nr - 1) / nr * nr;
    const int step = n_blocks == 1 ? last - row0 : tile_rows(w);
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

void count_weights(struct workspace *ws, const struct thread *t, enum trace_op op, uint64_t bytes)
{
    if (t->id != 0) return;
    ws->bytes_read += bytes;
    trace_weights(t, op, bytes);
}

void count_cache(struct workspace *ws, const struct thread *t, enum trace_op op, uint64_t bytes)
{
    if (t->id != 0) return;
    ws->bytes_read += bytes;
    trace_cache(t, op, bytes);
}

void count_operations(struct workspace *ws, const struct thread *t, enum trace_op op, const struct weight *w,
                      const struct operand *o)
{
    if (t->id != 0) return;
    const uint64_t n = 2 * (uint64_t)w->n * (uint64_t)w->k * (uint64_t)o->m;
    ws->operations[o->kernel->peak] += n;
    trace_operations(t, op, o->kernel->peak, n);
}

void count_product(struct workspace *ws, const struct thread *t, enum trace_op op, const struct weight *w,
                   const struct operand *o)
{
    count_weights(ws, t, op, weight_bytes(w));
    count_operations(ws, t, op, w, o);
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
        ws->collector->collect(ws->collector->context, t, weights[0], -1, x + begin, ldx, NULL, n_rows, begin, end);
    }
    for (int i = 0; i < n_weights; i++) {
        operands[i] = operand_at(m, weights[i], n_rows, region);
        int same = 0;
        while (same < i && operands[same].kernel->pack_x != operands[i].kernel->pack_x) same++;
        if (same < i) {
            operands[i].data = operands[same].data;
            continue;
        }
        region += region_bytes;
        int begin = 0, end = operand_pieces(&operands[i]);
        if (!own) team_range(t, end, 1, &begin, &end);
        operand_pack(&operands[i], x, ldx, NULL, begin, end);
    }
}

/* Units of the first blocks come before all units of the next. */
bool next_share(struct share *s, struct thread *t, int counter, int most)
{
    const int n_groups = (s->n_blocks + SHARE_BLOCKS - 1) / SHARE_BLOCKS;
    if (s->next == s->last && !team_take(t, counter, s->n_units * n_groups, most, &s->next, &s->last)) return false;
    const int group = s->next / s->n_units, left = s->last - s->next;
    s->begin = s->next % s->n_units;
    s->end = s->begin + left < s->n_units ? s->begin + left : s->n_units;
    s->next += s->end - s->begin;
    s->block0 = group * SHARE_BLOCKS;
    s->block1 = s->block0 + SHARE_BLOCKS < s->n_blocks ? s->block0 + SHARE_BLOCKS : s->n_blocks;
    return true;
}

void project(const struct model *m, struct workspace *ws, struct thread *t, enum trace_op op,
             const struct weight *const *weights, int n_weights, const float *x, ptrdiff_t ldx, int n_rows,
             float *const *y, const ptrdiff_t *ldy)
{
    struct operand operands[MAX_GROUP];
    int unit = 1, first[MAX_GROUP + 1] = {0};
    trace_mark(t, op);
    pack_group(m, ws, t, weights, n_weights, x, ldx, n_rows, operands);
    for (int i = 0; i < n_weights; i++)
        if (weights[i]->layout->nr > unit) unit = weights[i]->layout->nr;
    for (int i = 0; i < n_weights; i++) first[i + 1] = first[i] + n_tiles(weights[i]->n, unit);
    if (n_rows > 1) team_barrier(t);

    struct share s = {.n_units = first[n_weights], .n_blocks = operand_blocks(&operands[0])};
    while (next_share(&s, t, 0, most_units(unit))) {
        for (int i = 0; i < n_weights; i++) {
            const int begin = s.begin > first[i] ? s.begin : first[i],
                      end = s.end < first[i + 1] ? s.end : first[i + 1];
            if (begin >= end) continue;
            const int row0 = (begin - first[i]) * unit, row1 = (end - first[i]) * unit, n = weights[i]->n;
            const struct operand part = operand_part(&operands[i], s.block0, s.block1);
            product(y[i] + (ptrdiff_t)s.block0 * ROW_BLOCK * ldy[i], ldy[i], weights[i], &part, row0,
                    row1 < n ? row1 : n, own_scratch(ws, t));
        }
    }
    for (int i = 0; i < n_weights; i++) count_product(ws, t, op, weights[i], &operands[i]);
    team_barrier(t);
}
