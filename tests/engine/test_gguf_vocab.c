/* The tokenizer keys of a GGUF file: their types and lengths, which tokenizer wins, and what is warned of. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/gguf_vocab.h"
#include "sluice/sluice.h"
#include "tests/support/folder.h"
#include "tests/support/gguf.h"
#include "text/vocab.h"
#include "weights/archive.h"

enum { UINT32 = 4, INT32 = 5, FLOAT32 = 6, BOOL = 7, STRING = 8, INT8 = 1 };

/* A SentencePiece vocabulary: <unk> <s> </s> a b ab. A case changes one thing. */
struct variant {
    const char *model, *pre, *json; /* NULL: without the key */
    size_t n_tokens, n_scores, n_types;
    unsigned score_type, type_type, token_type, bos_type, flag_type;
    uint32_t bos, kind;
    bool tokens_are_numbers;
    const char *name;
};

static const struct variant whole = {.model = "llama",
                                     .n_tokens = 6,
                                     .n_scores = 6,
                                     .n_types = 6,
                                     .score_type = FLOAT32,
                                     .type_type = INT32,
                                     .bos_type = UINT32,
                                     .flag_type = BOOL,
                                     .bos = 1,
                                     .kind = 1};

static void write_file(const struct variant *c, const struct test_folder *folder)
{
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "a", "b", "ab"};
    static const uint32_t kinds[] = {2, 3, 3, 1, 1, 1};
    struct gguf_draft d = {0};
    uint64_t n_keys = 7 + (c->pre != NULL) + (c->json != NULL) + (c->name != NULL) - (c->model == NULL);
    draft_start(&d, 3, 0, n_keys);
    draft_key_text(&d, "general.architecture", "llama");
    if (c->name) draft_key_text(&d, "general.name", c->name);
    if (c->model) draft_key_text(&d, "tokenizer.ggml.model", c->model);
    if (c->pre) draft_key_text(&d, "tokenizer.ggml.pre", c->pre);
    if (c->json) draft_key_text(&d, "tokenizer.huggingface.json", c->json);
    draft_array(&d, "tokenizer.ggml.tokens", c->tokens_are_numbers ? UINT32 : STRING, c->n_tokens);
    for (size_t i = 0; i < c->n_tokens; i++)
        if (c->tokens_are_numbers)
            draft_number(&d, i, 4);
        else
            draft_text(&d, tokens[i]);
    draft_array(&d, "tokenizer.ggml.scores", c->score_type, c->n_scores);
    draft_zeros(&d, c->n_scores * (c->score_type == INT8 ? 1 : 4));
    draft_array(&d, "tokenizer.ggml.token_type", c->type_type, c->n_types);
    for (size_t i = 0; i < c->n_types; i++) draft_number(&d, i == 5 ? c->kind : kinds[i], c->type_type == INT8 ? 1 : 4);
    if (c->bos_type == STRING)
        draft_key_text(&d, "tokenizer.ggml.bos_token_id", "<s>");
    else
        draft_key_number(&d, "tokenizer.ggml.bos_token_id", c->bos_type, c->bos, 4);
    draft_key_number(&d, "tokenizer.ggml.add_bos_token", c->flag_type, 1, c->flag_type == BOOL ? 1 : 4);
    draft_save(&d, folder, "m.gguf");
    draft_free(&d);
}

static sluice_status open_variant(const struct variant *c, struct vocab **v, char warning[512], struct failure *f)
{
    struct test_folder folder;
    struct archive *a = NULL;
    folder_create(&folder);
    write_file(c, &folder);
    sluice_status status = archive_open(&a, folder_path(&folder, "m.gguf"), 0, f);
    cr_assert_eq(status, SLUICE_OK, "%s", f->text);
    status = open_gguf_vocab(v, a, warning, 512, f);
    archive_close(&a);
    folder_remove(&folder);
    return status;
}

static void expect_failure(struct variant c, const char *expected)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    char warning[512];
    sluice_status status = open_variant(&c, &v, warning, &f);
    cr_expect_null(v);
    cr_expect(status == SLUICE_FORMAT || status == SLUICE_UNSUPPORTED);
    cr_expect_str_eq(f.text, expected, "\n  found:    %s\n  expected: %s", f.text, expected);
    vocab_free(&v);
}

static struct vocab *open_good(struct variant c, char warning[512])
{
    struct vocab *v = NULL;
    struct failure f = {0};
    cr_assert_eq(open_variant(&c, &v, warning, &f), SLUICE_OK, "%s", f.text);
    return v;
}

static void expect_ids(const struct vocab *v, const char *text, unsigned flags, const char *expected)
{
    int32_t ids[16];
    size_t n = 0, at = 0;
    char found[128] = "";
    cr_assert_eq(vocab_encode(v, text, strlen(text), flags, ids, 16, &n, NULL), SLUICE_OK);
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(found + at, sizeof found - at, i ? " %d" : "%d", ids[i]);
    cr_expect_str_eq(found, expected, "\"%s\": %s, expected %s", text, found, expected);
}

Test(gguf_vocab, opens)
{
    char warning[512];
    struct vocab *v = open_good(whole, warning);
    cr_expect_str_empty(warning);
    cr_expect_eq(vocab_bos_id(v), 1);
    expect_ids(v, "ab", 0, "1 0 5");
    vocab_free(&v);
}

Test(gguf_vocab, phi3_is_known_by_its_name)
{
    char warning[512];
    struct variant c = whole;
    c.name = "Phi-3.5 MoE";
    struct vocab *v = open_good(c, warning);
    expect_ids(v, "</s>\n ab", VOCAB_PARSE_SPECIAL | VOCAB_NO_BOS, "2 0 5");
    vocab_free(&v);
}

Test(gguf_vocab, a_file_may_have_no_tokenizer)
{
    char warning[512];
    struct variant c = whole;
    c.model = NULL;
    cr_expect_null(open_good(c, warning));
    c.model = "no_vocab";
    cr_expect_null(open_good(c, warning));
}

Test(gguf_vocab, tokenizer_json_inside_wins)
{
    char warning[512];
    struct variant c = whole;
    c.json =
        "{\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true}], \"model\": {\"type\": \"BPE\", "
        "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}}";
    c.bos = 3;
    struct vocab *v = open_good(c, warning);
    cr_expect_eq(vocab_bos_id(v), 3);
    expect_ids(v, "ab<s>", VOCAB_PARSE_SPECIAL, "3 2 3");
    vocab_free(&v);
    c.bos = 4;
    expect_failure(c, "m.gguf: tokenizer: bos id 4 but the vocabulary has 4 tokens");
    c.json = "{";
    expect_failure(c, "m.gguf: tokenizer.json: JSON error at byte 1: the text ends too early");
}

Test(gguf_vocab, ids_may_say_none)
{
    char warning[512];
    struct variant c = whole;
    c.bos = UINT32_MAX;
    struct vocab *v = open_good(c, warning);
    cr_expect_eq(vocab_bos_id(v), 1); /* what the model has by default */
    vocab_free(&v);
}

/* The file as a model path: what `sluice tokenize` does. */
Test(gguf_vocab, the_engine_opens_a_vocabulary_alone)
{
    struct test_folder folder;
    sluice_engine_options options = sluice_engine_options_default();
    options.flags = SLUICE_OPEN_TOKENIZER_ONLY;
    folder_create(&folder);
    for (int empty = 0; empty < 2; empty++) {
        struct variant c = whole;
        if (empty) c.model = NULL;
        write_file(&c, &folder);
        sluice_engine *e = NULL;
        sluice_error error = {0};
        int32_t ids[8];
        size_t n = 0;
        sluice_status status = sluice_engine_open(&e, folder_path(&folder, "m.gguf"), &options, &error);
        if (empty) {
            cr_expect_eq(status, SLUICE_FORMAT);
            cr_expect_str_eq(error.text, "m.gguf: has no tokenizer");
            continue;
        }
        cr_assert_eq(status, SLUICE_OK, "%s", error.text);
        cr_assert_eq(sluice_tokenize(e, "ab", 2, 0, ids, 8, &n, &error), SLUICE_OK);
        cr_expect(n == 3 && ids[0] == 1 && ids[1] == 0 && ids[2] == 5);
        sluice_engine_close(&e);
    }
    folder_remove(&folder);
}

Test(gguf_vocab, every_allocation_may_fail)
{
    struct test_folder folder;
    struct archive *a = NULL;
    char warning[512];
    folder_create(&folder);
    write_file(&whole, &folder);
    cr_assert_eq(archive_open(&a, folder_path(&folder, "m.gguf"), 0, NULL), SLUICE_OK);
    folder_remove(&folder);
    sluice_status status = SLUICE_MEMORY;
    for (uint64_t k = 1; k < 1000 && status; k++) {
        struct vocab *v = NULL;
        struct failure f = {0};
        memory_fail_after(k);
        status = open_gguf_vocab(&v, a, warning, sizeof warning, &f);
        memory_fail_after(0);
        cr_expect(status == SLUICE_OK || (status == SLUICE_MEMORY && strstr(f.text, "not enough memory")));
        cr_expect_eq(v != NULL, status == SLUICE_OK);
        vocab_free(&v);
    }
    cr_expect_eq(status, SLUICE_OK);
    archive_close(&a);
}

Test(gguf_vocab, types_and_lengths)
{
    struct variant c = whole;
    c.score_type = INT8;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.scores\": found array of int8, expected array of float32");
    c = whole;
    c.n_scores = 5;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.scores\": found 5 elements, expected 6, one for each token");
    c = whole;
    c.type_type = FLOAT32;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.token_type\": found array of float32, expected array of int32");
    c = whole;
    c.n_types = 3;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.token_type\": found 3 elements, expected 6, one for each token");
    c = whole;
    c.kind = 99;
    expect_failure(c, "m.gguf: tokenizer: key \"tokenizer.ggml.token_type\": element 5: unknown kind 99");
    c = whole;
    c.tokens_are_numbers = true;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.tokens\": found array of uint32, expected array of string");
    c = whole;
    c.n_tokens = c.n_scores = c.n_types = 0;
    expect_failure(c, "m.gguf: tokenizer: no tokens");
    c = whole;
    c.bos_type = STRING;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.bos_token_id\": found string, expected an integer");
    c = whole;
    c.bos = 0x80000000u;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.bos_token_id\": found 2147483648, expected 0..2147483647");
    c = whole;
    c.bos = 6;
    expect_failure(c, "m.gguf: tokenizer: bos id 6 but the vocabulary has 6 tokens");
    c = whole;
    c.flag_type = UINT32;
    expect_failure(c, "m.gguf: key \"tokenizer.ggml.add_bos_token\": found uint32, expected bool");
    c = whole;
    c.model = "bert";
    expect_failure(c, "m.gguf: tokenizer: model \"bert\" is not supported (known: gpt2, llama, gemma4)");
    c = whole;
    c.model = "gpt2";
    expect_failure(c, "m.gguf: tokenizer: key \"tokenizer.ggml.merges\": missing, model \"gpt2\" needs it");
}
