/* Arenas: both passes agree, pieces are aligned, zero and followed by readable bytes, and sizes never wrap. */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

static const size_t counts[] = {0, 1, 3, 15, 16, 17, 63, 64, 65, 1000, 5};
static const size_t sizes[] = {1, 4, 4, 4, 4, 4, 1, 1, 1, 8, 4096};
enum { N_PIECES = sizeof counts / sizeof *counts };

static void take_all(struct arena *a, unsigned char **pieces)
{
    for (int i = 0; i < N_PIECES; i++) pieces[i] = arena_take(a, counts[i], sizes[i]);
}

Test(arena, measure_pass_and_carve_pass_agree)
{
    struct arena a = {0};
    unsigned char *pieces[N_PIECES];
    take_all(&a, pieces);
    for (int i = 0; i < N_PIECES; i++) cr_expect_null(pieces[i]);
    size_t measured = a.used;
    cr_assert(arena_commit(&a, false));
    cr_expect_eq(a.used, 0u);
    cr_expect_eq(a.capacity, measured);
    take_all(&a, pieces);
    cr_expect_eq(a.used, measured);
    cr_expect(!a.overflow);
    arena_free(&a);
}

Test(arena, pieces_are_aligned_zero_apart_and_have_64_readable_bytes_behind)
{
    struct arena a = {0};
    unsigned char *pieces[N_PIECES];
    take_all(&a, pieces);
    cr_assert(arena_commit(&a, false));
    take_all(&a, pieces);
    for (int i = 0; i < N_PIECES; i++) {
        size_t n = counts[i] * sizes[i];
        cr_expect_eq((uintptr_t)pieces[i] % 64, 0u);
        const unsigned char *next = i + 1 < N_PIECES ? pieces[i + 1] : a.base + a.capacity;
        cr_expect_geq((size_t)(next - pieces[i]), n + 64);
        for (size_t j = 0; j < n + 64; j++) cr_assert_eq(pieces[i][j], 0);
    }
    for (int i = 0; i < N_PIECES; i++) memset(pieces[i], i + 1, counts[i] * sizes[i]);
    for (int i = 0; i < N_PIECES; i++)
        for (size_t j = 0; j < counts[i] * sizes[i]; j++) cr_assert_eq(pieces[i][j], i + 1);
    arena_free(&a);
}

Test(arena, a_size_that_wraps_is_remembered_and_refused)
{
    static const size_t huge[][2] = {
        {SIZE_MAX, 1}, {SIZE_MAX, 2}, {SIZE_MAX / 2 + 1, 2}, {(size_t)1 << 32, (size_t)1 << 32}, {SIZE_MAX - 126, 1},
    };
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        struct arena a = {0};
        arena_take(&a, 10, 1);
        cr_expect_null(arena_take(&a, huge[i][0], huge[i][1]));
        cr_expect(a.overflow, "%zu x %zu", huge[i][0], huge[i][1]);
        arena_take(&a, 10, 1); /* a later good piece does not make it good again */
        cr_expect(!arena_commit(&a, false));
        cr_expect_null(a.base);
    }
}

Test(arena, a_sum_that_wraps_is_remembered_and_refused)
{
    struct arena a = {0};
    for (int i = 0; i < 3; i++) arena_take(&a, SIZE_MAX / 2, 1);
    cr_expect(a.overflow);
    cr_expect(!arena_commit(&a, false));
}

Test(arena, carving_more_than_was_measured_gives_nothing)
{
    struct arena a = {0};
    arena_take(&a, 100, 1);
    cr_assert(arena_commit(&a, false));
    cr_expect_not_null(arena_take(&a, 100, 1));
    cr_expect_null(arena_take(&a, 1, 1));
    cr_expect(a.overflow);
    arena_free(&a);
}

Test(arena, memory_that_is_short_is_reported_and_nothing_is_owned)
{
    struct arena a = {0};
    arena_take(&a, 100, 1);
    memory_fail_after(1);
    cr_expect(!arena_commit(&a, false));
    cr_expect_null(a.base);
    arena_free(&a);
    cr_expect_eq(a.used, 0u);
}

Test(arena, free_leaves_an_empty_arena)
{
    struct arena a = {0};
    arena_take(&a, 100, 1);
    cr_assert(arena_commit(&a, false));
    arena_free(&a);
    cr_expect(a.base == NULL && a.used == 0 && a.capacity == 0 && !a.overflow);
    arena_free(&a);
}
