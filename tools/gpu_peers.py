"""The step of pinbench's two networks in PyTorch on a GPU, in several ways: `python3 tools/gpu_peers.py MODE,MODE [BATCH,BATCH]`.

A mode is words joined by dashes, each of which changes one thing about a plain script: `cl` channels-last, `swap` pooling
before the activation, `fused` the fused Adam, `graph` the whole step as one CUDA graph, `compile` torch.compile with
reduce-overhead, `read` the loss and the count of correct answers read back at every step, as pinbench does, `tf32` PyTorch's
default of TF32 in convolutions, `det` its deterministic algorithms, as pinbench always has them, `deep` the six convolutions
of ImprovedCNN. `eager` changes nothing. Data is resident and made up. A line of JSON each: milliseconds a step by the host's
clock and by events, kernels a step and their own time (CUPTI).

`loaderN` is the script that people write: a DataLoader with N workers that turns one picture after the other into a tensor,
and a step that copies its batch. Of it, images a second and the share of the time spent waiting for the next batch.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

POOL = 16384
DEVICE = "cuda"


class Shallow(nn.Module):
    def __init__(self, swap: bool) -> None:
        super().__init__()
        self.swap = swap
        self.convolutions = nn.ModuleList([nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(32), nn.BatchNorm2d(64)])
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution, norm in zip(self.convolutions, self.norms):
            x = norm(convolution(x))
            x = F.relu(F.max_pool2d(x, 2), inplace=True) if self.swap else F.max_pool2d(F.relu(x), 2)
        return self.head(x)


def deep() -> nn.Module:
    layers, channels = [], 3
    for out, pools in ((32, False), (64, True), (128, False), (128, True), (256, False), (256, True)):
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pools else []
        channels = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))


def timed(step, count: int) -> tuple[float, float]:
    """Seconds a step by the host and by events: the middle of five rounds."""
    for number in range(20):
        step(number)
    torch.cuda.synchronize()
    rounds = []
    for _ in range(5):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        began = time.perf_counter()
        start.record()
        for number in range(count):
            step(number)
        end.record()
        torch.cuda.synchronize()
        rounds.append((time.perf_counter() - began, start.elapsed_time(end) / 1e3))
    host, device = sorted(rounds)[2]
    return host / count, device / count


def kernels(step) -> tuple[float, float]:
    """Kernels a step, and milliseconds of their own."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        for number in range(10):
            step(number)
        torch.cuda.synchronize()
    own = [event for event in profiler.events() if str(event.device_type).endswith("CUDA")]
    return len(own) / 10, sum(event.time_range.elapsed_us() for event in own) / 1e4


class Pictures(torch.utils.data.Dataset):
    """Made-up grey pictures, one at a time, as torchvision hands out MNIST."""

    def __init__(self) -> None:
        from torchvision import transforms

        self.images = torch.randint(0, 256, (POOL, 28, 28), dtype=torch.uint8).numpy()
        self.labels = torch.randint(0, 10, (POOL,)).tolist()
        self.transform = transforms.ToTensor()

    def __len__(self) -> int:
        return POOL

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def script(mode: str, batch: int) -> dict:
    """The middle of three epochs over `POOL` pictures, after one that is not counted."""
    loader = torch.utils.data.DataLoader(Pictures(), batch_size=batch, shuffle=True, num_workers=int(mode[len("loader"):]))
    model = Shallow(swap=False).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    epochs = []
    for _ in range(4):
        torch.cuda.synchronize()
        began = last = time.perf_counter()
        waited = 0.0
        for x, y in loader:
            waited += time.perf_counter() - last
            loss = F.cross_entropy(model(x.to(DEVICE)), y.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            last = time.perf_counter()
        epochs.append((last - began, waited))
    took, waited = sorted(epochs[1:])[1]
    return {"mode": mode, "batch": batch, "images_per_s": round(POOL / took), "waiting": round(waited / took, 3)}


def measure(mode: str, batch: int) -> dict:
    if mode.startswith("loader"):
        return script(mode, batch)
    words = mode.split("-")
    torch.use_deterministic_algorithms("det" in words)
    torch.backends.cudnn.deterministic = "det" in words
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = "tf32" in words
    torch.backends.cuda.matmul.allow_tf32 = False
    format = torch.channels_last if "cl" in words else torch.contiguous_format
    model = (deep() if "deep" in words else Shallow("swap" in words)).to(DEVICE, memory_format=format)
    graphed = "graph" in words
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=("fused" in words or graphed) or None, capturable=graphed)
    forward = torch.compile(model, mode="reduce-overhead") if "compile" in words else model
    shape = (3, 32, 32) if "deep" in words else (1, 28, 28)
    images = torch.rand(POOL, *shape, device=DEVICE).contiguous(memory_format=format)
    labels = torch.randint(0, 10, (POOL,), device=DEVICE)
    order = torch.randperm(POOL, device=DEVICE)

    def compute(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        logits = forward(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        return torch.stack([loss.detach(), (logits.argmax(1) == y).sum().float()]) if "read" in words else loss

    if graphed:
        x, y = images[:batch].clone(memory_format=format), labels[:batch].clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(11):
                compute(x, y)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = compute(x, y)

    def step(number: int) -> None:
        start = number % (POOL // batch) * batch
        chosen = order[start:start + batch]
        if graphed:
            x.copy_(images[chosen])
            torch.index_select(labels, 0, chosen, out=y)
            graph.replay()
        read = result if graphed else compute(images[chosen], labels[chosen])
        if "read" in words:
            read.tolist()

    host, device = timed(step, max(16, min(300, int(0.4 / (2e-3 + batch * 2e-6)))))
    count, own = kernels(step)
    return {"mode": mode, "batch": batch, "images_per_s": round(batch / host), "ms_step": round(1e3 * host, 4),
            "device_ms": round(1e3 * device, 4), "kernels": count, "kernel_ms": round(own, 4)}


def main() -> None:
    modes = sys.argv[1].split(",") if len(sys.argv) > 1 else ["eager-read", "cl-swap-fused-read", "graph-read", "graph-cl-swap-read"]
    batches = [int(batch) for batch in sys.argv[2].split(",")] if len(sys.argv) > 2 else [64, 128, 1024]
    print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name()}), flush=True)
    for mode in modes:
        for batch in batches:
            print(json.dumps(measure(mode, batch)), flush=True)


if __name__ == "__main__":
    main()
