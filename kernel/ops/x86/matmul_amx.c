/* Weight products on the tile registers of AMX. */
#define MATMUL_ISA amx
#define MATMUL_NEEDS (CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512VNNI) | CPU_FEATURE(AVX512BF16) | CPU_FEATURE(AMX_BF16))
#include "ops/x86/amx_tmpl.h"
