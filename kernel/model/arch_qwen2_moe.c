/* Qwen1.5-MoE and Qwen2-MoE (Yang 2024): many small experts, not renormalised, beside one shared expert whose output
 * is multiplied by a learned sigmoid. */
#include "model/arch.h"

extern const struct arch arch_qwen2_moe;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 5632, 1, 1 << 24),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 1408, 1, 1 << 24),
    KEY_RULE("shared_expert_intermediate_size", KEY_INT, shared_intermediate_size, false, 5632, 1, 1 << 24),
    KEY_RULE("num_experts|num_local_experts", KEY_INT, n_experts, false, 60, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 4, 1, 64),
    KEY_RULE("norm_topk_prob", KEY_BOOL, norm_topk_prob, false, 0, 0, 1),
    KEY_RULE("decoder_sparse_step", KEY_INT, decoder_sparse_step, false, 1, 1, 1024),
    KEY_RULE("qkv_bias", KEY_BOOL, qkv_bias, false, 1, 0, 1),
    KEY_RULE("use_sliding_window", KEY_BOOL, use_sliding_window, false, 0, 0, 1),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 4096, 0, 1 << 24),
    KEY_RULE("max_window_layers", KEY_INT, max_window_layers, false, 28, 0, 1 << 24),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 16, 1, 1024),
    {0},
};

/* Widths that are absent follow from feed_forward_length: config_gguf.c. */
static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_shared_feed_forward_length", KEY_INT, shared_intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 0, 0, 1),
    {0},
};

static const struct tensor_rule *const tensors[] = {
    tensors_base, tensors_qkv_bias, tensors_mlp, tensors_experts, tensors_gated_shared_expert, NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_sparse_step(c);
    for (int l = 0; l < c->n_layers; l++) {
        c->layers[l].mixer.qkv_bias = c->qkv_bias;
        if (c->layers[l].ffn.kind == FFN_MOE) derive_gated_shared_expert(c, l);
    }
    /* Without a list of layer types, this family alone puts the window on every other layer below the limit. */
    if (c->use_sliding_window && !c->has_layer_types) {
        for (int l = 0; l < c->n_layers && l < c->max_window_layers; l += 2)
            c->layers[l].mixer.window = c->sliding_window;
    } else if (c->use_sliding_window) {
        derive_listed_window(c, 0);
    }
    return SLUICE_OK;
}

const struct arch arch_qwen2_moe = {
    .name = "qwen2_moe",
    .hf_architecture = "Qwen2MoeForCausalLM",
    .hf_model_type = "qwen2_moe",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "qwen2moe",
    .gguf_peer_limits = PEERS_LACK_TIED | PEERS_LACK_HEAD_DIM,
    .gguf_keys = gguf_keys,
};
