/* Writes a GGUF version 3 file: key-value pairs, then the directory of tensors, then their bytes in any order and from
 * any number of threads.
 *
 * The file appears under its name only when it is whole: until gguf_writer_commit it is "PATH.part", which
 * gguf_writer_close removes. Order of calls: create; any number of put_ and add_tensor; begin_data; write_data as often
 * as needed; commit; close. put_ and add_tensor keep the first failure, which begin_data reports. */
#ifndef WEIGHTS_GGUF_WRITE_H
#define WEIGHTS_GGUF_WRITE_H

#include "weights/archive.h"

struct gguf_writer;

/* Refuses when `path` exists, so that no file is ever lost, and when PATH.part does (another run, or one that was
 * killed: the sentence says so). *out is NULL on failure. */
sluice_status gguf_writer_create(struct gguf_writer **out, const char *path, struct failure *f);
/* Removes PATH.part unless the file was committed; nulls the pointer; NULL is fine. */
void gguf_writer_close(struct gguf_writer **w);

/* ---- metadata: a key given again replaces its value ------------------------------------------------------------ */

void gguf_put_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_put_f32(struct gguf_writer *w, const char *key, float value);
void gguf_put_f64(struct gguf_writer *w, const char *key, double value);
void gguf_put_string(struct gguf_writer *w, const char *key, const char *value, size_t n);
void gguf_put_text(struct gguf_writer *w, const char *key, const char *text); /* a string up to its NUL */
void gguf_put_bools(struct gguf_writer *w, const char *key, const bool *values, size_t n);
void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *values, size_t n);
void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *values, size_t n);
/* strings[i] has lengths[i] bytes */
void gguf_put_strings(struct gguf_writer *w, const char *key, const char *const *strings, const size_t *lengths,
                      size_t n);
/* A value of another GGUF file, as archive_gguf_key or archive_meta give it, with its exact type. What describes that
 * file and not the model ("general.alignment", "split.*") is left out. */
void gguf_put_meta(struct gguf_writer *w, const char *key, struct meta value);

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

/* Adds to the directory; shape row-major, outermost first, 1..4 dimensions, the last a multiple of the block. Tensors
 * are numbered 0, 1, ... in the order of these calls. `type` has a gguf_type. */
void gguf_add_tensor(struct gguf_writer *w, const char *name, enum dtype type, int n_dims, const uint64_t *shape);

/* Writes everything before the data and gives the file its full length, so that a full disk is noticed now. */
sluice_status gguf_begin_data(struct gguf_writer *w, struct failure *f);
/* Bytes [offset, offset + n) of a tensor. Thread-safe. */
sluice_status gguf_write_data(struct gguf_writer *w, size_t tensor, uint64_t offset, const void *data, size_t n,
                              struct failure *f);
uint64_t gguf_file_bytes(const struct gguf_writer *w); /* after begin_data */
/* Flushes to the disk and renames; never replaces a file that appeared meanwhile. Every byte of every tensor must have
 * been written, once. */
sluice_status gguf_writer_commit(struct gguf_writer *w, struct failure *f);

#endif
