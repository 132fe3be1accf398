/* Products of quantised weights with 8-bit activations on NEON with dot products and matrix products. */
#if !defined(__ARM_FEATURE_DOTPROD) || !defined(__ARM_FEATURE_MATMUL_INT8)
#error "compile this file with -march=armv8.2-a+dotprod+i8mm"
#endif

#include "ops/arm/vec_q8_neon.h"

#define MATMUL_ISA   neon_i8mm
#define MATMUL_NEEDS (CPU_FEATURE(NEON) | CPU_FEATURE(NEON_DOTPROD) | CPU_FEATURE(NEON_I8MM))
/* 32 registers: 16 sums, 2 of q, levels; compilers spill the sums of more tokens. Float sums lie in memory between
 * blocks. */
#define Q8_TILE_TOKENS    4
#define Q8_TILES(X, kind) X(kind, 1) X(kind, 2) X(kind, 3) X(kind, 4)
#define Q8_FEW            4
#define Q8_FEWS(X, id)    X(id, 1) X(id, 2) X(id, 3) X(id, 4)
#define Q8_DIRECT(kind) 4
#include "ops/tmpl/q8_tmpl.h"
