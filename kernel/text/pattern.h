/* A pattern of a tokenizer.json: a literal string, or a regular expression in the dialect of Hugging Face's engine
 * (Oniguruma, Ruby syntax) run by PCRE2. pattern_dialect.c translates the one into the other; what does not
 * translate exactly is refused. */
#ifndef TEXT_PATTERN_H
#define TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

struct pattern;
struct text_buffer;

enum { MAX_PATTERN_BYTES = 8192, MAX_PATTERN_DEPTH = 64 };

sluice_status pattern_create(struct pattern **out, const char *text, size_t n, bool literal, struct failure *f);
void pattern_free(struct pattern *p);
bool pattern_is_literal(const struct pattern *p);
size_t pattern_bytes(const struct pattern *p);
const char *pattern_text(const struct pattern *p, size_t *n, bool *literal); /* as it was given */

/* What a search needs besides the pattern; one per thread and call. Zero-initialise; free after use. */
struct matcher {
    struct pcre2_real_match_data_8 *data;
    struct pcre2_real_match_context_8 *context;
    size_t text_bytes;   /* of everything that is searched with it: the more, the more steps it may take */
    uint64_t hard_steps; /* taken where few did not do */
};
void matcher_free(struct matcher *m);

/* Position of a walk over all matches of one text, left to right, none overlapping. Zero-initialise. */
struct match_walk {
    size_t from;     /* where the next search begins */
    size_t last_end; /* end of the last match */
    bool any;        /* there was one */
};

/* Finds the next match in text [n], valid UTF-8. *found is false when there is none. Fails when the pattern needs more
 * steps than its limits, of one place and of all searches with this matcher. An empty match right after a match does
 * not count. */
sluice_status pattern_next(const struct pattern *p, struct matcher *m, const char *text, size_t n,
                           struct match_walk *walk, size_t *start, size_t *end, bool *found, struct failure *f);

/* Rewrites a regular expression of a tokenizer.json for PCRE2 into `out`. The failure names the offset of the first
 * thing that has no exact counterpart. (pattern_dialect.c) */
sluice_status pattern_translate(struct text_buffer *out, const char *text, size_t n, struct failure *f);

#endif
