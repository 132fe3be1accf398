/* What a model is, in lines for people, and what it would be if its weights were of another type. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "model/arch.h"
#include "model/model.h"

/* Appends to a bounded line. */
struct line {
    char *out;
    size_t cap, n;
};

static void put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct line *line, const char *format, ...)
{
    if (line->n >= line->cap) return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->out + line->n, line->cap - line->n, format, args);
    va_end(args);
    if (n > 0) line->n += (size_t)n;
}

static void put_rope(struct line *line, const struct rope_config *r, int head_dim)
{
    static const char *const names[] = {"", " linear", " llama3", " yarn", " proportional"};
    put(line, ", rope %g%s", r->theta, names[r->scaling]);
    if (r->scaling == ROPE_PROPORTIONAL)
        put(line, " x%g", r->partial);
    else if (r->scaling != ROPE_DEFAULT)
        put(line, " x%g", r->factor);
    if (r->n_rot < head_dim) put(line, " on %d", r->n_rot);
}

static void put_attention(struct line *line, const struct mixer *mixer, const struct rope_config *rope)
{
    static const char *const norms[] = {"", ", qk-norm per head", ", qk-norm over full width"};
    if (mixer->kind == MIX_MLA) {
        put(line, "latent attention %d heads x %d / v %d, kv latent %d", mixer->n_heads, mixer->head_dim,
            mixer->v_head_dim, mixer->kv_lora_rank);
        if (mixer->q_lora_rank) put(line, ", q latent %d", mixer->q_lora_rank);
    } else {
        put(line, "attention %d heads / %d kv x %d%s", mixer->n_heads, mixer->n_kv_heads, mixer->head_dim,
            norms[mixer->qk_norm]);
    }
    if (mixer->v_norm) put(line, ", v-norm");
    if (mixer->v_is_k) put(line, ", v is k");
    if (mixer->qkv_bias) put(line, ", qkv bias");
    if (mixer->output_bias) put(line, ", output bias");
    if (mixer->output_gate) put(line, ", output gate");
    if (mixer->sinks) put(line, ", sinks");
    if (mixer->softcap > 0) put(line, ", softcap %g", (double)mixer->softcap);
    if (mixer->clip_qkv > 0) put(line, ", clip %g", (double)mixer->clip_qkv);
    if (mixer->window) put(line, ", window %d", mixer->window);
    put_rope(line, rope, mixer->head_dim);
}

static void put_mixer(struct line *line, const struct mixer *mixer, const struct model_config *c)
{
    switch (mixer->kind) {
    case MIX_GQA:
    case MIX_MLA: put_attention(line, mixer, &c->rope[mixer->rope]); break;
    case MIX_DELTA:
        put(line, "gated delta %d key / %d value heads x %d", mixer->n_key_heads, mixer->n_value_heads,
            mixer->head_dim);
        if (mixer->v_head_dim != mixer->head_dim) put(line, " / v %d", mixer->v_head_dim);
        put(line, ", convolution over %d", mixer->conv_kernel);
        break;
    case MIX_CONV: put(line, "gated convolution over %d", mixer->conv_kernel); break;
    }
}

static void put_router(struct line *line, const struct router *r)
{
    put(line, ", %s", r->score == SCORE_SIGMOID ? "sigmoid" : "softmax");
    if (r->bias) put(line, ", bias");
    if (r->selection_bias) put(line, ", selection bias");
    if (r->n_group > 1) put(line, ", %d of %d groups", r->topk_group, r->n_group);
    if (r->normalise) put(line, ", renormalised");
    if (r->scale != 1) put(line, ", scale %g", (double)r->scale);
    if (r->expert_scale) put(line, ", scale per expert");
}

static void put_ffn(struct line *line, const struct layer_config *c)
{
    static const char *const activations[] = {"silu", "gelu", "clamped swiglu"};
    const struct ffn *f = &c->ffn;
    const char *activation = activations[f->activation];
    if (ffn_has_mlp(f)) put(line, " | mlp x %d %s%s", f->intermediate_size, activation, f->bias ? ", bias" : "");
    if (!ffn_has_experts(f)) return;
    put(line, " %c %d of %d experts x %d %s", ffn_has_mlp(f) ? '+' : '|', c->router.top_k, c->router.n_experts,
        f->expert_size, activation);
    if (f->expert_bias) put(line, " with bias");
    put_router(line, &c->router);
    if (f->shared != SHARED_NONE)
        put(line, " + %sshared expert x %d", f->shared == SHARED_GATED ? "gated " : "", f->shared_size);
}

void model_describe_layer(const struct model *m, int layer, char *out, size_t cap)
{
    struct line line = {out, cap, 0};
    const struct layer_config *c = &m->config.layers[layer];
    if (cap) out[0] = 0;
    put_mixer(&line, &c->mixer, &m->config);
    put_ffn(&line, c);
    if (c->post_norms || c->layer_scale)
        put(&line, " | %s%s%s", c->post_norms ? "post norms" : "", c->post_norms && c->layer_scale ? ", " : "",
            c->layer_scale ? "layer scale" : "");
}

/* ---- groups of equal matrices ----------------------------------------------------------------------------------- */

void model_list_layer(const struct layer *layer, struct named_weight out[WEIGHTS_PER_LAYER])
{
    const struct named_weight all[WEIGHTS_PER_LAYER] = {
        {"attention q", ROLE_Q, &layer->q, 1},
        {"attention k", ROLE_K, &layer->k, 1},
        {"attention v", ROLE_V, &layer->v, 1},
        {"attention output", ROLE_O, &layer->o, 1},
        {"query latent", ROLE_Q_A, &layer->mla.q_a, 1},
        {"kv latent", ROLE_KV_A, &layer->mla.kv_a, 1},
        {"latent to key", ROLE_K_B, &layer->mla.k_b.first, layer->mla.k_b.n_matrices},
        {"query to latent", ROLE_K_B_T, &layer->mla.k_b_t.first, layer->mla.k_b_t.n_matrices},
        {"latent to value", ROLE_V_B, &layer->mla.v_b.first, layer->mla.v_b.n_matrices},
        {"delta q, k, v", ROLE_DELTA_QKV, &layer->delta.qkv, 1},
        {"delta gate", ROLE_DELTA_Z, &layer->delta.z, 1},
        {"delta b, a", ROLE_DELTA_BA, &layer->delta.ba, 1},
        {"delta b", ROLE_DELTA_B, &layer->delta.b, 1},
        {"delta a", ROLE_DELTA_A, &layer->delta.a, 1},
        {"conv input", ROLE_CONV_IN, &layer->conv_in, 1},
        {"mlp gate", ROLE_GATE, &layer->dense.gate, 1},
        {"mlp up", ROLE_UP, &layer->dense.up, 1},
        {"mlp down", ROLE_DOWN, &layer->dense.down, 1},
        {"router", ROLE_ROUTER, &layer->router, 1},
        {"expert gate", ROLE_EXPERT_GATE, &layer->gate.first, layer->gate.n_matrices},
        {"expert up", ROLE_EXPERT_UP, &layer->up.first, layer->up.n_matrices},
        {"expert down", ROLE_EXPERT_DOWN, &layer->down.first, layer->down.n_matrices},
        {"shared gate", ROLE_SHARED_GATE, &layer->shared.gate, 1},
        {"shared up", ROLE_SHARED_UP, &layer->shared.up, 1},
        {"shared down", ROLE_SHARED_DOWN, &layer->shared.down, 1},
        {"shared switch", ROLE_SHARED_SWITCH, &layer->shared_switch, 1},
    };
    memcpy(out, all, sizeof all);
}

static bool is_same(const struct weight *a, const struct weight *b)
{
    return a->layout == b->layout && a->file_dtype == b->file_dtype && a->n == b->n && a->k == b->k;
}

/* The kernel that multiplies n_rows rows. */
static const struct panel_kernel *kernel_of(const struct model *m, const struct panel_layout *layout, int n_rows)
{
    return panel_kernel_choose(layout, m->exact ? PANEL_MANY_ROWS : n_rows, m->features);
}

enum { MOST_ROWS = 4096 };

/* From `n_rows` on, the first number of rows that another kernel multiplies; MOST_ROWS: none. */
static int next_change(const struct model *m, const struct panel_layout *layout, int n_rows)
{
    const struct panel_kernel *kernel = kernel_of(m, layout, n_rows);
    while (n_rows < MOST_ROWS && kernel_of(m, layout, n_rows) == kernel) n_rows++;
    return n_rows;
}

/* A group: this matrix, and others like it. */
struct group {
    struct named_weight weight;
    int count;
    bool is_embedding; /* a head that is the embedding itself */
};

static bool find_group(const struct model *m, int index, struct group *out)
{
    struct named_weight first[WEIGHTS_PER_LAYER], now[WEIGHTS_PER_LAYER];
    const struct named_weight whole[2] = {{"embedding", ROLE_EMBEDDING, &m->embedding, 1},
                                          {"head", ROLE_HEAD, &m->head, 1}};
    if (index < 2) {
        *out = (struct group){whole[index], 1, index == 1 && m->config.tied_embeddings};
        return true;
    }
    index -= 2;
    for (int i = 0; i < WEIGHTS_PER_LAYER; i++) {
        for (int l = 0; l < m->config.n_layers; l++) { /* (i, l) begins a group if no earlier layer is the same */
            model_list_layer(&m->layers[l], first);
            if (!first[i].weight->layout) continue;
            int count = 0;
            bool seen = false;
            for (int j = 0; j < m->config.n_layers; j++) {
                model_list_layer(&m->layers[j], now);
                if (!now[i].weight->layout || !is_same(now[i].weight, first[i].weight)) continue;
                seen |= j < l;
                count += now[i].count;
            }
            if (seen || index-- != 0) continue;
            *out = (struct group){first[i], count, false};
            return true;
        }
    }
    return false;
}

static void put_shape(struct line *line, const struct group *g)
{
    const struct weight *w = g->weight.weight;
    put(line, "%-16s %-4s [%d, %d] x %d -> %s", g->weight.name, dtype_info(w->file_dtype)->name, w->n, w->k, g->count,
        w->layout->name);
}

bool model_describe_group(const struct model *m, int group, char *out, size_t cap)
{
    struct line line = {out, cap, 0};
    struct group g;
    if (cap) out[0] = 0;
    if (!find_group(m, group, &g)) return false;
    const struct panel_layout *layout = g.weight.weight->layout;
    put_shape(&line, &g);
    for (int rows = 1; rows < MOST_ROWS; rows = next_change(m, layout, rows)) {
        if (rows > 1) put(&line, ", from %d rows ", rows);
        put(&line, "%s%s", rows > 1 ? "" : " (", kernel_of(m, layout, rows)->name);
    }
    put(&line, ")%s", g.is_embedding ? ", the embedding itself" : "");
    return true;
}

/* ---- why --------------------------------------------------------------------------------------------------------- */

static void put_missing(struct line *line, uint64_t missing)
{
    const char *separator = "needs ";
    for (unsigned bit = 0; bit < N_CPU_FEATURES; bit++) {
        if (!(missing >> bit & 1)) continue;
        put(line, "%s%s", separator, cpu_feature_name(bit));
        separator = ", ";
    }
    put(line, ", not usable here");
}

/* Why `layout`, which comes before the chosen one in the list, was passed over. */
static void put_layout_reason(struct line *line, const struct model *m, const struct panel_layout *layout,
                              const struct weight *w)
{
    if (w->k % layout->kr != 0)
        put(line, "%d inputs are no multiple of %d", w->k, layout->kr);
    else if (!panel_kernel_choose(layout, 1, m->features))
        put(line, "no kernel for this CPU");
    else if (w->n % layout->nr != 0)
        put(line, "%d outputs are no multiple of %d", w->n, layout->nr);
    else if (layout->file_order)
        put(line, "only with --no-repack%s, where the file has the matrices one behind the other",
            layout->rounds_x ? " and without --float" : "");
    else
        put(line, layout->rounds_x ? "only without --float" : "only with --blas");
}

static void put_layouts(struct line *line, const struct model *m, const struct weight *w)
{
    for (const struct panel_layout *const *list = panel_layouts(); *list && *list != w->layout; list++) {
        if ((*list)->weight != w->layout->weight) continue;
        put(line, "    not %s: ", (*list)->name);
        put_layout_reason(line, m, *list, w);
        put(line, "\n");
    }
}

/* The kernels of `layout` that would be better than `chosen` for this number of rows. */
static void put_better(struct line *line, const struct model *m, const struct panel_kernel *chosen, int n_rows)
{
    for (const struct panel_kernel *const *list = panel_kernels(); *list && *list != chosen; list++) {
        const struct panel_kernel *k = *list;
        const uint64_t missing = k->needs & ~m->features;
        if (k->layout != chosen->layout) continue;
        if (!missing && k->m_min > n_rows) continue; /* it has a line of its own */
        put(line, "        not %s: ", k->name);
        if (missing)
            put_missing(line, missing);
        else
            put(line, "its library cannot be loaded");
        put(line, "\n");
    }
}

bool model_describe_kernels(const struct model *m, int group, char *out, size_t cap)
{
    static const char *const arithmetic[N_PEAKS] = {
        [PEAK_F32] = "float products",
        [PEAK_BF16] = "products of bfloat16, activations rounded to 16 bits",
        [PEAK_INT8] = "integer products, activations rounded to 8 bits",
    };
    struct line line = {out, cap, 0};
    struct group g;
    if (cap) out[0] = 0;
    if (!find_group(m, group, &g)) return false;
    const struct weight *w = g.weight.weight;
    put_shape(&line, &g);
    put(&line, "%s%s\n", w->layout->file_order ? ", rows as in the file" : "",
        g.is_embedding ? ", the embedding itself" : "");
    put_layouts(&line, m, w);
    for (int rows = 1; rows < MOST_ROWS; rows = next_change(m, w->layout, rows)) {
        const struct panel_kernel *kernel = kernel_of(m, w->layout, rows);
        put(&line, "    from %d row%s %s: %s%s\n", rows, rows > 1 ? "s" : "", kernel->name, arithmetic[kernel->peak],
            m->exact ? ", the same for any number of rows (--exact)" : "");
        put_better(&line, m, kernel, rows);
    }
    return true;
}

unsigned model_peaks(const struct model *m)
{
    struct group g;
    unsigned peaks = 0;
    for (int i = 0; find_group(m, i, &g); i++)
        for (int rows = 1; rows < MOST_ROWS; rows = next_change(m, g.weight.weight->layout, rows))
            peaks |= 1u << kernel_of(m, g.weight.weight->layout, rows)->peak;
    return peaks;
}

/* ---- other types ------------------------------------------------------------------------------------------------- */

/* Bytes that a matrix would have less (or more) as `type`. */
static int64_t saved_bytes(const struct model *m, const struct named_weight *named, enum dtype type)
{
    const struct weight *w = named->weight;
    if (!w->layout) return 0;
    const enum dtype loaded = model_load_type(named->role, w->file_dtype, w->k, type);
    const struct panel_layout *layout = panel_layout_choose(loaded, w->n, w->k, m->features, 0);
    return layout ? ((int64_t)weight_bytes(w) - (int64_t)layout->packed_bytes(w->n, w->k)) * named->count : 0;
}

static uint64_t bytes_as(const struct model *m, enum dtype type)
{
    const struct named_weight whole[2] = {{"embedding", ROLE_EMBEDDING, &m->embedding, 1},
                                          {"head", ROLE_HEAD, &m->head, 1}};
    struct named_weight weights[WEIGHTS_PER_LAYER];
    int64_t saved = 0;
    for (int i = 0; i < (m->config.tied_embeddings ? 1 : 2); i++) saved += saved_bytes(m, &whole[i], type);
    for (int l = 0; l < m->config.n_layers; l++) {
        model_list_layer(&m->layers[l], weights);
        for (int i = 0; i < WEIGHTS_PER_LAYER; i++) saved += saved_bytes(m, &weights[i], type);
    }
    return (uint64_t)((int64_t)(m->weight_bytes + m->mapped_bytes) - saved);
}

enum dtype model_smaller_type(const struct model *m, uint64_t budget, uint64_t *bytes)
{
    static const enum dtype types[] = {DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_Q5_K, DTYPE_Q4_K, DTYPE_Q3_K, DTYPE_Q2_K};
    enum dtype smallest = types[0];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const uint64_t needed = bytes_as(m, types[i]);
        if (i && needed >= *bytes) continue;
        smallest = types[i];
        *bytes = needed;
        if (needed <= budget) break;
    }
    return smallest;
}

char *model_type_word(enum dtype t, char out[TYPE_WORD_BYTES])
{
    snprintf(out, TYPE_WORD_BYTES, "%s", dtype_info(t)->name);
    for (char *p = out; *p; p++) *p = (char)tolower((unsigned char)*p);
    return out;
}
