/* x86: CPUID says what the CPU can do, XCR0 what the operating system saves on a context switch; both must agree. */
#include "base/cpu_detect.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cpu.h"

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Linux gives the tile registers only to processes that ask. */
static bool request_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

uint64_t cpu_detect_features(void)
{
    enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6, XCR0_TILES = 0x60000 };
    uint32_t a, b, c, d, b7, c7, d7, a71 = 0, unused;
    uint64_t features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    uint64_t xcr0 = read_xcr0();
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return 0;
    if (a >= 1) __get_cpuid_count(7, 1, &a71, &unused, &unused, &unused);

    bool ymm = (xcr0 & XCR0_YMM) == XCR0_YMM, zmm = (xcr0 & XCR0_ZMM) == XCR0_ZMM;
    if (!ymm || !(c & bit_FMA) || !(c & bit_F16C) || !(b7 & bit_AVX2)) return 0;
    features |= CPU_FEATURE(AVX2);
    if (a71 & 1u << 4) features |= CPU_FEATURE(AVXVNNI);
    bool avx512 = (b7 & bit_AVX512F) && (b7 & bit_AVX512BW) && (b7 & bit_AVX512DQ) && (b7 & bit_AVX512VL);
    if (!zmm || !avx512) return features;
    features |= CPU_FEATURE(AVX512);
    if (c7 & 1u << 11) features |= CPU_FEATURE(AVX512VNNI);
    if (a71 & 1u << 5) features |= CPU_FEATURE(AVX512BF16);
    bool tiles = (xcr0 & XCR0_TILES) == XCR0_TILES && (d7 & 1u << 24);
    if (tiles && (d7 & (1u << 22 | 1u << 25)) && request_tiles()) {
        if (d7 & 1u << 22) features |= CPU_FEATURE(AMX_BF16);
        if (d7 & 1u << 25) features |= CPU_FEATURE(AMX_INT8);
    }
    return features;
}
#endif
