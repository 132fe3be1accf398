/* struct model_config: everything that makes one checkpoint differ from another, as numbers and enums.
 *
 * Two stages. `config_read` (config.c, config_gguf.c) copies the keys of the file into the plain fields,
 * range-checked; the architecture's derive function (arch_*.c) then describes every layer on its own - mixer, router,
 * FFN - because many models mix kinds of layers. The forward pass looks only at the layers. Nothing here is a string to
 * be compared. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"

struct archive;
struct arch;

enum rope_scaling { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN, ROPE_PROPORTIONAL };

/* Su 2021; scalings: Chen 2023 (linear), Meta 2024 (llama3), Peng 2023 (YaRN), Google 2026 (proportional). */
struct rope_config {
    enum rope_scaling scaling;
    int n_rot;              /* elements of a head that the table rotates, even; frequencies are theta^(-2i / n_rot) */
    double partial;         /* proportional: this share of the n_rot / 2 pairs turns, the others stand still */
    double theta, factor;
    double low_freq_factor, high_freq_factor;  /* llama3 */
    double original_context;                   /* llama3, yarn: positions of the original training */
    double beta_fast, beta_slow;               /* yarn */
    double attention_factor;                   /* multiplies cosine and sine; 0: 1, of yarn computed from factor */
    double mscale, mscale_all_dim;             /* yarn, 0: absent */
    bool truncate;                             /* yarn: round the ramp's ends */
    bool has_divisors;      /* GGUF: tensor rope_freqs.weight [n_rot / 2] divides the frequencies ... */
    const float *divisors;  /* ... and bind.c puts it here, finite and > 0, before tables are made; not owned */
};

/* How many tables of cosines and sines a model has: most have one; Gemma 3 and 4 another for sliding layers. */
enum rope_index { ROPE_GLOBAL, ROPE_LOCAL, N_ROPES };

enum activation {
    ACT_SILU,           /* silu(gate) * up */
    ACT_GELU_TANH,      /* Gemma */
    ACT_SWIGLU_CLAMPED, /* gpt-oss: g sigmoid(1.702 g) (u + 1), g = min(gate, limit), u = clamp(up, +-limit) */
};

/* What mixes information between positions. */
struct mixer {
    enum mixer_kind {
        MIX_GQA,   /* grouped-query attention (Ainslie 2023); multi-head when n_kv_heads == n_heads */
        MIX_MLA,   /* multi-head latent attention (DeepSeek-V2 2024): the cache keeps one latent for all heads */
        MIX_DELTA, /* Gated DeltaNet (Yang 2024): a state matrix per value head, a short convolution before it */
        MIX_CONV,  /* gated short convolution (LFM2 2025) */
    } kind;

    /* Attention. */
    int n_heads, n_kv_heads; /* MLA: n_kv_heads == n_heads */
    int head_dim, v_head_dim; /* of q and k, of v. MLA: head_dim counts both parts, of which the last n_rot rotate.
                               * Delta: of keys and of values */
    enum rope_index rope;    /* GQA: the first n_rot elements of a head rotate */
    int window;       /* key j is visible from position i iff 0 <= i - j < window; 0: no window */
    enum { QK_NORM_NONE, QK_NORM_PER_HEAD, QK_NORM_FULL } qk_norm; /* before RoPE */
    bool v_norm;      /* every head of v is divided by its root mean square (Gemma 4) */
    bool v_is_k;      /* there is no v projection: v is k as projected, before norm and RoPE (Gemma 4) */
    bool qkv_bias, output_bias;
    bool output_gate; /* q has 2 * head_dim outputs per head, query then gate: the head's result *= sigmoid(gate) */
    bool sinks;       /* one learned score per head joins the sum of the softmax, and nothing else (gpt-oss) */
    float scale;      /* of q.k */
    float softcap;    /* scores become softcap * tanh(score / softcap) (Gemma 2); 0: off */
    float clip_qkv;   /* after the norm: clamp q, k, v to +-clip; 0: off */

    /* MLA. The part of a head that does not rotate has head_dim - n_rot elements. */
    int q_lora_rank;  /* 0: q is projected from h directly */
    int kv_lora_rank; /* width of the latent */
    float lora_eps;   /* of the norms of both latents */

    /* Delta, and conv_kernel of conv. */
    int n_key_heads, n_value_heads; /* n_value_heads is a multiple of n_key_heads */
    bool value_heads_tiled; /* value head v reads key head v % n_key_heads; else v / (n_value_heads / n_key_heads) */
    bool fused_ba;    /* one matrix for b and a: per key head its b's, then its a's (Qwen3-Next); else two */
    int conv_kernel;  /* taps; the last one is the current position */
};

/* Which experts a token uses, and how much. Steps: score, bias, groups, select, weigh. */
struct router {
    enum { SCORE_SOFTMAX, SCORE_SIGMOID } score;
    bool bias;           /* of the logits (gpt-oss) */
    bool selection_bias; /* is added to the scores to choose, not to weigh (DeepSeek-V3) */
    int n_group, topk_group; /* experts outside the topk_group best of n_group equal groups cannot be chosen; n_group <=
                              * 1: off */
    enum { GROUP_MAX, GROUP_SUM_TOP2 } group_rank; /* what makes a group good: its best score, or its two best */
    bool normalise;      /* the chosen weights are divided by (their sum + normalise_eps) */
    float normalise_eps;
    float scale;         /* multiplies the weights; 1: nothing */
    bool expert_scale;   /* each expert's weight has a learned factor (Gemma 4) */
    enum { INPUT_NORMED, INPUT_RESIDUAL } input; /* residual: x / rms(x) * learned / sqrt(hidden_size) (Gemma 4) */
    int n_experts, top_k;
};

struct ffn {
    enum {
        FFN_DENSE,
        FFN_MOE,
        FFN_DENSE_AND_MOE, /* both, each between norms of its own, added (Gemma 4) */
    } kind;
    enum activation activation;
    float limit;                  /* of ACT_SWIGLU_CLAMPED */
    int intermediate_size;        /* of the MLP */
    int expert_size;              /* of each expert */
    int shared_size;              /* of the shared expert; 0: there is none */
    enum { SHARED_NONE, SHARED_GATED, SHARED_ADDED } shared; /* gated: times sigmoid(w . h), Qwen2-MoE */
    bool bias;                    /* of a dense MLP's three matrices */
    bool expert_bias;             /* of the experts' three matrices (gpt-oss) */
};

/* The numbers of GGUF's expert_gating_func; config.json's words are numbered alike: "|softmax|sigmoid". */
enum scoring { SCORING_UNSTATED, SCORING_SOFTMAX, SCORING_SIGMOID, SCORING_SOFTMAX_OF_CHOSEN };

/* What a list in the file says of one layer; read by derive(). */
enum listed_type { LISTED_NONE, LISTED_FULL, LISTED_SLIDING, LISTED_LINEAR, LISTED_CONV };

struct layer_config {
    struct mixer mixer;
    struct router router; /* meaningful with experts */
    struct ffn ffn;
    bool post_norms;      /* the outputs of mixer and FFN are normalised before they are added to x (Gemma 2) */
    bool layer_scale;     /* x is multiplied by a learned number after the layer (Gemma 4) */
    /* As listed in the file, per layer; read by derive(). */
    enum listed_type listed;
    bool listed_dense;
    int listed_kv_heads;  /* of attention.head_count_kv as an array, or per_layer_config; -1: not listed, 0: no
                           * attention here */
    int listed_head_dim;  /* of per_layer_config; 0: not listed */
};

static inline bool ffn_has_experts(const struct ffn *f) { return f->kind != FFN_DENSE; }
static inline bool ffn_has_mlp(const struct ffn *f) { return f->kind != FFN_MOE; }
static inline bool mixer_is_recurrent(const struct mixer *m) { return m->kind == MIX_DELTA || m->kind == MIX_CONV; }

enum { MAX_END_TOKENS = 16 };

struct model_config {
    const struct arch *arch;
    int n_layers, hidden_size, vocab_size, n_context;
    float rms_norm_eps;
    bool tied_embeddings;  /* the output head is the embedding matrix */
    float embedding_scale; /* multiplies rows of the embedding; 1: nothing */
    float final_softcap;   /* logits become softcap * tanh(logit / softcap); 0: off */
    struct rope_config rope[N_ROPES];
    struct layer_config *layers; /* [n_layers], owned */

    /* As the file says them; raw material of derive(). config_export writes GGUF keys from them by the family's rules,
     * so derive() leaves here what it concluded where the file was silent. */
    int n_extra_layers; /* GGUF: layers for predicting further tokens, which stand behind n_layers and are not read */
    int n_heads, n_kv_heads, head_dim, intermediate_size;
    int moe_intermediate_size, shared_intermediate_size, n_experts, top_k, decoder_sparse_step;
    bool norm_topk_prob, attention_bias, mlp_bias, qkv_bias, use_sliding_window;
    bool has_layer_types; /* layers[].listed is set: by layer_types or, of GGUF, by a pattern of windows */
    bool has_dense_list;  /* layers[].listed_dense tells the whole story, and first_dense_layers nothing */
    int sliding_window, sliding_pattern, max_window_layers; /* pattern: the last of so many layers sees everything */
    float clip_qkv;
    /* ... of experts */
    int n_shared_experts, first_dense_layers, moe_layer_freq, n_group, topk_group;
    int scoring;        /* enum scoring */
    int topk_method;    /* a word of the file, by number: see the family's rules */
    float routed_scale; /* 0, in GGUF files only, means 1 */
    bool use_expert_bias; /* of GGUF: there are tensors of selection biases */
    bool moe_enabled;
    float swiglu_limit;
    /* ... of latent attention */
    int q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
    /* ... of linear attention and convolutions */
    int linear_key_heads, linear_value_heads, linear_key_head_dim, linear_value_head_dim, conv_kernel;
    int linear_inner_size; /* GGUF: of all value heads */
    int full_attention_interval;
    bool conv_bias;
    /* ... of Gemma */
    int global_head_dim, global_kv_heads;
    float query_scalar, attention_scale, attention_softcap; /* scale 0: it follows from the others */
    bool k_is_v; /* GGUF: some layer has k and no v */
    int bidirectional; /* a word, of images only */
    int per_layer_inputs, shared_kv_layers; /* 0 */

    /* ... of LFM2: whether and how intermediate_size is still to be made smaller and rounded up */
    bool ff_auto_adjust;
    float ff_multiplier;
    int ff_multiple_of;

    int32_t bos_token; /* -1: none */
    int32_t end_tokens[MAX_END_TOKENS];
    int n_end_tokens;
};

/* Sampling defaults of generation_config.json, or of GGUF's general.sampling keys. */
struct generation_config {
    bool do_sample;
    float temperature, top_p, min_p, repetition_penalty;
    int top_k;
};

/* Fills `c` from the archive's config.json (and generation_config.json for the end tokens), or from the keys of a GGUF
 * file. On failure nothing is owned. `config_free` releases the layers. */
sluice_status config_read(struct model_config *c, struct generation_config *g, const struct archive *a,
                          struct failure *f);
void config_free(struct model_config *c);

int config_n_moe_layers(const struct model_config *c);

/* Tables for positions 0..n_context-1: cosine and sine [n_context, n_rot / 2], float. With has_divisors, divisors must
 * be set. n_rot 0: there is no such table. */
void rope_table(const struct rope_config *r, int n_context, float *cosine, float *sine);
/* What multiplies cosine and sine. */
double rope_magnitude(const struct rope_config *r);
/* By what Llama 3's scaling divides frequency i. */
double rope_llama3_divisor(const struct rope_config *r, int i);

#endif
