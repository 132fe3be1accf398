/* The tokenizer against Hugging Face's: the same ids and the same text for every string of the corpus and every golden
 * tokenizer (made by tools/reference/make_tokenizer_goldens.py), those in GGUF form included (there against
 * SentencePiece, too: make_gguf_vocab_goldens.py). */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden_files.h"

/* Copied by value into each test's process. */
static char names[][24] = {
    "deepseek",
    "anthropic",
    "demo",
    "mistral",
    "llama3",
    "gpt2",
    "qwen2",
    "o200k",
    "cl100k",
    "kimi",
    "dsllm",
    "starcoder",
    "digits",
    "metaspace_always",
    "metaspace_first",
    "metaspace_never",
    "whitespace",
    "bert",
    "behaviors",
    "byte_normalizer",
    "moonshot",
    "gemma",
    "harmony",
    "gguf/gpt-2",
    "gguf/mpt",
    "gguf/deepseek-llm",
    "gguf/deepseek-coder",
    "gguf/llama-spm",
    "gguf/phi-3",
    "gguf/gemma4",
};

struct golden {
    const char *name;
    json_t *corpus, *expected;
    struct vocab *vocab;
    size_t n_bad, n_checked;
};

static struct golden open_golden(const char *name)
{
    char file[128];
    snprintf(file, sizeof file, "%s.golden.json", name);
    struct golden g = {.name = name, .corpus = golden_json("corpus.json"), .expected = golden_json(file)};
    g.vocab = golden_vocab(name);
    return g;
}

static void close_golden(struct golden *g)
{
    json_decref(g->corpus);
    json_decref(g->expected);
    vocab_free(&g->vocab);
}

/* What the golden file says about string `i` under `key`, or NULL. */
static const json_t *by_index(const struct golden *g, const char *key, size_t i)
{
    char index[24];
    snprintf(index, sizeof index, "%zu", i);
    return json_object_get(json_object_get(g->expected, key), index);
}

static size_t read_ids(const json_t *list, int32_t *ids)
{
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static void report(struct golden *g, size_t i, const char *what)
{
    char shown[ESCAPED_BYTES];
    const json_t *text = json_array_get(g->corpus, i);
    escape_text(shown, sizeof shown, json_string_value(text), json_string_length(text));
    if (g->n_bad++ < 20) fprintf(stderr, "%s: string %zu \"%s\": %s differ\n", g->name, i, shown, what);
}

static void check_encode(struct golden *g, size_t i, unsigned flags, const int32_t *expected, size_t n_expected)
{
    const json_t *text = json_array_get(g->corpus, i);
    size_t n = 0, n_again = 0;
    struct failure f = {0};
    int32_t *ids = malloc((n_expected + 1) * sizeof *ids);
    sluice_status status =
        vocab_encode(g->vocab, json_string_value(text), json_string_length(text), flags, ids, n_expected, &n, &f);
    cr_assert_eq(status, SLUICE_OK, "%s: string %zu: %s", g->name, i, f.text);
    vocab_encode(g->vocab, json_string_value(text), json_string_length(text), flags, NULL, 0, &n_again, &f);
    cr_assert_eq(n, n_again);
    if (n != n_expected || memcmp(ids, expected, n * sizeof *ids) != 0) report(g, i, "ids");
    g->n_checked++;
    free(ids);
}

static void check_decode(struct golden *g, size_t i, unsigned flags, const int32_t *ids, size_t n,
                         const json_t *expected)
{
    if (json_is_null(expected)) return; /* the one known difference, see decode.c */
    struct text_buffer out = decode_all(g->vocab, ids, n, flags | VOCAB_DECODE_REPLACE);
    if (out.n != json_string_length(expected) || memcmp(out.data, json_string_value(expected), out.n) != 0)
        report(g, i, flags & VOCAB_DECODE_SPECIAL ? "texts" : "texts without special tokens");
    g->n_checked++;
    text_buffer_free(&out);
}

static void check_string(struct golden *g, size_t i)
{
    const json_t *list = json_array_get(json_object_get(g->expected, "ids"), i);
    const json_t *text = json_array_get(g->corpus, i), *other;
    if (json_is_null(list)) return;
    int32_t *ids = malloc((json_array_size(list) + json_string_length(text) * 4 + 64) * sizeof *ids);
    size_t n = read_ids(list, ids);
    check_encode(g, i, VOCAB_NO_BOS, ids, n);
    other = by_index(g, "decoded", i);
    check_decode(g, i, VOCAB_DECODE_SPECIAL, ids, n, other ? other : text);

    const json_t *special = by_index(g, "special", i), *shown = by_index(g, "shown", i);
    const json_t *hidden = by_index(g, "hidden", i);
    if (special) n = read_ids(special, ids);
    check_encode(g, i, VOCAB_NO_BOS | VOCAB_PARSE_SPECIAL, ids, n);
    if (!shown) shown = text;
    check_decode(g, i, VOCAB_DECODE_SPECIAL, ids, n, shown);
    check_decode(g, i, 0, ids, n, hidden ? hidden : shown);

    const json_t *before = json_object_get(g->expected, "before"), *after = json_object_get(g->expected, "after");
    size_t n_before = json_array_size(before);
    memmove(ids + n_before, ids, n * sizeof *ids);
    read_ids(before, ids);
    n += n_before + read_ids(after, ids + n_before + n);
    check_encode(g, i, VOCAB_PARSE_SPECIAL, ids, n);
    free(ids);
}

/* The texts that llama.cpp's project tests its vocabularies with, and what the original tokenizers make of them. */
static void check_cases(struct golden *g)
{
    char file[128];
    snprintf(file, sizeof file, "%s.cases.json", g->name);
    json_t *cases = golden_json(file);
    cr_assert_eq(json_array_size(cases), 47);
    for (size_t i = 0; i < 47; i++) {
        const json_t *text = json_array_get(json_array_get(cases, i), 0);
        int32_t expected[1024], ids[1024];
        size_t n_expected = read_ids(json_array_get(json_array_get(cases, i), 1), expected), n = 0;
        for (unsigned flags = 0; flags <= VOCAB_PARSE_SPECIAL; flags++) {
            struct failure f = {0};
            sluice_status status = vocab_encode(g->vocab, json_string_value(text), json_string_length(text),
                                                flags | VOCAB_NO_BOS, ids, 1024, &n, &f);
            cr_assert_eq(status, SLUICE_OK, "%s", f.text);
            cr_expect(n == n_expected && memcmp(ids, expected, n * sizeof *ids) == 0, "%s: text %zu differs", g->name,
                      i);
        }
    }
    json_decref(cases);
}

ParameterizedTestParameters(vocab_golden, equals_the_reference_on_the_corpus)
{
    return cr_make_param_array(char[24], names, sizeof names / sizeof *names);
}

ParameterizedTest(char name[24], vocab_golden, equals_the_reference_on_the_corpus)
{
    struct golden g = open_golden(name);
    size_t n = json_array_size(g.corpus);
    cr_assert_gt(n, 500);
    for (size_t i = 0; i < n; i++) check_string(&g, i);
    cr_expect_eq(g.n_bad, 0, "%s: %zu of %zu comparisons differ", g.name, g.n_bad, g.n_checked);
    if (strncmp(name, "gguf/", 5) == 0) check_cases(&g);
    close_golden(&g);
}
