/* Gemma 2B and 7B (Google 2024): Llama's block with norms that multiply by 1 + w, GELU, embeddings scaled by
 * sqrt(hidden_size), and the embedding as output. */
#include <math.h>

#include "model/arch.h"

extern const struct arch arch_gemma;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 24576, 1, 1 << 24),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 16, 1, 1024),
    KEY_RULE("head_dim", KEY_INT, head_dim, false, 256, 2, 1024),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    {0},
};

static const struct key_neutral refused[] = {{"use_bidirectional_attention", {0, 0}}, {0}};

static const struct tensor_rule *const tensors[] = {
    tensors_ends, tensors_norms_plus_one, tensors_attention, tensors_qkv_bias, tensors_output_bias, tensors_mlp, NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_biases(c);
    derive_gemma(c);
    return SLUICE_OK;
}

void derive_gemma(struct model_config *c)
{
    c->embedding_scale = (float)sqrt((double)c->hidden_size);
    for (int l = 0; l < c->n_layers; l++) {
        c->layers[l].ffn.activation = ACT_GELU_TANH;
        if (c->attention_scale > 0) c->layers[l].mixer.scale = c->attention_scale;
        c->layers[l].mixer.softcap = c->attention_softcap;
    }
}

/* "gelu" in the first releases means the approximation too. */
const struct arch arch_gemma = {
    .name = "gemma",
    .hf_architecture = "GemmaForCausalLM",
    .hf_model_type = "gemma",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .refused = refused,
    .derive = derive,
    .activation_keys = "hidden_activation|hidden_act",
    .activation_words = "gelu_pytorch_tanh|gelu",
    .gguf_arch = "gemma",
    .gguf_peer_limits = PEERS_LACK_BIAS | PEERS_LACK_UNTIED,
    .gguf_keys = gguf_keys,
};
