/* Tests of tools/npy.c: the bytes of the header, rows in any order, and that failure leaves nothing behind. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/npy.h"

static char folder[] = "/tmp/test-npy-XXXXXX";
static char path[64];
static sluice_error error;

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.npy", folder);
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static int count_files(void)
{
    int n = 0;
    DIR *listing = opendir(folder);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;) n += entry->d_name[0] != '.';
    closedir(listing);
    return n;
}

TestSuite(npy, .init = make_folder, .fini = remove_folder);

/* The header as the format's description wants it, for a shape whose text is given. */
static void expect_header(enum npy_type type, const size_t *shape, size_t n_dims, const char *dictionary)
{
    char header[NPY_MAX_HEADER];
    size_t n = npy_make_header(header, type, shape, n_dims);
    cr_expect_eq(n % 64, 0);
    cr_expect_arr_eq(header, "\x93NUMPY\x01\x00", 8);
    cr_expect_eq((unsigned char)header[8] + 256u * (unsigned char)header[9], n - 10);
    cr_expect_arr_eq(header + 10, dictionary, strlen(dictionary));
    for (size_t i = 10 + strlen(dictionary); i + 1 < n; i++) cr_expect_eq(header[i], ' ');
    cr_expect_eq(header[n - 1], '\n');
}

Test(npy, header_names_type_and_shape)
{
    expect_header(NPY_FLOAT32, (size_t[]){43, 512}, 2,
                  "{'descr': '<f4', 'fortran_order': False, 'shape': (43, 512), }");
    expect_header(NPY_INT32, (size_t[]){7}, 1, "{'descr': '<i4', 'fortran_order': False, 'shape': (7,), }");
    expect_header(NPY_INT32, (size_t[]){2, 3, 4}, 3, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3, 4), }");
    size_t large[4] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    char header[NPY_MAX_HEADER];
    cr_expect_leq(npy_make_header(header, NPY_FLOAT32, large, 4), NPY_MAX_HEADER);
}

Test(npy, rows_go_to_their_places_in_any_order)
{
    struct npy array;
    const float rows[3][2] = {{1, 2}, {3, 4}, {5, 6}};
    float read[3][2];
    cr_assert_eq(npy_create(&array, path, NPY_FLOAT32, (size_t[]){3, 2}, 2, &error), SLUICE_OK, "%s", error.text);
    cr_expect_eq(npy_write(&array, 1, 2, rows[1], &error), SLUICE_OK);
    cr_expect_neq(access(path, F_OK), 0, "the name exists before the array is complete");
    cr_expect_eq(npy_write(&array, 0, 1, rows[0], &error), SLUICE_OK);
    cr_expect_eq(npy_commit(&array, &error), SLUICE_OK);
    npy_discard(&array);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    fseek(file, 128, SEEK_SET);
    cr_expect_eq(fread(read, sizeof read, 1, file), 1);
    cr_expect_eq(fgetc(file), EOF);
    fclose(file);
    cr_expect_arr_eq(read, rows, sizeof rows);
    cr_expect_eq(count_files(), 1);
}

Test(npy, an_old_file_stays_until_the_new_one_is_complete)
{
    struct npy array;
    FILE *old = fopen(path, "w");
    fputs("old", old);
    fclose(old);
    cr_assert_eq(npy_create(&array, path, NPY_INT32, (size_t[]){1}, 1, &error), SLUICE_OK);
    npy_discard(&array);
    char text[4] = "";
    old = fopen(path, "r");
    cr_expect_eq(fread(text, 1, 3, old), 3);
    fclose(old);
    cr_expect_str_eq(text, "old");
    cr_expect_eq(count_files(), 1);
}

Test(npy, discarding_leaves_nothing)
{
    struct npy array = {0};
    npy_discard(&array);
    cr_assert_eq(npy_create(&array, path, NPY_INT32, (size_t[]){2, 1}, 2, &error), SLUICE_OK);
    cr_expect_eq(count_files(), 1);
    npy_discard(&array);
    cr_expect_eq(count_files(), 0);
    npy_discard(&array);
}

Test(npy, a_missing_row_is_an_error_and_leaves_nothing)
{
    struct npy array;
    int32_t number = 1;
    cr_assert_eq(npy_create(&array, path, NPY_INT32, (size_t[]){2, 1}, 2, &error), SLUICE_OK);
    cr_expect_eq(npy_write(&array, 0, 1, &number, &error), SLUICE_OK);
    cr_expect_eq(npy_commit(&array, &error), SLUICE_IO);
    cr_expect(strstr(error.text, "1 of 2 rows were written"), "%s", error.text);
    cr_expect_eq(count_files(), 0);
}

Test(npy, a_place_that_cannot_be_written_is_an_error)
{
    struct npy array;
    cr_expect_eq(npy_create(&array, "/nonexistent-folder/a.npy", NPY_INT32, (size_t[]){1}, 1, &error), SLUICE_IO);
    cr_expect_str_eq(error.text, "\"/nonexistent-folder/a.npy\": No such file or directory");
    cr_expect_eq(npy_create(&array, "/dev/null", NPY_INT32, (size_t[]){1}, 1, &error), SLUICE_IO);
    cr_expect_str_eq(error.text, "\"/dev/null\": exists and is not a regular file");
    cr_expect_eq(npy_create(&array, folder, NPY_INT32, (size_t[]){1}, 1, &error), SLUICE_IO);
}
