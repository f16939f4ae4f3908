"""The check of RoI pooling, and the mistakes it knows.

Here the forward and its backward are one function, which returns ``y`` and ``dfeatures``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing.examine import (
    Answers,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
    forward_mistakes,
    names_of,
    only_y,
    y_and_cache,
)

Span = tuple[int, int]
"""First cell, and the one behind the last."""


def _away_from_zero(position: np.ndarray) -> np.ndarray:
    """Return whole numbers, halves away from zero; positions are whole or half numbers."""
    return np.trunc(position + np.copysign(0.5, position))


def _bin(first: int, last: int, k: int, count: int, size: int) -> Span:
    """Return the cells of bin `k`, which may reach off the map of `size`."""
    length = max(last - first + 1, 1)
    return first + k * length // count, first - (-(k + 1) * length // count)


def _cut(span: Span) -> slice:
    """Return the cells that are on the map."""
    return slice(max(span[0], 0), max(span[1], 0))


def _roi_pool(
    features: np.ndarray,
    boxes: np.ndarray,
    dy: np.ndarray,
    output_size: tuple[int, int],
    stride: float,
    *,
    rounded: Callable[[np.ndarray], np.ndarray] = _away_from_zero,
    bin_of: Callable[[int, int, int, int, int], Span] = _bin,
    cut: Callable[[Span], slice] = _cut,
    largest: Callable[[np.ndarray], Any] = np.max,
    empty: float = 0.0,
    to_ties: str = "first",
    overwrites: bool = False,
) -> Answers:
    """Return y and dfeatures as they should be (by default), bin by bin."""
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y, dfeatures = np.full((len(boxes), C, h, w), empty), np.zeros(features.shape)
    cells = rounded(boxes / stride).astype(int)
    for r, c, i, j in np.ndindex(y.shape):
        x1, y1, x2, y2 = cells[r]
        rows, columns = bin_of(y1, y2, i, h, Hf), bin_of(x1, x2, j, w, Wf)
        window = (c, cut(rows), cut(columns))
        pixels = features[window]
        if pixels.size == 0:
            continue
        y[r, c, i, j] = largest(pixels)
        wins = pixels == pixels.max()
        if to_ties != "all":
            order = wins.ravel().cumsum().reshape(wins.shape)
            wins &= order == (1 if to_ties == "first" else wins.sum())
        given = dy[r, c, i, j] * wins
        kept = np.where(wins, 0, dfeatures[window]) if overwrites else dfeatures[window]
        dfeatures[window] = kept + given
    return {"y": y, "dfeatures": dfeatures}


def _rounded_outward(position: np.ndarray) -> np.ndarray:
    return np.concatenate([np.floor(position[:, :2]), np.ceil(position[:, 2:])], axis=1)


def _without_end(first: int, last: int, *rest: int) -> Span:
    return _bin(first, last - 1, *rest)


def _apart(first: int, last: int, k: int, count: int, size: int) -> Span:
    length = max(last - first + 1, 1)
    return first + k * length // count, first + (k + 1) * length // count


def _of_whole_cells(first: int, last: int, k: int, count: int, size: int) -> Span:
    width = max((last - first + 1) // count, 1)
    return first + k * width, first + (k + 1) * width


def _of_cut_box(first: int, last: int, k: int, count: int, size: int) -> Span:
    limits = np.clip([first, max(last, first)], 0, size - 1)
    return _bin(int(limits[0]), int(limits[1]), k, count, size)


def _none_if_inverted(first: int, last: int, *rest: int) -> Span:
    return (0, 0) if last < first else _bin(first, last, *rest)


MISTAKES: Mistakes = {
    "Did you swap x and y? A box is (x1, y1, x2, y2): its columns are from x1 to x2.": (
        lambda features, boxes, *rest: _roi_pool(features, boxes[:, [1, 0, 3, 2]], *rest)
    ),
    "Python and NumPy round halves to even numbers; here they are rounded away from zero.": partial(
        _roi_pool, rounded=np.round
    ),
    "Halves are rounded away from zero, so -0.5 to -1.": partial(
        _roi_pool, rounded=lambda position: np.floor(position + 0.5)
    ),
    "Did you round corners down? They go to the nearest cell, halves away from zero.": partial(
        _roi_pool, rounded=np.floor
    ),
    "Did you round x2, y2 up? All corners go to the nearest cell, halves away from zero.": partial(
        _roi_pool, rounded=_rounded_outward
    ),
    "The cell that x2, y2 round to is in the box, too: it is end - start + 1 cells wide.": partial(
        _roi_pool, bin_of=_without_end
    ),
    "Boxes are in pixels of the image: divide them by the stride.": (
        lambda features, boxes, dy, output_size, stride: _roi_pool(
            features, boxes, dy, output_size, 1.0
        )
    ),
    "Did you multiply by the stride? A cell is many pixels: divide by it.": (
        lambda features, boxes, dy, output_size, stride: _roi_pool(
            features, boxes, dy, output_size, 1 / stride
        )
    ),
    "This is the mean of each bin; it should be the largest.": partial(_roi_pool, largest=np.mean),
    "A bin off the map has no cell: it gives 0, not minus infinity.": partial(
        _roi_pool, empty=-np.inf
    ),
    "Bins overlap: they start at floor(k length / count), and end before ceil((k + 1) ...).": (
        partial(_roi_pool, bin_of=_apart)
    ),
    "Are your bins length // count cells wide? Divide exactly, then round each bin's ends.": (
        partial(_roi_pool, bin_of=_of_whole_cells)
    ),
    "Did you cut the box off at the border? Make the bins of the whole box, then cut each.": (
        partial(_roi_pool, bin_of=_of_cut_box)
    ),
    "Left of or above the map, a bin's start is negative: NumPy then counts from the far end.": (
        partial(_roi_pool, cut=lambda span: slice(*span))
    ),
    "A box is at least one cell wide and high, even where x2 < x1: max(end - start + 1, 1).": (
        partial(_roi_pool, bin_of=_none_if_inverted)
    ),
    "Where cells tie, only the first one (row by row) gets the gradient.": partial(
        _roi_pool, to_ties="all"
    ),
    "Where cells tie, the first one (row by row) gets the gradient, not the last.": partial(
        _roi_pool, to_ties="last"
    ),
    "A cell may win several bins, of one box or of many: add up what they give back.": partial(
        _roi_pool, overwrites=True
    ),
}


def _question(
    size: tuple[int, int],
    half_cells: list[tuple[int, int, int, int]],
    output_size: tuple[int, int],
    *,
    stride: float,
    channels: int,
    seed: int,
) -> Question:
    """Return a question about boxes whose corners are given in half cells."""
    rng = np.random.default_rng(seed)
    return {
        # Small whole numbers, so that cells tie and sums are exact; without 0, so that a bin that
        # has nothing is told from one that has.
        "features": rng.choice([-3.0, -2, -1, 1, 2, 3], (channels, *size)),
        "boxes": np.array(half_cells, dtype=np.float64).reshape(-1, 4) * (stride / 2),
        "dy": rng.integers(-3, 4, (len(half_cells), channels, *output_size)).astype(np.float64),
        "output_size": output_size,
        "stride": stride,
    }


@st.composite
def _regions(draw: DrawFn, *, on_map: bool) -> Question:
    """Draw a map and boxes, ordinary ones inside of it or of any kind."""
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    outside = 0 if on_map else 3
    # The last cell is the farthest that an ordinary corner is rounded to.
    y, x = (st.integers(-outside, 2 * (side - 1) + outside) for side in size)
    corners = [draw(st.tuples(x, y, x, y)) for _ in range(draw(st.integers(0, 2)))]
    if on_map:
        corners = [
            (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in corners
        ]
    return _question(
        size,
        corners,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        stride=draw(st.sampled_from([4.0, 16.0])),
        channels=draw(st.integers(1, 2)),
        seed=draw(st.integers(0, 2**16)),
    )


def check_roi_pool(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check RoI max pooling: ``forward(features, boxes, output_size=, stride=)`` and its backward.

    Parameters
    ----------
    forward
        Takes features (C, Hf, Wf), boxes (R, 4) in half-open pixels, (h, w) and a number of pixels;
        returns ``(y, cache)``, y of shape (R, C, h, w). Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns dfeatures; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    See `minirpn.nn.roi_pool_forward`: corners are rounded half away from zero, the cell of x2, y2
    included, and the first of equal cells, row by row, wins. Boxes on the map come first, then
    those across its border, off it, empty and inverted.
    """

    def both(features: Any, boxes: Any, dy: Any, output_size: Any, stride: Any) -> Any:
        y, cache = y_and_cache(
            forward(features, boxes, output_size=output_size, stride=stride), backward
        )
        if y is ... or backward is None or np.shape(y) != dy.shape:
            return y if y is ... else {"y": y}
        dfeatures = backward(dy, cache)
        return dfeatures if dfeatures is ... else {"y": y, "dfeatures": dfeatures}

    exercise = Exercise(
        answer=_roi_pool if backward else only_y(_roi_pool),
        drawn=(_regions(on_map=True), _regions(on_map=False)),
        probes=(
            _question(
                (4, 5),
                [(0, 1, 8, 6), (1, 2, 5, 3), (2, 0, 7, 6), (2, 0, 7, 6)],
                (2, 3),
                stride=4.0,
                channels=2,
                seed=0,
            ),
            _question(
                (4, 3),
                [(-3, -1, 3, 5), (1, 3, 11, 9), (4, 4, 0, 1), (2, 2, 2, 2)],
                (3, 2),
                stride=16.0,
                channels=1,
                seed=1,
            ),
        ),
        mistakes=MISTAKES if backward else forward_mistakes(MISTAKES),
    )
    return examine(both, exercise, names_of(forward, backward))
