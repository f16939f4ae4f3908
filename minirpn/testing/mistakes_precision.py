"""Average precision as people first write it, each time wrong in one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Average = Callable[[np.ndarray, np.ndarray, int], float]


class _Points(NamedTuple):
    recall: np.ndarray  # (P,)
    precision: np.ndarray  # (P,)


def _points(
    scores: np.ndarray,
    hits: np.ndarray,
    positives: int,
    *,
    order: Callable[[np.ndarray], np.ndarray] = lambda scores: -scores,
    one_by_one: bool = False,
) -> _Points:
    """Return the curve, a point for each score or for each answer, in an order."""
    key = order(scores)
    by_key = np.argsort(key, kind="stable")
    found, asked = np.cumsum(hits[by_key]), np.arange(1, len(hits) + 1)
    last = np.ones(len(hits), dtype=bool)
    if not one_by_one:
        last[:-1] = np.diff(key[by_key]) != 0
    return _Points(found[last] / positives, (found / asked)[last])


def _from_here_on(precision: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(precision[::-1])[::-1]


def _area(points: _Points) -> float:
    steps = np.diff(points.recall, prepend=0)
    return float((steps * _from_here_on(points.precision)).sum())


def _mean_at(points: _Points, levels: np.ndarray) -> float:
    """Return the mean over levels of recall of the best precision from there on."""
    reached = points.recall >= levels[:, None]
    return float(np.where(reached, points.precision, 0).max(axis=1, initial=0).mean())


def _eleven(points: _Points) -> float:
    return _mean_at(points, np.arange(11) / 10)


def _told(
    words: str,
    average: Callable[[_Points], float],
    curve: Callable[[np.ndarray, np.ndarray, int], _Points] = _points,
) -> Average:
    """Return an average of a curve as a function of the public arguments, with these words."""

    def mistake(scores: np.ndarray, hits: np.ndarray, positives: int) -> float:
        return average(curve(scores, hits, positives))

    mistake.__doc__ = words
    return mistake


def _of_either(right: Callable[[_Points], float]) -> tuple[Average, ...]:
    """Return the mistakes that can be made with either rule, made with this one."""
    return (
        _told(
            "Go down the list from the highest score: sort first.",
            right,
            lambda *asked: _points(*asked, order=lambda scores: np.arange(len(scores))),
        ),
        _told(
            "Did you begin with the lowest score?",
            right,
            lambda *asked: _points(*asked, order=lambda scores: scores),
        ),
        _told(
            "Equal scores are one point of the curve: none of them comes first.",
            right,
            lambda *asked: _points(*asked, one_by_one=True),
        ),
        _told(
            "Recall is the share of all objects, not of those that are found in the end.",
            right,
            lambda scores, hits, positives: _points(scores, hits, max(int(hits.sum()), 1)),
        ),
        _told(
            "Did you divide by the number of answers? Recall is a share of the objects.",
            right,
            lambda scores, hits, positives: _points(scores, hits, max(len(hits), 1)),
        ),
        _told(
            "The best precision so far rises; take the best from here on.",
            lambda points: right(
                points._replace(precision=np.maximum.accumulate(points.precision))
            ),
        ),
    )


def _first_at(points: _Points) -> float:
    """Return the mean over eleven levels of the precision where each is first reached."""
    places = np.searchsorted(points.recall, np.arange(11) / 10)
    return float(np.append(points.precision, 0)[places].mean())


def _above(points: _Points) -> float:
    reached = points.recall > np.arange(11)[:, None] / 10
    return float(np.where(reached, points.precision, 0).max(axis=1, initial=0).mean())


VOC07 = (
    *_of_either(_eleven),
    _told("This is the area: take the mean over eleven points of recall.", _area),
    _told(
        "Take the best precision from each point on, not the one where it is reached.", _first_at
    ),
    _told("A recall equal to the point reaches it: >= it is, not >.", _above),
    _told(
        "There are eleven points: 0 is one of them.",
        lambda points: _mean_at(points, np.arange(1, 11) / 10),
    ),
    _told(
        "Three objects of ten are a recall of 0.3, but 0.1 + 0.1 + 0.1 is a little more.",
        lambda points: _mean_at(points, np.arange(11) * 0.1),
    ),
)

AREA = (
    *_of_either(_area),
    _told("This is the mean over eleven points: take the area.", _eleven),
    _told(
        "Fill the teeth first: take the best precision from each point on.",
        lambda points: float((np.diff(points.recall, prepend=0) * points.precision).sum()),
    ),
    _told(
        "Steps, not slopes: from one recall to the next the later precision holds.",
        lambda points: float(
            np.trapezoid(
                np.append(_from_here_on(points.precision)[:1], _from_here_on(points.precision)),
                np.append(0, points.recall),
            )
        ),
    ),
)
