/* ARM: the kernel tells in the auxiliary vector what it has enabled. */
#include "base/cpu_detect.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "base/cpu.h"

uint64_t cpu_detect_features(void)
{
    unsigned long one = getauxval(AT_HWCAP), two = getauxval(AT_HWCAP2);
    uint64_t features = 0;
    if (one & HWCAP_ASIMD) features |= CPU_FEATURE(NEON);
    if (one & HWCAP_ASIMDDP) features |= CPU_FEATURE(NEON_DOTPROD);
    if (two & HWCAP2_BF16) features |= CPU_FEATURE(NEON_BF16);
    if (two & HWCAP2_I8MM) features |= CPU_FEATURE(NEON_I8MM);
    if (one & HWCAP_SVE) features |= CPU_FEATURE(SVE);
    return features;
}
#endif

#if !defined(__aarch64__) && !defined(__x86_64__)
uint64_t cpu_detect_features(void) { return 0; }
#endif
