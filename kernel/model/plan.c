/* Owns the search: archive + rules of the architecture -> list of matrices and vectors, each a row_source.
 *
 * Walks the rules layer by layer, finds every tensor and checks its shape and type. Missing tensors are collected and
 * named at once; what is there and wrong ends the search. */
#include "model/plan.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/memory.h"
#include "model/config_parts.h"

enum {
    NAME_BYTES = 256,    /* of a tensor's name by our rules */
    TILE = 128,          /* FP8: one scale for so many rows and columns */
    MX_BLOCK = 32,       /* MXFP4: one scale for so many elements, in ... */
    MX_BYTES = 16,       /* ... so many bytes */
    MAX_ITEMS = 1048576, /* each takes 400 bytes while a model is opened; released models have below 100,000 */
};

static const char FP8_SCALES[] = "_scale_inv", MX_BLOCKS[] = "_blocks", MX_SCALES[] = "_scales";

struct planner {
    struct plan *plan;
    const struct model_config *config;
    const struct archive *archive;
    struct failure *failure;
    bool is_gguf;
    const char *prefix; /* what this folder has for "model." */
    size_t cap;
    char missing[2048];
    size_t n_missing;    /* matrices and vectors that cannot be planned */
    bool missing_is_cut; /* some names found no room */
};

/* ---- what a rule asks for ---------------------------------------------------------------------------------------- */

/* No product overflows: config_check.c compared heads and their widths with MAX_HEADS and MAX_HEAD_DIM, 2^10 both. */
static int size_of(const struct model_config *c, const struct layer_config *layer, enum tensor_size size)
{
    const struct mixer *m = &layer->mixer;
    const int n_rot = c->rope[m->rope].n_rot;
    const int keys = m->n_key_heads * m->head_dim;       /* bounded: heads */
    const int values = m->n_value_heads * m->v_head_dim; /* bounded: heads */
    switch (size) {
    case SIZE_NONE:
    case SIZE_ONE: return 1;
    case SIZE_HIDDEN: return c->hidden_size;
    case SIZE_VOCAB: return c->vocab_size;
    case SIZE_Q: return m->n_heads * m->head_dim * (m->output_gate ? 2 : 1); /* bounded: heads */
    case SIZE_Q_IN: return m->q_lora_rank > 0 ? m->q_lora_rank : c->hidden_size;
    case SIZE_KV: return m->n_kv_heads * m->head_dim; /* bounded: heads */
    case SIZE_MIXED:
        if (m->kind == MIX_CONV) return c->hidden_size;
        return m->kind == MIX_DELTA ? values : m->n_heads * m->v_head_dim; /* bounded: heads */
    case SIZE_HEAD: return m->head_dim;
    case SIZE_HEADS: return m->n_heads;
    case SIZE_Q_LORA: return m->q_lora_rank;
    case SIZE_KV_LORA: return m->kv_lora_rank;
    case SIZE_KV_A: return m->kv_lora_rank + n_rot;
    case SIZE_NOPE: return m->head_dim - n_rot;
    case SIZE_V_HEAD: return m->v_head_dim;
    case SIZE_DELTA_QKV: return 2 * keys + values;
    case SIZE_VALUES: return values;
    case SIZE_VALUE_HEADS: return m->n_value_heads;
    case SIZE_TWICE_VALUE_HEADS: return 2 * m->n_value_heads;
    case SIZE_CONV: return m->kind == MIX_CONV ? c->hidden_size : 2 * keys + values;
    case SIZE_TAPS: return m->conv_kernel;
    case SIZE_CONV_IN: return 3 * c->hidden_size;
    case SIZE_FFN: return layer->ffn.intermediate_size;
    case SIZE_EXPERT_FFN: return layer->ffn.expert_size;
    case SIZE_SHARED_FFN: return layer->ffn.shared_size;
    case SIZE_EXPERTS: return layer->router.n_experts;
    }
    return 0;
}

static bool is_needed(const struct model_config *c, const struct layer_config *layer, enum tensor_need need)
{
    const struct mixer *m = &layer->mixer;
    const bool gqa = m->kind == MIX_GQA, mla = m->kind == MIX_MLA, delta = m->kind == MIX_DELTA;
    const bool moe = ffn_has_experts(&layer->ffn);
    switch (need) {
    case NEED_ALWAYS: return true;
    case NEED_UNLESS_TIED: return !c->tied_embeddings;
    case NEED_POST_NORMS: return layer->post_norms;
    case NEED_LAYER_SCALE: return layer->layer_scale;
    case NEED_GQA: return gqa;
    case NEED_V: return gqa && !m->v_is_k;
    case NEED_MLA: return mla;
    case NEED_DIRECT_Q: return gqa || (mla && m->q_lora_rank == 0);
    case NEED_Q_LORA: return mla && m->q_lora_rank > 0;
    case NEED_DELTA: return delta;
    case NEED_FUSED_BA: return delta && m->fused_ba;
    case NEED_SPLIT_BA: return delta && !m->fused_ba;
    case NEED_CONV: return m->kind == MIX_CONV;
    case NEED_DENSE: return ffn_has_mlp(&layer->ffn);
    case NEED_MOE: return moe;
    case NEED_BOTH: return layer->ffn.kind == FFN_DENSE_AND_MOE;
    case NEED_SHARED: return moe && layer->ffn.shared != SHARED_NONE;
    case NEED_SHARED_SWITCH: return moe && layer->ffn.shared == SHARED_GATED;
    case NEED_QKV_BIAS: return gqa && m->qkv_bias;
    case NEED_OUTPUT_BIAS: return m->output_bias;
    case NEED_MLP_BIAS: return ffn_has_mlp(&layer->ffn) && layer->ffn.bias;
    case NEED_EXPERT_BIAS: return moe && layer->ffn.expert_bias;
    case NEED_ROUTER_BIAS: return moe && layer->router.bias;
    case NEED_SELECTION_BIAS: return moe && layer->router.selection_bias;
    case NEED_ROUTER_SCALE: return moe && layer->router.input == INPUT_RESIDUAL;
    case NEED_EXPERT_SCALE: return moe && layer->router.expert_scale;
    case NEED_SINKS: return m->sinks;
    case NEED_HEAD_NORM: return gqa && m->qk_norm == QK_NORM_PER_HEAD;
    case NEED_FULL_NORM: return gqa && m->qk_norm == QK_NORM_FULL;
    }
    return false;
}

/* Replaces {l} and {e} in a name pattern. */
static void expand_pattern(char *out, size_t cap, const char *pattern, int l, const char *e)
{
    size_t n = strlen(out);
    for (const char *p = pattern; *p && n + 16 < cap;) {
        if (strncmp(p, "{l}", 3) == 0) {
            n += (size_t)snprintf(out + n, cap - n, "%d", l);
            p += 3;
        } else if (strncmp(p, "{e}", 3) == 0) {
            n += (size_t)snprintf(out + n, cap - n, "%s", e);
            p += 3;
        } else {
            out[n++] = *p++;
        }
    }
    out[n] = 0;
}

/* Models that read text only, and where wrappers that see and hear have the same tensors. Names begin as in the first
 * row in our rules. */
static const char MODEL[] = "model.", HEAD[] = "lm_head.", WRAPPED_HEAD[] = "language_model.lm_head.";
static const char *const wrappers[] = {"model.language_model.", "language_model.model."};

static bool begins(const char *name, const char *with) { return strncmp(name, with, strlen(with)) == 0; }

static const char *find_prefix(const struct archive *a)
{
    for (size_t w = 0; w < sizeof wrappers / sizeof *wrappers; w++)
        for (size_t i = 0; i < archive_n_tensors(a); i++)
            if (begins(archive_tensor(a, i)->name, wrappers[w])) return wrappers[w];
    return MODEL;
}

/* The name that a rule means in this archive. */
static void expand_name(const struct planner *p, char *out, size_t cap, const char *pattern, int l, const char *e)
{
    out[0] = 0;
    if (begins(pattern, MODEL)) {
        snprintf(out, cap, "%s", p->prefix);
        pattern += strlen(MODEL);
    } else if (begins(pattern, HEAD) && archive_find(p->archive, "language_model.lm_head.weight")) {
        snprintf(out, cap, "%s", WRAPPED_HEAD);
        pattern += strlen(HEAD);
    }
    expand_pattern(out, cap, pattern, l, e);
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

/* A tensor, maybe with a second one that holds its scales. */
struct found {
    enum rows_encoding encoding;
    const struct tensor_view *view;   /* NULL: there is none */
    const struct tensor_view *scales; /* NULL although the encoding needs them: missing */
    const char *scales_suffix;        /* their name is the rule's with this, and MXFP4 has no tensor of that name */
};

static const struct tensor_view *find_with(const struct planner *p, const char *name, const char *suffix)
{
    char whole[NAME_BYTES + 16];
    snprintf(whole, sizeof whole, "%s%s", name, suffix);
    return archive_find(p->archive, whole);
}

static bool is_rows_of_slices(enum tensor_transform t)
{
    return t == SLICE_EXPERTS || t == SLICE_FIRST_HALF || t == SLICE_SECOND_HALF || t == SLICE_EVEN_ROWS ||
           t == SLICE_ODD_ROWS;
}

static struct found find(const struct planner *p, const struct tensor_rule *rule, const char *name)
{
    struct found found = {.view = archive_find(p->archive, name)};
    if (found.view && found.view->dtype == DTYPE_F8_E4M3 && rule->k != SIZE_NONE) {
        found.encoding = ROWS_FP8_BLOCKS;
        found.scales_suffix = FP8_SCALES;
    } else if (!found.view && rule->k != SIZE_NONE && is_rows_of_slices(rule->transform) &&
               (found.view = find_with(p, name, MX_BLOCKS))) {
        found.encoding = ROWS_MXFP4_PAIRS;
        found.scales_suffix = MX_SCALES;
    }
    if (found.scales_suffix) found.scales = find_with(p, name, found.scales_suffix);
    return found;
}

static struct found find_expert(const struct planner *p, const struct tensor_rule *rule, int l, int e)
{
    char name[NAME_BYTES], number[16];
    snprintf(number, sizeof number, "%d", e);
    expand_name(p, name, sizeof name, rule->name, l, number);
    return find(p, rule, name);
}

static bool lacks_scales(const struct found *found) { return found->encoding != ROWS_PLAIN && !found->scales; }

/* Several matrices may lie in one tensor, which is named once. */
static bool is_noted(const struct planner *p, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = strstr(p->missing, name); at; at = strstr(at + 1, name))
        if ((at == p->missing || at[-1] == ' ') && (at[n] == 0 || at[n] == ',')) return true;
    return false;
}

static void note_missing(struct planner *p, const char *name, const char *suffix)
{
    char whole[NAME_BYTES + 16];
    size_t n = strlen(p->missing);
    snprintf(whole, sizeof whole, "%s%s", name, suffix);
    p->n_missing++;
    if (is_noted(p, whole)) return;
    if (n + strlen(whole) + 3 < sizeof p->missing)
        snprintf(p->missing + n, sizeof p->missing - n, "%s%s", n ? ", " : "", whole);
    else
        p->missing_is_cut = true;
}

/* What of expert e is missing: NULL nothing, "" the tensor, else the suffix of the one with its scales. */
static const char *missing_part(const struct planner *p, const struct tensor_rule *rule, int l, int e)
{
    const struct found found = find_expert(p, rule, l, e);
    return !found.view ? "" : lacks_scales(&found) ? found.scales_suffix : NULL;
}

/* Missing experts of one layer are named as ranges: model.layers.3.mlp.experts.{4..7}.up_proj.weight. */
static void note_missing_experts(struct planner *p, const struct tensor_rule *rule, int l, int n_experts)
{
    char name[NAME_BYTES], range[48];
    for (int e = 0; e < n_experts && !p->missing_is_cut; e++) {
        const char *part = missing_part(p, rule, l, e);
        if (!part) continue;
        int last = e;
        while (last + 1 < n_experts && missing_part(p, rule, l, last + 1) == part) last++;
        snprintf(range, sizeof range, e == last ? "%d" : "{%d..%d}", e, last);
        expand_name(p, name, sizeof name, rule->name, l, range);
        note_missing(p, name, part);
        e = last;
    }
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static void put_shape(char *out, size_t cap, const uint64_t *shape, int n_dims)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < n_dims && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%llu", i ? "," : "", (unsigned long long)shape[i]);
}

static sluice_status check_shape(struct planner *p, const struct tensor_view *view, const uint64_t *shape, int n_dims)
{
    char found[200], expected[120];
    bool equal = view->n_dims == n_dims;
    for (int i = 0; equal && i < n_dims; i++) equal = view->shape[i] == shape[i];
    if (equal) return SLUICE_OK;
    put_shape(found, sizeof found, view->shape, view->n_dims);
    put_shape(expected, sizeof expected, shape, n_dims);
    return fail(p->failure, SLUICE_FORMAT, "%s: tensor \"%s\": shape [%s], expected [%s]", view->file, view->name,
                found, expected);
}

static sluice_status wrong_type(struct planner *p, const struct tensor_view *view, const char *expected)
{
    return fail(p->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": type %s, expected %s", view->file, view->name,
                dtype_info(view->dtype)->name, expected);
}

static sluice_status check_floats(struct planner *p, const struct tensor_view *view)
{
    return dtype_info(view->dtype)->is_float ? SLUICE_OK : wrong_type(p, view, "F32, F16 or BF16");
}

static sluice_status check_bytes(struct planner *p, const struct tensor_view *view)
{
    return view->dtype == DTYPE_U8 ? SLUICE_OK : wrong_type(p, view, "U8");
}

/* Checks a tensor of matrices [n, k]: one, or `n_slices` > 0 of them. */
static sluice_status check_matrix(struct planner *p, const struct found *found, int n_slices, int n, int k)
{
    const int slices = n_slices > 0; /* dimensions before the rows */
    uint64_t shape[4] = {(uint64_t)n_slices}, scales[4] = {(uint64_t)n_slices};
    sluice_status s = SLUICE_OK;
    shape[slices] = (uint64_t)n;
    shape[slices + 1] = (uint64_t)k;
    switch (found->encoding) {
    case ROWS_FP8_BLOCKS:
        scales[slices] = ((uint64_t)n + TILE - 1) / TILE;
        scales[slices + 1] = ((uint64_t)k + TILE - 1) / TILE;
        s = check_shape(p, found->view, shape, slices + 2);
        if (!s) s = check_shape(p, found->scales, scales, slices + 2);
        return s ? s : check_floats(p, found->scales);
    case ROWS_MXFP4_PAIRS:
        if (k % MX_BLOCK)
            return fail(p->failure, SLUICE_UNSUPPORTED,
                        "%s: tensor \"%s\": rows of %d elements, expected whole blocks of %d", found->view->file,
                        found->view->name, k, MX_BLOCK);
        shape[slices + 1] = scales[slices + 1] = (uint64_t)k / MX_BLOCK;
        scales[slices] = shape[slices];
        shape[slices + 2] = MX_BYTES;
        s = check_shape(p, found->view, shape, slices + 3);
        if (!s) s = check_shape(p, found->scales, scales, slices + 2);
        if (!s) s = check_bytes(p, found->view);
        return s ? s : check_bytes(p, found->scales);
    default:
        s = check_shape(p, found->view, shape, slices + 2);
        if (s || dtype_info(found->view->dtype)->is_weight) return s;
        return wrong_type(p, found->view, p->is_gguf ? "a type of weights, such as F16 or Q8_0" : "F32, F16 or BF16");
    }
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static void mark_used(struct planner *p, const struct tensor_view *view)
{
    if (view) p->plan->used[view - archive_tensor(p->archive, 0)] = true;
}

static sluice_status add_item(struct planner *p, const struct planned *item)
{
    struct plan *plan = p->plan;
    if (plan->n == MAX_ITEMS)
        return fail(p->failure, SLUICE_FORMAT, "%s: more than %d matrices and vectors, experts counted one by one",
                    archive_name(p->archive), MAX_ITEMS);
    if (plan->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 256;
        struct planned *grown = memory_realloc(plan->items, cap * sizeof *grown);
        if (!grown) return fail_memory(p->failure, archive_name(p->archive));
        plan->items = grown;
        p->cap = cap;
    }
    plan->items[plan->n++] = *item;
    mark_used(p, item->rows.view);
    mark_used(p, item->rows.scales);
    return SLUICE_OK;
}

/* ---- where a matrix lies in its tensor --------------------------------------------------------------------------- */

/* How a rule's matrices (or vectors) lie in one tensor. */
struct placement {
    int slices;          /* leading dimension of the tensor; 0: it has none */
    int rows, columns;   /* of the tensor, or of each slice */
    int count;           /* matrices in the model; 0: one, of no bank */
    int first, distance; /* matrix i begins in row first + i * distance (all in slice 0), or in row first of slice i */
    bool transposed;
    struct row_order order, columns_order;
    enum rows_value value;
};

static struct row_order strided(int unit, int part, int skip)
{
    return (struct row_order){.kind = ORDER_STRIDED, .unit = unit, .part = part, .skip = skip};
}

/* Heads of `part` rows after `skip` others: grouped by key head in the file, tiled in the model. */
static struct row_order tiled(const struct mixer *m, int skip, int part)
{
    const int per_key_head = m->n_value_heads / m->n_key_heads, unit = per_key_head * part; /* bounded: heads */
    return (struct row_order){
        .kind = ORDER_TILED, .unit = unit, .part = part, .skip = skip, .n_groups = m->n_key_heads};
}

/* Of each `head` rows the last n_rot rotate. */
static struct row_order pairs(int head, int n_rot)
{
    return (struct row_order){.kind = ORDER_PAIRS, .unit = head, .part = n_rot, .skip = head - n_rot};
}

static bool is_of_heads(enum tensor_role role) { return role == ROLE_K_B || role == ROLE_K_B_T || role == ROLE_V_B; }

static struct row_order rotated_order(const struct model_config *c, const struct layer_config *lc,
                                      const struct tensor_rule *rule, bool is_gguf)
{
    const enum tensor_role role = rule->role;
    const bool rotates = role == ROLE_Q || role == ROLE_K || role == ROLE_Q_BIAS || role == ROLE_K_BIAS;
    if (rule->transform == PAIRS_TO_HALVES)
        return pairs(role == ROLE_KV_A ? size_of(c, lc, rule->n) : lc->mixer.head_dim, c->rope[lc->mixer.rope].n_rot);
    if (rotates && is_gguf && c->arch->gguf_rope_pairs) return pairs(lc->mixer.head_dim, lc->mixer.head_dim);
    return (struct row_order){0};
}

/* A bank in slices: matrix i [n, k] is slice i, or some rows of it, or (transposed) some columns. */
static struct placement place_slices(enum tensor_transform transform, int bank, int n, int k)
{
    struct placement at = {.slices = bank, .rows = n, .columns = k, .count = bank};
    if (transform == SLICE_FIRST_HALF || transform == SLICE_SECOND_HALF || transform == SLICE_EVEN_ROWS ||
        transform == SLICE_ODD_ROWS)
        at.rows = 2 * n;
    if (transform == SLICE_COLUMNS || transform == SLICE_EVEN_COLUMNS || transform == SLICE_ODD_COLUMNS ||
        transform == HEADS_TRANSPOSED) {
        at.rows = k;
        at.columns = n;
        at.transposed = true;
    }
    if (transform == SLICE_EVEN_COLUMNS || transform == SLICE_ODD_COLUMNS) at.columns = 2 * n;
    if (transform == SLICE_SECOND_HALF) at.first = n;
    if (transform == SLICE_EVEN_ROWS || transform == SLICE_EVEN_COLUMNS) at.order = strided(2, 1, 0);
    if (transform == SLICE_ODD_ROWS || transform == SLICE_ODD_COLUMNS) at.order = strided(2, 1, 1);
    return at;
}

/* Per head its keys' rows, then its values'. */
static struct placement place_keys_values(enum tensor_transform transform, const struct mixer *m, int nope, int n,
                                          int k)
{
    const bool transposed = transform == HEAD_KEYS_TRANSPOSED;
    const int distance = nope + m->v_head_dim;
    return (struct placement){
        .rows = m->n_heads * distance, /* bounded: heads */
        .columns = transposed ? n : k,
        .count = m->n_heads,
        .first = transform == HEAD_VALUES ? nope : 0,
        .distance = distance,
        .transposed = transposed,
    };
}

/* Per key head a group of rows: its query, its key, its value heads, their z. */
static struct placement place_grouped(enum tensor_transform transform, const struct mixer *m, int k)
{
    const int values = m->n_value_heads / m->n_key_heads * m->v_head_dim; /* rows per key head. bounded: heads */
    const int keys = 2 * m->head_dim, group = keys + 2 * values;
    struct placement at = {.rows = m->n_key_heads * group, .columns = k}; /* bounded: heads */
    if (transform == GROUPED_QKV)
        at.order = (struct row_order){ORDER_GROUPED, group, values, m->head_dim, m->n_key_heads};
    else
        at.order = strided(group, values, keys + values);
    return at;
}

static struct placement place(const struct planner *p, const struct tensor_rule *rule, const struct layer_config *lc)
{
    const struct mixer *m = &lc->mixer;
    const int n = size_of(p->config, lc, rule->n), k = size_of(p->config, lc, rule->k);
    struct placement at = {.rows = n, .columns = k}; /* the tensor is the matrix */
    switch (rule->transform) {
    case COPY:
    case FLAT:
    case CONV:
    case PAIRS_TO_HALVES: at.order = rotated_order(p->config, lc, rule, p->is_gguf); break;
    case STACK_EXPERTS: break;
    case ADD_ONE: at.value = VALUE_ADD_ONE; break;
    case TILED_NEGATIVE_EXP: at.order = tiled(m, 0, n / m->n_value_heads); /* fall through */
    case NEGATIVE_EXP: at.value = VALUE_NEGATIVE_EXP; break;
    case TILED_ROWS: at.order = tiled(m, 0, n / m->n_value_heads); break;
    case TILED_CONV:
    case TILED_QKV: at.order = tiled(m, 2 * m->n_key_heads * m->head_dim, m->v_head_dim); break; /* bounded: heads */
    case TILED_COLUMNS: at.columns_order = tiled(m, 0, m->v_head_dim); break;
    case SLICE_EXPERTS:
    case SLICE_FIRST_HALF:
    case SLICE_SECOND_HALF:
    case SLICE_EVEN_ROWS:
    case SLICE_ODD_ROWS:
    case SLICE_COLUMNS:
    case SLICE_EVEN_COLUMNS:
    case SLICE_ODD_COLUMNS: return place_slices(rule->transform, lc->router.n_experts, n, k);
    case HEADS:
    case HEADS_TRANSPOSED: return place_slices(rule->transform, m->n_heads, n, k);
    case HEAD_KEYS:
    case HEAD_VALUES:
    case HEAD_KEYS_TRANSPOSED:
        return place_keys_values(rule->transform, m, m->head_dim - p->config->rope[m->rope].n_rot, n, k);
    case GROUPED_QKV:
    case GROUPED_Z: return place_grouped(rule->transform, m, k);
    }
    return at;
}

static bool keeps_floats(const struct tensor_rule *rule) { return rule->k == SIZE_NONE || rule->role == ROLE_CONV; }

/* Floats: vectors, one for each matrix of a bank, and taps, which some files have with a dimension of 1 between. */
static sluice_status check_vector(struct planner *p, const struct tensor_rule *rule, const struct tensor_view *view,
                                  const struct placement *at)
{
    uint64_t shape[3] = {(uint64_t)at->slices}, n = 1;
    int n_dims = at->slices > 0;
    shape[n_dims++] = (uint64_t)at->rows;
    if (rule->role == ROLE_CONV && view->n_dims == 3) shape[n_dims++] = 1;
    if (rule->k != SIZE_NONE) shape[n_dims++] = (uint64_t)at->columns;
    for (int i = 0; i < view->n_dims; i++)
        if (!checked_mul(&n, n, view->shape[i])) n = UINT64_MAX;
    if (rule->transform != FLAT || n != (uint64_t)at->rows) {
        sluice_status s = check_shape(p, view, shape, n_dims);
        if (s) return s;
    }
    return check_floats(p, view);
}

/* What of the file's type a transform cannot take. */
static sluice_status check_type(struct planner *p, const struct tensor_rule *rule, const struct tensor_view *view,
                                const struct placement *at)
{
    const struct dtype_info *type = dtype_info(view->dtype);
    char expected[64];
    const bool slices = at->transposed && at->slices && rule->transform != HEADS_TRANSPOSED;
    if (slices) return check_floats(p, view);
    if (at->columns_order.kind == ORDER_STORED || at->columns_order.part % type->elements_per_block == 0)
        return SLUICE_OK;
    snprintf(expected, sizeof expected, "a type whose blocks divide heads of %d", at->columns_order.part);
    return wrong_type(p, view, expected);
}

static sluice_status check_found(struct planner *p, const struct tensor_rule *rule, const struct found *found,
                                 const struct placement *at)
{
    const uint64_t length = (uint64_t)at->columns;
    if (keeps_floats(rule)) return check_vector(p, rule, found->view, at);
    if (p->is_gguf && rule->n == SIZE_ONE && found->view->n_dims == 1) { /* one row is stored as a vector there */
        sluice_status s = check_shape(p, found->view, &length, 1);
        return s ? s : check_floats(p, found->view);
    }
    /* ik_llama.cpp's files have the heads one below the other */
    const bool of_heads = rule->transform == HEADS || rule->transform == HEADS_TRANSPOSED;
    const bool below = of_heads && found->view->n_dims == 2;
    const int rows = below ? at->slices * at->rows : at->rows; /* bounded: heads */
    sluice_status s = check_matrix(p, found, below ? 0 : at->slices, rows, at->columns);
    return s ? s : check_type(p, rule, found->view, at);
}

/* The type of the rows that a matrix gives. */
static enum dtype type_of(const struct found *found, const struct placement *at)
{
    const enum dtype stored = found->view->dtype;
    const bool cuts_tiles = at->columns_order.kind != ORDER_STORED && at->columns_order.part % TILE != 0;
    if (at->value != VALUE_STORED) return DTYPE_F32;
    if (at->transposed) return dtype_info(stored)->is_float ? stored : DTYPE_F32;
    switch (found->encoding) {
    case ROWS_FP8_BLOCKS: return cuts_tiles ? DTYPE_F32 : DTYPE_F8_B128;
    case ROWS_MXFP4_PAIRS: return DTYPE_MXFP4;
    default: return stored;
    }
}

/* Matrix number i [n, k] of a tensor, which has the shape that check_found expected: every place lies inside. */
static struct row_source rows_of(const struct found *found, const struct placement *at, int i, int n, int k)
{
    struct row_source s = {
        .encoding = found->encoding,
        .dtype = type_of(found, at),
        .n = n,
        .k = k,
        .view = found->view,
        .scales = found->scales,
        .order = at->order,
        .columns = at->columns_order,
        .transposed = at->transposed ? at->columns : 0,
        .value = at->value,
    };
    const size_t slice = at->slices ? (size_t)i : 0, columns = (size_t)at->columns;
    const size_t down_to = at->slices ? 0 : (size_t)i * (size_t)at->distance; /* bounded: heads */
    const size_t first = (size_t)at->first + down_to;
    const size_t row = slice * (size_t)at->rows + first; /* bounded: a row of the tensor */
    switch (found->encoding) {
    case ROWS_FP8_BLOCKS: {
        const size_t down = ((size_t)at->rows + TILE - 1) / TILE, across = (columns + TILE - 1) / TILE;
        const size_t tile = (slice * down + first / TILE) * across; /* bounded: a tile of the scales */
        s.data = found->view->data + row * columns;                 /* bounded: a byte of the tensor */
        s.scale_data = found->scales->data +
                       tile * dtype_info(found->scales->dtype)->bytes_per_block; /* bounded: a byte of the scales */
        s.tile_row = (int)(first % TILE);
        break;
    }
    case ROWS_MXFP4_PAIRS:
        s.data = found->view->data + row * (columns / 2);                /* bounded: a byte of the tensor */
        s.scale_data = found->scales->data + row * (columns / MX_BLOCK); /* bounded: a byte of the scales */
        break;
    default: {
        const size_t row_bytes = blocks_bytes(found->view->dtype, columns);
        s.data = found->view->data + row * row_bytes; /* bounded: a byte of the tensor */
    }
    }
    return s;
}

/* Plans what one tensor holds: a vector, a matrix, or all of a bank. */
static sluice_status plan_found(struct planner *p, const struct tensor_rule *rule, const struct layer_config *lc, int l,
                                const struct found *found)
{
    const int n = size_of(p->config, lc, rule->n), k = size_of(p->config, lc, rule->k);
    const struct placement at = place(p, rule, lc);
    sluice_status s = check_found(p, rule, found, &at);
    for (int i = 0; !s && i < (at.count ? at.count : 1); i++) {
        struct planned item = {.role = rule->role, .layer = l, .expert = at.count ? i : -1};
        item.is_vector = keeps_floats(rule);
        item.rows = rows_of(found, &at, i, n, k);
        s = add_item(p, &item);
    }
    return s;
}

/* Plans the experts of one layer that have a tensor each. */
static sluice_status plan_stacked(struct planner *p, const struct tensor_rule *rule, const struct layer_config *lc,
                                  int l)
{
    const int n = size_of(p->config, lc, rule->n), k = size_of(p->config, lc, rule->k);
    const struct placement at = place(p, rule, lc);
    const struct tensor_view *expert_0 = NULL;
    for (int e = 0; e < lc->router.n_experts; e++) {
        const struct found found = find_expert(p, rule, l, e);
        sluice_status s = check_found(p, rule, &found, &at);
        if (s) return s;
        if (e == 0) expert_0 = found.view;
        if (found.view->dtype != expert_0->dtype)
            return fail(p->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": type %s, expected %s as in expert 0",
                        found.view->file, found.view->name, dtype_info(found.view->dtype)->name,
                        dtype_info(expert_0->dtype)->name);
        struct planned item = {.role = rule->role, .layer = l, .expert = e, .is_vector = keeps_floats(rule)};
        item.rows = rows_of(&found, &at, 0, n, k);
        s = add_item(p, &item);
        if (s) return s;
    }
    return SLUICE_OK;
}

/* Plans the tensors of one role for one layer, from the first alternative [rule, end) that exists. */
static sluice_status plan_role(struct planner *p, const struct tensor_rule *rule, const struct tensor_rule *end, int l)
{
    const struct layer_config *lc = &p->config->layers[l < 0 ? 0 : l];
    char name[NAME_BYTES];
    while (rule < end && !is_needed(p->config, lc, rule->need)) rule++;
    if (rule == end) return SLUICE_OK;
    for (const struct tensor_rule *r = rule; r < end; r++) {
        if (!is_needed(p->config, lc, r->need)) continue;
        expand_name(p, name, sizeof name, r->name, l, "0");
        const struct found found = find(p, r, name);
        if (!found.view) continue;
        if (r->transform == STACK_EXPERTS) {
            size_t before = p->n_missing;
            note_missing_experts(p, r, l, lc->router.n_experts);
            return p->n_missing > before ? SLUICE_OK : plan_stacked(p, r, lc, l);
        }
        if (lacks_scales(&found)) {
            note_missing(p, name, found.scales_suffix);
            return SLUICE_OK;
        }
        return plan_found(p, r, lc, l, &found);
    }
    if (rule->transform == STACK_EXPERTS) {
        note_missing_experts(p, rule, l, lc->router.n_experts);
    } else {
        expand_name(p, name, sizeof name, rule->name, l, "");
        note_missing(p, name, "");
    }
    return SLUICE_OK;
}

static bool has_role(const struct tensor_rule *rule, enum tensor_role role)
{
    while (rule && rule->name && rule->role != role) rule++;
    return rule && rule->name;
}

/* All rules of a list but those of roles that `instead` (or NULL) has as well. */
static sluice_status plan_list(struct planner *p, const struct tensor_rule *rule, const struct tensor_rule *instead)
{
    while (rule->name) {
        const struct tensor_rule *end = rule + 1;
        while (end->name && end->role == rule->role) end++;
        const bool of_layers = strstr(rule->name, "{l}") != NULL;
        const int last = has_role(instead, rule->role) ? -1 : of_layers ? p->config->n_layers : 0;
        /* A list that is full ends the search: a few bytes of configuration can ask for millions of tensors. */
        for (int l = of_layers ? 0 : -1; l < last && !p->missing_is_cut; l++) {
            sluice_status s = plan_role(p, rule, end, l);
            if (s) return s;
        }
        rule = end;
    }
    return SLUICE_OK;
}

/* What divides the frequencies of RoPE is small and read before anything else, so it is checked here. Files of ours
 * have it for other readers, beside keys that say the same exactly. */
static sluice_status plan_divisors(struct planner *p)
{
    const struct tensor_view *view = archive_find(p->archive, GGUF_ROPE_DIVISORS);
    const uint64_t n = (uint64_t)p->config->rope[ROPE_GLOBAL].n_rot / 2;
    if (!p->is_gguf || !view) return SLUICE_OK;
    mark_used(p, view);
    if (!p->config->rope[ROPE_GLOBAL].has_divisors) return SLUICE_OK; /* the configuration says it more exactly */
    sluice_status s = check_shape(p, view, &n, 1);
    if (s) return s;
    if (view->dtype != DTYPE_F32) return wrong_type(p, view, "F32");
    for (uint64_t i = 0; i < n; i++) {
        float divisor;
        memcpy(&divisor, view->data + i * sizeof divisor, sizeof divisor);
        if (!isfinite(divisor) || divisor <= 0)
            return fail(p->failure, SLUICE_FORMAT, "%s: tensor \"%s\": element %llu: found %g, expected a number > 0",
                        view->file, view->name, (unsigned long long)i, (double)divisor);
    }
    p->plan->divisors = view;
    return SLUICE_OK;
}

sluice_status plan_tensors(struct plan *plan, const struct model_config *c, const struct archive *a, struct failure *f)
{
    *plan = (struct plan){0};
    struct planner p = {.plan = plan, .config = c, .archive = a, .failure = f};
    p.is_gguf = archive_format(a) == ARCHIVE_GGUF;
    p.prefix = find_prefix(a);
    plan->used = memory_calloc(archive_n_tensors(a), sizeof *plan->used);
    sluice_status s = plan->used ? SLUICE_OK : fail_memory(f, archive_name(a));
    if (p.is_gguf && !s) s = plan_list(&p, tensors_gguf, c->arch->gguf_tensors);
    if (p.is_gguf && !s && c->arch->gguf_tensors) s = plan_list(&p, c->arch->gguf_tensors, NULL);
    for (int i = 0; !p.is_gguf && !s && c->arch->tensors[i]; i++) s = plan_list(&p, c->arch->tensors[i], NULL);
    if (!s && p.is_gguf && archive_n_tensors(a) == 0)
        s = fail(f, SLUICE_FORMAT, "%s: holds no tensors: a vocabulary only", archive_name(a));
    if (!s && p.n_missing)
        s = fail(f, SLUICE_FORMAT, "%s: missing tensors: %s%s", archive_name(a), p.missing,
                 p.missing_is_cut ? " and more" : "");
    if (!s) s = plan_divisors(&p);
    if (s) plan_free(plan);
    return s;
}

void plan_free(struct plan *p)
{
    memory_free(p->items);
    memory_free(p->used);
    *p = (struct plan){0};
}

/* ---- tensors that no rule needs ---------------------------------------------------------------------------------- */

/* The layer of "layers.7.x" or "blk.7.x" after its prefix; -1: none. */
static int layer_of(const char *name)
{
    const char *const prefixes[] = {"model.language_model.layers.", "language_model.model.layers.", "model.layers.",
                                    "blk."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const char *number = name + strlen(prefixes[i]);
        if (!begins(name, prefixes[i]) || *number < '0' || *number > '9') continue;
        const unsigned long layer = strtoul(number, NULL, 10);
        return layer < INT_MAX ? (int)layer : INT_MAX; /* bounded: just compared */
    }
    return -1;
}

bool plan_is_stray(const struct model_config *c, const char *name)
{
    /* Parts that see and hear, and that predict several tokens ahead. */
    static const char *const parts[] = {
        "vision_tower.", "visual.", "multi_modal_projector.", "embed_vision.", "audio_tower.", "embed_audio.", "mtp"};
    static const char *const before[] = {"model.language_model.", "language_model.model.", "model.", "language_model."};
    const int layer = layer_of(name);
    /* GGUF says how many layers there are for predicting further tokens; config.json does not. */
    const bool of_gguf = begins(name, "blk.");
    if (strstr(name, "rotary_emb.inv_freq")) return true;
    if (layer >= c->n_layers && (!of_gguf || layer < c->n_layers + c->n_extra_layers)) return true;
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        if (begins(name, before[i])) {
            name += strlen(before[i]);
            break;
        }
    if (c->tied_embeddings && strcmp(name, "lm_head.weight") == 0) return true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (begins(name, parts[i])) return true;
    return false;
}

/* ---- names in GGUF files ----------------------------------------------------------------------------------------- */

/* Whether one tensor of a new file can be all of a matrix or bank; older layouts are read only. */
static bool is_written(enum tensor_transform t)
{
    return t == COPY || t == FLAT || t == CONV || t == PAIRS_TO_HALVES || t == SLICE_EXPERTS || t == HEADS;
}

/* The first alternative that this layer needs. Every role of a model has one. */
static const struct tensor_rule *gguf_rule(const struct model_config *c, enum tensor_role role, int layer)
{
    const struct layer_config *lc = &c->layers[layer < 0 ? 0 : layer];
    const struct tensor_rule *own = c->arch->gguf_tensors;
    const struct tensor_rule *rule = has_role(own, role) ? own : tensors_gguf;
    for (; rule->name; rule++)
        if (rule->role == role && is_needed(c, lc, rule->need) && is_written(rule->transform)) return rule;
    return NULL;
}

bool plan_gguf_tensor(const struct planned *item, const struct model_config *c, struct plan_gguf_place *out)
{
    const struct tensor_rule *rule = gguf_rule(c, item->role, item->layer);
    *out = (struct plan_gguf_place){0};
    if (!rule) return false;
    const struct layer_config *lc = &c->layers[item->layer < 0 ? 0 : item->layer];
    const bool matrix = rule->k != SIZE_NONE, one_row = matrix && rule->n == SIZE_ONE;
    expand_pattern(out->name, sizeof out->name, rule->name, item->layer, "");
    if (item->expert >= 0)
        out->shape[out->n_dims++] = (uint64_t)(is_of_heads(item->role) ? lc->mixer.n_heads : lc->router.n_experts);
    if (!one_row) out->shape[out->n_dims++] = (uint64_t)item->rows.n;
    if (matrix) out->shape[out->n_dims++] = (uint64_t)item->rows.k;
    out->order = rotated_order(c, lc, rule, true);
    return true;
}
