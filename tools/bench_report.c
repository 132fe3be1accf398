#include "bench_report.h"

#include <inttypes.h>
#include <stdio.h>

#include "json.h"
#include "output.h"

enum { BAR_CELLS = 10 };

/* The figures of a row; what there is nothing to divide by is 0. */
struct figures {
    struct quartiles rate;
    double gb_per_s, share_of_roof, distinct_experts, rows_per_expert, barrier_share;
    double exact_cost; /* 0: not measured */
};

static double quotient(double a, double b) { return b > 0 ? a / b : 0; }

static struct figures figures_of(const struct bench_result *r, const struct bench_row *row)
{
    const struct bench_work *w = &row->work;
    struct figures f = {.rate = quartiles_of(&row->rates)};
    double seconds = quotient(w->tokens, f.rate.median); /* of all samples, if each were the median one */
    f.gb_per_s = quotient(w->bytes, seconds) * 1e-9;
    f.share_of_roof = quotient(bench_roof_seconds(w, &r->roof), seconds);
    f.distinct_experts = quotient(w->experts_read, w->passes * r->info.n_moe_layers);
    f.rows_per_expert = quotient(w->expert_rows, w->experts_read);
    f.barrier_share = quotient(w->wait_seconds, w->seconds * r->info.n_threads);
    f.exact_cost = quartiles_of(&row->ratios).median;
    return f;
}

/* The mean over rows of one kind; 0: not measured. */
static double mean_exact_cost(const struct bench_result *r, bool is_decode)
{
    double costs[2 * OPTION_MAX_INTEGERS];
    size_t n = 0;
    for (size_t i = 0; i < r->n_rows; i++)
        if (r->rows[i].is_decode == is_decode && r->rows[i].ratios.count)
            costs[n++] = quartiles_of(&r->rows[i].ratios).median;
    return n ? geometric_mean(costs, n) : 0;
}

/* ---- for people ------------------------------------------------------------------------------------------------ */

static void print_bar(double share)
{
    char cells[BAR_CELLS + 1];
    double full = share * BAR_CELLS + 0.5;
    for (int i = 0; i < BAR_CELLS; i++) cells[i] = i + 1 <= full ? '#' : '.';
    cells[BAR_CELLS] = 0;
    printf("  %s %3.0f %%", cells, 100 * share);
}

static void print_rows(const struct bench_result *r, bool is_decode)
{
    bool has_exact = mean_exact_cost(r, is_decode) > 0, has_experts = r->info.n_moe_layers > 0;
    for (size_t i = 0, n = 0; i < r->n_rows; i++) {
        if (r->rows[i].is_decode != is_decode) continue;
        if (n++ == 0)
            printf("\n%-10s  tokens/s        q1        q3  share of roof        GB/s  waiting%s%s\n",
                   is_decode ? "decode at" : "prefill", has_experts ? "  experts  rows each" : "",
                   has_exact ? "  exact costs" : "");
        struct figures f = figures_of(r, &r->rows[i]);
        printf("%10" PRId64 " %9.1f %9.1f %9.1f", r->rows[i].n, f.rate.median, f.rate.q1, f.rate.q3);
        print_bar(f.share_of_roof);
        printf("  %8.1f  %5.1f %%", f.gb_per_s, 100 * f.barrier_share);
        if (has_experts) printf("  %7.1f  %9.1f", f.distinct_experts, f.rows_per_expert);
        if (has_exact) printf("  %9.3f x", f.exact_cost);
        printf("\n");
    }
}

static void print_peak(const char *name, double peak, const char *unit, const char *isa)
{
    if (isa)
        printf(", %s %.3g %s (%s)", name, peak, unit, isa);
    else
        printf(", %s none", name);
}

void bench_print_table(const struct bench_result *r)
{
    const sluice_model_info *i = &r->info;
    const sluice_roof *roof = &r->roof;
    printf("model      %s, %s\n", i->path_name, i->weight_dtype);
    printf("weights    %s, %.0f %% in 2 MiB pages", human_bytes((double)i->weight_bytes).text,
           100 * r->huge_page_share);
    if (i->mapped_bytes) printf("; %s read in the file", human_bytes((double)i->mapped_bytes).text);
    printf("\nmachine    %s, %s, %d threads\n", roof->cpu, i->isa, i->n_threads);
    printf("roofs      reads %.1f GB/s", roof->read_gb_per_s);
    print_peak("int8", roof->int8_tops, "Top/s", roof->int8_isa);
    print_peak("bf16", roof->bf16_tflops, "Tflop/s", roof->bf16_isa);
    print_peak("f32", roof->f32_tflops, "Tflop/s", roof->f32_isa);
    printf("\n");
    print_rows(r, false);
    print_rows(r, true);
    bool from_cache = false;
    for (size_t j = 0; j < r->n_rows; j++) from_cache |= figures_of(r, &r->rows[j]).share_of_roof > 1.1;
    if (from_cache)
        printf("\nMore than 100 %%: what a pass reads stays in the caches, and the roof is that of memory.\n");
    if (r->surgery) {
        char flags[192];
        printf("\nKL         %.6f nats per token, KL(native || %s) over %zu tokens that the model wrote\n", r->kl.kl,
               surgery_describe(r->surgery, flags, sizeof flags), r->kl.n_tokens);
    }
    double prefill = mean_exact_cost(r, false), decode = mean_exact_cost(r, true);
    if (prefill + decode > 0) printf("\nexactness ");
    if (prefill > 0) printf(" takes %.3f times as long in prefill%s", prefill, decode > 0 ? "," : "");
    if (decode > 0) printf(" %.3f times as long in decode", decode);
    if (prefill + decode > 0) printf("\n");
}

/* ---- for programs ---------------------------------------------------------------------------------------------- */

static json_t *number_or_null(bool known, double value) { return known ? json_real(value) : json_null(); }

static json_t *describe_row(const struct bench_result *r, const struct bench_row *row)
{
    struct figures f = figures_of(r, row);
    bool has_experts = r->info.n_moe_layers > 0;
    json_t *share = number_or_null(f.share_of_roof > 0, f.share_of_roof);
    if (row->is_decode)
        return json_pack("{s:I, s:f, s:f, s:o, s:f, s:f, s:f}", "context", (json_int_t)row->n, "tokens_per_s",
                         f.rate.median, "gb_per_s", f.gb_per_s, "share_of_roof", share, "barrier_share",
                         f.barrier_share, "q1", f.rate.q1, "q3", f.rate.q3);
    return json_pack("{s:I, s:f, s:o, s:o, s:o, s:f, s:f}", "tokens", (json_int_t)row->n, "tokens_per_s", f.rate.median,
                     "share_of_roof", share, "distinct_experts", number_or_null(has_experts, f.distinct_experts),
                     "rows_per_expert", number_or_null(has_experts, f.rows_per_expert), "q1", f.rate.q1, "q3",
                     f.rate.q3);
}

static json_t *describe_rows(const struct bench_result *r, bool is_decode)
{
    json_t *array = json_array();
    for (size_t i = 0; i < r->n_rows; i++)
        if (r->rows[i].is_decode == is_decode && json_array_append_new(array, describe_row(r, &r->rows[i])) != 0) break;
    return array;
}

sluice_status bench_print_json(const struct bench_result *r, sluice_error *error)
{
    const sluice_roof *roof = &r->roof;
    json_t *object =
        json_pack("{s:o, s:i, s:o, s:{s:f, s:o, s:o, s:o}, s:o, s:o}", "model", json_string_or_null(r->info.path_name),
                  "threads", r->info.n_threads, "cpu", json_string_or_null(roof->cpu), "roof", "read_gb_per_s",
                  roof->read_gb_per_s, "int8_tops", number_or_null(roof->int8_isa, roof->int8_tops), "bf16_tflops",
                  number_or_null(roof->bf16_isa, roof->bf16_tflops), "f32_tflops",
                  number_or_null(roof->f32_isa, roof->f32_tflops), "prefill", describe_rows(r, false), "decode",
                  describe_rows(r, true));
    double prefill = mean_exact_cost(r, false), decode = mean_exact_cost(r, true);
    if (object && prefill + decode > 0) {
        json_t *cost = json_pack("{s:o, s:o}", "prefill", number_or_null(prefill > 0, prefill), "decode",
                                 number_or_null(decode > 0, decode));
        if (json_object_set_new(object, "exact_cost", cost) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    if (object && r->surgery) {
        char flags[192];
        json_t *surgery = json_pack("{s:s, s:f, s:I}", "flags", surgery_describe(r->surgery, flags, sizeof flags), "kl",
                                    r->kl.kl, "kl_tokens", (json_int_t)r->kl.n_tokens);
        if (json_object_set_new(object, "surgery", surgery) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return json_print_line(object, error);
}

/* A field of CSV in quotes. */
static void print_field(const char *text)
{
    putchar('"');
    for (; text && *text; text++) {
        if (*text == '"') putchar('"');
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
    }
    putchar('"');
}

void bench_print_csv(const struct bench_result *r)
{
    printf("model,cpu,threads,kind,tokens_or_context,tokens_per_s,q1,q3,gb_per_s,share_of_roof,barrier_share,"
           "distinct_experts,rows_per_expert,exact_cost,read_gb_per_s,int8_tops,bf16_tflops,f32_tflops,kl\n");
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct bench_row *row = &r->rows[i];
        struct figures f = figures_of(r, row);
        print_field(r->info.path_name);
        putchar(',');
        print_field(r->roof.cpu);
        printf(",%d,%s,%" PRId64 ",%.6g,%.6g,%.6g,%.6g,%.4g,%.4g,%.6g,%.6g,", r->info.n_threads,
               row->is_decode ? "decode" : "prefill", row->n, f.rate.median, f.rate.q1, f.rate.q3, f.gb_per_s,
               f.share_of_roof, f.barrier_share, f.distinct_experts, f.rows_per_expert);
        if (f.exact_cost > 0) printf("%.4g", f.exact_cost);
        printf(",%.4g,%.4g,%.4g,%.4g,", r->roof.read_gb_per_s, r->roof.int8_tops, r->roof.bf16_tflops,
               r->roof.f32_tflops);
        if (r->surgery) printf("%.6g", r->kl.kl);
        printf("\n");
    }
}
