#!/usr/bin/env python3
"""Golden tokenizers in GGUF form: tests/golden/tokenizers/gguf.

    make_gguf_vocab_goldens.py FOLDER

FOLDER holds vocabulary-only GGUF files of the llama.cpp project (models/ggml-vocab-*.gguf there), each with texts (.inp) and
the ids that the original tokenizer gives (.out). Per vocabulary this writes, xz-compressed:

    NAME.gguf          the file without the keys that no tokenizer needs
    NAME.cases.json    [[text, [ids]], ...] from .inp and .out
    NAME.golden.json   as make_tokenizer_goldens.py writes it, for its corpus: what tokenizers (byte-level) and sentencepiece
                       (the others) make of the same vocabulary. null: see below.

pre.golden.json holds for every pre-tokenizer that GGUF files name, and every string of the corpus, the lengths of the pieces
that tokenizers cuts with the published patterns.

The second opinion is llama.cpp itself, through llama-cpp-python; every difference is printed. For the SentencePiece models the
text side (decoding) comes from tokenizers, and strings on which its merges and sentencepiece differ are left out (null).

The letters of deepseek-llm's pattern are an argument: a file with the second pattern of its tokenizer.json.
Needs requirements.txt, gguf, sentencepiece, protobuf, llama-cpp-python.
"""
import argparse
import json
import lzma
import pathlib

import gguf
import llama_cpp
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

import make_tokenizer_goldens as goldens

OUT = goldens.OUT / "gguf"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
SEPARATOR = "\n__ggml_vocab_test__\n"


def strip_file(source, target):
    """The same file with the keys of the tokenizer only, chat template excepted."""
    reader = gguf.GGUFReader(source)
    keep = [f for name, f in reader.fields.items() if name.startswith("tokenizer.ggml.") or name in ("general.architecture", "general.name")]
    values = {f.name: (f.contents(), f.types) for f in keep}
    writer = gguf.GGUFWriter(target, values["general.architecture"][0])
    for name, (value, types) in values.items():
        if name == "general.architecture":
            continue
        writer.add_key_value(name, value, types[0], sub_type=types[1] if len(types) > 1 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return {name: value for name, (value, _) in values.items()}


# ---- the original, rebuilt from the vocabulary -----------------------------------------------------------------------

def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


HAN_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
HAN_MORE = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
SCRIPTS = ("[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff"
           "\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+")
YOUTU_SCRIPTS = ("[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
                 "|[\u3105-\u312f]+|" + HAN_KANA)
PUNCTUATION = "!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~"
DEEPSEEK3 = rf"[{PUNCTUATION}][A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = goldens.O200K.replace(goldens.CONTRACTION, "").replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (goldens.CONTRACTION[:-1] + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"


def published_patterns(letters):
    """The passes behind each name, as the tokenizers were published; of several names for the same, the first one."""
    return {
        "gpt-2": [goldens.GPT2],
        "starcoder": [r"\p{N}", goldens.GPT2],
        "llama-bpe": [goldens.LLAMA3],
        "dbrx": [goldens.LLAMA3],
        "qwen2": [goldens.QWEN2],
        "hunyuan": [goldens.QWEN2],
        "qwen35": [QWEN35],
        "gpt-4o": [goldens.O200K],
        "tekken": [TEKKEN],
        "deepseek-v3": [r"\p{N}{1,3}", HAN_KANA, DEEPSEEK3],
        "deepseek-llm": ["[\r\n]", letters, "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", HAN_MORE, r"\p{N}+"],
        "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_MORE, r"\p{N}"],
        "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
        "kimi-k2": [goldens.KIMI],
        "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", SCRIPTS, DEEPSEEK3],
        "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", goldens.GPT2, "[0-9][0-9][0-9]"],
        "laguna": ["[^\n]+|[\n]+", goldens.QWEN2],
        "cohere2moe": [r"\d{1,3}(?=(?:\d{3})*\b)", goldens.O200K],
        "minicpm5": [r"\p{N}{1,3}", goldens.LLAMA3.replace("{1,3}", "+")],
        "spark2_5": [r"\p{N}{1,3}", HAN_KANA, DEEPSEEK3.replace(r"]+[\r\n]*|\s*[\r\n]+", r"]+|[\r\n]"), r"\p{N}"],
        "youtu": [YOUTU_SCRIPTS, goldens.O200K.replace("{1,3}", "")],
        "seed-coder": [goldens.QWEN2.replace(r"\p{N}|", r"\p{N}{1}|").replace(r"[^\s\p{L}\p{N}]+[\r\n]*", r"[^\s\p{L}\p{N}\r\n]+")],
        "exaone-moe": [goldens.CONTRACTION[:-1] + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|"
                       r"\s*[\r\n]|\s+(?!\S)|\s+"],
        "ufakzeka": [goldens.QWEN2[len(goldens.CONTRACTION):]],
        "bloom": [BLOOM],
        "viking": [BLOOM, r"\p{N}"],
        "default": [r"[\p{P}\$\+<=>\^~\|]+", goldens.GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    }


def pieces(strings, letters):
    """For every name and every string, the bytes of the pieces."""
    out = {}
    for name, passes in published_patterns(letters).items():
        cut = pre_tokenizers.Sequence([split(p) for p in passes])
        out[name] = [[len(t.encode()) for t, _ in cut.pre_tokenize_str(text)] for text in strings]
    return out


def add_specials(tokenizer, keys):
    for text, kind in zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]):
        if kind in (UNKNOWN, CONTROL, USER_DEFINED):
            tokenizer.add_tokens([AddedToken(text, special=kind != USER_DEFINED, normalized=False)])
    return tokenizer


def byte_level(keys, letters):
    pre = keys["tokenizer.ggml.pre"]
    passes = published_patterns(letters)["gpt-2" if pre == "mpt" else pre]
    tokens = {t: i for i, t in enumerate(keys["tokenizer.ggml.tokens"])}
    merges = [tuple(m.split(" ")) for m in keys["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split(p) for p in passes] + [goldens.BYTES])
    tokenizer.decoder = decoders.ByteLevel()
    return add_specials(tokenizer, keys)


def sentencepiece_processor(keys):
    model = sentencepiece_model_pb2.ModelProto()
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(keys["tokenizer.ggml.tokens"])
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    for text, kind, score in zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"], keys["tokenizer.ggml.scores"]):
        # Only the first unknown token is one for sentencepiece; the others were added by hand.
        kind = CONTROL if kind == USER_DEFINED or (kind == UNKNOWN and text != "<unk>") else kind
        model.pieces.add(piece=text, score=score, type=kind)
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def sentencepiece_like(keys):
    tokens = {t: i for i, t in enumerate(keys["tokenizer.ggml.tokens"])}
    kinds, scores = keys["tokenizer.ggml.token_type"], keys["tokenizer.ggml.scores"]
    merges = []
    for text, i in tokens.items():
        if kinds[i] != NORMAL:
            continue
        for at in range(1, len(text)):
            left, right = text[:at], text[at:]
            if kinds[tokens.get(left, 0)] == NORMAL and kinds[tokens.get(right, 0)] == NORMAL:
                merges.append((-scores[i], tokens[left], tokens[right], (left, right)))
    merges = [m[3] for m in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return add_specials(tokenizer, keys)


def leave_out_odd_texts(keys, strings, golden):
    """DeepSeek's user-defined tokens "ö", "À" ... are spelled in the byte-level alphabet, so that tokenizers decodes
    them to bytes that are not UTF-8. Nobody wants to see that: no expectation."""
    tokens, kinds = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    odd = {i for i, (t, k) in enumerate(zip(tokens, kinds)) if k == USER_DEFINED and len(t) == 1 and ord(t) > 127}
    for i in range(len(strings)):
        for key in ("decoded", "shown", "hidden"):
            if odd & set(golden["ids"][i] + golden["special"].get(str(i), [])):
                golden[key][str(i)] = None


# ---- comparing -------------------------------------------------------------------------------------------------------


def compare(name, strings, golden, peer):
    """Prints where llama.cpp differs from what is in the golden file."""
    count = [0, 0]
    for i, text in enumerate(strings):
        ids = golden["ids"][i]
        if ids is None:
            continue
        for special in (False, True):
            expected = golden["special"].get(str(i), ids) if special else ids
            found = peer.tokenize(text.encode(), add_bos=False, special=special)
            count[0] += 1
            if found != expected:
                count[1] += 1
                print(f"  {name}: special={special} {text[:50]!r}: {expected[:12]} llama.cpp {found[:12]}")
    print(f"{name}: llama.cpp differs in {count[1]} of {count[0]}")


def write(name, value):
    data = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    packed = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    (OUT / f"{name}.xz").write_bytes(packed)
    return len(packed)


def read_cases(path):
    texts = path.with_name(path.name + ".inp").read_bytes().decode().split(SEPARATOR)
    lines = path.with_name(path.name + ".out").read_text().split("\n")[: len(texts)]
    return [[text, [int(i) for i in line.split()]] for text, line in zip(texts, lines, strict=True)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--letters", type=pathlib.Path, required=True, help="file with the letter pattern of deepseek-llm")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    strings = json.loads(lzma.decompress((goldens.OUT / "corpus.json.xz").read_bytes()))
    letters = arguments.letters.read_text(encoding="utf-8").rstrip("\n")
    total = write("pre.golden.json", pieces(strings, letters))
    for path in sorted(arguments.folder.glob("ggml-vocab-*.gguf")):
        name = path.stem.removeprefix("ggml-vocab-")
        bare = OUT / f"{name}.gguf"
        keys = strip_file(path, bare)
        if keys["tokenizer.ggml.model"] == "gpt2":
            tokenizer, processor = byte_level(keys, letters), None
        else:
            tokenizer, processor = sentencepiece_like(keys), sentencepiece_processor(keys)
        golden = goldens.golden(tokenizer, strings)
        if keys.get("tokenizer.ggml.add_bos_token", processor is not None):
            golden["before"] = [keys["tokenizer.ggml.bos_token_id"]]
        if processor is None:
            leave_out_odd_texts(keys, strings, golden)
        left_out = 0
        for i, text in enumerate(strings if processor else []):
            if golden["ids"][i] is not None and processor.encode(text) != golden["ids"][i]:
                golden["ids"][i] = None
                left_out += 1
        compare(name, strings, golden, llama_cpp.Llama(str(path), vocab_only=True, verbose=False))
        size = write(f"{name}.gguf", bare.read_bytes()) + write(f"{name}.cases.json", read_cases(path)) + write(f"{name}.golden.json", golden)
        bare.unlink()
        total += size
        print(f"{name}: {size} bytes, {left_out} strings left out")
    print(f"{total} bytes")


if __name__ == "__main__":
    main()
