/* Expectations shared by the tests of weights/: a refused path with its exact sentence, an accepted one, and every
 * allocation failing once. */
#ifndef TESTS_WEIGHTS_EXPECT_H
#define TESTS_WEIGHTS_EXPECT_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "weights/archive.h"

static inline void expect_refused(const char *path, unsigned flags, sluice_status status, const char *sentence)
{
    struct archive *a = (struct archive *)1;
    struct failure f = {0};
    sluice_status got = archive_open(&a, path, flags, &f);
    cr_expect_null(a, "no archive after a failure");
    cr_expect_eq((int)got, (int)status, "status %d, expected %d for: %s", (int)got, (int)status, sentence);
    cr_expect_eq((int)f.status, (int)got);
    cr_expect_str_eq(f.text, sentence, "\n     got: %s\nexpected: %s", f.text, sentence);
    if (got == SLUICE_OK) archive_close(&a);
}

static inline struct archive *expect_opened(const char *path, unsigned flags)
{
    struct archive *a = NULL;
    struct failure f = {0};
    sluice_status status = archive_open(&a, path, flags, &f);
    cr_assert_eq((int)status, (int)SLUICE_OK, "%s", f.text);
    cr_assert_not_null(a);
    return a;
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak)); /* there in sanitizer builds only */

/* Nothing of the folder is mapped any more, and no block has been lost. */
static inline void expect_nothing_left(const char *folder)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[2000];
    while (maps && fgets(line, sizeof line, maps)) cr_expect_null(strstr(line, folder), "still mapped: %s", line);
    if (maps) fclose(maps);
    if (__lsan_do_recoverable_leak_check) cr_expect_eq(__lsan_do_recoverable_leak_check(), 0, "memory leaks");
}

/* Opens once without hindrance, then once for every request for memory, letting that request fail: each must end in
 * SLUICE_MEMORY with a sentence and leave nothing of `folder` behind. */
static inline void expect_sweep(const char *path, unsigned flags, sluice_status expected, const char *folder)
{
    json_set_alloc_funcs(memory_alloc, memory_free); /* the trees of jansson count too */
    uint64_t before = memory_request_count();
    struct archive *a;
    struct failure f;
    cr_expect_eq((int)archive_open(&a, path, flags, &f), (int)expected, "%s", f.text);
    archive_close(&a);
    uint64_t n = memory_request_count() - before;
    cr_expect_gt(n, 2u);
    for (uint64_t i = 1; i <= n; i++) {
        memset(&f, 0, sizeof f);
        memory_fail_after(i);
        sluice_status status = archive_open(&a, path, flags, &f);
        cr_expect_eq((int)status, (int)SLUICE_MEMORY, "request %llu of %llu: status %d, %s", (unsigned long long)i,
                     (unsigned long long)n, (int)status, f.text);
        cr_expect(f.text[0] && strstr(f.text, ": not enough memory"), "%s", f.text);
        cr_expect_null(a);
        archive_close(&a);
    }
    memory_fail_after(0);
    expect_nothing_left(folder);
}

#endif
