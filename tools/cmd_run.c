/* The command `run`: continues a text. Owns the loop from sampled token to standard output; the figures that it
 * collects are printed by run_report.c. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "commands.h"
#include "interrupt.h"
#include "json.h"
#include "load.h"
#include "output.h"
#include "run_report.h"

static const char demo_prompt[] = "Once upon a time there was a king who";

/* Without -c the session gets this many positions; more when prompt and -n need them, within the model's limit. */
enum { USUAL_CONTEXT = 4096 };

struct run_values {
    const char *model, *prompt, *file, *tokens;
    struct load_options load;
    struct option_integer n_tokens, context, chunk, top_k, seed;
    struct option_real temperature, top_p, min_p, repeat_penalty;
    struct option_texts stops;
    bool ignore_eos, special, json, stats, verbose;
};

#define FIELD(name) .offset = offsetof(struct run_values, name)
/* clang-format off */
static const struct option options[] = {
    {.name = "model", .letter = 'm', .kind = OPTION_TEXT, .operand = true, FIELD(model), .value_name = "MODEL",
     .help = "a GGUF file, or a folder with config.json, *.safetensors and a tokenizer; without it the demo model"},
    OPTION_ROW_PROMPT(struct run_values),
    OPTION_ROW_FILE(struct run_values),
    {.name = "tokens", .kind = OPTION_TEXT, FIELD(tokens), .value_name = "IDS",
     .help = "the prompt is a list of token ids, 1,2,3; token ids come out as well"},
    {.name = "n-tokens", .letter = 'n', .kind = OPTION_INTEGER, FIELD(n_tokens), .value_name = "N", .low = 0,
     .high = 1000000, .initial = "256", .help = "most tokens to generate"},
    {.name = "context", .letter = 'c', .kind = OPTION_INTEGER, FIELD(context), .value_name = "N", .low = 1,
     .high = LOAD_MAX_CONTEXT,
     .help = "positions to reserve; without it 4096, more when prompt and -n need them, within the model's limit"},
    OPTION_ROW_LOAD_AS(struct run_values),
    OPTION_ROW_THREADS(struct run_values, load.threads),
    OPTION_ROW_CHUNK(struct run_values),
    OPTION_ROW_EXACT(struct run_values),
    OPTION_ROW_FLOAT(struct run_values, FLOAT_HELP),
    OPTION_ROW_CACHE_TYPE(struct run_values, NULL, CACHE_TYPE_AS_WEIGHTS),
    OPTION_ROW_NO_REPACK(struct run_values),
    OPTION_ROW_LOAD(struct run_values),
    OPTION_ROWS_SURGERY(struct run_values),
    OPTION_ROW_FREEZE(struct run_values),
    {.name = "temp", .kind = OPTION_REAL, FIELD(temperature), .value_name = "T", .low = 0, .high = 100,
     .help = "temperature, 0: always the most likely token; this and the next four are by default what the model's "
             "files ask for, and 0 where they ask for nothing"},
    {.name = "top-k", .kind = OPTION_INTEGER, FIELD(top_k), .value_name = "K", .low = 0, .high = 1 << 22,
     .help = "choose among the K most likely tokens, 0: among all"},
    {.name = "top-p", .kind = OPTION_REAL, FIELD(top_p), .value_name = "P", .low = 0, .high = 1, .low_open = true,
     .help = "choose among the fewest tokens that have probability P together"},
    {.name = "min-p", .kind = OPTION_REAL, FIELD(min_p), .value_name = "P", .low = 0, .high = 1, .high_open = true,
     .help = "leave out tokens below P times the probability of the most likely one"},
    {.name = "repeat-penalty", .kind = OPTION_REAL, FIELD(repeat_penalty), .value_name = "R", .low = 0,
     .high = 100, .low_open = true, .help = "makes tokens that occurred less likely, 1: not"},
    {.name = "seed", .kind = OPTION_INTEGER, FIELD(seed), .value_name = "N", .low = 0, .high = 9007199254740991.0,
     .help = "the same seed gives the same text; without it a random one, which is printed"},
    {.name = "stop", .kind = OPTION_TEXTS, FIELD(stops), .value_name = "TEXT",
     .help = "end before this text; up to 16 times"},
    {.name = "ignore-eos", .kind = OPTION_FLAG, FIELD(ignore_eos), .help = "do not stop at the model's end token"},
    OPTION_ROW_SPECIAL(struct run_values,
                       "special tokens are recognised in the prompt and shown in the output"),
    {.name = "blas", .kind = OPTION_FLAG, FIELD(load.blas), .help = "large f32 products through OpenBLAS"},
    OPTION_ROW_JSON(struct run_values, "JSON Lines: one object per token, then a summary"),
    {.name = "stats", .kind = OPTION_FLAG, FIELD(stats), .help = "also a hash of all logits that were sampled from"},
    {.name = "verbose", .letter = 'v', .kind = OPTION_FLAG, FIELD(verbose),
     .help = "also how the model was loaded and what lies in memory"},
};
/* clang-format on */

/* One run, from the options to the last token. */
struct run {
    const struct run_values *values;
    sluice_engine *engine;
    sluice_session *session;
    sluice_text_stream *stream; /* NULL: the model has no tokenizer */
    struct input_tokens prompt;
    sluice_sampling sampling;
    struct run_figures figures;
    bool at_line_start; /* of standard output */
    sluice_error *error;
};

/* ---- input ----------------------------------------------------------------------------------------------------- */

static sluice_status read_prompt_text(const struct run_values *v, struct input_text *text, sluice_error *error)
{
    const char *prompt = v->prompt;
    if (!v->model && !v->prompt && !v->file && !input_is_piped()) {
        prompt = demo_prompt;
        report_note("no prompt is given, the demo model continues \"%s\"", demo_prompt);
    }
    return input_read(text, prompt, v->file, error);
}

static sluice_status check_stops(const struct option_texts *stops, sluice_error *error)
{
    for (size_t i = 0; i < stops->count; i++) {
        size_t length = strlen(stops->items[i]);
        if (length == 0) return set_error(error, SLUICE_ARGUMENT, "--stop: the text is empty");
        sluice_status status = input_check_utf8("--stop", stops->items[i], length, error);
        if (status) return status;
    }
    return SLUICE_OK;
}

static sluice_status choose_sampling(struct run *r)
{
    const struct run_values *v = r->values;
    sluice_sampling *s = &r->sampling;
    *s = sluice_engine_get_sampling(r->engine);
    if (v->temperature.given) s->temperature = (float)v->temperature.value;
    if (v->top_k.given) s->top_k = (int)v->top_k.value;
    if (v->top_p.given) s->top_p = (float)v->top_p.value;
    if (v->min_p.given) s->min_p = (float)v->min_p.value;
    if (v->repeat_penalty.given) s->repetition_penalty = (float)v->repeat_penalty.value;
    s->seed = (uint64_t)v->seed.value;
    if (!v->seed.given) {
        uint32_t random = 0; /* 32 bits: short enough to be typed again */
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return set_error(r->error, SLUICE_IO, "the system gives no random seed: use --seed N");
        s->seed = random;
    }
    const char *wrong = sluice_sampling_check(s);
    return wrong ? set_error(r->error, SLUICE_ARGUMENT, "%s", wrong) : SLUICE_OK;
}

/* The positions to reserve for this prompt. */
static sluice_status choose_context(const struct run *r, int64_t model_limit, size_t *out)
{
    int64_t asked = r->values->context.value, need = (int64_t)r->prompt.count + r->values->n_tokens.value;
    if (asked > model_limit)
        return set_error(r->error, SLUICE_ARGUMENT, "-c: found %lld, this model has 1..%lld positions",
                         (long long)asked, (long long)model_limit);
    if (!r->values->context.given) asked = need > USUAL_CONTEXT ? need : USUAL_CONTEXT;
    if (asked > model_limit) asked = model_limit;
    if ((int64_t)r->prompt.count > asked)
        return set_error(r->error, SLUICE_CONTEXT, "the prompt has %zu tokens, the context %lld", r->prompt.count,
                         (long long)asked);
    *out = (size_t)asked;
    return SLUICE_OK;
}

static sluice_status prepare_stream(struct run *r, bool has_tokenizer)
{
    const struct option_texts *stops = &r->values->stops;
    if (has_tokenizer)
        return sluice_text_stream_create(&r->stream, r->engine,
                                         SLUICE_TEXT_CONTINUE | (r->values->special ? SLUICE_TEXT_SPECIAL : 0),
                                         stops->items, stops->count, r->error);
    if (stops->count) return set_error(r->error, SLUICE_ARGUMENT, "--stop: this model has no tokenizer");
    return SLUICE_OK;
}

/* People who paste a chat prompt mean its control tokens. */
static void note_special_tokens(const struct run *r, const struct input_text *text)
{
    size_t n = 0;
    sluice_error ignored;
    sluice_tokenize(r->engine, text->bytes, text->length, SLUICE_TEXT_SPECIAL, NULL, 0, &n, &ignored);
    if (n > 0 && n != r->prompt.count)
        report_note(
            "the prompt contains the text of special tokens, taken as text: with --special it means the tokens");
}

/* Opens the model and gets everything ready for the first pass. `text`: NULL when token ids are given. */
static sluice_status prepare(struct run *r, const char *path, const struct input_text *text)
{
    const struct run_values *v = r->values;
    sluice_model_info *info = &r->figures.info;
    size_t n_context = 0;
    double started = clock_seconds();
    const sluice_session_options least = {
        .n_context = (int)v->context.value, .n_chunk = (int)v->chunk.value, .cache_type = v->load.cache_type};
    struct load_options load = v->load;
    load.session = &least;
    sluice_status status = load_engine(&r->engine, path, &load, 0, r->error);
    if (status) return status;
    r->figures.load_seconds = clock_seconds() - started;
    sluice_engine_get_info(r->engine, info);
    if (text) status = input_tokenize(&r->prompt, r->engine, text, v->special ? SLUICE_TEXT_SPECIAL : 0, r->error);
    if (!status && text && !v->special) note_special_tokens(r, text);
    if (status) return status;
    if (r->prompt.count == 0)
        return set_error(r->error, SLUICE_ARGUMENT,
                         "%s: the prompt is empty, and this model has no token to begin with", text->origin);
    surgery_note_trace(&v->load.surgery, r->prompt.ids, r->prompt.count, r->prompt.count + (size_t)v->n_tokens.value);
    if ((status = choose_sampling(r))) return status;
    if ((status = choose_context(r, info->n_context, &n_context))) return status;
    if ((status = prepare_stream(r, info->has_tokenizer))) return status;
    r->figures.seed = r->sampling.seed;
    r->figures.greedy = r->sampling.temperature <= 0;
    return load_session(&r->session, r->engine, &v->load, n_context, (size_t)v->chunk.value, r->error);
}

/* ---- output ---------------------------------------------------------------------------------------------------- */

/* Prints what one token gave: an object, or a piece of text, or an id. token -1: text that was held back. */
static sluice_status print_token(struct run *r, int32_t token, const char *text, size_t n)
{
    sluice_status status = SLUICE_OK;
    if (r->values->json) {
        json_t *id = token >= 0 ? json_integer(token) : json_null();
        status = json_print_line(json_pack("{s:o, s:o}", "token", id, "text", json_string_of_bytes(text, n)), r->error);
    } else if (r->values->tokens || !r->stream) {
        char id[16];
        int length = snprintf(id, sizeof id, "%s%d", r->at_line_start ? "" : " ", token);
        if (token >= 0) status = output_write(id, (size_t)length, r->error);
        r->at_line_start = false;
    } else if (n > 0) {
        status = output_write(text, n, r->error);
        r->at_line_start = text[n - 1] == '\n';
    }
    return status ? status : output_flush(r->error);
}

static sluice_status show_token(struct run *r, int32_t token, bool *stopped)
{
    const char *text = "";
    size_t n = 0;
    *stopped = false;
    if (r->stream) {
        sluice_status status = sluice_text_stream_push(r->stream, token, &text, &n, stopped);
        if (status) return set_error(r->error, status, "the text of token %d: %s", token, sluice_status_text(status));
    }
    return print_token(r, token, text, n);
}

static sluice_status show_rest(struct run *r)
{
    const char *text = "";
    size_t n = 0;
    sluice_status status = r->stream ? sluice_text_stream_finish(r->stream, &text, &n) : SLUICE_OK;
    if (status) return set_error(r->error, status, "the end of the text: %s", sluice_status_text(status));
    if (n > 0) status = print_token(r, -1, text, n);
    if (status || r->values->json) return status;
    if (r->values->tokens || !r->stream) return r->at_line_start ? SLUICE_OK : output_write("\n", 1, r->error);
    return output_end_text(r->at_line_start, r->error);
}

/* ---- the loop -------------------------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits, over the bytes of the logits that are sampled from. */
static uint64_t hash_logits(uint64_t hash, const float *logits, size_t n)
{
    const unsigned char *bytes = (const unsigned char *)logits;
    for (size_t i = 0; i < n * sizeof *logits; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* Samples, shows and appends tokens until there is a reason to finish; figures.finish names it. */
static sluice_status generate(struct run *r)
{
    struct run_figures *f = &r->figures;
    const int64_t limit = r->values->n_tokens.value;
    for (int64_t n = 0; n < limit; n++) {
        if (interrupt_requested()) return SLUICE_CANCELLED;
        int32_t token = sluice_sample(r->session, &r->sampling);
        if (token < 0) return set_error(r->error, SLUICE_NUMERIC, "there are no logits to sample from");
        if (r->values->stats)
            f->logits_hash = hash_logits(f->logits_hash, sluice_session_logits(r->session), (size_t)f->info.vocab_size);
        if (!r->values->ignore_eos && sluice_token_is_end(r->engine, token)) {
            f->finish = "eos";
            return SLUICE_OK;
        }
        bool stopped;
        sluice_status status = show_token(r, token, &stopped);
        if (status) return status;
        f->n_generated++;
        if (stopped) {
            f->finish = "stop";
            return SLUICE_OK;
        }
        if (n + 1 == limit) break;
        if (sluice_session_length(r->session) == sluice_session_context(r->session)) {
            f->finish = "context";
            return SLUICE_OK;
        }
        status = sluice_session_decode(r->session, token);
        if (status) return set_error(r->error, status, "%s", sluice_session_error(r->session));
    }
    f->finish = "length";
    return SLUICE_OK;
}

/* The passes, and the figures of prefill and decode apart: a prompt's last pass may have a single token. */
static sluice_status run_passes(struct run *r)
{
    struct run_figures *f = &r->figures;
    double started = clock_seconds();
    sluice_status status = load_long_prompt(r->session, &f->info, &r->prompt, (size_t)r->values->chunk.value, r->error);
    f->prefill_seconds = clock_seconds() - started;
    sluice_session_get_stats(r->session, &f->prefill);
    sluice_session_reset_stats(r->session);
    if (!status) status = generate(r);
    sluice_session_get_stats(r->session, &f->decode);
    f->session_bytes = sluice_session_bytes(r->session);
    if (f->verbose) f->huge_page_share = sluice_engine_huge_page_share(r->engine);
    return status;
}

/* What the surgery costs, over the tokens of this run. A courtesy: when it fails the run has not. */
static void measure_surgery(struct run *r)
{
    struct run_figures *f = &r->figures;
    sluice_error trouble = {0};
    if (!surgery_is_asked(&r->values->load.surgery)) return;
    f->surgery = &r->values->load.surgery;
    sluice_status status = kl_of_surgery(&f->kl, r->engine, &r->values->load, sluice_session_tokens(r->session),
                                         sluice_session_length(r->session), &trouble);
    if (status && status != SLUICE_CANCELLED) report_warning(trouble.text);
}

static sluice_status run_prompt(struct run *r, const char *path, const struct input_text *text)
{
    sluice_status status = prepare(r, path, text);
    if (status) return status;
    sluice_status outcome = run_passes(r);
    if (outcome == SLUICE_CANCELLED)
        r->figures.finish = "cancelled";
    else if (outcome)
        return outcome;
    status = show_rest(r);
    if (!status && !outcome) measure_surgery(r);
    if (!status && r->values->json) status = json_print_line(run_report_json(&r->figures, &r->sampling), r->error);
    if (!status) status = output_flush(r->error);
    if (!status) run_report_print(&r->figures);
    return status ? status : outcome;
}

static sluice_status run(const void *values, sluice_error *error)
{
    struct run_values copy = *(const struct run_values *)values, *v = &copy;
    struct run r = {.values = v, .error = error, .at_line_start = true};
    struct trace trace = {0};
    struct input_text text = {0};
    char demo[4096];
    const char *path = v->model;
    r.figures.hashed = v->stats;
    r.figures.verbose = v->verbose;
    r.figures.logits_hash = 0xcbf29ce484222325u; /* where FNV-1a begins */
    sluice_status status = check_stops(&v->stops, error);
    if (!status) status = surgery_read_trace(&trace, &v->load.surgery, error);
    if (!status && v->tokens && (v->prompt || v->file))
        status = set_error(error, SLUICE_ARGUMENT, "--tokens and %s exclude each other", v->prompt ? "-p" : "-f");
    if (!status && !path) {
        status = load_find_demo(demo, sizeof demo, error);
        path = demo;
    }
    if (!status)
        status =
            v->tokens ? input_parse_ids(&r.prompt, "--tokens", v->tokens, error) : read_prompt_text(v, &text, error);
    if (!status) status = run_prompt(&r, path, v->tokens ? NULL : &text);
    sluice_text_stream_free(&r.stream);
    load_free_session(&r.session);
    sluice_engine_close(&r.engine);
    input_free_tokens(&r.prompt);
    input_free(&text);
    trace_close(&trace);
    return status;
}

const struct command command_run = {
    .name = "run",
    .summary = "continue a text",
    .usage = "[MODEL] [-p TEXT | -f FILE | --tokens IDS] [options]",
    .details = "Continues the text of -p, -f or a pipe, which is used exactly as it is and not repeated. The text goes "
               "to standard output as it comes, figures follow on standard error. Ends at -n tokens, at an end token, "
               "at a stop text or when the context is full; Ctrl-C ends it early, a second Ctrl-C at once.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct run_values),
    .run = run,
};
