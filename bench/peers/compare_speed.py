#!/usr/bin/env python3
"""Prefill and decode of Sluice and llama.cpp on the same GGUF files, in alternation, as ratios.

    python bench/peers/shaped_models.py qwen3-30b-a3b --layers 8 --type q4_0 q.gguf
    python bench/peers/compare_speed.py --sluice build/sluice --csv bench/results/X.csv q.gguf ...

Each round runs each program once on the same random token ids: one prefill of --prefill tokens, then --decode tokens,
one by one. The figures are medians over --rounds, the ratios medians of the rounds' ratios. llama.cpp is the package
llama-cpp-python, built natively. Both use --threads threads.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from compare_llama_cpp import processor


def run_sluice(program, model, tokens, n_decode, threads):
    done = subprocess.run([program, "run", model, "--tokens", ",".join(map(str, tokens)), "-n", str(n_decode + 1),
                           "--ignore-eos", "--temp", "0", "-t", str(threads), "--json"], capture_output=True)
    if done.returncode:
        sys.exit(f"sluice: {done.stderr.decode(errors='replace').strip()}")
    summary = json.loads(done.stdout.decode().splitlines()[-1])["summary"]
    return [summary[k]["tokens_per_second"] for k in ("prefill", "decode")]


class Peer:
    def __init__(self, model, n, threads):
        import llama_cpp
        self.llama = llama_cpp.Llama(model, n_ctx=(n + 255) // 256 * 256, n_batch=2048, n_ubatch=512, n_threads=threads,
                                     n_threads_batch=threads, verbose=False)

    def run(self, tokens, n_decode):
        self.llama.reset()
        start = time.perf_counter()
        self.llama.eval(tokens)
        middle = time.perf_counter()
        for i in range(n_decode):  # which ids does not matter for time; the same for both would need the same logits
            self.llama.eval([tokens[i % len(tokens)]])
        end = time.perf_counter()
        return [len(tokens) / (middle - start), n_decode / (end - middle)]


def measure(args, model):
    import gguf
    field = [f for name, f in gguf.GGUFReader(model).fields.items() if name.endswith(".vocab_size")]
    vocab = int(field[0].contents()) if field else 32000
    tokens = np.random.default_rng(3).integers(0, vocab, args.prefill).tolist()
    peer = Peer(model, args.prefill + args.decode + 8, args.threads)
    peer.run(tokens, 4)  # pages in
    rounds = []
    for _ in range(args.rounds):
        ours, theirs = run_sluice(args.sluice, model, tokens, args.decode, args.threads), peer.run(tokens, args.decode)
        rounds.append(ours + theirs + [ours[0] / theirs[0], ours[1] / theirs[1]])
    return [statistics.median(x) for x in zip(*rounds)]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("models", nargs="+")
    ap.add_argument("--sluice", required=True)
    ap.add_argument("--csv", type=Path)
    ap.add_argument("--prefill", type=int, default=512)
    ap.add_argument("--decode", type=int, default=32)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    args = ap.parse_args()
    columns = ["model", "prefill_sluice", "decode_sluice", "prefill_llama_cpp", "decode_llama_cpp", "prefill_ratio",
               "decode_ratio"]
    print("  ".join(columns))
    rows = []
    for model in args.models:
        rows.append([Path(model).stem] + [f"{x:.4g}" for x in measure(args, model)])
        print("  ".join(rows[-1]), flush=True)
    if args.csv:
        import llama_cpp
        with open(args.csv, "w", newline="", encoding="utf-8") as f:
            f.write(f"# compare_speed.py: llama-cpp-python {llama_cpp.__version__}, {processor()}, {args.threads} "
                    f"threads, {args.prefill} and {args.decode} tokens, {args.rounds} rounds\n")
            csv.writer(f).writerows([columns] + rows)


if __name__ == "__main__":
    main()
