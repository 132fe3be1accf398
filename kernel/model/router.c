/* The router: which experts a token uses, and how much. One function of five steps - score, (bias), (groups), select,
 * weigh - of which the families here need three; then the rows are sorted by expert.
 *
 *   p = softmax(logits)            over all experts (Shazeer 2017)
 *   idx = the top_k largest p      ties and NaN go to the lower id, never twice the same
 *   w = p[idx], divided by their sum where the model says so (Mixtral, Qwen3-MoE) */
#include "model/forward.h"

static void score(const struct router *r, const struct workspace *ws, float *logits)
{
    switch (r->score) {
    case SCORE_SOFTMAX: ws->ops.softmax(logits, r->n_experts); break;
    }
}

/* The ids of the top_k best scores, ascending. */
static void select_experts(const struct router *r, const float *scores, int32_t *ids)
{
    for (int i = 0; i < r->top_k; i++) {
        int best = -1;
        for (int e = 0, taken = 0; e < r->n_experts; e++) {
            if (taken < i && ids[taken] == e) { /* ids[0..i) is ascending */
                taken++;
                continue;
            }
            if (best < 0 || scores[e] > scores[best]) best = e;
        }
        int at = i;
        for (; at > 0 && ids[at - 1] > best; at--) ids[at] = ids[at - 1];
        ids[at] = best;
    }
}

static void weigh(const struct router *r, const float *scores, const int32_t *ids, float *weights)
{
    float sum = 0;
    for (int i = 0; i < r->top_k; i++) sum += weights[i] = scores[ids[i]];
    if (!r->normalise) return;
    for (int i = 0; i < r->top_k; i++) weights[i] /= sum;
}

/* Counting sort of the (row, expert) pairs by expert; rows stay in order. */
static void sort_by_expert(const struct router *r, struct routing *out, int n_rows)
{
    int *begin = out->begin, n_slots = n_rows * r->top_k;
    for (int e = 0; e <= r->n_experts; e++) begin[e] = 0;
    for (int i = 0; i < n_slots; i++) begin[out->experts[i] + 1]++;
    for (int e = 0; e < r->n_experts; e++) begin[e + 1] += begin[e];
    for (int i = 0; i < n_slots; i++) { /* begin[e] walks to the end of e's slots ... */
        int slot = begin[out->experts[i]]++;
        out->slot_row[slot] = i / r->top_k;
        out->slot_weight[slot] = out->weights[i];
    }
    for (int e = r->n_experts; e > 0; e--) begin[e] = begin[e - 1]; /* ... and is moved back */
    begin[0] = 0;
    out->n_used = 0;
    for (int e = 0; e < r->n_experts; e++)
        if (begin[e + 1] > begin[e]) out->used[out->n_used++] = e;
}

static void route_rows(const struct router *r, struct workspace *ws, struct routing *out, int begin, int end)
{
    for (int i = begin; i < end; i++) {
        float *scores = out->scores + i * ws->ld_experts;
        int32_t *ids = out->experts + (ptrdiff_t)i * r->top_k;
        score(r, ws, scores);
        select_experts(r, scores, ids);
        weigh(r, scores, ids, out->weights + (ptrdiff_t)i * r->top_k);
    }
}

struct routing *route(const struct layer *layer, struct workspace *ws, int n_rows, struct thread *t)
{
    const struct router *r = &layer->config->router;
    if (n_rows == 1) {
        struct routing *own = &ws->own_routing[t->id];
        for (int e = 0; e < r->n_experts; e++) own->scores[e] = ws->routing.scores[e];
        route_rows(r, ws, own, 0, 1);
        sort_by_expert(r, own, 1);
        return own;
    }
    int begin, end;
    team_range(t, n_rows, 1, &begin, &end);
    route_rows(r, ws, &ws->routing, begin, end);
    team_barrier(t);
    if (t->id == 0) sort_by_expert(r, &ws->routing, n_rows);
    team_barrier(t);
    return &ws->routing;
}
