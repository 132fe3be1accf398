/* Writing GGUF files: exact types give the same bits, mixes give the types that they promise, and nothing is left
 * behind by whatever ends early. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "engine/calibrate.h"
#include "engine/quantize_types.h"
#include "folder.h"
#include "golden.h"
#include "model/plan.h"
#include "weights/archive.h"
#include "weights/gguf_write.h"

static const char *model_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/golden/models/%s", SLUICE_TEST_DIR, name);
    return path;
}

static sluice_status try_quantize(const char *in, const char *out, const char *type, sluice_error *error)
{
    sluice_quantize_options o = sluice_quantize_options_default();
    o.type = type;
    o.n_threads = 2;
    return sluice_quantize(in, out, &o, NULL, error);
}

static void quantize(const char *in, const char *out, const char *type)
{
    sluice_error error = {0};
    cr_assert_eq(try_quantize(in, out, type, &error), SLUICE_OK, "%s: %s", in, error.text);
}

static size_t n_files(const struct test_folder *t)
{
    size_t n = 0;
    DIR *folder = opendir(t->path);
    cr_assert_not_null(folder);
    for (struct dirent *d; (d = readdir(folder));) n += d->d_name[0] != '.';
    closedir(folder);
    return n;
}

static char *read_whole(const char *path, size_t *n)
{
    struct stat s;
    FILE *file = fopen(path, "rb");
    cr_assert(file && fstat(fileno(file), &s) == 0, "%s", path);
    char *bytes = malloc((size_t)s.st_size);
    *n = fread(bytes, 1, (size_t)s.st_size, file);
    cr_assert_eq(*n, (size_t)s.st_size);
    fclose(file);
    return bytes;
}

static void expect_same_bytes(const char *a, const char *b)
{
    size_t n, m;
    char *left = read_whole(a, &n), *right = read_whole(b, &m);
    cr_expect(n == m && memcmp(left, right, n) == 0, "%s and %s differ", a, b);
    free(left);
    free(right);
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

/* The types that a mix gives to these tensors, as words. */
static void expect_types(const char *mix, const struct mix_model *m, const char *const (*pairs)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *found = dtype_info(mix_type(mix_find(mix), m, pairs[i][0]))->name;
        cr_expect_str_eq(found, pairs[i][1], "%s: %s: found %s, expected %s", mix, pairs[i][0], found, pairs[i][1]);
    }
}
#define EXPECT_TYPES(mix, model, ...)                                                             \
    do {                                                                                          \
        static const char *const expected_pairs[][2] = {__VA_ARGS__};                             \
        expect_types(mix, model, expected_pairs, sizeof expected_pairs / sizeof *expected_pairs); \
    } while (0)

Test(quantize_types, a_mix_gives_more_bits_where_they_matter)
{
    const struct mix_model dense = {.n_layers = 32, .has_output = true};
    EXPECT_TYPES("Q4_K_M", &dense, {"output.weight", "Q6_K"}, {"token_embd.weight", "Q4_K"},
                 {"blk.0.attn_v.weight", "Q6_K"}, {"blk.3.ffn_down.weight", "Q6_K"}, {"blk.4.ffn_down.weight", "Q4_K"},
                 {"blk.5.attn_v.weight", "Q4_K"}, {"blk.6.attn_v.weight", "Q6_K"}, {"blk.28.ffn_down.weight", "Q6_K"},
                 {"blk.6.attn_q.weight", "Q4_K"}, {"blk.6.ffn_up.weight", "Q4_K"},
                 {"blk.0.attn_output.weight", "Q4_K"});
    EXPECT_TYPES("q3_k_l", &dense, {"blk.9.attn_output.weight", "Q5_K"}, {"blk.9.ffn_down.weight", "Q5_K"},
                 {"blk.9.attn_k.weight", "Q3_K"});
    EXPECT_TYPES("q3_k_m", &dense, {"blk.1.ffn_down.weight", "Q5_K"}, {"blk.2.ffn_down.weight", "Q4_K"});
    EXPECT_TYPES("q4_k_s", &dense, {"blk.3.ffn_down.weight", "Q5_K"}, {"blk.4.ffn_down.weight", "Q4_K"});
    EXPECT_TYPES("q2_k", &dense, {"blk.9.ffn_down.weight", "Q3_K"}, {"blk.9.ffn_gate.weight", "Q2_K"});
    EXPECT_TYPES("q8_0", &dense, {"output.weight", "Q8_0"}, {"blk.9.attn_v.weight", "Q8_0"});
    EXPECT_TYPES("bf16", &dense, {"output.weight", "BF16"}, {"token_embd.weight", "BF16"});
}

Test(quantize_types, experts)
{
    const struct mix_model tied = {.n_layers = 32, .has_experts = true};
    EXPECT_TYPES("q4_k_m", &tied, {"token_embd.weight", "Q6_K"}, {"blk.9.attn_k.weight", "Q8_0"},
                 {"blk.9.attn_v.weight", "Q8_0"}, {"blk.9.attn_q.weight", "Q4_K"},
                 {"blk.0.ffn_down_exps.weight", "Q6_K"}, {"blk.4.ffn_down_exps.weight", "Q4_K"},
                 {"blk.0.ffn_down.7.weight", "Q6_K"}, {"blk.0.ffn_down_shexp.weight", "Q6_K"});
    EXPECT_TYPES("mxfp4_moe", &tied, {"token_embd.weight", "Q8_0"}, {"blk.9.attn_k.weight", "Q8_0"},
                 {"blk.9.ffn_up_exps.weight", "MXFP4"}, {"blk.9.ffn_up.12.weight", "MXFP4"},
                 {"blk.9.ffn_down_exps.weight", "MXFP4"}, {"blk.9.ffn_up_shexp.weight", "Q8_0"});
}

Test(quantize_types, names)
{
    struct mix_model m = {0};
    mix_model_add(&m, "blk.11.ffn_up_exps.weight");
    mix_model_add(&m, "blk.2.ffn_up.weight");
    cr_expect(m.n_layers == 12 && m.has_experts && !m.has_output);
    mix_model_add(&m, "output.weight");
    cr_expect(m.has_output);
    cr_expect_eq(tensor_layer("blk.7.attn_q.weight"), 7);
    cr_expect_eq(tensor_layer("blk.x"), -1);
    cr_expect_eq(tensor_layer("blk.99999999999999999999.x"), -1);
    cr_expect(tensor_is_rounded("blk.0.attn_q.weight", 2));
    cr_expect(tensor_is_rounded("blk.0.ssm_out.weight", 2));
    cr_expect_not(tensor_is_rounded("blk.0.attn_q.bias", 2));
    cr_expect_not(tensor_is_rounded("blk.0.attn_norm.weight", 1));
    cr_expect_not(tensor_is_rounded("blk.0.attn_q_norm.weight", 2));
    cr_expect_not(tensor_is_rounded("blk.0.ffn_gate_inp.weight", 2));
    cr_expect_not(tensor_is_rounded("blk.0.ffn_gate_inp_shexp.weight", 2));
    static const char *const exact[] = {
        "blk.0.ssm_conv1d.weight",     "blk.0.shortconv.conv.weight", "blk.0.ssm_a",
        "blk.0.ssm_ba.weight",         "blk.0.ssm_alpha.weight",      "blk.0.ssm_dt.bias",
        "blk.0.attn_kv_a_norm.weight", "blk.0.ffn_gate_exps.bias",    "blk.0.exp_probs_b.bias",
        "blk.0.ffn_down_exps.scale",   "blk.0.post_ffw_norm_1.weight"};
    static const char *const rounded[] = {
        "blk.0.attn_k_b.weight", "blk.0.attn_v_b.weight",          "blk.0.attn_kv_a_mqa.weight",
        "blk.0.attn_q_a.weight", "blk.0.attn_qkv.weight",          "blk.0.attn_gate.weight",
        "blk.0.ssm_in.weight",   "blk.0.shortconv.in_proj.weight", "blk.0.shortconv.out_proj.weight"};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        cr_expect_not(tensor_is_rounded(exact[i], 2), "%s", exact[i]);
    for (size_t i = 0; i < sizeof rounded / sizeof *rounded; i++)
        cr_expect(tensor_is_rounded(rounded[i], 2), "%s", rounded[i]);
    cr_expect_not(tensor_is_rounded("blk.0.attn_sinks.weight", 1));
    cr_expect(rule_fits("ffn_down", "blk.0.ffn_down_exps.weight"));
    cr_expect(rule_fits("blk.[01].*", "blk.0.ffn_down_exps.weight"));
    cr_expect_not(rule_fits("blk.?", "blk.0.ffn_down_exps.weight"));
    cr_expect_null(mix_find("q4"));
}

/* ---- exact types ------------------------------------------------------------------------------------------------- */

static void expect_same_logits(const char *name, const struct golden *g, const struct seen *expected, const char *file,
                               const char *type)
{
    struct golden copy = *g;
    struct seen found;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    o.n_threads = 2;
    o.flags = SLUICE_OPEN_FLOAT;
    cr_assert_eq(sluice_engine_open(&copy.engine, file, &o, &error), SLUICE_OK, "%s as %s: %s", name, type, error.text);
    sluice_engine_get_info(copy.engine, &copy.info);
    cr_expect_str_eq(copy.info.architecture, g->info.architecture, "%s", name);
    cr_expect_eq(copy.info.n_context, g->info.n_context, "%s", name);
    cr_expect_eq(copy.info.n_parameters, g->info.n_parameters, "%s", name);
    golden_run(&copy, 0, &found);
    size_t bytes = expected->n_tokens * expected->vocab_size * sizeof(float);
    cr_expect(memcmp(found.logits, expected->logits, bytes) == 0, "%s as %s: other logits", name, type);
    cr_expect(memcmp(found.hidden, expected->hidden,
                     expected->n_layers * expected->n_tokens * expected->hidden_size * 4) == 0,
              "%s as %s: another residual stream", name, type);
    seen_free(&found);
    sluice_engine_close(&copy.engine);
}

/* Writes the checkpoint and runs it; an F32 file is also written again. */
static void check_exact(const struct test_folder *t, const char *name, const struct golden *g, const struct seen *seen,
                        const char *type)
{
    char first[600], second[600];
    snprintf(first, sizeof first, "%s/first.gguf", t->path);
    snprintf(second, sizeof second, "%s/second.gguf", t->path);
    quantize(model_path(name), first, type);
    expect_same_logits(name, g, seen, first, type);
    if (strcmp(type, "f32") == 0) {
        quantize(first, second, type);
        expect_same_bytes(first, second);
        remove(second);
    }
    remove(first);
}

Test(quantize, exact_types_give_the_same_bits_for_every_checkpoint)
{
    static char names[MAX_CASES][64];
    int n = golden_names(names);
    struct test_folder t;
    folder_create(&t);
    for (int i = 0; i < n; i++) {
        struct golden g;
        struct seen seen;
        golden_open(&g, names[i], 2, SLUICE_OPEN_FLOAT);
        golden_run(&g, 0, &seen);
        check_exact(&t, names[i], &g, &seen, "f32");
        if (strcmp(g.info.weight_dtype, "BF16") == 0) check_exact(&t, names[i], &g, &seen, "bf16");
        if (strcmp(g.info.weight_dtype, "F16") == 0) check_exact(&t, names[i], &g, &seen, "f16");
        seen_free(&seen);
        golden_close(&g);
    }
    cr_expect_eq(n_files(&t), 0);
    folder_remove(&t);
}

static struct archive *open_file(const char *path)
{
    struct archive *a;
    struct failure f = {0};
    cr_assert_eq(archive_open(&a, path, ARCHIVE_TENSORS | ARCHIVE_CONFIG, &f), SLUICE_OK, "%s", f.text);
    return a;
}

/* ---- older layouts of GGUF --------------------------------------------------------------------------------------- */

/* A tensor of an older file, put together from rows of tensors of a newer one of F32. */
struct old_tensor {
    char name[64];
    int n_dims;
    uint64_t shape[2];
    float *data; /* owned */
};

static const float *f32_of(const struct archive *a, int layer, const char *part)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, part);
    const struct tensor_view *view = archive_find(a, name);
    cr_assert(view && view->dtype == DTYPE_F32, "%s", name);
    return (const float *)(const void *)view->data;
}

static float *start_old(struct old_tensor *t, int layer, const char *part, int n, int k)
{
    *t = (struct old_tensor){.n_dims = 2, .shape = {(uint64_t)n, (uint64_t)k}};
    snprintf(t->name, sizeof t->name, "blk.%d.%s.weight", layer, part);
    t->data = malloc((size_t)n * (size_t)k * sizeof(float));
    cr_assert_not_null(t->data);
    return t->data;
}

/* attn_kv_b: per head the rows of its keys, then of its values; attn_k_b has the keys transposed. */
static void join_kv_b(struct old_tensor *t, const struct archive *a, const struct mixer *m, int nope, int layer)
{
    const float *keys = f32_of(a, layer, "attn_k_b"), *values = f32_of(a, layer, "attn_v_b");
    const int k = m->kv_lora_rank, v = m->v_head_dim;
    float *to = start_old(t, layer, "attn_kv_b", m->n_heads * (nope + v), k);
    for (int h = 0; h < m->n_heads; h++) {
        for (int i = 0; i < nope; i++)
            for (int j = 0; j < k; j++) *to++ = keys[(h * k + j) * nope + i];
        memcpy(to, values + h * v * k, (size_t)(v * k) * sizeof *to);
        to += v * k;
    }
}

/* ssm_in: per key head its q, k, values, gates. */
static void join_ssm_in(struct old_tensor *t, const struct archive *a, const struct mixer *m, int hidden, int layer)
{
    const float *qkv = f32_of(a, layer, "attn_qkv"), *z = f32_of(a, layer, "attn_gate");
    const int keys = m->n_key_heads, d = m->head_dim, v = m->n_value_heads / keys * m->v_head_dim;
    float *to = start_old(t, layer, "ssm_in", keys * 2 * (d + v), hidden);
    for (int g = 0; g < keys; g++) {
        const struct {
            const float *from;
            int first, n;
        } parts[] = {{qkv, g * d, d}, {qkv, (keys + g) * d, d}, {qkv, 2 * keys * d + g * v, v}, {z, g * v, v}};
        for (int i = 0; i < 4; i++) {
            memcpy(to, parts[i].from + parts[i].first * hidden, (size_t)(parts[i].n * hidden) * sizeof *to);
            to += parts[i].n * hidden;
        }
    }
}

static bool is_one_of(const char *name, const char *const *parts)
{
    while (*parts && !strstr(name, *parts)) parts++;
    return *parts != NULL;
}

/* Copies a file without some tensors and keys, and with others. */
static void write_old(const char *from, const char *to, const char *const *dropped, const struct old_tensor *added,
                      size_t n_added, const char *const *keys, const int *values)
{
    struct failure f = {0};
    struct archive *a = open_file(from);
    struct gguf_writer *w = NULL;
    struct meta value;
    const char *key;
    size_t n = 0;
    cr_assert_eq(gguf_writer_create(&w, to, &f), SLUICE_OK, "%s", f.text);
    for (size_t i = 0; (key = archive_gguf_key(a, i, &value)); i++)
        if (!is_one_of(key, keys)) gguf_put_meta(w, key, value);
    for (size_t i = 0; keys[i]; i++)
        if (values[i]) gguf_put_u32(w, keys[i], (uint32_t)values[i]);
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const struct tensor_view *v = archive_tensor(a, i);
        if (!is_one_of(v->name, dropped)) gguf_add_tensor(w, v->name, v->dtype, v->n_dims, v->shape);
    }
    for (size_t i = 0; i < n_added; i++) gguf_add_tensor(w, added[i].name, DTYPE_F32, 2, added[i].shape);
    cr_assert_eq(gguf_begin_data(w, &f), SLUICE_OK, "%s", f.text);
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const struct tensor_view *v = archive_tensor(a, i);
        if (!is_one_of(v->name, dropped))
            cr_assert_eq(gguf_write_data(w, n++, 0, v->data, (size_t)v->bytes, &f), SLUICE_OK, "%s", f.text);
    }
    for (size_t i = 0; i < n_added; i++)
        cr_assert_eq(gguf_write_data(w, n++, 0, added[i].data,
                                     (size_t)(added[i].shape[0] * added[i].shape[1]) * sizeof(float), &f),
                     SLUICE_OK, "%s", f.text);
    cr_assert_eq(gguf_writer_commit(w, &f), SLUICE_OK, "%s", f.text);
    gguf_writer_close(&w);
    archive_close(&a);
}

Test(quantize, older_layouts_are_the_same_models)
{
    static const char *const names[] = {"deepseek-v3-hub-bf16", "deepseek-v2-lite-hub", "qwen3-next-hub-bf16"};
    static const char *const mla_parts[] = {"attn_k_b.", "attn_v_b.", NULL};
    static const char *const delta_parts[] = {"attn_qkv.", "attn_gate.", NULL};
    static const char *const mla_keys[] = {"deepseek2.attention.key_length",       "deepseek2.attention.value_length",
                                           "deepseek2.attention.head_count_kv",    "deepseek2.attention.key_length_mla",
                                           "deepseek2.attention.value_length_mla", NULL};
    static const char *const no_keys[] = {NULL};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct test_folder t;
        char new[600], old[600];
        struct failure f = {0};
        struct model_config config;
        struct generation_config generation;
        struct old_tensor added[8];
        size_t n_added = 0;
        struct golden g;
        struct seen seen;
        folder_create(&t);
        snprintf(new, sizeof new, "%s/new.gguf", t.path);
        snprintf(old, sizeof old, "%s/old.gguf", t.path);
        quantize(model_path(names[i]), new, "f32");
        struct archive *a = open_file(new);
        cr_assert_eq(config_read(&config, &generation, a, &f), SLUICE_OK, "%s", f.text);
        const struct mixer *m = &config.layers[0].mixer;
        const bool mla = m->kind == MIX_MLA;
        for (int l = 0; l < config.n_layers; l++) {
            const struct mixer *here = &config.layers[l].mixer;
            cr_assert_lt(n_added, 8);
            if (here->kind == MIX_MLA)
                join_kv_b(&added[n_added++], a, here, here->head_dim - config.rope[0].n_rot, l);
            else if (here->kind == MIX_DELTA)
                join_ssm_in(&added[n_added++], a, here, config.hidden_size, l);
        }
        cr_assert_gt(n_added, 0);
        const int values[5] = {m->head_dim, m->v_head_dim, m->n_heads, 0, 0};
        write_old(new, old, mla ? mla_parts : delta_parts, added, n_added, mla ? mla_keys : no_keys, values);
        archive_close(&a);
        golden_open(&g, names[i], 2, SLUICE_OPEN_FLOAT);
        golden_run(&g, 0, &seen);
        expect_same_logits(names[i], &g, &seen, old, "an older file");
        seen_free(&seen);
        golden_close(&g);
        config_free(&config);
        while (n_added > 0) free(added[--n_added].data);
        folder_remove(&t);
    }
}

/* What a folder has as pairs of tensors is written as GGUF's blocks, bit by bit: codes and scales stay. */
Test(quantize, mxfp4_stays_as_it_is)
{
    static const enum tensor_role roles[] = {ROLE_EXPERT_GATE, ROLE_EXPERT_UP, ROLE_EXPERT_DOWN};
    static const char *const names[] = {"blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight",
                                        "blk.1.ffn_down_exps.weight"};
    struct test_folder t;
    struct failure f = {0};
    struct archive *folder = NULL, *file = NULL;
    struct model_config config;
    struct generation_config generation;
    struct plan plan;
    folder_create(&t);
    quantize(model_path("gpt-oss-mxfp4-hub"), folder_path(&t, "a.gguf"), "mxfp4_moe");
    cr_assert_eq(archive_open(&folder, model_path("gpt-oss-mxfp4-hub"), ARCHIVE_TENSORS | ARCHIVE_CONFIG, &f),
                 SLUICE_OK, "%s", f.text);
    cr_assert_eq(archive_open(&file, folder_path(&t, "a.gguf"), ARCHIVE_TENSORS, &f), SLUICE_OK, "%s", f.text);
    cr_assert_eq(config_read(&config, &generation, folder, &f), SLUICE_OK, "%s", f.text);
    cr_assert_eq(plan_tensors(&plan, &config, folder, &f), SLUICE_OK, "%s", f.text);
    for (int i = 0; i < 3; i++) {
        const struct tensor_view *view = archive_find(file, names[i]);
        size_t at = 0;
        cr_assert(view && view->dtype == DTYPE_MXFP4, "%s", names[i]);
        unsigned char *rows = malloc((size_t)view->bytes);
        for (size_t j = 0; j < plan.n; j++) {
            const struct planned *item = &plan.items[j];
            if (item->role != roles[i] || item->layer != 1) continue;
            cr_assert_leq(at + rows_row_bytes(&item->rows) * (size_t)item->rows.n, view->bytes);
            rows_read(&item->rows, rows + at, 0, item->rows.n);
            at += rows_row_bytes(&item->rows) * (size_t)item->rows.n;
        }
        cr_expect(at == view->bytes && memcmp(rows, view->data, at) == 0, "%s", names[i]);
        free(rows);
    }
    plan_free(&plan);
    config_free(&config);
    archive_close(&folder);
    archive_close(&file);
    folder_remove(&t);
}

/* Latent attention is written in the layout of today: keys transposed, values apart, no second copy. */
Test(quantize, latent_attention_is_written_once)
{
    struct test_folder t;
    struct failure f = {0};
    struct archive *file = NULL;
    folder_create(&t);
    quantize(model_path("deepseek-v3-fp8-hub"), folder_path(&t, "a.gguf"), "q8_0");
    cr_assert_eq(archive_open(&file, folder_path(&t, "a.gguf"), ARCHIVE_TENSORS, &f), SLUICE_OK, "%s", f.text);
    cr_expect(archive_find(file, "blk.0.attn_k_b.weight") && archive_find(file, "blk.0.attn_v_b.weight"));
    cr_expect(archive_find(file, "blk.0.attn_kv_a_mqa.weight") && !archive_find(file, "blk.0.attn_kv_b.weight"));
    cr_expect_eq(archive_find(file, "blk.0.attn_k_b.weight")->n_dims, 3);
    archive_close(&file);
    folder_remove(&t);
}

/* ---- what is reported -------------------------------------------------------------------------------------------- */

struct witness {
    size_t n_tensors, n_rounded, n_replaced, n_router, n_asked, cancel_after;
    char warnings[4096];
};

static void see_tensor(void *context, const sluice_tensor_report *r)
{
    struct witness *w = context;
    w->n_tensors++;
    w->n_replaced += r->wanted != NULL;
    if (strcmp(r->to, r->from) == 0 || strcmp(r->to, "F32") == 0)
        cr_expect_eq(r->rmse, 0, "%s: %s -> %s: RMSE %g", r->name, r->from, r->to, r->rmse);
    if (r->rmse > 0) {
        w->n_rounded++;
        cr_expect_leq(r->relative_rmse, 0.2, "%s -> %s: %g", r->name, r->to, r->relative_rmse);
        cr_expect_geq(r->max_error, r->rmse);
    }
    if (strstr(r->name, "ffn_gate_inp")) {
        w->n_router++;
        cr_expect_str_eq(r->to, "F32");
    }
}

static void see_warning(void *context, const char *text)
{
    struct witness *w = context;
    size_t n = strlen(w->warnings);
    snprintf(w->warnings + n, sizeof w->warnings - n, "%s\n", text);
}

static bool see_cancelled(void *context)
{
    struct witness *w = context;
    return ++w->n_asked > w->cancel_after;
}

static sluice_quantize_options witnessed(struct witness *w, const char *type)
{
    sluice_quantize_options o = sluice_quantize_options_default();
    *w = (struct witness){.cancel_after = SIZE_MAX};
    o.type = type;
    o.n_threads = 2;
    o.tensor = see_tensor;
    o.warning = see_warning;
    o.cancelled = see_cancelled;
    o.context = w;
    return o;
}

Test(quantize, reports_agree_with_the_result)
{
    struct test_folder t;
    struct witness w;
    sluice_error error = {0};
    sluice_quantize_result r;
    struct stat s;
    folder_create(&t);
    const char *out = folder_path(&t, "q.gguf");
    sluice_quantize_options o = witnessed(&w, "q4_k_m");
    o.rules = (const sluice_tensor_rule[]){{"attn_q", "f16"}, {"attn_*", "q8_0"}};
    o.n_rules = 1;
    /* hidden size 64, experts 32 wide: no row is a multiple of 256 */
    cr_assert_eq(sluice_quantize(model_path("qwen3-moe-hub-bf16"), out, &o, &r, &error), SLUICE_OK, "%s", error.text);
    cr_expect_eq(r.n_tensors, w.n_tensors);
    cr_expect_eq(r.n_replaced, w.n_replaced);
    cr_expect_eq(r.n_rounded, w.n_rounded);
    cr_expect_gt(r.n_replaced, 0);
    cr_expect_gt(w.n_router, 0);
    cr_expect(strstr(w.warnings, "no tokenizer.json") != NULL, "%s", w.warnings);
    cr_expect_eq(stat(out, &s), 0);
    cr_expect_eq((uint64_t)s.st_size, r.file_bytes);
    cr_expect_float_eq(r.bits_per_weight, 8 * (double)r.tensor_bytes / (double)r.n_parameters, 1e-12);
    folder_remove(&t);
}

/* ---- old files --------------------------------------------------------------------------------------------------- */

/* Copies a GGUF file, its stacked experts as one tensor each, as files of 2023 have them. */
static void write_old_experts(const char *from, const char *to)
{
    struct failure f = {0};
    struct archive *a = NULL;
    struct gguf_writer *w = NULL;
    struct meta value;
    const char *key;
    cr_assert_eq(archive_open(&a, from, ARCHIVE_TENSORS, &f), SLUICE_OK, "%s", f.text);
    cr_assert_eq(gguf_writer_create(&w, to, &f), SLUICE_OK, "%s", f.text);
    for (size_t i = 0; (key = archive_gguf_key(a, i, &value)); i++) gguf_put_meta(w, key, value);
    for (int pass = 0; pass < 2; pass++) { /* the directory, then the bytes */
        size_t n = 0;
        if (pass == 1) cr_assert_eq(gguf_begin_data(w, &f), SLUICE_OK, "%s", f.text);
        for (size_t i = 0; i < archive_n_tensors(a); i++) {
            const struct tensor_view *v = archive_tensor(a, i);
            const char *exps = strstr(v->name, "_exps.weight");
            const size_t count = exps ? (size_t)v->shape[0] : 1, bytes = (size_t)v->bytes / count;
            for (size_t e = 0; e < count; e++, n++) {
                char name[64];
                snprintf(name, sizeof name, "%.*s.%zu.weight", exps ? (int)(exps - v->name) : 0, v->name, e);
                if (pass == 0)
                    gguf_add_tensor(w, exps ? name : v->name, v->dtype, v->n_dims - (exps != NULL),
                                    v->shape + (exps != NULL));
                else
                    cr_assert_eq(gguf_write_data(w, n, 0, v->data + e * bytes, bytes, &f), SLUICE_OK, "%s", f.text);
            }
        }
    }
    cr_assert_eq(gguf_writer_commit(w, &f), SLUICE_OK, "%s", f.text);
    gguf_writer_close(&w);
    archive_close(&a);
}

Test(quantize, experts_of_old_files_are_stacked)
{
    static const char *const names[] = {"qwen3-moe-f32", "mixtral-f32"}; /* the second has its rows reordered */
    for (int i = 0; i < 2; i++) {
        char path[512], old[512], out[512];
        struct test_folder t;
        struct failure f = {0};
        struct archive *before = NULL, *after = NULL;
        folder_create(&t);
        snprintf(path, sizeof path, "%s/golden/gguf/%s.gguf", SLUICE_TEST_DIR, names[i]);
        snprintf(old, sizeof old, "%s", folder_path(&t, "old.gguf"));
        snprintf(out, sizeof out, "%s", folder_path(&t, "new.gguf"));
        write_old_experts(path, old);
        quantize(old, out, "f32");
        cr_assert_eq(archive_open(&before, path, ARCHIVE_TENSORS, &f), SLUICE_OK, "%s", f.text);
        cr_assert_eq(archive_open(&after, out, ARCHIVE_TENSORS, &f), SLUICE_OK, "%s", f.text);
        cr_assert_eq(archive_n_tensors(after), archive_n_tensors(before));
        for (size_t n = 0; n < archive_n_tensors(before); n++) {
            const struct tensor_view *x = archive_tensor(before, n), *y = archive_tensor(after, n);
            cr_expect_str_eq(x->name, y->name);
            cr_expect(x->bytes == y->bytes && memcmp(x->data, y->data, (size_t)x->bytes) == 0, "%s", x->name);
        }
        archive_close(&before);
        archive_close(&after);
        folder_remove(&t);
    }
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void expect_refused(const struct test_folder *t, const sluice_quantize_options *o, const char *in,
                           const char *out, sluice_status status, const char *text)
{
    sluice_error error = {0};
    size_t before = n_files(t);
    cr_expect_eq(sluice_quantize(in, out, o, NULL, &error), status, "expected \"%s\"", text);
    cr_expect(strstr(error.text, text) != NULL, "found \"%s\", expected \"%s\"", error.text, text);
    cr_expect_eq(n_files(t), before, "%s: a file is left", text);
}

Test(quantize, refuses_before_anything_is_written)
{
    struct test_folder t;
    struct witness w;
    folder_create(&t);
    char out[600], in[600];
    snprintf(out, sizeof out, "%s/out.gguf", t.path);
    snprintf(in, sizeof in, "%s", model_path("llama3-hub-bf16"));
    sluice_quantize_options o = witnessed(&w, "q4_km");
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "type: unknown type \"q4_km\", expected one of f32, ");
    o.type = "elephant\n";
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "unknown type \"elephant\\x0a\", expected one of f32");
    o.type = NULL;
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "no type");
    o.type = "q8_0";
    o.n_rules = 1;
    o.rules = &(sluice_tensor_rule){"attn_q", "q4_k_m"};
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "tensor rule: unknown type \"q4_k_m\", expected one of f32, ");
    o.rules = &(sluice_tensor_rule){"attn_q", "iq2_s"};
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "tensor rule: type \"iq2_s\" can be read, not written");
    o.rules = &(sluice_tensor_rule){"attn_norm", "f16"};
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "tensor rule \"attn_norm\": fits no matrix");
    o.n_rules = 0;
    o.n_threads = 1000;
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "threads: found 1000");
    o.n_threads = 1;
    expect_refused(&t, &o, in, in, SLUICE_IO, "exists already");
    expect_refused(&t, &o, in, folder_path(&t, "no/out.gguf"), SLUICE_IO, "No such file or directory");
    expect_refused(&t, &o, folder_path(&t, "nothing"), out, SLUICE_IO, "No such file");
    folder_write_text(&t, "there.gguf", "precious");
    expect_refused(&t, &o, in, folder_path(&t, "there.gguf"), SLUICE_IO, "exists already");
    o.calibration_text = "a text";
    o.calibration_length = 6;
    expect_refused(&t, &o, in, folder_path(&t, "there.gguf"), SLUICE_IO, "exists already");
    expect_refused(&t, &o, in, out, SLUICE_ARGUMENT, "tokenizer");
    folder_remove(&t);
}

Test(quantize, values_that_no_block_can_hold)
{
    static const char config[] =
        "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 32, "
        "\"num_hidden_layers\": 1, \"num_attention_heads\": 1, \"intermediate_size\": 32, \"vocab_size\": 32, "
        "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": true}";
    static const char *const matrices[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                           "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                           "mlp.down_proj"};
    static float values[32 * 32];
    static char names[7][80];
    struct test_tensor tensors[11] = {
        {"model.embed_tokens.weight", "F32", 2, {32, 32}, NULL},
        {"model.norm.weight", "F32", 1, {32}, NULL},
        {"model.layers.0.input_layernorm.weight", "F32", 1, {32}, NULL},
        {"model.layers.0.post_attention_layernorm.weight", "F32", 1, {32}, NULL},
    };
    struct test_folder t;
    sluice_quantize_options o = sluice_quantize_options_default();
    folder_create(&t);
    for (int i = 0; i < 7; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.0.%s.weight", matrices[i]);
        tensors[4 + i] = (struct test_tensor){names[i], "F32", 2, {32, 32}, NULL};
    }
    tensors[8].data = values;
    char in[600], out[600];
    snprintf(in, sizeof in, "%s/in", t.path);
    snprintf(out, sizeof out, "%s/out.gguf", t.path);
    folder_write_text(&t, "in/config.json", config);

    values[33] = 70000; /* larger than any half */
    folder_write_tensors(&t, "in/model.safetensors", tensors, 11);
    o.type = "f16";
    expect_refused(&t, &o, in, out, SLUICE_FORMAT, "gate_proj.weight\": a value is too large for F16");
    o.type = "q8_0";
    quantize(in, out, "bf16");
    remove(out);

    values[33] = NAN;
    folder_write_tensors(&t, "in/model.safetensors", tensors, 11);
    expect_refused(&t, &o, in, out, SLUICE_FORMAT, "gate_proj.weight\": a value is not finite");
    folder_remove(&t);
}

Test(quantize, cancelling_leaves_nothing)
{
    struct test_folder t;
    folder_create(&t);
    char out[600];
    snprintf(out, sizeof out, "%s/out.gguf", t.path);
    size_t n_asked = 0;
    for (size_t after = 0;; after += 1 + n_asked / 16) {
        struct witness w;
        sluice_error error = {0};
        sluice_quantize_options o = witnessed(&w, "q8_0");
        o.tensor = NULL;
        w.cancel_after = after;
        sluice_status s = sluice_quantize(model_path("llama3-hub-bf16"), out, &o, NULL, &error);
        n_asked = w.n_asked;
        if (s == SLUICE_OK) break;
        cr_assert_eq(s, SLUICE_CANCELLED, "%s", error.text);
        cr_assert_eq(n_files(&t), 0, "cancelled after %zu questions: a file is left", after);
    }
    cr_expect_geq(n_asked, 20, "asked %zu times", n_asked);
    cr_expect_eq(n_files(&t), 1);
    folder_remove(&t);
}

Test(quantize, short_memory_leaves_nothing)
{
    struct test_folder t;
    folder_create(&t);
    char out[600];
    snprintf(out, sizeof out, "%s/out.gguf", t.path);
    for (uint64_t n = 1, n_failed = 0;; n += 1 + n / 16) {
        sluice_error error = {0};
        memory_fail_after(n);
        sluice_status s = try_quantize(model_path("llama3-hub-bf16"), out, "q8_0", &error);
        memory_fail_after(0);
        if (s == SLUICE_OK) {
            cr_expect_gt(n_failed, 20);
            break;
        }
        n_failed++;
        cr_assert_eq(s, SLUICE_MEMORY, "request %llu: %s", (unsigned long long)n, error.text);
        cr_assert_eq(n_files(&t), 0, "request %llu: a file is left", (unsigned long long)n);
    }
    folder_remove(&t);
}

/* ---- calibration ------------------------------------------------------------------------------------------------- */

static const char calibrated[] = "qwen3-moe-hub-bf16"; /* experts in every layer */
static const char text[] = "the cat sat on the mat and the dog sat on the cat";

/* The checkpoint with a tokenizer: letter i of the alphabet is token i, a blank is token 0. */
static void write_with_tokenizer(const struct test_folder *t, const char *checkpoint, char path[600])
{
    char json[4096] =
        "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}, "
        "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [], "
        "\"unk_token\": \"?\", \"vocab\": {\"\\u0120\": 0, \"?\": 27";
    size_t n;
    static const char *const files[] = {"config.json", "generation_config.json", "model.safetensors"};
    for (char c = 'a'; c <= 'z'; c++)
        snprintf(json + strlen(json), sizeof json - strlen(json), ", \"%c\": %d", c, c - 'a' + 1);
    snprintf(json + strlen(json), sizeof json - strlen(json), "}}}");
    folder_write_text(t, "in/tokenizer.json", json);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char from[600], name[64];
        snprintf(from, sizeof from, "%s/%s", model_path(checkpoint), files[i]);
        snprintf(name, sizeof name, "in/%s", files[i]);
        char *bytes = read_whole(from, &n);
        folder_write(t, name, bytes, n);
        free(bytes);
    }
    snprintf(path, 600, "%s/in", t->path);
}

static int token_of(char c) { return c == ' ' ? 0 : c - 'a' + 1; }

static void expect_text(const struct archive *a, const char *key, const char *expected)
{
    struct meta m = archive_meta(a, DOCUMENT_GGUF, key);
    cr_assert_eq(m.kind, META_STRING, "%s", key);
    cr_expect_str_eq(m.string, expected, "%s: found %s, expected %s", key, m.string, expected);
}

static void expect_number(const struct archive *a, const char *key, int64_t expected)
{
    struct meta m = archive_meta(a, DOCUMENT_GGUF, key);
    cr_expect(m.kind == META_INT && m.integer == expected, "%s: found %lld, expected %lld", key, (long long)m.integer,
              (long long)expected);
}

/* `in` as type `type`, opened. */
static struct archive *convert(const struct test_folder *t, const char *in, const char *type)
{
    char out[600];
    snprintf(out, sizeof out, "%s/keys.gguf", t->path);
    remove(out);
    quantize(in, out, type);
    return open_file(out);
}

Test(quantize, keys_of_a_folder_and_of_a_file)
{
    struct test_folder t;
    char path[600], file[600];
    folder_create(&t);
    write_with_tokenizer(&t, calibrated, path);
    folder_write_text(&t, "in/README.md", "---\nlanguage: en\nlicense: mit\n---\n");
    folder_write_text(&t, "in/tokenizer_config.json",
                      "{\"chat_template\": [{\"name\": \"tools\", \"template\": \"no\"}, "
                      "{\"name\": \"default\", \"template\": \"{{ x }}\"}]}");
    struct archive *a = convert(&t, path, "q5_1");
    expect_text(a, "general.architecture", "qwen3moe");
    expect_text(a, "general.name", "in");
    expect_text(a, "general.license", "mit");
    expect_text(a, "tokenizer.chat_template", "{{ x }}");
    expect_text(a, "tokenizer.ggml.model", "gpt2");
    expect_number(a, "general.file_type", 9);
    expect_number(a, "general.quantization_version", 2);
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "tokenizer.ggml.tokens").n, 80, "padded to the vocabulary");
    archive_close(&a);

    folder_write_text(&t, "in/chat_template.jinja", "{{ y }}\n");
    a = convert(&t, path, "f16");
    expect_text(a, "tokenizer.chat_template", "{{ y }}\n");
    expect_number(a, "general.file_type", 1);
    archive_close(&a);

    snprintf(file, sizeof file, "%s/f16.gguf", t.path);
    quantize(path, file, "f16");
    a = convert(&t, file, "q8_0");
    expect_text(a, "tokenizer.chat_template", "{{ y }}\n");
    expect_text(a, "general.license", "mit");
    expect_number(a, "general.file_type", 7);
    archive_close(&a);
    folder_remove(&t);
}

static void expect_tensor(const struct archive *a, const char *name, enum dtype type)
{
    const struct tensor_view *v = archive_find(a, name);
    cr_assert_not_null(v, "%s", name);
    cr_expect_eq(v->dtype, type, "%s: found %s", name, dtype_info(v->dtype)->name);
}

/* Nobody knows this model: names and shapes are enough, and what is not a weight stays as it is. */
Test(quantize, a_file_of_an_unknown_architecture)
{
    static const struct {
        const char *name;
        enum dtype type;
        int n_dims;
        uint64_t shape[4];
    } tensors[] = {
        {"token_embd.weight", DTYPE_F16, 2, {8, 256}},        {"output.weight", DTYPE_F32, 2, {8, 256}},
        {"blk.0.attn_v.weight", DTYPE_F32, 2, {4, 256}},      {"blk.0.ffn_up.0.weight", DTYPE_F32, 2, {4, 64}},
        {"blk.0.ffn_up.1.weight", DTYPE_F32, 2, {4, 64}},     {"blk.0.ffn_gate_inp.weight", DTYPE_F16, 2, {2, 256}},
        {"blk.0.mystery_norm.weight", DTYPE_F32, 1, {256}},   {"blk.0.token_to_expert", DTYPE_I32, 2, {5, 3}},
        {"blk.0.mystery.weight", DTYPE_BF16, 3, {2, 3, 256}},
    };
    enum { N = sizeof tensors / sizeof tensors[0] };
    static unsigned char bytes[8 * 256 * 4];
    struct test_folder t;
    struct failure f = {0};
    struct gguf_writer *w;
    char path[600];
    folder_create(&t);
    snprintf(path, sizeof path, "%s/weird.gguf", t.path);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7 % 31); /* small positive floats */
    cr_assert_eq(gguf_writer_create(&w, path, &f), SLUICE_OK, "%s", f.text);
    gguf_put_string(w, "general.architecture", "weird", 5);
    gguf_put_f64(w, "weird.number", 0.1);
    for (size_t i = 0; i < N; i++)
        gguf_add_tensor(w, tensors[i].name, tensors[i].type, tensors[i].n_dims, tensors[i].shape);
    cr_assert_eq(gguf_begin_data(w, &f), SLUICE_OK, "%s", f.text);
    for (size_t i = 0; i < N; i++) {
        uint64_t n = 1;
        for (int d = 0; d < tensors[i].n_dims; d++) n *= tensors[i].shape[d];
        cr_assert_eq(gguf_write_data(w, i, 0, bytes, blocks_bytes(tensors[i].type, (size_t)n), &f), SLUICE_OK);
    }
    cr_assert_eq(gguf_writer_commit(w, &f), SLUICE_OK, "%s", f.text);
    gguf_writer_close(&w);

    struct archive *a = convert(&t, path, "q4_k_s");
    expect_tensor(a, "token_embd.weight", DTYPE_Q4_K);
    expect_tensor(a, "output.weight", DTYPE_Q6_K);
    expect_tensor(a, "blk.0.attn_v.weight", DTYPE_Q8_0); /* there are experts */
    expect_tensor(a, "blk.0.ffn_up.1.weight", DTYPE_Q5_0);
    expect_tensor(a, "blk.0.ffn_gate_inp.weight", DTYPE_F32);
    expect_tensor(a, "blk.0.mystery_norm.weight", DTYPE_F32);
    expect_tensor(a, "blk.0.mystery.weight", DTYPE_Q4_K);
    expect_tensor(a, "blk.0.token_to_expert", DTYPE_I32);
    const struct tensor_view *ids = archive_find(a, "blk.0.token_to_expert");
    cr_expect(ids->bytes == 60 && memcmp(ids->data, bytes, 60) == 0);
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "weird.number").number, 0.1);
    cr_expect_eq(archive_n_tensors(a), N);
    archive_close(&a);
    folder_remove(&t);
}

/* Sums of layer 0, from what an observer sees. */
struct direct {
    struct array embedding, mixer_norm, ffn_norm;
    float *attention; /* [n, hidden_size] */
    int32_t *experts; /* [n, top_k] */
    size_t n, hidden_size, top_k;
};

static void see_layer(void *context, sluice_observation what, int layer, size_t first, size_t n_rows, size_t width,
                      const void *data)
{
    struct direct *d = context;
    if (layer != 0) return;
    if (what == SLUICE_SEE_ATTENTION) memcpy(d->attention + first * width, data, n_rows * width * 4);
    if (what == SLUICE_SEE_EXPERTS) {
        d->top_k = width;
        memcpy(d->experts + first * width, data, n_rows * width * 4);
    }
}

static struct array get_array(const sluice_arrays *arrays, const char *name)
{
    struct array a = {0};
    size_t n_dims = 3;
    sluice_error error = {0};
    cr_assert_eq(sluice_arrays_get_float(arrays, name, &a.f, a.shape, &n_dims, &error), SLUICE_OK, "%s", error.text);
    return a;
}

static void observe_text(struct direct *d, const char *path)
{
    sluice_engine *e;
    sluice_arrays *arrays;
    char file[700];
    int32_t tokens[sizeof text];
    d->n = sizeof text - 1;
    for (size_t i = 0; i < d->n; i++) tokens[i] = token_of(text[i]);
    sluice_engine_options options = sluice_engine_options_default();
    options.flags = SLUICE_OPEN_FLOAT;
    cr_assert_eq(sluice_engine_open(&e, path, &options, NULL), SLUICE_OK);
    sluice_model_info info;
    sluice_engine_get_info(e, &info);
    d->hidden_size = (size_t)info.hidden_size;
    d->attention = calloc(d->n * d->hidden_size, 4);
    d->experts = calloc(d->n * 64, 4);
    sluice_session *s = new_session(e, 64, 64);
    sluice_observer o = {1u << SLUICE_SEE_ATTENTION | 1u << SLUICE_SEE_EXPERTS, see_layer, d};
    cr_assert_eq(sluice_session_observe(s, &o), SLUICE_OK);
    cr_assert_eq(sluice_session_prefill(s, tokens, d->n), SLUICE_OK);
    sluice_session_free(&s);
    sluice_engine_close(&e);
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    cr_assert_eq(sluice_arrays_open(&arrays, file, NULL), SLUICE_OK);
    d->embedding = get_array(arrays, "model.embed_tokens.weight");
    d->mixer_norm = get_array(arrays, "model.layers.0.input_layernorm.weight");
    d->ffn_norm = get_array(arrays, "model.layers.0.post_attention_layernorm.weight");
    sluice_arrays_close(&arrays);
}

/* y = rms_norm(x) * w, in double. */
static void norm_row(double *y, const double *x, const float *w, size_t n)
{
    double power = 0;
    for (size_t i = 0; i < n; i++) power += x[i] * x[i];
    double scale = 1 / sqrt(power / (double)n + 1e-6);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale * (double)w[i];
}

static void expect_mean_square(const double *sums, size_t count, const float *found, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        double expected = sums[i] / (double)count;
        cr_expect(fabs((double)found[i] - expected) <= 1e-4 * expected + 1e-9, "%s: column %zu: found %g, expected %g",
                  what, i, (double)found[i], expected);
    }
}

static struct importance *collect(const char *path, int n_threads, int n_context, struct witness *w)
{
    struct importance *importance;
    struct failure f = {0};
    sluice_quantize_options o = witnessed(w, "q8_0");
    o.n_threads = n_threads;
    o.n_context = n_context;
    o.calibration_text = text;
    o.calibration_length = sizeof text - 1;
    cr_assert_eq(importance_collect(&importance, path, &o, &f), SLUICE_OK, "%s", f.text);
    return importance;
}

Test(calibrate, mean_squares_are_those_of_the_inputs)
{
    enum { WIDE = 256, MANY = 64 };
    static double sums[MANY][WIDE], mixer_sums[WIDE];
    size_t counts[MANY] = {0}, n_experts = 0, n_untouched = 0;
    struct test_folder t;
    struct witness w;
    struct direct d = {0};
    char path[600], expected[64];
    float found[WIDE];
    folder_create(&t);
    write_with_tokenizer(&t, calibrated, path);
    observe_text(&d, path);
    cr_assert_leq(d.hidden_size, WIDE);
    for (size_t i = 0; i < d.n; i++) {
        double x[WIDE], h[WIDE];
        const float *row = d.embedding.f + (size_t)token_of(text[i]) * d.hidden_size;
        for (size_t j = 0; j < d.hidden_size; j++) x[j] = (double)row[j];
        norm_row(h, x, d.mixer_norm.f, d.hidden_size);
        for (size_t j = 0; j < d.hidden_size; j++) mixer_sums[j] += h[j] * h[j];
        for (size_t j = 0; j < d.hidden_size; j++) x[j] += (double)d.attention[i * d.hidden_size + j];
        norm_row(h, x, d.ffn_norm.f, d.hidden_size);
        for (size_t k = 0; k < d.top_k; k++) {
            int32_t e = d.experts[i * d.top_k + k];
            counts[e]++;
            for (size_t j = 0; j < d.hidden_size; j++) sums[e][j] += h[j] * h[j];
        }
    }
    struct importance *importance = collect(path, 2, 64, &w);
    const int k = (int)d.hidden_size;
    cr_expect_eq(importance_n_tokens(importance), d.n);
    cr_assert(importance_of(importance, ROLE_K, 0, -1, found, k));
    expect_mean_square(mixer_sums, d.n, found, d.hidden_size, "keys");
    sluice_engine *e;
    sluice_model_info info;
    cr_assert_eq(sluice_engine_open(&e, path, NULL, NULL), SLUICE_OK);
    sluice_engine_get_info(e, &info);
    n_experts = (size_t)info.n_experts;
    sluice_engine_close(&e);
    for (size_t i = 0; i < n_experts; i++) {
        bool known = importance_of(importance, ROLE_EXPERT_UP, 0, (int)i, found, k);
        cr_expect_eq(known, counts[i] > 0, "expert %zu", i);
        if (known) expect_mean_square(sums[i], counts[i], found, d.hidden_size, "expert");
        n_untouched += counts[i] == 0;
    }
    cr_expect_not(importance_of(importance, ROLE_ROUTER, 0, -1, found, k), "routers are not rounded");
    cr_expect_not(importance_of(importance, ROLE_K, 99, -1, found, k));
    cr_expect_geq(importance_n_untouched(importance), n_untouched);
    snprintf(expected, sizeof expected, "layer 0: %zu of %zu", n_untouched, n_experts);
    cr_expect_eq(strstr(w.warnings, expected) != NULL, n_untouched > 0, "%s: %s", expected, w.warnings);
    importance_free(&importance);
    array_free(&d.embedding);
    array_free(&d.mixer_norm);
    array_free(&d.ffn_norm);
    free(d.attention);
    free(d.experts);
    folder_remove(&t);
}

Test(calibrate, an_expert_that_no_token_chose_is_named)
{
    struct test_folder t;
    struct witness w;
    char path[600];
    float found[256];
    struct failure f = {0};
    struct importance *importance;
    folder_create(&t);
    write_with_tokenizer(&t, calibrated, path);
    sluice_quantize_options o = witnessed(&w, "q8_0");
    o.calibration_text = "a";
    o.calibration_length = 1;
    cr_assert_eq(importance_collect(&importance, path, &o, &f), SLUICE_OK, "%s", f.text);
    sluice_engine *e;
    sluice_model_info info;
    cr_assert_eq(sluice_engine_open(&e, path, NULL, NULL), SLUICE_OK);
    sluice_engine_get_info(e, &info);
    sluice_engine_close(&e);
    int known = 0;
    for (int i = 0; i < info.n_experts; i++)
        known += importance_of(importance, ROLE_EXPERT_GATE, 0, i, found, info.hidden_size);
    cr_expect_eq(known, info.top_k, "one token chooses top_k experts");
    cr_expect_eq(importance_n_untouched(importance), (uint64_t)(info.n_moe_layers * (info.n_experts - info.top_k)));
    char expected[64];
    snprintf(expected, sizeof expected, "layer 0: %d of %d;", info.n_experts - info.top_k, info.n_experts);
    cr_expect(strstr(w.warnings, expected) != NULL, "found \"%s\", expected \"%s\"", w.warnings, expected);
    importance_free(&importance);
    folder_remove(&t);
}

/* What the quantiser may ask about: whatever is multiplied and rounded. */
static bool is_asked(const struct planned *item, bool tied)
{
    switch (item->role) {
    case ROLE_EMBEDDING: return tied;
    case ROLE_K_B: /* not written */
    case ROLE_ROUTER:
    case ROLE_SHARED_SWITCH: return false;
    default: return !item->is_vector;
    }
}

/* Every matrix of every kind of layer has its inputs counted, however many threads run. */
Test(calibrate, every_kind_of_layer_is_counted)
{
    static const char *const names[] = {"deepseek-v3-hub-bf16", "deepseek-v2-lite-hub", "qwen3-next-hub-bf16",
                                        "qwen3_5-moe-v5-f32",   "lfm2-moe-hub-bf16",    "gpt-oss-hub-bf16",
                                        "gemma4-v5-f32"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[600];
        struct test_folder t;
        struct witness w;
        struct failure f = {0};
        struct model_config config;
        struct generation_config generation;
        struct plan plan;
        float one[1024], three[1024];
        size_t n_known = 0;
        folder_create(&t);
        write_with_tokenizer(&t, names[i], path);
        struct archive *a = open_file(path);
        cr_assert_eq(config_read(&config, &generation, a, &f), SLUICE_OK, "%s", f.text);
        cr_assert_eq(plan_tensors(&plan, &config, a, &f), SLUICE_OK, "%s", f.text);
        struct importance *p = collect(path, 1, 0, &w), *q = collect(path, 3, 0, &w);
        for (size_t j = 0; j < plan.n; j++) {
            const struct planned *item = &plan.items[j];
            const int k = item->rows.k;
            if (!is_asked(item, config.tied_embeddings)) continue;
            const bool of_expert = item->expert >= 0 && item->role != ROLE_K_B_T && item->role != ROLE_V_B;
            const bool known = importance_of(p, item->role, item->layer, item->expert, one, k);
            cr_expect(known || of_expert, "%s: role %d of layer %d", names[i], (int)item->role, item->layer);
            cr_expect_eq(importance_of(q, item->role, item->layer, item->expert, three, k), known);
            if (!known) continue;
            double sum = 0;
            for (int c = 0; c < k; c++) sum += (double)one[c];
            cr_expect(isfinite(sum) && sum > 0, "%s: role %d", names[i], (int)item->role);
            cr_expect(memcmp(one, three, (size_t)k * sizeof *one) == 0, "%s: role %d", names[i], (int)item->role);
            n_known++;
        }
        cr_expect_gt(n_known, 10);
        importance_free(&p);
        importance_free(&q);
        plan_free(&plan);
        config_free(&config);
        archive_close(&a);
        folder_remove(&t);
    }
}

Test(calibrate, threads_do_not_matter)
{
    static const enum tensor_role roles[] = {ROLE_Q, ROLE_O, ROLE_EXPERT_GATE, ROLE_EXPERT_DOWN, ROLE_HEAD};
    struct test_folder t;
    struct witness w;
    char path[600];
    folder_create(&t);
    write_with_tokenizer(&t, calibrated, path);
    struct importance *a = collect(path, 1, 16, &w), *b = collect(path, 2, 16, &w);
    size_t n_compared = 0;
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        for (int e = 0; e < 64; e++)
            for (int k = 1; k <= 256; k++) {
                float x[256], y[256];
                bool known = importance_of(a, roles[i], 0, e, x, k);
                cr_assert_eq(known, importance_of(b, roles[i], 0, e, y, k));
                if (!known) continue;
                n_compared++;
                cr_expect(memcmp(x, y, (size_t)k * 4) == 0, "role %d, expert %d", (int)roles[i], e);
            }
    cr_expect_geq(n_compared, 5);
    importance_free(&a);
    importance_free(&b);
    folder_remove(&t);
}

/* A calibrated file is the same for any number of threads, and by way of an exact GGUF file: names, keys, order of
 * rows, importance of experts. Without the importance the bytes are others if the model has rows of whole blocks. */
static void expect_calibrated_files(const char *checkpoint, bool has_blocks)
{
    struct test_folder t;
    struct witness w;
    char path[600], one[600], two[600], plain[600];
    folder_create(&t);
    write_with_tokenizer(&t, checkpoint, path);
    snprintf(one, sizeof one, "%s/1.gguf", t.path);
    snprintf(two, sizeof two, "%s/2.gguf", t.path);
    snprintf(plain, sizeof plain, "%s/0.gguf", t.path);
    sluice_error error = {0};
    sluice_quantize_result r;
    sluice_quantize_options o = witnessed(&w, "q4_0");
    o.calibration_text = text;
    o.calibration_length = sizeof text - 1;
    cr_assert_eq(sluice_quantize(path, two, &o, &r, &error), SLUICE_OK, "%s", error.text);
    cr_expect_eq(r.n_calibration_tokens, sizeof text - 1);
    o.n_threads = 1;
    cr_assert_eq(sluice_quantize(path, one, &o, NULL, &error), SLUICE_OK, "%s", error.text);
    expect_same_bytes(one, two);

    remove(one);
    quantize(path, plain, "f32");
    cr_assert_eq(sluice_quantize(plain, one, &o, NULL, &error), SLUICE_OK, "%s", error.text);
    expect_same_bytes(one, two);
    remove(one);
    o.calibration_text = NULL;
    cr_assert_eq(sluice_quantize(plain, one, &o, NULL, &error), SLUICE_OK, "%s", error.text);
    size_t n, m;
    char *weighted = read_whole(two, &n), *unweighted = read_whole(one, &m);
    cr_expect_eq(n, m);
    cr_expect_eq(n == m && memcmp(weighted, unweighted, n) != 0, has_blocks, "%s: what the importance changes",
                 checkpoint);
    free(weighted);
    free(unweighted);
    folder_remove(&t);
}

Test(calibrate, files_of_every_kind_of_layer)
{
    expect_calibrated_files("qwen3-moe-hub-bf16", true);
    expect_calibrated_files("qwen3_5-hub-bf16", true);
    expect_calibrated_files("moonlight-hub-bf16", true);
    expect_calibrated_files("gemma4-wrapped-hub", true);
    expect_calibrated_files("lfm2-hub-bf16", false);
}
