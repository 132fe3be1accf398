/* The option load_as: how it is spelt, and that models run with it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "sluice/sluice.h"

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/golden/%s", SLUICE_TEST_DIR, name);
    return path;
}

Test(load_as, an_unknown_type_is_an_argument_that_is_wrong)
{
    static const char *const words[] = {"q9", "", "iq2_xs", "i8", "q4_k_m"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char begin[96];
        sluice_engine *engine = NULL;
        sluice_error error = {0};
        sluice_engine_options options = sluice_engine_options_default();
        options.load_as = words[i];
        cr_expect_eq((int)sluice_engine_open(&engine, "/no/such/folder", &options, &error), (int)SLUICE_ARGUMENT);
        cr_expect_null(engine);
        snprintf(begin, sizeof begin, "load as: unknown type \"%s\", expected one of f32, f16, bf16, q4_0", words[i]);
        cr_expect_eq(strncmp(error.text, begin, strlen(begin)), 0, "%s", error.text);
        cr_expect_null(strstr(error.text, "iq1"), "what cannot be encoded is not offered: %s", error.text);
    }
}

Test(load_as, the_engine_says_what_was_loaded)
{
    static const char *const words[] = {NULL, "q8_0", "Q4_K", "bf16"};
    static const char *const types[] = {"F32", "Q8_0", "Q5_0", "BF16"}; /* 64 and 96 inputs: no blocks of 256 */
    uint64_t file_bytes = 0, weight_bytes = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        sluice_engine *engine = NULL;
        sluice_session *session = NULL;
        sluice_error error = {0};
        sluice_model_info info;
        const int32_t token = 3;
        sluice_engine_options options = sluice_engine_options_default();
        options.load_as = words[i];
        cr_assert_eq((int)sluice_engine_open(&engine, path_of("gguf/llama3-f32.gguf"), &options, &error),
                     (int)SLUICE_OK, "%s", error.text);
        sluice_engine_get_info(engine, &info);
        cr_expect_str_eq(info.weight_dtype, types[i]);
        if (i) cr_expect(info.file_bytes == file_bytes && info.weight_bytes < weight_bytes);
        if (!i) weight_bytes = info.weight_bytes;
        file_bytes = info.file_bytes;
        cr_assert_eq((int)sluice_session_create(&session, engine, NULL, &error), (int)SLUICE_OK, "%s", error.text);
        cr_expect_eq((int)sluice_session_prefill(session, &token, 1), (int)SLUICE_OK);
        cr_expect_not_null(sluice_session_logits(session));
        sluice_session_free(&session);
        sluice_engine_close(&engine);
    }
}

Test(load_as, a_smaller_type_is_found)
{
    sluice_engine *engine = NULL;
    sluice_error error = {0};
    char word[16], four[4];
    uint64_t bytes = 0, all = 0;
    sluice_engine_options options = sluice_engine_options_default();
    options.flags = SLUICE_OPEN_NO_WEIGHTS;
    cr_assert_eq((int)sluice_engine_open(&engine, path_of("gguf/llama3-f32.gguf"), &options, &error), (int)SLUICE_OK,
                 "%s", error.text);
    cr_expect(sluice_engine_smaller_type(engine, UINT64_MAX, word, sizeof word, &all));
    cr_expect_str_eq(word, "q8_0");
    cr_expect(sluice_engine_smaller_type(engine, all - 1, word, sizeof word, &bytes));
    cr_expect_str_eq(word, "q5_k");
    cr_expect_lt(bytes, all);
    cr_expect(sluice_engine_smaller_type(engine, all, four, sizeof four, &bytes));
    cr_expect_str_eq(four, "q8_");
    sluice_engine_close(&engine);

    options.flags = SLUICE_OPEN_TOKENIZER_ONLY;
    cr_assert_eq((int)sluice_engine_open(&engine, path_of("gguf/llama3-f32.gguf"), &options, &error), (int)SLUICE_OK,
                 "%s", error.text);
    cr_expect(!sluice_engine_smaller_type(engine, 1, word, sizeof word, &bytes));
    cr_expect_str_eq(word, "");
    sluice_engine_close(&engine);
}
