/* The primitives of tmpl/q8_tmpl.h on AVX2, and on AVX2 with AVX-VNNI; what they mean is said in vec_q8_avx512vnni.h.
 *
 * Without VNNI a product of unsigned levels and signed q is vpmaddubsw: the sum of two products in 16 bits. Such pairs
 * are added in 16 bits as long as they fit: 8 steps of levels up to 15, which are all of a block, 4 up to 31, 2 up to
 * 63. Only then are they widened. Levels up to 255 do not fit even once and are multiplied as two nibbles, which takes
 * four instructions per step as the way over signs does (vpsignb, vpmaddubsw, vpmaddwd, vpaddd), but only two of them
 * multiply.
 *
 * With AVX-512's VNNI and VL instead of AVX-VNNI the same instruction is encoded otherwise: a way to test this file. */
#ifndef OPS_X86_VEC_Q8_AVX2_H
#define OPS_X86_VEC_Q8_AVX2_H

#include <stdbool.h>
#include <string.h>

#include "ops/x86/vec_avx2.h"
#include "ops/x86/vec_q8_x86.h"

#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))
#define Q8_HAS_VNNI 1
#else
#define Q8_HAS_VNNI 0
#endif

typedef struct {
    __m256i low, high; /* rows 0..7 and 8..15 */
} q8_bytes;

ALWAYS_INLINE q8_bytes q8_load(const void *p)
{
    return (q8_bytes){_mm256_loadu_si256(p), _mm256_loadu_si256((const __m256i *)p + 1)};
}
ALWAYS_INLINE void q8_store(void *p, q8_bytes a)
{
    _mm256_storeu_si256(p, a.low);
    _mm256_storeu_si256((__m256i *)p + 1, a.high);
}
ALWAYS_INLINE __m256i q8_bits_half(__m256i a, int shift, __m256i mask)
{
    if (shift > 0) a = _mm256_srli_epi32(a, shift);
    if (shift < 0) a = _mm256_slli_epi32(a, -shift);
    return _mm256_and_si256(a, mask);
}
ALWAYS_INLINE q8_bytes q8_bits(q8_bytes a, int shift, int mask)
{
    const __m256i m = _mm256_set1_epi8((char)mask);
    return (q8_bytes){q8_bits_half(a.low, shift, m), q8_bits_half(a.high, shift, m)};
}
ALWAYS_INLINE q8_bytes q8_or_bits(q8_bytes w, q8_bytes a, int shift, int mask)
{
    a = q8_bits(a, shift, mask);
    return (q8_bytes){_mm256_or_si256(w.low, a.low), _mm256_or_si256(w.high, a.high)};
}
ALWAYS_INLINE q8_bytes q8_flip_signs(q8_bytes a)
{
    const __m256i sign = _mm256_set1_epi8((char)0x80);
    return (q8_bytes){_mm256_xor_si256(a.low, sign), _mm256_xor_si256(a.high, sign)};
}
ALWAYS_INLINE q8_bytes q8_lookup(const uint8_t table[16], q8_bytes index)
{
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
    return (q8_bytes){_mm256_shuffle_epi8(t, index.low), _mm256_shuffle_epi8(t, index.high)};
}
ALWAYS_INLINE __m256i q8_add_bits_half(__m256i w, __m256i a, __m256i byte, __m256i bit, __m256i value)
{
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(a, byte), bit), bit);
    return _mm256_or_si256(w, _mm256_and_si256(set, value));
}
ALWAYS_INLINE q8_bytes q8_add_bits(q8_bytes w, q8_bytes a, int first, int value)
{
    const int k = first / 8 * 0x01010101; /* the byte that holds the bits, four times */
    const __m256i byte = _mm256_broadcastsi128_si256(_mm_setr_epi32(k, 0x04040404 + k, 0x08080808 + k, 0x0c0c0c0c + k));
    const __m256i bit = _mm256_set1_epi32((int)(0x08040201u << first % 8)), v = _mm256_set1_epi8((char)value);
    return (q8_bytes){q8_add_bits_half(w.low, a.low, byte, bit, v), q8_add_bits_half(w.high, a.high, byte, bit, v)};
}
ALWAYS_INLINE q8_bytes q8_widen_halves(const void *p)
{
    const __m128i *halves = p;
    return (q8_bytes){_mm256_cvtepu16_epi32(_mm_loadu_si128(halves)),
                      _mm256_cvtepu16_epi32(_mm_loadu_si128(halves + 1))};
}
ALWAYS_INLINE vec16 q8_field(q8_bytes a, int shift, int mask)
{
    const __m256i m = _mm256_set1_epi32(mask);
    return vec16_make(_mm256_cvtepi32_ps(q8_bits_half(a.low, shift, m)),
                      _mm256_cvtepi32_ps(q8_bits_half(a.high, shift, m)));
}
ALWAYS_INLINE vec16 q8_byte(q8_bytes a, int i)
{
    const __m128i four = _mm_setr_epi32(i - 0x100, i - 0xfc, i - 0xf8, i - 0xf4); /* 4 r + i, and three times none */
    const __m256i byte = _mm256_broadcastsi128_si256(four);
    return vec16_make(_mm256_cvtepi32_ps(_mm256_shuffle_epi8(a.low, byte)),
                      _mm256_cvtepi32_ps(_mm256_shuffle_epi8(a.high, byte)));
}

/* 2^(e - 128) of 8 bytes e. The two smallest are subnormal: 2^-128 and 2^-127. */
ALWAYS_INLINE __m256 q8_half_powers_half(const unsigned char *p)
{
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}
ALWAYS_INLINE vec16 q8_half_powers(const unsigned char *p)
{
    return vec16_make(q8_half_powers_half(p), q8_half_powers_half(p + 8));
}

/* (float)*p in all lanes. */
ALWAYS_INLINE vec16 q8_broadcast_count(const int32_t *p)
{
    const __m256 count = _mm256_cvtepi32_ps(_mm256_set1_epi32(*p));
    return vec16_make(count, count);
}

/* Minus zero times the sum of q. */
ALWAYS_INLINE __m256i q8_start(const int32_t *zero, int shift)
{
    return shift < 0 ? _mm256_setzero_si256() : _mm256_slli_epi32(_mm256_set1_epi32(*zero), shift);
}

#if Q8_HAS_VNNI

ALWAYS_INLINE __m256i q8_broadcast(const int8_t *q) { return _mm256_set1_epi32(*(const q8_quad *)(const void *)q); }

typedef q8_bytes q8_sum;

ALWAYS_INLINE q8_sum q8_begin(const int32_t *zero, int shift)
{
    const __m256i start = q8_start(zero, shift);
    return (q8_sum){start, start};
}
ALWAYS_INLINE __m256i q8_multiply(__m256i sum, __m256i levels, __m256i q)
{
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(sum, levels, q);
#else
    return _mm256_dpbusd_epi32(sum, levels, q);
#endif
}
ALWAYS_INLINE q8_sum q8_step(q8_sum sum, q8_bytes w, const int8_t *q, int i, int max)
{
    (void)i, (void)max;
    const __m256i four = q8_broadcast(q);
    return (q8_sum){q8_multiply(sum.low, w.low, four), q8_multiply(sum.high, w.high, four)};
}
ALWAYS_INLINE vec16 q8_end(q8_sum sum, const int32_t *zero, int shift, int n, int max)
{
    (void)zero, (void)shift, (void)n, (void)max;
    return vec16_make(_mm256_cvtepi32_ps(sum.low), _mm256_cvtepi32_ps(sum.high));
}

enum { Q8_PLANES = 1 };
ALWAYS_INLINE void q8_store_levels(uint8_t *to, q8_bytes w, q8_bytes next, int shift, int max)
{
    (void)shift, (void)max;
    q8_store(to, w);
    q8_store(to + 64, next);
}

#else

/* Pairs of products in 16 bits, and what did not fit any longer in 32. Levels up to 255: pairs of low nibbles, and of
 * high ones. */
typedef struct {
    __m256i pairs, wide;
} q8_half_sum;
typedef struct {
    q8_half_sum low, high;
} q8_sum;

enum { Q8_NIBBLES = 255 }; /* the `max` of levels that are multiplied as two nibbles */

/* How often pairs of products can be added in 16 bits. */
ALWAYS_INLINE int q8_steps(int max) { return 32767 / (2 * 127 * max); }

ALWAYS_INLINE __m256i q8_widen(__m256i pairs, int factor)
{
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16((short)factor));
}
ALWAYS_INLINE __m256i q8_low_nibbles(__m256i w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
ALWAYS_INLINE __m256i q8_high_nibbles(__m256i w) { return q8_low_nibbles(_mm256_srli_epi16(w, 4)); }

/* a + levels u * q and b + levels v * q, or at the first step the products alone. Written out because compilers add the
 * products in another order, for which registers do not suffice. */
ALWAYS_INLINE void q8_add_two(__m256i *a, __m256i *b, __m256i u, __m256i v, const int8_t *q, bool first)
{
    const q8_quad *four = (const q8_quad *)(const void *)q;
    __m256i x, y;
    if (first) {
        __asm__("vpbroadcastd %4, %1\n\tvpmaddubsw %1, %2, %0\n\tvpmaddubsw %1, %3, %1"
                : "=&x"(*a), "=&x"(*b)
                : "x"(u), "x"(v), "m"(*four));
    } else {
        __asm__("vpbroadcastd %6, %2\n\tvpmaddubsw %2, %4, %3\n\tvpmaddubsw %2, %5, %2\n\t"
                "vpaddw %3, %0, %0\n\tvpaddw %2, %1, %1"
                : "+x"(*a), "+x"(*b), "=&x"(x), "=&x"(y)
                : "x"(u), "x"(v), "m"(*four));
    }
}

/* What pairs hold so far, before more of them would not fit. */
ALWAYS_INLINE void q8_spill_pairs(q8_half_sum *sum, bool first)
{
    const __m256i wide = q8_widen(sum->pairs, 1);
    sum->wide = first ? wide : _mm256_add_epi32(sum->wide, wide);
}

ALWAYS_INLINE __m256 q8_end_half(q8_half_sum sum, __m256i start, int shift, int n, int max)
{
    __m256i wide = q8_widen(sum.pairs, 1);
    if (max == Q8_NIBBLES) {
        wide = _mm256_add_epi32(wide, q8_widen(sum.wide, 16));
    } else if (n > q8_steps(max)) {
        wide = _mm256_add_epi32(wide, sum.wide);
    }
    if (shift >= 0) wide = _mm256_add_epi32(wide, start);
    return _mm256_cvtepi32_ps(wide);
}

ALWAYS_INLINE q8_sum q8_begin(const int32_t *zero, int shift)
{
    (void)zero, (void)shift;
    const __m256i nothing = _mm256_setzero_si256();
    return (q8_sum){{nothing, nothing}, {nothing, nothing}};
}
ALWAYS_INLINE q8_sum q8_step(q8_sum sum, q8_bytes w, const int8_t *q, int i, int max)
{
    if (max == Q8_NIBBLES) {
        q8_add_two(&sum.low.pairs, &sum.low.wide, q8_low_nibbles(w.low), q8_high_nibbles(w.low), q, i == 0);
        q8_add_two(&sum.high.pairs, &sum.high.wide, q8_low_nibbles(w.high), q8_high_nibbles(w.high), q, i == 0);
        return sum;
    }
    const int steps = q8_steps(max);
    if (i > 0 && i % steps == 0) {
        q8_spill_pairs(&sum.low, i == steps);
        q8_spill_pairs(&sum.high, i == steps);
    }
    q8_add_two(&sum.low.pairs, &sum.high.pairs, w.low, w.high, q, i % steps == 0);
    return sum;
}
ALWAYS_INLINE vec16 q8_end(q8_sum sum, const int32_t *zero, int shift, int n, int max)
{
    const __m256i start = q8_start(zero, shift);
    return vec16_make(q8_end_half(sum.low, start, shift, n, max), q8_end_half(sum.high, start, shift, n, max));
}

/* Levels that are multiplied as two nibbles lie apart in the slab: low ones first, all high ones behind them. */
enum { Q8_PLANES = 2, Q8_PLANE = 8 * 8 * 64 };
ALWAYS_INLINE void q8_store_group(uint8_t *to, q8_bytes w, int max)
{
    if (max == Q8_NIBBLES) {
        q8_store(to + Q8_PLANE, q8_bits(w, 4, 15));
        w = q8_bits(w, 0, 15);
    }
    q8_store(to, w);
}
ALWAYS_INLINE void q8_store_levels(uint8_t *to, q8_bytes w, q8_bytes next, int shift, int max)
{
    (void)shift;
    q8_store_group(to, w, max);
    q8_store_group(to + 64, next, max);
}

/* Eight rows after the other: sums of all tokens and both nibbles are registers. */
ALWAYS_INLINE void q8_dot_nibbles(vec16 *dot, const uint8_t *levels, int n, const int8_t *q, int n_t,
                                  const int32_t *zero, int shift)
{
    UNROLL for (int h = 0; h < 2; h++) {
        q8_half_sum sum[8];
        UNROLL for (int g = 0; g < n; g++) {
            const __m256i *w = (const __m256i *)(const void *)(levels + g * 64 + h * 32);
            const __m256i low = _mm256_loadu_si256(w), high = _mm256_loadu_si256(w + Q8_PLANE / 32);
            UNROLL for (int t = 0; t < n_t; t++)
                q8_add_two(&sum[t].pairs, &sum[t].wide, low, high, q + t * Q8_BLOCK + 4 * g, g == 0);
        }
        UNROLL for (int t = 0; t < n_t; t++) {
            const __m256 half = q8_end_half(sum[t], q8_start(zero + t, shift), shift, n, Q8_NIBBLES);
            if (h == 0) dot[t].low = half;
            if (h == 1) dot[t].high = half;
        }
    }
}

#endif

/* The sums of n groups of 16 rows x 4 columns, levels[n * 64], with n_t tokens. Everything is a constant but the
 * pointers, so that loops unroll. */
ALWAYS_INLINE void q8_dot_tile(vec16 *dot, const uint8_t *levels, int n, const int8_t *q, int n_t, const int32_t *zero,
                               int shift, int max)
{
#if !Q8_HAS_VNNI
    if (max == Q8_NIBBLES) {
        q8_dot_nibbles(dot, levels, n, q, n_t, zero, shift);
        return;
    }
#endif
    q8_sum sum[8]; /* tokens of the largest tile */
    UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_begin(zero + t, shift);
    UNROLL for (int g = 0; g < n; g++) {
        const q8_bytes w = q8_load(levels + g * 64);
        UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_step(sum[t], w, q + t * Q8_BLOCK + 4 * g, g, max);
    }
    UNROLL for (int t = 0; t < n_t; t++) dot[t] = q8_end(sum[t], zero + t, shift, n, max);
}


/* Rounds n_blocks * 32 floats, n_blocks at most 4, to q; half[i]: minus the sum of each 16 q (q8.h). */
ALWAYS_INLINE void q8_round_blocks(int8_t *q, int32_t *half, float *scale, const float *x, int n_blocks)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m128i most[4];
    float scales[4], inverse[4];
    UNROLL for (int b = 0; b < 4; b++) {
        __m256i block = _mm256_setzero_si256();
        for (int i = 0; b < n_blocks && i < 4; i++) {
            const __m256i bits = _mm256_loadu_si256((const void *)(x + 32 * b + 8 * i));
            block = _mm256_max_epu32(block, _mm256_and_si256(bits, magnitude));
        }
        most[b] = _mm_max_epu32(_mm256_castsi256_si128(block), _mm256_extracti128_si256(block, 1));
    }
    q8_block_scales(q8_largest(most), scales, inverse);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* packing works within halves */
    for (int b = 0; b < n_blocks; b++) {
        const __m256 factor = _mm256_set1_ps(inverse[b]);
        __m256i r[4];
        UNROLL for (int j = 0; j < 4; j++)
            r[j] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 32 * b + 8 * j), factor));
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(r[0], r[1]), _mm256_packs_epi32(r[2], r[3]));
        if (inverse[b] == 0.0f) bytes = _mm256_setzero_si256();
        _mm256_storeu_si256((void *)(q + 32 * b), _mm256_permutevar8x32_epi32(bytes, order));
    }
    q8_halves(half, q, n_blocks);
    memcpy(scale, scales, (size_t)n_blocks * sizeof *scale);
}

#endif
