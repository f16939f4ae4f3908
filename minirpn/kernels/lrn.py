"""Local response normalisation within channels: two ladders, for the output and its gradient.

With S the sum over a window of ``size`` by ``size`` pixels around each pixel, where pixels outside
the map are zero::

    scale = 1 + alpha / size^2  S(x^2)
    y     = x scale^-beta
    dx    = dy scale^-beta - 2 alpha beta / size^2  x  S(dy x scale^(-beta - 1))

S is its own adjoint, because pixel k is in the window of pixel i exactly if i is in that of k. So
the same sum serves both directions, and the rungs differ in how they compute it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn._typing import Array
from minirpn.backend import is_numpy, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.threads import share
from minirpn.kernels.window import padded

WindowSums = Callable[[Array, int], Array]  # S of (N,C,H,W), for a size


def _normalised(
    x: Array, size: int, alpha: float, beta: float, window_sums: WindowSums
) -> tuple[Array, Array]:
    xp = namespace_of(x)
    scale = 1.0 + alpha / size**2 * window_sums(x * x, size)
    return x * xp.pow(scale, -beta), scale


def _dx(
    dy: Array,
    x: Array,
    scale: Array,
    size: int,
    alpha: float,
    beta: float,
    window_sums: WindowSums,
) -> Array:
    xp = namespace_of(dy, x, scale)
    kept = dy * xp.pow(scale, -beta)
    return kept - 2.0 * alpha * beta / size**2 * x * window_sums(kept * x / scale, size)


# --- loops: window by window ---


def window_sums_loops(x: Array, size: int) -> Array:
    """Return S(x): for each pixel, the sum over the window around it, columns first."""
    N, C, H, W = x.shape
    reach = size // 2
    sums = np.zeros(x.shape, x.dtype)
    columns = np.zeros(W + 2 * reach, x.dtype)  # of the windows in one row; zero beside the map
    for n in range(N):
        for c in range(C):
            for i in range(H):
                columns[reach : reach + W] = 0.0
                for k in range(max(i - reach, 0), min(i + reach + 1, H)):
                    for j in range(W):
                        columns[reach + j] += x[n, c, k, j]
                for m in range(size):
                    for j in range(W):
                        sums[n, c, i, j] += columns[j + m]
    return sums


def lrn_loops(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return y and scale, both (N,C,H,W)."""
    return _normalised(x, size, alpha, beta, window_sums_loops)


def lrn_dx_loops(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return dx (N,C,H,W): what a pixel does to itself, and to the windows it is in."""
    return _dx(dy, x, scale, size, alpha, beta, window_sums_loops)


# --- xp: the window's sum as a sum of shifted maps ---


def window_sums_xp(x: Array, size: int) -> Array:
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


def lrn_xp(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return the same from whole maps."""
    return _normalised(x, size, alpha, beta, window_sums_xp)


def lrn_dx_xp(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return the same from whole maps."""
    return _dx(dy, x, scale, size, alpha, beta, window_sums_xp)


# --- numba: the loops, compiled, with the channels shared among threads ---

_window_sums = compiled(window_sums_loops)


def lrn_numba(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return the same from the loops, compiled."""
    y, scale = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)

    def normalise(some: slice) -> None:
        y[:, some], scale[:, some] = _normalised(x[:, some], size, alpha, beta, _window_sums_numba)

    share(normalise, _channel_slices(x.shape[1]))
    return y, scale


def lrn_dx_numba(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return the same from the loops, compiled."""
    dx = np.empty(x.shape, x.dtype)

    def spread(some: slice) -> None:
        parts = dy[:, some], x[:, some], scale[:, some]
        dx[:, some] = _dx(*parts, size, alpha, beta, _window_sums_numba)

    share(spread, _channel_slices(x.shape[1]))
    return dx


def _window_sums_numba(x: Array, size: int) -> Array:
    return _window_sums(np.ascontiguousarray(x), size)


def _channel_slices(C: int) -> list[slice]:
    return [slice(start, min(start + 2, C)) for start in range(0, C, 2)]


LRN = Ladder(
    "lrn",
    (
        Rung("loops", lrn_loops, takes=is_numpy),
        Rung("xp", lrn_xp),
        Rung("numba", lrn_numba, takes=is_numpy, present=numba_present),
    ),
)
LRN_DX = Ladder(
    "lrn_dx",
    (
        Rung("loops", lrn_dx_loops, takes=is_numpy),
        Rung("xp", lrn_dx_xp),
        Rung("numba", lrn_dx_numba, takes=is_numpy, present=numba_present),
    ),
)
