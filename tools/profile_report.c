#include "profile_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json.h"

/* ---- figures ----------------------------------------------------------------------------------------------------- */

const char *profile_phase_name(sluice_phase phase) { return phase == SLUICE_PREFILL ? "prefill" : "decode"; }

struct human profile_duration(double seconds)
{
    struct human h;
    if (seconds >= 10)
        snprintf(h.text, sizeof h.text, "%.2f s", seconds);
    else
        snprintf(h.text, sizeof h.text, "%.*f ms", seconds >= 0.1 ? 1 : 3, 1e3 * seconds);
    return h;
}

sluice_profile_cell profile_sum(const struct profile_result *r, sluice_phase phase, int first, int end, int first_op,
                                int end_op)
{
    sluice_profile_cell sum = {0};
    for (int l = first; l < end; l++)
        for (int op = first_op; op < end_op; op++) {
            const sluice_profile_cell c = sluice_profile_get(r->session, (sluice_operation)op, l, phase);
            sum.calls += c.calls;
            sum.seconds += c.seconds;
            sum.wait_seconds += c.wait_seconds;
            sum.weight_bytes += c.weight_bytes;
            sum.cache_bytes += c.cache_bytes;
            for (int i = 0; i < SLUICE_N_PEAKS; i++) sum.operations[i] += c.operations[i];
        }
    return sum;
}

static double quotient(double a, double b) { return b > 0 ? a / b : 0; }

struct profile_figures profile_figures_of(const struct profile_result *r, const sluice_profile_cell *c)
{
    struct bench_work work = {.bytes = (double)(c->weight_bytes + c->cache_bytes)};
    struct profile_figures f = {.bytes = work.bytes};
    for (int i = 0; i < SLUICE_N_PEAKS; i++) {
        work.operations[i] = (double)c->operations[i];
        f.operations += work.operations[i];
    }
    f.gb_per_s = quotient(f.bytes, c->seconds) * 1e-9;
    f.gflop_per_s = quotient(f.operations, c->seconds) * 1e-9;
    f.flop_per_byte = quotient(f.operations, f.bytes);
    f.roof_seconds = bench_roof_seconds(&work, &r->roof);
    f.share_of_roof = quotient(f.roof_seconds, c->seconds);
    return f;
}

static int power_of_two_from(int n)
{
    int power = 1;
    while (power < n) power *= 2;
    return power;
}

static void add_rows(struct profile_rows *lines, size_t *n_lines, int rows, uint64_t count, const char *gate_up,
                     const char *down)
{
    size_t i = *n_lines;
    while (i > 0 && !(power_of_two_from(lines[i - 1].high) == power_of_two_from(rows) &&
                      lines[i - 1].gate_up == gate_up && lines[i - 1].down == down))
        i--;
    if (i == 0) {
        if (*n_lines == PROFILE_MAX_ROWS) return;
        lines[(*n_lines)++] = (struct profile_rows){rows, rows, count, (uint64_t)rows * count, gate_up, down};
        return;
    }
    struct profile_rows *line = &lines[i - 1];
    line->high = rows;
    line->count += count;
    line->rows += (uint64_t)rows * count;
}

size_t profile_collect_rows(const struct profile_result *r, sluice_phase phase, int first, int end,
                            struct profile_rows out[PROFILE_MAX_ROWS])
{
    size_t n_lines = 0;
    const char *gate_up, *down;
    for (int rows = 1; rows <= r->most_rows; rows++)
        for (int l = first; l < end; l++) {
            const uint64_t count = sluice_profile_get_row_count(r->session, l, rows, phase);
            if (count && sluice_engine_get_expert_kernels(r->engine, l, rows, &gate_up, &down))
                add_rows(out, &n_lines, rows, count, gate_up, down);
        }
    return n_lines;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

/* Cells of a table, "" for nothing. */
struct cell {
    char text[24];
};

static struct cell number(double value)
{
    struct cell c = {""};
    if (value >= 99.95)
        snprintf(c.text, sizeof c.text, "%.0f", value);
    else if (value >= 9.995)
        snprintf(c.text, sizeof c.text, "%.1f", value);
    else if (value >= 0.001)
        snprintf(c.text, sizeof c.text, "%.*f", value >= 0.1 ? 2 : 3, value);
    else if (value > 0)
        snprintf(c.text, sizeof c.text, "%.0e", value);
    return c;
}

static struct cell percent(double share)
{
    struct cell c = {""};
    if (share > 0) snprintf(c.text, sizeof c.text, share >= 0.9995 ? "%.0f %%" : "%.1f %%", 100 * share);
    return c;
}

static void print_peak(const char *name, double peak, const char *unit, const char *isa)
{
    if (isa)
        printf(", %s %.3g %s (%s)", name, peak, unit, isa);
    else
        printf(", %s none", name);
}

static void print_machine(const struct profile_result *r)
{
    const sluice_model_info *i = &r->info;
    const sluice_roof *roof = &r->roof;
    printf("model      %s, %s, %d layers", i->path_name, i->weight_dtype, i->n_layers);
    if (i->n_experts) printf(", %d of %d experts", i->top_k, i->n_experts);
    printf("\nmachine    %s, %s, %d threads\n", roof->cpu, i->isa, i->n_threads);
    printf("roofs      reads %.1f GB/s", roof->read_gb_per_s);
    print_peak("int8", roof->int8_tops, "Top/s", roof->int8_isa);
    printf("\n           f32 %.3g Tflop/s (%s)", roof->f32_tflops, roof->f32_isa ? roof->f32_isa : "none");
    print_peak("bf16", roof->bf16_tflops, "Tflop/s", roof->bf16_isa);
    printf("\n");
}

enum { N_COLUMNS = 10 };

/* No blanks behind the last cell that says something. */
static void print_cells(const char *name, const struct cell cells[N_COLUMNS])
{
    static const int widths[N_COLUMNS] = {9, 7, 7, 6, 8, 8, 7, 8, 7, 7};
    int n = N_COLUMNS;
    while (n > 0 && !cells[n - 1].text[0]) n--;
    printf("%-16s", name);
    for (int i = 0; i < n; i++) printf(" %*s", widths[i], cells[i].text);
    printf("\n");
}

static void print_line(const struct profile_result *r, const char *name, const sluice_profile_cell *c, double passes,
                       double all_seconds)
{
    const struct profile_figures f = profile_figures_of(r, c);
    const struct cell cells[N_COLUMNS] = {
        number(1e3 * c->seconds / passes),
        percent(quotient(c->seconds, all_seconds)),
        percent(quotient(c->wait_seconds, c->seconds)),
        number((double)c->calls / passes),
        number(1e-6 * f.bytes / passes),
        number(1e-9 * f.operations / passes),
        number(f.gb_per_s),
        number(f.gflop_per_s),
        number(f.flop_per_byte),
        percent(f.share_of_roof),
    };
    print_cells(name, cells);
}

static void print_lines(const struct profile_result *r, sluice_phase phase, bool by_layer)
{
    static const struct cell titles[N_COLUMNS] = {{"ms"},    {"share"}, {"waiting"}, {"calls"},  {"MB"},
                                                  {"GFLOP"}, {"GB/s"},  {"GFLOP/s"}, {"FLOP/B"}, {"of roof"}};
    const int n_layers = r->info.n_layers;
    const double passes = (double)sluice_profile_get_total(r->session, phase).passes;
    const sluice_profile_cell all = profile_sum(r, phase, -1, n_layers, 0, SLUICE_N_OPERATIONS);
    printf("\n");
    print_cells("per pass", titles);
    for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
        const sluice_profile_cell c = profile_sum(r, phase, -1, n_layers, op, op + 1);
        if (c.calls) print_line(r, sluice_operation_name((sluice_operation)op), &c, passes, all.seconds);
    }
    print_line(r, "together", &all, passes, all.seconds);
    for (int l = -1; by_layer && l < n_layers; l++) {
        char name[24];
        const sluice_profile_cell c = profile_sum(r, phase, l, l + 1, 0, SLUICE_N_OPERATIONS);
        snprintf(name, sizeof name, "layer %d", l);
        if (l == -1) printf("\n");
        print_line(r, l < 0 ? "no layer" : name, &c, passes, all.seconds);
    }
}

static void print_rows(const struct profile_result *r, sluice_phase phase)
{
    struct profile_rows lines[PROFILE_MAX_ROWS];
    const size_t n = profile_collect_rows(r, phase, 0, r->info.n_layers, lines);
    uint64_t count = 0, rows = 0;
    for (size_t i = 0; i < n; i++) {
        count += lines[i].count;
        rows += lines[i].rows;
    }
    if (n) printf("\nrows per expert  experts   share of rows  kernel of gate and up, of down if another\n");
    for (size_t i = 0; i < n; i++) {
        char range[32];
        snprintf(range, sizeof range, lines[i].low == lines[i].high ? "%d" : "%d to %d", lines[i].low, lines[i].high);
        printf("%-16s %7s %7s %7s  %s", range, number((double)lines[i].count).text,
               percent(quotient((double)lines[i].count, (double)count)).text,
               percent(quotient((double)lines[i].rows, (double)rows)).text, lines[i].gate_up);
        if (lines[i].down != lines[i].gate_up) printf(", %s", lines[i].down);
        printf("\n");
    }
}

/* Of few threads each one, of many the ends. */
static void print_waits(const struct profile_result *r, sluice_phase phase, double seconds)
{
    enum { FEW = 8 };
    double least = 1, most = 0;
    printf("waiting    ");
    for (int t = 0; t < r->info.n_threads; t++) {
        const double share = quotient(sluice_profile_get_wait(r->session, t, phase), seconds);
        if (share < least) least = share;
        if (share > most) most = share;
        if (r->info.n_threads <= FEW) printf("%sthread %d %.1f %%", t ? ", " : "", t, 100 * share);
    }
    if (r->info.n_threads > FEW) printf("from %.1f %% to %.1f %% of a thread's time", 100 * least, 100 * most);
    printf(", at barriers\n");
}

static void print_energy(const struct energy *e, double tokens)
{
    if (!e->n_counters) {
        printf("energy     not available: %s\n", e->reason);
        return;
    }
    printf("energy     %.3g J per token, the whole machine (", quotient(energy_joules(e), tokens));
    for (size_t i = 0; i < e->n_counters; i++)
        printf("%s%s %.3g J", i ? ", " : "", e->counters[i].name, e->counters[i].joules);
    printf(")\n");
}

static void print_phase(const struct profile_result *r, sluice_phase phase, bool by_layer)
{
    const sluice_profile_total total = sluice_profile_get_total(r->session, phase);
    const sluice_profile_cell all = profile_sum(r, phase, -1, r->info.n_layers, 0, SLUICE_N_OPERATIONS);
    const double wall = r->wall_seconds[phase], tokens = (double)total.tokens;
    if (!total.passes) return;
    printf("\n%-10s %" PRIu64 " tokens in %s, %" PRIu64 " %s, %.1f tokens/s\n", profile_phase_name(phase), total.tokens,
           profile_duration(wall).text, total.passes, total.passes == 1 ? "pass" : "passes", quotient(tokens, wall));
    print_lines(r, phase, by_layer);
    print_rows(r, phase);
    printf("\nparts      %s of ", profile_duration(all.seconds).text);
    printf("%s, %.2f %% of the time that another clock says\n", profile_duration(wall).text,
           100 * quotient(all.seconds, wall));
    printf("read       %s of weights, ", human_bytes((double)all.weight_bytes).text);
    printf("%s of the cache; ", human_bytes((double)all.cache_bytes).text);
    printf("%s per token\n", human_bytes(quotient((double)(all.weight_bytes + all.cache_bytes), tokens)).text);
    print_waits(r, phase, total.seconds);
    printf("system     %" PRIu64 " page faults, %" PRIu64 " of them from disk; CPUs taken away %" PRIu64 " times\n",
           total.minor_faults + total.major_faults, total.major_faults, total.preemptions);
    print_energy(&r->energy[phase], tokens);
}

void profile_print_table(const struct profile_result *r, bool by_layer)
{
    bool from_cache = false;
    print_machine(r);
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++) {
        print_phase(r, (sluice_phase)phase, by_layer);
        for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
            const sluice_profile_cell c = profile_sum(r, (sluice_phase)phase, -1, r->info.n_layers, op, op + 1);
            from_cache |= profile_figures_of(r, &c).share_of_roof > 1.1;
        }
    }
    printf("\nA step's time is the mean over the threads, up to the beginning of the next step, with the time\n"
           "that they wait for the slowest. Of roof: the time that the machine needs at best to read the bytes\n"
           "or to multiply, whatever takes longer, divided by that.%s\n",
           from_cache ? "\nMore than 100 %: what is read stays in the caches." : "");
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static json_t *number_or_null(bool known, double value) { return known ? json_real(value) : json_null(); }

static const char *const peak_names[SLUICE_N_PEAKS] = {
    [SLUICE_PEAK_F32] = "f32", [SLUICE_PEAK_BF16] = "bf16", [SLUICE_PEAK_INT8] = "int8"};

static json_t *describe_cell(const struct profile_result *r, const sluice_profile_cell *c)
{
    const struct profile_figures f = profile_figures_of(r, c);
    json_t *flops = json_object();
    for (int i = 0; i < SLUICE_N_PEAKS; i++)
        if (json_object_set_new(flops, peak_names[i], json_integer((json_int_t)c->operations[i])) != 0) break;
    return json_pack("{s:I, s:f, s:f, s:I, s:I, s:o, s:f, s:f, s:o, s:o}", "calls", (json_int_t)c->calls, "seconds",
                     c->seconds, "wait_seconds", c->wait_seconds, "weight_bytes", (json_int_t)c->weight_bytes,
                     "cache_bytes", (json_int_t)c->cache_bytes, "flops", flops, "gb_per_s", f.gb_per_s, "gflop_per_s",
                     f.gflop_per_s, "flop_per_byte", number_or_null(f.bytes > 0 && f.operations > 0, f.flop_per_byte),
                     "share_of_roof", number_or_null(f.roof_seconds > 0, f.share_of_roof));
}

/* Adds to an array; a constructor that found no memory spoils it, which json_print_line tells. */
static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0) json_array_clear(array);
}

static json_t *describe_cells(const struct profile_result *r, sluice_phase phase)
{
    json_t *array = json_array();
    for (int l = -1; l < r->info.n_layers; l++)
        for (int op = 0; op < SLUICE_N_OPERATIONS; op++) {
            const sluice_profile_cell c = sluice_profile_get(r->session, (sluice_operation)op, l, phase);
            if (!c.calls) continue;
            json_t *cell = describe_cell(r, &c);
            json_object_set_new(cell, "operation", json_string(sluice_operation_name((sluice_operation)op)));
            json_object_set_new(cell, "layer", l < 0 ? json_null() : json_integer(l));
            append(array, cell);
        }
    return array;
}

static json_t *describe_rows(const struct profile_result *r, sluice_phase phase)
{
    json_t *array = json_array();
    const char *gate_up, *down;
    for (int l = 0; l < r->info.n_layers; l++)
        for (int rows = 1; rows <= r->most_rows; rows++) {
            const uint64_t count = sluice_profile_get_row_count(r->session, l, rows, phase);
            if (!count || !sluice_engine_get_expert_kernels(r->engine, l, rows, &gate_up, &down)) continue;
            append(array, json_pack("{s:i, s:i, s:I, s:s, s:s}", "layer", l, "rows", rows, "experts", (json_int_t)count,
                                    "gate_up_kernel", gate_up, "down_kernel", down));
        }
    return array;
}

/* Rows of each expert, an array per layer; null where a layer has no experts. */
static json_t *describe_load(const struct profile_result *r, sluice_phase phase)
{
    json_t *array = json_array();
    const char *gate_up, *down;
    for (int l = 0; l < r->info.n_layers; l++) {
        json_t *layer = sluice_engine_get_expert_kernels(r->engine, l, 1, &gate_up, &down) ? json_array() : json_null();
        for (int e = 0; json_is_array(layer) && e < r->info.n_experts; e++)
            append(layer, json_integer((json_int_t)sluice_profile_get_expert_rows(r->session, l, e, phase)));
        append(array, layer);
    }
    return array;
}

static json_t *describe_energy(const struct energy *e)
{
    if (!e->n_counters) return json_pack("{s:n, s:o}", "joules", "not_available", json_string_or_null(e->reason));
    json_t *counters = json_object();
    for (size_t i = 0; i < e->n_counters; i++) {
        const struct energy_counter *c = &e->counters[i];
        json_t *before = json_object_get(counters, c->name); /* each socket's memory is called "dram" */
        json_object_set_new(counters, c->name, json_real(c->joules + json_real_value(before)));
    }
    return json_pack("{s:f, s:o}", "joules", energy_joules(e), "counters", counters);
}

static json_t *describe_phase(const struct profile_result *r, sluice_phase phase)
{
    const sluice_profile_total total = sluice_profile_get_total(r->session, phase);
    const sluice_profile_cell all = profile_sum(r, phase, -1, r->info.n_layers, 0, SLUICE_N_OPERATIONS);
    json_t *waits = json_array();
    for (int t = 0; t < r->info.n_threads; t++) append(waits, json_real(sluice_profile_get_wait(r->session, t, phase)));
    return json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "phase", profile_phase_name(phase),
        "tokens", (json_int_t)total.tokens, "passes", (json_int_t)total.passes, "wall_seconds", r->wall_seconds[phase],
        "sum_of_parts_seconds", all.seconds, "together", describe_cell(r, &all), "thread_wait_seconds", waits,
        "minor_faults", (json_int_t)total.minor_faults, "major_faults", (json_int_t)total.major_faults, "preemptions",
        (json_int_t)total.preemptions, "energy", describe_energy(&r->energy[phase]), "operations",
        describe_cells(r, phase), "rows_per_expert", describe_rows(r, phase), "expert_rows", describe_load(r, phase));
}

sluice_status profile_print_json(const struct profile_result *r, sluice_error *error)
{
    const sluice_roof *roof = &r->roof;
    json_t *phases = json_array();
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
        if (sluice_profile_get_total(r->session, (sluice_phase)phase).passes)
            append(phases, describe_phase(r, (sluice_phase)phase));
    json_t *object =
        json_pack("{s:i, s:o, s:s, s:i, s:i, s:i, s:{s:o, s:s, s:i}, s:{s:f, s:o, s:o, s:o}, s:o}", "schema_version", 1,
                  "model", json_string_or_null(r->info.path_name), "weights", r->info.weight_dtype, "n_layers",
                  r->info.n_layers, "n_experts", r->info.n_experts, "top_k", r->info.top_k, "machine", "cpu",
                  json_string_or_null(roof->cpu), "isa", r->info.isa, "threads", r->info.n_threads, "roof",
                  "read_gb_per_s", roof->read_gb_per_s, "int8_tops", number_or_null(roof->int8_isa, roof->int8_tops),
                  "bf16_tflops", number_or_null(roof->bf16_isa, roof->bf16_tflops), "f32_tflops",
                  number_or_null(roof->f32_isa, roof->f32_tflops), "phases", phases);
    return json_print_line(object, error);
}

sluice_status profile_write_csv(const struct profile_result *r, struct output_file *file, sluice_error *error)
{
    static const char header[] = "phase,layer,operation,calls,seconds,wait_seconds,weight_bytes,cache_bytes,flops_f32,"
                                 "flops_bf16,flops_int8,gb_per_s,gflop_per_s,flop_per_byte,share_of_roof\n";
    sluice_status status = output_file_append(file, header, strlen(header), error);
    for (int phase = 0; phase < SLUICE_N_PHASES; phase++)
        for (int l = -1; l < r->info.n_layers; l++)
            for (int op = 0; op < SLUICE_N_OPERATIONS && !status; op++) {
                const sluice_profile_cell c =
                    sluice_profile_get(r->session, (sluice_operation)op, l, (sluice_phase)phase);
                const struct profile_figures f = profile_figures_of(r, &c);
                char line[512], layer[16] = "";
                if (!c.calls) continue;
                if (l >= 0) snprintf(layer, sizeof layer, "%d", l);
                int n = snprintf(line, sizeof line,
                                 "%s,%s,%s,%" PRIu64 ",%.9g,%.9g,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                                 ",%" PRIu64 ",%.6g,%.6g,%.6g,%.6g\n",
                                 profile_phase_name((sluice_phase)phase), layer,
                                 sluice_operation_name((sluice_operation)op), c.calls, c.seconds, c.wait_seconds,
                                 c.weight_bytes, c.cache_bytes, c.operations[SLUICE_PEAK_F32],
                                 c.operations[SLUICE_PEAK_BF16], c.operations[SLUICE_PEAK_INT8], f.gb_per_s,
                                 f.gflop_per_s, f.flop_per_byte, f.share_of_roof);
                status = output_file_append(file, line, (size_t)n, error);
            }
    return status;
}
