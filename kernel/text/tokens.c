/* Owns the table of tokens: id -> spelling, and spelling -> id through a hash table with open addressing.
 * Read next: model.c, which fills it. */
#include <string.h>
#include <sys/random.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

static uint64_t hash_text(uint64_t seed, const char *text, size_t n)
{
    uint64_t h = seed ^ n * 0x9e3779b97f4a7c15u; /* wraps: a hash */
    while (n > 0) {
        uint64_t chunk = 0;
        size_t take = n < 8 ? n : 8;
        memcpy(&chunk, text, take);
        h = (h ^ chunk) * 0xd6e8feb86659fd93u; /* wraps: a hash */
        h ^= h >> 32;
        text += take;
        n -= take;
    }
    h *= 0xd6e8feb86659fd93u; /* wraps: a hash */
    return h ^ h >> 29;
}

sluice_status pool_append(struct vocab *v, const char *data, size_t n, uint32_t *offset, struct failure *f)
{
    if (v->pool.n + n > UINT32_MAX) return fail(f, SLUICE_FORMAT, "the token texts exceed 4 GiB");
    *offset = (uint32_t)v->pool.n; /* bounded: just compared */
    return text_buffer_append(&v->pool, data, n) ? fail_memory(f, NULL) : SLUICE_OK;
}

/* The slot that holds the text, or the empty one where it belongs. */
static size_t find_slot(const struct vocab *v, const char *text, size_t n)
{
    size_t mask = v->n_slots - 1, slot = hash_text(v->seed, text, n) & mask;
    for (;; slot = (slot + 1) & mask) {
        if (v->slots[slot] == 0) return slot;
        const struct token *token = &v->tokens[v->slots[slot] - 1];
        if (token->n_text == n && memcmp(v->pool.data + token->text, text, n) == 0) return slot;
    }
}

int32_t token_find(const struct vocab *v, const char *text, size_t n)
{
    return v->n_slots ? (int32_t)v->slots[find_slot(v, text, n)] - 1 : -1;
}

int32_t token_find_model(const struct vocab *v, const char *text, size_t n)
{
    int32_t id = token_find(v, text, n);
    return id >= 0 && (v->tokens[id].flags & TOKEN_MODEL) ? id : -1;
}

sluice_status tokens_reserve(struct vocab *v, size_t n_ids, struct failure *f)
{
    size_t n_slots = 256;
    /* The pool begins with a byte, so that the texts of tokens have an address when all of them are empty. */
    if (!v->pool.data && text_buffer_append(&v->pool, "", 1)) return fail_memory(f, NULL);
    while (n_slots < 2 * n_ids) n_slots *= 2;
    struct token *tokens = memory_realloc(v->tokens, n_ids * sizeof *tokens);
    if (!tokens) return fail_memory(f, NULL);
    v->tokens = tokens;
    if ((size_t)v->n_tokens < n_ids) memset(tokens + v->n_tokens, 0, (n_ids - (size_t)v->n_tokens) * sizeof *tokens);
    uint32_t *slots = memory_calloc(n_slots, sizeof *slots);
    if (!slots) return fail_memory(f, NULL);
    memory_free(v->slots);
    v->slots = slots;
    v->n_slots = n_slots;
    if (v->n_tokens == 0 && getrandom(&v->seed, sizeof v->seed, GRND_NONBLOCK) < 0) v->seed = (uintptr_t)v;
    int32_t n_old = v->n_tokens;
    v->n_tokens = (int32_t)n_ids; /* bounded: the callers ask for at most MAX_TOKENS */
    for (int32_t id = 0; id < n_old; id++) {
        const struct token *token = &tokens[id];
        if (token->flags) slots[find_slot(v, v->pool.data + token->text, token->n_text)] = (uint32_t)id + 1;
    }
    return SLUICE_OK;
}

sluice_status token_add(struct vocab *v, int32_t id, const char *text, size_t n, unsigned flags, struct failure *f)
{
    char shown[ESCAPED_BYTES], other[ESCAPED_BYTES];
    struct token *token = &v->tokens[id];
    if (token->flags)
        return fail(f, SLUICE_FORMAT, "id %d belongs to \"%s\" and \"%s\"", id,
                    escape_text(other, sizeof other, v->pool.data + token->text, token->n_text),
                    escape_text(shown, sizeof shown, text, n));
    if (n > MAX_TOKEN_BYTES) return fail(f, SLUICE_FORMAT, "token %d: %zu bytes exceed %d", id, n, MAX_TOKEN_BYTES);
    size_t slot = find_slot(v, text, n);
    if (v->slots[slot])
        return fail(f, SLUICE_FORMAT, "token \"%s\" has the ids %d and %d", escape_text(shown, sizeof shown, text, n),
                    (int)v->slots[slot] - 1, id);
    sluice_status status = pool_append(v, text, n, &token->text, f);
    if (status) return status;
    token->n_text = (uint16_t)n;
    token->bytes = token->text;
    token->n_bytes = token->n_text;
    token->flags = (uint8_t)flags;
    v->n_used++;
    v->slots[slot] = (uint32_t)id + 1;
    return SLUICE_OK;
}
