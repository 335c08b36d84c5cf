"""Computes what PyTorch makes of SimpleCNN's first step: `python3 tools/reference.py > tests/data/simple_cnn.json`.

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


def weights_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def first_step(channels: int, side: int) -> dict:
    torch.manual_seed(stream_seed("init", 0, 0, 0))
    model = SimpleCnn(channels, 64 * (side // 4) ** 2)
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


if __name__ == "__main__":
    shapes = {"mnist": (1, 28), "cifar10": (3, 32)}
    result = {"torch": torch.__version__, **{name: first_step(*shape) for name, shape in shapes.items()}}
    print(json.dumps(result, indent=1))
