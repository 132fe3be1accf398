/* Owns the life of a struct vocab: the order in which tokenizer.json is read, the checks that need all of it, and the
 * small questions. Read next: model.c for the tables, encode.c for what they are used for. */
#include "text/vocab.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

bool is_byte_level(const struct vocab *v)
{
    for (size_t i = 0; i < v->n_normalizers; i++)
        if (v->normalizers[i].kind == NORMALIZE_BYTE_LEVEL) return true;
    for (size_t i = 0; i < v->n_pretokenizers; i++)
        if (v->pretokenizers[i].kind == PRETOKENIZE_MAP_BYTES) return true;
    return false;
}

static sluice_status load_tokenizer(struct vocab *v, const json_t *root, struct failure *f)
{
    const char *version = "1.0";
    sluice_status status = json_get_word(root, "version", &version, f);
    char shown[ESCAPED_BYTES];
    if (!status && strcmp(version, "1.0") != 0)
        return fail(f, SLUICE_UNSUPPORTED, "version \"%s\" is not supported",
                    escape_text(shown, sizeof shown, version, strlen(version)));
    if (!status) status = model_load(v, root, f);
    if (!status) status = normalizers_load(v, json_object_get(root, "normalizer"), f);
    if (!status) status = pretokenizers_load(v, json_object_get(root, "pre_tokenizer"), f);
    if (!status) status = added_load(v, json_object_get(root, "added_tokens"), f);
    if (!status && is_byte_level(v)) status = check_byte_level(v, f);
    return status ? status : template_load(v, json_object_get(root, "post_processor"), f);
}

static sluice_status load_config(struct vocab *v, const char *data, size_t n, struct failure *f)
{
    json_t *root;
    sluice_status status = json_read(&root, data, n, MAX_CONFIG_BYTES, f);
    if (!status) status = added_from_config(v, root, f);
    if (!status) status = template_from_config(v, root, f);
    json_decref(root);
    return status;
}

sluice_status vocab_create(struct vocab **out, const char *tokenizer_json, size_t tokenizer_bytes,
                           const char *tokenizer_config, size_t config_bytes, struct failure *f)
{
    struct failure local; /* the parts may assume that there is one */
    if (!f) f = &local;
    f->text[0] = 0;
    *out = NULL;
    json_t *root = NULL;
    const char *name = "tokenizer.json";
    struct vocab *v = memory_calloc(1, sizeof *v);
    sluice_status status = v ? SLUICE_OK : fail_memory(f, NULL);
    if (!status) {
        v->bos_id = v->eos_id = v->pad_id = -1;
        status = json_read(&root, tokenizer_json, tokenizer_bytes, MAX_JSON_BYTES, f);
    }
    if (!status) status = load_tokenizer(v, root, f);
    if (!status && tokenizer_config) {
        status = load_config(v, tokenizer_config, config_bytes, f);
        if (status) name = "tokenizer_config.json";
    }
    if (!status) added_trim(v);
    if (!status) status = added_finish(v, f);
    if (!status) status = decoder_load(v, json_object_get(root, "decoder"), f);
    json_decref(root);
    if (status) {
        fail_in(f, name);
        vocab_free(&v);
        return status;
    }
    *out = v;
    return SLUICE_OK;
}

void vocab_free(struct vocab **pointer)
{
    struct vocab *v = *pointer;
    *pointer = NULL;
    if (!v) return;
    for (size_t i = 0; i < v->n_normalizers; i++) {
        pattern_free(v->normalizers[i].pattern);
        memory_free(v->normalizers[i].content);
    }
    for (size_t i = 0; i < v->n_pretokenizers; i++) pattern_free(v->pretokenizers[i].pattern);
    decoder_free(&v->decoder);
    text_buffer_free(&v->pool);
    memory_free(v->tokens);
    memory_free(v->slots);
    memory_free(v->merges);
    memory_free(v->ranks);
    memory_free(v->added_raw.items);
    memory_free(v->added_normalized.items);
    memory_free(v);
}

int32_t vocab_size(const struct vocab *v) { return v->n_tokens; }
int32_t vocab_core_size(const struct vocab *v)
{
    int32_t n = v->n_tokens;
    while (n > 0 && (v->tokens[n - 1].flags == (TOKEN_ADDED | TOKEN_SPECIAL) || !v->tokens[n - 1].flags)) n--;
    return n;
}

int32_t vocab_bos_id(const struct vocab *v) { return v->bos_id; }
int32_t vocab_eos_id(const struct vocab *v) { return v->eos_id; }

bool vocab_is_special(const struct vocab *v, int32_t id)
{
    return id >= 0 && id < v->n_tokens && (v->tokens[id].flags & TOKEN_SPECIAL);
}

size_t vocab_bytes(const struct vocab *v)
{
    size_t bytes = sizeof *v + v->pool.cap + (size_t)v->n_tokens * sizeof *v->tokens + v->n_slots * sizeof *v->slots +
                   v->n_merge_slots * sizeof *v->merges + (v->ranks ? (size_t)v->n_tokens * sizeof *v->ranks : 0) +
                   (v->added_raw.n + v->added_normalized.n) * sizeof(struct added); /* bounded: what lies in memory */
    for (size_t i = 0; i < v->n_normalizers; i++)
        bytes += v->normalizers[i].n_content + pattern_bytes(v->normalizers[i].pattern);
    for (size_t i = 0; i < v->n_pretokenizers; i++) bytes += pattern_bytes(v->pretokenizers[i].pattern);
    return bytes;
}

const char *vocab_token_bytes(const struct vocab *v, int32_t id, size_t *n)
{
    *n = 0;
    if (id < 0 || id >= v->n_tokens) return "";
    *n = v->tokens[id].n_bytes;
    return v->pool.data + v->tokens[id].bytes;
}
