/* OLMoE 1B-7B (Muennighoff 2024): 64 experts, best 8, not renormalised; q and k normalised over their full width. */
#include "model/arch.h"

extern const struct arch arch_olmoe;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("num_experts|num_local_experts", KEY_INT, n_experts, false, 64, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 8, 1, 64),
    KEY_RULE("norm_topk_prob", KEY_BOOL, norm_topk_prob, false, 0, 0, 1),
    KEY_RULE("clip_qkv", KEY_FLOAT, clip_qkv, false, 0, 1e-6, 1e30),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),
    KEY_RULE("rms_norm_eps", KEY_FLOAT, rms_norm_eps, false, 1e-5, 1e-30, 1),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 0, 0, 1),
    KEY_RULE("attention.clamp_kqv", KEY_FLOAT, clip_qkv, false, 0, 0, 1e30),
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_base,        tensors_full_norm, tensors_qkv_bias,
                                                    tensors_output_bias, tensors_experts,   NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    for (int l = 0; l < c->n_layers; l++) {
        struct mixer *mixer = &c->layers[l].mixer;
        mixer->qk_norm = QK_NORM_FULL;
        mixer->clip_qkv = c->clip_qkv;
        mixer->qkv_bias = mixer->output_bias = c->attention_bias;
        derive_experts(c, l);
    }
    return SLUICE_OK;
}

const struct arch arch_olmoe = {
    .name = "olmoe",
    .hf_architecture = "OlmoeForCausalLM",
    .hf_model_type = "olmoe",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "olmoe",
    .gguf_peer_limits = PEERS_LACK_BIAS | PEERS_LACK_TIED | PEERS_LACK_HEAD_DIM,
    .gguf_keys = gguf_keys,
};
