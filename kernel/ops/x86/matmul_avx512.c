/* Weight products on AVX-512. The vector header refuses to compile without the flags. */
#include "ops/x86/vec_avx512.h"

#define MATMUL_ISA avx512
#define MATMUL_NEEDS CPU_FEATURE(AVX512)
#define MATMUL_MAX_TOKENS 12
/* 32 registers: at most 24 sums, 4 columns, a broadcast. */
#define MATMUL_TILES(X) \
    X(1, 4) X(1, 2) X(1, 1) \
    X(2, 4) X(2, 2) X(2, 1) \
    X(3, 4) X(3, 2) X(3, 1) \
    X(4, 4) X(4, 2) X(4, 1) \
    X(5, 4) X(5, 2) X(5, 1) \
    X(6, 2) X(6, 1) \
    X(7, 2) X(7, 1) \
    X(8, 2) X(8, 1) \
    X(9, 2) X(9, 1) \
    X(10, 2) X(10, 1) \
    X(11, 2) X(11, 1) \
    X(12, 2) X(12, 1)

#define MATMUL_LAYOUT f32_r16
#include "ops/tmpl/matmul_tmpl.h"
#define MATMUL_LAYOUT f16_r16
#include "ops/tmpl/matmul_tmpl.h"
#define MATMUL_LAYOUT bf16_r16k2
#include "ops/tmpl/matmul_tmpl.h"
#include "ops/tmpl/blocks_tmpl.h"
#include "ops/tmpl/file_tmpl.h"
