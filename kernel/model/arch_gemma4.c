/* Gemma 4 26B-A4B, 31B, 12B (Google 2026): sliding layers as in Gemma 3, full ones with heads of twice the size whose
 * values are their keys; in the first of them experts beside the MLP, each between norms of its own. Norms multiply
 * by w. */
#include <math.h>

#include "model/arch.h"

extern const struct arch arch_gemma4;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 9216, 1, 1 << 24),
    KEY_RULE("enable_moe_block", KEY_BOOL, moe_enabled, false, 0, 0, 1),
    KEY_RULE("num_experts", KEY_INT, n_experts, false, 0, 1, 4096),
    KEY_RULE("top_k_experts", KEY_INT, top_k, false, 0, 1, 64),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("sliding_window", KEY_INT, sliding_window, false, 512, 1, 1 << 24),
    KEY_RULE("final_logit_softcapping", KEY_FLOAT_OR_NULL, final_softcap, false, 0, 1e-6, 1e6),
    WORD_RULE("use_bidirectional_attention", bidirectional, false, 0, "vision"),
    KEY_RULE("attention_k_eq_v", KEY_BOOL, k_is_v, false, 0, 0, 1),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 4, 1, 1024),
    KEY_RULE("num_global_key_value_heads", KEY_INT_OR_NULL, global_kv_heads, false, 0, 1, 1024),
    KEY_RULE("head_dim", KEY_INT, head_dim, false, 256, 2, 1024),
    KEY_RULE("global_head_dim", KEY_INT, global_head_dim, false, 512, 2, 1024),
    /* per-layer embeddings, which a file has unless it says otherwise, and shared keys and values: E2B and E4B */
    KEY_RULE("hidden_size_per_layer_input", KEY_INT, per_layer_inputs, true, 0, 0, 0),
    KEY_RULE("num_kv_shared_layers", KEY_INT, shared_kv_layers, false, 0, 0, 0),
    {0},
};

static const struct key_neutral refused[] = {{"attention_bias", {0, 0}}, {0}};

static const struct rope_config default_rope = {.scaling = ROPE_PROPORTIONAL, .factor = 1};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, false, 0, 0, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, false, 0, 0, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, false, 0, 0, 64),
    KEY_RULE("final_logit_softcapping", KEY_FLOAT, final_softcap, false, 30, 0, 1e6),
    KEY_RULE("attention.key_length_swa", KEY_INT, head_dim, true, 0, 2, 1024),
    KEY_RULE("embedding_length_per_layer_input", KEY_INT, per_layer_inputs, true, 0, 0, 0),
    KEY_RULE("attention.shared_kv_layers", KEY_INT, shared_kv_layers, true, 0, 0, 0),
    KEY_RULE("attention.key_length", KEY_INT, global_head_dim, true, 0, 2, 1024),
    {0},
};

#define LAYER "model.layers.{l}."

static const struct tensor_rule own[] = {
    {ROLE_FINAL_NORM, "model.norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_MIXER_NORM, LAYER "input_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_MIXER_POST_NORM, LAYER "post_attention_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_FFN_NORM, LAYER "pre_feedforward_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_FFN_POST_NORM, LAYER "post_feedforward_layernorm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_LAYER_SCALE, LAYER "layer_scalar", SIZE_ONE, SIZE_NONE, NEED_LAYER_SCALE, COPY},
    {ROLE_MLP_POST_NORM, LAYER "post_feedforward_layernorm_1.weight", SIZE_HIDDEN, SIZE_NONE, NEED_BOTH, COPY},
    {ROLE_MOE_NORM, LAYER "pre_feedforward_layernorm_2.weight", SIZE_HIDDEN, SIZE_NONE, NEED_BOTH, COPY},
    {ROLE_MOE_POST_NORM, LAYER "post_feedforward_layernorm_2.weight", SIZE_HIDDEN, SIZE_NONE, NEED_BOTH, COPY},
    {ROLE_ROUTER, LAYER "router.proj.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_ROUTER_SCALE, LAYER "router.scale", SIZE_HIDDEN, SIZE_NONE, NEED_ROUTER_SCALE, COPY},
    {ROLE_EXPERT_SCALE, LAYER "router.per_expert_scale", SIZE_EXPERTS, SIZE_NONE, NEED_EXPERT_SCALE, COPY},
    {ROLE_EXPERT_GATE, LAYER "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_FIRST_HALF},
    {ROLE_EXPERT_UP, LAYER "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_SECOND_HALF},
    {ROLE_EXPERT_DOWN, LAYER "experts.down_proj", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_EXPERTS},
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_ends,      own,         tensors_attention,
                                                    tensors_head_norm, tensors_mlp, NULL};

static void derive_attention(struct model_config *c, int l)
{
    struct layer_config *layer = &c->layers[l];
    struct mixer *mixer = &layer->mixer;
    mixer->scale = 1;
    mixer->qk_norm = QK_NORM_PER_HEAD;
    mixer->v_norm = true;
    if (mixer->window > 0) {
        mixer->rope = ROPE_LOCAL;
    } else {
        mixer->head_dim = mixer->v_head_dim = c->global_head_dim;
        mixer->v_is_k = c->k_is_v;
        if (c->k_is_v && c->global_kv_heads > 0) mixer->n_kv_heads = c->global_kv_heads;
    }
    if (layer->listed_kv_heads > 0) mixer->n_kv_heads = layer->listed_kv_heads;
}

static void derive_ffn(struct model_config *c, int l)
{
    struct layer_config *layer = &c->layers[l];
    layer->ffn.activation = ACT_GELU_TANH;
    if (!c->moe_enabled) return;
    derive_experts(c, l);
    layer->ffn.kind = FFN_DENSE_AND_MOE;
    layer->ffn.intermediate_size = c->intermediate_size;
    layer->router.input = INPUT_RESIDUAL;
    layer->router.expert_scale = true;
}

static sluice_status derive(struct model_config *c, struct failure *f)
{
    if (c->moe_enabled && (c->n_experts == 0 || c->top_k == 0 || c->moe_intermediate_size == 0))
        return fail(f, SLUICE_FORMAT,
                    "num_experts, top_k_experts, moe_intermediate_size: found %d, %d, %d, expected "
                    "all of them with enable_moe_block",
                    c->n_experts, c->top_k, c->moe_intermediate_size);
    if (!c->moe_enabled) c->n_experts = c->top_k = c->moe_intermediate_size = 0; /* whatever the file says */
    derive_dense(c);
    if (c->has_layer_types) c->layers[c->n_layers - 1].listed = LISTED_FULL; /* whatever the file says */
    derive_period_window(c, 6);
    c->layers[c->n_layers - 1].mixer.window = 0;
    c->embedding_scale = (float)sqrt((double)c->hidden_size);
    c->norm_topk_prob = true;
    for (int l = 0; l < c->n_layers; l++) {
        c->layers[l].post_norms = c->layers[l].layer_scale = true;
        derive_attention(c, l);
        derive_ffn(c, l);
    }
    return SLUICE_OK;
}

const struct arch arch_gemma4 = {
    .name = "gemma4",
    .hf_architecture = "Gemma4ForConditionalGeneration|Gemma4ForCausalLM",
    .hf_model_type = "gemma4|gemma4_text",
    .default_theta = 1e6,
    .default_local_theta = 1e4,
    .default_partial = 0.25,
    .default_rope = &default_rope,
    .keys = keys,
    .tensors = tensors,
    .refused = refused,
    .derive = derive,
    .activation_keys = "hidden_activation",
    .activation_words = "gelu_pytorch_tanh",
    .gguf_arch = "gemma4",
    .gguf_peer_limits = PEERS_HAVE_WINDOWS,
    .gguf_keys = gguf_keys,
};
