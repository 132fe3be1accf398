/* Gemma 3 1B to 27B (Google 2025): Gemma 2 without a cap on scores, q and k normalised per head, five sliding layers
 * for each that sees everything, and a RoPE of its own for the sliding ones. */
#include "model/arch.h"

extern const struct arch arch_gemma3;

static const struct key_rule keys[] = {
    KEY_RULE("num_attention_heads", KEY_INT, n_heads, false, 8, 1, 1024),
    KEY_RULE("vocab_size", KEY_INT, vocab_size, false, 262208, 1, 1 << 22),
    KEY_RULE("max_position_embeddings", KEY_INT, n_context, false, 131072, 1, 1 << 24),
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 9216, 1, 1 << 24),
    KEY_RULE("query_pre_attn_scalar", KEY_FLOAT, query_scalar, false, 256, 1e-6, 1e6),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 4096, 0, 1 << 24),
    KEY_RULE("sliding_window_pattern|_sliding_window_pattern", KEY_INT, sliding_pattern, false, 6, 1, 1024),
    KEY_RULE("final_logit_softcapping", KEY_FLOAT_OR_NULL, final_softcap, false, 0, 1e-6, 1e6),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 4, 1, 1024),
    KEY_RULE("head_dim", KEY_INT, head_dim, false, 256, 2, 1024),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("final_logit_softcapping", KEY_FLOAT, final_softcap, false, 0, 0, 1e6),
    KEY_RULE("sluice.attention_scale|attention.scale", KEY_FLOAT, attention_scale, false, 0, 0, 1e6),
    {0},
};

/* A cap on scores may be stated, but the reference implementation does not apply it. */
static const struct key_neutral refused[] = {
    {"use_bidirectional_attention", {0, 0}}, {"attn_logit_softcapping", {0, 0}}, {0}};

static const struct tensor_rule *const tensors[] = {
    tensors_ends,     tensors_post_norms_plus_one, tensors_attention, tensors_head_norm_plus_one,
    tensors_qkv_bias, tensors_output_bias,         tensors_mlp,       NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_biases(c);
    derive_period_window(c, c->sliding_pattern > 0 ? c->sliding_pattern : 6);
    derive_query_scale(c, 62);
    derive_gemma(c);
    for (int l = 0; l < c->n_layers; l++) {
        struct layer_config *layer = &c->layers[l];
        layer->post_norms = true;
        layer->mixer.qk_norm = QK_NORM_PER_HEAD;
        if (layer->mixer.window > 0) layer->mixer.rope = ROPE_LOCAL;
    }
    return SLUICE_OK;
}

const struct arch arch_gemma3 = {
    .name = "gemma3",
    .hf_architecture = "Gemma3ForCausalLM|Gemma3ForConditionalGeneration",
    .hf_model_type = "gemma3_text|gemma3",
    .default_theta = 1e6,
    .default_local_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .refused = refused,
    .derive = derive,
    .activation_keys = "hidden_activation",
    .activation_words = "gelu_pytorch_tanh",
    .gguf_arch = "gemma3",
    .gguf_peer_limits = PEERS_LACK_BIAS | PEERS_HAVE_WINDOWS,
    .gguf_keys = gguf_keys,
};
