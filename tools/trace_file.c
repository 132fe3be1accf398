/* Owns the bytes of routing traces, see trace_file.h. Reader and writer take the places of the sections from one
 * function. */
#include "trace_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "utf8.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays are written and used as they lie in memory");

enum { HEADER_BYTES = 128, SHAPE_BEGIN = 24, SHAPE_END = 56, RESERVED = 104, FLAG_SCORES = 1 };
static const char magic[8] = {'S', 'L', 'U', 'I', 'C', 'E', 'T', 'R'};

/* ---- the header -------------------------------------------------------------------------------------------------- */

/* The fields that are plain numbers: one table for reader, writer, limits and JSON. */
static const struct field {
    const char *name;
    uint8_t at, bytes;
    size_t offset; /* in struct trace */
    uint64_t low, high;
} fields[] = {
#define FIELD(NAME, AT, LOW, HIGH)                                                            \
    {                                                                                         \
#NAME, AT, sizeof(((struct trace *)0)->NAME), offsetof(struct trace, NAME), LOW, HIGH \
    }
    FIELD(fingerprint, 16, 0, UINT64_MAX),
    FIELD(n_layers, 24, 1, TRACE_MAX_LAYERS),
    FIELD(hidden_size, 28, 1, INT32_MAX),
    FIELD(n_moe_layers, 32, 1, TRACE_MAX_LAYERS),
    FIELD(n_experts, 36, 1, TRACE_MAX_EXPERTS),
    FIELD(top_k, 40, 1, TRACE_MAX_TOP_K),
    FIELD(vocab_size, 44, 1, INT32_MAX),
    FIELD(n_parameters, 48, 0, INT64_MAX),
    FIELD(expert_bytes, 56, 0, (uint64_t)1 << 36),
    FIELD(other_bytes, 64, 0, (uint64_t)1 << 44),
    FIELD(n_tokens, 72, 1, TRACE_MAX_TOKENS),
    FIELD(text_bytes, 80, 0, TRACE_MAX_TEXT),
    FIELD(n_context, 88, 1, INT32_MAX),
#undef FIELD
};
enum { N_FIELDS = sizeof fields / sizeof *fields, NAMES_AT = 92, N_NAMES = 3 };
static const char *const name_fields[N_NAMES] = {"model", "architecture", "label"};
_Static_assert(sizeof(size_t) == 8, "n_tokens and text_bytes have 8 bytes in the file");

static uint64_t get_number(const char *bytes, size_t n)
{
    uint64_t value = 0;
    memcpy(&value, bytes, n);
    return value;
}

static uint64_t field_value(const struct trace *t, const struct field *f)
{
    return get_number((const char *)t + f->offset, f->bytes);
}

/* The most that a field may be, beside the fields before it. */
static uint64_t limit_of(const struct trace *t, const struct field *f)
{
    uint64_t high = f->high, other = high;
    if (f->offset == offsetof(struct trace, n_moe_layers)) other = t->n_layers;
    if (f->offset == offsetof(struct trace, n_experts)) other = TRACE_MAX_ALL_EXPERTS / t->n_moe_layers;
    if (f->offset == offsetof(struct trace, top_k)) other = t->n_experts;
    return other < high ? other : high;
}

/* NULL, or the first field that is out of range. */
static const struct field *find_bad_field(const struct trace *t)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        uint64_t value = field_value(t, &fields[i]);
        if (value < fields[i].low || value > limit_of(t, &fields[i])) return &fields[i];
    }
    return NULL;
}

/* FNV-1a, 64 bits. */
static uint64_t hash(uint64_t state, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < n; i++) state = (state ^ bytes[i]) * 0x100000001b3u;
    return state;
}

static uint64_t fingerprint_of(const char header[HEADER_BYTES], const struct trace *t)
{
    uint64_t state = hash(0xcbf29ce484222325u, header + SHAPE_BEGIN, SHAPE_END - SHAPE_BEGIN);
    state = hash(state, t->architecture, strlen(t->architecture));
    return hash(state, t->layers, t->n_moe_layers * sizeof *t->layers);
}

/* ---- the places of the sections ---------------------------------------------------------------------------------- */

struct layout {
    uint64_t names, layers, tokens, lengths, text, experts, weights, scores, end;
};

/* Places a section of [a, b, c] elements at *at and moves on. Within the ranges of the fields nothing overflows:
 * 2^24 tokens x 2^20 scores x 4 bytes = 2^46, and there are eight sections. */
static uint64_t put_section(uint64_t *at, size_t element, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t begin = (*at + 7) / 8 * 8;
    *at = begin + element * a * b * c;
    return begin;
}

/* For a trace whose fields are in range. */
static struct layout layout_of(const struct trace *t, uint64_t names_bytes)
{
    struct layout l;
    uint64_t at = HEADER_BYTES;
    l.names = put_section(&at, 1, names_bytes, 1, 1);
    l.layers = put_section(&at, sizeof *t->layers, t->n_moe_layers, 1, 1);
    l.tokens = put_section(&at, sizeof *t->tokens, t->n_tokens, 1, 1);
    l.lengths = put_section(&at, sizeof *t->lengths, t->n_tokens, 1, 1);
    l.text = put_section(&at, 1, t->text_bytes, 1, 1);
    l.experts = put_section(&at, sizeof *t->experts, t->n_tokens, t->n_moe_layers, t->top_k);
    l.weights = put_section(&at, sizeof *t->weights, t->n_tokens, t->n_moe_layers, t->top_k);
    l.scores = t->has_scores ? put_section(&at, sizeof *t->scores, t->n_tokens, t->n_moe_layers, t->n_experts) : at;
    l.end = at;
    return l;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* A file that is being read, with what its messages begin with. */
struct reader {
    struct trace *t;
    const char *bytes;
    size_t n;
    char shown[256];
    sluice_error *error;
};

static sluice_status read_fields(struct reader *r)
{
    struct trace *t = r->t;
    if (r->n < sizeof magic || memcmp(r->bytes, magic, sizeof magic) != 0)
        return set_error(r->error, SLUICE_FORMAT, "%s: is not a routing trace: it does not begin with SLUICETR",
                         r->shown);
    if (r->n < HEADER_BYTES)
        return set_error(r->error, SLUICE_FORMAT, "%s: ends within its header: %zu bytes, expected at least %d",
                         r->shown, r->n, HEADER_BYTES);
    uint64_t version = get_number(r->bytes + 8, 4), flags = get_number(r->bytes + 12, 4);
    if (version != TRACE_VERSION)
        return set_error(r->error, SLUICE_UNSUPPORTED, "%s: version: found %" PRIu64 ", this program reads %d",
                         r->shown, version, TRACE_VERSION);
    if (flags & ~(uint64_t)FLAG_SCORES)
        return set_error(r->error, SLUICE_UNSUPPORTED, "%s: flags: found 0x%" PRIx64 ", this program knows 0x%x",
                         r->shown, flags, FLAG_SCORES);
    t->has_scores = flags & FLAG_SCORES;
    for (size_t i = 0; i < N_FIELDS; i++)
        memcpy((char *)t + fields[i].offset, r->bytes + fields[i].at, fields[i].bytes);
    const struct field *bad = find_bad_field(t);
    if (bad)
        return set_error(r->error, SLUICE_FORMAT, "%s: %s: found %" PRIu64 ", expected %" PRIu64 "..%" PRIu64, r->shown,
                         bad->name, field_value(t, bad), bad->low, limit_of(t, bad));
    for (size_t i = RESERVED; i < HEADER_BYTES; i++)
        if (r->bytes[i])
            return set_error(r->error, SLUICE_FORMAT, "%s: byte %zu: found %u, expected 0", r->shown, i,
                             (unsigned char)r->bytes[i]);
    return SLUICE_OK;
}

bool trace_is_name(const char *bytes, size_t n)
{
    uint32_t c;
    for (size_t at = 0, used; at < n; at += used) {
        used = utf8_sequence(bytes + at, n - at, &c);
        if (used == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
    }
    return n <= TRACE_MAX_NAME;
}

/* The three names, as strings of their own. *total: their bytes. */
static sluice_status read_names(struct reader *r, uint64_t *total)
{
    const char *found[N_NAMES];
    uint64_t lengths[N_NAMES], at = HEADER_BYTES;
    *total = 0;
    for (int i = 0; i < N_NAMES; i++) {
        lengths[i] = get_number(r->bytes + NAMES_AT + 4 * i, 4);
        if (lengths[i] > TRACE_MAX_NAME)
            return set_error(r->error, SLUICE_FORMAT, "%s: %s_bytes: found %" PRIu64 ", expected at most %d", r->shown,
                             name_fields[i], lengths[i], TRACE_MAX_NAME);
        *total += lengths[i];
    }
    if (*total > r->n - HEADER_BYTES)
        return set_error(r->error, SLUICE_FORMAT, "%s: ends within its names: %zu bytes", r->shown, r->n);
    char *names = r->t->owned[1] = malloc(*total + N_NAMES);
    if (!names) return set_error(r->error, SLUICE_MEMORY, "%s: not enough memory for its names", r->shown);
    for (int i = 0; i < N_NAMES; i++) {
        if (!trace_is_name(r->bytes + at, lengths[i]))
            return set_error(r->error, SLUICE_FORMAT, "%s: %s: is not UTF-8 without control characters", r->shown,
                             name_fields[i]);
        memcpy(names, r->bytes + at, lengths[i]);
        names[lengths[i]] = 0;
        found[i] = names;
        names += lengths[i] + 1;
        at += lengths[i];
    }
    r->t->model = found[0];
    r->t->architecture = found[1];
    r->t->label = found[2];
    return SLUICE_OK;
}

/* Gaps between sections must be zero: so every byte of a trace means something, and equal traces are equal files. */
static sluice_status check_gaps(struct reader *r, const struct layout *l, uint64_t names_bytes)
{
    const struct trace *t = r->t;
    const uint64_t n_choices = (uint64_t)t->n_tokens * t->n_moe_layers * t->top_k;
    const struct {
        uint64_t from, to;
    } gaps[] = {
        {l->names + names_bytes, l->layers},
        {l->layers + t->n_moe_layers * sizeof *t->layers, l->tokens},
        {l->tokens + t->n_tokens * sizeof *t->tokens, l->lengths},
        {l->lengths + t->n_tokens * sizeof *t->lengths, l->text},
        {l->text + t->text_bytes, l->experts},
        {l->experts + n_choices * sizeof *t->experts, l->weights},
        {l->weights + n_choices * sizeof *t->weights, l->scores},
    };
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++)
        for (uint64_t at = gaps[i].from; at < gaps[i].to; at++)
            if (r->bytes[at])
                return set_error(r->error, SLUICE_FORMAT, "%s: byte %" PRIu64 ": found %u, expected 0", r->shown, at,
                                 (unsigned char)r->bytes[at]);
    return SLUICE_OK;
}

static sluice_status check_layers(const struct reader *r)
{
    const struct trace *t = r->t;
    for (size_t i = 0; i < t->n_moe_layers; i++)
        if (t->layers[i] >= t->n_layers || (i && t->layers[i] <= t->layers[i - 1]))
            return set_error(r->error, SLUICE_FORMAT,
                             "%s: layers: item %zu: found %" PRIu32 ", expected ascending numbers below %" PRIu32,
                             r->shown, i, t->layers[i], t->n_layers);
    uint64_t expected = fingerprint_of(r->bytes, t);
    if (t->fingerprint != expected)
        return set_error(r->error, SLUICE_FORMAT, "%s: fingerprint: found %016" PRIx64 ", expected %016" PRIx64,
                         r->shown, t->fingerprint, expected);
    return SLUICE_OK;
}

static sluice_status check_tokens(const struct reader *r, size_t *text_at)
{
    const struct trace *t = r->t;
    size_t sum = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (t->tokens[i] < 0 || (uint32_t)t->tokens[i] >= t->vocab_size)
            return set_error(r->error, SLUICE_FORMAT, "%s: tokens: item %zu: found %" PRId32 ", expected 0..%" PRIu32,
                             r->shown, i, t->tokens[i], t->vocab_size - 1);
        text_at[i] = sum;
        sum += t->lengths[i];
    }
    if (sum != t->text_bytes)
        return set_error(r->error, SLUICE_FORMAT, "%s: lengths: their sum is %zu, expected text_bytes, %zu", r->shown,
                         sum, t->text_bytes);
    return SLUICE_OK;
}

static sluice_status check_floats(const struct reader *r, const char *name, const float *values, size_t width)
{
    const struct trace *t = r->t;
    size_t n = t->n_tokens * t->n_moe_layers * width;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return set_error(r->error, SLUICE_FORMAT, "%s: %s: token %zu, layer %" PRIu32 ": a value is not finite",
                             r->shown, name, i / width / t->n_moe_layers, t->layers[i / width % t->n_moe_layers]);
    return SLUICE_OK;
}

static sluice_status check_experts(const struct reader *r)
{
    const struct trace *t = r->t;
    size_t n = t->n_tokens * t->n_moe_layers * t->top_k;
    for (size_t i = 0; i < n; i++) {
        const uint16_t id = t->experts[i];
        if (id < t->n_experts && (i % t->top_k == 0 || id > t->experts[i - 1])) continue;
        size_t row = i / t->top_k;
        return set_error(r->error, SLUICE_FORMAT,
                         "%s: experts: token %zu, layer %" PRIu32 ": found %u, expected ascending ids below %" PRIu32,
                         r->shown, row / t->n_moe_layers, t->layers[row % t->n_moe_layers], id, t->n_experts);
    }
    return SLUICE_OK;
}

static sluice_status parse(struct reader *r)
{
    struct trace *t = r->t;
    uint64_t names_bytes;
    sluice_status status = read_fields(r);
    if (!status) status = read_names(r, &names_bytes);
    if (status) return status;
    const struct layout l = layout_of(t, names_bytes);
    if (l.end != r->n)
        return set_error(r->error, SLUICE_FORMAT, "%s: has %zu bytes, expected %" PRIu64 " as its header says",
                         r->shown, r->n, l.end);
    t->layers = (const void *)(r->bytes + l.layers); /* multiples of 8 from what malloc gave */
    t->tokens = (const void *)(r->bytes + l.tokens);
    t->lengths = (const void *)(r->bytes + l.lengths);
    t->text = r->bytes + l.text;
    t->experts = (const void *)(r->bytes + l.experts);
    t->weights = (const void *)(r->bytes + l.weights);
    t->scores = t->has_scores ? (const void *)(r->bytes + l.scores) : NULL;
    size_t *text_at = t->owned[2] = malloc(t->n_tokens * sizeof *text_at);
    if (!text_at) return set_error(r->error, SLUICE_MEMORY, "%s: not enough memory for its tokens", r->shown);
    t->text_at = text_at;
    status = check_gaps(r, &l, names_bytes);
    if (!status) status = check_layers(r);
    if (!status) status = check_tokens(r, text_at);
    if (!status) status = check_experts(r);
    if (!status) status = check_floats(r, "weights", t->weights, t->top_k);
    if (!status && t->has_scores) status = check_floats(r, "scores", t->scores, t->n_experts);
    return status;
}

sluice_status trace_parse(struct trace *out, void *bytes, size_t n, const char *path, sluice_error *error)
{
    struct reader r = {.t = out, .bytes = bytes, .n = n, .error = error};
    *out = (struct trace){.owned = {bytes}};
    quote_bytes(r.shown, sizeof r.shown, path, strlen(path));
    sluice_status status = parse(&r);
    if (status) trace_close(out);
    return status;
}

sluice_status trace_read(struct trace *out, const char *path, sluice_error *error)
{
    char shown[256], *bytes = NULL;
    size_t n = 0, capacity = 0;
    sluice_status status = SLUICE_OK;
    *out = (struct trace){0};
    quote_bytes(shown, sizeof shown, path, strlen(path));
    FILE *file = fopen(path, "rb");
    if (!file) return set_error(error, SLUICE_IO, "%s: %s", shown, strerror(errno));
    for (;;) {
        /* The first bytes tell whether it is a trace at all, before any amount of something else is read. */
        if (n == sizeof magic && memcmp(bytes, magic, sizeof magic) != 0) break;
        size_t larger = n < sizeof magic ? sizeof magic : n < 1 << 16 ? 1 << 16 : 2 * capacity;
        if (n == capacity) {
            char *moved = realloc(bytes, larger);
            if (!moved) status = set_error(error, SLUICE_MEMORY, "%s: not enough memory to read it", shown);
            if (!moved) break;
            bytes = moved;
            capacity = larger;
        }
        size_t got = fread(bytes + n, 1, capacity - n, file);
        n += got;
        if (got == 0) break;
    }
    if (!status && ferror(file)) status = set_error(error, SLUICE_IO, "%s: %s", shown, strerror(errno));
    fclose(file);
    if (!status) return trace_parse(out, bytes, n, path, error);
    free(bytes);
    return status;
}

void trace_close(struct trace *t)
{
    for (size_t i = 0; i < sizeof t->owned / sizeof *t->owned; i++) free(t->owned[i]);
    *t = (struct trace){0};
}

sluice_status trace_check_model(const struct trace *t, const sluice_model_info *info, const char *path,
                                sluice_error *error)
{
    char shown[256], found[128];
    const struct {
        const char *name;
        uint64_t found, expected;
    } shape[] = {
        {"n_layers", t->n_layers, (uint64_t)info->n_layers},
        {"hidden_size", t->hidden_size, (uint64_t)info->hidden_size},
        {"n_moe_layers", t->n_moe_layers, (uint64_t)info->n_moe_layers},
        {"n_experts", t->n_experts, (uint64_t)info->n_experts},
        {"top_k", t->top_k, (uint64_t)info->top_k},
        {"vocab_size", t->vocab_size, (uint64_t)info->vocab_size},
        {"n_parameters", t->n_parameters, info->n_parameters},
    };
    quote_bytes(shown, sizeof shown, path, strlen(path));
    if (strcmp(t->architecture, info->architecture ? info->architecture : "") != 0)
        return set_error(error, SLUICE_ARGUMENT, "%s: is a trace of another model: of architecture %s, expected %s",
                         shown, quote_bytes(found, sizeof found, t->architecture, strlen(t->architecture)),
                         info->architecture ? info->architecture : "none");
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        if (shape[i].found != shape[i].expected)
            return set_error(error, SLUICE_ARGUMENT,
                             "%s: is a trace of another model: %s: found %" PRIu64 ", expected %" PRIu64, shown,
                             shape[i].name, shape[i].found, shape[i].expected);
    return SLUICE_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static uint64_t length_of_names(const struct trace *t, uint32_t lengths[N_NAMES])
{
    const char *const names[N_NAMES] = {t->model, t->architecture, t->label};
    uint64_t total = 0;
    for (int i = 0; i < N_NAMES; i++) total += lengths[i] = (uint32_t)strlen(names[i]);
    return total;
}

sluice_status trace_writer_create(struct trace_writer *out, const char *path, const struct trace *head,
                                  sluice_error *error)
{
    uint32_t lengths[N_NAMES];
    *out = (struct trace_writer){.head = *head};
    const struct field *bad = find_bad_field(head);
    if (bad)
        return set_error(error, SLUICE_ARGUMENT, "a trace cannot hold %s %" PRIu64 ", at most %" PRIu64, bad->name,
                         field_value(head, bad), limit_of(head, bad));
    const struct layout l = layout_of(head, length_of_names(head, lengths));
    const char *const names[N_NAMES] = {head->model, head->architecture, head->label};
    for (int i = 0; i < N_NAMES; i++)
        if (!trace_is_name(names[i], lengths[i]))
            return set_error(error, SLUICE_ARGUMENT,
                             "%s: a trace cannot hold it: it is not UTF-8 without control characters, at most %d bytes",
                             name_fields[i], TRACE_MAX_NAME);
    out->experts_at = l.experts;
    out->weights_at = l.weights;
    out->scores_at = l.scores;
    sluice_status status = output_file_create(&out->file, path, error);
    if (!status)
        status = output_file_write_at(&out->file, head->tokens, head->n_tokens * sizeof *head->tokens, l.tokens, error);
    if (!status)
        status =
            output_file_write_at(&out->file, head->lengths, head->n_tokens * sizeof *head->lengths, l.lengths, error);
    if (!status) status = output_file_write_at(&out->file, head->text, head->text_bytes, l.text, error);
    if (status) trace_writer_discard(out);
    return status;
}

sluice_status trace_writer_rows(struct trace_writer *w, size_t first_token, size_t n_rows, const uint16_t *experts,
                                const float *weights, const float *scores, sluice_error *error)
{
    const struct trace *t = &w->head;
    const uint64_t row = (uint64_t)t->n_moe_layers * t->top_k, all = (uint64_t)t->n_moe_layers * t->n_experts;
    w->n_written += n_rows;
    sluice_status status = output_file_write_at(&w->file, experts, n_rows * row * sizeof *experts,
                                                w->experts_at + first_token * row * sizeof *experts, error);
    if (!status)
        status = output_file_write_at(&w->file, weights, n_rows * row * sizeof *weights,
                                      w->weights_at + first_token * row * sizeof *weights, error);
    if (!status && t->has_scores)
        status = output_file_write_at(&w->file, scores, n_rows * all * sizeof *scores,
                                      w->scores_at + first_token * all * sizeof *scores, error);
    return status;
}

sluice_status trace_writer_commit(struct trace_writer *w, const uint32_t *layers, sluice_error *error)
{
    char header[HEADER_BYTES] = {0};
    struct trace *t = &w->head;
    uint32_t version = TRACE_VERSION, flags = t->has_scores ? FLAG_SCORES : 0, lengths[N_NAMES];
    const char *const names[N_NAMES] = {t->model, t->architecture, t->label};
    const struct layout l = layout_of(t, length_of_names(t, lengths));
    t->layers = layers;
    memcpy(header, magic, sizeof magic);
    memcpy(header + 8, &version, sizeof version);
    memcpy(header + 12, &flags, sizeof flags);
    memcpy(header + NAMES_AT, lengths, sizeof lengths);
    for (size_t i = 0; i < N_FIELDS; i++) memcpy(header + fields[i].at, (char *)t + fields[i].offset, fields[i].bytes);
    t->fingerprint = fingerprint_of(header, t);
    memcpy(header + fields[0].at, &t->fingerprint, sizeof t->fingerprint);
    sluice_status status = output_file_write_at(&w->file, header, sizeof header, 0, error);
    if (!status && w->n_written != t->n_tokens)
        status =
            set_error(error, SLUICE_IO, "%s: %zu of %zu tokens were written", w->file.path, w->n_written, t->n_tokens);
    uint64_t at = l.names;
    for (int i = 0; !status && i < N_NAMES; i++) {
        status = output_file_write_at(&w->file, names[i], lengths[i], at, error);
        at += lengths[i];
    }
    if (!status) status = output_file_write_at(&w->file, layers, t->n_moe_layers * sizeof *layers, l.layers, error);
    if (status)
        trace_writer_discard(w);
    else
        status = output_file_commit(&w->file, error);
    return status;
}

void trace_writer_discard(struct trace_writer *w) { output_file_discard(&w->file); }

/* ---- JSON Lines -------------------------------------------------------------------------------------------------- */

json_t *trace_header_json(const struct trace *head)
{
    json_t *object = json_pack("{s:s, s:i, s:o, s:o, s:o, s:b}", "format", "sluice-trace", "version", TRACE_VERSION,
                               "model", json_string_of_bytes(head->model, strlen(head->model)), "architecture",
                               json_string_of_bytes(head->architecture, strlen(head->architecture)), "label",
                               json_string_of_bytes(head->label, strlen(head->label)), "has_scores", head->has_scores);
    for (size_t i = 1; i < N_FIELDS; i++) /* without the fingerprint, which JSON's numbers cannot hold */
        json_object_set_new(object, fields[i].name, json_integer((json_int_t)field_value(head, &fields[i])));
    json_t *layers = json_array();
    for (size_t i = 0; i < head->n_moe_layers; i++) json_array_append_new(layers, json_integer(head->layers[i]));
    json_object_set_new(object, "layers", layers);
    return object;
}

/* [n_moe_layers, width] numbers as lists of lists: ids (uint16_t), or floats. */
static json_t *matrix_json(size_t n_layers, size_t width, const void *numbers, bool are_ids)
{
    json_t *matrix = json_array();
    for (size_t l = 0; l < n_layers; l++) {
        json_t *row = json_array();
        for (size_t i = l * width; i < (l + 1) * width; i++)
            json_array_append_new(row, are_ids ? json_integer(((const uint16_t *)numbers)[i])
                                               : json_real((double)((const float *)numbers)[i]));
        json_array_append_new(matrix, row);
    }
    return matrix;
}

json_t *trace_token_json(const struct trace *head, size_t token, const uint16_t *experts, const float *weights,
                         const float *scores)
{
    json_t *object = json_pack("{s:i, s:o, s:o, s:o}", "token", (int)head->tokens[token], "text",
                               json_string_of_bytes(head->text + head->text_at[token], head->lengths[token]), "experts",
                               matrix_json(head->n_moe_layers, head->top_k, experts, true), "weights",
                               matrix_json(head->n_moe_layers, head->top_k, weights, false));
    if (head->has_scores)
        json_object_set_new(object, "scores", matrix_json(head->n_moe_layers, head->n_experts, scores, false));
    return object;
}
