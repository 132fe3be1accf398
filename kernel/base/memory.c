/* Owns every request to the system for memory. Does not own lifetimes: arena.h carves what is requested here. */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/memory_limit.h"

static atomic_uint_fast64_t n_requests;
static atomic_uint_fast64_t n_held; /* blocks */
static atomic_uint_fast64_t countdown; /* 0: off; 1: the next request fails */
static atomic_uint_fast64_t pretended; /* 0: off */

static bool may_proceed(void)
{
    atomic_fetch_add_explicit(&n_requests, 1, memory_order_relaxed);
    uint_fast64_t left = atomic_load_explicit(&countdown, memory_order_relaxed);
    if (left == 0) return true;
    atomic_store_explicit(&countdown, left - 1, memory_order_relaxed);
    return left != 1;
}

/* A request has been answered with this, or with NULL. */
static void *hold(void *p)
{
    if (p) atomic_fetch_add_explicit(&n_held, 1, memory_order_relaxed);
    return p;
}

static void let_go(const void *p)
{
    if (p) atomic_fetch_sub_explicit(&n_held, 1, memory_order_relaxed);
}

uint64_t memory_request_count(void) { return atomic_load(&n_requests); }
uint64_t memory_held_count(void) { return atomic_load(&n_held); }
void memory_fail_after(uint64_t n) { atomic_store(&countdown, n); }
void memory_pretend_available(uint64_t bytes) { atomic_store(&pretended, bytes); }

void *memory_alloc(size_t n) { return may_proceed() ? hold(malloc(n ? n : 1)) : NULL; }

void *memory_calloc(size_t count, size_t size)
{
    return may_proceed() ? hold(calloc(count ? count : 1, size ? size : 1)) : NULL;
}

void *memory_realloc(void *p, size_t n)
{
    if (!may_proceed()) return NULL;
    void *moved = realloc(p, n ? n : 1);
    return p ? moved : hold(moved);
}

void memory_free(void *p)
{
    let_go(p);
    free(p);
}

char *memory_strndup(const char *s, size_t n)
{
    char *copy = memory_alloc(n + 1);
    if (!copy) return NULL;
    memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

enum { FETCH_BYTES = 128 << 10 }; /* of one request: of a larger one the kernel may read only the beginning */

size_t memory_page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static void *map_anonymous(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Maps one huge page too many, and gives back what lies before the first multiple of one and behind the block. */
static void *map_huge(size_t n)
{
    const size_t page = memory_page_bytes();
    uint64_t whole, all;
    if (!checked_align(&whole, n, page) || !checked_add(&all, whole, HUGE_PAGE_BYTES)) return NULL;
    unsigned char *p = map_anonymous(all);
    if (!p) return NULL;
    const size_t before = -(uintptr_t)p % HUGE_PAGE_BYTES, behind = all - before - whole;
    if (before) munmap(p, before);
    if (behind) munmap(p + before + whole, behind);
    /* 4 KiB pages cost about half of the decode speed on large models: the page walks outrun the prefetcher. */
    madvise(p + before, whole, MADV_HUGEPAGE);
    return p + before;
}

void *memory_map_pages(size_t n, bool huge)
{
    if (!may_proceed()) return NULL;
    return hold(huge && n >= HUGE_PAGE_BYTES ? map_huge(n) : map_anonymous(n ? n : 1));
}

void memory_unmap_pages(void *p, size_t n)
{
    if (!p) return;
    let_go(p);
    munmap(p, n ? n : 1);
}

double memory_huge_share(const void *p, size_t n)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    unsigned long long first, end, kib, touched = 0, huge = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%llx-%llx ", &first, &end) == 2) /* neighbours may have become one area with the block */
            inside = n > 0 && first < (uintptr_t)p + n && end > (uintptr_t)p;
        else if (inside && sscanf(line, "Rss: %llu kB", &kib) == 1)
            touched += kib;
        else if (inside && sscanf(line, "AnonHugePages: %llu kB", &kib) == 1)
            huge += kib;
    }
    if (file) fclose(file);
    return touched ? (double)huge / (double)touched : 0;
}

void memory_release_range(const void *p, size_t n)
{
    const uintptr_t page = memory_page_bytes();
    uintptr_t first = ((uintptr_t)p + page - 1) & ~(page - 1), last = ((uintptr_t)p + n) & ~(page - 1);
    if (last > first) madvise((void *)first, last - first, MADV_DONTNEED);
}

void memory_prefetch_range(const void *p, size_t n)
{
    const uintptr_t end = (uintptr_t)p + n;
    for (uintptr_t at = (uintptr_t)p & ~(memory_page_bytes() - 1); at < end; at += FETCH_BYTES)
        madvise((void *)at, end - at < FETCH_BYTES ? end - at : FETCH_BYTES, MADV_WILLNEED);
}

uint64_t memory_available(void)
{
    const uint64_t told = atomic_load(&pretended);
    if (told) return told;
    uint64_t left = memory_machine_left();
    const uint64_t limits[] = {memory_group_left("/proc/self/cgroup", "/sys/fs/cgroup"), memory_rlimit_left()};
    for (int i = 0; i < 2; i++)
        if (limits[i] < left) left = limits[i];
    return left == UINT64_MAX ? 0 : left ? left : 1; /* nothing left is not the same as nothing known */
}
