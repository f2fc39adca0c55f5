"""Writes src/nn/text/unicode_data.cpp: the character classes and the canonical (de)compositions of Unicode.

Run with a Python whose `unicodedata` has the wanted version of Unicode (the file says which):
    python3 tests/reference/make_unicode_tables.py
"""
import pathlib
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
SURROGATES = range(0xD800, 0xE000)
CODE_POINTS = [c for c in range(0x110000) if c not in SURROGATES]
# Hangul syllables are composed by arithmetic, not by table.
HANGUL = range(0xAC00, 0xD7A4)


def ranges(holds):
    found = []
    for c in range(0x110000):
        if c in SURROGATES or not holds(chr(c)):
            continue
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def rows(items):
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 118:
            lines.append(line)
            line = "   "
        line += " " + item + ","
    return "\n".join(lines + [line])


def table(kind, name, items):
    return f"const {kind} {name}[] = {{\n{rows(items)}\n}};\nconst size_t {name}_count = sizeof {name} / sizeof {name}[0];\n"


def main():
    letters = ranges(lambda c: unicodedata.category(c)[0] == "L")
    numbers = ranges(lambda c: unicodedata.category(c)[0] == "N")
    classes = [c for c in CODE_POINTS if unicodedata.combining(chr(c))]
    combining = []
    for c in classes:
        value = unicodedata.combining(chr(c))
        if combining and combining[-1][1] == c - 1 and combining[-1][2] == value:
            combining[-1][1] = c
        else:
            combining.append([c, c, value])
    decompositions = []
    for c in CODE_POINTS:
        text = unicodedata.decomposition(chr(c))
        if c in HANGUL or not text or text.startswith("<"):
            continue
        parts = [int(part, 16) for part in text.split()]
        first, second = parts[0], parts[1] if len(parts) == 2 else 0
        # A primary composite is what NFC makes of its own two parts.
        composes = second != 0 and unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(c)
        decompositions.append((c, first, second, composes))
    text = f"""// Made by tests/reference/make_unicode_tables.py from Unicode {unicodedata.unidata_version}. Do not edit.
// clang-format off
#include "nn/text/unicode_data.h"

namespace fledge::nn {{

{table("CodePointRange", "kLetterRanges", [f"{{0x{a:X}, 0x{b:X}}}" for a, b in letters])}
{table("CodePointRange", "kNumberRanges", [f"{{0x{a:X}, 0x{b:X}}}" for a, b in numbers])}
{table("CombiningRange", "kCombiningRanges", [f"{{0x{a:X}, 0x{b:X}, {v}}}" for a, b, v in combining])}
{table("Decomposition", "kDecompositions", [f"{{0x{c:X}, 0x{a:X}, 0x{b:X}, {int(p)}}}" for c, a, b, p in decompositions])}
}}  // namespace fledge::nn
"""
    (ROOT / "src/nn/text/unicode_data.cpp").write_text(text)
    print(len(letters), len(numbers), len(combining), len(decompositions), file=sys.stderr)


main()
