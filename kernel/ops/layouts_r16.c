/* The layouts <format>_r16: blocks of 16 rows, field by field side by side, and the levels of some with their bits
 * brought together. panel.h draws them; here they are packed and read back. One piece of code for all formats, driven
 * by the lists below; it is always inlined with constant sizes, so that an element on its way is one load and one
 * store. */
#include <string.h>

#include "ops/assume.h"
#include "ops/r16.h"
#include "ops/r16_bits.h"
#include "ops/variants.h"
#include "quant/codec.h"

/* The fields of each format's struct, in the order that a unit has them: F(format, field, bytes of an element that is
 * interleaved, what its bytes are xored with). */
#define FIELDS_q4_0(F)   F(q4_0, d, 2, 0) F(q4_0, q, 4, 0)
#define FIELDS_q4_1(F)   F(q4_1, d, 2, 0) F(q4_1, m, 2, 0) F(q4_1, q, 4, 0)
#define FIELDS_q5_0(F)   F(q5_0, d, 2, 0) F(q5_0, high, 4, 0) F(q5_0, q, 4, 0)
#define FIELDS_q5_1(F)   F(q5_1, d, 2, 0) F(q5_1, m, 2, 0) F(q5_1, high, 4, 0) F(q5_1, q, 4, 0)
#define FIELDS_q8_0(F)   F(q8_0, d, 2, 0) F(q8_0, q, 4, 0x80808080u)
#define FIELDS_q2_k(F)   F(q2_k, scales, 4, 0) F(q2_k, d, 2, 0) F(q2_k, dmin, 2, 0)
#define FIELDS_q3_k(F)   F(q3_k, scales, 4, 0) F(q3_k, d, 2, 0)
#define FIELDS_q4_k(F)   F(q4_k, d, 2, 0) F(q4_k, dmin, 2, 0) F(q4_k, scales, 4, 0) F(q4_k, q, 4, 0)
#define FIELDS_q5_k(F)   F(q5_k, d, 2, 0) F(q5_k, dmin, 2, 0) F(q5_k, scales, 4, 0)
#define FIELDS_q6_k(F)   F(q6_k, scales, 4, 0) F(q6_k, d, 2, 0)
#define FIELDS_iq4_nl(F) F(iq4_nl, d, 2, 0) F(iq4_nl, q, 4, 0)
#define FIELDS_iq4_xs(F) F(iq4_xs, d, 2, 0) F(iq4_xs, scales_high, 2, 0) F(iq4_xs, scales_low, 4, 0) F(iq4_xs, q, 4, 0)
#define FIELDS_mxfp4(F)  F(mxfp4, e, 1, 0) F(mxfp4, q, 4, 0)

/* The fields whose bits are brought together (r16_bits.h): F(format, field, bits per level, words of the field after
 * which the next higher bits of its first word follow, place of the bits in the level). */
#define BITS_q4_0(F)
#define BITS_q4_1(F)
#define BITS_q5_0(F)
#define BITS_q5_1(F)
#define BITS_q8_0(F)
#define BITS_q2_k(F) F(q2_k, q, 2, 8, 0)
#define BITS_q3_k(F) F(q3_k, q, 2, 8, 0) F(q3_k, high, 1, 8, 2)
#define BITS_q4_k(F)
#define BITS_q5_k(F) F(q5_k, q, 4, 8, 0) F(q5_k, high, 1, 8, 4)
#define BITS_q6_k(F) F(q6_k, q, 4, 16, 0) F(q6_k, high, 2, 8, 4)
#define BITS_iq4_nl(F)
#define BITS_iq4_xs(F)
#define BITS_mxfp4(F)

/* One field of one row, elements of `width` bytes: from the block to every 16th place of the panel, and back. */
ALWAYS_INLINE void put_field(unsigned char *panel, const unsigned char *field, size_t bytes, size_t width,
                             uint32_t flip)
{
    for (size_t at = 0; at < bytes; at += width) {
        uint32_t element = 0;
        memcpy(&element, field + at, width);
        element ^= flip;
        memcpy(panel + R16_ROWS * at, &element, width);
    }
}

ALWAYS_INLINE void get_field(unsigned char *field, const unsigned char *panel, size_t bytes, size_t width,
                             uint32_t flip)
{
    for (size_t at = 0; at < bytes; at += width) {
        uint32_t element = 0;
        memcpy(&element, panel + R16_ROWS * at, width);
        element ^= flip;
        memcpy(field + at, &element, width);
    }
}

/* A row's block number b of a unit of n blocks, written to the unit or read from it. */
typedef void put_block(unsigned char *unit, const unsigned char *block, int row, int b, int n);
typedef void get_block(unsigned char *block, const unsigned char *unit, int row, int b, int n);

/* Each field is followed by the next one, of all n blocks. */
#define PUT(format, field, width, flip)                                                          \
    put_field(at + R16_ROWS * (size_t)b * SIZE(format, field) + row * (width),                   \
              block + offsetof(struct block_##format, field), SIZE(format, field), width, flip); \
    at += R16_ROWS * (size_t)n * SIZE(format, field);
#define GET(format, field, width, flip)                                                                           \
    get_field(block + offsetof(struct block_##format, field),                                                     \
              at + R16_ROWS * (size_t)b * SIZE(format, field) + row * (width), SIZE(format, field), width, flip); \
    at += R16_ROWS * (size_t)n * SIZE(format, field);
#define TAKE_BITS(format, field, bits, period, to) \
    take_bits(levels, block + offsetof(struct block_##format, field), bits, period, to);
#define GIVE_BITS(format, field, bits, period, to) \
    give_bits(block + offsetof(struct block_##format, field), levels, bits, period, to);
#define SIZE(format, field)                         sizeof(((struct block_##format *)0)->field)
#define COUNT_BITS(format, field, bits, period, to) +(bits)

/* One unit of n blocks of n_rows rows; src points at the first row's. Missing rows are zeros. Row after row, so that
 * what is read by turns are few lines: rows may lie at distances whose lines share a set of the cache. */
ALWAYS_INLINE void pack_unit(unsigned char *unit, const unsigned char *src, size_t src_row_bytes, int n_rows, int n,
                             size_t bytes, int bits, put_block *put)
{
    static const unsigned char zeros[DTYPE_MAX_BLOCK_BYTES];
    for (int r = 0; r < R16_ROWS; r++)
        for (int b = 0; b < n; b++)
            put(unit, r < n_rows ? src + (size_t)r * src_row_bytes + (size_t)b * bytes : zeros, r, b, n);
    const size_t end = R16_ROWS * (size_t)n * (bytes - 32 * (size_t)bits); /* of all but levels of so many bits */
    memset(unit + end, 0, -end % R16_ALIGNMENT);
}

ALWAYS_INLINE void pack_panels(unsigned char *dst, const unsigned char *src, size_t src_row_bytes, int row0, int row1,
                               int n, int k, int elements, size_t bytes, int bits, put_block *put)
{
    ASSUME(row0 >= 0 && row0 % R16_ROWS == 0 && row1 <= n && (row1 % R16_ROWS == 0 || row1 == n) && k % elements == 0);
    const int n_blocks = k / elements, whole = r16_unit_blocks(elements);
    const size_t panel_bytes = r16_panel_bytes(elements, bytes, k);
    for (int row = row0; row < row1; row += R16_ROWS, src += R16_ROWS * src_row_bytes) {
        const int n_rows = row1 - row < R16_ROWS ? row1 - row : R16_ROWS;
        unsigned char *unit = dst + (size_t)(row / R16_ROWS) * panel_bytes;
        for (int b = 0, n_b; b < n_blocks; b += n_b, unit += r16_unit_bytes(bytes, n_b)) {
            n_b = n_blocks - b < whole ? n_blocks - b : whole;
            pack_unit(unit, src + (size_t)b * bytes, src_row_bytes, n_rows, n_b, bytes, bits, put);
        }
    }
}

#define R16(id, type, elements)                                                                                 \
    enum { id##_bits = 0 BITS_##id(COUNT_BITS), id##_levels_at = R16_LEVELS_AT(struct block_##id, id##_bits) }; \
    ALWAYS_INLINE void id##_put(unsigned char *unit, const unsigned char *block, int row, int b, int n)         \
    {                                                                                                           \
        unsigned char *at = unit;                                                                               \
        FIELDS_##id(PUT)                                                                                        \
        if (!id##_bits) return;                                                                                 \
        uint32_t levels[R16_WORDS] = {0};                                                                       \
        BITS_##id(TAKE_BITS)                                                                                    \
        put_levels(unit + id##_levels_at + 4 * row, levels, id##_bits);                                         \
    }                                                                                                           \
    static void id##_get(unsigned char *block, const unsigned char *unit, int row, int b, int n)                \
    {                                                                                                           \
        const unsigned char *at = unit;                                                                         \
        FIELDS_##id(GET)                                                                                        \
        if (!id##_bits) return;                                                                                 \
        uint32_t levels[R16_WORDS];                                                                             \
        get_levels(levels, unit + id##_levels_at + 4 * row, id##_bits);                                         \
        BITS_##id(GIVE_BITS)                                                                                    \
    }                                                                                                           \
    static size_t id##_packed_bytes(int n, int k)                                                               \
    {                                                                                                           \
        size_t n_panels = ((size_t)n + R16_ROWS - 1) / R16_ROWS;                                                \
        return n_panels * r16_panel_bytes(elements, sizeof(struct block_##id), k);                              \
    }                                                                                                           \
    static void id##_pack(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n, int k)   \
    {                                                                                                           \
        pack_panels(dst, src, src_row_bytes, row0, row1, n, k, elements, sizeof(struct block_##id), id##_bits,  \
                    id##_put);                                                                                  \
    }                                                                                                           \
    static void id##_get_row(float *y, const void *w, int row, int k)                                           \
    {                                                                                                           \
        const size_t panel_bytes = r16_panel_bytes(elements, sizeof(struct block_##id), k);                     \
        const unsigned char *panel = (const unsigned char *)w + (size_t)(row / R16_ROWS) * panel_bytes;         \
        for (int i = 0; i < k / (elements); i++) {                                                              \
            struct block_##id block;                                                                            \
            r16_get_block(DTYPE_##type, &block, panel, row % R16_ROWS, i, k);                                   \
            quant_decode(DTYPE_##type, y + (ptrdiff_t)i * (elements), &block, elements);                        \
        }                                                                                                       \
    }                                                                                                           \
    const struct panel_layout layout_##id##_r16 = {                                                             \
        .name = #id "_r16",                                                                                     \
        .weight = DTYPE_##type,                                                                                 \
        .nr = R16_ROWS,                                                                                         \
        .kr = (elements),                                                                                       \
        .rounds_x = true,                                                                                       \
        .packed_bytes = id##_packed_bytes,                                                                      \
        .pack = id##_pack,                                                                                      \
        .get_row = id##_get_row,                                                                                \
    };
#include "ops/r16.inc"

static get_block *const getters[N_DTYPES] = {
#define R16(id, type, elements) [DTYPE_##type] = id##_get,
#include "ops/r16.inc"
};

void r16_get_block(enum dtype format, void *block, const void *panel, int row, int index, int k)
{
    const struct dtype_info *info = dtype_info(format);
    const int whole = r16_unit_blocks(info->elements_per_block), n_blocks = k / info->elements_per_block;
    const int first = index / whole * whole, n = n_blocks - first < whole ? n_blocks - first : whole;
    const unsigned char *unit = panel;
    unit += (size_t)(first / whole) * r16_unit_bytes(info->bytes_per_block, whole);
    getters[format](block, unit, row, index - first, n);
}
