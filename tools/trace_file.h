/* Owns the file format of routing traces: which experts every layer chose for every token of a text, with what weights,
 * and on request the router's scores of all experts. An open format: everything that there is to know stands here.
 *
 * Little-endian; u16, u32, u64 unsigned, i32 signed, f32 IEEE 754. Sections follow each other in this order, each
 * begins at a multiple of 8, gaps are zero, and nothing follows the last: the header alone says how long the file is.
 *
 *     offset  type  field              meaning
 *          0  u8[8] magic              "SLUICETR"
 *          8  u32   version            1; a reader refuses others
 *         12  u32   flags              bit 0: there is a section of scores; the others are 0
 *         16  u64   fingerprint        of the model's shape: FNV-1a (64 bits) of the bytes 24..55, the architecture's
 *                                      name and the section `layers`. Traces are comparable when it is equal
 *         24  u32   n_layers           of the model, 1..1024
 *         28  u32   hidden_size
 *         32  u32   n_moe_layers       layers with experts, 1..n_layers
 *         36  u32   n_experts          of each, 1..65536; n_moe_layers * n_experts is at most 2^20
 *         40  u32   top_k              chosen for a token, 1..min(n_experts, 1024)
 *         44  u32   vocab_size         1..2^31-1
 *         48  u64   n_parameters       of the model
 *         56  u64   expert_bytes       one expert's matrices in memory, mean of the layers, at most 2^36; 0: not known
 *         64  u64   other_bytes        what a token reads besides, at most 2^44; 0: not known
 *         72  u64   n_tokens           1..2^24
 *         80  u64   text_bytes         of all tokens together, at most 2^28
 *         88  u32   n_context          tokens i with i % n_context == 0 began with an empty context; >= 1
 *         92  u32   model_bytes        lengths of the three names, each at most 4096
 *         96  u32   architecture_bytes
 *        100  u32   label_bytes
 *        104  u8[24]                   0
 *        128  names                    model ("demo"), architecture ("qwen3_moe"), label of the text ("stories"): UTF-8
 *                                      without control characters, one behind the other
 *             layers     u32 [n_moe_layers]                    their numbers, ascending, below n_layers
 *             tokens     i32 [n_tokens]                        0..vocab_size-1
 *             lengths    u16 [n_tokens]                        bytes of each token's text; their sum is text_bytes
 *             text       u8  [text_bytes]                      texts of the tokens: bytes, maybe parts of characters
 *             experts    u16 [n_tokens, n_moe_layers, top_k]   ascending, below n_experts
 *             weights    f32 [n_tokens, n_moe_layers, top_k]   as the model used them, in the order of the ids; 32
 *                                                              bits, so that routing can be repeated bit by bit
 *             scores     f32 [n_tokens, n_moe_layers, n_experts]   probabilities (or sigmoids); with flag 0 only
 */
#ifndef TOOLS_TRACE_FILE_H
#define TOOLS_TRACE_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output.h"
#include "sluice/sluice.h"

enum {
    TRACE_VERSION = 1,
    TRACE_MAX_LAYERS = 1024,
    TRACE_MAX_EXPERTS = 65536,
    TRACE_MAX_ALL_EXPERTS = 1 << 20,
    TRACE_MAX_TOP_K = 1024,
    TRACE_MAX_TOKENS = 1 << 24,
    TRACE_MAX_TEXT = 1 << 28,
    TRACE_MAX_NAME = 4096,
};

/* A trace in memory. The fields are those of the format; arrays are [as drawn there]. */
struct trace {
    uint32_t n_layers, hidden_size, n_moe_layers, n_experts, top_k, vocab_size, n_context;
    uint64_t n_parameters, expert_bytes, other_bytes, fingerprint;
    size_t n_tokens, text_bytes;
    bool has_scores;
    const char *model, *architecture, *label; /* NUL-terminated */
    const uint32_t *layers;
    const int32_t *tokens;
    const uint16_t *lengths;
    const char *text;
    const size_t *text_at; /* [n_tokens] where each token's text begins */
    const uint16_t *experts;
    const float *weights;
    const float *scores; /* NULL: none */
    void *owned[3];      /* what trace_close frees; NULL where somebody else owns the arrays */
};

static inline const uint16_t *trace_experts(const struct trace *t, size_t token, size_t layer)
{
    return t->experts + (token * t->n_moe_layers + layer) * t->top_k;
}

/* UTF-8 without control characters, at most TRACE_MAX_NAME bytes: what a name in a trace is. */
bool trace_is_name(const char *bytes, size_t n);

/* Reads and checks everything: what is in *out keeps all ranges above, and weights and scores are finite. `path` stands
 * in messages as well. SLUICE_IO: the file cannot be read; SLUICE_FORMAT: it is no trace, or contradicts itself (the
 * sentence names field, found and expected); SLUICE_MEMORY. */
sluice_status trace_read(struct trace *out, const char *path, sluice_error *error);
/* The same from memory; `bytes` (malloc'ed, of n bytes) belongs to the trace afterwards, also after a failure. */
sluice_status trace_parse(struct trace *out, void *bytes, size_t n, const char *path, sluice_error *error);
void trace_close(struct trace *t);

/* SLUICE_ARGUMENT, with the field, unless the trace is of a model of this shape. */
sluice_status trace_check_model(const struct trace *t, const sluice_model_info *info, const char *path,
                                sluice_error *error);

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* A trace on its way to a file, rows by rows. All zero: none. */
struct trace_writer {
    struct output_file file;
    struct trace head;
    uint64_t experts_at, weights_at, scores_at; /* offsets in the file */
    size_t n_written;                           /* tokens */
};

/* Creates the file for a trace with the fields of `head` apart from fingerprint, layers and the three arrays of
 * routing; what it points to is used until the commit. SLUICE_ARGUMENT: a field is out of the format's
 * range, or a name is none. */
sluice_status trace_writer_create(struct trace_writer *out, const char *path, const struct trace *head,
                                  sluice_error *error);
/* n_rows tokens from `first_token` on; `scores` is used where the head has some. Rows may come in any order. */
sluice_status trace_writer_rows(struct trace_writer *w, size_t first_token, size_t n_rows, const uint16_t *experts,
                                const float *weights, const float *scores, sluice_error *error);
/* Adds the numbers of the layers, [n_moe_layers], and gives the file its name. SLUICE_IO: rows are missing, or the
 * system refuses; then nothing is left. */
sluice_status trace_writer_commit(struct trace_writer *w, const uint32_t *layers, sluice_error *error);
void trace_writer_discard(struct trace_writer *w);

/* ---- JSON Lines ------------------------------------------------------------------------------------------------- */

/* The first line: {"format": "sluice-trace", "version": 1, "model": ..., all fields of the header and "layers"}. */
json_t *trace_header_json(const struct trace *head);
/* One line per token: {"token": 5, "text": "...", "experts": [[ids of the first layer with experts], ...], "weights":
 * [[...], ...]} and "scores" where there are some. The arrays are those of this token. */
json_t *trace_token_json(const struct trace *head, size_t token, const uint16_t *experts, const float *weights,
                         const float *scores);

#endif
