/* Chooses a token from logits. Sums and comparisons have one order, and the softmax is that of ops.h: so the same
 * logits and seed give the same token on every machine. The random number is a function of (seed, length of the
 * timeline), not a state, so rewinding repeats it.
 *
 * A vocabulary is large and this is one thread between two passes: what touches all of it goes in blocks of LANES
 * values, which compilers turn into vectors. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/engine_internal.h"

sluice_sampling sluice_sampling_default(void)
{
    return (sluice_sampling){.temperature = 0, .top_p = 1, .repetition_penalty = 1};
}

const char *sluice_sampling_check(const sluice_sampling *how)
{
    if (!(how->temperature >= 0 && how->temperature <= 100)) return "temperature: expected 0..100";
    if (how->top_k < 0) return "top_k: expected at least 0";
    if (!(how->top_p > 0 && how->top_p <= 1)) return "top_p: expected more than 0 and at most 1";
    if (!(how->min_p >= 0 && how->min_p < 1)) return "min_p: expected at least 0 and less than 1";
    if (!(how->repetition_penalty >= 0.001f && how->repetition_penalty <= 1000))
        return "repetition_penalty: expected 0.001..1000";
    return NULL;
}

/* A double in [0, 1) from 64 well-mixed bits (Steele 2014, "splitmix"). */
static double uniform(uint64_t seed, uint64_t position)
{
    uint64_t z = seed + (position + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

enum { LANES = 16, SUM_BLOCK = 64 };

/* Overflow stays finite, so that differences of logits are numbers. */
static float penalised(float logit, float penalty)
{
    const float changed = logit > 0 ? logit / penalty : logit * penalty;
    return changed > FLT_MAX ? FLT_MAX : changed < -FLT_MAX ? -FLT_MAX : changed;
}

static float largest(const float *x, int n)
{
    float lanes[LANES], best = x[0];
    for (int j = 0; j < LANES; j++) lanes[j] = x[0];
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    for (; i < n; i++)
        if (x[i] > best) best = x[i];
    for (int j = 0; j < LANES; j++)
        if (lanes[j] > best) best = lanes[j];
    return best;
}

/* True if one of LANES values is larger than `limit`. */
static bool any_above(const float *x, float limit)
{
    int found = 0;
    for (int j = 0; j < LANES; j++) found |= x[j] > limit;
    return found != 0;
}

/* The first place of the largest of n values: first the piece, then the place in it. */
static int32_t place_of_largest(const float *x, int n)
{
    enum { PIECE = 1024 };
    float best = x[0];
    int at = 0;
    for (int i = 0; i < n; i += PIECE) {
        const float found = largest(x + i, n - i < PIECE ? n - i : PIECE);
        if (!(found > best)) continue;
        best = found;
        at = i;
    }
    while (x[at] != best) at++;
    return at;
}

/* ---- the best, in order ------------------------------------------------------------------------------------------ */

/* Better: larger logit; equal logits: lower id. */
static bool is_better(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* A binary heap with the worst candidate at the root. */
static void sift_down(struct candidate *heap, int n, int i)
{
    struct candidate moving = heap[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_better(heap[child], heap[child + 1])) child++;
        if (!is_better(moving, heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

/* list = the m best of n logits, best first. Whoever comes later with the same logit is worse, so that only a larger
 * logit than the worst one's gets in, and most blocks hold none. */
static void find_best(struct candidate *list, int m, const float *logits, int n)
{
    for (int i = 0; i < m; i++) list[i] = (struct candidate){logits[i], i};
    for (int i = m / 2 - 1; i >= 0; i--) sift_down(list, m, i);
    for (int i = m; i < n;) {
        const int end = i + LANES <= n ? i + LANES : n;
        if (end - i == LANES && !any_above(logits + i, list[0].logit)) {
            i = end;
            continue;
        }
        for (; i < end; i++) {
            if (!(logits[i] > list[0].logit)) continue;
            list[0] = (struct candidate){logits[i], i};
            sift_down(list, m, 0);
        }
    }
    for (int left = m - 1; left > 0; left--) {
        struct candidate worst = list[0];
        list[0] = list[left];
        list[left] = worst;
        sift_down(list, left, 0);
    }
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

/* x[i] = probability of logits[i]; x may be logits. */
static void make_probabilities(const struct ops *ops, float *x, const float *logits, int n, float best,
                               float temperature)
{
    const float inverse = 1 / (temperature > 1e-30f ? temperature : 1e-30f);
    for (int i = 0; i < n; i++) x[i] = (logits[i] - best) * inverse;
    ops->softmax(x, n);
}

static double sum_block(const float *p, int n)
{
    double lanes[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += (double)p[i + j];
    for (; i < n; i++) lanes[0] += (double)p[i];
    for (int j = 1; j < LANES; j++) lanes[0] += lanes[j];
    return lanes[0];
}

static double sum_all(const float *p, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i += SUM_BLOCK) sum += sum_block(p + i, n - i < SUM_BLOCK ? n - i : SUM_BLOCK);
    return sum;
}

/* Draws among p[0..n) in order: the first place where the sum so far is beyond u times the whole. The block is found by
 * the same sums that make the whole. */
static int draw(const float *p, int n, double u)
{
    double left = u * sum_all(p, n);
    int first = 0, last = 0;
    for (; first + SUM_BLOCK < n; first += SUM_BLOCK) {
        const double block = sum_block(p + first, SUM_BLOCK);
        if (left < block) break;
        left -= block;
    }
    for (int i = first; i < n; i++) { /* rounding may use up the sum of the block: then the next one, or the last */
        if (p[i] > 0) last = i;
        left -= (double)p[i];
        if (left < 0) return last;
    }
    for (int i = 0; i < n && !(p[last] > 0); i++) last = (last + n - 1) % n;
    return last;
}

/* Everything is kept but what min_p drops: no order is needed, candidates stay by id. `p` [n]: probabilities,
 * of which `best` is the largest. */
static int32_t sample_all(const sluice_sampling *how, float *p, int n, float best, double u)
{
    const float least = how->min_p * best;
    for (int i = 0; i < n; i++) p[i] = p[i] < least ? 0 : p[i];
    return draw(p, n, u);
}

/* How many of the best top_p and min_p keep. p [m]: their probabilities, best first; all: sum of those of all. -1: more
 * than m. */
static int count_kept(const sluice_sampling *how, const float *p, int m, int n, double all)
{
    double total = 0;
    for (int kept = 0; kept < m; kept++) {
        if (kept && total >= (double)how->top_p * all) return kept;
        if (p[kept] < how->min_p * p[0]) return kept;
        total += (double)p[kept];
    }
    return m == n || total >= (double)how->top_p * all ? m : -1;
}

/* top_k, then top_p, then min_p over the best candidates, in order. */
static int32_t sample_best(const sluice_session *s, const sluice_sampling *how, const float *logits, int n, float best,
                           double u)
{
    struct candidate *list = s->candidates;
    float *p = s->probabilities;
    if (how->top_k && how->top_k < n) {
        const int k = how->top_k;
        find_best(list, k, logits, n);
        for (int i = 0; i < k; i++) p[i] = list[i].logit;
        make_probabilities(&s->ws.ops, p, p, k, best, how->temperature);
        return list[draw(p, count_kept(how, p, k, k, sum_all(p, k)), u)].id;
    }
    make_probabilities(&s->ws.ops, p, logits, n, best, how->temperature);
    const double all = sum_all(p, n);
    for (int m = n < 64 ? n : 64;; m = m < n / 8 ? 8 * m : n) { /* few are enough mostly */
        float *kept = s->kept_probabilities;
        find_best(list, m, logits, n);
        for (int i = 0; i < m; i++) kept[i] = p[list[i].id];
        const int count = count_kept(how, kept, m, n, all);
        if (count > 0) return list[draw(kept, count, u)].id;
    }
}

int32_t sluice_sample(const sluice_session *s, const sluice_sampling *how)
{
    if (!s->has_logits || sluice_sampling_check(how)) return -1;
    const int n = s->engine->model.config.vocab_size;
    const float *logits = s->logits;
    if (how->repetition_penalty != 1) {
        memcpy(s->penalised, logits, (size_t)n * sizeof *logits);
        for (int i = 0; i < s->cache.length; i++) /* of the raw logit, so that two occurrences count once */
            s->penalised[s->tokens[i]] = penalised(logits[s->tokens[i]], how->repetition_penalty);
        logits = s->penalised;
    }
    const int32_t first = place_of_largest(logits, n);
    if (how->temperature == 0) return first;
    const float best = logits[first];
    const double u = uniform(how->seed, (uint64_t)s->cache.length);
    if (how->top_k || how->top_p < 1) return sample_best(s, how, logits, n, best, u);
    make_probabilities(&s->ws.ops, s->probabilities, logits, n, best, how->temperature);
    return sample_all(how, s->probabilities, n, s->probabilities[first], u);
}
