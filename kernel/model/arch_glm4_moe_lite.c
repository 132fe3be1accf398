/* GLM-4.7-Flash (Z.ai 2026): DeepSeek-V3 with other sizes, and dense layers that may be listed. */
#include "model/arch.h"

extern const struct arch arch_glm4_moe_lite;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 10240, 1, 1 << 24),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 1536, 1, 1 << 24),
    KEY_RULE("n_routed_experts|num_local_experts", KEY_INT, n_experts, false, 64, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 4, 1, 64),
    KEY_RULE("n_shared_experts", KEY_INT, n_shared_experts, false, 1, 0, 64),
    KEY_RULE("first_k_dense_replace", KEY_INT, first_dense_layers, false, 1, 0, 1024),
    WORD_RULE("scoring_func", scoring, false, SCORING_SIGMOID, "||sigmoid"),
    WORD_RULE("topk_method", topk_method, false, 0, "noaux_tc"),
    KEY_RULE("n_group", KEY_INT, n_group, false, 1, 1, 4096),
    KEY_RULE("topk_group", KEY_INT, topk_group, false, 1, 1, 4096),
    KEY_RULE("routed_scaling_factor", KEY_FLOAT, routed_scale, false, 1.8, 1e-6, 1e6),
    KEY_RULE("norm_topk_prob", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    KEY_RULE("q_lora_rank", KEY_INT_OR_NULL, q_lora_rank, false, 768, 1, 1 << 16),
    KEY_RULE("kv_lora_rank", KEY_INT, kv_lora_rank, false, 512, 1, 1 << 16),
    KEY_RULE("qk_nope_head_dim", KEY_INT, qk_nope_head_dim, false, 192, 1, 960),
    KEY_RULE("qk_rope_head_dim", KEY_INT, qk_rope_head_dim, false, 64, 2, 512),
    KEY_RULE("v_head_dim", KEY_INT, v_head_dim, false, 256, 1, 1024),
    KEY_RULE("rms_norm_eps", KEY_FLOAT, rms_norm_eps, false, 1e-5, 1e-30, 1),
    {0},
};

static const struct key_neutral refused[] = {
    {"moe_layer_freq", {1, 1}}, {"attention_bias", {0, 0}}, {"rope_interleave", {1, 1}}, {0}};

const struct arch arch_glm4_moe_lite = {
    .name = "glm4_moe_lite",
    .hf_architecture = "Glm4MoeLiteForCausalLM",
    .hf_model_type = "glm4_moe_lite",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors_mla_family,
    .refused = refused,
    .derive = derive_mla,
    .gguf_arch = "deepseek2",
    .gguf_peer_limits = PEERS_LACK_TIED | PEERS_HAVE_FIRST_DENSE | PEERS_HAVE_NORM,
    .gguf_keys = gguf_keys_mla,
};
