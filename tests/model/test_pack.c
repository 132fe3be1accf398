/* Who packs what, and weights that stay in the file. Every golden model is bound twice, packed and in place, and both
 * must hold the same numbers. */
#include "model/pack.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "tests/support/folder.h"
#include "weights/archive.h"

TestSuite(pack);

/* ---- who packs --------------------------------------------------------------------------------------------------- */

static struct job make_job(struct planned *item, int n, int k, int expert)
{
    *item = (struct planned){.role = expert < 0 ? ROLE_Q : ROLE_EXPERT_UP, .layer = 0, .expert = expert};
    item->rows.dtype = DTYPE_F32;
    item->rows.n = n;
    item->rows.k = k;
    return (struct job){.item = item, .layout = panel_layout_choose(DTYPE_F32, n, k, 0, 0)};
}

Test(pack, huge_pages_go_round)
{
    enum { N = 1024, K = 2048, N_THREADS = 3 }; /* 8 MiB, four pages */
    struct planned item;
    struct job job = make_job(&item, N, K, 5);
    for (uintptr_t first = 0; first < 7; first++) {
        job.data = (void *)(first * HUGE_PAGE_BYTES); /* is not touched */
        for (int row = 0; row < N; row += 16) {
            const size_t page = first + (size_t)row * K * sizeof(float) / HUGE_PAGE_BYTES;
            cr_assert_eq(pack_owner(&job, row, N_THREADS), (int)(page % N_THREADS));
        }
    }
}

/* ---- in place ---------------------------------------------------------------------------------------------------- */

struct opened {
    struct archive *archive;
    struct model model;
};

static void open_model(struct opened *o, const char *path, unsigned archive_flags, unsigned flags, int n_threads)
{
    struct failure f = {0};
    struct team team;
    const struct bind_options options = {.features = cpu_features(NULL), .layout_flags = flags, .load_weights = true};
    team_init(&team, n_threads);
    cr_assert_eq(archive_open(&o->archive, path, ARCHIVE_TENSORS | ARCHIVE_CONFIG | archive_flags, &f), SLUICE_OK, "%s",
                 f.text);
    cr_assert_eq(model_bind(&o->model, o->archive, &team, &options, &f), SLUICE_OK, "%s", f.text);
}

static void close_model(struct opened *o)
{
    model_free(&o->model);
    archive_close(&o->archive);
}

static bool is_packed(const struct model *m, const struct weight *w)
{
    const unsigned char *data = w->data;
    return data >= m->arena.base && data < m->arena.base + m->arena.capacity;
}

/* Bytes of the weights that are in the file. */
static uint64_t compare_weights(const struct opened *packed, const struct opened *placed, const struct named_weight *a,
                                const struct named_weight *b, const size_t strides[2])
{
    const int n = a->weight->n, k = a->weight->k;
    float *row_a = malloc(sizeof(float) * (size_t)k), *row_b = malloc(sizeof(float) * (size_t)k);
    cr_assert(row_a && row_b && a->count == b->count && b->weight->n == n && b->weight->k == k);
    cr_expect(is_packed(&packed->model, a->weight));
    for (int i = 0; i < a->count; i++) {
        const unsigned char *data_a = a->weight->data, *data_b = b->weight->data;
        for (int row = 0; row < n; row++) {
            a->weight->layout->get_row(row_a, data_a + (size_t)i * strides[0], row, k);
            b->weight->layout->get_row(row_b, data_b + (size_t)i * strides[1], row, k);
            cr_assert_eq(memcmp(row_a, row_b, sizeof(float) * (size_t)k), 0, "%s %d, row %d", a->name, i, row);
        }
    }
    free(row_a);
    free(row_b);
    return is_packed(&placed->model, b->weight) ? 0 : weight_bytes(b->weight) * (uint64_t)a->count;
}

/* The strides of the bank that a weight of a list belongs to. */
static size_t stride_of(const struct layer *layer, const struct weight *w)
{
    const struct bank *const banks[] = {&layer->gate,    &layer->up,        &layer->down,
                                        &layer->mla.k_b, &layer->mla.k_b_t, &layer->mla.v_b};
    for (size_t i = 0; i < sizeof banks / sizeof *banks; i++)
        if (w == &banks[i]->first) return banks[i]->stride;
    return 0;
}

/* Compares a model with `packed`, which has all weights packed from mapped files; returns how many bytes are not. */
static uint64_t compare_model(const struct opened *packed, const struct opened *other)
{
    struct named_weight a[WEIGHTS_PER_LAYER], b[WEIGHTS_PER_LAYER];
    const struct model *m = &other->model;
    uint64_t in_file = 0;
    const struct named_weight whole[2][2] = {
        {{"embedding", ROLE_EMBEDDING, &packed->model.embedding, 1}, {"head", ROLE_HEAD, &packed->model.head, 1}},
        {{"embedding", ROLE_EMBEDDING, &m->embedding, 1}, {"head", ROLE_HEAD, &m->head, 1}}};
    for (int i = 0; i < (m->config.tied_embeddings ? 1 : 2); i++)
        in_file += compare_weights(packed, other, &whole[0][i], &whole[1][i], (const size_t[2]){0, 0});
    for (int l = 0; l < m->config.n_layers; l++) {
        model_list_layer(&packed->model.layers[l], a);
        model_list_layer(&m->layers[l], b);
        for (int i = 0; i < WEIGHTS_PER_LAYER; i++) {
            if (!a[i].weight->layout) continue;
            const size_t strides[2] = {stride_of(&packed->model.layers[l], a[i].weight),
                                       stride_of(&m->layers[l], b[i].weight)};
            in_file += compare_weights(packed, other, &a[i], &b[i], strides);
        }
    }
    return in_file;
}

/* Binds a model in three ways; returns how many bytes can stay in the file. */
static uint64_t compare_models(const char *path)
{
    struct opened packed, placed, read;
    open_model(&packed, path, 0, 0, 2);
    open_model(&placed, path, 0, PANEL_FILE, 2);
    const struct model *m = &placed.model;
    const uint64_t in_file = compare_model(&packed, &placed);
    cr_expect_eq(m->mapped_bytes, in_file, "%s", path);
    cr_expect_eq(m->file_bytes, packed.model.file_bytes, "%s", path);
    cr_expect_leq(m->weight_bytes + in_file, packed.model.weight_bytes, "%s", path); /* less padding */
    if (in_file == 0) cr_expect_eq(m->weight_bytes, packed.model.weight_bytes);
    cr_expect_eq(packed.model.mapped_bytes, 0u);
    close_model(&placed);
    for (int n_threads = 1; n_threads <= 2; n_threads++) { /* memory is given back behind the last reader only */
        open_model(&read, path, ARCHIVE_READ, 0, n_threads);
        cr_expect_eq(compare_model(&packed, &read), 0u, "%s", path);
        close_model(&read);
    }
    close_model(&packed);
    return in_file;
}

static void compare_folder(const char *folder, const char *suffix, int *n_models, int *n_in_place)
{
    char path[512];
    DIR *d = opendir(folder);
    cr_assert(d, "%s", folder);
    for (struct dirent *e; (e = readdir(d));) {
        const size_t n = strlen(e->d_name), n_suffix = strlen(suffix);
        if (strchr(e->d_name, '.') == e->d_name || n < n_suffix || strcmp(e->d_name + n - n_suffix, suffix) != 0)
            continue;
        if (n_suffix == 0 && strchr(e->d_name, '.')) continue; /* a file beside the folders */
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        *n_in_place += compare_models(path) > 0;
        ++*n_models;
    }
    closedir(d);
}

Test(pack, every_model_has_the_same_weights_packed_in_place_and_read)
{
    int n_models = 0, n_in_place = 0;
    compare_folder(SLUICE_TEST_DIR "/golden/gguf", ".gguf", &n_models, &n_in_place);
    cr_expect_geq(n_in_place, n_models * 3 / 4, "%d of %d GGUF files", n_in_place, n_models);
    compare_folder(SLUICE_TEST_DIR "/golden/models", "", &n_models, &n_in_place);
    cr_expect(n_models > 60 && n_in_place > 40, "%d of %d", n_in_place, n_models);
}

/* A gpt-oss model whose tensors of experts have many pages, gate and up in turns in each row, so that both read all of
 * them. */
static void write_shared_tensors(const struct test_folder *folder)
{
    static const char config[] =
        "{\"architectures\":[\"GptOssForCausalLM\"],\"model_type\":\"gpt_oss\",\"hidden_size\":128,\"head_dim\":32,"
        "\"intermediate_size\":128,\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":1,"
        "\"num_local_experts\":2,\"num_experts_per_tok\":1,\"vocab_size\":64,\"rms_norm_eps\":1e-5,"
        "\"layer_types\":[\"full_attention\"],\"max_position_embeddings\":64,\"hidden_act\":\"silu\","
        "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000.0},\"attention_bias\":true,"
        "\"swiglu_limit\":7.0,\"tie_word_embeddings\":true}";
#define LAYER "model.layers.0."
    struct test_tensor tensors[] = {
        {"model.embed_tokens.weight", "F32", 2, {64, 128}, NULL},
        {"model.norm.weight", "F32", 1, {128}, NULL},
        {LAYER "input_layernorm.weight", "F32", 1, {128}, NULL},
        {LAYER "post_attention_layernorm.weight", "F32", 1, {128}, NULL},
        {LAYER "self_attn.q_proj.weight", "F32", 2, {128, 128}, NULL},
        {LAYER "self_attn.q_proj.bias", "F32", 1, {128}, NULL},
        {LAYER "self_attn.k_proj.weight", "F32", 2, {32, 128}, NULL},
        {LAYER "self_attn.k_proj.bias", "F32", 1, {32}, NULL},
        {LAYER "self_attn.v_proj.weight", "F32", 2, {32, 128}, NULL},
        {LAYER "self_attn.v_proj.bias", "F32", 1, {32}, NULL},
        {LAYER "self_attn.o_proj.weight", "F32", 2, {128, 128}, NULL},
        {LAYER "self_attn.o_proj.bias", "F32", 1, {128}, NULL},
        {LAYER "self_attn.sinks", "F32", 1, {4}, NULL},
        {LAYER "mlp.router.weight", "F32", 2, {2, 128}, NULL},
        {LAYER "mlp.router.bias", "F32", 1, {2}, NULL},
        {LAYER "mlp.experts.gate_up_proj", "F32", 3, {2, 128, 256}, NULL},
        {LAYER "mlp.experts.gate_up_proj_bias", "F32", 2, {2, 256}, NULL},
        {LAYER "mlp.experts.down_proj", "F32", 3, {2, 128, 128}, NULL},
        {LAYER "mlp.experts.down_proj_bias", "F32", 2, {2, 128}, NULL},
    };
#undef LAYER
    enum { MOST = 2 * 128 * 256, N = sizeof tensors / sizeof *tensors };
    float *values = malloc(MOST * sizeof *values);
    cr_assert(values);
    for (int i = 0; i < MOST; i++) values[i] = (float)(i % 1009 + 1) / 1024;
    for (int i = 0; i < N; i++) tensors[i].data = values;
    folder_write_text(folder, "config.json", config);
    folder_write_tensors(folder, "model.safetensors", tensors, N);
    free(values);
}

Test(pack, tensors_with_several_readers_are_given_back_by_the_last)
{
    struct test_folder folder;
    folder_create(&folder);
    write_shared_tensors(&folder);
    compare_models(folder.path);
    folder_remove(&folder);
}

Test(pack, a_matrix_of_rounded_numbers_is_packed)
{
    struct opened o;
    struct failure f = {0};
    struct team team;
    const struct bind_options options = {.features = cpu_features(NULL),
                                         .layout_flags = PANEL_FILE,
                                         .load_weights = true,
                                         .convert = true,
                                         .load_as = DTYPE_Q8_0};
    team_init(&team, 2);
    cr_assert_eq(archive_open(&o.archive, SLUICE_TEST_DIR "/golden/gguf/llama3-f32.gguf", ARCHIVE_TENSORS, &f),
                 SLUICE_OK, "%s", f.text);
    cr_assert_eq(model_bind(&o.model, o.archive, &team, &options, &f), SLUICE_OK, "%s", f.text);
    cr_expect(is_packed(&o.model, &o.model.layers[0].q));
    cr_expect_eq((int)o.model.layers[0].q.layout->weight, (int)DTYPE_Q8_0);
    close_model(&o);
}

Test(pack, a_model_knows_whether_it_is_exact)
{
    for (int exact = 0; exact < 2; exact++) {
        struct archive *a;
        struct model m;
        struct failure f = {0};
        struct team team;
        const struct bind_options options = {.features = cpu_features(NULL), .exact = exact};
        team_init(&team, 1);
        cr_assert_eq(archive_open(&a, SLUICE_TEST_DIR "/golden/gguf/llama3-f32.gguf", ARCHIVE_TENSORS, &f), SLUICE_OK,
                     "%s", f.text);
        cr_assert_eq(model_bind(&m, a, &team, &options, &f), SLUICE_OK, "%s", f.text);
        cr_expect_eq(m.exact, exact);
        model_free(&m);
        archive_close(&a);
    }
}
