/* The page of `sluice profile`: roofline, time by layer, load of the experts, timeline. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "profile_report.h"

/* Operations as colours: as many as can be told apart. */
enum group { PRODUCTS, ATTENTION, ROUTER, EXPERTS, DENSE, LOGITS, REST, WAITING, N_GROUPS };
static const char *const group_names[N_GROUPS] = {
    [PRODUCTS] = "products of attention", [ATTENTION] = "attention, states",
    [ROUTER] = "router, packing",         [EXPERTS] = "experts",
    [DENSE] = "mlp, shared expert",       [LOGITS] = "logits",
    [REST] = "norms and the rest",        [WAITING] = "waiting",
};

static enum group group_of(sluice_operation op)
{
    switch (op) {
    case SLUICE_OP_QKV:
    case SLUICE_OP_LATENT:
    case SLUICE_OP_RECURRENT_IN:
    case SLUICE_OP_MIXER_OUT: return PRODUCTS;
    case SLUICE_OP_ROPE:
    case SLUICE_OP_ATTENTION:
    case SLUICE_OP_LATENT_HEADS:
    case SLUICE_OP_RECURRENT: return ATTENTION;
    case SLUICE_OP_ROUTER:
    case SLUICE_OP_EXPERT_PACK: return ROUTER;
    case SLUICE_OP_EXPERT_GATE_UP:
    case SLUICE_OP_EXPERT_DOWN: return EXPERTS;
    case SLUICE_OP_SHARED_GATE_UP:
    case SLUICE_OP_SHARED_DOWN:
    case SLUICE_OP_MLP_GATE_UP:
    case SLUICE_OP_MLP_DOWN: return DENSE;
    case SLUICE_OP_HEAD: return LOGITS;
    case SLUICE_OP_PASS:
    case SLUICE_OP_EMBED:
    case SLUICE_OP_NORM:
    case SLUICE_OP_OBSERVE:
    case SLUICE_N_OPERATIONS: break;
    }
    return REST;
}

static bool has_phase(const struct profile_result *r, int phase)
{
    return sluice_profile_get_total(r->session, (sluice_phase)phase).passes > 0;
}

/* ---- table ------------------------------------------------------------------------------------------------------- */

static void draw_table(const struct profile_result *r, struct page *page, sluice_phase phase)
{
    static const char *const columns[] = {"step",  "ms per pass", "share",   "waiting", "MB",
                                          "GFLOP", "GB/s",        "GFLOP/s", "FLOP/B",  "of roof"};
    enum { N_COLUMNS = sizeof columns / sizeof *columns, CELL = 24 };
    const double passes = (double)sluice_profile_get_total(r->session, phase).passes;
    const sluice_profile_cell all = profile_sum(r, phase, -1, r->info.n_layers, 0, SLUICE_N_OPERATIONS);
    page_table_begin(page, NULL, columns, N_COLUMNS);
    for (int op = 0; op <= SLUICE_N_OPERATIONS; op++) {
        const bool is_last = op == SLUICE_N_OPERATIONS;
        const sluice_profile_cell c = is_last ? all : profile_sum(r, phase, -1, r->info.n_layers, op, op + 1);
        const struct profile_figures f = profile_figures_of(r, &c);
        char text[N_COLUMNS - 1][CELL] = {""};
        const char *cells[N_COLUMNS] = {is_last ? "together" : sluice_operation_name((sluice_operation)op)};
        if (!c.calls) continue;
        snprintf(text[0], CELL, "%.4g", 1e3 * c.seconds / passes);
        snprintf(text[1], CELL, "%.1f %%", 100 * c.seconds / all.seconds);
        if (c.seconds > 0) snprintf(text[2], CELL, "%.1f %%", 100 * c.wait_seconds / c.seconds);
        if (f.bytes > 0) snprintf(text[3], CELL, "%.3g", 1e-6 * f.bytes / passes);
        if (f.operations > 0) snprintf(text[4], CELL, "%.3g", 1e-9 * f.operations / passes);
        if (f.bytes > 0) snprintf(text[5], CELL, "%.3g", f.gb_per_s);
        if (f.operations > 0) snprintf(text[6], CELL, "%.3g", f.gflop_per_s);
        if (f.flop_per_byte > 0) snprintf(text[7], CELL, "%.3g", f.flop_per_byte);
        if (f.roof_seconds > 0) snprintf(text[8], CELL, "%.0f %%", 100 * f.share_of_roof);
        for (int i = 0; i + 1 < N_COLUMNS; i++) cells[i + 1] = text[i];
        page_table_row(page, cells);
    }
    page_table_end(page);
}

/* ---- roofline ---------------------------------------------------------------------------------------------------- */

enum { MAX_POINTS = SLUICE_N_OPERATIONS };

struct points {
    double x[MAX_POINTS], y[MAX_POINTS];
    const char *labels[MAX_POINTS];
    size_t n;
    bool kinds[SLUICE_N_PEAKS]; /* of arithmetic that they use */
};

static void find_points(const struct profile_result *r, sluice_phase phase, struct points *out)
{
    const sluice_profile_cell all = profile_sum(r, phase, -1, r->info.n_layers, 0, SLUICE_N_OPERATIONS);
    for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
        const sluice_profile_cell c = profile_sum(r, phase, -1, r->info.n_layers, op, op + 1);
        const struct profile_figures f = profile_figures_of(r, &c);
        if (f.flop_per_byte <= 0 || f.gflop_per_s <= 0 || c.seconds < 0.002 * all.seconds) continue;
        out->x[out->n] = f.flop_per_byte;
        out->y[out->n] = f.gflop_per_s;
        out->labels[out->n++] = sluice_operation_name((sluice_operation)op);
        for (int i = 0; i < SLUICE_N_PEAKS; i++) out->kinds[i] |= c.operations[i] > 0;
    }
}

/* A roof is a slope, where reading bounds, and a ceiling. */
static void draw_roofline(const struct profile_result *r, struct page *page)
{
    static const char *const names[SLUICE_N_PEAKS] = {
        [SLUICE_PEAK_F32] = "f32 roof", [SLUICE_PEAK_BF16] = "bf16 roof", [SLUICE_PEAK_INT8] = "int8 roof"};
    const double peaks[SLUICE_N_PEAKS] = {[SLUICE_PEAK_F32] = 1e3 * r->roof.f32_tflops,
                                          [SLUICE_PEAK_BF16] = 1e3 * r->roof.bf16_tflops,
                                          [SLUICE_PEAK_INT8] = 1e3 * r->roof.int8_tops};
    struct points points[SLUICE_N_PHASES] = {{.n = 0}};
    double low = INFINITY, high = 0, x[SLUICE_N_PEAKS][3], y[SLUICE_N_PEAKS][3];
    struct page_series series[SLUICE_N_PEAKS + SLUICE_N_PHASES];
    size_t n = 0;
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
        find_points(r, (sluice_phase)phase, &points[phase]);
        for (size_t i = 0; i < points[phase].n; i++) {
            low = fmin(low, points[phase].x[i]);
            high = fmax(high, points[phase].x[i]);
        }
    }
    if (high <= 0 || r->roof.read_gb_per_s <= 0) return;
    for (int i = 0; i < SLUICE_N_PEAKS; i++) {
        if (peaks[i] <= 0 || !(points[0].kinds[i] || points[1].kinds[i])) continue;
        const double ridge = peaks[i] / r->roof.read_gb_per_s;
        x[i][0] = fmin(low, ridge) / 2;
        x[i][1] = ridge;
        x[i][2] = fmax(high, ridge) * 4;
        for (int j = 0; j < 3; j++) y[i][j] = fmin(peaks[i], x[i][j] * r->roof.read_gb_per_s);
        series[n++] = (struct page_series){.name = names[i], .style = PAGE_LINE, .x = x[i], .y = y[i], .n = 3};
    }
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
        series[n++] = (struct page_series){.name = profile_phase_name((sluice_phase)phase),
                                           .style = PAGE_POINTS,
                                           .x = points[phase].x,
                                           .y = points[phase].y,
                                           .n = points[phase].n,
                                           .labels = points[phase].labels,
                                           .show_labels = true};
    page_heading(page, "Roofline");
    page_paragraph(page, "Left of a roof's corner a step is bound by reading memory, right of it by multiplying. "
                         "A point on its roof is as fast as this machine can be; a point above the slope has read from "
                         "the caches.");
    page_plot(page, "Steps and roofs", &(struct page_axis){.label = "FLOP per byte", .scale = PAGE_LOG10},
              &(struct page_axis){.label = "GFLOP/s", .scale = PAGE_LOG10}, series, n);
}

/* ---- time by layer ----------------------------------------------------------------------------------------------- */

static void draw_layers(const struct profile_result *r, struct page *page, sluice_phase phase)
{
    enum { NAME = 24 };
    const size_t n = (size_t)r->info.n_layers + 1;
    const double passes = (double)sluice_profile_get_total(r->session, phase).passes;
    double *values = calloc(n * N_GROUPS, sizeof *values);
    char(*names)[NAME] = calloc(n, sizeof *names);
    const char **rows = calloc(n, sizeof *rows);
    for (size_t i = 0; values && names && rows && i < n; i++) {
        const int l = (int)i - 1;
        if (l < 0)
            snprintf(names[i], NAME, "no layer");
        else
            snprintf(names[i], NAME, "layer %d", l);
        rows[i] = names[i];
        for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
            const sluice_profile_cell c = sluice_profile_get(r->session, (sluice_operation)op, l, phase);
            values[i * N_GROUPS + group_of((sluice_operation)op)] += 1e3 * (c.seconds - c.wait_seconds) / passes;
            values[i * N_GROUPS + WAITING] += 1e3 * c.wait_seconds / passes;
        }
        for (int g = 0; g < N_GROUPS; g++) values[i * N_GROUPS + (size_t)g] = fmax(values[i * N_GROUPS + (size_t)g], 0);
    }
    if (values && names && rows)
        page_bars(
            page, phase == SLUICE_PREFILL ? "Prefill: time by layer, per pass" : "Decode: time by layer, per pass",
            &(struct page_bars){
                .unit = "ms", .rows = rows, .parts = group_names, .n_rows = n, .n_parts = N_GROUPS, .values = values});
    free(values);
    free(names);
    free(rows);
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

static void draw_load(const struct profile_result *r, struct page *page)
{
    enum { NAME = 24 };
    const size_t n_experts = (size_t)r->info.n_experts;
    const char *gate_up, *down;
    if (n_experts == 0) return;
    double *values = calloc((size_t)r->info.n_layers * n_experts, sizeof *values);
    char(*names)[NAME] = calloc((size_t)r->info.n_layers, sizeof *names);
    const char **rows = calloc((size_t)r->info.n_layers, sizeof *rows);
    size_t n = 0;
    for (int l = 0; values && names && rows && l < r->info.n_layers; l++) {
        double all = 0;
        if (!sluice_engine_get_expert_kernels(r->engine, l, 1, &gate_up, &down)) continue;
        for (size_t e = 0; e < n_experts; e++) {
            double load = 0;
            for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
                load += (double)sluice_profile_get_expert_rows(r->session, l, (int)e, (sluice_phase)phase);
            values[n * n_experts + e] = load;
            all += load;
        }
        for (size_t e = 0; e < n_experts; e++) values[n * n_experts + e] *= all > 0 ? (double)n_experts / all : 0;
        snprintf(names[n], NAME, "%d", l);
        rows[n] = names[n];
        n++;
    }
    if (n) {
        page_heading(page, "Load of the experts");
        page_heat(page, "Tokens of each expert, as a multiple of an even share",
                  &(struct page_heat){.row_label = "layer",
                                      .column_label = "expert",
                                      .rows = rows,
                                      .n_rows = n,
                                      .n_columns = n_experts,
                                      .values = values,
                                      .value_label = "1: an even share"});
    }
    free(values);
    free(names);
    free(rows);
}

/* How often experts met how many rows. */
static void draw_rows(const struct profile_result *r, struct page *page, sluice_phase phase)
{
    static const char *const columns[] = {"rows per expert", "experts", "kernel of gate and up", "kernel of down"};
    struct profile_rows lines[PROFILE_MAX_ROWS];
    const size_t n = profile_collect_rows(r, phase, 0, r->info.n_layers, lines);
    if (!n) return;
    page_table_begin(page,
                     phase == SLUICE_PREFILL ? "Prefill: rows that an expert meets in a pass, and the kernel"
                                             : "Decode: rows that an expert meets in a pass, and the kernel",
                     columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < n; i++) {
        char range[32], count[32];
        snprintf(range, sizeof range, lines[i].low == lines[i].high ? "%d" : "%d to %d", lines[i].low, lines[i].high);
        snprintf(count, sizeof count, "%llu", (unsigned long long)lines[i].count);
        page_table_row(page, (const char *[]){range, count, lines[i].gate_up, lines[i].down});
    }
    page_table_end(page);
}

/* ---- timeline ---------------------------------------------------------------------------------------------------- */

enum { MAX_DRAWN = 6000, LABEL = 64 };

struct timeline {
    struct page_span *spans;
    char (*labels)[LABEL];
    size_t n;
};

static void add_span(struct timeline *t, int thread, enum group group, double begin, double end,
                     const sluice_profile_span *from)
{
    if (t->n == MAX_DRAWN || end <= begin) return;
    char *label = t->labels[t->n];
    const char *name = sluice_operation_name(from->operation);
    if (from->layer < 0)
        snprintf(label, LABEL, "%s%s", name, group == WAITING ? ", waiting" : "");
    else
        snprintf(label, LABEL, "layer %d %s%s", from->layer, name, group == WAITING ? ", waiting" : "");
    t->spans[t->n++] = (struct page_span){(size_t)thread, (size_t)group, begin, end, label};
}

/* The spans of one pass, from its beginning on, in ms. */
static void collect_pass(const struct profile_result *r, uint64_t pass, double origin, struct timeline *t)
{
    for (int thread = 0; thread < r->info.n_threads; thread++) {
        sluice_profile_span s;
        for (size_t i = 0; sluice_profile_get_span(r->session, thread, i, &s); i++) {
            if (s.pass != pass) continue;
            const double begin = 1e3 * (s.begin - origin), end = 1e3 * (s.end - origin), wait = 1e3 * s.wait_seconds;
            const double work_end = fmax(begin, end - wait);
            add_span(t, thread, group_of(s.operation), begin, work_end, &s);
            add_span(t, thread, WAITING, work_end, end, &s);
        }
    }
}

/* The fastest pass of this phase that thread 0 has kept whole, which ends as it began: with SLUICE_OP_PASS. False:
 * there is none. */
static bool find_pass(const struct profile_result *r, sluice_phase phase, uint64_t *pass, double *origin)
{
    sluice_profile_span s, next;
    double begin = 0, fastest = INFINITY;
    bool more = sluice_profile_get_span(r->session, 0, 0, &next), is_first = true;
    for (size_t i = 1; more; i++) {
        s = next;
        if (is_first) begin = s.begin;
        more = sluice_profile_get_span(r->session, 0, i, &next);
        const bool is_last = !more || next.pass != s.pass;
        if (is_last && !is_first && s.operation == SLUICE_OP_PASS && s.phase == phase && s.end - begin < fastest) {
            fastest = s.end - begin;
            *pass = s.pass;
            *origin = begin;
        }
        is_first = is_last;
    }
    return fastest < INFINITY;
}

static void draw_timeline(const struct profile_result *r, struct page *page, sluice_phase phase)
{
    enum { NAME = 24 };
    struct timeline t = {calloc(MAX_DRAWN, sizeof *t.spans), calloc(MAX_DRAWN, sizeof *t.labels), 0};
    char(*names)[NAME] = calloc((size_t)r->info.n_threads, sizeof *names);
    const char **lanes = calloc((size_t)r->info.n_threads, sizeof *lanes);
    uint64_t pass = 0;
    double origin = 0;
    if (t.spans && t.labels && names && lanes && find_pass(r, phase, &pass, &origin)) {
        for (int i = 0; i < r->info.n_threads; i++) {
            snprintf(names[i], NAME, "thread %d", i);
            lanes[i] = names[i];
        }
        collect_pass(r, pass, origin, &t);
        page_timeline(page, phase == SLUICE_PREFILL ? "One pass of the prompt" : "One decoded token, the fastest",
                      &(struct page_timeline){.unit = "ms",
                                              .lanes = lanes,
                                              .kinds = group_names,
                                              .n_lanes = (size_t)r->info.n_threads,
                                              .n_kinds = N_GROUPS,
                                              .spans = t.spans,
                                              .n_spans = t.n});
        if (t.n == MAX_DRAWN) page_note(page, "Only the first %d pieces are drawn.", MAX_DRAWN);
    }
    free(t.spans);
    free(t.labels);
    free(names);
    free(lanes);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static void draw_summary(const struct profile_result *r, struct page *page)
{
    const sluice_model_info *i = &r->info;
    page_paragraph(page, "%s, %s, on %s with %d threads (%s). Memory is read at %.1f GB/s here.", i->path_name,
                   i->weight_dtype, r->roof.cpu ? r->roof.cpu : "this machine", i->n_threads, i->isa,
                   r->roof.read_gb_per_s);
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
        if (!has_phase(r, phase)) continue;
        const sluice_profile_total total = sluice_profile_get_total(r->session, (sluice_phase)phase);
        const double wall = r->wall_seconds[phase];
        page_paragraph(page, "%s: %llu tokens in %s, %.1f tokens/s.", phase == SLUICE_PREFILL ? "Prefill" : "Decode",
                       (unsigned long long)total.tokens, profile_duration(wall).text,
                       wall > 0 ? (double)total.tokens / wall : 0);
    }
}

void profile_draw(const struct profile_result *r, struct page *page)
{
    draw_summary(r, page);
    draw_roofline(r, page);
    page_heading(page, "Time by layer");
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
        if (has_phase(r, phase)) draw_layers(r, page, (sluice_phase)phase);
    draw_load(r, page);
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++) draw_rows(r, page, (sluice_phase)phase);
    page_heading(page, "Timeline");
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
        if (has_phase(r, phase)) draw_timeline(r, page, (sluice_phase)phase);
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
        if (!has_phase(r, phase)) continue;
        page_heading(page, phase == SLUICE_PREFILL ? "Prefill, step by step" : "Decode, step by step");
        draw_table(r, page, (sluice_phase)phase);
    }
    page_note(page, "A step's time is the mean over the threads, up to the beginning of the next step, with the time "
                    "that they wait for the slowest. Bytes are weights and cache, each matrix once per pass, and only "
                    "experts that some token chose.");
}
