/* Qwen3-Next 80B-A3B (Qwen 2025): three layers of Gated DeltaNet for each of attention, whose heads have an output gate
 * and rotate a quarter; 512 experts, best 10, beside a gated shared one. Norms multiply by 1 + w, but for the one
 * inside DeltaNet. */
#include "model/arch.h"

extern const struct arch arch_qwen3_next;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 5632, 1, 1 << 24),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 512, 1, 1 << 24),
    KEY_RULE("shared_expert_intermediate_size", KEY_INT, shared_intermediate_size, false, 512, 1, 1 << 24),
    KEY_RULE("num_experts|num_local_experts", KEY_INT, n_experts, false, 512, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 10, 1, 64),
    KEY_RULE("norm_topk_prob", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    KEY_RULE("decoder_sparse_step", KEY_INT, decoder_sparse_step, false, 1, 1, 1024),
    DELTA_KEYS(2),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_shared_feed_forward_length", KEY_INT, shared_intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    DELTA_GGUF_KEYS,
    {0},
};

#define DELTA "model.layers.{l}.linear_attn."

static const struct tensor_rule delta[] = {
    {ROLE_DELTA_QKV, DELTA "in_proj_qkvz.weight", SIZE_DELTA_QKV, SIZE_HIDDEN, NEED_DELTA, GROUPED_QKV},
    {ROLE_DELTA_Z, DELTA "in_proj_qkvz.weight", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, GROUPED_Z},
    {ROLE_DELTA_BA, DELTA "in_proj_ba.weight", SIZE_TWICE_VALUE_HEADS, SIZE_HIDDEN, NEED_FUSED_BA, COPY},
    {ROLE_CONV, DELTA "conv1d.weight", SIZE_CONV, SIZE_TAPS, NEED_DELTA, CONV},
    {ROLE_DELTA_DECAY, DELTA "A_log", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, NEGATIVE_EXP},
    {ROLE_DELTA_DT_BIAS, DELTA "dt_bias", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, COPY},
    {ROLE_DELTA_NORM, DELTA "norm.weight", SIZE_V_HEAD, SIZE_NONE, NEED_DELTA, COPY},
    {ROLE_O, DELTA "out_proj.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_DELTA, COPY},
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_ends,
                                                    tensors_norms_plus_one,
                                                    tensors_attention,
                                                    tensors_head_norm_plus_one,
                                                    tensors_qkv_bias,
                                                    tensors_output_bias,
                                                    delta,
                                                    tensors_mlp,
                                                    tensors_experts,
                                                    tensors_gated_shared_expert,
                                                    NULL};

/* GGUF has the width of all value heads instead of the one of each. */
static sluice_status find_value_head_dim(struct model_config *c, struct failure *f)
{
    if (c->linear_inner_size == 0) {
        c->linear_inner_size = c->linear_value_heads * c->linear_value_head_dim; /* bounded: MAX_HEADS * MAX_HEAD_DIM */
        return SLUICE_OK;
    }
    if (c->linear_inner_size % c->linear_value_heads != 0)
        return fail(f, SLUICE_FORMAT,
                    "key \"%s.ssm.inner_size\": found %d, expected a multiple of ssm.time_step_rank %d",
                    c->arch->gguf_arch, c->linear_inner_size, c->linear_value_heads);
    c->linear_value_head_dim = c->linear_inner_size / c->linear_value_heads;
    return SLUICE_OK;
}

sluice_status derive_delta(struct model_config *c, bool fused_ba, bool tiled, struct failure *f)
{
    sluice_status s = find_value_head_dim(c, f);
    if (s) return s;
    derive_dense(c);
    derive_biases(c);
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        bool linear = c->has_layer_types ? layer->listed == LISTED_LINEAR : (l + 1) % c->full_attention_interval != 0;
        if (!linear) {
            layer->mixer.qk_norm = QK_NORM_PER_HEAD;
            layer->mixer.output_gate = true;
            continue;
        }
        layer->mixer = (struct mixer){
            .kind = MIX_DELTA,
            .n_key_heads = c->linear_key_heads,
            .n_value_heads = c->linear_value_heads,
            .head_dim = c->linear_key_head_dim,
            .v_head_dim = c->linear_value_head_dim,
            .value_heads_tiled = tiled,
            .fused_ba = fused_ba,
            .conv_kernel = c->conv_kernel,
        };
    }
    return SLUICE_OK;
}

static sluice_status derive(struct model_config *c, struct failure *f)
{
    sluice_status s = derive_delta(c, true, false, f);
    if (s) return s;
    derive_sparse_step(c);
    for (int l = 0; l < c->n_layers; l++)
        if (c->layers[l].ffn.kind == FFN_MOE) derive_gated_shared_expert(c, l);
    return SLUICE_OK;
}

const struct arch arch_qwen3_next = {
    .name = "qwen3_next",
    .hf_architecture = "Qwen3NextForCausalLM",
    .hf_model_type = "qwen3_next",
    .default_theta = 1e4,
    .default_partial = 0.25,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "qwen3next",
    .gguf_peer_limits = PEERS_LACK_BIAS,
    .gguf_keys = gguf_keys,
    .gguf_tensors = tensors_gguf_post_attention_norm,
};
