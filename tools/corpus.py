#!/usr/bin/env python3
"""Writes fuzz/corpus/: small files with real headers, from which fuzzing and tests/hostile.rs start.

Cut from the cached data sets ($PINBENCH_DATA, else $XDG_CACHE_HOME/pinbench/data, else ~/.cache/pinbench/data) and
from tests/data/; what no cache holds as a file (PNG, tar, events) is made of the same bytes. The same input gives the
same files. The corpus is committed: this is needed only when a format is added.
"""

import gzip
import hashlib
import io
import json
import os
import struct
import sys
import tarfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
IMAGE = 28 * 28  # bytes
RECORD = 1 + 3 * 32 * 32  # bytes
MINIMAL = """\
title = "t"
why = "w"
data = { set = "mnist", validation = 0.2 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0] }
full = { seeds = [0] }
"""
FACTORS = """
[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 128, label = "128 again", colour = "grey" }]

[[factors]]
label = "what"
levels = [
    { label = "a", set = { "optim.lr" = 0.1, "augment.flip" = true } },
    { label = "b", set = { "optim.schedule" = "cosine", "train.patience" = 2 } },
]

[reference]
source = "notes"
rows = [{ arm = { "train.batch" = 64, what = "a" }, val_acc = 0.98, minutes = 1.5 }]

[[claims]]
id = "A"
says = "s"
tests = [
    { metric = "val_acc", order = "64, a > 64, b", margin = 0.1 },
    { metric = "early_loss@0.5", bound = "64, a < 0.5", margin = 0.1 },
    { metric = "test_acc", rises = ["64, a", "64, b"], margin = 0.1 },
]
"""


def cache() -> Path:
    if os.environ.get("PINBENCH_DATA"):
        return Path(os.environ["PINBENCH_DATA"])
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "pinbench" / "data"


def head(path: Path, size: int) -> bytes:
    """The first bytes of a cached file."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        sys.exit(f"'{path.name}' of '{path.parent.name}' is not in the cache; run `pinbench data fetch`")


def idx(data: Path) -> dict[str, bytes]:
    files = {}
    for name in ("mnist", "fashion_mnist"):
        images = head(data / name / "t10k-images-idx3-ubyte", 16 + IMAGE)
        labels = head(data / name / "t10k-labels-idx1-ubyte", 8 + 10)
        # As they are cut, a header claims more than follows; with a count of what follows they are whole.
        files[f"{name}-images-cut"] = images[:64]
        files[f"{name}-images"] = images[:4] + struct.pack(">I", 1) + images[8:]
        files[f"{name}-labels-cut"] = labels
        files[f"{name}-labels"] = labels[:4] + struct.pack(">I", 10) + labels[8:]
    files["four-sizes"] = bytes([0, 0, 8, 4]) + struct.pack(">4I", 1, 2, 3, 1) + bytes(range(6))
    files["product-overflows"] = bytes([0, 0, 8, 3]) + b"\xff" * 12
    files["empty-but-long"] = bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    return files


def npy(_: Path) -> dict[str, bytes]:
    def array(kind: str, dims: str, values: bytes) -> bytes:
        header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {dims}, }}".ljust(117) + "\n"
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + values

    return {
        "images": array("|u1", "(2, 2, 3)", bytes(range(12))),
        "labels": array("<i8", "(3,)", struct.pack("<3q", 1, 0, 2)),
        "cut": array("|u1", "(2, 2, 3)", b"12"),
        "floats": array("<f4", "(1,)", bytes(4)),
        "product-overflows": array("|u1", "(99999999999, 99999999999, 99999999999)", b""),
    }


def pin(_: Path) -> dict[str, bytes]:
    def packed(labels: tuple[int, int, int], train: int = 2) -> bytes:
        content = struct.pack("<6I3H", 1, 1, 2, 2, 2, 1, *labels) + bytes(range(6))
        definition = f"""name = "little"
shape = [1, 1, 2]
classes = ["a", "b"]
train = {train}
test = 1
digest = "{hashlib.sha256(content).hexdigest()}"

[import]
pinbench = "0.1.0"
format = "npy"
test = "files of their own"
""".encode()
        return b"PINSET1\n" + struct.pack("<I", len(definition)) + definition + content

    return {
        "little": packed((0, 1, 1)),
        "cut": packed((0, 1, 1))[:-3],
        "claims-more": packed((0, 1, 1), train=4_000_000_000),
        "label-2": packed((0, 2, 1)),
        "head-alone": b"PINSET1\n" + b"\xff" * 4,
    }


def records(data: Path, count: int) -> bytes:
    return head(data / "cifar10" / "test_batch.bin", count * RECORD)


def cifar(data: Path) -> dict[str, bytes]:
    labels = list(records(data, 10)[::RECORD])
    return {
        "record": records(data, 1),
        "record-cut": records(data, 1)[:512],
        "label-10": b"\x0a" + records(data, 1)[1:],
        "labels.json": json.dumps(labels).encode(),
        "labels-256.json": json.dumps([*labels[:9], 256]).encode(),
    }


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture(batch: bytes, interlaced: int = 0, extra: bytes = b"") -> bytes:
    """A row an image of 1024 interleaved pixels, as the package of PNGs has them."""
    rows = bytearray()
    for start in range(0, len(batch), RECORD):
        planes = batch[start + 1 : start + RECORD]
        rows.append(0)  # no filter
        for pixel in range(1024):
            rows += bytes((planes[pixel], planes[1024 + pixel], planes[2048 + pixel]))
    header = struct.pack(">IIBBBBB", 1024, len(batch) // RECORD, 8, 2, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(bytes(rows), 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png(data: Path) -> dict[str, bytes]:
    one, two = picture(records(data, 1)), picture(records(data, 2))
    text = chunk(b"tEXt", b"Comment\0x") + chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 4096))
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 14)))
    return {
        "one-row.png": one,
        "two-rows.png": two,
        "cut.png": two[:1024],
        "interlaced.png": picture(records(data, 1), interlaced=1),
        "text-and-profile.png": picture(records(data, 1), extra=text + profile),
        "animated.png": picture(records(data, 1), extra=chunk(b"acTL", struct.pack(">II", 1, 0))),
        "giant.png": one[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 0x7FFFFFFF, 0x7FFFFFFF, 16, 6, 0, 0, 0)) + one[33:],
    }


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def giant(size: bytes) -> bytes:
    """A header whose size field says so, with its checksum."""
    block = bytearray(member("data_batch_1.bin").tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"some bytes"


def archive(data: Path) -> dict[str, bytes]:
    labels = head(data / "mnist" / "t10k-labels-idx1-ubyte", 64)
    zipped = gzip.compress(labels, 9, mtime=0)
    package = tar(
        [
            (member("package/package.json"), b"{}"),
            (member("package/data/t10k-labels-idx1-ubyte"), labels),
            (member("package/data/t10k-labels-idx1-ubyte.gz"), zipped),
            (member("package/data_batch_1.png"), picture(records(data, 1))[:256]),
            (member("package/train_lables.json"), b"[3, 8, 8, 0]"),
            (member("package/test_lables.json"), b"[6, 6, 1, 6]"),
            (member("cifar-10-batches-bin/test_batch.bin"), records(data, 1)[:512]),
        ]
    )
    paths = ["../../t10k-labels-idx1-ubyte", "/etc/passwd", "..", "a/..", ".", "a/./", "a\\..\\b", "./x", "é"]
    escapes = tar([(member(path), b"x") for path in paths])
    links = tar(
        [
            (member("link", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (member("link", tarfile.LNKTYPE, "../../x"), b""),
            (member("folder", tarfile.DIRTYPE), b""),
            (member("link/t10k-labels-idx1-ubyte"), labels),
        ]
    )
    long = [(member("x/" * 120 + "test_batch.bin"), b"x")]
    return {
        "package.tar.gz": gzip.compress(package, 9, mtime=0),
        "package.tar": package[:4096],
        "escapes.tar": escapes,
        "escapes.tar.gz": gzip.compress(escapes, 9, mtime=0),
        "links.tar": links,
        "gnu-long-name.tar": tar(long, tarfile.GNU_FORMAT),
        "pax.tar": tar(long, tarfile.PAX_FORMAT),
        "giant-octal.tar": giant(b"77777777777\0"),
        "giant-base-256.tar": giant(b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7),
        "bomb.tar.gz": gzip.compress(bytes(1 << 20), 9, mtime=0),
        "two-members.gz": zipped + zipped,
        "named.gz": b"\x1f\x8b\x08\x1c\0\0\0\0\0\xff\x04\0xtra" + b"name\0comment\0" + zipped[10:],
    }


def experiment(_: Path) -> dict[str, bytes]:
    return {"minimal.toml": MINIMAL.encode(), "factors.toml": (MINIMAL + FACTORS).encode()}


def record(_: Path) -> dict[str, bytes]:
    (path,) = (ROOT / "tests/data/store-format-1/trials").glob("*/*/run.json")
    text = path.read_text()
    whole = json.loads(text)
    diverged = {**whole, "status": {"state": "diverged", "step": 3, "loss": "NaN"}, "outcome": None}
    failed = {**whole, "status": {"state": "failed", "reason": "killed by signal 9"}, "outcome": None}
    outside = {**whole, "run": "../../../outside"}
    return {
        "finished.json": text.encode(),
        "diverged.json": json.dumps(diverged).encode(),
        "failed.json": json.dumps(failed).encode(),
        "outside.json": json.dumps(outside).encode(),
        "from-the-future.json": b'{"format": 4294967295}',
    }


def event(_: Path) -> dict[str, bytes]:
    lines = [
        '{"event":"started","steps":4,"steps_per_epoch":2,"images":128}',
        '{"event":"progress","step":1,"epoch":0,"images":64,"loss":2.31,"accuracy":0.125,"images_per_s":1250.5}',
        '{"event":"measured","epoch":0,"split":"validation","loss":2.2,"accuracy":0.2}',
        '{"event":"measured","epoch":1,"split":"test","loss":null,"accuracy":0.1}',
        '{"event":"sealed","run":"20261124T122033.771957Z-26259-0","status":{"state":"finished"}}',
    ]
    diverged = '{"event":"sealed","run":"r","status":{"state":"diverged","step":3,"loss":"NaN"}}'
    return {
        "run.jsonl": "\n".join([*lines, ""]).encode(),
        "noise.jsonl": "\n".join(["warning: é", lines[0], '{"event":"paused"}', diverged]).encode(),
        "not-utf-8.jsonl": b"\xff\xfe\n" + lines[0].encode(),
        "counts.jsonl": lines[0].replace("4", str(2**64 - 1)).encode(),
    }


def main() -> None:
    data = cache()
    for make in (idx, npy, pin, cifar, png, archive, experiment, record, event):
        folder = CORPUS / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        files = make(data)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        print(f"{make.__name__}: {len(files)} files, {sum(map(len, files.values())):,} bytes")


if __name__ == "__main__":
    main()
