#!/usr/bin/env python3
"""Write what transformers computes with a real checkpoint, for `sluice verify MODEL --reference FILE`.

usage: dump_reference.py MODEL [--out FILE] [--text FILE | --tokens 1,2,3] [--n 512] [--positions 32] [--dtype float32]

MODEL is a checkpoint folder, or a model name that transformers can load. The prompt is a built-in public-domain text,
a text file, or token ids; a model without tokenizer gets random ids (fixed seed). One forward pass, no cache, eager
attention. With --dtype float32 each stored weight is up-cast while its module runs, so memory holds the model in its
stored type and one module in float32. The file holds:

    tokens      I32 [n]                       the prompt
    positions   I32 [p]                       the last --positions positions
    logits      F32 [p, vocab]                at those positions
    top1        I32 [n]                       best next token at every position
    top1_gap    F32 [n]                       its logit minus the second best
    experts     I32 [moe_layers, n, top_k]    chosen experts, ascending       (mixture-of-experts models only)
    router_gap  F32 [moe_layers, n]           least distance, in the score that decides, between a chosen and an unchosen
                                              expert (or group of experts); 1 when all experts are chosen

and the metadata model, dtype, transformers and torch. moe_layers counts only the layers that have a router.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from layer_parts import Parts, choose, decoder, router_scores

TEXT = """\
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice \
she had peeped into the book her sister was reading, but it had no pictures or conversations in it, 'and what is the \
use of a book,' thought Alice 'without pictures or conversations?'

So she was considering in her own mind (as well as she could, for the hot day made her feel very sleepy and stupid), \
whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when \
suddenly a White Rabbit with pink eyes ran close by her.

There was nothing so VERY remarkable in that; nor did Alice think it so VERY much out of the way to hear the Rabbit say \
to itself, 'Oh dear! Oh dear! I shall be late!' (when she thought it over afterwards, it occurred to her that she ought \
to have wondered at this, but at the time it all seemed quite natural); but when the Rabbit actually TOOK A WATCH OUT OF \
ITS WAISTCOAT-POCKET, and looked at it, and then hurried on, Alice started to her feet, for it flashed across her mind \
that she had never before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it, and burning with \
curiosity, she ran across the field after it, and fortunately was just in time to see it pop down a large rabbit-hole \
under the hedge.

In another moment down went Alice after it, never once considering how in the world she was to get out again.

The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that Alice had \
not a moment to think about stopping herself before she found herself falling down a very deep well.
"""

# Without any of these transformers makes an empty tokenizer of the family instead of failing.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def upcast_on_use(model):
    """Let every module compute with float32 copies of its own parameters, made before its forward and dropped after."""
    def before(module, args):
        for p in module._parameters.values():
            if p is not None:
                p.stored, p.data = p.data, p.data.float()

    def after(module, args, out):
        for p in module._parameters.values():
            if p is not None:
                p.data = p.stored
                del p.stored

    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d):                # its parent takes the weights from it
            module.float()
        if hasattr(module, "scalar_embed_scale"):              # Gemma; the buffer has the stored type
            module.embed_scale = torch.tensor(module.scalar_embed_scale, dtype=torch.float32)
        if any(p is not None for p in module._parameters.values()):
            module.register_forward_pre_hook(before)
            module.register_forward_hook(after)


def show_progress(model):
    layers, start = decoder(model).layers, time.time()
    for i, layer in enumerate(layers):
        layer.register_forward_hook(lambda m, a, o, i=i: print(
            f"\rlayer {i + 1} of {len(layers)}, {time.time() - start:.0f} s", end="", file=sys.stderr, flush=True))


def load(name, dtype):
    upcast = dtype == "float32"
    method = (getattr(AutoConfig.from_pretrained(name), "quantization_config", None) or {}).get("quant_method", "mxfp4")
    if method != "mxfp4":
        raise ValueError(f"{name}: weights quantised by {method}, which transformers would round again; only mxfp4 is exact")
    transformers.PreTrainedModel._keep_in_fp32_modules_strict = ["A_log", "norm"]    # float32 in files of other types
    model = AutoModelForCausalLM.from_pretrained(name, dtype="auto" if upcast else getattr(torch, dtype),
                                                 attn_implementation="eager", experts_implementation="eager").eval()
    if upcast:
        upcast_on_use(model)
    show_progress(model)
    return model


def prompt(args, config):
    """Token ids [n], int64; n is at most --n and the model's context."""
    vocab, limit = config.vocab_size, min(args.n, getattr(config, "max_position_embeddings", args.n))
    if args.tokens:
        ids = args.tokens
    else:
        folder = Path(args.model)
        if not folder.is_dir() or any((folder / name).exists() for name in TOKENIZER_FILES):
            tokenizer = AutoTokenizer.from_pretrained(args.model)
            ids = tokenizer(args.text.read_text(encoding="utf-8") if args.text else TEXT).input_ids
        elif args.text:
            raise ValueError(f"{args.model} has no tokenizer; give --tokens")
        else:
            print("no tokenizer: random tokens", file=sys.stderr)
            ids = np.random.default_rng(1).integers(0, vocab, limit).tolist()
    ids = ids[:limit]
    if not ids or min(ids) < 0 or max(ids) >= vocab:
        raise ValueError(f"token ids must be 0 to {vocab - 1}, and at least one")
    return torch.tensor(ids)


def compute(model, tokens, n_positions):
    """The tensors of the module text."""
    config, routers = model.config.get_text_config(), []

    def route(parts):
        def hook(module, args, out):
            ids, scores = out[2].sort(-1).values, router_scores(out[0].float(), config.model_type)
            routers.append((ids, choose(parts, scores, ids.shape[-1], config)[1]))
        return hook

    for layer in decoder(model).layers:
        parts = Parts(layer)
        if parts.router:
            parts.router.register_forward_hook(route(parts))
    with torch.no_grad():
        logits = model(tokens[None], use_cache=False).logits[0].float()
    print(file=sys.stderr)
    if not logits.isfinite().all():
        raise ValueError("logits are not finite")
    best, n = logits.topk(2), len(tokens)
    positions = torch.arange(max(0, n - n_positions), n)
    out = {"tokens": tokens, "positions": positions, "logits": logits[positions], "top1": best.indices[:, 0],
           "top1_gap": best.values[:, 0] - best.values[:, 1]}
    if routers:
        out["experts"] = torch.stack([ids for ids, _ in routers])
        out["router_gap"] = torch.stack([gap for _, gap in routers])
    return out


def write_safetensors(path, tensors, metadata):
    """As safetensors' save_file, which however puts the metadata in a random order."""
    header, blobs, end = {"__metadata__": metadata}, [], 0
    for name, t in tensors.items():
        is_float = t.dtype.is_floating_point
        blobs.append(t.contiguous().numpy().astype("<f4" if is_float else "<i4").tobytes())
        header[name] = {"dtype": "F32" if is_float else "I32", "shape": list(t.shape),
                        "data_offsets": [end, end + len(blobs[-1])]}
        end += len(blobs[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def ids_list(text):
    return [int(t) for t in text.split(",")]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("model", help="checkpoint folder, or a name transformers can load")
    ap.add_argument("--out", type=Path, help="output (default: <model>-reference.safetensors)")
    source = ap.add_mutually_exclusive_group()
    source.add_argument("--text", type=Path, metavar="FILE", help="prompt from a UTF-8 file")
    source.add_argument("--tokens", type=ids_list, metavar="1,2,3", help="prompt as token ids")
    ap.add_argument("--n", type=int, default=512, help="at most so many tokens (default 512)")
    ap.add_argument("--positions", type=int, default=32, help="keep the logits of so many last positions (default 32)")
    ap.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32",
                    help="type to compute in (default float32, with the stored weights up-cast)")
    ap.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    args = ap.parse_args()
    if args.n < 1 or args.positions < 1 or args.threads < 0:
        ap.error("--n and --positions must be at least 1, --threads at least 0")
    if args.threads:
        torch.set_num_threads(args.threads)
    for path in (Path(args.model) if args.model.startswith(("/", ".")) else None, args.text):
        if path and not path.exists():
            sys.exit(f"dump_reference.py: {path}: no such file or folder")
    transformers.logging.set_verbosity_error()
    name = Path(args.model).resolve().name if Path(args.model).is_dir() else args.model.split("/")[-1]
    out = args.out or Path(f"{name}-reference.safetensors")
    try:
        model = load(args.model, args.dtype)
        tensors = compute(model, prompt(args, model.config.get_text_config()), args.positions)
        write_safetensors(out, tensors, {"model": name, "dtype": args.dtype, "transformers": transformers.__version__,
                                         "torch": torch.__version__.split("+")[0]})
    except (OSError, ValueError) as e:
        sys.exit(f"dump_reference.py: {str(e).splitlines()[0]}")
    print(f"{out}: {len(tensors['tokens'])} tokens, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
