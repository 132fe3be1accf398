/* GGUF files that hold nothing but keys, and tensors of one element. */
#ifndef TESTS_MODEL_KEYS_H
#define TESTS_MODEL_KEYS_H

#include "tests/support/folder.h"
#include "weights/gguf_write.h"

/* A key and its value as text. A leading '@' stands for "ARCH.". Types: "u" (uint32), "f" (float32), "d" (float64),
 * "bool", "str", arrays "is" (int32), "fs", "bs", "strs"; "tensor": a tensor of that name; NULL: left out. */
struct key {
    const char *name, *type, *value;
};
enum { MAX_KEYS = 32 };

/* A file "m.gguf" of the folder that keys and tensors can be put into, and its end. Every tensor has four bytes. */
struct gguf_writer *keys_start(const struct test_folder *folder);
void keys_finish(struct gguf_writer *w, size_t n_tensors);

/* A small dense model of architecture `arch` (unless a key says another), changed by the keys up to the first without a
 * name. */
void keys_write(const struct test_folder *folder, const char *arch, const struct key *keys);

#endif
