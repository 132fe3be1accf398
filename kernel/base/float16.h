/* Small floating point in scalar C: IEEE half (fp16) and bfloat16, both directions, round to nearest even; and reading
 * the 8-bit formats of the Open Compute Project: e4m3 and e5m2 (FP8), e8m0 (a power of two). */
#ifndef BASE_FLOAT16_H
#define BASE_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float bits_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* bfloat16 is the upper half of a float. */
static inline float bf16_to_float(uint16_t h) { return bits_float((uint32_t)h << 16); }

static inline uint16_t float_to_bf16(float f)
{
    uint32_t u = float_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40u); /* NaN stays NaN */
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static inline float fp16_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 0x3ffu;
    if (exponent == 31) return bits_float(sign | 0x7f800000u | fraction << 13);
    if (exponent) return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
    float tiny = (float)fraction * 0x1p-24f; /* subnormal: exact product of an integer and a power of two */
    return sign ? -tiny : tiny;
}

static inline uint16_t float_to_fp16(float f)
{
    uint32_t u = float_bits(f), sign = (u >> 16) & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
    if (u < 0x38800000u) {                                   /* below 2^-14: subnormal, let the adder round */
        float shifted = bits_float(u) + 0.5f;
        return (uint16_t)(sign | (float_bits(shifted) - 0x3f000000u));
    }
    u += 0xfffu + ((u >> 13) & 1u);
    return (uint16_t)(sign | ((u - 0x38000000u) >> 13));
}

/* FP8 with 4 bits of exponent: sign eeee fff, bias 7. No infinity: 0x7f and 0xff are NaN, the largest is 448. Masks
 * instead of choices, so that gcc makes vectors of a loop over it. */
static inline float e4m3_to_float(uint8_t h)
{
    uint32_t sign = (uint32_t)(h & 0x80u) << 24, magnitude = h & 0x7fu;
    uint32_t normal = (magnitude << 20) + (120u << 23), tiny = float_bits((float)(int)magnitude * 0x1p-9f);
    uint32_t is_tiny = -(uint32_t)(magnitude < 8), is_nan = -(uint32_t)(magnitude == 0x7f);
    return bits_float(sign | (normal & ~is_tiny) | (tiny & is_tiny) | (is_nan & 0x7fc00000u));
}

/* FP8 with 5 bits of exponent is the upper half of an IEEE half. */
static inline float e5m2_to_float(uint8_t h) { return fp16_to_float((uint16_t)(h << 8)); }

/* A scale without sign and fraction: 2^(h - 127), NaN for 255. */
static inline float e8m0_to_float(uint8_t h)
{
    if (h == 255) return bits_float(0x7fc00000u);
    return bits_float(h ? (uint32_t)h << 23 : 0x00400000u); /* 2^-127 is subnormal */
}

/* 2^(h - 128), half of it, as MXFP4 in GGUF files takes it: 255 is 2^127 there, not NaN. 0 and 1 give subnormals. */
static inline float e8m0_to_float_half(uint8_t h)
{
    return bits_float(h < 2 ? 0x00200000u << h : (uint32_t)(h - 1) << 23);
}

#endif
