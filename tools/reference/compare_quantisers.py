#!/usr/bin/env python3
"""Compare the error of Sluice's quantisers with that of llama.cpp's (ggml_quantize_chunk), type by type.

usage: compare_quantisers.py --encoder build/bench_quantise --csv bench/results/quantisers.csv [--types Q4_K,...]

Both write blocks of the same numbers; PyPI `gguf` decodes both. A row of the table is a type and how the error is
weighed (`plain`, or by an importance per column that both quantisers are told): millions of elements per second of
both on one thread (processor time, median over the data sets), Sluice's root mean square error on Gaussian numbers of
variance 1, and for each data set the ratio of both errors, Sluice's to the peer's; 1 when both are exact.

The goal is a ratio of at most 1.01 everywhere; the exit code says whether it is met. Needs llama-cpp-python for its
libggml-base; the encoder is built with -DSLUICE_BENCH=ON.
"""
import argparse
import csv
import ctypes
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"]
ROWS, COLUMNS = 128, 1024
GOAL = 1.01


def data_sets():
    """Name -> float32 [rows, columns]."""
    random = np.random.default_rng(1)
    shape = ROWS, COLUMNS
    normal = random.standard_normal
    sets = {
        "gaussian": normal(shape),
        "laplace": random.laplace(size=shape),
        "uniform": random.uniform(-1, 1, shape),
        "student_t3": random.standard_t(3, shape),
        "outliers_30": np.where(random.random(shape) < 1 / 256, 30, 1) * normal(shape),
        "outliers_1000": normal(shape) + np.where(random.random(shape) < 1 / 64, 1000, 0),
        "rows_1e-3_to_1e3": normal(shape) * np.logspace(-3, 3, ROWS)[:, None],
        "times_1e-5": normal(shape) * 1e-5,
        "columns_lognormal": normal(shape) * np.exp(1.5 * normal(COLUMNS)),
        "sparse": normal(shape) * (random.random(shape) < 0.1),
        "positive_uniform": random.uniform(0, 1, shape),
        "around_1": 1 + 0.1 * normal(shape),
        "around_minus_1": -1 + 0.1 * normal(shape),
        "eighths": np.round(3 * normal(shape)) / 8,
        "constant": np.broadcast_to(normal((ROWS, 1)), shape),
        "zero": np.zeros(shape),
    }
    with safe_open(ROOT / "weights/demo/model.safetensors", "pt") as demo:
        for name, tensor in (("demo_embedding", "model.embed_tokens"), ("demo_q", "model.layers.0.self_attn.q_proj"),
                             ("demo_down", "model.layers.1.mlp.experts.3.down_proj")):
            sets[name] = demo.get_tensor(tensor + ".weight").float().numpy()[:512]
    return {name: np.ascontiguousarray(x, dtype=np.float32) for name, x in sets.items()}


IMPORTANCES = ["plain", "squares", "lognormal", "tenth"]


def importance_of(name, columns):
    """float32 [columns], or None for plain errors."""
    random = np.random.default_rng(2)
    if name == "squares":  # as of activations
        return np.float32(random.standard_normal(columns) ** 2 * np.exp(random.standard_normal(columns)))
    if name == "lognormal":  # a few columns are everything
        return np.float32(np.exp(2.5 * random.standard_normal(columns)))
    if name == "tenth":  # the others count nothing
        return np.float32(random.random(columns) < 0.1)
    return None


class Peer:
    def __init__(self):
        self.library = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib/libggml-base.so"))
        self.library.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                                     ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]

    def encode(self, kind, x, importance):
        blocks = np.zeros(gguf.quant_shape_to_byte_shape(x.shape, kind), np.uint8)
        begin = time.thread_time()
        self.library.ggml_quantize_chunk(int(kind), x.ctypes.data, blocks.ctypes.data, 0, *x.shape,
                                         None if importance is None else importance.ctypes.data)
        return blocks, time.thread_time() - begin


class Sluice:
    def __init__(self, program, folder):
        self.program, self.folder = program, Path(folder)

    def encode(self, kind, x, importance):
        x.tofile(self.folder / "x")
        args = [self.program, kind.name, str(x.shape[1]), self.folder / "x", self.folder / "blocks"]
        if importance is not None:
            importance.tofile(self.folder / "importance")
            args.append(self.folder / "importance")
        seconds = float(subprocess.run(args, check=True, capture_output=True, text=True).stdout)
        shape = gguf.quant_shape_to_byte_shape(x.shape, kind)
        return np.fromfile(self.folder / "blocks", np.uint8).reshape(shape), seconds


def error(kind, blocks, x, importance):
    """Root of the weighted mean square error."""
    weights = np.ones(x.shape[1]) if importance is None else importance.astype(np.float64)
    difference = gguf.dequantize(blocks, kind).astype(np.float64) - x
    return float(np.sqrt(np.sum(weights * difference ** 2) / (weights.sum() * len(x))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default=ROOT / "build/bench_quantise", type=Path)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--types", default=",".join(TYPES))
    args = parser.parse_args()

    peer, sets, rows, met = Peer(), data_sets(), [], True
    with tempfile.TemporaryDirectory() as folder:
        sluice = Sluice(args.encoder, folder)
        for kind in (Type[name] for name in args.types.split(",")):
            for weights in IMPORTANCES:
                ratios, speeds, peer_speeds, gaussian = {}, [], [], 0.0
                for data, x in sets.items():
                    importance = importance_of(weights, x.shape[1])
                    ours, seconds = sluice.encode(kind, x, importance)
                    theirs, peer_seconds = peer.encode(kind, x, importance)
                    e, p = error(kind, ours, x, importance), error(kind, theirs, x, importance)
                    ratios[data] = e / p if p else 1.0 if e == 0 else np.inf
                    speeds.append(x.size / seconds / 1e6)
                    peer_speeds.append(x.size / peer_seconds / 1e6)
                    gaussian = e if data == "gaussian" else gaussian
                worst = max(ratios, key=ratios.get)
                met &= ratios[worst] <= GOAL
                speed, peer_speed = np.median(speeds), np.median(peer_speeds)
                print(f"{kind.name:8} {weights:10} largest ratio {ratios[worst]:.4f} ({worst}), gaussian "
                      f"{ratios['gaussian']:.4f}, {speed:.1f} M/s (peer {peer_speed:.1f})", flush=True)
                rows.append([kind.name, weights, f"{speed:.1f}", f"{peer_speed:.1f}", f"{gaussian:.6f}"] +
                            [f"{ratio:.4f}" for ratio in ratios.values()])
    if args.csv:
        with args.csv.open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["type", "weights", "mega_elements_per_s", "peer_mega_elements_per_s", "gaussian_error",
                            *sets])
            table.writerows(rows)
    sys.exit(not met)


main()
