/* Where files meet kernels: archive + rules of the architecture -> struct model.
 *
 * Three passes. Plan (plan.c): find every tensor and check its shape and type; here each planned item becomes a job.
 * Place: measure and carve one arena; matrices that the file holds as a layout wants them may stay where they are.
 * Pack (pack.c): the team works off the jobs. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/memory.h"
#include "model/model.h"
#include "model/pack.h"
#include "model/plan.h"
#include "model/product.h"
#include "weights/archive.h"

enum {
    IN_PLACE_ALIGNMENT = 4, /* of matrices that are read in the file: no float lies across two of these */
    READ_BEHIND = 64,       /* kernels may read so many bytes behind a matrix */
};

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

/* Number of matrices of the bank that begins with job `first`; 1 if it is none. */
static size_t bank_count(const struct binder *b, size_t first)
{
    size_t count = 1;
    while (first + count < b->plan.n && b->plan.items[first + count].expert > 0) count++;
    return count;
}

/* Bytes from one matrix of a bank to the next in the file; 0: the distances differ. */
static size_t file_stride(const struct binder *b, size_t first, size_t count)
{
    const struct row_source *rows = &b->plan.items[first].rows;
    size_t stride = 0;
    for (size_t i = 1; i < count; i++) {
        const struct row_source *next = &b->plan.items[first + i].rows;
        if (next->view->file != rows->view->file || next->data <= b->plan.items[first + i - 1].rows.data) return 0;
        const size_t distance = (size_t)(next->data - b->plan.items[first + i - 1].rows.data);
        if (i > 1 && distance != stride) return 0;
        stride = distance;
    }
    return stride;
}

/* Whether the file's bytes can stand for what `layout` packs: of a matrix, or of all matrices of a bank. */
static bool lies_packed(const struct binder *b, const struct panel_layout *layout, size_t first)
{
    const size_t count = bank_count(b, first), stride = file_stride(b, first, count);
    const struct row_source *rows = &b->plan.items[first].rows, *last = &b->plan.items[first + count - 1].rows;
    if (!layout->file_order || rows->n % layout->nr || (count > 1 && stride == 0)) return false;
    if (((uintptr_t)rows->data | stride) % IN_PLACE_ALIGNMENT) return false;
    for (size_t i = 0; i < count; i++)
        if (!rows_direct(&b->plan.items[first + i].rows)) return false;
    return archive_may_read(b->archive, last->data, layout->packed_bytes(last->n, last->k) + READ_BEHIND);
}

/* Chooses how the matrix of job `i` will lie, and a bank with its first matrix; the others follow it. */
static sluice_status choose_layout(struct binder *b, size_t i, unsigned flags)
{
    struct model *m = b->model;
    struct job *job = &b->jobs[i];
    const struct planned *item = job->item;
    const struct row_source *rows = &item->rows;
    const struct bind_options *o = b->options;
    struct layer *layer = item->layer < 0 ? NULL : &m->layers[item->layer];
    struct weight *w = weight_of(m, layer, item->role);
    if (!w)
        return fail(b->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": has no place in the model", rows->view->file,
                    rows->view->name);
    if (item->expert > 0) {
        job->layout = w->layout;
        job->in_place = job[-1].in_place;
        return SLUICE_OK;
    }
    const enum dtype type = o->convert ? model_load_type(item->role, rows->dtype, rows->k, o->load_as) : rows->dtype;
    *w = (struct weight){.n = rows->n, .k = rows->k, .file_dtype = rows->dtype, .bias = w->bias};
    w->layout = panel_layout_choose(type, rows->n, rows->k, o->features, flags);
    job->in_place = flags & PANEL_FILE && type == rows->dtype && w->layout && lies_packed(b, w->layout, i);
    if (!job->in_place) w->layout = panel_layout_choose(type, rows->n, rows->k, o->features, flags & ~PANEL_FILE);
    job->layout = w->layout;
    if (!w->layout)
        return fail(b->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": no kernel of this machine takes type %s",
                    rows->view->file, rows->view->name, dtype_info(type)->name);
    if (item->expert < 0) return SLUICE_OK;
    struct bank *bank = bank_of(layer, item->role);
    const size_t count = bank_count(b, i);
    bank->n_matrices = (int)count; /* bounded: at most the experts or heads of a layer */
    bank->stride = job->in_place && count > 1 ? file_stride(b, i, count) : weight_bytes(w);
    return SLUICE_OK;
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
    job->target = &weight_of(m, layer, item->role)->data;
    return choose_layout(b, b->n_jobs - 1, b->options->layout_flags);
}

static sluice_status add_jobs(struct binder *b)
{
    b->jobs = memory_calloc(b->plan.n, sizeof *b->jobs);
    if (!b->jobs) return fail_memory(b->failure, archive_name(b->archive));
    for (size_t i = 0; i < b->plan.n; i++) {
        sluice_status s = add_job(b, &b->plan.items[i]);
        if (s) return s;
    }
    return SLUICE_OK;
}

/* Gate and up of an expert read the same packed rows. */
static bool gate_up_alike(const struct binder *b, int l)
{
    const struct layer *layer = &b->model->layers[l];
    return layer->gate.first.layout == layer->up.first.layout ||
           operands_alike(&layer->gate.first, &layer->up.first, b->model->features);
}

/* Gives the gates and ups of these layers other layouts. One pass over all jobs: a file may have millions. */
static sluice_status choose_again(struct binder *b, const bool *layers, unsigned flags)
{
    for (size_t i = 0; i < b->n_jobs; i++) {
        const struct planned *item = b->jobs[i].item;
        if ((item->role != ROLE_EXPERT_GATE && item->role != ROLE_EXPERT_UP) || !layers[item->layer]) continue;
        sluice_status s = choose_layout(b, i, flags);
        if (s) return s;
    }
    return SLUICE_OK;
}

/* Gate and up may be of different types, as quantised files have them, and one of them may have to be packed where the
 * other could stay in the file. If their layouts then take rows packed in different ways, both get others. */
static sluice_status match_gates_up(struct binder *b)
{
    const struct model *m = b->model;
    const unsigned packed = b->options->layout_flags & ~(unsigned)PANEL_FILE, flags[] = {packed, packed | PANEL_FLOAT};
    const int n_layers = m->config.n_layers;
    bool *unlike = memory_calloc((size_t)n_layers, sizeof *unlike);
    if (!unlike) return fail_memory(b->failure, archive_name(b->archive));
    sluice_status s = SLUICE_OK;
    int first = -1;
    for (size_t attempt = 0; !s; attempt++) {
        first = -1;
        for (int l = n_layers - 1; l >= 0; l--) {
            unlike[l] = !gate_up_alike(b, l);
            if (unlike[l]) first = l;
        }
        if (first < 0 || attempt == sizeof flags / sizeof *flags) break;
        s = choose_again(b, unlike, flags[attempt]);
    }
    memory_free(unlike);
    if (s || first < 0) return s;
    const struct layer *layer = &m->layers[first];
    return fail(b->failure, SLUICE_UNSUPPORTED, "%s: layer %d: experts' gate is %s and up is %s, expected one type",
                archive_name(b->archive), first, dtype_info(layer->gate.first.layout->weight)->name,
                dtype_info(layer->up.first.layout->weight)->name);
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
    escape_text(escaped, sizeof escaped, first, strlen(first));
    if (n == 1)
        snprintf(text, sizeof text, "%s: tensor \"%s\" is not used by this architecture", archive_name(b->archive),
                 escaped);
    else
        snprintf(text, sizeof text, "%s: %zu tensors are not used by this architecture, the first is \"%s\"",
                 archive_name(b->archive), n, escaped);
    b->options->warning(b->options->context, text);
}

/* ---- place ------------------------------------------------------------------------------------------------------- */

/* Gives every job its place: in the arena, where the experts of a bank lie one after the other, or in the file. */
static void place_jobs(struct binder *b, struct arena *arena)
{
    struct rope_config *rope = &b->model->config.rope[ROPE_GLOBAL];
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *job = &b->jobs[i];
        if (job->in_place)
            job->data = (void *)job->item->rows.data; /* is only read */
        else if (job->item->expert <= 0)
            job->data = arena_take(arena, bank_count(b, i), job_bytes(job));
        else
            job->data = job[-1].data ? (char *)job[-1].data + job_bytes(job) : NULL;
        if (job->item->expert > 0) continue;
        *(void **)job->target = job->data;
    }
    if (!b->plan.divisors) return;
    const size_t bytes = (size_t)b->plan.divisors->bytes; /* bounded: the tensor lies in its file */
    void *divisors = arena_take(arena, 1, bytes);
    if (divisors) memcpy(divisors, b->plan.divisors->data, bytes);
    rope->divisors = divisors;
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

/* What is counted lies in files that are mapped, with at most 32 elements or bytes here for one byte there. */
static void count_sizes(struct binder *b)
{
    struct model *m = b->model;
    uint64_t by_dtype[N_DTYPES] = {0};
    for (size_t i = 0; i < b->n_jobs; i++) {
        const struct job *job = &b->jobs[i];
        const struct row_source *rows = &job->item->rows;
        const uint64_t elements = (uint64_t)rows->n * (uint64_t)rows->k;
        *(job->in_place ? &m->mapped_bytes : &m->weight_bytes) += job_bytes(job);    /* bounded: lies in files */
        by_dtype[job->layout ? job->layout->weight : rows->dtype] += job_bytes(job); /* bounded: the same */
        if (job->item->role == ROLE_K_B) continue;                                   /* the same numbers as K_B_T */
        m->n_parameters += elements;                                                 /* bounded: the same */
        m->file_bytes += rows_file_bytes(rows);                                      /* bounded: the same */
        if (is_active(m, job->item)) m->n_active_parameters += elements;             /* bounded: the same */
    }
    for (int t = 0; t < N_DTYPES; t++)
        if (by_dtype[t] > by_dtype[m->main_dtype]) m->main_dtype = (enum dtype)t;
}

/* Bytes of weights that would be packed all the same if matrices were read where they lie in the file. */
static uint64_t bytes_beside_file(const struct binder *b)
{
    const struct bind_options *o = b->options;
    uint64_t bytes = 0;
    for (size_t i = 0; i < b->n_jobs; i++) {
        const struct job *job = &b->jobs[i];
        const struct row_source *rows = &job->item->rows;
        if (!job->layout) bytes += job_bytes(job);           /* bounded: lies in files */
        if (!job->layout || job->item->expert > 0) continue; /* a bank is asked for its first matrix */
        const struct panel_layout *layout =
            panel_layout_choose(rows->dtype, rows->n, rows->k, o->features, o->layout_flags | PANEL_FILE);
        if (layout && lies_packed(b, layout, i)) continue;
        layout = panel_layout_choose(rows->dtype, rows->n, rows->k, o->features, o->layout_flags);
        if (layout) bytes += bank_count(b, i) * layout->packed_bytes(rows->n, rows->k); /* bounded: as in the files */
    }
    return bytes;
}

/* For sentences: what is beyond 64 bits is as good as the largest number. */
static uint64_t sum_of(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return checked_add(&sum, a, b) ? sum : UINT64_MAX;
}

/* The sentence about a model that does not fit: the sum, and what would fit. */
static sluice_status fail_sum(const struct binder *b, uint64_t available, uint64_t session)
{
    const unsigned flags = b->options->layout_flags;
    const uint64_t weights = b->model->weight_bytes, reserve = session ? session : available / 16;
    const uint64_t budget = available > reserve ? available - reserve : 0;
    uint64_t smaller = 0;
    char sum[96] = "", advice[160], in_file[96] = "", word[TYPE_WORD_BYTES], size[2][SIZE_BYTES];
    model_type_word(model_smaller_type(b->model, budget, &smaller), word);
    if (session)
        snprintf(sum, sizeof sum, " and the session %s, together %s", size_text(size[0], session),
                 size_text(size[1], sum_of(weights, session)));
    if (smaller < weights)
        snprintf(advice, sizeof advice, ": --load-as %s, or a file written by quantize --type %s, would %sneed %s",
                 word, word, smaller <= budget ? "" : "still ", size_text(size[0], sum_of(smaller, session)));
    else
        snprintf(advice, sizeof advice, ", and no type of --load-as or quantize needs less");
    const uint64_t beside = flags & (PANEL_FILE | PANEL_BLAS) ? weights : bytes_beside_file(b);
    if (beside < weights && beside <= budget)
        snprintf(in_file, sizeof in_file, "; --no-repack instead reads weights in the file and needs %s",
                 size_text(size[0], sum_of(beside, session)));
    return fail(b->failure, SLUICE_MEMORY, "%s: the weights need %s%s, %s are available%s%s", archive_name(b->archive),
                size_text(size[0], weights), sum, size_text(size[1], available), advice, in_file);
}

/* A model that does not fit would be killed by the system much later, without a word. */
static sluice_status check_memory(const struct binder *b)
{
    const struct bind_options *o = b->options;
    const uint64_t session = o->session_bytes ? o->session_bytes(o->session_context) : 0;
    const uint64_t available = memory_available();
    uint64_t needed;
    if (available == 0 || (checked_add(&needed, b->model->weight_bytes, session) && needed <= available))
        return SLUICE_OK;
    return fail_sum(b, available, session);
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static sluice_status bind_tensors(struct binder *b, struct team *team)
{
    struct model *m = b->model;
    sluice_status s = plan_tensors(&b->plan, &m->config, b->archive, b->failure);
    if (!s) s = add_jobs(b);
    if (!s) s = match_gates_up(b);
    if (s) return s;
    warn_unused(b);
    count_sizes(b);
    if (m->config.tied_embeddings) m->head = m->embedding;
    if (!b->options->load_weights) return SLUICE_OK;
    s = check_memory(b);
    if (!s) s = archive_read_tensors(b->archive, b->failure);
    for (size_t i = 0; i < b->plan.n && !s; i++) s = rows_check_scales(&b->plan.items[i].rows, b->failure);
    if (s) return s;
    place_jobs(b, &m->arena);
    if (!arena_commit(&m->arena, true))
        return fail(b->failure, SLUICE_MEMORY, "%s: no memory for %s of weights", archive_name(b->archive),
                    size_text((char[SIZE_BYTES]){0}, m->arena.used));
    place_jobs(b, &m->arena);
    if (m->config.tied_embeddings) m->head = m->embedding;
    return pack_jobs(b->jobs, b->n_jobs, b->archive, team, b->options, b->failure);
}

sluice_status model_bind(struct model *m, const struct archive *a, struct team *team, const struct bind_options *o,
                         struct failure *f)
{
    *m = (struct model){
        .features = o->features, .exact = o->exact, .attention_rounds = !o->exact && !(o->layout_flags & PANEL_FLOAT)};
    struct binder b = {.model = m, .archive = a, .options = o, .failure = f};
    sluice_status s = config_read(&m->config, &m->generation, a, f);
    if (s) return s;
    m->layers = memory_calloc((size_t)m->config.n_layers, sizeof *m->layers);
    if (!m->layers) {
        s = fail_memory(f, archive_name(a));
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
