/* Attention of some queries over one block of positions: the softmax of the block alone, and how blocks are put
 * together (Milakov and Gimelshein 2018, Dao et al. 2022). */
#include <math.h>
#include <string.h>

#include "ops/assume.h"
#include "ops/scalar/exp.h"
#include "ops/scalar/lanes.h"
#include "ops/variants.h"

static uint16_t half_at(const unsigned char *p, size_t i)
{
    uint16_t h;
    memcpy(&h, p + 2 * i, sizeof h);
    return h;
}

/* Element i of plain numbers of type t; a level, for Q8_0. */
static float number_at(const unsigned char *p, size_t i, enum dtype t)
{
    float f;
    if (t == DTYPE_F16) return fp16_to_float(half_at(p, i));
    if (t == DTYPE_BF16) return bf16_to_float(half_at(p, i));
    if (t == DTYPE_Q8_0) return (float)(int8_t)p[i];
    memcpy(&f, p + 4 * i, sizeof f);
    return f;
}

/* Element d of the key at position j of the block. */
static float key_at(const struct attention_block *b, int j, int d)
{
    const unsigned char *panel = b->k;
    panel += (size_t)(j / KEY_PANEL) * key_panel_bytes(b->k_type, b->head_dim);
    const size_t lane = (size_t)(j % KEY_PANEL), scales = KEY_PANEL * q8_0_blocks(b->head_dim);
    if (b->k_type != DTYPE_Q8_0) return number_at(panel, (size_t)d * KEY_PANEL + lane, b->k_type);
    const float scale = fp16_to_float(half_at(panel, (size_t)(d / Q8_0_ELEMENTS) * KEY_PANEL + lane));
    return number_at(panel + 2 * scales, (size_t)d * KEY_PANEL + lane, DTYPE_Q8_0) * scale;
}

/* Element i of a row. */
static float row_at(const unsigned char *row, int i, enum dtype t)
{
    if (t != DTYPE_Q8_0) return number_at(row, (size_t)i, t);
    row += i / Q8_0_ELEMENTS * Q8_0_BYTES;
    return number_at(row + 2, (size_t)(i % Q8_0_ELEMENTS), t) * fp16_to_float(half_at(row, 0));
}

void ops_widen_scalar(float *y, const void *x, enum dtype type, int n)
{
    for (int i = 0; i < n; i++) y[i] = row_at(x, i, type);
}

/* Query `index`, which sees first <= j < last. scores [last] is scratch. */
static void attend(const struct attention_block *b, const float *q, int first, int last, int index, float *scores)
{
    for (int j = first; j < last; j++) {
        float dot = 0.0f;
        for (int d = 0; d < b->head_dim; d++) dot = fmaf(q[d], key_at(b, j, d), dot);
        scores[j] = dot * b->scale;
    }
    if (b->softcap > 0.0f) ops_softcap_scalar(scores + first, b->softcap, last - first);

    float max = -INFINITY, lane[OPS_LANES] = {0}, *out = b->out + index * b->out_stride;
    for (int j = first; j < last; j++) max = larger(scores[j], max);
    for (int j = first; j < last; j++) {
        scores[j] = exp_scalar(scores[j] - max);
        lane[j % OPS_LANES] += scores[j];
    }
    b->max[index] = max;
    b->sum[index] = lanes_sum(lane);
    for (int d = 0; d < b->v_head_dim; d++) {
        float sum = 0.0f;
        for (int j = first; j < last; j++)
            sum = fmaf(scores[j], row_at((const unsigned char *)b->v + (size_t)j * b->v_stride, d, b->v_type), sum);
        out[d] = sum;
    }
}

void ops_attention_scalar(const struct attention_block *b)
{
    ASSUME(b->n_rows >= 1 && b->group >= 1 && b->head_dim >= 1 && b->v_head_dim >= 1);
    for (int i = 0; i < b->n_rows; i++) {
        const int first = attention_first(b, i), last = attention_last(b, i);
        ASSUME(first < last);
        for (int g = 0; g < b->group; g++)
            attend(b, b->q + i * b->q_row + g * b->q_head, first, last, i * b->group + g, b->scratch);
    }
}

void ops_attention_merge_scalar(float *out, float *max, float *sum, const float *block_out, float block_max,
                                float block_sum, int n)
{
    if (*sum == 0.0f) {
        memcpy(out, block_out, (size_t)n * sizeof *out);
        *max = block_max;
        *sum = block_sum;
        return;
    }
    const float both = larger(block_max, *max), a = exp_scalar(*max - both), b = exp_scalar(block_max - both);
    for (int i = 0; i < n; i++) out[i] = fmaf(out[i], a, block_out[i] * b);
    *sum = fmaf(*sum, a, block_sum * b);
    *max = both;
}
