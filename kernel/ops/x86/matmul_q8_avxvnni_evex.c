/* The products of matmul_q8_avxvnni.c with AVX-512's encoding of the same instruction, for tests on machines without
 * AVX-VNNI. Never chosen. */
#define MATMUL_ISA   avxvnni_evex
#define MATMUL_NEEDS (CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512VNNI))
#include "ops/x86/q8_avxvnni.h"
