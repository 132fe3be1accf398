/* Rows of matrices as files hold them: slices, reordered heads, FP8 with tiles of scales, MXFP4 in pairs. Numbers are
 * computed by hand or by the shortest formula. */
#include "model/rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/float16.h"
#include "quant/blocks.h"
#include "quant/codec.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/rng.h"

TestSuite(rows);

/* A tensor in memory that lies at an odd address and ends where the readable page ends. */
struct tensor {
    struct guarded_buffer buffer;
    struct tensor_view view;
};

static struct tensor make_tensor(const char *name, enum dtype dtype, const void *data, size_t n)
{
    struct tensor t = {.buffer = guarded_make(n, 1)};
    memcpy(t.buffer.data, data, n);
    t.view =
        (struct tensor_view){.name = name, .file = "a.safetensors", .dtype = dtype, .data = t.buffer.data, .bytes = n};
    return t;
}

static void expect_rows(const struct row_source *s, const float *expected, const char *what)
{
    const size_t row_bytes = rows_row_bytes(s), k = (size_t)s->k;
    struct guarded_buffer y = guarded_make(k * sizeof(float), 0), scratch = guarded_make(row_bytes, 0);
    unsigned char *all = malloc((size_t)s->n * row_bytes);
    cr_assert(all);
    rows_read(s, all, 0, s->n);
    for (int row = 0; row < s->n; row++) {
        rows_read_float(s, y.data, row, scratch.data);
        for (size_t i = 0; i < k; i++)
            cr_assert_eq(((float *)y.data)[i], expected[(size_t)row * k + i], "%s: [%d, %zu]: %g, expected %g", what,
                         row, i, (double)((float *)y.data)[i], (double)expected[(size_t)row * k + i]);
        rows_read(s, scratch.data, row, row + 1);
        cr_assert_eq(memcmp(scratch.data, all + (size_t)row * row_bytes, row_bytes), 0, "%s: row %d alone", what, row);
    }
    free(all);
    guarded_free(&y);
    guarded_free(&scratch);
}

/* ---- plain ------------------------------------------------------------------------------------------------------- */

Test(rows, a_slice_of_floats_is_read_as_it_lies)
{
    float values[6 * 5];
    for (int i = 0; i < 30; i++) values[i] = (float)i;
    struct tensor t = make_tensor("a", DTYPE_F32, values, sizeof values);
    struct row_source s = {.dtype = DTYPE_F32, .n = 3, .k = 5, .view = &t.view, .data = t.view.data + 2 * 5 * 4};
    cr_expect(rows_direct(&s));
    cr_expect_eq(rows_row_bytes(&s), 20u);
    cr_expect_eq(rows_file_bytes(&s), 60u);
    cr_expect_eq(rows_element(&s, 1, 4), 19u);
    expect_rows(&s, values + 10, "slice");
    guarded_free(&t.buffer);
}

Test(rows, blocks_are_decoded)
{
    struct block_q8_0 blocks[4] = {{0}};
    float expected[4 * 32];
    for (int i = 0; i < 4 * 32; i++) {
        blocks[i / 32].d = float_to_fp16(0.5f * (float)(1 + i / 32));
        blocks[i / 32].q[i % 32] = (int8_t)(i - 60);
        expected[i] = (float)(i - 60) * 0.5f * (float)(1 + i / 32);
    }
    struct tensor t = make_tensor("a", DTYPE_Q8_0, blocks, sizeof blocks);
    struct row_source s = {.dtype = DTYPE_Q8_0, .n = 2, .k = 64, .view = &t.view, .data = t.view.data};
    cr_expect(rows_direct(&s));
    cr_expect_eq(rows_row_bytes(&s), 68u);
    cr_expect_eq(rows_file_bytes(&s), 136u);
    expect_rows(&s, expected, "Q8_0");
    guarded_free(&t.buffer);
}

/* ---- reordered heads --------------------------------------------------------------------------------------------- */

Test(rows, rows_of_each_head_are_put_back)
{
    /* two heads of 6 rows; the file has rows 0 3 1 4 2 5 of each, and a row holds its number in the model */
    static const float file[12] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
    float expected[12], rows_f16[12][2], wide[24];
    uint16_t half[24];
    for (int i = 0; i < 12; i++) {
        expected[i] = (float)i;
        rows_f16[i][0] = (float)i;
        rows_f16[i][1] = -(float)i;
        half[2 * i] = float_to_fp16(file[i]);
        half[2 * i + 1] = float_to_fp16(-file[i]);
    }
    struct tensor vector = make_tensor("bias", DTYPE_F32, file, sizeof file);
    struct row_source s = {.dtype = DTYPE_F32,
                           .n = 12,
                           .k = 1,
                           .view = &vector.view,
                           .data = vector.view.data,
                           .order = {ORDER_PAIRS, 6, 6, 0, 0}};
    cr_expect(!rows_direct(&s));
    expect_rows(&s, expected, "vector");
    cr_expect_eq(rows_element(&s, 1, 0), 2u, "row 1 of the model is the file's row 2");
    cr_expect_eq(rows_element(&s, 10, 0), 9u);

    struct tensor matrix = make_tensor("weight", DTYPE_F16, half, sizeof half);
    s = (struct row_source){.dtype = DTYPE_F16,
                            .n = 12,
                            .k = 2,
                            .view = &matrix.view,
                            .data = matrix.view.data,
                            .order = {ORDER_PAIRS, 6, 6, 0, 0}};
    memcpy(wide, rows_f16, sizeof wide);
    expect_rows(&s, wide, "matrix");
    guarded_free(&vector.buffer);
    guarded_free(&matrix.buffer);
}

/* ---- FP8 --------------------------------------------------------------------------------------------------------- */

static float e4m3(unsigned code)
{
    const int exponent = (int)(code >> 3 & 15), mantissa = (int)(code & 7);
    const double size = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);
    return (float)(code & 128 ? -size : size);
}

Test(rows, e4m3_by_hand)
{
    cr_expect_eq(e4m3(0x38), 1.0f);
    cr_expect_eq(e4m3(0xc1), -2.25f);
    cr_expect_eq(e4m3(0x7e), 448.0f);
    cr_expect_eq(e4m3(0x01), 0.001953125f);
}

struct fp8 {
    struct tensor codes, scales;
    struct row_source rows;
    float *expected; /* [n, k] */
};

/* n rows that begin at row `tile_row` of their tiles. */
static struct fp8 make_fp8(int n, int k, int tile_row, enum dtype scale_type)
{
    struct rng rng = rng_seed((uint64_t)(n * 1000 + k));
    const int columns = (k + 127) / 128, n_tiles = (tile_row + n + 127) / 128 * columns;
    unsigned char *codes = malloc((size_t)(n * k)), *stored = malloc((size_t)n_tiles * 4);
    float *scales = malloc((size_t)n_tiles * sizeof *scales);
    struct fp8 p = {.expected = malloc((size_t)(n * k) * sizeof(float))};
    cr_assert(codes && stored && scales && p.expected);
    rng_fill(&rng, scales, (size_t)n_tiles, -2.0f, 2.0f);
    for (int i = 0; i < n_tiles; i++) {
        uint16_t half = scale_type == DTYPE_F16 ? float_to_fp16(scales[i]) : float_to_bf16(scales[i]);
        if (scale_type == DTYPE_F32) {
            memcpy(stored + 4 * i, &scales[i], 4);
        } else {
            memcpy(stored + 2 * i, &half, 2);
            scales[i] = scale_type == DTYPE_F16 ? fp16_to_float(half) : bf16_to_float(half);
        }
    }
    for (int i = 0; i < n * k; i++) {
        codes[i] = (unsigned char)(i * 37 + i / 251);
        if ((codes[i] & 127) == 127) codes[i] ^= 1; /* not a number */
        p.expected[i] = e4m3(codes[i]) * scales[(tile_row + i / k) / 128 * columns + i % k / 128];
    }
    p.codes = make_tensor("w", DTYPE_F8_E4M3, codes, (size_t)(n * k));
    p.scales = make_tensor("w_scale_inv", scale_type, stored, (size_t)n_tiles * (scale_type == DTYPE_F32 ? 4 : 2));
    p.rows = (struct row_source){.encoding = ROWS_FP8_BLOCKS,
                                 .dtype = DTYPE_F8_B128,
                                 .n = n,
                                 .k = k,
                                 .data = p.codes.view.data,
                                 .scale_data = p.scales.view.data,
                                 .tile_row = tile_row};
    free(codes);
    free(stored);
    free(scales);
    return p;
}

static void free_fp8(struct fp8 *p)
{
    guarded_free(&p->codes.buffer);
    guarded_free(&p->scales.buffer);
    free(p->expected);
}

Test(rows, fp8_is_code_times_the_scale_of_its_tile)
{
    static const struct {
        int n, k, tile_row;
        enum dtype scales;
        size_t row_bytes, file_bytes;
    } cases[] = {
        {1, 1, 0, DTYPE_F32, 132, 1 + 4},
        {300, 128, 0, DTYPE_F32, 132, 300 * 128 + 3 * 4},
        {129, 200, 0, DTYPE_BF16, 264, 129 * 200 + 4 * 2},
        {150, 257, 22, DTYPE_F16, 396, 150 * 257 + 6 * 2},
        {30, 130, 127, DTYPE_F32, 264, 30 * 130 + 4 * 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fp8 p = make_fp8(cases[i].n, cases[i].k, cases[i].tile_row, cases[i].scales);
        struct failure f = {0};
        p.rows.view = &p.codes.view;
        p.rows.scales = &p.scales.view;
        cr_expect(!rows_direct(&p.rows));
        cr_expect_eq(rows_row_bytes(&p.rows), cases[i].row_bytes);
        cr_expect_eq(rows_file_bytes(&p.rows), cases[i].file_bytes);
        expect_rows(&p.rows, p.expected, "FP8");
        cr_expect_eq((int)rows_check_scales(&p.rows, &f), (int)SLUICE_OK);
        free_fp8(&p);
    }
}

Test(rows, what_fills_the_last_block_is_zero)
{
    struct fp8 p = make_fp8(2, 130, 0, DTYPE_F32);
    struct block_f8_b128 row[2];
    p.rows.view = &p.codes.view;
    p.rows.scales = &p.scales.view;
    rows_read(&p.rows, row, 1, 2);
    for (int i = 2; i < 128; i++) cr_assert_eq(row[1].q[i], 0);
    free_fp8(&p);
}

Test(rows, a_scale_that_is_not_finite_is_named)
{
    struct fp8 p = make_fp8(130, 300, 100, DTYPE_F32); /* tiles [2, 3] */
    struct failure f = {0};
    const float bad[] = {NAN, INFINITY, -INFINITY};
    p.rows.view = &p.codes.view;
    p.rows.scales = &p.scales.view;
    for (size_t i = 0; i < 6; i++) {
        float *at = (float *)(void *)((char *)p.scales.buffer.data + 4 * i), good;
        memcpy(&good, at, 4);
        memcpy(at, &bad[i % 3], 4);
        char line[96];
        snprintf(line, sizeof line, "a.safetensors: tensor \"w_scale_inv\": element %zu is not finite", i);
        cr_expect_eq((int)rows_check_scales(&p.rows, &f), (int)SLUICE_FORMAT);
        cr_expect_str_eq(f.text, line);
        memcpy(at, &good, 4);
    }
    p.rows.scale_data += 12; /* the second row of tiles: elements keep their number within the tensor */
    p.rows.n = 28;
    memcpy((char *)p.scales.buffer.data + 4 * 5, &bad[0], 4);
    cr_expect_eq((int)rows_check_scales(&p.rows, &f), (int)SLUICE_FORMAT);
    cr_expect_str_eq(f.text, "a.safetensors: tensor \"w_scale_inv\": element 5 is not finite");
    free_fp8(&p);
}

/* ---- MXFP4 ------------------------------------------------------------------------------------------------------- */

Test(rows, neighbours_of_mxfp4_are_parted)
{
    /* element i of block 0 is code i % 16, of block 1 code 15 - i % 16; scales 2^0 and 2^3; a second row has other
     * scales and the blocks swapped */
    static const float value[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    static const unsigned char scales[4] = {127, 130, 126, 129};
    unsigned char pairs[4][16];
    float expected[2 * 64];
    struct block_mxfp4 got[2];
    for (int b = 0; b < 4; b++) {
        const bool down = b == 1 || b == 2;
        for (int i = 0; i < 32; i++) {
            const int code = down ? 15 - i % 16 : i % 16;
            expected[b * 32 + i] = value[code] * ldexpf(1, scales[b] - 127);
        }
        for (int i = 0; i < 16; i++) { /* byte i: elements 2i (low) and 2i + 1 (high) */
            const int low = 2 * i % 16, high = (2 * i + 1) % 16;
            pairs[b][i] = (unsigned char)(down ? (15 - low) | (15 - high) << 4 : low | high << 4);
        }
    }
    struct tensor blocks = make_tensor("x_blocks", DTYPE_U8, pairs, sizeof pairs);
    struct tensor exponents = make_tensor("x_scales", DTYPE_U8, scales, sizeof scales);
    struct row_source s = {.encoding = ROWS_MXFP4_PAIRS,
                           .dtype = DTYPE_MXFP4,
                           .n = 2,
                           .k = 64,
                           .view = &blocks.view,
                           .data = blocks.view.data,
                           .scales = &exponents.view,
                           .scale_data = exponents.view.data};
    cr_expect(!rows_direct(&s));
    cr_expect_eq(rows_row_bytes(&s), 34u);
    cr_expect_eq(rows_file_bytes(&s), 68u);
    cr_expect_eq(rows_element(&s, 1, 3), 67u);
    expect_rows(&s, expected, "MXFP4");
    rows_read(&s, got, 0, 1);
    cr_expect_eq(got[0].e, 127);
    cr_expect_eq(got[0].q[0], 0x00, "elements 0 and 16");
    cr_expect_eq(got[0].q[5], 0x55, "elements 5 and 21");
    cr_expect_eq(got[1].e, 130);
    cr_expect_eq(got[1].q[0], 0xff);
    cr_expect_eq(got[1].q[14], 0x11);
    guarded_free(&blocks.buffer);
    guarded_free(&exponents.buffer);
}
