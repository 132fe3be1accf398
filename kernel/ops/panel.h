/* Weight products: how one packed matrix lies in memory (panel_layout), and the code that reads it (panel_kernel).
 *
 * A layout is chosen once per matrix, when the model is bound; several kernels read the same layout and the number of
 * rows m of the activations picks among them. Matrices are n outputs x k inputs, y = W x; activations are m rows.
 * Neither knows threads, experts or layers: the caller hands out row ranges.
 *
 * A float panel of 16 rows, layout "f32_r16" (one column is one vector, so no horizontal sum is needed):
 *     byte 0:  w[0][0] w[1][0] ... w[15][0]   w[0][1] w[1][1] ... w[15][1]   ...   w[15][k-1]     next panel
 * and of 16-bit floats in pairs, layout "bf16_r16k2" (k odd: the last partner is zero):
 *     byte 0:  w[0][0] w[0][1] w[1][0] w[1][1] ... w[15][0] w[15][1]   w[0][2] w[0][3] ...
 * Layout "bf16_r16" is the same bytes, for kernels that round activations to bfloat16: only processors that have
 * instructions for it use it.
 *
 * Quantised blocks as the file has them, layouts "q4_k_rows" and so on for every line of quant/formats.inc (blocks are
 * drawn in quant/blocks.h). Row r begins at byte r * b * bytes_per_block, b = k / elements_per_block; rows from n up to
 * the next multiple of 16 are zero bytes, zeros in every format. Only rows of F8_B128 may end within a block: b is then
 * rounded up, and the rest of the last block is ignored.
 *     byte 0:  block[0][0] block[0][1] ... block[0][b-1]   block[1][0] ...   block[n-1][b-1]   zeros
 *
 * Layouts "<format>_file" are the same bytes (of floats: [n][k]), read in place from the file's own pages where n is a
 * multiple of 16; their kernels bring one panel at a time into the order of <format>_r16 and multiply that.
 *
 * Layouts "q4_0_r16" and so on for every line of ops/r16.inc: the bytes of 16 rows' blocks, field by field side by
 * side, so that a vector holds the same field of 16 rows. A panel is a row of units: of 4 blocks (fewer at the end) in
 * formats of 32 elements, of one block in formats of 256. Within a unit come the fields of the format's struct
 * (quant/blocks.h) in their order; of one field all blocks of the unit; of one block the elements of the field, each
 * 16 rows wide. Bytes that hold elements (q, high) and packed scales are interleaved four at a time, halves one by one.
 * In Q2_K, Q3_K, Q5_K and Q6_K everything but q and high comes first, and from the next multiple of 64 bytes on the
 * levels, 32 columns after 32 columns, with their low and high bits together (r16_bits.h draws them).
 *
 *     q4_0_r16, unit of 128 columns, 1152 bytes:
 *         d of block 0: row 0, row 1 ... row 15 (halves)   d of block 1 ...   of block 3
 *         q of block 0: bytes 0..3 of row 0, of row 1 ... of row 15   bytes 4..7 ...   bytes 12..15   q of block 1 ...
 *
 * A unit ends at a multiple of 64 bytes. Bytes of q8_0's q are stored plus 128, as unsigned numbers. */
#ifndef OPS_PANEL_H
#define OPS_PANEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/dtype.h"

enum {
    PACK_COLUMNS = 128, /* activations are packed in columns cut at multiples of this */
    Q8_BLOCK = 32,      /* columns of one row of activations that share a scale when they are rounded to 8 bits */
};

/* What bounds a kernel that does not wait for memory. */
enum peak { PEAK_F32, PEAK_BF16, PEAK_INT8, N_PEAKS };

struct panel_layout {
    const char *name;  /* "bf16_r16k2": weight dtype, rows per panel, interleave along k */
    enum dtype weight; /* the file's dtype that it accepts */
    int nr, kr;        /* rows per panel; k must be a multiple of kr (floats: 1, an odd k is padded; blocks: their
                        * elements, but 1 for F8_B128). n is padded to nr with zero rows */
    bool file_order;   /* packed bytes are the file's rows, then zero rows: a file can be read in place */
    bool rounds_x;     /* its kernels round activations (to 8 bits or bfloat16): not for PANEL_FLOAT */
    size_t (*packed_bytes)(int n, int k);
    /* Packs rows [row0, row1) of the file's matrix (row0 a multiple of nr; row1 too, or n): src points at row row0,
     * rows are src_row_bytes apart, elements little-endian and maybe unaligned; dst is the start of the WHOLE packed
     * matrix. Several threads may pack disjoint ranges. */
    void (*pack)(void *dst, const void *src, size_t src_row_bytes, int row0, int row1, int n, int k);
    void (*get_row)(float *y, const void *w, int row, int k); /* y [k]: one row as float, exact */
};

struct panel_kernel {
    const char *name;  /* "bf16_r16k2_f32_avx512": layout, activation type, instruction set */
    uint64_t needs;    /* CPU feature bits, all of them */
    const struct panel_layout *layout;
    int m_min, m_tile; /* used from m_min rows on (measured); tokens per inner tile */
    bool exact;        /* same bits as the scalar kernel of the layout, and for a row of x whatever its company */
    enum peak peak;
    bool (*usable)(void); /* NULL: always; else asked before use: a library that may be absent */
    size_t (*x_bytes)(int m, int k);
    /* Gathers columns [k0, k1) of rows of x for the product: those of row i of the result begin at x + rows[i] * ldx
     * (rows NULL: i). dst is the start of the WHOLE packed input of m rows and k columns. k0 is a multiple of
     * PACK_COLUMNS, k1 too, or k. Several threads may pack disjoint ranges. */
    void (*pack_x)(void *dst, const float *x, ptrdiff_t ldx, const int *rows, int m, int k, int k0, int k1);
    size_t (*scratch_bytes)(int k);
    /* y[t * ldy + r] = sum_k w[r][k] x[t][k] for row0 <= r < row1, t < m. row0, row1 multiples of nr: the last panel
     * writes its padding rows too, so y's rows hold n rounded up to nr (a layout with nr > 16 is only chosen for n that
     * is a multiple of it). scratch: one per thread. Float kernels, which include those that decode blocks to floats:
     * fused multiply-adds in ascending k from zero within blocks of MATMUL_K_BLOCK, block sums added in order. Kernels
     * of 8-bit activations ("q8"): the order is in scalar/matmul_q8.c. */
    void (*run)(float *y, ptrdiff_t ldy, const void *w, const void *x, int row0, int row1, int m, int k,
                void *scratch);
};

enum { MAX_KERNELS_PER_LAYOUT = 8 };

enum panel_choice_flags {
    PANEL_BLAS = 1,  /* prefer the OpenBLAS kernel and its row-major layout where there is one */
    PANEL_FILE = 2,  /* prefer layouts in the file's order */
    PANEL_FLOAT = 4, /* only layouts whose kernels multiply float activations */
};

/* A number of rows for panel_kernel_choose: the kernel for many. Where results must not depend on how many rows come
 * together, this kernel serves all. */
enum { PANEL_MANY_ROWS = 1 << 20 };

/* The best layout for this matrix on a machine with `features`: the first of the dtype's ordered candidates that has
 * a usable kernel. NULL: no layout takes this dtype, or k is not a multiple of its block. Never NULL for a weight type
 * (dtype_info) whose block divides k; for F32, F16, BF16 and F8_B128 that is any k. */
const struct panel_layout *panel_layout_choose(enum dtype weight, int n, int k, uint64_t features, unsigned flags);

/* The kernel for m rows (m >= 1): of the usable kernels of the layout, best first, the first with m_min <= m. */
const struct panel_kernel *panel_kernel_choose(const struct panel_layout *layout, int m, uint64_t features);

/* Is there an OpenBLAS to be used with PANEL_BLAS? Loads it at the first question. */
bool panel_blas_usable(void);

/* Everything that is built in, for tests, benches and reports; NULL ends the list. */
const struct panel_layout *const *panel_layouts(void);
const struct panel_kernel *const *panel_kernels(void);

#endif
