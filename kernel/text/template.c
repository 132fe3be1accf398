/* Owns what stands before and after an encoded text: the ids that the post-processor of tokenizer.json adds, and what
 * tokenizer_config.json says about beginning and end of a text. Read next: encode.c. */
#include <string.h>

#include "text/vocab_internal.h"

static sluice_status check_id(const struct vocab *v, const json_t *id, int32_t *out, struct failure *f)
{
    if (!json_is_integer(id)) return fail(f, SLUICE_FORMAT, "the id must be an integer");
    json_int_t number = json_integer_value(id);
    if (number < 0 || number >= v->n_tokens || !v->tokens[number].flags) /* bounded: just compared */
        return fail(f, SLUICE_FORMAT, "id %lld has no token", (long long)number);
    *out = (int32_t)number; /* bounded: less than n_tokens */
    return SLUICE_OK;
}

static sluice_status append_id(const struct vocab *v, const json_t *id, int32_t ids[MAX_TEMPLATE], size_t *n,
                               struct failure *f)
{
    if (*n == MAX_TEMPLATE) return fail(f, SLUICE_FORMAT, "more than %d ids", MAX_TEMPLATE);
    return check_id(v, id, &ids[(*n)++], f);
}

/* One special token of a template: its ids, looked up by name in "special_tokens". */
static sluice_status append_special(const struct vocab *v, const json_t *step, const json_t *piece,
                                    int32_t ids[MAX_TEMPLATE], size_t *n, struct failure *f)
{
    const char *name = json_string_value(json_object_get(piece, "id"));
    if (!name) name = "";
    const json_t *list = json_object_get(json_object_get(json_object_get(step, "special_tokens"), name), "ids");
    char shown[ESCAPED_BYTES];
    if (!json_is_array(list))
        return fail(f, SLUICE_FORMAT, "unknown token \"%s\"", escape_text(shown, sizeof shown, name, strlen(name)));
    size_t i;
    const json_t *id;
    json_array_foreach(list, i, id)
    {
        sluice_status status = append_id(v, id, ids, n, f);
        if (status) return status;
    }
    return SLUICE_OK;
}

/* "single": special tokens around one text, which a template names "A". */
static sluice_status read_template(const struct vocab *v, const json_t *step, int32_t before[MAX_TEMPLATE],
                                   size_t *n_before, int32_t after[MAX_TEMPLATE], size_t *n_after, struct failure *f)
{
    const json_t *pieces = json_object_get(step, "single"), *piece;
    if (!json_is_array(pieces)) return fail(f, SLUICE_FORMAT, "single: must be a list");
    bool seen = false;
    size_t i;
    json_array_foreach(pieces, i, piece)
    {
        const json_t *sequence = json_object_get(piece, "Sequence"), *special = json_object_get(piece, "SpecialToken");
        sluice_status status = SLUICE_OK;
        if (sequence) {
            const char *id = json_string_value(json_object_get(sequence, "id"));
            if (!id || strcmp(id, "A") != 0 || seen) return fail(f, SLUICE_FORMAT, "single: needs sequence A once");
            seen = true;
        } else if (special) {
            status = seen ? append_special(v, step, special, after, n_after, f)
                          : append_special(v, step, special, before, n_before, f);
        } else {
            status = fail(f, SLUICE_FORMAT, "single: piece %zu is neither Sequence nor SpecialToken", i);
        }
        if (status) return status;
    }
    return seen ? SLUICE_OK : fail(f, SLUICE_FORMAT, "single: needs sequence A once");
}

/* Later processors stand outside of earlier ones. */
static sluice_status surround(struct vocab *v, const int32_t *before, size_t n_before, const int32_t *after,
                              size_t n_after, struct failure *f)
{
    if (v->n_before + n_before > MAX_TEMPLATE || v->n_after + n_after > MAX_TEMPLATE)
        return fail(f, SLUICE_FORMAT, "more than %d ids", MAX_TEMPLATE);
    memmove(v->before + n_before, v->before, v->n_before * sizeof *v->before);
    memcpy(v->before, before, n_before * sizeof *before);
    v->n_before += n_before;
    memcpy(v->after + v->n_after, after, n_after * sizeof *after);
    v->n_after += n_after;
    return SLUICE_OK;
}

static sluice_status read_processor(struct vocab *v, const json_t *step, const char *type, struct failure *f)
{
    int32_t before[MAX_TEMPLATE] = {0}, after[MAX_TEMPLATE] = {0};
    size_t n_before = 0, n_after = 0;
    sluice_status status = SLUICE_OK;
    if (strcmp(type, "ByteLevel") == 0) return SLUICE_OK; /* moves offsets only */
    if (strcmp(type, "TemplateProcessing") == 0) {
        status = read_template(v, step, before, &n_before, after, &n_after, f);
    } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        status = append_id(v, json_array_get(json_object_get(step, "cls"), 1), before, &n_before, f);
        if (!status) status = append_id(v, json_array_get(json_object_get(step, "sep"), 1), after, &n_after, f);
    } else {
        return SLUICE_UNSUPPORTED;
    }
    return status ? status : surround(v, before, n_before, after, n_after, f);
}

sluice_status template_load(struct vocab *v, const json_t *node, struct failure *f)
{
    return json_each_step(v, node, "processors", "post_processor", read_processor, f);
}

/* "bos_token": "<s>", or {"content": "<s>", ...}, or null. */
static sluice_status read_named(const struct vocab *v, const json_t *config, const char *key, int32_t *id,
                                struct failure *f)
{
    const json_t *name = json_object_get(config, key);
    *id = -1;
    if (json_is_object(name)) name = json_object_get(name, "content");
    if (!name || json_is_null(name)) return SLUICE_OK;
    if (!json_is_string(name)) return fail(f, SLUICE_FORMAT, "%s: must be a string", key);
    *id = token_find(v, json_string_value(name), json_string_length(name));
    if (*id >= 0) return SLUICE_OK;
    char shown[ESCAPED_BYTES];
    return fail(f, SLUICE_FORMAT, "%s: \"%s\" is not in the vocabulary", key,
                escape_text(shown, sizeof shown, json_string_value(name), json_string_length(name)));
}

/* Classes of tokenizers that build their own post-processor from the configuration. */
static bool adds_by_config(const json_t *config)
{
    static const char *const classes[] = {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"};
    const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
    for (size_t i = 0; name && i < sizeof classes / sizeof *classes; i++) {
        size_t n = strlen(classes[i]);
        if (strncmp(name, classes[i], n) == 0 && (!name[n] || strcmp(name + n, "Fast") == 0)) return true;
    }
    return false;
}

/* The post-processor decides, if it adds anything at all. Otherwise add_bos_token and add_eos_token count, and only for
 * the classes above: that is what transformers 4 did, with which the models that need it (DeepSeek V2 and V3) were
 * published. For all other classes transformers 4 and 5 ignore the two. */
sluice_status template_from_config(struct vocab *v, const json_t *config, struct failure *f)
{
    sluice_status status = read_named(v, config, "bos_token", &v->bos_id, f);
    if (!status) status = read_named(v, config, "eos_token", &v->eos_id, f);
    struct failure ignored; /* nothing depends on it */
    if (!status) read_named(v, config, "pad_token", &v->pad_id, &ignored);
    bool add_bos = false, add_eos = false;
    if (!status) status = json_get_bool(config, "add_bos_token", &add_bos, f);
    if (!status) status = json_get_bool(config, "add_eos_token", &add_eos, f);
    if (status || v->n_before || v->n_after || !adds_by_config(config)) return status;
    if (add_bos && v->bos_id >= 0) v->before[v->n_before++] = v->bos_id;
    if (add_eos && v->eos_id >= 0) v->after[v->n_after++] = v->eos_id;
    return SLUICE_OK;
}
