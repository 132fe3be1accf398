/* The command `quantize`: writes a model as a GGUF file of other element types. The work is the library's
 * (sluice_quantize); here are the options, the table of tensors and Ctrl-C. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "input.h"
#include "interrupt.h"
#include "json.h"
#include "load.h"
#include "output.h"
#include "progress.h"
#include "sluice/experimental.h"

struct quantize_values {
    const char *in, *out, *type, *calibrate;
    struct option_texts rules;
    struct option_integer context, threads;
    bool quiet, json;
};

#define FIELD(name) .offset = offsetof(struct quantize_values, name)
/* clang-format off */
static const struct option options[] = {
    {.name = "in", .kind = OPTION_TEXT, .operand = true, .required = true, FIELD(in), .value_name = "IN",
     .help = "the model: a folder, or a GGUF file (of a split one, the first part)"},
    {.name = "out", .letter = 'o', .kind = OPTION_TEXT, .operand = true, .required = true, FIELD(out),
     .value_name = "OUT", .help = "the new GGUF file; an existing file is never replaced"},
    {.name = "type", .kind = OPTION_TEXT, .required = true, FIELD(type), .value_name = "TYPE",
     .help = "element type of the matrices, or a mix of several; listed below"},
    {.name = "tensor", .kind = OPTION_TEXTS, FIELD(rules), .value_name = "PATTERN=TYPE",
     .help = "type of the matrices whose name in the new file contains PATTERN, or is matched by it when it has one of "
             "* ? [; up to 16 times, the first that fits wins"},
    {.name = "calibrate", .kind = OPTION_TEXT, FIELD(calibrate), .value_name = "FILE",
     .help = "run the text of FILE through the model first, and weigh errors by how much each input matters, of each "
             "expert on its own; for this the whole model is loaded"},
    {.name = "context", .letter = 'c', .kind = OPTION_INTEGER, FIELD(context), .value_name = "N", .low = 2,
     .high = LOAD_MAX_CHUNK, .initial = "512", .help = "tokens of the pieces of that text"},
    OPTION_ROW_THREADS(struct quantize_values, threads),
    {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, FIELD(quiet), .help = "no line per tensor"},
    OPTION_ROW_JSON(struct quantize_values, "JSON Lines: one object per tensor, then a summary"),
};
/* clang-format on */

struct quantize {
    const struct quantize_values *values;
    struct progress bar;
    int stage; /* whose bar it is; -1: none yet */
    bool table_begun;
    struct {
        char name[24];
        uint64_t tensors, bytes;
    } types[32]; /* what the new file consists of */
    size_t n_types;
    sluice_error output; /* what went wrong with standard output: the file is finished nevertheless */
};

/* ---- types and rules --------------------------------------------------------------------------------------------- */

static void print_types(FILE *to)
{
    const char *name, *about;
    fputs("\ntypes:\n", to);
    for (size_t i = 0; sluice_quantize_type(i, &name, &about); i++) {
        int column = fprintf(to, "  %-10s  ", name);
        args_print_wrapped(to, about, column, column);
    }
    fputc('\n', to);
    args_print_wrapped(to,
                       "Norms, biases and routers stay f32. In the mixes with k or iq4_xs, keys and values of models "
                       "with experts are q8_0. Where rows are no multiple of 256 the next type of blocks of 32 is "
                       "taken (q2_k: q4_0, q3_k and iq4_xs: iq4_nl, q4_k: q5_0, q5_k: q5_1, q6_k: q8_0), where they "
                       "are no multiple of 32, f16. A tied embedding counts as the head.",
                       0, 0);
}

/* Cuts "PATTERN=TYPE" at the last '='; `pattern` receives a copy. */
static sluice_status parse_rule(const char *text, char *pattern, size_t cap, sluice_tensor_rule *out,
                                sluice_error *error)
{
    char shown[128];
    const char *equals = strrchr(text, '=');
    quote_bytes(shown, sizeof shown, text, strlen(text));
    if (!equals || equals == text || !equals[1])
        return set_error(error, SLUICE_ARGUMENT, "--tensor: found %s, expected PATTERN=TYPE", shown);
    if ((size_t)(equals - text) >= cap)
        return set_error(error, SLUICE_ARGUMENT, "--tensor: %s: the pattern is longer than %zu bytes", shown, cap - 1);
    memcpy(pattern, text, (size_t)(equals - text));
    pattern[equals - text] = 0;
    *out = (sluice_tensor_rule){pattern, equals + 1};
    return SLUICE_OK;
}

/* ---- what the library tells -------------------------------------------------------------------------------------- */

static void show_progress(void *context, enum sluice_quantize_stage stage, uint64_t done, uint64_t total)
{
    static const char *const labels[] = {"loading", "calibrating", "writing"};
    struct quantize *q = context;
    interrupt_hold(stage != SLUICE_STAGE_LOAD); /* there is nothing to clean up, and nobody asks, while it loads */
    if (q->stage != (int)stage) {
        if (q->stage >= 0) progress_end(&q->bar);
        q->bar = progress_begin(labels[stage], stage == SLUICE_STAGE_CALIBRATE ? PROGRESS_TOKENS : PROGRESS_BYTES);
        q->stage = (int)stage;
    }
    progress_update(&q->bar, done, total);
}

static void show_warning(void *context, const char *text)
{
    (void)context;
    report_warning(text);
}

static bool is_cancelled(void *context)
{
    (void)context;
    interrupt_hold(true);
    return interrupt_requested();
}

static void shape_text(char out[64], const sluice_tensor_report *r)
{
    size_t n = 0;
    for (int i = 0; i < r->n_dims; i++)
        n += (size_t)snprintf(out + n, 64 - n, "%s%" PRIu64, i ? " x " : "", r->shape[i]);
}

static json_t *report_object(const sluice_tensor_report *r)
{
    json_t *shape = json_array();
    for (int i = 0; i < r->n_dims; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)r->shape[i])) != 0) break;
    return json_pack("{s:o, s:o, s:s, s:s, s:o, s:b, s:I, s:f, s:f, s:f}", "tensor",
                     json_string_of_bytes(r->name, strlen(r->name)), "shape", shape, "from", r->from, "to", r->to,
                     "wanted", json_string_or_null(r->wanted), "weighted", (int)r->weighted, "bytes",
                     (json_int_t)r->bytes, "rmse", r->rmse, "relative_rmse", r->relative_rmse, "max_error",
                     r->max_error);
}

static sluice_status print_row(struct quantize *q, const sluice_tensor_report *r)
{
    char line[320], shape[64], to[32], name[140];
    int n = 0;
    if (!q->table_begun)
        n = snprintf(line, sizeof line, "%-34s %-20s %-7s %-10s %10s %9s %10s\n", "tensor", "shape", "from", "to",
                     "RMSE", "relative", "max error");
    q->table_begun = true;
    sluice_status status = output_write(line, (size_t)n, &q->output);
    if (status) return status;
    shape_text(shape, r);
    quote_bytes(name, sizeof name, r->name, strlen(r->name)); /* the quotes are for messages: left out */
    name[strlen(name) - 1] = 0;
    snprintf(to, sizeof to, "%s%s", r->to, r->wanted ? "!" : r->weighted ? "*" : "");
    if (r->rmse > 0)
        n = snprintf(line, sizeof line, "%-34s %-20s %-7s %-10s %10.3e %9.5f %10.3e\n", name + 1, shape, r->from, to,
                     r->rmse, r->relative_rmse, r->max_error);
    else
        n = snprintf(line, sizeof line, "%-34s %-20s %-7s %-10s %10s %9s %10s\n", name + 1, shape, r->from, to, "0",
                     "0", "0");
    return output_write(line, (size_t)n, &q->output);
}

static void count_type(struct quantize *q, const sluice_tensor_report *r)
{
    size_t i = 0;
    while (i < q->n_types && strcmp(q->types[i].name, r->to) != 0) i++;
    if (i == sizeof q->types / sizeof q->types[0]) return;
    if (i == q->n_types) snprintf(q->types[q->n_types++].name, sizeof q->types[i].name, "%s", r->to);
    q->types[i].tensors++;
    q->types[i].bytes += r->bytes;
}

static void show_tensor(void *context, const sluice_tensor_report *r)
{
    struct quantize *q = context;
    count_type(q, r);
    if (q->output.status || q->values->quiet) return;
    progress_clear();
    sluice_status status = q->values->json ? json_print_line(report_object(r), &q->output) : print_row(q, r);
    if (!status) output_flush(&q->output);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static json_t *summary_object(const sluice_quantize_result *r, double seconds)
{
    return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:f}}", "summary", "tensors",
                     (json_int_t)r->n_tensors, "parameters", (json_int_t)r->n_parameters, "source_bytes",
                     (json_int_t)r->source_bytes, "tensor_bytes", (json_int_t)r->tensor_bytes, "file_bytes",
                     (json_int_t)r->file_bytes, "replaced", (json_int_t)r->n_replaced, "rounded",
                     (json_int_t)r->n_rounded, "bits_per_weight", r->bits_per_weight, "calibration_tokens",
                     (json_int_t)r->n_calibration_tokens, "untouched_experts", (json_int_t)r->n_untouched_experts,
                     "seconds", seconds);
}

static sluice_status print_summary(struct quantize *q, const sluice_quantize_result *r, double seconds)
{
    char line[640];
    size_t n = 0;
    for (size_t i = 0; i < q->n_types; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%" PRIu64 " %s (%s)", i ? ", " : "types      ",
                              q->types[i].tensors, q->types[i].name, human_bytes((double)q->types[i].bytes).text);
    n += (size_t)snprintf(line + n, sizeof line - n, "\nweights    %s, %.3f bits each\n",
                          human_count((double)r->n_parameters).text, r->bits_per_weight);
    sluice_status status = output_write(line, n, &q->output);
    if (status) return status;
    n = (size_t)snprintf(line, sizeof line, "tensors    %s from %s\nfile       %s (%" PRIu64 " bytes), in %.1f s\n",
                         human_bytes((double)r->tensor_bytes).text, human_bytes((double)r->source_bytes).text,
                         human_bytes((double)r->file_bytes).text, r->file_bytes, seconds);
    return output_write(line, n, &q->output);
}

static void finish(struct quantize *q, const sluice_quantize_result *r, double seconds)
{
    sluice_status status =
        q->values->json ? json_print_line(summary_object(r, seconds), &q->output) : print_summary(q, r, seconds);
    if (!status) output_flush(&q->output);
    if (r->tensor_bytes > r->source_bytes && r->n_rounded)
        report_warning("the new tensors are larger than the old ones, and less exact");
    if (r->n_replaced)
        report_note("%" PRIu64 " tensors (marked !) got another type than was meant, because its blocks do not fit "
                    "their rows",
                    r->n_replaced);
}

static sluice_status quantize(const void *values, sluice_error *error)
{
    static char patterns[OPTION_MAX_TEXTS][256];
    const struct quantize_values *v = values;
    struct quantize q = {.values = v, .stage = -1};
    sluice_tensor_rule rules[OPTION_MAX_TEXTS];
    sluice_quantize_options o = sluice_quantize_options_default();
    sluice_quantize_result result;
    struct input_text text = {0};
    sluice_status status = SLUICE_OK;
    if (strcmp(v->out, "-") == 0)
        return set_error(error, SLUICE_ARGUMENT, "OUT: found \"-\", expected a file: pieces are not written in order");
    if (!*v->in || !*v->out) return set_error(error, SLUICE_ARGUMENT, "the name of %s is empty", *v->in ? "OUT" : "IN");
    for (size_t i = 0; i < v->rules.count && !status; i++)
        status = parse_rule(v->rules.items[i], patterns[i], sizeof patterns[i], &rules[i], error);
    if (!status && v->calibrate) status = input_read_file(&text, "--calibrate", v->calibrate, error);
    if (status) return status;
    o.type = v->type;
    o.rules = rules;
    o.n_rules = v->rules.count;
    o.n_threads = (int)v->threads.value;
    o.n_context = (int)v->context.value;
    o.calibration_text = v->calibrate ? text.bytes : NULL;
    o.calibration_length = text.length;
    o.progress = show_progress;
    o.tensor = show_tensor;
    o.warning = show_warning;
    o.cancelled = is_cancelled;
    o.context = &q;
    double started = clock_seconds();
    status = sluice_quantize(v->in, v->out, &o, &result, error);
    if (q.stage >= 0) progress_end(&q.bar);
    interrupt_hold(false);
    input_free(&text);
    if (status) return status;
    if (!q.output.status) finish(&q, &result, clock_seconds() - started);
    if (q.output.status) *error = q.output;
    return q.output.status;
}

const struct command command_quantize = {
    .name = "quantize",
    .summary = "write a model as a GGUF file of another element type",
    .usage = "IN OUT --type TYPE [--tensor PATTERN=TYPE]... [--calibrate FILE] [options]",
    .details = "Reads a model's folder or a GGUF file and writes a new GGUF file, which also other programs read. One "
               "line per tensor says what became of it: the root of the mean squared error, the same in relation to "
               "the size of the tensor's values, and the largest error. The file appears when it is whole; Ctrl-C "
               "leaves nothing.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .print_more = print_types,
    .values_bytes = sizeof(struct quantize_values),
    .run = quantize,
};
