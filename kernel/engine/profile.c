/* The public view of a trace (model/trace.h): ticks become seconds, lanes become means. */
#include "engine/engine_internal.h"
#include "model/trace.h"

enum { MAX_SPANS = 1 << 24 };

_Static_assert((int)SLUICE_N_OPERATIONS == (int)N_TRACE_OPS && (int)SLUICE_OP_ROPE == (int)TRACE_ROPE &&
                   (int)SLUICE_OP_EXPERT_DOWN == (int)TRACE_EXPERT_DOWN && (int)SLUICE_OP_HEAD == (int)TRACE_HEAD,
               "public and internal operations are numbered alike");
_Static_assert((int)SLUICE_N_PEAKS == (int)N_PEAKS && (int)SLUICE_DECODE == (int)TRACE_DECODE,
               "public and internal peaks and phases are numbered alike");

const char *sluice_operation_name(sluice_operation operation)
{
    static const char *const names[SLUICE_N_OPERATIONS] = {
        [SLUICE_OP_PASS] = "start and end",
        [SLUICE_OP_EMBED] = "embedding",
        [SLUICE_OP_NORM] = "norms",
        [SLUICE_OP_QKV] = "q k v product",
        [SLUICE_OP_LATENT] = "latent product",
        [SLUICE_OP_RECURRENT_IN] = "recurrent input",
        [SLUICE_OP_ROPE] = "rope and cache",
        [SLUICE_OP_ATTENTION] = "attention",
        [SLUICE_OP_LATENT_HEADS] = "latent to heads",
        [SLUICE_OP_RECURRENT] = "recurrent state",
        [SLUICE_OP_MIXER_OUT] = "output product",
        [SLUICE_OP_ROUTER] = "router",
        [SLUICE_OP_EXPERT_PACK] = "expert pack",
        [SLUICE_OP_EXPERT_GATE_UP] = "expert gate-up",
        [SLUICE_OP_EXPERT_DOWN] = "expert down",
        [SLUICE_OP_SHARED_GATE_UP] = "shared gate-up",
        [SLUICE_OP_SHARED_DOWN] = "shared down",
        [SLUICE_OP_MLP_GATE_UP] = "mlp gate-up",
        [SLUICE_OP_MLP_DOWN] = "mlp down",
        [SLUICE_OP_HEAD] = "logits",
        [SLUICE_OP_OBSERVE] = "observer",
    };
    return (unsigned)operation < SLUICE_N_OPERATIONS ? names[operation] : NULL;
}

/* ---- on and off -------------------------------------------------------------------------------------------------- */

sluice_status sluice_session_begin_profile(sluice_session *s, size_t max_spans)
{
    if (max_spans > MAX_SPANS)
        return fail(&s->failure, SLUICE_ARGUMENT, "spans of a profile: found %zu, expected at most %d", max_spans,
                    MAX_SPANS);
    struct trace *trace = trace_create(s->engine->team.n_threads, s->engine->model.config.n_layers, s->ws.n_experts,
                                       s->n_chunk, max_spans);
    if (!trace) return fail(&s->failure, SLUICE_MEMORY, "no memory for a profile");
    trace_free(&s->trace);
    s->trace = trace;
    return SLUICE_OK;
}

void sluice_session_end_profile(sluice_session *s) { trace_free(&s->trace); }

void sluice_session_reset_profile(sluice_session *s)
{
    if (s->trace) trace_reset(s->trace);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool is_phase(sluice_phase phase) { return (unsigned)phase < SLUICE_N_PHASES; }

sluice_profile_cell sluice_profile_get(const sluice_session *s, sluice_operation operation, int layer,
                                       sluice_phase phase)
{
    sluice_profile_cell out = {0};
    const struct trace *trace = s->trace;
    if (!trace || (unsigned)operation >= SLUICE_N_OPERATIONS || layer < -1 || layer >= trace->n_layers ||
        !is_phase(phase))
        return out;
    const double scale = trace->seconds_per_tick / trace->n_lanes;
    for (int i = 0; i < trace->n_lanes; i++) {
        const struct trace_cell *cell = trace_cell(trace, i, (enum trace_phase)phase, layer, (enum trace_op)operation);
        out.seconds += (double)cell->ticks * scale;
        out.wait_seconds += (double)cell->wait_ticks * scale;
    }
    const struct trace_cell *first = trace_cell(trace, 0, (enum trace_phase)phase, layer, (enum trace_op)operation);
    out.calls = first->calls;
    out.weight_bytes = first->weight_bytes;
    out.cache_bytes = first->cache_bytes;
    for (int i = 0; i < N_PEAKS; i++) out.operations[i] = first->operations[i];
    return out;
}

sluice_profile_total sluice_profile_get_total(const sluice_session *s, sluice_phase phase)
{
    if (!s->trace || !is_phase(phase)) return (sluice_profile_total){0};
    const struct trace_total *t = &s->trace->totals[phase];
    return (sluice_profile_total){
        .passes = t->passes,
        .tokens = t->tokens,
        .seconds = (double)t->ticks * s->trace->seconds_per_tick,
        .minor_faults = t->minor_faults,
        .major_faults = t->major_faults,
        .preemptions = t->switches,
    };
}

double sluice_profile_get_wait(const sluice_session *s, int thread, sluice_phase phase)
{
    const struct trace *trace = s->trace;
    uint64_t ticks = 0;
    if (!trace || thread < 0 || thread >= trace->n_lanes || !is_phase(phase)) return 0;
    for (int layer = -1; layer < trace->n_layers; layer++)
        for (int op = 0; op < N_TRACE_OPS; op++)
            ticks += trace_cell(trace, thread, (enum trace_phase)phase, layer, (enum trace_op)op)->wait_ticks;
    return (double)ticks * trace->seconds_per_tick;
}

/* Where the figures of a layer begin, in arrays of `width` per layer. */
static size_t place_of(const struct trace *trace, int layer, sluice_phase phase, int width)
{
    return ((size_t)phase * (size_t)trace->n_layers + (size_t)layer) * (size_t)width;
}

uint64_t sluice_profile_get_expert_rows(const sluice_session *s, int layer, int expert, sluice_phase phase)
{
    const struct trace *trace = s->trace;
    if (!trace || layer < 0 || layer >= trace->n_layers || expert < 0 || expert >= trace->n_experts || !is_phase(phase))
        return 0;
    return trace->expert_rows[place_of(trace, layer, phase, trace->n_experts) + (size_t)expert];
}

uint64_t sluice_profile_get_row_count(const sluice_session *s, int layer, int n_rows, sluice_phase phase)
{
    const struct trace *trace = s->trace;
    if (!trace || layer < 0 || layer >= trace->n_layers || n_rows < 1 || n_rows > trace->max_rows || !is_phase(phase))
        return 0;
    return trace->row_counts[place_of(trace, layer, phase, trace->max_rows + 1) + (size_t)n_rows];
}

bool sluice_engine_get_expert_kernels(const sluice_engine *e, int layer, int n_rows, const char **gate_up,
                                      const char **down)
{
    if (!e->has_model || layer < 0 || layer >= e->model.config.n_layers || n_rows < 1) return false;
    const struct layer *l = &e->model.layers[layer];
    if (!l->gate.first.layout || !l->down.first.layout) return false;
    *gate_up = kernel_for(&e->model, &l->gate.first, n_rows)->name;
    *down = kernel_for(&e->model, &l->down.first, n_rows)->name;
    return true;
}

bool sluice_profile_get_span(const sluice_session *s, int thread, size_t i, sluice_profile_span *out)
{
    const struct trace *trace = s->trace;
    *out = (sluice_profile_span){0};
    if (!trace || thread < 0 || thread >= trace->n_lanes || i >= trace->lanes[thread].n_spans) return false;
    const struct trace_span *span = &trace->lanes[thread].spans[i];
    const double scale = trace->seconds_per_tick;
    *out = (sluice_profile_span){
        .begin = (double)(span->begin - trace->start) * scale,
        .end = (double)(span->end - trace->start) * scale,
        .wait_seconds = (double)span->wait_ticks * scale,
        .pass = span->pass,
        .operation = (sluice_operation)span->op,
        .phase = (sluice_phase)span->phase,
        .layer = span->layer,
    };
    return true;
}
