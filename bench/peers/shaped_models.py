#!/usr/bin/env python3
"""Write GGUF files with the shapes of released models, fewer layers and random weights: for measuring speed.

    python bench/peers/shaped_models.py qwen3-30b-a3b --layers 8 --type q4_0 OUT.gguf
    python bench/peers/shaped_models.py olmoe-1b-7b --type q4_k --zipf 1 OUT.gguf

All matrices have the one type, but for the usual exceptions: norms and routers are F32; rows that blocks of 256 do not
divide get the blocks of 32 that llama.cpp's quantiser takes for them; mxfp4 is for experts, the rest is then q8_0.
There is no tokenizer: programs take token ids.

Random weights must not change what is measured. With weights that are not zero-mean, or layers that add much, all
tokens end up at the same few experts, and a program looks faster than it is. So the weights are symmetric around zero,
rows of the embedding have deviation 1, and what layers add (o, down) is a tenth of that: the token decides its experts.
With --zipf S experts are not equally popular: the expert of rank r is chosen in proportion to r^-S, in another order in
every layer. For that the first block of all rows of the embedding is the same, and the router's rows have the log odds
of their experts in its direction.

Rows are windows into a few megabytes of random blocks, so writing is as fast as the disk.
"""
import argparse
import sys
from statistics import NormalDist

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
    # llama.cpp tells the Lite model, whose queries have no latent, by its 27 layers; with fewer, queries get V2's.
    "deepseek-v2-lite": dict(BASE, arch="deepseek2", hidden=2048, heads=16, kv=1, nope=128, rope=64, dim=128,
                             kv_lora=512, q_lora=1536, experts=64, top_k=6, ff=1408, shared=2, dense_ff=10944,
                             vocab=102400, theta=1e4, layers=27),
}

CURVE = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
ELEMENTS = dict(q4_k=256, q5_k=256, q6_k=256, iq4_xs=256) # of a block; others 32
NARROW = dict(q4_k="q5_0", q5_k="q5_1", q6_k="q8_0", iq4_xs="iq4_nl") # for rows that 256 does not divide
TYPES = ["bf16", "f16", "f32", "iq4_nl", "iq4_xs", "mxfp4", "q4_0", "q4_1", "q4_k", "q5_0", "q5_1", "q5_k", "q6_k",
         "q8_0"]


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def halves(x, n, keep=0xFFFF):
    """n copies of x as bytes of a half, cut to the bits `keep` of its mantissa."""
    bits = np.full(n, x, np.float16).view(np.uint16) & np.uint16(keep)
    return bits.view(np.uint8).reshape(n, 2)


def pack_scales(scales):
    """Q4_K and Q5_K: [n, 8] numbers of 6 bits, which are the mins as well, as 12 bytes."""
    low, high = scales[:, :4], scales[:, 4:]
    first = low | (high >> 4) << 6
    return np.concatenate([first, first, (high & 15) | (high & 15) << 4], axis=1).astype(np.uint8)


def random_blocks(rng, kind, n, deviation):
    """[n, bytes] random blocks of numbers with mean zero and that deviation. Where the codes of a type are not
    symmetric around zero, half of the scales are negative, or the offset is the middle of the codes."""
    def codes(count):
        return rng.integers(0, 256, (n, count), dtype=np.uint8)

    def signed(scale):
        return halves(scale, n) | (codes(1) & 0x80) * np.array([0, 1], np.uint8)

    if kind in ("f32", "f16", "bf16"):
        x = rng.standard_normal((n, 32), dtype=np.float32) * np.float32(deviation)
        if kind == "bf16":
            return (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return (x if kind == "f32" else x.astype(np.float16)).view(np.uint8)
    if kind == "q8_0":
        return np.hstack([halves(deviation / rms(np.arange(-127, 128)), n),
                          rng.integers(-127, 128, (n, 32), dtype=np.int8).view(np.uint8)])
    if kind == "q4_0":  # codes 1..15, of which 8 is zero
        nibbles = rng.integers(1, 16, (2, n, 16), dtype=np.uint8)
        return np.hstack([halves(deviation / rms(np.arange(-7, 8)), n), nibbles[0] | nibbles[1] << 4])
    if kind == "q4_1":
        d = halves(deviation / rms(np.arange(16) - 7.5), n, 0xFFF0)
        return np.hstack([d, halves(-7.5 * float(d[0].view(np.float16)[0]), n), codes(16)])
    if kind == "q5_0":
        return np.hstack([signed(deviation / rms(np.arange(-16, 16))), codes(20)])
    if kind == "q5_1":
        d = halves(deviation / rms(np.arange(32) - 15.5), n, 0xFFE0)
        return np.hstack([d, halves(-15.5 * float(d[0].view(np.float16)[0]), n), codes(20)])
    if kind == "iq4_nl":
        return np.hstack([signed(deviation / rms(CURVE)), codes(16)])
    if kind == "mxfp4":
        return np.hstack([np.full((n, 1), 127 + round(np.log2(deviation / rms(E2M1))), np.uint8), codes(16)])
    if kind == "q6_k":
        scales = rng.integers(32, 64, (n, 16), dtype=np.int8) * rng.choice(np.array([-1, 1], np.int8), (n, 16))
        return np.hstack([codes(192), scales.view(np.uint8),
                          halves(deviation / rms(np.arange(-32, 32)) / rms(np.arange(32, 64)), n)])
    if kind == "iq4_xs":
        scales = rng.integers(16, 32, (n, 8)) * rng.choice([-1, 1], (n, 8)) + 32
        high = ((scales >> 4) << 2 * np.arange(8)).sum(1).astype(np.uint16).view(np.uint8).reshape(n, 2)
        low = (scales[:, 0::2] & 15 | (scales[:, 1::2] & 15) << 4).astype(np.uint8)
        return np.hstack([halves(deviation / rms(CURVE) / rms(np.arange(16, 32)), n), high, low, codes(128)])
    middle, keep, more = (7.5, 0xFFF0, 0) if kind == "q4_k" else (15.5, 0xFFE0, 32)
    d = halves(deviation / rms(np.arange(2 * middle + 1) - middle) / rms(np.arange(32, 64)), n, keep)
    dmin = halves(middle * float(d[0].view(np.float16)[0]), n)
    return np.hstack([d, dmin, pack_scales(rng.integers(32, 64, (n, 8))), codes(128 + more)])


def popularity(n_experts, top_k, exponent):
    """[n_experts] chances of being chosen, by rank: they add up to top_k, and none is above 0.95."""
    weights = np.arange(1, n_experts + 1, dtype=np.float64) ** -exponent
    chances = weights * (top_k / weights.sum())
    for _ in range(n_experts):
        capped = chances >= 0.95
        if not capped.any() or top_k >= 0.95 * n_experts:
            break
        chances = np.where(capped, 0.95, weights * ((top_k - 0.95 * capped.sum()) / weights[~capped].sum()))
        if (chances <= 0.95).all():
            break
    return chances


def expected_distinct(chances, n_tokens):
    """Experts of a layer that at least one of n tokens chooses: E (1 - (1 - k/E)^n) if all are alike."""
    return float((1 - (1 - chances) ** n_tokens).sum())


class Writer:
    def __init__(self, path, shape, layers, kind, zipf):
        self.out = gguf.GGUFWriter(path, shape["arch"])
        self.shape, self.layers, self.kind, self.zipf = shape, layers, kind, zipf
        self.rng = np.random.default_rng(1)
        self.pools = {}
        self.fill = []  # one function per tensor, which returns its data

    def keys(self):
        s, out = self.shape, self.out
        out.add_block_count(self.layers)
        out.add_context_length(s["context"])
        out.add_embedding_length(s["hidden"])
        out.add_feed_forward_length(s.get("dense_ff", s["ff"]))
        out.add_head_count(s["heads"])
        out.add_head_count_kv(s["kv"])
        out.add_layer_norm_rms_eps(s["eps"])
        out.add_rope_freq_base(s["theta"])
        out.add_expert_count(s["experts"])
        out.add_expert_used_count(s["top_k"])
        out.add_expert_feed_forward_length(s["ff"])
        out.add_vocab_size(s["vocab"])
        if "kv_lora" in s:
            self.latent_keys()
        else:
            out.add_key_length(s["dim"])
            out.add_value_length(s["dim"])
            out.add_rope_dimension_count(s["dim"])
        if "window" in s:
            out.add_sliding_window(s["window"])
        out.add_string("tokenizer.ggml.model", "none")

    def latent_keys(self):
        s, out = self.shape, self.out
        out.add_key_length(s["kv_lora"] + s["rope"])
        out.add_value_length(s["kv_lora"])
        out.add_key_length_mla(s["nope"] + s["rope"])
        out.add_value_length_mla(s["dim"])
        out.add_rope_dimension_count(s["rope"])
        out.add_kv_lora_rank(s["kv_lora"])
        if not self.is_lite():
            out.add_q_lora_rank(s["q_lora"])
        out.add_leading_dense_block_count(1)
        out.add_expert_shared_count(s["shared"])
        out.add_expert_weights_scale(1.0)
        out.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)

    def is_lite(self):
        return self.layers in (26, 27)

    # -- tensors -------------------------------------------------------------------------------------------------------

    def floats(self, name, make, *shape):
        self.out.add_tensor_info(name, list(shape), np.dtype(np.float32), 4 * int(np.prod(shape)))
        self.fill.append(lambda: np.ascontiguousarray(make(), dtype=np.float32))

    def ones(self, name, n):
        self.floats(name, lambda: np.ones(n), n)

    def zeros(self, name, *shape):
        self.floats(name, lambda: np.zeros(shape), *shape)

    def pool(self, kind, deviation):
        """[blocks, bytes]; a few megabytes per deviation."""
        if (kind, deviation) not in self.pools:
            n = (1 << 21) // ELEMENTS.get(kind, 32)
            self.pools[kind, deviation] = random_blocks(self.rng, kind, n, deviation)
        return self.pools[kind, deviation]

    def rows(self, kind, n, columns, deviation):
        """[n, bytes per row]: each row a window into the pool."""
        pool = self.pool(kind, deviation)
        per_row, block = columns // ELEMENTS.get(kind, 32), pool.shape[1]
        windows = np.lib.stride_tricks.as_strided(pool, (len(pool) - per_row + 1, per_row * block), (block, 1))
        return windows[self.rng.integers(0, len(windows), n)]

    def type_of(self, columns, of_experts):
        kind = self.kind if of_experts or self.kind != "mxfp4" else "q8_0"
        return NARROW.get(kind, kind) if columns % 256 else kind

    def matrix(self, name, *shape, gain=1.0, deviation=None, of_experts=False, make=None):
        """shape: rows and columns, maybe a number of such matrices before them."""
        *outer, columns = shape
        kind = self.type_of(columns, of_experts)
        deviation = deviation or gain / columns ** 0.5
        row_bytes = columns // ELEMENTS.get(kind, 32) * self.pool(kind, deviation).shape[1]
        n = int(np.prod(outer))
        self.out.add_tensor_info(name, [*outer, row_bytes], np.dtype(np.uint8), n * row_bytes,
                                 raw_dtype=gguf.GGMLQuantizationType[kind.upper()])
        self.fill.append(lambda: (make or self.rows)(kind, n, columns, deviation).reshape(*outer, row_bytes))

    def embedding_rows(self, kind, n, columns, deviation):
        rows = self.rows(kind, n, columns, deviation)
        if self.zipf is not None:
            rows[:, :self.pool(kind, deviation).shape[1]] = self.pool(kind, deviation)[0]
        return rows

    def router(self):
        s = self.shape
        rows = self.rng.standard_normal((s["experts"], s["hidden"])) / s["hidden"] ** 0.5
        if self.zipf is None:
            return rows
        kind = self.type_of(s["hidden"], False)
        same = gguf.quants.dequantize(self.pool(kind, 1.0)[:1], gguf.GGMLQuantizationType[kind.upper()])[0]
        spread = (1 - len(same) / s["hidden"]) ** 0.5  # deviation of the logits before the log odds
        chances = self.rng.permutation(popularity(s["experts"], s["top_k"], self.zipf))
        odds = np.array([NormalDist(0, spread).inv_cdf(float(p)) for p in chances])
        rows[:, :len(same)] = odds[:, None] * same / np.square(same, dtype=np.float64).sum()
        return rows

    def attention(self, blk):
        s, hidden = self.shape, self.shape["hidden"]
        q, kv = s["heads"] * s["dim"], s["kv"] * s["dim"]
        for name, rows in (("attn_q", q), ("attn_k", kv), ("attn_v", kv)):
            self.matrix(f"{blk}{name}.weight", rows, hidden)
        self.matrix(blk + "attn_output.weight", hidden, q, gain=0.1)
        if "qk_norm" in s or "full_norm" in s:
            self.ones(blk + "attn_q_norm.weight", s["dim"] if "qk_norm" in s else q)
            self.ones(blk + "attn_k_norm.weight", s["dim"] if "qk_norm" in s else kv)
        if "bias" in s:
            for name, n in (("attn_q", q), ("attn_k", kv), ("attn_v", kv), ("attn_output", hidden)):
                self.zeros(f"{blk}{name}.bias", n)
            self.zeros(blk + "attn_sinks.weight", s["heads"])

    def latent_attention(self, blk):
        s, hidden, q = self.shape, self.shape["hidden"], self.shape["heads"] * (self.shape["nope"] + self.shape["rope"])
        if self.is_lite():
            self.matrix(blk + "attn_q.weight", q, hidden)
        else:
            self.matrix(blk + "attn_q_a.weight", s["q_lora"], hidden)
            self.ones(blk + "attn_q_a_norm.weight", s["q_lora"])
            self.matrix(blk + "attn_q_b.weight", q, s["q_lora"])
        self.matrix(blk + "attn_kv_a_mqa.weight", s["kv_lora"] + s["rope"], hidden)
        self.ones(blk + "attn_kv_a_norm.weight", s["kv_lora"])
        self.matrix(blk + "attn_k_b.weight", s["heads"], s["kv_lora"], s["nope"], deviation=s["kv_lora"] ** -0.5)
        self.matrix(blk + "attn_v_b.weight", s["heads"], s["dim"], s["kv_lora"])
        self.matrix(blk + "attn_output.weight", hidden, s["heads"] * s["dim"], gain=0.1)

    def mlp(self, blk, suffix, ff):
        hidden = self.shape["hidden"]
        self.matrix(f"{blk}ffn_gate{suffix}.weight", ff, hidden)
        self.matrix(f"{blk}ffn_up{suffix}.weight", ff, hidden)
        self.matrix(f"{blk}ffn_down{suffix}.weight", hidden, ff, gain=0.1)

    def experts(self, blk):
        s, hidden, ff, n = self.shape, self.shape["hidden"], self.shape["ff"], self.shape["experts"]
        self.floats(blk + "ffn_gate_inp.weight", self.router, n, hidden)
        self.matrix(blk + "ffn_gate_exps.weight", n, ff, hidden, of_experts=True)
        self.matrix(blk + "ffn_up_exps.weight", n, ff, hidden, of_experts=True)
        self.matrix(blk + "ffn_down_exps.weight", n, hidden, ff, gain=0.1, of_experts=True)
        if "shared" in s:
            self.mlp(blk, "_shexp", s["shared"] * ff)
        if "bias" in s:
            self.zeros(blk + "ffn_gate_inp.bias", n)
            for name, rows in (("gate", ff), ("up", ff), ("down", hidden)):
                self.zeros(f"{blk}ffn_{name}_exps.bias", n, rows)

    def layer(self, i):
        s, blk = self.shape, f"blk.{i}."
        self.ones(blk + "attn_norm.weight", s["hidden"])
        self.latent_attention(blk) if "kv_lora" in s else self.attention(blk)
        self.ones(blk + ("post_attention_norm.weight" if s["arch"] == "gpt-oss" else "ffn_norm.weight"), s["hidden"])
        if "dense_ff" in s and i == 0:
            self.mlp(blk, "", s["dense_ff"])
        else:
            self.experts(blk)

    def write(self):
        s = self.shape
        self.keys()
        self.matrix("token_embd.weight", s["vocab"], s["hidden"], deviation=1.0, make=self.embedding_rows)
        self.matrix("output.weight", s["vocab"], s["hidden"])
        self.ones("output_norm.weight", s["hidden"])
        for i in range(self.layers):
            self.layer(i)
        self.out.write_header_to_file()
        self.out.write_kv_data_to_file()
        self.out.write_ti_data_to_file()
        for i, make in enumerate(self.fill):
            self.out.write_tensor_data(make())
            if sys.stderr.isatty():
                print(f"\rtensor {i + 1} of {len(self.fill)}", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print(file=sys.stderr)
        self.out.close()


def write_model(path, model, layers, kind, zipf=None):
    """zipf None: all experts are equally popular."""
    Writer(str(path), SHAPES[model], layers or SHAPES[model]["layers"], kind, zipf).write()


def add_arguments(ap):
    ap.add_argument("--layers", type=int, help="fewer than the model has")
    ap.add_argument("--type", choices=TYPES, default="q4_0")
    ap.add_argument("--zipf", type=float, metavar="S", help="experts in proportion to rank^-S instead of all alike")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("model", choices=sorted(SHAPES))
    ap.add_argument("out")
    add_arguments(ap)
    args = ap.parse_args()
    write_model(args.out, args.model, args.layers, args.type, args.zipf)


if __name__ == "__main__":
    main()
