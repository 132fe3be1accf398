"""Random checkpoints of every family, of sizes that llama.cpp's kernels and block formats accept.

Matrices are 256 wide and the tokenizer is the embedded model's. Embeddings have deviation 1 and what layers add is
small, so that the token decides the route: with routing near ties everywhere, a program's own rounding would choose
other experts, and nothing could be said about formats. Computing a layer wrongly still costs more than ten times the
bound.
"""
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "weights/demo"
sys.path.insert(0, str(ROOT / "tools/reference"))
import make_tiny_models as tiny                                                                 # noqa: E402
from tiny_cases import Case, delta, local_rope, mixers, mla, rope                               # noqa: E402

EXPERTS = dict(num_experts=8, num_experts_per_tok=2)
ROUTED = dict(n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=256)
SHARED = dict(moe_intermediate_size=256, shared_expert_intermediate_size=512)
HYBRID = dict(num_hidden_layers=4, **mixers("lllf"), **delta(2, 4, 64, 64),
              **rope(theta=1e7, partial_rotary_factor=0.25))
GEMMA4 = dict(num_hidden_layers=6, **mixers("sssssf"), head_dim=64, global_head_dim=128, sliding_window=128,
              hidden_size_per_layer_input=0, vocab_size_per_layer_input=4096, final_logit_softcapping=30.0,
              **local_rope(rope("proportional", 1e6, partial_rotary_factor=0.25)))
GPT_OSS = dict(num_local_experts=8, num_experts_per_tok=2, intermediate_size=256, head_dim=64, sliding_window=128,
               **mixers("sfs"))
GPT_OSS_YARN = dict(factor=32.0, original_max_position_embeddings=4096, beta_fast=32.0, beta_slow=1.0)
DEEPSEEK_YARN = dict(factor=40.0, original_max_position_embeddings=128, beta_fast=32, beta_slow=1)
# llama.cpp takes models with q_proj, as DeepSeek-V2-Lite and Moonlight have it, by their number of layers.
DIRECT_Q = dict(num_hidden_layers=27, n_shared_experts=2, first_k_dense_replace=1, n_routed_experts=4)

# name: (model_type of the text model, config)
FAMILIES = {
    "mixtral": ("mixtral", dict(num_local_experts=8, num_experts_per_tok=2, sliding_window=None)),
    "olmoe": ("olmoe", dict(EXPERTS, num_key_value_heads=4)),
    "qwen2_moe": ("qwen2_moe", dict(EXPERTS, **SHARED, num_key_value_heads=4)),
    "llama": ("llama", {}),
    "mistral": ("mistral", dict(sliding_window=None)),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", dict(head_dim=128)),
    "gpt_oss": ("gpt_oss", dict(GPT_OSS, **rope("yarn", 150000.0, **GPT_OSS_YARN, truncate=True))),
    "gpt_oss_released": ("gpt_oss", dict(GPT_OSS, **rope("yarn", 150000.0, **GPT_OSS_YARN, truncate=False))),
    "deepseek_v2_lite": ("deepseek_v2", dict(
        ROUTED, **mla(4, 64, 32, 64, 256), **rope("yarn", **DEEPSEEK_YARN, mscale=0.707, mscale_all_dim=0.707),
        topk_method="greedy", n_group=1, topk_group=1, **DIRECT_Q)),
    "deepseek_v2_groups": ("deepseek_v2", dict(
        ROUTED, **mla(4, 128, 64, 128, 256, 256), **rope("yarn", **DEEPSEEK_YARN, mscale=0.707, mscale_all_dim=0.707),
        n_shared_experts=2, first_k_dense_replace=1, topk_method="group_limited_greedy", n_group=4, topk_group=2,
        routed_scaling_factor=4.0)),
    "deepseek_v3": ("deepseek_v3", dict(
        ROUTED, **mla(4, 128, 64, 128, 256, 256), **rope("yarn", **DEEPSEEK_YARN, mscale=1.0, mscale_all_dim=1.0),
        n_shared_experts=1, first_k_dense_replace=1, n_group=4, topk_group=2, num_mtp_layers=0)),
    "moonlight": ("deepseek_v3", dict(
        ROUTED, **mla(4, 64, 32, 64, 256), **rope(theta=50000.0), n_group=1, topk_group=1, num_mtp_layers=0,
        routed_scaling_factor=2.446, rms_norm_eps=1e-5, **DIRECT_Q)),
    "glm4_moe_lite": ("glm4_moe_lite", dict(
        ROUTED, **mla(4, 192, 64, 256, 256, 256), n_shared_experts=1, **rope(theta=1e6))),
    "gemma": ("gemma", dict(head_dim=64, num_key_value_heads=1, tie_word_embeddings=True)),
    "gemma2": ("gemma2", dict(head_dim=64, sliding_window=128, query_pre_attn_scalar=64, tie_word_embeddings=True,
                              **mixers("sfs"))),
    "gemma3": ("gemma3_text", dict(
        num_hidden_layers=7, head_dim=64, sliding_window=128, query_pre_attn_scalar=64, **mixers("sssssfs"),
        **local_rope(rope("linear", 1e6, factor=8.0)))),
    "gemma4": ("gemma4_text", dict(
        GEMMA4, num_experts=8, top_k_experts=2, moe_intermediate_size=256, enable_moe_block=True,
        attention_k_eq_v=True, num_global_key_value_heads=1)),
    "gemma4_dense": ("gemma4_text", GEMMA4),
    "qwen3_next": ("qwen3_next", dict(EXPERTS, **SHARED, **HYBRID, head_dim=64)),
    "qwen3_5_moe": ("qwen3_5_moe_text", dict(EXPERTS, **SHARED, **HYBRID, head_dim=64)),
    "qwen3_5": ("qwen3_5_text", dict(HYBRID, head_dim=64)),
    "lfm2_moe": ("lfm2_moe", dict(EXPERTS, num_hidden_layers=5, **mixers("ccfcf"), moe_intermediate_size=256,
                                  num_dense_layers=2)),
    "lfm2": ("lfm2", dict(num_hidden_layers=5, **mixers("ccfcf"), block_auto_adjust_ff_dim=False)),
}
# Models that llama.cpp computes otherwise than transformers, and why.
PEER_DIFFERS = {
    "gpt_oss_released": "rounds the bounds of YaRN's ramp to whole dimensions; gpt-oss does not (truncate: false)",
    "deepseek_v2_groups": "ranks groups of experts by their two best scores added; DeepSeek-V2 by the best one",
}
ONE_PLUS_W = ("gemma", "gemma2", "gemma3_text")
POST_NORMS = re.compile(r"layers\.\d+\.post_(attention|feedforward)_layernorm\.weight")


def quieten(model, family):
    """Makes what layers add small beside the embeddings, and logits moderate."""
    scale = 0.03 if model.config.num_hidden_layers > 10 else 0.2 if model.config.tie_word_embeddings else 0.1
    sandwich = family in ("gemma2", "gemma3_text", "gemma4_text")
    with torch.no_grad():
        for name, p in model.named_parameters():
            if sandwich and POST_NORMS.search(name):
                one = 1 if family in ONE_PLUS_W else 0
                p.copy_((p + one) * scale - one)
            elif re.search("o_proj|out_proj|down_proj|feed_forward.w2", name):
                p *= 1 if sandwich else scale
            elif "lm_head" in name:
                p *= 0.5
            elif "embed_tokens" in name and model.config.tie_word_embeddings:
                p *= 0.25                               # or a token would always be followed by itself


def random_model(folder, name):
    """Writes the family's checkpoint to `folder`, which is returned."""
    family, extra = FAMILIES[name]
    shape = dict(vocab_size=4096, hidden_size=256, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                 intermediate_size=512, max_position_embeddings=1024, bos_token_id=None, eos_token_id=4093,
                 tie_word_embeddings=False, **rope(theta=1e6))
    case = Case(name, family, "v5", "f32", "", config={})
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**shape, **extra}), dtype=torch.float32)
    rng = np.random.default_rng(7)
    tiny.fill(model, case, rng)
    quieten(model, family)
    tiny.write_checkpoint(folder, case, model, rng)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / file, folder)
    return folder
