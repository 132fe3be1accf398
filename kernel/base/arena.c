#include "base/arena.h"

#include "base/memory.h"

enum { ALIGNMENT = 64, TAIL_BYTES = 64 };

void *arena_take(struct arena *a, size_t count, size_t size)
{
    size_t bytes, end;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, (size_t)(TAIL_BYTES + ALIGNMENT - 1), &bytes)) {
        a->overflow = true;
        return NULL;
    }
    bytes &= ~(size_t)(ALIGNMENT - 1);
    if (__builtin_add_overflow(a->used, bytes, &end) || (a->base && end > a->capacity)) {
        a->overflow = true;
        return NULL;
    }
    void *piece = a->base ? a->base + a->used : NULL;
    a->used = end;
    return piece;
}

bool arena_commit(struct arena *a, bool huge)
{
    if (a->overflow) return false;
    a->base = memory_map_pages(a->used, huge);
    if (!a->base) return false;
    a->capacity = a->used;
    a->used = 0;
    return true;
}

void arena_free(struct arena *a)
{
    memory_unmap_pages(a->base, a->capacity);
    *a = (struct arena){0};
}
