/* Expectations shared by the tests of weights/: a refused path with its exact sentence, an accepted one. */
#ifndef TESTS_WEIGHTS_EXPECT_H
#define TESTS_WEIGHTS_EXPECT_H

#include <criterion/criterion.h>
#include <stdio.h>

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

#endif
