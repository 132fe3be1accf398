/* Writes a model as a GGUF file of other element types.
 *
 *   IN -> source_open (quantize_source.c): the list of tensors
 *      -> choose_types (quantize_types.c): a type for each
 *      -> importance_collect (calibrate.c), if a text is given
 *      -> gguf_writer: keys, directory
 *      -> per tensor, in pieces that the team takes from a counter:
 *           rows of the file -> floats -> quant_encode -> bytes, written at their place
 *                                              `-> quant_decode -> the error
 *
 * A piece is some rows, about PIECE floats, so memory does not depend on the model; the file's pages are released
 * behind it. Sums of errors are kept per piece and added in order: the figures do not depend on threads. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/team.h"
#include "engine/engine_internal.h"
#include "engine/quantize_parts.h"
#include "quant/codec.h"

enum {
    PIECE = 1 << 18,   /* floats: each thread holds three buffers of this size, which stay in its cache, nearly */
    MAX_ROW = 1 << 24, /* floats of one row: the memory promise */
};

sluice_quantize_options sluice_quantize_options_default(void) { return (sluice_quantize_options){0}; }

/* ---- options and types ------------------------------------------------------------------------------------------- */

struct rule {
    const char *pattern;
    enum dtype type;
    bool fits; /* some matrix */
};

struct job {
    const sluice_quantize_options *options;
    struct failure *failure;
    const struct mix *mix;
    struct rule *rules; /* [options->n_rules] */
    struct source source;
    struct importance *importance;
    struct gguf_writer *writer;
    sluice_quantize_result result;
    double reported;
    uint64_t done_bytes;
};

static void warn(void *context, const char *text)
{
    const sluice_quantize_options *o = context;
    if (o->warning) o->warning(o->context, text);
}

static bool is_cancelled(const sluice_quantize_options *o) { return o->cancelled && o->cancelled(o->context); }

static sluice_status fail_type(struct failure *f, const char *place, const char *word, bool element_types_only)
{
    char shown[ESCAPED_BYTES], list[512];
    enum dtype known;
    escape_text(shown, sizeof shown, word, strlen(word));
    if (dtype_from_word(word, &known))
        return fail(f, SLUICE_ARGUMENT, "%s: type \"%s\" can be read, not written", place, shown);
    mix_list(list, sizeof list, element_types_only);
    return fail(f, SLUICE_ARGUMENT, "%s: unknown type \"%s\", expected one of %s", place, shown, list);
}

static sluice_status check_options(struct job *j)
{
    const sluice_quantize_options *o = j->options;
    struct failure *f = j->failure;
    if (o->n_threads < 0 || o->n_threads > TEAM_MAX_THREADS)
        return fail(f, SLUICE_ARGUMENT, "threads: found %d, expected 0..%d", o->n_threads, TEAM_MAX_THREADS);
    if (o->n_context < 0) return fail(f, SLUICE_ARGUMENT, "context: found %d, expected at least 1", o->n_context);
    if (!o->type) return fail(f, SLUICE_ARGUMENT, "no type is given");
    j->mix = mix_find(o->type);
    if (!j->mix) return fail_type(f, "type", o->type, false);
    j->rules = memory_calloc(o->n_rules, sizeof *j->rules);
    if (!j->rules) return fail_memory(f, "tensor rules");
    for (size_t i = 0; i < o->n_rules; i++) {
        const sluice_tensor_rule *rule = &o->rules[i];
        struct rule *r = &j->rules[i];
        if (!rule->pattern[0]) return fail(f, SLUICE_ARGUMENT, "tensor rule %zu: the pattern is empty", i + 1);
        r->pattern = rule->pattern;
        if (!dtype_from_word(rule->type, &r->type) || !dtype_info(r->type)->can_encode)
            return fail_type(f, "tensor rule", rule->type, true);
    }
    return SLUICE_OK;
}

static sluice_status choose_types(struct job *j)
{
    struct source *s = &j->source;
    struct mix_model model = {0};
    char text[256], shown[ESCAPED_BYTES];
    size_t n_quantised = 0;
    for (size_t i = 0; i < s->n_targets; i++) mix_model_add(&model, s->targets[i].name);
    for (size_t i = 0; i < s->n_targets; i++) {
        struct target *t = &s->targets[i];
        t->to = t->wanted = t->from;
        if (!dtype_info(t->from)->is_weight) continue;
        if (!tensor_is_rounded(t->name, t->n_dims)) {
            t->to = t->wanted = DTYPE_F32;
            continue;
        }
        t->wanted = mix_type(j->mix, &model, t->name);
        bool ruled = false;
        for (size_t r = 0; r < j->options->n_rules; r++) {
            if (!rule_fits(j->rules[r].pattern, t->name)) continue;
            j->rules[r].fits = true;
            if (!ruled) t->wanted = j->rules[r].type;
            ruled = true;
        }
        t->to = dtype_that_fits(t->wanted, t->shape[t->n_dims - 1]);
        if (t->to == N_DTYPES) t->to = DTYPE_F16;
        n_quantised += !dtype_info(t->from)->is_float && t->from != t->to;
    }
    for (size_t r = 0; r < j->options->n_rules; r++)
        if (!j->rules[r].fits)
            return fail(j->failure, SLUICE_ARGUMENT,
                        "tensor rule \"%s\": fits no matrix that is rounded (norms, biases and routers are not)",
                        escape_text(shown, sizeof shown, j->rules[r].pattern, strlen(j->rules[r].pattern)));
    if (n_quantised) {
        snprintf(text, sizeof text,
                 "%zu tensors of the source are quantised already: they are decoded and rounded again", n_quantised);
        warn((void *)j->options, text);
    }
    return SLUICE_OK;
}

/* ---- one tensor -------------------------------------------------------------------------------------------------- */

struct errors {
    double squared, power, largest; /* sum of squared errors, sum of squares, maximum */
};

/* What one thread needs. */
struct worker {
    float *x, *y, *importance; /* rows as they are, as they will be read back; mean squares */
    unsigned char *row, *blocks;
    struct failure failure;
    int failed_piece; /* -1: none */
};

struct conversion {
    struct job *job;
    const struct target *target;
    size_t index;          /* of the tensor in the new file */
    int n_pieces, rows;    /* rows per piece */
    size_t piece_bytes;    /* of a tensor that is copied byte by byte */
    struct errors *errors; /* [n_pieces] */
    struct worker *workers;
    atomic_bool stop;
    atomic_uint_fast64_t done;
};

/* Is every part already of the wanted type, so that its bytes can stay? */
static bool is_copied(const struct target *t) { return t->to == t->from; }

static void measure(struct errors *e, const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - (double)y[i];
        e->squared += d * d;
        e->power += (double)x[i] * (double)x[i];
        if (!(fabs(d) <= e->largest)) e->largest = fabs(d);
    }
}

static bool all_finite(const float *x, size_t n)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite &= isfinite(x[i]) != 0;
    return finite;
}

/* Encodes `n_rows` rows of w->x. Rows that share their importance go together. */
static void encode_rows(const struct conversion *c, struct worker *w, uint64_t row0, int n_rows, size_t out_row)
{
    const struct target *t = c->target;
    const struct importance *importance = c->job->importance;
    const size_t k = (size_t)t->k;
    if (!importance || t->role == N_TENSOR_ROLES) {
        quant_encode(t->to, w->blocks, w->x, (size_t)n_rows * k, NULL);
        return;
    }
    int expert = -2;
    bool known = false;
    for (int i = 0; i < n_rows; i++) {
        int e = t->expert_rows ? (int)((row0 + (uint64_t)i) / (uint64_t)t->expert_rows) : t->expert;
        if (e != expert) known = importance_of(importance, t->role, t->layer, e, w->importance, t->k);
        expert = e;
        quant_encode(t->to, w->blocks + (size_t)i * out_row, w->x + (size_t)i * k, k, known ? w->importance : NULL);
    }
}

/* Rows [row0, row0 + n_rows) of the new tensor: bytes that stay to w->blocks, or floats to w->x. */
static void read_piece(const struct target *t, struct worker *w, uint64_t row0, int n_rows)
{
    const size_t out_row = blocks_bytes(t->to, (size_t)t->k);
    const bool pairs = t->order.kind == ORDER_PAIRS; /* row by row */
    for (int i = 0, n; i < n_rows; i += n) {
        const uint64_t row = row0 + (uint64_t)i;
        const struct row_source *part = &t->parts[row / (uint64_t)t->part_rows];
        int at = (int)(row % (uint64_t)t->part_rows);
        n = pairs ? 1 : part->n - at < n_rows - i ? part->n - at : n_rows - i;
        if (pairs) at = paired_row(&t->order, at);
        if (is_copied(t))
            rows_read(part, w->blocks + (size_t)i * out_row, at, at + n);
        else
            rows_read_floats(part, w->x + (size_t)i * (size_t)t->k, at, at + n, w->row);
    }
}

static sluice_status convert_piece(struct conversion *c, struct worker *w, int piece)
{
    const struct target *t = c->target;
    const uint64_t n = target_rows(t), row0 = (uint64_t)piece * (uint64_t)c->rows;
    const int n_rows = n - row0 < (uint64_t)c->rows ? (int)(n - row0) : c->rows;
    const size_t out_row = blocks_bytes(t->to, (size_t)t->k), count = (size_t)n_rows * (size_t)t->k;
    read_piece(t, w, row0, n_rows);
    if (!is_copied(t)) {
        if (!all_finite(w->x, count))
            return fail(&w->failure, SLUICE_FORMAT, "%s: tensor \"%s\": a value is not finite", t->parts->view->file,
                        t->parts->view->name);
        encode_rows(c, w, row0, n_rows, out_row);
        quant_decode(t->to, w->y, w->blocks, count);
        measure(&c->errors[piece], w->x, w->y, count);
        if (!isfinite(c->errors[piece].largest))
            return fail(&w->failure, SLUICE_FORMAT, "%s: tensor \"%s\": a value is too large for %s",
                        t->parts->view->file, t->parts->view->name, dtype_info(t->to)->name);
    }
    sluice_status s =
        gguf_write_data(c->job->writer, c->index, row0 * out_row, w->blocks, (size_t)n_rows * out_row, &w->failure);
    for (uint64_t row = row0, end; t->order.kind == ORDER_STORED && row < row0 + (uint64_t)n_rows; row = end) {
        const uint64_t part = row / (uint64_t)t->part_rows, first = part * (uint64_t)t->part_rows;
        end = first + (uint64_t)t->part_rows < row0 + (uint64_t)n_rows ? first + (uint64_t)t->part_rows
                                                                       : row0 + (uint64_t)n_rows;
        rows_release(&t->parts[part], (int)(row - first), (int)(end - first));
    }
    atomic_fetch_add_explicit(&c->done, (uint64_t)n_rows * rows_file_bytes(t->parts) / (uint64_t)t->part_rows,
                              memory_order_relaxed);
    return s;
}

static sluice_status copy_piece(struct conversion *c, struct worker *w, int piece)
{
    const struct tensor_view *view = c->target->raw;
    const uint64_t at = (uint64_t)piece * c->piece_bytes, left = view->bytes - at;
    const size_t n = left < c->piece_bytes ? (size_t)left : c->piece_bytes;
    sluice_status s = gguf_write_data(c->job->writer, c->index, at, view->data + at, n, &w->failure);
    memory_release_range(view->data + at, n);
    atomic_fetch_add_explicit(&c->done, n, memory_order_relaxed);
    return s;
}

static void report_progress(struct job *j, uint64_t done)
{
    const sluice_quantize_options *o = j->options;
    if (!o->progress || clock_seconds() - j->reported < 0.1) return;
    j->reported = clock_seconds();
    o->progress(o->context, SLUICE_STAGE_WRITE, done, j->result.source_bytes);
}

static void convert_work(struct thread *t, void *context)
{
    struct conversion *c = context;
    struct worker *w = &c->workers[t->id];
    for (int piece; !atomic_load_explicit(&c->stop, memory_order_relaxed) && (piece = team_next(t, 0)) < c->n_pieces;) {
        sluice_status s = c->target->raw ? copy_piece(c, w, piece) : convert_piece(c, w, piece);
        if (!s && t->id == 0) {
            report_progress(c->job, c->job->done_bytes + atomic_load(&c->done));
            if (is_cancelled(c->job->options)) s = fail(&w->failure, SLUICE_CANCELLED, "cancelled");
        }
        if (!s) continue;
        w->failed_piece = piece;
        atomic_store(&c->stop, true);
    }
}

/* Of the pieces that failed, the first one speaks. */
static sluice_status first_failure(const struct conversion *c, int n_workers, struct failure *f)
{
    const struct worker *first = NULL;
    for (int i = 0; i < n_workers; i++) {
        const struct worker *w = &c->workers[i];
        if (w->failed_piece >= 0 && (!first || w->failed_piece < first->failed_piece)) first = w;
    }
    if (!first) return SLUICE_OK;
    *f = first->failure;
    return f->status;
}

static uint64_t file_bytes_of(const struct target *t)
{
    uint64_t bytes = 0;
    if (t->raw) return t->raw->bytes;
    if (t->values) return t->shape[0] * sizeof(float);
    for (size_t i = 0; i < t->n_parts; i++) bytes += rows_file_bytes(&t->parts[i]);
    return bytes;
}

static uint64_t elements_of(const struct target *t)
{
    uint64_t n = 1;
    for (int i = 0; i < t->n_dims; i++) n *= t->shape[i];
    return n;
}

static uint64_t bytes_of(const struct target *t)
{
    return t->raw ? t->raw->bytes : blocks_bytes(t->to, (size_t)elements_of(t));
}

static bool is_weighted(const struct job *j, const struct target *t, float *scratch)
{
    if (!j->importance || is_copied(t) || t->role == N_TENSOR_ROLES) return false;
    if (!t->expert_rows) return importance_of(j->importance, t->role, t->layer, t->expert, scratch, t->k);
    for (uint64_t e = 0; e < target_rows(t) / (uint64_t)t->expert_rows; e++)
        if (!importance_of(j->importance, t->role, t->layer, (int)e, scratch, t->k)) return false;
    return true;
}

static void report_tensor(struct conversion *c)
{
    struct job *j = c->job;
    const struct target *t = c->target;
    struct errors all = {0};
    for (int i = 0; c->errors && i < c->n_pieces; i++) {
        all.squared += c->errors[i].squared;
        all.power += c->errors[i].power;
        if (c->errors[i].largest > all.largest) all.largest = c->errors[i].largest;
    }
    sluice_tensor_report r = {
        .name = t->name,
        .n_dims = t->n_dims,
        .from = dtype_info(t->from)->name,
        .to = dtype_info(t->to)->name,
        .wanted = t->wanted == t->to ? NULL : dtype_info(t->wanted)->name,
        .weighted = is_weighted(j, t, c->workers[0].importance),
        .bytes = bytes_of(t),
        .rmse = sqrt(all.squared / (double)elements_of(t)),
        .relative_rmse = all.power > 0 ? sqrt(all.squared / all.power) : 0,
        .max_error = all.largest,
    };
    memcpy(r.shape, t->shape, sizeof r.shape);
    j->result.n_replaced += r.wanted != NULL;
    j->result.n_rounded += all.squared > 0;
    if (j->options->tensor) j->options->tensor(j->options->context, &r);
}

static sluice_status convert(struct job *j, struct team *team, struct worker *workers, size_t index)
{
    const struct target *t = &j->source.targets[index];
    struct conversion c = {.job = j, .target = t, .index = index, .workers = workers};
    if (t->values) {
        sluice_status s = gguf_write_data(j->writer, index, 0, t->values, (size_t)bytes_of(t), j->failure);
        if (!s) report_tensor(&c);
        return s;
    }
    atomic_init(&c.stop, false);
    atomic_init(&c.done, 0);
    if (t->raw) {
        c.piece_bytes = PIECE * sizeof(float);
        c.n_pieces = (int)((t->raw->bytes + c.piece_bytes - 1) / c.piece_bytes);
    } else {
        c.rows = t->k < PIECE ? PIECE / t->k : 1;
        c.n_pieces = (int)((target_rows(t) + (uint64_t)c.rows - 1) / (uint64_t)c.rows);
        c.errors = memory_calloc((size_t)c.n_pieces, sizeof *c.errors);
        if (!c.errors) return fail_memory(j->failure, t->name);
    }
    atomic_store(&team->counters[0], 0);
    team_run(team, convert_work, &c);
    sluice_status s = first_failure(&c, team->n_threads, j->failure);
    for (size_t i = 0; t->order.kind != ORDER_STORED && i < t->n_parts; i++)
        rows_release(&t->parts[i], 0, t->part_rows);
    j->done_bytes += file_bytes_of(t);
    if (!s) report_tensor(&c);
    memory_free(c.errors);
    return s;
}

/* ---- all tensors ------------------------------------------------------------------------------------------------- */

/* Buffers of every thread, large enough for every tensor. */
static sluice_status carve_workers(const struct job *j, struct worker *workers, int n, struct arena *arena)
{
    size_t most = 16, row = 16, width = 1;
    for (size_t i = 0; i < j->source.n_targets; i++) {
        const struct target *t = &j->source.targets[i];
        if (t->raw || t->values) continue;
        const size_t k = (size_t)t->k, floats = k < PIECE ? PIECE / k * k : k, most_rows = floats / k;
        if (k > MAX_ROW)
            return fail(j->failure, SLUICE_UNSUPPORTED, "tensor \"%s\": rows of %d elements, at most %d are supported",
                        t->name, t->k, MAX_ROW);
        if (floats > most) most = floats;
        const size_t bytes =
            rows_scratch_bytes(t->parts, most_rows < (size_t)t->part_rows ? (int)most_rows : t->part_rows);
        if (bytes > row) row = bytes;
        if (k > width) width = k;
    }
    for (int i = 0; i < n; i++) {
        struct worker w = {.failed_piece = -1};
        w.x = ARENA_TAKE(arena, float, most);
        w.y = ARENA_TAKE(arena, float, most);
        w.importance = ARENA_TAKE(arena, float, width);
        w.row = ARENA_TAKE(arena, unsigned char, row);
        w.blocks = ARENA_TAKE(arena, unsigned char, most * sizeof(float));
        workers[i] = w;
    }
    return SLUICE_OK;
}

static sluice_status convert_all(struct job *j)
{
    struct arena arena = {0};
    struct team team;
    sluice_status s = SLUICE_OK;
    team_init(&team, j->options->n_threads ? j->options->n_threads : cpu_count());
    struct worker *workers = memory_calloc((size_t)team.n_threads, sizeof *workers);
    if (!workers) return fail_memory(j->failure, "buffers");
    s = carve_workers(j, workers, team.n_threads, &arena);
    if (!s && !arena_commit(&arena, false)) s = fail_memory(j->failure, "buffers");
    if (!s) s = carve_workers(j, workers, team.n_threads, &arena);
    for (size_t i = 0; i < j->source.n_targets && !s; i++) {
        report_progress(j, j->done_bytes);
        s = is_cancelled(j->options) ? fail(j->failure, SLUICE_CANCELLED, "cancelled") : convert(j, &team, workers, i);
    }
    arena_free(&arena);
    memory_free(workers);
    return s;
}

static void count_sizes(struct job *j)
{
    sluice_quantize_result *r = &j->result;
    r->n_tensors = j->source.n_targets;
    for (size_t i = 0; i < j->source.n_targets; i++) {
        const struct target *t = &j->source.targets[i];
        r->n_parameters += elements_of(t);
        r->source_bytes += file_bytes_of(t);
        r->tensor_bytes += bytes_of(t);
    }
    r->bits_per_weight = r->n_parameters ? 8 * (double)r->tensor_bytes / (double)r->n_parameters : 0;
}

/* Where a tensor keeps its type and nothing reorders its rows, its bytes are copied whole. */
static void mark_raw(struct source *s)
{
    for (size_t i = 0; i < s->n_targets; i++) {
        struct target *t = &s->targets[i];
        if (t->raw || t->values) continue;
        const bool whole = t->n_parts == 1 && rows_direct(t->parts) && t->parts->data == t->parts->view->data &&
                           (uint64_t)rows_file_bytes(t->parts) == t->parts->view->bytes;
        t->raw = is_copied(t) && t->order.kind == ORDER_STORED && whole ? t->parts->view : NULL;
    }
}

static sluice_status write_file(struct job *j, const char *out)
{
    struct source *s = &j->source;
    sluice_status status = gguf_writer_create(&j->writer, out, j->failure);
    if (status) return status;
    status = source_write_keys(s, j->writer, mix_file_type(j->mix), warn, (void *)j->options, j->failure);
    if (status) return status;
    for (size_t i = 0; i < s->n_targets; i++)
        gguf_add_tensor(j->writer, s->targets[i].name, s->targets[i].to, s->targets[i].n_dims, s->targets[i].shape);
    status = gguf_begin_data(j->writer, j->failure);
    if (!status) status = convert_all(j);
    sluice_status lost = archive_check(s->archive, j->failure);
    if (lost) status = lost;
    if (!status && is_cancelled(j->options)) status = fail(j->failure, SLUICE_CANCELLED, "cancelled");
    if (!status) status = gguf_writer_commit(j->writer, j->failure);
    j->result.file_bytes = status ? 0 : gguf_file_bytes(j->writer);
    return status;
}

/* A place that cannot be written is told at once, not after an hour of calibration. */
static sluice_status probe(const char *out, struct failure *f)
{
    struct gguf_writer *w = NULL;
    sluice_status s = gguf_writer_create(&w, out, f);
    gguf_writer_close(&w);
    return s;
}

static sluice_status quantize(struct job *j, const char *in, const char *out)
{
    const sluice_quantize_options *o = j->options;
    sluice_status s = check_options(j);
    if (!s) s = probe(out, j->failure);
    if (!s) s = source_open(&j->source, in, o->calibration_text != NULL, warn, (void *)o, j->failure);
    if (!s) s = choose_types(j);
    if (s) return s;
    mark_raw(&j->source);
    count_sizes(j);
    if (o->calibration_text) {
        s = importance_collect(&j->importance, in, o, j->failure);
        if (s) return s;
        j->result.n_calibration_tokens = importance_n_tokens(j->importance);
        j->result.n_untouched_experts = importance_n_untouched(j->importance);
    }
    if (is_cancelled(o)) return fail(j->failure, SLUICE_CANCELLED, "cancelled");
    s = write_file(j, out);
    if (!s && o->progress) o->progress(o->context, SLUICE_STAGE_WRITE, j->result.source_bytes, j->result.source_bytes);
    return s;
}

sluice_status sluice_quantize(const char *in, const char *out, const sluice_quantize_options *options,
                              sluice_quantize_result *result, sluice_error *error)
{
    struct failure f = {0};
    struct job j = {.options = options, .failure = &f};
    sluice_status s = quantize(&j, in, out);
    gguf_writer_close(&j.writer);
    importance_free(&j.importance);
    source_close(&j.source);
    memory_free(j.rules);
    if (s) return report_failure(error, &f);
    if (result) *result = j.result;
    return SLUICE_OK;
}
