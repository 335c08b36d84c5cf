"""Makes a package for a machine with a GPU and PyTorch: `python3 tools/package_cuda.py [--for-torch 2.11.0] [--with mnist]`.

It holds the program of the CUDA flavour and no libtorch: that is the PyTorch of the machine it is unpacked on, which has
to be of the same version, for tch is made for one. Another version of it needs another tch, so that the program is built
in a copy of this checkout whose Cargo.toml names that. Neither a GPU nor a CUDA toolkit is needed to build it: libraries to
link against and headers are in wheels.
"""

import argparse
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

import libtorch
import package
from package import ROOT, PackageError, output

# tch is made for one libtorch each.
TCH = {"2.11.0": "0.24.0", "2.12.0": "0.25.0", "2.13.0": "0.26.0"}
# What finds the libtorch of the machine and starts the program with it.
LAUNCHER = """#!/bin/sh
# Starts pinbench with the libtorch of this machine's PyTorch: of LIBTORCH where it is set, else of python3.
here=$(dirname "$(readlink -f "$0")")
root=$LIBTORCH
if [ -z "$root" ]; then
    root=$(python3 -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")') || exit 1
    [ -n "$root" ] || { echo "error: python3 has no PyTorch; activate the environment that has it, or set LIBTORCH to a libtorch VERSION" >&2; exit 1; }
fi
found=$(sed -n "s/^__version__ = '\\([^'+]*\\).*/\\1/p" "$root/version.py" 2>/dev/null || cat "$root/build-version")
[ "$found" = "VERSION" ] || { echo "error: this package is for libtorch VERSION, $root is ${found:-of no known version}; make one with 'just package-cuda --for-torch ${found:-VERSION}', or install PyTorch VERSION" >&2; exit 1; }
export LD_LIBRARY_PATH="$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/PROGRAM" "$@"
"""
README = """pinbench {version} for a GPU and PyTorch {torch}, revision {revision}

  ./pinbench doctor                                   what is there and what is missing
  ./pinbench reproduce m1 --device cuda               train on the GPU and make the page
  ./gpu-session --out DIR                             everything this project wants to know of a GPU, most important first

It takes libtorch from the PyTorch that `python3` has, or from the folder that LIBTORCH names, of this very version.
It needs: Linux on x86-64 with glibc {glibc} or newer, a driver for CUDA 13 (580 or newer). No Rust, no toolkit, no network.
{data}The licence of pinbench is in LICENSE.
"""


def link_against(version: str) -> pathlib.Path:
    """The folder of a libtorch to link against: libraries and headers of the wheel, and CUDA's headers beside them."""
    root = libtorch.cache_root() / f"libtorch-{version}-link"
    root.parent.mkdir(parents=True, exist_ok=True)
    with open(root.parent / f"{root.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (root / "build-version").exists():
            return root
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
            wheels, fresh = pathlib.Path(scratch) / "wheels", pathlib.Path(scratch) / "root"
            for wheel in (f"torch=={version}", *libtorch.CUDA_HEADERS):
                print(f"fetching {wheel}", flush=True)
                tags = (f"--platform=manylinux_{tag}_x86_64" for tag in ("2_28", "2_17"))
                libtorch.pip("download", "--no-deps", "--quiet", "--dest", str(wheels), "--only-binary=:all:", *tags,
                             "--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp", wheel)
            for wheel in wheels.glob("*.whl"):
                extract(wheel, fresh)
            (fresh / "build-version").write_text(f"{version}\n")
            fresh.rename(root)
    return root


def extract(wheel: pathlib.Path, into: pathlib.Path) -> None:
    folders = {"torch/lib/": "lib/", "torch/include/": "include/", "nvidia/cu13/include/": "cuda-include/"}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder = next((folder for folder in folders if name.startswith(folder)), None)
            if folder and not name.endswith("/"):
                target = into / (folders[folder] + name[len(folder):])
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)


def copy_tree(version: str) -> pathlib.Path:
    """This checkout as it stands, with the tch that is made for this libtorch; what was built there before stays."""
    copy = ROOT / "target" / f"for-torch-{version}"
    copy.mkdir(parents=True, exist_ok=True)
    for name in output("git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard").splitlines():
        source, target = ROOT / name, copy / name
        if not source.exists():
            continue
        content = source.read_bytes()
        if name == "Cargo.toml":
            content = re.sub(rb'^(tch|torch-sys)( = \{ version = "=)[^"]+', rb"\g<1>\g<2>" + TCH[version].encode(), content, flags=re.MULTILINE)
        # What has not changed keeps its time, so that it is not built again.
        if not target.exists() or (name != "Cargo.lock" and target.read_bytes() != content):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for crate in ("torch-sys", "tch"):
        subprocess.run(["cargo", "update", "--quiet", "-p", crate, "--precise", TCH[version]], cwd=copy, check=False)
    return copy


def build(copy: pathlib.Path, link: pathlib.Path) -> dict[str, pathlib.Path]:
    """The program and its unit tests, which hold those that only a GPU can run."""
    variables = {name: value for name, value in os.environ.items() if name not in ("CARGO_TARGET_DIR", "LIBTORCH_USE_PYTORCH")}
    variables |= {"LIBTORCH": str(link), "PINBENCH_CUDA_INCLUDE": str(link / "cuda-include")}
    built = {}
    for name, command in (("pinbench", ["build"]), ("tests", ["test", "--lib", "--no-run"])):
        done = subprocess.run(
            ["cargo", *command, "--release", "--message-format=json-render-diagnostics"],
            cwd=copy, env=variables, stdout=subprocess.PIPE, text=True,
        )
        if done.returncode != 0:
            raise PackageError(f"the build in {copy} failed")
        programs = [json.loads(line).get("executable") for line in done.stdout.splitlines()]
        built[name] = pathlib.Path([program for program in programs if program][-1])
    needed = output("readelf", "-d", str(built["pinbench"]))
    if "libtorch_cuda.so" not in needed:
        raise PackageError(f"{built['pinbench']} does not need libtorch_cuda.so: see link_cuda in build.rs")
    return built


def stage(built: dict[str, pathlib.Path], version: str, sets: list[str], folder: pathlib.Path) -> None:
    for name, program in built.items():
        target = folder / f"{name}.bin"
        shutil.copyfile(program, target)
        target.chmod(0o755)
        output("strip", str(target))
        script = LAUNCHER.replace("VERSION", version).replace("PROGRAM", target.name)
        launcher = folder / ("pinbench" if name == "pinbench" else "gpu-tests")
        launcher.write_text(script)
        launcher.chmod(0o755)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    for name in ("gpu_session.py", "gpu_peers.py"):
        shutil.copyfile(ROOT / "tools" / name, folder / name)
    session = folder / "gpu-session"
    session.write_text('#!/bin/sh\nexec python3 "$(dirname "$(readlink -f "$0")")/gpu_session.py" "$@"\n')
    session.chmod(0o755)
    for name in ("experiments", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    for name in sets:
        package.put_data(package.PROGRAM, name, folder / package.PACKED_DATA / name)
    revision = output("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*").strip()
    (folder / "README.txt").write_text(README.format(
        version=package.version(), torch=version, revision=revision,
        glibc=package.glibc([folder / "pinbench.bin"]), data=package.about_data(sets),
    ))


def main() -> None:
    parser = argparse.ArgumentParser(description="a package for a machine with a GPU and PyTorch")
    parser.add_argument("--for-torch", default=libtorch.VERSION, choices=sorted(TCH), help="the PyTorch that is there")
    parser.add_argument("--with", dest="sets", default="", metavar="SET,SET", help="data sets to bring along")
    args = parser.parse_args()
    version = args.for_torch
    built = build(copy_tree(version), link_against(version))
    name = f"pinbench-{package.version()}-cuda-torch{version}"
    archive = ROOT / "target" / f"{name}-x86_64-linux.tar.xz"
    with tempfile.TemporaryDirectory(dir=ROOT / "target", prefix=".package-") as scratch:
        folder = pathlib.Path(scratch) / name
        folder.mkdir()
        stage(built, version, [name for name in args.sets.split(",") if name], folder)
        package.pack(folder, archive)
        print(f"{archive}: {package.size(archive)}, unpacked {package.size(folder)}")


if __name__ == "__main__":
    try:
        main()
    except (PackageError, libtorch.SetupError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"error: {error}")
