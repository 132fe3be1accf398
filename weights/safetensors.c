/* One safetensors file: its header becomes tensor views, and every byte of the data section belongs to one tensor.
 *
 * Owns the format and nothing else:
 *
 *      8 bytes          N bytes                                       the rest
 *     +--------+---------------------------------------------------+------------------+
 *     |   N    | {"a": {"dtype": "F32", "shape": [2, 3],           | data section     |
 *     | u64 LE |        "data_offsets": [0, 24]}, ...}  blanks     | [0, 24) is "a"   |
 *     +--------+---------------------------------------------------+------------------+
 *
 * The header is read twice: the first pass proves that it is JSON and counts the tensors, so that the second pass meets
 * neither syntax errors nor a list that must grow. Duplicates and overlaps are found by sorting. Numbers of the file
 * meet arithmetic only through base/checked.h. Read next: folder.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json_events.h"
#include "weights/archive_parts.h"

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER_BYTES = 100000000, /* as the reference implementation */
    MAX_NAME_BYTES = 1024,
    MAX_STRING_BYTES = 16 << 20,
};

struct parse {
    struct tensor_file *file;
    struct failure *f;
    const char *header;         /* [header_n] */
    size_t header_n, n_tensors; /* n_tensors: as the first pass has counted */
    const unsigned char *data;  /* [data_bytes], the data section */
    uint64_t data_bytes;
    struct json_reader r;
    char *text; /* next free byte of file->strings */
};

/* "FILE: tensor "NAME": REASON" */
__attribute__((format(printf, 3, 4))) static sluice_status tensor_fail(struct parse *p, const char *name,
                                                                       const char *format, ...)
{
    char shown[ESCAPED_BYTES], reason[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    escape_text(shown, sizeof shown, name, strlen(name));
    return fail(p->f, SLUICE_FORMAT, "%s: tensor \"%s\": %s", p->file->name, shown, reason);
}

/* The latest token as it stands in the file. */
static const char *show_token(const struct json_reader *r, char out[ESCAPED_BYTES])
{
    return escape_text(out, ESCAPED_BYTES, r->raw, r->raw_n);
}

static sluice_status find_header(struct parse *p)
{
    const struct file_map *map = &p->file->map;
    const char *file = p->file->name;
    if (map->bytes < LENGTH_BYTES)
        return fail(p->f, SLUICE_FORMAT, "%s: header: file too short (%zu bytes, need %d)", file, map->bytes,
                    LENGTH_BYTES);

    uint64_t length = 0, rest = map->bytes - LENGTH_BYTES;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) length = length << 8 | map->data[i]; /* bounded: 8 times */
    if (length > MAX_HEADER_BYTES)
        return fail(p->f, SLUICE_FORMAT, "%s: header: length %llu exceeds the limit %d", file,
                    (unsigned long long)length, MAX_HEADER_BYTES);
    if (length > rest)
        return fail(p->f, SLUICE_FORMAT, "%s: header: length %llu exceeds the remaining %llu bytes", file,
                    (unsigned long long)length, (unsigned long long)rest);
    if (length < 2)
        return fail(p->f, SLUICE_FORMAT, "%s: header: length %llu is too short for a JSON object", file,
                    (unsigned long long)length);

    file_map_need(map, LENGTH_BYTES + (size_t)length); /* bounded: compared with the rest of the file */
    p->header = (const char *)map->data + LENGTH_BYTES;
    p->header_n = p->file->header_bytes = (size_t)length; /* bounded: at most the rest of the file */
    p->data = map->data + LENGTH_BYTES + p->header_n;
    p->data_bytes = rest - length;
    if (p->header[0] != '{')
        return fail(p->f, SLUICE_FORMAT, "%s: header: begins with byte 0x%02x, expected '{'", file,
                    (unsigned)(unsigned char)p->header[0]);
    return SLUICE_OK;
}

/* First pass: syntax, UTF-8, depth; counts the entries. */
static sluice_status count_entries(struct parse *p)
{
    struct json_reader *r = &p->r;
    enum json_event event;
    json_start(r, p->header, p->header_n);
    while ((event = json_next(r)) > EVENT_END) {
        if (event != EVENT_KEY || r->depth != 1 || json_text_is(r, "__metadata__")) continue;
        if (++p->n_tensors > ARCHIVE_MAX_TENSORS)
            return fail(p->f, SLUICE_FORMAT, "%s: header: tensor count exceeds the limit %d", p->file->name,
                        ARCHIVE_MAX_TENSORS);
    }
    if (event == EVENT_END) return SLUICE_OK;
    if (r->problem == JSON_NOT_UTF8)
        return fail(p->f, SLUICE_FORMAT, "%s: header: not UTF-8 at byte %zu", p->file->name, r->problem_at);
    json_fail(r, "header", p->f);
    return fail_in(p->f, p->file->name);
}

/* Keeps the latest string or key until the file is closed; NULL when it cannot be a C string. The block of strings has
 * as many bytes as the header: a string loses two quotes there and gains one NUL here. */
static const char *keep_text(struct parse *p, size_t *n)
{
    char *text = p->text;
    if (!json_text(&p->r, text, n)) return NULL;
    p->text += *n + 1;
    return text;
}

/* ---- "__metadata__": an object of strings -------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct string_pair *)a)->key, ((const struct string_pair *)b)->key);
}

static sluice_status bad_metadata(struct parse *p)
{
    return fail(p->f, SLUICE_FORMAT, "%s: header: \"__metadata__\" values must be strings", p->file->name);
}

static sluice_status append_metadata(struct parse *p, size_t *capacity, struct string_pair pair)
{
    struct tensor_file *file = p->file;
    if (file->n_metadata == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 8; /* bounded by the header's length */
        struct string_pair *grown = memory_realloc(file->metadata, wanted * sizeof *grown);
        if (!grown) return fail_memory(p->f, file->name);
        file->metadata = grown;
        *capacity = wanted;
    }
    file->metadata[file->n_metadata++] = pair;
    return SLUICE_OK;
}

static sluice_status read_metadata(struct parse *p)
{
    struct tensor_file *file = p->file;
    size_t capacity = 0, n;
    if (json_next(&p->r) != EVENT_OBJECT_OPEN) return bad_metadata(p);
    while (json_next(&p->r) == EVENT_KEY) {
        struct string_pair pair = {.key = keep_text(p, &n)};
        if (json_next(&p->r) != EVENT_STRING || !pair.key) return bad_metadata(p);
        if (p->r.raw_n > MAX_STRING_BYTES)
            return fail(p->f, SLUICE_FORMAT, "%s: header: \"__metadata__\" string of %zu bytes exceeds the limit %d",
                        file->name, p->r.raw_n, MAX_STRING_BYTES);
        pair.value = keep_text(p, &n);
        if (!pair.value) return bad_metadata(p);
        sluice_status status = append_metadata(p, &capacity, pair);
        if (status) return status;
    }
    if (file->n_metadata > 1) qsort(file->metadata, file->n_metadata, sizeof *file->metadata, compare_keys);
    for (size_t i = 1; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, file->metadata[i - 1].key) == 0) {
            char shown[ESCAPED_BYTES];
            escape_text(shown, sizeof shown, file->metadata[i].key, strlen(file->metadata[i].key));
            return fail(p->f, SLUICE_FORMAT, "%s: header: \"__metadata__\": \"%s\" appears twice", file->name, shown);
        }
    return SLUICE_OK;
}

/* ---- one tensor: {"dtype": ..., "shape": [...], "data_offsets": [begin, end]} -------------------------------- */

enum field { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, N_FIELDS };
static const char *const field_names[N_FIELDS] = {"dtype", "shape", "data_offsets"};

struct range {
    uint64_t begin, end;
};

static sluice_status read_dtype(struct parse *p, struct tensor_view *t)
{
    enum json_event event = json_next(&p->r);
    if (event == EVENT_STRING && dtype_from_name(p->r.raw, p->r.raw_n, &t->dtype)) return SLUICE_OK;
    char shown[ESCAPED_BYTES];
    const char *quote = event == EVENT_STRING ? "\"" : "";
    return tensor_fail(p, t->name, "unknown dtype %s%s%s", quote, show_token(&p->r, shown), quote);
}

static sluice_status read_shape(struct parse *p, struct tensor_view *t)
{
    char shown[ESCAPED_BYTES];
    if (json_next(&p->r) != EVENT_ARRAY_OPEN)
        return tensor_fail(p, t->name, "shape: found %s, expected an array", show_token(&p->r, shown));
    size_t n = 0;
    for (enum json_event event; (event = json_next(&p->r)) != EVENT_ARRAY_CLOSE; n++) {
        uint64_t size;
        if (event != EVENT_NUMBER || !json_u64(&p->r, &size))
            return tensor_fail(p, t->name, "shape[%zu]: found %s, expected a non-negative integer", n,
                               show_token(&p->r, shown));
        if (n < ARCHIVE_MAX_DIMS) t->shape[n] = size;
    }
    if (n > ARCHIVE_MAX_DIMS) return tensor_fail(p, t->name, "%zu dimensions (0..%d)", n, ARCHIVE_MAX_DIMS);
    t->n_dims = (int)n;
    return SLUICE_OK;
}

static sluice_status read_offsets(struct parse *p, const char *name, struct range *range)
{
    uint64_t *const numbers[2] = {&range->begin, &range->end};
    bool good = json_next(&p->r) == EVENT_ARRAY_OPEN;
    for (int i = 0; good && i < 2; i++) good = json_next(&p->r) == EVENT_NUMBER && json_u64(&p->r, numbers[i]);
    if (!good || json_next(&p->r) != EVENT_ARRAY_CLOSE)
        return tensor_fail(p, name, "data_offsets must be two integers");
    return SLUICE_OK;
}

/* Bytes of the elements. Dimensions of size 0 are left out of the product until the end, so that [0, 2^40, 2^40] is
 * refused like any other shape whose count does not fit. */
static sluice_status count_bytes(struct parse *p, const struct tensor_view *t, uint64_t *bytes)
{
    const struct dtype_info *dtype = dtype_info(t->dtype);
    uint64_t count = 1;
    bool empty = false, fits = true;
    for (int i = 0; i < t->n_dims; i++) {
        if (t->shape[i] == 0)
            empty = true;
        else
            fits = fits && checked_mul(&count, count, t->shape[i]);
    }
    if (fits && count % (uint64_t)dtype->elements_per_block != 0)
        return tensor_fail(p, t->name, "size is not a whole number of bytes");
    fits = fits && checked_mul(bytes, count / (uint64_t)dtype->elements_per_block, dtype->bytes_per_block);
    if (!fits) return tensor_fail(p, t->name, "element count overflows");
    if (empty) *bytes = 0;
    return SLUICE_OK;
}

static const char *show_shape(char *out, size_t cap, const struct tensor_view *t)
{
    size_t n = (size_t)snprintf(out, cap, "[");
    for (int i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%llu", i ? ", " : "", (unsigned long long)t->shape[i]);
    snprintf(out + n, cap - n, "]");
    return out;
}

static sluice_status place_tensor(struct parse *p, struct tensor_view *t, struct range at)
{
    uint64_t needed = 0;
    sluice_status status = count_bytes(p, t, &needed);
    if (status) return status;

    unsigned long long begin = at.begin, end = at.end;
    if (end < begin) return tensor_fail(p, t->name, "data_offsets %llu..%llu are reversed", begin, end);
    if (end - begin != needed) {
        char shape[ARCHIVE_MAX_DIMS * 22 + 3];
        return tensor_fail(p, t->name, "%llu bytes, but %s %s needs %llu", end - begin, dtype_info(t->dtype)->name,
                           show_shape(shape, sizeof shape, t), (unsigned long long)needed);
    }
    if (end > p->data_bytes)
        return tensor_fail(p, t->name, "bytes %llu..%llu lie outside the data section (%llu)", begin, end,
                           (unsigned long long)p->data_bytes);
    t->data = p->data + at.begin; /* bounded: its end was compared with data_bytes */
    t->bytes = needed;
    return SLUICE_OK;
}

static enum field find_field(const struct json_reader *r)
{
    int i = 0;
    while (i < N_FIELDS && !json_text_is(r, field_names[i])) i++;
    return (enum field)i;
}

static sluice_status read_tensor(struct parse *p, const char *name)
{
    struct tensor_view *t = &p->file->tensors[p->file->n++];
    *t = (struct tensor_view){.name = name, .file = p->file->name};
    struct range range = {0, 0};
    bool seen[N_FIELDS] = {false};

    if (json_next(&p->r) != EVENT_OBJECT_OPEN) return tensor_fail(p, name, "must be an object");
    while (json_next(&p->r) == EVENT_KEY) {
        enum field field = find_field(&p->r);
        if (field == N_FIELDS) {
            char shown[ESCAPED_BYTES];
            return tensor_fail(p, name, "unknown field \"%s\"", show_token(&p->r, shown));
        }
        if (seen[field]) return tensor_fail(p, name, "\"%s\" appears twice", field_names[field]);
        seen[field] = true;
        sluice_status status = field == FIELD_DTYPE   ? read_dtype(p, t)
                               : field == FIELD_SHAPE ? read_shape(p, t)
                                                      : read_offsets(p, name, &range);
        if (status) return status;
    }
    for (int i = 0; i < N_FIELDS; i++)
        if (!seen[i]) return tensor_fail(p, name, "\"%s\" is missing", field_names[i]);
    return place_tensor(p, t, range);
}

static sluice_status bad_name(struct parse *p)
{
    char shown[ESCAPED_BYTES];
    return fail(p->f, SLUICE_FORMAT, "%s: header: tensor name \"%s\": expected 1..%d bytes of text without NUL",
                p->file->name, show_token(&p->r, shown), MAX_NAME_BYTES);
}

/* Second pass. */
static sluice_status read_entries(struct parse *p)
{
    bool metadata_seen = false;
    json_start(&p->r, p->header, p->header_n);
    json_next(&p->r); /* '{' */
    while (json_next(&p->r) == EVENT_KEY) {
        sluice_status status;
        size_t n = 0;
        if (json_text_is(&p->r, "__metadata__")) {
            if (metadata_seen)
                return fail(p->f, SLUICE_FORMAT, "%s: header: \"__metadata__\" appears twice", p->file->name);
            metadata_seen = true;
            status = read_metadata(p);
        } else {
            const char *name = keep_text(p, &n);
            if (!name || n == 0 || n > MAX_NAME_BYTES) return bad_name(p);
            if (p->file->n == p->n_tensors) /* somebody writes to the file */
                return fail(p->f, SLUICE_FORMAT, "%s: header: changed while it was read", p->file->name);
            status = read_tensor(p, name);
        }
        if (status) return status;
    }
    return SLUICE_OK;
}

/* ---- all tensors together --------------------------------------------------------------------------------------- */

/* Of equal names the one in the later file, by its name, comes last, so that sentences about it are always the same. */
static int compare_names(const void *a, const void *b)
{
    const struct tensor_view *s = a, *t = b;
    const int order = strcmp(s->name, t->name);
    return order ? order : strcmp(s->file, t->file);
}

void tensors_sort(struct tensor_view *tensors, size_t n)
{
    if (n > 1) qsort(tensors, n, sizeof *tensors, compare_names);
}

static int compare_places(const void *a, const void *b)
{
    const struct tensor_view *s = *(const struct tensor_view *const *)a, *t = *(const struct tensor_view *const *)b;
    if (s->data != t->data) return s->data < t->data ? -1 : 1;
    if (s->bytes != t->bytes) return s->bytes < t->bytes ? -1 : 1;
    return s < t ? -1 : s > t; /* by name */
}

static sluice_status check_names(struct parse *p)
{
    const struct tensor_view *tensors = p->file->tensors;
    for (size_t i = 1; i < p->file->n; i++)
        if (strcmp(tensors[i].name, tensors[i - 1].name) == 0) {
            char shown[ESCAPED_BYTES];
            escape_text(shown, sizeof shown, tensors[i].name, strlen(tensors[i].name));
            return fail(p->f, SLUICE_FORMAT, "%s: header: \"%s\" appears twice", p->file->name, shown);
        }
    return SLUICE_OK;
}

/* In order of place, each tensor begins where the one before it ended, and the last one ends the file. */
static sluice_status check_places(struct parse *p, const struct tensor_view **order)
{
    size_t n = p->file->n;
    for (size_t i = 0; i < n; i++) order[i] = &p->file->tensors[i];
    if (n > 1) qsort(order, n, sizeof *order, compare_places);

    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct tensor_view *t = order[i];
        uint64_t begin = (uint64_t)(t->data - p->data);
        if (begin > at)
            return fail(p->f, SLUICE_FORMAT, "%s: data: bytes %llu..%llu belong to no tensor", p->file->name,
                        (unsigned long long)at, (unsigned long long)begin);
        if (begin < at) {
            char other[ESCAPED_BYTES];
            escape_text(other, sizeof other, order[i - 1]->name, strlen(order[i - 1]->name));
            return tensor_fail(p, t->name, "overlaps \"%s\"", other);
        }
        at = begin + t->bytes; /* bounded: place_tensor compared it with data_bytes */
    }
    if (at != p->data_bytes)
        return fail(p->f, SLUICE_FORMAT, "%s: data: %llu bytes after the last tensor", p->file->name,
                    (unsigned long long)(p->data_bytes - at));
    return SLUICE_OK;
}

sluice_status safetensors_read(struct tensor_file *file, struct failure *f)
{
    struct parse p = {.file = file, .f = f};
    sluice_status status = find_header(&p);
    if (!status) status = count_entries(&p);
    if (status) return status;
    const size_t n = p.n_tensors;

    file->strings = p.text = memory_alloc(p.header_n);
    file->tensors = memory_calloc(n, sizeof *file->tensors);
    if (!file->strings || !file->tensors) return fail_memory(f, file->name);
    status = read_entries(&p);
    if (status) return status;

    tensors_sort(file->tensors, file->n);
    status = check_names(&p);
    if (status) return status;
    const struct tensor_view **order = memory_calloc(n, sizeof(void *));
    if (!order) return fail_memory(f, file->name);
    status = check_places(&p, order);
    memory_free(order);
    return status;
}

void tensor_file_close(struct tensor_file *file)
{
    memory_free(file->name);
    memory_free(file->strings);
    memory_free(file->tensors);
    memory_free(file->metadata);
    memory_free(file->values);
    memory_free(file->by_key);
    memory_free(file->starts);
    file_map_close(&file->map);
    *file = (struct tensor_file){0};
}
