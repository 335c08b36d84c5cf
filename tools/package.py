"""Puts the built program where it is used: `python3 tools/package.py install | pack | try`.

`install` puts it onto PATH, with the libtorch that is in the cache; `pack` makes an archive that a machine without Rust,
Python or a network unpacks and runs; `try` runs such an archive in a root that has the C library and nothing else.

The program finds its libraries in `lib` beside itself: its run path, which names a folder of the machine it was built
on, is overwritten in place, for which nothing has to be installed.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "release" / "pinbench"
RUN_PATH = "$ORIGIN/lib"
# Where the program looks for data sets first (src/data/root.rs).
PACKED_DATA = "pinbench-data"

# The C library is the host's: the kernel's loader is part of it. Everything else is brought along.
HOST = {"linux-vdso.so.1", "ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"}
COMPILER = {"libstdc++.so.6": "GCC's C++ library", "libgcc_s.so.1": "GCC's run time"}

README = """pinbench {version}{kind}, revision {revision}
{about}
  ./pinbench list                                     every experiment, built into the program
  ./pinbench {first}
  ./pinbench --help

It runs from any folder and may be linked from one on PATH. Runs go into ./runs (--store), pages into ./reports.
{data}
It needs: Linux on x86-64 with glibc {glibc} or newer, /proc, /dev/null and /dev/urandom. No Rust, no Python, no network.
experiments/ and examples/ are the files of the experiments, to copy and change: `pinbench run my.toml`.
{libraries}
The licence of pinbench is in LICENSE.
"""


class PackageError(Exception):
    pass


def output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PackageError(f"`{command[0]}` is not there; install it (binutils has readelf and strip, xz-utils xz)") from error
    if done.returncode != 0:
        raise PackageError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


def version() -> str:
    found = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    if not found:
        raise PackageError("Cargo.toml has no version")
    return found[1]


def run_path(program: pathlib.Path) -> str | None:
    found = re.search(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", output("readelf", "-d", str(program)))
    return found and found[1]


def set_run_path(program: pathlib.Path, path: str) -> None:
    """Overwrites it where it stands in the file, which therefore must have room: it names a longer folder."""
    old = run_path(program)
    if old is None or old == path:
        return
    before, after = old.encode() + b"\0", path.encode() + b"\0"
    content = program.read_bytes()
    if content.count(before) != 1 or len(after) > len(before):
        raise PackageError(f"{program}: the run path '{old}' cannot be overwritten with '{path}'; build anew with `just build`")
    program.write_bytes(content.replace(before, after.ljust(len(before), b"\0")))
    if run_path(program) != path:
        raise PackageError(f"{program}: the run path is '{run_path(program)}', expected '{path}'; this is a bug in tools/package.py")


def libraries(program: pathlib.Path) -> dict[str, pathlib.Path]:
    """Every library the program loads, by the name it asks for."""
    found = {}
    for line in output("ldd", str(program)).splitlines():
        name, _, rest = line.strip().partition(" => ")
        path = rest.split(" (")[0]
        if path == "not found":
            raise PackageError(f"{program}: {name} is not found; run `just setup` and `just build`")
        if name.split(" (")[0].startswith("/"):
            path = name.split(" (")[0]
        if path.startswith("/"):
            found[pathlib.Path(name.split(" (")[0]).name] = pathlib.Path(path)
    return found


def brought(program: pathlib.Path) -> dict[str, pathlib.Path]:
    """Those of them that are not the C library's."""
    return {name: path for name, path in libraries(program).items() if name not in HOST}


def glibc(files: list[pathlib.Path]) -> str:
    """The oldest C library that has every symbol these files ask for."""
    asked = {tuple(map(int, found.split("."))) for file in files for found in re.findall(r"GLIBC_(\d+(?:\.\d+)+)", output("readelf", "-V", str(file)))}
    return ".".join(map(str, max(asked, default=(2, 17))))


def put_program(program: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    target = folder / "pinbench"
    # Beside it and then moved: it may be running.
    draft = folder / ".pinbench.new"
    shutil.copyfile(program, draft)
    draft.chmod(0o755)
    output("strip", str(draft))
    set_run_path(draft, RUN_PATH)
    draft.replace(target)
    return target


def install(program: pathlib.Path, prefix: pathlib.Path | None) -> None:
    home = pathlib.Path.home()
    path = [pathlib.Path(folder) for folder in os.environ.get("PATH", "").split(":") if folder]
    places = [prefix / "bin"] if prefix else [home / ".local" / "bin", pathlib.Path(os.environ.get("CARGO_HOME") or home / ".cargo") / "bin"]
    bin_folder = next((place for place in places if place in path), places[0])
    folder = (prefix or home / ".local") / "lib" / "pinbench"
    for needed in (folder, bin_folder):
        needed.mkdir(parents=True, exist_ok=True)
    torch = [library.parent for name, library in libraries(program).items() if name == "libtorch_cpu.so"]
    installed = put_program(program, folder)
    # The folder itself, not the clone's link to it: the clone may go, or be set up for another flavour.
    link(folder / "lib", torch[0].resolve()) if torch else (folder / "lib").unlink(missing_ok=True)
    link(bin_folder / "pinbench", installed)
    output(str(bin_folder / "pinbench"), "--version")
    print(f"{bin_folder / 'pinbench'}, a link to {installed}")
    print(f"its libtorch: {torch[0].resolve()}" if torch else "without libtorch: it lists and reports, and does not train")
    if bin_folder in path:
        found = shutil.which("pinbench")
        print("it is on PATH" if found == str(bin_folder / "pinbench") else f"but PATH has another one before it: {found}")
    else:
        print(f"{bin_folder} is not on PATH: add `export PATH=\"{bin_folder}:$PATH\"` to your shell's start-up file")
    print(f"to remove it: rm -r {folder} {bin_folder / 'pinbench'}")


def link(name: pathlib.Path, target: pathlib.Path) -> None:
    if name.exists() and not name.is_symlink():
        raise PackageError(f"{name} is there and no link; move it away and run `just install` again")
    fresh = name.with_name(f".{name.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(name)


def stage(program: pathlib.Path, folder: pathlib.Path, sets: list[str]) -> None:
    """What the archive holds, in `folder`."""
    ours = brought(program)
    slim = "libtorch_cpu.so" not in ours
    if "libtorch_cuda.so" in ours:
        raise PackageError("this is the CUDA flavour, whose libraries are 4 GB: run `just setup cpu` and `just build` first")
    if slim and sets:
        raise PackageError("--slim and --with: without libtorch nothing reads data sets; leave one out")
    if run_path(put_program(program, folder)) != RUN_PATH:
        raise PackageError(f"{program} has no run path, so that it would not find its libraries; build it with `just build`")
    (folder / "lib").mkdir()
    for name, path in ours.items():
        shutil.copyfile(path, folder / "lib" / name)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    for name in ("experiments", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    for name in sets:
        put_data(program, name, folder / PACKED_DATA / name)
    revision = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True)
    (folder / "README.txt").write_text(README.format(
        version=version(),
        kind=", without libtorch: for pages and listings" if slim else "",
        revision=revision.stdout.strip() or "unknown",
        about="It trains nothing.\n" if slim else "",
        first="report --store DIR                     pages of the runs there are" if slim
        else "reproduce examples/demo.toml            a first page (--no-diagnostics: in a minute)",
        data="" if slim else about_data(sets),
        glibc=glibc([folder / "pinbench", *(folder / "lib").iterdir()]),
        libraries=about_libraries(ours),
    ))


def put_data(program: pathlib.Path, name: str, folder: pathlib.Path) -> None:
    # Verified, and fetched if need be; it prints where the set is.
    source = pathlib.Path(output(str(program), "data", "fetch", name, "--quiet").splitlines()[-1])
    shutil.copytree(source, folder)


def about_data(sets: list[str]) -> str:
    if sets:
        return f"Data sets are brought along, in {PACKED_DATA}/: {', '.join(sets)}.\n"
    return "Data sets: `./pinbench data fetch mnist --from FOLDER` with the folder they are in, else from the network.\n"


def about_libraries(ours: dict[str, pathlib.Path]) -> str:
    torch = sorted(name for name in ours if name not in COMPILER)
    lines = [f"In lib/, {COMPILER[name]}: {name} (GPL 3 with the GCC run time exception)." for name in sorted(ours) if name in COMPILER]
    if torch:
        lines.insert(0, f"In lib/, from the wheels that tools/libtorch.py pins, under their own licences: {', '.join(torch)}.")
    return "\n".join(lines) + "\n" if lines else ""


def pack(folder: pathlib.Path, archive: pathlib.Path) -> None:
    """The same content gives the same bytes: names in order, no owner, the time of the revision."""
    when = subprocess.run(["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True).stdout.strip()

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = int(when or 0)
        info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
        return info

    draft = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        with open(draft, "wb") as file:
            # Blocks of one size: how many threads there are must not show.
            with subprocess.Popen(["xz", "-T0", "-6", "--block-size=24MiB"], stdin=subprocess.PIPE, stdout=file) as xz:
                with tarfile.open(fileobj=xz.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                    for path in [folder, *sorted(folder.rglob("*"))]:
                        tar.add(path, arcname=path.relative_to(folder.parent), recursive=False, filter=plain)
                xz.stdin.close()
        if xz.returncode != 0:
            raise PackageError(f"xz failed; is there space at {archive.parent}?")
        draft.replace(archive)
    except FileNotFoundError as error:
        raise PackageError("`xz` is not there; install xz-utils") from error
    finally:
        draft.unlink(missing_ok=True)


def size(path: pathlib.Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / (1 << 20):.1f} MiB"


def build_slim(folder: pathlib.Path) -> pathlib.Path:
    """Built without libtorch, and put aside: in target/release stays what was there."""
    kept = folder / "kept"
    if PROGRAM.exists():
        shutil.copy2(PROGRAM, kept)
    # Without libtorch the build needs no run path and gives none, and what is brought along would not be found.
    options = ["--release", "--no-default-features", "--bin", "pinbench", "--", f"-Clink-arg=-Wl,-rpath,{RUN_PATH}"]
    if subprocess.run(["cargo", "rustc", *options], cwd=ROOT).returncode != 0:
        raise PackageError("the build failed")
    slim = pathlib.Path(shutil.copy2(PROGRAM, folder / "slim"))
    if kept.exists():
        draft = PROGRAM.with_name(".pinbench.kept")
        shutil.copy2(kept, draft)
        draft.replace(PROGRAM)
    return slim


def make(slim: bool, sets: list[str]) -> None:
    target = ROOT / "target"
    name = f"pinbench-{version()}" + ("-slim" if slim else "")
    archive = target / f"{name}-x86_64-linux.tar.xz"
    with tempfile.TemporaryDirectory(dir=target, prefix=".package-") as scratch:
        folder = pathlib.Path(scratch) / name
        folder.mkdir()
        stage(build_slim(pathlib.Path(scratch)) if slim else PROGRAM, folder, sets)
        pack(folder, archive)
        print(f"{archive}: {size(archive)}, unpacked {size(folder)}")


# What every container has besides files. libtorch reads /dev/urandom when its generator is made, whatever its seed is.
DEVICES = ("null", "urandom")
# In the namespaces: `$1` is the root, the rest the command. No network.
ENTER = "root=$1; shift; " + "".join(
    f'mount --rbind {path} "$root{path}" && ' for path in ("/proc", *(f"/dev/{name}" for name in DEVICES))
) + 'exec chroot "$root" "$@"'


def try_out(archive: pathlib.Path, given: pathlib.Path | None) -> None:
    namespaces = ["unshare", "--map-root-user", "--mount", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*namespaces, "true"], capture_output=True).returncode != 0:
        raise PackageError(f"no namespaces here: run it where `{' '.join(namespaces)} true` works, which is any Linux that is no locked container")
    with tempfile.TemporaryDirectory(dir=ROOT / "target", prefix=".bare-") as scratch:
        root = pathlib.Path(scratch)
        for name in ("proc", "dev", "tmp", "home", "opt"):
            (root / name).mkdir()
        for name in DEVICES:
            (root / "dev" / name).touch()
        subprocess.run(["tar", "-xf", str(archive), "-C", str(root / "opt")], check=True)
        (folder,) = (root / "opt").iterdir()
        for name, path in libraries(folder / "pinbench").items():
            if name in HOST:
                copy = root / path.relative_to("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path.resolve(), copy)
                copy.chmod(0o755)
        if given:
            shutil.copytree(given, root / "given")
        print(f"a root with {', '.join(sorted(str(file.relative_to(root)) for file in root.rglob('*.so*') if 'opt' not in file.parts))}", flush=True)
        program = f"/opt/{folder.name}/pinbench"

        def step(*arguments: str, says: str) -> None:
            command = [program, *arguments]
            print(f"$ {' '.join(command)}", flush=True)
            # No variable of this machine's but a home.
            done = subprocess.run(
                ["env", "-i", "HOME=/home", f"PATH={os.environ['PATH']}", *namespaces, "sh", "-c", ENTER, "sh", str(root), *command],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            is_good = done.returncode == 0 and says in done.stdout
            # The end of it, unless the reason is to be found.
            lines = done.stdout.splitlines()[-14 if is_good else 0:]
            print("".join(f"  {line}\n" for line in lines), end="", flush=True)
            if not is_good:
                raise PackageError(f"exit code {done.returncode}, expected 0 and '{says}' in what it says")

        step("--version", says=version())
        step("list", "m1", "--profile", "smoke", "--store", "/tmp/runs", says="built into the program")
        if "-slim" not in folder.name:
            if not (folder / PACKED_DATA / "mnist").exists():
                step("data", "fetch", "mnist", "--from", "/given", says="mnist: verified, from")
            step("reproduce", "m1", "--profile", "smoke", "--store", "/tmp/runs", "--report", "/tmp/pages", says="3 of 3 runs finished")
        step("report", "m1", "--profile", "smoke", "--store", "/tmp/runs", "--out", "/tmp/pages", says="/tmp/pages/m1-batch-size/index.html")
        print(f"the page, of {(root / 'tmp/pages/m1-batch-size/index.html').stat().st_size:,} bytes, was made there")


def main() -> None:
    parser = argparse.ArgumentParser(description="install, package or try the built program")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("install", help="put it onto PATH")
    one.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    one.add_argument("--prefix", type=lambda text: pathlib.Path(text).absolute(), help="PREFIX/bin and PREFIX/lib [default: ~/.local]")
    one = verbs.add_parser("pack", help="make target/pinbench-VERSION-x86_64-linux.tar.xz")
    one.add_argument("--slim", action="store_true", help="without libtorch, for pages and listings")
    one.add_argument("--with", dest="sets", default="", metavar="SET,SET", help="data sets to bring along")
    one = verbs.add_parser("try", help="run an archive in a bare root")
    one.add_argument("archive", type=pathlib.Path)
    one.add_argument("--from", dest="given", type=pathlib.Path, help="folder with the files of MNIST")
    args = parser.parse_args()
    if args.verb == "install":
        install(args.program, args.prefix)
    elif args.verb == "pack":
        make(args.slim, [name for name in args.sets.split(",") if name])
    else:
        try_out(args.archive, args.given)


if __name__ == "__main__":
    try:
        main()
    except (PackageError, OSError) as error:
        sys.exit(f"error: {error}")
