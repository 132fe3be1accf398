/* One GGUF file: key-value pairs and tensor views.
 *
 * Owns the format, versions 2 and 3, little-endian, and nothing else:
 *
 *      "GGUF"  version  n_tensors  n_keys     keys                 tensors                    data section
 *     +-------+--------+----------+--------+--------------------+-------------------+-----+--------+---+--------+
 *     |  u32  |  u32   |   u64    |  u64   | key, type, value   | name, dims, type, | pad | first  |pad| second |
 *     |       |        |          |        | key, type, value.. | offset; name ..   |     | tensor |   | tensor |
 *     +-------+--------+----------+--------+--------------------+-------------------+-----+--------+---+--------+
 *      0       4        8          16       24                         offsets count from here ^
 *
 *     string   u64 n, n bytes                          (no NUL)
 *     key      string, u32 type, value                 value: a number of 1..8 bytes, a string, or an array:
 *     array    u32 type of the elements, u64 n, n values
 *     tensor   string, u32 n_dims, u64 dims[n_dims], u32 type, u64 offset
 *
 * Dimensions stand innermost first; views have them outermost first. The data section and every tensor in it begin at
 * a multiple of "general.alignment", 32 when absent.
 *
 * The header is walked twice by the same code: the first walk proves it and measures the room that strings need, the
 * second fills that room. Duplicates and overlaps are found by sorting. Numbers of the file meet arithmetic only
 * through base/checked.h. Which files make up a model is the business of gguf_files.c, read next. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "weights/archive_parts.h"

enum {
    MIN_KEY_BYTES = 8 + 1 + 4 + 1,            /* a name of one byte, the type, a boolean */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, /* a name of one byte, one dimension */
    MIN_ALIGNMENT = 8,
    MAX_ALIGNMENT = 65536,
};
static const uint64_t max_header_bytes = 256 << 20; /* keys and tensors; more only from a file of holes */
static const uint64_t max_extent = (uint64_t)1 << 40;

const struct gguf_type_info gguf_types[N_GGUF_TYPES] = {
    [GGUF_UINT8] = {"uint8", "array of uint8", 1},       [GGUF_INT8] = {"int8", "array of int8", 1},
    [GGUF_UINT16] = {"uint16", "array of uint16", 2},    [GGUF_INT16] = {"int16", "array of int16", 2},
    [GGUF_UINT32] = {"uint32", "array of uint32", 4},    [GGUF_INT32] = {"int32", "array of int32", 4},
    [GGUF_FLOAT32] = {"float32", "array of float32", 4}, [GGUF_BOOL] = {"bool", "array of bool", 1},
    [GGUF_STRING] = {"string", "array of string", 0},    [GGUF_ARRAY] = {"array", "array of arrays", 0},
    [GGUF_UINT64] = {"uint64", "array of uint64", 8},    [GGUF_INT64] = {"int64", "array of int64", 8},
    [GGUF_FLOAT64] = {"float64", "array of float64", 8},
};

struct span {
    const char *text;
    size_t n;
};

struct parse {
    struct tensor_file *file;
    struct failure *f;
    bool with_tensors;
    const unsigned char *at, *end; /* what is not read yet */
    uint64_t n_values, n_tensors;
    uint64_t alignment;
    uint64_t total_bytes; /* of the tensors so far, padded */
    /* The first walk counts the room for strings and their starts; the second, with `text` set, uses it up. */
    char *text;
    size_t *starts;
    size_t text_bytes, n_starts;
};

/* Where the data section lies, and where in it the tensors. */
struct place {
    uint64_t begin, end;
    const char *name;
};
struct section {
    uint64_t start, bytes;
    struct place *places; /* [n_tensors] */
};

/* ---- sentences --------------------------------------------------------------------------------------------------- */

/* "FILE: KIND "NAME": REASON" */
__attribute__((format(printf, 5, 6))) static sluice_status fail_at(struct parse *p, sluice_status status,
                                                                   const char *kind, struct span name,
                                                                   const char *format, ...)
{
    char shown[ESCAPED_BYTES], reason[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    escape_text(shown, sizeof shown, name.text, name.n);
    return fail(p->f, status, "%s: %s \"%s\": %s", p->file->name, kind, shown, reason);
}

#ifdef __clang_analyzer__ /* as in failure.h: it is the status that was given */
#define fail_at(p, status, ...) ((fail_at)(p, status, __VA_ARGS__), (status))
#endif
#define key_fail(p, key, ...)     fail_at(p, SLUICE_FORMAT, "key", key, __VA_ARGS__)
#define tensor_fail(p, name, ...) fail_at(p, SLUICE_FORMAT, "tensor", name, __VA_ARGS__)

static const char end_of_file[] = "unexpected end of file";

static struct span span_of(const char *text) { return (struct span){text, strlen(text)}; }

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* A number of at most 8 bytes. */
static uint64_t load(const unsigned char *at, size_t bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0) v = v << 8 | at[bytes]; /* bounded: at most 8 times */
    return v;
}

static uint64_t remaining(const struct parse *p) { return (uint64_t)(p->end - p->at); }

/* The next n bytes, n <= remaining(p), will be looked at. */
static void need(const struct parse *p, uint64_t n)
{
    const struct file_map *map = &p->file->map;
    file_map_need(map, (size_t)(p->at - map->data) + (size_t)n); /* bounded: at most the rest of the file */
}

static bool read_number(struct parse *p, size_t bytes, uint64_t *v)
{
    if (remaining(p) < bytes) return false;
    need(p, bytes);
    *v = load(p->at, bytes);
    p->at += bytes;
    return true;
}

static sluice_status check_header_size(const struct parse *p)
{
    if ((uint64_t)(p->at - p->file->map.data) <= max_header_bytes) return SLUICE_OK;
    return fail(p->f, SLUICE_FORMAT, "%s: header: larger than %llu bytes", p->file->name,
                (unsigned long long)max_header_bytes);
}

/* The second walk finds what the first has measured, unless somebody writes to the file meanwhile. */
static sluice_status fail_changed(struct parse *p)
{
    return fail(p->f, SLUICE_FORMAT, "%s: header: changed while it was read", p->file->name);
}

/* Keeps a string until the file is closed, with a NUL behind it. The first walk only counts: the strings of a file
 * take no more bytes than the file, and the NULs no more than their lengths. */
static sluice_status keep_text(struct parse *p, struct span s, const char **kept)
{
    *kept = p->text;
    if (!p->text) {
        p->text_bytes += s.n + 1;
        return SLUICE_OK;
    }
    if (p->text_bytes < s.n + 1) return fail_changed(p);
    memcpy(p->text, s.text, s.n);
    p->text[s.n] = 0;
    p->text += s.n + 1;
    p->text_bytes -= s.n + 1;
    return SLUICE_OK;
}

static sluice_status keep_start(struct parse *p, const char *base)
{
    if (!p->text) {
        p->n_starts++;
        return SLUICE_OK;
    }
    if (p->n_starts == 0) return fail_changed(p);
    *p->starts++ = (size_t)(p->text - base);
    p->n_starts--;
    return SLUICE_OK;
}

/* ---- names of keys and tensors ----------------------------------------------------------------------------------- */

bool gguf_name_is_printable(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (name[i] < 0x20 || name[i] > 0x7e) return false;
    return n > 0;
}

struct name_rule {
    const char *kind, *length;
    uint64_t limit;
    const char *empty, *bad;
};
static const struct name_rule key_rule = {"key", "length", GGUF_MAX_KEY_BYTES, "empty name",
                                          "name is not printable ASCII"};
static const struct name_rule tensor_rule = {"tensor", "name length", GGUF_MAX_TENSOR_NAME_BYTES, "bad name",
                                             "bad name"};

static sluice_status read_name(struct parse *p, const struct name_rule *rule, uint64_t index, struct span *name)
{
    const char *file = p->file->name;
    unsigned long long i = index, n, rest;
    uint64_t length;
    if (!read_number(p, 8, &length))
        return fail(p->f, SLUICE_FORMAT, "%s: %s %llu: %s", file, rule->kind, i, end_of_file);
    n = length, rest = remaining(p);
    if (n > rule->limit)
        return fail(p->f, SLUICE_FORMAT, "%s: %s %llu: %s %llu exceeds the limit %llu", file, rule->kind, i,
                    rule->length, n, (unsigned long long)rule->limit);
    if (n > rest)
        return fail(p->f, SLUICE_FORMAT, "%s: %s %llu: %s %llu exceeds the remaining %llu bytes", file, rule->kind, i,
                    rule->length, n, rest);
    need(p, n);
    *name = (struct span){(const char *)p->at, (size_t)n}; /* bounded: at most the rest of the file */
    if (!gguf_name_is_printable(name->text, name->n))
        return fail(p->f, SLUICE_FORMAT, "%s: %s %llu: %s", file, rule->kind, i, n ? rule->bad : rule->empty);
    p->at += name->n;
    return SLUICE_OK;
}

/* ---- values of keys ---------------------------------------------------------------------------------------------- */

#define NO_ELEMENT UINT64_MAX

static sluice_status read_string(struct parse *p, struct span key, uint64_t element, struct span *out)
{
    uint64_t length;
    bool there = read_number(p, 8, &length);
    unsigned long long n = there ? length : 0, rest = remaining(p);
    if (there && n <= GGUF_MAX_STRING_BYTES && n <= rest) {
        need(p, n);
        *out = (struct span){(const char *)p->at, (size_t)n}; /* bounded: at most the rest of the file */
        p->at += out->n;
        return check_header_size(p);
    }
    char place[40] = "string", in_element[48] = "";
    if (element != NO_ELEMENT) {
        snprintf(place, sizeof place, "element %llu:", (unsigned long long)element);
        snprintf(in_element, sizeof in_element, "%s ", place);
    }
    if (!there) return key_fail(p, key, "%s%s", in_element, end_of_file);
    if (n > GGUF_MAX_STRING_BYTES)
        return key_fail(p, key, "%s length %llu exceeds the limit %d", place, n, GGUF_MAX_STRING_BYTES);
    return key_fail(p, key, "%s length %llu exceeds the remaining %llu bytes", place, n, rest);
}

static sluice_status read_strings(struct parse *p, struct span key, struct gguf_value *v)
{
    sluice_status status = SLUICE_OK;
    const char *base = v->text = p->text, *kept;
    v->starts = p->starts;
    for (size_t i = 0; !status && i < v->n; i++) {
        struct span s;
        status = read_string(p, key, i, &s);
        if (!status) status = keep_start(p, base);
        if (!status) status = keep_text(p, s, &kept);
    }
    return status ? status : keep_start(p, base);
}

static sluice_status read_array(struct parse *p, struct span key, struct gguf_value *v)
{
    uint64_t element, count, bytes = 0;
    if (!read_number(p, 4, &element) || !read_number(p, 8, &count)) return key_fail(p, key, "%s", end_of_file);
    if (element == GGUF_ARRAY) return fail_at(p, SLUICE_UNSUPPORTED, "key", key, "array of arrays is not supported");
    unsigned long long n = count, rest = remaining(p);
    if (element >= N_GGUF_TYPES) return key_fail(p, key, "unknown element type %llu", (unsigned long long)element);
    if (n > GGUF_MAX_ELEMENTS) return key_fail(p, key, "array count %llu exceeds the limit %d", n, GGUF_MAX_ELEMENTS);

    v->n = (size_t)count;                 /* bounded: compared with GGUF_MAX_ELEMENTS */
    v->element = (enum gguf_type)element; /* bounded: compared with N_GGUF_TYPES */
    v->elements = p->at;
    const struct gguf_type_info *type = &gguf_types[v->element];
    bool strings = v->element == GGUF_STRING;
    if (!checked_mul(&bytes, count, strings ? 8 : type->bytes) || bytes > rest)
        return key_fail(p, key, "array of %llu %s cannot fit in the remaining %llu bytes", n,
                        strings ? "strings" : type->name, rest);
    if (strings) return read_strings(p, key, v);
    need(p, bytes);
    if (v->element == GGUF_BOOL)
        for (size_t i = 0; i < v->n; i++)
            if (p->at[i] > 1) return key_fail(p, key, "element %zu: boolean must be 0 or 1 (got %d)", i, p->at[i]);
    p->at += bytes; /* bounded: at most the rest of the file */
    return check_header_size(p);
}

static sluice_status read_alignment(struct parse *p, struct span key, const struct gguf_value *v)
{
    if (v->type != GGUF_UINT32)
        return key_fail(p, key, "expected uint32, found %s",
                        v->type == GGUF_ARRAY ? gguf_types[v->element].array_name : gguf_types[v->type].name);
    uint64_t n = load(v->elements, 4);
    if (n < MIN_ALIGNMENT || n > MAX_ALIGNMENT || (n & (n - 1)) != 0)
        return key_fail(p, key, "must be a power of two in %d..%d (got %llu)", MIN_ALIGNMENT, MAX_ALIGNMENT,
                        (unsigned long long)n);
    p->alignment = n;
    return SLUICE_OK;
}

static sluice_status read_value(struct parse *p, struct span key, struct gguf_value *v)
{
    uint64_t type;
    if (!read_number(p, 4, &type)) return key_fail(p, key, "%s", end_of_file);
    if (type >= N_GGUF_TYPES) return key_fail(p, key, "unknown value type %llu", (unsigned long long)type);
    v->type = (enum gguf_type)type; /* bounded: compared with N_GGUF_TYPES */
    v->encoded = v->elements = p->at;
    if (v->type == GGUF_ARRAY) return read_array(p, key, v);
    if (v->type == GGUF_STRING) {
        struct span s;
        sluice_status status = read_string(p, key, NO_ELEMENT, &s);
        v->n = status ? 0 : s.n;
        return status ? status : keep_text(p, s, &v->text);
    }
    size_t bytes = gguf_types[v->type].bytes;
    if (remaining(p) < bytes) return key_fail(p, key, "%s", end_of_file);
    need(p, bytes);
    if (v->type == GGUF_BOOL && *p->at > 1) return key_fail(p, key, "boolean must be 0 or 1 (got %d)", *p->at);
    p->at += bytes;
    return SLUICE_OK;
}

static sluice_status read_pair(struct parse *p, uint64_t index, struct gguf_value *v)
{
    struct span key;
    *v = (struct gguf_value){0};
    sluice_status status = read_name(p, &key_rule, index, &key);
    if (!status) status = keep_text(p, key, &v->key);
    if (!status) status = read_value(p, key, v);
    if (status) return status;
    v->encoded_bytes = (size_t)(p->at - v->encoded);
    static const char alignment[] = "general.alignment";
    bool aligns = key.n == sizeof alignment - 1 && memcmp(key.text, alignment, key.n) == 0;
    return aligns ? read_alignment(p, key, v) : check_header_size(p);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static sluice_status read_dims(struct parse *p, struct span name, struct tensor_view *t)
{
    uint64_t n_dims;
    if (!read_number(p, 4, &n_dims)) return tensor_fail(p, name, "%s", end_of_file);
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
        return tensor_fail(p, name, "%llu dimensions (1..%d)", (unsigned long long)n_dims, GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims; /* bounded: compared with GGUF_MAX_DIMS */
    for (int i = 0; i < t->n_dims; i++) {
        uint64_t *extent = &t->shape[t->n_dims - 1 - i];
        if (!read_number(p, 8, extent)) return tensor_fail(p, name, "%s", end_of_file);
        if (*extent == 0) return tensor_fail(p, name, "dimension %d is 0", i);
        if (*extent > INT64_MAX) return tensor_fail(p, name, "dimension %d is too large", i);
    }
    return SLUICE_OK;
}

static sluice_status read_type(struct parse *p, struct span name, struct tensor_view *t)
{
    uint64_t type;
    const char *known;
    if (!read_number(p, 4, &type)) return tensor_fail(p, name, "%s", end_of_file);
    if (dtype_from_gguf((uint32_t)type, &t->dtype, &known)) return SLUICE_OK; /* bounded: read from 4 bytes */
    if (!known) return tensor_fail(p, name, "unknown type %llu", (unsigned long long)type);
    char lower[32] = "";
    for (size_t i = 0; known[i] && i < sizeof lower - 1; i++) lower[i] = (char)tolower((unsigned char)known[i]);
    return fail_at(p, SLUICE_UNSUPPORTED, "tensor", name, "type %s is not supported", lower);
}

/* Elements and bytes fit in 63 bits, each and padded and all together, before any limit is asked. */
static sluice_status measure_tensor(struct parse *p, struct span name, struct tensor_view *t)
{
    const struct dtype_info *dtype = dtype_info(t->dtype);
    uint64_t block = (uint64_t)dtype->elements_per_block, row = t->shape[t->n_dims - 1], count = 1, padded;
    for (int i = 0; i < t->n_dims; i++)
        if (!checked_mul(&count, count, t->shape[i]) || count > INT64_MAX)
            return tensor_fail(p, name, "element count overflows");
    if (row % block != 0)
        return tensor_fail(p, name, "row of %llu is not a multiple of block %llu", (unsigned long long)row,
                           (unsigned long long)block);
    if (!checked_mul(&t->bytes, count / block, dtype->bytes_per_block) ||
        !checked_align(&padded, t->bytes, p->alignment))
        return tensor_fail(p, name, "size in bytes overflows");
    if (!checked_add(&p->total_bytes, p->total_bytes, padded)) return tensor_fail(p, name, "total size overflows");
    for (int i = 0; i < t->n_dims; i++)
        if (t->shape[t->n_dims - 1 - i] > max_extent) return tensor_fail(p, name, "dimension %d is too large", i);
    return SLUICE_OK;
}

static sluice_status read_tensor(struct parse *p, uint64_t index, struct tensor_view *t, uint64_t *offset)
{
    struct span name;
    *t = (struct tensor_view){.file = p->file->name};
    sluice_status status = read_name(p, &tensor_rule, index, &name);
    if (!status) status = keep_text(p, name, &t->name);
    if (!status) status = read_dims(p, name, t);
    if (!status) status = read_type(p, name, t);
    if (!status) status = measure_tensor(p, name, t);
    if (status) return status;
    if (!read_number(p, 8, offset)) return tensor_fail(p, name, "%s", end_of_file);
    if (*offset % p->alignment != 0)
        return tensor_fail(p, name, "offset %llu is not aligned to %llu", (unsigned long long)*offset,
                           (unsigned long long)p->alignment);
    return check_header_size(p);
}

/* ---- the header, first walk -------------------------------------------------------------------------------------- */

static sluice_status check_count(struct parse *p, const char *what, uint64_t count, uint64_t limit, uint64_t min_bytes)
{
    unsigned long long n = count, rest = remaining(p);
    uint64_t bytes;
    if (count > limit)
        return fail(p->f, SLUICE_FORMAT, "%s: header: %s count %llu exceeds the limit %llu", p->file->name, what, n,
                    (unsigned long long)limit);
    if (!checked_mul(&bytes, count, min_bytes) || bytes > rest)
        return fail(p->f, SLUICE_FORMAT, "%s: header: %s count %llu cannot fit in the remaining %llu bytes",
                    p->file->name, what, n, rest);
    return SLUICE_OK;
}

static sluice_status check_version(struct parse *p, uint64_t version)
{
    bool swapped = version > 0 && (version & 0xffffff) == 0; /* 3 read from the other end */
    if (version == 2 || version == 3) return SLUICE_OK;
    if (swapped) return fail(p->f, SLUICE_UNSUPPORTED, "%s: header: big-endian GGUF is not supported", p->file->name);
    return fail(p->f, SLUICE_UNSUPPORTED, "%s: header: GGUF version %llu is not supported (2 or 3)", p->file->name,
                (unsigned long long)version);
}

static sluice_status read_header(struct parse *p)
{
    const struct file_map *map = &p->file->map;
    const char *name = p->file->name;
    const unsigned char *m = map->data;
    uint64_t version;
    if (map->bytes == 0) return fail(p->f, SLUICE_FORMAT, "%s: header: file is empty", name);
    if (map->bytes >= 4 && memcmp(m, "FUGG", 4) == 0)
        return fail(p->f, SLUICE_UNSUPPORTED, "%s: header: big-endian GGUF is not supported", name);
    if (map->bytes >= 4 && memcmp(m, "GGUF", 4) != 0)
        return fail(p->f, SLUICE_FORMAT, "%s: header: not a GGUF file (magic %02x%02x%02x%02x)", name, m[0], m[1], m[2],
                    m[3]);
    if (map->bytes < GGUF_HEADER_BYTES)
        return fail(p->f, SLUICE_FORMAT, "%s: header: file too short (%zu bytes, need %d)", name, map->bytes,
                    GGUF_HEADER_BYTES);
    p->at = m + 4;
    p->end = m + map->bytes;
    read_number(p, 4, &version);
    sluice_status status = check_version(p, version);
    if (status) return status;
    read_number(p, 8, &p->n_tensors);
    read_number(p, 8, &p->n_values);
    status = check_count(p, "tensor", p->n_tensors, ARCHIVE_MAX_TENSORS, MIN_TENSOR_BYTES);
    return status ? status : check_count(p, "key", p->n_values, GGUF_MAX_KEYS, MIN_KEY_BYTES);
}

static sluice_status measure(struct parse *p)
{
    sluice_status status = read_header(p);
    for (uint64_t i = 0; !status && i < p->n_values; i++) {
        struct gguf_value v;
        status = read_pair(p, i, &v);
    }
    if (!status) status = check_count(p, "tensor", p->n_tensors, ARCHIVE_MAX_TENSORS, MIN_TENSOR_BYTES);
    for (uint64_t i = 0; !status && i < p->n_tensors; i++) {
        struct tensor_view t;
        uint64_t offset;
        status = read_tensor(p, i, &t, &offset);
    }
    return status;
}

/* The data section begins at the next multiple of the alignment. A file without tensors may end before that. */
static sluice_status find_section(struct parse *p, struct section *s)
{
    uint64_t bytes = p->file->map.bytes;
    p->file->header_bytes = bytes - remaining(p);
    if (!checked_align(&s->start, bytes - remaining(p), p->alignment)) s->start = UINT64_MAX;
    s->bytes = bytes > s->start ? bytes - s->start : 0;
    if (s->start <= bytes || p->n_tensors == 0 || !p->with_tensors) return SLUICE_OK;
    return fail(p->f, SLUICE_FORMAT, "%s: data: section starts at %llu but the file has %llu bytes", p->file->name,
                (unsigned long long)s->start, (unsigned long long)bytes);
}

/* ---- second walk ------------------------------------------------------------------------------------------------- */

static sluice_status place_tensor(struct parse *p, struct tensor_view *t, uint64_t offset, const struct section *s,
                                  struct place *place)
{
    *place = (struct place){.begin = offset, .end = UINT64_MAX, .name = t->name};
    bool fits = checked_add(&place->end, offset, t->bytes);
    if (!fits || (p->with_tensors && place->end > s->bytes))
        return tensor_fail(p, span_of(t->name), "bytes %llu..%llu lie outside the data section (%llu)",
                           (unsigned long long)offset, (unsigned long long)place->end, (unsigned long long)s->bytes);
    if (p->with_tensors) t->data = p->file->map.data + s->start + offset; /* bounded: the tensor ends in the file */
    return SLUICE_OK;
}

static sluice_status fill(struct parse *p, const struct section *s)
{
    struct tensor_file *file = p->file;
    sluice_status status = SLUICE_OK;
    p->at = file->map.data + GGUF_HEADER_BYTES;
    p->total_bytes = 0;
    while (!status && file->n_values < p->n_values) {
        struct gguf_value *v = &file->values[file->n_values];
        status = read_pair(p, file->n_values, v);
        file->by_key[file->n_values++] = v;
    }
    while (!status && file->n < p->n_tensors) {
        struct tensor_view *t = &file->tensors[file->n];
        uint64_t offset;
        status = read_tensor(p, file->n, t, &offset);
        if (!status) status = place_tensor(p, t, offset, s, &s->places[file->n]);
        file->n++;
    }
    return status;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b)
{
    const struct gguf_value *v = *(const struct gguf_value *const *)a, *w = *(const struct gguf_value *const *)b;
    int order = strcmp(v->key, w->key);
    return order ? order : (v > w) - (v < w); /* in the order of the file */
}

static sluice_status check_keys(struct parse *p)
{
    struct tensor_file *file = p->file;
    if (file->n_values > 1) qsort(file->by_key, file->n_values, sizeof *file->by_key, compare_keys);
    for (size_t i = 1; i < file->n_values; i++)
        if (strcmp(file->by_key[i]->key, file->by_key[i - 1]->key) == 0) {
            const char *key = file->by_key[i]->key;
            char shown[ESCAPED_BYTES];
            return fail(p->f, SLUICE_FORMAT, "%s: key %zu: \"%s\" appears twice", file->name,
                        (size_t)(file->by_key[i] - file->values), escape_text(shown, sizeof shown, key, strlen(key)));
        }
    return SLUICE_OK;
}

static sluice_status check_names(struct parse *p)
{
    const struct tensor_view *t = p->file->tensors;
    tensors_sort(p->file->tensors, p->file->n);
    for (size_t i = 1; i < p->file->n; i++)
        if (strcmp(t[i].name, t[i - 1].name) == 0) return tensor_fail(p, span_of(t[i].name), "appears twice");
    return SLUICE_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct place *s = a, *t = b;
    if (s->begin != t->begin) return s->begin < t->begin ? -1 : 1;
    if (s->end != t->end) return s->end < t->end ? -1 : 1;
    return strcmp(s->name, t->name);
}

/* In order of place, no tensor begins before the one before it ended, nor much later. */
static sluice_status check_places(struct parse *p, const struct section *s)
{
    struct tensor_file *file = p->file;
    uint64_t at = 0;
    if (file->n > 1) qsort(s->places, file->n, sizeof *s->places, compare_places);
    for (size_t i = 0; i < file->n; i++) {
        const struct place *place = &s->places[i];
        if (place->begin < at) {
            char other[ESCAPED_BYTES];
            escape_text(other, sizeof other, place[-1].name, strlen(place[-1].name));
            return tensor_fail(p, span_of(place->name), "overlaps \"%s\"", other);
        }
        if (place->begin - at > p->alignment)
            return tensor_fail(p, span_of(place->name), "gap of %llu bytes", (unsigned long long)(place->begin - at));
        at = place->end;
    }
    if (s->bytes > at && s->bytes - at > p->alignment) file->trailing_bytes = s->bytes - at;
    return SLUICE_OK;
}

static sluice_status build(struct parse *p, struct section *s)
{
    struct tensor_file *file = p->file;
    size_t n_values = (size_t)p->n_values, n_tensors = (size_t)p->n_tensors; /* bounded: by check_count */
    file->strings = memory_alloc(p->text_bytes);
    file->starts = memory_calloc(p->n_starts, sizeof *file->starts);
    file->values = memory_calloc(n_values, sizeof *file->values);
    file->by_key = memory_calloc(n_values, sizeof *file->by_key);
    file->tensors = memory_calloc(n_tensors, sizeof *file->tensors);
    s->places = memory_calloc(n_tensors, sizeof *s->places);
    if (!file->strings || !file->starts || !file->values || !file->by_key || !file->tensors || !s->places)
        return fail_memory(p->f, file->name);
    p->text = file->strings;
    p->starts = file->starts;
    sluice_status status = fill(p, s);
    if (!status) status = check_keys(p);
    if (!status) status = check_names(p);
    return status ? status : check_places(p, s);
}

sluice_status gguf_read(struct tensor_file *file, bool tensors, struct failure *f)
{
    struct parse p = {.file = file, .f = f, .with_tensors = tensors, .alignment = GGUF_DEFAULT_ALIGNMENT};
    struct section section = {0};
    sluice_status status = measure(&p);
    if (!status) status = find_section(&p, &section);
    if (!status) status = build(&p, &section);
    memory_free(section.places);
    if (!tensors) file->n = 0;
    return status;
}

/* ---- values for readers ------------------------------------------------------------------------------------------ */

const struct gguf_value *gguf_find(const struct tensor_file *file, const char *key)
{
    size_t low = 0, high = file->n_values;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(key, file->by_key[middle]->key);
        if (order == 0) return file->by_key[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static struct meta string_meta(const char *text, size_t n)
{
    return (struct meta){.kind = META_STRING, .string = text, .n = n, .type = gguf_types[GGUF_STRING].name};
}

/* One number; `type` has a fixed size. */
static struct meta number_meta(enum gguf_type type, const unsigned char *at)
{
    struct meta m = {.kind = META_INT, .type = gguf_types[type].name};
    uint64_t bits = load(at, gguf_types[type].bytes);
    float f32;
    switch (type) {
    case GGUF_BOOL:
        m.kind = META_BOOL;
        m.boolean = bits != 0;
        return m;
    case GGUF_FLOAT32:
        m.kind = META_FLOAT;
        memcpy(&f32, &(uint32_t){(uint32_t)bits}, sizeof f32); /* bounded: loaded from 4 bytes */
        m.number = (double)f32;
        return m;
    case GGUF_FLOAT64:
        m.kind = META_FLOAT;
        memcpy(&m.number, &bits, sizeof m.number);
        return m;
    case GGUF_INT8: m.integer = (int64_t)(int8_t)bits; break;
    case GGUF_INT16: m.integer = (int16_t)bits; break;
    case GGUF_INT32: m.integer = (int32_t)bits; break; /* bounded: loaded from 4 bytes */
    case GGUF_INT64: m.integer = (int64_t)bits; break;
    default: /* unsigned */
        m.integer = bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
        m.number = (double)bits;
        return m;
    }
    m.number = (double)m.integer;
    return m;
}

struct meta gguf_meta(const struct gguf_value *v)
{
    struct meta m = {.kind = META_ABSENT};
    if (!v) return m;
    if (v->type == GGUF_ARRAY)
        m = (struct meta){.kind = META_ARRAY, .n = v->n, .type = gguf_types[v->element].array_name};
    else if (v->type == GGUF_STRING)
        m = string_meta(v->text, v->n);
    else
        m = number_meta(v->type, v->elements);
    m.node = v;
    return m;
}

struct meta gguf_element(struct meta array, size_t i)
{
    const struct gguf_value *v = array.node;
    if (array.kind != META_ARRAY || i >= array.n) return gguf_meta(NULL);
    if (v->element == GGUF_STRING) return string_meta(v->text + v->starts[i], v->starts[i + 1] - v->starts[i] - 1);
    return number_meta(v->element, v->elements + i * gguf_types[v->element].bytes); /* bounded: i < n, which fit */
}
