"""Computes what PyTorch makes of models, activations, optimizers and schedules:
`python3 tools/reference.py > tests/data/pytorch.json`.

Needs torch 2.13.0 (`pip install torch==2.13.0 numpy`). The result is in the repository, so the tests do not.
"""

import hashlib
import json

import torch
from torch import nn


def stream_seed(stream: str, seed: int, epoch: int, step: int) -> int:
    """pinbench's key for a random stream, as src/stream.rs makes it."""
    numbers = b"".join(number.to_bytes(8, "little") for number in (seed, epoch, step))
    key = hashlib.sha256(b"pinbench/stream/1\0" + stream.encode() + b"\0" + numbers).digest()
    return int.from_bytes(key[:8], "little", signed=True)


class SimpleCnn(nn.Module):
    def __init__(self, channels: int, flattened: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.fc1, self.fc2 = nn.Linear(flattened, 128), nn.Linear(128, 10)
        self.pool, self.drop = nn.MaxPool2d(2), nn.Dropout(0.5)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        x = self.pool(torch.relu(self.bn2(self.conv2(x))))
        return self.fc2(self.drop(torch.relu(self.fc1(x.flatten(1)))))


class ImprovedCnn(nn.Module):
    def __init__(self, channels: int, flattened: int):
        super().__init__()
        widths = [channels, 32, 64, 128, 128, 256, 256]
        for index, (before, after) in enumerate(zip(widths, widths[1:]), 1):
            setattr(self, f"conv{index}", nn.Conv2d(before, after, 3, padding=1))
            setattr(self, f"bn{index}", nn.BatchNorm2d(after))
        self.fc1, self.fc2 = nn.Linear(flattened, 256), nn.Linear(256, 10)
        self.pool, self.drop = nn.MaxPool2d(2), nn.Dropout(0.5)

    def forward(self, x):
        for index in range(1, 7):
            x = torch.relu(getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(x)))
            x = self.pool(x) if index % 2 == 0 else x
        return self.fc2(self.drop(torch.relu(self.fc1(x.flatten(1)))))


def weights_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def first_step(build, channels: int, side: int) -> dict:
    torch.manual_seed(stream_seed("init", 0, 0, 0))
    model = build()
    initial = weights_digest(model)
    images, size = 8, channels * side * side
    pixels = torch.arange(images * size).mul(7919).remainder(256).to(torch.uint8)
    x = pixels.view(images, channels, side, side).float().div(255)
    labels = torch.arange(images).remainder(10)
    torch.manual_seed(stream_seed("dropout", 0, 0, 0))
    logits = model(x)
    loss = nn.functional.cross_entropy(logits, labels)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "initial_weights": initial,
        "loss": loss.item(),
        "logits": logits.flatten().tolist(),
    }


def five_steps(make) -> list:
    """Five steps down f(w) = c·w + |w|²/2 from ones."""
    weights = torch.ones(3, requires_grad=True)
    slopes, optimizer = torch.tensor([2.0, -0.5, 30.0]), make([weights])
    for _ in range(5):
        optimizer.zero_grad()
        (slopes * weights).sum().add((weights**2).sum() / 2).backward()
        optimizer.step()
    return weights.detach().tolist()


def rates(make, steps: int) -> list:
    """The learning rate of each step, from 0.1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler, found = make(optimizer, steps), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def local_response_norm() -> list:
    x = torch.arange(2 * 7 * 2 * 2).mul(37).remainder(101).float().sub(50).mul(4).view(2, 7, 2, 2)
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(x).flatten().tolist()


if __name__ == "__main__":
    schedulers, optimizers = torch.optim.lr_scheduler, torch.optim
    print(json.dumps({
        "torch": torch.__version__,
        "simple_cnn": {
            "mnist": first_step(lambda: SimpleCnn(1, 64 * 7 * 7), 1, 28),
            "cifar10": first_step(lambda: SimpleCnn(3, 64 * 8 * 8), 3, 32),
        },
        "improved_cnn": {
            "mnist": first_step(lambda: ImprovedCnn(1, 256 * 3 * 3), 1, 28),
            "cifar10": first_step(lambda: ImprovedCnn(3, 256 * 4 * 4), 3, 32),
        },
        "optimizers": {
            "adam": five_steps(lambda w: optimizers.Adam(w, lr=0.1, weight_decay=0.01)),
            "adamw": five_steps(lambda w: optimizers.AdamW(w, lr=0.1, weight_decay=0.5)),
            "sgd": five_steps(lambda w: optimizers.SGD(w, lr=0.1, momentum=0.9, weight_decay=0.01)),
        },
        "schedules": {
            "cosine": rates(lambda o, n: schedulers.CosineAnnealingLR(o, n), 20),
            "one_cycle": rates(lambda o, n: schedulers.OneCycleLR(o, 0.1, total_steps=n, cycle_momentum=False), 20),
        },
        "local_response_norm": local_response_norm(),
    }, indent=1))
