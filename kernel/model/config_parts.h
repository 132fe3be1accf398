/* What the readers of configurations share: config.c and config_rope.c (config.json), config_gguf.c and
 * config_gguf_rope.c (the keys of a GGUF file). A key has a name for the rules, and a place for messages: `hidden_size`
 * or `text_config.hidden_size` there, `key "llama.embedding_length"` here. */
#ifndef MODEL_CONFIG_PARTS_H
#define MODEL_CONFIG_PARTS_H

#include "model/arch.h"
#include "weights/archive.h"

enum {
    MAX_HEADS = 1024,
    MAX_HEAD_DIM = 1024,
    MAX_HIDDEN = 131072,
    MAX_LAYERS = 1024,
    MAX_VOCAB = 4194304,
    MAX_CONTEXT = 1 << 24,
    MAX_FFN = 1 << 24,
    MAX_EXPERTS = 4096,
    MAX_TOP_K = 64,
    KEY_PLACE_BYTES = 128,
};

struct key_source {
    const struct archive *archive;
    enum archive_document document;
    const char *file;   /* as messages name it */
    const char *prefix; /* without the dot: of GGUF keys "llama", of multimodal models' config.json "text_config";
                         * NULL: none. Names that begin with "sluice." never have it */
};

/* Value of a key; META_ABSENT when there is none. */
struct meta config_key_value(const struct key_source *s, const char *name);
/* The key as messages name it, written to `out`, which is returned. */
const char *config_key_place(const struct key_source *s, const char *name, char out[KEY_PLACE_BYTES]);

/* "FILE: PLACE: found X, expected Y" */
sluice_status config_wrong_value(struct failure *f, const char *file, const char *place, struct meta value,
                          const char *expected);
/* The same, for a value that may be right and that this program does not implement. */
sluice_status config_unsupported(struct failure *f, const char *file, const char *place, struct meta value,
                                const char *expected);

bool config_is_absent(struct meta value); /* or null */
/* One value in its range; *out is untouched on failure. */
sluice_status config_int(const char *file, const char *place, struct meta value, double min, double max, int *out,
                       struct failure *f);
sluice_status config_float(const char *file, const char *place, struct meta value, double min, double max, double *out,
                         struct failure *f);
sluice_status config_bool(const char *file, const char *place, struct meta value, bool *out, struct failure *f);
/* One of the words "a|b|c", as its number; any other is unsupported. */
sluice_status config_word_number(const char *file, const char *place, struct meta value, const char *words, int *out,
                                 struct failure *f);
/* The other way: where the word stands and its length, not NUL-terminated; NULL where the number has none. */
const char *config_word(const char *words, int number, size_t *n);
/* The first of the spellings "a|b|c" that is present; `name` receives it (or the first spelling). */
struct meta config_find_spelling(const struct key_source *s, const char *spellings, bool null_counts, char *name,
                                 size_t name_cap);

/* c->layers for c->n_layers, of which nothing is listed. */
sluice_status config_make_layers(struct model_config *c, const char *file, struct failure *f);
/* Whether a list has a rule for this key, under any of its spellings. */
bool config_has_rule(const struct key_rule *rules, const char *name);
/* All keys of a list of rules, but for those that have a rule in `instead`, which may be NULL. KEY_INT_PER_LAYER needs
 * c->n_layers. */
sluice_status config_keys(struct model_config *c, const struct key_source *s, const struct key_rule *rules,
                          const struct key_rule *instead, struct failure *f);

/* Checks between fields (config_check.c). Before derive(), with what follows from them: n_kv_heads and head_dim where
 * they are absent, or of latent attention. */
struct field_names {
    const char *hidden_size, *n_heads, *n_kv_heads, *head_dim, *n_rot, *top_k, *n_group, *topk_group, *n_value_heads,
        *layer_types;
};
sluice_status config_check_fields(struct model_config *c, const struct key_source *s, const struct field_names *names,
                           struct failure *f);
/* The family's derive(); `file` begins its sentences. */
sluice_status config_derive(struct model_config *c, const char *file, struct failure *f);
/* After derive(): the layers can be computed, and are what the file listed. Sets first_dense_layers,
 * full_attention_interval and scoring to what they are, where they are anything, for GGUF has only these words. */
sluice_status config_check_layers(struct model_config *c, const struct key_source *s, const struct field_names *names,
                                  struct failure *f);
/* A list of layer numbers: is_in[l] becomes true for those that it names, of n_layers. *found: there is a list. */
sluice_status config_layer_numbers(const struct key_source *s, const char *name, int n_layers, bool is_in[MAX_LAYERS],
                                   bool *found, struct failure *f);
/* Words of layer_types, one per layer, to layers[].listed. */
sluice_status config_layer_types(struct model_config *c, const struct key_source *s, const char *name,
                                 struct failure *f);
extern const char *const config_layer_words[]; /* by enum listed_type; NULL for LISTED_NONE */

/* RoPE of config.json: all tables of c->rope. A table's n_rot is its share of config_rope_width; derive() may change
 * it. */
sluice_status config_read_rope(struct model_config *c, const struct key_source *s, struct failure *f);
/* Elements of a head that rotate where all of it does, or the whole rotating part of latent attention. */
int config_rope_width(const struct model_config *c, enum rope_index i);
/* YaRN is added to models without raising the context that the file states: the stretched context counts. */
void config_stretch_context(struct model_config *c);
/* Appends an end token, unless it is there. */
sluice_status config_add_end_token(struct model_config *c, const char *file, const char *place, struct meta value,
                            struct failure *f);

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

sluice_status config_read_gguf(struct model_config *c, struct generation_config *g, const struct archive *a,
                               struct failure *f);

/* [n_rot / 2] F32, each divides one frequency; Llama 3's scaling is stored so */
#define GGUF_ROPE_DIVISORS "rope_freqs.weight"

extern const struct key_rule gguf_common_keys[];
bool gguf_is_text(struct meta value, const char *text);
/* A number; *out stays as it is when the key is absent. */
sluice_status gguf_read_number(const struct key_source *s, const char *name, double min, double max, double *out,
                               struct failure *f);
sluice_status gguf_unsupported_key(struct failure *f, const struct key_source *s, const char *name,
                                   const char *expected);
/* All tables of c->rope. */
sluice_status gguf_read_rope(struct model_config *c, const struct key_source *s, struct failure *f);
/* What rope.scaling.yarn_log_multiplier, a float, says of mscale_all_dim: a short decimal. */
double gguf_mscale(float log_multiplier);

/* Keys of ours, for what GGUF has no key for. Readers that do not know them ignore them. Each is written only where
 * the standard keys do not say the same, and the reader prefers it:
 *
 *   sluice.family         string      where another family of the same general.architecture would be taken
 *   sluice.rope.type      string      default, linear, llama3, yarn or proportional; with it all numbers of struct
 *                                     rope_config but n_rot:
 *   sluice.rope.NAME      float64     theta, factor, ...; absent: 0 (see gguf_rope_fields)
 *   sluice.rope.truncate  bool        absent: false
 *   sluice.rope_local.*               the same of the second table
 *   sluice.layer_types    [string]    as in config.json, where full_attention_interval does not say it
 *   sluice.dense_layers   [int32]     layers without experts in a family that has them
 *   sluice.end_tokens     [int32]     all end tokens; nothing is then concluded from the vocabulary
 *   sluice.do_sample      bool        where it does not follow from general.sampling.temp */
struct rope_field {
    const char *name; /* the last part of the key */
    size_t offset;    /* of a double in struct rope_config */
    double min, max;  /* where it is present and not 0 */
};
#define ROPE_FIELD(field, min, max) {#field, offsetof(struct rope_config, field), min, max}
extern const struct rope_field gguf_rope_fields[]; /* ends with name == NULL */
extern const char *const gguf_rope_prefixes[];     /* by enum rope_index: "sluice.rope", ... */
extern const char *const rope_scaling_names[];     /* by enum rope_scaling */
enum { N_ROPE_SCALINGS = 5 };
#define ROPE_SCALING_LIST "one of default, linear, llama3, yarn, proportional"

#endif
