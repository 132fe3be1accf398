/* tiktoken.model: ranks, whole words, special tokens by the class's rules, GGUF keys made of ranks; and malformed
 * files, each of which must give exactly its one line. The goldens are in test_vocab_golden.c, as "moonshot". */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "golden_files.h"
#include "text/vocab_internal.h"

#define CLASS "\"tokenizer_class\": \"TikTokenTokenizer\""
static const char plain[] = "{" CLASS "}";

/* ---- making files ----------------------------------------------------------------------------------------------- */

struct file {
    char text[16384];
    size_t n;
};

static void put_line(struct file *file, const char *line)
{
    file->n += (size_t)snprintf(file->text + file->n, sizeof file->text - file->n, "%s\n", line);
}

/* The bytes 0..255 as ids 0..255: lines 1..256. */
static struct file *bytes_only(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct file *file = calloc(1, sizeof *file);
    for (unsigned byte = 0; byte < 256; byte++) {
        char line[16];
        snprintf(line, sizeof line, "%c%c== %u", digits[byte >> 2], digits[(byte & 3) << 4], byte);
        put_line(file, line);
    }
    return file;
}

/* 256 "bc", 257 "ab", 258 "abc", 259 "axyz" that no merge makes, 260 the bytes A9 20, the end of a character */
static struct file *whole(void)
{
    struct file *file = bytes_only();
    put_line(file, "YmM= 256");
    put_line(file, "YWI= 257");
    put_line(file, "YWJj 258");
    put_line(file, "YXh5eg== 259");
    put_line(file, "qSA= 260");
    return file;
}

static struct vocab *create(struct file *file, const char *config)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    cr_assert_eq(vocab_create_tiktoken(&v, file->text, file->n, config, strlen(config), &f), SLUICE_OK, "%s", f.text);
    free(file);
    return v;
}

/* ---- meaning ---------------------------------------------------------------------------------------------------- */

Test(vocab_tiktoken, ranks_and_whole_words)
{
    struct vocab *v = create(whole(), plain);
    expect_ids(v, "abc", 0, "258");
    expect_ids(v, "abcabc", 0, "258 258"); /* bc twice, then a and bc: the same token by another cut than ab, c */
    expect_ids(v, "abab", 0, "257 257");
    expect_ids(v, "axyz", 0, "259");                /* a whole word */
    expect_ids(v, "axyza", 0, "97 120 121 122 97"); /* not whole: no merge leads there */
    expect_ids(v, "\xc3\xa9 x", 0, "195 169 32 120");
    expect_text(v, (int32_t[]){195, 260, 258}, 3, 0, "\xc3\xa9 abc");
    expect_text(v, (int32_t[]){260, 195}, 2, 0, "\xef\xbf\xbd \xef\xbf\xbd");
    cr_expect_eq(vocab_bos_id(v), -1);
    vocab_free(&v);
}

/* Line ends of other systems, no line end at the end, empty lines: as Python's splitlines. */
Test(vocab_tiktoken, lines)
{
    struct file *file = bytes_only(), *other = calloc(1, sizeof *other);
    for (size_t i = 0; i < file->n - 1; i++) {
        if (file->text[i] == '\n') other->text[other->n++] = '\r';
        other->text[other->n++] = file->text[i];
        if (file->text[i] == '\n' && i < 50) other->text[other->n++] = '\n';
    }
    free(file);
    struct vocab *v = create(other, plain);
    cr_expect_eq(vocab_size(v), 512);
    expect_ids(v, "\n~", 0, "10 126");
    vocab_free(&v);
}

/* The class keeps 256 ids behind the ranks. */
Test(vocab_tiktoken, special_tokens)
{
    struct vocab *v = create(whole(), "{" CLASS ", \"bos_token\": \"[BOS]\", \"eos_token\": {\"content\": \"[EOS]\"}, "
                                      "\"added_tokens_decoder\": {\"261\": {\"content\": \"[BOS]\", \"special\": true},"
                                      "\"262\": {\"content\": \"[EOS]\", \"special\": true}, \"264\": {\"content\": "
                                      "\"<think>\"}, \"600\": {\"content\": \"\xc3\xa9>\", \"special\": true}}}");
    cr_expect_eq(vocab_size(v), 601);
    cr_expect_eq(vocab_core_size(v), 265);
    cr_expect(vocab_bos_id(v) == 261 && vocab_eos_id(v) == 262);
    expect_ids(v, "abc", 0, "258"); /* the class adds no BOS */
    expect_ids(v, "[BOS]ab[EOS]", VOCAB_PARSE_SPECIAL, "261 257 262");
    expect_ids(v, "[EOS]", 0, "91 69 79 83 93");
    expect_ids(v, "<think><|reserved_token_263|>", VOCAB_PARSE_SPECIAL, "264 263");
    expect_ids(v, "<|reserved_token_516|>\xc3\xa9>", VOCAB_PARSE_SPECIAL, "516 600");
    expect_text(v, (int32_t[]){261, 258, 264, 600}, 4, VOCAB_DECODE_SPECIAL, "[BOS]abc<think>\xc3\xa9>");
    expect_text(v, (int32_t[]){261, 258, 264, 517}, 4, 0, "abc<think>");
    cr_expect(vocab_is_special(v, 263) && vocab_is_special(v, 516) && !vocab_is_special(v, 264));
    vocab_free(&v);
}

/* ---- as GGUF keys ----------------------------------------------------------------------------------------------- */

static bool has_merge(const struct vocab_source *s, size_t i, const char *merge)
{
    return s->merge_lengths[i] == strlen(merge) && memcmp(s->merges[i], merge, strlen(merge)) == 0;
}

Test(vocab_tiktoken, merges_of_ranks)
{
    struct vocab *v = create(whole(), plain);
    struct vocab_source s;
    struct failure f = {0};
    bool exact;
    cr_assert_eq(vocab_describe(v, 520, &s, &exact, &f), SLUICE_OK, "%s", f.text);
    cr_expect(!exact, "axyz has no merge");
    cr_expect_str_eq(s.pre, "kimi-k2");
    cr_expect(s.n_tokens == 520 && s.types[519] == KIND_UNUSED && s.types[261] == KIND_CONTROL && s.types[0] == 1);
    cr_assert_eq(s.n_merges, 4);
    cr_expect(has_merge(&s, 0, "b c") && has_merge(&s, 1, "a b") && has_merge(&s, 2, "a bc") &&
              has_merge(&s, 3, "\xc2\xa9 \xc4\xa0"));
    vocab_source_free(&s);
    vocab_free(&v);
}

/* A model with fewer rows: special tokens beyond are left out, others are not. */
Test(vocab_tiktoken, special_tokens_beyond_the_model)
{
    struct vocab *v = create(whole(), "{" CLASS ", \"eos_token\": \"[EOS]\", \"added_tokens_decoder\": {\"515\": "
                                      "{\"content\": \"[EOS]\", \"special\": true}}}");
    for (size_t n = 10; n < 500; n += 400) {
        struct vocab_source s;
        bool exact;
        cr_assert_eq(vocab_describe(v, n, &s, &exact, NULL), SLUICE_OK);
        cr_expect_eq(s.n_tokens, n < 261 ? 261 : n);
        cr_expect_eq(s.eos, -1);
        vocab_source_free(&s);
    }
    vocab_free(&v);
}

/* ---- malformed -------------------------------------------------------------------------------------------------- */

static void expect_failure(const char *model, size_t n, const char *config, const char *expected)
{
    struct vocab *v = NULL;
    struct failure f = {0};
    sluice_status status = vocab_create_tiktoken(&v, model, n, config, config ? strlen(config) : 0, &f);
    cr_expect_null(v);
    cr_expect_neq(status, SLUICE_OK, "accepted; expected: %s", expected);
    cr_expect_str_eq(f.text, expected, "\n  found:    %s\n  expected: %s", f.text, expected);
    vocab_free(&v);
}

/* Line 257 is the first behind the bytes. */
static void refuse_line(const char *line, const char *reason)
{
    char expected[512];
    struct file *file = bytes_only();
    put_line(file, line);
    snprintf(expected, sizeof expected, "tiktoken.model: line 257: %s", reason);
    expect_failure(file->text, file->n, plain, expected);
    free(file);
}

Test(vocab_tiktoken_hostile, lines)
{
    static const char blank[] = "must be a token in base64, a blank, and its rank";
    refuse_line("YmM=", blank);
    refuse_line("YmM=\t256", blank);
    refuse_line(" 256", "bad base64 \"\"");
    refuse_line("==== 256", "bad base64 \"====\"");
    refuse_line("YmM 256", "bad base64 \"YmM\"");
    refuse_line("Y=M= 256", "bad base64 \"Y=M=\"");
    refuse_line("Ym-_ 256", "bad base64 \"Ym-_\"");
    refuse_line("Y=== 256", "bad base64 \"Y===\"");
    refuse_line("YmM=\xff\xfe\xfd\xfc 256", "bad base64 \"YmM=\\xff\\xfe\\xfd\\xfc\"");
    refuse_line("YmM= ", "rank: found \"\", expected 256");
    refuse_line("YmM= 257", "rank: found \"257\", expected 256");
    refuse_line("YmM= 255", "rank: found \"255\", expected 256");
    refuse_line("YmM= -1", "rank: found \"-1\", expected 256");
    refuse_line("YmM= 256 1", "rank: found \"256 1\", expected 256");
    refuse_line("YmM= 999999999999999999999", "rank: found \"999999999999999999999\", expected 256");
    refuse_line("YQ== 256", "token \"a\" has the ids 97 and 256");
}

Test(vocab_tiktoken_hostile, long_lines)
{
    char line[8192];
    memset(line, 'A', sizeof line);
    memcpy(line + 4092, " 256", 5);
    refuse_line(line, "token 256: 6138 bytes exceed 4096"); /* 3069 zero bytes, two bytes each in the alphabet */
    memset(line, 'A', sizeof line);
    memcpy(line + 4096, " 256", 5);
    refuse_line(line, "4100 bytes exceed 4096");
}

Test(vocab_tiktoken_hostile, whole_file)
{
    expect_failure("", 0, plain, "tiktoken.model: byte 0x00 has no token");
    expect_failure("\n\n\n", 3, plain, "tiktoken.model: byte 0x00 has no token");
    expect_failure("YQ== 0\0\n", 8, plain, "tiktoken.model: line 1: rank: found \"0\\x00\", expected 0");
    struct file *file = bytes_only();
    memcpy(strstr(file->text, "QQ== 65\n"), "QUE= 65\n", 8);
    expect_failure(file->text, file->n, plain, "tiktoken.model: byte 0x41 has no token");
    free(file);
    size_t n = MAX_TOKENS;
    char *lines = malloc(n);
    memset(lines, '\n', n);
    expect_failure(lines, n, plain, "tiktoken.model: 4194305 lines exceed 4194048");
    free(lines);
}

Test(vocab_tiktoken_hostile, configuration)
{
    struct file *file = whole();
    static const struct {
        const char *config, *expected;
    } cases[] = {
        {NULL, "no such file, but tiktoken.model needs it"},
        {"{}", "tokenizer_class: found \"\", with tiktoken.model only TikTokenTokenizer is supported"},
        {"{\"tokenizer_class\": \"QWenTokenizer\"}",
         "tokenizer_class: found \"QWenTokenizer\", with tiktoken.model only TikTokenTokenizer is supported"},
        {"{\"tokenizer_class\": 7}", "tokenizer_class: must be a string"},
        {"{" CLASS ", \"bos_token\": \"[BOS]\"}", "bos_token: \"[BOS]\" is not in the vocabulary"},
        {"{" CLASS ", \"added_tokens_decoder\": {\"97\": {\"content\": \"x\"}}}",
         "added_tokens_decoder: 97: \"x\" has the ids 120 and 97"},
        {"{" CLASS ", \"added_tokens_decoder\": {\"97\": {\"content\": \"xyz\"}}}",
         "added_tokens_decoder: 97: id 97 belongs to \"a\" and \"xyz\""},
        {"{" CLASS ", \"added_tokens_decoder\": {\"99999999\": {\"content\": \"xyz\"}}}",
         "added_tokens_decoder: 99999999: id 99999999 is outside 0..4194303"},
        {"{" CLASS ", \"added_tokens_decoder\": {\"700\": {\"content\": \"<|reserved_token_300|>\"}}}",
         "token \"<|reserved_token_300|>\" has the ids 700 and 300"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[512];
        snprintf(expected, sizeof expected, "tokenizer_config.json: %s", cases[i].expected);
        expect_failure(file->text, file->n, cases[i].config, expected);
    }
    free(file);
}

/* Cut anywhere and with any byte changed, a file opens or gives one line that names it. */
Test(vocab_tiktoken_hostile, every_cut_and_many_changes)
{
    struct file *file = whole();
    for (size_t n = 0; n < file->n; n += n < file->n - 64 ? 13 : 1) {
        char *text = malloc(n + 1); /* the sanitizer sees its end */
        memcpy(text, file->text, n);
        for (int change = 0; change < 4; change++) {
            struct vocab *v = NULL;
            struct failure f = {0};
            if (change && n) text[n * (unsigned)change / 4] ^= (char)(1 << change * 2 % 7);
            sluice_status status = vocab_create_tiktoken(&v, text, n, plain, sizeof plain - 1, &f);
            cr_expect(status == SLUICE_OK || strncmp(f.text, "tiktoken.model: ", 16) == 0, "%s", f.text);
            vocab_free(&v);
        }
        free(text);
    }
    free(file);
}

Test(vocab_tiktoken_hostile, every_allocation_may_fail)
{
    struct file *file = whole();
    sluice_status status = SLUICE_MEMORY;
    for (uint64_t k = 1; k < 1000 && status; k++) {
        struct vocab *v = NULL;
        struct vocab_source source = {0};
        struct failure f = {0};
        size_t n;
        bool exact;
        memory_fail_after(k);
        status = vocab_create_tiktoken(&v, file->text, file->n, plain, sizeof plain - 1, &f);
        if (!status) status = vocab_encode(v, "abcab\xc3\xa9", 7, 0, NULL, 0, &n, &f);
        if (!status) status = vocab_describe(v, 0, &source, &exact, &f);
        memory_fail_after(0);
        cr_expect(status == SLUICE_OK || status == SLUICE_MEMORY, "request %d: %s", (int)k, f.text);
        cr_expect(status == SLUICE_OK || strstr(f.text, "not enough memory"));
        vocab_source_free(&source);
        vocab_free(&v);
    }
    cr_expect_eq(status, SLUICE_OK);
    free(file);
}
