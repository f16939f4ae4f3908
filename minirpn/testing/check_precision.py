"""The check of average precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact
from minirpn.testing import mistakes_precision as wrong
from minirpn.testing.examine import Question, Task, Verdict, examine

_MISTAKES = {"voc07": wrong.VOC07, "area": wrong.AREA}


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
    """Check average precision: ``f(scores, hits, positives)`` is that of scored answers.

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
    Answers of equal score make one point of the curve. See `minirpn.evaluation.precision_recall`.

    Examples
    --------
    >>> from minirpn.evaluation import area_under_curve, precision_recall
    >>> area = lambda *asked: area_under_curve(precision_recall(*asked))
    >>> bool(check_average_precision(area, method="area"))
    True
    """
    if method not in _MISTAKES:
        raise ValueError(f"method: expected one of {', '.join(_MISTAKES)}, got {method!r}")
    probes = (
        _asked([0.2, 0.9, 0.7, 0.5, 0.4], [True, True, False, True, False], 4),
        _asked([0.5, 0.9, 0.5, 0.8, 0.3], [False, False, True, True, True], 5),
        _asked([0.9, 0.8, 0.7], [True, True, True], 10),
    )
    task = Task(
        answer=partial(exact.average_precision, method=method),
        drawn=(_lists(ties=False), _lists(ties=True)),
        probes=probes,
        last=(_asked([], [], 2), _asked([0.5], [False], 1)),
        mistakes=_MISTAKES[method],
    )
    return examine(f, task)
