/* Blocks of quantised weights with any bits in them: decoded, packed in every layout, rows taken back, and multiplied.
 *
 *     byte 0: the type   1: the layout   2: the kernel   3: number of rows of activations, and more columns
 *     the others, again and again: the blocks; and from the end backwards: the activations
 *
 * Any block is a set of numbers, so nothing may be refused: scales may be infinite and results NaN. What a kernel
 * promises (ops/panel.h, `exact`) must hold for them too: the bits of the scalar kernel. All buffers are heap blocks of
 * exactly the size that the kernels are promised. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "fuzz.h"
#include "ops/panel.h"
#include "quant/codec.h"
#include "quant/levels.h"

enum { N = 16, MAX_M = 9, READ_SLACK = 64, ALIGNMENT = 64, MAX_K = 512 };

static uint64_t features;

static void *block_of(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, ALIGNMENT, bytes ? bytes : 1)) p = NULL;
    return fuzz_need(p);
}

static bool same(float a, float b) { return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); }

static bool is_usable(const struct panel_kernel *k)
{
    return (k->needs & ~features) == 0 && (!k->usable || k->usable());
}

/* The which-th of the layouts of this type whose panels N rows fill (OpenBLAS's has larger ones), and of the kernels of
 * this layout; NULL when there are none. */
static const struct panel_layout *pick_layout(enum dtype type, unsigned which)
{
    const struct panel_layout *found[16];
    unsigned n = 0;
    for (const struct panel_layout *const *l = panel_layouts(); *l && n < 16; l++)
        if ((*l)->weight == type && N % (*l)->nr == 0) found[n++] = *l;
    return n ? found[which % n] : NULL;
}

static const struct panel_kernel *pick_kernel(const struct panel_layout *layout, unsigned which)
{
    const struct panel_kernel *found[16];
    unsigned n = 0;
    for (const struct panel_kernel *const *k = panel_kernels(); *k && n < 16; k++)
        if ((*k)->layout == layout && is_usable(*k)) found[n++] = *k;
    return n ? found[which % n] : NULL;
}

/* "q4_0_r16_q8_avx2" -> "q4_0_r16_q8_scalar"; NULL: there is none. */
static const struct panel_kernel *scalar_of(const struct panel_kernel *kernel)
{
    char name[80];
    size_t layout = strlen(kernel->layout->name) + 1, activation = strcspn(kernel->name + layout, "_");
    snprintf(name, sizeof name, "%.*s_scalar", (int)(layout + activation), kernel->name);
    for (const struct panel_kernel *const *k = panel_kernels(); *k; k++)
        if (strcmp((*k)->name, name) == 0) return *k;
    return NULL;
}

static float *multiply(const struct panel_kernel *kernel, const void *packed, const float *x, int m, int k)
{
    size_t y_n = (size_t)m * N;
    void *px = block_of(kernel->x_bytes(m, k) + READ_SLACK), *scratch = block_of(kernel->scratch_bytes(k));
    float *y = block_of(y_n * sizeof *y);
    memset(px, 0xa5, kernel->x_bytes(m, k) + READ_SLACK);
    kernel->pack_x(px, x, k, NULL, m, k, 0, k);
    kernel->run(y, N, packed, px, 0, N, m, k, scratch);
    free(scratch);
    free(px);
    return y;
}

static void check_kernel(const struct panel_kernel *kernel, const void *packed, const float *x, int m, int k)
{
    float *y = multiply(kernel, packed, x, m, k);
    const struct panel_kernel *scalar = kernel->exact ? scalar_of(kernel) : NULL;
    if (scalar && scalar != kernel) {
        float *want = multiply(scalar, packed, x, m, k);
        for (int i = 0; i < m * N; i++)
            if (!same(y[i], want[i]))
                fuzz_broken("%s: m %d, k %d, element %d: %a, but scalar %a", kernel->name, m, k, i, (double)y[i],
                            (double)want[i]);
        free(want);
    }
    free(y);
}

static void check_levels(enum dtype type, const unsigned char *block, const float *y)
{
    const struct levels_info info = quant_levels_info(type);
    struct block_levels b;
    if (!info.columns) return;
    quant_levels(type, &b, block);
    for (int i = 0; i < dtype_info(type)->elements_per_block; i++) {
        float value = b.scale[i / info.columns] * (float)b.level[i];
        if (info.has_offset) value += b.offset[i / info.columns];
        if (!same(value, y[i]))
            fuzz_broken("%s: levels say %a, decoding %a", dtype_info(type)->name, (double)value, (double)y[i]);
    }
}

static void try_layout(const struct panel_layout *layout, const unsigned char *file, size_t row_bytes,
                       const float *rows, const float *x, int m, int k, unsigned which)
{
    void *packed = block_of(layout->packed_bytes(N, k) + (layout->file_order ? 0 : READ_SLACK));
    float *row = fuzz_need(malloc((size_t)k * sizeof *row));
    layout->pack(packed, file, row_bytes, 0, N, N, k);
    for (int r = 0; r < N; r++) {
        layout->get_row(row, packed, r, k);
        for (int i = 0; i < k; i++)
            if (!same(row[i], rows[(size_t)r * (size_t)k + (size_t)i]))
                fuzz_broken("%s: k %d, row %d, column %d: %a, decoded %a", layout->name, k, r, i, (double)row[i],
                            (double)rows[(size_t)r * (size_t)k + (size_t)i]);
    }
    free(row);
    const struct panel_kernel *kernel = pick_kernel(layout, which);
    if (kernel) check_kernel(kernel, packed, x, m, k);
    free(packed);
}

static enum dtype pick_type(unsigned which)
{
    enum dtype found[N_DTYPES];
    unsigned n = 0;
    for (int t = 0; t < N_DTYPES; t++)
        if (dtype_info((enum dtype)t)->is_weight) found[n++] = (enum dtype)t;
    return found[which % n];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 5) return 0;
    if (!features) features = cpu_features(NULL) | (uint64_t)1 << 63; /* asked once */
    const enum dtype type = pick_type(data[0]);
    const struct dtype_info *info = dtype_info(type);
    const struct panel_layout *layout = pick_layout(type, data[1]);
    const int block = info->elements_per_block > 1 ? info->elements_per_block : 16;
    const int m = 1 + data[3] % MAX_M, k = block * (1 + data[3] / 32 % (block == 256 ? 2 : 6));
    const unsigned which = data[2];
    data += 4;
    n -= 4;
    const size_t row_bytes = blocks_bytes(type, (size_t)k), bytes = row_bytes * N;
    unsigned char *file = fuzz_need(malloc(bytes));
    float *rows = fuzz_need(malloc((size_t)N * (size_t)k * sizeof *rows));
    float *x = fuzz_need(malloc((size_t)m * (size_t)k * sizeof *x));
    for (size_t at = 0; at < bytes; at += n) memcpy(file + at, data, n < bytes - at ? n : bytes - at);
    for (size_t i = 0; i < (size_t)m * (size_t)k * sizeof *x; i++) ((unsigned char *)x)[i] = data[n - 1 - i % n];
    for (int i = 0; i < m * k; i += 3) x[i] = (float)data[(size_t)i % n] - 128.0f; /* else nearly all sums are NaN */

    for (int r = 0; r < N; r++)
        quant_decode(type, rows + (size_t)r * (size_t)k, file + (size_t)r * row_bytes, (size_t)k);
    if (info->elements_per_block > 1) check_levels(type, file, rows);
    if (layout) try_layout(layout, file, row_bytes, rows, x, m, k, which);
    free(x);
    free(rows);
    free(file);
    return 0;
}
