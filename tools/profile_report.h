/* Owns the forms of what `sluice profile` found: tables for people, JSON and CSV for programs, a page with drawings
 * (profile_page.c). */
#ifndef TOOLS_PROFILE_REPORT_H
#define TOOLS_PROFILE_REPORT_H

#include "bench_statistics.h"
#include "energy.h"
#include "output.h"
#include "page.h"

struct profile_result {
    sluice_model_info info;
    const sluice_engine *engine;
    const sluice_session *session; /* with the profile */
    sluice_roof roof;
    int most_rows;                        /* of a pass */
    double wall_seconds[SLUICE_N_PHASES]; /* around the calls of the session */
    struct energy energy[SLUICE_N_PHASES];
};

/* ---- figures ----------------------------------------------------------------------------------------------------- */

const char *profile_phase_name(sluice_phase phase);
struct human profile_duration(double seconds); /* "71.25 ms", "12.34 s" */

/* Layers and operations added up: layers [first, end), operations [first_op, end_op). */
sluice_profile_cell profile_sum(const struct profile_result *r, sluice_phase phase, int first, int end, int first_op,
                                int end_op);

/* What there is nothing to divide by is 0. */
struct profile_figures {
    double bytes, operations;
    double gb_per_s, gflop_per_s, flop_per_byte;
    double roof_seconds;  /* that the machine needs at best; 0: nothing is counted, or there is no roof */
    double share_of_roof; /* of the time that was spent, waiting included */
};
struct profile_figures profile_figures_of(const struct profile_result *r, const sluice_profile_cell *cell);

/* `count` times an expert met low .. high rows at once, which these kernels multiplied. */
struct profile_rows {
    int low, high;
    uint64_t count, rows; /* rows: all together */
    const char *gate_up, *down;
};
enum { PROFILE_MAX_ROWS = 256 };
/* A histogram over layers [first, end), in ascending order: numbers of rows up to the same power of two and with the
 * same kernels are one line. Returns how many there are. */
size_t profile_collect_rows(const struct profile_result *r, sluice_phase phase, int first, int end,
                            struct profile_rows out[PROFILE_MAX_ROWS]);

/* ---- forms ------------------------------------------------------------------------------------------------------- */

void profile_print_table(const struct profile_result *r, bool by_layer);
sluice_status profile_print_json(const struct profile_result *r, sluice_error *error);
sluice_status profile_write_csv(const struct profile_result *r, struct output_file *file, sluice_error *error);
void profile_draw(const struct profile_result *r, struct page *page);

#endif
