"""Layers made of layers: one after the other, and the Fire module's branches."""

# ruff: noqa: D102 - a method that does what `Layer` says needs no docstring of its own

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.nn.activations import ReluCache, relu_backward
from minirpn.nn.concat import ConcatCache, concat_backward
from minirpn.nn.conv import Conv2dCache
from minirpn.nn.layers import Conv2d, Grads, Layer, Parameter, ReLU, Window
from minirpn.nn.window import Pair


class Sequential(Layer):
    """Layers one after the other.

    Raises
    ------
    ValueError
        Two layers have one name.
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
            What the first layer takes.
        need_dx
            False keeps no caches below the first layer with a trainable parameter, where
            `backward` will stop: less memory, less time.
        observe
            Called with the name and the output of each layer, in order.
        """
        first = 0 if need_dx else self._first_trainable()
        caches: list[Any] = []
        # A convolution and its ReLU are computed together, unless each output is to be observed.
        singles: list[tuple[Any, ...]] = [(layer,) for layer in self.layers]
        for layers in _with_relus(self.layers) if observe is None else singles:
            kept = len(caches) >= first
            if len(layers) == 2:
                x, *made = layers[0].forward_relu(x)
            elif kept:
                x, *made = layers[0].forward(x)
            else:
                x, made = layers[0].output(x), [None]
            caches += made if kept else [None] * len(layers)
            if observe is not None:
                observe(layers[0].name, x)
        return x, tuple(caches)

    def backward(
        self, dy: Array, cache: tuple[Any, ...], *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        """Return dx, and gradients by name of the trainable parameters.

        Without `need_dx` it stops at the first layer that has a trainable parameter, and dx is
        None.

        Raises
        ------
        ValueError
            `need_dx`, but `forward` was told that it would not be needed.
        """
        first = 0 if need_dx else self._first_trainable()
        if any(kept is None for kept in cache[first:]):
            raise ValueError("need_dx: forward was called with need_dx=False and kept no caches")
        dx: Array | None = dy
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
        """Return the index of the first layer with a trainable parameter, or their count."""
        found = (index for index, layer in enumerate(self.layers) if layer.trainable)
        return next(found, len(self.layers))


def _with_relus(layers: tuple[Layer, ...]) -> list[tuple[Any, ...]]:
    """Return the layers one by one, but a convolution together with the ReLU behind it."""
    groups: list[tuple[Any, ...]] = []
    for layer in layers:
        if isinstance(layer, ReLU) and groups and isinstance(groups[-1][-1], Conv2d):
            groups[-1] = (*groups[-1], layer)
        else:
            groups.append((layer,))
    return groups


class FireCache(NamedTuple):
    """What `Fire.backward` needs, in the order of computation."""

    squeeze: Conv2dCache
    squeezed: ReluCache
    expand1x1: Conv2dCache
    expand3x3: Conv2dCache
    concat: ConcatCache
    expanded: ReluCache


class Fire(Layer):
    """SqueezeNet's Fire module.

    A 1x1 convolution squeezes the channels; a 1x1 and a 3x3 convolution, side by side, expand
    them; their outputs are joined, the 1x1's first. ReLU after each.

    Parameters
    ----------
    name
        The convolutions are called ``{name}.squeeze``, ``{name}.expand1x1``, ``{name}.expand3x3``.
    in_channels, squeeze, expand1x1, expand3x3
        Channels of the input and of each convolution's output.
    rng, conv_options
        As of `Conv2d`.

    Notes
    -----
    Iandola et al., *SqueezeNet*, 2016, section 3.2.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        squeeze: int,
        expand1x1: int,
        expand3x3: int,
        *,
        rng: np.random.Generator | None = None,
        **conv_options: Any,
    ) -> None:
        super().__init__(name)
        options = {"rng": rng, **conv_options}
        self.squeeze = Conv2d(f"{name}.squeeze", in_channels, squeeze, kernel=1, **options)
        self.expand1x1 = Conv2d(f"{name}.expand1x1", squeeze, expand1x1, kernel=1, **options)
        self.expand3x3 = Conv2d(
            f"{name}.expand3x3", squeeze, expand3x3, kernel=3, padding=1, **options
        )

    def parameters(self) -> list[Parameter]:
        convolutions = (self.squeeze, self.expand1x1, self.expand3x3)
        return [parameter for conv in convolutions for parameter in conv.parameters()]

    def forward(self, x: Array) -> tuple[Array, FireCache]:
        xp = namespace_of(x)
        squeezed, squeeze_cache, squeezed_cache = self.squeeze.forward_relu(x)
        (N, _, H, W), (left, right) = squeezed.shape, self._expanded_channels()
        # The two write side by side: joining them later would be one more walk through memory.
        y = xp.empty((N, left + right, H, W), dtype=x.dtype, device=device_of(x))
        _, cache1x1, _ = self.expand1x1.forward_relu(squeezed, out=y[:, :left, :, :])
        _, cache3x3, _ = self.expand3x3.forward_relu(squeezed, out=y[:, left:, :, :])
        concat_cache = ConcatCache((left, right))
        cache = FireCache(
            squeeze_cache, squeezed_cache, cache1x1, cache3x3, concat_cache, ReluCache(y)
        )
        return y, cache

    def backward(
        self, dy: Array, cache: FireCache, *, need_dx: bool = True
    ) -> tuple[Array | None, Grads]:
        djoined = relu_backward(dy, cache.expanded)
        dleft, dright = concat_backward(djoined, cache.concat)
        need_dsqueezed = need_dx or self.squeeze.trainable
        by_left, left = self.expand1x1.backward(dleft, cache.expand1x1, need_dx=need_dsqueezed)
        by_right, right = self.expand3x3.backward(dright, cache.expand3x3, need_dx=need_dsqueezed)
        if by_left is None or by_right is None:
            return None, left | right
        dsqueezed = relu_backward(by_left + by_right, cache.squeezed)
        dx, squeeze = self.squeeze.backward(dsqueezed, cache.squeeze, need_dx=need_dx)
        return dx, squeeze | left | right

    def _expanded_channels(self) -> tuple[int, ...]:
        return tuple(conv.weight.value.shape[0] for conv in (self.expand1x1, self.expand3x3))

    def output_size(self, size: Pair) -> Pair:
        return self.expand3x3.output_size(self.squeeze.output_size(size))

    def windows(self) -> tuple[Window, ...]:
        """Return those of the widest branch, the 3x3's."""
        return self.squeeze.windows() + self.expand3x3.windows()
