/* Formats with scales and offsets. Numbers are d q + m in Q4_1 and Q5_1, and d s q - dmin m in Q2_K, Q4_K and Q5_K,
 * where s and m are small whole numbers >= 0 for each group of a block. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "quant/blocks.h"
#include "quant/encode_scale.h"

/* The codes, and the trials, which spread the range of x over so many steps of the grid: `steps` from `first` on. */
struct offset_search {
    struct encode_grid grid;
    float first, step;
    int steps;
};

/* ---- one scale and offset --------------------------------------------------------------------------------------- */

/* d q + b */
struct line {
    float d, b, error;
    float code_code, total_w; /* what a change of d, of b, costs: this times its square */
};

/* What b may be: m >= 0, so all offsets of a block have the sign of -dmin. */
enum offsets { OFFSETS_ANY, OFFSETS_NOT_ABOVE_0, OFFSETS_NOT_BELOW_0 };

ENCODE_INLINE bool allowed(enum offsets offsets, float b)
{
    return offsets == OFFSETS_ANY || (offsets == OFFSETS_NOT_ABOVE_0 ? b <= 0.0f : b >= 0.0f);
}

ENCODE_INLINE float sum_of(const vec *w, int n)
{
    vec sum = {0};
    for (int i = 0; i < n / VEC; i++) sum += w[i];
    return vec_sum(sum);
}

/* The best line for the codes of (d, b), and its error. total_w is the sum of w. With unit > 0 both are halves divided
 * by unit. */
ENCODE_INLINE struct line try_line(const struct encode_grid *g, const vec *x, const vec *w, int n, float total_w,
                                   enum offsets offsets, float unit, float d, float b)
{
    struct encode_sums s = encode_measure(g, x, w, n, d, b);
    float determinant = s.code_code * total_w - s.code_one * s.code_one;
    if (!(determinant > 0x1p-20f * s.code_code * total_w)) /* one code for all */
        return (struct line){d, b, s.error, s.code_code, total_w};
    float dd = (s.code * total_w - s.one * s.code_one) / determinant;
    float db = (s.one * s.code_code - s.code * s.code_one) / determinant;
    float error = s.error - dd * s.code - db * s.one;
    bool outside = !allowed(offsets, b + db);
    if (outside || unit > 0.0f) {
        float rounded = outside ? 0.0f : fp16_to_float(encode_half((b + db) * unit)) / unit;
        db = rounded - b;
        dd = (s.code - db * s.code_one) / s.code_code;
        if (unit > 0.0f) dd = fp16_to_float(encode_half((d + dd) * unit)) / unit - d;
        error = s.error - 2.0f * (dd * s.code + db * s.one) +
                (dd * dd * s.code_code + 2.0f * dd * db * s.code_one + db * db * total_w);
    }
    return (struct line){d + dd, b + db, error > 0.0f ? error : 0.0f, s.code_code, total_w};
}

/* Trials that spread least..most over the grid. They hold on to the smallest and to the largest x in turn: at the other
 * end something is cut off, or there is room. */
ENCODE_INLINE void try_spreads(const struct offset_search *f, const vec *x, const vec *w, int n, float total_w,
                               enum offsets offsets, float unit, float least, float most, float noise,
                               struct line *best)
{
    for (int i = 0; i < f->steps; i++) {
        float d = (most - least) / (f->first + (float)i * f->step), b = i % 2 ? most - f->grid.high * d : least;
        struct line t = try_line(&f->grid, x, w, n, total_w, offsets, unit, d, b);
        if (t.error < best->error - noise) *best = t;
    }
}

/* The range of the x that have a weight of at least `enough`, which one of them has. */
ENCODE_INLINE void weighty_range(const vec *x, const vec *w, int n, float enough, float *least, float *most)
{
    vec low = vec_of(INFINITY), high = vec_of(-INFINITY);
    for (int i = 0; i < n / VEC; i++) {
        low = vec_select((w[i] >= enough) & (x[i] < low), x[i], low);
        high = vec_select((w[i] >= enough) & (x[i] > high), x[i], high);
    }
    vec both[2] = {low, -high};
    float ignored;
    encode_range(both, VEC, least, &ignored);
    encode_range(both + 1, VEC, most, &ignored);
    *most = -*most;
}

/* The line of x [n], as try_line rounds it; d is 0 if all are equal. */
ENCODE_INLINE struct line fit_line(const struct offset_search *f, const vec *x, const vec *w, int n,
                                   enum offsets offsets, float unit)
{
    float least, most, weighty_least, weighty_most, total_w = sum_of(w, n);
    encode_range(x, n, &least, &most);
    if (!allowed(offsets, least)) least = 0.0f;
    float range = most - least;
    if (!(range > 0x1p-60f)) return (struct line){0.0f, least, 0.0f, 0.0f, total_w};

    struct line best = try_line(&f->grid, x, w, n, total_w, offsets, unit, range / f->grid.high, least);
    /* Exact lines must not win by rounding, see scale_search. */
    float noise = 0x1p-36f * range * range * total_w;
    try_spreads(f, x, w, n, total_w, offsets, unit, least, most, noise, &best);
    /* With importance the ends of the range may not matter. */
    weighty_range(x, w, n, total_w / (float)(16 * n), &weighty_least, &weighty_most);
    if (!allowed(offsets, weighty_least)) weighty_least = 0.0f;
    float weighty = weighty_most - weighty_least;
    if (weighty > 0.0f && weighty < 0.8f * range)
        try_spreads(f, x, w, n, total_w, offsets, unit, weighty_least, weighty_most, noise, &best);
    for (int i = 0; i < 3; i++) {
        struct line t = try_line(&f->grid, x, w, n, total_w, offsets, unit, best.d, best.b);
        if (!(t.error < best.error)) break;
        best = t;
    }
    return best;
}

/* Blocks of 32 with two halves: gives d, m and the codes. For each half near the best offset, the scale that suits it
 * best; where all x are equal, the scale that makes up for the rounding of the offset. */
ENCODE_INLINE void encode_one_line(const struct offset_search *f, const float *x, const float *importance, uint16_t *d,
                                   uint16_t *m, int *q)
{
    struct encode_block k;
    encode_load(&k, x, importance, 32, ENCODE_HALF_EXPONENT);
    struct line fit = fit_line(f, k.x, k.w, 32, OFFSETS_ANY, k.unit);
    uint16_t near = encode_half(fit.b * k.unit);
    float least = INFINITY;
    *d = *m = 0;
    for (int i = 0; i < 3; i++) {
        uint16_t h = encode_half_beside(near, i);
        float b = fp16_to_float(h) * k.per_unit, scale = fit.d > 0.0f ? fit.d : (fit.b - b) / f->grid.high;
        for (int round = 0; round < 2; round++) {
            uint16_t half = encode_half(scale * k.unit);
            scale = fp16_to_float(half) * k.per_unit;
            struct encode_sums s = encode_measure(&f->grid, k.x, k.w, 32, scale, b);
            if (s.error < least) least = s.error, *d = half, *m = h;
            if (s.code_code > 0.0f) scale += s.code / s.code_code;
        }
    }
    encode_codes(&f->grid, k.x, 32, fp16_to_float(*d) * k.per_unit, fp16_to_float(*m) * k.per_unit, 0, q);
}

/* ---- a scale and an offset per group ---------------------------------------------------------------------------- */

struct offset_groups {
    struct offset_search codes;
    int n, n_groups; /* elements of a group, groups of a block */
    float high;      /* s and m */
};

struct lines {
    uint16_t d, dmin;
    float s[ENCODE_MAX_GROUPS], m[ENCODE_MAX_GROUPS];
    float error;
};

ENCODE_INLINE float whole_within(float f, float high)
{
    f = f > 0.0f ? f : 0.0f;
    return round_whole(f < high ? f : high);
}

/* The s and m for lines near `fits` at c->d and c->dmin, each one up or down where that helps. Gives the d and dmin
 * that suit the codes. */
ENCODE_INLINE void choose_lines(const struct offset_groups *f, const struct encode_block *k, const struct line *fits,
                                struct lines *c, float *better_d, float *better_dmin)
{
    float d = fp16_to_float(c->d) * k->per_unit, per_d = encode_inverse(d);
    float dmin = fp16_to_float(c->dmin) * k->per_unit, per_dmin = encode_inverse(dmin);
    float a11 = 0.0f, a12 = 0.0f, a22 = 0.0f, y1 = 0.0f, y2 = 0.0f; /* the normal equations of (d, dmin) */
    c->error = 0.0f;
    for (int g = 0; g < f->n_groups; g++) {
        const vec *x = k->x + g * f->n / VEC, *w = k->w + g * f->n / VEC;
        float s0 = whole_within(fits[g].d * per_d, f->high), m0 = whole_within(-fits[g].b * per_dmin, f->high);
        float least = INFINITY;
        c->s[g] = c->m[g] = 0.0f;
        for (int i = 0; i < 9; i++) {
            const int right = i % 3 - 1, down = i / 3 - 1; /* the nine neighbours */
            float s = s0 + (float)right, m = m0 + (float)down;
            if (s < 0.0f || s > f->high || m < 0.0f || m > f->high) continue;
            float error = encode_error(&f->codes.grid, x, w, f->n, d * s, -(dmin * m));
            if (error < least) least = error, c->s[g] = s, c->m[g] = m;
        }
        float s = c->s[g], m = c->m[g];
        struct encode_sums t = encode_measure(&f->codes.grid, x, w, f->n, d * s, -(dmin * m));
        c->error += t.error;
        y1 += s * t.code;
        y2 -= m * t.one;
        a11 += s * s * t.code_code;
        a12 -= s * m * t.code_one;
        a22 += m * m * sum_of(w, f->n);
    }
    float determinant = a11 * a22 - a12 * a12;
    *better_d = d;
    *better_dmin = dmin;
    if (determinant > 0x1p-20f * a11 * a22) {
        *better_d += (y1 * a22 - y2 * a12) / determinant;
        *better_dmin += (y2 * a11 - y1 * a12) / determinant;
    } else if (a11 > 0.0f) {
        *better_d += y1 / a11;
    }
}

/* Improves `best` with offsets of one sign. */
ENCODE_INLINE void try_lines(const struct offset_groups *f, const struct encode_block *k, enum offsets offsets,
                             struct lines *best)
{
    const float high = f->high;
    const struct scale_search scales = {.grid = {.low = 0, .high = high}, .reach = {{0.7f * high, 0.025f * high, 24}}};
    struct line fits[ENCODE_MAX_GROUPS];
    vec d[ENCODE_MAX_GROUPS / VEC], b[ENCODE_MAX_GROUPS / VEC];
    vec weight_d[ENCODE_MAX_GROUPS / VEC], weight_b[ENCODE_MAX_GROUPS / VEC];
    float top_d = 0.0f, top_b = 0.0f;
    for (int g = 0; g < f->n_groups; g++) {
        fits[g] = fit_line(&f->codes, k->x + g * f->n / VEC, k->w + g * f->n / VEC, f->n, offsets, 0.0f);
        d[g / VEC][g % VEC] = fits[g].d;
        b[g / VEC][g % VEC] = fits[g].b;
        weight_d[g / VEC][g % VEC] = fits[g].code_code;
        weight_b[g / VEC][g % VEC] = fits[g].total_w;
        if (fits[g].d > top_d) top_d = fits[g].d;
        if (fabsf(fits[g].b) > fabsf(top_b)) top_b = fits[g].b;
    }

    float start_d[2] = {scale_search(&scales, d, weight_d, f->n_groups, 0.0f).d, top_d / high};
    float start_b[2] = {scale_search(&scales, b, weight_b, f->n_groups, 0.0f).d, top_b / high};
    for (int start = 0; start < 2; start++) {
        struct lines c = {.d = encode_half(start_d[start] * k->unit),
                          .dmin = encode_half((0.0f - start_b[start]) * k->unit)};
        for (int i = 0; i < 3; i++) {
            float better_d, better_dmin;
            choose_lines(f, k, fits, &c, &better_d, &better_dmin);
            if (!(c.error < best->error)) break;
            *best = c;
            c.d = encode_half(better_d * k->unit);
            c.dmin = encode_half(better_dmin * k->unit);
        }
    }
}

/* Blocks of 256: gives d, dmin, s, m and the codes. Offsets are at most 0, as usual, or, where all x are positive, at
 * least 0: then dmin is negative. */
ENCODE_INLINE struct lines encode_lines(const struct offset_groups *f, const float *x, const float *importance, int *q)
{
    struct encode_block k;
    struct lines best = {.d = 0, .error = INFINITY};
    float least, most;
    encode_load(&k, x, importance, 256, ENCODE_HALF_EXPONENT);
    encode_range(k.x, 256, &least, &most);
    for (int positive = 0; positive <= (least > 0.0f); positive++)
        try_lines(f, &k, positive ? OFFSETS_NOT_BELOW_0 : OFFSETS_NOT_ABOVE_0, &best);

    float d = fp16_to_float(best.d) * k.per_unit, dmin = fp16_to_float(best.dmin) * k.per_unit;
    for (int g = 0; g < f->n_groups; g++)
        encode_codes(&f->codes.grid, k.x + g * f->n / VEC, f->n, d * best.s[g], -(dmin * best.m[g]), 0, q + g * f->n);
    return best;
}

/* ---- the formats ------------------------------------------------------------------------------------------------ */

void encode_q4_1(void *block, const float *x, const float *importance)
{
    static const struct offset_search format = {{.low = 0, .high = 15}, .first = 13.5f, .step = 0.25f, .steps = 15};
    struct block_q4_1 *to = block;
    uint16_t d, m;
    int q[32];
    encode_one_line(&format, x, importance, &d, &m, q);
    to->d = d;
    to->m = m;
    encode_pack_nibbles(to->q, q, 32);
}

void encode_q5_1(void *block, const float *x, const float *importance)
{
    static const struct offset_search format = {{.low = 0, .high = 31}, .first = 29.5f, .step = 0.25f, .steps = 15};
    struct block_q5_1 *to = block;
    uint16_t d, m;
    int q[32];
    encode_one_line(&format, x, importance, &d, &m, q);
    to->d = d;
    to->m = m;
    to->high = encode_pack_fifth_bits(q);
    encode_pack_nibbles(to->q, q, 32);
}

void encode_q2_k(void *block, const float *x, const float *importance)
{
    static const struct offset_groups format = {
        .codes = {{.low = 0, .high = 3}, .first = 2.0f, .step = 0.125f, .steps = 17},
        .n = 16,
        .n_groups = 16,
        .high = 15};
    struct block_q2_k *to = block;
    int q[256];
    struct lines c = encode_lines(&format, x, importance, q);
    memset(to, 0, sizeof *to);
    to->d = c.d;
    to->dmin = c.dmin;
    for (int i = 0; i < 256; i++) to->q[i / 128 * 32 + i % 32] |= (uint8_t)(q[i] << i / 32 % 4 * 2);
    for (int g = 0; g < 16; g++) to->scales[g] = (uint8_t)((int)c.s[g] | (int)c.m[g] << 4);
}

static void pack_scales(uint8_t *bytes, const struct lines *c)
{
    for (int g = 0; g < 4; g++) {
        int s = (int)c->s[g], m = (int)c->m[g], s4 = (int)c->s[g + 4], m4 = (int)c->m[g + 4];
        bytes[g] = (uint8_t)(s | s4 >> 4 << 6);
        bytes[g + 4] = (uint8_t)(m | m4 >> 4 << 6);
        bytes[g + 8] = (uint8_t)((s4 & 15) | (m4 & 15) << 4);
    }
}

void encode_q4_k(void *block, const float *x, const float *importance)
{
    static const struct offset_groups format = {
        .codes = {{.low = 0, .high = 15}, .first = 13.5f, .step = 0.25f, .steps = 15},
        .n = 32,
        .n_groups = 8,
        .high = 63};
    struct block_q4_k *to = block;
    int q[256];
    struct lines c = encode_lines(&format, x, importance, q);
    to->d = c.d;
    to->dmin = c.dmin;
    pack_scales(to->scales, &c);
    for (int i = 0; i < 4; i++) encode_pack_nibbles(to->q + i * 32, q + i * 64, 64);
}

void encode_q5_k(void *block, const float *x, const float *importance)
{
    static const struct offset_groups format = {
        .codes = {{.low = 0, .high = 31}, .first = 29.5f, .step = 0.25f, .steps = 15},
        .n = 32,
        .n_groups = 8,
        .high = 63};
    struct block_q5_k *to = block;
    int q[256];
    struct lines c = encode_lines(&format, x, importance, q);
    memset(to, 0, sizeof *to);
    to->d = c.d;
    to->dmin = c.dmin;
    pack_scales(to->scales, &c);
    for (int i = 0; i < 4; i++) encode_pack_nibbles(to->q + i * 32, q + i * 64, 64);
    for (int i = 0; i < 256; i++) to->high[i % 32] |= (uint8_t)((q[i] >> 4) << i / 32);
}
