/* From files to struct model: every value arrives, every tensor that is missing or deformed is named, and memory that
 * is short at any point leaves nothing behind. T22..T25, C21 and C25 are rows of a catalogue of malformed inputs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/float16.h"
#include "base/memory.h"
#include "model/plan.h"
#include "quant/codec.h"
#include "tests/model/checkpoint.h"
#include "weights/archive.h"

static struct checkpoint checkpoint;
static struct bound bound;
static void destroy(void) { checkpoint_remove(&checkpoint); }
TestSuite(bind, .fini = destroy);

static void make(const char *dtype) { checkpoint_create(&checkpoint, QWEN2_MOE, EXPERT_BY_EXPERT, dtype); }

static void bind_checkpoint(int n_threads, bool load_weights)
{
    checkpoint_write(&checkpoint);
    bind_path(&bound, checkpoint.folder.path, n_threads, load_weights);
}

static void must_bind(void)
{
    bind_checkpoint(2, true);
    cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
}

/* The checkpoint as it is now is refused with "NAME: LINE", NAME being the file or the folder. */
static void refused(bool names_the_file, sluice_status status, const char *line)
{
    char sentence[FAILURE_TEXT_BYTES];
    snprintf(sentence, sizeof sentence, "%s: %s",
             names_the_file ? "model.safetensors" : strrchr(checkpoint.folder.path, '/') + 1, line);
    for (int load = 0; load < 2; load++) { /* without weights everything is checked just the same */
        bind_checkpoint(1, load);
        cr_expect_eq((int)bound.status, (int)status, "%s", line);
        cr_expect_eq((int)bound.failure.status, (int)status);
        cr_expect_str_eq(bound.failure.text, sentence, "\n     got: %s\nexpected: %s", bound.failure.text, sentence);
        if (bound.status == SLUICE_OK)
            model_free(&bound.model);
        else
            cr_expect(!bound.model.layers && !bound.model.config.layers && !bound.model.arena.base);
    }
}

/* ---- what arrives ------------------------------------------------------------------------------------------------ */

static void expect_values(const float *got, const float *values, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        cr_assert_eq(got[i], checkpoint_rounded(checkpoint.dtype, values[i]), "%s: element %d", name, i);
}

static void expect_matrix(const struct weight *w, int n, int k, const char *name)
{
    float *values = malloc(sizeof(float) * (size_t)(n * k)), *row = malloc(sizeof(float) * (size_t)k);
    cr_assert(values && row);
    cr_assert_not_null(w->data, "%s", name);
    cr_assert(w->n == n && w->k == k, "%s: [%d, %d]", name, w->n, w->k);
    checkpoint_values(name, values, (size_t)(n * k));
    for (int r = 0; r < n; r++) {
        w->layout->get_row(row, w->data, r, k);
        expect_values(row, values + r * k, k, name);
    }
    free(values);
    free(row);
}

static void expect_vector(const float *v, int n, const char *name)
{
    float values[64];
    cr_assert_not_null(v, "%s", name);
    checkpoint_values(name, values, (size_t)n);
    expect_values(v, values, n, name);
}

static void expect_mlp(const struct mlp_weights *w, int ffn, const char *prefix)
{
    char name[96];
    snprintf(name, sizeof name, "%s.gate_proj.weight", prefix);
    expect_matrix(&w->gate, ffn, CHECKPOINT_HIDDEN, name);
    snprintf(name, sizeof name, "%s.up_proj.weight", prefix);
    expect_matrix(&w->up, ffn, CHECKPOINT_HIDDEN, name);
    snprintf(name, sizeof name, "%s.down_proj.weight", prefix);
    expect_matrix(&w->down, CHECKPOINT_HIDDEN, ffn, name);
}

static void expect_model(void)
{
    const struct model *m = &bound.model;
    const struct layer *l0 = &m->layers[0], *l1 = &m->layers[1];
    expect_matrix(&m->embedding, CHECKPOINT_VOCAB, CHECKPOINT_HIDDEN, "model.embed_tokens.weight");
    expect_matrix(&m->head, CHECKPOINT_VOCAB, CHECKPOINT_HIDDEN, "lm_head.weight");
    expect_vector(m->final_norm, CHECKPOINT_HIDDEN, "model.norm.weight");
    expect_vector(l0->mixer_norm, CHECKPOINT_HIDDEN, "model.layers.0.input_layernorm.weight");
    expect_vector(l1->ffn_norm, CHECKPOINT_HIDDEN, "model.layers.1.post_attention_layernorm.weight");
    expect_matrix(&l1->q, CHECKPOINT_Q, CHECKPOINT_HIDDEN, "model.layers.1.self_attn.q_proj.weight");
    expect_matrix(&l0->k, CHECKPOINT_KV, CHECKPOINT_HIDDEN, "model.layers.0.self_attn.k_proj.weight");
    expect_matrix(&l1->v, CHECKPOINT_KV, CHECKPOINT_HIDDEN, "model.layers.1.self_attn.v_proj.weight");
    expect_matrix(&l0->o, CHECKPOINT_HIDDEN, CHECKPOINT_Q, "model.layers.0.self_attn.o_proj.weight");
    expect_vector(l0->q.bias, CHECKPOINT_Q, "model.layers.0.self_attn.q_proj.bias");
    expect_vector(l1->k.bias, CHECKPOINT_KV, "model.layers.1.self_attn.k_proj.bias");
    expect_vector(l1->v.bias, CHECKPOINT_KV, "model.layers.1.self_attn.v_proj.bias");
    cr_expect(!l0->o.bias && !l0->q_norm && !l0->k_norm && !l0->dense.gate.data && !l1->router.data);
    expect_matrix(&l0->router, CHECKPOINT_EXPERTS, CHECKPOINT_HIDDEN, "model.layers.0.mlp.gate.weight");
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        char prefix[64];
        struct mlp_weights expert = {bank_weight(&l0->gate, e), bank_weight(&l0->up, e), bank_weight(&l0->down, e)};
        snprintf(prefix, sizeof prefix, "model.layers.0.mlp.experts.%d", e);
        expect_mlp(&expert, CHECKPOINT_EXPERT_FFN, prefix);
    }
    expect_mlp(&l0->shared, CHECKPOINT_SHARED_FFN, "model.layers.0.mlp.shared_expert");
    expect_matrix(&l0->shared_switch, 1, CHECKPOINT_HIDDEN, "model.layers.0.mlp.shared_expert_gate.weight");
    expect_mlp(&l1->dense, CHECKPOINT_FFN, "model.layers.1.mlp");
}

static void dense_layer_1(void) { checkpoint_edit(&checkpoint, "mlp_only_layers", "[1]"); }

Test(bind, every_value_arrives_in_every_type_and_form)
{
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    for (int i = 0; i < 3; i++)
        for (int form = EXPERT_BY_EXPERT; form <= FUSED_EXPERTS; form++) {
            checkpoint_create(&checkpoint, QWEN2_MOE, (enum checkpoint_form)form, dtypes[i]);
            dense_layer_1();
            must_bind(); /* the archive is closed by now */
            expect_model();
            cr_expect_eq(bound.n_warnings, 0, "%s", bound.warning);
            model_free(&bound.model);
            checkpoint_remove(&checkpoint);
        }
}

/* All bytes of a bank, copied. */
static void *bank_bytes(const struct bank *bank, size_t *n)
{
    *n = bank->stride * (size_t)bank->n_matrices;
    void *copy = malloc(*n);
    cr_assert(copy);
    memcpy(copy, bank->first.data, *n);
    return copy;
}

Test(bind, fused_and_separate_experts_are_packed_to_the_same_bytes)
{
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    for (int family = QWEN2_MOE; family <= MIXTRAL; family++)
        for (int i = 0; i < 3; i++) {
            void *bytes[2][3];
            size_t n[2][3];
            for (int form = EXPERT_BY_EXPERT; form <= FUSED_EXPERTS; form++) {
                checkpoint_create(&checkpoint, (enum checkpoint_family)family, (enum checkpoint_form)form, dtypes[i]);
                if (family == QWEN2_MOE) dense_layer_1();
                must_bind();
                const struct layer *layer = &bound.model.layers[0];
                const struct bank *banks[3] = {&layer->gate, &layer->up, &layer->down};
                for (int j = 0; j < 3; j++) bytes[form][j] = bank_bytes(banks[j], &n[form][j]);
                model_free(&bound.model);
                checkpoint_remove(&checkpoint);
            }
            for (int j = 0; j < 3; j++) {
                cr_assert_eq(n[0][j], n[1][j]);
                cr_expect_eq(memcmp(bytes[0][j], bytes[1][j], n[0][j]), 0, "%s, bank %d", dtypes[i], j);
                if (j) cr_expect(n[0][0] != n[0][j] || memcmp(bytes[0][0], bytes[0][j], n[0][j]), "banks differ");
            }
            for (int j = 0; j < 6; j++) free(bytes[j / 3][j % 3]);
        }
}

/* One matrix of several pieces (of about 1 MiB), whose rows fill no last panel. */
Test(bind, a_large_matrix_is_packed_the_same_by_any_number_of_threads)
{
    static const int threads[] = {1, 2, 3, 8};
    const uint64_t shape[2] = {30011, CHECKPOINT_HIDDEN};
    void *expected = NULL;
    make("F32");
    dense_layer_1();
    checkpoint_edit(&checkpoint, "vocab_size", "30011");
    checkpoint_drop(&checkpoint, "model.embed_tokens.weight");
    checkpoint_drop(&checkpoint, "lm_head.weight");
    struct test_tensor *t = checkpoint_add(&checkpoint, "model.embed_tokens.weight", 2, shape);
    float *values = malloc(sizeof(float) * 30011 * CHECKPOINT_HIDDEN);
    cr_assert(values);
    checkpoint_values("model.embed_tokens.weight", values, (size_t)30011 * CHECKPOINT_HIDDEN);
    t->data = values;
    checkpoint_edit(&checkpoint, "tie_word_embeddings", "true");
    checkpoint_write(&checkpoint);
    for (int i = 0; i < 4; i++) {
        bind_path(&bound, checkpoint.folder.path, threads[i], true);
        cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
        expect_matrix(&bound.model.embedding, 30011, CHECKPOINT_HIDDEN, "model.embed_tokens.weight");
        size_t n = weight_bytes(&bound.model.embedding);
        if (!expected) {
            expected = malloc(n);
            cr_assert(expected);
            memcpy(expected, bound.model.embedding.data, n);
        }
        cr_expect_eq(memcmp(expected, bound.model.embedding.data, n), 0, "%d threads", threads[i]);
        cr_expect_eq(bound.progress_done, bound.progress_total);
        cr_expect_eq(bound.progress_total, bound.model.file_bytes);
        model_free(&bound.model);
    }
    for (int i = 0; i < 4; i++) { /* the same, rounded on the way */
        float row[CHECKPOINT_HIDDEN];
        struct bind_options options = bound_options(&bound);
        options.convert = true;
        options.load_as = DTYPE_BF16;
        bind_path_with(&bound, checkpoint.folder.path, threads[i], &options);
        cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
        const struct weight *w = &bound.model.embedding;
        for (int r = 0; r < 30011; r++) {
            w->layout->get_row(row, w->data, r, CHECKPOINT_HIDDEN);
            for (int j = 0; j < CHECKPOINT_HIDDEN; j++)
                cr_assert_eq(row[j], bf16_to_float(float_to_bf16(values[r * CHECKPOINT_HIDDEN + j])), "row %d", r);
        }
        model_free(&bound.model);
    }
    free(expected);
}

Test(bind, sizes_are_counted)
{
    make("BF16");
    dense_layer_1();
    must_bind();
    const struct model *m = &bound.model;
    uint64_t all = 0;
    for (int i = 0; i < checkpoint.n; i++) {
        uint64_t n = 1;
        for (int d = 0; d < checkpoint.tensors[i].n_dims; d++) n *= checkpoint.tensors[i].shape[d];
        all += n;
    }
    const uint64_t expert = 3 * CHECKPOINT_EXPERT_FFN * CHECKPOINT_HIDDEN;
    cr_expect_eq(m->n_parameters, all);
    cr_expect_eq(m->file_bytes, 2 * all);
    cr_expect_geq(m->weight_bytes, m->file_bytes);
    cr_expect_eq(m->n_active_parameters,
                 all - (CHECKPOINT_EXPERTS - CHECKPOINT_TOP_K) * expert - CHECKPOINT_VOCAB * CHECKPOINT_HIDDEN);
    cr_expect_eq((int)m->main_dtype, (int)DTYPE_BF16);
    model_free(&bound.model);
}

Test(bind, without_weights_everything_is_known_and_nothing_is_loaded)
{
    make("F16");
    dense_layer_1();
    bind_checkpoint(1, false);
    cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
    const struct model *m = &bound.model;
    const struct weight *weights[] = {&m->embedding,
                                      &m->head,
                                      &m->layers[0].q,
                                      &m->layers[0].router,
                                      &m->layers[0].gate.first,
                                      &m->layers[0].down.first,
                                      &m->layers[1].dense.up};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        cr_expect_null(weights[i]->data);
        cr_expect(weights[i]->layout && weights[i]->n > 0 && weights[i]->k > 0);
    }
    cr_expect(!m->final_norm && !m->layers[0].q.bias && !m->arena.base);
    cr_expect_eq(m->layers[0].gate.n_matrices, CHECKPOINT_EXPERTS);
    cr_expect(m->n_parameters > 0 && m->weight_bytes > 0);
    cr_expect_eq(bound.progress_total, 0u);
    model_free(&bound.model);
}

/* ---- head and embedding ------------------------------------------------------------------------------------------ */

Test(bind, C25_a_head_is_found_or_the_embedding_takes_its_place)
{
    static const struct {
        const char *key; /* tie_word_embeddings */
        bool has_head, tied;
    } rows[] = {
        {"false", true, false}, {"true", true, true}, {"true", false, true}, {NULL, true, false}, {NULL, false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        make("F32");
        dense_layer_1();
        checkpoint_edit(&checkpoint, "tie_word_embeddings", rows[i].key);
        if (!rows[i].has_head) checkpoint_drop(&checkpoint, "lm_head.weight");
        must_bind();
        cr_expect_eq(bound.model.config.tied_embeddings, rows[i].tied);
        cr_expect_eq(bound.model.head.data == bound.model.embedding.data, rows[i].tied);
        cr_expect_eq(bound.n_warnings, 0, "row %zu: %s", i, bound.warning);
        model_free(&bound.model);
        checkpoint_remove(&checkpoint);
    }
}

Test(bind, C25_a_head_that_is_neither_there_nor_tied_is_missing)
{
    make("F32");
    dense_layer_1();
    checkpoint_drop(&checkpoint, "lm_head.weight");
    refused(false, SLUICE_FORMAT, "missing tensors: lm_head.weight");
}

/* ---- missing ----------------------------------------------------------------------------------------------------- */

Test(bind, T24_all_missing_tensors_are_named_at_once)
{
    static const char *const gone[] = {
        "model.norm.weight",
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.0.self_attn.v_proj.bias",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.0.mlp.gate.weight",
        "model.layers.0.mlp.experts.0.gate_proj.weight",
        "model.layers.0.mlp.experts.2.gate_proj.weight",
        "model.layers.0.mlp.experts.3.gate_proj.weight",
        "model.layers.0.mlp.experts.4.gate_proj.weight",
        "model.layers.0.mlp.experts.5.down_proj.weight",
        "model.layers.0.mlp.shared_expert_gate.weight",
    };
    make("F32");
    dense_layer_1();
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) checkpoint_drop(&checkpoint, gone[i]);
    refused(false, SLUICE_FORMAT,
            "missing tensors: model.norm.weight, model.layers.1.self_attn.k_proj.weight, "
            "model.layers.0.self_attn.v_proj.bias, model.layers.1.mlp.up_proj.weight, model.layers.0.mlp.gate.weight, "
            "model.layers.0.mlp.experts.0.gate_proj.weight, model.layers.0.mlp.experts.{2..4}.gate_proj.weight, "
            "model.layers.0.mlp.experts.5.down_proj.weight, model.layers.0.mlp.shared_expert_gate.weight");
}

Test(bind, T24_a_layer_without_any_expert_is_one_range_per_matrix)
{
    make("F32"); /* layer 1 has a dense MLP in the file, and experts in the configuration */
    refused(false, SLUICE_FORMAT,
            "missing tensors: model.layers.1.mlp.gate.weight, model.layers.1.mlp.experts.{0..5}.gate_proj.weight, "
            "model.layers.1.mlp.experts.{0..5}.up_proj.weight, model.layers.1.mlp.experts.{0..5}.down_proj.weight, "
            "model.layers.1.mlp.shared_expert.gate_proj.weight, model.layers.1.mlp.shared_expert.up_proj.weight, "
            "model.layers.1.mlp.shared_expert.down_proj.weight, model.layers.1.mlp.shared_expert_gate.weight");
}

Test(bind, a_list_of_missing_tensors_that_is_too_long_says_so)
{
    make("F32");
    checkpoint_edit(&checkpoint, "num_hidden_layers", "1024");
    bind_checkpoint(1, true);
    cr_expect_eq((int)bound.status, (int)SLUICE_FORMAT);
    const char *text = bound.failure.text;
    size_t n = strlen(text);
    cr_expect(n > 1500 && n < 2300, "%zu bytes", n);
    cr_expect_str_eq(text + n - 9, " and more");
    cr_expect_not_null(strstr(text, "missing tensors: model.layers.2.input_layernorm.weight, model.layers.3."));
}

/* ---- shapes and types -------------------------------------------------------------------------------------------- */

struct shape_row {
    const char *name;
    int n_dims;
    uint64_t shape[4];
    const char *line; /* after 'tensor "NAME": ' */
};

static void all_shapes_refused(const struct shape_row *rows, size_t n, enum checkpoint_form form)
{
    for (size_t i = 0; i < n; i++) {
        char line[256];
        checkpoint_create(&checkpoint, QWEN2_MOE, form, "BF16");
        dense_layer_1();
        checkpoint_drop(&checkpoint, rows[i].name);
        checkpoint_add(&checkpoint, rows[i].name, rows[i].n_dims, rows[i].shape);
        snprintf(line, sizeof line, "tensor \"%s\": %s", rows[i].name, rows[i].line);
        refused(true, SLUICE_FORMAT, line);
        checkpoint_remove(&checkpoint);
    }
}

Test(bind, T22_T23_every_shape_is_checked)
{
    static const struct shape_row separate[] = {
        {"model.embed_tokens.weight", 2, {39, 24}, "shape [39,24], expected [40,24]"}, /* C21 */
        {"model.embed_tokens.weight", 2, {41, 24}, "shape [41,24], expected [40,24]"},
        {"lm_head.weight", 2, {24, 40}, "shape [24,40], expected [40,24]"},
        {"model.norm.weight", 1, {25}, "shape [25], expected [24]"},
        {"model.norm.weight", 2, {24, 1}, "shape [24,1], expected [24]"},
        {"model.norm.weight", 0, {0}, "shape [], expected [24]"},
        {"model.layers.1.self_attn.k_proj.weight", 2, {24, 12}, "shape [24,12], expected [12,24]"},
        {"model.layers.1.self_attn.k_proj.weight", 1, {288}, "shape [288], expected [12,24]"},
        {"model.layers.0.self_attn.q_proj.weight", 3, {1, 24, 24}, "shape [1,24,24], expected [24,24]"},
        {"model.layers.0.self_attn.q_proj.bias", 1, {12}, "shape [12], expected [24]"},
        {"model.layers.0.mlp.gate.weight", 2, {5, 24}, "shape [5,24], expected [6,24]"},
        {"model.layers.0.mlp.gate.weight", 2, {6, 0}, "shape [6,0], expected [6,24]"},
        {"model.layers.0.mlp.experts.4.up_proj.weight", 2, {24, 18}, "shape [24,18], expected [18,24]"},
        {"model.layers.0.mlp.experts.0.down_proj.weight", 2, {24, 16}, "shape [24,16], expected [24,18]"},
        {"model.layers.0.mlp.shared_expert.gate_proj.weight", 2, {18, 24}, "shape [18,24], expected [20,24]"},
        {"model.layers.0.mlp.shared_expert_gate.weight", 1, {24}, "shape [24], expected [1,24]"},
        {"model.layers.1.mlp.down_proj.weight", 2, {40, 24}, "shape [40,24], expected [24,40]"},
    };
    static const struct shape_row fused[] = {
        {"model.layers.0.mlp.experts.gate_up_proj", 3, {5, 36, 24}, "shape [5,36,24], expected [6,36,24]"},
        {"model.layers.0.mlp.experts.gate_up_proj", 3, {6, 18, 24}, "shape [6,18,24], expected [6,36,24]"},
        {"model.layers.0.mlp.experts.gate_up_proj", 3, {6, 24, 36}, "shape [6,24,36], expected [6,36,24]"},
        {"model.layers.0.mlp.experts.gate_up_proj", 2, {216, 24}, "shape [216,24], expected [6,36,24]"},
        {"model.layers.0.mlp.experts.down_proj", 3, {6, 18, 24}, "shape [6,18,24], expected [6,24,18]"},
        {"model.layers.0.mlp.experts.down_proj", 3, {7, 24, 18}, "shape [7,24,18], expected [6,24,18]"},
    };
    all_shapes_refused(separate, sizeof separate / sizeof *separate, EXPERT_BY_EXPERT);
    all_shapes_refused(fused, sizeof fused / sizeof *fused, FUSED_EXPERTS);
}

Test(bind, T25_only_float_types_are_weights)
{
    static const char *const names[] = {"model.norm.weight", "model.layers.0.mlp.experts.3.up_proj.weight",
                                        "model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.bias"};
    static const char *const dtypes[] = {"F64", "I8", "U8", "F8_E4M3", "I16", "I64", "F8_E5M2"};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        char line[128];
        make("BF16");
        dense_layer_1();
        struct test_tensor *t = checkpoint_tensor(&checkpoint, names[i % 4]);
        free((void *)t->data);
        t->data = NULL;
        t->dtype = dtypes[i];
        snprintf(line, sizeof line, "tensor \"%s\": type %s, expected F32, F16 or BF16", names[i % 4], dtypes[i]);
        refused(true, SLUICE_UNSUPPORTED, line);
        checkpoint_remove(&checkpoint);
    }
}

/* Gives the tensor another type and zeros. */
static void retype(const char *name, const char *dtype)
{
    struct test_tensor *t = checkpoint_tensor(&checkpoint, name);
    free((void *)t->data);
    t->data = NULL;
    t->dtype = dtype;
}

Test(bind, experts_of_one_layer_have_one_type)
{
    make("BF16");
    dense_layer_1();
    retype("model.layers.0.mlp.experts.3.gate_proj.weight", "F16");
    refused(true, SLUICE_UNSUPPORTED,
            "tensor \"model.layers.0.mlp.experts.3.gate_proj.weight\": type F16, expected BF16 as in expert 0");
}

Test(bind, matrices_may_differ_in_type)
{
    char name[64];
    make("BF16");
    dense_layer_1();
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        snprintf(name, sizeof name, "model.layers.0.mlp.experts.%d.up_proj.weight", e);
        retype(name, "F32");
    }
    retype("model.norm.weight", "F32");
    retype("model.layers.0.mlp.gate.weight", "F32");
    retype("model.layers.0.self_attn.k_proj.weight", "F16");
    retype("model.layers.0.self_attn.k_proj.bias", "F32");
    retype("lm_head.weight", "F16");
    must_bind();
    cr_expect_eq((int)bound.model.layers[0].router.layout->weight, (int)DTYPE_F32);
    cr_expect_eq((int)bound.model.layers[0].k.layout->weight, (int)DTYPE_F16);
    cr_expect_eq((int)bound.model.layers[0].q.layout->weight, (int)DTYPE_BF16);
    cr_expect_eq((int)bound.model.layers[0].gate.first.layout->weight, (int)DTYPE_BF16);
    cr_expect_eq((int)bound.model.layers[0].up.first.layout->weight, (int)DTYPE_F32);
    cr_expect_eq((int)bound.model.main_dtype, (int)DTYPE_BF16);
    model_free(&bound.model);
}

/* OpenBLAS reads rows in another order than our kernels: gate and up cannot share what is packed for one of them. */
Test(bind, gate_and_up_for_openblas_have_one_type)
{
    if (!panel_blas_usable()) cr_skip_test("no OpenBLAS here");
    make("BF16");
    dense_layer_1();
    checkpoint_edit(&checkpoint, "moe_intermediate_size", "256");
    for (int i = 0; i < checkpoint.n; i++) {
        struct test_tensor *t = &checkpoint.tensors[i];
        if (!strstr(t->name, "experts.")) continue;
        free((void *)t->data);
        t->data = NULL;
        t->dtype = strstr(t->name, "gate_proj") ? "F32" : "BF16";
        t->shape[strstr(t->name, "down_proj") ? 1 : 0] = 256;
    }
    checkpoint_write(&checkpoint);
    struct bind_options options = bound_options(&bound);
    bind_path_with(&bound, checkpoint.folder.path, 1, &options);
    cr_expect_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
    if (!bound.status) model_free(&bound.model);
    options.layout_flags = PANEL_BLAS;
    bind_path_with(&bound, checkpoint.folder.path, 1, &options);
    cr_expect_eq((int)bound.status, (int)SLUICE_UNSUPPORTED);
    cr_expect_not_null(strstr(bound.failure.text, "layer 0: experts' gate is F32 and up is BF16, expected one type"),
                       "%s", bound.failure.text);
}

/* ---- unused ------------------------------------------------------------------------------------------------------ */

Test(bind, tensors_that_nobody_asks_for_are_a_warning)
{
    char expected[256];
    make("F32");
    dense_layer_1();
    checkpoint_add(&checkpoint, "model.layers.0.self_attn.o_proj.bias", 1, (const uint64_t[]){24});
    checkpoint_add(&checkpoint, "model.layers.0.mlp.experts.6.up_proj.weight", 2, (const uint64_t[]){18, 24});
    must_bind();
    snprintf(expected, sizeof expected, "%s: 2 tensors are not used by this architecture, the first is \"%s\"",
             strrchr(checkpoint.folder.path, '/') + 1, "model.layers.0.mlp.experts.6.up_proj.weight");
    cr_expect_eq(bound.n_warnings, 1);
    cr_expect_str_eq(bound.warning, expected);
    model_free(&bound.model);
}

Test(bind, stored_rotary_frequencies_are_no_surprise)
{
    make("F32");
    dense_layer_1();
    checkpoint_add(&checkpoint, "model.layers.0.self_attn.rotary_emb.inv_freq", 1, (const uint64_t[]){6});
    must_bind();
    cr_expect_eq(bound.n_warnings, 0, "%s", bound.warning);
    model_free(&bound.model);
}

/* ---- the same model from a GGUF file ---------------------------------------------------------------------------- */

static const char *gguf_path(void) { return folder_path(&checkpoint.folder, "model.gguf"); }

/* All packed bytes of a model: the arena, whose order follows the rules, piece by piece in a fixed order. */
struct packed {
    unsigned char *data;
    size_t n;
};

static void append(struct packed *p, const void *data, size_t n)
{
    if (!data) return;
    p->data = realloc(p->data, p->n + n);
    cr_assert(p->data);
    memcpy(p->data + p->n, data, n);
    p->n += n;
}

static void append_weight(struct packed *p, const struct weight *w, int count)
{
    if (w->data) append(p, w->data, weight_bytes(w) * (size_t)count);
    if (w->bias) append(p, w->bias, (size_t)w->n * sizeof *w->bias);
}

static struct packed pack_all(const struct model *m)
{
    struct packed p = {0};
    const size_t norm = CHECKPOINT_HIDDEN * sizeof(float);
    append_weight(&p, &m->embedding, 1);
    append_weight(&p, &m->head, 1);
    append(&p, m->final_norm, norm);
    for (int l = 0; l < CHECKPOINT_LAYERS; l++) {
        const struct layer *y = &m->layers[l];
        append(&p, y->mixer_norm, norm);
        append(&p, y->ffn_norm, norm);
        const struct weight *weights[] = {&y->q,           &y->k,         &y->v,           &y->o,
                                          &y->dense.gate,  &y->dense.up,  &y->dense.down,  &y->router,
                                          &y->shared.gate, &y->shared.up, &y->shared.down, &y->shared_switch};
        for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) append_weight(&p, weights[i], 1);
        const struct bank *banks[3] = {&y->gate, &y->up, &y->down};
        for (int i = 0; i < 3; i++) append_weight(&p, &banks[i]->first, banks[i]->n_matrices);
    }
    return p;
}

static void same_from_gguf(enum gguf_form form, const char *name)
{
    must_bind();
    struct packed folder = pack_all(&bound.model);
    const uint64_t parameters = bound.model.n_parameters, active = bound.model.n_active_parameters;
    const uint64_t file_bytes = bound.model.file_bytes;
    model_free(&bound.model);
    checkpoint_write_gguf(&checkpoint, form);
    bind_path(&bound, gguf_path(), 2, true);
    cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s: %s", name, bound.failure.text);
    struct packed gguf = pack_all(&bound.model);
    cr_expect_eq(bound.n_warnings, 0, "%s: %s", name, bound.warning);
    cr_assert_eq(folder.n, gguf.n, "%s: %zu and %zu bytes", name, folder.n, gguf.n);
    cr_expect_gt(folder.n, 10000u);
    cr_expect_eq(memcmp(folder.data, gguf.data, gguf.n), 0, "%s", name);
    cr_expect_eq(bound.model.n_parameters, parameters);
    cr_expect_eq(bound.model.n_active_parameters, active);
    cr_expect_eq(bound.model.file_bytes, file_bytes);
    cr_expect_eq(bound.progress_total, file_bytes);
    model_free(&bound.model);
    free(folder.data);
    free(gguf.data);
}

Test(bind, a_gguf_file_is_packed_to_the_same_bytes)
{
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    for (int family = QWEN2_MOE; family <= LLAMA; family++)
        for (int form = GGUF_STACKED; form <= GGUF_EXPERT_BY_EXPERT; form++) {
            char name[64];
            const char *dtype = dtypes[(family + form) % 3];
            if (family == LLAMA && form != GGUF_STACKED) continue; /* has no experts */
            snprintf(name, sizeof name, "family %d, form %d, %s", family, form, dtype);
            checkpoint_create(&checkpoint, (enum checkpoint_family)family, EXPERT_BY_EXPERT, dtype);
            if (family == QWEN2_MOE) dense_layer_1();
            same_from_gguf((enum gguf_form)form, name);
            checkpoint_remove(&checkpoint);
        }
}

/* Heads that fill pieces and stages in part: [768, 512] of 192 rows a head, in panels of 16 or (OpenBLAS) 256 rows. */
Test(bind, many_reordered_rows_are_packed_to_the_same_bytes)
{
    static const char name[] = "model.layers.0.self_attn.q_proj.weight";
    static struct bound folder;
    checkpoint_create(&checkpoint, MIXTRAL, FUSED_EXPERTS, "F32");
    checkpoint.head_dim = 192;
    checkpoint_edit(&checkpoint, "num_attention_heads", "4");
    checkpoint_edit(&checkpoint, "num_hidden_layers", "1");
    checkpoint_edit(&checkpoint, "hidden_size", "512");
    checkpoint_edit(&checkpoint, "head_dim", "192");
    for (int i = checkpoint.n - 1; i >= 0; i--)
        if (strstr(checkpoint.tensors[i].name, "experts.") || strstr(checkpoint.tensors[i].name, "layers.1."))
            checkpoint_drop(&checkpoint, checkpoint.names[i]);
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++)
        for (int w = 1; w <= 3; w++) {
            char expert[96];
            snprintf(expert, sizeof expert, "model.layers.0.block_sparse_moe.experts.%d.w%d.weight", e, w);
            checkpoint_add(&checkpoint, expert, 2, w == 2 ? (const uint64_t[]){24, 18} : (const uint64_t[]){18, 24});
        }
    for (int i = 0; i < checkpoint.n; i++) {
        struct test_tensor *t = &checkpoint.tensors[i];
        const bool q = strstr(t->name, "q_proj"), o = strstr(t->name, "o_proj");
        free((void *)t->data);
        t->data = NULL;
        for (int d = 0; d < t->n_dims; d++)
            t->shape[d] = (q && d == 0) || (o && d == 1) ? 768
                          : t->shape[d] == 24            ? 512
                          : t->shape[d] == 12            ? 192
                                                         : t->shape[d];
    }
    float *values = malloc(sizeof *values * 768 * 512);
    cr_assert(values);
    checkpoint_values(name, values, (size_t)768 * 512);
    checkpoint_tensor(&checkpoint, name)->data = values;
    checkpoint_write_gguf(&checkpoint, GGUF_STACKED);
    for (int blas = 0; blas < 2; blas++) {
        struct bind_options options = bound_options(&bound);
        options.layout_flags = blas ? PANEL_BLAS : 0;
        bind_path_with(&folder, checkpoint.folder.path, 1, &options);
        cr_assert_eq((int)folder.status, (int)SLUICE_OK, "%s", folder.failure.text);
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            bind_path_with(&bound, gguf_path(), n_threads, &options);
            cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
            const struct weight *a = &folder.model.layers[0].q, *b = &bound.model.layers[0].q;
            cr_assert(a->layout == b->layout && a->n == 768 && b->n == 768);
            cr_expect_eq(memcmp(a->data, b->data, weight_bytes(a)), 0, "%s, %d threads", a->layout->name, n_threads);
            model_free(&bound.model);
        }
        model_free(&folder.model);
    }
}

Test(bind, C25_a_gguf_file_without_a_head_is_tied)
{
    checkpoint_create(&checkpoint, LLAMA, EXPERT_BY_EXPERT, "F32");
    checkpoint_edit(&checkpoint, "tie_word_embeddings", "true");
    checkpoint_drop(&checkpoint, "lm_head.weight");
    same_from_gguf(GGUF_STACKED, "tied");
    bind_path(&bound, gguf_path(), 1, true);
    cr_expect(bound.model.config.tied_embeddings && bound.model.head.data == bound.model.embedding.data);
    model_free(&bound.model);
}

static void gguf_refused(sluice_status status, const char *line)
{
    char sentence[FAILURE_TEXT_BYTES];
    checkpoint_write_gguf(&checkpoint, GGUF_STACKED);
    snprintf(sentence, sizeof sentence, "model.gguf: %s", line);
    for (int load = 0; load < 2; load++) {
        bind_path(&bound, gguf_path(), 1, load);
        cr_expect_eq((int)bound.status, (int)status, "%s", line);
        cr_expect_str_eq(bound.failure.text, sentence, "\n     got: %s\nexpected: %s", bound.failure.text, sentence);
        if (bound.status == SLUICE_OK) model_free(&bound.model);
    }
}

static void reshape(const char *name, const char *dtype, int n_dims, const uint64_t *shape)
{
    checkpoint_drop(&checkpoint, name);
    checkpoint_add(&checkpoint, name, n_dims, shape)->dtype = dtype;
}

Test(bind, T22_T23_T25_shapes_and_types_of_a_gguf_file)
{
    static const struct {
        const char *name, *dtype;
        int n_dims;
        uint64_t shape[3];
        sluice_status status;
        const char *line;
    } rows[] = {
        {"model.layers.0.mlp.shared_expert_gate.weight",
         "F32",
         1,
         {25},
         SLUICE_FORMAT,
         "tensor \"blk.0.ffn_gate_inp_shexp.weight\": shape [25], expected [24]"},
        {"model.layers.0.mlp.shared_expert_gate.weight",
         "I8",
         1,
         {24},
         SLUICE_UNSUPPORTED,
         "tensor \"blk.0.ffn_gate_inp_shexp.weight\": type I8, expected F32, F16 or BF16"},
        {"model.layers.0.mlp.shared_expert_gate.weight",
         "F32",
         2,
         {2, 24},
         SLUICE_FORMAT,
         "tensor \"blk.0.ffn_gate_inp_shexp.weight\": shape [2,24], expected [1,24]"},
        {"model.layers.1.self_attn.k_proj.weight",
         "F32",
         2,
         {12, 23},
         SLUICE_FORMAT,
         "tensor \"blk.1.attn_k.weight\": shape [12,23], expected [12,24]"},
        {"model.layers.1.self_attn.k_proj.bias",
         "F32",
         1,
         {24},
         SLUICE_FORMAT,
         "tensor \"blk.1.attn_k.bias\": shape [24], expected [12]"},
        {"model.layers.1.mlp.up_proj.weight",
         "I16",
         2,
         {40, 24},
         SLUICE_UNSUPPORTED,
         "tensor \"blk.1.ffn_up.weight\": type I16, expected a type of weights, such as F16 or Q8_0"},
        {"model.norm.weight",
         "F64",
         1,
         {24},
         SLUICE_UNSUPPORTED,
         "tensor \"output_norm.weight\": type F64, expected F32, F16 or BF16"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        make("F32");
        dense_layer_1();
        reshape(rows[i].name, rows[i].dtype, rows[i].n_dims, rows[i].shape);
        gguf_refused(rows[i].status, rows[i].line);
        checkpoint_remove(&checkpoint);
    }
}

Test(bind, T24_missing_tensors_of_a_gguf_file)
{
    make("F32"); /* layer 1 is dense in the tensors, and has experts in the configuration */
    checkpoint_drop(&checkpoint, "model.norm.weight");
    gguf_refused(SLUICE_FORMAT,
                 "missing tensors: output_norm.weight, blk.1.ffn_gate_inp.weight, blk.1.ffn_gate_exps.weight, "
                 "blk.1.ffn_up_exps.weight, blk.1.ffn_down_exps.weight, blk.1.ffn_gate_shexp.weight, "
                 "blk.1.ffn_up_shexp.weight, blk.1.ffn_down_shexp.weight, blk.1.ffn_gate_inp_shexp.weight");
}

static const float divisors[CHECKPOINT_Q / 4] = {1, 1, 1.5f, 2.25f, 8, 1e30f};

static struct test_tensor *add_divisors(uint64_t n)
{
    checkpoint_create(&checkpoint, LLAMA, EXPERT_BY_EXPERT, "F32");
    return checkpoint_add(&checkpoint, "rope_freqs.weight", 1, &n);
}

Test(bind, divisors_of_rope_arrive)
{
    struct test_tensor *t = add_divisors(CHECKPOINT_Q / 4);
    float *copy = malloc(sizeof divisors);
    cr_assert(copy);
    memcpy(copy, divisors, sizeof divisors);
    t->data = copy;
    checkpoint_write_gguf(&checkpoint, GGUF_STACKED);
    bind_path(&bound, gguf_path(), 1, true);
    cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
    cr_expect_eq(bound.n_warnings, 0, "%s", bound.warning);
    cr_assert(bound.model.config.rope[0].divisors);
    cr_expect_eq(memcmp(bound.model.config.rope[0].divisors, divisors, sizeof divisors), 0);
    model_free(&bound.model);
    bind_path(&bound, gguf_path(), 1, false);
    cr_expect(bound.status == SLUICE_OK && !bound.model.config.rope[0].divisors);
    model_free(&bound.model);
    checkpoint_remove(&checkpoint);

    copy = malloc(sizeof divisors);
    cr_assert(copy);
    memcpy(copy, divisors, sizeof divisors);
    add_divisors(CHECKPOINT_Q / 4)->data = copy;
    copy[2] = -1;
    gguf_refused(SLUICE_FORMAT, "tensor \"rope_freqs.weight\": element 2: found -1, expected a number > 0");
    copy[2] = 1;
    copy[5] = 1.0f / 0.0f;
    gguf_refused(SLUICE_FORMAT, "tensor \"rope_freqs.weight\": element 5: found inf, expected a number > 0");
    checkpoint_remove(&checkpoint);

    add_divisors(5);
    gguf_refused(SLUICE_FORMAT, "tensor \"rope_freqs.weight\": shape [5], expected [6]");
    checkpoint_remove(&checkpoint);
    add_divisors(6)->dtype = "F16";
    gguf_refused(SLUICE_UNSUPPORTED, "tensor \"rope_freqs.weight\": type F16, expected F32");
}

/* ---- FP8 --------------------------------------------------------------------------------------------------------- */

/* Codes of FP8 with a scale, [24, 24]: element i has code i % 120, which is 2^(c / 8 - 7) * (1 + c % 8 / 8) or, for
 * c < 8, 2^-6 * c / 8. */
static float fp8_value(int i)
{
    const int c = i % 120;
    const float mantissa = (float)(c % 8) / 8;
    return c < 8 ? mantissa / 64 : (1 + mantissa) * (float)(1 << (c / 8)) / 128;
}

static const char fp8_name[] = "model.layers.0.self_attn.q_proj.weight";
static const float fp8_scale = 0.7f;

static void make_fp8(float scale)
{
    unsigned char *codes = malloc(24 * 24);
    float *scales = malloc(sizeof *scales);
    char name[96];
    cr_assert(codes && scales);
    for (int i = 0; i < 24 * 24; i++) codes[i] = (unsigned char)(i % 120);
    *scales = scale;
    make("BF16");
    dense_layer_1();
    reshape(fp8_name, "F8_E4M3", 2, (const uint64_t[]){24, 24});
    checkpoint_tensor(&checkpoint, fp8_name)->data = codes;
    snprintf(name, sizeof name, "%s_scale_inv", fp8_name);
    struct test_tensor *t = checkpoint_add(&checkpoint, name, 2, (const uint64_t[]){1, 1});
    t->dtype = "F32";
    t->data = scales;
}

Test(bind, fp8_weights_are_codes_times_scales)
{
    float row[24];
    for (int as_bf16 = 0; as_bf16 < 2; as_bf16++) {
        make_fp8(fp8_scale);
        checkpoint_write(&checkpoint);
        struct bind_options options = bound_options(&bound);
        options.convert = as_bf16;
        options.load_as = DTYPE_BF16;
        bind_path_with(&bound, checkpoint.folder.path, 2, &options);
        cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
        const struct weight *q = &bound.model.layers[0].q;
        cr_expect_eq((int)q->file_dtype, (int)DTYPE_F8_B128);
        cr_expect_eq((int)q->layout->weight, (int)(as_bf16 ? DTYPE_BF16 : DTYPE_F8_B128));
        cr_expect_eq(bound.n_warnings, 0, "%s", bound.warning);
        cr_expect_eq(bound.model.file_bytes, bound.progress_total);
        for (int r = 0; r < 24; r++) {
            q->layout->get_row(row, q->data, r, 24);
            for (int i = 0; i < 24; i++) {
                float expected = fp8_value(r * 24 + i) * fp8_scale;
                if (as_bf16) expected = bf16_to_float(float_to_bf16(expected));
                cr_assert_eq(row[i], expected, "[%d, %d]", r, i);
            }
        }
        model_free(&bound.model);
        checkpoint_remove(&checkpoint);
    }
}

Test(bind, a_scale_of_fp8_that_is_not_finite_is_refused)
{
    make_fp8(0.0f / 0.0f);
    bind_checkpoint(1, true);
    cr_expect_eq((int)bound.status, (int)SLUICE_FORMAT);
    cr_expect_str_eq(bound.failure.text,
                     "model.safetensors: tensor \"model.layers.0.self_attn.q_proj.weight_scale_inv\": "
                     "element 0 is not finite");
    bind_checkpoint(1, false); /* numbers are looked at when they are loaded */
    cr_expect_eq((int)bound.status, (int)SLUICE_OK);
    model_free(&bound.model);
}

/* ---- load as another type ---------------------------------------------------------------------------------------- */

/* Every matrix of `now` is the one of `before` rounded to `type`, or the same where it keeps its type. */
static void expect_rounded(const struct weight *now, const struct weight *before, enum dtype type, const char *name)
{
    if (!before->layout) return;
    const size_t k = (size_t)before->k;
    float *expected = malloc(k * sizeof *expected), *got = malloc(k * sizeof *got);
    unsigned char *blocks = malloc(8 * k + DTYPE_MAX_BLOCK_BYTES);
    cr_assert(expected && got && blocks);
    cr_expect_eq((int)now->layout->weight, (int)type, "%s: loaded as %s", name, dtype_info(now->layout->weight)->name);
    cr_expect_eq((int)now->file_dtype, (int)before->file_dtype, "%s", name);
    for (int row = 0; row < before->n; row++) {
        before->layout->get_row(expected, before->data, row, before->k);
        now->layout->get_row(got, now->data, row, now->k);
        if (type != before->layout->weight) {
            quant_encode(type, blocks, expected, k, NULL);
            quant_decode(type, expected, blocks, k);
        }
        cr_assert_eq(memcmp(got, expected, k * sizeof *got), 0, "%s: row %d", name, row);
    }
    free(expected);
    free(got);
    free(blocks);
}

/* The type that `wanted` must become for k inputs, where the largest blocks that fit are known here. */
static enum dtype fitting(enum dtype wanted, enum dtype small, enum dtype file, int k)
{
    const enum dtype type = k % 256 == 0 ? wanted : k % 32 == 0 ? small : file;
    const bool blocks = !dtype_info(file)->is_float; /* they are not made larger */
    return blocks && blocks_bytes(type, 256) >= blocks_bytes(file, 256) ? file : type;
}

static void load_as(const char *golden, enum dtype wanted, enum dtype small)
{
    char path[512];
    static struct bound plain;
    snprintf(path, sizeof path, "%s/golden/%s", SLUICE_TEST_DIR, golden);
    bind_path(&plain, path, 1, true);
    struct bind_options options = bound_options(&bound);
    options.convert = true;
    options.load_as = wanted;
    bind_path_with(&bound, path, 2, &options);
    cr_assert_eq((int)plain.status, (int)SLUICE_OK, "%s: %s", golden, plain.failure.text);
    cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s: %s", golden, bound.failure.text);
    const struct model *m = &bound.model, *p = &plain.model;
    cr_expect_eq(m->file_bytes, p->file_bytes);
    cr_expect_eq(bound.progress_done, m->file_bytes);
#define EXPECT(now, before) \
    expect_rounded(&(now), &(before), fitting(wanted, small, (before).file_dtype, (before).k), #now)
    const enum dtype at_least = blocks_bytes(wanted, 256) < blocks_bytes(DTYPE_Q6_K, 256) ? DTYPE_Q6_K : wanted;
    const enum dtype small_end = at_least == DTYPE_Q6_K ? DTYPE_Q8_0 : small;
    const enum dtype embedding = fitting(at_least, small_end, p->embedding.file_dtype, p->embedding.k);
    expect_rounded(&m->embedding, &p->embedding, embedding, "embedding");
    expect_rounded(&m->head, &p->head, fitting(at_least, small_end, p->head.file_dtype, p->head.k), "head");
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *y = &m->layers[l], *x = &p->layers[l];
        EXPECT(y->q, x->q);
        EXPECT(y->k, x->k);
        EXPECT(y->v, x->v);
        EXPECT(y->o, x->o);
        EXPECT(y->dense.gate, x->dense.gate);
        EXPECT(y->dense.down, x->dense.down);
        EXPECT(y->shared.up, x->shared.up);
        for (int e = 0; e < y->gate.n_matrices; e++) {
            const struct weight now[3] = {bank_weight(&y->gate, e), bank_weight(&y->up, e), bank_weight(&y->down, e)};
            const struct weight before[3] = {bank_weight(&x->gate, e), bank_weight(&x->up, e),
                                             bank_weight(&x->down, e)};
            for (int i = 0; i < 3; i++) EXPECT(now[i], before[i]);
        }
        expect_rounded(&y->router, &x->router, x->router.file_dtype, "router");
        expect_rounded(&y->shared_switch, &x->shared_switch, x->shared_switch.file_dtype, "shared switch");
        cr_expect_eq(memcmp(y->ffn_norm, x->ffn_norm, (size_t)m->config.hidden_size * sizeof(float)), 0);
    }
    model_free(&plain.model);
}

Test(bind, matrices_are_rounded_while_they_are_loaded)
{
    load_as("models/qwen2-moe-window-hub", DTYPE_Q8_0, DTYPE_Q8_0); /* inputs 32 and 16: some matrices stay */
    cr_expect_eq((int)bound.model.main_dtype, (int)DTYPE_Q8_0);
    model_free(&bound.model);
    load_as("gguf/llama3-f32.gguf", DTYPE_Q4_K, DTYPE_Q5_0); /* 64 and 96; q and k are put in order as well */
    cr_expect_eq((int)bound.model.main_dtype, (int)DTYPE_Q5_0);
    model_free(&bound.model);
    load_as("gguf/qwen3-moe-q4_k_m.gguf", DTYPE_Q3_K, DTYPE_Q4_0); /* 256, of blocks already */
    cr_expect_eq((int)bound.model.main_dtype, (int)DTYPE_Q3_K);
    model_free(&bound.model);
    load_as("gguf/qwen3-moe-q4_k_m.gguf", DTYPE_Q6_K, DTYPE_Q8_0); /* which would be larger and no better */
    cr_expect_eq((int)bound.model.main_dtype, (int)DTYPE_Q4_K);
    model_free(&bound.model);
}

/* A number of the folder, or of the GGUF file with its reordered rows, that the type cannot hold. */
static void refused_to_load(bool gguf, enum dtype type, const char *line)
{
    struct bind_options options = bound_options(&bound);
    options.convert = true;
    options.load_as = type;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        bind_path_with(&bound, gguf ? gguf_path() : checkpoint.folder.path, n_threads, &options);
        cr_expect_eq((int)bound.status, (int)SLUICE_FORMAT);
        cr_expect_str_eq(bound.failure.text, line, "\n     got: %s\nexpected: %s", bound.failure.text, line);
        cr_expect(!bound.model.layers && !bound.model.arena.base);
    }
}

Test(bind, T27_what_a_type_cannot_hold_is_named)
{
    checkpoint_create(&checkpoint, LLAMA, EXPERT_BY_EXPERT, "F32");
    float *q = (float *)checkpoint_tensor(&checkpoint, "model.layers.1.self_attn.q_proj.weight")->data;
    float *up = (float *)checkpoint_tensor(&checkpoint, "model.layers.1.mlp.up_proj.weight")->data;
    up[7] = 0.0f / 0.0f; /* not the first */
    q[13 * 24 + 5] = -70000.0f;
    checkpoint_write_gguf(&checkpoint, GGUF_STACKED);
    refused_to_load(false, DTYPE_F16,
                    "model.safetensors: tensor \"model.layers.1.self_attn.q_proj.weight\": element 317: found -70000, "
                    "too large for F16");
    refused_to_load(true, DTYPE_F16, /* head 1, row 1: row 2 of that head in the file */
                    "model.gguf: tensor \"blk.1.attn_q.weight\": element 341: found -70000, too large for F16");
    refused_to_load(true, DTYPE_BF16, "model.gguf: tensor \"blk.1.ffn_up.weight\": element 7 is not finite");
    q[13 * 24 + 5] = 1.0f / 0.0f;
    checkpoint_write_gguf(&checkpoint, GGUF_STACKED);
    refused_to_load(false, DTYPE_BF16,
                    "model.safetensors: tensor \"model.layers.1.self_attn.q_proj.weight\": element 317 is not finite");
}

/* ---- limits of the machine --------------------------------------------------------------------------------------- */

/* T29: the tensors lie in a hole of the file. Which type would do depends on how many times the memory they are. */
Test(bind, T29_a_model_that_does_not_fit_is_told_a_type_that_would)
{
    static const struct {
        double times; /* the memory that is available, as F32 */
        const char *type;
        bool fits;
    } rows[] = {{1.5, "q8_0", true}, {4.3, "q6_k", true},  {5.35, "q5_k", true}, {6.4, "q4_k", true},
                {8.2, "q3_k", true}, {10.6, "q2_k", true}, {20, "q2_k", false}};
    const double expert_bytes = 3 * 512 * CHECKPOINT_EXPERTS * sizeof(float); /* per row of the gate */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char ffn[32], *end = NULL;
        const double available = 2e9;
        const uint64_t rows_of_gate = (uint64_t)(rows[i].times * available / expert_bytes) / 256 * 256;
        memory_pretend_available((uint64_t)available);
        checkpoint_create(&checkpoint, MIXTRAL, FUSED_EXPERTS, "F32");
        snprintf(ffn, sizeof ffn, "%llu", (unsigned long long)rows_of_gate);
        checkpoint_edit(&checkpoint, "num_hidden_layers", "1");
        checkpoint_edit(&checkpoint, "hidden_size", "512");
        checkpoint_edit(&checkpoint, "head_dim", "256");
        checkpoint_edit(&checkpoint, "intermediate_size", ffn);
        for (int j = 0; j < checkpoint.n; j++) {
            struct test_tensor *t = &checkpoint.tensors[j];
            free((void *)t->data);
            t->data = NULL;
            for (int d = 0; d < t->n_dims; d++) {
                const uint64_t size = t->shape[d];
                t->shape[d] = size == 24   ? 512
                              : size == 12 ? 256
                              : size == 18 ? rows_of_gate
                              : size == 36 ? 2 * rows_of_gate
                                           : size;
            }
        }
        bind_checkpoint(1, true);
        cr_expect_eq((int)bound.status, (int)SLUICE_MEMORY, "%s", rows[i].type);
        const char *text = strstr(bound.failure.text, ": the weights need ");
        cr_assert_not_null(text, "%s", bound.failure.text);
        const double needed = strtod(text + 19, &end);
        cr_expect(needed > 0.99e-9 * rows[i].times * available && needed < 1.01e-9 * rows[i].times * available, "%s",
                  text);
        char rest[128];
        snprintf(rest, sizeof rest,
                 " GB are available: --load-as %s, or a file written by quantize --type %s, would %sneed ",
                 rows[i].type, rows[i].type, rows[i].fits ? "" : "still ");
        cr_expect_not_null(strstr(end, rest), "%s", bound.failure.text);
        checkpoint_remove(&checkpoint);
    }
    memory_pretend_available(0);
}

static struct archive *open_golden(const char *name)
{
    char path[512];
    struct failure f = {0};
    struct archive *a = NULL;
    snprintf(path, sizeof path, "%s/golden/models/%s", SLUICE_TEST_DIR, name);
    cr_assert_eq((int)archive_open(&a, path, ARCHIVE_TENSORS | ARCHIVE_CONFIG, &f), (int)SLUICE_OK, "%s", f.text);
    return a;
}

/* Every single request for memory fails once. A leak of any of them is the sanitizer's to find. */
Test(bind, every_allocation_may_fail)
{
    struct archive *a = open_golden("qwen2-moe-layers-v5");
    struct team team;
    struct bind_options options = {
        .features = cpu_features(NULL), .load_weights = true, .convert = true, .load_as = DTYPE_Q8_0};
    struct model m;
    struct failure f;
    team_init(&team, 2);
    uint64_t before = memory_request_count();
    cr_assert_eq((int)model_bind(&m, a, &team, &options, &f), (int)SLUICE_OK);
    uint64_t n = memory_request_count() - before;
    model_free(&m);
    cr_assert_geq(n, 4u);
    for (uint64_t i = 1; i <= n; i++) {
        f = (struct failure){0};
        memory_fail_after(i);
        cr_expect_eq((int)model_bind(&m, a, &team, &options, &f), (int)SLUICE_MEMORY, "request %d", (int)i);
        cr_expect_eq((int)f.status, (int)SLUICE_MEMORY);
        cr_expect(strlen(f.text) > 0);
        cr_expect(!m.layers && !m.config.layers && !m.arena.base);
    }
    memory_fail_after(0);
    cr_assert_eq((int)model_bind(&m, a, &team, &options, &f), (int)SLUICE_OK, "the archive is as good as before");
    model_free(&m);
    archive_close(&a);
}

/* ---- what newer families bring ----------------------------------------------------------------------------------- */

static void expect_floats(const float *found, const float *expected, size_t n, const char *what)
{
    cr_assert_not_null(found, "%s", what);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(found[i], expected[i], "%s: [%zu]: %g, expected %g", what, i, (double)found[i],
                     (double)expected[i]);
}

/* The numbers of a tensor of plain floats, malloc'ed. */
static float *floats_of(const struct archive *a, const char *name)
{
    const struct tensor_view *view = archive_find(a, name);
    cr_assert_not_null(view, "%s", name);
    const size_t n = (size_t)view->bytes / dtype_info(view->dtype)->bytes_per_block;
    float *values = malloc(n * sizeof *values);
    cr_assert_not_null(values);
    quant_decode(view->dtype, values, view->data, n);
    return values;
}

Test(bind, taps_lie_by_position)
{
    struct archive *a = open_golden("lfm2-hub-bf16");
    float *file = floats_of(a, "model.layers.0.conv.conv.weight"), taps[3 * 256];
    bind_golden(&bound, "lfm2-hub-bf16");
    const int n = bound.model.config.hidden_size;
    cr_assert(bound.model.layers[0].config->mixer.conv_kernel == 3 && n <= 256);
    for (int c = 0; c < n; c++)
        for (int j = 0; j < 3; j++) taps[j * n + c] = file[3 * c + j];
    expect_floats(bound.model.layers[0].conv, taps, (size_t)(3 * n), "taps");
    model_free(&bound.model);
    free(file);
    archive_close(&a);
}

Test(bind, biases_of_experts_follow_each_other)
{
    struct archive *a = open_golden("gpt-oss-hub-bf16");
    float *gate_up = floats_of(a, "model.layers.1.mlp.experts.gate_up_proj_bias"),
          *down = floats_of(a, "model.layers.1.mlp.experts.down_proj_bias"), gate[1024], up[1024];
    bind_golden(&bound, "gpt-oss-hub-bf16");
    const struct layer *layer = &bound.model.layers[1];
    const int n = layer->gate.n_matrices * layer->gate.first.n;
    cr_assert(layer->gate.n_matrices == layer->config->router.n_experts && n <= 1024);
    for (int i = 0; i < n; i++) {
        gate[i] = gate_up[2 * i];
        up[i] = gate_up[2 * i + 1];
    }
    expect_floats(layer->gate.first.bias, gate, (size_t)n, "gate");
    expect_floats(layer->up.first.bias, up, (size_t)n, "up");
    for (int e = 0; e < layer->down.n_matrices; e++) {
        const struct weight w = bank_weight(&layer->down, e);
        expect_floats(w.bias, down + e * w.n, (size_t)w.n, "down");
    }
    model_free(&bound.model);
    free(gate_up);
    free(down);
    archive_close(&a);
}

/* Every element that a model uses is a parameter once, though the keys of a latent are packed in two forms. */
Test(bind, what_a_file_holds_is_counted_once)
{
    static const char *const names[] = {"deepseek-v2-lite-hub", "deepseek-v3-hub-bf16", "gpt-oss-hub-bf16",
                                        "gemma4-v5-f32",        "qwen3-next-hub-bf16",  "lfm2-moe-hub-bf16"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct archive *a = open_golden(names[i]);
        struct plan plan;
        struct failure f;
        uint64_t elements = 0, bytes = 0;
        bind_golden(&bound, names[i]);
        cr_assert_eq((int)plan_tensors(&plan, &bound.model.config, a, &f), (int)SLUICE_OK);
        for (size_t t = 0; t < archive_n_tensors(a); t++) {
            const struct tensor_view *view = archive_tensor(a, t);
            if (!plan.used[t]) continue;
            bytes += view->bytes;
            elements += view->bytes / dtype_info(view->dtype)->bytes_per_block;
        }
        cr_expect_eq(bound.model.n_parameters, elements, "%s", names[i]);
        cr_expect_eq(bound.model.file_bytes, bytes, "%s", names[i]);
        cr_expect_lt(bound.model.n_active_parameters, elements, "%s", names[i]);
        plan_free(&plan);
        model_free(&bound.model);
        archive_close(&a);
    }
}

/* One token of gpt-oss reads top_k of the experts with their biases, and everything else but the embedding. */
Test(bind, what_a_token_reads_is_counted)
{
    bind_golden(&bound, "gpt-oss-hub-bf16");
    const struct model *m = &bound.model;
    uint64_t idle = (uint64_t)m->embedding.n * (uint64_t)m->embedding.k;
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *y = &m->layers[l];
        const uint64_t h = (uint64_t)m->config.hidden_size, ff = (uint64_t)y->gate.first.n;
        const uint64_t rest = (uint64_t)(y->config->router.n_experts - y->config->router.top_k);
        idle += rest * (3 * h * ff + 2 * ff + h);
    }
    cr_expect_eq(m->n_active_parameters, m->n_parameters - idle);
    model_free(&bound.model);
}

Test(bind, what_steers_keeps_its_type)
{
    static const enum tensor_role kept[] = {ROLE_ROUTER,  ROLE_SHARED_SWITCH, ROLE_DELTA_BA, ROLE_DELTA_B,
                                            ROLE_DELTA_A, ROLE_K_B,           ROLE_K_B_T};
    static const enum tensor_role rounded[] = {ROLE_Q, ROLE_V_B, ROLE_KV_A, ROLE_DELTA_QKV, ROLE_CONV_IN, ROLE_O};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        cr_expect_eq((int)model_load_type(kept[i], DTYPE_F32, 256, DTYPE_Q4_K), (int)DTYPE_F32);
    for (size_t i = 0; i < sizeof rounded / sizeof *rounded; i++)
        cr_expect_eq((int)model_load_type(rounded[i], DTYPE_F32, 256, DTYPE_Q4_K), (int)DTYPE_Q4_K);
}

/* Transposed and reordered matrices, converted: the same as those that were rounded in the file. */
Test(bind, converting_while_loading_reads_through_every_order)
{
    static const char *const names[] = {"gpt-oss-v5-f32", "deepseek-v3-fused-f32", "qwen3_5-moe-v5-f32"};
    for (int i = 0; i < 3; i++) {
        struct bound wide;
        char path[512];
        struct bind_options options = bound_options(&bound);
        options.convert = true;
        options.load_as = DTYPE_F16;
        snprintf(path, sizeof path, "%s/golden/models/%s", SLUICE_TEST_DIR, names[i]);
        bind_path_with(&bound, path, 2, &options);
        cr_assert_eq((int)bound.status, (int)SLUICE_OK, "%s", bound.failure.text);
        bind_golden(&wide, names[i]);
        for (int l = 0; l < wide.model.config.n_layers; l++) {
            struct named_weight now[WEIGHTS_PER_LAYER], before[WEIGHTS_PER_LAYER];
            model_list_layer(&bound.model.layers[l], now);
            model_list_layer(&wide.model.layers[l], before);
            for (int w = 0; w < WEIGHTS_PER_LAYER; w++) {
                if (!now[w].weight->layout) continue;
                const enum dtype type = model_load_type(now[w].role, DTYPE_F32, now[w].weight->k, DTYPE_F16);
                expect_rounded(now[w].weight, before[w].weight, type, now[w].name);
            }
        }
        model_free(&bound.model);
        model_free(&wide.model);
    }
}

Test(bind, a_freed_model_may_be_freed_again)
{
    bind_golden(&bound, "mixtral-top1-f32");
    model_free(&bound.model);
    model_free(&bound.model);
}

Test(bind, every_golden_model_binds_without_a_warning)
{
    char name[128], path[512];
    snprintf(path, sizeof path, "%s/golden/models/cases.txt", SLUICE_TEST_DIR);
    FILE *cases = fopen(path, "r");
    cr_assert_not_null(cases);
    int n = 0;
    while (fscanf(cases, "%127s", name) == 1) {
        bind_golden(&bound, name);
        cr_expect_eq(bound.n_warnings, 0, "%s: %s", name, bound.warning);
        model_free(&bound.model);
        n++;
    }
    fclose(cases);
    cr_expect_gt(n, 30);
}
