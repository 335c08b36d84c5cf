"""Write the handwritten digits of the PyPI package scikit-learn as class folders of PNG: `digits.py FOLDER`.

1,797 pictures of 8×8 pixels in 17 greys, from the UCI "Optical Recognition of Handwritten Digits" set: a data set that is
nobody's here. Needs pip and its index once: the package stays in FOLDER.packages. Python's standard library alone.
"""

import gzip
import hashlib
import pathlib
import struct
import subprocess
import sys
import zipfile
import zlib

PACKAGE = "scikit-learn"
MEMBER = "sklearn/datasets/data/digits.csv.gz"
SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"  # of the table, unpacked
SIDE = 8
WHITE = 16


def table(packages: pathlib.Path) -> list[list[int]]:
    """The rows: 64 pixels, then the digit."""
    if not list(packages.glob("scikit_learn-*.whl")):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--only-binary"]
        command += [":all:", "--dest", str(packages), PACKAGE]
        if subprocess.run(command, stdout=sys.stderr).returncode:
            sys.exit(
                f"`{' '.join(command)}` failed; check the network and pip's index settings, or put a wheel of "
                f"{PACKAGE} into '{packages}', and run this again"
            )
    wheel = next(packages.glob("scikit_learn-*.whl"))
    with zipfile.ZipFile(wheel) as files:
        text = gzip.decompress(files.read(MEMBER))
    found = hashlib.sha256(text).hexdigest()
    if found != SHA256:
        sys.exit(f"'{MEMBER}' of '{wheel}' has SHA-256 {found}, expected {SHA256}")
    return [[int(float(value)) for value in line.split(",")] for line in text.decode().splitlines()]


def png(pixels: list[int]) -> bytes:
    """A grey picture of SIDE×SIDE bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(pixels[start : start + SIDE]) for start in range(0, SIDE * SIDE, SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: digits.py FOLDER")
    folder = pathlib.Path(sys.argv[1])
    for index, (*pixels, digit) in enumerate(table(folder.with_name(folder.name + ".packages"))):
        path = folder / str(digit) / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png([value * 255 // WHITE for value in pixels]))
    print(folder)


if __name__ == "__main__":
    main()
