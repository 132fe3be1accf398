/* Mistral 7B and its small successors (Jiang 2023): Llama with a sliding window on every layer, if there is one. */
#include "model/arch.h"

extern const struct arch arch_mistral;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 4096, 0, 1 << 24),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 8, 1, 1024),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_base, tensors_mlp, NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_window(c);
    return SLUICE_OK;
}

const struct arch arch_mistral = {
    .name = "mistral",
    .hf_architecture = "MistralForCausalLM",
    .hf_model_type = "mistral",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "llama",
    .gguf_marker = "attention.sliding_window",
    .gguf_keys = gguf_keys,
    .gguf_rope_pairs = true,
};
