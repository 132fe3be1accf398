/* Weight products over vec16 for matrices that stay in the blocks of their files (layouts <format>_rows, panel.h),
 * written once for all formats: decode panels of 16 rows, MATMUL_K_BLOCK columns at a time, into the column order of
 * f32_r16, and run that layout's tiles over them. The floats and the order of their sums are those of the scalar
 * kernel, so the bits are.
 *
 * A file of an instruction set includes this after matmul_tmpl.h for f32_r16; it makes kernel_<format>_rows_f32_<isa>
 * for every format of quant/formats.inc.
 *
 *     file's rows, 16 of a panel      rows [16][elements]        columns [MATMUL_K_BLOCK][16]
 *     block block block ...    ---->  one block of each   ---->  one column per input, beside those of the
 *     block block block ...  decode   row as floats    transpose blocks before
 *
 * A decoded panel is used for all tokens of the call, so they share the work of decoding; with one token it is most of
 * the work. The scratch holds the columns of BLOCK_PANELS panels and the rows: little enough for an L2 cache of 256 KiB
 * beside the activations of a tile. */
#ifndef OPS_TMPL_BLOCKS_H
#define OPS_TMPL_BLOCKS_H

#include "quant/decode.h"

enum {
    BLOCK_PANELS = 2,     /* decoded together: enough chains of sums for one token; 64 KiB of columns */
    ROW_GAP = PANEL_ROWS, /* floats between decoded rows: else all rows of long blocks meet in few sets of L1 */
};

/* rows [16][elements + ROW_GAP] = one block of each of 16 rows that are row_bytes apart. */
typedef void decode_blocks_function(float *rows, const unsigned char *blocks, ptrdiff_t row_bytes);

/* columns [n rounded up to whole blocks][16]: decodes the blocks of a panel. `next`: the blocks that will be wanted
 * after these, fetched meanwhile. rows: room for one decoded block per row. */
static void decode_panel(float *columns, const unsigned char *blocks, ptrdiff_t row_bytes, int n,
                         const unsigned char *next, float *rows, int elements, ptrdiff_t bytes,
                         decode_blocks_function *decode)
{
    enum { LINE = 64 };
    for (int i = 0; i < n; i += elements, blocks += bytes, next += bytes) {
        for (int r = 0; r < PANEL_ROWS; r++)
            for (ptrdiff_t line = 0; line < bytes; line += LINE) __builtin_prefetch(next + r * row_bytes + line, 0, 2);
        decode(rows, blocks, row_bytes);
        for (int c = 0; c < elements; c += PANEL_ROWS, columns += PANEL_ROWS * PANEL_ROWS)
            vec16_transpose(columns, rows + c, elements + ROW_GAP);
    }
}

static size_t blocks_column_floats(int k)
{
    size_t columns = k < MATMUL_K_BLOCK ? (size_t)k + DTYPE_MAX_BLOCK_ELEMENTS : MATMUL_K_BLOCK;
    return columns * PANEL_ROWS;
}

static size_t blocks_scratch_bytes(int k)
{
    size_t row_floats = PANEL_ROWS * (DTYPE_MAX_BLOCK_ELEMENTS + ROW_GAP);
    return (BLOCK_PANELS * blocks_column_floats(k) + row_floats) * sizeof(float);
}

static void blocks_run(float *y, ptrdiff_t ldy, const unsigned char *w, const float *x, int row0, int row1, int m,
                       int k, float *scratch, int elements, ptrdiff_t bytes, decode_blocks_function *decode)
{
    ASSUME(row0 >= 0 && row0 % PANEL_ROWS == 0 && row1 % PANEL_ROWS == 0 && m >= 1 && k >= 1);
    const int widest = token_tile_width(0, m, MATMUL_MAX_TOKENS);
    const ptrdiff_t row_bytes = (k + elements - 1) / elements * bytes;
    const ptrdiff_t panel_floats = (ptrdiff_t)blocks_column_floats(k);
    float *rows = scratch + BLOCK_PANELS * panel_floats;
    for (int k0 = 0, n; k0 < k; k0 += n) {
        n = k - k0 > MATMUL_K_BLOCK ? MATMUL_K_BLOCK : k - k0;
        for (int row = row0, n_p; row < row1; row += n_p * PANEL_ROWS) {
            n_p = row1 - row >= BLOCK_PANELS * PANEL_ROWS && f32_r16_tiles[widest][BLOCK_PANELS] ? BLOCK_PANELS : 1;
            for (int p = 0; p < n_p; p++) {
                const ptrdiff_t first = row + p * PANEL_ROWS;
                const unsigned char *blocks = w + first * row_bytes + k0 / elements * bytes;
                const unsigned char *next = first + PANEL_ROWS < row1
                                                ? blocks + PANEL_ROWS * row_bytes
                                                : w + row0 * row_bytes + (k0 + (k0 + n < k ? n : 0)) / elements * bytes;
                decode_panel(scratch + p * panel_floats, blocks, row_bytes, n, next, rows, elements, bytes, decode);
            }
            for (int t = 0, n_t; t < m; t += n_t) {
                n_t = token_tile_width(t, m, MATMUL_MAX_TOKENS);
                f32_r16_tiles[n_t][n_p](y + t * ldy + row, ldy, (const unsigned char *)scratch,
                                        panel_floats * (ptrdiff_t)sizeof(float),
                                        x + (ptrdiff_t)t * k + (ptrdiff_t)k0 * n_t, n, k0 > 0,
                                        (const unsigned char *)scratch, 0);
            }
        }
    }
}

#define FORMAT(id, type, elements)                                                                                 \
    static void id##_decode(float *rows, const unsigned char *blocks, ptrdiff_t row_bytes)                         \
    {                                                                                                              \
        for (int r = 0; r < PANEL_ROWS; r++, rows += (elements) + ROW_GAP, blocks += row_bytes)                    \
            decode_##id(rows, blocks);                                                                             \
    }                                                                                                              \
    static void id##_run(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k,  \
                         void *scratch)                                                                            \
    {                                                                                                              \
        blocks_run(y, ldy, w, x, row0, row1, m, k, scratch, elements, sizeof(struct block_##id), id##_decode);     \
    }                                                                                                              \
    const struct panel_kernel JOIN(kernel_##id##_rows_f32_, MATMUL_ISA) = {                                        \
        .name = #id "_rows_f32_" STRING(MATMUL_ISA),                                                               \
        .needs = MATMUL_NEEDS,                                                                                     \
        .layout = &layout_##id##_rows,                                                                             \
        .m_min = 1,                                                                                                \
        .m_tile = MATMUL_MAX_TOKENS,                                                                               \
        .exact = true,                                                                                             \
        .x_bytes = matmul_x_bytes,                                                                                 \
        .pack_x = matmul_pack_x,                                                                                   \
        .scratch_bytes = blocks_scratch_bytes,                                                                     \
        .run = id##_run,                                                                                           \
    };
#include "quant/formats.inc"

#endif
