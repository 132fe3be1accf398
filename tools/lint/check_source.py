#!/usr/bin/env python3
"""What no compiler checks: the words of the glossary, forbidden calls, and the look of every text file."""

import re
import unicodedata

from source_files import Findings, all_files, code_only, is_c, read_text

LINE_LENGTH = 120
RUN_BY_HAND = ("tools/reference/",)  # makes the golden files, with every odd character there is; never at build time
TEXT_FILES = (".c", ".h", ".inc", ".py", ".sh", ".cmake", ".md", ".txt", ".json", ".yml", ".css", ".js", ".html")
LONG_LINES_ALLOWED = (".md", ".json", ".txt")

# The field's other spellings of our words (glossary: kernel/README.md). Only code is searched: the names in files and
# in their keys stay as published, because they stand in strings.
WORDS = {
    "dim": "hidden_size or the name of the size",
    "dim_": "hidden_size or the name of the size",
    "d_model": "hidden_size",
    "n_embd": "hidden_size",
    "hsize": "hidden_size",
    "hidden_dim": "hidden_size",
    "embd": "embedding",
    "d_ff": "intermediate_size",
    "ffn_dim": "intermediate_size",
    "n_ff": "intermediate_size",
    "n_layer": "n_layers",
    "num_layers": "n_layers",
    "n_head": "n_heads",
    "num_heads": "n_heads",
    "n_head_kv": "n_kv_heads",
    "n_kv_head": "n_kv_heads",
    "head_size": "head_dim",
    "n_expert": "n_experts",
    "num_experts": "n_experts",
    "n_expert_used": "top_k",
    "n_vocab": "vocab_size",
    "seqlen": "kv_length or n_tokens",
    "seq_len": "kv_length or n_tokens",
    "ctx_len": "context or kv_length",
    "ctxlen": "context or kv_length",
    "n_ctx": "context or kv_length",
    "n_past": "position",
    "pp": "prefill",
    "tg": "decode",
}
WORD = re.compile(r"\b(" + "|".join(map(re.escape, WORDS)) + r")\b")

LIBRARY = ("kernel/", "weights/")
OURS = ("kernel/", "weights/", "include/", "tools/", "tests/", "bench/", "fuzz/")
# Pattern, folders it holds for, files it does not hold for, what to say.
CODE_RULES = [
    (r"\b(assert|abort|exit|_exit|quick_exit)\s*\(", LIBRARY, ("kernel/ops/assume.h",),
     "the library returns a status, it never ends the program"),
    (r"\b(printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|putc|perror)\s*\(", LIBRARY, (),
     "the library prints nothing; it reports through failure.h"),
    (r"\b(setlocale|signal|sigaction|chdir|umask|srand|rand)\s*\(", LIBRARY, (),
     "the library changes no state of the process"),
    (r"\bgetenv\s*\(", LIBRARY, ("kernel/base/cpu.c",),
     "one environment variable exists, and kernel/base/cpu.c reads it"),
    (r"#\s*pragma\s+omp\b", ("kernel/", "weights/", "tools/"), ("kernel/base/team.c",),
     "threads are made by kernel/base/team.c only"),
    (r"\b(alloca|__builtin_alloca)\s*\(", OURS, (), "no memory of unknown size on the stack"),
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atoll|atof|strncpy|strncat)\s*\(",
     LIBRARY + ("tools/",), (),
     "use a function that knows the size of its buffer, or reports errors"),
    (r"^(?!.*\bstatic\b).*\binline\b", OURS, (), "no inline without static"),
    (r"#\s*if\s+0\b", OURS, (), "no dead code"),
]
CODE_RULES = [(re.compile(pattern), folders, exempt, text) for pattern, folders, exempt, text in CODE_RULES]

MACHINE_PATH = re.compile(r"(?<![\w.$}])/(home|Users|root|work|mnt|media)/\w")
UNFINISHED = re.compile(r"\b(FIXME|XXX|HACK)\b|\bTODO\b(?!\()")
THIS_FILE = "tools/lint/check_source.py"


def is_text(path, text):
    name = path.rsplit("/", 1)[-1]
    return path.endswith(TEXT_FILES) or text.startswith("#!") or name in (".clang-format", ".clang-tidy")


def invisible(character):
    """Control, format and unusual space characters: they hide in a review."""
    return unicodedata.category(character) in ("Cc", "Cf", "Co", "Zl", "Zp") or (
        unicodedata.category(character) == "Zs" and character != " ")


def check_look(path, text, findings):
    if text and not text.endswith("\n"):
        findings.add(path, text.count("\n") + 1, "the last line has no end")
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            findings.add(path, number, "tab")
        if line != line.rstrip():
            findings.add(path, number, "blanks at the end")
        if len(line) > LINE_LENGTH and not (path.endswith(LONG_LINES_ALLOWED) or path.startswith(RUN_BY_HAND)):
            findings.add(path, number, f"{len(line)} columns, {LINE_LENGTH} are allowed")
        hidden = sorted({f"U+{ord(c):04X}" for c in line if c != "\t" and invisible(c)})
        if hidden and not path.startswith(RUN_BY_HAND):
            findings.add(path, number, "invisible character " + ", ".join(hidden) + ": write it as an escape")
        if path != THIS_FILE and MACHINE_PATH.search(line):
            findings.add(path, number, "path of one particular machine")
        if path != THIS_FILE and UNFINISHED.search(line):
            findings.add(path, number, "unfinished: write TODO(reason, condition) or do it")


def check_code(path, text, findings):
    for number, line in enumerate(code_only(text).split("\n"), 1):
        for match in WORD.finditer(line):
            findings.add(path, number, f"{match.group()}: the glossary says {WORDS[match.group()]}")
        for pattern, folders, exempt, message in CODE_RULES:
            match = path.startswith(folders) and path not in exempt and pattern.search(line)
            if match:
                findings.add(path, number, f"{match.group().strip()}: {message}")


def main():
    findings = Findings()
    for path in all_files():
        text = read_text(path)
        if text is None or not is_text(path, text):
            continue
        check_look(path, text, findings)
        if is_c(path):
            check_code(path, text, findings)
    findings.end()


main()
