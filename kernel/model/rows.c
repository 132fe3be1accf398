/* Owns how rows are gathered from what files hold; see the header for the encodings. "Stored" rows are the tensor's,
 * counted from row 0 of the source. */
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
    LINE = 64,       /* bytes of a line of the cache */
    AHEAD = 16,      /* transposed: stored rows that are fetched before they are needed */
    STRIP = 256,     /* transposed: rows that are gathered in one walk over the stored rows */
};

static int tiles(int n) { return (n + TILE - 1) / TILE; }

/* ---- orders ------------------------------------------------------------------------------------------------------ */

int source_row(const struct row_order *o, int row)
{
    switch (o->kind) {
    case ORDER_STORED: break;
    case ORDER_PAIRS: {
        const int at = row % o->unit - o->skip, half = o->part / 2;
        if (at < 0 || at >= o->part) return row;
        return row - at + (at < half ? 2 * at : 2 * (at - half) + 1);
    }
    case ORDER_STRIDED: return row / o->part * o->unit + o->skip + row % o->part;
    case ORDER_GROUPED: {
        const int keys = o->n_groups * o->skip;
        if (row < keys) return row / o->skip * o->unit + row % o->skip;
        if (row < 2 * keys) return (row - keys) / o->skip * o->unit + o->skip + row % o->skip;
        row -= 2 * keys;
        return row / o->part * o->unit + 2 * o->skip + row % o->part;
    }
    case ORDER_TILED: {
        const int head = (row - o->skip) / o->part, at = (row - o->skip) % o->part;
        if (row < o->skip) return row;
        return o->skip + head % o->n_groups * o->unit + head / o->n_groups * o->part + at;
    }
    }
    return row;
}

int paired_row(const struct row_order *o, int row)
{
    const int at = row % o->unit - o->skip;
    if (at < 0 || at >= o->part) return row;
    return row - at + at % 2 * (o->part / 2) + at / 2;
}

/* From the first to the last stored row that belongs to rows [0, n). */
static int stored_span(const struct row_source *s)
{
    const struct row_order *o = &s->order;
    if (s->transposed) return s->k;
    if (o->kind == ORDER_GROUPED) return o->n_groups * o->unit;
    return o->kind == ORDER_STRIDED ? source_row(o, s->n - 1) + 1 : s->n;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* Bytes of a stored row, without scales. */
static size_t stored_bytes(const struct row_source *s)
{
    const size_t elements = (size_t)(s->transposed ? s->transposed : s->k);
    switch (s->encoding) {
    case ROWS_FP8_BLOCKS: return elements;
    case ROWS_MXFP4_PAIRS: return elements / 2;
    default: return blocks_bytes(s->view->dtype, elements);
    }
}

static int stored_tiles(const struct row_source *s) { return tiles(s->transposed ? s->transposed : s->k); }

static size_t scale_bytes(const struct row_source *s)
{
    switch (s->encoding) {
    case ROWS_FP8_BLOCKS:
        return (size_t)tiles(s->tile_row + stored_span(s)) * (size_t)stored_tiles(s) *
               dtype_info(s->scales->dtype)->bytes_per_block;
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

size_t rows_file_bytes(const struct row_source *s)
{
    if (!s->transposed) return (size_t)s->n * stored_bytes(s) + scale_bytes(s);
    return (size_t)s->k * (stored_bytes(s) / (size_t)s->transposed * (size_t)s->n) + scale_bytes(s);
}

size_t rows_scratch_bytes(const struct row_source *s, int n_rows)
{
    return rows_row_bytes(s) * (size_t)(s->transposed ? n_rows : 1);
}

bool rows_direct(const struct row_source *s)
{
    return s->encoding == ROWS_PLAIN && s->order.kind == ORDER_STORED && s->columns.kind == ORDER_STORED &&
           !s->transposed && s->value == VALUE_STORED;
}

/* ---- parts of a stored row --------------------------------------------------------------------------------------- */

static float tile_scale(const struct row_source *s, size_t i)
{
    const size_t bytes = dtype_info(s->scales->dtype)->bytes_per_block;
    float scale;
    quant_decode(s->scales->dtype, &scale, s->scale_data + i * bytes, 1);
    return scale;
}

/* Elements [column, column + n) of a stored row of FP8, which share a tile. */
static struct block_f8_b128 fp8_block(const struct row_source *s, int row, int column, int n)
{
    const size_t tile = (size_t)((s->tile_row + row) / TILE) * (size_t)stored_tiles(s) + (size_t)(column / TILE);
    struct block_f8_b128 block = {.scale = tile_scale(s, tile)};
    memcpy(block.q, s->data + (size_t)row * stored_bytes(s) + column, (size_t)n);
    return block;
}

/* y [n] = elements [column, column + n) of a stored row; whole blocks of block types. */
static void read_elements(const struct row_source *s, float *y, int row, int column, int n)
{
    if (s->encoding == ROWS_PLAIN) {
        const enum dtype type = s->view->dtype;
        const unsigned char *from = s->data + (size_t)row * stored_bytes(s);
        quant_decode(type, y, from + blocks_bytes(type, (size_t)column), (size_t)n);
        return;
    }
    for (int end = column + n, count; column < end; column += count, y += count) {
        const int tile_end = column / TILE * TILE + TILE;
        float values[TILE];
        count = (tile_end < end ? tile_end : end) - column;
        const struct block_f8_b128 block = fp8_block(s, row, column, count);
        quant_decode(DTYPE_F8_B128, values, &block, TILE);
        memcpy(y, values, (size_t)count * sizeof *y);
    }
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static void read_fp8(const struct row_source *s, unsigned char *dst, int row)
{
    for (int at = 0; at < s->k; at += TILE, dst += sizeof(struct block_f8_b128)) {
        const struct block_f8_b128 block =
            fp8_block(s, row, source_row(&s->columns, at), s->k - at < TILE ? s->k - at : TILE);
        memcpy(dst, &block, sizeof block);
    }
}

/* Bytes i of x to bytes 2i of the result, zeros between. */
static uint64_t spread_bytes(uint32_t x)
{
    uint64_t wide = x;
    wide = (wide | wide << 16) & UINT64_C(0x0000ffff0000ffff);
    return (wide | wide << 8) & UINT64_C(0x00ff00ff00ff00ff);
}

/* File: byte i holds elements 2i, 2i + 1 in its low and high half. Block: byte j holds elements j, j + 16.
 *
 *     file    0|1   2|3   4|5  ...  14|15   16|17   18|19  ...  30|31
 *     block   0|16  1|17  2|18 ...   7|23    8|24    9|25  ...  15|31
 *
 * Eight bytes at a time: `even` has bytes 0, 2, 4 ... of the block, `odd` the others. */
static void read_mxfp4(const struct row_source *s, unsigned char *dst, int row)
{
    const uint64_t lows = UINT64_C(0x0f0f0f0f0f0f0f0f);
    const int n_blocks = s->k / MX_BLOCK;
    const unsigned char *pairs = s->data + (size_t)row * stored_bytes(s);
    const unsigned char *scales = s->scale_data + (size_t)row * (size_t)n_blocks;
    for (int b = 0; b < n_blocks; b++, pairs += MX_NIBBLES, dst += sizeof(struct block_mxfp4)) {
        struct block_mxfp4 block = {.e = scales[b]};
        uint64_t first, second;
        memcpy(&first, pairs, sizeof first);
        memcpy(&second, pairs + sizeof first, sizeof second);
        const uint64_t even = (first & lows) | (second & lows) << 4, odd = (first >> 4 & lows) | (second & ~lows);
        for (int half = 0; half < 2; half++) {
            const uint64_t bytes =
                spread_bytes((uint32_t)(even >> 32 * half)) | spread_bytes((uint32_t)(odd >> 32 * half)) << 8;
            memcpy(block.q + 8 * half, &bytes, sizeof bytes);
        }
        memcpy(dst, &block, sizeof block);
    }
}

/* Columns in another order: head by head, as bytes where the type stays. */
static void read_columns(const struct row_source *s, unsigned char *dst, int row)
{
    const int part = s->columns.part;
    const unsigned char *from = s->data + (size_t)row * stored_bytes(s);
    const size_t bytes = blocks_bytes(s->dtype, (size_t)part);
    for (int at = 0; at < s->k; at += part, dst += bytes) {
        const int column = source_row(&s->columns, at);
        if (s->encoding == ROWS_PLAIN)
            memcpy(dst, from + blocks_bytes(s->dtype, (size_t)column), bytes);
        else
            read_elements(s, (float *)(void *)dst, row, column, part);
    }
}

static void read_value(const struct row_source *s, unsigned char *dst, int row)
{
    float x;
    read_elements(s, &x, row, 0, 1);
    if (s->value == VALUE_ADD_ONE) x = 1 + x;
    if (s->value == VALUE_NEGATIVE_EXP) x = (float)-exp((double)x);
    memcpy(dst, &x, sizeof x);
}

/* Element `column` of rows [row0, row1), from one stored row to one column of dst. */
static void scatter(unsigned char *dst, size_t row_bytes, const unsigned char *from, size_t step, size_t size, int n)
{
    if (size == sizeof(uint16_t))
        for (int i = 0; i < n; i++) memcpy(dst + (size_t)i * row_bytes, from + (size_t)i * step, sizeof(uint16_t));
    else
        for (int i = 0; i < n; i++) memcpy(dst + (size_t)i * row_bytes, from + (size_t)i * step, sizeof(uint32_t));
}

static void read_transposed(const struct row_source *s, unsigned char *dst, int row0, int row1)
{
    const size_t row_bytes = rows_row_bytes(s), size = dtype_info(s->dtype)->bytes_per_block;
    const size_t stored = stored_bytes(s);
    const bool decodes = s->encoding != ROWS_PLAIN || s->view->dtype != s->dtype;
    const int block = s->encoding == ROWS_PLAIN ? dtype_info(s->view->dtype)->elements_per_block : 1;
    const int step = s->order.kind == ORDER_STRIDED ? s->order.unit : 1;
    float values[2 * STRIP + 2 * DTYPE_MAX_BLOCK_ELEMENTS];
    for (int row = row0, n; row < row1; row += n, dst += (size_t)n * row_bytes) {
        n = row1 - row < STRIP ? row1 - row : STRIP;
        const int first = source_row(&s->order, row), last = source_row(&s->order, row + n - 1);
        const int begin = first / block * block, end = (last / block + 1) * block;
        const size_t span = (size_t)(last + 1 - first) * size;
        for (int j = 0; j < s->k; j++) {
            const unsigned char *from = s->data + (size_t)j * stored + (size_t)first * size;
            if (!decodes && j + AHEAD < s->k) /* every stored row is on another page, where nothing is prefetched */
                for (size_t at = 0; at < span; at += LINE) __builtin_prefetch(from + AHEAD * stored + at);
            if (decodes) {
                read_elements(s, values, j, begin, end - begin);
                from = (const unsigned char *)(values + first - begin);
            }
            scatter(dst + (size_t)j * size, row_bytes, from, (size_t)step * size, size, n);
        }
    }
}

void rows_read(const struct row_source *s, void *dst, int row0, int row1)
{
    const size_t row_bytes = rows_row_bytes(s);
    const bool by_head = s->columns.kind != ORDER_STORED && s->dtype != DTYPE_F8_B128;
    unsigned char *to = dst;
    if (s->transposed) {
        read_transposed(s, to, row0, row1);
        return;
    }
    for (int row = row0; row < row1; row++, to += row_bytes) {
        const int at = source_row(&s->order, row);
        if (s->value != VALUE_STORED)
            read_value(s, to, at);
        else if (by_head)
            read_columns(s, to, at);
        else if (s->encoding == ROWS_FP8_BLOCKS)
            read_fp8(s, to, at);
        else if (s->encoding == ROWS_MXFP4_PAIRS)
            read_mxfp4(s, to, at);
        else
            memcpy(to, s->data + (size_t)at * row_bytes, row_bytes);
    }
}

/* y [k] = a row as rows_read gives it. */
static void decode_row(const struct row_source *s, float *y, const unsigned char *blocks)
{
    const size_t elements = (size_t)dtype_info(s->dtype)->elements_per_block, k = (size_t)s->k;
    const size_t whole = k / elements * elements;
    quant_decode(s->dtype, y, blocks, whole);
    if (whole == k) return;
    float last[DTYPE_MAX_BLOCK_ELEMENTS];
    quant_decode(s->dtype, last, blocks + blocks_bytes(s->dtype, whole), elements);
    memcpy(y + whole, last, (k - whole) * sizeof *y);
}

void rows_read_float(const struct row_source *s, float *y, int row, void *scratch)
{
    const unsigned char *blocks = scratch;
    if (rows_direct(s))
        blocks = s->data + (size_t)row * rows_row_bytes(s);
    else
        rows_read(s, scratch, row, row + 1);
    decode_row(s, y, blocks);
}

void rows_read_floats(const struct row_source *s, float *y, int row0, int row1, void *scratch)
{
    const size_t k = (size_t)s->k, row_bytes = rows_row_bytes(s);
    if (s->transposed) rows_read(s, scratch, row0, row1);
    for (int row = row0; row < row1; row++, y += k)
        if (s->transposed)
            decode_row(s, y, (const unsigned char *)scratch + (size_t)(row - row0) * row_bytes);
        else
            rows_read_float(s, y, row, scratch);
}

/* ---- pages, messages --------------------------------------------------------------------------------------------- */

typedef void visit_range(const void *p, size_t n);

static void visit_stored(const struct row_source *s, int begin, int end, visit_range *visit)
{
    const size_t stored = stored_bytes(s);
    visit(s->data + (size_t)begin * stored, (size_t)(end - begin) * stored);
}

/* The parts of the file that hold rows [row0, row1), without scales. */
static void visit_rows(const struct row_source *s, int row0, int row1, visit_range *visit)
{
    const struct row_order *o = &s->order;
    if (o->kind == ORDER_STORED || o->kind == ORDER_PAIRS) {
        visit_stored(s, row0, row1, visit);
    } else if (o->kind == ORDER_STRIDED) { /* what lies between is read by another part, or has been */
        visit_stored(s, source_row(o, row0), source_row(o, row1 - 1) + 1, visit);
    } else {
        for (int row = row0, end; row < row1; row = end) {
            const int first = source_row(o, row);
            for (end = row + 1; end < row1 && source_row(o, end) == first + end - row;) end++;
            visit_stored(s, first, first + end - row, visit);
        }
    }
}

void rows_prefetch(const struct row_source *s, int row0, int row1)
{
    if (row0 == 0 && s->scales) memory_prefetch_range(s->scale_data, scale_bytes(s));
    if (!s->transposed)
        visit_rows(s, row0, row1, memory_prefetch_range);
    else if (row0 == 0)
        visit_stored(s, 0, s->k, memory_prefetch_range);
}

void rows_release(const struct row_source *s, int row0, int row1)
{
    if (row1 == s->n && s->scales) memory_release_range(s->scale_data, scale_bytes(s));
    if (!s->transposed)
        visit_rows(s, row0, row1, memory_release_range);
    else if (row1 == s->n)
        visit_stored(s, 0, s->k, memory_release_range);
}

uint64_t rows_element(const struct row_source *s, int row, int column)
{
    const size_t first = (size_t)(s->data - s->view->data) / stored_bytes(s);
    const int at = source_row(&s->order, row), along = source_row(&s->columns, column);
    if (s->transposed) return (uint64_t)(first + (size_t)column) * (uint64_t)s->transposed + (uint64_t)at;
    return (uint64_t)(first + (size_t)at) * (uint64_t)s->k + (uint64_t)along;
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
