#!/usr/bin/env python3
"""Prefill and decode of Sluice beside llama.cpp on the same GGUF file and the same tokens, in alternation, as ratios.

    cmake -B build -DSLUICE_BENCH=ON && cmake --build build --target bench_model sluice
    pip install llama-cpp-python gguf          # built from source, so that it uses what this CPU has
    python bench/peers/compare_speed.py --model qwen3-30b-a3b --layers 8 --type q4_0

The command writes a model of random weights (shaped_models.py), checks that its experts are used as they should be, and
measures prefill at several lengths and decode at several contexts. With --file the model is a GGUF file, or a folder,
which `sluice quantize` first brings to --type. Each round of a point runs every program once; all use --threads
threads. llama.cpp takes batches of 512 tokens or of 2048, whichever is faster at that length. --ik adds ik_llama.cpp by
its program llama-bench (run-time repacking, fused experts, flash attention).

A figure is a median over the rounds with its quartiles, a ratio the median of the rounds' ratios. Results count, and
rows are appended to bench/results/speed_<cpu>.csv, only if the tokens of a random model meet at least 90 % of the
expected distinct experts, and if no more than 10 % of the processors' time went to others: where threads are taken off
their processors, whoever waits by spinning at barriers loses most, which says nothing about speed.
bench/plot_speed.gp draws the rows.

To compare with weaker instruction sets: SLUICE_CPU=avx2 for Sluice, and LLAMA_CPP_LIB_PATH for the folder of a
libllama.so that was built without the stronger ones.
"""
import argparse
import csv
import ctypes
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import shaped_models
from compare_llama_cpp import processor

ROOT = Path(__file__).resolve().parents[2]
LEAST_SHARE = 0.9  # of the expected distinct experts
MOST_OTHERS = 0.1  # of the processors' time
COLUMNS = ["date", "commit", "cpu", "isa", "threads", "model", "layers", "type", "routing", "distinct_share", "peer",
           "peer_version", "work", "n", "sluice_per_s", "sluice_q1", "sluice_q3", "peer_per_s", "peer_q1", "peer_q3",
           "ratio", "ratio_q1", "ratio_q3"]


class Sluice:
    """bench_model, a process that waits for requests."""

    def __init__(self, program, model, context, threads):
        self.process = subprocess.Popen([program, model, "-i", "-c", str(context), "-t", str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self.read())

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench_model has ended")  # it said why
        return line

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return float(self.read())

    def prefill(self, n):
        return n / self.ask(f"prefill {n}")

    def decode(self, context, n):
        return n / self.ask(f"decode {context} {n}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class LlamaCpp:
    """llama.cpp through the bindings of its C interface, without what the Python class adds per token."""
    name = "llama.cpp"

    def __init__(self, model, tokens, context, threads):
        import llama_cpp as api
        self.api, self.version = api, api.__version__
        self.quiet = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self.quiet, ctypes.c_void_p(0))
        api.llama_backend_init()
        self.model = api.llama_model_load_from_file(str(model).encode(), api.llama_model_default_params())
        if not self.model:
            sys.exit(f"{model}: llama.cpp cannot open it")
        self.tokens = (ctypes.c_int32 * len(tokens))(*tokens)
        self.context = {}
        for batch in (512, 2048):
            params = api.llama_context_default_params()
            params.n_ctx, params.n_batch, params.n_ubatch = (context + 255) // 256 * 256, 2048, batch
            params.n_threads = params.n_threads_batch = threads
            self.context[batch] = api.llama_init_from_model(self.model, params)
            if not self.context[batch]:
                sys.exit(f"{model}: llama.cpp gives no context of {context} tokens")
        self.length = 0  # of the timeline in the context of 512

    def append(self, batch, begin, end):
        api = self.api
        for at in range(begin, end, 2048):
            first = ctypes.cast(ctypes.byref(self.tokens, 4 * at), ctypes.POINTER(ctypes.c_int32))
            if api.llama_decode(self.context[batch], api.llama_batch_get_one(first, min(2048, end - at))):
                sys.exit("llama.cpp: a pass has failed")
        api.llama_synchronize(self.context[batch])

    def keep(self, batch, n):
        if not self.api.llama_memory_seq_rm(self.api.llama_get_memory(self.context[batch]), 0, n, -1):
            sys.exit("llama.cpp: the cache cannot be cut")

    def prefill(self, n, batch=512):
        self.keep(batch, 0)
        self.length = 0
        begin = time.perf_counter()
        self.append(batch, 0, n)
        return n / (time.perf_counter() - begin)

    def prefill_variants(self, n):
        """By name: functions that measure the same work in different ways, of which the faster counts."""
        return [lambda b=b: self.prefill(n, b) for b in ((512, 2048) if n > 512 else (512,))]

    def decode(self, context, n):
        if self.length < context:
            self.keep(512, 0)
            self.append(512, 0, context)
        self.keep(512, context)
        self.length = context
        begin = time.perf_counter()
        for i in range(context, context + n):
            self.append(512, i, i + 1)
        return n / (time.perf_counter() - begin)


class IkLlamaCpp:
    """llama-bench of ik_llama.cpp: a process per measurement, which loads the model, warms up and takes random ids."""
    name = "ik_llama.cpp"

    def __init__(self, program, model, threads):
        self.command = [program, "-m", str(model), "-t", str(threads), "-r", "1", "-o", "json", "-b", "2048",
                        "-fa", "1", "-rtr", "1"]
        self.version = "unknown"

    def run(self, *args):
        done = subprocess.run(self.command + list(map(str, args)), capture_output=True, text=True)
        try:
            result = json.loads(done.stdout[done.stdout.index("["):])[-1]
        except (ValueError, IndexError):
            sys.exit(f"llama-bench has no result: {done.stderr.strip()[-300:]}")
        self.version = result["build_commit"]
        return float(result["avg_ts"])

    def prefill_variants(self, n):
        return [lambda b=b: self.run("-p", n, "-n", 0, "-ub", b) for b in ((512, 2048) if n > 512 else (512,))]

    def decode(self, context, n):
        return self.run("-p", 0, *(("-n", 0, "-gp", f"{context},{n}") if context else ("-n", n)))


class Processors:
    """How much of the processors' time goes to others: other programs, and other machines on the same host."""

    def __init__(self):
        self.begin = self.now()

    @staticmethod
    def now():
        with open("/proc/stat", encoding="utf-8") as f:
            user, nice, system, idle, iowait, irq, soft, steal = map(int, f.readline().split()[1:9])
        own = os.times()
        busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        return np.array([busy - (own.user + own.system + own.children_user + own.children_system),
                         os.cpu_count() * time.monotonic()])

    def others(self):
        """A share; what children did counts when they have ended."""
        others, all_time = self.now() - self.begin
        return max(0.0, others / all_time)


# ---- the model -------------------------------------------------------------------------------------------------------


def numbers(text):
    return [int(word) for word in text.split(",")]


def obtain_model(args, folder):
    """The GGUF file, and what it is: name, layers, type, routing."""
    if not args.file:
        layers = args.layers or shaped_models.SHAPES[args.model]["layers"]
        routing = "uniform" if args.zipf is None else f"zipf {args.zipf:g}"
        path = folder / f"{args.model}-{layers}-{args.type}-{routing.replace(' ', '-')}.gguf"
        if not path.exists():
            print(f"writing {path}", file=sys.stderr)
            part = path.with_suffix(".part")
            shaped_models.write_model(part, args.model, layers, args.type, args.zipf)
            part.rename(path)
        return path, (args.model, layers, args.type, routing)
    if args.file.is_dir():
        path = folder / f"{args.file.resolve().name}-{args.type}.gguf"
        if not path.exists():
            command = [args.build / "sluice", "quantize", args.file, path, "--type", args.type]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return path, (args.file.resolve().name, "all", args.type, "trained")
    return args.file, (args.file.stem, "all", "", "trained")


def distinct_share(args, sluice):
    """Least share of the expected distinct experts; None for files whose routing was trained."""
    if args.file:
        return None
    shape = shaped_models.SHAPES[args.model]
    chances = shaped_models.popularity(shape["experts"], shape["top_k"], args.zipf or 0)
    shares = []
    for n in [n for n in (8, 32, 128) if n <= sluice.about["context"]]:
        found, expected = sluice.ask(f"experts {n}"), shaped_models.expected_distinct(chances, n)
        print(f"{n} tokens: {found:.1f} distinct experts per layer, {expected:.1f} expected")
        shares.append(found / expected)
    return min(shares)


# ---- measuring -------------------------------------------------------------------------------------------------------


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def measure(args, ours, peers):
    """Rates per round: of ours, and per peer of the variant with the best median."""
    mine, theirs = [], [[[] for _ in variants] for variants in peers]
    for _ in range(args.rounds):
        time.sleep(0.05)  # threads that still spin after the work before
        mine.append(ours())
        for rates, variants in zip(theirs, peers):
            for rate, variant in zip(rates, variants):
                time.sleep(0.05)
                rate.append(variant())
    return mine, [max(rates, key=statistics.median) for rates in theirs]


def points(args, limit):
    for n in args.prefill:
        if n <= limit:
            yield "prefill", n
    for context in args.context:
        if context + args.decode <= limit:
            yield "decode", context


def measure_all(args, sluice, peers, limit):
    """One result per point and peer."""
    print(f"{'':14}{'Sluice':>10}" + "".join(f"{p.name:>16}{'ratio':>8}{'quartiles':>16}" for p in peers))
    for work, n in points(args, limit):
        if work == "prefill":
            ours, theirs = lambda: sluice.prefill(n), [p.prefill_variants(n) for p in peers]
        else:
            ours = lambda: sluice.decode(n, args.decode)
            theirs = [[lambda p=p: p.decode(n, args.decode)] for p in peers]
        mine, rates = measure(args, ours, theirs)
        line = f"{work + ' ' + str(n):14}{statistics.median(mine):10.1f}"
        for peer, rate in zip(peers, rates):
            ratios = [a / b for a, b in zip(mine, rate)]
            line += f"{statistics.median(rate):16.1f}{statistics.median(ratios):8.2f}"
            line += f"{'%.2f .. %.2f' % quartiles(ratios):>16}"
            yield [peer.name, peer.version, work, n] + [f"{x:.4g}" for values in (mine, rate, ratios)
                                                      for x in (statistics.median(values), *quartiles(values))]
        print(line, flush=True)


def record(args, rows):
    new = not args.csv.exists()
    with open(args.csv, "a", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows(([COLUMNS] if new else []) + rows)
    print(f"{len(rows)} rows -> {args.csv}")


def arguments():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    which = ap.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", choices=sorted(shaped_models.SHAPES), help="a random model with these shapes")
    which.add_argument("--file", type=Path, help="a GGUF file or a folder")
    shaped_models.add_arguments(ap)
    ap.add_argument("--prefill", type=numbers, default=[32, 128, 512, 2048], metavar="N,..")
    ap.add_argument("--context", type=numbers, default=[0, 1024, 4096], metavar="N,..")
    ap.add_argument("--decode", type=int, default=32, metavar="N", help="tokens per measurement of decode")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--build", type=Path, default=ROOT / "build", help="folder with bench_model and sluice")
    ap.add_argument("--ik", type=Path, metavar="LLAMA_BENCH", help="ik_llama.cpp's llama-bench")
    ap.add_argument("--folder", type=Path, help="where models are written, and kept")
    ap.add_argument("--csv", type=Path, help="rows are appended")
    ap.add_argument("--no-csv", action="store_true", help="only print")
    args = ap.parse_args()
    args.build = args.build.resolve()
    args.ik = args.ik and args.ik.resolve()
    if args.ik and not args.ik.exists():
        ap.error(f"{args.ik}: no such program")
    if not (args.build / "bench_model").exists():
        ap.error(f"no bench_model in {args.build}: build with -DSLUICE_BENCH=ON, or name the folder with --build")
    return args


def run(args, folder):
    path, what = obtain_model(args, folder)
    processors = Processors()
    longest = max(args.prefill + [c + args.decode for c in args.context])
    sluice = Sluice(args.build / "bench_model", path, longest, args.threads)
    about = sluice.about
    limit = min(longest, about["context"])
    tokens = np.random.default_rng(3).integers(0, about["vocab_size"], limit).tolist()
    sluice.ask("tokens " + " ".join(map(str, tokens)))
    cpu = processor().replace(",", " ")
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    title = ", ".join(str(word) for word in what if word)
    print(f"{title}; {cpu} ({about['isa']}), {args.threads} threads, {args.rounds} rounds")
    share = distinct_share(args, sluice)
    peers = [LlamaCpp(path, tokens, limit, args.threads)]
    peers += [IkLlamaCpp(args.ik, path, args.threads)] if args.ik else []
    sluice.prefill(min(512, limit))  # pages and caches
    peers[0].prefill(min(512, limit))
    before = [datetime.date.today().isoformat(), commit.stdout.strip() or "unknown", cpu, about["isa"], args.threads,
              *what, "" if share is None else f"{share:.3f}"]
    rows = [before + row for row in measure_all(args, sluice, peers, limit)]
    sluice.close()
    others = processors.others()
    if share is not None and share < LEAST_SHARE:
        sys.exit(f"the routing has collapsed ({share:.0%} of the expected distinct experts): this does not count")
    if others > MOST_OTHERS:
        sys.exit(f"{others:.0%} of the processors' time went to others: this does not count")
    if not args.no_csv:
        word = re.sub(r"[^a-z0-9]+", "_", cpu.lower()).strip("_")
        args.csv = args.csv or ROOT / f"bench/results/speed_{word}_{about['isa']}_{args.threads}cpu.csv"
        record(args, rows)


def main():
    args = arguments()
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        return run(args, args.folder)
    with tempfile.TemporaryDirectory(prefix="sluice-speed-") as folder:
        return run(args, Path(folder))


if __name__ == "__main__":
    main()
