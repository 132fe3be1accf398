/* What vocab.h promises beyond equality with the reference: special tokens, begin and end of text, streams, long
 * inputs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden_files.h"
#include "text/vocab_internal.h"

static size_t encode(const struct vocab *v, const char *text, unsigned flags, int32_t *ids, size_t cap)
{
    size_t n = 0;
    struct failure f = {0};
    cr_assert_eq(vocab_encode(v, text, strlen(text), flags, ids, cap, &n, &f), SLUICE_OK, "%s", f.text);
    return n;
}

static struct vocab *with_config(const char *name, const char *config)
{
    char file[128];
    snprintf(file, sizeof file, "%s.tokenizer.json", name);
    size_t n;
    char *data = golden_read(file, &n);
    struct vocab *v = NULL;
    struct failure f = {0};
    cr_assert_eq(vocab_create(&v, data, n, config, strlen(config), &f), SLUICE_OK, "%s", f.text);
    free(data);
    return v;
}

Test(vocab, special_text_is_text_unless_asked)
{
    struct vocab *v = golden_vocab("demo");
    int32_t text[64], special[64];
    size_t n_text = encode(v, "a<|im_end|>b", 0, text, 64);
    size_t n_special = encode(v, "a<|im_end|>b", VOCAB_PARSE_SPECIAL, special, 64);
    cr_expect_eq(n_special, 3);
    cr_expect_eq(special[1], 4095);
    cr_expect(vocab_is_special(v, 4095) && !vocab_is_special(v, 4) && !vocab_is_special(v, -1));
    cr_expect_gt(n_text, 3);
    for (size_t i = 0; i < n_text; i++) cr_expect(!vocab_is_special(v, text[i]));
    struct text_buffer hidden = decode_all(v, special, 3, 0);
    struct text_buffer shown = decode_all(v, special, 3, VOCAB_DECODE_SPECIAL);
    cr_expect_str_eq(hidden.data, "ab");
    cr_expect_str_eq(shown.data, "a<|im_end|>b");
    text_buffer_free(&hidden);
    text_buffer_free(&shown);
    vocab_free(&v);
}

/* mistral's file has a template with <s>; demo's has no post-processor. */
Test(vocab, post_processor_decides_before_config)
{
    static const char named[] = "\"bos_token\": \"<|im_start|>\", \"eos_token\": {\"content\": \"<|im_end|>\"}";
    static const char llama[] = "\"tokenizer_class\": \"LlamaTokenizerFast\"";
    static const struct {
        const char *name, *more;
        size_t n;
        int32_t first, last;
    } cases[] = {
        {"mistral", "\"add_bos_token\": false", 2, 1, -1},
        {"mistral", "\"add_bos_token\": true, \"add_eos_token\": true", 2, 1, -1},
        {"demo", "\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"add_bos_token\": true", 1, -1, -1},
        {"demo", llama, 1, -1, -1},
        {"demo", "\"tokenizer_class\": \"LlamaTokenizer\", \"add_bos_token\": true", 2, 4094, -1},
        {"demo", "\"tokenizer_class\": \"GemmaTokenizerFast\", \"add_bos_token\": true, \"add_eos_token\": true", 3,
         4094, 4095},
        {"demo", "\"tokenizer_class\": \"LlamaTokenizerFaster\", \"add_bos_token\": true", 1, -1, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[512];
        bool demo = strcmp(cases[i].name, "demo") == 0;
        snprintf(config, sizeof config, "{%s%s%s}", demo ? named : "", demo ? ", " : "", cases[i].more);
        struct vocab *v = with_config(cases[i].name, config);
        int32_t ids[8];
        size_t n = encode(v, "a", 0, ids, 8);
        cr_expect_eq(n, cases[i].n, "case %zu: %zu ids", i, n);
        if (cases[i].first >= 0) cr_expect_eq(ids[0], cases[i].first, "case %zu", i);
        if (cases[i].last >= 0) cr_expect_eq(ids[n - 1], cases[i].last, "case %zu", i);
        cr_expect_eq(encode(v, "a", VOCAB_NO_BOS, ids, 8), 1);
        vocab_free(&v);
    }
}

Test(vocab, config_names_bos_and_eos)
{
    struct vocab *v = with_config("mistral", "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}}");
    cr_expect_eq(vocab_bos_id(v), 1);
    cr_expect_eq(vocab_eos_id(v), 2);
    cr_expect_eq(vocab_size(v), 32000);
    cr_expect_gt(vocab_bytes(v), 1000000);
    vocab_free(&v);
    v = golden_vocab("mistral");
    cr_expect_eq(vocab_bos_id(v), -1);
    vocab_free(&v);
    vocab_free(&v);
}

Test(vocab, config_adds_tokens)
{
    struct vocab *v =
        with_config("mistral", "{\"added_tokens_decoder\": {\"32000\": {\"content\": \"<new>\", \"special\": true}, "
                               "\"32001\": {\"content\": \"[new]\"}}}");
    int32_t ids[8];
    cr_expect_eq(vocab_size(v), 32002);
    cr_expect(vocab_is_special(v, 32000) && !vocab_is_special(v, 32001));
    cr_expect_eq(encode(v, "<new>[new]", VOCAB_PARSE_SPECIAL | VOCAB_NO_BOS, ids, 8), 2);
    cr_expect(ids[0] == 32000 && ids[1] == 32001);
    vocab_free(&v);
}

Test(vocab, input_must_be_utf8)
{
    struct vocab *v = golden_vocab("demo");
    static const struct {
        const char *text;
        size_t n, at;
    } cases[] = {
        {"ab\xff", 3, 2}, {"\xe4\xbd", 2, 0}, {"a\xc0\x80", 3, 1}, {"\xed\xa0\x80", 3, 0}, {"a\xf4\x90\x80\x80", 5, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct failure f = {0};
        size_t n;
        char expected[64];
        snprintf(expected, sizeof expected, "input: not UTF-8 at byte %zu", cases[i].at);
        cr_expect_eq(vocab_encode(v, cases[i].text, cases[i].n, 0, NULL, 0, &n, &f), SLUICE_ARGUMENT);
        cr_expect_str_eq(f.text, expected);
    }
    vocab_free(&v);
}

Test(vocab, token_bytes_are_fragments_of_text)
{
    struct vocab *v = golden_vocab("mistral");
    size_t n;
    const char *bytes = vocab_token_bytes(v, token_find(v, "<0xE4>", 6), &n);
    cr_expect(n == 1 && bytes[0] == '\xe4');
    bytes = vocab_token_bytes(v, token_find(v, "\xe2\x96\x81the", 6), &n);
    cr_expect(n == 4 && memcmp(bytes, " the", 4) == 0);
    vocab_token_bytes(v, -1, &n);
    cr_expect_eq(n, 0);
    vocab_token_bytes(v, vocab_size(v), &n);
    cr_expect_eq(n, 0);
    vocab_free(&v);
}

/* Random tokens: whatever a model emits, each piece is whole characters, and nothing is lost without REPLACE. */
Test(vocab, streams_of_random_tokens)
{
    static const char *const names[] = {"demo", "mistral", "metaspace_always", "bert"};
    uint64_t random = 88172645463325252u;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct vocab *v = golden_vocab(names[k]);
        for (int round = 0; round < 200; round++) {
            int32_t ids[64];
            for (size_t i = 0; i < 64; i++) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                ids[i] = (int32_t)(random % ((uint64_t)(random & 1024 ? 300 : vocab_size(v)) + 2)) - 1;
            }
            struct text_buffer whole = decode_all(v, ids, 64, VOCAB_DECODE_REPLACE);
            struct text_buffer raw = decode_all(v, ids, 64, VOCAB_DECODE_CONTINUE);
            size_t total = 0, n;
            for (size_t i = 0; i < 64; i++)
                if (!vocab_is_special(v, ids[i])) vocab_token_bytes(v, ids[i], &n), total += n;
            if (k < 2) cr_expect_eq(raw.n, total);
            cr_expect_eq(utf8_valid_bytes(whole.data, whole.n), whole.n);
            text_buffer_free(&whole);
            text_buffer_free(&raw);
        }
        vocab_free(&v);
    }
}

Test(vocab, broken_bytes_are_replaced_or_passed_on)
{
    struct vocab *v = golden_vocab("mistral");
    int32_t ids[4] = {token_find(v, "<0xE4>", 6), token_find(v, "<0xBD>", 6), token_find(v, "a", 1)};
    struct text_buffer replaced = decode_all(v, ids, 3, VOCAB_DECODE_REPLACE), raw = decode_all(v, ids, 3, 0);
    cr_expect_str_eq(replaced.data, "\xef\xbf\xbd\xef\xbf\xbd"
                                    "a");
    cr_expect_str_eq(raw.data, "\xe4\xbd"
                               "a");
    text_buffer_free(&replaced);
    text_buffer_free(&raw);
    struct text_decoder d;
    struct text_buffer out = {0};
    text_decoder_init(&d, v, VOCAB_DECODE_REPLACE);
    text_decoder_push(&d, ids[0], &out);
    text_decoder_push(&d, ids[1], &out);
    cr_expect_eq(out.n, 0, "half a character was shown");
    text_decoder_push(&d, token_find(v, "<0xA0>", 6), &out);
    cr_expect(out.n == 3 && memcmp(out.data, "\xe4\xbd\xa0", 3) == 0);
    text_buffer_free(&out);
    vocab_free(&v);
}

Test(vocab, a_continued_text_keeps_its_first_blank)
{
    struct vocab *v = golden_vocab("mistral");
    int32_t id = token_find(v, "\xe2\x96\x81the", 6);
    struct text_buffer begin = decode_all(v, &id, 1, 0), more = decode_all(v, &id, 1, VOCAB_DECODE_CONTINUE);
    cr_expect_str_eq(begin.data, "the");
    cr_expect_str_eq(more.data, " the");
    text_buffer_free(&begin);
    text_buffer_free(&more);
    vocab_free(&v);
}

/* `bytes` of one unit, and an end that stops look-aheads: no limit is hit, and it ends. */
static void encode_run(const struct vocab *v, size_t bytes, const char *unit, const char *end)
{
    size_t n_unit = strlen(unit), n_end = strlen(end), count = bytes / n_unit, n = 0;
    char *text = malloc(count * n_unit + n_end + 1);
    for (size_t i = 0; i < count; i++) memcpy(text + i * n_unit, unit, n_unit);
    memcpy(text + count * n_unit, end, n_end + 1);
    struct failure f = {0};
    cr_expect_eq(vocab_encode(v, text, count * n_unit + n_end, 0, NULL, 0, &n, &f), SLUICE_OK, "%s%s: %s", unit, end,
                 f.text);
    free(text);
}

Test(vocab, runs_of_a_megabyte_end)
{
    static const struct {
        const char *name, *unit, *end;
    } cases[] = {
        {"deepseek", " ", "x"}, {"deepseek", "a", ""}, {"mistral", "a", ""},
        {"kimi", "A", ""},      {"dsllm", " ", "x"},   {"o200k", "A", "1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vocab *v = golden_vocab(cases[i].name);
        encode_run(v, 1 << 20, cases[i].unit, cases[i].end);
        vocab_free(&v);
    }
}

Test(vocab, runs_of_all_kinds_end)
{
    static const char *const names[] = {"anthropic", "o200k",      "kimi",           "dsllm",
                                        "cl100k",    "whitespace", "metaspace_first"};
    static const char *const units[] = {"a",        "A",   " ",  "\n", "\t", "1", "!", "Aa", "\xe4\xb8\xad",
                                        "\xcc\x80", "<s>", " \n"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct vocab *v = golden_vocab(names[i]);
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) encode_run(v, 1 << 16, units[k], k % 2 ? "x" : "");
        vocab_free(&v);
    }
}

/* Combining marks in the worst order for a normal form: sorting them must not be quadratic. */
Test(vocab, long_disordered_marks_end)
{
    struct vocab *v = golden_vocab("qwen2");
    encode_run(v, 1 << 20, "\xcc\x80\xcc\xa3", "x");
    vocab_free(&v);
}
