/* Products of quantised weights with 8-bit activations on AVX-512 with VNNI. */
#include "ops/x86/vec_q8_avx512vnni.h"

#define MATMUL_ISA   avx512vnni
#define MATMUL_NEEDS (CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512VNNI))
/* 32 registers: 12 integer sums, 12 float sums, the levels, a scale. */
#define Q8_TILE_TOKENS 12
/* clang-format off */
#define Q8_TILES(X, kind) \
    X(kind, 1) X(kind, 2) X(kind, 3) X(kind, 4) X(kind, 5) X(kind, 6) \
    X(kind, 7) X(kind, 8) X(kind, 9) X(kind, 10) X(kind, 11) X(kind, 12)
/* clang-format on */
#define Q8_FEW         8
#define Q8_FEWS(X, id) X(id, 1) X(id, 2) X(id, 3) X(id, 4) X(id, 5) X(id, 6) X(id, 7) X(id, 8)
/* Cheap levels (of 4 and 8 bits, tables too) are decoded again for every few tokens rather than stored and loaded. */
#define Q8_DIRECT(kind) ((kind).max == 15 || (kind).max == 28 || (kind).max == 255 ? 1 << 20 : 64)
#include "ops/tmpl/q8_tmpl.h"
