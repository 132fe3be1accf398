/* Owns RoPE in config.json, in both spellings: rope_theta beside rope_scaling (hubs), and rope_parameters (transformers
 * 5), which may be a map of such objects by type of layer. M-RoPE (mrope_section) needs nothing: for text all its
 * positions are equal. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config_parts.h"

const char *const rope_scaling_names[] = {"default", "linear", "llama3", "yarn", "proportional"};

/* One of a model's tables in the file. */
struct rope_source {
    const struct key_source *keys;
    struct meta object;                     /* may be absent */
    const char *place;                      /* of the object */
    const char *theta_name;                 /* of the key that holds theta where the object does not */
    double default_theta, default_partial;  /* partial 0: nothing but 1 is implemented */
    const struct rope_config *default_rope; /* without an object; NULL: without scaling */
    bool share_is_scaling;                  /* without scaling heads rotate as a whole, whatever default_partial says */
    int width;                              /* elements of a head that would rotate if all of it did */
    int n_context;
};

int config_rope_width(const struct model_config *c, enum rope_index i)
{
    if (c->kv_lora_rank > 0) return c->qk_rope_head_dim;
    return i == ROPE_GLOBAL && c->global_head_dim > 0 ? c->global_head_dim : c->head_dim;
}

void config_stretch_context(struct model_config *c)
{
    if (c->rope[0].scaling != ROPE_YARN) return;
    double stretched = c->rope[0].factor * c->rope[0].original_context;
    if (stretched > c->n_context) c->n_context = stretched < MAX_CONTEXT ? (int)stretched : MAX_CONTEXT;
}

/* A number of the RoPE object; `fallback` when absent or null. */
static sluice_status rope_number(const struct rope_source *source, const char *key, double fallback, double min,
                                 double max, double *out, struct failure *f)
{
    char name[KEY_PLACE_BYTES + 64];
    struct meta value = meta_member(source->object, key);
    *out = fallback;
    if (config_is_absent(value)) {
        if (!isnan(fallback)) return SLUICE_OK;
        return fail(f, SLUICE_FORMAT, "%s: %s.%s: missing", source->keys->file, source->place, key);
    }
    snprintf(name, sizeof name, "%s.%s", source->place, key);
    return config_float(source->keys->file, name, value, min, max, out, f);
}

static sluice_status read_llama3(struct rope_config *r, const struct rope_source *source, struct failure *f)
{
    sluice_status s = rope_number(source, "low_freq_factor", NAN, 1e-6, 1e6, &r->low_freq_factor, f);
    if (!s) s = rope_number(source, "high_freq_factor", NAN, 1e-6, 1e6, &r->high_freq_factor, f);
    if (!s && r->high_freq_factor <= r->low_freq_factor)
        s = fail(f, SLUICE_FORMAT, "%s: %s.high_freq_factor: found %g, expected more than low_freq_factor %g",
                 source->keys->file, source->place, r->high_freq_factor, r->low_freq_factor);
    return s;
}

static sluice_status read_yarn(struct rope_config *r, const struct rope_source *source, struct failure *f)
{
    char key[KEY_PLACE_BYTES + 64];
    struct meta truncate = meta_member(source->object, "truncate");
    sluice_status s = rope_number(source, "beta_fast", 32, 1e-6, 1e6, &r->beta_fast, f);
    if (!s) s = rope_number(source, "beta_slow", 1, 1e-6, 1e6, &r->beta_slow, f);
    if (!s) s = rope_number(source, "attention_factor", 0, 1e-6, 1e6, &r->attention_factor, f);
    if (!s) s = rope_number(source, "mscale", 0, 0, 1e6, &r->mscale, f);
    if (!s && r->beta_fast < r->beta_slow)
        s = fail(f, SLUICE_FORMAT, "%s: %s.beta_fast: found %g, expected at least beta_slow %g", source->keys->file,
                 source->place, r->beta_fast, r->beta_slow);
    r->truncate = true;
    snprintf(key, sizeof key, "%s.truncate", source->place);
    if (!s && !config_is_absent(truncate)) s = config_bool(source->keys->file, key, truncate, &r->truncate, f);
    return s;
}

static sluice_status read_scaling(struct rope_config *r, const struct rope_source *source, struct failure *f)
{
    char key[KEY_PLACE_BYTES + 64];
    struct meta type = meta_member(source->object, "rope_type");
    if (config_is_absent(type)) type = meta_member(source->object, "type");
    if (config_is_absent(type)) return SLUICE_OK;
    int kind = -1;
    for (int i = 0; i < N_ROPE_SCALINGS; i++)
        if (type.kind == META_STRING && strcmp(type.string, rope_scaling_names[i]) == 0) kind = i;
    snprintf(key, sizeof key, "%s.rope_type", source->place);
    if (kind < 0) return config_unsupported(f, source->keys->file, key, type, ROPE_SCALING_LIST);
    r->scaling = (enum rope_scaling)kind;
    if (r->scaling == ROPE_DEFAULT) return SLUICE_OK;

    double no_factor = r->scaling == ROPE_PROPORTIONAL ? 1 : NAN;
    sluice_status s = rope_number(source, "factor", no_factor, 1e-6, 1e6, &r->factor, f);
    if (!s) s = rope_number(source, "mscale_all_dim", 0, 0, 1e6, &r->mscale_all_dim, f); /* latent attention: of any */
    if (s || r->scaling == ROPE_LINEAR || r->scaling == ROPE_PROPORTIONAL) return s;
    /* transformers takes the model's context where the original is not stated */
    s = rope_number(source, "original_max_position_embeddings", source->n_context, 1, MAX_CONTEXT, &r->original_context,
                    f);
    if (s) return s;
    return r->scaling == ROPE_LLAMA3 ? read_llama3(r, source, f) : read_yarn(r, source, f);
}

/* How much of a head rotates: partial_rotary_factor of the object, or beside it. */
static sluice_status read_partial(struct rope_config *r, const struct rope_source *source, struct failure *f)
{
    static const char name[] = "partial_rotary_factor";
    const char *file = source->keys->file;
    char places[2][KEY_PLACE_BYTES + 64], expected[96];
    struct meta values[2] = {meta_member(source->object, name), config_key_value(source->keys, name)};
    bool is_share = source->default_partial > 0 && !(source->share_is_scaling && r->scaling == ROPE_DEFAULT);
    bool usual = is_share && (!source->share_is_scaling || config_is_absent(source->object));
    double partial = usual ? source->default_partial : 1;
    snprintf(places[0], sizeof places[0], "%s.%s", source->place, name);
    config_key_place(source->keys, name, places[1]);
    int from = config_is_absent(values[0]) ? 1 : 0;
    for (int i = 0; i < 2 && !is_share; i++)
        if (!config_is_absent(values[i]) && values[i].number != 1)
            return config_unsupported(f, file, places[i], values[i], "1");
    if (!config_is_absent(values[from])) {
        sluice_status s = config_float(file, places[from], values[from], 1e-6, 1, &partial, f);
        if (s) return s;
    }
    r->n_rot = source->width;
    if (r->scaling == ROPE_PROPORTIONAL) {
        r->partial = partial;
        return SLUICE_OK;
    }
    r->n_rot = (int)(source->width * partial);
    snprintf(expected, sizeof expected, "a share of %d elements that is even and at least 2", source->width);
    if (r->n_rot >= 2 && r->n_rot % 2 == 0) return SLUICE_OK;
    return config_wrong_value(f, file, places[from], (struct meta){.kind = META_FLOAT, .number = partial}, expected);
}

static sluice_status read_theta(struct rope_config *r, const struct rope_source *source, struct failure *f)
{
    char place[KEY_PLACE_BYTES + 64];
    struct meta theta = meta_member(source->object, "rope_theta");
    snprintf(place, sizeof place, "%s.rope_theta", source->place);
    if (config_is_absent(theta)) {
        theta = config_key_value(source->keys, source->theta_name);
        config_key_place(source->keys, source->theta_name, place);
    }
    r->theta = source->default_theta;
    if (config_is_absent(theta)) return SLUICE_OK;
    return config_float(source->keys->file, place, theta, 1.0 + 1e-9, 1e15, &r->theta, f);
}

static sluice_status read_table(struct rope_config *r, const struct rope_source *source, struct failure *f)
{
    if (!config_is_absent(source->object) && source->object.kind != META_OBJECT)
        return config_wrong_value(f, source->keys->file, source->place, source->object, "an object or null");
    *r = (struct rope_config){.scaling = ROPE_DEFAULT, .factor = 1};
    if (config_is_absent(source->object) && source->default_rope) *r = *source->default_rope;
    sluice_status s = read_theta(r, source, f);
    if (!s) s = read_scaling(r, source, f);
    return s ? s : read_partial(r, source, f);
}

/* The object of a type of layers in a map of such objects. */
static bool is_map(struct meta object)
{
    static const char *const types[] = {"full_attention", "sliding_attention", "linear_attention"};
    bool is = false;
    if (object.kind != META_OBJECT) return false;
    for (int i = 0; i < 3; i++) is |= meta_member(object, types[i]).kind != META_ABSENT;
    return is;
}

/* The object that holds the scaling, under either name. */
static sluice_status find_object(const struct key_source *s, struct meta *object, char place[KEY_PLACE_BYTES],
                                 bool *is_new, struct failure *f)
{
    struct meta scaling = config_key_value(s, "rope_scaling");
    *object = config_key_value(s, "rope_parameters");
    *is_new = !config_is_absent(*object);
    if (*is_new && !config_is_absent(scaling)) /* readers disagree on which one wins, and the loser's theta with it */
        return fail(f, SLUICE_FORMAT,
                    "%s: %s: found beside rope_parameters, expected one of them (the scaling may stand in "
                    "rope_parameters)",
                    s->file, config_key_place(s, "rope_scaling", place));
    if (!*is_new) *object = scaling;
    config_key_place(s, *is_new ? "rope_parameters" : "rope_scaling", place);
    return SLUICE_OK;
}

/* Where one object is all there is, Gemma 3's old files mean the table of all layers but the sliding ones. */
sluice_status config_read_rope(struct model_config *c, const struct key_source *s, struct failure *f)
{
    const bool has_local = c->arch->default_local_theta > 0;
    char place[KEY_PLACE_BYTES], full_place[KEY_PLACE_BYTES + 32], local_place[KEY_PLACE_BYTES + 32];
    struct meta object, local = {.kind = META_ABSENT};
    bool is_new;
    sluice_status status = find_object(s, &object, place, &is_new, f);
    if (status) return status;
    const bool map = is_new && is_map(object);
    snprintf(full_place, sizeof full_place, "%s%s", place, map ? ".full_attention" : "");
    snprintf(local_place, sizeof local_place, "%s.sliding_attention", place);
    if (map) {
        local = meta_member(object, "sliding_attention");
        object = meta_member(object, "full_attention");
        if (!has_local && !config_is_absent(local))
            return config_unsupported(f, s->file, local_place, local, "one rotation for all layers");
    } else if (is_new && has_local && object.kind == META_OBJECT && object.n > 0) {
        return fail(f, SLUICE_FORMAT, "%s: %s.full_attention: missing, and so is sliding_attention", s->file, place);
    }

    const struct rope_source full = {
        .keys = s,
        .object = object,
        .place = full_place,
        .theta_name = "rope_theta",
        .default_theta = c->arch->default_theta,
        .default_partial = c->arch->default_partial,
        .default_rope = c->arch->default_rope,
        .share_is_scaling = c->arch->default_rope != NULL,
        .width = config_rope_width(c, ROPE_GLOBAL),
        .n_context = c->n_context,
    };
    status = read_table(&c->rope[ROPE_GLOBAL], &full, f);
    if (!status && has_local) {
        struct rope_source sliding = full;
        sliding.object = local;
        sliding.place = local_place;
        sliding.theta_name = "rope_local_base_freq";
        sliding.default_theta = c->arch->default_local_theta;
        sliding.default_partial = c->arch->default_partial > 0 ? 1 : 0;
        sliding.default_rope = NULL;
        sliding.width = config_rope_width(c, ROPE_LOCAL);
        status = read_table(&c->rope[ROPE_LOCAL], &sliding, f);
    }
    if (!status) config_stretch_context(c);
    return status;
}
