/* What the vec_q8_<isa>.h of x86 have in common; needs AVX2. */
#ifndef OPS_X86_VEC_Q8_X86_H
#define OPS_X86_VEC_Q8_X86_H

#include <immintrin.h>
#include <stdint.h>

#include "ops/q8.h"
#include "ops/tmpl/unroll.h"

typedef int32_t __attribute__((may_alias)) q8_quad; /* four q, read as one */

/* half[i]: minus the sum of each 16 of n_blocks * 32 q. */
ALWAYS_INLINE void q8_halves(int32_t *half, const int8_t *q, int n_blocks)
{
    for (int i = 0; i < n_blocks; i++) { /* the instruction sums eight unsigned bytes: q + 128 */
        const __m256i bytes =
            _mm256_xor_si256(_mm256_loadu_si256((const void *)(q + 32 * i)), _mm256_set1_epi8((char)0x80));
        const __m256i eights = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
        const __m256i pairs = _mm256_add_epi64(eights, _mm256_shuffle_epi32(eights, 0x4e));
        half[2 * i] = 16 * 128 - _mm_cvtsi128_si32(_mm256_castsi256_si128(pairs));
        half[2 * i + 1] = 16 * 128 - _mm_cvtsi128_si32(_mm256_extracti128_si256(pairs, 1));
    }
}

/* Of four vectors the largest lane each, unsigned. */
ALWAYS_INLINE __m128i q8_largest(const __m128i v[4])
{
    const __m128i ab = _mm_max_epu32(_mm_unpacklo_epi32(v[0], v[1]), _mm_unpackhi_epi32(v[0], v[1]));
    const __m128i cd = _mm_max_epu32(_mm_unpacklo_epi32(v[2], v[3]), _mm_unpackhi_epi32(v[2], v[3]));
    return _mm_max_epu32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
}

/* q8_block_scale() of four blocks. */
ALWAYS_INLINE void q8_block_scales(__m128i bits, float scale[4], float inverse[4])
{
    const __m128 largest = _mm_castsi128_ps(bits), steps = _mm_set1_ps(127.0f);
    const __m128i finite = _mm_cmpgt_epi32(_mm_set1_epi32(0x7f800000), bits);
    const __m128 usual = _mm_and_ps(_mm_castsi128_ps(finite), _mm_cmpge_ps(largest, _mm_set1_ps(Q8_SMALLEST)));
    const __m128 nan = _mm_andnot_ps(_mm_castsi128_ps(finite), _mm_set1_ps(NAN));
    _mm_storeu_ps(scale, _mm_or_ps(nan, _mm_and_ps(usual, _mm_div_ps(largest, steps))));
    _mm_storeu_ps(inverse, _mm_and_ps(usual, _mm_div_ps(steps, largest)));
}

#endif
