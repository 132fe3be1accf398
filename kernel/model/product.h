/* Products of many rows with one or more matrices, in the steps that a team can share: pack the rows, then multiply a
 * range of outputs. Rows are packed in blocks of ROW_BLOCK, each in groups of PACK_COLUMNS columns: what is packed is
 * dealt out in these pieces, and a tile of weights is used for all blocks while it lies in cache. */
#ifndef MODEL_PRODUCT_H
#define MODEL_PRODUCT_H

#include "model/model.h"
#include "model/trace.h"
#include "model/workspace.h"

/* The packed input of one product. */
struct operand {
    const struct panel_kernel *kernel;
    unsigned char *data; /* blocks of ROW_BLOCK rows, block_bytes apart */
    size_t block_bytes;
    int m, k;
};

/* The kernel that multiplies w with m rows. In an exact model it is the same for any m. */
static inline const struct panel_kernel *kernel_for(const struct model *m, const struct weight *w, int rows)
{
    return panel_kernel_choose(w->layout, m->exact ? PANEL_MANY_ROWS : rows, m->features);
}

/* Bytes of the operand of w for this many rows, a multiple of 64. */
size_t operand_bytes(const struct model *m, const struct weight *w, int rows);
/* Bytes that hold any `parts` operands of w that have at most `rows` rows together. */
size_t operand_room(const struct model *m, const struct weight *w, int rows, int parts);

/* Describes the operand of w for this many rows at `data`; packs nothing yet. */
struct operand operand_at(const struct model *m, const struct weight *w, int rows, void *data);
struct operand operand_of(const struct panel_kernel *kernel, int rows, int k, void *data);

/* True if a and b can read the same packed rows, however many: their kernels pack alike. So do all exact kernels of
 * one kind of arithmetic, whatever the types of their weights. */
bool operands_alike(const struct weight *a, const struct weight *b, uint64_t features);

static inline int operand_blocks(const struct operand *o) { return (o->m + ROW_BLOCK - 1) / ROW_BLOCK; }
static inline int operand_block_rows(const struct operand *o, int block)
{
    int left = o->m - block * ROW_BLOCK;
    return left < ROW_BLOCK ? left : ROW_BLOCK;
}
static inline int operand_pieces(const struct operand *o)
{
    return operand_blocks(o) * ((o->k + PACK_COLUMNS - 1) / PACK_COLUMNS);
}
/* Blocks [block0, block1) as an operand of its own. */
struct operand operand_part(const struct operand *o, int block0, int block1);

/* Packs pieces [piece0, piece1), block after block: row i of the operand is x + rows[i] * ldx (rows NULL: x + i * ldx).
 */
void operand_pack(const struct operand *o, const float *x, ptrdiff_t ldx, const int *rows, int piece0, int piece1);

/* y[i * ldy + r] = w[r] . x[i] + bias[r] for row0 <= r < row1 (multiples of the layout's nr, or row1 == n) and all rows
 * i of the operand. Writes up to the next multiple of nr. */
void product(float *y, ptrdiff_t ldy, const struct weight *w, const struct operand *o, int row0, int row1,
             void *scratch);
/* Count what operation `op` reads and multiplies, once per pass: thread 0 counts, the others do nothing. Of a product
 * of all of w's outputs; and its parts: weights, rows of the cache, multiplications. */
void count_product(struct workspace *ws, const struct thread *t, enum trace_op op, const struct weight *w,
                   const struct operand *o);
void count_weights(struct workspace *ws, const struct thread *t, enum trace_op op, uint64_t bytes);
void count_cache(struct workspace *ws, const struct thread *t, enum trace_op op, uint64_t bytes);
void count_operations(struct workspace *ws, const struct thread *t, enum trace_op op, const struct weight *w,
                      const struct operand *o);

/* The same inputs for several weights: packs once per kind of operand. SPMD: with n_rows == 1 every thread packs its
 * own copy and no barrier is needed; otherwise the team shares the pieces and a barrier must follow. `x` is
 * [n_rows, ldx] (n_rows == 1: this thread's own row). operands[i] belongs to weights[i]. */
void pack_group(const struct model *m, struct workspace *ws, struct thread *t, const struct weight *const *weights,
                int n_weights, const float *x, ptrdiff_t ldx, int n_rows, struct operand *operands);

/* Products that the team shares: outputs, counted in units, by blocks of rows. */
struct share {
    int n_units, n_blocks; /* set by the caller, the rest 0 */
    int begin, end;        /* units of this piece */
    int block0, block1;    /* its blocks of rows */
    int next, last;        /* taken from the counter, not given out yet */
};
/* The next piece; false: nothing is left. The pieces become smaller towards the end. `most`: units. */
bool next_share(struct share *s, struct thread *t, int counter, int most);

/* y[i] = weights[i] x, [n_rows, ldy[i]], for at most MAX_GROUP weights. SPMD: the team shares all outputs as one piece
 * of work, by counter 0; ends with a barrier. `x` as above; `op` is what it is called in a trace. */
void project(const struct model *m, struct workspace *ws, struct thread *t, enum trace_op op,
             const struct weight *const *weights, int n_weights, const float *x, ptrdiff_t ldx, int n_rows,
             float *const *y, const ptrdiff_t *ldy);

/* Outputs of gate and up in one piece of work. */
static inline int gated_columns(const struct weight *gate, const struct weight *up)
{
    int widest = gate->layout->nr > up->layout->nr ? gate->layout->nr : up->layout->nr;
    return widest > PACK_COLUMNS ? widest : PACK_COLUMNS;
}
/* Floats from one row of a thread's tile to the next: no power of two, which would put a column in few sets of L1. */
static inline ptrdiff_t tile_stride(int columns) { return columns + 16; }

static inline int n_tiles(int n, int rows) { return (n + rows - 1) / rows; }

/* Units of project() and of down: panels, or the widest panel of the group. */
static inline int most_units(int unit) { return unit < SHARE_OUTPUTS ? SHARE_OUTPUTS / unit : 1; }

static inline void *own_scratch(const struct workspace *ws, const struct thread *t)
{
    return ws->own_scratch + (size_t)t->id * ws->own_scratch_bytes;
}

static inline float *own_tile(const struct workspace *ws, const struct thread *t)
{
    return ws->own_tile + (size_t)t->id * ws->own_tile_floats;
}

#endif
