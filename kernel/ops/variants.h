/* Declares what variants.inc lists: one function per operation and instruction set, one object per layout and kernel.
 * Private to kernel/ops, its tests and its benches; everybody else goes through struct ops and the choosers. */
#ifndef OPS_VARIANTS_H
#define OPS_VARIANTS_H

#include "base/cpu.h"
#include "ops/ops.h"
#include "ops/panel.h"

/* The type of an operation is that of the member of struct ops, so a wrong signature does not compile. */
#define OP(operation, isa, needs) extern __typeof__(*((struct ops *)0)->operation) ops_##operation##_##isa;
#define TEST_OP(operation, isa, needs) OP(operation, isa, needs)
#define LAYOUT(name, flags) extern const struct panel_layout layout_##name;
#define KERNEL(name) extern const struct panel_kernel kernel_##name;
#define TEST_KERNEL(name) KERNEL(name)
#include "ops/variants.inc"

/* Present in every build, registered only where there are instructions for pairs of bfloat16. */
extern const struct panel_layout layout_bf16_r16;
/* Present in every build, registered only where OpenBLAS is: its layout is of use to nothing else. */
extern const struct panel_layout layout_f32_rows;
extern const struct panel_kernel kernel_f32_rows_f32_scalar;

#endif
