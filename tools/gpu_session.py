"""What this project wants to know of a GPU, most important first: `just gpu-session`, or `./gpu-session` in a package.

Each step is one command with a limit of its own; none is started that cannot end in time, and what a step printed is
written when it ends, so that a session that is cut off has lost the step under way and nothing else. The runs come back
as archives of at most 16 MiB each.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# The largest file that is easily carried home.
PART_BYTES = 15 << 20
# What is kept for packing the runs at the end.
RESERVE_S = 15


@dataclasses.dataclass
class Step:
    name: str
    # What is learned from it.
    about: str
    command: list[str]
    # It is not begun with less, and ended after as many.
    seconds: int
    # A failure of it leaves nothing for the others to do.
    is_needed: bool = False


def programs() -> tuple[list[str], list[str]]:
    """pinbench and its unit tests: those of a package, else of a checkout."""
    if (HERE / "pinbench.bin").exists():
        return [str(HERE / "pinbench")], [str(HERE / "gpu-tests")]
    root = HERE.parent
    return [str(root / "target/release/pinbench")], ["cargo", "test", "--release", "--lib", "--"]


def steps(out: pathlib.Path, device: str, jobs: int) -> list[Step]:
    pinbench, tests = programs()
    peers = [sys.executable, str(HERE / "gpu_peers.py")]

    def run(experiment: str, *options: str) -> list[str]:
        return [*pinbench, "run", experiment, "--store", str(out / "runs"), "--device", device, *options]

    return [
        Step("doctor", "what is there", [*pinbench, "doctor", "--store", str(out / "runs")], 20),
        Step("tests", "losses, gradients and updates against the CPU; the same bits again, resumed and as graphs",
             [*tests, "gpu", "--ignored", "--nocapture", "--test-threads=1"], 60),
        Step("smoke", "one training of each batch", run("m1", "--profile", "smoke", "--plan", "eager"), 40, is_needed=True),
        Step("m1-eager", "M1 at full, five seeds, as PyTorch does", run("m1", "--profile", "full", "--plan", "eager"), 150),
        Step("peers", "the same step in PyTorch, in four ways", [*peers, "eager-read,cl-swap-fused-read,graph-read,graph-cl-swap-read"], 60),
        Step("m1-graph", "M1 at full as CUDA graphs", run("m1", "--profile", "full", "--plan", "graph"), 60),
        Step("m1-tuned", "M1 at full, tuned", run("m1", "--profile", "full", "--plan", "tuned", "--seeds", "2"), 60),
        Step("c2", "C2 at the notes' setting, a seed of each arm side by side",
             run("c2", "--profile", "full", "--plan", "eager", "--jobs", str(jobs), "--seeds", "1"), 300),
    ]


def environment() -> dict[str, str]:
    # What a plan sets for a training, the tests that train in their own process need too.
    return {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONUNBUFFERED": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(description="measure what there is to know of a GPU, most important first")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("gpu-session-results"))
    parser.add_argument("--seconds", type=int, default=780, help="stop in time for this [default: 780]")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--jobs", type=int, default=8, help="trainings side by side where only results count [default: 8]")
    parser.add_argument("--only", default="", metavar="STEP,STEP", help="these steps, in this order")
    args = parser.parse_args()
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    asked = {step.name: step for step in steps(out, args.device, args.jobs)}
    unknown = [name for name in filter(None, args.only.split(",")) if name not in asked]
    if unknown:
        parser.error(f"--only: there is no step {', '.join(unknown)}; the steps are {', '.join(asked)}")
    chosen = [asked[name] for name in args.only.split(",")] if args.only else list(asked.values())
    return session(chosen, out, time.monotonic() + args.seconds)


def session(chosen: list[Step], out: pathlib.Path, end: float) -> int:
    began, rows, failed = time.monotonic(), [], 0
    for step in chosen:
        left = end - RESERVE_S - time.monotonic()
        if left < min(step.seconds, 20):
            rows.append((step, "left out", f"{max(left, 0):.0f} s were left", 0.0))
            write(rows, out)
            continue
        print(f"== {time.monotonic() - began:.0f} s: {step.name}: {step.about}", flush=True)
        outcome, took = attempt(step, out, min(step.seconds, left))
        failed += outcome != "done"
        rows.append((step, outcome, f"{step.name}.txt", took))
        write(rows, out)
        if step.is_needed and outcome != "done":
            break
    archive(out)
    print((out / "session.md").read_text(), flush=True)
    return 1 if failed else 0


def attempt(step: Step, out: pathlib.Path, seconds: float) -> tuple[str, float]:
    began = time.monotonic()
    with open(out / f"{step.name}.txt", "wb") as log:
        child = subprocess.Popen(step.command, stdout=log, stderr=subprocess.STDOUT, env=environment())
        try:
            code = child.wait(seconds)
            outcome = "done" if code == 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            # pinbench keeps what is done; the same command goes on where it stopped.
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            outcome = f"stopped after {seconds:.0f} s"
    tail = (out / f"{step.name}.txt").read_text(errors="replace").splitlines()[-12:]
    print("".join(f"  {line}\n" for line in tail), end="", flush=True)
    return outcome, time.monotonic() - began


def write(rows: list[tuple[Step, str, str, float]], out: pathlib.Path) -> None:
    lines = ["| step | what | outcome | s | |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {step.name} | {step.about} | {outcome} | {took:.0f} | {note} |" for step, outcome, note, took in rows]
    (out / "session.md").write_text("\n".join(lines) + "\n")


def archive(out: pathlib.Path) -> None:
    if not (out / "runs").exists():
        return
    whole = pathlib.Path(shutil.make_archive(str(out / "runs"), "xztar", out, "runs"))
    content = whole.read_bytes()
    if len(content) > PART_BYTES:
        for number, start in enumerate(range(0, len(content), PART_BYTES)):
            (out / f"runs.tar.xz.{number}").write_bytes(content[start:start + PART_BYTES])
        whole.unlink()


if __name__ == "__main__":
    sys.exit(main())
