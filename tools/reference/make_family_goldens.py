#!/usr/bin/env python3
"""Writes golden tokenizers in the shapes that single families brought, trained on the corpus that lies in
tests/golden/tokenizers, and what the reference libraries make of it with them. Never run at build time.

    pip install tokenizers==0.23.3 tiktoken==0.14.0 gguf==0.19.0
    make_family_goldens.py

    moonshot      tiktoken.model and tokenizer_config.json, as Moonlight and Kimi-K2 have them; against tiktoken
    gemma         no words, U+2581 for blanks, bytes for unknown characters; gguf/gemma4 is the same as GGUF keys
    harmony       gpt-oss: all ways to merge, whole words first, a pattern whose matches are kept

Files are compressed with xz; make_tokenizer_goldens.py describes NAME.golden.json.
"""
import base64
import json
import lzma
import pathlib
import tempfile

import gguf
import tiktoken
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors

import make_tokenizer_goldens as goldens

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

# ---- Moonlight, Kimi -------------------------------------------------------------------------------------------------

N_RESERVED = 256
NAMES = {0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_start|>", 4: "<|endoftext|>", 5: "<mask>", 6: "<think>",
         254: "[UNK]", 255: "[PAD]"}


def byte_alphabet():
    """The byte that each character of the byte-level alphabet stands for."""
    plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def train_ranks(strings, pattern, size):
    """{bytes: rank}: single bytes first, then the merges in the order in which they were found."""
    pre = pre_tokenizers.Sequence([goldens.split(pattern), goldens.BYTES])
    vocab = goldens.train(strings, pre, size=size).get_vocab()
    alphabet = byte_alphabet()
    tokens = sorted(vocab, key=vocab.get)
    return {bytes(alphabet[c] for c in token): rank for rank, token in enumerate(tokens)}


def config(first):
    tokens = {str(first + i): {"content": name, "lstrip": False, "normalized": False, "rstrip": False,
                               "single_word": False, "special": True} for i, name in NAMES.items()}
    return {"added_tokens_decoder": tokens, "additional_special_tokens": list(NAMES.values())[2:-2],
            "auto_map": {"AutoTokenizer": ["tokenization_moonshot.TikTokenTokenizer", None]}, "bos_token": "[BOS]",
            "eos_token": "[EOS]", "pad_token": "[PAD]", "unk_token": "[UNK]", "clean_up_tokenization_spaces": False,
            "tokenizer_class": "TikTokenTokenizer"}


def tiktoken_golden(encoding, strings):
    out = {"ids": [], "special": {}, "decoded": {}, "shown": {}, "hidden": {}, "before": [], "after": []}
    special_ids = set(encoding._special_tokens.values())
    for i, text in enumerate(strings):
        ids = encoding.encode(text, disallowed_special=())
        special = encoding.encode(text, allowed_special="all")
        assert encoding.decode(ids) == text and encoding.decode(special) == text
        out["ids"].append(ids)
        if special != ids:
            out["special"][str(i)] = special
        hidden = encoding.decode([token for token in special if token not in special_ids])
        if hidden != text:
            out["hidden"][str(i)] = hidden
    return out


def moonshot(strings, clean):
    ranks = train_ranks(clean, goldens.KIMI, 3000)
    names = {NAMES.get(i, f"<|reserved_token_{len(ranks) + i}|>"): len(ranks) + i for i in range(N_RESERVED)}
    encoding = tiktoken.Encoding("moonshot", pat_str=goldens.KIMI, mergeable_ranks=ranks, special_tokens=names)
    lines = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    goldens.write("moonshot.tiktoken.model", lines)
    goldens.write("moonshot.tokenizer_config.json", config(len(ranks)))
    goldens.write("moonshot.golden.json", tiktoken_golden(encoding, strings))


# ---- Gemma -----------------------------------------------------------------------------------------------------------

GEMMA_MARKS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def gemma(clean):
    clean = [text for text in clean if "<0x" not in text]  # tokens that only look like bytes are refused
    words = goldens.split("\u2581*[^\u2581\\n]+|\u2581+|\\n+")
    t = goldens.train(clean, words, norm=normalizers.Replace(" ", "\u2581"), size=1800, unk="<unk>", alphabet=False,
                      special=GEMMA_MARKS + goldens.BYTE_TOKENS, fuse_unk=True, byte_fallback=True)
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", t.token_to_id("<bos>"))])
    t.add_tokens([AddedToken(text, normalized=False) for text in ("\n\n", "<left>", "\u2581\u2581")])
    t.add_special_tokens(["<s>", "<|im_end|>", "<image_soft_token>"])
    text = json.loads(t.to_str())
    text["added_tokens"] = [a for a in text["added_tokens"] if a["content"] not in goldens.BYTE_TOKENS]
    return Tokenizer.from_str(json.dumps(text))


def gemma4_keys(tokenizer, path):
    text = json.loads(tokenizer.to_str())
    added = {a["id"]: CONTROL if a["special"] else USER_DEFINED for a in text["added_tokens"]}
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    kinds = [added.get(i, BYTE if token in goldens.BYTE_TOKENS else NORMAL) for i, token in enumerate(tokens)]
    writer = gguf.GGUFWriter(path, "gemma4")
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in text["model"]["merges"]])
    for add, name in ((writer.add_bos_token_id, "<bos>"), (writer.add_eos_token_id, "<eos>"),
                      (writer.add_unk_token_id, "<unk>"), (writer.add_pad_token_id, "<pad>")):
        add(tokens.index(name))
    writer.add_add_space_prefix(False)
    writer.add_add_bos_token(False)  # as converters say; readers add it nevertheless
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def gemma4(strings, tokenizer):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "gemma4.gguf"
        gemma4_keys(tokenizer, path)
        (goldens.OUT / "gguf" / "gemma4.gguf.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))
    cases = json.loads(lzma.decompress((goldens.OUT / "gguf" / "gpt-2.cases.json.xz").read_bytes()))
    tokenizer.encode_special_tokens = False
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text, _ in cases]
    goldens.write("gguf/gemma4.cases.json", [[text, i] for (text, _), i in zip(cases, ids)])
    goldens.write("gguf/gemma4.golden.json", goldens.golden(tokenizer, strings))


# ---- byte-level shapes -----------------------------------------------------------------------------------------------


def all_merges(ranks):
    """As transformers converts tiktoken vocabularies: each way to cut a token in two, by rank."""
    letters = {byte: char for char, byte in byte_alphabet().items()}
    spell = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token in ranks:
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        cuts = [cut for cut in cuts if cut[0] in ranks and cut[1] in ranks]
        merges += sorted(cuts, key=lambda cut: (ranks[cut[0]], ranks[cut[1]]))
    return {spell[token]: rank for token, rank in ranks.items()}, [(spell[a], spell[b]) for a, b in merges]


def converted(clean, pattern, steps, special, size=1500):
    """A tokenizer.json made of a tiktoken vocabulary."""
    vocab, merges = all_merges(train_ranks(clean, pattern, size))
    t = Tokenizer(goldens.models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence(steps)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(special)
    return t


def harmony(clean):
    names = ["startoftext", "endoftext", "return", "constrain", "channel", "start", "end", "message", "call"]
    return converted(clean, goldens.O200K, [goldens.split(goldens.O200K, "removed", True), goldens.BYTES],
                     [f"<|{name}|>" for name in names])


# ---- all together ----------------------------------------------------------------------------------------------------


def write_pair(strings, name, tokenizer):
    text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
    size = goldens.write(f"{name}.tokenizer.json", text)
    size += goldens.write(f"{name}.golden.json", goldens.golden(Tokenizer.from_str(text), strings))
    print(f"{name}: {tokenizer.get_vocab_size()} tokens, {size} bytes")


def main():
    strings = json.loads(lzma.decompress((goldens.OUT / "corpus.json.xz").read_bytes()))
    clean = [text for text in strings if "\0" not in text]
    moonshot(strings, clean)
    write_pair(strings, "gemma", gemma(clean))
    gemma4(strings, gemma(clean))
    write_pair(strings, "harmony", harmony(clean))


if __name__ == "__main__":
    main()
