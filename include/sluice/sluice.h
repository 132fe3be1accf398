/* Sluice: runs open-weight mixture-of-experts language models on ordinary CPUs.
 *
 * The whole stable API, to be read from top to bottom. A complete program:
 *
 *     sluice_engine *engine;
 *     sluice_session *session;
 *     sluice_error error;
 *     if (sluice_engine_open(&engine, "path/to/model", NULL, &error)) { puts(error.text); return 1; }
 *     if (sluice_session_create(&session, engine, NULL, &error)) { ... }
 *     int32_t tokens[64];
 *     size_t n, length;
 *     sluice_sampling how = sluice_engine_get_sampling(engine);
 *     sluice_tokenize(engine, "Once upon a time", 16, 0, tokens, 64, &n, &error); // n > 64: only 64 were written
 *     sluice_session_prefill(session, tokens, n < 64 ? n : 64);
 *     for (int i = 0; i < 100; i++) {
 *         int32_t token = sluice_sample(session, &how);
 *         if (sluice_token_is_end(engine, token)) break;
 *         const char *bytes = sluice_token_bytes(engine, token, &length); // or a sluice_text_stream: whole characters
 *         fwrite(bytes, 1, length, stdout);
 *         sluice_session_decode(session, token);
 *     }
 *     sluice_session_free(&session);
 *     sluice_engine_close(&engine);
 *
 * Rules
 *   - A function that can fail returns sluice_status; SLUICE_OK is 0. The sentence for people is in the sluice_error
 *     that was passed (NULL: not wanted), or in sluice_session_error for calls on a session.
 *   - Objects are created through a pointer that is NULL after failure, and destroyed through a pointer that is
 *     nulled; destroying NULL is fine.
 *   - An engine is immutable after opening: any number of threads may use it. A session serves one thread at a time;
 *     the passes of all sessions of an engine share its team of threads, one pass after the other.
 *   - Text is UTF-8 with a length, and need not end with NUL. Options structs begin with a _default() value.
 *   - No call ends the process, or prints. An observer (experimental.h) runs inside a pass and must not call any
 *     session of the engine.
 *   - No global state, except SLUICE_CPU in the environment, an upper bound for the instruction sets, read at open, and
 *     a list of the files that are mapped, for sluice_absorb_bus_error.
 *   - Model files are mapped: one that becomes shorter meanwhile ends the process with SIGBUS, unless the program has a
 *     handler that calls sluice_absorb_bus_error, or opens with SLUICE_OPEN_READ. */
#ifndef SLUICE_H
#define SLUICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_API __attribute__((visibility("default")))

typedef struct sluice_engine sluice_engine;
typedef struct sluice_session sluice_session;

/* ---- errors --------------------------------------------------------------------------------------------------- */

typedef struct sluice_error {
    sluice_status status;
    char text[4096]; /* one line, for example "config.json: hidden_size: found 0, expected an integer in 1..131072" */
} sluice_error;

SLUICE_API const char *sluice_status_name(sluice_status status); /* "FORMAT" */
SLUICE_API const char *sluice_status_text(sluice_status status); /* "the file is malformed or contradicts itself" */
SLUICE_API int sluice_status_exit_code(sluice_status status);    /* 0 ok, 1 usage, 2 file, 3 I/O, 4 memory, 130 */
SLUICE_API const char *sluice_version(void);                     /* "0.1.0" */
SLUICE_API const char *sluice_isa(void); /* strongest instruction set that an engine opened now would use: "avx512" */

/* ---- tier 1: run a model -------------------------------------------------------------------------------------- */

enum sluice_open_flags {
    SLUICE_OPEN_NO_WEIGHTS = 1,     /* read and check everything, load no weights: sluice_engine_get_info and
                                       sluice_engine_get_layer work, sessions cannot be created */
    SLUICE_OPEN_TOKENIZER_ONLY = 2, /* only the tokenizer files are needed */
    SLUICE_OPEN_BLAS = 4,           /* f32 weights stay row-major and large products go through OpenBLAS */
    /* The same bits for a token whatever comes with it: prefill and decode, any chunks, any batch. Without it models
     * with latent attention or recurrent layers choose the form of a layer by the number of rows, and processors with
     * BF16 or matrix instructions that of attention or of a product; everything else is exact anyway. Not with
     * SLUICE_OPEN_BLAS. */
    SLUICE_OPEN_EXACT = 8,
    /* Matrices are read where they lie in the mapped file: opening is quick and needs little memory, running is
     * slower. Those that the file stores in another order, or with rows that fill no panel, are still packed. The
     * files must not change while the engine is open. BF16 matrices in place meet float activations. Not together with
     * load_as. */
    SLUICE_OPEN_NO_REPACK = 16,
    /* Products with quantised weights round their inputs to 8 bits, and those with BF16 weights, and attention of many
     * tokens, to bfloat16 where the CPU multiplies that, unless this is set: slower, and the reference for what that
     * rounding costs. */
    SLUICE_OPEN_FLOAT = 32,
    /* Files are read into memory before they are packed instead of being mapped: for file systems on which maps are
     * slow or fail, and for processes that cannot handle SIGBUS. What is packed is given back on the way. Without
     * weights only the headers are read. Not together with SLUICE_OPEN_NO_REPACK. */
    SLUICE_OPEN_READ = 64,
};

typedef struct sluice_engine_options {
    int n_threads;  /* 0: one per CPU that the process may use; at most 256 */
    unsigned flags; /* enum sluice_open_flags */
    /* NULL: matrices keep the type that they have in the files. Else a type such as "q8_0": matrices are rounded to it
     * while they are loaded, where its blocks fit and are not larger than the blocks that the file has; for models that
     * are too large otherwise. */
    const char *load_as;
    /* The session that is to run on the engine (NULL: not known). A model that does not fit into memory together with
     * it is refused before any weight is loaded, with the sum; without it the weights alone count. */
    const struct sluice_session_options *session;
    /* Called while weights are packed, from the opening thread, about ten times a second and at the end. NULL:
     * never. */
    void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    /* Called once per remark that does not stop the opening (an unused tensor, a doubtful key). NULL: never. */
    void (*warning)(void *context, const char *text);
    void *context;
} sluice_engine_options;
SLUICE_API sluice_engine_options sluice_engine_options_default(void);

/* Opens a Hugging Face folder (config.json, *.safetensors, tokenizer.json or tiktoken.model ...) or a GGUF file.
 * `options` NULL: the defaults. */
SLUICE_API sluice_status sluice_engine_open(sluice_engine **out, const char *path,
                                            const sluice_engine_options *options, sluice_error *error);
SLUICE_API void sluice_engine_close(sluice_engine **engine); /* after all its sessions are freed */
/* For a handler of SIGBUS (SA_SIGINFO; `address` is si_addr), which reading a mapped file raises in any thread when the
 * file has become shorter or its disk fails. True: the address lies in a file that this library has mapped; from the
 * lost page on it now reads as zeros, the handler may return, and the call that was reading returns SLUICE_IO. An
 * engine that reads its weights in the file (SLUICE_OPEN_NO_REPACK) runs no more passes then. False: not ours, do what
 * would be done otherwise. Safe in signal handlers; no handler is installed by the library. */
SLUICE_API bool sluice_absorb_bus_error(const void *address);

typedef struct sluice_session_options {
    int n_context; /* positions to reserve; 0: min(the model's context, 4096). At most the model's context */
    int n_chunk;   /* most tokens per pass in prefill, at most 8192; 0: 2048 */
    /* How keys and values are kept: "f32", "f16", "bf16" or "q8_0" (8 bits and a scale per 32). NULL: as the weights
     * suggest, f32 for F32, bf16 for BF16, else f16. */
    const char *cache_type;
    /* NULL: the model as it is. Else changes to the choice of experts (experimental.h), copied. */
    const struct sluice_expert_surgery *surgery;
} sluice_session_options;
SLUICE_API sluice_session_options sluice_session_options_default(void);

SLUICE_API sluice_status sluice_session_create(sluice_session **out, const sluice_engine *engine,
                                               const sluice_session_options *options, sluice_error *error);
SLUICE_API void sluice_session_free(sluice_session **session);

/* The session's timeline is a list of tokens whose keys and values are cached.
 * prefill appends n >= 1 tokens in as few passes as possible, decode one. Afterwards the logits of the last token are
 * ready. On failure the timeline is as before the call. SLUICE_CONTEXT: no room; SLUICE_ARGUMENT: a token id outside
 * 0..vocab_size-1; SLUICE_NUMERIC: a logit is not finite; SLUICE_CANCELLED. */
SLUICE_API sluice_status sluice_session_prefill(sluice_session *session, const int32_t *tokens, size_t n);
SLUICE_API sluice_status sluice_session_decode(sluice_session *session, int32_t token);
/* Appends tokens[i] to sessions[i], all in one pass: continuous batching. The sessions are distinct and of one
 * engine; n <= the smallest n_chunk. All succeed or none changes. The same results as one by one, as far as
 * SLUICE_OPEN_EXACT says. Each keeps its surgery, whose active_experts and dense_twin must be alike. */
SLUICE_API sluice_status sluice_decode_many(sluice_session *const *sessions, const int32_t *tokens, size_t n);
/* Keeps the first n_keep tokens (at most the length). Logits are invalid until the next append. Recurrent layers
 * cannot go back step by step: the next append first computes again what lies between the last of a few checkpoints
 * and n_keep, which counts as prefill. */
SLUICE_API sluice_status sluice_session_rewind(sluice_session *session, size_t n_keep);
/* Makes the timeline equal these n >= 1 tokens: keeps the longest common prefix (but runs at least the last token, so
 * that logits are ready) and prefills the rest. *n_reused (may be NULL): tokens that were not computed again. Where
 * recurrent layers had to go back to a checkpoint these are fewer than the prefix; at the end of an earlier prefill
 * they are all, because its logits are kept. */
SLUICE_API sluice_status sluice_session_sync(sluice_session *session, const int32_t *tokens, size_t n,
                                             size_t *n_reused);

SLUICE_API const float *sluice_session_logits(const sluice_session *session); /* [vocab_size]; NULL: none ready */
SLUICE_API size_t sluice_session_length(const sluice_session *session);
SLUICE_API size_t sluice_session_context(const sluice_session *session);      /* positions reserved */
SLUICE_API const int32_t *sluice_session_tokens(const sluice_session *session); /* [length]; valid until next call */
SLUICE_API const char *sluice_session_error(const sluice_session *session);   /* sentence of the last failure */
/* Makes the running or the next pass end with SLUICE_CANCELLED soon (checked before every layer). Safe in signal
 * handlers and from other threads. The request is consumed by the call that it ends. */
SLUICE_API void sluice_session_cancel(sluice_session *session);

/* ---- sampling ------------------------------------------------------------------------------------------------- */

typedef struct sluice_sampling {
    float temperature;        /* 0: greedy (ties go to the lower id); at most 100 */
    int top_k;                /* keep the k most likely tokens; 0: all */
    float top_p;              /* keep the smallest set with at least this probability, 0 < top_p <= 1 */
    float min_p;              /* drop tokens below min_p times the most likely one, 0 <= min_p < 1 */
    /* 0.001..1000; 1: none. Logits of tokens of the timeline: l > 0 ? l / p : l * p (Keskar 2019) */
    float repetition_penalty;
    uint64_t seed;
} sluice_sampling;
SLUICE_API sluice_sampling sluice_sampling_default(void); /* greedy */
/* NULL when every field is in range, else a sentence that names the field. */
SLUICE_API const char *sluice_sampling_check(const sluice_sampling *how);

/* Chooses the next token from the logits. In this order: penalty, temperature, top-k, top-p, min-p, draw. The draw is
 * a function of (seed, length of the timeline), so the same logits and seed give the same token on any machine, and
 * rewinding repeats it where it repeats the logits. -1: no logits are ready or `how` is out of range. Does not change
 * the timeline. */
SLUICE_API int32_t sluice_sample(const sluice_session *session, const sluice_sampling *how);

/* ---- tier 2: text --------------------------------------------------------------------------------------------- */

enum sluice_text_flags {
    SLUICE_TEXT_SPECIAL = 1,  /* tokenize: the text of special tokens becomes those tokens (otherwise it stays text);
                                 detokenize and streams: special tokens are shown (otherwise skipped) */
    SLUICE_TEXT_NO_BOS = 2,   /* tokenize: leave out the tokens that the tokenizer adds at the ends */
    SLUICE_TEXT_CONTINUE = 4, /* detokenize and streams: the tokens continue a text, so a leading space stays */
};

SLUICE_API bool sluice_has_tokenizer(const sluice_engine *engine);
/* Writes at most cap ids and gives the full count in *n, so compare; `out` may be NULL with cap 0. SLUICE_ARGUMENT: no
 * tokenizer, or text is not UTF-8. */
SLUICE_API sluice_status sluice_tokenize(const sluice_engine *engine, const char *text, size_t length, unsigned flags,
                                         int32_t *out, size_t cap, size_t *n, sluice_error *error);
/* Text of the tokens; bytes that are not UTF-8 become U+FFFD. Never writes a NUL beyond the n bytes. */
SLUICE_API sluice_status sluice_detokenize(const sluice_engine *engine, const int32_t *tokens, size_t n_tokens,
                                           unsigned flags, char *out, size_t cap, size_t *n, sluice_error *error);
/* The bytes of one token, maybe a fragment of a character; valid as long as the engine. *n = 0: no such token. */
SLUICE_API const char *sluice_token_bytes(const sluice_engine *engine, int32_t token, size_t *n);
SLUICE_API bool sluice_token_is_end(const sluice_engine *engine, int32_t token); /* an end-of-sequence id */

/* Text from tokens as they come: never half a UTF-8 character, never any part of a stop string. */
typedef struct sluice_text_stream sluice_text_stream;
SLUICE_API sluice_status sluice_text_stream_create(sluice_text_stream **out, const sluice_engine *engine,
                                                   unsigned flags, const char *const *stops, size_t n_stops,
                                                   sluice_error *error);
/* Gives the text that is certain after this token (*n may be 0); valid until the next call on the stream. *stopped:
 * a stop string is complete, the text before it has been given, further pushes give nothing. */
SLUICE_API sluice_status sluice_text_stream_push(sluice_text_stream *stream, int32_t token, const char **text,
                                                 size_t *n, bool *stopped);
SLUICE_API sluice_status sluice_text_stream_finish(sluice_text_stream *stream, const char **text, size_t *n);
SLUICE_API void sluice_text_stream_free(sluice_text_stream **stream);

/* ---- tier 3: knowing what happens ------------------------------------------------------------------------------ */

typedef struct sluice_model_info {
    const char *path_name;    /* base name of what was opened */
    const char *architecture; /* "qwen3_moe"; NULL when only a tokenizer was opened */
    const char *weight_dtype; /* of most bytes: "BF16" */
    const char *license;      /* as the model card's front matter states; NULL: not stated */
    const char *isa;          /* strongest instruction set in use, "avx512" */
    int n_layers, n_moe_layers, hidden_size, vocab_size, n_experts, top_k; /* experts: 0 for dense models */
    int n_context;            /* the model's limit in tokens */
    int n_threads;
    uint64_t n_parameters;        /* all */
    /* read for one token: chosen experts only; without the embedding row, with the head */
    uint64_t n_active_parameters;
    uint64_t weight_bytes;        /* of the weights as packed in memory */
    uint64_t mapped_bytes;        /* of the weights that are read in the file (SLUICE_OPEN_NO_REPACK) */
    uint64_t file_bytes;          /* of the tensors in the files */
    uint64_t cache_bytes_per_token; /* keys and values, or latents, all layers */
    uint64_t state_bytes;         /* of recurrent layers, whatever the length; a session keeps a few copies */
    uint64_t available_bytes;     /* memory that this process can have now; 0: unknown */
    bool has_tokenizer;
    int32_t bos_token; /* -1: none */
    const int32_t *end_tokens;
    size_t n_end_tokens;
} sluice_model_info;
/* Strings and arrays live as long as the engine. */
SLUICE_API void sluice_engine_get_info(const sluice_engine *engine, sluice_model_info *out);
/* 0..1 of the memory of weights lies in pages of 2 MiB now; 0: no weights, unknown. Asks the system, which takes
 * milliseconds. */
SLUICE_API double sluice_engine_huge_page_share(const sluice_engine *engine);
/* For models that do not fit: of the values of sluice_engine_options.load_as, from large to small, the first with which
 * the weights need at most `budget` bytes ("q4_k"); if there is none, the one that needs the fewest. *bytes: what they
 * need then. False: only a tokenizer was opened. Always NUL-terminated. */
SLUICE_API bool sluice_engine_smaller_type(const sluice_engine *engine, uint64_t budget, char *out, size_t cap,
                                           uint64_t *bytes);
/* What generation_config.json asks for (seed 0); greedy where the file is silent or absent. */
SLUICE_API sluice_sampling sluice_engine_get_sampling(const sluice_engine *engine);

/* One line per layer for people: mixer, FFN and router, for example
 * "attention 32 heads / 4 kv x 128, qk-norm per head, rope 1e+06 | 8 of 128 experts x 768 silu, softmax, renormalised".
 * False: no such layer. Always NUL-terminated. */
SLUICE_API bool sluice_engine_get_layer(const sluice_engine *engine, int layer, char *out, size_t cap);
/* One line per group of equal matrices: "expert gate BF16 [256, 256] x 80 -> bf16_r16k2
 * (bf16_r16k2_f32_avx512)". False: no such group. */
SLUICE_API bool sluice_engine_get_matrix_group(const sluice_engine *engine, size_t i, char *out, size_t cap);

enum sluice_peak { SLUICE_PEAK_F32, SLUICE_PEAK_BF16, SLUICE_PEAK_INT8, SLUICE_N_PEAKS };

typedef struct sluice_session_stats { /* since creation or sluice_session_reset_stats */
    uint64_t prefill_tokens, decode_tokens; /* tokens of passes with more than one row per session, and with one
                                              (so a prefill of one token counts as decode); what is computed again
                                              after a rewind of recurrent layers counts as prefill */
    double prefill_seconds, decode_seconds;
    uint64_t prefill_bytes, decode_bytes;   /* weights and cache read: each expert that was used counts once per pass */
    uint64_t prefill_passes, decode_passes;
    uint64_t experts_touched; /* in decode: distinct (layer, expert) pairs over all decode passes */
    uint64_t experts_total;   /* n_moe_layers * n_experts */
    uint64_t experts_read;    /* in decode: experts read, summed over layers and passes */
    uint64_t prefill_experts_read; /* the same in prefill */
    uint64_t prefill_expert_rows;  /* in prefill: rows that met an expert, summed over layers, passes and experts */
    /* Multiplications and additions of weight products, by the kind of arithmetic that does them. */
    uint64_t prefill_operations[SLUICE_N_PEAKS], decode_operations[SLUICE_N_PEAKS];
    double decode_wait_seconds, prefill_wait_seconds; /* at barriers, summed over threads */
} sluice_session_stats;
SLUICE_API void sluice_session_get_stats(const sluice_session *session, sluice_session_stats *out);
SLUICE_API void sluice_session_reset_stats(sluice_session *session);

SLUICE_API size_t sluice_session_bytes(const sluice_session *session); /* memory it holds */
/* Memory that a session with these options would need on this model, before creating it; 0: it cannot be created. */
SLUICE_API uint64_t sluice_session_forecast_bytes(const sluice_engine *engine, const sluice_session_options *options);

#ifdef __cplusplus
}
#endif
#endif
