/* The packed layouts: size, packing, and reading one row back. What they look like is drawn in panel.h; nothing here
 * depends on an instruction set, since packing is bound by memory once it moves whole lines.
 *
 * Sizes of a matrix fit in size_t because the caller has already found room for the file's matrix. */
#include <string.h>

#include "base/float16.h"
#include "ops/assume.h"
#include "ops/variants.h"
#include "quant/codec.h"

enum { PANEL_ROWS = 16 };

static size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/* dst [n_columns, 16] = transpose of 16 source rows of `row_bytes` bytes each, cut into columns of `size` bytes; rows
 * from n_rows on and the bytes beyond row_bytes are zero. Works on square tiles of 16 columns: reads up to 64 bytes of
 * each row, writes up to 1 KiB in order. */
static inline void transpose_panel(unsigned char *dst, const unsigned char *src, size_t src_row_bytes, int n_rows,
                                   size_t row_bytes, size_t size)
{
    for (size_t at = 0; at < row_bytes; at += PANEL_ROWS * size) {
        unsigned char tile[PANEL_ROWS][PANEL_ROWS * sizeof(uint32_t)];
        size_t part = row_bytes - at < PANEL_ROWS * size ? row_bytes - at : PANEL_ROWS * size;
        memset(tile, 0, sizeof tile);
        for (int r = 0; r < n_rows; r++) {
            if (part == PANEL_ROWS * size) {
                memcpy(tile[r], src + (size_t)r * src_row_bytes + at, PANEL_ROWS * size); /* constant size: fast */
            } else {
                memcpy(tile[r], src + (size_t)r * src_row_bytes + at, part);
            }
        }
        for (size_t column = 0; column * size < part; column++) {
            for (int r = 0; r < PANEL_ROWS; r++) memcpy(dst + (size_t)r * size, tile[r] + column * size, size);
            dst += PANEL_ROWS * size;
        }
    }
}

/* Packs the panels of rows [row0, row1): columns of `size` bytes, rows of row_bytes, packed panels of panel_bytes. */
static inline void pack_panels(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n,
                               size_t row_bytes, size_t panel_bytes, size_t size)
{
    ASSUME(row0 >= 0 && row0 % PANEL_ROWS == 0 && row1 <= n && (row1 % PANEL_ROWS == 0 || row1 == n));
    for (int row = row0; row < row1; row += PANEL_ROWS) {
        int n_rows = row1 - row < PANEL_ROWS ? row1 - row : PANEL_ROWS;
        transpose_panel((unsigned char *)dst + (size_t)(row / PANEL_ROWS) * panel_bytes,
                        (const unsigned char *)src + (size_t)(row - row0) * src_row_bytes, src_row_bytes, n_rows,
                        row_bytes, size);
    }
}

/* ---- f32_r16: column = one float of 16 rows ---- */

static size_t f32_r16_packed_bytes(int n, int k) { return round_up((size_t)n, PANEL_ROWS) * (size_t)k * sizeof(float); }

static void f32_r16_pack(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n, int k)
{
    size_t row_bytes = (size_t)k * sizeof(float);
    pack_panels(dst, src, src_row_bytes, row0, row1, n, row_bytes, PANEL_ROWS * row_bytes, sizeof(float));
}

static void f32_r16_get_row(float *y, const void *w, int row, int k)
{
    const float *column = (const float *)w + (size_t)(row / PANEL_ROWS) * PANEL_ROWS * (size_t)k + row % PANEL_ROWS;
    for (int i = 0; i < k; i++, column += PANEL_ROWS) y[i] = *column;
}

const struct panel_layout layout_f32_r16 = {
    .name = "f32_r16", .weight = DTYPE_F32, .nr = PANEL_ROWS, .kr = 1,
    .packed_bytes = f32_r16_packed_bytes, .pack = f32_r16_pack, .get_row = f32_r16_get_row,
};

/* ---- f16_r16: column = one half of 16 rows; the processors convert 16 consecutive halves to 16 floats ---- */

static size_t f16_r16_packed_bytes(int n, int k)
{
    return round_up((size_t)n, PANEL_ROWS) * (size_t)k * sizeof(uint16_t);
}

static void f16_r16_pack(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n, int k)
{
    size_t row_bytes = (size_t)k * sizeof(uint16_t);
    pack_panels(dst, src, src_row_bytes, row0, row1, n, row_bytes, PANEL_ROWS * row_bytes, sizeof(uint16_t));
}

static void f16_r16_get_row(float *y, const void *w, int row, int k)
{
    const uint16_t *column = (const uint16_t *)w + (size_t)(row / PANEL_ROWS) * PANEL_ROWS * (size_t)k +
                             row % PANEL_ROWS;
    for (int i = 0; i < k; i++, column += PANEL_ROWS) y[i] = fp16_to_float(*column);
}

const struct panel_layout layout_f16_r16 = {
    .name = "f16_r16", .weight = DTYPE_F16, .nr = PANEL_ROWS, .kr = 1,
    .packed_bytes = f16_r16_packed_bytes, .pack = f16_r16_pack, .get_row = f16_r16_get_row,
};

/* ---- bf16_r16k2: column = a pair of bfloat16 of 16 rows; a shift and a mask make vectors of floats of it ---- */

static size_t bf16_r16k2_packed_bytes(int n, int k)
{
    return round_up((size_t)n, PANEL_ROWS) * round_up((size_t)k, 2) * sizeof(uint16_t);
}

static void bf16_r16k2_pack(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n, int k)
{
    size_t panel_bytes = PANEL_ROWS * round_up((size_t)k, 2) * sizeof(uint16_t);
    pack_panels(dst, src, src_row_bytes, row0, row1, n, (size_t)k * sizeof(uint16_t), panel_bytes, sizeof(uint32_t));
}

static void bf16_r16k2_get_row(float *y, const void *w, int row, int k)
{
    const uint16_t *pair = (const uint16_t *)w + (size_t)(row / PANEL_ROWS) * PANEL_ROWS * round_up((size_t)k, 2) +
                           row % PANEL_ROWS * 2;
    for (int i = 0; i < k; i++) y[i] = bf16_to_float(pair[i / 2 * PANEL_ROWS * 2 + i % 2]);
}

const struct panel_layout layout_bf16_r16k2 = {
    .name = "bf16_r16k2", .weight = DTYPE_BF16, .nr = PANEL_ROWS, .kr = 1,
    .packed_bytes = bf16_r16k2_packed_bytes, .pack = bf16_r16k2_pack, .get_row = bf16_r16k2_get_row,
};

/* The same bytes, for processors that multiply pairs of bfloat16. */
const struct panel_layout layout_bf16_r16 = {
    .name = "bf16_r16", .weight = DTYPE_BF16, .nr = PANEL_ROWS, .kr = 1, .rounds_x = true,
    .packed_bytes = bf16_r16k2_packed_bytes, .pack = bf16_r16k2_pack, .get_row = bf16_r16k2_get_row,
};

/* ---- f32_rows: the file's own order, for OpenBLAS. 256 rows are the unit of work, so that the shape of each call,
 * and with it OpenBLAS's order of sums, does not depend on the number of threads. ---- */

enum { BLAS_ROWS = 256 };

static size_t f32_rows_packed_bytes(int n, int k) { return round_up((size_t)n, BLAS_ROWS) * (size_t)k * sizeof(float); }

static void f32_rows_pack(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n, int k)
{
    ASSUME(row0 >= 0 && row0 % BLAS_ROWS == 0 && row1 <= n && (row1 % BLAS_ROWS == 0 || row1 == n));
    size_t row_bytes = (size_t)k * sizeof(float);
    unsigned char *to = (unsigned char *)dst + (size_t)row0 * row_bytes;
    const unsigned char *from = src;
    for (int row = row0; row < row1; row++, to += row_bytes, from += src_row_bytes) memcpy(to, from, row_bytes);
    memset(to, 0, (round_up((size_t)row1, BLAS_ROWS) - (size_t)row1) * row_bytes);
}

static void f32_rows_get_row(float *y, const void *w, int row, int k)
{
    memcpy(y, (const float *)w + (size_t)row * (size_t)k, (size_t)k * sizeof(float));
}

const struct panel_layout layout_f32_rows = {
    .name = "f32_rows", .weight = DTYPE_F32, .nr = BLAS_ROWS, .kr = 1,
    .packed_bytes = f32_rows_packed_bytes, .pack = f32_rows_pack, .get_row = f32_rows_get_row,
};

/* ---- <format>_rows: blocks in the file's own order. Zero bytes are zeros in every format, so padding rows are
 * finite. ---- */

/* Elements of a row with its last block whole: only F8_B128 may end within one. */
static size_t whole_blocks(enum dtype format, int k)
{
    return round_up((size_t)k, (size_t)dtype_info(format)->elements_per_block);
}

static size_t block_rows_packed_bytes(enum dtype format, int n, int k)
{
    return round_up((size_t)n, PANEL_ROWS) * blocks_bytes(format, whole_blocks(format, k));
}

static void block_rows_pack(enum dtype format, void *dst, const void *src, size_t src_row_bytes, int row0, int row1,
                            int n, int k)
{
    ASSUME(row0 >= 0 && row0 % PANEL_ROWS == 0 && row1 <= n && (row1 % PANEL_ROWS == 0 || row1 == n));
    size_t row_bytes = blocks_bytes(format, whole_blocks(format, k));
    unsigned char *to = (unsigned char *)dst + (size_t)row0 * row_bytes;
    const unsigned char *from = src;
    for (int row = row0; row < row1; row++, to += row_bytes, from += src_row_bytes) memcpy(to, from, row_bytes);
    memset(to, 0, (round_up((size_t)row1, PANEL_ROWS) - (size_t)row1) * row_bytes);
}

static void block_rows_get_row(enum dtype format, float *y, const void *w, int row, int k)
{
    size_t elements = (size_t)dtype_info(format)->elements_per_block, whole = (size_t)k / elements * elements;
    const unsigned char *blocks = w;
    blocks += (size_t)row * blocks_bytes(format, whole_blocks(format, k));
    if (whole) quant_decode(format, y, blocks, whole);
    if (whole == (size_t)k) return;
    float last[DTYPE_MAX_BLOCK_ELEMENTS];
    quant_decode(format, last, blocks + blocks_bytes(format, whole), elements);
    memcpy(y + whole, last, ((size_t)k - whole) * sizeof(float));
}

/* The functions of layouts in file order. */
#define FILE_ORDER(id, type)                                                                                      \
    static size_t id##_packed_bytes(int n, int k) { return block_rows_packed_bytes(DTYPE_##type, n, k); }         \
    static void id##_pack(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n, int k)     \
    {                                                                                                             \
        block_rows_pack(DTYPE_##type, dst, src, src_row_bytes, row0, row1, n, k);                                 \
    }                                                                                                             \
    static void id##_get_row(float *y, const void *w, int row, int k)                                             \
    {                                                                                                             \
        block_rows_get_row(DTYPE_##type, y, w, row, k);                                                           \
    }

#define FORMAT(id, type, elements)                                                                                \
    FILE_ORDER(id, type)                                                                                          \
    const struct panel_layout layout_##id##_rows = {                                                              \
        .name = #id "_rows", .weight = DTYPE_##type, .nr = PANEL_ROWS, .file_order = true,                        \
        .kr = DTYPE_##type == DTYPE_F8_B128 ? 1 : (elements),                                                     \
        .packed_bytes = id##_packed_bytes, .pack = id##_pack, .get_row = id##_get_row,                            \
    };
#include "quant/formats.inc"

/* ---- <format>_file: the same bytes, for kernels that pack a panel at a time before they multiply ---- */

#define FILE_LAYOUT(id, type, elements, rounds)                                                                   \
    const struct panel_layout layout_##id##_file = {                                                              \
        .name = #id "_file", .weight = DTYPE_##type, .nr = PANEL_ROWS, .kr = (elements), .file_order = true,      \
        .rounds_x = (rounds),                                                                                     \
        .packed_bytes = id##_packed_bytes, .pack = id##_pack, .get_row = id##_get_row,                            \
    };

FILE_ORDER(f32, F32)
FILE_LAYOUT(f32, F32, 1, false)
FILE_ORDER(f16, F16)
FILE_LAYOUT(f16, F16, 1, false)
FILE_ORDER(bf16, BF16)
FILE_LAYOUT(bf16, BF16, 1, false)
#define R16(id, type, elements) FILE_LAYOUT(id, type, elements, true)
#include "ops/r16.inc"
