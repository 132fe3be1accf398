#!/usr/bin/env python3
"""Numbers from files meet no raw `+`, `*` or `<<` in the loaders, unless nothing can overflow.

Every expression of 64 bits gets a width: the most bits that its value can have.

    a constant                                     its own bits
    a number of a narrower type                    the bits of that type (a signed one is taken to be not negative)
    size_t, ssize_t                                48: it counts what lies in memory, and an address has no more
    sizeof, the distance of two pointers           13, 48
    uint64_t, int64_t and all other 64-bit types   64, 63: it may come from a file
    a local variable of these types                the widest value that is ever given to it, 64 if its address is taken
    x + y, x * y, x << c                           one more than the wider, the sum of both, c more than x

Found are: a result that is wider than its type; a number of 63 or 64 bits that becomes a size_t, moves a pointer or
counts elements of an array; and alignment made by hand (`& ~`). Each is to be written with base/checked.h, or to bear
the comment

    /* bounded: WHY */        (of hashes: wraps: WHY)

on one of its lines or alone on the line before. What makes `-` safe is a comparison just before it, which no width can
show: reviews and fuzzing look after that. clang reads the files; without it nothing is checked, which is said.

    check_arithmetic.py [FILE.c ...]    without files: all loaders
    check_arithmetic.py --self-test
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor

from source_files import ROOT, Findings, loaders

FLAGS = ("-std=gnu17", "-D_GNU_SOURCE", "-DSLUICE_VERSION=\"\"", "-w", "-Ikernel", "-I.", "-Iinclude", "-Itools")

LENGTH_BITS = 48  # of a size_t that counts what lies in memory
LENGTHS = {"size_t", "ssize_t", "ptrdiff_t", "utf8proc_size_t", "utf8proc_ssize_t"}
SAFE_BITS = 62    # more, and a number is none that was computed from lengths
SIZEOF_BITS = 13  # no element of a list of ours is larger than 8 KiB
LENGTH_CALLS = {"strlen", "strnlen", "strspn", "strcspn", "fread", "fwrite"}  # give a plain unsigned long to clang
WIDTHS = {"_Bool": 1, "bool": 1, "char": 8, "signed char": 7, "unsigned char": 8, "short": 15, "unsigned short": 16,
          "int": 31, "unsigned int": 32, "long": 63, "unsigned long": 64, "long long": 63, "unsigned long long": 64}
QUALIFIERS = re.compile(r"\b(const|volatile|restrict)\b ?")
BOUNDED = re.compile(r"/\*(?:(?!\*/).)*\b(?:bounded|wraps): \S", re.S)


def plain(name):
    return QUALIFIERS.sub("", name).strip()


def spelled(node):
    """The type as written: "size_t", "uint64_t", "int"."""
    return plain(node.get("type", {}).get("qualType", ""))


def type_bits(node):
    """Bits of a value of the node's type; 0 when it is no integer."""
    kind = node.get("type", {})
    name = plain(kind.get("desugaredQualType", kind.get("qualType", "")))
    return 31 if name.startswith("enum ") else WIDTHS.get(name, 0)


def is_pointer(node):
    kind = node.get("type", {})
    name = plain(kind.get("desugaredQualType", kind.get("qualType", "")))
    return name.endswith(("*", "]"))


def skip_parens(node):
    while node["kind"] in ("ParenExpr", "ConstantExpr", "ImplicitCastExpr") and node.get("inner"):
        node = node["inner"][-1]
    return node


class Function:
    """One function of a loader: its local variables, the widths of its expressions, what was found."""

    def __init__(self, body, enumerators):
        self.enumerators = enumerators
        self.given = {}        # id of a local variable: every expression that is given to it
        self.escaped = set()   # ids of variables whose address is taken
        self.parameters = set()
        self.running = set()   # variables whose width is being computed
        self.found = []        # (node, sentence)
        self.collect(body)
        self.check(body)

    # ---- local variables ---------------------------------------------------------------------------------------------

    def collect(self, node):
        kind, inner = node.get("kind"), [x for x in node.get("inner", []) if "kind" in x]
        if kind == "VarDecl":
            values = self.given.setdefault(node["id"], [])
            if "init" in node and inner:
                values.append(inner[-1])
        elif kind == "BinaryOperator" and node["opcode"] == "=":
            self.give(inner[0], inner[1])
        elif kind == "CompoundAssignOperator":
            self.give(inner[0], node)
        elif kind == "UnaryOperator" and node["opcode"] == "&":
            target = skip_parens(inner[0])
            if target["kind"] == "DeclRefExpr":
                self.escaped.add(target["referencedDecl"]["id"])
        for child in inner:
            self.collect(child)

    def give(self, target, value):
        target = skip_parens(target)
        if target["kind"] == "DeclRefExpr":
            self.given.setdefault(target["referencedDecl"]["id"], []).append(value)

    def variable_bits(self, node):
        decl, whole = node["referencedDecl"], self.leaf_bits(node)
        if decl["kind"] == "EnumConstantDecl":
            return self.enumerators.get(decl["id"], 0).bit_length()
        local = decl["kind"] == "VarDecl" and decl["id"] in self.given
        if not local or decl["id"] in self.escaped or decl["id"] in self.running:
            return whole
        self.running.add(decl["id"])
        bits = max((self.bits(value) for value in self.given[decl["id"]]), default=whole)
        self.running.discard(decl["id"])
        return min(bits, whole)

    # ---- widths ------------------------------------------------------------------------------------------------------

    @staticmethod
    def leaf_bits(node):
        return LENGTH_BITS if spelled(node) in LENGTHS else type_bits(node)

    def value(self, node):
        """The value of a constant, or None."""
        node = skip_parens(node)
        if node["kind"] == "IntegerLiteral":
            return int(node["value"])
        if node["kind"] == "DeclRefExpr":
            return self.enumerators.get(node["referencedDecl"]["id"])
        if node["kind"] == "CStyleCastExpr":
            return self.value(node["inner"][-1])
        if node["kind"] == "BinaryOperator":
            a, b = (self.value(x) for x in node["inner"])
            if a is None or b is None:
                return None
            return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "<<": lambda: a << b}.get(
                node["opcode"], lambda: None)()
        return None

    def raw_bits(self, node):
        """The width of an operation's result before it is cut to its type."""
        opcode = node["opcode"].rstrip("=") if node["kind"] == "CompoundAssignOperator" else node["opcode"]
        left, right = node["inner"]
        constant = self.value(right)
        if opcode in ("==", "!=", "<", ">", "<=", ">=", "&&", "||", "", "!"):
            return 1
        if opcode in ("=", ","):
            return self.bits(right)
        if is_pointer(left) or is_pointer(right):
            return LENGTH_BITS
        a, b = self.bits(left), self.bits(right)
        if opcode == "+":
            return max(a, b) + 1 if min(a, b) else max(a, b)
        if opcode == "*":
            if min(a, b) == 0:
                return 0
            bits = a + b
            for one, other in ((left, b), (right, a)):
                constant = self.value(one)
                if constant is not None and constant > 0:
                    bits = min(bits, other + (constant - 1).bit_length())
            return bits
        if opcode == "<<":
            return a + (constant if constant is not None else 64)
        if opcode == ">>":
            return max(0, a - constant) if constant is not None else a
        if opcode == "/":
            return max(0, a - constant.bit_length() + 1) if constant else a
        if opcode == "%":
            return min(a, (constant - 1).bit_length() if constant else b)
        if opcode == "&":
            return min(a, b)
        if opcode in ("|", "^"):
            return max(a, b)
        return a  # "-"

    def bits(self, node):
        kind, inner, own = node["kind"], node.get("inner", []), type_bits(node)
        if kind == "IntegerLiteral":
            return int(node["value"]).bit_length()
        if kind == "CharacterLiteral":
            return int(node["value"]).bit_length()
        if kind == "UnaryExprOrTypeTraitExpr":
            return SIZEOF_BITS
        if kind in ("ParenExpr", "ConstantExpr", "ImplicitCastExpr") and inner:
            return min(self.bits(inner[-1]), own) if type_bits(inner[-1]) else own
        if kind == "CStyleCastExpr":
            bits = self.bits(inner[-1]) if type_bits(inner[-1]) else own
            return min(bits, self.leaf_bits(node)) # what becomes a size_t is checked where it does
        if kind == "DeclRefExpr":
            return self.variable_bits(node)
        if kind == "BinaryOperator":
            return min(self.raw_bits(node), own)
        if kind == "CompoundAssignOperator":
            return min(self.raw_bits(node), self.leaf_bits(node))
        if kind == "ConditionalOperator":
            return max(self.bits(inner[1]), self.bits(inner[2]))
        if kind == "UnaryOperator" and node["opcode"] in ("-", "+", "++", "--"):
            return self.bits(inner[0])
        if kind == "UnaryOperator" and node["opcode"] == "!":
            return 1
        if kind == "CallExpr" and skip_parens(inner[0]).get("referencedDecl", {}).get("name") in LENGTH_CALLS:
            return LENGTH_BITS
        return self.leaf_bits(node)

    # ---- what is wrong -----------------------------------------------------------------------------------------------

    def check(self, node):
        inner = [x for x in node.get("inner", []) if "kind" in x]
        kind = node.get("kind")
        if kind in ("BinaryOperator", "CompoundAssignOperator"):
            self.check_operation(node, *inner)
        elif kind == "CStyleCastExpr" and spelled(node) == "size_t":
            self.check_length(node, inner[-1], "becomes a size_t")
        elif kind == "CStyleCastExpr":
            self.check_cut(node, inner[-1])
        elif kind == "VarDecl" and spelled(node) == "size_t" and "init" in node and inner:
            self.check_length(node, inner[-1], "becomes a size_t")
        elif kind == "CallExpr":
            self.check_arguments(inner)
        elif kind == "ArraySubscriptExpr":
            self.check_length(node, inner[1], "counts elements of an array")
        for child in inner:
            self.check(child)

    def check_operation(self, node, left, right):
        opcode = node["opcode"]
        if opcode == "=" and spelled(left) == "size_t":
            self.check_length(node, right, "becomes a size_t")
        name = opcode.rstrip("=") if node["kind"] == "CompoundAssignOperator" else opcode
        if name in ("+", "-") and is_pointer(node):
            moved = left if is_pointer(right) else right
            self.check_length(node, moved, "moves a pointer")
            return
        own = type_bits(node)
        narrow = own in (31, 32) and (name == "+" or self.value(left) is not None or self.value(right) is not None)
        if name in ("+", "*", "<<") and own >= 31 and not narrow and self.raw_bits(node) > own:
            self.found.append((node, f"`{opcode}` may overflow: its result can have {self.raw_bits(node)} bits"))
        if name == "&" and own >= 63:
            for side in (left, right):
                side = skip_parens(side)
                if side["kind"] == "UnaryOperator" and side["opcode"] == "~" and self.value(side["inner"][0]) is None:
                    self.found.append((node, "alignment made by hand: use checked_align"))

    def check_length(self, node, value, sentence):
        value_spelled = spelled(skip_parens(value))
        if value_spelled not in LENGTHS and type_bits(value) and self.bits(value) > SAFE_BITS:
            self.found.append((node, f"a number of up to {self.bits(value)} bits {sentence}"))

    def check_cut(self, node, value):
        own = type_bits(node)
        if own in (31, 32) and type_bits(value) >= 63 and self.bits(value) > own:
            self.found.append((node, f"a number of up to {self.bits(value)} bits is cut to {own}"))

    def check_arguments(self, inner):
        callee = skip_parens(inner[0])
        match = re.search(r"\((.*)\)$", callee.get("referencedDecl", {}).get("type", {}).get("qualType", ""))
        for wanted, value in zip(re.split(r", ", match.group(1)) if match else [], inner[1:]):
            if plain(wanted) == "size_t":
                self.check_length(value, value, "becomes a size_t")


# ---- one file --------------------------------------------------------------------------------------------------------

def offset_of(place):
    """Byte offset of a place of the syntax tree in the file that a person reads, or None for another file."""
    place = place.get("expansionLoc", place)
    return None if "includedFrom" in place else place.get("offset")


def enumerators_of(declarations):
    values = {}
    for text in declarations:
        if '"kind": "EnumConstantDecl"' not in text:
            continue
        enum, latest = json.loads(text), -1
        if enum["kind"] != "EnumDecl":
            continue
        for constant in enum.get("inner", []):
            if constant["kind"] != "EnumConstantDecl":
                continue
            written = [x["value"] for x in constant.get("inner", []) if "value" in x]
            latest = int(written[0]) if written else latest + 1
            values[constant["id"]] = latest
    return values


def declarations_of(dump):
    """The JSON text of each declaration of the file, one by one: the whole would be slow to read."""
    body = dump[dump.find("\n    {\n") + 1:dump.rfind("\n  ]\n")]
    return ["    {\n" + text.rstrip("\n") for text in re.split(r"^    \{\n", body, flags=re.M) if text]


def check_file(path):
    """[(line, sentence)] of one file, or what clang said."""
    command = ["clang", "-fsyntax-only", "-Xclang", "-ast-dump=json", *FLAGS, path]
    with tempfile.TemporaryFile("w+") as errors:
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, check=False)
        errors.seek(0)
        if run.returncode:
            return [(0, f"clang cannot read it: {errors.read().strip()}")]
    with open(os.path.join(ROOT, path), "rb") as file:
        source = file.read()
    lines = source.decode("utf-8").split("\n")
    declarations = [text.rstrip().rstrip(",") for text in declarations_of(run.stdout.decode("utf-8"))]
    enumerators = enumerators_of(declarations)
    found = []
    for text in declarations:
        if '"kind": "FunctionDecl"' not in text[:200] or '"kind": "CompoundStmt"' not in text:
            continue
        function = json.loads(text)
        at = offset_of(function["loc"])
        name = function["name"].encode()
        if at is None or source[at:at + len(name)] != name:
            continue
        for node, sentence in Function(function, enumerators).found:
            begin, end = (offset_of(node["range"][side]) for side in ("begin", "end"))
            first, last = (source.count(b"\n", 0, at) for at in (begin, end))
            before = lines[first - 1].strip() if first else ""
            noted = "\n".join(([before] if before.endswith("*/") else []) + lines[first:last + 1])
            if not BOUNDED.search(noted):
                found.append((last + 1, sentence))
    return sorted(set(found))
# ---- the lint's own test ---------------------------------------------------------------------------------------------

SELF_TEST = r"""
#include <stdint.h>
#include <string.h>
enum { LIMIT = 1048576 };
struct thing { uint64_t n; size_t length; uint32_t small; int count; unsigned char *data; };
void *take(size_t n);
uint64_t file_number(const unsigned char *at);
uint64_t sum(const struct thing *t, uint64_t from_file) { return t->n + from_file; }             // found
uint64_t next(uint64_t from_file) { return from_file + 1; }                                     // found
uint64_t product(const struct thing *t) { return t->n * 4; }                                    // found
uint64_t shifted(const struct thing *t) { return t->n << 3; }                                   // found
void grow(struct thing *t, uint64_t by) { t->n += by; }                                         // found
void *list(const struct thing *t) { return take(t->n); }                                        // found
size_t cast(uint64_t n) { size_t m = (size_t)n; return m; }                                     // found
size_t quiet(uint64_t n) { size_t m; m = n; return m; }                                         // found
unsigned char *moved(struct thing *t) { return t->data + t->n; }                                // found
unsigned char element(struct thing *t) { return t->data[t->n]; }                                // found
uint64_t aligned(uint64_t n, uint64_t to) { return n & ~(to - 1); }                             // found
size_t area(size_t rows, size_t columns) { return rows * columns; }                             // found
int narrow(int heads, int width) { return heads * width; }                                      // found
uint64_t local(const unsigned char *at) { uint64_t n = file_number(at); n = n + 1; return n; }  // found
uint64_t escaped(void) { uint64_t n = 0; void read(uint64_t *); read(&n); return n + 1; }        // found
uint64_t signed_one(int64_t n) { return (uint64_t)(n + 1); }                                    // found
uint64_t noted(uint64_t n) { return n + 1; /* bounded: the caller compared it with a limit */ }
uint64_t above(uint64_t n)
{
    /* bounded: the caller compared it with a limit */
    return n + 1;
}
size_t counted(const struct thing *t) { return t->length * sizeof(struct thing) + 2 * t->length + 1; }
size_t text(const char *s) { return strlen(s) + 1; }
uint64_t widened(const struct thing *t) { return (uint64_t)t->small * t->small; }
uint64_t both(const struct thing *t) { return (uint64_t)t->count * (uint64_t)t->count + LIMIT; }
uint64_t cut(uint64_t n) { return n % LIMIT * 8 + (n >> 8) + n / LIMIT; }
uint64_t constant(void) { uint64_t n = 5; return n * LIMIT << 20; }
unsigned char *along(struct thing *t) { return t->data + t->length + 1; }
size_t between(const char *from, const char *to) { return (size_t)(to - from) + 1; }
int mask(int flags) { return flags & ~4; }
double real(double x, uint64_t n) { return x * (double)n + 1.0; }
"""


def self_test(findings):
    """The rules above, held against a text in which every line that must be found says so."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "self_test.c")
        with open(path, "w", encoding="utf-8") as file:
            file.write(SELF_TEST)
        found = check_file(path)
    lines = SELF_TEST.split("\n")
    wanted = {number for number, line in enumerate(lines, 1) if line.endswith("// found")}
    for line in sorted(wanted.symmetric_difference(line for line, _ in found)):
        text = "; ".join(sentence for at, sentence in found if at == line) or "nothing"
        findings.add("tools/lint/check_arithmetic.py", 0, f"self-test: found {text} in: {lines[line - 1]}")


def main():
    if not shutil.which("clang"):
        print("check_arithmetic.py: skipped, there is no clang", file=sys.stderr)
        return
    findings, paths = Findings(), sys.argv[1:] or loaders()
    if "--self-test" in paths:
        paths = []
    self_test(findings)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for path, found in zip(paths, pool.map(check_file, paths)):
            for line, sentence in found:
                findings.add(path, line, sentence)
    findings.end()


main()
