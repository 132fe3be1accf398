/* The command `logits`: one pass of a text or a list of token ids through a model, and what it computed as .npy files.
 * Owns the files and the way from the observer's calls to their rows. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "layer_order.h"
#include "load.h"
#include "npy.h"
#include "output.h"
#include "sluice/experimental.h"

struct logits_values {
    const char *model, *tokens, *prompt, *file, *output, *router_output, *layers;
    struct load_options load;
    struct option_integer chunk;
    bool special, no_bos;
};

#define FIELD(name) .offset = offsetof(struct logits_values, name)
/* clang-format off */
static const struct option options[] = {
    OPTION_ROW_MODEL(struct logits_values),
    {.name = "tokens", .kind = OPTION_TEXT, FIELD(tokens), .value_name = "IDS", .help = "token ids, 1,2,3"},
    OPTION_ROW_PROMPT(struct logits_values),
    OPTION_ROW_FILE(struct logits_values),
    {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .required = true, FIELD(output), .value_name = "OUT.npy",
     .help = "the logits of every token, float32 [tokens, vocabulary]"},
    {.name = "router-out", .kind = OPTION_TEXT, FIELD(router_output), .value_name = "E.npy",
     .help = "the chosen experts, ascending, int32 [layers with experts, tokens, experts per token]"},
    {.name = "layers", .kind = OPTION_TEXT, FIELD(layers), .value_name = "DIR",
     .help = "a new or empty folder for attention, router_scores, experts, expert_weights, ffn and hidden of every "
             "layer, [layers, tokens, width]"},
    OPTION_ROW_LOAD_AS(struct logits_values),
    OPTION_ROW_CHUNK(struct logits_values),
    OPTION_ROW_EXACT(struct logits_values),
    OPTION_ROW_FLOAT(struct logits_values, FLOAT_HELP),
    OPTION_ROW_CACHE_TYPE(struct logits_values, "f32", ""),
    OPTION_ROW_NO_REPACK(struct logits_values),
    OPTION_ROW_LOAD(struct logits_values),
    OPTION_ROWS_SURGERY(struct logits_values),
    OPTION_ROW_FREEZE(struct logits_values),
    OPTION_ROW_THREADS(struct logits_values, load.threads),
    OPTION_ROW_SPECIAL(struct logits_values, "the text of special tokens means those tokens"),
    OPTION_ROW_NO_BOS(struct logits_values),
};
/* clang-format on */

/* ---- files ----------------------------------------------------------------------------------------------------- */

enum { MAX_FILES = 8 };

/* All files of one call. They get their names together or not at all. */
struct files {
    struct {
        enum sluice_observation what;
        struct npy array;
        char path[PATH_MAX];
        size_t width;
    } items[MAX_FILES];
    size_t count;
    char made_folder[PATH_MAX]; /* "": none was made */
    sluice_model_info info;
    size_t n_tokens;
    unsigned wanted; /* bits for the observer */
    struct layer_order routers;
    sluice_status status; /* of the first write that failed; the observer cannot return it */
    sluice_error *error;
};

static bool is_routing(enum sluice_observation what)
{
    return what == SLUICE_SEE_ROUTER_SCORES || what == SLUICE_SEE_EXPERTS || what == SLUICE_SEE_EXPERT_WEIGHTS;
}

static size_t width_of(const sluice_model_info *info, enum sluice_observation what)
{
    if (what == SLUICE_SEE_LOGITS) return (size_t)info->vocab_size;
    if (what == SLUICE_SEE_ROUTER_SCORES) return (size_t)info->n_experts;
    return (size_t)(is_routing(what) ? info->top_k : info->hidden_size);
}

static sluice_status add_file(struct files *f, enum sluice_observation what, const char *path)
{
    size_t width = width_of(&f->info, what);
    size_t layers = (size_t)(is_routing(what) ? f->info.n_moe_layers : f->info.n_layers);
    size_t shape[3] = {layers, f->n_tokens, width};
    size_t n_dims = what == SLUICE_SEE_LOGITS ? 2 : 3;
    if (strlen(path) >= PATH_MAX) return set_error(f->error, SLUICE_IO, "the name of a file is too long");
    sluice_status status =
        npy_create(&f->items[f->count].array, path, what == SLUICE_SEE_EXPERTS ? NPY_INT32 : NPY_FLOAT32,
                   shape + 3 - n_dims, n_dims, f->error);
    if (status) return status;
    f->items[f->count].what = what;
    f->items[f->count].width = width;
    snprintf(f->items[f->count].path, PATH_MAX, "%s", path);
    f->count++;
    f->wanted |= 1u << what;
    return SLUICE_OK;
}

/* SLUICE_IO when the folder holds anything. */
static sluice_status check_empty(const char *folder, sluice_error *error)
{
    char shown[256];
    quote_bytes(shown, sizeof shown, folder, strlen(folder));
    DIR *listing = opendir(folder);
    if (!listing) return set_error(error, SLUICE_IO, "--layers: %s: %s", shown, strerror(errno));
    bool empty = true;
    for (const struct dirent *entry; empty && (entry = readdir(listing)) != NULL;)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(listing);
    return empty ? SLUICE_OK : set_error(error, SLUICE_IO, "--layers: %s: exists and is not empty", shown);
}

static sluice_status add_folder(struct files *f, const char *folder)
{
    static const struct {
        enum sluice_observation what;
        const char *name;
    } rows[] = {
        {SLUICE_SEE_ATTENTION, "attention"},
        {SLUICE_SEE_ROUTER_SCORES, "router_scores"},
        {SLUICE_SEE_EXPERTS, "experts"},
        {SLUICE_SEE_EXPERT_WEIGHTS, "expert_weights"},
        {SLUICE_SEE_FFN, "ffn"},
        {SLUICE_SEE_HIDDEN, "hidden"},
    };
    char path[PATH_MAX], shown[256];
    if (mkdir(folder, 0777) == 0) {
        snprintf(f->made_folder, sizeof f->made_folder, "%s", folder);
    } else if (errno != EEXIST) {
        return set_error(f->error, SLUICE_IO, "--layers: %s: %s",
                         quote_bytes(shown, sizeof shown, folder, strlen(folder)), strerror(errno));
    }
    sluice_status status = check_empty(folder, f->error);
    for (size_t i = 0; !status && i < sizeof rows / sizeof *rows; i++) {
        if (is_routing(rows[i].what) && f->info.n_moe_layers == 0) continue;
        int n = snprintf(path, sizeof path, "%s/%s.npy", folder, rows[i].name);
        if (n < 0 || (size_t)n >= sizeof path) return set_error(f->error, SLUICE_IO, "--layers: the name is too long");
        status = add_file(f, rows[i].what, path);
    }
    return status;
}

static sluice_status create_files(struct files *f, const struct logits_values *v)
{
    if (v->router_output && f->info.n_moe_layers == 0)
        return set_error(f->error, SLUICE_ARGUMENT, "--router-out: this model has no experts");
    sluice_status status = add_file(f, SLUICE_SEE_LOGITS, v->output);
    if (!status && v->router_output) status = add_file(f, SLUICE_SEE_EXPERTS, v->router_output);
    if (!status && v->layers) status = add_folder(f, v->layers);
    return status;
}

static sluice_status commit_files(struct files *f)
{
    sluice_status status = SLUICE_OK;
    size_t done = 0;
    while (!status && done < f->count) {
        status = npy_commit(&f->items[done].array, f->error);
        done += !status;
    }
    if (status)
        for (size_t i = 0; i < done; i++) unlink(f->items[i].path);
    return status;
}

static void discard_files(struct files *f)
{
    for (size_t i = 0; i < f->count; i++) npy_discard(&f->items[i].array);
    if (*f->made_folder) rmdir(f->made_folder);
}

/* The observer: rows of one layer go to their place in every file that wants them. */
static void see(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows, size_t width,
                const void *data)
{
    struct files *f = context;
    size_t index = 0;
    if (is_routing(what))
        index = (size_t)layer_order_of(&f->routers, layer);
    else if (what != SLUICE_SEE_LOGITS)
        index = (size_t)layer;
    for (size_t i = 0; i < f->count && !f->status; i++) {
        if (f->items[i].what != what) continue;
        if (width != f->items[i].width)
            f->status = set_error(f->error, SLUICE_UNSUPPORTED, "layer %d: %zu columns, expected %zu as in the others",
                                  layer, width, f->items[i].width);
        else
            f->status = npy_write(&f->items[i].array, index * f->n_tokens + first_position, n_rows, data, f->error);
    }
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

static sluice_status observe_prompt(struct files *f, sluice_session *session, const struct input_tokens *tokens,
                                    size_t n_chunk)
{
    struct sluice_observer observer = {.wanted = f->wanted, .see = see, .context = f};
    sluice_status status = sluice_session_observe(session, &observer);
    if (status) return set_error(f->error, status, "%s", sluice_session_error(session));
    sluice_error trouble = {0};
    status = load_prompt(session, tokens, n_chunk, &trouble);
    if (f->status) return f->status;
    if (status) *f->error = trouble;
    return status;
}

/* Everything after the model is open. */
static sluice_status write_files(const struct logits_values *v, const sluice_engine *engine,
                                 const struct input_tokens *tokens, sluice_error *error)
{
    sluice_session *session = NULL;
    struct files *f = calloc(1, sizeof *f);
    if (!f) return set_error(error, SLUICE_MEMORY, "not enough memory");
    f->error = error;
    f->n_tokens = tokens->count;
    sluice_engine_get_info(engine, &f->info);
    f->info.top_k = surgery_top_k(&v->load.surgery, f->info.top_k);
    sluice_status status = SLUICE_OK;
    if (tokens->count > (size_t)f->info.n_context)
        status = set_error(error, SLUICE_CONTEXT, "the prompt has %zu tokens, this model at most %d", tokens->count,
                           f->info.n_context);
    if (!status) status = load_session(&session, engine, &v->load, tokens->count, (size_t)v->chunk.value, error);
    if (!status) status = create_files(f, v);
    if (!status) status = observe_prompt(f, session, tokens, (size_t)v->chunk.value);
    load_free_session(&session);
    if (!status) status = commit_files(f);
    if (status) discard_files(f);
    free(f);
    return status;
}

static sluice_status logits(const void *values, sluice_error *error)
{
    struct logits_values copy = *(const struct logits_values *)values, *v = &copy;
    struct trace trace;
    struct input_text text = {0};
    struct input_tokens tokens = {0};
    sluice_engine *engine = NULL;
    sluice_status status;
    unsigned flags = (v->special ? SLUICE_TEXT_SPECIAL : 0) | (v->no_bos ? SLUICE_TEXT_NO_BOS : 0);
    if (v->tokens && (v->prompt || v->file))
        return set_error(error, SLUICE_ARGUMENT, "--tokens and %s exclude each other", v->prompt ? "-p" : "-f");
    status = surgery_read_trace(&trace, &v->load.surgery, error);
    if (status) return status;
    if (v->tokens)
        status = input_parse_ids(&tokens, "--tokens", v->tokens, error);
    else
        status = input_read(&text, v->prompt, v->file, error);
    if (!status) status = load_engine(&engine, v->model, &v->load, 0, error);
    if (!status && !v->tokens) status = input_tokenize(&tokens, engine, &text, flags, error);
    if (!status && tokens.count == 0)
        status = set_error(error, SLUICE_ARGUMENT, "%s: the text is empty and has no tokens", text.origin);
    if (!status) surgery_note_trace(&v->load.surgery, tokens.ids, tokens.count, tokens.count);
    if (!status) status = write_files(v, engine, &tokens, error);
    sluice_engine_close(&engine);
    input_free_tokens(&tokens);
    input_free(&text);
    trace_close(&trace);
    return status;
}

const struct command command_logits = {
    .name = "logits",
    .summary = "write the logits of every token of a text, and more of what the model computes, as .npy files",
    .usage = "MODEL (--tokens IDS | -p TEXT | -f FILE) -o OUT.npy [options]",
    .details = "Runs the text through the model once. All files appear together when everything is computed; after a "
               "failure there is none.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct logits_values),
    .run = logits,
};
