#!/usr/bin/env python3
"""Write GGUF files with the shapes of released models, fewer layers and random weights: for measuring speed.

    python bench/peers/shaped_models.py qwen3-30b-a3b --layers 8 --type q4_0 OUT.gguf

Models: qwen3-30b-a3b, olmoe-1b-7b, mixtral-8x7b, gpt-oss-20b. Types: q4_0, q8_0, mxfp4 (matrices of experts; the rest
then q8_0), bf16. There is no tokenizer: programs take token ids.

Random weights must not change what is measured. With weights that are not zero-mean, or layers that add much, all
tokens end up at the same few experts, and a program looks faster than it is. So the weights are symmetric around zero,
rows of the embedding have deviation 1, and what layers add (o, down) is a tenth of that: the token decides its experts.
The bytes of some experts are equal (there is a pool of --pool random matrices), which no program can notice.
"""
import argparse
import sys

import gguf
import numpy as np

BASE = dict(eps=1e-6, theta=1e6, context=32768)
SHAPES = {
    "qwen3-30b-a3b": dict(BASE, arch="qwen3moe", hidden=2048, heads=32, kv=4, dim=128, experts=128, top_k=8, ff=768,
                          vocab=151936, qk_norm=True, layers=48),
    "olmoe-1b-7b": dict(BASE, arch="olmoe", hidden=2048, heads=16, kv=16, dim=128, experts=64, top_k=8, ff=1024,
                        vocab=50304, full_norm=True, theta=1e4, context=4096, layers=16),
    "mixtral-8x7b": dict(BASE, arch="llama", hidden=4096, heads=32, kv=8, dim=128, experts=8, top_k=2, ff=14336,
                         vocab=32000, layers=32),
    "gpt-oss-20b": dict(BASE, arch="gpt-oss", hidden=2880, heads=64, kv=8, dim=64, experts=32, top_k=4, ff=2880,
                        vocab=201088, theta=150000.0, bias=True, window=128, layers=24),
}
TYPES = {"q4_0": gguf.GGMLQuantizationType.Q4_0, "q8_0": gguf.GGMLQuantizationType.Q8_0,
         "mxfp4": gguf.GGMLQuantizationType.MXFP4, "bf16": gguf.GGMLQuantizationType.BF16}
FP4_DEVIATION = 2.9  # root mean square of the sixteen values of MXFP4


def blocks(rng, kind, rows, columns, deviation):
    """Bytes [rows, bytes per row] of random weights with that standard deviation."""
    n = rows * columns // 32
    if kind == "bf16":
        x = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(deviation)
        return (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(rows, -1)
    if kind == "q8_0":
        codes = rng.integers(-127, 128, (n, 32), dtype=np.int8).view(np.uint8)
        scale = np.full(n, deviation / (127 / 3 ** 0.5), np.float16).view(np.uint8).reshape(n, 2)
    elif kind == "q4_0":  # codes 1..15, of which 8 is zero
        codes = rng.integers(1, 16, (n, 16), dtype=np.uint8) | rng.integers(1, 16, (n, 16), dtype=np.uint8) << 4
        scale = np.full(n, deviation / (56 / 3) ** 0.5, np.float16).view(np.uint8).reshape(n, 2)
    else:
        codes = rng.integers(0, 256, (n, 16), dtype=np.uint8)
        scale = np.full((n, 1), 127 + round(np.log2(deviation / FP4_DEVIATION)), np.uint8)
    return np.concatenate([scale, codes], axis=1).reshape(rows, -1)


class Writer:
    def __init__(self, path, shape, layers, kind, pool):
        self.out = gguf.GGUFWriter(path, shape["arch"])
        self.shape, self.layers, self.kind, self.pool = shape, layers, kind, pool
        self.rng = np.random.default_rng(1)

    def keys(self):
        s, out = self.shape, self.out
        out.add_block_count(self.layers)
        out.add_context_length(s["context"])
        out.add_embedding_length(s["hidden"])
        out.add_feed_forward_length(s["ff"])
        out.add_head_count(s["heads"])
        out.add_head_count_kv(s["kv"])
        out.add_key_length(s["dim"])
        out.add_value_length(s["dim"])
        out.add_layer_norm_rms_eps(s["eps"])
        out.add_rope_freq_base(s["theta"])
        out.add_rope_dimension_count(s["dim"])
        out.add_expert_count(s["experts"])
        out.add_expert_used_count(s["top_k"])
        out.add_expert_feed_forward_length(s["ff"])
        out.add_vocab_size(s["vocab"])
        if "window" in s:
            out.add_sliding_window(s["window"])
        out.add_string("tokenizer.ggml.model", "none")

    def ones(self, name, n):
        self.out.add_tensor(name, np.ones(n, np.float32))

    def zeros(self, name, *n):
        self.out.add_tensor(name, np.zeros(n, np.float32))

    def matrix(self, name, rows, columns, kind=None, gain=1.0, deviation=None):
        kind = kind or ("q8_0" if self.kind == "mxfp4" else self.kind)
        data = blocks(self.rng, kind, rows, columns, deviation or gain / columns ** 0.5)
        self.out.add_tensor(name, data, raw_dtype=TYPES[kind])

    def experts(self, name, rows, columns, gain=1.0):
        s = self.shape
        pool = [blocks(self.rng, self.kind, rows, columns, gain / columns ** 0.5) for _ in range(self.pool)]
        data = np.stack([pool[e % self.pool] for e in range(s["experts"])])
        self.out.add_tensor(name, data, raw_dtype=TYPES[self.kind])

    def layer(self, i):
        s, blk = self.shape, f"blk.{i}."
        q, kv = s["heads"] * s["dim"], s["kv"] * s["dim"]
        self.ones(blk + "attn_norm.weight", s["hidden"])
        for name, rows in (("attn_q", q), ("attn_k", kv), ("attn_v", kv)):
            self.matrix(f"{blk}{name}.weight", rows, s["hidden"])
        self.matrix(blk + "attn_output.weight", s["hidden"], q, gain=0.1)
        if "qk_norm" in s or "full_norm" in s:
            self.ones(blk + "attn_q_norm.weight", s["dim"] if "qk_norm" in s else q)
            self.ones(blk + "attn_k_norm.weight", s["dim"] if "qk_norm" in s else kv)
        self.ones(blk + ("post_attention_norm.weight" if s["arch"] == "gpt-oss" else "ffn_norm.weight"), s["hidden"])
        router = self.rng.standard_normal((s["experts"], s["hidden"]), dtype=np.float32)
        self.out.add_tensor(blk + "ffn_gate_inp.weight", router / np.float32(s["hidden"] ** 0.5))
        self.experts(blk + "ffn_gate_exps.weight", s["ff"], s["hidden"])
        self.experts(blk + "ffn_up_exps.weight", s["ff"], s["hidden"])
        self.experts(blk + "ffn_down_exps.weight", s["hidden"], s["ff"], gain=0.1)
        if "bias" in s:
            for name, n in (("attn_q", q), ("attn_k", kv), ("attn_v", kv), ("attn_output", s["hidden"]),
                            ("ffn_gate_inp", s["experts"])):
                self.zeros(f"{blk}{name}.bias", n)
            self.zeros(blk + "attn_sinks.weight", s["heads"])
            for name, n in (("gate", s["ff"]), ("up", s["ff"]), ("down", s["hidden"])):
                self.zeros(f"{blk}ffn_{name}_exps.bias", s["experts"], n)

    def write(self):
        s = self.shape
        self.keys()
        self.matrix("token_embd.weight", s["vocab"], s["hidden"], deviation=1.0)
        self.matrix("output.weight", s["vocab"], s["hidden"])
        self.ones("output_norm.weight", s["hidden"])
        for i in range(self.layers):
            self.layer(i)
            print(f"\rlayer {i + 1} of {self.layers}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        self.out.write_header_to_file()
        self.out.write_kv_data_to_file()
        self.out.write_tensors_to_file()
        self.out.close()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("model", choices=sorted(SHAPES))
    ap.add_argument("out")
    ap.add_argument("--layers", type=int, help="fewer than the model has")
    ap.add_argument("--type", choices=sorted(TYPES), default="q4_0")
    ap.add_argument("--pool", type=int, default=4, help="different random matrices per bank of experts")
    args = ap.parse_args()
    shape = SHAPES[args.model]
    Writer(args.out, shape, args.layers or shape["layers"], args.type, args.pool).write()


if __name__ == "__main__":
    main()
