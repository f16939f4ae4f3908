"""The same network in PyTorch, layer by layer, weights included."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from minirpn import backend
from minirpn.backbones import Backbone
from minirpn.bench.peers import peer
from minirpn.devices import CPU, Device
from minirpn.nn import Conv2d, Fire, Layer, MaxPool2d, ReLU, Sequential
from minirpn.rpn.network import RPN


class Twin:
    """An `RPN` in PyTorch: its forward pass, and a training step.

    The step's loss is a mean of squares: anchors, labels and the RPN's loss cost the twin nothing.

    Parameters
    ----------
    network
        What is copied; frozen parameters are frozen in the twin too.
    device
        Where the twin computes.
    """

    def __init__(self, network: RPN, device: Device = CPU) -> None:
        torch: Any = peer("torch")
        self.torch = torch
        head, backbone = network.head, cast(Backbone, network.backbone)
        self.features = torch_layer(backbone.body)
        self.hidden = torch.nn.Sequential(torch_layer(head.conv), torch.nn.ReLU(inplace=True))
        self.outputs = [torch_layer(head.objectness), torch_layer(head.deltas)]
        modules = [self.features, self.hidden, *self.outputs]
        for module in modules:
            module.to(device.name)  # before the optimizer is told of the parameters
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, weight_decay=5e-4)

    def forward(self, images: Any) -> list[Any]:
        """Return the maps of objectness and deltas, computed without a thought of gradients.

        Parameters
        ----------
        images
            A tensor (N, 3, H, W) where the twin computes; see `tensor`.
        """
        with self.torch.no_grad():
            return self._maps(images)

    def step(self, images: Any) -> None:
        """Take a training step; `images` as in `forward`."""
        loss = sum(y.square().mean() for y in self._maps(images))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _maps(self, images: Any) -> list[Any]:
        hidden = self.hidden(self.features(images))
        return [layer(hidden) for layer in self.outputs]


def tensor(array: np.ndarray, device: Device = CPU) -> Any:
    """Return a host array as PyTorch's tensor on a device; on the CPU it is the same memory."""
    torch: Any = peer("torch")
    return torch.from_numpy(array).to(device.name)


def torch_layer(layer: Layer) -> Any:
    """Return a PyTorch module that does what a layer of a backbone does.

    Raises
    ------
    ValueError
        There is no translation for such a layer.
    """
    torch: Any = peer("torch")
    if isinstance(layer, Sequential):
        return torch.nn.Sequential(*map(torch_layer, layer.layers))
    if isinstance(layer, Conv2d):
        return _torch_conv(layer)
    if isinstance(layer, ReLU):
        return torch.nn.ReLU(inplace=True)
    if isinstance(layer, MaxPool2d):
        options = layer.kernel, layer.stride, layer.padding
        return torch.nn.MaxPool2d(*options, ceil_mode=layer.ceil_mode)
    if isinstance(layer, Fire):
        return _torch_fire(layer)
    raise ValueError(f"layer: no PyTorch twin of {type(layer).__name__}")


def _torch_conv(layer: Conv2d) -> Any:
    torch: Any = peer("torch")
    outs, C = layer.weight.value.shape[:2]
    conv = torch.nn.Conv2d(C, outs, layer.kernel, layer.stride, layer.padding)
    for own, parameter in ((conv.weight, layer.weight), (conv.bias, layer.bias)):
        own.requires_grad_(False).copy_(torch.from_numpy(backend.to_host(parameter.value)))
        own.requires_grad_(parameter.trainable)
    return conv


def _torch_fire(layer: Fire) -> Any:
    torch: Any = peer("torch")

    class TorchFire(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze = _torch_conv(layer.squeeze)
            self.expand1x1 = _torch_conv(layer.expand1x1)
            self.expand3x3 = _torch_conv(layer.expand3x3)

        def forward(self, x: Any) -> Any:
            x = torch.relu_(self.squeeze(x))
            joined = torch.cat([self.expand1x1(x), self.expand3x3(x)], 1)
            return torch.relu_(joined)

    return TorchFire()
