#!/usr/bin/env python3
"""Includes run only downwards. The rules are the two tables below; kernel/README.md draws the picture."""

import os
import re

from source_files import ROOT, Findings, all_files, is_c, read_text

# Who may include whom. A layer always sees itself; tests/, bench/ and fuzz/ see everything and are seen by
# nobody else.
MAY_INCLUDE = {
    "kernel/base": {"include"},
    "kernel/quant": {"kernel/base"},
    "kernel/ops": {"kernel/base", "kernel/quant"},
    "weights": {"kernel/base", "kernel/quant", "include"},
    "kernel/text": {"kernel/base", "include"},
    "kernel/model": {"kernel/base", "kernel/quant", "kernel/ops", "weights", "include"},
    "kernel/engine": {"kernel/base", "kernel/quant", "kernel/ops", "kernel/text", "kernel/model", "weights",
                      "include"},
    "include": set(),
    "tools": {"include"},
    "cmake": set(),
}
EVERYTHING = {"tests", "bench", "fuzz"}

# Headers with an owner: pattern, folders that may include it, why.
OWNED = [
    (r"(imm|x86|amm|emm)intrin\.h", {"kernel/ops/x86"}, "x86 intrinsics stay in kernel/ops/x86"),
    (r"arm_(neon|sve|bf16|fp16|acle)\.h", {"kernel/ops/arm"}, "ARM intrinsics stay in kernel/ops/arm"),
    (r"cpuid\.h|asm/hwcap\.h|sys/auxv\.h", {"kernel/base"}, "kernel/base/cpu.h tells what the processor can do"),
    (r"cblas\.h|openblas.*\.h", {"kernel/ops/blas"}, "one file calls BLAS"),
    (r"omp\.h", {"kernel/base"}, "threads are made by kernel/base/team.h only"),
    (r"jansson\.h", {"kernel/base", "weights", "kernel/text", "tools"}, "no other layer reads JSON"),
    (r"(pcre2|utf8proc)\.h", {"kernel/text"}, "characters are the business of kernel/text"),
    (r"criterion/.*", set(), "only tests include the test framework"),
    (r"base/team\.h", {"kernel/base", "kernel/model", "kernel/engine"}, "kernels and parsers know no threads"),
    (r"sluice/sluice\.h", {"kernel/engine", "kernel/text", "include", "tools"}, "the public interface lies on top"),
    (r"weights/gguf_write\.h", {"weights", "kernel/model", "kernel/engine"}, "models are written by these layers only"),
    (r"weights/(?!(archive|gguf_write)\.h).*", {"weights"}, "other layers see archive.h and gguf_write.h only"),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
SEARCHED = ("kernel", ".", "include", "tools")  # the include path of the build, after the file's own folder


def layer_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "kernel" else parts[0]


def within(path, folders):
    return any(path.startswith(folder + "/") for folder in folders)


def resolve(path, name):
    """The file of ours that an include means, or None."""
    for folder in (os.path.dirname(path),) + SEARCHED:
        candidate = os.path.normpath(os.path.join(folder, name))
        if os.path.isfile(os.path.join(ROOT, candidate)):
            return candidate.replace(os.sep, "/")
    return None


def check_file(path, text, findings):
    layer = layer_of(path)
    for match in INCLUDE.finditer(text):
        name = match.group(2)
        line = text.count("\n", 0, match.start()) + 1
        if layer in EVERYTHING:
            continue
        for pattern, owners, why in OWNED:
            if re.fullmatch(pattern, name) and not within(path, owners):
                findings.add(path, line, f"includes {name}: {why}")
        target = resolve(path, name)
        if target is None:
            continue
        below = layer_of(target)
        if below in EVERYTHING:
            findings.add(path, line, f"includes {name}: only tests/, bench/ and fuzz/ include from {below}/")
        elif below != layer and below not in MAY_INCLUDE.get(layer, set()):
            findings.add(path, line, f"includes {name}: {layer} may not see {below}")


def main():
    findings = Findings()
    for path in all_files():
        if is_c(path):
            check_file(path, read_text(path) or "", findings)
    findings.end()


main()
