"""ReLU, max pooling, local response normalization: compiled loops, with work shared by threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.threads import share
from minirpn.loops import window_sums, write_max_pool2d_dx, write_relu, write_relu_dx
from minirpn.nn.window import Pair, reached

# --- ReLU ---

# Elements of one piece of work. Fewer are not worth waking a second thread.
PIECE = 2**17

_write_relu = compiled(write_relu)
_write_relu_dx = compiled(write_relu_dx)


def relu_numba(x: Array) -> Array:
    """Return ``max(x, 0)``."""
    y = np.empty(x.shape, x.dtype)
    _in_pieces(_write_relu, np.ascontiguousarray(x), y)
    return y


def relu_dx_numba(dy: Array, y: Array) -> Array:
    """Return `dy` where `y` is positive, and zero elsewhere.

    `numpy.where` is ten times as slow: it selects byte by byte, not in vectors.
    """
    dx = np.empty(dy.shape, dy.dtype)
    _in_pieces(_write_relu_dx, np.ascontiguousarray(dy), np.ascontiguousarray(y), dx)
    return dx


def _in_pieces(function: Callable[..., None], *arrays: Array) -> None:
    """Call `function` with the same piece of each array, for all pieces, on several threads."""
    flat = [array.reshape(-1) for array in arrays]
    if flat[0].size <= PIECE:
        function(*flat)
        return
    starts = range(0, flat[0].size, PIECE)
    share(lambda start: function(*(array[start : start + PIECE] for array in flat)), starts)


# --- max pooling ---


def pool_rows(x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair) -> None:
    """Write the largest pixel of each window of `x` (C,H,W) into `y` (C,Ho,Wo).

    The maximum is first over the rows of a window, then over its columns. So each pixel is compared
    less often, and the first and larger part runs along rows, in vectors.
    """
    C, H, W = x.shape
    _, Ho, Wo = y.shape
    # One row of the image with its padding, and the rest that the last window reaches.
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
                if stride[1] == 2:  # a case of its own: a known step compiles to vectors
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

    Tap by tap; the loop runs over all windows of an output row, in vectors.
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
                    if stride[1] == 2:  # a case of its own: a known step compiles to vectors
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
_write_max_pool2d_dx = compiled(write_max_pool2d_dx)


def max_pool2d_numba(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
    need_winner: bool = True,
) -> tuple[Array, Array | None]:
    """Return y (N,C,Ho,Wo) and the winners or None."""
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
    """Return dx (N,C,H,W)."""
    dy, winner = np.ascontiguousarray(dy), np.ascontiguousarray(winner)
    dx = np.empty((*dy.shape[:2], *size), dy.dtype)

    def spread(piece: tuple[int, slice]) -> None:
        _write_max_pool2d_dx(dy[piece], winner[piece], dx[piece], kernel, stride, padding)

    share(spread, _pieces(*dy.shape[:2]))
    return dx


def _pieces(N: int, C: int) -> list[tuple[int, slice]]:
    """Return pieces of work: an image, and eight of its channels."""
    return [(n, slice(start, start + 8)) for n in range(N) for start in range(0, C, 8)]


# --- local response normalization ---

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

    def normalize_dx(some: slice) -> None:
        kept = dy[:, some] * np.power(scale[:, some], -beta)
        sums = _sums(kept * x[:, some] / scale[:, some], size)
        dx[:, some] = kept - 2.0 * alpha * beta / size**2 * x[:, some] * sums

    share(normalize_dx, _channel_slices(x.shape[1]))
    return dx


def _sums(x: Array, size: int) -> Array:
    return _window_sums(np.ascontiguousarray(x), size)


def _channel_slices(C: int) -> list[slice]:
    return [slice(start, min(start + 2, C)) for start in range(0, C, 2)]
