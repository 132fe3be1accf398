/* GGUF files: good ones give the right values and views, and each way to be malformed has its exact sentence. The
 * numbers G01..G25 and T01..T21 are rows of a catalogue of known attacks and crashes. Split models:
 * test_gguf_files.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/folder.h"
#include "tests/support/gguf.h"
#include "tests/weights/expect.h"
#include "weights/archive_parts.h"

static struct test_folder folder;
static struct gguf_draft d;
static void create(void) { folder_create(&folder); }
static void destroy(void)
{
    folder_remove(&folder);
    draft_free(&d);
}
TestSuite(gguf, .init = create, .fini = destroy);

enum { ALL = ARCHIVE_TENSORS | ARCHIVE_CONFIG };
enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, Q4_K = 12, BF16 = 30, MXFP4 = 39 }; /* numbers of the format */
#define FILE_NAME "m.gguf"

static struct archive *opened(unsigned flags)
{
    draft_save(&d, &folder, FILE_NAME);
    return expect_opened(folder_path(&folder, FILE_NAME), flags);
}

/* The draft is refused with "m.gguf: LINE". */
static void refused_as(sluice_status status, unsigned flags, const char *line)
{
    char sentence[5000];
    snprintf(sentence, sizeof sentence, "%s: %s", FILE_NAME, line);
    draft_save(&d, &folder, FILE_NAME);
    expect_refused(folder_path(&folder, FILE_NAME), flags, status, sentence);
}

/* Whatever the header says must hold even when tensors are not asked for. */
static void refused(const char *line)
{
    refused_as(SLUICE_FORMAT, ALL, line);
    refused_as(SLUICE_FORMAT, 0, line);
}

static void start(uint64_t n_tensors, uint64_t n_keys) { draft_start(&d, 3, n_tensors, n_keys); }

/* One key "x" of an unfinished file: its value follows. */
static void start_x(uint32_t type)
{
    start(0, 1);
    draft_key(&d, "x", type);
}

/* One tensor "a" with two dimensions, innermost first, and `bytes` of data. */
static void start_a(uint64_t dim0, uint64_t dim1, uint32_t type, uint64_t offset, size_t bytes)
{
    start(1, 0);
    draft_tensor(&d, "a", 2, (uint64_t[]){dim0, dim1}, type, offset);
    draft_align(&d, 32);
    draft_zeros(&d, bytes);
}

/* ---- good files: metadata ---------------------------------------------------------------------------------------- */

static const struct {
    uint32_t type;
    const char *name;
    uint64_t bits;
    size_t bytes;
    enum meta_kind kind;
    int64_t integer;
    double number;
} numbers[] = {
    {0, "uint8", 200, 1, META_INT, 200, 200},
    {1, "int8", 200, 1, META_INT, -56, -56},
    {2, "uint16", 60000, 2, META_INT, 60000, 60000},
    {3, "int16", 60000, 2, META_INT, -5536, -5536},
    {4, "uint32", 4000000000u, 4, META_INT, 4000000000, 4e9},
    {5, "int32", 4000000000u, 4, META_INT, -294967296, -294967296},
    {6, "float32", 0x3fc00000, 4, META_FLOAT, 0, 1.5},
    {7, "bool", 1, 1, META_BOOL, 0, 0},
    {10, "uint64", (uint64_t)1 << 63, 8, META_INT, INT64_MAX, 9223372036854775808.0},
    {11, "int64", UINT64_MAX - 1, 8, META_INT, -2, -2},
    {12, "float64", 0xbff8000000000000, 8, META_FLOAT, 0, -1.5},
};
enum { N_NUMBERS = sizeof numbers / sizeof *numbers };

static void expect_number(struct meta m, int i)
{
    cr_expect_eq((int)m.kind, (int)numbers[i].kind, "%s", numbers[i].name);
    cr_expect_str_eq(m.type, numbers[i].name);
    cr_expect_eq(m.integer, numbers[i].integer, "%s", numbers[i].name);
    cr_expect_eq(m.number, numbers[i].number, "%s", numbers[i].name);
    cr_expect_eq(m.boolean, numbers[i].kind == META_BOOL);
}

Test(gguf, every_type_of_value_in_both_versions)
{
    for (uint32_t version = 2; version <= 3; version++) {
        draft_start(&d, version, 0, 2 * N_NUMBERS + 2);
        draft_key(&d, "z.text", 8);
        draft_number(&d, 4, 8);
        draft_bytes(&d, "a\0\xff.", 4);
        for (int i = 0; i < N_NUMBERS; i++) {
            char list[40];
            draft_key_number(&d, numbers[i].name, numbers[i].type, numbers[i].bits, numbers[i].bytes);
            snprintf(list, sizeof list, "list of %s", numbers[i].name);
            draft_array(&d, list, numbers[i].type, 3);
            for (int k = 0; k < 3; k++) draft_number(&d, k == 1 ? numbers[i].bits : 0, numbers[i].bytes);
        }
        draft_array(&d, "texts", 8, 3);
        draft_text(&d, "first");
        draft_text(&d, "");
        draft_text(&d, "third");

        struct archive *a = opened(ARCHIVE_CONFIG);
        cr_expect_eq((int)archive_format(a), (int)ARCHIVE_GGUF);
        cr_expect_str_eq(archive_name(a), FILE_NAME);
        for (int i = 0; i < N_NUMBERS; i++) {
            char list[40], type[40];
            snprintf(list, sizeof list, "list of %s", numbers[i].name);
            snprintf(type, sizeof type, "array of %s", numbers[i].name);
            expect_number(archive_meta(a, DOCUMENT_GGUF, numbers[i].name), i);
            struct meta m = archive_meta(a, DOCUMENT_GGUF, list);
            cr_assert(m.kind == META_ARRAY && m.n == 3);
            cr_expect_str_eq(m.type, type);
            expect_number(meta_element(m, 1), i);
            cr_expect_eq(meta_element(m, 2).number, 0.0);
            cr_expect_not(meta_element(m, 0).boolean);
        }
        struct meta m = archive_meta(a, DOCUMENT_GGUF, "z.text");
        cr_expect(m.kind == META_STRING && m.n == 4 && memcmp(m.string, "a\0\xff.", 5) == 0, "with a NUL at the end");
        cr_expect_str_eq(m.type, "string");
        m = archive_meta(a, DOCUMENT_GGUF, "texts");
        cr_expect_str_eq(m.type, "array of string");
        static const char *const texts[] = {"first", "", "third"};
        for (size_t i = 0; i < 3; i++) {
            cr_expect_str_eq(meta_element(m, i).string, texts[i]);
            cr_expect_eq(meta_element(m, i).n, strlen(texts[i]));
            cr_expect_str_eq(meta_element(m, i).type, "string");
        }
        archive_close(&a);
    }
}

Test(gguf, keys_come_in_the_order_of_the_file)
{
    start(0, 3);
    draft_key_text(&d, "z", "1");
    draft_key_text(&d, "a.b", "2");
    draft_key_text(&d, "m", "3");
    struct archive *a = opened(0);
    static const char *const keys[] = {"z", "a.b", "m"};
    struct meta m;
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(archive_gguf_key(a, i, &m), keys[i]);
        cr_expect_str_eq(m.string, archive_meta(a, DOCUMENT_GGUF, keys[i]).string);
    }
    cr_expect_null(archive_gguf_key(a, 3, &m));
    cr_expect_eq((int)archive_meta(a, DOCUMENT_GGUF, "a").kind, (int)META_ABSENT);
    cr_expect_eq((int)archive_meta(a, DOCUMENT_GGUF, "").kind, (int)META_ABSENT);
    cr_expect_eq((int)archive_meta(a, DOCUMENT_CONFIG, "z").kind, (int)META_ABSENT);
    m = archive_meta(a, DOCUMENT_GGUF, "z");
    cr_expect_eq((int)meta_member(m, "z").kind, (int)META_ABSENT, "a value has no members");
    cr_expect_eq((int)meta_element(m, 0).kind, (int)META_ABSENT, "a string has no elements");
    size_t n;
    cr_expect_null(archive_text(a, TEXT_TOKENIZER, &n));
    cr_expect_null(archive_tensor_metadata(a, "format"));
    archive_close(&a);

    folder_write_text(&folder, "plain/config.json", "{}");
    a = expect_opened(folder_path(&folder, "plain"), ARCHIVE_CONFIG);
    cr_expect_eq((int)archive_format(a), (int)ARCHIVE_FOLDER);
    cr_expect_null(archive_gguf_key(a, 0, &m));
    cr_expect_eq((int)archive_meta(a, DOCUMENT_GGUF, "z").kind, (int)META_ABSENT);
    archive_close(&a);
}

Test(gguf, empty_arrays_and_strings)
{
    start(0, 3);
    draft_key_text(&d, "s", "");
    draft_array(&d, "a", 4, 0);
    draft_array(&d, "t", 8, 0);
    struct archive *a = opened(0);
    cr_expect_str_eq(archive_meta(a, DOCUMENT_GGUF, "s").string, "");
    cr_expect_eq((int)archive_meta(a, DOCUMENT_GGUF, "a").kind, (int)META_ARRAY);
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "a").n, 0u);
    cr_expect_eq((int)meta_element(archive_meta(a, DOCUMENT_GGUF, "t"), 0).kind, (int)META_ABSENT);
    archive_close(&a);
}

/* ---- good files: tensors ----------------------------------------------------------------------------------------- */

Test(gguf, tensors_give_views_outermost_dimension_first)
{
    static const uint32_t alignments[] = {8, 32, 64, 65536};
    for (int i = 0; i < 4; i++) {
        uint64_t alignment = alignments[i], at = 0;
        static const struct {
            const char *name;
            uint32_t type, n_dims;
            uint64_t dims[4], bytes;
            enum dtype dtype;
        } rows[] = {
            {"z", Q4_K, 2, {512, 3}, 864, DTYPE_Q4_K},   {"f", F32, 1, {3}, 12, DTYPE_F32},
            {"e", Q8_0, 3, {32, 4, 2}, 272, DTYPE_Q8_0}, {"h", BF16, 4, {5, 4, 3, 2}, 240, DTYPE_BF16},
            {"m", MXFP4, 2, {64, 1}, 34, DTYPE_MXFP4},   {"i", 26, 1, {1}, 4, DTYPE_I32},
            {"q", 19, 1, {256}, 50, DTYPE_IQ1_S},
        };
        enum { N = sizeof rows / sizeof *rows };
        start(N, 1);
        draft_key_number(&d, "general.alignment", 4, alignment, 4);
        for (int k = 0; k < N; k++) {
            draft_tensor(&d, rows[k].name, rows[k].n_dims, rows[k].dims, rows[k].type, at);
            at = (at + rows[k].bytes + alignment - 1) & ~(alignment - 1);
        }
        draft_align(&d, alignment);
        for (int k = 0; k < N; k++) {
            draft_align(&d, alignment);
            for (uint64_t b = 0; b < rows[k].bytes; b++) draft_number(&d, (uint64_t)rows[k].name[0] + b, 1);
        }
        struct archive *a = opened(ALL);
        cr_expect_null(archive_warning(a));
        cr_expect_eq(archive_n_tensors(a), (size_t)N);
        for (int k = 0; k < N; k++) {
            const struct tensor_view *t = archive_find(a, rows[k].name);
            cr_assert_not_null(t, "%s", rows[k].name);
            cr_expect_str_eq(t->file, FILE_NAME);
            cr_expect_eq((int)t->dtype, (int)rows[k].dtype);
            cr_expect_eq(t->n_dims, (int)rows[k].n_dims);
            cr_expect_eq(t->bytes, rows[k].bytes);
            for (int j = 0; j < t->n_dims; j++) cr_expect_eq(t->shape[j], rows[k].dims[t->n_dims - 1 - j]);
            cr_expect_eq((uintptr_t)t->data % 8, 0u);
            for (uint64_t b = 0; b < t->bytes; b++)
                cr_assert_eq(t->data[b], (unsigned char)((uint64_t)rows[k].name[0] + b));
        }
        cr_expect_str_eq(archive_tensor(a, 0)->name, "e", "sorted by name");
        archive_close(&a);
        a = opened(0);
        cr_expect_eq(archive_n_tensors(a), 0u, "not asked for");
        archive_close(&a);
    }
}

Test(gguf, a_vocabulary_needs_no_tensors)
{
    start(0, 1);
    draft_key_text(&d, "tokenizer.ggml.model", "gpt2");
    static const unsigned flags[] = {0, ARCHIVE_CONFIG, ALL};
    for (int i = 0; i < 3; i++) {
        struct archive *a = opened(flags[i]);
        cr_expect_eq(archive_n_tensors(a), 0u);
        cr_expect_null(archive_find(a, "a"));
        cr_expect_null(archive_warning(a));
        archive_close(&a);
    }
    start(0, 0);
    struct archive *a = opened(ALL);
    archive_close(&a);
}

Test(gguf, a_file_is_known_by_its_first_bytes)
{
    start(0, 1);
    draft_key_text(&d, "a", "b");
    draft_save(&d, &folder, "sha256-1234");
    struct archive *a = expect_opened(folder_path(&folder, "sha256-1234"), ALL);
    cr_expect_eq((int)archive_format(a), (int)ARCHIVE_GGUF);
    archive_close(&a);
    cr_assert_eq(chdir(folder.path), 0);
    a = expect_opened("sha256-1234", ALL);
    cr_expect_str_eq(archive_meta(a, DOCUMENT_GGUF, "a").string, "b");
    archive_close(&a);
}

Test(gguf, tensors_may_lie_in_any_order_with_padding)
{
    start(3, 0);
    draft_tensor(&d, "b", 1, (uint64_t[]){8}, F32, 96); /* 32 bytes unused before it */
    draft_tensor(&d, "a", 1, (uint64_t[]){1}, F32, 0);
    draft_tensor(&d, "c", 1, (uint64_t[]){8}, F32, 32);
    draft_align(&d, 32);
    draft_zeros(&d, 128);
    struct archive *a = opened(ALL);
    cr_expect_eq(archive_find(a, "b")->data - archive_find(a, "a")->data, 96);
    cr_expect_null(archive_warning(a));
    archive_close(&a);
}

Test(gguf, a_hundred_thousand_tensors_open_quickly, .timeout = 20)
{
    enum { N = 100000 };
    start(N, 0);
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%d.w", N - i);
        draft_tensor(&d, name, 1, (uint64_t[]){8}, F32, (uint64_t)i * 32);
    }
    draft_align(&d, 32);
    draft_zeros(&d, (size_t)N * 32);
    struct archive *a = opened(ALL);
    cr_expect_eq(archive_n_tensors(a), (size_t)N);
    cr_expect_not_null(archive_find(a, "blk.77777.w"));
    archive_close(&a);
}

/* Pages of a view that are in memory; the view's first page is not counted, the header may be in it. */
static size_t resident_pages(const struct tensor_view *t)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    unsigned char *begin = (unsigned char *)(((uintptr_t)t->data + page - 1) & ~(uintptr_t)(page - 1));
    size_t bytes = (size_t)(t->data + t->bytes - begin), pages = (bytes + page - 1) / page;
    unsigned char *vector = malloc(pages);
    cr_assert_eq(mincore(begin, bytes, vector), 0, "%s", strerror(errno));
    for (size_t i = 0; i < pages; i++) n += vector[i] & 1;
    free(vector);
    return n;
}

Test(gguf, opening_twenty_gigabytes_reads_only_the_header, .timeout = 30)
{
    uint64_t elements = 1700000000, bytes = elements * 4; /* three times 6.8 GB, of a hole: no disk used */
    start(3, 1);
    draft_key_text(&d, "general.architecture", "x");
    for (uint64_t i = 0; i < 3; i++)
        draft_tensor(&d, (const char *const[]){"a", "b", "c"}[i], 2, (uint64_t[]){1000000, 1700}, F32, i * bytes);
    draft_align(&d, 32);
    draft_save(&d, &folder, FILE_NAME);
    if (truncate(folder_path(&folder, FILE_NAME), (off_t)(d.n + 3 * bytes)) != 0) {
        destroy(); /* a skipped test ends here */
        cr_skip_test("the file system has no files of 20 GB");
    }
    struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ALL);
    size_t pages = 0;
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(archive_tensor(a, i)->bytes, bytes);
        pages += resident_pages(archive_tensor(a, i));
    }
    cr_expect_lt(pages, 16384u, "%zu pages were read", pages); /* what the system reads ahead, and no more */
    archive_close(&a);
}

/* ---- G01..G09: the header ---------------------------------------------------------------------------------------- */

static void bytes_refused(sluice_status status, const void *bytes, size_t n, const char *line)
{
    d.n = 0;
    draft_bytes(&d, bytes, n);
    refused_as(status, ALL, line);
    refused_as(status, 0, line);
}

Test(gguf, g01_g04_not_a_gguf_file)
{
    bytes_refused(SLUICE_FORMAT, "", 0, "header: file is empty");
    bytes_refused(SLUICE_FORMAT, "GGU", 3, "header: file too short (3 bytes, need 24)");
    bytes_refused(SLUICE_FORMAT, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 23,
                  "header: file too short (23 bytes, need 24)");
    bytes_refused(SLUICE_FORMAT, "GGML\3\0\0\0\0\0\0\0", 12, "header: not a GGUF file (magic 47474d4c)");
    bytes_refused(SLUICE_FORMAT, "GGJT\3\0\0\0\0\0\0\0", 12, "header: not a GGUF file (magic 47474a54)");
    bytes_refused(SLUICE_FORMAT, "PK\3\4\24\0\0\0\0\0\0\0", 12, "header: not a GGUF file (magic 504b0304)");
    bytes_refused(SLUICE_UNSUPPORTED, "FUGG\3\0\0\0\0\0\0\0", 12, "header: big-endian GGUF is not supported");
    bytes_refused(SLUICE_UNSUPPORTED, "GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24,
                  "header: big-endian GGUF is not supported");
    bytes_refused(SLUICE_FORMAT, "version https://git-lfs.github.com/spec/v1\n", 43,
                  "is a Git LFS pointer, not the file itself: fetch it with git lfs pull");
}

Test(gguf, g05_versions)
{
    static const uint32_t versions[] = {0, 1, 4, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        char line[100];
        draft_start(&d, versions[i], 0, 0);
        snprintf(line, sizeof line, "header: GGUF version %lu is not supported (2 or 3)", (unsigned long)versions[i]);
        refused_as(SLUICE_UNSUPPORTED, ALL, line);
    }
}

Test(gguf, g06_to_g09_counts)
{
    static const uint64_t counts[] = {UINT64_MAX, (uint64_t)1 << 63, (uint64_t)1 << 40, 1048577};
    for (int i = 0; i < 4; i++) {
        char line[200];
        start(counts[i], 0);
        snprintf(line, sizeof line, "header: tensor count %llu exceeds the limit 1048576",
                 (unsigned long long)counts[i]);
        refused(line);
    }
    start(1000000, 0);
    draft_zeros(&d, 976);
    refused("header: tensor count 1000000 cannot fit in the remaining 976 bytes");
    start(0, UINT64_MAX);
    refused("header: key count 18446744073709551615 exceeds the limit 65536");
    start(0, 65537);
    refused("header: key count 65537 exceeds the limit 65536");
    start(0, 65536);
    draft_zeros(&d, 1000);
    refused("header: key count 65536 cannot fit in the remaining 1000 bytes");
    start(0, 13);
    for (int i = 0; i < 12; i++) {
        char name[32];
        snprintf(name, sizeof name, "a longer key %d", i);
        draft_key_text(&d, name, "with some value");
    }
    refused("key 12: unexpected end of file");
    start(3, 1); /* room for one tensor is left after the keys */
    draft_key_text(&d, "a longer key with a value", "of the same length, so that counts seem to fit in the file");
    draft_tensor(&d, "a", 1, (uint64_t[]){1}, F32, 0);
    refused("header: tensor count 3 cannot fit in the remaining 33 bytes");
}

/* ---- G10..G14: keys ---------------------------------------------------------------------------------------------- */

static void length_refused(uint64_t length, size_t rest, const char *line)
{
    start(0, 1);
    draft_number(&d, length, 8);
    draft_zeros(&d, rest);
    refused(line);
}

Test(gguf, g10_to_g14_keys)
{
    length_refused(UINT64_MAX, 112, "key 0: length 18446744073709551615 exceeds the limit 65535");
    length_refused(65536, 112, "key 0: length 65536 exceeds the limit 65535");
    length_refused(5000, 112, "key 0: length 5000 exceeds the remaining 112 bytes");
    length_refused(0, 112, "key 0: empty name");
    static const char *const names[] = {"a\nb", "\xc3\xa9", "\xff", "a\x7f", "\x1b[2J"};
    for (int i = 0; i < 5; i++) {
        start(0, 2);
        draft_key_text(&d, "good name", "value");
        draft_key_text(&d, names[i], "value");
        refused("key 1: name is not printable ASCII");
    }
    length_refused(3, 112, "key 0: name is not printable ASCII"); /* NUL */

    start(0, 8);
    for (int i = 0; i < 7; i++) draft_key_text(&d, (const char *[]){"g", "f", "general", "d", "c", "b", "a"}[i], "");
    draft_key_text(&d, "general", "x");
    refused("key 7: \"general\" appears twice");
    start(0, 1); /* a name of 65,535 bytes is legal */
    char *name = malloc(65536);
    memset(name, 'k', 65535);
    name[65535] = 0;
    draft_key_text(&d, name, "");
    struct archive *a = opened(0);
    cr_expect_eq((int)archive_meta(a, DOCUMENT_GGUF, name).kind, (int)META_STRING);
    archive_close(&a);
    free(name);
}

/* ---- G15..G22: values -------------------------------------------------------------------------------------------- */

Test(gguf, g15_types_of_values)
{
    static const uint32_t types[] = {13, 255, (uint32_t)1 << 31, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        char line[100];
        start_x(types[i]);
        draft_zeros(&d, 8);
        snprintf(line, sizeof line, "key \"x\": unknown value type %lu", (unsigned long)types[i]);
        refused(line);
        start(0, 1);
        draft_array(&d, "x", types[i], 1);
        draft_zeros(&d, 8);
        snprintf(line, sizeof line, "key \"x\": unknown element type %lu", (unsigned long)types[i]);
        refused(line);
    }
    start(0, 1); /* a hostile name reaches no terminal as it is, and is cut */
    draft_key(&d, "0123456789\"\\012345678901234567890123456789012345678901234567890123456789", 13);
    refused("key \"0123456789\\x22\\x5c0123456789012345678901234567890123456789012345678901...\": "
            "unknown value type 13");
}

Test(gguf, values_that_are_cut)
{
    for (int i = 0; i < N_NUMBERS; i++) {
        start(0, 1);
        draft_key_number(&d, "a name of some length", numbers[i].type, 0, numbers[i].bytes - 1);
        refused("key \"a name of some length\": unexpected end of file");
    }
    start(0, 1);
    draft_key_number(&d, "a name", 8, 0, 7);
    refused("key \"a name\": unexpected end of file");
    start(0, 1);
    draft_key_number(&d, "a name", 9, 4, 4);
    refused("key \"a name\": unexpected end of file");
    start(0, 1);
    draft_key_number(&d, "a name", 9, 4, 8);
    refused("key \"a name\": unexpected end of file");
    start(0, 1);
    draft_text(&d, "a name");
    refused("key \"a name\": unexpected end of file");
}

Test(gguf, g16_g17_lengths_of_strings)
{
    start_x(8);
    draft_number(&d, (uint64_t)1 << 63, 8);
    draft_zeros(&d, 64);
    refused("key \"x\": string length 9223372036854775808 exceeds the limit 16777216");
    start_x(8);
    draft_number(&d, 16777217, 8);
    refused("key \"x\": string length 16777217 exceeds the limit 16777216");
    start_x(8);
    draft_number(&d, 900, 8);
    draft_zeros(&d, 64);
    refused("key \"x\": string length 900 exceeds the remaining 64 bytes");
    start_x(8); /* the longest string there may be */
    draft_number(&d, 16777216, 8);
    draft_zeros(&d, 16777216);
    struct archive *a = opened(0);
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "x").n, 16777216u);
    archive_close(&a);
}

Test(gguf, g18_to_g21_arrays)
{
    start(0, 1);
    draft_array(&d, "x", 9, 1000);
    for (int i = 0; i < 1000; i++) {
        draft_number(&d, 9, 4);
        draft_number(&d, 1, 8);
    }
    refused_as(SLUICE_UNSUPPORTED, ALL, "key \"x\": array of arrays is not supported");
    start(0, 1);
    draft_array(&d, "x", 10, UINT64_MAX);
    refused("key \"x\": array count 18446744073709551615 exceeds the limit 16777216");
    start(0, 1);
    draft_array(&d, "x", 0, 16777217);
    refused("key \"x\": array count 16777217 exceeds the limit 16777216");
    start(0, 1);
    draft_array(&d, "x", 8, 10000000);
    draft_zeros(&d, 700);
    refused("key \"x\": array of 10000000 strings cannot fit in the remaining 700 bytes");
    start(0, 1);
    draft_array(&d, "x", 12, 10);
    draft_zeros(&d, 79);
    refused("key \"x\": array of 10 float64 cannot fit in the remaining 79 bytes");

    start(0, 1);
    draft_array(&d, "x", 8, 9);
    for (int i = 0; i < 5; i++) draft_text(&d, "12345678");
    draft_number(&d, 100, 8);
    draft_zeros(&d, 40);
    refused("key \"x\": element 5: length 100 exceeds the remaining 40 bytes");
    start(0, 1);
    draft_array(&d, "x", 8, 2);
    draft_number(&d, UINT64_MAX, 8);
    draft_zeros(&d, 40);
    refused("key \"x\": element 0: length 18446744073709551615 exceeds the limit 16777216");
    start(0, 1);
    draft_array(&d, "x", 8, 2);
    draft_text(&d, "12345678");
    refused("key \"x\": element 1: unexpected end of file");
}

Test(gguf, g22_booleans)
{
    start_x(7);
    draft_number(&d, 7, 1);
    refused("key \"x\": boolean must be 0 or 1 (got 7)");
    start(0, 1);
    draft_array(&d, "x", 7, 3);
    draft_bytes(&d, "\0\1\xff", 3);
    refused("key \"x\": element 2: boolean must be 0 or 1 (got 255)");
}

/* ---- G23..G25: alignment ----------------------------------------------------------------------------------------- */

Test(gguf, g23_to_g25_alignment)
{
    static const uint32_t values[] = {0, 1, 3, 4, 48, 131072, 0x80000000};
    for (int i = 0; i < 7; i++) {
        char line[200];
        start(0, 1);
        draft_key_number(&d, "general.alignment", 4, values[i], 4);
        snprintf(line, sizeof line, "key \"general.alignment\": must be a power of two in 8..65536 (got %lu)",
                 (unsigned long)values[i]);
        refused(line);
    }
    start(0, 1);
    draft_key_number(&d, "general.alignment", 5, 32, 4);
    refused("key \"general.alignment\": expected uint32, found int32");
    start(0, 1);
    draft_key_number(&d, "general.alignment", 10, 32, 8);
    refused("key \"general.alignment\": expected uint32, found uint64");
    start(0, 1);
    draft_key_text(&d, "general.alignment", "32");
    refused("key \"general.alignment\": expected uint32, found string");
    start(0, 1);
    draft_array(&d, "general.alignment", 4, 1);
    draft_number(&d, 32, 4);
    refused("key \"general.alignment\": expected uint32, found array of uint32");
}

Test(gguf, a_header_of_holes_is_refused)
{
    enum { N = 16777216 };
    FILE *file = fopen(folder_path(&folder, FILE_NAME), "wb");
    start(0, 3);
    for (int i = 0; i < 3; i++) {
        draft_array(&d, (const char *const[]){"a", "b", "c"}[i], 12, N);
        cr_assert_eq(fwrite(d.data, 1, d.n, file), d.n);
        cr_assert_eq(fseeko(file, (off_t)N * 8, SEEK_CUR), 0); /* no disk used */
        d.n = 0;
    }
    cr_assert_eq(fputc(0, file), 0);
    fclose(file);
    expect_refused(folder_path(&folder, FILE_NAME), 0, SLUICE_FORMAT,
                   FILE_NAME ": header: larger than 268435456 bytes");
}

/* ---- T01..T15: the directory of tensors -------------------------------------------------------------------------- */

Test(gguf, t01_t02_names)
{
    char name[70];
    memset(name, 'n', 65);
    name[65] = 0;
    start(5, 0);
    for (int i = 0; i < 4; i++)
        draft_tensor(&d, (const char *[]){"a", "b", "c", "d"}[i], 1, (uint64_t[]){8}, F32, (uint64_t)i * 32);
    draft_tensor(&d, name, 1, (uint64_t[]){8}, F32, 128);
    draft_align(&d, 32);
    draft_zeros(&d, 160);
    refused("tensor 4: name length 65 exceeds the limit 64");

    start(1, 0);
    draft_number(&d, UINT64_MAX, 8);
    draft_zeros(&d, 100);
    refused("tensor 0: name length 18446744073709551615 exceeds the limit 64");
    start(1, 0);
    draft_number(&d, 40, 8);
    draft_zeros(&d, 30);
    refused("tensor 0: name length 40 exceeds the remaining 30 bytes");
    static const char *const names[] = {"", "\xff", "a\nb", "\xed\xa0\x80"};
    for (int i = 0; i < 4; i++) {
        start(1, 0);
        draft_tensor(&d, names[i], 1, (uint64_t[]){8}, F32, 0);
        draft_zeros(&d, 100);
        refused("tensor 0: bad name");
    }
    start(1, 0);
    draft_number(&d, 2, 8);
    draft_bytes(&d, "a\0", 2);
    draft_zeros(&d, 100);
    refused("tensor 0: bad name");
    start(1, 0); /* 64 bytes are legal, and an index of any size is a name like any other (T28) */
    strcpy(name, "direction.536870912");
    memset(name + strlen(name), 'n', 64 - strlen(name));
    name[64] = 0;
    draft_tensor(&d, name, 1, (uint64_t[]){8}, F32, 0);
    draft_align(&d, 32);
    draft_zeros(&d, 32);
    struct archive *a = opened(ALL);
    cr_expect_not_null(archive_find(a, name));
    archive_close(&a);
}

Test(gguf, t03_a_tensor_twice)
{
    start(3, 0);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 0);
    draft_tensor(&d, "b", 1, (uint64_t[]){8}, F32, 32);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 64);
    draft_align(&d, 32);
    draft_zeros(&d, 96);
    refused("tensor \"a\": appears twice");
}

Test(gguf, t04_to_t06_dimensions)
{
    static const uint64_t dims[5] = {1, 1, 1, 1, 1};
    static const uint32_t counts[] = {0, 5, UINT32_MAX};
    for (int i = 0; i < 3; i++) {
        char line[100];
        start(1, 0);
        draft_text(&d, "a");
        draft_number(&d, counts[i], 4);
        draft_bytes(&d, dims, sizeof dims);
        draft_zeros(&d, 100);
        snprintf(line, sizeof line, "tensor \"a\": %lu dimensions (1..4)", (unsigned long)counts[i]);
        refused(line);
    }
    start_a(4, 0, F32, 0, 64);
    refused("tensor \"a\": dimension 1 is 0");
    start_a(0, 4, Q4_0, 0, 64);
    refused("tensor \"a\": dimension 0 is 0");
    start_a((uint64_t)1 << 63, 1, F32, 0, 64);
    refused("tensor \"a\": dimension 0 is too large");
    start_a(1, UINT64_MAX, F32, 0, 64);
    refused("tensor \"a\": dimension 1 is too large");
    start_a(1, ((uint64_t)1 << 40) + 1, F32, 0, 64);
    refused("tensor \"a\": dimension 1 is too large");
}

Test(gguf, t07_to_t11_sizes_that_wrap)
{
    static const struct {
        uint64_t dim0, dim1;
        uint32_t type;
        const char *what;
    } rows[] = {
        {(uint64_t)1 << 42, (uint64_t)1 << 22, F32, "element count"},
        {INT64_MAX, 2, 24, "element count"},
        {(uint64_t)1 << 32, (uint64_t)1 << 32, F32, "element count"},
        {(uint64_t)1 << 62, 2, 24, "element count"},
        {(uint64_t)1 << 40, (uint64_t)1 << 22, F32, "size in bytes"},
        {((uint64_t)1 << 62) - 1, 1, F32, "size in bytes"}, /* fits, but not padded */
        {((uint64_t)1 << 61) - 1, 1, 28, "size in bytes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[100];
        start_a(rows[i].dim0, rows[i].dim1, rows[i].type, 0, 64);
        snprintf(line, sizeof line, "tensor \"a\": %s overflows", rows[i].what);
        refused(line);
    }
    start(3, 0);
    draft_tensor(&d, "a", 2, (uint64_t[]){(uint64_t)1 << 40, (uint64_t)1 << 20}, F32, 0);
    draft_tensor(&d, "b", 2, (uint64_t[]){(uint64_t)1 << 40, (uint64_t)1 << 21}, F32, 0);
    draft_tensor(&d, "c", 2, (uint64_t[]){(uint64_t)1 << 40, (uint64_t)1 << 20}, F32, 0);
    refused("tensor \"c\": total size overflows");
}

Test(gguf, t12_to_t15_types_rows_offsets)
{
    static const uint32_t types[] = {4, 5, 31, 36, 200, UINT32_MAX};
    for (int i = 0; i < 6; i++) {
        char line[100];
        start_a(32, 1, types[i], 0, 128);
        snprintf(line, sizeof line, "tensor \"a\": unknown type %lu", (unsigned long)types[i]);
        refused(line);
    }
    start_a(256, 1, 34, 0, 128);
    refused_as(SLUICE_UNSUPPORTED, ALL, "tensor \"a\": type tq1_0 is not supported");
    start_a(256, 1, 9, 0, 128);
    refused_as(SLUICE_UNSUPPORTED, ALL, "tensor \"a\": type q8_1 is not supported");
    start_a(100, 32, Q4_0, 0, 2048);
    refused("tensor \"a\": row of 100 is not a multiple of block 32");
    start_a(1000, 256, Q4_K, 0, 2048);
    refused("tensor \"a\": row of 1000 is not a multiple of block 256");
    start_a(8, 1, F32, 40, 128);
    refused("tensor \"a\": offset 40 is not aligned to 32");
    start(1, 1);
    draft_key_number(&d, "general.alignment", 4, 64, 4);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 96);
    draft_zeros(&d, 500);
    refused("tensor \"a\": offset 96 is not aligned to 64");
}

Test(gguf, a_directory_that_is_cut)
{
    start(1, 1); /* the counts fit at first, because the key is long */
    draft_key_text(&d, "a longer key with a value", "of the same length, so that counts seem to fit in the file");
    size_t keys = d.n;
    draft_tensor(&d, "a longer name, so that the counts fit", 1, (uint64_t[]){8}, F32, 0);
    size_t whole = d.n;
    for (d.n = keys + 33; d.n < whole; d.n++) {
        size_t n = d.n - keys;
        if (n < 8 + 37) continue;
        refused("tensor \"a longer name, so that the counts fit\": unexpected end of file");
    }
    d.n = keys + 40;
    refused("tensor 0: name length 37 exceeds the remaining 32 bytes");
}

/* ---- T16..T21: places in the data section ------------------------------------------------------------------------ */

/* The place is a matter of the data: the file is good for its metadata. */
static void place_refused(const char *line)
{
    refused_as(SLUICE_FORMAT, ALL, line);
    struct archive *a = opened(ARCHIVE_CONFIG);
    archive_close(&a);
}

/* "a" has 1,024 bytes at `offset`, and another tensor fills the data section up to there. */
static void start_filled(uint64_t offset, size_t bytes)
{
    start(2, 0);
    draft_tensor(&d, "a", 1, (uint64_t[]){256}, F32, offset);
    draft_tensor(&d, "filler", 1, (uint64_t[]){offset}, 24, 0);
    draft_align(&d, 32);
    draft_zeros(&d, bytes);
}

Test(gguf, t16_t17_outside_the_data_section)
{
    start_filled(640, 1024);
    place_refused("tensor \"a\": bytes 640..1664 lie outside the data section (1024)");
    start_filled(1024, 1024);
    place_refused("tensor \"a\": bytes 1024..2048 lie outside the data section (1024)");
    start_filled(32, 1055);
    place_refused("tensor \"a\": bytes 32..1056 lie outside the data section (1055)");
    start_filled(32, 1056);
    struct archive *a = opened(ALL);
    archive_close(&a);
    start_a(256, 1, F32, UINT64_MAX - 31, 1024); /* its end wraps back inside */
    refused("tensor \"a\": bytes 18446744073709551584..18446744073709551615 lie outside the data section (1024)");
}

Test(gguf, t18_t19_overlaps_and_gaps)
{
    start(2, 0);
    draft_tensor(&d, "a", 1, (uint64_t[]){9}, F32, 0);
    draft_tensor(&d, "b", 1, (uint64_t[]){8}, F32, 32);
    draft_align(&d, 32);
    draft_zeros(&d, 96);
    refused("tensor \"b\": overlaps \"a\"");
    start(2, 0);
    draft_tensor(&d, "b", 1, (uint64_t[]){8}, F32, 0);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 0);
    draft_align(&d, 32);
    draft_zeros(&d, 96);
    refused("tensor \"b\": overlaps \"a\"");
    start(2, 0);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 0);
    draft_tensor(&d, "b", 1, (uint64_t[]){8}, F32, 32 + 1048576);
    draft_align(&d, 32);
    draft_zeros(&d, 1048576 + 64);
    refused("tensor \"b\": gap of 1048576 bytes");
    start_a(8, 1, F32, 64, 128);
    refused("tensor \"a\": gap of 64 bytes");
}

Test(gguf, t20_file_ends_before_the_data)
{
    start(1, 0);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 0);
    cr_assert_eq(d.n, 57u);
    place_refused("data: section starts at 64 but the file has 57 bytes");
    draft_zeros(&d, 6);
    place_refused("data: section starts at 64 but the file has 63 bytes");
    draft_zeros(&d, 1);
    place_refused("tensor \"a\": bytes 0..32 lie outside the data section (0)");
}

Test(gguf, t21_trailing_bytes_are_a_warning)
{
    start_a(8, 1, F32, 0, 64);
    struct archive *a = opened(ALL);
    cr_expect_null(archive_warning(a), "padding");
    archive_close(&a);
    draft_zeros(&d, 1);
    a = opened(ALL);
    cr_expect_str_eq(archive_warning(a), FILE_NAME ": data: 33 bytes after the last tensor");
    archive_close(&a);
    draft_zeros(&d, 1048576);
    a = opened(ALL);
    cr_expect_str_eq(archive_warning(a), FILE_NAME ": data: 1048609 bytes after the last tensor");
    archive_close(&a);
}

/* ---- allocation failures ----------------------------------------------------------------------------------------- */

static void sweep(const char *path, unsigned flags, sluice_status expected)
{
    expect_sweep(folder_path(&folder, path), flags, expected, folder.path);
}

static void write_rich(size_t trailing)
{
    start(2, 3);
    draft_key_text(&d, "general.architecture", "x");
    draft_array(&d, "tokens", 8, 3);
    for (int i = 0; i < 3; i++) draft_text(&d, "token");
    draft_array(&d, "scores", 6, 2);
    draft_zeros(&d, 8);
    draft_tensor(&d, "b", 2, (uint64_t[]){32, 2}, Q4_0, 0);
    draft_tensor(&d, "a", 1, (uint64_t[]){8}, F32, 64);
    draft_align(&d, 32);
    draft_zeros(&d, 96 + trailing);
    draft_save(&d, &folder, FILE_NAME);
}

Test(gguf, every_allocation_may_fail, .timeout = 600)
{
    write_rich(100);
    sweep(FILE_NAME, ALL, SLUICE_OK);
    sweep(FILE_NAME, 0, SLUICE_OK);
    write_rich(0);
    cr_assert_eq(truncate(folder_path(&folder, FILE_NAME), (off_t)d.n - 1), 0);
    sweep(FILE_NAME, ALL, SLUICE_FORMAT);
    cr_assert_eq(truncate(folder_path(&folder, FILE_NAME), 100), 0);
    sweep(FILE_NAME, ALL, SLUICE_FORMAT);
}

/* ---- mutations --------------------------------------------------------------------------------------------------- */

/* Reads exactly the given bytes, in a heap block whose ends a sanitizer watches. Every value and view of an accepted
 * file must lie inside it. Returns whether it was accepted. */
static bool read_bytes(const unsigned char *bytes, size_t n, bool tensors)
{
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    struct failure f = {0};
    struct tensor_file file = {.name = memory_strndup("m", 1), .map = {.data = copy, .bytes = n}};
    sluice_status status = gguf_read(&file, tensors, &f);
    cr_expect(status == SLUICE_OK || ((status == SLUICE_FORMAT || status == SLUICE_UNSUPPORTED) && f.text[0]));
    for (size_t i = 0; !status && i < file.n; i++) {
        const struct tensor_view *t = &file.tensors[i];
        cr_expect(t->data >= copy && t->bytes <= n && (size_t)(t->data - copy) <= n - t->bytes);
    }
    double sum = 0;
    for (size_t i = 0; !status && i < file.n_values; i++) {
        struct meta m = gguf_meta(&file.values[i]);
        if (m.kind == META_STRING) sum += (double)strlen(m.string);
        for (size_t k = 0; m.kind == META_ARRAY && k < m.n; k++) {
            struct meta e = meta_element(m, k);
            sum += e.kind == META_STRING ? (double)strlen(e.string) : e.number;
        }
    }
    cr_expect_neq(sum, -1.0);
    file.map = (struct file_map){0};
    tensor_file_close(&file);
    free(copy);
    return status == SLUICE_OK;
}

Test(gguf, random_mutations_never_give_anything_outside_the_file, .timeout = 120)
{
    write_rich(0);
    unsigned char bytes[1000];
    size_t n = d.n, header_n = n - 96, accepted = 0;
    cr_assert_leq(n, sizeof bytes);
    cr_assert(read_bytes(d.data, n, true));
    for (size_t cut = 0; cut < n; cut++) {
        cr_expect_not(read_bytes(d.data, cut, true), "cut after %zu bytes", cut);
        read_bytes(d.data, cut, false);
    }
    static const unsigned char interesting[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 31, 32, 64, 127, 128, 254, 255};
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 40000; round++) {
        memcpy(bytes, d.data, n);
        for (int k = 0; k <= round % 3; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            size_t at = (size_t)(random >> 32) % header_n;
            bytes[at] = round % 2 ? interesting[random % sizeof interesting] : (unsigned char)random;
        }
        accepted += read_bytes(bytes, n, round % 4 != 0);
    }
    cr_expect(accepted > 0 && accepted < 40000, "%zu", accepted);
}
