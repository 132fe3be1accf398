/* Weight products of the kernels in variants.inc: decode (one row, a matrix beyond the caches, against the read
 * bandwidth) and prefill (many rows, against the peak of the kernel's kind of arithmetic). Rows are handed out in
 * ranges of 64, as the engine does. Without -f, of the kernels that decode to floats only some. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "bench/harness.h"
#include "bench/roof.h"
#include "bench/weights.h"
#include "ops/panel.h"
#include "tests/support/rng.h"

enum { READ_BYTES = 128 << 20, RANGE_ROWS = 64 };

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

/* One matrix of random weights and products with several m. */
static void bench_shape(const struct panel_kernel *kernel, int n, int k, const int *ms, struct roof_read *read)
{
    struct rng rng = rng_seed(2);
    struct product p = {.kernel = kernel, .n = n, .k = k, .threads = read->threads};
    const int block = dtype_info(kernel->layout->weight)->elements_per_block;
    const double packed = (double)kernel->layout->packed_bytes(n, k);
    size_t bytes;
    if (k % block) return;
    p.w = bench_matrix(kernel->layout, n, k, &bytes);
    int n_ranges = n / RANGE_ROWS + 1;
    p.scratch = calloc((size_t)n_ranges, sizeof(void *));
    if (!p.scratch) exit(4);
    for (int i = 0; i < n_ranges; i++) p.scratch[i] = aligned_alloc(64, (kernel->scratch_bytes(k) + 127) & ~(size_t)63);

    struct roof_fma fma = {.threads = read->threads, .peak = kernel->peak};
    for (; *ms; ms++) {
        p.m = *ms;
        float *x = malloc((size_t)p.m * (size_t)k * sizeof(float));
        p.x = aligned_alloc(64, (kernel->x_bytes(p.m, k) + 127) & ~(size_t)63);
        p.y = malloc((size_t)p.m * (size_t)n * sizeof(float));
        if (!x || !p.x || !p.y) exit(4);
        rng_fill(&rng, x, (size_t)p.m * (size_t)k, -1.0f, 1.0f);
        kernel->pack_x(p.x, x, k, NULL, p.m, k, 0, k);

        char shape[64];
        snprintf(shape, sizeof shape, "m=%d n=%d k=%d", p.m, n, k);
        struct bench_case c = {.variant = kernel->name,
                               .shape = shape,
                               .threads = read->threads,
                               .bytes = packed,
                               .flops = 2.0 * p.m * n * k,
                               .body = multiply,
                               .arg = &p};
        if (packed > (double)cpu_cache_bytes() && p.m == 1) {
            c.roof = roof_read, c.roof_arg = read, c.roof_work = READ_BYTES, c.body_work = c.bytes;
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
    memory_unmap_pages(p.w, bytes);
}

/* The scalar kernels are written to be read, and half a minute each would say nothing. Layouts "<format>_rows" decode
 * to floats, layouts "<format>_file" go through that of panels; some formats stand for all of them. */
static bool is_wanted(const struct panel_kernel *kernel, const char *filter)
{
    static const enum dtype some[] = {DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_IQ3_XXS, DTYPE_F8_B128};
    if (*filter) return strstr(kernel->name, filter) != NULL;
    bool chosen = !strstr(kernel->name, "_rows_") && !strstr(kernel->name, "_file_");
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) chosen |= some[i] == kernel->layout->weight;
    return chosen && !strstr(kernel->name, "scalar");
}

int main(int argc, char **argv)
{
    static const int decode[] = {1, 0}, prefill[] = {1, 2, 4, 8, 32, 128, 512, 0};
    struct bench_options o = bench_options(argc, argv);
    struct roof_read read = {.data = bench_pages(READ_BYTES), .bytes = READ_BYTES, .threads = o.threads};
    uint64_t features = cpu_features(NULL);
    bench_header();
    for (const struct panel_kernel *const *list = panel_kernels(); *list; list++) {
        const struct panel_kernel *kernel = *list;
        if (!is_wanted(kernel, o.filter) || (kernel->needs & ~features)) continue;
        if (kernel->usable && !kernel->usable()) continue;
        bench_shape(kernel, 16384, 4096, decode, &read);
        bench_shape(kernel, 2048, 2048, prefill, &read);
        bench_shape(kernel, 768, 2048, prefill, &read);
    }
    return 0;
}
