/* What DeepSeek-V2, DeepSeek-V3, Moonlight, Kimi-K2 and GLM-4.7-Flash share: multi-head latent attention, a few dense
 * layers before those with experts, shared experts that are simply added. All are "deepseek2" in GGUF files. */
#include <math.h>

#include "model/arch.h"

const struct key_rule gguf_keys_mla[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, false, 0, 1, 1 << 24),
    KEY_RULE("expert_feed_forward_length", KEY_INT_PER_LAYER, moe_intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("expert_count", KEY_INT, n_experts, true, 0, 1, 4096),
    KEY_RULE("expert_used_count", KEY_INT_PER_LAYER, top_k, true, 0, 1, 64),
    KEY_RULE("expert_shared_count", KEY_INT, n_shared_experts, true, 0, 0, 64),
    KEY_RULE("expert_gating_func", KEY_INT, scoring, false, SCORING_UNSTATED, 1, 2),
    KEY_RULE("expert_weights_norm", KEY_BOOL, norm_topk_prob, false, 0, 0, 1),
    KEY_RULE("expert_weights_scale", KEY_FLOAT, routed_scale, false, 1, 0, 1e6),
    KEY_RULE("expert_group_count", KEY_INT, n_group, false, 1, 0, 4096),
    KEY_RULE("expert_group_used_count", KEY_INT, topk_group, false, 1, 0, 4096),
    KEY_RULE("leading_dense_block_count", KEY_INT, first_dense_layers, false, 0, 0, 1024),
    KEY_RULE("attention.q_lora_rank", KEY_INT, q_lora_rank, false, 0, 0, 1 << 16),
    KEY_RULE("attention.kv_lora_rank", KEY_INT, kv_lora_rank, true, 0, 1, 1 << 16),
    {0},
};

#define ATTENTION "model.layers.{l}.self_attn."
#define MLP       "model.layers.{l}.mlp."

static const struct tensor_rule attention[] = {
    {ROLE_Q, ATTENTION "q_proj.weight", SIZE_Q, SIZE_HIDDEN, NEED_DIRECT_Q, PAIRS_TO_HALVES},
    {ROLE_Q, ATTENTION "q_b_proj.weight", SIZE_Q, SIZE_Q_LORA, NEED_Q_LORA, PAIRS_TO_HALVES},
    {ROLE_O, ATTENTION "o_proj.weight", SIZE_HIDDEN, SIZE_MIXED, NEED_MLA, COPY},
    {ROLE_Q_A, ATTENTION "q_a_proj.weight", SIZE_Q_LORA, SIZE_HIDDEN, NEED_Q_LORA, COPY},
    {ROLE_Q_A_NORM, ATTENTION "q_a_layernorm.weight", SIZE_Q_LORA, SIZE_NONE, NEED_Q_LORA, COPY},
    {ROLE_KV_A, ATTENTION "kv_a_proj_with_mqa.weight", SIZE_KV_A, SIZE_HIDDEN, NEED_MLA, PAIRS_TO_HALVES},
    {ROLE_KV_A_NORM, ATTENTION "kv_a_layernorm.weight", SIZE_KV_LORA, SIZE_NONE, NEED_MLA, COPY},
    {ROLE_K_B, ATTENTION "kv_b_proj.weight", SIZE_NOPE, SIZE_KV_LORA, NEED_MLA, HEAD_KEYS},
    {ROLE_K_B_T, ATTENTION "kv_b_proj.weight", SIZE_KV_LORA, SIZE_NOPE, NEED_MLA, HEAD_KEYS_TRANSPOSED},
    {ROLE_V_B, ATTENTION "kv_b_proj.weight", SIZE_V_HEAD, SIZE_KV_LORA, NEED_MLA, HEAD_VALUES},
    {0},
};

static const struct tensor_rule experts[] = {
    {ROLE_SELECTION_BIAS, MLP "gate.e_score_correction_bias", SIZE_EXPERTS, SIZE_NONE, NEED_SELECTION_BIAS, COPY},
    {ROLE_SHARED_GATE, MLP "shared_experts.gate_proj.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_UP, MLP "shared_experts.up_proj.weight", SIZE_SHARED_FFN, SIZE_HIDDEN, NEED_SHARED, COPY},
    {ROLE_SHARED_DOWN, MLP "shared_experts.down_proj.weight", SIZE_HIDDEN, SIZE_SHARED_FFN, NEED_SHARED, COPY},
    {0},
};

const struct tensor_rule *const tensors_mla_family[] = {tensors_ends,    tensors_norms, attention, tensors_mlp,
                                                        tensors_experts, experts,       NULL};

/* Of q.k: 1 / sqrt(head), and YaRN's temperature m = 0.1 mscale_all_dim ln(factor) + 1, squared because it stands for a
 * factor of both q and k. Other families multiply cosine and sine by theirs (rope.c), which here gets only the ratio of
 * the two mscales: usually 1. */
static float attention_scale(const struct model_config *c)
{
    const struct rope_config *r = &c->rope[ROPE_GLOBAL];
    double m = 1;
    if (r->scaling != ROPE_DEFAULT && r->mscale_all_dim > 0 && r->factor > 1)
        m = 0.1 * r->mscale_all_dim * log(r->factor) + 1;
    return (float)(m * m / sqrt((double)(c->qk_nope_head_dim + c->qk_rope_head_dim)));
}

static void derive_router(const struct model_config *c, struct layer_config *layer)
{
    layer->router.score = c->scoring == SCORING_SIGMOID ? SCORE_SIGMOID : SCORE_SOFTMAX;
    layer->router.selection_bias = c->scoring == SCORING_SIGMOID || c->use_expert_bias;
    layer->router.group_rank = c->scoring == SCORING_SIGMOID ? GROUP_SUM_TOP2 : GROUP_MAX;
    layer->router.normalise_eps = 1e-20f;
    layer->router.n_group = c->n_group;
    layer->router.topk_group = c->topk_group;
    layer->router.scale = c->routed_scale;
    if (c->n_shared_experts == 0) return;
    layer->ffn.shared = SHARED_ADDED;
    layer->ffn.shared_size = c->n_shared_experts * c->moe_intermediate_size; /* bounded: 64 * MAX_FFN */
}

sluice_status derive_mla(struct model_config *c, struct failure *f)
{
    (void)f;
    if (c->routed_scale == 0) c->routed_scale = 1;
    derive_dense(c);
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        layer->mixer = (struct mixer){
            .kind = MIX_MLA,
            .n_heads = c->n_heads,
            .n_kv_heads = c->n_heads,
            .head_dim = c->qk_nope_head_dim + c->qk_rope_head_dim,
            .v_head_dim = c->v_head_dim,
            .q_lora_rank = c->q_lora_rank,
            .kv_lora_rank = c->kv_lora_rank,
            .lora_eps = 1e-6f, /* whatever rms_norm_eps says */
            .scale = attention_scale(c),
        };
        if (c->has_dense_list ? layer->listed_dense : l < c->first_dense_layers) continue;
        derive_experts(c, l);
        derive_router(c, layer);
    }
    return SLUICE_OK;
}
