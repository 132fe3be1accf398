/* From files to struct model: every value arrives, every tensor that is missing or deformed is named, and memory that
 * is short at any point leaves nothing behind. T22..T25, C21 and C25 are rows of a catalogue of malformed inputs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
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
        struct mlp_weights expert = {expert_weight(&l0->gate, e), expert_weight(&l0->up, e),
                                     expert_weight(&l0->down, e)};
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
static void *bank_bytes(const struct expert_bank *bank, size_t *n)
{
    *n = bank->stride * (size_t)bank->n_experts;
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
                const struct expert_bank *banks[3] = {&layer->gate, &layer->up, &layer->down};
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
    for (int i = 0; i < 4; i++) {
        bind_checkpoint(threads[i], true);
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
    cr_expect_eq(m->layers[0].gate.n_experts, CHECKPOINT_EXPERTS);
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
    static const char *const dtypes[] = {"F64", "I8", "U8", "BOOL", "I16", "I64", "F8_E4M3"};
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
    char name[64];
    make("BF16");
    dense_layer_1();
    retype("model.layers.0.mlp.experts.3.gate_proj.weight", "F16");
    refused(true, SLUICE_UNSUPPORTED,
            "tensor \"model.layers.0.mlp.experts.3.gate_proj.weight\": type F16, expected BF16 as in expert 0");
    checkpoint_remove(&checkpoint);

    make("BF16");
    dense_layer_1();
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        snprintf(name, sizeof name, "model.layers.0.mlp.experts.%d.up_proj.weight", e);
        retype(name, "F32");
    }
    refused(false, SLUICE_UNSUPPORTED, "layer 0: experts' gate is BF16 and up is F32, expected one type");
}

Test(bind, matrices_may_differ_in_type)
{
    make("BF16");
    dense_layer_1();
    retype("model.norm.weight", "F32");
    retype("model.layers.0.mlp.gate.weight", "F32");
    retype("model.layers.0.self_attn.k_proj.weight", "F16");
    retype("model.layers.0.self_attn.k_proj.bias", "F32");
    retype("lm_head.weight", "F16");
    must_bind();
    cr_expect_eq((int)bound.model.layers[0].router.layout->weight, (int)DTYPE_F32);
    cr_expect_eq((int)bound.model.layers[0].k.layout->weight, (int)DTYPE_F16);
    cr_expect_eq((int)bound.model.layers[0].q.layout->weight, (int)DTYPE_BF16);
    cr_expect_eq((int)bound.model.main_dtype, (int)DTYPE_BF16);
    model_free(&bound.model);
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

/* ---- limits of the machine --------------------------------------------------------------------------------------- */

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
    struct bind_options options = {.features = cpu_features(NULL), .load_weights = true};
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
