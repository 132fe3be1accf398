#!/usr/bin/env python3
"""The golden files are complete and whole: a forgotten or cut file must not look like a test that passes."""

import json
import lzma
import math
import os
import struct

from source_files import ROOT, Findings

MODELS = "tests/golden/models"
TOKENIZERS = "tests/golden/tokenizers"
ELEMENT_BYTES = {"F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I64": 8, "F64": 8, "U8": 1, "I8": 1, "F8_E4M3": 1}
EXPECTED = {"tokens", "logits", "hidden", "attention", "ffn"}  # in every expected.safetensors


def safetensors_header(path, findings):
    """{tensor: shape} after checking that the tensors cover the file exactly; {} if they do not."""
    try:
        with open(os.path.join(ROOT, path), "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
            data_bytes = os.fstat(file.fileno()).st_size - 8 - length
        header.pop("__metadata__", None)
        end = 0
        for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            first, after = tensor["data_offsets"]
            if first != end or after - first != math.prod(tensor["shape"]) * ELEMENT_BYTES[tensor["dtype"]]:
                raise ValueError(f"{name} has wrong offsets")
            end = after
        if end != data_bytes:
            raise ValueError(f"{data_bytes} bytes of data, the header describes {end}")
        return {name: tensor["shape"] for name, tensor in header.items()}
    except (OSError, ValueError, KeyError, struct.error) as error:
        findings.add(path, 0, f"not a whole safetensors file: {error}")
        return {}


def check_case(folder, findings):
    """One tiny model: config, weights, and the values that the reference computed."""
    files = os.listdir(os.path.join(ROOT, folder))
    for name in files:
        if name.endswith(".safetensors"):
            shapes = safetensors_header(f"{folder}/{name}", findings)
            if name == "expected.safetensors" and not EXPECTED <= set(shapes):
                findings.add(f"{folder}/{name}", 0, f"lacks {', '.join(sorted(EXPECTED - set(shapes)))}")
    if "expected.safetensors" not in files or not any(name.startswith("model") for name in files):
        findings.add(folder, 0, "needs model*.safetensors and expected.safetensors")
    try:
        with open(os.path.join(ROOT, folder, "config.json"), encoding="utf-8") as file:
            json.load(file)
    except (OSError, ValueError) as error:
        findings.add(folder, 0, f"config.json: {error}")


def check_models(findings):
    with open(os.path.join(ROOT, MODELS, "cases.txt"), encoding="utf-8") as file:
        cases = file.read().split()
    with open(os.path.join(ROOT, MODELS, "README.md"), encoding="utf-8") as file:
        readme = file.read()
    folders = {entry.name for entry in os.scandir(os.path.join(ROOT, MODELS)) if entry.is_dir()}
    for name in sorted(folders.symmetric_difference(cases)):
        findings.add(f"{MODELS}/cases.txt", 0, f"{name}: a folder without a line, or a line without a folder")
    for name in sorted(folders.intersection(cases)):
        if f"`{name}`" not in readme:
            findings.add(f"{MODELS}/README.md", 0, f"{name} is not described")
        check_case(f"{MODELS}/{name}", findings)


def check_tokenizers(findings):
    folder = os.path.join(ROOT, TOKENIZERS)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.endswith(".json.xz"):
            continue
        try:
            with lzma.open(os.path.join(folder, name), "rt", encoding="utf-8") as file:
                json.load(file)
        except (OSError, ValueError, EOFError, lzma.LZMAError) as error:
            findings.add(f"{TOKENIZERS}/{name}", 0, str(error))
        base = name.removesuffix(".golden.json.xz")
        beside = [os.path.join(folder, base + end) for end in (".tokenizer.json.xz", ".tiktoken.model.xz")]
        if base != name and not any(os.path.exists(path) for path in beside):
            findings.add(f"{TOKENIZERS}/{name}", 0, "has no tokenizer beside it")


def main():
    findings = Findings()
    check_models(findings)
    check_tokenizers(findings)
    findings.end()


main()
