/* Weight products over vec16 for matrices of floats in the order of their file: kernel_<dtype>_file_f32_<isa>. Include
 * after matmul_tmpl.h for the three layouts of floats. */
#ifndef OPS_TMPL_FILE_H
#define OPS_TMPL_FILE_H

#include "ops/file_kernel.h"

#define FLOAT_FILE_KERNEL(id, packed_layout)                                                  \
    FILE_KERNEL(id, packed_layout, JOIN(f32_, MATMUL_ISA), .needs = MATMUL_NEEDS, .m_min = 1, \
                .m_tile = MATMUL_MAX_TOKENS, .exact = true, .x_bytes = matmul_x_bytes, .pack_x = matmul_pack_x)
FLOAT_FILE_KERNEL(f32, f32_r16)
FLOAT_FILE_KERNEL(f16, f16_r16)
FLOAT_FILE_KERNEL(bf16, bf16_r16k2)

#endif
