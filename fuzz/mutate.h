/* Mutators that know frames: what they write is again a GGUF file, or JSON text, with something odd in it, so that most
 * inputs get past the first check. All of them sometimes let libFuzzer change bytes at random instead. */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include "fuzz.h"

/* A GGUF file: keys and tensors are removed, repeated, renamed, retyped and given other values; counts, lengths and
 * offsets are mostly made right again. */
size_t mutate_gguf(uint8_t *data, size_t n, size_t capacity, struct fuzz_random *r);

/* Text with JSON in it: values are replaced, swapped, removed, repeated, nested; strings are changed inside. */
size_t mutate_json(uint8_t *data, size_t n, size_t capacity, struct fuzz_random *r);

#endif
