/* The rotary table against published check values of known models, and that no scaling makes anything but numbers. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "model/config.h"

enum { MAX_HALF = 256 };

/* The table's second row holds the frequencies: the angles of position 1, all at most 1. */
struct spectrum {
    double frequency[MAX_HALF], magnitude[MAX_HALF];
};

static struct spectrum spectrum_of(const struct rope_config *r)
{
    static float cosine[2 * MAX_HALF], sine[2 * MAX_HALF];
    const int half = r->n_rot / 2;
    struct spectrum s;
    cr_assert_leq(half, MAX_HALF);
    rope_table(r, 2, cosine, sine);
    for (int i = 0; i < half; i++) {
        double c = (double)cosine[half + i], d = (double)sine[half + i];
        s.frequency[i] = atan2(d, c);
        s.magnitude[i] = sqrt(c * c + d * d);
    }
    return s;
}

static void expect_close(double got, double expected, double relative, const char *what, int i)
{
    cr_expect(fabs(got - expected) <= relative * fabs(expected), "%s[%d]: %.9g, expected %.9g", what, i, got, expected);
}

static double plain(double theta, int i, int head_dim) { return pow(theta, -2.0 * i / head_dim); }

Test(rope, plain_frequencies)
{
    struct rope_config r = {.scaling = ROPE_DEFAULT, .n_rot = 128, .theta = 10000, .factor = 1};
    struct spectrum s = spectrum_of(&r);
    for (int i = 0; i < 64; i++) {
        expect_close(s.frequency[i], plain(10000, i, 128), 3e-7, "frequency", i);
        expect_close(s.magnitude[i], 1, 2e-7, "magnitude", i);
    }
}

Test(rope, linear_scaling_divides_every_frequency)
{
    struct rope_config r = {.scaling = ROPE_LINEAR, .n_rot = 20, .theta = 10000, .factor = 2.5};
    struct spectrum s = spectrum_of(&r);
    for (int i = 0; i < 10; i++) expect_close(s.frequency[i], plain(10000, i, 20) / 2.5, 3e-7, "frequency", i);
}

/* Position 0 is the identity; any other is the cosine of the angle as float, to the last bit. */
Test(rope, positions)
{
    enum { HEAD_DIM = 8, HALF = HEAD_DIM / 2, N = 131072 };
    static const int positions[] = {0, 1, 2, 7, 4096, 65537, N - 1};
    struct rope_config r = {.scaling = ROPE_DEFAULT, .n_rot = HEAD_DIM, .theta = 1e6, .factor = 1};
    float *cosine = malloc(sizeof(float) * N * HALF), *sine = malloc(sizeof(float) * N * HALF);
    cr_assert(cosine && sine);
    rope_table(&r, N, cosine, sine);
    for (size_t j = 0; j < sizeof positions / sizeof *positions; j++)
        for (int i = 0; i < HALF; i++) {
            float frequency = (float)(1 / pow(1e6, 2.0 * i / HEAD_DIM));
            float angle = (float)positions[j] * frequency;
            cr_expect_eq(cosine[positions[j] * HALF + i], (float)cos((double)angle), "position %d, pair %d",
                         positions[j], i);
            cr_expect_eq(sine[positions[j] * HALF + i], (float)sin((double)angle), "position %d, pair %d", positions[j],
                         i);
        }
    for (int i = 0; i < HALF; i++) cr_expect(cosine[i] == 1.0f && sine[i] == 0.0f);
    free(cosine);
    free(sine);
}

/* ---- Llama 3 ----------------------------------------------------------------------------------------------------- */

/* Divisor 1 below `first`, then the ramp, then the factor. */
static void expect_divisors(const struct rope_config *r, int first, const double *ramp, int n_ramp, double factor)
{
    struct spectrum s = spectrum_of(r);
    for (int i = 0; i < r->n_rot / 2; i++) {
        double divisor = plain(r->theta, i, r->n_rot) / s.frequency[i];
        double expected = i < first ? 1 : i < first + n_ramp ? ramp[i - first] : factor;
        expect_close(divisor, expected, 1e-6, "divisor", i);
    }
}

Test(rope, llama_3_1_8b)
{
    static const double ramp[] = {1.207484, 1.553415, 2.026313, 2.694530, 3.684253, 5.257327};
    struct rope_config r = {.scaling = ROPE_LLAMA3,
                            .n_rot = 128,
                            .theta = 5e5,
                            .factor = 8,
                            .low_freq_factor = 1,
                            .high_freq_factor = 4,
                            .original_context = 8192};
    expect_divisors(&r, 29, ramp, 6, 8);
}

Test(rope, llama_3_2_1b)
{
    static const double ramp[] = {1.651329, 3.292262, 9.666729};
    struct rope_config r = {.scaling = ROPE_LLAMA3,
                            .n_rot = 64,
                            .theta = 5e5,
                            .factor = 32,
                            .low_freq_factor = 1,
                            .high_freq_factor = 4,
                            .original_context = 8192};
    expect_divisors(&r, 15, ramp, 3, 32);
}

/* GGUF files carry the divisors themselves: the same frequencies, but for the rounding of the divisors to float. */
Test(rope, divisors_of_a_file_stand_for_llama_3)
{
    static const struct {
        int head_dim, first, n_ramp;
        double factor, ramp[6];
    } rows[] = {
        {128, 29, 6, 8, {1.207484, 1.553415, 2.026313, 2.694530, 3.684253, 5.257327}},
        {64, 15, 3, 32, {1.651329, 3.292262, 9.666729}},
    };
    for (int k = 0; k < 2; k++) {
        const int head_dim = rows[k].head_dim, half = head_dim / 2;
        float divisors[MAX_HALF];
        for (int i = 0; i < half; i++)
            divisors[i] = i < rows[k].first                    ? 1.0f
                          : i < rows[k].first + rows[k].n_ramp ? (float)rows[k].ramp[i - rows[k].first]
                                                               : (float)rows[k].factor;
        struct rope_config computed = {.scaling = ROPE_LLAMA3,
                                       .n_rot = head_dim,
                                       .theta = 5e5,
                                       .factor = rows[k].factor,
                                       .low_freq_factor = 1,
                                       .high_freq_factor = 4,
                                       .original_context = 8192};
        struct rope_config stored = {
            .n_rot = head_dim, .theta = 5e5, .factor = 1, .has_divisors = true, .divisors = divisors};
        expect_divisors(&stored, rows[k].first, rows[k].ramp, rows[k].n_ramp, rows[k].factor);
        for (int i = 0; i < half; i++)
            expect_close((double)divisors[i], rope_llama3_divisor(&computed, i), 1e-6, "divisor", i);
    }
}

/* As loaders of such files do: first the divisor, then the scaling. */
Test(rope, divisors_come_before_a_scaling)
{
    static const float divisors[] = {1, 2, 4, 8};
    struct rope_config r = {.scaling = ROPE_LINEAR, .n_rot = 8, .theta = 1e4, .factor = 2.5, .divisors = divisors};
    struct spectrum s = spectrum_of(&r);
    for (int i = 0; i < 4; i++)
        expect_close(s.frequency[i], plain(1e4, i, 8) / (double)divisors[i] / 2.5, 3e-7, "frequency", i);
}

Test(rope, a_magnitude_may_stand_without_yarn)
{
    struct rope_config r = {.scaling = ROPE_LINEAR, .n_rot = 8, .theta = 1e4, .factor = 2, .attention_factor = 0.75};
    struct spectrum s = spectrum_of(&r);
    for (int i = 0; i < 4; i++) expect_close(s.magnitude[i], 0.75, 3e-7, "magnitude", i);
    cr_expect_eq(rope_magnitude(&r), 0.75);
    r.attention_factor = 0;
    cr_expect_eq(rope_magnitude(&r), 1.0);
}

/* Gemma 4: a quarter of the 256 pairs turns, as in a head that turns as a whole; the others stand still. */
Test(rope, proportional)
{
    struct rope_config r = {.scaling = ROPE_PROPORTIONAL, .n_rot = 512, .partial = 0.25, .theta = 1e6, .factor = 1};
    struct spectrum s = spectrum_of(&r);
    for (int i = 0; i < 256; i++) {
        if (i < 64) {
            expect_close(s.frequency[i], plain(1e6, i, 512), 3e-7, "frequency", i);
        } else {
            cr_expect_eq(s.frequency[i], 0.0, "frequency[%d]", i);
        }
        expect_close(s.magnitude[i], 1, 2e-7, "magnitude", i);
    }
    r.factor = 8;
    expect_close(spectrum_of(&r).frequency[63], plain(1e6, 63, 512) / 8, 3e-7, "frequency", 63);
    r.partial = 1;
    expect_close(spectrum_of(&r).frequency[255], plain(1e6, 255, 512) / 8, 3e-7, "frequency", 255);
    r.partial = 0;
    cr_expect_eq(spectrum_of(&r).frequency[0], 0.0);
    r.n_rot = 6; /* 3 pairs, of which a half is 1.5: one turns */
    r.partial = 0.5;
    cr_expect(spectrum_of(&r).frequency[0] > 0 && spectrum_of(&r).frequency[1] == 0);
}

Test(rope, no_elements_no_table)
{
    struct rope_config r = {.theta = 1e4, .factor = 1};
    float untouched[2] = {7, 7};
    rope_table(&r, 4, untouched, untouched + 1);
    cr_expect(untouched[0] == 7 && untouched[1] == 7);
}

/* ---- YaRN -------------------------------------------------------------------------------------------------------- */

static const struct rope_config gpt_oss = {.scaling = ROPE_YARN,
                                           .n_rot = 64,
                                           .theta = 150000,
                                           .factor = 32,
                                           .original_context = 4096,
                                           .beta_fast = 32,
                                           .beta_slow = 1};

Test(rope, yarn_of_gpt_oss)
{
    static const struct {
        int i;
        double frequency;
    } known[] = {{8, 5.08132748e-2}, {9, 3.17056962e-2}, {12, 6.79495949e-3}, {17, 1.29318701e-4}, {31, 3.02351143e-7}};
    struct spectrum s = spectrum_of(&gpt_oss);
    for (size_t j = 0; j < sizeof known / sizeof *known; j++)
        expect_close(s.frequency[known[j].i], known[j].frequency, 3e-7, "frequency", known[j].i);
    for (int i = 0; i < 32; i++) expect_close(s.magnitude[i], 1.3465736, 2e-7, "magnitude", i);
}

Test(rope, yarn_truncates_the_ends_of_the_ramp_where_the_model_says_so)
{
    struct rope_config r = gpt_oss;
    r.truncate = true;
    struct spectrum s = spectrum_of(&r);
    expect_close(s.frequency[17], 2.2795e-4, 3e-5, "frequency", 17);
    expect_close(s.frequency[8], plain(150000, 8, 64), 3e-7, "frequency", 8); /* the ramp begins here: still plain */
    expect_close(s.frequency[18], plain(150000, 18, 64) / 32, 3e-7, "frequency", 18);
}

Test(rope, yarn_of_deepseek_v2_lite)
{
    struct rope_config r = {.scaling = ROPE_YARN,
                            .n_rot = 64,
                            .theta = 1e4,
                            .factor = 40,
                            .original_context = 4096,
                            .beta_fast = 32,
                            .beta_slow = 1,
                            .mscale = 0.707,
                            .mscale_all_dim = 0.707,
                            .truncate = true};
    struct spectrum s = spectrum_of(&r);
    expect_close(s.frequency[10], plain(1e4, 10, 64), 3e-7, "frequency", 10);
    expect_close(s.frequency[16], 5.5e-3, 3e-7, "frequency", 16);
    expect_close(s.frequency[23], 3.33380358e-5, 3e-7, "frequency", 23);
    expect_close(s.frequency[31], 3.33380358e-6, 3e-7, "frequency", 31);
    for (int i = 0; i < 32; i++) expect_close(s.magnitude[i], 1, 2e-7, "magnitude", i);
}

/* What multiplies cosine and sine: as given, from both mscales, or from the factor alone. */
Test(rope, yarn_magnitude)
{
    static const struct {
        double factor, attention_factor, mscale, mscale_all_dim, expected;
    } rows[] = {
        {32, 0, 0, 0, 1.3465736},
        {32, 1.25, 0, 0, 1.25},
        {32, 1.25, 1, 0.5, 1.25},
        {40, 0, 0.707, 0.707, 1},
        {40, 0, 1, 0.707, 1.36888795 / 1.26080378},
        {32, 0, 0.707, 0, 1.3465736},
        {32, 0, 0, 0.707, 1.3465736},
        {1, 0, 0, 0, 1},
        {0.5, 0, 0, 0, 1},
    };
    for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
        struct rope_config r = gpt_oss;
        r.factor = rows[j].factor;
        r.attention_factor = rows[j].attention_factor;
        r.mscale = rows[j].mscale;
        r.mscale_all_dim = rows[j].mscale_all_dim;
        struct spectrum s = spectrum_of(&r);
        for (int i = 0; i < 32; i++) expect_close(s.magnitude[i], rows[j].expected, 3e-7, "magnitude", (int)j);
    }
}

/* ---- what configurations may ask for ----------------------------------------------------------------------------- */

/* Every corner of the ranges that config.c lets through. */
Test(rope, no_configuration_gives_anything_but_numbers)
{
    static const double thetas[] = {1 + 2e-9, 2, 1e4, 1e15}, factors[] = {1e-6, 1, 32, 1e6};
    static const double originals[] = {1, 7, 4096, 1 << 24}, betas[] = {1e-6, 1, 32, 1e6},
                        mscales[] = {0, 1e-6, 1, 1e6};
    float cosine[4 * 8], sine[4 * 8];
    for (int n = 0; n < 4 * 4 * 4 * 4 * 4 * 4; n++) {
        int k = n;
        struct rope_config r = {.scaling = (enum rope_scaling)(ROPE_LINEAR + k % 4), .n_rot = 16};
        k /= 4;
        r.partial = k % 5 / 4.0;
        r.theta = thetas[k % 4];
        r.factor = factors[k / 4 % 4];
        r.original_context = originals[k / 16 % 4];
        r.beta_fast = r.high_freq_factor = betas[k / 64 % 4];
        r.beta_slow = r.low_freq_factor = r.beta_fast / (k % 2 ? 1.5 : 1e9);
        r.mscale = mscales[k / 256 % 4];
        r.mscale_all_dim = mscales[k / 64 % 4];
        r.truncate = k % 3 == 0;
        rope_table(&r, 4, cosine, sine);
        for (int i = 0; i < 4 * 8; i++) cr_assert(isfinite(cosine[i]) && isfinite(sine[i]), "combination %d", n);
    }
}

Test(rope, equal_betas_make_a_step_and_no_division_by_zero)
{
    struct rope_config r = gpt_oss;
    r.beta_fast = r.beta_slow = 4;
    struct spectrum s = spectrum_of(&r);
    for (int i = 0; i < 32; i++) {
        double f = plain(r.theta, i, 64);
        cr_expect(fabs(s.frequency[i] - f) < 1e-6 * f || fabs(s.frequency[i] - f / 32) < 1e-6 * f, "pair %d", i);
    }
}
