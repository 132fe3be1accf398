/* Qwen3-MoE, 30B-A3B and 235B-A22B (Yang 2025): Qwen3's attention, 128 experts, best 8, renormalised as the file
 * says. */
#include "model/arch.h"

extern const struct arch arch_qwen3_moe;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 6144, 1, 1 << 24),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 768, 1, 1 << 24),
    KEY_RULE("num_experts|num_local_experts", KEY_INT, n_experts, false, 128, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 8, 1, 64),
    KEY_RULE("norm_topk_prob", KEY_BOOL, norm_topk_prob, false, 0, 0, 1),
    KEY_RULE("decoder_sparse_step", KEY_INT, decoder_sparse_step, false, 1, 1, 1024),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),
    KEY_RULE("use_sliding_window", KEY_BOOL, use_sliding_window, false, 0, 0, 1),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 4096, 0, 1 << 24),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 4, 1, 1024),
    {0},
};

/* Converters do not write expert_weights_norm: every released model of the family has it. */
static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    {0},
};

static const struct tensor_rule *const tensors[] = {
    tensors_base, tensors_head_norm, tensors_qkv_bias, tensors_output_bias, tensors_mlp, tensors_experts, NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_sparse_step(c);
    for (int l = 0; l < c->n_layers; l++) {
        struct mixer *mixer = &c->layers[l].mixer;
        mixer->qk_norm = QK_NORM_PER_HEAD;
        mixer->qkv_bias = mixer->output_bias = c->attention_bias;
    }
    if (c->use_sliding_window) derive_window(c);
    return SLUICE_OK;
}

const struct arch arch_qwen3_moe = {
    .name = "qwen3_moe",
    .hf_architecture = "Qwen3MoeForCausalLM",
    .hf_model_type = "qwen3_moe",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "qwen3moe",
    .gguf_peer_limits = PEERS_LACK_BIAS,
    .gguf_keys = gguf_keys,
};
