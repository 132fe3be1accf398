/* Qwen2 and Qwen2.5 (Yang 2024): Llama with biases on q, k, v; optionally a window on the upper layers. */
#include "model/arch.h"

extern const struct arch arch_qwen2;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("use_sliding_window", KEY_BOOL, use_sliding_window, false, 0, 0, 1),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 4096, 0, 1 << 24),
    KEY_RULE("max_window_layers", KEY_INT, max_window_layers, false, 28, 0, 1 << 24),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 32, 1, 1024),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_base, tensors_qkv_bias, tensors_mlp, NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    for (int l = 0; l < c->n_layers; l++) c->layers[l].mixer.qkv_bias = true;
    if (c->use_sliding_window) derive_listed_window(c, c->max_window_layers);
    return SLUICE_OK;
}

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .hf_architecture = "Qwen2ForCausalLM",
    .hf_model_type = "qwen2",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "qwen2",
    .gguf_keys = gguf_keys,
};
