/* Formats of 256 elements with a half for all and a small integer scale per group: Q2_K .. Q6_K and IQ4_XS. See
 * decode.h. */
#ifndef QUANT_DECODE_K_H
#define QUANT_DECODE_K_H

#include "quant/decode_small.h"

static inline void decode_q2_k(float *restrict y, const void *restrict block)
{
    const struct block_q2_k *b = block;
    float d = fp16_to_float(b->d), dmin = fp16_to_float(b->dmin);
    KEEP_LOOP
    for (int group = 0; group < 16; group++) {
        const uint8_t *q = b->q + group / 8 * 32 + group % 2 * 16;
        int shift = group % 8 / 2 * 2;
        float scale = d * (float)(b->scales[group] & 15), min = dmin * (float)(b->scales[group] >> 4);
        KEEP_LOOP
        for (int i = 0; i < 16; i++) y[16 * group + i] = scale * (float)(q[i] >> shift & 3) - min;
    }
}

static inline void decode_q3_k(float *restrict y, const void *restrict block)
{
    const struct block_q3_k *b = block;
    float d = fp16_to_float(b->d);
    KEEP_LOOP
    for (int group = 0; group < 16; group++) {
        const uint8_t *q = b->q + group / 8 * 32 + group % 2 * 16, *high = b->high + group % 2 * 16;
        int shift = group % 8 / 2 * 2, bit = group / 2;
        int low4 = b->scales[group % 8] >> group / 8 * 4 & 15, high2 = b->scales[8 + group % 4] >> group / 4 * 2 & 3;
        float scale = d * (float)((low4 | high2 << 4) - 32);
        KEEP_LOOP
        for (int i = 0; i < 16; i++)
            y[16 * group + i] = scale * (float)((q[i] >> shift & 3) + (high[i] >> bit & 1) * 4 - 4);
    }
}

/* Scale and min of a group of Q4_K and Q5_K. */
static inline void k_scale_min(int *scale, int *min, const uint8_t *scales, int group)
{
    if (group < 4) {
        *scale = scales[group] & 63;
        *min = scales[4 + group] & 63;
    } else {
        *scale = (scales[4 + group] & 15) | scales[group - 4] >> 6 << 4;
        *min = scales[4 + group] >> 4 | scales[group] >> 6 << 4;
    }
}

static inline void decode_q4_k(float *restrict y, const void *restrict block)
{
    const struct block_q4_k *b = block;
    float d = fp16_to_float(b->d), dmin = fp16_to_float(b->dmin);
    for (int group = 0; group < 8; group += 2, y += 64) {
        const uint8_t *q = b->q + 16 * group;
        int scale[2], min[2];
        uint8_t codes[64]; /* on the way through bytes gcc finds wide vectors */
        k_scale_min(&scale[0], &min[0], b->scales, group);
        k_scale_min(&scale[1], &min[1], b->scales, group + 1);
        float by[2] = {d * (float)scale[0], d * (float)scale[1]};
        float less[2] = {dmin * (float)min[0], dmin * (float)min[1]};
        for (int i = 0; i < 32; i++) codes[i] = q[i] & 15;
        for (int i = 0; i < 32; i++) codes[i + 32] = q[i] >> 4;
        for (int i = 0; i < 32; i++) y[i] = by[0] * (float)codes[i] - less[0];
        for (int i = 0; i < 32; i++) y[i + 32] = by[1] * (float)codes[i + 32] - less[1];
    }
}

static inline void decode_q5_k(float *restrict y, const void *restrict block)
{
    const struct block_q5_k *b = block;
    float d = fp16_to_float(b->d), dmin = fp16_to_float(b->dmin);
    KEEP_LOOP
    for (int group = 0; group < 8; group++) {
        const uint8_t *q = b->q + group / 2 * 32;
        int scale, min, shift = group % 2 * 4;
        k_scale_min(&scale, &min, b->scales, group);
        float by = d * (float)scale, less = dmin * (float)min;
        KEEP_LOOP
        for (int i = 0; i < 32; i++)
            y[32 * group + i] = by * (float)((q[i] >> shift & 15) | (b->high[i] >> group & 1) << 4) - less;
    }
}

static inline void decode_q6_k(float *restrict y, const void *restrict block)
{
    const struct block_q6_k *b = block;
    float d = fp16_to_float(b->d);
    KEEP_LOOP
    for (int group = 0; group < 16; group++) {
        const uint8_t *q = b->q + group / 8 * 64 + group % 4 * 16, *high = b->high + group / 8 * 32 + group % 2 * 16;
        int shift = group % 8 / 4 * 4, high_shift = group % 8 / 2 * 2;
        float scale = d * (float)b->scales[group];
        KEEP_LOOP
        for (int i = 0; i < 16; i++)
            y[16 * group + i] = scale * (float)(((q[i] >> shift & 15) | (high[i] >> high_shift & 3) << 4) - 32);
    }
}

static inline void decode_iq4_xs(float *restrict y, const void *restrict block)
{
    const struct block_iq4_xs *b = block;
    float d = fp16_to_float(b->d), scale[8];
    int8_t values[256];
    for (int group = 0; group < 8; group++) {
        const uint8_t *q = b->q + 16 * group;
        int8_t *to = values + 32 * group;
        int low4 = b->scales_low[group / 2] >> group % 2 * 4 & 15, high2 = b->scales_high >> 2 * group & 3;
        scale[group] = d * (float)((low4 | high2 << 4) - 32);
        KEEP_LOOP
        for (int i = 0; i < 16; i++) {
            to[i] = iq4_curve[q[i] & 15];
            to[i + 16] = iq4_curve[q[i] >> 4];
        }
    }
    KEEP_LOOP
    for (int group = 0; group < 8; group++)
        for (int i = 0; i < 32; i++) y[32 * group + i] = scale[group] * (float)values[32 * group + i];
}

#endif
