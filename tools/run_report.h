/* Owns the figures of one run and their two forms: a few lines for people, one JSON object for programs. */
#ifndef TOOLS_RUN_REPORT_H
#define TOOLS_RUN_REPORT_H

#include <jansson.h>

#include "kl.h"
#include "progress.h"
#include "sluice/sluice.h"

struct run_figures {
    sluice_model_info info;
    double huge_page_share; /* for print_loading */
    size_t n_generated;     /* tokens */
    double load_seconds, prefill_seconds;
    sluice_session_stats prefill, decode; /* of the passes before and after the first sampled token */
    size_t session_bytes;
    uint64_t seed;
    bool greedy;  /* the seed is of no consequence */
    bool verbose; /* figures of loading and memory are wanted */
    bool hashed;  /* logits_hash is wanted */
    uint64_t logits_hash;
    const struct surgery_flags *surgery; /* NULL: the model as it is */
    struct kl_figures kl;                /* of the surgery; without tokens: not measured */
    const char *finish;                  /* "stop", "length", "eos", "context" or "cancelled" */
};

/* To standard error. */
void run_report_print(const struct run_figures *figures);
/* {"summary": {...}}; NULL: no memory. */
json_t *run_report_json(const struct run_figures *figures, const sluice_sampling *sampling);

#endif
