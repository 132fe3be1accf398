/* Every activation buffer of a forward pass, with its shape. Computed once per session, carved once, never grown.
 *
 * Row strides are rounded up to 16 floats, because the last panel of a product writes its padding rows too.
 * A pass of one row (decode) lets every thread compute the cheap steps on its own copy, which saves barriers; buffers
 * called own_* hold those copies. */
#ifndef MODEL_WORKSPACE_H
#define MODEL_WORKSPACE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/arena.h"
#include "model/model.h"

enum {
    ROW_BLOCK = 64,      /* tokens that are packed and multiplied together: a block of activations stays in L2 */
    SHARE_BLOCKS = 4,    /* blocks of rows in one piece of work, at most */
    SHARE_OUTPUTS = 256, /* outputs in one piece of work, at most, or one panel */
    LOGIT_ROWS = 16,     /* tokens whose logits are computed together */
    MAX_GROUP = 5,       /* weights that read the same input: router, shared gate, up and switch, the experts' gate */
};

/* The stride of rows of n floats. */
static inline ptrdiff_t pad16(int n) { return ((ptrdiff_t)n + 15) / 16 * 16; }
static inline size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* Which experts the rows of a pass use. Slots are (row, expert) pairs sorted by expert, then row. */
struct routing {
    float *scores;              /* [max_rows, padded n_experts] probabilities of all experts */
    int32_t *experts;           /* [max_rows, experts_per_row] chosen, ascending id */
    float *weights;             /* [max_rows, experts_per_row] */
    int *begin;                 /* [n_experts + 1] slots of expert e: begin[e] .. begin[e + 1] */
    int *slot_row;              /* [max_rows * slots_per_row] */
    float *slot_weight;         /* [max_rows * slots_per_row] */
    int *used;                  /* [n_experts] experts with at least one row, ascending */
    size_t *input_at;           /* [n_experts] where the packed input of used[i]'s gate and up begins in packed_slots */
    size_t *gated_at;           /* [n_experts] and that of its down, in packed_gated_slots */
    int *first_piece;           /* [n_experts + 1] of used[i] in the wave of gate and up */
    float *ranks, *group_ranks; /* [n_experts] scratch for one row: what experts and groups are chosen by */
    int32_t *groups;            /* [n_experts] scratch for one row: the groups that are chosen */
    int n_used;
};

/* Sees the rows that every product is about to read: the engine's calibration counts how large each input of each
 * matrix usually is. Asked once per group of matrices that share their rows (w is the first: q for q, k and v; gate for
 * gate and up), and once per expert in use (expert >= 0; w is its bank's first matrix). The columns [begin, end) are
 * this call's: every thread calls with its own, in the order of rows, so that sums over rows have one order for any
 * number of threads. Those of row i begin at x + rows[i] * ldx (rows NULL: x + i * ldx). A collector makes the head
 * read every row. */
struct input_collector {
    void (*collect)(void *context, const struct thread *t, const struct weight *w, int expert, const float *x,
                    ptrdiff_t ldx, const int *rows, int n_rows, int begin, int end);
    void *context;
};

/* Buffers of grouped-query attention (attention_gqa.c). */
struct gqa_workspace {
    float *own; /* [n_threads, own_floats] one piece of work */
    size_t own_floats;
    /* Results of blocks of positions, where each block is a piece of work: for passes of up to max_split_rows rows, of
     * every query head. */
    float *blocks;
    int n_blocks, max_split_rows;
};

/* Buffers of latent attention (attention_mla.c). */
struct mla_workspace {
    ptrdiff_t ld_q_a, ld_kv_a;
    float *q_a;  /* [max_rows, ld_q_a] latent of the query */
    float *kv_a; /* [max_rows, ld_kv_a] latent of keys and values, then the rotated part */
    float *own;  /* [n_threads, own_floats] one piece of work */
    size_t own_floats, packed_bytes, scratch_bytes; /* the last two: of one product, in own */
    /* The form that attention takes. MLA_BY_COUNT, 0, is what every session has; tests compare the two others. */
    enum mla_form { MLA_BY_COUNT, MLA_ABSORBED, MLA_EXPANDED } force;
};

/* Buffers of Gated DeltaNet (delta_net.c) and short convolutions (short_conv.c), which never run at the same time. */
struct recurrent_workspace {
    ptrdiff_t ld_in, ld_z, ld_ba;
    float *in;  /* [max_rows, ld_in] delta: q, k, v; conv: b, c, u */
    float *z;   /* [max_rows, ld_z] delta: gate of the output */
    float *ba;  /* [max_rows, ld_ba] delta */
    float *own; /* [n_threads, own_floats] one piece of work */
    size_t own_floats;
};

/* A caller's routing that cannot be followed: what was wrong with the first one that a pass met. */
struct routing_fault {
    atomic_bool found;
    int layer, position, expert;
    const char *what; /* static text behind "expert 7" */
};

struct workspace {
    /* Set by the owner before workspace_carve; zeros: as the model has it. */
    int active_experts; /* that a row chooses in every layer with experts; 0: the router's top_k */
    bool dense_twin;    /* every expert works on every row, and those that were not chosen weigh 0 */

    int max_rows, n_threads;
    int n_experts; /* of the layer with most */
    ptrdiff_t ld_hidden, ld_q, ld_kv, ld_v, ld_mixed, ld_experts, ld_vocab;

    float *x;         /* [max_rows, ld_hidden] the residual stream */
    float *h;         /* [max_rows, ld_hidden] normalised copy */
    float *branch;    /* [max_rows, ld_hidden] output of mixer or FFN before the residual add */
    float *beside;    /* [max_rows, ld_hidden] FFN_DENSE_AND_MOE: the MLP's share, while the experts work */
    float *router_in; /* [max_rows, ld_hidden] what a router with an input of its own reads */
    float *q;         /* [max_rows, ld_q], with an output gate: per head query, gate */
    float *k, *v;     /* [max_rows, ld_kv], [max_rows, ld_v] */
    float *mixed;     /* [max_rows, ld_mixed] output of the mixer before the output projection, heads side by side */
    float *shared_switch; /* [max_rows, 16]; sigmoid(w . h) in column 0 */
    float *logits;        /* [LOGIT_ROWS, ld_vocab] */
    struct routing routing;
    struct gqa_workspace gqa;
    struct mla_workspace mla;
    struct recurrent_workspace recurrent;

    /* Packed rows, which products read. Those behind gate and up, act(gate) * up, exist only so: a thread makes a tile
     * of them and packs it. */
    unsigned char *packed;             /* of h or mixed: [n_regions, packed_bytes] */
    unsigned char *packed_gated;       /* of the MLP, or of the shared expert */
    unsigned char *packed_slots;       /* of h per slot, expert after expert; not in a pass of one row */
    unsigned char *packed_gated_slots; /* behind gate and up, likewise */
    size_t packed_bytes;
    int n_regions; /* kinds of packing that a group of weights can need */

    /* One per thread. */
    float *own_h, *own_router_in; /* [n_threads, ld_hidden] */
    unsigned char *own_packed;    /* [n_threads, n_regions, own_packed_bytes] */
    size_t own_packed_bytes;
    struct routing *own_routing; /* [n_threads], each for one row */
    float *own_tile;             /* [n_threads, own_tile_floats] outputs of a piece of work, of one block of rows */
    size_t own_tile_floats;
    unsigned char *own_scratch; /* [n_threads, own_scratch_bytes] kernels' scratch */
    size_t own_scratch_bytes;

    const struct input_collector *collector;      /* NULL: nobody counts */
    const float *cosine[N_ROPES], *sine[N_ROPES]; /* RoPE tables [n_context, n_rot / 2] */
    struct ops ops;

    /* Filled by a pass. */
    bool cancelled[2];                  /* one is true: the pass stopped after that half of a layer */
    atomic_bool not_finite;             /* a logit is NaN or infinite */
    struct routing_fault routing_fault;
    uint64_t bytes_read;                /* weights and cache, each matrix once */
    uint64_t experts_read, expert_rows; /* rows: counted once for each expert that they meet */
    uint64_t operations[N_PEAKS];       /* of weight products: multiplications and additions */
    unsigned char *touched;             /* [n_layers, n_experts] 1: some decode pass used the expert */
};

/* How many experts a row chooses, and how many work on it. */
static inline int experts_per_row(const struct workspace *ws, const struct router *r)
{
    return ws->active_experts ? ws->active_experts : r->top_k;
}
static inline int slots_per_row(const struct workspace *ws, const struct router *r)
{
    return ws->dense_twin ? r->n_experts : experts_per_row(ws, r);
}

/* Carves buffers for passes of at most max_rows rows. Measure pass: arena without memory. */
void workspace_carve(struct workspace *ws, const struct model *m, int max_rows, int n_threads, int n_context,
                     struct arena *arena);
/* The parts that belong to a kind of mixer, called by workspace_carve. */
void gqa_carve(struct workspace *ws, const struct model *m, int n_context, struct arena *arena);
void mla_carve(struct workspace *ws, const struct model *m, struct arena *arena);
void recurrent_carve(struct workspace *ws, const struct model *m, struct arena *arena);
/* After the carve pass: fills the tables. */
void workspace_init(struct workspace *ws, const struct model *m, int n_context);

#endif
