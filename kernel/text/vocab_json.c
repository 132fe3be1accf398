/* Owns reading tokenizer.json as JSON: size and depth checks before jansson sees it, typed getters after. Knows no
 * tokenizer beyond "steps in Sequences" and patterns. Read next: vocab.c. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

/* jansson parses by recursion into a tree, so depth and size are counted first: brackets and commas outside of
 * strings. */
static sluice_status check_tree(const char *data, size_t n, struct failure *f)
{
    size_t depth = 0, n_lists = 0, n_commas = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_JSON_DEPTH)
                return fail(f, SLUICE_FORMAT, "byte %zu: nested deeper than %d", i, MAX_JSON_DEPTH);
            if (++n_lists > MAX_JSON_LISTS)
                return fail(f, SLUICE_FORMAT, "more than %d lists and objects", MAX_JSON_LISTS);
        } else if (c == ',') {
            if (++n_commas > MAX_JSON_VALUES) return fail(f, SLUICE_FORMAT, "more than %d values", MAX_JSON_VALUES);
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return SLUICE_OK;
}

static const char *json_reason(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_invalid_utf8: return "not UTF-8";
    case json_error_premature_end_of_input: return "the file ends too early";
    case json_error_duplicate_key: return "a key appears twice in one object";
    case json_error_null_byte_in_key: return "a key contains NUL";
    case json_error_numeric_overflow: return "a number is too large";
    default: return "not valid JSON";
    }
}

sluice_status json_read(json_t **out, const char *data, size_t n, size_t max_bytes, bool large_numbers,
                        struct failure *f)
{
    *out = NULL;
    if (n > max_bytes) return fail(f, SLUICE_FORMAT, "%zu bytes exceed %zu", n, max_bytes);
    sluice_status status = check_tree(data, n, f);
    if (status) return status;
    json_error_t error;
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_t *root = json_loadb(data, n, flags, &error);
    if (!root && large_numbers && json_error_code(&error) == json_error_numeric_overflow)
        root = json_loadb(data, n, flags | JSON_DECODE_INT_AS_REAL, &error);
    if (!root) {
        if (json_error_code(&error) == json_error_out_of_memory) return fail_memory(f, NULL);
        return fail(f, SLUICE_FORMAT, "line %d: %s", error.line, json_reason(&error));
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return fail(f, SLUICE_FORMAT, "must be an object");
    }
    *out = root;
    return SLUICE_OK;
}

/* The value under `key`; NULL when it is absent or null. */
static const json_t *value_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

sluice_status json_get_bool(const json_t *object, const char *key, bool *out, struct failure *f)
{
    const json_t *value = value_of(object, key);
    if (!value) return SLUICE_OK;
    if (!json_is_boolean(value)) return fail(f, SLUICE_FORMAT, "%s: must be true or false", key);
    *out = json_is_true(value);
    return SLUICE_OK;
}

sluice_status json_get_size(const json_t *object, const char *key, size_t *out, struct failure *f)
{
    const json_t *value = value_of(object, key);
    if (!value) return SLUICE_OK;
    if (!json_is_integer(value)) return fail(f, SLUICE_FORMAT, "%s: must be an integer", key);
    json_int_t number = json_integer_value(value);
    if (number < 0 || number > MAX_TOKENS)
        return fail(f, SLUICE_FORMAT, "%s: %lld is outside 0..%d", key, (long long)number, MAX_TOKENS);
    *out = (size_t)number; /* bounded: at most MAX_TOKENS */
    return SLUICE_OK;
}

sluice_status json_get_text(const json_t *object, const char *key, const char **text, size_t *n, struct failure *f)
{
    const json_t *value = value_of(object, key);
    if (!value) return SLUICE_OK;
    if (!json_is_string(value)) return fail(f, SLUICE_FORMAT, "%s: must be a string", key);
    *text = json_string_value(value);
    *n = json_string_length(value);
    return SLUICE_OK;
}

sluice_status json_get_char(const json_t *object, const char *key, char mark[4], size_t *n, struct failure *f)
{
    const char *text = NULL;
    size_t bytes = 0;
    sluice_status status = json_get_text(object, key, &text, &bytes, f);
    if (status) return status;
    int32_t c;
    if (bytes == 0 || utf8_read(text, &c) != bytes) return fail(f, SLUICE_FORMAT, "%s: must be one character", key);
    memcpy(mark, text, bytes);
    *n = bytes;
    return SLUICE_OK;
}

sluice_status json_get_copy(const json_t *object, const char *key, char **out, size_t *n, struct failure *f)
{
    const char *text = NULL;
    sluice_status status = json_get_text(object, key, &text, n, f);
    if (status) return status;
    if (!text) return fail(f, SLUICE_FORMAT, "%s: missing", key);
    if (*n > MAX_TOKEN_BYTES) return fail(f, SLUICE_FORMAT, "%s: %zu bytes exceed %d", key, *n, MAX_TOKEN_BYTES);
    *out = memory_strndup(text, *n);
    return *out ? SLUICE_OK : fail_memory(f, NULL);
}

sluice_status json_get_pattern(const json_t *object, struct pattern **out, struct failure *f)
{
    const json_t *pattern = json_object_get(object, "pattern");
    const char *text = NULL;
    size_t n = 0;
    bool literal = json_object_get(pattern, "String") != NULL;
    sluice_status status = json_get_text(pattern, literal ? "String" : "Regex", &text, &n, f);
    if (status) return status;
    if (!text) return fail(f, SLUICE_FORMAT, "pattern: must be {\"String\": ...} or {\"Regex\": ...}");
    return pattern_create(out, text, n, literal, f);
}

/* Depth of the recursion: at most MAX_JSON_DEPTH, checked before parsing. */
static sluice_status each_step(struct vocab *v, const json_t *node, const char *list_key, const char *place,
                               size_t *index, step_reader read, struct failure *f)
{
    const char *type = json_string_value(json_object_get(node, "type"));
    if (type && strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(node, list_key);
        if (!json_is_array(list)) return fail(f, SLUICE_FORMAT, "%s: Sequence without %s", place, list_key);
        size_t i;
        const json_t *step;
        json_array_foreach(list, i, step)
        {
            sluice_status status = each_step(v, step, list_key, place, index, read, f);
            if (status) return status;
        }
        return SLUICE_OK;
    }
    char where[64];
    snprintf(where, sizeof where, "%s %zu", place, *index);
    if (!type) return fail(f, SLUICE_FORMAT, "%s: type is missing", where);
    ++*index;
    sluice_status status = read(v, node, type, f);
    if (status == SLUICE_UNSUPPORTED && f && !f->text[0]) {
        char shown[ESCAPED_BYTES];
        return fail(f, status, "%s: type \"%s\" is not supported", where,
                    escape_text(shown, sizeof shown, type, strlen(type)));
    }
    if (status) fail_in(f, where);
    return status;
}

sluice_status json_each_step(struct vocab *v, const json_t *node, const char *list_key, const char *place,
                             step_reader read, struct failure *f)
{
    if (!node || json_is_null(node)) return SLUICE_OK;
    size_t index = 0;
    return each_step(v, node, list_key, place, &index, read, f);
}
