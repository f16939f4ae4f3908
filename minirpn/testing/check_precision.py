"""The check of average precision, and the mistakes it knows."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact
from minirpn.testing.examine import (
    Asked,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
)


class _Curve(NamedTuple):
    recall: np.ndarray  # (P,)
    precision: np.ndarray  # (P,)


def _curve(
    scores: np.ndarray,
    hits: np.ndarray,
    positives: int,
    *,
    order: Callable[[np.ndarray], np.ndarray] = lambda scores: -scores,
    one_by_one: bool = False,
    objects: Callable[[np.ndarray], Any] | None = None,
) -> _Curve:
    """Return a point of the curve for each score.

    Each option spoils one part: the order of the answers, one point for equal scores, and the
    number of objects, which is then computed from the hits.
    """
    key = order(scores)
    by_key = np.argsort(key, kind="stable")
    right, answers = np.cumsum(hits[by_key]), np.arange(1, len(hits) + 1)
    last = np.ones(len(hits), dtype=bool)
    if not one_by_one:
        last[:-1] = np.diff(key[by_key]) != 0
    count = positives if objects is None else max(objects(hits), 1)
    return _Curve(right[last] / count, (right / answers)[last])


def _from_here_on(precision: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(precision[::-1])[::-1]


def _area(curve: _Curve) -> float:
    steps = np.diff(curve.recall, prepend=0)
    return float((steps * _from_here_on(curve.precision)).sum())


def _mean_at(
    curve: _Curve, levels: np.ndarray, reaches: Callable[[Any, Any], Any] = operator.ge
) -> float:
    """Return the mean over levels of recall of the best precision from there on."""
    reached = reaches(curve.recall, levels[:, None])
    return float(np.where(reached, curve.precision, 0).max(axis=1, initial=0).mean())


def _eleven(curve: _Curve) -> float:
    return _mean_at(curve, np.arange(11) / 10)


def _first_at(curve: _Curve) -> float:
    """Return the mean over eleven levels of the precision where each is first reached."""
    places = np.searchsorted(curve.recall, np.arange(11) / 10)
    return float(np.append(curve.precision, 0)[places].mean())


def _area_without_envelope(curve: _Curve) -> float:
    return float((np.diff(curve.recall, prepend=0) * curve.precision).sum())


def _trapezoids(curve: _Curve) -> float:
    heights = _from_here_on(curve.precision)
    return float(np.trapezoid(np.append(heights[:1], heights), np.append(0, curve.recall)))


def _average_of(
    average: Callable[[_Curve], float], **options: Any
) -> Callable[[np.ndarray, np.ndarray, int], float]:
    """Return the function of scores, hits and positives: the average of their curve."""
    return lambda scores, hits, positives: average(_curve(scores, hits, positives, **options))


def _common_mistakes(average: Callable[[_Curve], float]) -> Mistakes:
    """Return the mistakes that both averages have in common, made with this one."""

    def of_rising(curve: _Curve) -> float:
        return average(curve._replace(precision=np.maximum.accumulate(curve.precision)))

    return {
        "Go down the list from the highest score: sort first.": _average_of(
            average, order=lambda scores: np.arange(len(scores))
        ),
        "Did you begin with the lowest score?": _average_of(average, order=lambda scores: scores),
        "Equal scores are one point of the curve: none of them comes first.": _average_of(
            average, one_by_one=True
        ),
        "Recall is the share of all objects, not of those that are found in the end.": _average_of(
            average, objects=np.sum
        ),
        "Did you divide by the number of answers? Recall is a share of the objects.": _average_of(
            average, objects=len
        ),
        "The best precision so far rises; take the best from here on.": _average_of(of_rising),
    }


MISTAKES: dict[str, Mistakes] = {
    "voc07": {
        **_common_mistakes(_eleven),
        "This is the area: take the mean over eleven points of recall.": _average_of(_area),
        "Take the best precision from each point on, not the one where it is reached.": _average_of(
            _first_at
        ),
        "A recall equal to the point reaches it: use >=, not >.": _average_of(
            partial(_mean_at, levels=np.arange(11) / 10, reaches=operator.gt)
        ),
        "There are eleven points: 0 is one of them.": _average_of(
            partial(_mean_at, levels=np.arange(1, 11) / 10)
        ),
        "Three objects of ten are a recall of 0.3, but 0.1 + 0.1 + 0.1 is a little more.": (
            _average_of(partial(_mean_at, levels=np.arange(11) * 0.1))
        ),
    },
    "area": {
        **_common_mistakes(_area),
        "This is the mean over eleven points: take the area.": _average_of(_eleven),
        "First take the best precision from each point on.": _average_of(_area_without_envelope),
        "Use steps, not slopes: between two recalls the later precision holds.": _average_of(
            _trapezoids
        ),
    },
}


@st.composite
def _lists(draw: DrawFn, *, ties: bool) -> Question:
    """Draw scored answers of which some find an object."""
    hits = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=6)))
    count = len(hits)
    grid = st.integers(1, 3 if ties else 9)
    scores = draw(st.lists(grid, min_size=count, max_size=count, unique=not ties))
    missed = draw(st.integers(int(not hits.any()), 4))
    return _asked(np.array(scores) / 10, hits, int(hits.sum()) + missed)


def _asked(scores: Any, hits: Any, positives: int) -> Question:
    return {
        "scores": np.array(scores, dtype=np.float64),
        "hits": np.array(hits, dtype=bool),
        "positives": positives,
    }


def check_average_precision(f: Callable[..., Any], *, method: str = "voc07") -> Verdict:
    """Check average precision: ``f(scores, hits, positives)`` returns it for scored answers.

    Parameters
    ----------
    f
        Takes scores (D,) in any order, hits (D,) bool, true where an answer finds an object that no
        better one has found, and the number of objects, at least 1; returns a number.
    method
        ``"voc07"``: the mean over the recalls 0, 0.1 ... 1 of the best precision from there on;
        ``"area"``: the area under that envelope.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.
    ValueError
        There is no such method.

    Notes
    -----
    Answers of equal score make one point of the curve. See `minirpn.evaluation.average_precision`.

    Examples
    --------
    >>> from minirpn.evaluation import area_under_curve, precision_recall
    >>> area = lambda *asked: area_under_curve(precision_recall(*asked))
    >>> bool(check_average_precision(area, method="area"))
    True
    """
    if method not in MISTAKES:
        raise ValueError(f"method: expected one of {', '.join(MISTAKES)}, got {method!r}")
    probes = (
        _asked([0.2, 0.9, 0.7, 0.5, 0.4], [True, True, False, True, False], 4),
        _asked([0.5, 0.9, 0.5, 0.8, 0.3], [False, False, True, True, True], 5),
        _asked([0.9, 0.8, 0.7], [True, True, True], 10),
    )
    exercise = Exercise(
        answer=partial(exact.average_precision, method=method),
        stages=(
            Drawn(_lists(ties=False)),
            Asked((_asked([], [], 2), _asked([0.5], [False], 1))),
            Drawn(_lists(ties=True)),
        ),
        probes=probes,
        mistakes=MISTAKES[method],
    )
    return examine(f, exercise)
