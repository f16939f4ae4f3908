"""The rectifier and its gradient."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of


class ReluCache(NamedTuple):
    """What `relu_backward` needs: the output, which the next layer keeps as well."""

    y: Array


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """Return ``max(x, 0)``, elementwise, and the cache.

    Parameters
    ----------
    x
        Any shape, floating point. NaN gives NaN.
    """
    namespace_of(x)  # raises where it is not an array
    y = relu(x)
    return y, ReluCache(y)


@accelerated("relu")
def relu(x: Array) -> Array:
    """Return ``max(x, 0)``."""
    xp = namespace_of(x)
    return xp.maximum(x, xp.zeros((), dtype=x.dtype, device=device_of(x)))


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """Return dx: `dy` where x was positive, and zero elsewhere (at the kink x = 0 too)."""
    namespace_of(dy)  # raises where it is not an array
    return relu_dx(dy, cache.y)


@accelerated("relu_dx")
def relu_dx(dy: Array, y: Array) -> Array:
    """Return `dy` where the output y is positive, and zero elsewhere."""
    xp = namespace_of(dy, y)
    return xp.where(y > 0, dy, xp.zeros((), dtype=dy.dtype, device=device_of(dy)))
