"""The rectifier and its gradient."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of


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
    xp = namespace_of(x)
    y = xp.maximum(x, xp.zeros((), dtype=x.dtype, device=device_of(x)))
    return y, ReluCache(y)


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """Return dx: `dy` where x was positive, and zero elsewhere (at the kink x = 0 too)."""
    xp = namespace_of(dy)
    return xp.where(cache.y > 0, dy, xp.zeros((), dtype=dy.dtype, device=device_of(dy)))
