/* LFM2 and LFM2-MoE (Liquid 2025): gated short convolutions, attention in every third or fourth layer, and from the
 * third layer on (MoE) experts by sigmoid scores, chosen with a bias that does not weigh. */
#include "model/arch.h"

extern const struct arch arch_lfm2, arch_lfm2_moe;

#define SHARED_KEYS                                                                         \
    KEY_RULE("norm_eps", KEY_FLOAT, rms_norm_eps, false, 1e-5, 1e-30, 1),                   \
        KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 8, 1, 1024),    \
        KEY_RULE("max_position_embeddings", KEY_INT, n_context, false, 128000, 1, 1 << 24), \
        KEY_RULE("conv_L_cache", KEY_INT, conv_kernel, false, 3, 1, 64)

static const struct key_rule keys[] = {
    SHARED_KEYS,
    KEY_RULE("block_ff_dim|intermediate_size", KEY_INT, intermediate_size, false, 12288, 1, 1 << 24),
    KEY_RULE("block_auto_adjust_ff_dim", KEY_BOOL, ff_auto_adjust, false, 1, 0, 1),
    KEY_RULE("block_ffn_dim_multiplier", KEY_FLOAT_OR_NULL, ff_multiplier, false, 1, 1e-3, 1e3),
    KEY_RULE("block_multiple_of", KEY_INT, ff_multiple_of, false, 256, 1, 1 << 16),
    {0},
};

static const struct key_rule moe_keys[] = {
    SHARED_KEYS,
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 7168, 1, 1 << 24),
    KEY_RULE("moe_intermediate_size", KEY_INT, moe_intermediate_size, false, 1792, 1, 1 << 24),
    KEY_RULE("num_dense_layers", KEY_INT, first_dense_layers, false, 2, 0, 1024),
    KEY_RULE("num_experts", KEY_INT, n_experts, false, 32, 1, 4096),
    KEY_RULE("num_experts_per_tok", KEY_INT, top_k, false, 4, 1, 64),
    KEY_RULE("use_expert_bias", KEY_BOOL, use_expert_bias, false, 1, 0, 1),
    KEY_RULE("norm_topk_prob", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    KEY_RULE("routed_scaling_factor", KEY_FLOAT, routed_scale, false, 1, 1e-6, 1e6),
    {0},
};

static const struct key_neutral refused[] = {{"conv_bias", {0, 0}}, {0}};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("shortconv.l_cache", KEY_INT, conv_kernel, true, 0, 1, 64),
    {0},
};

static const struct key_rule moe_gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("leading_dense_block_count", KEY_INT, first_dense_layers, false, 0, 0, 1024),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_gating_func", KEY_INT, scoring, false, SCORING_SIGMOID, SCORING_SIGMOID, SCORING_SIGMOID),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 1, 0, 1),
    KEY_RULE("sluice.routed_scale|expert_weights_scale", KEY_FLOAT, routed_scale, false, 1, 0, 1e6),
    KEY_RULE("shortconv.l_cache", KEY_INT, conv_kernel, true, 0, 1, 64),
    {0},
};

#define LAYER "model.layers.{l}."
#define FFN   LAYER "feed_forward."

static const struct tensor_rule block[] = {
    {ROLE_FINAL_NORM, "model.embedding_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_MIXER_NORM, LAYER "operator_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_FFN_NORM, LAYER "ffn_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_Q, LAYER "self_attn.q_proj.weight", SIZE_Q, SIZE_HIDDEN, NEED_GQA, COPY},
    {ROLE_K, LAYER "self_attn.k_proj.weight", SIZE_KV, SIZE_HIDDEN, NEED_GQA, COPY},
    {ROLE_V, LAYER "self_attn.v_proj.weight", SIZE_KV, SIZE_HIDDEN, NEED_V, COPY},
    {ROLE_O, LAYER "self_attn.out_proj.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_GQA, COPY},
    {ROLE_O, LAYER "conv.out_proj.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_CONV, COPY},
    {ROLE_Q_NORM, LAYER "self_attn.q_layernorm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {ROLE_K_NORM, LAYER "self_attn.k_layernorm.weight", SIZE_HEAD, SIZE_NONE, NEED_HEAD_NORM, COPY},
    {ROLE_CONV, LAYER "conv.conv.weight", SIZE_CONV, SIZE_TAPS, NEED_CONV, CONV},
    {ROLE_CONV_IN, LAYER "conv.in_proj.weight", SIZE_CONV_IN, SIZE_HIDDEN, NEED_CONV, COPY},
    {ROLE_GATE, FFN "w1.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_UP, FFN "w3.weight", SIZE_FFN, SIZE_HIDDEN, NEED_DENSE, COPY},
    {ROLE_DOWN, FFN "w2.weight", SIZE_HIDDEN, SIZE_FFN, NEED_DENSE, COPY},
    {0},
};

static const struct tensor_rule experts[] = {
    {ROLE_ROUTER, FFN "gate.weight", SIZE_EXPERTS, SIZE_HIDDEN, NEED_MOE, COPY},
    {ROLE_SELECTION_BIAS, FFN "expert_bias", SIZE_EXPERTS, SIZE_NONE, NEED_SELECTION_BIAS, COPY},
    {ROLE_EXPERT_GATE, FFN "experts.{e}.w1.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_GATE, FFN "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_FIRST_HALF},
    {ROLE_EXPERT_UP, FFN "experts.{e}.w3.weight", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_UP, FFN "experts.gate_up_proj", SIZE_EXPERT_FFN, SIZE_HIDDEN, NEED_MOE, SLICE_SECOND_HALF},
    {ROLE_EXPERT_DOWN, FFN "experts.{e}.w2.weight", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, STACK_EXPERTS},
    {ROLE_EXPERT_DOWN, FFN "experts.down_proj", SIZE_HIDDEN, SIZE_EXPERT_FFN, NEED_MOE, SLICE_EXPERTS},
    {0},
};

/* The final norm; the second is what Ollama's converter writes. */
static const struct tensor_rule gguf_tensors[] = {
    {ROLE_FINAL_NORM, "token_embd_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {ROLE_FINAL_NORM, "output_norm.weight", SIZE_HIDDEN, SIZE_NONE, NEED_ALWAYS, COPY},
    {0},
};

static const struct tensor_rule *const tensors[] = {tensors_ends, block, NULL};
static const struct tensor_rule *const moe_tensors[] = {tensors_ends, block, experts, NULL};

/* Layers are attention where they are listed so, where they have kv heads in a GGUF file, and without lists. */
static void derive_mixers(struct model_config *c)
{
    derive_dense(c);
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        if (layer->listed == LISTED_CONV || layer->listed_kv_heads == 0)
            layer->mixer = (struct mixer){.kind = MIX_CONV, .conv_kernel = c->conv_kernel};
        else
            layer->mixer.qk_norm = QK_NORM_PER_HEAD;
    }
}

/* The first releases state the width of a plain MLP, of which a gated one has two thirds, rounded up. */
static sluice_status derive(struct model_config *c, struct failure *f)
{
    if (c->ff_auto_adjust) {
        int64_t n = 2 * (int64_t)c->intermediate_size / 3;
        if (c->ff_multiplier > 0) n = (int64_t)((double)c->ff_multiplier * (double)n);
        const int64_t multiple = c->ff_multiple_of;
        n = (n + multiple - 1) / multiple * multiple; /* bounded: 2^24 times the greatest ff_multiplier */
        if (n < 1 || n > 1 << 24)
            return fail(f, SLUICE_FORMAT, "block_ff_dim: found %lld after adjusting, expected 1..%d", (long long)n,
                        1 << 24);
        c->intermediate_size = (int)n; /* bounded: just compared */
    }
    derive_mixers(c);
    return SLUICE_OK;
}

static sluice_status derive_moe(struct model_config *c, struct failure *f)
{
    (void)f;
    c->scoring = SCORING_SIGMOID;
    if (c->routed_scale == 0) c->routed_scale = 1;
    derive_mixers(c);
    for (int l = 0; l < c->n_layers; l++) {
        if (c->has_dense_list ? c->layers[l].listed_dense : l < c->first_dense_layers) continue;
        struct router *router = &c->layers[l].router;
        derive_experts(c, l);
        router->score = SCORE_SIGMOID;
        router->selection_bias = c->use_expert_bias;
        router->normalise_eps = 1e-6f;
        router->scale = c->routed_scale;
    }
    return SLUICE_OK;
}

const struct arch arch_lfm2 = {
    .name = "lfm2",
    .hf_architecture = "Lfm2ForCausalLM",
    .hf_model_type = "lfm2",
    .default_theta = 1e6,
    .keys = keys,
    .tensors = tensors,
    .refused = refused,
    .tied_keys = "tie_embedding|tie_word_embeddings",
    .derive = derive,
    .gguf_arch = "lfm2",
    .gguf_keys = gguf_keys,
    .gguf_tensors = gguf_tensors,
};

const struct arch arch_lfm2_moe = {
    .name = "lfm2_moe",
    .hf_architecture = "Lfm2MoeForCausalLM",
    .hf_model_type = "lfm2_moe",
    .default_theta = 1e6,
    .keys = moe_keys,
    .tensors = moe_tensors,
    .refused = refused,
    .tied_keys = "tie_embedding|tie_word_embeddings",
    .derive = derive_moe,
    .gguf_arch = "lfm2moe",
    .gguf_peer_limits = PEERS_HAVE_FIRST_DENSE,
    .gguf_keys = moe_gguf_keys,
    .gguf_tensors = gguf_tensors,
};
