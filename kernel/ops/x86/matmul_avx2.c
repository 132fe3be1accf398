/* Weight products on AVX2 (with FMA and F16C). The vector header refuses to compile without the flags. */
#include "ops/x86/vec_avx2.h"

#define MATMUL_ISA avx2
#define MATMUL_NEEDS CPU_FEATURE(AVX2)
#define MATMUL_MAX_TOKENS 6
/* 16 registers, two per vec16: at most 6 sums, a column, a broadcast. */
#define MATMUL_TILES(X) \
    X(1, 4) X(1, 2) X(1, 1) \
    X(2, 2) X(2, 1) \
    X(3, 1) \
    X(4, 1) \
    X(5, 1) \
    X(6, 1)

#define MATMUL_LAYOUT f32_r16
#include "ops/tmpl/matmul_tmpl.h"
#define MATMUL_LAYOUT f16_r16
#include "ops/tmpl/matmul_tmpl.h"
#define MATMUL_LAYOUT bf16_r16k2
#include "ops/tmpl/matmul_tmpl.h"
#include "ops/tmpl/blocks_tmpl.h"
#include "ops/tmpl/file_tmpl.h"
