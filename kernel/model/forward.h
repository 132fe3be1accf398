/* One forward pass over a chunk of tokens, which may belong to several sessions. */
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include <stdatomic.h>

#include "model/cache.h"
#include "model/model.h"
#include "model/product.h"
#include "model/surgery.h"
#include "model/workspace.h"

/* One token of a chunk: where it stands and whose it is. */
struct row {
    const struct cache *cache; /* of its session */
    int32_t token;
    int position;
    atomic_bool *cancel; /* of its session: polled before every layer; may be NULL */
    float *logits;       /* [vocab_size] receives the logits of this token; NULL: not wanted */
    const struct surgery *surgery; /* of its session; NULL: none */
};

/* What an onlooker can see; the same order as the public enum. */
enum observation { SEE_LOGITS, SEE_ATTENTION, SEE_ROUTER_SCORES, SEE_EXPERTS, SEE_EXPERT_WEIGHTS, SEE_FFN, SEE_HIDDEN };

struct observer {
    unsigned wanted; /* bit 1u << observation */
    /* Rows of `width` 4-byte elements, `ld` elements apart, of consecutive positions. Called by thread 0 while the
     * others wait. */
    void (*see)(void *context, enum observation what, int layer, int first_position, const void *data, ptrdiff_t ld,
                int n_rows, int width);
    void *context;
};

struct chunk {
    const struct row *rows;          /* [n_rows]; the rows of one session in ascending, consecutive positions */
    int n_rows;                      /* 1..workspace.max_rows */
    bool is_decode;                  /* one token per session: counts towards ws->touched */
    const struct observer *observer; /* may be NULL */
};

/* Runs on every thread of a team. Writes keys and values of all rows into their caches (lengths stay), and logits where
 * they are wanted. ws->cancelled and ws->not_finite tell how it ended. */
void forward(const struct model *m, struct workspace *ws, const struct chunk *c, struct thread *t);

/* ---- the blocks of a layer; each writes ws->branch, calls add_branch, and ends with a barrier -------------------- */

/* h: the normalised rows, [n_rows, ld_hidden]; this thread's own copy when n_rows == 1. */
void attention_gqa(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                   const float *h, struct thread *t);
void attention_mla(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                   const float *h, struct thread *t);
/* Read and write the state of each session in the order of its rows. */
void delta_net(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
               const float *h, struct thread *t);
void short_conv(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
                const float *h, struct thread *t);
/* ws->branch = w x for the rows x [n_rows, ldx], which are complete (a barrier is behind them): the last step of every
 * mixer, where w is layer->o and x is ws->mixed. */
void project_branch(const struct model *m, const struct layer *layer, const struct weight *w, const float *x,
                    ptrdiff_t ldx, struct workspace *ws, const struct chunk *c, struct thread *t);
void mlp(const struct model *m, const struct layer *layer, struct workspace *ws, const struct chunk *c, const float *h,
         struct thread *t);
/* The end of a block: x += w applied to packed rows, in the operation that the caller has begun. */
void add_product(const struct layer *layer, const struct weight *w, const struct operand *o, struct workspace *ws,
                 enum trace_op op, struct thread *t);
/* router_h: what the router reads, usually h. */
void experts(const struct model *m, const struct layer *layer, int l, struct workspace *ws, const struct chunk *c,
             const float *h, const float *router_h, struct thread *t);

/* Scores, selects and weighs the experts of every row, and sorts them by expert. ws->routing.scores, [n_rows,
 * ld_experts], holds the router's logits, on return the scores. With one row every thread has its own result;
 * otherwise thread 0 has the team's, and a barrier must follow before others read it. */
struct routing *route(const struct layer *layer, int l, struct workspace *ws, const struct chunk *c, struct thread *t);

/* The end of the run of rows from `first` on that belong to one session. */
int chunk_run_end(const struct chunk *c, int first);
int chunk_n_runs(const struct chunk *c);

/* gate[i] = act(gate[i]) * up[i], n >= 0: what stands between an expert's first two matrices and its third. */
void activate(const struct ffn *f, const struct ops *ops, float *gate, const float *up, int n);

/* The first two matrices of an expert or of an MLP, and the packed rows that the third reads. */
struct gated {
    struct weight gate, up;
    const struct weight *down; /* that the collector is shown: the first of a bank */
    struct operand gate_in, up_in, out;
    int expert; /* -1: no bank */
};
/* Rows of these blocks are worked on together. With a collector all rows are, so that one thread sees them in order. */
static inline int n_row_groups(int n_rows, const struct workspace *ws)
{
    return ws->collector ? 1 : n_tiles(n_rows, SHARE_BLOCKS * ROW_BLOCK);
}
/* Piece number `piece` of n_tiles(n, gated_columns) * n_row_groups: act(gate x) * up x for one tile of outputs and one
 * group of rows, packed into g->out. */
void gated_piece(struct workspace *ws, const struct ffn *f, const struct gated *g, int piece, struct thread *t);

/* x[i] += branch[i] for the outputs [begin, end) of rows [row0, row1); nothing where forward() has to normalise branch
 * first. */
void add_branch(const struct layer *layer, struct workspace *ws, int row0, int row1, int begin, int end);

/* Shows rows to the observer, if it wants them; a barrier before and after, none if not wanted. */
void observe(const struct chunk *c, struct thread *t, enum observation what, int layer, const void *data, ptrdiff_t ld,
             int width);

#endif
