/* What every fuzz target has: libFuzzer's two functions, and a way to say that a promise is broken. README.md lists
 * the targets. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

/* The target. Returns 0; crashes, or calls fuzz_broken, when something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Optional, of the target: changes data [n] in place, up to `capacity` bytes, and returns its new length. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed);
/* libFuzzer's own mutations, and those of replay.c where there is no libFuzzer. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t capacity);

/* Says what is wrong and aborts: for promises that are broken without a memory error. */
__attribute__((format(printf, 1, 2), noreturn)) void fuzz_broken(const char *format, ...);

/* Ends the program when `p` is NULL: memory that the target itself needs. */
void *fuzz_need(void *p);

/* Reading succeeded, or left one line that a terminal may show. */
void fuzz_check_failure(sluice_status status, const struct failure *f);

/* Numbers for mutators, from the seed that libFuzzer gives. */
struct fuzz_random {
    uint64_t state;
};
uint64_t fuzz_next(struct fuzz_random *r);
size_t fuzz_below(struct fuzz_random *r, size_t n); /* 0..n-1; 0 when n is 0 */
/* A number that code tends to get wrong: 0, 1, -1, ends of types, neighbours of powers of two. */
uint64_t fuzz_awkward(struct fuzz_random *r);

#endif
