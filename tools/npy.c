/* Owns the bytes of .npy files. */
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "'<f4' and '<i4' are what lies in memory");

enum { PREFIX_BYTES = 10, ALIGNMENT = 64, NUMBER_BYTES = 4 };

static sluice_status io_error(const char *path, sluice_error *error)
{
    char shown[256];
    int number = errno;
    return set_error(error, SLUICE_IO, "%s: %s", quote_bytes(shown, sizeof shown, path, strlen(path)),
                     strerror(number));
}

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

static sluice_status write_at(struct npy *array, const void *data, size_t n, uint64_t offset, sluice_error *error)
{
    const char *bytes = data;
    while (n > 0) {
        ssize_t written = pwrite(array->file, bytes, n, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            if (written == 0) errno = ENOSPC;
            return io_error(array->path, error);
        }
        bytes += written;
        n -= (size_t)written;
        offset += (uint64_t)written;
    }
    return SLUICE_OK;
}

/* Chooses the names and opens the growing file beside the place of the final one. */
static sluice_status open_growing(struct npy *array, const char *path, sluice_error *error)
{
    struct stat info;
    errno = ENOENT; /* what the system says of an empty name: it is the end of the growing one that would do */
    if (!*path) return io_error(path, error);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        char shown[256];
        return set_error(error, SLUICE_IO, "%s: exists and is not a regular file",
                         quote_bytes(shown, sizeof shown, path, strlen(path)));
    }
    size_t cap = strlen(path) + 32;
    array->path = strdup(path);
    array->growing = malloc(cap);
    if (!array->path || !array->growing) return set_error(error, SLUICE_MEMORY, "not enough memory for a file name");
    snprintf(array->growing, cap, "%s.%ld.part", path, (long)getpid());
    do array->file = open(array->growing, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    while (array->file < 0 && errno == EINTR);
    if (array->file >= 0) return SLUICE_OK;
    io_error(path, error);
    free(array->growing); /* whatever has this name is not ours to remove */
    array->growing = NULL;
    return SLUICE_IO;
}

sluice_status npy_create(struct npy *out, const char *path, enum npy_type type, const size_t *shape, size_t n_dims,
                         sluice_error *error)
{
    char header[NPY_MAX_HEADER];
    *out = (struct npy){.file = -1, .n_rows = 1};
    out->header_bytes = npy_make_header(header, type, shape, n_dims);
    out->row_bytes = shape[n_dims - 1] * NUMBER_BYTES;
    for (size_t i = 0; i + 1 < n_dims; i++) out->n_rows *= shape[i];
    sluice_status status = open_growing(out, path, error);
    if (!status) status = write_at(out, header, out->header_bytes, 0, error);
    if (status) npy_discard(out);
    return status;
}

sluice_status npy_write(struct npy *array, uint64_t first_row, uint64_t n_rows, const void *data, sluice_error *error)
{
    array->n_written += n_rows;
    return write_at(array, data, n_rows * array->row_bytes, array->header_bytes + first_row * array->row_bytes, error);
}

static void release(struct npy *array)
{
    free(array->path);
    free(array->growing);
    *array = (struct npy){.file = -1};
}

sluice_status npy_commit(struct npy *array, sluice_error *error)
{
    sluice_status status = SLUICE_OK;
    if (array->n_written != array->n_rows)
        status = set_error(error, SLUICE_IO, "%s: %llu of %llu rows were written", array->path,
                           (unsigned long long)array->n_written, (unsigned long long)array->n_rows);
    int closed = close(array->file); /* some file systems report a full disk only here */
    array->file = -1;
    if (!status && (closed != 0 || rename(array->growing, array->path) != 0)) status = io_error(array->path, error);
    if (status)
        npy_discard(array);
    else
        release(array);
    return status;
}

void npy_discard(struct npy *array)
{
    if (array->growing) {
        if (array->file >= 0) close(array->file);
        unlink(array->growing);
    }
    release(array);
}
