/* The tile registers of AMX behind a small interface. A tile is up to 16 rows of up to 64 bytes; each of the 8 is given
 * its shape by tile_configure, which also zeroes all tiles.
 *
 *   tile_configure(shapes)          tile_release()
 *   tile_zero(t)                    tile_load(t, from, stride)         tile_store(t, to, stride)
 *   tile_dot_bf16(sum, a, b)        sum [m][n] += a [m][k pairs of bfloat16] times b [k][n pairs]
 *   tile_dot_i8u8(sum, a, b)        the same of fours of bytes, a signed, b unsigned, sums in 32 bits, which wrap
 *
 * Numbers of tiles are literals. tile_dot_bf16 sums the first partners of all pairs and the second ones in a chain of
 * fused multiply-adds each, from zero in ascending k, adds the two, and adds that to `sum`: all rounded to even, with
 * subnormal numbers as in scalar/flush.h, whatever the modes of the thread.
 *
 * With TILE_EMULATED these are functions in plain C that do the same and refuse what the processor would trap on:
 * tile_fault() says what was wrong first since the configuration. After a fault nothing is computed, and tile_store
 * writes NaN, so that no product with a fault comes out right.
 *
 * The instructions are written as assembly with "memory" clobbers: gcc 12's intrinsics do not tell the compiler that
 * they read all 64 bytes of a configuration, or any memory behind a tile's address, so that stores before them may be
 * dropped. */
#ifndef OPS_X86_TILE_H
#define OPS_X86_TILE_H

#include <stddef.h>
#include <stdint.h>

enum { TILE_ROWS = 16, TILE_ROW_BYTES = 64, TILE_BYTES = TILE_ROWS * TILE_ROW_BYTES, N_TILES = 8 };

/* As the processor reads it. palette: 1; rows and row_bytes of each tile, both zero for an unused one. */
struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[2 * N_TILES]; /* the upper half is reserved */
    uint8_t rows[2 * N_TILES];
};

#ifndef TILE_EMULATED

#if !defined(__AMX_TILE__) && !defined(__AMXTILE__) /* clang before 16 has the other name */
#error "compile this file with -mamx-tile -mamx-bf16 -mamx-int8"
#endif

static inline void tile_configure(const struct tile_shapes *shapes)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*shapes) : "memory");
}
static inline void tile_release(void) { __asm__ volatile("tilerelease" : : : "memory"); }

#define tile_zero(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define tile_load(t, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"((ptrdiff_t)(stride)) : "memory")
#define tile_store(t, to, stride) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"((ptrdiff_t)(stride)) : "memory")
#define tile_dot_bf16(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)
#define tile_dot_i8u8(sum, a, b) __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)

#else

#include <stdbool.h>
#include <string.h>

#include "base/float16.h"
#include "ops/scalar/flush.h"

/* What a thread's tile registers hold. */
static _Thread_local struct tile_unit {
    struct tile_shapes shapes;
    unsigned char data[N_TILES][TILE_ROWS][TILE_ROW_BYTES];
    const char *fault;
} tile_unit;

static inline const char *tile_fault(void) { return tile_unit.fault; }

/* Remembers the first sentence whose condition holds; false after any fault. */
static inline bool tile_refuse(bool wrong, const char *sentence)
{
    if (wrong && !tile_unit.fault) tile_unit.fault = sentence;
    return tile_unit.fault != NULL;
}

static inline void tile_configure(const struct tile_shapes *shapes)
{
    static const struct tile_shapes none;
    tile_unit = (struct tile_unit){.shapes = *shapes};
    tile_refuse(shapes->palette != 1, "the palette is not 1");
    tile_refuse(shapes->start_row != 0 || memcmp(shapes->reserved, none.reserved, sizeof none.reserved) != 0,
                "reserved bytes are not zero");
    for (int t = 0; t < 2 * N_TILES; t++) {
        const int rows = shapes->rows[t], row_bytes = shapes->row_bytes[t];
        tile_refuse(t >= N_TILES && (rows || row_bytes), "there are 8 tiles");
        tile_refuse(rows > TILE_ROWS, "a tile has more than 16 rows");
        tile_refuse(row_bytes > TILE_ROW_BYTES, "a row has more than 64 bytes");
        tile_refuse(!rows != !row_bytes, "a tile has rows without bytes, or bytes without rows");
    }
}

static inline void tile_release(void) { memset(&tile_unit.shapes, 0, sizeof tile_unit.shapes); }

static inline bool tile_unusable(int t)
{
    return tile_refuse(tile_unit.shapes.palette == 0, "tiles are not configured") ||
           tile_refuse(t < 0 || t >= N_TILES, "there are 8 tiles") ||
           tile_refuse(tile_unit.shapes.rows[t] == 0, "the tile has no shape");
}

static inline void tile_zero(int t)
{
    if (!tile_unusable(t)) memset(tile_unit.data[t], 0, TILE_BYTES);
}

static inline void tile_load(int t, const void *from, ptrdiff_t stride)
{
    if (tile_unusable(t)) return;
    memset(tile_unit.data[t], 0, TILE_BYTES);
    for (int r = 0; r < tile_unit.shapes.rows[t]; r++)
        memcpy(tile_unit.data[t][r], (const char *)from + r * stride, tile_unit.shapes.row_bytes[t]);
}

static inline void tile_store(int t, void *to, ptrdiff_t stride)
{
    const bool unusable = tile_unusable(t);
    if (t < 0 || t >= N_TILES) return;
    for (int r = 0; r < tile_unit.shapes.rows[t]; r++) {
        if (unusable)
            memset((char *)to + r * stride, 0xff, tile_unit.shapes.row_bytes[t]);
        else
            memcpy((char *)to + r * stride, tile_unit.data[t][r], tile_unit.shapes.row_bytes[t]);
    }
}

static inline bool tile_cannot_dot(int sum, int a, int b)
{
    const struct tile_shapes *s = &tile_unit.shapes;
    return tile_unusable(sum) || tile_unusable(a) || tile_unusable(b) ||
           tile_refuse(sum == a || sum == b || a == b, "a product takes three different tiles") ||
           tile_refuse((s->row_bytes[sum] | s->row_bytes[a] | s->row_bytes[b]) % 4,
                       "a row is not a multiple of 4 bytes") ||
           tile_refuse(s->rows[sum] != s->rows[a], "sum and a differ in rows") ||
           tile_refuse(s->row_bytes[sum] != s->row_bytes[b], "sum and b differ in columns") ||
           tile_refuse(s->row_bytes[a] != 4 * s->rows[b], "a's columns are not b's rows");
}

static inline void tile_dot_bf16(int sum, int a, int b)
{
    if (tile_cannot_dot(sum, a, b)) return;
    const int n_k = tile_unit.shapes.rows[b], n_n = tile_unit.shapes.row_bytes[sum] / 4;
    for (int m = 0; m < tile_unit.shapes.rows[sum]; m++)
        for (int n = 0; n < n_n; n++) {
            float chain[2] = {0.0f, 0.0f}, total;
            for (int k = 0; k < n_k; k++) {
                uint16_t x[2], w[2];
                memcpy(x, &tile_unit.data[a][m][4 * k], sizeof x);
                memcpy(w, &tile_unit.data[b][k][4 * n], sizeof w);
                for (int i = 0; i < 2; i++) chain[i] = flushed_fma(bf16_to_float(x[i]), bf16_to_float(w[i]), chain[i]);
            }
            memcpy(&total, &tile_unit.data[sum][m][4 * n], sizeof total);
            total = flushed(flushed(total) + flushed(chain[0] + chain[1]));
            memcpy(&tile_unit.data[sum][m][4 * n], &total, sizeof total);
        }
}

static inline void tile_dot_i8u8(int sum, int a, int b)
{
    if (tile_cannot_dot(sum, a, b)) return;
    const int n_k = tile_unit.shapes.row_bytes[a], n_n = tile_unit.shapes.row_bytes[sum] / 4;
    for (int m = 0; m < tile_unit.shapes.rows[sum]; m++)
        for (int n = 0; n < n_n; n++) {
            uint32_t total;
            memcpy(&total, &tile_unit.data[sum][m][4 * n], sizeof total);
            for (int k = 0; k < n_k; k++) {
                const int8_t x = (int8_t)tile_unit.data[a][m][k];
                total += (uint32_t)(x * tile_unit.data[b][k / 4][4 * n + k % 4]);
            }
            memcpy(&tile_unit.data[sum][m][4 * n], &total, sizeof total);
        }
}

#endif

#endif
