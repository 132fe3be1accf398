/* DeepSeek-V2 and V2-Lite (DeepSeek 2024): latent attention; softmax, the best experts of the best groups, not
 * renormalised. */
#include "model/arch.h"

extern const struct arch arch_deepseek_v2;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 11008, 1, 1 << 24),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 1407, 1, 1 << 24),
    KEY_RULE("n_routed_experts|num_experts", KEY_INT, n_experts, false, 64, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, true, 0, 1, 64),
    KEY_RULE("n_shared_experts", KEY_INT_OR_NULL, n_shared_experts, false, 2, 0, 64),
    KEY_RULE("first_k_dense_replace", KEY_INT, first_dense_layers, false, 0, 0, 1024),
    WORD_RULE("scoring_func", scoring, false, SCORING_SOFTMAX, "|softmax"),
    WORD_RULE("topk_method", topk_method, false, 1, "|greedy|group_limited_greedy"),
    KEY_RULE("n_group", KEY_INT, n_group, false, 1, 1, 4096),
    KEY_RULE("topk_group", KEY_INT, topk_group, false, 1, 1, 4096),
    KEY_RULE("routed_scaling_factor", KEY_FLOAT, routed_scale, false, 1, 1e-6, 1e6),
    KEY_RULE("q_lora_rank", KEY_INT_OR_NULL, q_lora_rank, false, 1536, 1, 1 << 16),
    KEY_RULE("kv_lora_rank", KEY_INT, kv_lora_rank, false, 512, 1, 1 << 16),
    KEY_RULE("qk_nope_head_dim", KEY_INT, qk_nope_head_dim, false, 128, 1, 960),
    KEY_RULE("qk_rope_head_dim", KEY_INT, qk_rope_head_dim, false, 64, 2, 512),
    KEY_RULE("v_head_dim", KEY_INT, v_head_dim, false, 128, 1, 1024),
    {0},
};

static const struct key_neutral refused[] = {
    {"moe_layer_freq", {1, 1}}, {"attention_bias", {0, 0}}, {"mlp_bias", {0, 0}}, {"norm_topk_prob", {0, 0}}, {0}};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    if (c->topk_method == 1) c->n_group = c->topk_group = 1; /* greedy: groups may be named, and do not count */
    return derive_mla(c, f);
}

const struct arch arch_deepseek_v2 = {
    .name = "deepseek_v2",
    .hf_architecture = "DeepseekV2ForCausalLM",
    .hf_model_type = "deepseek_v2",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors_mla_family,
    .refused = refused,
    .derive = derive,
    .gguf_arch = "deepseek2",
    .gguf_peer_limits = PEERS_LACK_TIED | PEERS_HAVE_FIRST_DENSE | PEERS_HAVE_NORM,
    .gguf_keys = gguf_keys_mla,
};
