"""Measures the house: `python3 tools/house.py`. Lines of src that are no tests, files of more than 600 lines, functions of more than 60.

A test module is what follows `#[cfg(test)]`, or a file that is declared so.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES = 600, 60


def test_files() -> set[pathlib.Path]:
    found = set()
    for file in (ROOT / "src").rglob("*.rs"):
        for name in re.findall(r"#\[cfg\(test\)\]\n(?:#\[[^\n]*\]\n)*(?:pub(?:\([^)]*\))? )?mod (\w+);", file.read_text()):
            folder = file.parent if file.name in ("mod.rs", "lib.rs", "main.rs") else file.with_suffix("")
            found |= {folder / f"{name}.rs", folder / name / "mod.rs"}
    # What a file of tests declares is tests too.
    below = {file for of in found for file in of.with_suffix("").rglob("*.rs")}
    return found | below


def production(lines: list[str]) -> list[str]:
    """The lines without items that are there for tests alone: each ends where its braces do."""
    kept, number = [], 0
    while number < len(lines):
        if lines[number].strip() != "#[cfg(test)]":
            kept.append(lines[number])
            number += 1
            continue
        indent = " " * (len(lines[number]) - len(lines[number].lstrip()))
        number += 1
        while lines[number].strip().startswith(("#[", "//")):
            number += 1
        if not lines[number].endswith((";", "}", ",")):
            # A text within a module of tests may have lines that begin as the module does, but none that is a brace alone.
            number += 1
            while lines[number] not in (f"{indent}}}", f"{indent}}};", f"{indent}}},", f"{indent});", f"{indent}];"):
                number += 1
        number += 1
    return kept


def functions(lines: list[str]):
    """Name and length of each function, by the indent of its closing brace."""
    for number, line in enumerate(lines):
        found = re.match(r"( *)(?:pub(?:\([^)]*\))? )?(?:const |unsafe |extern \"C\" )*fn (\w+)", line)
        if found:
            # A body ends at a brace, and a declaration of what is defined elsewhere at a semicolon, both as far in as it began.
            ends = re.compile(rf"{found[1]}(\}}|\).*;$)")
            at_once = line.rstrip().endswith(("}", ";"))
            end = number if at_once else next((at for at in range(number, len(lines)) if ends.match(lines[at])), number)
            yield found[2], end - number + 1


def main() -> None:
    tests, total, long_files, long_functions = test_files(), 0, [], []
    for file in sorted((ROOT / "src").rglob("*.rs")):
        lines = file.read_text().splitlines()
        if len(lines) > FILE_LINES:
            long_files.append((len(lines), file))
        if file in tests:
            continue
        own = production(lines)
        total += len(own)
        long_functions += [(length, name, file) for name, length in functions(own) if length > FUNCTION_LINES]
    print(f"{total:,} lines of src that are no tests")
    for length, file in sorted(long_files, reverse=True):
        print(f"{file.relative_to(ROOT)}: {length} lines")
    for length, name, file in sorted(long_functions, reverse=True):
        print(f"{file.relative_to(ROOT)}: {name} has {length} lines")


if __name__ == "__main__":
    sys.exit(main())
