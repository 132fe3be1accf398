/* Arena: one block of memory carved into many pieces that live and die together.
 *
 * Sizes are computed by the same code that carves: run the carving function once on an arena without memory (measure
 * pass), allocate arena.used bytes, run it again (carve pass). Every piece is 64-byte aligned, zero-filled, and
 * followed by at least 64 bytes that may be read (kernels may over-read, never over-write). */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena {
    unsigned char *base; /* NULL during the measure pass */
    size_t used, capacity;
    bool overflow; /* a size wrapped: the measure pass must be rejected */
};

/* Next piece of count * size bytes; NULL in the measure pass (not an error). */
void *arena_take(struct arena *a, size_t count, size_t size);
#define ARENA_TAKE(arena, type, count) ((type *)arena_take((arena), (count), sizeof(type)))

/* After a measure pass: gets zeroed pages for it (2 MiB ones if `huge`) and rewinds, ready for the carve pass. False:
 * memory is short. */
bool arena_commit(struct arena *a, bool huge);
void arena_free(struct arena *a);

#endif
