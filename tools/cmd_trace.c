/* The command `trace`: the routing of a text. Owns the way from the observer's calls to the rows of a trace; the file
 * itself is trace_file.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "json.h"
#include "layer_order.h"
#include "load.h"
#include "output.h"
#include "progress.h"
#include "sluice/experimental.h"
#include "trace_file.h"

enum { USUAL_CONTEXT = 4096, BUFFER_BYTES = 64 << 20 };

struct trace_values {
    const char *model, *prompt, *file, *tokens, *output, *label;
    struct load_options load;
    struct option_integer context, chunk;
    bool scores, jsonl, special, no_bos;
};

#define FIELD(name) .offset = offsetof(struct trace_values, name)
/* clang-format off */
static const struct option options[] = {
    {.name = "model", .letter = 'm', .kind = OPTION_TEXT, .operand = true, FIELD(model), .value_name = "MODEL",
     .help = "a GGUF file, or a folder with config.json, *.safetensors and a tokenizer; without it the demo model"},
    OPTION_ROW_PROMPT(struct trace_values),
    OPTION_ROW_FILE(struct trace_values),
    {.name = "tokens", .kind = OPTION_TEXT, FIELD(tokens), .value_name = "IDS", .help = "token ids, 1,2,3"},
    {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .required = true, FIELD(output), .value_name = "FILE",
     .help = "the trace"},
    {.name = "scores", .kind = OPTION_FLAG, FIELD(scores),
     .help = "also the router's scores of all experts, which makes the file much larger"},
    {.name = "jsonl", .kind = OPTION_FLAG, FIELD(jsonl),
     .help = "FILE is JSON Lines, an object about the model and one per token, and not for `sluice stats`"},
    {.name = "label", .kind = OPTION_TEXT, FIELD(label), .value_name = "NAME",
     .help = "what `sluice stats` calls the text; without it the file's name up to the dot"},
    {.name = "context", .letter = 'c', .kind = OPTION_INTEGER, FIELD(context), .value_name = "N", .low = 1,
     .high = LOAD_MAX_CONTEXT,
     .help = "a longer text is cut into pieces of N tokens that do not know each other; without it 4096, within the "
             "model's limit"},
    OPTION_ROW_LOAD_AS(struct trace_values),
    OPTION_ROW_THREADS(struct trace_values, load.threads),
    OPTION_ROW_CHUNK(struct trace_values),
    OPTION_ROW_EXACT(struct trace_values),
    OPTION_ROW_FLOAT(struct trace_values, FLOAT_HELP),
    OPTION_ROW_CACHE_TYPE(struct trace_values, NULL, CACHE_TYPE_AS_WEIGHTS),
    OPTION_ROW_NO_REPACK(struct trace_values),
    OPTION_ROW_LOAD(struct trace_values),
    OPTION_ROW_SPECIAL(struct trace_values, "the text of special tokens means those tokens"),
    OPTION_ROW_NO_BOS(struct trace_values),
};
/* clang-format on */

/* One trace, from the model to the file. */
struct tracer {
    const struct trace_values *values;
    sluice_engine *engine;
    sluice_session *session;
    sluice_model_info info;
    struct trace head;
    struct trace_writer writer;
    struct output_file lines; /* --jsonl */
    bool has_header;          /* of the lines */
    int32_t *tokens;
    uint16_t *lengths;
    size_t *text_at;
    char *text;
    /* The rows of one pass. */
    size_t n_chunk, first_position;
    uint16_t *experts; /* [n_chunk, n_moe_layers, top_k] */
    float *weights;    /* [n_chunk, n_moe_layers, top_k] */
    float *scores;     /* [n_chunk, n_moe_layers, n_experts], or NULL */
    struct layer_order routers;
    struct progress bar;
    size_t n_done;        /* tokens before this pass */
    sluice_status status; /* of the first trouble in `see`, which cannot return it */
    sluice_error *error;
};

static sluice_status no_memory(struct tracer *t)
{
    return set_error(t->error, SLUICE_MEMORY, "not enough memory for the trace");
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */

/* The token that the tokenizer puts before a text, or -1. */
static int32_t first_token(const struct tracer *t)
{
    int32_t first = -1;
    size_t n = 0;
    sluice_error ignored;
    if (t->values->no_bos || t->values->tokens || t->info.bos_token < 0) return -1;
    sluice_tokenize(t->engine, "a", 1, 0, &first, 1, &n, &ignored);
    return n > 0 && first == t->info.bos_token ? first : -1;
}

/* Every piece begins with BOS, where the model's texts do. */
static sluice_status cut_into_pieces(struct tracer *t, const struct input_tokens *ids)
{
    const int32_t bos = first_token(t);
    size_t context = t->head.n_context, n = 0;
    size_t capacity = ids->count + (bos >= 0 ? ids->count / (context > 1 ? context - 1 : 1) + 1 : 0);
    if (bos >= 0 && context < 2)
        return set_error(t->error, SLUICE_ARGUMENT, "-c: found 1, expected at least 2: every piece begins with BOS");
    if (capacity > TRACE_MAX_TOKENS)
        return set_error(t->error, SLUICE_ARGUMENT, "the text has %zu tokens, a trace at most %d", ids->count,
                         TRACE_MAX_TOKENS);
    t->tokens = malloc(capacity * sizeof *t->tokens);
    if (!t->tokens) return no_memory(t);
    for (size_t i = 0; i < ids->count; i++) {
        if (bos >= 0 && n % context == 0) t->tokens[n++] = bos;
        t->tokens[n++] = ids->ids[i];
    }
    t->head.n_tokens = n;
    t->head.tokens = t->tokens;
    return SLUICE_OK;
}

/* The text of every token. */
static sluice_status spell(struct tracer *t)
{
    size_t n = t->head.n_tokens, sum = 0, length;
    t->lengths = malloc(n * sizeof *t->lengths);
    t->text_at = malloc(n * sizeof *t->text_at);
    if (!t->lengths || !t->text_at) return no_memory(t);
    for (size_t i = 0; i < n; i++) {
        if (t->tokens[i] < 0 || t->tokens[i] >= t->info.vocab_size)
            return set_error(t->error, SLUICE_ARGUMENT, "token %d, expected 0..%d", t->tokens[i],
                             t->info.vocab_size - 1);
        sluice_token_bytes(t->engine, t->tokens[i], &length);
        t->lengths[i] = length > UINT16_MAX ? UINT16_MAX : (uint16_t)length;
        t->text_at[i] = sum;
        sum += t->lengths[i];
    }
    t->text = malloc(sum + 1);
    if (!t->text) return no_memory(t);
    for (size_t i = 0; i < n; i++) {
        const char *bytes = sluice_token_bytes(t->engine, t->tokens[i], &length);
        if (t->lengths[i]) memcpy(t->text + t->text_at[i], bytes, t->lengths[i]);
    }
    t->head.text_bytes = sum;
    t->head.text = t->text;
    t->head.text_at = t->text_at;
    t->head.lengths = t->lengths;
    return SLUICE_OK;
}

/* "stories" of "weights/demo/eval/stories.txt". */
static void make_label(const struct trace_values *v, char *out, size_t cap)
{
    const char *name = v->file ? v->file : v->tokens ? "tokens" : v->prompt ? "prompt" : "text";
    const char *slash = strrchr(name, '/');
    if (slash) name = slash + 1;
    if (strcmp(name, "-") == 0) name = "text";
    size_t n = strcspn(name, ".") ? strcspn(name, ".") : strlen(name);
    if (!trace_is_name(name, n)) name = "text", n = 4;
    snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), name);
}

static sluice_status check_label(const struct trace_values *v, sluice_error *error)
{
    if (!v->label || trace_is_name(v->label, strlen(v->label))) return SLUICE_OK;
    return set_error(error, SLUICE_ARGUMENT, "--label: expected UTF-8 without control characters, at most %d bytes",
                     TRACE_MAX_NAME);
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

static void see(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows, size_t width,
                const void *data)
{
    struct tracer *t = context;
    const bool all = what == SLUICE_SEE_ROUTER_SCORES;
    const size_t order = (size_t)layer_order_of(&t->routers, layer), n_layers = t->head.n_moe_layers,
                 first_row = first_position - t->first_position, expected = all ? t->head.n_experts : t->head.top_k;
    if (t->status) return;
    if (width != expected || order >= n_layers || first_row + n_rows > t->n_chunk) {
        t->status = set_error(t->error, SLUICE_UNSUPPORTED, "layer %d: %zu experts, expected %zu as in the others",
                              layer, width, expected);
        return;
    }
    for (size_t row = 0; row < n_rows; row++) {
        const size_t at = ((first_row + row) * n_layers + order) * width;
        if (what == SLUICE_SEE_EXPERTS)
            for (size_t i = 0; i < width; i++) t->experts[at + i] = (uint16_t)((const int32_t *)data)[row * width + i];
        else
            memcpy((all ? t->scores : t->weights) + at, (const float *)data + row * width, width * sizeof(float));
    }
    progress_update(&t->bar, t->n_done + n_rows * (order + 1) / n_layers, t->head.n_tokens);
}

static sluice_status write_line(struct tracer *t, json_t *object)
{
    char *line = object ? json_dumps(object, JSON_REAL_PRECISION(9)) : NULL;
    size_t n = line ? strlen(line) : 0;
    json_decref(object);
    if (!line) return no_memory(t);
    line[n] = '\n'; /* where the NUL was */
    sluice_status status = output_file_append(&t->lines, line, n + 1, t->error);
    free(line);
    return status;
}

static sluice_status write_rows(struct tracer *t, size_t n_rows)
{
    const size_t n_layers = t->head.n_moe_layers, row = n_layers * t->head.top_k, all = n_layers * t->head.n_experts;
    if (!t->values->jsonl)
        return trace_writer_rows(&t->writer, t->n_done, n_rows, t->experts, t->weights, t->scores, t->error);
    sluice_status status = SLUICE_OK;
    uint32_t layers[LAYER_ORDER_MAX];
    for (size_t i = 0; i < n_layers; i++) layers[i] = (uint32_t)t->routers.layers[i];
    t->head.layers = layers;
    if (!t->has_header) status = write_line(t, trace_header_json(&t->head));
    t->has_header = true;
    for (size_t i = 0; !status && i < n_rows; i++)
        status = write_line(t, trace_token_json(&t->head, t->n_done + i, t->experts + i * row, t->weights + i * row,
                                                t->scores ? t->scores + i * all : NULL));
    return status;
}

static sluice_status run_pass(struct tracer *t, size_t n_rows)
{
    t->first_position = sluice_session_length(t->session);
    sluice_status status = sluice_session_prefill(t->session, t->tokens + t->n_done, n_rows);
    if (t->status) return t->status;
    if (status) return set_error(t->error, status, "%s", sluice_session_error(t->session));
    if (t->routers.count != (int)t->head.n_moe_layers)
        return set_error(t->error, SLUICE_UNSUPPORTED, "%d layers have routed, expected %u", t->routers.count,
                         t->head.n_moe_layers);
    return write_rows(t, n_rows);
}

static sluice_status run_passes(struct tracer *t)
{
    sluice_status status = SLUICE_OK;
    while (!status && t->n_done < t->head.n_tokens) {
        size_t in_piece = t->n_done % t->head.n_context, n_rows = t->head.n_context - in_piece;
        if (n_rows > t->head.n_tokens - t->n_done) n_rows = t->head.n_tokens - t->n_done;
        if (n_rows > t->n_chunk) n_rows = t->n_chunk;
        if (interrupt_requested()) return SLUICE_CANCELLED;
        if (in_piece == 0) status = sluice_session_rewind(t->session, 0);
        if (!status) status = run_pass(t, n_rows);
        t->n_done += n_rows;
        progress_update(&t->bar, t->n_done, t->head.n_tokens);
    }
    return status;
}

/* The bytes that one token reads outside the experts: what a token alone reads, less its experts. */
static sluice_status measure_bytes(struct tracer *t)
{
    sluice_session_stats stats;
    const uint64_t experts = sluice_engine_get_expert_bytes(t->engine);
    sluice_status status = sluice_session_decode(t->session, t->tokens[0]);
    if (status) return set_error(t->error, status, "%s", sluice_session_error(t->session));
    sluice_session_get_stats(t->session, &stats);
    t->head.expert_bytes = experts / t->head.n_moe_layers;
    t->head.other_bytes =
        stats.decode_bytes > experts * t->head.top_k ? stats.decode_bytes - experts * t->head.top_k : 0;
    return SLUICE_OK;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static sluice_status describe_model(struct tracer *t)
{
    const sluice_model_info *info = &t->info;
    const int64_t context = t->values->context.value;
    if (info->n_moe_layers == 0)
        return set_error(t->error, SLUICE_ARGUMENT, "%s: has no experts, so there is no routing to trace",
                         info->path_name);
    if (context > info->n_context)
        return set_error(t->error, SLUICE_ARGUMENT, "-c: found %lld, this model has 1..%d positions",
                         (long long)context, info->n_context);
    t->head = (struct trace){
        .n_layers = (uint32_t)info->n_layers,
        .hidden_size = (uint32_t)info->hidden_size,
        .n_moe_layers = (uint32_t)info->n_moe_layers,
        .n_experts = (uint32_t)info->n_experts,
        .top_k = (uint32_t)info->top_k,
        .vocab_size = (uint32_t)info->vocab_size,
        .n_parameters = info->n_parameters,
        .n_context = (uint32_t)(context                           ? context
                                : info->n_context < USUAL_CONTEXT ? info->n_context
                                                                  : USUAL_CONTEXT),
        .has_scores = t->values->scores,
        .model = trace_is_name(info->path_name, strlen(info->path_name)) ? info->path_name : "model",
        .architecture = info->architecture,
    };
    return SLUICE_OK;
}

/* The session and the rows of its passes, as many as BUFFER_BYTES hold. */
static sluice_status make_room(struct tracer *t)
{
    const size_t row = t->head.n_moe_layers * (size_t)t->head.top_k, n_tokens = t->head.n_tokens,
                 all = t->head.has_scores ? t->head.n_moe_layers * (size_t)t->head.n_experts : 0,
                 row_bytes = row * (sizeof *t->experts + sizeof *t->weights) + all * sizeof *t->scores;
    size_t n = BUFFER_BYTES / row_bytes, positions = t->head.n_context;
    if (positions > n_tokens) positions = n_tokens;
    if (n > (size_t)t->values->chunk.value) n = (size_t)t->values->chunk.value;
    if (n > positions) n = positions;
    if (n < 1) n = 1;
    t->n_chunk = n;
    t->experts = malloc(n * row * sizeof *t->experts);
    t->weights = malloc(n * row * sizeof *t->weights);
    t->scores = all ? malloc(n * all * sizeof *t->scores) : NULL;
    if (!t->experts || !t->weights || (all && !t->scores)) return no_memory(t);
    return load_session(&t->session, t->engine, &t->values->load, positions, n, t->error);
}

static sluice_status commit(struct tracer *t)
{
    uint32_t layers[LAYER_ORDER_MAX];
    for (int i = 0; i < t->routers.count; i++) layers[i] = (uint32_t)t->routers.layers[i];
    return t->values->jsonl ? output_file_commit(&t->lines, t->error)
                            : trace_writer_commit(&t->writer, layers, t->error);
}

/* Everything after the model is open. */
static sluice_status write_trace(struct tracer *t, const struct input_tokens *ids)
{
    sluice_observer observer = {.wanted = 1u << SLUICE_SEE_EXPERTS | 1u << SLUICE_SEE_EXPERT_WEIGHTS |
                                          (t->values->scores ? 1u << SLUICE_SEE_ROUTER_SCORES : 0),
                                .see = see,
                                .context = t};
    char label[TRACE_MAX_NAME];
    make_label(t->values, label, sizeof label);
    t->head.label = t->values->label ? t->values->label : label;
    sluice_status status = cut_into_pieces(t, ids);
    if (!status) status = spell(t);
    if (!status) status = make_room(t);
    if (!status) status = measure_bytes(t);
    if (!status && t->values->jsonl) status = output_file_create(&t->lines, t->values->output, t->error);
    if (!status && !t->values->jsonl) status = trace_writer_create(&t->writer, t->values->output, &t->head, t->error);
    if (status) return status;
    t->bar = progress_begin("tracing", PROGRESS_TOKENS);
    status = sluice_session_observe(t->session, &observer);
    if (status) set_error(t->error, status, "%s", sluice_session_error(t->session));
    if (!status) status = run_passes(t);
    progress_end(&t->bar);
    if (!status) status = commit(t);
    if (status && t->values->jsonl) output_file_discard(&t->lines);
    if (status && !t->values->jsonl) trace_writer_discard(&t->writer);
    return status;
}

static void release(struct tracer *t)
{
    load_free_session(&t->session);
    sluice_engine_close(&t->engine);
    free(t->tokens);
    free(t->lengths);
    free(t->text_at);
    free(t->text);
    free(t->experts);
    free(t->weights);
    free(t->scores);
    free(t);
}

static sluice_status trace(const void *values, sluice_error *error)
{
    const struct trace_values *v = values;
    struct input_text text = {0};
    struct input_tokens ids = {0};
    char demo[4096];
    const char *path = v->model;
    sluice_status status = SLUICE_OK;
    unsigned flags = (v->special ? SLUICE_TEXT_SPECIAL : 0) | SLUICE_TEXT_NO_BOS;
    struct tracer *t = calloc(1, sizeof *t);
    if (!t) return set_error(error, SLUICE_MEMORY, "not enough memory");
    t->values = v;
    t->error = error;
    if (v->tokens && (v->prompt || v->file))
        status = set_error(error, SLUICE_ARGUMENT, "--tokens and %s exclude each other", v->prompt ? "-p" : "-f");
    if (!status) status = check_label(v, error);
    if (!status && !path) {
        status = load_find_demo(demo, sizeof demo, error);
        path = demo;
    }
    if (!status)
        status = v->tokens ? input_parse_ids(&ids, "--tokens", v->tokens, error)
                           : input_read(&text, v->prompt, v->file, error);
    if (!status) status = load_engine(&t->engine, path, &v->load, 0, error);
    if (!status) sluice_engine_get_info(t->engine, &t->info);
    if (!status) status = describe_model(t);
    if (!status && !v->tokens) status = input_tokenize(&ids, t->engine, &text, flags, error);
    if (!status && ids.count == 0)
        status = set_error(error, SLUICE_ARGUMENT, "%s: the text is empty and has no tokens", text.origin);
    if (!status) status = write_trace(t, &ids);
    release(t);
    input_free_tokens(&ids);
    input_free(&text);
    return status;
}

const struct command command_trace = {
    .name = "trace",
    .summary = "write down which experts every layer chooses for every token of a text",
    .usage = "[MODEL] (-p TEXT | -f FILE | --tokens IDS) -o FILE [options]",
    .details = "Runs the text through the model and writes the chosen experts and their weights, of every token and "
               "every layer with experts, as a routing trace, a compact file whose format tools/trace_file.h defines. "
               "`sluice stats` shows what is in it. The file appears when it is complete.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct trace_values),
    .run = trace,
};
