#!/usr/bin/env python3
"""Make tiny random checkpoints of every supported family, with the values the forward pass must give.

usage: make_tiny_models.py --out FOLDER [--only NAME ...]

Each case is a folder FOLDER/<name>/ with config.json, generation_config.json, model.safetensors (or shards with an
index) as a user would download them, and expected.safetensors computed from that folder by Hugging Face
transformers in float32 (stored weights up-cast, eager attention, one pass over all tokens, no cache, one thread):

    tokens         I32 [n]                         logits   F32 [n, vocab]
    hidden         F32 [layers, n, hidden]         residual stream after each layer, before the final norm
    attention      F32 [layers, n, hidden]         output of self-attention, after o_proj
    ffn            F32 [layers, n, hidden]         output of the dense or mixture-of-experts block
    router_scores  F32 [moe_layers, n, experts]    softmax over all experts
    experts        I32 [moe_layers, n, top_k]      chosen experts, ascending
    expert_weights F32 [moe_layers, n, top_k]      factor applied to the output of each of them

The last three are absent from dense models. moe_layers counts only the layers that have a router.
The same versions on the same kind of processor give the same bytes.
"""
import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

N_TOKENS = 43        # odd, and longer than every sliding window and the shortest YaRN original length
MIN_GAP = 2e-4       # least distance of the k-th and the next router probability, so that routing is not a near-tie
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TORCH_VERSION = torch.__version__.split("+")[0]
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}


@dataclass
class Case:
    """One checkpoint. form: "hub" (config keys of published checkpoints), "v5" (as save_pretrained writes it)
    or "fused" (as v5, with the experts of a layer in two tensors)."""
    name: str
    family: str
    form: str
    dtype: str
    covers: str
    config: dict
    shard: str | None = None                    # max_shard_size
    drop: tuple = ()                            # hub: config keys left out
    extra: dict = field(default_factory=dict)   # hub: config keys added or replaced
    rope_key: str = "rope_type"                 # hub: older files say "type"
    stray: bool = False                         # store rotary_emb.inv_freq as old Llama checkpoints do
    generation: bool = True                     # keep generation_config.json


def rope(kind="default", theta=10000.0, **keys):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **keys}}


def shape(hidden, heads, kv, layers=2, vocab=80, **keys):
    return dict(hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv, num_hidden_layers=layers,
                vocab_size=vocab, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, **keys)


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
         shape(40, 5, 1, vocab=104, num_local_experts=6, num_experts_per_tok=2, intermediate_size=18, **rope(theta=5e5))),
    # --- OLMoE: q and k normed over the whole projection
    Case("olmoe-hub-bf16", "olmoe", "hub", "bf16",
         "hub spelling, top 3 of 7, weights not renormalised, no num_key_value_heads",
         shape(48, 4, 4, num_experts=7, num_experts_per_tok=3, intermediate_size=16, **rope()), drop=("num_key_value_heads",)),
    Case("olmoe-clip-f32", "olmoe", "v5", "f32", "clip_qkv 0.9 (after the norm), renormalised, 3 heads of 12, eps 1e-2",
         shape(36, 3, 3, num_experts=5, num_experts_per_tok=2, intermediate_size=16, clip_qkv=0.9, norm_topk_prob=True,
               rms_norm_eps=1e-2,
               **rope())),
    Case("olmoe-tied-gqa-f16", "olmoe", "hub", "f16", "5 heads over 1, all 6 experts, tied, no renormalisation",
         shape(40, 5, 1, num_experts=6, num_experts_per_tok=6, intermediate_size=16, tie_word_embeddings=True, **rope())),
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
               shared_expert_intermediate_size=16, use_sliding_window=True, sliding_window=9, max_window_layers=3, **rope())),
    Case("qwen2-moe-yarn-f16", "qwen2_moe", "hub", "f16",
         "YaRN spelt \"type\", head_dim 20, hidden 52, 3 heads, all 5 experts",
         shape(52, 3, 1, head_dim=20, num_experts=5, num_experts_per_tok=5, moe_intermediate_size=16, intermediate_size=32,
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
         shape(48, 4, 2, head_dim=24, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16, intermediate_size=40,
               norm_topk_prob=True, rms_norm_eps=1e-6, **rope(theta=1e7)),
         extra={"sliding_window": 8, "max_window_layers": 1, "eos_token_id": [2, 5]}),
    Case("qwen3-moe-dense-layer-f32", "qwen3_moe", "v5", "f32",
         "mlp_only_layers [1] of 3, not renormalised, no head_dim key (hidden/heads), eps 1e-2",
         shape(30, 5, 1, layers=3, num_experts=5, num_experts_per_tok=3, moe_intermediate_size=12, intermediate_size=24,
               mlp_only_layers=[1], rms_norm_eps=1e-2, **rope())),
    Case("qwen3-moe-window-hub", "qwen3_moe", "hub", "bf16",
         "use_sliding_window 9: every layer slides; decoder_sparse_step 2",
         shape(32, 3, 1, layers=4, head_dim=20, num_experts=7, num_experts_per_tok=2, moe_intermediate_size=16,
               intermediate_size=32, norm_topk_prob=True, decoder_sparse_step=2, use_sliding_window=True, sliding_window=9,
               **rope()), generation=False),
    Case("qwen3-moe-fused-bf16", "qwen3_moe", "fused", "bf16",
         "fused experts, attention bias on q, k, v, o, top 1 renormalised (weight 1)",
         shape(48, 6, 2, head_dim=12, num_experts=5, num_experts_per_tok=1, moe_intermediate_size=18, intermediate_size=32,
               norm_topk_prob=True, attention_bias=True, **rope(theta=1e6))),
    Case("qwen3-moe-yarn-f16", "qwen3_moe", "hub", "f16",
         "YaRN with attention_factor and truncate false, tied, all 6 experts",
         shape(48, 4, 1, head_dim=16, num_experts=6, num_experts_per_tok=6, moe_intermediate_size=16, intermediate_size=32,
               norm_topk_prob=False, tie_word_embeddings=True,
               **rope("yarn", factor=4.0, original_max_position_embeddings=32, attention_factor=1.25, truncate=False))),
    # --- dense Llama
    Case("llama2-hub-f16", "llama", "hub", "f16",
         "Llama 2 style: no num_key_value_heads, stored rotary_emb.inv_freq to ignore",
         shape(48, 4, 4, intermediate_size=72, rms_norm_eps=1e-5, **rope()), drop=("num_key_value_heads",), stray=True,
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
         shape(40, 4, 2, layers=3, intermediate_size=48, use_sliding_window=True, sliding_window=8, max_window_layers=1, **rope())),
    Case("qwen2-yarn-f32", "qwen2", "v5", "f32",
         "YaRN in the v5 spelling, original length 32 shorter than the prompt, eps 1e-2",
         shape(36, 3, 1, intermediate_size=44, rms_norm_eps=1e-2,
               **rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=32))),
    # --- Qwen3
    Case("qwen3-hub-bf16", "qwen3", "hub", "bf16", "hub spelling, tied, head_dim 24 with 4 heads on hidden 56",
         shape(56, 4, 2, head_dim=24, intermediate_size=64, tie_word_embeddings=True, rms_norm_eps=1e-6, **rope(theta=1e6))),
    Case("qwen3-layers-v5", "qwen3", "v5", "f16", "explicit layer_types full, sliding, full with window 7, eps 1e-2",
         shape(40, 5, 1, layers=3, head_dim=16, intermediate_size=48, rms_norm_eps=1e-2, use_sliding_window=True, sliding_window=7,
               layer_types=["full_attention", "sliding_attention", "full_attention"], **rope())),
    Case("qwen3-bias-yarn-f32", "qwen3", "v5", "f32",
         "attention bias, YaRN with beta_fast 4 and truncate false, head_dim 20",
         shape(40, 3, 1, head_dim=20, intermediate_size=48, attention_bias=True,
               **rope("yarn", 1000.0, factor=8.0, original_max_position_embeddings=40, beta_fast=4.0, truncate=False))),
]


# ---------------------------------------------------------------- weights

def fill(model, rng):
    """Random weights that spread logits, attention scores and router scores; norms around 1, biases not zero."""
    tied = model.config.tie_word_embeddings
    for name, p in model.named_parameters():
        fan_in = p.shape[-1]
        if "q_norm" in name or "k_norm" in name:
            x = rng.uniform(0.8, 2.2, p.shape)
        elif "norm" in name:
            x = rng.uniform(0.5, 1.5, p.shape)
        elif name.endswith("bias"):
            x = rng.normal(0, 0.3, p.shape)
        elif "embed_tokens" in name:
            x = rng.normal(0, 2 / fan_in ** 0.5 if tied else 1.0, p.shape)
        else:
            last = name.removesuffix(".weight").rsplit(".", 1)[-1]
            gain = {"q_proj": 1.6, "k_proj": 1.6, "gate": 1.5, "shared_expert_gate": 1.5, "lm_head": 2.0}.get(last, 1.2)
            x = rng.normal(0, gain / fan_in ** 0.5, p.shape)
        with torch.no_grad():
            p.copy_(torch.from_numpy(x.astype(np.float32)))


# ---------------------------------------------------------------- files

def write_json(path, obj):
    path.write_text(json.dumps(obj, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def hub_config(cfg, case):
    """The config keys of published checkpoints, from those that transformers 5 writes."""
    c = {k: v for k, v in cfg.items() if k not in ("rope_parameters", "dtype", "transformers_version", "pad_token_id")}
    scaling = dict(cfg["rope_parameters"])
    c["rope_theta"] = scaling.pop("rope_theta")
    kind = scaling.pop("rope_type")
    c["rope_scaling"] = None if kind == "default" else {case.rope_key: kind, **scaling}
    c["torch_dtype"] = cfg["dtype"]
    if case.family == "qwen3_moe":
        c["num_experts"] = c.pop("num_local_experts")
    c.pop("layer_types", None)
    if c.get("head_dim") in (None, c["hidden_size"] // c["num_attention_heads"]):
        c.pop("head_dim", None)
    for key in case.drop:
        del c[key]
    return {**c, **case.extra}


def add_stray(folder, model):
    """Store each layer's rotary frequencies [head_dim / 2], as checkpoints of 2023 did; readers must ignore them."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for i in range(model.config.num_hidden_layers):
        tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = torch.ones_like(model.model.rotary_emb.inv_freq)
    save_file(tensors, path, {"format": "pt"})


def write_checkpoint(folder, case, model):
    if folder.exists():
        shutil.rmtree(folder)
    keys = {"max_shard_size": case.shard} if case.shard else {}
    model.save_pretrained(folder, save_original_format=case.form != "fused", **keys)
    if case.form == "hub":
        path = folder / "config.json"
        config = hub_config(json.loads(path.read_text(encoding="utf-8")), case)
        write_json(path, config)
        write_json(folder / "generation_config.json",
                   {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "bos_token_id": 1,
                    "eos_token_id": config["eos_token_id"]})
    if case.stray:
        add_stray(folder, model)
    if not case.generation:
        (folder / "generation_config.json").unlink()


# ---------------------------------------------------------------- reference values

def run(model, tokens):
    """Forward pass over tokens [n]; a dict of tensors as the module text describes, with int64 ids."""
    seen = {"hidden": [], "attention": [], "ffn": [], "router": []}

    def keep(key, index=None):
        def hook(module, args, out):
            seen[key].append(out if index is None or isinstance(out, torch.Tensor) else out[index])
        return hook

    hooks = []
    for layer in model.model.layers:
        hooks += [layer.register_forward_hook(keep("hidden", 0)),
                  layer.self_attn.register_forward_hook(keep("attention", 0)),
                  layer.mlp.register_forward_hook(keep("ffn", 0))]
        if hasattr(layer.mlp, "experts"):
            hooks.append(layer.mlp.gate.register_forward_hook(keep("router")))
    with torch.no_grad():
        logits = model(tokens[None], use_cache=False).logits[0]
    for h in hooks:
        h.remove()
    n, hidden = len(tokens), model.config.hidden_size
    out = {"tokens": tokens, "logits": logits}
    for key in ("hidden", "attention", "ffn"):
        out[key] = torch.stack([x.reshape(n, hidden) for x in seen[key]])
    if seen["router"]:
        ids = torch.stack([r[2] for r in seen["router"]])
        weights = torch.stack([r[1] for r in seen["router"]])
        experts, order = ids.sort(-1)
        out |= {"router_scores": torch.stack([r[0].float().softmax(-1) for r in seen["router"]]),
                "experts": experts, "expert_weights": weights.gather(-1, order)}
    return out


def router_gap(out):
    """Least distance of the k-th and the (k+1)-th router probability; 1 when there is nothing to choose."""
    if "experts" not in out:
        return 1.0
    k, scores = out["experts"].shape[-1], out["router_scores"].sort(-1, descending=True).values
    return 1.0 if k == scores.shape[-1] else (scores[..., k - 1] - scores[..., k]).min().item()


def make(case, index, root):
    """Write one case; returns a line about it."""
    rng = np.random.default_rng(1000 + index)
    config = AutoConfig.for_model(case.family, **case.config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **EAGER).eval()
    fill(model, rng)
    for p in model.parameters():      # model.to() would round the rotary frequencies as well
        p.data = p.data.to(DTYPES[case.dtype])
    folder = root / case.name
    write_checkpoint(folder, case, model)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **EAGER).eval()
    for _ in range(50):
        tokens = torch.from_numpy(rng.integers(0, config.vocab_size, N_TOKENS))
        out = run(loaded, tokens)
        if router_gap(out) >= MIN_GAP:
            break
    else:
        sys.exit(f"{case.name}: no prompt without a router near-tie in 50")
    if not torch.equal(run(model.float(), tokens)["logits"], out["logits"]):
        sys.exit(f"{case.name}: the folder does not give the logits of the model it was saved from")
    bad = [k for k, v in out.items() if v.dtype.is_floating_point and not torch.isfinite(v).all()]
    if bad:
        sys.exit(f"{case.name}: not finite: {bad}")
    stored = {k: v.contiguous().to(torch.float32 if v.dtype.is_floating_point else torch.int32)
              for k, v in out.items()}
    # One metadata entry: save_file writes several in a random order.
    save_file(stored, folder / "expected.safetensors",
              {"made_by": f"transformers {transformers.__version__}, torch {TORCH_VERSION}"})
    for path in folder.iterdir():
        path.chmod(0o644)
    size = sum(f.stat().st_size for f in folder.iterdir())
    return f"{case.name}: {size // 1024} KB, logit std {out['logits'].std():.2f}, least router gap {router_gap(out):.4f}"


# ---------------------------------------------------------------- index

def write_index(root):
    (root / "cases.txt").write_text("".join(c.name + "\n" for c in CASES), encoding="utf-8")
    rows = "".join(f"| `{c.name}` | {c.family} | {c.form} | {c.dtype} | {c.covers} |\n" for c in CASES)
    doc = __doc__.split("\n\n", 2)[2].split("The same versions")[0].strip().replace("FOLDER/<name>/ ", "")
    (root / "README.md").write_text(f"""# Tiny models with expected values

Made by

    python tools/reference/make_tiny_models.py --out tests/golden/models

with torch {TORCH_VERSION}, transformers {transformers.__version__}, safetensors {safetensors.__version__} and numpy {np.__version__}
(`tools/reference/requirements.txt`). Do not edit anything here by hand. The weights are random: no case says anything
sensible.

{doc}

Prompts have {N_TOKENS} random tokens and are chosen so that no routing decision is closer than {MIN_GAP} in probability.
`cases.txt` lists the folders, one name a line.

Forms: **hub** has the config keys of published checkpoints (`rope_theta`, `rope_scaling`, `torch_dtype`), **v5** is what
`save_pretrained` of transformers 5 writes (`rope_parameters`, `dtype`), both with one tensor per expert and matrix;
**fused** is v5 with `mlp.experts.gate_up_proj` [experts, 2 ff, hidden] (gate rows first) and
`mlp.experts.down_proj` [experts, hidden, ff], which `save_pretrained(save_original_format=False)` writes.

| case | family | form | weights | covers |
|---|---|---|---|---|
{rows}""", encoding="utf-8")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("--out", required=True, type=Path, help="folder for the cases")
    ap.add_argument("--only", nargs="+", metavar="NAME", help="make only these cases")
    args = ap.parse_args()
    names = [c.name for c in CASES]
    unknown = [n for n in args.only or [] if n not in names]
    if unknown:
        sys.exit(f"make_tiny_models.py: no such case: {', '.join(unknown)}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    args.out.mkdir(parents=True, exist_ok=True)
    for i, case in enumerate(CASES):
        if not args.only or case.name in args.only:
            print(make(case, i, args.out), flush=True)
    write_index(args.out)


if __name__ == "__main__":
    main()
