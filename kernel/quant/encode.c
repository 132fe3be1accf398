/* Floats to rows of any type that can be written: a table with a function per block format, and how a block is made
 * ready for them. How they search is told in encode.h. */
#include "quant/encode.h"

#include <string.h>

#include "quant/codec.h"

/* unit = 2^e such that 1 <= f / 2^e < 2, as far as 2^e is a normal float and e at most max_exponent. f >= 0 */
static void unit_of(float f, int max_exponent, float *unit, float *per_unit)
{
    uint32_t exponent = float_bits(f) >> 23, most = (uint32_t)max_exponent + 127;
    if (exponent < 1) exponent = 1;
    if (exponent > most) exponent = most;
    *unit = bits_float(exponent << 23);
    *per_unit = bits_float((254 - exponent) << 23);
}

/* Largest |f|; n is a multiple of 8. */
static float largest(const float *f, size_t n)
{
    float max[8] = {0};
    for (size_t i = 0; i < n; i += 8)
        for (size_t j = 0; j < 8; j++) {
            float size = bits_float(float_bits(f[i + j]) & 0x7fffffffu);
            max[j] = size > max[j] ? size : max[j];
        }
    for (size_t j = 1; j < 8; j++) max[0] = max[j] > max[0] ? max[j] : max[0];
    return max[0];
}

void encode_load(struct encode_block *b, const float *x, const float *importance, size_t n, int max_exponent)
{
    float *bx = (float *)b->x, *bw = (float *)b->w;
    float heaviest = importance ? largest(importance, n) : 0.0f;
    unit_of(largest(x, n), max_exponent, &b->unit, &b->per_unit);
    for (size_t i = 0; i < n; i++) {
        float f = x[i] * b->per_unit;
        f = f > -2.0f ? f : -2.0f; /* beyond the largest unit */
        bx[i] = f < 2.0f ? f : 2.0f;
    }
    if (heaviest > 0.0f) {
        float unit, per_unit;
        unit_of(heaviest, ENCODE_ANY_EXPONENT, &unit, &per_unit);
        for (size_t i = 0; i < n; i++) bw[i] = importance[i] * per_unit + 0x1p-32f;
    } else {
        for (size_t i = 0; i < n; i++) bw[i] = 1.0f;
    }
}

static encode_one *const formats[N_DTYPES] = {
    [DTYPE_Q4_0] = encode_q4_0,   [DTYPE_Q4_1] = encode_q4_1,     [DTYPE_Q5_0] = encode_q5_0,
    [DTYPE_Q5_1] = encode_q5_1,   [DTYPE_Q8_0] = encode_q8_0,     [DTYPE_Q2_K] = encode_q2_k,
    [DTYPE_Q3_K] = encode_q3_k,   [DTYPE_Q4_K] = encode_q4_k,     [DTYPE_Q5_K] = encode_q5_k,
    [DTYPE_Q6_K] = encode_q6_k,   [DTYPE_IQ4_NL] = encode_iq4_nl, [DTYPE_IQ4_XS] = encode_iq4_xs,
    [DTYPE_MXFP4] = encode_mxfp4,
};

void quant_encode(enum dtype t, void *blocks, const float *x, size_t n, const float *importance)
{
    const struct dtype_info *info = dtype_info(t);
    size_t elements = (size_t)info->elements_per_block;
    unsigned char *block = blocks;
    if (t == DTYPE_F32) {
        memcpy(block, x, n * sizeof *x);
    } else if (t == DTYPE_F16 || t == DTYPE_BF16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t h = t == DTYPE_F16 ? float_to_fp16(x[i]) : float_to_bf16(x[i]); /* too large: infinity */
            memcpy(block + i * sizeof h, &h, sizeof h);
        }
    } else {
        for (size_t i = 0; i < n; i += elements, block += info->bytes_per_block)
            formats[t](block, x + i, importance ? importance + i : NULL);
    }
}
