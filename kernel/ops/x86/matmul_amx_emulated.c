/* The products of matmul_amx.c with tiles in C, for tests on machines without AMX. Never chosen. */
#define TILE_EMULATED
#define MATMUL_ISA amx_emulated
#define MATMUL_NEEDS (CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512VNNI) | CPU_FEATURE(AVX512BF16))
#include "ops/x86/amx_tmpl.h"
