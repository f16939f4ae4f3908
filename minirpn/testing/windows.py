"""What the checks of layers share: numbers, sizes, windows, the gradient of a largest number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minirpn.testing.examine import Grown, Question
from minirpn.testing.strategies import COUNTS

Pair = tuple[int, int]

EXACT_UNITS = st.sampled_from([1.0, 1 / 16, 1 / 1024, 256.0])
"""Of fractions, small and large numbers whose products and sums are exact in float32, too."""
ROUNDED_UNITS = st.sampled_from([0.1, 1e-3])
"""Of fractions whose sums show whether they were rounded to float32."""


def numbers(rng: np.random.Generator, *shape: int, unit: float = 1.0) -> np.ndarray:
    """Return whole numbers from -3 to 3; for another unit, -48 to 48 of them. Many are equal."""
    most = 3 if unit == 1 else 48
    return rng.integers(-most, most + 1, shape) * unit


def distinct(rng: np.random.Generator, *shape: int, unit: float = 1.0) -> np.ndarray:
    """Return multiples of the unit, about 0, of which no two are equal and none is 0."""
    count = int(np.prod(shape))
    steps = rng.permutation(count) - count // 2
    return np.reshape(np.where(steps < 0, steps, steps + 1) * unit, shape)


def has_ties(array: np.ndarray) -> bool:
    """Return whether two of the numbers are equal."""
    return bool(np.unique(array).size < array.size)


def conv_size(size: Pair, kernel: Pair, stride: int, padding: int) -> Pair:
    """Return (height, width) of what comes out: only windows inside the padded image count."""
    rows, columns = (
        (side + 2 * padding - length) // stride + 1
        for side, length in zip(size, kernel, strict=True)
    )
    return rows, columns


def side_for(outputs: int, kernel: int, stride: int, padding: int, left_over: int = 0) -> int:
    """Return the side of an image, at least 1, with so many outputs, or more where it must.

    So many pixels at the end are left over: in no window.
    """
    side = (outputs - 1) * stride + kernel - 2 * padding + left_over
    while side < 1:
        side += stride
    return side


def places(size: Pair, kernel: Pair, stride: int) -> Iterator[tuple[Pair, tuple[slice, slice]]]:
    """Yield each output's place and the window of the padded image behind it."""
    for i, j in np.ndindex(size):
        top, left = i * stride, j * stride
        yield (i, j), (slice(top, top + kernel[0]), slice(left, left + kernel[1]))


def hand_back(
    dx: np.ndarray,
    window: tuple[Any, ...],
    pixels: np.ndarray,
    dy: Any,
    *,
    to_ties: str = "first",
    overwrites: bool = False,
) -> None:
    """Add `dy` to the place of the largest of the pixels (..., rows, columns) of a window.

    The options are mistakes.
    """
    wins = pixels == pixels.max(axis=(-2, -1), keepdims=True)
    if to_ties != "all":
        in_row = wins.reshape(*wins.shape[:-2], wins.shape[-2] * wins.shape[-1])
        order = in_row.cumsum(axis=-1)
        chosen = order == (1 if to_ties == "first" else order[..., -1:])
        wins = (in_row & chosen).reshape(wins.shape)
    before = np.where(wins, 0, dx[window]) if overwrites else dx[window]
    dx[window] = before + np.asarray(dy)[..., None, None] * wins


def grown(whole: Question, axes: Mapping[str, int]) -> Grown:
    """Return a stage of questions that are cut off a large one, along an axis of some arrays.

    Parameters
    ----------
    whole
        The largest question, `COUNTS[-1]` long along those axes.
    axes
        The names of the arrays, and the axis of each.
    """

    def make(size: int) -> Question:
        cut = {name: np.take(whole[name], range(size), axis=axis) for name, axis in axes.items()}
        return whole | cut

    return Grown(make, COUNTS)
