/* Attention over one block of positions, over vec16. Include after vector_tmpl.h; scalar/attention.c says in plain
 * loops what is computed, and every sum here has the same order.
 *
 *   1. scores: 16 positions are one vector; a tile of queries x key panels stays in registers while d runs.
 *      Then they are capped, if the block says so.
 *   2. softmax: per query, maximum, exponentials and their sum.
 *   3. values: a tile of queries x vectors of the output stays in registers while the position runs.
 *
 * Up to VEC16_TILE_QUERIES queries are one tile, which brings keys and values to floats in registers, once: what
 * decoding does. Memory bounds that, so tiles fetch what comes next: worth a fifth to a quarter. More queries read
 * chunks of positions that were brought to floats before. Code for every width of a tile and every type comes from the
 * switches below; in it n_q, n_p, n_v and type are constants. */

#include "ops/tmpl/attention_load.h"

/* Panels, or vectors of values, beside n_q queries. */
#define TILE_VECTORS(n_q) ((n_q)*4 <= VEC16_TILE_SUMS ? 4 : (n_q)*2 <= VEC16_TILE_SUMS ? 2 : 1)

/* CASES(call): call(n_q) for every width of a tile. */
#if VEC16_TILE_QUERIES == 8
#define TILE_CASES(call) call(1) call(2) call(3) call(4) call(5) call(6) call(7) call(8)
#elif VEC16_TILE_QUERIES == 6
#define TILE_CASES(call) call(1) call(2) call(3) call(4) call(5) call(6)
#else
#error "add a line"
#endif

/* The next tile's keys, into L2; those of Q8_0 are few enough for L1. */
ALWAYS_INLINE void prefetch_keys(const unsigned char *levels, int d, enum dtype type)
{
    if (type == DTYPE_Q8_0)
        __builtin_prefetch(levels + (ptrdiff_t)d * KEY_PANEL, 0, 3);
    else
        __builtin_prefetch(levels + (ptrdiff_t)d * KEY_PANEL * (type == DTYPE_F32 ? 4 : 2), 0, 2);
}

/* Elements of a key that share a scale. */
ALWAYS_INLINE int key_step(enum dtype type, int head_dim) { return type == DTYPE_Q8_0 ? Q8_0_ELEMENTS : head_dim; }

/* The queries q0 .. of a block and what belongs to them. */
struct query_tile {
    const float *q[VEC16_TILE_QUERIES];
    float *scores, *out;     /* of the first; others ATTENTION_SCORES and out_stride further */
    int first, last;         /* what at least one of them sees */
    int all_first, all_last; /* what all see; all_first >= all_last: nothing */
};

static struct query_tile make_tile(const struct attention_block *b, int q0, int n_q)
{
    const int row = q0 / b->group, last_row = (q0 + n_q - 1) / b->group;
    struct query_tile t = {
        .scores = b->scratch + (ptrdiff_t)q0 * ATTENTION_SCORES,
        .out = b->out + q0 * b->out_stride,
        .first = attention_first(b, row),
        .last = attention_last(b, last_row),
        .all_first = attention_first(b, last_row),
        .all_last = attention_last(b, row),
    };
    for (int i = 0; i < n_q; i++) t.q[i] = b->q + (q0 + i) / b->group * b->q_row + (q0 + i) % b->group * b->q_head;
    return t;
}

/* Queries of the tile that begins at q0: tiles of nearly equal width. */
static int tile_width(const struct attention_block *b, int q0)
{
    const int left = b->n_rows * b->group - q0, tiles = (left + VEC16_TILE_QUERIES - 1) / VEC16_TILE_QUERIES;
    return (left + tiles - 1) / tiles;
}

/* ---- scores ------------------------------------------------------------------------------------------------------ */

/* scores of n_q queries and the n_p panels at k, at `scores`. */
ALWAYS_INLINE void score_tile(const struct attention_block *b, const float *const *q, float *scores,
                              const unsigned char *k, int n_q, int n_p, enum dtype type)
{
    vec16 dot[VEC16_TILE_QUERIES][4], scale[4];
    const size_t panel = key_panel_bytes(type, b->head_dim);
    const unsigned char *levels = k + key_levels(type, b->head_dim);
    const int step = key_step(type, b->head_dim);
    UNROLL for (int i = 0; i < n_q; i++) UNROLL for (int p = 0; p < n_p; p++) dot[i][p] = vec16_broadcast(0.0f);
    for (int d0 = 0; d0 < b->head_dim; d0 += step) {
        const int end = type == DTYPE_Q8_0 && b->head_dim - d0 > step ? d0 + step : b->head_dim;
        if (type == DTYPE_Q8_0)
            UNROLL for (int p = 0; p < n_p; p++) scale[p] =
                load_numbers(k + (size_t)p * panel, d0 / Q8_0_ELEMENTS * KEY_PANEL, DTYPE_F16);
        for (int d = d0; d < end; d++) {
            vec16 keys[4];
            UNROLL for (int p = 0; p < n_p; p++)
            {
                keys[p] = load_numbers(levels + (size_t)p * panel, (ptrdiff_t)d * KEY_PANEL, type);
                if (type == DTYPE_Q8_0) keys[p] = vec16_mul(keys[p], scale[p]);
                prefetch_keys(levels + (size_t)(p + n_p) * panel, d, type);
            }
            UNROLL for (int i = 0; i < n_q; i++)
            {
                vec16 element = vec16_broadcast(q[i][d]);
                UNROLL for (int p = 0; p < n_p; p++) dot[i][p] = vec16_fma(element, keys[p], dot[i][p]);
            }
        }
    }
    vec16 factor = vec16_broadcast(b->scale);
    UNROLL for (int i = 0; i < n_q; i++) UNROLL for (int p = 0; p < n_p; p++)
        vec16_store(scores + i * ATTENTION_SCORES + p * KEY_PANEL, vec16_mul(dot[i][p], factor));
}

/* Scores of a tile and the panels [p0, p1) that it sees something of; k: panel p0, of `type`. */
ALWAYS_INLINE void score_panels(const struct attention_block *b, const struct query_tile *t, const unsigned char *k,
                                int p0, int p1, int n_q, enum dtype type)
{
    const size_t panel = key_panel_bytes(type, b->head_dim);
    const int n_p = TILE_VECTORS(n_q), from = t->first / KEY_PANEL, to = (t->last + KEY_PANEL - 1) / KEY_PANEL;
    const float *q[VEC16_TILE_QUERIES];
    UNROLL for (int i = 0; i < n_q; i++) q[i] = t->q[i];
    int p = from > p0 ? from : p0;
    p1 = to < p1 ? to : p1;
    for (; p + n_p <= p1; p += n_p)
        score_tile(b, q, t->scores + p * KEY_PANEL, k + (size_t)(p - p0) * panel, n_q, n_p, type);
    for (; p < p1; p++) score_tile(b, q, t->scores + p * KEY_PANEL, k + (size_t)(p - p0) * panel, n_q, 1, type);
}

/* One function per type, so that each is optimised by itself. */
#define SCORE_CASE(n)                                 \
    case n:                                           \
        score_panels(b, t, k, p0, p1, n, SCORE_TYPE); \
        break;
#define SCORE_FUNCTION(name)                                                                                      \
    static void name(const struct attention_block *b, const struct query_tile *t, const unsigned char *k, int p0, \
                     int p1, int n_q)                                                                             \
    {                                                                                                             \
        switch (n_q) {                                                                                            \
            TILE_CASES(SCORE_CASE)                                                                                \
        }                                                                                                         \
    }
#define SCORE_TYPE DTYPE_F32
SCORE_FUNCTION(score_f32)
#undef SCORE_TYPE
#define SCORE_TYPE DTYPE_F16
SCORE_FUNCTION(score_f16)
#undef SCORE_TYPE
#define SCORE_TYPE DTYPE_BF16
SCORE_FUNCTION(score_bf16)
#undef SCORE_TYPE
#define SCORE_TYPE DTYPE_Q8_0
SCORE_FUNCTION(score_q8_0)
#undef SCORE_TYPE

/* The n panels at k as floats. */
static void widen_panels(const struct attention_block *b, float *to, const unsigned char *k, int n)
{
    const enum dtype type = b->k_type;
    const size_t panel = key_panel_bytes(type, b->head_dim);
    const int step = key_step(type, b->head_dim);
    for (int p = 0; p < n; p++, k += panel)
        for (int d0 = 0; d0 < b->head_dim; d0 += step) {
            const unsigned char *levels = k + key_levels(type, b->head_dim);
            const int end = b->head_dim - d0 > step ? d0 + step : b->head_dim;
            vec16 scale = vec16_broadcast(1.0f);
            if (type == DTYPE_Q8_0) scale = load_numbers(k, d0 / Q8_0_ELEMENTS * KEY_PANEL, DTYPE_F16);
            for (int d = d0; d < end; d++, to += KEY_PANEL) {
                vec16 keys = load_numbers(levels, (ptrdiff_t)d * KEY_PANEL, type);
                vec16_store(to, type == DTYPE_Q8_0 ? vec16_mul(keys, scale) : keys);
            }
        }
}

static void score_block(const struct attention_block *b, float *chunk)
{
    const int n_q = b->n_rows * b->group, panels = ATTENTION_CHUNK / KEY_PANEL;
    const size_t panel = key_panel_bytes(b->k_type, b->head_dim);
    const int begin = attention_first(b, 0) / KEY_PANEL;
    const int end = (attention_last(b, b->n_rows - 1) + KEY_PANEL - 1) / KEY_PANEL;
    const unsigned char *k = b->k;
    if (n_q <= VEC16_TILE_QUERIES) {
        const struct query_tile t = make_tile(b, 0, n_q);
        k += (size_t)begin * panel;
        switch (b->k_type) {
        case DTYPE_F16: score_f16(b, &t, k, begin, end, n_q); break;
        case DTYPE_BF16: score_bf16(b, &t, k, begin, end, n_q); break;
        case DTYPE_Q8_0: score_q8_0(b, &t, k, begin, end, n_q); break;
        default: score_f32(b, &t, k, begin, end, n_q); break;
        }
        return;
    }
    for (int p0 = begin, p1; p0 < end; p0 = p1) {
        p1 = end - p0 > panels ? p0 + panels : end;
        const unsigned char *from = k + (size_t)p0 * panel;
        if (b->k_type != DTYPE_F32) {
            widen_panels(b, chunk, from, p1 - p0);
            from = (const void *)chunk;
        }
        for (int i = 0, n; i < n_q; i += n) {
            n = tile_width(b, i);
            const struct query_tile t = make_tile(b, i, n);
            score_f32(b, &t, from, p0, p1, n);
        }
    }
}

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

/* scores [ATTENTION_BLOCK] of a query that sees first <= j < last become exp(score - max), zero in the hidden positions
 * of the first and last panel. */
static void softmax_block(const struct attention_block *b, int index)
{
    const int first = attention_first(b, index / b->group), last = attention_last(b, index / b->group);
    float *scores = b->scratch + (ptrdiff_t)index * ATTENTION_SCORES;
    const int begin = first / KEY_PANEL * KEY_PANEL, end = (last + KEY_PANEL - 1) / KEY_PANEL * KEY_PANEL;
    if (b->softcap > 0.0f) OPS_NAME(softcap)(scores + begin, b->softcap, end - begin);
    vec16 largest = vec16_broadcast(-INFINITY);
    for (int j = begin; j < last; j += KEY_PANEL) {
        vec16 s = vec16_load(scores + j);
        if (j < first || j + KEY_PANEL > last) {
            int from = j < first ? first - j : 0, to = j + KEY_PANEL > last ? last - j : KEY_PANEL;
            s = vec16_keep_range(s, from, to, -INFINITY);
            vec16_store(scores + j, s);
        }
        largest = vec16_max(s, largest);
    }
    const float max = vec16_largest(largest);
    vec16 sum = vec16_broadcast(0.0f), max_lanes = vec16_broadcast(max);
    for (int j = begin; j < last; j += KEY_PANEL) {
        vec16 e = vec16_exp(vec16_sub(vec16_load(scores + j), max_lanes));
        vec16_store(scores + j, e);
        sum = vec16_add(sum, e);
    }
    b->max[index] = max;
    b->sum[index] = vec16_sum(sum);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

enum { ROWS_AHEAD = 24 };

/* What queries add up: out += weight * value over the positions [j0, j1), whose rows of `type` begin at v. */
struct value_range {
    float *out; /* of the first query; others out_stride further */
    ptrdiff_t out_stride;
    const float *weight; /* of the first query and position 0; others ATTENTION_SCORES further */
    const unsigned char *v;
    size_t stride;
    size_t ahead; /* bytes of a row to prefetch, of one ROWS_AHEAD further */
    enum dtype type;
    int j0, j1, v_head_dim;
};

/* n_q queries and n_v vectors from element d on. */
ALWAYS_INLINE void value_tile(const struct value_range *r, int d, int n_q, int n_v, enum dtype type)
{
    vec16 sum[VEC16_TILE_QUERIES][8];
    float *out = r->out + d;
    const float *weight = r->weight;
    const unsigned char *v = r->v;
    UNROLL for (int i = 0; i < n_q; i++) UNROLL for (int k = 0; k < n_v; k++) sum[i][k] =
        vec16_load(out + i * r->out_stride + k * OPS_LANES);
    for (int j = r->j0; j < r->j1; j++, v += r->stride) {
        vec16 value[8];
        if (d == 0 && n_v < 8) /* the hardware does not see that the rest of the row will be needed */
            for (size_t k = 0; k < r->ahead; k += 64) __builtin_prefetch(v + ROWS_AHEAD * r->stride + k, 0, 2);
        UNROLL for (int k = 0; k < n_v; k++) value[k] = load_row(v, d + k * OPS_LANES, type);
        UNROLL for (int i = 0; i < n_q; i++)
        {
            vec16 e = vec16_broadcast(weight[i * ATTENTION_SCORES + j]);
            UNROLL for (int k = 0; k < n_v; k++) sum[i][k] = vec16_fma(e, value[k], sum[i][k]);
        }
    }
    UNROLL for (int i = 0; i < n_q; i++) UNROLL for (int k = 0; k < n_v; k++)
        vec16_store(out + i * r->out_stride + k * OPS_LANES, sum[i][k]);
}

ALWAYS_INLINE void value_vectors(const struct value_range *r, int n_q, enum dtype type)
{
    const int n_v = TILE_VECTORS(n_q);
    int d = 0;
    if (n_q * 8 <= VEC16_TILE_SUMS) /* whole rows at once, where there is room: memory likes it */
        for (; d + 8 * OPS_LANES <= r->v_head_dim; d += 8 * OPS_LANES) value_tile(r, d, n_q, 8, type);
    for (; d + n_v * OPS_LANES <= r->v_head_dim; d += n_v * OPS_LANES) value_tile(r, d, n_q, n_v, type);
    for (; d < r->v_head_dim; d += OPS_LANES) value_tile(r, d, n_q, 1, type);
}

#define VALUE_CASE(n)                    \
    case n:                              \
        value_vectors(r, n, VALUE_TYPE); \
        break;
#define VALUE_FUNCTION(name)                               \
    static void name(const struct value_range *r, int n_q) \
    {                                                      \
        switch (n_q) {                                     \
            TILE_CASES(VALUE_CASE)                         \
        }                                                  \
    }
#define VALUE_TYPE DTYPE_F32
VALUE_FUNCTION(value_f32)
#undef VALUE_TYPE
#define VALUE_TYPE DTYPE_F16
VALUE_FUNCTION(value_f16)
#undef VALUE_TYPE
#define VALUE_TYPE DTYPE_BF16
VALUE_FUNCTION(value_bf16)
#undef VALUE_TYPE
#define VALUE_TYPE DTYPE_Q8_0
VALUE_FUNCTION(value_q8_0)
#undef VALUE_TYPE

/* The positions of r within [from, to), for n_q queries that see them. */
static void add_values(struct value_range r, int from, int to, int n_q)
{
    if (r.j0 < from) {
        r.v += (size_t)(from - r.j0) * r.stride;
        r.j0 = from;
    }
    if (r.j1 > to) r.j1 = to;
    if (r.j0 >= r.j1) return;
    switch (r.type) {
    case DTYPE_F16: value_f16(&r, n_q); break;
    case DTYPE_BF16: value_bf16(&r, n_q); break;
    case DTYPE_Q8_0: value_q8_0(&r, n_q); break;
    default: value_f32(&r, n_q); break;
    }
}

/* The range r for a tile: what only some of its queries see, before and after what all see, query by query. A hidden
 * value is not multiplied, not even by zero: it may be NaN. */
static void value_tile_range(const struct attention_block *b, struct value_range r, int q0, int n_q)
{
    const struct query_tile t = make_tile(b, q0, n_q);
    const bool common = t.all_first < t.all_last;
    struct value_range one = r;
    r.out = t.out;
    r.weight = t.scores;
    for (int i = 0; i < n_q && (!common || t.first < t.all_first); i++) {
        const int row = (q0 + i) / b->group, first = attention_first(b, row), last = attention_last(b, row);
        one.out = t.out + i * b->out_stride;
        one.weight = t.scores + i * ATTENTION_SCORES;
        add_values(one, first, common ? t.all_first : last, 1);
    }
    if (!common) return;
    add_values(r, t.all_first, t.all_last, n_q);
    for (int i = 0; i < n_q && t.all_last < t.last; i++) {
        one.out = t.out + i * b->out_stride;
        one.weight = t.scores + i * ATTENTION_SCORES;
        add_values(one, t.all_last, attention_last(b, (q0 + i) / b->group), 1);
    }
}

/* The rows of r as floats. */
static void widen_rows(struct value_range *r, float *to)
{
    const int ld = (r->v_head_dim + OPS_LANES - 1) / OPS_LANES * OPS_LANES;
    const unsigned char *v = r->v;
    for (int j = r->j0; j < r->j1; j++, v += r->stride)
        for (int d = 0; d < r->v_head_dim; d += OPS_LANES)
            vec16_store(to + (j - r->j0) * ld + d, load_row(v, d, r->type));
    r->v = (const void *)to;
    r->stride = (size_t)ld * sizeof(float);
    r->type = DTYPE_F32;
}

static void value_block(const struct attention_block *b, float *chunk)
{
    const int n_q = b->n_rows * b->group, begin = attention_first(b, 0), end = attention_last(b, b->n_rows - 1);
    for (int i = 0; i < n_q; i++)
        for (int d = 0; d < b->v_head_dim; d += OPS_LANES)
            vec16_store(b->out + i * b->out_stride + d, vec16_broadcast(0.0f));
    for (int j0 = begin, j1; j0 < end; j0 = j1) {
        j1 = end - j0 > ATTENTION_CHUNK ? j0 + ATTENTION_CHUNK : end;
        struct value_range r = {.out_stride = b->out_stride,
                                .v = (const unsigned char *)b->v + (size_t)j0 * b->v_stride,
                                .stride = b->v_stride,
                                .ahead = n_q <= VEC16_TILE_QUERIES ? b->v_stride : 0,
                                .type = b->v_type,
                                .j0 = j0,
                                .j1 = j1,
                                .v_head_dim = b->v_head_dim};
        if (n_q > VEC16_TILE_QUERIES && b->v_type != DTYPE_F32) widen_rows(&r, chunk);
        for (int i = 0, n; i < n_q; i += n) {
            n = tile_width(b, i);
            value_tile_range(b, r, i, n);
        }
    }
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

void OPS_NAME(attention)(const struct attention_block *b)
{
    const int n_q = b->n_rows * b->group;
    ASSUME(b->n_rows >= 1 && b->group >= 1 && b->head_dim >= 1 && b->v_head_dim >= 1);
    float *chunk = b->scratch + (ptrdiff_t)n_q * ATTENTION_SCORES;
    score_block(b, chunk);
    for (int i = 0; i < n_q; i++) softmax_block(b, i);
    value_block(b, chunk);
}

void OPS_NAME(attention_merge)(float *out, float *max, float *sum, const float *block_out, float block_max,
                               float block_sum, int n)
{
    if (*sum == 0.0f) {
        memcpy(out, block_out, (size_t)n * sizeof *out);
        *max = block_max;
        *sum = block_sum;
        return;
    }
    const float both = block_max > *max ? block_max : *max;
    const float a = exp_scalar(*max - both), b = exp_scalar(block_max - both);
    vec16 old = vec16_broadcast(a), new = vec16_broadcast(b);
    const int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    for (int i = 0; i < whole; i += OPS_LANES)
        vec16_store(out + i, vec16_fma(vec16_load(out + i), old, vec16_mul(vec16_load(block_out + i), new)));
    if (rest) {
        vec16 last = vec16_mul(vec16_load_n(block_out + whole, rest), new);
        vec16_store_n(out + whole, vec16_fma(vec16_load_n(out + whole, rest), old, last), rest);
    }
    *sum = fmaf(*sum, a, block_sum * b);
    *max = both;
}

void OPS_NAME(widen)(float *y, const void *x, enum dtype type, int n)
{
    const int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    for (int i = 0; i < whole; i += OPS_LANES) vec16_store(y + i, load_row(x, i, type));
    if (rest) vec16_store_n(y + whole, load_row(x, whole, type), rest);
}
