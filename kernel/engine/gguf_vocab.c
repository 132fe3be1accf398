/* Owns reading the tokenizer of a GGUF file: its keys are checked for type and length and handed to the tokenizer. A
 * file may carry a whole tokenizer.json besides (key "tokenizer.huggingface.json"), which says more than the other keys
 * can; then that is the tokenizer. Read next: text/vocab_gguf.c. */
#include "engine/gguf_vocab.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "weights/archive.h"

#define KEY "tokenizer.ggml."

struct reader {
    const struct archive *archive;
    struct failure *f;
};

static sluice_status key_fail(const struct reader *r, const char *key, struct meta found, const char *expected)
{
    return fail(r->f, SLUICE_FORMAT, "%s: key \"%s\": found %s, expected %s", archive_name(r->archive), key,
                found.type ? found.type : meta_kind_name(found.kind), expected);
}

static sluice_status read_text(const struct reader *r, const char *key, const char **out, size_t *n)
{
    struct meta m = archive_meta(r->archive, DOCUMENT_GGUF, key);
    if (m.kind == META_ABSENT) return SLUICE_OK;
    if (m.kind != META_STRING) return key_fail(r, key, m, "a string");
    *out = m.string;
    if (n) *n = m.n;
    return SLUICE_OK;
}

/* A word that is compared. */
static sluice_status read_word(const struct reader *r, const char *key, const char **out)
{
    size_t n = 0;
    sluice_status s = read_text(r, key, out, &n);
    if (!s && n > 0 && memchr(*out, 0, n))
        return fail(r->f, SLUICE_FORMAT, "%s: key \"%s\": contains NUL", archive_name(r->archive), key);
    return s;
}

/* An id, or -1 when the key is absent or says "none" as an unsigned number. */
static sluice_status read_id(const struct reader *r, const char *key, int32_t *out)
{
    struct meta m = archive_meta(r->archive, DOCUMENT_GGUF, key);
    *out = -1;
    if (m.kind == META_ABSENT) return SLUICE_OK;
    if (m.kind != META_INT) return key_fail(r, key, m, "an integer");
    if (m.integer == -1 || m.integer == UINT32_MAX) return SLUICE_OK;
    if (m.integer < 0 || m.integer > INT32_MAX)
        return fail(r->f, SLUICE_FORMAT, "%s: key \"%s\": found %lld, expected 0..%d", archive_name(r->archive), key,
                    (long long)m.integer, INT32_MAX);
    *out = (int32_t)m.integer; /* bounded: just compared */
    return SLUICE_OK;
}

static sluice_status read_flag(const struct reader *r, const char *key, int *out)
{
    struct meta m = archive_meta(r->archive, DOCUMENT_GGUF, key);
    *out = -1;
    if (m.kind == META_ABSENT) return SLUICE_OK;
    if (m.kind != META_BOOL) return key_fail(r, key, m, "bool");
    *out = m.boolean;
    return SLUICE_OK;
}

/* An array of one type and, if n > 0, of n elements. Absent: array->kind is META_ABSENT. */
static sluice_status read_array(const struct reader *r, const char *key, const char *type, size_t n, struct meta *array)
{
    *array = archive_meta(r->archive, DOCUMENT_GGUF, key);
    if (array->kind == META_ABSENT) return SLUICE_OK;
    if (array->kind != META_ARRAY || !array->type || strcmp(array->type, type) != 0)
        return key_fail(r, key, *array, type);
    if (n == 0 || array->n == n) return SLUICE_OK;
    return fail(r->f, SLUICE_FORMAT, "%s: key \"%s\": found %zu elements, expected %zu, one for each token",
                archive_name(r->archive), key, array->n, n);
}

static sluice_status read_texts(const struct reader *r, const char *key, const char *const **texts,
                                const size_t **lengths, size_t *n)
{
    struct meta array;
    sluice_status s = read_array(r, key, "array of string", 0, &array);
    if (s || array.kind == META_ABSENT) return s;
    const char **text = memory_calloc(array.n, sizeof *text);
    size_t *length = memory_calloc(array.n, sizeof *length);
    *texts = text;
    *lengths = length;
    *n = array.n;
    if (!text || !length) return fail_memory(r->f, archive_name(r->archive));
    for (size_t i = 0; i < array.n; i++) {
        struct meta m = meta_element(array, i);
        text[i] = m.string;
        length[i] = m.n;
    }
    return SLUICE_OK;
}

static sluice_status read_numbers(const struct reader *r, struct vocab_source *source)
{
    struct meta array;
    sluice_status s = read_array(r, KEY "token_type", "array of int32", source->n_tokens, &array);
    if (!s && array.kind == META_ARRAY) {
        int32_t *types = memory_calloc(array.n, sizeof *types);
        source->types = types;
        if (!types) return fail_memory(r->f, archive_name(r->archive));
        for (size_t i = 0; i < array.n; i++)
            types[i] = (int32_t)meta_element(array, i).integer; /* bounded: the array is of int32 */
    }
    if (!s) s = read_array(r, KEY "scores", "array of float32", source->n_tokens, &array);
    if (!s && array.kind == META_ARRAY) {
        float *scores = memory_calloc(array.n, sizeof *scores);
        source->scores = scores;
        if (!scores) return fail_memory(r->f, archive_name(r->archive));
        for (size_t i = 0; i < array.n; i++) scores[i] = (float)meta_element(array, i).number;
    }
    return s;
}

static sluice_status read_ids(const struct reader *r, struct vocab_source *source)
{
    sluice_status s = read_id(r, KEY "bos_token_id", &source->bos);
    if (!s) s = read_id(r, KEY "eos_token_id", &source->eos);
    if (!s) s = read_id(r, KEY "unknown_token_id", &source->unknown);
    if (!s) s = read_id(r, KEY "padding_token_id", &source->padding);
    if (!s) s = read_flag(r, KEY "add_bos_token", &source->add_bos);
    if (!s) s = read_flag(r, KEY "add_eos_token", &source->add_eos);
    return s ? s : read_flag(r, KEY "add_space_prefix", &source->add_space_prefix);
}

static sluice_status read_source(const struct reader *r, struct vocab_source *source)
{
    sluice_status s = read_ids(r, source);
    if (!s) s = read_word(r, KEY "pre", &source->pre);
    if (!s) s = read_texts(r, KEY "tokens", &source->tokens, &source->token_lengths, &source->n_tokens);
    if (!s && !source->tokens)
        s = fail(r->f, SLUICE_FORMAT, "%s: key \"%s\": missing", archive_name(r->archive), KEY "tokens");
    if (!s) s = read_texts(r, KEY "merges", &source->merges, &source->merge_lengths, &source->n_merges);
    return s ? s : read_numbers(r, source);
}

/* The converters write no such flag; the peer goes by the name of the model too. */
static bool is_phi3(const struct archive *a)
{
    struct meta name = archive_meta(a, DOCUMENT_GGUF, "general.name");
    return name.kind == META_STRING && (strcasestr(name.string, "phi-3") || strcasestr(name.string, "phi3"));
}

static void free_source(struct vocab_source *source)
{
    memory_free((void *)source->tokens);
    memory_free((void *)source->token_lengths);
    memory_free((void *)source->types);
    memory_free((void *)source->scores);
    memory_free((void *)source->merges);
    memory_free((void *)source->merge_lengths);
}

/* The keys alone. */
static sluice_status open_keys(struct vocab **out, const struct reader *r, const char *model, char *warning, size_t cap)
{
    struct vocab_source source = {.model = model, .strip_after_special = is_phi3(r->archive)};
    sluice_status s = read_source(r, &source);
    if (!s) {
        s = vocab_create_gguf(out, &source, r->f);
        if (s) fail_in(r->f, archive_name(r->archive));
    }
    if (!s && strcmp(model, "gpt2") == 0 && (!source.pre || strcmp(source.pre, "default") == 0))
        snprintf(warning, cap,
                 "%s: key \"%s\" does not name the pre-tokenizer: words are cut by a common rule, and may "
                 "differ from what the model was trained with",
                 archive_name(r->archive), KEY "pre");
    free_source(&source);
    return s;
}

sluice_status open_gguf_vocab(struct vocab **out, const struct archive *a, char *warning, size_t cap, struct failure *f)
{
    struct reader r = {a, f};
    const char *json = NULL, *model = NULL;
    size_t n = 0;
    *out = NULL;
    warning[0] = 0;
    sluice_status s = read_text(&r, "tokenizer.huggingface.json", &json, &n);
    if (!s) s = read_word(&r, KEY "model", &model);
    if (s) return s;
    if (!json) {
        bool none = !model || strcmp(model, "none") == 0 || strcmp(model, "no_vocab") == 0;
        return none ? SLUICE_OK : open_keys(out, &r, model, warning, cap);
    }
    struct vocab_source ids = {0};
    s = read_ids(&r, &ids);
    if (s) return s;
    s = vocab_create(out, json, n, NULL, 0, f);
    if (!s) s = vocab_set_ids(*out, &ids, f);
    if (s) {
        vocab_free(out);
        fail_in(f, archive_name(a));
    }
    return s;
}
