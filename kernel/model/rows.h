/* One matrix as the files hold it, read as rows of one element type: what plan.c finds, bind.c packs and the quantiser
 * converts. Hides what differs between files and not between models: slices of a tensor of all experts, rows that a
 * converter reordered for its rotary embedding, and numbers whose scales lie in a second tensor.
 *
 *   ROWS_PLAIN        the rows of the tensor, of its own type
 *   ROWS_FP8_BLOCKS   X.weight F8_E4M3 [n, k] and X.weight_scale_inv F32, F16 or BF16 [n/128 up, k/128 up], one scale
 *                     per tile of 128 x 128: rows of DTYPE_F8_B128 (DeepSeek-V3, Qwen3 FP8)
 *   ROWS_MXFP4_PAIRS  X_blocks U8 [.., n, k/32, 16] and X_scales U8 [.., n, k/32], neighbours in one byte: rows of
 *                     DTYPE_MXFP4, whose bytes hold elements j and j + 16 (gpt-oss) */
#ifndef MODEL_ROWS_H
#define MODEL_ROWS_H

#include "base/failure.h"
#include "quant/dtype.h"
#include "weights/archive.h"

enum rows_encoding { ROWS_PLAIN, ROWS_FP8_BLOCKS, ROWS_MXFP4_PAIRS };

struct row_source {
    enum rows_encoding encoding;
    enum dtype dtype;                  /* of the rows that rows_read gives */
    int n, k;                          /* k is a multiple of the dtype's block, but for F8_B128 (rounded up) */
    const struct tensor_view *view;    /* for messages, and for releasing pages */
    const unsigned char *data;         /* row 0 in the file */
    const struct tensor_view *scales;  /* of the two-tensor encodings */
    const unsigned char *scale_data;   /* of row 0 */
    int tile_row;                      /* FP8: row 0 is this row of its tile, 0..127: halves of a slice may begin within
                                        * one */
    int head_dim;                      /* > 0: within each head of this many rows, file row 2i is model row i, and
                                        * file row 2i + 1 is model row i + head_dim / 2 */
};

/* Bytes of one row as rows_read gives it. */
size_t rows_row_bytes(const struct row_source *s);
/* Bytes of all rows as the files have them, both tensors. */
size_t rows_file_bytes(const struct row_source *s);
/* True when the file's bytes at `data` are the rows themselves: no copy is needed. */
bool rows_direct(const struct row_source *s);
/* dst = rows [row0, row1) in the model's order, rows_row_bytes apart. */
void rows_read(const struct row_source *s, void *dst, int row0, int row1);
/* y [k] = row as floats. `scratch`: rows_row_bytes. */
void rows_read_float(const struct row_source *s, float *y, int row, void *scratch);
/* The file's pages of rows [row0, row1) will not be read again. (Reordered rows: whole heads.) */
void rows_release(const struct row_source *s, int row0, int row1);
/* Number of an element within its tensor, for messages. */
uint64_t rows_element(const struct row_source *s, int row, int column);
/* FP8: every scale is finite. Reads them. */
sluice_status rows_check_scales(const struct row_source *s, struct failure *f);

#endif
