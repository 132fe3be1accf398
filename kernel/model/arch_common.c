/* Rule lists and derive steps that several families share: the "baseline" of the field, Llama's block. */
#include "model/arch.h"

#include <math.h>

#define LAYER "model.layers.{l}."

const struct tensor_rule tensors_base[] = {
    {ROLE_EMBEDDING, "model.embed_tokens.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_FINAL_NORM, "model.norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_HEAD, "lm_head.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_UNLESS_TIED, COPY},
    {ROLE_MIXER_NORM, LAYER "input_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_Q, LAYER "self_attn.q_proj.weight", SIZE_Q, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_K, LAYER "self_attn.k_proj.weight", SIZE_KV, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_V, LAYER "self_attn.v_proj.weight", SIZE_KV, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_O, LAYER "self_attn.o_proj.weight", SIZE_HIDDEN, SIZE_Q, NEED_ALWAYS, COPY},
    {ROLE_FFN_NORM, LAYER "post_attention_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
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
    {ROLE_Q_NORM, LAYER "self_attn.q_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_K_NORM, LAYER "self_attn.k_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_ALWAYS, COPY},
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
    {ROLE_EXPERT_GATE, LAYER "mlp.experts.{e}.gate_proj.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_GATE, LAYER "mlp.experts.gate_up_proj", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_FIRST_HALF},
    {ROLE_EXPERT_UP, LAYER "mlp.experts.{e}.up_proj.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_UP, LAYER "mlp.experts.gate_up_proj", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_SECOND_HALF},
    {ROLE_EXPERT_DOWN, LAYER "mlp.experts.{e}.down_proj.weight", SIZE_HIDDEN, SIZE_FFN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_DOWN, LAYER "mlp.experts.down_proj", SIZE_HIDDEN, SIZE_FFN, NEED_MOE, SLICE_EXPERTS},
    {0},
};

#define BLOCK "blk.{l}."

/* Files from before April 2024 hold one tensor per expert; newer ones may hold gate and up of all experts as one. */
const struct tensor_rule tensors_gguf[] = {
    {ROLE_EMBEDDING, "token_embd.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_FINAL_NORM, "output_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_HEAD, "output.weight", SIZE_VOCAB, SIZE_HIDDEN, NEED_UNLESS_TIED, COPY},

    {ROLE_MIXER_NORM, BLOCK "attn_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_Q, BLOCK "attn_q.weight", SIZE_Q, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_K, BLOCK "attn_k.weight", SIZE_KV, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_V, BLOCK "attn_v.weight", SIZE_KV, SIZE_HIDDEN, NEED_ALWAYS, COPY},
    {ROLE_O, BLOCK "attn_output.weight", SIZE_HIDDEN, SIZE_Q, NEED_ALWAYS, COPY},
    {ROLE_Q_BIAS, BLOCK "attn_q.bias", SIZE_Q, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_K_BIAS, BLOCK "attn_k.bias", SIZE_KV, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_V_BIAS, BLOCK "attn_v.bias", SIZE_KV, SIZE_NONE, NEED_QKV_BIAS, COPY},
    {ROLE_O_BIAS, BLOCK "attn_output.bias", SIZE_HIDDEN, SIZE_NONE, NEED_OUTPUT_BIAS, COPY},
    {ROLE_Q_NORM, BLOCK "attn_q_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {ROLE_K_NORM, BLOCK "attn_k_norm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {ROLE_Q_NORM, BLOCK "attn_q_norm.weight", SIZE_Q, SIZE_NONE, NEED_FULL_NORM, COPY},
    {ROLE_K_NORM, BLOCK "attn_k_norm.weight", SIZE_KV, SIZE_NONE, NEED_FULL_NORM, COPY},
    {ROLE_FFN_NORM, BLOCK "ffn_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},

    {ROLE_GATE, BLOCK "ffn_gate.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_UP, BLOCK "ffn_up.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_DOWN, BLOCK "ffn_down.weight", SIZE_HIDDEN, SIZE_FFN, NEED_DENSE, COPY},
    {ROLE_GATE_BIAS, BLOCK "ffn_gate.bias", SIZE_FFN, SIZE_NONE, NEED_MLP_BIAS, COPY},
    {ROLE_UP_BIAS, BLOCK "ffn_up.bias", SIZE_FFN, SIZE_NONE, NEED_MLP_BIAS, COPY},
    {ROLE_DOWN_BIAS, BLOCK "ffn_down.bias", SIZE_HIDDEN, SIZE_NONE, NEED_MLP_BIAS, COPY},

    {ROLE_ROUTER, BLOCK "ffn_gate_inp.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_EXPERT_GATE, BLOCK "ffn_gate_exps.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EXPERTS},
    {ROLE_EXPERT_GATE, BLOCK "ffn_gate.{e}.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_GATE, BLOCK "ffn_gate_up_exps.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_FIRST_HALF},
    {ROLE_EXPERT_UP, BLOCK "ffn_up_exps.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_EXPERTS},
    {ROLE_EXPERT_UP, BLOCK "ffn_up.{e}.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_UP, BLOCK "ffn_gate_up_exps.weight", SIZE_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_SECOND_HALF},
    {ROLE_EXPERT_DOWN, BLOCK "ffn_down_exps.weight", SIZE_HIDDEN, SIZE_FFN, NEED_MOE, SLICE_EXPERTS},
    {ROLE_EXPERT_DOWN, BLOCK "ffn_down.{e}.weight", SIZE_HIDDEN, SIZE_FFN, NEED_MOE, STACK_EXPERTS},
    {ROLE_SHARED_GATE, BLOCK "ffn_gate_shexp.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_UP, BLOCK "ffn_up_shexp.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_DOWN, BLOCK "ffn_down_shexp.weight", SIZE_HIDDEN, SIZE_SHARED_FFN, NEED_SHARED, COPY},
    {ROLE_SHARED_SWITCH, BLOCK "ffn_gate_inp_shexp.weight", SIZE_ONE, SIZE_HIDDEN, NEED_SHARED, COPY},
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
    layer->ffn.intermediate_size = c->moe_intermediate_size;
    layer->router = (struct router){
        .score = SCORE_SOFTMAX,
        .normalise = c->norm_topk_prob,
        .n_experts = c->n_experts,
        .top_k = c->top_k,
    };
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
        bool sliding = c->has_layer_types ? c->layers[l].listed_sliding : l >= first;
        if (sliding) c->layers[l].mixer.window = c->sliding_window;
    }
}
