#!/usr/bin/env python3
"""Make tiny random checkpoints of every supported family, with the values the forward pass must give.

usage: make_tiny_models.py --out FOLDER [--only NAME ...]

Each case is a folder FOLDER/<name>/ with config.json, generation_config.json, model.safetensors (or shards with an
index) as a user would download them, and expected.safetensors computed from that folder by Hugging Face
transformers in float32 (stored weights up-cast or de-quantised, eager attention, one pass over all tokens, no cache,
one thread):

    tokens         I32 [n]                         logits   F32 [n, vocab]
    hidden         F32 [layers, n, hidden]         residual stream after each layer, before the final norm
    attention      F32 [layers, n, hidden]         what the token mixer adds to the residual stream
    ffn            F32 [layers, n, hidden]         what the dense or mixture-of-experts block adds to it
    router_scores  F32 [moe_layers, n, experts]    softmax or sigmoid over all experts, without the selection bias
    experts        I32 [moe_layers, n, top_k]      chosen experts, ascending
    expert_weights F32 [moe_layers, n, top_k]      factor applied to the output of each of them

The token mixer is self-attention, Gated DeltaNet or a short convolution, after its output projection. In Gemma 2, 3 and
4 `attention` and `ffn` are taken after the norms that follow the blocks, and the ffn of a Gemma 4 layer with experts is
that of the dense MLP and the experts together; its `hidden` is after layer_scalar, so there hidden = layer_scalar *
(hidden before + attention + ffn). In all others hidden = hidden before + attention + ffn. expert_weights are complete:
renormalised, scaled, and in Gemma 4 times per_expert_scale. Of gpt-oss router_scores is the softmax over all experts,
expert_weights that over the chosen ones.

The last three are absent from dense models. moe_layers counts only the layers that have a router.
The same versions on the same kind of processor give the same bytes.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from layer_parts import Parts, choose, decoder, router_scores
from tiny_cases import CASES, HUB_KEYS

MIN_GAP = 2e-4       # least distance of the k-th and the next selection score, so that routing is not a near-tie
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TORCH_VERSION = torch.__version__.split("+")[0]
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}
ONE_PLUS_W = ("gemma", "gemma2", "gemma3_text", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
MXFP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
FP8_BLOCK = 128


# ---------------------------------------------------------------- weights

def norm_weights(name, shape, family, rng):
    """Around 1, or what 1 is added to."""
    if family == "gemma4_text" and ("q_norm" in name or "k_norm" in name):
        return rng.uniform(0.4, 1.0, shape)           # scores are not divided by sqrt(head_dim)
    x = rng.uniform(0.8, 2.2, shape) if "q_norm" in name or "k_norm" in name else rng.uniform(0.5, 1.5, shape)
    return x - 1 if family in ONE_PLUS_W and "linear_attn.norm" not in name else x


def weights(name, shape, family, tied, rng):
    """A random parameter of shape; name is its full name."""
    last = name.removesuffix(".weight").rsplit(".", 1)[-1]
    fan_in = shape[-2] if family == "gpt_oss" and len(shape) == 3 else shape[-1]
    if "norm" in name:
        return norm_weights(name, shape, family, rng)
    if last == "A_log":
        return rng.uniform(-4.0, 0.7, shape)          # some heads forget slowly
    if name.endswith("bias"):
        return rng.normal(0, 0.15 if last in ("e_score_correction_bias", "expert_bias") else 0.3, shape)
    if last in ("layer_scalar", "per_expert_scale") or name.endswith("router.scale"):
        return rng.uniform(0.5, 1.5, shape)
    if last == "sinks":
        return rng.normal(0, 1.0, shape)
    if "embed_tokens" in name:
        scaled = tied or family.startswith("gemma")   # Gemma multiplies by sqrt(hidden)
        return rng.normal(0, 2 / fan_in ** 0.5 if scaled else 1.0, shape)
    if "router.proj" in name:
        return rng.normal(0, 1.5, shape)              # its input is divided by sqrt(hidden)
    gain = {"q_proj": 1.6, "k_proj": 1.6, "gate": 1.5, "router": 1.5, "shared_expert_gate": 1.5, "lm_head": 2.0}
    return rng.normal(0, gain.get(last, 1.2) / fan_in ** 0.5, shape)


def stored_buffers(model):
    return [(n, b) for n, b in model.named_buffers()
            if n.endswith(("e_score_correction_bias", "expert_bias", "layer_scalar"))]


def fill(model, case, rng):
    """Random weights that spread logits, attention scores and router scores; norms around 1, biases not zero."""
    for name, p in list(model.named_parameters()) + stored_buffers(model):
        if case.quant == "mxfp4" and p.ndim == 3:
            x = dequantise_mxfp4(*random_mxfp4(p.shape, rng)).transpose(1, 2).numpy()
        else:
            x = weights(name, p.shape, case.family, model.config.tie_word_embeddings, rng)
        with torch.no_grad():
            p.copy_(torch.from_numpy(x.astype(np.float32)))


def round_weights(model, case):
    """To the stored type; model.to() would round the rotary frequencies as well."""
    for name, p in model.named_parameters():
        if not any(word in name for word in case.keep_f32):
            p.data = p.data.to(DTYPES[case.dtype])
    for name, b in stored_buffers(model):
        if name.endswith("layer_scalar"):             # the selection biases stay float32
            b.data = b.data.to(DTYPES[case.dtype])


# ---------------------------------------------------------------- quantised releases

def random_mxfp4(shape, rng):
    """Blocks [experts, out, in / 32, 16] and scales [experts, out, in / 32] of a parameter [experts, in, out]."""
    n_experts, n_in, n_out = shape
    blocks = rng.integers(0, 256, (n_experts, n_out, n_in // 32, 16), dtype=np.uint8)
    middle = 127 + round(np.log2(1.2 / n_in ** 0.5 / 2.9))        # 2.9 is the RMS of the sixteen values
    scales = (middle + rng.integers(-2, 2, (n_experts, n_out, n_in // 32))).astype(np.uint8)
    return torch.from_numpy(blocks), torch.from_numpy(scales)


def dequantise_mxfp4(blocks, scales):
    """float32 [experts, out, in]; the low half of byte i is element 2i, the high half 2i + 1."""
    codes = torch.stack([blocks & 15, blocks >> 4], -1).flatten(-2)
    return (MXFP4[codes.long()] * torch.exp2(scales.float() - 127)[..., None]).flatten(-2)


def quantise_mxfp4(x):
    """Blocks and scales of values [experts, out, in] that MXFP4 holds exactly."""
    x = x.unflatten(-1, (-1, 32))
    top = x.abs().amax(-1)
    scales = torch.floor(torch.log2(top)) - 2                     # the greatest value is 4 or 6 units, or ...
    for _ in range(4):                                            # ... the unit is smaller, if no 4 or 6 is there
        units = x / torch.exp2(scales)[..., None]
        wrong = (units[..., None] != MXFP4).all(-1).any(-1)
        scales = torch.where(wrong, scales - 1, scales)
    codes = (units[..., None] == MXFP4[:8]).float().argmax(-1)
    negative = (units[..., None] == MXFP4[9:]).any(-1)
    codes = torch.where(negative, (units[..., None] == -MXFP4[:8]).float().argmax(-1) + 8, codes).to(torch.uint8)
    return codes[..., ::2] | codes[..., 1::2] << 4, (scales + 127).to(torch.uint8)


def expand_blocks(scales, shape):
    """[ceil(n / 128), ceil(k / 128)] -> [n, k]"""
    return scales.repeat_interleave(FP8_BLOCK, 0).repeat_interleave(FP8_BLOCK, 1)[:shape[0], :shape[1]]


def quantise_fp8(x):
    """F8_E4M3 [n, k] and the scale of each 128 x 128 block."""
    n, k = x.shape
    padded = torch.nn.functional.pad(x.float(), (0, -k % FP8_BLOCK, 0, -n % FP8_BLOCK))
    scales = padded.unflatten(1, (-1, FP8_BLOCK)).unflatten(0, (-1, FP8_BLOCK)).abs().amax((1, 3)) / 448
    return (x.float() / expand_blocks(scales, x.shape)).to(torch.float8_e4m3fn), scales


def spread_blocks(x, rng):
    """x with blocks of different magnitudes, so that a wrong scale shows."""
    n, k = (-(-size // FP8_BLOCK) for size in x.shape)
    return x * expand_blocks(torch.from_numpy(rng.uniform(0.5, 2, (n, k)).astype(np.float32)), x.shape).to(x.dtype)


def quantise(tensors, case, rng):
    """The tensors of a quantised release."""
    out = {}
    for name, x in tensors.items():
        if case.quant == "mxfp4" and x.ndim == 3:
            matrices = x.float().transpose(1, 2)
            out[name + "_blocks"], out[name + "_scales"] = quantise_mxfp4(matrices)
            if not torch.equal(dequantise_mxfp4(out[name + "_blocks"], out[name + "_scales"]), matrices):
                sys.exit(f"{case.name}: {name} is not exact in MXFP4")
        elif case.quant == "fp8" and name.endswith(("_proj.weight", "_proj_with_mqa.weight")):
            out[name], out[name + "_scale_inv"] = quantise_fp8(spread_blocks(x, rng))
        else:
            out[name] = x
    return out


def dequantise(tensors):
    out = {}
    for name, x in tensors.items():
        if name.endswith("_blocks"):
            name = name.removesuffix("_blocks")
            out[name] = dequantise_mxfp4(x, tensors[name + "_scales"]).transpose(1, 2).contiguous()
        elif x.dtype == torch.float8_e4m3fn:
            out[name] = x.float() * expand_blocks(tensors[name + "_scale_inv"], x.shape)
        elif not name.endswith(("_scales", "_scale_inv")):
            out[name] = x
    return out


# ---------------------------------------------------------------- files

def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path, obj):
    path.write_text(json.dumps(obj, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def old_rope_keys(parameters, case):
    """rope_theta, rope_scaling and rope_local_base_freq."""
    c, scaling = {}, dict(parameters)
    if "full_attention" in scaling:
        c["rope_local_base_freq"] = scaling["sliding_attention"]["rope_theta"]
        scaling = dict(scaling["full_attention"])
    c["rope_theta"] = scaling.pop("rope_theta")
    if "partial_rotary_factor" in scaling:
        c["partial_rotary_factor"] = scaling.pop("partial_rotary_factor")
    kind = scaling.pop("rope_type")
    c["rope_scaling"] = None if kind == "default" else {case.rope_key: kind, **scaling}
    return c


def hub_config(cfg, case):
    """The config keys of published checkpoints, from those that transformers 5 writes."""
    family = HUB_KEYS[case.family]
    c = {k: v for k, v in cfg.items() if k not in ("rope_parameters", "dtype", "transformers_version", "pad_token_id")}
    c |= {"rope_parameters": cfg["rope_parameters"]} if case.rope_new else old_rope_keys(cfg["rope_parameters"], case)
    c["dtype" if case.rope_new else "torch_dtype"] = cfg["dtype"]
    if case.family == "qwen3_moe":
        c["num_experts"] = c.pop("num_local_experts")
    if "layer_types" not in family:
        c.pop("layer_types", None)
    if "head_dim" not in family and c.get("head_dim") in (None, c["hidden_size"] // c["num_attention_heads"]):
        c.pop("head_dim", None)
    for key, value in family.items():
        if value is None:
            c.pop(key, None)
        elif value is not True or key not in c:
            c[key] = value
    for key in case.drop:
        del c[key]
    c |= case.extra
    if case.wrap is None:
        return c
    del c["architectures"]
    return {**case.wrap, "text_config": c, "dtype" if case.rope_new else "torch_dtype": cfg["dtype"]}


def published(tensors, case, rng):
    """The tensors as a release has them, with those that a reader must ignore."""
    if case.quant:
        tensors = quantise(tensors, case, rng)
    out = {}
    for name, x in tensors.items():
        out[case.prefix + name.removeprefix("model.") if name.startswith("model.") else name] = x
    for name, size in case.stray.items():
        out[name] = torch.ones(size, dtype=torch.float32 if "inv_freq" in name else DTYPES[case.dtype])
    return {name: x.contiguous() for name, x in out.items()}


def write_checkpoint(folder, case, model, rng):
    if folder.exists():
        shutil.rmtree(folder)
    keys = {"max_shard_size": case.shard} if case.shard else {}
    model.save_pretrained(folder, save_original_format=case.form != "fused" and case.split_experts, **keys)
    if case.form == "hub":
        path = folder / "config.json"
        config = hub_config(read_json(path), case)
        write_json(path, config)
        eos = (config if "eos_token_id" in config else config["text_config"])["eos_token_id"]
        write_json(folder / "generation_config.json",
                   {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "bos_token_id": 1, "eos_token_id": eos})
    path = folder / "model.safetensors"
    if case.quant or case.stray or case.prefix != "model.":
        save_file(published(load_file(path), case, rng), path, {"format": "pt"})
    if not case.generation:
        (folder / "generation_config.json").unlink()


# ---------------------------------------------------------------- reference values

def readable_copy(folder, case, copy):
    """The same checkpoint for transformers: de-quantised, and without what it must not or cannot read."""
    tensors = load_file(folder / "model.safetensors")
    tensors = dequantise({name: x for name, x in tensors.items() if name not in case.stray})
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    config = read_json(folder / "config.json")
    config.pop("quantization_config", None)
    if config["model_type"] == "kimi_k2":            # the same as deepseek_v3, with code of its own beside the file
        config["model_type"] = "deepseek_v3"
    write_json(copy / "config.json", config)
    return copy


def load(folder, case):
    """The float32 model of a folder; every tensor of the file must have been read."""
    with tempfile.TemporaryDirectory() as copy:
        awkward = case.quant or case.stray or read_json(folder / "config.json")["model_type"] == "kimi_k2"
        source = readable_copy(folder, case, Path(copy)) if awkward else folder
        model, info = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, output_loading_info=True,
                                                           **EAGER)
    missing = [n for n in info["missing_keys"] if not any(word in n for word in ("vision", "multi_modal"))]
    if missing or info["unexpected_keys"] or info["mismatched_keys"]:
        sys.exit(f"{case.name}: missing {missing}, unexpected {sorted(info['unexpected_keys'])}, mismatched "
                 f"{info['mismatched_keys']}")
    for p in model.parameters():      # mapped files are not aligned, and sums depend on that
        p.data = p.data.clone()
    return model.eval()


def watch(model, parts):
    """What the layers of the next forward pass take and give: a dict of lists, filled by hooks, and the hooks."""
    seen = {"layer": [], "attention": [], "ffn": [], "router": [], "mixture": []}

    def keep(key):
        return lambda module, args, out: seen[key].append(out[0] if isinstance(out, tuple) and key != "router" else out)

    hooks = [decoder(model).layers[0].register_forward_pre_hook(lambda m, args: seen.update(first=args[0].clone()))]
    for p in parts:
        hooks += [p.layer.register_forward_hook(keep("layer")), p.mixer.register_forward_hook(keep("attention")),
                  p.ffn.register_forward_hook(keep("ffn"))]
        if p.block:
            hooks += [p.router.register_forward_hook(keep("router")), p.block.experts.register_forward_hook(
                lambda module, args, out: seen["mixture"].append((module, args[0], out)))]
    return seen, hooks


def run(model, tokens):
    """Forward pass over tokens [n]; a dict of tensors as the module text describes, with int64 ids; and the least
    distance between a chosen and an unchosen expert or group of experts (1 when there is nothing to choose)."""
    config = model.config.get_text_config()
    parts = [Parts(layer) for layer in decoder(model).layers]
    seen, hooks = watch(model, parts)
    with torch.no_grad():
        out = {"tokens": tokens, "logits": model(tokens[None], use_cache=False).logits[0]}
    for h in hooks:
        h.remove()
    for key, name in (("layer", "hidden"), ("attention", "attention"), ("ffn", "ffn")):
        out[name] = torch.stack([x.reshape(len(tokens), config.hidden_size) for x in seen[key]])
    check_sums(parts, seen["first"].reshape(len(tokens), -1), out)
    return out, add_routing(out, [p for p in parts if p.block], seen, config) if seen["router"] else 1.0


def add_routing(out, parts, seen, config):
    """The three tensors of the routers, checked; returns the least gap."""
    ids, order = torch.stack([r[2] for r in seen["router"]]).sort(-1)
    scores = [router_scores(r[0].float(), config.model_type) for r in seen["router"]]
    out |= {"router_scores": torch.stack(scores), "experts": ids,
            "expert_weights": torch.stack([r[1] for r in seen["router"]]).gather(-1, order)}
    for i, mixture in enumerate(seen["mixture"]):
        check_mixture(*mixture, ids[i], out["expert_weights"][i])
    choices = [choose(p, s, ids.shape[-1], config) for p, s in zip(parts, scores)]
    gap = min(gaps.min().item() for _, gaps in choices)
    if gap >= MIN_GAP and not all(torch.equal(found, stored) for (found, _), stored in zip(choices, ids)):
        sys.exit("the choice of experts does not follow from the scores")
    return gap


def check_sums(parts, before, out):
    """Layers add what is stored, and nothing else."""
    for i, p in enumerate(parts):
        after = (before + out["attention"][i] + out["ffn"][i]) * getattr(p.layer, "layer_scalar", 1.0)
        if (after - out["hidden"][i]).abs().max() > 1e-5 * after.abs().max():
            sys.exit(f"layer {i}: hidden is not the sum of attention and ffn")
        before = out["hidden"][i]


def check_mixture(experts, x, out, ids, weights):
    """The stored choice and weights give the output of the experts, computed one at a time."""
    total = torch.zeros_like(out)
    factors = torch.zeros(len(x), experts.num_experts).scatter(1, ids, weights)
    with torch.no_grad():
        for e in range(experts.num_experts):
            one = torch.full((len(x), 1), e)
            total += factors[:, e:e + 1] * experts.forward(x, one, torch.ones(len(x), 1))
    if (total - out).abs().max() > 1e-5 * out.abs().max():
        sys.exit("the stored mixture is not what the experts give")


def make(case, index, root):
    """Write one case; returns a line about it."""
    rng = np.random.default_rng(1000 + index)
    config = AutoConfig.for_model(case.family, **case.config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **EAGER).eval()
    fill(model, case, rng)
    round_weights(model, case)
    folder = root / case.name
    write_checkpoint(folder, case, model, rng)
    loaded = load(folder, case)
    for _ in range(50):
        tokens = torch.from_numpy(rng.integers(0, config.vocab_size, case.n_tokens))
        out, gap = run(loaded, tokens)
        if gap >= MIN_GAP:
            break
    else:
        sys.exit(f"{case.name}: no prompt without a router near-tie in 50")
    with torch.no_grad():
        saved = model.float()(tokens[None], use_cache=False).logits[0]
    if case.quant != "fp8" and (saved - out["logits"]).abs().max() > 1e-5 * saved.std():
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
    return f"{case.name}: {size // 1024} KB, logit std {out['logits'].std():.2f}, least router gap {gap:.4f}"


# ---------------------------------------------------------------- index

def write_index(root):
    (root / "cases.txt").write_text("".join(c.name + "\n" for c in CASES), encoding="utf-8")
    rows = "".join(f"| `{c.name}` | {c.family} | {c.form} | {c.dtype} | {c.covers} |\n" for c in CASES)
    doc = __doc__.split("\n\n", 2)[2].split("The same versions")[0].strip().replace("FOLDER/<name>/ ", "")
    (root / "README.md").write_text(f"""# Tiny models with expected values

Made by

    python tools/reference/make_tiny_models.py --out tests/golden/models

with torch {TORCH_VERSION}, transformers {transformers.__version__}, safetensors {safetensors.__version__} and numpy
{np.__version__} (`tools/reference/requirements.txt`). Do not edit anything here by hand. The weights are random: no
case says anything sensible.

{doc}

Prompts have 43 random tokens (one has 160) and are chosen so that no routing decision, be it between experts or between
groups of experts, is closer than {MIN_GAP} in the score that decides. `cases.txt` lists the folders, one name a line.

Forms: **hub** has the config keys and the tensors of published checkpoints (`rope_theta`, `rope_scaling`,
`torch_dtype`; in releases of 2026 `rope_parameters` and `dtype`; multimodal ones nest `text_config` and prefix their
tensors), **v5** is what `save_pretrained` of transformers 5 writes (`rope_parameters`, `dtype`). Both have one tensor
per expert and matrix, except for gpt-oss and Gemma 4 (both forms) and Qwen3.5-MoE (hub). **fused** is v5 with
`mlp.experts.gate_up_proj` [experts, 2 ff, hidden] (gate rows first) and `mlp.experts.down_proj` [experts, hidden, ff],
which `save_pretrained(save_original_format=False)` writes. Tensors to be ignored are filled with ones.

MXFP4 and FP8 weights are de-quantised by the script, an FP8 scale counting for 128 x 128 weights and less at the edges.
transformers de-quantises MXFP4 alike; it refuses or misreads FP8 matrices whose sides are not multiples of the number
of their blocks.

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
