/* The tiles of ops/x86/tile.h in C: their arithmetic against sums made by hand and against plain models, and the shapes
 * they refuse. Runs on every machine. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define TILE_EMULATED
#include "ops/x86/tile.h"
#include "tests/support/rng.h"

/* Tiles 0 [m][n], 1 [m][k of 4 bytes], 2 [k][n]: shapes that fit for a product. */
static struct tile_shapes product_shapes(int m, int n, int k)
{
    struct tile_shapes s = {.palette = 1};
    s.rows[0] = s.rows[1] = (uint8_t)m;
    s.rows[2] = (uint8_t)k;
    s.row_bytes[0] = s.row_bytes[2] = (uint16_t)(4 * n);
    s.row_bytes[1] = (uint16_t)(4 * k);
    return s;
}

/* start + x . w [2 k], in one element of a tile. */
static float dot(float start, const float *x, const float *w, int k)
{
    uint16_t a[32], b[32];
    const struct tile_shapes shapes = product_shapes(1, 1, k);
    for (int i = 0; i < 2 * k; i++) a[i] = float_to_bf16(x[i]), b[i] = float_to_bf16(w[i]);
    tile_configure(&shapes);
    tile_load(0, &start, 4);
    tile_load(1, a, 64);
    tile_load(2, b, 4);
    tile_dot_bf16(0, 1, 2);
    tile_store(0, &start, 4);
    cr_expect_null(tile_fault(), "%s", tile_fault());
    tile_release();
    return start;
}

static float dot_one(float start, float x, float w)
{
    return dot(start, (const float[]){x, 0}, (const float[]){w, 0}, 1);
}

Test(tile, first_and_second_partners_are_chains_of_their_own_that_begin_at_zero)
{
    const float x[] = {0x1p24f, 1, -0x1p24f, 1}, ones[] = {1, 1, 1, 1};
    cr_expect_eq(dot(0, x, ones, 2), 2.0f, "one chain in order would lose a 1");
    cr_expect_eq(dot(0x1p24f, x, ones, 2), 0x1p24f + 2, "chains that began at the sum would lose both");
    const float y[] = {1, 0, 0x1p24f, 0, -0x1p24f, 0};
    cr_expect_eq(dot(0, y, (const float[]){1, 1, 1, 1, 1, 1}, 3), 0.0f, "k ascends");
}

Test(tile, products_are_fused_with_sums)
{
    const float x[] = {-0x1p127f, 0, 0x1p127f, 0}, w[] = {1, 0, 2, 0};
    cr_expect_eq(dot(0, x, w, 2), 0x1p127f, "the product alone would be infinite");
    cr_expect_eq(dot_one(0, 0x1p127f, 2), INFINITY);
    cr_expect(isnan(dot_one(-INFINITY, 0x1p127f, 2)));
    cr_expect(isnan(dot_one(0, NAN, 0)));
}

Test(tile, sums_round_to_even)
{
    cr_expect_eq(dot_one(0x1p24f, 1, 1), 0x1p24f);
    cr_expect_eq(dot_one(0x1p24f + 2, 1, 1), 0x1p24f + 4);
    cr_expect_eq(dot_one(-0x1p24f - 2, 1, -1), -0x1p24f - 4);
}

Test(tile, subnormal_numbers_are_zero_before_and_after_every_step)
{
    cr_expect_eq(dot_one(0, 0x1p-127f, 0x1p127f), 0.0f, "an input");
    cr_expect_eq(dot_one(0x1p-127f, 1, 0x1p-126f), 0x1p-126f, "the sum before");
    cr_expect_eq(dot_one(0, 0x1p-64f, 0x1p-63f), 0.0f, "a product");
    cr_expect_eq(dot_one(0x1.8p-126f, -1, 0x1p-126f), 0.0f, "the sum after");
    const float x[] = {0x1p-64f, 0, 0x1p-64f, 0}, w[] = {0x1p-63f, 0, 0x1p-63f, 0};
    cr_expect_eq(dot(0, x, w, 2), 0.0f, "two halves of the smallest normal number, one after the other");
    const float y[] = {0x1.8p-126f, 0x1p-126f}, v[] = {1, -1};
    cr_expect_eq(dot(0, y, v, 1), 0.0f, "the sum of both chains");
}

/* Exactly 2^-126 minus a part of the distance to the number before it, which is 2^-150: not 2^-149, the distance of
 * subnormal numbers. Measured on an AMD Zen 4: vdpbf16ps, and vfmadd in flush-to-zero mode. */
Test(tile, a_sum_is_subnormal_if_it_is_so_with_an_unbounded_exponent)
{
    cr_expect_eq(flushed_fma(-0x1.8p-75f, 0x1p-76f, FLT_MIN), 0.0f);
    cr_expect_eq(flushed_fma(-0x1.8p-76f, 0x1p-76f, FLT_MIN), FLT_MIN);
    cr_expect_eq(flushed_fma(-0x1p-75f, 0x1p-76f, FLT_MIN), FLT_MIN, "a tie goes to the even one");
    cr_expect_eq(flushed_fma(0x1.8p-75f, 0x1p-76f, -FLT_MIN), 0.0f);
    cr_expect(signbit(flushed_fma(0x1.8p-75f, 0x1p-76f, -FLT_MIN)));
}

/* Every shape, random numbers. */
Test(tile, products_are_those_of_plain_models)
{
    struct rng rng = rng_seed(1);
    for (int round = 0; round < 300; round++) {
        const int m = 1 + (int)rng_below(&rng, 16), n = 1 + (int)rng_below(&rng, 16), k = 1 + (int)rng_below(&rng, 16);
        const struct tile_shapes shapes = product_shapes(m, n, k);
        uint16_t a[16][32], b[16][32];
        float sums[16][16], floats[16][16];
        for (int r = 0; r < 16; r++) {
            rng_fill(&rng, sums[r], 16, -1, 1);
            for (int i = 0; i < 32; i++) a[r][i] = float_to_bf16(rng_float(&rng, -1, 1));
            for (int i = 0; i < 32; i++) b[r][i] = float_to_bf16(rng_float(&rng, -1, 1));
        }
        memset(floats, 0, sizeof floats);
        tile_configure(&shapes);
        tile_load(0, sums, 64);
        tile_load(1, a, 64);
        tile_load(2, b, 64);
        tile_dot_bf16(0, 1, 2);
        tile_store(0, floats, 64);
        cr_assert_null(tile_fault(), "%s", tile_fault());
        for (int r = 0; r < 16; r++)
            for (int c = 0; c < 16; c++) {
                double want = 0.0, magnitude = fabs((double)sums[r][c]);
                for (int i = 0; i < 2 * k; i++) {
                    double product = (double)bf16_to_float(a[r][i]) * (double)bf16_to_float(b[i / 2][2 * c + i % 2]);
                    want += product;
                    magnitude += fabs(product);
                }
                const bool inside = r < m && c < n;
                const double error = fabs((double)floats[r][c] - (inside ? want + (double)sums[r][c] : 0.0));
                cr_assert_leq(error, inside ? 34 * (FLT_EPSILON / 2) * magnitude : 0.0);
            }
    }
}

Test(tile, loads_zero_what_lies_beyond_the_shape)
{
    const struct tile_shapes wide = product_shapes(4, 4, 4);
    float ones[16][16], out[16][16];
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < 16; c++) ones[r][c] = 1, out[r][c] = 7;
    tile_configure(&wide);
    tile_load(0, ones, 64);
    cr_expect_eq(tile_unit.data[0][3][15], 0x3f);
    cr_expect_eq(tile_unit.data[0][3][16], 0);
    cr_expect_eq(tile_unit.data[0][4][0], 0);
    tile_store(0, out, 64);
    cr_expect(out[3][3] == 1 && out[3][4] == 7 && out[4][0] == 7);
    tile_configure(&wide);
    tile_store(0, out, 64);
    cr_expect_eq(out[0][0], 0.0f, "a configuration zeroes all tiles");
}

Test(tile, impossible_configurations_are_refused)
{
    for (int i = 0; i < 9; i++) {
        struct tile_shapes s = product_shapes(3, 4, 5);
        tile_configure(&s);
        cr_expect_null(tile_fault());
        if (i == 0) s.palette = 2;
        if (i == 1) s.start_row = 1;
        if (i == 2) s.reserved[13] = 1;
        if (i == 3) s.rows[1] = 17;
        if (i == 4) s.row_bytes[1] = 65;
        if (i == 5) s.rows[1] = 0;
        if (i == 6) s.row_bytes[1] = 0;
        if (i == 7) s.rows[8] = 1, s.row_bytes[8] = 4;
        if (i == 8) s.palette = 0;
        tile_configure(&s);
        cr_expect(tile_fault(), "case %d", i);
    }
}

Test(tile, products_of_tiles_that_do_not_fit_are_refused)
{
    for (int i = 0; i < 8; i++) {
        struct tile_shapes s = product_shapes(3, 4, 5);
        float out[16][16] = {{0}};
        if (i == 1) s.rows[0] = 4;
        if (i == 2) s.row_bytes[0] = 20;
        if (i == 3) s.rows[2] = 6;
        if (i == 4) s.row_bytes[0] = s.row_bytes[2] = 18;
        if (i == 5) s.rows[2] = s.row_bytes[2] = 0;
        tile_configure(&s);
        cr_expect_null(tile_fault());
        if (i == 6) {
            tile_dot_bf16(0, 1, 1);
        } else if (i == 7) {
            tile_dot_bf16(0, 1, 8);
        } else {
            tile_dot_bf16(0, 1, 2);
        }
        tile_store(0, out, 64);
        cr_expect_eq(tile_fault() != NULL, i > 0, "case %d", i);
        cr_expect_eq(isnan(out[0][0]) != 0, i > 0, "after a fault nothing right comes out, case %d", i);
    }
}

Test(tile, released_tiles_are_refused)
{
    const struct tile_shapes s = product_shapes(1, 1, 1);
    tile_configure(&s);
    tile_release();
    tile_zero(0);
    cr_expect_str_eq(tile_fault(), "tiles are not configured");
}
