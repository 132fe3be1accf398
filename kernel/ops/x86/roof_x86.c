/* The loops of roof.h for x86. They need no compiler flags: the assembler knows every instruction, and registers are
 * named. Inputs are bytes of 0x3c, which is 60 as an integer and 0.0115 as a float of either size: zeros would draw
 * less power than real numbers and run faster. */
#include "ops/roof.h"

#include <string.h>

#include "base/cpu.h"

#define EACH4(head, tail) head "0" tail "\n\t" head "1" tail "\n\t" head "2" tail "\n\t" head "3" tail "\n\t"
#define EACH6(head, tail) EACH4(head, tail) head "4" tail "\n\t" head "5" tail "\n\t"
#define EACH12(head, tail)                                                                                         \
    EACH6(head, tail)                                                                                              \
    head "6" tail "\n\t" head "7" tail "\n\t" head "8" tail "\n\t" head "9" tail "\n\t" head "10" tail "\n\t" head \
         "11" tail "\n\t"

#define VECTORS                                                                                                \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
        "xmm13", "xmm14", "xmm15"

static const uint32_t input = 0x3c3c3c3c;

/* Twelve sums in registers 0..11, inputs in 12 and 13: two instructions a cycle with a latency of up to six. */
#define TWELVE_SUMS(name, registers, instruction)                                                           \
    static void name(long steps)                                                                            \
    {                                                                                                       \
        __asm__ volatile("vzeroall\n\t"                                                                     \
                         "vbroadcastss (%1), %%" registers "12\n\tvbroadcastss (%1), %%" registers "13\n"   \
                         "1:\n\t" EACH12(instruction " %%" registers "13, %%" registers "12, %%" registers, \
                                         "") "dec %0\n\tjnz 1b\n\tvzeroupper"                               \
                         : "+r"(steps)                                                                      \
                         : "r"(&input), "m"(input)                                                          \
                         : "cc", VECTORS);                                                                  \
    }

TWELVE_SUMS(f32_avx2, "ymm", "vfmadd231ps")
TWELVE_SUMS(f32_avx512, "zmm", "vfmadd231ps")
TWELVE_SUMS(bf16_avx512bf16, "zmm", "vdpbf16ps")
TWELVE_SUMS(int8_avx512vnni, "zmm", "vpdpbusd")
TWELVE_SUMS(int8_avxvnni, "ymm", "%{vex%} vpdpbusd")

/* Without dot products: pairs to 16 bits, pairs of these to 32, and a sum. */
static void int8_avx2(long steps)
{
    __asm__ volatile("vzeroall\n\t"
                     "vbroadcastss (%1), %%ymm12\n\tvpcmpeqw %%ymm13, %%ymm13, %%ymm13\n\tvpabsw %%ymm13, %%ymm13\n"
                     "1:\n\t"
#define SUM(n, t)                                                                                           \
    "vpmaddubsw %%ymm12, %%ymm12, %%ymm" t "\n\tvpmaddwd %%ymm13, %%ymm" t ", %%ymm" t "\n\tvpaddd %%ymm" t \
    ", %%ymm" n ", %%ymm" n "\n\t"
                     SUM("0", "6") SUM("1", "7") SUM("2", "8") SUM("3", "9") SUM("4", "10") SUM("5", "11")
#undef SUM
                         "dec %0\n\tjnz 1b\n\tvzeroupper"
                     : "+r"(steps)
                     : "r"(&input), "m"(input)
                     : "cc", VECTORS);
}

/* Four sums of 16 x 16: a product takes 16 cycles, and its sum is free again after 52. */
struct tile_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
};

#define FOUR_TILES(name, instruction)                                                                               \
    static void name(long steps)                                                                                    \
    {                                                                                                               \
        struct tile_configuration c = {.palette = 1};                                                               \
        unsigned char tile[16 * 64];                                                                                \
        memset(tile, 0x3c, sizeof tile);                                                                            \
        for (int i = 0; i < 8; i++) {                                                                               \
            c.column_bytes[i] = 64;                                                                                 \
            c.rows[i] = 16;                                                                                         \
        }                                                                                                           \
        __asm__ volatile("ldtilecfg (%1)\n\t" EACH4(                                                                \
                             "tilezero %%tmm", "") "tileloadd (%2,%3,1), %%tmm4\n\ttileloadd (%2,%3,1), %%tmm5\n\t" \
                                                   "tileloadd (%2,%3,1), %%tmm6\n\ttileloadd (%2,%3,1), %%tmm7\n"   \
                                                   "1:\n\t" instruction " %%tmm6, %%tmm4, %%tmm0\n\t" instruction   \
                                                   " %%tmm7, %%tmm4, %%tmm1\n\t" instruction                        \
                                                   " %%tmm6, %%tmm5, %%tmm2\n\t" instruction                        \
                                                   " %%tmm7, %%tmm5, %%tmm3\n\t"                                    \
                                                   "dec %0\n\tjnz 1b\n\ttilerelease"                                \
                         : "+r"(steps)                                                                              \
                         : "r"(&c), "r"(tile), "r"((long)64)                                                        \
                         : "cc", "memory");                                                                         \
    }

FOUR_TILES(bf16_amx, "tdpbf16ps")

/* Of the instructions that kernels use: none multiplies bytes in tiles. */
const struct roof_loop roof_loops[] = {
    {PEAK_INT8, "avx512vnni", CPU_FEATURE(AVX512VNNI), 12 * 2.0 * 64, int8_avx512vnni},
    {PEAK_INT8, "avxvnni", CPU_FEATURE(AVXVNNI), 12 * 2.0 * 32, int8_avxvnni},
    {PEAK_INT8, "avx2", CPU_FEATURE(AVX2), 6 * 2.0 * 32, int8_avx2},
    {PEAK_BF16, "amx_bf16", CPU_FEATURE(AMX_BF16), 4 * 2.0 * 16 * 16 * 32, bf16_amx},
    {PEAK_BF16, "avx512bf16", CPU_FEATURE(AVX512BF16), 12 * 2.0 * 32, bf16_avx512bf16},
    {PEAK_F32, "avx512", CPU_FEATURE(AVX512), 12 * 2.0 * 16, f32_avx512},
    {PEAK_F32, "avx2", CPU_FEATURE(AVX2), 12 * 2.0 * 8, f32_avx2},
    {.run = NULL},
};

/* Every x86-64 has these loads, and wider ones read memory no faster. */
void roof_read_range(const unsigned char *from, const unsigned char *to)
{
    __asm__ volatile("1:\n\t"
                     "prefetcht0 4096(%0)\n\tprefetcht0 4160(%0)\n\t"
                     "movups (%0), %%xmm0\n\tmovups 16(%0), %%xmm1\n\tmovups 32(%0), %%xmm2\n\t"
                     "movups 48(%0), %%xmm3\n\tmovups 64(%0), %%xmm0\n\tmovups 80(%0), %%xmm1\n\t"
                     "movups 96(%0), %%xmm2\n\tmovups 112(%0), %%xmm3\n\t"
                     "sub $-128, %0\n\tcmp %1, %0\n\tjb 1b"
                     : "+r"(from)
                     : "r"(to)
                     : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3");
}
