/* Attention of a few queries over one block of positions, with the softmax kept as a running maximum and sum
 * (Milakov and Gimelshein 2018, Dao et al. 2022). The caller starts with max = -INFINITY, sum = 0, out = 0, hands over
 * the blocks in ascending order, and divides out by sum at the end. */
#include <math.h>

#include "ops/assume.h"
#include "ops/scalar/exp.h"
#include "ops/scalar/lanes.h"
#include "ops/variants.h"

/* scores [last] of positions first <= j < last: q [head_dim] . key j, times scale, capped if the block says so. */
static void score(float *scores, const struct attention_block *b, const float *q)
{
    for (int j = b->first; j < b->last; j++) {
        const float *key = b->k + (ptrdiff_t)(j / KEY_PANEL) * KEY_PANEL * b->head_dim + j % KEY_PANEL;
        float dot = 0.0f;
        for (int d = 0; d < b->head_dim; d++) dot = fmaf(q[d], key[(ptrdiff_t)d * KEY_PANEL], dot);
        scores[j] = dot * b->scale;
    }
    if (b->softcap > 0.0f) ops_softcap_scalar(scores + b->first, b->softcap, b->last - b->first);
}

/* One query: updates out [v_head_dim], *running_max and *running_sum. */
static void attend(float *out, float *running_max, float *running_sum, float *scores, const struct attention_block *b)
{
    float max = *running_max, lane[OPS_LANES] = {0};
    for (int j = b->first; j < b->last; j++) max = larger(scores[j], max);
    for (int j = b->first; j < b->last; j++) {
        scores[j] = exp_scalar(scores[j] - max);
        lane[j % OPS_LANES] += scores[j];
    }
    /* What was summed against the old maximum shrinks to the new one: a factor of at most 1. */
    float correction = exp_scalar(*running_max - max);
    *running_sum = fmaf(*running_sum, correction, lanes_sum(lane));
    *running_max = max;

    for (int d = 0; d < b->v_head_dim; d++) {
        float sum = out[d] * correction;
        for (int j = b->first; j < b->last; j++) sum = fmaf(scores[j], b->v[j * b->v_stride + d], sum);
        out[d] = sum;
    }
}

void ops_attention_scalar(const struct attention_block *b)
{
    ASSUME(b->n_q >= 1 && b->head_dim >= 1 && b->v_head_dim >= 1);
    ASSUME(b->first >= 0 && b->first < b->last && b->last <= ATTENTION_BLOCK);
    for (int i = 0; i < b->n_q; i++) {
        float *scores = b->scores + (ptrdiff_t)i * ATTENTION_BLOCK;
        score(scores, b, b->q + i * b->q_stride);
        attend(b->out + i * b->out_stride, &b->max[i], &b->sum[i], scores, b);
    }
}
