#!/usr/bin/env python3
"""Write tests/golden/quant/blocks.safetensors: blocks of every weight type, and the floats they stand for.

usage: make_quant_goldens.py [--out FILE]

    python3 -m venv venv
    venv/bin/pip install gguf==0.19.0 llama-cpp-python==0.3.36 numpy safetensors torch

For every type, for example Q4_K:

    Q4_K.blocks   U8  [n, bytes]       zero, extreme scales, all bytes alike, counting bytes, random
    Q4_K.floats   F32 [n, elements]    what they decode to; every NaN is 0x7fc00000
    Q4_K.sums     I64 [64]             checksums of 64 pieces of 64 more blocks that tests/quant/test_decode.c makes
                                       itself (256 of one repeated byte, then random bytes); see checksum()

The floats come from gguf, and must be the same bits as those of ggml's own functions in llama-cpp-python. F8_E4M3 x 128
is in no file format: there torch's float8_e4m3fn is the reference. Same versions, same bytes.
"""
import argparse
import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "quant" / "blocks.safetensors"
SEED = 20261121
PIECES, PIECE = 64, 64
NAN = np.uint32(0x7FC00000)

# Where the halves (d, dmin or m) of a block lie. The types that are not here have other scales, or none.
HALVES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ1_S": (0,), "IQ2_XXS": (0,), "IQ2_XS": (0,),
    "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,),
}
# In this order the test and this script number the types: the seeds of the random blocks depend on it.
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_S",
         "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "MXFP4", "F8_E4M3 x 128"]
# zeros, subnormals, smallest normal, one, largest, infinities, NaN, and two of the size that weights have
EXTREME_HALVES = (0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x1C55, 0x9AAB)
EXTREME_FLOATS = (0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF, 0xFF7FFFFF,
                  0x7F800000, 0xFF800000, 0x7FC00000, 0x3A123457, 0xBA765431)
EXTREME_EXPONENTS = (0, 1, 2, 3, 4, 22, 23, 24, 126, 127, 128, 251, 252, 253, 254, 255)


def sizes(name):
    """(elements, bytes) of a block."""
    return (128, 132) if name == "F8_E4M3 x 128" else GGML_QUANT_SIZES[GGMLQuantizationType[name]]


# ---- the reference ---------------------------------------------------------------------------------------------------

def find_ggml():
    package = importlib.util.find_spec("llama_cpp")
    path = Path(package.origin).parent / "lib" / "libggml-base.so" if package else Path()
    if not path.is_file():
        sys.exit("llama-cpp-python with its libggml-base.so is needed")
    return ctypes.CDLL(str(path))


def by_ggml(ggml, name, blocks, elements):
    """Floats by ggml, or None for a type that it has no function for."""
    function = {"F32": None, "F8_E4M3 x 128": None, "F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}.get(
        name, "dequantize_row_" + name.lower().replace("_k", "_K"))
    if function is None:
        return None
    out = np.empty((len(blocks), elements), np.float32)
    source = np.ascontiguousarray(blocks)
    call = getattr(ggml, function)
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64), None
    call(source.ctypes.data, out.ctypes.data, out.size)
    return out


def by_torch(blocks):
    """Rows of a float scale and 128 e4m3."""
    scale = np.ascontiguousarray(blocks[:, :4]).view(np.float32)
    fp8 = torch.from_numpy(np.ascontiguousarray(blocks[:, 4:])).view(torch.float8_e4m3fn)
    return (fp8.to(torch.float32) * torch.from_numpy(scale)).numpy()


def decode(ggml, name, blocks):
    """uint32 [n, elements]: the bits of the floats, NaN made one."""
    elements, _ = sizes(name)
    with np.errstate(all="ignore"):
        if name == "F8_E4M3 x 128":
            floats = by_torch(blocks)
        else:
            floats = quants.dequantize(blocks, GGMLQuantizationType[name])
    floats = np.ascontiguousarray(floats, dtype=np.float32).reshape(len(blocks), elements)
    bits = one_nan(floats)
    peer = by_ggml(ggml, name, blocks, elements)
    if peer is not None and not np.array_equal(bits, one_nan(peer)):
        at = np.argwhere(bits != one_nan(peer))[0]
        sys.exit(f"{name}: gguf and ggml differ in block {at[0]}, element {at[1]}: {floats[tuple(at)]} and "
                 f"{peer[tuple(at)]}, block {blocks[at[0]].tobytes().hex()}")
    return bits


def one_nan(floats):
    return np.where(np.isnan(floats), NAN, floats.view(np.uint32))


# ---- the blocks ------------------------------------------------------------------------------------------------------

def with_half(blocks, at, value):
    blocks[:, at:at + 2] = np.frombuffer(np.uint16(value).tobytes(), np.uint8)


def set_scale(name, blocks, i):
    """Gives all of `blocks` the i-th extreme scale (and min); the number of extremes when blocks is None."""
    if blocks is None:
        return len(EXTREME_EXPONENTS) if name == "MXFP4" else len(EXTREME_HALVES)
    if name == "MXFP4":
        blocks[:, 0] = EXTREME_EXPONENTS[i]
    elif name == "F8_E4M3 x 128":
        blocks[:, :4] = np.frombuffer(np.uint32(EXTREME_FLOATS[i]).tobytes(), np.uint8)
    elif name == "IQ1_M":  # bits 12..15 of four words
        for word in range(4):
            nibble = EXTREME_HALVES[i] >> (4 * word) & 15
            blocks[:, 49 + 2 * word] = blocks[:, 49 + 2 * word] & 15 | nibble << 4
    else:
        for field, at in enumerate(HALVES[name]):  # the second half takes another extreme
            with_half(blocks, at, EXTREME_HALVES[(i + 5 * field) % len(EXTREME_HALVES)])
    return None


PLAIN_SCALE = len(EXTREME_HALVES) - 2  # one of the size that weights have


def plain(name, blocks):
    """Gives `blocks` an unremarkable scale."""
    set_scale(name, blocks, 10 if name == "MXFP4" else PLAIN_SCALE)
    return blocks


def golden_blocks(name, rng):
    elements, size = sizes(name)
    if elements == 1:  # plain types: extremes, counting and random bytes
        extremes = EXTREME_FLOATS if size == 4 else [v >> 16 for v in EXTREME_FLOATS] if name == "BF16" else EXTREME_HALVES
        kind = np.uint32 if size == 4 else np.uint16
        counting = np.arange(256, dtype=kind) * kind(0x01010101 & np.iinfo(kind).max)
        values = np.concatenate([np.array(extremes, kind), counting, rng.integers(0, np.iinfo(kind).max, 256, kind)])
        return values.view(np.uint8).reshape(-1, size)
    parts = [np.zeros((1, size), np.uint8)]
    for i in range(set_scale(name, None, 0)):
        blocks = rng.integers(0, 256, (1, size), np.uint8)
        set_scale(name, blocks, i)
        parts.append(blocks)
    alike = np.arange(256, dtype=np.uint8) if elements == 32 else np.arange(16, dtype=np.uint8) * np.uint8(0x11)
    parts.append(plain(name, np.repeat(alike[:, None], size, axis=1)))
    counting = (np.arange(16)[:, None] * size + np.arange(size)[None, :]).astype(np.uint8)
    parts.append(plain(name, counting))
    parts.append(plain(name, rng.integers(0, 256, (14, size), np.uint8)))
    return np.concatenate(parts)


# ---- the blocks that the test makes itself ------------------------------------------------------------------------------

def mix(z):
    """The finishing steps of splitmix64 on uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def made_blocks(name):
    """[PIECES * PIECE, bytes]: 256 of one byte each, then splitmix64 of the type's number, 8 bytes a draw."""
    _, size = sizes(name)
    alike = np.repeat(np.arange(256, dtype=np.uint8)[:, None], size, axis=1)
    n = (PIECES * PIECE - 256) * size
    draws = np.uint64(TYPES.index(name)) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, n // 8 + 1, dtype=np.uint64)
    return np.concatenate([alike, mix(draws).view(np.uint8).reshape(-1, size)])


def checksum(bits):
    """Sum over a piece of mix(position << 32 | bits)."""
    position = np.arange(bits.size, dtype=np.uint64) << np.uint64(32)
    return mix(position | bits.reshape(-1).astype(np.uint64)).sum(dtype=np.uint64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rng, ggml, tensors = np.random.default_rng(SEED), find_ggml(), {}
    with np.errstate(over="ignore"):
        for name in TYPES:
            blocks = golden_blocks(name, rng)
            tensors[f"{name}.blocks"] = blocks
            tensors[f"{name}.floats"] = decode(ggml, name, blocks).view(np.float32)
            bits = decode(ggml, name, made_blocks(name))
            sums = [checksum(bits[p * PIECE:(p + 1) * PIECE]) for p in range(PIECES)]
            tensors[f"{name}.sums"] = np.array(sums, np.uint64).view(np.int64)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out, metadata={"made_with": "gguf 0.19.0, llama-cpp-python 0.3.36"})
    print(f"{args.out}: {args.out.stat().st_size} bytes")


main()
