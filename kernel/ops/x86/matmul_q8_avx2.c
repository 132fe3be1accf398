/* Products of quantised weights with 8-bit activations on AVX2. */
#include "ops/x86/vec_q8_avx2.h"

#define MATMUL_ISA   avx2
#define MATMUL_NEEDS CPU_FEATURE(AVX2)
/* 16 registers: 12 sums of pairs, 2 of levels, 2 of products. Float sums lie in memory between blocks. */
#define Q8_TILE_TOKENS    6
#define Q8_TILES(X, kind) X(kind, 1) X(kind, 2) X(kind, 3) X(kind, 4) X(kind, 5) X(kind, 6)
#define Q8_FEW            3
#define Q8_FEWS(X, id)    X(id, 1) X(id, 2) X(id, 3)
#define Q8_DIRECT(kind) 4
#include "ops/tmpl/q8_tmpl.h"
