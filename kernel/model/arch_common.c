/* Rule lists and derive steps that several families share: the "baseline" of the field, Llama's block. */
#include "model/arch.h"

#include <math.h>

#define LAYER "model.layers.{l}."

#define EMBEDDING                                                                               \
    {                                                                                           \
        ROLE_EMBEDDING, "model.embed_tokens.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_ALWAYS, COPY \
    }
#define HEAD                                                                         \
    {                                                                                \
        ROLE_HEAD, "lm_head.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_UNLESS_TIED, COPY \
    }
#define FINAL_NORM                                                                      \
    {                                                                                   \
        ROLE_FINAL_NORM, "model.norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY \
    }
#define MIXER_NORM                                                                                 \
    {                                                                                              \
        ROLE_MIXER_NORM, LAYER "input_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY \
    }
#define FFN_NORM                                                                                          \
    {                                                                                                     \
        ROLE_FFN_NORM, LAYER "post_attention_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY \
    }
#define QUERY                                                                        \
    {                                                                                \
        ROLE_Q, LAYER "self_attn.q_proj.weight", SIZE_Q, SIZE_HIDDEN, NEED_GQA, COPY \
    }
#define KEY                                                                           \
    {                                                                                 \
        ROLE_K, LAYER "self_attn.k_proj.weight", SIZE_KV, SIZE_HIDDEN, NEED_GQA, COPY \
    }
#define VALUE                                                                       \
    {                                                                               \
        ROLE_V, LAYER "self_attn.v_proj.weight", SIZE_KV, SIZE_HIDDEN, NEED_V, COPY \
    }
#define OUTPUT                                                                           \
    {                                                                                    \
        ROLE_O, LAYER "self_attn.o_proj.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_GQA, COPY \
    }

const struct tensor_rule tensors_base[] = {
    EMBEDDING, FINAL_NORM, HEAD, MIXER_NORM, QUERY, KEY, VALUE, OUTPUT, FFN_NORM, {0},
};

const struct tensor_rule tensors_ends[] = {EMBEDDING, HEAD, {0}};
const struct tensor_rule tensors_norms[] = {FINAL_NORM, MIXER_NORM, FFN_NORM, {0}};
const struct tensor_rule tensors_attention[] = {QUERY, KEY, VALUE, OUTPUT, {0}};

const struct tensor_rule tensors_norms_plus_one[] = {
    {ROLE_FINAL_NORM, "model.norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {ROLE_MIXER_NORM, LAYER "input_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {ROLE_FFN_NORM, LAYER "post_attention_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {0},
};

const struct tensor_rule tensors_post_norms_plus_one[] = {
    {ROLE_FINAL_NORM, "model.norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {ROLE_MIXER_NORM, LAYER "input_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {ROLE_MIXER_POST_NORM, LAYER "post_attention_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {ROLE_FFN_NORM, LAYER "pre_feedforward_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {ROLE_FFN_POST_NORM, LAYER "post_feedforward_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, ADD_ONE},
    {0},
};

const struct tensor_rule tensors_head_norm_plus_one[] = {
    {ROLE_Q_NORM, LAYER "self_attn.q_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, ADD_ONE},
    {ROLE_K_NORM, LAYER "self_attn.k_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, ADD_ONE},
    {0},
};

const struct tensor_rule tensors_qkv_bias[] = {
    {ROLE_Q_BIAS, LAYER "self_attn.q_proj.bias", SIZE_Q, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_K_BIAS, LAYER "self_attn.k_proj.bias", SIZE_KV, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_V_BIAS, LAYER "self_attn.v_proj.bias", SIZE_KV, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {0},
};

const struct tensor_rule tensors_output_bias[] = {
    {ROLE_O_BIAS, LAYER "self_attn.o_proj.bias", SIZE_HIDDEN, SIZE_NONE, NEED_OUTPUT_BIAS, COPY},
    {0},
};

const struct tensor_rule tensors_head_norm[] = {
    {ROLE_Q_NORM, LAYER "self_attn.q_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {ROLE_K_NORM, LAYER "self_attn.k_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {0},
};

const struct tensor_rule tensors_full_norm[] = {
    {ROLE_Q_NORM, LAYER "self_attn.q_norm.weight", SIZE_Q, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_K_NORM, LAYER "self_attn.k_norm.weight", SIZE_KV, SIZE_NONE, NEED_ALWAYS, COPY},
    {0},
};

const struct tensor_rule tensors_mlp[] = {
    {ROLE_GATE, LAYER "mlp.gate_proj.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_UP, LAYER "mlp.up_proj.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_DOWN, LAYER "mlp.down_proj.weight", SIZE_HIDDEN, SIZE_FFN, NEED_DENSE, COPY},
    {0},
};

/* Hubs hold one tensor per expert; transformers 5 keeps (and may save) gate and up of all experts as one tensor. */
const struct tensor_rule tensors_experts[] = {
    {ROLE_ROUTER, LAYER "mlp.gate.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_EXPERT_GATE, LAYER "mlp.experts.{e}.gate_proj.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_GATE, LAYER "mlp.experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_FIRST_HALF},
    {ROLE_EXPERT_UP, LAYER "mlp.experts.{e}.up_proj.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_UP, LAYER "mlp.experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_SECOND_HALF},
    {ROLE_EXPERT_DOWN, LAYER "mlp.experts.{e}.down_proj.weight", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_DOWN, LAYER "mlp.experts.down_proj", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_EXPERTS},
    {0},
};

const struct tensor_rule tensors_gated_shared_expert[] = {
    {ROLE_SHARED_GATE, LAYER "mlp.shared_expert.gate_proj.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_UP, LAYER "mlp.shared_expert.up_proj.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_DOWN, LAYER "mlp.shared_expert.down_proj.weight", SIZE_HIDDEN, SIZE_SHARED_FFN, NEED_SHARED, COPY},
    {ROLE_SHARED_SWITCH, LAYER "mlp.shared_expert_gate.weight", SIZE_ONE, SIZE_HIDDEN, NEED_SHARED_SWITCH, COPY},
    {0},
};

#define BLOCK "blk.{l}."

/* Files from before April 2024 hold one tensor per expert; newer ones may hold gate and up of all experts as one. Of
 * latent attention old files (before April 2025) have kv_b as one matrix; of Qwen3-Next, qkv and z as one. */
const struct tensor_rule tensors_gguf[] = {
    {ROLE_EMBEDDING, "token_embd.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_FINAL_NORM, "output_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_HEAD, "output.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_UNLESS_TIED, COPY},

    {ROLE_MIXER_NORM, BLOCK "attn_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_Q, BLOCK "attn_q.weight", SIZE_Q, SIZE_HIDDEN, NEED_GQA, COPY},
    {ROLE_Q, BLOCK "attn_q.weight", SIZE_Q, SIZE_HIDDEN, NEED_DIRECT_Q, PAIRS_TO_HALVES},
    {ROLE_Q, BLOCK "attn_q_b.weight", SIZE_Q, SIZE_Q_IN, NEED_Q_LORA, PAIRS_TO_HALVES},
    {ROLE_K, BLOCK "attn_k.weight", SIZE_KV, SIZE_HIDDEN, NEED_GQA, COPY},
    {ROLE_V, BLOCK "attn_v.weight", SIZE_KV, SIZE_HIDDEN, NEED_V, COPY},
    {ROLE_O, BLOCK "attn_output.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_GQA, COPY},
    {ROLE_O, BLOCK "attn_output.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_MLA, COPY},
    {ROLE_O, BLOCK "ssm_out.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_DELTA, COPY},
    {ROLE_O, BLOCK "shortconv.out_proj.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_CONV, COPY},
    {ROLE_Q_BIAS, BLOCK "attn_q.bias", SIZE_Q, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_K_BIAS, BLOCK "attn_k.bias", SIZE_KV, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_V_BIAS, BLOCK "attn_v.bias", SIZE_KV, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_O_BIAS, BLOCK "attn_output.bias", SIZE_HIDDEN, SIZE_NONE, NEED_OUTPUT_BIAS, COPY},
    {ROLE_Q_NORM, BLOCK "attn_q_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {ROLE_K_NORM, BLOCK "attn_k_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {ROLE_Q_NORM, BLOCK "attn_q_norm.weight", SIZE_Q, SIZE_NONE, NEED_FULL_NORM, COPY},
    {ROLE_K_NORM, BLOCK "attn_k_norm.weight", SIZE_KV, SIZE_NONE, NEED_FULL_NORM, COPY},
    {ROLE_SINKS, BLOCK "attn_sinks.weight", SIZE_HEADS, SIZE_NONE, NEED_SINKS, COPY},
    {ROLE_MIXER_POST_NORM, BLOCK "post_attention_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_POST_NORMS, COPY},
    {ROLE_FFN_NORM, BLOCK "ffn_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_FFN_POST_NORM, BLOCK "post_ffw_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_POST_NORMS, COPY},
    {ROLE_LAYER_SCALE, BLOCK "layer_output_scale.weight", SIZE_ONE, SIZE_NONE, NEED_LAYER_SCALE, COPY},

    {ROLE_Q_A, BLOCK "attn_q_a.weight", SIZE_Q_LORA, SIZE_HIDDEN, NEED_Q_LORA, COPY},
    {ROLE_Q_A_NORM, BLOCK "attn_q_a_norm.weight", SIZE_Q_LORA, SIZE_NONE, NEED_Q_LORA, COPY},
    {ROLE_KV_A, BLOCK "attn_kv_a_mqa.weight", SIZE_KV_A, SIZE_HIDDEN, NEED_MLA, PAIRS_TO_HALVES},
    {ROLE_KV_A_NORM, BLOCK "attn_kv_a_norm.weight", SIZE_KV_LORA, SIZE_NONE, NEED_MLA, COPY},
    {ROLE_K_B, BLOCK "attn_k_b.weight", SIZE_NOPE, SIZE_KV_LORA, NEED_MLA, HEADS_TRANSPOSED},
    {ROLE_K_B, BLOCK "attn_kv_b.weight", SIZE_NOPE, SIZE_KV_LORA, NEED_MLA, HEAD_KEYS},
    {ROLE_K_B_T, BLOCK "attn_k_b.weight", SIZE_KV_LORA, SIZE_NOPE, NEED_MLA, HEADS},
    {ROLE_K_B_T, BLOCK "attn_kv_b.weight", SIZE_KV_LORA, SIZE_NOPE, NEED_MLA, HEAD_KEYS_TRANSPOSED},
    {ROLE_V_B, BLOCK "attn_v_b.weight", SIZE_V_HEAD, SIZE_KV_LORA, NEED_MLA, HEADS},
    {ROLE_V_B, BLOCK "attn_kv_b.weight", SIZE_V_HEAD, SIZE_KV_LORA, NEED_MLA, HEAD_VALUES},

    {ROLE_DELTA_QKV, BLOCK "attn_qkv.weight", SIZE_DELTA_QKV, SIZE_HIDDEN, NEED_DELTA, COPY},
    {ROLE_DELTA_QKV, BLOCK "ssm_in.weight", SIZE_DELTA_QKV, SIZE_HIDDEN, NEED_DELTA, GROUPED_QKV},
    {ROLE_DELTA_Z, BLOCK "attn_gate.weight", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, COPY},
    {ROLE_DELTA_Z, BLOCK "ssm_in.weight", SIZE_VALUES, SIZE_HIDDEN, NEED_DELTA, GROUPED_Z},
    {ROLE_DELTA_BA, BLOCK "ssm_ba.weight", SIZE_TWICE_VALUE_HEADS, SIZE_HIDDEN, NEED_FUSED_BA, COPY},
    {ROLE_DELTA_B, BLOCK "ssm_beta.weight", SIZE_VALUE_HEADS, SIZE_HIDDEN, NEED_SPLIT_BA, COPY},
    {ROLE_DELTA_A, BLOCK "ssm_alpha.weight", SIZE_VALUE_HEADS, SIZE_HIDDEN, NEED_SPLIT_BA, COPY},
    {ROLE_DELTA_DECAY, BLOCK "ssm_a", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, COPY},
    {ROLE_DELTA_DT_BIAS, BLOCK "ssm_dt.bias", SIZE_VALUE_HEADS, SIZE_NONE, NEED_DELTA, COPY},
    {ROLE_DELTA_NORM, BLOCK "ssm_norm.weight", SIZE_V_HEAD, SIZE_NONE, NEED_DELTA, COPY},
    {ROLE_CONV, BLOCK "ssm_conv1d.weight", SIZE_CONV, SIZE_TAPS, NEED_DELTA, CONV},
    {ROLE_CONV, BLOCK "shortconv.conv.weight", SIZE_CONV, SIZE_TAPS, NEED_CONV, CONV},
    {ROLE_CONV_IN, BLOCK "shortconv.in_proj.weight", SIZE_CONV_IN, SIZE_HIDDEN, NEED_CONV, COPY},

    {ROLE_GATE, BLOCK "ffn_gate.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_UP, BLOCK "ffn_up.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_DOWN, BLOCK "ffn_down.weight", SIZE_HIDDEN, SIZE_FFN, NEED_DENSE, COPY},
    {ROLE_GATE_BIAS, BLOCK "ffn_gate.bias", SIZE_FFN, SIZE_NONE, NEED_MLP_BIAS, COPY},
    {ROLE_UP_BIAS, BLOCK "ffn_up.bias", SIZE_FFN, SIZE_NONE, NEED_MLP_BIAS, COPY},
    {ROLE_DOWN_BIAS, BLOCK "ffn_down.bias", SIZE_HIDDEN, SIZE_NONE, NEED_MLP_BIAS, COPY},

    {ROLE_ROUTER, BLOCK "ffn_gate_inp.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_ROUTER_BIAS, BLOCK "ffn_gate_inp.bias", SIZE_EXPERTS, SIZE_NONE, NEED_ROUTER_BIAS, COPY},
    {ROLE_SELECTION_BIAS, BLOCK "exp_probs_b.bias", SIZE_EXPERTS, SIZE_NONE, NEED_SELECTION_BIAS, COPY},
    {ROLE_SELECTION_BIAS, BLOCK "exp_probs_b", SIZE_EXPERTS, SIZE_NONE, NEED_SELECTION_BIAS, COPY},
    {ROLE_ROUTER_SCALE, BLOCK "ffn_gate_inp.scale", SIZE_HIDDEN, SIZE_NONE, NEED_ROUTER_SCALE, COPY},
    {ROLE_EXPERT_SCALE, BLOCK "ffn_down_exps.scale", SIZE_EXPERTS, SIZE_NONE, NEED_EXPERT_SCALE, COPY},
    {ROLE_EXPERT_GATE, BLOCK "ffn_gate_exps.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EXPERTS},
    {ROLE_EXPERT_GATE, BLOCK "ffn_gate.{e}.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_GATE, BLOCK "ffn_gate_up_exps.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_FIRST_HALF},
    {ROLE_EXPERT_UP, BLOCK "ffn_up_exps.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EXPERTS},
    {ROLE_EXPERT_UP, BLOCK "ffn_up.{e}.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_UP, BLOCK "ffn_gate_up_exps.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_SECOND_HALF},
    {ROLE_EXPERT_DOWN, BLOCK "ffn_down_exps.weight", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_EXPERTS},
    {ROLE_EXPERT_DOWN, BLOCK "ffn_down.{e}.weight", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_GATE_BIAS, BLOCK "ffn_gate_exps.bias", SIZE_EXPERT_FFN, SIZE_NONE, NEED_EXPERT_BIAS, SLICE_EXPERTS},
    {ROLE_EXPERT_UP_BIAS, BLOCK "ffn_up_exps.bias", SIZE_EXPERT_FFN, SIZE_NONE, NEED_EXPERT_BIAS, SLICE_EXPERTS},
    {ROLE_EXPERT_DOWN_BIAS, BLOCK "ffn_down_exps.bias", SIZE_HIDDEN, SIZE_NONE, NEED_EXPERT_BIAS, SLICE_EXPERTS},
    {ROLE_SHARED_GATE, BLOCK "ffn_gate_shexp.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_UP, BLOCK "ffn_up_shexp.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_DOWN, BLOCK "ffn_down_shexp.weight", SIZE_HIDDEN, SIZE_SHARED_FFN, NEED_SHARED, COPY},
    {ROLE_SHARED_SWITCH, BLOCK "ffn_gate_inp_shexp.weight", SIZE_ONE, SIZE_HIDDEN, NEED_SHARED_SWITCH, COPY},

    {ROLE_MLP_POST_NORM, BLOCK "post_ffw_norm_1.weight", SIZE_HIDDEN, SIZE_NONE, NEED_BOTH, COPY},
    {ROLE_MOE_NORM, BLOCK "pre_ffw_norm_2.weight", SIZE_HIDDEN, SIZE_NONE, NEED_BOTH, COPY},
    {ROLE_MOE_POST_NORM, BLOCK "post_ffw_norm_2.weight", SIZE_HIDDEN, SIZE_NONE, NEED_BOTH, COPY},
    {0},
};

const struct tensor_rule tensors_gguf_post_attention_norm[] = {
    {ROLE_FFN_NORM, BLOCK "post_attention_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {0},
};

void derive_dense(struct model_config *c)
{
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        layer->mixer = (struct mixer){
            .kind = MIX_GQA,
            .n_heads = c->n_heads,
            .n_kv_heads = c->n_kv_heads,
            .head_dim = c->head_dim,
            .v_head_dim = c->head_dim,
            .qk_norm = QK_NORM_NONE,
            .scale = (float)(1.0 / sqrt((double)c->head_dim)),
        };
        layer->ffn = (struct ffn){
            .kind = FFN_DENSE,
            .activation = ACT_SILU,
            .intermediate_size = c->intermediate_size,
        };
    }
}

void derive_experts(struct model_config *c, int l)
{
    struct layer_config *layer = &c->layers[l];
    layer->ffn.kind = FFN_MOE;
    layer->ffn.intermediate_size = 0;
    layer->ffn.expert_size = c->moe_intermediate_size;
    layer->router = (struct router){
        .score = SCORE_SOFTMAX,
        .normalise = c->norm_topk_prob,
        .scale = 1,
        .n_experts = c->n_experts,
        .top_k = c->top_k,
    };
}

void derive_gated_shared_expert(struct model_config *c, int l)
{
    c->layers[l].ffn.shared = SHARED_GATED;
    c->layers[l].ffn.shared_size = c->shared_intermediate_size;
}

void derive_sparse_step(struct model_config *c)
{
    for (int l = 0; l < c->n_layers; l++)
        if (!c->layers[l].listed_dense && (l + 1) % c->decoder_sparse_step == 0) derive_experts(c, l);
}

void derive_window(struct model_config *c)
{
    for (int l = 0; l < c->n_layers; l++) c->layers[l].mixer.window = c->sliding_window;
}

void derive_listed_window(struct model_config *c, int first)
{
    for (int l = 0; l < c->n_layers; l++) {
        bool sliding = c->has_layer_types ? c->layers[l].listed == LISTED_SLIDING : l >= first;
        if (sliding) c->layers[l].mixer.window = c->sliding_window;
    }
}

void derive_period_window(struct model_config *c, int period)
{
    for (int l = 0; l < c->n_layers; l++) {
        bool sliding = c->has_layer_types ? c->layers[l].listed == LISTED_SLIDING : (l + 1) % period != 0;
        if (sliding) c->layers[l].mixer.window = c->sliding_window;
    }
}

void derive_biases(struct model_config *c)
{
    for (int l = 0; l < c->n_layers; l++)
        c->layers[l].mixer.qkv_bias = c->layers[l].mixer.output_bias = c->attention_bias;
}
