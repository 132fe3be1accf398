/* How tensors of files become matrices and vectors: every transform of arch.h, on small tensors whose elements are
 * their own numbers (so that what is read tells where it came from), on FP8, MXFP4 and GGUF blocks, and with everything
 * that can be wrong. The families' own rules are not used here: each test has an architecture of a few rules. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/float16.h"
#include "model/plan.h"
#include "quant/blocks.h"
#include "quant/codec.h"
#include "tests/support/folder.h"
#include "weights/gguf_write.h"

enum { MAX_TENSORS = 24, MAX_RULES = 12 };

static struct test_folder folder;
static struct test_tensor tensors[MAX_TENSORS];
static size_t n_tensors;
static struct tensor_rule rules[MAX_RULES + 1], gguf_rules[MAX_RULES + 1];
static const struct tensor_rule *const lists[] = {rules, NULL};
static struct arch arch;
static struct layer_config layer[2];
static struct model_config config;
static struct archive *archive;
static struct plan plan;
static struct failure failure;

static void create(void)
{
    folder_create(&folder);
    n_tensors = 0;
    memset(rules, 0, sizeof rules);
    memset(gguf_rules, 0, sizeof gguf_rules);
    memset(layer, 0, sizeof layer);
    arch = (struct arch){.tensors = lists, .gguf_tensors = gguf_rules};
    config = (struct model_config){.arch = &arch, .n_layers = 1, .hidden_size = 4, .vocab_size = 8, .layers = layer};
}

/* Tensor i with zeros, to be deformed. */
static struct test_tensor *blank(size_t i)
{
    free((void *)tensors[i].data);
    tensors[i].data = NULL;
    return &tensors[i];
}

static void drop_last(void) { blank(--n_tensors); }
static void drop_all(void)
{
    while (n_tensors > 0) drop_last();
}

static void close_archive(void)
{
    plan_free(&plan);
    archive_close(&archive);
}

static void destroy(void)
{
    close_archive();
    drop_all();
    folder_remove(&folder);
}
TestSuite(transforms, .init = create, .fini = destroy);

/* ---- making ------------------------------------------------------------------------------------------------------ */

static void add_rule(enum tensor_role role, const char *name, enum tensor_size n, enum tensor_size k,
                     enum tensor_need need, enum tensor_transform transform)
{
    int i = 0;
    while (rules[i].name) i++;
    cr_assert_lt(i, MAX_RULES);
    rules[i] = (struct tensor_rule){role, name, n, k, need, transform};
}

static size_t count(const struct test_tensor *t)
{
    size_t n = 1;
    for (int i = 0; i < t->n_dims; i++) n *= (size_t)t->shape[i];
    return n;
}

/* A tensor of the given bytes (NULL: zeros), which are copied. */
static struct test_tensor *add_bytes(const char *name, const char *dtype, const uint64_t shape[4], const void *data,
                                     size_t n)
{
    cr_assert_lt(n_tensors, (size_t)MAX_TENSORS);
    struct test_tensor *t = &tensors[n_tensors++];
    *t = (struct test_tensor){.name = name, .dtype = dtype};
    while (t->n_dims < 4 && shape[t->n_dims]) {
        t->shape[t->n_dims] = shape[t->n_dims];
        t->n_dims++;
    }
    if (!data) return t;
    t->data = malloc(n);
    cr_assert(t->data);
    memcpy((void *)t->data, data, n);
    return t;
}
#define SHAPE(...) ((const uint64_t[4]){__VA_ARGS__})

/* Element i is i: F32, or BF16, which is exact to 256. */
static void add_numbered(const char *name, const char *dtype, const uint64_t shape[4])
{
    struct test_tensor *t = add_bytes(name, dtype, shape, NULL, 0);
    const bool wide = strcmp(dtype, "F32") == 0;
    unsigned char *data = malloc(count(t) * (wide ? 4 : 2));
    cr_assert(data && (wide || count(t) <= 257));
    for (size_t i = 0; i < count(t); i++) {
        const float x = (float)i;
        const uint16_t half = float_to_bf16(x);
        memcpy(data + i * (wide ? 4 : 2), wide ? (const void *)&x : &half, wide ? 4 : 2);
    }
    t->data = data;
}

/* All ones, but for the scales of tiles: 1, 2, 3, ... */
static void add_fp8(const char *name, const char *scales, uint64_t n, uint64_t k)
{
    const uint64_t down = (n + 127) / 128, across = (k + 127) / 128;
    unsigned char *codes = malloc((size_t)(n * k));
    float values[64];
    cr_assert(codes && down * across <= 64);
    memset(codes, 0x38, (size_t)(n * k));
    for (uint64_t i = 0; i < down * across; i++) values[i] = (float)(i + 1);
    add_bytes(name, "F8_E4M3", SHAPE(n, k), codes, (size_t)(n * k));
    add_bytes(scales, "F32", SHAPE(down, across), values, (size_t)(down * across) * sizeof *values);
    free(codes);
}

static sluice_status plan_path(const char *path)
{
    close_archive();
    failure = (struct failure){0};
    cr_assert_eq((int)archive_open(&archive, path, ARCHIVE_TENSORS, &failure), (int)SLUICE_OK, "%s", failure.text);
    return plan_tensors(&plan, &config, archive, &failure);
}

static sluice_status plan_folder(void)
{
    folder_write_tensors(&folder, "model.safetensors", tensors, n_tensors);
    return plan_path(folder.path);
}

static void must_plan(void) { cr_assert_eq((int)plan_folder(), (int)SLUICE_OK, "%s", failure.text); }

static void refused(sluice_status status, const char *line)
{
    char sentence[FAILURE_TEXT_BYTES];
    const bool missing = strncmp(line, "missing", 7) == 0;
    snprintf(sentence, sizeof sentence, "%s: %s", missing ? strrchr(folder.path, '/') + 1 : "model.safetensors", line);
    cr_expect_eq((int)plan_folder(), (int)status, "%s", line);
    cr_expect_str_eq(failure.text, sentence, "\n     got: %s\nexpected: %s", failure.text, sentence);
}

static const struct row_source *rows_of(enum tensor_role role, int expert)
{
    for (size_t i = 0; i < plan.n; i++)
        if (plan.items[i].role == role && plan.items[i].expert == expert) return &plan.items[i].rows;
    cr_assert_fail("role %d, expert %d is not planned", (int)role, expert);
    return NULL;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* All ways of reading give the same; returns the floats [n, k], malloc'ed. */
static float *read_all(const struct row_source *s)
{
    const size_t n = (size_t)s->n, k = (size_t)s->k, row_bytes = rows_row_bytes(s);
    unsigned char *scratch = malloc(rows_scratch_bytes(s, s->n)), *bytes = malloc(n * row_bytes),
                  *one = malloc(row_bytes);
    float *all = malloc(n * k * sizeof *all), *y = malloc(k * sizeof *y);
    cr_assert(scratch && bytes && one && all && y);
    rows_read_floats(s, all, 0, s->n, scratch);
    rows_read(s, bytes, 0, s->n);
    for (int row = 0; row < s->n; row++) {
        rows_read_float(s, y, row, scratch);
        cr_assert_eq(memcmp(y, all + (size_t)row * k, k * sizeof *y), 0, "%s: row %d alone", s->view->name, row);
        rows_read(s, one, row, row + 1);
        cr_assert_eq(memcmp(one, bytes + (size_t)row * row_bytes, row_bytes), 0, "%s: row %d", s->view->name, row);
    }
    for (int row = 1; row + 1 < s->n; row += 3) { /* from anywhere */
        rows_read_floats(s, y, row, row + 1, scratch);
        cr_assert_eq(memcmp(y, all + (size_t)row * k, k * sizeof *y), 0, "%s: row %d", s->view->name, row);
    }
    rows_release(s, 0, s->n); /* pages come back from the file */
    free(scratch);
    free(bytes);
    free(one);
    free(y);
    return all;
}

/* The source holds the elements `expected` [n, k] of a tensor whose elements are their own numbers. */
static void expect_elements(enum tensor_role role, int expert, int n, int k, const int *expected)
{
    const struct row_source *s = rows_of(role, expert);
    cr_assert(s->n == n && s->k == k, "role %d: [%d, %d], expected [%d, %d]", (int)role, s->n, s->k, n, k);
    float *all = read_all(s);
    for (int i = 0; i < n * k; i++) {
        cr_expect_eq((int)all[i], expected[i], "%s, %d: [%d, %d] is %g, expected %d", s->view->name, expert, i / k,
                     i % k, (double)all[i], expected[i]);
        cr_expect_eq(rows_element(s, i / k, i % k), (uint64_t)expected[i]);
    }
    free(all);
}
#define EXPECT(role, expert, n, k, ...) expect_elements(role, expert, n, k, (const int[]){__VA_ARGS__})

/* ---- vectors ----------------------------------------------------------------------------------------------------- */

Test(transforms, vectors_are_changed)
{
    static const float a[3] = {0.0f, 0.3f, -1.5f};
    layer[0].mixer =
        (struct mixer){.kind = MIX_DELTA, .n_key_heads = 3, .n_value_heads = 3, .head_dim = 1, .v_head_dim = 1};
    add_rule(ROLE_FINAL_NORM, "model.norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE);
    add_rule(ROLE_DELTA_DECAY, "model.layers.{l}.A_log", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, NEGATIVE_EXP);
    add_rule(ROLE_DELTA_DT_BIAS, "model.layers.{l}.dt", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, FLAT);
    add_numbered("model.norm.weight", "BF16", SHAPE(4));
    add_bytes("model.layers.0.A_log", "F32", SHAPE(3), a, sizeof a);
    add_numbered("model.layers.0.dt", "F32", SHAPE(1, 3, 1));
    must_plan();
    float *w = read_all(rows_of(ROLE_FINAL_NORM, -1)), *decay = read_all(rows_of(ROLE_DELTA_DECAY, -1));
    cr_expect_eq((int)rows_of(ROLE_FINAL_NORM, -1)->dtype, (int)DTYPE_F32);
    for (int i = 0; i < 4; i++) cr_expect_eq(w[i], (float)(i + 1));
    cr_expect_eq(decay[0], -1.0f);
    cr_expect_eq(decay[1], -1.34985882366733f, "-e^0.3, of the float");
    cr_expect_eq(decay[2], -0.22313016014842982f, "-e^-1.5");
    EXPECT(ROLE_DELTA_DT_BIAS, -1, 3, 1, 0, 1, 2);
    free(w);
    free(decay);
    blank(2)->shape[0] = 2;
    refused(SLUICE_FORMAT, "tensor \"model.layers.0.dt\": shape [2,3,1], expected [3]");
    tensors[2].shape[0] = 1;
    tensors[1].dtype = "I32";
    refused(SLUICE_UNSUPPORTED, "tensor \"model.layers.0.A_log\": type I32, expected F32, F16 or BF16");
}

Test(transforms, taps_of_convolutions)
{
    layer[0].mixer = (struct mixer){.kind = MIX_CONV, .conv_kernel = 3};
    add_rule(ROLE_CONV, "model.layers.{l}.conv.weight", SIZE_CONV, SIZE_TAPS, NEED_CONV, CONV);
    add_numbered("model.layers.0.conv.weight", "F32", SHAPE(4, 1, 3));
    must_plan();
    cr_expect(plan.items[0].is_vector);
    EXPECT(ROLE_CONV, -1, 4, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    tensors[0].n_dims = 2;
    tensors[0].shape[1] = 3;
    must_plan();
    EXPECT(ROLE_CONV, -1, 4, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    tensors[0].shape[1] = 4;
    tensors[0].shape[0] = 3;
    refused(SLUICE_FORMAT, "tensor \"model.layers.0.conv.weight\": shape [3,4], expected [4,3]");
    tensors[0].shape[0] = 4;
    tensors[0].shape[1] = 3;
    tensors[0].dtype = "F8_E4M3";
    refused(SLUICE_FORMAT, "missing tensors: model.layers.0.conv.weight_scale_inv");
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

static void two_experts(int expert_size)
{
    layer[0].ffn = (struct ffn){.kind = FFN_MOE, .expert_size = expert_size, .expert_bias = true};
    layer[0].router = (struct router){.n_experts = 2, .top_k = 1};
}

static void add_gate_up(enum tensor_transform gate, enum tensor_transform up)
{
    add_rule(ROLE_EXPERT_GATE, "gate_up", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, gate);
    add_rule(ROLE_EXPERT_UP, "gate_up", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, up);
}

Test(transforms, gate_and_up_in_turn)
{
    two_experts(3);
    config.hidden_size = 2;
    add_gate_up(SLICE_EVEN_ROWS, SLICE_ODD_ROWS);
    add_rule(ROLE_EXPERT_GATE_BIAS, "bias", SIZE_EXPERT_FFN, SIZE_NONE, NEED_EXPERT_BIAS, SLICE_EVEN_ROWS);
    add_rule(ROLE_EXPERT_UP_BIAS, "bias", SIZE_EXPERT_FFN, SIZE_NONE, NEED_EXPERT_BIAS, SLICE_ODD_ROWS);
    add_rule(ROLE_EXPERT_DOWN_BIAS, "down", SIZE_HIDDEN, SIZE_NONE, NEED_EXPERT_BIAS, SLICE_EXPERTS);
    add_numbered("gate_up", "BF16", SHAPE(2, 6, 2));
    add_numbered("bias", "F32", SHAPE(2, 6));
    add_numbered("down", "F32", SHAPE(2, 2));
    must_plan();
    EXPECT(ROLE_EXPERT_GATE, 0, 3, 2, 0, 1, 4, 5, 8, 9);
    EXPECT(ROLE_EXPERT_UP, 0, 3, 2, 2, 3, 6, 7, 10, 11);
    EXPECT(ROLE_EXPERT_GATE, 1, 3, 2, 12, 13, 16, 17, 20, 21);
    EXPECT(ROLE_EXPERT_UP, 1, 3, 2, 14, 15, 18, 19, 22, 23);
    EXPECT(ROLE_EXPERT_GATE_BIAS, 0, 3, 1, 0, 2, 4);
    EXPECT(ROLE_EXPERT_UP_BIAS, 1, 3, 1, 7, 9, 11);
    EXPECT(ROLE_EXPERT_DOWN_BIAS, 1, 2, 1, 2, 3);
    cr_expect_eq(rows_file_bytes(rows_of(ROLE_EXPERT_GATE, 1)), 12u);
    tensors[1].shape[1] = 5;
    refused(SLUICE_FORMAT, "tensor \"bias\": shape [2,5], expected [2,6]");
    tensors[1].shape[1] = 6;
    tensors[2].shape[0] = 1;
    refused(SLUICE_FORMAT, "tensor \"down\": shape [1,2], expected [2,2]");
    drop_last();
    refused(SLUICE_FORMAT, "missing tensors: down");
}

Test(transforms, fp8_rows_in_turn_have_the_scales_of_their_tiles)
{
    static unsigned char codes[2 * 300 * 4];
    float scales[2 * 3];
    two_experts(150);
    add_gate_up(SLICE_EVEN_ROWS, SLICE_ODD_ROWS);
    memset(codes, 0x38, sizeof codes);
    for (int i = 0; i < 6; i++) scales[i] = (float)(i + 1);
    add_bytes("gate_up", "F8_E4M3", SHAPE(2, 300, 4), codes, sizeof codes);
    add_bytes("gate_up_scale_inv", "F32", SHAPE(2, 3, 1), scales, sizeof scales);
    must_plan();
    for (int e = 0; e < 2; e++)
        for (int up = 0; up < 2; up++) {
            float *all = read_all(rows_of(up ? ROLE_EXPERT_UP : ROLE_EXPERT_GATE, e));
            for (int row = 0; row < 150; row++)
                cr_assert_eq(all[4 * row + 3], (float)(3 * e + (2 * row + up) / 128 + 1), "%d, %d", up, row);
            free(all);
        }
}

Test(transforms, columns_become_rows)
{
    two_experts(3);
    config.hidden_size = 2;
    add_gate_up(SLICE_EVEN_COLUMNS, SLICE_ODD_COLUMNS);
    add_rule(ROLE_EXPERT_DOWN, "down", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_COLUMNS);
    for (int wide = 0; wide < 2; wide++) {
        const char *dtype = wide ? "F32" : "BF16";
        add_numbered("gate_up", dtype, SHAPE(2, 2, 6));
        add_numbered("down", dtype, SHAPE(2, 3, 2));
        must_plan();
        cr_expect_eq((int)rows_of(ROLE_EXPERT_GATE, 0)->dtype, (int)(wide ? DTYPE_F32 : DTYPE_BF16));
        EXPECT(ROLE_EXPERT_GATE, 0, 3, 2, 0, 6, 2, 8, 4, 10);
        EXPECT(ROLE_EXPERT_UP, 0, 3, 2, 1, 7, 3, 9, 5, 11);
        EXPECT(ROLE_EXPERT_GATE, 1, 3, 2, 12, 18, 14, 20, 16, 22);
        EXPECT(ROLE_EXPERT_DOWN, 1, 2, 3, 6, 8, 10, 7, 9, 11);
        cr_expect_eq(rows_file_bytes(rows_of(ROLE_EXPERT_GATE, 1)), wide ? 24u : 12u);
        drop_all();
    }
    add_numbered("gate_up", "F32", SHAPE(2, 2, 6));
    add_numbered("down", "F32", SHAPE(2, 2, 3));
    refused(SLUICE_FORMAT, "tensor \"down\": shape [2,2,3], expected [2,3,2]");
    tensors[1].shape[1] = 3;
    tensors[1].shape[2] = 2;
    tensors[1].dtype = "F8_E4M3";
    refused(SLUICE_FORMAT, "missing tensors: down_scale_inv");
    add_bytes("down_scale_inv", "F32", SHAPE(2, 1, 1), NULL, 0);
    refused(SLUICE_UNSUPPORTED, "tensor \"down\": type F8_E4M3, expected F32, F16 or BF16");
}

/* Wide enough for several strips of rows. */
Test(transforms, columns_of_a_wide_matrix)
{
    two_experts(700);
    config.hidden_size = 3;
    add_gate_up(SLICE_EVEN_COLUMNS, SLICE_ODD_COLUMNS);
    add_numbered("gate_up", "F32", SHAPE(2, 3, 1400));
    must_plan();
    for (int e = 0; e < 2; e++)
        for (int up = 0; up < 2; up++) {
            float *all = read_all(rows_of(up ? ROLE_EXPERT_UP : ROLE_EXPERT_GATE, e));
            for (int row = 0; row < 700; row++)
                for (int k = 0; k < 3; k++) cr_assert_eq((int)all[3 * row + k], (e * 3 + k) * 1400 + 2 * row + up);
            free(all);
        }
}

/* Files of gpt-oss: MXFP4 by rows, and re-releases in BF16 by columns, under one name. */
Test(transforms, mxfp4_rows_in_turn)
{
    unsigned char scales[2 * 4], pairs[2 * 4 * 16];
    two_experts(2);
    config.hidden_size = 32;
    add_rule(ROLE_EXPERT_GATE, "gate_up", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EVEN_COLUMNS);
    add_rule(ROLE_EXPERT_GATE, "gate_up", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EVEN_ROWS);
    add_rule(ROLE_EXPERT_UP, "gate_up", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_ODD_COLUMNS);
    add_rule(ROLE_EXPERT_UP, "gate_up", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_ODD_ROWS);
    for (size_t row = 0; row < sizeof scales; row++) scales[row] = (unsigned char)(127 + row);
    memset(pairs, 0x42, sizeof pairs); /* 1.0, 2.0 in turn */
    add_bytes("gate_up_blocks", "U8", SHAPE(2, 4, 1, 16), pairs, sizeof pairs);
    add_bytes("gate_up_scales", "U8", SHAPE(2, 4, 1), scales, sizeof scales);
    must_plan();
    for (int e = 0; e < 2; e++)
        for (int up = 0; up < 2; up++) {
            const struct row_source *s = rows_of(up ? ROLE_EXPERT_UP : ROLE_EXPERT_GATE, e);
            float *all = read_all(s);
            cr_expect_eq((int)s->dtype, (int)DTYPE_MXFP4);
            for (int i = 0; i < 64; i++)
                cr_assert_eq(all[i], ldexpf(i % 2 ? 2 : 1, 4 * e + 2 * (i / 32) + up), "%d, %d: [%d]", e, up, i);
            free(all);
        }
    tensors[1].shape[1] = 2;
    refused(SLUICE_FORMAT, "tensor \"gate_up_scales\": shape [2,2,1], expected [2,4,1]");
    drop_last();
    refused(SLUICE_FORMAT, "missing tensors: gate_up_scales");
}

/* ---- heads ------------------------------------------------------------------------------------------------------- */

static void latent(int n_heads, int nope, int n_rot, int v_head_dim, int kv_lora_rank)
{
    config.rope[0].n_rot = n_rot;
    layer[0].mixer = (struct mixer){.kind = MIX_MLA,
                                    .n_heads = n_heads,
                                    .n_kv_heads = n_heads,
                                    .head_dim = nope + n_rot,
                                    .v_head_dim = v_head_dim,
                                    .kv_lora_rank = kv_lora_rank};
}

static void add_latent_rules(void)
{
    add_rule(ROLE_K_B, "kv_b", SIZE_NOPE, SIZE_KV_LORA, NEED_MLA, HEAD_KEYS);
    add_rule(ROLE_K_B_T, "kv_b", SIZE_KV_LORA, SIZE_NOPE, NEED_MLA, HEAD_KEYS_TRANSPOSED);
    add_rule(ROLE_V_B, "kv_b", SIZE_V_HEAD, SIZE_KV_LORA, NEED_MLA, HEAD_VALUES);
}

Test(transforms, pairs_at_the_end_of_heads_become_halves)
{
    latent(2, 2, 4, 1, 3);
    config.hidden_size = 1;
    add_rule(ROLE_Q, "q", SIZE_Q, SIZE_HIDDEN, NEED_DIRECT_Q, PAIRS_TO_HALVES);
    add_rule(ROLE_KV_A, "kv_a", SIZE_KV_A, SIZE_HIDDEN, NEED_MLA, PAIRS_TO_HALVES);
    add_numbered("q", "F32", SHAPE(12, 1));
    add_numbered("kv_a", "BF16", SHAPE(7, 1));
    must_plan();
    EXPECT(ROLE_Q, -1, 12, 1, 0, 1, 2, 4, 3, 5, 6, 7, 8, 10, 9, 11);
    EXPECT(ROLE_KV_A, -1, 7, 1, 0, 1, 2, 3, 5, 4, 6);
    const struct row_order *order = &rows_of(ROLE_Q, -1)->order;
    for (int row = 0; row < 12; row++) cr_expect_eq(paired_row(order, source_row(order, row)), row);
}

/* Heads of 96 rows, tiles of 128: row 128 lies within the rotated part of head 1. */
Test(transforms, fp8_pairs_keep_the_scales_of_their_tiles)
{
    latent(3, 32, 64, 1, 3);
    add_rule(ROLE_Q, "q", SIZE_Q, SIZE_HIDDEN, NEED_DIRECT_Q, PAIRS_TO_HALVES);
    add_fp8("q", "q_scale_inv", 288, 4);
    must_plan();
    float *all = read_all(rows_of(ROLE_Q, -1));
    for (int head = 0; head < 3; head++)
        for (int i = 0; i < 96; i++) {
            const int from = i < 32 ? i : i < 64 ? 32 + 2 * (i - 32) : 32 + 2 * (i - 64) + 1;
            cr_assert_eq(all[(96 * head + i) * 4], (float)((96 * head + from) / 128 + 1), "head %d, row %d", head, i);
        }
    free(all);
}

Test(transforms, keys_and_values_of_each_head)
{
    latent(2, 2, 4, 1, 3); /* per head: two rows of keys, one of values */
    add_latent_rules();
    for (int wide = 0; wide < 2; wide++) {
        add_numbered("kv_b", wide ? "F32" : "BF16", SHAPE(6, 3));
        must_plan();
        EXPECT(ROLE_K_B, 0, 2, 3, 0, 1, 2, 3, 4, 5);
        EXPECT(ROLE_K_B, 1, 2, 3, 9, 10, 11, 12, 13, 14);
        EXPECT(ROLE_V_B, 0, 1, 3, 6, 7, 8);
        EXPECT(ROLE_V_B, 1, 1, 3, 15, 16, 17);
        EXPECT(ROLE_K_B_T, 0, 3, 2, 0, 3, 1, 4, 2, 5);
        EXPECT(ROLE_K_B_T, 1, 3, 2, 9, 12, 10, 13, 11, 14);
        cr_expect_eq((int)rows_of(ROLE_K_B_T, 1)->dtype, (int)(wide ? DTYPE_F32 : DTYPE_BF16));
        cr_expect_eq(rows_file_bytes(rows_of(ROLE_K_B_T, 1)), rows_file_bytes(rows_of(ROLE_K_B, 1)));
        drop_all();
    }
    add_numbered("kv_b", "F32", SHAPE(5, 3));
    refused(SLUICE_FORMAT, "tensor \"kv_b\": shape [5,3], expected [6,3]");
}

/* Both forms of the keys are the same numbers, whatever the file's type. */
static void expect_transposes(int n_heads)
{
    for (int head = 0; head < n_heads; head++) {
        const struct row_source *keys = rows_of(ROLE_K_B, head), *back = rows_of(ROLE_K_B_T, head);
        float *a = read_all(keys), *b = read_all(back);
        cr_assert(keys->n == back->k && keys->k == back->n);
        for (int i = 0; i < keys->n; i++)
            for (int j = 0; j < keys->k; j++)
                cr_assert_eq(a[i * keys->k + j], b[j * back->k + i], "head %d: [%d, %d]", head, i, j);
        free(a);
        free(b);
    }
}

/* A tensor of the heads has a dimension of its own for them, or (ik_llama.cpp) has them one below the other. */
Test(transforms, heads_one_below_the_other)
{
    static const struct {
        int n_dims;
        uint64_t shape[4];
        const char *line;
    } hostile[] = {
        {2, {5, 2}, "tensor \"k_b\": shape [5,2], expected [6,2]"},
        {2, {7, 2}, "tensor \"k_b\": shape [7,2], expected [6,2]"},
        {2, {2, 6}, "tensor \"k_b\": shape [2,6], expected [6,2]"},
        {2, {3, 4}, "tensor \"k_b\": shape [3,4], expected [6,2]"},
        {1, {12}, "tensor \"k_b\": shape [12], expected [2,3,2]"},
        {3, {6, 1, 2}, "tensor \"k_b\": shape [6,1,2], expected [2,3,2]"},
        {3, {2, 2, 3}, "tensor \"k_b\": shape [2,2,3], expected [2,3,2]"},
        {4, {1, 2, 3, 2}, "tensor \"k_b\": shape [1,2,3,2], expected [2,3,2]"},
    };
    latent(2, 2, 2, 2, 3);
    add_rule(ROLE_K_B, "k_b", SIZE_NOPE, SIZE_KV_LORA, NEED_MLA, HEADS_TRANSPOSED);
    add_rule(ROLE_K_B_T, "k_b", SIZE_KV_LORA, SIZE_NOPE, NEED_MLA, HEADS);
    add_rule(ROLE_V_B, "v_b", SIZE_V_HEAD, SIZE_KV_LORA, NEED_MLA, HEADS);
    for (int flat = 0; flat < 2; flat++) {
        add_numbered("k_b", "F32", flat ? SHAPE(6, 2) : SHAPE(2, 3, 2));
        add_numbered("v_b", "BF16", flat ? SHAPE(4, 3) : SHAPE(2, 2, 3));
        must_plan();
        EXPECT(ROLE_K_B_T, 0, 3, 2, 0, 1, 2, 3, 4, 5);
        EXPECT(ROLE_K_B_T, 1, 3, 2, 6, 7, 8, 9, 10, 11);
        EXPECT(ROLE_K_B, 0, 2, 3, 0, 2, 4, 1, 3, 5);
        EXPECT(ROLE_K_B, 1, 2, 3, 6, 8, 10, 7, 9, 11);
        EXPECT(ROLE_V_B, 0, 2, 3, 0, 1, 2, 3, 4, 5);
        EXPECT(ROLE_V_B, 1, 2, 3, 6, 7, 8, 9, 10, 11);
        cr_expect_eq(rows_file_bytes(rows_of(ROLE_V_B, 1)), 12u);
        drop_all();
    }
    add_bytes("k_b", "F32", SHAPE(6, 2), NULL, 0);
    add_bytes("v_b", "F32", SHAPE(3, 4), NULL, 0);
    refused(SLUICE_FORMAT, "tensor \"v_b\": shape [3,4], expected [4,3]");
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        tensors[0].n_dims = hostile[i].n_dims;
        memcpy(tensors[0].shape, hostile[i].shape, sizeof hostile[i].shape);
        refused(SLUICE_FORMAT, hostile[i].line);
    }
}

/* Per head 96 + 64 rows: tiles of 128 cross heads, and cross from keys to values. */
Test(transforms, fp8_heads)
{
    latent(3, 96, 2, 64, 200);
    add_latent_rules();
    add_fp8("kv_b", "kv_b_scale_inv", 480, 200);
    must_plan();
    cr_expect_eq((int)rows_of(ROLE_K_B, 0)->dtype, (int)DTYPE_F8_B128);
    cr_expect_eq((int)rows_of(ROLE_K_B_T, 0)->dtype, (int)DTYPE_F32);
    expect_transposes(3);
    for (int head = 0; head < 3; head++) {
        float *keys = read_all(rows_of(ROLE_K_B, head)), *values = read_all(rows_of(ROLE_V_B, head));
        for (int row = 0; row < 160; row++)
            for (int k = 0; k < 200; k++) {
                const float found = row < 96 ? keys[row * 200 + k] : values[(row - 96) * 200 + k];
                cr_assert_eq(found, (float)((160 * head + row) / 128 * 2 + k / 128 + 1), "%d: [%d, %d]", head, row, k);
            }
        free(keys);
        free(values);
    }
    drop_last();
    refused(SLUICE_FORMAT, "missing tensors: kv_b_scale_inv");
}

/* ---- delta ------------------------------------------------------------------------------------------------------- */

/* Two key heads of 1, each with two value heads of `v`. */
static void delta(int v)
{
    layer[0].mixer = (struct mixer){
        .kind = MIX_DELTA, .n_key_heads = 2, .n_value_heads = 4, .head_dim = 1, .v_head_dim = v, .conv_kernel = 2};
    config.hidden_size = 1;
}

Test(transforms, grouped_rows_are_sorted)
{
    delta(2); /* per key head: q, k, v0 v0 v1 v1, z0 z0 z1 z1 */
    add_rule(ROLE_DELTA_QKV, "qkvz", SIZE_DELTA_QKV, SIZE_HIDDEN, NEED_DELTA, GROUPED_QKV);
    add_rule(ROLE_DELTA_Z, "qkvz", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, GROUPED_Z);
    add_numbered("qkvz", "F32", SHAPE(20, 1));
    must_plan();
    EXPECT(ROLE_DELTA_QKV, -1, 12, 1, 0, 10, 1, 11, 2, 3, 4, 5, 12, 13, 14, 15);
    EXPECT(ROLE_DELTA_Z, -1, 8, 1, 6, 7, 8, 9, 16, 17, 18, 19);
    tensors[0].shape[0] = 19;
    refused(SLUICE_FORMAT, "tensor \"qkvz\": shape [19,1], expected [20,1]");
}

Test(transforms, fp8_grouped_rows_have_the_scales_of_their_tiles)
{
    delta(50); /* 202 rows per key head */
    add_rule(ROLE_DELTA_QKV, "qkvz", SIZE_DELTA_QKV, SIZE_HIDDEN, NEED_DELTA, GROUPED_QKV);
    add_rule(ROLE_DELTA_Z, "qkvz", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, GROUPED_Z);
    add_fp8("qkvz", "qkvz_scale_inv", 404, 1);
    must_plan();
    float *qkv = read_all(rows_of(ROLE_DELTA_QKV, -1)), *z = read_all(rows_of(ROLE_DELTA_Z, -1));
    cr_expect_eq(qkv[1], 2.0f, "q of head 1 is row 202");
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(qkv[4 + i], (float)((i / 100 * 202 + 2 + i % 100) / 128 + 1), "v %d", i);
        cr_assert_eq(z[i], (float)((i / 100 * 202 + 102 + i % 100) / 128 + 1), "z %d", i);
    }
    free(qkv);
    free(z);
}

/* Value heads 0, 1 belong to key head 0 and 2, 3 to key head 1; tiled: 0, 2, 1, 3. */
Test(transforms, grouped_value_heads_become_tiled_ones)
{
    delta(2);
    add_rule(ROLE_DELTA_QKV, "qkv", SIZE_DELTA_QKV, SIZE_HIDDEN, NEED_DELTA, TILED_QKV);
    add_rule(ROLE_DELTA_Z, "z", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, TILED_ROWS);
    add_rule(ROLE_DELTA_B, "b", SIZE_VALUE_HEADS, SIZE_HIDDEN, NEED_DELTA, TILED_ROWS);
    add_rule(ROLE_DELTA_DT_BIAS, "dt", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, TILED_ROWS);
    add_rule(ROLE_DELTA_DECAY, "A_log", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, TILED_NEGATIVE_EXP);
    add_rule(ROLE_CONV, "conv", SIZE_CONV, SIZE_TAPS, NEED_DELTA, TILED_CONV);
    add_rule(ROLE_O, "o", SIZE_HIDDEN, SIZE_MIXED, NEED_DELTA, TILED_COLUMNS);
    add_numbered("qkv", "F32", SHAPE(12, 1));
    add_numbered("z", "BF16", SHAPE(8, 1));
    add_numbered("b", "F32", SHAPE(4, 1));
    add_numbered("dt", "F32", SHAPE(4));
    add_numbered("A_log", "F32", SHAPE(4));
    add_numbered("conv", "BF16", SHAPE(12, 1, 2));
    add_numbered("o", "BF16", SHAPE(1, 8));
    must_plan();
    EXPECT(ROLE_DELTA_QKV, -1, 12, 1, 0, 1, 2, 3, 4, 5, 8, 9, 6, 7, 10, 11);
    EXPECT(ROLE_DELTA_Z, -1, 8, 1, 0, 1, 4, 5, 2, 3, 6, 7);
    EXPECT(ROLE_DELTA_B, -1, 4, 1, 0, 2, 1, 3);
    EXPECT(ROLE_DELTA_DT_BIAS, -1, 4, 1, 0, 2, 1, 3);
    EXPECT(ROLE_CONV, -1, 12, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 12, 13, 14, 15, 20, 21, 22, 23);
    EXPECT(ROLE_O, -1, 1, 8, 0, 1, 4, 5, 2, 3, 6, 7);
    float *decay = read_all(rows_of(ROLE_DELTA_DECAY, -1));
    cr_expect(decay[0] == -1 && decay[1] == (float)-exp(2) && decay[2] == (float)-exp(1) && decay[3] == (float)-exp(3));
    free(decay);
}

/* Three value heads per key head: tile j of the model has head j of every group. */
Test(transforms, three_value_heads_per_key_head)
{
    layer[0].mixer =
        (struct mixer){.kind = MIX_DELTA, .n_key_heads = 2, .n_value_heads = 6, .head_dim = 1, .v_head_dim = 1};
    config.hidden_size = 1;
    add_rule(ROLE_DELTA_Z, "z", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, TILED_ROWS);
    add_numbered("z", "F32", SHAPE(6, 1));
    must_plan();
    EXPECT(ROLE_DELTA_Z, -1, 6, 1, 0, 3, 1, 4, 2, 5);
}

/* Heads that are whole tiles stay FP8; others become floats. */
Test(transforms, fp8_columns_of_tiled_heads)
{
    for (int v = 64; v <= 128; v += 64) {
        delta(v);
        config.hidden_size = 3;
        if (v == 64) add_rule(ROLE_O, "o", SIZE_HIDDEN, SIZE_MIXED, NEED_DELTA, TILED_COLUMNS);
        add_fp8("o", "o_scale_inv", 3, (uint64_t)(4 * v));
        must_plan();
        cr_expect_eq((int)rows_of(ROLE_O, -1)->dtype, (int)(v == 128 ? DTYPE_F8_B128 : DTYPE_F32));
        float *all = read_all(rows_of(ROLE_O, -1));
        static const int from[4] = {0, 2, 1, 3};
        for (int i = 0; i < 3 * 4 * v; i++) {
            const int k = i % (4 * v), column = from[k / v] * v + k % v;
            cr_assert_eq(all[i], (float)(column / 128 + 1), "heads of %d: column %d", v, k);
        }
        free(all);
        drop_all();
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

Test(transforms, wrappers_have_a_prefix)
{
    static const char *const names[][2] = {{"model.norm.weight", "lm_head.weight"},
                                           {"model.language_model.norm.weight", "lm_head.weight"},
                                           {"language_model.model.norm.weight", "language_model.lm_head.weight"}};
    add_rule(ROLE_FINAL_NORM, "model.norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY);
    add_rule(ROLE_HEAD, "lm_head.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_UNLESS_TIED, COPY);
    for (int i = 0; i < 3; i++) {
        add_numbered(names[i][0], "F32", SHAPE(4));
        add_numbered(names[i][1], "F32", SHAPE(8, 4));
        must_plan();
        cr_expect(plan.used[0] && plan.used[1]);
        cr_expect_str_eq(rows_of(ROLE_FINAL_NORM, -1)->view->name, names[i][0]);
        cr_expect_str_eq(rows_of(ROLE_HEAD, -1)->view->name, names[i][1]);
        drop_all();
    }
    add_numbered("model.language_model.layers.0.x", "F32", SHAPE(4));
    refused(SLUICE_FORMAT, "missing tensors: model.language_model.norm.weight, lm_head.weight");
}

Test(transforms, strays)
{
    static const char *const strays[] = {
        "model.visual.blocks.0.norm1.weight",
        "visual.merger.ln_q.weight",
        "vision_tower.encoder.layer.0.weight",
        "model.vision_tower.patch.weight",
        "multi_modal_projector.linear.weight",
        "model.multi_modal_projector.linear.weight",
        "audio_tower.conv.weight",
        "mtp.fc.weight",
        "model.mtp_layers.0.weight",
        "model.layers.3.eh_proj.weight",
        "model.language_model.layers.3.x.weight",
        "language_model.model.layers.12.x.weight",
        "blk.3.nextn.eh_proj.weight",
        "model.layers.4294967295.x.weight", /* no layer number of 32 bits */
        "model.layers.99999999999999999999999999.x.weight",
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.embed_vision.embedding.weight",
        "language_model.vision_tower.x",
    };
    static const char *const others[] = {"model.layers.2.x.weight",
                                         "model.norm2.weight",
                                         "blk.2.x.weight",
                                         "lm_head.bias",
                                         "lm_head.weight",
                                         "model.layers.x.weight",
                                         "language_model.lm_head.weight",
                                         "blk.4.attn_q.weight",
                                         "blk.4294967295.x.weight",
                                         "blk.4294967296.x.weight",
                                         "blk.4294967299.x.weight",
                                         "blk.536870912.x.weight",
                                         "blk.99999999999999999999999999.x.weight"};
    config.n_layers = 3;
    config.n_extra_layers = 1;
    for (size_t i = 0; i < sizeof strays / sizeof *strays; i++)
        cr_expect(plan_is_stray(&config, strays[i]), "%s", strays[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect(!plan_is_stray(&config, others[i]), "%s", others[i]);
    config.tied_embeddings = true;
    cr_expect(plan_is_stray(&config, "lm_head.weight") && plan_is_stray(&config, "language_model.lm_head.weight"));
}

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

struct gguf_part {
    const char *name;
    enum dtype dtype;
    int n_dims;
    uint64_t shape[3];
    const void *data;
};

static const char *write_gguf(const struct gguf_part *parts, size_t n)
{
    struct gguf_writer *w = NULL;
    const char *path = folder_path(&folder, "a.gguf");
    close_archive();
    remove(path);
    cr_assert_eq((int)gguf_writer_create(&w, path, &failure), (int)SLUICE_OK, "%s", failure.text);
    gguf_put_text(w, "general.architecture", "test");
    for (size_t i = 0; i < n; i++) gguf_add_tensor(w, parts[i].name, parts[i].dtype, parts[i].n_dims, parts[i].shape);
    cr_assert_eq((int)gguf_begin_data(w, &failure), (int)SLUICE_OK, "%s", failure.text);
    for (size_t i = 0; i < n; i++) {
        size_t elements = 1;
        for (int d = 0; d < parts[i].n_dims; d++) elements *= (size_t)parts[i].shape[d];
        cr_assert_eq((int)gguf_write_data(w, i, 0, parts[i].data, blocks_bytes(parts[i].dtype, elements), &failure),
                     (int)SLUICE_OK);
    }
    cr_assert_eq((int)gguf_writer_commit(w, &failure), (int)SLUICE_OK, "%s", failure.text);
    gguf_writer_close(&w);
    return path;
}

/* The rules of a GGUF list that stand for the whole common list: the first role alone is that of common rules. */
static void replace_common_rules(void)
{
    /* Every role of the common list gets a rule that is never needed. */
    static struct tensor_rule all[N_TENSOR_ROLES + MAX_RULES + 1];
    int n = 0;
    memset(all, 0, sizeof all);
    for (; rules[n].name; n++) all[n] = rules[n];
    for (int role = 0; role < N_TENSOR_ROLES; role++) {
        bool has = false;
        for (int i = 0; rules[i].name; i++) has |= (int)rules[i].role == role;
        if (!has)
            all[n++] =
                (struct tensor_rule){(enum tensor_role)role, "none.{l}", SIZE_ONE, SIZE_NONE, NEED_FULL_NORM, COPY};
    }
    arch.gguf_tensors = all;
}

/* attn_k_b has every head transposed; blocks of 32 are cut by no row there, so they are decoded. */
Test(transforms, transposed_heads_of_blocks)
{
    enum { HEADS_N = 2, LATENT = 40, NOPE = 64 };
    struct block_q8_0 blocks[HEADS_N * LATENT * NOPE / 32];
    float values[HEADS_N * LATENT * NOPE];
    for (int i = 0; i < HEADS_N * LATENT * NOPE / 32; i++) {
        blocks[i].d = float_to_fp16(0.25f * (float)(1 + i % 7));
        for (int j = 0; j < 32; j++) {
            blocks[i].q[j] = (int8_t)(j * 3 - i % 50);
            values[32 * i + j] = (float)(j * 3 - i % 50) * 0.25f * (float)(1 + i % 7);
        }
    }
    const struct gguf_part part = {"blk.0.attn_k_b.weight", DTYPE_Q8_0, 3, {HEADS_N, LATENT, NOPE}, blocks};
    latent(HEADS_N, NOPE, 2, 1, LATENT);
    add_rule(ROLE_K_B, "blk.{l}.attn_k_b.weight", SIZE_NOPE, SIZE_KV_LORA, NEED_MLA, HEADS_TRANSPOSED);
    add_rule(ROLE_K_B_T, "blk.{l}.attn_k_b.weight", SIZE_KV_LORA, SIZE_NOPE, NEED_MLA, HEADS);
    replace_common_rules();
    cr_assert_eq((int)plan_path(write_gguf(&part, 1)), (int)SLUICE_OK, "%s", failure.text);
    cr_expect_eq((int)rows_of(ROLE_K_B, 0)->dtype, (int)DTYPE_F32);
    cr_expect_eq((int)rows_of(ROLE_K_B_T, 0)->dtype, (int)DTYPE_Q8_0);
    expect_transposes(HEADS_N);
    float *keys = read_all(rows_of(ROLE_K_B, 1));
    for (int i = 0; i < NOPE; i++)
        for (int j = 0; j < LATENT; j++) cr_assert_eq(keys[i * LATENT + j], values[(LATENT + j) * NOPE + i]);
    free(keys);
    /* Only one of both forms is written. */
    for (size_t i = 0; i < plan.n; i++) {
        struct plan_gguf_place place;
        const bool written = plan_gguf_tensor(&plan.items[i], &config, &place);
        cr_assert_eq(written, plan.items[i].role == ROLE_K_B_T);
        if (!written) continue;
        cr_expect_str_eq(place.name, "blk.0.attn_k_b.weight");
        cr_expect(place.n_dims == 3 && place.shape[0] == HEADS_N && place.shape[1] == LATENT && place.shape[2] == NOPE);
    }
}

Test(transforms, a_column_order_that_cuts_blocks_is_refused)
{
    struct block_q8_0 blocks[6] = {{0}};
    const struct gguf_part part = {"o", DTYPE_Q8_0, 2, {1, 192}, blocks};
    delta(48);
    add_rule(ROLE_O, "o", SIZE_HIDDEN, SIZE_MIXED, NEED_DELTA, TILED_COLUMNS);
    replace_common_rules();
    cr_expect_eq((int)plan_path(write_gguf(&part, 1)), (int)SLUICE_UNSUPPORTED);
    cr_expect_str_eq(failure.text, "a.gguf: tensor \"o\": type Q8_0, expected a type whose blocks divide heads of 48");
}

Test(transforms, whole_blocks_of_columns_are_moved)
{
    struct block_q8_0 blocks[8] = {{0}};
    for (int i = 0; i < 8; i++) {
        blocks[i].d = float_to_fp16(1);
        blocks[i].q[0] = (int8_t)i;
    }
    const struct gguf_part part = {"o", DTYPE_Q8_0, 2, {1, 256}, blocks};
    delta(64);
    add_rule(ROLE_O, "o", SIZE_HIDDEN, SIZE_MIXED, NEED_DELTA, TILED_COLUMNS);
    replace_common_rules();
    cr_assert_eq((int)plan_path(write_gguf(&part, 1)), (int)SLUICE_OK, "%s", failure.text);
    float *all = read_all(rows_of(ROLE_O, -1));
    static const int from[8] = {0, 1, 4, 5, 2, 3, 6, 7};
    for (int i = 0; i < 8; i++) cr_expect_eq((int)all[32 * i], from[i]);
    free(all);
}

/* A family's rule replaces the common ones of its role; of its own the first is written that the layer needs. */
Test(transforms, names_of_a_family)
{
    const float zeros[8] = {0};
    struct plan_gguf_place place;
    layer[0].mixer = (struct mixer){.kind = MIX_CONV, .conv_kernel = 2};
    layer[1].mixer = (struct mixer){.kind = MIX_GQA, .n_heads = 2, .n_kv_heads = 1, .head_dim = 2, .v_head_dim = 2};
    layer[0].post_norms = true;
    config.n_layers = 2;
    add_rule(ROLE_CONV, "blk.{l}.conv.weight", SIZE_CONV, SIZE_TAPS, NEED_CONV, CONV);
    add_rule(ROLE_FFN_NORM, "blk.{l}.post.weight", SIZE_HIDDEN, SIZE_NONE, NEED_POST_NORMS, COPY);
    add_rule(ROLE_FFN_NORM, "blk.{l}.ffn.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY);
    add_rule(ROLE_LAYER_SCALE, "blk.{l}.scale", SIZE_ONE, SIZE_NONE, NEED_POST_NORMS, COPY);
    replace_common_rules();
    const struct gguf_part parts[] = {{"blk.0.conv.weight", DTYPE_F32, 2, {4, 2}, zeros},
                                      {"blk.0.post.weight", DTYPE_F32, 1, {4}, zeros},
                                      {"blk.1.ffn.weight", DTYPE_F32, 1, {4}, zeros},
                                      {"blk.0.scale", DTYPE_F32, 1, {1}, zeros}};
    cr_assert_eq((int)plan_path(write_gguf(parts, 4)), (int)SLUICE_OK, "%s", failure.text);
    cr_expect_eq(plan.n, 4u);
    for (size_t i = 0; i < plan.n; i++) {
        cr_assert(plan_gguf_tensor(&plan.items[i], &config, &place));
        const struct tensor_view *view = plan.items[i].rows.view;
        cr_expect_str_eq(place.name, view->name);
        cr_assert_eq(place.n_dims, view->n_dims, "%s", place.name);
        for (int d = 0; d < view->n_dims; d++) cr_expect_eq(place.shape[d], view->shape[d], "%s", place.name);
    }
}

/* The order that a file is written in is undone when it is read. */
Test(transforms, rotated_rows_are_paired_again)
{
    struct plan_gguf_place place;
    const float numbers[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    latent(2, 2, 4, 1, 3);
    config.hidden_size = 1;
    add_rule(ROLE_Q, "q", SIZE_Q, SIZE_HIDDEN, NEED_DIRECT_Q, PAIRS_TO_HALVES);
    replace_common_rules();
    const struct gguf_part part = {"q", DTYPE_F32, 2, {12, 1}, numbers};
    cr_assert_eq((int)plan_path(write_gguf(&part, 1)), (int)SLUICE_OK, "%s", failure.text);
    EXPECT(ROLE_Q, -1, 12, 1, 0, 1, 2, 4, 3, 5, 6, 7, 8, 10, 9, 11);
    cr_assert(plan_gguf_tensor(&plan.items[0], &config, &place));
    cr_assert_eq((int)place.order.kind, (int)ORDER_PAIRS);
    for (int row = 0; row < 12; row++) {
        float x;
        unsigned char scratch[4];
        rows_read_float(&plan.items[0].rows, &x, paired_row(&place.order, row), scratch);
        cr_expect_eq((int)x, row);
    }
}
