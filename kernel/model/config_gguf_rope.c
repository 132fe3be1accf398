/* Owns RoPE in GGUF files: the standard keys, ours for what they round or lack, and the key of two tables. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/config_parts.h"

const char *const gguf_rope_prefixes[] = {"sluice.rope", "sluice.rope_local"};

const struct rope_field gguf_rope_fields[] = {
    ROPE_FIELD(theta, 1.0 + 1e-9, 1e15),
    ROPE_FIELD(factor, 1e-6, 1e6),
    ROPE_FIELD(low_freq_factor, 1e-6, 1e6),
    ROPE_FIELD(high_freq_factor, 1e-6, 1e6),
    ROPE_FIELD(original_context, 1, MAX_CONTEXT),
    ROPE_FIELD(beta_fast, 1e-6, 1e6),
    ROPE_FIELD(beta_slow, 1e-6, 1e6),
    ROPE_FIELD(attention_factor, 1e-6, 1e6),
    ROPE_FIELD(mscale, 0, 1e6),
    ROPE_FIELD(mscale_all_dim, 0, 1e6),
    ROPE_FIELD(partial, 1e-6, 1),
    {0},
};

double gguf_mscale(float log_multiplier) { return round(log_multiplier * 1e7) / 1e6; }

/* ---- all numbers as they were ------------------------------------------------------------------------------------ */

/* What a scaling cannot do without. */
static bool is_whole(const struct rope_config *r)
{
    bool whole = r->theta > 0 && (r->scaling == ROPE_DEFAULT || r->factor > 0);
    if (r->scaling == ROPE_LLAMA3) whole &= r->original_context > 0 && r->high_freq_factor > r->low_freq_factor;
    if (r->scaling == ROPE_LLAMA3) whole &= r->low_freq_factor > 0;
    if (r->scaling == ROPE_YARN) whole &= r->original_context > 0 && r->beta_fast >= r->beta_slow && r->beta_slow > 0;
    if (r->scaling == ROPE_PROPORTIONAL) whole &= r->partial > 0;
    return whole;
}

/* Where the standard keys round or lack them. `prefix` is one of gguf_rope_prefixes. */
static sluice_status read_exact(struct rope_config *r, const struct key_source *s, const char *prefix,
                                struct failure *f)
{
    char name[64], place[KEY_PLACE_BYTES];
    snprintf(name, sizeof name, "%s.type", prefix);
    struct meta type = config_key_value(s, name);
    int kind = -1;
    for (int i = 0; i < N_ROPE_SCALINGS; i++)
        if (gguf_is_text(type, rope_scaling_names[i])) kind = i;
    if (kind < 0) return gguf_unsupported_key(f, s, name, ROPE_SCALING_LIST);
    *r = (struct rope_config){.scaling = (enum rope_scaling)kind, .n_rot = r->n_rot};
    for (const struct rope_field *field = gguf_rope_fields; field->name; field++) {
        double *number = (double *)(void *)((char *)r + field->offset);
        snprintf(name, sizeof name, "%s.%s", prefix, field->name);
        sluice_status status = gguf_read_number(s, name, field->min, field->max, number, f);
        if (status) return status;
    }
    snprintf(name, sizeof name, "%s.truncate", prefix);
    struct meta truncate = config_key_value(s, name);
    if (truncate.kind != META_ABSENT) {
        sluice_status status = config_bool(s->file, config_key_place(s, name, place), truncate, &r->truncate, f);
        if (status) return status;
    }
    if (is_whole(r)) return SLUICE_OK;
    snprintf(name, sizeof name, "%s.type", prefix);
    return fail(f, SLUICE_FORMAT, "%s: %s: found \"%s\", expected with it theta and what the scaling needs", s->file,
                config_key_place(s, name, place), rope_scaling_names[kind]);
}

static bool is_exact(const struct key_source *s, enum rope_index i)
{
    char name[64];
    snprintf(name, sizeof name, "%s.type", gguf_rope_prefixes[i]);
    return config_key_value(s, name).kind != META_ABSENT;
}

/* ---- standard keys ----------------------------------------------------------------------------------------------- */

/* Elements that rotate; fewer than `width` where the family can. */
static sluice_status read_width(const struct key_source *s, const char *name, int width, bool whole, int *n_rot,
                                struct failure *f)
{
    char place[KEY_PLACE_BYTES], expected[96];
    int n = 0;
    struct meta value = config_key_value(s, name);
    *n_rot = width;
    if (value.kind == META_ABSENT) return SLUICE_OK;
    config_key_place(s, name, place);
    sluice_status status = config_int(s->file, place, value, 2, MAX_HEAD_DIM, &n, f);
    if (status) return status;
    if (n % 2 != 0) return config_wrong_value(f, s->file, place, value, "an even number");
    snprintf(expected, sizeof expected, "at most the head dimension, %d", width);
    if (n > width) return config_wrong_value(f, s->file, place, value, expected);
    snprintf(expected, sizeof expected, "the whole head, %d", width);
    if (n < width && whole) return config_unsupported(f, s->file, place, value, expected);
    *n_rot = n;
    return SLUICE_OK;
}

/* "rope.scaling.attn_factor" multiplies the magnitude that follows from the factor. "yarn_attn_factor" is what the
 * converter makes of config.json's attention_factor, so it replaces that magnitude. (llama.cpp itself ignores it in
 * these families, and so it does yarn_beta_fast and yarn_beta_slow.) */
static sluice_status read_yarn_magnitude(struct rope_config *r, const struct key_source *s, struct failure *f)
{
    double mix = 1, times = r->attention_factor > 0 ? r->attention_factor : 1, magnitude = 0;
    sluice_status status = gguf_read_number(s, "rope.scaling.yarn_ext_factor", -1e6, 1e6, &mix, f);
    if (!status && mix >= 0 && mix != 1) status = gguf_unsupported_key(f, s, "rope.scaling.yarn_ext_factor", "1");
    if (!status) status = gguf_read_number(s, "rope.scaling.yarn_attn_factor", 1e-6, 1e6, &magnitude, f);
    if (magnitude > 0)
        r->attention_factor = magnitude * times;
    else if (times != 1)
        r->attention_factor = rope_magnitude(&(struct rope_config){.scaling = ROPE_YARN, .factor = r->factor}) * times;
    return status;
}

/* Of latent attention: the temperature of the scores, for which cosine and sine do without a magnitude. */
static sluice_status read_log_multiplier(struct model_config *c, const struct key_source *s, struct failure *f)
{
    double multiplier = 0;
    if (c->kv_lora_rank == 0) return SLUICE_OK;
    sluice_status status = gguf_read_number(s, "rope.scaling.yarn_log_multiplier", 0, 1e5, &multiplier, f);
    c->rope[0].mscale = c->rope[0].mscale_all_dim = gguf_mscale((float)multiplier);
    return status;
}

static sluice_status read_yarn(struct model_config *c, const struct key_source *s, struct failure *f)
{
    struct rope_config *r = &c->rope[0];
    char place[KEY_PLACE_BYTES];
    r->original_context = c->n_context;
    r->beta_fast = 32;
    r->beta_slow = 1;
    r->truncate = !c->arch->gguf_exact_yarn;
    sluice_status status =
        gguf_read_number(s, "rope.scaling.original_context_length", 1, MAX_CONTEXT, &r->original_context, f);
    if (!status) status = gguf_read_number(s, "rope.scaling.yarn_beta_fast", 1e-6, 1e6, &r->beta_fast, f);
    if (!status) status = gguf_read_number(s, "rope.scaling.yarn_beta_slow", 1e-6, 1e6, &r->beta_slow, f);
    if (!status) status = read_yarn_magnitude(r, s, f);
    if (!status && r->beta_fast < r->beta_slow)
        status = fail(f, SLUICE_FORMAT, "%s: %s: found %g, expected at least beta_slow %g", s->file,
                      config_key_place(s, "rope.scaling.yarn_beta_fast", place), r->beta_fast, r->beta_slow);
    return status;
}

/* The factor, under its name of today or of 2023; 0 means that there is none. */
static sluice_status read_factor(struct rope_config *r, const struct key_source *s, struct failure *f)
{
    static const char *const names[] = {"rope.scaling.factor", "rope.scale_linear"};
    double factor = 0;
    for (int i = 0; i < 2 && factor == 0; i++) {
        struct meta value = config_key_value(s, names[i]);
        double min = (value.kind == META_INT || value.kind == META_FLOAT) && value.number == 0 ? 0 : 1e-6;
        sluice_status status = gguf_read_number(s, names[i], min, 1e6, &factor, f);
        if (status) return status;
    }
    if (factor > 0) r->factor = factor;
    return SLUICE_OK;
}

static sluice_status read_standard(struct model_config *c, const struct key_source *s, struct failure *f)
{
    static const char type_name[] = "rope.scaling.type";
    struct rope_config *r = &c->rope[0];
    double times = 1;
    struct meta type = config_key_value(s, type_name);
    *r = (struct rope_config){.scaling = ROPE_DEFAULT, .n_rot = r->n_rot, .theta = 1e4, .factor = 1};
    sluice_status status = gguf_read_number(s, "rope.freq_base", 1.0 + 1e-9, 1e15, &r->theta, f);
    if (!status) status = gguf_read_number(s, "rope.scaling.attn_factor", 1e-6, 1e6, &times, f);
    if (times != 1) r->attention_factor = times;
    if (status || gguf_is_text(type, "none")) return status;
    status = read_factor(r, s, f);
    if (!status) status = read_log_multiplier(c, s, f);
    if (status) return status;

    if (gguf_is_text(type, "yarn")) {
        r->scaling = ROPE_YARN;
        return read_yarn(c, s, f);
    }
    if (type.kind != META_ABSENT && !gguf_is_text(type, "linear"))
        return gguf_unsupported_key(f, s, type_name, "one of none, linear, yarn");
    r->scaling = r->factor == 1 ? ROPE_DEFAULT : ROPE_LINEAR; /* a factor without a type is a linear one */
    return SLUICE_OK;
}

/* Of the second table only theta has a key. */
static sluice_status read_standard_local(struct model_config *c, const struct key_source *s, struct failure *f)
{
    struct rope_config *r = &c->rope[ROPE_LOCAL];
    *r = (struct rope_config){
        .scaling = ROPE_DEFAULT, .n_rot = r->n_rot, .theta = c->arch->default_local_theta, .factor = 1};
    return gguf_read_number(s, "rope.freq_base_swa", 1.0 + 1e-9, 1e15, &r->theta, f);
}

sluice_status gguf_read_rope(struct model_config *c, const struct key_source *s, struct failure *f)
{
    struct rope_config *global = &c->rope[ROPE_GLOBAL], *local = &c->rope[ROPE_LOCAL];
    const bool has_local = c->arch->default_local_theta > 0, whole = c->arch->default_partial == 0;
    sluice_status status =
        read_width(s, "rope.dimension_count", config_rope_width(c, ROPE_GLOBAL), whole, &global->n_rot, f);
    if (!status)
        status = is_exact(s, ROPE_GLOBAL) ? read_exact(global, s, gguf_rope_prefixes[ROPE_GLOBAL], f)
                                          : read_standard(c, s, f);
    /* of these scalings the tensor says the same as the numbers, but rounded */
    bool numbers = is_exact(s, ROPE_GLOBAL) && (global->scaling == ROPE_LLAMA3 || global->scaling == ROPE_PROPORTIONAL);
    global->has_divisors = !numbers && archive_find(s->archive, GGUF_ROPE_DIVISORS) != NULL;
    if (!status && has_local)
        status = read_width(s, "rope.dimension_count_swa", config_rope_width(c, ROPE_LOCAL), whole, &local->n_rot, f);
    if (!status && has_local)
        status = is_exact(s, ROPE_LOCAL) ? read_exact(local, s, gguf_rope_prefixes[ROPE_LOCAL], f)
                                         : read_standard_local(c, s, f);
    if (!status) config_stretch_context(c);
    return status;
}
