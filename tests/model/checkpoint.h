/* Tiny checkpoints made on the fly: a configuration with any key changed, and tensors that can be dropped, added and
 * deformed before they are written. */
#ifndef TESTS_MODEL_CHECKPOINT_H
#define TESTS_MODEL_CHECKPOINT_H

#include "model/model.h"
#include "tests/support/folder.h"

/* A key of config.json and its value as JSON text; value NULL: the key is left out. */
struct edit {
    const char *key, *value;
};
enum { MAX_EDITS = 6 };

/* Writes config.json: a Qwen3-MoE of 4 layers, changed by the edits up to the first without a key. */
void config_write(const struct test_folder *folder, const struct edit *edits);
/* Opens what is at `path` (flags of archive_open), reads its configuration into `c` and `g`, and closes it. The failure
 * begins empty. */
sluice_status config_read_path(const char *path, unsigned flags, struct model_config *c, struct generation_config *g,
                               struct failure *f);

/* ---- checkpoints: layer 0 has experts, layer 1 a dense MLP where the family allows it ---------------------------- */

enum checkpoint_family { QWEN2_MOE, MIXTRAL, LLAMA }; /* Llama: both layers dense, all biases */
enum checkpoint_form { EXPERT_BY_EXPERT, FUSED_EXPERTS };
enum {
    CHECKPOINT_HIDDEN = 24,
    CHECKPOINT_VOCAB = 40,
    CHECKPOINT_Q = 24,
    CHECKPOINT_KV = 12,
    CHECKPOINT_EXPERTS = 6,
    CHECKPOINT_TOP_K = 2,
    CHECKPOINT_EXPERT_FFN = 18,
    CHECKPOINT_SHARED_FFN = 20,
    CHECKPOINT_FFN = 40,
    CHECKPOINT_LAYERS = 2,
    CHECKPOINT_MAX_TENSORS = 64,
};

struct checkpoint {
    struct test_folder folder;
    enum checkpoint_family family;
    int head_dim;
    const char *dtype;
    struct test_tensor tensors[CHECKPOINT_MAX_TENSORS]; /* data owned */
    char names[CHECKPOINT_MAX_TENSORS][96];
    int n;
    struct edit edits[16]; /* of the configuration */
};

/* Makes the folder and plans the tensors; their values depend on the part alone, not on form or place. */
void checkpoint_create(struct checkpoint *c, enum checkpoint_family family, enum checkpoint_form form,
                       const char *dtype);
void checkpoint_edit(struct checkpoint *c, const char *key, const char *value);
struct test_tensor *checkpoint_tensor(struct checkpoint *c, const char *name); /* ends the test when absent */
void checkpoint_drop(struct checkpoint *c, const char *name);
/* Adds a tensor of zeros with `n_dims` sizes. */
struct test_tensor *checkpoint_add(struct checkpoint *c, const char *name, int n_dims, const uint64_t *shape);
void checkpoint_write(struct checkpoint *c);  /* config.json and model.safetensors */
void checkpoint_remove(struct checkpoint *c); /* twice is fine */

/* How a GGUF file has the experts: one tensor per matrix, gate and up in one, or one per expert as in old files. */
enum gguf_form { GGUF_STACKED, GGUF_MERGED, GGUF_EXPERT_BY_EXPERT };
/* Writes the same model (made EXPERT_BY_EXPERT) as "model.gguf" in the folder, q and k in the order of rows that the
 * family has there. */
void checkpoint_write_gguf(struct checkpoint *c, enum gguf_form form);

/* The values of one part of a model, before rounding to the dtype: [n], in about [-1, 1]. `part` is the name that the
 * tensor has expert by expert, "model.layers.0.mlp.experts.3.gate_proj.weight". */
void checkpoint_values(const char *part, float *out, size_t n);
/* x as the dtype keeps it. */
float checkpoint_rounded(const char *dtype, float x);

/* ---- binding ----------------------------------------------------------------------------------------------------- */

struct bound {
    struct model model;
    struct failure failure;
    sluice_status status;
    char warning[512]; /* the last one */
    int n_warnings;
    uint64_t progress_done, progress_total; /* as reported last */
};

/* Binding with all that this machine has, and what the callbacks report kept in b. */
struct bind_options bound_options(struct bound *b);
void bind_path_with(struct bound *b, const char *path, int n_threads, const struct bind_options *options);
/* Opens the folder, binds it with all that this machine has, and closes the archive. Free with model_free if good. */
void bind_path(struct bound *b, const char *path, int n_threads, bool load_weights);
/* A folder of tests/golden/models, which must bind. */
void bind_golden(struct bound *b, const char *name);

#endif
