"""Finding source files and reading C without its comments and strings; shared by the checks of this folder."""

import os
import re
import sys
from glob import glob

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED_FOLDERS = {".git", "build", "__pycache__", "golden", "demo", "corpus"}  # not ours to style: outputs and data

# The loaders: every file that reads what stands in a model's files.
LOADERS = ("kernel/base/json_*.c", "weights/*.c", "kernel/text/*.c", "kernel/model/arch_*.c", "kernel/model/bind.c",
           "kernel/model/config*.c", "kernel/model/plan.c", "kernel/engine/gguf_vocab.c",
           "kernel/engine/quantize_source.c")

# One alternative per kind of text in which names mean nothing. Order matters: the first match at a place wins.
NOT_CODE = re.compile(r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.S | re.X)


def all_files():
    """Paths of all files, relative to the root, with '/' between folders, in a fixed order."""
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = sorted(s for s in subfolders if s not in SKIPPED_FOLDERS)
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), ROOT).replace(os.sep, "/")


def loaders():
    """Paths of the loaders, in a fixed order."""
    found = (path for pattern in LOADERS for path in glob(os.path.join(ROOT, pattern)))
    return sorted(os.path.relpath(path, ROOT).replace(os.sep, "/") for path in found)


def is_c(path):
    return path.endswith((".c", ".h", ".inc"))


def read_text(path):
    """The text, or None for a file that is not UTF-8 text."""
    with open(os.path.join(ROOT, path), "rb") as file:
        data = file.read()
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def code_only(text):
    """The text with comments and the insides of literals blanked, so that lines and columns stay where they are."""
    def blank(match):
        piece = match.group()
        kept = piece[0] if piece[0] in "\"'" else " "
        return kept + re.sub(r"[^\n]", " ", piece[1:-1]) + kept if len(piece) > 1 else piece
    return NOT_CODE.sub(blank, text)


class Findings:
    """Prints one line per finding and knows the exit status."""

    def __init__(self):
        self.count = 0

    def add(self, path, line, text):
        print(f"{path}:{line}: {text}")
        self.count += 1

    def end(self):
        sys.exit(1 if self.count else 0)


if __name__ == "__main__" and sys.argv[1:] == ["--loaders"]:
    print("\n".join(loaders()))
