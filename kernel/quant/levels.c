/* Levels, scales and offsets of one block of each format; see the header. Fields are drawn in blocks.h. */
#include "quant/levels.h"

#include "quant/decode_k.h"

typedef void get_levels(struct block_levels *out, const void *block);

/* ---- one block of 32: nibbles of element i and i + 16 side by side, maybe a fifth bit ---- */

static void nibble_levels(struct block_levels *out, const uint8_t *q, uint32_t high, int zero)
{
    for (int i = 0; i < 16; i++) {
        out->level[i] = (int8_t)((q[i] & 15) + (int)(high >> i & 1) * 16 - zero);
        out->level[i + 16] = (int8_t)((q[i] >> 4) + (int)(high >> (i + 16) & 1) * 16 - zero);
    }
}

static void levels_q4_0(struct block_levels *out, const void *block)
{
    const struct block_q4_0 *b = block;
    nibble_levels(out, b->q, 0, 8);
    out->scale[0] = fp16_to_float(b->d);
}

static void levels_q4_1(struct block_levels *out, const void *block)
{
    const struct block_q4_1 *b = block;
    nibble_levels(out, b->q, 0, 0);
    out->scale[0] = fp16_to_float(b->d);
    out->offset[0] = fp16_to_float(b->m);
}

static void levels_q5_0(struct block_levels *out, const void *block)
{
    const struct block_q5_0 *b = block;
    nibble_levels(out, b->q, b->high, 16);
    out->scale[0] = fp16_to_float(b->d);
}

static void levels_q5_1(struct block_levels *out, const void *block)
{
    const struct block_q5_1 *b = block;
    nibble_levels(out, b->q, b->high, 0);
    out->scale[0] = fp16_to_float(b->d);
    out->offset[0] = fp16_to_float(b->m);
}

static void levels_q8_0(struct block_levels *out, const void *block)
{
    const struct block_q8_0 *b = block;
    memcpy(out->level, b->q, sizeof b->q);
    out->scale[0] = fp16_to_float(b->d);
}

static void levels_iq4_nl(struct block_levels *out, const void *block)
{
    const struct block_iq4_nl *b = block;
    nibble_levels(out, b->q, 0, 0);
    for (int i = 0; i < 32; i++) out->level[i] = iq4_curve[out->level[i]];
    out->scale[0] = fp16_to_float(b->d);
}

static void levels_mxfp4(struct block_levels *out, const void *block)
{
    const struct block_mxfp4 *b = block;
    nibble_levels(out, b->q, 0, 0);
    for (int i = 0; i < 32; i++) out->level[i] = (int8_t)e2m1_doubled(out->level[i]);
    out->scale[0] = e8m0_to_float_half(b->e);
}

/* ---- 256 elements: scales are products of a half and a small integer, which a float holds exactly ---- */

static void levels_q2_k(struct block_levels *out, const void *block)
{
    const struct block_q2_k *b = block;
    float d = fp16_to_float(b->d), dmin = fp16_to_float(b->dmin);
    for (int i = 0; i < 256; i++) out->level[i] = b->q[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
    for (int group = 0; group < 16; group++) {
        out->scale[group] = d * (float)(b->scales[group] & 15);
        out->offset[group] = -(dmin * (float)(b->scales[group] >> 4));
    }
}

static void levels_q3_k(struct block_levels *out, const void *block)
{
    const struct block_q3_k *b = block;
    float d = fp16_to_float(b->d);
    for (int i = 0; i < 256; i++) {
        int low = b->q[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3, high = b->high[i % 32] >> i / 32 & 1;
        out->level[i] = (int8_t)(low + high * 4 - 4);
    }
    for (int group = 0; group < 16; group++) {
        int low4 = b->scales[group % 8] >> group / 8 * 4 & 15, high2 = b->scales[8 + group % 4] >> group / 4 * 2 & 3;
        out->scale[group] = d * (float)((low4 | high2 << 4) - 32);
    }
}

static void k_scales(struct block_levels *out, float d, float dmin, const uint8_t *scales)
{
    for (int group = 0; group < 8; group++) {
        int scale, min;
        k_scale_min(&scale, &min, scales, group);
        out->scale[group] = d * (float)scale;
        out->offset[group] = -(dmin * (float)min);
    }
}

static void levels_q4_k(struct block_levels *out, const void *block)
{
    const struct block_q4_k *b = block;
    for (int i = 0; i < 256; i++) out->level[i] = b->q[i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15;
    k_scales(out, fp16_to_float(b->d), fp16_to_float(b->dmin), b->scales);
}

static void levels_q5_k(struct block_levels *out, const void *block)
{
    const struct block_q5_k *b = block;
    for (int i = 0; i < 256; i++) {
        int low = b->q[i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15, high = b->high[i % 32] >> i / 32 & 1;
        out->level[i] = (int8_t)(low + high * 16);
    }
    k_scales(out, fp16_to_float(b->d), fp16_to_float(b->dmin), b->scales);
}

static void levels_q6_k(struct block_levels *out, const void *block)
{
    const struct block_q6_k *b = block;
    float d = fp16_to_float(b->d);
    for (int i = 0; i < 256; i++) {
        int low = b->q[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 15;
        int high = b->high[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
        out->level[i] = (int8_t)(low + high * 16 - 32);
    }
    for (int group = 0; group < 16; group++) out->scale[group] = d * (float)b->scales[group];
}

static void levels_iq4_xs(struct block_levels *out, const void *block)
{
    const struct block_iq4_xs *b = block;
    float d = fp16_to_float(b->d);
    for (int i = 0; i < 256; i++) out->level[i] = iq4_curve[b->q[i / 32 * 16 + i % 16] >> i % 32 / 16 * 4 & 15];
    for (int group = 0; group < 8; group++) {
        int low4 = b->scales_low[group / 2] >> group % 2 * 4 & 15, high2 = b->scales_high >> 2 * group & 3;
        out->scale[group] = d * (float)((low4 | high2 << 4) - 32);
    }
}

static const struct {
    struct levels_info info;
    get_levels *get;
} rows[N_DTYPES] = {
    [DTYPE_Q4_0] = {{32, false}, levels_q4_0},     [DTYPE_Q4_1] = {{32, true}, levels_q4_1},
    [DTYPE_Q5_0] = {{32, false}, levels_q5_0},     [DTYPE_Q5_1] = {{32, true}, levels_q5_1},
    [DTYPE_Q8_0] = {{32, false}, levels_q8_0},     [DTYPE_Q2_K] = {{16, true}, levels_q2_k},
    [DTYPE_Q3_K] = {{16, false}, levels_q3_k},     [DTYPE_Q4_K] = {{32, true}, levels_q4_k},
    [DTYPE_Q5_K] = {{32, true}, levels_q5_k},      [DTYPE_Q6_K] = {{16, false}, levels_q6_k},
    [DTYPE_IQ4_NL] = {{32, false}, levels_iq4_nl}, [DTYPE_IQ4_XS] = {{32, false}, levels_iq4_xs},
    [DTYPE_MXFP4] = {{32, false}, levels_mxfp4},
};

struct levels_info quant_levels_info(enum dtype t) { return rows[t].info; }

void quant_levels(enum dtype t, struct block_levels *out, const void *block) { rows[t].get(out, block); }
