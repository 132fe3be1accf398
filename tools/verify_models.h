/* Owns the comparison of two models with one tokenizer over a text: `sluice verify A B -f TEXT`. */
#ifndef TOOLS_VERIFY_MODELS_H
#define TOOLS_VERIFY_MODELS_H

#include <stdbool.h>

#include "load.h"

struct verify_models_request {
    const char *a, *b;         /* paths; a is the truth */
    const char *prompt, *file; /* one of them, or the pipe */
    int n_window;  /* positions per window, 2 or more, that do not see other windows; 0: 512 or what there is */
    double max_kl; /* negative: no limit. Above it: an empty SLUICE_FORMAT, after the figures */
    bool one_engine; /* a and b are one model, and b differs by the surgery of `load` alone */
    struct load_options load; /* of b; a is the truth: not rounded while it is loaded, and its activations stay float */
    bool json;
};

sluice_status verify_models(const struct verify_models_request *request, sluice_error *error);

#endif
