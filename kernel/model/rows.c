/* Owns how rows are gathered from what files hold; see the header for the encodings. */
#include "model/rows.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "quant/blocks.h"
#include "quant/codec.h"

enum {
    TILE = 128,      /* FP8: one scale for so many rows and columns */
    MX_BLOCK = 32,   /* elements of a block of MXFP4, ... */
    MX_NIBBLES = 16, /* ... and bytes that hold them */
};

static int tiles(int n) { return (n + TILE - 1) / TILE; }

/* Bytes of a row in the tensor `view`, without scales. */
static size_t data_row_bytes(const struct row_source *s)
{
    switch (s->encoding) {
    case ROWS_FP8_BLOCKS: return (size_t)s->k;
    case ROWS_MXFP4_PAIRS: return (size_t)s->k / 2;
    default: return rows_row_bytes(s);
    }
}

static size_t scale_bytes(const struct row_source *s)
{
    switch (s->encoding) {
    case ROWS_FP8_BLOCKS:
        return (size_t)tiles(s->tile_row + s->n) * (size_t)tiles(s->k) * dtype_info(s->scales->dtype)->bytes_per_block;
    case ROWS_MXFP4_PAIRS: return (size_t)s->n * ((size_t)s->k / MX_BLOCK);
    default: return 0;
    }
}

size_t rows_row_bytes(const struct row_source *s)
{
    const struct dtype_info *type = dtype_info(s->dtype);
    size_t elements = (size_t)type->elements_per_block;
    return ((size_t)s->k + elements - 1) / elements * type->bytes_per_block;
}

size_t rows_file_bytes(const struct row_source *s) { return (size_t)s->n * data_row_bytes(s) + scale_bytes(s); }

bool rows_direct(const struct row_source *s) { return s->encoding == ROWS_PLAIN && s->head_dim == 0; }

/* Where the file has row `row` of the model. */
static int file_row(const struct row_source *s, int row)
{
    if (s->head_dim == 0) return row;
    int at = row % s->head_dim, half = s->head_dim / 2;
    return row - at + (at < half ? 2 * at : 2 * (at - half) + 1);
}

static float tile_scale(const struct row_source *s, size_t i)
{
    const size_t bytes = dtype_info(s->scales->dtype)->bytes_per_block;
    float scale;
    quant_decode(s->scales->dtype, &scale, s->scale_data + i * bytes, 1);
    return scale;
}

static void read_fp8(const struct row_source *s, unsigned char *dst, const unsigned char *codes, int row)
{
    const size_t first = (size_t)((s->tile_row + row) / TILE) * (size_t)tiles(s->k);
    for (int at = 0; at < s->k; at += TILE, dst += sizeof(struct block_f8_b128)) {
        struct block_f8_b128 block = {.scale = tile_scale(s, first + (size_t)(at / TILE))};
        memcpy(block.q, codes + at, (size_t)(s->k - at < TILE ? s->k - at : TILE));
        memcpy(dst, &block, sizeof block);
    }
}

/* File: byte i holds elements 2i, 2i + 1 in its low and high half. Block: byte j holds elements j, j + 16.
 *
 *     file    0|1   2|3   4|5  ...  14|15   16|17   18|19  ...  30|31
 *     block   0|16  1|17  2|18 ...   7|23    8|24    9|25  ...  15|31                                              */
static void read_mxfp4(const struct row_source *s, unsigned char *dst, const unsigned char *pairs, int row)
{
    const int n_blocks = s->k / MX_BLOCK;
    const unsigned char *scales = s->scale_data + (size_t)row * (size_t)n_blocks;
    for (int b = 0; b < n_blocks; b++, pairs += MX_NIBBLES, dst += sizeof(struct block_mxfp4)) {
        struct block_mxfp4 block = {.e = scales[b]};
        for (int j = 0; j < MX_NIBBLES; j++) {
            int low = pairs[j / 2] >> 4 * (j % 2) & 15, high = pairs[MX_NIBBLES / 2 + j / 2] >> 4 * (j % 2) & 15;
            block.q[j] = (uint8_t)(low | high << 4);
        }
        memcpy(dst, &block, sizeof block);
    }
}

void rows_read(const struct row_source *s, void *dst, int row0, int row1)
{
    const size_t row_bytes = rows_row_bytes(s), stored = data_row_bytes(s);
    unsigned char *to = dst;
    for (int row = row0; row < row1; row++, to += row_bytes) {
        const int at = file_row(s, row);
        const unsigned char *from = s->data + (size_t)at * stored;
        switch (s->encoding) {
        case ROWS_FP8_BLOCKS: read_fp8(s, to, from, at); break;
        case ROWS_MXFP4_PAIRS: read_mxfp4(s, to, from, at); break;
        default: memcpy(to, from, row_bytes); break;
        }
    }
}

void rows_read_float(const struct row_source *s, float *y, int row, void *scratch)
{
    const size_t elements = (size_t)dtype_info(s->dtype)->elements_per_block, k = (size_t)s->k;
    const size_t whole = k / elements * elements;
    const unsigned char *blocks = scratch;
    if (rows_direct(s))
        blocks = s->data + (size_t)row * rows_row_bytes(s);
    else
        rows_read(s, scratch, row, row + 1);
    quant_decode(s->dtype, y, blocks, whole);
    if (whole == k) return;
    float last[DTYPE_MAX_BLOCK_ELEMENTS];
    quant_decode(s->dtype, last, blocks + blocks_bytes(s->dtype, whole), elements);
    memcpy(y + whole, last, (k - whole) * sizeof *y);
}

void rows_release(const struct row_source *s, int row0, int row1)
{
    const size_t stored = data_row_bytes(s);
    memory_release_range(s->data + (size_t)row0 * stored, (size_t)(row1 - row0) * stored);
    if (row1 == s->n && s->scales) memory_release_range(s->scale_data, scale_bytes(s));
}

uint64_t rows_element(const struct row_source *s, int row, int column)
{
    const size_t stored = data_row_bytes(s);
    const size_t first = (size_t)(s->data - s->view->data) / stored;
    return (uint64_t)(first + (size_t)file_row(s, row)) * (uint64_t)s->k + (uint64_t)column;
}

sluice_status rows_check_scales(const struct row_source *s, struct failure *f)
{
    if (s->encoding != ROWS_FP8_BLOCKS) return SLUICE_OK;
    const size_t bytes = dtype_info(s->scales->dtype)->bytes_per_block, n = scale_bytes(s) / bytes;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(tile_scale(s, i)))
            return fail(f, SLUICE_FORMAT, "%s: tensor \"%s\": element %zu is not finite", s->scales->file,
                        s->scales->name, (size_t)(s->scale_data - s->scales->data) / bytes + i);
    return SLUICE_OK;
}
