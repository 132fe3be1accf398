/* Where files meet kernels: archive + rules of the architecture -> struct model.
 *
 * Three passes. Plan: walk the rules layer by layer, find every tensor, check its shape and type, and write one job
 * per matrix or vector; all missing tensors are collected and named at once. Place: measure and carve one arena.
 * Pack: the team works off the jobs in pieces, releasing the pages of the file behind it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/float16.h"
#include "base/memory.h"
#include "model/arch.h"
#include "model/model.h"
#include "weights/archive.h"

/* One matrix (or vector) to be brought from a tensor into the model. */
struct job {
    const struct tensor_view *view;
    const unsigned char *source;       /* first row within the view's data */
    void *target;                      /* the pointer in struct model that receives the address; see place_jobs */
    const struct panel_layout *layout; /* NULL: a vector of floats */
    int n, k;                          /* vector: n floats, k == 1 */
    int expert;      /* >= 0: this job is expert number `expert` of the bank whose first job set `target` */
    void *data;      /* where it goes, after placing */
    int first_piece; /* running number of its first piece */
};

enum { PIECE_BYTES = 1 << 20 }; /* of source, about: small enough to balance, large enough to forget the counter */

struct binder {
    struct model *model;
    const struct archive *archive;
    const struct bind_options *options;
    struct failure *failure;
    struct job *jobs;
    size_t n_jobs, cap_jobs;
    char missing[2048];
    size_t n_missing;
    bool missing_is_cut; /* some names found no room */
    bool *used; /* [archive_n_tensors] */
};

/* ---- plan -------------------------------------------------------------------------------------------------------- */

static int size_of(const struct model_config *c, const struct layer_config *layer, enum tensor_size size)
{
    switch (size) {
    case SIZE_NONE:
    case SIZE_ONE: return 1;
    case SIZE_HIDDEN: return c->hidden_size;
    case SIZE_VOCAB: return c->vocab_size;
    case SIZE_Q: return layer->mixer.n_heads * layer->mixer.head_dim;
    case SIZE_KV: return layer->mixer.n_kv_heads * layer->mixer.head_dim;
    case SIZE_HEAD: return layer->mixer.head_dim;
    case SIZE_FFN: return layer->ffn.intermediate_size;
    case SIZE_SHARED_FFN: return layer->ffn.shared_intermediate_size;
    case SIZE_EXPERTS: return layer->router.n_experts;
    }
    return 0;
}

static bool is_needed(const struct model_config *c, const struct layer_config *layer, enum tensor_need need)
{
    switch (need) {
    case NEED_ALWAYS: return true;
    case NEED_UNLESS_TIED: return !c->tied_embeddings;
    case NEED_DENSE: return layer->ffn.kind == FFN_DENSE;
    case NEED_MOE: return layer->ffn.kind == FFN_MOE;
    case NEED_SHARED: return layer->ffn.kind == FFN_MOE && layer->ffn.shared != SHARED_NONE;
    case NEED_QKV_BIAS: return layer->mixer.qkv_bias;
    case NEED_OUTPUT_BIAS: return layer->mixer.output_bias;
    case NEED_HEAD_NORM: return layer->mixer.qk_norm == QK_NORM_PER_HEAD;
    case NEED_FULL_NORM: return layer->mixer.qk_norm == QK_NORM_FULL;
    case NEED_MLP_BIAS: return layer->ffn.kind == FFN_DENSE && layer->ffn.bias;
    }
    return false;
}

/* Replaces {l} and {e} in a name pattern. */
static void expand_name(char *out, size_t cap, const char *pattern, int l, const char *e)
{
    size_t n = 0;
    for (const char *p = pattern; *p && n + 16 < cap;) {
        if (strncmp(p, "{l}", 3) == 0) {
            n += (size_t)snprintf(out + n, cap - n, "%d", l);
            p += 3;
        } else if (strncmp(p, "{e}", 3) == 0) {
            n += (size_t)snprintf(out + n, cap - n, "%s", e);
            p += 3;
        } else {
            out[n++] = *p++;
        }
    }
    out[n] = 0;
}

static const struct tensor_view *find_expert(const struct binder *b, const char *pattern, int l, int e, char *name,
                                             size_t cap)
{
    char number[16];
    snprintf(number, sizeof number, "%d", e);
    expand_name(name, cap, pattern, l, number);
    return archive_find(b->archive, name);
}

static void note_missing(struct binder *b, const char *name)
{
    size_t n = strlen(b->missing);
    if (n + strlen(name) + 3 < sizeof b->missing)
        snprintf(b->missing + n, sizeof b->missing - n, "%s%s", n ? ", " : "", name);
    else
        b->missing_is_cut = true;
    b->n_missing++;
}

/* Missing experts of one layer are named as ranges: model.layers.3.mlp.experts.{4..7}.up_proj.weight. */
static void note_missing_experts(struct binder *b, const struct tensor_rule *rule, int l, int n_experts)
{
    char name[256], range[48];
    for (int e = 0; e < n_experts; e++) {
        if (find_expert(b, rule->name, l, e, name, sizeof name)) continue;
        int last = e;
        while (last + 1 < n_experts && !find_expert(b, rule->name, l, last + 1, name, sizeof name)) last++;
        snprintf(range, sizeof range, e == last ? "%d" : "{%d..%d}", e, last);
        expand_name(name, sizeof name, rule->name, l, range);
        note_missing(b, name);
        e = last;
    }
}

static sluice_status check_view(struct binder *b, const struct tensor_view *view, const uint64_t *shape, int n_dims)
{
    bool equal = view->n_dims == n_dims;
    for (int i = 0; equal && i < n_dims; i++) equal = view->shape[i] == shape[i];
    if (!equal) {
        char found[160] = "", expected[96] = "";
        for (int i = 0; i < view->n_dims; i++)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%llu", i ? "," : "",
                     (unsigned long long)view->shape[i]);
        for (int i = 0; i < n_dims; i++)
            snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%llu", i ? "," : "",
                     (unsigned long long)shape[i]);
        return fail(b->failure, SLUICE_FORMAT, "%s: tensor \"%s\": shape [%s], expected [%s]", view->file, view->name,
                    found, expected);
    }
    if (!dtype_info(view->dtype)->is_float)
        return fail(b->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": type %s, expected F32, F16 or BF16", view->file,
                    view->name, dtype_info(view->dtype)->name);
    return SLUICE_OK;
}

static sluice_status add_job(struct binder *b, const struct job *job)
{
    if (b->n_jobs == b->cap_jobs) {
        size_t cap = b->cap_jobs ? 2 * b->cap_jobs : 256;
        struct job *grown = memory_realloc(b->jobs, cap * sizeof *grown);
        if (!grown) return fail(b->failure, SLUICE_MEMORY, "no memory for the list of tensors");
        b->jobs = grown;
        b->cap_jobs = cap;
    }
    b->jobs[b->n_jobs++] = *job;
    return SLUICE_OK;
}

static struct weight *weight_of(struct model *m, struct layer *layer, enum tensor_role role)
{
    switch (role) {
    case ROLE_EMBEDDING: return &m->embedding;
    case ROLE_HEAD: return &m->head;
    case ROLE_Q: return &layer->q;
    case ROLE_K: return &layer->k;
    case ROLE_V: return &layer->v;
    case ROLE_O: return &layer->o;
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

static struct expert_bank *bank_of(struct layer *layer, enum tensor_role role)
{
    return role == ROLE_EXPERT_GATE ? &layer->gate : role == ROLE_EXPERT_UP ? &layer->up : &layer->down;
}

static void mark_used(struct binder *b, const struct tensor_view *view)
{
    b->used[view - archive_tensor(b->archive, 0)] = true;
}

/* Plans one vector or one whole matrix. */
static sluice_status plan_copy(struct binder *b, const struct tensor_rule *rule, struct layer *layer,
                               const struct layer_config *lc, const struct tensor_view *view)
{
    const struct model_config *c = &b->model->config;
    int n = size_of(c, lc, rule->n), k = size_of(c, lc, rule->k);
    uint64_t shape[2] = {(uint64_t)n, (uint64_t)k};
    sluice_status s = check_view(b, view, shape, rule->k == SIZE_NONE ? 1 : 2);
    if (s) return s;
    mark_used(b, view);
    struct job job = {.view = view, .source = view->data, .n = n, .k = k, .expert = -1};
    if (rule->k == SIZE_NONE) {
        job.target = vector_of(b->model, layer, rule->role);
        return add_job(b, &job);
    }
    struct weight *w = weight_of(b->model, layer, rule->role);
    w->n = n;
    w->k = k;
    w->layout = job.layout = panel_layout_choose(view->dtype, n, k, b->options->features, b->options->layout_flags);
    job.target = &w->data;
    return add_job(b, &job);
}

/* Plans the experts of one layer: as many equal matrices, from one tensor each or from slices of one. */
static sluice_status plan_experts(struct binder *b, const struct tensor_rule *rule, struct layer *layer,
                                  const struct layer_config *lc, int l, const struct tensor_view *fused)
{
    const struct model_config *c = &b->model->config;
    int n = size_of(c, lc, rule->n), k = size_of(c, lc, rule->k), n_experts = lc->router.n_experts;
    bool half = rule->transform == SLICE_FIRST_HALF || rule->transform == SLICE_SECOND_HALF;
    struct expert_bank *bank = bank_of(layer, rule->role);
    char name[256];
    for (int e = 0; e < n_experts; e++) {
        const struct tensor_view *view = fused ? fused : find_expert(b, rule->name, l, e, name, sizeof name);
        uint64_t shape[3] = {(uint64_t)n_experts, (uint64_t)n * (half ? 2 : 1), (uint64_t)k};
        sluice_status s = fused ? check_view(b, view, shape, 3) : check_view(b, view, shape + 1, 2);
        if (s) return s;
        mark_used(b, view);
        if (e == 0) {
            bank->n_experts = n_experts;
            bank->first.n = n;
            bank->first.k = k;
            bank->first.layout = panel_layout_choose(view->dtype, n, k, b->options->features, b->options->layout_flags);
            bank->stride = bank->first.layout->packed_bytes(n, k);
        } else if (view->dtype != bank->first.layout->weight) {
            return fail(b->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": type %s, expected %s as in expert 0",
                        view->file, view->name, dtype_info(view->dtype)->name,
                        dtype_info(bank->first.layout->weight)->name);
        }
        size_t matrix = (size_t)n * (size_t)k * dtype_info(view->dtype)->bytes_per_block;
        size_t skip =
            !fused ? 0 : matrix * (size_t)e * (half ? 2 : 1) + (rule->transform == SLICE_SECOND_HALF) * matrix;
        struct job job = {.view = view,
                          .source = view->data + skip,
                          .target = &bank->first.data,
                          .layout = bank->first.layout,
                          .n = n,
                          .k = k,
                          .expert = e};
        s = add_job(b, &job);
        if (s) return s;
    }
    return SLUICE_OK;
}

/* Gate and up of an expert read the same packed rows, so they must lie alike. */
static sluice_status check_gate_up(struct binder *b)
{
    for (int l = 0; l < b->model->config.n_layers; l++) {
        const struct layer *layer = &b->model->layers[l];
        if (layer->gate.first.layout != layer->up.first.layout)
            return fail(b->failure, SLUICE_UNSUPPORTED,
                        "%s: layer %d: experts' gate is %s and up is %s, expected one type", archive_name(b->archive),
                        l, dtype_info(layer->gate.first.layout->weight)->name,
                        dtype_info(layer->up.first.layout->weight)->name);
    }
    return SLUICE_OK;
}

/* Plans the tensors of one role for one layer, from the first alternative [rule, end) that exists. */
static sluice_status plan_role(struct binder *b, const struct tensor_rule *rule, const struct tensor_rule *end, int l)
{
    struct layer *layer = &b->model->layers[l];
    const struct layer_config *lc = &b->model->config.layers[l];
    if (!is_needed(&b->model->config, lc, rule->need)) return SLUICE_OK;
    char name[256];
    for (const struct tensor_rule *r = rule; r < end; r++) {
        bool per_expert = r->transform == STACK_EXPERTS;
        expand_name(name, sizeof name, r->name, l, "0");
        const struct tensor_view *view = archive_find(b->archive, name);
        if (!view) continue;
        if (r->transform == COPY) return plan_copy(b, r, layer, lc, view);
        if (!per_expert) return plan_experts(b, r, layer, lc, l, view);
        bool all = true;
        for (int e = 0; all && e < lc->router.n_experts; e++)
            all = find_expert(b, r->name, l, e, name, sizeof name) != NULL;
        if (all) return plan_experts(b, r, layer, lc, l, NULL);
        break;
    }
    if (rule->transform == STACK_EXPERTS) {
        note_missing_experts(b, rule, l, lc->router.n_experts);
    } else {
        expand_name(name, sizeof name, rule->name, l, "");
        note_missing(b, name);
    }
    return SLUICE_OK;
}

static sluice_status plan(struct binder *b)
{
    const struct model_config *c = &b->model->config;
    for (int i = 0; c->arch->tensors[i]; i++) {
        const struct tensor_rule *rule = c->arch->tensors[i];
        while (rule->name) {
            const struct tensor_rule *end = rule + 1;
            while (end->name && end->role == rule->role) end++;
            int n = strstr(rule->name, "{l}") ? c->n_layers : 1;
            for (int l = 0; l < n; l++) {
                sluice_status s = plan_role(b, rule, end, l);
                if (s) return s;
            }
            rule = end;
        }
    }
    if (b->n_missing)
        return fail(b->failure, SLUICE_FORMAT, "%s: missing tensors: %s%s", archive_name(b->archive), b->missing,
                    b->missing_is_cut ? " and more" : "");
    return check_gate_up(b);
}

/* Tensors that no rule asked for. Stored rotary frequencies are a habit of old checkpoints and carry nothing. */
static void warn_unused(const struct binder *b)
{
    if (!b->options->warning) return;
    size_t n = 0;
    const char *first = NULL;
    for (size_t i = 0; i < archive_n_tensors(b->archive); i++) {
        const char *name = archive_tensor(b->archive, i)->name;
        if (b->used[i] || strstr(name, "rotary_emb.inv_freq")) continue;
        if (b->model->config.tied_embeddings && strcmp(name, "lm_head.weight") == 0) continue;
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
    return job->layout ? job->layout->packed_bytes(job->n, job->k) : (size_t)job->n * sizeof(float);
}

/* Gives every job its place in the arena; the experts of a bank lie one after the other. */
static void place_jobs(struct binder *b, struct arena *arena)
{
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *job = &b->jobs[i];
        if (job->expert > 0) {
            job->data = b->jobs[i - 1].data ? (char *)b->jobs[i - 1].data + job_bytes(job) : NULL;
            continue;
        }
        size_t count = 1;
        while (i + count < b->n_jobs && b->jobs[i + count].expert > 0) count++;
        job->data = arena_take(arena, count, job_bytes(job));
        *(void **)job->target = job->data;
    }
}

/* ---- pack -------------------------------------------------------------------------------------------------------- */

struct packing {
    struct binder *binder;
    int n_pieces;
    uint64_t total_bytes;
    atomic_uint_fast64_t done_bytes;
    double reported;
};

static int rows_per_piece(const struct job *job)
{
    if (!job->layout) return job->n;
    size_t row = (size_t)job->k * dtype_info(job->view->dtype)->bytes_per_block;
    int rows = (int)(PIECE_BYTES / row) / job->layout->nr * job->layout->nr;
    return rows < job->layout->nr ? job->layout->nr : rows;
}

static void convert_vector(float *y, const struct job *job)
{
    const unsigned char *p = job->source;
    for (int i = 0; i < job->n; i++) {
        uint16_t half;
        switch (job->view->dtype) {
        case DTYPE_F32: memcpy(&y[i], p + 4 * (size_t)i, 4); break;
        case DTYPE_F16:
            memcpy(&half, p + 2 * (size_t)i, 2);
            y[i] = fp16_to_float(half);
            break;
        default:
            memcpy(&half, p + 2 * (size_t)i, 2);
            y[i] = bf16_to_float(half);
            break;
        }
    }
}

static void pack_piece(struct packing *p, const struct job *job, int piece)
{
    size_t row = (size_t)job->k * dtype_info(job->view->dtype)->bytes_per_block;
    int rows = rows_per_piece(job), row0 = piece * rows, row1 = row0 + rows < job->n ? row0 + rows : job->n;
    const unsigned char *source = job->source + (size_t)row0 * row;
    if (job->layout)
        job->layout->pack(job->data, source, row, row0, row1, job->n, job->k);
    else
        convert_vector(job->data, job);
    memory_release_range(source, (size_t)(row1 - row0) * row);
    atomic_fetch_add_explicit(&p->done_bytes, (uint64_t)(row1 - row0) * row, memory_order_relaxed);
}

static void pack_work(struct thread *t, void *context)
{
    struct packing *p = context;
    struct binder *b = p->binder;
    const struct bind_options *o = b->options;
    size_t j = 0;
    for (int piece; (piece = team_next(t, 0)) < p->n_pieces;) {
        while (j + 1 < b->n_jobs && b->jobs[j + 1].first_piece <= piece) j++;
        pack_piece(p, &b->jobs[j], piece - b->jobs[j].first_piece);
        if (t->id == 0 && o->progress && clock_seconds() - p->reported > 0.1) {
            p->reported = clock_seconds();
            o->progress(o->context, atomic_load(&p->done_bytes), p->total_bytes);
        }
    }
}

static void pack_jobs(struct binder *b, struct team *team)
{
    struct packing p = {.binder = b, .reported = clock_seconds()};
    atomic_init(&p.done_bytes, 0);
    for (size_t i = 0; i < b->n_jobs; i++) {
        struct job *job = &b->jobs[i];
        int rows = rows_per_piece(job);
        job->first_piece = p.n_pieces;
        p.n_pieces += (job->n + rows - 1) / rows;
        p.total_bytes += (uint64_t)job->n * (uint64_t)job->k * dtype_info(job->view->dtype)->bytes_per_block;
    }
    atomic_store(&team->counters[0], 0);
    team_run(team, pack_work, &p);
    if (b->options->progress) b->options->progress(b->options->context, p.total_bytes, p.total_bytes);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static void count_sizes(struct binder *b)
{
    struct model *m = b->model;
    uint64_t by_dtype[N_DTYPES] = {0};
    for (size_t i = 0; i < b->n_jobs; i++) {
        const struct job *job = &b->jobs[i];
        uint64_t elements = (uint64_t)job->n * (uint64_t)job->k;
        uint64_t bytes = elements * dtype_info(job->view->dtype)->bytes_per_block;
        m->n_parameters += elements;
        m->file_bytes += bytes;
        m->weight_bytes += job_bytes(job);
        by_dtype[job->view->dtype] += bytes;
        bool embedding_row_only = job->target == (void *)&m->embedding.data && !m->config.tied_embeddings;
        if (job->expert < 0 && !embedding_row_only) m->n_active_parameters += elements;
    }
    for (int l = 0; l < m->config.n_layers; l++) { /* of the experts, those that one token chooses */
        const struct layer *layer = &m->layers[l];
        if (layer->config->ffn.kind != FFN_MOE) continue;
        const struct expert_bank *banks[3] = {&layer->gate, &layer->up, &layer->down};
        for (int i = 0; i < 3; i++)
            m->n_active_parameters +=
                (uint64_t)layer->config->router.top_k * (uint64_t)banks[i]->first.n * (uint64_t)banks[i]->first.k;
    }
    for (int t = 0; t < N_DTYPES; t++)
        if (by_dtype[t] > by_dtype[m->main_dtype]) m->main_dtype = (enum dtype)t;
}

/* A model that does not fit would be killed by the system much later, without a word. */
static sluice_status check_memory(const struct binder *b)
{
    uint64_t available = memory_available(), needed = b->model->weight_bytes;
    if (available == 0 || needed <= available) return SLUICE_OK;
    return fail(b->failure, SLUICE_MEMORY, "%s: the weights need %.1f GB, %.1f GB are available",
                archive_name(b->archive), (double)needed * 1e-9, (double)available * 1e-9);
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static sluice_status bind_tensors(struct binder *b, struct team *team)
{
    struct model *m = b->model;
    sluice_status s = plan(b);
    if (s) return s;
    warn_unused(b);
    count_sizes(b);
    if (!b->options->load_weights) {
        if (m->config.tied_embeddings) m->head = m->embedding;
        return SLUICE_OK;
    }
    s = check_memory(b);
    if (s) return s;
    place_jobs(b, &m->arena);
    if (!arena_commit(&m->arena, true))
        return fail(b->failure, SLUICE_MEMORY, "%s: no memory for %.1f GB of weights", archive_name(b->archive),
                    (double)m->arena.used * 1e-9);
    place_jobs(b, &m->arena);
    if (m->config.tied_embeddings) m->head = m->embedding;
    pack_jobs(b, team);
    return SLUICE_OK;
}

sluice_status model_bind(struct model *m, const struct archive *a, struct team *team, const struct bind_options *o,
                         struct failure *f)
{
    *m = (struct model){.features = o->features};
    struct binder b = {.model = m, .archive = a, .options = o, .failure = f};
    sluice_status s = config_read(&m->config, &m->generation, a, f);
    if (s) return s;
    m->layers = memory_calloc((size_t)m->config.n_layers, sizeof *m->layers);
    b.used = memory_calloc(archive_n_tensors(a), sizeof *b.used);
    if (!m->layers || !b.used) {
        s = fail(f, SLUICE_MEMORY, "no memory for the list of tensors");
    } else {
        for (int l = 0; l < m->config.n_layers; l++) m->layers[l].config = &m->config.layers[l];
        s = bind_tensors(&b, team);
    }
    memory_free(b.used);
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
