/* How the rows of activations are packed for the panel kernels: the m tokens are cut into tiles of nearly equal width,
 * at most `widest`; a tile of `width` tokens is [k][width], so that one step of k reads neighbouring floats. The tiles
 * lie one after the other: the tile that begins with token t begins at float t * k. Nothing here depends on an
 * instruction set except the width. */
#ifndef OPS_TMPL_TOKENS_H
#define OPS_TMPL_TOKENS_H

#include <stddef.h>
#include <string.h>

/* Width of the tile that begins with token t: 13 tokens at most 12 wide are 7 + 6, since a tile of one token would
 * leave most registers idle. */
static inline int token_tile_width(int t, int m, int widest)
{
    int n_tiles = (m + widest - 1) / widest, narrow = m / n_tiles, n_wide = m % n_tiles;
    return t < n_wide * (narrow + 1) ? narrow + 1 : narrow;
}

static inline size_t token_tiles_bytes(int m, int k) { return (size_t)m * (size_t)k * sizeof(float); }

/* dst: the columns [k0, k1) of the tiles of m rows of k floats; row t's begin at x + rows[t] * ldx (rows NULL: t). */
static inline void token_tiles_pack(float *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0,
                                    int k1, int widest)
{
    for (int t = 0, width; t < m; t += width, dst += (ptrdiff_t)width * k) {
        width = token_tile_width(t, m, widest);
        for (int j = 0; j < width; j++) {
            const float *row = x + (rows ? rows[t + j] : t + j) * ldx;
            if (width == 1) {
                memcpy(dst + k0, row, (size_t)(k1 - k0) * sizeof(float));
            } else {
                for (ptrdiff_t i = k0; i < k1; i++) dst[i * width + j] = row[i - k0];
            }
        }
    }
}

#endif
