#!/usr/bin/env python3
"""Make tiny GGUF files with llama.cpp's own tools, and the logits that they must give.

usage: make_peer_ggufs.py --converter CONVERT_HF_TO_GGUF.py --out FOLDER [--only NAME ...]

Each case is a random checkpoint with a byte-level tokenizer of 320 tokens, written as a Hugging Face folder, converted
to GGUF by llama.cpp's convert_hf_to_gguf.py (the path to it is an argument; it needs its gguf-py beside it or the PyPI
package gguf), and for some cases quantised by llama-cpp-python. FOLDER gets

    NAME.gguf                what the peer's tools wrote
    NAME.safetensors         tokens I32 [n], logits F32 [n, vocab]: Hugging Face transformers in float32, with the
                             weights of the folder, or for quantised cases the weights that PyPI gguf decodes from the
                             file

All versions are in the metadata of NAME.safetensors. The weights are random: no case says anything sensible.
"""
import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).parent))
import make_tiny_models as tiny

ROOT = Path(__file__).resolve().parents[2]
N_TOKENS = 43
VOCAB = 320

# name: (family, config, type of the converter's output, type of llama.cpp's quantiser or None)
SMALL = dict(vocab_size=VOCAB, num_hidden_layers=2, max_position_embeddings=128)
MOE = dict(num_experts=6, num_experts_per_tok=2)
WIDE = dict(vocab_size=VOCAB, num_hidden_layers=2, max_position_embeddings=128, hidden_size=256, head_dim=64,
            num_attention_heads=4, num_key_value_heads=2, num_experts=4, num_experts_per_tok=2,
            moe_intermediate_size=256, intermediate_size=256, norm_topk_prob=True)
CASES = {
    "llama3-f32": ("llama", dict(SMALL, hidden_size=64, num_attention_heads=4, num_key_value_heads=2,
                                 intermediate_size=96, tie_word_embeddings=True,
                                 **tiny.rope("llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                             original_max_position_embeddings=8192)), "f32", None),
    "mistral-bf16": ("mistral", dict(SMALL, hidden_size=48, num_attention_heads=3, num_key_value_heads=1, head_dim=24,
                                     intermediate_size=80, sliding_window=None, **tiny.rope(theta=1e6)), "bf16", None),
    "mixtral-f32": ("mixtral", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2,
                                    intermediate_size=24, num_local_experts=5, num_experts_per_tok=2,
                                    sliding_window=None, **tiny.rope(theta=1e6)), "f32", None),
    "qwen2-f16": ("qwen2", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2,
                                intermediate_size=64, **tiny.rope(theta=1e6)), "f16", None),
    "qwen2-moe-f32": ("qwen2_moe", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=4,
                                        moe_intermediate_size=32, intermediate_size=40,
                                        shared_expert_intermediate_size=64, **MOE, **tiny.rope(theta=1e6)), "f32", None),
    "qwen3-bf16": ("qwen3", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
                                 intermediate_size=64, tie_word_embeddings=True, **tiny.rope(theta=1e6)), "bf16", None),
    "qwen3-moe-f32": ("qwen3_moe", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2,
                                        head_dim=32, moe_intermediate_size=24, intermediate_size=40,
                                        norm_topk_prob=True, **MOE, **tiny.rope(theta=1e6)), "f32", None),
    "olmoe-f32": ("olmoe", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=4,
                                intermediate_size=24, **MOE, **tiny.rope()), "f32", None),
    "qwen3-moe-q4_k_m": ("qwen3_moe", dict(WIDE, **tiny.rope(theta=1e6)), "f32", "Q4_K_M"),
    "qwen3-moe-iq4_xs": ("qwen3_moe", dict(WIDE, **tiny.rope(theta=1e6)), "f32", "IQ4_XS"),
    "mixtral-q5_0": ("mixtral", dict(SMALL, hidden_size=64, num_attention_heads=4, num_key_value_heads=2,
                                     intermediate_size=96, num_local_experts=4, num_experts_per_tok=2,
                                     sliding_window=None, **tiny.rope(theta=1e6)), "f32", "Q5_0"),
}


def small_tokenizer(folder):
    """The first VOCAB - 3 tokens of the embedded model's tokenizer, with the merges that lead to them."""
    text = json.loads((ROOT / "weights/demo/tokenizer.json").read_text(encoding="utf-8"))
    vocab = {t: i for t, i in text["model"]["vocab"].items() if i < VOCAB - 3}
    merges = [m if isinstance(m, list) else m.split(" ") for m in text["model"]["merges"]]
    text["model"]["vocab"] = vocab
    text["model"]["merges"] = [m for m in merges if m[0] in vocab and m[1] in vocab and m[0] + m[1] in vocab]
    for i, token in enumerate(text["added_tokens"]):
        token["id"] = VOCAB - 3 + i
    (folder / "tokenizer.json").write_text(json.dumps(text), encoding="utf-8")
    config = json.loads((ROOT / "weights/demo/tokenizer_config.json").read_text(encoding="utf-8"))
    config.pop("chat_template", None)
    config.pop("added_tokens_decoder", None)
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def convert(converter, folder, out, outtype):
    """Runs llama.cpp's converter in this process; our tokenizer is not in its list of known ones, so it is told."""
    if "peer_converter" not in sys.modules:
        spec = importlib.util.spec_from_file_location("peer_converter", converter)
        sys.modules["peer_converter"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["peer_converter"])
    module = sys.modules["peer_converter"]
    module.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
    module.ModelBase.load_hparams = staticmethod(  # as the hub has it, not as transformers 5 spells it
        lambda path, *_, **__: json.loads((Path(path) / "config.json").read_text(encoding="utf-8")))
    argv, sys.argv = sys.argv, ["convert_hf_to_gguf.py", str(folder), "--outfile", str(out), "--outtype", outtype]
    try:
        module.main()
    finally:
        sys.argv = argv


def quantise(source, out, kind):
    import llama_cpp
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.nthread = 1
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), params) != 0:
        sys.exit(f"{out.name}: llama.cpp refused to quantise")


def decoded_state(path, model):
    """State dict of `model` with the weights that the GGUF file holds, decoded by PyPI gguf."""
    import gguf
    tensors = {t.name: gguf.dequantize(t.data, t.tensor_type).reshape([int(x) for x in reversed(t.shape)])
               for t in gguf.GGUFReader(str(path)).tensors}
    layer = {"attn_norm.weight": "input_layernorm.weight", "ffn_norm.weight": "post_attention_layernorm.weight",
             "attn_q.weight": "self_attn.q_proj.weight", "attn_k.weight": "self_attn.k_proj.weight",
             "attn_v.weight": "self_attn.v_proj.weight", "attn_output.weight": "self_attn.o_proj.weight",
             "attn_q_norm.weight": "self_attn.q_norm.weight", "attn_k_norm.weight": "self_attn.k_norm.weight",
             "ffn_gate_inp.weight": "mlp.gate.weight"}
    state = {"model.embed_tokens.weight": tensors["token_embd.weight"],
             "model.norm.weight": tensors["output_norm.weight"],
             "lm_head.weight": tensors.get("output.weight", tensors["token_embd.weight"])}
    for i in range(model.config.num_hidden_layers):
        for ours, theirs in layer.items():
            name = f"blk.{i}.{ours}"
            if name not in tensors:
                continue
            x = tensors[name]
            if model.config.model_type == "mixtral" and ours in ("attn_q.weight", "attn_k.weight"):
                hd = model.config.hidden_size // model.config.num_attention_heads   # pairs back to halves
                x = x.reshape(-1, hd // 2, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            state[f"model.layers.{i}.{theirs}"] = x
        gate, up = (tensors[f"blk.{i}.ffn_{k}_exps.weight"] for k in ("gate", "up"))
        state[f"model.layers.{i}.mlp.experts.gate_up_proj"] = np.concatenate([gate, up], axis=1)
        state[f"model.layers.{i}.mlp.experts.down_proj"] = tensors[f"blk.{i}.ffn_down_exps.weight"]
    return {k: torch.from_numpy(np.array(v, dtype=np.float32)) for k, v in state.items()}


def make(name, index, converter, out):
    family, keys, outtype, quantised = CASES[name]
    rng = np.random.default_rng(2000 + index)
    config = AutoConfig.for_model(family, bos_token_id=None, eos_token_id=VOCAB - 3, **keys)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **tiny.EAGER).eval()
    tiny.fill(model, rng)
    for p in model.parameters():
        p.data = p.data.to(tiny.DTYPES[outtype])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        tiny.write_checkpoint(folder, tiny.Case(name, family, "hub", outtype, "", config={}), model)
        small_tokenizer(folder)
        plain = Path(scratch) / "plain.gguf"
        convert(converter, folder, plain, outtype)
        if quantised:
            quantise(plain, out / f"{name}.gguf", quantised)
        else:
            shutil.copy(plain, out / f"{name}.gguf")
    model = model.float()
    if quantised:
        missing = model.load_state_dict(decoded_state(out / f"{name}.gguf", model), strict=False)
        if missing.missing_keys or missing.unexpected_keys:
            sys.exit(f"{name}: {missing}")
    for _ in range(50):
        tokens = torch.from_numpy(rng.integers(0, VOCAB - 3, N_TOKENS))
        result = tiny.run(model, tokens)
        if tiny.router_gap(result) >= tiny.MIN_GAP:
            break
    save_file({"tokens": tokens.to(torch.int32), "logits": result["logits"].contiguous()}, out / f"{name}.safetensors",
              {"made_by": f"transformers {transformers.__version__}, torch {tiny.TORCH_VERSION}"})
    return f"{name}: {(out / f'{name}.gguf').stat().st_size // 1024} KB, least router gap {tiny.router_gap(result):.4f}"


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("--converter", required=True, type=Path, help="llama.cpp's convert_hf_to_gguf.py")
    ap.add_argument("--out", required=True, type=Path)
    ap.add_argument("--only", nargs="+", metavar="NAME", choices=list(CASES))
    args = ap.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    args.out.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(CASES):
        if not args.only or name in args.only:
            print(make(name, i, args.converter, args.out), flush=True)


if __name__ == "__main__":
    main()
