/* What Sluice does not promise to keep: looking inside a pass, choosing other experts, knowing where time goes,
 * measuring the machine, copying sessions, writing GGUF files, and reading arrays from .safetensors files. */
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
    SLUICE_SEE_EXPERTS,        /* int32   [n_rows, top_k]: chosen experts, ascending id. With
                                * sluice_expert_surgery.active_experts so many columns, not top_k */
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

/* ---- expert surgery ----------------------------------------------------------------------------------------------
 *
 * A session may choose experts otherwise than its model does: for questions like what an expert is for, what fewer
 * experts cost, what sparsity saves. It is fixed when the session is created, because it decides the size of buffers
 * (sluice_session_options.surgery), and holds for every pass: prefill, decode, sluice_decode_many. Shared experts and
 * dense layers stay as they are. The statistics count what was really read. */

enum { SLUICE_EVERY = -1 };

/* One expert; SLUICE_EVERY: of every layer that has experts and this one, every expert of the layer. */
typedef struct sluice_expert_place {
    int layer, expert;
} sluice_expert_place;

/* All zeros: the model as it is. */
typedef struct sluice_expert_surgery {
    /* Experts that a token chooses in every layer that has experts, 1..n_experts; 0: the model's top_k. Weights are
     * renormalised where the family does it. Where it chooses among groups (DeepSeek), as many groups stay open as
     * ever, best first, and more only where these have fewer experts left than a token needs. */
    int active_experts;
    /* Masked before the choice, as if the router had no row for them: the score is 0, and the others share what a
     * softmax gave them. As many as a token needs must be left. */
    const sluice_expert_place *ablate;
    /* Chosen and computed as ever, but with weight 0; the weights of the others stay. */
    const sluice_expert_place *zero;
    /* Always chosen, in the place of the worst of the choice, with the weight that their own score gives them. */
    const sluice_expert_place *force;
    size_t n_ablate, n_zero, n_force;
    /* Routing from elsewhere (NULL: none). Fills the ids and weights of n experts, in any order, for the token at
     * `position` of the session, and returns true; or returns false, and the router chooses. These are the final
     * weights, as SLUICE_SEE_EXPERT_WEIGHTS shows them; `ablate` and `force` do not touch them, `zero` does. Called in
     * passes, by several threads at once and more than once for the same token, so it has to be a function of its
     * arguments and must not call any session of the engine. Experts that do not exist or are given twice, and weights
     * that are not finite, end the call on the session with SLUICE_ARGUMENT. */
    bool (*route)(void *context, int layer, size_t position, int n, int32_t *experts, float *weights);
    void *context;
    /* The dense twin: every expert is computed for every token, and those that were not chosen are multiplied by 0. The
     * logits stay the same, bit for bit in an exact engine (SLUICE_OPEN_EXACT), because experts are added in ascending
     * id. (But 0 times infinity is no number: an expert that overflows where nobody chose it is SLUICE_NUMERIC.) A
     * chunk takes n_experts / top_k times the memory. */
    bool dense_twin;
} sluice_expert_surgery;

/* What sluice_session_create says about it, before any session exists; the engine may be open without weights.
 * SLUICE_ARGUMENT: the model has no such layer or expert, an expert is both ablated and forced, too few are left or too
 * many are forced. */
SLUICE_API sluice_status sluice_expert_surgery_check(const sluice_engine *engine, const sluice_expert_surgery *surgery,
                                                     sluice_error *error);

/* ---- profile: where the time of passes goes ---------------------------------------------------------------------- */

/* Operations are steps that all threads take one after the other; the time of waiting for the slowest thread belongs to
 * the step before. What is said in brackets is counted: W bytes of weights, C of the cache, F multiplications and
 * additions. Activations are not counted, they stay in the caches. */
typedef enum sluice_operation {
    SLUICE_OP_PASS,           /* starting and ending the team of threads, once per pass */
    SLUICE_OP_EMBED,          /* looking up the embeddings */
    SLUICE_OP_NORM,           /* norms before and behind mixers and FFNs, scale of a layer */
    SLUICE_OP_QKV,            /* grouped-query attention: queries, keys and values [W F] */
    SLUICE_OP_LATENT,         /* latent attention: the latents, and queries from theirs [W F] */
    SLUICE_OP_RECURRENT_IN,   /* Gated DeltaNet, short convolutions: what they read [W F] */
    SLUICE_OP_ROPE,           /* norms of queries and keys, rotation, writing the cache */
    SLUICE_OP_ATTENTION,      /* scores, softmax and values [C F: the pairs that are seen] */
    SLUICE_OP_LATENT_HEADS,   /* latent attention: between the latent and the heads' queries, keys and values [W F] */
    SLUICE_OP_RECURRENT,      /* convolution, and the state of Gated DeltaNet [C F: of its recurrent form] */
    SLUICE_OP_MIXER_OUT,      /* the output product of any of these [W F] */
    SLUICE_OP_ROUTER,         /* scores, choosing and sorting experts, switch of a shared expert [W F] */
    SLUICE_OP_EXPERT_PACK,    /* bringing together the rows of each expert; not with one row */
    SLUICE_OP_EXPERT_GATE_UP, /* the chosen experts' first two matrices and the activation [W F] */
    SLUICE_OP_EXPERT_DOWN,    /* their third matrix and the weighted sum [W F] */
    SLUICE_OP_SHARED_GATE_UP, /* the same of the shared expert [W F] */
    SLUICE_OP_SHARED_DOWN,    /* [W F] */
    SLUICE_OP_MLP_GATE_UP,    /* the same of a dense MLP [W F] */
    SLUICE_OP_MLP_DOWN,       /* [W F] */
    SLUICE_OP_HEAD,           /* the last norm, and the logits [W F] */
    SLUICE_OP_OBSERVE,        /* calls of an observer */
    SLUICE_N_OPERATIONS
} sluice_operation;
SLUICE_API const char *sluice_operation_name(sluice_operation operation); /* "expert gate-up"; NULL: no such one */

/* Passes with more than one row per session (and what is computed again after a rewind), and those with one. */
typedef enum sluice_phase { SLUICE_PREFILL, SLUICE_DECODE, SLUICE_N_PHASES } sluice_phase;

/* Begins a profile of all later passes of the session, empty; of sluice_decode_many, those that its session with the
 * largest context leads, the first one of equal ones. `max_spans`: how many spans (below) are kept of each thread, at
 * most 2^24; 0: none. A profile changes no bit of any result and costs about 1 % of the time. SLUICE_ARGUMENT;
 * SLUICE_MEMORY. On failure an earlier profile goes on. */
SLUICE_API sluice_status sluice_session_begin_profile(sluice_session *session, size_t max_spans);
SLUICE_API void sluice_session_end_profile(sluice_session *session); /* frees it; fine if there is none */
SLUICE_API void sluice_session_reset_profile(sluice_session *session); /* everything to 0; fine if there is none */

/* What follows reads the profile between passes; without one, everything is 0. */

/* One operation of one layer in all passes of one phase. */
typedef struct sluice_profile_cell {
    uint64_t calls;        /* times that the step was taken */
    double seconds;        /* mean over the threads: those of all cells add up to sluice_profile_total.seconds */
    double wait_seconds;   /* part of these that was spent at barriers, mean over the threads */
    uint64_t weight_bytes; /* read, each matrix once per pass: only those experts that some row chose */
    uint64_t cache_bytes;  /* keys, values, latents and states read, once per pass and session */
    uint64_t operations[SLUICE_N_PEAKS]; /* by the kind of arithmetic that does them */
} sluice_profile_cell;
/* layer -1: what belongs to no layer. Zeros for indices that do not exist. */
SLUICE_API sluice_profile_cell sluice_profile_get(const sluice_session *session, sluice_operation operation, int layer,
                                                  sluice_phase phase);

typedef struct sluice_profile_total {
    uint64_t passes, tokens;
    double seconds;                      /* from the beginning of each pass to its end */
    uint64_t minor_faults, major_faults; /* page faults of the process meanwhile, without and with reading a disk */
    uint64_t preemptions;                /* times that a thread of the process had to leave its CPU to another one */
} sluice_profile_total;
SLUICE_API sluice_profile_total sluice_profile_get_total(const sluice_session *session, sluice_phase phase);

/* Seconds that a thread (0 .. n_threads - 1) spent at barriers in all passes of a phase. */
SLUICE_API double sluice_profile_get_wait(const sluice_session *session, int thread, sluice_phase phase);

/* Rows (tokens) that met an expert of a layer; and how often an expert of that layer met exactly n_rows >= 1 rows in a
 * pass. */
SLUICE_API uint64_t sluice_profile_get_expert_rows(const sluice_session *session, int layer, int expert,
                                                   sluice_phase phase);
SLUICE_API uint64_t sluice_profile_get_row_count(const sluice_session *session, int layer, int n_rows,
                                                 sluice_phase phase);
/* Names of the kernels that multiply an expert's gate and up, and down, with so many rows, for as long as the engine is
 * open. False: the layer has no experts. */
SLUICE_API bool sluice_engine_get_expert_kernels(const sluice_engine *engine, int layer, int n_rows,
                                                 const char **gate_up, const char **down);

/* What one thread did, in order of time. */
typedef struct sluice_profile_span {
    double begin, end, wait_seconds; /* seconds since the beginning or the reset; the wait is mostly at the end */
    uint64_t pass;                   /* passes before it */
    sluice_operation operation;
    sluice_phase phase;
    int layer; /* -1: none */
} sluice_profile_span;
/* False: no such span, because there were no more, or no room for more. */
SLUICE_API bool sluice_profile_get_span(const sluice_session *session, int thread, size_t i, sluice_profile_span *out);

/* ---- what the machine can do ------------------------------------------------------------------------------------ */

/* The best that loops reach which do nothing else; 0: the machine has no such arithmetic. */
typedef struct sluice_roof {
    double read_gb_per_s; /* from memory, far beyond the caches, in 2 MiB pages */
    double int8_tops, bf16_tflops, f32_tflops; /* multiplications and additions, 10^12 per second */
    const char *int8_isa, *bf16_isa, *f32_isa; /* what does them, "avx512vnni"; NULL where nothing does. Static text */
    const char *cpu;                           /* the processor's name */
    int n_threads;
} sluice_roof;

/* Measures for about half a second, on n_threads (0: one per CPU that the process may use), and raises what is found to
 * be faster than *roof says: begin with zeros, and call it between pieces of work that are held against it, so that
 * both meet the same clock frequency and the same neighbours. */
SLUICE_API sluice_status sluice_measure_roof(int n_threads, sluice_roof *roof, sluice_error *error);

/* Bits (1u << enum sluice_peak) of the kinds of arithmetic that the model's products use. SLUICE_PEAK_BF16 and
 * SLUICE_PEAK_INT8 round activations to 16 and 8 bits. */
SLUICE_API unsigned sluice_engine_get_peaks(const sluice_engine *engine);

/* Several lines about the i-th group of sluice_engine_get_matrix_group: its layout and the kernels by number of rows,
 * with what kept better ones away. False: no such group. Always NUL-terminated. */
SLUICE_API bool sluice_engine_get_kernels(const sluice_engine *engine, size_t i, char *out, size_t cap);

/* ---- how large an expert is ------------------------------------------------------------------------------------- */

/* Bytes of one expert's matrices as a pass reads them, summed over the layers with experts: one expert of each. 0: no
 * experts. */
SLUICE_API uint64_t sluice_engine_get_expert_bytes(const sluice_engine *engine);

/* ---- a second timeline from the same beginning ------------------------------------------------------------------ */

/* `to` becomes equal to `from`: tokens, cache, logits. Afterwards each goes its own way. Statistics, observers and
 * expert surgery stay.
 * SLUICE_ARGUMENT: sessions of two engines; SLUICE_CONTEXT: more tokens than to's context. The sentence for people is
 * in `to`, whose timeline is then as before. */
SLUICE_API sluice_status sluice_session_copy(sluice_session *to, const sluice_session *from);

/* ---- writing a model as a GGUF file ----------------------------------------------------------------------------- */

/* Matrices whose name in the GGUF file fits `pattern` get `type`, whatever the mix says. A pattern with one of * ? [ is
 * a glob over the whole name, any other is searched in the name: "ffn_down_exps", "blk.0.*". The first rule that fits
 * wins. */
typedef struct sluice_tensor_rule {
    const char *pattern;
    const char *type; /* one element type: "q6_k", "f16" */
} sluice_tensor_rule;

/* What became of one tensor. Pointers live during the call. */
typedef struct sluice_tensor_report {
    const char *name;
    int n_dims;
    uint64_t shape[4];      /* row-major, outermost first */
    const char *from, *to;  /* "BF16", "Q4_K" */
    const char *wanted;     /* the type that was meant, where its blocks do not fit the rows; else NULL */
    bool weighted;          /* rounded with an importance matrix (of a bank of experts: all of them) */
    uint64_t bytes;         /* in the new file */
    double rmse;            /* root of the mean squared error */
    double relative_rmse;   /* divided by the root of the mean square of the tensor; 0 for a tensor of zeros */
    double max_error;
} sluice_tensor_report;

enum sluice_quantize_stage {
    SLUICE_STAGE_LOAD,      /* reading IN as a model, to calibrate: bytes */
    SLUICE_STAGE_CALIBRATE, /* running the text: tokens */
    SLUICE_STAGE_WRITE,     /* converting and writing: bytes of the source */
};

typedef struct sluice_quantize_options {
    const char *type; /* an element type ("q8_0", "f16") or the name of a mix ("q4_k_m"); see sluice_quantize_type */
    const sluice_tensor_rule *rules;
    size_t n_rules;
    int n_threads; /* 0: one per CPU that the process may use; at most 256 */
    /* A text like those that the model will see (NULL: none). It is run through the model in pieces of n_context tokens
     * (0: 512), and the mean square of each input of each matrix, of each expert on its own, weighs the rounding errors
     * of the columns that meet it. IN must then be a model that this library runs, and fit in memory. */
    const char *calibration_text;
    size_t calibration_length;
    int n_context;
    /* Each may be NULL. Called on the thread of the caller. `progress` comes about ten times a second and at the end
     * of a stage; `cancelled` is asked often, and true ends the work with SLUICE_CANCELLED, leaving no file. */
    void (*progress)(void *context, enum sluice_quantize_stage stage, uint64_t done, uint64_t total);
    void (*tensor)(void *context, const sluice_tensor_report *report);
    void (*warning)(void *context, const char *text);
    bool (*cancelled)(void *context);
    void *context;
} sluice_quantize_options;
SLUICE_API sluice_quantize_options sluice_quantize_options_default(void);

typedef struct sluice_quantize_result {
    uint64_t n_tensors, n_parameters;
    uint64_t source_bytes, tensor_bytes, file_bytes; /* tensors of IN; tensors of OUT; OUT */
    uint64_t n_replaced;    /* tensors that got another type than was meant, because its blocks do not fit the rows */
    uint64_t n_rounded;     /* tensors whose values changed */
    double bits_per_weight; /* of all tensors of OUT */
    uint64_t n_calibration_tokens, n_untouched_experts; /* pairs (layer, expert) that no token chose */
} sluice_quantize_result;

/* Writes the model `in` (a Hugging Face folder of a known architecture, or any GGUF file) as the new GGUF file `out`,
 * which appears only when it is whole. Norms, biases and routers stay F32. Of a GGUF file all keys and tensors are
 * carried over under their names, so an unknown architecture works as well; what is quantised already is decoded first,
 * unless it has the wanted type, and then it is copied. Needs less than 2 GB of memory, beyond one tensor, for any
 * model; with a calibration text, the model as well. *result (may be NULL) is filled on success.
 * SLUICE_ARGUMENT: unknown type, a rule that fits no matrix. SLUICE_IO: `out` exists, cannot be written or finds no
 * room. SLUICE_FORMAT: a value is not finite, or too large for the wanted type. */
SLUICE_API sluice_status sluice_quantize(const char *in, const char *out, const sluice_quantize_options *options,
                                         sluice_quantize_result *result, sluice_error *error);
/* The i-th name that `type` may have and one line about it; false: there are no more. */
SLUICE_API bool sluice_quantize_type(size_t i, const char **name, const char **about);

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
