/* Owns single keys and lists of rules: values in their range, one sentence for each that is not. Both readers of
 * configurations stand on it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config_parts.h"

/* Keys of ours have no prefix. */
static const char *prefix_of(const struct key_source *s, const char *name)
{
    return strncmp(name, "sluice.", 7) == 0 ? NULL : s->prefix;
}

struct meta config_key_value(const struct key_source *s, const char *name)
{
    char key[KEY_PLACE_BYTES];
    const char *prefix = prefix_of(s, name);
    snprintf(key, sizeof key, "%s%s%s", prefix ? prefix : "", prefix ? "." : "", name);
    return archive_meta(s->archive, s->document, key);
}

const char *config_key_place(const struct key_source *s, const char *name, char out[KEY_PLACE_BYTES])
{
    bool quoted = s->document == DOCUMENT_GGUF;
    const char *prefix = prefix_of(s, name);
    snprintf(out, KEY_PLACE_BYTES, "%s%s%s%s%s", quoted ? "key \"" : "", prefix ? prefix : "", prefix ? "." : "", name,
             quoted ? "\"" : "");
    return out;
}

sluice_status config_wrong_value(struct failure *f, const char *file, const char *place, struct meta value,
                                 const char *expected)
{
    char found[ESCAPED_BYTES + 16];
    char text[ESCAPED_BYTES];
    bool clamped;
    switch (value.kind) {
    case META_INT: /* of GGUF the largest may stand for a larger one */
        clamped = value.integer == INT64_MAX && value.type && strcmp(value.type, "uint64") == 0;
        snprintf(found, sizeof found, "%lld%s", (long long)value.integer, clamped ? " or more" : "");
        break;
    case META_FLOAT: snprintf(found, sizeof found, "%.9g", value.number); break;
    case META_BOOL: snprintf(found, sizeof found, "%s", value.boolean ? "true" : "false"); break;
    case META_STRING:
        snprintf(found, sizeof found, "\"%s\"", escape_text(text, sizeof text, value.string, value.n));
        break;
    default: snprintf(found, sizeof found, "%s", meta_kind_name(value.kind)); break;
    }
    return fail(f, SLUICE_FORMAT, "%s: %s: found %s, expected %s", file, place, found, expected);
}

sluice_status config_unsupported(struct failure *f, const char *file, const char *place, struct meta value,
                                 const char *expected)
{
    config_wrong_value(f, file, place, value, expected);
    if (f) f->status = SLUICE_UNSUPPORTED;
    return SLUICE_UNSUPPORTED;
}

bool config_is_absent(struct meta value) { return value.kind == META_ABSENT || value.kind == META_NULL; }

sluice_status config_int(const char *file, const char *place, struct meta value, double min, double max, int *out,
                         struct failure *f)
{
    char expected[96];
    snprintf(expected, sizeof expected, min == max ? "%.0f" : "an integer in %.0f..%.0f", min, max);
    if (value.kind == META_FLOAT && value.number == rint(value.number) && fabs(value.number) < 1e9)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %.1f, expected %s", file, place, value.number, expected);
    if (value.kind != META_INT || (double)value.integer < min || (double)value.integer > max)
        return config_wrong_value(f, file, place, value, expected);
    *out = (int)value.integer; /* bounded: min and max are numbers of an int */
    return SLUICE_OK;
}

sluice_status config_float(const char *file, const char *place, struct meta value, double min, double max, double *out,
                           struct failure *f)
{
    char expected[96];
    snprintf(expected, sizeof expected, "a number in %g..%g", min, max);
    if ((value.kind != META_INT && value.kind != META_FLOAT) || !(value.number >= min) || !(value.number <= max))
        return config_wrong_value(f, file, place, value, expected);
    *out = value.number;
    return SLUICE_OK;
}

sluice_status config_bool(const char *file, const char *place, struct meta value, bool *out, struct failure *f)
{
    if (value.kind != META_BOOL) return config_wrong_value(f, file, place, value, "true or false");
    *out = value.boolean;
    return SLUICE_OK;
}

struct meta config_find_spelling(const struct key_source *s, const char *spellings, bool null_counts, char *name,
                                 size_t name_cap)
{
    struct meta value = {.kind = META_ABSENT};
    const char *p = spellings;
    while (*p) {
        size_t n = strcspn(p, "|");
        snprintf(name, name_cap, "%.*s", (int)n, p); /* bounded: spellings are ours */
        value = config_key_value(s, name);
        if (value.kind != META_ABSENT && (null_counts || value.kind != META_NULL)) return value;
        p += n + (p[n] == '|');
    }
    snprintf(name, name_cap, "%.*s", (int)strcspn(spellings, "|"), spellings); /* bounded: ours */
    return (struct meta){.kind = META_ABSENT};
}

/* "a|b": the number of the word; -1: none of them. Nothing between two bars is no word. */
static int word_number(const char *words, struct meta value)
{
    if (value.kind != META_STRING || value.n == 0) return -1;
    const char *p = words;
    for (int i = 0;; i++) {
        size_t n = strcspn(p, "|");
        if (n == value.n && memcmp(p, value.string, n) == 0) return i;
        if (!p[n]) return -1;
        p += n + 1;
    }
}

const char *config_word(const char *words, int number, size_t *n)
{
    const char *p = words;
    for (int i = 0;; i++) {
        *n = strcspn(p, "|");
        if (i == number) return *n > 0 ? p : NULL;
        if (!p[*n]) return NULL;
        p += *n + 1;
    }
}

/* "|a|b|c" -> "\"a\", \"b\" or \"c\"" */
static void list_words(const char *words, char *out, size_t cap)
{
    int last = 0;
    size_t n, used = 0;
    for (const char *p = words; *p; p++) last += *p == '|';
    out[0] = 0;
    for (int i = 0; i <= last && used < cap; i++) {
        const char *word = config_word(words, i, &n);
        const char *before = used == 0 ? "" : i == last ? " or " : ", ";
        const int shown = (int)n; /* bounded: words are ours */
        if (word) used += (size_t)snprintf(out + used, cap - used, "%s\"%.*s\"", before, shown, word);
    }
}

sluice_status config_word_number(const char *file, const char *place, struct meta value, const char *words, int *out,
                                 struct failure *f)
{
    char expected[256];
    int number = word_number(words, value);
    list_words(words, expected, sizeof expected);
    if (number < 0) return config_unsupported(f, file, place, value, expected);
    *out = number;
    return SLUICE_OK;
}

/* An integer, or an array with the same integer for each of n_layers. */
static sluice_status read_int_per_layer(const struct key_source *s, const char *name, struct meta value,
                                        const struct key_rule *rule, const struct model_config *c, int *out,
                                        struct failure *f)
{
    const int n_layers = c->n_layers, n_extra = c->n_extra_layers;
    char place[KEY_PLACE_BYTES], element[96], expected[64];
    if (value.kind != META_ARRAY)
        return config_int(s->file, config_key_place(s, name, place), value, rule->min, rule->max, out, f);
    const int n_all = value.n > (size_t)n_layers ? n_layers + n_extra : n_layers; /* of which the first count */
    if (value.n != (size_t)n_all)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %zu values, expected one, or one for each of %d layers", s->file,
                    config_key_place(s, name, place), value.n, n_layers);
    for (int l = 0; l < n_layers; l++) {
        int entry = 0;
        struct meta layer = meta_element(value, (size_t)l);
        snprintf(element, sizeof element, "%s[%d]", name, l);
        config_key_place(s, element, place);
        sluice_status status = config_int(s->file, place, layer, rule->min, rule->max, &entry, f);
        if (status) return status;
        snprintf(expected, sizeof expected, "%d as in layer 0", *out);
        if (l > 0 && entry != *out) return config_unsupported(f, s->file, place, layer, expected);
        *out = entry;
    }
    return SLUICE_OK;
}

/* A rule whose range is one value is a key that would change the result, and of which one value is implemented. */
static sluice_status read_int(const struct key_source *s, const char *place, struct meta value,
                              const struct key_rule *rule, int *out, struct failure *f)
{
    char expected[64];
    snprintf(expected, sizeof expected, "%.0f (not supported)", rule->min);
    if (rule->min == rule->max && value.kind == META_INT && value.number != rule->min)
        return config_unsupported(f, s->file, place, value, expected);
    return config_int(s->file, place, value, rule->min, rule->max, out, f);
}

static sluice_status read_key(struct model_config *c, const struct key_source *s, const struct key_rule *rule,
                              struct failure *f)
{
    char key[64], place[KEY_PLACE_BYTES];
    void *field = (char *)c + rule->offset;
    bool or_null = rule->kind == KEY_INT_OR_NULL || rule->kind == KEY_FLOAT_OR_NULL;
    struct meta value = config_find_spelling(s, rule->name, or_null, key, sizeof key);
    config_key_place(s, key, place);
    if (value.kind == META_ABSENT && rule->required) return fail(f, SLUICE_FORMAT, "%s: %s: missing", s->file, place);
    bool absent = value.kind == META_ABSENT;
    switch (rule->kind) {
    case KEY_INT_OR_NULL:
        if (value.kind == META_NULL) {
            *(int *)field = 0;
            return SLUICE_OK;
        } /* fall through */
    case KEY_INT:
        if (!absent) return read_int(s, place, value, rule, field, f);
        *(int *)field = (int)rule->fallback;
        return SLUICE_OK;
    case KEY_INT_PER_LAYER:
        if (!absent) return read_int_per_layer(s, key, value, rule, c, field, f);
        *(int *)field = (int)rule->fallback;
        return SLUICE_OK;
    case KEY_FLOAT_OR_NULL:
        if (value.kind == META_NULL) {
            *(float *)field = 0;
            return SLUICE_OK;
        } /* fall through */
    case KEY_FLOAT: {
        double number = rule->fallback;
        sluice_status status =
            absent ? SLUICE_OK : config_float(s->file, place, value, rule->min, rule->max, &number, f);
        *(float *)field = (float)number;
        return status;
    }
    case KEY_BOOL:
        if (!absent) return config_bool(s->file, place, value, field, f);
        *(bool *)field = rule->fallback != 0;
        return SLUICE_OK;
    case KEY_WORD:
        if (!absent) return config_word_number(s->file, place, value, rule->words, field, f);
        *(int *)field = (int)rule->fallback;
        return SLUICE_OK;
    }
    return SLUICE_OK;
}

bool config_has_rule(const struct key_rule *rules, const char *name)
{
    const size_t length = strlen(name);
    for (const struct key_rule *rule = rules; rule->name; rule++)
        for (const char *p = rule->name; *p; p += strcspn(p, "|") + (p[strcspn(p, "|")] == '|'))
            if (strcspn(p, "|") == length && memcmp(p, name, length) == 0) return true;
    return false;
}

sluice_status config_keys(struct model_config *c, const struct key_source *s, const struct key_rule *rules,
                          const struct key_rule *instead, struct failure *f)
{
    for (const struct key_rule *rule = rules; rule->name; rule++) {
        sluice_status status = instead && config_has_rule(instead, rule->name) ? SLUICE_OK : read_key(c, s, rule, f);
        if (status) return status;
    }
    return SLUICE_OK;
}
