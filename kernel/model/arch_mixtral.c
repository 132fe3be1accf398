/* Mixtral 8x7B and 8x22B (Jiang 2024): Mistral whose MLP is 8 experts, softmax, best 2, renormalised. */
#include "model/arch.h"

extern const struct arch arch_mixtral;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("num_local_experts|num_experts", KEY_INT, n_experts, false, 8, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 2, 1, 64),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 0, 0, 1 << 24),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 8, 1, 1024),
    KEY_RULE("rms_norm_eps", KEY_FLOAT, rms_norm_eps, false, 1e-5, 1e-30, 1),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    {0},
};

#define MOE "model.layers.{l}.block_sparse_moe."

/* The hub's names; checkpoints that transformers 5 saved under its own names follow as alternatives. */
static const struct tensor_rule experts[] = {
    {ROLE_ROUTER, MOE "gate.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_ROUTER, "model.layers.{l}.mlp.gate.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_EXPERT_GATE, MOE "experts.{e}.w1.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_GATE, "model.layers.{l}.mlp.experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE,
     SLICE_FIRST_HALF},
    {ROLE_EXPERT_UP, MOE "experts.{e}.w3.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_UP, "model.layers.{l}.mlp.experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE,
     SLICE_SECOND_HALF},
    {ROLE_EXPERT_DOWN, MOE "experts.{e}.w2.weight", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_DOWN, "model.layers.{l}.mlp.experts.down_proj", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_EXPERTS},
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_base, experts, NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_window(c);
    c->norm_topk_prob = true; /* the family has no key for it */
    for (int l = 0; l < c->n_layers; l++) derive_experts(c, l);
    return SLUICE_OK;
}

const struct arch arch_mixtral = {
    .name = "mixtral",
    .hf_architecture = "MixtralForCausalLM",
    .hf_model_type = "mixtral",
    .default_theta = 1e6,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "llama",
    .gguf_marker = "expert_count",
    .gguf_keys = gguf_keys,
    .gguf_rope_pairs = true,
};
