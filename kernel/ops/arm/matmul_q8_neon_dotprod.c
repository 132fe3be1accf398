/* Products of quantised weights with 8-bit activations on NEON with dot products. */
#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with -march=armv8.2-a+dotprod"
#endif

#include "ops/arm/vec_q8_neon.h"

#define MATMUL_ISA   neon_dotprod
#define MATMUL_NEEDS (CPU_FEATURE(NEON) | CPU_FEATURE(NEON_DOTPROD))
/* 32 registers: 16 sums, 4 of q, levels. Float sums lie in memory between blocks. */
#define Q8_TILE_TOKENS    4
#define Q8_TILES(X, kind) X(kind, 1) X(kind, 2) X(kind, 3) X(kind, 4)
#define Q8_FEW            4
#define Q8_FEWS(X, id)    X(id, 1) X(id, 2) X(id, 3) X(id, 4)
#define Q8_DIRECT(kind) 8
#include "ops/tmpl/q8_tmpl.h"
