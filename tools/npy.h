/* Owns writing of arrays as .npy files, version 1.0. A file of the array's name is always whole, see output.h.
 *
 *     offset 0   "\x93NUMPY"  01 00   length of what follows, 2 bytes, low byte first
 *           10   {'descr': '<f4', 'fortran_order': False, 'shape': (43, 512), }   blanks   newline
 *          64*k  the numbers, last index fastest
 */
#ifndef TOOLS_NPY_H
#define TOOLS_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "output.h"
#include "sluice/sluice.h"

enum npy_type { NPY_FLOAT32, NPY_INT32 };
enum { NPY_MAX_DIMS = 4, NPY_MAX_HEADER = 256 };

/* An array on its way to a file. All zero: none. A row is everything under the last index. */
struct npy {
    struct output_file file;
    size_t header_bytes, row_bytes;
    uint64_t n_rows, n_written;
};

/* Writes the header into out[NPY_MAX_HEADER] and returns its length, a multiple of 64; n_dims 1..NPY_MAX_DIMS. */
size_t npy_make_header(char *out, enum npy_type type, const size_t *shape, size_t n_dims);

sluice_status npy_create(struct npy *out, const char *path, enum npy_type type, const size_t *shape, size_t n_dims,
                         sluice_error *error);
/* Rows may come in any order, each once; `data` is [n_rows, last dimension]. */
sluice_status npy_write(struct npy *array, uint64_t first_row, uint64_t n_rows, const void *data, sluice_error *error);
/* Gives the file its name. SLUICE_IO: a row is missing, or the system refuses; then nothing is left. */
sluice_status npy_commit(struct npy *array, sluice_error *error);
/* Removes what has been written; does nothing for an array that is committed or none. */
void npy_discard(struct npy *array);

#endif
