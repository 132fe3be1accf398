/* Owns the words and drawings of `sluice stats`. */
#include "stats_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "output.h"
#include "utf8.h"

/* What tables for people show of what may be long; JSON has everything. */
enum { BAR_CELLS = 20, MOST_SPECIALISTS = 12, MOST_PAIRS = 10, MOST_EXPERTS = 16, LABEL_CELLS = 12 };

static const char *const policy_names[STATS_N_POLICIES] = {"lru", "lfu", "optimal"};

struct bar {
    char text[BAR_CELLS + 1];
};

static struct bar bar_of(double share)
{
    struct bar bar;
    for (int i = 0; i < BAR_CELLS; i++) bar.text[i] = i + 0.5 < share * BAR_CELLS ? '#' : '.';
    bar.text[BAR_CELLS] = 0;
    return bar;
}

/* "L3E15" with the layer's number in the model. */
struct expert_name {
    char text[32];
};
static struct expert_name name_of_expert(const struct stats *s, size_t layer, size_t expert)
{
    struct expert_name name;
    snprintf(name.text, sizeof name.text, "L%" PRIu32 "E%zu", s->traces->layers[layer], expert);
    return name;
}

static size_t find_busiest(const uint64_t *load, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (load[i] > load[best]) best = i;
    return best;
}

/* The share of a text's tokens that choose an expert. */
static double share_of_text(const struct stats *s, size_t trace, size_t layer, size_t expert)
{
    return (double)stats_load_of(s, trace, layer)[expert] / (double)s->traces[trace].n_tokens;
}

static double even_share(const struct stats *s) { return (double)s->traces->top_k / (double)s->traces->n_experts; }

/* An expert that one text uses more than the others do. */
struct specialist {
    size_t layer, expert, text;
    double share;   /* of the text's tokens that choose it */
    double others;  /* the largest such share of another text */
    double of_load; /* of the expert's load, if the texts were equally long */
};

/* The experts that serve one text most exclusively, best first, of those that it uses more than evenly. Returns how
 * many. */
static size_t find_specialists(const struct stats *s, struct specialist *out, size_t cap)
{
    size_t n = 0;
    for (size_t l = 0; l < s->traces->n_moe_layers; l++)
        for (size_t e = 0; e < s->traces->n_experts; e++) {
            struct specialist x = {.layer = l, .expert = e};
            double sum = 0;
            for (size_t i = 0; i < s->n_traces; i++) {
                double share = share_of_text(s, i, l, e);
                sum += share;
                x.others = fmax(x.others, fmin(share, x.share));
                if (share <= x.share) continue;
                x.share = share;
                x.text = i;
            }
            if (x.share < even_share(s)) continue;
            x.of_load = x.share / sum;
            if (n == cap && x.of_load <= out[n - 1].of_load) continue;
            size_t at = n < cap ? n++ : cap - 1;
            for (; at > 0 && out[at - 1].of_load < x.of_load; at--) out[at] = out[at - 1];
            out[at] = x;
        }
    return n;
}

/* The experts whose first token is farthest from chance: indices into [L, E]. */
static size_t find_word_experts(const struct stats *s, size_t *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < (size_t)s->traces->n_moe_layers * s->traces->n_experts; i++) {
        const struct stats_token *first = s->vocabulary + i * STATS_TOP_TOKENS;
        if (first->seen == 0) continue;
        if (n == cap && first->score <= s->vocabulary[out[n - 1] * STATS_TOP_TOKENS].score) continue;
        size_t at = n < cap ? n++ : cap - 1;
        for (; at > 0 && s->vocabulary[out[at - 1] * STATS_TOP_TOKENS].score < first->score; at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
    return n;
}

/* The pairs of all layers with the highest scores: indices into [L, STATS_TOP_PAIRS]. */
static size_t find_pairs(const struct stats *s, size_t *out, size_t cap)
{
    size_t n = 0;
    for (size_t l = 0; l < s->traces->n_moe_layers; l++)
        for (size_t k = 0; k < s->n_pairs[l]; k++) {
            size_t i = l * STATS_TOP_PAIRS + k;
            if (n == cap && s->pairs[i].score <= s->pairs[out[n - 1]].score) break;
            size_t at = n < cap ? n++ : cap - 1;
            for (; at > 0 && s->pairs[out[at - 1]].score < s->pairs[i].score; at--) out[at] = out[at - 1];
            out[at] = i;
        }
    return n;
}

static double mean_over_layers(const struct stats *s, const double *values)
{
    double sum = 0;
    for (size_t l = 0; l < s->traces->n_moe_layers; l++) sum += values[l];
    return sum / s->traces->n_moe_layers;
}

static double uniform_at(const struct stats *s, size_t window)
{
    return stats_uniform_working_set(s->traces->n_experts, s->traces->top_k, (double)s->windows[window]);
}

static bool knows_sizes(const struct stats *s) { return s->traces->expert_bytes > 0; }

/* ---- for people -------------------------------------------------------------------------------------------------- */

static void print_head(const struct stats *s)
{
    const struct trace *t = s->traces;
    char shown[256];
    quote_bytes(shown, sizeof shown, t->model, strlen(t->model));
    printf("model      %s, %.64s: %" PRIu32 " of %" PRIu32 " experts in each of %" PRIu32 " layers\n", shown,
           t->architecture, t->top_k, t->n_experts, t->n_moe_layers);
    if (knows_sizes(s))
        printf("bytes      %s for an expert; a token reads %s in experts and %s besides\n",
               human_bytes((double)t->expert_bytes).text,
               human_bytes((double)t->expert_bytes * t->top_k * t->n_moe_layers).text,
               human_bytes((double)t->other_bytes).text);
    for (size_t i = 0; i < s->n_traces; i++)
        printf("%-10s %s, %zu tokens\n", i ? "" : "texts",
               quote_bytes(shown, sizeof shown, s->traces[i].label, strlen(s->traces[i].label)), s->traces[i].n_tokens);
}

static void print_load(const struct stats *s)
{
    const size_t n_experts = s->traces->n_experts;
    const double most = log2((double)n_experts);
    printf("\nLoad: how evenly each layer uses its experts (%.2f bits: evenly)\n", most);
    printf("layer  entropy                       busiest                  unused\n");
    for (size_t l = 0; l < s->traces->n_moe_layers; l++) {
        const uint64_t *load = s->load + l * n_experts;
        size_t busiest = find_busiest(load, n_experts), unused = 0;
        double share = (double)load[busiest] / (double)s->n_tokens;
        for (size_t e = 0; e < n_experts; e++) unused += load[e] == 0;
        printf("%5" PRIu32 "  %6.2f %s  %-8s %5.1f %% %5.1f x even %7zu\n", s->traces->layers[l], s->entropy[l],
               bar_of(most > 0 ? s->entropy[l] / most : 1).text, name_of_expert(s, l, busiest).text, 100 * share,
               share / even_share(s), unused);
    }
}

/* The label in LABEL_CELLS columns, one for each character. */
static void print_label(const char *label)
{
    size_t n = strlen(label), at = 0;
    int cells = 0;
    for (size_t used; cells < LABEL_CELLS && (used = utf8_sequence(label + at, n - at, NULL)); cells++) at += used;
    printf("  %.*s%*s", (int)at, label, LABEL_CELLS - cells, "");
}

static void print_texts(const struct stats *s)
{
    struct specialist best[MOST_SPECIALISTS];
    size_t n = find_specialists(s, best, MOST_SPECIALISTS);
    printf(
        "\nTexts: the busiest expert for each, and the share of the text's tokens that choose it (evenly: %.1f %%);\n"
        "tells: what the choice of an expert tells about the text, of %.2f bits\n",
        100 * even_share(s), log2((double)s->n_traces));
    printf("layer  tells");
    for (size_t i = 0; i < s->n_traces; i++) print_label(s->traces[i].label);
    for (size_t l = 0; l < s->traces->n_moe_layers; l++) {
        printf("\n%5" PRIu32 "  %5.3f", s->traces->layers[l], s->information[l]);
        for (size_t i = 0; i < s->n_traces; i++) {
            size_t e = find_busiest(stats_load_of(s, i, l), s->traces->n_experts);
            char cell[32];
            snprintf(cell, sizeof cell, "E%zu %.0f %%", e, 100 * share_of_text(s, i, l, e));
            print_label(cell);
        }
    }
    printf("\n\nSpecialists: experts that serve one text, by its share of their load if all texts were equally long\n");
    printf("expert    text          share of its load             chosen by\n");
    for (size_t i = 0; i < n; i++) {
        printf("%-8s", name_of_expert(s, best[i].layer, best[i].expert).text);
        print_label(s->traces[best[i].text].label);
        printf("  %s %3.0f %%    %5.1f %% of its tokens, %.1f %% of the next text's\n", bar_of(best[i].of_load).text,
               100 * best[i].of_load, 100 * best[i].share, 100 * best[i].others);
    }
}

static void print_saturation(const struct stats *s)
{
    const size_t n_layers = s->traces->n_moe_layers;
    char shown[64];
    printf("\nSaturation: the share of the first trace's choices that the others make as well\nlayer");
    for (size_t i = 1; i < s->n_traces; i++) {
        quote_bytes(shown, 40, s->files[i], strlen(s->files[i]));
        printf("  %-40s", shown);
    }
    for (size_t l = 0; l < n_layers; l++) {
        printf("\n%5" PRIu32, s->traces->layers[l]);
        for (size_t i = 1; i < s->n_traces; i++) {
            double share = s->saturation[i * n_layers + l];
            printf("  %s %5.1f %%            ", bar_of(share).text, 100 * share);
        }
    }
    printf("\n");
}

static void print_pairs(const struct stats *s)
{
    size_t best[MOST_PAIRS], n = find_pairs(s, best, MOST_PAIRS);
    if (n == 0) return;
    printf("\nTogether: pairs of experts that tokens choose together beyond chance\n");
    printf("pair              tokens  times chance\n");
    for (size_t i = 0; i < n; i++) {
        const struct stats_pair *p = &s->pairs[best[i]];
        char pair[48];
        snprintf(pair, sizeof pair, "%s + E%" PRIu32, name_of_expert(s, best[i] / STATS_TOP_PAIRS, p->a).text, p->b);
        printf("%-16s %7" PRIu32 "  %12.1f\n", pair, p->together, p->times_chance);
    }
}

static void print_vocabulary(const struct stats *s)
{
    size_t best[MOST_EXPERTS], n = find_word_experts(s, best, MOST_EXPERTS);
    char shown[64];
    if (n == 0) return;
    printf("\nVocabulary: tokens that an expert sees most beyond chance (times it got them / times in the texts)\n");
    for (size_t i = 0; i < n; i++) {
        const struct stats_token *t = s->vocabulary + best[i] * STATS_TOP_TOKENS;
        printf("%-8s", name_of_expert(s, best[i] / s->traces->n_experts, best[i] % s->traces->n_experts).text);
        for (int k = 0; k < STATS_TOP_TOKENS && t[k].seen; k++)
            printf("  %s %" PRIu32 "/%" PRIu32, quote_bytes(shown, 24, t[k].text, t[k].length), t[k].routed, t[k].seen);
        printf("\n");
    }
}

static void print_working_set(const struct stats *s)
{
    printf(
        "\nWorking set: distinct experts of a layer over n successive tokens, beside E(1-(1-k/E)^n) for even choices\n"
        "     n  measured                          even\n");
    for (size_t w = 0; w < s->n_windows; w++) {
        double distinct = mean_over_layers(s, s->distinct + w * s->traces->n_moe_layers);
        printf("%6zu  %8.2f %s %8.2f\n", s->windows[w], distinct, bar_of(distinct / s->traces->n_experts).text,
               uniform_at(s, w));
    }
}

static void print_cache(const struct stats *s)
{
    printf("\nCache: hit rates of experts kept in memory (LRU, LFU, and the optimum that knows the future), over %zu "
           "tokens,\nfrom empty",
           s->n_cached_tokens);
    if (knows_sizes(s))
        printf("; and tokens/s at best, with %.4g GB/s from memory and %.4g GB/s from storage", s->memory_gb_per_s,
               s->disk_gb_per_s);
    printf("\n%10s  experts     LRU     LFU  optimal%s\n", knows_sizes(s) ? "memory" : "",
           knows_sizes(s) ? "   tokens/s   LRU       LFU   optimal" : "");
    for (size_t i = 0; i < s->n_budgets; i++) {
        const struct stats_budget *b = &s->budgets[i];
        printf("%10s  %7zu", knows_sizes(s) ? human_bytes((double)b->bytes).text : "", b->n_experts);
        for (int p = 0; p < STATS_N_POLICIES; p++) printf("  %4.1f %%", 100 * b->hit_rate[p]);
        if (knows_sizes(s)) printf("     ");
        for (int p = 0; p < STATS_N_POLICIES && knows_sizes(s); p++) printf("  %8.4g", b->tokens_per_s[p]);
        printf("%s\n", b->asked ? "  <- --ram" : "");
    }
}

void stats_print_tables(const struct stats *s)
{
    print_head(s);
    print_load(s);
    if (s->saturation)
        print_saturation(s);
    else if (s->n_traces > 1)
        print_texts(s);
    print_pairs(s);
    print_vocabulary(s);
    print_working_set(s);
    print_cache(s);
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static json_t *counts_json(const uint64_t *counts, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(array, json_integer((json_int_t)counts[i]));
    return array;
}

static json_t *pairs_json(const struct stats *s, size_t layer)
{
    json_t *array = json_array();
    for (size_t i = 0; i < s->n_pairs[layer]; i++) {
        const struct stats_pair *p = &s->pairs[layer * STATS_TOP_PAIRS + i];
        json_array_append_new(array, json_pack("{s:i, s:i, s:I, s:f}", "a", (int)p->a, "b", (int)p->b, "together",
                                               (json_int_t)p->together, "times_chance", p->times_chance));
    }
    return array;
}

/* [E, E] counts of tokens that chose both; null for very many experts. */
static json_t *matrix_json(const struct stats *s, size_t layer)
{
    const size_t n = s->traces->n_experts;
    uint32_t *pairs = n <= STATS_MATRIX_EXPERTS ? calloc(n * n, sizeof *pairs) : NULL;
    if (!pairs) return json_null();
    json_t *matrix = json_array();
    for (size_t i = 0; i < s->n_traces; i++) stats_add_pairs(&s->traces[i], layer, pairs);
    for (size_t a = 0; a < n; a++) {
        json_t *row = json_array();
        for (size_t b = 0; b < n; b++) json_array_append_new(row, json_integer(pairs[a * n + b]));
        json_array_append_new(matrix, row);
    }
    free(pairs);
    return matrix;
}

static json_t *vocabulary_json(const struct stats *s, size_t layer)
{
    json_t *experts = json_array();
    for (size_t e = 0; e < s->traces->n_experts; e++) {
        const struct stats_token *t = s->vocabulary + (layer * s->traces->n_experts + e) * STATS_TOP_TOKENS;
        json_t *tokens = json_array();
        for (int k = 0; k < STATS_TOP_TOKENS && t[k].seen; k++)
            json_array_append_new(tokens, json_pack("{s:i, s:o, s:I, s:I}", "token", (int)t[k].token, "text",
                                                    json_string_of_bytes(t[k].text, t[k].length), "seen",
                                                    (json_int_t)t[k].seen, "routed", (json_int_t)t[k].routed));
        json_array_append_new(experts, tokens);
    }
    return experts;
}

static json_t *layer_json(const struct stats *s, size_t layer)
{
    const size_t n_experts = s->traces->n_experts, n_layers = s->traces->n_moe_layers;
    const bool by_text = s->n_traces > 1 && !s->same_tokens;
    json_t *texts = json_array(), *saturation = s->saturation ? json_array() : json_null();
    for (size_t i = 0; i < s->n_traces; i++) {
        json_array_append_new(texts, counts_json(stats_load_of(s, i, layer), n_experts));
        if (i && s->saturation) json_array_append_new(saturation, json_real(s->saturation[i * n_layers + layer]));
    }
    return json_pack("{s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "layer", (int)s->traces->layers[layer],
                     "entropy_bits", s->entropy[layer], "max_entropy_bits", log2((double)n_experts), "load",
                     counts_json(s->load + layer * n_experts, n_experts), "load_by_trace", texts,
                     "text_information_bits", by_text ? json_real(s->information[layer]) : json_null(), "saturation",
                     saturation, "top_pairs", pairs_json(s, layer), "co_activation", matrix_json(s, layer),
                     "vocabulary", vocabulary_json(s, layer));
}

static json_t *working_set_json(const struct stats *s)
{
    json_t *array = json_array();
    for (size_t w = 0; w < s->n_windows; w++) {
        const double *distinct = s->distinct + w * s->traces->n_moe_layers;
        json_t *layers = json_array();
        for (size_t l = 0; l < s->traces->n_moe_layers; l++) json_array_append_new(layers, json_real(distinct[l]));
        json_array_append_new(array,
                              json_pack("{s:I, s:f, s:f, s:o}", "tokens", (json_int_t)s->windows[w], "distinct",
                                        mean_over_layers(s, distinct), "uniform", uniform_at(s, w), "layers", layers));
    }
    return array;
}

static json_t *cache_json(const struct stats *s)
{
    json_t *array = json_array();
    for (size_t i = 0; i < s->n_budgets; i++) {
        const struct stats_budget *b = &s->budgets[i];
        json_t *budget = json_pack("{s:I, s:o}", "experts", (json_int_t)b->n_experts, "ram_bytes",
                                   knows_sizes(s) ? json_integer((json_int_t)b->bytes) : json_null());
        for (int p = 0; p < STATS_N_POLICIES; p++)
            json_object_set_new(budget, policy_names[p],
                                json_pack("{s:f, s:o}", "hit_rate", b->hit_rate[p], "tokens_per_s",
                                          knows_sizes(s) ? json_real(b->tokens_per_s[p]) : json_null()));
        json_array_append_new(array, budget);
    }
    return json_pack("{s:I, s:f, s:f, s:o}", "tokens", (json_int_t)s->n_cached_tokens, "memory_gb_per_s",
                     s->memory_gb_per_s, "disk_gb_per_s", s->disk_gb_per_s, "budgets", array);
}

sluice_status stats_print_json(const struct stats *s, sluice_error *error)
{
    const struct trace *t = s->traces;
    json_t *traces = json_array(), *layers = json_array();
    for (size_t i = 0; i < s->n_traces; i++)
        json_array_append_new(traces, json_pack("{s:o, s:o, s:I}", "file", json_string_or_null(s->files[i]), "label",
                                                json_string_or_null(s->traces[i].label), "tokens",
                                                (json_int_t)s->traces[i].n_tokens));
    for (size_t l = 0; l < t->n_moe_layers; l++) json_array_append_new(layers, layer_json(s, l));
    return json_print_line(json_pack("{s:i, s:o, s:o, s:i, s:i, s:I, s:I, s:o, s:o, s:o, s:o}", "schema_version", 1,
                                     "model", json_string_or_null(t->model), "architecture",
                                     json_string_or_null(t->architecture), "n_experts", (int)t->n_experts, "top_k",
                                     (int)t->top_k, "expert_bytes", (json_int_t)t->expert_bytes, "other_bytes",
                                     (json_int_t)t->other_bytes, "traces", traces, "layers", layers, "working_set",
                                     working_set_json(s), "cache", cache_json(s)),
                           error);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

enum { CELL = 48, MOST_CELLS = 200000 /* of a heat map */, MOST_PAGE_EXPERTS = 100, MOST_HEAT_TEXTS = 6 };

/* Names of the layers, "0", "1" ...; malloc'ed [L]. NULL: not enough memory. */
static const char **name_layers(const struct stats *s, char (**texts)[CELL])
{
    const size_t n = s->traces->n_moe_layers;
    const char **names = malloc(n * sizeof *names);
    *texts = malloc(n * sizeof **texts);
    for (size_t l = 0; names && *texts && l < n; l++) {
        snprintf((*texts)[l], CELL, "%" PRIu32, s->traces->layers[l]);
        names[l] = (*texts)[l];
    }
    return names;
}

/* A heat map of [L, E]: the share of n_tokens tokens that choose each expert, all maps with the same scale. */
static void draw_load(const struct stats *s, struct page *page, const char *title, const uint64_t *load,
                      size_t n_tokens, double high, const char *const *layers, double *values)
{
    const size_t n = (size_t)s->traces->n_moe_layers * s->traces->n_experts;
    for (size_t i = 0; i < n; i++) values[i] = 100 * (double)load[i] / (double)n_tokens;
    page_heat(page, title,
              &(struct page_heat){.row_label = "layer",
                                  .column_label = "expert",
                                  .rows = layers,
                                  .n_rows = s->traces->n_moe_layers,
                                  .n_columns = s->traces->n_experts,
                                  .values = values,
                                  .low = 0,
                                  .high = high,
                                  .value_label = "% of the tokens",
                                  .number = "%.1f"});
}

static void draw_loads(const struct stats *s, struct page *page)
{
    const size_t n_layers = s->traces->n_moe_layers, n_experts = s->traces->n_experts, n = n_layers * n_experts;
    char(*texts)[CELL], title[128];
    const char **layers = name_layers(s, &texts);
    double *values = malloc(n * sizeof *values), high = 0;
    if (layers && texts && values && n <= MOST_CELLS) {
        page_heading(page, "Load");
        page_paragraph(page,
                       "How often each expert is chosen. If a layer used its %" PRIu32
                       " experts evenly, every one would serve %.1f %% of the tokens.",
                       s->traces->n_experts, 100 * even_share(s));
        for (size_t i = 0; i < s->n_traces; i++)
            for (size_t l = 0; l < n_layers; l++)
                for (size_t e = 0; e < n_experts; e++) high = fmax(high, 100 * share_of_text(s, i, l, e));
        draw_load(s, page, s->n_traces > 1 ? "All texts together" : "Tokens that choose an expert", s->load,
                  s->n_tokens, high, layers, values);
        for (size_t i = 0; s->n_traces > 1 && i < s->n_traces && i < MOST_HEAT_TEXTS; i++) {
            snprintf(title, sizeof title, "%.80s, %zu tokens", s->traces[i].label, s->traces[i].n_tokens);
            draw_load(s, page, title, stats_load_of(s, i, 0), s->traces[i].n_tokens, high, layers, values);
        }
    }
    free(layers);
    free(texts);
    free(values);
}

static void draw_by_layer(const struct stats *s, struct page *page)
{
    const size_t n = s->traces->n_moe_layers;
    double *x = malloc(n * sizeof *x), *most = malloc(n * sizeof *most);
    for (size_t l = 0; x && most && l < n; l++) {
        x[l] = s->traces->layers[l];
        most[l] = log2((double)s->traces->n_experts);
    }
    const struct page_axis layer = {.label = "layer"}, bits = {.label = "bits"}, share = {"share", PAGE_LINEAR, 0, 1};
    const struct page_series entropy[] = {
        {.name = "entropy of the load", .style = PAGE_LINE_POINTS, .x = x, .y = s->entropy, .n = n},
        {.name = "even load", .style = PAGE_DASHED, .x = x, .y = most, .n = n},
    };
    const struct page_series information = {.name = "what the choice of an expert tells about the text",
                                            .style = PAGE_LINE_POINTS,
                                            .x = x,
                                            .y = s->information,
                                            .n = n};
    if (x && most) {
        page_plot(page, "Entropy of each layer's load", &layer, &bits, entropy, 2);
        if (s->n_traces > 1 && !s->same_tokens)
            page_plot(page, "Information about the text", &layer, &bits, &information, 1);
    }
    if (x && most && s->saturation) {
        struct page_series lines[STATS_MAX_TRACES] = {0};
        for (size_t i = 1; i < s->n_traces; i++)
            lines[i - 1] = (struct page_series){
                .name = s->files[i], .style = PAGE_LINE_POINTS, .x = x, .y = s->saturation + i * n, .n = n};
        page_plot(page, "Router saturation: choices equal to the first trace's", &layer, &share, lines,
                  s->n_traces - 1);
    }
    free(x);
    free(most);
}

static void draw_texts(const struct stats *s, struct page *page)
{
    struct specialist best[MOST_PAGE_EXPERTS];
    size_t n = find_specialists(s, best, MOST_PAGE_EXPERTS);
    static const char *const columns[] = {"expert", "text", "% of its load", "% of the text's tokens",
                                          "% of the next text's"};
    page_heading(page, "Specialists");
    page_paragraph(page, "Experts that serve one text: by the text's share of their load, if all texts were equally "
                         "long. Nobody told them to.");
    page_table_begin(page, NULL, columns, 5);
    for (size_t i = 0; i < n && i < 2 * MOST_SPECIALISTS; i++) {
        char cells[3][CELL];
        snprintf(cells[0], CELL, "%.0f", 100 * best[i].of_load);
        snprintf(cells[1], CELL, "%.1f", 100 * best[i].share);
        snprintf(cells[2], CELL, "%.1f", 100 * best[i].others);
        page_table_row(page, (const char *const[]){name_of_expert(s, best[i].layer, best[i].expert).text,
                                                   s->traces[best[i].text].label, cells[0], cells[1], cells[2]});
    }
    page_table_end(page);
}

/* The layer whose best pair is the farthest from chance, and the pairs of all. */
static void draw_pairs(const struct stats *s, struct page *page)
{
    static const char *const columns[] = {"layer", "experts", "tokens", "times chance"};
    const size_t n_experts = s->traces->n_experts, cells = n_experts * n_experts;
    size_t best[2 * MOST_PAIRS], n = find_pairs(s, best, 2 * MOST_PAIRS);
    if (n == 0 || n_experts > STATS_MATRIX_EXPERTS) return;
    const size_t layer = best[0] / STATS_TOP_PAIRS;
    uint32_t *pairs = calloc(cells, sizeof *pairs);
    double *values = malloc(cells * sizeof *values);
    if (pairs && values) {
        char title[CELL];
        for (size_t i = 0; i < s->n_traces; i++) stats_add_pairs(&s->traces[i], layer, pairs);
        for (size_t a = 0; a < n_experts; a++)
            for (size_t b = 0; b < n_experts; b++)
                values[a * n_experts + b] = a == b || pairs[a * n_experts + a] == 0
                                                ? (double)NAN
                                                : 100.0 * pairs[a * n_experts + b] / (double)pairs[a * n_experts + a];
        snprintf(title, sizeof title, "Layer %" PRIu32, s->traces->layers[layer]);
        page_heading(page, "Chosen together");
        page_paragraph(page, "Of the tokens that choose the expert of the row, the share that choose that of the "
                             "column as well, in the layer where a pair is the farthest from chance.");
        page_heat(page, title,
                  &(struct page_heat){.row_label = "expert",
                                      .column_label = "also chosen",
                                      .n_rows = n_experts,
                                      .n_columns = n_experts,
                                      .values = values,
                                      .value_label = "% of the row's tokens",
                                      .number = "%.1f"});
        page_table_begin(page, "Pairs farthest from chance, all layers", columns, 4);
        for (size_t i = 0; i < n; i++) {
            const struct stats_pair *p = &s->pairs[best[i]];
            char text[4][CELL];
            snprintf(text[0], CELL, "%" PRIu32, s->traces->layers[best[i] / STATS_TOP_PAIRS]);
            snprintf(text[1], CELL, "E%" PRIu32 " + E%" PRIu32, p->a, p->b);
            snprintf(text[2], CELL, "%" PRIu32, p->together);
            snprintf(text[3], CELL, "%.1f", p->times_chance);
            page_table_row(page, (const char *const[]){text[0], text[1], text[2], text[3]});
        }
        page_table_end(page);
    }
    free(pairs);
    free(values);
}

static void draw_vocabulary(const struct stats *s, struct page *page)
{
    static const char *const columns[1 + STATS_TOP_TOKENS] = {"expert", "tokens", "", "", "", ""};
    size_t best[MOST_PAGE_EXPERTS], n = find_word_experts(s, best, MOST_PAGE_EXPERTS);
    if (n == 0) return;
    page_heading(page, "Vocabulary");
    page_paragraph(page, "Tokens that an expert sees most beyond what its load alone would give it: how often it got "
                         "them, of how often they are in the texts.");
    page_table_begin(page, NULL, columns, 1 + STATS_TOP_TOKENS);
    for (size_t i = 0; i < n; i++) {
        const struct stats_token *t = s->vocabulary + best[i] * STATS_TOP_TOKENS;
        const struct expert_name name =
            name_of_expert(s, best[i] / s->traces->n_experts, best[i] % s->traces->n_experts);
        const char *row[1 + STATS_TOP_TOKENS] = {name.text};
        char shown[64], cells[STATS_TOP_TOKENS][96];
        for (int k = 0; k < STATS_TOP_TOKENS && t[k].seen; k++) {
            quote_bytes(shown, 32, t[k].text, t[k].length);
            snprintf(cells[k], sizeof cells[k], "%s %" PRIu32 "/%" PRIu32, shown, t[k].routed, t[k].seen);
            row[1 + k] = cells[k];
        }
        page_table_row(page, row);
    }
    page_table_end(page);
}

static void draw_working_set(const struct stats *s, struct page *page)
{
    double x[STATS_MAX_WINDOWS], measured[STATS_MAX_WINDOWS], even[STATS_MAX_WINDOWS];
    for (size_t w = 0; w < s->n_windows; w++) {
        x[w] = (double)s->windows[w];
        measured[w] = mean_over_layers(s, s->distinct + w * s->traces->n_moe_layers);
        even[w] = uniform_at(s, w);
    }
    const struct page_axis tokens = {.label = "successive tokens", .scale = PAGE_LOG2},
                           experts = {.label = "distinct experts of a layer"};
    const struct page_series lines[] = {
        {.name = "measured, mean of the layers", .style = PAGE_LINE_POINTS, .x = x, .y = measured, .n = s->n_windows},
        {.name = "even choices: E(1-(1-k/E)^n)", .style = PAGE_DASHED, .x = x, .y = even, .n = s->n_windows},
    };
    page_heading(page, "Working set");
    page_paragraph(page,
                   "How many different experts a stretch of text needs: what a pass over n tokens reads, and what "
                   "a cache must hold.");
    page_plot(page, "Distinct experts over n tokens", &tokens, &experts, lines, 2);
}

static void draw_cache(const struct stats *s, struct page *page)
{
    double x[STATS_MAX_BUDGETS], hits[STATS_N_POLICIES][STATS_MAX_BUDGETS], rates[STATS_N_POLICIES][STATS_MAX_BUDGETS];
    for (size_t i = 0; i < s->n_budgets; i++) {
        const struct stats_budget *b = &s->budgets[i];
        x[i] = knows_sizes(s) ? (double)b->bytes / 1e9 : (double)b->n_experts;
        for (int p = 0; p < STATS_N_POLICIES; p++) {
            hits[p][i] = 100 * b->hit_rate[p];
            rates[p][i] = b->tokens_per_s[p];
        }
    }
    const struct page_axis memory = {.label = knows_sizes(s) ? "memory for weights, GB" : "experts in memory"},
                           share = {"hits, %", PAGE_LINEAR, 0, 100}, rate = {.label = "tokens/s"};
    static const char *const names[STATS_N_POLICIES] = {"LRU", "LFU", "optimal (knows the future)"};
    struct page_series series[2][STATS_N_POLICIES];
    for (int p = 0; p < STATS_N_POLICIES; p++) {
        series[0][p] =
            (struct page_series){.name = names[p], .style = PAGE_LINE_POINTS, .x = x, .y = hits[p], .n = s->n_budgets};
        series[1][p] = series[0][p];
        series[1][p].y = rates[p];
    }
    page_heading(page, "When memory is short");
    page_paragraph(page,
                   "Experts that do not fit come from storage. How many of a token's experts a cache holds, over "
                   "the first %zu tokens, from empty.",
                   s->n_cached_tokens);
    page_plot(page, "Hit rate", &memory, &share, series[0], STATS_N_POLICIES);
    if (!knows_sizes(s)) return;
    page_plot(page, "Speed", &memory, &rate, series[1], STATS_N_POLICIES);
    page_note(
        page,
        "At best: every byte of a token comes from memory at %.4g GB/s, and what was missing from storage at %.4g GB/s "
        "before.",
        s->memory_gb_per_s, s->disk_gb_per_s);
}

void stats_draw(const struct stats *s, struct page *page)
{
    const struct trace *t = s->traces;
    page_paragraph(
        page, "%s: %" PRIu32 " of %" PRIu32 " experts in each of %" PRIu32 " layers, over %zu tokens of %zu text%s.",
        t->architecture, t->top_k, t->n_experts, t->n_moe_layers, s->n_tokens, s->n_traces, s->n_traces > 1 ? "s" : "");
    draw_loads(s, page);
    draw_by_layer(s, page);
    if (s->n_traces > 1 && !s->same_tokens) draw_texts(s, page);
    draw_pairs(s, page);
    draw_vocabulary(s, page);
    draw_working_set(s, page);
    draw_cache(s, page);
}
