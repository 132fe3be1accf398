"""Sluice beside Hugging Face transformers: the same bf16 checkpoint, the same tokens, the same threads, in alternation.

    python bench/peers/compare_transformers.py --sluice build/sluice --csv bench/results/X.csv

Makes a random checkpoint of OLMoE's shapes cut to a few layers (zero-mean weights, embeddings of deviation 1 and small
output projections, so that the token decides the route and routing does not collapse), then runs both programs in turn
`--rounds` times: prefill of `--prompt` tokens, then greedy decoding of `--decode` tokens. Prints and writes medians and
their ratio. Needs tools/reference/requirements.txt.
"""
import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import save_file

SHAPE = dict(hidden_size=2048, num_attention_heads=16, num_key_value_heads=16, intermediate_size=1024, num_experts=64,
             num_experts_per_tok=8, vocab_size=50304)


def make_model(folder, n_layers):
    """Writes config.json and model.safetensors (bf16) of OLMoE's shapes with n_layers layers; the seed is fixed."""
    torch.manual_seed(0)
    hidden, width, vocab = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["vocab_size"]

    def weight(n, k, gain=1.0):
        return (torch.randn(n, k) * gain / k ** 0.5).to(torch.bfloat16)

    ones = torch.ones(hidden, dtype=torch.bfloat16)
    tensors = {"model.embed_tokens.weight": torch.randn(vocab, hidden).to(torch.bfloat16),
               "lm_head.weight": weight(vocab, hidden), "model.norm.weight": ones.clone()}
    for layer in range(n_layers):
        p = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"):
            tensors[f"{p}{name}.weight"] = ones.clone()
        for name in "qkv":
            tensors[f"{p}self_attn.{name}_proj.weight"] = weight(hidden, hidden)
        tensors[f"{p}self_attn.o_proj.weight"] = weight(hidden, hidden, 0.1)
        tensors[f"{p}mlp.gate.weight"] = weight(SHAPE["num_experts"], hidden)
        for e in range(SHAPE["num_experts"]):
            q = f"{p}mlp.experts.{e}."
            tensors[f"{q}gate_proj.weight"] = weight(width, hidden)
            tensors[f"{q}up_proj.weight"] = weight(width, hidden)
            tensors[f"{q}down_proj.weight"] = weight(hidden, width, 0.1)
    save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    config = dict(architectures=["OlmoeForCausalLM"], model_type="olmoe", num_hidden_layers=n_layers,
                  max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
                  tie_word_embeddings=False, torch_dtype="bfloat16", **SHAPE)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)


def run_sluice(args, folder, tokens):
    """One run; returns (prefill tokens/s, decode tokens/s, bytes touched per decoded token)."""
    command = [args.sluice, "run", folder, "--tokens", ",".join(map(str, tokens)), "-n", str(args.decode + 1),
               "--temp", "0", "--ignore-eos", "-t", str(args.threads), "--json"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    summary = json.loads(out.strip().splitlines()[-1])["summary"]
    prefill, decode = summary["prefill"], summary["decode"]
    return prefill["tokens_per_second"], decode["tokens_per_second"], decode["bytes_per_token"]


def run_transformers(model, args, tokens):
    """One run in this process; returns (prefill tokens/s, decode tokens/s)."""
    with torch.no_grad():
        start = time.perf_counter()
        out = model(torch.tensor([tokens]), use_cache=True, logits_to_keep=1)
        middle = time.perf_counter()
        for _ in range(args.decode):
            out = model(out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values, use_cache=True)
        end = time.perf_counter()
    return len(tokens) / (middle - start), args.decode / (end - middle)


def machine_name():
    """The processor's name as the system gives it."""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def measure(args, folder):
    """Alternates both programs; returns the medians by name."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    tokens = [(i * 7919 + 13) % 50000 for i in range(args.prompt)]
    found = {"sluice": [], "transformers": []}
    for i in range(args.rounds):
        found["sluice"].append(run_sluice(args, folder, tokens))
        found["transformers"].append(run_transformers(model, args, tokens))
        print(f"round {i + 1} of {args.rounds}: sluice {found['sluice'][-1][0]:.1f} / {found['sluice'][-1][1]:.2f}, "
              f"transformers {found['transformers'][-1][0]:.1f} / {found['transformers'][-1][1]:.2f} tokens/s "
              "(prefill / decode)", file=sys.stderr)
    return {name: [statistics.median(column) for column in zip(*rows)] for name, rows in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", default="build/sluice")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--csv", help="file to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_model(folder, args.layers)
        median = measure(args, folder)
    rows = [dict(machine=machine_name(), threads=args.threads, model=f"OLMoE shapes, {args.layers} layers, bf16",
                 phase=phase, tokens=n, sluice_tokens_per_second=round(median["sluice"][i], 2),
                 transformers_tokens_per_second=round(median["transformers"][i], 2),
                 ratio=round(median["sluice"][i] / median["transformers"][i], 2),
                 sluice_gigabytes_per_second=round(median["sluice"][1] * median["sluice"][2] * 1e-9, 2) if i else "",
                 rounds=args.rounds)
            for i, (phase, n) in enumerate([("prefill", args.prompt), ("decode", args.decode)])]
    out = csv.DictWriter(sys.stdout, rows[0])
    out.writeheader()
    out.writerows(rows)
    if args.csv:
        with open(args.csv, "w", newline="") as f:
            file = csv.DictWriter(f, rows[0])
            file.writeheader()
            file.writerows(rows)


if __name__ == "__main__":
    main()
