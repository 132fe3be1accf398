/* Owns reading the "model" of a tokenizer.json: vocabulary, merges, fallbacks; only BPE models. And the checks of its
 * tables, which vocab_gguf.c needs too. Every id and every merge is checked here, once; bpe.c trusts the tables.
 * Read next: bpe.c. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "text/bpe.h"
#include "text/vocab_internal.h"

/* A vocabulary may have holes, but not so many that the table of ids is mostly air. */
enum { HOLES_PER_TOKEN = 4, HOLES_FREE = 65536 };

static sluice_status read_id(const char *text, size_t n, const json_t *value, int32_t *id, struct failure *f)
{
    char shown[ESCAPED_BYTES];
    if (!json_is_integer(value))
        return fail(f, SLUICE_FORMAT, "token \"%s\": the id must be an integer",
                    escape_text(shown, sizeof shown, text, n));
    json_int_t number = json_integer_value(value);
    if (number < 0 || number >= MAX_TOKENS)
        return fail(f, SLUICE_FORMAT, "token \"%s\": id %lld is outside 0..%d",
                    escape_text(shown, sizeof shown, text, n), (long long)number, MAX_TOKENS - 1);
    *id = (int32_t)number; /* bounded: compared with MAX_TOKENS */
    return SLUICE_OK;
}

static sluice_status load_vocab(struct vocab *v, json_t *vocab, struct failure *f)
{
    if (!json_is_object(vocab)) return fail(f, SLUICE_FORMAT, "vocab: must be an object");
    size_t count = json_object_size(vocab);
    if (count == 0) return fail(f, SLUICE_FORMAT, "vocab: empty");
    if (count > MAX_TOKENS) return fail(f, SLUICE_FORMAT, "vocab: %zu tokens exceed %d", count, MAX_TOKENS);
    int32_t highest = 0, id = 0;
    const char *text;
    json_t *value;
    sluice_status status;
    json_object_foreach(vocab, text, value)
    {
        if ((status = read_id(text, strlen(text), value, &id, f))) return status;
        if (id > highest) highest = id;
    }
    if ((uint64_t)highest > count * (uint64_t)HOLES_PER_TOKEN + HOLES_FREE)
        return fail(f, SLUICE_FORMAT, "highest id %d for %zu tokens", highest, count);
    if ((status = tokens_reserve(v, (size_t)highest + 1, f))) return status;
    json_object_foreach(vocab, text, value)
    {
        id = (int32_t)json_integer_value(value); /* bounded: read_id has seen it */
        if ((status = token_add(v, id, text, strlen(text), TOKEN_MODEL, f))) return status;
    }
    return SLUICE_OK;
}

bool merge_cut(const char *text, size_t n, const char *side[2], size_t n_side[2])
{
    const char *end = text + n, *blank = memchr(text, ' ', n);
    if (!blank || memchr(blank + 1, ' ', (size_t)(end - blank - 1))) return false;
    side[0] = text;
    n_side[0] = (size_t)(blank - text);
    side[1] = blank + 1;
    n_side[1] = (size_t)(end - blank - 1);
    return true;
}

/* The two sides of a merge: "a b" in one string, or ["a", "b"]. False when it is neither. */
static bool read_merge(const json_t *merge, const char *side[2], size_t n[2])
{
    if (json_is_array(merge)) {
        if (json_array_size(merge) != 2) return false;
        for (size_t i = 0; i < 2; i++) {
            const json_t *text = json_array_get(merge, i);
            if (!json_is_string(text)) return false;
            side[i] = json_string_value(text);
            n[i] = json_string_length(text);
        }
        return true;
    }
    return json_is_string(merge) && merge_cut(json_string_value(merge), json_string_length(merge), side, n);
}

sluice_status merge_add(struct vocab *v, size_t rank, const char *const side[2], const size_t n[2], struct failure *f)
{
    char shown[ESCAPED_BYTES], joined[2 * MAX_TOKEN_BYTES];
    int32_t ids[2];
    for (int i = 0; i < 2; i++) {
        ids[i] = token_find(v, side[i], n[i]);
        if (ids[i] < 0)
            return fail(f, SLUICE_FORMAT, "merge %zu: \"%s\" is not in the vocabulary", rank,
                        escape_text(shown, sizeof shown, side[i], n[i]));
    }
    memcpy(joined, side[0], n[0]); /* both are tokens, so at most MAX_TOKEN_BYTES long */
    memcpy(joined + n[0], side[1], n[1]);
    int32_t id = token_find(v, joined, n[0] + n[1]);
    if (id < 0)
        return fail(f, SLUICE_FORMAT, "merge %zu: result \"%s\" is not in the vocabulary", rank,
                    escape_text(shown, sizeof shown, joined, n[0] + n[1]));
    struct merge *slot = merge_slot(v, ids[0], ids[1]);
    if (slot->left >= 0) return fail(f, SLUICE_FORMAT, "merge %zu repeats merge %u", rank, slot->rank);
    const uint32_t small = (uint32_t)rank; /* bounded: at most MAX_MERGES */
    *slot = (struct merge){.left = ids[0], .right = ids[1], .id = id, .rank = small};
    return SLUICE_OK;
}

sluice_status merges_reserve(struct vocab *v, size_t count, struct failure *f)
{
    size_t n_slots = 16;
    if (count > MAX_MERGES) return fail(f, SLUICE_FORMAT, "merges: %zu exceed %d", count, MAX_MERGES);
    while (n_slots < count + count / 2) n_slots *= 2;
    v->merges = memory_alloc(n_slots * sizeof *v->merges);
    if (!v->merges) return fail_memory(f, NULL);
    v->n_merge_slots = n_slots;
    for (size_t i = 0; i < n_slots; i++) v->merges[i].left = -1;
    return SLUICE_OK;
}

static sluice_status load_merges(struct vocab *v, const json_t *merges, struct failure *f)
{
    if (!json_is_array(merges)) return fail(f, SLUICE_FORMAT, "merges: must be a list");
    sluice_status status = merges_reserve(v, json_array_size(merges), f);
    size_t rank;
    const json_t *merge;
    json_array_foreach(merges, rank, merge)
    {
        const char *side[2];
        size_t n[2];
        if (status) return status;
        if (!read_merge(merge, side, n)) return fail(f, SLUICE_FORMAT, "merge %zu: must be two tokens", rank);
        status = merge_add(v, rank, side, n, f);
    }
    return status;
}

/* Tokens "<0x00>" to "<0xFF>". A model that has some of them but not all would lose bytes of the user's text. */
static sluice_status load_byte_tokens(struct vocab *v, struct failure *f)
{
    int n_found = 0, missing = 0;
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        v->byte_ids[byte] = token_find(v, name, 6);
        if (v->byte_ids[byte] >= 0)
            n_found++;
        else
            missing = byte;
    }
    if (n_found > 0 && n_found < 256)
        return fail(f, SLUICE_FORMAT, "byte_fallback: byte 0x%02x has no token", (unsigned)missing);
    return SLUICE_OK;
}

/* "<0x" begins a byte token; then it must be a whole one. */
int byte_of_token(const char *text, size_t n)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    if (n < 4 || memcmp(text, "<0x", 3) != 0 || text[n - 1] != '>') return -2;
    if (n != 6) return -1;
    const char *high = memchr(digits, text[3], sizeof digits - 1), *low = memchr(digits, text[4], sizeof digits - 1);
    return high && low ? (int)((high - digits) % 16 * 16 + (low - digits) % 16) : -1;
}

static sluice_status check_byte_tokens(const struct vocab *v, struct failure *f)
{
    for (int32_t id = 0; id < v->n_tokens; id++) {
        const struct token *token = &v->tokens[id];
        const char *text = v->pool.data + token->text;
        if (byte_of_token(text, token->n_text) != -1) continue;
        char shown[ESCAPED_BYTES];
        return fail(f, SLUICE_FORMAT, "token %d: bad byte token \"%s\"", id,
                    escape_text(shown, sizeof shown, text, token->n_text));
    }
    return SLUICE_OK;
}

/* In a byte-level vocabulary the bytes of plain English text have tokens, or text would vanish (an unknown token is the
 * file's own answer to that); and every token of the model is spelled in the byte-level alphabet. Other bytes may be
 * without: SmolLM2 has none for 0x04. They vanish, as in other readers. */
sluice_status check_byte_level(const struct vocab *v, struct failure *f)
{
    for (unsigned byte = '\t'; byte < 0x7f && v->unk_id < 0; byte++) {
        char text[4];
        if (byte > '\n' && byte < ' ') continue;
        if (token_find_model(v, text, utf8_write(text, byte_to_char(byte))) < 0)
            return fail(f, SLUICE_FORMAT, "byte 0x%02x has no token", byte);
    }
    for (int32_t id = 0; id < v->n_tokens; id++) {
        const struct token *token = &v->tokens[id];
        if (token->flags != TOKEN_MODEL) continue;
        const char *text = v->pool.data + token->text;
        int32_t c;
        for (size_t i = 0; i < token->n_text;) {
            i += utf8_read(text + i, &c);
            if (char_to_byte(c) < 0) return fail(f, SLUICE_FORMAT, "token %d: not byte-level text", id);
        }
    }
    return SLUICE_OK;
}

static sluice_status load_options(struct vocab *v, const json_t *model, struct failure *f)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const char *text;
    size_t n;
    sluice_status status;
    for (size_t i = 0; i < 2; i++) {
        text = "";
        n = 0;
        if ((status = json_get_text(model, affixes[i], &text, &n, f))) return status;
        if (n > 0) return fail(f, SLUICE_UNSUPPORTED, "%s is not supported", affixes[i]);
    }
    const json_t *dropout = json_object_get(model, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) > 0)
        return fail(f, SLUICE_UNSUPPORTED, "dropout is not supported");
    bool byte_fallback = false;
    if ((status = json_get_bool(model, "fuse_unk", &v->fuse_unk, f))) return status;
    if ((status = json_get_bool(model, "ignore_merges", &v->ignore_merges, f))) return status;
    if ((status = json_get_bool(model, "byte_fallback", &byte_fallback, f))) return status;
    if (byte_fallback) {
        if ((status = check_byte_tokens(v, f)) || (status = load_byte_tokens(v, f))) return status;
    }
    text = NULL;
    if ((status = json_get_text(model, "unk_token", &text, &n, f))) return status;
    if (!text) return SLUICE_OK;
    v->unk_id = token_find(v, text, n);
    char shown[ESCAPED_BYTES];
    if (v->unk_id < 0)
        return fail(f, SLUICE_FORMAT, "unk_token \"%s\" is not in the vocabulary",
                    escape_text(shown, sizeof shown, text, n));
    return SLUICE_OK;
}

sluice_status model_load(struct vocab *v, const json_t *root, struct failure *f)
{
    const json_t *model = json_object_get(root, "model");
    if (!json_is_object(model)) return fail(f, SLUICE_FORMAT, "model: must be an object");
    const char *type = NULL;
    sluice_status status = json_get_word(model, "type", &type, f);
    if (status) return status;
    if (!type) return fail(f, SLUICE_FORMAT, "model: type is missing");
    if (strcmp(type, "BPE") != 0) {
        char shown[ESCAPED_BYTES];
        return fail(f, SLUICE_UNSUPPORTED, "model type \"%s\" is not supported (known: BPE)",
                    escape_text(shown, sizeof shown, type, strlen(type)));
    }
    v->unk_id = -1;
    memset(v->byte_ids, 0xff, sizeof v->byte_ids);
    if ((status = load_vocab(v, json_object_get(model, "vocab"), f))) return status;
    if ((status = load_merges(v, json_object_get(model, "merges"), f))) return status;
    return load_options(v, model, f);
}
