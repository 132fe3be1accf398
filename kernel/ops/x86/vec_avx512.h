/* vec16 on AVX-512: sixteen float lanes are one register. The list of primitives is the same in vec_avx2.h and
 * arm/vec_neon.h, and each gives the same bits; tmpl/ writes the operations once over them. Conventions:
 *   - load_n, store_n: the first n lanes, 0 <= n <= 16; other lanes are zero, other memory is not touched.
 *   - max(a, b) is a > b ? a : b and min(a, b) is a < b ? a : b, so b comes out when either is NaN.
 *   - keep_range(x, first, last, fill): lanes first <= l < last of x, `fill` elsewhere.
 *   - transpose(to, from, stride): to [16][16] = the transpose of 16 rows of 16 floats, `stride` floats apart. */
#ifndef OPS_X86_VEC_AVX512_H
#define OPS_X86_VEC_AVX512_H

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile this file with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ops/scalar/exp.h"

typedef __m512 vec16;

/* Tiles of attention: the most queries, and the most sums, of 32 registers. */
#define VEC16_TILE_QUERIES 8
#define VEC16_TILE_SUMS 24

static inline __mmask16 vec16_first_lanes(int n) { return (__mmask16)((1u << n) - 1u); }

static inline vec16 vec16_load(const float *p) { return _mm512_loadu_ps(p); }
static inline vec16 vec16_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(vec16_first_lanes(n), p); }
static inline void vec16_store(float *p, vec16 a) { _mm512_storeu_ps(p, a); }
static inline void vec16_store_n(float *p, vec16 a, int n) { _mm512_mask_storeu_ps(p, vec16_first_lanes(n), a); }
static inline vec16 vec16_broadcast(float f) { return _mm512_set1_ps(f); }

static inline vec16 vec16_add(vec16 a, vec16 b) { return _mm512_add_ps(a, b); }
static inline vec16 vec16_sub(vec16 a, vec16 b) { return _mm512_sub_ps(a, b); }
static inline vec16 vec16_mul(vec16 a, vec16 b) { return _mm512_mul_ps(a, b); }
static inline vec16 vec16_div(vec16 a, vec16 b) { return _mm512_div_ps(a, b); }
static inline vec16 vec16_fma(vec16 a, vec16 b, vec16 c) { return _mm512_fmadd_ps(a, b, c); } /* a * b + c */
static inline vec16 vec16_neg(vec16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
static inline vec16 vec16_max(vec16 a, vec16 b) { return _mm512_max_ps(a, b); }
static inline vec16 vec16_min(vec16 a, vec16 b) { return _mm512_min_ps(a, b); }

static inline vec16 vec16_keep_range(vec16 a, int first, int last, float fill)
{
    __mmask16 inside = vec16_first_lanes(last) & (__mmask16)~vec16_first_lanes(first);
    return _mm512_mask_blend_ps(inside, _mm512_set1_ps(fill), a);
}

/* The lanes in halves: l and l + 8, then l + 4, l + 2, l + 1. */
static inline float vec16_sum(vec16 a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

static inline float vec16_largest(vec16 a)
{
    __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* p * 2^n rounded once, where `rounded` is EXP_ROUND + n (scalar/exp.h). */
static inline vec16 vec16_scale_power(vec16 p, vec16 rounded)
{
    return _mm512_scalef_ps(p, _mm512_sub_ps(rounded, _mm512_set1_ps(EXP_ROUND)));
}

/* Sixteen halves as floats. */
static inline vec16 vec16_load_fp16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p)); }

/* The first or the second bfloat16 of sixteen pairs, as floats. */
static inline vec16 vec16_load_bf16_first(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
static inline vec16 vec16_load_bf16_second(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xffff0000)));
}

/* Sixteen bfloat16 one after the other, and sixteen signed bytes, as floats. */
static inline vec16 vec16_load_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16));
}
static inline vec16 vec16_load_int8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}
/* The half at p, maybe unaligned, as float in all lanes. */
static inline vec16 vec16_broadcast_fp16(const void *p)
{
    int16_t half;
    memcpy(&half, p, sizeof half);
    return _mm512_cvtph_ps(_mm256_set1_epi16(half));
}

/* Four columns of the rows 0, 4, 8 and 12 from `from` on, one row per quarter. */
static inline __m512 vec16_quarters(const float *from, ptrdiff_t stride)
{
    __m512 rows = _mm512_castps128_ps512(_mm_loadu_ps(from));
    rows = _mm512_insertf32x4(rows, _mm_loadu_ps(from + 4 * stride), 1);
    rows = _mm512_insertf32x4(rows, _mm_loadu_ps(from + 8 * stride), 2);
    return _mm512_insertf32x4(rows, _mm_loadu_ps(from + 12 * stride), 3);
}
static inline void vec16_transpose(float *to, const float *from, ptrdiff_t stride)
{
    for (int i = 0; i < 16; i += 4, from += 4, to += 64) {
        __m512 r0 = vec16_quarters(from, stride), r1 = vec16_quarters(from + stride, stride);
        __m512 r2 = vec16_quarters(from + 2 * stride, stride), r3 = vec16_quarters(from + 3 * stride, stride);
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1)), b = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3));
        __m512d c = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1)), d = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
        vec16_store(to, _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)));
        vec16_store(to + 16, _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
        vec16_store(to + 32, _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)));
        vec16_store(to + 48, _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
    }
}

#endif
