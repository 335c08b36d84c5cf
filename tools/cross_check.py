"""Trains the first steps of trials in PyTorch and compares every bit with pinbench's:
`just cross-check [STEPS [NETWORK …]]`.

Both presets, and the networks of `examples/`, each under both plans. The same libtorch, threads, memory format and form of
Adam; layers, images, their order and the seeds of every draw come from `pinbench export`. Without PyTorch it says so and
skips.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PRESETS = (("simple_cnn", "mnist", 64), ("improved_cnn", "cifar10", 32))
EXAMPLES = ("lenet-5", "mlp", "vgg-11", "resnet-20")
PLANS = ("eager", "tuned")


def experiment(model: str, data: str, batch: int) -> str:
    return f"""
title = "cross-check"
why = "the same bits as PyTorch's"
data = {{ set = "{data}", validation = 0.2, eval_limit = 500 }}
model = {{ name = "{model}", activation = "relu", dropout = 0.5 }}
optim = {{ name = "adam", lr = 0.001 }}
train = {{ batch = {batch}, epochs = 1 }}
[profiles]
smoke = {{ seeds = [0] }}
quick = {{ seeds = [0] }}
full = {{ seeds = [0] }}
"""


def export(folder: pathlib.Path, plan: str, steps: int) -> pathlib.Path:
    program = str(ROOT / "target" / "release" / "pinbench")
    common = ["--experiments", str(folder), "--profile", "smoke"]
    listed = subprocess.run(
        [program, "list", *common, "--store", str(folder / "runs"), "--json"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    trial = json.loads(listed)[0]
    out = folder / plan
    subprocess.run(
        [program, "export", *common, "--trial", trial["trial_id"], "--plan", plan, "--steps", str(steps), "--out", str(out)],
        check=True, stdout=subprocess.DEVNULL,
    )
    return out


def read_safetensors(path: pathlib.Path) -> dict:
    import torch

    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    body, tensors = raw[8 + length :], {}
    for name, about in json.loads(raw[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = about["data_offsets"]
            tensors[name] = torch.frombuffer(bytearray(body[start:end]), dtype=torch.float32).view(about["shape"])
    return tensors


def train(folder: pathlib.Path) -> None:
    """What PyTorch computes, compared; prints one line, or one a difference, and exits with 1 if there is any."""
    import torch
    from torch import nn

    from network import Network
    from reference import weights_digest

    about = json.loads((folder / "trial.json").read_text())
    steps = json.loads((folder / "steps.json").read_text())
    config, plan = about["trial"]["config"], about["plan"]
    torch.set_num_threads(plan["threads"])
    torch.use_deterministic_algorithms(True)
    channels, height, width = about["shape"]
    torch.manual_seed(about["init_seed"])
    model = Network(about["layers"], about["shape"], about["classes"])
    differences = []
    if weights_digest(model) != about["initial_weights"]:
        differences.append("initial weights")
    x = torch.frombuffer(bytearray((folder / "images.u8").read_bytes()), dtype=torch.uint8)
    x = x.view(-1, channels, height, width).float().div(255)
    if (folder / "mean.f32").exists():
        mean, std = (
            torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=torch.float32).view(about["shape"])
            for name in ("mean.f32", "std.f32")
        )
        x = x.sub_(mean).div_(std)
    y = torch.frombuffer(bytearray((folder / "labels.u16").read_bytes()), dtype=torch.uint16).long()
    if plan["memory_format"] == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        x = x.permute(0, 2, 3, 1).contiguous()
        # For one input channel libtorch takes both layouts to be the same; pinbench spells the strides out.
        for weight in (parameter for parameter in model.parameters() if parameter.dim() == 4):
            out, inputs, rows, columns = weight.shape
            strided = torch.empty_strided(weight.shape, (inputs * rows * columns, 1, columns * inputs, inputs))
            weight.data = strided.copy_(weight.data)
    fused = plan["optimizer"] == "fused"
    optimizer = optimizer_of(config["optim"], model, fused)
    model.train()
    for index, step in enumerate(steps):
        torch.manual_seed(step["dropout_seed"])
        chosen = torch.tensor(step["images"])
        images = x.index_select(0, chosen)
        if plan["memory_format"] == "channels_last":
            images = images.permute(0, 3, 1, 2)
        loss = nn.functional.cross_entropy(model(images), y.index_select(0, chosen))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() != step["loss"]:
            differences.append(f"loss of step {index}: {step['loss']!r} and {loss.item()!r}")
    expected, found = read_safetensors(folder / "state.safetensors"), {}
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            found[f"model.{name}"] = tensor
    for name, parameter in model.named_parameters():
        for what, tensor in optimizer.state[parameter].items():
            found[f"optimizer.{what}.{name}"] = tensor
    for name in sorted(expected.keys() | found.keys()):
        if name not in expected or name not in found:
            differences.append(f"{name}: only in {'PyTorch' if name in found else 'pinbench'}")
        elif not torch.equal(expected[name], found[name].reshape(expected[name].shape)):
            gap = (expected[name] - found[name]).abs()
            differences.append(f"{name}: {int((gap > 0).sum())} of {gap.numel()} values, at most {gap.max().item():.3g}")
    what = f"{about['experiment']} on {config['data']['set']}, plan {plan['name']}, {plan['threads']} threads"
    if differences:
        print(f"{what}: {len(differences)} differences", *differences[:12], sep="\n  ")
        sys.exit(1)
    print(f"{what}: {len(steps)} losses and {len(found)} tensors equal bit for bit (torch {torch.__version__})")


class Sgd:
    """SGD in the order of pinbench's own operations. `torch.optim.SGD` adds products in one rounding where ours has two, so
    that the two are equal to rounding only; everything else of a step is compared bit for bit.
    """

    def __init__(self, optim: dict, model):
        self.optim, self.parameters, self.state = optim, list(model.parameters()), {}

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        import torch

        momentum, decay = self.optim.get("momentum", 0.0), self.optim["weight_decay"]
        with torch.no_grad():
            for parameter in self.parameters:
                direction = parameter.grad
                if decay:
                    direction = direction + parameter * decay
                if momentum:
                    before = self.state.get(parameter)
                    direction = direction * 1.0 if before is None else before["velocity"] * momentum + direction
                    self.state[parameter] = {"velocity": direction}
                parameter -= direction * self.optim["lr"]


def optimizer_of(optim: dict, model, fused: bool):
    """The optimizer of a config whose rate does not change within the steps that are compared."""
    import torch

    if optim["name"] == "sgd":
        return Sgd(optim, model)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optim["name"]]
    settings = {"lr": optim["lr"], "betas": optim["betas"], "eps": optim["eps"], "weight_decay": optim["weight_decay"]}
    return kind(model.parameters(), **settings, fused=fused, foreach=False)


def python_with_torch() -> str | None:
    for python in (os.environ.get("PINBENCH_PYTHON"), str(ROOT / "target" / "pytorch" / "bin" / "python"), sys.executable):
        if python and subprocess.run([python, "-c", "import torch"], check=False, capture_output=True).returncode == 0:
            return python
    return None


def main(steps: int, wanted: list[str]) -> int:
    python = python_with_torch()
    if python is None:
        print("skipped: no Python with PyTorch; `just compare-pytorch 1` installs one in target/, or set PINBENCH_PYTHON")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        cases = {model: experiment(model, data, batch) for model, data, batch in PRESETS}
        cases |= {name: (ROOT / "examples" / f"{name}.toml").read_text() for name in EXAMPLES}
        if unknown := set(wanted) - cases.keys():
            print(f"no network {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
            return 2
        for name, text in cases.items():
            if wanted and name not in wanted:
                continue
            folder = pathlib.Path(scratch) / name
            folder.mkdir()
            (folder / f"{name}.toml").write_text(text)
            for plan in PLANS:
                out = export(folder, plan, steps)
                failed += subprocess.run([python, __file__, "--train", str(out)], check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train(pathlib.Path(sys.argv[2]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, sys.argv[2:]))
