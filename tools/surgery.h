/* Owns the flags of expert surgery, for all commands that have them: from what is typed to what a session takes. Other
 * commands' tables get them with OPTION_ROWS_SURGERY of commands.h. */
#ifndef TOOLS_SURGERY_H
#define TOOLS_SURGERY_H

#include "args.h"
#include "sluice/experimental.h"
#include "trace_file.h"

/* Values of the options; part of struct load_options. */
struct surgery_flags {
    struct option_integer active_experts;
    const char *ablate, *zero, *force; /* "3:5,4:*,*:7": layer and expert, or all */
    bool dense_twin;
    const char *freeze_routing; /* file of a trace, which surgery_read_trace reads ... */
    const struct trace *trace;  /* ... to here; outlives all sessions. NULL: none */
};

/* Reads the trace of --freeze-routing, if there is one, into *trace, and lets the flags point to it. */
sluice_status surgery_read_trace(struct trace *trace, struct surgery_flags *flags, sluice_error *error);
/* SLUICE_ARGUMENT: the trace is of another model, or of another number of active experts. */
sluice_status surgery_check_trace(const struct surgery_flags *flags, const sluice_engine *engine, sluice_error *error);
/* Tells where the first n tokens are others than those of the trace, whose routing is followed position by position,
 * and whether it ends before n_positions. */
void surgery_note_trace(const struct surgery_flags *flags, const int32_t *tokens, size_t n, size_t n_positions);

bool surgery_is_asked(const struct surgery_flags *flags);
/* The experts that a token chooses, where the model chooses top_k. */
int surgery_top_k(const struct surgery_flags *flags, int top_k);

/* What the flags mean. */
struct surgery {
    sluice_expert_surgery request;
    sluice_expert_place *places; /* malloc'ed: all lists, one behind the other */
};
/* SLUICE_ARGUMENT: a list is not one. Whether the model has such experts, the library says. */
sluice_status surgery_parse(struct surgery *out, const struct surgery_flags *flags, sluice_error *error);
void surgery_free(struct surgery *s);

/* The flags as one types them, "--active-experts 4 --zero 1:3"; long lists are cut. Returns out. */
char *surgery_describe(const struct surgery_flags *flags, char *out, size_t cap);

#endif
