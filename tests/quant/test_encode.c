/* Quantisers, measured through quant_decode: how small their errors are, what they do with numbers that are exact,
 * equal, huge or tiny, and that a block depends on nothing but its own numbers. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/float16.h"
#include "quant/codec.h"
#include "quant/decode.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/rng.h"

enum { BLOCKS = 32, MAX_N = 256 * BLOCKS };

/* Numbers of the tests, filled by each. */
static float x[MAX_N], y[MAX_N], importance[MAX_N];
static unsigned char blocks[MAX_N * sizeof(float) + 16];

static size_t elements(enum dtype t) { return (size_t)dtype_info(t)->elements_per_block; }

/* for each block format that can be written */
#define FOR_FORMATS(t)                                \
    for (enum dtype t = DTYPE_F32; t < N_DTYPES; t++) \
        if (dtype_info(t)->can_encode && elements(t) > 1)

/* A normal variable (Box and Muller 1958). */
static float gauss(struct rng *r)
{
    double u = 1.0 - (double)rng_float(r, 0.0f, 1.0f), v = (double)rng_float(r, 0.0f, 1.0f);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

static void fill_gauss(float *to, size_t n, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    for (size_t i = 0; i < n; i++) to[i] = gauss(&rng);
}

/* Encodes x [n] and decodes it to y; the root of the mean square error, weighted if `by` is given. */
static double round_trip(enum dtype t, size_t n, const float *told, const float *by)
{
    double sum = 0.0, weights = 0.0;
    quant_encode(t, blocks, x, n, told);
    quant_decode(t, y, blocks, n);
    for (size_t i = 0; i < n; i++) {
        double w = by ? (double)by[i] : 1.0, r = (double)y[i] - (double)x[i];
        sum += w * r * r;
        weights += w;
    }
    return sqrt(sum / weights);
}

/* ---- size of the error --------------------------------------------------------------------------------------- */

/* Root mean square errors on normal numbers, and how much smaller than without it the weighted error is when the
 * quantiser knows the importance (squares of normal numbers). As measured; bounds are 1 % and 0.4 % above. */
static const struct expected {
    enum dtype t;
    double error, gain;
} expected[] = {
    {DTYPE_Q4_0, 0.081484, 0.9040},  {DTYPE_Q4_1, 0.069130, 0.8446},   {DTYPE_Q5_0, 0.039934, 0.9146},
    {DTYPE_Q5_1, 0.033392, 0.8468},  {DTYPE_Q8_0, 0.004987, 0.9393},   {DTYPE_Q2_K, 0.258381, 0.8095},
    {DTYPE_Q3_K, 0.143652, 0.8560},  {DTYPE_Q4_K, 0.069500, 0.8489},   {DTYPE_Q5_K, 0.034269, 0.8595},
    {DTYPE_Q6_K, 0.017002, 0.8813},  {DTYPE_IQ4_NL, 0.073249, 0.8844}, {DTYPE_IQ4_XS, 0.073653, 0.8865},
    {DTYPE_MXFP4, 0.113415, 0.9953},
};

Test(encode, every_block_format_has_bounds)
{
    FOR_FORMATS(t)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) found |= expected[i].t == t;
        cr_expect(found, "%s", dtype_info(t)->name);
    }
}

Test(encode, the_error_on_normal_numbers_is_small)
{
    fill_gauss(x, MAX_N, 1);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        double error = round_trip(expected[i].t, MAX_N, NULL, NULL);
        cr_expect(error <= 1.01 * expected[i].error, "%s: %.6f", dtype_info(expected[i].t)->name, error);
    }
}

Test(encode, importance_lowers_the_weighted_error)
{
    fill_gauss(x, MAX_N, 2);
    fill_gauss(importance, MAX_N, 3);
    for (size_t i = 0; i < MAX_N; i++) importance[i] *= importance[i];
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        enum dtype t = expected[i].t;
        double plain = round_trip(t, MAX_N, NULL, importance), told = round_trip(t, MAX_N, importance, importance);
        cr_expect(told <= 1.004 * expected[i].gain * plain, "%s: %.4f", dtype_info(t)->name, told / plain);
    }
}

Test(encode, the_error_is_relative_to_the_size_of_the_numbers)
{
    FOR_FORMATS(t)
    {
        fill_gauss(x, 8 * elements(t), 4);
        double plain = round_trip(t, 8 * elements(t), NULL, NULL);
        for (int i = -10; i <= 10; i += 5) { /* powers of two that a half scale can follow */
            float scale = ldexpf(1.0f, i);
            fill_gauss(x, 8 * elements(t), 4);
            for (size_t j = 0; j < 8 * elements(t); j++) x[j] *= scale;
            double error = round_trip(t, 8 * elements(t), NULL, NULL) / (double)scale;
            cr_expect(fabs(error - plain) <= 0.03 * plain, "%s times 2^%d: %g, not %g", dtype_info(t)->name, i, error,
                      plain);
        }
    }
}

/* One large number must not take the others with it where the format has scales for groups. */
Test(encode, an_outlier_costs_its_group_only)
{
    static const enum dtype grouped[] = {DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_IQ4_XS};
    for (size_t i = 0; i < sizeof grouped / sizeof *grouped; i++) {
        fill_gauss(x, 256, 5);
        x[3] = 30.0f;
        round_trip(grouped[i], 256, NULL, NULL);
        double sum = 0.0;
        for (int j = 32; j < 256; j++) sum += ((double)y[j] - (double)x[j]) * ((double)y[j] - (double)x[j]);
        cr_expect(sqrt(sum / 224) < 0.15, "%s: %.4f", dtype_info(grouped[i])->name, sqrt(sum / 224));
    }
}

/* ---- numbers that are exact, equal, zero --------------------------------------------------------------------- */

/* Blocks of random codes and scales, made so that encoding can find them: extreme codes and scales occur. */
static void random_block(enum dtype t, unsigned char *block, struct rng *rng)
{
    size_t bytes = dtype_info(t)->bytes_per_block;
    for (size_t i = 0; i < bytes; i++) block[i] = (unsigned char)rng_below(rng, 256);
    uint16_t d = float_to_fp16(rng_float(rng, 0.001f, 0.1f)), m = float_to_fp16(rng_float(rng, -1.0f, 0.0f));
    switch ((int)t) {
    case DTYPE_Q4_0:
    case DTYPE_IQ4_NL: /* codes 0 and 15 are both in the first byte */
        memcpy(block, &d, 2);
        block[2] = 0xf0;
        break;
    case DTYPE_Q5_0:
        memcpy(block, &d, 2);
        block[6] = 0xf0;
        block[2] &= 0xfe; /* element 0: 0, element 16: 31 */
        block[4] |= 1;
        break;
    case DTYPE_Q8_0:
        memcpy(block, &d, 2);
        for (int i = 2; i < 34; i++)
            if (block[i] == 0x80) block[i] = 0;
        block[9] = 0x81;
        break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
        memcpy(block, &d, 2);
        memcpy(block + 2, &m, 2);
        block[bytes - 16] = 0xf0;
        block[4] &= t == DTYPE_Q5_1 ? 0xfe : 0xff;
        if (t == DTYPE_Q5_1) block[6] |= 1;
        break;
    case DTYPE_MXFP4:
        block[0] = (unsigned char)(100 + rng_below(rng, 50));
        block[1] = 0xf7;
        break;
    }
}

Test(encode, numbers_of_a_block_come_back_exactly)
{
    static const enum dtype exact[] = {DTYPE_Q4_0, DTYPE_Q4_1,   DTYPE_Q5_0, DTYPE_Q5_1,
                                       DTYPE_Q8_0, DTYPE_IQ4_NL, DTYPE_MXFP4};
    struct rng rng = rng_seed(6);
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        for (int round = 0; round < 200; round++) {
            random_block(exact[i], blocks, &rng);
            quant_decode(exact[i], x, blocks, 32);
            double error = round_trip(exact[i], 32, NULL, NULL);
            float size = 0.0f; /* compared, not fmax: gcc 12 for aarch64 breaks down at that loop */
            for (int j = 0; j < 32; j++)
                if (fabsf(x[j]) > size) size = fabsf(x[j]);
            cr_assert(error <= 2e-7 * (double)size, "%s, round %d: %g of %g", dtype_info(exact[i])->name, round, error,
                      (double)size);
        }
}

/* Half the codes of Q5_1 are those of Q4_1: another choice of codes would be as good, but for the halves. */
Test(encode, numbers_of_q4_1_are_exact_in_q5_1)
{
    struct rng rng = rng_seed(22);
    rng_fill(&rng, importance, 32, 0.1f, 1.0f);
    for (int round = 0; round < 200; round++) {
        random_block(DTYPE_Q4_1, blocks, &rng);
        quant_decode(DTYPE_Q4_1, x, blocks, 32);
        cr_assert(round_trip(DTYPE_Q5_1, 32, round % 2 ? importance : NULL, NULL) == 0.0, "round %d", round);
    }
}

/* Whole numbers that need every scale: groups of 16 or 32 with scales 1, 2, 3 ... times the same step. */
Test(encode, groups_with_scales_in_proportion_come_back_exactly)
{
    static const struct {
        enum dtype t;
        int group, low, high, top; /* codes and the largest scale */
    } cases[] = {{DTYPE_Q3_K, 16, -4, 3, -32},
                 {DTYPE_Q6_K, 16, -32, 31, -128},
                 {DTYPE_Q2_K, 16, 0, 3, 15},
                 {DTYPE_Q4_K, 32, 0, 15, 63},
                 {DTYPE_Q5_K, 32, 0, 31, 63}};
    struct rng rng = rng_seed(7);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int round = 0; round < 20; round++) {
            int range = cases[c].high - cases[c].low, size = abs(cases[c].top);
            for (int g = 0; g < 256 / cases[c].group; g++) {
                int scale = g ? 1 + (int)rng_below(&rng, (uint32_t)size) : size;
                if (cases[c].top < 0) scale = -scale;
                for (int j = 0; j < cases[c].group; j++) {
                    int code = j == 0   ? cases[c].low
                               : j == 1 ? cases[c].high
                                        : cases[c].low + (int)rng_below(&rng, (uint32_t)range + 1);
                    x[g * cases[c].group + j] = 0.0078125f * (float)(scale * code);
                }
            }
            double error = round_trip(cases[c].t, 256, NULL, NULL);
            cr_assert(error < 1e-6, "%s, round %d: %g", dtype_info(cases[c].t)->name, round, error);
        }
}

Test(encode, zeros_stay_zeros)
{
    memset(x, 0, sizeof x);
    x[1] = x[70] = -0.0f;
    rng_fill(&(struct rng){1}, importance, MAX_N, 0.0f, 1.0f);
    FOR_FORMATS(t)
    for (int weighted = 0; weighted < 2; weighted++) {
        round_trip(t, 512, weighted ? importance : NULL, NULL);
        for (size_t i = 0; i < 512; i++) cr_assert(y[i] == 0.0f, "%s [%zu]: %g", dtype_info(t)->name, i, (double)y[i]);
    }
}

/* A half has 11 bits; only a scale that is a power of two cannot do that. */
Test(encode, equal_numbers_lose_no_more_than_a_half_does)
{
    struct rng rng = rng_seed(8);
    FOR_FORMATS(t)
    for (int round = 0; round < 50; round++) {
        float value = rng_float(&rng, 0.5f, 4.0f) * (round % 2 ? 1.0f : -1.0f);
        double bound = t == DTYPE_MXFP4 ? 0.2 : 0x1p-11;
        for (size_t i = 0; i < elements(t); i++) x[i] = value;
        double error = round_trip(t, elements(t), NULL, NULL) / fabs((double)value);
        cr_assert(error <= bound, "%s: %g of %g", dtype_info(t)->name, error, (double)value);
    }
}

/* Offsets have a sign in common. Where all numbers are positive it is the other one than usual, and numbers that differ
 * little are told apart although they are far from zero. */
Test(encode, offsets_above_zero_are_used)
{
    static const struct {
        enum dtype t;
        double error;
    } cases[] = {
        {DTYPE_Q4_1, 0.01}, {DTYPE_Q5_1, 0.005}, {DTYPE_Q2_K, 0.045}, {DTYPE_Q4_K, 0.012}, {DTYPE_Q5_K, 0.008}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int sign = -1; sign <= 1; sign += 2) {
            fill_gauss(x, MAX_N, 9);
            for (size_t i = 0; i < MAX_N; i++) x[i] = (float)sign * (1.0f + 0.1f * x[i]);
            double error = round_trip(cases[c].t, MAX_N, NULL, NULL);
            cr_expect(error < cases[c].error, "%s: %g", dtype_info(cases[c].t)->name, error);
        }
}

/* ---- codes --------------------------------------------------------------------------------------------------- */

/* With the scale of the block no other code of any element is nearer: the tables that find the nearest are right. */
Test(encode, every_code_is_the_nearest)
{
    static const enum dtype nibbles[] = {DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_IQ4_NL,
                                         DTYPE_MXFP4}; /* codes in the last 16 bytes */
    struct rng rng = rng_seed(10);
    for (size_t c = 0; c < sizeof nibbles / sizeof *nibbles; c++)
        for (int round = 0; round < 300; round++) {
            unsigned char *q = blocks + dtype_info(nibbles[c])->bytes_per_block - 16;
            float chosen[32];
            for (int i = 0; i < 32; i++) x[i] = round % 2 ? gauss(&rng) : rng_float(&rng, -1.0f, 1.0f);
            round_trip(nibbles[c], 32, NULL, NULL);
            memcpy(chosen, y, sizeof chosen);
            for (int code = 0; code < 16; code++) {
                memset(q, code * 17, 16);
                quant_decode(nibbles[c], y, blocks, 32);
                for (int i = 0; i < 32; i++)
                    cr_assert(fabsf(y[i] - x[i]) >= fabsf(chosen[i] - x[i]) * (1.0f - 1e-6f), "%s: %g for %g, not %g",
                              dtype_info(nibbles[c])->name, (double)chosen[i], (double)x[i], (double)y[i]);
            }
        }
}

Test(encode, bytes_never_hold_minus_128)
{
    fill_gauss(x, MAX_N, 11);
    quant_encode(DTYPE_Q8_0, blocks, x, MAX_N, NULL);
    for (size_t i = 0; i < MAX_N; i++) cr_assert_neq(blocks[i / 32 * 34 + 2 + i % 32], 0x80);
}

Test(encode, plain_floats_are_rounded)
{
    struct rng rng = rng_seed(12);
    for (size_t i = 0; i < MAX_N; i++)
        x[i] = rng_float(&rng, -1.0f, 1.0f) * ldexpf(1.0f, (int)rng_below(&rng, 80) - 40);
    x[0] = 65520.0f; /* the first that no half can hold */
    x[1] = -FLT_MAX;
    unsigned char *to = blocks + 1;
    quant_encode(DTYPE_F32, to, x, MAX_N, NULL);
    cr_expect(memcmp(to, x, sizeof x) == 0);
    for (int half = 0; half < 2; half++) {
        quant_encode(half ? DTYPE_F16 : DTYPE_BF16, to, x, MAX_N, importance);
        for (size_t i = 0; i < MAX_N; i++) {
            uint16_t bits, wanted = half ? float_to_fp16(x[i]) : float_to_bf16(x[i]);
            memcpy(&bits, to + 2 * i, sizeof bits);
            cr_assert_eq(bits, wanted, "%g", (double)x[i]);
        }
    }
    uint16_t infinite;
    memcpy(&infinite, to, sizeof infinite);
    cr_expect_eq(infinite, 0x7c00);
}

/* ---- hostile numbers ----------------------------------------------------------------------------------------- */

static void expect_finite(enum dtype t, size_t n, const float *told, const char *what)
{
    quant_encode(t, blocks, x, n, told);
    quant_decode(t, y, blocks, n);
    for (size_t i = 0; i < n; i++)
        cr_assert(isfinite(y[i]), "%s, %s: %g became %g", dtype_info(t)->name, what, (double)x[i], (double)y[i]);
}

Test(encode, any_magnitude_stays_finite)
{
    static const float sizes[] = {FLT_MAX, 1e30f, 1e10f, 65504.0f, 1e-4f, 6e-8f, 1e-12f, 1e-30f, FLT_MIN, 0x1p-149f};
    struct rng rng = rng_seed(13);
    FOR_FORMATS(t)
    {
        size_t n = 2 * elements(t);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (size_t i = 0; i < n; i++) x[i] = rng_float(&rng, -1.0f, 1.0f) * sizes[s];
            x[0] = sizes[s];
            expect_finite(t, n, NULL, "one size");
            for (size_t w = 0; w < sizeof sizes / sizeof *sizes; w++) {
                for (size_t i = 0; i < n; i++) importance[i] = rng_float(&rng, 0.0f, 1.0f) * sizes[w];
                importance[1] = sizes[s];
                expect_finite(t, n, importance, "importance");
            }
            for (size_t i = 0; i < n; i++) x[i] = sizes[s];
            expect_finite(t, n, NULL, "equal");
            for (size_t i = 0; i < n; i++) x[i] = i % 7 == 3 ? -sizes[s] : 0.0f;
            expect_finite(t, n, NULL, "with zeros");
        }
        for (int round = 0; round < 100; round++) {
            rng_fill_awkward(&rng, x, n);
            rng_fill_awkward(&rng, importance, n);
            for (size_t i = 0; i < n; i++) importance[i] = fabsf(importance[i]);
            expect_finite(t, n, round % 2 ? importance : NULL, "awkward");
        }
    }
}

/* Beyond the largest scale numbers are cut off, with their sign. */
Test(encode, numbers_beyond_a_half_scale_become_the_largest)
{
    FOR_FORMATS(t)
    {
        for (size_t i = 0; i < elements(t); i++) x[i] = i % 2 ? 1e30f : -1e30f;
        round_trip(t, elements(t), NULL, NULL);
        for (size_t i = 0; i < elements(t); i++)
            cr_assert(y[i] * x[i] > 0.0f && fabsf(y[i]) > 6e4f, "%s: %g", dtype_info(t)->name, (double)y[i]);
    }
}

/* ---- what a block depends on --------------------------------------------------------------------------------- */

Test(encode, a_block_depends_on_its_own_numbers_only)
{
    static unsigned char one[256];
    fill_gauss(x, 1024, 14);
    rng_fill(&(struct rng){15}, importance, 1024, 0.0f, 1.0f);
    for (size_t i = 0; i < 256; i++) x[i + 256] *= 1000.0f, importance[i + 512] *= 1000.0f;
    FOR_FORMATS(t)
    for (int weighted = 0; weighted < 2; weighted++) {
        const float *w = weighted ? importance : NULL;
        size_t bytes = dtype_info(t)->bytes_per_block;
        quant_encode(t, blocks, x, 1024, w);
        for (size_t i = 0; i < 1024 / elements(t); i++) {
            quant_encode(t, one, x + i * elements(t), elements(t), w ? w + i * elements(t) : NULL);
            cr_assert(memcmp(one, blocks + i * bytes, bytes) == 0, "%s, block %zu", dtype_info(t)->name, i);
        }
    }
}

Test(encode, importance_that_says_nothing_changes_nothing)
{
    static unsigned char plain[8192];
    fill_gauss(x, 1024, 16);
    FOR_FORMATS(t)
    {
        size_t bytes = blocks_bytes(t, 1024);
        quant_encode(t, plain, x, 1024, NULL);
        for (int i = 0; i < 2; i++) {
            for (size_t j = 0; j < 1024; j++) importance[j] = i ? 4.0f : 0.0f;
            quant_encode(t, blocks, x, 1024, importance);
            cr_assert(memcmp(plain, blocks, bytes) == 0, "%s, importance %d", dtype_info(t)->name, i);
        }
        /* one block of two without importance */
        for (size_t j = 0; j < elements(t); j++) importance[j] = 0.0f, importance[j + elements(t)] = (float)(j + 1);
        quant_encode(t, blocks, x, 2 * elements(t), importance);
        cr_assert(memcmp(plain, blocks, bytes / (1024 / elements(t))) == 0, "%s", dtype_info(t)->name);
    }
}

Test(encode, only_the_ratios_of_importance_count)
{
    static unsigned char first[8192];
    fill_gauss(x, 1024, 20);
    FOR_FORMATS(t)
    for (int i = -100; i <= 100; i += 100) {
        rng_fill(&(struct rng){21}, importance, 1024, 0.01f, 1.0f);
        for (size_t j = 0; j < 1024; j++) importance[j] = ldexpf(importance[j], i);
        quant_encode(t, i == -100 ? first : blocks, x, 1024, importance);
        if (i > -100) cr_expect(memcmp(first, blocks, blocks_bytes(t, 1024)) == 0, "%s: 2^%d", dtype_info(t)->name, i);
    }
}

/* Exactly the blocks are written, the floats are read and nothing else; any address will do. */
Test(encode, nothing_else_is_touched)
{
    FOR_FORMATS(t)
    {
        size_t n = 2 * elements(t), bytes = blocks_bytes(t, n);
        struct guarded_buffer in = guarded_make(n * sizeof(float), 0), told = guarded_make(n * sizeof(float), 0);
        fill_gauss(in.data, n, 17);
        rng_fill(&(struct rng){18}, told.data, n, 0.0f, 1.0f);
        quant_encode(t, blocks, in.data, n, told.data);
        for (size_t shift = 0; shift < 4; shift++) {
            struct guarded_buffer out = guarded_make(bytes, shift);
            quant_encode(t, out.data, in.data, n, told.data);
            cr_expect_null(guarded_damage(&out), "%s: %s", dtype_info(t)->name, guarded_damage(&out));
            cr_expect(memcmp(out.data, blocks, bytes) == 0, "%s at %zu", dtype_info(t)->name, shift);
            quant_encode(t, out.data, in.data, 0, NULL);
            cr_expect(memcmp(out.data, blocks, bytes) == 0, "%s: no numbers, no blocks", dtype_info(t)->name);
            guarded_free(&out);
        }
        guarded_free(&in);
        guarded_free(&told);
    }
}

/* Compilers and processors agree about every bit. A change of a quantiser changes its line: put what the test says. */
Test(encode, the_same_blocks_everywhere)
{
    static const struct {
        enum dtype t;
        uint64_t hash;
    } lines[] = {
        {DTYPE_Q4_0, 0xd85affb9d33c781e},  {DTYPE_Q4_1, 0x60632d0b95b133d7},   {DTYPE_Q5_0, 0x248a2306c5772417},
        {DTYPE_Q5_1, 0x93d9b006fb40e236},  {DTYPE_Q8_0, 0xd559492c1231169c},   {DTYPE_Q2_K, 0xdc3bc5622f997f0f},
        {DTYPE_Q3_K, 0x8f95b6374c8ccaac},  {DTYPE_Q4_K, 0x18f94acf10a70ae2},   {DTYPE_Q5_K, 0x74b014f49be53ef9},
        {DTYPE_Q6_K, 0x8d573366bf212522},  {DTYPE_IQ4_NL, 0x9a653e5e6d1e2596}, {DTYPE_IQ4_XS, 0xd2f7a641c115cd85},
        {DTYPE_MXFP4, 0x6cc12fe0af24a16c},
    };
    enum { N = 4096 };
    struct rng rng = rng_seed(19);
    for (size_t i = 0; i < N; i++) { /* nothing but exact arithmetic here: no library function may differ */
        x[i] = rng_float(&rng, -1.0f, 1.0f) + rng_float(&rng, -1.0f, 1.0f) + rng_float(&rng, -1.0f, 1.0f);
        if (i / 256 % 4 == 3) x[i] += 4.0f;
        importance[i] = rng_float(&rng, 0.0f, 1.0f) * rng_float(&rng, 0.0f, 1.0f);
    }
    for (size_t c = 0; c < sizeof lines / sizeof *lines; c++) {
        uint64_t hash = 14695981039346656037u; /* FNV-1a */
        for (int weighted = 0; weighted < 2; weighted++) {
            quant_encode(lines[c].t, blocks, x, N, weighted ? importance : NULL);
            for (size_t i = 0; i < blocks_bytes(lines[c].t, N); i++) hash = (hash ^ blocks[i]) * 1099511628211u;
        }
        cr_expect_eq(hash, lines[c].hash, "%s: 0x%016llx", dtype_info(lines[c].t)->name, (unsigned long long)hash);
    }
}
