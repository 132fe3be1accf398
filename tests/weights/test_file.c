/* Files mapped and read: as much as is needed, in the face of a system that gives less, nothing, or too late. */
#include "weights/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/faults.h"
#include "tests/support/folder.h"
#include "tests/weights/expect.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(file, .init = create, .fini = destroy);

enum { BYTES = 3 * FILE_HEAD_BYTES + 500 };

/* The bytes that were written, and one more for files that become longer. */
static unsigned char *write_file(size_t n)
{
    unsigned char *bytes = malloc(n + 1);
    cr_assert(bytes);
    for (size_t i = 0; i <= n; i++) bytes[i] = (unsigned char)(1 + i % 251);
    folder_write(&folder, "f", bytes, n);
    return bytes;
}

static struct file_map open_file(enum file_access access)
{
    struct file_map map;
    struct failure f = {0};
    sluice_status status = file_map_open(&map, folder_path(&folder, "f"), "f", UINT64_MAX, access, &f);
    cr_assert_eq(status, SLUICE_OK, "%s", f.text);
    return map;
}

static void expect_failure(const struct file_map *map, const char *line)
{
    struct failure f = {0};
    cr_expect_eq(file_map_check(map, "f", &f), SLUICE_IO);
    cr_expect_str_eq(f.text, line, "\n     got: %s\nexpected: %s", f.text, line);
}

static bool is_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

Test(file, what_is_needed_is_read_and_no_more)
{
    unsigned char *bytes = write_file(BYTES);
    struct file_map map = open_file(FILE_READ);
    cr_expect(file_map_is_read(&map) && map.bytes == BYTES);
    cr_expect_eq(file_map_missing(&map), (size_t)BYTES - FILE_HEAD_BYTES);
    cr_expect_arr_eq(map.data, bytes, FILE_HEAD_BYTES);
    cr_expect(is_zero(map.data + FILE_HEAD_BYTES, BYTES - FILE_HEAD_BYTES), "nothing else yet");
    fault_arm(FAULT_OPEN, 0, 0);
    file_map_need(&map, FILE_HEAD_BYTES);
    cr_expect_eq(fault_count(FAULT_OPEN), 0u);
    file_map_need(&map, FILE_HEAD_BYTES + 1);
    cr_expect_eq(fault_count(FAULT_OPEN), 1u);
    cr_expect_eq(file_map_missing(&map), (size_t)BYTES - 2 * FILE_HEAD_BYTES);
    file_map_need(&map, BYTES);
    cr_expect_eq(file_map_missing(&map), 0u);
    cr_expect_arr_eq(map.data, bytes, BYTES);
    cr_assert_eq(truncate(folder_path(&folder, "f"), 0), 0);
    cr_expect_eq(file_map_check(&map, "f", NULL), SLUICE_OK, "all is in memory");
    file_map_close(&map);
    cr_expect_null(map.data);
    free(bytes);
}

Test(file, a_mapped_file_is_all_there)
{
    unsigned char *bytes = write_file(BYTES);
    struct file_map map = open_file(FILE_MAPPED);
    cr_expect(!file_map_is_read(&map) && file_map_missing(&map) == 0);
    file_map_need(&map, BYTES);
    cr_expect_arr_eq(map.data, bytes, BYTES);
    cr_expect_eq(file_map_check(&map, "f", NULL), SLUICE_OK);
    folder_write(&folder, "f", bytes, BYTES + 1);
    cr_expect_eq(file_map_check(&map, "f", NULL), SLUICE_OK, "longer does no harm");
    cr_assert_eq(truncate(folder_path(&folder, "f"), BYTES - 1), 0);
    expect_failure(&map, "f: became shorter while it was in use: 3146227 bytes, expected 3146228");
    file_map_close(&map);
    expect_nothing_left(folder.path);
    free(bytes);
}

Test(file, empty_files_are_neither_mapped_nor_read)
{
    folder_write(&folder, "f", "", 0);
    for (int access = FILE_MAPPED; access <= FILE_READ; access++) {
        struct file_map map = open_file((enum file_access)access);
        cr_expect(!map.data && !map.bytes && !file_map_is_read(&map));
        file_map_need(&map, 0);
        cr_expect_eq(file_map_check(&map, "f", NULL), SLUICE_OK);
        file_map_close(&map);
    }
}

Test(file, reading_goes_on_after_short_and_interrupted_reads)
{
    unsigned char *bytes = write_file(BYTES);
    static const int errors[] = {FAULT_SHORT, EINTR};
    for (int i = 0; i < 2; i++)
        for (unsigned nth = 1; nth <= 2; nth++) {
            fault_arm(FAULT_PREAD, nth, errors[i]);
            struct file_map map = open_file(FILE_READ);
            file_map_need(&map, BYTES);
            cr_expect(fault_disarm());
            cr_expect_arr_eq(map.data, bytes, BYTES);
            cr_expect_eq(file_map_check(&map, "f", NULL), SLUICE_OK);
            file_map_close(&map);
        }
    free(bytes);
}

Test(file, what_cannot_be_read_stays_zero_and_is_told)
{
    static const struct {
        enum fault_call call;
        unsigned nth;
        int error;
        const char *line;
    } rows[] = {
        {FAULT_PREAD, 1, EIO, "f: cannot read: Input/output error"},
        {FAULT_PREAD, 2, EIO, "f: cannot read: Input/output error"},
        {FAULT_OPEN, 2, EACCES, "f: cannot read: Permission denied"},
        {FAULT_FSTAT, 2, EIO, "f: cannot read: Input/output error"},
        {FAULT_PREAD, 2, FAULT_CUT, "f: became shorter while it was in use: 1048581 bytes, expected 3146228"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char *bytes = write_file(BYTES);
        fault_cut_bytes = FILE_HEAD_BYTES + 5;
        fault_arm(rows[i].call, rows[i].nth, rows[i].error);
        struct file_map map = open_file(FILE_READ);
        file_map_need(&map, BYTES);
        cr_expect(fault_disarm());
        expect_failure(&map, rows[i].line);
        cr_expect(is_zero(map.data + FILE_HEAD_BYTES + 5, BYTES - FILE_HEAD_BYTES - 5), "row %zu", i);
        fault_arm(FAULT_OPEN, 0, 0);
        file_map_need(&map, BYTES);
        cr_expect_eq(fault_count(FAULT_OPEN), 0u, "it is not tried again");
        file_map_close(&map);
        free(bytes);
    }
}

Test(file, a_file_that_grew_again_is_still_torn)
{
    unsigned char *bytes = write_file(BYTES);
    struct file_map map = open_file(FILE_READ);
    cr_assert_eq(truncate(folder_path(&folder, "f"), FILE_HEAD_BYTES), 0);
    file_map_need(&map, BYTES);
    cr_assert_eq(truncate(folder_path(&folder, "f"), BYTES), 0);
    expect_failure(&map, "f: a part of it could not be read while it was in use");
    file_map_close(&map);
    free(bytes);
}

Test(file, no_request_for_memory_is_taken_for_granted)
{
    free(write_file(BYTES));
    for (int access = FILE_MAPPED; access <= FILE_READ; access++)
        for (uint64_t n = 1; n <= (access == FILE_READ ? 2u : 1u); n++) {
            struct file_map map;
            struct failure f = {0};
            memory_fail_after(n);
            cr_expect_eq(file_map_open(&map, folder_path(&folder, "f"), "f", UINT64_MAX, (enum file_access)access, &f),
                         SLUICE_MEMORY);
            memory_fail_after(0);
            cr_expect(strncmp(f.text, "f: ", 3) == 0, "%s", f.text);
            cr_expect_null(map.data);
        }
    expect_nothing_left(folder.path);
}
