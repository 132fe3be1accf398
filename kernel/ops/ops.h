/* struct ops: the format-free vector operations, one function pointer each.
 *
 * Filled once: scalar first, then each instruction set overlays what it has, weakest to strongest; no holes are
 * possible. Knows vectors and nothing else: no model, no layer, no thread.
 *
 * Rules for every operation
 *   - Pointers need only element alignment; any n >= 0 is allowed (n >= 1 where a mean or maximum is taken).
 *   - A function reads at most 64 bytes past the end of an input and never writes past the end of an output.
 *   - In-place use is allowed where the comment says so; otherwise arguments do not overlap.
 *   - The order of every sum is fixed by a virtual vector of 16 lanes, whatever the real width: lane l adds the
 *     elements l, l + 16, l + 32 ... in order with fused multiply-adds, and the 16 lanes are added in halves
 *     (l and l + 8, then l + 4, l + 2, l + 1). So scalar, AVX2, AVX-512 and NEON give the same bits. */
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "ops/attention.h"
#include "ops/panel.h"

enum {
    OPS_LANES = 16,
    MATMUL_K_BLOCK = 512, /* of the order of sums of weight products (panel.h) */
};

struct ops {
    const char *name; /* of the strongest instruction set in the table, e.g. "avx512" */
    uint64_t features;

    /* y[i] = x[i] * r * w[i], r = 1 / sqrt(mean(x^2) + eps), rounded as (x * r) * w; w NULL means all ones. y may be
     * x. Zhang 2019. */
    void (*rms_norm)(float *y, const float *x, const float *w, int n, float eps);
    /* y[i] = x[i] * r, r = 1 / sqrt(sum(x^2) + eps): eps is added to the sum, not to a mean. y may be x. The queries
     * and keys of Gated DeltaNet (Yang 2024). */
    void (*l2_norm)(float *y, const float *x, int n, float eps);
    /* Rotates pairs (i, i + n_rot / 2): x'[i] = x[i] c[i] - x[j] s[i], x'[j] = x[j] c[i] + x[i] s[i], i < n_rot / 2.
     * Each product rounded, then one fused multiply-add: x'[i] = fma(x[i], c, -(x[j] * s)). In place. Su 2021. */
    void (*rope)(float *x, const float *cosine, const float *sine, int n_rot);
    /* y[i] = silu(gate[i]) * up[i], silu(g) = g / (1 + exp(-g)). y may be gate or up. Shazeer 2020. */
    void (*silu_mul)(float *y, const float *gate, const float *up, int n);
    /* y[i] = gelu(gate[i]) * up[i] with the tanh form 0.5 g (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3))), computed as
     * the equal g / (1 + exp(-2 sqrt(2 / pi) (...))), which keeps the digits of the left tail. y may be gate or up.
     * Hendrycks 2016, Shazeer 2020. */
    void (*gelu_mul)(float *y, const float *gate, const float *up, int n);
    /* y[i] = g sigmoid(1.702 g) (u + 1), g = min(gate[i], limit), u = min(max(up[i], -limit), limit); limit > 0. NaN
     * passes the limits. y may be gate or up. The gate of gpt-oss. */
    void (*swiglu_clamped)(float *y, const float *gate, const float *up, int n, float limit);
    void (*silu)(float *x, int n);    /* x[i] becomes x[i] / (1 + exp(-x[i])), as in silu_mul */
    void (*sigmoid)(float *x, int n); /* x[i] becomes 1 / (1 + exp(-x[i])) */
    /* x[i] becomes cap * tanh(x[i] / cap), cap > 0; never beyond cap. Gemma 2. */
    void (*softcap)(float *x, float cap, int n);
    /* x becomes softmax(x), n >= 1. NaN in, NaN out. */
    void (*softmax)(float *x, int n);
    /* Sum of a[i] * b[i] in the order above; 0 for n = 0, and never -0. */
    float (*dot)(const float *a, const float *b, int n);
    void (*add)(float *y, const float *x, int n);            /* y[i] += x[i] */
    void (*add_scaled)(float *y, const float *x, float a, int n); /* y[i] = fma(a, x[i], y[i]) */
    void (*mul)(float *y, const float *x, int n);            /* y[i] *= x[i] */
    void (*mul_add)(float *y, const float *a, const float *b, int n); /* y[i] = fma(a[i], b[i], y[i]) */
    void (*scale)(float *y, float a, int n);                 /* y[i] *= a */
    void (*clamp)(float *y, float limit, int n);             /* y[i] = min(max(y[i], -limit), limit); NaN stays */
    /* The softmax of one block by itself: scores, their maximum, exp(s - max), its sum and its sum with v. A row's
     * result depends on what it sees alone, not on the rows beside it. NaN reaches the queries that see it; a block in
     * which all scores are -infinity gives NaN. */
    void (*attention)(const struct attention_block *b);
    /* Adds the result of a block for one query to the results of the blocks before it (Milakov 2018, Dao 2022):
     *
     *     m = max(max, block_max), a = exp(max - m), b = exp(block_max - m)
     *     sum = fma(sum, a, block_sum * b),  out [n] = fma(out, a, block_out * b),  max = m
     *
     * *sum == 0: there were none, the block's result is copied. Blocks come in ascending order, so that the result does
     * not depend on who computed them. At the end the caller divides out by *sum. */
    void (*attention_merge)(float *out, float *max, float *sum, const float *block_out, float block_max,
                            float block_sum, int n);
    /* y [n] = a row of n elements as ops/attention.h has them. */
    void (*widen)(float *y, const void *x, enum dtype type, int n);
};

/* Fills the table with the best that `features` (cpu.h bits) allows. */
void ops_init(struct ops *ops, uint64_t features);

#endif
