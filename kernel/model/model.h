/* struct model: a checkpoint ready to run. Weights are addressed by role, never by name; every matrix lies packed in
 * the layout that suits this machine. Built by bind.c, immutable afterwards, read by forward.c. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/team.h"
#include "model/arch.h"
#include "ops/ops.h"

struct archive;

struct weight {
    const struct panel_layout *layout;
    const void *data;  /* packed [n, k]; NULL: the model has no such weight, or was opened without weights */
    const float *bias; /* [n], or NULL */
    int n, k;          /* outputs, inputs */
    enum dtype file_dtype; /* before bind_options.convert */
};

struct bank { /* n_matrices equal matrices at equal distances: of experts or of heads */
    struct weight first;
    size_t stride; /* bytes from one matrix to the next, more than a matrix has where others lie between them in the
                    * file; their biases are first.n floats apart */
    int n_matrices;
};

struct mlp_weights {
    struct weight gate, up, down; /* [intermediate, hidden] twice, [hidden, intermediate] */
};

struct mla_weights {
    struct weight q_a, kv_a;          /* [q_lora_rank, hidden], [kv_lora_rank + n_rot, hidden] */
    const float *q_a_norm, *kv_a_norm;
    struct bank k_b;   /* per head [nope, kv_lora_rank]: latent -> keys, the expanded form */
    struct bank k_b_t; /* per head [kv_lora_rank, nope]: query -> latent, the absorbed form */
    struct bank v_b;   /* per head [v_head_dim, kv_lora_rank] */
};

struct delta_weights {
    struct weight qkv, z; /* [2 * key width + value width, hidden], [value width, hidden] */
    struct weight ba, b, a; /* [2 * n_value_heads, hidden], or twice [n_value_heads, hidden] */
    const float *rate;    /* [n_value_heads] -exp(A_log): of forgetting */
    const float *dt_bias; /* [n_value_heads] */
    const float *norm;    /* [v_head_dim] */
};

struct layer {
    const struct layer_config *config;
    const float *mixer_norm, *ffn_norm; /* [hidden_size] */
    const float *mixer_post_norm, *ffn_post_norm, *layer_scale; /* [hidden_size], and [1]; or NULL */
    struct weight q, k, v;  /* attention; q of MLA reads the query's latent where there is one */
    struct weight o;        /* of every mixer */
    const float *q_norm, *k_norm; /* as mixer.qk_norm says; or NULL */
    const float *sinks;     /* [n_heads], or NULL */
    struct mla_weights mla;
    struct delta_weights delta;
    const float *conv;      /* delta, conv: taps [conv_kernel, channels], oldest first */
    struct weight conv_in;  /* conv: [3 * hidden, hidden]: b, c, u */
    struct mlp_weights dense;
    const float *mlp_post_norm, *moe_norm, *moe_post_norm; /* FFN_DENSE_AND_MOE */
    struct weight router;   /* [n_experts, hidden_size] */
    const float *selection_bias, *expert_scale; /* [n_experts], or NULL */
    const float *router_scale;                  /* [hidden_size], or NULL */
    struct bank gate, up, down;
    struct mlp_weights shared;    /* if there is a shared expert */
    struct weight shared_switch;  /* [1, hidden_size], SHARED_GATED */
};

struct model {
    struct model_config config;
    struct generation_config generation;
    struct layer *layers;
    struct weight embedding; /* [vocab_size, hidden_size] */
    struct weight head;      /* same bytes when embeddings are tied */
    const float *final_norm;
    uint64_t features;       /* CPU features that kernels may use */
    bool exact;              /* a row's result must not depend on how many rows come with it */
    bool attention_rounds;   /* attention of many rows may round (attention_block.rounds); not of exact models */
    struct arena arena;      /* all weights that are packed */
    uint64_t n_parameters, n_active_parameters, file_bytes;
    uint64_t weight_bytes;   /* packed, in the arena */
    uint64_t mapped_bytes;   /* read where they lie in the file (PANEL_FILE) */
    enum dtype main_dtype;   /* of most bytes, as loaded */
};

struct bind_options {
    uint64_t features;
    unsigned layout_flags; /* enum panel_choice_flags */
    bool convert;          /* round matrices to `load_as` while packing, where its blocks fit */
    enum dtype load_as;    /* dtype_info()->can_encode */
    bool load_weights;     /* false: check everything, keep pointers NULL */
    bool exact;            /* as in struct model */
    void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void (*warning)(void *context, const char *text);                           /* may be NULL */
    void *context;
    /* What a session will need beside the weights, in bytes, asked when all shapes and layouts are known; NULL:
     * nothing. */
    uint64_t (*session_bytes)(void *session_context);
    void *session_context;
};

/* Reads the configuration, finds every tensor, checks every shape, packs every matrix. The archive is only read, and
 * may be closed afterwards, but if layout_flags has PANEL_FILE: then after model_free. On failure nothing is owned. */
sluice_status model_bind(struct model *m, const struct archive *a, struct team *team, const struct bind_options *o,
                         struct failure *f);
void model_free(struct model *m);
/* The type that a matrix of k inputs has after loading as `load_as`. What routes keeps its type, and so do rows that no
 * blocks of about that size fit, and blocks that would become larger. Embedding and head become Q6_K at least: an error
 * there meets every token. */
enum dtype model_load_type(enum tensor_role role, enum dtype file, int k, enum dtype load_as);

static inline struct weight bank_weight(const struct bank *bank, int i)
{
    struct weight w = bank->first;
    w.data = (const char *)bank->first.data + bank->stride * (size_t)i;
    if (w.bias) w.bias += (size_t)i * (size_t)w.n;
    return w;
}

/* Every matrix of a layer, with a name for people. Banks stand as their first matrix, `count` times; what the layer
 * does not have has no layout. */
struct named_weight {
    const char *name;
    enum tensor_role role;
    const struct weight *weight;
    int count;
};
enum { WEIGHTS_PER_LAYER = 26 };
void model_list_layer(const struct layer *layer, struct named_weight out[WEIGHTS_PER_LAYER]);

/* ---- report ------------------------------------------------------------------------------------------------------ */

/* One line about a layer, for people. Always NUL-terminated. */
void model_describe_layer(const struct model *m, int layer, char *out, size_t cap);
/* One line per group of matrices of equal role, dtype and shape: role, shape, count, layout, kernels. False: no such
 * group. */
bool model_describe_group(const struct model *m, int group, char *out, size_t cap);
/* Several lines about such a group: its layout and its kernels, and why there are no better ones. */
bool model_describe_kernels(const struct model *m, int group, char *out, size_t cap);
/* Bits (1u << enum peak) of the arithmetic of all kernels that some number of rows picks. */
unsigned model_peaks(const struct model *m);
/* Bytes of one matrix as packed. */
size_t weight_bytes(const struct weight *w);
/* Of the types that --load-as takes, from large to small, the first with which all weights need at most `budget` bytes;
 * the smallest if there is none. *bytes: what they need then. */
enum dtype model_smaller_type(const struct model *m, uint64_t budget, uint64_t *bytes);
/* A type as people type it, "q4_k", written to `out`, which is returned. */
enum { TYPE_WORD_BYTES = 16 };
char *model_type_word(enum dtype t, char out[TYPE_WORD_BYTES]);

#endif
