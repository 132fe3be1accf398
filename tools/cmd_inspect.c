/* The command `inspect`: says what a model is and whether it fits in this machine's memory, from the small parts of
 * its files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "load.h"
#include "output.h"
#include "sluice/experimental.h"

enum { LINE_BYTES = 1024, KERNELS_BYTES = 4096, LISTED_LAYERS_BYTES = 80 };

struct inspect_values {
    const char *model;
    struct load_options load;
    struct option_integer context;
    bool json, layers, kernels;
};

/* clang-format off */
static const struct option options[] = {
    OPTION_ROW_MODEL(struct inspect_values),
    {.name = "context", .letter = 'c', .kind = OPTION_INTEGER, .offset = offsetof(struct inspect_values, context),
     .value_name = "N", .low = 1, .high = LOAD_MAX_CONTEXT,
     .help = "positions of the session whose memory is forecast; without it 4096, within the model's limit"},
    OPTION_ROW_LOAD_AS(struct inspect_values),
    OPTION_ROW_EXACT(struct inspect_values),
    OPTION_ROW_FLOAT(struct inspect_values, FLOAT_HELP),
    OPTION_ROW_CACHE_TYPE(struct inspect_values, NULL, CACHE_TYPE_AS_WEIGHTS),
    OPTION_ROW_NO_REPACK(struct inspect_values),
    OPTION_ROW_LOAD(struct inspect_values),
    {.name = "layers", .kind = OPTION_FLAG, .offset = offsetof(struct inspect_values, layers),
     .help = "one line per layer, equal ones too"},
    {.name = "kernels", .kind = OPTION_FLAG, .offset = offsetof(struct inspect_values, kernels),
     .help = "only the matrices: how each group of equal ones will lie in memory, which kernels multiply it from how "
             "many rows on, and what speaks against better ones"},
    OPTION_ROW_JSON(struct inspect_values, "one JSON object"),
};
/* clang-format on */

/* What memory the model needs for a session of n_context positions, in bytes. */
struct memory_need {
    int n_context;
    uint64_t session, total, available;
    const char *fits; /* "yes", "no", "unknown" */
    char smaller[16]; /* if not: a type for --load-as that does better, and what the weights then need; or "" */
    uint64_t smaller_weights;
};

static struct memory_need forecast(const sluice_engine *engine, const sluice_model_info *info, int n_context,
                                   const char *cache_type)
{
    sluice_session_options session = sluice_session_options_default();
    session.n_context = n_context;
    session.cache_type = cache_type;
    struct memory_need need = {.n_context = n_context, .available = info->available_bytes};
    need.session = sluice_session_forecast_bytes(engine, &session);
    need.total = info->weight_bytes + need.session;
    if (need.session == 0)
        need.fits = "no";
    else
        need.fits = need.available == 0 ? "unknown" : need.total <= need.available ? "yes" : "no";
    if (need.session == 0 || need.available == 0 || need.total <= need.available) return need;
    const uint64_t budget = need.available > need.session ? need.available - need.session : 0;
    sluice_engine_smaller_type(engine, budget, need.smaller, sizeof need.smaller, &need.smaller_weights);
    if (need.smaller_weights >= info->weight_bytes) need.smaller[0] = 0;
    return need;
}

/* ---- for people ------------------------------------------------------------------------------------------------ */

static bool is_like(const sluice_engine *engine, int layer, const char *line)
{
    char other[LINE_BYTES];
    return sluice_engine_get_layer(engine, layer, other, sizeof other) && strcmp(line, other) == 0;
}

/* "0-2, 4-6, 8-10, ...": the layers from `first` on that are like it; the rest is cut when the line gets long. Returns
 * how many there are. */
static int list_like(const sluice_engine *engine, const char *line, int first, int n_layers, char *out, size_t cap)
{
    int count = 0;
    size_t n = 0;
    bool cut = false;
    for (int begin = first, end; begin < n_layers; begin = end) {
        for (end = begin; end < n_layers && is_like(engine, end, line);) end++;
        count += end - begin;
        if (begin == end) {
            end++;
            continue;
        }
        if (n + 40 > cap && !cut) n += (size_t)snprintf(out + n, cap - n, ", ...");
        cut |= n + 40 > cap;
        if (cut) continue;
        n += (size_t)snprintf(out + n, cap - n, "%s%d", n ? ", " : "", begin);
        if (end - begin > 1) n += (size_t)snprintf(out + n, cap - n, "-%d", end - 1);
    }
    return count;
}

static void print_layers(const sluice_engine *engine, int n_layers, bool every_one)
{
    char line[LINE_BYTES], list[LISTED_LAYERS_BYTES];
    for (int l = 0; l < n_layers; l++) {
        bool seen = false;
        if (!sluice_engine_get_layer(engine, l, line, sizeof line)) return;
        for (int before = 0; !every_one && !seen && before < l; before++) seen = is_like(engine, before, line);
        if (seen) continue;
        if (every_one || list_like(engine, line, l, n_layers, list, sizeof list) == 1)
            printf("  layer %d: %s\n", l, line);
        else
            printf("  layers %s: %s\n", list, line);
    }
}

static void print_matrices(const sluice_engine *engine)
{
    char line[LINE_BYTES];
    for (size_t i = 0; sluice_engine_get_matrix_group(engine, i, line, sizeof line); i++) printf("  %s\n", line);
}

static void print_kernels(const sluice_engine *engine)
{
    char text[KERNELS_BYTES];
    for (size_t i = 0; sluice_engine_get_kernels(engine, i, text, sizeof text); i++) fputs(text, stdout);
}

static void print_memory(const sluice_model_info *info, const struct memory_need *need)
{
    printf("memory        %s weights + %s session of %d tokens = %s", human_bytes((double)info->weight_bytes).text,
           human_bytes((double)need->session).text, need->n_context, human_bytes((double)need->total).text);
    if (need->available)
        printf(", %s available\n", human_bytes((double)need->available).text);
    else
        printf(", available: unknown\n");
    printf("fits here: %s", need->fits);
    if (need->smaller[0])
        printf(", --load-as %s would %sneed %s", need->smaller,
               need->smaller_weights + need->session > need->available ? "still " : "",
               human_bytes((double)(need->smaller_weights + need->session)).text);
    printf("\n");
}

static void print_text(const sluice_engine *engine, const sluice_model_info *info, const struct memory_need *need,
                       bool every_layer)
{
    printf("model         %s, architecture %s\n", info->path_name, info->architecture);
    printf("licence       %s\n", info->license ? info->license : "not stated");
    printf("parameters    %s (%" PRIu64 "), active per token %s (%" PRIu64 ")\n",
           human_count((double)info->n_parameters).text, info->n_parameters,
           human_count((double)info->n_active_parameters).text, info->n_active_parameters);
    printf("weights       %s, %s in the files (%" PRIu64 " bytes), %s in memory", info->weight_dtype,
           human_bytes((double)info->file_bytes).text, info->file_bytes, human_bytes((double)info->weight_bytes).text);
    if (info->mapped_bytes) printf(", %s read in the file", human_bytes((double)info->mapped_bytes).text);
    printf("\n");
    printf("context       %d tokens at most, cache %s per token", info->n_context,
           human_bytes((double)info->cache_bytes_per_token).text);
    if (info->state_bytes) printf(" and %s of state", human_bytes((double)info->state_bytes).text);
    printf("\n");
    printf("vocabulary    %d tokens, tokenizer: %s\n", info->vocab_size, info->has_tokenizer ? "yes" : "no");
    if (info->n_experts)
        printf("experts       %d, of which %d per token, in %d of %d layers\n", info->n_experts, info->top_k,
               info->n_moe_layers, info->n_layers);
    printf("layers        %d, hidden size %d\n", info->n_layers, info->hidden_size);
    print_layers(engine, info->n_layers, every_layer);
    printf("matrices      packed for %s\n", info->isa);
    print_matrices(engine);
    print_memory(info, need);
}

/* ---- for programs ---------------------------------------------------------------------------------------------- */

static json_t *lines_of_layers(const sluice_engine *engine)
{
    char line[LINE_BYTES];
    json_t *array = json_array();
    for (int i = 0; sluice_engine_get_layer(engine, i, line, sizeof line); i++)
        if (json_array_append_new(array, json_string_or_null(line)) != 0) break;
    return array;
}

static json_t *lines_of_matrices(const sluice_engine *engine)
{
    char line[LINE_BYTES];
    json_t *array = json_array();
    for (size_t i = 0; sluice_engine_get_matrix_group(engine, i, line, sizeof line); i++)
        if (json_array_append_new(array, json_string_or_null(line)) != 0) break;
    return array;
}

static json_t *lines_of_kernels(const sluice_engine *engine)
{
    char text[KERNELS_BYTES];
    json_t *array = json_array();
    for (size_t i = 0; sluice_engine_get_kernels(engine, i, text, sizeof text); i++)
        if (json_array_append_new(array, json_string_or_null(text)) != 0) break;
    return array;
}

static json_t *end_token_array(const sluice_model_info *info)
{
    json_t *array = json_array();
    for (size_t i = 0; i < info->n_end_tokens; i++)
        if (json_array_append_new(array, json_integer(info->end_tokens[i])) != 0) break;
    return array;
}

static json_t *describe(const sluice_engine *engine, const sluice_model_info *info, const struct memory_need *need)
{
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "model", json_string_or_null(info->path_name),
        "architecture", json_string_or_null(info->architecture), "license", json_string_or_null(info->license),
        "weight_dtype", json_string_or_null(info->weight_dtype), "isa", json_string_or_null(info->isa), "parameters",
        (json_int_t)info->n_parameters, "active_parameters", (json_int_t)info->n_active_parameters, "file_bytes",
        (json_int_t)info->file_bytes, "weight_bytes", (json_int_t)info->weight_bytes, "mapped_bytes",
        (json_int_t)info->mapped_bytes, "cache_bytes_per_token", (json_int_t)info->cache_bytes_per_token, "state_bytes",
        (json_int_t)info->state_bytes);
    json_t *shape =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:i, s:o}", "n_context", info->n_context, "vocab_size",
                  info->vocab_size, "hidden_size", info->hidden_size, "n_layers", info->n_layers, "n_moe_layers",
                  info->n_moe_layers, "n_experts", info->n_experts, "top_k", info->top_k, "has_tokenizer",
                  (int)info->has_tokenizer, "bos_token", (int)info->bos_token, "end_tokens", end_token_array(info));
    json_t *rest =
        json_pack("{s:o, s:o, s:o, s:{s:i, s:I, s:I, s:I, s:s, s:o, s:o}}", "layers", lines_of_layers(engine),
                  "matrices", lines_of_matrices(engine), "kernels", lines_of_kernels(engine), "memory", "n_context",
                  need->n_context, "session_bytes", (json_int_t)need->session, "total_bytes", (json_int_t)need->total,
                  "available_bytes", (json_int_t)need->available, "fits", need->fits, "smaller_type",
                  json_string_or_null(need->smaller[0] ? need->smaller : NULL), "smaller_weight_bytes",
                  need->smaller[0] ? json_integer((json_int_t)need->smaller_weights) : json_null());
    int failed = json_object_update(object, shape) | json_object_update(object, rest);
    json_decref(shape);
    json_decref(rest);
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

static sluice_status inspect(const void *values, sluice_error *error)
{
    const struct inspect_values *v = values;
    sluice_engine *engine;
    sluice_model_info info;
    sluice_status status = load_engine(&engine, v->model, &v->load, SLUICE_OPEN_NO_WEIGHTS, error);
    if (status) return status;
    sluice_engine_get_info(engine, &info);
    int n_context = info.n_context < 4096 ? info.n_context : 4096;
    if (v->context.given) n_context = (int)v->context.value;
    if (n_context > info.n_context)
        status = set_error(error, SLUICE_ARGUMENT, "-c: found %d, this model has 1..%d positions", n_context,
                           info.n_context);
    if (!status) {
        struct memory_need need = forecast(engine, &info, n_context, v->load.cache_type);
        if (v->json)
            status = json_print_line(describe(engine, &info, &need), error);
        else if (v->kernels)
            print_kernels(engine);
        else
            print_text(engine, &info, &need, v->layers);
    }
    sluice_engine_close(&engine);
    return status;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "say what a model is and whether it fits in memory, without loading it",
    .usage = "MODEL [-c N] [--load-as TYPE] [--layers] [--kernels] [--json]",
    .details = "Reads and checks everything in the model's files except the weights' values, and describes it.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct inspect_values),
    .run = inspect,
};
