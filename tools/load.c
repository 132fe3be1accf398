/* Owns opening of models and feeding of prompts. */
#include "load.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"
#include "output.h"
#include "progress.h"

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

sluice_status load_engine(sluice_engine **out, const char *path, int64_t n_threads, unsigned flags, const char *load_as,
                          sluice_error *error)
{
    *out = NULL;
    if (!*path) return set_error(error, SLUICE_ARGUMENT, "the name of the model is empty");
    struct progress bar = progress_begin("loading", PROGRESS_BYTES);
    sluice_engine_options options = sluice_engine_options_default();
    options.n_threads = (int)n_threads;
    options.flags = flags;
    options.load_as = load_as;
    options.progress = show_progress;
    options.warning = show_warning;
    options.context = &bar;
    sluice_status status = sluice_engine_open(out, path, &options, error);
    progress_end(&bar);
    return status;
}

sluice_status load_session(sluice_session **out, const sluice_engine *engine, size_t n_context, size_t n_chunk,
                           sluice_error *error)
{
    sluice_session_options options = sluice_session_options_default();
    options.n_context = (int)n_context;
    options.n_chunk = (int)n_chunk;
    sluice_status status = sluice_session_create(out, engine, &options, error);
    if (!status) interrupt_watch(*out);
    return status;
}

void load_free_session(sluice_session **session)
{
    interrupt_watch(NULL);
    sluice_session_free(session);
}

sluice_status load_prompt(sluice_session *session, const struct input_tokens *tokens, size_t n_chunk,
                          sluice_error *error)
{
    struct progress bar = progress_begin("prefill", PROGRESS_TOKENS);
    sluice_status status = SLUICE_OK;
    for (size_t done = 0; !status && done < tokens->count;) {
        size_t n = tokens->count - done < n_chunk ? tokens->count - done : n_chunk;
        status = sluice_session_prefill(session, tokens->ids + done, n);
        done += n;
        progress_update(&bar, done, tokens->count);
    }
    progress_end(&bar);
    return status ? set_error(error, status, "%s", sluice_session_error(session)) : SLUICE_OK;
}
