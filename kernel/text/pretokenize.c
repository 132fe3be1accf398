/* Owns the pre-tokenizers: text -> words (pieces), the units in which bpe.c merges. A step either
 * cuts pieces (the text stays) or rewrites them (the number of pieces stays). Read next: bpe.c. */
#include <string.h>

#include "text/vocab_internal.h"

/* ---- loading --------------------------------------------------------------------------------------------------- */

sluice_status pretokenizer_add(struct vocab *v, struct pretokenizer step, struct failure *f)
{
    if (v->n_pretokenizers == MAX_STEPS) {
        pattern_free(step.pattern);
        return fail(f, SLUICE_FORMAT, "more than %d steps", MAX_STEPS);
    }
    v->pretokenizers[v->n_pretokenizers++] = step;
    return SLUICE_OK;
}

static sluice_status add_class(struct vocab *v, enum char_class class, enum split_behavior behavior, struct failure *f)
{
    return pretokenizer_add(
        v, (struct pretokenizer){.kind = PRETOKENIZE_SPLIT_CLASS, .class = class, .behavior = behavior}, f);
}

static sluice_status read_behavior(const json_t *step, enum split_behavior *out, struct failure *f)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = NULL;
    sluice_status status = json_get_word(step, "behavior", &name, f);
    if (status || !name) return status;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (enum split_behavior)i;
            return SLUICE_OK;
        }
    char shown[ESCAPED_BYTES];
    return fail(f, SLUICE_UNSUPPORTED, "behavior \"%s\" is not known",
                escape_text(shown, sizeof shown, name, strlen(name)));
}

static sluice_status read_split(struct vocab *v, const json_t *json, struct failure *f)
{
    struct pretokenizer step = {.kind = PRETOKENIZE_SPLIT_PATTERN};
    sluice_status status = read_behavior(json, &step.behavior, f);
    if (!status) status = json_get_bool(json, "invert", &step.invert, f);
    if (!status) status = json_get_pattern(json, &step.pattern, f);
    return status ? status : pretokenizer_add(v, step, f);
}

/* ByteLevel is three steps: a blank in front, unless told not to the pattern of GPT-2, bytes to characters. */
static sluice_status read_byte_level(struct vocab *v, const json_t *json, struct failure *f)
{
    bool prefix = true, use_regex = true;
    sluice_status status = json_get_bool(json, "add_prefix_space", &prefix, f);
    if (!status) status = json_get_bool(json, "use_regex", &use_regex, f);
    if (!status && prefix)
        status = pretokenizer_add(v, (struct pretokenizer){.kind = PRETOKENIZE_METASPACE, .mark = " ", .n_mark = 1}, f);
    if (!status && use_regex) {
        struct pretokenizer step = {.kind = PRETOKENIZE_SPLIT_PATTERN};
        status = pattern_create(&step.pattern, pattern_of_gpt2, strlen(pattern_of_gpt2), false, f);
        if (!status) status = pretokenizer_add(v, step, f);
    }
    return status ? status : pretokenizer_add(v, (struct pretokenizer){.kind = PRETOKENIZE_MAP_BYTES}, f);
}

/* Older files say add_prefix_space instead of prepend_scheme. */
static sluice_status read_metaspace(struct vocab *v, const json_t *json, struct failure *f)
{
    static const char *const schemes[] = {"always", "first", "never"};
    struct pretokenizer step = {.kind = PRETOKENIZE_METASPACE, .mark = "\xe2\x96\x81", .n_mark = 3};
    bool split = true, prefix = true;
    const char *scheme = "always";
    sluice_status status = json_get_char(json, "replacement", step.mark, &step.n_mark, f);
    if (!status) status = json_get_bool(json, "split", &split, f);
    if (!status) status = json_get_bool(json, "add_prefix_space", &prefix, f);
    if (!status) status = json_get_word(json, "prepend_scheme", &scheme, f);
    if (status) return status;
    size_t i = 0;
    while (i < 3 && strcmp(schemes[i], scheme) != 0) i++;
    if (i == 3) return fail(f, SLUICE_UNSUPPORTED, "prepend_scheme must be always, first or never");
    step.scheme = prefix ? (enum prepend_scheme)i : PREPEND_NEVER;
    if ((status = pretokenizer_add(v, step, f)) || !split) return status;
    struct pretokenizer cut = {.kind = PRETOKENIZE_SPLIT_CLASS, .class = CLASS_ONE, .behavior = SPLIT_MERGED_NEXT};
    utf8_read(step.mark, &cut.one);
    return pretokenizer_add(v, cut, f);
}

/* \w+|[^\w\s]+: words and runs of symbols; blanks vanish. */
static sluice_status read_whitespace(struct vocab *v, struct failure *f)
{
    static const char words[] = "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+";
    struct pretokenizer step = {.kind = PRETOKENIZE_SPLIT_PATTERN, .behavior = SPLIT_REMOVED, .invert = true};
    sluice_status status = pattern_create(&step.pattern, words, sizeof words - 1, false, f);
    return status ? status : pretokenizer_add(v, step, f);
}

static sluice_status read_pretokenizer(struct vocab *v, const json_t *json, const char *type, struct failure *f)
{
    sluice_status status = SLUICE_OK;
    if (strcmp(type, "Split") == 0) return read_split(v, json, f);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(v, json, f);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(v, json, f);
    if (strcmp(type, "Whitespace") == 0) return read_whitespace(v, f);
    if (strcmp(type, "WhitespaceSplit") == 0) return add_class(v, CLASS_WHITE_SPACE, SPLIT_REMOVED, f);
    if (strcmp(type, "BertPreTokenizer") == 0) {
        status = add_class(v, CLASS_WHITE_SPACE, SPLIT_REMOVED, f);
        return status ? status : add_class(v, CLASS_PUNCTUATION, SPLIT_ISOLATED, f);
    }
    if (strcmp(type, "Punctuation") == 0) {
        enum split_behavior behavior = SPLIT_ISOLATED;
        status = read_behavior(json, &behavior, f);
        return status ? status : add_class(v, CLASS_PUNCTUATION, behavior, f);
    }
    if (strcmp(type, "Digits") == 0) {
        bool individual = false;
        status = json_get_bool(json, "individual_digits", &individual, f);
        return status ? status : add_class(v, CLASS_NUMERIC, individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, f);
    }
    if (strcmp(type, "CharDelimiterSplit") == 0) {
        struct pretokenizer step = {.kind = PRETOKENIZE_SPLIT_CLASS, .class = CLASS_ONE, .behavior = SPLIT_REMOVED};
        char mark[4];
        size_t n;
        if ((status = json_get_char(json, "delimiter", mark, &n, f))) return status;
        utf8_read(mark, &step.one);
        return pretokenizer_add(v, step, f);
    }
    if (strcmp(type, "FixedLength") == 0) {
        struct pretokenizer step = {.kind = PRETOKENIZE_CHUNK, .length = 5};
        if ((status = json_get_size(json, "length", &step.length, f))) return status;
        return step.length ? pretokenizer_add(v, step, f) : fail(f, SLUICE_FORMAT, "length: must be positive");
    }
    return SLUICE_UNSUPPORTED;
}

sluice_status pretokenizers_load(struct vocab *v, const json_t *node, struct failure *f)
{
    return json_each_step(v, node, "pretokenizers", "pre_tokenizer", read_pretokenizer, f);
}

/* ---- cutting --------------------------------------------------------------------------------------------------- */

static sluice_status add_piece(struct work *w, size_t start, size_t n, bool first)
{
    if (n == 0) return SLUICE_OK;
    sluice_status status = work_reserve(w, &w->next_pieces, &w->cap_next, w->n_next + 1, sizeof *w->next_pieces);
    if (!status) w->next_pieces[w->n_next++] = (struct piece){start, n, first};
    return status;
}

static sluice_status add_span(struct work *w, size_t start, size_t end, bool match)
{
    sluice_status status = work_reserve(w, &w->spans, &w->cap_spans, w->n_spans + 1, sizeof *w->spans);
    if (!status) w->spans[w->n_spans++] = (struct span){start, end, match};
    return status;
}

static bool in_class(const struct pretokenizer *step, int32_t c)
{
    switch (step->class) {
    case CLASS_WHITE_SPACE: return is_white_space(c);
    case CLASS_NUMERIC: return is_numeric(c);
    case CLASS_DIGIT: return is_decimal(c);
    case CLASS_PUNCTUATION: return is_punctuation(c);
    case CLASS_ONE: return c == step->one;
    }
    return false;
}

/* The first character of the class at or after `from`. */
static bool next_in_class(const struct pretokenizer *step, const char *text, size_t n, size_t from, size_t *start,
                          size_t *end)
{
    for (*start = from; *start < n; *start = *end) {
        int32_t c;
        *end = *start + utf8_read(text + *start, &c);
        if (in_class(step, c)) return true;
    }
    return false;
}

/* Covers text [n] with spans, matches and what lies between. */
static sluice_status find_spans(struct work *w, const struct pretokenizer *step, const char *text, size_t n)
{
    struct match_walk walk = {0};
    size_t done = 0, start = 0, end = 0;
    w->n_spans = 0;
    for (;;) {
        bool found = false;
        sluice_status status = SLUICE_OK;
        if (step->kind == PRETOKENIZE_SPLIT_PATTERN)
            status = pattern_next(step->pattern, &w->matcher, text, n, &walk, &start, &end, &found, w->f);
        else
            found = next_in_class(step, text, n, done, &start, &end);
        if (status) return status;
        if (!found) break;
        if (start > done && (status = add_span(w, done, start, step->invert))) return status;
        if ((status = add_span(w, start, end, !step->invert))) return status;
        done = end;
    }
    return done < n ? add_span(w, done, n, step->invert) : SLUICE_OK;
}

/* Joins spans to pieces in place, as `behavior` says, and returns how many are left; a span that is still marked as a
 * match afterwards is removed. */
static size_t join_spans(struct span *spans, size_t n, enum split_behavior behavior)
{
    size_t out = 0;
    bool previous = false;
    if (behavior == SPLIT_MERGED_NEXT) { /* from the right, then read backwards: written to the end of the array */
        out = n;
        for (size_t i = n; i-- > 0;) {
            struct span span = spans[i];
            if (span.match && !previous && out < n)
                spans[out].start = span.start;
            else
                spans[--out] = (struct span){span.start, span.end, false};
            previous = span.match;
        }
        memmove(spans, spans + out, (n - out) * sizeof *spans);
        return n - out;
    }
    for (size_t i = 0; i < n; i++) {
        struct span span = spans[i];
        bool join = (behavior == SPLIT_MERGED_PREVIOUS && span.match && !previous) ||
                    (behavior == SPLIT_CONTIGUOUS && span.match == previous);
        if (join && out > 0)
            spans[out - 1].end = span.end;
        else
            spans[out++] = (struct span){span.start, span.end, behavior == SPLIT_REMOVED && span.match};
        previous = span.match;
    }
    return out;
}

static sluice_status split_piece(struct work *w, const struct pretokenizer *step, struct piece piece)
{
    sluice_status status = find_spans(w, step, w->text.data + piece.start, piece.n);
    if (status) return status;
    size_t n = join_spans(w->spans, w->n_spans, step->behavior);
    for (size_t i = 0; i < n && !status; i++) {
        struct span span = w->spans[i];
        if (!span.match)
            status = add_piece(w, piece.start + span.start, span.end - span.start, piece.first && span.start == 0);
    }
    return status;
}

static sluice_status chunk_piece(struct work *w, const struct pretokenizer *step, struct piece piece)
{
    const char *text = w->text.data + piece.start;
    sluice_status status = SLUICE_OK;
    for (size_t at = 0; at < piece.n && !status;) {
        size_t start = at;
        int32_t c;
        for (size_t i = 0; i < step->length && at < piece.n; i++) at += utf8_read(text + at, &c);
        status = add_piece(w, piece.start + start, at - start, piece.first && start == 0);
    }
    return status;
}

static bool is_digit(const struct pretokenizer *step, int32_t c)
{
    return step->class == CLASS_DIGIT ? is_decimal(c) : is_numeric(c);
}

/* Does no word end before c? Oniguruma's \b counts the six numbers of Latin-1 as word, and no joiners. */
static bool continues_word(int32_t c)
{
    bool latin = c == 0xb2 || c == 0xb3 || c == 0xb9 || (c >= 0xbc && c <= 0xbe);
    return latin || (is_word(c) && c != 0x200c && c != 0x200d);
}

/* A run of digits in groups of three, counted from its right end: 1 234 567. The rest of the piece stays whole. */
static sluice_status group_digits(struct work *w, const struct pretokenizer *step, struct piece piece)
{
    const char *text = w->text.data + piece.start;
    sluice_status status = SLUICE_OK;
    for (size_t at = 0, done = 0; at < piece.n && !status;) {
        size_t end = at, digits = 0;
        int32_t c = 0;
        for (size_t n; end < piece.n && (n = utf8_read(text + end, &c), is_digit(step, c)); end += n) digits++;
        bool goes_on = step->alone && end < piece.n && continues_word(c);
        bool counts = digits > 0 && !goes_on;
        if (!counts) {
            at = digits > 0 ? end : at + utf8_read(text + at, &c);
            if (at == piece.n) status = add_piece(w, piece.start + done, at - done, piece.first && done == 0);
            continue;
        }
        status = add_piece(w, piece.start + done, at - done, piece.first && done == 0);
        for (size_t left = digits; left > 0 && !status;) {
            size_t start = at, group = left % 3 ? left % 3 : 3;
            for (size_t i = 0; i < group; i++) at += utf8_read(text + at, &c);
            status = add_piece(w, piece.start + start, at - start, piece.first && start == 0);
            left -= group;
        }
        done = at;
    }
    return status;
}

/* ---- rewriting: into w->other ---------------------------------------------------------------------------------- */

static sluice_status map_bytes(struct work *w, struct piece piece)
{
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < piece.n && !status; i++) {
        char bytes[4];
        status = work_append(w, &w->other, bytes,
                             utf8_write(bytes, byte_to_char((unsigned char)w->text.data[piece.start + i])));
    }
    return status;
}

static sluice_status mark_blanks(struct work *w, const struct pretokenizer *step, struct piece piece)
{
    const char *text = w->text.data + piece.start;
    bool marked = text[0] == ' ' || (piece.n >= step->n_mark && memcmp(text, step->mark, step->n_mark) == 0);
    bool wanted = step->scheme == PREPEND_ALWAYS || (step->scheme == PREPEND_FIRST && piece.first);
    sluice_status status = SLUICE_OK;
    if (wanted && !marked) status = work_append(w, &w->other, step->mark, step->n_mark);
    for (size_t at = 0; at < piece.n && !status;) {
        const char *blank = memchr(text + at, ' ', piece.n - at);
        size_t end = blank ? (size_t)(blank - text) : piece.n;
        status = work_append(w, &w->other, text + at, end - at);
        if (!status && blank) status = work_append(w, &w->other, step->mark, step->n_mark);
        at = end + 1;
    }
    return status;
}

/* ---- all steps ------------------------------------------------------------------------------------------------- */

static void take_next_pieces(struct work *w)
{
    struct piece *pieces = w->pieces;
    size_t cap = w->cap_pieces;
    w->pieces = w->next_pieces;
    w->cap_pieces = w->cap_next;
    w->n_pieces = w->n_next;
    w->next_pieces = pieces;
    w->cap_next = cap;
}

static sluice_status apply(struct work *w, const struct pretokenizer *step)
{
    bool rewrites = step->kind == PRETOKENIZE_METASPACE || step->kind == PRETOKENIZE_MAP_BYTES;
    sluice_status status = SLUICE_OK;
    w->n_next = 0;
    w->other.n = 0;
    for (size_t i = 0; i < w->n_pieces && !status; i++) {
        struct piece piece = w->pieces[i];
        size_t start = w->other.n;
        switch (step->kind) {
        case PRETOKENIZE_SPLIT_PATTERN:
        case PRETOKENIZE_SPLIT_CLASS: status = split_piece(w, step, piece); break;
        case PRETOKENIZE_CHUNK: status = chunk_piece(w, step, piece); break;
        case PRETOKENIZE_GROUP_DIGITS: status = group_digits(w, step, piece); break;
        case PRETOKENIZE_METASPACE: status = mark_blanks(w, step, piece); break;
        case PRETOKENIZE_MAP_BYTES: status = map_bytes(w, piece); break;
        }
        if (!status && rewrites) status = add_piece(w, start, w->other.n - start, piece.first);
    }
    take_next_pieces(w);
    if (rewrites) {
        struct text_buffer text = w->text;
        w->text = w->other;
        w->other = text;
    }
    return status;
}

sluice_status pretokenize(struct work *w, const char *text, size_t n, bool first)
{
    const struct vocab *v = w->vocab;
    w->text.n = w->n_pieces = w->n_next = 0;
    sluice_status status = work_append(w, &w->text, text, n);
    if (!status) status = add_piece(w, 0, n, first);
    if (status) return status;
    take_next_pieces(w);
    for (size_t i = 0; i < v->n_pretokenizers && !status; i++) status = apply(w, &v->pretokenizers[i]);
    return status;
}
