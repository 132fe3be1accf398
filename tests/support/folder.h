/* Model folders made on the fly: a temporary folder, files, links and safetensors files in it, and its removal.
 *
 * Every function ends the test program with a message when the system refuses; tests need no error handling. Names are
 * relative to the folder and may contain '/': parent folders are made as needed. */
#ifndef SUPPORT_FOLDER_H
#define SUPPORT_FOLDER_H

#include <stddef.h>
#include <stdint.h>

struct test_folder {
    char path[512];
};

void folder_create(struct test_folder *t);
void folder_remove(struct test_folder *t); /* with everything in it; twice is fine */

/* Path of `name` inside the folder, in one of 8 static buffers used in turn. */
const char *folder_path(const struct test_folder *t, const char *name);

void folder_make(const struct test_folder *t, const char *name); /* a folder */
void folder_write(const struct test_folder *t, const char *name, const void *data, size_t n);
void folder_write_text(const struct test_folder *t, const char *name, const char *text);
void folder_link(const struct test_folder *t, const char *name, const char *target); /* symbolic; target as given */
void folder_delete(const struct test_folder *t, const char *name);

/* A safetensors file from the text of its header (blanks fill it up to a multiple of 8 bytes, as writers do) and
 * data_n bytes of data, zeros when data is NULL. */
void folder_write_header(const struct test_folder *t, const char *name, const char *header, const void *data,
                         size_t data_n);

struct test_tensor {
    const char *name;
    const char *dtype; /* "F32" ... */
    int n_dims;
    uint64_t shape[8];
    const void *data; /* [n elements of dtype], zeros when NULL */
};
/* A valid safetensors file; the data lie in the order of the list. */
void folder_write_tensors(const struct test_folder *t, const char *name, const struct test_tensor *tensors, size_t n);

#endif
