/* 16-bit floats against an independent slow reference in double precision. */
#include "base/float16.h"

#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/rng.h"

/* A format of 16 bits by its numbers: bits of the fraction, smallest normal exponent, bits of the exponent. */
struct format {
    const char *name;
    int fraction_bits, min_exponent, exponent_bits;
    uint16_t (*from_float)(float);
    float (*to_float)(uint16_t);
};
static const struct format formats[2] = {
    {"fp16", 10, -14, 5, float_to_fp16, fp16_to_float},
    {"bf16", 7, -126, 8, float_to_bf16, bf16_to_float},
};

static unsigned max_exponent(const struct format *f) { return (1u << f->exponent_bits) - 1; }

/* Value of the bits of a finite number or infinity. */
static double value_of(const struct format *f, unsigned bits)
{
    unsigned exponent = (bits >> f->fraction_bits) & max_exponent(f), fraction = bits & ((1u << f->fraction_bits) - 1);
    double one = ldexp(1, f->fraction_bits);
    double v = exponent == max_exponent(f) ? INFINITY
               : exponent ? ldexp(one + fraction, f->min_exponent + (int)exponent - 1 - f->fraction_bits)
                          : ldexp(fraction, f->min_exponent - f->fraction_bits);
    return bits & 0x8000u ? -v : v;
}

/* Nearest value of the format, ties to even, as a double: rounds the number of quanta. */
static double nearest(const struct format *f, double x)
{
    int exponent;
    if (x == 0 || isinf(x)) return x;
    frexp(x, &exponent); /* 2^(exponent - 1) <= |x| */
    exponent = exponent - 1 < f->min_exponent ? f->min_exponent : exponent - 1;
    double quantum = ldexp(1, exponent - f->fraction_bits);
    double rounded = nearbyint(x / quantum) * quantum; /* the default mode rounds ties to even */
    double limit = ldexp(1, f->min_exponent + (int)max_exponent(f) - 1);
    return fabs(rounded) >= limit ? copysign(INFINITY, x) : rounded;
}

static bool is_nan16(const struct format *f, uint16_t h)
{
    unsigned infinity = max_exponent(f) << f->fraction_bits;
    return (h & 0x7fffu) > infinity;
}

static void expect_nearest(const struct format *f, float x)
{
    uint16_t got = f->from_float(x);
    if (isnan(x)) {
        cr_assert(is_nan16(f, got), "%s: %08x became %04x", f->name, float_bits(x), got);
        return;
    }
    cr_assert(!is_nan16(f, got) && value_of(f, got) == nearest(f, x), "%s: %a became %04x, expected %a", f->name,
              (double)x, got, nearest(f, x));
    cr_assert_eq(got >> 15, float_bits(x) >> 31, "%s: the sign of %a", f->name, (double)x);
}

Test(float16, all_65536_patterns_have_their_value)
{
    for (int i = 0; i < 2; i++)
        for (unsigned h = 0; h < 65536; h++) {
            const struct format *f = &formats[i];
            float x = f->to_float((uint16_t)h);
            cr_assert_eq(float_bits(x) >> 31, h >> 15);
            if (is_nan16(f, (uint16_t)h))
                cr_assert(isnan(x), "%s %04x", f->name, h);
            else
                cr_assert(value_of(f, h) == (double)x, "%s %04x: %a", f->name, h, (double)x);
        }
}

Test(float16, all_65536_patterns_survive_the_way_there_and_back)
{
    for (int i = 0; i < 2; i++)
        for (unsigned h = 0; h < 65536; h++) {
            const struct format *f = &formats[i];
            uint16_t back = f->from_float(f->to_float((uint16_t)h));
            if (is_nan16(f, (uint16_t)h))
                cr_assert(is_nan16(f, back));
            else
                cr_assert_eq(back, h, "%s", f->name);
        }
}

/* Around every representable number and every midpoint between two neighbours. */
Test(float16, floats_round_to_nearest_even)
{
    for (int i = 0; i < 2; i++)
        for (unsigned h = 0; h < (max_exponent(&formats[i]) << formats[i].fraction_bits); h++) {
            const struct format *f = &formats[i];
            uint32_t a = float_bits(f->to_float((uint16_t)h)), b = float_bits(f->to_float((uint16_t)(h + 1)));
            uint32_t middle = float_bits((float)((value_of(f, h) + fmin(value_of(f, h + 1), 3.5e38)) / 2));
            uint32_t around[] = {a, a + 1, middle - 1, middle, middle + 1, b - 1};
            for (size_t j = 0; j < sizeof around / sizeof *around; j++) {
                expect_nearest(f, bits_float(around[j]));
                expect_nearest(f, bits_float(around[j] | 0x80000000u));
            }
        }
}

Test(float16, any_float_rounds_to_nearest_even)
{
    struct rng rng = rng_seed(16);
    for (int i = 0; i < 1000000; i++) {
        float x = bits_float((uint32_t)rng_next(&rng));
        expect_nearest(&formats[i % 2], x);
    }
}

Test(float16, special_values)
{
    static const uint32_t bits[] = {
        0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000,
        0x7f7fffff, 0x7f800001, 0xff800001, 0x7fbfffff, 0x7fc00000, 0xffffffff, 0x7f80ffff,
        0x477fefff, 0x477ff000, 0x477fe000, 0x33000000, 0x33000001, 0x387fffff, 0x387fe000, 0x38800000,
    };
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        for (int f = 0; f < 2; f++) expect_nearest(&formats[f], bits_float(bits[i]));
}

/* ---- 8 bits: all patterns against the formulas of the formats ---- */

Test(float16, all_256_patterns_of_8_bit_floats_have_their_value)
{
    for (unsigned h = 0; h < 256; h++) {
        unsigned magnitude = h & 127u;
        double sign = h & 128u ? -1 : 1;
        float x = e4m3_to_float((uint8_t)h);
        cr_expect_eq(float_bits(x) >> 31, h >> 7, "e4m3 %02x", h);
        if (magnitude == 127) {
            cr_expect(isnan(x), "e4m3 %02x: %a", h, (double)x);
        } else {
            int exponent = (int)(magnitude >> 3);
            double v = exponent ? ldexp(8 + (magnitude & 7), exponent - 10) : ldexp(magnitude & 7, -9);
            cr_expect(sign * v == (double)x, "e4m3 %02x: %a", h, (double)x);
        }
        x = e5m2_to_float((uint8_t)h);
        cr_expect_eq(float_bits(x) >> 31, h >> 7, "e5m2 %02x", h);
        if (magnitude > 124) {
            cr_expect(isnan(x), "e5m2 %02x: %a", h, (double)x);
        } else {
            int exponent = (int)(magnitude >> 2);
            double v = exponent == 31 ? INFINITY
                       : exponent     ? ldexp(4 + (magnitude & 3), exponent - 17)
                                      : ldexp(magnitude & 3, -16);
            cr_expect(sign * v == (double)x, "e5m2 %02x: %a", h, (double)x);
        }
    }
    cr_expect_eq(e4m3_to_float(0x7e), 448.0f);
}

Test(float16, all_256_scales_are_powers_of_two)
{
    for (int h = 0; h < 256; h++) {
        float x = e8m0_to_float((uint8_t)h), half = e8m0_to_float_half((uint8_t)h);
        if (h == 255)
            cr_expect(isnan(x), "%a", (double)x);
        else
            cr_expect((double)x == ldexp(1, h - 127), "%d: %a", h, (double)x);
        cr_expect((double)half == ldexp(1, h - 128), "half of %d: %a", h, (double)half);
    }
}
