/* Owns what is computed from routing traces; prints nothing. All traces of one call have equal fingerprints; `layer`
 * counts the layers with experts, from 0. L, E and k stand for n_moe_layers, n_experts and top_k. */
#ifndef TOOLS_TRACE_STATS_H
#define TOOLS_TRACE_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace_file.h"

/* ---- load -------------------------------------------------------------------------------------------------------- */

/* Adds how often each expert was chosen to counts[L, E]. */
void stats_add_load(const struct trace *t, uint64_t *counts);
/* Of counts[n], in bits: log2(n) when all are equal, 0 when one has all, 0 when there is none. */
double stats_entropy(const uint64_t *counts, size_t n);

/* ---- co-activation ----------------------------------------------------------------------------------------------- */

/* Adds how often two experts were chosen for the same token to pairs[E, E], on both sides of the diagonal; the diagonal
 * itself gets the load. */
void stats_add_pairs(const struct trace *t, size_t layer, uint32_t *pairs);

struct stats_pair {
    uint32_t a, b, together; /* a < b; tokens that chose both */
    double times_chance;     /* together / what independent choices with these loads would give */
    double score;            /* how many standard deviations (of a Poisson count) above that */
};
/* The pairs with the highest scores, best first; at most `cap`, only with together > 0 and score > 0. Returns their
 * number. */
size_t stats_top_pairs(const uint32_t *pairs, size_t n_experts, size_t n_tokens, struct stats_pair *out, size_t cap);

/* ---- texts ------------------------------------------------------------------------------------------------------- */

/* What the chosen expert tells about the text that its token is from, in bits, when all texts are equally likely: 0,
 * all texts use experts alike; log2(n_texts), every expert serves one text. loads[n_texts, n_experts] are counts; texts
 * without any do not count. */
double stats_text_information(const uint64_t *loads, size_t n_texts, size_t n_experts);

/* ---- vocabulary -------------------------------------------------------------------------------------------------- */

enum { STATS_TOP_TOKENS = 5, STATS_LEAST_SEEN = 3 };

/* A token that an expert sees more often than chance. */
struct stats_token {
    int32_t token;
    const char *text; /* [length], in the trace */
    uint16_t length;
    uint32_t seen, routed; /* times in the texts; of these to the expert */
    double score;          /* standard deviations above what the expert's load alone would give */
};

/* All tokens of the traces, in order of their ids. */
struct stats_vocabulary {
    struct stats_occurrence {
        int32_t token;
        uint32_t trace, at;
    } * items; /* malloc'ed [count] */
    size_t count;
};
/* False: not enough memory. free(items) afterwards. */
bool stats_sort_tokens(const struct trace *traces, size_t n_traces, struct stats_vocabulary *out);
/* out[E, STATS_TOP_TOKENS]: the tokens with the highest scores of each expert, best first; `seen` is 0 where there are
 * fewer. Tokens that the expert got less than STATS_LEAST_SEEN times do not count. loads[E]: of all traces in this
 * layer; scratch[E]. */
void stats_top_tokens(const struct trace *traces, const struct stats_vocabulary *v, size_t layer, const uint64_t *loads,
                      uint32_t *scratch, struct stats_token *out);

/* ---- two traces -------------------------------------------------------------------------------------------------- */

bool stats_same_tokens(const struct trace *a, const struct trace *b);
/* Router saturation: the share of a's choices that b made as well, 0..1, of traces of the same tokens. */
double stats_saturation(const struct trace *a, const struct trace *b, size_t layer);

/* ---- working set ------------------------------------------------------------------------------------------------- */

/* Distinct experts over n successive tokens of one layer, the mean over all such windows; 0: the trace is shorter.
 * scratch[E]. */
double stats_working_set(const struct trace *t, size_t layer, size_t n, size_t *scratch);
/* The same if every token chose k of E experts with equal probabilities: E (1 - (1 - k/E)^n). */
double stats_uniform_working_set(double n_experts, double top_k, double n);

/* ---- cache ------------------------------------------------------------------------------------------------------- */

enum stats_policy {
    STATS_LRU,     /* out goes what was used longest ago */
    STATS_LFU,     /* ... what was used least often so far, of these the one used longest ago */
    STATS_OPTIMAL, /* ... what is used again last (Belady 1966): the future known, nothing does better */
    STATS_N_POLICIES
};
/* The experts in the order in which a decoder reads them: token by token, layer by layer; key = layer * E + expert.
 * Writes at most `cap` whole tokens' worth into keys and returns how many keys. */
size_t stats_accesses(const struct trace *t, uint32_t *keys, size_t cap);
/* How many of the n accesses find their key in a cache of `capacity` keys that begins empty. Keys are below n_keys.
 * False: not enough memory. */
bool stats_cache_hits(const uint32_t *keys, size_t n, size_t n_keys, size_t capacity, enum stats_policy policy,
                      size_t *hits);

/* Seconds that one token takes at least, when every byte that it needs is read from memory, and what was missing from
 * the disk first. */
double stats_seconds_per_token(const struct trace *t, double misses_per_token, double memory_gb_per_s,
                               double disk_gb_per_s);

#endif
