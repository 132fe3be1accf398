/* Owns byte-pair encoding of one word: characters become symbols, then the pair with the earliest merge is joined,
 * again and again. A heap of candidate pairs makes it O(n log n); scanning for the best pair each time would be O(n^2),
 * which a single word of a megabyte turns into hours.
 *
 * What may be joined, and how early, comes from a table of merges; or, for SentencePiece and tiktoken, from the tokens
 * themselves (vocab.ranks): then a character without a token is a symbol too, since its neighbour may save it.
 * Read next: encode.c. */
#include <stdio.h>

#include "text/bpe.h"
#include "text/vocab_internal.h"

/* ---- the heap: smallest rank first, then leftmost -------------------------------------------------------------- */

static bool before(struct candidate a, struct candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.position < b.position;
}

static sluice_status heap_push(struct work *w, struct candidate c)
{
    sluice_status status = work_reserve(w, &w->heap, &w->cap_heap, w->n_heap + 1, sizeof *w->heap);
    if (status) return status;
    size_t i = w->n_heap++;
    for (; i > 0 && before(c, w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
    return SLUICE_OK;
}

static struct candidate heap_pop(struct work *w)
{
    struct candidate *heap = w->heap, top = heap[0], last = heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_heap) break;
        if (child + 1 < w->n_heap && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

/* ---- characters -> symbols ------------------------------------------------------------------------------------- */

static sluice_status add_symbol(struct work *w, int32_t id)
{
    sluice_status status = work_reserve(w, &w->symbols, &w->cap_symbols, w->n_symbols + 1, sizeof *w->symbols);
    if (status) return status;
    int32_t at = (int32_t)w->n_symbols++; /* bounded: text_limit is at most INT32_MAX */
    w->symbols[at] = (struct symbol){.id = id, .prev = at - 1, .next = -1};
    if (at > 0) w->symbols[at - 1].next = at;
    return SLUICE_OK;
}

/* With ranks: every character, known or not. */
static sluice_status add_characters(struct work *w, size_t n)
{
    w->n_symbols = 0;
    for (size_t i = 0, bytes; i < n; i += bytes) {
        int32_t c;
        bytes = utf8_read(w->word + i, &c);
        sluice_status status = add_symbol(w, token_find_model(w->vocab, w->word + i, bytes));
        if (status) return status;
        w->symbols[w->n_symbols - 1].start = (uint32_t)i; /* bounded: by text_limit */
        w->symbols[w->n_symbols - 1].n = (uint32_t)bytes; /* bounded: at most 4 */
    }
    return SLUICE_OK;
}

/* A character without a token becomes its bytes, or the unknown token, or nothing. *unknown counts unknown tokens not
 * yet written: with fuse_unk a run of them is one. */
static sluice_status add_unknown(struct work *w, const char *text, size_t n, bool *unknown)
{
    const struct vocab *v = w->vocab;
    sluice_status status = SLUICE_OK;
    if (v->byte_ids[0] >= 0) {
        for (size_t i = 0; i < n && !status; i++) status = add_symbol(w, v->byte_ids[(unsigned char)text[i]]);
        return status;
    }
    if (v->unk_id < 0) return SLUICE_OK;
    if (*unknown && !v->fuse_unk) status = add_symbol(w, v->unk_id);
    *unknown = true;
    return status;
}

static sluice_status add_symbols(struct work *w, const char *word, size_t n)
{
    const struct vocab *v = w->vocab;
    bool unknown = false;
    w->n_symbols = 0;
    sluice_status status;
    for (size_t i = 0, bytes; i < n; i += bytes) {
        int32_t c;
        bytes = utf8_read(word + i, &c);
        int32_t id = token_find_model(v, word + i, bytes);
        if (id < 0) {
            if ((status = add_unknown(w, word + i, bytes, &unknown))) return status;
            continue;
        }
        if (unknown && (status = add_symbol(w, v->unk_id))) return status;
        unknown = false;
        if ((status = add_symbol(w, id))) return status;
    }
    return unknown ? add_symbol(w, v->unk_id) : SLUICE_OK;
}

/* ---- merging --------------------------------------------------------------------------------------------------- */

/* What the symbol at `position` and the next one may become. */
static bool find_pair(const struct work *w, int32_t position, struct candidate *out)
{
    const struct vocab *v = w->vocab;
    const struct symbol *left = &w->symbols[position];
    if (left->next < 0) return false;
    const struct symbol *right = &w->symbols[left->next];
    if (!v->ranks) {
        const struct merge *merge = merge_slot(v, left->id, right->id);
        *out = (struct candidate){.rank = merge->rank, .position = position, .id = merge->id};
        return merge->left >= 0;
    }
    size_t n = (size_t)left->n + right->n;
    int32_t id = n <= v->longest ? token_find_model(v, w->word + left->start, n) : -1;
    if (id < 0 || v->ranks[id] >= w->rank_limit) return false;
    *out = (struct candidate){.rank = v->ranks[id], .position = position, .id = id};
    return true;
}

static sluice_status push_pair(struct work *w, int32_t position)
{
    struct candidate pair;
    return find_pair(w, position, &pair) ? heap_push(w, pair) : SLUICE_OK;
}

static sluice_status merge_symbols(struct work *w)
{
    sluice_status status;
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < w->n_symbols; i++)
        if ((status = push_pair(w, (int32_t)i))) return status;
    while (w->n_heap > 0) {
        struct candidate top = heap_pop(w), now;
        struct symbol *left = &w->symbols[top.position];
        /* A neighbour may have changed since the pair was pushed; then the pair is another one. */
        if (left->gone || !find_pair(w, top.position, &now) || now.id != top.id) continue;
        struct symbol *right = &w->symbols[left->next];
        left->id = top.id;
        left->n += right->n;
        left->next = right->next;
        right->gone = true;
        if (left->next >= 0) w->symbols[left->next].prev = top.position;
        if (left->prev >= 0 && (status = push_pair(w, left->prev))) return status;
        if ((status = push_pair(w, top.position))) return status;
    }
    return SLUICE_OK;
}

static sluice_status merge_word(struct work *w, const char *word, size_t n)
{
    w->word = word;
    sluice_status status = w->vocab->ranks ? add_characters(w, n) : add_symbols(w, word, n);
    return status ? status : merge_symbols(w);
}

sluice_status bpe_parts(struct work *w, int32_t id, int32_t first[2], size_t *n)
{
    const struct vocab *v = w->vocab;
    if (v->ranks) w->rank_limit = v->ranks[id];
    sluice_status status = merge_word(w, v->pool.data + v->tokens[id].text, v->tokens[id].n_text);
    w->rank_limit = UINT32_MAX;
    *n = 0;
    for (size_t i = 0; i < w->n_symbols && !status; i++) {
        if (w->symbols[i].gone) continue;
        if (*n < 2) first[*n] = w->symbols[i].id;
        ++*n;
    }
    return status;
}

/* With ranks: characters that found no neighbour are written as their bytes, or a run of them as one unknown token. */
static void emit_unknown(struct work *w, const struct symbol *symbol, bool again)
{
    const struct vocab *v = w->vocab;
    const unsigned char *bytes = (const unsigned char *)w->word + symbol->start;
    if (v->byte_ids[0] < 0) {
        if (v->unk_id >= 0 && !again) work_emit(w, v->unk_id);
        return;
    }
    for (size_t i = 0; i < symbol->n; i++) work_emit(w, v->byte_ids[bytes[i]]);
}

sluice_status bpe_encode(struct work *w, const char *word, size_t n)
{
    if (w->vocab->ignore_merges) {
        int32_t whole = token_find_model(w->vocab, word, n);
        if (whole >= 0) {
            work_emit(w, whole);
            return SLUICE_OK;
        }
    }
    sluice_status status = merge_word(w, word, n);
    if (status) return status;
    bool unknown = false;
    for (size_t i = 0; i < w->n_symbols; i++) {
        const struct symbol *symbol = &w->symbols[i];
        if (symbol->gone) continue;
        if (symbol->id < 0)
            emit_unknown(w, symbol, unknown);
        else
            work_emit(w, symbol->id);
        unknown = symbol->id < 0;
    }
    return SLUICE_OK;
}
