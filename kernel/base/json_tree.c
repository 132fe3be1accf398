/* Owns the way from events to a tree (see json_tree.h), and the words for what went wrong on it. */
#include "base/json_tree.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static enum json_tree_problem read_text(const struct json_tree *t, bool nul, char *out, size_t *n)
{
    if (json_text(&t->reader, out, n)) return JSON_TREE_FINE;
    if (!json_text_with_nul(&t->reader, out, n)) return JSON_TREE_SURROGATE;
    return nul ? JSON_TREE_FINE : JSON_TREE_NUL;
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

static enum json_tree_problem make_number(const struct json_tree *t, json_t **out)
{
    const struct json_reader *r = &t->reader;
    bool negative = r->raw[0] == '-';
    struct json_reader digits = {.raw = r->raw + negative, .raw_n = r->raw_n - negative};
    uint64_t v;
    if (json_u64(&digits, &v) && v <= INT64_MAX) {
        *out = json_integer(negative ? -(json_int_t)v : (json_int_t)v);
        return JSON_TREE_FINE;
    }
    double d = to_double(r, t->key + t->key_n + 1);
    if (isnan(d)) return JSON_TREE_MEMORY;
    if (isinf(d)) return JSON_TREE_NUMBER;
    *out = json_real(d);
    return JSON_TREE_FINE;
}

static enum json_tree_problem make_value(const struct json_tree *t, enum json_event event, json_t **out)
{
    size_t n = 0;
    char *text = t->key + t->key_n + 1;
    enum json_tree_problem problem = JSON_TREE_FINE;
    *out = NULL;
    switch (event) {
    case EVENT_OBJECT_OPEN: *out = json_object(); break;
    case EVENT_ARRAY_OPEN: *out = json_array(); break;
    case EVENT_NUMBER: problem = make_number(t, out); break;
    case EVENT_TRUE: *out = json_true(); break;
    case EVENT_FALSE: *out = json_false(); break;
    case EVENT_NULL: *out = json_null(); break;
    default: /* EVENT_STRING */
        problem = read_text(t, t->nul_in_values, text, &n);
        if (!problem) *out = json_stringn_nocheck(text, n);
    }
    return !problem && !*out ? JSON_TREE_MEMORY : problem;
}

/* The tree takes the value over, also on failure. */
static enum json_tree_problem attach(const struct json_tree *t, json_t *parent, json_t *value)
{
    int error = json_is_array(parent) ? json_array_append_new(parent, value)
                                      : json_object_setn_new_nocheck(parent, t->key, t->key_n, value);
    return error ? JSON_TREE_MEMORY : JSON_TREE_FINE;
}

static enum json_tree_problem read_key(struct json_tree *t)
{
    enum json_tree_problem problem = read_text(t, false, t->key, &t->key_n);
    if (problem) return problem;
    return json_object_getn(t->open[t->reader.depth - 1], t->key, t->key_n) ? JSON_TREE_TWICE : JSON_TREE_FINE;
}

static bool opens_container(enum json_event event) { return event == EVENT_OBJECT_OPEN || event == EVENT_ARRAY_OPEN; }

static enum json_tree_problem read_value(struct json_tree *t, enum json_event event)
{
    bool opens = opens_container(event);
    size_t parent = t->reader.depth - opens;
    json_t *value;
    enum json_tree_problem problem = make_value(t, event, &value);
    if (!problem && parent > 0) problem = attach(t, t->open[parent - 1], value);
    if (!problem && opens) t->open[parent] = value;
    return problem;
}

/* The whole text is read and its values counted before the first of them takes memory. */
static enum json_tree_problem survey(struct json_tree *t)
{
    size_t n_values = 0, n_containers = 0;
    for (;;) {
        enum json_event event = json_next(&t->reader);
        if (event == EVENT_ERROR) return JSON_TREE_MALFORMED;
        if (event == EVENT_END) return JSON_TREE_FINE;
        if (event == EVENT_KEY || event == EVENT_OBJECT_CLOSE || event == EVENT_ARRAY_CLOSE) continue;
        if (++n_values > t->max_values) return JSON_TREE_VALUES;
        if (opens_container(event) && ++n_containers > t->max_containers) return JSON_TREE_CONTAINERS;
    }
}

static enum json_tree_problem build(struct json_tree *t)
{
    for (;;) {
        enum json_tree_problem problem = JSON_TREE_FINE;
        enum json_event event = json_next(&t->reader);
        switch (event) {
        case EVENT_ERROR: return JSON_TREE_MALFORMED;
        case EVENT_END: return JSON_TREE_FINE;
        case EVENT_OBJECT_CLOSE:
        case EVENT_ARRAY_CLOSE: break;
        case EVENT_KEY: problem = read_key(t); break;
        default: problem = read_value(t, event);
        }
        if (problem) return problem;
    }
}

enum json_tree_problem json_tree_build(struct json_tree *t, const char *text, size_t n)
{
    size_t first = 0;
    if (n == 0) text = ""; /* an empty file has no address */
    while (first < n && memchr(" \t\r\n", text[first], 4)) first++;
    json_start(&t->reader, text, n);
    t->reader.raw = text + first;
    if (first == n || text[first] != '{') return t->problem = JSON_TREE_NO_OBJECT;
    t->problem = survey(t);
    if (t->problem) return t->problem;
    json_start(&t->reader, text, n);
    t->key = memory_alloc(n + 2);
    if (!t->key) return t->problem = JSON_TREE_MEMORY;
    t->problem = build(t);
    if (t->problem)
        json_decref(t->open[0]);
    else
        t->root = t->open[0];
    return t->problem;
}

void json_tree_end(struct json_tree *t)
{
    memory_free(t->key);
    t->key = NULL;
}

static sluice_status fail_at(const struct json_tree *t, const char *reason, struct failure *f)
{
    return fail(f, SLUICE_FORMAT, "JSON error at byte %zu: %s", (size_t)(t->reader.raw - t->reader.text), reason);
}

sluice_status json_tree_fail(const struct json_tree *t, struct failure *f)
{
    char shown[ESCAPED_BYTES];
    switch (t->problem) {
    case JSON_TREE_FINE: return SLUICE_OK;
    case JSON_TREE_MEMORY: return fail_memory(f, NULL);
    case JSON_TREE_MALFORMED: return json_fail(&t->reader, NULL, f);
    case JSON_TREE_NO_OBJECT: return fail_at(t, "a JSON object is missing", f);
    case JSON_TREE_NUL:
    case JSON_TREE_SURROGATE: return fail_at(t, "a string holds NUL or half of a surrogate pair", f);
    case JSON_TREE_NUMBER: return fail_at(t, "number out of range", f);
    case JSON_TREE_TWICE:
        escape_text(shown, sizeof shown, t->key, t->key_n);
        return fail(f, SLUICE_FORMAT, "\"%s\" appears twice", shown);
    case JSON_TREE_VALUES: return fail(f, SLUICE_FORMAT, "more than %zu values", t->max_values);
    case JSON_TREE_CONTAINERS: break;
    }
    return fail(f, SLUICE_FORMAT, "more than %zu objects and arrays", t->max_containers);
}
