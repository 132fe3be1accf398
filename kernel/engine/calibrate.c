/* Owns the counting of inputs: one sum of squares per input of every group of matrices that share their inputs.
 *
 * The forward pass shows the rows that a product is about to read (model/workspace.h, struct input_collector). Sums
 * run in double precision over rows in the order of the text; columns are dealt out to threads, experts too: so a sum
 * has one order whatever the number of threads and the size of the pieces of text. */
#include "engine/calibrate.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/engine_internal.h"

/* Matrices that read the same rows. */
enum site {
    SITE_MIXER,  /* what the mixer projects its input with: q, k, v; latents; delta's; a convolution's */
    SITE_LATENT, /* q, where it reads a latent */
    SITE_KEY,
    SITE_VALUE, /* of each head: what reads the query, what reads the mixed latent */
    SITE_MIXED, /* the mixer's output */
    SITE_MLP,   /* gate, up of an MLP */
    SITE_MLP_DOWN,
    SITE_FFN, /* router, shared expert's gate and up */
    SITE_SHARED_DOWN,
    SITE_EXPERT, /* gate, up of each expert */
    SITE_EXPERT_DOWN,
    N_SITES
};

struct counter {
    double *sums;     /* [n, k] of squares */
    uint64_t *counts; /* [n] rows */
    int n, k;         /* n: experts, heads, else 1; 0: no such matrix in this layer */
};

struct importance {
    struct arena arena;
    const struct model *model; /* while the text runs */
    const sluice_quantize_options *options;
    sluice_session *session;
    int n_layers;
    bool tied;
    struct counter head;
    struct counter *layers; /* [n_layers, N_SITES] */
    uint64_t n_tokens, n_untouched;
};

/* ---- room -------------------------------------------------------------------------------------------------------- */

/* The matrix that a pass shows for a site (the first of its group, or of its bank), and how many the bank has. */
struct shown {
    const struct weight *weight; /* without data: the layer has no such site */
    int n;
};

static void list_shown(const struct layer *layer, struct shown out[N_SITES])
{
    static const struct weight none = {0};
    const struct mla_weights *mla = &layer->mla;
    const struct weight *inputs[] = {&mla->q_a, &layer->delta.qkv, &layer->conv_in, &layer->q};
    int first = 0;
    while (first < 3 && !inputs[first]->data) first++;
    const struct shown all[N_SITES] = {
        [SITE_MIXER] = {inputs[first], 1},
        [SITE_LATENT] = {mla->q_a.data ? &layer->q : &none, 1},
        [SITE_KEY] = {&mla->k_b_t.first, mla->k_b_t.n_matrices},
        [SITE_VALUE] = {&mla->v_b.first, mla->v_b.n_matrices},
        [SITE_MIXED] = {&layer->o, 1},
        [SITE_MLP] = {&layer->dense.gate, 1},
        [SITE_MLP_DOWN] = {&layer->dense.down, 1},
        [SITE_FFN] = {&layer->router, 1},
        [SITE_SHARED_DOWN] = {&layer->shared.down, 1},
        [SITE_EXPERT] = {&layer->gate.first, layer->gate.n_matrices},
        [SITE_EXPERT_DOWN] = {&layer->down.first, layer->down.n_matrices},
    };
    memcpy(out, all, sizeof all);
}

static void carve_counter(struct counter *c, struct shown shown, struct arena *arena)
{
    if (!shown.weight->data) return;
    struct counter taken = {.n = shown.n, .k = shown.weight->k};
    taken.sums = ARENA_TAKE(arena, double, (size_t)taken.n *(size_t)taken.k);
    taken.counts = ARENA_TAKE(arena, uint64_t, (size_t)taken.n);
    if (c) *c = taken;
}

static void carve(struct importance *p, const struct model *m, struct arena *arena)
{
    p->layers = ARENA_TAKE(arena, struct counter, (size_t)p->n_layers * N_SITES);
    carve_counter(&p->head, (struct shown){&m->head, 1}, arena);
    for (int l = 0; l < p->n_layers; l++) {
        struct shown shown[N_SITES];
        list_shown(&m->layers[l], shown);
        for (int i = 0; i < N_SITES; i++)
            carve_counter(p->layers ? &p->layers[l * N_SITES + i] : NULL, shown[i], arena);
    }
}

static sluice_status create(struct importance **out, const struct model *m, struct failure *f)
{
    struct importance *p = memory_calloc(1, sizeof *p);
    if (!p) return fail_memory(f, "importance matrix");
    p->model = m;
    p->n_layers = m->config.n_layers;
    p->tied = m->config.tied_embeddings;
    carve(p, m, &p->arena);
    if (p->arena.overflow || !arena_commit(&p->arena, false)) {
        memory_free(p);
        return fail_memory(f, "importance matrix");
    }
    carve(p, m, &p->arena);
    *out = p;
    return SLUICE_OK;
}

void importance_free(struct importance **importance)
{
    struct importance *p = *importance;
    *importance = NULL;
    if (!p) return;
    arena_free(&p->arena);
    memory_free(p);
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static struct counter *counter_of(struct importance *p, const struct weight *w)
{
    const struct model *m = p->model;
    if (w == &m->head) return &p->head;
    size_t l = (size_t)((const char *)w - (const char *)m->layers) / sizeof *m->layers;
    struct shown shown[N_SITES];
    list_shown(&m->layers[l], shown);
    for (int i = 0; i < N_SITES; i++)
        if (w == shown[i].weight) return &p->layers[l * N_SITES + (size_t)i];
    return NULL;
}

static void collect(void *context, const struct thread *t, const struct weight *w, int expert, const float *x,
                    ptrdiff_t ldx, const int *rows, int n_rows, int begin, int end)
{
    struct importance *p = context;
    struct counter *c = counter_of(p, w);
    if (!c) return;
    int e = expert < 0 ? 0 : expert;
    double *sums = c->sums + (size_t)e * (size_t)c->k;
    for (int i = 0; i < n_rows; i++) {
        const float *row = x + (rows ? rows[i] : i) * ldx;
        for (int j = begin; j < end; j++) sums[j] += (double)row[j - begin] * (double)row[j - begin];
    }
    if (begin == 0 && end > 0) c->counts[e] += (uint64_t)n_rows;
    const sluice_quantize_options *o = p->options; /* thread 0 is the caller's own */
    if (t->id == 0 && expert < 0 && o->cancelled && o->cancelled(o->context)) sluice_session_cancel(p->session);
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */

/* The tokens of the text, without those that the tokenizer adds; malloc'ed. */
static sluice_status tokenize(const sluice_engine *e, const sluice_quantize_options *o, int32_t **out, size_t *n,
                              struct failure *f)
{
    if (!e->vocab) return fail_no_tokenizer(e, f);
    sluice_status s = vocab_encode(e->vocab, o->calibration_text, o->calibration_length, VOCAB_NO_BOS, NULL, 0, n, f);
    if (s) return fail_in(f, "calibration text");
    if (*n == 0) return fail(f, SLUICE_ARGUMENT, "calibration text: it has no tokens");
    *out = memory_alloc(*n * sizeof **out);
    if (!*out) return fail_memory(f, "calibration text");
    return vocab_encode(e->vocab, o->calibration_text, o->calibration_length, VOCAB_NO_BOS, *out, *n, n, f);
}

/* The token that begins every text of this tokenizer, or -1. */
static int32_t first_token(const sluice_engine *e)
{
    int32_t ids[4];
    size_t n = 0;
    struct failure ignored;
    if (vocab_encode(e->vocab, "", 0, 0, ids, 4, &n, &ignored) || n == 0 || ids[0] != vocab_bos_id(e->vocab)) return -1;
    return ids[0];
}

static void report(const sluice_quantize_options *o, enum sluice_quantize_stage stage, uint64_t done, uint64_t total)
{
    if (o->progress) o->progress(o->context, stage, done, total);
}

/* Runs the tokens in pieces that begin anew, each in one pass; `piece` [n_context]. */
static sluice_status run_tokens(struct importance *p, const int32_t *tokens, size_t n, int32_t bos, int32_t *piece,
                                struct failure *f)
{
    sluice_session *s = p->session;
    const size_t n_context = sluice_session_context(s), lead = bos >= 0;
    for (size_t done = 0; done < n;) {
        size_t count = n - done < n_context - lead ? n - done : n_context - lead;
        piece[0] = bos;
        memcpy(piece + lead, tokens + done, count * sizeof *tokens);
        sluice_status status = sluice_session_rewind(s, 0);
        if (!status) status = sluice_session_prefill(s, piece, lead + count);
        if (status) return fail(f, status, "%s", sluice_session_error(s));
        done += count;
        p->n_tokens += count;
        report(p->options, SLUICE_STAGE_CALIBRATE, done, n);
    }
    return SLUICE_OK;
}

static sluice_status run_text(struct importance *p, const sluice_engine *e, struct failure *f)
{
    static const struct input_collector template = {.collect = collect};
    const sluice_quantize_options *o = p->options;
    struct input_collector collector = template;
    sluice_session_options options = sluice_session_options_default();
    sluice_error error = {0};
    int32_t *tokens = NULL, *piece = NULL;
    size_t n = 0;
    const int wanted = o->n_context ? o->n_context : 512, limit = p->model->config.n_context;
    options.n_context = wanted < limit ? wanted : limit;
    options.n_chunk = options.n_context < 512 ? options.n_context : 512;
    options.cache_type = "f32";
    collector.context = p;

    sluice_status s = tokenize(e, o, &tokens, &n, f);
    const int32_t bos = s ? -1 : first_token(e);
    if (!s && options.n_context <= (bos >= 0)) s = fail(f, SLUICE_ARGUMENT, "calibration: a context of 1 is too short");
    if (!s && sluice_session_create(&p->session, e, &options, &error)) s = fail(f, error.status, "%s", error.text);
    if (!s && !(piece = memory_alloc((size_t)options.n_context * sizeof *piece)))
        s = fail_memory(f, "calibration text");
    if (!s) {
        p->session->ws.collector = &collector;
        s = run_tokens(p, tokens, n, bos, piece, f);
    }
    sluice_session_free(&p->session);
    memory_free(piece);
    memory_free(tokens);
    return s;
}

/* "calibration text: 7 experts were chosen by no token (layer 3: 5 of 16; layer 4: 2 of 16), ..." */
static void warn_untouched(struct importance *p)
{
    char list[2048] = "", text[2400];
    size_t at = 0, n_layers = 0, n_named = 0;
    for (int l = 0; l < p->n_layers; l++) {
        const struct counter *c = &p->layers[l * N_SITES + SITE_EXPERT];
        int untouched = 0;
        for (int e = 0; e < c->n; e++) untouched += c->counts[e] == 0;
        p->n_untouched += (uint64_t)untouched;
        if (!untouched) continue;
        n_layers++;
        if (at + 64 > sizeof list) continue;
        at += (size_t)snprintf(list + at, sizeof list - at, "%slayer %d: %d of %d", n_named++ ? "; " : "", l, untouched,
                               c->n);
    }
    if (!p->n_untouched || !p->options->warning) return;
    snprintf(text, sizeof text,
             "calibration text: %llu %s chosen by no token (%s%s) and rounded without importance: use a longer or more "
             "varied text",
             (unsigned long long)p->n_untouched, p->n_untouched == 1 ? "expert is" : "experts are", list,
             n_named < n_layers ? " and more" : "");
    p->options->warning(p->options->context, text);
}

static void load_progress(void *context, uint64_t done, uint64_t total)
{
    report(context, SLUICE_STAGE_LOAD, done, total);
}

static void load_warning(void *context, const char *text)
{
    const sluice_quantize_options *o = context;
    if (o->warning) o->warning(o->context, text);
}

sluice_status importance_collect(struct importance **out, const char *path, const sluice_quantize_options *o,
                                 struct failure *f)
{
    sluice_engine *e = NULL;
    sluice_error error = {0};
    sluice_engine_options options = sluice_engine_options_default();
    struct importance *p = NULL;
    *out = NULL;
    options.n_threads = o->n_threads;
    options.flags = SLUICE_OPEN_FLOAT; /* the inputs as they are */
    options.progress = load_progress;
    options.warning = load_warning;
    options.context = (void *)o;
    if (sluice_engine_open(&e, path, &options, &error)) return fail(f, error.status, "%s", error.text);
    sluice_status s = create(&p, &e->model, f);
    if (!s) {
        p->options = o;
        s = run_text(p, e, f);
        p->model = NULL;
    }
    sluice_engine_close(&e);
    if (s) {
        importance_free(&p);
        return s;
    }
    warn_untouched(p);
    *out = p;
    return SLUICE_OK;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static const struct counter *counter_of_role(const struct importance *p, enum tensor_role role, int layer)
{
    if (role == ROLE_HEAD || (role == ROLE_EMBEDDING && p->tied)) return &p->head;
    if (layer < 0 || layer >= p->n_layers) return NULL;
    const struct counter *c = &p->layers[layer * N_SITES];
    switch (role) {
    case ROLE_Q: return c[SITE_LATENT].n ? &c[SITE_LATENT] : &c[SITE_MIXER];
    case ROLE_K:
    case ROLE_V:
    case ROLE_Q_A:
    case ROLE_KV_A:
    case ROLE_DELTA_QKV:
    case ROLE_DELTA_Z:
    case ROLE_DELTA_BA:
    case ROLE_DELTA_B:
    case ROLE_DELTA_A:
    case ROLE_CONV_IN: return &c[SITE_MIXER];
    case ROLE_K_B_T: return &c[SITE_KEY];
    case ROLE_V_B: return &c[SITE_VALUE];
    case ROLE_O: return &c[SITE_MIXED];
    case ROLE_GATE:
    case ROLE_UP: return &c[SITE_MLP];
    case ROLE_DOWN: return &c[SITE_MLP_DOWN];
    case ROLE_SHARED_GATE:
    case ROLE_SHARED_UP: return &c[SITE_FFN];
    case ROLE_SHARED_DOWN: return &c[SITE_SHARED_DOWN];
    case ROLE_EXPERT_GATE:
    case ROLE_EXPERT_UP: return &c[SITE_EXPERT];
    case ROLE_EXPERT_DOWN: return &c[SITE_EXPERT_DOWN];
    default: return NULL;
    }
}

bool importance_of(const struct importance *p, enum tensor_role role, int layer, int expert, float *out, int k)
{
    const struct counter *c = counter_of_role(p, role, layer);
    int e = expert < 0 ? 0 : expert;
    if (!c || e >= c->n || c->k != k || c->counts[e] == 0) return false;
    const double *sums = c->sums + (size_t)e * (size_t)k;
    for (int i = 0; i < k; i++) out[i] = (float)(sums[i] / (double)c->counts[e]);
    return true;
}

uint64_t importance_n_tokens(const struct importance *p) { return p->n_tokens; }
uint64_t importance_n_untouched(const struct importance *p) { return p->n_untouched; }
