"""Checks of functions on boxes (overlap, deltas, suppression), and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import ge, gt
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact, strategies
from minirpn.testing.examine import (
    Asked,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
    spoiled,
)
from minirpn.testing.pictures import draw_boxes_of
from minirpn.testing.words import difference, plain


def _shared_sides(a: np.ndarray, b: np.ndarray, one: float = 0) -> np.ndarray:
    """Return (N, M, 2), the width and height two boxes share; negative where they are apart."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    return np.minimum(a[:, None, 2:], b[None, :, 2:]) - low + one


def _areas(boxes: np.ndarray, one: float = 0) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2] + one, axis=1)


def _iou(
    a: np.ndarray, b: np.ndarray, *, one: float = 0, cut: bool = True, union_less: float = 1
) -> np.ndarray:
    sides = _shared_sides(a, b, one)
    shared = np.prod(np.maximum(sides, 0) if cut else sides, axis=2)
    covered = _areas(a, one)[:, None] + _areas(b, one)[None] - union_less * shared
    return np.where(shared == 0, 0, shared / np.where(shared == 0, 1, covered))


def _shared_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(_shared_sides(a, b), 0), axis=2)


def _over_smaller(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    smaller = np.minimum(_areas(a)[:, None], _areas(b)[None])
    return _shared_area(a, b) / np.where(smaller == 0, 1, smaller)


def _unguarded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    shared = _shared_area(a, b)
    return shared / (_areas(a)[:, None] + _areas(b)[None] - shared)


TRANSPOSED = "Rows are the boxes of a, columns those of b."
IOU_MISTAKES: Mistakes = {
    "Did you add 1 to a side? Our boxes are half-open.": partial(_iou, one=1),
    "Did you count the union twice?": partial(_iou, union_less=0),
    "Two negative sides have a positive product: cut each off at 0 before you multiply.": partial(
        _iou, cut=False
    ),
    "Did you divide by the smaller area, not by the union?": _over_smaller,
    "This is the shared area: divide it by the covered one.": _shared_area,
    "Did you swap x and y of one box?": lambda a, b: _iou(a, b[:, [1, 0, 3, 2]]),
    "0/0: boxes without area share nothing, so their IoU is 0.": _unguarded,
    TRANSPOSED: lambda a, b: _iou(a, b).T,
}


def _rows(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


_PAIR_PROBES = (
    {"a": np.array([0.0, 0, 4, 4]), "b": np.array([2.0, 1, 6, 5])},
    {"a": np.array([0.0, 0, 2, 3]), "b": np.array([5.0, 7, 6, 9])},
    {"a": np.array([0.0, 0, 8, 2]), "b": np.array([1.0, 0, 3, 2])},
)


@st.composite
def _pairs_of_lists(draw: DrawFn, min_side: float) -> Question:
    drawn = strategies.boxes(min_count=1, max_count=3, extent=12, min_side=min_side, whole=True)
    return {"a": draw(drawn), "b": draw(drawn)}


def check_iou(f: Callable[..., Any], *, pairwise: bool = False) -> Verdict:
    """Check a function that measures overlap: ``f(a, b)`` is the IoU of the boxes.

    Parameters
    ----------
    f
        Takes a (N, 4) and b (M, 4), half-open, and returns (N, M); with `pairwise`, takes two
        boxes (4,) and returns a number.
    pairwise
        Which of the two.

    Raises
    ------
    CheckError
        It gives a wrong answer; the message has the smallest one found, and perhaps why.

    Notes
    -----
    Boxes without area have IoU 0 with all. See `minirpn.boxes.iou`.

    Examples
    --------
    >>> from minirpn import boxes
    >>> bool(check_iou(boxes.iou))
    True
    """
    probes = tuple({name: box[None] for name, box in pair.items()} for pair in _PAIR_PROBES)
    several = {"a": _rows((0, 0, 4, 4), (2, 1, 6, 5)), "b": _rows((0, 0, 4, 2))}
    exercise = Exercise(
        answer=exact.iou,
        stages=(
            Drawn(_pairs_of_lists(1)),
            Drawn(_pairs_of_lists(0)),
            Asked(({"a": _rows(), "b": _rows((0, 0, 1, 1))},)),
        ),
        probes=(*probes, several),
        mistakes=IOU_MISTAKES,
        draw=draw_boxes_of,
    )
    if pairwise:
        exercise = replace(
            exercise,
            answer=_of_pair(exact.iou),
            stages=tuple(Drawn(_pairs_of_lists(side).map(_first_pair)) for side in (1, 0)),
            probes=_PAIR_PROBES,
            mistakes={hint: _of_pair(wrong) for hint, wrong in IOU_MISTAKES.items()},
        )
    return examine(f, exercise)


def _first_pair(lists: Question) -> Question:
    return {name: boxes[0] for name, boxes in lists.items()}


def _of_pair(of_lists: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of two boxes for a function of two lists."""
    return lambda a, b: of_lists(a[None], b[None])[0, 0]


def _centers_and_sides(boxes: np.ndarray, one: float = 0) -> tuple[np.ndarray, np.ndarray]:
    sides = boxes[:, 2:] - boxes[:, :2] + one
    return boxes[:, :2] + sides / 2, sides


def _encode(anchors: np.ndarray, boxes: np.ndarray, *, one: float = 0) -> np.ndarray:
    """Return eq. 2; `one` is added to the sides."""
    (ca, sa), (c, s) = _centers_and_sides(anchors, one), _centers_and_sides(boxes, one)
    return np.concatenate([(c - ca) / sa, np.log(s / sa)], axis=1)


def _encode_with(shifts: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return eq. 2 with other ``(tx, ty)``, computed from centers and sides: ca, sa, c, s."""

    def encode(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        shift = shifts(*_centers_and_sides(anchors), *_centers_and_sides(boxes))
        return np.concatenate([shift, _encode(anchors, boxes)[:, 2:]], axis=1)

    return encode


def _encode_no_log(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    right = _encode(anchors, boxes)
    return np.concatenate([right[:, :2], np.exp(right[:, 2:])], axis=1)


ENCODE_MISTAKES: Mistakes = {
    "Did you add 1 to the sides? Our boxes are half-open.": partial(_encode, one=1),
    "Did you take the corner for the center?": _encode_with(
        lambda ca, sa, c, s: ((c - s / 2) - (ca - sa / 2)) / sa
    ),
    "Did you divide by the sides of the box, not of the anchor?": _encode_with(
        lambda ca, sa, c, s: (c - ca) / s
    ),
    "Did you forget to divide the shift by the anchor's sides?": _encode_with(
        lambda ca, sa, c, s: c - ca
    ),
    "Did you forget the logarithm of the sides?": _encode_no_log,
    "Is a logarithm upside down? It is log(w / wa).": (
        lambda anchors, boxes: _encode(anchors, boxes) * [1, 1, -1, -1]
    ),
    "Did you swap width and height?": (
        lambda anchors, boxes: _encode(anchors, boxes)[:, [0, 1, 3, 2]]
    ),
    "The order is (tx, ty, tw, th).": (
        lambda anchors, boxes: _encode(anchors, boxes)[:, [0, 2, 1, 3]]
    ),
}


def _decode(
    anchors: np.ndarray,
    deltas: np.ndarray,
    *,
    before: float = 0.5,
    after: float = 0.5,
    grow: Callable[[np.ndarray], np.ndarray] = np.exp,
) -> np.ndarray:
    """Return eq. 2 solved for the box; each option spoils one part."""
    anchor_centers, anchor_sides = _centers_and_sides(anchors)
    centers = deltas[:, :2] * anchor_sides + anchor_centers
    sides = anchor_sides * grow(deltas[:, 2:])
    return np.concatenate([centers - before * sides, centers + after * sides], axis=1)


def _decode_in_pixels(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    shifts = deltas[:, :2] / _centers_and_sides(anchors)[1]
    return _decode(anchors, np.concatenate([shifts, deltas[:, 2:]], axis=1))


DECODE_MISTAKES: Mistakes = {
    "Did you take 1 off x2 and y2? Our boxes are half-open.": lambda anchors, deltas: (
        _decode(anchors, deltas) - [0, 0, 1, 1]
    ),
    "Did you take the center for the corner?": partial(_decode, before=0, after=1),
    "Go half a side to each side of the center, not a whole one.": partial(
        _decode, before=1, after=1
    ),
    "Did you forget the exponential of tw and th?": partial(_decode, grow=lambda logs: logs),
    "tx counts widths of the anchor, not pixels.": _decode_in_pixels,
    "Did you swap width and height?": lambda anchors, deltas: _decode(
        anchors, deltas[:, [0, 1, 3, 2]]
    ),
    "Did you forget to add the anchor's center?": lambda anchors, deltas: (
        _decode(anchors, deltas) - np.tile(_centers_and_sides(anchors)[0], 2)
    ),
}


@st.composite
def _anchors_and(draw: DrawFn, other: str) -> Question:
    """Draw anchors, and as many ``"boxes"`` or ``"deltas"``."""
    count = draw(st.integers(1, 3))
    boxes = strategies.boxes(min_count=count, max_count=count, extent=32, min_side=1, whole=True)
    others = boxes if other == "boxes" else strategies.deltas(count)
    return {"anchors": draw(boxes), other: draw(others)}


def _exercise_of_eq2(
    answer: Callable[..., Any], mistakes: Mistakes, other: str, probe: np.ndarray
) -> Exercise:
    return Exercise(
        answer=answer,
        stages=(Drawn(_anchors_and(other)), Asked(({"anchors": _rows(), other: _rows()},))),
        probes=({"anchors": _rows((0, 0, 8, 4), (1, 2, 3, 10)), other: probe},),
        mistakes=mistakes,
        draw=draw_boxes_of,
    )


def check_encode(f: Callable[..., Any]) -> Verdict:
    """Check eq. 2: ``f(anchors, boxes)``, both (N, 4), is ``(tx, ty, tw, th)``, (N, 4).

    See `minirpn.boxes.encode`, and `check_iou` for what is raised.
    """
    probe = _rows((2, 1, 6, 7), (0, 0, 5, 4))
    return examine(f, _exercise_of_eq2(_encode, ENCODE_MISTAKES, "boxes", probe))


def check_decode(f: Callable[..., Any]) -> Verdict:
    """Check eq. 2 solved for the box: ``f(anchors, deltas)``, both (N, 4), is the boxes, (N, 4).

    See `minirpn.boxes.decode`, and `check_iou` for what is raised.
    """
    probe = _rows((0.25, -0.5, 1, 0.5), (0, 1, -1, 0))
    return examine(f, _exercise_of_eq2(_decode, DECODE_MISTAKES, "deltas", probe))


def check_encode_decode(f: Callable[..., Any], g: Callable[..., Any]) -> Verdict:
    """Check both directions of eq. 2: ``f`` as `check_encode` does, ``g`` as `check_decode`.

    Both equal to the formula, they are each other's inverse.
    """
    return check_encode(f) & check_decode(g)


def _by_score(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def _greedy(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    *,
    order: Callable[[np.ndarray], list[int]] = _by_score,
    suppresses: Callable[[float, float], bool] = gt,
    last_only: bool = False,
    gone_too: bool = False,
) -> list[int]:
    """Return what greedy suppression keeps; each option spoils one of its rules."""
    kept: list[int] = []
    candidates = order(scores)
    for place, candidate in enumerate(candidates):
        rivals = candidates[:place] if gone_too else kept[-1:] if last_only else kept
        overlaps = [float(exact.pair_iou(boxes[rival], boxes[candidate])) for rival in rivals]
        if not any(suppresses(overlap, iou_threshold) for overlap in overlaps):
            kept.append(candidate)
    return kept


def _lower_index_last(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], -index))


def _places_in_order(boxes: np.ndarray, scores: np.ndarray, **threshold: float) -> list[int]:
    order = _by_score(scores)
    return [order.index(kept) for kept in exact.nms(boxes, scores, **threshold)]


def _suppressed(boxes: np.ndarray, scores: np.ndarray, **threshold: float) -> list[int]:
    kept = exact.nms(boxes, scores, **threshold)
    return [index for index in _by_score(scores) if index not in kept]


NMS_MISTAKES: Mistakes = {
    "Did you begin with the lowest score?": (
        lambda boxes, scores, **threshold: exact.nms(boxes, -scores, **threshold)
    ),
    "Give the indices by score, the highest first.": (
        lambda boxes, scores, **threshold: sorted(exact.nms(boxes, scores, **threshold))
    ),
    "These are places in the sorted list: give places in the input.": _places_in_order,
    "Did you keep what should go?": _suppressed,
} | spoiled(
    _greedy,
    suppresses={ge: "An IoU equal to the threshold does not suppress: use >, not >=."},
    order={_lower_index_last: "Of equal scores the lower index comes first."},
    gone_too={True: "A box that is gone suppresses nothing any more."},
    last_only={True: "Compare with every box that stayed, not with the last one only."},
)


@st.composite
def _scored_boxes(draw: DrawFn, min_side: float) -> Question:
    crowd = strategies.boxes(min_count=1, max_count=6, extent=8, min_side=min_side, whole=True)
    drawn = draw(crowd)
    return {
        "boxes": drawn,
        "scores": draw(strategies.scores(len(drawn))),
        "iou_threshold": draw(st.sampled_from([0.25, 0.5, 0.7])),
    }


def check_nms(f: Callable[..., Any]) -> Verdict:
    """Check greedy suppression: ``f(boxes, scores, iou_threshold=t)`` is the indices that stay.

    Boxes (N, 4), scores (N,); the highest score first, of equal ones the lower index; an IoU equal
    to the threshold suppresses nothing. See `minirpn.boxes.nms`; errors are as in `check_iou`.
    """
    chain = _rows((0, 0, 4, 4), (2, 0, 6, 4), (1, 0, 5, 4), (8, 0, 9, 1))
    probes = (
        {"boxes": chain, "scores": np.array([0.9, 0.7, 0.8, 0.95]), "iou_threshold": 0.5},
        {"boxes": chain, "scores": np.array([0.5, 0.5, 0.5, 0.5]), "iou_threshold": 0.25},
        {
            "boxes": _rows((0, 0, 4, 4), (0, 0, 4, 2)),
            "scores": np.array([0.2, 0.6]),
            "iou_threshold": 0.5,
        },
    )
    exercise = Exercise(
        answer=exact.nms,
        stages=(
            Drawn(_scored_boxes(1)),
            Drawn(_scored_boxes(0)),
            Asked(({"boxes": _rows(), "scores": np.zeros(0), "iou_threshold": 0.5},)),
        ),
        probes=probes,
        mistakes=NMS_MISTAKES,
        keywords=frozenset({"iou_threshold"}),
        read=_indices,
        describe=_describe_indices,
        draw=draw_boxes_of,
    )
    return examine(f, exercise)


def _indices(result: Any) -> np.ndarray:
    """Return the indices as an array, of integers even if it is empty."""
    indices = np.asarray(result)
    return indices.astype(np.int64) if indices.size == 0 else indices


def _describe_indices(question: Question, got: np.ndarray, right: np.ndarray) -> str:
    """Say which boxes stay, and which ones should."""
    same = not difference(got, right)
    return "" if same else f"yours keeps {plain(got)}, expected {plain(right)}"
