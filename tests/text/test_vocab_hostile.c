/* Malformed tokenizer.json files: each differs from a small valid one in one place, and must give exactly its one
 * line. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "text/vocab.h"

/* A valid file, in named parts; a case replaces one of them. */
enum part { ADDED, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL, N_PARTS };

static const char *const keys[N_PARTS] = {"added_tokens",   "normalizer", "pre_tokenizer",
                                          "post_processor", "decoder",    "model"};
static const char *const valid[N_PARTS] = {
    "[{\"id\": 5, \"content\": \"<s>\", \"special\": true}]",
    "null",
    "{\"type\": \"WhitespaceSplit\"}",
    "null",
    "{\"type\": \"Fuse\"}",
    "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"q\": 3, \"u\": 4}, \"merges\": [\"a b\"]}",
};

static char *build(enum part replaced, const char *with)
{
    size_t cap = strlen(with) + 4096;
    char *text = malloc(cap);
    size_t n = (size_t)snprintf(text, cap, "{\"version\": \"1.0\"");
    for (int i = 0; i < N_PARTS; i++)
        n += (size_t)snprintf(text + n, cap - n, ", \"%s\": %s", keys[i], i == (int)replaced ? with : valid[i]);
    snprintf(text + n, cap - n, "}");
    return text;
}

static void check_bytes(const char *text, size_t n, const char *config, const char *expected)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    sluice_status status = vocab_create(&v, text, n, config, config ? strlen(config) : 0, &f);
    cr_expect_null(v);
    cr_expect_neq(status, SLUICE_OK, "accepted; expected: %s", expected);
    cr_expect_str_eq(f.text, expected, "\n  found:    %s\n  expected: %s", f.text, expected);
    cr_expect(status == SLUICE_FORMAT || status == SLUICE_UNSUPPORTED);
    vocab_free(&v);
}

static void check(enum part part, const char *with, const char *expected)
{
    char *text = build(part, with);
    check_bytes(text, strlen(text), NULL, expected);
    free(text);
}

static void check_model(const char *vocab, const char *merges, const char *more, const char *expected)
{
    char model[4096];
    snprintf(model, sizeof model, "{\"type\": \"BPE\", \"vocab\": %s, \"merges\": %s%s}", vocab, merges, more);
    check(MODEL, model, expected);
}

static void check_split(const char *pattern, const char *expected)
{
    size_t cap = strlen(pattern) + 128;
    char *step = malloc(cap);
    snprintf(step, cap, "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"%s\"}, \"behavior\": \"Isolated\"}", pattern);
    check(PRE_TOKENIZER, step, expected);
    free(step);
}

static char *repeat(const char *unit, size_t times)
{
    size_t n = strlen(unit);
    char *text = malloc(n * times + 1);
    for (size_t i = 0; i < times; i++) memcpy(text + i * n, unit, n);
    text[n * times] = 0;
    return text;
}

Test(vocab_hostile, base_file_is_valid)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    char *text = build(N_PARTS, "");
    cr_assert_eq(vocab_create(&v, text, strlen(text), NULL, 0, &f), SLUICE_OK, "%s", f.text);
    cr_expect_eq(vocab_size(v), 6);
    vocab_free(&v);
    free(text);
}

Test(vocab_hostile, json)
{
    check_bytes("", 0, NULL, "tokenizer.json: JSON error at byte 0: a JSON object is missing");
    check_bytes("[]", 2, NULL, "tokenizer.json: JSON error at byte 0: a JSON object is missing");
    check_bytes("{\"a\": 1", 7, NULL, "tokenizer.json: JSON error at byte 7: the text ends too early");
    check_bytes("{\"a\": \"\xff\"}", 9, NULL, "tokenizer.json: JSON error at byte 7: not UTF-8");
    check_bytes("{\"a\": 1, \n\"a\": 2}", 17, NULL, "tokenizer.json: \"a\" appears twice");
    check_bytes("{\"a\\u0000\": 1}", 14, NULL,
                "tokenizer.json: JSON error at byte 2: a string holds NUL or half of a surrogate pair");
    check_bytes("{\"a\" 1}", 7, NULL, "tokenizer.json: JSON error at byte 5: ':' is missing");
    check_bytes("{\"version\": \"2.0\"}", 18, NULL, "tokenizer.json: version \"2.0\" is not supported");
    check_bytes("{}", 2, NULL, "tokenizer.json: model: must be an object");
    char *deep = repeat("{\"\":", 100000);
    check_bytes(deep, 100000, NULL, "tokenizer.json: JSON nested deeper than 64");
    check_bytes(deep, (300u << 20), NULL, "tokenizer.json: 314572800 bytes exceed 268435456");
    free(deep);
}

Test(vocab_hostile, model_type)
{
    check(MODEL, "{\"type\": \"Unigram\"}", "tokenizer.json: model type \"Unigram\" is not supported (known: BPE)");
    check(MODEL, "{\"type\": \"\\u0007x\"}", "tokenizer.json: model type \"\\x07x\" is not supported (known: BPE)");
    check(MODEL, "{}", "tokenizer.json: model: type is missing");
    check(MODEL, "{\"type\": 3}", "tokenizer.json: type: must be a string");
    check(MODEL, "[]", "tokenizer.json: model: must be an object");
}

/* It has no first byte to look for, and would be found everywhere. */
Test(vocab_hostile, a_special_token_without_text_is_never_found)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    static const char config[] = "{\"bos_token\": \"\", \"additional_special_tokens\": [\"\", \"<x>\"]}";
    char *text = build(MODEL, "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"<x>\": 1, \"\": 2}, \"merges\": []}");
    cr_assert_eq(vocab_create(&v, text, strlen(text), config, strlen(config), &f), SLUICE_OK, "%s", f.text);
    int32_t ids[8];
    size_t n = 0;
    cr_assert_eq(vocab_encode(v, "a<x>a", 5, VOCAB_PARSE_SPECIAL | VOCAB_NO_BOS, ids, 8, &n, &f), SLUICE_OK);
    cr_expect(n == 3 && ids[0] == 0 && ids[1] == 1 && ids[2] == 0, "%zu ids", n);
    vocab_free(&v);
    free(text);
}

Test(vocab_hostile, vocab_ids)
{
    check_model("{\"a\": -1}", "[]", "", "tokenizer.json: token \"a\": id -1 is outside 0..4194303");
    check_model("{\"a\": 4294967296}", "[]", "", "tokenizer.json: token \"a\": id 4294967296 is outside 0..4194303");
    check_model("{\"a\": 1.5}", "[]", "", "tokenizer.json: token \"a\": the id must be an integer");
    check_model("{\"a\": \"3\"}", "[]", "", "tokenizer.json: token \"a\": the id must be an integer");
    check_model("{\"a\": 1, \"b\": 1}", "[]", "", "tokenizer.json: id 1 belongs to \"a\" and \"b\"");
    check_model("{\"\": 1, \"b\": 1}", "[]", "", "tokenizer.json: id 1 belongs to \"\" and \"b\"");
    check_model("{\"a\": 4000000}", "[]", "", "tokenizer.json: highest id 4000000 for 1 tokens");
    check_model("{}", "[]", "", "tokenizer.json: vocab: empty");
    check_model("[]", "[]", "", "tokenizer.json: vocab: must be an object");
    char *token = repeat("a", 5000), vocab[6000];
    snprintf(vocab, sizeof vocab, "{\"type\": \"BPE\", \"vocab\": {\"%s\": 0}, \"merges\": []}", token);
    check(MODEL, vocab, "tokenizer.json: token 0: 5000 bytes exceed 4096");
    free(token);
}

Test(vocab_hostile, merges)
{
    static const char *const vocab = "{\"a\": 0, \"b\": 1, \"ab\": 2, \"q\": 3}";
    check_model(vocab, "[\"a b\", \"a x\"]", "", "tokenizer.json: merge 1: \"x\" is not in the vocabulary");
    check_model(vocab, "[\"a q\"]", "", "tokenizer.json: merge 0: result \"aq\" is not in the vocabulary");
    check_model(vocab, "[\"ab\"]", "", "tokenizer.json: merge 0: must be two tokens");
    check_model(vocab, "[\"a b b\"]", "", "tokenizer.json: merge 0: must be two tokens");
    check_model(vocab, "[[\"a\"]]", "", "tokenizer.json: merge 0: must be two tokens");
    check_model(vocab, "[[\"a\", \"b\", \"b\"]]", "", "tokenizer.json: merge 0: must be two tokens");
    check_model(vocab, "[[\"a\", 1]]", "", "tokenizer.json: merge 0: must be two tokens");
    check_model(vocab, "[7]", "", "tokenizer.json: merge 0: must be two tokens");
    check_model(vocab, "[\"a b\", [\"a\", \"b\"]]", "", "tokenizer.json: merge 1 repeats merge 0");
    check_model(vocab, "{}", "", "tokenizer.json: merges: must be a list");
}

Test(vocab_hostile, model_options)
{
    static const char *const vocab = "{\"a\": 0, \"<0x0A>\": 1}";
    check_model(vocab, "[]", ", \"unk_token\": \"<unk>\"",
                "tokenizer.json: unk_token \"<unk>\" is not in the vocabulary");
    check_model(vocab, "[]", ", \"fuse_unk\": 1", "tokenizer.json: fuse_unk: must be true or false");
    check_model(vocab, "[]", ", \"dropout\": 0.5", "tokenizer.json: dropout is not supported");
    check_model(vocab, "[]", ", \"end_of_word_suffix\": \"</w>\"",
                "tokenizer.json: end_of_word_suffix is not supported");
    check_model(vocab, "[]", ", \"byte_fallback\": true", "tokenizer.json: byte_fallback: byte 0xff has no token");
    check_model("{\"<0x-1>\": 0}", "[]", ", \"byte_fallback\": true",
                "tokenizer.json: token 0: bad byte token \"<0x-1>\"");
    check_model("{\"<0xZZ>\": 0}", "[]", ", \"byte_fallback\": true",
                "tokenizer.json: token 0: bad byte token \"<0xZZ>\"");
    check_model("{\"<0x100>\": 0}", "[]", ", \"byte_fallback\": true",
                "tokenizer.json: token 0: bad byte token \"<0x100>\"");
}

Test(vocab_hostile, byte_level)
{
    static const char *const step = "{\"type\": \"ByteLevel\", \"use_regex\": false}";
    check(PRE_TOKENIZER, step, "tokenizer.json: byte 0x09 has no token");
    check(NORMALIZER, step, "tokenizer.json: byte 0x09 has no token");
}

Test(vocab_hostile, added_tokens)
{
    check(ADDED, "{}", "tokenizer.json: added_tokens: must be a list");
    check(ADDED, "[{\"id\": 5, \"content\": \"x\"}, {\"id\": 6, \"content\": \"\"}]",
          "tokenizer.json: added token 1: empty content");
    check(ADDED, "[{\"content\": \"x\"}]", "tokenizer.json: added token 0: the id must be an integer");
    check(ADDED, "[{\"id\": 9000000, \"content\": \"x\"}]",
          "tokenizer.json: added token 0: id 9000000 is outside 0..4194303");
    check(ADDED, "[{\"id\": 4000000, \"content\": \"x\"}]",
          "tokenizer.json: added token 0: highest id 4000000 for 6 tokens");
    check(ADDED, "[{\"id\": 5, \"content\": \"x\"}, {\"id\": 6, \"content\": \"x\"}]",
          "tokenizer.json: added token 1: \"x\" has the ids 5 and 6");
    check(ADDED, "[{\"id\": 1, \"content\": \"x\"}]", "tokenizer.json: added token 0: id 1 belongs to \"b\" and \"x\"");
    check(ADDED, "[{\"id\": 5, \"content\": \"x\", \"lstrip\": \"yes\"}]",
          "tokenizer.json: added token 0: lstrip: must be true or false");
    char *long_text = repeat("x", 1 << 20), *list = malloc((1 << 20) + 100);
    sprintf(list, "[{\"id\": 5, \"content\": \"%s\"}]", long_text);
    check(ADDED, list, "tokenizer.json: added token 0: token 5: 1048576 bytes exceed 4096");
    free(long_text);
    free(list);
}

Test(vocab_hostile, special_ids)
{
    char *text = build(N_PARTS, "");
    size_t n = strlen(text);
    check_bytes(text, n, "{\"eos_token\": \"</s>\"}",
                "tokenizer_config.json: eos_token: \"</s>\" is not in the vocabulary");
    check_bytes(text, n, "{\"bos_token\": 7}", "tokenizer_config.json: bos_token: must be a string");
    check_bytes(text, n, "{\"add_bos_token\": \"yes\"}", "tokenizer_config.json: add_bos_token: must be true or false");
    check_bytes(text, n, "{\"added_tokens_decoder\": {\"x\": {}}}",
                "tokenizer_config.json: added_tokens_decoder: x: the id must be an integer");
    check_bytes(text, n, "{\"added_tokens_decoder\": {\"3\": {\"content\": \"new\"}}}",
                "tokenizer_config.json: added_tokens_decoder: 3: id 3 belongs to \"q\" and \"new\"");
    check_bytes(text, n, "{", "tokenizer_config.json: JSON error at byte 1: the text ends too early");
    free(text);
}

Test(vocab_hostile, patterns)
{
    check_split("", "tokenizer.json: pre_tokenizer 0: empty pattern");
    check_split("a(", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 2)");
    check_split("a)", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 1)");
    check_split("ab\\\\C", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 2)");
    check_split("a(?C1)", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 1)");
    check_split("a(?R)?", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 1)");
    check_split("(*LIMIT_MATCH=9)a", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 0)");
    check_split("[[:alpha:]]", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 1)");
    check_split("[a", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 0)");
    check_split("\\\\p{", "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 2)");
    check_split("\\\\p{Klingon}", "tokenizer.json: pre_tokenizer 0: pattern is not valid or not supported");
    check_split("(?<=a+)b", "tokenizer.json: pre_tokenizer 0: pattern is not valid or not supported");
    check_split("+", "tokenizer.json: pre_tokenizer 0: pattern is not valid or not supported");
    char *many = repeat("(", 1000);
    check_split(many, "tokenizer.json: pre_tokenizer 0: pattern is not supported (offset 64)");
    free(many);
    many = repeat("a", 1 << 20);
    check_split(many, "tokenizer.json: pre_tokenizer 0: pattern: 1048576 bytes exceed 8192");
    free(many);
}

Test(vocab_hostile, steps)
{
    check(NORMALIZER, "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAAA\"}",
          "tokenizer.json: normalizer 0: type \"Precompiled\" is not supported");
    check(NORMALIZER, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"x\"}",
          "tokenizer.json: normalizer 0: empty pattern");
    check(NORMALIZER, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}}",
          "tokenizer.json: normalizer 0: content: missing");
    check(NORMALIZER, "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Nmt\"}]}",
          "tokenizer.json: normalizer 1: type \"Nmt\" is not supported");
    check(NORMALIZER, "{}", "tokenizer.json: normalizer 0: type is missing");
    check(NORMALIZER, "{\"type\": \"Sequence\"}", "tokenizer.json: normalizer: Sequence without normalizers");
    check(PRE_TOKENIZER, "{\"type\": \"UnicodeScripts\"}",
          "tokenizer.json: pre_tokenizer 0: type \"UnicodeScripts\" is not supported");
    check(PRE_TOKENIZER, "{\"type\": \"Split\", \"pattern\": {\"String\": \" \"}, \"behavior\": \"Odd\"}",
          "tokenizer.json: pre_tokenizer 0: behavior \"Odd\" is not known");
    check(PRE_TOKENIZER, "{\"type\": \"Split\"}",
          "tokenizer.json: pre_tokenizer 0: pattern: must be {\"String\": ...} or {\"Regex\": ...}");
    check(PRE_TOKENIZER, "{\"type\": \"Metaspace\", \"replacement\": \"ab\"}",
          "tokenizer.json: pre_tokenizer 0: replacement: must be one character");
    check(PRE_TOKENIZER, "{\"type\": \"FixedLength\", \"length\": 0}",
          "tokenizer.json: pre_tokenizer 0: length: must be positive");
    check(DECODER, "{\"type\": \"CTC\"}", "tokenizer.json: decoder 0: type \"CTC\" is not supported");
    check(DECODER, "{\"type\": \"Strip\", \"content\": \"a\", \"start\": -1}",
          "tokenizer.json: decoder 0: start: -1 is outside 0..4194304");
    check(DECODER,
          "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": "
          "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
          "tokenizer.json: decoder: makes 101 bytes of token 0, which has 1");
    char *nested = repeat("{\"type\": \"Sequence\", \"normalizers\": [", 10000);
    check(NORMALIZER, nested, "tokenizer.json: JSON nested deeper than 64");
    free(nested);
    char *steps = repeat("{\"type\": \"NFC\"},", 100), *list = malloc(strlen(steps) + 200);
    sprintf(list, "{\"type\": \"Sequence\", \"normalizers\": [%s{\"type\": \"NFC\"}]}", steps);
    check(NORMALIZER, list, "tokenizer.json: normalizer 32: more than 32 steps");
    free(steps);
    free(list);
}

Test(vocab_hostile, post_processor)
{
    check(POST_PROCESSOR, "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"[CLS]\"}}]}",
          "tokenizer.json: post_processor 0: unknown token \"[CLS]\"");
    check(POST_PROCESSOR, "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"Z\"}}]}",
          "tokenizer.json: post_processor 0: single: needs sequence A once");
    check(POST_PROCESSOR, "{\"type\": \"TemplateProcessing\", \"single\": [7]}",
          "tokenizer.json: post_processor 0: single: piece 0 is neither Sequence nor SpecialToken");
    check(POST_PROCESSOR,
          "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}], "
          "\"special_tokens\": {\"x\": {\"ids\": [99]}}}",
          "tokenizer.json: post_processor 0: id 99 has no token");
    check(POST_PROCESSOR, "{\"type\": \"BertProcessing\", \"cls\": [\"a\"]}",
          "tokenizer.json: post_processor 0: the id must be an integer");
}

/* A Sequence of `more` and then `n` times `step`. */
static void check_sequence(enum part part, const char *list_key, const char *more, const char *step, size_t n,
                           const char *expected)
{
    size_t cap = strlen(more) + n * (strlen(step) + 2) + 100, at;
    char *text = malloc(cap);
    at = (size_t)snprintf(text, cap, "{\"type\": \"Sequence\", \"%s\": [%s", list_key, more);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, cap - at, "%s%s", at > 0 && text[at - 1] != '[' ? ", " : "", step);
    snprintf(text + at, cap - at, "]}");
    check(part, text, expected);
    free(text);
}

Test(vocab_hostile, steps_that_do_not_go_together)
{
    static const char fuse[] = "{\"type\": \"Fuse\"}";
    static const char strip[] = "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1}";
    static const char strip_end[] = "{\"type\": \"Strip\", \"content\": \" \", \"stop\": 1}";
    static const char replace[] = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"b\"}";
    static const char metaspace[] = "{\"type\": \"Metaspace\", \"replacement\": \"_\"}";
    static const char split[] = "{\"type\": \"Split\", \"pattern\": {\"String\": \" \"}, \"behavior\": \"Isolated\"}";
    check_sequence(DECODER, "decoders", fuse, strip, 2,
                   "tokenizer.json: decoder 2: after Fuse, only one strip, and only at the start, is supported");
    check_sequence(DECODER, "decoders", fuse, strip_end, 1,
                   "tokenizer.json: decoder 1: after Fuse, only one strip, and only at the start, is supported");
    check_sequence(DECODER, "decoders", fuse, replace, 1,
                   "tokenizer.json: decoder 1: Replace is not supported after ByteFallback, ByteLevel or Fuse");
    check_sequence(DECODER, "decoders", "{\"type\": \"ByteFallback\"}", strip, 1,
                   "tokenizer.json: decoder 1: Strip is not supported after ByteFallback, ByteLevel or Fuse");
    check_sequence(DECODER, "decoders", replace, metaspace, 1,
                   "tokenizer.json: decoder 1: Metaspace must be the first step");
    check_sequence(DECODER, "decoders", "", replace, 33, "tokenizer.json: decoder 32: more than 32 steps");
    check_sequence(PRE_TOKENIZER, "pretokenizers", "", split, 33,
                   "tokenizer.json: pre_tokenizer 32: more than 32 steps");
}

Test(vocab_hostile, values_of_steps)
{
    check(DECODER, "{\"type\": \"Metaspace\", \"replacement\": \"\"}",
          "tokenizer.json: decoder 0: replacement: must be one character");
    check(DECODER, "{\"type\": \"Metaspace\", \"replacement\": 1}",
          "tokenizer.json: decoder 0: replacement: must be a string");
    check(DECODER, "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"add_prefix_space\": \"x\"}",
          "tokenizer.json: decoder 0: add_prefix_space: must be true or false");
    check(DECODER, "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": 7}",
          "tokenizer.json: decoder 0: prepend_scheme: must be a string");
    check(DECODER, "{\"type\": \"Strip\"}", "tokenizer.json: decoder 0: content: must be one character");
    check(DECODER, "{\"type\": \"Strip\", \"content\": \" \", \"start\": \"x\"}",
          "tokenizer.json: decoder 0: start: must be an integer");
    check(DECODER, "{\"type\": \"Strip\", \"content\": \" \", \"stop\": 4194305}",
          "tokenizer.json: decoder 0: stop: 4194305 is outside 0..4194304");
    check(DECODER, "{\"type\": \"Replace\", \"pattern\": {\"String\": 7}, \"content\": \"x\"}",
          "tokenizer.json: decoder 0: String: must be a string");
    char *long_text = repeat("x", 5000), step[6000];
    snprintf(step, sizeof step, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"%s\"}",
             long_text);
    check(DECODER, step, "tokenizer.json: decoder 0: content: 5000 bytes exceed 4096");
    check(NORMALIZER, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": 1}",
          "tokenizer.json: normalizer 0: content: must be a string");
    free(long_text);
}

#define TEMPLATE(single, special) \
    "{\"type\": \"TemplateProcessing\", \"single\": " single ", \"special_tokens\": " special "}"
#define EIGHT "0, 1, 2, 3, 4, 5, 0, 1"

Test(vocab_hostile, templates)
{
    static const char seventeen[] =
        TEMPLATE("[{\"SpecialToken\": {\"id\": \"x\"}}]", "{\"x\": {\"ids\": [" EIGHT ", " EIGHT ", 0]}}");
    static const char nine[] = TEMPLATE("[{\"SpecialToken\": {\"id\": \"x\"}}, {\"Sequence\": {\"id\": \"A\"}}]",
                                        "{\"x\": {\"ids\": [" EIGHT ", 0]}}");
    static const char nine_after[] = TEMPLATE("[{\"Sequence\": {\"id\": \"A\"}}, {\"SpecialToken\": {\"id\": \"x\"}}]",
                                              "{\"x\": {\"ids\": [" EIGHT ", 0]}}");
    check(POST_PROCESSOR, seventeen, "tokenizer.json: post_processor 0: more than 16 ids");
    check_sequence(POST_PROCESSOR, "processors", "", nine, 2, "tokenizer.json: post_processor 1: more than 16 ids");
    check_sequence(POST_PROCESSOR, "processors", "", nine_after, 2,
                   "tokenizer.json: post_processor 1: more than 16 ids");
    check(POST_PROCESSOR, "{\"type\": \"Odd\"}", "tokenizer.json: post_processor 0: type \"Odd\" is not supported");
    check(POST_PROCESSOR, "{\"type\": \"TemplateProcessing\"}",
          "tokenizer.json: post_processor 0: single: must be a list");
    check(POST_PROCESSOR, TEMPLATE("{}", "{}"), "tokenizer.json: post_processor 0: single: must be a list");
    check(POST_PROCESSOR, TEMPLATE("[]", "{}"), "tokenizer.json: post_processor 0: single: needs sequence A once");
    check(POST_PROCESSOR, TEMPLATE("[{\"Sequence\": {}}]", "{}"),
          "tokenizer.json: post_processor 0: single: needs sequence A once");
    check(POST_PROCESSOR, TEMPLATE("[{\"Sequence\": {\"id\": \"A\"}}, {\"Sequence\": {\"id\": \"A\"}}]", "{}"),
          "tokenizer.json: post_processor 0: single: needs sequence A once");
    check(POST_PROCESSOR, TEMPLATE("[{\"SpecialToken\": {\"id\": 7}}]", "{}"),
          "tokenizer.json: post_processor 0: unknown token \"\"");
    check(POST_PROCESSOR, TEMPLATE("[{\"SpecialToken\": {\"id\": \"x\"}}]", "{\"x\": {\"ids\": {}}}"),
          "tokenizer.json: post_processor 0: unknown token \"x\"");
    check(POST_PROCESSOR, TEMPLATE("[{\"SpecialToken\": {\"id\": \"x\"}}]", "{\"x\": {\"ids\": [-1]}}"),
          "tokenizer.json: post_processor 0: id -1 has no token");
    check(POST_PROCESSOR, "{\"type\": \"RobertaProcessing\", \"cls\": [\"a\", 0], \"sep\": [\"b\", \"1\"]}",
          "tokenizer.json: post_processor 0: the id must be an integer");
}

/* model_max_length is often 10^30, which is no integer of 64 bits; what is no float of 64 bits either is an error. */
Test(vocab_hostile, large_numbers)
{
    static const char config[] = "{\"model_max_length\": 1000000000000000000000000000000, \"eos_token\": \"<s>\"}";
    struct vocab *v = NULL;
    struct failure f = {0};
    char *text = build(N_PARTS, "");
    cr_assert_eq(vocab_create(&v, text, strlen(text), config, sizeof config - 1, &f), SLUICE_OK, "%s", f.text);
    cr_expect_eq(vocab_eos_id(v), 5);
    vocab_free(&v);
    check_bytes(text, strlen(text), "{\"model_max_length\": 1e999}",
                "tokenizer_config.json: JSON error at byte 21: number out of range");
    free(text);
}

/* Ids without a token have no bytes for the decoder's steps to work on. */
Test(vocab_hostile, the_first_id_may_be_a_hole)
{
    static const char text[] = "{\"version\": \"1.0\", \"decoder\": {\"type\": \"Replace\", \"pattern\": {\"String\": "
                               "\"a\"}, \"content\": \"b\"}, "
                               "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 1}, \"merges\": []}}";
    struct vocab *v = NULL;
    struct failure f = {0};
    size_t n = 7;
    cr_assert_eq(vocab_create(&v, text, sizeof text - 1, NULL, 0, &f), SLUICE_OK, "%s", f.text);
    vocab_token_bytes(v, 0, &n);
    cr_expect_eq(n, 0);
    cr_expect(memcmp(vocab_token_bytes(v, 1, &n), "b", 1) == 0 && n == 1);
    vocab_free(&v);
}

/* The one character whose small form is two characters. */
Test(vocab_hostile, small_letters_may_be_two_characters)
{
    static const char text[] =
        "{\"version\": \"1.0\", \"normalizer\": {\"type\": \"Lowercase\"}, \"model\": {\"type\": "
        "\"BPE\", \"vocab\": {\"i\": 0, \"\\u0307\": 1}, \"merges\": []}}";
    struct vocab *v = NULL;
    struct failure f = {0};
    int32_t ids[4] = {-1, -1, -1, -1};
    size_t n = 0;
    cr_assert_eq(vocab_create(&v, text, sizeof text - 1, NULL, 0, &f), SLUICE_OK, "%s", f.text);
    cr_expect_eq(vocab_encode(v, "\xc4\xb0I", 3, 0, ids, 4, &n, &f), SLUICE_OK, "%s", f.text);
    cr_expect(n == 3 && ids[0] == 0 && ids[1] == 1 && ids[2] == 0);
    vocab_free(&v);
}

Test(vocab_hostile, catastrophic_pattern_is_an_error_of_the_input)
{
    char *text = build(PRE_TOKENIZER, "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a+)+$\"}, \"behavior\": "
                                      "\"Isolated\"}"),
         *input = repeat("a", 41);
    input[40] = 'b';
    struct vocab *v = NULL;
    struct failure f = {0};
    cr_assert_eq(vocab_create(&v, text, strlen(text), NULL, 0, &f), SLUICE_OK, "%s", f.text);
    size_t n = 7;
    cr_expect_eq(vocab_encode(v, input, 41, 0, NULL, 0, &n, &f), SLUICE_ARGUMENT);
    cr_expect_str_eq(f.text, "input: pattern exceeded its match limit");
    cr_expect_eq(n, 0);
    vocab_free(&v);
    free(text);
    free(input);
}

Test(vocab_hostile, growth_of_the_input_is_limited)
{
    char step[] = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aaaaaaaa\"},";
    char *steps = repeat(step, 30), *list = malloc(strlen(steps) + 200);
    sprintf(list, "{\"type\": \"Sequence\", \"normalizers\": [%s{\"type\": \"NFC\"}]}", steps);
    char *text = build(NORMALIZER, list);
    struct vocab *v = NULL;
    struct failure f = {0};
    cr_assert_eq(vocab_create(&v, text, strlen(text), NULL, 0, &f), SLUICE_OK, "%s", f.text);
    size_t n;
    cr_expect_eq(vocab_encode(v, "a", 1, 0, NULL, 0, &n, &f), SLUICE_ARGUMENT);
    cr_expect_str_eq(f.text, "input: grows beyond 1048640 bytes");
    vocab_free(&v);
    free(text);
    free(list);
    free(steps);
}

/* Every request for memory fails once; each time one error, nothing lost. */
Test(vocab_hostile, every_allocation_may_fail)
{
    char *text = build(NORMALIZER, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"b\"}");
    static const char config[] = "{\"added_tokens_decoder\": {\"9\": {\"content\": \"new\", \"normalized\": true}}}";
    sluice_status status = SLUICE_MEMORY;
    for (uint64_t n = 1; n < 1000 && status; n++) {
        struct vocab *v = NULL;
        struct failure f = {0};
        size_t count;
        memory_fail_after(n);
        status = vocab_create(&v, text, strlen(text), config, sizeof config - 1, &f);
        if (!status) status = vocab_encode(v, "a b new q<s>", 12, VOCAB_PARSE_SPECIAL, NULL, 0, &count, &f);
        memory_fail_after(0);
        cr_expect(status == SLUICE_OK || status == SLUICE_MEMORY, "request %d: %s", (int)n, f.text);
        cr_expect(status == SLUICE_OK || strstr(f.text, "not enough memory"));
        vocab_free(&v);
    }
    cr_expect_eq(status, SLUICE_OK);
    free(text);
}
