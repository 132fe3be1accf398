/* gpt-oss 20b and 120b (OpenAI 2025): biases everywhere, a learned sink beside the scores of every head, a window on
 * every other layer, a clamped SwiGLU, experts in MXFP4. */
#include "model/arch.h"

extern const struct arch arch_gpt_oss;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, moe_intermediate_size, false, 2880, 1, 1 << 24),
    KEY_RULE("num_local_experts|num_experts", KEY_INT, n_experts, false, 128, 1, 4096),
    KEY_RULE("num_experts_per_tok|experts_per_token", KEY_INT, top_k, false, 4, 1, 64),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 128, 0, 1 << 24),
    KEY_RULE("swiglu_limit", KEY_FLOAT, swiglu_limit, false, 7, 1e-6, 1e30),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 1, 0, 1),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 8, 1, 1024),
    KEY_RULE("head_dim", KEY_INT, head_dim, false, 64, 2, 1024),
    KEY_RULE("rms_norm_eps", KEY_FLOAT, rms_norm_eps, false, 1e-5, 1e-30, 1),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("sluice.swiglu_limit", KEY_FLOAT, swiglu_limit, false, 7, 1e-6, 1e30),
    {0},
};

#define ATTENTION "model.layers.{l}.self_attn."
#define MLP       "model.layers.{l}.mlp."

/* Gate and up alternate: rows of MXFP4 tensors, columns of BF16 ones, which are transposed. */
static const struct tensor_rule own[] = {
    {ROLE_SINKS, ATTENTION "sinks", SIZE_HEADS, SIZE_NONE, NEED_SINKS, COPY},
    {ROLE_ROUTER, MLP "router.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_ROUTER_BIAS, MLP "router.bias", SIZE_EXPERTS, SIZE_NONE, NEED_ROUTER_BIAS, COPY},
    {ROLE_EXPERT_GATE, MLP "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EVEN_COLUMNS},
    {ROLE_EXPERT_GATE, MLP "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EVEN_ROWS},
    {ROLE_EXPERT_UP, MLP "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_ODD_COLUMNS},
    {ROLE_EXPERT_UP, MLP "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_ODD_ROWS},
    {ROLE_EXPERT_DOWN, MLP "experts.down_proj", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_COLUMNS},
    {ROLE_EXPERT_DOWN, MLP "experts.down_proj", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_EXPERTS},
    {ROLE_EXPERT_GATE_BIAS, MLP "experts.gate_up_proj_bias", SIZE_EXPERT_FFN, SIZE_NONE, NEED_EXPERT_BIAS,
     SLICE_EVEN_ROWS},
    {ROLE_EXPERT_UP_BIAS, MLP "experts.gate_up_proj_bias", SIZE_EXPERT_FFN, SIZE_NONE, NEED_EXPERT_BIAS,
     SLICE_ODD_ROWS},
    {ROLE_EXPERT_DOWN_BIAS, MLP "experts.down_proj_bias", SIZE_HIDDEN, SIZE_NONE, NEED_EXPERT_BIAS, SLICE_EXPERTS},
    {0},
};

static const struct rope_config default_rope = {
    .scaling = ROPE_YARN, .factor = 32, .original_context = 4096, .beta_fast = 32, .beta_slow = 1};

static const struct key_neutral refused[] = {{"swiglu_alpha", {1.702, 1.702}}, {0}};

static const struct tensor_rule *const tensors[] = {tensors_base, tensors_qkv_bias, tensors_output_bias, own, NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_period_window(c, 2);
    derive_biases(c);
    c->norm_topk_prob = true; /* softmax over the chosen is softmax over all, renormalised */
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        derive_experts(c, l);
        layer->mixer.sinks = true;
        layer->router.bias = true;
        layer->ffn.activation = ACT_SWIGLU_CLAMPED;
        layer->ffn.limit = c->swiglu_limit;
        layer->ffn.expert_bias = true;
    }
    return SLUICE_OK;
}

const struct arch arch_gpt_oss = {
    .name = "gpt_oss",
    .hf_architecture = "GptOssForCausalLM",
    .hf_model_type = "gpt_oss",
    .default_theta = 150000,
    .default_rope = &default_rope,
    .keys = keys,
    .tensors = tensors,
    .refused = refused,
    .derive = derive,
    .gguf_arch = "gpt-oss",
    .gguf_peer_limits = PEERS_HAVE_WINDOWS | PEERS_LACK_TIED,
    .gguf_keys = gguf_keys,
    .gguf_tensors = tensors_gguf_post_attention_norm,
    .gguf_exact_yarn = true,
};
