/* Text as tokens arrive: whole characters only, and nothing that may turn out to belong to a stop string. */
#include <string.h>

#include "base/memory.h"
#include "engine/engine_internal.h"

struct sluice_text_stream {
    struct text_decoder decoder;
    struct text_buffer text; /* given[n_given bytes], then what is held back */
    size_t n_given;          /* leading bytes that the last call gave out */
    char **stops;            /* [n_stops], owned */
    size_t *stop_bytes;
    size_t n_stops;
    bool stopped;
};

static sluice_status copy_stops(sluice_text_stream *s, const char *const *stops, size_t n_stops)
{
    s->stops = memory_calloc(n_stops, sizeof *s->stops);
    s->stop_bytes = memory_calloc(n_stops, sizeof *s->stop_bytes);
    if (!s->stops || !s->stop_bytes) return SLUICE_MEMORY;
    for (size_t i = 0; i < n_stops; i++) {
        if (!stops[i][0]) continue; /* an empty string would stop everything: it asks for nothing */
        s->stop_bytes[s->n_stops] = strlen(stops[i]);
        s->stops[s->n_stops] = memory_strndup(stops[i], s->stop_bytes[s->n_stops]);
        if (!s->stops[s->n_stops]) return SLUICE_MEMORY;
        s->n_stops++;
    }
    return SLUICE_OK;
}

sluice_status sluice_text_stream_create(sluice_text_stream **out, const sluice_engine *e, unsigned flags,
                                        const char *const *stops, size_t n_stops, sluice_error *error)
{
    struct failure f = {0};
    *out = NULL;
    if (!e->vocab) {
        fail_no_tokenizer(e, &f);
        return report_failure(error, &f);
    }
    sluice_text_stream *s = memory_calloc(1, sizeof *s);
    if (!s || copy_stops(s, stops, n_stops)) {
        sluice_text_stream_free(&s);
        fail(&f, SLUICE_MEMORY, "no memory for a text stream");
        return report_failure(error, &f);
    }
    text_decoder_init(&s->decoder, e->vocab,
                      VOCAB_DECODE_REPLACE | (flags & SLUICE_TEXT_SPECIAL ? VOCAB_DECODE_SPECIAL : 0) |
                          (flags & SLUICE_TEXT_CONTINUE ? VOCAB_DECODE_CONTINUE : 0));
    *out = s;
    return SLUICE_OK;
}

void sluice_text_stream_free(sluice_text_stream **stream)
{
    sluice_text_stream *s = *stream;
    *stream = NULL;
    if (!s) return;
    for (size_t i = 0; i < s->n_stops; i++) memory_free(s->stops[i]);
    memory_free(s->stops);
    memory_free(s->stop_bytes);
    text_buffer_free(&s->text);
    memory_free(s);
}

/* Drops what was given out by the last call. */
static void forget_given(sluice_text_stream *s)
{
    if (s->n_given) memmove(s->text.data, s->text.data + s->n_given, s->text.n - s->n_given);
    s->text.n -= s->n_given;
    s->n_given = 0;
}

/* First complete stop string in the held text; false: none. */
static bool find_stop(const sluice_text_stream *s, size_t *at)
{
    bool found = false;
    for (size_t i = 0; i < s->n_stops; i++) {
        const char *p = s->text.n ? memmem(s->text.data, s->text.n, s->stops[i], s->stop_bytes[i]) : NULL;
        if (!p || (found && (size_t)(p - s->text.data) >= *at)) continue;
        *at = (size_t)(p - s->text.data);
        found = true;
    }
    return found;
}

/* Length of the longest end of the text that begins some stop string. */
static size_t may_become_stop(const sluice_text_stream *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = s->stop_bytes[i] - 1 < s->text.n ? s->stop_bytes[i] - 1 : s->text.n;
        for (; n > longest; n--)
            if (memcmp(s->text.data + s->text.n - n, s->stops[i], n) == 0) longest = n;
    }
    return longest;
}

static void give(sluice_text_stream *s, size_t n_held, const char **text, size_t *n)
{
    size_t at = 0;
    if (find_stop(s, &at)) {
        s->stopped = true;
        s->text.n = at;
        n_held = 0;
    }
    s->n_given = s->text.n - n_held;
    *text = s->text.data ? s->text.data : "";
    *n = s->n_given;
}

sluice_status sluice_text_stream_push(sluice_text_stream *s, int32_t token, const char **text, size_t *n, bool *stopped)
{
    *text = "";
    *n = 0;
    forget_given(s);
    sluice_status status = s->stopped ? SLUICE_OK : text_decoder_push(&s->decoder, token, &s->text);
    if (!status && !s->stopped) {
        size_t at = 0;
        give(s, find_stop(s, &at) ? 0 : may_become_stop(s), text, n);
    }
    if (stopped) *stopped = s->stopped;
    return status;
}

sluice_status sluice_text_stream_finish(sluice_text_stream *s, const char **text, size_t *n)
{
    *text = "";
    *n = 0;
    forget_given(s);
    if (s->stopped) return SLUICE_OK;
    sluice_status status = text_decoder_finish(&s->decoder, &s->text);
    if (!status) give(s, 0, text, n);
    return status;
}
