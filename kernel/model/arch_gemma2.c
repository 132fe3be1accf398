/* Gemma 2 2B, 9B, 27B (Google 2024): four norms a layer, tanh caps on scores and logits, a window on every other
 * layer. */
#include <math.h>

#include "model/arch.h"

extern const struct arch arch_gemma2;

static const struct key_rule keys[] = {
    KEY_RULE("intermediate_size", KEY_INT, intermediate_size, false, 9216, 1, 1 << 24),
    KEY_RULE("query_pre_attn_scalar", KEY_FLOAT, query_scalar, false, 256, 1e-6, 1e6),
    KEY_RULE("sliding_window", KEY_INT_OR_NULL, sliding_window, false, 4096, 0, 1 << 24),
    KEY_RULE("attn_logit_softcapping", KEY_FLOAT_OR_NULL, attention_softcap, false, 50, 1e-6, 1e6),
    KEY_RULE("final_logit_softcapping", KEY_FLOAT_OR_NULL, final_softcap, false, 30, 1e-6, 1e6),
    KEY_RULE("attention_bias", KEY_BOOL, attention_bias, false, 0, 0, 1),
    KEY_RULE("num_key_value_heads", KEY_INT_OR_NULL, n_kv_heads, false, 4, 1, 1024),
    KEY_RULE("head_dim", KEY_INT, head_dim, false, 256, 2, 1024),
    {0},
};

static const struct key_rule gguf_keys[] = {
    KEY_RULE("feed_forward_length", KEY_INT_PER_LAYER, intermediate_size, true, 0, 1, 1 << 24),
    KEY_RULE("attn_logit_softcapping", KEY_FLOAT_OR_NULL, attention_softcap, false, 50, 0, 1e6),
    KEY_RULE("final_logit_softcapping", KEY_FLOAT_OR_NULL, final_softcap, false, 30, 0, 1e6),
    KEY_RULE("sluice.attention_scale|attention.scale", KEY_FLOAT, attention_scale, false, 0, 0, 1e6),
    {0},
};

static const struct key_neutral refused[] = {{"use_bidirectional_attention", {0, 0}}, {0}};

static const struct tensor_rule *const tensors[] = {
    tensors_ends, tensors_post_norms_plus_one, tensors_attention, tensors_qkv_bias, tensors_output_bias, tensors_mlp,
    NULL};

static sluice_status derive(struct model_config *c, struct failure *f)
{
    (void)f;
    derive_dense(c);
    derive_biases(c);
    derive_period_window(c, 2);
    derive_query_scale(c, 46);
    derive_gemma(c);
    for (int l = 0; l < c->n_layers; l++) c->layers[l].post_norms = true;
    return SLUICE_OK;
}

/* In GGUF files nothing says that the largest of a generation, and it alone, divides by hidden_size / n_heads. */
void derive_query_scale(struct model_config *c, int n_layers_27b)
{
    double usual = c->n_layers == n_layers_27b ? (double)c->hidden_size / c->n_heads : (double)c->head_dim;
    const float scale = (float)(1 / sqrt(usual)), own = (float)(1 / sqrt((double)c->query_scalar));
    if (c->query_scalar > 0 && own != scale) c->attention_scale = own;
    for (int l = 0; l < c->n_layers; l++) c->layers[l].mixer.scale = scale;
}

const struct arch arch_gemma2 = {
    .name = "gemma2",
    .hf_architecture = "Gemma2ForCausalLM",
    .hf_model_type = "gemma2",
    .default_theta = 1e4,
    .keys = keys,
    .tensors = tensors,
    .refused = refused,
    .derive = derive,
    .activation_keys = "hidden_activation",
    .activation_words = "gelu_pytorch_tanh",
    .gguf_arch = "gemma2",
    .gguf_peer_limits = PEERS_LACK_BIAS | PEERS_HAVE_WINDOWS,
    .gguf_keys = gguf_keys,
};
