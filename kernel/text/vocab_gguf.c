/* Owns vocab_create_gguf: the keys "tokenizer.ggml.*" of a GGUF file -> struct vocab. Three models are known:
 *
 *   "gpt2"    byte-level BPE. Tokens are spelled in the byte-level alphabet, the merges stand in the file, the
 *             pre-tokenizer has a name (pre.c).
 *   "llama"   SentencePiece BPE. Blanks are U+2581, and one stands before each text; what may merge and how early
 *             follows from the tokens and their scores; characters without a token become bytes, "<0xE4>".
 *             If the file has merges nevertheless (ours do, for tokenizers that were not made by SentencePiece), they
 *             count instead of the scores.
 *   "gemma4"  the same alphabet without the blank before each text, always by merges, and with BOS even if the file
 *             says no: converters said so because of the chat template, and the peer adds it all the same.
 *
 * Tokens have kinds. Control and unknown tokens are found in a text only when asked for, user-defined ones always, both
 * before anything else looks at the text. Read next: pre.c, bpe.c. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

static bool is_gemma(const struct vocab_source *s) { return strcmp(s->model, "gemma4") == 0; }
static bool is_sentencepiece(const struct vocab_source *s) { return is_gemma(s) || strcmp(s->model, "llama") == 0; }

static int kind_of(const struct vocab_source *s, size_t i)
{
    if (s->types) return s->types[i];
    bool byte = is_sentencepiece(s) && byte_of_token(s->tokens[i], s->token_lengths[i]) >= 0;
    return byte ? KIND_BYTE : KIND_NORMAL;
}

static sluice_status add_byte_token(struct vocab *v, int32_t id, const char *text, size_t n, struct failure *f)
{
    char shown[ESCAPED_BYTES];
    int byte = byte_of_token(text, n);
    if (byte < 0)
        return fail(f, SLUICE_FORMAT, "token %d: bad byte token \"%s\"", id, escape_text(shown, sizeof shown, text, n));
    if (v->byte_ids[byte] >= 0) return fail(f, SLUICE_FORMAT, "byte 0x%02x has two tokens", (unsigned)byte);
    v->byte_ids[byte] = id;
    return token_add(v, id, text, n, TOKEN_SILENT, f);
}

/* A token of one character of the byte-level alphabet stands for a byte, however the file classes it. */
static bool stands_for_byte(const struct vocab_source *s, const char *text, size_t n)
{
    int32_t c;
    return strcmp(s->model, "gpt2") == 0 && utf8_read(text, &c) == n && char_to_byte(c) >= 0;
}

/* Phi-3: all special tokens take the blanks behind them along, except these. */
static bool strips(const struct vocab_source *s, const char *text, size_t n)
{
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strlen(plain[i]) == n && memcmp(plain[i], text, n) == 0) return false;
    return s->strip_after_special;
}

static sluice_status add_token(struct vocab *v, const struct vocab_source *s, size_t i, struct failure *f)
{
    const char *text = s->tokens[i];
    size_t n = s->token_lengths[i];
    int32_t id = (int32_t)i; /* bounded: add_tokens compared their number with MAX_TOKENS */
    int kind = kind_of(s, i);
    if (kind < KIND_NORMAL || kind > KIND_BYTE)
        return fail(f, SLUICE_FORMAT, "key \"tokenizer.ggml.token_type\": element %zu: unknown kind %d", i, kind);
    if (n == 0) return SLUICE_OK; /* a hole */
    if (utf8_valid_bytes(text, n) < n) return fail(f, SLUICE_FORMAT, "token %zu: not UTF-8", i);
    if (kind == KIND_BYTE) return add_byte_token(v, id, text, n, f);
    bool special = kind == KIND_CONTROL || kind == KIND_UNKNOWN, added = special || kind == KIND_USER_DEFINED;
    unsigned flags = kind == KIND_NORMAL || stands_for_byte(s, text, n) ? TOKEN_MODEL : 0;
    if (added) flags |= TOKEN_ADDED;
    if (special) flags |= TOKEN_SPECIAL;
    sluice_status status = token_add(v, id, text, n, flags ? flags : TOKEN_SILENT, f);
    if (!status && special) v->tokens[id].added = ADDED_SPECIAL | (strips(s, text, n) ? (unsigned)ADDED_RSTRIP : 0);
    return status;
}

static sluice_status add_tokens(struct vocab *v, const struct vocab_source *s, struct failure *f)
{
    if (s->n_tokens == 0) return fail(f, SLUICE_FORMAT, "no tokens");
    if (s->n_tokens > MAX_TOKENS) return fail(f, SLUICE_FORMAT, "%zu tokens exceed %d", s->n_tokens, MAX_TOKENS);
    sluice_status status = tokens_reserve(v, s->n_tokens, f);
    for (size_t i = 0; i < s->n_tokens && !status; i++) status = add_token(v, s, i, f);
    if (status) return status;
    int n_bytes = 0, missing = 0;
    for (int byte = 0; byte < 256; byte++)
        if (v->byte_ids[byte] >= 0)
            n_bytes++;
        else
            missing = byte;
    if (n_bytes > 0 && n_bytes < 256) return fail(f, SLUICE_FORMAT, "byte 0x%02x has no byte token", (unsigned)missing);
    return SLUICE_OK;
}

/* ---- how they merge --------------------------------------------------------------------------------------------- */

static sluice_status add_merges(struct vocab *v, const struct vocab_source *s, struct failure *f)
{
    sluice_status status = merges_reserve(v, s->n_merges, f);
    for (size_t i = 0; i < s->n_merges && !status; i++) {
        const char *side[2];
        size_t n[2];
        if (!merge_cut(s->merges[i], s->merge_lengths[i], side, n))
            return fail(f, SLUICE_FORMAT, "merge %zu: must be two tokens", i);
        status = merge_add(v, i, side, n, f);
    }
    return status;
}

/* Orders scores as numbers: the greater, the smaller the rank. */
static uint32_t rank_of(float score)
{
    union {
        float number;
        uint32_t bits;
    } u = {.number = score == 0 ? 0 : score}; /* one zero, not two */
    return u.bits >> 31 ? u.bits : 0x7fffffffu - u.bits;
}

static sluice_status add_scores(struct vocab *v, const struct vocab_source *s, struct failure *f)
{
    if (!s->scores) return fail(f, SLUICE_FORMAT, "key \"tokenizer.ggml.scores\": missing, model \"llama\" needs it");
    v->ranks = memory_alloc(s->n_tokens * sizeof *v->ranks);
    if (!v->ranks) return fail_memory(f, NULL);
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (isnan(s->scores[i]))
            return fail(f, SLUICE_FORMAT, "key \"tokenizer.ggml.scores\": element %zu: not a number", i);
        v->ranks[i] = rank_of(s->scores[i]);
        if ((v->tokens[i].flags & TOKEN_MODEL) && v->tokens[i].n_text > v->longest) v->longest = v->tokens[i].n_text;
    }
    return SLUICE_OK;
}

/* ---- the two models --------------------------------------------------------------------------------------------- */

static sluice_status load_byte_level(struct vocab *v, const struct vocab_source *s, unsigned *flags, struct failure *f)
{
    if (!s->merges) return fail(f, SLUICE_FORMAT, "key \"tokenizer.ggml.merges\": missing, model \"gpt2\" needs it");
    sluice_status status = pre_load(v, s->pre ? s->pre : "default", flags, f);
    if (status) return status;
    v->ignore_merges = *flags & PRE_IGNORE_MERGES;
    if ((status = check_byte_level(v, f))) return status;
    return add_merges(v, s, f);
}

static sluice_status load_sentencepiece(struct vocab *v, const struct vocab_source *s, struct failure *f)
{
    struct normalizer *step = v->normalizers;
    if (s->add_space_prefix > 0 || (s->add_space_prefix < 0 && !is_gemma(s))) {
        *step = (struct normalizer){.kind = NORMALIZE_PREPEND, .n_content = BLOCK_BYTES};
        v->n_normalizers++;
        if (!(step++->content = memory_strndup(BLOCK, BLOCK_BYTES))) return fail_memory(f, NULL);
        memcpy(v->decoder.strip, " ", 1);
        v->decoder.n_strip = v->decoder.strip_start = 1;
    }
    *step = (struct normalizer){.kind = NORMALIZE_REPLACE, .n_content = BLOCK_BYTES};
    v->n_normalizers++;
    if (!(step->content = memory_strndup(BLOCK, BLOCK_BYTES))) return fail_memory(f, NULL);
    sluice_status status = pattern_create(&step->pattern, " ", 1, true, f);
    v->decoder.fused = true;
    v->decoder.byte_fallback = v->byte_ids[0] >= 0;
    v->fuse_unk = true;
    if (status) return status;
    if (!s->merges && is_gemma(s))
        return fail(f, SLUICE_FORMAT, "key \"tokenizer.ggml.merges\": missing, model \"gemma4\" needs it");
    return s->merges ? add_merges(v, s, f) : add_scores(v, s, f);
}

/* ---- ids that have a role --------------------------------------------------------------------------------------- */

static sluice_status set_id(const struct vocab *v, const char *role, int32_t id, int32_t fallback, int32_t *out,
                            struct failure *f)
{
    *out = id >= 0 ? id : fallback;
    if (*out < v->n_tokens) return SLUICE_OK;
    return fail(f, SLUICE_FORMAT, "%s id %d but the vocabulary has %d token%s", role, *out, v->n_tokens,
                v->n_tokens == 1 ? "" : "s");
}

/* One id before or after each text. */
static sluice_status surround(int add, bool by_default, const char *role, int32_t id, int32_t *ids, size_t *n,
                              struct failure *f)
{
    if (add == 0 || (add < 0 && !by_default)) return SLUICE_OK;
    if (id < 0 && add < 0) return SLUICE_OK;
    if (id < 0)
        return fail(f, SLUICE_FORMAT, "key \"tokenizer.ggml.add_%s_token\": is true, but there is no %s id", role,
                    role);
    ids[(*n)++] = id;
    return SLUICE_OK;
}

static sluice_status load_ids(struct vocab *v, const struct vocab_source *s, bool by_default, struct failure *f)
{
    bool sentencepiece = is_sentencepiece(s), usual = sentencepiece && !is_gemma(s);
    int add_bos = is_gemma(s) && s->add_bos == 0 ? -1 : s->add_bos;
    int32_t unknown;
    sluice_status status = set_id(v, "bos", s->bos, usual ? 1 : -1, &v->bos_id, f);
    if (!status) status = set_id(v, "eos", s->eos, usual ? 2 : -1, &v->eos_id, f);
    if (!status) status = set_id(v, "unknown", s->unknown, usual ? 0 : -1, &unknown, f);
    if (!status) status = set_id(v, "padding", s->padding, -1, &v->pad_id, f);
    if (status) return status;
    if (sentencepiece) v->unk_id = unknown; /* byte-level vocabularies know every byte */
    status = surround(add_bos, by_default, "bos", v->bos_id, v->before, &v->n_before, f);
    return status ? status : surround(s->add_eos, false, "eos", v->eos_id, v->after, &v->n_after, f);
}

static sluice_status set_ids(struct vocab *v, const struct vocab_source *s, struct failure *f)
{
    sluice_status status = set_id(v, "bos", s->bos, v->bos_id, &v->bos_id, f);
    if (!status) status = set_id(v, "eos", s->eos, v->eos_id, &v->eos_id, f);
    if (status || v->n_before || v->n_after) return status;
    if (v->bos_id >= 0) status = surround(s->add_bos, false, "bos", v->bos_id, v->before, &v->n_before, f);
    if (v->eos_id >= 0 && !status) status = surround(s->add_eos, false, "eos", v->eos_id, v->after, &v->n_after, f);
    return status;
}

sluice_status vocab_set_ids(struct vocab *v, const struct vocab_source *source, struct failure *f)
{
    sluice_status status = set_ids(v, source, f);
    return status ? fail_in(f, "tokenizer") : SLUICE_OK;
}

/* ---- what each token decodes to --------------------------------------------------------------------------------- */

/* The bytes of a token of the model into `out`, which has room for as many as its spelling has. */
static size_t unmap(const char *text, size_t n, bool sentencepiece, char *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n;) {
        int32_t c;
        size_t bytes = utf8_read(text + i, &c);
        int byte = sentencepiece ? (c == 0x2581 ? ' ' : -1) : char_to_byte(c);
        if (byte >= 0)
            out[n_out++] = (char)byte;
        else
            memmove(out + n_out, text + i, bytes), n_out += bytes;
        i += bytes;
    }
    return n_out;
}

sluice_status decode_tokens(struct vocab *v, bool sentencepiece, struct failure *f)
{
    char text[MAX_TOKEN_BYTES], bytes[MAX_TOKEN_BYTES];
    for (int32_t id = 0; id < v->n_tokens; id++) {
        struct token *token = &v->tokens[id];
        size_t n = token->n_text;
        memcpy(text, v->pool.data + token->text, n);
        int byte = token->flags == TOKEN_SILENT ? byte_of_token(text, n) : -1;
        if (byte >= 0 && v->byte_ids[byte] == id) {
            bytes[0] = (char)byte;
            n = 1;
        } else if (token->flags & (sentencepiece ? TOKEN_SPECIAL : TOKEN_ADDED)) {
            continue; /* Gemma has runs of U+2581 among its user-defined tokens */
        } else {
            n = unmap(text, n, sentencepiece, bytes);
            if (n == token->n_text && memcmp(text, bytes, n) == 0) continue;
        }
        sluice_status status = pool_append(v, bytes, n, &token->bytes, f);
        if (status) return status;
        token->n_bytes = (uint16_t)n;
    }
    return SLUICE_OK;
}

/* ---- all together ----------------------------------------------------------------------------------------------- */

static sluice_status load(struct vocab *v, const struct vocab_source *s, struct failure *f)
{
    bool sentencepiece = is_sentencepiece(s);
    char shown[ESCAPED_BYTES];
    if (!sentencepiece && strcmp(s->model, "gpt2") != 0)
        return fail(f, SLUICE_UNSUPPORTED, "model \"%s\" is not supported (known: gpt2, llama, gemma4)",
                    escape_text(shown, sizeof shown, s->model, strlen(s->model)));
    unsigned flags = PRE_ADD_BOS;
    v->unk_id = v->bos_id = v->eos_id = v->pad_id = -1;
    memset(v->byte_ids, 0xff, sizeof v->byte_ids);
    sluice_status status = add_tokens(v, s, f);
    if (!status) status = sentencepiece ? load_sentencepiece(v, s, f) : load_byte_level(v, s, &flags, f);
    if (!status) status = load_ids(v, s, flags & PRE_ADD_BOS, f);
    if (!status) status = added_finish(v, f);
    return status ? status : decode_tokens(v, sentencepiece, f);
}

sluice_status vocab_create_gguf(struct vocab **out, const struct vocab_source *source, struct failure *f)
{
    struct failure local; /* the parts may assume that there is one */
    if (!f) f = &local;
    *out = NULL;
    struct vocab *v = memory_calloc(1, sizeof *v);
    sluice_status status = v ? load(v, source, f) : fail_memory(f, NULL);
    if (status) {
        fail_in(f, "tokenizer");
        vocab_free(&v);
        return status;
    }
    *out = v;
    return SLUICE_OK;
}
