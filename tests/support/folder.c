/* Owns temporary model folders (see folder.h). */
#include "tests/support/folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quant/dtype.h"

static void need(int good, const char *what, const char *name)
{
    if (good) return;
    fprintf(stderr, "test folder: %s %s: %s\n", what, name, strerror(errno));
    abort();
}

void folder_create(struct test_folder *t)
{
    const char *base = getenv("TMPDIR");
    snprintf(t->path, sizeof t->path, "%s/sluice-test-XXXXXX", base ? base : "/tmp");
    need(mkdtemp(t->path) != NULL, "mkdtemp", t->path);
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *where)
{
    (void)s, (void)kind, (void)where;
    return remove(path);
}

void folder_remove(struct test_folder *t)
{
    if (t->path[0]) nftw(t->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    t->path[0] = 0;
}

const char *folder_path(const struct test_folder *t, const char *name)
{
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", t->path, name);
    return path;
}

static void make_parents(const struct test_folder *t, const char *path)
{
    char parent[1024];
    for (const char *slash = path + strlen(t->path) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
        need(mkdir(parent, 0777) == 0 || errno == EEXIST, "mkdir", parent);
    }
}

static FILE *create_file(const struct test_folder *t, const char *name)
{
    const char *path = folder_path(t, name);
    make_parents(t, path);
    FILE *file = fopen(path, "wb");
    need(file != NULL, "create", path);
    return file;
}

static void put(FILE *file, const void *data, size_t n)
{
    if (n) need(fwrite(data, 1, n, file) == n, "write", "file");
}

static void put_zeros(FILE *file, size_t n)
{
    static const char zeros[4096];
    enum { HOLE = 1 << 20 }; /* files may promise more than a disk holds: many zeros are a hole */
    if (n > HOLE) {
        need(fseeko(file, (off_t)(n - 1), SEEK_CUR) == 0, "seek in", "file");
        n = 1;
    }
    for (; n > sizeof zeros; n -= sizeof zeros) put(file, zeros, sizeof zeros);
    put(file, zeros, n);
}

void folder_make(const struct test_folder *t, const char *name)
{
    const char *path = folder_path(t, name);
    make_parents(t, path);
    need(mkdir(path, 0777) == 0, "mkdir", path);
}

void folder_write(const struct test_folder *t, const char *name, const void *data, size_t n)
{
    FILE *file = create_file(t, name);
    put(file, data, n);
    need(fclose(file) == 0, "close", name);
}

void folder_write_text(const struct test_folder *t, const char *name, const char *text)
{
    folder_write(t, name, text, strlen(text));
}

void folder_link(const struct test_folder *t, const char *name, const char *target)
{
    const char *path = folder_path(t, name);
    make_parents(t, path);
    need(symlink(target, path) == 0, "link", path);
}

void folder_delete(const struct test_folder *t, const char *name)
{
    need(remove(folder_path(t, name)) == 0, "remove", name);
}

static void put_header(FILE *file, const char *header, size_t n)
{
    size_t padded = (n + 7) & ~(size_t)7;
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    put(file, length, sizeof length);
    put(file, header, n);
    put(file, "        ", padded - n);
}

void folder_write_header(const struct test_folder *t, const char *name, const char *header, const void *data,
                         size_t data_n)
{
    FILE *file = create_file(t, name);
    put_header(file, header, strlen(header));
    if (data)
        put(file, data, data_n);
    else
        put_zeros(file, data_n);
    need(fclose(file) == 0, "close", name);
}

static size_t tensor_bytes(const struct test_tensor *tensor)
{
    enum dtype dtype;
    if (!dtype_from_name(tensor->dtype, strlen(tensor->dtype), &dtype)) {
        fprintf(stderr, "test folder: unknown dtype %s\n", tensor->dtype);
        abort();
    }
    size_t bytes = dtype_info(dtype)->bytes_per_block;
    for (int i = 0; i < tensor->n_dims; i++) bytes *= (size_t)tensor->shape[i];
    return bytes;
}

void folder_write_tensors(const struct test_folder *t, const char *name, const struct test_tensor *tensors, size_t n)
{
    char *header = NULL;
    size_t header_n = 0, at = 0;
    FILE *text = open_memstream(&header, &header_n);
    need(text != NULL, "memory for", name);
    fprintf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        size_t bytes = tensor_bytes(&tensors[i]);
        fprintf(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensors[i].name, tensors[i].dtype);
        for (int d = 0; d < tensors[i].n_dims; d++)
            fprintf(text, "%s%llu", d ? "," : "", (unsigned long long)tensors[i].shape[d]);
        fprintf(text, "],\"data_offsets\":[%zu,%zu]}", at, at + bytes);
        at += bytes;
    }
    fprintf(text, "}");
    fclose(text);

    FILE *file = create_file(t, name);
    put_header(file, header, header_n);
    for (size_t i = 0; i < n; i++) {
        if (tensors[i].data)
            put(file, tensors[i].data, tensor_bytes(&tensors[i]));
        else
            put_zeros(file, tensor_bytes(&tensors[i]));
    }
    need(fclose(file) == 0, "close", name);
    free(header);
}
