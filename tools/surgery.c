#include "surgery.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"

/* ---- frozen routing ---------------------------------------------------------------------------------------------- */

/* sluice_expert_surgery.route: positions behind the trace's end, or its first piece, choose for themselves. */
static bool follow_trace(void *context, int layer, size_t position, int n, int32_t *experts, float *weights)
{
    const struct trace *t = context;
    size_t l = 0;
    while (l < t->n_moe_layers && t->layers[l] != (uint32_t)layer) l++;
    if (position >= t->n_tokens || position >= t->n_context || l == t->n_moe_layers || (uint32_t)n != t->top_k)
        return false;
    const uint16_t *ids = trace_experts(t, position, l);
    for (int i = 0; i < n; i++) experts[i] = ids[i];
    memcpy(weights, t->weights + (ids - t->experts), (size_t)n * sizeof *weights);
    return true;
}

sluice_status surgery_read_trace(struct trace *trace, struct surgery_flags *f, sluice_error *error)
{
    *trace = (struct trace){0};
    f->trace = NULL;
    if (!f->freeze_routing) return SLUICE_OK;
    sluice_status status = trace_read(trace, f->freeze_routing, error);
    if (!status) f->trace = trace;
    return status;
}

sluice_status surgery_check_trace(const struct surgery_flags *f, const sluice_engine *engine, sluice_error *error)
{
    sluice_model_info info;
    if (!f->trace) return SLUICE_OK;
    sluice_engine_get_info(engine, &info);
    sluice_status status = trace_check_model(f->trace, &info, f->freeze_routing, error);
    if (!status && surgery_top_k(f, info.top_k) != info.top_k)
        status = set_error(error, SLUICE_ARGUMENT, "--freeze-routing: %u experts per token, and --active-experts %d",
                           f->trace->top_k, surgery_top_k(f, 0));
    return status;
}

void surgery_note_trace(const struct surgery_flags *f, const int32_t *tokens, size_t n, size_t n_positions)
{
    size_t same = 0;
    if (!f->trace) return;
    const size_t end = f->trace->n_tokens < f->trace->n_context ? f->trace->n_tokens : f->trace->n_context;
    while (same < n && same < end && tokens[same] == f->trace->tokens[same]) same++;
    if (same < n && same < end)
        report_note("--freeze-routing: the trace has other tokens from position %zu on; its routing is followed by "
                    "position",
                    same);
    if (n_positions > end)
        report_note("--freeze-routing: positions from %zu on are not in the trace and choose for themselves", end);
}

/* ---- flags ------------------------------------------------------------------------------------------------------- */

bool surgery_is_asked(const struct surgery_flags *f)
{
    return f->active_experts.given || f->ablate || f->zero || f->force || f->dense_twin || f->trace;
}

int surgery_top_k(const struct surgery_flags *f, int top_k)
{
    return f->active_experts.given ? (int)f->active_experts.value : top_k;
}

/* A number, or "*" for all; true if `end` comes behind it. *text moves behind that, if it is not the end of the
 * text. */
static bool parse_number(const char **text, char end, int *out)
{
    enum { MOST = 1 << 20 };
    const char *p = *text;
    int value = 0;
    if (*p == '*') {
        value = SLUICE_EVERY;
        p++;
    } else {
        if (*p < '0' || *p > '9') return false;
        for (; *p >= '0' && *p <= '9'; p++) value = value < MOST ? value * 10 + (*p - '0') : MOST;
    }
    *out = value;
    *text = *p ? p + 1 : p;
    return *p == end;
}

static size_t count_places(const char *list)
{
    size_t n = list != NULL;
    for (; list && *list; list++) n += *list == ',';
    return n;
}

/* Every piece between commas is LAYER:EXPERT. */
static sluice_status parse_places(const char *name, const char *list, sluice_expert_place *places, sluice_error *error)
{
    for (const char *piece = list; piece; places++) {
        const char *p = piece, *comma = strchr(piece, ',');
        char shown[64];
        if (!parse_number(&p, ':', &places->layer) || !parse_number(&p, comma ? ',' : 0, &places->expert))
            return set_error(error, SLUICE_ARGUMENT, "%s: found %s, expected LAYER:EXPERT, numbers or *", name,
                             quote_bytes(shown, sizeof shown, piece, comma ? (size_t)(comma - piece) : strlen(piece)));
        piece = comma ? comma + 1 : NULL;
    }
    return SLUICE_OK;
}

sluice_status surgery_parse(struct surgery *out, const struct surgery_flags *f, sluice_error *error)
{
    const size_t n_ablate = count_places(f->ablate), n_zero = count_places(f->zero), n_force = count_places(f->force);
    *out = (struct surgery){.places = calloc(n_ablate + n_zero + n_force + 1, sizeof *out->places)};
    if (!out->places) return set_error(error, SLUICE_MEMORY, "not enough memory for lists of experts");
    sluice_expert_place *ablate = out->places, *zero = ablate + n_ablate, *force = zero + n_zero;
    out->request = (sluice_expert_surgery){
        .active_experts = surgery_top_k(f, 0),
        .ablate = ablate,
        .zero = zero,
        .force = force,
        .n_ablate = n_ablate,
        .n_zero = n_zero,
        .n_force = n_force,
        .dense_twin = f->dense_twin,
        .route = f->trace ? follow_trace : NULL,
        .context = (void *)f->trace,
    };
    sluice_status status = parse_places("--ablate", f->ablate, ablate, error);
    if (!status) status = parse_places("--zero", f->zero, zero, error);
    if (!status) status = parse_places("--force", f->force, force, error);
    if (status) surgery_free(out);
    return status;
}

void surgery_free(struct surgery *s)
{
    free(s->places);
    *s = (struct surgery){0};
}

char *surgery_describe(const struct surgery_flags *f, char *out, size_t cap)
{
    enum { MOST = 40 };
    const struct {
        const char *name, *list;
    } lists[] = {{"--ablate", f->ablate},
                 {"--zero", f->zero},
                 {"--force", f->force},
                 {"--freeze-routing", f->trace ? f->freeze_routing : NULL}};
    char active[32] = "";
    if (f->active_experts.given) snprintf(active, sizeof active, " --active-experts %d", (int)f->active_experts.value);
    size_t used = (size_t)snprintf(out, cap, "%s%s", active, f->dense_twin ? " --dense-twin" : "");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i].list && used < cap)
            used += (size_t)snprintf(out + used, cap - used, " %s %.*s%s", lists[i].name, MOST, lists[i].list,
                                     strlen(lists[i].list) > MOST ? "..." : "");
    if (*out) memmove(out, out + 1, strlen(out)); /* the first blank */
    return out;
}
