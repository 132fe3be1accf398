/* DeepSeek-V3 and R1 (DeepSeek 2024), Moonlight, Kimi-K2, GigaChat3: latent attention; sigmoid scores, chosen with a
 * bias that does not weigh, renormalised. In GGUF files the family of all "deepseek2". */
#include "model/arch.h"

extern const struct arch arch_deepseek_v3;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 18432, 1, 1 << 24),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 2048, 1, 1 << 24),
    KEY_RULE("n_routed_experts|num_local_experts", KEY_INT, n_experts, false, 256, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 8, 1, 64),
    KEY_RULE("n_shared_experts", KEY_INT_OR_NULL, n_shared_experts, false, 1, 0, 64),
    KEY_RULE("first_k_dense_replace", KEY_INT, first_dense_layers, false, 3, 0, 1024),
    WORD_RULE("scoring_func", scoring, false, SCORING_SIGMOID, "||sigmoid"),
    WORD_RULE("topk_method", topk_method, false, 0, "noaux_tc"),
    KEY_RULE("n_group", KEY_INT, n_group, false, 8, 1, 4096),
    KEY_RULE("topk_group", KEY_INT, topk_group, false, 4, 1, 4096),
    KEY_RULE("routed_scaling_factor", KEY_FLOAT, routed_scale, false, 2.5, 1e-6, 1e6),
    KEY_RULE("norm_topk_prob", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    KEY_RULE("q_lora_rank", KEY_INT_OR_NULL, q_lora_rank, false, 1536, 1, 1 << 16),
    KEY_RULE("kv_lora_rank", KEY_INT, kv_lora_rank, false, 512, 1, 1 << 16),
    KEY_RULE("qk_nope_head_dim", KEY_INT, qk_nope_head_dim, false, 128, 1, 960),
    KEY_RULE("qk_rope_head_dim", KEY_INT, qk_rope_head_dim, false, 64, 2, 512),
    KEY_RULE("v_head_dim", KEY_INT, v_head_dim, false, 128, 1, 1024),
    {0},
};

static const struct key_neutral refused[] = {
    {"moe_layer_freq", {1, 1}}, {"attention_bias", {0, 0}}, {"rope_interleave", {1, 1}}, {0}};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    /* Files that do not say how they score are DeepSeek-V2, but for early ones of GLM-4.7-Flash, whose 47 layers (48
     * with the one that predicts a second token) no other model has. */
    const bool flash = c->n_layers + c->n_extra_layers == 47 || c->n_layers + c->n_extra_layers == 48;
    if (c->scoring == SCORING_UNSTATED) c->scoring = flash ? SCORING_SIGMOID : SCORING_SOFTMAX;
    return derive_mla(c, f);
}

const struct arch arch_deepseek_v3 = {
    .name = "deepseek_v3",
    .hf_architecture = "DeepseekV3ForCausalLM",
    .hf_model_type = "deepseek_v3|kimi_k2",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors_mla_family,
    .refused = refused,
    .derive = derive,
    .gguf_arch = "deepseek2",
    .gguf_peer_limits = PEERS_LACK_TIED | PEERS_HAVE_FIRST_DENSE | PEERS_HAVE_NORM,
    .gguf_keys = gguf_keys_mla,
};
