/* Memory from the system, in the three forms the engine needs: small heap blocks, large page-backed blocks, and
 * read-only file mappings. Everything is counted, and tests can make any request fail. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Heap block of `n` bytes (n == 0 gives a valid block), zeroed by memory_calloc. NULL when memory is short. */
void *memory_alloc(size_t n);
void *memory_calloc(size_t count, size_t size); /* product checked */
void *memory_realloc(void *p, size_t n);        /* as realloc; the old block stays valid on failure */
void memory_free(void *p);                      /* NULL is fine */
char *memory_strndup(const char *s, size_t n);

enum { HUGE_PAGE_BYTES = 2 << 20 };

/* Zeroed, page-aligned, untouched block: pages become real at the first touch, which also decides the NUMA node.
 * `huge` asks for 2 MiB pages, for what will be used whole: a block of one or more of them then begins at a multiple of
 * 2 MiB. NULL when memory is short. memory_unmap_pages takes the same size. */
void *memory_map_pages(size_t n, bool huge);
void memory_unmap_pages(void *p, size_t n);
/* The share of the touched part of such a block that really lies in 2 MiB pages, 0..1; 0 if the system does not tell.
 * Reads what the system knows now, which takes milliseconds. */
double memory_huge_share(const void *p, size_t n);

/* Read-only view of a whole regular file, mapped or read into memory (weights/file.h). */
struct file_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t bytes;
    struct file_origin *origin; /* private to weights/file.c; NULL for an empty file */
};
void memory_release_range(const void *p, size_t n); /* the pages of a file map may be dropped from memory */
/* Part of a file map will be read soon: the disk may begin now. Does not wait for it. */
void memory_prefetch_range(const void *p, size_t n);

size_t memory_page_bytes(void); /* of the system's small pages */

/* What this process may use: min(physical available, cgroup limit) in bytes; 0 when unknown. */
uint64_t memory_available(void);

/* ---- for tests: number of requests so far, failed ones too, (heap and pages), and a countdown that makes the n-th
 * next request fail (0 = off). Process-wide, atomic. */
uint64_t memory_request_count(void);
void memory_fail_after(uint64_t n);
/* memory_available says this from now on; 0: the truth again. */
void memory_pretend_available(uint64_t bytes);

#endif
