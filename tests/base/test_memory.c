/* Memory from the system: what every request promises, and the countdown by which other tests make one fail. */
#include "base/memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One request of each kind, freed again; false if it failed. */
static bool request(int kind)
{
    void *p = NULL;
    switch (kind) {
    case 0: p = memory_alloc(10); break;
    case 1: p = memory_calloc(2, 5); break;
    case 2: p = memory_realloc(NULL, 10); break;
    case 3: p = memory_strndup("abc", 3); break;
    case 4: p = memory_map_pages(10, true); break;
    }
    if (kind == 4)
        memory_unmap_pages(p, 10);
    else
        memory_free(p);
    return p != NULL;
}
enum { N_KINDS = 5 };

Test(memory, the_countdown_fails_the_nth_request_of_any_kind_once)
{
    for (int kind = 0; kind < N_KINDS; kind++)
        for (uint64_t n = 1; n <= 4; n++) {
            memory_fail_after(n);
            for (uint64_t i = 1; i <= 6; i++) cr_expect_eq(request(kind), i != n, "kind %d, request %d", kind, (int)i);
        }
    memory_fail_after(3);
    memory_fail_after(0);
    for (int i = 0; i < 6; i++) cr_expect(request(0), "0 switches the countdown off");
}

Test(memory, every_request_is_counted_once)
{
    for (int kind = 0; kind < N_KINDS; kind++) {
        uint64_t before = memory_request_count();
        request(kind);
        cr_expect_eq(memory_request_count(), before + 1, "kind %d", kind);
    }
}

Test(memory, what_is_held_is_counted)
{
    const uint64_t before = memory_held_count();
    void *p[] = {memory_alloc(0), memory_calloc(2, 8), memory_realloc(NULL, 5), memory_strndup("ab", 2)};
    void *pages = memory_map_pages(10, true);
    cr_expect_eq(memory_held_count(), before + 5);
    p[0] = memory_realloc(p[0], 1000);
    memory_fail_after(1);
    cr_expect_null(memory_realloc(p[0], 2000));
    memory_fail_after(1);
    cr_expect_null(memory_map_pages(10, false));
    cr_expect_null(memory_map_pages(SIZE_MAX / 2, true));
    cr_expect_eq(memory_held_count(), before + 5, "a moved block is one block, a refused one is none");
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) memory_free(p[i]);
    memory_unmap_pages(pages, 10);
    memory_free(NULL);
    memory_unmap_pages(NULL, 10);
    cr_expect_eq(memory_held_count(), before);
}

Test(memory, blocks_of_no_bytes_are_valid)
{
    void *p[] = {memory_alloc(0), memory_calloc(0, 8), memory_calloc(8, 0), memory_realloc(NULL, 0)};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        cr_expect_not_null(p[i]);
        memory_free(p[i]);
    }
    memory_free(NULL);
}

extern void __sanitizer_print_stack_trace(void) __attribute__((weak));

Test(memory, calloc_refuses_a_product_that_wraps)
{
    if (__sanitizer_print_stack_trace) cr_skip_test("sanitizers end the program there");
    volatile size_t half = SIZE_MAX / 2 + 1; /* volatile: compilers warn about what they can see */
    cr_expect_null(memory_calloc(half, 2));
    cr_expect_null(memory_calloc(half, half));
}

Test(memory, calloc_gives_zeros)
{
    for (size_t n = 1; n < 5000; n += 777) {
        unsigned char *dirty = memory_alloc(n);
        cr_assert(dirty);
        memset(dirty, 0xff, n);
        memory_free(dirty);
        unsigned char *p = memory_calloc(n, 1);
        cr_assert(p);
        for (size_t i = 0; i < n; i++) cr_assert_eq(p[i], 0);
        memory_free(p);
    }
}

Test(memory, realloc_keeps_the_old_block_when_it_fails)
{
    char *p = memory_alloc(4);
    cr_assert(p);
    memcpy(p, "abc", 4);
    memory_fail_after(1);
    cr_expect_null(memory_realloc(p, 1000));
    cr_expect_str_eq(p, "abc");
    p = memory_realloc(p, 1000);
    cr_assert(p);
    cr_expect_str_eq(p, "abc");
    memory_free(p);
}

Test(memory, strndup_copies_exactly_n_bytes)
{
    char *p = memory_strndup("abcdef", 3);
    cr_assert(p);
    cr_expect_str_eq(p, "abc");
    memory_free(p);
    p = memory_strndup("", 0);
    cr_assert(p);
    cr_expect_str_eq(p, "");
    memory_free(p);
}

Test(memory, pages_are_aligned_and_zero)
{
    static const size_t bytes[] = {0, 1, 4095, 4097, (size_t)9 << 20}; /* the last is worth 2 MiB pages */
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        unsigned char *p = memory_map_pages(bytes[i], true);
        cr_assert(p);
        cr_expect_eq((uintptr_t)p % page, 0u);
        for (size_t j = 0; j < bytes[i]; j += 509) cr_assert_eq(p[j], 0);
        if (bytes[i]) p[bytes[i] - 1] = 1;
        memory_unmap_pages(p, bytes[i]);
    }
    memory_unmap_pages(NULL, 100);
}

Test(memory, pages_that_cannot_be_had_are_null) { cr_expect_null(memory_map_pages(SIZE_MAX / 2, true)); }

Test(memory, a_released_range_of_a_file_reads_the_same_again)
{
    enum { BYTES = 5 * 4096 + 100 };
    FILE *file = tmpfile();
    cr_assert(file);
    for (int i = 0; i < BYTES; i++) fputc(i % 251, file);
    fflush(file);
    const unsigned char *p = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    cr_assert_neq((const void *)p, MAP_FAILED);
    static const size_t ranges[][2] = {{0, BYTES}, {1, BYTES - 1}, {10, 20}, {4095, 2}, {4096, 4096}, {BYTES, 0}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        memory_release_range(p + ranges[r][0], ranges[r][1]);
        for (int i = 0; i < BYTES; i++) cr_assert_eq(p[i], i % 251);
    }
    munmap((void *)p, BYTES);
    fclose(file);
}

Test(memory, a_range_that_is_fetched_ahead_reads_the_same)
{
    enum { BYTES = 70 * 4096 + 100 }; /* more than one request to the kernel */
    FILE *file = tmpfile();
    cr_assert(file);
    for (int i = 0; i < BYTES; i++) fputc(i % 251, file);
    fflush(file);
    const unsigned char *p = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    cr_assert_neq((const void *)p, MAP_FAILED);
    static const size_t ranges[][2] = {{0, BYTES}, {1, BYTES - 1}, {4095, 2}, {BYTES - 1, 1}, {BYTES, 0}, {0, 0}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        memory_prefetch_range(p + ranges[r][0], ranges[r][1]);
        for (int i = 0; i < BYTES; i++) cr_assert_eq(p[i], i % 251);
    }
    munmap((void *)p, BYTES);
    fclose(file);
}

static const size_t huge = HUGE_PAGE_BYTES;

Test(memory, large_blocks_begin_at_a_huge_page_and_small_ones_need_none)
{
    for (int i = 0; i < 20; i++) { /* something of another size before each, so that no place suits by chance */
        void *other = memory_map_pages((size_t)(i + 1) * 4096, false);
        const size_t n = huge + (size_t)i * 1000003;
        unsigned char *p = memory_map_pages(n, true);
        cr_assert(p && other);
        cr_expect_eq((uintptr_t)p % huge, 0u, "%zu bytes", n);
        p[0] = p[n - 1] = 1;
        memory_unmap_pages(p, n);
        memory_unmap_pages(other, (size_t)(i + 1) * 4096);
    }
    unsigned char *p = memory_map_pages(huge - 1, true);
    cr_assert(p);
    p[huge - 2] = 1;
    memory_unmap_pages(p, huge - 1);
    cr_expect_null(memory_map_pages(SIZE_MAX, true));
    cr_expect_null(memory_map_pages(SIZE_MAX - huge, true));
}

/* Bytes of address space of this process; 0: unknown. */
static size_t mapped_bytes(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%zu", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * memory_page_bytes();
}

Test(memory, a_large_block_takes_no_more_room_than_it_needs)
{
    const size_t page = memory_page_bytes(), n = 3 * huge + 5;
    const size_t before = mapped_bytes();
    void *p = memory_map_pages(n, true);
    cr_assert(p);
    const size_t with = mapped_bytes();
    memory_unmap_pages(p, n);
    const size_t after = mapped_bytes();
    if (before == 0) cr_skip_test("the system does not tell");
    cr_expect_eq(with - before, 3 * huge + page);
    cr_expect_eq(after, before);
}

Test(memory, the_share_of_huge_pages_is_what_the_system_gave)
{
    const size_t n = 16 * huge;
    unsigned char *own = mmap(NULL, n + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)own, MAP_FAILED);
    madvise(own, n + huge, MADV_HUGEPAGE);
    memset(own, 1, n + huge);
    const bool gives = memory_huge_share(own, n) > 0.9;
    munmap(own, n + huge);

    unsigned char *p = memory_map_pages(n, true), *small = memory_map_pages(n, false);
    cr_assert(p && small);
    cr_expect_eq(memory_huge_share(p, n), 0, "nothing is touched");
    memset(p, 1, n);
    const double share = memory_huge_share(p, n);
    cr_expect(share >= 0 && share <= 1, "%g", share);
    if (gives) cr_expect_gt(share, 0.9);
    cr_expect_eq(memory_huge_share(p, 0), 0);
    madvise(small, n, MADV_NOHUGEPAGE);
    memset(small, 1, n);
    cr_expect_eq(memory_huge_share(small, n), 0);
    memory_unmap_pages(p, n);
    memory_unmap_pages(small, n);
}

/* MADV_DONTNEED on private memory gives zeros, so this sees which pages were dropped: only whole ones inside. */
Test(memory, release_drops_only_whole_pages_inside_the_range)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *p = memory_map_pages(4 * page, true);
    cr_assert(p);
    memset(p, 7, 4 * page);
    memory_release_range(p + 1, 3 * page - 2); /* from inside page 0 into page 2: page 1 alone is whole */
    cr_expect_eq(p[page - 1], 7);
    cr_expect_eq(p[page], 0);
    cr_expect_eq(p[2 * page - 1], 0);
    cr_expect_eq(p[2 * page], 7);
    cr_expect_eq(p[3 * page], 7);
    memory_unmap_pages(p, 4 * page);
}

Test(memory, something_is_available)
{
    uint64_t bytes = memory_available();
    cr_expect(bytes > UINT64_C(1) << 20 && bytes < UINT64_C(1) << 50, "%llu", (unsigned long long)bytes);
}
