/* Owns vocab_create_tiktoken: a file of lines "BASE64 RANK" -> struct vocab. Byte-level BPE: two neighbours that are a
 * token together may become it, the smallest rank first, and the rank is the id. A word that is a token becomes it
 * whatever the ranks say. What the file leaves out, the cutting of words and the special tokens, comes from the class
 * that tokenizer_config.json names, as its original code has it. Tokens are spelled in the byte-level alphabet, as in
 * all byte-level vocabularies here. Read next: bpe.c, pre.c. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "text/vocab_internal.h"

/* The ids behind the ranks that the class keeps for special tokens; those without a name get one. The shortest line is
 * "AA== 0" with its end. */
enum { N_RESERVED = 256, MAX_LINE_BYTES = MAX_TOKEN_BYTES, MIN_LINE_BYTES = 7 };

/* ---- one line --------------------------------------------------------------------------------------------------- */

/* The value of a base64 digit, or -1. */
static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = memchr(digits, c, sizeof digits - 1);
    return at ? (int)(at - digits) : -1; /* bounded: less than 64 */
}

/* Decodes into `out`, which has room for n bytes; 0: not base64, or nothing. */
static size_t read_base64(const char *text, size_t n, unsigned char *out)
{
    size_t n_padding = 0, n_out = 0;
    uint32_t bits = 0;
    while (n_padding < 2 && n_padding < n && text[n - 1 - n_padding] == '=') n_padding++;
    if (n % 4 != 0) return 0;
    for (size_t i = 0; i < n - n_padding; i++) {
        int digit = digit_of(text[i]);
        if (digit < 0) return 0;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 > 0) out[n_out++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    return n_out;
}

/* The rank must be the next one: then none is missing, none is there twice, and it is the token's id. */
static sluice_status check_rank(const char *text, size_t n, int32_t expected, struct failure *f)
{
    char shown[ESCAPED_BYTES];
    int32_t rank = 0;
    bool good = n > 0 && n <= 8;
    for (size_t i = 0; i < n && good; i++) {
        good = text[i] >= '0' && text[i] <= '9';
        rank = 10 * rank + (text[i] - '0');
    }
    if (good && rank == expected) return SLUICE_OK;
    return fail(f, SLUICE_FORMAT, "rank: found \"%s\", expected %d", escape_text(shown, sizeof shown, text, n),
                expected);
}

static sluice_status read_line(struct vocab *v, const char *line, size_t n, int32_t id, struct failure *f)
{
    unsigned char bytes[MAX_LINE_BYTES];
    char text[2 * MAX_LINE_BYTES], shown[ESCAPED_BYTES];
    const char *blank = memchr(line, ' ', n);
    if (n > MAX_LINE_BYTES) return fail(f, SLUICE_FORMAT, "%zu bytes exceed %d", n, MAX_LINE_BYTES);
    if (!blank) return fail(f, SLUICE_FORMAT, "must be a token in base64, a blank, and its rank");
    size_t n_base64 = (size_t)(blank - line), n_bytes = read_base64(line, n_base64, bytes), n_text = 0;
    if (n_bytes == 0)
        return fail(f, SLUICE_FORMAT, "bad base64 \"%s\"", escape_text(shown, sizeof shown, line, n_base64));
    sluice_status status = check_rank(blank + 1, n - n_base64 - 1, id, f);
    if (status) return status;
    for (size_t i = 0; i < n_bytes; i++) n_text += utf8_write(text + n_text, byte_to_char(bytes[i]));
    if ((status = token_add(v, id, text, n_text, TOKEN_MODEL, f))) return status;
    if (n_text > v->longest) v->longest = n_text;
    return SLUICE_OK;
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

/* One token for each line that is not empty. */
static sluice_status read_lines(struct vocab *v, const char *data, size_t n, int32_t *n_tokens, struct failure *f)
{
    size_t n_lines = 1;
    const char *end = data + n, *line = data;
    for (size_t i = 0; i < n; i++) n_lines += data[i] == '\n';
    if (n_lines > MAX_TOKENS - N_RESERVED)
        return fail(f, SLUICE_FORMAT, "%zu lines exceed %d", n_lines, MAX_TOKENS - N_RESERVED);
    size_t n_fit = n / MIN_LINE_BYTES + 1; /* no more lines can hold tokens: others are empty, or an error */
    sluice_status status = tokens_reserve(v, (n_lines < n_fit ? n_lines : n_fit) + N_RESERVED, f);
    for (size_t number = 1; number <= n_lines && !status; number++) {
        const char *stop = memchr(line, '\n', (size_t)(end - line)), *next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        if (stop > line && stop[-1] == '\r') stop--;
        if (stop > line) status = read_line(v, line, (size_t)(stop - line), (*n_tokens)++, f);
        char where[32];
        snprintf(where, sizeof where, "line %zu", number);
        if (status) fail_in(f, where);
        line = next;
    }
    return status;
}

static sluice_status load_model(struct vocab *v, const char *data, size_t n, int32_t *n_tokens, struct failure *f)
{
    sluice_status status = read_lines(v, data, n, n_tokens, f);
    for (unsigned byte = 0; byte < 256 && !status; byte++) {
        char text[4];
        if (token_find_model(v, text, utf8_write(text, byte_to_char(byte))) < 0)
            return fail(f, SLUICE_FORMAT, "byte 0x%02x has no token", byte);
    }
    return status;
}

/* ---- the class -------------------------------------------------------------------------------------------------- */

static sluice_status check_class(const json_t *config, struct failure *f)
{
    static const char known[] = "TikTokenTokenizer";
    const char *name = "";
    char shown[ESCAPED_BYTES];
    sluice_status status = json_get_word(config, "tokenizer_class", &name, f);
    if (status || strcmp(name, known) == 0) return status;
    return fail(f, SLUICE_UNSUPPORTED, "tokenizer_class: found \"%s\", with tiktoken.model only %s is supported",
                escape_text(shown, sizeof shown, name, strlen(name)), known);
}

static sluice_status add_reserved(struct vocab *v, int32_t first, struct failure *f)
{
    sluice_status status = SLUICE_OK;
    for (int32_t id = first; id < first + N_RESERVED && !status; id++) {
        char name[48];
        if (v->tokens[id].flags) continue;
        size_t n = (size_t)snprintf(name, sizeof name, "<|reserved_token_%d|>", id);
        status = token_add(v, id, name, n, TOKEN_ADDED | TOKEN_SPECIAL, f);
        v->tokens[id].added = ADDED_SPECIAL;
    }
    return status;
}

static sluice_status load_special(struct vocab *v, const json_t *config, int32_t n_tokens, struct failure *f)
{
    sluice_status status = added_from_config(v, config, f);
    if (!status) status = template_from_config(v, config, f);
    return status ? status : add_reserved(v, n_tokens, f);
}

/* What is left when all tokens are there. */
static sluice_status finish(struct vocab *v, struct failure *f)
{
    unsigned flags;
    sluice_status status = pre_load(v, "kimi-k2", &flags, f);
    if (!status) added_trim(v);
    if (!status) status = added_finish(v, f);
    if (status) return status;
    v->ranks = memory_alloc((size_t)v->n_tokens * sizeof *v->ranks);
    if (!v->ranks) return fail_memory(f, NULL);
    for (int32_t id = 0; id < v->n_tokens; id++) v->ranks[id] = (uint32_t)id;
    v->ignore_merges = true;
    return decode_tokens(v, false, f);
}

/* `name` becomes the file that a failure is about. */
static sluice_status load(struct vocab *v, const char *model, size_t n_model, const json_t *config, const char **name,
                          struct failure *f)
{
    int32_t n_tokens = 0;
    v->unk_id = v->bos_id = v->eos_id = v->pad_id = -1;
    memset(v->byte_ids, 0xff, sizeof v->byte_ids);
    sluice_status status = check_class(config, f);
    if (status) return status;
    *name = "tiktoken.model";
    if ((status = load_model(v, model, n_model, &n_tokens, f))) return status;
    *name = "tokenizer_config.json";
    if ((status = load_special(v, config, n_tokens, f))) return status;
    *name = "tiktoken.model";
    return finish(v, f);
}

sluice_status vocab_create_tiktoken(struct vocab **out, const char *model, size_t model_bytes,
                                    const char *tokenizer_config, size_t config_bytes, struct failure *f)
{
    struct failure local; /* the parts may assume that there is one */
    if (!f) f = &local;
    *out = NULL;
    json_t *config = NULL;
    const char *name = "tokenizer_config.json";
    struct vocab *v = memory_calloc(1, sizeof *v);
    sluice_status status = v ? SLUICE_OK : fail_memory(f, NULL);
    if (!status && !tokenizer_config) status = fail(f, SLUICE_IO, "no such file, but tiktoken.model needs it");
    if (!status && model_bytes > MAX_JSON_BYTES) {
        name = "tiktoken.model";
        status = fail(f, SLUICE_FORMAT, "%zu bytes exceed %d", model_bytes, MAX_JSON_BYTES);
    }
    if (!status) status = json_read(&config, tokenizer_config, config_bytes, MAX_CONFIG_BYTES, f);
    if (!status) status = load(v, model, model_bytes, config, &name, f);
    json_decref(config);
    if (status) {
        fail_in(f, name);
        vocab_free(&v);
        return status;
    }
    *out = v;
    return SLUICE_OK;
}
