/* Rows S of the catalogue (see hostile.h): safetensors files. Each is the model.safetensors of a folder that is good
 * otherwise (base_model.h); most break the header's first entry, "model.norm.weight". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/base_model.h"

#define FILE_NAME "model.safetensors"

/* ---- writers ----------------------------------------------------------------------------------------------------- */

static void write_file(struct hostile *h, const void *bytes, size_t n)
{
    base_config(h, NULL);
    folder_write(&h->folder, FILE_NAME, bytes, n);
}

static void put_length(unsigned char bytes[8], uint64_t length)
{
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> (8 * i));
}

/* A file of `value` bytes. */
static void short_file(struct hostile *h, uint64_t value) { write_file(h, "\2\0\0\0\0\0\0", (size_t)value); }

/* A header of `value` bytes by its own account, and 120 bytes after the length. */
static void wrong_length(struct hostile *h, uint64_t value)
{
    unsigned char bytes[128] = {[8] = '{'};
    put_length(bytes, value);
    write_file(h, bytes, sizeof bytes);
}

/* The bytes of the whole file: ten of the text, zeros behind them. */
static void other_format(struct hostile *h, uint64_t value)
{
    char bytes[64] = {0};
    memcpy(bytes, text_of(value), 10);
    write_file(h, bytes, sizeof bytes);
}

static void lfs_pointer(struct hostile *h, uint64_t value)
{
    static const char text[] = "version https://git-lfs.github.com/spec/v1\n"
                               "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
                               "size 3584\n";
    (void)value;
    write_file(h, text, sizeof text - 1);
}

/* The text is the whole header; there are no data. */
static void header(struct hostile *h, uint64_t value)
{
    base_config(h, NULL);
    folder_write_header(&h->folder, FILE_NAME, text_of(value), NULL, 0);
}

/* A header that ends with a NUL instead of blanks. */
static void header_with_nul(struct hostile *h, uint64_t value)
{
    unsigned char bytes[11] = {3, [8] = '{', '}', 0};
    (void)value;
    write_file(h, bytes, sizeof bytes);
}

/* So many times the text, which opens something, as the value of a tensor. */
static void depth_bomb(struct hostile *h, const char *piece, size_t n)
{
    char *text = base_repeat("{\"a\":", piece, n, "");
    base_config(h, NULL);
    folder_write_header(&h->folder, FILE_NAME, text, NULL, 0);
    free(text);
}
static void nested_arrays(struct hostile *h, uint64_t value) { depth_bomb(h, "[", (size_t)value); }
static void nested_objects(struct hostile *h, uint64_t value) { depth_bomb(h, "{\"a\":", (size_t)value); }

static void write_weights(struct hostile *h, const struct base_weights *w)
{
    base_config(h, NULL);
    base_weights(h, FILE_NAME, w);
}

/* The fields of "model.norm.weight". */
static void entry(struct hostile *h, uint64_t value)
{
    write_weights(h, &(struct base_weights){.entry = text_of(value)});
}

/* The text is all of the entry: a value that is no object. */
static void no_object(struct hostile *h, uint64_t value)
{
    char *text = base_repeat("{\"" BASE_TENSOR "\":", text_of(value), 1, "}");
    base_config(h, NULL);
    folder_write_header(&h->folder, FILE_NAME, text, NULL, 0);
    free(text);
}

/* Entries behind those of the model. */
static void more(struct hostile *h, uint64_t value)
{
    write_weights(h, &(struct base_weights){.more = text_of(value)});
}

/* The same, with so many bytes of data for them that they would be good without their overlap. */
static void more_data(struct hostile *h, uint64_t value)
{
    write_weights(h, &(struct base_weights){.more = text_of(value), .trailing = 4});
}

static void metadata(struct hostile *h, uint64_t value)
{
    write_weights(h, &(struct base_weights){.metadata = text_of(value)});
}

/* The name of what should be "model.norm.weight". */
static void name(struct hostile *h, uint64_t value)
{
    write_weights(h, &(struct base_weights){.name = text_of(value)});
}

/* A name of so many bytes. */
static void long_name(struct hostile *h, uint64_t value)
{
    char *text = base_repeat("", "n", (size_t)value, "");
    write_weights(h, &(struct base_weights){.name = text});
    free(text);
}

/* A tensor too many, with a name of so many bytes. */
static void more_long_name(struct hostile *h, uint64_t value)
{
    char *text = base_repeat("\"", "n", (size_t)value, "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}");
    write_weights(h, &(struct base_weights){.more = text});
    free(text);
}

static void gap(struct hostile *h, uint64_t value) { write_weights(h, &(struct base_weights){.gap = value}); }

static void trailing(struct hostile *h, uint64_t value)
{
    write_weights(h, &(struct base_weights){.trailing = value});
}

/* So many dimensions of 1. */
static void dimensions(struct hostile *h, uint64_t value)
{
    char *text = base_repeat("\"dtype\":\"F32\",\"data_offsets\":[0,32],\"shape\":[8", ",1", (size_t)value - 1, "]");
    write_weights(h, &(struct base_weights){.entry = text});
    free(text);
}

/* So many tensors, all on the first byte. */
static void many_on_one_byte(struct hostile *h, uint64_t value)
{
    char *text = malloc((size_t)value * 64), *p = text;
    if (!text) abort();
    for (uint64_t i = 0; i < value; i++)
        p += sprintf(p, "%s\"t%llu\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}", i ? "," : "",
                     (unsigned long long)i);
    write_weights(h, &(struct base_weights){.more = text});
    free(text);
}

/* So many entries, as short as they can be. */
static void many_tensors(struct hostile *h, uint64_t value)
{
    char *text = malloc((size_t)value * 16 + 16), *p = text;
    if (!text) abort();
    *p++ = '{';
    for (uint64_t i = 0; i < value; i++) p += sprintf(p, "%s\"%llu\":{}", i ? "," : "", (unsigned long long)i);
    memcpy(p, "}", 2);
    base_config(h, NULL);
    folder_write_header(&h->folder, FILE_NAME, text, NULL, 0);
    free(text);
}

/* A string of metadata of so many bytes. */
static void long_metadata(struct hostile *h, uint64_t value)
{
    char *text = base_repeat("{\"k\":\"", "x", (size_t)value, "\"}");
    write_weights(h, &(struct base_weights){.metadata = text});
    free(text);
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

#define MALFORMED(row, what, writer, value, line) {row, what, writer, value, SLUICE_FORMAT, FILE_NAME ": " line, 0}
#define UNSUPPORTED(row, what, writer, value, line) \
    {row, what, writer, value, SLUICE_UNSUPPORTED, FILE_NAME ": " line, 0}
#define ACCEPTED(row, what, writer, value, line) {row, what, writer, value, SLUICE_OK, line, 0}
/* One of the fields of "model.norm.weight" is wrong. */
#define ENTRY(row, what, fields, line) MALFORMED(row, what, entry, TEXT(fields), "tensor \"" BASE_TENSOR "\": " line)

#define DTYPE(text)   "\"dtype\":" text ",\"shape\":[8],\"data_offsets\":[0,32]"
#define SHAPE(text)   "\"dtype\":\"F32\",\"shape\":" text ",\"data_offsets\":[0,32]"
#define OFFSETS(text) "\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":" text
#define NOT_TWO       "data_offsets must be two integers"
#define NOT_STRINGS   "header: \"__metadata__\" values must be strings"
#define BAD_NAME(shown) \
    "header: tensor name \"" shown "\": expected 1..1024 bytes of text without NUL"
#define N_16 "nnnnnnnnnnnnnnnn"
#define N_64 N_16 N_16 N_16 N_16

const struct hostile_case hostile_safetensors[] = {
    MALFORMED("S01", "0 bytes", short_file, 0, "header: file too short (0 bytes, need 8)"),
    MALFORMED("S01", "1 byte", short_file, 1, "header: file too short (1 bytes, need 8)"),
    MALFORMED("S01", "7 bytes", short_file, 7, "header: file too short (7 bytes, need 8)"),

    MALFORMED("S02", "header length 2^64 - 1", wrong_length, UINT64_MAX,
              "header: length 18446744073709551615 exceeds the limit 100000000"),
    MALFORMED("S02", "header length 2^64 - 8: with its own bytes 0", wrong_length, UINT64_MAX - 7,
              "header: length 18446744073709551608 exceeds the limit 100000000"),
    MALFORMED("S02", "header length 2^63", wrong_length, UINT64_C(1) << 63,
              "header: length 9223372036854775808 exceeds the limit 100000000"),
    MALFORMED("S02", "header length 2^32 + 100", wrong_length, (UINT64_C(1) << 32) + 100,
              "header: length 4294967396 exceeds the limit 100000000"),
    MALFORMED("S02", "header length one above the limit", wrong_length, 100000001,
              "header: length 100000001 exceeds the limit 100000000"),

    MALFORMED("S03", "header length 4096 of 120", wrong_length, 4096,
              "header: length 4096 exceeds the remaining 120 bytes"),
    MALFORMED("S03", "header length 121 of 120", wrong_length, 121,
              "header: length 121 exceeds the remaining 120 bytes"),
    MALFORMED("S03", "header length 128: of the whole file", wrong_length, 128,
              "header: length 128 exceeds the remaining 120 bytes"),
    MALFORMED("S03", "header length at the limit", wrong_length, 100000000,
              "header: length 100000000 exceeds the remaining 120 bytes"),

    MALFORMED("S04", "header length 0", wrong_length, 0, "header: length 0 is too short for a JSON object"),
    MALFORMED("S04", "header length 1", wrong_length, 1, "header: length 1 is too short for a JSON object"),

    MALFORMED("S05", "a blank first", header, TEXT(" {}"), "header: begins with byte 0x20, expected '{'"),
    MALFORMED("S05", "a line end first", header, TEXT("\n{}"), "header: begins with byte 0x0a, expected '{'"),
    MALFORMED("S05", "a byte order mark first", header, TEXT("\xef\xbb\xbf{}"),
              "header: begins with byte 0xef, expected '{'"),
    MALFORMED("S05", "an array", header, TEXT("[]"), "header: begins with byte 0x5b, expected '{'"),
    MALFORMED("S05", "null", header, TEXT("null"), "header: begins with byte 0x6e, expected '{'"),
    UNSUPPORTED("S05", "a zip archive of PyTorch", other_format, TEXT("PK\3\4\0\0\10\10\0\0"),
                "is a PyTorch file: convert it to safetensors"),
    UNSUPPORTED("S05", "a pickle of PyTorch", other_format, TEXT("\200\2\212\nl\374\234F\371 "),
                "is a PyTorch file: convert it to safetensors"),
    MALFORMED("S05", "a GGUF file", other_format, TEXT("GGUF\3\0\0\0\0\0"), "is a GGUF file, not a safetensors file"),
    MALFORMED("S05", "a pointer of Git LFS", lfs_pointer, 0,
              "is a Git LFS pointer, not the file itself: fetch it with git lfs pull"),

    MALFORMED("S06", "0xff in a name", header, TEXT("{\"ab\xff\":{}}"), "header: not UTF-8 at byte 4"),
    MALFORMED("S06", "0xff between tokens", header, TEXT("{\xff\"a\":{}}"), "header: not UTF-8 at byte 1"),
    MALFORMED("S06", "an overlong NUL", header, TEXT("{\"ab\xc0\x80\":{}}"), "header: not UTF-8 at byte 4"),
    MALFORMED("S06", "an overlong slash", header, TEXT("{\"ab\xe0\x80\xaf\":{}}"), "header: not UTF-8 at byte 4"),
    MALFORMED("S06", "half of a surrogate pair", header, TEXT("{\"ab\xed\xa0\x80\":{}}"),
              "header: not UTF-8 at byte 4"),
    MALFORMED("S06", "above U+10FFFF", header, TEXT("{\"ab\xf4\x90\x80\x80\":{}}"), "header: not UTF-8 at byte 4"),
    MALFORMED("S06", "a character that is cut", header, TEXT("{\"ab\xe2\x82\":{}}"), "header: not UTF-8 at byte 4"),

    MALFORMED("S07", "cut in a name", header, TEXT("{\"a"), "header: JSON error at byte 8: the text ends too early"),
    MALFORMED("S07", "cut before a brace", header, TEXT("{\"a\":{}"),
              "header: JSON error at byte 8: the text ends too early"),
    MALFORMED("S07", "two objects", header, TEXT("{}{}"), "header: JSON error at byte 2: text after the end"),
    MALFORMED("S07", "text after the object", header, TEXT("{} x"), "header: JSON error at byte 3: text after the end"),
    MALFORMED("S07", "NUL after the object", header_with_nul, 0, "header: JSON error at byte 2: text after the end"),
    MALFORMED("S07", "no colon", header, TEXT("{\"a\" 1}"), "header: JSON error at byte 5: ':' is missing"),
    MALFORMED("S07", "a comma too many", header, TEXT("{\"a\":1,}"),
              "header: JSON error at byte 7: a key in quotes is missing"),
    MALFORMED("S07", "the wrong bracket", header, TEXT("{\"a\":1]"),
              "header: JSON error at byte 6: ',' or '}' is missing"),
    MALFORMED("S07", "other quotes", header, TEXT("{'a':1}"),
              "header: JSON error at byte 1: a key in quotes is missing"),
    MALFORMED("S07", "a number with a leading zero", header, TEXT("{\"a\":01}"),
              "header: JSON error at byte 6: ',' or '}' is missing"),
    MALFORMED("S07", "NaN", header, TEXT("{\"a\":NaN}"), "header: NaN and Infinity are not JSON (byte 5)"),
    MALFORMED("S07", "an unknown escape", header, TEXT("{\"a\":\"\\x\"}"),
              "header: JSON error at byte 6: unknown escape in a string"),
    MALFORMED("S07", "a line end in a string", header, TEXT("{\"a\":\"\n\"}"),
              "header: JSON error at byte 6: control character in a string"),

    MALFORMED("S08", "100000 arrays", nested_arrays, 100000, "header: JSON nested deeper than 64"),
    MALFORMED("S08", "100000 objects", nested_objects, 100000, "header: JSON nested deeper than 64"),
    MALFORMED("S08", "one array too deep", nested_arrays, 64, "header: JSON nested deeper than 64"),
    MALFORMED("S08", "as deep as is read", nested_arrays, 63, "header: JSON error at byte 72: the text ends too early"),

    MALFORMED("S09", "one name twice", more, TEXT("\"" BASE_TENSOR "\":{" BASE_ENTRY "}"),
              "header: \"" BASE_TENSOR "\" appears twice"),
    MALFORMED("S09", "one name twice, once with an escape", more, TEXT("\"model\\u002enorm.weight\":{" BASE_ENTRY "}"),
              "header: \"" BASE_TENSOR "\" appears twice"),
    MALFORMED("S09", "\"__metadata__\" twice", more, TEXT("\"__metadata__\":{}"),
              "header: \"__metadata__\" appears twice"),

    ENTRY("S10", "dtype twice", BASE_ENTRY ",\"dtype\":\"F32\"", "\"dtype\" appears twice"),
    ENTRY("S10", "shape twice", BASE_ENTRY ",\"shape\":[8]", "\"shape\" appears twice"),
    ENTRY("S10", "data_offsets twice", BASE_ENTRY ",\"data_offsets\":[0,32]", "\"data_offsets\" appears twice"),
    MALFORMED("S10", "one key of the metadata twice", metadata, TEXT("{\"k\":\"1\",\"\\u006b\":\"2\"}"),
              "header: \"__metadata__\": \"k\" appears twice"),

    ENTRY("S11", "no dtype", "\"shape\":[8],\"data_offsets\":[0,32]", "\"dtype\" is missing"),
    ENTRY("S11", "no shape", "\"dtype\":\"F32\",\"data_offsets\":[0,32]", "\"shape\" is missing"),
    ENTRY("S11", "no data_offsets", "\"dtype\":\"F32\",\"shape\":[8]", "\"data_offsets\" is missing"),
    ENTRY("S11", "nothing", "", "\"dtype\" is missing"),
    ENTRY("S11", "an unknown field", BASE_ENTRY ",\"strides\":[1]", "unknown field \"strides\""),
    ENTRY("S11", "a field with an escape", "\"d\\u0074ype\":\"F32\"", "unknown field \"d\\x5cu0074ype\""),
    MALFORMED("S11", "an array", no_object, TEXT("[]"), "tensor \"" BASE_TENSOR "\": must be an object"),
    MALFORMED("S11", "a string", no_object, TEXT("\"F32\""), "tensor \"" BASE_TENSOR "\": must be an object"),
    MALFORMED("S11", "null", no_object, TEXT("null"), "tensor \"" BASE_TENSOR "\": must be an object"),

    ENTRY("S12", "dtype Q4", DTYPE("\"Q4\""), "unknown dtype \"Q4\""),
    ENTRY("S12", "dtype f32", DTYPE("\"f32\""), "unknown dtype \"f32\""),
    ENTRY("S12", "dtype of GGUF files", DTYPE("\"Q8_0\""), "unknown dtype \"Q8_0\""),
    ENTRY("S12", "dtype with a NUL", DTYPE("\"F32\\u0000\""), "unknown dtype \"F32\\x5cu0000\""),
    ENTRY("S12", "an empty dtype", DTYPE("\"\""), "unknown dtype \"\""),
    ENTRY("S12", "dtype 7", DTYPE("7"), "unknown dtype 7"),
    ENTRY("S12", "dtype null", DTYPE("null"), "unknown dtype null"),

    ENTRY("S13", "a size of -1", SHAPE("[-1]"), "shape[0]: found -1, expected a non-negative integer"),
    ENTRY("S13", "a size of 1.5", SHAPE("[1.5]"), "shape[0]: found 1.5, expected a non-negative integer"),
    ENTRY("S13", "a size of 8e0", SHAPE("[8e0]"), "shape[0]: found 8e0, expected a non-negative integer"),
    ENTRY("S13", "a size of \"8\"", SHAPE("[1,\"8\"]"), "shape[1]: found 8, expected a non-negative integer"),
    ENTRY("S13", "a size of null", SHAPE("[null]"), "shape[0]: found null, expected a non-negative integer"),
    ENTRY("S13", "a size of 2^64", SHAPE("[18446744073709551616]"),
          "shape[0]: found 18446744073709551616, expected a non-negative integer"),
    ENTRY("S13", "a shape in a shape", SHAPE("[[8]]"), "shape[0]: found [, expected a non-negative integer"),
    ENTRY("S13", "a shape that is a number", SHAPE("8"), "shape: found 8, expected an array"),
    ENTRY("S13", "a shape that is null", SHAPE("null"), "shape: found null, expected an array"),

    ENTRY("S14", "2 x (2^64 - 2) elements", SHAPE("[2,18446744073709551614]"), "element count overflows"),
    ENTRY("S14", "(2^63 - 1) x 2 elements", SHAPE("[9223372036854775807,2,2]"), "element count overflows"),
    ENTRY("S14", "2^62 elements, 2^64 bytes", SHAPE("[4611686018427387904]"), "element count overflows"),
    ENTRY("S14", "2^62 + 8 elements: 32 bytes, if they wrap", SHAPE("[4611686018427387912]"),
          "element count overflows"),

    ENTRY("S15", "2^32 x 2^32 elements: 0, if they wrap", SHAPE("[4294967296,4294967296]"), "element count overflows"),
    ENTRY("S15", "2^16 four times", SHAPE("[65536,65536,65536,65536]"), "element count overflows"),
    MALFORMED("S15", "2^32 x 2^32 elements in no bytes", more,
              TEXT("\"z\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}"),
              "tensor \"z\": element count overflows"),

    MALFORMED("S16", "9 dimensions", dimensions, 9, "tensor \"" BASE_TENSOR "\": 9 dimensions (0..8)"),
    MALFORMED("S16", "a million dimensions", dimensions, 1000000,
              "tensor \"" BASE_TENSOR "\": 1000000 dimensions (0..8)"),
    MALFORMED("S16", "2 dimensions of 1", dimensions, 2,
              "tensor \"" BASE_TENSOR "\": shape [8,1], expected [8]"),

    ENTRY("S17", "a dtype of less than a byte", "\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]",
          "unknown dtype \"F4\""),

    ENTRY("S18", "no offsets", OFFSETS("[]"), NOT_TWO),
    ENTRY("S18", "1 offset", OFFSETS("[32]"), NOT_TWO),
    ENTRY("S18", "3 offsets", OFFSETS("[0,32,32]"), NOT_TWO),
    ENTRY("S18", "strings", OFFSETS("[\"0\",\"32\"]"), NOT_TWO),
    ENTRY("S18", "a negative offset", OFFSETS("[-32,0]"), NOT_TWO),
    ENTRY("S18", "an offset with a point", OFFSETS("[0.0,32]"), NOT_TWO),
    ENTRY("S18", "an offset of 2^64 + 32", OFFSETS("[0,18446744073709551648]"), NOT_TWO),
    ENTRY("S18", "an object", OFFSETS("{}"), NOT_TWO),
    ENTRY("S18", "null", OFFSETS("null"), NOT_TWO),

    ENTRY("S19", "the end before the beginning", OFFSETS("[32,0]"), "data_offsets 32..0 are reversed"),
    ENTRY("S19", "32 bytes, if the difference wraps", OFFSETS("[18446744073709551600,16]"),
          "data_offsets 18446744073709551600..16 are reversed"),

    ENTRY("S20", "4 bytes for 4 MB", "\"dtype\":\"F32\",\"shape\":[1000,1000],\"data_offsets\":[0,4]",
          "4 bytes, but F32 [1000, 1000] needs 4000000"),
    ENTRY("S20", "the wrong dtype", DTYPE("\"F64\""), "32 bytes, but F64 [8] needs 64"),
    ENTRY("S20", "a byte too few", OFFSETS("[0,31]"), "31 bytes, but F32 [8] needs 32"),
    ENTRY("S20", "a byte too many", OFFSETS("[0,33]"), "33 bytes, but F32 [8] needs 32"),
    ENTRY("S20", "no bytes for a number", "\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]",
          "0 bytes, but F32 [] needs 4"),
    ENTRY("S20", "bytes for nothing", SHAPE("[0,5]"), "32 bytes, but F32 [0, 5] needs 0"),
    ENTRY("S20", "2^64 - 1 bytes", OFFSETS("[0,18446744073709551615]"),
          "18446744073709551615 bytes, but F32 [8] needs 32"),

    ENTRY("S21", "4 MB of 3584 bytes", "\"dtype\":\"F32\",\"shape\":[1000,1000],\"data_offsets\":[0,4000000]",
          "bytes 0..4000000 lie outside the data section (3584)"),
    ENTRY("S21", "the last byte outside", OFFSETS("[3553,3585]"),
          "bytes 3553..3585 lie outside the data section (3584)"),
    ENTRY("S21", "the last bytes of 2^64", OFFSETS("[18446744073709551583,18446744073709551615]"),
          "bytes 18446744073709551583..18446744073709551615 lie outside the data section (3584)"),
    MALFORMED("S21", "nothing, outside", more,
              TEXT("\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[3585,3585]}"),
              "tensor \"z\": bytes 3585..3585 lie outside the data section (3584)"),

    MALFORMED("S22", "the same bytes", more, TEXT("\"z\":{" BASE_ENTRY "}"),
              "tensor \"z\": overlaps \"" BASE_TENSOR "\""),
    MALFORMED("S22", "one byte of another", more_data,
              TEXT("\"z\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[3583,3588]}"),
              "tensor \"z\": overlaps \"model.layers.0.mlp.experts.3.down_proj.weight\""),
    MALFORMED("S22", "nothing, inside another", more,
              TEXT("\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]}"),
              "tensor \"z\": overlaps \"" BASE_TENSOR "\""),
    MALFORMED("S22", "100000 tensors on one byte", many_on_one_byte, 100000, "tensor \"t1\": overlaps \"t0\""),

    MALFORMED("S23", "a gap of 1 byte", gap, 1, "data: bytes 32..33 belong to no tensor"),
    MALFORMED("S23", "a gap of 1 MiB", gap, 1 << 20, "data: bytes 32..1048608 belong to no tensor"),
    MALFORMED("S23", "a gap at the beginning", entry,
              TEXT("\"dtype\":\"U8\",\"shape\":[24],\"data_offsets\":[8,32]"), "data: bytes 0..8 belong to no tensor"),

    MALFORMED("S24", "a byte after the last tensor", trailing, 1, "data: 1 bytes after the last tensor"),
    MALFORMED("S24", "1 MB after the last tensor", trailing, 1000000, "data: 1000000 bytes after the last tensor"),
    MALFORMED("S24", "data without tensors", other_format, TEXT("\2\0\0\0\0\0\0\0{}"),
              "data: 54 bytes after the last tensor"),

    MALFORMED("S25", "an object in the metadata", metadata, TEXT("{\"k\":{}}"), NOT_STRINGS),
    MALFORMED("S25", "a number in the metadata", metadata, TEXT("{\"k\":1}"), NOT_STRINGS),
    MALFORMED("S25", "null in the metadata", metadata, TEXT("{\"k\":null}"), NOT_STRINGS),
    MALFORMED("S25", "metadata that are an array", metadata, TEXT("[]"), NOT_STRINGS),
    MALFORMED("S25", "metadata that are a string", metadata, TEXT("\"k\""), NOT_STRINGS),
    MALFORMED("S25", "metadata that are null", metadata, TEXT("null"), NOT_STRINGS),
    MALFORMED("S25", "a NUL in the metadata", metadata, TEXT("{\"k\":\"\\u0000\"}"), NOT_STRINGS),
    MALFORMED("S25", "half of a surrogate pair in a key", metadata, TEXT("{\"k\\ud800\":\"\"}"), NOT_STRINGS),
    MALFORMED("S25", "a string of 50 MiB", long_metadata, 50 << 20,
              "header: \"__metadata__\" string of 52428800 bytes exceeds the limit 16777216"),
    ACCEPTED("S25", "no metadata", metadata, TEXT("{}"), NULL),

    MALFORMED("S26", "an empty name", name, TEXT(""), BAD_NAME("")),
    MALFORMED("S26", "a name that is NUL", name, TEXT("\\u0000"), BAD_NAME("\\x5cu0000")),
    MALFORMED("S26", "a name with a NUL behind it", name, TEXT(BASE_TENSOR "\\u0000"),
              BAD_NAME(BASE_TENSOR "\\x5cu0000")),
    MALFORMED("S26", "the first half of a surrogate pair", name, TEXT("\\ud800"), BAD_NAME("\\x5cud800")),
    MALFORMED("S26", "the second half of a surrogate pair", name, TEXT("\\udc00"), BAD_NAME("\\x5cudc00")),
    MALFORMED("S26", "two first halves", name, TEXT("\\ud800\\ud800"), BAD_NAME("\\x5cud800\\x5cud800")),
    MALFORMED("S26", "a name of 2000 bytes", long_name, 2000, BAD_NAME(N_64 "...")),
    MALFORMED("S26", "a name of 1025 bytes", long_name, 1025, BAD_NAME(N_64 "...")),
    ACCEPTED("S26", "a name of 1024 bytes", more_long_name, 1024,
             "model: tensor \"" N_64 "...\" is not used by this architecture"),
    ACCEPTED("S26", "a name that clears the screen", more,
             TEXT("\"\\u001b[2J\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}"),
             "model: tensor \"\\x1b[2J\" is not used by this architecture"),
    {"S26", "a name of one letter", name, TEXT("a"), SLUICE_FORMAT, "model: missing tensors: " BASE_TENSOR, 0},

    MALFORMED("S27", "1100000 tensors", many_tensors, 1100000, "header: tensor count exceeds the limit 1048576"),
    MALFORMED("S27", "as many tensors as are read, all of them empty", many_tensors, 1048576,
              "tensor \"0\": \"dtype\" is missing"),

    ACCEPTED("S28", "a tensor of nothing", more,
             TEXT("\"z\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[0,0]}"),
             "model: tensor \"z\" is not used by this architecture"),
    ACCEPTED("S28", "a tensor of nothing and a number behind the last tensor", more_data,
             TEXT("\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[3584,3584]},"
                  "\"y\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[3584,3588]}"),
             "model: 2 tensors are not used by this architecture, the first is \"y\""),
    MALFORMED("S28", "a tensor of nothing that the model needs", name,
              TEXT(BASE_TENSOR "\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},\"a"),
              "tensor \"" BASE_TENSOR "\": shape [0], expected [8]"),
    MALFORMED("S28", "0 x 2^40 x 2^40 elements", more,
              TEXT("\"z\":{\"dtype\":\"F32\",\"shape\":[0,1099511627776,1099511627776],\"data_offsets\":[0,0]}"),
              "tensor \"z\": element count overflows"),
};
const size_t n_hostile_safetensors = sizeof hostile_safetensors / sizeof *hostile_safetensors;
