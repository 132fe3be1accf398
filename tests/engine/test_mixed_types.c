/* The gate and the up of an expert in different quantised types, as real files have them: they read the same packed
 * rows through different kernels. A GGUF file of blocks is written again in two ways that hold the same numbers, with
 * the experts' gate and up in types of their own and with all of these matrices as F32, so both must give the same
 * bits if inputs are not rounded, and nearly the same if they are. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "golden.h"
#include "quant/codec.h"
#include "weights/gguf_write.h"

static const char source[] = SLUICE_TEST_DIR "/golden/gguf/qwen3-moe-q4_k_m.gguf";

static struct test_folder folder;
static void remove_folder(void) { folder_remove(&folder); }

struct mix {
    enum dtype gate, up;
};

static size_t elements_of(const struct tensor_view *view)
{
    size_t n = 1;
    for (int i = 0; i < view->n_dims; i++) n *= (size_t)view->shape[i];
    return n;
}

/* What a tensor becomes: of gate and up, the type of the mix, if `as_float` that type's numbers as F32. */
static enum dtype type_of(const struct tensor_view *view, struct mix mix, bool as_float, enum dtype *rounded)
{
    *rounded = strstr(view->name, "ffn_gate_exps") ? mix.gate
               : strstr(view->name, "ffn_up_exps") ? mix.up
                                                   : view->dtype;
    return *rounded != view->dtype && as_float ? DTYPE_F32 : *rounded;
}

static void write_tensor(struct gguf_writer *w, size_t i, const struct tensor_view *view, enum dtype type,
                         enum dtype rounded)
{
    struct failure f = {0};
    if (type == view->dtype) {
        cr_assert_eq(gguf_write_data(w, i, 0, view->data, view->bytes, &f), SLUICE_OK, "%s", f.text);
        return;
    }
    size_t n = elements_of(view);
    float *values = malloc(n * sizeof *values);
    unsigned char *blocks = malloc(n * sizeof *values);
    cr_assert(values && blocks);
    quant_decode(view->dtype, values, view->data, n);
    quant_encode(rounded, blocks, values, n, NULL);
    if (type == DTYPE_F32) {
        quant_decode(rounded, values, blocks, n);
        cr_assert_eq(gguf_write_data(w, i, 0, values, n * sizeof *values, &f), SLUICE_OK, "%s", f.text);
    } else {
        cr_assert_eq(gguf_write_data(w, i, 0, blocks, blocks_bytes(type, n), &f), SLUICE_OK, "%s", f.text);
    }
    free(values);
    free(blocks);
}

static void write_file(const char *name, struct mix mix, bool as_float)
{
    struct failure f = {0};
    struct archive *a;
    struct gguf_writer *w;
    struct meta value;
    const char *key;
    enum dtype rounded;
    cr_assert_eq(archive_open(&a, source, ARCHIVE_TENSORS, &f), SLUICE_OK, "%s", f.text);
    cr_assert_eq(gguf_writer_create(&w, folder_path(&folder, name), &f), SLUICE_OK, "%s", f.text);
    for (size_t i = 0; (key = archive_gguf_key(a, i, &value)); i++) gguf_put_meta(w, key, value);
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const struct tensor_view *view = archive_tensor(a, i);
        gguf_add_tensor(w, view->name, type_of(view, mix, as_float, &rounded), view->n_dims, view->shape);
    }
    cr_assert_eq(gguf_begin_data(w, &f), SLUICE_OK, "%s", f.text);
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const struct tensor_view *view = archive_tensor(a, i);
        enum dtype type = type_of(view, mix, as_float, &rounded);
        write_tensor(w, i, view, type, rounded);
    }
    cr_assert_eq(gguf_writer_commit(w, &f), SLUICE_OK, "%s", f.text);
    gguf_writer_close(&w);
    archive_close(&a);
}

static struct seen run(const char *name, int n_threads, int chunk, unsigned flags)
{
    enum { N = 40 };
    int32_t tokens[N];
    struct golden g = {.tokens = tokens, .n_tokens = N};
    struct seen s;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    o.n_threads = n_threads;
    o.flags = flags;
    cr_assert_eq(sluice_engine_open(&g.engine, folder_path(&folder, name), &o, &error), SLUICE_OK, "%s", error.text);
    sluice_engine_get_info(g.engine, &g.info);
    for (int i = 0; i < N; i++) tokens[i] = (i * 37 + 11) % g.info.vocab_size;
    golden_run(&g, chunk, &s);
    sluice_engine_close(&g.engine);
    return s;
}

Test(mixed_types, gate_and_up_may_differ, .fini = remove_folder)
{
    static const struct mix mixes[] = {{DTYPE_Q4_K, DTYPE_Q8_0}, {DTYPE_F32, DTYPE_Q6_K}, {DTYPE_MXFP4, DTYPE_Q4_0}};
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        folder_create(&folder);
        write_file("blocks.gguf", mixes[i], false);
        write_file("floats.gguf", mixes[i], true);
        for (int chunk = 0; chunk < 2; chunk++) { /* all rows at once, by two threads; one by one */
            struct seen blocks = run("blocks.gguf", 2 - chunk, chunk, SLUICE_OPEN_FLOAT),
                        floats = run("floats.gguf", 2 - chunk, chunk, SLUICE_OPEN_FLOAT),
                        rounded = run("blocks.gguf", 2 - chunk, chunk, 0);
            const size_t n = blocks.n_tokens * blocks.vocab_size;
            cr_expect(!memcmp(blocks.logits, floats.logits, n * sizeof(float)), "mix %zu: logits differ, chunk %d", i,
                      chunk);
            cr_expect_lt(nmse(rounded.logits, floats.logits, n), 0.02, "mix %zu: %g, chunk %d", i,
                         nmse(rounded.logits, floats.logits, n), chunk);
            seen_free(&blocks);
            seen_free(&floats);
            seen_free(&rounded);
        }
        folder_remove(&folder);
    }
}
