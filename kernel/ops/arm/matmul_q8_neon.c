/* Products of quantised weights with 8-bit activations on NEON, for processors without dot products. */
#include "ops/arm/vec_q8_neon.h"

#define MATMUL_ISA   neon
#define MATMUL_NEEDS CPU_FEATURE(NEON)
/* 32 registers: 24 sums, 4 of levels, q. Float sums lie in memory between blocks. */
#define Q8_TILE_TOKENS    3
#define Q8_TILES(X, kind) X(kind, 1) X(kind, 2) X(kind, 3)
#define Q8_FEW            2
#define Q8_FEWS(X, id)    X(id, 1) X(id, 2)
#define Q8_DIRECT(kind) 4
#include "ops/tmpl/q8_tmpl.h"
