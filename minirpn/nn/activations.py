"""The rectifier and its gradient."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.kernels.relu import RELU, RELU_DX


class ReluCache(NamedTuple):
    """What `relu_backward` needs: the output, which the next layer keeps anyway."""

    y: Array


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """Return ``max(x, 0)``, elementwise, and the cache.

    Parameters
    ----------
    x
        Any shape, floating point. A NaN stays one.
    """
    namespace_of(x)
    y = RELU(x)
    return y, ReluCache(y)


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """Return dx: `dy` where x was positive, and zero elsewhere (at the kink x = 0 too)."""
    namespace_of(dy)
    return RELU_DX(dy, cache.y)
