/* The tokenizer files of a folder beside a model: tiktoken.model where there is no tokenizer.json, also through the
 * quantiser, and tokenizers that have more ids than the model. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/experimental.h"
#include "tests/support/folder.h"

enum { VOCAB = 520, WIDTH = 32 };

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(folder_vocab, .init = create, .fini = destroy);

/* ---- making folders ---------------------------------------------------------------------------------------------- */

/* A Llama of one layer; all weights are zero. */
static void write_model(void)
{
    static const char *const squares[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                          "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                          "mlp.down_proj",    "input_layernorm",  "post_attention_layernorm"};
    char names[9][64];
    struct test_tensor tensors[11] = {{"model.embed_tokens.weight", "F32", 2, {VOCAB, WIDTH}, NULL},
                                      {"model.norm.weight", "F32", 1, {WIDTH}, NULL}};
    for (int i = 0; i < 9; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.0.%s.weight", squares[i]);
        tensors[2 + i] = (struct test_tensor){names[i], "F32", i < 7 ? 2 : 1, {WIDTH, WIDTH}, NULL};
    }
    folder_write_tensors(&folder, "model.safetensors", tensors, 11);
    folder_write_text(&folder, "config.json",
                      "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 32, "
                      "\"intermediate_size\": 32, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
                      "\"vocab_size\": 520, \"rms_norm_eps\": 1e-5, \"max_position_embeddings\": 64, "
                      "\"eos_token_id\": 258, \"tie_word_embeddings\": true}");
}

/* a, b, ab, and an added token with the id 519 + n_beyond. */
static void write_tokenizer_json(int n_beyond, bool special)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"added_tokens\": [{\"id\": %d, \"content\": \"<image>\", \"special\": %s}], \"model\": {\"type\": "
             "\"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}}",
             VOCAB - 1 + n_beyond, special ? "true" : "false");
    folder_write_text(&folder, "tokenizer.json", text);
}

/* The bytes, then "ab"; 258 is [EOS], 257 [BOS]. `more` is put behind. */
static void write_tiktoken(const char *more)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[8192];
    size_t n = 0;
    for (unsigned byte = 0; byte < 256; byte++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%c%c== %u\n", digits[byte >> 2], digits[(byte & 3) << 4],
                              byte);
    snprintf(text + n, sizeof text - n, "YWI= 256\n%s", more);
    folder_write_text(&folder, "tiktoken.model", text);
    folder_write_text(
        &folder, "tokenizer_config.json",
        "{\"tokenizer_class\": \"TikTokenTokenizer\", \"bos_token\": \"[BOS]\", \"eos_token\": \"[EOS]\", "
        "\"added_tokens_decoder\": {\"510\": {\"content\": \"[BOS]\", \"special\": true}, "
        "\"258\": {\"content\": \"[EOS]\", \"special\": true}}}");
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

struct heard {
    int n;
    char text[512];
};

static void hear(void *context, const char *text)
{
    struct heard *h = context;
    h->n++;
    snprintf(h->text, sizeof h->text, "%s", text);
}

static sluice_status open_model(const char *path, sluice_engine **e, struct heard *heard, sluice_error *error)
{
    sluice_engine_options o = sluice_engine_options_default();
    o.n_threads = 1;
    o.warning = hear;
    o.context = heard;
    *heard = (struct heard){0};
    return sluice_engine_open(e, path, &o, error);
}

static sluice_engine *opened(const char *path, struct heard *heard)
{
    sluice_engine *e = NULL;
    sluice_error error = {0};
    cr_assert_eq(open_model(path, &e, heard, &error), SLUICE_OK, "%s", error.text);
    return e;
}

static void expect_refused(const char *expected)
{
    sluice_engine *e = NULL;
    sluice_error error = {0};
    struct heard heard;
    cr_expect_eq(open_model(folder.path, &e, &heard, &error), SLUICE_FORMAT);
    cr_expect_str_eq(error.text, expected, "%s", error.text);
}

static void expect_ids(const sluice_engine *e, const char *text, const char *expected)
{
    int32_t ids[64];
    size_t n = 0, at = 0;
    char found[512] = "";
    sluice_error error = {0};
    cr_assert_eq(sluice_tokenize(e, text, strlen(text), SLUICE_TEXT_SPECIAL, ids, 64, &n, &error), SLUICE_OK, "%s",
                 error.text);
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(found + at, sizeof found - at, i ? " %d" : "%d", ids[i]);
    cr_expect_str_eq(found, expected, "\"%s\": %s, expected %s", text, found, expected);
}

/* The folder as a GGUF file, opened; `heard` gets what the quantiser warned of. */
static sluice_engine *quantized(struct heard *heard, struct heard *heard_later)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/q.gguf", folder_path(&folder, "out"));
    folder_make(&folder, "out");
    sluice_quantize_options o = sluice_quantize_options_default();
    sluice_error error = {0};
    *heard = (struct heard){0};
    o.type = "q8_0";
    o.warning = hear;
    o.context = heard;
    cr_assert_eq(sluice_quantize(folder.path, path, &o, NULL, &error), SLUICE_OK, "%s", error.text);
    return opened(path, heard_later);
}

/* ---- tiktoken.model ---------------------------------------------------------------------------------------------- */

Test(folder_vocab, tiktoken_is_read_and_quantized)
{
    struct heard heard, later;
    write_model();
    write_tiktoken("");
    for (int file = 0; file < 2; file++) {
        sluice_engine *e = file ? quantized(&heard, &later) : opened(folder.path, &heard);
        sluice_model_info info;
        sluice_engine_get_info(e, &info);
        cr_expect_eq(info.bos_token, 510);
        expect_ids(e, "abab [BOS]\xc3\xa9[EOS]", "256 256 32 510 195 169 258");
        expect_ids(e, "<|reserved_token_300|>", "300");
        cr_expect_eq(heard.n, 0, "%s", heard.text);
        if (file) cr_expect_eq(later.n, 0, "%s", later.text);
        sluice_engine_close(&e);
    }
}

Test(folder_vocab, quantize_says_what_gguf_cannot_say)
{
    struct heard heard, later;
    write_model();
    write_tiktoken("YXh5eg== 257\n"); /* "axyz" as a whole word only */
    sluice_engine *e = quantized(&heard, &later);
    cr_expect_eq(heard.n, 1);
    cr_expect_str_eq(heard.text, "GGUF cannot say all that this tokenizer does: some texts may give other tokens");
    expect_ids(e, "ab axyz", "256 32 97 120 121 122");
    sluice_engine_close(&e);
}

Test(folder_vocab, tokenizer_json_comes_first)
{
    struct heard heard;
    write_model();
    write_tiktoken("not a token\n");
    expect_refused("tiktoken.model: line 258: bad base64 \"not\"");
    write_tokenizer_json(0, true);
    folder_delete(&folder, "tokenizer_config.json");
    sluice_engine *e = opened(folder.path, &heard);
    expect_ids(e, "ab", "2");
    sluice_engine_close(&e);
}

/* ---- more ids than the model ------------------------------------------------------------------------------------- */

Test(folder_vocab, special_tokens_may_exceed_the_model)
{
    struct heard heard, later;
    write_model();
    for (int n = 0; n < 4; n += 3) {
        write_tokenizer_json(n, true);
        sluice_engine *e = opened(folder.path, &heard);
        sluice_session *session = NULL;
        sluice_error error = {0};
        const int32_t token = VOCAB - 1 + n;
        char expected[16];
        snprintf(expected, sizeof expected, "2 %d", token);
        expect_ids(e, "ab<image>", expected);
        cr_expect_eq(heard.n, n > 0);
        cr_assert_eq(sluice_session_create(&session, e, NULL, &error), SLUICE_OK, "%s", error.text);
        cr_expect_eq(sluice_session_prefill(session, &token, 1), n ? SLUICE_ARGUMENT : SLUICE_OK);
        sluice_session_free(&session);
        sluice_engine_close(&e);
    }
    cr_expect_str_eq(heard.text, "the model has 520 tokens and cannot run the tokenizer's special tokens from id 520 "
                                 "to 522");
    sluice_engine *e = quantized(&heard, &later); /* carries tokenizer.json, so the same once more */
    cr_expect_eq(later.n, 1);
    sluice_model_info info;
    sluice_engine_get_info(e, &info);
    cr_expect_eq(info.vocab_size, VOCAB);
    sluice_engine_close(&e);
}

Test(folder_vocab, other_tokens_may_not)
{
    write_model();
    write_tokenizer_json(1, false);
    expect_refused("config.json: vocab_size: found 520, but the tokenizer has token id 520");
}
