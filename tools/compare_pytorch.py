"""Images per second of two PyTorch scripts and of pinbench's plans, in turn: `just compare-pytorch [ROUNDS]`.

`pytorch` is a plain eager script; `pytorch+` has channels-last, pooling before ReLU, fused Adam and the allocator settings of
the tuned plan. All train SimpleCNN on the same 12,000 MNIST images for 2 epochs, resident in memory as one float tensor, with
the same number of threads, and read the loss back at every step. Times are sums over the steps, without
evaluation. Rounds alternate between the programs, so that a drift of a shared machine meets all of them.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCHES = (64, 128, 1024)
IMAGES, EPOCHS = 12_000, 2
PLANS = ("eager", "tuned", "fused")
EXPERIMENT = f"""
title = "speed"
why = "images per second beside PyTorch"
data = {{ set = "mnist", validation = 0.2, train_limit = {IMAGES}, eval_limit = 500 }}
model = {{ name = "simple_cnn", activation = "relu", dropout = 0.5 }}
optim = {{ name = "adam", lr = 0.001 }}
train = {{ batch = 64, epochs = {EPOCHS} }}
[[factors]]
key = "train.batch"
label = "batch"
levels = [{", ".join(f"{{ value = {batch} }}" for batch in BATCHES)}]
[profiles]
smoke = {{ seeds = [0] }}
quick = {{ seeds = [0] }}
full = {{ seeds = [0] }}
"""


# As in src/experiment/plan.rs.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": "67108864", "THP_MEM_ALLOC_ENABLE": "1",
}


def script(images: pathlib.Path, labels: pathlib.Path, is_tuned: bool) -> None:
    """What a user would write, run by the Python that has PyTorch; prints images per second by batch."""
    import torch
    from torch import nn

    pixels = torch.frombuffer(bytearray(images.read_bytes()[16:]), dtype=torch.uint8)
    x = pixels.view(-1, 1, 28, 28)[:IMAGES].float().div(255)
    y = torch.frombuffer(bytearray(labels.read_bytes()[8:]), dtype=torch.uint8)[:IMAGES].long()
    activate = [nn.MaxPool2d(2), nn.ReLU(inplace=True)] if is_tuned else [nn.ReLU(), nn.MaxPool2d(2)]
    if is_tuned:
        x = x.contiguous(memory_format=torch.channels_last)
    for batch in BATCHES:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), *activate,
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), *activate,
            nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
        )
        if is_tuned:
            model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=is_tuned)
        loss_of = nn.CrossEntropyLoss()
        seconds = 0.0
        for _ in range(EPOCHS):
            for chosen in torch.randperm(IMAGES).split(batch):
                start = time.perf_counter()
                images_, labels_ = x[chosen], y[chosen]
                optimizer.zero_grad()
                logits = model(images_)
                loss = loss_of(logits, labels_)
                loss.backward()
                optimizer.step()
                loss.item(), (logits.argmax(1) == labels_).sum().item()
                seconds += time.perf_counter() - start
        print(batch, IMAGES * EPOCHS / seconds)


def python_with_torch() -> str:
    home = ROOT / "target" / "pytorch"
    python = home / "bin" / "python"
    has_torch = python.exists() and subprocess.run([python, "-c", "import torch"], check=False).returncode == 0
    if not has_torch:
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "numpy"], check=True)
    return str(python)


def measure_pytorch(python: str, threads: int, data: pathlib.Path, is_tuned: bool) -> dict[int, float]:
    files = [data / "mnist" / name for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")]
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env |= ALLOCATOR if is_tuned else {}
    command = [python, __file__, "--tuned-script" if is_tuned else "--script", *map(str, files)]
    out = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {int(batch): float(rate) for batch, rate in map(str.split, out.splitlines())}


def measure_pinbench(plan: str, threads: int, folder: pathlib.Path) -> dict[int, float]:
    common = ["--store", str(folder / f"store-{time.time_ns()}"), "--experiments", str(folder)]
    program = str(ROOT / "target" / "release" / "pinbench")
    options = ["--profile", "full", "--plan", plan, "--threads", str(threads)]
    subprocess.run([program, "run", "speed", *options, *common, "--quiet"], check=True)
    listed = subprocess.run(
        [program, "list", "speed", *options, *common, "--json"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    rates = {}
    for row in json.loads(listed):
        shown = subprocess.run(
            [program, "show", row["run"], *common, "--json"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        (run,) = json.loads(shown)["runs"]
        record = run["record"]
        rates[row["config"]["train"]["batch"]] = IMAGES * EPOCHS / (record["outcome"]["train_ns"] / 1e9)
    return rates


def data_root() -> pathlib.Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(os.environ.get("PINBENCH_DATA") or os.path.join(cache, "pinbench", "data"))


def main(rounds: int) -> None:
    python, threads = python_with_torch(), len(os.sched_getaffinity(0))
    rates: dict[str, list[dict[int, float]]] = {name: [] for name in ("pytorch", "pytorch+", *PLANS)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "speed.toml").write_text(EXPERIMENT)
        for round_ in range(1, rounds + 1):
            print(f"round {round_} of {rounds}", file=sys.stderr, flush=True)
            for name, is_tuned in (("pytorch", False), ("pytorch+", True)):
                rates[name].append(measure_pytorch(python, threads, data_root(), is_tuned))
            for plan in PLANS:
                rates[plan].append(measure_pinbench(plan, threads, folder))
    print(f"images/s, {threads} threads, {rounds} rounds in turn: median (best), ratio of medians [of bests] to PyTorch")
    for batch in BATCHES:
        base = [rate[batch] for rate in rates["pytorch"]]
        for name, measured in rates.items():
            own = [rate[batch] for rate in measured]
            ratio = statistics.median(own) / statistics.median(base)
            print(
                f"batch {batch:>5}  {name:<8} {statistics.median(own):>7.0f} ({max(own):>5.0f})"
                f"  {ratio:.2f} [{max(own) / max(base):.2f}]"
            )


if __name__ == "__main__":
    if sys.argv[1:2] in (["--script"], ["--tuned-script"]):
        script(*map(pathlib.Path, sys.argv[2:4]), is_tuned=sys.argv[1] == "--tuned-script")
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
