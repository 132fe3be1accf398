/* Roofs. The loops are assembler statements, since a compiler may add moves to a peak loop or drop the loads of a
 * reading loop; both were seen. */
#include "bench/roof.h"

#include <omp.h>
#include <stdint.h>

#include "base/cpu.h"

enum { FMA_STEPS = 65536, FMA_CHAINS = 12 };

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static void read_range(const unsigned char *from, const unsigned char *to)
{
    for (const unsigned char *p = from; p < to; p += 128) {
        __m256i a, b, c, d;
        __asm__ volatile("prefetcht0 2048(%4)\n\tprefetcht0 2112(%4)\n\t"
                         "vmovdqu (%4), %0\n\tvmovdqu 32(%4), %1\n\tvmovdqu 64(%4), %2\n\tvmovdqu 96(%4), %3"
                         : "=&x"(a), "=&x"(b), "=&x"(c), "=&x"(d)
                         : "r"(p)
                         : "memory");
    }
}

#define FMA_BODY(vector, constraint)                                                                               \
    vector c[FMA_CHAINS];                                                                                          \
    for (int i = 0; i < FMA_CHAINS; i++) c[i] = (vector){0};                                                       \
    vector a = (vector){0};                                                                                        \
    for (int i = 0; i < FMA_STEPS; i++)                                                                            \
        __asm__ volatile("vfmadd231ps %12, %12, %0\n\tvfmadd231ps %12, %12, %1\n\tvfmadd231ps %12, %12, %2\n\t"    \
                         "vfmadd231ps %12, %12, %3\n\tvfmadd231ps %12, %12, %4\n\tvfmadd231ps %12, %12, %5\n\t"    \
                         "vfmadd231ps %12, %12, %6\n\tvfmadd231ps %12, %12, %7\n\tvfmadd231ps %12, %12, %8\n\t"    \
                         "vfmadd231ps %12, %12, %9\n\tvfmadd231ps %12, %12, %10\n\tvfmadd231ps %12, %12, %11"      \
                         : "+" constraint(c[0]), "+" constraint(c[1]), "+" constraint(c[2]), "+" constraint(c[3]), \
                           "+" constraint(c[4]), "+" constraint(c[5]), "+" constraint(c[6]), "+" constraint(c[7]), \
                           "+" constraint(c[8]), "+" constraint(c[9]), "+" constraint(c[10]),                      \
                           "+" constraint(c[11])                                                                   \
                         : constraint(a))

__attribute__((target("avx512f"))) static void fma_avx512(void) { FMA_BODY(__m512, "v"); }
__attribute__((target("avx2,fma"))) static void fma_avx2(void) { FMA_BODY(__m256, "x"); }

static int has_avx512(void) { return (cpu_features(NULL) & CPU_FEATURE(AVX512)) != 0; }
static void fma_widest(void) { has_avx512() ? fma_avx512() : fma_avx2(); }
static int fma_lanes(void) { return has_avx512() ? 16 : 8; }
const char *roof_fma_name(void) { return has_avx512() ? "avx512" : "avx2"; }

#elif defined(__aarch64__)
#include <arm_neon.h>

static void read_range(const unsigned char *from, const unsigned char *to)
{
    for (const unsigned char *p = from; p < to; p += 64) {
        uint8x16_t a, b, c, d;
        __asm__ volatile("ldp %q0, %q1, [%4]\n\tldp %q2, %q3, [%4, #32]"
                         : "=&w"(a), "=&w"(b), "=&w"(c), "=&w"(d)
                         : "r"(p)
                         : "memory");
    }
}

static void fma_widest(void)
{
    float32x4_t c[FMA_CHAINS], a = vdupq_n_f32(0);
    for (int i = 0; i < FMA_CHAINS; i++) c[i] = a;
    for (int i = 0; i < FMA_STEPS; i++)
        __asm__ volatile("fmla %0.4s, %12.4s, %12.4s\n\tfmla %1.4s, %12.4s, %12.4s\n\tfmla %2.4s, %12.4s, %12.4s\n\t"
                         "fmla %3.4s, %12.4s, %12.4s\n\tfmla %4.4s, %12.4s, %12.4s\n\tfmla %5.4s, %12.4s, %12.4s\n\t"
                         "fmla %6.4s, %12.4s, %12.4s\n\tfmla %7.4s, %12.4s, %12.4s\n\tfmla %8.4s, %12.4s, %12.4s\n\t"
                         "fmla %9.4s, %12.4s, %12.4s\n\tfmla %10.4s, %12.4s, %12.4s\n\tfmla %11.4s, %12.4s, %12.4s"
                         : "+w"(c[0]), "+w"(c[1]), "+w"(c[2]), "+w"(c[3]), "+w"(c[4]), "+w"(c[5]), "+w"(c[6]),
                           "+w"(c[7]), "+w"(c[8]), "+w"(c[9]), "+w"(c[10]), "+w"(c[11])
                         : "w"(a));
}
static int fma_lanes(void) { return 4; }
const char *roof_fma_name(void) { return "neon"; }
#else
#error "roof loops exist for x86-64 and AArch64"
#endif

void roof_read(void *arg)
{
    const struct roof_read *r = arg;
    size_t pages = r->bytes / 4096;
#pragma omp parallel num_threads(r->threads)
    {
        size_t t = (size_t)omp_get_thread_num(), n = (size_t)omp_get_num_threads();
        read_range(r->data + pages * t / n * 4096, r->data + pages * (t + 1) / n * 4096);
    }
}

void roof_fma(void *arg)
{
    const struct roof_fma *r = arg;
#pragma omp parallel num_threads(r->threads)
    fma_widest();
}

double roof_fma_flops(const struct roof_fma *r)
{
    return 2.0 * FMA_STEPS * FMA_CHAINS * (double)fma_lanes() * (double)r->threads;
}
