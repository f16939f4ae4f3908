"""Max pooling: two ladders, for the output with its winners and for the gradient."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.max_pool2d import max_pool2d_cuda, max_pool2d_dx_cuda
from minirpn.kernels.threads import share
from minirpn.kernels.window import Pair, padded, reached, taps


def max_pool2d_loops(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
    need_winner: bool = True,
) -> tuple[Array, Array | None]:
    """Return the largest pixel of each window (N,C,Ho,Wo), and which tap it was, int32.

    Without `need_winner`, None instead of the latter: a layer below which nothing is trained has
    no use for it. Taps are numbered in row-major order; of equal pixels the first wins. A NaN
    makes the output NaN; which tap then gets the gradient is left open.
    """
    N, C, H, W = x.shape
    Ho, Wo = output_size
    y = np.empty((N, C, Ho, Wo), x.dtype)
    winner = np.empty((N, C, Ho, Wo), np.int32)
    for n, c, i, j in np.ndindex(y.shape):
        top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
        best, best_tap = -np.inf, -1
        # Only pixels of the image compete, so padding never wins.
        for row in range(max(top, 0), min(top + kernel[0], H)):
            for column in range(max(left, 0), min(left + kernel[1], W)):
                value = x[n, c, row, column]
                if value > best or np.isnan(value) or best_tap < 0:
                    best, best_tap = value, (row - top) * kernel[1] + column - left
        y[n, c, i, j] = best
        winner[n, c, i, j] = best_tap
    return y, winner if need_winner else None


def max_pool2d_dx_loops(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return dx (N,C,H,W): each output hands its gradient to the pixel that won its window."""
    dx = np.empty((*dy.shape[:2], *size), dy.dtype)
    for n in range(len(dy)):
        spread(dy[n], winner[n], dx[n], kernel, stride, padding)
    return dx


def spread(dy: Array, winner: Array, dx: Array, kernel: Pair, stride: Pair, padding: Pair) -> None:
    """Write into `dx` (C,H,W) what each of `dy` (C,Ho,Wo) hands to the winner of its window."""
    C, Ho, Wo = dy.shape
    dx[:] = 0
    for c in range(C):
        for i in range(Ho):
            for j in range(Wo):
                tap = winner[c, i, j]
                row = i * stride[0] - padding[0] + tap // kernel[1]
                column = j * stride[1] - padding[1] + tap % kernel[1]
                dx[c, row, column] += dy[c, i, j]


def max_pool2d_xp(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
    need_winner: bool = True,
) -> tuple[Array, Array | None]:
    """Return the same by comparing one view of the image for each tap."""
    xp = namespace_of(x)
    size = _extent(x.shape[2:], kernel, stride, padding, output_size)
    image = padded(x, padding, size, fill=-float("inf"))
    rows, columns = map(range, output_size)
    views = [image[:, :, ys, xs] for ys, xs in taps(kernel, stride, rows, columns)]
    windows = xp.stack(views)  # kh kw times (N,C,Ho,Wo) -> (kh kw, N,C,Ho,Wo)
    winner = xp.astype(xp.argmax(windows, axis=0), xp.int32) if need_winner else None
    return xp.max(windows, axis=0), winner


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


def pool_rows(x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair) -> None:
    """Write the largest pixel of each window of `x` (C,H,W) into `y` (C,Ho,Wo).

    First over the rows of a window, then over its columns: each pixel is compared less often, and
    the first and larger part runs along rows, in vectors.
    """
    C, H, W = x.shape
    _, Ho, Wo = y.shape
    # One row of the image behind its padding, and whatever the last window reaches beyond.
    row = np.empty(padding[1] + W + Wo * stride[1] + kernel[1], x.dtype)
    for c in range(C):
        for i in range(Ho):
            top = i * stride[0] - padding[0]
            row[:] = -np.inf
            tallest = row[padding[1] : padding[1] + W]
            for p in range(max(top, 0), min(top + kernel[0], H)):
                pixels = x[c, p]
                for k in range(W):
                    tallest[k] = greater(pixels[k], tallest[k])
            largest = y[c, i]
            largest[:] = -np.inf
            for q in range(kernel[1]):
                if stride[1] == 2:  # apart, because a known step compiles to vectors
                    for j in range(Wo):
                        largest[j] = greater(row[q + 2 * j], largest[j])
                else:
                    for j in range(Wo):
                        largest[j] = greater(row[q + stride[1] * j], largest[j])


def greater(value: float, best: float) -> float:
    """Return the greater of two numbers, or the NaN among them."""
    return value if (value > best) | (value != value) else best


def pool_taps(x: Array, y: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair) -> None:
    """Write the largest pixel of each window, and which tap it was.

    Tap by tap, each compared with all windows of an output row at once, in vectors.
    """
    C, H, W = x.shape
    _, Ho, Wo = y.shape
    for c in range(C):
        for i in range(Ho):
            y[c, i] = -np.inf
            winner[c, i] = -1
            for p in range(kernel[0]):
                row = i * stride[0] - padding[0] + p
                if row < 0 or row >= H:
                    continue
                for q in range(kernel[1]):
                    offset = q - padding[1]
                    low, high = reached(offset, stride[1], W, Wo)
                    best, best_tap = y[c, i, low:high], winner[c, i, low:high]
                    pixels = x[c, row, low * stride[1] + offset :]
                    tap = np.int32(p * kernel[1] + q)
                    if stride[1] == 2:  # apart, because a known step compiles to vectors
                        for j in range(len(best)):
                            value = pixels[2 * j]
                            wins = (value > best[j]) | (value != value) | (best_tap[j] < 0)
                            best[j] = value if wins else best[j]
                            best_tap[j] = tap if wins else best_tap[j]
                    else:
                        for j in range(len(best)):
                            value = pixels[j * stride[1]]
                            wins = (value > best[j]) | (value != value) | (best_tap[j] < 0)
                            best[j] = value if wins else best[j]
                            best_tap[j] = tap if wins else best_tap[j]


_pool_rows = compiled(pool_rows, greater)
_pool_taps = compiled(pool_taps, reached)
_spread = compiled(spread)


def max_pool2d_numba(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
    need_winner: bool = True,
) -> tuple[Array, Array | None]:
    """Return the same from compiled loops in vectors, with the channels shared among threads."""
    x = np.ascontiguousarray(x)
    y = np.empty((*x.shape[:2], *output_size), x.dtype)
    winner = np.empty(y.shape, np.int32) if need_winner else None
    windows = kernel, stride, padding

    def pool(piece: tuple[int, slice]) -> None:
        if winner is None:
            _pool_rows(x[piece], y[piece], *windows)
        else:
            _pool_taps(x[piece], y[piece], winner[piece], *windows)

    share(pool, _pieces(*x.shape[:2]))
    return y, winner


def max_pool2d_dx_numba(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return the same from the loops, compiled, with the channels shared among threads."""
    dy, winner = np.ascontiguousarray(dy), np.ascontiguousarray(winner)
    dx = np.empty((*dy.shape[:2], *size), dy.dtype)

    def spread(piece: tuple[int, slice]) -> None:
        _spread(dy[piece], winner[piece], dx[piece], kernel, stride, padding)

    share(spread, _pieces(*dy.shape[:2]))
    return dx


def _pieces(N: int, C: int) -> list[tuple[int, slice]]:
    """Return an image and some of its channels, for all of them."""
    return [(n, slice(start, start + 8)) for n in range(N) for start in range(0, C, 8)]


MAX_POOL2D = Ladder(
    "max_pool2d",
    (
        Rung("loops", max_pool2d_loops, takes=is_numpy),
        Rung("xp", max_pool2d_xp),
        Rung("numba", max_pool2d_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", max_pool2d_cuda, takes=on_cuda, present=cuda_present),
    ),
)
MAX_POOL2D_DX = Ladder(
    "max_pool2d_dx",
    (
        Rung("loops", max_pool2d_dx_loops, takes=is_numpy),
        Rung("xp", max_pool2d_dx_xp),
        Rung("numba", max_pool2d_dx_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", max_pool2d_dx_cuda, takes=on_cuda, present=cuda_present),
    ),
)
