#!/usr/bin/env python3
"""Make tiny GGUF files with llama.cpp's own tools, and the logits that they must give.

usage: make_peer_ggufs.py --out FOLDER [--only NAME ...] --converter CONVERT_HF_TO_GGUF.py
                          --fork-converter CONVERT_HF_TO_GGUF.py

Each case is a random checkpoint with a byte-level tokenizer of 320 tokens, written as a Hugging Face folder, converted
to GGUF by llama.cpp's convert_hf_to_gguf.py or that of its fork ik_llama.cpp (the paths to them are arguments; each
needs its gguf-py beside it), and for some cases quantised by llama-cpp-python. Families that neither knows, and an old
layout, are written with the PyPI package gguf (gguf_by_hand.py). FOLDER gets

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
import gguf_by_hand
import make_tiny_models as tiny
from tiny_cases import Case, delta, local_rope, mixers, mla, rope

ROOT = Path(__file__).resolve().parents[2]
N_TOKENS = 43
VOCAB = 320

SMALL = dict(vocab_size=VOCAB, num_hidden_layers=2, max_position_embeddings=128)
MOE = dict(num_experts=6, num_experts_per_tok=2)
WIDE = dict(vocab_size=VOCAB, num_hidden_layers=2, max_position_embeddings=128, hidden_size=256, head_dim=64,
            num_attention_heads=4, num_key_value_heads=2, num_experts=4, num_experts_per_tok=2,
            moe_intermediate_size=256, intermediate_size=256, norm_topk_prob=True)
TINY = dict(vocab_size=VOCAB, num_hidden_layers=2, max_position_embeddings=128, hidden_size=32, num_attention_heads=4,
            num_key_value_heads=2)
GPT_OSS = dict(TINY, hidden_size=28, head_dim=12, intermediate_size=20, num_local_experts=5, num_experts_per_tok=2,
               sliding_window=9, **mixers("sf"),
               **rope("yarn", 500.0, factor=4.0, original_max_position_embeddings=1024, beta_fast=32.0, beta_slow=1.0,
                      truncate=False))
GEMMA4_SIZES = dict(hidden_size=24, head_dim=16, global_head_dim=32, sliding_window=8, hidden_size_per_layer_input=0,
                    vocab_size_per_layer_input=VOCAB, final_logit_softcapping=5.0,
                    **local_rope(rope("proportional", 1e6, partial_rotary_factor=0.25)))
DEEPSEEK = dict(TINY, hidden_size=30, intermediate_size=40, moe_intermediate_size=10, n_routed_experts=6,
                num_experts_per_tok=2, first_k_dense_replace=1)
DEEPSEEK_YARN = rope("yarn", factor=40.0, original_max_position_embeddings=16, mscale=0.707, mscale_all_dim=0.707,
                     beta_fast=32, beta_slow=1)
HYBRID = dict(TINY, hidden_size=24, num_hidden_layers=3, head_dim=16, **delta(2, 4, 6, 6), **mixers("lfl"),
              **rope(theta=1e7, partial_rotary_factor=0.25))
# name: (family, config, type of the converter's output, type of llama.cpp's quantiser or None[, keys of Case and
#        "by": "fork" or "hand", llama.cpp's converter otherwise])
CASES = {
    "llama3-f32": ("llama", dict(SMALL, hidden_size=64, num_attention_heads=4, num_key_value_heads=2,
                                 intermediate_size=96, tie_word_embeddings=True,
                                 **rope("llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                             original_max_position_embeddings=8192)), "f32", None),
    "mistral-bf16": ("mistral", dict(SMALL, hidden_size=48, num_attention_heads=3, num_key_value_heads=1, head_dim=24,
                                     intermediate_size=80, sliding_window=None, **rope(theta=1e6)), "bf16", None),
    "mixtral-f32": ("mixtral", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2,
                                    intermediate_size=24, num_local_experts=5, num_experts_per_tok=2,
                                    sliding_window=None, **rope(theta=1e6)), "f32", None),
    "qwen2-f16": ("qwen2", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2,
                                intermediate_size=64, **rope(theta=1e6)), "f16", None),
    "qwen2-moe-f32": ("qwen2_moe", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=4,
                                        moe_intermediate_size=32, intermediate_size=40,
                                        shared_expert_intermediate_size=64, **MOE, **rope(theta=1e6)), "f32", None),
    "qwen3-bf16": ("qwen3", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
                                 intermediate_size=64, tie_word_embeddings=True, **rope(theta=1e6)), "bf16", None),
    "qwen3-moe-f32": ("qwen3_moe", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=2,
                                        head_dim=32, moe_intermediate_size=24, intermediate_size=40,
                                        norm_topk_prob=True, **MOE, **rope(theta=1e6)), "f32", None),
    "olmoe-f32": ("olmoe", dict(SMALL, hidden_size=48, num_attention_heads=4, num_key_value_heads=4,
                                intermediate_size=24, **MOE, **rope()), "f32", None),
    "qwen3-moe-q4_k_m": ("qwen3_moe", dict(WIDE, **rope(theta=1e6)), "f32", "Q4_K_M"),
    "qwen3-moe-iq4_xs": ("qwen3_moe", dict(WIDE, **rope(theta=1e6)), "f32", "IQ4_XS"),
    "mixtral-q5_0": ("mixtral", dict(SMALL, hidden_size=64, num_attention_heads=4, num_key_value_heads=2,
                                     intermediate_size=96, num_local_experts=4, num_experts_per_tok=2,
                                     sliding_window=None, **rope(theta=1e6)), "f32", "Q5_0"),
    # --- later families; the seed is the place in this list
    "gpt-oss-f16": ("gpt_oss", GPT_OSS, "f16", None, {}),
    "gpt-oss-mxfp4": ("gpt_oss", dict(GPT_OSS, hidden_size=32, intermediate_size=32), "bf16", None,
                      dict(quant="mxfp4")),
    "gemma-f32": ("gemma", dict(TINY, hidden_size=28, head_dim=12, num_key_value_heads=1, intermediate_size=40,
                                **rope()), "f32", None, {}),
    "gemma2-bf16": ("gemma2", dict(TINY, num_hidden_layers=3, head_dim=16, intermediate_size=40, sliding_window=9,
                                   query_pre_attn_scalar=16, attn_logit_softcapping=5.0, final_logit_softcapping=8.0,
                                   **mixers("sfs"), **rope()), "bf16", None, {}),
    "gemma3-bf16": ("gemma3_text", dict(TINY, hidden_size=24, num_hidden_layers=7, head_dim=12, intermediate_size=20,
                                        sliding_window=8, query_pre_attn_scalar=12, **mixers("sssssfs"),
                                        **local_rope(rope("linear", 1e6, factor=8.0))), "bf16", None, {}),
    "gemma4-f16": ("gemma4_text", dict(
        TINY, **GEMMA4_SIZES, num_hidden_layers=3, intermediate_size=20, moe_intermediate_size=12, num_experts=6,
        top_k_experts=2, enable_moe_block=True, attention_k_eq_v=True, num_global_key_value_heads=1, **mixers("ssf")),
        "f16", None, dict(by="hand")),
    "gemma4-dense-f16": ("gemma4_text", dict(TINY, **GEMMA4_SIZES, intermediate_size=36, **mixers("sf")), "f16", None,
                         dict(by="hand")),
    "deepseek-v2-lite-f16": ("deepseek_v2", dict(DEEPSEEK, topk_method="greedy", n_group=1, topk_group=1,
                                                 n_shared_experts=2, **mla(3, 12, 8, 10, 20), **DEEPSEEK_YARN),
                             "f16", None, dict(rope_key="type", extra={"norm_topk_prob": False})),
    "deepseek-v3-bf16": ("deepseek_v3", dict(DEEPSEEK, n_group=1, topk_group=1, n_shared_experts=1,
                                             **mla(3, 10, 6, 14, 18, 22), **DEEPSEEK_YARN), "bf16", None,
                         dict(rope_key="type")),
    "deepseek-v3-both-f16": ("deepseek_v3", dict(DEEPSEEK, n_group=1, topk_group=1, n_shared_experts=1,
                                                 **mla(3, 12, 4, 10, 16, 20), **rope(theta=5e4)), "f16", None,
                             dict(by="fork", rope_key="type")),
    "glm4-lite-bf16": ("glm4_moe_lite", dict(DEEPSEEK, n_shared_experts=1, **mla(3, 10, 6, 20, 14, 18),
                                             **rope(theta=1e6)), "bf16", None, dict(extra={"scoring_func": "sigmoid"})),
    "lfm2-f16": ("lfm2", dict(TINY, num_hidden_layers=3, intermediate_size=40, block_auto_adjust_ff_dim=False,
                              **mixers("cfc"), **rope(theta=1e6)), "f16", None,
                 dict(drop=("intermediate_size",), extra={"block_ff_dim": 40, "layer_types": mixers("cfc")[
                     "layer_types"]})),
    "lfm2-moe-f16": ("lfm2_moe", dict(TINY, hidden_size=24, num_hidden_layers=4, intermediate_size=40,
                                      moe_intermediate_size=10, num_experts=6, num_experts_per_tok=2,
                                      num_dense_layers=1, **mixers("cfcf"), **rope(theta=1e6)), "f16", None,
                     dict(by="hand")),
    "deepseek-v2-old-f16": ("deepseek_v2", dict(DEEPSEEK, topk_method="greedy", n_group=1, topk_group=1,
                                                n_shared_experts=1, **mla(3, 8, 4, 10, 14), **DEEPSEEK_YARN), "f16",
                            None, dict(by="hand")),
    "deepseek-v3-groups-f16": ("deepseek_v3", dict(DEEPSEEK, n_routed_experts=8, n_group=4, topk_group=2,
                                                   n_shared_experts=1, **mla(3, 8, 4, 10, 14, 12), **rope()), "f16",
                               None, dict(by="hand")),
    "qwen3-next-f16": ("qwen3_next", dict(HYBRID, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=10,
                                          shared_expert_intermediate_size=14), "f16", None, dict(by="hand")),
    "qwen35-moe-f16": ("qwen3_5_moe_text", dict(HYBRID, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=10,
                                                shared_expert_intermediate_size=14), "f16", None, dict(by="hand")),
    "qwen35-f16": ("qwen3_5_text", dict(HYBRID, **delta(2, 6, 6, 6), intermediate_size=40), "f16", None,
                   dict(by="hand")),
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


def load_converter(path):
    """The module of a converter, which brings its own package gguf."""
    def forget():
        for name in [m for m in sys.modules if m.split(".")[0] == "gguf"]:
            del sys.modules[name]
    spec = importlib.util.spec_from_file_location("peer_converter", path)
    module, saved = importlib.util.module_from_spec(spec), sys.path[:]
    sys.modules["peer_converter"] = module
    forget()
    spec.loader.exec_module(module)
    forget()
    sys.path[:] = saved
    return module


def teach(module):
    """What a converter cannot know: our tokenizer, and how transformers 5 spells what the hub has otherwise."""
    base = getattr(module, "ModelBase", None) or module.Model
    text = getattr(module, "TextModel", base)
    text.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
    base.load_hparams = staticmethod(
        lambda path, *_, **__: json.loads((Path(path) / "config.json").read_text(encoding="utf-8")))
    for name in ("GemmaModel", "Gemma2Model", "Gemma3Model"):
        if hasattr(module, name):
            getattr(module, name).set_vocab = text._set_vocab_gpt2                  # SentencePiece in the originals
            getattr(module, name)._create_vocab_sentencepiece = lambda self: (range(VOCAB),)
    if not hasattr(module, "Glm4MoeLiteModel"):                                     # newer than the converter
        base.register("Glm4MoeLiteForCausalLM")(module.DeepseekV2Model)


def convert(module, folder, out, outtype):
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


def write_gguf(folder, name, model, args, out):
    """By the tool of the case."""
    *_, outtype, _, rest = (*CASES[name], {})[:5]
    if rest.get("by") == "hand":
        return gguf_by_hand.write(out, model, folder)
    path = args.fork_converter if rest.get("by") == "fork" else args.converter
    if not path:
        sys.exit(f"{name}: needs {'--fork-converter' if rest.get('by') == 'fork' else '--converter'}")
    module = load_converter(path)
    teach(module)
    convert(module, folder, out, outtype)


def make(name, index, args):
    family, keys, outtype, quantised, rest = (*CASES[name], {})[:5]
    out, rng = args.out, np.random.default_rng(2000 + index)
    case = Case(name, family, "hub", outtype, "", config={}, **{k: v for k, v in rest.items() if k != "by"})
    config = AutoConfig.for_model(family, bos_token_id=None, eos_token_id=VOCAB - 3, **keys)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **tiny.EAGER).eval()
    tiny.fill(model, case, rng)
    tiny.round_weights(model, case)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        tiny.write_checkpoint(folder, case, model, rng)
        small_tokenizer(folder)
        plain = Path(scratch) / "plain.gguf"
        write_gguf(folder, name, model, args, plain)
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
        result, gap = tiny.run(model, tokens)
        if gap >= tiny.MIN_GAP:
            break
    else:
        sys.exit(f"{name}: no prompt without a router near-tie in 50")
    save_file({"tokens": tokens.to(torch.int32), "logits": result["logits"].contiguous()}, out / f"{name}.safetensors",
              {"made_by": f"transformers {transformers.__version__}, torch {tiny.TORCH_VERSION}"})
    return f"{name}: {(out / f'{name}.gguf').stat().st_size // 1024} KB, least router gap {gap:.4f}"


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("--converter", type=Path, help="llama.cpp's convert_hf_to_gguf.py")
    ap.add_argument("--fork-converter", type=Path, help="that of ik_llama.cpp")
    ap.add_argument("--out", required=True, type=Path)
    ap.add_argument("--only", nargs="+", metavar="NAME", choices=list(CASES))
    args = ap.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    args.out.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(CASES):
        if not args.only or name in args.only:
            print(make(name, i, args), flush=True)


if __name__ == "__main__":
    main()
