"""Precision and recall of a list of scored answers, and the two averages that VOC made of them.

Going down the list from the highest score, precision is the share of answers so far that are right
and recall is the share of objects found so far. Average precision is one number for the whole curve
(Everingham et al., *The PASCAL Visual Object Classes (VOC) Challenge*, IJCV 2010): by eleven points
of recall until 2009, by the area since 2010.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["voc07", "area"]
"""The mean precision at eleven recalls (VOC 2007), or the area under the curve (VOC 2010)."""


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """A precision-recall curve: one point for each score that occurs.

    Parameters
    ----------
    scores
        (P,) the different scores, highest first. A point counts all answers of at least its score.
    hits
        (P,) int64, how many of them find an object.
    false_positives
        (P,) int64, how many do not.
    positives
        How many objects there are to be found.
    """

    scores: np.ndarray
    hits: np.ndarray
    false_positives: np.ndarray
    positives: int

    @property
    def recall(self) -> np.ndarray:
        """Share of the objects found, (P,), never falling; nan where there is no object."""
        if not self.positives:
            return np.full(len(self.hits), np.nan)
        return self.hits / self.positives

    @property
    def precision(self) -> np.ndarray:
        """Share of the answers that find an object, (P,)."""
        return self.hits / (self.hits + self.false_positives)

    @property
    def found(self) -> int:
        """How many objects all answers together find."""
        return int(self.hits[-1]) if len(self.hits) else 0

    @property
    def wrong(self) -> int:
        """How many of all answers find none."""
        return int(self.false_positives[-1]) if len(self.hits) else 0


def precision_recall(scores: np.ndarray, hits: np.ndarray, positives: int) -> PrecisionRecall:
    """Return the curve of scored answers that are right or wrong.

    Parameters
    ----------
    scores
        (D,) floating point, in any order.
    hits
        (D,) bool: whether the answer finds an object that no better one has found.
    positives
        How many objects there are.

    Notes
    -----
    Ties: answers of equal score are counted together and make one point. No threshold parts them,
    so none of them comes first, and the curve does not depend on the order they are given in.
    scikit-learn draws its curves so too. Tools that make a point of each answer give a curve that
    depends on how they happen to sort.

    Examples
    --------
    >>> curve = precision_recall(np.array([0.9, 0.5, 0.5]), np.array([True, False, True]), 2)
    >>> curve.recall.tolist(), curve.precision.round(2).tolist()
    ([0.5, 1.0], [1.0, 0.67])
    """
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    is_last = np.ones(len(scores), dtype=bool)  # of its score
    is_last[:-1] = scores[1:] != scores[:-1]
    return PrecisionRecall(
        scores[is_last],
        np.cumsum(hits, dtype=np.int64)[is_last],
        np.cumsum(~hits, dtype=np.int64)[is_last],
        positives,
    )


def envelope(precision: np.ndarray) -> np.ndarray:
    """Return the best precision at this point or any later one, (P,): it never rises.

    VOC's *interpolated* precision. It takes the teeth out of the curve: who wants a recall of r may
    as well go on to where precision is higher.

    Examples
    --------
    >>> envelope(np.array([1.0, 0.5, 0.6, 0.4])).tolist()
    [1.0, 0.6, 0.6, 0.4]
    """
    return np.maximum.accumulate(precision[::-1])[::-1]


def eleven_point(curve: PrecisionRecall) -> float:
    """Return VOC's average precision until 2009: the mean over eleven points of recall.

    ``1/11 sum over r in {0, 0.1, ..., 1} of max(precision where recall >= r)``, and 0 for a recall
    that is never reached. nan without objects.

    Notes
    -----
    Recall and the eleven points are both quotients of whole numbers, rounded once, so that three
    objects of ten do reach 0.3. py-faster-rcnn, detectron2, ChainerCV and mmdetection add up steps
    of 0.1, MATLAB's ``0:0.1:1`` in VOC's own kit likewise; 0.1 + 0.1 + 0.1 is a little more than
    0.3, and there three of ten do not.
    """
    if not curve.positives:
        return float("nan")
    reached = curve.recall >= np.arange(11)[:, None] / 10  # (11, P)
    return float(np.where(reached, curve.precision, 0.0).max(axis=1, initial=0.0).mean())


def area_under_curve(curve: PrecisionRecall) -> float:
    """Return VOC's average precision since 2010: the area under the envelope.

    ``sum over points of (recall - recall before) * envelope``. Recall rises by 1 / positives with
    each object found, so this is the mean over all objects of the envelope where the object is
    found, and 0 for one that is not. Summed so, a perfect list gives 1 to the last bit. nan without
    objects.
    """
    if not curve.positives:
        return float("nan")
    newly_found = np.diff(curve.hits, prepend=0)
    return float((newly_found * envelope(curve.precision)).sum() / curve.positives)


AVERAGES: dict[Method, Callable[[PrecisionRecall], float]] = {
    "voc07": eleven_point,
    "area": area_under_curve,
}
"""How a method makes one number of a curve."""
