"""The checks of chapter 16: Winograd's products, operations per byte, one thread of a GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np

from minirpn.testing import Verdict, check_equal, check_iou

BT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
AT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def outputs_by(sides: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function (d, w) -> (y0, y1) that multiplies the two sides and adds up."""

    @wraps(sides)
    def outputs(d: np.ndarray, w: np.ndarray) -> Any:
        both = sides(d, w)
        if both is ...:
            return ...
        m1, m2, m3, m4 = np.multiply(*both)
        return np.array([m1 + m2 + m3, m2 - m3 - m4])

    return outputs


def _sides(bt: np.ndarray, g: np.ndarray) -> Callable[..., Any]:
    return outputs_by(lambda d, w: (bt @ d, g @ w))


def _changed(matrix: np.ndarray, row: int, *numbers: float) -> np.ndarray:
    changed = matrix.astype(float)
    changed[row] = numbers
    return changed


_PIXELS_FIRST = "the first list is of pixels alone"


def _check_sides(f: Callable[..., Any]) -> Verdict:
    def two_outputs(d: np.ndarray, w: np.ndarray) -> np.ndarray:
        return np.array([d[0:3] @ w, d[1:4] @ w])

    doubled = G * np.array([[1], [2], [2], [1]])
    mistakes = {
        "Where are the halves of m2 and m3?": _sides(BT, doubled),
        "m3 has d2 - d1, not d1 - d2.": _sides(_changed(BT, 2, 0, 1, -1, 0), G),
        "m1 has d0 - d2: look at the sign.": _sides(_changed(BT, 0, 1, 0, 1, 0), G),
        "m1 has d0 - d2, not d2 - d0.": _sides(_changed(BT, 0, -1, 0, 1, 0), G),
        "m4 has d1 - d3, not d3 - d1.": _sides(_changed(BT, 3, 0, -1, 0, 1), G),
        "In m3 the middle weight has a minus.": _sides(BT, _changed(G, 2, 0.5, 0.5, 0.5)),
        "The weight of m1 is w0, that of m4 is w2.": _sides(BT, G[[3, 1, 2, 0]]),
    }
    d, w = np.array([1.0, 2, 4, 8]), np.array([3.0, 5, 7])
    calls = [(d, w), *((row, w) for row in np.eye(4))]

    @functools.wraps(f)
    def in_order(d: np.ndarray, w: np.ndarray) -> Any:
        sides = f(d, w)
        several = isinstance(sides, tuple | list) and len(sides) == 2 and sides[0] is not ...
        if several and not np.array_equal(sides[0], f(d, 2 * w)[0]):
            raise TypeError(_PIXELS_FIRST)  # their product alone would be right
        return sides

    return check_equal(outputs_by(in_order), two_outputs, *calls, mistakes=mistakes)


def _check_tile(f: Callable[..., Any]) -> Verdict:
    def tile(d: np.ndarray, w: np.ndarray) -> np.ndarray:
        return np.array([[(d[i : i + 3, j : j + 3] * w).sum() for j in (0, 1)] for i in (0, 1)])

    mistakes: dict[str, Callable[..., Any]] = {
        "Both sides are multiplied number by number: * between them, not @.": (
            lambda d, w: AT @ ((G @ w @ G.T) @ (BT @ d @ BT.T)) @ AT.T
        ),
        "Use each matrix twice: from the left, and its transpose from the right.": (
            lambda d, w: AT @ ((G @ w) @ (BT @ d)[:3])
        ),
        "The transposes stand on the right: G w G^T.": (
            lambda d, w: AT @ ((G @ w.T @ G.T) * (BT @ d @ BT.T)) @ AT.T
        ),
        "The last step works along columns and rows: A^T on the left, A on the right.": (
            lambda d, w: AT @ ((G @ w @ G.T) * (BT @ d @ BT.T))
        ),
        "The kernel is not turned round.": (
            lambda d, w: AT @ ((G @ w[::-1, ::-1] @ G.T) * (BT @ d @ BT.T)) @ AT.T
        ),
        "Rows and columns are swapped: the result is transposed.": (
            lambda d, w: (AT @ ((G @ w @ G.T) * (BT @ d @ BT.T)) @ AT.T).T
        ),
    }
    d = np.array([[1, 0, 2, 0], [0, 1, 0, 0], [3, 0, 0, 1], [0, 0, 1, 0]])
    w = np.array([[1, 0, 0], [0, 0, 2], [0, 3, 0]])
    rng = np.random.default_rng(0)
    calls = [(d, w), (rng.integers(-9, 9, (4, 4)), rng.integers(-9, 9, (3, 3)))]
    return check_equal(f, tile, *calls, mistakes=mistakes)


def _intensity(
    C: int,
    outs: int,
    H: int,
    W: int,
    k: int,
    *,
    operations: float = 2,
    size: float = 4,
    squared: bool = True,
    parts: tuple[bool, bool, bool] = (True, True, True),
    in_channels: bool = True,
) -> float:
    """Return operations per byte; each option spoils one part of the count."""
    window = k * k if squared else k
    products = outs * H * W * window * (C if in_channels else 1)
    moved = np.array([C * H * W, outs * C * window, outs * H * W]) @ np.array(parts)
    return float(operations * products / (size * moved))


def _check_intensity(f: Callable[..., Any]) -> Verdict:
    def intensity(C: int, outs: int, H: int, W: int, k: int) -> float:
        """Count on arrays of these shapes."""
        read, written = np.empty((C, H, W), np.float32), np.empty((outs, H, W), np.float32)
        kernels = np.empty((outs, C, k, k), np.float32)
        operations = 2 * written.size * kernels[0].size
        return operations / (read.nbytes + kernels.nbytes + written.nbytes)

    mistakes: dict[str, Callable[..., Any]] = {
        "A product is two operations: it is multiplied and added.": partial(
            _intensity, operations=1
        ),
        "A float32 has four bytes.": partial(_intensity, size=1),
        "A float32 has four bytes, not eight.": partial(_intensity, size=8),
        "The weights are read, too.": partial(_intensity, parts=(True, False, True)),
        "The output is written, too.": partial(_intensity, parts=(True, True, False)),
        "The input is read, too.": partial(_intensity, parts=(False, True, True)),
        "A k x k kernel has k * k numbers in each channel.": partial(_intensity, squared=False),
        "Each output sums over all input channels.": partial(_intensity, in_channels=False),
        "Operations per byte, not bytes per operation.": lambda *sizes: 1 / _intensity(*sizes),
        "Both are there, but singly: one product, one byte a number.": partial(
            _intensity, operations=1, size=1
        ),
    }
    calls = [(2, 3, 4, 5, 3), (64, 64, 37, 62, 3), (512, 18, 38, 63, 1)]
    return check_equal(f, intensity, *calls, mistakes=mistakes)


def _on_grid(thread: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function (a, b) -> table (N, M) that a grid of such threads is.

    The grid has whole blocks of 4 x 4 threads, so some of them have no pair, as on a GPU.
    """
    side = 4

    @wraps(thread)
    def table(a: np.ndarray, b: np.ndarray) -> Any:
        alone = np.zeros((max(1, len(a)), max(1, len(b))))
        if thread(0, 0, a, b, alone) is ...:
            return ...
        overlaps = np.zeros((len(a), len(b)))
        if overlaps.size:
            for n in range(-(-len(a) // side) * side):
                for m in range(-(-len(b) // side) * side):
                    thread(n, m, a, b, overlaps)
        return overlaps

    return table


def _check_thread(f: Callable[..., Any]) -> Verdict:
    return check_iou(_on_grid(f))


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_sides": _check_sides,
    "my_tile": _check_tile,
    "my_intensity": _check_intensity,
    "my_thread": _check_thread,
}
