/* Weight products of the kernels in variants.inc: decode (one row, a matrix beyond the caches, against the read
 * bandwidth) and prefill (many rows, against the peak of fused multiply-adds). Rows are handed out in ranges of 64, as
 * the engine does. Without -f, of the block formats only some. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/float16.h"
#include "bench/harness.h"
#include "bench/roof.h"
#include "ops/panel.h"
#include "quant/codec.h"
#include "tests/support/rng.h"

enum { READ_BYTES = 128 << 20, RANGE_ROWS = 64 };

/* One of each kind: bytes, nibbles, a table's nibbles, nested scales, split codes, code books, FP8. */
static const enum dtype formats[] = {DTYPE_Q8_0, DTYPE_Q4_0,    DTYPE_MXFP4,  DTYPE_Q4_K,
                                     DTYPE_Q6_K, DTYPE_IQ3_XXS, DTYPE_F8_B128};

struct product {
    const struct panel_kernel *kernel;
    void *w, *x, **scratch; /* scratch [threads] */
    float *y;
    int m, n, k, threads; /* n is a multiple of nr */
};

static void multiply(void *arg)
{
    const struct product *p = arg;
    int step = p->kernel->layout->nr > RANGE_ROWS ? p->kernel->layout->nr : RANGE_ROWS;
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int row = 0; row < p->n; row += step) {
        int end = row + step < p->n ? row + step : p->n;
        p->kernel->run(p->y, p->n, p->w, p->x, row, end, p->m, p->k, p->scratch[row / step]);
    }
}

/* A row [k] of the weight's type. Formats that nobody encodes are given random bytes. */
static void random_row(struct rng *rng, enum dtype type, unsigned char *to, float *row, int k)
{
    const struct dtype_info *info = dtype_info(type);
    rng_fill(rng, row, (size_t)k, -1.0f, 1.0f);
    if (info->is_float) {
        for (int j = 0; j < k; j++) {
            uint16_t half = type == DTYPE_F16 ? float_to_fp16(row[j]) : float_to_bf16(row[j]);
            memcpy(to + (size_t)j * info->bytes_per_block, info->bytes_per_block == 4 ? (void *)&row[j] : (void *)&half,
                   info->bytes_per_block);
        }
    } else if (info->can_encode) {
        quant_encode(type, to, row, (size_t)k, NULL);
    } else {
        for (size_t i = 0; i < blocks_bytes(type, (size_t)k); i++) to[i] = (unsigned char)rng_next(rng);
    }
}

/* One matrix of random weights, packed once (the first panel over and over), and products with several m. */
static void bench_shape(const struct panel_kernel *kernel, int n, int k, const int *ms, struct bench_options o)
{
    const struct panel_layout *layout = kernel->layout;
    size_t row_bytes = blocks_bytes(layout->weight, (size_t)k), packed = layout->packed_bytes(n, k);
    struct rng rng = rng_seed(1);
    float *row = malloc((size_t)k * sizeof(float));
    unsigned char *file_rows = malloc(row_bytes * (size_t)layout->nr);
    struct product p = {.kernel = kernel, .n = n, .k = k, .threads = o.threads, .w = bench_pages(packed)};
    if (!row || !file_rows) exit(4);

    for (int i = 0; i < layout->nr; i++) random_row(&rng, layout->weight, file_rows + (size_t)i * row_bytes, row, k);
    for (int r = 0; r < n; r += layout->nr) layout->pack(p.w, file_rows, row_bytes, r, r + layout->nr, n, k);

    struct roof_read read = {.data = bench_pages(READ_BYTES), .bytes = READ_BYTES, .threads = o.threads};
    struct roof_fma fma = {.threads = o.threads};
    int n_ranges = n / RANGE_ROWS + 1;
    p.scratch = calloc((size_t)n_ranges, sizeof(void *));
    if (!p.scratch) exit(4);
    for (int i = 0; i < n_ranges; i++) p.scratch[i] = aligned_alloc(64, (kernel->scratch_bytes(k) + 127) & ~(size_t)63);

    for (; *ms; ms++) {
        p.m = *ms;
        float *x = malloc((size_t)p.m * (size_t)k * sizeof(float));
        p.x = malloc(kernel->x_bytes(p.m, k));
        p.y = malloc((size_t)p.m * (size_t)n * sizeof(float));
        if (!x || !p.x || !p.y) exit(4);
        rng_fill(&rng, x, (size_t)p.m * (size_t)k, -1.0f, 1.0f);
        kernel->pack_x(p.x, x, k, NULL, p.m, k, 0, k);

        char shape[64];
        snprintf(shape, sizeof shape, "m=%d n=%d k=%d", p.m, n, k);
        struct bench_case c = {.variant = kernel->name, .shape = shape, .threads = o.threads, .bytes = (double)packed,
                               .flops = 2.0 * p.m * n * k, .body = multiply, .arg = &p};
        if (packed > cpu_cache_bytes() && p.m == 1) {
            c.roof = roof_read, c.roof_arg = &read, c.roof_work = READ_BYTES, c.body_work = c.bytes;
        } else {
            c.roof = roof_fma, c.roof_arg = &fma, c.roof_work = roof_fma_flops(&fma), c.body_work = c.flops;
        }
        bench_run(c);
        free(x);
        free(p.x);
        free(p.y);
    }
    for (int i = 0; i < n_ranges; i++) free(p.scratch[i]);
    free(p.scratch);
    free(row);
    free(file_rows);
}

/* The scalar kernels are written to be read, and half a minute each would say nothing; without a filter some formats
 * stand for all. */
static bool is_wanted(const struct panel_kernel *kernel, const char *filter)
{
    if (*filter) return strstr(kernel->name, filter) != NULL;
    bool chosen = dtype_info(kernel->layout->weight)->is_float;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) chosen |= formats[i] == kernel->layout->weight;
    return chosen && !strstr(kernel->name, "scalar");
}

int main(int argc, char **argv)
{
    static const int decode[] = {1, 0}, prefill[] = {1, 2, 4, 8, 32, 128, 512, 0};
    struct bench_options o = bench_options(argc, argv);
    uint64_t features = cpu_features(NULL);
    bench_header();
    for (const struct panel_kernel *const *list = panel_kernels(); *list; list++) {
        const struct panel_kernel *kernel = *list;
        if (!is_wanted(kernel, o.filter) || (kernel->needs & ~features)) continue;
        if (kernel->usable && !kernel->usable()) continue;
        bench_shape(kernel, 16384, 4096, decode, o);
        bench_shape(kernel, 2048, 2048, prefill, o);
        bench_shape(kernel, 768, 2048, prefill, o);
    }
    return 0;
}
