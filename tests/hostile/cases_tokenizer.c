/* Rows K of the catalogue (see hostile.h): tokenizer.json with tokenizer_config.json, the tokenizer's keys of a GGUF
 * file, and tiktoken.model. A writer starts from a valid file and replaces one thing; what it puts there is the case's
 * value: a text, or a number. What goes wrong only while a text is encoded or decoded: test_text.c. */
#include "tests/hostile/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sluice/sluice.h"
#include "tests/support/gguf.h"
#include "text/vocab_internal.h"

/* The value of a case that is a text. */
#define TEXT(text)     (uint64_t)(uintptr_t)(text)
#define TEXT_OF(value) ((const char *)(uintptr_t)(value))

static void need(bool good, const char *what)
{
    if (good) return;
    perror(what);
    abort();
}

static char *repeat(const char *unit, size_t times)
{
    size_t n = strlen(unit);
    char *text = malloc(n * times + 1);
    need(text != NULL, "text");
    for (size_t i = 0; i < times; i++) memcpy(text + i * n, unit, n);
    text[n * times] = 0;
    return text;
}

/* ---- tokenizer.json ---------------------------------------------------------------------------------------------- */

/* A valid file, in parts of which a writer replaces one. */
enum part { ADDED, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL, N_PARTS };

static const char *const keys[N_PARTS] = {"added_tokens",   "normalizer", "pre_tokenizer",
                                          "post_processor", "decoder",    "model"};
#define VOCAB     "{\"a\": 0, \"b\": 1, \"ab\": 2, \"q\": 3, \"u\": 4}"
#define BPE(x)    "{\"type\": \"BPE\", " x "}"
#define BPE_BEGIN "{\"type\": \"BPE\", \"vocab\": " VOCAB ", \"merges\": "
static const char *const valid[N_PARTS] = {
    "[{\"id\": 5, \"content\": \"<s>\", \"special\": true}]",
    "null",
    "{\"type\": \"WhitespaceSplit\"}",
    "null",
    "{\"type\": \"Fuse\"}",
    BPE("\"vocab\": " VOCAB ", \"merges\": [\"a b\"]"),
};

/* Two parts are replaced; b may be N_PARTS for none. */
static void write_parts_twice(struct hostile *h, enum part a, const char *with_a, enum part b, const char *with_b)
{
    const size_t cap = strlen(with_a) + strlen(with_b) + 4096;
    char *text = malloc(cap);
    need(text != NULL, "tokenizer.json");
    size_t n = (size_t)snprintf(text, cap, "{\"version\": \"1.0\"");
    for (int i = 0; i < N_PARTS; i++)
        n += (size_t)snprintf(text + n, cap - n, ", \"%s\": %s", keys[i],
                              i == (int)a   ? with_a
                              : i == (int)b ? with_b
                                            : valid[i]);
    snprintf(text + n, cap - n, "}");
    folder_write_text(&h->folder, "tokenizer.json", text);
    free(text);
}

static void write_parts(struct hostile *h, enum part replaced, const char *with)
{
    write_parts_twice(h, replaced, with, N_PARTS, "");
}

static void write_added(struct hostile *h, uint64_t v) { write_parts(h, ADDED, TEXT_OF(v)); }
static void write_normalizer(struct hostile *h, uint64_t v) { write_parts(h, NORMALIZER, TEXT_OF(v)); }
static void write_pre(struct hostile *h, uint64_t v) { write_parts(h, PRE_TOKENIZER, TEXT_OF(v)); }
static void write_post(struct hostile *h, uint64_t v) { write_parts(h, POST_PROCESSOR, TEXT_OF(v)); }
static void write_decoder(struct hostile *h, uint64_t v) { write_parts(h, DECODER, TEXT_OF(v)); }
static void write_model(struct hostile *h, uint64_t v) { write_parts(h, MODEL, TEXT_OF(v)); }

/* The model's part: `before`, the case's text, `after`. */
static void write_in_model(struct hostile *h, const char *before, const char *text, const char *after)
{
    size_t cap = strlen(before) + strlen(text) + strlen(after) + 64;
    char *model = malloc(cap);
    need(model != NULL, "model");
    snprintf(model, cap, "{\"type\": \"BPE\", %s%s%s}", before, text, after);
    write_parts(h, MODEL, model);
    free(model);
}

static void write_vocab(struct hostile *h, uint64_t v)
{
    write_in_model(h, "\"vocab\": ", TEXT_OF(v), ", \"merges\": []");
}

static void write_merges(struct hostile *h, uint64_t v)
{
    write_in_model(h, "\"vocab\": " VOCAB ", \"merges\": ", TEXT_OF(v), "");
}

/* More keys of the model; its vocabulary has two byte tokens. */
static void write_options(struct hostile *h, uint64_t v)
{
    write_in_model(h, "\"vocab\": {\"a\": 0, \"<0x0A>\": 1}, \"merges\": [], ", TEXT_OF(v), "");
}

/* A token of such a spelling, with byte fallback on. */
static void write_byte_token(struct hostile *h, uint64_t v)
{
    char vocab[128];
    snprintf(vocab, sizeof vocab, "{\"%s\": 0}", TEXT_OF(v));
    write_in_model(h, "\"byte_fallback\": true, \"vocab\": ", vocab, ", \"merges\": []");
}

/* 255 byte tokens, and another one instead of the case's byte. */
static void write_byte_missing(struct hostile *h, uint64_t byte)
{
    char vocab[8192];
    size_t n = 0;
    for (unsigned i = 0; i < 256; i++)
        n += (size_t)snprintf(vocab + n, sizeof vocab - n, i == byte ? "%s\"x%02X\": %u" : "%s\"<0x%02X>\": %u",
                              i ? ", " : "{", i, i);
    snprintf(vocab + n, sizeof vocab - n, "}");
    write_in_model(h, "\"byte_fallback\": true, \"vocab\": ", vocab, ", \"merges\": []");
}

/* A byte-level vocabulary: the 256 characters of the alphabet, and the case's text as token 256. */
static void write_byte_level(struct hostile *h, uint64_t v)
{
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text,
                                "{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"model\": {"
                                "\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
    for (unsigned byte = 0; byte < 256; byte++) {
        char c[5] = "", spelled[8];
        utf8_write(c, byte_to_char(byte));
        snprintf(spelled, sizeof spelled, "%s%s", c[0] == '"' || c[0] == '\\' ? "\\" : "", c);
        n += (size_t)snprintf(text + n, sizeof text - n, "\"%s\": %u, ", spelled, byte);
    }
    snprintf(text + n, sizeof text - n, "\"%s\": 256}}}", TEXT_OF(v));
    folder_write_text(&h->folder, "tokenizer.json", text);
}

static void write_split(struct hostile *h, uint64_t v)
{
    size_t cap = strlen(TEXT_OF(v)) + 128;
    char *step = malloc(cap);
    need(step != NULL, "pattern");
    snprintf(step, cap, "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"%s\"}, \"behavior\": \"Isolated\"}",
             TEXT_OF(v));
    write_parts(h, PRE_TOKENIZER, step);
    free(step);
}

static void write_long_split(struct hostile *h, uint64_t bytes)
{
    char *pattern = repeat("a", bytes);
    write_split(h, TEXT(pattern));
    free(pattern);
}

static void write_deep_split(struct hostile *h, uint64_t depth)
{
    char *pattern = repeat("(", depth);
    write_split(h, TEXT(pattern));
    free(pattern);
}

static void write_long_token(struct hostile *h, uint64_t bytes)
{
    char *token = repeat("a", bytes);
    write_in_model(h, "\"vocab\": {\"", token, "\": 0}, \"merges\": []");
    free(token);
}

static void write_long_added(struct hostile *h, uint64_t bytes)
{
    char *token = repeat("x", bytes), *list = malloc(bytes + 100);
    need(list != NULL, "added tokens");
    sprintf(list, "[{\"id\": 5, \"content\": \"%s\"}]", token);
    write_parts(h, ADDED, list);
    free(token);
    free(list);
}

/* `unit` so often as the list of merges; written piece by piece, so that the test itself stays small. */
static void write_long_list(struct hostile *h, const char *unit, uint64_t n)
{
    folder_write_text(&h->folder, "tokenizer.json", "{\"model\": " BPE_BEGIN "[");
    FILE *file = fopen(folder_path(&h->folder, "tokenizer.json"), "ab");
    need(file != NULL, "tokenizer.json");
    for (uint64_t i = 0; i < n; i++) fprintf(file, "%s,", unit);
    fprintf(file, "%s]}}", unit);
    need(fclose(file) == 0, "tokenizer.json");
}

static void write_many_merges(struct hostile *h, uint64_t n) { write_long_list(h, "0", n - 1); }
/* A tree of so many lists is fifty times as large as the text. */
static void write_many_lists(struct hostile *h, uint64_t n) { write_long_list(h, "[]", n - 1); }

/* Added tokens with ids far apart: each alone is near what is there before, were the holes tokens. */
static void write_stretched_ids(struct hostile *h, uint64_t n)
{
    char list[4096] = "[";
    uint64_t id = 5;
    for (uint64_t i = 0; i < n; i++, id = 3 * id + 60000) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s{\"id\": %llu, \"content\": \"x%llu\"}", i ? ", " : "",
                 (unsigned long long)id, (unsigned long long)i);
    }
    strcat(list, "]");
    write_parts(h, ADDED, list);
}

/* As many sound ids, and then one that is not. */
static void write_ids_and_far(struct hostile *h, uint64_t n)
{
    char *list = malloc((size_t)n * 48 + 96), *p = list;
    need(list != NULL, "added tokens");
    p += sprintf(p, "[");
    for (unsigned i = 0; i < n; i++) p += sprintf(p, "{\"id\": %u, \"content\": \"x%u\"}, ", i + 5, i);
    sprintf(p, "{\"id\": 1099511627776, \"content\": \"far\"}]");
    write_parts(h, ADDED, list);
    free(list);
}

/* A pattern that looks at the rest of the text from each place in it, over n tokens of 4,000 bytes. */
static void write_scanning_decoder(struct hostile *h, uint64_t n)
{
    enum { TOKEN_BYTES = 4000 };
    char *model = malloc((size_t)n * (TOKEN_BYTES + 32) + 128), *p = model;
    need(model != NULL, "vocabulary");
    p += sprintf(p, "{\"type\": \"BPE\", \"vocab\": {\"a\": 0");
    for (unsigned i = 0; i < n; i++) {
        p += sprintf(p, ", \"");
        memset(p, '_', TOKEN_BYTES);
        p += TOKEN_BYTES;
        p += sprintf(p, "%u\": %u", i, i + 6);
    }
    sprintf(p, "}, \"merges\": []}");
    write_parts_twice(h, DECODER, "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"_++[xy]\"}, \"content\": \"\"}",
                      MODEL, model);
    free(model);
}

static void write_steps(struct hostile *h, enum part part, const char *key, const char *step, uint64_t n)
{
    char *steps = repeat(step, n), *list = malloc(strlen(steps) + 200);
    need(list != NULL, "steps");
    sprintf(list, "{\"type\": \"Sequence\", \"%s\": [%s%s", key, steps, "{\"type\": \"NFC\"}]}");
    if (part != NORMALIZER) { /* there the list ends with its last step */
        sprintf(list, "{\"type\": \"Sequence\", \"%s\": [%s", key, steps);
        memcpy(list + strlen(list) - 1, "]}", 3);
    }
    write_parts(h, part, list);
    free(steps);
    free(list);
}

static void write_many_normalizers(struct hostile *h, uint64_t n)
{
    write_steps(h, NORMALIZER, "normalizers", "{\"type\": \"NFC\"},", n);
}
static void write_many_pre(struct hostile *h, uint64_t n)
{
    write_steps(h, PRE_TOKENIZER, "pretokenizers", "{\"type\": \"Digits\"},", n);
}
static void write_many_decoders(struct hostile *h, uint64_t n)
{
    write_steps(h, DECODER, "decoders", "{\"type\": \"Strip\", \"content\": \"x\"},", n);
}

/* Replaces that double every "a". Many of them: a bomb for the length of a text, or of a token. */
#define DOUBLE "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aa\"},"

static void write_doubling_decoder(struct hostile *h, uint64_t n) { write_steps(h, DECODER, "decoders", DOUBLE, n); }

/* An added token that is found in normalized text, and such a normalizer. */
static void write_normalized_added(struct hostile *h, uint64_t v)
{
    write_parts_twice(h, NORMALIZER, TEXT_OF(v), ADDED,
                      "[{\"id\": 5, \"content\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\", \"normalized\": "
                      "true}]");
}

static void write_doubled_added(struct hostile *h, uint64_t n)
{
    char *steps = repeat(DOUBLE, n), list[4096];
    snprintf(list, sizeof list, "{\"type\": \"Sequence\", \"normalizers\": [%s", steps);
    memcpy(list + strlen(list) - 1, "]}", 3);
    write_normalized_added(h, TEXT(list));
    free(steps);
}

/* A token of 40 times "a" and a "b", and such a decoder. */
static void write_decoded(struct hostile *h, uint64_t v)
{
    write_parts_twice(h, DECODER, TEXT_OF(v), MODEL,
                      BPE("\"vocab\": {\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\": 0}, \"merges\": []"));
}

/* ---- tokenizer.json as a file ------------------------------------------------------------------------------------ */

static void write_file(struct hostile *h, uint64_t v) { folder_write_text(&h->folder, "tokenizer.json", TEXT_OF(v)); }

static void write_nothing(struct hostile *h, uint64_t v)
{
    (void)v;
    folder_write_text(&h->folder, "other.txt", "");
}

/* The valid file cut to this length, or so long: zeros follow, which take no room on a disk. */
static void write_length(struct hostile *h, uint64_t bytes)
{
    write_parts(h, N_PARTS, "");
    need(truncate(folder_path(&h->folder, "tokenizer.json"), (off_t)bytes) == 0, "truncate");
}

static void write_deep(struct hostile *h, uint64_t depth)
{
    char *text = repeat("{\"a\":", depth);
    folder_write_text(&h->folder, "tokenizer.json", text);
    free(text);
}

static void write_deep_list(struct hostile *h, uint64_t depth)
{
    char *text = repeat("[", depth);
    memcpy(text, "{\"\":", 4);
    folder_write_text(&h->folder, "tokenizer.json", text);
    free(text);
}

static void write_deep_sequence(struct hostile *h, uint64_t depth)
{
    char *text = repeat("{\"type\": \"Sequence\", \"normalizers\": [", depth);
    write_parts(h, NORMALIZER, text);
    free(text);
}

static void make_folder(struct hostile *h, uint64_t v)
{
    (void)v;
    folder_make(&h->folder, "tokenizer.json");
}

static void make_fifo(struct hostile *h, uint64_t v)
{
    (void)v;
    need(mkfifo(folder_path(&h->folder, "tokenizer.json"), 0600) == 0, "mkfifo");
}

static void make_link(struct hostile *h, uint64_t v) { folder_link(&h->folder, "tokenizer.json", TEXT_OF(v)); }

/* ---- tokenizer_config.json --------------------------------------------------------------------------------------- */

static void write_config(struct hostile *h, uint64_t v)
{
    write_parts(h, N_PARTS, "");
    folder_write_text(&h->folder, "tokenizer_config.json", TEXT_OF(v));
}

/* ---- GGUF keys --------------------------------------------------------------------------------------------------- */

enum { INT8 = 1, UINT32 = 4, INT32 = 5, FLOAT32 = 6, BOOL = 7, STRING = 8, UINT64 = 10, FLOAT64 = 12 };
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { MAX_TOKENS_HERE = 300 };

/* A vocabulary; {0} is none. A writer changes one thing of a valid one. */
struct keys {
    const char *model, *pre, *json; /* NULL: without the key */
    size_t n_tokens, n_scores, n_types, n_merges;
    const char *tokens[MAX_TOKENS_HERE];
    char texts[256][8];
    uint32_t kinds[MAX_TOKENS_HERE];
    float scores[MAX_TOKENS_HERE];
    const char *merges[8];
    unsigned score_type, kind_type, token_type, merge_type, model_type;
    bool without_tokens, without_scores, without_merges;
    const char *id_key; /* an id with this type and value; "": none */
    unsigned id_type;
    uint64_t id;
    const char *flag_key; /* NULL: none */
    unsigned flag_type;
    uint64_t promised_tokens; /* in the count of the array; 0: as many as there are */
};

static void put(struct keys *k, const char *text, uint32_t kind, float score)
{
    k->tokens[k->n_tokens] = text;
    k->kinds[k->n_tokens] = kind;
    k->scores[k->n_tokens] = score;
    k->n_scores = k->n_types = ++k->n_tokens;
}

static struct keys start(const char *model)
{
    return (struct keys){.model = model,
                         .score_type = FLOAT32,
                         .kind_type = INT32,
                         .token_type = STRING,
                         .merge_type = STRING,
                         .model_type = STRING};
}

/* <unk> <s> </s> a b ab */
static struct keys sentencepiece(void)
{
    struct keys k = start("llama");
    put(&k, "<unk>", UNKNOWN, 0);
    put(&k, "<s>", CONTROL, 0);
    put(&k, "</s>", CONTROL, 0);
    put(&k, "a", NORMAL, -3);
    put(&k, "b", NORMAL, -2);
    put(&k, "ab", NORMAL, -1);
    k.without_merges = true;
    return k;
}

/* The 256 bytes as "<0x00>" and so on at the ids 3 to 258, between <unk> <s> </s> and a b ab. `k` must not move. */
static void with_bytes(struct keys *k)
{
    *k = start("llama");
    put(k, "<unk>", UNKNOWN, 0);
    put(k, "<s>", CONTROL, 0);
    put(k, "</s>", CONTROL, 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        snprintf(k->texts[byte], sizeof k->texts[byte], "<0x%02X>", byte);
        put(k, k->texts[byte], BYTE, 0);
    }
    put(k, "a", NORMAL, -3);
    put(k, "b", NORMAL, -2);
    put(k, "ab", NORMAL, -1);
    k->without_merges = true;
}

/* The byte-level alphabet as the ids 0 to 255, then ab, and two merges. `k` must not move. */
static void byte_level(struct keys *k)
{
    *k = start("gpt2");
    k->pre = "gpt-2";
    for (unsigned byte = 0; byte < 256; byte++) {
        k->texts[byte][utf8_write(k->texts[byte], byte_to_char(byte))] = 0;
        put(k, k->texts[byte], NORMAL, 0);
    }
    put(k, "ab", NORMAL, 0);
    put(k, "abc", NORMAL, 0);
    k->merges[0] = "a b";
    k->merges[1] = "ab c";
    k->n_merges = 2;
    k->without_scores = true;
}

static void save_keys(struct hostile *h, const struct keys *k)
{
    static const size_t bytes_of[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
    struct gguf_draft d = {0};
    const uint64_t n_keys = 1u + (k->model != NULL) + (k->pre != NULL) + (k->json != NULL) + !k->without_tokens +
                            !k->without_scores + 1u + !k->without_merges + (k->id_key != NULL) + (k->flag_key != NULL);
    draft_start(&d, 3, 0, n_keys);
    draft_key_text(&d, "general.architecture", "llama");
    if (k->model && k->model_type == STRING) draft_key_text(&d, "tokenizer.ggml.model", k->model);
    if (k->model && k->model_type != STRING) draft_key_number(&d, "tokenizer.ggml.model", k->model_type, 1, 4);
    if (k->pre) draft_key_text(&d, "tokenizer.ggml.pre", k->pre);
    if (k->json) draft_key_text(&d, "tokenizer.huggingface.json", k->json);
    if (!k->without_tokens) {
        draft_array(&d, "tokenizer.ggml.tokens", k->token_type, k->promised_tokens ? k->promised_tokens : k->n_tokens);
        for (size_t i = 0; i < k->n_tokens; i++) {
            if (k->token_type == STRING)
                draft_text(&d, k->tokens[i]);
            else
                draft_number(&d, i, bytes_of[k->token_type]);
        }
    }
    if (!k->without_scores) {
        draft_array(&d, "tokenizer.ggml.scores", k->score_type, k->n_scores);
        for (size_t i = 0; i < k->n_scores; i++) {
            if (k->score_type == FLOAT32)
                draft_bytes(&d, &k->scores[i], 4);
            else
                draft_zeros(&d, bytes_of[k->score_type]);
        }
    }
    draft_array(&d, "tokenizer.ggml.token_type", k->kind_type, k->n_types);
    for (size_t i = 0; i < k->n_types; i++) draft_number(&d, k->kinds[i], bytes_of[k->kind_type]);
    if (!k->without_merges) {
        draft_array(&d, "tokenizer.ggml.merges", k->merge_type, k->n_merges);
        for (size_t i = 0; i < k->n_merges; i++) {
            if (k->merge_type == STRING)
                draft_text(&d, k->merges[i]);
            else
                draft_number(&d, i, bytes_of[k->merge_type]);
        }
    }
    if (k->id_key && k->id_type == STRING) draft_key_text(&d, k->id_key, "<s>");
    if (k->id_key && k->id_type != STRING) draft_key_number(&d, k->id_key, k->id_type, k->id, bytes_of[k->id_type]);
    if (k->flag_key) draft_key_number(&d, k->flag_key, k->flag_type, 1, bytes_of[k->flag_type]);
    draft_save(&d, &h->folder, "m.gguf");
    draft_free(&d);
    hostile_open_file(h, "m.gguf");
}

static void gguf_no_tokenizer(struct hostile *h, uint64_t v)
{
    struct keys k = sentencepiece();
    k.model = TEXT_OF(v);
    save_keys(h, &k);
}

static void gguf_model_number(struct hostile *h, uint64_t type)
{
    struct keys k = sentencepiece();
    k.model_type = (unsigned)type;
    save_keys(h, &k);
}

static void gguf_pre(struct hostile *h, uint64_t v)
{
    struct keys k;
    byte_level(&k);
    k.pre = TEXT_OF(v);
    save_keys(h, &k);
}

static void gguf_json(struct hostile *h, uint64_t v)
{
    struct keys k = sentencepiece();
    k.json = TEXT_OF(v);
    save_keys(h, &k);
}

/* The element type of the scores, or how many there are, or what number 3 is. */
static void gguf_score_type(struct hostile *h, uint64_t type)
{
    struct keys k = sentencepiece();
    k.score_type = (unsigned)type;
    save_keys(h, &k);
}
static void gguf_n_scores(struct hostile *h, uint64_t n)
{
    struct keys k = sentencepiece();
    k.n_scores = n;
    save_keys(h, &k);
}
static void gguf_score_bits(struct hostile *h, uint64_t bits)
{
    struct keys k = sentencepiece();
    memcpy(&k.scores[3], &(uint32_t){(uint32_t)bits}, 4);
    save_keys(h, &k);
}
static void gguf_no_scores(struct hostile *h, uint64_t v)
{
    (void)v;
    struct keys k = sentencepiece();
    k.without_scores = true;
    save_keys(h, &k);
}

/* The same of the kinds; a kind is that of token 5. */
static void gguf_kind_type(struct hostile *h, uint64_t type)
{
    struct keys k = sentencepiece();
    k.kind_type = (unsigned)type;
    save_keys(h, &k);
}
static void gguf_n_kinds(struct hostile *h, uint64_t n)
{
    struct keys k = sentencepiece();
    k.n_types = n;
    save_keys(h, &k);
}
static void gguf_kind(struct hostile *h, uint64_t kind)
{
    struct keys k = sentencepiece();
    k.kinds[5] = (uint32_t)kind;
    save_keys(h, &k);
}

/* The same of the tokens. */
static void gguf_token_type(struct hostile *h, uint64_t type)
{
    struct keys k = sentencepiece();
    k.token_type = (unsigned)type;
    save_keys(h, &k);
}
static void gguf_promised_tokens(struct hostile *h, uint64_t n)
{
    struct keys k = sentencepiece();
    k.promised_tokens = n;
    save_keys(h, &k);
}
static void gguf_n_tokens(struct hostile *h, uint64_t n)
{
    struct keys k = sentencepiece();
    k.n_tokens = k.n_scores = k.n_types = n;
    save_keys(h, &k);
}
static void gguf_no_tokens(struct hostile *h, uint64_t v)
{
    (void)v;
    struct keys k = sentencepiece();
    k.without_tokens = true;
    save_keys(h, &k);
}
/* The second token claims to be so long, and nothing follows it. */
static void gguf_token_length(struct hostile *h, uint64_t bytes)
{
    struct gguf_draft d = {0};
    draft_start(&d, 3, 0, 2);
    draft_key_text(&d, "tokenizer.ggml.model", "llama");
    draft_array(&d, "tokenizer.ggml.tokens", STRING, 2);
    draft_text(&d, "a");
    draft_number(&d, bytes, 8);
    draft_zeros(&d, 64);
    draft_save(&d, &h->folder, "m.gguf");
    draft_free(&d);
    hostile_open_file(h, "m.gguf");
}
static void gguf_long_token(struct hostile *h, uint64_t bytes)
{
    struct keys k = sentencepiece();
    char *token = repeat("a", bytes);
    k.tokens[5] = token;
    save_keys(h, &k);
    free(token);
}

/* The spelling of token 256, "ab" in the byte-level vocabulary; of token 65; of the byte token 258, and of 13. */
static void gguf_byte_level_token(struct hostile *h, uint64_t v)
{
    struct keys k;
    byte_level(&k);
    k.tokens[256] = TEXT_OF(v);
    save_keys(h, &k);
}
static void gguf_byte_level_byte(struct hostile *h, uint64_t id)
{
    struct keys k;
    byte_level(&k);
    k.tokens[id] = "AA";
    save_keys(h, &k);
}
static void gguf_byte_token(struct hostile *h, uint64_t v)
{
    struct keys k;
    with_bytes(&k);
    k.tokens[258] = TEXT_OF(v);
    save_keys(h, &k);
}
static void gguf_byte_missing(struct hostile *h, uint64_t byte)
{
    struct keys k;
    with_bytes(&k);
    k.tokens[3 + byte] = "none";
    k.kinds[3 + byte] = NORMAL;
    save_keys(h, &k);
}

/* A third merge, or the type of the list, or none. */
static void gguf_merge(struct hostile *h, uint64_t v)
{
    struct keys k;
    byte_level(&k);
    k.merges[k.n_merges++] = TEXT_OF(v);
    save_keys(h, &k);
}
static void gguf_merge_type(struct hostile *h, uint64_t type)
{
    struct keys k;
    byte_level(&k);
    k.merge_type = (unsigned)type;
    save_keys(h, &k);
}
static void gguf_no_merges(struct hostile *h, uint64_t v)
{
    (void)v;
    struct keys k;
    byte_level(&k);
    k.without_merges = true;
    save_keys(h, &k);
}

static void write_id(struct hostile *h, const char *key, unsigned type, uint64_t id)
{
    struct keys k = sentencepiece();
    k.id_key = key;
    k.id_type = type;
    k.id = id;
    save_keys(h, &k);
}
static void gguf_bos(struct hostile *h, uint64_t id) { write_id(h, "tokenizer.ggml.bos_token_id", UINT32, id); }
static void gguf_eos(struct hostile *h, uint64_t id) { write_id(h, "tokenizer.ggml.eos_token_id", INT32, id); }
static void gguf_unknown(struct hostile *h, uint64_t id) { write_id(h, "tokenizer.ggml.unknown_token_id", UINT32, id); }
static void gguf_padding(struct hostile *h, uint64_t id) { write_id(h, "tokenizer.ggml.padding_token_id", UINT64, id); }
static void gguf_bos_type(struct hostile *h, uint64_t type)
{
    write_id(h, "tokenizer.ggml.bos_token_id", (unsigned)type, 1);
}

static void gguf_flag_type(struct hostile *h, uint64_t type)
{
    struct keys k = sentencepiece();
    k.flag_key = "tokenizer.ggml.add_bos_token";
    k.flag_type = (unsigned)type;
    save_keys(h, &k);
}
static void gguf_flag_without_id(struct hostile *h, uint64_t v)
{
    (void)v;
    struct keys k;
    byte_level(&k);
    k.flag_key = "tokenizer.ggml.add_eos_token";
    k.flag_type = BOOL;
    save_keys(h, &k);
}

/* ---- tiktoken.model ---------------------------------------------------------------------------------------------- */

static const char plain_class[] = "{\"tokenizer_class\": \"TikTokenTokenizer\"}";

/* The bytes 0..255 as ids 0..255, lines 1..256; then `line` as line 257. */
static void write_ranks(struct hostile *h, const char *line, unsigned without)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t cap = 8192 + strlen(line), n = 0;
    char *text = malloc(cap);
    need(text != NULL, "tiktoken.model");
    for (unsigned byte = 0; byte < 256; byte++) {
        if (byte == without)
            n += (size_t)snprintf(text + n, cap - n, "QUFB %u\n", byte);
        else
            n += (size_t)snprintf(text + n, cap - n, "%c%c== %u\n", digits[byte >> 2], digits[(byte & 3) << 4], byte);
    }
    snprintf(text + n, cap - n, "%s\n", line);
    folder_write_text(&h->folder, "tiktoken.model", text);
    free(text);
}

static void write_rank(struct hostile *h, uint64_t v)
{
    write_ranks(h, TEXT_OF(v), 256);
    folder_write_text(&h->folder, "tokenizer_config.json", plain_class);
}
static void write_rank_without(struct hostile *h, uint64_t byte)
{
    write_ranks(h, "YWI= 256", (unsigned)byte);
    folder_write_text(&h->folder, "tokenizer_config.json", plain_class);
}
static void write_long_rank(struct hostile *h, uint64_t bytes)
{
    char *line = repeat("A", bytes + 4);
    memcpy(line + bytes, " 256", 4);
    write_rank(h, TEXT(line));
    free(line);
}
static void write_tiktoken(struct hostile *h, uint64_t v)
{
    folder_write_text(&h->folder, "tiktoken.model", TEXT_OF(v));
    folder_write_text(&h->folder, "tokenizer_config.json", plain_class);
}
static void write_empty_lines(struct hostile *h, uint64_t n)
{
    char *text = repeat("\n", n);
    write_tiktoken(h, TEXT(text));
    free(text);
}
static void write_tiktoken_config(struct hostile *h, uint64_t v)
{
    write_ranks(h, "YWI= 256", 256);
    if (v) folder_write_text(&h->folder, "tokenizer_config.json", TEXT_OF(v));
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

#define ROW(row, what, write, value, status, line) {row, what, write, value, SLUICE_##status, line, HOSTILE_TOKENIZER}
#define JSON "tokenizer.json: "
#define CONFIG "tokenizer_config.json: "
#define RANKS "tiktoken.model: "
#define KEYS "m.gguf: tokenizer: "
#define KEY(name) "m.gguf: key \"tokenizer.ggml." name "\": "

/* clang-format off */
const struct hostile_case hostile_tokenizer[] = {
    /* the file */
    ROW("K01", "as it should be", write_file, TEXT("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, "
        "\"merges\": []}}"), OK, NULL),
    ROW("K01", "absent", write_nothing, 0, IO, "model: tokenizer.json: no such file"),
    ROW("K01", "300 MB", write_length, 300000000, FORMAT, JSON "larger than 268435456 bytes"),
    ROW("K01", "empty", write_file, TEXT(""), FORMAT, JSON "JSON error at byte 0: a JSON object is missing"),
    ROW("K01", "cut", write_length, 100, FORMAT, JSON "JSON error at byte 97: unknown word"),
    ROW("K01", "zeros at the end", write_length, 4096, FORMAT, JSON "JSON error at byte 298: text after the end"),
    ROW("K01", "a list", write_file, TEXT("[1, 2]"), FORMAT, JSON "JSON error at byte 0: a JSON object is missing"),
    ROW("K01", "two objects", write_file, TEXT("{} {}"), FORMAT, JSON "JSON error at byte 3: text after the end"),
    ROW("K01", "100000 lists deep", write_deep_list, 100000, FORMAT, JSON "JSON nested deeper than 64"),
    ROW("K01", "65 objects deep", write_deep, 65, FORMAT, JSON "JSON nested deeper than 64"),
    ROW("K01", "not UTF-8", write_file, TEXT("{\"a\": \"\xff\"}"), FORMAT, JSON "JSON error at byte 7: not UTF-8"),
    ROW("K01", "half of a surrogate pair", write_file, TEXT("{\"a\": \"\\ud800\"}"), FORMAT,
        JSON "JSON error at byte 7: a string holds NUL or half of a surrogate pair"),
    ROW("K01", "NUL in a key", write_file, TEXT("{\"a\\u0000\": 1}"), FORMAT,
        JSON "JSON error at byte 2: a string holds NUL or half of a surrogate pair"),
    ROW("K01", "a key twice in the vocabulary", write_vocab, TEXT("{\"a\": 0, \"a\": 1}"), FORMAT,
        JSON "\"a\" appears twice"),
    ROW("K01", "a real number beyond all", write_file, TEXT("{\"a\": 1e999}"), FORMAT,
        JSON "JSON error at byte 6: number out of range"),
    ROW("K01", "10 million empty lists", write_many_lists, 10000000, FORMAT,
        JSON "more than 9437184 objects and arrays"),
    ROW("K01", "version 2.0", write_file, TEXT("{\"version\": \"2.0\"}"), UNSUPPORTED,
        JSON "version \"2.0\" is not supported"),
    ROW("K01", "a folder", make_folder, 0, FORMAT, JSON "not a regular file"),
    ROW("K01", "a FIFO", make_fifo, 0, FORMAT, JSON "not a regular file"),
    ROW("K01", "a link to a device", make_link, TEXT("/dev/zero"), FORMAT,
        JSON "is a link that leads out of the model's folder"),
    ROW("K01", "a link out of the folder", make_link, TEXT("/etc/passwd"), FORMAT,
        JSON "is a link that leads out of the model's folder"),
    ROW("K01", "a link to nothing", make_link, TEXT("nowhere"), IO, "model: tokenizer.json: no such file"),

    /* the model's type */
    ROW("K02", "Unigram2", write_model, TEXT("{\"type\": \"Unigram2\"}"), UNSUPPORTED,
        JSON "model type \"Unigram2\" is not supported (known: BPE)"),
    ROW("K02", "a bell", write_model, TEXT("{\"type\": \"\\u0007\"}"), UNSUPPORTED,
        JSON "model type \"\\x07\" is not supported (known: BPE)"),
    ROW("K02", "missing", write_model, TEXT("{}"), FORMAT, JSON "model: type is missing"),
    ROW("K02", "null", write_model, TEXT("{\"type\": null}"), FORMAT, JSON "model: type is missing"),
    ROW("K02", "NUL behind the type", write_model, TEXT("{\"type\": \"BPE\\u0000x\"}"), FORMAT,
        JSON "type: contains NUL"),
    ROW("K02", "a number", write_model, TEXT("{\"type\": 3}"), FORMAT, JSON "type: must be a string"),
    ROW("K02", "the model is a list", write_model, TEXT("[]"), FORMAT, JSON "model: must be an object"),
    ROW("K02", "no model", write_file, TEXT("{}"), FORMAT, JSON "model: must be an object"),
    ROW("K02", "GGUF: bert", gguf_no_tokenizer, TEXT("bert"), UNSUPPORTED,
        KEYS "model \"bert\" is not supported (known: gpt2, llama, gemma4)"),
    ROW("K02", "GGUF: empty", gguf_no_tokenizer, TEXT(""), UNSUPPORTED,
        KEYS "model \"\" is not supported (known: gpt2, llama, gemma4)"),
    ROW("K02", "GGUF: no_vocab", gguf_no_tokenizer, TEXT("no_vocab"), FORMAT, "m.gguf: has no tokenizer"),
    ROW("K02", "GGUF: a number", gguf_model_number, UINT32, FORMAT, KEY("model") "found uint32, expected a string"),
    ROW("K02", "GGUF: unknown pre-tokenizer", gguf_pre, TEXT("no\nsuch"), UNSUPPORTED,
        KEYS "pre-tokenizer \"no\\x0asuch\" is not known"),
    ROW("K02", "GGUF: tokenizer.json inside is cut", gguf_json, TEXT("{\"model\": "), FORMAT,
        "m.gguf: " JSON "JSON error at byte 10: the text ends too early"),

    /* ids */
    ROW("K03", "-1", write_vocab, TEXT("{\"a\": -1}"), FORMAT, JSON "token \"a\": id -1 is outside 0..4194303"),
    ROW("K03", "1.5", write_vocab, TEXT("{\"a\": 1.5}"), FORMAT, JSON "token \"a\": the id must be an integer"),
    ROW("K03", "1e2", write_vocab, TEXT("{\"a\": 1e2}"), FORMAT, JSON "token \"a\": the id must be an integer"),
    ROW("K03", "2^22", write_vocab, TEXT("{\"a\": 4194304}"), FORMAT,
        JSON "token \"a\": id 4194304 is outside 0..4194303"),
    ROW("K03", "2^32", write_vocab, TEXT("{\"a\": 4294967296}"), FORMAT,
        JSON "token \"a\": id 4294967296 is outside 0..4194303"),
    ROW("K03", "2^64", write_vocab, TEXT("{\"a\": 0, \"b\": 18446744073709551616}"), FORMAT,
        JSON "token \"b\": the id must be an integer"),
    ROW("K03", "text", write_vocab, TEXT("{\"a\": \"3\"}"), FORMAT, JSON "token \"a\": the id must be an integer"),
    ROW("K03", "null", write_vocab, TEXT("{\"a\": null}"), FORMAT, JSON "token \"a\": the id must be an integer"),
    ROW("K04", "two tokens", write_vocab, TEXT("{\"a\": 17, \"b\": 17}"), FORMAT,
        JSON "id 17 belongs to \"a\" and \"b\""),
    ROW("K04", "a token and an added one", write_added, TEXT("[{\"id\": 1, \"content\": \"x\"}]"), FORMAT,
        JSON "added token 0: id 1 belongs to \"b\" and \"x\""),
    ROW("K04", "GGUF: a token twice", gguf_byte_level_token, TEXT("abc"), FORMAT,
        KEYS "token \"abc\" has the ids 256 and 257"),
    ROW("K04", "tiktoken: a token twice", write_rank, TEXT("YQ== 256"), FORMAT,
        RANKS "line 257: token \"a\" has the ids 97 and 256"),
    ROW("K05", "a gap of 4 million", write_vocab, TEXT("{\"a\": 0, \"b\": 4000000}"), FORMAT,
        JSON "highest id 4000000 for 2 tokens"),
    ROW("K05", "a gap of 10^9", write_vocab, TEXT("{\"a\": 0, \"b\": 1000000000}"), FORMAT,
        JSON "token \"b\": id 1000000000 is outside 0..4194303"),
    ROW("K05", "a gap before an added token", write_added, TEXT("[{\"id\": 4000000, \"content\": \"x\"}]"), FORMAT,
        JSON "added token 0: highest id 4000000 for 6 tokens"),
    ROW("K05", "gaps that grow", write_stretched_ids, 6, FORMAT, JSON "added token 2: highest id 240045 for 11 tokens"),
    ROW("K05", "20000 ids, and then 2^40", write_ids_and_far, 20000, FORMAT,
        JSON "added token 20000: id 1099511627776 is outside 0..4194303"),
    ROW("K05", "tiktoken: a rank left out", write_rank, TEXT("YWI= 257"), FORMAT,
        RANKS "line 257: rank: found \"257\", expected 256"),
    ROW("K05", "tiktoken: a rank again", write_rank, TEXT("YWI= 255"), FORMAT,
        RANKS "line 257: rank: found \"255\", expected 256"),
    ROW("K05", "tiktoken: rank -1", write_rank, TEXT("YWI= -1"), FORMAT,
        RANKS "line 257: rank: found \"-1\", expected 256"),
    ROW("K05", "tiktoken: rank 10^21", write_rank, TEXT("YWI= 1000000000000000000000"), FORMAT,
        RANKS "line 257: rank: found \"1000000000000000000000\", expected 256"),

    /* the vocabulary */
    ROW("K06", "empty", write_vocab, TEXT("{}"), FORMAT, JSON "vocab: empty"),
    ROW("K06", "a list", write_vocab, TEXT("[]"), FORMAT, JSON "vocab: must be an object"),
    ROW("K06", "missing", write_model, TEXT("{\"type\": \"BPE\"}"), FORMAT, JSON "vocab: must be an object"),
    ROW("K06", "byte-level without bytes", write_pre, TEXT("{\"type\": \"ByteLevel\"}"), FORMAT,
        JSON "byte 0x09 has no token"),
    ROW("K06", "normalized to bytes without bytes", write_normalizer, TEXT("{\"type\": \"ByteLevel\"}"), FORMAT,
        JSON "byte 0x09 has no token"),
    ROW("K06", "a token of 4097 bytes", write_long_token, 4097, FORMAT, JSON "token 0: 4097 bytes exceed 4096"),
    ROW("K06", "a token of 1 MiB", write_long_token, 1 << 20, FORMAT, JSON "token 0: 1048576 bytes exceed 4096"),
    ROW("K06", "GGUF: no byte 0x41", gguf_byte_level_byte, 65, FORMAT, KEYS "byte 0x41 has no token"),
    ROW("K06", "tiktoken: no byte 0x41", write_rank_without, 65, FORMAT, RANKS "byte 0x41 has no token"),
    ROW("K06", "tiktoken: empty", write_tiktoken, TEXT(""), FORMAT, RANKS "byte 0x00 has no token"),
    ROW("K06", "tiktoken: 4 million empty lines", write_empty_lines, 4 << 20, FORMAT,
        RANKS "4194305 lines exceed 4194048"),
    ROW("K06", "tiktoken: 4 million empty lines, less than the limit", write_empty_lines, 4000000, FORMAT,
        RANKS "byte 0x00 has no token"),
    ROW("K06", "tiktoken: no blank", write_rank, TEXT("YWI="), FORMAT,
        RANKS "line 257: must be a token in base64, a blank, and its rank"),
    ROW("K06", "tiktoken: bad base64", write_rank, TEXT("Y=I= 256"), FORMAT, RANKS "line 257: bad base64 \"Y=I=\""),
    ROW("K06", "tiktoken: no base64", write_rank, TEXT(" 256"), FORMAT, RANKS "line 257: bad base64 \"\""),
    ROW("K06", "tiktoken: not ASCII", write_rank, TEXT("\xff\xfe\xfd\xfc 256"), FORMAT,
        RANKS "line 257: bad base64 \"\\xff\\xfe\\xfd\\xfc\""),
    ROW("K06", "tiktoken: a token of 3069 bytes", write_long_rank, 4092, FORMAT,
        RANKS "line 257: token 256: 6138 bytes exceed 4096"),
    ROW("K06", "tiktoken: a line of 1 MiB", write_long_rank, 1 << 20, FORMAT,
        RANKS "line 257: 1048580 bytes exceed 4096"),

    /* merges */
    ROW("K07", "right side", write_merges, TEXT("[\"a b\", \"a x\"]"), FORMAT,
        JSON "merge 1: \"x\" is not in the vocabulary"),
    ROW("K07", "left side, new form", write_merges, TEXT("[[\"\\u001b[31m\", \"a\"]]"), FORMAT,
        JSON "merge 0: \"\\x1b[31m\" is not in the vocabulary"),
    ROW("K07", "empty side", write_merges, TEXT("[\" a\"]"), FORMAT, JSON "merge 0: \"\" is not in the vocabulary"),
    ROW("K07", "GGUF", gguf_merge, TEXT("a \xc3\xbf\xc3\xbf"), FORMAT,
        KEYS "merge 2: \"\\xc3\\xbf\\xc3\\xbf\" is not in the vocabulary"),
    ROW("K08", "old form", write_merges, TEXT("[\"a q\"]"), FORMAT,
        JSON "merge 0: result \"aq\" is not in the vocabulary"),
    ROW("K08", "new form", write_merges, TEXT("[[\"a\", \"b\"], [\"ab\", \"ab\"]]"), FORMAT,
        JSON "merge 1: result \"abab\" is not in the vocabulary"),
    ROW("K08", "GGUF", gguf_merge, TEXT("a q"), FORMAT, KEYS "merge 2: result \"aq\" is not in the vocabulary"),
    ROW("K09", "no blank", write_merges, TEXT("[\"ab\"]"), FORMAT, JSON "merge 0: must be two tokens"),
    ROW("K09", "two blanks", write_merges, TEXT("[\"a b b\"]"), FORMAT, JSON "merge 0: must be two tokens"),
    ROW("K09", "one element", write_merges, TEXT("[[\"a\"]]"), FORMAT, JSON "merge 0: must be two tokens"),
    ROW("K09", "three elements", write_merges, TEXT("[[\"a\", \"b\", \"b\"]]"), FORMAT,
        JSON "merge 0: must be two tokens"),
    ROW("K09", "a number for a side", write_merges, TEXT("[[\"a\", 1]]"), FORMAT, JSON "merge 0: must be two tokens"),
    ROW("K09", "a number", write_merges, TEXT("[7]"), FORMAT, JSON "merge 0: must be two tokens"),
    ROW("K09", "an object", write_merges, TEXT("{}"), FORMAT, JSON "merges: must be a list"),
    ROW("K09", "GGUF: no blank", gguf_merge, TEXT("ab"), FORMAT, KEYS "merge 2: must be two tokens"),
    ROW("K09", "GGUF: two blanks", gguf_merge, TEXT("a  b"), FORMAT, KEYS "merge 2: must be two tokens"),
    ROW("K09", "GGUF: numbers", gguf_merge_type, INT32, FORMAT,
        KEY("merges") "found array of int32, expected array of string"),
    ROW("K09", "GGUF: missing", gguf_no_merges, 0, FORMAT,
        KEYS "key \"tokenizer.ggml.merges\": missing, model \"gpt2\" needs it"),
    ROW("K10", "repeated in the other form", write_merges, TEXT("[\"a b\", [\"a\", \"b\"]]"), FORMAT,
        JSON "merge 1 repeats merge 0"),
    ROW("K10", "20 million", write_many_merges, 20000000, FORMAT, JSON "more than 16777216 values"),
    ROW("K10", "GGUF: repeated", gguf_merge, TEXT("a b"), FORMAT, KEYS "merge 2 repeats merge 0"),

    /* texts of tokens */
    ROW("K11", "a blank", write_byte_level, TEXT("a b"), FORMAT, JSON "token 256: not byte-level text"),
    ROW("K11", "a letter of no byte", write_byte_level, TEXT("\xce\xb1"), FORMAT,
        JSON "token 256: not byte-level text"),
    ROW("K11", "GGUF: a blank", gguf_byte_level_token, TEXT("a b"), FORMAT, KEYS "token 256: not byte-level text"),
    ROW("K11", "GGUF: not UTF-8", gguf_byte_level_token, TEXT("a\xff"), FORMAT, KEYS "token 256: not UTF-8"),
    ROW("K12", "<0x-1>", write_byte_token, TEXT("<0x-1>"), FORMAT, JSON "token 0: bad byte token \"<0x-1>\""),
    ROW("K12", "<0xZZ>", write_byte_token, TEXT("<0xZZ>"), FORMAT, JSON "token 0: bad byte token \"<0xZZ>\""),
    ROW("K12", "<0x100>", write_byte_token, TEXT("<0x100>"), FORMAT, JSON "token 0: bad byte token \"<0x100>\""),
    ROW("K12", "<0x1>", write_byte_token, TEXT("<0x1>"), FORMAT, JSON "token 0: bad byte token \"<0x1>\""),
    ROW("K12", "<0x>", write_byte_token, TEXT("<0x>"), FORMAT, JSON "token 0: bad byte token \"<0x>\""),
    ROW("K12", "GGUF: <0x-1>", gguf_byte_token, TEXT("<0x-1>"), FORMAT, KEYS "token 258: bad byte token \"<0x-1>\""),
    ROW("K12", "GGUF: <0x100>", gguf_byte_token, TEXT("<0x100>"), FORMAT,
        KEYS "token 258: bad byte token \"<0x100>\""),
    ROW("K12", "GGUF: no byte at all", gguf_byte_token, TEXT("a byte"), FORMAT,
        KEYS "token 258: bad byte token \"a byte\""),
    ROW("K13", "without 0x00", write_byte_missing, 0, FORMAT, JSON "byte_fallback: byte 0x00 has no token"),
    ROW("K13", "without 0xff", write_byte_missing, 255, FORMAT, JSON "byte_fallback: byte 0xff has no token"),
    ROW("K13", "two of 256", write_options, TEXT("\"byte_fallback\": true"), FORMAT,
        JSON "byte_fallback: byte 0xff has no token"),
    ROW("K13", "GGUF: without 0x0a", gguf_byte_missing, 10, FORMAT, KEYS "byte 0x0a has no byte token"),
    ROW("K13", "GGUF: 0x0a twice", gguf_byte_token, TEXT("<0x0a>"), FORMAT, KEYS "byte 0x0a has two tokens"),
    ROW("K13", "fuse_unk is a number", write_options, TEXT("\"fuse_unk\": 1"), FORMAT,
        JSON "fuse_unk: must be true or false"),
    ROW("K13", "byte_fallback is a text", write_options, TEXT("\"byte_fallback\": \"yes\""), FORMAT,
        JSON "byte_fallback: must be true or false"),
    ROW("K13", "dropout", write_options, TEXT("\"dropout\": 0.5"), UNSUPPORTED, JSON "dropout is not supported"),
    ROW("K13", "a suffix", write_options, TEXT("\"end_of_word_suffix\": \"</w>\""), UNSUPPORTED,
        JSON "end_of_word_suffix is not supported"),

    /* added tokens */
    ROW("K14", "an object", write_added, TEXT("{}"), FORMAT, JSON "added_tokens: must be a list"),
    ROW("K14", "id 2^22", write_added, TEXT("[{\"id\": 4194304, \"content\": \"x\"}]"), FORMAT,
        JSON "added token 0: id 4194304 is outside 0..4194303"),
    ROW("K14", "id -1", write_added, TEXT("[{\"id\": -1, \"content\": \"x\"}]"), FORMAT,
        JSON "added token 0: id -1 is outside 0..4194303"),
    ROW("K14", "id a text", write_added, TEXT("[{\"id\": \"5\", \"content\": \"x\"}]"), FORMAT,
        JSON "added token 0: the id must be an integer"),
    ROW("K14", "no id", write_added, TEXT("[{\"content\": \"x\"}]"), FORMAT,
        JSON "added token 0: the id must be an integer"),
    ROW("K14", "not an object", write_added, TEXT("[7]"), FORMAT, JSON "added token 0: the id must be an integer"),
    ROW("K14", "empty content", write_added, TEXT("[{\"id\": 5, \"content\": \"\"}]"), FORMAT,
        JSON "added token 0: empty content"),
    ROW("K14", "no content", write_added, TEXT("[{\"id\": 5}]"), FORMAT, JSON "added token 0: empty content"),
    ROW("K14", "a number as content", write_added, TEXT("[{\"id\": 5, \"content\": 7}]"), FORMAT,
        JSON "added token 0: content: must be a string"),
    ROW("K14", "content twice", write_added, TEXT("[{\"id\": 5, \"content\": \"x\"}, {\"id\": 6, \"content\": "
        "\"x\"}]"), FORMAT, JSON "added token 1: \"x\" has the ids 5 and 6"),
    ROW("K14", "content of another id", write_added, TEXT("[{\"id\": 5, \"content\": \"ab\"}]"), FORMAT,
        JSON "added token 0: \"ab\" has the ids 2 and 5"),
    ROW("K14", "1 MiB of content", write_long_added, 1 << 20, FORMAT,
        JSON "added token 0: token 5: 1048576 bytes exceed 4096"),
    ROW("K14", "a flag is a text", write_added, TEXT("[{\"id\": 5, \"content\": \"x\", \"lstrip\": \"no\"}]"), FORMAT,
        JSON "added token 0: lstrip: must be true or false"),
    ROW("K14", "normalized away", write_normalized_added, TEXT("{\"type\": \"Replace\", \"pattern\": {\"Regex\": "
        "\"a*b?\"}, \"content\": \"\"}"), FORMAT, JSON "added token with id 5: 0 bytes after normalization"),
    ROW("K14", "doubled 4 times by the normalizer", write_doubled_added, 4, OK, NULL),
    ROW("K14", "doubled 5 times", write_doubled_added, 5, FORMAT,
        JSON "added token with id 5: 1281 bytes after normalization"),
    ROW("K14", "doubled 15 times", write_doubled_added, 15, FORMAT,
        JSON "added token with id 5: normalizer: grows beyond 2336 bytes"),
    ROW("K14", "a slow pattern of the normalizer", write_normalized_added, TEXT("{\"type\": \"Replace\", "
        "\"pattern\": {\"Regex\": \"(a+)+$\"}, \"content\": \"\"}"), FORMAT,
        JSON "added token with id 5: normalizer: pattern exceeded its match limit"),
    ROW("K14", "decoder table is a list", write_config, TEXT("{\"added_tokens_decoder\": [1]}"), FORMAT,
        CONFIG "added_tokens_decoder: must be an object"),
    ROW("K14", "decoder id a word", write_config, TEXT("{\"added_tokens_decoder\": {\"x\": {}}}"), FORMAT,
        CONFIG "added_tokens_decoder: x: the id must be an integer"),
    ROW("K14", "decoder id 10^20", write_config, TEXT("{\"added_tokens_decoder\": {\"100000000000000000000\": "
        "{\"content\": \"x\"}}}"), FORMAT, CONFIG "added_tokens_decoder: 100000000000000000000: id "
        "9223372036854775807 is outside 0..4194303"),
    ROW("K14", "decoder id with a sign", write_config, TEXT("{\"added_tokens_decoder\": {\"+9\": {\"content\": "
        "\"x\"}}}"), FORMAT, CONFIG "added_tokens_decoder: +9: the id must be an integer"),
    ROW("K14", "decoder id with a blank", write_config, TEXT("{\"added_tokens_decoder\": {\" 9\": {\"content\": "
        "\"x\"}}}"), FORMAT, CONFIG "added_tokens_decoder:  9: the id must be an integer"),
    ROW("K14", "decoder id with a zero", write_config, TEXT("{\"added_tokens_decoder\": {\"09\": {\"content\": "
        "\"x\"}}}"), FORMAT, CONFIG "added_tokens_decoder: 09: the id must be an integer"),
    ROW("K14", "decoder id taken", write_config, TEXT("{\"added_tokens_decoder\": {\"3\": {\"content\": \"new\"}}}"),
        FORMAT, CONFIG "added_tokens_decoder: 3: id 3 belongs to \"q\" and \"new\""),
    ROW("K14", "decoder entry a number", write_config, TEXT("{\"added_tokens_decoder\": {\"9\": 7}}"), FORMAT,
        CONFIG "added_tokens_decoder: 9: empty content"),
    ROW("K14", "tiktoken: a rank's id", write_tiktoken_config, TEXT("{\"tokenizer_class\": \"TikTokenTokenizer\", "
        "\"added_tokens_decoder\": {\"97\": {\"content\": \"xyz\"}}}"), FORMAT,
        CONFIG "added_tokens_decoder: 97: id 97 belongs to \"a\" and \"xyz\""),

    /* ids that have a role */
    ROW("K15", "unk_token unknown", write_options, TEXT("\"unk_token\": \"<unk>\""), FORMAT,
        JSON "unk_token \"<unk>\" is not in the vocabulary"),
    ROW("K15", "eos_token unknown", write_config, TEXT("{\"eos_token\": \"</s>\"}"), FORMAT,
        CONFIG "eos_token: \"</s>\" is not in the vocabulary"),
    ROW("K15", "bos_token a number", write_config, TEXT("{\"bos_token\": 7}"), FORMAT,
        CONFIG "bos_token: must be a string"),
    ROW("K15", "add_bos_token a text", write_config, TEXT("{\"add_bos_token\": \"yes\"}"), FORMAT,
        CONFIG "add_bos_token: must be true or false"),
    ROW("K15", "configuration cut", write_config, TEXT("{\"bos_token\": "), FORMAT,
        CONFIG "JSON error at byte 14: the text ends too early"),
    ROW("K15", "tiktoken: no configuration", write_tiktoken_config, 0, IO,
        CONFIG "no such file, but tiktoken.model needs it"),
    ROW("K15", "tiktoken: another class", write_tiktoken_config, TEXT("{\"tokenizer_class\": \"QWenTokenizer\"}"),
        UNSUPPORTED, CONFIG "tokenizer_class: found \"QWenTokenizer\", with tiktoken.model only TikTokenTokenizer is "
        "supported"),
    ROW("K15", "GGUF: bos 6 of 6", gguf_bos, 6, FORMAT, KEYS "bos id 6 but the vocabulary has 6 tokens"),
    ROW("K15", "GGUF: bos 2^31", gguf_bos, 0x80000000u, FORMAT,
        KEY("bos_token_id") "found 2147483648, expected 0..2147483647"),
    ROW("K15", "GGUF: bos 2^32 - 1 means none", gguf_bos, UINT32_MAX, OK, NULL),
    ROW("K15", "GGUF: eos -2", gguf_eos, (uint32_t)-2, FORMAT,
        KEY("eos_token_id") "found -2, expected 0..2147483647"),
    ROW("K15", "GGUF: unknown 2^31 - 1", gguf_unknown, INT32_MAX, FORMAT,
        KEYS "unknown id 2147483647 but the vocabulary has 6 tokens"),
    ROW("K15", "GGUF: padding 2^63", gguf_padding, (uint64_t)1 << 63, FORMAT,
        KEY("padding_token_id") "found " HOSTILE_REST),
    ROW("K15", "GGUF: bos is a text", gguf_bos_type, STRING, FORMAT,
        KEY("bos_token_id") "found string, expected an integer"),
    ROW("K15", "GGUF: bos is a float", gguf_bos_type, FLOAT32, FORMAT,
        KEY("bos_token_id") "found float32, expected an integer"),
    ROW("K15", "GGUF: a default beyond the vocabulary", gguf_n_tokens, 2, FORMAT,
        KEYS "eos id 2 but the vocabulary has 2 tokens"),
    ROW("K15", "GGUF: one token", gguf_n_tokens, 1, FORMAT, KEYS "bos id 1 but the vocabulary has 1 token"),
    ROW("K15", "GGUF: add_bos_token is a number", gguf_flag_type, UINT32, FORMAT,
        KEY("add_bos_token") "found uint32, expected bool"),
    ROW("K15", "GGUF: add_eos_token without an id", gguf_flag_without_id, 0, FORMAT,
        KEYS "key \"tokenizer.ggml.add_eos_token\": is true, but there is no eos id"),

    /* patterns */
    ROW("K16", "empty", write_split, TEXT(""), FORMAT, JSON "pre_tokenizer 0: empty pattern"),
    ROW("K16", "open group", write_split, TEXT("a("), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not supported (offset 2)"),
    ROW("K16", "open class", write_split, TEXT("[a"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not supported (offset 0)"),
    ROW("K16", "nothing to repeat", write_split, TEXT("+"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not valid or not supported"),
    ROW("K16", "1 MiB", write_long_split, 1 << 20, FORMAT, JSON "pre_tokenizer 0: pattern: 1048576 bytes exceed 8192"),
    ROW("K16", "1000 groups deep", write_deep_split, 1000, UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not supported (offset 64)"),
    ROW("K16", "look-behind of any length", write_split, TEXT("(?<=a+)b"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not valid or not supported"),
    ROW("K16", "\\C", write_split, TEXT("ab\\\\C"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not supported (offset 2)"),
    ROW("K16", "callout", write_split, TEXT("a(?C1)"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not supported (offset 1)"),
    ROW("K16", "recursion", write_split, TEXT("a(?R)?"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not supported (offset 1)"),
    ROW("K16", "verb", write_split, TEXT("(*LIMIT_MATCH=9)a"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not supported (offset 0)"),
    ROW("K16", "copies of copies", write_split, TEXT("(((((a{1000}){1000}){1000}){1000}){1000})"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not valid or not supported"),
    ROW("K16", "a script that is none", write_split, TEXT("\\\\p{Klingon}"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not valid or not supported"),
    ROW("K16", "a number is too large", write_split, TEXT("a{99999999999}"), UNSUPPORTED,
        JSON "pre_tokenizer 0: pattern is not valid or not supported"),
    ROW("K17", "catastrophic, but only for some texts", write_split, TEXT("(a+)+$"), OK, NULL),

    /* steps */
    ROW("K18", "10000 sequences deep", write_deep_sequence, 10000, FORMAT, JSON "JSON nested deeper than 64"),
    ROW("K18", "NUL behind the type", write_decoder, TEXT("{\"type\": \"Fuse\\u0000x\"}"), FORMAT,
        JSON "decoder 0: type contains NUL"),
    ROW("K18", "100 long tokens to scan", write_scanning_decoder, 100, OK, NULL),
    ROW("K18", "200 long tokens to scan", write_scanning_decoder, 200, FORMAT,
        JSON "decoder: token 140: patterns of the file look at too much text of its tokens"),
    ROW("K18", "33 normalizers", write_many_normalizers, 32, FORMAT, JSON "normalizer 32: more than 32 steps"),
    ROW("K18", "33 pre-tokenizers", write_many_pre, 33, FORMAT, JSON "pre_tokenizer 32: more than 32 steps"),
    ROW("K18", "33 decoders", write_many_decoders, 33, FORMAT, JSON "decoder 32: more than 32 steps"),
    ROW("K18", "unknown normalizer", write_normalizer, TEXT("{\"type\": \"Nmt\"}"), UNSUPPORTED,
        JSON "normalizer 0: type \"Nmt\" is not supported"),
    ROW("K18", "unknown pre-tokenizer", write_pre, TEXT("{\"type\": \"\\u001b[2J\"}"), UNSUPPORTED,
        JSON "pre_tokenizer 0: type \"\\x1b[2J\" is not supported"),
    ROW("K18", "unknown decoder", write_decoder, TEXT("{\"type\": \"CTC\"}"), UNSUPPORTED,
        JSON "decoder 0: type \"CTC\" is not supported"),
    ROW("K18", "no type", write_normalizer, TEXT("{}"), FORMAT, JSON "normalizer 0: type is missing"),
    ROW("K18", "a number for a step", write_normalizer, TEXT("7"), FORMAT, JSON "normalizer 0: type is missing"),
    ROW("K18", "a sequence of nothing", write_normalizer, TEXT("{\"type\": \"Sequence\"}"), FORMAT,
        JSON "normalizer: Sequence without normalizers"),
    ROW("K18", "Replace of nothing", write_normalizer, TEXT("{\"type\": \"Replace\", \"pattern\": {\"String\": "
        "\"\"}, \"content\": \"x\"}"), FORMAT, JSON "normalizer 0: empty pattern"),
    ROW("K18", "Replace without content", write_normalizer, TEXT("{\"type\": \"Replace\", \"pattern\": {\"String\": "
        "\"a\"}}"), FORMAT, JSON "normalizer 0: content: missing"),
    ROW("K18", "Split without a pattern", write_pre, TEXT("{\"type\": \"Split\"}"), FORMAT,
        JSON "pre_tokenizer 0: pattern: must be {\"String\": ...} or {\"Regex\": ...}"),
    ROW("K18", "Split with a number as pattern", write_pre, TEXT("{\"type\": \"Split\", \"pattern\": {\"Regex\": 7}}"),
        FORMAT, JSON "pre_tokenizer 0: Regex: must be a string"),
    ROW("K18", "Split that behaves oddly", write_pre, TEXT("{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, "
        "\"behavior\": \"Odd\"}"), UNSUPPORTED, JSON "pre_tokenizer 0: behavior \"Odd\" is not known"),
    ROW("K18", "pieces of no length", write_pre, TEXT("{\"type\": \"FixedLength\", \"length\": 0}"), FORMAT,
        JSON "pre_tokenizer 0: length: must be positive"),
    ROW("K18", "Metaspace of two characters", write_pre, TEXT("{\"type\": \"Metaspace\", \"replacement\": \"ab\"}"),
        FORMAT, JSON "pre_tokenizer 0: replacement: must be one character"),
    ROW("K18", "Strip -1", write_decoder, TEXT("{\"type\": \"Strip\", \"content\": \"a\", \"start\": -1}"), FORMAT,
        JSON "decoder 0: start: -1 is outside 0..4194304"),
    ROW("K18", "a decoder that doubles 7 times", write_doubling_decoder, 7, FORMAT,
        JSON "decoder: makes 128 bytes of token 0, which has 1"),
    ROW("K18", "a decoder that doubles 31 times", write_doubling_decoder, 31, FORMAT,
        JSON "decoder: token 0: grows beyond 1056 bytes"),
    ROW("K18", "a slow pattern of the decoder", write_decoded, TEXT("{\"type\": \"Replace\", \"pattern\": "
        "{\"Regex\": \"(a+)+$\"}, \"content\": \"\"}"), FORMAT,
        JSON "decoder: token 0: pattern exceeded its match limit"),
    ROW("K19", "no base64", write_normalizer, TEXT("{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"!\"}"),
        UNSUPPORTED, JSON "normalizer 0: type \"Precompiled\" is not supported"),
    ROW("K19", "beyond its end", write_normalizer, TEXT("{\"type\": \"Precompiled\", \"precompiled_charsmap\": "
        "\"/////w==\"}"), UNSUPPORTED, JSON "normalizer 0: type \"Precompiled\" is not supported"),
    ROW("K19", "none", write_normalizer, TEXT("{\"type\": \"Precompiled\"}"), UNSUPPORTED,
        JSON "normalizer 0: type \"Precompiled\" is not supported"),

    /* what is put around a text */
    ROW("K20", "unknown token", write_post, TEXT("{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
        "{\"id\": \"[CLS]\"}}]}"), FORMAT, JSON "post_processor 0: unknown token \"[CLS]\""),
    ROW("K20", "sequence Z", write_post, TEXT("{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": "
        "{\"id\": \"Z\"}}]}"), FORMAT, JSON "post_processor 0: single: needs sequence A once"),
    ROW("K20", "sequence A twice", write_post, TEXT("{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": "
        "{\"id\": \"A\"}}, {\"Sequence\": {\"id\": \"A\"}}]}"), FORMAT,
        JSON "post_processor 0: single: needs sequence A once"),
    ROW("K20", "no sequence", write_post, TEXT("{\"type\": \"TemplateProcessing\", \"single\": []}"), FORMAT,
        JSON "post_processor 0: single: needs sequence A once"),
    ROW("K20", "a number", write_post, TEXT("{\"type\": \"TemplateProcessing\", \"single\": [7]}"), FORMAT,
        JSON "post_processor 0: single: piece 0 is neither Sequence nor SpecialToken"),
    ROW("K20", "no list", write_post, TEXT("{\"type\": \"TemplateProcessing\"}"), FORMAT,
        JSON "post_processor 0: single: must be a list"),
    ROW("K20", "an id without a token", write_post, TEXT("{\"type\": \"TemplateProcessing\", \"single\": "
        "[{\"SpecialToken\": {\"id\": \"x\"}}], \"special_tokens\": {\"x\": {\"ids\": [99]}}}"), FORMAT,
        JSON "post_processor 0: id 99 has no token"),
    ROW("K20", "an id of -1", write_post, TEXT("{\"type\": \"BertProcessing\", \"cls\": [\"a\", -1]}"), FORMAT,
        JSON "post_processor 0: id -1 has no token"),
    ROW("K20", "no id", write_post, TEXT("{\"type\": \"BertProcessing\", \"cls\": [\"a\"]}"), FORMAT,
        JSON "post_processor 0: the id must be an integer"),
    ROW("K20", "17 ids", write_post, TEXT("{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
        "{\"id\": \"x\"}}], \"special_tokens\": {\"x\": {\"ids\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}}"), FORMAT,
        JSON "post_processor 0: more than 16 ids"),
    ROW("K20", "unknown type", write_post, TEXT("{\"type\": \"Odd\"}"), UNSUPPORTED,
        JSON "post_processor 0: type \"Odd\" is not supported"),
    ROW("K20", "type_id -1, of which nothing is made", write_post, TEXT("{\"type\": \"TemplateProcessing\", "
        "\"single\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": -1}}]}"), OK, NULL),

    /* the arrays of GGUF files */
    ROW("K21", "int8", gguf_score_type, INT8, FORMAT,
        KEY("scores") "found array of int8, expected array of float32"),
    ROW("K21", "float64", gguf_score_type, FLOAT64, FORMAT,
        KEY("scores") "found array of float64, expected array of float32"),
    ROW("K21", "one too few", gguf_n_scores, 5, FORMAT,
        KEY("scores") "found 5 elements, expected 6, one for each token"),
    ROW("K21", "none", gguf_n_scores, 0, FORMAT, KEY("scores") "found 0 elements, expected 6, one for each token"),
    ROW("K21", "one too many", gguf_n_scores, 7, FORMAT,
        KEY("scores") "found 7 elements, expected 6, one for each token"),
    ROW("K21", "not a number", gguf_score_bits, 0x7fc00000, FORMAT,
        KEYS "key \"tokenizer.ggml.scores\": element 3: not a number"),
    ROW("K21", "infinite", gguf_score_bits, 0xff800000, OK, NULL),
    ROW("K21", "missing", gguf_no_scores, 0, FORMAT,
        KEYS "key \"tokenizer.ggml.scores\": missing, model \"llama\" needs it"),
    ROW("K22", "kind 99", gguf_kind, 99, FORMAT,
        KEYS "key \"tokenizer.ggml.token_type\": element 5: unknown kind 99"),
    ROW("K22", "kind 0", gguf_kind, 0, FORMAT, KEYS "key \"tokenizer.ggml.token_type\": element 5: unknown kind 0"),
    ROW("K22", "kind -1", gguf_kind, UINT32_MAX, FORMAT,
        KEYS "key \"tokenizer.ggml.token_type\": element 5: unknown kind -1"),
    ROW("K22", "too few", gguf_n_kinds, 3, FORMAT,
        KEY("token_type") "found 3 elements, expected 6, one for each token"),
    ROW("K22", "float32", gguf_kind_type, FLOAT32, FORMAT,
        KEY("token_type") "found array of float32, expected array of int32"),
    ROW("K22", "texts", gguf_kind_type, INT8, FORMAT,
        KEY("token_type") "found array of int8, expected array of int32"),
    ROW("K23", "2^31 tokens", gguf_promised_tokens, (uint64_t)1 << 31, FORMAT,
        KEY("tokens") "array count 2147483648 exceeds the limit 16777216"),
    ROW("K23", "16777216 tokens", gguf_promised_tokens, 16777216, FORMAT,
        KEY("tokens") "array of 16777216 strings cannot fit in the remaining " HOSTILE_NUMBER " bytes"),
    ROW("K23", "3 GB long", gguf_token_length, (uint64_t)3 << 30, FORMAT,
        KEY("tokens") "element 1: length 3221225472 exceeds the limit 16777216"),
    ROW("K23", "2^64 - 1 long", gguf_token_length, UINT64_MAX, FORMAT,
        KEY("tokens") "element 1: length 18446744073709551615 exceeds the limit 16777216"),
    ROW("K23", "longer than the file", gguf_token_length, 65, FORMAT,
        KEY("tokens") "element 1: length 65 exceeds the remaining 64 bytes"),
    ROW("K23", "4097 long", gguf_long_token, 4097, FORMAT, KEYS "token 5: 4097 bytes exceed 4096"),
    ROW("K23", "numbers", gguf_token_type, UINT32, FORMAT,
        KEY("tokens") "found array of uint32, expected array of string"),
    ROW("K23", "none", gguf_n_tokens, 0, FORMAT, KEYS "no tokens"),
    ROW("K23", "missing", gguf_no_tokens, 0, FORMAT, KEY("tokens") "missing"),
};
/* clang-format on */
const size_t n_hostile_tokenizer = sizeof hostile_tokenizer / sizeof *hostile_tokenizer;
