/* A folder "/memory" that exists only inside a fuzz target: the loaders open, map and write its files without a system
 * call, which makes a target ten times as fast as one that uses a disk.
 *
 * The build passes -Wl,--wrap for the functions of wrapped.txt, so calls of them come here; a path outside of the
 * folder goes on to the real function. A mapped file is a heap block of exactly its length, so AddressSanitizer sees a
 * read of the byte behind it, which a page of a real map would hide, and a read after the file was closed. */
#ifndef FUZZ_MEMORY_FILES_H
#define FUZZ_MEMORY_FILES_H

#include <stddef.h>
#include <stdint.h>

#define MEMORY_FOLDER "/memory"

enum { MEMORY_MAX_FILES = 32, MEMORY_MAX_FILLING = 16 << 20 };

void memory_files_clear(void);

/* Puts a file there; `data` must stay. `filling` more bytes follow it, at most MEMORY_MAX_FILLING, which cost nothing:
 * the data of tensors, all bytes 0x3f, so that floats of every kind are positive. Silently ignored: a name that is not
 * plain, is there already, or is one too many. */
void memory_files_add(const char *name, size_t name_n, const void *data, size_t n, uint64_t filling);

/* The bytes of the file that the target has written and committed under this name; NULL: there is none. */
const unsigned char *memory_files_written(const char *name, size_t *n);

/* An input that stands for a whole folder is one text, so that its pieces can be read, and mutated, together:
 *
 *     --- config.json
 *     {"hidden_size": 64}
 *     --- model.safetensors
 *     {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
 *
 * Fills the folder with these files. A .safetensors file is its header here; its length is put before it, and as many
 * filling behind it as its offsets ask for. What stands before the first such line is in no file. The text of the file
 * "text", which is not put into the folder, is given back (*text NULL: there is none). */
void memory_files_unpack(const uint8_t *data, size_t n, const char **text, size_t *text_n);

/* How many bytes of data the offsets of this safetensors header ask for, as far as it can be read at a glance. */
uint64_t memory_files_data_bytes(const char *header, size_t n);

#endif
