/* The only arithmetic allowed on numbers that came from a file: each returns true on success and leaves *out
 * untouched on overflow. Unsigned 64-bit throughout: sizes, counts and offsets of files. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool checked_add(uint64_t *out, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

static inline bool checked_mul(uint64_t *out, uint64_t a, uint64_t b)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* Rounds `a` up to a multiple of `alignment`, a power of two >= 1. */
static inline bool checked_align(uint64_t *out, uint64_t a, uint64_t alignment)
{
    uint64_t r;
    if (__builtin_add_overflow(a, alignment - 1, &r)) return false;
    *out = r & ~(alignment - 1);
    return true;
}

#endif
