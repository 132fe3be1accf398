/* Checks of the operations of struct ops, one function each, against scalar; see the header. Inputs end 64 bytes before
 * a guard page, outputs end at it, and sizes that are no multiple of 16 put the first element anywhere. */
#include "tests/ops/ops_cases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/float16.h"
#include "ops/variants.h"
#include "tests/support/compare.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/rng.h"

/* 0 to SMALL_SIZES - 1, which is every tail after none to four vectors, and then these. */
static const int larger_sizes[] = {100, 255, 256, 257, 1000};
enum { SMALL_SIZES = 71, N_SIZES = SMALL_SIZES + sizeof larger_sizes / sizeof larger_sizes[0] };
static int size_at(int i) { return i < SMALL_SIZES ? i : larger_sizes[i - SMALL_SIZES]; }

/* How the inputs of a round are drawn. */
enum values { PLAIN, AWKWARD, HUGE_VALUES, ZEROS, WITH_NAN, WITH_INFINITY, N_VALUES };

static void fill(struct rng *rng, float *x, int n, enum values values)
{
    switch (values) {
    case AWKWARD: rng_fill_awkward(rng, x, (size_t)n); break;
    case HUGE_VALUES: rng_fill(rng, x, (size_t)n, -3e38f, 3e38f); break;
    case ZEROS: rng_fill(rng, x, (size_t)n, 0.0f, 0.0f); break;
    default: rng_fill(rng, x, (size_t)n, -8.0f, 8.0f); break;
    }
    if (n == 0) return;
    if (values == WITH_NAN) x[rng_below(rng, (uint32_t)n)] = NAN;
    if (values == WITH_INFINITY) x[rng_below(rng, (uint32_t)n)] = rng_below(rng, 2) ? INFINITY : -INFINITY;
}

/* The sentence that a failed check returns. */
static const char *report(const char *name, const char *what, int n, int values, ptrdiff_t index, float got, float want)
{
    static char text[256];
    snprintf(text, sizeof text, "%s: %s at n = %d, values %d, element %td: %a, scalar has %a", name, what, n, values,
             index, (double)got, (double)want);
    return text;
}

/* Compares the output buffer with the expectation [n] and looks at its guards. */
static const char *compare_output(const char *name, const struct guarded_buffer *out, const float *want, int n,
                                  int values)
{
    const float *got = out->data;
    const char *damage = guarded_damage(out);
    if (damage) return report(name, damage, n, values, 0, 0.0f, 0.0f);
    ptrdiff_t i = first_difference(got, want, (size_t)n);
    return i < 0 ? NULL : report(name, "bits differ", n, values, i, got[i], want[i]);
}

enum { MAX_SIZE = 1024, MAX_INPUTS = 3 };

/* One round of an operation: up to three inputs; calls the variant and scalar on copies of input 0 when the operation
 * works in place, or on a fresh output. `call` applies either function to (y, inputs). */
typedef void call_function(void (*function)(void), float *y, float *const in[MAX_INPUTS], int n);

/* Runs every size and kind of values. in_place: bit i set when y may be, or is, input i. must_be_in_place: there is no
 * separate output. */
static const char *check_elementwise(const struct op_variant *variant, void (*scalar)(void), call_function *call,
                                     int n_inputs, unsigned in_place, bool must_be_in_place)
{
    struct rng rng = rng_seed(7);
    const char *wrong = NULL;
    for (int s = 0; s < N_SIZES && !wrong; s++) {
        for (int values = 0; values < N_VALUES && !wrong; values++) {
            int n = size_at(s);
            struct guarded_buffer in[MAX_INPUTS], out = guarded_make((size_t)n * sizeof(float), 0);
            float *data[MAX_INPUTS] = {0}, copy[MAX_SIZE], want[MAX_SIZE];
            for (int i = 0; i < n_inputs; i++) {
                in[i] = guarded_make((size_t)n * sizeof(float), READ_SLACK);
                data[i] = in[i].data;
                fill(&rng, data[i], n, (enum values)values);
            }
            if (must_be_in_place) memcpy(out.data, data[0], (size_t)n * sizeof(float));
            memcpy(want, out.data, (size_t)n * sizeof(float));
            call(scalar, want, data, n);
            call(variant->function, out.data, data, n);
            wrong = compare_output(variant->name, &out, want, n, values);
            for (int i = 0; i < n_inputs && !wrong; i++) {
                if (!(in_place & 1u << i) || must_be_in_place) continue;
                memcpy(copy, data[i], (size_t)n * sizeof(float));
                memcpy(out.data, copy, (size_t)n * sizeof(float));
                float *aliased[MAX_INPUTS];
                memcpy(aliased, data, sizeof aliased);
                aliased[i] = out.data;
                call(variant->function, out.data, aliased, n);
                wrong = compare_output(variant->name, &out, want, n, values);
            }
            for (int i = 0; i < n_inputs; i++) {
                const char *damage = guarded_damage(&in[i]);
                if (!wrong && damage) wrong = report(variant->name, damage, n, values, i, 0.0f, 0.0f);
                guarded_free(&in[i]);
            }
            guarded_free(&out);
        }
    }
    return wrong;
}

/* TYPED(member, pointer): the untyped pointer back as the type of the member of struct ops. */
#define TYPED(member, pointer) ((__typeof__(((struct ops *)0)->member))(pointer))
#define UNTYPED(function)      ((void (*)(void))(function))

static void call_rms_norm(void (*f)(void), float *y, float *const in[], int n)
{
    if (n) TYPED(rms_norm, f)(y, in[0], in[1], n, 1e-6f);
}
static void call_rms_norm_without_weights(void (*f)(void), float *y, float *const in[], int n)
{
    if (n) TYPED(rms_norm, f)(y, in[0], NULL, n, 1e-6f);
}
static void call_l2_norm(void (*f)(void), float *y, float *const in[], int n) { TYPED(l2_norm, f)(y, in[0], n, 1e-6f); }
static void call_silu_mul(void (*f)(void), float *y, float *const in[], int n)
{
    TYPED(silu_mul, f)(y, in[0], in[1], n);
}
static void call_gelu_mul(void (*f)(void), float *y, float *const in[], int n)
{
    TYPED(gelu_mul, f)(y, in[0], in[1], n);
}
static void call_swiglu_clamped(void (*f)(void), float *y, float *const in[], int n)
{
    TYPED(swiglu_clamped, f)(y, in[0], in[1], n, 2.5f);
}
static void call_silu(void (*f)(void), float *y, float *const in[], int n)
{
    (void)in;
    TYPED(silu, f)(y, n);
}
static void call_sigmoid(void (*f)(void), float *y, float *const in[], int n)
{
    (void)in;
    TYPED(sigmoid, f)(y, n);
}
static void call_softcap(void (*f)(void), float *y, float *const in[], int n)
{
    (void)in;
    TYPED(softcap, f)(y, 3.3f, n);
}
static void call_softmax(void (*f)(void), float *y, float *const in[], int n)
{
    (void)in;
    if (n) TYPED(softmax, f)(y, n);
}
/* The sum is the first element of the output. */
static void call_dot(void (*f)(void), float *y, float *const in[], int n)
{
    float sum = TYPED(dot, f)(in[0], in[1], n);
    if (n) y[0] = sum;
}
static void call_add(void (*f)(void), float *y, float *const in[], int n) { TYPED(add, f)(y, in[1], n); }
static void call_add_scaled(void (*f)(void), float *y, float *const in[], int n)
{
    TYPED(add_scaled, f)(y, in[1], -0.7f, n);
}
static void call_mul(void (*f)(void), float *y, float *const in[], int n) { TYPED(mul, f)(y, in[1], n); }
static void call_mul_add(void (*f)(void), float *y, float *const in[], int n) { TYPED(mul_add, f)(y, in[1], in[2], n); }
static void call_scale(void (*f)(void), float *y, float *const in[], int n)
{
    (void)in;
    TYPED(scale, f)(y, 1.7f, n);
}
static void call_clamp(void (*f)(void), float *y, float *const in[], int n)
{
    (void)in;
    TYPED(clamp, f)(y, 2.5f, n);
}
/* n is odd for some sizes: then the last element stays as it is. */
static void call_rope(void (*f)(void), float *y, float *const in[], int n)
{
    TYPED(rope, f)(y, in[1], in[2], n / 2 * 2);
}

static const char *check_rms_norm(const struct op_variant *v)
{
    void (*scalar)(void) = UNTYPED(ops_rms_norm_scalar);
    const char *wrong = check_elementwise(v, scalar, call_rms_norm, 2, 1u, false);
    return wrong ? wrong : check_elementwise(v, scalar, call_rms_norm_without_weights, 1, 1u, false);
}

/* check_<operation> of the operations that need one round of check_elementwise. */
#define CHECK(operation, n_inputs, in_place, must_be_in_place)                                               \
    static const char *check_##operation(const struct op_variant *v)                                         \
    {                                                                                                        \
        return check_elementwise(v, UNTYPED(ops_##operation##_scalar), call_##operation, n_inputs, in_place, \
                                 must_be_in_place);                                                          \
    }
CHECK(l2_norm, 1, 1u, false)
CHECK(silu_mul, 2, 3u, false)
CHECK(gelu_mul, 2, 3u, false)
CHECK(swiglu_clamped, 2, 3u, false)
CHECK(silu, 1, 1u, true)
CHECK(sigmoid, 1, 1u, true)
CHECK(softcap, 1, 1u, true)
CHECK(softmax, 1, 1u, true)
CHECK(dot, 2, 0u, false)
CHECK(add, 2, 1u, true)
CHECK(add_scaled, 2, 1u, true)
CHECK(mul, 2, 1u, true)
CHECK(mul_add, 3, 1u, true)
CHECK(scale, 1, 1u, true)
CHECK(clamp, 1, 1u, true)
CHECK(rope, 3, 1u, true)

/* n may be 0; y is the state out, in[0] the block. sum: of the state, 0 in some rounds. */
static void call_attention_merge(void (*f)(void), float *y, float *const in[], int n)
{
    float max = 0.5f, sum = n % 5 == 0 ? 0.0f : 3.0f, block_max = n % 3 ? -2.0f : 1.5f;
    TYPED(attention_merge, f)(y, &max, &sum, in[1], block_max, 2.25f, n);
    if (n) y[0] += max + sum;
}
CHECK(attention_merge, 2, 1u, true)

const struct op_variant op_variants[] = {
#define OP(operation, isa, needs) {#operation "_" #isa, needs, check_##operation, UNTYPED(ops_##operation##_##isa)},
#include "ops/variants.inc"
};
const int n_op_variants = sizeof op_variants / sizeof op_variants[0];

const char *missing_feature(uint64_t needs)
{
    uint64_t missing = needs & ~cpu_features(NULL);
    for (unsigned bit = 0; bit < N_CPU_FEATURES; bit++)
        if (missing >> bit & 1) return cpu_feature_name(bit);
    return NULL;
}
