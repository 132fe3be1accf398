/* Owns the list of maps: an array that is searched from its beginning, because handlers may neither wait nor follow
 * pointers that somebody frees. */
#include "base/lost_pages.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/memory.h"

/* A place of the list. Its owner writes, handlers of other threads read meanwhile: a handler believes only what it has
 * read under one generation, so it never joins the beginning of one map to the length of another. */
struct listed_map {
    atomic_uintptr_t begin; /* FREE, TAKEN while it is being filled, or the address */
    atomic_size_t bytes;
    atomic_uint generation; /* counts the maps that have had this place */
    atomic_bool torn;
};
enum { FREE = 0, TAKEN = 1 };

static struct listed_map maps[LOST_PAGES_MAPS];
static atomic_size_t n_used; /* places behind these were never taken */

struct listed_map *lost_pages_watch(const void *begin, size_t bytes)
{
    for (size_t i = 0; i < LOST_PAGES_MAPS; i++) {
        struct listed_map *m = &maps[i];
        uintptr_t is = FREE;
        if (!atomic_compare_exchange_strong(&m->begin, &is, TAKEN)) continue;
        size_t used = atomic_load(&n_used);
        while (used <= i && !atomic_compare_exchange_weak(&n_used, &used, i + 1)) continue;
        atomic_fetch_add(&m->generation, 1);
        atomic_store(&m->bytes, bytes);
        atomic_store(&m->torn, false);
        atomic_store(&m->begin, (uintptr_t)begin);
        return m;
    }
    return NULL;
}

void lost_pages_forget(struct listed_map *m)
{
    if (m) atomic_store(&m->begin, FREE);
}

bool lost_pages_torn(const struct listed_map *m) { return atomic_load(&m->torn); }

/* The end of the map in this place, rounded up to a page, if it has `address`; else 0. */
static uintptr_t end_of_map(struct listed_map *m, uintptr_t address, size_t page)
{
    const unsigned generation = atomic_load(&m->generation);
    const uintptr_t begin = atomic_load(&m->begin);
    const size_t bytes = atomic_load(&m->bytes), whole = (bytes + page - 1) & ~(page - 1);
    if (begin == FREE || begin == TAKEN || address < begin || address - begin >= whole) return 0;
    return atomic_load(&m->generation) == generation && atomic_load(&m->begin) == begin ? begin + whole : 0;
}

bool lost_pages_replace(const void *address)
{
    const int kept = errno;
    const size_t page = memory_page_bytes(), n = atomic_load(&n_used);
    bool replaced = false;
    for (size_t i = 0; i < n && !replaced; i++) {
        const uintptr_t first = (uintptr_t)address & ~(uintptr_t)(page - 1);
        const uintptr_t end = end_of_map(&maps[i], (uintptr_t)address, page);
        if (!end) continue;
        atomic_store(&maps[i].torn, true); /* first: who reads zeros must find the mark */
        replaced = mmap((void *)first, end - first, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                        -1, 0) != MAP_FAILED;
    }
    errno = kept;
    return replaced;
}
