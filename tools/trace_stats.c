/* Owns the statistics of routing traces. */
#include "trace_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- load -------------------------------------------------------------------------------------------------------- */

void stats_add_load(const struct trace *t, uint64_t *counts)
{
    for (size_t i = 0; i < t->n_tokens; i++)
        for (size_t l = 0; l < t->n_moe_layers; l++) {
            const uint16_t *chosen = trace_experts(t, i, l);
            for (size_t j = 0; j < t->top_k; j++) counts[l * t->n_experts + chosen[j]]++;
        }
}

double stats_entropy(const uint64_t *counts, size_t n)
{
    double sum = 0, entropy = 0;
    for (size_t i = 0; i < n; i++) sum += (double)counts[i];
    for (size_t i = 0; i < n; i++)
        if (counts[i]) entropy -= (double)counts[i] / sum * log2((double)counts[i] / sum);
    return fmax(entropy, 0); /* and no -0 */
}

/* ---- co-activation ----------------------------------------------------------------------------------------------- */

void stats_add_pairs(const struct trace *t, size_t layer, uint32_t *pairs)
{
    for (size_t i = 0; i < t->n_tokens; i++) {
        const uint16_t *chosen = trace_experts(t, i, layer);
        for (size_t a = 0; a < t->top_k; a++)
            for (size_t b = 0; b < t->top_k; b++) pairs[(size_t)chosen[a] * t->n_experts + chosen[b]]++;
    }
}

size_t stats_top_pairs(const uint32_t *pairs, size_t n_experts, size_t n_tokens, struct stats_pair *out, size_t cap)
{
    size_t n = 0;
    for (size_t a = 0; a < n_experts; a++)
        for (size_t b = a + 1; b < n_experts; b++) {
            struct stats_pair p = {.a = (uint32_t)a, .b = (uint32_t)b, .together = pairs[a * n_experts + b]};
            if (p.together == 0) continue;
            double expected = (double)pairs[a * n_experts + a] * (double)pairs[b * n_experts + b] / (double)n_tokens;
            p.times_chance = p.together / expected;
            p.score = (p.together - expected) / sqrt(expected);
            if (!(p.score > 0) || (n == cap && (n == 0 || p.score <= out[n - 1].score))) continue;
            size_t at = n < cap ? n++ : cap - 1;
            for (; at > 0 && out[at - 1].score < p.score; at--) out[at] = out[at - 1];
            out[at] = p;
        }
    return n;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

double stats_text_information(const uint64_t *loads, size_t n_texts, size_t n_experts)
{
    double information = 0, n = 0;
    double *sums = calloc(n_texts + 1, sizeof *sums);
    if (!sums) return NAN;
    for (size_t t = 0; t < n_texts; t++) {
        for (size_t e = 0; e < n_experts; e++) sums[t] += (double)loads[t * n_experts + e];
        n += sums[t] > 0;
    }
    /* Mean over the texts of the divergence of a text's load from the mean of all texts' loads. */
    for (size_t e = 0; e < n_experts; e++) {
        double mean = 0;
        for (size_t t = 0; t < n_texts; t++)
            if (sums[t] > 0) mean += (double)loads[t * n_experts + e] / sums[t] / n;
        for (size_t t = 0; t < n_texts; t++) {
            double share = sums[t] > 0 ? (double)loads[t * n_experts + e] / sums[t] : 0;
            if (share > 0) information += share / n * log2(share / mean);
        }
    }
    free(sums);
    return fmax(information, 0);
}

/* ---- vocabulary -------------------------------------------------------------------------------------------------- */

static int by_token(const void *a, const void *b)
{
    const struct stats_occurrence *x = a, *y = b;
    return (x->token > y->token) - (x->token < y->token);
}

bool stats_sort_tokens(const struct trace *traces, size_t n_traces, struct stats_vocabulary *out)
{
    size_t n = 0;
    *out = (struct stats_vocabulary){0};
    for (size_t i = 0; i < n_traces; i++) out->count += traces[i].n_tokens;
    out->items = malloc(out->count * sizeof *out->items);
    if (!out->items) return false;
    for (size_t i = 0; i < n_traces; i++)
        for (size_t j = 0; j < traces[i].n_tokens; j++)
            out->items[n++] = (struct stats_occurrence){traces[i].tokens[j], (uint32_t)i, (uint32_t)j};
    qsort(out->items, n, sizeof *out->items, by_token);
    return true;
}

static void insert_token(struct stats_token *best, const struct stats_token *t)
{
    size_t at = STATS_TOP_TOKENS;
    while (at > 0 && (best[at - 1].seen == 0 || best[at - 1].score < t->score)) at--;
    if (at == STATS_TOP_TOKENS) return;
    memmove(best + at + 1, best + at, (STATS_TOP_TOKENS - 1 - at) * sizeof *best);
    best[at] = *t;
}

void stats_top_tokens(const struct trace *traces, const struct stats_vocabulary *v, size_t layer, const uint64_t *loads,
                      uint32_t *scratch, struct stats_token *out)
{
    const size_t n_experts = traces->n_experts, top_k = traces->top_k;
    memset(out, 0, n_experts * STATS_TOP_TOKENS * sizeof *out);
    memset(scratch, 0, n_experts * sizeof *scratch);
    for (size_t begin = 0, end; begin < v->count; begin = end) {
        const struct stats_occurrence *first = &v->items[begin];
        const struct trace *spelled = &traces[first->trace];
        for (end = begin; end < v->count && v->items[end].token == first->token; end++) {
            const uint16_t *chosen = trace_experts(&traces[v->items[end].trace], v->items[end].at, layer);
            for (size_t j = 0; j < top_k; j++) scratch[chosen[j]]++;
        }
        for (size_t i = begin; i < end; i++) {
            const uint16_t *chosen = trace_experts(&traces[v->items[i].trace], v->items[i].at, layer);
            for (size_t j = 0; j < top_k; j++) {
                const uint32_t routed = scratch[chosen[j]];
                scratch[chosen[j]] = 0; /* once per expert and token */
                if (routed < STATS_LEAST_SEEN) continue;
                double p = (double)loads[chosen[j]] / (double)v->count, expected = p * (double)(end - begin);
                struct stats_token t = {.token = first->token,
                                        .text = spelled->text + spelled->text_at[first->at],
                                        .length = spelled->lengths[first->at],
                                        .seen = (uint32_t)(end - begin),
                                        .routed = routed,
                                        .score = (routed - expected) / sqrt(expected)};
                if (t.score > 0) insert_token(out + chosen[j] * STATS_TOP_TOKENS, &t);
            }
        }
    }
}

/* ---- two traces -------------------------------------------------------------------------------------------------- */

bool stats_same_tokens(const struct trace *a, const struct trace *b)
{
    return a->n_tokens == b->n_tokens && memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens) == 0;
}

double stats_saturation(const struct trace *a, const struct trace *b, size_t layer)
{
    size_t equal = 0;
    for (size_t i = 0; i < a->n_tokens; i++) {
        const uint16_t *x = trace_experts(a, i, layer), *y = trace_experts(b, i, layer);
        for (size_t p = 0, q = 0; p < a->top_k && q < b->top_k;) { /* both ascend */
            equal += x[p] == y[q];
            if (x[p] <= y[q])
                p++;
            else
                q++;
        }
    }
    return (double)equal / (double)(a->n_tokens * a->top_k);
}

/* ---- working set ------------------------------------------------------------------------------------------------- */

/* An expert is in the window that ends at token `end` if it was used at one of end-n+1 .. end. So a use at s adds the
 * windows that end at s .. s+n-1, but for those that its use before, at p, is in already: they end by p+n-1. */
double stats_working_set(const struct trace *t, size_t layer, size_t n, size_t *scratch)
{
    double sum = 0;
    if (n == 0 || n > t->n_tokens) return 0;
    memset(scratch, 0, t->n_experts * sizeof *scratch); /* first window's end that the last use is not in; 0: none */
    for (size_t s = 0; s < t->n_tokens; s++) {
        const uint16_t *chosen = trace_experts(t, s, layer);
        for (size_t j = 0; j < t->top_k; j++) {
            size_t low = s > scratch[chosen[j]] ? s : scratch[chosen[j]], high = s + n;
            if (low < n - 1) low = n - 1;
            if (high > t->n_tokens) high = t->n_tokens;
            if (low < high) sum += (double)(high - low);
            scratch[chosen[j]] = s + n;
        }
    }
    return sum / (double)(t->n_tokens - n + 1);
}

double stats_uniform_working_set(double n_experts, double top_k, double n)
{
    return n_experts * (1 - pow(1 - top_k / n_experts, n));
}

/* ---- cache ------------------------------------------------------------------------------------------------------- */

size_t stats_accesses(const struct trace *t, uint32_t *keys, size_t cap)
{
    const size_t per_token = (size_t)t->n_moe_layers * t->top_k;
    size_t n = 0;
    for (size_t i = 0; i < t->n_tokens && cap - n >= per_token; i++)
        for (size_t l = 0; l < t->n_moe_layers; l++)
            for (size_t j = 0; j < t->top_k; j++) keys[n++] = (uint32_t)(l * t->n_experts + trace_experts(t, i, l)[j]);
    return n;
}

/* The keys that are in the cache, as a binary heap: the one with the lowest rank, which goes out next, on top. */
struct cache {
    uint32_t *heap;   /* [capacity] keys */
    uint32_t *place;  /* [n_keys] 1 + index in the heap; 0: not in the cache */
    uint64_t *rank;   /* [n_keys] */
    uint64_t *n_uses; /* [n_keys] */
    size_t count;
};

static void put(struct cache *c, size_t at, uint32_t key)
{
    c->heap[at] = key;
    c->place[key] = (uint32_t)at + 1;
}

/* Moves the key at `at` up or down to where its rank belongs. */
static void settle(struct cache *c, size_t at)
{
    const uint32_t key = c->heap[at];
    for (; at > 0 && c->rank[c->heap[(at - 1) / 2]] > c->rank[key]; at = (at - 1) / 2)
        put(c, at, c->heap[(at - 1) / 2]);
    for (size_t child; (child = 2 * at + 1) < c->count; at = child) {
        if (child + 1 < c->count && c->rank[c->heap[child + 1]] < c->rank[c->heap[child]]) child++;
        if (c->rank[c->heap[child]] >= c->rank[key]) break;
        put(c, at, c->heap[child]);
    }
    put(c, at, key);
}

/* Ranks order the keys by what a policy keeps; all different, so that there is no choice left. */
static uint64_t rank_of(enum stats_policy policy, size_t now, uint64_t n_uses, uint64_t next_use)
{
    switch (policy) {
    case STATS_LFU: return n_uses << 32 | now;
    case STATS_OPTIMAL: return UINT64_MAX - next_use;
    default: return now;
    }
}

static void simulate(struct cache *c, const uint32_t *keys, const uint32_t *next, size_t n, size_t capacity,
                     enum stats_policy policy, size_t *hits)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t key = keys[i];
        c->rank[key] = rank_of(policy, i, ++c->n_uses[key], next[i]);
        if (c->place[key]) {
            ++*hits;
        } else if (c->count < capacity) {
            put(c, c->count++, key);
        } else {
            c->place[c->heap[0]] = 0;
            put(c, 0, key);
        }
        settle(c, c->place[key] - 1);
    }
}

bool stats_cache_hits(const uint32_t *keys, size_t n, size_t n_keys, size_t capacity, enum stats_policy policy,
                      size_t *hits)
{
    struct cache c = {.heap = calloc(capacity ? capacity : 1, sizeof *c.heap),
                      .place = calloc(n_keys, sizeof *c.place),
                      .rank = calloc(n_keys, sizeof *c.rank),
                      .n_uses = calloc(n_keys, sizeof *c.n_uses)};
    uint32_t *next = malloc((n ? n : 1) * sizeof *next), *seen = malloc(n_keys * sizeof *seen);
    bool enough = c.heap && c.place && c.rank && c.n_uses && next && seen && n < UINT32_MAX - n_keys;
    *hits = 0;
    if (enough && capacity > 0) {
        /* Keys that are not used again are all equally far, and as good as any: n + key. */
        for (size_t key = 0; key < n_keys; key++) seen[key] = (uint32_t)(n + key);
        for (size_t i = n; i-- > 0;) {
            next[i] = seen[keys[i]];
            seen[keys[i]] = (uint32_t)i;
        }
        simulate(&c, keys, next, n, capacity, policy, hits);
    }
    free(c.heap);
    free(c.place);
    free(c.rank);
    free(c.n_uses);
    free(next);
    free(seen);
    return enough;
}

double stats_seconds_per_token(const struct trace *t, double misses_per_token, double memory_gb_per_s,
                               double disk_gb_per_s)
{
    double expert = (double)t->expert_bytes, read = (double)t->other_bytes + expert * t->top_k * t->n_moe_layers;
    return 1e-9 * (read / memory_gb_per_s + misses_per_token * expert / disk_gb_per_s);
}
