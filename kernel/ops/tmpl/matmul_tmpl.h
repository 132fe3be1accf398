/* The weight product over vec16 for layouts of 16-row panels (panel.h), written once.
 *
 * A file of an instruction set includes its vec_<isa>.h, defines
 *   MATMUL_ISA, MATMUL_NEEDS   the last part of the kernels' names, and the CPU feature bits
 *   MATMUL_MAX_TOKENS          the largest number of tokens of a tile
 *   MATMUL_TILES(X)            X(tokens, panels): the tiles that exist, at most 4 panels; a tile that exists for some
 *                              number of tokens exists for every smaller one, and 1 panel for all
 * and then, for each layout, defines MATMUL_LAYOUT (f32_r16, f16_r16, bf16_r16k2) and includes this file, which makes
 * the object kernel_<layout>_f32_<isa>.
 *
 * Products of activations that are not floats (kernel_<layout>_<activation>_<isa>) define, before the first inclusion,
 *   MATMUL_ACTIVATION          their word in names
 *   MATMUL_PEAK                what bounds them (enum peak)
 *   MATMUL_COLUMN              the layout of columns.h whose columns are loaded, if those hold MATMUL_STEP numbers each
 *   MATMUL_STEP                columns of the matrix in one column as loaded
 *   MATMUL_FMA(w, x, sum)      sum + w x over such a column, x being 32 bits that are the same in all lanes
 *   MATMUL_PACK_X              pack_x: tiles as in tokens.h, of 32 bits instead of floats, ceil(k / MATMUL_STEP) long
 *
 * A tile of T tokens x P panels keeps T * P vectors of sums in registers while k runs over one block: per step of k it
 * loads P columns of weights and broadcasts T activations for T * P fused multiply-adds. T * P is chosen so that the
 * sums, the columns and one broadcast fill the register file; at one token several panels run at once, because a single
 * chain of sums would wait for the latency of each addition.
 *
 * Order of the loops: a group of tokens whose activations of one k block fit in half the L2 cache; block of k; panels;
 * tiles of tokens. So each column of weights is fetched from memory once per group, and from L1 or L2 by the further
 * tiles. */
#ifndef OPS_TMPL_MATMUL_ONCE
#define OPS_TMPL_MATMUL_ONCE

#include "ops/assume.h"
#include "ops/tmpl/columns.h"
#include "ops/tmpl/tokens.h"
#include "ops/tmpl/unroll.h"
#include "ops/variants.h"

#ifndef MATMUL_ACTIVATION
#define MATMUL_ACTIVATION f32
#define MATMUL_PEAK PEAK_F32
#define MATMUL_COLUMN MATMUL_LAYOUT
#define MATMUL_STEP 1
#define MATMUL_FMA vec16_fma
#define MATMUL_PACK_X matmul_pack_x
#endif

enum {
    PANEL_ROWS = 16,
    MAX_PANELS = 4,
    TOKEN_GROUP = 120,     /* x 512 floats = 240 KiB */
    PREFETCH_BYTES = 2048, /* ahead of the column in use, when one token reads each column once */
};

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)
#define LAYOUT_NAME(what) JOIN(MATMUL_LAYOUT, what)
#define COLUMN_NAME(what) JOIN(MATMUL_COLUMN, what)

typedef void tile_function(float *y, ptrdiff_t ldy, const unsigned char *w, ptrdiff_t panel_bytes, const float *x,
                           int n, bool add, const unsigned char *ahead, ptrdiff_t ahead_step);

static size_t matmul_x_bytes(int m, int k) { return token_tiles_bytes(m, (k + MATMUL_STEP - 1) / MATMUL_STEP); }

/* dst: m rows of x in token tiles. */
static inline void matmul_pack_x(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0,
                                 int k1)
{
    token_tiles_pack(dst, x, ldx, rows, m, k, k0, k1, MATMUL_MAX_TOKENS);
}

static size_t matmul_scratch_bytes(int k)
{
    (void)k;
    return 0;
}

#endif

/* y [t][panel rows], t < n_t, p < n_p: sums over n columns, stored or added. w: the first of the columns in the first
 * panel, x: the activations [n][n_t] of the tile. n_t and n_p are constants. Meanwhile fetches into L2 what comes next:
 * every two columns, ahead_step bytes of each panel from `ahead` on. */
ALWAYS_INLINE void LAYOUT_NAME(_tile)(float *y, ptrdiff_t ldy, const unsigned char *w, ptrdiff_t panel_bytes,
                                      const float *x, int n, bool add, const unsigned char *ahead,
                                      ptrdiff_t ahead_step, int n_t, int n_p)
{
    enum { LINE = 64, PAIR_BYTES = 2 * COLUMN_NAME(_column_bytes) };
    vec16 sum[MATMUL_MAX_TOKENS][MAX_PANELS];
    UNROLL for (int t = 0; t < n_t; t++)
        UNROLL for (int p = 0; p < n_p; p++) sum[t][p] = vec16_broadcast(0.0f);

    const float *step = x;
    int i = 0;
    for (; i + 1 < n; i += 2, step += 2 * n_t, ahead += ahead_step) {
        vec16 column[MAX_PANELS];
        UNROLL for (int p = 0; p < n_p; p++) {
            __builtin_prefetch(ahead + p * panel_bytes, 0, 2);
            if (PAIR_BYTES > LINE) __builtin_prefetch(ahead + p * panel_bytes + LINE, 0, 2);
            column[p] = COLUMN_NAME(_first)(w + p * panel_bytes, i);
        }
        UNROLL for (int t = 0; t < n_t; t++) {
            vec16 activation = vec16_broadcast(step[t]);
            UNROLL for (int p = 0; p < n_p; p++) sum[t][p] = MATMUL_FMA(column[p], activation, sum[t][p]);
        }
        UNROLL for (int p = 0; p < n_p; p++) column[p] = COLUMN_NAME(_second)(w + p * panel_bytes, i);
        UNROLL for (int t = 0; t < n_t; t++) {
            vec16 activation = vec16_broadcast(step[n_t + t]);
            UNROLL for (int p = 0; p < n_p; p++) sum[t][p] = MATMUL_FMA(column[p], activation, sum[t][p]);
        }
    }
    if (i < n) {
        UNROLL for (int p = 0; p < n_p; p++) {
            vec16 column = COLUMN_NAME(_column)(w + p * panel_bytes, i);
            UNROLL for (int t = 0; t < n_t; t++)
                sum[t][p] = MATMUL_FMA(column, vec16_broadcast(step[t]), sum[t][p]);
        }
    }

    UNROLL for (int t = 0; t < n_t; t++)
        UNROLL for (int p = 0; p < n_p; p++) {
            float *to = y + t * ldy + p * PANEL_ROWS;
            vec16_store(to, add ? vec16_add(vec16_load(to), sum[t][p]) : sum[t][p]);
        }
}

#define TILE(tokens, panels)                                                                                      \
    static void JOIN(LAYOUT_NAME(_tile_), tokens##x##panels)(                                                     \
        float *y, ptrdiff_t ldy, const unsigned char *w, ptrdiff_t panel_bytes, const float *x, int n, bool add,  \
        const unsigned char *ahead, ptrdiff_t ahead_step)                                                         \
    {                                                                                                             \
        LAYOUT_NAME(_tile)(y, ldy, w, panel_bytes, x, n, add, ahead, ahead_step, tokens, panels);                 \
    }
MATMUL_TILES(TILE)
#undef TILE

/* [tokens][panels], NULL where there is none */
static tile_function *const LAYOUT_NAME(_tiles)[MATMUL_MAX_TOKENS + 1][MAX_PANELS + 1] = {
#define TILE(tokens, panels) [tokens][panels] = JOIN(LAYOUT_NAME(_tile_), tokens##x##panels),
    MATMUL_TILES(TILE)
#undef TILE
};

/* Tokens t0 .. t1 (n_tiles whole tiles of the m) times the panels of rows row0 .. row1. */
static void LAYOUT_NAME(_group)(float *y, ptrdiff_t ldy, const unsigned char *w, const float *x, int row0, int row1,
                                int t0, int t1, int n_tiles, int m, int k)
{
    const int multiple = COLUMN_NAME(_k_multiple), widest = token_tile_width(t0, m, MATMUL_MAX_TOKENS);
    const ptrdiff_t column_bytes = COLUMN_NAME(_column_bytes);
    const ptrdiff_t panel_bytes = (ptrdiff_t)((k + multiple - 1) / multiple * multiple) * column_bytes;
    for (int k0 = 0, k1; k0 < k; k0 = k1) {
        k1 = k - k0 > MATMUL_K_BLOCK ? k0 + MATMUL_K_BLOCK : k;
        for (int row = row0, n_p; row < row1; row += n_p * PANEL_ROWS) {
            int left = (row1 - row) / PANEL_ROWS;
            n_p = left < MAX_PANELS ? left : MAX_PANELS;
            while (!LAYOUT_NAME(_tiles)[widest][n_p]) n_p--;
            const unsigned char *panel = w + row / PANEL_ROWS * panel_bytes + k0 * column_bytes;

            /* One token: a little ahead in the same panels. More: each tile fetches its share of the block that comes
             * after the last tile, the next panels' or the first panels' of the next k; nothing beyond the range. */
            const unsigned char *ahead = panel + PREFETCH_BYTES;
            ptrdiff_t ahead_step = 2 * column_bytes;
            if (m > 1) {
                ahead = left > n_p ? panel + n_p * panel_bytes
                                   : w + row0 / PANEL_ROWS * panel_bytes + (k1 < k ? k1 : k0) * column_bytes;
                ahead_step = 2 * column_bytes / n_tiles;
            }
            for (int t = t0, n_t; t < t1; t += n_t, ahead += (k1 - k0) / 2 * ahead_step) {
                n_t = token_tile_width(t, m, MATMUL_MAX_TOKENS);
                LAYOUT_NAME(_tiles)[n_t][n_p](y + t * ldy + row, ldy, panel, panel_bytes,
                                              x + (ptrdiff_t)t * k + (ptrdiff_t)k0 * n_t, k1 - k0, k0 > 0, ahead,
                                              ahead_step);
            }
        }
    }
}

static void LAYOUT_NAME(_run)(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k,
                          void *scratch)
{
    ASSUME(row0 >= 0 && row0 % PANEL_ROWS == 0 && row1 % PANEL_ROWS == 0 && m >= 1 && k >= 1);
    (void)scratch;
    k = (k + MATMUL_STEP - 1) / MATMUL_STEP;
    for (int t0 = 0, t1; t0 < m; t0 = t1) {
        int n_tiles = 0;
        for (t1 = t0; t1 < m && t1 - t0 < TOKEN_GROUP; n_tiles++) t1 += token_tile_width(t1, m, MATMUL_MAX_TOKENS);
        LAYOUT_NAME(_group)(y, ldy, w, x, row0, row1, t0, t1, n_tiles, m, k);
    }
}

const struct panel_kernel JOIN(JOIN(kernel_, MATMUL_LAYOUT), JOIN(JOIN(_, MATMUL_ACTIVATION), JOIN(_, MATMUL_ISA))) = {
    .name = STRING(MATMUL_LAYOUT) "_" STRING(MATMUL_ACTIVATION) "_" STRING(MATMUL_ISA),
    .needs = MATMUL_NEEDS,
    .layout = &JOIN(layout_, MATMUL_LAYOUT),
    .m_min = 1,
    .m_tile = MATMUL_MAX_TOKENS,
    .exact = true,
    .peak = MATMUL_PEAK,
    .x_bytes = matmul_x_bytes,
    .pack_x = MATMUL_PACK_X,
    .scratch_bytes = matmul_scratch_bytes,
    .run = LAYOUT_NAME(_run),
};

#undef MATMUL_LAYOUT
