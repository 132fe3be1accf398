/* The composition root: opens a checkpoint by joining cpu -> archive -> tokenizer -> model, and answers questions about
 * it. Read next: session.c. */
#include "engine/engine_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/lost_pages.h"
#include "base/memory.h"
#include "engine/gguf_vocab.h"
#include "model/arch.h"
#include "weights/archive.h"

const char *sluice_isa(void)
{
    struct ops ops;
    ops_init(&ops, cpu_features(NULL));
    return ops.name;
}

bool sluice_absorb_bus_error(const void *address) { return lost_pages_replace(address); }

const char *sluice_version(void) { return SLUICE_VERSION; }

const char *sluice_status_name(sluice_status status)
{
    switch (status) {
#define X(name, exit_code, text) \
    case SLUICE_##name: return #name;
        SLUICE_STATUS_LIST(X)
#undef X
    }
    return "UNKNOWN";
}

const char *sluice_status_text(sluice_status status)
{
    switch (status) {
#define X(name, exit_code, text) \
    case SLUICE_##name: return text;
        SLUICE_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

int sluice_status_exit_code(sluice_status status)
{
    switch (status) {
#define X(name, exit_code, text) \
    case SLUICE_##name: return exit_code;
        SLUICE_STATUS_LIST(X)
#undef X
    }
    return 1;
}

sluice_status report_failure(sluice_error *error, const struct failure *f)
{
    if (error) {
        error->status = f->status;
        snprintf(error->text, sizeof error->text, "%s", f->text);
    }
    return f->status;
}

sluice_engine_options sluice_engine_options_default(void) { return (sluice_engine_options){0}; }

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* The type that o->load_as names. */
static sluice_status read_load_as(const sluice_engine_options *o, enum dtype *type, struct failure *f)
{
    char known[256] = "", word[TYPE_WORD_BYTES], escaped[ESCAPED_BYTES];
    if (dtype_from_word(o->load_as, type) && dtype_info(*type)->can_encode) return SLUICE_OK;
    for (int t = 0; t < N_DTYPES; t++) {
        size_t n = strlen(known);
        if (dtype_info((enum dtype)t)->can_encode)
            snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", model_type_word((enum dtype)t, word));
    }
    return fail(f, SLUICE_ARGUMENT,
                "load as: unknown type \"%s\", expected one of %s (mixes such as q4_k_m are for quantize)",
                escape_text(escaped, sizeof escaped, o->load_as, strlen(o->load_as)), known);
}

static sluice_status check_options(const sluice_engine_options *o, struct failure *f)
{
    const unsigned known = SLUICE_OPEN_NO_WEIGHTS | SLUICE_OPEN_TOKENIZER_ONLY | SLUICE_OPEN_BLAS | SLUICE_OPEN_EXACT |
                           SLUICE_OPEN_NO_REPACK | SLUICE_OPEN_FLOAT | SLUICE_OPEN_READ;
    if (o->n_threads < 0 || o->n_threads > TEAM_MAX_THREADS)
        return fail(f, SLUICE_ARGUMENT, "threads: found %d, expected 0..%d", o->n_threads, TEAM_MAX_THREADS);
    if (o->flags & ~known) return fail(f, SLUICE_ARGUMENT, "flags: 0x%x is not known", o->flags & ~known);
    if (o->flags & SLUICE_OPEN_BLAS && o->flags & (SLUICE_OPEN_EXACT | SLUICE_OPEN_NO_REPACK))
        return fail(f, SLUICE_ARGUMENT, "OpenBLAS cannot be used together with %s",
                    o->flags & SLUICE_OPEN_EXACT ? "exact results" : "weights that stay in the file");
    if (o->load_as && o->flags & SLUICE_OPEN_NO_REPACK)
        return fail(f, SLUICE_ARGUMENT, "load as: weights that stay in the file keep its type");
    if (o->flags & SLUICE_OPEN_READ && o->flags & SLUICE_OPEN_NO_REPACK)
        return fail(f, SLUICE_ARGUMENT,
                    "files that are read into memory cannot be used together with weights that stay in the file");
    if (o->flags & SLUICE_OPEN_BLAS && !panel_blas_usable())
        return fail(f, SLUICE_UNSUPPORTED, "OpenBLAS: libopenblas.so.0 cannot be loaded, or this build is without it");
    enum dtype type;
    return o->load_as ? read_load_as(o, &type, f) : SLUICE_OK;
}

/* What there is to remark while a model is opened is kept until it is open: beside the sentence of an error stands
 * nothing else. */
struct remarks {
    const sluice_engine_options *options;
    int n;
    char texts[8][640];
};

static void remark(void *remarks, const char *text)
{
    struct remarks *r = remarks;
    if (r->n < (int)(sizeof r->texts / sizeof *r->texts)) snprintf(r->texts[r->n++], sizeof r->texts[0], "%s", text);
}

static void pass_progress(void *remarks, uint64_t done, uint64_t total)
{
    const struct remarks *r = remarks;
    if (r->options->progress) r->options->progress(r->options->context, done, total);
}

static void say_remarks(const struct remarks *r)
{
    for (int i = 0; i < r->n && r->options->warning; i++) r->options->warning(r->options->context, r->texts[i]);
}

/* A word in SLUICE_CPU that means nothing, more threads than CPUs. */
static void warn_of_surroundings(struct remarks *r, const char *unknown_word)
{
    const int n_threads = r->options->n_threads;
    char text[320], escaped[ESCAPED_BYTES];
    if (unknown_word) {
        size_t n = (size_t)snprintf(text, sizeof text,
                                    "SLUICE_CPU: \"%.60s\" is not known, all features are used; "
                                    "expected scalar",
                                    escape_text(escaped, sizeof escaped, unknown_word, strlen(unknown_word)));
        for (unsigned bit = 0; cpu_feature_name(bit) && n < sizeof text; bit++)
            n += (size_t)snprintf(text + n, sizeof text - n, ", %s", cpu_feature_name(bit));
        remark(r, text);
    }
    if (n_threads > cpu_count()) {
        snprintf(text, sizeof text,
                 "%d threads for the %d CPUs that this process may use: they wait for each other, "
                 "which is much slower",
                 n_threads, cpu_count());
        remark(r, text);
    }
}

sluice_status open_folder_vocab(struct vocab **out, const struct archive *a, struct failure *f)
{
    size_t n = 0, n_config = 0;
    const char *config = archive_text(a, TEXT_TOKENIZER_CONFIG, &n_config);
    const char *text = archive_text(a, TEXT_TOKENIZER, &n);
    *out = NULL;
    if (text) return vocab_create(out, text, n, config, n_config, f);
    text = archive_text(a, TEXT_TIKTOKEN, &n);
    return text ? vocab_create_tiktoken(out, text, n, config, n_config, f) : SLUICE_OK;
}

/* The tokenizer, if its files, or in a GGUF file its keys, are there. */
static sluice_status open_vocab(sluice_engine *e, const struct archive *a, struct remarks *r, struct failure *f)
{
    const sluice_engine_options *o = r->options;
    if (archive_format(a) == ARCHIVE_GGUF) {
        char text[512];
        sluice_status s = open_gguf_vocab(&e->vocab, a, text, sizeof text, f);
        if (text[0]) remark(r, text);
        if (!s && !e->vocab && o->flags & SLUICE_OPEN_TOKENIZER_ONLY)
            return fail(f, SLUICE_FORMAT, "%s: has no tokenizer", archive_name(a));
        return s;
    }
    sluice_status s = open_folder_vocab(&e->vocab, a, f);
    if (!s && !e->vocab && o->flags & SLUICE_OPEN_TOKENIZER_ONLY)
        return fail(f, SLUICE_IO, "%s: tokenizer.json: no such file", archive_name(a));
    return s;
}

void read_license(char out[LICENSE_BYTES], const struct archive *a)
{
    size_t n = 0;
    struct meta value = archive_meta(a, DOCUMENT_GGUF, "general.license");
    out[0] = 0;
    if (value.kind == META_STRING) escape_text(out, LICENSE_BYTES, value.string, value.n);
    const char *card = archive_text(a, TEXT_CARD, &n), *end = card ? card + n : NULL;
    if (!card || n < 4 || memcmp(card, "---", 3) != 0) return;
    for (const char *p = memchr(card, '\n', n); p && ++p < end; p = memchr(p, '\n', (size_t)(end - p))) {
        size_t left = (size_t)(end - p), length = 0;
        if (left >= 3 && memcmp(p, "---", 3) == 0) return;
        if (left < 8 || memcmp(p, "license:", 8) != 0) continue;
        for (p += 8; p < end && *p == ' ';) p++;
        while (p + length < end && p[length] > ' ' && p[length] < 0x7f && length < LICENSE_BYTES - 1) length++;
        memcpy(out, p, length);
        out[length] = 0;
        return;
    }
}

/* Special tokens that the model has no row for are no more than a pity: texts without them run (Gemma 3 1B has one for
 * images). Any other token comes up in plain text. */
static sluice_status check_vocab_size(const sluice_engine *e, const struct archive *a, struct remarks *r,
                                      struct failure *f)
{
    const int n = e->model.config.vocab_size;
    if (!e->vocab || vocab_size(e->vocab) <= n) return SLUICE_OK;
    if (vocab_core_size(e->vocab) > n)
        return fail(f, SLUICE_FORMAT, "%s: vocab_size: found %d, but the tokenizer has token id %d",
                    archive_format(a) == ARCHIVE_GGUF ? e->name : "config.json", n, vocab_core_size(e->vocab) - 1);
    char text[128];
    snprintf(text, sizeof text,
             "the model has %d tokens and cannot run the tokenizer's special tokens from id %d to %d", n, n,
             vocab_size(e->vocab) - 1);
    remark(r, text);
    return SLUICE_OK;
}

struct expected_session {
    const sluice_engine *engine;
    const sluice_session_options *options;
};

static uint64_t expected_bytes(void *context)
{
    const struct expected_session *s = context;
    return session_bytes(s->engine, s->options);
}

static sluice_status open_model(sluice_engine *e, const struct archive *a, struct remarks *r, struct failure *f)
{
    const sluice_engine_options *o = r->options;
    struct expected_session session = {e, o->session};
    struct bind_options bind = {
        .features = e->features,
        .layout_flags = (o->flags & SLUICE_OPEN_BLAS ? PANEL_BLAS : 0u) |
                        (o->flags & SLUICE_OPEN_NO_REPACK ? PANEL_FILE : 0u) |
                        (o->flags & SLUICE_OPEN_FLOAT ? PANEL_FLOAT : 0u),
        .exact = o->flags & SLUICE_OPEN_EXACT,
        .convert = o->load_as != NULL,
        .load_weights = !(o->flags & SLUICE_OPEN_NO_WEIGHTS),
        .progress = pass_progress,
        .warning = remark,
        .context = r,
        .session_bytes = o->session ? expected_bytes : NULL,
        .session_context = &session,
    };
    sluice_status s = bind.convert ? read_load_as(o, &bind.load_as, f) : SLUICE_OK;
    if (!s) s = model_bind(&e->model, a, &e->team, &bind, f);
    if (s) return s;
    e->has_model = true;
    e->has_weights = bind.load_weights;
    read_license(e->license, a);
    return check_vocab_size(e, a, r, f);
}

static sluice_status open_files(sluice_engine *e, const char *path, struct remarks *r, struct failure *f)
{
    const sluice_engine_options *o = r->options;
    const bool tokenizer_only = o->flags & SLUICE_OPEN_TOKENIZER_ONLY;
    struct archive *a = NULL;
    const unsigned access = o->flags & SLUICE_OPEN_READ ? ARCHIVE_READ : 0u;
    sluice_status s = archive_open(&a, path, access | (tokenizer_only ? 0u : ARCHIVE_TENSORS | ARCHIVE_CONFIG), f);
    if (s) return s;
    snprintf(e->name, sizeof e->name, "%s", archive_name(a));
    s = open_vocab(e, a, r, f);
    if (!s && !tokenizer_only) s = open_model(e, a, r, f);
    const sluice_status lost = archive_check(a, f);
    if (lost) s = lost;
    if (archive_warning(a)) remark(r, archive_warning(a));
    if (!s && e->has_weights && e->model.mapped_bytes > 0) {
        archive_close_texts(a);
        e->archive = a;
    } else {
        archive_close(&a);
    }
    return s;
}

sluice_status sluice_engine_open(sluice_engine **out, const char *path, const sluice_engine_options *options,
                                 sluice_error *error)
{
    struct failure f = {0};
    sluice_engine_options o = options ? *options : sluice_engine_options_default();
    *out = NULL;
    sluice_status s = check_options(&o, &f);
    sluice_engine *e = s ? NULL : memory_calloc(1, sizeof *e);
    if (!s && !e) s = fail(&f, SLUICE_MEMORY, "no memory for an engine");
    if (s) return report_failure(error, &f);

    const char *unknown = NULL;
    struct remarks remarks = {.options = &o};
    e->features = cpu_features(&unknown);
    warn_of_surroundings(&remarks, unknown);
    e->isa = sluice_isa();
    team_init(&e->team, o.n_threads ? o.n_threads : cpu_count());
    pthread_mutex_init(&e->team_lock, NULL);
    s = open_files(e, path, &remarks, &f);
    if (s) {
        sluice_engine_close(&e);
        return report_failure(error, &f);
    }
    say_remarks(&remarks);
    *out = e;
    return SLUICE_OK;
}

void sluice_engine_close(sluice_engine **engine)
{
    sluice_engine *e = *engine;
    *engine = NULL;
    if (!e) return;
    if (e->has_model) model_free(&e->model);
    archive_close(&e->archive);
    vocab_free(&e->vocab);
    pthread_mutex_destroy(&e->team_lock);
    memory_free(e);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

void sluice_engine_get_info(const sluice_engine *e, sluice_model_info *out)
{
    *out = (sluice_model_info){
        .path_name = e->name,
        .isa = e->isa,
        .license = e->license[0] ? e->license : NULL,
        .n_threads = e->team.n_threads,
        .has_tokenizer = e->vocab != NULL,
        .available_bytes = memory_available(),
        .bos_token = e->vocab ? vocab_bos_id(e->vocab) : -1,
    };
    if (!e->has_model) {
        out->vocab_size = e->vocab ? vocab_size(e->vocab) : 0;
        return;
    }
    const struct model *m = &e->model;
    const struct model_config *c = &m->config;
    out->architecture = c->arch->name;
    out->weight_dtype = dtype_info(m->main_dtype)->name;
    out->n_layers = c->n_layers;
    out->n_moe_layers = config_n_moe_layers(c);
    out->hidden_size = c->hidden_size;
    out->vocab_size = c->vocab_size;
    for (int l = 0; l < c->n_layers; l++)
        if (ffn_has_experts(&c->layers[l].ffn)) {
            out->n_experts = c->layers[l].router.n_experts;
            out->top_k = c->layers[l].router.top_k;
        }
    out->n_context = c->n_context;
    out->n_parameters = m->n_parameters;
    out->n_active_parameters = m->n_active_parameters;
    out->weight_bytes = m->weight_bytes;
    out->mapped_bytes = m->mapped_bytes;
    out->file_bytes = m->file_bytes;
    out->cache_bytes_per_token = cache_bytes_per_token(c, cache_default_type(m->main_dtype));
    out->state_bytes = cache_state_bytes(c);
    if (out->bos_token < 0) out->bos_token = c->bos_token;
    out->end_tokens = c->end_tokens;
    out->n_end_tokens = (size_t)c->n_end_tokens;
}

uint64_t sluice_engine_get_expert_bytes(const sluice_engine *e)
{
    uint64_t bytes = 0;
    for (int l = 0; e->has_model && l < e->model.config.n_layers; l++) {
        const struct layer *layer = &e->model.layers[l];
        if (!ffn_has_experts(&layer->config->ffn)) continue;
        bytes += weight_bytes(&layer->gate.first) + weight_bytes(&layer->up.first) + weight_bytes(&layer->down.first);
    }
    return bytes;
}

double sluice_engine_huge_page_share(const sluice_engine *e)
{
    const struct arena *weights = &e->model.arena;
    return e->has_model && weights->base ? memory_huge_share(weights->base, weights->capacity) : 0;
}

bool sluice_engine_smaller_type(const sluice_engine *e, uint64_t budget, char *out, size_t cap, uint64_t *bytes)
{
    char word[TYPE_WORD_BYTES];
    *bytes = 0;
    if (cap) out[0] = 0;
    if (!e->has_model) return false;
    snprintf(out, cap, "%s", model_type_word(model_smaller_type(&e->model, budget, bytes), word));
    return true;
}

sluice_sampling sluice_engine_get_sampling(const sluice_engine *e)
{
    sluice_sampling s = sluice_sampling_default();
    if (!e->has_model) return s;
    const struct generation_config *g = &e->model.generation;
    s.repetition_penalty = g->repetition_penalty;
    if (!g->do_sample) return s;
    s.temperature = g->temperature;
    s.top_k = g->top_k;
    s.top_p = g->top_p;
    s.min_p = g->min_p;
    return s;
}

bool sluice_engine_get_layer(const sluice_engine *e, int layer, char *out, size_t cap)
{
    if (cap) out[0] = 0;
    if (!e->has_model || layer < 0 || layer >= e->model.config.n_layers) return false;
    model_describe_layer(&e->model, layer, out, cap);
    return true;
}

bool sluice_engine_get_matrix_group(const sluice_engine *e, size_t i, char *out, size_t cap)
{
    if (cap) out[0] = 0;
    return e->has_model && i < 1 << 20 && model_describe_group(&e->model, (int)i, out, cap);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

bool sluice_has_tokenizer(const sluice_engine *e) { return e->vocab != NULL; }

sluice_status fail_no_tokenizer(const sluice_engine *e, struct failure *f)
{
    return fail(f, SLUICE_ARGUMENT, "%s: has no tokenizer, so it takes and gives token ids only", e->name);
}

sluice_status sluice_tokenize(const sluice_engine *e, const char *text, size_t length, unsigned flags, int32_t *out,
                              size_t cap, size_t *n, sluice_error *error)
{
    struct failure f = {0};
    unsigned vocab_flags =
        (flags & SLUICE_TEXT_SPECIAL ? VOCAB_PARSE_SPECIAL : 0) | (flags & SLUICE_TEXT_NO_BOS ? VOCAB_NO_BOS : 0);
    *n = 0;
    sluice_status s =
        e->vocab ? vocab_encode(e->vocab, text, length, vocab_flags, out, cap, n, &f) : fail_no_tokenizer(e, &f);
    return s ? report_failure(error, &f) : SLUICE_OK;
}

sluice_status sluice_detokenize(const sluice_engine *e, const int32_t *tokens, size_t n_tokens, unsigned flags,
                                char *out, size_t cap, size_t *n, sluice_error *error)
{
    struct failure f = {0};
    struct text_decoder decoder;
    struct text_buffer buffer = {0};
    *n = 0;
    if (!e->vocab) {
        fail_no_tokenizer(e, &f);
        return report_failure(error, &f);
    }
    text_decoder_init(&decoder, e->vocab,
                      VOCAB_DECODE_REPLACE | (flags & SLUICE_TEXT_SPECIAL ? VOCAB_DECODE_SPECIAL : 0) |
                          (flags & SLUICE_TEXT_CONTINUE ? VOCAB_DECODE_CONTINUE : 0));
    sluice_status s = SLUICE_OK;
    for (size_t i = 0; i < n_tokens && !s; i++) s = text_decoder_push(&decoder, tokens[i], &buffer);
    if (!s) s = text_decoder_finish(&decoder, &buffer);
    if (s) {
        fail(&f, s, "no memory for the text");
    } else {
        *n = buffer.n;
        if (buffer.n && cap) memcpy(out, buffer.data, buffer.n < cap ? buffer.n : cap);
    }
    text_buffer_free(&buffer);
    return s ? report_failure(error, &f) : SLUICE_OK;
}

const char *sluice_token_bytes(const sluice_engine *e, int32_t token, size_t *n)
{
    *n = 0;
    return e->vocab ? vocab_token_bytes(e->vocab, token, n) : "";
}

bool sluice_token_is_end(const sluice_engine *e, int32_t token)
{
    if (!e->has_model) return false;
    const struct model_config *c = &e->model.config;
    for (int i = 0; i < c->n_end_tokens; i++)
        if (c->end_tokens[i] == token) return true;
    return false;
}
