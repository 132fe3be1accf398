/* What does not fit into memory is refused before it is loaded, with the sum and with what would fit. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/failure.h"
#include "base/memory.h"
#include "sluice/sluice.h"

static int n_progress;

static void progress(void *context, uint64_t done, uint64_t total)
{
    (void)context, (void)done, (void)total;
    n_progress++;
}

static sluice_error error;

/* Opens with so much memory; true if it is accepted. */
static bool opens(const char *model, unsigned flags, const char *load_as, const sluice_session_options *session,
                  uint64_t available)
{
    char path[512];
    sluice_engine *e = NULL;
    sluice_engine_options o = sluice_engine_options_default();
    snprintf(path, sizeof path, "%s/golden/%s", SLUICE_TEST_DIR, model);
    o.n_threads = 1;
    o.flags = flags;
    o.load_as = load_as;
    o.session = session;
    o.progress = progress;
    n_progress = 0;
    error = (sluice_error){0};
    memory_pretend_available(available);
    const sluice_status status = sluice_engine_open(&e, path, &o, &error);
    memory_pretend_available(0);
    cr_assert(status == SLUICE_OK || status == SLUICE_MEMORY, "%s", error.text);
    cr_expect_eq(e != NULL, status == SLUICE_OK);
    if (status) cr_expect_eq(n_progress, 0, "%s: refused after a part was loaded", model);
    sluice_engine_close(&e);
    return status == SLUICE_OK;
}

static void sizes_of(const char *model, const sluice_session_options *session, uint64_t *weights, uint64_t *needed)
{
    char path[512];
    sluice_engine *e = NULL;
    sluice_model_info info;
    sluice_engine_options o = sluice_engine_options_default();
    snprintf(path, sizeof path, "%s/golden/%s", SLUICE_TEST_DIR, model);
    o.n_threads = 1;
    o.flags = SLUICE_OPEN_NO_WEIGHTS;
    cr_assert_eq(sluice_engine_open(&e, path, &o, &error), SLUICE_OK, "%s", error.text);
    sluice_engine_get_info(e, &info);
    *weights = info.weight_bytes;
    *needed = sluice_session_forecast_bytes(e, session);
    cr_assert(*weights > 0 && *needed > 0);
    sluice_engine_close(&e);
}

Test(memory_sum, weights_and_the_expected_session_count_together)
{
    static const char *const models[] = {"models/qwen3-moe-hub-bf16", "models/lfm2-v5-f32", "gguf/llama3-f32.gguf"};
    const sluice_session_options session = {.n_context = 33, .n_chunk = 7, .cache_type = "f32"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        uint64_t weights, needed;
        sizes_of(models[i], &session, &weights, &needed);
        cr_expect(opens(models[i], 0, NULL, NULL, weights), "%s: %s", models[i], error.text);
        cr_expect(!opens(models[i], 0, NULL, NULL, weights - 1), "%s", models[i]);
        cr_expect_null(strstr(error.text, "session"), "%s", error.text);
        cr_expect(opens(models[i], 0, NULL, &session, weights + needed), "%s: %s", models[i], error.text);
        cr_expect(!opens(models[i], 0, NULL, &session, weights + needed - 1), "%s", models[i]);
        cr_expect_not_null(strstr(error.text, " and the session "), "%s", error.text);
        cr_expect_not_null(strstr(error.text, ", together "), "%s", error.text);
        cr_expect(opens(models[i], SLUICE_OPEN_NO_WEIGHTS, NULL, &session, 1), "without weights all can be opened");
    }
}

Test(memory_sum, a_session_that_cannot_be_is_not_counted)
{
    uint64_t weights, needed;
    const sluice_session_options good = {.n_context = 20}, bad = {.n_context = 1 << 30};
    sizes_of("gguf/llama3-f32.gguf", &good, &weights, &needed);
    cr_expect(opens("gguf/llama3-f32.gguf", 0, NULL, &bad, weights), "%s", error.text);
}

/* What the model would need if it were opened so: asked of the engine, which then has to say the same. */
static void weights_so(const char *model, unsigned flags, uint64_t budget, uint64_t *weights, char type[16],
                       uint64_t *smaller)
{
    char path[512];
    sluice_engine *e = NULL;
    sluice_model_info info;
    sluice_engine_options o = sluice_engine_options_default();
    snprintf(path, sizeof path, "%s/golden/%s", SLUICE_TEST_DIR, model);
    o.flags = SLUICE_OPEN_NO_WEIGHTS | flags;
    cr_assert_eq(sluice_engine_open(&e, path, &o, &error), SLUICE_OK, "%s", error.text);
    sluice_engine_get_info(e, &info);
    *weights = info.weight_bytes;
    cr_assert(sluice_engine_smaller_type(e, budget, type, 16, smaller));
    sluice_engine_close(&e);
}

Test(memory_sum, the_sentence_names_what_would_fit)
{
    static const char *const models[] = {"gguf/llama3-f32.gguf", "gguf/qwen2-f16.gguf", "gguf/qwen3-moe-q4_k_m.gguf"};
    for (size_t i = 0; i < 3 * 2 * 2; i++) {
        const char *model = models[i % 3];
        const sluice_session_options session = {.n_context = 16, .n_chunk = 4, .cache_type = "f32"};
        const bool counts_session = i / 3 % 2, much = i / 6;
        char expected[512], type[16], ignored[16], size[5][SIZE_BYTES], together[96] = "", in_file[96] = "";
        uint64_t weights, needed, all, beside, smaller, none;
        sizes_of(model, &session, &all, &needed);
        if (!counts_session) needed = 0;
        const uint64_t available = (much ? all * 3 / 5 : all / 4) + needed;
        const uint64_t budget = counts_session ? available - needed : available - available / 16;
        weights_so(model, 0, budget, &weights, type, &smaller);
        weights_so(model, SLUICE_OPEN_NO_REPACK, 0, &beside, ignored, &none);
        if (counts_session)
            snprintf(together, sizeof together, " and the session %s, together %s", size_text(size[0], needed),
                     size_text(size[1], weights + needed));
        if (beside <= budget)
            snprintf(in_file, sizeof in_file, "; --no-repack instead reads weights in the file and needs %s",
                     size_text(size[0], beside + needed));
        snprintf(expected, sizeof expected,
                 "%s: the weights need %s%s, %s are available: --load-as %s, or a file written by quantize --type %s, "
                 "would %sneed %s%s", strrchr(model, '/') + 1, size_text(size[2], weights), together,
                 size_text(size[3], available), type, type, smaller <= budget ? "" : "still ",
                 size_text(size[4], smaller + needed), in_file);
        cr_expect(!opens(model, 0, NULL, counts_session ? &session : NULL, available));
        cr_expect_str_eq(error.text, expected, "\n     got: %s\nexpected: %s", error.text, expected);
    }
}

Test(memory_sum, no_advice_that_does_not_help)
{
    cr_expect(!opens("gguf/llama3-f32.gguf", SLUICE_OPEN_NO_REPACK, NULL, NULL, 1000));
    cr_expect_null(strstr(error.text, "--no-repack"), "%s", error.text);
    cr_expect(!opens("models/mixtral-top1-f32", 0, NULL, NULL, 1000)); /* rows of 40: no block fits */
    cr_expect_not_null(strstr(error.text, ", 1.0 kB are available, and no type of --load-as or quantize needs less"),
                       "%s", error.text);
    cr_expect(!opens("gguf/llama3-f32.gguf", 0, NULL, NULL, 1000));
    cr_expect_null(strstr(error.text, "--no-repack"), "a part is packed even then: %s", error.text);
}

/* What is advised can be done. */
Test(memory_sum, who_takes_the_advice_succeeds)
{
    uint64_t weights, needed;
    const sluice_session_options session = {.n_context = 16, .n_chunk = 4, .cache_type = "f32"};
    sizes_of("gguf/llama3-f32.gguf", &session, &weights, &needed);
    const uint64_t available = weights / 2 + needed;
    cr_expect(!opens("gguf/llama3-f32.gguf", 0, NULL, &session, available));
    cr_expect_not_null(strstr(error.text, "--load-as q8_0,"), "%s", error.text);
    cr_expect_not_null(strstr(error.text, "--no-repack"), "%s", error.text);
    cr_expect(opens("gguf/llama3-f32.gguf", 0, "q8_0", &session, available), "%s", error.text);
    cr_expect(opens("gguf/llama3-f32.gguf", SLUICE_OPEN_NO_REPACK, NULL, &session, available), "%s", error.text);
}

Test(memory_sum, a_session_that_does_not_fit)
{
    sluice_engine *e = NULL;
    sluice_session *s = NULL;
    const sluice_session_options o = {.n_context = 16, .n_chunk = 4};
    cr_assert_eq(sluice_engine_open(&e, SLUICE_TEST_DIR "/golden/gguf/llama3-f32.gguf", NULL, &error), SLUICE_OK);
    memory_pretend_available(5000);
    cr_expect_eq(sluice_session_create(&s, e, &o, &error), SLUICE_MEMORY);
    memory_pretend_available(0);
    cr_expect_null(s);
    cr_expect_not_null(strstr(error.text, ", 5.0 kB are available: a smaller context needs less"), "%s", error.text);
    memory_fail_after(2);
    cr_expect_eq(sluice_session_create(&s, e, &o, &error), SLUICE_MEMORY);
    memory_fail_after(0);
    cr_expect_not_null(strstr(error.text, "no memory for a session with a context of 16 tokens, "), "%s", error.text);
    cr_expect_eq(sluice_session_create(&s, e, &o, &error), SLUICE_OK, "%s", error.text);
    sluice_session_free(&s);
    sluice_engine_close(&e);
}
