"""Layers: named parameters, and the pair of functions that computes with them.

A layer keeps no state between calls: what `backward` needs is in the cache that `forward` returns.
"""

# ruff: noqa: D102 - a method that does what `Layer` says needs no docstring of its own

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.accel import fused
from minirpn.backend import namespace_of
from minirpn.nn.activations import ReluCache, relu_backward, relu_forward
from minirpn.nn.conv import Conv2dCache, conv2d_backward, conv2d_forward, conv_output_size
from minirpn.nn.linear import LinearCache, linear_backward, linear_forward
from minirpn.nn.pooling import (
    MaxPool2dCache,
    max_pool2d_backward,
    max_pool2d_forward,
    pool_output_size,
)
from minirpn.nn.window import Pair, pair

Grads = dict[str, Array]


@dataclass(eq=False)
class Parameter:
    """A named array of a layer, and how it is trained.

    Parameters
    ----------
    name
        Unique in the network, such as ``"conv1.weight"``; gradients and checkpoints use it.
    value
        The array. The optimizer replaces it and leaves the elements of the old one alone.
    lr_multiplier, decay_multiplier
        Factors on the learning rate and on the weight decay (Caffe's ``lr_mult``, ``decay_mult``).
    trainable
        False freezes it: no gradient is computed for it, and no step changes it.
    """

    name: str
    value: Array
    _: KW_ONLY
    lr_multiplier: float = 1.0
    decay_multiplier: float = 1.0
    trainable: bool = True


class Window(NamedTuple):
    """Kernel, stride and padding of a sliding window, each (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    padding: Pair


class Layer:
    """The base class of layers. Its defaults suit a layer without parameters."""

    def __init__(self, name: str) -> None:
        self.name = name

    def parameters(self) -> list[Parameter]:
        """Return the parameters, in a fixed order."""
        return []

    def forward(self, x: Array) -> tuple[Array, Any]:
        """Return the output, and what `backward` needs."""
        raise NotImplementedError

    def output(self, x: Array) -> Array:
        """Return the output alone, where `backward` is not needed."""
        return self.forward(x)[0]

    def backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        """Return dx (None unless `need_dx`), and gradients by name of the trainable parameters."""
        raise NotImplementedError

    def output_size(self, size: Pair) -> Pair:
        """Return the output's (height, width), given the input's."""
        return size

    def windows(self) -> tuple[Window, ...]:
        """Return the windows between input and output, in order; see `cell_geometry`."""
        return ()

    @property
    def trainable(self) -> bool:
        """Whether any parameter is trainable."""
        return any(parameter.trainable for parameter in self.parameters())


class ParameterOptions(TypedDict, total=False):
    """Keywords of `Conv2d` and `Linear`: the first values and the training of their parameters."""

    rng: np.random.Generator | None  # draws the weight; None (default) leaves it 0, to be loaded
    # Standard deviation of the weight: 0.01 (default), as the paper's new layers (section 3.1.3);
    # None for He's sqrt(2 / fan_in).
    std: float | None
    bias_lr_multiplier: float  # 1 (default); Caffe's models have 2
    bias_decay_multiplier: float  # 1 (default); Caffe's models have 0 or 1
    trainable: bool  # True (default); False freezes both parameters
    dtype: DTypeLike  # float32 (default)


class _Affine(Layer):
    """A layer with a weight and a bias."""

    def __init__(
        self,
        name: str,
        weight_shape: tuple[int, ...],
        *,
        rng: np.random.Generator | None = None,
        std: float | None = 0.01,
        bias_lr_multiplier: float = 1.0,
        bias_decay_multiplier: float = 1.0,
        trainable: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(name)
        if rng is None:
            weight = zeros(weight_shape, dtype=dtype)
        elif std is None:
            weight = he_normal(weight_shape, rng=rng, dtype=dtype)
        else:
            weight = normal(weight_shape, std=std, rng=rng, dtype=dtype)
        self.weight = Parameter(f"{name}.weight", weight, trainable=trainable)
        self.bias = Parameter(
            f"{name}.bias",
            zeros(weight_shape[:1], dtype=dtype),
            lr_multiplier=bias_lr_multiplier,
            decay_multiplier=bias_decay_multiplier,
            trainable=trainable,
        )

    def parameters(self) -> list[Parameter]:
        return [self.weight, self.bias]

    def _named(self, dweight: Array | None, dbias: Array | None) -> Grads:
        """Return the gradients of the trainable parameters by name."""
        both: Any = ((self.weight, dweight), (self.bias, dbias))
        return {parameter.name: grad for parameter, grad in both if parameter.trainable}


class Conv2d(_Affine):
    """A convolution.

    Parameters
    ----------
    name
        Its parameters are called ``{name}.weight`` and ``{name}.bias``.
    in_channels, out_channels
        C and O.
    kernel, stride, padding
        An int, or (vertical, horizontal).
    options
        See `ParameterOptions`.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        **options: Unpack[ParameterOptions],
    ) -> None:
        self.kernel = pair(kernel, "kernel", least=1)
        self.stride = pair(stride, "stride", least=1)
        self.padding = pair(padding, "padding", least=0)
        super().__init__(name, (out_channels, in_channels, *self.kernel), **options)

    def forward(self, x: Array) -> tuple[Array, Conv2dCache]:
        weight, bias = self.weight.value, self.bias.value
        return conv2d_forward(x, weight, bias, stride=self.stride, padding=self.padding)

    def forward_relu(
        self, x: Array, *, out: Array | None = None
    ) -> tuple[Array, Conv2dCache, ReluCache]:
        """Return ``max(y, 0)`` of the output y, and the caches of both; see `fused`."""
        weight, bias = self.weight.value, self.bias.value
        return fused.conv2d_relu_forward(
            x, weight, bias, stride=self.stride, padding=self.padding, out=out
        )

    def backward(
        self, dy: Array, cache: Conv2dCache, *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        grads = conv2d_backward(dy, cache, need_dx=need_dx, need_dweight=self.trainable)
        return grads.dx, self._named(grads.dweight, grads.dbias)

    def output_size(self, size: Pair) -> Pair:
        return conv_output_size(size, self.kernel, self.stride, self.padding)

    def windows(self) -> tuple[Window, ...]:
        return (Window(self.kernel, self.stride, self.padding),)


class Linear(_Affine):
    """A fully connected layer on rows (R, in_features); for options see `ParameterOptions`."""

    def __init__(
        self, name: str, in_features: int, out_features: int, **options: Unpack[ParameterOptions]
    ) -> None:
        super().__init__(name, (out_features, in_features), **options)

    def forward(self, x: Array) -> tuple[Array, LinearCache]:
        return linear_forward(x, self.weight.value, self.bias.value)

    def backward(
        self, dy: Array, cache: LinearCache, *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        grads = linear_backward(dy, cache, need_dx=need_dx, need_dweight=self.trainable)
        return grads.dx, self._named(grads.dweight, grads.dbias)


# --- layers without parameters ---


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
    """The maps of each sample as one row, channel by channel: (R,C,h,w) -> (R,C h w)."""

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        check_shape(x, (None, None, None, None), "x")
        R, C, h, w = x.shape
        return namespace_of(x).reshape(x, (R, C * h * w)), x.shape

    def backward(
        self, dy: Array, cache: tuple[int, ...], *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        return (namespace_of(dy).reshape(dy, cache) if need_dx else None), {}


# --- layers in a row ---


class Sequential(Layer):
    """Layers in a row: each takes the output of the one before.

    Raises
    ------
    ValueError
        Two layers have the same name.
    """

    def __init__(self, name: str, layers: Iterable[Layer]) -> None:
        super().__init__(name)
        self.layers = tuple(layers)
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names):
            raise ValueError(f"layers: two of {name!r} have one name: {', '.join(names)}")

    def parameters(self) -> list[Parameter]:
        return [parameter for layer in self.layers for parameter in layer.parameters()]

    def forward(
        self,
        x: Array,
        *,
        need_dx: bool = True,
        observe: Callable[[str, Array], None] | None = None,
    ) -> tuple[Array, tuple[Any, ...]]:
        """Return the last layer's output, and the layers' caches.

        Parameters
        ----------
        x
            The input of the first layer.
        need_dx
            False keeps no caches of the layers before the first trainable one, where `backward`
            stops. That saves memory and time.
        observe
            Called with the name and the output of each layer, in order.
        """
        first = 0 if need_dx else self._first_trainable()
        caches: list[Any] = []
        # A convolution and the ReLU after it run together, unless the output of each is observed.
        for layers in _convs_with_relus(self.layers) if observe is None else zip(self.layers):
            is_kept = len(caches) >= first
            if len(layers) == 2:
                x, *of_layers = layers[0].forward_relu(x)
            elif is_kept:
                x, *of_layers = layers[0].forward(x)
            else:
                x, of_layers = layers[0].output(x), [None]
            caches += of_layers if is_kept else [None] * len(layers)
            if observe is not None:
                observe(layers[0].name, x)
        return x, tuple(caches)

    def backward(
        self, dy: Array, cache: tuple[Any, ...], *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        """Return dx, and gradients by name of the trainable parameters.

        Without `need_dx` it stops at the first trainable layer, and dx is None.

        Raises
        ------
        ValueError
            `need_dx`, but `forward` was called with ``need_dx=False``.
        """
        first = 0 if need_dx else self._first_trainable()
        if any(kept is None for kept in cache[first:]):
            raise ValueError("need_dx: forward was called with need_dx=False and kept no caches")
        dx: Any = dy
        grads: Grads = {}
        for index in reversed(range(first, len(self.layers))):
            layer_needs_dx = need_dx or index > first
            dx, of_layer = self.layers[index].backward(dx, cache[index], need_dx=layer_needs_dx)
            grads |= of_layer
        return (dx if need_dx else None), grads

    def output_size(self, size: Pair) -> Pair:
        for layer in self.layers:
            size = layer.output_size(size)
        return size

    def windows(self) -> tuple[Window, ...]:
        return tuple(window for layer in self.layers for window in layer.windows())

    def _first_trainable(self) -> int:
        """Return the index of the first trainable layer, or the number of layers."""
        trainable = (index for index, layer in enumerate(self.layers) if layer.trainable)
        return next(trainable, len(self.layers))


def _convs_with_relus(layers: tuple[Layer, ...]) -> list[tuple[Any, ...]]:
    """Return groups of layers: a convolution and the ReLU after it, every other layer alone."""
    groups: list[tuple[Any, ...]] = []
    for layer in layers:
        if isinstance(layer, ReLU) and groups and isinstance(groups[-1][-1], Conv2d):
            groups[-1] = (*groups[-1], layer)
        else:
            groups.append((layer,))
    return groups


# --- first values of parameters, drawn on the host ---


def normal(
    shape: tuple[int, ...],
    *,
    std: float,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Return draws from N(0, std^2).

    The paper's section 3.1.3 ("Training RPNs") draws all new layers with a std of 0.01.
    """
    # Always drawn in double precision, so that float32 and float64 start from the same numbers.
    return rng.normal(0.0, std, shape).astype(dtype)


def he_normal(
    shape: tuple[int, ...], *, rng: np.random.Generator, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Return draws from N(0, 2 / fan_in), which keep the variance through layers with ReLU.

    `shape` is that of a weight, (O,C,kh,kw) or (O,I); fan_in is the product of all sides but O.

    Notes
    -----
    He, Zhang, Ren, Sun, *Delving Deep into Rectifiers*, 2015, eq. 10.
    """
    return normal(shape, std=math.sqrt(2.0 / math.prod(shape[1:])), rng=rng, dtype=dtype)


def zeros(shape: tuple[int, ...], *, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return zeros, the first value of every bias."""
    return np.zeros(shape, dtype)
