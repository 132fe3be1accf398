/* Owns configuration documents: JSON text to a jansson tree, and the typed getters of archive.h over that tree. Read
 * next: base/json_tree.h, archive.h, the getters. */
#include <string.h>

#include "base/json_tree.h"
#include "weights/archive_parts.h"

enum { MAX_VALUES = 1048576, MAX_CONTAINERS = 131072 };

sluice_status document_parse(json_t **out, const char *name, const struct file_map *map, struct failure *f)
{
    struct json_tree t = {.max_values = MAX_VALUES, .max_containers = MAX_CONTAINERS};
    json_tree_build(&t, (const char *)map->data, map->bytes);
    *out = t.root;
    sluice_status status = json_tree_fail(&t, f);
    if (status) fail_in(f, name);
    json_tree_end(&t);
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
