#!/usr/bin/env python3
"""Write kernel/quant/iq_tables.c: the codebooks of the IQ1, IQ2 and IQ3 formats, taken from the PyPI package `gguf`.

usage: make_iq_tables.py > kernel/quant/iq_tables.c

The package holds each book as a table of numbers; here every number becomes its code, and a word of codes becomes one
16-bit constant, as kernel/quant/iq_tables.h describes. Made with gguf 0.19.0. Never needed to build.
"""
import numpy as np
from gguf import quants

WIDTH = 14  # constants in a line
BOOKS = [  # name, class of the package, values of codes 0, 1, ..., bits of a code, what uses it
    ("iq1_book", quants.IQ1_S, (-1, 0, 1), 2, "IQ1_S, IQ1_M"),
    ("iq2_xxs_book", quants.IQ2_XXS, (8, 25, 43), 2, "IQ2_XXS"),
    ("iq2_xs_book", quants.IQ2_XS, (8, 25, 43), 2, "IQ2_XS"),
    ("iq2_s_book", quants.IQ2_S, (8, 25, 43), 2, "IQ2_S"),
    ("iq3_xxs_book", quants.IQ3_XXS, (4, 12, 20, 28, 36, 44, 52, 62), 3, "IQ3_XXS"),
    ("iq3_s_book", quants.IQ3_S, (1, 3, 5, 7, 9, 11, 13, 15), 3, "IQ3_S"),
]


def words(book, values, bits):
    """One integer per row of `book`, element i in bits [i * bits, (i + 1) * bits)."""
    codes = np.searchsorted(values, book)
    if not np.array_equal(np.array(values)[codes], book):
        raise SystemExit("a book holds other numbers than this script knows")
    return (codes << (bits * np.arange(book.shape[1]))).sum(axis=1)


def main():
    print("/* Codebooks, see iq_tables.h. Written by tools/reference/make_iq_tables.py. */")
    print('#include "quant/iq_tables.h"\n')
    print("/* clang-format off */")
    for name, source, values, bits, users in BOOKS:
        source.init_grid()
        book = source.grid.reshape(source.grid_shape)
        print(f"/* {users}: words of {book.shape[1]} */")
        print(f"const uint16_t {name}[{len(book)}] = {{")
        constants = [f"0x{word:04x}," for word in words(book, values, bits)]
        for first in range(0, len(constants), WIDTH):
            print("    " + " ".join(constants[first:first + WIDTH]))
        print("};")


main()
