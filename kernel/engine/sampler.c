/* Chooses a token from logits. Only IEEE additions, multiplications and divisions, in double and in a fixed order, and
 * an exponential of its own: so the same logits and seed give the same token on every machine. The random number is a
 * function of (seed, length of the timeline), not a state, so rewinding repeats it. */
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

/* exp(x) for x <= 0: x = n ln 2 + r, then a Taylor polynomial on |r| <= 0.35 (error below 1e-16), then 2^n. */
static double exp_of(double x)
{
    if (!(x >= -700)) return 0; /* NaN too: infinite logits differ by NaN */
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    double n = floor(x * 1.4426950408889634 + 0.5);
    double r = (x - n * ln2_high) - n * ln2_low, sum = 1;
    for (int i = 13; i > 0; i--) sum = 1 + sum * r / i;
    return ldexp(sum, (int)n);
}

/* A double in [0, 1) from 64 well-mixed bits (Steele 2014, "splitmix"). */
static double uniform(uint64_t seed, uint64_t position)
{
    uint64_t z = seed + (position + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static float penalised(float logit, float penalty) { return logit > 0 ? logit / penalty : logit * penalty; }

/* Better: larger logit; equal logits: lower id. */
static bool is_better(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* A binary heap with the best candidate at the root: the few best of a large vocabulary without sorting it. */
static void sift_down(struct candidate *heap, int n, int i)
{
    struct candidate moving = heap[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_better(heap[child + 1], heap[child])) child++;
        if (!is_better(heap[child], moving)) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

/* Moves the best candidate of heap[0..n) behind the heap, to heap[n - 1]. */
static void pop_best(struct candidate *heap, int n)
{
    struct candidate best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    sift_down(heap, n - 1, 0);
}

struct weights_of { /* probability of a candidate relative to the best one */
    double temperature;
    float best;
};

static double weight(const struct weights_of *w, struct candidate c)
{
    return exp_of(((double)c.logit - (double)w->best) / w->temperature);
}

/* Draws among list[0..n) in order; total: sum of their weights. */
static int32_t draw(const struct weights_of *w, const struct candidate *list, int n, int step, double total, double u)
{
    double left = u * total;
    int32_t last = list[0].id;
    for (int i = 0; i < n; i++) {
        double p = weight(w, list[i * step]);
        if (p > 0) last = list[i * step].id;
        left -= p;
        if (left < 0) return last;
    }
    return last; /* rounding used up the sum */
}

/* Everything is kept but what min_p drops: no order is needed, candidates stay by id. */
static int32_t sample_all(const sluice_sampling *how, const struct weights_of *w, struct candidate *list, int n,
                          double u)
{
    double total = 0;
    int kept = 0;
    for (int i = 0; i < n; i++) {
        double p = weight(w, list[i]);
        if (p < (double)how->min_p) continue;
        total += p;
        list[kept++] = list[i];
    }
    return draw(w, list, kept, 1, total, u);
}

/* top_k, then top_p, then min_p over the best candidates, taken from a heap one by one. */
static int32_t sample_best(const sluice_sampling *how, const struct weights_of *w, struct candidate *list, int n,
                           double u)
{
    int k = how->top_k && how->top_k < n ? how->top_k : n, kept = 0;
    double all = 0, total = 0;
    if (k == n)
        for (int i = 0; i < n; i++) all += weight(w, list[i]);
    for (int i = n / 2 - 1; i >= 0; i--) sift_down(list, n, i);
    if (k < n) { /* the sum over the k best needs them first */
        for (int i = 0; i < k; i++) {
            pop_best(list, n - i);
            all += weight(w, list[n - 1 - i]);
        }
    }
    for (; kept < k; kept++) { /* best first: list[n - 1], list[n - 2] ... */
        if (kept && total >= (double)how->top_p * all) break;
        if (k == n) pop_best(list, n - kept);
        double p = weight(w, list[n - 1 - kept]);
        if (p < (double)how->min_p) break;
        total += p;
    }
    return draw(w, list + n - 1, kept, -1, total, u);
}

int32_t sluice_sample(const sluice_session *s, const sluice_sampling *how)
{
    if (!s->has_logits || sluice_sampling_check(how)) return -1;
    const int n = s->engine->model.config.vocab_size;
    struct candidate *list = s->candidates;
    for (int i = 0; i < n; i++) list[i] = (struct candidate){s->logits[i], i};
    if (how->repetition_penalty != 1)
        for (int i = 0; i < s->cache.length; i++) { /* of the raw logit, so that two occurrences count once */
            int32_t id = s->tokens[i];
            list[id].logit = penalised(s->logits[id], how->repetition_penalty);
        }
    struct candidate best = list[0];
    for (int i = 1; i < n; i++)
        if (is_better(list[i], best)) best = list[i];
    if (how->temperature == 0) return best.id;
    struct weights_of w = {.temperature = (double)how->temperature, .best = best.logit};
    double u = uniform(how->seed, (uint64_t)s->cache.length);
    if (how->top_k == 0 && how->top_p >= 1) return sample_all(how, &w, list, n, u);
    return sample_best(how, &w, list, n, u);
}
