/* The command `tokenize`: text to token ids and back, with the tokenizer files of a model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "load.h"
#include "output.h"

enum { MAX_PIECE_BYTES = 4096 };

struct tokenize_values {
    const char *model, *prompt, *file, *decode;
    struct load_options load;
    bool special, no_bos, json;
};

/* clang-format off */
static const struct option options[] = {
    OPTION_ROW_MODEL(struct tokenize_values),
    OPTION_ROW_PROMPT(struct tokenize_values),
    OPTION_ROW_FILE(struct tokenize_values),
    {.name = "decode", .kind = OPTION_TEXT, .offset = offsetof(struct tokenize_values, decode), .value_name = "IDS",
     .help = "the other way: print the text of these token ids, 1,2,3"},
    OPTION_ROW_SPECIAL(struct tokenize_values,
                       "the text of special tokens means those tokens; with --decode: show special tokens"),
    OPTION_ROW_NO_BOS(struct tokenize_values),
    OPTION_ROW_LOAD(struct tokenize_values),
    OPTION_ROW_JSON(struct tokenize_values,
                    "one JSON object: {\"ids\": [], \"pieces\": [{\"text\", \"hex\"}]}, with --decode {\"text\"}"),
};
/* clang-format on */

static void print_pieces(const sluice_engine *engine, const struct input_tokens *tokens)
{
    char quoted[4 * MAX_PIECE_BYTES + 16];
    for (size_t i = 0; i < tokens->count; i++) {
        size_t n;
        const char *bytes = sluice_token_bytes(engine, tokens->ids[i], &n);
        printf("%8d  %s\n", tokens->ids[i], quote_bytes(quoted, sizeof quoted, n ? bytes : "", n));
    }
}

/* {"text": ..., "hex": ...} */
static json_t *describe_piece(const char *bytes, size_t n)
{
    char hex[2 * MAX_PIECE_BYTES + 1] = "";
    for (size_t i = 0; i < n && i < MAX_PIECE_BYTES; i++) snprintf(hex + 2 * i, 3, "%02x", (unsigned char)bytes[i]);
    return json_pack("{s:o, s:s}", "text", json_string_of_bytes(bytes, n), "hex", hex);
}

static json_t *describe_tokens(const sluice_engine *engine, const struct input_tokens *tokens)
{
    json_t *ids = json_array(), *pieces = json_array();
    int failed = 0;
    for (size_t i = 0; !failed && i < tokens->count; i++) {
        size_t n;
        const char *bytes = sluice_token_bytes(engine, tokens->ids[i], &n);
        failed = json_array_append_new(ids, json_integer(tokens->ids[i])) |
                 json_array_append_new(pieces, describe_piece(n ? bytes : "", n));
    }
    if (!failed) return json_pack("{s:o, s:o}", "ids", ids, "pieces", pieces);
    json_decref(ids);
    json_decref(pieces);
    return NULL;
}

static sluice_status encode(const struct tokenize_values *v, const sluice_engine *engine, const struct input_text *text,
                            sluice_error *error)
{
    struct input_tokens tokens;
    unsigned flags = (v->special ? SLUICE_TEXT_SPECIAL : 0) | (v->no_bos ? SLUICE_TEXT_NO_BOS : 0);
    sluice_status status = input_tokenize(&tokens, engine, text, flags, error);
    if (status) return status;
    if (v->json)
        status = json_print_line(describe_tokens(engine, &tokens), error);
    else
        print_pieces(engine, &tokens);
    input_free_tokens(&tokens);
    return status;
}

static sluice_status decode(const struct tokenize_values *v, const sluice_engine *engine,
                            const struct input_tokens *tokens, sluice_error *error)
{
    unsigned flags = v->special ? SLUICE_TEXT_SPECIAL : 0;
    size_t n = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        sluice_token_bytes(engine, tokens->ids[i], &n);
        if (n == 0) return set_error(error, SLUICE_ARGUMENT, "--decode: no token has the id %d", tokens->ids[i]);
    }
    sluice_status status = sluice_detokenize(engine, tokens->ids, tokens->count, flags, NULL, 0, &n, error);
    if (status) return status;
    char *text = malloc(n + 1);
    if (!text) return set_error(error, SLUICE_MEMORY, "--decode: not enough memory for the text");
    status = sluice_detokenize(engine, tokens->ids, tokens->count, flags, text, n, &n, error);
    if (!status && v->json) {
        status = json_print_line(json_pack("{s:o}", "text", json_string_of_bytes(text, n)), error);
    } else if (!status) {
        status = output_write(text, n, error);
        if (!status) status = output_end_text(n > 0 && text[n - 1] == '\n', error);
    }
    free(text);
    return status;
}

static sluice_status tokenize(const void *values, sluice_error *error)
{
    const struct tokenize_values *v = values;
    struct input_text text = {0};
    struct input_tokens tokens = {0};
    const struct load_options one_thread = {.threads = {true, 1}, .access = v->load.access};
    sluice_engine *engine = NULL;
    sluice_status status = SLUICE_OK;
    if (v->decode && (v->prompt || v->file))
        return set_error(error, SLUICE_ARGUMENT, "--decode and %s exclude each other", v->prompt ? "-p" : "-f");
    if (v->decode)
        status = input_parse_ids(&tokens, "--decode", v->decode, error);
    else
        status = input_read(&text, v->prompt, v->file, error);
    if (!status) status = load_engine(&engine, v->model, &one_thread, SLUICE_OPEN_TOKENIZER_ONLY, error);
    if (!status) status = v->decode ? decode(v, engine, &tokens, error) : encode(v, engine, &text, error);
    sluice_engine_close(&engine);
    input_free_tokens(&tokens);
    input_free(&text);
    return status;
}

const struct command command_tokenize = {
    .name = "tokenize",
    .summary = "print the tokens of a text, or the text of tokens",
    .usage = "MODEL [-p TEXT | -f FILE | --decode IDS] [options]",
    .details = "Prints one token per line, its id and its bytes in quotes. Without -p, -f and --decode the text comes "
               "from a pipe. Only the tokenizer files of the model are needed.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct tokenize_values),
    .run = tokenize,
};
