/* The search for tensors: what is planned, in which order, under which names in GGUF files; and tensors with scales
 * beside them, whole, missing and deformed. Plain tensors are tested through test_bind.c. */
#include "model/plan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/checkpoint.h"

static struct checkpoint checkpoint;
static struct archive *archive;
static struct model_config config;
static struct plan plan;
static struct failure failure;

static void destroy(void)
{
    plan_free(&plan);
    config_free(&config);
    archive_close(&archive);
    checkpoint_remove(&checkpoint);
}
TestSuite(plan, .fini = destroy);

/* Plans the file or folder; what the plan before owned is given back. */
static sluice_status plan_path(const char *path)
{
    struct generation_config generation;
    plan_free(&plan);
    config_free(&config);
    archive_close(&archive);
    failure = (struct failure){0};
    cr_assert_eq((int)archive_open(&archive, path, ARCHIVE_TENSORS | ARCHIVE_CONFIG, &failure), (int)SLUICE_OK, "%s",
                 failure.text);
    cr_assert_eq((int)config_read(&config, &generation, archive, &failure), (int)SLUICE_OK, "%s", failure.text);
    return plan_tensors(&plan, &config, archive, &failure);
}

static sluice_status plan_folder(void)
{
    checkpoint_write(&checkpoint);
    return plan_path(checkpoint.folder.path);
}

static void must_plan(void) { cr_assert_eq((int)plan_folder(), (int)SLUICE_OK, "%s", failure.text); }

/* The folder is refused with "NAME: LINE", NAME being the file or the folder. */
static void refused(bool names_the_file, sluice_status status, const char *line)
{
    char sentence[FAILURE_TEXT_BYTES];
    snprintf(sentence, sizeof sentence, "%s: %s",
             names_the_file ? "model.safetensors" : strrchr(checkpoint.folder.path, '/') + 1, line);
    cr_expect_eq((int)plan_folder(), (int)status, "%s", line);
    cr_expect_str_eq(failure.text, sentence, "\n     got: %s\nexpected: %s", failure.text, sentence);
    if (failure.status) cr_expect(!plan.items && !plan.used && plan.n == 0);
}

static const struct planned *item_of(enum tensor_role role, int layer, int expert)
{
    for (size_t i = 0; i < plan.n; i++) {
        const struct planned *item = &plan.items[i];
        if (item->role == role && item->layer == layer && item->expert == expert) return item;
    }
    cr_assert_fail("role %d of layer %d, expert %d is not planned", (int)role, layer, expert);
    return NULL;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static void make(enum checkpoint_family family, enum checkpoint_form form)
{
    checkpoint_create(&checkpoint, family, form, "F32");
    if (family == QWEN2_MOE) checkpoint_edit(&checkpoint, "mlp_only_layers", "[1]");
}

static size_t n_used(void)
{
    size_t n = 0;
    for (size_t i = 0; i < archive_n_tensors(archive); i++) n += plan.used[i];
    return n;
}

Test(plan, every_tensor_is_planned_once)
{
    for (int family = QWEN2_MOE; family <= LLAMA; family++) {
        make((enum checkpoint_family)family, EXPERT_BY_EXPERT);
        must_plan();
        cr_expect_eq(plan.n, (size_t)checkpoint.n);
        cr_expect_eq(n_used(), (size_t)checkpoint.n);
        cr_expect_null(plan.divisors);
        for (size_t i = 0; i < plan.n; i++) {
            const struct planned *item = &plan.items[i];
            cr_expect_eq((int)item->rows.order.kind, (int)ORDER_STORED, "a folder has its rows in order");
            cr_expect(item->is_vector ? item->rows.k == 1 && item->rows.view->n_dims == 1 : item->rows.k > 1);
            cr_expect_eq(item->layer < 0, strstr(item->rows.view->name, "layers") == NULL);
            if (item->expert > 0)
                cr_expect(item[-1].expert == item->expert - 1 && item[-1].role == item->role &&
                          item[-1].layer == item->layer);
        }
        checkpoint_remove(&checkpoint);
    }
}

Test(plan, experts_of_one_tensor_are_its_slices)
{
    const size_t matrix = CHECKPOINT_EXPERT_FFN * CHECKPOINT_HIDDEN * sizeof(float);
    make(QWEN2_MOE, FUSED_EXPERTS);
    must_plan();
    cr_expect_eq(n_used(), (size_t)checkpoint.n);
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        const struct row_source *gate = &item_of(ROLE_EXPERT_GATE, 0, e)->rows;
        const struct row_source *up = &item_of(ROLE_EXPERT_UP, 0, e)->rows;
        const struct row_source *down = &item_of(ROLE_EXPERT_DOWN, 0, e)->rows;
        cr_expect(gate->view == up->view);
        cr_expect_eq((size_t)(gate->data - gate->view->data), (size_t)(2 * e) * matrix);
        cr_expect_eq((size_t)(up->data - up->view->data), (size_t)(2 * e + 1) * matrix);
        cr_expect_eq((size_t)(down->data - down->view->data), (size_t)e * matrix);
        cr_expect(up->n == CHECKPOINT_EXPERT_FFN && up->k == CHECKPOINT_HIDDEN && down->n == CHECKPOINT_HIDDEN);
        cr_expect_eq(rows_element(up, 1, 2),
                     (uint64_t)((2 * e + 1) * CHECKPOINT_EXPERT_FFN + 1) * CHECKPOINT_HIDDEN + 2);
    }
}

/* The names and shapes that checkpoint.c writes into its GGUF file. */
Test(plan, items_know_their_place_in_a_gguf_file)
{
    for (int family = QWEN2_MOE; family <= LLAMA; family++) {
        struct archive *gguf = NULL;
        size_t n = 0;
        make((enum checkpoint_family)family, EXPERT_BY_EXPERT);
        must_plan();
        checkpoint_write_gguf(&checkpoint, GGUF_STACKED);
        cr_assert_eq((int)archive_open(&gguf, folder_path(&checkpoint.folder, "model.gguf"), ARCHIVE_TENSORS, &failure),
                     (int)SLUICE_OK, "%s", failure.text);
        for (size_t i = 0; i < plan.n; i++) {
            struct plan_gguf_place place;
            cr_assert(plan_gguf_tensor(&plan.items[i], &config, &place));
            const struct tensor_view *view = archive_find(gguf, place.name);
            cr_assert_not_null(view, "%s", place.name);
            cr_assert_eq(place.n_dims, view->n_dims, "%s", place.name);
            for (int d = 0; d < view->n_dims; d++)
                cr_expect_eq(place.shape[d], view->shape[d], "%s: dimension %d", place.name, d);
            n += plan.items[i].expert <= 0;
        }
        cr_expect_eq(n, archive_n_tensors(gguf), "no other tensors");
        archive_close(&gguf);
        checkpoint_remove(&checkpoint);
    }
}

Test(plan, rows_of_q_and_k_are_reordered_where_the_family_does_it)
{
    static const enum tensor_role roles[] = {ROLE_Q, ROLE_K, ROLE_Q_BIAS, ROLE_K_BIAS};
    for (int family = QWEN2_MOE; family <= LLAMA; family++) {
        make((enum checkpoint_family)family, EXPERT_BY_EXPERT);
        checkpoint_write_gguf(&checkpoint, GGUF_STACKED);
        cr_assert_eq((int)plan_path(folder_path(&checkpoint.folder, "model.gguf")), (int)SLUICE_OK, "%s", failure.text);
        size_t n_reordered = 0;
        for (size_t i = 0; i < plan.n; i++) n_reordered += plan.items[i].rows.order.kind == ORDER_PAIRS;
        cr_expect_eq(n_reordered, family == QWEN2_MOE ? 0u : family == MIXTRAL ? 4u : 8u);
        for (int i = 0; i < (family == LLAMA ? 4 : 2) && family != QWEN2_MOE; i++) {
            const struct row_order *order = &item_of(roles[i], 1, -1)->rows.order;
            cr_expect(order->unit == CHECKPOINT_Q / 2 && order->part == CHECKPOINT_Q / 2 && order->skip == 0);
        }
        checkpoint_remove(&checkpoint);
    }
}

/* ---- FP8 --------------------------------------------------------------------------------------------------------- */

/* Replaces a tensor by one of another type and shape with the given bytes (NULL: zeros), copied. */
static void put(const char *name, const char *dtype, int n_dims, const uint64_t *shape, const void *data, size_t n)
{
    for (int i = 0; i < checkpoint.n; i++)
        if (strcmp(checkpoint.tensors[i].name, name) == 0) {
            checkpoint_drop(&checkpoint, name);
            break;
        }
    struct test_tensor *t = checkpoint_add(&checkpoint, name, n_dims, shape);
    t->dtype = dtype;
    if (!data) return;
    void *copy = malloc(n);
    cr_assert(copy);
    memcpy(copy, data, n);
    t->data = copy;
}

/* Q of layer 0 and all ups of its experts as FP8, with scales. */
static void make_fp8(void)
{
    static const uint64_t one[2] = {1, 1}, q[2] = {24, 24}, up[2] = {18, 24};
    char name[96];
    make(QWEN2_MOE, EXPERT_BY_EXPERT);
    put("model.layers.0.self_attn.q_proj.weight", "F8_E4M3", 2, q, NULL, 0);
    put("model.layers.0.self_attn.q_proj.weight_scale_inv", "BF16", 2, one, NULL, 0);
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        snprintf(name, sizeof name, "model.layers.0.mlp.experts.%d.up_proj.weight", e);
        put(name, "F8_E4M3", 2, up, NULL, 0);
        snprintf(name, sizeof name, "model.layers.0.mlp.experts.%d.up_proj.weight_scale_inv", e);
        put(name, "F32", 2, one, NULL, 0);
    }
}

Test(plan, fp8_tensors_find_their_scales)
{
    make_fp8();
    must_plan();
    cr_expect_eq(n_used(), (size_t)checkpoint.n, "scales too");
    for (int i = -1; i < CHECKPOINT_EXPERTS; i++) {
        const struct row_source *s = &item_of(i < 0 ? ROLE_Q : ROLE_EXPERT_UP, 0, i)->rows;
        char name[96];
        cr_expect(s->encoding == ROWS_FP8_BLOCKS && s->dtype == DTYPE_F8_B128 && s->tile_row == 0);
        cr_assert_not_null(s->scales);
        snprintf(name, sizeof name, "%s_scale_inv", s->view->name);
        cr_expect_str_eq(s->scales->name, name);
    }
}

Test(plan, fp8_scales_that_are_missing_are_named)
{
    make_fp8();
    checkpoint_drop(&checkpoint, "model.layers.0.self_attn.q_proj.weight_scale_inv");
    checkpoint_drop(&checkpoint, "model.layers.0.mlp.experts.0.up_proj.weight");
    checkpoint_drop(&checkpoint, "model.layers.0.mlp.experts.2.up_proj.weight_scale_inv");
    checkpoint_drop(&checkpoint, "model.layers.0.mlp.experts.3.up_proj.weight_scale_inv");
    refused(false, SLUICE_FORMAT,
            "missing tensors: model.layers.0.self_attn.q_proj.weight_scale_inv, "
            "model.layers.0.mlp.experts.0.up_proj.weight, "
            "model.layers.0.mlp.experts.{2..3}.up_proj.weight_scale_inv");
}

struct deformed {
    const char *name, *dtype;
    int n_dims;
    uint64_t shape[4];
    sluice_status status;
    const char *line; /* after 'tensor "NAME": ' */
};

static void all_refused(const struct deformed *rows, size_t n, void (*make_whole)(void))
{
    for (size_t i = 0; i < n; i++) {
        char line[256];
        make_whole();
        put(rows[i].name, rows[i].dtype, rows[i].n_dims, rows[i].shape, NULL, 0);
        snprintf(line, sizeof line, "tensor \"%s\": %s", rows[i].name, rows[i].line);
        refused(true, rows[i].status, line);
        checkpoint_remove(&checkpoint);
    }
}

Test(plan, fp8_tensors_that_are_deformed_are_refused)
{
    static const char q[] = "model.layers.0.self_attn.q_proj.weight",
                      scales[] = "model.layers.0.self_attn.q_proj.weight_scale_inv",
                      up[] = "model.layers.0.mlp.experts.3.up_proj.weight_scale_inv";
    static const struct deformed rows[] = {
        {q, "F8_E4M3", 2, {24, 25}, SLUICE_FORMAT, "shape [24,25], expected [24,24]"},
        {q, "F8_E5M2", 2, {24, 24}, SLUICE_UNSUPPORTED, "type F8_E5M2, expected F32, F16 or BF16"},
        {scales, "F32", 2, {1, 2}, SLUICE_FORMAT, "shape [1,2], expected [1,1]"},
        {scales, "F32", 2, {24, 24}, SLUICE_FORMAT, "shape [24,24], expected [1,1]"},
        {scales, "F32", 1, {1}, SLUICE_FORMAT, "shape [1], expected [1,1]"},
        {scales, "F32", 0, {0}, SLUICE_FORMAT, "shape [], expected [1,1]"},
        {scales, "U8", 2, {1, 1}, SLUICE_UNSUPPORTED, "type U8, expected F32, F16 or BF16"},
        {up, "F8_E4M3", 2, {1, 1}, SLUICE_UNSUPPORTED, "type F8_E4M3, expected F32, F16 or BF16"},
        {up, "F32", 2, {0, 1}, SLUICE_FORMAT, "shape [0,1], expected [1,1]"},
    };
    all_refused(rows, sizeof rows / sizeof *rows, make_fp8);
}

Test(plan, fp8_experts_are_of_one_type)
{
    static const uint64_t up[2] = {18, 24};
    make_fp8();
    put("model.layers.0.mlp.experts.3.up_proj.weight", "BF16", 2, up, NULL, 0);
    refused(true, SLUICE_UNSUPPORTED,
            "tensor \"model.layers.0.mlp.experts.3.up_proj.weight\": type BF16, expected F8_E4M3 as in expert 0");
}

/* Halves of 100 rows: the second begins in row 100 of 200, and the tiles end at row 128. */
enum { HALF = 100, FUSED = 2 * HALF };

static void make_fused_fp8(void)
{
    static const uint64_t gate_up[3] = {CHECKPOINT_EXPERTS, FUSED, CHECKPOINT_HIDDEN},
                          down[3] = {CHECKPOINT_EXPERTS, CHECKPOINT_HIDDEN, HALF},
                          scales[3] = {CHECKPOINT_EXPERTS, 2, 1};
    static unsigned char codes[CHECKPOINT_EXPERTS * FUSED * CHECKPOINT_HIDDEN];
    float values[CHECKPOINT_EXPERTS * 2];
    make(QWEN2_MOE, FUSED_EXPERTS);
    checkpoint_edit(&checkpoint, "moe_intermediate_size", "100");
    memset(codes, 0x38, sizeof codes); /* 1.0 */
    for (int i = 0; i < CHECKPOINT_EXPERTS * 2; i++) values[i] = (float)(i + 1);
    put("model.layers.0.mlp.experts.gate_up_proj", "F8_E4M3", 3, gate_up, codes, sizeof codes);
    put("model.layers.0.mlp.experts.gate_up_proj_scale_inv", "F32", 3, scales, values, sizeof values);
    put("model.layers.0.mlp.experts.down_proj", "F32", 3, down, NULL, 0);
}

Test(plan, halves_of_fused_fp8_experts_share_a_tile)
{
    make_fused_fp8();
    must_plan();
    cr_expect_eq(n_used(), (size_t)checkpoint.n);
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        const struct row_source *gate = &item_of(ROLE_EXPERT_GATE, 0, e)->rows;
        const struct row_source *up = &item_of(ROLE_EXPERT_UP, 0, e)->rows;
        unsigned char scratch[132];
        float row[CHECKPOINT_HIDDEN];
        for (int r = 0; r < HALF; r++) {
            rows_read_float(gate, row, r, scratch);
            cr_assert_eq(row[CHECKPOINT_HIDDEN - 1], (float)(2 * e + 1), "gate, row %d", r);
            rows_read_float(up, row, r, scratch);
            cr_assert_eq(row[0], (float)(2 * e + (HALF + r < 128 ? 1 : 2)), "up, row %d", r);
        }
    }
}

Test(plan, fused_fp8_experts_that_are_deformed_are_refused)
{
    static const char scales[] = "model.layers.0.mlp.experts.gate_up_proj_scale_inv";
    static const struct deformed rows[] = {
        {scales, "F32", 3, {6, 1, 1}, SLUICE_FORMAT, "shape [6,1,1], expected [6,2,1]"},
        {scales, "F32", 2, {12, 1}, SLUICE_FORMAT, "shape [12,1], expected [6,2,1]"},
        {scales, "F32", 3, {5, 2, 1}, SLUICE_FORMAT, "shape [5,2,1], expected [6,2,1]"},
        {scales, "I32", 3, {6, 2, 1}, SLUICE_UNSUPPORTED, "type I32, expected F32, F16 or BF16"},
    };
    all_refused(rows, sizeof rows / sizeof *rows, make_fused_fp8);
    make_fused_fp8();
    checkpoint_drop(&checkpoint, scales);
    refused(false, SLUICE_FORMAT, "missing tensors: model.layers.0.mlp.experts.gate_up_proj_scale_inv");
}

/* ---- MXFP4 ------------------------------------------------------------------------------------------------------- */

/* Sizes that blocks of 32 fit: hidden 32, experts of 64. All values are zero. */
static void widen(void)
{
    static const uint64_t sizes[][2] = {{24, 32}, {12, 16}, {18, 64}, {36, 128}};
    checkpoint_edit(&checkpoint, "hidden_size", "32");
    checkpoint_edit(&checkpoint, "head_dim", "16");
    checkpoint_edit(&checkpoint, "moe_intermediate_size", "64");
    for (int i = 0; i < checkpoint.n; i++) {
        struct test_tensor *t = &checkpoint.tensors[i];
        free((void *)t->data);
        t->data = NULL;
        for (int d = 0; d < t->n_dims; d++)
            for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
                if (t->shape[d] == sizes[j][0]) {
                    t->shape[d] = sizes[j][1];
                    break;
                }
    }
}

static const char gate_up_blocks[] = "model.layers.0.mlp.experts.gate_up_proj_blocks",
                  gate_up_scales[] = "model.layers.0.mlp.experts.gate_up_proj_scales",
                  down_blocks[] = "model.layers.0.mlp.experts.down_proj_blocks",
                  down_scales[] = "model.layers.0.mlp.experts.down_proj_scales";

static void make_mxfp4(void)
{
    static const uint64_t gate_up[4] = {6, 128, 1, 16}, down[4] = {6, 32, 2, 16};
    static unsigned char exponents[6 * 128], nibbles[6 * 128 * 16];
    make(QWEN2_MOE, FUSED_EXPERTS);
    checkpoint_drop(&checkpoint, "model.layers.0.mlp.experts.gate_up_proj");
    checkpoint_drop(&checkpoint, "model.layers.0.mlp.experts.down_proj");
    widen();
    for (size_t row = 0; row < sizeof exponents; row++) exponents[row] = (unsigned char)(120 + row / 64);
    memset(nibbles, 0x42, sizeof nibbles); /* 1.0 (code 2), 2.0 (code 4), in turn */
    put(gate_up_blocks, "U8", 4, gate_up, nibbles, sizeof nibbles);
    put(gate_up_scales, "U8", 3, gate_up, exponents, sizeof exponents);
    put(down_blocks, "U8", 4, down, NULL, 0);
    put(down_scales, "U8", 3, down, NULL, 0);
}

Test(plan, mxfp4_pairs_stand_for_fused_experts)
{
    make_mxfp4();
    must_plan();
    cr_expect_eq(n_used(), (size_t)checkpoint.n);
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        for (int half = 0; half < 2; half++) {
            const struct row_source *s = &item_of(half ? ROLE_EXPERT_UP : ROLE_EXPERT_GATE, 0, e)->rows;
            unsigned char scratch[17];
            float row[32];
            cr_expect(s->encoding == ROWS_MXFP4_PAIRS && s->dtype == DTYPE_MXFP4 && s->n == 64 && s->k == 32);
            for (int r = 0; r < 64; r += 63) {
                const float unit = (float)(1 << (2 * e + half)) / 128; /* 2^(120 + 2 e + half - 127) */
                rows_read_float(s, row, r, scratch);
                for (int i = 0; i < 32; i++) cr_assert_eq(row[i], i % 2 ? 2 * unit : unit, "[%d, %d]", r, i);
            }
        }
        const struct row_source *down = &item_of(ROLE_EXPERT_DOWN, 0, e)->rows;
        cr_expect(down->n == 32 && down->k == 64);
        cr_expect_eq((size_t)(down->data - down->view->data), (size_t)e * 32 * 32);
        cr_expect_eq((size_t)(down->scale_data - down->scales->data), (size_t)e * 32 * 2);
    }
}

Test(plan, mxfp4_pairs_that_are_deformed_are_refused)
{
    static const struct deformed rows[] = {
        {gate_up_blocks, "U8", 4, {6, 128, 1, 17}, SLUICE_FORMAT, "shape [6,128,1,17], expected [6,128,1,16]"},
        {gate_up_blocks, "U8", 3, {6, 128, 16}, SLUICE_FORMAT, "shape [6,128,16], expected [6,128,1,16]"},
        {gate_up_blocks, "I8", 4, {6, 128, 1, 16}, SLUICE_UNSUPPORTED, "type I8, expected U8"},
        {gate_up_scales, "U8", 3, {6, 128, 2}, SLUICE_FORMAT, "shape [6,128,2], expected [6,128,1]"},
        {gate_up_scales, "U8", 3, {6, 64, 1}, SLUICE_FORMAT, "shape [6,64,1], expected [6,128,1]"},
        {gate_up_scales, "F32", 3, {6, 128, 1}, SLUICE_UNSUPPORTED, "type F32, expected U8"},
        {down_blocks, "U8", 4, {6, 64, 1, 16}, SLUICE_FORMAT, "shape [6,64,1,16], expected [6,32,2,16]"},
        {down_scales, "U8", 4, {6, 32, 2, 1}, SLUICE_FORMAT, "shape [6,32,2,1], expected [6,32,2]"},
    };
    all_refused(rows, sizeof rows / sizeof *rows, make_mxfp4);
    make_mxfp4();
    checkpoint_drop(&checkpoint, down_scales);
    refused(false, SLUICE_FORMAT, "missing tensors: model.layers.0.mlp.experts.down_proj_scales");
    checkpoint_remove(&checkpoint);
    make_mxfp4();
    checkpoint_drop(&checkpoint, down_blocks); /* the rule's first spelling is named */
    refused(false, SLUICE_FORMAT, "missing tensors: model.layers.0.mlp.experts.{0..5}.down_proj.weight");
    checkpoint_remove(&checkpoint);
    make_mxfp4();
    checkpoint_edit(&checkpoint, "moe_intermediate_size", "72");
    const uint64_t gate_up[4] = {6, 144, 1, 16};
    put(gate_up_blocks, "U8", 4, gate_up, NULL, 0);
    put(gate_up_scales, "U8", 3, gate_up, NULL, 0);
    char line[256];
    snprintf(line, sizeof line, "tensor \"%s\": rows of 72 elements, expected whole blocks of 32", down_blocks);
    refused(true, SLUICE_UNSUPPORTED, line);
}
