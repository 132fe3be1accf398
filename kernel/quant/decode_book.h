/* Formats with codebooks: IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S. See decode.h.
 *
 * Eight elements are worked on at once, one in each byte of a uint64_t (element 0 in the lowest): no byte overflows, so
 * adding and multiplying the whole does the same to every byte. */
#ifndef QUANT_DECODE_BOOK_H
#define QUANT_DECODE_BOOK_H

#include "base/float16.h"
#include "quant/blocks.h"
#include "quant/decode_small.h"
#include "quant/iq_tables.h"

#define IN_EACH_BYTE UINT64_C(0x0101010101010101)

/* ---- one codeword of 8, or two of 4, to bytes; `word`, `low`, `high` are entries of the books ---- */

/* 8 codes of 2 bits to 8 bytes:  hgfedcba -> hgfe....dcba -> hg..fe..dc..ba -> h.g.f.e.d.c.b.a */
static inline uint64_t spread2(uint64_t word)
{
    word = (word | word << 24) & UINT64_C(0x000000ff000000ff);
    word = (word | word << 12) & UINT64_C(0x000f000f000f000f);
    return (word | word << 6) & UINT64_C(0x0303030303030303);
}

/* 4 and 4 codes of 3 bits to 8 bytes, in the same way. */
static inline uint64_t spread3(uint64_t low, uint64_t high)
{
    uint64_t word = low | high << 32;
    word = (word | word << 10) & UINT64_C(0x003f003f003f003f);
    return (word | word << 5) & UINT64_C(0x0707070707070707);
}

/* Values 8, 25, 43 of the IQ2 books; 4, 12, ..., 52, 62 of IQ3_XXS; 1, 3, ..., 15 of IQ3_S. */
static inline uint64_t iq2_values(uint64_t codes)
{
    return 8 * IN_EACH_BYTE + 17 * codes + (codes >> 1 & IN_EACH_BYTE);
}

static inline uint64_t iq3_xxs_values(uint64_t codes)
{
    uint64_t is_seven = codes & codes >> 1 & codes >> 2 & IN_EACH_BYTE;
    return 4 * IN_EACH_BYTE + 8 * codes + 2 * is_seven;
}

static inline uint64_t iq3_s_values(uint64_t codes) { return IN_EACH_BYTE + 2 * codes; }

/* The values, those negated whose bit is set in `signs`; positive values below 128 in, bytes of int8_t out. */
static inline uint64_t with_signs(uint64_t values, uint32_t signs)
{
    uint64_t bits = signs * IN_EACH_BYTE & UINT64_C(0x8040201008040201); /* bit i is left in byte i */
    uint64_t minus = (bits + 127 * IN_EACH_BYTE) >> 7 & IN_EACH_BYTE;
    return (values ^ minus * 255) + minus;
}

/* Seven signs to eight: the last one makes their number even. */
static inline uint32_t even_signs(uint32_t seven)
{
    uint32_t parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return seven | (parity & 1) << 7;
}

/* ---- the formats; of IQ2 and IQ3 first all values as bytes, then their products with the scales ---- */

/* y [16 * 16] = scale[group] * value */
static inline void scale_values(float *restrict y, const int8_t *restrict values, const float *restrict scale)
{
    KEEP_LOOP
    for (int group = 0; group < 16; group++) {
        KEEP_LOOP
        for (int i = 0; i < 16; i++) y[16 * group + i] = scale[group] * (float)values[16 * group + i];
    }
}

static inline void put_bytes(void *bytes, int word, uint64_t eight)
{
    memcpy((unsigned char *)bytes + 8 * word, &eight, sizeof eight);
}

/* y [8] = scale * (code + offset). Codes 0, 1, 2 mean -1, 0, 1, and an eighth is added or subtracted. */
static inline void decode_iq1_word(float *restrict y, uint32_t word, float scale, uint32_t minus)
{
    float offset = minus ? -1.125f : -0.875f;
    KEEP_LOOP
    for (int i = 0; i < 8; i++) y[i] = scale * ((float)(int)(word >> 2 * i & 3) + offset);
}

static inline void decode_iq1_s(float *restrict y, const void *restrict block)
{
    const struct block_iq1_s *b = block;
    float d = fp16_to_float(b->d);
    for (int w = 0; w < 32; w++) {
        uint32_t group = b->group[w / 4], index = b->low[w] | (group >> w % 4 * 3 & 7) << 8;
        decode_iq1_word(y + 8 * w, iq1_book[index], d * (float)(int)(2 * (group >> 12 & 7) + 1), group >> 15);
    }
}

static inline void decode_iq1_m(float *restrict y, const void *restrict block)
{
    const struct block_iq1_m *b = block;
    uint32_t bits = 0;
    for (int s = 0; s < 4; s++) bits |= (uint32_t)(b->scales[s] >> 12) << 4 * s;
    float d = fp16_to_float((uint16_t)bits);
    for (int w = 0; w < 32; w++) {
        uint32_t high = b->high[w / 2] >> w % 2 * 4, index = b->low[w] | (high & 7) << 8;
        float scale = d * (float)(2 * (b->scales[w / 8] >> w % 8 / 2 * 3 & 7) + 1);
        decode_iq1_word(y + 8 * w, iq1_book[index], scale, high & 8);
    }
}

static inline void decode_iq2_xxs(float *restrict y, const void *restrict block)
{
    const struct block_iq2_xxs *b = block;
    float d = fp16_to_float(b->d), scale[16];
    int8_t values[256];
    for (int w = 0; w < 32; w++) {
        uint64_t codes = spread2(iq2_xxs_book[b->group[w / 4].index[w % 4]]);
        uint32_t signs = even_signs(b->group[w / 4].signs_scale >> w % 4 * 7 & 127);
        put_bytes(values, w, with_signs(iq2_values(codes), signs));
    }
    for (int g = 0; g < 16; g++)
        scale[g] = d * (0.5f + (float)(int)(b->group[g / 2].signs_scale >> 28)) * 0.25f;
    scale_values(y, values, scale);
}

/* Scales of IQ2_XS and IQ2_S: scale [16], a nibble each. */
static inline void iq2_scales(float *scale, float d, const uint8_t *nibbles)
{
    for (int g = 0; g < 16; g++) scale[g] = d * (0.5f + (float)(nibbles[g / 2] >> g % 2 * 4 & 15)) * 0.25f;
}

static inline void decode_iq2_xs(float *restrict y, const void *restrict block)
{
    const struct block_iq2_xs *b = block;
    float scale[16];
    int8_t values[256];
    for (int w = 0; w < 32; w++) {
        uint64_t codes = spread2(iq2_xs_book[b->word[w] & 511]);
        put_bytes(values, w, with_signs(iq2_values(codes), even_signs(b->word[w] >> 9)));
    }
    iq2_scales(scale, fp16_to_float(b->d), b->scales);
    scale_values(y, values, scale);
}

static inline void decode_iq2_s(float *restrict y, const void *restrict block)
{
    const struct block_iq2_s *b = block;
    float scale[16];
    int8_t values[256];
    for (int w = 0; w < 32; w++) {
        int index = b->low[w] | (b->high[w / 4] >> w % 4 * 2 & 3) << 8;
        put_bytes(values, w, with_signs(iq2_values(spread2(iq2_s_book[index])), b->signs[w]));
    }
    iq2_scales(scale, fp16_to_float(b->d), b->scales);
    scale_values(y, values, scale);
}

static inline void decode_iq3_xxs(float *restrict y, const void *restrict block)
{
    const struct block_iq3_xxs *b = block;
    float d = fp16_to_float(b->d), scale[16];
    int8_t values[256];
    for (int w = 0; w < 32; w++) {
        uint64_t codes = spread3(iq3_xxs_book[b->index[2 * w]], iq3_xxs_book[b->index[2 * w + 1]]);
        uint32_t signs = even_signs(b->signs_scale[w / 4] >> w % 4 * 7 & 127);
        put_bytes(values, w, with_signs(iq3_xxs_values(codes), signs));
    }
    for (int g = 0; g < 16; g++) scale[g] = d * (0.5f + (float)(int)(b->signs_scale[g / 2] >> 28)) * 0.5f;
    scale_values(y, values, scale);
}

static inline void decode_iq3_s(float *restrict y, const void *restrict block)
{
    const struct block_iq3_s *b = block;
    float d = fp16_to_float(b->d), scale[16];
    int8_t values[256];
    for (int w = 0; w < 32; w++) {
        int high = b->high[w / 4] >> w % 4 * 2;
        int first = b->low[2 * w] | (high & 1) << 8, second = b->low[2 * w + 1] | (high >> 1 & 1) << 8;
        uint64_t codes = spread3(iq3_s_book[first], iq3_s_book[second]);
        put_bytes(values, w, with_signs(iq3_s_values(codes), b->signs[w]));
    }
    for (int g = 0; g < 16; g++) scale[g] = d * (float)(1 + 2 * (b->scales[g / 4] >> g / 2 % 2 * 4 & 15));
    scale_values(y, values, scale);
}

#undef IN_EACH_BYTE

#endif
