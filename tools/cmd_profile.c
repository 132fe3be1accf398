/* The command `profile`: where the time of a prompt and of decoding goes, operation by operation, and how much of what
 * the machine can do each of them reaches. Owns the workload and the order of measurements; profile_report.c tells what
 * came out, profile_page.c draws it. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "load.h"
#include "profile_report.h"
#include "progress.h"

struct profile_values {
    const char *model, *prompt, *file, *csv, *html;
    struct load_options load;
    struct option_integer prefill, decode;
    bool special, json, by_layer;
};

#define FIELD(name) .offset = offsetof(struct profile_values, name)
/* clang-format off */
static const struct option options[] = {
    {.name = "model", .letter = 'm', .kind = OPTION_TEXT, .operand = true, FIELD(model), .value_name = "MODEL",
     .help = "a GGUF file, or a folder with config.json, *.safetensors and a tokenizer; without it the demo model"},
    {.name = "prefill", .kind = OPTION_INTEGER, FIELD(prefill), .value_name = "N", .low = 2, .high = LOAD_MAX_CONTEXT,
     .initial = "512", .help = "tokens of the prompt; cut to what the model has positions for, unless it is given"},
    {.name = "decode", .kind = OPTION_INTEGER, FIELD(decode), .value_name = "N", .low = 0, .high = LOAD_MAX_CONTEXT,
     .initial = "64", .help = "tokens that are decoded behind it, likewise"},
    OPTION_ROW_PROMPT(struct profile_values),
    OPTION_ROW_FILE(struct profile_values),
    {.name = "layers", .kind = OPTION_FLAG, FIELD(by_layer), .help = "the tables also have a line for each layer"},
    OPTION_ROW_LOAD_AS(struct profile_values),
    OPTION_ROW_EXACT(struct profile_values),
    OPTION_ROW_FLOAT(struct profile_values, FLOAT_HELP),
    OPTION_ROW_CACHE_TYPE(struct profile_values, NULL, CACHE_TYPE_AS_WEIGHTS),
    OPTION_ROW_NO_REPACK(struct profile_values),
    OPTION_ROW_LOAD(struct profile_values),
    OPTION_ROW_THREADS(struct profile_values, load.threads),
    OPTION_ROW_SPECIAL(struct profile_values, "the text of special tokens means those tokens"),
    OPTION_ROW_JSON(struct profile_values, "one JSON object instead of the tables"),
    {.name = "csv", .kind = OPTION_TEXT, FIELD(csv), .value_name = "FILE",
     .help = "a line for each operation, layer and phase"},
    {.name = "html", .kind = OPTION_TEXT, FIELD(html), .value_name = "FILE",
     .help = "a page with drawings: roofline, time by layer, load of the experts, timeline"},
};
/* clang-format on */

/* Spans of a thread that a page is drawn from: the first passes of any model. */
enum { PAGE_SPANS = 1 << 16, WARM_UP_DECODES = 4 };

struct profile {
    const struct profile_values *values;
    sluice_engine *engine;
    sluice_session *session;
    int32_t *tokens; /* [n_prefill + n_decode] */
    size_t n_prefill, n_decode;
    struct output_file csv;
    struct page *page;
    struct energy energy;
    struct progress bar;
    uint64_t done, total;
    struct profile_result result;
    sluice_error *error;
};

/* ---- the workload ---------------------------------------------------------------------------------------------- */

/* Sizes that were not asked for are cut to `limit` tokens together. */
static sluice_status choose_sizes(struct profile *p, size_t limit, const char *what)
{
    const struct profile_values *v = p->values;
    p->n_prefill = (size_t)v->prefill.value;
    p->n_decode = (size_t)v->decode.value;
    if (p->n_prefill + p->n_decode <= limit) return SLUICE_OK;
    if (!v->decode.given && limit >= p->n_prefill && v->prefill.given)
        p->n_decode = limit - p->n_prefill;
    else if (!v->prefill.given && limit >= p->n_decode + 2)
        p->n_prefill = limit - p->n_decode;
    else if (!v->prefill.given && !v->decode.given && limit > 2)
        p->n_prefill = limit - limit / 3, p->n_decode = limit / 3;
    else
        return set_error(p->error, SLUICE_ARGUMENT, "--prefill %zu and --decode %zu: %s %zu", p->n_prefill, p->n_decode,
                         what, limit);
    report_note("%zu tokens of prompt and %zu decoded: %s %zu", p->n_prefill, p->n_decode, what, limit);
    return SLUICE_OK;
}

/* Any tokens will do. xorshift64*, Vigna 2016. */
static void draw_tokens(int32_t *tokens, size_t n, int vocab_size)
{
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < n; i++) {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        uint64_t high = (random * UINT64_C(0x2545f4914f6cdd1d)) >> 32;
        tokens[i] = (int32_t)((high * (uint64_t)vocab_size) >> 32);
    }
}

static sluice_status read_tokens(struct profile *p, struct input_tokens *out)
{
    struct input_text text = {0};
    sluice_status status = input_read(&text, p->values->prompt, p->values->file, p->error);
    if (!status) status = input_tokenize(out, p->engine, &text, p->values->special ? SLUICE_TEXT_SPECIAL : 0, p->error);
    input_free(&text);
    return status;
}

/* The first tokens of the text, or random ones. */
static sluice_status choose_tokens(struct profile *p)
{
    const bool has_text = p->values->prompt || p->values->file;
    struct input_tokens text = {0};
    sluice_status status = has_text ? read_tokens(p, &text) : SLUICE_OK;
    const size_t positions = (size_t)p->result.info.n_context;
    if (!status && has_text && text.count < positions)
        status = choose_sizes(p, text.count, "the tokens of the text are");
    else if (!status)
        status = choose_sizes(p, positions, "the positions of this model are");
    const size_t n = p->n_prefill + p->n_decode;
    if (!status && !(p->tokens = malloc((n + 1) * sizeof *p->tokens)))
        status = set_error(p->error, SLUICE_MEMORY, "not enough memory for the tokens");
    if (!status && !has_text) draw_tokens(p->tokens, n, p->result.info.vocab_size);
    for (size_t i = 0; !status && has_text && i < n; i++) p->tokens[i] = text.ids[i];
    input_free_tokens(&text);
    return status;
}

/* ---- running --------------------------------------------------------------------------------------------------- */

static sluice_status run_tokens(struct profile *p, size_t begin, size_t end, sluice_phase phase)
{
    if (interrupt_requested()) return SLUICE_CANCELLED;
    const double start = clock_seconds();
    sluice_status status = sluice_session_prefill(p->session, p->tokens + begin, end - begin);
    p->result.wall_seconds[phase] += clock_seconds() - start;
    energy_update(&p->energy);
    p->done += end - begin;
    progress_update(&p->bar, p->done, p->total);
    return status ? set_error(p->error, status, "%s", sluice_session_error(p->session)) : SLUICE_OK;
}

static size_t n_prefill_passes(const struct profile *p) { return (p->n_prefill + LOAD_CHUNK - 1) / LOAD_CHUNK; }

/* Passes of about equal size, so that none has one row, which would be decoding. */
static sluice_status prefill(struct profile *p, size_t n_passes)
{
    const size_t all = n_prefill_passes(p);
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; i < n_passes && !status; i++)
        status = run_tokens(p, p->n_prefill * i / all, p->n_prefill * (i + 1) / all, SLUICE_PREFILL);
    return status;
}

static sluice_status decode(struct profile *p, size_t begin, size_t n)
{
    sluice_status status = SLUICE_OK;
    for (size_t i = begin; i < begin + n && !status; i++) status = run_tokens(p, i, i + 1, SLUICE_DECODE);
    return status;
}

/* One pass as large as any, so that what is measured meets memory that has been touched. */
static sluice_status warm_up(struct profile *p)
{
    sluice_status status = prefill(p, 1);
    const size_t n = p->n_decode < WARM_UP_DECODES ? p->n_decode : WARM_UP_DECODES;
    if (!status) status = decode(p, sluice_session_length(p->session), n);
    if (!status) status = sluice_session_rewind(p->session, 0);
    return status;
}

static sluice_status measure_phase(struct profile *p, sluice_phase phase)
{
    sluice_status status = sluice_measure_roof(p->result.info.n_threads, &p->result.roof, p->error);
    p->result.wall_seconds[phase] = 0;
    energy_reset(&p->energy);
    if (!status)
        status = phase == SLUICE_PREFILL ? prefill(p, n_prefill_passes(p)) : decode(p, p->n_prefill, p->n_decode);
    p->result.energy[phase] = p->energy;
    return status;
}

static sluice_status measure(struct profile *p)
{
    p->total = 2 * p->n_prefill + p->n_decode + WARM_UP_DECODES;
    sluice_status status = warm_up(p);
    if (!status && sluice_session_begin_profile(p->session, p->values->html ? PAGE_SPANS : 0))
        status = set_error(p->error, SLUICE_MEMORY, "%s", sluice_session_error(p->session));
    for (int phase = 0; phase < SLUICE_N_PHASES && !status; phase++) status = measure_phase(p, (sluice_phase)phase);
    return status ? status : sluice_measure_roof(p->result.info.n_threads, &p->result.roof, p->error);
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

/* Files first: a name that cannot be written is told before the long work. */
static sluice_status open_files(struct profile *p)
{
    const struct profile_values *v = p->values;
    if (v->csv && v->html && strcmp(v->csv, v->html) == 0)
        return set_error(p->error, SLUICE_ARGUMENT, "--csv and --html name the same file");
    sluice_status status = v->csv ? output_file_create(&p->csv, v->csv, p->error) : SLUICE_OK;
    if (!status && v->html) status = page_begin(&p->page, v->html, "Where the time goes", p->error);
    return status;
}

static sluice_status open_model(struct profile *p)
{
    char demo[4096];
    const char *path = p->values->model;
    sluice_status status = SLUICE_OK;
    if (!path) {
        status = load_find_demo(demo, sizeof demo, p->error);
        path = demo;
    }
    if (!status) status = load_engine(&p->engine, path, &p->values->load, 0, p->error);
    if (status) return status;
    sluice_engine_get_info(p->engine, &p->result.info);
    status = choose_tokens(p);
    if (status) return status;
    p->result.most_rows = (int)((p->n_prefill + n_prefill_passes(p) - 1) / n_prefill_passes(p));
    status = load_session(&p->session, p->engine, &p->values->load, p->n_prefill + p->n_decode,
                          (size_t)p->result.most_rows, p->error);
    p->result.engine = p->engine;
    p->result.session = p->session;
    return status;
}

static sluice_status tell(struct profile *p)
{
    sluice_status status = SLUICE_OK;
    if (p->values->csv) {
        status = profile_write_csv(&p->result, &p->csv, p->error);
        if (!status) status = output_file_commit(&p->csv, p->error);
    }
    if (!status && p->values->html) {
        profile_draw(&p->result, p->page);
        status = page_end(&p->page, p->error);
    }
    if (status) return status;
    if (p->values->json) return profile_print_json(&p->result, p->error);
    profile_print_table(&p->result, p->values->by_layer);
    return SLUICE_OK;
}

static sluice_status profile(const void *values, sluice_error *error)
{
    struct profile *p = calloc(1, sizeof *p);
    if (!p) return set_error(error, SLUICE_MEMORY, "not enough memory");
    p->values = values;
    p->error = error;
    sluice_status status = open_files(p);
    if (!status) status = open_model(p);
    if (!status) {
        energy_open(&p->energy, "");
        p->bar = progress_begin("measuring", PROGRESS_SHARE);
        status = measure(p);
        progress_end(&p->bar);
    }
    if (!status) status = tell(p);
    output_file_discard(&p->csv);
    page_discard(&p->page);
    load_free_session(&p->session);
    sluice_engine_close(&p->engine);
    free(p->tokens);
    free(p);
    return status;
}

const struct command command_profile = {
    .name = "profile",
    .summary = "show where the time of prefill and decode goes, and how much of the machine's limits each step reaches",
    .usage = "[MODEL] [--prefill N] [--decode N] [-p TEXT | -f FILE] [--layers] [--json] [--csv FILE] [--html FILE]",
    .details = "Runs a prompt and decodes behind it (random tokens, or those of a text), once to warm up and once "
               "measured, and tells for each step of the model: time, the part of it that threads waited for each "
               "other, bytes of weights and cache that were read (only experts that some token chose), "
               "multiplications and additions, and the share of what the machine can do at best, which is measured "
               "before and after. The steps add up to the whole time. Of the experts it tells how many tokens met one "
               "at once, and the kernel for so many.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct profile_values),
    .run = profile,
};
