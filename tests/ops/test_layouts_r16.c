/* The drawing of the layouts <format>_r16 (panel.h), element by element; what does not depend on the drawing is in
 * test_registry.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ops/r16.h"
#include "ops/variants.h"
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

Test(layouts_r16, q6_k_ends_with_scales_and_its_unit_at_a_line)
{
    enum { UNIT = 3392 };
    unsigned char *file, *panel = random_panel(&layout_q6_k_r16, &file, 2);
    cr_assert_eq(layout_q6_k_r16.packed_bytes(ROWS, 512), 2 * UNIT);
    for (int b = 0; b < 2; b++)
        for (int r = 0; r < ROWS; r++) {
            const unsigned char *unit = panel + b * UNIT, *block = file + (r * 2 + b) * 210;
            for (int j = 0; j < 208; j++) cr_assert_eq(unit[j / 4 * 64 + 4 * r + j % 4], block[j], "%d %d %d", b, r, j);
            cr_assert_eq(half_at(unit + 208 * 16 + 2 * r), half_at(block + 208));
        }
    free(file);
    free(panel);
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

/* The offsets that kernels compute, against the drawing. */
Test(layouts_r16, fields_are_where_the_header_says)
{
    cr_expect_eq(R16_FIELD(q4_0, q, 4, 1), 4u * 32 + 256);
    cr_expect_eq(R16_FIELD(q4_0, q, 3, 2), 3u * 32 + 2 * 256);
    cr_expect_eq(R16_FIELD(q4_k, scales, 1, 0), 64u);
    cr_expect_eq(r16_unit_bytes(sizeof(struct block_mxfp4), 1), 320u);
    cr_expect_eq(r16_panel_bytes(32, sizeof(struct block_q4_0), 160), 1152u + 320u);
    cr_expect_eq(r16_panel_bytes(256, sizeof(struct block_q3_k), 512), 2 * 1792u);
}
