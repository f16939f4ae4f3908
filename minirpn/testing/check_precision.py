"""The check of average precision, and the mistakes it knows."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact, strategies
from minirpn.testing.examine import (
    Asked,
    Contracts,
    Drawn,
    Exercise,
    Grown,
    Mistakes,
    Question,
    Verdict,
    examine,
    expect_one_of,
)
from minirpn.testing.pairs import one_number


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


LEVELS = np.arange(11) / 10
FLOAT_LEVELS = np.arange(11) * 0.1  # 3 * 0.1, 6 * 0.1 and 7 * 0.1 are a little too large
RUNNING_LEVELS = np.cumsum([0] + 10 * [0.1])  # the third is too large, the last three too small


def _eleven(curve: _Curve) -> float:
    return _mean_at(curve, LEVELS)


def _first_at(curve: _Curve) -> float:
    """Return the mean over eleven levels of the precision where each is first reached."""
    places = np.searchsorted(curve.recall, LEVELS)
    return float(np.append(curve.precision, 0)[places].mean())


def _mean_of_reached(curve: _Curve, levels: np.ndarray) -> float:
    """Return the mean over the levels that the recall reaches, 0 if it reaches none."""
    reached = levels[levels <= curve.recall.max(initial=0)]
    return _mean_at(curve, reached)


def _area_without_envelope(curve: _Curve) -> float:
    return float((np.diff(curve.recall, prepend=0) * curve.precision).sum())


def _trapezoids(
    curve: _Curve, heights: Callable[[np.ndarray], np.ndarray] = _from_here_on
) -> float:
    tops = heights(curve.precision)
    return float(np.trapezoid(np.append(tops[:1], tops), np.append(0, curve.recall)))


def _average_of(
    average: Callable[[_Curve], float], **options: Any
) -> Callable[[np.ndarray, np.ndarray, int], float]:
    """Return the function of scores, hits and positives: the average of their curve."""
    return lambda scores, hits, positives: average(_curve(scores, hits, positives, **options))


POINT_BY_POINT = "Equal scores are one point of the curve: none of them comes first."
ONE_POINT = "Equal scores are points of their own, in the order of the list."
K_TENTHS = (
    "Three objects of ten are a recall of 0.3, but 3 * 0.1 is 0.30000000000000004: take k / 10."
)
RUNNING_TENTHS = "0.1 + 0.1 + 0.1 is 0.30000000000000004, more than three of ten: take k / 10."
WHOLE_TENTHS = "The levels are k * 0.1 here: 3 * 0.1 is 0.30000000000000004, not 0.3."


def _common_mistakes(average: Callable[[_Curve], float], *, one_by_one: bool) -> Mistakes:
    """Return the mistakes that both averages have in common, made with this one."""
    average_of = partial(_average_of, one_by_one=one_by_one)

    def of_rising(curve: _Curve) -> float:
        return average(curve._replace(precision=np.maximum.accumulate(curve.precision)))

    return {
        "Go down the list from the highest score: sort first.": average_of(
            average, order=lambda scores: np.arange(len(scores))
        ),
        "Did you begin with the lowest score?": average_of(average, order=lambda scores: scores),
        "A score may be below 0: sort by the score, not by its size.": average_of(
            average, order=lambda scores: -np.abs(scores)
        ),
        (ONE_POINT if one_by_one else POINT_BY_POINT): _average_of(
            average, one_by_one=not one_by_one
        ),
        "Recall is the share of all objects, not of those that are found in the end.": average_of(
            average, objects=np.sum
        ),
        "Did you divide by the number of answers? Recall is a share of the objects.": average_of(
            average, objects=len
        ),
        "The best precision so far rises; take the best from here on.": average_of(of_rising),
        "This is a share of 1, not a percentage.": average_of(lambda curve: 100 * average(curve)),
    }


def mistakes(method: str, ties: str = "together", float_levels: bool = False) -> Mistakes:
    """Return the wrong averages by the hint, under a contract; see `check_average_precision`."""
    one_by_one = ties == "order"
    average_of = partial(_average_of, one_by_one=one_by_one)
    if method == "area":
        known = {
            **_common_mistakes(_area, one_by_one=one_by_one),
            "This is the mean over eleven points: take the area.": average_of(_eleven),
            "First take the best precision from each point on.": average_of(_area_without_envelope),
            "First take the best precision from each point on, then steps, not slopes.": average_of(
                partial(_trapezoids, heights=lambda precision: precision)
            ),
        }
        # With a point for each answer the envelope has no slopes: trapezoids are right.
        slopes = "Use steps, not slopes: between two recalls the later precision holds."
        return known if one_by_one else known | {slopes: average_of(_trapezoids)}
    levels, others = (
        (FLOAT_LEVELS, {WHOLE_TENTHS: LEVELS})
        if float_levels
        else (LEVELS, {K_TENTHS: FLOAT_LEVELS, RUNNING_TENTHS: RUNNING_LEVELS})
    )
    return {
        **_common_mistakes(partial(_mean_at, levels=levels), one_by_one=one_by_one),
        "This is the area: take the mean over eleven points of recall.": average_of(_area),
        "Take the best precision from each point on, not the one where it is reached.": average_of(
            _first_at
        ),
        "A recall equal to the point reaches it: use >=, not >.": average_of(
            partial(_mean_at, levels=levels, reaches=operator.gt)
        ),
        "There are eleven points: 0 is one of them.": average_of(
            partial(_mean_at, levels=levels[1:])
        ),
        "Divide by the eleven points, not by those that the recall reaches.": average_of(
            partial(_mean_of_reached, levels=levels)
        ),
        **{hint: average_of(partial(_mean_at, levels=wrong)) for hint, wrong in others.items()},
    }


@st.composite
def _lists(draw: DrawFn, *, ties: bool) -> Question:
    """Draw scored answers of which some find an object; some scores are below 0."""
    hits = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=6)))
    count = len(hits)
    tenths = st.integers(-1, 2) if ties else st.integers(-9, 9)
    scores = draw(st.lists(tenths, min_size=count, max_size=count, unique=not ties))
    missed = draw(st.integers(int(not hits.any()), 4))
    return _asked(np.array(scores) / 10, hits, int(hits.sum()) + missed)


@st.composite
def _wide(draw: DrawFn) -> Question:
    """Draw scores as large as logits and without ties, and many objects that are missed."""
    hits = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=12)))
    scores = draw(strategies.scores(len(hits), negative=True, distinct=True))
    missed = draw(st.integers(int(not hits.any()), 60))
    size = draw(st.sampled_from([1, 0.125, 100]))
    return _asked(size * scores, hits, int(hits.sum()) + missed)


@st.composite
def _held(draw: DrawFn) -> Question:
    """Draw scores in another dtype, and scores and hits in odd layouts."""
    question = draw(strategies.stored(_wide(), ("scores",)))
    return question | {"hits": draw(strategies.layouts(question["hits"]))}


def _long(count: int, *, ties: bool) -> Question:
    """Return a list of `count` answers; without ties the scores are all different."""
    rng = np.random.default_rng(0)
    scores = rng.permutation(200) - 100
    hits = rng.random(200) < 0.8
    return _asked((scores // 8 if ties else scores)[:count] / 16, hits[:count], 180)


def _asked(scores: Any, hits: Any, positives: int) -> Question:
    return {
        "scores": np.array(scores, dtype=np.float64),
        "hits": np.array(hits, dtype=bool),
        "positives": positives,
    }


TIES = ("together", "order", "any")


def check_average_precision(
    f: Callable[..., Any],
    *,
    method: str = "voc07",
    ties: str = "together",
    float_levels: bool = False,
) -> Verdict:
    """Check average precision: ``f(scores, hits, positives)`` returns it for scored answers.

    Parameters
    ----------
    f
        Takes scores (D,) in any order, hits (D,) bool, true where an answer finds an object that no
        better one has found, and the number of objects, at least 1; returns a number, also as an
        array or a list with one element.
    method
        ``"voc07"``: the mean over the recalls 0, 0.1 ... 1 of the best precision from there on;
        ``"area"``: the area under that envelope.
    ties
        ``"together"``: answers of equal score make one point of the curve; ``"order"``: a point
        each, in the order of the list; ``"any"``: equal scores are not asked, for a sort that
        keeps no order.
    float_levels
        The eleven recalls are ``k * 0.1`` in float64, as in ``np.arange(0, 1.1, 0.1)``, so that 3,
        6 and 7 objects of ten do not reach theirs; otherwise they are k / 10. For ``"voc07"``.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.
    ValueError
        There is no such method, or no such rule for ties, or an area has no levels to be floats.

    Notes
    -----
    Lists have up to 200 answers, and equal scores are asked last. See
    `minirpn.evaluation.average_precision`.

    Examples
    --------
    >>> from minirpn.evaluation import area_under_curve, precision_recall
    >>> area = lambda *asked: area_under_curve(precision_recall(*asked))
    >>> bool(check_average_precision(area, method="area"))
    True
    """
    expect_one_of("method", method, METHODS)
    expect_one_of("ties", ties, TIES)
    if float_levels and method == "area":
        raise ValueError('float_levels=True is for method="voc07": method="area" has no levels')
    asked: dict[str, Any] = {"method": method, "ties": ties, "float_levels": float_levels}
    others = [
        asked | {"ties": other_ties, "float_levels": levels}
        for other_ties in TIES
        for levels in ((float_levels, not float_levels) if method == "voc07" else (float_levels,))
    ]
    others += [asked | {"method": other, "float_levels": False} for other in METHODS]
    contracts: Contracts = {
        _options(asked, other): partial(_examine, f, contracts={}, **other)
        for other in sorted(others, key=lambda other: _options(asked, other).count("="))
        if other != asked
    }
    return _examine(f, method, ties, float_levels, contracts)


METHODS = ("voc07", "area")


def _options(asked: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the options that another contract has, as they are passed to the check."""
    return ", ".join(
        f'{name}="{value}"' if isinstance(value, str) else f"{name}={value}"
        for name, value in other.items()
        if value != asked[name]
    )


def _examine(
    f: Callable[..., Any], method: str, ties: str, float_levels: bool, contracts: Contracts
) -> Verdict:
    probes = (
        # Scores above 1, so that a limit there is not taken for an order.
        _asked([3, 2, 5, 4, 1], [True, False, True, False, True], 4),
        _asked([0.2, 0.9, 0.7, 0.5, 0.4], [True, True, False, True, False], 4),
        _asked([0.9, 0.8, 0.7], [True, True, True], 10),
        _asked(np.arange(9, 0, -1), [True] * 5 + [False] + 2 * [True] + [False], 10),
    )
    tied = (
        Drawn(_lists(ties=True)),
        Asked((_asked([0.5, 0.9, 0.5, 0.8, 0.3], [False, False, True, True, True], 5),)),
        Grown(partial(_long, ties=True), strategies.COUNTS),
    )
    exercise = Exercise(
        answer=partial(_right, method=method, ties=ties, float_levels=float_levels),
        stages=(
            Drawn(_lists(ties=False), 60),
            Drawn(_held(), 60),
            Grown(partial(_long, ties=False), strategies.COUNTS),
            # Nearer than a hundredth, and not too near for float32.
            Asked((_asked([0.5, 0.5 + 1 / 1024], [False, True], 1),)),
            Asked((_asked([], [], 2), _asked([0.5], [False], 1))),
            *(tied if ties != "any" else ()),
        ),
        probes=probes,
        mistakes=mistakes(method, ties, float_levels),
        read=one_number,
    )
    return examine(f, exercise, None, contracts)


def _right(
    scores: np.ndarray,
    hits: np.ndarray,
    positives: int,
    *,
    method: str,
    ties: str,
    float_levels: bool,
) -> float:
    if ties == "order":
        places = np.empty(len(scores))
        places[np.argsort(-scores, kind="stable")] = -np.arange(len(scores))
        scores = places
    if float_levels and method == "voc07":
        return _mean_at(_curve(scores, hits, positives), FLOAT_LEVELS)
    return exact.average_precision(scores, hits, positives, method=method)
