/* Owns ids -> text. Decoder steps that look at one token at a time are applied at load, once to each token; what is
 * left for the stream is what depends on neighbours: UTF-8 characters that begin in one token and end in another, and
 * the beginning of the text.
 *
 * Where this differs from Hugging Face's decode: its ByteFallback looks at a whole run of byte tokens and turns all of
 * them into U+FFFD if one byte is wrong. A stream cannot wait for the end of the run, so here only the wrong bytes are
 * replaced. Read next: vocab.h, the contract. */
#include <string.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

/* ---- loading: the steps ---------------------------------------------------------------------------------------- */

static sluice_status read_strip(struct decoder *d, struct decoder_step *step, const json_t *json, struct failure *f)
{
    sluice_status status = json_get_char(json, "content", step->mark, &step->n_mark, f);
    if (!status) status = json_get_size(json, "start", &step->start, f);
    if (!status) status = json_get_size(json, "stop", &step->stop, f);
    if (status || !d->fused) return status;
    if (step->stop > 0 || d->strip_start > 0)
        return fail(f, SLUICE_UNSUPPORTED, "after Fuse, only one strip, and only at the start, is supported");
    memcpy(d->strip, step->mark, step->n_mark);
    d->n_strip = step->n_mark;
    d->strip_start = step->start;
    d->n_steps--; /* works on the whole text, not on tokens */
    return SLUICE_OK;
}

static sluice_status read_metaspace(struct decoder *d, struct decoder_step *step, const json_t *json, struct failure *f)
{
    bool prefix = true;
    const char *scheme = "always";
    memcpy(step->mark, "\xe2\x96\x81", 3);
    step->n_mark = 3;
    sluice_status status = json_get_char(json, "replacement", step->mark, &step->n_mark, f);
    if (!status) status = json_get_bool(json, "add_prefix_space", &prefix, f);
    if (!status) status = json_get_word(json, "prepend_scheme", &scheme, f);
    if (status) return status;
    d->drop_marks = prefix && strcmp(scheme, "never") != 0;
    return d->n_steps == 1 ? SLUICE_OK : fail(f, SLUICE_UNSUPPORTED, "Metaspace must be the first step");
}

/* Steps before ByteFallback or Fuse see tokens, steps after see joined text. Known files have only Strip after. */
static sluice_status read_decoder(struct vocab *v, const json_t *json, const char *type, struct failure *f)
{
    static const char *const types[] = {"Replace", "Strip", "ByteLevel", "ByteFallback", "Metaspace"};
    struct decoder *d = &v->decoder;
    size_t kind = 0;
    if (strcmp(type, "Fuse") == 0) {
        d->fused = true;
        return SLUICE_OK;
    }
    while (kind < sizeof types / sizeof *types && strcmp(types[kind], type) != 0) kind++;
    if (kind == sizeof types / sizeof *types) return SLUICE_UNSUPPORTED;
    if ((d->fused || d->byte_fallback) && !(d->fused && kind == DECODE_STRIP))
        return fail(f, SLUICE_UNSUPPORTED, "%s is not supported after ByteFallback, ByteLevel or Fuse", types[kind]);
    if (d->n_steps == MAX_STEPS) return fail(f, SLUICE_FORMAT, "more than %d steps", MAX_STEPS);
    struct decoder_step *step = &d->steps[d->n_steps++];
    *step = (struct decoder_step){.kind = (enum decoder_kind)kind};
    sluice_status status = SLUICE_OK;
    switch (step->kind) {
    case DECODE_STRIP: return read_strip(d, step, json, f);
    case DECODE_METASPACE: return read_metaspace(d, step, json, f);
    case DECODE_BYTE_LEVEL: d->fused = true; break;
    case DECODE_BYTE_FALLBACK: d->byte_fallback = true; break;
    case DECODE_REPLACE:
        status = json_get_pattern(json, &step->pattern, f);
        if (!status) status = json_get_copy(json, "content", &step->content, &step->n_content, f);
        break;
    }
    return status;
}

/* ---- loading: what each token decodes to ----------------------------------------------------------------------- */

static size_t count_marks(const struct decoder_step *step, const char *text, size_t n, size_t most, bool at_end)
{
    size_t count = 0;
    for (; count < most && n >= step->n_mark; count++, n -= step->n_mark) {
        if (memcmp(at_end ? text + n - step->n_mark : text, step->mark, step->n_mark) != 0) break;
        if (!at_end) text += step->n_mark;
    }
    return count * step->n_mark;
}

/* Every character of the byte-level alphabet becomes its byte. A token with any other character (an added token,
 * usually) is plain text. */
static sluice_status unmap_bytes(struct work *w, const char *text, size_t n, struct text_buffer *out)
{
    for (size_t i = 0; i < n;) {
        int32_t c;
        i += utf8_read(text + i, &c);
        int byte = char_to_byte(c);
        if (byte < 0) {
            out->n = 0;
            return work_append(w, out, text, n);
        }
        sluice_status status = work_append(w, out, &(char){(char)byte}, 1);
        if (status) return status;
    }
    return SLUICE_OK;
}

static sluice_status byte_token(struct work *w, const char *text, size_t n, struct text_buffer *out)
{
    int byte = byte_of_token(text, n);
    return byte >= 0 ? work_append(w, out, &(char){(char)byte}, 1) : work_append(w, out, text, n);
}

static sluice_status apply(struct work *w, const struct decoder_step *step, const char *text, size_t n,
                           struct text_buffer *out)
{
    size_t start, stop;
    switch (step->kind) {
    case DECODE_REPLACE: return replace_matches(w, step->pattern, step->content, step->n_content, text, n, out);
    case DECODE_BYTE_LEVEL: return unmap_bytes(w, text, n, out);
    case DECODE_BYTE_FALLBACK: return byte_token(w, text, n, out);
    case DECODE_STRIP:
        start = count_marks(step, text, n, step->start, false);
        stop = count_marks(step, text + start, n - start, step->stop, true);
        return work_append(w, out, text + start, n - start - stop);
    case DECODE_METASPACE:
        for (size_t i = 0; i < n;) {
            size_t marks = count_marks(step, text + i, n - i, 1, false);
            sluice_status status = marks ? work_append(w, out, " ", 1) : work_append(w, out, text + i, 1);
            if (status) return status;
            i += marks ? marks : 1;
        }
    }
    return SLUICE_OK;
}

static sluice_status decode_token(struct work *w, struct vocab *v, int32_t id, struct text_buffer buffers[2])
{
    struct token *token = &v->tokens[id];
    const char *text = v->pool.data + token->bytes;
    size_t n = token->n_bytes;
    work_limit_token(w, n);
    for (size_t i = 0; i < v->decoder.n_steps; i++) {
        struct text_buffer *out = &buffers[i % 2];
        out->n = 0;
        sluice_status status = apply(w, &v->decoder.steps[i], text, n, out);
        if (status) return work_token_fail(w, status, "decoder: token ", id, "");
        text = out->n ? out->data : ""; /* a buffer that was never written to has no data */
        n = out->n;
    }
    if (n > 2 * (size_t)token->n_bytes + 64 || n > UINT16_MAX)
        return fail(w->f, SLUICE_FORMAT, "decoder: makes %zu bytes of token %d, which has %d", n, id, token->n_bytes);
    bool same = n == token->n_bytes && (n == 0 || memcmp(text, v->pool.data + token->bytes, n) == 0);
    token->n_bytes = (uint16_t)n;
    if (same) return SLUICE_OK;
    return pool_append(v, text, n, &token->bytes, w->f);
}

sluice_status decoder_load(struct vocab *v, const json_t *node, struct failure *f)
{
    v->decoder.absent = !node || json_is_null(node);
    sluice_status status = json_each_step(v, node, "decoders", "decoder", read_decoder, f);
    if (status) return status;
    struct work w;
    struct text_buffer buffers[2] = {0};
    work_init(&w, v, MAX_TOKEN_BYTES, f);
    for (int32_t id = 0; id < v->n_tokens && !status; id++)
        if (v->tokens[id].flags) status = decode_token(&w, v, id, buffers);
    work_free(&w);
    text_buffer_free(&buffers[0]);
    text_buffer_free(&buffers[1]);
    return status;
}

void decoder_free(struct decoder *d)
{
    for (size_t i = 0; i < d->n_steps; i++) {
        pattern_free(d->steps[i].pattern);
        memory_free(d->steps[i].content);
    }
}

/* ---- the stream ------------------------------------------------------------------------------------------------ */

void text_decoder_init(struct text_decoder *d, const struct vocab *v, unsigned flags)
{
    *d = (struct text_decoder){.vocab = v, .flags = flags, .started = flags & VOCAB_DECODE_CONTINUE};
    if (d->started) d->n_stripped = v->decoder.strip_start;
}

/* One whole character of the text; at the beginning it may be one to strip. */
static sluice_status put_char(struct text_decoder *d, const void *text, size_t n, struct text_buffer *out)
{
    const struct decoder *decoder = &d->vocab->decoder;
    if (d->n_stripped < decoder->strip_start) {
        if (n == decoder->n_strip && memcmp(text, decoder->strip, n) == 0) {
            d->n_stripped++;
            return SLUICE_OK;
        }
        d->n_stripped = decoder->strip_start;
    }
    return text_buffer_append(out, text, n);
}

/* The first `n` held bytes can never become a character. */
static sluice_status put_broken(struct text_decoder *d, size_t n, struct text_buffer *out)
{
    if (!(d->flags & VOCAB_DECODE_REPLACE)) return put_char(d, d->held, n, out);
    size_t count = d->vocab->decoder.byte_fallback ? n : 1;
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < count && !status; i++) status = put_char(d, "\xef\xbf\xbd", 3, out);
    return status;
}

static sluice_status put_byte(struct text_decoder *d, unsigned char byte, struct text_buffer *out)
{
    d->held[d->n_held++] = byte;
    sluice_status status = SLUICE_OK;
    while (d->n_held > 0 && !status) {
        int bytes = utf8_check(d->held, d->n_held);
        if (bytes == 0) return SLUICE_OK; /* so far, so good */
        if (bytes > 0) {
            status = put_char(d, d->held, d->n_held, out);
            d->n_held = 0;
        } else {
            /* What came before `byte` is broken; `byte` itself may begin anew. Alone, it is what is broken. */
            size_t broken = d->n_held > 1 ? d->n_held - 1 : 1;
            status = put_broken(d, broken, out);
            d->n_held -= broken;
            d->held[0] = byte;
        }
    }
    return status;
}

static sluice_status put_bytes(struct text_decoder *d, const char *text, size_t n, struct text_buffer *out)
{
    bool plain = d->n_held == 0 && d->n_stripped >= d->vocab->decoder.strip_start;
    if (plain && utf8_valid_bytes(text, n) == n) return text_buffer_append(out, text, n);
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < n && !status; i++) status = put_byte(d, (unsigned char)text[i], out);
    return status;
}

/* Metaspace: the first token of a text without its marks. */
static sluice_status put_without_marks(struct text_decoder *d, const struct token *token, struct text_buffer *out)
{
    const struct decoder_step *step = &d->vocab->decoder.steps[0];
    const char *text = d->vocab->pool.data + token->text;
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < token->n_text && !status;) {
        size_t marks = count_marks(step, text + i, token->n_text - i, 1, false);
        if (!marks) status = put_byte(d, (unsigned char)text[i], out);
        i += marks ? marks : 1;
    }
    return status;
}

sluice_status text_decoder_push(struct text_decoder *d, int32_t id, struct text_buffer *out)
{
    const struct vocab *v = d->vocab;
    if (id < 0 || id >= v->n_tokens || !v->tokens[id].flags) return SLUICE_OK;
    const struct token *token = &v->tokens[id];
    if ((token->flags & TOKEN_SPECIAL) && !(d->flags & VOCAB_DECODE_SPECIAL)) return SLUICE_OK;
    bool first = !d->started;
    d->started = true;
    if (first && v->decoder.drop_marks) return put_without_marks(d, token, out);
    sluice_status status = first || !v->decoder.absent ? SLUICE_OK : put_bytes(d, " ", 1, out);
    return status ? status : put_bytes(d, v->pool.data + token->bytes, token->n_bytes, out);
}

sluice_status text_decoder_finish(struct text_decoder *d, struct text_buffer *out)
{
    sluice_status status = d->n_held ? put_broken(d, d->n_held, out) : SLUICE_OK;
    d->n_held = 0;
    return status;
}
