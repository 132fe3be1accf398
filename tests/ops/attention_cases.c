/* Checks of attention against scalar: every type of keys and values, heads of odd sizes, rows that see different
 * positions, windows. What a query does not see holds NaN, inputs end 64 bytes before a guard page, outputs at it. And
 * of attention that may round against a plain model of it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/float16.h"
#include "ops/scalar/exp.h"
#include "ops/scalar/flush.h"
#include "ops/scalar/lanes.h"
#include "ops/variants.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/rng.h"

static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* How numbers are drawn. */
enum values { PLAIN, ZEROS, WITH_NAN, N_VALUES };

struct shape {
    int n_rows, group, head_dim, v_head_dim, position, window;
};

static const struct shape shapes[] = {
    {1, 1, 2, 2, 0, 0},       {1, 1, 64, 64, 0, 0},     {1, 1, 128, 128, 511, 0},   {1, 1, 128, 160, 508, 506},
    {1, 2, 64, 64, 16, 0},    {1, 3, 18, 20, 22, 18},   {1, 4, 128, 128, 99, 0},    {1, 4, 64, 128, 15, 1},
    {1, 5, 96, 96, 600, 584}, {1, 6, 20, 50, 510, 0},   {1, 7, 80, 80, 299, 293},   {1, 8, 128, 128, 511, 0},
    {1, 9, 33, 31, 130, 100}, {1, 16, 256, 256, 63, 0}, {1, 1, 576, 512, 227, 128}, {1, 7, 192, 128, 480, 2},
    {5, 4, 64, 64, 509, 0},   {12, 5, 32, 48, 0, 0},    {64, 1, 40, 24, 500, 0},    {3, 16, 17, 15, 77, 3},
    {20, 2, 16, 16, 505, 20}, {9, 8, 24, 40, 0, 4},     {2, 1, 100, 7, 30, 1},      {21, 1, 8, 64, 520, 30},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static float draw(struct rng *rng, enum values values) { return values == ZEROS ? 0.0f : rng_float(rng, -8.0f, 8.0f); }

static void put_number(unsigned char *to, size_t i, enum dtype type, float f)
{
    const uint16_t half = type == DTYPE_F16 ? float_to_fp16(f) : float_to_bf16(f);
    if (type == DTYPE_F32)
        memcpy(to + 4 * i, &f, sizeof f);
    else
        memcpy(to + 2 * i, &half, sizeof half);
}

/* n numbers; of Q8_0, levels. */
static void fill_numbers(struct rng *rng, unsigned char *to, size_t n, enum dtype type, enum values values)
{
    for (size_t i = 0; i < n; i++) {
        if (type == DTYPE_Q8_0)
            to[i] = (unsigned char)rng_below(rng, 256);
        else
            put_number(to, i, type, draw(rng, values));
    }
}

static void fill_row(struct rng *rng, unsigned char *to, int n, enum dtype type, enum values values)
{
    if (type != DTYPE_Q8_0) fill_numbers(rng, to, (size_t)n, type, values);
    for (int i = 0; i < n && type == DTYPE_Q8_0; i += Q8_0_ELEMENTS, to += Q8_0_BYTES) {
        put_number(to, 0, DTYPE_F16, draw(rng, values) / 100);
        fill_numbers(rng, to + 2, Q8_0_ELEMENTS, type, values);
    }
}

/* Key `lane` of a panel. */
static void fill_key(struct rng *rng, unsigned char *panel, int lane, int n, enum dtype type, enum values values)
{
    const size_t blocks = q8_0_blocks(n), at = (size_t)lane;
    for (int d = 0; d < n; d++) {
        const size_t i = (size_t)d * KEY_PANEL + at;
        if (type == DTYPE_Q8_0)
            panel[blocks * KEY_PANEL * 2 + i] = (unsigned char)rng_below(rng, 256);
        else
            put_number(panel, i, type, draw(rng, values));
    }
    for (size_t i = 0; i < blocks && type == DTYPE_Q8_0; i++)
        put_number(panel, i * KEY_PANEL + at, DTYPE_F16, draw(rng, values) / 100);
}

/* Makes an element of the key a NaN. */
static void spoil_key(unsigned char *panel, int lane, int n, enum dtype type)
{
    const size_t d = type == DTYPE_Q8_0 ? q8_0_blocks(n) - 1 : (size_t)n / 2;
    put_number(panel, d * KEY_PANEL + (size_t)lane, type == DTYPE_Q8_0 ? DTYPE_F16 : type, NAN);
}

/* Makes an element of the row, or the scale of a block, `odd`: NaN or infinity. */
static void spoil_row(unsigned char *row, int n, enum dtype type, float odd)
{
    if (type == DTYPE_Q8_0)
        put_number(row + (q8_0_blocks(n) - 1) * Q8_0_BYTES, 0, DTYPE_F16, odd);
    else
        put_number(row, (size_t)n - 1, type, odd);
}

struct result {
    struct guarded_buffer out, max, sum, scratch;
};

static struct result result_make(const struct shape *s, size_t out_stride)
{
    const size_t n = (size_t)(s->n_rows * s->group);
    struct result r = {guarded_make(n * out_stride * sizeof(float), 0), guarded_make(n * sizeof(float), 0),
                       guarded_make(n * sizeof(float), 0),
                       guarded_make(attention_scratch_floats((int)n, s->head_dim, s->v_head_dim) * sizeof(float), 0)};
    return r;
}

static void result_free(struct result *r)
{
    guarded_free(&r->out);
    guarded_free(&r->max);
    guarded_free(&r->sum);
    guarded_free(&r->scratch);
}

static void run(void (*function)(const struct attention_block *b), struct attention_block b, struct result *r)
{
    b.out = r->out.data, b.max = r->max.data, b.sum = r->sum.data, b.scratch = r->scratch.data;
    function(&b);
}

static const char *compare(const struct op_variant *v, const struct shape *s, size_t out_stride,
                           const struct result *got, const struct result *want, const char *what)
{
    static char text[256];
    const struct guarded_buffer *buffers[] = {&got->out, &got->max, &got->sum, &got->scratch};
    for (size_t i = 0; i < 4; i++) {
        const char *damage = guarded_damage(buffers[i]);
        if (damage) return damage;
    }
    for (int i = 0; i < s->n_rows * s->group; i++) {
        const float *a = (const float *)got->out.data + (size_t)i * out_stride;
        const float *b = (const float *)want->out.data + (size_t)i * out_stride;
        const float *max[] = {got->max.data, want->max.data}, *sum[] = {got->sum.data, want->sum.data};
        const ptrdiff_t at = first_difference(a, b, (size_t)s->v_head_dim);
        /* of two equal zeros either sign may be the maximum */
        if (at < 0 && max[0][i] == max[1][i] && first_difference(&sum[0][i], &sum[1][i], 1) < 0) continue;
        snprintf(text, sizeof text, "%s: %s, %d rows of %d queries, heads of %d and %d, query %d, element %td: %a, %a",
                 v->name, what, s->n_rows, s->group, s->head_dim, s->v_head_dim, i, at, (double)a[at < 0 ? 0 : at],
                 (double)b[at < 0 ? 0 : at]);
        return text;
    }
    return NULL;
}

/* A block and what it points to. */
struct problem {
    struct attention_block b;
    struct guarded_buffer q, key, value;
};

/* What nobody sees, or with WITH_NAN also something that some see, is NaN or infinite. */
static struct problem problem_make(const struct shape *s, enum dtype k_type, enum dtype v_type, enum values values,
                                   float softcap, struct rng *rng)
{
    struct attention_block b = {.k_type = k_type,
                                .v_type = v_type,
                                .n_rows = s->n_rows,
                                .group = s->group,
                                .head_dim = s->head_dim,
                                .v_head_dim = s->v_head_dim,
                                .position = s->position,
                                .window = s->window,
                                .scale = 0.0625f,
                                .softcap = softcap};
    const int first = attention_first(&b, 0), last = attention_last(&b, s->n_rows - 1);
    const int panels = (last + KEY_PANEL - 1) / KEY_PANEL;
    const size_t panel = key_panel_bytes(k_type, s->head_dim), row = value_row_bytes(v_type, s->v_head_dim) + 2;
    b.q_head = s->head_dim + 3;
    b.q_row = s->group * b.q_head + 5;
    b.v_stride = row + (v_type == DTYPE_F32 ? 2 : 0);
    b.out_stride = (s->v_head_dim + 15) / 16 * 16 + 16;
    struct problem p = {.q = guarded_make((size_t)(s->n_rows * b.q_row) * sizeof(float), READ_SLACK),
                        .key = guarded_make((size_t)panels * panel, READ_SLACK),
                        .value = guarded_make((size_t)last * b.v_stride, READ_SLACK)};
    unsigned char *k = p.key.data, *rows = p.value.data;
    rng_fill(rng, p.q.data, (size_t)(s->n_rows * b.q_row), -1.0f, 1.0f);
    for (int j = 0; j < panels * KEY_PANEL; j++) {
        fill_key(rng, k + (size_t)(j / KEY_PANEL) * panel, j % KEY_PANEL, s->head_dim, k_type, values);
        if (j < last) fill_row(rng, rows + (size_t)j * b.v_stride, s->v_head_dim, v_type, values);
        const bool hidden = j < first || j >= last, spoiled = values == WITH_NAN && (j == first || j == last - 1);
        if (hidden || (values == WITH_NAN && j % 7 == 5))
            spoil_key(k + (size_t)(j / KEY_PANEL) * panel, j % KEY_PANEL, s->head_dim, k_type);
        if ((hidden && j < last) || spoiled)
            spoil_row(rows + (size_t)j * b.v_stride, s->v_head_dim, v_type, j % 3 ? NAN : INFINITY);
    }
    b.q = p.q.data, b.k = k, b.v = rows;
    p.b = b;
    return p;
}

static void problem_free(struct problem *p)
{
    guarded_free(&p->q);
    guarded_free(&p->key);
    guarded_free(&p->value);
}

typedef void attention_function(const struct attention_block *b);

static const char *check_problem(const struct op_variant *v, const struct shape *s, const struct problem *p,
                                 attention_function *oracle, const char *what)
{
    attention_function *function = (attention_function *)v->function;
    const size_t out_stride = (size_t)p->b.out_stride;
    struct attention_block b = p->b;
    struct result got = result_make(s, out_stride), want = result_make(s, out_stride);
    run(oracle, b, &want);
    run(function, b, &got);
    const char *wrong = compare(v, s, out_stride, &got, &want, what);
    /* Each row alone, at its place: the same. */
    for (int i = 0; i < s->n_rows && s->n_rows > 1 && !wrong; i++) {
        struct shape alone = *s;
        struct result one = result_make(s, out_stride), part = want;
        alone.n_rows = b.n_rows = 1;
        b.position = s->position + i;
        b.q = p->b.q + i * b.q_row;
        run(function, b, &one);
        part.out.data = (float *)want.out.data + (size_t)(i * s->group) * out_stride;
        part.max.data = (float *)want.max.data + i * s->group;
        part.sum.data = (float *)want.sum.data + i * s->group;
        wrong = compare(v, &alone, out_stride, &one, &part, "one of several rows");
        result_free(&one);
    }
    result_free(&got);
    result_free(&want);
    return wrong;
}

/* check(v, shape, problem) of all shapes, types and values. */
static const char *check_shapes(const struct op_variant *v,
                                const char *(*check)(const struct op_variant *v, const struct shape *s,
                                                     const struct problem *p))
{
    struct rng rng = rng_seed(11);
    const char *wrong = NULL;
    for (int i = 0; i < N_SHAPES && !wrong; i++)
        for (int t = 0; t < N_TYPES && !wrong; t++)
            for (int values = 0; values < N_VALUES && !wrong; values++) {
                struct problem p = problem_make(&shapes[i], types[t], types[(t + i % 2) % N_TYPES], (enum values)values,
                                                i % 3 == 2 ? 3.0f : 0.0f, &rng);
                wrong = check(v, &shapes[i], &p);
                problem_free(&p);
            }
    return wrong;
}

static const char *check_exact(const struct op_variant *v, const struct shape *s, const struct problem *p)
{
    return check_problem(v, s, p, ops_attention_scalar, dtype_info(p->b.k_type)->name);
}

const char *check_attention(const struct op_variant *v) { return check_shapes(v, check_exact); }

/* ---- with numbers rounded to bfloat16 ---------------------------------------------------------------------------- */

static float rounded(float f) { return bf16_to_float(float_to_bf16(f)); }

/* Element d of the key at position j, rounded. */
static float rounded_key(const struct attention_block *b, int j, int d)
{
    const size_t panel = key_panel_bytes(b->k_type, b->head_dim), blocks = q8_0_blocks(b->head_dim);
    const unsigned char *k = (const unsigned char *)b->k + (size_t)(j / KEY_PANEL) * panel;
    const size_t i = (size_t)d * KEY_PANEL + (size_t)(j % KEY_PANEL);
    float f, scale;
    if (b->k_type == DTYPE_Q8_0) {
        ops_widen_scalar(&scale, k + 2 * (size_t)(d / Q8_0_ELEMENTS * KEY_PANEL + j % KEY_PANEL), DTYPE_F16, 1);
        return rounded((float)(int8_t)k[2 * KEY_PANEL * blocks + i] * scale);
    }
    ops_widen_scalar(&f, k + i * (b->k_type == DTYPE_F32 ? 4 : 2), b->k_type, 1);
    return rounded(f);
}

typedef float dot_function(const float *a, const float *b, int n);

/* Per pair of products the second is added first. */
static float dot_of_pairs(const float *a, const float *b, int n)
{
    float sum = 0.0f;
    for (int i = 0; i < n; i += 2) {
        if (i + 1 < n) sum = flushed_fma(a[i + 1], b[i + 1], sum);
        sum = flushed_fma(a[i], b[i], sum);
    }
    return sum;
}

/* Steps of 32: a chain of the even and one of the odd products, added, then added to the sum. */
static float dot_of_tiles(const float *a, const float *b, int n)
{
    float total = 0.0f;
    for (int step = 0; step < n; step += 32) {
        float chain[2] = {0.0f, 0.0f};
        for (int i = step; i < n && i < step + 32; i++) chain[i % 2] = flushed_fma(a[i], b[i], chain[i % 2]);
        total = flushed(total + flushed(chain[0] + chain[1]));
    }
    return total;
}

enum { MAX_HEAD = 1024 };

/* What attention_bf16.h computes, in plain loops. keys [ATTENTION_BLOCK][head_dim], values
 * [v_head_dim][ATTENTION_BLOCK]: rounded. */
static void rounded_query(const struct attention_block *b, int index, const float *keys, const float *values,
                          dot_function *dot)
{
    const int row = index / b->group, first = attention_first(b, row), last = attention_last(b, row);
    float q[MAX_HEAD], e[ATTENTION_BLOCK] = {0}, v[ATTENTION_BLOCK] = {0}, lane[OPS_LANES] = {0}, max = -INFINITY;
    for (int d = 0; d < b->head_dim; d++) q[d] = rounded(b->q[row * b->q_row + index % b->group * b->q_head + d]);
    for (int j = first; j < last; j++) e[j] = dot(q, keys + (ptrdiff_t)j * b->head_dim, b->head_dim) * b->scale;
    if (b->softcap > 0.0f) ops_softcap_scalar(e + first, b->softcap, last - first);
    for (int j = first; j < last; j++) max = larger(e[j], max);
    for (int j = first; j < last; j++) lane[j % OPS_LANES] += e[j] = rounded(exp_scalar(e[j] - max));
    b->max[index] = max;
    b->sum[index] = lanes_sum(lane);
    for (int d = 0; d < b->v_head_dim; d++) {
        memcpy(v + first, values + (ptrdiff_t)d * ATTENTION_BLOCK + first, (size_t)(last - first) * sizeof *v);
        b->out[index * b->out_stride + d] = dot(e, v, ATTENTION_BLOCK);
    }
}

static void rounded_attention(const struct attention_block *b, dot_function *dot)
{
    static float keys[ATTENTION_BLOCK * MAX_HEAD], values[ATTENTION_BLOCK * MAX_HEAD];
    for (int j = attention_first(b, 0); j < attention_last(b, b->n_rows - 1); j++) {
        float v[MAX_HEAD];
        ops_widen_scalar(v, (const unsigned char *)b->v + (size_t)j * b->v_stride, b->v_type, b->v_head_dim);
        for (int d = 0; d < b->v_head_dim; d++) values[d * ATTENTION_BLOCK + j] = rounded(v[d]);
        for (int d = 0; d < b->head_dim; d++) keys[j * b->head_dim + d] = rounded_key(b, j, d);
    }
    for (int i = 0; i < b->n_rows * b->group; i++) rounded_query(b, i, keys, values, dot);
}

static void attention_on_tiles(const struct attention_block *b) { rounded_attention(b, dot_of_tiles); }
static void attention_in_pairs(const struct attention_block *b) { rounded_attention(b, dot_of_pairs); }

/* The error of the whole, where nothing is NaN. */
static const char *check_error(const struct op_variant *v, const struct shape *s, const struct problem *p)
{
    static char text[128];
    static float a[ATTENTION_BLOCK * MAX_HEAD];
    static double b[ATTENTION_BLOCK * MAX_HEAD];
    const int width = s->v_head_dim;
    struct result got = result_make(s, (size_t)p->b.out_stride), want = result_make(s, (size_t)p->b.out_stride);
    run((attention_function *)v->function, p->b, &got);
    run(ops_attention_scalar, p->b, &want);
    const float *out[2] = {got.out.data, want.out.data}, *sum[2] = {got.sum.data, want.sum.data};
    for (int i = 0; i < s->n_rows * s->group * width; i++) {
        const ptrdiff_t at = i / width * p->b.out_stride + i % width;
        a[i] = out[0][at] / sum[0][i / width];
        b[i] = (double)out[1][at] / (double)sum[1][i / width];
    }
    const double error = nmse(a, b, (size_t)(s->n_rows * s->group * width));
    snprintf(text, sizeof text, "%s: %s, heads of %d and %d: error %g", v->name, dtype_info(p->b.k_type)->name,
             s->head_dim, width, error);
    result_free(&got);
    result_free(&want);
    return error <= 1e-4 || isnan(error) ? NULL : text;
}

static const char *check_rounds(const struct op_variant *v, const struct shape *s, const struct problem *p)
{
    struct problem allowed = *p;
    allowed.b.rounds = true;
    const bool tiles = strstr(v->name, "amx");
    const char *wrong = check_problem(v, s, &allowed, tiles ? attention_on_tiles : attention_in_pairs, "rounded");
    return wrong ? wrong : check_error(v, s, &allowed);
}

const char *check_attention_rounded(const struct op_variant *v) { return check_shapes(v, check_rounds); }

const char *check_widen(const struct op_variant *v)
{
    static char text[128];
    struct rng rng = rng_seed(12);
    for (int t = 0; t < N_TYPES; t++)
        for (int n = 1; n < 100; n++) {
            struct guarded_buffer from = guarded_make(value_row_bytes(types[t], n), READ_SLACK);
            struct guarded_buffer to = guarded_make((size_t)n * sizeof(float), 0);
            float want[100];
            fill_row(&rng, from.data, n, types[t], PLAIN);
            if (n % 3 == 0) spoil_row(from.data, n, types[t], NAN);
            ops_widen_scalar(want, from.data, types[t], n);
            ((__typeof__(((struct ops *)0)->widen))v->function)(to.data, from.data, types[t], n);
            const ptrdiff_t at = first_difference(to.data, want, (size_t)n);
            const char *damage = guarded_damage(&to);
            snprintf(text, sizeof text, "%s: %s, n = %d, element %td, %s", v->name, dtype_info(types[t])->name, n, at,
                     damage ? damage : "");
            guarded_free(&from);
            guarded_free(&to);
            if (at >= 0 || damage) return text;
        }
    return NULL;
}
