/* vec16 on AVX2 with FMA and F16C: sixteen float lanes are two registers. The primitives and their conventions are
 * those of vec_avx512.h. */
#ifndef OPS_X86_VEC_AVX2_H
#define OPS_X86_VEC_AVX2_H

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with -mavx2 -mfma -mf16c"
#endif

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ops/scalar/exp.h"

typedef struct {
    __m256 low, high; /* lanes 0..7 and 8..15 */
} vec16;

/* Tiles of attention: the most queries, and the most sums, of 16 registers, two per vec16. */
#define VEC16_TILE_QUERIES 6
#define VEC16_TILE_SUMS 6

static inline vec16 vec16_make(__m256 low, __m256 high) { return (vec16){low, high}; }

/* All bits set in the lanes from .. from + 7 that are below n. */
static inline __m256i vec16_below(int from, int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - from), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vec16 vec16_load(const float *p) { return vec16_make(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
static inline vec16 vec16_load_n(const float *p, int n)
{
    return vec16_make(_mm256_maskload_ps(p, vec16_below(0, n)), _mm256_maskload_ps(p + 8, vec16_below(8, n)));
}
static inline void vec16_store(float *p, vec16 a)
{
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
static inline void vec16_store_n(float *p, vec16 a, int n)
{
    _mm256_maskstore_ps(p, vec16_below(0, n), a.low);
    _mm256_maskstore_ps(p + 8, vec16_below(8, n), a.high);
}
static inline vec16 vec16_broadcast(float f) { return vec16_make(_mm256_set1_ps(f), _mm256_set1_ps(f)); }

static inline vec16 vec16_add(vec16 a, vec16 b)
{
    return vec16_make(_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high));
}
static inline vec16 vec16_sub(vec16 a, vec16 b)
{
    return vec16_make(_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high));
}
static inline vec16 vec16_mul(vec16 a, vec16 b)
{
    return vec16_make(_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high));
}
static inline vec16 vec16_div(vec16 a, vec16 b)
{
    return vec16_make(_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high));
}
static inline vec16 vec16_fma(vec16 a, vec16 b, vec16 c)
{
    return vec16_make(_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high));
}
static inline vec16 vec16_neg(vec16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return vec16_make(_mm256_xor_ps(a.low, sign), _mm256_xor_ps(a.high, sign));
}
static inline vec16 vec16_max(vec16 a, vec16 b)
{
    return vec16_make(_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high));
}
static inline vec16 vec16_min(vec16 a, vec16 b)
{
    return vec16_make(_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high));
}

static inline __m256 vec16_keep_half(__m256 a, int from, int first, int last, __m256 fill)
{
    __m256i inside = _mm256_andnot_si256(vec16_below(from, first), vec16_below(from, last));
    return _mm256_blendv_ps(fill, a, _mm256_castsi256_ps(inside));
}
static inline vec16 vec16_keep_range(vec16 a, int first, int last, float fill)
{
    __m256 other = _mm256_set1_ps(fill);
    return vec16_make(vec16_keep_half(a.low, 0, first, last, other), vec16_keep_half(a.high, 8, first, last, other));
}

static inline float vec16_sum(vec16 a)
{
    __m256 b = _mm256_add_ps(a.low, a.high);
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

static inline float vec16_largest(vec16 a)
{
    __m256 b = _mm256_max_ps(a.low, a.high);
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* 2^n of eight integers whose power is a normal number. */
static inline __m256 vec16_power_of_two(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
/* As in scalar/exp.h: two factors, the first product is exact. */
static inline __m256 vec16_scale_half(__m256 p, __m256 rounded)
{
    __m256i whole = _mm256_sub_epi32(_mm256_castps_si256(rounded), _mm256_castps_si256(_mm256_set1_ps(EXP_ROUND)));
    __m256i half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(p, vec16_power_of_two(half)),
                         vec16_power_of_two(_mm256_sub_epi32(whole, half)));
}
static inline vec16 vec16_scale_power(vec16 p, vec16 rounded)
{
    return vec16_make(vec16_scale_half(p.low, rounded.low), vec16_scale_half(p.high, rounded.high));
}

static inline vec16 vec16_load_fp16(const uint16_t *p)
{
    return vec16_make(_mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
                      _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8))));
}

static inline vec16 vec16_load_bf16_first(const uint16_t *p)
{
    return vec16_make(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const void *)p), 16)),
                      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const void *)(p + 16)), 16)));
}
static inline vec16 vec16_load_bf16_second(const uint16_t *p)
{
    __m256i upper = _mm256_set1_epi32((int)0xffff0000);
    return vec16_make(
        _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const void *)p), upper)),
        _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const void *)(p + 16)), upper)));
}

static inline __m256 vec16_half_bf16(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)), 16));
}
static inline vec16 vec16_load_bf16(const uint16_t *p)
{
    return vec16_make(vec16_half_bf16(p), vec16_half_bf16(p + 8));
}
static inline vec16 vec16_load_int8(const int8_t *p)
{
    return vec16_make(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p))),
                      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(p + 8)))));
}
static inline vec16 vec16_broadcast_fp16(const void *p)
{
    int16_t half;
    memcpy(&half, p, sizeof half);
    __m256 all = _mm256_cvtph_ps(_mm_set1_epi16(half));
    return vec16_make(all, all);
}

/* Four columns of the rows 0 and 4 from `from` on, one row per half. */
static inline __m256 vec16_halves(const float *from, ptrdiff_t stride)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)), _mm_loadu_ps(from + 4 * stride), 1);
}
/* Four columns of eight rows. */
static inline void vec16_transpose_part(float *to, const float *from, ptrdiff_t stride)
{
    __m256 r0 = vec16_halves(from, stride), r1 = vec16_halves(from + stride, stride);
    __m256 r2 = vec16_halves(from + 2 * stride, stride), r3 = vec16_halves(from + 3 * stride, stride);
    __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r0, r1)), b = _mm256_castps_pd(_mm256_unpacklo_ps(r2, r3));
    __m256d c = _mm256_castps_pd(_mm256_unpackhi_ps(r0, r1)), d = _mm256_castps_pd(_mm256_unpackhi_ps(r2, r3));
    _mm256_storeu_ps(to, _mm256_castpd_ps(_mm256_unpacklo_pd(a, b)));
    _mm256_storeu_ps(to + 16, _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    _mm256_storeu_ps(to + 32, _mm256_castpd_ps(_mm256_unpacklo_pd(c, d)));
    _mm256_storeu_ps(to + 48, _mm256_castpd_ps(_mm256_unpackhi_pd(c, d)));
}
static inline void vec16_transpose(float *to, const float *from, ptrdiff_t stride)
{
    for (int i = 0; i < 16; i += 4, from += 4, to += 64) {
        vec16_transpose_part(to, from, stride);
        vec16_transpose_part(to + 8, from + 8 * stride, stride);
    }
}

#endif
