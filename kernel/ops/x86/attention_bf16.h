/* Attention with numbers rounded to bfloat16, for blocks that allow it (attention_block.rounds); others go to floats
 * on AVX-512. A file of an instruction set defines ATTENTION_NAME, includes this, and then says how tiles are
 * multiplied: multiply, begin_products, end_products. Tiles are those of tile.h, whoever multiplies them.
 *
 *   1. q becomes bfloat16, [query][head_dim], filled up with zeros to steps of 32.
 *   2. scores: a chunk of keys becomes tiles of 16 pairs of elements by 16 positions, which all queries multiply.
 *   3. softmax: per query, in floats; exp(s - max), rounded to bfloat16, takes the first half of the scores' room. What
 *      a query does not see becomes zero there. The sum is that of the rounded numbers.
 *   4. values: a chunk of rows becomes tiles of 16 pairs of positions by 16 elements, which all queries multiply.
 *
 * Products are of two tiles of up to 16 queries by two tiles of keys or values. A chunk of 128 positions fits L2 beside
 * the scores of 64 queries; with the 64 that floats are brought in, the sums in `out` would be loaded and stored twice
 * as often.
 *
 * Arithmetic: q, k, v are rounded to bfloat16 once; products are added in steps of 32 elements of a head, and of 32
 * positions counted from the block's begin, in ascending order from zero. A hidden position adds zeros, which changes
 * nothing, so it does not matter which positions other queries see; values that are not finite would, since zero times
 * them is NaN: they are left out of the tiles and added for the queries that see them. */
#ifndef OPS_X86_ATTENTION_BF16_H
#define OPS_X86_ATTENTION_BF16_H

#if !defined(__AVX512BF16__)
#error "compile this file with -mavx512bf16"
#endif

#include "base/float16.h"
#include "ops/assume.h"
#include "ops/variants.h"
#include "ops/x86/vec_avx512.h"

#include "ops/tmpl/attention_load.h"
#include "ops/tmpl/exp_tmpl.h"

enum {
    TILE_QUERIES = 16,
    STEP = 32, /* columns of a tile of bfloat16: elements of a head, or positions */
    CHUNK = 2 * ATTENTION_CHUNK,
    ROW_BYTES = 64,
    PAIRS_BYTES = 16 * ROW_BYTES, /* a tile of keys or values */
};

static int steps(int n) { return (n + STEP - 1) / STEP; }
static int column_tiles(const struct attention_block *b) { return (b->v_head_dim + OPS_LANES - 1) / OPS_LANES; }

/* Up to 32 queries from q0 on, the rows of one or two tiles, and the steps [from, to) that hold all they see. */
struct pair {
    int q0, n[2], from, to;
};

static struct pair pair_at(const struct attention_block *b, int q0)
{
    const int left = b->n_rows * b->group - q0, n = left < 2 * TILE_QUERIES ? left : 2 * TILE_QUERIES;
    return (struct pair){
        .q0 = q0,
        .n = {n < TILE_QUERIES ? n : TILE_QUERIES, n < TILE_QUERIES ? 0 : n - TILE_QUERIES},
        .from = attention_first(b, q0 / b->group) / STEP,
        .to = steps(attention_last(b, (q0 + n - 1) / b->group)),
    };
}

/* ---- numbers become tiles ---------------------------------------------------------------------------------------- */

static vec16 low_floats(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
static vec16 high_floats(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000)));
}

/* Sixteen numbers of a and then of b, rounded. */
ALWAYS_INLINE __m512i round_both(vec16 a, vec16 b) { return (__m512i)_mm512_cvtne2ps_pbh(b, a); }

/* Numbers i and i + 16 become pair i. */
ALWAYS_INLINE __m512i interleave(__m512i both)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, both);
}

static void round_queries(const struct attention_block *b, unsigned char *to)
{
    for (int i = 0; i < b->n_rows * b->group; i++) {
        const float *q = b->q + i / b->group * b->q_row + i % b->group * b->q_head;
        for (int d = 0; d < b->head_dim; d += STEP, to += ROW_BYTES) {
            const int n = b->head_dim - d < STEP ? b->head_dim - d : STEP;
            const int first = n < OPS_LANES ? n : OPS_LANES;
            _mm512_storeu_si512(to, round_both(vec16_load_n(q + d, first), vec16_load_n(q + d + first, n - first)));
        }
    }
}

ALWAYS_INLINE vec16 key_at(const unsigned char *levels, int d, vec16 scale, enum dtype type)
{
    const vec16 numbers = load_numbers(levels, (ptrdiff_t)d * KEY_PANEL, type);
    return type == DTYPE_Q8_0 ? vec16_mul(numbers, scale) : numbers;
}

/* A panel as tiles, one per step of the head. */
ALWAYS_INLINE void convert_panel(unsigned char *tile, const unsigned char *k, int head_dim, enum dtype type)
{
    const unsigned char *levels = k + key_levels(type, head_dim);
    const vec16 zero = vec16_broadcast(0.0f);
    for (int d0 = 0; d0 < head_dim; d0 += STEP) {
        const vec16 scale = type == DTYPE_Q8_0 ? load_numbers(k, d0 / Q8_0_ELEMENTS * KEY_PANEL, DTYPE_F16) : zero;
        for (int d = d0; d < d0 + STEP; d += 2, tile += ROW_BYTES) {
            const int left = head_dim - d;
            __m512i both;
            if (type == DTYPE_BF16 && left > 1)
                both = _mm512_loadu_si512(levels + (ptrdiff_t)d * KEY_PANEL * 2);
            else
                both = round_both(left > 0 ? key_at(levels, d, scale, type) : zero,
                                  left > 1 ? key_at(levels, d + 1, scale, type) : zero);
            _mm512_storeu_si512(tile, interleave(both));
        }
    }
}

/* Takes the numbers that are not finite out of 16 pairs of values, of positions j and j + 1 from element d on, and adds
 * their share to the queries that see them. */
__attribute__((noinline)) static __m512i set_aside(const struct attention_block *b, int j, int d, __m512i pairs,
                                                   __mmask32 finite)
{
    for (int i = 0; i < 2 * b->n_rows * b->group; i++) {
        const int query = i / 2, at = j + i % 2, row = query / b->group;
        if (at < attention_first(b, row) || at >= attention_last(b, row)) continue;
        const vec16 value = i % 2 ? high_floats(pairs) : low_floats(pairs);
        const __mmask16 odd = _mm512_fpclass_ps_mask(value, 0x99); /* NaN, infinities */
        float *out = b->out + query * b->out_stride + d;
        uint16_t e;
        memcpy(&e, (const char *)(b->scratch + (ptrdiff_t)query * ATTENTION_SCORES) + 2 * at, sizeof e);
        const vec16 weight = vec16_broadcast(bf16_to_float(e)), sum = vec16_load(out);
        vec16_store(out, _mm512_mask_mov_ps(sum, odd, vec16_fma(weight, value, sum)));
    }
    return _mm512_maskz_mov_epi16(finite, pairs);
}

/* Sixteen pairs of the rows of positions j and j + 1, from element d on. Zeros where `seen` does not hold. */
ALWAYS_INLINE __m512i pair_of_values(const struct attention_block *b, int j, int d, const bool seen[2], enum dtype type)
{
    const unsigned char *row = (const unsigned char *)b->v + (size_t)j * b->v_stride;
    if (type == DTYPE_BF16 && seen[0] && seen[1]) {
        const __m256i first = _mm256_loadu_si256((const void *)(row + 2 * (ptrdiff_t)d));
        const __m256i second = _mm256_loadu_si256((const void *)(row + b->v_stride + 2 * (ptrdiff_t)d));
        return interleave(_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
    }
    const vec16 zero = vec16_broadcast(0.0f);
    return interleave(
        round_both(seen[0] ? load_row(row, d, type) : zero, seen[1] ? load_row(row + b->v_stride, d, type) : zero));
}

/* The values of the positions [j0, j1), both multiples of STEP, as tiles: those of a step side by side. */
ALWAYS_INLINE void convert_values(const struct attention_block *b, unsigned char *tiles, int j0, int j1,
                                  enum dtype type)
{
    const int begin = attention_first(b, 0), end = attention_last(b, b->n_rows - 1), n = column_tiles(b);
    const __m512i magnitude = _mm512_set1_epi16(0x7fff), infinity = _mm512_set1_epi16(0x7f80);
    for (int j = j0; j < j1; j += 2) {
        const bool seen[2] = {j >= begin && j < end, j + 1 >= begin && j + 1 < end};
        unsigned char *to = tiles + (ptrdiff_t)((j - j0) / STEP * n * PAIRS_BYTES + j % STEP / 2 * ROW_BYTES);
        for (int c = 0; c < n; c++, to += PAIRS_BYTES) {
            __m512i pairs = pair_of_values(b, j, c * OPS_LANES, seen, type);
            const __mmask32 finite = _mm512_cmplt_epu16_mask(_mm512_and_si512(pairs, magnitude), infinity);
            if (finite != UINT32_MAX) pairs = set_aside(b, j, c * OPS_LANES, pairs, finite);
            _mm512_storeu_si512(to, pairs);
        }
    }
}

/* The keys of the positions [j0, j1), both multiples of STEP, as tiles: those of a panel side by side. */
ALWAYS_INLINE void convert_keys(const struct attention_block *b, unsigned char *tiles, int j0, int j1, enum dtype type)
{
    const int begin = attention_first(b, 0), end = attention_last(b, b->n_rows - 1);
    const size_t bytes = (size_t)steps(b->head_dim) * PAIRS_BYTES, panel = key_panel_bytes(type, b->head_dim);
    for (int j = j0; j < j1; j += KEY_PANEL, tiles += bytes) {
        if (j + KEY_PANEL <= begin || j >= end)
            memset(tiles, 0, bytes);
        else
            convert_panel(tiles, (const unsigned char *)b->k + (size_t)(j / KEY_PANEL) * panel, b->head_dim, type);
    }
}

/* convert(b, tiles, j0, j1, type): one piece of code for each type. */
#define CONVERT(convert, type)                                     \
    switch (type) {                                                \
    case DTYPE_F16: convert(b, tiles, j0, j1, DTYPE_F16); break;   \
    case DTYPE_BF16: convert(b, tiles, j0, j1, DTYPE_BF16); break; \
    case DTYPE_Q8_0: convert(b, tiles, j0, j1, DTYPE_Q8_0); break; \
    default: convert(b, tiles, j0, j1, DTYPE_F32); break;          \
    }

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* sum[i] [n[i]][16] += a[i] times b[0], and the 16 columns beside it of b[1], unless that is NULL. */
struct product {
    int n[2]; /* queries; the second may be 0 */
    const void *a[2], *b[2];
    ptrdiff_t a_stride; /* bytes from query to query; a step further are ROW_BYTES */
    ptrdiff_t b_step;   /* bytes */
    float *sum[2];
    ptrdiff_t sum_stride; /* bytes */
    int n_steps;
    bool add; /* else from zero */
};

static void multiply(const struct product *p);
/* Called before products of n[0] and n[1] queries; `now`: those of the call before, or
 * zeros. After the last: end_products. */
static void begin_products(int now[2], const int n[2]);
static void end_products(void);

/* ---- the three parts --------------------------------------------------------------------------------------------- */

static int smaller(int a, int b) { return a < b ? a : b; }
static int larger(int a, int b) { return a > b ? a : b; }

/* The scores of a pair in the positions [j0, j1), whose keys are in `tiles`. */
static void score_pair(const struct attention_block *b, const struct pair *p, const unsigned char *q,
                       const unsigned char *tiles, int j0, int j1)
{
    const ptrdiff_t width = steps(b->head_dim);
    float *scores = b->scratch + (ptrdiff_t)p->q0 * ATTENTION_SCORES;
    const unsigned char *rows = q + p->q0 * width * ROW_BYTES;
    for (int j = larger(j0, p->from * STEP); j < smaller(j1, p->to * STEP); j += STEP) {
        const unsigned char *keys = tiles + (j - j0) / KEY_PANEL * width * PAIRS_BYTES;
        multiply(&(struct product){
            .n = {p->n[0], p->n[1]},
            .a = {rows, rows + p->n[0] * width * ROW_BYTES},
            .a_stride = width * ROW_BYTES,
            .b = {keys, keys + width * PAIRS_BYTES},
            .b_step = PAIRS_BYTES,
            .sum = {scores + j, scores + (ptrdiff_t)p->n[0] * ATTENTION_SCORES + j},
            .sum_stride = ATTENTION_SCORES * sizeof *scores,
            .n_steps = (int)width,
        });
    }
}

static void score_block(const struct attention_block *b, const unsigned char *q, unsigned char *tiles, int now[2])
{
    const int end = steps(attention_last(b, b->n_rows - 1)) * STEP;
    for (int j0 = attention_first(b, 0) / STEP * STEP, j1; j0 < end; j0 = j1) {
        j1 = smaller(end, j0 + CHUNK);
        CONVERT(convert_keys, b->k_type)
        for (int i = 0; i < b->n_rows * b->group; i += 2 * TILE_QUERIES) {
            const struct pair p = pair_at(b, i);
            begin_products(now, p.n);
            score_pair(b, &p, q, tiles, j0, j1);
        }
    }
}

/* Scales and caps the scores of a query, hides what it does not see of its first and last 16 positions, and gives the
 * largest. */
static float prepare_scores(const struct attention_block *b, float *scores, int first, int last)
{
    const int begin = first / OPS_LANES * OPS_LANES, end = (last + OPS_LANES - 1) / OPS_LANES * OPS_LANES;
    vec16 largest = vec16_broadcast(-INFINITY), factor = vec16_broadcast(b->scale);
    if (b->softcap > 0.0f) {
        ops_scale_avx512(scores + begin, b->scale, end - begin);
        ops_softcap_avx512(scores + begin, b->softcap, end - begin);
        factor = vec16_broadcast(1.0f);
    }
    for (int j = begin; j < end; j += OPS_LANES) {
        vec16 s = vec16_mul(vec16_load(scores + j), factor);
        if (j < first || j + OPS_LANES > last)
            s = vec16_keep_range(s, larger(first - j, 0), smaller(last - j, OPS_LANES), -INFINITY);
        vec16_store(scores + j, s);
        largest = vec16_max(s, largest);
    }
    return vec16_largest(largest);
}

/* Sixteen exp(s - max); zeros outside [begin, end). */
static vec16 exponentials(const float *scores, int j, int begin, int end, vec16 max)
{
    return j >= begin && j < end ? vec16_exp(vec16_sub(vec16_load(scores + j), max)) : vec16_broadcast(0.0f);
}

/* The scores of a query become exp(score - max) in bfloat16, in the steps of its pair. A step is written where it was
 * read or before, so nothing is overwritten that is still needed. */
static void softmax_query(const struct attention_block *b, const struct pair *p, int index)
{
    const int first = attention_first(b, index / b->group), last = attention_last(b, index / b->group);
    const int begin = first / OPS_LANES * OPS_LANES;
    float *scores = b->scratch + (ptrdiff_t)index * ATTENTION_SCORES;
    const float max = prepare_scores(b, scores, first, last);
    vec16 sum = vec16_broadcast(0.0f), max_lanes = vec16_broadcast(max);
    for (int j = p->from * STEP; j < p->to * STEP; j += STEP) {
        const __m512i e = round_both(exponentials(scores, j, begin, last, max_lanes),
                                     exponentials(scores, j + OPS_LANES, begin, last, max_lanes));
        _mm512_storeu_si512((char *)scores + 2 * (ptrdiff_t)j, e);
        sum = vec16_add(sum, low_floats(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(e))));
        sum = vec16_add(sum, low_floats(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(e, 1))));
    }
    b->max[index] = max;
    b->sum[index] = vec16_sum(sum);
}

/* Adds to a pair's results the values of the positions [j0, j1), which are in `tiles`. */
static void value_pair(const struct attention_block *b, const struct pair *p, const unsigned char *tiles, int j0,
                       int j1)
{
    const int n = column_tiles(b), from = larger(j0 / STEP, p->from), to = smaller(j1 / STEP, p->to);
    const char *weights = (const char *)(b->scratch + (ptrdiff_t)p->q0 * ATTENTION_SCORES) + from * ROW_BYTES;
    const ptrdiff_t stride = ATTENTION_SCORES * sizeof(float);
    float *out = b->out + p->q0 * b->out_stride;
    if (from >= to) return;
    tiles += (ptrdiff_t)(from - j0 / STEP) * n * PAIRS_BYTES;
    for (int c = 0; c < n; c += 2, tiles += 2 * PAIRS_BYTES, out += 2 * OPS_LANES)
        multiply(&(struct product){
            .n = {p->n[0], p->n[1]},
            .a = {weights, weights + p->n[0] * stride},
            .a_stride = stride,
            .b = {tiles, c + 1 < n ? tiles + PAIRS_BYTES : NULL},
            .b_step = (ptrdiff_t)n * PAIRS_BYTES,
            .sum = {out, out + p->n[0] * b->out_stride},
            .sum_stride = b->out_stride * (ptrdiff_t)sizeof *out,
            .n_steps = to - from,
            .add = true,
        });
}

static void value_block(const struct attention_block *b, unsigned char *tiles, int now[2])
{
    const int end = steps(attention_last(b, b->n_rows - 1)) * STEP, n_q = b->n_rows * b->group;
    for (int i = 0; i < n_q; i++)
        for (int d = 0; d < b->v_head_dim; d += OPS_LANES)
            vec16_store(b->out + i * b->out_stride + d, vec16_broadcast(0.0f));
    for (int j0 = attention_first(b, 0) / STEP * STEP, j1; j0 < end; j0 = j1) {
        j1 = smaller(end, j0 + CHUNK);
        CONVERT(convert_values, b->v_type)
        for (int i = 0; i < n_q; i += 2 * TILE_QUERIES) {
            const struct pair p = pair_at(b, i);
            begin_products(now, p.n);
            value_pair(b, &p, tiles, j0, j1);
        }
    }
}

void ATTENTION_NAME(const struct attention_block *b)
{
    if (!b->rounds) {
        ops_attention_avx512(b);
        return;
    }
    const int n_q = b->n_rows * b->group, widest = larger(b->head_dim, b->v_head_dim);
    ASSUME(b->n_rows >= 1 && b->group >= 1 && b->head_dim >= 1 && b->v_head_dim >= 1);
    float *tiles = b->scratch + (ptrdiff_t)n_q * ATTENTION_SCORES,
          *q = tiles + (ptrdiff_t)steps(widest) * STEP * ATTENTION_CHUNK;
    int now[2] = {0, 0};
    round_queries(b, (unsigned char *)q);
    score_block(b, (const unsigned char *)q, (unsigned char *)tiles, now);
    for (int i = 0; i < n_q; i++) {
        const struct pair p = pair_at(b, i / (2 * TILE_QUERIES) * (2 * TILE_QUERIES));
        softmax_query(b, &p, i);
    }
    value_block(b, (unsigned char *)tiles, now);
    end_products();
}

#endif
