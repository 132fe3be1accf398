/* Where files meet kernels: archive + rules of the architecture -> struct model.
 *
 * Three passes. Plan (plan.c): find every tensor and check its shape and type; here each planned item becomes a job.
 * Place: measure and carve one arena. Pack: the team works off the jobs in pieces, releasing the pages of the file
 * behind it. Rows that lie in the file as the layout wants them go from the map straight into their panels; others pass
 * through a buffer of their thread:
 *
 *   file -> rows_read -> stage -> pack                                       other orders, transposed, FP8, MXFP4
 *   file -> rows_read_floats -> floats -> quant_encode -> stage -> pack      another type is asked for */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "model/model.h"
#include "model/plan.h"
#include "model/product.h"
#include "quant/codec.h"
#include "weights/archive.h"

/* One matrix (or vector) to be brought from the files into the model. */
struct job {
    const struct planned *item;
    void *target;                      /* the pointer in struct model that receives the address; see place_jobs */
    const struct panel_layout *layout; /* NULL: a vector of floats */
    void *data;                        /* where it goes, after placing */
    int first_piece;                   /* running number of its first piece */
};

enum {
    PIECE_BYTES = 1 << 20, /* of source, about: small enough to balance, large enough to forget the counter */
    STAGE_BYTES = 1 << 17, /* of packed rows, about: stays in the cache of its thread */
    STAGE_ALIGNMENT = 64,
    READING_ROWS = 128, /* of a transposed matrix, at once: each walk over it fetches a line or more of every row */
};
/* The largest number that a half can hold: scales of blocks are halves, and no scale is larger than the numbers. */
static const float LARGEST_ENCODED = 65504.0f;

struct binder {
    struct model *model;
    const struct archive *archive;
    const struct bind_options *options;
    struct failure *failure;
    struct plan plan;
    struct job *jobs; /* [plan.n] */
    size_t n_jobs;
};

/* ---- plan -------------------------------------------------------------------------------------------------------- */

static struct weight *weight_of(struct model *m, struct layer *layer, enum tensor_role role)
{
    switch (role) {
    case ROLE_EMBEDDING: return &m->embedding;
    case ROLE_HEAD: return &m->head;
    case ROLE_Q: return &layer->q;
    case ROLE_K: return &layer->k;
    case ROLE_V: return &layer->v;
    case ROLE_O: return &layer->o;
    case ROLE_Q_A: return &layer->mla.q_a;
    case ROLE_KV_A: return &layer->mla.kv_a;
    case ROLE_K_B: return &layer->mla.k_b.first;
    case ROLE_K_B_T: return &layer->mla.k_b_t.first;
    case ROLE_V_B: return &layer->mla.v_b.first;
    case ROLE_DELTA_QKV: return &layer->delta.qkv;
    case ROLE_DELTA_Z: return &layer->delta.z;
    case ROLE_DELTA_BA: return &layer->delta.ba;
    case ROLE_DELTA_B: return &layer->delta.b;
    case ROLE_DELTA_A: return &layer->delta.a;
    case ROLE_CONV_IN: return &layer->conv_in;
    case ROLE_GATE: return &layer->dense.gate;
    case ROLE_UP: return &layer->dense.up;
    case ROLE_DOWN: return &layer->dense.down;
    case ROLE_ROUTER: return &layer->router;
    case ROLE_EXPERT_GATE: return &layer->gate.first;
    case ROLE_EXPERT_UP: return &layer->up.first;
    case ROLE_EXPERT_DOWN: return &layer->down.first;
    case ROLE_SHARED_GATE: return &layer->shared.gate;
    case ROLE_SHARED_UP: return &layer->shared.up;
    case ROLE_SHARED_DOWN: return &layer->shared.down;
    case ROLE_SHARED_SWITCH: return &layer->shared_switch;
    default: return NULL;
    }
}

static const float **vector_of(struct model *m, struct layer *layer, enum tensor_role role)
{
    switch (role) {
    case ROLE_FINAL_NORM: return &m->final_norm;
    case ROLE_MIXER_NORM: return &layer->mixer_norm;
    case ROLE_FFN_NORM: return &layer->ffn_norm;
    case ROLE_MIXER_POST_NORM: return &layer->mixer_post_norm;
    case ROLE_FFN_POST_NORM: return &layer->ffn_post_norm;
    case ROLE_LAYER_SCALE: return &layer->layer_scale;
    case ROLE_SINKS: return &layer->sinks;
    case ROLE_Q_A_NORM: return &layer->mla.q_a_norm;
    case ROLE_KV_A_NORM: return &layer->mla.kv_a_norm;
    case ROLE_DELTA_DECAY: return &layer->delta.rate;
    case ROLE_DELTA_DT_BIAS: return &layer->delta.dt_bias;
    case ROLE_DELTA_NORM: return &layer->delta.norm;
    case ROLE_CONV: return &layer->conv;
    case ROLE_ROUTER_BIAS: return &layer->router.bias;
    case ROLE_SELECTION_BIAS: return &layer->selection_bias;
    case ROLE_ROUTER_SCALE: return &layer->router_scale;
    case ROLE_EXPERT_SCALE: return &layer->expert_scale;
    case ROLE_EXPERT_GATE_BIAS: return &layer->gate.first.bias;
    case ROLE_EXPERT_UP_BIAS: return &layer->up.first.bias;
    case ROLE_EXPERT_DOWN_BIAS: return &layer->down.first.bias;
    case ROLE_MLP_POST_NORM: return &layer->mlp_post_norm;
    case ROLE_MOE_NORM: return &layer->moe_norm;
    case ROLE_MOE_POST_NORM: return &layer->moe_post_norm;
    case ROLE_Q_BIAS: return &layer->q.bias;
    case ROLE_K_BIAS: return &layer->k.bias;
    case ROLE_V_BIAS: return &layer->v.bias;
    case ROLE_O_BIAS: return &layer->o.bias;
    case ROLE_GATE_BIAS: return &layer->dense.gate.bias;
    case ROLE_UP_BIAS: return &layer->dense.up.bias;
    case ROLE_DOWN_BIAS: return &layer->dense.down.bias;
    case ROLE_Q_NORM: return &layer->q_norm;
    case ROLE_K_NORM: return &layer->k_norm;
    default: return NULL;
    }
}

static struct bank *bank_of(struct layer *layer, enum tensor_role role)
{
    switch (role) {
    case ROLE_EXPERT_GATE: return &layer->gate;
    case ROLE_EXPERT_UP: return &layer->up;
    case ROLE_EXPERT_DOWN: return &layer->down;
    case ROLE_K_B: return &layer->mla.k_b;
    case ROLE_K_B_T: return &layer->mla.k_b_t;
    default: return &layer->mla.v_b;
    }
}

/* What routes or decays is small and steers everything; the two forms of a latent's keys must be the same numbers, and
 * rounding in blocks along their different rows would make them two. */
static bool keeps_type(enum tensor_role role)
{
    switch (role) {
    case ROLE_ROUTER:
    case ROLE_SHARED_SWITCH:
    case ROLE_DELTA_BA:
    case ROLE_DELTA_B:
    case ROLE_DELTA_A:
    case ROLE_K_B:
    case ROLE_K_B_T: return true;
    default: return false;
    }
}

enum dtype model_load_type(enum tensor_role role, enum dtype file, int k, enum dtype load_as)
{
    const size_t whole = DTYPE_MAX_BLOCK_ELEMENTS; /* a multiple of every block */
    if (keeps_type(role)) return file;
    bool counts_twice = role == ROLE_HEAD || role == ROLE_EMBEDDING;
    if (counts_twice && blocks_bytes(load_as, whole) < blocks_bytes(DTYPE_Q6_K, whole)) load_as = DTYPE_Q6_K;
    enum dtype t = dtype_that_fits(load_as, (uint64_t)k);
    if (t == N_DTYPES) return file;
    const bool blocks =
        !dtype_info(file)->is_float && !dtype_info(t)->is_float; /* coarse already: only to be smaller */
    return blocks && blocks_bytes(t, whole) >= blocks_bytes(file, whole) ? file : t;
}

/* Chooses how a matrix will lie. */
static sluice_status choose_layout(struct binder *b, struct weight *w, const struct planned *item)
{
    const struct row_source *rows = &item->rows;
    const struct bind_options *o = b->options;
    enum dtype type = o->convert ? model_load_type(item->role, rows->dtype, rows->k, o->load_as) : rows->dtype;
    w->n = rows->n;
    w->k = rows->k;
    w->file_dtype = rows->dtype;
    w->layout = panel_layout_choose(type, rows->n, rows->k, o->features, o->layout_flags);
    if (w->layout) return SLUICE_OK;
    return fail(b->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": no kernel of this machine takes type %s",
                rows->view->file, rows->view->name, dtype_info(type)->name);
}

static sluice_status add_job(struct binder *b, const struct planned *item)
{
    struct model *m = b->model;
    struct layer *layer = item->layer < 0 ? NULL : &m->layers[item->layer];
    struct job *job = &b->jobs[b->n_jobs++];
    job->item = item;
    if (item->is_vector) {
        job->target = vector_of(m, layer, item->role);
        return SLUICE_OK;
    }
    struct weight *w = weight_of(m, layer, item->role);
    if (item->expert <= 0) {
        sluice_status s = choose_layout(b, w, item);
        if (s) return s;
    }
    if (item->expert >= 0) {
        struct bank *bank = bank_of(layer, item->role);
        bank->n_matrices = item->expert + 1;
        bank->stride = weight_bytes(w);
    }
    job->target = &w->data;
    job->layout = w->layout;
    return SLUICE_OK;
}

static sluice_status add_jobs(struct binder *b)
{
    b->jobs = memory_calloc(b->plan.n, sizeof *b->jobs);
    if (!b->jobs) return fail(b->failure, SLUICE_MEMORY, "no memory for the list of tensors");
    for (size_t i = 0; i < b->plan.n; i++) {
        sluice_status s = add_job(b, &b->plan.items[i]);
        if (s) return s;
    }
    return SLUICE_OK;
}

/* Gate and up of an expert read the same packed rows. They may be of different types, as quantised files have them,
 * unless one's kernel packs in a way of its own (OpenBLAS). */
static sluice_status check_gate_up(struct binder *b)
{
    for (int l = 0; l < b->model->config.n_layers; l++) {
        const struct layer *layer = &b->model->layers[l];
        if (layer->gate.first.layout == layer->up.first.layout) continue;
        if (!operands_alike(&layer->gate.first, &layer->up.first, b->model->features))
            return fail(b->failure, SLUICE_UNSUPPORTED,
                        "%s: layer %d: experts' gate is %s and up is %s, expected one type", archive_name(b->archive),
                        l, dtype_info(layer->gate.first.layout->weight)->name,
                        dtype_info(layer->up.first.layout->weight)->name);
    }
    return SLUICE_OK;
}

/* Tensors that no rule asked for. */
static void warn_unused(const struct binder *b)
{
    if (!b->options->warning) return;
    size_t n = 0;
    const char *first = NULL;
    for (size_t i = 0; i < archive_n_tensors(b->archive); i++) {
        const char *name = archive_tensor(b->archive, i)->name;
        if (b->plan.used[i] || plan_is_stray(&b->model->config, name)) continue;
        if (n++ == 0) first = name;
    }
    if (n == 0) return;
    char text[512], escaped[ESCAPED_BYTES];
    snprintf(text, sizeof text, "%s: %zu tensors are not used by this architecture, the first is \"%s\"",
             archive_name(b->archive), n, escape_text(escaped, sizeof escaped, first, strlen(first)));
    b->options->warning(b->options->context, text);
}

/* ---- place ------------------------------------------------------------------------------------------------------- */

static size_t job_bytes(const struct job *job)
{
    const struct row_source *rows = &job->item->rows;
    return job->layout ? job->layout->packed_bytes(rows->n, rows->k)
                       : (size_t)rows->n * (size_t)rows->k * sizeof(float);
}

/* Gives every job its place in the arena; the experts of a bank lie one after the other. */
static void place_jobs(struct binder *b, struct arena *arena)
{
    struct rope_config *rope = &b->model->config.rope[ROPE_GLOBAL];
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *job = &b->jobs[i];
        if (job->item->expert > 0) {
            job->data = b->jobs[i - 1].data ? (char *)b->jobs[i - 1].data + job_bytes(job) : NULL;
            continue;
        }
        size_t count = 1;
        while (i + count < b->n_jobs && b->jobs[i + count].item->expert > 0) count++;
        job->data = arena_take(arena, count, job_bytes(job));
        *(void **)job->target = job->data;
    }
    if (!b->plan.divisors) return;
    void *divisors = arena_take(arena, 1, b->plan.divisors->bytes);
    if (divisors) memcpy(divisors, b->plan.divisors->data, b->plan.divisors->bytes);
    rope->divisors = divisors;
}

/* ---- pack -------------------------------------------------------------------------------------------------------- */

struct packing {
    struct binder *binder;
    int n_pieces;
    uint64_t total_bytes;
    atomic_uint_fast64_t done_bytes;
    atomic_int failed_piece; /* the first one that holds a number which cannot be encoded; INT_MAX: none */
    double reported;
    unsigned char *scratch; /* [threads][scratch_bytes] */
    size_t scratch_bytes;
};

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

static bool pack_piece(struct packing *p, const struct job *job, int piece, int thread)
{
    const struct row_source *rows = &job->item->rows;
    const int step = rows_per_piece(job), row0 = piece * step, row1 = row0 + step < rows->n ? row0 + step : rows->n;
    const struct scratch s = scratch_at(job, p->scratch + (size_t)thread * p->scratch_bytes);
    if (!job->layout)
        read_floats(job, &s);
    else if (!pack_rows(job, &s, row0, row1))
        return false;
    rows_release(rows, row0, row1);
    atomic_fetch_add_explicit(&p->done_bytes, rows_file_bytes(rows) / (size_t)rows->n * (size_t)(row1 - row0),
                              memory_order_relaxed);
    return true;
}

static void pack_work(struct thread *t, void *context)
{
    struct packing *p = context;
    struct binder *b = p->binder;
    const struct bind_options *o = b->options;
    size_t j = 0;
    for (int piece; (piece = team_next(t, 0)) < p->n_pieces;) {
        int failed = atomic_load_explicit(&p->failed_piece, memory_order_relaxed);
        if (failed < piece) return; /* pieces before it are still finished, so the first one is found */
        while (j + 1 < b->n_jobs && b->jobs[j + 1].first_piece <= piece) j++;
        if (!pack_piece(p, &b->jobs[j], piece - b->jobs[j].first_piece, t->id))
            while (piece < failed && !atomic_compare_exchange_weak(&p->failed_piece, &failed, piece)) continue;
        if (t->id == 0 && o->progress && clock_seconds() - p->reported > 0.1) {
            p->reported = clock_seconds();
            o->progress(o->context, atomic_load(&p->done_bytes), p->total_bytes);
        }
    }
}

/* Names the first number of a piece that cannot be encoded. */
static sluice_status fail_piece(struct packing *p, int piece)
{
    const struct binder *b = p->binder;
    size_t j = 0;
    while (j + 1 < b->n_jobs && b->jobs[j + 1].first_piece <= piece) j++;
    const struct job *job = &b->jobs[j];
    const struct row_source *rows = &job->item->rows;
    const struct scratch s = scratch_at(job, p->scratch);
    int row = (piece - job->first_piece) * rows_per_piece(job), column = -1;
    for (; row < rows->n; row++) {
        rows_read_float(rows, s.floats, row, s.rows);
        column = first_bad(job->layout->weight, s.floats, rows->k);
        if (column >= 0) break;
    }
    const unsigned long long element = column < 0 ? 0 : rows_element(rows, row, column);
    if (column >= 0 && isfinite(s.floats[column]))
        return fail(b->failure, SLUICE_FORMAT, "%s: tensor \"%s\": element %llu: found %g, too large for %s",
                    rows->view->file, rows->view->name, element, (double)s.floats[column],
                    dtype_info(job->layout->weight)->name);
    return fail(b->failure, SLUICE_FORMAT, "%s: tensor \"%s\": element %llu is not finite", rows->view->file,
                rows->view->name, element);
}

static sluice_status pack_jobs(struct binder *b, struct team *team)
{
    struct packing p = {.binder = b, .reported = clock_seconds()};
    atomic_init(&p.done_bytes, 0);
    atomic_init(&p.failed_piece, INT_MAX);
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *job = &b->jobs[i];
        const int rows = rows_per_piece(job);
        const size_t bytes = scratch_at(job, NULL).bytes;
        job->first_piece = p.n_pieces;
        p.n_pieces += (job->item->rows.n + rows - 1) / rows;
        p.total_bytes += rows_file_bytes(&job->item->rows);
        if (bytes > p.scratch_bytes) p.scratch_bytes = bytes;
    }
    p.scratch = memory_calloc((size_t)team->n_threads, p.scratch_bytes);
    if (!p.scratch) return fail(b->failure, SLUICE_MEMORY, "no memory to convert rows");
    atomic_store(&team->counters[0], 0);
    team_run(team, pack_work, &p);
    const int failed = atomic_load(&p.failed_piece);
    sluice_status s = failed == INT_MAX ? SLUICE_OK : fail_piece(&p, failed);
    memory_free(p.scratch);
    if (!s && b->options->progress) b->options->progress(b->options->context, p.total_bytes, p.total_bytes);
    return s;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static bool is_of_experts(enum tensor_role role)
{
    return role == ROLE_EXPERT_GATE || role == ROLE_EXPERT_UP || role == ROLE_EXPERT_DOWN ||
           role == ROLE_EXPERT_GATE_BIAS || role == ROLE_EXPERT_UP_BIAS || role == ROLE_EXPERT_DOWN_BIAS;
}

/* Whether one token meets this item. Of the experts it chooses top_k, and experts are equal. */
static bool is_active(const struct model *m, const struct planned *item)
{
    if (item->role == ROLE_EMBEDDING) return m->config.tied_embeddings;
    return !is_of_experts(item->role) || item->expert < m->config.layers[item->layer].router.top_k;
}

static void count_sizes(struct binder *b)
{
    struct model *m = b->model;
    uint64_t by_dtype[N_DTYPES] = {0};
    for (size_t i = 0; i < b->n_jobs; i++) {
        const struct job *job = &b->jobs[i];
        const struct row_source *rows = &job->item->rows;
        const uint64_t elements = (uint64_t)rows->n * (uint64_t)rows->k;
        m->weight_bytes += job_bytes(job);
        by_dtype[is_converted(job) ? job->layout->weight : rows->dtype] += (uint64_t)rows->n * packed_row_bytes(job);
        if (job->item->role == ROLE_K_B) continue; /* the same numbers as K_B_T */
        m->n_parameters += elements;
        m->file_bytes += rows_file_bytes(rows);
        if (is_active(m, job->item)) m->n_active_parameters += elements;
    }
    for (int t = 0; t < N_DTYPES; t++)
        if (by_dtype[t] > by_dtype[m->main_dtype]) m->main_dtype = (enum dtype)t;
}

/* A model that does not fit would be killed by the system much later, without a word. */
static sluice_status check_memory(const struct binder *b)
{
    uint64_t available = memory_available(), needed = b->model->weight_bytes, smaller = 0;
    if (available == 0 || needed <= available) return SLUICE_OK;
    const uint64_t budget = available - available / 16; /* a session needs room as well */
    enum dtype type = model_smaller_type(b->model, budget, &smaller);
    char word[TYPE_WORD_BYTES];
    if (smaller >= needed)
        return fail(b->failure, SLUICE_MEMORY,
                    "%s: the weights need %.1f GB, %.1f GB are available, and no type of --load-as needs less",
                    archive_name(b->archive), (double)needed * 1e-9, (double)available * 1e-9);
    return fail(b->failure, SLUICE_MEMORY,
                "%s: the weights need %.1f GB, %.1f GB are available: --load-as %s would %sneed %.1f GB",
                archive_name(b->archive), (double)needed * 1e-9, (double)available * 1e-9, model_type_word(type, word),
                smaller <= budget ? "" : "still ", (double)smaller * 1e-9);
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static sluice_status bind_tensors(struct binder *b, struct team *team)
{
    struct model *m = b->model;
    sluice_status s = plan_tensors(&b->plan, &m->config, b->archive, b->failure);
    if (!s) s = add_jobs(b);
    if (!s) s = check_gate_up(b);
    if (s) return s;
    warn_unused(b);
    count_sizes(b);
    if (!b->options->load_weights) {
        if (m->config.tied_embeddings) m->head = m->embedding;
        return SLUICE_OK;
    }
    s = check_memory(b);
    for (size_t i = 0; i < b->plan.n && !s; i++) s = rows_check_scales(&b->plan.items[i].rows, b->failure);
    if (s) return s;
    place_jobs(b, &m->arena);
    if (!arena_commit(&m->arena, true))
        return fail(b->failure, SLUICE_MEMORY, "%s: no memory for %.1f GB of weights", archive_name(b->archive),
                    (double)m->arena.used * 1e-9);
    place_jobs(b, &m->arena);
    if (m->config.tied_embeddings) m->head = m->embedding;
    return pack_jobs(b, team);
}

sluice_status model_bind(struct model *m, const struct archive *a, struct team *team, const struct bind_options *o,
                         struct failure *f)
{
    *m = (struct model){.features = o->features};
    struct binder b = {.model = m, .archive = a, .options = o, .failure = f};
    sluice_status s = config_read(&m->config, &m->generation, a, f);
    if (s) return s;
    m->layers = memory_calloc((size_t)m->config.n_layers, sizeof *m->layers);
    if (!m->layers) {
        s = fail(f, SLUICE_MEMORY, "no memory for the list of tensors");
    } else {
        for (int l = 0; l < m->config.n_layers; l++) m->layers[l].config = &m->config.layers[l];
        s = bind_tensors(&b, team);
    }
    plan_free(&b.plan);
    memory_free(b.jobs);
    if (s) model_free(m);
    return s;
}

void model_free(struct model *m)
{
    arena_free(&m->arena);
    memory_free(m->layers);
    config_free(&m->config);
    m->layers = NULL;
}

size_t weight_bytes(const struct weight *w) { return w->layout->packed_bytes(w->n, w->k); }
