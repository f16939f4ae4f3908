"""The checks of chapter 15: which detections are right, and the numbers made of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from operator import ge, gt
from typing import Any

import numpy as np

from minirpn import boxes, evaluation
from minirpn.evaluation.average_precision import (
    FALSE_POSITIVE,
    HIT,
    IGNORED,
    match_detections,
)
from minirpn.testing import Verdict, check_equal
from minirpn.testing.check_boxes import rows


def _outcomes(
    iou: np.ndarray,
    scores: np.ndarray,
    difficult: np.ndarray,
    *,
    reaches: Callable[[Any, Any], Any] = ge,
    order: Callable[[np.ndarray, np.ndarray], Iterable[int]] = lambda iou, scores: np.argsort(
        -scores, kind="stable"
    ),
    of_difficult: int = IGNORED,
    once: bool = True,
    only_free: bool = False,
) -> np.ndarray:
    """Return what each detection is; each option spoils one rule."""
    outcomes = np.full(len(scores), FALSE_POSITIVE)
    taken: set[int] = set()
    for d in order(iou, scores):
        overlaps = iou[d].copy()
        if only_free:
            overlaps[list(taken)] = 0
        if not reaches(overlaps.max(initial=0), 0.5):
            continue
        m = int(overlaps.argmax())
        if difficult[m]:
            outcomes[d] = of_difficult
        elif m not in taken or not once:
            outcomes[d] = HIT
            taken.add(m)
    return outcomes


_OUTCOME_MISTAKES: dict[str, Callable[..., Any]] = {
    "At least 0.5 makes a hit: >=, not >.": partial(_outcomes, reaches=gt),
    "Begin with the highest score, not with the first of the list.": partial(
        _outcomes, order=lambda iou, scores: range(len(scores))
    ),
    "The highest score comes first: argsort(-scores).": partial(
        _outcomes, order=lambda iou, scores: np.argsort(scores, kind="stable")
    ),
    "The score decides who comes first, not the overlap.": partial(
        _outcomes, order=lambda iou, scores: np.argsort(-iou.max(axis=1, initial=0), kind="stable")
    ),
    "An object can be found only once: note which are taken.": partial(_outcomes, once=False),
    "A detection of a difficult object is ignored, not false.": partial(
        _outcomes, of_difficult=FALSE_POSITIVE
    ),
    "A detection of a difficult object is ignored: it is no hit.": partial(
        _outcomes, of_difficult=HIT
    ),
    "Only the object that it overlaps most counts, found or not.": partial(
        _outcomes, only_free=True
    ),
}


def _check_outcomes(f: Callable[..., Any]) -> Verdict:
    def outcomes(iou: np.ndarray, scores: np.ndarray, difficult: np.ndarray) -> np.ndarray:
        return match_detections(iou, scores, difficult)

    easy = np.zeros(2, dtype=bool)
    calls = [
        (np.array([[0.6, 0], [0, 0.3]]), np.array([0.9, 0.8]), easy),
        (np.array([[0.9], [0.6]]), np.array([0.5, 0.7]), easy[:1]),
        (np.array([[0.6], [0.9]]), np.array([0.9, 0.8]), easy[:1]),
        (np.array([[0.5]]), np.array([0.9]), easy[:1]),
        (np.array([[0.7]]), np.array([0.9]), ~easy[:1]),
        (np.array([[0.8, 0.5], [0.9, 0.7]]), np.array([0.9, 0.8]), easy),
        (np.zeros((2, 0)), np.array([0.9, 0.8]), easy[:0]),
        (np.array([[0.7], [0.6]]), np.array([0.5, 0.5]), easy[:1]),
    ]
    return check_equal(f, outcomes, *calls, mistakes=_OUTCOME_MISTAKES)


def _curve_of(hits: Any, positives: int) -> evaluation.PrecisionRecall:
    """Return the library's curve of detections whose scores fall."""
    scores = np.linspace(1, 0, len(hits))
    return evaluation.precision_recall(scores, np.array(hits, dtype=bool), positives)


def _points(hits: Any, positives: int) -> tuple[np.ndarray, np.ndarray]:
    curve = _curve_of(hits, positives)
    return curve.precision, curve.recall


def _check_curve(f: Callable[..., Any]) -> Verdict:
    def curve(hits: Any, positives: int) -> tuple[np.ndarray, np.ndarray]:
        return _points(hits, positives)

    def found(hits: Any) -> np.ndarray:
        return np.cumsum(np.array(hits, dtype=bool))

    mistakes: dict[str, Callable[..., Any]] = {
        "Return precision first, then recall.": lambda hits, positives: _points(hits, positives)[
            ::-1
        ],
        "Count all hits so far, not this one alone.": lambda hits, positives: (
            np.array(hits) / np.arange(1, len(hits) + 1),
            np.array(hits) / positives,
        ),
        "Precision divides by the detections so far, not by all of them.": lambda hits, positives: (
            found(hits) / len(hits),
            found(hits) / positives,
        ),
        "Precision divides by the detections so far: after the first that is 1, not 0.": (
            lambda hits, positives: (
                found(hits) / np.maximum(np.arange(len(hits)), 1),
                found(hits) / positives,
            )
        ),
        "Recall divides by the objects, not by the hits.": lambda hits, positives: (
            _points(hits, positives)[0],
            found(hits) / max(1, found(hits)[-1]),
        ),
        "Recall divides by the objects, not by the detections.": lambda hits, positives: (
            _points(hits, positives)[0],
            found(hits) / len(hits),
        ),
        "Only hits count for recall: a false detection finds nothing.": lambda hits, positives: (
            _points(hits, positives)[0],
            np.arange(1, len(hits) + 1) / positives,
        ),
    }
    calls = [([True, False, True], 4), ([False, True], 1), ([False] * 3, 1)]
    return check_equal(f, curve, *calls, mistakes=mistakes)


_LISTS = (
    ([True], 2),
    ([True, False, True], 2),
    ([False, True], 1),
    ([False], 1),
    ([True] * 3, 10),
    ([True, False, True, True, False, False, True], 5),
)
"""Hits and how many objects there are."""


_TENTHS = np.arange(11) / 10


def _eleven(
    hits: Any,
    positives: int,
    *,
    reaches: Callable[[Any, Any], Any] = ge,
    best: Callable[[np.ndarray], Any] = lambda heights: heights.max(initial=0),
    tenths: Any = _TENTHS,
    over: int = 11,
) -> Any:
    precision, recall = _points(hits, positives)
    return sum(best(precision[reaches(recall, tenth)]) for tenth in tenths) / over


_ELEVEN_MISTAKES: dict[str, Callable[..., Any]] = {
    "Recall of at least r: >=, not >.": partial(_eleven, reaches=gt),
    "Take the best precision from there on, not the first one.": partial(
        _eleven, best=lambda heights: heights[0] if len(heights) else 0
    ),
    "Take the best precision from there on, not their mean.": partial(
        _eleven, best=lambda heights: heights.mean() if len(heights) else 0
    ),
    "Take the precisions where recall is at least r, not at most.": partial(
        _eleven, reaches=lambda recall, tenth: recall <= tenth
    ),
    "0.1 + 0.1 + 0.1 is more than 3/10: take tenth / 10.": partial(
        _eleven, tenths=np.arange(0, 1.1, 0.1)
    ),
    "There are eleven points: divide by 11.": partial(_eleven, over=10),
    "The mean of the eleven: divide by 11.": partial(_eleven, over=1),
    "There are eleven points: 0 is one of them.": partial(
        _eleven, tenths=np.arange(1, 11) / 10, over=10
    ),
    "There are eleven points: 1 is one of them.": partial(
        _eleven, tenths=np.arange(10) / 10, over=10
    ),
    "This is the area under the curve: the eleven points are another measure.": (
        lambda hits, positives: evaluation.area_under_curve(_curve_of(hits, positives))
    ),
}


def _check_eleven_point(f: Callable[..., Any]) -> Verdict:
    def eleven_point(hits: Any, positives: int) -> float:
        return evaluation.eleven_point(_curve_of(hits, positives))

    return check_equal(f, eleven_point, *_LISTS, mistakes=_ELEVEN_MISTAKES)


def _area(
    hits: Any,
    positives: int,
    *,
    envelope: Callable[[np.ndarray], np.ndarray] = lambda heights: np.maximum.accumulate(
        heights[::-1]
    )[::-1],
    start: float | None = 0.0,
) -> Any:
    precision, recall = _points(hits, positives)
    before = np.concatenate([recall[:1] if start is None else [start], recall[:-1]])
    return ((recall - before) * envelope(precision)).sum()


_AREA_MISTAKES: dict[str, Callable[..., Any]] = {
    "Take the best precision from there on: the envelope never rises.": partial(
        _area, envelope=lambda heights: heights
    ),
    "The best from each point on, not up to it.": partial(_area, envelope=np.maximum.accumulate),
    "The best from each point on, the point itself included.": partial(
        _area,
        envelope=lambda heights: np.maximum.accumulate(np.append(heights[1:], 0)[::-1])[::-1],
    ),
    "The first rectangle begins at recall 0.": partial(_area, start=None),
    "Each rectangle is as wide as recall moved: recall_k - recall_(k-1).": (
        lambda hits, positives: _points(hits, positives)[0].mean()
    ),
    "Rectangles, no slopes: not the trapezoids between the points.": lambda hits, positives: (
        np.trapezoid(*_points(hits, positives))
    ),
    "These are the eleven points: the area takes every recall.": lambda hits, positives: (
        evaluation.eleven_point(_curve_of(hits, positives))
    ),
}


def _check_area(f: Callable[..., Any]) -> Verdict:
    def area(hits: Any, positives: int) -> float:
        return evaluation.area_under_curve(_curve_of(hits, positives))

    return check_equal(f, area, *_LISTS, mistakes=_AREA_MISTAKES)


def _recalls(
    proposals: np.ndarray,
    gt_boxes: np.ndarray,
    thresholds: Any,
    *,
    reaches: Callable[[Any, Any], Any] = ge,
    axis: int = 0,
) -> np.ndarray:
    best = boxes.iou(proposals, gt_boxes).max(axis=axis)
    return np.array([reaches(best, threshold).mean() for threshold in thresholds])


def _check_recalls(f: Callable[..., Any]) -> Verdict:
    def recalls(proposals: np.ndarray, gt_boxes: np.ndarray, thresholds: Any) -> np.ndarray:
        found = evaluation.proposal_recall(
            [proposals],
            [gt_boxes],
            counts=[len(proposals)],
            iou_thresholds=list(thresholds),
            matching="any",
        )
        return found.recall[0]

    mistakes: dict[str, Callable[..., Any]] = {
        "An IoU of at least the threshold: >=, not >.": partial(_recalls, reaches=gt),
        "For each object the best proposal: the maximum over axis 0.": partial(_recalls, axis=1),
        "The share of the objects, not how many they are.": lambda proposals, gt_boxes, ts: (
            _recalls(proposals, gt_boxes, ts) * len(gt_boxes)
        ),
        "One number for each threshold: do not average.": lambda proposals, gt_boxes, ts: _recalls(
            proposals, gt_boxes, ts
        ).mean(),
        "The share of the objects, not of all pairs.": lambda proposals, gt_boxes, ts: np.array(
            [(boxes.iou(proposals, gt_boxes) >= threshold).mean() for threshold in ts]
        ),
        "An object is found once, by however many proposals.": lambda proposals, gt_boxes, ts: (
            np.array(
                [
                    (boxes.iou(proposals, gt_boxes) >= threshold).sum() / len(gt_boxes)
                    for threshold in ts
                ]
            )
        ),
        "Divide by the number of objects, not of proposals.": lambda proposals, gt_boxes, ts: (
            _recalls(proposals, gt_boxes, ts) * len(gt_boxes) / len(proposals)
        ),
    }
    square, near, far = (0, 0, 10, 10), (0, 0, 10, 8), (20, 20, 30, 30)
    calls = [
        (rows(square, near, near), rows(square, far), (0.5, 0.75)),
        (rows(square), rows(near, (0, 0, 5, 10), far), (0.5, 0.75)),
        (rows(near, far), rows(square, near, far, (0, 0, 5, 8)), (0.5, 0.8, 0.95)),
    ]
    return check_equal(f, recalls, *calls, mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_outcomes": _check_outcomes,
    "my_curve": _check_curve,
    "my_eleven_point": _check_eleven_point,
    "my_area": _check_area,
    "my_recalls": _check_recalls,
}
