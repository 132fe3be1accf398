/* The operations of struct ops over vec16, written once. A file of an instruction set includes its vec_<isa>.h,
 * defines OPS_NAME(operation) as the function's name, and includes this. What each operation means stands in ops.h and,
 * in plain loops, in scalar/; here each is the same loop over 16 elements and one tail. */
#include <math.h>

#include "ops/assume.h"
#include "ops/scalar/gates.h"
#include "ops/tmpl/exp_tmpl.h"
#include "ops/tmpl/tanh_tmpl.h"
#include "ops/tmpl/unroll.h"
#include "ops/variants.h"

/* x [n] becomes f(x, parameter), lane by lane; f is a constant. */
ALWAYS_INLINE void map(float *x, int n, vec16 (*f)(vec16 x, vec16 parameter), vec16 parameter)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    for (int i = 0; i < whole; i += OPS_LANES) vec16_store(x + i, f(vec16_load(x + i), parameter));
    if (rest) vec16_store_n(x + whole, f(vec16_load_n(x + whole, rest), parameter), rest);
}

/* y [n] = f(a [n], b [n], parameter), lane by lane; f is a constant. y may be a or b. */
ALWAYS_INLINE void map_pairs(float *y, const float *a, const float *b, int n,
                             vec16 (*f)(vec16 a, vec16 b, vec16 parameter), vec16 parameter)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    for (int i = 0; i < whole; i += OPS_LANES)
        vec16_store(y + i, f(vec16_load(a + i), vec16_load(b + i), parameter));
    if (rest) {
        vec16 last = f(vec16_load_n(a + whole, rest), vec16_load_n(b + whole, rest), parameter);
        vec16_store_n(y + whole, last, rest);
    }
}

/* Sum of a [n] * b [n]. Lanes beyond the end add 0 * 0, which shows only where a lane is -0: scalar/dot.c. */
ALWAYS_INLINE float sum_of_products(const float *a, const float *b, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    vec16 sum = vec16_broadcast(0.0f);
    for (int i = 0; i < whole; i += OPS_LANES) sum = vec16_fma(vec16_load(a + i), vec16_load(b + i), sum);
    if (rest) sum = vec16_fma(vec16_load_n(a + whole, rest), vec16_load_n(b + whole, rest), sum);
    return vec16_sum(sum) + 0.0f;
}

/* Sum of a [n] * b [n] */
float OPS_NAME(dot)(const float *a, const float *b, int n)
{
    return sum_of_products(a, b, n);
}

/* y [n] = x [n] * r; y may be x. */
static void scale_to(float *y, const float *x, float r, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    vec16 factor = vec16_broadcast(r);
    for (int i = 0; i < whole; i += OPS_LANES) vec16_store(y + i, vec16_mul(vec16_load(x + i), factor));
    if (rest) vec16_store_n(y + whole, vec16_mul(vec16_load_n(x + whole, rest), factor), rest);
}

ALWAYS_INLINE vec16 scale_weighted(vec16 x, vec16 w, vec16 r) { return vec16_mul(vec16_mul(x, r), w); }

/* y [n] = x [n] * r * w [n], or x [n] * r when w is NULL; y may be x. */
void OPS_NAME(rms_norm)(float *y, const float *x, const float *w, int n, float eps)
{
    ASSUME(n >= 1);
    float r = 1.0f / sqrtf(sum_of_products(x, x, n) / (float)n + eps);
    if (w) {
        map_pairs(y, x, w, n, scale_weighted, vec16_broadcast(r));
    } else {
        scale_to(y, x, r, n);
    }
}

/* y [n] = x [n] * r; y may be x. */
void OPS_NAME(l2_norm)(float *y, const float *x, int n, float eps)
{
    scale_to(y, x, 1.0f / sqrtf(sum_of_products(x, x, n) + eps), n);
}

/* Turns the lanes of (*a, *b) by the angles of (c, s). */
ALWAYS_INLINE void rotate(vec16 *a, vec16 *b, vec16 c, vec16 s)
{
    vec16 x = *a, y = *b;
    *a = vec16_fma(x, c, vec16_neg(vec16_mul(y, s)));
    *b = vec16_fma(y, c, vec16_mul(x, s));
}

/* x [n_rot] in place; cosine, sine [n_rot / 2]. */
void OPS_NAME(rope)(float *x, const float *cosine, const float *sine, int n_rot)
{
    ASSUME(n_rot >= 0 && n_rot % 2 == 0);
    int half = n_rot / 2, whole = half / OPS_LANES * OPS_LANES, rest = half - whole;
    float *other = x + half;
    for (int i = 0; i < whole; i += OPS_LANES) {
        vec16 a = vec16_load(x + i), b = vec16_load(other + i);
        rotate(&a, &b, vec16_load(cosine + i), vec16_load(sine + i));
        vec16_store(x + i, a);
        vec16_store(other + i, b);
    }
    if (rest) {
        vec16 a = vec16_load_n(x + whole, rest), b = vec16_load_n(other + whole, rest);
        rotate(&a, &b, vec16_load_n(cosine + whole, rest), vec16_load_n(sine + whole, rest));
        vec16_store_n(x + whole, a, rest);
        vec16_store_n(other + whole, b, rest);
    }
}

/* x / (1 + exp(t)) */
ALWAYS_INLINE vec16 quotient(vec16 x, vec16 t) { return vec16_div(x, vec16_add(vec16_broadcast(1.0f), vec16_exp(t))); }

ALWAYS_INLINE vec16 silu_mul_lanes(vec16 gate, vec16 up, vec16 unused)
{
    (void)unused;
    return vec16_mul(quotient(gate, vec16_neg(gate)), up);
}

ALWAYS_INLINE vec16 gelu_mul_lanes(vec16 gate, vec16 up, vec16 unused)
{
    (void)unused;
    vec16 t = vec16_fma(vec16_mul(gate, gate), vec16_broadcast(GELU_CUBIC), vec16_broadcast(GELU_LINEAR));
    return vec16_mul(quotient(gate, vec16_mul(gate, t)), up);
}

ALWAYS_INLINE vec16 swiglu_clamped_lanes(vec16 gate, vec16 up, vec16 limit)
{
    vec16 g = vec16_min(limit, gate), u = vec16_min(limit, vec16_max(vec16_neg(limit), up));
    vec16 swish = quotient(g, vec16_mul(g, vec16_broadcast(-SWIGLU_SLOPE)));
    return vec16_mul(swish, vec16_add(u, vec16_broadcast(1.0f)));
}

ALWAYS_INLINE vec16 silu_lanes(vec16 x, vec16 unused)
{
    (void)unused;
    return quotient(x, vec16_neg(x));
}

ALWAYS_INLINE vec16 sigmoid_lanes(vec16 x, vec16 one) { return quotient(one, vec16_neg(x)); }

ALWAYS_INLINE vec16 softcap_lanes(vec16 x, vec16 cap) { return vec16_mul(cap, vec16_tanh(vec16_div(x, cap))); }

/* y [n] = silu(gate [n]) * up [n]; y may be gate or up. */
void OPS_NAME(silu_mul)(float *y, const float *gate, const float *up, int n)
{
    map_pairs(y, gate, up, n, silu_mul_lanes, vec16_broadcast(0.0f));
}

/* y [n] = gelu(gate [n]) * up [n]; y may be gate or up. */
void OPS_NAME(gelu_mul)(float *y, const float *gate, const float *up, int n)
{
    map_pairs(y, gate, up, n, gelu_mul_lanes, vec16_broadcast(0.0f));
}

/* y [n] = g sigmoid(1.702 g) (u + 1) of the limited gate [n] and up [n]; y may be gate or up. */
void OPS_NAME(swiglu_clamped)(float *y, const float *gate, const float *up, int n, float limit)
{
    map_pairs(y, gate, up, n, swiglu_clamped_lanes, vec16_broadcast(limit));
}

/* x [n] in place. */
void OPS_NAME(silu)(float *x, int n)
{
    map(x, n, silu_lanes, vec16_broadcast(0.0f));
}

/* x [n] in place. */
void OPS_NAME(sigmoid)(float *x, int n)
{
    map(x, n, sigmoid_lanes, vec16_broadcast(1.0f));
}

/* x [n] = cap * tanh(x / cap) */
void OPS_NAME(softcap)(float *x, float cap, int n)
{
    map(x, n, softcap_lanes, vec16_broadcast(cap));
}

/* x [n] in place. */
void OPS_NAME(softmax)(float *x, int n)
{
    ASSUME(n >= 1);
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    vec16 largest = vec16_broadcast(-INFINITY);
    for (int i = 0; i < whole; i += OPS_LANES) largest = vec16_max(vec16_load(x + i), largest);
    if (rest) largest = vec16_max(vec16_keep_range(vec16_load_n(x + whole, rest), 0, rest, -INFINITY), largest);

    vec16 max = vec16_broadcast(vec16_largest(largest)), sum = vec16_broadcast(0.0f);
    for (int i = 0; i < whole; i += OPS_LANES) {
        vec16 e = vec16_exp(vec16_sub(vec16_load(x + i), max));
        vec16_store(x + i, e);
        sum = vec16_add(sum, e);
    }
    if (rest) {
        vec16 e = vec16_exp(vec16_sub(vec16_load_n(x + whole, rest), max));
        vec16_store_n(x + whole, e, rest);
        sum = vec16_add(sum, vec16_keep_range(e, 0, rest, 0.0f));
    }

    vec16 total = vec16_broadcast(vec16_sum(sum));
    for (int i = 0; i < whole; i += OPS_LANES) vec16_store(x + i, vec16_div(vec16_load(x + i), total));
    if (rest) vec16_store_n(x + whole, vec16_div(vec16_load_n(x + whole, rest), total), rest);
}

/* y [n] += x [n] */
void OPS_NAME(add)(float *y, const float *x, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    for (int i = 0; i < whole; i += OPS_LANES) vec16_store(y + i, vec16_add(vec16_load(y + i), vec16_load(x + i)));
    if (rest) vec16_store_n(y + whole, vec16_add(vec16_load_n(y + whole, rest), vec16_load_n(x + whole, rest)), rest);
}

/* y [n] += a * x [n], rounded once */
void OPS_NAME(add_scaled)(float *y, const float *x, float a, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    vec16 factor = vec16_broadcast(a);
    for (int i = 0; i < whole; i += OPS_LANES)
        vec16_store(y + i, vec16_fma(factor, vec16_load(x + i), vec16_load(y + i)));
    if (rest) {
        vec16 sum = vec16_fma(factor, vec16_load_n(x + whole, rest), vec16_load_n(y + whole, rest));
        vec16_store_n(y + whole, sum, rest);
    }
}

ALWAYS_INLINE vec16 product(vec16 a, vec16 b, vec16 unused)
{
    (void)unused;
    return vec16_mul(a, b);
}

/* y [n] *= x [n] */
void OPS_NAME(mul)(float *y, const float *x, int n)
{
    map_pairs(y, y, x, n, product, vec16_broadcast(0.0f));
}

/* y [n] += a [n] * b [n], rounded once */
void OPS_NAME(mul_add)(float *y, const float *a, const float *b, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    for (int i = 0; i < whole; i += OPS_LANES)
        vec16_store(y + i, vec16_fma(vec16_load(a + i), vec16_load(b + i), vec16_load(y + i)));
    if (rest) {
        vec16 a_last = vec16_load_n(a + whole, rest), b_last = vec16_load_n(b + whole, rest);
        vec16_store_n(y + whole, vec16_fma(a_last, b_last, vec16_load_n(y + whole, rest)), rest);
    }
}

/* y [n] *= a */
void OPS_NAME(scale)(float *y, float a, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    vec16 factor = vec16_broadcast(a);
    for (int i = 0; i < whole; i += OPS_LANES) vec16_store(y + i, vec16_mul(vec16_load(y + i), factor));
    if (rest) vec16_store_n(y + whole, vec16_mul(vec16_load_n(y + whole, rest), factor), rest);
}

/* y [n] limited to [-limit, limit]; NaN stays. */
void OPS_NAME(clamp)(float *y, float limit, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    vec16 low = vec16_broadcast(-limit), high = vec16_broadcast(limit);
    for (int i = 0; i < whole; i += OPS_LANES)
        vec16_store(y + i, vec16_min(high, vec16_max(low, vec16_load(y + i))));
    if (rest) vec16_store_n(y + whole, vec16_min(high, vec16_max(low, vec16_load_n(y + whole, rest))), rest);
}
