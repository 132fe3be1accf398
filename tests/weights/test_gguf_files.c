/* GGUF models of several files, and folders that hold a GGUF model. The numbers G38..G40 are rows of a catalogue of
 * known attacks and mistakes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/folder.h"
#include "tests/support/gguf.h"
#include "tests/weights/expect.h"

static struct test_folder folder;
static struct gguf_draft d;
static void create(void) { folder_create(&folder); }
static void destroy(void)
{
    folder_remove(&folder);
    draft_free(&d);
}
TestSuite(gguf_files, .init = create, .fini = destroy);

enum { ALL = ARCHIVE_TENSORS | ARCHIVE_CONFIG };
enum { F32 = 0, I32 = 26 }; /* numbers of the format */

static void start(uint64_t n_tensors, uint64_t n_keys) { draft_start(&d, 3, n_tensors, n_keys); }

/* ---- G38..G40: split models -------------------------------------------------------------------------------------- */

#define PART_1 "tiny-00001-of-00003.gguf"
#define PART_2 "tiny-00002-of-00003.gguf"
#define PART_3 "tiny-00003-of-00003.gguf"

/* A part with one tensor of 8 floats, of which the first has the value `value`. */
static void write_part(const char *file, const char *architecture, unsigned no, unsigned count, unsigned total,
                       const char *tensor, unsigned value)
{
    start(1, architecture ? 4 : 3);
    if (architecture) draft_key_text(&d, "general.architecture", architecture);
    draft_key_number(&d, "split.no", 2, no, 2);
    draft_key_number(&d, "split.count", 2, count, 2);
    draft_key_number(&d, "split.tensors.count", 5, total, 4);
    draft_tensor(&d, tensor, 1, (uint64_t[]){8}, I32, 0);
    draft_align(&d, 32);
    draft_number(&d, value, 4);
    draft_zeros(&d, 28);
    draft_save(&d, &folder, file);
}

static void write_split(const char *subfolder)
{
    char path[100];
    static const char *const names[] = {PART_1, PART_2, PART_3};
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", subfolder, names[i]);
        write_part(path, i ? NULL : "x", i, 3, 3, (const char *[]){"b", "c", "a"}[i], i + 1);
    }
}

/* A part whose keys are 112 MB of zeros, all of them holes in the file. */
static void write_part_of_holes(const char *file, unsigned no)
{
    enum { N_ARRAYS = 7, HOLE = 16777216 };
    size_t written = 0;
    FILE *out = fopen(folder_path(&folder, file), "wb");
    cr_assert(out);
    start(0, 3 + N_ARRAYS);
    draft_key_number(&d, "split.no", 2, no, 2);
    draft_key_number(&d, "split.count", 2, 3, 2);
    draft_key_number(&d, "split.tensors.count", 5, 0, 4);
    for (int i = 0; i < N_ARRAYS; i++) {
        draft_array(&d, (const char[]){(char)('a' + i), 0}, 0, HOLE);
        cr_assert_eq(fwrite(d.data + written, 1, d.n - written, out), d.n - written);
        written = d.n;
        cr_assert_eq(fseek(out, HOLE, SEEK_CUR), 0);
    }
    cr_assert_eq(fflush(out), 0);
    cr_assert_eq(ftruncate(fileno(out), ftell(out)), 0);
    fclose(out);
}

static void split_refused(const char *file, sluice_status status, const char *sentence)
{
    expect_refused(folder_path(&folder, file), ALL, status, sentence);
}

static void expect_split(const char *path)
{
    struct archive *a = expect_opened(folder_path(&folder, path), ALL);
    cr_expect_eq((int)archive_format(a), (int)ARCHIVE_GGUF);
    cr_assert_eq(archive_n_tensors(a), 3u);
    static const char *const files[] = {PART_3, PART_1, PART_2};
    for (size_t i = 0; i < 3; i++) {
        const struct tensor_view *t = archive_tensor(a, i);
        cr_expect_eq(t->name[0], (char)('a' + i));
        cr_expect_str_eq(t->file, files[i]);
        cr_expect_eq(t->data[0], (unsigned char)(files[i][9] - '0'));
    }
    cr_expect_str_eq(archive_meta(a, DOCUMENT_GGUF, "general.architecture").string, "x");
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "split.count").integer, 3);
    archive_close(&a);
}

Test(gguf_files, headers_of_all_parts_have_one_limit, .timeout = 600)
{
    write_part_of_holes(PART_1, 0);
    write_part_of_holes(PART_2, 1);
    write_part_of_holes(PART_3, 2);
    split_refused(PART_1, SLUICE_FORMAT,
                  PART_3 ": header: all headers up to here have 352322379 bytes, expected at most 268435456");
}

Test(gguf_files, parts_of_a_split_model_are_found_beside_the_first)
{
    write_split("model/");
    expect_split("model/" PART_1);
    expect_split("model");
    folder_link(&folder, "elsewhere", "model");
    expect_split("elsewhere/" PART_1);
    cr_assert_eq(chdir(folder_path(&folder, "model")), 0);
    struct archive *a = expect_opened(PART_1, ALL);
    cr_expect_str_eq(archive_name(a), PART_1);
    archive_close(&a);
    folder_delete(&folder, "model/" PART_2); /* metadata come from the first part alone */
    a = expect_opened(PART_1, ARCHIVE_CONFIG);
    cr_expect_eq(archive_n_tensors(a), 0u);
    archive_close(&a);
}

Test(gguf_files, parts_in_a_hub_cache)
{
    static const char *const names[] = {PART_1, PART_2, PART_3};
    write_split("hub/models--org--tiny/blobs/");
    folder_write_text(&folder, "hub/models--org--tiny/refs/main", "0123abcd");
    for (int i = 0; i < 3; i++) {
        char link[200], target[200];
        snprintf(link, sizeof link, "hub/models--org--tiny/snapshots/0123abcd/%s", names[i]);
        snprintf(target, sizeof target, "../../blobs/%s", names[i]);
        folder_link(&folder, link, target);
    }
    expect_split("hub/models--org--tiny/snapshots/0123abcd/" PART_1);
    expect_split("hub/models--org--tiny/snapshots/0123abcd");
    expect_split("hub/models--org--tiny");
    /* Outside a hub cache a part is a file of the folder. */
    write_split("");
    folder_delete(&folder, PART_2);
    folder_link(&folder, PART_2, "hub/models--org--tiny/blobs/" PART_2);
    expect_split(PART_1);
    folder_write_text(&folder, "model/" PART_3, "");
    folder_link(&folder, "model/" PART_1, "../" PART_1);
    folder_link(&folder, "model/" PART_2, "../" PART_2);
    split_refused("model/" PART_1, SLUICE_FORMAT, PART_2 ": is a link that leads out of the model's folder");
}

Test(gguf_files, g38_counts_of_parts)
{
    write_split("");
    write_part(PART_1, "x", 0, 4, 3, "b", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": split: file name says 3 parts, key says 4");
    write_part(PART_1, "x", 0, 1, 3, "b", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": split: file name says 3 parts, key says 1");
    write_part(PART_1, "x", 0, 0, 3, "b", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": split: file name says 3 parts, key says 1");
    write_part(PART_1, "x", 0, 65535, 3, "b", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": key \"split.count\": 65535 is outside 0..4096");
    write_part(PART_1, "x", 3, 3, 3, "b", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": key \"split.no\": 3 is outside 0..2");
    write_part(PART_1, "x", 1, 3, 3, "b", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": split: file name says part 1, key says part 2");
    write_part(PART_1, "x", 0, 3, 4, "b", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": split: split.tensors.count is 4, but the parts have 3 tensors");
    write_part("renamed.gguf", "x", 0, 3, 3, "b", 1);
    split_refused("renamed.gguf", SLUICE_FORMAT,
                  "renamed.gguf: split: part 1 of 3 must have a name that ends in -00001-of-00003.gguf");
    start(0, 1);
    draft_key_text(&d, "split.count", "3");
    draft_save(&d, &folder, PART_1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": key \"split.count\": expected an unsigned integer, found string");
    start(0, 0); /* keys are needed: a file that was cut into pieces is not split */
    draft_save(&d, &folder, PART_1);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": split: file name says 3 parts, key says 1");
    draft_save(&d, &folder, "whole-00001-of-00001.gguf");
    struct archive *a = expect_opened(folder_path(&folder, "whole-00001-of-00001.gguf"), ALL);
    archive_close(&a);
    draft_save(&d, &folder, "odd-00004-of-00003.gguf"); /* no part of anything */
    a = expect_opened(folder_path(&folder, "odd-00004-of-00003.gguf"), ALL);
    archive_close(&a);
}

Test(gguf_files, merged_parts_say_that_they_have_no_parts)
{
    write_part("merged.gguf", "x", 0, 0, 3, "b", 1);
    struct archive *a = expect_opened(folder_path(&folder, "merged.gguf"), ALL);
    cr_expect_eq(archive_n_tensors(a), 1u);
    archive_close(&a);
}

Test(gguf_files, g39_parts_that_do_not_belong_together)
{
    write_split("");
    folder_delete(&folder, PART_2);
    split_refused(PART_1, SLUICE_FORMAT, PART_1 ": split: part 2 of 3 is missing (" PART_2 ")");
    write_part(PART_2, NULL, 0, 3, 3, "c", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_2 ": split: file name says part 2, key says part 1");
    write_part(PART_2, NULL, 1, 2, 3, "c", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_2 ": split: file name says 3 parts, key says 2");
    write_part(PART_2, "y", 1, 3, 3, "c", 1);
    split_refused(PART_1, SLUICE_FORMAT, PART_2 ": split: architecture \"y\", but \"x\" in the first part");
    write_part(PART_2, NULL, 1, 3, 3, "b", 1); /* T03, in two parts */
    split_refused(PART_1, SLUICE_FORMAT, PART_2 ": tensor \"b\": appears twice");
    folder_write_text(&folder, PART_2, "GGUF");
    split_refused(PART_1, SLUICE_FORMAT, PART_2 ": header: file too short (4 bytes, need 24)");
    write_part(PART_2, "x", 1, 3, 3, "c", 1); /* the same architecture again is fine */
    struct archive *a = expect_opened(folder_path(&folder, PART_1), ALL);
    archive_close(&a);
}

Test(gguf_files, g40_a_later_part)
{
    write_split("");
    split_refused(PART_2, SLUICE_ARGUMENT, PART_2 ": split: open the first part (" PART_1 ")");
    expect_refused(folder_path(&folder, PART_3), 0, SLUICE_ARGUMENT,
                   PART_3 ": split: open the first part (" PART_1 ")");
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static void write_named(const char *path)
{
    start(1, 1);
    draft_key_text(&d, "name", path);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 0);
    draft_align(&d, 32);
    draft_zeros(&d, 32);
    draft_save(&d, &folder, path);
}

static void expect_named(const char *file)
{
    struct archive *a = expect_opened(folder_path(&folder, "m"), ALL);
    cr_expect_eq((int)archive_format(a), (int)ARCHIVE_GGUF);
    cr_expect_str_eq(archive_name(a), "m");
    cr_expect_str_eq(archive_meta(a, DOCUMENT_GGUF, "name").string, file);
    cr_expect_str_eq(archive_find(a, "a")->file, strchr(file, '/') + 1);
    archive_close(&a);
}

Test(gguf_files, a_folder_stands_for_its_only_model)
{
    write_named("m/q4.gguf");
    expect_named("m/q4.gguf");
    folder_write_text(&folder, "m/README.md", "");
    folder_write_text(&folder, "m/other.gguf.txt", "");
    folder_make(&folder, "m/more.gguf");
    expect_named("m/q4.gguf");
    folder_write_text(&folder, "m/config.json", "{}");
    expect_named("m/q4.gguf");
    folder_write_tensors(&folder, "m/model.safetensors", NULL, 0);
    struct archive *a = expect_opened(folder_path(&folder, "m"), ALL);
    cr_expect_eq((int)archive_format(a), (int)ARCHIVE_FOLDER, "a whole Hugging Face folder comes first");
    archive_close(&a);
    folder_delete(&folder, "m/config.json");
    expect_named("m/q4.gguf");
    folder_delete(&folder, "m/q4.gguf");
    folder_link(&folder, "m/q4.gguf", "nowhere");
    char sentence[2000];
    snprintf(sentence, sizeof sentence, "%s: q4.gguf: cannot open: No such file or directory",
             folder_path(&folder, "m"));
    expect_refused(folder_path(&folder, "m"), ALL, SLUICE_IO, sentence);
    folder_delete(&folder, "m/q4.gguf");
    folder_link(&folder, "m/q4.gguf", "/etc/passwd");
    expect_refused(folder_path(&folder, "m"), ALL, SLUICE_FORMAT,
                   "q4.gguf: is a link that leads out of the model's folder");
}

Test(gguf_files, a_folder_with_several_models_asks)
{
    write_named("m/q4.gguf");
    write_named("m/b\x1b.gguf");
    expect_refused(folder_path(&folder, "m"), ALL, SLUICE_ARGUMENT,
                   "m: holds several GGUF models: name one of b\\x1b.gguf, q4.gguf");
    folder_delete(&folder, "m/b\x1b.gguf");
    write_split("m/");
    expect_refused(folder_path(&folder, "m"), 0, SLUICE_ARGUMENT,
                   "m: holds several GGUF models: name one of q4.gguf, " PART_1);
    for (int i = 0; i < 9; i++) {
        char name[20];
        snprintf(name, sizeof name, "m/%d.gguf", i);
        write_named(name);
    }
    expect_refused(folder_path(&folder, "m"), ALL, SLUICE_ARGUMENT,
                   "m: holds several GGUF models: name one of 0.gguf, 1.gguf, 2.gguf, 3.gguf, 4.gguf, 5.gguf, 6.gguf, "
                   "7.gguf, ...");
}

Test(gguf_files, a_folder_without_the_first_part)
{
    write_split("m/");
    folder_delete(&folder, "m/" PART_1);
    expect_refused(folder_path(&folder, "m"), ALL, SLUICE_FORMAT, "m: split: part 1 of 3 is missing (" PART_1 ")");
}

/* ---- allocation failures ----------------------------------------------------------------------------------------- */

static void sweep(const char *path, sluice_status expected)
{
    expect_sweep(folder_path(&folder, path), ALL, expected, folder.path);
}

Test(gguf_files, every_allocation_may_fail, .timeout = 600)
{
    write_named("m/only.gguf");
    sweep("m", SLUICE_OK);
    write_split("");
    sweep(PART_1, SLUICE_OK);
    write_part(PART_3, NULL, 2, 3, 3, "b", 1);
    sweep(PART_1, SLUICE_FORMAT);
    folder_delete(&folder, PART_2);
    sweep(PART_1, SLUICE_FORMAT);
    sweep(PART_3, SLUICE_ARGUMENT);
}
