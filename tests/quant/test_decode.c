/* Decoding, bit for bit against the floats of the formats' reference (tools/reference/make_quant_goldens.py). */
#include "quant/decode.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "tests/support/compare.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/rng.h"
#include "weights/archive.h"

#define GOLDEN SLUICE_TEST_DIR "/golden/quant/blocks.safetensors"

static struct archive *golden;

static void open_golden(void)
{
    struct failure f;
    cr_assert_eq(archive_open(&golden, GOLDEN, ARCHIVE_TENSORS, &f), SLUICE_OK, "%s cannot be opened", GOLDEN);
}

static void close_golden(void) { archive_close(&golden); }

TestSuite(decode, .init = open_golden, .fini = close_golden);

/* The golden tensor NAME.part [rows, columns] of a type; a test without it fails. */
static const struct tensor_view *part(enum dtype t, const char *what, enum dtype dtype, uint64_t columns)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", dtype_info(t)->name, what);
    const struct tensor_view *v = archive_find(golden, name);
    cr_assert(v && v->dtype == dtype && v->shape[0] >= 32, "%s: missing or odd", name);
    cr_assert_eq(v->n_dims == 2 ? v->shape[1] : 1, columns, "%s", name);
    return v;
}

struct blocks {
    size_t n, elements, bytes;   /* blocks, and what one of them holds */
    const unsigned char *blocks; /* [n, bytes] */
    const float *floats;         /* [n, elements] */
};

/* The golden blocks of a type; free_blocks gives them back. */
static struct blocks blocks_of(enum dtype t)
{
    const struct dtype_info *info = dtype_info(t);
    size_t elements = (size_t)info->elements_per_block;
    const struct tensor_view *blocks = part(t, "blocks", DTYPE_U8, info->bytes_per_block);
    const struct tensor_view *floats = part(t, "floats", DTYPE_F32, elements);
    cr_assert_eq(blocks->shape[0], floats->shape[0]);
    float *copy = malloc(floats->bytes); /* the file promises no alignment */
    cr_assert_not_null(copy);
    memcpy(copy, floats->data, floats->bytes);
    return (struct blocks){blocks->shape[0], elements, info->bytes_per_block, blocks->data, copy};
}

static void free_blocks(struct blocks *b) { free((void *)b->floats); }

/* y, decoded from golden blocks from number `first` on, is what it must be. */
static void expect_floats(enum dtype t, const struct blocks *b, const float *y, size_t first, size_t n)
{
    const float *expected = b->floats + first * b->elements;
    ptrdiff_t at = first_difference(y, expected, n * b->elements);
    if (at < 0) return;
    size_t block = first + (size_t)at / b->elements;
    char hex[2 * DTYPE_MAX_BLOCK_BYTES + 1];
    for (size_t i = 0; i < b->bytes; i++) snprintf(hex + 2 * i, 3, "%02x", b->blocks[block * b->bytes + i]);
    cr_assert_fail("%s: block %zu, element %zu is %a (%08x), expected %a (%08x); the block: %s", dtype_info(t)->name,
                   block, (size_t)at % b->elements, (double)y[at], float_bits(y[at]), (double)expected[at],
                   float_bits(expected[at]), hex);
}

/* ---- one type at a time ---- */

static struct criterion_test_params each_weight_type(void)
{
    static enum dtype types[N_DTYPES];
    size_t n = 0;
    for (int t = 0; t < N_DTYPES; t++)
        if (dtype_info((enum dtype)t)->is_weight) types[n++] = (enum dtype)t;
    return cr_make_param_array(enum dtype, types, n);
}
#define EACH_TYPE(name)                                                      \
    ParameterizedTestParameters(decode, name) { return each_weight_type(); } \
    ParameterizedTest(enum dtype *t, decode, name)

/* One call for all blocks, so several at once are covered. */
EACH_TYPE(golden_blocks_give_the_bits_of_the_reference)
{
    struct blocks b = blocks_of(*t);
    float *y = malloc(b.n * b.elements * sizeof *y);
    cr_assert_not_null(y);
    quant_decode(*t, y, b.blocks, b.n * b.elements);
    expect_floats(*t, &b, y, 0, b.n);
    free(y);
    free_blocks(&b);
}

/* Every block stands alone before a page that may not be touched, and in turn at every address modulo 16; so does what
 * is written. */
EACH_TYPE(nothing_beyond_a_block_is_touched)
{
    struct blocks b = blocks_of(*t);
    size_t float_bytes = b.elements * sizeof(float);
    for (size_t i = 0; i < b.n && i < 48; i++) {
        size_t shift = i % 16;
        struct guarded_buffer in = guarded_make(b.bytes, 0), early = guarded_make(b.bytes + shift, 0);
        struct guarded_buffer out = guarded_make(float_bytes, 0);
        memcpy(in.data, b.blocks + i * b.bytes, b.bytes);
        quant_decode(*t, out.data, in.data, b.elements);
        cr_assert_null(guarded_damage(&out), "%s: %s", dtype_info(*t)->name, guarded_damage(&out));
        expect_floats(*t, &b, out.data, i, 1);
        /* shifted away from the page's end */
        memcpy(early.data, in.data, b.bytes);
        quant_decode(*t, out.data, early.data, b.elements);
        expect_floats(*t, &b, out.data, i, 1);
        guarded_free(&in);
        guarded_free(&early);
        guarded_free(&out);
    }
    free_blocks(&b);
}

/* ---- many more blocks, by checksum: all indices of the codebooks, all scales of groups, all places ---- */

enum { PIECES = 64, PIECE = 64 };

static uint64_t mix(uint64_t state)
{
    struct rng r = rng_seed(state - UINT64_C(0x9e3779b97f4a7c15)); /* it is added before mixing */
    return rng_next(&r);
}

EACH_TYPE(4096_blocks_have_the_checksums_of_the_reference)
{
    const struct dtype_info *info = dtype_info(*t);
    const struct tensor_view *sums = part(*t, "sums", DTYPE_I64, 1);
    size_t n = (size_t)info->elements_per_block * PIECE, bytes = info->bytes_per_block * PIECE;
    cr_assert_eq(sums->shape[0], (uint64_t)PIECES);
    unsigned char *blocks = malloc(bytes);
    float *y = malloc(n * sizeof *y);
    cr_assert(blocks && y);
    struct rng r = rng_seed((uint64_t)*t);
    for (size_t p = 0; p < PIECES; p++) {
        if (p < 256 / PIECE) { /* all bytes of a block alike */
            for (size_t i = 0; i < bytes; i++) blocks[i] = (unsigned char)(p * PIECE + i / info->bytes_per_block);
        } else {
            for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
                uint64_t draw = rng_next(&r);
                memcpy(blocks + i, &draw, sizeof draw);
            }
        }
        quant_decode(*t, y, blocks, n);
        uint64_t sum = 0, expected;
        for (size_t i = 0; i < n; i++) sum += mix((uint64_t)i << 32 | (isnan(y[i]) ? 0x7fc00000u : float_bits(y[i])));
        memcpy(&expected, sums->data + p * sizeof expected, sizeof expected);
        cr_assert_eq(sum, expected, "%s: blocks %zu to %zu", info->name, p * PIECE, p * PIECE + PIECE - 1);
    }
    free(y);
    free(blocks);
}

/* ---- all types: panels are padded with zero bytes ---- */

Test(decode, zero_bytes_are_finite_and_no_numbers_write_nothing)
{
    static const unsigned char zero[DTYPE_MAX_BLOCK_BYTES];
    struct guarded_buffer none = guarded_make(0, 0);
    int n_types = 0;
    for (int t = 0; t < N_DTYPES; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);
        if (!info->is_weight) continue;
        float y[DTYPE_MAX_BLOCK_ELEMENTS];
        size_t n = (size_t)info->elements_per_block;
        for (size_t i = 0; i < n; i++) y[i] = NAN;
        quant_decode((enum dtype)t, y, zero, n);
        for (size_t i = 0; i < n; i++) cr_assert(isfinite(y[i]), "%s, element %zu", info->name, i);
        quant_decode((enum dtype)t, none.data, zero, 0);
        cr_assert_null(guarded_damage(&none), "%s", info->name);
        n_types++;
    }
    cr_expect_eq(n_types, 24);
    guarded_free(&none);
}

/* ---- the list of formats ---- */

Test(decode, the_list_of_formats_is_the_table_of_block_types)
{
    struct row {
        enum dtype type;
        int elements;
        size_t bytes;
        const char *name;
    };
    static const struct row rows[] = {
#define FORMAT(name, TYPE, elements) {DTYPE_##TYPE, elements, sizeof(struct block_##name), #name},
#include "quant/formats.inc"
    };
    size_t n = 0;
    for (int t = 0; t < N_DTYPES; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);
        if (!info->is_weight || info->elements_per_block == 1) continue;
        cr_assert(n < sizeof rows / sizeof *rows, "%s is not in the list", info->name);
        cr_expect_eq((int)rows[n].type, t, "%s", info->name);
        cr_expect_eq(rows[n].elements, info->elements_per_block, "%s", info->name);
        cr_expect_eq(rows[n].bytes, info->bytes_per_block, "%s", info->name);
        enum dtype named;
        if (info->gguf_type >= 0)
            cr_expect(dtype_from_word(rows[n].name, &named) && (int)named == t, "%s", rows[n].name);
        n++;
    }
    cr_expect_eq(n, sizeof rows / sizeof *rows);
}

/* A block formula worked out by hand, independent of the golden file: MXFP4 with the scale 2^(e - 127). */
Test(decode, mxfp4_is_the_exact_product_wherever_it_fits_a_float)
{
    static const double e2m1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6};
    for (int e = 0; e < 256; e++) {
        struct block_mxfp4 b = {.e = (uint8_t)e};
        float y[32];
        for (int i = 0; i < 16; i++) b.q[i] = (uint8_t)(i | (15 - i) << 4);
        quant_decode(DTYPE_MXFP4, y, &b, 32);
        for (int i = 0; i < 32; i++) {
            double exact = ldexp(e2m1[i < 16 ? i : 31 - i], e - 127);
            cr_assert(y[i] == (float)exact, "scale %d, element %d: %a", e, i, (double)y[i]);
        }
    }
}
