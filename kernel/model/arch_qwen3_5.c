/* Qwen3.5 and Qwen3.6 (Qwen 2026), dense and MoE: Qwen3-Next whose DeltaNet has its inputs in separate matrices, and
 * whose value heads GGUF files hold in another order, which is the one here: value head v reads key head v modulo their
 * number. */
#include "model/arch.h"

extern const struct arch arch_qwen3_5, arch_qwen3_5_moe;

static const struct key_rule keys[] = {
    DELTA_KEYS(4),
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 12288, 1, 1 << 24),
    {0},
};

static const struct key_rule moe_keys[] = {
    DELTA_KEYS(2),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 512, 1, 1 << 24),
    KEY_RULE("shared_expert_intermediate_size", KEY_INT, shared_intermediate_size, false, 512, 1, 1 << 24),
    KEY_RULE("num_experts|num_local_experts", KEY_INT, n_experts, false, 256, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 8, 1, 64),
    {0},
};

static const struct key_rule gguf_keys[] = {
    DELTA_GGUF_KEYS,
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    {0},
};

static const struct key_rule moe_gguf_keys[] = {
    DELTA_GGUF_KEYS,
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_shared_feed_forward_length", KEY_INT, shared_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    {0},
};

#define DELTA "model.layers.{l}.linear_attn."

static const struct tensor_rule delta[] = {
    {ROLE_DELTA_QKV, DELTA "in_proj_qkv.weight", SIZE_DELTA_QKV, SIZE_HIDDEN, NEED_DELTA, TILED_QKV},
    {ROLE_DELTA_Z, DELTA "in_proj_z.weight", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, TILED_ROWS},
    {ROLE_DELTA_B, DELTA "in_proj_b.weight", SIZE_VALUE_HEADS, SIZE_HIDDEN, NEED_DELTA, TILED_ROWS},
    {ROLE_DELTA_A, DELTA "in_proj_a.weight", SIZE_VALUE_HEADS, SIZE_HIDDEN, NEED_DELTA, TILED_ROWS},
    {ROLE_CONV, DELTA "conv1d.weight", SIZE_CONV, SIZE_TAPS, NEED_DELTA, TILED_CONV},
    {ROLE_DELTA_DECAY, DELTA "A_log", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, TILED_NEGATIVE_EXP},
    {ROLE_DELTA_DT_BIAS, DELTA "dt_bias", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, TILED_ROWS},
    {ROLE_DELTA_NORM, DELTA "norm.weight", SIZE_V_HEAD, SIZE_NONE, NEED_DELTA, COPY},
    {ROLE_O, DELTA "out_proj.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_DELTA, TILED_COLUMNS},
    {0},
};

static const struct key_neutral refused[] = {{"attn_output_gate", {1, 1}}, {0}};

static const struct tensor_rule *const tensors[] = {tensors_ends,
                                                    tensors_norms_plus_one,
                                                    tensors_attention,
                                                    tensors_head_norm_plus_one,
                                                    tensors_qkv_bias,
                                                    tensors_output_bias,
                                                    delta,
                                                    tensors_mlp,
                                                    NULL};

static const struct tensor_rule *const moe_tensors[] = {tensors_ends,
                                                        tensors_norms_plus_one,
                                                        tensors_attention,
                                                        tensors_head_norm_plus_one,
                                                        tensors_qkv_bias,
                                                        tensors_output_bias,
                                                        delta,
                                                        tensors_experts,
                                                        tensors_gated_shared_expert,
                                                        NULL};

static sluice_status derive(struct model_config *c, struct failure *f) { return derive_delta(c, false, true, f); }

static sluice_status derive_moe(struct model_config *c, struct failure *f)
{
    sluice_status s = derive_delta(c, false, true, f);
    c->norm_topk_prob = true;
    for (int l = 0; !s && l < c->n_layers; l++) {
        derive_experts(c, l);
        derive_gated_shared_expert(c, l);
    }
    return s;
}

const struct arch arch_qwen3_5 = {
    .name = "qwen3_5",
    .hf_architecture = "Qwen3_5ForCausalLM|Qwen3_5ForConditionalGeneration",
    .hf_model_type = "qwen3_5_text|qwen3_5",
    .default_theta = 1e4,
    .default_partial = 0.25,
    .keys = keys,
    .tensors = tensors,
    .refused = refused,
    .derive = derive,
    .gguf_arch = "qwen35",
    .gguf_peer_limits = PEERS_LACK_BIAS | PEERS_WANT_SECTIONS,
    .gguf_keys = gguf_keys,
    .gguf_tensors = tensors_gguf_post_attention_norm,
};

const struct arch arch_qwen3_5_moe = {
    .name = "qwen3_5_moe",
    .hf_architecture = "Qwen3_5MoeForConditionalGeneration|Qwen3_5MoeForCausalLM",
    .hf_model_type = "qwen3_5_moe|qwen3_5_moe_text",
    .default_theta = 1e4,
    .default_partial = 0.25,
    .keys = moe_keys,
    .tensors = moe_tensors,
    .refused = refused,
    .derive = derive_moe,
    .gguf_arch = "qwen35moe",
    .gguf_peer_limits = PEERS_LACK_BIAS | PEERS_WANT_SECTIONS,
    .gguf_keys = moe_gguf_keys,
    .gguf_tensors = tensors_gguf_post_attention_norm,
};
