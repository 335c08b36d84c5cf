"""Images per second of two PyTorch scripts and of pinbench's plans, in turn: `just compare-pytorch [ROUNDS]`.

`pytorch` is a plain eager script; `pytorch+` is one tuned by hand: channels-last, pooling before ReLU, fused Adam and the allocator
settings of the tuned plan. All train the same network on the same images for as many epochs, resident in memory as one float
tensor, with the same number of threads, and read the loss back at every step. Times are sums over the steps, without evaluation.
Rounds alternate between the programs, so that a drift of a shared machine meets all of them.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
# By name, the options that choose each.
PLANS = {name: ("--plan", name) for name in ("eager", "tuned", "fused", "winograd")}
PLANS["winograd 4×4"] = ("--plan", "winograd", "--set", "plan.policy=2")


class Case(typing.NamedTuple):
    """A network as pinbench knows it, and what of which set it trains on."""

    model: str
    data: str
    images: int
    epochs: int
    batches: tuple[int, ...]


CASES = {
    "simple": Case("simple_cnn", "mnist", 12_000, 2, (64, 128, 1024)),
    "improved": Case("improved_cnn", "cifar10", 4_096, 1, (64, 512)),
}
EXPERIMENT = """
title = "speed"
why = "images per second beside PyTorch"
data = {{ set = "{data}", validation = 0.2, train_limit = {images}, eval_limit = 500 }}
model = {{ name = "{model}", activation = "relu", dropout = 0.5 }}
optim = {{ name = "adam", lr = 0.001 }}
train = {{ batch = 64, epochs = {epochs} }}
[[factors]]
key = "train.batch"
label = "batch"
levels = [{levels}]
[profiles.full]
seeds = [0]
"""


# As in src/experiment/plan.rs.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": "67108864", "THP_MEM_ALLOC_ENABLE": "1",
}


def pixels(case: Case, root: pathlib.Path):
    """The first images of the training split, bytes in the order N, C, H, W, and their labels."""
    import numpy

    if case.data == "mnist":
        images = numpy.fromfile(root / "mnist" / "train-images-idx3-ubyte", numpy.uint8)[16:].reshape(-1, 1, 28, 28)
        labels = numpy.fromfile(root / "mnist" / "train-labels-idx1-ubyte", numpy.uint8)[8:]
    else:
        rows = numpy.fromfile(root / "cifar10" / "data_batch_1.bin", numpy.uint8).reshape(-1, 3073)
        images, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    return images[: case.images], labels[: case.images]


def network(case: Case, is_tuned: bool):
    """SimpleCNN or ImprovedCNN, layer by layer as `src/network/preset.rs` has them."""
    from torch import nn

    widths, hidden, size = ([1, 32, 64], 128, 28) if case.model == "simple_cnn" else ([3, 32, 64, 128, 128, 256, 256], 256, 32)
    layers, every = [], 1 if case.model == "simple_cnn" else 2
    for index, (before, after) in enumerate(zip(widths, widths[1:]), 1):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after)]
        if index % every > 0:
            layers.append(nn.ReLU(inplace=is_tuned))
            continue
        layers += [nn.MaxPool2d(2), nn.ReLU(inplace=True)] if is_tuned else [nn.ReLU(), nn.MaxPool2d(2)]
        size //= 2
    flat = widths[-1] * size * size
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 10))


def script(case: Case, root: pathlib.Path, is_tuned: bool) -> None:
    """What a user would write, run by the Python that has PyTorch; prints images per second by batch."""
    import torch

    images, labels = map(torch.from_numpy, pixels(case, root))
    x, y = images.float().div(255), labels.long()
    if is_tuned:
        x = x.contiguous(memory_format=torch.channels_last)
    for batch in case.batches:
        torch.manual_seed(0)
        model = network(case, is_tuned)
        if is_tuned:
            model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=is_tuned)
        loss_of = torch.nn.CrossEntropyLoss()
        seconds = 0.0
        for _ in range(case.epochs):
            for chosen in torch.randperm(len(x)).split(batch):
                start = time.perf_counter()
                images_, labels_ = x[chosen], y[chosen]
                optimizer.zero_grad()
                logits = model(images_)
                loss = loss_of(logits, labels_)
                loss.backward()
                optimizer.step()
                loss.item(), (logits.argmax(1) == labels_).sum().item()
                seconds += time.perf_counter() - start
        print(batch, len(x) * case.epochs / seconds)


def python_with_torch() -> str:
    home = ROOT / "target" / "pytorch"
    python = home / "bin" / "python"
    has_torch = python.exists() and subprocess.run([python, "-c", "import torch"], check=False).returncode == 0
    if not has_torch:
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "numpy"], check=True)
    return str(python)


def measure_pytorch(python: str, threads: int, name: str, is_tuned: bool) -> dict[int, float]:
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env |= ALLOCATOR if is_tuned else {}
    command = [python, __file__, "--tuned-script" if is_tuned else "--script", name]
    out = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {int(batch): float(rate) for batch, rate in map(str.split, out.splitlines())}


def measure_pinbench(case: Case, plan: tuple[str, ...], threads: int, folder: pathlib.Path) -> dict[int, float]:
    common = ["--store", str(folder / f"store-{time.time_ns()}"), "--experiments", str(folder)]
    program = str(ROOT / "target" / "release" / "pinbench")
    options = [*plan, "--threads", str(threads)]
    subprocess.run([program, "run", case.model, *options, *common, "--quiet"], check=True)
    listed = subprocess.run(
        [program, "list", case.model, *options, *common, "--json"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    rates = {}
    for row in json.loads(listed):
        shown = subprocess.run(
            [program, "show", row["run"], *common, "--json"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        (run,) = json.loads(shown)["runs"]
        record = run["record"]
        rates[row["config"]["train"]["batch"]] = case.images * case.epochs / (record["outcome"]["train_ns"] / 1e9)
    return rates


def data_root() -> pathlib.Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(os.environ.get("PINBENCH_DATA") or os.path.join(cache, "pinbench", "data"))


def compare(name: str, rounds: int) -> None:
    case, python, threads = CASES[name], python_with_torch(), len(os.sched_getaffinity(0))
    rates: dict[str, list[dict[int, float]]] = {name: [] for name in ("pytorch", "pytorch+", *PLANS)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        levels = ", ".join(f"{{ value = {batch} }}" for batch in case.batches)
        (folder / f"{case.model}.toml").write_text(EXPERIMENT.format(**case._asdict(), levels=levels))
        for round_ in range(1, rounds + 1):
            print(f"{case.model}: round {round_} of {rounds}", file=sys.stderr, flush=True)
            for script_, is_tuned in (("pytorch", False), ("pytorch+", True)):
                rates[script_].append(measure_pytorch(python, threads, name, is_tuned))
            for plan, options in PLANS.items():
                rates[plan].append(measure_pinbench(case, options, threads, folder))
    print(f"{case.model}, images/s, {threads} threads, {rounds} rounds in turn: median (best), ratio of medians to pytorch, to pytorch+")
    for batch in case.batches:
        medians = {program: statistics.median(rate[batch] for rate in measured) for program, measured in rates.items()}
        for program, measured in rates.items():
            own, best = medians[program], max(rate[batch] for rate in measured)
            plain, by_hand = own / medians["pytorch"], own / medians["pytorch+"]
            print(f"batch {batch:>5}  {program:<12} {own:>7.0f} ({best:>5.0f})  {plain:.2f}  {by_hand:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] in (["--script"], ["--tuned-script"]):
        script(CASES[sys.argv[2]], data_root(), is_tuned=sys.argv[1] == "--tuned-script")
    else:
        for name in sys.argv[2:] or CASES:
            compare(name, int(sys.argv[1]) if len(sys.argv) > 1 else 3)
