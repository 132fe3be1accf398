/* One matrix as the files hold it, read as rows of one element type: what plan.c finds, bind.c packs and the quantiser
 * converts. Hides what differs between files and not between models: slices of a tensor of all experts, rows and
 * columns in another order, matrices that lie transposed, numbers whose scales lie in a second tensor.
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

/* Which of the file's rows (or columns) stands where in the model. All numbers count rows. */
struct row_order {
    enum {
        ORDER_STORED,  /* as in the file */
        ORDER_PAIRS,   /* in each head of `unit` rows, the `part` rows that follow the first `skip` are pairs: file row
                        * 2i is model row i, file row 2i + 1 is model row i + part / 2 */
        ORDER_STRIDED, /* of each `unit` rows of the file, the `part` rows that follow the first `skip` */
        ORDER_GROUPED, /* the file has n_groups of `unit` rows: `skip` of q, `skip` of k, `part` of v, others; the model
                        * has all q, all k, all v */
        ORDER_TILED,   /* after `skip` rows that stay, the file has n_groups of `unit` rows, which are heads of `part`
                        * rows; the model has the first head of every group, then the second of every group, ... */
    } kind;
    int unit, part, skip, n_groups;
};

/* What a vector's numbers become: vectors that are changed are rows of F32. */
enum rows_value { VALUE_STORED, VALUE_ADD_ONE, VALUE_NEGATIVE_EXP };

struct row_source {
    enum rows_encoding encoding;
    enum dtype dtype;                  /* of the rows that rows_read gives */
    int n, k;                          /* k is a multiple of the dtype's block, but for F8_B128 (rounded up) */
    const struct tensor_view *view;    /* the file's tensor: its type, its name for messages, its pages to release */
    const unsigned char *data;         /* row 0 in the file */
    const struct tensor_view *scales;  /* of the two-tensor encodings */
    const unsigned char *scale_data;   /* of row 0 */
    int tile_row;                      /* FP8: row 0 is this row of its tile, 0..127: halves of a slice may begin within
                                        * one */
    struct row_order order;            /* of rows */
    struct row_order columns;          /* within every row: ORDER_STORED or ORDER_TILED */
    int transposed;                    /* > 0: the file has the transposed matrix, k rows of so many elements. Then the
                                        * type is a plain float, and the order STORED or STRIDED. F32, where the
                                        * file's type is no plain float; likewise FP8 whose column heads cut tiles */
    enum rows_value value;             /* other than VALUE_STORED: F32 of plain floats, k == 1 */
};

/* The file's row (relative to row 0) that is row `row` of the model; likewise for columns. */
int source_row(const struct row_order *order, int row);
/* ORDER_PAIRS, the other way: the model's row that the file has as row `row`. */
int paired_row(const struct row_order *order, int row);

/* Bytes of one row as rows_read gives it. */
size_t rows_row_bytes(const struct row_source *s);
/* Bytes of all rows as the files have them, both tensors. */
size_t rows_file_bytes(const struct row_source *s);
/* True when the file's bytes at `data` are the rows themselves: no copy is needed. */
bool rows_direct(const struct row_source *s);
/* dst = rows [row0, row1) in the model's order, rows_row_bytes apart. Many rows at once are cheaper than one by one
 * where the file has the matrix transposed. */
void rows_read(const struct row_source *s, void *dst, int row0, int row1);
/* y [k] = row as floats. `scratch`: rows_row_bytes. */
void rows_read_float(const struct row_source *s, float *y, int row, void *scratch);
/* y [row1 - row0, k] = rows as floats. `scratch`: rows_scratch_bytes for so many rows. */
void rows_read_floats(const struct row_source *s, float *y, int row0, int row1, void *scratch);
size_t rows_scratch_bytes(const struct row_source *s, int n_rows);
/* Rows [row0, row1) will be read soon: the disk may begin. (All of what is transposed, and scales, with row 0.) */
void rows_prefetch(const struct row_source *s, int row0, int row1);
/* The file's pages of rows [row0, row1) will not be read again. (Pairs: whole heads. Transposed: with the last row.) */
void rows_release(const struct row_source *s, int row0, int row1);
/* Number of an element within its tensor, for messages. */
uint64_t rows_element(const struct row_source *s, int row, int column);
/* FP8: every scale is finite. Reads them. */
sluice_status rows_check_scales(const struct row_source *s, struct failure *f);

#endif
