/* The primitives of tmpl/q8_tmpl.h on AVX-512 with VNNI: 64 bytes are one register, 16 rows of 4 levels.
 *
 *   q8_bits(a, shift, mask)   of every byte: (byte >> shift) & mask, or << -shift; bits that cross from the next byte
 *                             are masked off
 *   q8_or_bits(w, a, shift, mask)   w | q8_bits(a, shift, mask)
 *   q8_add_bits(w, a, first, value)   byte c of row r is w + `value` if bit first + c of row r's 32 bits of `a` is set;
 *                             no byte of w is above 15
 *   q8_byte, q8_field         of every row one float: byte i, or (32 bits >> shift) & mask
 *
 * Sums of products are of every row one float, exact: the sum over 4 n columns of (level - zero) * q. `zero` points at
 * minus the sum of these q; the zero point is 1 << shift, or 0 when shift < 0; no level is above `max`. Levels from
 * registers: q8_begin, then q8_step for i = 0 .. n - 1, then q8_end. From the slab (which this file does without), as
 * q8_store_levels wrote them: q8_dot_tile. */
#ifndef OPS_X86_VEC_Q8_AVX512VNNI_H
#define OPS_X86_VEC_Q8_AVX512VNNI_H

#if !defined(__AVX512VNNI__)
#error "compile this file with -mavx512vnni"
#endif

#include <string.h>

#include "ops/x86/vec_avx512.h"
#include "ops/x86/vec_q8_x86.h"

typedef __m512i q8_bytes;

ALWAYS_INLINE q8_bytes q8_load(const void *p) { return _mm512_loadu_si512(p); }
ALWAYS_INLINE q8_bytes q8_bits(q8_bytes a, int shift, int mask)
{
    if (shift > 0) a = _mm512_srli_epi32(a, (unsigned)shift);
    if (shift < 0) a = _mm512_slli_epi32(a, (unsigned)-shift);
    return _mm512_and_si512(a, _mm512_set1_epi8((char)mask));
}
ALWAYS_INLINE q8_bytes q8_or_bits(q8_bytes w, q8_bytes a, int shift, int mask)
{
    if (shift > 0) a = _mm512_srli_epi32(a, (unsigned)shift);
    if (shift < 0) a = _mm512_slli_epi32(a, (unsigned)-shift);
    enum { W_OR_A_AND_MASK = 0xf8 };
    return _mm512_ternarylogic_epi32(w, a, _mm512_set1_epi8((char)mask), W_OR_A_AND_MASK);
}
ALWAYS_INLINE q8_bytes q8_flip_signs(q8_bytes a) { return _mm512_xor_si512(a, _mm512_set1_epi8((char)0x80)); }
ALWAYS_INLINE q8_bytes q8_lookup(const uint8_t table[16], q8_bytes index)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table)), index);
}
ALWAYS_INLINE q8_bytes q8_add_bits(q8_bytes w, q8_bytes a, int first, int value)
{
    const int k = first / 8 * 0x01010101; /* the byte that holds the bits, four times */
    const __m512i byte = _mm512_set4_epi32(0x0c0c0c0c + k, 0x08080808 + k, 0x04040404 + k, k);
    const __m512i bit = _mm512_set1_epi32((int)(0x08040201u << first % 8));
    return _mm512_mask_add_epi8(w, _mm512_test_epi8_mask(_mm512_shuffle_epi8(a, byte), bit), w,
                                _mm512_set1_epi8((char)value));
}
ALWAYS_INLINE q8_bytes q8_widen_halves(const void *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
}
ALWAYS_INLINE vec16 q8_field(q8_bytes a, int shift, int mask)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(a, (unsigned)shift), _mm512_set1_epi32(mask)));
}
ALWAYS_INLINE vec16 q8_byte(q8_bytes a, int i)
{
    const __m512i byte = _mm512_set4_epi32(i - 0xf4, i - 0xf8, i - 0xfc, i - 0x100); /* 4 r + i, and three times none */
    return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(a, byte));
}

/* 2^(e - 128) of 16 bytes e. The two smallest are subnormal: 2^-128 and 2^-127. */
ALWAYS_INLINE vec16 q8_half_powers(const unsigned char *p)
{
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
    __m512i bits = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    bits = _mm512_mask_sllv_epi32(bits, _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2)), _mm512_set1_epi32(0x00200000),
                                  e);
    return _mm512_castsi512_ps(bits);
}

/* (float)*p in all lanes. */
ALWAYS_INLINE vec16 q8_broadcast_count(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_set1_epi32(*p)); }

typedef __m512i q8_sum;

/* What a sum starts from: minus zero times the sum of q. */
ALWAYS_INLINE q8_sum q8_begin(const int32_t *zero, int shift)
{
    return shift < 0 ? _mm512_setzero_si512() : _mm512_slli_epi32(_mm512_set1_epi32(*zero), (unsigned)shift);
}

/* sum + levels * q, four products per lane. The four q are broadcast from memory by the instruction itself; compilers
 * make a separate broadcast of the intrinsic, which halves the speed. */
ALWAYS_INLINE q8_sum q8_step(q8_sum sum, q8_bytes levels, const int8_t *q, int i, int max)
{
    (void)i, (void)max;
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(levels), "m"(*(const q8_quad *)(const void *)q));
    return sum;
}

ALWAYS_INLINE vec16 q8_end(q8_sum sum, const int32_t *zero, int shift, int n, int max)
{
    (void)zero, (void)shift, (void)n, (void)max;
    return _mm512_cvtepi32_ps(sum);
}

/* Rounds n_blocks * 32 floats, n_blocks at most 4, to q; half[i]: minus the sum of each 16 q (q8.h). Where a factor is
 * zero, NaN and infinity become the integer whose low byte is zero. */
ALWAYS_INLINE void q8_round_blocks(int8_t *q, int32_t *half, float *scale, const float *x, int n_blocks)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m128i most[4];
    float scales[4], inverse[4];
    UNROLL for (int b = 0; b < 4; b++) {
        __m512i block = _mm512_setzero_si512();
        if (b < n_blocks)
            block = _mm512_max_epu32(_mm512_and_si512(_mm512_loadu_si512(x + 32 * b), magnitude),
                                     _mm512_and_si512(_mm512_loadu_si512(x + 32 * b + 16), magnitude));
        const __m256i eight = _mm256_max_epu32(_mm512_castsi512_si256(block), _mm512_extracti64x4_epi64(block, 1));
        most[b] = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    }
    q8_block_scales(q8_largest(most), scales, inverse);
    for (int i = 0; i < 2 * n_blocks; i++) {
        const __m512 product = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), _mm512_set1_ps(inverse[i / 2]));
        _mm_storeu_si128((void *)(q + 16 * i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(product)));
    }
    q8_halves(half, q, n_blocks);
    memcpy(scale, scales, (size_t)n_blocks * sizeof *scale);
}

#endif
