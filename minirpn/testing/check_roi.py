"""The check of RoI max pooling, and the mistakes it knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing.check_boxes import from_xywh
from minirpn.testing.examine import (
    Answers,
    Asked,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    expect_one_of,
    spoiled,
)
from minirpn.testing.pairs import answers_of, examine_pair
from minirpn.testing.strategies import COUNTS, stored
from minirpn.testing.windows import (
    EXACT_UNITS,
    ROUNDED_UNITS,
    Pair,
    distinct,
    grown,
    hand_back,
    has_ties,
    numbers,
)

Span = tuple[int, int]
"""The first cell, and the cell after the last one."""


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


def loops_roi_pool(
    features: np.ndarray,
    boxes: np.ndarray,
    dy: np.ndarray,
    output_size: Pair,
    stride: float,
    *,
    rounded: Callable[[np.ndarray], np.ndarray] = _away_from_zero,
    bin_of: Callable[[int, int, int, int, int], Span] = _bin,
    cut: Callable[[Span], slice] = _cut,
    largest: Callable[..., Any] = np.max,
    empty: float = 0.0,
    **gradient: Any,
) -> Answers:
    """Return y and dfeatures, bin by bin; `gradient` are options of `hand_back`."""
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y, dfeatures = np.full((len(boxes), C, h, w), empty), np.zeros(features.shape)
    cells = rounded(boxes / stride).astype(int)
    for r, i, j in np.ndindex(len(boxes), h, w):
        x1, y1, x2, y2 = cells[r]
        rows, columns = bin_of(y1, y2, i, h, Hf), bin_of(x1, x2, j, w, Wf)
        window = (slice(None), cut(rows), cut(columns))
        if features[window].size:
            y[r, :, i, j] = largest(features[window], axis=(1, 2))
            hand_back(dfeatures, window, features[window], dy[r, :, i, j], **gradient)
    return {"y": y, "dfeatures": dfeatures}


def _rounded_up_halves(position: np.ndarray) -> np.ndarray:
    return np.floor(position + 0.5)


def _rounded_outward(position: np.ndarray) -> np.ndarray:
    return np.concatenate([np.floor(position[:, :2]), np.ceil(position[:, 2:])], axis=1)


def _uncut(span: Span) -> slice:
    return slice(*span)


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


ROI_POOL_MISTAKES: Mistakes = {
    "Did you swap x and y? Columns go from x1 to x2.": (
        lambda features, boxes, *rest: loops_roi_pool(features, boxes[:, [1, 0, 3, 2]], *rest)
    ),
    "A box is (x1, y1, x2, y2), not (x, y, width, height).": (
        lambda features, boxes, *rest: loops_roi_pool(features, from_xywh(boxes), *rest)
    ),
    "Boxes are in pixels: divide them by the stride.": (
        lambda features, boxes, dy, size, stride: loops_roi_pool(features, boxes, dy, size, 1.0)
    ),
    "Divide by the stride: a cell is many pixels.": (
        lambda features, boxes, dy, size, stride: loops_roi_pool(
            features, boxes, dy, size, 1 / stride
        )
    ),
} | spoiled(
    loops_roi_pool,
    rounded={
        np.round: "Round halves away from zero, not to even numbers.",
        np.floor: "Did you round corners down? They go to the nearest cell.",
        _rounded_up_halves: "Halves are rounded away from zero, so -0.5 to -1.",
        _rounded_outward: "Did you round x2, y2 up? They go to the nearest cell.",
    },
    bin_of={
        _without_end: "The last cell is in the box: end - start + 1 cells.",
        _apart: "Bins overlap: they end before ceil((k + 1) length / n).",
        _of_whole_cells: "Divide exactly, then round the ends of each bin.",
        _of_cut_box: "Make the bins of the whole box, then cut each one off.",
        _none_if_inverted: "A box has at least one cell, even where x2 < x1.",
    },
    cut={_uncut: "A slice from below 0 counts from the far end: cut it off."},
    largest={np.mean: "This is the mean of each bin; it should be the largest."},
    empty={-np.inf: "A bin off the map has no cell: it gives 0, not minus infinity."},
    to_ties={
        "all": "Of equal cells only the first gets the gradient.",
        "last": "Of equal cells the first gets the gradient, not the last.",
    },
    overwrites={True: "A cell may win several bins: add up what they give."},
)


def _floats_agree(length: int, count: int) -> bool:
    """Return whether bins are the same in floating point, as the released code has them."""
    return all(
        np.floor(k * number(length) / number(count)) == k * length // count
        and np.floor(k * (number(length) / number(count))) == k * length // count
        and np.ceil((k + 1) * (number(length) / number(count))) == -(-(k + 1) * length // count)
        for number in (np.float32, np.float64)
        for k in range(count)
    )


def _end(first: float, last: float, count: int) -> float:
    """Return `last`, or the next position of a corner for which floating point will do."""
    start, end = _away_from_zero(np.array([first, last])).astype(int)
    while not _floats_agree(max(end - start + 1, 1), count):
        last, end = last + 1, end + 1
    return last


def _question(
    size: Pair,
    corners: list[tuple[float, float, float, float]],
    output_size: Pair,
    *,
    stride: float,
    channels: int,
    seed: int = 0,
    unit: float = 1.0,
    ties: bool = False,
) -> Question:
    """Return a question about boxes whose corners are given in cells."""
    rng = np.random.default_rng(seed)
    # Without 0, so that a bin that has nothing is told from one that has.
    features = (
        rng.choice([-3.0, -2, -1, 1, 2, 3], (channels, *size))
        if ties
        else distinct(rng, channels, *size, unit=unit)
    )
    h, w = output_size
    boxes = [(x1, y1, _end(x1, x2, w), _end(y1, y2, h)) for x1, y1, x2, y2 in corners]
    return {
        "features": features,
        "boxes": np.array(boxes, dtype=np.float64).reshape(-1, 4) * stride,
        "dy": numbers(rng, len(corners), channels, *output_size, unit=unit),
        "output_size": output_size,
        "stride": stride,
    }


_SEEDS = st.integers(0, 2**16)


@st.composite
def _regions(draw: DrawFn, *, on_map: bool, ties: bool = False) -> Question:
    """Draw a map and boxes, ordinary ones inside of it or of any kind, of half cells."""
    small = st.integers(1, 2)
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
        [(x1 / 2, y1 / 2, x2 / 2, y2 / 2) for x1, y1, x2, y2 in corners],
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        stride=draw(st.sampled_from([4.0, 16.0])),
        channels=draw(small),
        seed=draw(_SEEDS),
        ties=ties,
    )


@st.composite
def _any_regions(draw: DrawFn) -> Question:
    """Draw larger maps, more boxes and channels, other strides, fractions, and corners far off."""
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    stride = draw(st.sampled_from([16.0, 1.0, 2.5, 32.0, 0.5]))
    # Halves of a cell are exact only for strides that are powers of two.
    parts = [0.0, 0.25, 0.75] if stride == 2.5 else [0.0, 0.25, 0.5, 0.75]
    y, x = (
        st.tuples(st.integers(-4, side + 4) | st.integers(-20, 30), st.sampled_from(parts)).map(sum)
        for side in size
    )
    count = draw(st.integers(0, 6))
    return _question(
        size,
        [draw(st.tuples(x, y, x, y)) for _ in range(count)],
        draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        stride=stride,
        channels=draw(st.integers(1, 3)),
        seed=draw(_SEEDS),
        unit=draw(EXACT_UNITS | ROUNDED_UNITS),
    )


def _crowd(count: int, size: Pair) -> list[tuple[float, float, float, float]]:
    """Return so many boxes, in cells, about a map of this size."""
    rng = np.random.default_rng(0)
    high = [size[1], size[0], size[1], size[0]]
    return [tuple(box) for box in rng.integers(-2, [2 * side for side in high], (count, 4)) / 2]


_MANY_BOXES = _question((4, 5), _crowd(COUNTS[-1], (4, 5)), (1, 2), stride=16.0, channels=1)
_MANY_CHANNELS = _question((3, 2), _crowd(2, (3, 2)), (2, 1), stride=16.0, channels=COUNTS[-1])
_MANY_COLUMNS = _question(
    (2, COUNTS[-1]),
    [(0, 0, 199, 1), (0, 1, 63, 1), (60, 0, 70, 1), (100, 0, 150, 0)],
    (1, 4),
    stride=16.0,
    channels=1,
)
_MANY_ROWS = _question(
    (COUNTS[-1], 2),
    [(0, 0, 1, 199), (1, 0, 1, 63), (0, 60, 1, 70), (0, 100, 0, 150)],
    (4, 1),
    stride=16.0,
    channels=1,
)
_USUAL = _question((38, 63), _crowd(20, (38, 63)), (7, 7), stride=16.0, channels=2)


def check_roi_pool(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    ties: str = "first",
) -> Verdict:
    """Check RoI max pooling: ``forward(features, boxes, output_size=, stride=)`` and its backward.

    Parameters
    ----------
    forward
        Takes features (C, Hf, Wf), boxes (R, 4) in half-open pixels, (h, w) and a number of pixels;
        returns ``(y, cache)``, y of shape (R, C, h, w). Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns dfeatures; None checks none.
    ties
        "first": the first of equal cells, row by row, gets the gradient. "any": where cells are
        equal, the gradient is not asked.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why. It names
        the option under which the functions are right, if there is one.
    ValueError
        `ties` is neither.

    Notes
    -----
    See `minirpn.nn.roi_pool_forward`: corners are rounded half away from zero, the cell of x2, y2
    included. Boxes on the map come first, then those across its border, off it, empty and
    inverted, then larger ones, and equal cells last. Bins that come out otherwise in floating
    point, such as 7 in 57 cells, are not asked.
    """
    expect_one_of("ties", ties, ("first", "any"))
    contracts = {}
    if ties == "first":
        contracts['ties="any"'] = partial(check_roi_pool, forward, backward, ties="any")

    def both(features: Any, boxes: Any, dy: Any, output_size: Any, stride: Any) -> Any:
        def run(features: Any) -> Any:
            return forward(features, boxes, output_size=output_size, stride=stride)

        def run_other() -> Any:
            other = np.arange(12.0).reshape(1, 4, 3)
            return forward(other, np.zeros((3, 4)), output_size=(1, 2), stride=8.0)

        answers = answers_of(run, features, backward, {"y": dy}, ("dfeatures",), run_other)
        if ties == "any" and answers is not ... and has_ties(features):
            return {"y": answers["y"]}
        return answers

    on_map = [(0, 0.5, 4, 3), (0.5, 1, 2.5, 1.5), (1, 0, 3.5, 3), (1, 0, 3.5, 3)]
    odd = [(-1.5, -0.5, 1.5, 2.5), (0.5, 1.5, 5.5, 4.5), (2, 2, 0, 0.5), (1, 1, 1, 1)]
    exercise = Exercise(
        answer=loops_roi_pool,
        stages=(
            # One stage: what is right on the map gets a small box over its border, not a probe.
            Drawn(_regions(on_map=True) | _regions(on_map=False), examples=200),
            Drawn(stored(_any_regions(), ("features", "boxes", "dy")), examples=60),
            grown(_MANY_BOXES, {"boxes": 0, "dy": 0}),
            grown(_MANY_CHANNELS, {"features": 0, "dy": 1}),
            grown(_MANY_COLUMNS, {"features": 2}),
            grown(_MANY_ROWS, {"features": 1}),
            Asked((_USUAL,)),
            Drawn(_regions(on_map=True, ties=True), examples=60),
        ),
        probes=(
            _question((4, 5), on_map, (2, 3), stride=4.0, channels=2),
            _question((4, 3), odd, (3, 2), stride=16.0, channels=1, seed=1),
        ),
        mistakes=ROI_POOL_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise, contracts=contracts)
