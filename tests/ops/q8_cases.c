/* Checks of the weight products with activations rounded to 8 bits; see ops_cases.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/q8.h"
#include "quant/blocks.h"
#include "quant/levels.h"
#include "tests/ops/matmul_problem.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"

static const int test_n[] = {1, 15, 16, 17, 48},
                 test_m[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 33, 64, 65, 100};
/* Of blocks of 32: rows that end within a unit and within a group of activations. */
static const int small_k[] = {32, 64, 96, 128, 160, 576, 2048}, large_k[] = {256, 512, 768, 2048};
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* ---- weights ---- */

/* One, in every scale of a block and in every offset; the small scales of blocks of 256 are left. */
static void set_scales_to_one(enum dtype type, unsigned char *block)
{
    enum { ONE = 0x3c00 };
    switch (type) {
    case DTYPE_Q4_0: ((struct block_q4_0 *)block)->d = ONE; break;
    case DTYPE_Q4_1: ((struct block_q4_1 *)block)->d = ((struct block_q4_1 *)block)->m = ONE; break;
    case DTYPE_Q5_0: ((struct block_q5_0 *)block)->d = ONE; break;
    case DTYPE_Q5_1: ((struct block_q5_1 *)block)->d = ((struct block_q5_1 *)block)->m = ONE; break;
    case DTYPE_Q8_0: ((struct block_q8_0 *)block)->d = ONE; break;
    case DTYPE_Q2_K: ((struct block_q2_k *)block)->d = ((struct block_q2_k *)block)->dmin = ONE; break;
    case DTYPE_Q3_K: ((struct block_q3_k *)block)->d = ONE; break;
    case DTYPE_Q4_K: ((struct block_q4_k *)block)->d = ((struct block_q4_k *)block)->dmin = ONE; break;
    case DTYPE_Q5_K: ((struct block_q5_k *)block)->d = ((struct block_q5_k *)block)->dmin = ONE; break;
    case DTYPE_Q6_K: ((struct block_q6_k *)block)->d = ONE; break;
    case DTYPE_IQ4_NL: ((struct block_iq4_nl *)block)->d = ONE; break;
    case DTYPE_IQ4_XS: ((struct block_iq4_xs *)block)->d = ONE; break;
    case DTYPE_MXFP4: ((struct block_mxfp4 *)block)->e = 128; break;
    default: abort();
    }
}

/* All bytes alike, so that all levels are at one end, or random ones. */
static void fill_extreme(struct rng *rng, enum dtype type, unsigned char *block)
{
    static const unsigned char ends[] = {0x00, 0xff, 0x80, 0x7f, 0x81, 0x01};
    const size_t bytes = dtype_info(type)->bytes_per_block;
    uint32_t which = rng_below(rng, COUNT(ends) + 2);
    for (size_t i = 0; i < bytes; i++) block[i] = which < COUNT(ends) ? ends[which] : (unsigned char)rng_next(rng);
    set_scales_to_one(type, block);
}

enum weights { USUAL, ANY, EXTREME, N_WEIGHTS };

static void fill_weights(struct rng *rng, enum dtype type, struct problem *p, enum weights kind)
{
    const size_t bytes = dtype_info(type)->bytes_per_block;
    unsigned char *block = p->file.data;
    for (int r = 0; r < p->n; r++)
        for (size_t at = 0; at < p->row_bytes; at += bytes, block += bytes) {
            if (kind == EXTREME) {
                fill_extreme(rng, type, block);
            } else {
                fill_block(rng, type, block, kind == ANY && r % 2);
            }
        }
}

/* ---- activations ---- */

static float normal(struct rng *rng)
{
    float sum = 0.0f; /* of twelve uniform numbers: variance one */
    for (int i = 0; i < 12; i++) sum += rng_float(rng, -0.5f, 0.5f);
    return sum;
}

/* One row; `kind` goes round: normal, at the ends (integers whose scale is one), zeros, around the smallest that count
 * and once at it, far below, huge, awkward, NaN and infinity here and there. */
static void fill_row(struct rng *rng, float *x, int k, int kind)
{
    enum { NORMAL, ENDS, ZERO, TINY, SMALLEST, HUGE_ONES, AWKWARD, NOT_FINITE, N_ROWS };
    static const float same[] = {127.0f, -127.0f};
    const uint32_t sign = rng_below(rng, 3); /* all plus, all minus, mixed */
    kind %= N_ROWS;
    if (kind == AWKWARD) rng_fill_awkward(rng, x, (size_t)k);
    for (int i = 0; i < k; i++) {
        const float value = normal(rng);
        switch (kind) {
        case ENDS: x[i] = same[sign == 2 ? rng_below(rng, 2) : sign]; break;
        case ZERO: x[i] = i % 2 ? 0.0f : -0.0f; break;
        case TINY: x[i] = ldexpf(i / Q8_BLOCK % 8 == 5 ? 1.0f : value, -119 - i / Q8_BLOCK % 4); break;
        case SMALLEST: x[i] = value * 0x1p-140f; break;
        case HUGE_ONES: x[i] = value * 0x1p120f; break;
        case AWKWARD: break;
        case NOT_FINITE: x[i] = rng_below(rng, 200) ? value : rng_below(rng, 2) ? NAN : -INFINITY; break;
        default: x[i] = value;
        }
    }
}

static struct problem make(const struct panel_layout *layout, int n, int k, int m, enum weights kind, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    struct problem p = problem_alloc(layout, n, k, m);
    fill_weights(&rng, layout->weight, &p, kind);
    problem_pack(layout, &p);
    for (int t = 0; t < m; t++) fill_row(&rng, (float *)p.x.data + (ptrdiff_t)t * k, k, m == 1 ? (int)seed : t);
    return p;
}

/* ---- checks ---- */

/* The packed activations, byte for byte; x begins one float behind a multiple of 16 bytes. */
static const char *check_packed(const struct panel_kernel *kernel, const struct problem *p, const int *rows)
{
    const struct panel_kernel *scalar = scalar_kernel(kernel);
    const ptrdiff_t ldx = p->k + 1;
    struct guarded_buffer x = guarded_make(((size_t)p->m * (size_t)ldx) * sizeof(float), READ_SLACK);
    const size_t bytes = scalar->x_bytes(p->m, p->k);
    struct guarded_buffer want = guarded_make(bytes, 0), got = guarded_make(kernel->x_bytes(p->m, p->k), 0);
    for (int t = 0; t < p->m; t++)
        memcpy((float *)x.data + t * ldx + 1, (float *)p->x.data + (ptrdiff_t)t * p->k, (size_t)p->k * sizeof(float));
    scalar->pack_x(want.data, (float *)x.data + 1, ldx, rows, p->m, p->k, 0, p->k);
    kernel->pack_x(got.data, (float *)x.data + 1, ldx, rows, p->m, p->k, 0, p->k);
    const char *wrong = guarded_damage(&got);
    if (!wrong && (got.bytes != bytes || memcmp(got.data, want.data, bytes)))
        wrong = "packed activations differ from scalar";
    guarded_free(&x);
    guarded_free(&want);
    guarded_free(&got);
    return wrong;
}

const char *check_q8_parity(const struct panel_kernel *kernel)
{
    const struct panel_kernel *scalar = scalar_kernel(kernel);
    const bool small = kernel->layout->kr == Q8_BLOCK;
    const int *ks = small ? small_k : large_k, n_k = small ? COUNT(small_k) : COUNT(large_k);
    const char *wrong = NULL;
    for (int i = 0; i < 2 * COUNT(test_m) && !wrong; i++) {
        const int m = test_m[i % COUNT(test_m)], n = test_n[(i + i / 5) % COUNT(test_n)];
        struct problem p = make(kernel->layout, n, ks[i % n_k], m, (enum weights)(i % N_WEIGHTS), (uint64_t)i);
        struct guarded_buffer got, want;
        int rows[128];
        for (int t = 0; t < m; t++) rows[t] = i % 2 ? m - 1 - t : t * 7 % m;
        wrong = check_packed(kernel, &p, rows);
        const char *damage = multiply(&got, kernel, &p, rows, m, i % 3 ? 1 << 20 : 32);
        multiply(&want, scalar, &p, rows, m, 1 << 20);
        if (!wrong) wrong = damage;
        if (wrong) wrong = report(kernel, &p, wrong, i, -1.0);
        ptrdiff_t at = first_difference(got.data, want.data, (size_t)m * (size_t)p.n_padded);
        if (!wrong && at >= 0) wrong = report(kernel, &p, "bits differ from scalar at element", (double)at, -1.0);
        guarded_free(&got);
        guarded_free(&want);
        problem_free(&p);
    }
    return wrong;
}

/* What the blocks of row r make of the integers x [k], and the sum of magnitudes. */
static double integer_dot(const struct problem *p, enum dtype type, int r, const float *x, double *magnitude)
{
    const struct dtype_info *info = dtype_info(type);
    const struct levels_info levels = quant_levels_info(type);
    const unsigned char *block = (const unsigned char *)p->file.data + (size_t)r * p->row_bytes;
    double sum = 0.0;
    *magnitude = 0.0;
    for (int at = 0; at < p->k; at += info->elements_per_block, block += info->bytes_per_block) {
        struct block_levels b;
        quant_levels(type, &b, block);
        for (int i = 0; i < info->elements_per_block; i++) {
            const double scale = (double)b.scale[i / levels.columns];
            const double offset = levels.has_offset ? (double)b.offset[i / levels.columns] : 0.0;
            sum += (scale * b.level[i] + offset) * (double)x[at + i];
            *magnitude += (fabs(scale * b.level[i]) + fabs(offset)) * fabs((double)x[at + i]);
        }
    }
    return sum;
}

const char *check_q8_integers(const struct panel_kernel *kernel)
{
    enum { N = 48, M = 13 };
    const int k = fitting_k(kernel->layout, 352);
    struct rng rng = rng_seed(9);
    struct problem p = problem_alloc(kernel->layout, N, k, M);
    float *x = p.x.data;
    fill_weights(&rng, kernel->layout->weight, &p, EXTREME);
    problem_pack(kernel->layout, &p);
    for (int t = 0; t < M; t++)
        for (int i = 0; i < k; i++) {
            const int integer = t < 8 || i % 16 == 0 ? (int)rng_below(&rng, 255) - 127 : 0; /* few: sums stay small */
            x[t * k + i] = (float)(t == 0 || i % Q8_BLOCK == 0 ? 127 : t == 1 ? -127 : integer);
        }
    struct guarded_buffer y;
    int n_exact = 0;
    const char *wrong = multiply(&y, kernel, &p, NULL, M, 1 << 20);
    for (int r = 0; r < N && !wrong; r++)
        for (int t = 0; t < M && !wrong; t++) {
            double magnitude, want = integer_dot(&p, kernel->layout->weight, r, x + t * k, &magnitude);
            double error = fabs((double)((float *)y.data)[t * p.n_padded + r] - want);
            /* Below 2^24 nothing is rounded; beyond, once per step. */
            double limit = magnitude <= 0x1p24 ? 0.0 : 0x1p-24 * magnitude * (double)(k / 8);
            n_exact += magnitude <= 0x1p24;
            if (!(error <= limit)) wrong = report(kernel, &p, "integers differ", error, limit);
        }
    if (!wrong && n_exact < N * M / 4) wrong = report(kernel, &p, "too few exact cases", n_exact, N * M / 4);
    guarded_free(&y);
    problem_free(&p);
    return wrong;
}

const char *check_q8_not_finite(const struct panel_kernel *kernel)
{
    enum { N = 32, M = 17 };
    const int k = fitting_k(kernel->layout, 416);
    struct rng rng = rng_seed(10);
    struct problem p = problem_alloc(kernel->layout, N, k, M);
    fill_weights(&rng, kernel->layout->weight, &p, USUAL);
    problem_pack(kernel->layout, &p);
    rng_fill(&rng, p.x.data, (size_t)M * (size_t)k, -1.0f, 1.0f);
    static const float bad[] = {NAN, INFINITY, -INFINITY, -NAN};
    for (int t = 0; t < M; t += 4) ((float *)p.x.data)[t * k + (t * 31 + 5) % k] = bad[t / 4 % 4];
    struct guarded_buffer y;
    const char *wrong = multiply(&y, kernel, &p, NULL, M, 1 << 20);
    for (int t = 0; t < M && !wrong; t++)
        for (int r = 0; r < N && !wrong; r++) {
            const float value = ((float *)y.data)[t * p.n_padded + r];
            if (t % 4 == 0 ? !isnan(value) : !isfinite(value))
                wrong = report(kernel, &p, "NaN or infinity is lost, or spreads; token", t, r);
        }
    guarded_free(&y);
    problem_free(&p);
    return wrong;
}

const char *check_q8_error(const struct panel_kernel *kernel)
{
    enum { N = 48, M = 16, K = 1024 };
    struct rng rng = rng_seed(11);
    struct problem p = problem_alloc(kernel->layout, N, K, M);
    double *want = malloc(sizeof(double) * N * M);
    if (!want) abort();
    fill_weights(&rng, kernel->layout->weight, &p, USUAL);
    problem_pack(kernel->layout, &p);
    for (int i = 0; i < M * K; i++) ((float *)p.x.data)[i] = normal(&rng);
    for (int t = 0; t < M; t++)
        for (int r = 0; r < N; r++) {
            const float *x = (float *)p.x.data + (ptrdiff_t)t * K, *w = p.weight + (ptrdiff_t)r * K;
            double sum = 0.0;
            for (int i = 0; i < K; i++) sum += (double)w[i] * (double)x[i];
            want[t * N + r] = sum;
        }
    struct guarded_buffer y;
    const char *wrong = multiply(&y, kernel, &p, NULL, M, 1 << 20);
    const double limit = 1e-4, error = nmse(y.data, want, (size_t)N * M);
    if (!wrong && !(error <= limit)) wrong = report(kernel, &p, "error of rounded activations", error, limit);
    guarded_free(&y);
    problem_free(&p);
    free(want);
    return wrong;
}

const char *check_q8(const struct panel_kernel *kernel)
{
    const char *wrong = check_q8_error(kernel);
    if (!wrong && kernel->exact) wrong = check_q8_integers(kernel);
    if (!wrong && kernel->exact) wrong = check_q8_parity(kernel);
    if (!wrong) wrong = check_q8_not_finite(kernel);
    if (!wrong && kernel->exact) wrong = check_kernel_independence(kernel);
    return wrong;
}
