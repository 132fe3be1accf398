/* Products of quantised weights with 8-bit activations on AVX-512 with VNNI. Levels are always decoded again for every
 * eight tokens: storing and loading them cost 11 % of prefill in Q6_K, and more where levels are cheaper. */
#include "ops/x86/vec_q8_avx512vnni.h"

#define MATMUL_ISA   avx512vnni
#define MATMUL_NEEDS (CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512VNNI))
/* 32 registers: 8 integer sums, 8 of sub-blocks, 8 totals, the levels, a scale. */
#define Q8_FEW         8
#define Q8_FEWS(X, id) X(id, 1) X(id, 2) X(id, 3) X(id, 4) X(id, 5) X(id, 6) X(id, 7) X(id, 8)
#include "ops/tmpl/q8_tmpl.h"
