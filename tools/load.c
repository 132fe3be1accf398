/* Owns opening of models and feeding of prompts. */
#include "load.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"
#include "output.h"
#include "progress.h"
#include "sluice/experimental.h"

/* Tokens of a prompt that is short enough for a bar which moves once per pass. */
enum { PROMPT_WITHOUT_LAYERS = 256 };

static bool holds_a_model(const char *folder)
{
    char file[PATH_MAX];
    int n = snprintf(file, sizeof file, "%s/config.json", folder);
    return n > 0 && (size_t)n < sizeof file && access(file, R_OK) == 0;
}

sluice_status load_find_demo(char *out, size_t cap, sluice_error *error)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
#ifdef SLUICE_DEMO_DIR
    snprintf(out, cap, "%s", SLUICE_DEMO_DIR);
    if (holds_a_model(out)) return SLUICE_OK;
#endif
    if (n > 0) {
        program[n] = 0;
        *strrchr(program, '/') = 0;
        int length = snprintf(out, cap, "%s/../share/sluice/demo", program);
        if (length > 0 && (size_t)length < cap && holds_a_model(out)) return SLUICE_OK;
    }
    return set_error(error, SLUICE_ARGUMENT, "no model is named and the demo model is not installed: name a MODEL");
}

static void show_progress(void *context, uint64_t done, uint64_t total) { progress_update(context, done, total); }

static void show_warning(void *context, const char *text)
{
    (void)context;
    report_warning(text);
}

/* Said before a large model is loaded, and not after. */
static sluice_status check_cache_type(const char *type, sluice_error *error)
{
    static const char *const known[] = {"f32", "f16", "bf16", "q8_0"};
    char shown[64];
    if (!type) return SLUICE_OK;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(type, known[i]) == 0) return SLUICE_OK;
    return set_error(error, SLUICE_ARGUMENT, "--cache-type: found %s, expected f32, f16, bf16 or q8_0",
                     quote_bytes(shown, sizeof shown, type, strlen(type)));
}

static bool reads_files(const struct load_options *o) { return o->access && strcmp(o->access, "read") == 0; }

static sluice_status check_access(const struct load_options *o, sluice_error *error)
{
    char shown[64];
    if (o->access && strcmp(o->access, "map") != 0 && !reads_files(o))
        return set_error(error, SLUICE_ARGUMENT, "--load: found %s, expected map or read",
                         quote_bytes(shown, sizeof shown, o->access, strlen(o->access)));
    if (reads_files(o) && o->no_repack)
        return set_error(error, SLUICE_ARGUMENT, "--load read and --no-repack exclude each other");
    return SLUICE_OK;
}

/* Holds the surgery against the model before its weights are loaded, which may take long. */
static sluice_status check_surgery(const char *path, const struct load_options *o, const struct surgery *surgery,
                                   sluice_error *error)
{
    sluice_engine *engine;
    sluice_engine_options options = sluice_engine_options_default();
    options.flags = SLUICE_OPEN_NO_WEIGHTS;
    sluice_status status = sluice_engine_open(&engine, path, &options, error);
    if (!status) status = surgery_check_trace(&o->surgery, engine, error);
    if (!status) status = sluice_expert_surgery_check(engine, &surgery->request, error);
    sluice_engine_close(&engine);
    return status;
}

sluice_status load_engine(sluice_engine **out, const char *path, const struct load_options *o, unsigned flags,
                          sluice_error *error)
{
    struct surgery surgery;
    sluice_session_options session = sluice_session_options_default();
    *out = NULL;
    if (!*path) return set_error(error, SLUICE_ARGUMENT, "the name of the model is empty");
    sluice_status status = check_cache_type(o->cache_type, error);
    if (!status) status = check_access(o, error);
    if (!status) status = surgery_parse(&surgery, &o->surgery, error);
    if (status) return status;
    if (surgery_is_asked(&o->surgery)) status = check_surgery(path, o, &surgery, error);
    if (status) {
        surgery_free(&surgery);
        return status;
    }
    if (o->session) session = *o->session;
    session.surgery = &surgery.request;
    struct progress bar = progress_begin("loading", PROGRESS_BYTES);
    sluice_engine_options options = sluice_engine_options_default();
    options.n_threads = (int)o->threads.value;
    options.flags = flags | (o->exact ? SLUICE_OPEN_EXACT : 0) | (o->no_repack ? SLUICE_OPEN_NO_REPACK : 0) |
                    (o->keep_float ? SLUICE_OPEN_FLOAT : 0) | (o->blas ? SLUICE_OPEN_BLAS : 0) |
                    (reads_files(o) ? SLUICE_OPEN_READ : 0);
    options.load_as = o->load_as;
    options.session = o->session ? &session : NULL;
    options.progress = show_progress;
    options.warning = show_warning;
    options.context = &bar;
    status = sluice_engine_open(out, path, &options, error);
    progress_end(&bar);
    surgery_free(&surgery);
    return status;
}

sluice_status load_session(sluice_session **out, const sluice_engine *engine, const struct load_options *o,
                           size_t n_context, size_t n_chunk, sluice_error *error)
{
    struct surgery surgery;
    sluice_session_options options = sluice_session_options_default();
    options.n_context = (int)n_context;
    options.n_chunk = (int)n_chunk;
    options.cache_type = o->cache_type;
    options.surgery = &surgery.request;
    *out = NULL;
    sluice_status status = surgery_parse(&surgery, &o->surgery, error);
    if (status) return status;
    status = sluice_session_create(out, engine, &options, error);
    surgery_free(&surgery);
    if (!status) interrupt_watch(*out);
    return status;
}

void load_free_session(sluice_session **session)
{
    interrupt_watch(NULL);
    sluice_session_free(session);
}

static sluice_status run_prompt(sluice_session *session, const struct input_tokens *tokens, size_t n_chunk,
                                struct progress *bar, sluice_error *error)
{
    sluice_status status = SLUICE_OK;
    for (size_t done = 0; !status && done < tokens->count;) {
        size_t n = tokens->count - done < n_chunk ? tokens->count - done : n_chunk;
        status = sluice_session_prefill(session, tokens->ids + done, n);
        done += n;
        progress_update(bar, done, tokens->count);
    }
    progress_end(bar);
    return status ? set_error(error, status, "%s", sluice_session_error(session)) : SLUICE_OK;
}

sluice_status load_prompt(sluice_session *session, const struct input_tokens *tokens, size_t n_chunk,
                          sluice_error *error)
{
    struct progress bar = progress_begin("prefill", PROGRESS_TOKENS);
    return run_prompt(session, tokens, n_chunk, &bar, error);
}

/* What moves the bar within a pass. */
struct pass_progress {
    struct progress bar;
    int n_layers;
    size_t n_tokens;
};

/* Layers count as parts of the pass's tokens. */
static void see_layer(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows,
                      size_t width, const void *data)
{
    struct pass_progress *p = context;
    (void)what, (void)width, (void)data;
    progress_update(&p->bar, first_position + n_rows * (size_t)(layer + 1) / (size_t)p->n_layers, p->n_tokens);
}

sluice_status load_long_prompt(sluice_session *session, const sluice_model_info *info,
                               const struct input_tokens *tokens, size_t n_chunk, sluice_error *error)
{
    struct pass_progress p = {progress_begin("prefill", PROGRESS_TOKENS), info->n_layers, tokens->count};
    /* The smallest thing that a pass shows once per layer. */
    enum sluice_observation what = info->n_moe_layers ? SLUICE_SEE_EXPERTS : SLUICE_SEE_HIDDEN;
    sluice_observer observer = {.wanted = 1u << what, .see = see_layer, .context = &p};
    if (p.bar.terminal && tokens->count > PROMPT_WITHOUT_LAYERS) sluice_session_observe(session, &observer);
    sluice_status status = run_prompt(session, tokens, n_chunk, &p.bar, error);
    sluice_session_observe(session, NULL);
    return status;
}
