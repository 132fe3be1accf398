/* Vocabularies from GGUF keys: what the kinds of tokens mean, pre-tokenizers by name, and malformed keys, each of which
 * must give exactly its one line. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/gguf_vocab.h"
#include "golden_files.h"
#include "tests/support/folder.h"
#include "text/vocab_internal.h"
#include "weights/archive.h"

enum { MAX_PARTS = 300, NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

/* A source that can be changed in one place. */
struct parts {
    struct vocab_source source;
    const char *tokens[MAX_PARTS], *merges[MAX_PARTS];
    size_t lengths[MAX_PARTS], merge_lengths[MAX_PARTS];
    int32_t types[MAX_PARTS];
    float scores[MAX_PARTS];
    char texts[256][8];
};

static void put(struct parts *p, const char *text, int type, float score)
{
    size_t i = p->source.n_tokens++;
    p->tokens[i] = text;
    p->lengths[i] = strlen(text);
    p->types[i] = type;
    p->scores[i] = score;
}

static void put_merge(struct parts *p, const char *text)
{
    p->merges[p->source.n_merges] = text;
    p->merge_lengths[p->source.n_merges++] = strlen(text);
}

static struct parts *start(const char *model)
{
    struct parts *p = calloc(1, sizeof *p);
    p->source = (struct vocab_source){.model = model,
                                      .tokens = p->tokens,
                                      .token_lengths = p->lengths,
                                      .types = p->types,
                                      .bos = -1,
                                      .eos = -1,
                                      .unknown = -1,
                                      .padding = -1,
                                      .add_bos = -1,
                                      .add_eos = -1,
                                      .add_space_prefix = -1};
    return p;
}

/* 0..255 the bytes, 256 "ab", 257 "abc", 258 <s>, 259 <user>, 260 [PAD260] */
static struct parts *byte_level(const char *pre)
{
    struct parts *p = start("gpt2");
    p->source.pre = pre;
    p->source.merges = p->merges;
    p->source.merge_lengths = p->merge_lengths;
    for (unsigned byte = 0; byte < 256; byte++) {
        p->texts[byte][utf8_write(p->texts[byte], byte_to_char(byte))] = 0;
        put(p, p->texts[byte], NORMAL, 0);
    }
    put(p, "ab", NORMAL, 0);
    put(p, "abc", NORMAL, 0);
    put(p, "<s>", CONTROL, 0);
    put(p, "<user>", USER_DEFINED, 0);
    put(p, "[PAD260]", UNUSED, 0);
    put_merge(p, "a b");
    put_merge(p, "ab c");
    return p;
}

/* 0 <unk>, 1 <s>, 2 </s>, 3..258 the bytes, then U+2581, a, b, c, ab, bc, U+2581a, <user>, xab (its x has no token) */
static struct parts *sentencepiece(bool bytes)
{
    struct parts *p = start("llama");
    p->source.scores = p->scores;
    put(p, "<unk>", UNKNOWN, 0);
    put(p, "<s>", CONTROL, 0);
    put(p, "</s>", CONTROL, 0);
    for (unsigned byte = 0; byte < 256 && bytes; byte++) {
        snprintf(p->texts[byte], sizeof p->texts[byte], "<0x%02X>", byte);
        put(p, p->texts[byte], BYTE, 0);
    }
    put(p, "\xe2\x96\x81", NORMAL, -10);
    put(p, "a", NORMAL, -11);
    put(p, "b", NORMAL, -12);
    put(p, "c", NORMAL, -13);
    put(p, "ab", NORMAL, -2);
    put(p, "bc", NORMAL, -1);
    put(p,
        "\xe2\x96\x81"
        "a",
        NORMAL, -3);
    put(p, "<user>", USER_DEFINED, 0);
    put(p, "xab", NORMAL, -4);
    return p;
}

/* 0 <pad>, 1 <eos>, 2 <bos>, 3 <unk>, 4..259 the bytes, 260 U+2581, 261 a, 262 b, 263 line end, 264 ab, 265 U+2581ab,
 * 266 two line ends, 267 <user>, 268 U+2581U+2581, user-defined and made by a merge */
static struct parts *gemma(void)
{
    static const char *const merges[] = {"a b", BLOCK " ab", "\n \n", BLOCK " " BLOCK};
    static const char *const tokens[] = {BLOCK, "a", "b", "\n", "ab", BLOCK "ab", "\n\n"};
    static const char *const marks[] = {"<pad>", "<eos>", "<bos>", "<unk>"};
    struct parts *p = start("gemma4");
    for (size_t i = 0; i < 4; i++) put(p, marks[i], i == 3 ? UNKNOWN : CONTROL, 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        snprintf(p->texts[byte], sizeof p->texts[byte], "<0x%02X>", byte);
        put(p, p->texts[byte], BYTE, 0);
    }
    for (size_t i = 0; i < 7; i++) put(p, tokens[i], NORMAL, 0);
    put(p, "<user>", USER_DEFINED, 0);
    put(p, BLOCK BLOCK, USER_DEFINED, 0);
    for (size_t i = 0; i < 4; i++) put_merge(p, merges[i]);
    p->source.merges = p->merges;
    p->source.merge_lengths = p->merge_lengths;
    p->source.bos = 2;
    p->source.eos = 1;
    p->source.unknown = 3;
    return p;
}

static struct vocab *create(struct parts *p)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    cr_assert_eq(vocab_create_gguf(&v, &p->source, &f), SLUICE_OK, "%s", f.text);
    free(p);
    return v;
}

/* ---- meaning ---------------------------------------------------------------------------------------------------- */

Test(vocab_gguf, byte_level)
{
    struct vocab *v = create(byte_level("gpt-2"));
    expect_ids(v, "abc ab", 0, "257 32 256");
    expect_ids(v, "\xc3\xa9\n", 0, "195 169 10");
    expect_ids(v, "<s>a<user>", 0, "60 115 62 97 259");
    expect_ids(v, "<s>a<user>", VOCAB_PARSE_SPECIAL, "258 97 259");
    expect_ids(v, "[PAD260]", VOCAB_PARSE_SPECIAL, "91 80 65 68 50 54 48 93");
    expect_text(v, (int32_t[]){258, 257, 32, 195, 169, 259, 260}, 7, 0, "abc \xc3\xa9<user>[PAD260]");
    expect_text(v, (int32_t[]){258, 97}, 2, VOCAB_DECODE_SPECIAL, "<s>a");
    expect_text(v, (int32_t[]){195, 97, 240, 159}, 4, 0,
                "\xef\xbf\xbd"
                "a\xef\xbf\xbd");
    cr_expect(vocab_is_special(v, 258) && !vocab_is_special(v, 259));
    cr_expect_eq(vocab_bos_id(v), -1);
    cr_expect_eq(vocab_size(v), 261);
    vocab_free(&v);
}

/* SmolLM2 has no token for some control characters. */
Test(vocab_gguf, bytes_without_a_token_vanish)
{
    struct parts *p = byte_level("gpt-2");
    p->tokens[4] = "cc";
    p->lengths[4] = 2;
    struct vocab *v = create(p);
    expect_ids(v,
               "a\x04"
               "c",
               0, "97 99");
    vocab_free(&v);
}

Test(vocab_gguf, sentencepiece_merges_by_score)
{
    struct vocab *v = create(sentencepiece(true));
    int32_t user = token_find(v, "<user>", 6);
    char expected[64];
    expect_ids(v, "a", VOCAB_NO_BOS, "265");       /* blank and a */
    expect_ids(v, " a", VOCAB_NO_BOS, "259 265");  /* one blank more */
    expect_ids(v, "abc", VOCAB_NO_BOS, "265 264"); /* "bc" before "ab" */
    expect_ids(v, "ab", VOCAB_NO_BOS, "259 263");  /* "ab" before blank and a */
    expect_ids(v, "xab", VOCAB_NO_BOS, "259 267"); /* x alone has no token */
    expect_ids(v, "xb", VOCAB_NO_BOS, "259 123 261");
    expect_ids(v, "a</s>", 0, "1 265 63 50 118 65"); /* text: < / s > are bytes */
    expect_ids(v, "a</s>", VOCAB_PARSE_SPECIAL, "1 265 2");
    expect_ids(v, "<0x41>", VOCAB_NO_BOS, "259 63 51 123 55 52 65");
    snprintf(expected, sizeof expected, "265 %d 265", user); /* a blank after an added token, too */
    expect_ids(v, "a<user>a", VOCAB_NO_BOS, expected);
    expect_text(v, (int32_t[]){1, 265, 264, 259, 198, 172, 2}, 7, 0, "abc \xc3\xa9");
    cr_expect(vocab_bos_id(v) == 1 && vocab_eos_id(v) == 2);
    vocab_free(&v);
}

Test(vocab_gguf, sentencepiece_without_bytes_has_unknown_characters)
{
    struct vocab *v = create(sentencepiece(false));
    expect_ids(v, "xx", VOCAB_NO_BOS, "3 0"); /* a run of them is one */
    expect_ids(v, "xbx", VOCAB_NO_BOS, "3 0 5 0");
    vocab_free(&v);
}

/* tests/golden/tokenizers/gguf/gemma4 compares a whole corpus. */
Test(vocab_gguf, gemma4)
{
    for (int add_bos = -1; add_bos < 2; add_bos++) { /* BOS even if the file says no */
        struct parts *p = gemma();
        p->source.add_bos = add_bos;
        struct vocab *v = create(p);
        expect_ids(v, "ab ab", 0, "2 264 265"); /* no blank in front */
        vocab_free(&v);
    }
    struct vocab *v = create(gemma());
    expect_ids(v, "\n\n\nb\n", VOCAB_NO_BOS, "266 263 262 263");
    expect_ids(v, "  ab", VOCAB_NO_BOS, "260 265"); /* U+2581 and ab come before two U+2581 */
    expect_ids(v, "  \xc3\xa9", VOCAB_NO_BOS, "268 199 173");
    expect_ids(v, "<user><eos>", VOCAB_NO_BOS, "267 64 105 115 119 66");
    expect_ids(v, "<user><eos>", VOCAB_NO_BOS | VOCAB_PARSE_SPECIAL, "267 1");
    expect_text(v, (int32_t[]){2, 265, 268, 199, 173, 267, 266}, 7, 0, " ab  \xc3\xa9<user>\n\n");
    cr_expect(vocab_bos_id(v) == 2 && vocab_eos_id(v) == 1);
    vocab_free(&v);
    struct parts *p = gemma();
    p->source.bos = p->source.eos = -1; /* not what model "llama" has by default */
    v = create(p);
    expect_ids(v, "ab", 0, "264");
    cr_expect(vocab_bos_id(v) == -1 && vocab_eos_id(v) == -1);
    vocab_free(&v);
}

Test(vocab_gguf, flags_of_the_file_come_before_the_defaults)
{
    struct parts *p = sentencepiece(true);
    p->source.add_bos = 0;
    p->source.add_eos = 1;
    p->source.add_space_prefix = 0;
    p->source.eos = 0;
    struct vocab *v = create(p);
    expect_ids(v, "a", 0, "260 0");
    expect_ids(v, "", VOCAB_NO_BOS, "");
    expect_text(v, (int32_t[]){265}, 1, 0, " a"); /* no blank was put in, none is taken away */
    vocab_free(&v);

    p = byte_level("llama-bpe");
    p->source.bos = 258;
    v = create(p);
    expect_ids(v, "abc", 0, "258 257");
    vocab_free(&v);
    v = create(byte_level("llama-bpe")); /* BOS by default, but there is none */
    expect_ids(v, "abc", 0, "257");
    vocab_free(&v);
}

/* Whole words first: "ca" is a token that no merge makes. */
Test(vocab_gguf, ignore_merges)
{
    for (int ignore = 0; ignore < 2; ignore++) {
        struct parts *p = byte_level(ignore ? "tekken" : "gpt-4o");
        put(p, "ca", NORMAL, 0);
        struct vocab *v = create(p);
        expect_ids(v, "ca", 0, ignore ? "261" : "99 97");
        vocab_free(&v);
    }
}

Test(vocab_gguf, qwen_normalizes)
{
    struct vocab *v = create(byte_level("qwen2")), *plain = create(byte_level("hunyuan"));
    expect_ids(v, "e\xcc\x81", 0, "195 169");
    expect_ids(plain, "e\xcc\x81", 0, "101 204 129");
    vocab_free(&v);
    vocab_free(&plain);
}

Test(vocab_gguf, special_tokens_of_phi3_take_blanks_along)
{
    struct parts *p = sentencepiece(true);
    p->source.strip_after_special = true;
    struct vocab *v = create(p);
    expect_ids(v, "</s>\n a", VOCAB_PARSE_SPECIAL | VOCAB_NO_BOS, "2 265");
    expect_ids(v, "<s>\na", VOCAB_PARSE_SPECIAL | VOCAB_NO_BOS, "1 259 13 260");
    vocab_free(&v);
}

/* A file without types: bytes are known by their spelling, nothing is special. */
Test(vocab_gguf, types_may_be_absent)
{
    struct parts *p = sentencepiece(true);
    p->source.types = NULL;
    struct vocab *v = create(p);
    expect_ids(v, "xb", VOCAB_NO_BOS, "259 123 261");
    cr_expect_not(vocab_is_special(v, 1));
    vocab_free(&v);
}

/* ---- pre-tokenizers --------------------------------------------------------------------------------------------- */

/* The pieces of every string, by their lengths, are those of Hugging Face's engine with the published pattern. */
Test(vocab_gguf, pre_tokenizers_cut_like_the_reference)
{
    json_t *golden = golden_json("gguf/pre.golden.json"), *corpus = golden_json("corpus.json"), *expected;
    size_t n_names = 0, n_bad = 0;
    const char *name;
    json_object_foreach(golden, name, expected)
    {
        struct vocab *v = create(byte_level(name));
        cr_assert_eq(v->pretokenizers[--v->n_pretokenizers].kind, PRETOKENIZE_MAP_BYTES);
        n_names++;
        for (size_t i = 0; i < json_array_size(expected); i++) {
            const json_t *text = json_array_get(corpus, i), *lengths = json_array_get(expected, i);
            struct failure f = {0};
            struct work w;
            work_init(&w, v, json_string_length(text), &f);
            cr_assert_eq(pretokenize(&w, json_string_value(text), json_string_length(text), true), SLUICE_OK);
            bool same = w.n_pieces == json_array_size(lengths);
            for (size_t k = 0; k < w.n_pieces && same; k++)
                same = w.pieces[k].n == (size_t)json_integer_value(json_array_get(lengths, k));
            if (!same && n_bad++ < 20) cr_log_error("%s: string %zu is cut otherwise", name, i);
            work_free(&w);
        }
        vocab_free(&v);
    }
    cr_expect_eq(n_bad, 0, "%zu strings differ", n_bad);
    cr_expect_geq(n_names, 25);
    json_decref(golden);
    json_decref(corpus);
}

/* Every name is known by its steps again, or another name of the same steps is. */
Test(vocab_gguf, pre_tokenizers_are_recognized)
{
    json_t *golden = golden_json("gguf/pre.golden.json"), *ignored;
    const char *name;
    json_object_foreach(golden, name, ignored)
    {
        struct vocab *v = create(byte_level(name));
        bool near = true;
        const char *found = pre_recognize(v, true, &near);
        cr_expect(found && !near && strcmp(found, name) == 0, "%s: %s", name, found ? found : "(none)");
        vocab_free(&v);
    }
    json_decref(golden);
}

/* Steps that no name has exactly: what merges make of whole words may decide, and single digits are near to runs. */
Test(vocab_gguf, near_names)
{
    bool near = false;
    struct vocab *v = create(byte_level("gpt-4o"));
    v->ignore_merges = true;
    cr_expect_str_eq(pre_recognize(v, true, &near), "gpt-4o");
    cr_expect_not(near);
    cr_expect_str_eq(pre_recognize(v, false, &near), "gpt-4o");
    cr_expect(near);
    vocab_free(&v);
    v = create(byte_level("deepseek-llm"));
    cr_assert_eq(v->pretokenizers[5].behavior, SPLIT_CONTIGUOUS);
    v->pretokenizers[5].behavior = SPLIT_ISOLATED;
    cr_expect_str_eq(pre_recognize(v, true, &near), "deepseek-llm");
    cr_expect(near);
    v->pretokenizers[5].class = CLASS_DIGIT;
    cr_expect_null(pre_recognize(v, true, &near));
    vocab_free(&v);
}

Test(vocab_gguf, long_runs_end)
{
    static const char *const names[] = {"cohere2moe", "afmoe", "falcon",   "deepseek-llm", "exaone-moe",
                                        "youtu",      "bloom", "spark2_5", "laguna",       "default"};
    static const char *const units[] = {"1", "a", " ", "\n", "!", "a ", "\xe4\xb8\xad"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct vocab *v = create(byte_level(names[i]));
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
            size_t n = 0, unit = strlen(units[k]), count = (1 << 16) / unit;
            char *text = malloc(count * unit + 1);
            struct failure f = {0};
            for (size_t c = 0; c < count; c++) memcpy(text + c * unit, units[k], unit);
            text[count * unit] = 'x';
            cr_expect_eq(vocab_encode(v, text, count * unit + 1, 0, NULL, 0, &n, &f), SLUICE_OK, "%s, \"%s\": %s",
                         names[i], units[k], f.text);
            free(text);
        }
        vocab_free(&v);
    }
}

/* The same file with and without the key that names the pre-tokenizer. */
Test(vocab_gguf, a_nameless_pre_tokenizer_is_warned_of)
{
    static const char key[] = "tokenizer.ggml.pre";
    size_t n = 0;
    char *data = golden_read("gguf/deepseek-coder.gguf", &n), warning[512];
    cr_assert_not_null(data);
    for (int nameless = 0; nameless < 2; nameless++) {
        struct test_folder folder;
        struct archive *a = NULL;
        struct vocab *v = NULL;
        struct failure f = {0};
        char *at = memmem(data, n, key, sizeof key - 1);
        cr_assert_not_null(at);
        if (nameless) at[sizeof key - 2] = 'X';
        folder_create(&folder);
        folder_write(&folder, "m.gguf", data, n);
        cr_assert_eq(archive_open(&a, folder_path(&folder, "m.gguf"), 0, &f), SLUICE_OK, "%s", f.text);
        cr_assert_eq(open_gguf_vocab(&v, a, warning, sizeof warning, &f), SLUICE_OK, "%s", f.text);
        cr_expect_str_eq(warning, nameless
                                      ? "m.gguf: key \"tokenizer.ggml.pre\" does not name the pre-tokenizer: words are "
                                        "cut by a common rule, and may differ from what the model was trained with"
                                      : "");
        archive_close(&a);
        vocab_free(&v);
        folder_remove(&folder);
    }
    free(data);
}

/* One word of a megabyte, for the merging by scores. */
Test(vocab_gguf, long_sentencepiece_words_end)
{
    struct vocab *v = golden_vocab("gguf/llama-spm");
    size_t n = 0, bytes = 1 << 20;
    char *text = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) text[i] = "ab a"[i * 7 % 4];
    struct failure f = {0};
    cr_expect_eq(vocab_encode(v, text, bytes, 0, NULL, 0, &n, &f), SLUICE_OK, "%s", f.text);
    cr_expect_gt(n, bytes / 16);
    free(text);
    vocab_free(&v);
}

/* ---- malformed -------------------------------------------------------------------------------------------------- */

static void expect_failure(struct parts *p, const char *expected)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    sluice_status status = vocab_create_gguf(&v, &p->source, &f);
    cr_expect_null(v);
    cr_expect(status == SLUICE_FORMAT || status == SLUICE_UNSUPPORTED, "accepted; expected: %s", expected);
    cr_expect_str_eq(f.text, expected, "\n  found:    %s\n  expected: %s", f.text, expected);
    vocab_free(&v);
    free(p);
}

static struct parts *with_token(struct parts *p, size_t i, const char *text, int type)
{
    p->tokens[i] = text;
    p->lengths[i] = strlen(text);
    p->types[i] = type;
    return p;
}

static struct parts *with_merge(const char *text)
{
    struct parts *p = byte_level("gpt-2");
    put_merge(p, text);
    return p;
}

Test(vocab_gguf_hostile, models_and_names)
{
    static const char *const others[] = {"bert", "t5", "rwkv", "gemma5", "plamo2"};
    char expected[128];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct parts *p = sentencepiece(true);
        p->source.model = others[i];
        snprintf(expected, sizeof expected, "tokenizer: model \"%s\" is not supported (known: gpt2, llama, gemma4)",
                 others[i]);
        expect_failure(p, expected);
    }
    expect_failure(byte_level("no\nsuch"), "tokenizer: pre-tokenizer \"no\\x0asuch\" is not known");
}

Test(vocab_gguf_hostile, tokens)
{
    struct parts *p = byte_level("gpt-2");
    p->source.n_tokens = 0;
    expect_failure(p, "tokenizer: no tokens");
    p = byte_level("gpt-2");
    p->source.n_tokens = (size_t)1 << 31;
    expect_failure(p, "tokenizer: 2147483648 tokens exceed 4194304");
    expect_failure(with_token(byte_level("gpt-2"), 257, "ab", NORMAL),
                   "tokenizer: token \"ab\" has the ids 256 and 257");
    expect_failure(with_token(byte_level("gpt-2"), 65, "AA", NORMAL), "tokenizer: byte 0x41 has no token");
    expect_failure(with_token(byte_level("gpt-2"), 256, "a b", NORMAL), "tokenizer: token 256: not byte-level text");
    expect_failure(with_token(byte_level("gpt-2"), 256, "a\xff", NORMAL), "tokenizer: token 256: not UTF-8");
    expect_failure(with_token(byte_level("gpt-2"), 5, "x", 99),
                   "tokenizer: key \"tokenizer.ggml.token_type\": element 5: unknown kind 99");
    expect_failure(with_token(byte_level("gpt-2"), 5, "x", 0),
                   "tokenizer: key \"tokenizer.ggml.token_type\": element 5: unknown kind 0");
    p = byte_level("gpt-2");
    char *longest = malloc(5000);
    memset(longest, 'a', 5000);
    p->tokens[257] = longest;
    p->lengths[257] = 5000;
    expect_failure(p, "tokenizer: token 257: 5000 bytes exceed 4096");
    free(longest);
}

Test(vocab_gguf_hostile, byte_tokens)
{
    expect_failure(with_token(sentencepiece(true), 258, "<0x-1>", BYTE),
                   "tokenizer: token 258: bad byte token \"<0x-1>\"");
    expect_failure(with_token(sentencepiece(true), 258, "<0xZZ>", BYTE),
                   "tokenizer: token 258: bad byte token \"<0xZZ>\"");
    expect_failure(with_token(sentencepiece(true), 258, "<0x100>", BYTE),
                   "tokenizer: token 258: bad byte token \"<0x100>\"");
    expect_failure(with_token(sentencepiece(true), 258, "<0x1>", BYTE),
                   "tokenizer: token 258: bad byte token \"<0x1>\"");
    expect_failure(with_token(sentencepiece(true), 258, "a byte", BYTE),
                   "tokenizer: token 258: bad byte token \"a byte\"");
    expect_failure(with_token(sentencepiece(true), 258, "<0x0a>", BYTE), "tokenizer: byte 0x0a has two tokens");
    expect_failure(with_token(sentencepiece(true), 3 + 10, "q", NORMAL), "tokenizer: byte 0x0a has no byte token");
}

Test(vocab_gguf_hostile, merges)
{
    expect_failure(with_merge("a \xc3\xbf\xc3\xbf"),
                   "tokenizer: merge 2: \"\\xc3\\xbf\\xc3\\xbf\" is not in the vocabulary");
    expect_failure(with_merge("a q"), "tokenizer: merge 2: result \"aq\" is not in the vocabulary");
    expect_failure(with_merge("ab"), "tokenizer: merge 2: must be two tokens");
    expect_failure(with_merge("a b c"), "tokenizer: merge 2: must be two tokens");
    expect_failure(with_merge(" b"), "tokenizer: merge 2: \"\" is not in the vocabulary");
    expect_failure(with_merge("a b"), "tokenizer: merge 2 repeats merge 0");
    struct parts *p = byte_level("gpt-2");
    p->source.merges = NULL;
    expect_failure(p, "tokenizer: key \"tokenizer.ggml.merges\": missing, model \"gpt2\" needs it");
    p = gemma();
    p->source.merges = NULL;
    expect_failure(p, "tokenizer: key \"tokenizer.ggml.merges\": missing, model \"gemma4\" needs it");
    p = gemma();
    put_merge(p, "a a");
    expect_failure(p, "tokenizer: merge 4: result \"aa\" is not in the vocabulary");
    p = byte_level("gpt-2");
    p->source.n_merges = 20000000;
    expect_failure(p, "tokenizer: merges: 20000000 exceed 8388608");
}

Test(vocab_gguf_hostile, scores)
{
    struct parts *p = sentencepiece(true);
    p->scores[7] = NAN;
    expect_failure(p, "tokenizer: key \"tokenizer.ggml.scores\": element 7: not a number");
    p = sentencepiece(true);
    p->source.scores = NULL;
    expect_failure(p, "tokenizer: key \"tokenizer.ggml.scores\": missing, model \"llama\" needs it");
}

Test(vocab_gguf_hostile, special_ids)
{
    struct parts *p = sentencepiece(false);
    p->source.n_tokens = 1;
    p->source.bos = 0;
    expect_failure(p, "tokenizer: eos id 2 but the vocabulary has 1 token");
    p = sentencepiece(false);
    p->source.bos = 12;
    expect_failure(p, "tokenizer: bos id 12 but the vocabulary has 12 tokens");
    p = sentencepiece(false);
    p->source.unknown = INT32_MAX;
    expect_failure(p, "tokenizer: unknown id 2147483647 but the vocabulary has 12 tokens");
    p = byte_level("gpt-2");
    p->source.padding = 300;
    expect_failure(p, "tokenizer: padding id 300 but the vocabulary has 261 tokens");
    p = byte_level("gpt-2");
    p->source.add_eos = 1;
    expect_failure(p, "tokenizer: key \"tokenizer.ggml.add_eos_token\": is true, but there is no eos id");
}

/* An id without a token is a hole, not an error. */
Test(vocab_gguf_hostile, empty_tokens)
{
    struct vocab *v = create(with_token(byte_level("gpt-2"), 259, "", USER_DEFINED));
    size_t n = 1;
    vocab_token_bytes(v, 259, &n);
    cr_expect_eq(n, 0);
    expect_text(v, (int32_t[]){97, 259, 98}, 3, 0, "ab");
    vocab_free(&v);
}

/* Every request for memory fails once, for all models and both ways; each time one error, nothing lost. */
Test(vocab_gguf_hostile, every_allocation_may_fail)
{
    for (int model = 0; model < 3; model++) {
        sluice_status status = SLUICE_MEMORY;
        for (uint64_t k = 1; k < 1000 && status; k++) {
            struct parts *p = model == 2 ? gemma() : model ? sentencepiece(true) : byte_level("qwen2");
            struct vocab *v = NULL;
            struct vocab_source source = {0};
            struct failure f = {0};
            size_t n;
            bool exact;
            memory_fail_after(k);
            status = vocab_create_gguf(&v, &p->source, &f);
            if (!status) status = vocab_encode(v, "abc <user>xab\xc3\xa9", 15, 0, NULL, 0, &n, &f);
            if (!status) status = vocab_describe(v, 300, &source, &exact, &f);
            memory_fail_after(0);
            cr_expect(status == SLUICE_OK || status == SLUICE_MEMORY, "request %d: %s", (int)k, f.text);
            cr_expect(status == SLUICE_OK || strstr(f.text, "not enough memory"));
            vocab_source_free(&source);
            vocab_free(&v);
            free(p);
        }
        cr_expect_eq(status, SLUICE_OK);
    }
}
