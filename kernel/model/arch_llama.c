/* Llama 2, 3, 3.1, 3.2 (Touvron 2023, Dubey 2024): the block that the others vary. */
#include "model/arch.h"

extern const struct arch arch_llama;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),
    KEY_RULE("mlp_bias", KEY_BOOL, mlp_bias, false, 0, 0, 1),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    {0},
};

#define MLP "model.layers.{l}.mlp."

static const struct tensor_rule mlp_bias[] = {
    {ROLE_GATE_BIAS, MLP "gate_proj.bias", SIZE_FFN, SIZE_NONE, NEED_MLP_BIAS, COPY},
    {ROLE_UP_BIAS, MLP "up_proj.bias", SIZE_FFN, SIZE_NONE, NEED_MLP_BIAS, COPY},
    {ROLE_DOWN_BIAS, MLP "down_proj.bias", SIZE_HIDDEN, SIZE_NONE, NEED_MLP_BIAS, COPY},
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_base, tensors_qkv_bias, tensors_output_bias,
                                                    tensors_mlp,  mlp_bias,         NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    for (int l = 0; l < c->n_layers; l++) {
        c->layers[l].mixer.qkv_bias = c->layers[l].mixer.output_bias = c->attention_bias;
        c->layers[l].ffn.bias = c->mlp_bias;
    }
    return SLUICE_OK;
}

const struct arch arch_llama = {
    .name = "llama",
    .hf_architecture = "LlamaForCausalLM",
    .hf_model_type = "llama",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .derive = derive,
    .gguf_arch = "llama",
    .gguf_keys = gguf_keys,
    .gguf_rope_pairs = true,
};
