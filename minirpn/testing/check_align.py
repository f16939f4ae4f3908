"""The check of RoI align, and the mistakes it knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import floor
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
    spoiled,
)
from minirpn.testing.pairs import answers_of, examine_pair
from minirpn.testing.strategies import COUNTS, stored
from minirpn.testing.windows import EXACT_UNITS, ROUNDED_UNITS, Pair, grown, numbers

Weights = list[tuple[int, float]]
"""Cells along one axis, and the weight of each in a sample."""


def _position(
    first: float, last: float, part: float, aligned: bool, *, one_cell: bool = True
) -> float:
    """Return where a sample is, in cells; `part` says how far from the first corner to the last."""
    length = last - first
    if not aligned and one_cell:
        length = max(length, 1.0)
    return first + part * length - (0.5 if aligned else 0.0)


def _between_centers(position: float, size: int, *, off_map: str = "cell") -> Weights:
    """Return the two cells about a position and their weights; none if it is far off the map.

    Up to one cell off the map the value is that at the border. `off_map` may say otherwise, which
    is a mistake: "zero" (cells outside count as 0), "border" (however far off), "none".
    """
    if off_map == "zero":
        low = floor(position)
        cells = [(low, low + 1 - position), (low + 1, position - low)]
        return [(cell, weight) for cell, weight in cells if 0 <= cell < size]
    room = {"cell": 1.0, "border": np.inf, "none": 0.0}[off_map]
    if position < -room or position > size - 1 + room:
        return []
    position = min(max(position, 0.0), size - 1.0)
    low = min(floor(position), max(size - 2, 0))
    return [(low, low + 1 - position), (min(low + 1, size - 1), position - low)]


def _nearest(position: float, size: int, *, off_map: str = "cell") -> Weights:
    weights = _between_centers(position, size, off_map=off_map)
    return [(max(weights, key=lambda cell: cell[1])[0], 1.0)] if weights else []


def _in_middle(k: int, count: int) -> float:
    return (k + 0.5) / count


def _at_start(k: int, count: int) -> float:
    return k / count


def _from_end_to_end(k: int, count: int) -> float:
    return k / (count - 1) if count > 1 else 0.5


def loops_roi_align(
    features: np.ndarray,
    boxes: np.ndarray,
    dy: np.ndarray,
    output_size: Pair,
    stride: float,
    samples: int,
    aligned: bool,
    *,
    part_of: Callable[[int, int], float] = _in_middle,
    weights_at: Callable[..., Weights] = _between_centers,
    largest: bool = False,
    overwrites: bool = False,
    averages_dy: bool = True,
    **odd: Any,
) -> Answers:
    """Return y and dfeatures, sample by sample.

    Each option spoils one part; `odd` are those of `_position` and `_between_centers`.
    """
    one_cell, off_map = odd.get("one_cell", True), odd.get("off_map", "cell")

    def along(first: float, last: float, k: int, count: int, size: int) -> Weights:
        part = part_of(k, count * samples)
        position = _position(first, last, part, aligned, one_cell=one_cell)
        return weights_at(position, size, off_map=off_map)

    def cells(r: int, i: int, j: int) -> Iterator[list[tuple[int, int, float]]]:
        """Yield the cells of each sample of a bin, and their weights."""
        x1, y1, x2, y2 = boxes[r] / stride
        for a, b in np.ndindex(samples, samples):
            rows = along(y1, y2, i * samples + a, h, Hf)
            columns = along(x1, x2, j * samples + b, w, Wf)
            yield [(p, q, of_p * of_q) for p, of_p in rows for q, of_q in columns]

    (C, Hf, Wf), (h, w) = features.shape, output_size
    y, dfeatures = np.zeros((len(boxes), C, h, w)), np.zeros(features.shape)
    for r, i, j in np.ndindex(len(boxes), h, w):
        of_bin = list(cells(r, i, j))
        values = np.zeros((len(of_bin), C))
        for value, sample in zip(values, of_bin, strict=True):
            for p, q, weight in sample:
                value += weight * features[:, p, q]
        y[r, :, i, j] = values.max(axis=0) if largest else values.mean(axis=0)
        for sample in of_bin:
            for p, q, weight in sample:
                given = weight * dy[r, :, i, j] / (len(of_bin) if averages_dy else 1)
                dfeatures[:, p, q] = given + (0 if overwrites else dfeatures[:, p, q])
    return {"y": y, "dfeatures": dfeatures}


def _with(**fixed: Any) -> Callable[..., Answers]:
    """Return RoI align that ignores an argument, and has this value for it."""

    def wrong(
        features: Any, boxes: Any, dy: Any, size: Any, stride: Any, samples: Any, aligned: Any
    ) -> Answers:
        asked = {"stride": stride, "samples": samples, "aligned": aligned}
        return loops_roi_align(features, boxes, dy, size, **asked | fixed)

    return wrong


def _of_boxes(change: Callable[[np.ndarray, float], np.ndarray]) -> Callable[..., Answers]:
    def wrong(features: Any, boxes: Any, dy: Any, size: Any, stride: Any, *rest: Any) -> Answers:
        return loops_roi_align(features, change(boxes, stride), dy, size, stride, *rest)

    return wrong


NO_SHIFT = "Half a cell off: with aligned=True subtract 1/2, as the center of cell 0 is at 1/2."
ROI_ALIGN_MISTAKES: Mistakes = {
    NO_SHIFT: _with(aligned=False),
    "Half a cell off: with aligned=False subtract nothing, and a box is at least a cell wide.": (
        _with(aligned=True)
    ),
    "A bin has samples x samples samples: is it one, whatever samples says?": _with(samples=1),
    "A bin has samples x samples samples: are they 2 x 2, whatever samples says?": _with(samples=2),
    "Boxes are in pixels of the image: divide them by the stride.": _with(stride=1.0),
    "Did you swap x and y? A box is (x1, y1, x2, y2): its columns are from x1 to x2.": _of_boxes(
        lambda boxes, stride: boxes[:, [1, 0, 3, 2]]
    ),
    "A box is (x1, y1, x2, y2), not (x, y, width, height).": _of_boxes(
        lambda boxes, stride: from_xywh(boxes)
    ),
    "Nothing is rounded in RoI align: are the corners of yours whole cells, as in RoI pooling?": (
        _of_boxes(lambda boxes, stride: np.floor(boxes / stride + 0.5) * stride)
    ),
} | spoiled(
    loops_roi_align,
    largest={True: "This is the largest sample of each bin; it should be their mean."},
    weights_at={_nearest: "Interpolate between the four cells around; do not take the nearest."},
    part_of={
        _at_start: "Samples are in the middle of their part of the bin: (k + 1/2) / count.",
        _from_end_to_end: "Samples do not go from corner to corner: they are at (k + 1/2) / count.",
    },
    off_map={
        "zero": "Up to a cell off the map, a sample has the value at the border: "
        "move it onto the map.",
        "none": "A sample up to a cell off the map counts; it has the value at the border.",
        "border": "A sample more than a cell off the map is 0.",
    },
    one_cell={False: "With aligned=False a box is at least one cell wide and high."},
    overwrites={True: "A cell is in many samples: add up what they give back."},
    averages_dy={False: "y is a mean: each sample gives back dy / samples^2."},
)


def _is_clear(
    corners: tuple[float, ...], counts: Pair, size: Pair, *, aligned: bool, places: float = 1e-6
) -> bool:
    """Return whether no sample is so near to a cell off the map that rounding decides."""
    for axis, count, side in ((1, counts[0], size[0]), (0, counts[1], size[1])):
        for k in range(count):
            at = _position(corners[axis], corners[axis + 2], _in_middle(k, count), aligned)
            if min(abs(at + 1), abs(at - side)) < places:
                return False
    return True


def _question(
    size: Pair,
    corners: list[tuple[float, ...]],
    output_size: Pair,
    *,
    stride: float,
    channels: int,
    samples: int,
    aligned: bool,
    seed: int = 0,
    unit: float = 1.0,
) -> Question:
    """Return a question about boxes whose corners are given in cells."""
    rng = np.random.default_rng(seed)
    counts = output_size[0] * samples, output_size[1] * samples
    boxes = [box for box in corners if _is_clear(box, counts, size, aligned=aligned)]
    return {
        "features": numbers(rng, channels, *size, unit=unit),
        "boxes": np.array(boxes, dtype=np.float64).reshape(-1, 4) * stride,
        "dy": numbers(rng, len(boxes), channels, *output_size, unit=unit),
        "output_size": output_size,
        "stride": stride,
        "samples": samples,
        "aligned": aligned,
    }


@st.composite
def _regions(draw: DrawFn, *, on_map: bool) -> Question:
    """Draw a small map and boxes on it, or of any kind, in half cells."""
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    y, x = (
        st.integers(0 if on_map else -4, 2 * side + (0 if on_map else 4)).map(lambda n: n / 2)
        for side in size
    )
    boxes = [draw(st.tuples(x, y, x, y)) for _ in range(draw(st.integers(0, 2)))]
    if on_map:
        boxes = [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in boxes]
    return _question(
        size,
        list(boxes),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        stride=draw(st.sampled_from([4.0, 16.0])),
        channels=draw(st.integers(1, 2)),
        samples=draw(st.integers(1, 2)),
        aligned=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def _any_regions(
    draw: DrawFn, *, counts: tuple[int, ...], units: st.SearchStrategy[float]
) -> Question:
    """Draw larger maps, more boxes and channels, other strides, fractions, and corners far off."""
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    y, x = (
        (st.integers(-16, 16 * side + 16) | st.integers(-160, 240)).map(lambda n: n / 16)
        for side in size
    )
    count = st.sampled_from(counts)
    return _question(
        size,
        [draw(st.tuples(x, y, x, y)) for _ in range(draw(st.integers(0, 4)))],
        draw(st.tuples(count, count)),
        stride=draw(st.sampled_from([16.0, 1.0, 32.0, 0.5])),
        channels=draw(st.integers(1, 4)),
        samples=draw(st.sampled_from([2, 1, 4] if 4 in counts else [2, 1, 3])),
        aligned=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
        unit=draw(units),
    )


def _crowd(count: int, size: Pair) -> list[tuple[float, ...]]:
    """Return so many boxes, in cells, about a map of this size."""
    high = [size[1], size[0], size[1], size[0]]
    steps = np.random.default_rng(0).integers(-16, [16 * side + 16 for side in high], (count, 4))
    return [tuple(box) for box in (2 * steps + 1) / 32]


_MANY_BOXES = _question(
    (4, 5), _crowd(COUNTS[-1], (4, 5)), (1, 1), stride=16.0, channels=1, samples=1, aligned=True
)
_MANY_CHANNELS = _question(
    (3, 2),
    _crowd(1, (3, 2)),
    (2, 1),
    stride=16.0,
    channels=COUNTS[-1],
    samples=2,
    aligned=True,
)
_MANY_ROWS_AND_COLUMNS = tuple(
    _question(size, _crowd(4, size), (2, 2), stride=16.0, channels=1, samples=2, aligned=aligned)
    for size, aligned in (((2, 70), True), ((70, 2), False), ((38, 63), True))
)


def check_roi_align(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check RoI align and its backward by the features.

    Parameters
    ----------
    forward
        ``forward(features, boxes, output_size=, stride=, samples=, aligned=)`` takes features
        (C, Hf, Wf), boxes (R, 4) in half-open pixels, (h, w), a number of pixels, an int and a
        bool; returns ``(y, cache)``, y of shape (R, C, h, w). Without `backward` it may return y
        alone.
    backward
        ``backward(dy, cache)`` returns dfeatures, or (dfeatures, dboxes), of which the second is
        not asked; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    He, Gkioxari, Dollar, Girshick, *Mask R-CNN*, 2017, section 3, as in
    `minirpn.nn.roi_align_forward` and in torchvision with ``sampling_ratio=samples``. Samples
    exactly one cell off the map are not asked, as rounding decides about them.
    """

    def by_features(dy: Any, cache: Any) -> Any:
        grads = backward(dy, cache) if backward else None
        return grads[0] if isinstance(grads, tuple) and len(grads) == 2 else grads

    def both(
        features: Any,
        boxes: Any,
        dy: Any,
        output_size: Any,
        stride: Any,
        samples: Any,
        aligned: Any,
    ) -> Any:
        def run(features: Any) -> Any:
            return forward(
                features,
                boxes,
                output_size=output_size,
                stride=stride,
                samples=samples,
                aligned=aligned,
            )

        def run_other() -> Any:
            other, other_boxes = np.arange(12.0).reshape(1, 4, 3), np.array(3 * [[0, 8, 16.0, 24]])
            return forward(
                other, other_boxes, output_size=(1, 2), stride=8.0, samples=1, aligned=not aligned
            )

        gradient = by_features if backward else None
        return answers_of(run, features, gradient, {"y": dy}, ("dfeatures",), run_other)

    on_map: list[tuple[float, ...]] = [(0, 0.5, 4, 3), (0.5, 1, 2.75, 1.5), (1, 0, 3.5, 3)]
    odd: list[tuple[float, ...]] = [(-1.25, -0.5, 2, 2.25), (0.5, 1.5, 6.25, 5.5), (2, 2, 0, 0.5)]
    held = ("features", "boxes", "dy")
    exercise = Exercise(
        answer=loops_roi_align,
        stages=(
            Drawn(_regions(on_map=True), examples=60),
            Drawn(_regions(on_map=False), examples=60),
            Drawn(stored(_any_regions(counts=(1, 2, 4), units=st.just(1 / 16)), held), examples=30),
            # Thirds are not exact in float32, and differences of large features are not.
            Drawn(
                stored(
                    _any_regions(counts=(3, 1, 5, 7), units=EXACT_UNITS | ROUNDED_UNITS),
                    held,
                    dtypes=(np.float64,),
                ),
                examples=20,
            ),
            grown(_MANY_BOXES, {"boxes": 0, "dy": 0}),
            grown(_MANY_CHANNELS, {"features": 0, "dy": 1}),
            Asked(_MANY_ROWS_AND_COLUMNS),
        ),
        probes=(
            _question((4, 5), on_map, (2, 3), stride=4.0, channels=2, samples=3, aligned=True),
            _question(
                (4, 3), odd, (3, 2), stride=16.0, channels=1, samples=2, aligned=False, seed=1
            ),
            _question((3, 4), odd, (1, 2), stride=8.0, channels=1, samples=2, aligned=True, seed=2),
        ),
        mistakes=ROI_ALIGN_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise)
