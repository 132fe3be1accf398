#include "model/trace.h"

#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"

/* ---- room -------------------------------------------------------------------------------------------------------- */

/* Once to measure, once to carve. */
static void carve(struct trace *trace, struct arena *arena)
{
    const size_t layers = (size_t)trace->n_layers, lanes = (size_t)trace->n_lanes;
    trace->lanes = ARENA_TAKE(arena, struct trace_lane, lanes);
    trace->cells = ARENA_TAKE(arena, struct trace_cell, lanes * N_TRACE_PHASES * (layers + 1) * N_TRACE_OPS);
    trace->expert_rows = ARENA_TAKE(arena, uint64_t, N_TRACE_PHASES * layers * (size_t)trace->n_experts);
    trace->row_counts = ARENA_TAKE(arena, uint64_t, N_TRACE_PHASES * layers * ((size_t)trace->max_rows + 1));
    for (size_t i = 0; i < lanes; i++) {
        struct trace_span *spans = ARENA_TAKE(arena, struct trace_span, trace->max_spans);
        if (trace->lanes) trace->lanes[i] = (struct trace_lane){.spans = spans, .trace = trace};
    }
}

struct trace *trace_create(int n_lanes, int n_layers, int n_experts, int max_rows, size_t max_spans)
{
    struct trace *trace = memory_alloc(sizeof *trace);
    if (!trace) return NULL;
    *trace = (struct trace){
        .n_lanes = n_lanes, .n_layers = n_layers, .n_experts = n_experts, .max_rows = max_rows, .max_spans = max_spans};
    carve(trace, &trace->arena);
    if (!arena_commit(&trace->arena, false)) {
        memory_free(trace);
        return NULL;
    }
    memset(trace->arena.base, 0, trace->arena.capacity); /* no pass shall count the page faults of its trace */
    carve(trace, &trace->arena);
    trace_reset(trace);
    return trace;
}

void trace_free(struct trace **trace)
{
    if (*trace) arena_free(&(*trace)->arena);
    memory_free(*trace);
    *trace = NULL;
}

/* Both clocks at one moment: of a few tries the one that took least, because the CPU may go to somebody else between
 * two readings. */
static void read_clocks(uint64_t *ticks, double *seconds)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 4; i++) {
        const uint64_t before = clock_ticks();
        const double now = clock_seconds();
        const uint64_t took = clock_ticks() - before;
        if (took >= least) continue;
        least = took;
        *ticks = before + took / 2;
        *seconds = now;
    }
}

void trace_reset(struct trace *trace)
{
    const size_t layers = (size_t)trace->n_layers, lanes = (size_t)trace->n_lanes;
    memset(trace->cells, 0, lanes * N_TRACE_PHASES * (layers + 1) * N_TRACE_OPS * sizeof *trace->cells);
    memset(trace->expert_rows, 0, N_TRACE_PHASES * layers * (size_t)trace->n_experts * sizeof *trace->expert_rows);
    memset(trace->row_counts, 0, N_TRACE_PHASES * layers * ((size_t)trace->max_rows + 1) * sizeof *trace->row_counts);
    memset(trace->totals, 0, sizeof trace->totals);
    for (size_t i = 0; i < lanes; i++) trace->lanes[i].n_spans = trace->lanes[i].n_lost = 0;
    trace->pass = 0;
    trace->seconds_per_tick = 0;
    read_clocks(&trace->start, &trace->start_seconds);
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

static void ask_system(struct trace_pass *pass)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return;
    pass->minor_faults = (uint64_t)usage.ru_minflt;
    pass->major_faults = (uint64_t)usage.ru_majflt;
    pass->switches = (uint64_t)usage.ru_nivcsw;
}

static void take_up(struct trace_lane *lane, enum trace_op op)
{
    lane->cell = lane->row + op;
    lane->op = op;
    lane->op_layer = lane->layer;
}

void trace_begin_pass(struct trace *trace, enum trace_phase phase, struct trace_pass *pass)
{
    *pass = (struct trace_pass){0};
    ask_system(pass);
    pass->ticks = clock_ticks();
    trace->phase = phase;
    for (int i = 0; i < trace->n_lanes; i++) {
        struct trace_lane *lane = &trace->lanes[i];
        lane->last = pass->ticks;
        lane->waited = 0;
        trace_enter_layer(lane, -1);
        take_up(lane, TRACE_PASS);
    }
    trace->lanes[0].cell->calls++;
}

/* The operation at hand ends now, having waited for so many ticks. */
static void leave(struct trace_lane *lane, uint64_t now, uint64_t wait_ticks)
{
    struct trace *trace = lane->trace;
    if (now < lane->last) now = lane->last; /* the thread has moved to a CPU whose clock is behind */
    lane->cell->ticks += now - lane->last;
    lane->cell->wait_ticks += wait_ticks;
    if (trace->max_spans && now > lane->last) {
        if (lane->n_spans < trace->max_spans)
            lane->spans[lane->n_spans++] = (struct trace_span){
                .begin = lane->last,
                .end = now,
                .wait_ticks = wait_ticks,
                .pass = trace->pass,
                .layer = (int16_t)lane->op_layer,
                .op = (uint8_t)lane->op,
                .phase = (uint8_t)trace->phase,
            };
        else
            lane->n_lost++;
    }
    lane->last = now;
}

void trace_end_pass(struct trace *trace, int n_tokens, const struct trace_pass *pass)
{
    struct trace_total *total = &trace->totals[trace->phase];
    struct trace_pass now = {.ticks = clock_ticks()};
    uint64_t ticks = 0;
    double seconds = 0;
    ask_system(&now);
    read_clocks(&ticks, &seconds);
    if (ticks > trace->start)
        trace->seconds_per_tick = (seconds - trace->start_seconds) / (double)(ticks - trace->start);
    for (int i = 0; i < trace->n_lanes; i++) leave(&trace->lanes[i], now.ticks, 0);
    total->passes++;
    total->tokens += (uint64_t)n_tokens;
    total->ticks += now.ticks - pass->ticks;
    total->minor_faults += now.minor_faults - pass->minor_faults;
    total->major_faults += now.major_faults - pass->major_faults;
    total->switches += now.switches - pass->switches;
    trace->pass++;
}

void trace_enter_layer(struct trace_lane *lane, int layer)
{
    const struct trace *trace = lane->trace;
    lane->row = trace_cell(trace, (int)(lane - trace->lanes), trace->phase, layer, TRACE_PASS);
    lane->layer = layer;
}

void trace_switch_lane(struct trace_lane *lane, const struct thread *t, enum trace_op op)
{
    leave(lane, clock_ticks(), t->wait_ticks - lane->waited);
    lane->waited = t->wait_ticks;
    take_up(lane, op);
}

void trace_expert(const struct thread *t, int expert, int n_rows)
{
    if (!t->trace) return;
    struct trace *trace = t->trace->trace;
    const size_t layer = (size_t)trace->phase * (size_t)trace->n_layers + (size_t)t->trace->layer;
    trace->expert_rows[layer * (size_t)trace->n_experts + (size_t)expert] += (uint64_t)n_rows;
    trace->row_counts[layer * ((size_t)trace->max_rows + 1) + (size_t)n_rows]++;
}
