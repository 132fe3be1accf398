#!/usr/bin/env python3
"""Writes the first inputs of every fuzz target to fuzz/corpus/TARGET/seed-*: cut-down golden files, and small drafts
that show every kind of value once. What fuzzing found beside them lies there under other names."""

import base64
import glob
import json
import lzma
import os
import random
import struct

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(ROOT, "tests", "golden")
CORPUS = os.path.join(ROOT, "fuzz", "corpus")

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
NUMBER = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", I64: "<q",
          F64: "<d"}


def save(target, name, data):
    folder = os.path.join(CORPUS, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "seed-" + name), "wb") as file:
        file.write(data)


# ---- GGUF -----------------------------------------------------------------------------------------------------------


def text(string):
    data = string if isinstance(string, bytes) else string.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, v):
    if kind == STRING:
        return text(v)
    if kind == ARRAY:
        element, values = v
        return struct.pack("<IQ", element, len(values)) + b"".join(value(element, x) for x in values)
    return struct.pack(NUMBER[kind], v)


def gguf(keys, tensors=(), version=3):
    """keys: (name, type, value); tensors: (name, dimensions, type, bytes), without their data."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, kind, v in keys:
        out += text(name) + struct.pack("<I", kind) + value(kind, v)
    offset = 0
    for name, dimensions, kind, size in tensors:
        out += text(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        out += struct.pack("<IQ", kind, offset)
        offset += (size + 31) // 32 * 32
    return out


def every_type():
    numbers = [("n%d" % kind, kind, 1) for kind in NUMBER]
    arrays = [("a%d" % kind, ARRAY, (kind, [0, 1, 1])) for kind in NUMBER]
    return numbers + arrays + [("s", STRING, "text"), ("as", ARRAY, (STRING, ["", "b", "\xe4"])),
                               ("empty", ARRAY, (I32, [])), ("general.alignment", U32, 64)]


def gguf_header(path):
    """The file without the data of its tensors and the lists of its vocabulary."""
    with open(path, "rb") as file:
        data = file.read()
    at = 24
    kept, n_kept, n_tokens = b"", 0, None
    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)

    def string(at):
        return at + 8 + struct.unpack_from("<Q", data, at)[0]

    def skip(kind, at):
        if kind == STRING:
            return string(at)
        if kind != ARRAY:
            return at + struct.calcsize(NUMBER[kind])
        element, count = struct.unpack_from("<IQ", data, at)
        at += 12
        for _ in range(count):
            at = skip(element, at)
        return at

    for _ in range(n_keys):
        begin = at
        at = string(at)
        name, kind = data[begin + 8:at], struct.unpack_from("<I", data, at)[0]
        at = skip(kind, at + 4)
        if not (name.startswith(b"tokenizer.") and kind == ARRAY):
            kept += data[begin:at]
            n_kept += 1
        if name == b"general.architecture":
            architecture = data[begin + 8 + len(name) + 12:at]
        if name == b"tokenizer.ggml.tokens":
            n_tokens = struct.unpack_from("<Q", data, begin + 8 + len(name) + 8)[0]
    if b".vocab_size" not in kept and n_tokens is not None:  # the length of the list that is gone told it
        kept += text(architecture + b".vocab_size") + struct.pack("<II", U32, n_tokens)
        n_kept += 1
    begin = at
    for _ in range(n_tensors):
        at = string(at)
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 12
    return data[:16] + struct.pack("<Q", n_kept) + kept + data[begin:at]


def write_gguf():
    for path in sorted(glob.glob(GOLDEN + "/gguf/*.gguf")):
        name = os.path.basename(path)[:-5]
        header = gguf_header(path)
        if len(header) < 6000:
            save("gguf", name, header)
    save("gguf", "types", gguf(every_type()))
    whole = gguf(every_type(), [("t", (32,), 8, 34)], 2)
    save("gguf", "whole", whole + bytes(-len(whole) % 64) + bytes(64))
    save("saved_gguf", "types", gguf(every_type()))
    sizes = {0: 2048, 1: 1024, 8: 544, 12: 288, 14: 420, 30: 1024}  # of 512 elements, by type
    tensors = [("b%d" % t, (256, 2), t, n) for t, n in sizes.items()]
    save("saved_gguf", "tensors", gguf([("general.architecture", STRING, "x")], tensors))
    save("saved_gguf", "odd", gguf([("split.count", U16, 0)], [("z", (3, 5, 1, 2), 0, 120), ("a", (1,), 1, 2)], 2))


PRE = ["default", "llama3", "deepseek-llm", "deepseek-coder", "qwen2", "gpt-2", "mpt", "refact", "gpt-4o", "starcoder"]


def byte_letters():
    """The characters that stand for the 256 bytes in byte-level vocabularies."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    return [chr(b) for b in printable] + [chr(0x100 + i) for i in range(256 - len(printable))]


def write_gguf_vocab():
    letters = byte_letters() + ["He", "ll", "ell", "ello", "\u0120w", "12", "<s>", "</s>"]
    merges = ["l l", "H e", "e ll", "ell o", "\u0120 w", "1 2"]
    kinds = [1] * (len(letters) - 2) + [3, 3]
    for i, pre in enumerate(PRE):
        keys = [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, pre),
                ("tokenizer.ggml.tokens", ARRAY, (STRING, letters)),
                ("tokenizer.ggml.token_type", ARRAY, (I32, kinds)), ("tokenizer.ggml.merges", ARRAY, (STRING, merges)),
                ("tokenizer.ggml.bos_token_id", U32, 262), ("tokenizer.ggml.eos_token_id", U32, 263)]
        if i % 2:
            keys += [("tokenizer.ggml.add_bos_token", BOOL, True), ("tokenizer.ggml.add_space_prefix", BOOL, True)]
        save("gguf_vocab", "gpt2-" + pre, gguf(keys))
    pieces = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    pieces += ["\u2581", "e", "l", "o", "H", "\u2581H", "ll", "ell", "ello", "\u2581Hello"]
    kinds = [2, 3, 3] + [6] * 256 + [1] * 10
    scores = [-float(i) for i in range(len(pieces))]
    for model in ("llama", "gemma4"):
        keys = [("tokenizer.ggml.model", STRING, model), ("tokenizer.ggml.tokens", ARRAY, (STRING, pieces)),
                ("tokenizer.ggml.token_type", ARRAY, (I32, kinds)), ("tokenizer.ggml.scores", ARRAY, (F32, scores)),
                ("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2),
                ("tokenizer.ggml.unknown_token_id", U32, 0)]
        if model == "llama":
            save("gguf_vocab", model, gguf(keys))
        keys += [("tokenizer.ggml.merges", ARRAY, (STRING, ["l l", "\u2581 H", "e ll"])),
                 ("general.name", STRING, "phi-3")]
        save("gguf_vocab", model + "-merges", gguf(keys))
    json_text = small_tokenizer(golden_json("tokenizers/gpt2.tokenizer.json.xz"))
    save("gguf_vocab", "json", gguf([("tokenizer.huggingface.json", STRING, json_text)]))


# ---- JSON -----------------------------------------------------------------------------------------------------------


def golden_json(path):
    return json.loads(lzma.open(os.path.join(GOLDEN, path)).read())


def unpacked(files):
    return b"".join(b"--- " + name.encode() + b"\n" + data.rstrip(b"\n") + b"\n" for name, data in files)


def safetensors_header(path):
    with open(path, "rb") as file:
        (n,) = struct.unpack("<Q", file.read(8))
        return file.read(n).rstrip()


def with_length(header):
    return struct.pack("<Q", len(header)) + header


def write_safetensors():
    for name in ("qwen3-moe-hub-bf16", "gpt-oss-mxfp4-hub", "deepseek-v3-fp8-hub", "mixtral-top1-f32"):
        save("safetensors", name, with_length(safetensors_header(f"{GOLDEN}/models/{name}/model.safetensors")))
    kinds = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
             "U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1}
    header, at = {"__metadata__": {"format": "pt", "a\\u00e4": "b"}}, 0
    for kind, size in kinds.items():
        header["t." + kind] = {"dtype": kind, "shape": [2, 1], "data_offsets": [at, at + 2 * size]}
        at += 2 * size
    header["scalar"] = {"dtype": "F32", "shape": [], "data_offsets": [at, at + 4]}
    header["none"] = {"dtype": "F32", "shape": [0, 5], "data_offsets": [at + 4, at + 4]}
    data = json.dumps(header).encode()
    save("safetensors", "types", with_length(data))
    save("safetensors", "whole", with_length(data) + bytes(at + 4))
    save("safetensors", "empty", with_length(b"{}"))


def write_folder():
    for folder in sorted(glob.glob(GOLDEN + "/models/*/")):
        files, total = [], 0
        for path in sorted(glob.glob(folder + "*")):
            name = os.path.basename(path)
            if name == "expected.safetensors" or name == "README.md":
                continue
            data = safetensors_header(path) if name.endswith(".safetensors") else open(path, "rb").read()
            if name.endswith(".json"):
                data = json.dumps(json.loads(data)).encode()
            files.append((name, data))
            total += len(data)
        if total < 5500:
            save("folder", os.path.basename(folder[:-1]), unpacked(files))
    card = b"---\nlicense: apache-2.0\n---\n# Model"
    save("folder", "card", unpacked([("README.md", card), ("config.json", b"{}")]))


def small_tokenizer(t):
    """The same rules with a vocabulary of a few tokens."""
    model = t["model"]
    words = ["a", "b", "e", "l", "o", "H", "h", "w", "r", "d", "1", "2", "t", "n", "'", "<", "s", ">", ",", "\u0120",
             "\u010a", "\u2581", "\u00c3", "\u00b6", "he", "ll", "lo", "\u2581h", "\u0120w", "12"]
    if "ByteLevel" in json.dumps(t):
        words = byte_letters() + words
    if isinstance(model, dict) and model.get("type", "BPE") == "BPE":
        extra = [f"<0x{b:02X}>" for b in range(256)] if model.get("byte_fallback") else []
        special = [model["unk_token"]] if model.get("unk_token") else []
        model["vocab"] = {w: i for i, w in enumerate(dict.fromkeys(special + words + extra))}
        pairs = [("h", "e"), ("l", "l"), ("l", "o"), ("\u2581", "h"), ("\u0120", "w"), ("1", "2")]
        old = model.get("merges") or []
        model["merges"] = [list(p) if old and isinstance(old[0], list) else " ".join(p) for p in pairs]
        base = len(model["vocab"])
        t["added_tokens"] = t.get("added_tokens", [])[:6]
        for i, token in enumerate(t["added_tokens"]):
            token["id"] = model["vocab"].get(token["content"], base + i)
        t["added_tokens"].append({"id": base + 6, "content": "<s>", "single_word": False, "lstrip": False,
                                  "rstrip": False, "normalized": False, "special": True})
    return json.dumps(t, ensure_ascii=False).encode()


def write_tokenizer_json():
    config = b'{"bos_token": "<s>", "add_bos_token": true, "tokenizer_class": "PreTrainedTokenizerFast"}'
    for path in sorted(glob.glob(GOLDEN + "/tokenizers/*.tokenizer.json.xz")):
        name = os.path.basename(path).split(".")[0]
        files = [("tokenizer.json", small_tokenizer(golden_json("tokenizers/" + os.path.basename(path))))]
        files += [("tokenizer_config.json", config), ("text", "Hello w\u00f6rld 12\n <s> hello".encode())]
        data = unpacked(files)
        if len(data) < 12000:
            save("tokenizer_json", name, data)
    ranks = b"".join(b"%s %d\n" % (base64.b64encode(bytes([b])), b) for b in range(256))
    ranks += b"aGU= 256\nbGw= 257\naGVs 258\n"
    kimi = lzma.open(GOLDEN + "/tokenizers/moonshot.tokenizer_config.json.xz").read()
    save("tokenizer_json", "tiktoken", unpacked([("tiktoken.model", ranks), ("tokenizer_config.json", kimi)]))


# ---- text and blocks ------------------------------------------------------------------------------------------------


def write_encode():
    corpus = golden_json("tokenizers/corpus.json.xz")
    strings = corpus if isinstance(corpus, list) else list(corpus.values())
    strings = [s for s in strings if isinstance(s, str) and len(s) < 400]
    for i, string in enumerate(strings[::6]):
        save("encode", "%03d" % i, bytes([i % 6]) + string.encode("utf-8", "replace"))
    for i in range(6):
        save("encode", "tokenizer%d" % i, bytes([i]) + "Hello w\u00f6rld 12345\n\t don't \U0001f600 <s>".encode())


def write_quant_block():
    r = random.Random(1)
    for kind in range(26):
        for i in range(2):
            data = bytes([kind, r.randrange(8), r.randrange(8), r.randrange(256)])
            save("quant_block", "%02d-%d" % (kind, i), data + r.randbytes(r.randrange(20, 300)))


for write in (write_gguf, write_gguf_vocab, write_safetensors, write_folder, write_tokenizer_json, write_encode,
              write_quant_block):
    write()
