"""Dropout, which sets features to 0 at random in training, and its gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of, to_device


class DropoutCache(NamedTuple):
    """What `dropout_backward` needs: each element's factor, or None where nothing is dropped."""

    mask: Array | None


def dropout_forward(
    x: Array, *, probability: float, rng: np.random.Generator
) -> tuple[Array, DropoutCache]:
    r"""Return `x` with elements set to 0 at random and the others scaled up, and the cache.

    .. math:: y = x / (1 - p) \text{ with probability } 1 - p, \text{ else } 0

    The mean of y is x, so a trained network needs no dropout.

    Parameters
    ----------
    x
        Any shape, floating point.
    probability
        p in [0, 1): how likely each element is dropped. 0 returns `x` itself and draws nothing.
    rng
        Draws on the host, so that every array library drops the same elements.

    Returns
    -------
    y
        Of the shape and dtype of `x`.
    cache
        For `dropout_backward`.

    Raises
    ------
    ValueError
        `probability` is not in [0, 1).

    Notes
    -----
    The factor 1 / (1 - p) in training is Caffe's. Srivastava et al., *Dropout*, 2014, scale at test
    time instead. Fast R-CNN's two hidden layers have p = 0.5.
    """
    xp = namespace_of(x)
    check_floating(x, "x")
    if not 0 <= probability < 1:
        raise ValueError(f"probability: expected a number in [0, 1), got {probability}")
    if probability == 0:
        return x, DropoutCache(None)
    kept = to_device(rng.random(x.shape) >= probability, x)
    mask = xp.astype(kept, x.dtype) / (1 - probability)
    return x * mask, DropoutCache(mask)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """Return dx: `dy` scaled like `x` where it was kept, and 0 where it was dropped."""
    namespace_of(dy)
    if cache.mask is None:
        return dy
    check_shape(dy, cache.mask.shape, "dy")
    return dy * cache.mask
