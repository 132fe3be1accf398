/* What a model is, in lines for people. */
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

static void put_mixer(struct line *line, const struct mixer *mixer)
{
    static const char *const norms[] = {"", ", qk-norm per head", ", qk-norm over full width"};
    put(line, "attention %d heads / %d kv x %d%s", mixer->n_heads, mixer->n_kv_heads, mixer->head_dim,
        norms[mixer->qk_norm]);
    if (mixer->qkv_bias) put(line, ", qkv bias");
    if (mixer->output_bias) put(line, ", output bias");
    if (mixer->clip_qkv > 0) put(line, ", clip %g", (double)mixer->clip_qkv);
    if (mixer->window) put(line, ", window %d", mixer->window);
}

static void put_rope(struct line *line, const struct rope_config *r)
{
    static const char *const names[] = {"", " linear", " llama3", " yarn"};
    put(line, ", rope %g%s", r->theta, names[r->scaling]);
    if (r->scaling != ROPE_DEFAULT) put(line, " x%g", r->factor);
}

static void put_ffn(struct line *line, const struct layer_config *c)
{
    if (c->ffn.kind == FFN_DENSE) {
        put(line, " | mlp x %d silu", c->ffn.intermediate_size);
        return;
    }
    put(line, " | %d of %d experts x %d silu, softmax%s", c->router.top_k, c->router.n_experts,
        c->ffn.intermediate_size, c->router.normalise ? ", renormalised" : "");
    if (c->ffn.shared == SHARED_GATED) put(line, " + gated shared expert x %d", c->ffn.shared_intermediate_size);
}

void model_describe_layer(const struct model *m, int layer, char *out, size_t cap)
{
    struct line line = {out, cap, 0};
    const struct layer_config *c = &m->config.layers[layer];
    if (cap) out[0] = 0;
    put_mixer(&line, &c->mixer);
    put_rope(&line, &m->config.rope);
    put_ffn(&line, c);
}

/* ---- groups of equal matrices ----------------------------------------------------------------------------------- */

/* Every matrix of one layer with its name; banks count n_experts times. */
struct named_weight {
    const char *name;
    const struct weight *weight;
    int count;
};

enum { WEIGHTS_PER_LAYER = 15 };

static void list_layer(const struct layer *layer, struct named_weight *out)
{
    const struct named_weight all[WEIGHTS_PER_LAYER] = {
        {"attention q", &layer->q, 1},
        {"attention k", &layer->k, 1},
        {"attention v", &layer->v, 1},
        {"attention output", &layer->o, 1},
        {"mlp gate", &layer->dense.gate, 1},
        {"mlp up", &layer->dense.up, 1},
        {"mlp down", &layer->dense.down, 1},
        {"router", &layer->router, 1},
        {"expert gate", &layer->gate.first, layer->gate.n_experts},
        {"expert up", &layer->up.first, layer->up.n_experts},
        {"expert down", &layer->down.first, layer->down.n_experts},
        {"shared gate", &layer->shared.gate, 1},
        {"shared up", &layer->shared.up, 1},
        {"shared down", &layer->shared.down, 1},
        {"shared switch", &layer->shared_switch, 1},
    };
    memcpy(out, all, sizeof all);
}

static bool is_same(const struct weight *a, const struct weight *b)
{
    return a->layout == b->layout && a->n == b->n && a->k == b->k;
}

static void put_group(struct line *line, const char *name, const struct weight *w, int count, uint64_t features)
{
    put(line, "%-16s %-4s [%d, %d] x %d -> %s (", name, dtype_info(w->layout->weight)->name, w->n, w->k, count,
        w->layout->name);
    const struct panel_kernel *last = NULL;
    for (int m = 1; m <= 4096; m *= 2) { /* the kernels that some number of rows picks */
        const struct panel_kernel *kernel = panel_kernel_choose(w->layout, m, features);
        if (kernel == last) continue;
        if (last) put(line, ", from %d rows ", m);
        put(line, "%s", kernel->name);
        last = kernel;
    }
    put(line, ")");
}

bool model_describe_group(const struct model *m, int group, char *out, size_t cap)
{
    struct line line = {out, cap, 0};
    struct named_weight first[WEIGHTS_PER_LAYER], now[WEIGHTS_PER_LAYER];
    if (cap) out[0] = 0;
    const struct named_weight whole[2] = {{"embedding", &m->embedding, 1}, {"head", &m->head, 1}};
    for (int i = 0; i < 2; i++)
        if (group-- == 0) {
            put_group(&line, whole[i].name, whole[i].weight, 1, m->features);
            if (i == 1 && m->config.tied_embeddings) put(&line, ", the embedding itself");
            return true;
        }
    for (int i = 0; i < WEIGHTS_PER_LAYER; i++) {
        for (int l = 0; l < m->config.n_layers; l++) { /* (i, l) begins a group if no earlier layer is the same */
            list_layer(&m->layers[l], first);
            if (!first[i].weight->layout) continue;
            int count = 0;
            bool seen = false;
            for (int j = 0; j < m->config.n_layers; j++) {
                list_layer(&m->layers[j], now);
                if (!now[i].weight->layout || !is_same(now[i].weight, first[i].weight)) continue;
                seen |= j < l;
                count += now[i].count;
            }
            if (seen || group-- != 0) continue;
            put_group(&line, first[i].name, first[i].weight, count, m->features);
            return true;
        }
    }
    return false;
}
