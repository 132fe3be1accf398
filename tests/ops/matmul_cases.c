/* Checks of the weight products; see ops_cases.h. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/float16.h"
#include "ops/variants.h"
#include "quant/codec.h"
#include "tests/ops/matmul_problem.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"

/* Floats: every combination. */
static const int test_n[] = {1, 15, 16, 17, 48, 100}, test_k[] = {1, 2, 3, 31, 64, 511, 512, 513, 1100};
static const int test_m[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 33, 125};
/* Blocks: k is one block, 512, and a block more, with each m; the tiles are those of the floats. */
static const int block_n[] = {1, 17, 48, 100}, block_m[] = {1, 2, 15, 16, 17, 64};
enum {
    N_TEST_N = sizeof test_n / sizeof test_n[0],
    N_TEST_K = sizeof test_k / sizeof test_k[0],
    N_TEST_M = sizeof test_m / sizeof test_m[0],
    N_BLOCK_N = sizeof block_n / sizeof block_n[0],
    N_BLOCK_K = 3,
    N_BLOCK_M = sizeof block_m / sizeof block_m[0],
    MAX_PRODUCTS = 1500000, /* beyond, scalar takes long and no new case is met */
};

static bool is_float(const struct panel_layout *layout) { return dtype_info(layout->weight)->is_float; }

/* k rounded up to what the layout takes. */
int fitting_k(const struct panel_layout *layout, int k) { return (k + layout->kr - 1) / layout->kr * layout->kr; }

static void fill_floats(struct rng *rng, enum dtype type, void *file, size_t count, bool awkward)
{
    float *values = malloc(count * sizeof(float));
    if (!values) abort();
    if (awkward) {
        rng_fill_awkward(rng, values, count);
    } else {
        rng_fill(rng, values, count, -1.0f, 1.0f);
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half = type == DTYPE_F16 ? float_to_fp16(values[i]) : float_to_bf16(values[i]);
        memcpy((char *)file + i * dtype_info(type)->bytes_per_block,
               type == DTYPE_F32 ? (void *)&values[i] : (void *)&half, dtype_info(type)->bytes_per_block);
    }
    free(values);
}

void fill_block(struct rng *rng, enum dtype type, unsigned char *block, bool any)
{
    const struct dtype_info *info = dtype_info(type);
    float y[DTYPE_MAX_BLOCK_ELEMENTS];
    for (bool usual = false; !usual;) {
        bool small = true, large = false; /* NaN is large */
        for (size_t i = 0; i < info->bytes_per_block; i++) block[i] = (unsigned char)rng_next(rng);
        quant_decode(type, y, block, (size_t)info->elements_per_block);
        for (int i = 0; i < info->elements_per_block; i++) {
            small &= fabsf(y[i]) < 0x1p-10f;
            large |= !(fabsf(y[i]) <= 0x1p10f);
        }
        usual = any || (!small && !large);
    }
}

/* Elements of a row with its last block whole: only F8_B128 may end within one. */
static size_t whole_columns(const struct panel_layout *layout, int k)
{
    size_t elements = (size_t)dtype_info(layout->weight)->elements_per_block;
    return ((size_t)k + elements - 1) / elements * elements;
}

struct problem problem_alloc(const struct panel_layout *layout, int n, int k, int m)
{
    struct problem p = {.n = n, .k = k, .m = m, .n_padded = (n + layout->nr - 1) / layout->nr * layout->nr};
    p.row_bytes = blocks_bytes(layout->weight, whole_columns(layout, k));
    p.weight = malloc((size_t)n * (size_t)k * sizeof(float));
    if (!p.weight) abort();
    p.file = guarded_make(p.row_bytes * (size_t)n, 0);
    /* A file's own bytes may lie anywhere, here one before a multiple of 16, and nothing needs to follow them. */
    p.packed = guarded_make(layout->packed_bytes(n, k), layout->file_order ? 1 : READ_SLACK);
    p.x = guarded_make((size_t)m * (size_t)k * sizeof(float), READ_SLACK);
    return p;
}

void problem_pack(const struct panel_layout *layout, struct problem *p)
{
    const size_t whole_k = whole_columns(layout, p->k);
    const unsigned char *file = p->file.data;
    float *row = malloc(whole_k * sizeof(float));
    if (!row) abort();
    for (int r = 0; r < p->n; r++) {
        quant_decode(layout->weight, row, file + (size_t)r * p->row_bytes, whole_k);
        memcpy(p->weight + (size_t)r * (size_t)p->k, row, (size_t)p->k * sizeof(float));
    }
    free(row);
    int half = p->n / 2 / layout->nr * layout->nr;
    layout->pack(p->packed.data, file + (size_t)half * p->row_bytes, p->row_bytes, half, p->n, p->n, p->k);
    if (half) layout->pack(p->packed.data, file, p->row_bytes, 0, half, p->n, p->k);
}

static struct problem problem_make(const struct panel_layout *layout, int n, int k, int m, bool awkward, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    const struct dtype_info *type = dtype_info(layout->weight);
    struct problem p = problem_alloc(layout, n, k, m);
    if (awkward) {
        rng_fill_awkward(&rng, p.x.data, (size_t)m * (size_t)k);
    } else {
        rng_fill(&rng, p.x.data, (size_t)m * (size_t)k, -1.0f, 1.0f);
    }
    if (type->is_float) {
        fill_floats(&rng, layout->weight, p.file.data, (size_t)n * (size_t)k, awkward);
    } else {
        for (int r = 0; r < n; r++)
            for (size_t at = 0; at < p.row_bytes; at += type->bytes_per_block)
                fill_block(&rng, layout->weight, (unsigned char *)p.file.data + (size_t)r * p.row_bytes + at,
                           awkward && r % 2);
    }
    problem_pack(layout, &p);
    return p;
}

void problem_free(struct problem *p)
{
    free(p->weight);
    guarded_free(&p->file);
    guarded_free(&p->packed);
    guarded_free(&p->x);
}

const char *multiply(struct guarded_buffer *y, const struct panel_kernel *kernel, const struct problem *p,
                     const int *rows, int n_rows, int range)
{
    struct guarded_buffer x = guarded_make(kernel->x_bytes(n_rows, p->k), READ_SLACK);
    struct guarded_buffer scratch = guarded_make(kernel->scratch_bytes(p->k), 0);
    *y = guarded_make((size_t)n_rows * (size_t)p->n_padded * sizeof(float), 0);
    kernel->pack_x(x.data, p->x.data, p->k, rows, n_rows, p->k, 0, p->k);
    for (int row = 0, end; row < p->n_padded; row = end) {
        end = p->n_padded - row > range ? row + range : p->n_padded;
        kernel->run(y->data, p->n_padded, p->packed.data, x.data, row, end, n_rows, p->k, scratch.data);
    }
    const char *damage = guarded_damage(y);
    if (!damage) damage = guarded_damage(&x);
    if (!damage) damage = guarded_damage(&scratch);
    if (!damage) damage = guarded_damage(&p->packed);
    guarded_free(&x);
    guarded_free(&scratch);
    return damage;
}

const char *report(const struct panel_kernel *kernel, const struct problem *p, const char *what, double got,
                   double limit)
{
    static char text[256];
    snprintf(text, sizeof text, "%s n=%d k=%d m=%d: %s (%g, limit %g)", kernel->name, p->n, p->k, p->m, what, got,
             limit);
    return text;
}

const struct panel_kernel *const *tested_kernels(void)
{
    static const struct panel_kernel *const only_tested[] = {
        NULL, /* the list may be empty */
#define TEST_KERNEL(name) &kernel_##name,
#include "ops/variants.inc"
    };
    enum { N_ONLY_TESTED = sizeof only_tested / sizeof only_tested[0] - 1 };
    static const struct panel_kernel *all[MAX_TESTED_KERNELS + 1]; /* ends with NULL */
    size_t n = 0;
    while (panel_kernels()[n]) n++;
    if (n + N_ONLY_TESTED > MAX_TESTED_KERNELS) abort();
    memcpy(all, panel_kernels(), n * sizeof all[0]);
    memcpy(all + n, only_tested + 1, N_ONLY_TESTED * sizeof all[0]);
    return all;
}

enum kernel_kind kernel_kind(const struct panel_kernel *kernel)
{
    if (strstr(kernel->name, "_q8_")) return KERNEL_Q8;
    if (strstr(kernel->name, "_bf16_")) return KERNEL_BF16;
    return is_float(kernel->layout) ? KERNEL_FLOATS : KERNEL_BLOCKS;
}

size_t kernels_of(enum kernel_kind kind, int *indices)
{
    size_t n = 0;
    for (int i = 0; tested_kernels()[i]; i++)
        if (kernel_kind(tested_kernels()[i]) == kind) indices[n++] = i;
    return n;
}

const struct panel_kernel *scalar_kernel(const struct panel_kernel *kernel)
{
    char name[64];
    const size_t layout = strlen(kernel->layout->name) + 1, activation = strcspn(kernel->name + layout, "_");
    snprintf(name, sizeof name, "%.*s_scalar", (int)(layout + activation), kernel->name);
    for (const struct panel_kernel *const *list = tested_kernels(); *list; list++)
        if (!strcmp((*list)->name, name)) return *list;
    return NULL;
}

/* The bound of a sum of k products in any order, each rounded at most once when added: k eps sum |w x|, and the
 * smallest subnormal per step for products that underflow. Also collects the errors of the whole matrix. */
static const char *check_bound(const struct panel_kernel *kernel, const struct problem *p, const float *y)
{
    const bool rounds = kernel_kind(kernel) == KERNEL_BF16;
    const double rounding = rounds ? 0x1.02p-8 : 0.0; /* of activations and weights to bfloat16 */
    double *exact = malloc((size_t)p->n * sizeof(double));
    const char *wrong = NULL;
    if (!exact) abort();
    for (int t = 0; t < p->m && !wrong; t++) {
        const float *x = (const float *)p->x.data + (size_t)t * (size_t)p->k;
        const float *row = y + (size_t)t * (size_t)p->n_padded;
        for (int r = 0; r < p->n && !wrong; r++) {
            double sum = 0.0, magnitude = 0.0;
            for (int i = 0; i < p->k; i++) {
                double product = (double)p->weight[(size_t)r * (size_t)p->k + (size_t)i] * (double)x[i];
                sum += product;
                magnitude += fabs(product);
            }
            double limit = (double)p->k * (FLT_EPSILON / 2 * magnitude + 0x1p-149) + rounding * magnitude;
            double error = fabs((double)row[r] - sum);
            exact[r] = sum;
            if (!(error <= limit)) wrong = report(kernel, p, "beyond the bound", error, limit);
        }
        double goal = rounds ? 1e-4 : kernel->layout->weight == DTYPE_F32 ? 1e-12 : 1e-10;
        double error = nmse(row, exact, (size_t)p->n);
        if (!wrong && p->n > 1 && !(error <= goal)) wrong = report(kernel, p, "error of the whole", error, goal);
    }
    free(exact);
    return wrong;
}

static const char *check_problem(const struct panel_kernel *kernel, const struct problem *p)
{
    struct guarded_buffer got, want;
    int *rows = malloc((size_t)p->m * sizeof(int));
    if (!rows) abort();
    for (int t = 0; t < p->m; t++) rows[t] = p->m - 1 - t;
    const char *wrong = multiply(&got, kernel, p, rows, p->m, 1 << 20);
    if (!wrong) wrong = multiply(&want, scalar_kernel(kernel), p, rows, p->m, 1 << 20);
    if (wrong) return report(kernel, p, wrong, 0.0, 0.0);
    ptrdiff_t i = first_difference(got.data, want.data, (size_t)p->m * (size_t)p->n_padded);
    if (i >= 0) wrong = report(kernel, p, "bits differ from scalar at element", (double)i, -1.0);
    guarded_free(&got);
    guarded_free(&want);
    free(rows);
    return wrong;
}

/* One shape of the parity check; every other one with awkward numbers. */
static const char *check_shape(const struct panel_kernel *kernel, int n, int k, int m, int i)
{
    if (n * k * m > MAX_PRODUCTS) return NULL;
    struct problem p = problem_make(kernel->layout, n, k, m, i % 2, (uint64_t)i);
    const char *wrong = check_problem(kernel, &p);
    problem_free(&p);
    return wrong;
}

/* With each k and m one n after the other. Rows of F8_B128 may end within a block, and do in half of the cases. */
static const char *check_block_parity(const struct panel_kernel *kernel)
{
    const int block = dtype_info(kernel->layout->weight)->elements_per_block;
    const int k[N_BLOCK_K] = {block, MATMUL_K_BLOCK, MATMUL_K_BLOCK + block};
    const char *wrong = NULL;
    for (int i = 0; i < N_BLOCK_K * N_BLOCK_M && !wrong; i++) {
        int missing = kernel->layout->kr == 1 && i / N_BLOCK_K % 2 ? 3 : 0;
        wrong = check_shape(kernel, block_n[i % N_BLOCK_N], k[i % N_BLOCK_K] - missing, block_m[i / N_BLOCK_K], i);
    }
    return wrong;
}

const char *check_kernel_parity(const struct panel_kernel *kernel)
{
    const char *wrong = NULL;
    if (!kernel->exact) return check_kernel_bound(kernel);
    if (!is_float(kernel->layout)) return check_block_parity(kernel);
    const int step = kernel->layout->file_order ? 5 : 1; /* the same products behind another packing */
    for (int i = 0; i < N_TEST_N * N_TEST_K * N_TEST_M && !wrong; i += step)
        wrong = check_shape(kernel, test_n[i % N_TEST_N], test_k[i / N_TEST_N % N_TEST_K],
                            test_m[i / N_TEST_N / N_TEST_K], i);
    return wrong;
}

const char *check_kernel_bound(const struct panel_kernel *kernel)
{
    static const int shapes[][3] = {{1, 1, 1},     {100, 64, 3},  {33, 513, 2},
                                    {48, 1100, 9}, {16, 4096, 1}, {300, 700, 33}};
    const char *wrong = NULL;
    const size_t n_shapes = sizeof shapes / sizeof shapes[0] - !is_float(kernel->layout); /* the last takes long */
    for (size_t i = 0; i < n_shapes && !wrong; i++) {
        int k = fitting_k(kernel->layout, shapes[i][1]);
        struct problem p = problem_make(kernel->layout, shapes[i][0], k, shapes[i][2], false, i);
        struct guarded_buffer y;
        const char *damage = multiply(&y, kernel, &p, NULL, p.m, kernel->layout->nr);
        wrong = damage ? report(kernel, &p, damage, 0.0, 0.0) : check_bound(kernel, &p, y.data);
        guarded_free(&y);
        problem_free(&p);
    }
    return wrong;
}

const char *check_kernel_independence(const struct panel_kernel *kernel)
{
    enum { K = 700, MAX_M = 31 };
    const int n = is_float(kernel->layout) ? 144 : 48, max_m = is_float(kernel->layout) ? MAX_M : 15;
    struct problem p = problem_make(kernel->layout, n, fitting_k(kernel->layout, K), max_m, false, 3);
    struct guarded_buffer whole;
    const char *wrong = multiply(&whole, kernel, &p, NULL, max_m, 1 << 20);
    for (int m = 1; m <= max_m && !wrong; m++) {
        struct guarded_buffer part;
        int rows[MAX_M];
        for (int t = 0; t < m; t++) rows[t] = (t * 7 + m) % max_m;
        wrong = multiply(&part, kernel, &p, rows, m, m % 2 ? kernel->layout->nr : 3 * kernel->layout->nr);
        for (int t = 0; t < m && !wrong; t++) {
            const float *got = (float *)part.data + t * p.n_padded;
            const float *want = (float *)whole.data + rows[t] * p.n_padded;
            if (first_difference(got, want, (size_t)n) >= 0)
                wrong = "a row depends on m, on the range or on other rows";
        }
        guarded_free(&part);
    }
    guarded_free(&whole);
    if (wrong) wrong = report(kernel, &p, wrong, 0.0, 0.0);
    problem_free(&p);
    return wrong;
}

const char *check_pack_x_pieces(const struct panel_kernel *kernel)
{
    enum { M = 13, K = 5 * PACK_COLUMNS + 96, LDX = 2 * K };
    static const int pieces[] = {PACK_COLUMNS, 3 * PACK_COLUMNS, PACK_COLUMNS, 2 * PACK_COLUMNS};
    const int k = fitting_k(kernel->layout, K), rows[M] = {12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
    struct rng rng = rng_seed(1);
    struct guarded_buffer x = guarded_make((size_t)M * LDX * sizeof(float), READ_SLACK);
    struct guarded_buffer whole = guarded_make(kernel->x_bytes(M, k), 0), cut = guarded_make(whole.bytes, 0);
    rng_fill(&rng, x.data, (size_t)M * LDX, -1.0f, 1.0f);
    kernel->pack_x(whole.data, x.data, LDX, rows, M, k, 0, k);
    for (int k0 = 0, k1, i = 0; k0 < k; k0 = k1, i++) {
        k1 = k - k0 < pieces[i] ? k : k0 + pieces[i];
        kernel->pack_x(cut.data, (const float *)x.data + k0, LDX, rows, M, k, k0, k1);
    }
    const char *wrong = guarded_damage(&cut);
    if (!wrong && memcmp(whole.data, cut.data, whole.bytes)) wrong = "pieces of columns differ from the whole";
    guarded_free(&x);
    guarded_free(&whole);
    guarded_free(&cut);
    return wrong;
}
