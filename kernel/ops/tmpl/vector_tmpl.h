/* The operations of struct ops over vec16, written once. A file of an instruction set includes its vec_<isa>.h,
 * defines OPS_NAME(operation) as the function's name, and includes this. What each operation means stands in ops.h and,
 * in plain loops, in scalar/; here each is the same loop over 16 elements and one tail. */
#include <math.h>

#include "ops/assume.h"
#include "ops/tmpl/exp_tmpl.h"
#include "ops/tmpl/unroll.h"
#include "ops/variants.h"

/* y [n] = x [n] * r * w [n]; y may be x. */
void OPS_NAME(rms_norm)(float *y, const float *x, const float *w, int n, float eps)
{
    ASSUME(n >= 1);
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    vec16 squares = vec16_broadcast(0.0f);
    for (int i = 0; i < whole; i += OPS_LANES) {
        vec16 a = vec16_load(x + i);
        squares = vec16_fma(a, a, squares);
    }
    /* Lanes beyond the end add 0 * 0 to a sum that is never -0. */
    if (rest) {
        vec16 a = vec16_load_n(x + whole, rest);
        squares = vec16_fma(a, a, squares);
    }
    vec16 r = vec16_broadcast(1.0f / sqrtf(vec16_sum(squares) / (float)n + eps));
    for (int i = 0; i < whole; i += OPS_LANES)
        vec16_store(y + i, vec16_mul(vec16_mul(vec16_load(x + i), r), vec16_load(w + i)));
    if (rest) {
        vec16 product = vec16_mul(vec16_mul(vec16_load_n(x + whole, rest), r), vec16_load_n(w + whole, rest));
        vec16_store_n(y + whole, product, rest);
    }
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

ALWAYS_INLINE vec16 silu_mul_lanes(vec16 gate, vec16 up)
{
    vec16 denominator = vec16_add(vec16_broadcast(1.0f), vec16_exp(vec16_neg(gate)));
    return vec16_mul(vec16_div(gate, denominator), up);
}

/* y [n] = silu(gate [n]) * up [n]; y may be gate or up. */
void OPS_NAME(silu_mul)(float *y, const float *gate, const float *up, int n)
{
    int whole = n / OPS_LANES * OPS_LANES, rest = n - whole;
    for (int i = 0; i < whole; i += OPS_LANES)
        vec16_store(y + i, silu_mul_lanes(vec16_load(gate + i), vec16_load(up + i)));
    if (rest) {
        vec16 product = silu_mul_lanes(vec16_load_n(gate + whole, rest), vec16_load_n(up + whole, rest));
        vec16_store_n(y + whole, product, rest);
    }
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
