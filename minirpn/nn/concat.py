"""Channels side by side, as a Fire module joins its two expansions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of


class ConcatCache(NamedTuple):
    """What `concat_backward` needs: how many channels came from each input."""

    channels: tuple[int, ...]


def concat_forward(xs: Sequence[Array]) -> tuple[Array, ConcatCache]:
    """Return the inputs joined along the channels, and the cache.

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
    """Return the channels of `dy` that came from each input, as views; undoes `concat_forward`."""
    namespace_of(dy)
    check_shape(dy, (None, sum(cache.channels), None, None), "dy")
    ends = [sum(cache.channels[: k + 1]) for k in range(len(cache.channels))]
    return tuple(
        dy[:, end - count : end, :, :] for count, end in zip(cache.channels, ends, strict=True)
    )
