/* Products of many rows with one or more matrices, in the steps that a team can share: pack the rows, then multiply a
 * range of outputs. Rows are packed in blocks of ROW_BLOCK, so that several threads can pack, and so that a tile of
 * weights is used for all blocks while it lies in cache. */
#ifndef MODEL_PRODUCT_H
#define MODEL_PRODUCT_H

#include "model/model.h"
#include "model/workspace.h"

/* The packed input of one product. */
struct operand {
    const struct panel_kernel *kernel;
    unsigned char *data; /* blocks of ROW_BLOCK rows, block_bytes apart */
    size_t block_bytes;
    int m, k;
};

/* Bytes of the operand of w for m rows: at most m times those for one row. */
size_t operand_bytes(const struct weight *w, int m, uint64_t features);

/* Describes the operand of w for m rows at `data`; packs nothing yet. */
struct operand operand_at(const struct weight *w, int m, uint64_t features, void *data);

/* True if a and b can read the same packed rows, however many: their kernels pack alike. So do all exact kernels of an
 * instruction set, whatever the types of their weights. */
bool operands_alike(const struct weight *a, const struct weight *b, uint64_t features);

/* Packs blocks [block0, block1): row i of the operand is x + rows[i] * ldx (rows NULL: x + i * ldx). */
void operand_pack(const struct operand *o, const float *x, ptrdiff_t ldx, const int *rows, int block0, int block1);
static inline int operand_blocks(const struct operand *o) { return (o->m + ROW_BLOCK - 1) / ROW_BLOCK; }
static inline int operand_block_rows(const struct operand *o, int block)
{
    int left = o->m - block * ROW_BLOCK;
    return left < ROW_BLOCK ? left : ROW_BLOCK;
}

/* y[i * ldy + r] = w[r] . x[i] + bias[r] for row0 <= r < row1 (multiples of the layout's nr, or row1 == n) and all rows
 * i of the operand. Writes up to the next multiple of nr. */
void product(float *y, ptrdiff_t ldy, const struct weight *w, const struct operand *o, int row0, int row1,
             void *scratch);

/* The same inputs for several weights: packs once per kind of operand. SPMD: with m == 1 every thread packs its own
 * copy and no barrier is needed; otherwise the team shares the blocks and a barrier must follow. `x` is [m, ldx] (m ==
 * 1: this thread's own row). operands[i] belongs to weights[i]. */
void pack_group(const struct model *m, struct workspace *ws, struct thread *t, const struct weight *const *weights,
                int n_weights, const float *x, ptrdiff_t ldx, int n_rows, struct operand *operands);

/* y[i] = weights[i] x, [n_rows, ldy[i]], for at most MAX_GROUP weights. SPMD: the team shares the outputs; ends with a
 * barrier. `x` as above. */
void project(const struct model *m, struct workspace *ws, struct thread *t, const struct weight *const *weights,
             int n_weights, const float *x, ptrdiff_t ldx, int n_rows, float *const *y, const ptrdiff_t *ldy);

/* Outputs per piece of work that covers the same rows of a and b: ROW_TILE, or a whole panel where one is wider. */
static inline int tile_rows(const struct weight *a, const struct weight *b)
{
    int widest = a->layout->nr > b->layout->nr ? a->layout->nr : b->layout->nr;
    return widest > ROW_TILE ? widest : ROW_TILE;
}

static inline int n_tiles(int n, int rows) { return (n + rows - 1) / rows; }

static inline void *own_scratch(const struct workspace *ws, const struct thread *t)
{
    return ws->own_scratch + (size_t)t->id * ws->own_scratch_bytes;
}

#endif
