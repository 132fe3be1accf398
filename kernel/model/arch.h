/* struct arch: one model family as data. Three kinds of difference, three places: numbers (key rules, read from the
 * file), choices (derive fills enums per layer), names (tensor rules). No other file asks which family it serves. */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include <stddef.h>

#include "model/config.h"

/* ---- keys: of config.json, or of a GGUF file without the prefix "ARCH." ------------------------------------------ */

enum key_kind {
    KEY_INT,
    KEY_INT_OR_NULL, /* null means 0, absent means the fallback; elsewhere null is the same as absent */
    KEY_INT_PER_LAYER, /* GGUF: an integer, or an array that holds the same integer for every layer */
    KEY_FLOAT,
    KEY_BOOL,
};

struct key_rule {
    const char *name;   /* spellings separated by '|', the first one that is present (and not null) wins */
    enum key_kind kind;
    size_t offset;      /* of an int, float or bool in struct model_config */
    bool required;
    double fallback;    /* when absent */
    double min, max;    /* inclusive */
};

#define KEY_RULE(name, kind, field, required, fallback, min, max) \
    {name, kind, offsetof(struct model_config, field), required, fallback, min, max}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

enum tensor_role {
    /* of the model */
    ROLE_EMBEDDING, ROLE_FINAL_NORM, ROLE_HEAD,
    /* of every layer */
    ROLE_MIXER_NORM, ROLE_FFN_NORM,
    ROLE_Q, ROLE_K, ROLE_V, ROLE_O, ROLE_Q_BIAS, ROLE_K_BIAS, ROLE_V_BIAS, ROLE_O_BIAS, ROLE_Q_NORM, ROLE_K_NORM,
    /* of dense layers */
    ROLE_GATE, ROLE_UP, ROLE_DOWN, ROLE_GATE_BIAS, ROLE_UP_BIAS, ROLE_DOWN_BIAS,
    /* of layers with experts */
    ROLE_ROUTER, ROLE_EXPERT_GATE, ROLE_EXPERT_UP, ROLE_EXPERT_DOWN,
    ROLE_SHARED_GATE, ROLE_SHARED_UP, ROLE_SHARED_DOWN, ROLE_SHARED_SWITCH,
    N_TENSOR_ROLES
};

/* Sizes by meaning; bind.c knows their values for a layer. */
enum tensor_size {
    SIZE_NONE, SIZE_ONE, SIZE_HIDDEN, SIZE_VOCAB, SIZE_Q, SIZE_KV, SIZE_HEAD, SIZE_FFN, SIZE_SHARED_FFN, SIZE_EXPERTS
};

enum tensor_need {
    NEED_ALWAYS,
    NEED_UNLESS_TIED,
    NEED_DENSE,       /* layers whose FFN is an MLP */
    NEED_MOE,         /* layers with experts */
    NEED_SHARED,      /* layers with a shared expert */
    NEED_QKV_BIAS, NEED_OUTPUT_BIAS, NEED_MLP_BIAS,
    NEED_HEAD_NORM,   /* layers whose mixer has QK_NORM_PER_HEAD */
    NEED_FULL_NORM,   /* QK_NORM_FULL */
};

/* What differs between files, not between models. */
enum tensor_transform {
    COPY,           /* the tensor is the matrix or vector */
    STACK_EXPERTS,  /* one tensor per expert: the pattern holds {e} */
    SLICE_EXPERTS,  /* one tensor [n_experts, n, k]: expert e is its e-th slice */
    SLICE_FIRST_HALF, SLICE_SECOND_HALF, /* one tensor [n_experts, 2n, k]: first (second) n rows of the slice */
};

struct tensor_rule {
    enum tensor_role role;
    const char *name;           /* pattern: {l} is the layer, {e} the expert */
    enum tensor_size n, k;      /* matrix [n, k]; vector [n] with k SIZE_NONE */
    enum tensor_need need;
    enum tensor_transform transform;
    /* Rules of the same role that follow each other are alternatives: the first whose tensors exist is taken. */
};

/* What llama.cpp's reader of an architecture cannot have, where the family can. (None of them has sliding windows,
 * clip_qkv, or dense layers among those with experts.) */
enum gguf_peer_limits {
    PEERS_LACK_BIAS = 1,     /* biases of q, k, v, o */
    PEERS_LACK_TIED = 2,     /* an output that is the embedding */
    PEERS_LACK_HEAD_DIM = 4, /* heads times head_dim other than hidden_size */
};

struct arch {
    const char *name;             /* ours: "qwen3_moe" */
    const char *hf_architecture;  /* "Qwen3MoeForCausalLM" */
    const char *hf_model_type;    /* "qwen3_moe" */
    double default_theta;         /* of RoPE, where config.json has no key */
    const struct key_rule *keys;  /* beyond the common ones (config.c), or instead of them; ends with name == NULL */
    const struct tensor_rule *const *tensors; /* lists of rules (each ends with name == NULL); ends with NULL */
    sluice_status (*derive)(struct model_config *c, struct failure *f);

    /* GGUF. Several families may share a name there: the first in arch_list whose marker is present wins. */
    const char *gguf_arch;        /* "qwen3moe" */
    const char *gguf_marker;      /* a key "ARCH.MARKER" that tells the family, present and not 0; NULL: none needed */
    const struct key_rule *gguf_keys; /* beyond the common ones (config_gguf.c) */
    unsigned gguf_peer_limits;    /* enum gguf_peer_limits */
    bool gguf_rope_pairs;         /* rows of q and k are reordered there, so that pairs (2i, 2i+1) rotate: undone */
};

extern const struct arch *const arch_list[]; /* ends with NULL */

/* ---- rule lists and steps that families share (arch_common.c) ---------------------------------------------------- */

extern const struct tensor_rule tensors_base[];        /* embedding, norms, q, k, v, o, head */
extern const struct tensor_rule tensors_qkv_bias[];
extern const struct tensor_rule tensors_output_bias[];
extern const struct tensor_rule tensors_head_norm[];   /* q_norm, k_norm [head_dim] */
extern const struct tensor_rule tensors_full_norm[];   /* q_norm, k_norm over the whole projection */
extern const struct tensor_rule tensors_mlp[];
extern const struct tensor_rule tensors_experts[];     /* mlp.gate, mlp.experts */
/* GGUF names are the same for all families so far: one list, whose needs ask the layer's configuration. The first of
 * several alternatives is the one that Sluice writes. */
extern const struct tensor_rule tensors_gguf[];

/* Every layer: GQA with the plain fields, no window, and a dense MLP. */
void derive_dense(struct model_config *c);
/* Turns layer l's FFN into experts with the plain fields. */
void derive_experts(struct model_config *c, int l);
/* Experts by the sparse-step rule of Qwen: layer i has them iff it is not listed as dense and (i+1) % step == 0. */
void derive_sparse_step(struct model_config *c);
/* The window on every layer. */
void derive_window(struct model_config *c);
/* The window on the layers that layer_types lists as sliding or, without that list, on every layer >= first. */
void derive_listed_window(struct model_config *c, int first);

#endif
