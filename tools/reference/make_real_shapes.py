#!/usr/bin/env python3
"""Write what the files of released models look like: their configuration and every tensor's name, type and shape.

usage: make_real_shapes.py --out FOLDER [--only NAME ...]

Each model becomes FOLDER/<name>.json: {"config": the keys of its config.json that matter, "tensors": [[name, type,
shape], ...], "expect": {...}}. Names stand for many: "model.layers.{0-2,5}.mlp.experts.{0-255}.up_proj.weight". Shapes
come from Hugging Face transformers, which builds the model of this configuration without memory (device "meta"); only
the way in which hubs store experts, FP8 and MXFP4 is written down here. The numbers to expect follow from the shapes:

    parameters        elements of all tensors that the text model has
    active            of them, what one token reads: chosen experts, no embedding rows but for a tied head
    file_bytes        of those tensors, scales included
    cache_per_token   bytes of keys and values, or of latents, in float32
    state_bytes       of recurrent layers, in float32
"""
import argparse
import copy
import json
import os
import re
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoConfig, AutoModelForCausalLM

BYTES = {"F32": 4, "BF16": 2, "F8_E4M3": 1, "U8": 1}


def yarn(factor, original, **keys):
    return {"type": "yarn", "factor": factor, "original_max_position_embeddings": original, **keys}


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
GPT_OSS = dict(
    architectures=["GptOssForCausalLM"], model_type="gpt_oss", hidden_size=2880, intermediate_size=2880, head_dim=64,
    num_attention_heads=64, num_key_value_heads=8, num_experts_per_tok=4, experts_per_token=4, vocab_size=201088,
    sliding_window=128, attention_bias=True, swiglu_limit=7.0, rms_norm_eps=1e-5, rope_theta=150000,
    max_position_embeddings=131072, tie_word_embeddings=False, hidden_act="silu",
    rope_scaling={"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                  "original_max_position_embeddings": 4096},
    quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn",
                                                                             "model.layers.*.mlp.router", "lm_head"]})
DEEPSEEK = dict(qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, kv_lora_rank=512, moe_layer_freq=1,
                hidden_act="silu", attention_bias=False, tie_word_embeddings=False, ep_size=1)
V2 = dict(DEEPSEEK, architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", scoring_func="softmax",
          norm_topk_prob=False, vocab_size=102400, n_shared_experts=2, num_experts_per_tok=6, first_k_dense_replace=1,
          rms_norm_eps=1e-6, rope_theta=10000, max_position_embeddings=163840)
V3 = dict(DEEPSEEK, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", scoring_func="sigmoid",
          topk_method="noaux_tc", norm_topk_prob=True)
GEMMA3 = dict(sliding_window=1024, rms_norm_eps=1e-6, head_dim=256, query_pre_attn_scalar=256, rope_theta=1000000,
              rope_local_base_freq=10000, hidden_activation="gelu_pytorch_tanh", attention_bias=False,
              max_position_embeddings=131072, sliding_window_pattern=6, vocab_size=262208,
              rope_scaling={"rope_type": "linear", "factor": 8.0}, model_type="gemma3_text")


def gemma3_wrapper(**text):
    return dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", eos_token_id=[1, 106],
                text_config=dict(GEMMA3, **text), vision_config={"model_type": "siglip_vision_model"})


def gemma2(hidden, layers, ff, heads, kv, dim, scalar):
    return dict(architectures=["Gemma2ForCausalLM"], model_type="gemma2", hidden_size=hidden, num_hidden_layers=layers,
                intermediate_size=ff, num_attention_heads=heads, num_key_value_heads=kv, head_dim=dim, vocab_size=256000,
                query_pre_attn_scalar=scalar, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
                sliding_window=4096, hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh",
                rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=8192, attention_bias=False)


def gemma(hidden, layers, ff, heads, kv):
    return dict(architectures=["GemmaForCausalLM"], model_type="gemma", hidden_size=hidden, num_hidden_layers=layers,
                intermediate_size=ff, num_attention_heads=heads, num_key_value_heads=kv, head_dim=256, vocab_size=256000,
                hidden_act="gelu", hidden_activation=None, rms_norm_eps=1e-6, rope_theta=10000.0, rope_scaling=None,
                max_position_embeddings=8192, attention_bias=False)


QWEN_LAYERS = ["linear_attention", "linear_attention", "linear_attention", "full_attention"]
QWEN35 = dict(
    model_type="qwen3_5_moe_text", hidden_size=2048, num_hidden_layers=40, num_attention_heads=16, num_key_value_heads=2,
    head_dim=256, num_experts=256, num_experts_per_tok=8, moe_intermediate_size=512, shared_expert_intermediate_size=512,
    linear_num_key_heads=16, linear_num_value_heads=32, linear_key_head_dim=128, linear_value_head_dim=128,
    linear_conv_kernel_dim=4, full_attention_interval=4, layer_types=QWEN_LAYERS * 10, vocab_size=248320,
    max_position_embeddings=262144, rms_norm_eps=1e-6, hidden_act="silu", attn_output_gate=True, attention_bias=False,
    mtp_num_hidden_layers=1, eos_token_id=248044, tie_word_embeddings=False,
    rope_parameters={"rope_type": "default", "rope_theta": 10000000, "partial_rotary_factor": 0.25,
                     "mrope_section": [11, 11, 10], "mrope_interleaved": True})
LFM2 = dict(
    architectures=["Lfm2MoeForCausalLM"], model_type="lfm2_moe", hidden_size=2048, num_attention_heads=32,
    num_key_value_heads=8, conv_L_cache=3, conv_bias=False, num_dense_layers=2, num_experts_per_tok=4,
    use_expert_bias=True, norm_topk_prob=True, routed_scaling_factor=1.0, norm_eps=1e-5, max_position_embeddings=128000,
    tie_embedding=True)


def lfm2_layers(n, attention):
    return ["full_attention" if i in attention else "conv" for i in range(n)]


MODELS = {
    "gpt-oss-20b": dict(GPT_OSS, num_hidden_layers=24, num_local_experts=32,
                        layer_types=["sliding_attention", "full_attention"] * 12),
    "gpt-oss-120b": dict(GPT_OSS, num_hidden_layers=36, num_local_experts=128,
                         layer_types=["sliding_attention", "full_attention"] * 18),
    "deepseek-v2-lite": dict(
        V2, hidden_size=2048, num_hidden_layers=27, num_attention_heads=16, num_key_value_heads=16, q_lora_rank=None,
        n_routed_experts=64, moe_intermediate_size=1408, intermediate_size=10944, topk_method="greedy", n_group=1,
        topk_group=1, routed_scaling_factor=1.0,
        rope_scaling=yarn(40, 4096, mscale=0.707, mscale_all_dim=0.707, beta_fast=32, beta_slow=1)),
    "deepseek-v2": dict(
        V2, hidden_size=5120, num_hidden_layers=60, num_attention_heads=128, num_key_value_heads=128, q_lora_rank=1536,
        n_routed_experts=160, moe_intermediate_size=1536, intermediate_size=12288, topk_method="group_limited_greedy",
        n_group=8, topk_group=3, routed_scaling_factor=16.0,
        rope_scaling=yarn(40, 4096, mscale=0.707, mscale_all_dim=0.707, beta_fast=32, beta_slow=1)),
    "deepseek-v3": dict(  # and R1
        V3, hidden_size=7168, num_hidden_layers=61, num_attention_heads=128, num_key_value_heads=128, q_lora_rank=1536,
        n_routed_experts=256, num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=2048,
        intermediate_size=18432, first_k_dense_replace=3, n_group=8, topk_group=4, routed_scaling_factor=2.5,
        vocab_size=129280, rms_norm_eps=1e-6, rope_theta=10000, max_position_embeddings=163840,
        num_nextn_predict_layers=1, quantization_config=FP8,
        rope_scaling=yarn(40, 4096, mscale=1.0, mscale_all_dim=1.0, beta_fast=32, beta_slow=1)),
    "moonlight-16b-a3b": dict(
        V3, hidden_size=2048, num_hidden_layers=27, num_attention_heads=16, num_key_value_heads=16, q_lora_rank=None,
        n_routed_experts=64, num_experts_per_tok=6, n_shared_experts=2, moe_intermediate_size=1408,
        intermediate_size=11264, first_k_dense_replace=1, n_group=1, topk_group=1, routed_scaling_factor=2.446,
        vocab_size=163840, rms_norm_eps=1e-5, rope_theta=50000, max_position_embeddings=8192),
    "kimi-k2": dict(
        V3, model_type="kimi_k2", hidden_size=7168, num_hidden_layers=61, num_attention_heads=64, num_key_value_heads=64,
        q_lora_rank=1536, n_routed_experts=384, num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=2048,
        intermediate_size=18432, first_k_dense_replace=1, n_group=1, topk_group=1, routed_scaling_factor=2.827,
        vocab_size=163840, rms_norm_eps=1e-6, rope_theta=50000, max_position_embeddings=131072,
        num_nextn_predict_layers=0, quantization_config=FP8,
        rope_scaling=yarn(32, 4096, mscale=1.0, mscale_all_dim=1.0, beta_fast=1, beta_slow=1)),
    "glm-4.7-flash": dict(
        architectures=["Glm4MoeLiteForCausalLM"], model_type="glm4_moe_lite", hidden_size=2048, num_hidden_layers=47,
        num_attention_heads=20, num_key_value_heads=20, q_lora_rank=768, kv_lora_rank=512, qk_nope_head_dim=192,
        qk_rope_head_dim=64, v_head_dim=256, n_routed_experts=64, num_experts_per_tok=4, n_shared_experts=1,
        moe_intermediate_size=1536, intermediate_size=10240, first_k_dense_replace=1, n_group=1, topk_group=1,
        topk_method="noaux_tc", norm_topk_prob=True, routed_scaling_factor=1.8, vocab_size=154880, rms_norm_eps=1e-5,
        rope_theta=1000000, rope_scaling=None, partial_rotary_factor=1.0, max_position_embeddings=202752,
        num_nextn_predict_layers=1, hidden_act="silu", attention_bias=False, tie_word_embeddings=False,
        eos_token_id=[154820, 154827, 154829]),
    "gemma-2b": gemma(2048, 18, 16384, 8, 1),
    "gemma-7b": gemma(3072, 28, 24576, 16, 16),
    "gemma-2-2b": gemma2(2304, 26, 9216, 8, 4, 256, 256),
    "gemma-2-9b": gemma2(3584, 42, 14336, 16, 8, 256, 256),
    "gemma-2-27b": gemma2(4608, 46, 36864, 32, 16, 128, 144),
    "gemma-3-270m": dict(GEMMA3, architectures=["Gemma3ForCausalLM"], hidden_size=640, num_hidden_layers=18,
                         intermediate_size=2048, num_attention_heads=4, num_key_value_heads=1, sliding_window=512,
                         vocab_size=262144, max_position_embeddings=32768, rope_scaling=None,
                         sliding_window_pattern=None, eos_token_id=1,
                         layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 3),
    "gemma-3-1b": dict(GEMMA3, architectures=["Gemma3ForCausalLM"], hidden_size=1152, num_hidden_layers=26,
                       intermediate_size=6912, num_attention_heads=4, num_key_value_heads=1, sliding_window=512,
                       vocab_size=262144, max_position_embeddings=32768, rope_scaling=None, eos_token_id=[1, 106]),
    "gemma-3-4b": gemma3_wrapper(hidden_size=2560, num_hidden_layers=34, intermediate_size=10240, num_attention_heads=8,
                                 num_key_value_heads=4),
    "gemma-3-12b": gemma3_wrapper(hidden_size=3840, num_hidden_layers=48, intermediate_size=15360,
                                  num_attention_heads=16, num_key_value_heads=8),
    "gemma-3-27b": gemma3_wrapper(hidden_size=5376, num_hidden_layers=62, intermediate_size=21504,
                                  num_attention_heads=32, num_key_value_heads=16, head_dim=128,
                                  query_pre_attn_scalar=168),
    "gemma-4-26b-a4b": dict(
        architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", eos_token_id=[1, 106],
        vision_config={"model_type": "gemma4_vision"},
        text_config=dict(
            model_type="gemma4_text", hidden_size=2816, num_hidden_layers=30, intermediate_size=2112,
            num_attention_heads=16, num_key_value_heads=8, head_dim=256, global_head_dim=512,
            num_global_key_value_heads=2, attention_k_eq_v=True, enable_moe_block=True, num_experts=128, top_k_experts=8,
            moe_intermediate_size=704, sliding_window=1024, hidden_activation="gelu_pytorch_tanh",
            final_logit_softcapping=30.0, hidden_size_per_layer_input=0, num_kv_shared_layers=0, use_double_wide_mlp=False,
            vocab_size=262144, vocab_size_per_layer_input=262144, max_position_embeddings=262144, rms_norm_eps=1e-6,
            attention_bias=False, tie_word_embeddings=True,
            layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 5,
            rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                             "full_attention": {"rope_type": "proportional", "rope_theta": 1000000.0,
                                                "partial_rotary_factor": 0.25}})),
    "qwen3-next-80b-a3b": dict(
        architectures=["Qwen3NextForCausalLM"], model_type="qwen3_next", hidden_size=2048, num_hidden_layers=48,
        intermediate_size=5120, num_attention_heads=16, num_key_value_heads=2, head_dim=256, num_experts=512,
        num_experts_per_tok=10, moe_intermediate_size=512, shared_expert_intermediate_size=512, norm_topk_prob=True,
        decoder_sparse_step=1, mlp_only_layers=[], linear_num_key_heads=16, linear_num_value_heads=32,
        linear_key_head_dim=128, linear_value_head_dim=128, linear_conv_kernel_dim=4, full_attention_interval=4,
        partial_rotary_factor=0.25, rope_theta=10000000, rope_scaling=None, vocab_size=151936, hidden_act="silu",
        max_position_embeddings=262144, rms_norm_eps=1e-6, attention_bias=False, tie_word_embeddings=False),
    "qwen3.5-35b-a3b": dict(  # and 3.6
        architectures=["Qwen3_5MoeForConditionalGeneration"], model_type="qwen3_5_moe", text_config=QWEN35,
        vision_config={"model_type": "qwen3_5_moe_vision"}, tie_word_embeddings=False),
    "qwen3.5-27b": dict(
        architectures=["Qwen3_5ForConditionalGeneration"], model_type="qwen3_5", tie_word_embeddings=False,
        vision_config={"model_type": "qwen3_5_vision"},
        text_config=dict(
            {key: value for key, value in QWEN35.items() if "expert" not in key and key != "moe_intermediate_size"},
            model_type="qwen3_5_text", hidden_size=5120, num_hidden_layers=64, intermediate_size=17408,
            num_attention_heads=24, num_key_value_heads=4, linear_num_value_heads=48, layer_types=QWEN_LAYERS * 16)),
    "lfm2-8b-a1b": dict(LFM2, num_hidden_layers=24, num_experts=32, moe_intermediate_size=1792, intermediate_size=7168,
                        vocab_size=65536, rope_theta=1000000.0, layer_types=lfm2_layers(24, (2, 6, 10, 14, 18, 21))),
    "lfm2.5-8b-a1b": dict(LFM2, num_hidden_layers=24, num_experts=32, moe_intermediate_size=1792, intermediate_size=7168,
                          vocab_size=128000, rope_parameters={"rope_type": "default", "rope_theta": 5000000.0},
                          layer_types=lfm2_layers(24, (2, 6, 10, 14, 18, 21))),
    "lfm2-24b-a2b": dict(LFM2, num_hidden_layers=40, num_experts=64, moe_intermediate_size=1536, intermediate_size=11776,
                         vocab_size=65536, rope_theta=1000000.0,
                         layer_types=lfm2_layers(40, (2, 6, 10, 14, 18, 22, 26, 30, 34, 38))),
}


# ---------------------------------------------------------------- shapes

def text_config(config):
    return dict(config.get("text_config", config))


def build(config):
    """Names and shapes of the text model, as transformers has them, and its configuration object."""
    keys = copy.deepcopy(text_config(config))  # transformers writes into nested objects
    kind = keys.pop("model_type", None)
    kind = {"kimi_k2": "deepseek_v3"}.get(kind, kind)
    for key in ("architectures", "quantization_config"):
        keys.pop(key, None)
    cfg = AutoConfig.for_model(kind, **keys)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(cfg)
    tied = model.config.tie_word_embeddings
    tensors = {n: tuple(p.shape) for n, p in model.state_dict().items() if not (tied and n == "lm_head.weight")}
    return tensors, model, tied


def split_experts(name, shape, names):
    """transformers keeps the experts of a layer in two tensors, most hubs in three per expert."""
    base = name.rsplit(".", 1)[0]
    gate, up, down = names
    e, n, k = shape
    if name.endswith("gate_up_proj"):
        return [(f"{base}.{i}.{part}.weight", (n // 2, k)) for i in range(e) for part in (gate, up)]
    return [(f"{base}.{i}.{down}.weight", (n, k)) for i in range(e)]


def stored(config, tensors):
    """[(name, type, shape)] as hubs have them."""
    family = text_config(config)["model_type"]
    method = config.get("quantization_config", {}).get("quant_method")
    out = []
    for name, shape in tensors.items():
        fused = re.search(r"experts\.(gate_up_proj|down_proj)$", name)
        if fused and family == "gpt_oss":  # [E, in, out] here, [E, out, in / 32, 16] there
            e, k, n = shape
            out += [(name + "_blocks", "U8", (e, n, k // 32, 16)), (name + "_scales", "U8", (e, n, k // 32))]
        elif fused and family not in ("qwen3_5_moe_text", "gemma4_text"):
            names = ("w1", "w3", "w2") if family == "lfm2_moe" else ("gate_proj", "up_proj", "down_proj")
            out += [(n, "BF16", s) for n, s in split_experts(name, shape, names)]
        else:
            out.append((name, "F32" if name.endswith(("e_score_correction_bias", "expert_bias")) else "BF16", shape))
    if method == "fp8":
        plain = re.compile(r"embed_tokens|norm|lm_head|mlp\.gate\.|bias")
        scaled = []
        for name, dtype, shape in out:
            if plain.search(name):
                scaled.append((name, dtype, shape))
            else:
                tiles = tuple((n + 127) // 128 for n in shape)
                scaled += [(name, "F8_E4M3", shape), (name + "_scale_inv", "F32", tiles)]
        out = scaled
    if "text_config" in config:
        wrapper = "language_model." if config["model_type"] == "gemma3" else ""
        prefix = wrapper + "model." if wrapper else "model.language_model."
        out = [(re.sub(r"^model\.", prefix, n) if n.startswith("model.") else wrapper + n, d, s) for n, d, s in out]
    return out


def elements(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def ranges(numbers):
    out, numbers = [], sorted(set(numbers))
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return "{" + ",".join(str(a) if a == b else f"{a}-{b}" for a, b in out) + "}"


def compress(tensors):
    """Tensors whose names differ in one number only, and then in another, become one line."""
    rows = [(name, dtype, tuple(shape)) for name, dtype, shape in tensors]
    for which in (1, 0):  # the expert first, then the layer
        groups, order = {}, []
        for name, dtype, shape in rows:
            parts = re.split(r"(?<=\.)(\d+)(?=\.)", name)
            at = 1 if which == 0 else 3
            key = number = None
            if len(parts) > at:
                number, key = int(parts[at]), (tuple(parts[:at]), tuple(parts[at + 1:]), dtype, shape)
            else:
                key = (name, dtype, shape)
            if key not in groups:
                groups[key] = []
                order.append((key, parts, at))
            groups[key].append(number)
        rows = []
        for key, parts, at in order:
            name = "".join(parts) if len(parts) <= at else "".join(parts[:at]) + ranges(groups[key]) + "".join(parts[at + 1:])
            rows.append((name, key[-2], key[-1]))
    return [[name, dtype, list(shape)] for name, dtype, shape in rows]


# ---------------------------------------------------------------- what to expect

def active(tensors, model, tied):
    c = model.config
    experts = next((getattr(c, k) for k in ("n_routed_experts", "num_local_experts", "num_experts") if getattr(c, k, None)), 0)
    top_k = next((getattr(c, k) for k in ("num_experts_per_tok", "top_k_experts") if getattr(c, k, None)), 0)
    total = 0
    for name, shape in tensors.items():
        if re.search(r"\.experts\.", name) and not name.endswith("e_score_correction_bias"):
            total += elements(shape) // experts * top_k
        elif "embed_tokens" not in name or tied:
            total += elements(shape)
    return total


def memory(model):
    """Bytes per token and of states, from the modules."""
    per_token = state = 0
    for layer in model.model.layers:
        mixer = getattr(layer, "self_attn", None) or getattr(layer, "linear_attn", None) or layer.conv
        if hasattr(mixer, "kv_a_proj_with_mqa"):
            per_token += mixer.kv_a_proj_with_mqa.weight.shape[0]
        elif hasattr(mixer, "k_proj"):
            per_token += 2 * mixer.k_proj.weight.shape[0]
        else:
            taps = (mixer.conv1d if hasattr(mixer, "conv1d") else mixer.conv).weight
            state += taps.shape[0] * (taps.shape[-1] - 1)
            if hasattr(mixer, "A_log"):
                state += mixer.num_v_heads * mixer.head_k_dim * mixer.head_v_dim
    return 4 * per_token, 4 * state


def describe(name):
    config = MODELS[name]
    tensors, model, tied = build(config)
    files = stored(config, tensors)
    per_token, state = memory(model)
    return {
        "config": config,
        "expect": {
            "parameters": sum(map(elements, tensors.values())),
            "active": active(tensors, model, tied),
            "file_bytes": sum(elements(s) * BYTES[d] for _, d, s in files),
            "cache_per_token": per_token,
            "state_bytes": state,
        },
        "tensors": compress(files),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=sorted(MODELS))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        model = describe(name)
        lines = ",\n".join(json.dumps(t) for t in model["tensors"])
        text = ('{"config": ' + json.dumps(model["config"]) + ',\n"expect": ' + json.dumps(model["expect"]) +
                ',\n"tensors": [\n' + lines + "\n]}\n")
        (args.out / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name:20} {model['expect']}")


if __name__ == "__main__":
    main()
