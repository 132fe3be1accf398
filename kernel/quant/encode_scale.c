/* Formats with scales and no offsets. Numbers are d q in Q4_0, Q5_0, Q8_0, IQ4_NL and MXFP4, and d s q in Q3_K, Q6_K
 * and IQ4_XS, where s is a small whole number for each group of a block. */
#include "quant/encode_scale.h"

#include <math.h>
#include <string.h>

#include "quant/decode_small.h"

/* ---- one scale -------------------------------------------------------------------------------------------------- */

/* Blocks of 32 with one half: gives d and the codes, `bias` added. */
ENCODE_INLINE uint16_t encode_one_scale(const struct scale_search *f, const float *x, const float *importance, int bias,
                                        int *q)
{
    struct encode_block b;
    encode_load(&b, x, importance, 32, ENCODE_HALF_EXPONENT);
    uint16_t near = encode_half(scale_search(f, b.x, b.w, 32, b.unit).d * b.unit), best = 0;
    float least = scale_energy(b.x, b.w, 32);
    for (int i = 0; i < 3; i++) {
        uint16_t h = encode_half_beside(near, i);
        float error = encode_error(&f->grid, b.x, b.w, 32, fp16_to_float(h) * b.per_unit, 0.0f);
        if (error < least) least = error, best = h;
    }
    encode_codes(&f->grid, b.x, 32, fp16_to_float(best) * b.per_unit, 0.0f, bias, q);
    return best;
}

/* ---- a scale per group ------------------------------------------------------------------------------------------ */

struct scale_groups {
    struct scale_search codes;
    int n, n_groups; /* elements of a group, groups of a block */
    float low, high; /* s */
};

struct scales {
    uint16_t d;
    float s[ENCODE_MAX_GROUPS];
    float error;
};

/* The s for scales near `fits` [n_groups] at c->d, each one up or down where that helps. Returns the d that suits the
 * codes. */
ENCODE_INLINE float choose_scales(const struct scale_groups *f, const struct encode_block *b, const vec *fits,
                                  struct scales *c)
{
    float d = fp16_to_float(c->d) * b->per_unit, inverse = encode_inverse(d), code = 0.0f, code_code = 0.0f;
    c->error = 0.0f;
    for (int g = 0; g < f->n_groups; g++) {
        const vec *x = b->x + g * f->n / VEC, *w = b->w + g * f->n / VEC;
        float ratio = fits[g / VEC][g % VEC] * inverse;
        ratio = ratio > f->low ? ratio : f->low;
        ratio = ratio < f->high ? ratio : f->high;
        struct encode_sums best = {.error = INFINITY};
        c->s[g] = 0.0f;
        for (int step = -1; step <= 1; step++) {
            float s = round_whole(ratio) + (float)step;
            if (s < f->low || s > f->high) continue;
            struct encode_sums sums = encode_measure(&f->codes.grid, x, w, f->n, d * s, 0.0f);
            if (sums.error < best.error) best = sums, c->s[g] = s;
        }
        c->error += best.error;
        code += c->s[g] * best.code;
        code_code += c->s[g] * c->s[g] * best.code_code;
    }
    return code_code > 0.0f ? d + code / code_code : d;
}

/* Blocks of 256: gives d, s and the codes, `bias` added. */
ENCODE_INLINE struct scales encode_scales(const struct scale_groups *f, const float *x, const float *importance,
                                          int bias, int *q)
{
    const float steps = 16.0f, low = f->low;
    const struct scale_search scales = {
        .grid = {.low = low, .high = f->high},
        .reach = {{1.25f * low, -0.25f * low / steps, 16}, {-0.75f * low, -0.25f * low / steps, 16}}};
    struct encode_block b;
    vec fits[ENCODE_MAX_GROUPS / VEC], weights[ENCODE_MAX_GROUPS / VEC];
    float top = 0.0f;
    encode_load(&b, x, importance, 256, ENCODE_HALF_EXPONENT);
    for (int g = 0; g < f->n_groups; g++) {
        struct scale_fit t = scale_search(&f->codes, b.x + g * f->n / VEC, b.w + g * f->n / VEC, f->n, 0.0f);
        fits[g / VEC][g % VEC] = t.d;
        weights[g / VEC][g % VEC] = t.code_code;
        if (fabsf(t.d) > fabsf(top)) top = t.d;
    }

    struct scales c, best = {.d = 0, .error = scale_energy(b.x, b.w, 256)};
    float starts[2] = {scale_search(&scales, fits, weights, f->n_groups, 0.0f).d, top / f->high};
    for (int start = 0; start < 2; start++) {
        c.d = encode_half(starts[start] * b.unit);
        for (int i = 0; i < 3; i++) {
            float better = choose_scales(f, &b, fits, &c);
            if (!(c.error < best.error)) break;
            best = c;
            c.d = encode_half(better * b.unit);
        }
    }
    uint16_t near = best.d;
    for (int i = 1; i < 3; i++) {
        c.d = encode_half_beside(near, i);
        choose_scales(f, &b, fits, &c);
        if (c.error < best.error) best = c;
    }

    float d = fp16_to_float(best.d) * b.per_unit;
    for (int g = 0; g < f->n_groups; g++)
        encode_codes(&f->codes.grid, b.x + g * f->n / VEC, f->n, d * best.s[g], 0.0f, bias, q + g * f->n);
    return best;
}

/* ---- whole numbers ---------------------------------------------------------------------------------------------- */

void encode_q4_0(void *block, const float *x, const float *importance)
{
    static const struct scale_search format = {.grid = {.low = -8, .high = 7},
                                               .reach = {{-9.0f, 0.25f, 9}, {6.25f, 0.25f, 8}}};
    struct block_q4_0 *to = block;
    int q[32];
    to->d = encode_one_scale(&format, x, importance, 8, q);
    encode_pack_nibbles(to->q, q, 32);
}

void encode_q5_0(void *block, const float *x, const float *importance)
{
    static const struct scale_search format = {.grid = {.low = -16, .high = 15},
                                               .reach = {{-17.0f, 0.25f, 9}, {14.25f, 0.25f, 8}}};
    struct block_q5_0 *to = block;
    int q[32];
    to->d = encode_one_scale(&format, x, importance, 16, q);
    to->high = encode_pack_fifth_bits(q);
    encode_pack_nibbles(to->q, q, 32);
}

/* Without -128: products may negate codes, and one more number in 256 is worth nothing. */
void encode_q8_0(void *block, const float *x, const float *importance)
{
    static const struct scale_search format = {.grid = {.low = -127, .high = 127}, .reach = {{126.0f, 0.25f, 8}}};
    struct block_q8_0 *to = block;
    int q[32];
    to->d = encode_one_scale(&format, x, importance, 0, q);
    for (int i = 0; i < 32; i++) to->q[i] = (int8_t)q[i];
}

void encode_q3_k(void *block, const float *x, const float *importance)
{
    static const struct scale_groups format = {
        .codes = {.grid = {.low = -4, .high = 3}, .reach = {{-5.5f, 0.25f, 11}, {2.25f, 0.25f, 9}}},
        .n = 16,
        .n_groups = 16,
        .low = -32,
        .high = 31};
    struct block_q3_k *to = block;
    int q[256];
    struct scales c = encode_scales(&format, x, importance, 4, q);
    memset(to, 0, sizeof *to);
    to->d = c.d;
    for (int i = 0; i < 256; i++) {
        to->q[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] & 3) << i / 32 % 4 * 2);
        to->high[i % 32] |= (uint8_t)((q[i] >> 2) << i / 32);
    }
    for (int g = 0; g < 16; g++) {
        int s = (int)c.s[g] + 32;
        to->scales[g % 8] |= (uint8_t)((s & 15) << g / 8 * 4);
        to->scales[8 + g % 4] |= (uint8_t)((s >> 4) << g / 4 * 2);
    }
}

void encode_q6_k(void *block, const float *x, const float *importance)
{
    static const struct scale_groups format = {
        .codes = {.grid = {.low = -32, .high = 31}, .reach = {{-33.0f, 0.25f, 9}, {30.25f, 0.25f, 8}}},
        .n = 16,
        .n_groups = 16,
        .low = -128,
        .high = 127};
    struct block_q6_k *to = block;
    int q[256];
    struct scales c = encode_scales(&format, x, importance, 32, q);
    memset(to, 0, sizeof *to);
    to->d = c.d;
    for (int i = 0; i < 256; i++) {
        to->q[i / 128 * 64 + i % 64] |= (uint8_t)((q[i] & 15) << i / 64 % 2 * 4);
        to->high[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] >> 4) << i / 32 % 4 * 2);
    }
    for (int g = 0; g < 16; g++) to->scales[g] = (int8_t)c.s[g];
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

/* Cells of 8 from -127 on. Where a cell has no middle between two entries, the pair is any that decides right. */
static const float iq4_below[31] = {-127, -127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -10, -10,
                                    1,    13,   13,   25,   38,   38,  53,  53,  69,  69,  89,  89,  89,  89,  89};
static const float iq4_above[31] = {-104, -104, -83, -83, -83, -65, -65, -49, -49, -35, -35, -22, -22, -10, 1,  1,
                                    13,   25,   25,  38,  53,  53,  69,  69,  89,  89,  113, 113, 113, 113, 113};
#define IQ4_SEARCH                                                                                            \
    {                                                                                                         \
        .grid = {.low = -127, .high = 113, .below = iq4_below, .above = iq4_above, .cells_per_unit = 0.125f}, \
        .reach = {                                                                                            \
            {-144.0f, 5.0f, 8},                                                                               \
            {98.0f, 4.0f, 7}                                                                                  \
        }                                                                                                     \
    }

/* Cells of 1 from -12 on; entries are twice those of the format. */
static const float e2m1_below[25] = {-12, -12, -12, -8, -8, -8, -6, -6, -4, -3, -2, -1, 0,
                                     1,   2,   3,   4,  4,  6,  6,  8,  8,  8,  8,  8};
static const float e2m1_above[25] = {-8, -8, -8, -6, -6, -6, -4, -4, -3, -2, -1, 0, 1,
                                     2,  3,  4,  6,  6,  8,  8,  12, 12, 12, 12, 12};

/* q [n]: entries of `table` become their places in it. */
static void entries_to_codes(int *q, int n, const int8_t *table)
{
    for (int i = 0; i < n; i++) {
        int code = 0;
        while (code < 15 && table[code] != q[i]) code++;
        q[i] = code;
    }
}

void encode_iq4_nl(void *block, const float *x, const float *importance)
{
    static const struct scale_search format = IQ4_SEARCH;
    struct block_iq4_nl *to = block;
    int q[32];
    to->d = encode_one_scale(&format, x, importance, 0, q);
    entries_to_codes(q, 32, iq4_curve);
    encode_pack_nibbles(to->q, q, 32);
}

void encode_iq4_xs(void *block, const float *x, const float *importance)
{
    static const struct scale_groups format = {.codes = IQ4_SEARCH, .n = 32, .n_groups = 8, .low = -32, .high = 31};
    struct block_iq4_xs *to = block;
    int q[256];
    struct scales c = encode_scales(&format, x, importance, 0, q);
    memset(to, 0, sizeof *to);
    to->d = c.d;
    entries_to_codes(q, 256, iq4_curve);
    for (int g = 0; g < 8; g++) {
        int s = (int)c.s[g] + 32;
        to->scales_low[g / 2] |= (uint8_t)((s & 15) << g % 2 * 4);
        to->scales_high |= (uint16_t)((s >> 4) << g * 2);
        encode_pack_nibbles(to->q + g * 16, q + g * 32, 32);
    }
}

/* The scale is a power of two: of four neighbours, which map the largest x to 4..8, 8..16, 16..32 and 32..64, the best
 * one. */
void encode_mxfp4(void *block, const float *x, const float *importance)
{
    static const struct encode_grid grid = {
        .low = -12, .high = 12, .below = e2m1_below, .above = e2m1_above, .cells_per_unit = 1.0f};
    static const int8_t entries[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    struct encode_block b;
    struct block_mxfp4 *to = block;
    int q[32], exponent;
    encode_load(&b, x, importance, 32, ENCODE_ANY_EXPONENT);
    float best = scale_energy(b.x, b.w, 32), d = 0.0f;
    exponent = (int)(float_bits(b.unit) >> 23) - 127;
    to->e = 0;
    for (int step = -2; step >= -5; step--) {
        int e = exponent + step + 128; /* the scale is 2^(e - 128) */
        float scale = bits_float((uint32_t)(step + 127) << 23), error;
        if (e < 0) continue;
        error = encode_error(&grid, b.x, b.w, 32, scale, 0.0f);
        if (error < best) best = error, d = scale, to->e = (uint8_t)e;
    }
    encode_codes(&grid, b.x, 32, d, 0.0f, 0, q);
    entries_to_codes(q, 32, entries);
    encode_pack_nibbles(to->q, q, 32);
}
