/* Tiles of matmul_q8_avxvnni.c and of its twin for tests. */
#include "ops/x86/vec_q8_avx2.h"

/* 16 registers: 12 sums, 2 of levels, q. Float sums are spilled once per block. */
#define Q8_TILE_TOKENS    6
#define Q8_TILES(X, kind) X(kind, 1) X(kind, 2) X(kind, 3) X(kind, 4) X(kind, 5) X(kind, 6)
#define Q8_FEW            4
#define Q8_FEWS(X, id)    X(id, 1) X(id, 2) X(id, 3) X(id, 4)
#define Q8_DIRECT(kind) 4
#include "ops/tmpl/q8_tmpl.h"
