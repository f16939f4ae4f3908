"""Checks of functions on boxes: overlap, deltas, suppression."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact, strategies
from minirpn.testing import mistakes_boxes as wrong
from minirpn.testing.examine import Question, Task, Verdict, examine
from minirpn.testing.mistakes_nms import NMS
from minirpn.testing.pictures import draw_boxes_of
from minirpn.testing.words import difference, plain


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
        task = Task(
            answer=exact.iou,
            drawn=(_pairs_of_lists(1), _pairs_of_lists(0)),
            probes=(*lists, several),
            last=({"a": _rows(), "b": _rows((0, 0, 1, 1))},),
            mistakes=wrong.IOU,
            picture=draw_boxes_of,
        )
        return examine(f, task)

    def only_pair(lists: Question) -> Question:
        return {name: value[0] for name, value in lists.items()}

    task = Task(
        answer=_of_pair(exact.iou),
        drawn=(_pairs_of_lists(1).map(only_pair), _pairs_of_lists(0).map(only_pair)),
        probes=_PAIR_PROBES,
        mistakes=tuple(map(_of_pair, wrong.IOU)),
        picture=draw_boxes_of,
    )
    return examine(f, task)


def _of_pair(of_lists: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of two boxes that a function of two lists is."""

    @wraps(of_lists)
    def of_pair(a: np.ndarray, b: np.ndarray) -> Any:
        return of_lists(a[None], b[None])[0, 0]

    return of_pair


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
    task = Task(
        answer=wrong.encode,
        drawn=(_anchors_and_boxes(),),
        probes=(probe,),
        last=({"anchors": _rows(), "boxes": _rows()},),
        mistakes=wrong.ENCODE,
        picture=draw_boxes_of,
    )
    return examine(f, task)


def check_decode(f: Callable[..., Any]) -> Verdict:
    """Check eq. 2 solved for the box: ``f(anchors, deltas)``, both (N, 4), is the boxes, (N, 4).

    See `minirpn.boxes.decode`, and `check_iou` for what is raised.
    """
    probe = {
        "anchors": _rows((0, 0, 8, 4), (1, 2, 3, 10)),
        "deltas": _rows((0.25, -0.5, 1, 0.5), (0, 1, -1, 0)),
    }
    task = Task(
        answer=wrong.decode,
        drawn=(_anchors_and_deltas(),),
        probes=(probe,),
        last=({"anchors": _rows(), "deltas": _rows()},),
        mistakes=wrong.DECODE,
        picture=draw_boxes_of,
    )
    return examine(f, task)


def check_encode_decode(f: Callable[..., Any], g: Callable[..., Any]) -> Verdict:
    """Check both directions of eq. 2: ``f`` as `check_encode` does, ``g`` as `check_decode`.

    Both equal to the formula, they are each other's inverse.
    """
    there, back = check_encode(f), check_decode(g)
    both = f"{there.function} and {back.function}"
    return Verdict(both, there.questions + back.questions if there and back else 0)


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
    task = Task(
        answer=exact.nms,
        drawn=(_scored_boxes(1), _scored_boxes(0)),
        probes=probes,
        last=({"boxes": _rows(), "scores": np.zeros(0), "iou_threshold": 0.5},),
        mistakes=NMS,
        keywords=frozenset({"iou_threshold"}),
        reads=_indices,
        tell=_tell_indices,
        picture=draw_boxes_of,
    )
    return examine(f, task)


def _indices(result: Any) -> np.ndarray:
    """Return the indices as an array, a number each even where there is none."""
    indices = np.asarray(result)
    return indices.astype(np.int64) if indices.size == 0 else indices


def _tell_indices(question: Question, got: np.ndarray, right: np.ndarray) -> str:
    """Say which boxes stay, and which should."""
    same = not difference(got, right)
    return "" if same else f"yours keeps {plain(got)}, expected {plain(right)}"
