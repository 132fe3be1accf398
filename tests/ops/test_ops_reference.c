/* The scalar operations against formulas in double precision, worked examples, and what NaN and infinity do. The other
 * instruction sets have the bits of scalar (test_ops_parity.c). */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/float16.h"
#include "ops/variants.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/rng.h"

enum { N = 1000 };

/* |got - want| <= relative |want|, or less than any normal number. */
static void assert_close(const char *what, float got, double want, double relative)
{
    cr_assert(fabs((double)got - want) <= relative * fabs(want) + 0x1p-126, "%s: %.9g instead of %.9g", what,
              (double)got, want);
}

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static double gelu(double g) { return g * sigmoid(2.0 * sqrt(2.0 / M_PI) * (g + 0.044715 * g * g * g)); }
static double limited(double x, double low, double high) { return fmin(fmax(x, low), high); }

Test(ops_reference, norms)
{
    struct rng rng = rng_seed(3);
    float x[N], w[N], y[N];
    rng_fill(&rng, x, N, -4.0f, 4.0f);
    rng_fill(&rng, w, N, -2.0f, 2.0f);
    double sum = 0.0;
    for (int i = 0; i < N; i++) sum += (double)x[i] * (double)x[i];
    ops_rms_norm_scalar(y, x, w, N, 0.5f);
    for (int i = 0; i < N; i++) assert_close("rms_norm", y[i], (double)x[i] * (double)w[i] / sqrt(sum / N + 0.5), 1e-6);
    ops_rms_norm_scalar(y, x, NULL, N, 0.5f);
    for (int i = 0; i < N; i++) assert_close("rms_norm without w", y[i], (double)x[i] / sqrt(sum / N + 0.5), 1e-6);
    ops_l2_norm_scalar(y, x, N, 500.0f); /* large, so that it matters where eps is added */
    for (int i = 0; i < N; i++) assert_close("l2_norm", y[i], (double)x[i] / sqrt(sum + 500.0), 1e-6);
    ops_l2_norm_scalar(y, (float[]){3.0f, 0.0f, -4.0f}, 3, 0.0f);
    assert_close("l2_norm of (3, 0, -4)", y[0], 0.6, 1e-7);
    assert_close("l2_norm of (3, 0, -4)", y[2], -0.8, 1e-7);
}

/* The error of an exponential grows with its argument t: each step that makes t rounds it once. */
Test(ops_reference, gates)
{
    struct rng rng = rng_seed(4);
    float gate[N], up[N], y[N], limit = 7.0f;
    rng_fill(&rng, gate, N, -10.0f, 10.0f);
    rng_fill(&rng, up, N, -12.0f, 12.0f);
    ops_gelu_mul_scalar(y, gate, up, N);
    for (int i = 0; i < N; i++) {
        double g = (double)gate[i], inner = sqrt(2.0 / M_PI) * (g + 0.044715 * g * g * g);
        cr_assert_float_eq(gelu(g), 0.5 * g * (1.0 + tanh(inner)), 1e-13);
        assert_close("gelu_mul", y[i], gelu(g) * (double)up[i], 4e-7 * (1.0 + fabs(inner)));
    }
    ops_swiglu_clamped_scalar(y, gate, up, N, limit);
    for (int i = 0; i < N; i++) {
        double g = fmin((double)gate[i], 7.0), u = limited((double)up[i], -7.0, 7.0);
        double tolerance = 3e-7 * (1.0 + 1.702 * fabs(g)) * fmax(1.0, 1.0 / fabs(u + 1.0)); /* u + 1 cancels near -1 */
        assert_close("swiglu_clamped", y[i], g * sigmoid(1.702 * g) * (u + 1.0), tolerance);
    }
    memcpy(y, gate, sizeof y);
    ops_silu_scalar(y, N);
    for (int i = 0; i < N; i++) assert_close("silu", y[i], (double)gate[i] * sigmoid((double)gate[i]), 4e-7);
    memcpy(y, gate, sizeof y);
    ops_sigmoid_scalar(y, N);
    for (int i = 0; i < N; i++) assert_close("sigmoid", y[i], sigmoid((double)gate[i]), 4e-7);
}

/* silu(x) is silu_mul(x, 1), bit for bit. */
Test(ops_reference, silu_has_the_arithmetic_of_silu_mul)
{
    struct rng rng = rng_seed(5);
    float x[N], one[N], y[N];
    rng_fill(&rng, x, N, -90.0f, 90.0f);
    for (int i = 0; i < N; i++) one[i] = 1.0f;
    ops_silu_mul_scalar(y, x, one, N);
    ops_silu_scalar(x, N);
    cr_assert_arr_eq(x, y, sizeof x);
}

/* Numbers worked out with eight digits. */
Test(ops_reference, worked_examples)
{
    float y[3];
    ops_gelu_mul_scalar(y, (float[]){1.0f, -1.0f, 3.0f}, (float[]){1.0f, 1.0f, -2.0f}, 3);
    assert_close("gelu(1)", y[0], 0.84119199, 1e-6);
    assert_close("gelu(-1)", y[1], -0.15880801, 1e-6);
    assert_close("gelu(3) * -2", y[2], -5.9927252, 1e-6);
    ops_swiglu_clamped_scalar(y, (float[]){10.0f, 1.0f, -10.0f}, (float[]){10.0f, -9.0f, 0.0f}, 3, 7.0f);
    assert_close("7 sigmoid(11.914) (7 + 1)", y[0], 55.999625, 1e-6);
    assert_close("sigmoid(1.702) (-7 + 1)", y[1], -5.0747726, 1e-6);
    assert_close("-10 sigmoid(-17.02): no lower limit", y[2], -4.0579e-7, 1e-4);
    float capped[] = {30.0f, -60.0f, 0.3f};
    ops_softcap_scalar(capped, 30.0f, 3);
    assert_close("30 tanh(1)", capped[0], 22.847825, 1e-6);
    assert_close("30 tanh(-2)", capped[1], -28.920827, 1e-6);
    assert_close("30 tanh(0.01)", capped[2], 0.29999000, 1e-6);
    float product[] = {2.0f, -3.0f}, sum[] = {1.0f, 0x1p-24f};
    ops_mul_scalar(product, (float[]){0.5f, 4.0f}, 2);
    cr_assert_eq(product[0], 1.0f);
    cr_assert_eq(product[1], -12.0f);
    /* (1 + 2^-23) (1 - 2^-23) = 1 - 2^-46, which a rounded product would lose */
    ops_mul_add_scalar(sum, (float[]){2.0f, 1.0f + 0x1p-23f}, (float[]){3.0f, -1.0f + 0x1p-23f}, 1);
    cr_assert_eq(sum[0], 7.0f);
    sum[1] = 1.0f;
    ops_mul_add_scalar(sum + 1, (float[]){1.0f + 0x1p-23f}, (float[]){-1.0f + 0x1p-23f}, 1);
    cr_assert_eq(sum[1], 0x1p-46f, "rounded twice");
}

Test(ops_reference, dot)
{
    struct rng rng = rng_seed(6);
    float a[N], b[N];
    rng_fill(&rng, a, N, -1.0f, 1.0f);
    rng_fill(&rng, b, N, -1.0f, 1.0f);
    double exact = 0.0, magnitude = 0.0;
    for (int i = 0; i < N; i++) exact += (double)a[i] * (double)b[i], magnitude += fabs((double)a[i] * (double)b[i]);
    cr_assert_float_eq((double)ops_dot_scalar(a, b, N), exact, 0x1p-23 * magnitude);
    cr_assert_eq(ops_dot_scalar(a, b, 0), 0.0f);
    /* The order shows: the large terms meet in lane 0 before the 1 of lane 8 is added. */
    float x[17] = {[0] = 1e30f, [8] = 1.0f, [16] = -1e30f}, one[17];
    for (int i = 0; i < 17; i++) one[i] = 1.0f;
    cr_assert_eq(ops_dot_scalar(x, one, 17), 1.0f);
}

/* Products that vanish from below: -0 in every lane, but not in the sum, whatever the tail. */
Test(ops_reference, dot_is_never_minus_zero)
{
    float a[48], b[48];
    for (int i = 0; i < 48; i++) a[i] = -1e-30f, b[i] = 1e-30f;
    for (int v = 0; v < n_op_variants; v++) {
        if (strncmp(op_variants[v].name, "dot_", 4) || missing_feature(op_variants[v].needs)) continue;
        __typeof__(((struct ops *)0)->dot) dot = (__typeof__(dot))op_variants[v].function;
        for (int n = 0; n <= 48; n++) {
            float sum = dot(a, b, n);
            cr_assert(sum == 0.0f && !signbit(sum), "%s, n = %d", op_variants[v].name, n);
        }
    }
}

Test(ops_reference, softcap)
{
    struct rng rng = rng_seed(7);
    float x[N], y[N];
    rng_fill(&rng, x, N, -200.0f, 200.0f);
    memcpy(y, x, sizeof y);
    ops_softcap_scalar(y, 50.0f, N);
    for (int i = 0; i < N; i++) assert_close("softcap", y[i], 50.0 * tanh((double)x[i] / 50.0), 6e-7);
}

/* One value through an operation with one or two inputs. */
static float gelu_1(float g, float u) { return ops_gelu_mul_scalar(&g, &g, &u, 1), g; }
static float swiglu_1(float g, float u) { return ops_swiglu_clamped_scalar(&g, &g, &u, 1, 7.0f), g; }
static float silu_1(float x) { return ops_silu_scalar(&x, 1), x; }
static float sigmoid_1(float x) { return ops_sigmoid_scalar(&x, 1), x; }
static float softcap_1(float x, float cap) { return ops_softcap_scalar(&x, cap, 1), x; }

Test(ops_reference, nan_comes_out)
{
    cr_assert(isnan(gelu_1(NAN, 1.0f)) && isnan(gelu_1(1.0f, NAN)));
    cr_assert(isnan(swiglu_1(NAN, 1.0f)) && isnan(swiglu_1(1.0f, NAN)));
    cr_assert(isnan(silu_1(NAN)) && isnan(sigmoid_1(NAN)) && isnan(softcap_1(NAN, 30.0f)));
    float x[20], y[20], w[20];
    for (int i = 0; i < 20; i++) x[i] = w[i] = 1.0f;
    x[17] = NAN;
    cr_assert(isnan(ops_dot_scalar(x, w, 20)) && isnan(ops_dot_scalar(w, x, 20)));
    ops_l2_norm_scalar(y, x, 20, 1e-6f);
    for (int i = 0; i < 20; i++) cr_assert(isnan(y[i]));
    ops_rms_norm_scalar(y, x, NULL, 20, 1e-6f);
    for (int i = 0; i < 20; i++) cr_assert(isnan(y[i]));
}

Test(ops_reference, infinity_is_as_ieee_arithmetic_has_it)
{
    cr_assert_eq(gelu_1(INFINITY, 2.0f), INFINITY);
    cr_assert(isnan(gelu_1(-INFINITY, 2.0f)) && isnan(silu_1(-INFINITY)) && isnan(swiglu_1(-INFINITY, 0.0f)));
    cr_assert_eq(gelu_1(3e38f, 1.0f), 3e38f);
    cr_assert_eq(gelu_1(-3e38f, 1.0f), 0.0f, "the cube overflows");
    cr_assert_eq(silu_1(INFINITY), INFINITY);
    cr_assert_eq(swiglu_1(INFINITY, INFINITY), swiglu_1(7.0f, 7.0f), "limited");
    cr_assert_eq(swiglu_1(1.0f, -INFINITY), swiglu_1(1.0f, -7.0f), "limited");
    cr_assert_eq(sigmoid_1(INFINITY), 1.0f);
    cr_assert_eq(sigmoid_1(-INFINITY), 0.0f);
    cr_assert_eq(softcap_1(INFINITY, 30.0f), 30.0f);
    cr_assert_eq(softcap_1(-INFINITY, 30.0f), -30.0f);
    cr_assert_eq(softcap_1(-3e38f, 1e-3f), -1e-3f, "the quotient overflows");
}

/* Two queries against 40 positions, the first 3 hidden, in double precision. */
static void check_softcap(float softcap)
{
    enum { QUERIES = 2, HEAD = 8, VALUES = 5, FIRST = 3, LAST = 40, PANELS = 3 };
    struct rng rng = rng_seed(8);
    float q[QUERIES * HEAD], k[PANELS * KEY_PANEL * HEAD], v[LAST * VALUES], scratch[8192];
    float out[QUERIES * 16], max[QUERIES], sum[QUERIES];
    cr_assert_leq(attention_scratch_floats(QUERIES, HEAD, VALUES), sizeof scratch / sizeof *scratch);
    rng_fill(&rng, q, QUERIES * HEAD, -3.0f, 3.0f);
    rng_fill(&rng, k, PANELS * KEY_PANEL * HEAD, -3.0f, 3.0f);
    rng_fill(&rng, v, LAST * VALUES, -1.0f, 1.0f);
    ops_attention_scalar(&(struct attention_block){.q = q,
                                                   .q_head = HEAD,
                                                   .k = k,
                                                   .v = v,
                                                   .v_stride = VALUES * sizeof *v,
                                                   .n_rows = 1,
                                                   .group = QUERIES,
                                                   .head_dim = HEAD,
                                                   .v_head_dim = VALUES,
                                                   .position = LAST - 1,
                                                   .window = LAST - FIRST,
                                                   .scale = 0.5f,
                                                   .softcap = softcap,
                                                   .scratch = scratch,
                                                   .out = out,
                                                   .out_stride = 16,
                                                   .max = max,
                                                   .sum = sum});
    for (int i = 0; i < QUERIES; i++) {
        double total = 0.0, want[VALUES] = {0};
        for (int j = FIRST; j < LAST; j++) {
            double s = 0.0;
            for (int d = 0; d < HEAD; d++)
                s += (double)q[i * HEAD + d] * (double)k[(j / KEY_PANEL * HEAD + d) * KEY_PANEL + j % KEY_PANEL];
            s *= 0.5;
            if (softcap > 0.0f) s = (double)softcap * tanh(s / (double)softcap);
            total += exp(s);
            for (int d = 0; d < VALUES; d++) want[d] += exp(s) * (double)v[j * VALUES + d];
        }
        for (int d = 0; d < VALUES; d++)
            cr_assert_float_eq((double)out[i * 16 + d] / (double)sum[i], want[d] / total, 2e-6, "softcap %g",
                               (double)softcap);
        if (softcap > 0.0f) cr_assert_leq(max[i], softcap);
    }
}

Test(ops_reference, attention_caps_scores_when_told)
{
    check_softcap(0.0f);
    check_softcap(4.0f);
}

/* Row i of three sees the positions up to 14 + i, or the last 4 of these. */
Test(ops_reference, attention_hides_what_comes_later_and_what_left_the_window)
{
    enum { ROWS = 3, POSITION = 14 };
    float k[2 * KEY_PANEL] = {0}, v[2 * KEY_PANEL], q[ROWS] = {1, 1, 1}, scratch[8192], out[ROWS * 16];
    float max[ROWS], sum[ROWS];
    for (int j = 0; j < 2 * KEY_PANEL; j++) v[j] = j <= POSITION + ROWS - 1 ? (float)(j + 1) : NAN;
    for (int window = 0; window <= 4; window += 4) {
        ops_attention_scalar(&(struct attention_block){.q = q,
                                                       .q_row = 1,
                                                       .k = k,
                                                       .v = v,
                                                       .v_stride = sizeof *v,
                                                       .n_rows = ROWS,
                                                       .group = 1,
                                                       .head_dim = 1,
                                                       .v_head_dim = 1,
                                                       .position = POSITION,
                                                       .window = window,
                                                       .scale = 1,
                                                       .scratch = scratch,
                                                       .out = out,
                                                       .out_stride = 16,
                                                       .max = max,
                                                       .sum = sum});
        for (int i = 0; i < ROWS; i++) {
            const int last = POSITION + i + 1, n = window ? window : last;
            cr_expect_eq(sum[i], (float)n);
            cr_expect_eq(out[16 * i], (float)(n * last - n * (n - 1) / 2), "row %d, window %d", i, window);
        }
    }
}

/* Block after block, whatever the maxima, is one softmax. */
Test(ops_reference, merged_blocks_are_one_softmax)
{
    static const float maxima[] = {1, 4, -90, 3.5f}, sums[] = {2, 1, 1.5f, 3}, outs[] = {5, -3, 100, 0.25f};
    float out = 77, max = 77, sum = 0;
    double total = 0, mixed = 0;
    for (int i = 0; i < 4; i++) {
        ops_attention_merge_scalar(&out, &max, &sum, &outs[i], maxima[i], sums[i], 1);
        total += (double)sums[i] * exp((double)maxima[i]);
        mixed += (double)outs[i] * exp((double)maxima[i]);
        cr_expect_float_eq((double)out / (double)sum, mixed / total, 1e-6 * (1 + fabs(mixed / total)), "block %d", i);
        cr_expect_eq(max, i == 0 ? 1.0f : 4.0f);
    }
    out = 1, max = 2, sum = 3;
    ops_attention_merge_scalar(&out, &max, &sum, &(float){1}, 5, NAN, 1);
    cr_expect(isnan(sum), "NaN comes out");
}

/* Rows hold what their type can say: halves, bfloat16, and levels times a scale. */
Test(ops_reference, rows_of_every_type_become_floats)
{
    const float floats[] = {1.5f, -2, 3e38f};
    const uint16_t halves[] = {0x3e00, 0xc000, 0x7bff, 0x7e00}, bf16[] = {0x3fc0, 0xc000, 0x7f7f, 0xffc0};
    unsigned char blocks[2 * Q8_0_BYTES] = {0x00, 0x38, 2, 255, 128, 127}; /* 0.5 */
    float y[40];
    blocks[Q8_0_BYTES + 1] = 0xbc; /* -1 */
    blocks[Q8_0_BYTES + 2] = 7;
    ops_widen_scalar(y, floats, DTYPE_F32, 3);
    cr_expect(y[0] == 1.5f && y[1] == -2 && y[2] == 3e38f);
    ops_widen_scalar(y, halves, DTYPE_F16, 4);
    cr_expect(y[0] == 1.5f && y[1] == -2 && y[2] == 65504 && isnan(y[3]));
    ops_widen_scalar(y, bf16, DTYPE_BF16, 4);
    cr_expect(y[0] == 1.5f && y[1] == -2 && y[2] == 0x1.fep127f && isnan(y[3]));
    ops_widen_scalar(y, blocks, DTYPE_Q8_0, 33);
    cr_expect(y[0] == 1 && y[1] == -0.5f && y[2] == -64 && y[3] == 63.5f && y[4] == 0 && y[32] == -7);
    cr_expect_eq(value_row_bytes(DTYPE_Q8_0, 33), 68);
    cr_expect_eq(key_panel_bytes(DTYPE_Q8_0, 33), 16 * (2 * 2 + 33));
}

/* Keys of every type mean the floats that they stand for. */
Test(ops_reference, attention_reads_keys_of_every_type)
{
    static const enum dtype types[] = {DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0};
    enum { HEAD = 40, LAST = 21, PANELS = 2 };
    struct rng rng = rng_seed(3);
    float q[HEAD], floats[PANELS * KEY_PANEL * HEAD], v[LAST] = {0}, scratch[8192], out[2][16], max[2], sum[2];
    rng_fill(&rng, q, HEAD, -1, 1);
    rng_fill(&rng, v, LAST, -1, 1);
    for (int t = 0; t < 3; t++) {
        unsigned char keys[PANELS * KEY_PANEL * HEAD * 2] = {0};
        const size_t panel = key_panel_bytes(types[t], HEAD);
        for (int j = 0; j < PANELS * KEY_PANEL; j++)
            for (int d = 0; d < HEAD; d++) {
                unsigned char *at = keys + (size_t)(j / KEY_PANEL) * panel;
                const float x = rng_float(&rng, -2, 2);
                const uint16_t scale = float_to_fp16(0.01f * (float)(1 + j + d / 32));
                const uint16_t half = types[t] == DTYPE_F16 ? float_to_fp16(x) : float_to_bf16(x);
                float *to = &floats[(j / KEY_PANEL * HEAD + d) * KEY_PANEL + j % KEY_PANEL];
                const int i = d * KEY_PANEL + j % KEY_PANEL;
                if (types[t] != DTYPE_Q8_0) {
                    memcpy(at + 2 * i, &half, 2);
                    *to = types[t] == DTYPE_F16 ? fp16_to_float(half) : bf16_to_float(half);
                    continue;
                }
                memcpy(at + 2 * (d / 32 * KEY_PANEL + j % KEY_PANEL), &scale, 2);
                at[2 * 2 * KEY_PANEL + i] = (unsigned char)(int8_t)(x * 50);
                *to = (float)(int8_t)(x * 50) * fp16_to_float(scale);
            }
        for (int i = 0; i < 2; i++)
            ops_attention_scalar(&(struct attention_block){.q = q,
                                                           .k = i ? (const void *)floats : keys,
                                                           .k_type = i ? DTYPE_F32 : types[t],
                                                           .v = v,
                                                           .v_stride = sizeof *v,
                                                           .n_rows = 1,
                                                           .group = 1,
                                                           .head_dim = HEAD,
                                                           .v_head_dim = 1,
                                                           .position = LAST - 1,
                                                           .scale = 1,
                                                           .scratch = scratch,
                                                           .out = out[i],
                                                           .out_stride = 16,
                                                           .max = &max[i],
                                                           .sum = &sum[i]});
        cr_expect(out[0][0] == out[1][0] && max[0] == max[1] && sum[0] == sum[1], "%s", dtype_info(types[t])->name);
    }
}
