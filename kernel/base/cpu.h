/* What the processor and the operating system offer: feature bits, cache size, CPUs this process may use. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdint.h>

/*  X(BIT NAME, ladder key) - ladder order within each machine, weakest first */
#define CPU_FEATURE_LIST(X)         \
    X(AVX2, "avx2") /* and FMA, F16C */ \
    X(AVXVNNI, "avxvnni")           \
    X(AVX512, "avx512") /* F, BW, DQ, VL */ \
    X(AVX512VNNI, "avx512vnni")     \
    X(AVX512BF16, "avx512bf16")     \
    X(AMX_BF16, "amx_bf16")         \
    X(AMX_INT8, "amx_int8")         \
    X(NEON, "neon")                 \
    X(NEON_DOTPROD, "neon_dotprod") \
    X(NEON_BF16, "neon_bf16")       \
    X(NEON_I8MM, "neon_i8mm")       \
    X(SVE, "sve")

enum cpu_feature_bit {
#define X(name, key) CPU_BIT_##name,
    CPU_FEATURE_LIST(X)
#undef X
    N_CPU_FEATURES
};
#define CPU_FEATURE(name) (UINT64_C(1) << CPU_BIT_##name)

/* Features that the CPU has and the OS has enabled, cut to the ladder's upper bound if the environment variable
 * SLUICE_CPU names one ("scalar", "avx2", ...; an unknown word leaves all features on and is reported in
 * *unknown if that is not NULL). */
uint64_t cpu_features(const char **unknown);
const char *cpu_feature_name(unsigned bit); /* NULL beyond the last one */

int cpu_count(void);               /* CPUs this process may run on (affinity and cgroup quota), at least 1 */
uint64_t cpu_cache_bytes(void);    /* last-level cache; 0 when unknown */
const char *cpu_model_name(void);  /* from the system, "unknown" if it does not say; static storage */

#endif
