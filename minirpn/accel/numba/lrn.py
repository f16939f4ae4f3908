"""Local response normalization: its sums over windows compiled, channels shared among threads."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.threads import share
from minirpn.loops import window_sums

_window_sums = compiled(window_sums)


def lrn_numba(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return y and scale, both (N,C,H,W)."""
    y, scale = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)

    def normalize(some: slice) -> None:
        pixels = x[:, some]
        scale[:, some] = 1.0 + alpha / size**2 * _sums(pixels * pixels, size)
        y[:, some] = pixels * np.power(scale[:, some], -beta)

    share(normalize, _channel_slices(x.shape[1]))
    return y, scale


def lrn_dx_numba(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return dx (N,C,H,W)."""
    dx = np.empty(x.shape, x.dtype)

    def spread(some: slice) -> None:
        kept = dy[:, some] * np.power(scale[:, some], -beta)
        sums = _sums(kept * x[:, some] / scale[:, some], size)
        dx[:, some] = kept - 2.0 * alpha * beta / size**2 * x[:, some] * sums

    share(spread, _channel_slices(x.shape[1]))
    return dx


def _sums(x: Array, size: int) -> Array:
    return _window_sums(np.ascontiguousarray(x), size)


def _channel_slices(C: int) -> list[slice]:
    return [slice(start, min(start + 2, C)) for start in range(0, C, 2)]
