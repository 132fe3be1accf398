/* The search for one scale: the d for which the numbers d q, q on a grid, come nearest to x [n]. Used for the codes of
 * all formats without offsets, and for the scales of groups, which formats with groups store as codes of their own. */
#ifndef QUANT_ENCODE_SCALE_H
#define QUANT_ENCODE_SCALE_H

#include <math.h>

#include "quant/encode.h"

/* Numbers of the grid that an extreme x is mapped to, one trial each: `steps` of them from `first` on. */
struct scale_reach {
    float first, step;
    int steps;
};

/* Grids are not symmetric (-8..7), so that the sign of a scale matters: one reach around either end, some of it beyond
 * the end, where the extreme is cut off in favour of the rest. */
struct scale_search {
    struct encode_grid grid;
    struct scale_reach reach[2];
};

struct scale_fit {
    float d, error;
    float code_code; /* at another scale d' the error is larger by this times (d' - d)^2 */
};

/* The error of all zeros. */
ENCODE_INLINE float scale_energy(const vec *x, const vec *w, int n)
{
    vec sum = {0};
    for (int i = 0; i < n / VEC; i++) sum += w[i] * x[i] * x[i];
    return vec_sum(sum);
}

/* The best scale for the codes of scale d, and its error. With unit > 0 that scale is a half divided by unit. */
ENCODE_INLINE struct scale_fit scale_try(const struct encode_grid *g, const vec *x, const vec *w, int n, float d,
                                         float unit)
{
    struct encode_sums s = encode_measure(g, x, w, n, d, 0.0f);
    float better = s.code_code > 0.0f ? d + s.code / s.code_code : d;
    if (unit > 0.0f) better = fp16_to_float(encode_half(better * unit)) / unit;
    float change = better - d, error = s.error - change * (2.0f * s.code - change * s.code_code);
    return (struct scale_fit){better, error > 0.0f ? error : 0.0f, s.code_code};
}

/* The trials that map `extreme` to either end. */
ENCODE_INLINE void scale_try_ends(const struct scale_search *f, const vec *x, const vec *w, int n, float unit,
                                  float extreme, float noise, struct scale_fit *best)
{
    for (int end = 0; end < 2; end++)
        for (int i = 0; i < f->reach[end].steps; i++) {
            float to = f->reach[end].first + (float)i * f->reach[end].step;
            struct scale_fit t = scale_try(&f->grid, x, w, n, extreme / to, unit);
            if (t.error < best->error - noise) *best = t;
        }
}

/* The x with the largest w x^2. */
ENCODE_INLINE float scale_heaviest(const vec *x, const vec *w, int n)
{
    vec most = {0}, at = {0};
    for (int i = 0; i < n / VEC; i++) {
        vec heavy = w[i] * x[i] * x[i];
        vec_int more = heavy > most;
        most = vec_select(more, heavy, most);
        at = vec_select(more, x[i], at);
    }
    int best = 0;
    for (int j = 1; j < VEC; j++)
        if (most[j] > most[best]) best = j;
    return at[best];
}

/* The scale of x [n], as scale_try rounds it; 0 when all zeros are as good as anything. */
ENCODE_INLINE struct scale_fit scale_search(const struct scale_search *f, const vec *x, const vec *w, int n, float unit)
{
    float least, most;
    encode_range(x, n, &least, &most);
    float largest = -least > most ? least : most, heaviest = scale_heaviest(x, w, n);
    if (fabsf(largest) < 0x1p-60f) return (struct scale_fit){0}; /* nothing, beside the 1 that its block contains */

    /* The plain choice first. Others must be better by more than rounding: where all are exact, groups of equal numbers
     * would end up with scales that have nothing in common. */
    struct scale_fit best = {.error = scale_energy(x, w, n)};
    float noise = 0x1p-36f * best.error, end = f->grid.low < 0.0f ? f->grid.low : f->grid.high;
    struct scale_fit t = scale_try(&f->grid, x, w, n, largest / end, unit);
    if (t.error < best.error) best = t;
    scale_try_ends(f, x, w, n, unit, largest, noise, &best);
    /* With importance the largest x may not matter. */
    if (fabsf(heaviest) < 0.75f * fabsf(largest)) scale_try_ends(f, x, w, n, unit, heaviest, noise, &best);
    for (int i = 0; i < 3; i++) {
        t = scale_try(&f->grid, x, w, n, best.d, unit);
        if (!(t.error < best.error)) break;
        best = t;
    }
    return best;
}

#endif
