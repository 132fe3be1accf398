/* Owns compiling and running patterns: literals by memmem, regular expressions by PCRE2 with limits on everything.
 * PCRE2's interpreter keeps its backtracking points on the heap, never on the stack. Its JIT is not used: it needs a
 * stack of its own, which long runs overflow.
 *
 * A file's pattern may backtrack without end, at one place of a text or a little at each. Few steps do nearly
 * everywhere. Where they do not, more are allowed and counted, up to a limit for this place and one for all places
 * together. An honest pattern that fails late at every position of a long run (\s+x on a megabyte of blanks) meets that
 * limit too; no known tokenizer has one, apart from \s+$, which pattern_dialect.c rewrites. A step is a point to come
 * back to: what a loop without one scans is not counted, so \s++[xy] is still quadratic in such a run.
 * Read next: pattern_dialect.c. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "base/memory.h"
#include "text/pattern.h"
#include "text/vocab_internal.h"

struct pattern {
    pcre2_code *code; /* NULL: literal */
    size_t n;
    char literal[];
};

/* A match at one place of a text may take this many steps, and that many more per byte: an honest pattern such as
 * \s*[\r\n]+ gives back a run of blanks one by one, so a limit that ignores the length would refuse long runs. The
 * steps beyond EASY_STEPS of all places together have a limit of the same form. */
enum {
    EASY_STEPS = 256,
    STEPS_FACTOR = 8, /* from one attempt to the next */
    MATCH_STEPS = 1000000,
    MATCH_STEPS_PER_BYTE = 16,
    HARD_STEPS = 64 << 20,
    HARD_STEPS_PER_BYTE = 512,
    MATCH_HEAP_KIB = 65536,
};

static void *request(size_t n, void *unused)
{
    (void)unused;
    return memory_alloc(n);
}

static void give_back(void *p, void *unused)
{
    (void)unused;
    memory_free(p);
}

/* What PCRE2 makes remembers these two functions: the memory of patterns is counted like all other, and fails in tests
 * like all other. The context itself is needed only to say so. */
static pcre2_general_context *our_memory(void) { return pcre2_general_context_create(request, give_back, NULL); }

/* A fixed compile context: LF alone ends a line, as in Ruby. */
static pcre2_code *compile(const char *text, size_t n, int *error, size_t *offset)
{
    pcre2_general_context *memory = our_memory();
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    pcre2_general_context_free(memory);
    if (!context) return NULL;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 4 * MAX_PATTERN_DEPTH);
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, n, options, error, offset, context);
    pcre2_compile_context_free(context);
    return code;
}

static sluice_status create_regex(struct pattern *p, const char *text, size_t n, struct failure *f)
{
    struct text_buffer translated = {0};
    sluice_status status = pattern_translate(&translated, text, n, f);
    if (!status) {
        int error = PCRE2_ERROR_NOMEMORY;
        size_t offset = 0;
        p->code = compile(translated.data, translated.n, &error, &offset);
        if (!p->code)
            status = error == PCRE2_ERROR_NOMEMORY || error == PCRE2_ERROR_HEAP_FAILED
                         ? fail_memory(f, NULL)
                         : fail(f, SLUICE_UNSUPPORTED, "pattern is not valid or not supported");
    }
    text_buffer_free(&translated);
    return status;
}

sluice_status pattern_create(struct pattern **out, const char *text, size_t n, bool literal, struct failure *f)
{
    *out = NULL;
    if (n == 0) return fail(f, SLUICE_FORMAT, "empty pattern");
    if (n > MAX_PATTERN_BYTES) return fail(f, SLUICE_FORMAT, "pattern: %zu bytes exceed %d", n, MAX_PATTERN_BYTES);
    struct pattern *p = memory_calloc(1, sizeof *p + n);
    if (!p) return fail_memory(f, NULL);
    p->n = n;
    memcpy(p->literal, text, n);
    sluice_status status = literal ? SLUICE_OK : create_regex(p, text, n, f);
    if (status) {
        pattern_free(p);
        return status;
    }
    *out = p;
    return SLUICE_OK;
}

void pattern_free(struct pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    memory_free(p);
}

bool pattern_is_literal(const struct pattern *p) { return p->code == NULL; }

size_t pattern_bytes(const struct pattern *p)
{
    if (!p) return 0;
    size_t compiled = 0;
    if (p->code) pcre2_pattern_info(p->code, PCRE2_INFO_SIZE, &compiled);
    return sizeof *p + p->n + compiled;
}

const char *pattern_text(const struct pattern *p, size_t *n, bool *literal)
{
    *n = p->n;
    *literal = p->code == NULL;
    return p->literal;
}

void matcher_free(struct matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    *m = (struct matcher){0};
}

static bool matcher_ready(struct matcher *m)
{
    if (m->data && m->context) return true;
    pcre2_general_context *memory = our_memory();
    if (!memory) return false;
    if (!m->data) m->data = pcre2_match_data_create(1, memory);
    if (!m->context) m->context = pcre2_match_context_create(memory);
    pcre2_general_context_free(memory);
    return m->data && m->context;
}

/* `steps` is the limit of each place where a match may begin. */
static int run(const struct pattern *p, struct matcher *m, const char *text, size_t n, size_t from, uint64_t steps,
               uint32_t options)
{
    const uint32_t limit = steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX; /* bounded: compared */
    pcre2_set_match_limit(m->context, limit);
    return pcre2_match(p->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | options, m->data, m->context);
}

/* A match that begins at `at`, with more and more steps. */
static int run_at(const struct pattern *p, struct matcher *m, const char *text, size_t n, size_t at)
{
    const uint64_t most = MATCH_STEPS + (uint64_t)MATCH_STEPS_PER_BYTE * n;
    const uint64_t budget = HARD_STEPS + (uint64_t)HARD_STEPS_PER_BYTE * m->text_bytes;
    uint64_t steps = EASY_STEPS;
    int count = run(p, m, text, n, at, steps, PCRE2_ANCHORED);
    while (count == PCRE2_ERROR_MATCHLIMIT && steps < most && m->hard_steps <= budget) {
        steps = steps < most / STEPS_FACTOR ? steps * STEPS_FACTOR : most; /* bounded: at most `most` */
        m->hard_steps += steps;                                            /* bounded: at most budget + most */
        count = run(p, m, text, n, at, steps, PCRE2_ANCHORED);
    }
    return count;
}

/* The leftmost match at or after `from`. */
static int run_from(const struct pattern *p, struct matcher *m, const char *text, size_t n, size_t from)
{
    for (;;) {
        int count = run(p, m, text, n, from, EASY_STEPS, 0);
        if (count != PCRE2_ERROR_MATCHLIMIT) return count;
        /* Somewhere from here on it is hard: place by place, until that is behind. */
        for (const uint64_t before = m->hard_steps; m->hard_steps == before;) {
            int32_t c;
            count = run_at(p, m, text, n, from);
            if (count != PCRE2_ERROR_NOMATCH || from == n) return count;
            from += utf8_read(text + from, &c);
        }
    }
}

/* The leftmost match at or after `from`. */
static sluice_status search(const struct pattern *p, struct matcher *m, const char *text, size_t n, size_t from,
                            size_t *start, size_t *end, bool *found, struct failure *f)
{
    if (!p->code) {
        const char *at = n - from < p->n ? NULL : memmem(text + from, n - from, p->literal, p->n);
        *found = at != NULL;
        if (at) *start = (size_t)(at - text);
        if (at) *end = *start + p->n;
        return SLUICE_OK;
    }
    if (!matcher_ready(m)) return fail_memory(f, NULL);
    pcre2_set_heap_limit(m->context, (uint32_t)(MATCH_HEAP_KIB + n / 4)); /* bounded: texts have at most 2^31 bytes */
    int count = run_from(p, m, text, n, from);
    *found = count >= 0;
    if (count == PCRE2_ERROR_NOMATCH) return SLUICE_OK;
    if (count == PCRE2_ERROR_NOMEMORY) return fail_memory(f, NULL);
    if (count < 0) return fail(f, SLUICE_ARGUMENT, "input: pattern exceeded its match limit");
    const size_t *ends = pcre2_get_ovector_pointer(m->data);
    *start = ends[0];
    *end = ends[1];
    return SLUICE_OK;
}

sluice_status pattern_next(const struct pattern *p, struct matcher *m, const char *text, size_t n,
                           struct match_walk *walk, size_t *start, size_t *end, bool *found, struct failure *f)
{
    for (;;) {
        *found = false;
        if (walk->from > n) return SLUICE_OK;
        sluice_status status = search(p, m, text, n, walk->from, start, end, found, f);
        if (status || !*found) return status;
        bool empty_again = *start == *end && walk->any && walk->last_end == *end;
        if (!empty_again) break;
        int32_t c;
        walk->from += walk->from < n ? utf8_read(text + walk->from, &c) : 1;
    }
    walk->from = walk->last_end = *end;
    walk->any = true;
    return SLUICE_OK;
}
