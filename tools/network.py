"""The torch.nn twin of a network, built from the layers that `pinbench export` writes out."""

import torch
from torch import nn

ACTIVATIONS = {
    "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU, "prelu": nn.PReLU, "elu": nn.ELU,
    "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish,
}


class PadShortcut(nn.Module):
    """Every stride-th pixel, and channels of 0 behind."""

    def __init__(self, stride: int, channels: int):
        super().__init__()
        self.stride, self.channels = stride, channels

    def forward(self, x):
        kept = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(kept, (0, 0, 0, 0, 0, self.channels))


class Network(nn.Module):
    """Layers from `input` images on, with pinbench's names: each kind is counted, `conv1`, `bn1`, `fc1`."""

    def __init__(self, layers: list, input: tuple, classes: int):
        super().__init__()
        self.counts, self.classes = {}, classes
        self.plan, _ = self.sequence(layers, tuple(input))

    def add(self, kind: str, module: nn.Module) -> nn.Module:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        setattr(self, f"{kind}{self.counts[kind]}", module)
        return module

    def sequence(self, layers: list, size: tuple) -> tuple:
        plan = []
        for layer in layers:
            if isinstance(layer, dict) and "repeat" in layer:
                for _ in range(layer["repeat"]):
                    inner, size = self.sequence(layer["layers"], size)
                    plan += inner
            elif isinstance(layer, dict) and "residual" in layer:
                body, after = self.sequence(layer["residual"], size)
                plan.append((body, self.shortcut(layer["shortcut"], size, after)))
                size = after
            else:
                module = self.layer(layer, size)
                # The shape alone is asked for: dropout draws nothing, and BatchNorm learns nothing.
                with torch.no_grad():
                    size = tuple(module.eval()(torch.zeros(1, *size)).shape[1:])
                plan.append(module.train())
        return plan, size

    def layer(self, layer, size: tuple) -> nn.Module:
        if isinstance(layer, str):
            simple = {
                "batch_norm": ("bn", lambda: (nn.BatchNorm2d if len(size) == 3 else nn.BatchNorm1d)(size[0])),
                "layer_norm": ("ln", lambda: nn.LayerNorm(size)),
                "lrn": ("lrn", lambda: nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)),
                "global_avg_pool": ("pool", lambda: nn.AdaptiveAvgPool2d(1)),
                "flatten": ("flatten", nn.Flatten),
            }
            kind, make = simple.get(layer) or ("act", ACTIVATIONS[layer])
            return self.add(kind, make())
        if "conv" in layer:
            pad, stride, groups, bias = layer["pad"], layer["stride"], layer["groups"], layer["bias"]
            conv = nn.Conv2d(size[0], layer["conv"], layer["kernel"], stride, pad, groups=groups, bias=bias)
            return self.add("conv", conv)
        if "linear" in layer:
            units = self.classes if layer["linear"] == "classes" else layer["linear"]
            return self.add("fc", nn.Linear(size[0], units, bias=layer["bias"]))
        if "group_norm" in layer:
            return self.add("gn", nn.GroupNorm(layer["group_norm"], size[0]))
        if "dropout" in layer:
            return self.add("dropout", nn.Dropout(layer["dropout"]))
        if "max_pool" in layer:
            return self.add("pool", nn.MaxPool2d(layer["max_pool"], layer["stride"], layer["pad"]))
        return self.add("pool", nn.AvgPool2d(layer["avg_pool"], layer["stride"], layer["pad"]))

    def shortcut(self, shortcut: str, before: tuple, after: tuple):
        if shortcut == "identity":
            return nn.Identity()
        stride = next(n for n in range(1, before[1] + 1) if all(-(-b // n) == a for b, a in zip(before[1:], after[1:])))
        if shortcut == "pad":
            return PadShortcut(stride, after[0] - before[0])
        conv = self.add("conv", nn.Conv2d(before[0], after[0], 1, stride, bias=False))
        return nn.Sequential(conv, self.add("bn", nn.BatchNorm2d(after[0])))

    def forward(self, x):
        return self.run(self.plan, x)

    def run(self, plan: list, x):
        for step in plan:
            if isinstance(step, tuple):
                body, shortcut = step
                x = self.run(body, x) + shortcut(x)
            else:
                x = step(x)
        return x
