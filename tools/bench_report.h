/* Owns the three forms of what `sluice bench` found: a table for people, JSON and CSV for programs. */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include "args.h"
#include "bench_statistics.h"
#include "kl.h"

/* One line of the result. */
struct bench_row {
    bool is_decode;
    int64_t n;                   /* tokens of a prompt; or positions that are taken before decoding */
    struct bench_samples rates;  /* tokens per second */
    struct bench_samples ratios; /* time with --exact / time without, sample by sample; none: not measured */
    struct bench_work work;      /* of all samples */
};

struct bench_result {
    sluice_model_info info;
    double huge_page_share;
    sluice_roof roof;
    const struct surgery_flags *surgery; /* NULL: the model as it is */
    struct kl_figures kl;                /* of the surgery */
    size_t n_rows;
    struct bench_row rows[2 * OPTION_MAX_INTEGERS];
};

void bench_print_table(const struct bench_result *result);
sluice_status bench_print_json(const struct bench_result *result, sluice_error *error);
void bench_print_csv(const struct bench_result *result);

#endif
