/* Writes of the program that fail, are interrupted or give less than asked: an array is there and right, or what was
 * there before still is. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/faults.h"
#include "tests/support/folder.h"
#include "tools/npy.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(faults, .init = create, .fini = destroy);

static size_t n_files(void)
{
    size_t n = 0;
    DIR *d = opendir(folder.path);
    cr_assert(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* The file's bytes, cut at 1000. */
static size_t content(char out[1000])
{
    FILE *file = fopen(folder_path(&folder, "a.npy"), "rb");
    if (!file) return 0;
    size_t n = fread(out, 1, 1000, file);
    fclose(file);
    return n;
}

static sluice_status write_array(sluice_error *error)
{
    static const float rows[4][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}};
    struct npy array;
    *error = (sluice_error){0};
    sluice_status status = npy_create(&array, folder_path(&folder, "a.npy"), NPY_FLOAT32, (size_t[]){4, 3}, 2, error);
    if (status) return status;
    status = npy_write(&array, 2, 2, rows[2], error);
    if (!status) status = npy_write(&array, 0, 2, rows[0], error);
    if (!status) return npy_commit(&array, error);
    npy_discard(&array);
    return status;
}

/* Lets every call of one kind go wrong once, with a file of that name there before or not. */
static void sweep(enum fault_call call, int error_number, bool must_work)
{
    char right[1000], found[1000];
    sluice_error error;
    cr_assert_eq(write_array(&error), SLUICE_OK, "%s", error.text);
    const size_t n_right = content(right);
    cr_assert_gt(n_right, 48u);
    fault_arm(call, 0, 0);
    cr_assert_eq(write_array(&error), SLUICE_OK);
    const unsigned n = fault_count(call);
    cr_assert_gt(n, 0u, "%s", fault_names[call]);
    for (unsigned i = 0; i < 2 * n; i++) {
        const bool there = i % 2;
        if (there)
            folder_write_text(&folder, "a.npy", "precious");
        else
            folder_delete(&folder, "a.npy");
        fault_arm(call, i / 2 + 1, error_number);
        sluice_status status = write_array(&error);
        cr_expect(fault_disarm());
        if (must_work) cr_expect_eq(status, SLUICE_OK, "%s: %s", fault_names[call], error.text);
        const size_t n_found = content(found);
        if (status == SLUICE_OK) {
            cr_expect(n_found == n_right && memcmp(found, right, n_right) == 0, "%s", fault_names[call]);
        } else {
            cr_expect_eq(status, SLUICE_IO);
            cr_expect(strstr(error.text, strerror(error_number)) && !strchr(error.text, '\n'), "%s", error.text);
            cr_expect_eq(n_found, there ? 8u : 0u);
            if (there) cr_expect_arr_eq(found, "precious", 8);
        }
        cr_expect_eq(n_files(), status == SLUICE_OK || there ? 1u : 0u, "%s leaves something", fault_names[call]);
        if (n_files() == 0) folder_write_text(&folder, "a.npy", "for the next turn");
    }
}

Test(faults, an_array_is_written_whole_or_not_at_all)
{
    static const int errors[] = {ENOSPC, EIO};
    for (int i = 0; i < 2; i++) {
        sweep(FAULT_CREATE, errors[i], false);
        sweep(FAULT_PWRITE, errors[i], false);
        sweep(FAULT_CLOSE, errors[i], false); /* some file systems tell of a full disk only there */
        sweep(FAULT_RENAME, errors[i], false);
    }
    sweep(FAULT_CREATE, EINTR, true);
    sweep(FAULT_PWRITE, EINTR, true);
    sweep(FAULT_PWRITE, FAULT_SHORT, true);
    sweep(FAULT_CLOSE, EINTR, false);
}
