"""PyTorch, written down a second time: the same networks as their authors' tables say."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Normalise(nn.Module):
    """Caffe's LRN within channels; the mean counts the zeros around the map."""

    def forward(self, x):
        mean = functional.avg_pool2d(x * x, 3, stride=1, padding=1, count_include_pad=True)
        return x * (1 + 5e-5 * mean) ** -0.75


class Fire(nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


def vgg16():
    layers, inputs = [], 3
    for block in ([64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3):
        for outputs in block:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    return nn.ModuleDict({"features": nn.Sequential(*layers[:-1])})


def squeezenet():
    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    layers = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(), Fire(64, 16, 64)]
    layers += [Fire(128, 16, 64), pool(), Fire(128, 32, 128), Fire(256, 32, 128), pool()]
    layers += [Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    return nn.ModuleDict({"features": nn.Sequential(*layers)})


class ZF(nn.ModuleDict):
    def __init__(self):
        super().__init__(
            {
                "conv1": nn.Conv2d(3, 96, 7, stride=2, padding=3),
                "conv2": nn.Conv2d(96, 256, 5, stride=2, padding=2),
                "conv3": nn.Conv2d(256, 384, 3, padding=1),
                "conv4": nn.Conv2d(384, 384, 3, padding=1),
                "conv5": nn.Conv2d(384, 256, 3, padding=1),
            }
        )
        self.normalise = Normalise()

    def features(self, x):
        for name in ("conv1", "conv2"):
            x = self.normalise(self[name](x).relu())
            x = functional.max_pool2d(x, 3, 2, padding=1, ceil_mode=True)
        for name in ("conv3", "conv4", "conv5"):
            x = self[name](x).relu()
        return x


TWINS = {"vgg16": vgg16, "squeezenet": squeezenet, "zf": ZF}


def make(name, dtype):
    """Return the twin of a backbone with random weights, and the function of its features."""
    torch.manual_seed(7)
    module = TWINS[name]()
    for parameter_name, parameter in module.named_parameters():
        with torch.no_grad():
            if parameter_name.endswith("bias"):
                parameter.normal_(0, 0.1)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    module = module.to(dtype)
    return module, module.features if name == "zf" else module["features"]
