/* Owns vocab_encode: the order of the stages, and the memory of one call. Read next: added.c, normalize.c,
 * pretokenize.c, bpe.c, in the order in which a text meets them. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

/* How much longer than the input the text between two stages may get. Honest steps stay below 20 times; a list of
 * Replace steps that doubles the text thirty times does not. */
enum { TEXT_GROWTH = 64, TEXT_FREE = 1 << 20 };

/* The same for the text of one token while a file is loaded. There may be millions of them. */
enum { TOKEN_GROWTH = 32, TOKEN_FREE = 1024 };

void work_init(struct work *w, const struct vocab *v, size_t input_bytes, struct failure *f)
{
    *w = (struct work){.vocab = v, .f = f, .rank_limit = UINT32_MAX, .matcher = {.text_bytes = input_bytes}};
    w->text_limit = input_bytes * TEXT_GROWTH + TEXT_FREE;
    if (w->text_limit > INT32_MAX) w->text_limit = INT32_MAX; /* bpe.c numbers its symbols with int32_t */
}

void work_limit_token(struct work *w, size_t token_bytes)
{
    w->text_limit = token_bytes * TOKEN_GROWTH + TOKEN_FREE;
    w->is_loading = true;
}

sluice_status work_token_fail(struct work *w, sluice_status status, const char *before, int32_t id, const char *after)
{
    static const char about_input[] = "input: ";
    const size_t n = sizeof about_input - 1;
    char reason[128];
    if (status != SLUICE_ARGUMENT || strncmp(w->f->text, about_input, n) != 0) return status;
    snprintf(reason, sizeof reason, "%s", w->f->text + n);
    return fail(w->f, SLUICE_FORMAT, "%s%d%s: %s", before, id, after, reason);
}

void work_free(struct work *w)
{
    matcher_free(&w->matcher);
    text_buffer_free(&w->normalized);
    text_buffer_free(&w->text);
    text_buffer_free(&w->other);
    memory_free(w->pieces);
    memory_free(w->next_pieces);
    memory_free(w->spans);
    memory_free(w->symbols);
    memory_free(w->heap);
}

sluice_status work_append(struct work *w, struct text_buffer *b, const char *data, size_t n)
{
    if (n > w->text_limit - b->n) return fail(w->f, SLUICE_ARGUMENT, "input: grows beyond %zu bytes", w->text_limit);
    return text_buffer_append(b, data, n) ? fail_memory(w->f, NULL) : SLUICE_OK;
}

sluice_status work_reserve(struct work *w, void *array_pointer, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return SLUICE_OK;
    void *old;
    memcpy(&old, array_pointer, sizeof old);
    size_t grown = *cap ? 2 * *cap : 64;
    if (grown < need) grown = need;
    void *block = memory_realloc(old, grown * size); /* bounded: at most twice what lies in memory, or what it needs */
    if (!block) return fail_memory(w->f, NULL);
    memcpy(array_pointer, &block, sizeof block);
    *cap = grown;
    return SLUICE_OK;
}

void work_emit(struct work *w, int32_t id)
{
    if (w->n_out < w->cap) w->out[w->n_out] = id;
    w->n_out++;
}

/* Text without added tokens of either kind: words, then merges. */
static sluice_status encode_plain(struct work *w, const char *text, size_t n, bool first)
{
    sluice_status status = pretokenize(w, text, n, first);
    for (size_t i = 0; i < w->n_pieces && !status; i++)
        status = bpe_encode(w, w->text.data + w->pieces[i].start, w->pieces[i].n);
    return status;
}

/* Text between added tokens that are found as written: normalize, then look for those that are found normalized. */
static sluice_status encode_section(struct work *w, const char *text, size_t n, bool first)
{
    if (n == 0) return SLUICE_OK;
    sluice_status status = normalize(w, text, n, &w->normalized);
    if (status) return status;
    const char *normal = w->normalized.data;
    size_t length = w->normalized.n, done = 0;
    struct added_walk walk = {0};
    while (added_next(w->vocab, &w->vocab->added_normalized, normal, length, w->parse_special, &walk)) {
        if (walk.start > done) status = encode_plain(w, normal + done, walk.start - done, first && done == 0);
        if (status) return status;
        work_emit(w, walk.item->id);
        done = walk.end;
    }
    return done < length ? encode_plain(w, normal + done, length - done, first && done == 0) : SLUICE_OK;
}

static sluice_status encode_text(struct work *w, const char *text, size_t n)
{
    size_t done = 0;
    struct added_walk walk = {0};
    while (added_next(w->vocab, &w->vocab->added_raw, text, n, w->parse_special, &walk)) {
        sluice_status status = SLUICE_OK;
        if (walk.start > done) status = encode_section(w, text + done, walk.start - done, done == 0);
        if (status) return status;
        work_emit(w, walk.item->id);
        done = walk.end;
    }
    return done < n ? encode_section(w, text + done, n - done, done == 0) : SLUICE_OK;
}

sluice_status vocab_encode(const struct vocab *v, const char *text, size_t len, unsigned flags, int32_t *out,
                           size_t cap, size_t *n, struct failure *f)
{
    *n = 0;
    if (len > MAX_INPUT_BYTES) return fail(f, SLUICE_ARGUMENT, "input: %zu bytes exceed %d", len, MAX_INPUT_BYTES);
    size_t valid = utf8_valid_bytes(text, len);
    if (valid < len) return fail(f, SLUICE_ARGUMENT, "input: not UTF-8 at byte %zu", valid);
    struct work w;
    work_init(&w, v, len, f);
    w.parse_special = flags & VOCAB_PARSE_SPECIAL;
    w.out = out;
    w.cap = cap;
    bool surround = !(flags & VOCAB_NO_BOS);
    for (size_t i = 0; surround && i < v->n_before; i++) work_emit(&w, v->before[i]);
    sluice_status status = encode_text(&w, text, len);
    for (size_t i = 0; surround && i < v->n_after; i++) work_emit(&w, v->after[i]);
    if (!status) *n = w.n_out;
    work_free(&w);
    return status;
}
