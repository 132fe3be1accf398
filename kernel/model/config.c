/* Owns the way from config.json to struct model_config: which architecture, the keys by its rules, RoPE in both
 * spellings, the per-layer lists, and the checks between fields. GGUF files have other keys for the same: config_gguf.c
 * reads them with the parts that stand here. Read next: arch.h, then one arch_*.c. */
#include "model/config.h"

#include <math.h>
#include <stdio.h>
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

/* ---- one key ---------------------------------------------------------------------------------------------------- */

struct meta config_key_value(const struct key_source *s, const char *name)
{
    char key[KEY_PLACE_BYTES];
    snprintf(key, sizeof key, "%s%s%s", s->prefix ? s->prefix : "", s->prefix ? "." : "", name);
    return archive_meta(s->archive, s->document, key);
}

const char *config_key_place(const struct key_source *s, const char *name, char out[KEY_PLACE_BYTES])
{
    bool quoted = s->document == DOCUMENT_GGUF;
    snprintf(out, KEY_PLACE_BYTES, "%s%s%s%s%s", quoted ? "key \"" : "", s->prefix ? s->prefix : "",
             s->prefix ? "." : "", name, quoted ? "\"" : "");
    return out;
}

sluice_status config_wrong_value(struct failure *f, const char *file, const char *place, struct meta value,
                                 const char *expected)
{
    char found[ESCAPED_BYTES + 16];
    char text[ESCAPED_BYTES];
    switch (value.kind) {
    case META_INT: snprintf(found, sizeof found, "%lld", (long long)value.integer); break;
    case META_FLOAT: snprintf(found, sizeof found, "%.9g", value.number); break;
    case META_BOOL: snprintf(found, sizeof found, "%s", value.boolean ? "true" : "false"); break;
    case META_STRING:
        snprintf(found, sizeof found, "\"%s\"", escape_text(text, sizeof text, value.string, value.n));
        break;
    default: snprintf(found, sizeof found, "%s", meta_kind_name(value.kind)); break;
    }
    return fail(f, SLUICE_FORMAT, "%s: %s: found %s, expected %s", file, place, found, expected);
}

sluice_status config_unsupported(struct failure *f, const char *file, const char *place, struct meta value,
                                 const char *expected)
{
    config_wrong_value(f, file, place, value, expected);
    if (f) f->status = SLUICE_UNSUPPORTED;
    return SLUICE_UNSUPPORTED;
}

bool config_is_absent(struct meta value) { return value.kind == META_ABSENT || value.kind == META_NULL; }

sluice_status config_int(const char *file, const char *place, struct meta value, double min, double max, int *out,
                         struct failure *f)
{
    char expected[96];
    snprintf(expected, sizeof expected, "an integer in %.0f..%.0f", min, max);
    if (value.kind != META_INT || (double)value.integer < min || (double)value.integer > max)
        return config_wrong_value(f, file, place, value, expected);
    *out = (int)value.integer;
    return SLUICE_OK;
}

sluice_status config_float(const char *file, const char *place, struct meta value, double min, double max, double *out,
                           struct failure *f)
{
    char expected[96];
    snprintf(expected, sizeof expected, "a number in %g..%g", min, max);
    if ((value.kind != META_INT && value.kind != META_FLOAT) || !(value.number >= min) || !(value.number <= max))
        return config_wrong_value(f, file, place, value, expected);
    *out = value.number;
    return SLUICE_OK;
}

sluice_status config_bool(const char *file, const char *place, struct meta value, bool *out, struct failure *f)
{
    if (value.kind != META_BOOL) return config_wrong_value(f, file, place, value, "true or false");
    *out = value.boolean;
    return SLUICE_OK;
}

/* The first of the spellings "a|b|c" that is present; `name` receives it (or the first spelling). */
static struct meta find_spelling(const struct key_source *s, const char *spellings, bool null_counts, char *name,
                                 size_t name_cap)
{
    struct meta value = {.kind = META_ABSENT};
    const char *p = spellings;
    while (*p) {
        size_t n = strcspn(p, "|");
        snprintf(name, name_cap, "%.*s", (int)n, p);
        value = config_key_value(s, name);
        if (value.kind != META_ABSENT && (null_counts || value.kind != META_NULL)) return value;
        p += n + (p[n] == '|');
    }
    snprintf(name, name_cap, "%.*s", (int)strcspn(spellings, "|"), spellings);
    return (struct meta){.kind = META_ABSENT};
}

/* An integer, or an array with the same integer for each of n_layers. */
static sluice_status read_int_per_layer(const struct key_source *s, const char *name, struct meta value,
                                        const struct key_rule *rule, int n_layers, int *out, struct failure *f)
{
    char place[KEY_PLACE_BYTES], element[96], expected[64];
    if (value.kind != META_ARRAY)
        return config_int(s->file, config_key_place(s, name, place), value, rule->min, rule->max, out, f);
    if (value.n != (size_t)n_layers)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %zu values, expected one, or one for each of %d layers", s->file,
                    config_key_place(s, name, place), value.n, n_layers);
    for (int l = 0; l < n_layers; l++) {
        int entry = 0;
        struct meta layer = meta_element(value, (size_t)l);
        snprintf(element, sizeof element, "%s[%d]", name, l);
        config_key_place(s, element, place);
        sluice_status status = config_int(s->file, place, layer, rule->min, rule->max, &entry, f);
        if (status) return status;
        snprintf(expected, sizeof expected, "%d as in layer 0", *out);
        if (l > 0 && entry != *out) return config_unsupported(f, s->file, place, layer, expected);
        *out = entry;
    }
    return SLUICE_OK;
}

static sluice_status read_key(struct model_config *c, const struct key_source *s, const struct key_rule *rule,
                              struct failure *f)
{
    char key[64], place[KEY_PLACE_BYTES];
    void *field = (char *)c + rule->offset;
    struct meta value = find_spelling(s, rule->name, rule->kind == KEY_INT_OR_NULL, key, sizeof key);
    config_key_place(s, key, place);
    if (value.kind == META_ABSENT && rule->required) return fail(f, SLUICE_FORMAT, "%s: %s: missing", s->file, place);
    bool absent = value.kind == META_ABSENT;
    switch (rule->kind) {
    case KEY_INT_OR_NULL:
        if (value.kind == META_NULL) {
            *(int *)field = 0;
            return SLUICE_OK;
        } /* fall through */
    case KEY_INT:
        if (!absent) return config_int(s->file, place, value, rule->min, rule->max, field, f);
        *(int *)field = (int)rule->fallback;
        return SLUICE_OK;
    case KEY_INT_PER_LAYER:
        if (!absent) return read_int_per_layer(s, key, value, rule, c->n_layers, field, f);
        *(int *)field = (int)rule->fallback;
        return SLUICE_OK;
    case KEY_FLOAT: {
        double number = rule->fallback;
        sluice_status status =
            absent ? SLUICE_OK : config_float(s->file, place, value, rule->min, rule->max, &number, f);
        *(float *)field = (float)number;
        return status;
    }
    case KEY_BOOL:
        if (!absent) return config_bool(s->file, place, value, field, f);
        *(bool *)field = rule->fallback != 0;
        return SLUICE_OK;
    }
    return SLUICE_OK;
}

sluice_status config_keys(struct model_config *c, const struct key_source *s, const struct key_rule *rules,
                          struct failure *f)
{
    for (const struct key_rule *rule = rules; rule->name; rule++) {
        sluice_status status = read_key(c, s, rule, f);
        if (status) return status;
    }
    return SLUICE_OK;
}

/* ---- architecture ------------------------------------------------------------------------------------------------ */

static const struct arch *arch_named(const char *architecture, const char *model_type)
{
    for (int i = 0; arch_list[i]; i++) {
        if (architecture && strcmp(arch_list[i]->hf_architecture, architecture) == 0) return arch_list[i];
        if (!architecture && model_type && strcmp(arch_list[i]->hf_model_type, model_type) == 0) return arch_list[i];
    }
    return NULL;
}

static sluice_status find_arch(struct model_config *c, const struct archive *a, struct failure *f)
{
    struct meta list = archive_meta(a, DOCUMENT_CONFIG, "architectures");
    struct meta type = archive_meta(a, DOCUMENT_CONFIG, "model_type");
    const char *architecture = NULL, *model_type = type.kind == META_STRING ? type.string : NULL;
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
    if (c->arch) return SLUICE_OK;
    char known[1024] = "", escaped[ESCAPED_BYTES];
    for (int i = 0; arch_list[i]; i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", arch_list[i]->hf_architecture);
    }
    const char *found = architecture ? architecture : model_type;
    return fail(f, SLUICE_UNSUPPORTED, CONFIG ": %s: \"%s\" is not supported (known: %s)",
                architecture ? "architectures" : "model_type",
                escape_text(escaped, sizeof escaped, found, strlen(found)), known);
}

/* ---- RoPE: rope_theta + rope_scaling (hubs), or rope_parameters (transformers 5) --------------------------------- */

const char *const rope_scaling_names[] = {"default", "linear", "llama3", "yarn"};

/* A number of the RoPE object; `fallback` when absent or null. */
static sluice_status rope_number(struct meta object, const char *place, const char *key, double fallback, double min,
                                 double max, double *out, struct failure *f)
{
    char name[96];
    struct meta value = meta_member(object, key);
    *out = fallback;
    if (config_is_absent(value)) {
        if (!isnan(fallback)) return SLUICE_OK;
        return fail(f, SLUICE_FORMAT, CONFIG ": %s.%s: missing", place, key);
    }
    snprintf(name, sizeof name, "%s.%s", place, key);
    return config_float(CONFIG, name, value, min, max, out, f);
}

static sluice_status read_rope_scaling(struct rope_config *r, struct meta object, const char *place, int n_context,
                                       struct failure *f)
{
    char key[64];
    struct meta type = meta_member(object, "rope_type");
    if (config_is_absent(type)) type = meta_member(object, "type");
    if (config_is_absent(type)) return SLUICE_OK;
    snprintf(key, sizeof key, "%s.rope_type", place);
    int kind = -1;
    for (int i = 0; i < N_ROPE_SCALINGS; i++)
        if (type.kind == META_STRING && strcmp(type.string, rope_scaling_names[i]) == 0) kind = i;
    if (kind < 0) return config_unsupported(f, CONFIG, key, type, "one of default, linear, llama3, yarn");
    r->scaling = (enum rope_scaling)kind;
    if (r->scaling == ROPE_DEFAULT) return SLUICE_OK;

    sluice_status s = rope_number(object, place, "factor", NAN, 1e-6, 1e6, &r->factor, f);
    if (s || r->scaling == ROPE_LINEAR) return s;
    /* transformers takes the model's context where the original is not stated */
    s = rope_number(object, place, "original_max_position_embeddings", n_context, 1, 1 << 24, &r->original_context, f);
    if (!s && r->scaling == ROPE_LLAMA3) {
        s = rope_number(object, place, "low_freq_factor", NAN, 1e-6, 1e6, &r->low_freq_factor, f);
        if (!s) s = rope_number(object, place, "high_freq_factor", NAN, 1e-6, 1e6, &r->high_freq_factor, f);
        if (!s && r->high_freq_factor <= r->low_freq_factor)
            s = fail(f, SLUICE_FORMAT, CONFIG ": %s.high_freq_factor: found %g, expected more than low_freq_factor %g",
                     place, r->high_freq_factor, r->low_freq_factor);
        return s;
    }
    if (!s) s = rope_number(object, place, "beta_fast", 32, 1e-6, 1e6, &r->beta_fast, f);
    if (!s) s = rope_number(object, place, "beta_slow", 1, 1e-6, 1e6, &r->beta_slow, f);
    if (!s) s = rope_number(object, place, "attention_factor", 0, 1e-6, 1e6, &r->attention_factor, f);
    if (!s) s = rope_number(object, place, "mscale", 0, 0, 1e6, &r->mscale, f);
    if (!s) s = rope_number(object, place, "mscale_all_dim", 0, 0, 1e6, &r->mscale_all_dim, f);
    if (!s && r->beta_fast < r->beta_slow)
        s = fail(f, SLUICE_FORMAT, CONFIG ": %s.beta_fast: found %g, expected at least beta_slow %g", place,
                 r->beta_fast, r->beta_slow);
    struct meta truncate = meta_member(object, "truncate");
    r->truncate = true;
    snprintf(key, sizeof key, "%s.truncate", place);
    if (!s && !config_is_absent(truncate)) s = config_bool(CONFIG, key, truncate, &r->truncate, f);
    return s;
}

/* Rotating only a part of each head is for families that are not here yet. */
static sluice_status check_whole_rotation(struct meta partial, const char *place, struct failure *f)
{
    if (config_is_absent(partial) || partial.number == 1.0) return SLUICE_OK;
    char key[96];
    snprintf(key, sizeof key, "%spartial_rotary_factor", place);
    return config_unsupported(f, CONFIG, key, partial, "1");
}

static sluice_status read_rope(struct model_config *c, const struct archive *a, struct failure *f)
{
    const char *place = "rope_parameters";
    char prefix[32], theta_key[64];
    struct meta object = archive_meta(a, DOCUMENT_CONFIG, place);
    struct meta scaling = archive_meta(a, DOCUMENT_CONFIG, "rope_scaling");
    if (config_is_absent(object)) {
        place = "rope_scaling";
        object = scaling;
    } else if (!config_is_absent(scaling)) { /* readers disagree on which one wins, and the loser's theta with it */
        return fail(f, SLUICE_FORMAT,
                    CONFIG ": rope_scaling: found beside rope_parameters, expected one of them (the scaling may stand "
                           "in rope_parameters)");
    }
    if (!config_is_absent(object) && object.kind != META_OBJECT)
        return config_wrong_value(f, CONFIG, place, object, "an object or null");
    snprintf(prefix, sizeof prefix, "%s.", place);
    snprintf(theta_key, sizeof theta_key, "%srope_theta", prefix);
    struct meta theta = meta_member(object, "rope_theta");
    if (config_is_absent(theta)) {
        theta = archive_meta(a, DOCUMENT_CONFIG, "rope_theta");
        snprintf(theta_key, sizeof theta_key, "rope_theta");
    }

    c->rope = (struct rope_config){.scaling = ROPE_DEFAULT, .theta = c->arch->default_theta, .factor = 1};
    sluice_status s = check_whole_rotation(archive_meta(a, DOCUMENT_CONFIG, "partial_rotary_factor"), "", f);
    if (!s && !config_is_absent(theta)) s = config_float(CONFIG, theta_key, theta, 1.0 + 1e-9, 1e15, &c->rope.theta, f);
    if (s || config_is_absent(object)) return s;
    s = check_whole_rotation(meta_member(object, "partial_rotary_factor"), prefix, f);
    if (!s) s = read_rope_scaling(&c->rope, object, place, c->n_context, f);
    if (!s) config_stretch_context(c);
    return s;
}

void config_stretch_context(struct model_config *c)
{
    if (c->rope.scaling != ROPE_YARN) return;
    double stretched = c->rope.factor * c->rope.original_context;
    if (stretched > c->n_context) c->n_context = stretched < MAX_CONTEXT ? (int)stretched : MAX_CONTEXT;
}

/* ---- per-layer lists --------------------------------------------------------------------------------------------- */

static sluice_status read_layer_types(struct model_config *c, const struct archive *a, struct failure *f)
{
    struct meta list = archive_meta(a, DOCUMENT_CONFIG, "layer_types");
    if (config_is_absent(list)) return SLUICE_OK;
    if (list.kind != META_ARRAY) return config_wrong_value(f, CONFIG, "layer_types", list, "an array of layers");
    if (list.n != (size_t)c->n_layers)
        return fail(f, SLUICE_FORMAT,
                    CONFIG ": layer_types: found an array of %zu entries, expected an array of %d layers", list.n,
                    c->n_layers);
    for (int l = 0; l < c->n_layers; l++) {
        struct meta type = meta_element(list, (size_t)l);
        bool sliding = type.kind == META_STRING && strcmp(type.string, "sliding_attention") == 0;
        bool full = type.kind == META_STRING && strcmp(type.string, "full_attention") == 0;
        char key[48];
        snprintf(key, sizeof key, "layer_types[%d]", l);
        if (!sliding && !full)
            return config_wrong_value(f, CONFIG, key, type, "\"full_attention\" or \"sliding_attention\"");
        c->layers[l].listed_sliding = sliding;
    }
    c->has_layer_types = true;
    return SLUICE_OK;
}

static sluice_status read_dense_list(struct model_config *c, const struct archive *a, struct failure *f)
{
    struct meta list = archive_meta(a, DOCUMENT_CONFIG, "mlp_only_layers");
    if (config_is_absent(list)) return SLUICE_OK;
    if (list.kind != META_ARRAY)
        return config_wrong_value(f, CONFIG, "mlp_only_layers", list, "an array of layer numbers");
    for (size_t i = 0; i < list.n; i++) {
        int l = 0;
        sluice_status s = config_int(CONFIG, "mlp_only_layers", meta_element(list, i), 0, c->n_layers - 1, &l, f);
        if (s) return s;
        c->layers[l].listed_dense = true;
    }
    return SLUICE_OK;
}

/* ---- checks between fields --------------------------------------------------------------------------------------- */

sluice_status config_check_fields(struct model_config *c, const struct key_source *s, const struct field_names *names,
                                  struct failure *f)
{
    char place[KEY_PLACE_BYTES];
    if (c->n_kv_heads == 0) c->n_kv_heads = c->n_heads;
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
    if (c->top_k > c->n_experts)
        return fail(f, SLUICE_FORMAT, "%s: %s: found %d, expected at most the number of experts, %d", s->file,
                    config_key_place(s, names->top_k, place), c->top_k, c->n_experts);
    return SLUICE_OK;
}

/* FP8 with one scale per tile (DeepSeek-V3, Qwen3 FP8) and MXFP4 (gpt-oss) are read; plan.c checks the tensors. */
static sluice_status check_quantization(struct meta quantization, struct failure *f)
{
    static const char place[] = "quantization_config", methods[] = "\"fp8\" or \"mxfp4\", or no quantization";
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

/* Keys that would change the result and that this program does not implement must not pass in silence. */
static sluice_status check_foreign_keys(const struct archive *a, struct failure *f)
{
    struct meta act = archive_meta(a, DOCUMENT_CONFIG, "hidden_act");
    if (!config_is_absent(act) && (act.kind != META_STRING || strcmp(act.string, "silu") != 0))
        return config_unsupported(f, CONFIG, "hidden_act", act, "\"silu\"");
    return check_quantization(archive_meta(a, DOCUMENT_CONFIG, "quantization_config"), f);
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

static sluice_status read_end_tokens(struct model_config *c, const struct archive *a, enum archive_document d,
                                     struct failure *f)
{
    const char *file = archive_document_name(d);
    struct meta value = archive_meta(a, d, "eos_token_id");
    if (config_is_absent(value)) return SLUICE_OK;
    if (value.kind != META_ARRAY) return config_add_end_token(c, file, "eos_token_id", value, f);
    for (size_t i = 0; i < value.n; i++) {
        sluice_status s = config_add_end_token(c, file, "eos_token_id", meta_element(value, i), f);
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

static sluice_status read_rest(struct model_config *c, struct generation_config *g, const struct archive *a,
                               const struct key_source *source, struct failure *f)
{
    static const struct field_names names = {"hidden_size", "num_attention_heads", "head_dim", "num_experts_per_tok"};
    sluice_status s = config_keys(c, source, c->arch->keys, f);
    if (!s) s = config_check_fields(c, source, &names, f);
    if (!s) s = check_foreign_keys(a, f);
    if (!s) s = read_rope(c, a, f);
    if (!s) s = read_layer_types(c, a, f);
    if (!s) s = read_dense_list(c, a, f);
    if (!s) s = c->arch->derive(c, f);
    if (s) return s;

    struct meta tied = archive_meta(a, DOCUMENT_CONFIG, "tie_word_embeddings");
    if (tied.kind == META_BOOL)
        c->tied_embeddings = tied.boolean;
    else if (!config_is_absent(tied))
        return config_wrong_value(f, CONFIG, "tie_word_embeddings", tied, "true or false");
    else /* the default differs between families and versions: what the files hold decides */
        c->tied_embeddings = archive_n_tensors(a) > 0 && !archive_find(a, "lm_head.weight");

    c->bos_token = -1;
    struct meta bos = archive_meta(a, DOCUMENT_CONFIG, "bos_token_id");
    if (!config_is_absent(bos)) s = config_int(CONFIG, "bos_token_id", bos, 0, c->vocab_size - 1, &c->bos_token, f);
    if (!s) s = read_end_tokens(c, a, DOCUMENT_CONFIG, f);
    if (!s) s = read_end_tokens(c, a, DOCUMENT_GENERATION_CONFIG, f);
    if (!s) s = read_generation(g, a, f);
    return s;
}

sluice_status config_read(struct model_config *c, struct generation_config *g, const struct archive *a,
                          struct failure *f)
{
    const struct key_source source = {a, DOCUMENT_CONFIG, CONFIG, NULL};
    *c = (struct model_config){0};
    if (archive_format(a) == ARCHIVE_GGUF) return config_read_gguf(c, g, a, f);
    sluice_status s = find_arch(c, a, f);
    if (!s) s = config_keys(c, &source, common_keys, f);
    if (s) return s;
    c->layers = memory_calloc((size_t)c->n_layers, sizeof *c->layers);
    if (!c->layers) return fail(f, SLUICE_MEMORY, CONFIG ": no memory for %d layers", c->n_layers);
    s = read_rest(c, g, a, &source, f);
    if (s) config_free(c);
    return s;
}

void config_free(struct model_config *c)
{
    memory_free(c->layers);
    c->layers = NULL;
}

int config_n_moe_layers(const struct model_config *c)
{
    int n = 0;
    for (int l = 0; l < c->n_layers; l++) n += c->layers[l].ffn.kind == FFN_MOE;
    return n;
}

int config_max_head_dim(const struct model_config *c)
{
    int max = 0;
    for (int l = 0; l < c->n_layers; l++)
        if (c->layers[l].mixer.head_dim > max) max = c->layers[l].mixer.head_dim;
    return max;
}
