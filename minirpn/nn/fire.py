"""Concatenation of channels, and the Fire module, which concatenates two convolutions."""

# ruff: noqa: D102 - a method that does what `Layer` says needs no docstring of its own

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.nn.activations import ReluCache, relu_backward
from minirpn.nn.conv import Conv2dCache
from minirpn.nn.layers import Conv2d, Grads, Layer, Parameter, Window
from minirpn.nn.window import Pair


class ConcatCache(NamedTuple):
    """What `concat_backward` needs: how many channels came from each input."""

    channels: tuple[int, ...]


def concat_forward(xs: Sequence[Array]) -> tuple[Array, ConcatCache]:
    """Return the inputs concatenated along the channels, and the cache.

    Parameters
    ----------
    xs
        Arrays (N, C_k, H, W).

    Returns
    -------
    y
        (N, sum of C_k, H, W), in the order of `xs`.
    cache
        For `concat_backward`.
    """
    xp = namespace_of(*xs)
    return xp.concat(list(xs), axis=1), ConcatCache(tuple(x.shape[1] for x in xs))


def concat_backward(dy: Array, cache: ConcatCache) -> tuple[Array, ...]:
    """Return the channels of `dy` that came from each input, as views."""
    namespace_of(dy)
    check_shape(dy, (None, sum(cache.channels), None, None), "dy")
    ends = [sum(cache.channels[: k + 1]) for k in range(len(cache.channels))]
    return tuple(
        dy[:, end - count : end, :, :] for count, end in zip(cache.channels, ends, strict=True)
    )


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

    A 1x1 convolution reduces the channels (squeeze). A 1x1 and a 3x3 convolution read its output
    (expand); theirs are concatenated, that of the 1x1 first. A ReLU follows each convolution.

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
        # Both write into y: a concatenation afterwards would copy everything once more.
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
        """Return the windows of the widest path, through the 3x3 convolution."""
        return self.squeeze.windows() + self.expand3x3.windows()
