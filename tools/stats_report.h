/* Owns how the statistics of traces are shown: as a table for people, as JSON, as a page. cmd_stats.c computes them. */
#ifndef TOOLS_STATS_REPORT_H
#define TOOLS_STATS_REPORT_H

#include "page.h"
#include "trace_stats.h"

enum {
    STATS_MAX_TRACES = 16,
    STATS_MAX_WINDOWS = 32,
    STATS_MAX_BUDGETS = 12,
    STATS_TOP_PAIRS = 10,         /* of each layer */
    STATS_MATRIX_EXPERTS = 256,   /* more: JSON has no matrix of co-activation */
    STATS_MAX_PAIR_EXPERTS = 4096 /* more: no co-activation at all */
};

/* One size of a cache of experts. */
struct stats_budget {
    size_t n_experts;                                                  /* (layer, expert) pairs that it holds */
    uint64_t bytes;                                                    /* with everything that every token reads */
    bool asked;                                                        /* by --ram */
    double hit_rate[STATS_N_POLICIES], tokens_per_s[STATS_N_POLICIES]; /* 0 tokens/s: sizes are not known */
};

/* Everything that is shown. L, E as in trace_stats.h; the traces are n_traces, R. */
struct stats {
    const struct trace *traces;     /* [R] of equal fingerprints */
    const char *const *files;       /* [R] */
    size_t n_traces, n_tokens;      /* of all together */
    bool same_tokens;               /* two traces or more, all of the same tokens: saturation is shown, and not texts */
    uint64_t *loads;                /* [R, L, E] */
    uint64_t *load;                 /* [L, E] of all */
    double *entropy;                /* [L] bits */
    double *information;            /* [L] bits; all 0 with one text, or the same tokens */
    struct stats_pair *pairs;       /* [L, STATS_TOP_PAIRS] */
    size_t *n_pairs;                /* [L] */
    struct stats_token *vocabulary; /* [L, E, STATS_TOP_TOKENS] */
    double *saturation;             /* [R, L] against the first trace; NULL: tokens differ */
    size_t n_windows, windows[STATS_MAX_WINDOWS];
    double *distinct; /* [n_windows, L] */
    size_t n_budgets;
    struct stats_budget budgets[STATS_MAX_BUDGETS];
    size_t n_cached_tokens; /* that the cache was tried on */
    double memory_gb_per_s, disk_gb_per_s;
};

static inline uint64_t *stats_load_of(const struct stats *s, size_t trace, size_t layer)
{
    return s->loads + (trace * s->traces->n_moe_layers + layer) * s->traces->n_experts;
}

void stats_print_tables(const struct stats *s);
sluice_status stats_print_json(const struct stats *s, sluice_error *error);
void stats_draw(const struct stats *s, struct page *page);

#endif
