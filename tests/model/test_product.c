/* Products against sums in double precision: any number of rows, any shape, any share of the outputs. */
#include "model/product.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/float16.h"
#include "quant/codec.h"
#include "tests/support/compare.h"
#include "tests/support/rng.h"

/* One weight with its values as floats, rows of activations, and room for the result with untouchable columns. */
struct bench {
    struct weight w;
    uint64_t features;
    float *values; /* [n, k] what the weight holds */
    float *bias;   /* [n] */
    float *x;      /* [max_m, ldx] */
    int max_m;
    ptrdiff_t ldx;
};

static void *room(size_t n)
{
    void *p = calloc(n + 64, 1); /* kernels may read 64 bytes more */
    cr_assert(p);
    return p;
}

static void store(enum dtype type, void *to, size_t i, float *value)
{
    uint16_t half = type == DTYPE_F16 ? float_to_fp16(*value) : float_to_bf16(*value);
    if (type == DTYPE_F32) {
        memcpy((char *)to + 4 * i, value, 4);
        return;
    }
    memcpy((char *)to + 2 * i, &half, 2);
    *value = type == DTYPE_F16 ? fp16_to_float(half) : bf16_to_float(half);
}

static void bench_make(struct bench *b, enum dtype type, int n, int k, int max_m, uint64_t features, unsigned flags)
{
    struct rng rng = rng_seed((uint64_t)(n * 1000 + k));
    const size_t elements = (size_t)n * (size_t)k, row_bytes = blocks_bytes(type, (size_t)k);
    *b = (struct bench){.features = features, .max_m = max_m, .ldx = k + 3};
    b->values = room(elements * sizeof(float));
    b->bias = room((size_t)n * sizeof(float));
    b->x = room((size_t)max_m * (size_t)b->ldx * sizeof(float));
    rng_fill(&rng, b->values, elements, -1, 1);
    rng_fill(&rng, b->bias, (size_t)n, -1, 1);
    rng_fill(&rng, b->x, (size_t)max_m * (size_t)b->ldx, -1, 1);
    char *source = room((size_t)n * row_bytes);
    if (dtype_info(type)->is_float) {
        for (size_t i = 0; i < elements; i++) store(type, source, i, &b->values[i]);
    } else {
        quant_encode(type, source, b->values, elements, NULL);
        quant_decode(type, b->values, source, elements);
    }
    b->w = (struct weight){.layout = panel_layout_choose(type, n, k, features, flags), .n = n, .k = k};
    cr_assert_not_null(b->w.layout);
    void *packed = room(b->w.layout->packed_bytes(n, k));
    b->w.layout->pack(packed, source, row_bytes, 0, n, n, k);
    b->w.data = packed;
    free(source);
}

static void bench_free(struct bench *b)
{
    free((void *)b->w.data);
    free(b->values);
    free(b->bias);
    free(b->x);
}

/* y [m, ldy] and its padding: n rounded up to whole panels, then 16 columns that nobody may touch. */
static ptrdiff_t ldy_of(const struct bench *b)
{
    int nr = b->w.layout->nr;
    return (b->w.n + nr - 1) / nr * nr + 16;
}
enum { UNTOUCHED = 1234567 };

/* The product of m rows, done in `n_parts` shares of the outputs; the caller frees. */
static float *multiply(const struct bench *b, int m, const int *rows, int n_parts)
{
    const ptrdiff_t ldy = ldy_of(b);
    float *y = room((size_t)m * (size_t)ldy * sizeof(float));
    for (ptrdiff_t i = 0; i < m * ldy; i++) y[i] = UNTOUCHED;
    const struct model model = {.features = b->features};
    size_t bytes = operand_bytes(&model, &b->w, m);
    cr_assert_leq(bytes, operand_room(&model, &b->w, m, 1));
    unsigned char *packed = room(bytes);
    void *scratch = room(panel_kernel_choose(b->w.layout, m, b->features)->scratch_bytes(b->w.k));
    struct operand o = operand_at(&model, &b->w, m, packed);
    cr_assert_eq(operand_blocks(&o), (m + ROW_BLOCK - 1) / ROW_BLOCK);
    for (int end = operand_pieces(&o), step = 1; end > 0; end -= step++) /* in any order and number */
        operand_pack(&o, b->x, b->ldx, rows, end > step ? end - step : 0, end);
    for (int part = 0; part < n_parts; part++) {
        struct thread t = {.id = part, .n = n_parts};
        int begin, end;
        team_range(&t, b->w.n, b->w.layout->nr, &begin, &end);
        if (begin < end) product(y, ldy, &b->w, &o, begin, end, scratch);
    }
    for (int i = 0; i < m; i++)
        for (ptrdiff_t r = ldy - 16; r < ldy; r++)
            cr_assert_eq(y[i * ldy + r], UNTOUCHED, "[%d, %d], %d rows: wrote behind row %d", b->w.n, b->w.k, m, i);
    free(packed);
    free(scratch);
    return y;
}

static void expect_product(const struct bench *b, int m, const int *rows)
{
    float *y = multiply(b, m, rows, 1);
    for (int i = 0; i < m; i++)
        for (int r = 0; r < b->w.n; r++) {
            const float *x = b->x + (rows ? rows[i] : i) * b->ldx;
            double exact = b->w.bias ? (double)b->w.bias[r] : 0, size = fabs(exact);
            for (int j = 0; j < b->w.k; j++) {
                double term = (double)b->values[r * b->w.k + j] * (double)x[j];
                exact += term;
                size += fabs(term);
            }
            double got = (double)y[i * ldy_of(b) + r], bound = (b->w.k + 2) * 0x1p-24 * size;
            cr_assert(fabs(got - exact) <= bound, "[%d, %d], row %d of %d, output %d: %.9g, expected %.9g", b->w.n,
                      b->w.k, i, m, r, got, exact);
        }
    free(y);
}

static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};

/* Every number of rows from 1 to 200, with and without the machine's instruction sets. */
Test(product, any_number_of_rows)
{
    for (int type = 0; type < 3; type++)
        for (int scalar = 0; scalar < 2; scalar++) {
            struct bench b;
            bench_make(&b, types[type], 70, 33, 200, scalar ? 0 : cpu_features(NULL), PANEL_FLOAT);
            for (int m = 1; m <= 200; m += scalar ? 7 : 1) expect_product(&b, m, NULL);
            bench_free(&b);
        }
}

Test(product, any_shape)
{
    static const int shapes[][2] = {{1, 1},   {1, 64},   {15, 3},   {16, 2},   {17, 63},
                                    {64, 65}, {129, 16}, {300, 24}, {33, 1025}};
    static const int ms[] = {1, 2, 63, 64, 65, 130};
    for (int type = 0; type < 3; type++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            struct bench b;
            bench_make(&b, types[type], shapes[s][0], shapes[s][1], 130, cpu_features(NULL), PANEL_FLOAT);
            for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) expect_product(&b, ms[i], NULL);
            bench_free(&b);
        }
}

Test(product, a_bias_is_added_once_to_every_output)
{
    static const int ms[] = {1, 5, 64, 129};
    for (int type = 0; type < 3; type++) {
        struct bench b;
        bench_make(&b, types[type], 50, 40, 129, cpu_features(NULL), PANEL_FLOAT);
        b.w.bias = b.bias;
        for (int i = 0; i < 4; i++) expect_product(&b, ms[i], NULL);
        bench_free(&b);
    }
}

Test(product, rows_may_be_chosen_by_number)
{
    struct rng rng = rng_seed(3);
    int rows[150];
    for (int type = 0; type < 3; type++) {
        struct bench b;
        bench_make(&b, types[type], 40, 30, 90, cpu_features(NULL), PANEL_FLOAT);
        for (int i = 0; i < 150; i++) rows[i] = (int)rng_below(&rng, 90); /* some rows twice */
        expect_product(&b, 1, rows);
        expect_product(&b, 64, rows);
        expect_product(&b, 150, rows);
        bench_free(&b);
    }
}

Test(product, shares_of_the_outputs_make_the_same_whole)
{
    static const int ms[] = {1, 2, 64, 65, 200}, parts[] = {2, 3, 8, 40};
    for (int type = 0; type < 3; type++) {
        struct bench b;
        bench_make(&b, types[type], 300, 48, 200, cpu_features(NULL), PANEL_FLOAT);
        b.w.bias = b.bias;
        for (int i = 0; i < 5; i++) {
            float *whole = multiply(&b, ms[i], NULL, 1);
            for (int j = 0; j < 4; j++) {
                float *shared = multiply(&b, ms[i], NULL, parts[j]);
                for (int row = 0; row < ms[i]; row++)
                    cr_assert_eq(first_difference(whole + row * ldy_of(&b), shared + row * ldy_of(&b), 300), -1,
                                 "%d rows, %d parts", ms[i], parts[j]);
                free(shared);
            }
            free(whole);
        }
        bench_free(&b);
    }
}

Test(product, a_row_does_not_depend_on_its_company)
{
    for (int type = 0; type < 3; type++) {
        struct bench b;
        bench_make(&b, types[type], 90, 77, 200, cpu_features(NULL), PANEL_FLOAT);
        float *many = multiply(&b, 200, NULL, 1);
        for (int row = 0; row < 200; row += 13) {
            float *one = multiply(&b, 1, &row, 1);
            cr_assert_eq(first_difference(one, many + row * ldy_of(&b), 90), -1, "row %d", row);
            free(one);
        }
        free(many);
        bench_free(&b);
    }
}

#ifdef SLUICE_BLAS
Test(product, openblas_panels)
{
    static const int ms[] = {1, 64, 65, 130};
    struct bench b;
    bench_make(&b, DTYPE_F32, 768, 40, 130, cpu_features(NULL), PANEL_BLAS);
    cr_assert_str_eq(b.w.layout->name, "f32_rows");
    b.w.bias = b.bias;
    for (int i = 0; i < 4; i++) {
        expect_product(&b, ms[i], NULL);
        float *whole = multiply(&b, ms[i], NULL, 1), *shared = multiply(&b, ms[i], NULL, 3);
        for (int row = 0; row < ms[i]; row++)
            cr_expect_eq(first_difference(whole + row * ldy_of(&b), shared + row * ldy_of(&b), 768), -1);
        free(whole);
        free(shared);
    }
    bench_free(&b);
}

/* Its panels are wide; a matrix that does not fill them would write beyond the room of its callers. */
Test(product, openblas_takes_only_matrices_that_fill_its_panels)
{
    static const int ns[] = {1, 16, 64, 255, 257, 300};
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
        cr_expect_leq(panel_layout_choose(DTYPE_F32, ns[i], 40, cpu_features(NULL), PANEL_BLAS)->nr, 16, "n %d", ns[i]);
}
#endif

/* ---- one input for several weights ------------------------------------------------------------------------------- */

enum { GROUP = 4, GROUP_N = 48, GROUP_K = 96, GROUP_M = 150, GROUP_LD = GROUP_N + 16 };

struct group {
    struct bench b[GROUP];
    const struct weight *weights[GROUP];
    struct model model;
    struct workspace ws;
    int m;
    float *y[GROUP];
};

static void run_group(struct thread *t, void *context)
{
    struct group *g = context;
    struct operand operands[GROUP];
    pack_group(&g->model, &g->ws, t, g->weights, GROUP, g->b[0].x, g->b[0].ldx, g->m, operands);
    if (g->m > 1) team_barrier(t);
    for (int i = 0; i < GROUP; i++) {
        int begin, end;
        team_range(t, GROUP_N, g->weights[i]->layout->nr, &begin, &end);
        if (begin < end) product(g->y[i], GROUP_LD, g->weights[i], &operands[i], begin, end, own_scratch(&g->ws, t));
    }
}

static void check_group(const enum dtype *group_types)
{
    static const int ms[] = {1, 2, 64, GROUP_M}, threads[] = {1, 2, 3};
    struct group g = {.model.features = cpu_features(NULL)};
    for (int i = 0; i < GROUP; i++) {
        bench_make(&g.b[i], group_types[i], GROUP_N, GROUP_K, GROUP_M, g.model.features, 0);
        g.weights[i] = &g.b[i].w;
        g.y[i] = room(sizeof(float) * GROUP_M * GROUP_LD);
        if (i) memcpy(g.b[i].x, g.b[0].x, sizeof(float) * (size_t)GROUP_M * (size_t)g.b[0].ldx);
    }
    g.ws.n_regions = MAX_GROUP;
    g.ws.packed_bytes = 64 * 1024;
    g.ws.own_packed_bytes = 4096;
    for (int i = 0; i < GROUP; i++) { /* of any number of rows */
        size_t bytes = panel_kernel_choose(g.weights[i]->layout, 1, g.model.features)->scratch_bytes(GROUP_K);
        if (bytes > g.ws.own_scratch_bytes) g.ws.own_scratch_bytes = (bytes + 63) & ~(size_t)63;
    }
    g.ws.packed = room(MAX_GROUP * g.ws.packed_bytes);
    g.ws.own_packed = room(3 * MAX_GROUP * g.ws.own_packed_bytes);
    g.ws.own_scratch = room(3 * g.ws.own_scratch_bytes);
    for (int j = 0; j < 12; j++) {
        struct team team;
        g.m = ms[j % 4];
        team_init(&team, threads[j / 4]);
        team_run(&team, run_group, &g);
        for (int i = 0; i < GROUP; i++) {
            float *alone = multiply(&g.b[i], g.m, NULL, 1);
            for (int row = 0; row < g.m; row++)
                cr_assert_eq(first_difference(alone + row * ldy_of(&g.b[i]), g.y[i] + row * GROUP_LD, GROUP_N), -1,
                             "weight %d, %d rows, %d threads", i, g.m, threads[j / 4]);
            free(alone);
        }
    }
    for (int i = 0; i < GROUP; i++) {
        bench_free(&g.b[i]);
        free(g.y[i]);
    }
    free(g.ws.packed);
    free(g.ws.own_packed);
    free(g.ws.own_scratch);
}

/* Weights of three types, two of one type: all read the same rows, packed by the team or by every thread for itself. */
Test(product, a_group_gives_what_each_weight_gives_alone)
{
    static const enum dtype floats[GROUP] = {DTYPE_F32, DTYPE_BF16, DTYPE_F32, DTYPE_F16};
    static const enum dtype mixed[GROUP] = {DTYPE_Q4_0, DTYPE_F32, DTYPE_Q8_0, DTYPE_Q4_0};
    check_group(floats);
    check_group(mixed);
}

/* Operands of any numbers of rows, as many as experts, lie side by side in the room that is asked for all. */
Test(product, room_holds_any_distribution_of_rows)
{
    enum { N = 32, K = 256, PARTS = 6 };
    struct rng rng = rng_seed(9);
    const struct model m = {.features = cpu_features(NULL)};
    for (int type = 0; type < N_DTYPES; type++) {
        if (!dtype_info((enum dtype)type)->is_weight) continue;
        const struct weight w = {.n = N, .k = K, .layout = panel_layout_choose((enum dtype)type, N, K, m.features, 0)};
        for (int round = 0; round < 50; round++) {
            int rows = 0;
            size_t bytes = 0;
            for (int i = 0; i < PARTS; i++) {
                const int n = 1 + (int)rng_below(&rng, i % 2 ? 10 : 200);
                rows += n;
                bytes += operand_bytes(&m, &w, n);
            }
            cr_assert_leq(bytes, operand_room(&m, &w, rows, PARTS), "%s, %d rows", w.layout->name, rows);
            cr_assert_eq(bytes % 64, 0);
        }
    }
}

Test(product, an_exact_model_has_one_kernel_for_any_number_of_rows)
{
    enum { N = 32, K = 256 };
    const struct model m = {.features = cpu_features(NULL), .exact = true};
    for (int type = 0; type < N_DTYPES; type++) {
        if (!dtype_info((enum dtype)type)->is_weight) continue;
        const struct weight w = {.n = N, .k = K, .layout = panel_layout_choose((enum dtype)type, N, K, m.features, 0)};
        for (int rows = 1; rows < 200; rows++)
            cr_assert_eq(kernel_for(&m, &w, rows), panel_kernel_choose(w.layout, PANEL_MANY_ROWS, m.features));
    }
}

static struct weight weight_of(enum dtype type, int n, int k, uint64_t features, unsigned flags)
{
    return (struct weight){.n = n, .k = k, .layout = panel_layout_choose(type, n, k, features, flags)};
}

/* What lets the gate and the up of an expert be of different types: all kernels of floats pack alike, and all of 8-bit
 * activations. */
Test(product, weights_of_all_types_read_the_same_packed_rows)
{
    enum { N = 256, K = 256 };
    uint64_t features[2] = {0, cpu_features(NULL)};
    for (int i = 0; i < 4; i++) {
        const uint64_t f = features[i % 2];
        const unsigned flags = i < 2 ? PANEL_FLOAT : 0;
        const struct weight plain = weight_of(i < 2 ? DTYPE_F32 : DTYPE_Q4_0, N, K, f, flags);
        for (int type = 0; type < N_DTYPES; type++) {
            if (!dtype_info((enum dtype)type)->is_weight) continue;
            struct weight w = weight_of((enum dtype)type, N, K, f, flags);
            const struct panel_kernel *kernel = panel_kernel_choose(w.layout, PANEL_MANY_ROWS, f);
            if (i >= 2 && kernel->peak != PEAK_INT8) continue;
            cr_expect(operands_alike(&plain, &w, f), "%s", w.layout->name);
            w.k = K / 2;
            cr_expect_not(operands_alike(&plain, &w, f));
        }
    }
#ifdef SLUICE_BLAS
    struct weight own = {.n = N, .k = K, .layout = panel_layout_choose(DTYPE_BF16, N, K, features[1], PANEL_BLAS)};
    struct weight blas = {.n = N, .k = K, .layout = panel_layout_choose(DTYPE_F32, N, K, features[1], PANEL_BLAS)};
    cr_assert_str_eq(blas.layout->name, "f32_rows");
    cr_expect_not(operands_alike(&own, &blas, features[1]));
#endif
}
