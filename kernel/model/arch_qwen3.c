/* Qwen3 dense (Yang 2025): no biases, q and k normalised per head before RoPE, head_dim independent of the width. */
#include "model/arch.h"

extern const struct arch arch_qwen3;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),
    KEY_RULE("use_sliding_window", KEY_BOOL, use_sliding_window, false, 0, 0, 1),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 4096, 0, 1 << 24),
    KEY_RULE("max_window_layers", KEY_INT, max_window_layers, false, 28, 0, 1 << 24),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 32, 1, 1024),
    KEY_RULE("head_dim", KEY_INT, head_dim, false, 128, 2, 1024),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_base,        tensors_head_norm, tensors_qkv_bias,
                                                    tensors_output_bias, tensors_mlp,       NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    for (int l = 0; l < c->n_layers; l++) {
        struct mixer *mixer = &c->layers[l].mixer;
        mixer->qk_norm = QK_NORM_PER_HEAD;
        mixer->qkv_bias = mixer->output_bias = c->attention_bias;
    }
    if (c->use_sliding_window) derive_listed_window(c, c->max_window_layers);
    return SLUICE_OK;
}

const struct arch arch_qwen3 = {
    .name = "qwen3",
    .hf_architecture = "Qwen3ForCausalLM",
    .hf_model_type = "qwen3",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "qwen3",
    .gguf_peer_limits = PEERS_LACK_BIAS,
    .gguf_keys = gguf_keys,
};
