/* Owns vocab_describe: a tokenizer that came from a folder, in the words of GGUF keys. What they cannot say
 * (normalizers, added tokens that strip blanks, patterns without a name, templates) makes it inexact; then the keys are
 * the nearest that other programs can use. Read next: vocab_gguf.c, the way back; pre.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

/* ---- the model -------------------------------------------------------------------------------------------------- */

static bool is_block(const char *text, size_t n) { return n == BLOCK_BYTES && memcmp(text, BLOCK, n) == 0; }

/* Gemma's files cut words at blanks when there are none any more. */
static bool cuts_at_blanks(const struct pretokenizer *step)
{
    size_t n;
    bool literal;
    const char *text = step->kind == PRETOKENIZE_SPLIT_PATTERN ? pattern_text(step->pattern, &n, &literal) : NULL;
    return text && literal && n == 1 && text[0] == ' ' && !step->invert && step->behavior != SPLIT_REMOVED;
}

/* Blanks become U+2581, and nothing else happens to the text, except that one may come in front. */
static bool is_sentencepiece(const struct vocab *v, bool *prefix)
{
    const struct normalizer *step = v->normalizers;
    size_t n = v->n_normalizers;
    *prefix = n > 0 && step->kind == NORMALIZE_PREPEND && is_block(step->content, step->n_content);
    if (*prefix) step++, n--;
    bool uncut = v->n_pretokenizers == 0 || (v->n_pretokenizers == 1 && cuts_at_blanks(v->pretokenizers));
    if (n == 1 && uncut && step->kind == NORMALIZE_REPLACE) {
        size_t bytes;
        bool literal;
        const char *text = pattern_text(step->pattern, &bytes, &literal);
        return literal && bytes == 1 && text[0] == ' ' && is_block(step->content, step->n_content);
    }
    const struct pretokenizer *mark = v->pretokenizers;
    bool metaspace = n == 0 && v->n_pretokenizers == 1 && mark->kind == PRETOKENIZE_METASPACE;
    if (!metaspace || !is_block(mark->mark, mark->n_mark)) return false;
    if (mark->scheme == PREPEND_NEVER) return true;
    *prefix = true; /* the nearest */
    return false;
}

/* What a text of unknown characters becomes. */
static bool knows_unknown(const struct vocab *v) { return v->byte_ids[0] >= 0 || (v->unk_id >= 0 && v->fuse_unk); }

/* At most BOS before a text and EOS after it. */
static bool template_is_plain(const struct vocab *v)
{
    return v->n_before <= 1 && v->n_after <= 1 && (v->n_before == 0 || v->bos_id < 0 || v->before[0] == v->bos_id) &&
           (v->n_after == 0 || v->eos_id < 0 || v->after[0] == v->eos_id);
}

/* Can `inner` begin inside `outer`, at byte `from` or later? */
static bool begins_inside(const struct vocab *v, const struct added *inner, const struct added *outer, size_t from)
{
    const char *x = v->pool.data + outer->pattern, *y = v->pool.data + inner->pattern;
    for (size_t at = from; at < outer->n_pattern; at++) {
        size_t left = outer->n_pattern - at;
        if (memcmp(x + at, y, left < inner->n_pattern ? left : inner->n_pattern) == 0) return true;
    }
    return false;
}

/* Does it matter that `raw` is looked for before `normalized`? With one pass for both, the leftmost wins, then the
 * longest; and a special token that is not asked for hides what lies in it. */
static bool order_matters(const struct vocab *v, const struct added *raw, const struct added *normalized)
{
    if (begins_inside(v, raw, normalized, raw->n_pattern < normalized->n_pattern ? 0 : 1)) return true;
    return (raw->flags & ADDED_SPECIAL) && !(normalized->flags & ADDED_SPECIAL) && begins_inside(v, normalized, raw, 0);
}

/* GGUF knows one set of added tokens, found as they are written. Those that are found after normalizing, in a pass of
 * their own, are the same if nothing is normalized and the order does not matter. */
static bool added_are_plain(const struct vocab *v)
{
    enum { MOST_PAIRS = 1 << 20 };
    const struct added_set *raw = &v->added_raw, *normalized = &v->added_normalized;
    for (int32_t id = 0; id < v->n_tokens; id++)
        if (v->tokens[id].added & (ADDED_SINGLE_WORD | ADDED_LSTRIP | ADDED_RSTRIP)) return false;
    if (normalized->n == 0) return true;
    if (v->n_normalizers > 0 || raw->n > MOST_PAIRS / normalized->n) return false;
    for (size_t i = 0; i < raw->n; i++)
        for (size_t k = 0; k < normalized->n; k++)
            if (order_matters(v, &raw->items[i], &normalized->items[k])) return false;
    return true;
}

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

/* Texts are collected first, as offsets; pointers come when they no longer move. */
struct texts {
    struct text_buffer pool;
    size_t *starts; /* [n + 1] */
    size_t n;
};

static sluice_status texts_add(struct texts *t, const char *text, size_t n)
{
    t->starts[t->n++] = t->pool.n;
    sluice_status status = text_buffer_append(&t->pool, text, n);
    t->starts[t->n] = t->pool.n;
    return status;
}

static int kind_of(const struct vocab *v, int32_t id, bool sentencepiece)
{
    unsigned flags = v->tokens[id].flags;
    if (flags & TOKEN_SPECIAL) return sentencepiece && id == v->unk_id ? KIND_UNKNOWN : KIND_CONTROL;
    if (flags & TOKEN_ADDED) return KIND_USER_DEFINED;
    int byte = byte_of_token(v->pool.data + v->tokens[id].text, v->tokens[id].n_text);
    return sentencepiece && byte >= 0 && v->byte_ids[byte] == id ? KIND_BYTE : KIND_NORMAL;
}

/* A spelling that no token has: "[PAD7]", or with more brackets. */
static size_t name_padding(const struct vocab *v, size_t id, char name[64])
{
    size_t n = 0;
    for (size_t more = 0; more < 32; more++) {
        n = (size_t)snprintf(name, 64, "%.*s[PAD%zu]", (int)more, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", id);
        if (token_find(v, name, n) < 0) break;
    }
    return n;
}

static sluice_status describe_tokens(const struct vocab *v, bool sentencepiece, size_t n_tokens, struct texts *texts,
                                     int32_t *types)
{
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < n_tokens && !status; i++) {
        char name[64];
        bool hole = i >= (size_t)v->n_tokens || !v->tokens[i].flags;
        if (hole) {
            status = texts_add(texts, name, name_padding(v, i, name));
            types[i] = KIND_UNUSED;
        } else {
            const struct token *token = &v->tokens[i];
            status = texts_add(texts, v->pool.data + token->text, token->n_text);
            types[i] = kind_of(v, (int32_t)i, sentencepiece);
        }
    }
    return status;
}

/* ---- merges ----------------------------------------------------------------------------------------------------- */

static int compare_ranks(const void *a, const void *b)
{
    const struct merge *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* *complete: merges are enough to make each token of its own text. With ranks this leaves in `list`, which has room for
 * all tokens, the one merge of each: of the two parts that the ranks before its own make of its text. No other merge
 * makes it in any text: as long as nothing crosses its borders, all goes as in the token alone. */
static sluice_status try_tokens(const struct vocab *v, struct merge *list, size_t *n, bool *complete)
{
    struct work w;
    struct failure f;
    sluice_status status = SLUICE_OK;
    work_init(&w, v, MAX_TOKEN_BYTES, &f);
    for (int32_t id = 0; id < v->n_tokens && !status; id++) {
        int32_t first[2];
        size_t n_parts;
        if (!(v->tokens[id].flags & TOKEN_MODEL)) continue;
        status = bpe_parts(&w, id, first, &n_parts);
        if (v->ranks && n_parts == 2 && first[0] >= 0 && first[1] >= 0)
            list[(*n)++] = (struct merge){.left = first[0], .right = first[1], .id = id, .rank = v->ranks[id]};
        else if (n_parts != 1 || first[0] != id)
            *complete = false;
    }
    work_free(&w);
    return status;
}

/* The merges in order, *n of them. *complete: a word that is a token becomes that token by merges, too. */
static sluice_status list_merges(const struct vocab *v, struct merge **list, size_t *n, bool *complete)
{
    sluice_status status = SLUICE_OK;
    size_t most = (size_t)v->n_tokens * (v->ranks != NULL);
    for (size_t i = 0; i < v->n_merge_slots; i++) most += v->merges[i].left >= 0;
    *list = memory_alloc(most * sizeof **list);
    if (!*list) return SLUICE_MEMORY;
    for (size_t i = 0; i < v->n_merge_slots; i++)
        if (v->merges[i].left >= 0) (*list)[(*n)++] = v->merges[i];
    if (v->ranks || v->ignore_merges) status = try_tokens(v, *list, n, complete);
    qsort(*list, *n, sizeof **list, compare_ranks);
    return status;
}

static sluice_status describe_merges(const struct vocab *v, const struct merge *merges, size_t n, struct texts *texts,
                                     bool *exact)
{
    struct text_buffer text = {0};
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < n && !status; i++) {
        const struct token *left = &v->tokens[merges[i].left], *right = &v->tokens[merges[i].right];
        text.n = 0;
        status = text_buffer_append(&text, v->pool.data + left->text, left->n_text);
        if (!status) status = text_buffer_append(&text, " ", 1);
        if (!status) status = text_buffer_append(&text, v->pool.data + right->text, right->n_text);
        const char *side[2];
        size_t n_side[2];
        if (status) break;
        if (!merge_cut(text.data, text.n, side, n_side))
            *exact = false; /* a token with a blank: two tokens are one text no more */
        else
            status = texts_add(texts, text.data, text.n);
    }
    text_buffer_free(&text);
    return status;
}

/* Scores for programs that merge by score: minus the rank of the first merge that makes the token. What no merge makes
 * comes after all that. */
static void describe_scores(const struct vocab *v, const struct merge *merges, size_t n, float *scores, size_t n_tokens)
{
    for (size_t i = 0; i < n_tokens; i++)
        scores[i] = i < (size_t)v->n_tokens && v->tokens[i].flags == TOKEN_MODEL ? -(float)n - 1 : 0;
    for (size_t i = n; i-- > 0;)
        if ((size_t)merges[i].id < n_tokens) scores[merges[i].id] = -(float)merges[i].rank;
}

/* ---- all together ----------------------------------------------------------------------------------------------- */

/* The result as it grows; whatever is not handed over is freed. */
struct description {
    struct texts tokens, merges;
    struct merge *sorted;
    size_t n_sorted;
    int32_t *types;
    float *scores;
};

static void description_free(struct description *d)
{
    text_buffer_free(&d->tokens.pool);
    text_buffer_free(&d->merges.pool);
    memory_free(d->tokens.starts);
    memory_free(d->merges.starts);
    memory_free(d->sorted);
    memory_free(d->types);
    memory_free(d->scores);
}

/* Pointers and lengths of the texts; the first pointer owns the bytes. */
static sluice_status hand_over(struct texts *t, const char *const **texts, const size_t **lengths)
{
    const char **pointers = memory_alloc((t->n + 1) * sizeof *pointers);
    if (!pointers) return SLUICE_MEMORY;
    sluice_status status = t->pool.data ? SLUICE_OK : text_buffer_append(&t->pool, "", 1);
    pointers[0] = t->pool.data;
    for (size_t i = 0; i < t->n; i++) pointers[i] = t->pool.data + t->starts[i];
    for (size_t i = 0; i < t->n; i++) t->starts[i] = t->starts[i + 1] - t->starts[i];
    *texts = pointers;
    *lengths = t->starts;
    t->starts = NULL;
    t->pool = (struct text_buffer){0};
    return status;
}

static sluice_status describe(const struct vocab *v, struct description *d, struct vocab_source *out, bool *exact)
{
    bool byte_level = is_byte_level(v), prefix = false, complete = true, near = false;
    size_t n = out->n_tokens;
    sluice_status status = list_merges(v, &d->sorted, &d->n_sorted, &complete);
    if (status) return status;
    d->tokens.starts = memory_alloc((n + 1) * sizeof *d->tokens.starts);
    d->merges.starts = memory_alloc((d->n_sorted + 1) * sizeof *d->merges.starts);
    d->types = memory_alloc(n * sizeof *d->types);
    if (!byte_level) d->scores = memory_alloc(n * sizeof *d->scores);
    if (!d->tokens.starts || !d->merges.starts || !d->types || (!byte_level && !d->scores)) return SLUICE_MEMORY;
    out->model = byte_level ? "gpt2" : "llama";
    out->pre = byte_level ? pre_recognize(v, complete, &near) : "default";
    *exact = template_is_plain(v) && added_are_plain(v) && !near;
    *exact = *exact && (byte_level ? out->pre && v->unk_id < 0 : is_sentencepiece(v, &prefix) && knows_unknown(v));
    if (!byte_level && (v->ranks || !complete)) *exact = false;
    if (!out->pre) out->pre = "default";
    out->add_space_prefix = byte_level ? -1 : prefix;
    if (!byte_level) describe_scores(v, d->sorted, d->n_sorted, d->scores, n);
    status = describe_tokens(v, !byte_level, n, &d->tokens, d->types);
    return status ? status : describe_merges(v, d->sorted, d->n_sorted, &d->merges, exact);
}

/* An id as the file may name it. */
static int32_t within(int32_t id, size_t n_tokens) { return id >= 0 && (size_t)id < n_tokens ? id : -1; }

sluice_status vocab_describe(const struct vocab *v, size_t n_tokens, struct vocab_source *out, bool *exact,
                             struct failure *f)
{
    struct description d = {0};
    *exact = false;
    size_t core = (size_t)vocab_core_size(v), n = n_tokens ? n_tokens : (size_t)v->n_tokens;
    if (n < core) n = core;
    *out = (struct vocab_source){
        .n_tokens = n,
        .bos = within(v->n_before > 0 && v->bos_id < 0 ? v->before[0] : v->bos_id, n),
        .eos = within(v->n_after > 0 && v->eos_id < 0 ? v->after[0] : v->eos_id, n),
        .unknown = within(v->unk_id, n),
        .padding = within(v->pad_id, n),
    };
    out->add_bos = v->n_before > 0 && out->bos >= 0;
    out->add_eos = v->n_after > 0 && out->eos >= 0;
    sluice_status status = describe(v, &d, out, exact);
    if (!status) status = hand_over(&d.tokens, &out->tokens, &out->token_lengths);
    out->n_merges = d.merges.n;
    if (!status) status = hand_over(&d.merges, &out->merges, &out->merge_lengths);
    out->types = d.types;
    out->scores = d.scores;
    d.types = NULL;
    d.scores = NULL;
    description_free(&d);
    if (!status) return SLUICE_OK;
    vocab_source_free(out);
    return fail_memory(f, "tokenizer");
}

void vocab_source_free(struct vocab_source *s)
{
    if (s->tokens) memory_free((void *)s->tokens[0]);
    if (s->merges) memory_free((void *)s->merges[0]);
    memory_free((void *)s->tokens);
    memory_free((void *)s->token_lengths);
    memory_free((void *)s->merges);
    memory_free((void *)s->merge_lengths);
    memory_free((void *)s->types);
    memory_free((void *)s->scores);
    *s = (struct vocab_source){0};
}
