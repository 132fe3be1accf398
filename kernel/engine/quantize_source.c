/* Owns what the quantiser reads: the list of tensors of a folder or a GGUF file, and the keys of the new file. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/memory.h"
#include "engine/engine_internal.h"
#include "engine/quantize_parts.h"
#include "model/config_export.h"

/* ---- tensors of a folder ----------------------------------------------------------------------------------------- */

/* One target per matrix or vector; the matrices of a bank are one. */
static sluice_status list_planned(struct source *s, struct failure *f)
{
    const struct model_config *c = &s->config;
    for (size_t i = 0, count; i < s->plan.n; i += count) {
        const struct planned *item = &s->plan.items[i];
        struct plan_gguf_place place;
        count = 1;
        while (item->expert == 0 && i + count < s->plan.n && s->plan.items[i + count].expert == (int)count) count++;
        if (!plan_gguf_tensor(item, c, &place)) {
            if (item->role == ROLE_K_B) continue; /* ROLE_K_B_T says the same */
            return fail(f, SLUICE_UNSUPPORTED,
                        "%s: tensor \"%s\": GGUF files of this architecture have no place for it",
                        item->rows.view->file, item->rows.view->name);
        }
        struct target *t = &s->targets[s->n_targets++];
        *t = (struct target){.parts = &s->rows[i],
                             .n_parts = count,
                             .part_rows = item->rows.n,
                             .k = item->rows.k,
                             .from = item->rows.dtype,
                             .role = item->role,
                             .layer = item->layer,
                             .expert = -1,
                             .expert_rows = item->expert == 0 ? item->rows.n : 0};
        memcpy(t->name, place.name, sizeof place.name);
        memcpy(t->shape, place.shape, sizeof place.shape);
        t->n_dims = place.n_dims;
        t->order = place.order;
        for (size_t e = 0; e < count; e++) s->rows[i + e] = s->plan.items[i + e].rows;
    }
    return SLUICE_OK;
}

/* What GGUF has as a tensor and a folder as keys. */
static sluice_status list_divisors(struct source *s, struct failure *f)
{
    const int n = s->config.rope[ROPE_GLOBAL].n_rot / 2;
    s->divisors = memory_calloc((size_t)n + 1, sizeof *s->divisors);
    if (!s->divisors) return fail_memory(f, archive_name(s->archive));
    if (!config_rope_divisors(&s->config, s->divisors)) return SLUICE_OK;
    struct target *t = &s->targets[s->n_targets++];
    *t = (struct target){.name = "rope_freqs.weight", .n_dims = 1, .from = DTYPE_F32, .role = N_TENSOR_ROLES};
    t->values = s->divisors;
    t->shape[0] = (uint64_t)n;
    return SLUICE_OK;
}

static void warn_unused(const struct source *s, void (*warn)(void *, const char *), void *context)
{
    size_t n = 0, first = 0;
    char text[512], shown[ESCAPED_BYTES];
    for (size_t i = archive_n_tensors(s->archive); i-- > 0;)
        if (!s->plan.used[i] && !plan_is_stray(&s->config, archive_tensor(s->archive, i)->name)) {
            n++;
            first = i;
        }
    if (n == 0) return;
    const char *name = archive_tensor(s->archive, first)->name;
    snprintf(text, sizeof text, "%s: %zu %s not used, for example %s", archive_name(s->archive), n,
             n == 1 ? "tensor is" : "tensors are", escape_text(shown, sizeof shown, name, strlen(name)));
    warn(context, text);
}

static sluice_status make_plan(struct source *s, struct failure *f)
{
    sluice_status status = config_read(&s->config, &s->generation, s->archive, f);
    if (status) return status;
    status = plan_tensors(&s->plan, &s->config, s->archive, f);
    if (status)
        config_free(&s->config);
    else
        s->has_plan = true;
    return status;
}

static void drop_plan(struct source *s)
{
    if (!s->has_plan) return;
    plan_free(&s->plan);
    config_free(&s->config);
    s->has_plan = false;
}

/* Targets from the plan, which is there. */
static sluice_status open_planned(struct source *s, void (*warn)(void *, const char *), void *context,
                                  struct failure *f)
{
    s->rows = memory_calloc(s->plan.n, sizeof *s->rows);
    s->targets = memory_calloc(s->plan.n + 1, sizeof *s->targets);
    if (!s->rows || !s->targets) return fail_memory(f, archive_name(s->archive));
    sluice_status status = list_planned(s, f);
    if (status) return status;
    warn_unused(s, warn, context);
    return list_divisors(s, f);
}

/* ---- tensors of a GGUF file -------------------------------------------------------------------------------------- */

static sluice_status list_view(struct source *s, const struct tensor_view *view, struct failure *f)
{
    struct row_source *rows = &s->rows[s->n_targets];
    struct target *t = &s->targets[s->n_targets++];
    uint64_t n = 1, k = view->shape[view->n_dims - 1];
    *t =
        (struct target){.n_dims = view->n_dims, .from = view->dtype, .raw = view, .role = N_TENSOR_ROLES, .expert = -1};
    snprintf(t->name, sizeof t->name, "%s", view->name);
    for (int i = 0; i < view->n_dims; i++) t->shape[i] = view->shape[i];
    if (!dtype_info(view->dtype)->is_weight) return SLUICE_OK;
    for (int i = 0; i + 1 < view->n_dims; i++)
        if (!checked_mul(&n, n, view->shape[i])) n = UINT64_MAX;
    if (n > INT_MAX || k > INT_MAX)
        return fail(f, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": more than %d rows or columns", view->file, view->name,
                    INT_MAX);
    const int n_rows = (int)n, n_columns = (int)k; /* bounded: just compared */
    *rows = (struct row_source){
        .encoding = ROWS_PLAIN, .dtype = view->dtype, .n = n_rows, .k = n_columns, .view = view, .data = view->data};
    t->raw = NULL;
    t->parts = rows;
    t->n_parts = 1;
    t->part_rows = n_rows;
    t->k = n_columns;
    return SLUICE_OK;
}

/* What each tensor is in the model, for the importance matrix. */
static void find_roles(struct source *s)
{
    const struct tensor_view *first = archive_tensor(s->archive, 0);
    for (size_t i = 0; i < s->plan.n; i++) {
        const struct planned *item = &s->plan.items[i];
        struct target *t = &s->targets[item->rows.view - first];
        t->role = item->role;
        t->layer = item->layer;
        if (item->expert < 0) continue;
        if (t->n_dims == 3)
            t->expert_rows = (int)t->shape[1]; /* bounded: list_view compared the rows of all with INT_MAX */
        else
            t->expert = item->expert;
    }
}

/* One tensor per expert, as llama.cpp wrote once and no longer reads; gate and up in one, as it reads in some
 * architectures. */
enum experts_layout { EXPERTS_STACKED, EXPERTS_MERGED, EXPERTS_APART };

static enum experts_layout experts_layout(const struct archive *a)
{
    enum experts_layout layout = EXPERTS_STACKED;
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const char *name = archive_tensor(a, i)->name;
        if (strstr(name, ".ffn_gate.0.")) return EXPERTS_APART;
        if (strstr(name, ".ffn_gate_up_exps.")) layout = EXPERTS_MERGED;
    }
    return layout;
}

static sluice_status open_gguf(struct source *s, bool want_roles, void (*warn)(void *, const char *), void *context,
                               struct failure *f)
{
    const size_t n = archive_n_tensors(s->archive);
    const enum experts_layout layout = experts_layout(s->archive);
    if (layout != EXPERTS_STACKED) { /* of an architecture that is known they become stacked ones */
        struct failure unknown = {0};
        const sluice_status planned = make_plan(s, &unknown);
        /* Being short of memory says nothing about the architecture: the file would get another layout. */
        if (planned == SLUICE_MEMORY || planned == SLUICE_IO) return fail(f, planned, "%s", unknown.text);
        if (!planned && !s->config.rope[ROPE_GLOBAL].has_divisors) return open_planned(s, warn, context, f);
        drop_plan(s);
        if (layout == EXPERTS_APART)
            warn(context, "the experts keep a layout that other programs may not read any more");
    }
    s->rows = memory_calloc(n, sizeof *s->rows);
    s->targets = memory_calloc(n, sizeof *s->targets);
    if (!s->rows || !s->targets) return fail_memory(f, archive_name(s->archive));
    for (size_t i = 0; i < n; i++) {
        sluice_status status = list_view(s, archive_tensor(s->archive, i), f);
        if (status) return status;
    }
    if (!want_roles) return SLUICE_OK;
    sluice_status status = make_plan(s, f);
    if (!status) find_roles(s);
    return status;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

/* What belongs to no layer, then the layers; by name within. */
static int compare_targets(const void *left, const void *right)
{
    const struct target *a = left, *b = right;
    int la = tensor_layer(a->name), lb = tensor_layer(b->name);
    if (la != lb) return la < lb ? -1 : 1;
    return strcmp(a->name, b->name);
}

sluice_status source_open(struct source *s, const char *path, bool want_roles, void (*warn)(void *, const char *),
                          void *context, struct failure *f)
{
    *s = (struct source){0};
    sluice_status status = archive_open(&s->archive, path, ARCHIVE_TENSORS | ARCHIVE_CONFIG, f);
    if (status) return status;
    if (archive_warning(s->archive)) warn(context, archive_warning(s->archive));
    if (archive_format(s->archive) == ARCHIVE_GGUF)
        status = open_gguf(s, want_roles, warn, context, f);
    else if (!(status = make_plan(s, f)))
        status = open_planned(s, warn, context, f);
    if (!status && s->n_targets == 0)
        status = fail(f, SLUICE_FORMAT, "%s: there are no tensors", archive_name(s->archive));
    if (status)
        source_close(s);
    else
        qsort(s->targets, s->n_targets, sizeof *s->targets, compare_targets);
    return status;
}

void source_close(struct source *s)
{
    drop_plan(s);
    memory_free(s->targets);
    memory_free(s->rows);
    memory_free(s->divisors);
    archive_close(&s->archive);
    *s = (struct source){0};
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

enum { QUANTIZATION_VERSION = 2 }; /* of the blocks' layouts, as llama.cpp counts */

static void put_flag(struct gguf_writer *w, const char *key, int value)
{
    if (value >= 0) gguf_put_bool(w, key, value != 0);
}

static void put_id(struct gguf_writer *w, const char *key, int32_t id)
{
    if (id >= 0) gguf_put_u32(w, key, (uint32_t)id);
}

static void put_vocab(struct gguf_writer *w, const struct vocab_source *v)
{
    gguf_put_text(w, "tokenizer.ggml.model", v->model);
    if (v->pre) gguf_put_text(w, "tokenizer.ggml.pre", v->pre);
    gguf_put_strings(w, "tokenizer.ggml.tokens", v->tokens, v->token_lengths, v->n_tokens);
    if (v->scores) gguf_put_f32s(w, "tokenizer.ggml.scores", v->scores, v->n_tokens);
    if (v->types) gguf_put_i32s(w, "tokenizer.ggml.token_type", v->types, v->n_tokens);
    if (v->n_merges) gguf_put_strings(w, "tokenizer.ggml.merges", v->merges, v->merge_lengths, v->n_merges);
    put_id(w, "tokenizer.ggml.bos_token_id", v->bos);
    put_id(w, "tokenizer.ggml.unknown_token_id", v->unknown);
    put_id(w, "tokenizer.ggml.padding_token_id", v->padding);
    put_flag(w, "tokenizer.ggml.add_bos_token", v->add_bos);
    put_flag(w, "tokenizer.ggml.add_eos_token", v->add_eos);
    put_flag(w, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
}

/* The configuration's end tokens come first (config_export); GGUF has a second key for models that end at several. */
static void put_end_tokens(struct gguf_writer *w, const struct model_config *c, int32_t eos)
{
    if (c->n_end_tokens == 0) put_id(w, "tokenizer.ggml.eos_token_id", eos);
    if (c->n_end_tokens > 1) put_id(w, "tokenizer.ggml.eot_token_id", c->end_tokens[1]);
}

static sluice_status put_tokenizer(const struct source *s, struct gguf_writer *w, void (*warn)(void *, const char *),
                                   void *context, struct failure *f)
{
    size_t n = 0;
    const char *json = archive_text(s->archive, TEXT_TOKENIZER, &n);
    struct vocab *vocab = NULL;
    struct vocab_source described = {.eos = -1};
    bool exact = false;
    sluice_status status = open_folder_vocab(&vocab, s->archive, f);
    if (!status && !vocab) {
        gguf_put_text(w, "tokenizer.ggml.model", "none");
        put_end_tokens(w, &s->config, -1);
        warn(context, "there is no tokenizer.json, so the new file has no tokenizer: it runs with token ids only");
        return SLUICE_OK;
    }
    if (!status) status = vocab_describe(vocab, (size_t)s->config.vocab_size, &described, &exact, f);
    if (!status) {
        put_vocab(w, &described);
        put_end_tokens(w, &s->config, described.eos);
        vocab_source_free(&described);
        if (!exact && !json) {
            warn(context, "GGUF cannot say all that this tokenizer does: some texts may give other tokens");
        } else if (!exact) {
            gguf_put_string(w, "tokenizer.huggingface.json", json, n);
            warn(context, "GGUF cannot say all that this tokenizer does: the new file carries tokenizer.json too, but "
                          "other programs may give other tokens for some texts");
        }
    }
    vocab_free(&vocab);
    return status;
}

/* tokenizer_config.json has one template, or a list of {"name", "template"}; the newer way is a file of its own. */
static void put_chat_template(const struct source *s, struct gguf_writer *w)
{
    static const char key[] = "tokenizer.chat_template";
    size_t n = 0;
    const char *file = archive_text(s->archive, TEXT_CHAT_TEMPLATE, &n);
    struct meta value = archive_meta(s->archive, DOCUMENT_TOKENIZER_CONFIG, "chat_template");
    if (file) {
        gguf_put_string(w, key, file, n);
    } else if (value.kind == META_STRING) {
        gguf_put_string(w, key, value.string, value.n);
    }
    for (size_t i = 0; !file && value.kind == META_ARRAY && i < value.n; i++) {
        struct meta name = meta_member(meta_element(value, i), "name");
        struct meta text = meta_member(meta_element(value, i), "template");
        if (name.kind == META_STRING && text.kind == META_STRING && strcmp(name.string, "default") == 0)
            gguf_put_string(w, key, text.string, text.n);
    }
}

/* Sluice runs every file that it writes; people expect that of other programs as well. */
static void warn_of_peers(const struct source *s, void (*warn)(void *, const char *), void *context)
{
    const struct config_peer_limits limits = config_peer_limits(&s->config);
    char text[256];
    snprintf(text, sizeof text, "llama.cpp will refuse the new file: it does not know %s here", limits.refused);
    if (limits.refused[0]) warn(context, text);
    snprintf(text, sizeof text, "llama.cpp will compute something else with the new file: it ignores %s here",
             limits.ignored);
    if (limits.ignored[0]) warn(context, text);
}

static sluice_status write_folder_keys(const struct source *s, struct gguf_writer *w, uint32_t file_type,
                                       void (*warn)(void *, const char *), void *context, struct failure *f)
{
    char license[LICENSE_BYTES];
    config_export(&s->config, &s->generation, w);
    warn_of_peers(s, warn, context);
    gguf_put_text(w, "general.type", "model");
    gguf_put_text(w, "general.name", archive_name(s->archive));
    read_license(license, s->archive);
    if (license[0]) gguf_put_text(w, "general.license", license);
    gguf_put_u32(w, "general.file_type", file_type);
    gguf_put_u32(w, "general.quantization_version", QUANTIZATION_VERSION);
    sluice_status status = put_tokenizer(s, w, warn, context, f);
    if (!status) put_chat_template(s, w);
    return status;
}

sluice_status source_write_keys(const struct source *s, struct gguf_writer *w, uint32_t file_type,
                                void (*warn)(void *, const char *), void *context, struct failure *f)
{
    struct meta value;
    const char *key;
    if (archive_format(s->archive) != ARCHIVE_GGUF) return write_folder_keys(s, w, file_type, warn, context, f);
    for (size_t i = 0; (key = archive_gguf_key(s->archive, i, &value)); i++)
        if (strncmp(key, "split.", 6) != 0) gguf_put_meta(w, key, value);
    gguf_put_u32(w, "general.file_type", file_type);
    gguf_put_u32(w, "general.quantization_version", QUANTIZATION_VERSION);
    return SLUICE_OK;
}
