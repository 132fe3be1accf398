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
    KEY_FLOAT_OR_NULL, /* null means 0 */
    KEY_BOOL,
    KEY_WORD,         /* one of `words`, as its number, to an int; any other is refused by name */
};

struct key_rule {
    const char *name;   /* spellings separated by '|', the first one that is present (and not null) wins. In gguf_keys a
                         * name "sluice.NAME" is a whole key of ours, written only where it is not the fallback */
    enum key_kind kind;
    size_t offset;      /* of an int, float or bool in struct model_config */
    bool required;
    double fallback;    /* when absent */
    double min, max;    /* inclusive */
    const char *words;  /* KEY_WORD: "softmax|sigmoid" are 0 and 1; a number without a word: "|softmax|sigmoid" */
};

#define KEY_RULE(name, kind, field, required, fallback, min, max) \
    {name, kind, offsetof(struct model_config, field), required, fallback, min, max, NULL}
#define WORD_RULE(name, field, required, fallback, words) \
    {name, KEY_WORD, offsetof(struct model_config, field), required, fallback, 0, 0, words}

/* Of Qwen3-Next and Qwen3.5, which differ in their default of n_kv_heads. */
#define DELTA_KEYS(default_kv_heads)                                                                    \
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),                               \
        KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, default_kv_heads, 1, 1024), \
        KEY_RULE("head_dim", KEY_INT, head_dim, false, 256, 2, 1024),                                   \
        KEY_RULE("max_position_embeddings", KEY_INT, n_context, false, 32768, 1, 1 << 24),              \
        KEY_RULE("full_attention_interval", KEY_INT, full_attention_interval, false, 4, 1, 1024),       \
        KEY_RULE("linear_num_key_heads", KEY_INT, linear_key_heads, false, 16, 1, 1024),                \
        KEY_RULE("linear_num_value_heads", KEY_INT, linear_value_heads, false, 32, 1, 1024),            \
        KEY_RULE("linear_key_head_dim", KEY_INT, linear_key_head_dim, false, 128, 1, 1024),             \
        KEY_RULE("linear_value_head_dim", KEY_INT, linear_value_head_dim, false, 128, 1, 1024),         \
        KEY_RULE("linear_conv_kernel_dim", KEY_INT, conv_kernel, false, 4, 1, 64)
#define DELTA_GGUF_KEYS                                                                       \
    KEY_RULE("full_attention_interval", KEY_INT, full_attention_interval, false, 4, 1, 1024), \
        KEY_RULE("ssm.group_count", KEY_INT, linear_key_heads, true, 0, 1, 1024),             \
        KEY_RULE("ssm.time_step_rank", KEY_INT, linear_value_heads, true, 0, 1, 1024),        \
        KEY_RULE("ssm.state_size", KEY_INT, linear_key_head_dim, true, 0, 1, 1024),           \
        KEY_RULE("ssm.inner_size", KEY_INT, linear_inner_size, true, 0, 1, 1 << 20),          \
        KEY_RULE("ssm.conv_kernel", KEY_INT, conv_kernel, true, 0, 1, 64)

/* A key of config.json that would change the result, and the values with which it does not (true is 1; null and absent
 * are always fine): any other is refused by name. */
struct key_neutral {
    const char *name;
    double values[2];
};

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

enum tensor_role {
    /* of the model */
    ROLE_EMBEDDING, ROLE_FINAL_NORM, ROLE_HEAD,
    /* of every layer */
    ROLE_MIXER_NORM, ROLE_MIXER_POST_NORM, ROLE_FFN_NORM, ROLE_FFN_POST_NORM, ROLE_LAYER_SCALE,
    /* of attention; ROLE_O of every mixer */
    ROLE_Q, ROLE_K, ROLE_V, ROLE_O, ROLE_Q_BIAS, ROLE_K_BIAS, ROLE_V_BIAS, ROLE_O_BIAS, ROLE_Q_NORM, ROLE_K_NORM,
    ROLE_SINKS,
    /* of latent attention: ROLE_Q reads the query's latent where there is one. K_B and V_B are banks with one matrix
     * per head; K_B_T is K_B, each head transposed */
    ROLE_Q_A, ROLE_Q_A_NORM, ROLE_KV_A, ROLE_KV_A_NORM, ROLE_K_B, ROLE_K_B_T, ROLE_V_B,
    /* of Gated DeltaNet: all queries, all keys, all values in one; the gate of the output; b and a in one or in two */
    ROLE_DELTA_QKV, ROLE_DELTA_Z, ROLE_DELTA_BA, ROLE_DELTA_B, ROLE_DELTA_A, ROLE_DELTA_DECAY, ROLE_DELTA_DT_BIAS,
    ROLE_DELTA_NORM,
    /* of convolutions: taps of delta and of short convolutions; the input projection of the latter */
    ROLE_CONV, ROLE_CONV_IN,
    /* of layers with an MLP */
    ROLE_GATE, ROLE_UP, ROLE_DOWN, ROLE_GATE_BIAS, ROLE_UP_BIAS, ROLE_DOWN_BIAS,
    /* of layers with experts */
    ROLE_ROUTER, ROLE_ROUTER_BIAS, ROLE_SELECTION_BIAS, ROLE_ROUTER_SCALE, ROLE_EXPERT_SCALE,
    ROLE_EXPERT_GATE, ROLE_EXPERT_UP, ROLE_EXPERT_DOWN,
    ROLE_EXPERT_GATE_BIAS, ROLE_EXPERT_UP_BIAS, ROLE_EXPERT_DOWN_BIAS,
    ROLE_SHARED_GATE, ROLE_SHARED_UP, ROLE_SHARED_DOWN, ROLE_SHARED_SWITCH,
    /* of layers with both */
    ROLE_MLP_POST_NORM, ROLE_MOE_NORM, ROLE_MOE_POST_NORM,
    N_TENSOR_ROLES
};

/* Sizes by meaning; plan.c knows their values for a layer. */
enum tensor_size {
    SIZE_NONE, SIZE_ONE, SIZE_HIDDEN, SIZE_VOCAB,
    SIZE_Q,        /* n_heads * head_dim, twice that with an output gate */
    SIZE_Q_IN,     /* q_lora_rank, or hidden_size where there is none */
    SIZE_KV,       /* n_kv_heads * head_dim */
    SIZE_MIXED,    /* what ROLE_O reads: n_heads * v_head_dim; n_value_heads * v_head_dim; hidden_size for conv */
    SIZE_HEAD, SIZE_HEADS, /* head_dim; n_heads */
    SIZE_Q_LORA, SIZE_KV_LORA,
    SIZE_KV_A,     /* kv_lora_rank + n_rot */
    SIZE_NOPE,     /* head_dim - n_rot */
    SIZE_V_HEAD,   /* v_head_dim */
    SIZE_DELTA_QKV, /* 2 * n_key_heads * head_dim + n_value_heads * v_head_dim */
    SIZE_VALUES,   /* n_value_heads * v_head_dim */
    SIZE_VALUE_HEADS, SIZE_TWICE_VALUE_HEADS,
    SIZE_CONV,     /* channels of the convolution: SIZE_DELTA_QKV, or hidden_size */
    SIZE_TAPS,     /* conv_kernel */
    SIZE_CONV_IN,  /* 3 * hidden_size */
    SIZE_FFN, SIZE_EXPERT_FFN, SIZE_SHARED_FFN, SIZE_EXPERTS
};

enum tensor_need {
    NEED_ALWAYS,
    NEED_UNLESS_TIED,
    NEED_POST_NORMS, NEED_LAYER_SCALE,
    NEED_GQA, NEED_V,  /* layers with this mixer; those of them with a v projection */
    NEED_MLA, NEED_DIRECT_Q /* GQA, or MLA without a query latent */, NEED_Q_LORA,
    NEED_DELTA, NEED_FUSED_BA, NEED_SPLIT_BA,
    NEED_CONV,        /* MIX_CONV */
    NEED_DENSE,       /* layers with an MLP */
    NEED_MOE,         /* layers with experts */
    NEED_BOTH,        /* FFN_DENSE_AND_MOE */
    NEED_SHARED,      /* layers with a shared expert */
    NEED_SHARED_SWITCH,
    NEED_QKV_BIAS, NEED_OUTPUT_BIAS, NEED_MLP_BIAS, NEED_EXPERT_BIAS, NEED_ROUTER_BIAS, NEED_SELECTION_BIAS,
    NEED_ROUTER_SCALE, NEED_EXPERT_SCALE,
    NEED_SINKS,
    NEED_HEAD_NORM,   /* layers whose mixer has QK_NORM_PER_HEAD */
    NEED_FULL_NORM,   /* QK_NORM_FULL */
};

/* What differs between files, not between models. The order of rows that a plan gives is the one of GGUF files, but for
 * rows that rotate: those are halves here, whatever the file has. */
enum tensor_transform {
    COPY,           /* the tensor is the matrix or vector */
    ADD_ONE,        /* vector w of a norm that multiplies by 1 + w */
    NEGATIVE_EXP,   /* vector a, of which -exp(a) is wanted */
    FLAT,           /* vector [n] of which the tensor has any shape with n elements, such as [1, n] */
    PAIRS_TO_HALVES, /* matrix [heads * head_dim, k]: the last n_rot rows of each head are pairs (2i, 2i + 1) in every
                      * file of this family. KV_A counts as one head */
    STACK_EXPERTS,  /* one tensor per expert: the pattern holds {e} */
    SLICE_EXPERTS,  /* one tensor [n_experts, n, k]: expert e is its e-th slice; biases [n_experts, n] */
    SLICE_FIRST_HALF, SLICE_SECOND_HALF, /* one tensor [n_experts, 2n, k]: first (second) n rows of the slice */
    SLICE_EVEN_ROWS, SLICE_ODD_ROWS,     /* [n_experts, 2n, k], or biases [n_experts, 2n]; MXFP4 too (gpt-oss) */
    SLICE_COLUMNS,                       /* [n_experts, k, n] */
    SLICE_EVEN_COLUMNS, SLICE_ODD_COLUMNS, /* [n_experts, k, 2n] */
    HEADS,          /* one tensor [n_heads, n, k]: a bank with one matrix per head */
    HEADS_TRANSPOSED, /* one tensor [n_heads, k, n] */
    HEAD_KEYS, HEAD_VALUES, /* one tensor [n_heads * (nope + v_head_dim), k]: the first (last) rows of each head */
    HEAD_KEYS_TRANSPOSED,
    GROUPED_QKV, GROUPED_Z, /* one tensor of all rows, per key head its q, k, values, gates (Qwen3-Next) */
    TILED_QKV, TILED_ROWS, TILED_COLUMNS, /* value heads are grouped by key head in the tensor, tiled in the model:
                     * the values of qkv; rows or elements (v_head_dim or 1 for each value head); the columns of o */
    TILED_NEGATIVE_EXP,
    TILED_CONV, CONV, /* taps [channels, 1, conv_kernel] or [channels, conv_kernel] */
};

struct tensor_rule {
    enum tensor_role role;
    const char *name;           /* pattern: {l} is the layer, {e} the expert */
    enum tensor_size n, k;      /* matrix [n, k]; vector [n] with k SIZE_NONE */
    enum tensor_need need;
    enum tensor_transform transform;
    /* Rules of the same role that follow each other are alternatives: the first whose tensors exist is taken. MXFP4
     * (NAME_blocks, NAME_scales) exists for slices by rows only, so the rule for columns of the same NAME stands first.
     * GGUF files are written by the first rule that the layer needs whose transform is COPY, FLAT, CONV,
     * PAIRS_TO_HALVES, SLICE_EXPERTS or HEADS; others are read only. */
};

/* What llama.cpp's reader of an architecture cannot have, where the family can. */
enum gguf_peer_limits {
    PEERS_LACK_BIAS = 1,     /* biases of q, k, v, o */
    PEERS_LACK_TIED = 2,     /* an output that is the embedding */
    PEERS_LACK_HEAD_DIM = 4, /* heads times head_dim other than hidden_size */
    PEERS_HAVE_WINDOWS = 8,  /* the others read past them. With it, derive() places the windows of GGUF files too;
                              * without it, a window there is on all layers, or on those of the pattern */
    PEERS_HAVE_FIRST_DENSE = 16, /* dense layers before those with experts; the others refuse any */
    PEERS_HAVE_NORM = 32,     /* they ask for expert_weights_norm; the others know without */
    PEERS_LACK_UNTIED = 64,   /* an output that is not the embedding */
    PEERS_WANT_SECTIONS = 128, /* rope.dimension_sections, which mean nothing for text */
};

struct arch {
    const char *name;             /* ours: "qwen3_moe" */
    const char *hf_architecture;  /* "Qwen3MoeForCausalLM"; several are separated by '|', the usual one first */
    const char *hf_model_type;    /* "qwen3_moe"; so here */
    double default_theta;         /* of RoPE, where config.json has no key */
    double default_local_theta;   /* of the table of sliding layers, rope[ROPE_LOCAL]; 0: the family has one table */
    double default_partial;       /* share of a head that rotates (of the first table), where config.json has no key; 0:
                                   * heads rotate as a whole, and any other share is refused */
    /* Of the first table, where config.json has no object for RoPE: the scaling with its numbers; NULL: none. With it
     * default_partial is of that scaling alone: objects have a share where they state it, and not without scaling. */
    const struct rope_config *default_rope;
    const struct key_rule *keys;  /* beyond the common ones (config.c), or instead of them; ends with name == NULL */
    const struct tensor_rule *const *tensors; /* lists of rules (each ends with name == NULL); ends with NULL */
    sluice_status (*derive)(struct model_config *c, struct failure *f);
    const char *activation_keys;  /* of config.json, "hidden_activation|hidden_act"; NULL: hidden_act */
    const char *tied_keys;        /* of config.json, "tie_embedding|tie_word_embeddings"; NULL: the latter */
    const char *activation_words; /* that mean what derive() puts into the layers, "silu|swish"; NULL: silu */
    const struct key_neutral *refused; /* of config.json; ends with name == NULL; NULL: none */

    /* GGUF. Several families may share a name there: the first in arch_list whose marker is present wins. */
    const char *gguf_arch;        /* "qwen3moe" */
    const char *gguf_marker;      /* a key "ARCH.MARKER" that tells the family, present and not 0; NULL: none needed */
    const struct key_rule *gguf_keys; /* beyond the common ones (config_gguf.c) */
    const struct tensor_rule *gguf_tensors; /* replaces the rules of the same roles in tensors_gguf; or NULL */
    unsigned gguf_peer_limits;    /* enum gguf_peer_limits */
    bool gguf_exact_yarn;         /* YaRN's ramp is not rounded to whole dimensions; no standard key says so */
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
extern const struct tensor_rule tensors_gated_shared_expert[]; /* mlp.shared_expert, mlp.shared_expert_gate */
extern const struct tensor_rule tensors_ends[];        /* of tensors_base: embedding and head, ... */
extern const struct tensor_rule tensors_norms[];       /* ... the norms, ... */
extern const struct tensor_rule tensors_attention[];   /* ... q, k, v, o */
/* Norms that multiply by 1 + w: two a layer, as in tensors_base; four (Gemma 2); those of q and k. */
extern const struct tensor_rule tensors_norms_plus_one[], tensors_post_norms_plus_one[], tensors_head_norm_plus_one[];
/* GGUF names: one list for all families, whose needs ask the layer's configuration; a family that names something
 * differently has gguf_tensors. The first of several alternatives is the one that Sluice writes. */
extern const struct tensor_rule tensors_gguf[];
/* For gguf_tensors, where the norm before the FFN is called post_attention_norm. */
extern const struct tensor_rule tensors_gguf_post_attention_norm[];
/* Latent attention, router with its selection bias, shared experts: DeepSeek-V2, -V3 and their kin (arch_mla.c). */
extern const struct tensor_rule *const tensors_mla_family[];
extern const struct key_rule gguf_keys_mla[];

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
/* The window on the layers that layer_types lists as sliding or, without that list, on all but each period-th layer. */
void derive_period_window(struct model_config *c, int period);
/* Biases of q, k, v and o on every layer, as attention_bias says. */
void derive_biases(struct model_config *c);
/* Gemma 1 to 3: the scaled embedding, GELU, and what the file says of scale and cap of the scores (arch_gemma.c). */
void derive_gemma(struct model_config *c);
/* The scale of scores that GGUF files mean without a key; attention_scale where query_pre_attn_scalar says something
 * else (arch_gemma2.c). */
void derive_query_scale(struct model_config *c, int n_layers_27b);
/* Latent attention on every layer, dense MLPs before first_dense_layers (or as listed), experts after them. What
 * `scoring` says is known. */
sluice_status derive_mla(struct model_config *c, struct failure *f);
/* Gated DeltaNet on linear layers, attention with an output gate on the others, dense MLPs: Qwen3-Next and Qwen3.5
 * (arch_qwen3_next.c). */
sluice_status derive_delta(struct model_config *c, bool fused_ba, bool tiled, struct failure *f);
/* The shared expert of layer l, which has experts, with its switch. */
void derive_gated_shared_expert(struct model_config *c, int l);

#endif
