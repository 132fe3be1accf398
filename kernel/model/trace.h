/* Where the time of passes goes, and what each operation reads and multiplies.
 *
 * Every thread of the team has a lane. A mark says "from now on this thread does operation `op`": it reads the clock
 * once and adds what has passed since the last mark to the cell of the operation that ends, so the cells of a lane add
 * up to the time of its passes, with no gap and nothing counted twice. Time spent at barriers belongs to the operation
 * before them and is also noted apart. A pass without a trace has no lanes, and a mark is one branch.
 *
 * What is read and multiplied is counted by thread 0, once for all: the same numbers as workspace.bytes_read and
 * workspace.operations, by operation, and beside them the arithmetic of attention and of states. */
#ifndef MODEL_TRACE_H
#define MODEL_TRACE_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/team.h"
#include "ops/panel.h"

/* The same order as the public enum, whose comments say what each comprises. */
enum trace_op {
    TRACE_PASS,
    TRACE_EMBED,
    TRACE_NORM,
    TRACE_QKV,
    TRACE_LATENT,
    TRACE_RECURRENT_IN,
    TRACE_ROPE,
    TRACE_ATTENTION,
    TRACE_LATENT_HEADS,
    TRACE_RECURRENT,
    TRACE_MIXER_OUT,
    TRACE_ROUTER,
    TRACE_EXPERT_PACK,
    TRACE_EXPERT_GATE_UP,
    TRACE_EXPERT_DOWN,
    TRACE_SHARED_GATE_UP,
    TRACE_SHARED_DOWN,
    TRACE_MLP_GATE_UP,
    TRACE_MLP_DOWN,
    TRACE_HEAD,
    TRACE_OBSERVE,
    N_TRACE_OPS
};

enum trace_phase { TRACE_PREFILL, TRACE_DECODE, N_TRACE_PHASES };

struct trace_cell {             /* one cache line */
    uint64_t ticks, wait_ticks; /* of this lane */
    uint64_t calls;             /* times that the step was begun; lane 0 speaks for all, and for what follows */
    uint64_t weight_bytes, cache_bytes;
    uint64_t operations[N_PEAKS];
};

/* What one thread did between two marks, for a drawing. */
struct trace_span {
    uint64_t begin, end, wait_ticks; /* the wait is mostly at the end */
    uint32_t pass;                   /* number since the reset */
    int16_t layer;                   /* -1: outside of the layers */
    uint8_t op, phase;
};

struct trace_lane {
    _Alignas(64) uint64_t last; /* ticks of the last mark */
    uint64_t waited;            /* thread.wait_ticks then */
    struct trace_cell *row;     /* [N_TRACE_OPS] of the layer and phase at hand */
    struct trace_cell *cell;    /* of the operation at hand, */
    int op, op_layer;           /* which is this one of this layer */
    int layer;                  /* of `row` */
    struct trace_span *spans;   /* [trace.max_spans] the first ones since the reset */
    size_t n_spans, n_lost;
    struct trace *trace;
};

/* What passes of one phase were together. */
struct trace_total {
    uint64_t passes, tokens, ticks;
    uint64_t minor_faults, major_faults, switches; /* of the process: pages; threads that were made to wait for a CPU */
};

struct trace {
    int n_lanes, n_layers, n_experts, max_rows; /* n_experts: of the layer with most */
    size_t max_spans;                           /* of a lane; 0: no spans are kept */
    uint64_t start;                             /* ticks at the reset, */
    double start_seconds;                       /* when the other clock said this */
    double seconds_per_tick;                    /* as found at the end of the last pass */
    struct trace_lane *lanes;                   /* [n_lanes] */
    struct trace_cell *cells; /* [n_lanes, N_TRACE_PHASES, 1 + n_layers, N_TRACE_OPS]; layer -1 first */
    uint64_t *expert_rows;    /* [N_TRACE_PHASES, n_layers, n_experts] rows that met the expert */
    uint64_t *row_counts;     /* [N_TRACE_PHASES, n_layers, 1 + max_rows] how often an expert met so many rows */
    struct trace_total totals[N_TRACE_PHASES];
    enum trace_phase phase; /* of the pass at hand */
    uint32_t pass;
    struct arena arena;
};

/* Room for passes of up to max_rows rows on up to n_lanes threads, empty; NULL: memory is short. */
struct trace *trace_create(int n_lanes, int n_layers, int n_experts, int max_rows, size_t max_spans);
void trace_free(struct trace **trace);
void trace_reset(struct trace *trace);

/* Around a pass, outside of the team. Every lane's time runs from one to the other, whether its thread comes or not. */
struct trace_pass {
    uint64_t ticks, minor_faults, major_faults, switches;
};
void trace_begin_pass(struct trace *trace, enum trace_phase phase, struct trace_pass *pass);
void trace_end_pass(struct trace *trace, int n_tokens, const struct trace_pass *pass);

/* The cell [op] of a layer (-1: outside of the layers). */
static inline struct trace_cell *trace_cell(const struct trace *trace, int lane, enum trace_phase phase, int layer,
                                            enum trace_op op)
{
    const size_t row = ((size_t)lane * N_TRACE_PHASES + phase) * (size_t)(trace->n_layers + 1) + (size_t)(layer + 1);
    return trace->cells + row * N_TRACE_OPS + op;
}

/* ---- within a pass, on every thread ------------------------------------------------------------------------------ */

void trace_switch_lane(struct trace_lane *lane, const struct thread *t, enum trace_op op);
void trace_enter_layer(struct trace_lane *lane, int layer);

/* The next marks are about this layer; -1: about none. */
static inline void trace_layer(const struct thread *t, int layer)
{
    if (t->trace) trace_enter_layer(t->trace, layer);
}

/* A step begins that all threads take. */
static inline void trace_mark(const struct thread *t, enum trace_op op)
{
    if (!t->trace) return;
    trace_switch_lane(t->trace, t, op);
    t->trace->cell->calls++;
}

/* Within a step this thread turns to a piece of another operation, or back. */
static inline void trace_switch(const struct thread *t, enum trace_op op)
{
    if (t->trace) trace_switch_lane(t->trace, t, op);
}

/* ---- counting, by thread 0 --------------------------------------------------------------------------------------- */

/* A step that threads only switch to was taken. */
static inline void trace_call(const struct thread *t, enum trace_op op)
{
    if (t->trace) t->trace->row[op].calls++;
}

static inline void trace_weights(const struct thread *t, enum trace_op op, uint64_t bytes)
{
    if (t->trace) t->trace->row[op].weight_bytes += bytes;
}

static inline void trace_cache(const struct thread *t, enum trace_op op, uint64_t bytes)
{
    if (t->trace) t->trace->row[op].cache_bytes += bytes;
}

/* Multiplications and additions, each one. */
static inline void trace_operations(const struct thread *t, enum trace_op op, enum peak peak, uint64_t n)
{
    if (t->trace) t->trace->row[op].operations[peak] += n;
}

/* An expert of the layer at hand met n_rows rows. */
void trace_expert(const struct thread *t, int expert, int n_rows);

#endif
