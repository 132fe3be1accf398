/* Owns reading tokenizer.json as JSON: the tree, in the words of this layer, and typed getters over it. Knows no
 * tokenizer beyond "steps in Sequences" and patterns. Read next: base/json_tree.h, vocab.c. */
#include <stdio.h>
#include <string.h>

#include "base/json_tree.h"
#include "base/memory.h"
#include "text/vocab_internal.h"

sluice_status json_read(json_t **out, const char *data, size_t n, size_t max_bytes, struct failure *f)
{
    *out = NULL;
    if (n > max_bytes) return fail(f, SLUICE_FORMAT, "%zu bytes exceed %zu", n, max_bytes);
    struct json_tree t = {.max_values = MAX_JSON_VALUES, .max_containers = MAX_JSON_LISTS, .nul_in_values = true};
    json_tree_build(&t, data, n);
    *out = t.root;
    sluice_status status = json_tree_fail(&t, f);
    json_tree_end(&t);
    return status;
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

sluice_status json_get_word(const json_t *object, const char *key, const char **word, struct failure *f)
{
    size_t n = 0;
    sluice_status status = json_get_text(object, key, word, &n, f);
    if (!status && n > 0 && memchr(*word, 0, n)) return fail(f, SLUICE_FORMAT, "%s: contains NUL", key);
    return status;
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

/* Depth of the recursion: at most JSON_MAX_DEPTH, checked while the tree is built. */
static sluice_status each_step(struct vocab *v, const json_t *node, const char *list_key, const char *place,
                               size_t *index, step_reader read, struct failure *f)
{
    const json_t *word = json_object_get(node, "type");
    const char *type = json_string_value(word);
    if (type && json_string_length(word) == 8 && strcmp(type, "Sequence") == 0) {
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
    if (strlen(type) != json_string_length(word)) return fail(f, SLUICE_FORMAT, "%s: type contains NUL", where);
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
