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

enum rope_scaling { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN };

struct rope_config { /* Su 2021; scalings: Chen 2023 (linear), Meta 2024 (llama3), Peng 2023 (YaRN) */
    enum rope_scaling scaling;
    double theta, factor;
    double low_freq_factor, high_freq_factor;  /* llama3 */
    double original_context;                   /* llama3, yarn: positions of the original training */
    double beta_fast, beta_slow;               /* yarn */
    double attention_factor;                   /* multiplies cosine and sine; 0: 1, of yarn computed from factor */
    double mscale, mscale_all_dim;             /* yarn, 0: absent */
    bool truncate;                             /* yarn: round the ramp's ends */
    bool has_divisors;      /* GGUF: tensor rope_freqs.weight [head_dim / 2] divides the frequencies ... */
    const float *divisors;  /* ... and bind.c puts it here, finite and > 0, before tables are made; not owned */
};

enum activation { ACT_SILU };

/* What mixes information between positions. */
struct mixer {
    enum { MIX_GQA } kind; /* grouped-query attention (Ainslie 2023); multi-head when n_kv_heads == n_heads */
    int n_heads, n_kv_heads, head_dim;
    int window;       /* key j is visible from position i iff 0 <= i - j < window; 0: no window */
    enum { QK_NORM_NONE, QK_NORM_PER_HEAD, QK_NORM_FULL } qk_norm; /* before RoPE */
    bool qkv_bias, output_bias;
    float scale;      /* of q.k */
    float clip_qkv;   /* after the norm: clamp q, k, v to +-clip; 0: off */
};

/* Which experts a token uses, and how much. */
struct router {
    enum { SCORE_SOFTMAX } score;
    bool normalise;   /* the chosen weights are divided by their sum */
    int n_experts, top_k;
};

struct ffn {
    enum { FFN_DENSE, FFN_MOE } kind;
    enum activation activation;
    int intermediate_size;        /* of the MLP, or of each expert */
    int shared_intermediate_size; /* of the shared expert; 0: there is none */
    enum { SHARED_NONE, SHARED_GATED } shared; /* gated: times sigmoid(w . h), Qwen2-MoE */
    bool bias;                    /* of a dense MLP's three matrices */
};

struct layer_config {
    struct mixer mixer;
    struct router router; /* meaningful for FFN_MOE */
    struct ffn ffn;
    /* As listed in the file, per layer; read by derive(). */
    bool listed_sliding, listed_dense;
};

enum { MAX_END_TOKENS = 16 };

struct model_config {
    const struct arch *arch;
    int n_layers, hidden_size, vocab_size, n_context;
    float rms_norm_eps;
    bool tied_embeddings;  /* the output head is the embedding matrix */
    struct rope_config rope;
    struct layer_config *layers; /* [n_layers], owned */

    /* As the file says them; raw material of derive(). */
    int n_heads, n_kv_heads, head_dim, intermediate_size;
    int moe_intermediate_size, shared_intermediate_size, n_experts, top_k, decoder_sparse_step;
    bool norm_topk_prob, attention_bias, mlp_bias, qkv_bias, use_sliding_window, has_layer_types;
    int sliding_window, max_window_layers;
    float clip_qkv;

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
int config_max_head_dim(const struct model_config *c);

/* Tables for positions 0..n_context-1: cosine and sine [n_context, head_dim / 2], float. With has_divisors, divisors
 * must be set. */
void rope_table(const struct rope_config *r, int head_dim, int n_context, float *cosine, float *sine);
/* What multiplies cosine and sine. */
double rope_magnitude(const struct rope_config *r);
/* By what Llama 3's scaling divides frequency i. */
double rope_llama3_divisor(const struct rope_config *r, int i, int head_dim);

#endif
