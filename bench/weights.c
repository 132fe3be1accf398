#include "bench/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/float16.h"
#include "bench/harness.h"
#include "quant/codec.h"
#include "tests/support/rng.h"

/* A row [k] of the weight's type. Formats that nobody encodes are given random bytes. */
static void random_row(struct rng *rng, enum dtype type, unsigned char *to, float *row, int k)
{
    const struct dtype_info *info = dtype_info(type);
    rng_fill(rng, row, (size_t)k, -0.05f, 0.05f);
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

void *bench_matrix(const struct panel_layout *layout, int n, int k, size_t *bytes)
{
    const size_t row_bytes = blocks_bytes(layout->weight, (size_t)k);
    struct rng rng = rng_seed(1);
    float *row = malloc((size_t)k * sizeof *row);
    unsigned char *file_rows = malloc(row_bytes * (size_t)layout->nr);
    if (!row || !file_rows) {
        fprintf(stderr, "not enough memory\n");
        exit(4);
    }
    *bytes = layout->packed_bytes(n, k) + 64; /* kernels may read beyond the end */
    void *packed = bench_pages(*bytes);
    for (int i = 0; i < layout->nr; i++) random_row(&rng, layout->weight, file_rows + (size_t)i * row_bytes, row, k);
    for (int r = 0; r < n; r += layout->nr)
        layout->pack(packed, file_rows, row_bytes, r, r + layout->nr < n ? r + layout->nr : n, n, k);
    free(file_rows);
    free(row);
    return packed;
}
