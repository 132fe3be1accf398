/* Checks of attention against scalar: every type of keys and values, heads of odd sizes, rows that see different
 * positions, windows. What a query does not see holds NaN, inputs end 64 bytes before a guard page, outputs at it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/float16.h"
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

/* Makes an element of the row, or a block of it, NaN. */
static void spoil_row(unsigned char *row, int n, enum dtype type)
{
    if (type == DTYPE_Q8_0)
        put_number(row + (q8_0_blocks(n) - 1) * Q8_0_BYTES, 0, DTYPE_F16, NAN);
    else
        put_number(row, (size_t)n - 1, type, NAN);
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

static void run(__typeof__(((struct ops *)0)->attention) function, struct attention_block b, struct result *r)
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

/* A block of keys and values; what nobody sees, or with WITH_NAN also something that some see, is NaN. */
static const char *check_shape(const struct op_variant *v, const struct shape *s, enum dtype k_type, enum dtype v_type,
                               enum values values, float softcap, struct rng *rng)
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
    const size_t out_stride = (size_t)((s->v_head_dim + 15) / 16 * 16 + 16);
    b.q_head = s->head_dim + 3;
    b.q_row = s->group * b.q_head + 5;
    b.v_stride = row + (v_type == DTYPE_F32 ? 2 : 0);
    b.out_stride = (ptrdiff_t)out_stride;
    struct guarded_buffer q = guarded_make((size_t)(s->n_rows * b.q_row) * sizeof(float), READ_SLACK);
    struct guarded_buffer key = guarded_make((size_t)panels * panel, READ_SLACK);
    struct guarded_buffer value = guarded_make((size_t)last * b.v_stride, READ_SLACK);
    struct result got = result_make(s, out_stride), want = result_make(s, out_stride);
    unsigned char *k = key.data, *rows = value.data;
    rng_fill(rng, q.data, (size_t)(s->n_rows * b.q_row), -1.0f, 1.0f);
    for (int j = 0; j < panels * KEY_PANEL; j++) {
        fill_key(rng, k + (size_t)(j / KEY_PANEL) * panel, j % KEY_PANEL, s->head_dim, k_type, values);
        if (j < last) fill_row(rng, rows + (size_t)j * b.v_stride, s->v_head_dim, v_type, values);
        const bool hidden = j < first || j >= last;
        if (hidden || (values == WITH_NAN && j % 7 == 5))
            spoil_key(k + (size_t)(j / KEY_PANEL) * panel, j % KEY_PANEL, s->head_dim, k_type);
        if ((hidden && j < last) || (values == WITH_NAN && j < last && j == first))
            spoil_row(rows + (size_t)j * b.v_stride, s->v_head_dim, v_type);
    }
    b.q = q.data, b.k = k, b.v = rows;
    run(ops_attention_scalar, b, &want);
    run((__typeof__(((struct ops *)0)->attention))v->function, b, &got);
    const char *wrong = compare(v, s, out_stride, &got, &want, dtype_info(k_type)->name);
    /* Each row alone, at its place: the same. */
    for (int i = 0; i < s->n_rows && s->n_rows > 1 && !wrong; i++) {
        struct shape alone = *s;
        struct result one = result_make(s, out_stride), part = want;
        alone.n_rows = b.n_rows = 1;
        b.position = s->position + i;
        b.q = (float *)q.data + i * b.q_row;
        run((__typeof__(((struct ops *)0)->attention))v->function, b, &one);
        part.out.data = (float *)want.out.data + (size_t)(i * s->group) * out_stride;
        part.max.data = (float *)want.max.data + i * s->group;
        part.sum.data = (float *)want.sum.data + i * s->group;
        wrong = compare(v, &alone, out_stride, &one, &part, "one of several rows");
        result_free(&one);
    }
    result_free(&got);
    result_free(&want);
    guarded_free(&q);
    guarded_free(&key);
    guarded_free(&value);
    return wrong;
}

const char *check_attention(const struct op_variant *v)
{
    struct rng rng = rng_seed(11);
    const char *wrong = NULL;
    for (int i = 0; i < N_SHAPES && !wrong; i++)
        for (int t = 0; t < N_TYPES && !wrong; t++)
            for (int values = 0; values < N_VALUES && !wrong; values++)
                wrong = check_shape(v, &shapes[i], types[t], types[(t + i % 2) % N_TYPES], (enum values)values,
                                    i % 3 == 2 ? 3.0f : 0.0f, &rng);
    return wrong;
}

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
            if (n % 3 == 0) spoil_row(from.data, n, types[t]);
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
