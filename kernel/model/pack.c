/* Owns the way of rows from the map of a file into their panels. All threads work off pieces, ask the disk for the
 * pieces that they will read next, and release the pages of the file behind them. Rows that lie in the file as the
 * layout wants them go from the map straight into their panels; others pass through a buffer of their thread:
 *
 *   file -> rows_read -> stage -> pack                                       other orders, transposed, FP8, MXFP4
 *   file -> rows_read_floats -> floats -> quant_encode -> stage -> pack      another type is asked for */
#include "model/pack.h"

#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "quant/codec.h"
#include "weights/archive.h"

enum {
    PIECE_BYTES = 1 << 20, /* of source, about: small enough to balance, large enough to forget the counter */
    STAGE_BYTES = 1 << 17, /* of packed rows, about: stays in the cache of its thread */
    STAGE_ALIGNMENT = 64,
    READING_ROWS = 128, /* of a transposed matrix, at once: each walk over it fetches a line or more of every row */
    PIECES_AHEAD = 64,  /* asked of the disk and not yet read, all threads together: what fast disks need */
};
/* The largest number that a half can hold: scales of blocks are halves, and no scale is larger than the numbers. */
static const float LARGEST_ENCODED = 65504.0f;

/* Rows from row0 on of one job, as many as rows_per_piece says. */
struct piece {
    const struct job *job;
    int row0;
    int number; /* in the order of jobs */
    atomic_bool taken;
};

/* Who reads a tensor. */
struct use {
    int n_jobs;
    atomic_int n_pieces; /* that are not packed yet */
};

struct packing {
    const struct bind_options *options;
    const struct archive *archive;
    struct use *uses; /* [tensors of the archive]; NULL: files are mapped, what is released can be read again */
    struct piece *pieces; /* [n_pieces] in the order of the files */
    int n_pieces;
    uint64_t total_bytes;
    atomic_uint_fast64_t done_bytes;
    atomic_int failed; /* number of the first piece that holds a number which cannot be encoded; INT_MAX: none */
    double reported;
    unsigned char *scratch; /* [threads][scratch_bytes] */
    size_t scratch_bytes;
};

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

size_t job_bytes(const struct job *job)
{
    const struct row_source *rows = &job->item->rows;
    return job->layout ? job->layout->packed_bytes(rows->n, rows->k)
                       : (size_t)rows->n * (size_t)rows->k * sizeof(float);
}

static bool is_converted(const struct job *job) { return job->layout && job->layout->weight != job->item->rows.dtype; }

/* Bytes of one row as the layout's pack() reads it. */
static size_t packed_row_bytes(const struct job *job)
{
    const struct row_source *rows = &job->item->rows;
    return is_converted(job) ? blocks_bytes(job->layout->weight, (size_t)rows->k) : rows_row_bytes(rows);
}

static int gcd(int a, int b) { return b == 0 ? a : gcd(b, a % b); }

/* Pieces begin with a panel and, where rows are reordered, with a head, so that they can release what they read. */
static int rows_per_piece(const struct job *job)
{
    const struct row_source *rows = &job->item->rows;
    if (!job->layout) return rows->n;
    int unit = job->layout->nr;
    if (rows->order.kind == ORDER_PAIRS) unit = unit / gcd(unit, rows->order.unit) * rows->order.unit;
    const size_t row = rows_row_bytes(rows), fit = row > PIECE_BYTES ? 0 : PIECE_BYTES / row / (size_t)unit;
    return fit ? (int)fit * unit : unit;
}

static int rows_per_stage(const struct job *job)
{
    const size_t panel = packed_row_bytes(job) * (size_t)job->layout->nr;
    const size_t bytes = job->item->rows.transposed ? PIECE_BYTES : STAGE_BYTES;
    const int panels = panel > bytes ? 1 : (int)(bytes / panel);
    return panels * job->layout->nr;
}

static size_t round_up(size_t n) { return (n + STAGE_ALIGNMENT - 1) / STAGE_ALIGNMENT * STAGE_ALIGNMENT; }

/* Rows that are read at once to be converted. */
static int rows_per_reading(const struct job *job)
{
    const struct row_source *rows = &job->item->rows;
    return !rows->transposed ? 1 : rows->n < READING_ROWS ? rows->n : READING_ROWS;
}

/* The row behind the last of a piece. */
static int piece_end(const struct piece *piece)
{
    const int end = piece->row0 + rows_per_piece(piece->job), n = piece->job->item->rows.n;
    return end < n ? end : n;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* What a thread needs for a job: rows of the file, rows of floats, and rows that are ready for pack(). */
struct scratch {
    void *rows, *stage;
    float *floats;
    size_t bytes;
};

static struct scratch scratch_at(const struct job *job, unsigned char *p)
{
    const struct row_source *rows = &job->item->rows;
    const bool converted = job->layout && is_converted(job);
    const int readings = converted ? rows_per_reading(job) : 1;
    struct scratch s = {.rows = p, .bytes = round_up(rows_scratch_bytes(rows, readings))};
    if (converted || rows->k > 1) {
        s.floats = p ? (float *)(void *)(p + s.bytes) : NULL;
        s.bytes += round_up((size_t)readings * (size_t)rows->k * sizeof(float));
    }
    if (job->layout && (is_converted(job) || !rows_direct(rows))) {
        const int n = rows_per_stage(job) < rows->n ? rows_per_stage(job) : rows->n;
        s.stage = p ? p + s.bytes : NULL;
        s.bytes += round_up((size_t)n * packed_row_bytes(job));
    }
    return s;
}

static bool is_encodable(enum dtype type, float x)
{
    return dtype_info(type)->is_float && type != DTYPE_F16 ? isfinite(x) != 0 : fabsf(x) <= LARGEST_ENCODED;
}

/* The first number of a row that `type` cannot hold; -1: none. */
static int first_bad(enum dtype type, const float *x, int k)
{
    for (int i = 0; i < k; i++)
        if (!is_encodable(type, x[i])) return i;
    return -1;
}

/* Rows [row0, row1) of the matrix, in the layout's type, to the stage. False: a number cannot be encoded. */
static bool fill_stage(const struct job *job, const struct scratch *s, int row0, int row1)
{
    const struct row_source *rows = &job->item->rows;
    if (!is_converted(job)) {
        rows_read(rows, s->stage, row0, row1);
        return true;
    }
    const enum dtype type = job->layout->weight;
    const size_t k = (size_t)rows->k;
    unsigned char *to = s->stage;
    for (int row = row0, end; row < row1; row = end) {
        end = row + rows_per_reading(job) < row1 ? row + rows_per_reading(job) : row1;
        rows_read_floats(rows, s->floats, row, end, s->rows);
        for (int i = 0; i < end - row; i++, to += packed_row_bytes(job)) {
            if (first_bad(type, s->floats + (size_t)i * k, rows->k) >= 0) return false;
            quant_encode(type, to, s->floats + (size_t)i * k, k, NULL);
        }
    }
    return true;
}

static bool pack_rows(const struct job *job, const struct scratch *s, int row0, int row1)
{
    const struct row_source *rows = &job->item->rows;
    const size_t row_bytes = packed_row_bytes(job);
    if (!s->stage) {
        job->layout->pack(job->data, rows->data + (size_t)row0 * row_bytes, row_bytes, row0, row1, rows->n, rows->k);
        return true;
    }
    const int step = rows_per_stage(job);
    for (int row = row0; row < row1; row += step) {
        const int end = row + step < row1 ? row + step : row1;
        if (!fill_stage(job, s, row, end)) return false;
        job->layout->pack(job->data, s->stage, row_bytes, row, end, rows->n, rows->k);
    }
    return true;
}

/* A vector; or the taps [n, k] of n channels, as [k, n]. */
static void read_floats(const struct job *job, const struct scratch *s)
{
    const struct row_source *rows = &job->item->rows;
    float *out = job->data;
    for (int i = 0; i < rows->n; i++) {
        float *to = rows->k > 1 ? s->floats : out + i;
        rows_read_float(rows, to, i, s->rows);
        for (int j = 0; rows->k > 1 && j < rows->k; j++) out[(size_t)j * (size_t)rows->n + (size_t)i] = to[j];
    }
}

/* Memory that a file was read into is lost when it is released: not before the last of the pieces that read it. */
static void release_piece(struct packing *p, const struct piece *piece)
{
    const struct row_source *rows = &piece->job->item->rows;
    struct use *use = p->uses ? &p->uses[rows->view - archive_tensor(p->archive, 0)] : NULL;
    if (!use || (use->n_jobs == 1 && !rows->transposed && !rows->scales))
        rows_release(rows, piece->row0, piece_end(piece));
    else if (atomic_fetch_sub(&use->n_pieces, 1) == 1)
        archive_release(p->archive, rows->view);
}

static bool pack_piece(struct packing *p, const struct piece *piece, int thread)
{
    const struct job *job = piece->job;
    const struct row_source *rows = &job->item->rows;
    const int row0 = piece->row0, row1 = piece_end(piece);
    const struct scratch s = scratch_at(job, p->scratch + (size_t)thread * p->scratch_bytes);
    if (!job->layout)
        read_floats(job, &s);
    else if (!pack_rows(job, &s, row0, row1))
        return false;
    release_piece(p, piece);
    atomic_fetch_add_explicit(&p->done_bytes, rows_file_bytes(rows) / (size_t)rows->n * (size_t)(row1 - row0),
                              memory_order_relaxed);
    return true;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

int pack_owner(const struct job *job, int row0, int n_threads)
{
    const size_t before = job->layout && row0 ? job->layout->packed_bytes(row0, job->item->rows.k) : 0;
    return (int)(((uintptr_t)job->data + before) / HUGE_PAGE_BYTES % (unsigned)n_threads);
}

/* A thread's walk over the pieces that are its own. */
struct walk {
    const struct thread *t;
    int ahead;   /* the disk was asked for its pieces before this one, */
    int n_ahead; /* of which so many have not been read yet */
};

static bool is_own(const struct packing *p, const struct thread *t, int i)
{
    return pack_owner(p->pieces[i].job, p->pieces[i].row0, t->n) == t->id;
}

static void prefetch(const struct packing *p, struct walk *w)
{
    const int wanted = PIECES_AHEAD / w->t->n > 1 ? PIECES_AHEAD / w->t->n : 1;
    for (; w->n_ahead < wanted && w->ahead < p->n_pieces; w->ahead++) {
        const struct piece *piece = &p->pieces[w->ahead];
        if (!is_own(p, w->t, w->ahead)) continue;
        rows_prefetch(&piece->job->item->rows, piece->row0, piece_end(piece));
        w->n_ahead++;
    }
}

static void take_piece(struct packing *p, const struct thread *t, struct piece *piece)
{
    const struct bind_options *o = p->options;
    if (atomic_exchange_explicit(&piece->taken, true, memory_order_relaxed)) return;
    int failed = atomic_load_explicit(&p->failed, memory_order_relaxed);
    if (failed < piece->number) return; /* pieces before it are still finished, so the first one is found */
    if (!pack_piece(p, piece, t->id))
        while (piece->number < failed && !atomic_compare_exchange_weak(&p->failed, &failed, piece->number)) continue;
    if (t->id == 0 && o->progress && clock_seconds() - p->reported > 0.1) {
        p->reported = clock_seconds();
        o->progress(o->context, atomic_load(&p->done_bytes), p->total_bytes);
    }
}

/* Every thread packs its own pieces, and then what others have left. */
static void pack_work(struct thread *t, void *context)
{
    struct packing *p = context;
    struct walk walk = {.t = t};
    for (int i = 0; i < p->n_pieces; i++) {
        if (!is_own(p, t, i)) continue;
        prefetch(p, &walk);
        take_piece(p, t, &p->pieces[i]);
        walk.n_ahead--;
    }
    for (int i = 0; i < p->n_pieces; i++) take_piece(p, t, &p->pieces[i]);
}

/* Names the first number of a piece that cannot be encoded. */
static sluice_status fail_piece(const struct packing *p, int number, struct failure *f)
{
    const struct piece *piece = p->pieces;
    while (piece->number != number) piece++;
    const struct job *job = piece->job;
    const struct row_source *rows = &job->item->rows;
    const struct scratch s = scratch_at(job, p->scratch);
    int row = piece->row0, column = -1;
    for (; row < rows->n; row++) {
        rows_read_float(rows, s.floats, row, s.rows);
        column = first_bad(job->layout->weight, s.floats, rows->k);
        if (column >= 0) break;
    }
    const unsigned long long element = column < 0 ? 0 : rows_element(rows, row, column);
    if (column >= 0 && isfinite(s.floats[column]))
        return fail(f, SLUICE_FORMAT, "%s: tensor \"%s\": element %llu: found %g, too large for %s", rows->view->file,
                    rows->view->name, element, (double)s.floats[column], dtype_info(job->layout->weight)->name);
    return fail(f, SLUICE_FORMAT, "%s: tensor \"%s\": element %llu is not finite", rows->view->file, rows->view->name,
                element);
}

static int compare_pieces(const void *first, const void *second)
{
    const struct piece *a = first, *b = second;
    const unsigned char *at_a = a->job->item->rows.data, *at_b = b->job->item->rows.data;
    if (at_a != at_b) return at_a < at_b ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Counts the pieces of all jobs, and lists them where p has room for them. */
static void list_pieces(struct packing *p, const struct job *jobs, size_t n_jobs)
{
    p->n_pieces = 0;
    for (size_t i = 0; i < n_jobs; i++) {
        const struct row_source *rows = &jobs[i].item->rows;
        struct use *use = p->uses ? &p->uses[rows->view - archive_tensor(p->archive, 0)] : NULL;
        if (use) use->n_jobs++;
        for (int row = 0; row < rows->n && !jobs[i].in_place; row += rows_per_piece(&jobs[i])) {
            const int number = p->n_pieces++;
            if (!p->pieces) continue;
            p->pieces[number].job = &jobs[i];
            p->pieces[number].row0 = row;
            p->pieces[number].number = number;
            if (use) atomic_fetch_add_explicit(&use->n_pieces, 1, memory_order_relaxed);
        }
    }
}

sluice_status pack_jobs(const struct job *jobs, size_t n_jobs, const struct archive *a, struct team *team,
                        const struct bind_options *o, struct failure *f)
{
    const bool lost_when_released = archive_is_read(a);
    struct packing p = {.options = o, .archive = a, .reported = clock_seconds()};
    atomic_init(&p.done_bytes, 0);
    atomic_init(&p.failed, INT_MAX);
    for (size_t i = 0; i < n_jobs; i++) {
        const size_t bytes = scratch_at(&jobs[i], NULL).bytes;
        if (jobs[i].in_place) continue;
        p.total_bytes += rows_file_bytes(&jobs[i].item->rows);
        if (bytes > p.scratch_bytes) p.scratch_bytes = bytes;
    }
    list_pieces(&p, jobs, n_jobs);
    p.pieces = memory_calloc((size_t)p.n_pieces, sizeof *p.pieces);
    p.scratch = memory_calloc((size_t)team->n_threads, p.scratch_bytes);
    if (lost_when_released) p.uses = memory_calloc(archive_n_tensors(a), sizeof *p.uses);
    sluice_status s = SLUICE_OK;
    if (p.pieces && p.scratch && (p.uses || !lost_when_released)) {
        list_pieces(&p, jobs, n_jobs);
        qsort(p.pieces, (size_t)p.n_pieces, sizeof *p.pieces, compare_pieces);
        team_run(team, pack_work, &p);
        const int failed = atomic_load(&p.failed);
        if (failed != INT_MAX) s = fail_piece(&p, failed, f);
    } else {
        s = fail(f, SLUICE_MEMORY, "no memory to convert rows");
    }
    memory_free(p.pieces);
    memory_free(p.scratch);
    memory_free(p.uses);
    if (!s && o->progress) o->progress(o->context, p.total_bytes, p.total_bytes);
    return s;
}
