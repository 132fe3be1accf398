/* Owns the search: archive + rules of the architecture -> list of matrices and vectors, each a row_source.
 *
 * Walks the rules layer by layer, finds every tensor and checks its shape and type. Missing tensors are collected and
 * named at once; what is there and wrong ends the search. */
#include "model/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/config_parts.h"

enum {
    NAME_BYTES = 256, /* of a tensor's name by our rules */
    TILE = 128,       /* FP8: one scale for so many rows and columns */
    MX_BLOCK = 32,    /* MXFP4: one scale for so many elements, in ... */
    MX_BYTES = 16,    /* ... so many bytes */
};

static const char FP8_SCALES[] = "_scale_inv", MX_BLOCKS[] = "_blocks", MX_SCALES[] = "_scales";

struct planner {
    struct plan *plan;
    const struct model_config *config;
    const struct archive *archive;
    struct failure *failure;
    bool is_gguf;
    size_t cap;
    char missing[2048];
    size_t n_missing;
    bool missing_is_cut; /* some names found no room */
};

/* ---- what a rule asks for ---------------------------------------------------------------------------------------- */

static int size_of(const struct model_config *c, const struct layer_config *layer, enum tensor_size size)
{
    switch (size) {
    case SIZE_NONE:
    case SIZE_ONE: return 1;
    case SIZE_HIDDEN: return c->hidden_size;
    case SIZE_VOCAB: return c->vocab_size;
    case SIZE_Q: return layer->mixer.n_heads * layer->mixer.head_dim;
    case SIZE_KV: return layer->mixer.n_kv_heads * layer->mixer.head_dim;
    case SIZE_HEAD: return layer->mixer.head_dim;
    case SIZE_FFN: return layer->ffn.intermediate_size;
    case SIZE_SHARED_FFN: return layer->ffn.shared_intermediate_size;
    case SIZE_EXPERTS: return layer->router.n_experts;
    }
    return 0;
}

static bool is_needed(const struct model_config *c, const struct layer_config *layer, enum tensor_need need)
{
    switch (need) {
    case NEED_ALWAYS: return true;
    case NEED_UNLESS_TIED: return !c->tied_embeddings;
    case NEED_DENSE: return layer->ffn.kind == FFN_DENSE;
    case NEED_MOE: return layer->ffn.kind == FFN_MOE;
    case NEED_SHARED: return layer->ffn.kind == FFN_MOE && layer->ffn.shared != SHARED_NONE;
    case NEED_QKV_BIAS: return layer->mixer.qkv_bias;
    case NEED_OUTPUT_BIAS: return layer->mixer.output_bias;
    case NEED_MLP_BIAS: return layer->ffn.kind == FFN_DENSE && layer->ffn.bias;
    case NEED_HEAD_NORM: return layer->mixer.qk_norm == QK_NORM_PER_HEAD;
    case NEED_FULL_NORM: return layer->mixer.qk_norm == QK_NORM_FULL;
    }
    return false;
}

/* Replaces {l} and {e} in a name pattern. */
static void expand_name(char *out, size_t cap, const char *pattern, int l, const char *e)
{
    size_t n = 0;
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

static struct found find(const struct planner *p, const struct tensor_rule *rule, const char *name)
{
    struct found found = {.view = archive_find(p->archive, name)};
    const bool fused = rule->transform != COPY && rule->transform != STACK_EXPERTS;
    if (found.view && found.view->dtype == DTYPE_F8_E4M3 && rule->k != SIZE_NONE) {
        found.encoding = ROWS_FP8_BLOCKS;
        found.scales_suffix = FP8_SCALES;
    } else if (!found.view && fused && (found.view = find_with(p, name, MX_BLOCKS))) {
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
    expand_name(name, sizeof name, rule->name, l, number);
    return find(p, rule, name);
}

static bool lacks_scales(const struct found *found) { return found->encoding != ROWS_PLAIN && !found->scales; }

static void note_missing(struct planner *p, const char *name, const char *suffix)
{
    size_t n = strlen(p->missing);
    if (n + strlen(name) + strlen(suffix) + 3 < sizeof p->missing)
        snprintf(p->missing + n, sizeof p->missing - n, "%s%s%s", n ? ", " : "", name, suffix);
    else
        p->missing_is_cut = true;
    p->n_missing++;
}

/* Two halves have their scales in one tensor, which is named once. */
static void note_missing_scales(struct planner *p, const char *name, const char *suffix)
{
    char whole[NAME_BYTES + 16];
    snprintf(whole, sizeof whole, "%s%s", name, suffix);
    if (!strstr(p->missing, whole)) note_missing(p, whole, "");
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
    for (int e = 0; e < n_experts; e++) {
        const char *part = missing_part(p, rule, l, e);
        if (!part) continue;
        int last = e;
        while (last + 1 < n_experts && missing_part(p, rule, l, last + 1) == part) last++;
        snprintf(range, sizeof range, e == last ? "%d" : "{%d..%d}", e, last);
        expand_name(name, sizeof name, rule->name, l, range);
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

static sluice_status no_memory(struct failure *f)
{
    return fail(f, SLUICE_MEMORY, "no memory for the list of tensors");
}

static void mark_used(struct planner *p, const struct tensor_view *view)
{
    if (view) p->plan->used[view - archive_tensor(p->archive, 0)] = true;
}

static sluice_status add_item(struct planner *p, const struct planned *item)
{
    struct plan *plan = p->plan;
    if (plan->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 256;
        struct planned *grown = memory_realloc(plan->items, cap * sizeof *grown);
        if (!grown) return no_memory(p->failure);
        plan->items = grown;
        p->cap = cap;
    }
    plan->items[plan->n++] = *item;
    mark_used(p, item->rows.view);
    mark_used(p, item->rows.scales);
    return SLUICE_OK;
}

/* Rows [first, first + n) of the tensor's slice number `slice`; each slice has `slice_rows`. */
static struct row_source rows_of(const struct found *found, int slice, int slice_rows, int first, int n, int k)
{
    struct row_source s = {.encoding = found->encoding, .n = n, .k = k, .view = found->view, .scales = found->scales};
    const size_t row = (size_t)slice * (size_t)slice_rows + (size_t)first;
    switch (found->encoding) {
    case ROWS_FP8_BLOCKS: {
        const size_t tiles = ((size_t)slice_rows + TILE - 1) / TILE, columns = ((size_t)k + TILE - 1) / TILE;
        s.dtype = DTYPE_F8_B128;
        s.data = found->view->data + row * (size_t)k;
        s.scale_data = found->scales->data + ((size_t)slice * tiles + (size_t)first / TILE) * columns *
                                                 dtype_info(found->scales->dtype)->bytes_per_block;
        s.tile_row = first % TILE;
        break;
    }
    case ROWS_MXFP4_PAIRS:
        s.dtype = DTYPE_MXFP4;
        s.data = found->view->data + row * ((size_t)k / 2);
        s.scale_data = found->scales->data + row * ((size_t)k / MX_BLOCK);
        break;
    default:
        s.dtype = found->view->dtype;
        s.data = found->view->data + row * blocks_bytes(s.dtype, (size_t)k);
        break;
    }
    return s;
}

bool plan_gguf_reorders(const struct model_config *c, enum tensor_role role)
{
    bool rotates = role == ROLE_Q || role == ROLE_K || role == ROLE_Q_BIAS || role == ROLE_K_BIAS;
    return rotates && c->arch->gguf_rope_pairs;
}

/* Plans one vector or one whole matrix. */
static sluice_status plan_copy(struct planner *p, const struct tensor_rule *rule, const struct layer_config *lc, int l,
                               const struct found *found)
{
    const int n = size_of(p->config, lc, rule->n), k = size_of(p->config, lc, rule->k);
    const uint64_t length = (uint64_t)n * (uint64_t)k;
    struct planned item = {.role = rule->role, .layer = l, .expert = -1, .is_vector = rule->k == SIZE_NONE};
    sluice_status s;
    if (item.is_vector) {
        s = check_shape(p, found->view, &length, 1);
        if (!s) s = check_floats(p, found->view);
    } else if (p->is_gguf && rule->n == SIZE_ONE && found->view->n_dims == 1) {
        s = check_shape(p, found->view, &length, 1); /* one row is stored as a vector there */
        if (!s) s = check_floats(p, found->view);
    } else {
        s = check_matrix(p, found, 0, n, k);
    }
    if (s) return s;
    item.rows = rows_of(found, 0, n, 0, n, k);
    if (p->is_gguf && plan_gguf_reorders(p->config, rule->role)) item.rows.head_dim = lc->mixer.head_dim;
    return add_item(p, &item);
}

/* Plans the experts of one layer: as many equal matrices, from one tensor each or from slices of one (`fused`). */
static sluice_status plan_experts(struct planner *p, const struct tensor_rule *rule, const struct layer_config *lc,
                                  int l, const struct found *fused)
{
    const int n = size_of(p->config, lc, rule->n), k = size_of(p->config, lc, rule->k);
    const int n_experts = lc->router.n_experts;
    const bool half = rule->transform == SLICE_FIRST_HALF || rule->transform == SLICE_SECOND_HALF;
    const int slice_rows = half ? 2 * n : n, first = rule->transform == SLICE_SECOND_HALF ? n : 0;
    const struct tensor_view *expert_0 = NULL;
    for (int e = 0; e < n_experts; e++) {
        const struct found found = fused ? *fused : find_expert(p, rule, l, e);
        sluice_status s = check_matrix(p, &found, fused ? n_experts : 0, slice_rows, k);
        if (s) return s;
        if (e == 0) expert_0 = found.view;
        if (found.view->dtype != expert_0->dtype)
            return fail(p->failure, SLUICE_UNSUPPORTED, "%s: tensor \"%s\": type %s, expected %s as in expert 0",
                        found.view->file, found.view->name, dtype_info(found.view->dtype)->name,
                        dtype_info(expert_0->dtype)->name);
        struct planned item = {.role = rule->role, .layer = l, .expert = e};
        item.rows = rows_of(&found, fused ? e : 0, slice_rows, first, n, k);
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
    if (!is_needed(p->config, lc, rule->need)) return SLUICE_OK;
    for (const struct tensor_rule *r = rule; r < end; r++) {
        expand_name(name, sizeof name, r->name, l, "0");
        const struct found found = find(p, r, name);
        if (!found.view) continue;
        if (r->transform == STACK_EXPERTS) {
            size_t before = p->n_missing;
            note_missing_experts(p, r, l, lc->router.n_experts);
            return p->n_missing > before ? SLUICE_OK : plan_experts(p, r, lc, l, NULL);
        }
        if (lacks_scales(&found)) {
            note_missing_scales(p, name, found.scales_suffix);
            return SLUICE_OK;
        }
        return r->transform == COPY ? plan_copy(p, r, lc, l, &found) : plan_experts(p, r, lc, l, &found);
    }
    if (rule->transform == STACK_EXPERTS) {
        note_missing_experts(p, rule, l, lc->router.n_experts);
    } else {
        expand_name(name, sizeof name, rule->name, l, "");
        note_missing(p, name, "");
    }
    return SLUICE_OK;
}

static sluice_status plan_list(struct planner *p, const struct tensor_rule *rule)
{
    while (rule->name) {
        const struct tensor_rule *end = rule + 1;
        while (end->name && end->role == rule->role) end++;
        const bool of_layers = strstr(rule->name, "{l}") != NULL;
        for (int l = of_layers ? 0 : -1; l < (of_layers ? p->config->n_layers : 0); l++) {
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
    const uint64_t n = (uint64_t)p->config->head_dim / 2;
    if (!p->is_gguf || !view) return SLUICE_OK;
    mark_used(p, view);
    if (!p->config->rope.has_divisors) return SLUICE_OK; /* the configuration says it more exactly */
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
    struct planner p = {
        .plan = plan, .config = c, .archive = a, .failure = f, .is_gguf = archive_format(a) == ARCHIVE_GGUF};
    plan->used = memory_calloc(archive_n_tensors(a), sizeof *plan->used);
    sluice_status s = plan->used ? SLUICE_OK : no_memory(f);
    if (p.is_gguf && !s) s = plan_list(&p, tensors_gguf);
    for (int i = 0; !p.is_gguf && !s && c->arch->tensors[i]; i++) s = plan_list(&p, c->arch->tensors[i]);
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

/* ---- names in GGUF files ----------------------------------------------------------------------------------------- */

void plan_gguf_tensor(const struct planned *item, const struct model_config *c, char name[64], uint64_t shape[4],
                      int *n_dims)
{
    const struct tensor_rule *rule = tensors_gguf;
    while (rule->role != item->role) rule++; /* every role is there */
    const bool one_row = rule->n == SIZE_ONE;
    expand_name(name, 64, rule->name, item->layer, "");
    *n_dims = 0;
    if (item->expert >= 0) shape[(*n_dims)++] = (uint64_t)c->layers[item->layer].router.n_experts;
    if (!one_row) shape[(*n_dims)++] = (uint64_t)item->rows.n;
    if (!item->is_vector) shape[(*n_dims)++] = (uint64_t)item->rows.k;
}
