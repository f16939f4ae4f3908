"""Checks of functions on boxes (overlap, deltas, suppression), and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from operator import ge, gt
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact, strategies
from minirpn.testing.examine import (
    Exercise,
    Mistakes,
    Question,
    Verdict,
    difference,
    draw_boxes_of,
    examine,
    plain,
)


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


def _box(*corners: float) -> np.ndarray:
    return np.array(corners, dtype=np.float64)


def _rows(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


_PAIR_PROBES = (
    {"a": _box(0, 0, 4, 4), "b": _box(2, 1, 6, 5)},
    {"a": _box(0, 0, 2, 3), "b": _box(5, 7, 6, 9)},
    {"a": _box(0, 0, 8, 2), "b": _box(1, 0, 3, 2)},
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
    if not pairwise:
        lists = tuple({name: box[None] for name, box in probe.items()} for probe in _PAIR_PROBES)
        several = {"a": _rows((0, 0, 4, 4), (2, 1, 6, 5)), "b": _rows((0, 0, 4, 2))}
        exercise = Exercise(
            answer=exact.iou,
            drawn=(_pairs_of_lists(1), _pairs_of_lists(0)),
            probes=(*lists, several),
            last=({"a": _rows(), "b": _rows((0, 0, 1, 1))},),
            mistakes=IOU_MISTAKES,
            draw=draw_boxes_of,
        )
        return examine(f, exercise)

    def only_pair(lists: Question) -> Question:
        return {name: value[0] for name, value in lists.items()}

    exercise = Exercise(
        answer=_of_pair(exact.iou),
        drawn=(_pairs_of_lists(1).map(only_pair), _pairs_of_lists(0).map(only_pair)),
        probes=_PAIR_PROBES,
        mistakes={hint: _of_pair(wrong) for hint, wrong in IOU_MISTAKES.items()},
        draw=draw_boxes_of,
    )
    return examine(f, exercise)


def _of_pair(of_lists: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of two boxes that a function of two lists is."""

    @wraps(of_lists)
    def of_pair(a: np.ndarray, b: np.ndarray) -> Any:
        return of_lists(a[None], b[None])[0, 0]

    return of_pair


def _centers_and_sides(boxes: np.ndarray, one: float = 0) -> tuple[np.ndarray, np.ndarray]:
    sides = boxes[:, 2:] - boxes[:, :2] + one
    return boxes[:, :2] + sides / 2, sides


def _encode(anchors: np.ndarray, boxes: np.ndarray, *, one: float = 0) -> np.ndarray:
    """Return eq. 2 as it should be, with ``one=0``."""
    (ca, sa), (c, s) = _centers_and_sides(anchors, one), _centers_and_sides(boxes, one)
    return np.concatenate([(c - ca) / sa, np.log(s / sa)], axis=1)


def _encode_with(anchors: np.ndarray, boxes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return eq. 2 with other shifts (N, 2) in the place of ``(tx, ty)``."""
    return np.concatenate([shifts, _encode(anchors, boxes)[:, 2:]], axis=1)


def _encode_corners(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    shifts = (boxes[:, :2] - anchors[:, :2]) / _centers_and_sides(anchors)[1]
    return _encode_with(anchors, boxes, shifts)


def _encode_in_pixels(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    shifts = _centers_and_sides(boxes)[0] - _centers_and_sides(anchors)[0]
    return _encode_with(anchors, boxes, shifts)


def _encode_by_box(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    shifts = _encode_in_pixels(anchors, boxes)[:, :2] / _centers_and_sides(boxes)[1]
    return _encode_with(anchors, boxes, shifts)


def _encode_no_log(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    right = _encode(anchors, boxes)
    return np.concatenate([right[:, :2], np.exp(right[:, 2:])], axis=1)


ENCODE_MISTAKES: Mistakes = {
    "Did you add 1 to the sides? Our boxes are half-open.": partial(_encode, one=1),
    "Did you take the corner for the centre?": _encode_corners,
    "Did you divide by the sides of the box, not of the anchor?": _encode_by_box,
    "Did you forget to divide the shift by the anchor's sides?": _encode_in_pixels,
    "Did you forget the logarithm of the sides?": _encode_no_log,
    "Is a logarithm upside down? It is log(w / wa).": lambda anchors, boxes: (
        _encode(anchors, boxes) * [1, 1, -1, -1]
    ),
    "Did you swap width and height?": lambda anchors, boxes: _encode(anchors, boxes)[
        :, [0, 1, 3, 2]
    ],
    "The order is (tx, ty, tw, th).": lambda anchors, boxes: _encode(anchors, boxes)[
        :, [0, 2, 1, 3]
    ],
}


def _decode(
    anchors: np.ndarray,
    deltas: np.ndarray,
    *,
    before: float = 0.5,
    after: float = 0.5,
    grow: Callable[[np.ndarray], np.ndarray] = np.exp,
) -> np.ndarray:
    """Return eq. 2 solved for the box, as it should be unless an option spoils it."""
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
    "Did you take the centre for the corner?": partial(_decode, before=0, after=1),
    "Go half a side to each side of the centre, not a whole one.": partial(
        _decode, before=1, after=1
    ),
    "Did you forget the exponential of tw and th?": partial(_decode, grow=lambda logs: logs),
    "tx counts widths of the anchor, not pixels.": _decode_in_pixels,
    "Did you swap width and height?": lambda anchors, deltas: _decode(
        anchors, deltas[:, [0, 1, 3, 2]]
    ),
    "Did you forget to add the anchor's centre?": lambda anchors, deltas: (
        _decode(anchors, deltas) - np.tile(_centers_and_sides(anchors)[0], 2)
    ),
}


@st.composite
def _anchors_and_boxes(draw: DrawFn) -> Question:
    count = draw(st.integers(1, 3))
    drawn = strategies.boxes(min_count=count, max_count=count, extent=32, min_side=1, whole=True)
    return {"anchors": draw(drawn), "boxes": draw(drawn)}


@st.composite
def _anchors_and_deltas(draw: DrawFn) -> Question:
    anchors = draw(strategies.boxes(min_count=1, max_count=3, extent=32, min_side=1, whole=True))
    return {"anchors": anchors, "deltas": draw(strategies.deltas(len(anchors)))}


def check_encode(f: Callable[..., Any]) -> Verdict:
    """Check eq. 2: ``f(anchors, boxes)``, both (N, 4), is ``(tx, ty, tw, th)``, (N, 4).

    See `minirpn.boxes.encode`, and `check_iou` for what is raised.
    """
    probe = {
        "anchors": _rows((0, 0, 8, 4), (1, 2, 3, 10)),
        "boxes": _rows((2, 1, 6, 7), (0, 0, 5, 4)),
    }
    exercise = Exercise(
        answer=_encode,
        drawn=(_anchors_and_boxes(),),
        probes=(probe,),
        last=({"anchors": _rows(), "boxes": _rows()},),
        mistakes=ENCODE_MISTAKES,
        draw=draw_boxes_of,
    )
    return examine(f, exercise)


def check_decode(f: Callable[..., Any]) -> Verdict:
    """Check eq. 2 solved for the box: ``f(anchors, deltas)``, both (N, 4), is the boxes, (N, 4).

    See `minirpn.boxes.decode`, and `check_iou` for what is raised.
    """
    probe = {
        "anchors": _rows((0, 0, 8, 4), (1, 2, 3, 10)),
        "deltas": _rows((0.25, -0.5, 1, 0.5), (0, 1, -1, 0)),
    }
    exercise = Exercise(
        answer=_decode,
        drawn=(_anchors_and_deltas(),),
        probes=(probe,),
        last=({"anchors": _rows(), "deltas": _rows()},),
        mistakes=DECODE_MISTAKES,
        draw=draw_boxes_of,
    )
    return examine(f, exercise)


def check_encode_decode(f: Callable[..., Any], g: Callable[..., Any]) -> Verdict:
    """Check both directions of eq. 2: ``f`` as `check_encode` does, ``g`` as `check_decode`.

    Both equal to the formula, they are each other's inverse.
    """
    there, back = check_encode(f), check_decode(g)
    both = f"{there.function} and {back.function}"
    return Verdict(both, there.questions + back.questions if there and back else 0)


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


def _places_in_order(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    order = _by_score(scores)
    return [order.index(kept) for kept in exact.nms(boxes, scores, iou_threshold)]


def _suppressed(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    kept = exact.nms(boxes, scores, iou_threshold)
    return [index for index in _by_score(scores) if index not in kept]


NMS_MISTAKES: Mistakes = {
    "An IoU equal to the threshold does not suppress: > it is, not >=.": partial(
        _greedy, suppresses=ge
    ),
    "Did you begin with the lowest score?": lambda boxes, scores, iou_threshold: exact.nms(
        boxes, -scores, iou_threshold
    ),
    "Of equal scores the lower index comes first.": partial(_greedy, order=_lower_index_last),
    "Give the indices by score, the highest first.": lambda boxes, scores, iou_threshold: sorted(
        exact.nms(boxes, scores, iou_threshold)
    ),
    "A box that is gone suppresses nothing any more.": partial(_greedy, gone_too=True),
    "Compare with every box that stayed, not with the last one only.": partial(
        _greedy, last_only=True
    ),
    "These are places in the sorted list: give places in the input.": _places_in_order,
    "Did you keep what should go?": _suppressed,
}


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
        drawn=(_scored_boxes(1), _scored_boxes(0)),
        probes=probes,
        last=({"boxes": _rows(), "scores": np.zeros(0), "iou_threshold": 0.5},),
        mistakes=NMS_MISTAKES,
        keywords=frozenset({"iou_threshold"}),
        read=_indices,
        describe=_describe_indices,
        draw=draw_boxes_of,
    )
    return examine(f, exercise)


def _indices(result: Any) -> np.ndarray:
    """Return the indices as an array, a number each even where there is none."""
    indices = np.asarray(result)
    return indices.astype(np.int64) if indices.size == 0 else indices


def _describe_indices(question: Question, got: np.ndarray, right: np.ndarray) -> str:
    """Say which boxes stay, and which should."""
    same = not difference(got, right)
    return "" if same else f"yours keeps {plain(got)}, expected {plain(right)}"
