/* safetensors files: good ones give the right views, and each way to be malformed has its exact sentence.
 * The numbers S01..S28 are rows of a catalogue of known attacks and crashes. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/support/folder.h"
#include "tests/weights/expect.h"
#include "weights/archive_parts.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(safetensors, .init = create, .fini = destroy);

#define FILE_NAME "m.safetensors"

/* The file on disk is refused with "m.safetensors: LINE". */
static void refused(const char *line)
{
    char sentence[5000];
    snprintf(sentence, sizeof sentence, "%s: %s", FILE_NAME, line);
    expect_refused(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS, SLUICE_FORMAT, sentence);
}

static void header_refused(const char *header, size_t data_bytes, const char *line)
{
    folder_write_header(&folder, FILE_NAME, header, NULL, data_bytes);
    refused(line);
}

/* A file of `n` bytes that begins with the given header length. */
static void length_refused(uint64_t length, const char *rest, size_t rest_n, const char *line)
{
    unsigned char bytes[256] = {0};
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, rest, rest_n);
    folder_write(&folder, FILE_NAME, bytes, 8 + rest_n);
    refused(line);
}

/* ---- good files -------------------------------------------------------------------------------------------------- */

Test(safetensors, every_dtype_gives_its_view)
{
    static const char *const names[] = {"BOOL", "U8",  "I8",  "F8_E5M2", "F8_E4M3", "I16", "U16", "F16",
                                        "BF16", "I32", "U32", "F32",     "F64",     "I64", "U64"};
    enum { N = sizeof names / sizeof *names };
    static const unsigned char data[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct test_tensor tensors[N];
    int n_plain = 0;
    for (int t = 0; t < N_DTYPES; t++) n_plain += dtype_info((enum dtype)t)->in_safetensors;
    cr_assert_eq((int)N, n_plain);
    for (int i = 0; i < N; i++) tensors[i] = (struct test_tensor){names[i], names[i], 2, {2, 3}, data};
    folder_write_tensors(&folder, FILE_NAME, tensors, N);

    struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
    cr_expect_str_eq(archive_name(a), FILE_NAME);
    cr_expect_null(archive_warning(a));
    cr_expect_eq(archive_n_tensors(a), (size_t)N);
    cr_expect_str_eq(archive_tensor_metadata(a, "format"), "pt");
    cr_expect_null(archive_tensor_metadata(a, "author"));
    for (int i = 0; i < N; i++) {
        const struct tensor_view *t = archive_find(a, names[i]);
        cr_assert_not_null(t, "%s", names[i]);
        const struct dtype_info *dtype = dtype_info(t->dtype);
        cr_expect_str_eq(dtype->name, names[i]);
        cr_expect_str_eq(t->file, FILE_NAME);
        cr_expect_eq(t->n_dims, 2);
        cr_expect(t->shape[0] == 2 && t->shape[1] == 3);
        cr_expect_eq(t->bytes, 6 * dtype->bytes_per_block);
        cr_expect_eq(memcmp(t->data, data, t->bytes), 0);
        archive_release(a, t);
        cr_expect_eq(memcmp(t->data, data, t->bytes), 0, "a released view can still be read");
    }
    for (size_t i = 1; i < N; i++) cr_expect_lt(strcmp(archive_tensor(a, i - 1)->name, archive_tensor(a, i)->name), 0);
    cr_expect_null(archive_find(a, "A"));
    cr_expect_null(archive_find(a, "ZZZ"));
    cr_expect_null(archive_find(a, ""));
    archive_close(&a);
    cr_expect_null(a);
    archive_close(&a);
}

Test(safetensors, scalars_empty_tensors_and_files_without_tensors_are_legal)
{
    folder_write_header(&folder, FILE_NAME,
                        "{\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                        "\"z\":{\"dtype\":\"F64\",\"shape\":[0,5],\"data_offsets\":[4,4]},"
                        "\"a\":{\"data_offsets\":[4,12],\"shape\":[1,1,1,1,1,1,1,2],\"dtype\":\"F32\"}}",
                        NULL, 12);
    struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
    cr_expect_eq(archive_n_tensors(a), 3u);
    cr_expect_eq(archive_find(a, "s")->n_dims, 0);
    cr_expect_eq(archive_find(a, "s")->bytes, 4u);
    cr_expect_eq(archive_find(a, "z")->bytes, 0u); /* S28 */
    cr_expect_eq(archive_find(a, "z")->shape[1], 5u);
    cr_expect_eq(archive_find(a, "a")->n_dims, 8);
    cr_expect_null(archive_tensor_metadata(a, "format"));
    archive_close(&a);

    folder_write_header(&folder, FILE_NAME, "{}", NULL, 0);
    a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
    cr_expect_eq(archive_n_tensors(a), 0u);
    cr_expect_null(archive_find(a, "a"));
    archive_close(&a);
}

Test(safetensors, escapes_in_names_and_metadata_are_decoded)
{
    folder_write_header(&folder, FILE_NAME,
                        "{\"__metadata__\":{\"b\":\"2\",\"a\\n\":\"\\u00e4\\ud83d\\ude00\\\"\\/\"},"
                        "\"\\u0041.\xc3\xa9\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                        NULL, 1);
    struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
    cr_expect_not_null(archive_find(a, "A.\xc3\xa9"));
    cr_expect_str_eq(archive_tensor_metadata(a, "a\n"), "\xc3\xa4\xf0\x9f\x98\x80\"/");
    cr_expect_str_eq(archive_tensor_metadata(a, "b"), "2");
    archive_close(&a);
}

/* Text of a header with n tensors of one byte each; `step` 0 puts all of them on the same byte. */
static char *many_tensors(size_t n, size_t step)
{
    char *text = malloc(n * 100 + 16), *p = text;
    *p++ = '{';
    for (size_t i = 0; i < n; i++)
        p += sprintf(p, "%s\"t%zu\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}", i ? "," : "", i,
                     i * step, i * step + 1);
    strcpy(p, "}");
    return text;
}

Test(safetensors, a_hundred_thousand_tensors_open_quickly, .timeout = 20)
{
    char *header = many_tensors(100000, 1);
    folder_write_header(&folder, FILE_NAME, header, NULL, 100000);
    free(header);
    struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
    cr_expect_eq(archive_n_tensors(a), 100000u);
    const struct tensor_view *first = archive_find(a, "t0"), *last = archive_find(a, "t99999");
    cr_assert(first && last);
    cr_expect_eq(last->data - first->data, 99999);
    archive_close(&a);
}

/* ---- S01..S08: the header as a whole ----------------------------------------------------------------------------- */

Test(safetensors, s01_file_too_short)
{
    for (size_t n = 0; n < 8; n++) {
        folder_write(&folder, FILE_NAME, "\2\0\0\0\0\0\0", n);
        char line[64];
        snprintf(line, sizeof line, "header: file too short (%zu bytes, need 8)", n);
        refused(line);
    }
}

Test(safetensors, s02_header_length_above_the_limit)
{
    length_refused(UINT64_MAX, "{}", 2, "header: length 18446744073709551615 exceeds the limit 100000000");
    length_refused(UINT64_MAX - 7, "{}", 2, "header: length 18446744073709551608 exceeds the limit 100000000");
    length_refused(100000001, "{}", 2, "header: length 100000001 exceeds the limit 100000000");
}

Test(safetensors, s03_header_length_above_the_file)
{
    char rest[120] = "{";
    length_refused(4096, rest, 120, "header: length 4096 exceeds the remaining 120 bytes");
    length_refused(100000000, rest, 120, "header: length 100000000 exceeds the remaining 120 bytes");
    length_refused(3, "{}", 2, "header: length 3 exceeds the remaining 2 bytes");
    length_refused(1, "", 0, "header: length 1 exceeds the remaining 0 bytes");
}

Test(safetensors, s04_header_that_is_no_object)
{
    length_refused(0, "", 0, "header: length 0 is too short for a JSON object");
    length_refused(0, "{}", 2, "header: length 0 is too short for a JSON object");
    length_refused(1, "{", 1, "header: length 1 is too short for a JSON object");
}

Test(safetensors, s05_header_that_begins_with_something_else)
{
    static const char *const headers[] = {" {}", "\xef\xbb\xbf{}", "[]", "\n{}", "null", "\xff{}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char line[64];
        snprintf(line, sizeof line, "header: begins with byte 0x%02x, expected '{'", (unsigned char)headers[i][0]);
        header_refused(headers[i], 0, line);
    }
}

#define ENTRY(fields) "{\"a\":{" fields "}}"
#define GOOD          "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"

Test(safetensors, s06_bytes_that_are_not_utf8)
{
    header_refused("{\"__metadata__\":{\"\xff\":\"\"}}", 0, "header: not UTF-8 at byte 18");
    header_refused("{\"ab\xc0\x80\":{}}", 0, "header: not UTF-8 at byte 4");         /* overlong NUL */
    header_refused("{\"ab\xed\xa0\x80\":{}}", 0, "header: not UTF-8 at byte 4");     /* surrogate */
    header_refused("{\"ab\xf4\x90\x80\x80\":{}}", 0, "header: not UTF-8 at byte 4"); /* above U+10FFFF */
    header_refused("{\"ab\xe2\x82\":{}}", 0, "header: not UTF-8 at byte 4");         /* cut */
    header_refused("{\xff\"a\":{}}", 0, "header: not UTF-8 at byte 1");
}

Test(safetensors, s07_headers_that_are_not_json)
{
    header_refused("{\"a\"", 0, "header: JSON error at byte 8: the text ends too early");
    header_refused("{\"a\":{" GOOD, 4, "header: JSON error at byte 56: the text ends too early");
    header_refused("{\"a", 0, "header: JSON error at byte 8: the text ends too early");
    header_refused("{}{}", 0, "header: JSON error at byte 2: text after the end");
    header_refused("{} x", 0, "header: JSON error at byte 3: text after the end");
    header_refused("{} ]", 0, "header: JSON error at byte 3: text after the end");
    header_refused("{\"a\" 1}", 0, "header: JSON error at byte 5: ':' is missing");
    header_refused("{\"a\":}", 0, "header: JSON error at byte 5: a value is missing");
    header_refused("{\"a\":1,}", 0, "header: JSON error at byte 7: a key in quotes is missing");
    header_refused("{\"a\":1]", 0, "header: JSON error at byte 6: ',' or '}' is missing");
    header_refused("{\"a\":[1 2]}", 0, "header: JSON error at byte 8: ',' or ']' is missing");
    header_refused("{\"a\":[1,]}", 0, "header: JSON error at byte 8: a value is missing");
    header_refused("{'a':1}", 0, "header: JSON error at byte 1: a key in quotes is missing");
    header_refused("{\"a\":01}", 0, "header: JSON error at byte 6: ',' or '}' is missing");
    header_refused("{\"a\":-}", 0, "header: JSON error at byte 6: a digit is missing");
    header_refused("{\"a\":1.}", 0, "header: JSON error at byte 7: a digit is missing");
    header_refused("{\"a\":1e+}", 0, "header: JSON error at byte 8: a digit is missing");
    header_refused("{\"a\":+1}", 0, "header: JSON error at byte 5: a value is missing");
    header_refused("{\"a\":tru}", 0, "header: JSON error at byte 5: unknown word");
    header_refused("{\"a\":\"\\x\"}", 0, "header: JSON error at byte 6: unknown escape in a string");
    header_refused("{\"a\":\"\\u12g4\"}", 0, "header: JSON error at byte 6: unknown escape in a string");
    header_refused("{\"a\":\"\t\"}", 0, "header: JSON error at byte 6: control character in a string");
    header_refused("{\"a\":NaN}", 0, "header: NaN and Infinity are not JSON (byte 5)");
    length_refused(3, "{}\0", 3, "header: JSON error at byte 2: text after the end");
}

Test(safetensors, s08_depth)
{
    enum { N = 100000 };
    char *header = malloc(N + 16);
    strcpy(header, "{\"a\":");
    memset(header + 5, '[', N);
    header[5 + N] = 0;
    header_refused(header, 0, "header: JSON nested deeper than 64");
    header[5 + 64] = 0; /* level 65 */
    header_refused(header, 0, "header: JSON nested deeper than 64");
    header[5 + 63] = 0; /* level 64: only the end is missing */
    header_refused(header, 0, "header: JSON error at byte 72: the text ends too early");
    free(header);
}

/* ---- S09..S21: entries ------------------------------------------------------------------------------------------- */

Test(safetensors, s09_duplicate_tensor_name)
{
    header_refused("{\"a\":{" GOOD "},\"a\":{" GOOD "}}", 4, "header: \"a\" appears twice");
    header_refused("{\"a\":{" GOOD "},\"\\u0061\":{" GOOD "}}", 4, "header: \"a\" appears twice");
    header_refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "header: \"__metadata__\" appears twice");
    header_refused("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "header: \"__metadata__\": \"k\" appears twice");
}

Test(safetensors, s10_duplicate_field)
{
    header_refused(ENTRY("\"dtype\":\"F32\"," GOOD), 4, "tensor \"a\": \"dtype\" appears twice");
    header_refused(ENTRY(GOOD ",\"shape\":[1]"), 4, "tensor \"a\": \"shape\" appears twice");
    header_refused(ENTRY(GOOD ",\"data_offsets\":[0,4]"), 4, "tensor \"a\": \"data_offsets\" appears twice");
}

Test(safetensors, s11_missing_and_unknown_fields)
{
    header_refused(ENTRY("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, "tensor \"a\": \"shape\" is missing");
    header_refused(ENTRY("\"shape\":[1],\"data_offsets\":[0,4]"), 4, "tensor \"a\": \"dtype\" is missing");
    header_refused(ENTRY("\"shape\":[1],\"dtype\":\"F32\""), 4, "tensor \"a\": \"data_offsets\" is missing");
    header_refused(ENTRY(""), 0, "tensor \"a\": \"dtype\" is missing");
    header_refused(ENTRY(GOOD ",\"extra\":{\"b\":[]}"), 4, "tensor \"a\": unknown field \"extra\"");
    header_refused("{\"a\":7}", 0, "tensor \"a\": must be an object");
    header_refused("{\"a\":["
                   "]}",
                   0, "tensor \"a\": must be an object");
    header_refused("{\"a\":null}", 0, "tensor \"a\": must be an object");
}

Test(safetensors, s12_unknown_dtype)
{
    static const struct {
        const char *dtype, *shown;
    } rows[] = {{"\"Q4\"", "\"Q4\""}, {"\"f32\"", "\"f32\""}, {"7", "7"},   {"null", "null"},
                {"\"\"", "\"\""},     {"\"F4\"", "\"F4\""},   {"[1]", "["}, {"\"\\u001b[2J\"", "\"\\x5cu001b[2J\""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char header[200], line[200];
        snprintf(header, sizeof header, ENTRY("\"dtype\":%s,\"shape\":[1],\"data_offsets\":[0,4]"), rows[i].dtype);
        snprintf(line, sizeof line, "tensor \"a\": unknown dtype %s", rows[i].shown);
        header_refused(header, 4, line);
    }
}

Test(safetensors, s13_shape_values)
{
    static const char *const values[] = {
        "-1", "-0", "1.5", "1e3", "\"4\"", "null", "18446744073709551616", "[]", "true", "99999999999999999999999999"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char header[200], line[200];
        const char *shown = values[i][0] == '"' ? "4" : values[i][0] == '[' ? "[" : values[i];
        snprintf(header, sizeof header, ENTRY("\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[0,4]"), values[i]);
        snprintf(line, sizeof line, "tensor \"a\": shape[0]: found %s, expected a non-negative integer", shown);
        header_refused(header, 4, line);
        snprintf(header, sizeof header, ENTRY("\"dtype\":\"F32\",\"shape\":[1,%s],\"data_offsets\":[0,4]"), values[i]);
        snprintf(line, sizeof line, "tensor \"a\": shape[1]: found %s, expected a non-negative integer", shown);
        header_refused(header, 4, line);
    }
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]"), 4,
                   "tensor \"a\": shape: found 4, expected an array");
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]"), 4,
                   "tensor \"a\": shape: found {, expected an array");
}

Test(safetensors, s14_s15_element_count_that_wraps)
{
    static const char *const shapes[] = {
        "[2,18446744073709551614]",                           /* wraps to 2^64 - 4 */
        "[4294967296,4294967296]",                            /* wraps to 0 */
        "[0,4294967296,4294967296]",                          /* is 0, and still no shape that anybody may multiply */
        "[4294967296,4294967296,0]", "[4611686018427387904]", /* the count fits, the bytes wrap to 0 */
        "[9223372036854775809]",                              /* ... to 4 */
        "[65536,65536,65536,65536]",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char header[200];
        snprintf(header, sizeof header, ENTRY("\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[0,0]"), shapes[i]);
        header_refused(header, 0, "tensor \"a\": element count overflows");
        snprintf(header, sizeof header, ENTRY("\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[0,4]"), shapes[i]);
        header_refused(header, 4, "tensor \"a\": element count overflows");
    }
}

Test(safetensors, s16_number_of_dimensions)
{
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4,
                   "tensor \"a\": 9 dimensions (0..8)");
    enum { N = 1000000 };
    char *header = malloc(2 * N + 100), *p = header;
    p += sprintf(p, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1");
    for (int i = 1; i < N; i++) p += sprintf(p, ",1");
    strcpy(p, "],\"data_offsets\":[0,4]}}");
    header_refused(header, 4, "tensor \"a\": 1000000 dimensions (0..8)");
    free(header);
}

/* S17, a size that is no whole number of bytes, needs a dtype of less than a byte; there is none yet, see s12 "F4". */

Test(safetensors, s18_offsets_that_are_not_two_integers)
{
    static const char *const values[] = {"[0]", "[0,4,4]", "[]", "[\"0\",\"4\"]", "[-1,4]",  "[0.0,4]", "[0,4e0]",
                                         "{}",  "\"0\"",   "4",  "null",          "[0,null]"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char header[200];
        snprintf(header, sizeof header, ENTRY("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":%s"), values[i]);
        header_refused(header, 4, "tensor \"a\": data_offsets must be two integers");
    }
}

Test(safetensors, s19_reversed_offsets)
{
    header_refused(ENTRY("\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[16,8]"), 16,
                   "tensor \"a\": data_offsets 16..8 are reversed");
    header_refused(ENTRY("\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[18446744073709551615,7]"), 16,
                   "tensor \"a\": data_offsets 18446744073709551615..7 are reversed");
}

Test(safetensors, s20_offsets_that_disagree_with_the_shape)
{
    header_refused(ENTRY("\"dtype\":\"F64\",\"shape\":[4],\"data_offsets\":[0,16]"), 16,
                   "tensor \"a\": 16 bytes, but F64 [4] needs 32");
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[1000,1000],\"data_offsets\":[0,4]"), 4,
                   "tensor \"a\": 4 bytes, but F32 [1000, 1000] needs 4000000");
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]"), 0,
                   "tensor \"a\": 0 bytes, but F32 [] needs 4");
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[0,4]"), 4,
                   "tensor \"a\": 4 bytes, but F32 [0, 5] needs 0");
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,18446744073709551615]"), 4,
                   "tensor \"a\": 18446744073709551615 bytes, but F32 [1] needs 4");
}

Test(safetensors, s21_offsets_outside_the_data)
{
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[1000,1000],\"data_offsets\":[0,4000000]"), 4,
                   "tensor \"a\": bytes 0..4000000 lie outside the data section (4)");
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), 4,
                   "tensor \"a\": bytes 4..8 lie outside the data section (4)");
    header_refused(ENTRY("\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[18446744073709551614,18446744073709551615]"),
                   4,
                   "tensor \"a\": bytes 18446744073709551614..18446744073709551615 lie outside the data section (4)");
    header_refused(ENTRY("\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[5,5]"), 4,
                   "tensor \"a\": bytes 5..5 lie outside the data section (4)");
}

/* ---- S22..S27: all tensors together ------------------------------------------------------------------------------ */

#define TWO(a_range, b_range)                                               \
    "{\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" b_range "}," \
    "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" a_range "}}"

Test(safetensors, s22_overlap, .timeout = 20)
{
    header_refused(TWO("[0,4]", "[0,4]"), 4, "tensor \"b\": overlaps \"a\"");
    header_refused(TWO("[0,4]", "[3,7]"), 7, "tensor \"b\": overlaps \"a\"");
    header_refused(TWO("[3,7]", "[0,4]"), 7, "tensor \"a\": overlaps \"b\"");
    header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                   "\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
                   4, "tensor \"z\": overlaps \"a\"");
    char *header = many_tensors(100000, 0);
    header_refused(header, 1, "tensor \"t1\": overlaps \"t0\"");
    free(header);
}

Test(safetensors, s23_hole)
{
    header_refused(ENTRY("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]"), 12,
                   "data: bytes 0..8 belong to no tensor");
    header_refused(TWO("[0,4]", "[6,10]"), 10, "data: bytes 4..6 belong to no tensor");
}

Test(safetensors, s24_bytes_after_the_last_tensor)
{
    header_refused(ENTRY(GOOD), 29, "data: 25 bytes after the last tensor");
    header_refused("{}", 1, "data: 1 bytes after the last tensor");
}

Test(safetensors, s25_metadata_that_is_not_strings)
{
    static const char *const values[] = {"{\"k\":{}}",
                                         "{\"k\":1}",
                                         "{\"k\":null}",
                                         "[]",
                                         "\"x\"",
                                         "null",
                                         "{\"k\":\"\\u0000\"}",
                                         "{\"k\\ud800\":\"\"}",
                                         "{\"k\":\"1\",\"l\":[\"2\"]}"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char header[200];
        snprintf(header, sizeof header, "{\"__metadata__\":%s}", values[i]);
        header_refused(header, 0, "header: \"__metadata__\" values must be strings");
    }
    enum { N = 50 << 20 };
    char *header = malloc(N + 100), *p = header;
    p += sprintf(p, "{\"__metadata__\":{\"k\":\"");
    memset(p, 'x', N);
    strcpy(p + N, "\"}}");
    header_refused(header, 0, "header: \"__metadata__\" string of 52428800 bytes exceeds the limit 16777216");
    free(header);
}

#define NAME_LINE "header: tensor name \"%s\": expected 1..1024 bytes of text without NUL"

Test(safetensors, s26_tensor_names)
{
    static const char *const names[] = {"", "\\u0000", "a\\u0000b", "\\ud800", "\\udc00", "\\ud800\\ud800", "\\ud800x"};
    char header[3000], line[400], shown[ESCAPED_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(header, sizeof header, "{\"%s\":{" GOOD "}}", names[i]);
        folder_write_header(&folder, FILE_NAME, header, NULL, 4);
        snprintf(line, sizeof line, NAME_LINE, escape_text(shown, sizeof shown, names[i], strlen(names[i])));
        refused(line);
    }
    char name[2001];
    memset(name, 'n', 2000);
    name[2000] = 0;
    snprintf(header, sizeof header, "{\"%s\":{" GOOD "}}", name);
    snprintf(line, sizeof line, NAME_LINE, escape_text(shown, sizeof shown, name, 2000));
    header_refused(header, 4, line);
    name[1025] = 0;
    snprintf(header, sizeof header, "{\"%s\":{" GOOD "}}", name);
    header_refused(header, 4, line);
    name[1024] = 0;
    snprintf(header, sizeof header, "{\"%s\":{" GOOD "}}", name);
    folder_write_header(&folder, FILE_NAME, header, NULL, 4);
    struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
    archive_close(&a);
    /* A legal but hostile name reaches no terminal as it is, and is cut. */
    memset(name, 'n', 100);
    name[100] = 0;
    snprintf(header, sizeof header, "{\"\\u001b[2J%s\":{}}", name);
    header_refused(header, 0,
                   "tensor \"\\x1b[2Jnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...\": "
                   "\"dtype\" is missing");
}

Test(safetensors, s27_too_many_tensors, .timeout = 30)
{
    enum { N = 1100000 };
    char *header = malloc((size_t)N * 16 + 16), *p = header;
    *p++ = '{';
    for (int i = 0; i < N; i++) p += sprintf(p, "%s\"%d\":{}", i ? "," : "", i);
    strcpy(p, "}");
    header_refused(header, 0, "header: tensor count exceeds the limit 1048576");
    free(header);
}

/* ---- other formats ----------------------------------------------------------------------------------------------- */

Test(safetensors, other_formats_are_named)
{
    folder_write(&folder, "pytorch_model.bin", "PK\3\4\0\0\10\10\0\0\0\0", 12);
    expect_refused(folder_path(&folder, "pytorch_model.bin"), ARCHIVE_TENSORS, SLUICE_UNSUPPORTED,
                   "pytorch_model.bin: is a PyTorch file: convert it to safetensors");
    folder_write(&folder, "old.bin", "\200\2\212\nl\374\234F\371 j", 11);
    expect_refused(folder_path(&folder, "old.bin"), ARCHIVE_TENSORS, SLUICE_UNSUPPORTED,
                   "old.bin: is a PyTorch file: convert it to safetensors");
}

Test(safetensors, a_single_file_has_no_configuration)
{
    folder_write_header(&folder, FILE_NAME, ENTRY(GOOD), NULL, 4);
    char sentence[2000];
    snprintf(sentence, sizeof sentence, "%s: a single file has no config.json: name the folder of the model",
             folder_path(&folder, FILE_NAME));
    expect_refused(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS | ARCHIVE_CONFIG, SLUICE_ARGUMENT, sentence);

    struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
    size_t n = 1;
    cr_expect_eq((int)archive_meta(a, DOCUMENT_CONFIG, "x").kind, (int)META_ABSENT);
    cr_expect_null(archive_text(a, TEXT_TOKENIZER, &n));
    cr_expect_eq(n, 0u);
    archive_close(&a);
}

/* What lies behind a tensor may be read up to the end of the file's last page, and no further. */
Test(safetensors, what_may_be_read_behind_a_tensor_ends_with_the_last_page)
{
    const size_t page = memory_page_bytes();
    for (size_t short_by = 0; short_by <= 64; short_by += 32) {
        char header[200];
        const size_t n = 2 * page - short_by - 8 - 96; /* of data: with the header's length and the header, two pages */
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}", n, n);
        memset(header + strlen(header), ' ', 96 - strlen(header));
        header[96] = 0;
        folder_write_header(&folder, FILE_NAME, header, NULL, n);
        struct archive *a = expect_opened(folder_path(&folder, FILE_NAME), ARCHIVE_TENSORS);
        const struct tensor_view *t = archive_find(a, "a");
        cr_assert(t && t->bytes == n);
        cr_expect(archive_may_read(a, t->data, n));
        cr_expect(archive_may_read(a, t->data, n + short_by), "%zu", short_by);
        cr_expect(!archive_may_read(a, t->data, n + short_by + 1), "%zu", short_by);
        cr_expect(archive_may_read(a, t->data + n - 1, 1 + short_by));
        cr_expect(!archive_may_read(a, t->data + n - 1, 2 + short_by));
        cr_expect(!archive_may_read(a, t->data, SIZE_MAX));
        cr_expect(!archive_may_read(a, (const unsigned char *)header, 1), "not of the file");
        archive_close(&a);
    }
}

/* ---- mutations --------------------------------------------------------------------------------------------------- */

/* Opens exactly the given bytes, in a heap block whose ends a sanitizer watches. Every view of an accepted file must
 * lie inside it. Returns whether it was accepted. */
static bool read_bytes(const unsigned char *bytes, size_t n)
{
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    struct failure f = {0};
    struct tensor_file file = {.name = memory_strndup("m", 1), .map = {.data = copy, .bytes = n}};
    sluice_status status = safetensors_read(&file, &f);
    cr_expect(status == SLUICE_OK || (status == SLUICE_FORMAT && f.text[0]));
    for (size_t i = 0; !status && i < file.n; i++) {
        const struct tensor_view *t = &file.tensors[i];
        cr_expect(t->data >= copy && t->bytes <= n && (size_t)(t->data - copy) <= n - t->bytes);
    }
    file.map = (struct file_map){0};
    tensor_file_close(&file);
    free(copy);
    return status == SLUICE_OK;
}

Test(safetensors, random_mutations_never_give_a_view_outside_the_file, .timeout = 120)
{
    static const char header[] = "{\"__metadata__\":{\"k\":\"\\u00e9v\"},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                 "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]}}";
    static const char alphabet[] = "{}[]\",:0123456789-+.eE\\u \xff\x80tfnNaI";
    unsigned char base[300], bytes[300];
    size_t header_n = strlen(header), n = 8 + header_n + 32;
    memset(base, 0, sizeof base);
    base[0] = (unsigned char)header_n;
    memcpy(base + 8, header, header_n);
    cr_assert(read_bytes(base, n));
    for (size_t cut = 0; cut < n; cut++) cr_expect_not(read_bytes(base, cut), "cut after %zu bytes", cut);

    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 40000; round++) {
        memcpy(bytes, base, n);
        for (int k = 0; k <= round % 3; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            size_t at = (size_t)(random >> 32) % (8 + header_n);
            bytes[at] = round % 2 ? (unsigned char)alphabet[random % (sizeof alphabet - 1)] : (unsigned char)random;
        }
        read_bytes(bytes, n);
    }
}
