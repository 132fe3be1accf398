/* How blocks of quantised weights lie in files and in memory: one struct per format, without padding or alignment.
 *
 * Everything is little-endian, and so is every processor that we build for: a field is read as it lies. "half" is an
 * IEEE half as a uint16_t. "[g]" counts groups of elements, "(i)" elements of the block, and bit 0 is the lowest bit
 * of a byte. Nibbles are drawn low first: "q: i | i + 16" is element i in bits 0..3 and element i + 16 in bits 4..7.
 * y(i) is the number that element i stands for; decode_*.h computes it. */
#ifndef QUANT_BLOCKS_H
#define QUANT_BLOCKS_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "blocks are read as they lie in the file");

#define BLOCK_OF(name) struct __attribute__((packed)) block_##name
#define BLOCK_BYTES(name, bytes) _Static_assert(sizeof(struct block_##name) == (bytes), #name)

/* ---- 32 elements, one scale ------------------------------------------------------------------------------------ */

/* Q4_0, 18 bytes:   y(i) = d * (q(i) - 8)
 *
 *     0    2                  18
 *     | d  | q: i | i + 16    |      16 bytes, i = 0..15
 *     half                                                                                                        */
BLOCK_OF(q4_0) {
    uint16_t d;
    uint8_t q[16];
};
BLOCK_BYTES(q4_0, 18);

/* Q4_1, 20 bytes:   y(i) = d * q(i) + m
 *
 *     0    2    4                  20
 *     | d  | m  | q: i | i + 16    |
 *     half half                                                                                                   */
BLOCK_OF(q4_1) {
    uint16_t d, m;
    uint8_t q[16];
};
BLOCK_BYTES(q4_1, 20);

/* Q5_0, 22 bytes:   y(i) = d * (q(i) + 16 * high(i) - 16)
 *
 *     0    2         6                  22
 *     | d  | high    | q: i | i + 16    |      bit i of `high` belongs to element i
 *     half  uint32                                                                                                */
BLOCK_OF(q5_0) {
    uint16_t d;
    uint32_t high;
    uint8_t q[16];
};
BLOCK_BYTES(q5_0, 22);

/* Q5_1, 24 bytes:   y(i) = d * (q(i) + 16 * high(i)) + m
 *
 *     0    2    4         8                  24
 *     | d  | m  | high    | q: i | i + 16    |
 *     half half  uint32                                                                                           */
BLOCK_OF(q5_1) {
    uint16_t d, m;
    uint32_t high;
    uint8_t q[16];
};
BLOCK_BYTES(q5_1, 24);

/* Q8_0, 34 bytes:   y(i) = q(i) * d
 *
 *     0    2                34
 *     | d  | q: int8 (i)    |
 *     half                                                                                                        */
BLOCK_OF(q8_0) {
    uint16_t d;
    int8_t q[32];
};
BLOCK_BYTES(q8_0, 34);

/* IQ4_NL, 18 bytes: y(i) = d * curve[q(i)], a curve of 16 steps (decode_small.h), narrow in the middle
 *
 *     0    2                  18
 *     | d  | q: i | i + 16    |
 *     half                                                                                                        */
BLOCK_OF(iq4_nl) {
    uint16_t d;
    uint8_t q[16];
};
BLOCK_BYTES(iq4_nl, 18);

/* MXFP4, 17 bytes:  y(i) = 2^(e - 127) * e2m1(q(i)), e2m1 = 0 1/2 1 3/2 2 3 4 6 and, from 8 on, the same negated
 *
 *     0    1                  17
 *     | e  | q: i | i + 16    |
 *     byte                                                                                                        */
BLOCK_OF(mxfp4) {
    uint8_t e;
    uint8_t q[16];
};
BLOCK_BYTES(mxfp4, 17);

/* ---- 128 elements: in no file, made of a tensor of FP8 and a tensor of scales (model/rows.h) ------------------- */

/* F8_E4M3 x 128, 132 bytes:   y(i) = e4m3(q(i)) * scale
 *
 *     0        4               132
 *     | scale  | q: e4m3 (i)   |
 *       float                                                                                                     */
BLOCK_OF(f8_b128) {
    float scale;
    uint8_t q[128];
};
BLOCK_BYTES(f8_b128, 132);

/* ---- 256 elements, scales in two steps: a half for all, a small integer for each group -------------------------- */

/* Q2_K, 84 bytes:   16 groups of 16;   y(i) = d * scale[i / 16] * q(i) - dmin * min[i / 16]
 *
 *     0                     16                              80    82     84
 *     | scale[g] | min[g]   | q: 4 elements of 2 bits each  | d   | dmin |
 *       16 bytes, g = 0..15   64 bytes                        half  half
 *
 *     byte 32 h + j of q:  bits 0..1   (128 h + j)          h = 0..1, j = 0..31
 *                               2..3   (128 h + 32 + j)
 *                               4..5   (128 h + 64 + j)
 *                               6..7   (128 h + 96 + j)                                                           */
BLOCK_OF(q2_k) {
    uint8_t scales[16];
    uint8_t q[64];
    uint16_t d, dmin;
};
BLOCK_BYTES(q2_k, 84);

/* Q3_K, 110 bytes:  16 groups of 16;   y(i) = d * (scale[i / 16] - 32) * (q(i) + 4 * high(i) - 4)
 *
 *     0           32                              96               108   110
 *     | high      | q: 4 elements of 2 bits each  | scales, 6 bits | d   |
 *       32 bytes    64 bytes, as in Q2_K            12 bytes         half
 *
 *     bit b of byte j of high:  (32 b + j)
 *     byte j of scales, j < 8:  bits 0..3 of scale[j]  |  bits 0..3 of scale[j + 8]
 *     byte 8 + j, j < 4:        bits 4..5 of scale[j], of scale[j + 4], of scale[j + 8], of scale[j + 12]         */
BLOCK_OF(q3_k) {
    uint8_t high[32];
    uint8_t q[64];
    uint8_t scales[12];
    uint16_t d;
};
BLOCK_BYTES(q3_k, 110);

/* Q4_K, 144 bytes:  8 groups of 32;    y(i) = d * scale[i / 32] * q(i) - dmin * min[i / 32]
 *
 *     0    2      4                          16                                     144
 *     | d  | dmin | scales and mins, 6 bits  | q: 64 c + j | 64 c + 32 + j          |
 *     half half     12 bytes                   byte 32 c + j, c = 0..3, j = 0..31
 *
 *     byte g of scales, g < 4:       bits 0..5 scale[g]             6..7 bits 4..5 of scale[g + 4]
 *     byte 4 + g:                    bits 0..5 min[g]               6..7 bits 4..5 of min[g + 4]
 *     byte 8 + g:                    bits 0..3 of scale[g + 4]  |   bits 0..3 of min[g + 4]                       */
BLOCK_OF(q4_k) {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t q[128];
};
BLOCK_BYTES(q4_k, 144);

/* Q5_K, 176 bytes:  8 groups of 32;    y(i) = d * scale[i / 32] * (q(i) + 16 * high(i)) - dmin * min[i / 32]
 *
 *     0    2      4                          16          48                                176
 *     | d  | dmin | scales and mins, 6 bits  | high      | q: 64 c + j | 64 c + 32 + j     |
 *     half half     12 bytes, as in Q4_K       32 bytes    128 bytes, as in Q4_K
 *
 *     bit b of byte j of high:  (32 b + j)                                                                        */
BLOCK_OF(q5_k) {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t high[32];
    uint8_t q[128];
};
BLOCK_BYTES(q5_k, 176);

/* Q6_K, 210 bytes:  16 groups of 16;   y(i) = d * scale[i / 16] * (q(i) + 16 * high(i) - 32)
 *
 *     0                              128               192               208   210
 *     | q: low 4 bits                | high: 2 bits    | scales: int8    | d   |
 *       128 bytes                      64 bytes          16 bytes          half
 *
 *     byte 64 h + j of q, j < 64:      128 h + j  |  128 h + 64 + j        h = 0..1
 *     byte 32 h + j of high, j < 32:   as q of Q2_K                                                               */
BLOCK_OF(q6_k) {
    uint8_t q[128];
    uint8_t high[64];
    int8_t scales[16];
    uint16_t d;
};
BLOCK_BYTES(q6_k, 210);

/* IQ4_XS, 136 bytes:  8 groups of 32;  y(i) = d * (scale[i / 32] - 32) * curve[q(i)], the curve of IQ4_NL
 *
 *     0    2             4               8                                136
 *     | d  | scales_high | scales_low    | q: 32 g + j | 32 g + 16 + j    |
 *     half   uint16        4 bytes         byte 16 g + j, g = 0..7, j = 0..15
 *
 *     bits 2 g .. 2 g + 1 of scales_high:   bits 4..5 of scale[g]
 *     byte j of scales_low:                 bits 0..3 of scale[2 j]  |  of scale[2 j + 1]                         */
BLOCK_OF(iq4_xs) {
    uint16_t d, scales_high;
    uint8_t scales_low[4];
    uint8_t q[128];
};
BLOCK_BYTES(iq4_xs, 136);

/* ---- 256 elements, codebooks: an index names 8 (or 4) numbers at once. The books lie in iq_tables.h ------------- */

/* IQ1_S, 50 bytes:  8 groups of 32, codewords of 8;
 *                   y(i) = d * (2 * scale[i / 32] + 1) * (book[index(i / 8)](i % 8) +- 1/8)
 *
 *     0    2               34                   50
 *     | d  | low[32]       | group: uint16 [8]  |
 *     half   byte per codeword
 *
 *     group[g]:  bits 0..2, 3..5, 6..8, 9..11   bits 8..10 of the index of codewords 4 g .. 4 g + 3
 *                     12..14                    scale[g]
 *                     15                        1: minus 1/8                                                      */
BLOCK_OF(iq1_s) {
    uint16_t d;
    uint8_t low[32];
    uint16_t group[8];
};
BLOCK_BYTES(iq1_s, 50);

/* IQ1_M, 56 bytes:  16 groups of 16, codewords of 8;
 *                   y(i) = d * (2 * scale[i / 16] + 1) * (book[index(i / 8)](i % 8) +- 1/8)
 *
 *     0               32               48                   56
 *     | low[32]       | high[16]       | scales: uint16 [4] |
 *       byte per        nibble per
 *       codeword        codeword
 *
 *     nibble of codeword w (byte w / 2, even w low):   bits 0..2 bits 8..10 of the index, 3: minus 1/8
 *     scales[s]:  bits 0..2, 3..5, 6..8, 9..11         scale[4 s] .. scale[4 s + 3]
 *                      12..15                          bits 4 s .. 4 s + 3 of d, a half                           */
BLOCK_OF(iq1_m) {
    uint8_t low[32];
    uint8_t high[16];
    uint16_t scales[4];
};
BLOCK_BYTES(iq1_m, 56);

/* IQ2_XXS, 66 bytes:  8 groups of 32, codewords of 8;
 *                     y(i) = +- d * (1/2 + scale[i / 32]) * 1/4 * book[index(i / 8)](i % 8)
 *
 *     0    2                                                  66
 *     | d  | 8 times: | index[4] | signs and scale: uint32 |  |
 *     half              4 bytes
 *
 *     signs and scale:  bits 0..6, 7..13, 14..20, 21..27    signs of the first 7 elements of each codeword (1: minus);
 *                                                           the eighth makes the number of minus signs even
 *                            28..31                         scale[g]                                              */
BLOCK_OF(iq2_xxs) {
    uint16_t d;
    struct __attribute__((packed)) {
        uint8_t index[4];
        uint32_t signs_scale;
    } group[8];
};
BLOCK_BYTES(iq2_xxs, 66);

/* IQ2_XS, 74 bytes:  16 groups of 16, codewords of 8;   y(i) as in IQ2_XXS with scale[i / 16]
 *
 *     0    2                    66                              74
 *     | d  | word: uint16 [32]  | scale[2 j] | scale[2 j + 1]   |
 *     half   one per codeword     8 bytes
 *
 *     word:  bits 0..8 index, 9..15 signs as in IQ2_XXS                                                           */
BLOCK_OF(iq2_xs) {
    uint16_t d;
    uint16_t word[32];
    uint8_t scales[8];
};
BLOCK_BYTES(iq2_xs, 74);

/* IQ2_S, 82 bytes:  16 groups of 16, codewords of 8;   y(i) as in IQ2_XXS with scale[i / 16]
 *
 *     0    2               34               66              74                              82
 *     | d  | low[32]       | signs[32]      | high[8]       | scale[2 j] | scale[2 j + 1]   |
 *     half   byte per        bit per          2 bits per      8 bytes
 *            codeword        element          codeword
 *
 *     bit b of byte w of signs:       (8 w + b), 1: minus
 *     bits 2 b .. 2 b + 1 of high[g]: bits 8..9 of the index of codeword 4 g + b                                  */
BLOCK_OF(iq2_s) {
    uint16_t d;
    uint8_t low[32];
    uint8_t signs[32];
    uint8_t high[8];
    uint8_t scales[8];
};
BLOCK_BYTES(iq2_s, 82);

/* IQ3_XXS, 98 bytes:  8 groups of 32, codewords of 4;
 *                     y(i) = +- d * (1/2 + scale[i / 32]) * 1/2 * book[index(i / 4)](i % 4)
 *
 *     0    2                    66                             98
 *     | d  | index[64]          | signs and scale: uint32 [8]  |
 *     half   byte per codeword    as in IQ2_XXS, signs for 8 elements (two codewords) at a time                   */
BLOCK_OF(iq3_xxs) {
    uint16_t d;
    uint8_t index[64];
    uint32_t signs_scale[8];
};
BLOCK_BYTES(iq3_xxs, 98);

/* IQ3_S, 110 bytes:  8 groups of 32, codewords of 4;
 *                    y(i) = +- d * (1 + 2 * scale[i / 32]) * book[index(i / 4)](i % 4)
 *
 *     0    2               66             74              106                             110
 *     | d  | low[64]       | high[8]      | signs[32]     | scale[2 j] | scale[2 j + 1]   |
 *     half   byte per        bit per        bit per         4 bytes
 *            codeword        codeword       element
 *
 *     bit b of high[g]:           bit 8 of the index of codeword 8 g + b
 *     bit b of byte w of signs:   (8 w + b), 1: minus                                                             */
BLOCK_OF(iq3_s) {
    uint16_t d;
    uint8_t low[64];
    uint8_t high[8];
    uint8_t signs[32];
    uint8_t scales[4];
};
BLOCK_BYTES(iq3_s, 110);

#undef BLOCK_OF
#undef BLOCK_BYTES

#endif
