/* The drawing of the layouts <format>_r16 (panel.h), element by element; what does not depend on the drawing is in
 * test_registry.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ops/r16.h"
#include "ops/variants.h"
#include "quant/levels.h"
#include "tests/support/rng.h"

enum { ROWS = 16 };

/* Random rows of n_blocks blocks and their panel; free both. */
static unsigned char *random_panel(const struct panel_layout *layout, unsigned char **file, int n_blocks)
{
    const struct dtype_info *info = dtype_info(layout->weight);
    const size_t row_bytes = (size_t)n_blocks * info->bytes_per_block;
    const int k = n_blocks * info->elements_per_block;
    struct rng rng = rng_seed(1);
    unsigned char *panel = malloc(layout->packed_bytes(ROWS, k));
    *file = malloc(ROWS * row_bytes);
    cr_assert(panel && *file);
    for (size_t i = 0; i < ROWS * row_bytes; i++) (*file)[i] = (unsigned char)rng_next(&rng);
    layout->pack(panel, *file, row_bytes, 0, ROWS, ROWS, k);
    return panel;
}

static int half_at(const unsigned char *bytes) { return bytes[0] | bytes[1] << 8; }

/* A whole unit of four blocks, and one of the two that are left. */
Test(layouts_r16, q4_0_has_four_scales_then_quads_of_nibbles)
{
    enum { BLOCKS = 6, UNIT = 1152 };
    unsigned char *file, *panel = random_panel(&layout_q4_0_r16, &file, BLOCKS);
    cr_assert_eq(layout_q4_0_r16.packed_bytes(ROWS, BLOCKS * 32), UNIT + UNIT / 2);
    for (int b = 0; b < BLOCKS; b++)
        for (int r = 0; r < ROWS; r++) {
            const unsigned char *unit = panel + b / 4 * UNIT, *block = file + (r * BLOCKS + b) * 18;
            const int n = b < 4 ? 4 : 2, at = b % 4;
            cr_assert_eq(half_at(unit + at * 32 + 2 * r), half_at(block));
            for (int j = 0; j < 16; j++)
                cr_assert_eq(unit[n * 32 + at * 256 + j / 4 * 64 + 4 * r + j % 4], block[2 + j], "%d %d %d", b, r, j);
        }
    free(file);
    free(panel);
}

Test(layouts_r16, q8_0_is_stored_plus_128)
{
    unsigned char *file, *panel = random_panel(&layout_q8_0_r16, &file, 1);
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < 32; j++)
            cr_assert_eq(panel[32 + j / 4 * 64 + 4 * r + j % 4], (unsigned char)(file[r * 34 + 2 + j] + 128));
    free(file);
    free(panel);
}

/* What a byte of v[i] holds from bit 0 on, as r16_bits.h draws it: n bits of a level from bit `from` on. */
struct piece {
    int level, from, n;
};
struct packed_format {
    const struct panel_layout *layout;
    int bits, zero, levels_at;
    struct piece v[6][4];
};
static const struct packed_format packed_formats[] = {
    {&layout_q2_k_r16, 2, 0, 320, {{{0, 0, 2}, {1, 0, 2}, {2, 0, 2}, {3, 0, 2}},
                                   {{4, 0, 2}, {5, 0, 2}, {6, 0, 2}, {7, 0, 2}}}},
    {&layout_q3_k_r16, 3, 4, 256, {{{0, 0, 3}, {1, 0, 3}, {6, 0, 2}},
                                   {{2, 0, 3}, {3, 0, 3}, {7, 0, 2}},
                                   {{4, 0, 3}, {5, 0, 3}, {6, 2, 1}, {7, 2, 1}}}},
    {&layout_q5_k_r16, 5, 0, 256, {{{0, 0, 5}, {5, 0, 3}},
                                   {{1, 0, 5}, {6, 0, 3}},
                                   {{2, 0, 5}, {7, 0, 3}},
                                   {{3, 0, 5}, {5, 3, 2}, {7, 3, 1}},
                                   {{4, 0, 5}, {6, 3, 2}, {7, 4, 1}}}},
    {&layout_q6_k_r16, 6, 32, 320, {{{0, 0, 6}, {3, 0, 2}},
                                    {{1, 0, 6}, {3, 2, 2}},
                                    {{2, 0, 6}, {3, 4, 2}},
                                    {{4, 0, 6}, {7, 0, 2}},
                                    {{5, 0, 6}, {7, 2, 2}},
                                    {{6, 0, 6}, {7, 4, 2}}}},
};

static int expected_byte(const struct packed_format *f, int v, const int8_t *levels, int column)
{
    int byte = 0, at = 0;
    for (int i = 0; i < 4 && f->v[v][i].n; at += f->v[v][i++].n) {
        const struct piece *p = &f->v[v][i];
        byte |= ((levels[4 * p->level + column] + f->zero) >> p->from & ((1 << p->n) - 1)) << at;
    }
    cr_assert_eq(at, 8, "the drawing fills a byte");
    return byte;
}

static void check_levels(const struct packed_format *f, const unsigned char *unit, const int8_t *levels, int row)
{
    for (int b = 0; b < 8; b++)
        for (int v = 0; v < f->bits; v++)
            for (int c = 0; c < 4; c++)
                cr_assert_eq(unit[f->levels_at + (b * f->bits + v) * 64 + 4 * row + c],
                             expected_byte(f, v, levels + 32 * b, c), "%s: row %d, block %d, v%d, column %d",
                             f->layout->name, row, b, v, c);
}

Test(layouts_r16, levels_of_256_columns_lie_by_32_columns)
{
    for (size_t i = 0; i < sizeof packed_formats / sizeof *packed_formats; i++) {
        const struct packed_format *f = &packed_formats[i];
        const size_t bytes = dtype_info(f->layout->weight)->bytes_per_block, unit = f->layout->packed_bytes(ROWS, 256);
        unsigned char *file, *panel = random_panel(f->layout, &file, 2);
        cr_assert_eq(f->layout->packed_bytes(ROWS, 512), 2 * unit);
        cr_assert_eq(unit, (size_t)f->levels_at + 8 * 64 * (size_t)f->bits);
        for (int b = 0; b < 2; b++)
            for (int r = 0; r < ROWS; r++) {
                struct block_levels levels;
                quant_levels(f->layout->weight, &levels, file + (size_t)(r * 2 + b) * bytes);
                check_levels(f, panel + (size_t)b * unit, levels.level, r);
            }
        free(file);
        free(panel);
    }
}

Test(layouts_r16, q6_k_begins_with_scales)
{
    unsigned char *file, *panel = random_panel(&layout_q6_k_r16, &file, 1);
    for (int r = 0; r < ROWS; r++) {
        const unsigned char *block = file + r * 210;
        for (int j = 0; j < 16; j++) cr_assert_eq(panel[j / 4 * 64 + 4 * r + j % 4], block[192 + j], "%d %d", r, j);
        cr_assert_eq(half_at(panel + 256 + 2 * r), half_at(block + 208));
    }
    free(file);
    free(panel);
}

/* Blocks come back as they were, whatever their bits. */
Test(layouts_r16, a_packed_block_is_read_back_whole)
{
    static const struct panel_layout *const layouts[] = {
#define R16(id, type, elements) &layout_##id##_r16,
#include "ops/r16.inc"
    };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        enum { BLOCKS = 5 };
        const struct dtype_info *info = dtype_info(layouts[i]->weight);
        unsigned char *file, *panel = random_panel(layouts[i], &file, BLOCKS), block[DTYPE_MAX_BLOCK_BYTES];
        for (int r = 0; r < ROWS; r++)
            for (int b = 0; b < BLOCKS; b++) {
                r16_get_block(layouts[i]->weight, block, panel, r, b, BLOCKS * info->elements_per_block);
                cr_assert_arr_eq(block, file + (size_t)(r * BLOCKS + b) * info->bytes_per_block, info->bytes_per_block,
                                 "%s: row %d, block %d", layouts[i]->name, r, b);
            }
        free(file);
        free(panel);
    }
}

Test(layouts_r16, mxfp4_has_bytes_of_exponents_one_by_one)
{
    unsigned char *file, *panel = random_panel(&layout_mxfp4_r16, &file, 4);
    for (int b = 0; b < 4; b++)
        for (int r = 0; r < ROWS; r++) {
            const unsigned char *block = file + (r * 4 + b) * 17;
            cr_assert_eq(panel[b * 16 + r], block[0]);
            for (int j = 0; j < 16; j++)
                cr_assert_eq(panel[64 + b * 256 + j / 4 * 64 + 4 * r + j % 4], block[1 + j], "%d %d %d", b, r, j);
        }
    free(file);
    free(panel);
}

Test(layouts_r16, iq4_xs_has_halves_of_scales_one_by_one)
{
    unsigned char *file, *panel = random_panel(&layout_iq4_xs_r16, &file, 1);
    for (int r = 0; r < ROWS; r++) {
        cr_assert_eq(half_at(panel + 2 * r), half_at(file + r * 136));
        cr_assert_eq(half_at(panel + 32 + 2 * r), half_at(file + r * 136 + 2));
        cr_assert_eq(memcmp(panel + 64 + 4 * r, file + r * 136 + 4, 4), 0);
    }
    free(file);
    free(panel);
}

Test(layouts_r16, units_have_the_sizes_that_the_header_says)
{
    cr_expect_eq(r16_unit_bytes(sizeof(struct block_mxfp4), 1), 320u);
    cr_expect_eq(r16_panel_bytes(32, sizeof(struct block_q4_0), 160), 1152u + 320u);
    cr_expect_eq(r16_panel_bytes(256, sizeof(struct block_q3_k), 512), 2 * 1792u);
}
