/* The loops of roof.h for AArch64. The flags of this file let the assembler know later instructions; registers are
 * named, so no other code uses them. Inputs are bytes of 0x3c, which is 60 as an integer and 0.0115 as a float: zeros
 * would draw less power than real numbers and run faster. */
#include "ops/roof.h"

#include "base/cpu.h"

#define VECTORS                                                                                                    \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", \
        "v25", "v26", "v27", "v28", "v29"

/* Sums in v0..v7 and v16..v23, inputs in v24 and v25: four instructions a cycle with a latency of four. */
#define SIXTEEN(instruction, type, inputs)                                                                             \
    instruction " v0" type ", " inputs "\n\t" instruction " v1" type ", " inputs "\n\t" instruction " v2" type         \
                ", " inputs "\n\t" instruction " v3" type ", " inputs "\n\t" instruction " v4" type ", " inputs        \
                "\n\t" instruction " v5" type ", " inputs "\n\t" instruction " v6" type ", " inputs "\n\t" instruction \
                " v7" type ", " inputs "\n\t" instruction " v16" type ", " inputs "\n\t" instruction " v17" type       \
                ", " inputs "\n\t" instruction " v18" type ", " inputs "\n\t" instruction " v19" type ", " inputs      \
                "\n\t" instruction " v20" type ", " inputs "\n\t" instruction " v21" type ", " inputs                  \
                "\n\t" instruction " v22" type ", " inputs "\n\t" instruction " v23" type ", " inputs "\n\t"

#define SIXTEEN_SUMS(name, instruction, type, inputs)                                                              \
    static void name(long steps)                                                                                   \
    {                                                                                                              \
        __asm__ volatile(                                                                                          \
            SIXTEEN("movi", ".16b", "#0") "movi v24.16b, #0x3c\n\tmovi v25.16b, #0x3c\n"                           \
                                          "1:\n\t" SIXTEEN(instruction, type, inputs) "subs %0, %0, #1\n\tb.ne 1b" \
            : "+r"(steps)                                                                                          \
            :                                                                                                      \
            : "cc", VECTORS);                                                                                      \
    }

SIXTEEN_SUMS(f32_neon, "fmla", ".4s", "v24.4s, v25.4s")
SIXTEEN_SUMS(int8_dotprod, "sdot", ".4s", "v24.16b, v25.16b")
SIXTEEN_SUMS(int8_i8mm, "smmla", ".4s", "v24.16b, v25.16b")

/* Without dot products: two halves of a vector to 16 bits, pairs of these to 32. */
static void int8_neon(long steps)
{
#define SUM(n, t) \
    "smull v" t ".8h, v24.8b, v25.8b\n\tsmlal2 v" t ".8h, v24.16b, v25.16b\n\tsadalp v" n ".4s, v" t ".8h\n\t"
    __asm__ volatile(SIXTEEN("movi", ".16b", "#0") "movi v24.16b, #0x3c\n\tmovi v25.16b, #0x3c\n"
                                                   "1:\n\t" SUM("0", "16") SUM("1", "17") SUM("2", "18") SUM("3", "19")
                                                       SUM("4", "20") SUM("5", "21") SUM("6", "22")
                                                           SUM("7", "23") "subs %0, %0, #1\n\tb.ne 1b"
                     : "+r"(steps)
                     :
                     : "cc", VECTORS);
#undef SUM
}

const struct roof_loop roof_loops[] = {
    {PEAK_INT8, "neon_i8mm", CPU_FEATURE(NEON_I8MM), 16 * 2.0 * 32, int8_i8mm},
    {PEAK_INT8, "neon_dotprod", CPU_FEATURE(NEON_DOTPROD), 16 * 2.0 * 16, int8_dotprod},
    {PEAK_INT8, "neon", CPU_FEATURE(NEON), 8 * 2.0 * 16, int8_neon},
    {PEAK_F32, "neon", CPU_FEATURE(NEON), 16 * 2.0 * 4, f32_neon},
    {.run = NULL},
};

void roof_read_range(const unsigned char *from, const unsigned char *to)
{
    __asm__ volatile("1:\n\t"
                     "ldp q0, q1, [%0]\n\tldp q2, q3, [%0, #32]\n\tldp q4, q5, [%0, #64]\n\tldp q6, q7, [%0, #96]\n\t"
                     "add %0, %0, #128\n\tcmp %0, %1\n\tb.lo 1b"
                     : "+r"(from)
                     : "r"(to)
                     : "cc", "memory", VECTORS);
}
