/* Owns added tokens: reading them, and finding them in a text before anything else looks at it. The search is leftmost,
 * then longest; its cost is the text times the longest added token. Read next: encode.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_events.h"
#include "base/memory.h"
#include "text/vocab_internal.h"

/* ---- loading --------------------------------------------------------------------------------------------------- */

static sluice_status read_flags(const json_t *token, unsigned *flags, struct failure *f)
{
    static const char *const names[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
    *flags = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        bool on = false;
        sluice_status status = json_get_bool(token, names[i], &on, f);
        if (status) return status;
        if (on) *flags |= 1u << i; /* the order of enum added_flags */
    }
    return SLUICE_OK;
}

/* The text may be a token of the model (then it keeps its id, which must be the same) or a new one. Declared a second
 * time, the flags change. */
static sluice_status declare(struct vocab *v, const char *text, size_t n, int32_t id, unsigned flags, struct failure *f)
{
    char shown[ESCAPED_BYTES];
    if (n == 0) return fail(f, SLUICE_FORMAT, "empty content");
    int32_t known = token_find(v, text, n);
    if (known >= 0 && known != id)
        return fail(f, SLUICE_FORMAT, "\"%s\" has the ids %d and %d", escape_text(shown, sizeof shown, text, n), known,
                    id);
    if (known < 0) {
        sluice_status status = token_add(v, id, text, n, 0, f);
        if (status) return status;
    }
    struct token *token = &v->tokens[id];
    token->flags |= TOKEN_ADDED;
    if (flags & ADDED_SPECIAL) token->flags |= TOKEN_SPECIAL;
    token->added = (uint8_t)flags;
    return SLUICE_OK;
}

static sluice_status read_added(struct vocab *v, const json_t *token, json_int_t id, struct failure *f)
{
    const char *text = "";
    size_t n = 0;
    unsigned flags;
    sluice_status status = json_get_text(token, "content", &text, &n, f);
    if (!status) status = read_flags(token, &flags, f);
    return status ? status : declare(v, text, n, (int32_t)id, flags, f); /* bounded: reserve_id has seen it */
}

/* Makes room for `id`; only ids near the number of tokens, so that a few numbers cannot ask for gigabytes. `highest` is
 * the greatest id of the list, whatever it is: the room is made in one step. If that id is not sound, it is as much as
 * any sound one may need: the list fails later, and not after making room for each of its ids. */
static sluice_status reserve_id(struct vocab *v, json_int_t id, json_int_t highest, size_t n_more, struct failure *f)
{
    if (id < 0 || id >= MAX_TOKENS)
        return fail(f, SLUICE_FORMAT, "id %lld is outside 0..%d", (long long)id, MAX_TOKENS - 1);
    if (id < v->n_tokens) return SLUICE_OK;
    const size_t n = v->n_used + n_more, most = 4 * n + 65536;
    const size_t n_ids = (size_t)id; /* bounded: at most MAX_TOKENS */
    if (n_ids > most) return fail(f, SLUICE_FORMAT, "highest id %lld for %zu tokens", (long long)id, n);
    size_t wanted = highest < MAX_TOKENS ? (size_t)highest : most; /* bounded: at most MAX_TOKENS */
    if (wanted > most) wanted = most;
    if (wanted > MAX_TOKENS - 1) wanted = MAX_TOKENS - 1;
    return tokens_reserve(v, wanted + 1, f);
}

static sluice_status read_list(struct vocab *v, const json_t *list, struct failure *f)
{
    if (!list || json_is_null(list)) return SLUICE_OK;
    if (!json_is_array(list)) return fail(f, SLUICE_FORMAT, "added_tokens: must be a list");
    size_t i, count = json_array_size(list);
    const json_t *token;
    json_int_t highest = 0;
    json_array_foreach(list, i, token)
    {
        json_int_t id = json_integer_value(json_object_get(token, "id"));
        if (id > highest) highest = id;
    }
    json_array_foreach(list, i, token)
    {
        char where[48];
        const json_t *id = json_object_get(token, "id");
        sluice_status status = json_is_integer(id) ? reserve_id(v, json_integer_value(id), highest, count - i, f)
                                                   : fail(f, SLUICE_FORMAT, "the id must be an integer");
        if (!status) status = read_added(v, token, json_integer_value(id), f);
        if (status) {
            snprintf(where, sizeof where, "added token %zu", i);
            fail_in(f, where);
            return status;
        }
    }
    return SLUICE_OK;
}

/* A key such as "32000": digits alone. What is beyond 63 bits is as good as the largest number. */
static bool read_id_key(const char *key, json_int_t *id)
{
    const size_t n = strlen(key);
    const struct json_reader digits = {.raw = key, .raw_n = n};
    uint64_t v = 0;
    *id = 0;
    if (n == 0 || n != strspn(key, "0123456789") || (key[0] == '0' && n > 1)) return false;
    *id = json_u64(&digits, &v) && v <= INT64_MAX ? (json_int_t)v : INT64_MAX; /* bounded: just compared */
    return true;
}

/* tokenizer_config.json may declare more: {"added_tokens_decoder": {"32000": {"content": ...}}}. */
static sluice_status read_config(struct vocab *v, const json_t *config, struct failure *f)
{
    json_t *table = json_object_get(config, "added_tokens_decoder");
    size_t left = json_object_size(table);
    const char *key;
    json_t *token;
    json_int_t highest = 0, id = 0;
    if (table && !json_is_object(table) && !json_is_null(table))
        return fail(f, SLUICE_FORMAT, "added_tokens_decoder: must be an object");
    json_object_foreach(table, key, token) if (read_id_key(key, &id) && id > highest) highest = id;
    json_object_foreach(table, key, token)
    {
        char shown[ESCAPED_BYTES];
        sluice_status status = read_id_key(key, &id) ? reserve_id(v, id, highest, left--, f)
                                                     : fail(f, SLUICE_FORMAT, "the id must be an integer");
        if (!status) status = read_added(v, token, id, f);
        if (status) {
            escape_text(shown, sizeof shown, key, strlen(key));
            fail_in(f, shown);
            fail_in(f, "added_tokens_decoder");
            return status;
        }
    }
    return SLUICE_OK;
}

/* "bos_token" and its like name special tokens, whether or not the list has them. */
static void mark_named(struct vocab *v, const json_t *name)
{
    if (json_is_object(name)) name = json_object_get(name, "content");
    if (!json_is_string(name)) return;
    int32_t id = token_find(v, json_string_value(name), json_string_length(name));
    if (id < 0) return;
    v->tokens[id].flags |= TOKEN_ADDED | TOKEN_SPECIAL;
    v->tokens[id].added |= ADDED_SPECIAL;
}

static void mark_all_named(struct vocab *v, const json_t *config)
{
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                       "sep_token", "cls_token", "mask_token"};
    static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) mark_named(v, json_object_get(config, keys[i]));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        size_t k;
        const json_t *name;
        json_array_foreach(json_object_get(config, lists[i]), k, name) mark_named(v, name);
    }
}

/* ---- the two sorted sets --------------------------------------------------------------------------------------- */

/* A vocabulary may have a token without text, and tokenizer_config.json may name it; no text can hold it. */
static bool is_searched(const struct token *token) { return token->flags & TOKEN_ADDED && token->n_text > 0; }

static int compare_patterns(const void *a, const void *b, void *pool)
{
    const struct added *x = a, *y = b;
    uint32_t n = x->n_pattern < y->n_pattern ? x->n_pattern : y->n_pattern;
    int order = memcmp((const char *)pool + x->pattern, (const char *)pool + y->pattern, n);
    return order ? order : (x->n_pattern > y->n_pattern) - (x->n_pattern < y->n_pattern);
}

static sluice_status add_to_set(struct work *w, struct vocab *v, int32_t id, struct text_buffer *scratch)
{
    struct token *token = &v->tokens[id];
    bool normalized = token->added & ADDED_NORMALIZED;
    struct added_set *set = normalized ? &v->added_normalized : &v->added_raw;
    struct added item = {.pattern = token->text, .n_pattern = token->n_text, .id = id, .flags = token->added};
    if (normalized && v->n_normalizers > 0) {
        work_limit_token(w, token->n_text);
        sluice_status status = normalize(w, v->pool.data + token->text, token->n_text, scratch);
        if (status) return work_token_fail(w, status, "added token with id ", id, ": normalizer");
        if (scratch->n == 0 || scratch->n > 16u * token->n_text + 64 || scratch->n > UINT16_MAX)
            return fail(w->f, SLUICE_FORMAT, "added token with id %d: %zu bytes after normalization", id, scratch->n);
        item.n_pattern = (uint32_t)scratch->n; /* bounded: at most UINT16_MAX */
        if ((status = pool_append(v, scratch->data, scratch->n, &item.pattern, w->f))) return status;
        token->bytes = item.pattern; /* the reference decodes such a token to its normalized form */
        token->n_bytes = (uint16_t)scratch->n;
    }
    set->items[set->n++] = item;
    return SLUICE_OK;
}

static void index_set(struct vocab *v, struct added_set *set)
{
    qsort_r(set->items, set->n, sizeof *set->items, compare_patterns, v->pool.data);
    uint32_t at = 0;
    for (unsigned byte = 0; byte <= 256; byte++) {
        while (at < set->n && (unsigned char)v->pool.data[set->items[at].pattern] < byte) at++;
        set->first[byte] = at;
    }
}

static sluice_status build_sets(struct vocab *v, struct failure *f)
{
    size_t n = 0, n_normalized = 0;
    for (int32_t id = 0; id < v->n_tokens; id++) {
        if (!is_searched(&v->tokens[id])) continue;
        if (v->tokens[id].added & ADDED_NORMALIZED)
            n_normalized++;
        else
            n++;
    }
    v->added_raw.items = memory_alloc(n * sizeof(struct added));
    v->added_normalized.items = memory_alloc(n_normalized * sizeof(struct added));
    if (!v->added_raw.items || !v->added_normalized.items) return fail_memory(f, NULL);
    struct work w;
    struct text_buffer scratch = {0};
    work_init(&w, v, MAX_TOKEN_BYTES, f);
    sluice_status status = SLUICE_OK;
    for (int32_t id = 0; id < v->n_tokens && !status; id++)
        if (is_searched(&v->tokens[id])) status = add_to_set(&w, v, id, &scratch);
    work_free(&w);
    text_buffer_free(&scratch);
    index_set(v, &v->added_raw);
    index_set(v, &v->added_normalized);
    return status;
}

sluice_status added_load(struct vocab *v, const json_t *list, struct failure *f) { return read_list(v, list, f); }

sluice_status added_from_config(struct vocab *v, const json_t *config, struct failure *f)
{
    sluice_status status = read_config(v, config, f);
    if (!status) mark_all_named(v, config);
    return status;
}

void added_trim(struct vocab *v)
{
    while (v->n_tokens > 0 && !v->tokens[v->n_tokens - 1].flags) v->n_tokens--;
}

sluice_status added_finish(struct vocab *v, struct failure *f) { return build_sets(v, f); }

/* ---- finding --------------------------------------------------------------------------------------------------- */

/* The first item of items[low, high) whose byte at `depth` is at least `byte`. All of them are longer than depth. */
static size_t lower_bound(const struct vocab *v, const struct added *items, size_t low, size_t high, size_t depth,
                          unsigned byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)v->pool.data[items[middle].pattern + depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest item that text [n] begins with. Follows the bytes of the text into the sorted items: those that share the
 * first `depth` bytes are neighbours, the one that ends there comes first. */
static const struct added *longest_at(const struct vocab *v, const struct added_set *set, const char *text, size_t n)
{
    const struct added *best = NULL;
    unsigned byte = (unsigned char)text[0];
    size_t low = set->first[byte], high = set->first[byte + 1];
    for (size_t depth = 1; low < high; depth++) {
        while (low < high && set->items[low].n_pattern == depth) best = &set->items[low++];
        if (depth >= n) break;
        byte = (unsigned char)text[depth];
        low = lower_bound(v, set->items, low, high, depth, byte);
        high = lower_bound(v, set->items, low, high, depth, byte + 1);
    }
    return best;
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    int32_t c;
    if (start > 0 && (utf8_back(text, start, &c), is_word(c))) return false;
    return end == n || (utf8_read(text + end, &c), !is_word(c));
}

bool added_next(const struct vocab *v, const struct added_set *set, const char *text, size_t n, bool parse_special,
                struct added_walk *walk)
{
    size_t taken = walk->end;
    for (size_t at = walk->from; set->n > 0 && at < n;) {
        const struct added *item = longest_at(v, set, text + at, n - at);
        if (!item) {
            at++;
            continue;
        }
        size_t start = at, end = at + item->n_pattern;
        at = walk->from = end; /* a match that does not count still hides others inside it */
        if ((item->flags & ADDED_SPECIAL) && !parse_special) continue;
        if ((item->flags & ADDED_SINGLE_WORD) && !stands_alone(text, n, start, end)) continue;
        int32_t c;
        size_t bytes;
        if (item->flags & ADDED_LSTRIP)
            while (start > taken && (bytes = utf8_back(text, start, &c), is_white_space(c))) start -= bytes;
        if (item->flags & ADDED_RSTRIP) {
            if (end < taken) end = taken; /* inside the blanks that the previous token took */
            while (end < n && (bytes = utf8_read(text + end, &c), is_white_space(c))) end += bytes;
        }
        walk->item = item;
        walk->start = start;
        walk->end = end;
        return true;
    }
    return false;
}
