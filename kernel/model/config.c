/* Owns the way from config.json to struct model_config: which architecture, the keys by its rules, the lists of layers,
 * tokens, and sampling defaults. RoPE is in config_rope.c, what GGUF files have instead in config_gguf.c, and what both
 * share in config_keys.c and config_check.c. Read next: arch.h, then one arch_*.c. */
#include "model/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/config_parts.h"

#define CONFIG "config.json"

static const struct key_rule common_keys[] = {
    KEY_RULE("hidden_size", KEY_INT, hidden_size, true, 0, 1, MAX_HIDDEN),
    KEY_RULE("num_hidden_layers", KEY_INT, n_layers, true, 0, 1, MAX_LAYERS),
    KEY_RULE("num_attention_heads", KEY_INT, n_heads, true, 0, 1, MAX_HEADS),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 0, 1, MAX_HEADS),
    KEY_RULE("head_dim", KEY_INT, head_dim, false, 0, 2, MAX_HEAD_DIM),
    KEY_RULE("vocab_size", KEY_INT, vocab_size, true, 0, 1, MAX_VOCAB),
    KEY_RULE("max_position_embeddings", KEY_INT, n_context, false, 2048, 1, MAX_CONTEXT),
    KEY_RULE("rms_norm_eps", KEY_FLOAT, rms_norm_eps, false, 1e-6, 1e-30, 1),
    {0},
};

/* ---- architecture ------------------------------------------------------------------------------------------------ */

static bool is_spelling(const char *spellings, const char *text)
{
    const size_t length = strlen(text);
    for (const char *p = spellings; *p;) {
        size_t n = strcspn(p, "|");
        if (n == length && memcmp(p, text, n) == 0) return true;
        p += n + (p[n] == '|');
    }
    return false;
}

static const struct arch *arch_named(const char *architecture, const char *model_type)
{
    for (int i = 0; arch_list[i]; i++) {
        if (architecture && is_spelling(arch_list[i]->hf_architecture, architecture)) return arch_list[i];
        if (!architecture && model_type && is_spelling(arch_list[i]->hf_model_type, model_type)) return arch_list[i];
    }
    return NULL;
}

struct known_name {
    char text[64];
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct known_name *)a)->text, ((const struct known_name *)b)->text);
}

/* "Gemma2ForCausalLM, Gemma3ForCausalLM, ...": every spelling, sorted. */
static void list_known(char *out, size_t cap)
{
    enum { MAX_KNOWN = 128 };
    struct known_name names[MAX_KNOWN];
    size_t n = 0, at = 0;
    for (int i = 0; arch_list[i]; i++)
        for (const char *p = arch_list[i]->hf_architecture; *p && n < MAX_KNOWN;) {
            const size_t length = strcspn(p, "|");
            snprintf(names[n++].text, sizeof names->text, "%.*s", (int)length, p); /* bounded: a name of ours */
            p += length + (p[length] == '|');
        }
    qsort(names, n, sizeof *names, compare_names);
    out[0] = 0;
    for (size_t i = 0; i < n && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? ", " : "", names[i].text);
}

static const char *model_type_at(const struct archive *a, const char *key)
{
    struct meta type = archive_meta(a, DOCUMENT_CONFIG, key);
    return type.kind == META_STRING ? type.string : NULL;
}

static sluice_status find_arch(struct model_config *c, const struct archive *a, struct failure *f)
{
    struct meta list = archive_meta(a, DOCUMENT_CONFIG, "architectures");
    const char *architecture = NULL, *model_type = model_type_at(a, "model_type"),
               *text_type = model_type_at(a, "text_config.model_type");
    if (list.kind == META_ARRAY && list.n == 1 && meta_element(list, 0).kind == META_STRING)
        architecture = meta_element(list, 0).string;
    else if (list.kind == META_ARRAY)
        return fail(f, SLUICE_FORMAT, CONFIG ": architectures: found an array of %zu, expected an array of one string",
                    list.n);
    else if (!config_is_absent(list))
        return config_wrong_value(f, CONFIG, "architectures", list, "an array of one string");
    if (!architecture && !model_type)
        return fail(f, SLUICE_FORMAT, CONFIG ": architectures: missing, and so is model_type");

    c->arch = arch_named(architecture, model_type);
    if (!c->arch && !architecture) c->arch = arch_named(NULL, text_type);
    if (c->arch) return SLUICE_OK;
    char known[2048], escaped[ESCAPED_BYTES];
    list_known(known, sizeof known);
    const char *found = architecture ? architecture : model_type;
    return fail(f, SLUICE_UNSUPPORTED, CONFIG ": %s: \"%s\" is not supported (known: %s)",
                architecture ? "architectures" : "model_type",
                escape_text(escaped, sizeof escaped, found, strlen(found)), known);
}

/* Multimodal models keep what concerns text in an object of its own. */
static sluice_status find_text_config(struct key_source *s, struct failure *f)
{
    struct meta text = archive_meta(s->archive, DOCUMENT_CONFIG, "text_config");
    if (text.kind == META_OBJECT) s->prefix = "text_config";
    if (text.kind == META_OBJECT || config_is_absent(text)) return SLUICE_OK;
    return config_wrong_value(f, CONFIG, "text_config", text, "an object");
}

/* What may stand there or beside it, under any of its spellings. */
static struct meta text_or_top(const struct key_source *s, const char *spellings, char place[KEY_PLACE_BYTES])
{
    char name[64];
    struct meta value = config_find_spelling(s, spellings, false, name, sizeof name);
    struct key_source top = *s;
    top.prefix = NULL;
    bool at_top = value.kind == META_ABSENT;
    if (at_top) value = config_find_spelling(&top, spellings, false, name, sizeof name);
    config_key_place(at_top ? &top : s, name, place);
    return value;
}

/* ---- per-layer lists --------------------------------------------------------------------------------------------- */

/* LFM2's old word for its layers: those with attention; the others are convolutions. */
static sluice_status read_full_layers(struct model_config *c, const struct key_source *s, struct failure *f)
{
    bool full[MAX_LAYERS], found = false;
    if (c->has_layer_types) return SLUICE_OK;
    sluice_status status = config_layer_numbers(s, "full_attn_idxs", c->n_layers, full, &found, f);
    if (status || !found) return status;
    for (int l = 0; l < c->n_layers; l++) c->layers[l].listed = full[l] ? LISTED_FULL : LISTED_CONV;
    c->has_layer_types = true;
    return SLUICE_OK;
}

static sluice_status read_dense_list(struct model_config *c, const struct key_source *s, struct failure *f)
{
    bool dense[MAX_LAYERS], found = false;
    sluice_status status = config_layer_numbers(s, "mlp_only_layers", c->n_layers, dense, &found, f);
    for (int l = 0; !status && l < c->n_layers; l++) c->layers[l].listed_dense |= dense[l];
    return status;
}

static sluice_status read_mlp_types(struct model_config *c, const struct key_source *s, struct failure *f)
{
    char place[KEY_PLACE_BYTES], element[64];
    struct meta list = config_key_value(s, "mlp_layer_types");
    config_key_place(s, "mlp_layer_types", place);
    if (config_is_absent(list)) return SLUICE_OK;
    if (list.kind != META_ARRAY) return config_wrong_value(f, s->file, place, list, "an array of layers");
    if (list.n != (size_t)c->n_layers)
        return fail(f, SLUICE_FORMAT, "%s: %s: found an array of %zu entries, expected an array of %d layers", s->file,
                    place, list.n, c->n_layers);
    for (int l = 0; l < c->n_layers; l++) {
        int word = 0;
        snprintf(element, sizeof element, "mlp_layer_types[%d]", l);
        sluice_status status = config_word_number(s->file, config_key_place(s, element, place),
                                                  meta_element(list, (size_t)l), "sparse|dense", &word, f);
        if (status) return status;
        c->layers[l].listed_dense = word == 1;
    }
    c->has_dense_list = true;
    return SLUICE_OK;
}

/* One layer of the list: its heads. */
static sluice_status read_override(struct layer_config *layer, struct meta one, const char *file, const char *place,
                                   struct failure *f)
{
    char head_place[KEY_PLACE_BYTES + 32], kv_place[KEY_PLACE_BYTES + 32];
    struct meta head = meta_member(one, "head_dim"), kv_heads = meta_member(one, "num_key_value_heads");
    const size_t n_known = (size_t)(head.kind != META_ABSENT) + (kv_heads.kind != META_ABSENT);
    snprintf(head_place, sizeof head_place, "%s.head_dim", place);
    snprintf(kv_place, sizeof kv_place, "%s.num_key_value_heads", place);
    if (one.kind != META_OBJECT || one.n != n_known)
        return config_unsupported(f, file, place, one, "an object with head_dim, num_key_value_heads or both");
    sluice_status status = SLUICE_OK;
    if (!config_is_absent(head))
        status = config_int(file, head_place, head, 2, MAX_HEAD_DIM, &layer->listed_head_dim, f);
    if (!status && !config_is_absent(kv_heads))
        status = config_int(file, kv_place, kv_heads, 1, MAX_HEADS, &layer->listed_kv_heads, f);
    return status;
}

/* What transformers 5 saves of Gemma 4 instead of global_head_dim and num_global_key_value_heads: an object by number
 * of layer. All heads that it lists are of one size, which config_check_layers sees to. */
static sluice_status read_layer_overrides(struct model_config *c, const struct key_source *s, struct failure *f)
{
    char place[KEY_PLACE_BYTES], name[64];
    struct meta all = config_key_value(s, "per_layer_config");
    size_t n_found = 0;
    config_key_place(s, "per_layer_config", place);
    if (config_is_absent(all)) return SLUICE_OK;
    if (all.kind != META_OBJECT) return config_wrong_value(f, s->file, place, all, "an object");
    c->global_head_dim = c->head_dim;
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        snprintf(name, sizeof name, "%d", l);
        struct meta one = meta_member(all, name);
        if (one.kind == META_ABSENT) continue;
        n_found++;
        snprintf(name, sizeof name, "per_layer_config.%d", l);
        sluice_status status = read_override(layer, one, s->file, config_key_place(s, name, place), f);
        if (status) return status;
        if (layer->listed_head_dim > 0) c->global_head_dim = layer->listed_head_dim;
    }
    if (n_found == all.n) return SLUICE_OK;
    return fail(f, SLUICE_FORMAT, "%s: %s: found %zu entries, expected numbers of layers in 0..%d", s->file,
                config_key_place(s, "per_layer_config", place), all.n, c->n_layers - 1);
}

/* Heads of the layers without a window, where they are others. */
static sluice_status check_global_heads(const struct model_config *c, const struct key_source *s, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    struct meta head = config_key_value(s, "global_head_dim");
    if (head.kind == META_INT && c->global_head_dim % 2 != 0)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected an even number in 2..%d", s->file,
                    config_key_place(s, "global_head_dim", place), c->global_head_dim, (int)MAX_HEAD_DIM);
    if (c->k_is_v && c->global_kv_heads > 0 && c->n_heads % c->global_kv_heads != 0)
        return fail(f, SLUICE_FORMAT, "%s: %s: %d heads are not a multiple of %d key-value heads", s->file,
                    config_key_place(s, "num_global_key_value_heads", place), c->n_heads, c->global_kv_heads);
    return SLUICE_OK;
}

static sluice_status read_lists(struct model_config *c, const struct key_source *s, struct failure *f)
{
    sluice_status status = config_layer_types(c, s, "layer_types", f);
    if (!status) status = read_full_layers(c, s, f);
    if (!status) status = read_dense_list(c, s, f);
    return status ? status : read_mlp_types(c, s, f);
}

/* ---- what would change the result and is not implemented --------------------------------------------------------- */

/* FP8 with one scale per tile (DeepSeek-V3, Qwen3 FP8) and MXFP4 (gpt-oss) are read; plan.c checks the tensors. */
static sluice_status check_quantization(struct meta quantization, const char *place, struct failure *f)
{
    static const char methods[] = "\"fp8\" or \"mxfp4\", or no quantization";
    struct meta method = meta_member(quantization, "quant_method");
    if (config_is_absent(quantization)) return SLUICE_OK;
    if (config_is_absent(method)) return config_unsupported(f, CONFIG, place, quantization, methods);
    bool fp8 = method.kind == META_STRING && strcmp(method.string, "fp8") == 0;
    bool mxfp4 = method.kind == META_STRING && strcmp(method.string, "mxfp4") == 0;
    if (!fp8 && !mxfp4) return config_unsupported(f, CONFIG, "quantization_config.quant_method", method, methods);
    if (mxfp4) return SLUICE_OK;

    struct meta format = meta_member(quantization, "fmt"), size = meta_member(quantization, "weight_block_size");
    if (!config_is_absent(format) && (format.kind != META_STRING || strcmp(format.string, "e4m3") != 0))
        return config_unsupported(f, CONFIG, "quantization_config.fmt", format, "\"e4m3\"");
    if (config_is_absent(size)) return SLUICE_OK;
    if (size.kind != META_ARRAY || size.n != 2)
        return config_unsupported(f, CONFIG, "quantization_config.weight_block_size", size, "[128, 128]");
    for (size_t i = 0; i < 2; i++) {
        struct meta side = meta_element(size, i);
        if (side.kind != META_INT || side.integer != 128)
            return config_unsupported(f, CONFIG, "quantization_config.weight_block_size", side, "[128, 128]");
    }
    return SLUICE_OK;
}

static sluice_status check_activation(const struct model_config *c, const struct key_source *s, struct failure *f)
{
    const char *keys = c->arch->activation_keys ? c->arch->activation_keys : "hidden_act";
    const char *words = c->arch->activation_words ? c->arch->activation_words : "silu";
    char name[64], place[KEY_PLACE_BYTES];
    int word;
    struct meta value = config_find_spelling(s, keys, false, name, sizeof name);
    if (value.kind == META_ABSENT) return SLUICE_OK;
    return config_word_number(s->file, config_key_place(s, name, place), value, words, &word, f);
}

static sluice_status check_neutral(const struct key_source *s, const struct key_neutral *key, struct failure *f)
{
    char place[KEY_PLACE_BYTES], expected[96], values[2][32];
    struct meta value = config_key_value(s, key->name);
    bool is_bool = value.kind == META_BOOL, is_number = value.kind == META_INT || value.kind == META_FLOAT;
    double number = is_bool ? value.boolean : value.number;
    if (config_is_absent(value)) return SLUICE_OK;
    if ((is_bool || is_number) && (number == key->values[0] || number == key->values[1])) return SLUICE_OK;
    for (int i = 0; i < 2; i++)
        if (is_bool)
            snprintf(values[i], sizeof values[i], "%s", key->values[i] != 0 ? "true" : "false");
        else
            snprintf(values[i], sizeof values[i], "%g", key->values[i]);
    bool one = strcmp(values[0], values[1]) == 0;
    snprintf(expected, sizeof expected, "%s%s%s (not supported)", values[0], one ? "" : " or ", one ? "" : values[1]);
    return config_unsupported(f, s->file, config_key_place(s, key->name, place), value, expected);
}

/* Such keys must not pass in silence. */
static sluice_status check_foreign_keys(const struct model_config *c, const struct key_source *s, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    sluice_status status = check_activation(c, s, f);
    for (const struct key_neutral *key = c->arch->refused; !status && key && key->name; key++)
        status = check_neutral(s, key, f);
    if (status) return status;
    struct meta quantization = text_or_top(s, "quantization_config", place);
    return check_quantization(quantization, place, f);
}

/* ---- end tokens and sampling defaults ---------------------------------------------------------------------------- */

sluice_status config_add_end_token(struct model_config *c, const char *file, const char *place, struct meta value,
                                   struct failure *f)
{
    int id = 0;
    sluice_status s = config_int(file, place, value, 0, c->vocab_size - 1, &id, f);
    if (s) return s;
    for (int i = 0; i < c->n_end_tokens; i++)
        if (c->end_tokens[i] == id) return SLUICE_OK;
    if (c->n_end_tokens == MAX_END_TOKENS)
        return fail(f, SLUICE_FORMAT, "%s: %s: more than %d different ids", file, place, MAX_END_TOKENS);
    c->end_tokens[c->n_end_tokens++] = id;
    return SLUICE_OK;
}

static sluice_status read_end_tokens(struct model_config *c, const struct key_source *source, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    struct meta value = config_key_value(source, "eos_token_id");
    config_key_place(source, "eos_token_id", place);
    if (config_is_absent(value)) return SLUICE_OK;
    if (value.kind != META_ARRAY) return config_add_end_token(c, source->file, place, value, f);
    for (size_t i = 0; i < value.n; i++) {
        sluice_status s = config_add_end_token(c, source->file, place, meta_element(value, i), f);
        if (s) return s;
    }
    return SLUICE_OK;
}

static sluice_status generation_number(const struct archive *a, const char *key, double min, double max, float *out,
                                       struct failure *f)
{
    struct meta value = archive_meta(a, DOCUMENT_GENERATION_CONFIG, key);
    if (config_is_absent(value)) return SLUICE_OK;
    double number = 0;
    sluice_status s = config_float("generation_config.json", key, value, min, max, &number, f);
    if (!s) *out = (float)number;
    return s;
}

static sluice_status read_generation(struct generation_config *g, const struct archive *a, struct failure *f)
{
    const enum archive_document d = DOCUMENT_GENERATION_CONFIG;
    *g = (struct generation_config){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    struct meta value = archive_meta(a, d, "do_sample");
    sluice_status s = SLUICE_OK;
    if (!config_is_absent(value)) s = config_bool("generation_config.json", "do_sample", value, &g->do_sample, f);
    if (!s) s = generation_number(a, "temperature", 0, 100, &g->temperature, f);
    if (!s) s = generation_number(a, "top_p", 1e-9, 1, &g->top_p, f);
    if (!s) s = generation_number(a, "min_p", 0, 1 - 1e-6, &g->min_p, f);
    if (!s) s = generation_number(a, "repetition_penalty", 1e-3, 1e3, &g->repetition_penalty, f);
    value = archive_meta(a, d, "top_k");
    if (!s && !config_is_absent(value))
        s = config_int("generation_config.json", "top_k", value, 0, MAX_VOCAB, &g->top_k, f);
    return s;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

/* Where no key says it, what the files hold decides: the default differs between families and versions. */
static sluice_status read_tied(struct model_config *c, const struct key_source *s, struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    const struct archive *a = s->archive;
    const char *keys = c->arch->tied_keys ? c->arch->tied_keys : "tie_word_embeddings";
    struct meta tied = text_or_top(s, keys, place);
    if (!config_is_absent(tied)) return config_bool(s->file, place, tied, &c->tied_embeddings, f);
    c->tied_embeddings = archive_n_tensors(a) > 0 && !archive_find(a, "lm_head.weight") &&
                         !archive_find(a, "language_model.lm_head.weight");
    return SLUICE_OK;
}

static sluice_status read_tokens(struct model_config *c, const struct key_source *source, struct failure *f)
{
    const struct key_source top = {source->archive, source->document, source->file, NULL};
    const struct key_source generation = {source->archive, DOCUMENT_GENERATION_CONFIG,
                                          archive_document_name(DOCUMENT_GENERATION_CONFIG), NULL};
    char place[KEY_PLACE_BYTES];
    struct meta bos = text_or_top(source, "bos_token_id", place);
    sluice_status s = SLUICE_OK;
    c->bos_token = -1;
    if (!config_is_absent(bos)) s = config_int(source->file, place, bos, 0, c->vocab_size - 1, &c->bos_token, f);
    if (!s) s = read_end_tokens(c, source, f); /* all that anyone names end a turn */
    if (!s && source->prefix) s = read_end_tokens(c, &top, f);
    return s ? s : read_end_tokens(c, &generation, f);
}

static sluice_status read_rest(struct model_config *c, struct generation_config *g, const struct key_source *source,
                               struct failure *f)
{
    static const struct field_names names = {
        .hidden_size = "hidden_size",
        .n_heads = "num_attention_heads",
        .n_kv_heads = "num_key_value_heads",
        .head_dim = "head_dim",
        .n_rot = "qk_rope_head_dim",
        .top_k = "num_experts_per_tok|experts_per_token|top_k_experts",
        .n_group = "n_group",
        .topk_group = "topk_group",
        .n_value_heads = "linear_num_value_heads",
        .layer_types = "layer_types",
    };
    sluice_status s = config_keys(c, source, c->arch->keys, NULL, f);
    if (!s) s = config_check_fields(c, source, &names, f);
    if (!s) s = check_foreign_keys(c, source, f);
    if (!s) s = check_global_heads(c, source, f);
    if (!s) s = read_layer_overrides(c, source, f);
    if (!s) s = config_read_rope(c, source, f);
    if (!s) s = read_lists(c, source, f);
    if (!s) s = config_derive(c, CONFIG, f);
    if (!s) s = config_check_layers(c, source, &names, f);
    if (!s) s = read_tied(c, source, f);
    if (!s) s = read_tokens(c, source, f);
    if (!s) s = read_generation(g, source->archive, f);
    return s;
}

sluice_status config_read(struct model_config *c, struct generation_config *g, const struct archive *a,
                          struct failure *f)
{
    struct key_source source = {a, DOCUMENT_CONFIG, CONFIG, NULL};
    *c = (struct model_config){.embedding_scale = 1};
    if (archive_format(a) == ARCHIVE_GGUF) return config_read_gguf(c, g, a, f);
    sluice_status s = find_arch(c, a, f);
    if (!s) s = find_text_config(&source, f);
    if (!s) s = config_keys(c, &source, common_keys, c->arch->keys, f);
    if (!s) s = config_make_layers(c, CONFIG, f);
    if (s) return s;
    s = read_rest(c, g, &source, f);
    if (s) config_free(c);
    return s;
}

sluice_status config_make_layers(struct model_config *c, const char *file, struct failure *f)
{
    c->layers = memory_calloc((size_t)c->n_layers, sizeof *c->layers);
    if (!c->layers) return fail(f, SLUICE_MEMORY, "%s: no memory for %d layers", file, c->n_layers);
    for (int l = 0; l < c->n_layers; l++) c->layers[l].listed_kv_heads = -1;
    return SLUICE_OK;
}

void config_free(struct model_config *c)
{
    memory_free(c->layers);
    c->layers = NULL;
}

sluice_status config_derive(struct model_config *c, const char *file, struct failure *f)
{
    return c->arch->derive(c, f) ? fail_in(f, file) : SLUICE_OK;
}

int config_n_moe_layers(const struct model_config *c)
{
    int n = 0;
    for (int l = 0; l < c->n_layers; l++) n += ffn_has_experts(&c->layers[l].ffn);
    return n;
}
