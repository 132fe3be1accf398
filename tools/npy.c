/* Owns the bytes of .npy files. */
#include "npy.h"

#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "'<f4' and '<i4' are what lies in memory");

enum { PREFIX_BYTES = 10, ALIGNMENT = 64, NUMBER_BYTES = 4 };

size_t npy_make_header(char *out, enum npy_type type, const size_t *shape, size_t n_dims)
{
    char dims[128];
    size_t n = 0;
    for (size_t i = 0; i < n_dims; i++)
        n += (size_t)snprintf(dims + n, sizeof dims - n, "%s%zu", i ? ", " : "", shape[i]);
    int length = snprintf(out + PREFIX_BYTES, NPY_MAX_HEADER - PREFIX_BYTES,
                          "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }",
                          type == NPY_FLOAT32 ? "<f4" : "<i4", dims, n_dims == 1 ? "," : "");
    size_t used = PREFIX_BYTES + (size_t)length, total = (used + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memset(out + used, ' ', total - used);
    out[total - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((total - PREFIX_BYTES) & 0xff);
    out[9] = (char)((total - PREFIX_BYTES) >> 8);
    return total;
}

sluice_status npy_create(struct npy *out, const char *path, enum npy_type type, const size_t *shape, size_t n_dims,
                         sluice_error *error)
{
    char header[NPY_MAX_HEADER];
    *out = (struct npy){.n_rows = 1};
    out->header_bytes = npy_make_header(header, type, shape, n_dims);
    out->row_bytes = shape[n_dims - 1] * NUMBER_BYTES;
    for (size_t i = 0; i + 1 < n_dims; i++) out->n_rows *= shape[i];
    sluice_status status = output_file_create(&out->file, path, error);
    if (!status) status = output_file_append(&out->file, header, out->header_bytes, error);
    if (status) npy_discard(out);
    return status;
}

sluice_status npy_write(struct npy *array, uint64_t first_row, uint64_t n_rows, const void *data, sluice_error *error)
{
    array->n_written += n_rows;
    return output_file_write_at(&array->file, data, n_rows * array->row_bytes,
                                array->header_bytes + first_row * array->row_bytes, error);
}

sluice_status npy_commit(struct npy *array, sluice_error *error)
{
    if (array->n_written == array->n_rows) return output_file_commit(&array->file, error);
    sluice_status status = set_error(error, SLUICE_IO, "%s: %llu of %llu rows were written", array->file.path,
                                     (unsigned long long)array->n_written, (unsigned long long)array->n_rows);
    npy_discard(array);
    return status;
}

void npy_discard(struct npy *array) { output_file_discard(&array->file); }
