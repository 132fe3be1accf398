/* Products of quantised weights with 8-bit activations on AVX2 with AVX-VNNI. */
#if !defined(__AVXVNNI__)
#error "compile this file with -mavxvnni"
#endif

#define MATMUL_ISA   avxvnni
#define MATMUL_NEEDS (CPU_FEATURE(AVX2) | CPU_FEATURE(AVXVNNI))
#include "ops/x86/q8_avxvnni.h"
