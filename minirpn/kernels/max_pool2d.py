"""Max pooling: two ladders, for the output with its winners and for the gradient."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.threads import share
from minirpn.kernels.window import Pair, padded, taps


def max_pool2d_loops(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, output_size: Pair
) -> tuple[Array, Array]:
    """Return the largest pixel of each window (N,C,Ho,Wo), and which tap it was, int32.

    Taps are numbered in row-major order; of equal pixels the first wins. A NaN
    makes the output NaN; which tap then gets the gradient is left open.
    """
    N, C, H, W = x.shape
    Ho, Wo = output_size
    y = np.empty((N, C, Ho, Wo), x.dtype)
    winner = np.empty((N, C, Ho, Wo), np.int32)
    for n in range(N):
        for c in range(C):
            for i in range(Ho):
                top = i * stride[0] - padding[0]
                for j in range(Wo):
                    left = j * stride[1] - padding[1]
                    # Only pixels of the image compete, so padding never wins.
                    first_row, first_column = max(top, 0), max(left, 0)
                    best, nan_seen = x[n, c, first_row, first_column], False
                    best_tap = (first_row - top) * kernel[1] + first_column - left
                    for row in range(first_row, min(top + kernel[0], H)):
                        for column in range(first_column, min(left + kernel[1], W)):
                            value = x[n, c, row, column]
                            tap = (row - top) * kernel[1] + column - left
                            # Chosen without a branch, which a processor would foresee wrongly
                            # half of the time.
                            wins = value > best
                            best = value if wins else best
                            best_tap = tap if wins else best_tap
                            nan_seen |= value != value
                    y[n, c, i, j] = np.nan if nan_seen else best
                    winner[n, c, i, j] = best_tap
    return y, winner


def max_pool2d_dx_loops(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return dx (N,C,H,W): each output hands its gradient to the pixel that won its window."""
    N, C, Ho, Wo = dy.shape
    dx = np.zeros((N, C, size[0], size[1]), dy.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(Ho):
                for j in range(Wo):
                    tap = winner[n, c, i, j]
                    row = i * stride[0] - padding[0] + tap // kernel[1]
                    column = j * stride[1] - padding[1] + tap % kernel[1]
                    dx[n, c, row, column] += dy[n, c, i, j]
    return dx


def max_pool2d_xp(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, output_size: Pair
) -> tuple[Array, Array]:
    """Return the same by comparing one view of the image for each tap."""
    xp = namespace_of(x)
    size = _extent(x.shape[2:], kernel, stride, padding, output_size)
    image = padded(x, padding, size, fill=-float("inf"))
    rows, columns = map(range, output_size)
    views = [image[:, :, ys, xs] for ys, xs in taps(kernel, stride, rows, columns)]
    windows = xp.stack(views)  # kh kw times (N,C,Ho,Wo) -> (kh kw, N,C,Ho,Wo)
    return xp.max(windows, axis=0), xp.astype(xp.argmax(windows, axis=0), xp.int32)


def max_pool2d_dx_xp(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return the same by adding one masked copy of `dy` for each tap."""
    xp = namespace_of(dy, winner)
    N, C, Ho, Wo = dy.shape
    (H, W), (top, left) = size, padding
    extent = _extent(size, kernel, stride, padding, (Ho, Wo))
    dimage = xp.zeros((N, C, *extent), dtype=dy.dtype, device=device_of(dy))
    nothing = xp.zeros((), dtype=dy.dtype, device=device_of(dy))
    for tap, (ys, xs) in enumerate(taps(kernel, stride, range(Ho), range(Wo))):
        dimage[:, :, ys, xs] += xp.where(winner == tap, dy, nothing)
    return dimage[:, :, top : top + H, left : left + W]


def _extent(size: Pair, kernel: Pair, stride: Pair, padding: Pair, output_size: Pair) -> Pair:
    """Return the size of a plane that holds the image behind its padding, and every window."""
    height, width = (
        max(p + s, (count - 1) * step + k)
        for s, k, step, p, count in zip(size, kernel, stride, padding, output_size, strict=True)
    )
    return height, width


_pool = compiled(max_pool2d_loops)
_pool_dx = compiled(max_pool2d_dx_loops)


def max_pool2d_numba(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, output_size: Pair
) -> tuple[Array, Array]:
    """Return the same from the loops, compiled, with the channels shared among threads."""
    y = np.empty((*x.shape[:2], *output_size), x.dtype)
    winner = np.empty(y.shape, np.int32)

    def pool(some: slice) -> None:
        part = np.ascontiguousarray(x[:, some])
        y[:, some], winner[:, some] = _pool(part, kernel, stride, padding, output_size)

    share(pool, _channel_slices(x.shape[1]))
    return y, winner


def max_pool2d_dx_numba(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return the same from the loops, compiled, with the channels shared among threads."""
    dx = np.empty((*dy.shape[:2], *size), dy.dtype)

    def spread(some: slice) -> None:
        parts = np.ascontiguousarray(dy[:, some]), np.ascontiguousarray(winner[:, some])
        dx[:, some] = _pool_dx(*parts, kernel, stride, padding, size)

    share(spread, _channel_slices(dy.shape[1]))
    return dx


def _channel_slices(C: int) -> list[slice]:
    return [slice(start, min(start + 8, C)) for start in range(0, C, 8)]


MAX_POOL2D = Ladder(
    "max_pool2d",
    (
        Rung("loops", max_pool2d_loops, host_only=True),
        Rung("xp", max_pool2d_xp),
        Rung("numba", max_pool2d_numba, host_only=True, present=numba_present),
    ),
)
MAX_POOL2D_DX = Ladder(
    "max_pool2d_dx",
    (
        Rung("loops", max_pool2d_dx_loops, host_only=True),
        Rung("xp", max_pool2d_dx_xp),
        Rung("numba", max_pool2d_dx_numba, host_only=True, present=numba_present),
    ),
)
