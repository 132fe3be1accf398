/* Owns configuration documents: JSON text to a jansson tree, and the typed getters of archive.h over that tree.
 *
 * The tree is built from json_events instead of jansson's own reader for three reasons: real files hold integers beyond
 * 64 bits (model_max_length is often 10^30), which become META_FLOAT here; errors have the same form as everywhere; and
 * no allocation failure passes unnoticed inside a token. Read next: archive.h, the getters. */
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights/archive_parts.h"
#include "weights/json_events.h"

/* A small hostile file must not become a large tree: an empty object takes 2 bytes of text and 200 of memory. */
enum { MAX_VALUES = 1048576, MAX_CONTAINERS = 131072 };

struct builder {
    const char *name;
    struct failure *f;
    struct json_reader r;
    char *scratch; /* room for the latest key and the string after it */
    size_t key_n;  /* the key is scratch[0..key_n) */
    size_t n_values, n_containers;
    json_t *open[JSON_MAX_DEPTH]; /* [r.depth] */
};

static sluice_status text_error(struct builder *b, const char *reason)
{
    return fail(b->f, SLUICE_FORMAT, "%s: JSON error at byte %zu: %s", b->name, (size_t)(b->r.raw - b->r.text), reason);
}

static sluice_status read_text(struct builder *b, char *out, size_t *n)
{
    if (json_text(&b->r, out, n)) return SLUICE_OK;
    return text_error(b, "a string holds NUL or half of a surrogate pair");
}

/* The latest number, read independently of the locale of the program around the library; NAN when memory is short.
 * `copy` has room for the text and a NUL: the document itself may end right after the number. */
static double to_double(const struct json_reader *r, char *copy)
{
    memcpy(copy, r->raw, r->raw_n);
    copy[r->raw_n] = 0;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) return NAN;
    double v = strtod_l(copy, NULL, c);
    freelocale(c);
    return v;
}

static sluice_status make_number(struct builder *b, json_t **out)
{
    bool negative = b->r.raw[0] == '-';
    struct json_reader digits = {.raw = b->r.raw + negative, .raw_n = b->r.raw_n - negative};
    uint64_t v;
    if (json_u64(&digits, &v) && v <= INT64_MAX) {
        *out = json_integer(negative ? -(json_int_t)v : (json_int_t)v);
        return SLUICE_OK;
    }
    double d = to_double(&b->r, b->scratch + b->key_n + 1);
    if (isnan(d)) return fail_memory(b->f, b->name);
    if (isinf(d)) return text_error(b, "number out of range");
    *out = json_real(d);
    return SLUICE_OK;
}

static sluice_status make_value(struct builder *b, enum json_event event, json_t **out)
{
    size_t n = 0;
    char *text = b->scratch + b->key_n + 1;
    sluice_status status = SLUICE_OK;
    *out = NULL;
    switch (event) {
    case EVENT_OBJECT_OPEN: *out = json_object(); break;
    case EVENT_ARRAY_OPEN: *out = json_array(); break;
    case EVENT_NUMBER: status = make_number(b, out); break;
    case EVENT_TRUE: *out = json_true(); break;
    case EVENT_FALSE: *out = json_false(); break;
    case EVENT_NULL: *out = json_null(); break;
    default: /* EVENT_STRING */
        status = read_text(b, text, &n);
        if (!status) *out = json_stringn_nocheck(text, n);
    }
    if (!status && !*out) status = fail_memory(b->f, b->name);
    return status;
}

/* The tree takes the value over, also on failure. */
static sluice_status attach(struct builder *b, json_t *parent, json_t *value)
{
    int error = json_is_array(parent) ? json_array_append_new(parent, value)
                                      : json_object_setn_new_nocheck(parent, b->scratch, b->key_n, value);
    return error ? fail_memory(b->f, b->name) : SLUICE_OK;
}

static sluice_status read_key(struct builder *b)
{
    sluice_status status = read_text(b, b->scratch, &b->key_n);
    if (status || !json_object_getn(b->open[b->r.depth - 1], b->scratch, b->key_n)) return status;
    char shown[ESCAPED_BYTES];
    escape_text(shown, sizeof shown, b->scratch, b->key_n);
    return fail(b->f, SLUICE_FORMAT, "%s: \"%s\" appears twice", b->name, shown);
}

static sluice_status read_value(struct builder *b, enum json_event event)
{
    bool opens = event == EVENT_OBJECT_OPEN || event == EVENT_ARRAY_OPEN;
    if (++b->n_values > MAX_VALUES) return fail(b->f, SLUICE_FORMAT, "%s: more than %d values", b->name, MAX_VALUES);
    if (opens && ++b->n_containers > MAX_CONTAINERS)
        return fail(b->f, SLUICE_FORMAT, "%s: more than %d objects and arrays", b->name, MAX_CONTAINERS);

    size_t parent = b->r.depth - opens;
    json_t *value;
    sluice_status status = make_value(b, event, &value);
    if (!status && parent > 0) status = attach(b, b->open[parent - 1], value);
    if (!status && opens) b->open[parent] = value;
    return status;
}

static sluice_status build(struct builder *b)
{
    for (;;) {
        sluice_status status = SLUICE_OK;
        enum json_event event = json_next(&b->r);
        switch (event) {
        case EVENT_ERROR: return json_fail(&b->r, b->name, b->f);
        case EVENT_END: return SLUICE_OK;
        case EVENT_OBJECT_CLOSE:
        case EVENT_ARRAY_CLOSE: break;
        case EVENT_KEY: status = read_key(b); break;
        default: status = read_value(b, event);
        }
        if (status) return status;
    }
}

sluice_status document_parse(json_t **out, const char *name, const struct file_map *map, struct failure *f)
{
    const char *text = (const char *)map->data;
    size_t first = 0;
    *out = NULL;
    while (first < map->bytes && memchr(" \t\r\n", text[first], 4)) first++;
    if (first == map->bytes || text[first] != '{')
        return fail(f, SLUICE_FORMAT, "%s: JSON error at byte %zu: a JSON object is missing", name, first);

    struct builder b = {.name = name, .f = f, .scratch = memory_alloc(map->bytes + 2)};
    if (!b.scratch) return fail_memory(f, name);
    json_start(&b.r, text, map->bytes);
    sluice_status status = build(&b);
    if (status)
        json_decref(b.open[0]);
    else
        *out = b.open[0];
    memory_free(b.scratch);
    return status;
}

/* ---- typed getters ---------------------------------------------------------------------------------------------- */

static struct meta meta_of(const json_t *node)
{
    struct meta m = {.kind = META_ABSENT, .node = node};
    if (!node) return m;
    switch (json_typeof(node)) {
    case JSON_OBJECT:
        m.kind = META_OBJECT;
        m.n = json_object_size(node);
        break;
    case JSON_ARRAY:
        m.kind = META_ARRAY;
        m.n = json_array_size(node);
        break;
    case JSON_STRING:
        m.kind = META_STRING;
        m.string = json_string_value(node);
        m.n = json_string_length(node);
        break;
    case JSON_INTEGER:
        m.kind = META_INT;
        m.integer = json_integer_value(node);
        m.number = (double)m.integer;
        break;
    case JSON_REAL:
        m.kind = META_FLOAT;
        m.number = json_real_value(node);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        m.kind = META_BOOL;
        m.boolean = json_is_true(node);
        break;
    case JSON_NULL: m.kind = META_NULL;
    }
    return m;
}

struct meta document_find(const json_t *document, const char *path)
{
    const json_t *node = document;
    while (node) { /* json_object_getn gives NULL for anything that is not an object */
        size_t n = strcspn(path, ".");
        node = json_object_getn(node, path, n);
        if (!path[n]) break;
        path += n + 1;
    }
    return meta_of(node);
}

/* Values of a GGUF file have a type, those of a document have none. */
struct meta meta_element(struct meta array, size_t i)
{
    return array.type ? gguf_element(array, i) : meta_of(json_array_get(array.node, i));
}

struct meta meta_member(struct meta object, const char *key)
{
    return meta_of(object.type ? NULL : json_object_get(object.node, key));
}

const char *meta_kind_name(enum meta_kind k)
{
    static const char *const names[] = {
        [META_ABSENT] = "absent",  [META_NULL] = "null",       [META_BOOL] = "a boolean", [META_INT] = "an integer",
        [META_FLOAT] = "a number", [META_STRING] = "a string", [META_ARRAY] = "an array", [META_OBJECT] = "an object",
    };
    return names[k];
}
