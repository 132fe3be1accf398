/* vec16 on AArch64 NEON: sixteen float lanes are four registers. The primitives and their conventions are those of
 * x86/vec_avx512.h. */
#ifndef OPS_ARM_VEC_NEON_H
#define OPS_ARM_VEC_NEON_H

#if !defined(__aarch64__) || !defined(__ARM_NEON)
#error "compile this file for AArch64 with NEON"
#endif

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ops/scalar/exp.h"

typedef struct {
    float32x4_t part[4]; /* lanes 0..3, 4..7, 8..11, 12..15 */
} vec16;

/* Tiles of attention: the most queries, and the most sums, of 32 registers, four per vec16. */
#define VEC16_TILE_QUERIES 6
#define VEC16_TILE_SUMS 6

/* VEC16_EACH(expression of i): a vec16 made of its four parts. */
#define VEC16_EACH(f, ...) \
    ((vec16){{f(0, __VA_ARGS__), f(1, __VA_ARGS__), f(2, __VA_ARGS__), f(3, __VA_ARGS__)}})

static inline vec16 vec16_load(const float *p)
{
    return (vec16){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
static inline vec16 vec16_load_n(const float *p, int n)
{
    float lane[16] = {0};
    memcpy(lane, p, (size_t)n * sizeof(float));
    return vec16_load(lane);
}
static inline void vec16_store(float *p, vec16 a)
{
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.part[i]);
}
static inline void vec16_store_n(float *p, vec16 a, int n)
{
    float lane[16];
    vec16_store(lane, a);
    memcpy(p, lane, (size_t)n * sizeof(float));
}
static inline vec16 vec16_broadcast(float f)
{
    float32x4_t all = vdupq_n_f32(f);
    return (vec16){{all, all, all, all}};
}

#define VEC16_ADD(i, a, b) vaddq_f32((a).part[i], (b).part[i])
#define VEC16_SUB(i, a, b) vsubq_f32((a).part[i], (b).part[i])
#define VEC16_MUL(i, a, b) vmulq_f32((a).part[i], (b).part[i])
#define VEC16_DIV(i, a, b) vdivq_f32((a).part[i], (b).part[i])
#define VEC16_FMA(i, a, b, c) vfmaq_f32((c).part[i], (a).part[i], (b).part[i])
#define VEC16_NEG(i, a) vnegq_f32((a).part[i])
/* vmaxq_f32 would return NaN for either argument; a comparison and a selection follow the convention. */
#define VEC16_MAX(i, a, b) vbslq_f32(vcgtq_f32((a).part[i], (b).part[i]), (a).part[i], (b).part[i])
#define VEC16_MIN(i, a, b) vbslq_f32(vcltq_f32((a).part[i], (b).part[i]), (a).part[i], (b).part[i])

static inline vec16 vec16_add(vec16 a, vec16 b) { return VEC16_EACH(VEC16_ADD, a, b); }
static inline vec16 vec16_sub(vec16 a, vec16 b) { return VEC16_EACH(VEC16_SUB, a, b); }
static inline vec16 vec16_mul(vec16 a, vec16 b) { return VEC16_EACH(VEC16_MUL, a, b); }
static inline vec16 vec16_div(vec16 a, vec16 b) { return VEC16_EACH(VEC16_DIV, a, b); }
static inline vec16 vec16_fma(vec16 a, vec16 b, vec16 c) { return VEC16_EACH(VEC16_FMA, a, b, c); }
static inline vec16 vec16_neg(vec16 a) { return VEC16_EACH(VEC16_NEG, a); }
static inline vec16 vec16_max(vec16 a, vec16 b) { return VEC16_EACH(VEC16_MAX, a, b); }
static inline vec16 vec16_min(vec16 a, vec16 b) { return VEC16_EACH(VEC16_MIN, a, b); }

static inline float32x4_t vec16_keep_part(int i, vec16 a, int32x4_t first, int32x4_t last, float32x4_t fill)
{
    static const int32_t lanes[4] = {0, 1, 2, 3};
    int32x4_t lane = vaddq_s32(vld1q_s32(lanes), vdupq_n_s32(4 * i));
    uint32x4_t inside = vandq_u32(vcgeq_s32(lane, first), vcltq_s32(lane, last));
    return vbslq_f32(inside, a.part[i], fill);
}
static inline vec16 vec16_keep_range(vec16 a, int first, int last, float fill)
{
    return VEC16_EACH(vec16_keep_part, a, vdupq_n_s32(first), vdupq_n_s32(last), vdupq_n_f32(fill));
}

static inline float vec16_sum(vec16 a)
{
    float32x4_t b = vaddq_f32(vaddq_f32(a.part[0], a.part[2]), vaddq_f32(a.part[1], a.part[3]));
    float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));
    return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}

static inline float vec16_largest(vec16 a)
{
    float lane[16];
    vec16_store(lane, a);
    for (int half = 8; half >= 1; half /= 2)
        for (int l = 0; l < half; l++) lane[l] = lane[l] > lane[l + half] ? lane[l] : lane[l + half];
    return lane[0];
}

/* 2^n of four integers whose power is a normal number. */
static inline float32x4_t vec16_power_of_two(int32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
/* As in scalar/exp.h: two factors, the first product is exact. */
static inline float32x4_t vec16_scale_part(int i, vec16 p, vec16 rounded)
{
    int32x4_t whole = vsubq_s32(vreinterpretq_s32_f32(rounded.part[i]),
                                vreinterpretq_s32_f32(vdupq_n_f32(EXP_ROUND)));
    int32x4_t half = vshrq_n_s32(whole, 1);
    return vmulq_f32(vmulq_f32(p.part[i], vec16_power_of_two(half)), vec16_power_of_two(vsubq_s32(whole, half)));
}
static inline vec16 vec16_scale_power(vec16 p, vec16 rounded) { return VEC16_EACH(vec16_scale_part, p, rounded); }

static inline vec16 vec16_load_fp16(const uint16_t *p)
{
    float16x8_t low = vreinterpretq_f16_u16(vld1q_u16(p)), high = vreinterpretq_f16_u16(vld1q_u16(p + 8));
    return (vec16){{vcvt_f32_f16(vget_low_f16(low)), vcvt_f32_f16(vget_high_f16(low)),
                    vcvt_f32_f16(vget_low_f16(high)), vcvt_f32_f16(vget_high_f16(high))}};
}

#define VEC16_BF16_WORD(i, p) vreinterpretq_u32_u16(vld1q_u16((p) + 8 * (i)))
#define VEC16_BF16_FIRST(i, p) vreinterpretq_f32_u32(vshlq_n_u32(VEC16_BF16_WORD(i, p), 16))
#define VEC16_BF16_SECOND(i, p) vreinterpretq_f32_u32(vandq_u32(VEC16_BF16_WORD(i, p), vdupq_n_u32(0xffff0000u)))

static inline vec16 vec16_load_bf16_first(const uint16_t *p) { return VEC16_EACH(VEC16_BF16_FIRST, p); }
static inline vec16 vec16_load_bf16_second(const uint16_t *p) { return VEC16_EACH(VEC16_BF16_SECOND, p); }

#define VEC16_BF16(i, p) vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((p) + 4 * (i)), 16))
static inline vec16 vec16_load_bf16(const uint16_t *p) { return VEC16_EACH(VEC16_BF16, p); }
static inline vec16 vec16_load_int8(const int8_t *p)
{
    int8x16_t all = vld1q_s8(p);
    int16x8_t low = vmovl_s8(vget_low_s8(all)), high = vmovl_s8(vget_high_s8(all));
    return (vec16){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                    vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
static inline vec16 vec16_broadcast_fp16(const void *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    float32x4_t all = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half)));
    return (vec16){{all, all, all, all}};
}

/* Four columns of four rows. */
static inline void vec16_transpose_part(float *to, const float *from, ptrdiff_t stride)
{
    float32x4_t r0 = vld1q_f32(from), r1 = vld1q_f32(from + stride);
    float32x4_t r2 = vld1q_f32(from + 2 * stride), r3 = vld1q_f32(from + 3 * stride);
    float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(r0, r1)), b = vreinterpretq_f64_f32(vtrn1q_f32(r2, r3));
    float64x2_t c = vreinterpretq_f64_f32(vtrn2q_f32(r0, r1)), d = vreinterpretq_f64_f32(vtrn2q_f32(r2, r3));
    vst1q_f32(to, vreinterpretq_f32_f64(vtrn1q_f64(a, b)));
    vst1q_f32(to + 16, vreinterpretq_f32_f64(vtrn1q_f64(c, d)));
    vst1q_f32(to + 32, vreinterpretq_f32_f64(vtrn2q_f64(a, b)));
    vst1q_f32(to + 48, vreinterpretq_f32_f64(vtrn2q_f64(c, d)));
}
static inline void vec16_transpose(float *to, const float *from, ptrdiff_t stride)
{
    for (int i = 0; i < 16; i += 4, from += 4, to += 64)
        for (int row = 0; row < 16; row += 4) vec16_transpose_part(to + row, from + row * stride, stride);
}

#endif
