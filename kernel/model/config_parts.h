/* What the readers of configurations share: config.c (config.json) and config_gguf.c (the keys of a GGUF file). A key
 * has a name for the rules, and a place for messages: `hidden_size` there, `key "llama.embedding_length"` here. */
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
    const char *prefix; /* of GGUF keys, without the dot: "llama"; NULL: none */
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

/* All keys of a list of rules. KEY_INT_PER_LAYER needs c->n_layers, so block_count stands first. */
sluice_status config_keys(struct model_config *c, const struct key_source *s, const struct key_rule *rules,
                        struct failure *f);

/* Checks between fields, and what follows from them: n_kv_heads and head_dim where they are absent. */
struct field_names {
    const char *hidden_size, *n_heads, *head_dim, *top_k;
};
sluice_status config_check_fields(struct model_config *c, const struct key_source *s, const struct field_names *names,
                           struct failure *f);
/* YaRN is added to models without raising the context that the file states: the stretched context counts. */
void config_stretch_context(struct model_config *c);
/* Appends an end token, unless it is there. */
sluice_status config_add_end_token(struct model_config *c, const char *file, const char *place, struct meta value,
                            struct failure *f);

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

sluice_status config_read_gguf(struct model_config *c, struct generation_config *g, const struct archive *a,
                               struct failure *f);

/* [head_dim / 2] F32, each divides one frequency; Llama 3's scaling is stored so */
#define GGUF_ROPE_DIVISORS "rope_freqs.weight"

extern const struct key_rule gguf_common_keys[];

/* Keys of ours, for what GGUF has no key for. Readers that do not know them ignore them. Each is written only where
 * the standard keys do not say the same, and the reader prefers it:
 *
 *   sluice.family         string      where another family of the same general.architecture would be taken
 *   sluice.rope.type      string      default, linear, llama3 or yarn; with it all numbers of struct rope_config:
 *   sluice.rope.NAME      float64     theta, factor, ...; absent: 0 (see gguf_rope_fields)
 *   sluice.rope.truncate  bool        absent: false
 *   sluice.dense_layers   [int32]     layers without experts in a family that has them
 *   sluice.end_tokens     [int32]     all end tokens; nothing is then concluded from the vocabulary
 *   sluice.do_sample      bool        where it does not follow from general.sampling.temp */
struct rope_field {
    const char *name; /* whole key */
    size_t offset;    /* of a double in struct rope_config */
    double min, max;  /* where it is present and not 0 */
};
#define ROPE_FIELD(field, min, max) {"sluice.rope." #field, offsetof(struct rope_config, field), min, max}
extern const struct rope_field gguf_rope_fields[]; /* ends with name == NULL */
extern const char *const rope_scaling_names[];     /* by enum rope_scaling */
enum { N_ROPE_SCALINGS = 4 };

#endif
