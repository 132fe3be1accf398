/* Owns the steps that every command with a model shares: opening it and running a prompt through it, with warnings,
 * progress and Ctrl-C. */
#ifndef TOOLS_LOAD_H
#define TOOLS_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "args.h"
#include "input.h"
#include "sluice/sluice.h"
#include "surgery.h"

enum { LOAD_CHUNK = 2048, LOAD_MAX_THREADS = 256, LOAD_MAX_CHUNK = 8192, LOAD_MAX_CONTEXT = 16 << 20 };

/* What the options say about how a model is loaded and run (the rows OPTION_ROW_... of commands.h). */
struct load_options {
    struct option_integer threads; /* 0: one per CPU */
    const char *load_as;           /* type that matrices are rounded to, or NULL */
    const char *cache_type;        /* of keys and values; NULL: as the weights suggest */
    const char *access;            /* "map" or "read"; NULL: map */
    bool exact, no_repack, keep_float, blas;
    struct surgery_flags surgery; /* of every session */
    const sluice_session_options *session; /* that will run, for the sum of memory; NULL: not known yet */
};

/* The folder of the demo model: of the source tree that this program was built from, or ../share/sluice/demo beside
 * the program. SLUICE_ARGUMENT: there is none. */
sluice_status load_find_demo(char *out, size_t cap, sluice_error *error);
/* `flags` of enum sluice_open_flags, besides those that the options ask for. */
sluice_status load_engine(sluice_engine **out, const char *path, const struct load_options *options, unsigned flags,
                          sluice_error *error);
/* Creates a session of n_context positions and lets Ctrl-C cancel it. */
sluice_status load_session(sluice_session **out, const sluice_engine *engine, const struct load_options *options,
                           size_t n_context, size_t n_chunk, sluice_error *error);
void load_free_session(sluice_session **session);
/* Appends the tokens in passes of n_chunk. The bar moves with the passes. */
sluice_status load_prompt(sluice_session *session, const struct input_tokens *tokens, size_t n_chunk,
                          sluice_error *error);
/* The same for a session that nobody observes: the bar moves with the layers of each pass. */
sluice_status load_long_prompt(sluice_session *session, const sluice_model_info *info,
                               const struct input_tokens *tokens, size_t n_chunk, sluice_error *error);

#endif
