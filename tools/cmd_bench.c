/* The command `bench`: how fast a model runs here, and how much of what the machine can do that is. Owns the order of
 * measurements; bench_statistics.c says what they mean, bench_report.c how they are told. */
#include <stdlib.h>

#include "bench_report.h"
#include "commands.h"
#include "interrupt.h"
#include "load.h"
#include "output.h"
#include "progress.h"

/* A row takes at least --repeat samples, and more while they take less than this together. */
static const double shortest_row = 0.5;

/* What a decoded token is worth of a prompt's for the progress bar. */
enum { DECODE_WEIGHT = 8, WARM_UP_TOKENS = 64 };

/* Tokens that the model writes to be held against itself with other experts. */
enum { OWN_TEXT = 256 };

struct bench_values {
    const char *model;
    struct load_options load;
    struct option_integers prefill, contexts;
    struct option_integer decode, repeat;
    bool json, csv;
};

#define FIELD(name) .offset = offsetof(struct bench_values, name)
/* clang-format off */
static const struct option options[] = {
    OPTION_ROW_MODEL(struct bench_values),
    {.name = "prefill", .kind = OPTION_INTEGERS, FIELD(prefill), .value_name = "N,..", .low = 1,
     .high = LOAD_MAX_CONTEXT, .initial = "1,32,128,512,2048", .help = "tokens of the prompts that are measured"},
    {.name = "decode", .kind = OPTION_INTEGER, FIELD(decode), .value_name = "N", .low = 1, .high = LOAD_MAX_CONTEXT,
     .initial = "32", .help = "tokens of a sample that decodes"},
    {.name = "context", .kind = OPTION_INTEGERS, FIELD(contexts), .value_name = "N,..", .low = 0,
     .high = LOAD_MAX_CONTEXT, .initial = "0,1024,4096,16384",
     .help = "positions that are taken when decoding begins; these and the prompts are cut to what the model has "
             "positions for, unless they are given"},
    {.name = "repeat", .kind = OPTION_INTEGER, FIELD(repeat), .value_name = "N", .low = 1, .high = BENCH_MAX_SAMPLES,
     .initial = "5", .help = "samples of everything, more where they are very short"},
    {.name = "exact", .kind = OPTION_FLAG, FIELD(load.exact),
     .help = "also measures with --exact, in alternation, and tells what that costs; loads the model twice"},
    OPTION_ROW_LOAD_AS(struct bench_values),
    OPTION_ROW_FLOAT(struct bench_values, FLOAT_HELP),
    OPTION_ROW_CACHE_TYPE(struct bench_values, NULL, CACHE_TYPE_AS_WEIGHTS),
    OPTION_ROW_NO_REPACK(struct bench_values),
    OPTION_ROW_LOAD(struct bench_values),
    OPTION_ROWS_SURGERY(struct bench_values),
    OPTION_ROW_THREADS(struct bench_values, load.threads),
    OPTION_ROW_JSON(struct bench_values, "one JSON object"),
    {.name = "csv", .kind = OPTION_FLAG, FIELD(csv), .help = "one line per measurement"},
};
/* clang-format on */

/* One of the one or two engines that take turns. */
struct side {
    sluice_engine *engine;
    sluice_session *session;
};

struct bench {
    const struct bench_values *values;
    struct side sides[2]; /* the second one is exact */
    int n_sides;
    int32_t *tokens; /* [n_context] */
    size_t n_context;
    uint64_t random;
    struct progress bar;
    uint64_t done, total; /* of the bar */
    struct bench_result result;
    sluice_error *error;
};

/* ---- running --------------------------------------------------------------------------------------------------- */

/* Any tokens will do, but not the same ones in every run of a loop: they would touch the same experts. xorshift64*,
 * Vigna 2016. */
static void draw_tokens(struct bench *b, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++) {
        b->random ^= b->random >> 12;
        b->random ^= b->random << 25;
        b->random ^= b->random >> 27;
        uint64_t high = (b->random * UINT64_C(0x2545f4914f6cdd1d)) >> 32;
        b->tokens[i] = (int32_t)((high * (uint64_t)b->result.info.vocab_size) >> 32);
    }
}

static void advance(struct bench *b, uint64_t n)
{
    b->done += n;
    progress_update(&b->bar, b->done < b->total ? b->done : b->total, b->total);
}

/* Prefills tokens [begin, end) of the list in passes of LOAD_CHUNK. */
static sluice_status prefill(struct bench *b, const struct side *s, size_t begin, size_t end)
{
    sluice_status status = SLUICE_OK;
    interrupt_watch(s->session);
    for (size_t at = begin; at < end && !status;) {
        size_t n = end - at < LOAD_CHUNK ? end - at : LOAD_CHUNK;
        if (interrupt_requested()) return SLUICE_CANCELLED;
        status = sluice_session_prefill(s->session, b->tokens + at, n);
        at += n;
        advance(b, n);
    }
    return status ? set_error(b->error, status, "%s", sluice_session_error(s->session)) : SLUICE_OK;
}

static sluice_status decode(struct bench *b, const struct side *s, size_t begin, size_t end)
{
    sluice_status status = SLUICE_OK;
    interrupt_watch(s->session);
    for (size_t at = begin; at < end && !status; at++) {
        if (interrupt_requested()) return SLUICE_CANCELLED;
        status = sluice_session_decode(s->session, b->tokens[at]);
        advance(b, DECODE_WEIGHT);
    }
    return status ? set_error(b->error, status, "%s", sluice_session_error(s->session)) : SLUICE_OK;
}

/* One sample of one side; *seconds of its passes. */
static sluice_status sample(struct bench *b, const struct side *s, const struct bench_row *row, struct bench_work *work)
{
    size_t begin = row->is_decode ? (size_t)row->n : 0;
    size_t end = row->is_decode ? begin + (size_t)b->values->decode.value : (size_t)row->n;
    sluice_session_stats stats;
    sluice_status status = sluice_session_rewind(s->session, begin);
    if (status) return set_error(b->error, status, "%s", sluice_session_error(s->session));
    sluice_session_reset_stats(s->session);
    status = row->is_decode ? decode(b, s, begin, end) : prefill(b, s, begin, end);
    sluice_session_get_stats(s->session, &stats);
    *work = (struct bench_work){0};
    bench_work_add(work, &stats, !row->is_decode);
    return status;
}

static void add_work(struct bench_work *sum, const struct bench_work *w)
{
    sum->seconds += w->seconds;
    sum->bytes += w->bytes;
    sum->tokens += w->tokens;
    sum->passes += w->passes;
    sum->experts_read += w->experts_read;
    sum->expert_rows += w->expert_rows;
    sum->wait_seconds += w->wait_seconds;
    for (int i = 0; i < SLUICE_N_PEAKS; i++) sum->operations[i] += w->operations[i];
}

/* All samples of one row. */
static sluice_status measure_row(struct bench *b, struct bench_row *row)
{
    const size_t repeat = (size_t)b->values->repeat.value;
    const size_t first = row->is_decode ? (size_t)row->n : 0;
    const size_t n = row->is_decode ? (size_t)b->values->decode.value : (size_t)row->n;
    while (row->rates.count < repeat ||
           (row->work.seconds < shortest_row && row->rates.count < BENCH_MAX_SAMPLES && row->work.seconds > 0)) {
        struct bench_work work[2] = {0};
        draw_tokens(b, first, n);
        for (int i = 0; i < b->n_sides; i++) {
            sluice_status status = sample(b, &b->sides[i], row, &work[i]);
            if (status) return status;
        }
        add_work(&row->work, &work[0]);
        row->rates.values[row->rates.count++] = work[0].seconds > 0 ? work[0].tokens / work[0].seconds : 0;
        if (b->n_sides == 2 && work[0].seconds > 0)
            row->ratios.values[row->ratios.count++] = work[1].seconds / work[0].seconds;
    }
    return SLUICE_OK;
}

/* The timeline of every side becomes the first n tokens of the list; those of the sample before may be among them. */
static sluice_status take_positions(struct bench *b, size_t n, size_t *taken)
{
    sluice_status status = SLUICE_OK;
    size_t kept = *taken < n ? *taken : n;
    draw_tokens(b, kept, n - kept);
    for (int i = 0; i < b->n_sides && !status; i++) {
        status = sluice_session_rewind(b->sides[i].session, kept);
        if (!status) status = prefill(b, &b->sides[i], kept, n);
    }
    *taken = n;
    return status;
}

static sluice_status warm_up(struct bench *b)
{
    size_t n = b->n_context < WARM_UP_TOKENS ? b->n_context : WARM_UP_TOKENS, taken = 0;
    return take_positions(b, n, &taken);
}

/* The roofs are measured before every row and after the last one. */
static sluice_status measure_all(struct bench *b)
{
    struct bench_result *r = &b->result;
    size_t taken = 0;
    sluice_status status = warm_up(b);
    for (size_t i = 0; i < r->n_rows && !status; i++) {
        status = sluice_measure_roof(r->info.n_threads, &r->roof, b->error);
        if (!status && r->rows[i].is_decode) status = take_positions(b, (size_t)r->rows[i].n, &taken);
        if (!status) status = measure_row(b, &r->rows[i]);
    }
    return status ? status : sluice_measure_roof(r->info.n_threads, &r->roof, b->error);
}

/* ---- preparing ------------------------------------------------------------------------------------------------- */

/* Numbers that are given must fit in the model, with `extra` more positions. */
static sluice_status check_list(const struct bench *b, const char *name, const struct option_integers *list,
                                int64_t extra)
{
    const int limit = b->result.info.n_context;
    for (size_t i = 0; list->given && i < list->count; i++)
        if (list->items[i] + extra > limit)
            return set_error(b->error, SLUICE_ARGUMENT, "--%s: found %lld%s, this model has %d positions", name,
                             (long long)list->items[i], extra ? ", and the tokens of --decode" : "", limit);
    return SLUICE_OK;
}

/* Rows for the numbers of a list, cut to what fits. */
static void plan_rows(struct bench *b, const char *name, struct option_integers list, bool is_decode, int64_t extra)
{
    struct bench_result *r = &b->result;
    if (bench_cut_list(list.items, &list.count, (int64_t)r->info.n_context - extra))
        report_note("--%s is cut: this model has %d positions", name, r->info.n_context);
    for (size_t i = 0; i < list.count; i++) {
        const int64_t n = list.items[i], weight = is_decode ? DECODE_WEIGHT * extra : n;
        r->rows[r->n_rows++] = (struct bench_row){.is_decode = is_decode, .n = n};
        if ((size_t)(n + extra) > b->n_context) b->n_context = (size_t)(n + extra);
        b->total += (uint64_t)(b->values->repeat.value * weight);
    }
    if (is_decode && list.count) b->total += (uint64_t)list.items[list.count - 1];
}

static sluice_status plan(struct bench *b)
{
    const struct bench_values *v = b->values;
    const int64_t n_decode = v->decode.value;
    if (n_decode > b->result.info.n_context)
        return set_error(b->error, SLUICE_ARGUMENT, "--decode: found %lld, this model has %d positions",
                         (long long)n_decode, b->result.info.n_context);
    sluice_status status = check_list(b, "prefill", &v->prefill, 0);
    if (!status) status = check_list(b, "context", &v->contexts, n_decode);
    if (status) return status;
    plan_rows(b, "prefill", v->prefill, false, 0);
    plan_rows(b, "context", v->contexts, true, n_decode);
    b->total *= (uint64_t)b->n_sides;
    return SLUICE_OK;
}

static sluice_status open_side(struct bench *b, struct side *s, bool exact)
{
    struct load_options load = b->values->load;
    load.exact = exact;
    return load_engine(&s->engine, b->values->model, &load, 0, b->error);
}

static sluice_status prepare(struct bench *b)
{
    sluice_status status = SLUICE_OK;
    for (int i = 0; i < b->n_sides && !status; i++) status = open_side(b, &b->sides[i], i == 1);
    if (status) return status;
    sluice_engine_get_info(b->sides[0].engine, &b->result.info);
    b->result.huge_page_share = sluice_engine_huge_page_share(b->sides[0].engine);
    status = plan(b);
    if (status) return status;
    b->tokens = malloc((b->n_context + 1) * sizeof *b->tokens);
    if (!b->tokens) return set_error(b->error, SLUICE_MEMORY, "not enough memory for the tokens");
    for (int i = 0; i < b->n_sides && !status; i++)
        status = load_session(&b->sides[i].session, b->sides[i].engine, &b->values->load, b->n_context,
                              b->n_context < LOAD_CHUNK ? b->n_context : LOAD_CHUNK, b->error);
    return status;
}

static sluice_status print_result(const struct bench *b)
{
    if (b->values->json) return bench_print_json(&b->result, b->error);
    if (b->values->csv)
        bench_print_csv(&b->result);
    else
        bench_print_table(&b->result);
    return SLUICE_OK;
}

static sluice_status bench(const void *values, sluice_error *error)
{
    const struct bench_values *v = values;
    if (v->json && v->csv) return set_error(error, SLUICE_ARGUMENT, "--json and --csv exclude each other");
    struct bench *b = calloc(1, sizeof *b);
    if (!b) return set_error(error, SLUICE_MEMORY, "not enough memory");
    b->values = v;
    b->error = error;
    b->n_sides = v->load.exact ? 2 : 1;
    b->random = UINT64_C(0x9e3779b97f4a7c15);
    sluice_status status = prepare(b);
    b->bar = progress_begin("measuring", PROGRESS_SHARE);
    if (!status) status = measure_all(b);
    progress_end(&b->bar);
    if (!status && surgery_is_asked(&v->load.surgery)) {
        const size_t limit = (size_t)b->result.info.n_context;
        b->result.surgery = &v->load.surgery;
        status =
            kl_of_own_text(&b->result.kl, b->sides[0].engine, &v->load, limit < OWN_TEXT ? limit : OWN_TEXT, error);
    }
    if (!status) status = print_result(b);
    for (int i = 0; i < b->n_sides; i++) {
        load_free_session(&b->sides[i].session);
        sluice_engine_close(&b->sides[i].engine);
    }
    free(b->tokens);
    free(b);
    return status;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "measure how fast a model runs here, and how much of the machine's limits that is",
    .usage = "MODEL [--prefill N,..] [--decode N] [--context N,..] [--repeat N] [--exact] [--json | --csv]",
    .details = "Runs random tokens through the model: prompts of several lengths, then decoding at several positions. "
               "Between the measurements it measures what the machine can do: reading memory, and multiplying in "
               "registers. Tells the medians with the quartiles q1 and q3, and as \"share of roof\" the time that the "
               "machine needs at best, to read what the passes read or for their multiplications, divided by the time "
               "that they took. \"waiting\" is the share of the threads' time spent at barriers, \"experts\" the "
               "distinct ones per layer and pass, \"rows each\" the tokens that an expert worked on.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct bench_values),
    .run = bench,
};
