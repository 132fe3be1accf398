/* The router: which experts a token uses, and how much. One function of five steps - score, bias, groups, select,
 * weigh - of which most families need three; then the rows are sorted by expert.
 *
 *   p = softmax(logits) over all experts (Shazeer 2017), or sigmoid(logits) (DeepSeek-V3 2024)
 *   rank = p + bias                what an expert is chosen by, not what it weighs
 *   rank = -inf                    of experts outside the topk_group best groups
 *   idx = the top_k largest rank   ties and NaN go to the lower id, never twice the same
 *   w = p[idx], divided by their sum where the model says so (Mixtral, Qwen3-MoE), times scale, and times a number of
 *       each expert's own (Gemma 4)
 *
 * A session may have changed that (surgery.h): how many are chosen (k below), the marks of single experts, or the whole
 * choice. Marks act where the steps say so; everything else stays as the family has it. */
#include <math.h>
#include <string.h>

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

/* Experts of these groups that are not ablated. */
static int experts_left(const struct router *r, const unsigned char *marks, const int32_t *groups, int n_groups)
{
    const int size = r->n_experts / r->n_group;
    int n = n_groups * size;
    for (int i = 0; marks && i < n_groups; i++)
        for (int e = groups[i] * size; e < (groups[i] + 1) * size; e++) n -= (marks[e] & MARK_ABLATED) != 0;
    return n;
}

/* Only the best groups stay in the race: topk_group of them, and more where a session wants more experts than these
 * have left. */
static void mask_groups(const struct router *r, const unsigned char *marks, int k, struct routing *scratch)
{
    if (r->n_group <= 1) return;
    const int size = r->n_experts / r->n_group;
    int n_open = r->topk_group;
    for (int g = 0; g < r->n_group; g++) scratch->group_ranks[g] = rank_group(r, scratch->ranks + g * size, size);
    select_best(scratch->group_ranks, r->n_group, n_open, scratch->groups);
    while (n_open < r->n_group && experts_left(r, marks, scratch->groups, n_open) < k)
        select_best(scratch->group_ranks, r->n_group, ++n_open, scratch->groups);
    for (int g = 0, kept = 0; g < r->n_group; g++) {
        if (kept < n_open && scratch->groups[kept] == g) {
            kept++;
            continue;
        }
        for (int e = g * size; e < (g + 1) * size; e++) scratch->ranks[e] = -INFINITY;
    }
}

static void weigh(const struct router *r, int k, const float *scores, const float *expert_scale, const int32_t *ids,
                  float *weights)
{
    float sum = 0;
    for (int i = 0; i < k; i++) sum += weights[i] = scores[ids[i]];
    for (int i = 0; i < k; i++) {
        if (r->normalise) weights[i] /= sum + r->normalise_eps;
        weights[i] *= r->scale;
        if (r->expert_scale) weights[i] *= expert_scale[ids[i]];
    }
}

/* ---- surgery ----------------------------------------------------------------------------------------------------- */

/* values[e] = value for the experts with this mark. */
static void set_marked(const struct router *r, const unsigned char *marks, enum surgery_mark mark, float *values,
                       float value)
{
    for (int e = 0; marks && e < r->n_experts; e++)
        if (marks[e] & mark) values[e] = value;
}

/* Sorts n experts with their weights by id. Says what is wrong with them, or NULL; *expert: with which. */
static const char *order_routing(const struct router *r, int32_t *ids, float *weights, int n, int32_t *expert)
{
    for (int i = 0; i < n; i++) {
        const int32_t id = *expert = ids[i];
        const float weight = weights[i];
        int at = i;
        if (id < 0 || id >= r->n_experts) return "does not exist";
        if (!isfinite(weight)) return "has a weight that is not finite";
        for (; at > 0 && ids[at - 1] >= id; at--) {
            if (ids[at - 1] == id) return "is there twice";
            ids[at] = ids[at - 1];
            weights[at] = weights[at - 1];
        }
        ids[at] = id;
        weights[at] = weight;
    }
    return NULL;
}

/* Puts the session's own routing in the place of the router's choice, if it has one for this row. One that cannot be
 * followed is noted, and the router's choice stays: the pass goes on to its end and then fails. */
static void take_given_routing(const struct router *r, int k, const struct row *row, int l, struct workspace *ws,
                               struct routing *scratch, int32_t *ids, float *weights)
{
    const struct surgery *s = row->surgery;
    if (!s || !s->route || !s->route(s->context, l, (size_t)row->position, k, scratch->groups, scratch->ranks)) return;
    int32_t expert = 0;
    const char *wrong = order_routing(r, scratch->groups, scratch->ranks, k, &expert);
    if (wrong) {
        struct routing_fault *fault = &ws->routing_fault;
        if (atomic_exchange(&fault->found, true)) return;
        fault->layer = l, fault->position = row->position, fault->expert = expert, fault->what = wrong;
        return;
    }
    memcpy(ids, scratch->groups, (size_t)k * sizeof *ids);
    memcpy(weights, scratch->ranks, (size_t)k * sizeof *weights);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Of the dense twin: every expert has a slot for every row, in which it weighs nothing unless the row chose it. */
static void give_all(const struct router *r, int k, struct routing *out, int n_rows)
{
    out->n_used = r->n_experts;
    for (int e = 0; e < r->n_experts; e++) {
        out->used[e] = e;
        out->begin[e] = e * n_rows;
        for (int i = 0; i < n_rows; i++) {
            out->slot_row[e * n_rows + i] = i;
            out->slot_weight[e * n_rows + i] = 0;
        }
    }
    out->begin[r->n_experts] = r->n_experts * n_rows;
    for (int i = 0; i < n_rows * k; i++) out->slot_weight[out->experts[i] * n_rows + i / k] = out->weights[i];
}

/* Counting sort of the (row, expert) pairs by expert; rows stay in order. */
static void sort_by_expert(const struct router *r, int k, struct routing *out, int n_rows)
{
    int *begin = out->begin, n_slots = n_rows * k;
    for (int e = 0; e <= r->n_experts; e++) begin[e] = 0;
    for (int i = 0; i < n_slots; i++) begin[out->experts[i] + 1]++;
    for (int e = 0; e < r->n_experts; e++) begin[e + 1] += begin[e];
    for (int i = 0; i < n_slots; i++) { /* begin[e] walks to the end of e's slots ... */
        int slot = begin[out->experts[i]]++;
        out->slot_row[slot] = i / k;
        out->slot_weight[slot] = out->weights[i];
    }
    for (int e = r->n_experts; e > 0; e--) begin[e] = begin[e - 1]; /* ... and is moved back */
    begin[0] = 0;
    out->n_used = 0;
    for (int e = 0; e < r->n_experts; e++)
        if (begin[e + 1] > begin[e]) out->used[out->n_used++] = e;
}

/* Rows [begin, end) of `out`, the team's or a thread's own. */
static void route_rows(const struct layer *layer, int l, struct workspace *ws, struct routing *out,
                       const struct chunk *c, int begin, int end, const struct thread *t)
{
    const struct router *r = &layer->config->router;
    const int k = experts_per_row(ws, r);
    struct routing *scratch = &ws->own_routing[t->id];
    for (int i = begin; i < end; i++) {
        const struct surgery *s = c->rows[i].surgery;
        const unsigned char *marks = s && s->marks ? s->marks + (ptrdiff_t)l * ws->n_experts : NULL;
        float *scores = out->scores + i * ws->ld_experts, *weights = out->weights + (ptrdiff_t)i * k;
        int32_t *ids = out->experts + (ptrdiff_t)i * k;
        set_marked(r, marks, MARK_ABLATED, scores, -INFINITY);
        score(r, ws, scores);
        rank_experts(r, scores, layer->selection_bias, scratch->ranks);
        set_marked(r, marks, MARK_ABLATED, scratch->ranks, -INFINITY); /* whatever the bias */
        mask_groups(r, marks, k, scratch);
        set_marked(r, marks, MARK_FORCED, scratch->ranks, INFINITY); /* in closed groups too */
        select_best(scratch->ranks, r->n_experts, k, ids);
        weigh(r, k, scores, layer->expert_scale, ids, weights);
        take_given_routing(r, k, &c->rows[i], l, ws, scratch, ids, weights);
        for (int j = 0; marks && j < k; j++)
            if (marks[ids[j]] & MARK_ZEROED) weights[j] = 0;
    }
}

static void fill_slots(const struct router *r, const struct workspace *ws, struct routing *out, int n_rows)
{
    if (ws->dense_twin)
        give_all(r, experts_per_row(ws, r), out, n_rows);
    else
        sort_by_expert(r, experts_per_row(ws, r), out, n_rows);
}

struct routing *route(const struct layer *layer, int l, struct workspace *ws, const struct chunk *c, struct thread *t)
{
    const struct router *r = &layer->config->router;
    const int n_rows = c->n_rows;
    if (n_rows == 1) {
        struct routing *own = &ws->own_routing[t->id];
        for (int e = 0; e < r->n_experts; e++) own->scores[e] = ws->routing.scores[e];
        route_rows(layer, l, ws, own, c, 0, 1, t);
        fill_slots(r, ws, own, 1);
        return own;
    }
    int begin, end;
    team_range(t, n_rows, 1, &begin, &end);
    route_rows(layer, l, ws, &ws->routing, c, begin, end, t);
    team_barrier(t);
    if (t->id == 0) fill_slots(r, ws, &ws->routing, n_rows);
    return &ws->routing;
}
