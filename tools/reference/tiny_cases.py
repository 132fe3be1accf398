"""The cases of make_tiny_models.py: what each tiny checkpoint is made of and how its files are spelt."""
from dataclasses import dataclass, field


@dataclass
class Case:
    """One checkpoint. form: "hub" (config keys and tensors of published checkpoints), "v5" (as save_pretrained writes
    it) or "fused" (as v5, with the experts of a layer in two tensors)."""
    name: str
    family: str                                 # model_type of the text model
    form: str
    dtype: str
    covers: str
    config: dict
    shard: str | None = None                    # max_shard_size
    drop: tuple = ()                            # hub: config keys left out
    extra: dict = field(default_factory=dict)   # hub: config keys added or replaced
    rope_key: str = "rope_type"                 # hub: older files say "type"
    rope_new: bool = False                      # hub: rope_parameters, as releases of 2026 have it
    stray: dict = field(default_factory=dict)   # tensors of ones to ignore: name -> shape
    generation: bool = True                     # keep generation_config.json
    n_tokens: int = 43                          # odd; longer than every window and the shortest YaRN original length
    wrap: dict | None = None                    # hub: keys of the multimodal config around text_config
    prefix: str = "model."                      # hub: what the text tensors' names start with
    quant: str | None = None                    # hub: "mxfp4" (experts) or "fp8" (128 x 128 blocks), as released
    split_experts: bool = True                  # one tensor per expert and matrix, where transformers stores fused ones
    keep_f32: tuple = ()                        # parameters with these words in their names stay float32


def rope(kind="default", theta=10000.0, **keys):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **keys}}


def local_rope(full, local_theta=10000.0):
    """RoPE of sliding layers with local_theta, of full ones as given."""
    return {"rope_parameters": {"full_attention": full["rope_parameters"], **{
        "sliding_attention": rope(theta=local_theta)["rope_parameters"]}}}


def shape(hidden, heads, kv, layers=2, vocab=80, **keys):
    return {"hidden_size": hidden, "num_attention_heads": heads, "num_key_value_heads": kv, "num_hidden_layers": layers,
            "vocab_size": vocab, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, **keys}


def mixers(letters):
    """Layer types by their first letters: full, sliding, linear, conv."""
    names = {"f": "full_attention", "s": "sliding_attention", "l": "linear_attention", "c": "conv"}
    return {"layer_types": [names[c] for c in letters]}


def mla(heads, nope, rope_dim, v, kv_lora, q_lora=None, **keys):
    return {"qk_nope_head_dim": nope, "qk_rope_head_dim": rope_dim, "v_head_dim": v, "kv_lora_rank": kv_lora,
            "q_lora_rank": q_lora, "num_attention_heads": heads, "num_key_value_heads": heads, **keys}


def delta(key_heads, value_heads, key_dim, value_dim):
    """Gated DeltaNet."""
    return {"linear_num_key_heads": key_heads, "linear_num_value_heads": value_heads, "linear_key_head_dim": key_dim,
            "linear_value_head_dim": value_dim, "linear_conv_kernel_dim": 4}


def small(hidden, heads, kv, layers=2, vocab=64, **keys):
    return shape(hidden, heads, kv, layers, vocab, **keys)


def mtp_layer(index, hidden, vocab):
    """Tensors of DeepSeek's multi-token prediction layer, beyond num_hidden_layers."""
    names = {"enorm.weight": [hidden], "hnorm.weight": [hidden], "eh_proj.weight": [hidden, 2 * hidden],
             "embed_tokens.weight": [vocab, hidden], "shared_head.norm.weight": [hidden],
             "shared_head.head.weight": [vocab, hidden], "input_layernorm.weight": [hidden]}
    return {f"model.layers.{index}.{name}": size for name, size in names.items()}


# Keys that published files of a family lack though v5 writes them (None), keep as v5 writes them (True), or have
# with this value.
HUB_KEYS = {
    "mixtral": {}, "olmoe": {}, "qwen2_moe": {}, "llama": {}, "mistral": {}, "qwen2": {}, "qwen3": {}, "qwen3_moe": {},
    "gpt_oss": {"layer_types": True, "head_dim": True, "swiglu_alpha": None, "bos_token_id": None},
    "gemma": {"head_dim": True, "hidden_act": "gelu", "use_bidirectional_attention": None},
    "gemma2": {"head_dim": True, "hidden_act": "gelu_pytorch_tanh", "cache_implementation": "hybrid",
               "use_bidirectional_attention": None},
    "gemma3_text": {"head_dim": True, "cache_implementation": "hybrid", "use_bidirectional_attention": None,
                    "_sliding_window_pattern": None},
    "gemma4_text": {"head_dim": True, "layer_types": True, "per_layer_config": None},
    "deepseek_v2": {"qk_head_dim": None, "head_dim": None, "mlp_bias": None, "output_router_logits": None,
                    "scoring_func": "softmax", "moe_layer_freq": 1, "seq_aux": True, "aux_loss_alpha": 0.001},
    "deepseek_v3": {"qk_head_dim": None, "head_dim": None, "rope_interleave": None, "output_router_logits": None,
                    "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1,
                    "seq_aux": True, "aux_loss_alpha": 0.001},
    "glm4_moe_lite": {"qk_head_dim": None, "head_dim": None, "rope_interleave": None, "output_router_logits": None,
                      "mlp_layer_types": None, "first_k_dense_replace": 1, "topk_method": "noaux_tc",
                      "partial_rotary_factor": 1.0, "num_nextn_predict_layers": 1, "bos_token_id": None},
    "qwen3_next": {"head_dim": True},
    "qwen3_5_text": {"head_dim": True, "layer_types": True, "attn_output_gate": True, "mamba_ssm_dtype": "float32"},
    "qwen3_5_moe_text": {"head_dim": True, "layer_types": True, "attn_output_gate": True, "mamba_ssm_dtype": "float32"},
    "lfm2": {"layer_types": None, "use_pos_enc": True},
    "lfm2_moe": {"layer_types": True, "use_pos_enc": True},
}

SIGLIP = {"model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2,
          "num_hidden_layers": 1, "image_size": 28, "patch_size": 14, "vision_use_head": False}
GEMMA3 = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "boi_token_index": 255999,
          "eoi_token_index": 256000, "image_token_index": 262144, "mm_tokens_per_image": 4, "eos_token_id": [1, 16],
          "initializer_range": 0.02, "vision_config": SIGLIP}
GEMMA4 = {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "audio_config": None,
          "boi_token_id": 255999, "eoi_token_id": 258882, "image_token_id": 258880, "video_token_id": 258884,
          "eos_token_id": [1, 16], "initializer_range": 0.02, "tie_word_embeddings": True,
          "vision_config": {"model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "head_dim": 8,
                            "num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 1,
                            "patch_size": 4, "position_embedding_size": 16}}
QWEN35 = {"architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe",
          "image_token_id": 248056, "video_token_id": 248057, "vision_start_token_id": 248053,
          "vision_end_token_id": 248054, "tie_word_embeddings": False,
          "vision_config": {"model_type": "qwen3_5_moe", "depth": 1, "hidden_size": 16, "intermediate_size": 16,
                            "num_heads": 2, "out_hidden_size": 36, "patch_size": 4, "num_position_embeddings": 16,
                            "deepstack_visual_indexes": []}}


CASES = [
    # --- Mixtral: intermediate_size is the expert width, weights always renormalised
    Case("mixtral-hub-bf16", "mixtral", "hub", "bf16", "hub spelling, 5 experts top 2, rope_theta 1e6",
         shape(48, 4, 2, num_local_experts=5, num_experts_per_tok=2, intermediate_size=24, **rope(theta=1e6))),
    Case("mixtral-top1-f32", "mixtral", "v5", "f32", "top 1 of 6, 3 heads over 1, head_dim 20, hidden 40, eps 1e-2",
         shape(40, 3, 1, vocab=64, head_dim=20, num_local_experts=6, num_experts_per_tok=1, intermediate_size=16,
               rms_norm_eps=1e-2, **rope())),
    Case("mixtral-window-f16", "mixtral", "hub", "f16", "sliding window 8 on every layer, all 7 experts, tied",
         shape(32, 4, 4, layers=3, num_local_experts=7, num_experts_per_tok=7, intermediate_size=16,
               sliding_window=8, tie_word_embeddings=True, **rope())),
    Case("mixtral-yarn-shards", "mixtral", "v5", "bf16",
         "YaRN, original length 16 shorter than the prompt, head_dim 24, sharded",
         shape(48, 2, 1, head_dim=24, num_local_experts=6, num_experts_per_tok=3, intermediate_size=20,
               **rope("yarn", factor=8.0, original_max_position_embeddings=16)), shard="40KB"),
    Case("mixtral-fused-bf16", "mixtral", "fused", "bf16",
         "fused expert tensors, router under mlp.gate, 5 heads over 1",
         shape(40, 5, 1, vocab=104, num_local_experts=6, num_experts_per_tok=2, intermediate_size=18,
               **rope(theta=5e5))),
    # --- OLMoE: q and k normed over the whole projection
    Case("olmoe-hub-bf16", "olmoe", "hub", "bf16",
         "hub spelling, top 3 of 7, weights not renormalised, no num_key_value_heads",
         shape(48, 4, 4, num_experts=7, num_experts_per_tok=3, intermediate_size=16, **rope()),
         drop=("num_key_value_heads",)),
    Case("olmoe-clip-f32", "olmoe", "v5", "f32", "clip_qkv 0.9 (after the norm), renormalised, 3 heads of 12, eps 1e-2",
         shape(36, 3, 3, num_experts=5, num_experts_per_tok=2, intermediate_size=16, clip_qkv=0.9, norm_topk_prob=True,
               rms_norm_eps=1e-2,
               **rope())),
    Case("olmoe-tied-gqa-f16", "olmoe", "hub", "f16", "5 heads over 1, all 6 experts, tied, no renormalisation",
         shape(40, 5, 1, num_experts=6, num_experts_per_tok=6, intermediate_size=16, tie_word_embeddings=True,
               **rope())),
    Case("olmoe-linear-fused", "olmoe", "fused", "bf16",
         "fused experts, linear RoPE scaling 2.5, attention bias, top 1 not renormalised",
         shape(48, 3, 3, num_experts=6, num_experts_per_tok=1, intermediate_size=16, attention_bias=True,
               **rope("linear", factor=2.5))),
    # --- Qwen2-MoE: gated shared expert, q/k/v bias
    Case("qwen2-moe-hub-bf16", "qwen2_moe", "hub", "bf16",
         "hub spelling, top 2 of 6 not renormalised, sliding_window 8 present but switched off",
         shape(48, 4, 4, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16, intermediate_size=40,
               shared_expert_intermediate_size=28, **rope(theta=1e6)), extra={"sliding_window": 8}),
    Case("qwen2-moe-step2-f32", "qwen2_moe", "v5", "f32",
         "decoder_sparse_step 2 (layers 1 and 3 are MoE), renormalised, 5 heads of 6 over 1, eps 1e-2",
         shape(30, 5, 1, layers=4, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12, intermediate_size=24,
               shared_expert_intermediate_size=20, decoder_sparse_step=2, norm_topk_prob=True, rms_norm_eps=1e-2,
               **rope())),
    Case("qwen2-moe-window-hub", "qwen2_moe", "hub", "bf16",
         "use_sliding_window 9 with max_window_layers 3 of 4: layers 0 and 2 slide",
         shape(32, 2, 1, layers=4, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=16, intermediate_size=32,
               shared_expert_intermediate_size=16, use_sliding_window=True, sliding_window=9, max_window_layers=3,
               **rope())),
    Case("qwen2-moe-yarn-f16", "qwen2_moe", "hub", "f16",
         "YaRN spelt \"type\", head_dim 20, hidden 52, 3 heads, all 5 experts",
         shape(52, 3, 1, head_dim=20, num_experts=5, num_experts_per_tok=5, moe_intermediate_size=16,
               intermediate_size=32,
               shared_expert_intermediate_size=24,
               **rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=32)), rope_key="type"),
    Case("qwen2-moe-layers-v5", "qwen2_moe", "v5", "bf16",
         "explicit layer_types, mlp_only_layers [1], no qkv bias, tied, sharded",
         shape(40, 4, 2, layers=3, num_experts=7, num_experts_per_tok=3, moe_intermediate_size=12, intermediate_size=28,
               shared_expert_intermediate_size=16, qkv_bias=False, mlp_only_layers=[1], tie_word_embeddings=True,
               use_sliding_window=True, sliding_window=7,
               layer_types=["full_attention", "full_attention", "sliding_attention"], **rope()), shard="24KB"),
    # --- Qwen3-MoE: per-head q/k norm
    Case("qwen3-moe-hub-bf16", "qwen3_moe", "hub", "bf16",
         "hub spelling, head_dim 24 with 4 heads on hidden 48, top 2 of 6 renormalised, sliding_window 8 switched off",
         shape(48, 4, 2, head_dim=24, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16,
               intermediate_size=40,
               norm_topk_prob=True, rms_norm_eps=1e-6, **rope(theta=1e7)),
         extra={"sliding_window": 8, "max_window_layers": 1, "eos_token_id": [2, 5]}),
    Case("qwen3-moe-dense-layer-f32", "qwen3_moe", "v5", "f32",
         "mlp_only_layers [1] of 3, not renormalised, no head_dim key (hidden/heads), eps 1e-2",
         shape(30, 5, 1, layers=3, num_experts=5, num_experts_per_tok=3, moe_intermediate_size=12, intermediate_size=24,
               mlp_only_layers=[1], rms_norm_eps=1e-2, **rope())),
    Case("qwen3-moe-window-hub", "qwen3_moe", "hub", "bf16",
         "use_sliding_window 9: every layer slides; decoder_sparse_step 2",
         shape(32, 3, 1, layers=4, head_dim=20, num_experts=7, num_experts_per_tok=2, moe_intermediate_size=16,
               intermediate_size=32, norm_topk_prob=True, decoder_sparse_step=2, use_sliding_window=True,
               sliding_window=9,
               **rope()), generation=False),
    Case("qwen3-moe-fused-bf16", "qwen3_moe", "fused", "bf16",
         "fused experts, attention bias on q, k, v, o, top 1 renormalised (weight 1)",
         shape(48, 6, 2, head_dim=12, num_experts=5, num_experts_per_tok=1, moe_intermediate_size=18,
               intermediate_size=32,
               norm_topk_prob=True, attention_bias=True, **rope(theta=1e6))),
    Case("qwen3-moe-yarn-f16", "qwen3_moe", "hub", "f16",
         "YaRN with attention_factor and truncate false, tied, all 6 experts",
         shape(48, 4, 1, head_dim=16, num_experts=6, num_experts_per_tok=6, moe_intermediate_size=16,
               intermediate_size=32,
               norm_topk_prob=False, tie_word_embeddings=True,
               **rope("yarn", factor=4.0, original_max_position_embeddings=32, attention_factor=1.25, truncate=False))),
    # --- dense Llama
    Case("llama2-hub-f16", "llama", "hub", "f16",
         "Llama 2 style: no num_key_value_heads, stored rotary_emb.inv_freq to ignore",
         shape(48, 4, 4, intermediate_size=72, rms_norm_eps=1e-5, **rope()), drop=("num_key_value_heads",),
         stray={f"model.layers.{i}.self_attn.rotary_emb.inv_freq": [6] for i in range(2)},
         generation=False),
    Case("llama3-hub-bf16", "llama", "hub", "bf16", "llama3 RoPE scaling, tied, 3 heads over 1",
         shape(48, 3, 1, layers=3, vocab=128, intermediate_size=56, rms_norm_eps=1e-5, tie_word_embeddings=True,
               **rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                      original_max_position_embeddings=64)), extra={"eos_token_id": [2, 3, 4]}),
    Case("llama-bias-f32", "llama", "v5", "f32",
         "attention and MLP biases, linear RoPE scaling 3, head_dim 20, 5 heads over 1, eps 1e-2",
         shape(40, 5, 1, head_dim=20, intermediate_size=52, attention_bias=True, mlp_bias=True,
               rms_norm_eps=1e-2, **rope("linear", factor=3.0))),
    Case("llama3-shards-bf16", "llama", "v5", "bf16", "llama3 RoPE scaling in the v5 spelling, head_dim 24, sharded",
         shape(48, 4, 2, head_dim=24, vocab=112, intermediate_size=80,
               **rope("llama3", 500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                      original_max_position_embeddings=32)), shard="30KB"),
    Case("llama-yarn-mscale", "llama", "v5", "bf16", "YaRN with mscale 1.0 and mscale_all_dim 0.707",
         shape(32, 2, 2, layers=3, intermediate_size=48,
               **rope("yarn", factor=40.0, original_max_position_embeddings=32, mscale=1.0, mscale_all_dim=0.707))),
    # --- Mistral
    Case("mistral-window-hub", "mistral", "hub", "bf16", "sliding window 8 on every layer",
         shape(48, 6, 2, layers=3, intermediate_size=64, rms_norm_eps=1e-5, sliding_window=8, **rope())),
    Case("mistral-head20-f32", "mistral", "v5", "f32", "no window, head_dim 20 with 2 heads on hidden 52, eps 1e-2",
         shape(52, 2, 1, head_dim=20, intermediate_size=48, sliding_window=None, rms_norm_eps=1e-2,
               **rope(theta=1e6))),
    Case("mistral-yarn-f16", "mistral", "hub", "f16", "YaRN with beta_fast 2 and beta_slow 0.25, window 16 over it",
         shape(40, 5, 5, head_dim=16, intermediate_size=48, sliding_window=16,
               **rope("yarn", 1000.0, factor=2.0, original_max_position_embeddings=64, beta_fast=2.0, beta_slow=0.25))),
    # --- Qwen2
    Case("qwen2-hub-bf16", "qwen2", "hub", "bf16", "hub spelling, tied, q/k/v bias, sliding_window 8 switched off",
         shape(56, 7, 1, intermediate_size=72, tie_word_embeddings=True, rms_norm_eps=1e-6, **rope(theta=1e6)),
         extra={"sliding_window": 8, "max_window_layers": 1}),
    Case("qwen2-window-hub", "qwen2", "hub", "f16", "use_sliding_window 8 from layer max_window_layers 1 on",
         shape(40, 4, 2, layers=3, intermediate_size=48, use_sliding_window=True, sliding_window=8,
               max_window_layers=1, **rope())),
    Case("qwen2-yarn-f32", "qwen2", "v5", "f32",
         "YaRN in the v5 spelling, original length 32 shorter than the prompt, eps 1e-2",
         shape(36, 3, 1, intermediate_size=44, rms_norm_eps=1e-2,
               **rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=32))),
    # --- Qwen3
    Case("qwen3-hub-bf16", "qwen3", "hub", "bf16", "hub spelling, tied, head_dim 24 with 4 heads on hidden 56",
         shape(56, 4, 2, head_dim=24, intermediate_size=64, tie_word_embeddings=True, rms_norm_eps=1e-6,
               **rope(theta=1e6))),
    Case("qwen3-layers-v5", "qwen3", "v5", "f16", "explicit layer_types full, sliding, full with window 7, eps 1e-2",
         shape(40, 5, 1, layers=3, head_dim=16, intermediate_size=48, rms_norm_eps=1e-2, use_sliding_window=True,
               sliding_window=7,
               layer_types=["full_attention", "sliding_attention", "full_attention"], **rope())),
    Case("qwen3-bias-yarn-f32", "qwen3", "v5", "f32",
         "attention bias, YaRN with beta_fast 4 and truncate false, head_dim 20",
         shape(40, 3, 1, head_dim=20, intermediate_size=48, attention_bias=True,
               **rope("yarn", 1000.0, factor=8.0, original_max_position_embeddings=40, beta_fast=4.0, truncate=False))),
    # --- gpt-oss: sinks, biases everywhere, clamped SwiGLU, gate and up interleaved, [experts, in, out]
    Case("gpt-oss-hub-bf16", "gpt_oss", "hub", "bf16",
         "window 8 on layers 0 and 2, YaRN with truncate false, SwiGLU limit 0.9, 4 heads of 12 on hidden 36",
         small(36, 4, 2, layers=3, head_dim=12, num_local_experts=5, num_experts_per_tok=2, intermediate_size=14,
               sliding_window=8, swiglu_limit=0.9,
               **rope("yarn", 150000.0, factor=8.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                      original_max_position_embeddings=16)),
         extra={"experts_per_token": 2, "initial_context_length": 16}, split_experts=False),
    Case("gpt-oss-v5-f32", "gpt_oss", "v5", "f32",
         "layer_types full, sliding, YaRN with truncate true, SwiGLU limit 0.5, 5 heads of 12 over 1, top 3 of 4, tied",
         small(28, 5, 1, head_dim=12, num_local_experts=4, num_experts_per_tok=3, intermediate_size=14,
               rms_norm_eps=1e-2,
               sliding_window=9, swiglu_limit=0.5, tie_word_embeddings=True, **mixers("fs"),
               **rope("yarn", 10000.0, factor=4.0, beta_fast=4.0, beta_slow=1.0, truncate=True,
                      original_max_position_embeddings=64))),
    Case("gpt-oss-mxfp4-hub", "gpt_oss", "hub", "bf16",
         "MXFP4 experts as released, hidden 64 and ff 32, SwiGLU limit 1.5",
         small(64, 3, 1, head_dim=16, num_local_experts=5, num_experts_per_tok=2, intermediate_size=32,
               sliding_window=8, swiglu_limit=1.5,
               **rope("yarn", 150000.0, factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                      original_max_position_embeddings=16)),
         extra={"experts_per_token": 2, "initial_context_length": 16, "quantization_config": {
             "quant_method": "mxfp4", "modules_to_not_convert": [
                 "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}},
         quant="mxfp4", split_experts=False),
    # --- Gemma 1 to 3: norms of 1 + w, embedding times sqrt(hidden), tanh GELU
    Case("gemma-hub-bf16", "gemma", "hub", "bf16",
         "hidden_act gelu (which means tanh) and hidden_activation null, 3 heads of 20 over 1, tied by default",
         small(36, 3, 1, head_dim=20, intermediate_size=52, **rope()), drop=("tie_word_embeddings",),
         extra={"hidden_activation": None}),
    Case("gemma-v5-f32", "gemma", "v5", "f32", "4 heads of 12 over 2, untied, eps 1e-2",
         small(36, 4, 2, head_dim=12, intermediate_size=44, rms_norm_eps=1e-2, tie_word_embeddings=False,
               **rope(theta=500.0))),
    Case("gemma2-hub-bf16", "gemma2", "hub", "bf16",
         "even layers slide (window 8), softcaps 1.5 on scores and 4 on logits, query_pre_attn_scalar 24, head_dim 16",
         small(36, 4, 2, layers=3, head_dim=16, intermediate_size=40, sliding_window=8, query_pre_attn_scalar=24,
               attn_logit_softcapping=1.5, final_logit_softcapping=4.0, **rope()), drop=("tie_word_embeddings",)),
    Case("gemma2-v5-f32", "gemma2", "v5", "f32",
         "layer_types full, sliding with window 7, no softcaps, query_pre_attn_scalar 10, 3 heads over 3, eps 1e-2",
         small(36, 3, 3, head_dim=20, intermediate_size=28, sliding_window=7, query_pre_attn_scalar=10,
               attn_logit_softcapping=None, final_logit_softcapping=None, rms_norm_eps=1e-2, **mixers("fs"), **rope())),
    Case("gemma3-hub-bf16", "gemma3_text", "hub", "bf16",
         "as 1B: sliding_window_pattern 3 of 4 layers, window 8, rope_theta 20000, rope_local_base_freq 500",
         small(36, 3, 1, layers=4, head_dim=16, intermediate_size=40, sliding_window=8, query_pre_attn_scalar=20,
               **mixers("ssfs"), **local_rope(rope(theta=20000.0), 500.0)),
         drop=("tie_word_embeddings",), extra={"sliding_window_pattern": 3}),
    Case("gemma3-shards-v5", "gemma3_text", "v5", "f32",
         "rope_parameters by layer type, linear factor 8 on full layers, 4 heads of 12 over 2, eps 1e-2, sharded",
         small(40, 4, 2, head_dim=12, intermediate_size=36, sliding_window=9, query_pre_attn_scalar=16,
               rms_norm_eps=1e-2, **mixers("fs"), **local_rope(rope("linear", 100000.0, factor=8.0))), shard="30KB"),
    Case("gemma3-wrapped-hub", "gemma3_text", "hub", "bf16",
         "multimodal, text_config with linear factor 8; pattern, thetas, query_pre_attn_scalar and eps by default",
         small(24, 2, 1, layers=6, head_dim=16, intermediate_size=28, sliding_window=8,
               **local_rope(rope("linear", 1e6, factor=8.0))),
         drop=("rope_theta", "rope_local_base_freq", "query_pre_attn_scalar", "rms_norm_eps", "tie_word_embeddings",
               "attention_bias", "attn_logit_softcapping", "final_logit_softcapping", "hidden_activation"),
         wrap=GEMMA3, prefix="language_model.model.",
         stray={"vision_tower.vision_model.post_layernorm.weight": [16],
                "multi_modal_projector.mm_soft_emb_norm.weight": [16]}),
    # --- Gemma 4
    Case("gemma4-wrapped-hub", "gemma4_text", "hub", "bf16",
         "as 26B-A4B: dense MLP beside 6 experts top 2, K = V on the full layers of head_dim 32, window 8, softcap 5",
         small(36, 4, 2, layers=3, head_dim=16, intermediate_size=20, moe_intermediate_size=12, num_experts=6,
               top_k_experts=2, enable_moe_block=True, sliding_window=8, attention_k_eq_v=True, global_head_dim=32,
               num_global_key_value_heads=1, hidden_size_per_layer_input=0, vocab_size_per_layer_input=64,
               final_logit_softcapping=5.0, use_bidirectional_attention="vision", **mixers("ssf"),
               **local_rope(rope("proportional", 1e6, partial_rotary_factor=0.25))),
         extra={"global_head_dim": 32, "num_global_key_value_heads": 1}, wrap=GEMMA4, prefix="model.language_model.",
         rope_new=True, split_experts=False,
         stray={"model.vision_tower.std_bias": [16], "model.embed_vision.embedding_projection.weight": [36, 16]}),
    Case("gemma4-v5-f32", "gemma4_text", "v5", "f32",
         "text only, per_layer_config, 3 heads over 3 (full: of 24 over 1), top 3 of 5, untied, no softcap, eps 1e-2",
         small(36, 3, 3, layers=3, head_dim=12, intermediate_size=24, moe_intermediate_size=10, num_experts=5,
               top_k_experts=3, enable_moe_block=True, sliding_window=9, attention_k_eq_v=True, global_head_dim=24,
               num_global_key_value_heads=1, hidden_size_per_layer_input=0, vocab_size_per_layer_input=64,
               tie_word_embeddings=False, rms_norm_eps=1e-2, **mixers("fsf"),
               **local_rope(rope("proportional", 1e5, partial_rotary_factor=0.5), 1000.0))),
    Case("gemma4-dense-hub", "gemma4_text", "hub", "bf16",
         "multimodal, no experts, full layers with their own v_proj, global_head_dim 20",
         small(28, 4, 2, head_dim=16, intermediate_size=36, sliding_window=8, global_head_dim=20,
               hidden_size_per_layer_input=0, vocab_size_per_layer_input=64, final_logit_softcapping=30.0,
               **mixers("sf"),
               **local_rope(rope("proportional", 1e6, partial_rotary_factor=0.25))),
         extra={"global_head_dim": 20, "num_global_key_value_heads": None}, wrap=GEMMA4, prefix="model.language_model.",
         rope_new=True, stray={"model.vision_tower.std_bias": [16]}),
    # --- DeepSeek V2: latent attention, softmax router, interleaved RoPE on the last part of each head
    Case("deepseek-v2-lite-hub", "deepseek_v2", "hub", "bf16",
         "direct q, greedy top 3 of 6 not renormalised, 2 shared experts, v_head_dim 10, YaRN with mscale 0.707 twice",
         small(36, 3, 3, layers=2, intermediate_size=40, moe_intermediate_size=10, n_routed_experts=6,
               num_experts_per_tok=3, n_shared_experts=2, first_k_dense_replace=1, topk_method="greedy", n_group=1,
               topk_group=1, **mla(3, 12, 8, 10, 20),
               **rope("yarn", factor=40.0, original_max_position_embeddings=16, mscale=0.707, mscale_all_dim=0.707,
                      beta_fast=32, beta_slow=1)), rope_key="type"),
    Case("deepseek-v2-groups-v5", "deepseek_v2", "v5", "f32",
         "q_lora_rank, 2 of 3 groups by their best expert, top 3 of 9 times 16, YaRN mscale 1 over 0.707, eps 1e-2",
         small(30, 5, 5, intermediate_size=28, moe_intermediate_size=6, n_routed_experts=9, num_experts_per_tok=3,
               n_shared_experts=1, first_k_dense_replace=1, topk_method="group_limited_greedy", n_group=3, topk_group=2,
               routed_scaling_factor=16.0, rms_norm_eps=1e-2, **mla(5, 6, 6, 8, 14, 18),
               **rope("yarn", factor=8.0, original_max_position_embeddings=32, mscale=1.0, mscale_all_dim=0.707))),
    # --- DeepSeek V3: sigmoid router with a selection bias
    Case("deepseek-v3-hub-bf16", "deepseek_v3", "hub", "bf16",
         "2 of 4 groups by their two best, top 3 of 8 times 2.5, YaRN mscale 1 and 1, layer 3 to ignore",
         small(36, 3, 3, layers=3, intermediate_size=44, moe_intermediate_size=8, n_routed_experts=8,
               num_experts_per_tok=3, n_shared_experts=1, first_k_dense_replace=1, n_group=4, topk_group=2,
               **mla(3, 10, 6, 14, 18, 22),
               **rope("yarn", factor=40.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=1.0,
                      beta_fast=32, beta_slow=1)), rope_key="type", stray=mtp_layer(3, 36, 64)),
    Case("moonlight-hub-bf16", "deepseek_v3", "hub", "bf16",
         "direct q, one group, 2 shared experts, times 2.446, no RoPE scaling, theta 50000, eps 1e-5",
         small(32, 4, 4, intermediate_size=36, moe_intermediate_size=10, n_routed_experts=6, num_experts_per_tok=2,
               n_shared_experts=2, first_k_dense_replace=1, n_group=1, topk_group=1, routed_scaling_factor=2.446,
               rms_norm_eps=1e-5, num_mtp_layers=0, **mla(4, 8, 8, 6, 16), **rope(theta=50000.0)),
         drop=("rope_scaling",)),
    Case("kimi-k2-hub-bf16", "deepseek_v3", "hub", "bf16",
         "model_type kimi_k2, YaRN with beta_fast 1 and beta_slow 1, times 2.827, 3 heads",
         small(30, 3, 3, intermediate_size=36, moe_intermediate_size=8, n_routed_experts=7, num_experts_per_tok=3,
               n_shared_experts=1, first_k_dense_replace=1, n_group=1, topk_group=1, routed_scaling_factor=2.827,
               num_mtp_layers=0, **mla(3, 10, 8, 10, 16, 20),
               **rope("yarn", 50000.0, factor=32.0, original_max_position_embeddings=32, mscale=1.0, mscale_all_dim=1.0,
                      beta_fast=1.0, beta_slow=1.0)), rope_key="type", extra={"model_type": "kimi_k2"}),
    Case("deepseek-v3-fp8-hub", "deepseek_v3", "hub", "bf16",
         "FP8 weights with scales of 128 x 128 blocks, 136 wide dense block, kv_b_proj of 138 rows, layer 2 to ignore",
         small(44, 3, 3, intermediate_size=136, moe_intermediate_size=12, n_routed_experts=4, num_experts_per_tok=2,
               n_shared_experts=1, first_k_dense_replace=1, n_group=2, topk_group=1, **mla(3, 22, 8, 24, 20, 26),
               **rope("yarn", factor=40.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=1.0,
                      beta_fast=32, beta_slow=1)), rope_key="type", quant="fp8", stray=mtp_layer(2, 44, 64),
         extra={"quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                        "weight_block_size": [128, 128]}}),
    Case("deepseek-v3-fused-f32", "deepseek_v3", "fused", "f32",
         "fused experts, every layer MoE, 1 of 2 groups, not renormalised, 4 heads, no RoPE scaling, eps 1e-2",
         small(28, 4, 4, intermediate_size=20, moe_intermediate_size=8, n_routed_experts=6, num_experts_per_tok=2,
               n_shared_experts=1, first_k_dense_replace=0, n_group=2, topk_group=1, norm_topk_prob=False,
               routed_scaling_factor=1.5, rms_norm_eps=1e-2, **mla(4, 6, 10, 8, 14, 12), **rope())),
    # --- GLM-4.7-Flash
    Case("glm4-lite-hub-bf16", "glm4_moe_lite", "hub", "bf16",
         "v_head_dim 20 over nope 10, top 2 of 6 times 1.8, theta 1e6, layer 2 to ignore",
         small(32, 3, 3, intermediate_size=36, moe_intermediate_size=10, n_routed_experts=6, num_experts_per_tok=2,
               n_shared_experts=1, **mla(3, 10, 6, 20, 14, 18), **rope(theta=1e6)), stray=mtp_layer(2, 32, 64),
         extra={"eos_token_id": [2, 3, 4]}),
    Case("glm4-lite-shards-v5", "glm4_moe_lite", "v5", "f32",
         "mlp_layer_types dense, dense, sparse, 5 heads, top 3 of 5, eps 1e-2, sharded",
         small(30, 5, 5, layers=3, intermediate_size=24, moe_intermediate_size=6, n_routed_experts=5,
               num_experts_per_tok=3, n_shared_experts=2, rms_norm_eps=1e-2,
               mlp_layer_types=["dense", "dense", "sparse"], **mla(5, 6, 4, 8, 10, 14), **rope(theta=500.0)),
         shard="40KB"),
    # --- Qwen3-Next: Gated DeltaNet with q, k, v, z by key head, gated attention, norms of 1 + w
    Case("qwen3-next-hub-bf16", "qwen3_next", "hub", "bf16",
         "full_attention_interval 2, 2 key and 4 value heads, partial_rotary_factor 0.25, top 2 of 5, mtp.* to ignore",
         small(36, 3, 1, head_dim=16, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=10,
               intermediate_size=28,
               shared_expert_intermediate_size=14, **delta(2, 4, 6, 10), **mixers("lf"),
               **rope(theta=1e7, partial_rotary_factor=0.25)),
         extra={"full_attention_interval": 2, "attn_output_gate": True},
         stray={"mtp.fc.weight": [36, 72], "mtp.norm.weight": [36], "mtp.pre_fc_norm_embedding.weight": [36],
                "mtp.layers.0.input_layernorm.weight": [36], "mtp.layers.0.mlp.gate.weight": [5, 36]}),
    Case("qwen3-next-fused-f32", "qwen3_next", "fused", "f32",
         "full, linear, 1 key and 3 value heads, rotary 0.5, not renormalised, mlp_only_layers [0], eps 1e-2",
         small(28, 2, 1, head_dim=12, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=10,
               intermediate_size=20,
               shared_expert_intermediate_size=12, norm_topk_prob=False, mlp_only_layers=[0], rms_norm_eps=1e-2,
               **delta(1, 3, 10, 8), **mixers("fl"), **rope(theta=10000.0, partial_rotary_factor=0.5))),
    Case("qwen3-next-long-bf16", "qwen3_next", "hub", "bf16",
         "160 tokens, 2 key and 6 value heads, one linear and one full layer",
         small(20, 2, 1, vocab=48, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=6,
               intermediate_size=16, shared_expert_intermediate_size=6, **delta(2, 6, 6, 4), **mixers("lf"),
               **rope(theta=1e7, partial_rotary_factor=0.5)) | {"max_position_embeddings": 256},
         extra={"full_attention_interval": 2}, n_tokens=160),
    # --- Qwen3.5: separate qkv, z, b and a
    Case("qwen3_5-moe-wrapped-hub", "qwen3_5_moe_text", "hub", "bf16",
         "multimodal, fused experts, rope_parameters with mrope keys, model.visual.* and mtp.* to ignore",
         small(36, 3, 1, layers=3, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=10,
               shared_expert_intermediate_size=12, **delta(2, 4, 8, 6), **mixers("llf"),
               **rope(theta=1e7, partial_rotary_factor=0.5, mrope_section=[2, 1, 1], mrope_interleaved=True)),
         extra={"full_attention_interval": 3, "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False,
                "bos_token_id": None}, wrap=QWEN35, prefix="model.language_model.", rope_new=True, split_experts=False,
         keep_f32=("A_log", "linear_attn.norm"),
         stray={"model.visual.pos_embed.weight": [16, 16], "model.visual.merger.norm.weight": [16],
                "mtp.fc.weight": [36, 72], "mtp.norm.weight": [36], "mtp.layers.0.mlp.experts.down_proj": [4, 36, 10]}),
    Case("qwen3_5-moe-v5-f32", "qwen3_5_moe_text", "v5", "f32",
         "text only, an expert a tensor (as transformers saves), 1 key and 3 value heads, tied, eps 1e-2",
         small(28, 4, 2, head_dim=16, num_experts=5, num_experts_per_tok=3, moe_intermediate_size=8,
               shared_expert_intermediate_size=10, tie_word_embeddings=True, rms_norm_eps=1e-2, **delta(1, 3, 6, 10),
               **mixers("lf"), **rope(theta=10000.0, partial_rotary_factor=0.25))),
    Case("qwen3_5-hub-bf16", "qwen3_5_text", "hub", "bf16",
         "dense, text only, 3 key and 3 value heads, rotary 0.25",
         small(36, 4, 2, head_dim=16, intermediate_size=44, **delta(3, 3, 6, 8), **mixers("lf"),
               **rope(theta=1e7, partial_rotary_factor=0.25)),
         extra={"full_attention_interval": 2}, rope_new=True, keep_f32=("A_log", "linear_attn.norm")),
    # --- LFM2: short convolutions and attention
    Case("lfm2-moe-hub-bf16", "lfm2_moe", "hub", "bf16",
         "as LFM2-8B: 1 dense layer, top 2 of 6 by sigmoid plus bias, renormalised, conv_L_cache 3, tie_embedding",
         small(36, 3, 1, layers=3, intermediate_size=44, moe_intermediate_size=10, num_experts=6, num_experts_per_tok=2,
               num_dense_layers=1, **mixers("cfc"), **rope(theta=1e6)),
         drop=("tie_word_embeddings", "rope_scaling"), extra={"tie_embedding": True}),
    Case("lfm2_5-moe-hub-bf16", "lfm2_moe", "hub", "bf16",
         "as LFM2.5: rope_parameters, theta 5e6, 2 dense layers, scale 1.5, not renormalised",
         small(28, 2, 1, layers=3, intermediate_size=28, moe_intermediate_size=8, num_experts=5, num_experts_per_tok=3,
               num_dense_layers=2, routed_scaling_factor=1.5, norm_topk_prob=False, **mixers("ccf"), **rope(theta=5e6)),
         rope_new=True),
    Case("lfm2-moe-fused-f32", "lfm2_moe", "fused", "f32",
         "fused experts, no expert bias, conv_L_cache 4, every layer MoE, untied, 5 heads over 1, eps 1e-2",
         small(30, 5, 1, intermediate_size=20, moe_intermediate_size=8, num_experts=5, num_experts_per_tok=2,
               num_dense_layers=0, use_expert_bias=False, conv_L_cache=4, tie_word_embeddings=False,
               norm_eps=1e-2, **mixers("fc"), **rope())),
    Case("lfm2-hub-bf16", "lfm2", "hub", "bf16",
         "dense, as LFM2-1.2B: block_ff_dim 70 adjusted to 48, full_attn_idxs [1], 4 heads over 2",
         small(40, 4, 2, layers=3, intermediate_size=70, block_multiple_of=16, block_auto_adjust_ff_dim=True,
               **mixers("cfc"), **rope(theta=1e6)),
         drop=("intermediate_size", "tie_word_embeddings", "rope_scaling"),
         extra={"block_ff_dim": 70, "full_attn_idxs": [1], "tie_embedding": True, "block_dim": 40, "conv_dim": 40,
                "conv_dim_out": 40, "num_heads": 4, "block_norm_eps": 1e-05, "block_use_swiglu": True}),
    Case("lfm2-v5-f32", "lfm2", "v5", "f32",
         "dense, no width adjustment, conv_L_cache 2, layer_types full, conv, 3 heads over 3, eps 1e-2",
         small(36, 3, 3, intermediate_size=34, block_auto_adjust_ff_dim=False, conv_L_cache=2, norm_eps=1e-2,
               **mixers("fc"), **rope(theta=500.0))),
    # --- later cases: a case's number is its seed
    Case("qwen3_5-v5-f32", "qwen3_5_text", "v5", "f32",
         "dense, 2 key and 6 value heads, conv kernel 3, 3 heads of 12 over 1, rotary 0.5, tied, eps 1e-2",
         small(28, 3, 1, layers=3, head_dim=12, intermediate_size=34, tie_word_embeddings=True, rms_norm_eps=1e-2,
               **delta(2, 6, 6, 10) | {"linear_conv_kernel_dim": 3}, **mixers("lfl"),
               **rope(theta=10000.0, partial_rotary_factor=0.5))),
]
