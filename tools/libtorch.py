"""Puts a libtorch for tch in the cache and links it as .libtorch: `python3 tools/libtorch.py [cpu|cuda]`.

Without a flavour it keeps the one that is linked, so that every recipe that sets up first works on either; the first time
that is the CPU's.

The CPU flavour is cut from the PyPI wheel: 0.5 GB instead of 5, and no Python at run time. The x86-64
Linux wheel is a CUDA build whose libtorch_cpu.so still needs libcudart and libcupti to *load*, so those
two come along; libtorch.so, which would pull in libtorch_cuda.so, is replaced by a linker script. With no
libtorch_cuda.so beside it torch-sys links for the CPU only.

The CUDA flavour is the whole wheel with its nvidia wheels, and CUDA's own headers for the graphs of steps. docs/gpu.md says
what of it was run on a GPU.
"""

import argparse
import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

# tch in Cargo.toml is built for exactly this libtorch: change the two together (CONTRIBUTING, "libtorch").
VERSION = "2.13.0"

# Any CPython tag serves, for nothing in these wheels is imported; one is fixed so that the digest is too.
WHEELS = [
    (
        "torch==2.13.0",
        "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
        ["torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1"],
        "torch/include/",
    ),
    (
        "nvidia-cuda-runtime==13.0.96",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        ["nvidia/cu13/lib/libcudart.so.13"],
        None,
    ),
    (
        "nvidia-cuda-cupti==13.0.85",
        "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        ["nvidia/cu13/lib/libcupti.so.13"],
        None,
    ),
]
# CUDA's own headers, of the toolkit this wheel of PyTorch is made with; PyTorch brings libraries and no headers.
CUDA_HEADERS = ("nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88")
LINKER_SCRIPT = "INPUT ( libtorch_cpu.so libc10.so )\n"
LINK = pathlib.Path(__file__).resolve().parent.parent / ".libtorch"
NEEDED_BYTES = {"cpu": 2 << 30, "cuda": 12 << 30}


class SetupError(Exception):
    pass


def cache_root() -> pathlib.Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "pinbench"


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    if subprocess.run(command).returncode != 0:
        raise SetupError(
            f"`{' '.join(command)}` failed; check the network and pip's index settings, then run `just setup` again"
        )


def sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download(requirement: str, expected: str, folder: pathlib.Path) -> pathlib.Path:
    """The wheel of `requirement`, checked against its pinned digest; a broken one is fetched once more."""
    for attempt in (1, 2):
        target = folder / f"{requirement.split('==')[0]}-{attempt}"
        # pip's own cache could hand the same broken bytes back.
        pip(
            "download", "--no-deps", "--dest", str(target), "--only-binary=:all:", "--python-version=3.11",
            "--implementation=cp", *(f"--platform={tag}_x86_64" for tag in ("manylinux_2_28", "manylinux_2_25", "manylinux2014")),
            *(["--no-cache-dir"] if attempt == 2 else []), requirement,
        )
        (wheel,) = target.glob("*.whl")
        found = sha256(wheel)
        if found == expected:
            return wheel
        print(f"warning: {wheel.name}: expected SHA-256 {expected}, found {found}", file=sys.stderr)
        wheel.unlink()
    raise SetupError(
        f"{requirement}: two downloads in a row had the wrong SHA-256 (expected {expected}); "
        "the index serves another file than the one pinned in tools/libtorch.py"
    )


def extract(wheel: pathlib.Path, libraries: list[str], headers: str | None, into: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in libraries:
            with archive.open(name) as source, open(into / "lib" / pathlib.Path(name).name, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        for name in archive.namelist() if headers else []:
            if name.startswith(headers) and not name.endswith("/"):
                target = into / "include" / name[len(headers):]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))


def build_cpu(root: pathlib.Path, scratch: pathlib.Path) -> None:
    (root / "lib").mkdir(parents=True)
    for requirement, digest, libraries, headers in WHEELS:
        print(f"libtorch {VERSION} (CPU): {requirement}", flush=True)
        wheel = download(requirement, digest, scratch)
        extract(wheel, libraries, headers, root)
        wheel.unlink()
    (root / "lib" / "libtorch.so").write_text(LINKER_SCRIPT)


def build_cuda(root: pathlib.Path, scratch: pathlib.Path) -> None:
    # The libraries find their nvidia neighbours by a RUNPATH relative to torch/lib, so the tree stays as pip lays it.
    print(f"libtorch {VERSION} (CUDA): torch and its nvidia wheels, about 5 GB", flush=True)
    pip("install", "--target", str(root / "site"), f"torch=={VERSION}")
    # In a folder of their own: pip would write them over what PyTorch's wheels put into the same place.
    pip("install", "--target", str(root / "headers"), "--no-deps", *CUDA_HEADERS)
    (root / "cuda-include").symlink_to(pathlib.Path("headers") / "nvidia" / "cu13" / "include")
    for name in ("lib", "include"):
        (root / name).symlink_to(pathlib.Path("site") / "torch" / name)


def complete(root: pathlib.Path) -> bool:
    """`build-version` is written last, so its presence says that the rest is whole."""
    try:
        return (root / "build-version").read_text().strip() == VERSION
    except OSError:
        return False


def build(flavour: str, root: pathlib.Path) -> None:
    free = shutil.disk_usage(root.parent).free
    if free < NEEDED_BYTES[flavour]:
        raise SetupError(
            f"{root.parent}: {free >> 20} MiB free, {NEEDED_BYTES[flavour] >> 20} MiB needed; "
            "make room or point XDG_CACHE_HOME at another disk"
        )
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
        fresh = pathlib.Path(scratch) / "root"
        {"cpu": build_cpu, "cuda": build_cuda}[flavour](fresh, pathlib.Path(scratch))
        (fresh / "build-version").write_text(VERSION + "\n")
        if root.exists():
            print(f"warning: {root} was incomplete and is replaced", file=sys.stderr)
            shutil.rmtree(root)
        fresh.rename(root)


def linked() -> str | None:
    """The flavour that is linked, also where its folder has gone or is of another version; None before the first time."""
    target = os.readlink(LINK) if LINK.is_symlink() else ""
    return next((flavour for flavour in NEEDED_BYTES if target.endswith(f"-{flavour}")), None)


def link(root: pathlib.Path) -> None:
    if LINK.is_symlink() or not LINK.exists():
        fresh = LINK.with_name(f".libtorch.{os.getpid()}")
        fresh.symlink_to(root)
        fresh.replace(LINK)
    else:
        raise SetupError(f"{LINK} is a folder of yours, not a link; move it away and run `just setup` again")


def forget_build(flavour: str) -> None:
    """Has torch-sys built anew: it looks once at which libraries there are, and not again when the link points elsewhere."""
    command = ["cargo", "clean", "--release", "-p", "torch-sys"]
    if subprocess.run(command, cwd=LINK.parent).returncode != 0:
        raise SetupError(
            f"`{' '.join(command)}` failed, and without it the next build would be of the other flavour still; "
            f"mend what it says, then run `just setup {flavour}` again"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="fetch libtorch into the cache and link it as .libtorch")
    parser.add_argument("flavour", nargs="?", choices=["cpu", "cuda"], help="the one that is linked when none is given")
    before = linked()
    flavour = parser.parse_args().flavour or before or "cpu"
    for own in ("LIBTORCH", "LIBTORCH_USE_PYTORCH"):
        if os.environ.get(own):
            print(f"{own}={os.environ[own]} is set and wins: nothing to fetch")
            return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SetupError(
            f"wheels are pinned for Linux x86_64 only, this is {platform.system()} {platform.machine()}; "
            f"set LIBTORCH to a libtorch {VERSION} of your own"
        )
    root = cache_root() / f"libtorch-{VERSION}-{flavour}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with open(root.parent / f"{root.name}.lock", "w") as lock:
        # Two clones may be set up at once; the second finds the work done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete(root):
            build(flavour, root)
    if before not in (None, flavour):
        forget_build(flavour)
    link(root)
    print(f"libtorch {VERSION} ({flavour}): {root}, linked as .libtorch")


if __name__ == "__main__":
    try:
        main()
    except (SetupError, OSError, zipfile.BadZipFile, KeyError) as error:
        sys.exit(f"error: libtorch setup: {error}")
