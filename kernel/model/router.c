/* The router: which experts a token uses, and how much. One function of five steps - score, bias, groups, select,
 * weigh - of which most families need three; then the rows are sorted by expert.
 *
 *   p = softmax(logits) over all experts (Shazeer 2017), or sigmoid(logits) (DeepSeek-V3 2024)
 *   rank = p + bias                what an expert is chosen by, not what it weighs
 *   rank = -inf                    of experts outside the topk_group best groups
 *   idx = the top_k largest rank   ties and NaN go to the lower id, never twice the same
 *   w = p[idx], divided by their sum where the model says so (Mixtral, Qwen3-MoE), times scale, and times a number of
 *       each expert's own (Gemma 4) */
#include <math.h>

#include "model/forward.h"

static void score(const struct router *r, const struct workspace *ws, float *logits)
{
    switch (r->score) {
    case SCORE_SOFTMAX: ws->ops.softmax(logits, r->n_experts); break;
    case SCORE_SIGMOID: ws->ops.sigmoid(logits, r->n_experts); break;
    }
}

/* ranks = scores + bias */
static void rank_experts(const struct router *r, const float *scores, const float *bias, float *ranks)
{
    for (int e = 0; e < r->n_experts; e++) ranks[e] = r->selection_bias ? scores[e] + bias[e] : scores[e];
}

/* Puts n different places in ascending order. */
static void sort_places(int32_t *places, int n)
{
    for (int i = 1; i < n; i++) {
        const int32_t place = places[i];
        int at = i;
        for (; at > 0 && places[at - 1] > place; at--) places[at] = places[at - 1];
        places[at] = place;
    }
}

/* NaN is worse than any number. */
static bool is_better(float a, float b) { return a > b || (isnan(b) && !isnan(a)); }

/* The places of the k best of n values, ascending. One scan with the k best so far, best first: few of many values come
 * in. Equal values stay in the order of their places. */
static void select_best(const float *values, int n, int k, int32_t *places)
{
    int kept = 0;
    for (int e = 0; e < n; e++) {
        if (kept == k && !is_better(values[e], values[places[k - 1]])) continue;
        int at = kept < k ? kept++ : k - 1;
        for (; at > 0 && is_better(values[e], values[places[at - 1]]); at--) places[at] = places[at - 1];
        places[at] = e;
    }
    sort_places(places, k);
}

/* How good a group of n experts is. */
static float rank_group(const struct router *r, const float *ranks, int n)
{
    float first = -INFINITY, second = -INFINITY;
    for (int e = 0; e < n; e++) {
        if (ranks[e] > first) {
            second = first;
            first = ranks[e];
        } else if (ranks[e] > second) {
            second = ranks[e];
        }
    }
    return r->group_rank == GROUP_SUM_TOP2 ? first + second : first;
}

/* Only the best groups stay in the race. */
static void mask_groups(const struct router *r, struct routing *scratch)
{
    if (r->n_group <= 1) return;
    const int size = r->n_experts / r->n_group;
    for (int g = 0; g < r->n_group; g++) scratch->group_ranks[g] = rank_group(r, scratch->ranks + g * size, size);
    select_best(scratch->group_ranks, r->n_group, r->topk_group, scratch->groups);
    for (int g = 0, kept = 0; g < r->n_group; g++) {
        if (kept < r->topk_group && scratch->groups[kept] == g) {
            kept++;
            continue;
        }
        for (int e = g * size; e < (g + 1) * size; e++) scratch->ranks[e] = -INFINITY;
    }
}

static void weigh(const struct router *r, const float *scores, const float *expert_scale, const int32_t *ids,
                  float *weights)
{
    float sum = 0;
    for (int i = 0; i < r->top_k; i++) sum += weights[i] = scores[ids[i]];
    for (int i = 0; i < r->top_k; i++) {
        if (r->normalise) weights[i] /= sum + r->normalise_eps;
        weights[i] *= r->scale;
        if (r->expert_scale) weights[i] *= expert_scale[ids[i]];
    }
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

/* Rows [begin, end) of `out`, the team's or a thread's own. */
static void route_rows(const struct layer *layer, struct workspace *ws, struct routing *out, int begin, int end,
                       const struct thread *t)
{
    const struct router *r = &layer->config->router;
    struct routing *scratch = &ws->own_routing[t->id];
    for (int i = begin; i < end; i++) {
        float *scores = out->scores + i * ws->ld_experts;
        int32_t *ids = out->experts + (ptrdiff_t)i * r->top_k;
        score(r, ws, scores);
        rank_experts(r, scores, layer->selection_bias, scratch->ranks);
        mask_groups(r, scratch);
        select_best(scratch->ranks, r->n_experts, r->top_k, ids);
        weigh(r, scores, layer->expert_scale, ids, out->weights + (ptrdiff_t)i * r->top_k);
    }
}

struct routing *route(const struct layer *layer, struct workspace *ws, int n_rows, struct thread *t)
{
    const struct router *r = &layer->config->router;
    if (n_rows == 1) {
        struct routing *own = &ws->own_routing[t->id];
        for (int e = 0; e < r->n_experts; e++) own->scores[e] = ws->routing.scores[e];
        route_rows(layer, ws, own, 0, 1, t);
        sort_by_expert(r, own, 1);
        return own;
    }
    int begin, end;
    team_range(t, n_rows, 1, &begin, &end);
    route_rows(layer, ws, &ws->routing, begin, end, t);
    team_barrier(t);
    if (t->id == 0) sort_by_expert(r, &ws->routing, n_rows);
    return &ws->routing;
}
