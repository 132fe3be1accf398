/* The command `stats`: what routing traces tell. Owns reading the traces and computing everything that stats_report.c
 * shows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "sluice/experimental.h"
#include "stats_report.h"

/* The cache is tried on the first tokens only where there are many: each size and policy takes its time. */
enum { MOST_ACCESSES = 2000000 };

struct stats_values {
    struct option_texts traces;
    const char *html;
    struct option_real disk, memory, ram;
    bool json;
};

#define FIELD(name) .offset = offsetof(struct stats_values, name)
/* clang-format off */
static const struct option options[] = {
    {.name = "trace", .kind = OPTION_TEXTS, .operand = true, .required = true, FIELD(traces), .value_name = "TRACE",
     .help = "a file that `sluice trace` wrote; up to 16 of the same model"},
    {.name = "html", .kind = OPTION_TEXT, FIELD(html), .value_name = "FILE",
     .help = "also a page with heat maps and curves"},
    {.name = "disk", .kind = OPTION_REAL, FIELD(disk), .value_name = "GB/s", .low = 0, .high = 1000, .low_open = true,
     .initial = "3", .help = "how fast a missing expert comes from storage"},
    {.name = "memory", .kind = OPTION_REAL, FIELD(memory), .value_name = "GB/s", .low = 0, .high = 100000,
     .low_open = true, .help = "how fast weights come from memory; without it this is measured here"},
    {.name = "ram", .kind = OPTION_REAL, FIELD(ram), .value_name = "GB", .low = 0, .high = 1000000, .low_open = true,
     .help = "a memory budget for the weights, to be listed among the usual ones"},
    OPTION_ROW_JSON(struct stats_values, "one JSON object instead of tables"),
};
/* clang-format on */

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static sluice_status read_traces(const struct option_texts *files, struct trace *traces, sluice_error *error)
{
    for (size_t i = 0; i < files->count; i++) {
        sluice_status status = trace_read(&traces[i], files->items[i], error);
        if (status) return status;
        if (traces[i].fingerprint == traces[0].fingerprint) continue;
        char shown[2][256], models[2][128];
        for (size_t k = 0; k < 2; k++) {
            const size_t at = k ? 0 : i;
            quote_bytes(shown[k], sizeof shown[k], files->items[at], strlen(files->items[at]));
            quote_bytes(models[k], sizeof models[k], traces[at].model, strlen(traces[at].model));
        }
        return set_error(error, SLUICE_ARGUMENT,
                         "%s: is a trace of another model: %s, %u of %u experts in %u layers; %s is of %s, %u of "
                         "%u experts in %u layers",
                         shown[0], models[0], traces[i].top_k, traces[i].n_experts, traces[i].n_moe_layers, shown[1],
                         models[1], traces[0].top_k, traces[0].n_experts, traces[0].n_moe_layers);
    }
    return SLUICE_OK;
}

/* ---- computing --------------------------------------------------------------------------------------------------- */

static sluice_status no_memory(sluice_error *error)
{
    return set_error(error, SLUICE_MEMORY, "not enough memory for the statistics");
}

static bool allocate(struct stats *s)
{
    const size_t n_layers = s->traces->n_moe_layers, n = n_layers * s->traces->n_experts;
    s->loads = calloc(s->n_traces * n, sizeof *s->loads);
    s->load = calloc(n, sizeof *s->load);
    s->entropy = calloc(n_layers, sizeof *s->entropy);
    s->information = calloc(n_layers, sizeof *s->information);
    s->pairs = calloc(n_layers * STATS_TOP_PAIRS, sizeof *s->pairs);
    s->n_pairs = calloc(n_layers, sizeof *s->n_pairs);
    s->vocabulary = calloc(n * STATS_TOP_TOKENS, sizeof *s->vocabulary);
    s->distinct = calloc(n_layers * STATS_MAX_WINDOWS, sizeof *s->distinct);
    if (s->same_tokens) s->saturation = calloc(s->n_traces * n_layers, sizeof *s->saturation);
    return s->loads && s->load && s->entropy && s->information && s->pairs && s->n_pairs && s->vocabulary &&
           s->distinct && (s->saturation || !s->same_tokens);
}

static void release(struct stats *s)
{
    free(s->loads);
    free(s->load);
    free(s->entropy);
    free(s->information);
    free(s->pairs);
    free(s->n_pairs);
    free(s->vocabulary);
    free(s->distinct);
    free(s->saturation);
}

/* Loads, entropies, and what experts tell about the text. */
static sluice_status compute_loads(struct stats *s, sluice_error *error)
{
    const size_t n_layers = s->traces->n_moe_layers, n_experts = s->traces->n_experts, n = n_layers * n_experts;
    uint64_t *of_layer = malloc(s->n_traces * n_experts * sizeof *of_layer);
    if (!of_layer) return no_memory(error);
    for (size_t i = 0; i < s->n_traces; i++) {
        stats_add_load(&s->traces[i], s->loads + i * n);
        for (size_t j = 0; j < n; j++) s->load[j] += s->loads[i * n + j];
    }
    for (size_t l = 0; l < n_layers; l++) {
        s->entropy[l] = stats_entropy(s->load + l * n_experts, n_experts);
        for (size_t i = 0; i < s->n_traces; i++)
            memcpy(of_layer + i * n_experts, stats_load_of(s, i, l), n_experts * sizeof *of_layer);
        if (s->n_traces > 1 && !s->same_tokens)
            s->information[l] = stats_text_information(of_layer, s->n_traces, n_experts);
        for (size_t i = 1; s->saturation && i < s->n_traces; i++)
            s->saturation[i * n_layers + l] = stats_saturation(&s->traces[0], &s->traces[i], l);
    }
    free(of_layer);
    return SLUICE_OK;
}

static sluice_status compute_pairs(struct stats *s, sluice_error *error)
{
    const size_t n_experts = s->traces->n_experts;
    if (n_experts > STATS_MAX_PAIR_EXPERTS) return SLUICE_OK;
    uint32_t *pairs = malloc(n_experts * n_experts * sizeof *pairs);
    if (!pairs) return no_memory(error);
    for (size_t l = 0; l < s->traces->n_moe_layers; l++) {
        memset(pairs, 0, n_experts * n_experts * sizeof *pairs);
        for (size_t i = 0; i < s->n_traces; i++) stats_add_pairs(&s->traces[i], l, pairs);
        s->n_pairs[l] = stats_top_pairs(pairs, n_experts, s->n_tokens, s->pairs + l * STATS_TOP_PAIRS, STATS_TOP_PAIRS);
    }
    free(pairs);
    return SLUICE_OK;
}

static sluice_status compute_vocabulary(struct stats *s, sluice_error *error)
{
    const size_t n_experts = s->traces->n_experts;
    struct stats_vocabulary v;
    uint32_t *scratch = malloc(n_experts * sizeof *scratch);
    bool enough = stats_sort_tokens(s->traces, s->n_traces, &v) && scratch;
    for (size_t l = 0; enough && l < s->traces->n_moe_layers; l++)
        stats_top_tokens(s->traces, &v, l, s->load + l * n_experts, scratch,
                         s->vocabulary + l * n_experts * STATS_TOP_TOKENS);
    free(scratch);
    free(v.items);
    return enough ? SLUICE_OK : no_memory(error);
}

/* Windows do not reach from one text into the next. */
static sluice_status compute_working_set(struct stats *s, sluice_error *error)
{
    const size_t n_layers = s->traces->n_moe_layers;
    size_t longest = 0, *scratch = malloc(s->traces->n_experts * sizeof *scratch);
    if (!scratch) return no_memory(error);
    for (size_t i = 0; i < s->n_traces; i++)
        if (s->traces[i].n_tokens > longest) longest = s->traces[i].n_tokens;
    for (size_t n = 1; n <= longest && s->n_windows < STATS_MAX_WINDOWS; n *= 2) s->windows[s->n_windows++] = n;
    for (size_t w = 0; w < s->n_windows; w++)
        for (size_t l = 0; l < n_layers; l++) {
            double sum = 0, count = 0;
            for (size_t i = 0; i < s->n_traces; i++) {
                if (s->traces[i].n_tokens < s->windows[w]) continue;
                double windows = (double)(s->traces[i].n_tokens - s->windows[w] + 1);
                sum += windows * stats_working_set(&s->traces[i], l, s->windows[w], scratch);
                count += windows;
            }
            s->distinct[w * n_layers + l] = sum / count;
        }
    free(scratch);
    return SLUICE_OK;
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const struct stats_budget *x = a, *y = b;
    return (x->n_experts > y->n_experts) - (x->n_experts < y->n_experts);
}

static void add_budget(struct stats *s, size_t n_experts, bool asked)
{
    for (size_t i = 0; i < s->n_budgets; i++)
        if (s->budgets[i].n_experts == n_experts) {
            s->budgets[i].asked |= asked;
            return;
        }
    s->budgets[s->n_budgets++] = (struct stats_budget){.n_experts = n_experts, .asked = asked};
}

static sluice_status choose_budgets(struct stats *s, const struct stats_values *v, sluice_error *error)
{
    static const double shares[] = {1 / 16., 1 / 8., 1 / 4., 3 / 8., 1 / 2., 5 / 8., 3 / 4., 7 / 8., 1};
    const struct trace *t = s->traces;
    const size_t n = (size_t)t->n_moe_layers * t->n_experts;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        add_budget(s, (size_t)ceil((double)n * shares[i]), false);
    if (v->ram.given) {
        double room = (v->ram.value * 1e9 - (double)t->other_bytes) / (double)t->expert_bytes;
        if (t->expert_bytes == 0)
            return set_error(error, SLUICE_ARGUMENT, "--ram: the trace does not say how large an expert is");
        if (room < 0)
            return set_error(error, SLUICE_ARGUMENT, "--ram: found %g GB, expected at least %s: what every token reads",
                             v->ram.value, human_bytes((double)t->other_bytes).text);
        add_budget(s, room > (double)n ? n : (size_t)room, true);
    }
    qsort(s->budgets, s->n_budgets, sizeof *s->budgets, by_size);
    for (size_t i = 0; i < s->n_budgets; i++) {
        uint64_t experts = s->budgets[i].n_experts * t->expert_bytes; /* at most 2^20 times 2^36 */
        s->budgets[i].bytes = t->expert_bytes ? t->other_bytes + experts : 0;
    }
    return SLUICE_OK;
}

static bool try_budget(struct stats *s, struct stats_budget *b, const uint32_t *keys, size_t n)
{
    const struct trace *t = s->traces;
    for (int p = 0; p < STATS_N_POLICIES; p++) {
        size_t hits;
        if (!stats_cache_hits(keys, n, (size_t)t->n_moe_layers * t->n_experts, b->n_experts, (enum stats_policy)p,
                              &hits))
            return false;
        b->hit_rate[p] = (double)hits / (double)n;
        if (t->expert_bytes)
            b->tokens_per_s[p] = 1 / stats_seconds_per_token(t, (double)(n - hits) / (double)s->n_cached_tokens,
                                                             s->memory_gb_per_s, s->disk_gb_per_s);
    }
    return true;
}

static sluice_status compute_cache(struct stats *s, const struct stats_values *v, sluice_error *error)
{
    const size_t per_token = (size_t)s->traces->n_moe_layers * s->traces->top_k;
    size_t n = 0, cap = s->n_tokens * per_token;
    if (cap > MOST_ACCESSES) cap = MOST_ACCESSES > per_token ? MOST_ACCESSES : per_token;
    uint32_t *keys = malloc(cap * sizeof *keys);
    if (!keys) return no_memory(error);
    for (size_t i = 0; i < s->n_traces; i++) n += stats_accesses(&s->traces[i], keys + n, cap - n);
    s->n_cached_tokens = per_token ? n / per_token : 0;
    sluice_status status = choose_budgets(s, v, error);
    for (size_t i = 0; !status && i < s->n_budgets; i++)
        if (!try_budget(s, &s->budgets[i], keys, n)) status = no_memory(error);
    free(keys);
    return status;
}

static sluice_status compute(struct stats *s, const struct stats_values *v, sluice_error *error)
{
    sluice_status status = SLUICE_OK;
    s->disk_gb_per_s = v->disk.value;
    s->memory_gb_per_s = v->memory.value;
    for (size_t i = 0; i < s->n_traces; i++) s->n_tokens += s->traces[i].n_tokens;
    s->same_tokens = s->n_traces > 1;
    for (size_t i = 1; i < s->n_traces; i++) s->same_tokens &= stats_same_tokens(&s->traces[0], &s->traces[i]);
    if (!v->memory.given) {
        sluice_roof roof = {0};
        status = sluice_measure_roof(0, &roof, error);
        s->memory_gb_per_s = roof.read_gb_per_s;
    }
    if (!status && !allocate(s)) status = no_memory(error);
    if (!status) status = compute_loads(s, error);
    if (!status) status = compute_pairs(s, error);
    if (!status) status = compute_vocabulary(s, error);
    if (!status) status = compute_working_set(s, error);
    if (!status) status = compute_cache(s, v, error);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static sluice_status show(const struct stats *s, const struct stats_values *v, struct page **page, sluice_error *error)
{
    sluice_status status = SLUICE_OK;
    if (v->json)
        status = stats_print_json(s, error);
    else
        stats_print_tables(s);
    if (!status) status = output_flush(error);
    if (status || !*page) return status;
    stats_draw(s, *page);
    return page_end(page, error);
}

static sluice_status stats(const void *values, sluice_error *error)
{
    const struct stats_values *v = values;
    struct trace traces[STATS_MAX_TRACES] = {0};
    struct stats s = {.traces = traces, .files = v->traces.items, .n_traces = v->traces.count};
    struct page *page = NULL;
    char title[128];
    sluice_status status = read_traces(&v->traces, traces, error);
    snprintf(title, sizeof title, "Routing of %.100s", traces[0].model ? traces[0].model : "");
    if (!status && v->html) status = page_begin(&page, v->html, title, error);
    if (!status) status = compute(&s, v, error);
    if (!status) status = show(&s, v, &page, error);
    page_discard(&page);
    release(&s);
    for (size_t i = 0; i < s.n_traces; i++) trace_close(&traces[i]);
    return status;
}

const struct command command_stats = {
    .name = "stats",
    .summary = "what routing traces tell: load, co-activation, specialisation, working set, caches",
    .usage = "TRACE... [options]",
    .details = "Reads what `sluice trace` wrote. Of one trace: load and entropy per layer, experts that are chosen "
               "together, tokens that an expert sees beyond chance, how many experts a stretch of text needs, and what "
               "a cache of experts would hit. Of traces of several texts also which experts serve which text; of "
               "traces of the same tokens (by two models of one shape) also how many choices are equal.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct stats_values),
    .run = stats,
};
