/* Owns the price of what makes a session differ from the model as it is, in nats per token. */
#ifndef TOOLS_KL_H
#define TOOLS_KL_H

#include "load.h"

enum { KL_TOKENS = 512 }; /* that a run is measured on, at most */

/* Means over tokens. */
struct kl_figures {
    size_t n_tokens; /* 0: nothing was measured */
    double kl;       /* KL(native || variant), nats per token */
    double loss[2];  /* of native and variant: nats per token that follows in the text; 0 for one token */
};

/* Runs n >= 1 tokens through two sessions with one vocabulary from their beginnings, block by block in turn; both need
 * n positions and n_block tokens per pass, and nobody may observe them. */
sluice_status kl_between(struct kl_figures *out, sluice_session *native, sluice_session *variant, size_t vocab_size,
                         const int32_t *tokens, size_t n, size_t n_block, sluice_error *error);

/* What the surgery of `options` costs over these tokens, or the first KL_TOKENS of them: two sessions of one engine,
 * with and without it. */
sluice_status kl_of_surgery(struct kl_figures *out, const sluice_engine *engine, const struct load_options *options,
                            const int32_t *tokens, size_t n, sluice_error *error);
/* The same over n tokens, 1..KL_TOKENS, that the model writes by itself, without surgery, at temperature 1: for want of
 * a text, and since the mean over its own texts is what KL(native || variant) means. */
sluice_status kl_of_own_text(struct kl_figures *out, const sluice_engine *engine, const struct load_options *options,
                             size_t n, sluice_error *error);

#endif
