/* Expert surgery: checks a request against the model and turns lists of places into marks, layer by layer. What marks
 * do is in model/router.c. */
#include <string.h>

#include "engine/engine_internal.h"
#include "model/config_parts.h"

/* The lists of a request, with the mark that each one sets and its name in messages. */
struct place_list {
    const char *name;
    enum surgery_mark mark;
    const sluice_expert_place *places;
    size_t n;
};
enum { N_LISTS = 3 };

static void list_places(const sluice_expert_surgery *s, struct place_list out[N_LISTS])
{
    out[0] = (struct place_list){"ablate", MARK_ABLATED, s->ablate, s->n_ablate};
    out[1] = (struct place_list){"zero", MARK_ZEROED, s->zero, s->n_zero};
    out[2] = (struct place_list){"force", MARK_FORCED, s->force, s->n_force};
}

bool surgery_has_marks(const sluice_expert_surgery *s) { return s->n_ablate + s->n_zero + s->n_force > 0; }

/* Marks of one layer, [n_experts]. */
static void mark_layer(const sluice_expert_surgery *s, int l, int n_experts, unsigned char *marks)
{
    struct place_list lists[N_LISTS];
    list_places(s, lists);
    memset(marks, 0, (size_t)n_experts);
    for (int i = 0; i < N_LISTS; i++)
        for (size_t j = 0; j < lists[i].n; j++) {
            const sluice_expert_place *p = &lists[i].places[j];
            if (p->layer != l && p->layer != SLUICE_EVERY) continue;
            for (int e = 0; e < n_experts; e++)
                if (p->expert == e || p->expert == SLUICE_EVERY) marks[e] |= (unsigned char)lists[i].mark;
        }
}

void surgery_mark(const struct model_config *c, const sluice_expert_surgery *s, unsigned char *marks, int n_experts)
{
    for (int l = 0; l < c->n_layers; l++)
        if (ffn_has_experts(&c->layers[l].ffn))
            mark_layer(s, l, c->layers[l].router.n_experts, marks + (ptrdiff_t)l * n_experts);
}

/* The layer and the expert exist. */
static sluice_status check_place(const struct model_config *c, int n_experts, const char *name,
                                 const sluice_expert_place *p, struct failure *f)
{
    if (p->layer != SLUICE_EVERY) {
        if (p->layer < 0 || p->layer >= c->n_layers)
            return fail(f, SLUICE_ARGUMENT, "%s: layer %d does not exist, expected 0..%d", name, p->layer,
                        c->n_layers - 1);
        if (!ffn_has_experts(&c->layers[p->layer].ffn))
            return fail(f, SLUICE_ARGUMENT, "%s: layer %d has no experts", name, p->layer);
        n_experts = c->layers[p->layer].router.n_experts;
    }
    if (p->expert != SLUICE_EVERY && (p->expert < 0 || p->expert >= n_experts))
        return fail(f, SLUICE_ARGUMENT, "%s: expert %d does not exist, expected 0..%d", name, p->expert, n_experts - 1);
    return SLUICE_OK;
}

/* What is left of a layer suffices for n_chosen experts. */
static sluice_status check_layer(const sluice_expert_surgery *s, int l, int n_experts, int n_chosen, struct failure *f)
{
    unsigned char marks[MAX_EXPERTS];
    int n_left = 0, n_forced = 0;
    mark_layer(s, l, n_experts, marks);
    for (int e = 0; e < n_experts; e++) {
        if (marks[e] & MARK_ABLATED && marks[e] & MARK_FORCED)
            return fail(f, SLUICE_ARGUMENT, "layer %d: expert %d is both ablated and forced", l, e);
        n_left += !(marks[e] & MARK_ABLATED);
        n_forced += (marks[e] & MARK_FORCED) != 0;
    }
    if (n_left < n_chosen)
        return fail(f, SLUICE_ARGUMENT,
                    "ablate: layer %d: %d of %d experts are left, expected at least the %d of a token", l, n_left,
                    n_experts, n_chosen);
    if (n_forced > n_chosen)
        return fail(f, SLUICE_ARGUMENT, "force: layer %d: found %d experts, expected at most the %d of a token", l,
                    n_forced, n_chosen);
    return SLUICE_OK;
}

sluice_status surgery_check(const struct model_config *c, const sluice_expert_surgery *s, struct failure *f)
{
    struct place_list lists[N_LISTS];
    int fewest = MAX_EXPERTS, most = 0;
    if (!s || (!s->active_experts && !s->dense_twin && !s->route && !surgery_has_marks(s))) return SLUICE_OK;
    for (int l = 0; l < c->n_layers; l++) {
        const int n = c->layers[l].router.n_experts;
        if (!ffn_has_experts(&c->layers[l].ffn)) continue;
        if (n < fewest) fewest = n;
        if (n > most) most = n;
    }
    if (most == 0) return fail(f, SLUICE_ARGUMENT, "expert surgery: this model has no experts");
    if (s->active_experts < 0 || s->active_experts > fewest)
        return fail(f, SLUICE_ARGUMENT, "active experts: found %d, expected 1..%d, the model's experts",
                    s->active_experts, fewest);
    list_places(s, lists);
    for (int i = 0; i < N_LISTS; i++)
        for (size_t j = 0; j < lists[i].n; j++) {
            sluice_status status = check_place(c, most, lists[i].name, &lists[i].places[j], f);
            if (status) return status;
        }
    for (int l = 0; l < c->n_layers; l++) {
        const struct router *r = &c->layers[l].router;
        if (!ffn_has_experts(&c->layers[l].ffn) || !surgery_has_marks(s)) continue;
        sluice_status status = check_layer(s, l, r->n_experts, s->active_experts ? s->active_experts : r->top_k, f);
        if (status) return status;
    }
    return SLUICE_OK;
}

sluice_status sluice_expert_surgery_check(const sluice_engine *e, const sluice_expert_surgery *surgery,
                                          sluice_error *error)
{
    struct failure f = {0};
    if (!e->has_model) fail(&f, SLUICE_ARGUMENT, "%s: opened without a model", e->name);
    if (!f.status) surgery_check(&e->model.config, surgery, &f);
    return f.status ? report_failure(error, &f) : SLUICE_OK;
}
