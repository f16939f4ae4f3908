"""The other implementations that this machine has, and the same network in PyTorch."""

from __future__ import annotations

import importlib
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any, cast

import numpy as np

from minirpn import backend
from minirpn.backbones import Backbone
from minirpn.devices import CPU, Device
from minirpn.nn import Conv2d, Fire, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential
from minirpn.rpn.network import RPN

# The module that is imported, by the name of the distribution.
PEERS = {
    "torch": "torch",
    "torchvision": "torchvision",
    "powerboxes": "powerboxes",
    "cython_bbox": "cython_bbox",
    "pycocotools": "pycocotools.mask",
}
# These also compute on a GPU, if they are built for it.
ON_DEVICES = ("torch", "torchvision")


@cache
def peer(name: str) -> ModuleType | None:
    """Return the module of a peer, or None if it is not installed or does not load."""
    try:
        return importlib.import_module(PEERS[name])
    except (ImportError, OSError, RuntimeError, AttributeError):
        # A build for another version of the library below it fails in many ways.
        return None


def peer_on(name: str, device: Device) -> ModuleType | None:
    """Return the module of a peer, or None if it cannot compute on the device."""
    return None if why_not(name, device) else peer(name)


def why_not(name: str, device: Device) -> str | None:
    """Return why a peer cannot be measured on a device; None if it can."""
    module = peer(name)
    if module is None:
        return f"{name} is not here, or not working"
    if device.is_host:
        return None
    if name not in ON_DEVICES:
        return f"{name} is for the CPU"
    torch = peer("torch")
    if torch is None or not torch.cuda.is_available():
        return f"{name} has no CUDA here"
    # -1 for builds whose own operations, such as NMS, are the CPU's alone.
    if name == "torchvision" and torch.ops.torchvision._cuda_version() < 0:
        return f"{name} has no CUDA here"
    return None


def missing_peers(device: Device = CPU) -> str | None:
    """Return a line on the peers that are missing on a device, None if none is."""
    names = PEERS if device.is_host else ON_DEVICES
    absent = [name for name in names if peer(name) is None]
    reasons = [f"not here, or not working: {', '.join(absent)}"] if absent else []
    reasons += [reason for name in names if name not in absent if (reason := why_not(name, device))]
    return "; ".join(reasons) or None


def peer_versions() -> dict[str, str | None]:
    """Return the version of each peer that loads, None for the others."""
    return {name: metadata.version(name) if peer(name) else None for name in PEERS}


def use_tf32(allowed: bool) -> None:
    """Let PyTorch on a GPU round the factors of its float32 products to 10 bits, or forbid it.

    Its default is to do so in convolutions and not in matrix products.
    """
    if torch := peer("torch"):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def tensor(array: np.ndarray, device: Device = CPU) -> Any:
    """Return a host array as PyTorch's tensor on a device; on the CPU it is the same memory."""
    torch: Any = peer("torch")
    return torch.from_numpy(array).to(device.name)


class Twin:
    """The same `RPN` in PyTorch on a device, weights included: forward pass and training step.

    What is frozen in the RPN is frozen in the twin. The step's loss is a mean of squares: anchors,
    labels and the RPN's loss cost the twin nothing.
    """

    def __init__(self, network: RPN, device: Device = CPU) -> None:
        torch: Any = peer("torch")
        self.torch = torch
        head, backbone = network.head, cast(Backbone, network.backbone)
        self.hidden = torch.nn.Sequential(
            torch_layer(backbone.body), torch_layer(head.conv), torch.nn.ReLU(inplace=True)
        )
        self.outputs = [torch_layer(head.objectness), torch_layer(head.deltas)]
        modules = [self.hidden, *self.outputs]
        for module in modules:
            module.to(device.name)  # before the optimizer gets the parameters
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, weight_decay=5e-4)

    def forward(self, images: Any) -> list[Any]:
        """Return the maps of objectness and deltas of a tensor (N, 3, H, W), without gradients."""
        with self.torch.no_grad():
            return self._maps(images)

    def step(self, images: Any) -> None:
        """Take a training step on a tensor (N, 3, H, W)."""
        loss = sum(y.square().mean() for y in self._maps(images))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _maps(self, images: Any) -> list[Any]:
        hidden = self.hidden(images)
        return [layer(hidden) for layer in self.outputs]


def _with_values(module: Any, layer: Conv2d | Linear) -> Any:
    """Return PyTorch's module with the weight and bias of `layer`, frozen where these are."""
    for own, parameter in ((module.weight, layer.weight), (module.bias, layer.bias)):
        own.requires_grad_(False).copy_(tensor(backend.to_host(parameter.value)))
        own.requires_grad_(parameter.trainable)
    return module


def torch_layer(layer: Layer) -> Any:
    """Return a PyTorch module that does the same as a layer of a backbone; not all have one."""
    torch: Any = peer("torch")
    if isinstance(layer, Sequential):
        return torch.nn.Sequential(*map(torch_layer, layer.layers))
    if isinstance(layer, Conv2d):
        outs, C = layer.weight.value.shape[:2]
        conv = torch.nn.Conv2d(C, outs, layer.kernel, layer.stride, layer.padding)
        return _with_values(conv, layer)
    if isinstance(layer, Linear):
        return _with_values(torch.nn.Linear(*reversed(layer.weight.value.shape)), layer)
    if isinstance(layer, Flatten):
        return torch.nn.Flatten()
    if isinstance(layer, ReLU):
        return torch.nn.ReLU(inplace=True)
    if isinstance(layer, MaxPool2d):
        options = layer.kernel, layer.stride, layer.padding
        return torch.nn.MaxPool2d(*options, ceil_mode=layer.ceil_mode)
    if not isinstance(layer, Fire):
        raise ValueError(f"layer: no PyTorch twin of {type(layer).__name__}")
    fire = layer

    class TorchFire(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze = torch_layer(fire.squeeze)
            self.expand1x1 = torch_layer(fire.expand1x1)
            self.expand3x3 = torch_layer(fire.expand3x3)

        def forward(self, x: Any) -> Any:
            x = torch.relu_(self.squeeze(x))
            return torch.relu_(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))

    return TorchFire()
