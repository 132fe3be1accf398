/* Owns the checks between the fields of a configuration, for both readers: before derive() on what the file says, after
 * it on the layers, so that no later file has to ask whether a layer can be computed. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

#include "model/config_parts.h"

/* ---- before derive() --------------------------------------------------------------------------------------------- */

/* Heads of latent attention have two parts, and as many keys as queries. (Today's GGUF files count its cache as one
 * head.) */
static sluice_status check_latent_heads(struct model_config *c, const struct key_source *s,
                                        const struct field_names *names, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    uint64_t head = 0;
    if (s->document == DOCUMENT_GGUF && c->n_kv_heads == 1) c->n_kv_heads = c->n_heads;
    if (c->n_kv_heads != c->n_heads)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected one for each of %d heads", s->file,
                    config_key_place(s, names->n_kv_heads, place), c->n_kv_heads, c->n_heads);
    if (c->qk_rope_head_dim < 2 || c->qk_rope_head_dim % 2 != 0)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected an even number in 2..%d", s->file,
                    config_key_place(s, names->n_rot, place), c->qk_rope_head_dim, (int)MAX_HEAD_DIM);
    if (c->qk_nope_head_dim < 1 || c->v_head_dim < 1 || c->v_head_dim > MAX_HEAD_DIM ||
        !checked_add(&head, (uint64_t)c->qk_nope_head_dim, (uint64_t)c->qk_rope_head_dim) || head > MAX_HEAD_DIM)
        return fail(f, SLUICE_FORMAT,
                    "%s: %s: found %d beside %d elements that do not rotate and %d of values, expected heads of at "
                    "most %d",
                    s->file, config_key_place(s, names->n_rot, place), c->qk_rope_head_dim, c->qk_nope_head_dim,
                    c->v_head_dim, (int)MAX_HEAD_DIM);
    c->head_dim = (int)head; /* bounded: at most MAX_HEAD_DIM */
    return SLUICE_OK;
}

static sluice_status check_ordinary_heads(struct model_config *c, const struct key_source *s,
                                          const struct field_names *names, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    if (c->n_heads % c->n_kv_heads != 0)
        return fail(f, SLUICE_FORMAT, "%s: %s: %d heads are not a multiple of %d key-value heads", s->file,
                    config_key_place(s, names->n_heads, place), c->n_heads, c->n_kv_heads);
    if (c->head_dim == 0) {
        if (c->hidden_size % c->n_heads != 0)
            return fail(f, SLUICE_FORMAT, "%s: %s: %d does not divide %s %d, and %s is missing", s->file,
                        config_key_place(s, names->n_heads, place), c->n_heads, names->hidden_size, c->hidden_size,
                        names->head_dim);
        c->head_dim = c->hidden_size / c->n_heads;
    }
    if (c->head_dim % 2 != 0 || c->head_dim > MAX_HEAD_DIM)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected an even number in 2..%d", s->file,
                    config_key_place(s, names->head_dim, place), c->head_dim, (int)MAX_HEAD_DIM);
    return SLUICE_OK;
}

/* Of models whose layers have experts; n_group is then what counts. */
static sluice_status check_experts(const struct model_config *c, const struct key_source *s,
                                   const struct field_names *names, struct failure *f)
{
    char place[KEY_PLACE_BYTES], top_k[64];
    bool by_two_best = false;
    if (config_n_moe_layers(c) == 0) return SLUICE_OK;
    config_find_spelling(s, names->top_k, false, top_k, sizeof top_k);
    for (int l = 0; l < c->n_layers; l++) by_two_best |= c->layers[l].router.group_rank == GROUP_SUM_TOP2;
    if (c->top_k > c->n_experts)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected at most the number of experts, %d", s->file,
                    config_key_place(s, top_k, place), c->top_k, c->n_experts);
    if (c->n_group <= 1) return SLUICE_OK;
    if (c->n_experts % c->n_group != 0)
        return fail(f, SLUICE_FORMAT, "%s: %s: %d groups do not divide %d experts", s->file,
                    config_key_place(s, names->n_group, place), c->n_group, c->n_experts);
    if (by_two_best && c->n_experts == c->n_group)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d groups of %d experts, expected at least 2 experts in each",
                    s->file, config_key_place(s, names->n_group, place), c->n_group, c->n_experts);
    if (c->topk_group < 1 || c->topk_group > c->n_group)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected 1..%d groups", s->file,
                    config_key_place(s, names->topk_group, place), c->topk_group, c->n_group);
    const int in_groups = c->topk_group * (c->n_experts / c->n_group); /* bounded: at most n_experts */
    if (c->top_k > in_groups)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected at most the %d experts of %d groups", s->file,
                    config_key_place(s, top_k, place), c->top_k, in_groups, c->topk_group);
    return SLUICE_OK;
}

sluice_status config_check_fields(struct model_config *c, const struct key_source *s, const struct field_names *names,
                                  struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    if (c->n_kv_heads == 0) c->n_kv_heads = c->n_heads;
    sluice_status status =
        c->kv_lora_rank > 0 ? check_latent_heads(c, s, names, f) : check_ordinary_heads(c, s, names, f);
    if (!status && c->linear_key_heads > 0 && c->linear_value_heads % c->linear_key_heads != 0)
        status = fail(f, SLUICE_FORMAT, "%s: %s: %d value heads are not a multiple of %d key heads", s->file,
                      config_key_place(s, names->n_value_heads, place), c->linear_value_heads, c->linear_key_heads);
    return status;
}

/* ---- lists of layers --------------------------------------------------------------------------------------------- */

sluice_status config_layer_numbers(const struct key_source *s, const char *name, int n_layers, bool is_in[MAX_LAYERS],
                                   bool *found, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    struct meta list = config_key_value(s, name);
    config_key_place(s, name, place);
    memset(is_in, 0, MAX_LAYERS * sizeof *is_in);
    *found = !config_is_absent(list);
    if (!*found) return SLUICE_OK;
    if (list.kind != META_ARRAY) return config_wrong_value(f, s->file, place, list, "an array of layer numbers");
    for (size_t i = 0; i < list.n; i++) {
        int l = 0;
        sluice_status status = config_int(s->file, place, meta_element(list, i), 0, n_layers - 1, &l, f);
        if (status) return status;
        is_in[l] = true;
    }
    return SLUICE_OK;
}

const char *const config_layer_words[] = {NULL, "full_attention", "sliding_attention", "linear_attention", "conv"};
enum { N_LAYER_WORDS = sizeof config_layer_words / sizeof *config_layer_words };

sluice_status config_layer_types(struct model_config *c, const struct key_source *s, const char *name,
                                 struct failure *f)
{
    static const char words[] = "|full_attention|sliding_attention|linear_attention|conv|attention";
    char place[KEY_PLACE_BYTES], element[64];
    struct meta list = config_key_value(s, name);
    config_key_place(s, name, place);
    if (config_is_absent(list)) return SLUICE_OK;
    if (list.kind != META_ARRAY) return config_wrong_value(f, s->file, place, list, "an array of layers");
    if (list.n != (size_t)c->n_layers)
        return fail(f, SLUICE_FORMAT, "%s: %s: found an array of %zu entries, expected an array of %d layers", s->file,
                    place, list.n, c->n_layers);
    for (int l = 0; l < c->n_layers; l++) {
        int word = 0;
        snprintf(element, sizeof element, "%s[%d]", name, l);
        sluice_status status = config_word_number(s->file, config_key_place(s, element, place),
                                                  meta_element(list, (size_t)l), words, &word, f);
        if (status) return status;
        c->layers[l].listed = word < N_LAYER_WORDS ? (enum listed_type)word : LISTED_FULL;
    }
    c->has_layer_types = true;
    return SLUICE_OK;
}

/* ---- after derive() ---------------------------------------------------------------------------------------------- */

/* A family has the kinds of layers that its derive() makes; others that a list names it does not have. Those with
 * convolutions have no windows. */
static sluice_status check_listed(const struct model_config *c, const struct key_source *s, const char *name, int l,
                                  struct failure *f)
{
    static const char *const expected[] = {
        [MIX_GQA] = "\"full_attention\" or \"sliding_attention\"",
        [MIX_MLA] = "\"full_attention\"",
        [MIX_DELTA] = "\"linear_attention\"",
        [MIX_CONV] = "\"conv\"",
    };
    char place[KEY_PLACE_BYTES], element[64];
    enum listed_type listed = c->layers[l].listed;
    enum mixer_kind kind = c->layers[l].mixer.kind;
    const bool slides = kind == MIX_GQA && c->conv_kernel == 0;
    bool fits = listed == LISTED_NONE || (listed == LISTED_FULL && !mixer_is_recurrent(&c->layers[l].mixer)) ||
                (listed == LISTED_SLIDING && slides) || (listed == LISTED_LINEAR && kind == MIX_DELTA) ||
                (listed == LISTED_CONV && kind == MIX_CONV);
    snprintf(element, sizeof element, "%s[%d]", name, l);
    if (fits) return SLUICE_OK;
    return fail(f, SLUICE_UNSUPPORTED, "%s: %s: found \"%s\", expected %s", s->file,
                config_key_place(s, element, place), config_layer_words[listed],
                kind == MIX_GQA && !slides ? "\"full_attention\"" : expected[kind]);
}

/* Heads that differ between layers are for families that have them. */
static sluice_status check_overrides(const struct model_config *c, const struct key_source *s, int l, struct failure *f)
{
    char place[KEY_PLACE_BYTES], element[64];
    const struct layer_config *layer = &c->layers[l];
    const int head = layer->mixer.head_dim, kv_heads = layer->mixer.n_kv_heads;
    bool head_fits = layer->listed_head_dim == 0 || layer->listed_head_dim == head;
    bool kv_fits = layer->listed_kv_heads <= 0 || layer->listed_kv_heads == kv_heads;
    if (s->document == DOCUMENT_GGUF || (head_fits && kv_fits)) return SLUICE_OK;
    snprintf(element, sizeof element, "per_layer_config.%d.%s", l, head_fits ? "num_key_value_heads" : "head_dim");
    return fail(f, SLUICE_UNSUPPORTED, "%s: %s: found %d, expected %d", s->file, config_key_place(s, element, place),
                head_fits ? layer->listed_kv_heads : layer->listed_head_dim, head_fits ? kv_heads : head);
}

/* What is wrong with the sizes of a mixer, or NULL. */
static const char *mixer_fault(const struct model_config *c, const struct mixer *m)
{
    const int n_rot = c->rope[m->rope].n_rot;
    if (m->kind == MIX_CONV) return m->conv_kernel < 1 ? "a convolution without taps" : NULL;
    if (m->head_dim < 1 || m->head_dim > MAX_HEAD_DIM || m->v_head_dim < 1 || m->v_head_dim > MAX_HEAD_DIM)
        return "heads that are too narrow or too wide";
    if (m->kind == MIX_DELTA) {
        if (m->conv_kernel < 1) return "a convolution without taps";
        if (m->n_key_heads < 1 || m->n_value_heads < 1 || m->n_value_heads > MAX_HEADS ||
            m->n_value_heads % m->n_key_heads != 0)
            return "value heads that are not a multiple of the key heads";
        return NULL;
    }
    if (m->n_heads < 1 || m->n_kv_heads < 1 || m->n_heads % m->n_kv_heads != 0)
        return "heads that are not a multiple of the key-value heads";
    if (n_rot < 2 || n_rot % 2 != 0 || n_rot > m->head_dim) return "a rotation that does not fit its heads";
    if (m->kind == MIX_MLA && (m->kv_lora_rank < 1 || n_rot == m->head_dim)) return "latent attention without a latent";
    return NULL;
}

static const char *router_fault(const struct router *r)
{
    if (r->n_experts < 1 || r->top_k < 1 || r->top_k > r->n_experts) return "more experts chosen than there are";
    return NULL;
}

/* GGUF counts dense layers from the front, says by a period which layers are full attention, and names the scores. */
static void count_layers(struct model_config *c)
{
    for (int l = 0; l < c->n_layers && c->scoring == SCORING_UNSTATED; l++)
        if (ffn_has_experts(&c->layers[l].ffn))
            c->scoring = c->layers[l].router.score == SCORE_SIGMOID ? SCORING_SIGMOID : SCORING_SOFTMAX;
    int n_dense = 0, first_full = 0;
    while (n_dense < c->n_layers && !ffn_has_experts(&c->layers[n_dense].ffn)) n_dense++;
    if (c->n_experts > 0) c->first_dense_layers = n_dense;
    while (first_full < c->n_layers && c->layers[first_full].mixer.kind == MIX_DELTA) first_full++;
    if (first_full == 0 || first_full == c->n_layers) return;
    for (int l = 0; l < c->n_layers; l++)
        if ((c->layers[l].mixer.kind == MIX_DELTA) != ((l + 1) % (first_full + 1) != 0)) return;
    c->full_attention_interval = first_full + 1;
}

sluice_status config_check_layers(struct model_config *c, const struct key_source *s, const struct field_names *names,
                                  struct failure *f)
{
    sluice_status status = SLUICE_OK;
    for (int l = 0; !status && l < c->n_layers; l++) {
        status = check_listed(c, s, names->layer_types, l, f);
        if (!status) status = check_overrides(c, s, l, f);
    }
    if (!status) status = check_experts(c, s, names, f);
    for (int l = 0; !status && l < c->n_layers; l++) {
        const struct layer_config *layer = &c->layers[l];
        const char *fault = mixer_fault(c, &layer->mixer);
        if (!fault && ffn_has_experts(&layer->ffn)) fault = router_fault(&layer->router);
        if (fault)
            status = fail(f, SLUICE_FORMAT, "%s: layer %d: found %s, expected what can be computed", s->file, l, fault);
    }
    if (!status) count_layers(c);
    return status;
}
