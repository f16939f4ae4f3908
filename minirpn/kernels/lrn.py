"""Local response normalisation within channels: two ladders, for the output and its gradient.

With S the sum over a window of ``size`` by ``size`` pixels around each pixel, where pixels outside
the map are zero::

    scale = 1 + alpha / size^2  S(x^2)
    y     = x scale^-beta
    dx    = dy scale^-beta - 2 alpha beta / size^2  x  S(dy x scale^(-beta - 1))

S is its own adjoint, because pixel k is in the window of pixel i exactly if i is in that of k. So
the same sum serves both directions.
"""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.threads import share
from minirpn.kernels.window import padded

# --- loops: window by window ---


def lrn_loops(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return y and scale, both (N,C,H,W)."""
    N, C, H, W = x.shape
    reach, share_of_one = size // 2, alpha / (size * size)
    y, scale = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    total = 0.0
                    for k in range(max(i - reach, 0), min(i + reach + 1, H)):
                        for m in range(max(j - reach, 0), min(j + reach + 1, W)):
                            total += x[n, c, k, m] * x[n, c, k, m]
                    scale[n, c, i, j] = 1.0 + share_of_one * total
                    y[n, c, i, j] = x[n, c, i, j] * scale[n, c, i, j] ** -beta
    return y, scale


def lrn_dx_loops(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return dx (N,C,H,W): what a pixel does to itself, and to the windows it is in."""
    N, C, H, W = x.shape
    reach, share_of_one = size // 2, alpha / (size * size)
    dx, pulled = np.empty(x.shape, x.dtype), np.empty((H, W), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    kept = dy[n, c, i, j] * scale[n, c, i, j] ** -beta
                    dx[n, c, i, j] = kept
                    pulled[i, j] = kept * x[n, c, i, j] / scale[n, c, i, j]
            for i in range(H):
                for j in range(W):
                    total = 0.0
                    for k in range(max(i - reach, 0), min(i + reach + 1, H)):
                        for m in range(max(j - reach, 0), min(j + reach + 1, W)):
                            total += pulled[k, m]
                    dx[n, c, i, j] -= 2.0 * beta * share_of_one * x[n, c, i, j] * total
    return dx


# --- xp: the window's sum as a sum of shifted maps ---


def lrn_xp(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return the same from whole maps."""
    xp = namespace_of(x)
    scale = 1.0 + alpha / size**2 * _window_sums(x * x, size)
    return x * xp.pow(scale, -beta), scale


def lrn_dx_xp(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return the same from whole maps."""
    xp = namespace_of(dy, x, scale)
    kept = dy * xp.pow(scale, -beta)
    return kept - 2.0 * alpha * beta / size**2 * x * _window_sums(kept * x / scale, size)


def _window_sums(x: Array, size: int) -> Array:
    """Return S(x): columns of each window first, then rows, 2 size additions instead of size^2."""
    H, W = x.shape[2:]
    image = padded(x, (size // 2, size // 2), (H + size - 1, W + size - 1))
    of_columns = image[:, :, :H, :]
    for row in range(1, size):
        of_columns = of_columns + image[:, :, row : row + H, :]
    sums = of_columns[:, :, :, :W]
    for column in range(1, size):
        sums = sums + of_columns[:, :, :, column : column + W]
    return sums


# --- numba: the loops, compiled, with the channels shared among threads ---

_lrn = compiled(lrn_loops)
_lrn_dx = compiled(lrn_dx_loops)


def lrn_numba(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return the same from the loops, compiled."""
    y, scale = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)

    def normalise(some: slice) -> None:
        y[:, some], scale[:, some] = _lrn(np.ascontiguousarray(x[:, some]), size, alpha, beta)

    share(normalise, _channel_slices(x.shape[1]))
    return y, scale


def lrn_dx_numba(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return the same from the loops, compiled."""
    dx = np.empty(x.shape, x.dtype)

    def spread(some: slice) -> None:
        parts = (np.ascontiguousarray(array[:, some]) for array in (dy, x, scale))
        dx[:, some] = _lrn_dx(*parts, size, alpha, beta)

    share(spread, _channel_slices(x.shape[1]))
    return dx


def _channel_slices(C: int) -> list[slice]:
    return [slice(start, min(start + 8, C)) for start in range(0, C, 8)]


LRN = Ladder(
    "lrn",
    (
        Rung("loops", lrn_loops, host_only=True),
        Rung("xp", lrn_xp),
        Rung("numba", lrn_numba, host_only=True, present=numba_present),
    ),
)
LRN_DX = Ladder(
    "lrn_dx",
    (
        Rung("loops", lrn_dx_loops, host_only=True),
        Rung("xp", lrn_dx_xp),
        Rung("numba", lrn_dx_numba, host_only=True, present=numba_present),
    ),
)
