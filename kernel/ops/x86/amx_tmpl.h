/* Weight products on tile registers: bfloat16 weights as they lie in bf16_r16, and the formats of r16.inc, whose panels
 * are decoded to tiles of bfloat16. Activations are rounded to bfloat16. Compiled twice: with the processor's
 * tiles (matmul_amx.c), and with tiles in C (matmul_amx_emulated.c), so that tests run it on machines without AMX.
 *
 * A step is 32 columns: 16 rows of a panel are then one tile of weights, 16 pairs of columns by 16 rows (1 KiB), and
 * up to 16 tokens are one tile of activations, tokens by 32 columns. Packed activations are cut into tiles of nearly
 * equal height, [step][height][32], one after the other; columns beyond k are zero.
 *
 * Tiles 0 to 3 hold sums, so that four products are under way, each of which waits for its predecessor only: of two
 * token tiles by two panels, or of one by four where there are at most 16 tokens. A slice of weights stays in L1 or L2
 * for all tokens of the call; its sums are left in y and loaded for the next slice, which rounds nothing. Weights are
 * decoded for the first tokens just before each step, so that the vector units decode while the tiles multiply.
 *
 * Arithmetic: weights are the floats of the format rounded to bfloat16; per step tile_dot_bf16 (tile.h), in ascending
 * k from zero. So a row's result depends neither on m nor on the slices. An infinite scale gives NaN where quant_decode
 * may give infinity, since the zero point is subtracted after scaling. */
#ifndef OPS_X86_AMX_TMPL_H
#define OPS_X86_AMX_TMPL_H

#if !defined(__AVX512BF16__) || !defined(__AVX512VBMI__) /* every processor with AMX has both */
#error "compile this file with -mavx512bf16 -mavx512vbmi"
#endif

#include "base/float16.h"
#include "ops/assume.h"
#include "ops/tmpl/tokens.h"
#include "ops/variants.h"
#include "ops/x86/tile.h"
#include "ops/x86/vec_q8_avx512vnni.h"

#include "ops/tmpl/q8_formats.h"

#define AMX_JOIN_(a, b) a##b
#define AMX_JOIN(a, b) AMX_JOIN_(a, b)
#define AMX_STRING_(a) #a
#define AMX_STRING(a) AMX_STRING_(a)

enum {
    AMX_STEP = 32,        /* columns */
    AMX_ROWS = 16,        /* of a panel */
    AMX_MAX_PANELS = 4,   /* of one product */
    AMX_SLICE_TILES = 32, /* decoded tiles of weights, all panels together: 32 KiB */
    AMX_MAX_SUBS = 16,    /* scales of a unit and row */
    /* Calculated, not measured: no such processor at hand. A tile takes some 90 cycles to decode, in which VNNI
     * multiplies it by about 13 tokens; bfloat16 needs no decoding. */
    AMX_M_MIN_DECODED = 16,
    AMX_M_MIN_BF16 = 8,
};

static int amx_steps(int k) { return (k + AMX_STEP - 1) / AMX_STEP; }

/* ---- activations ------------------------------------------------------------------------------------------------- */

static size_t amx_x_bytes(int m, int k) { return (size_t)m * (size_t)amx_steps(k) * TILE_ROW_BYTES; }

/* to [32] = n floats as bfloat16, then zeros. */
static void amx_round_row(uint16_t to[AMX_STEP], const float *x, int n)
{
    for (int i = 0; i < n; i++) to[i] = float_to_bf16(x[i]);
    for (int i = n; i < AMX_STEP; i++) to[i] = 0;
}

static void amx_pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1)
{
    unsigned char *tile = dst;
    for (int t = 0, height; t < m; t += height, tile += amx_x_bytes(height, k)) {
        height = token_tile_width(t, m, TILE_ROWS);
        for (int j = 0; j < height; j++) {
            const float *row = x + (rows ? rows[t + j] : t + j) * ldx;
            for (int i = k0; i < k1; i += AMX_STEP) {
                uint16_t rounded[AMX_STEP];
                amx_round_row(rounded, row + (i - k0), k1 - i < AMX_STEP ? k1 - i : AMX_STEP);
                memcpy(tile + ((ptrdiff_t)(i / AMX_STEP) * height + j) * TILE_ROW_BYTES, rounded, sizeof rounded);
            }
        }
    }
}

/* ---- products of tiles ------------------------------------------------------------------------------------------- */

/* Where a panel is being decoded. Begins zeroed but for `unit` and `left`. */
struct amx_reader {
    const unsigned char *unit;
    int left;     /* blocks of 32 columns from this unit on */
    int n, block; /* blocks of the unit; the next one */
    float scale[AMX_MAX_SUBS * Q8_ROWS], offset[AMX_MAX_SUBS * Q8_ROWS];
};

/* Decodes the next tile of a panel. */
typedef void amx_read_function(struct amx_reader *r, unsigned char *tile);

/* What one call of a product works on. */
struct amx_product {
    const unsigned char *w[AMX_MAX_PANELS]; /* tiles of the slice, one per step, of each panel */
    int n_panels, n_steps;
    bool add; /* y holds the sums of the slices before */
    float *y;
    ptrdiff_t y_bytes; /* from token to token */
    /* NULL: the tiles are there. Else they are decoded, each panel's by its reader into its part of `room`. */
    amx_read_function *read;
    struct amx_reader *readers;
    unsigned char *room;
    ptrdiff_t room_bytes; /* of each panel */
};

/* The tiles of step i. */
static inline void amx_read_step(const struct amx_product *p, ptrdiff_t i)
{
    if (!p->read) return;
    for (int j = 0; j < p->n_panels; j++) p->read(&p->readers[j], p->room + j * p->room_bytes + i * TILE_BYTES);
}

#define AMX_BEGIN(sum, used, y)                                                                                     \
    do {                                                                                                            \
        if ((used) && p->add) tile_load(sum, y, p->y_bytes);                                                        \
        if ((used) && !p->add) tile_zero(sum);                                                                      \
    } while (0)
#define AMX_END(sum, used, y)                                                                                       \
    do {                                                                                                            \
        if (used) tile_store(sum, y, p->y_bytes);                                                                   \
    } while (0)

/* Shapes for a token tile of `first` rows, and beside it one of `second`, or (0) none. */
static void amx_configure(int first, int second)
{
    /* sums of the first token tile and of the second, or all of the first; activations; weights */
    const int height[N_TILES] = {first, first, second ? second : first, second ? second : first,
                                 first, second ? second : TILE_ROWS, TILE_ROWS, TILE_ROWS};
    struct tile_shapes shapes = {.palette = 1};
    for (int t = 0; t < N_TILES; t++) {
        shapes.rows[t] = (uint8_t)height[t];
        shapes.row_bytes[t] = TILE_ROW_BYTES;
    }
    tile_configure(&shapes);
}

/* One token tile by up to four panels. */
static void amx_multiply_one(const struct amx_product *p, const unsigned char *x, int height)
{
    const int n = p->n_panels;
    AMX_BEGIN(0, true, p->y);
    AMX_BEGIN(1, n > 1, p->y + AMX_ROWS);
    AMX_BEGIN(2, n > 2, p->y + 2 * AMX_ROWS);
    AMX_BEGIN(3, n > 3, p->y + 3 * AMX_ROWS);
    for (ptrdiff_t i = 0, at = 0; i < p->n_steps; i++, at += TILE_BYTES) {
        amx_read_step(p, i);
        tile_load(4, x + i * height * TILE_ROW_BYTES, TILE_ROW_BYTES);
        tile_load(5, p->w[0] + at, TILE_ROW_BYTES);
        tile_dot_bf16(0, 4, 5);
        if (n == 1) continue;
        tile_load(6, p->w[1] + at, TILE_ROW_BYTES);
        tile_dot_bf16(1, 4, 6);
        if (n == 2) continue;
        tile_load(7, p->w[2] + at, TILE_ROW_BYTES);
        tile_dot_bf16(2, 4, 7);
        if (n == 3) continue;
        tile_load(5, p->w[3] + at, TILE_ROW_BYTES);
        tile_dot_bf16(3, 4, 5);
    }
    AMX_END(0, true, p->y);
    AMX_END(1, n > 1, p->y + AMX_ROWS);
    AMX_END(2, n > 2, p->y + 2 * AMX_ROWS);
    AMX_END(3, n > 3, p->y + 3 * AMX_ROWS);
}

/* Two token tiles, of `first` and `second` tokens, by up to two panels. */
static void amx_multiply_two(const struct amx_product *p, const unsigned char *x0, const unsigned char *x1, int first,
                             int second)
{
    const bool both = p->n_panels > 1;
    float *y1 = p->y + first * (p->y_bytes / (ptrdiff_t)sizeof(float));
    AMX_BEGIN(0, true, p->y);
    AMX_BEGIN(1, both, p->y + AMX_ROWS);
    AMX_BEGIN(2, true, y1);
    AMX_BEGIN(3, both, y1 + AMX_ROWS);
    for (ptrdiff_t i = 0; i < p->n_steps; i++) {
        amx_read_step(p, i);
        tile_load(4, x0 + i * first * TILE_ROW_BYTES, TILE_ROW_BYTES);
        tile_load(6, p->w[0] + i * TILE_BYTES, TILE_ROW_BYTES);
        tile_dot_bf16(0, 4, 6);
        tile_load(5, x1 + i * second * TILE_ROW_BYTES, TILE_ROW_BYTES);
        tile_dot_bf16(2, 5, 6);
        if (!both) continue;
        tile_load(7, p->w[1] + i * TILE_BYTES, TILE_ROW_BYTES);
        tile_dot_bf16(1, 4, 7);
        tile_dot_bf16(3, 5, 7);
    }
    AMX_END(0, true, p->y);
    AMX_END(1, both, p->y + AMX_ROWS);
    AMX_END(2, true, y1);
    AMX_END(3, both, y1 + AMX_ROWS);
}

/* All tokens times one slice, which begins with step `step` of n_all. heights: the shapes that tiles have now. */
static void amx_multiply_tokens(struct amx_product p, const unsigned char *x, int m, int step, int n_all,
                                int heights[2])
{
    const ptrdiff_t ldy = p.y_bytes / (ptrdiff_t)sizeof(float), token_bytes = (ptrdiff_t)n_all * TILE_ROW_BYTES;
    for (int t = 0, n; t < m; t += n, p.y += n * ldy) {
        const int first = token_tile_width(t, m, TILE_ROWS);
        const int second = t + first < m ? token_tile_width(t + first, m, TILE_ROWS) : 0;
        const unsigned char *x0 = x + t * token_bytes + (ptrdiff_t)step * first * TILE_ROW_BYTES;
        const unsigned char *x1 = x + (t + first) * token_bytes + (ptrdiff_t)step * second * TILE_ROW_BYTES;
        if (first != heights[0] || second != heights[1]) amx_configure(first, second);
        heights[0] = first;
        heights[1] = second;
        if (second) {
            amx_multiply_two(&p, x0, x1, first, second);
        } else {
            amx_multiply_one(&p, x0, first);
        }
        n = first + second;
        p.read = NULL;
    }
}

/* ---- the kernels ------------------------------------------------------------------------------------------------- */

static size_t amx_scratch_bytes(int k)
{
    (void)k;
    return AMX_SLICE_TILES * TILE_BYTES;
}

/* Panels of bfloat16 are tiles already; only the last tile may lack columns, then the slice is copied to `room`. */
static const unsigned char *amx_whole_tiles(unsigned char *room, const unsigned char *panel, size_t panel_bytes,
                                            size_t at, size_t bytes)
{
    if (at + bytes <= panel_bytes) return panel + at;
    memcpy(room, panel + at, panel_bytes - at);
    memset(room + (panel_bytes - at), 0, at + bytes - panel_bytes);
    return room;
}

/* n_panels panels from w on times all tokens, slice by slice. */
static void amx_run_panels(struct amx_product p, const unsigned char *w, size_t panel_bytes, const unsigned char *x,
                           int m, int k, int heights[2])
{
    const int n_all = amx_steps(k), n_slice = (int)(p.room_bytes / TILE_BYTES);
    struct amx_reader readers[AMX_MAX_PANELS];
    for (int i = 0; i < p.n_panels && p.read; i++) {
        readers[i].unit = w + (size_t)i * panel_bytes;
        readers[i].left = n_all;
        readers[i].n = readers[i].block = 0;
    }
    p.readers = readers;
    for (int step = 0; step < n_all; step += n_slice) {
        p.n_steps = n_all - step < n_slice ? n_all - step : n_slice;
        p.add = step > 0;
        for (int i = 0; i < p.n_panels; i++) {
            unsigned char *room = p.room + i * p.room_bytes;
            p.w[i] = p.read ? room
                            : amx_whole_tiles(room, w + (size_t)i * panel_bytes, panel_bytes, (size_t)step * TILE_BYTES,
                                              (size_t)p.n_steps * TILE_BYTES);
        }
        amx_multiply_tokens(p, x, m, step, n_all, heights);
    }
}

static void amx_run(const struct panel_layout *layout, amx_read_function *read, float *y, ptrdiff_t ldy,
                    const unsigned char *w, const unsigned char *x, int row0, int row1, int m, int k, void *scratch)
{
    ASSUME(row0 >= 0 && row0 % AMX_ROWS == 0 && row1 % AMX_ROWS == 0 && m >= 1 && k >= 1);
    const size_t panel_bytes = layout->packed_bytes(AMX_ROWS, k);
    const int most = m <= TILE_ROWS ? AMX_MAX_PANELS : 2;
    struct amx_product p = {.y_bytes = ldy * (ptrdiff_t)sizeof(float), .read = read, .room = scratch,
                            .room_bytes = AMX_SLICE_TILES / most * TILE_BYTES};
    int heights[2] = {0, 0};
    for (int row = row0; row < row1; row += p.n_panels * AMX_ROWS) {
        p.n_panels = (row1 - row) / AMX_ROWS < most ? (row1 - row) / AMX_ROWS : most;
        p.y = y + row;
        amx_run_panels(p, w + (size_t)(row / AMX_ROWS) * panel_bytes, panel_bytes, x, m, k, heights);
    }
    tile_release();
}

/* What a sub-block of 16 rows has in common, in the order of two vectors of pairs: twice each row 0 .. 7, 8 .. 15. */
struct amx_scale {
    vec16 scale[2], offset[2];
};

/* offset NULL: minus the zero point times the scale. */
ALWAYS_INLINE struct amx_scale amx_scale_at(const float *scale, const float *offset, int zero)
{
    const __m512i first = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    const vec16 s = vec16_load(scale);
    const vec16 o = vec16_neg(offset ? vec16_load(offset) : vec16_mul(s, vec16_broadcast((float)zero)));
    return (struct amx_scale){{_mm512_permutexvar_ps(first, s), _mm512_permutexvar_ps(second, s)},
                              {_mm512_permutexvar_ps(first, o), _mm512_permutexvar_ps(second, o)}};
}

/* Columns 2 i and 2 i + 1 of four as one row of a tile: scale * level + offset. */
ALWAYS_INLINE void amx_decode_pair(unsigned char *row, q8_bytes levels, struct amx_scale a, int i)
{
    /* byte 2 i + j of row r becomes number 2 r + j: its 32 bits are that byte and zeros */
    const __m512i order = _mm512_add_epi32(_mm512_set_epi32(29, 28, 25, 24, 21, 20, 17, 16, 13, 12, 9, 8, 5, 4, 1, 0),
                                           _mm512_set1_epi32(2 * i));
    const __mmask64 low_bytes = 0x1111111111111111;
    vec16 value[2];
    UNROLL for (int h = 0; h < 2; h++) {
        const __m512i from = _mm512_add_epi32(order, _mm512_set1_epi32(32 * h));
        value[h] = vec16_fma(_mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(low_bytes, from, levels)), a.scale[h],
                             a.offset[h]);
    }
    _mm512_storeu_si512(row, (__m512i)_mm512_cvtne2ps_pbh(value[1], value[0]));
}

#define AMX_KERNEL(id, read, fewest)                                                                                \
    static void id##_run(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k,   \
                         void *scratch)                                                                             \
    {                                                                                                               \
        amx_run(&layout_##id##_r16, read, y, ldy, w, x, row0, row1, m, k, scratch);                                 \
    }                                                                                                               \
    const struct panel_kernel AMX_JOIN(kernel_##id##_r16_bf16_, MATMUL_ISA) = {                                     \
        .name = #id "_r16_bf16_" AMX_STRING(MATMUL_ISA),                                                            \
        .needs = MATMUL_NEEDS,                                                                                      \
        .layout = &layout_##id##_r16,                                                                               \
        .m_min = fewest,                                                                                            \
        .m_tile = 2 * TILE_ROWS,                                                                                    \
        .exact = false, /* another order of sums than scalar; still the same for a row whatever its company */      \
        .peak = PEAK_BF16,                                                                                          \
        .x_bytes = amx_x_bytes,                                                                                     \
        .pack_x = amx_pack_x,                                                                                       \
        .scratch_bytes = amx_scratch_bytes,                                                                         \
        .run = id##_run,                                                                                            \
    };

AMX_KERNEL(bf16, NULL, AMX_M_MIN_BF16)

/* AMX_FORMAT(format, columns of a unit, columns of a scale, offsets?, zero point): as q8_formats.h unpacks it. */
#define AMX_FORMAT(id, unit_columns, sub, has_offset, zero)                                                         \
    static void id##_read(struct amx_reader *r, unsigned char *tile)                                                \
    {                                                                                                               \
        enum { BLOCKS = (unit_columns) / AMX_STEP, SUBS = AMX_STEP / (sub) };                                       \
        if (r->block == r->n) {                                                                                     \
            if (r->n) r->unit += r16_unit_bytes(sizeof(struct block_##id), (unit_columns) == 256 ? 1 : BLOCKS);     \
            r->left -= r->n;                                                                                        \
            r->n = r->left < BLOCKS ? r->left : BLOCKS;                                                             \
            r->block = 0;                                                                                           \
            id##_scales(r->scale, r->offset, r->unit, r->n);                                                        \
        }                                                                                                           \
        const int block = r->block++;                                                                               \
        struct amx_scale both;                                                                                      \
        UNROLL for (int g = 0; g < Q8_GROUPS; g++, tile += 2 * TILE_ROW_BYTES) {                                    \
            const int at = (block * SUBS + 4 * g / (sub)) * Q8_ROWS;                                                \
            const q8_bytes levels = id##_level(r->unit, r->n, block, g);                                            \
            if (4 * g % (sub) == 0)                                                                                 \
                both = amx_scale_at(r->scale + at, (has_offset) ? r->offset + at : NULL, zero);                     \
            amx_decode_pair(tile, levels, both, 0);                                                                 \
            amx_decode_pair(tile + TILE_ROW_BYTES, levels, both, 1);                                                \
        }                                                                                                           \
    }                                                                                                               \
    AMX_KERNEL(id, id##_read, AMX_M_MIN_DECODED)

AMX_FORMAT(q4_0, 128, 32, false, 8)
AMX_FORMAT(q4_1, 128, 32, true, 0)
AMX_FORMAT(q5_0, 128, 32, false, 16)
AMX_FORMAT(q5_1, 128, 32, true, 0)
AMX_FORMAT(q8_0, 128, 32, false, 128)
AMX_FORMAT(q2_k, 256, 16, true, 0)
AMX_FORMAT(q3_k, 256, 16, false, 4)
AMX_FORMAT(q4_k, 256, 32, true, 0)
AMX_FORMAT(q5_k, 256, 32, true, 0)
AMX_FORMAT(q6_k, 256, 16, false, 32)
AMX_FORMAT(iq4_nl, 128, 32, false, 128)
AMX_FORMAT(iq4_xs, 256, 32, false, 128)
AMX_FORMAT(mxfp4, 128, 32, false, 16)

#endif
