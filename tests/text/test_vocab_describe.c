/* tokenizer.json -> GGUF keys -> tokenizer: where the description says that it is exact, the ids are the same. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "golden_files.h"
#include "text/vocab_internal.h"

struct expectation {
    char name[24], model[8], pre[16];
    bool exact;
};

static struct expectation expectations[] = {
    {"demo", "gpt2", "hunyuan", true},
    {"mistral", "llama", "default", true},
    {"deepseek", "gpt2", "deepseek-v3", true},
    {"llama3", "gpt2", "llama-bpe", true},
    {"qwen2", "gpt2", "qwen2", true},
    {"starcoder", "gpt2", "starcoder", true},
    {"o200k", "gpt2", "gpt-4o", true},
    {"kimi", "gpt2", "kimi-k2", true},
    {"moonshot", "gpt2", "kimi-k2", true},
    {"harmony", "gpt2", "gpt-4o", true},
    {"gemma", "llama", "default", true},
    /* A blank in front of each text, added tokens that strip; NFKC; NFKD; patterns without a name */
    {"gpt2", "gpt2", "default", false},
    {"anthropic", "gpt2", "default", false},
    {"cl100k", "gpt2", "default", false},
    {"dsllm", "gpt2", "default", false},
    {"digits", "gpt2", "default", false},
    {"byte_normalizer", "gpt2", "default", false},
    {"metaspace_always", "llama", "default", false},
    {"metaspace_first", "llama", "default", false},
    {"metaspace_never", "llama", "default", false},
    {"whitespace", "llama", "default", false},
    {"bert", "llama", "default", false},
    {"behaviors", "llama", "default", false},
};

static void expect_same_ids(const struct vocab *a, const struct vocab *b, const char *name, const char *text, size_t n)
{
    for (unsigned flags = 0; flags < 4; flags++) {
        size_t n_a = 0, n_b = 0;
        struct failure f = {0};
        int32_t *ids = malloc((2 * n + 64) * 8 * sizeof *ids), *others = ids + (2 * n + 64) * 4;
        cr_assert_eq(vocab_encode(a, text, n, flags, ids, (2 * n + 64) * 4, &n_a, &f), SLUICE_OK, "%s", f.text);
        cr_assert_eq(vocab_encode(b, text, n, flags, others, (2 * n + 64) * 4, &n_b, &f), SLUICE_OK, "%s", f.text);
        cr_expect(n_a == n_b && memcmp(ids, others, n_a * sizeof *ids) == 0, "%s: \"%s\", flags %u: %zu and %zu ids",
                  name, text, flags, n_a, n_b);
        free(ids);
    }
}

ParameterizedTestParameters(vocab_describe, gives_the_same_ids_where_it_is_exact)
{
    return cr_make_param_array(struct expectation, expectations, sizeof expectations / sizeof *expectations);
}

ParameterizedTest(struct expectation *c, vocab_describe, gives_the_same_ids_where_it_is_exact)
{
    struct vocab *v = golden_vocab(c->name), *again = NULL;
    struct vocab_source source;
    struct failure f = {0};
    bool exact;
    cr_assert_eq(vocab_describe(v, 0, &source, &exact, &f), SLUICE_OK, "%s", f.text);
    cr_expect_str_eq(source.model, c->model, "%s: %s", c->name, source.model);
    cr_expect_str_eq(source.pre, c->pre, "%s: %s", c->name, source.pre);
    cr_expect_eq(exact, c->exact, "%s", c->name);
    cr_expect_eq(source.n_tokens, (size_t)vocab_size(v));
    if (exact) {
        cr_assert_eq(vocab_create_gguf(&again, &source, &f), SLUICE_OK, "%s: %s", c->name, f.text);
        json_t *corpus = golden_json("corpus.json"), *text;
        size_t i;
        json_array_foreach(corpus, i, text)
            expect_same_ids(v, again, c->name, json_string_value(text), json_string_length(text));
        json_decref(corpus);
        vocab_free(&again);
    }
    vocab_source_free(&source);
    vocab_free(&v);
}

/* The file of `name` with parts of it replaced: {key, JSON}. */
static struct vocab *changed(const char *name, const char *const (*changes)[2], size_t n_changes)
{
    char file[64];
    snprintf(file, sizeof file, "%s.tokenizer.json", name);
    json_t *json = golden_json(file);
    for (size_t i = 0; i < n_changes; i++) {
        json_t *value = json_loads(changes[i][1], JSON_DECODE_ANY, NULL);
        cr_assert_not_null(value);
        json_object_set_new(json, changes[i][0], value);
    }
    char *text = json_dumps(json, 0);
    struct vocab *v = NULL;
    struct failure f = {0};
    cr_assert_eq(vocab_create(&v, text, strlen(text), NULL, 0, &f), SLUICE_OK, "%s", f.text);
    free(text);
    json_decref(json);
    return v;
}

static void expect_description(struct vocab *v, const char *pre, bool expected, int add_bos)
{
    struct vocab_source source;
    struct failure f = {0};
    bool exact = !expected;
    cr_assert_eq(vocab_describe(v, 0, &source, &exact, &f), SLUICE_OK, "%s", f.text);
    cr_expect_str_eq(source.pre, pre);
    cr_expect_eq(exact, expected);
    cr_expect_eq(source.add_bos, add_bos);
    vocab_source_free(&source);
    vocab_free(&v);
}

#define GPT2_STEP "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"

Test(vocab_describe, gpt2_style)
{
    static const char *const plain[][2] = {
        {"pre_tokenizer", GPT2_STEP}, {"added_tokens", "[]"}, {"post_processor", "null"}};
    expect_description(changed("gpt2", plain, 3), "gpt-2", true, 0);
}

/* One thing at a time that GGUF has no word for. */
Test(vocab_describe, inexact)
{
    static const char *const cases[][2] = {
        {"added_tokens", "[{\"id\": 4093, \"content\": \"<|endoftext|>\", \"lstrip\": true}]"},
        {"added_tokens", "[{\"id\": 4093, \"content\": \"<|endoftext|>\", \"single_word\": true}]"},
        {"normalizer", "{\"type\": \"NFD\"}"},
        {"normalizer", "{\"type\": \"Lowercase\"}"},
        {"post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}, "
                           "{\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {\"x\": {\"ids\": [4, 5]}}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool normalizes = strcmp(cases[i][0], "normalizer") == 0;
        expect_description(changed("demo", &cases[i], 1), normalizes ? "default" : "hunyuan", false,
                           strcmp(cases[i][0], "post_processor") == 0);
    }
}

/* Added tokens that are found in a second pass: exact where the order cannot matter. */
Test(vocab_describe, two_passes)
{
    static const struct {
        const char *first, *second; /* found as it is, found normalized */
        bool exact;
    } cases[] = {
        {"<a>", "[b]", true}, {"<a>", "x<a>y", false}, {"<a>", "<a>y", false},
        {"<a>", "x<", false}, {"<a>", ">x", true},     {"<a>", ">>", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char list[256];
        snprintf(list, sizeof list,
                 "[{\"id\": 5000, \"content\": \"%s\"}, {\"id\": 5001, \"content\": \"%s\", \"normalized\": true}]",
                 cases[i].first, cases[i].second);
        const char *const change[][2] = {{"added_tokens", list}};
        expect_description(changed("demo", change, 1), "hunyuan", cases[i].exact, 0);
    }
}

Test(vocab_describe, template_names_bos)
{
    static const char *const cases[][2] = {
        {"post_processor", "{\"type\": \"BertProcessing\", \"cls\": [\"a\", 4093], \"sep\": [\"b\", 4094]}"}};
    struct vocab *v = changed("demo", cases, 1);
    struct vocab_source s;
    bool exact;
    cr_assert_eq(vocab_describe(v, 0, &s, &exact, NULL), SLUICE_OK);
    cr_expect(exact && s.bos == 4093 && s.eos == 4094 && s.add_bos == 1 && s.add_eos == 1);
    vocab_source_free(&s);
    vocab_free(&v);
}

/* Kinds, scores, and unused tokens up to the size of the embedding. */
Test(vocab_describe, arrays)
{
    struct vocab *v = golden_vocab("mistral");
    struct vocab_source s;
    bool exact;
    cr_assert_eq(vocab_describe(v, 32064, &s, &exact, NULL), SLUICE_OK);
    cr_expect_eq(s.n_tokens, 32064);
    cr_expect(s.types[0] == 3 && s.types[1] == 3 && s.types[2] == 3 && s.types[3] == 6 && s.types[259] == 1);
    cr_expect(s.types[32000] == 5 && s.types[32063] == 5);
    cr_expect(s.token_lengths[32063] == 10 && memcmp(s.tokens[32063], "[PAD32063]", 10) == 0);
    cr_expect(s.unknown == -1 && s.padding == -1 && s.add_bos == 1 && s.bos == 1 && s.add_space_prefix == 1);
    int32_t in = token_find(v, "\xe2\x96\x81in", 5), the = token_find(v, "\xe2\x96\x81the", 6);
    cr_expect(s.scores[in] < s.scores[the] && s.scores[the] < 0, "%g %g", s.scores[in], s.scores[the]);
    struct vocab *again = NULL;
    struct failure f = {0};
    cr_assert_eq(vocab_create_gguf(&again, &s, &f), SLUICE_OK, "%s", f.text);
    cr_expect_eq(vocab_size(again), 32064);
    /* Other programs go by the scores alone: the same ids, but for rare overlaps. */
    struct vocab *by_score = NULL;
    struct vocab_source scores_only = s;
    scores_only.merges = NULL;
    cr_assert_eq(vocab_create_gguf(&by_score, &scores_only, &f), SLUICE_OK, "%s", f.text);
    static const char text[] = "The quick brown fox jumps over the lazy dog; \xc3\xa9t\xc3\xa9 1234   x";
    expect_same_ids(again, by_score, "mistral", text, sizeof text - 1);
    vocab_source_free(&s);
    vocab_free(&by_score);
    vocab_free(&again);
    vocab_free(&v);
}
