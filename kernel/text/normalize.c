/* Owns the normalizers of a tokenizer.json: text -> text, before it is cut into words. Read next: pretokenize.c. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/vocab_internal.h"

/* ---- loading --------------------------------------------------------------------------------------------------- */

static sluice_status read_normalizer(struct vocab *v, const json_t *step, const char *type, struct failure *f)
{
    static const struct {
        const char *type;
        enum normalizer_kind kind;
        bool compose, compatibility;
    } known[] = {
        {"NFC", NORMALIZE_UNICODE, true, false},
        {"NFD", NORMALIZE_UNICODE, false, false},
        {"NFKC", NORMALIZE_UNICODE, true, true},
        {"NFKD", NORMALIZE_UNICODE, false, true},
        {"Lowercase", NORMALIZE_LOWERCASE, false, false},
        {"Strip", NORMALIZE_STRIP, false, false},
        {"StripAccents", NORMALIZE_STRIP_ACCENTS, false, false},
        {"Prepend", NORMALIZE_PREPEND, false, false},
        {"Replace", NORMALIZE_REPLACE, false, false},
        {"ByteLevel", NORMALIZE_BYTE_LEVEL, false, false},
    };
    if (v->n_normalizers == MAX_STEPS) return fail(f, SLUICE_FORMAT, "more than %d steps", MAX_STEPS);
    struct normalizer *step_out = &v->normalizers[v->n_normalizers];
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(known[i].type, type) != 0) i++;
    if (i == sizeof known / sizeof *known) return SLUICE_UNSUPPORTED;
    *step_out = (struct normalizer){
        .kind = known[i].kind, .compose = known[i].compose, .compatibility = known[i].compatibility};
    v->n_normalizers++;
    sluice_status status = SLUICE_OK;
    switch (step_out->kind) {
    case NORMALIZE_STRIP:
        status = json_get_bool(step, "strip_left", &step_out->left, f);
        return status ? status : json_get_bool(step, "strip_right", &step_out->right, f);
    case NORMALIZE_PREPEND: return json_get_copy(step, "prepend", &step_out->content, &step_out->n_content, f);
    case NORMALIZE_REPLACE:
        status = json_get_pattern(step, &step_out->pattern, f);
        return status ? status : json_get_copy(step, "content", &step_out->content, &step_out->n_content, f);
    default: return SLUICE_OK;
    }
}

sluice_status normalizers_load(struct vocab *v, const json_t *node, struct failure *f)
{
    return json_each_step(v, node, "normalizers", "normalizer", read_normalizer, f);
}

/* ---- Unicode normal forms -------------------------------------------------------------------------------------- */

static unsigned combining_class(int32_t c) { return (unsigned)utf8proc_get_property(c)->combining_class; }

/* Stable sort of each run of combining marks by class. utf8proc's own sort is quadratic, so that a long run of marks in
 * the wrong order would take minutes; this one passes over a disordered run once per class. */
static sluice_status order_marks(struct work *w, int32_t *codes, size_t n, struct text_buffer *scratch)
{
    for (size_t i = 0; i < n;) {
        unsigned last = 0, class;
        size_t end = i;
        bool ordered = true;
        for (; end < n && (class = combining_class(codes[end])) > 0; end++) {
            if (class < last) ordered = false;
            last = class;
        }
        if (!ordered) {
            scratch->n = 0;
            sluice_status status = SLUICE_OK;
            for (class = 1; class < 256 && !status; class ++)
                for (size_t k = i; k < end && !status; k++)
                    if (combining_class(codes[k]) == class)
                        status = work_append(w, scratch, (const char *)&codes[k], sizeof *codes);
            if (status) return status;
            memcpy(codes + i, scratch->data, scratch->n);
        }
        i = end == i ? i + 1 : end;
    }
    return SLUICE_OK;
}

static sluice_status decompose(struct work *w, const char *text, size_t n, bool compatibility,
                               struct text_buffer *codes)
{
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0);
    for (size_t i = 0; i < n;) {
        int32_t c, parts[32]; /* the longest decomposition has 18 */
        i += utf8_read(text + i, &c);
        utf8proc_ssize_t count = utf8proc_decompose_char(c, parts, 32, options, NULL);
        if (count < 0 || count > 32) return fail(w->f, SLUICE_ARGUMENT, "input: cannot be normalized");
        sluice_status status = work_append(w, codes, (const char *)parts, (size_t)count * sizeof *parts);
        if (status) return status;
    }
    return SLUICE_OK;
}

static sluice_status write_codes(struct work *w, const int32_t *codes, size_t n, struct text_buffer *out)
{
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < n && !status; i++) {
        char bytes[4];
        status = work_append(w, out, bytes, utf8_write(bytes, codes[i]));
    }
    return status;
}

static sluice_status normal_form(struct work *w, const struct normalizer *step, const char *text, size_t n,
                                 struct text_buffer *out)
{
    size_t ascii = 0;
    while (ascii < n && (unsigned char)text[ascii] < 0x80) ascii++;
    if (ascii == n) return work_append(w, out, text, n);
    struct text_buffer codes = {0}, scratch = {0};
    sluice_status status = decompose(w, text, n, step->compatibility, &codes);
    size_t count = codes.n / sizeof(int32_t);
    if (!status) status = order_marks(w, (int32_t *)(void *)codes.data, count, &scratch);
    if (!status && step->compose)
        count = (size_t)utf8proc_normalize_utf32((int32_t *)(void *)codes.data, (utf8proc_ssize_t)count,
                                                 UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (!status) status = write_codes(w, (int32_t *)(void *)codes.data, count, out);
    text_buffer_free(&codes);
    text_buffer_free(&scratch);
    return status;
}

/* ---- the other steps ------------------------------------------------------------------------------------------- */

/* LATIN CAPITAL LETTER I WITH DOT ABOVE is the one character whose small form is two characters everywhere. */
static sluice_status lower_case(struct work *w, const char *text, size_t n, struct text_buffer *out)
{
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < n && !status;) {
        int32_t c;
        i += utf8_read(text + i, &c);
        char bytes[4];
        if (c == 0x130)
            status = work_append(w, out, "i\xcc\x87", 3);
        else
            status = work_append(w, out, bytes, utf8_write(bytes, utf8proc_tolower(c)));
    }
    return status;
}

static sluice_status strip(struct work *w, const struct normalizer *step, const char *text, size_t n,
                           struct text_buffer *out)
{
    size_t start = 0, end = n, bytes;
    int32_t c;
    while (step->left && start < end && (bytes = utf8_read(text + start, &c), is_white_space(c))) start += bytes;
    while (step->right && start < end && (bytes = utf8_back(text, end, &c), is_white_space(c))) end -= bytes;
    return work_append(w, out, text + start, end - start);
}

static sluice_status strip_accents(struct work *w, const char *text, size_t n, struct text_buffer *out)
{
    sluice_status status = SLUICE_OK;
    for (size_t i = 0, bytes; i < n && !status; i += bytes) {
        int32_t c;
        bytes = utf8_read(text + i, &c);
        if (!is_mark(c)) status = work_append(w, out, text + i, bytes);
    }
    return status;
}

sluice_status replace_matches(struct work *w, const struct pattern *pattern, const char *content, size_t n_content,
                              const char *text, size_t n, struct text_buffer *out)
{
    /* A pattern may look at the rest of the text from each place in it. Known vocabularies need a hundredth of this. */
    const uint64_t most_scanned = (uint64_t)1 << 31;
    struct match_walk walk = {0};
    size_t copied = 0, start = 0, end = 0;
    if (w->is_loading && !pattern_is_literal(pattern)) {
        w->n_scanned += (uint64_t)n * n; /* bounded: n is at most text_limit, and the sum is compared each time */
        if (w->n_scanned > most_scanned)
            return fail(w->f, SLUICE_ARGUMENT, "input: patterns of the file look at too much text of its tokens");
    }
    for (;;) {
        bool found = false;
        sluice_status status = pattern_next(pattern, &w->matcher, text, n, &walk, &start, &end, &found, w->f);
        if (status) return status;
        if (!found) break;
        if ((status = work_append(w, out, text + copied, start - copied))) return status;
        if ((status = work_append(w, out, content, n_content))) return status;
        copied = end;
    }
    return n > copied ? work_append(w, out, text + copied, n - copied) : SLUICE_OK;
}

static sluice_status map_bytes(struct work *w, const char *text, size_t n, struct text_buffer *out)
{
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < n && !status; i++) {
        char bytes[4];
        status = work_append(w, out, bytes, utf8_write(bytes, byte_to_char((unsigned char)text[i])));
    }
    return status;
}

static sluice_status apply(struct work *w, const struct normalizer *step, const char *text, size_t n,
                           struct text_buffer *out)
{
    sluice_status status;
    switch (step->kind) {
    case NORMALIZE_UNICODE: return normal_form(w, step, text, n, out);
    case NORMALIZE_LOWERCASE: return lower_case(w, text, n, out);
    case NORMALIZE_STRIP: return strip(w, step, text, n, out);
    case NORMALIZE_STRIP_ACCENTS: return strip_accents(w, text, n, out);
    case NORMALIZE_REPLACE: return replace_matches(w, step->pattern, step->content, step->n_content, text, n, out);
    case NORMALIZE_BYTE_LEVEL: return map_bytes(w, text, n, out);
    case NORMALIZE_PREPEND:
        if (n == 0) return SLUICE_OK;
        status = work_append(w, out, step->content, step->n_content);
        return status ? status : work_append(w, out, text, n);
    }
    return SLUICE_OK;
}

sluice_status normalize(struct work *w, const char *text, size_t n, struct text_buffer *out)
{
    const struct vocab *v = w->vocab;
    struct text_buffer spare = {0};
    sluice_status status = SLUICE_OK;
    out->n = 0;
    if (v->n_normalizers == 0) return work_append(w, out, text, n);
    for (size_t i = 0; i < v->n_normalizers && !status; i++) {
        spare.n = 0;
        status = apply(w, &v->normalizers[i], i ? out->data : text, i ? out->n : n, &spare);
        struct text_buffer swap = *out;
        *out = spare;
        spare = swap;
    }
    text_buffer_free(&spare);
    return status;
}
