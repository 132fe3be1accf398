/* Floats to blocks, one thread. Without file names: the time of every type that can be written, plain and with
 * importance; gb_per_s counts the floats, 4 bytes each. With file names: blocks for
 * tools/reference/compare_quantisers.py, from files of raw floats [rows, COLUMNS] and [COLUMNS]; prints the seconds
 * that the processor took.
 *
 *     bench_quantise TYPE COLUMNS X OUT [IMPORTANCE] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/harness.h"
#include "quant/codec.h"
#include "tests/support/rng.h"

enum { N = 1 << 16 };

struct work {
    enum dtype type;
    const float *x, *importance;
    void *blocks;
};

static void encode(void *arg)
{
    const struct work *w = arg;
    quant_encode(w->type, w->blocks, w->x, N, w->importance);
}

/* The sum of four uniform numbers: bell-shaped, as weights are. */
static float bell(struct rng *r)
{
    return rng_float(r, -1, 1) + rng_float(r, -1, 1) + rng_float(r, -1, 1) + rng_float(r, -1, 1);
}

static int bench_all(struct bench_options o)
{
    float *x = bench_pages(N * sizeof *x), *importance = bench_pages(N * sizeof *importance);
    void *blocks = bench_pages(N * sizeof *x);
    struct rng rng = rng_seed(1);
    for (int i = 0; i < N; i++) {
        float f = bell(&rng);
        x[i] = bell(&rng);
        importance[i] = f * f;
    }
    bench_header();
    for (int t = 0; t < N_DTYPES; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);
        if (!info->can_encode || !strstr(info->name, o.filter)) continue;
        for (int weighted = 0; weighted <= (info->elements_per_block > 1); weighted++) {
            struct work w = {(enum dtype)t, x, weighted ? importance : NULL, blocks};
            bench_run((struct bench_case){.variant = info->name,
                                          .shape = weighted ? "65536 with importance" : "65536",
                                          .threads = 1,
                                          .bytes = N * sizeof *x,
                                          .body = encode,
                                          .arg = &w});
        }
    }
    return 0;
}

/* All floats of a file. */
static float *read_floats(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) return NULL;
    long bytes = ftell(file);
    float *x = bytes > 0 ? malloc((size_t)bytes) : NULL;
    rewind(file);
    *n = x ? fread(x, sizeof *x, (size_t)bytes / sizeof *x, file) : 0;
    fclose(file);
    return x;
}

static int encode_file(char **argv, const char *importance_path)
{
    enum dtype t;
    char *end;
    size_t columns = strtoul(argv[2], &end, 10), n = 0, n_importance = columns;
    float *x = read_floats(argv[3], &n), *importance = NULL;
    if (importance_path) importance = read_floats(importance_path, &n_importance);
    if (!dtype_from_word(argv[1], &t) || !dtype_info(t)->can_encode || *end || columns == 0 || !x || n % columns ||
        columns % (size_t)dtype_info(t)->elements_per_block || (importance_path && !importance) ||
        n_importance != columns) {
        fprintf(stderr, "bench_quantise: a type that can be written, whole blocks and rows are needed\n");
        return 1;
    }
    size_t bytes = blocks_bytes(t, n), row_bytes = blocks_bytes(t, columns);
    unsigned char *blocks = bench_pages(bytes);
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (size_t row = 0; row < n / columns; row++)
        quant_encode(t, blocks + row * row_bytes, x + row * columns, columns, importance);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    FILE *out = fopen(argv[4], "wb");
    if (!out || fwrite(blocks, 1, bytes, out) != bytes || fclose(out)) {
        perror(argv[4]);
        return 1;
    }
    printf("%.6f\n", (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9);
    free(x);
    free(importance);
    return 0;
}

int main(int argc, char **argv)
{
    if ((argc == 5 || argc == 6) && argv[1][0] != '-') return encode_file(argv, argc == 6 ? argv[5] : NULL);
    return bench_all(bench_options(argc, argv));
}
