/* What Sluice does not promise to keep: looking inside a pass, and reading arrays from .safetensors files. */
#ifndef SLUICE_EXPERIMENTAL_H
#define SLUICE_EXPERIMENTAL_H

#include "sluice/sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what the model computes ----------------------------------------------------------------------------------- */

typedef enum sluice_observation {
    SLUICE_SEE_LOGITS,         /* float32 [n_rows, vocab_size]; of every token, layer = -1 */
    SLUICE_SEE_ATTENTION,      /* float32 [n_rows, hidden_size]: output of the token mixer, before the residual add */
    SLUICE_SEE_ROUTER_SCORES,  /* float32 [n_rows, n_experts]: probabilities (or sigmoids) of all experts */
    SLUICE_SEE_EXPERTS,        /* int32   [n_rows, top_k]: chosen experts, ascending id */
    SLUICE_SEE_EXPERT_WEIGHTS, /* float32 [n_rows, top_k]: their weights, in the same order */
    SLUICE_SEE_FFN,            /* float32 [n_rows, hidden_size]: output of MLP or experts, before the residual add */
    SLUICE_SEE_HIDDEN,         /* float32 [n_rows, hidden_size]: residual stream after the layer */
    SLUICE_N_OBSERVATIONS
} sluice_observation;

typedef struct sluice_observer {
    unsigned wanted; /* bit (1u << observation) */
    /* Called on the thread that runs the pass's caller, in order of layers, once per wanted observation and pass:
     * n_rows tokens beginning with position first_position; data is row-major [n_rows, width], valid during the
     * call. Layers without experts give no router observations. Must not call any session of the engine. */
    void (*see)(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows, size_t width,
                const void *data);
    void *context;
} sluice_observer;

/* Attaches an observer (copied; NULL detaches). Wanting the logits of every token costs the head for every token.
 * A session that is observed cannot take part in sluice_decode_many. SLUICE_MEMORY: no room for the copies. */
SLUICE_API sluice_status sluice_session_observe(sluice_session *session, const sluice_observer *observer);

/* ---- arrays from a .safetensors file ---------------------------------------------------------------------------- */

typedef struct sluice_arrays sluice_arrays;
SLUICE_API sluice_status sluice_arrays_open(sluice_arrays **out, const char *path, sluice_error *error);
SLUICE_API void sluice_arrays_close(sluice_arrays **arrays);
/* Converted copy of a whole array: F32/F16/BF16 to float, I32/I64 to int32 (out of range: SLUICE_FORMAT). `n_dims` on
 * input is the capacity of `shape`, on output the rank. *out is malloc'ed: free() it. SLUICE_ARGUMENT: no such array or
 * wrong kind. */
SLUICE_API sluice_status sluice_arrays_get_float(const sluice_arrays *arrays, const char *name, float **out,
                                                 size_t *shape, size_t *n_dims, sluice_error *error);
SLUICE_API sluice_status sluice_arrays_get_int(const sluice_arrays *arrays, const char *name, int32_t **out,
                                               size_t *shape, size_t *n_dims, sluice_error *error);
SLUICE_API const char *sluice_arrays_metadata(const sluice_arrays *arrays, const char *key); /* NULL: absent */

#ifdef __cplusplus
}
#endif
#endif
