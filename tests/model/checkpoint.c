/* Owns the tiny checkpoints of the model tests; see the header. */
#include "tests/model/checkpoint.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/float16.h"
#include "model/config_export.h"
#include "tests/support/rng.h"
#include "weights/archive.h"
#include "weights/gguf_write.h"

/* ---- config.json ------------------------------------------------------------------------------------------------- */

static const struct edit base[] = {
    {"architectures", "[\"Qwen3MoeForCausalLM\"]"},
    {"model_type", "\"qwen3_moe\""},
    {"hidden_size", "32"},
    {"num_hidden_layers", "4"},
    {"num_attention_heads", "4"},
    {"num_key_value_heads", "2"},
    {"head_dim", "8"},
    {"vocab_size", "100"},
    {"max_position_embeddings", "128"},
    {"intermediate_size", "48"},
    {"moe_intermediate_size", "16"},
    {"num_experts", "8"},
    {"num_experts_per_tok", "2"},
    {"hidden_act", "\"silu\""},
    {"rms_norm_eps", "1e-6"},
    {"rope_theta", "10000.0"},
    {"tie_word_embeddings", "false"},
};
enum { N_BASE = sizeof base / sizeof *base };

static const struct edit *find_edit(const struct edit *edits, const char *key)
{
    for (; edits->key; edits++)
        if (strcmp(edits->key, key) == 0) return edits;
    return NULL;
}

static void put_key(FILE *file, const struct edit *e)
{
    if (!e->value) return;
    fprintf(file, "%s\n \"%s\": %s", ftell(file) > 1 ? "," : "", e->key, e->value);
}

sluice_status config_read_path(const char *path, unsigned flags, struct model_config *c, struct generation_config *g,
                               struct failure *f)
{
    struct archive *a = NULL;
    *f = (struct failure){0};
    sluice_status s = archive_open(&a, path, flags, f);
    if (!s) s = config_read(c, g, a, f);
    archive_close(&a);
    return s;
}

void config_write(const struct test_folder *folder, const struct edit *edits)
{
    char *text = NULL;
    size_t n = 0;
    FILE *file = open_memstream(&text, &n);
    cr_assert(file);
    fputc('{', file);
    for (int i = 0; i < N_BASE; i++) {
        const struct edit *changed = find_edit(edits, base[i].key);
        put_key(file, changed ? changed : &base[i]);
    }
    struct edit rest[N_BASE + 1] = {{0}};
    memcpy(rest, base, sizeof base);
    for (const struct edit *e = edits; e->key; e++)
        if (!find_edit(rest, e->key)) put_key(file, e);
    fputs("\n}\n", file);
    fclose(file);
    folder_write_text(folder, "config.json", text);
    free(text);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

void checkpoint_values(const char *part, float *out, size_t n)
{
    uint64_t seed = UINT64_C(0xcbf29ce484222325);
    for (const char *p = part; *p; p++) seed = (seed ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    struct rng rng = rng_seed(seed);
    rng_fill(&rng, out, n, -1.0f, 1.0f);
}

float checkpoint_rounded(const char *dtype, float x)
{
    if (strcmp(dtype, "F16") == 0) return fp16_to_float(float_to_fp16(x));
    if (strcmp(dtype, "BF16") == 0) return bf16_to_float(float_to_bf16(x));
    return x;
}

static size_t dtype_bytes(const char *dtype) { return strcmp(dtype, "F32") == 0 ? 4 : 2; }

/* Writes the values of `part` in the checkpoint's dtype at `to`. */
static void encode(const struct checkpoint *c, void *to, const char *part, size_t n)
{
    float *values = malloc(n * sizeof *values);
    cr_assert(values);
    checkpoint_values(part, values, n);
    for (size_t i = 0; i < n; i++) {
        uint16_t half = strcmp(c->dtype, "F16") == 0 ? float_to_fp16(values[i]) : float_to_bf16(values[i]);
        if (dtype_bytes(c->dtype) == 4)
            memcpy((char *)to + 4 * i, &values[i], 4);
        else
            memcpy((char *)to + 2 * i, &half, 2);
    }
    free(values);
}

static size_t count(const struct test_tensor *t)
{
    size_t n = 1;
    for (int i = 0; i < t->n_dims; i++) n *= (size_t)t->shape[i];
    return n;
}

struct test_tensor *checkpoint_add(struct checkpoint *c, const char *name, int n_dims, const uint64_t *shape)
{
    cr_assert_lt(c->n, CHECKPOINT_MAX_TENSORS);
    struct test_tensor *t = &c->tensors[c->n];
    snprintf(c->names[c->n], sizeof c->names[0], "%s", name);
    *t = (struct test_tensor){.name = c->names[c->n++], .dtype = c->dtype, .n_dims = n_dims};
    memcpy(t->shape, shape, (size_t)n_dims * sizeof *shape);
    return t;
}

/* A vector (k == 0) or matrix with values. */
static void add(struct checkpoint *c, int n, int k, const char *format, int layer, const char *suffix)
{
    char name[96];
    snprintf(name, sizeof name, "%s", format);
    if (layer >= 0) snprintf(name, sizeof name, "model.layers.%d.%s%s", layer, format, suffix);
    const uint64_t shape[2] = {(uint64_t)n, (uint64_t)k};
    struct test_tensor *t = checkpoint_add(c, name, k ? 2 : 1, shape);
    void *data = malloc(count(t) * dtype_bytes(c->dtype));
    cr_assert(data);
    encode(c, data, name, count(t));
    t->data = data;
}

static void add_attention(struct checkpoint *c, int l)
{
    add(c, CHECKPOINT_HIDDEN, 0, "input_layernorm", l, ".weight");
    add(c, CHECKPOINT_HIDDEN, 0, "post_attention_layernorm", l, ".weight");
    add(c, CHECKPOINT_Q, CHECKPOINT_HIDDEN, "self_attn.q_proj", l, ".weight");
    add(c, CHECKPOINT_KV, CHECKPOINT_HIDDEN, "self_attn.k_proj", l, ".weight");
    add(c, CHECKPOINT_KV, CHECKPOINT_HIDDEN, "self_attn.v_proj", l, ".weight");
    add(c, CHECKPOINT_HIDDEN, CHECKPOINT_Q, "self_attn.o_proj", l, ".weight");
    if (c->family == MIXTRAL) return;
    add(c, CHECKPOINT_Q, 0, "self_attn.q_proj", l, ".bias");
    add(c, CHECKPOINT_KV, 0, "self_attn.k_proj", l, ".bias");
    add(c, CHECKPOINT_KV, 0, "self_attn.v_proj", l, ".bias");
    if (c->family == LLAMA) add(c, CHECKPOINT_HIDDEN, 0, "self_attn.o_proj", l, ".bias");
}

static void add_mlp(struct checkpoint *c, int l, const char *prefix, int ffn)
{
    char name[64];
    static const char *const parts[3] = {"gate_proj", "up_proj", "down_proj"};
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s.%s", prefix, parts[i]);
        add(c, i < 2 ? ffn : CHECKPOINT_HIDDEN, i < 2 ? CHECKPOINT_HIDDEN : ffn, name, l, ".weight");
        if (c->family == LLAMA) add(c, i < 2 ? ffn : CHECKPOINT_HIDDEN, 0, name, l, ".bias");
    }
}

static const char *const expert_parts[][3] = {
    [QWEN2_MOE] = {"mlp.experts.%d.gate_proj", "mlp.experts.%d.up_proj", "mlp.experts.%d.down_proj"},
    [MIXTRAL] = {"block_sparse_moe.experts.%d.w1", "block_sparse_moe.experts.%d.w3", "block_sparse_moe.experts.%d.w2"},
};

static void add_experts(struct checkpoint *c, int l, enum checkpoint_family family)
{
    char name[64];
    for (int i = 0; i < 3; i++)
        for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
            snprintf(name, sizeof name, expert_parts[family][i], e);
            add(c, i < 2 ? CHECKPOINT_EXPERT_FFN : CHECKPOINT_HIDDEN, i < 2 ? CHECKPOINT_HIDDEN : CHECKPOINT_EXPERT_FFN,
                name, l, ".weight");
        }
}

/* gate_up_proj [experts, 2 ffn, hidden] with the gate's rows first, and down_proj [experts, hidden, ffn]. */
static void add_fused_experts(struct checkpoint *c, int l, enum checkpoint_family family)
{
    static const uint64_t shapes[2][3] = {
        {CHECKPOINT_EXPERTS, 2 * CHECKPOINT_EXPERT_FFN, CHECKPOINT_HIDDEN},
        {CHECKPOINT_EXPERTS, CHECKPOINT_HIDDEN, CHECKPOINT_EXPERT_FFN},
    };
    const size_t matrix = (size_t)CHECKPOINT_EXPERT_FFN * CHECKPOINT_HIDDEN;
    char name[96], part[64];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%s", l, i ? "down_proj" : "gate_up_proj");
        struct test_tensor *t = checkpoint_add(c, name, 3, shapes[i]);
        char *data = malloc(count(t) * dtype_bytes(c->dtype));
        cr_assert(data);
        t->data = data;
        for (int e = 0; e < CHECKPOINT_EXPERTS; e++)
            for (int j = i ? 2 : 0; j < (i ? 3 : 2); j++, data += matrix * dtype_bytes(c->dtype)) {
                snprintf(part, sizeof part, expert_parts[family][j], e);
                snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, part);
                encode(c, data, name, matrix);
            }
    }
}

void checkpoint_edit(struct checkpoint *c, const char *key, const char *value)
{
    int i = 0;
    while (c->edits[i].key && strcmp(c->edits[i].key, key) != 0) i++;
    cr_assert_lt(i + 1, (int)(sizeof c->edits / sizeof *c->edits));
    c->edits[i] = (struct edit){key, value};
}

static void edit_sizes(struct checkpoint *c, enum checkpoint_family family)
{
    static const char *const names[] = {"[\"Qwen2MoeForCausalLM\"]", "[\"MixtralForCausalLM\"]",
                                        "[\"LlamaForCausalLM\"]"};
    checkpoint_edit(c, "architectures", names[family]);
    checkpoint_edit(c, "hidden_size", "24");
    checkpoint_edit(c, "num_hidden_layers", "2");
    checkpoint_edit(c, "num_attention_heads", "2");
    checkpoint_edit(c, "num_key_value_heads", "1");
    checkpoint_edit(c, "head_dim", "12");
    checkpoint_edit(c, "vocab_size", "40");
    checkpoint_edit(c, "num_experts", "6");
    checkpoint_edit(c, "intermediate_size", family == MIXTRAL ? "18" : "40");
    if (family == LLAMA) {
        checkpoint_edit(c, "attention_bias", "true");
        checkpoint_edit(c, "mlp_bias", "true");
    }
    if (family != QWEN2_MOE) return;
    checkpoint_edit(c, "moe_intermediate_size", "18");
    checkpoint_edit(c, "shared_expert_intermediate_size", "20");
}

void checkpoint_create(struct checkpoint *c, enum checkpoint_family family, enum checkpoint_form form,
                       const char *dtype)
{
    *c = (struct checkpoint){.family = family, .head_dim = CHECKPOINT_Q / 2, .dtype = dtype};
    folder_create(&c->folder);
    edit_sizes(c, family);
    add(c, CHECKPOINT_VOCAB, CHECKPOINT_HIDDEN, "model.embed_tokens.weight", -1, "");
    add(c, CHECKPOINT_HIDDEN, 0, "model.norm.weight", -1, "");
    add(c, CHECKPOINT_VOCAB, CHECKPOINT_HIDDEN, "lm_head.weight", -1, "");
    for (int l = 0; l < CHECKPOINT_LAYERS; l++) {
        add_attention(c, l);
        if (family == LLAMA || (family == QWEN2_MOE && l == 1)) {
            add_mlp(c, l, "mlp", CHECKPOINT_FFN);
            continue;
        }
        bool hub_name = family == MIXTRAL && form == EXPERT_BY_EXPERT;
        add(c, CHECKPOINT_EXPERTS, CHECKPOINT_HIDDEN, hub_name ? "block_sparse_moe.gate" : "mlp.gate", l, ".weight");
        if (form == FUSED_EXPERTS)
            add_fused_experts(c, l, family);
        else
            add_experts(c, l, family);
        if (family == MIXTRAL) continue;
        add_mlp(c, l, "mlp.shared_expert", CHECKPOINT_SHARED_FFN);
        add(c, 1, CHECKPOINT_HIDDEN, "mlp.shared_expert_gate", l, ".weight");
    }
}

struct test_tensor *checkpoint_tensor(struct checkpoint *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->tensors[i].name, name) == 0) return &c->tensors[i];
    cr_assert_fail("the checkpoint has no %s", name);
    return NULL;
}

void checkpoint_drop(struct checkpoint *c, const char *name)
{
    struct test_tensor *t = checkpoint_tensor(c, name);
    free((void *)t->data);
    *t = c->tensors[--c->n]; /* the last one takes its place, with its name */
    t->name = memmove(c->names[t - c->tensors], c->names[c->n], sizeof c->names[0]);
}

void checkpoint_write(struct checkpoint *c)
{
    config_write(&c->folder, c->edits);
    folder_write_tensors(&c->folder, "model.safetensors", c->tensors, (size_t)c->n);
}

/* ---- the same as GGUF -------------------------------------------------------------------------------------------- */

static const char *const gguf_names[][2] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"rope_freqs", "rope_freqs"},
};
static const char *const gguf_experts[3] = {"ffn_gate", "ffn_up", "ffn_down"};

struct gguf_list {
    struct gguf_tensor {
        char name[64];
        int n_dims;
        uint64_t shape[4];
        enum dtype dtype;
        unsigned char *data; /* owned */
        size_t bytes;
    } tensors[CHECKPOINT_MAX_TENSORS];
    size_t n;
};

static enum dtype dtype_of(const struct test_tensor *t)
{
    enum dtype dtype;
    cr_assert(dtype_from_name(t->dtype, strlen(t->dtype), &dtype));
    return dtype;
}

/* A new tensor for the file, zeros; `leading` experts, if not 0, of the shape of t with its rows times `times`. */
static struct gguf_tensor *list_tensor(struct gguf_list *list, const struct test_tensor *t, int leading, int times)
{
    cr_assert_lt(list->n, (size_t)CHECKPOINT_MAX_TENSORS);
    struct gguf_tensor *out = &list->tensors[list->n++];
    *out = (struct gguf_tensor){.dtype = dtype_of(t)};
    if (leading) out->shape[out->n_dims++] = (uint64_t)leading;
    for (int i = 0; i < t->n_dims; i++) out->shape[out->n_dims++] = t->shape[i] * (uint64_t)(i == 0 ? times : 1);
    out->bytes = dtype_info(out->dtype)->bytes_per_block;
    for (int i = 0; i < out->n_dims; i++) out->bytes *= (size_t)out->shape[i];
    out->data = calloc(out->bytes, 1);
    cr_assert(out->data);
    return out;
}

static size_t bytes_of(const struct test_tensor *t) { return count(t) * dtype_info(dtype_of(t))->bytes_per_block; }

static void copy_data(unsigned char *to, const struct test_tensor *t)
{
    if (t->data) memcpy(to, t->data, bytes_of(t));
}

/* Row 2i of a head is row i of the folder, and row 2i + 1 is row i + half. */
static void reorder_rows(struct gguf_tensor *t, int head_dim)
{
    const size_t n = (size_t)t->shape[0], row = t->bytes / n;
    unsigned char *old = malloc(t->bytes);
    cr_assert(old);
    memcpy(old, t->data, t->bytes);
    for (size_t r = 0; r + (size_t)head_dim <= n; r += (size_t)head_dim)
        for (size_t i = 0; i < (size_t)head_dim; i++)
            memcpy(t->data + (r + i) * row, old + (r + i / 2 + i % 2 * (size_t)head_dim / 2) * row, row);
    free(old);
}

/* Expert 0 of a matrix brings in all of them; the others are there then. */
static void list_experts(struct checkpoint *c, struct gguf_list *list, enum gguf_form form, int l, int matrix)
{
    const bool merged = form == GGUF_MERGED && matrix < 2;
    struct gguf_tensor *out = NULL;
    if (merged && matrix == 1) return; /* came with the gate */
    for (int e = 0; e < CHECKPOINT_EXPERTS; e++)
        for (int half = 0; half < (merged ? 2 : 1); half++) {
            char part[64], name[96];
            snprintf(part, sizeof part, expert_parts[c->family][matrix + half], e);
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, part);
            const struct test_tensor *t = checkpoint_tensor(c, name);
            if (form == GGUF_EXPERT_BY_EXPERT) {
                out = list_tensor(list, t, 0, 1);
                snprintf(out->name, sizeof out->name, "blk.%d.%s.%d.weight", l, gguf_experts[matrix], e);
                copy_data(out->data, t);
                continue;
            }
            if (!out) {
                out = list_tensor(list, t, CHECKPOINT_EXPERTS, merged ? 2 : 1);
                snprintf(out->name, sizeof out->name, "blk.%d.%s_exps.weight", l,
                         merged ? "ffn_gate_up" : gguf_experts[matrix]);
            }
            copy_data(out->data + (size_t)(e * (merged ? 2 : 1) + half) * bytes_of(t), t);
        }
}

static void list_one(struct checkpoint *c, struct gguf_list *list, enum gguf_form form, const struct test_tensor *t)
{
    char part[96];
    int l = -1, at = 0;
    if (sscanf(t->name, "model.layers.%d.%n", &l, &at) < 1) at = 0;
    snprintf(part, sizeof part, "%s", t->name + at);
    char *suffix = strrchr(part, '.');
    *suffix++ = 0;
    for (int i = 0; i < 3 && c->family != LLAMA; i++)
        for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
            char expert[64];
            snprintf(expert, sizeof expert, expert_parts[c->family][i], e);
            if (strcmp(part, expert) != 0) continue;
            if (e == 0) list_experts(c, list, form, l, i);
            return;
        }
    for (size_t i = 0; i < sizeof gguf_names / sizeof *gguf_names; i++) {
        if (strcmp(gguf_names[i][0], part) != 0) continue;
        struct gguf_tensor *out = list_tensor(list, t, 0, 1);
        if (l >= 0)
            snprintf(out->name, sizeof out->name, "blk.%d.%s.%s", l, gguf_names[i][1], suffix);
        else
            snprintf(out->name, sizeof out->name, "%s.%s", gguf_names[i][1], suffix);
        copy_data(out->data, t);
        const bool rotated = strstr(part, "q_proj") || strstr(part, "k_proj");
        if (rotated && c->family != QWEN2_MOE) reorder_rows(out, c->head_dim);
        if (strcmp(part, "mlp.shared_expert_gate") == 0 && out->n_dims == 2 && out->shape[0] == 1) {
            out->n_dims = 1;
            out->shape[0] = out->shape[1];
        }
        return;
    }
    cr_assert_fail("no GGUF name for %s", t->name);
}

static void put_configuration(const struct checkpoint *c, struct gguf_writer *w)
{
    struct archive *a = NULL;
    struct failure f = {0};
    struct model_config config;
    struct generation_config generation;
    cr_assert_eq((int)archive_open(&a, c->folder.path, ARCHIVE_TENSORS | ARCHIVE_CONFIG, &f), (int)SLUICE_OK, "%s",
                 f.text);
    cr_assert_eq((int)config_read(&config, &generation, a, &f), (int)SLUICE_OK, "%s", f.text);
    config_export(&config, &generation, w);
    config_free(&config);
    archive_close(&a);
}

void checkpoint_write_gguf(struct checkpoint *c, enum gguf_form form)
{
    static struct gguf_list list;
    struct gguf_writer *w = NULL;
    struct failure f = {0};
    list.n = 0;
    checkpoint_write(c);
    remove(folder_path(&c->folder, "model.gguf")); /* the writer replaces nothing */
    cr_assert_eq((int)gguf_writer_create(&w, folder_path(&c->folder, "model.gguf"), &f), (int)SLUICE_OK, "%s", f.text);
    put_configuration(c, w);
    for (int i = 0; i < c->n; i++) list_one(c, &list, form, &c->tensors[i]);
    for (size_t i = 0; i < list.n; i++)
        gguf_add_tensor(w, list.tensors[i].name, list.tensors[i].dtype, list.tensors[i].n_dims, list.tensors[i].shape);
    cr_assert_eq((int)gguf_begin_data(w, &f), (int)SLUICE_OK, "%s", f.text);
    for (size_t i = 0; i < list.n; i++) {
        cr_assert_eq((int)gguf_write_data(w, i, 0, list.tensors[i].data, list.tensors[i].bytes, &f), (int)SLUICE_OK);
        free(list.tensors[i].data);
    }
    cr_assert_eq((int)gguf_writer_commit(w, &f), (int)SLUICE_OK, "%s", f.text);
    gguf_writer_close(&w);
}

void checkpoint_remove(struct checkpoint *c)
{
    for (int i = 0; i < c->n; i++) free((void *)c->tensors[i].data);
    c->n = 0;
    folder_remove(&c->folder);
}

/* ---- binding ----------------------------------------------------------------------------------------------------- */

static void keep_warning(void *context, const char *text)
{
    struct bound *b = context;
    snprintf(b->warning, sizeof b->warning, "%s", text);
    b->n_warnings++;
}

static void keep_progress(void *context, uint64_t done, uint64_t total)
{
    struct bound *b = context;
    b->progress_done = done;
    b->progress_total = total;
}

struct bind_options bound_options(struct bound *b)
{
    return (struct bind_options){
        .features = cpu_features(NULL),
        .load_weights = true,
        .warning = keep_warning,
        .progress = keep_progress,
        .context = b,
    };
}

void bind_path_with(struct bound *b, const char *path, int n_threads, const struct bind_options *options)
{
    struct archive *a = NULL;
    struct team team;
    *b = (struct bound){0};
    team_init(&team, n_threads);
    b->status = archive_open(&a, path, ARCHIVE_TENSORS | ARCHIVE_CONFIG, &b->failure);
    cr_assert_eq((int)b->status, (int)SLUICE_OK, "%s", b->failure.text);
    b->status = model_bind(&b->model, a, &team, options, &b->failure);
    archive_close(&a);
}

void bind_path(struct bound *b, const char *path, int n_threads, bool load_weights)
{
    struct bind_options options = bound_options(b);
    options.load_weights = load_weights;
    bind_path_with(b, path, n_threads, &options);
}

void bind_golden(struct bound *b, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden/models/%s", SLUICE_TEST_DIR, name);
    bind_path(b, path, 2, true);
    cr_assert_eq((int)b->status, (int)SLUICE_OK, "%s: %s", name, b->failure.text);
}
