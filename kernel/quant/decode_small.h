/* Formats with one scale per block: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4, and FP8 with a scale per 128. See
 * decode.h. */
#ifndef QUANT_DECODE_SMALL_H
#define QUANT_DECODE_SMALL_H

#include "base/float16.h"
#include "quant/blocks.h"

/* Before a loop inside other loops: compilers would unroll it up to 16 turns, and then find no vectors in it. */
#ifdef __clang__
#define KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define KEEP_LOOP _Pragma("GCC unroll 1")
#endif

static inline void decode_q4_0(float *restrict y, const void *restrict block)
{
    const struct block_q4_0 *b = block;
    float d = fp16_to_float(b->d);
    KEEP_LOOP
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((b->q[i] & 15) - 8);
        y[i + 16] = d * (float)((b->q[i] >> 4) - 8);
    }
}

static inline void decode_q4_1(float *restrict y, const void *restrict block)
{
    const struct block_q4_1 *b = block;
    float d = fp16_to_float(b->d), m = fp16_to_float(b->m);
    KEEP_LOOP
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(b->q[i] & 15) + m;
        y[i + 16] = d * (float)(b->q[i] >> 4) + m;
    }
}

static inline void decode_q5_0(float *restrict y, const void *restrict block)
{
    const struct block_q5_0 *b = block;
    float d = fp16_to_float(b->d);
    uint32_t high = b->high;
    KEEP_LOOP
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((int)((b->q[i] & 15u) | (high >> i & 1) << 4) - 16);
        y[i + 16] = d * (float)((int)((b->q[i] >> 4) | (high >> (i + 16) & 1) << 4) - 16);
    }
}

static inline void decode_q5_1(float *restrict y, const void *restrict block)
{
    const struct block_q5_1 *b = block;
    float d = fp16_to_float(b->d), m = fp16_to_float(b->m);
    uint32_t high = b->high;
    KEEP_LOOP
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(int)((b->q[i] & 15u) | (high >> i & 1) << 4) + m;
        y[i + 16] = d * (float)(int)((b->q[i] >> 4) | (high >> (i + 16) & 1) << 4) + m;
    }
}

static inline void decode_q8_0(float *restrict y, const void *restrict block)
{
    const struct block_q8_0 *b = block;
    float d = fp16_to_float(b->d);
    for (int i = 0; i < 32; i++) y[i] = (float)b->q[i] * d;
}

/* The steps of IQ4_NL and IQ4_XS. */
static const int8_t iq4_curve[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static inline void decode_iq4_nl(float *restrict y, const void *restrict block)
{
    const struct block_iq4_nl *b = block;
    float d = fp16_to_float(b->d);
    KEEP_LOOP
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)iq4_curve[b->q[i] & 15];
        y[i + 16] = d * (float)iq4_curve[b->q[i] >> 4];
    }
}

/* Twice the values of 4-bit floats e2m1, integers: 0 1 2 3 4 6 8 12, negated from code 8 on. Minus zero is zero. */
static inline int e2m1_doubled(int code)
{
    int steps = code & 7, minus = -(code >> 3);
    int magnitude = steps + ((steps + 3) >> 3) + ((steps + 2) >> 3) + 3 * ((steps + 1) >> 3);
    return (magnitude ^ minus) - minus;
}

static inline void decode_mxfp4(float *restrict y, const void *restrict block)
{
    const struct block_mxfp4 *b = block;
    float d = e8m0_to_float_half(b->e); /* half of the scale: the integers are doubled */
    KEEP_LOOP
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)e2m1_doubled(b->q[i] & 15);
        y[i + 16] = d * (float)e2m1_doubled(b->q[i] >> 4);
    }
}

static inline void decode_f8_b128(float *restrict y, const void *restrict block)
{
    const struct block_f8_b128 *b = block;
    float scale = b->scale;
    for (int i = 0; i < 128; i++) y[i] = e4m3_to_float(b->q[i]) * scale;
}

#endif
