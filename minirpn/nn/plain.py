"""Layers without parameters: ReLU, max pooling, maps laid out as rows."""

# ruff: noqa: D102 - a method that does what `Layer` says needs no docstring of its own

from __future__ import annotations

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.nn.activations import ReluCache, relu_backward, relu_forward
from minirpn.nn.layers import Grads, Layer, Window
from minirpn.nn.pooling import (
    MaxPool2dCache,
    max_pool2d_backward,
    max_pool2d_forward,
    pool_output_size,
)
from minirpn.nn.window import Pair, pair


class ReLU(Layer):
    """The rectifier."""

    def forward(self, x: Array) -> tuple[Array, ReluCache]:
        return relu_forward(x)

    def backward(
        self, dy: Array, cache: ReluCache, *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        return (relu_backward(dy, cache) if need_dx else None), {}


class MaxPool2d(Layer):
    """Max pooling; the options are those of `max_pool2d_forward`."""

    def __init__(
        self,
        name: str,
        *,
        kernel: int | Pair,
        stride: int | Pair,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(name)
        self.kernel = pair(kernel, "kernel", least=1)
        self.stride = pair(stride, "stride", least=1)
        self.padding = pair(padding, "padding", least=0)
        self.ceil_mode = ceil_mode

    def forward(self, x: Array, *, need_dx: bool = True) -> tuple[Array, MaxPool2dCache]:
        return max_pool2d_forward(
            x,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            need_dx=need_dx,
        )

    def output(self, x: Array) -> Array:
        return self.forward(x, need_dx=False)[0]

    def backward(
        self, dy: Array, cache: MaxPool2dCache, *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        return (max_pool2d_backward(dy, cache) if need_dx else None), {}

    def output_size(self, size: Pair) -> Pair:
        return pool_output_size(size, self.kernel, self.stride, self.padding, self.ceil_mode)

    def windows(self) -> tuple[Window, ...]:
        return (Window(self.kernel, self.stride, self.padding),)


class Flatten(Layer):
    """Each sample's maps laid out as one row: (R,C,h,w) -> (R,C h w), channel by channel."""

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        check_shape(x, (None, None, None, None), "x")
        R, C, h, w = x.shape
        return namespace_of(x).reshape(x, (R, C * h * w)), x.shape

    def backward(
        self, dy: Array, cache: tuple[int, ...], *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        return (namespace_of(dy).reshape(dy, cache) if need_dx else None), {}
