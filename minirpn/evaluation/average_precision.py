"""Average precision of detections, as PASCAL VOC measures it.

Going down the list of detections from the highest score, precision is the share so far that find an
object, and recall is the share of objects found so far. Average precision is one number for the
whole curve (Everingham et al., *The PASCAL Visual Object Classes (VOC) Challenge*, IJCV 2010): by
eleven points of recall until 2009, by the area since 2010.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from minirpn import boxes
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.detector import Detections
from minirpn.evaluation.recall import check_image_counts, share_text, to_plain
from minirpn.fields import (
    MOST_NAME,
    MOST_NUMBER,
    MOST_WHOLE,
    Fields,
    array_of,
    choice,
    list_of,
    number,
    text,
    whole,
)
from minirpn.text import elided, printable

HIT = 1
FALSE_POSITIVE = 0
IGNORED = -1

_MOST_CLASSES = 2000  # in a file: each has a line in the diagram

Method = Literal["voc07", "area"]
"""The mean precision at eleven recalls (VOC 2007), or the area under the curve (VOC 2010)."""


def average_precision(
    detections: Sequence[Detections],
    gt_boxes: Sequence[Array],
    gt_classes: Sequence[Array],
    *,
    classes: Sequence[str],
    difficult: Sequence[Array] | None = None,
    iou_threshold: float = 0.5,
    method: Method = "voc07",
) -> APResult:
    r"""Return precision, recall and average precision of detections, class by class.

    .. math:: \text{AP}_{voc07} = 1/11 \sum_{r = 0, 0.1 \dots 1} \max_{s \ge r} p(s) \quad
              \text{AP}_{area} = \int_0^1 \max_{s \ge r} p(s) \, dr

    p(s) is the precision at recall s.

    Parameters
    ----------
    detections
        For each image its detections, in any order; boxes in half-open pixels.
    gt_boxes
        For each image (M, 4), in the same coordinates.
    gt_classes
        For each image (M,) whole numbers, positions in `classes`.
    classes
        The names.
    difficult
        For each image (M,), true for objects that need not be found. A detection on one of them
        does not count at all.
    iou_threshold
        A detection finds an object at this IoU or more.
    method
        ``"voc07"``, the mean over eleven points of recall, as in the paper; ``"area"``, the area
        under the curve, VOC's since 2010. The result has both; this says which one is its `ap`.

    Returns
    -------
    APResult
        nan for a class without an object that is not difficult; the mean leaves it out.

    Raises
    ------
    ValueError
        The lists differ in length, an array in shape; a class is not in `classes`; a score is not
        finite; no such threshold or method.
    TypeError
        Boxes are not floating point.

    Notes
    -----
    Each detection is matched to the object of its class and image that it overlaps most, and to no
    other: if a better detection has that one, it is a false positive, however well it fits another.
    See `match_detections` and `precision_recall`.

    Ties: of objects overlapped equally, the first in `gt_boxes`. Detections of equal score are
    counted together, so that neither their order nor that of the images matters.

    The work is done on the host in float64.

    Examples
    --------
    >>> box = np.array([[0.0, 0, 10, 10]])
    >>> found = Detections(box, np.array([0.9]), np.array([0]))
    >>> average_precision([found], [box], [np.array([0])], classes=["cat"]).mean_ap
    1.0
    """
    _check_arguments(detections, gt_boxes, gt_classes, difficult, len(classes))
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold: expected one in (0, 1], got {iou_threshold}")
    if method not in AVERAGES:
        raise ValueError(f"method: expected {' or '.join(AVERAGES)}, got {method!r}")
    scores, labels, outcomes = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, np.int8)]
    positives = np.zeros(len(classes), dtype=np.int64)
    for index, of_image in enumerate(detections):
        gt_labels = to_host(gt_classes[index]).astype(np.int64)
        hard = np.zeros(len(gt_labels), dtype=bool)
        if difficult is not None:
            hard = to_host(difficult[index]).astype(bool)
        # In a browser `bincount` refuses int64; see `minirpn._positions`.
        positives += np.bincount(gt_labels[~hard].astype(np.intp), minlength=len(classes))
        scores.append(to_host(of_image.scores).astype(np.float64))
        labels.append(to_host(of_image.classes))
        iou = boxes.iou(
            to_host(of_image.boxes).astype(np.float64), to_host(gt_boxes[index]).astype(np.float64)
        )
        iou = np.where(labels[-1][:, None] == gt_labels, iou, 0.0)  # (D, M)
        outcomes.append(match_detections(iou, scores[-1], hard, iou_threshold=iou_threshold))
    score, label, outcome = map(np.concatenate, (scores, labels, outcomes))
    curves, ignored = [], []
    for index, count in enumerate(positives.tolist()):
        counted = (label == index) & (outcome != IGNORED)
        curves.append(precision_recall(score[counted], outcome[counted] == HIT, count))
        ignored.append(int(((label == index) & (outcome == IGNORED)).sum()))
    return APResult(tuple(classes), tuple(curves), tuple(ignored), iou_threshold, method)


def match_detections(
    iou: np.ndarray, scores: np.ndarray, difficult: np.ndarray, *, iou_threshold: float = 0.5
) -> np.ndarray:
    """Return the outcome of each detection in an image: hit, false positive or ignored.

    VOC's rule: every detection is matched to the object it overlaps most. If the overlap is too
    small, it is a false positive. If the object is difficult, it is ignored. Otherwise, of all
    detections matched to an object, the one of the highest score finds it; the others are false
    positives.

    Parameters
    ----------
    iou
        (D, M) overlap of detections and objects, 0 where the classes differ.
    scores
        (D,)
    difficult
        (M,) bool.
    iou_threshold
        A detection needs this IoU or more.

    Returns
    -------
    outcomes
        (D,) int8: ``HIT``, ``FALSE_POSITIVE`` or ``IGNORED``.

    Notes
    -----
    VOC's own kit (``VOCevaldet.m``), ChainerCV and mmdetection have ``>=`` as here. py-faster-rcnn
    and detectron2 have ``>``, as in VOC's papers ("must exceed 50%"). COCO gives a detection
    the object it overlaps most among those *still free*.

    Ties: of objects overlapped equally, the first; of detections of equal score, the first. The
    second tie makes no difference to a curve, where equal scores are one point.
    """
    D, M = iou.shape
    outcomes = np.full(D, FALSE_POSITIVE, dtype=np.int8)
    if not M:
        return outcomes
    matched = iou.argmax(axis=1)
    enough = iou.max(axis=1) >= iou_threshold
    outcomes[enough & difficult[matched]] = IGNORED
    candidates = np.flatnonzero(enough & ~difficult[matched])
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    _, first = np.unique(matched[candidates], return_index=True)
    outcomes[candidates[first]] = HIT
    return outcomes


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """A precision-recall curve: one point for each score that occurs.

    Parameters
    ----------
    scores
        (P,) the different scores, highest first. A point counts all detections of its score or
        more.
    hits
        (P,) int64, how many of these find an object.
    false_positives
        (P,) int64, how many do not.
    positives
        How many objects there are to find.
    """

    scores: np.ndarray
    hits: np.ndarray
    false_positives: np.ndarray
    positives: int

    @property
    def recall(self) -> np.ndarray:
        """Share of the objects found, (P,), which never falls; nan if there is no object."""
        if not self.positives:
            return np.full(len(self.hits), np.nan)
        return self.hits / self.positives

    @property
    def precision(self) -> np.ndarray:
        """Share of the detections that find an object, (P,)."""
        return self.hits / (self.hits + self.false_positives)

    @property
    def found(self) -> int:
        """How many objects all detections together find."""
        return int(self.hits[-1]) if len(self.hits) else 0

    @property
    def wrong(self) -> int:
        """How many of all detections find no object."""
        return int(self.false_positives[-1]) if len(self.hits) else 0


def precision_recall(scores: np.ndarray, hits: np.ndarray, positives: int) -> PrecisionRecall:
    """Return the precision-recall curve of scored detections.

    Parameters
    ----------
    scores
        (D,) floating point, in any order.
    hits
        (D,) bool: whether the detection finds an object that no better one has found.
    positives
        How many objects there are.

    Notes
    -----
    Ties: detections of equal score are counted together and make one point. No threshold separates
    them, so none of them comes first, and the curve does not depend on their order in the input.
    scikit-learn does the same. Tools that make a point of each detection give a curve that depends
    on how they happen to sort.

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
    """Return the best precision at each point or any later one, (P,): it never rises.

    This is VOC's *interpolated* precision. It removes the zigzag of the curve: a user who needs a
    recall of r can also accept a higher recall, where precision is better.

    Examples
    --------
    >>> envelope(np.array([1.0, 0.5, 0.6, 0.4])).tolist()
    [1.0, 0.6, 0.6, 0.4]
    """
    return np.maximum.accumulate(precision[::-1])[::-1]


def eleven_point(curve: PrecisionRecall) -> float:
    """Return VOC's average precision until 2009: the mean over eleven points of recall.

    ``1/11 sum over r in {0, 0.1, ..., 1} of max(precision where recall >= r)``; the maximum is 0
    for a recall that is never reached. nan without objects.

    Notes
    -----
    Recall and the eleven points are both quotients of whole numbers, rounded once, so that three
    objects of ten do reach 0.3. py-faster-rcnn, detectron2, ChainerCV, mmdetection and VOC's own
    kit (MATLAB's ``0:0.1:1``) add up steps of 0.1: there 0.1 + 0.1 + 0.1 is a little more than 0.3,
    and three of ten do not reach it.
    """
    if not curve.positives:
        return float("nan")
    reached = curve.recall >= np.arange(11)[:, None] / 10  # (11, P)
    return float(np.where(reached, curve.precision, 0.0).max(axis=1, initial=0.0).mean())


def area_under_curve(curve: PrecisionRecall) -> float:
    """Return VOC's average precision since 2010: the area under the envelope.

    ``sum over points of (recall - recall before) * envelope``. Recall rises by 1 / positives with
    each object found. So this is a mean over all objects: the envelope where the object is found, 0
    if it is not. Computed in this way, a perfect list gives exactly 1. nan without objects.
    """
    if not curve.positives:
        return float("nan")
    newly_found = np.diff(curve.hits, prepend=0)
    return float((newly_found * envelope(curve.precision)).sum() / curve.positives)


AVERAGES: dict[Method, Callable[[PrecisionRecall], float]] = {
    "voc07": eleven_point,
    "area": area_under_curve,
}
"""The function that reduces a curve to one number, for each method."""


@dataclass(frozen=True, eq=False)
class APResult:
    """Precision and recall of detections, class by class.

    Parameters
    ----------
    classes
        The names, in the order of their numbers; L of them.
    curves
        The precision-recall curve of each class. Detections on difficult objects are in none.
    ignored
        For each class, how many detections were on difficult objects.
    iou_threshold
        A detection finds an object at this IoU or more.
    method
        The average that `ap` and `mean_ap` give; `ap_by` and `mean_by` give both.
    """

    classes: tuple[str, ...]
    curves: tuple[PrecisionRecall, ...]
    ignored: tuple[int, ...]
    iou_threshold: float
    method: Method

    @property
    def ap(self) -> np.ndarray:
        """Average precision of each class by `method`, (L,); nan for a class without objects."""
        return self.ap_by(self.method)

    @property
    def mean_ap(self) -> float:
        """Mean average precision (mAP) by `method`; see `mean_by`."""
        return self.mean_by(self.method)

    def ap_by(self, method: Method) -> np.ndarray:
        """Return the average precision of each class, (L,); nan for a class without objects."""
        return np.array([AVERAGES[method](curve) for curve in self.curves])

    def mean_by(self, method: Method) -> float:
        """Return the mean over the classes that have objects; nan if none has."""
        ap = self.ap_by(method)
        known = ap[~np.isnan(ap)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def without_objects(self) -> tuple[str, ...]:
        """The classes without an object to find, which the mean leaves out."""
        pairs = zip(self.classes, self.curves, strict=True)
        return tuple(name for name, curve in pairs if not curve.positives)

    def to_dict(self) -> dict[str, Any]:
        """Return lists and numbers for JSON, nan as None; `from_dict` is the inverse."""
        rows = zip(self.classes, self.curves, self.ignored, strict=True)
        return {
            "method": self.method,
            "iou_threshold": self.iou_threshold,
            "mean_ap": {method: to_plain(self.mean_by(method)) for method in AVERAGES},
            "classes": [
                {
                    "name": name,
                    "ap": {method: to_plain(AVERAGES[method](curve)) for method in AVERAGES},
                    "objects": curve.positives,
                    "ignored": ignored,
                    "scores": curve.scores.tolist(),
                    "hits": curve.hits.tolist(),
                    "false_positives": curve.false_positives.tolist(),
                }
                for name, curve, ignored in rows
            ],
        }

    @classmethod
    def from_dict(cls, plain: Any, where: str = "precision") -> APResult:
        """Return the result that `to_dict` wrote; other keys are ignored.

        Parameters
        ----------
        plain
            What the JSON file says.
        where
            The file, and the place in it, for messages.

        Raises
        ------
        InputError
            A key that `to_dict` writes is missing, or its value cannot be what was measured.
        """
        read = Fields(plain, where)
        rows = read.get("classes", list_of(Fields, most=_MOST_CLASSES))
        return cls(
            classes=tuple(row.get("name", text(MOST_NAME)) for row in rows),
            curves=tuple(map(_stored_curve, rows)),
            ignored=tuple(row.get("ignored", whole()) for row in rows),
            iou_threshold=read.get("iou_threshold", number(0, 1)),
            method=read.get("method", choice(*get_args(Method))),
        )

    def table(self) -> str:
        """Return a table for the terminal: a row for each class, "-" for nan."""
        rows = [["class", "objects", "found", "false", *(f"AP {method}" for method in AVERAGES)]]
        for name, curve in zip(self.classes, self.curves, strict=True):
            averages = (share_text(AVERAGES[method](curve)) for method in AVERAGES)
            shown = elided(printable(name))
            rows.append(
                [shown, str(curve.positives), str(curve.found), str(curve.wrong), *averages]
            )
        means = (share_text(self.mean_by(method)) for method in AVERAGES)
        rows.append(["mean", "", "", "", *means])
        wide = max(len(name) for name, *_ in rows)
        lines = ["".join([f"{n:<{wide}}", *(f"{c:>10}" for c in cells)]) for n, *cells in rows]
        objects, threshold = sum(curve.positives for curve in self.curves), self.iou_threshold
        lines.append(f"{objects} objects; a detection finds one at an IoU of {threshold:g}.")
        if ignored := sum(self.ignored):
            what = "on difficult objects or ignored regions"
            lines.append(f"{ignored} detections {what} count neither way.")
        if without := self.without_objects:
            lines.append(f"No objects, so left out of the mean: {', '.join(map(elided, without))}.")
        return "\n".join(lines)


def _stored_curve(row: Fields) -> PrecisionRecall:
    """Return the curve of a class from a file, if it is one."""
    scores = row.get("scores", array_of(float, -MOST_NUMBER, MOST_NUMBER))
    counted = array_of(int, 0, MOST_WHOLE)
    hits, false_positives = row.get("hits", counted), row.get("false_positives", counted)
    objects = row.get("objects", whole())
    if not len(scores) == len(hits) == len(false_positives):
        raise row.wrong("scores, hits, false_positives: expected as many of each")
    # Down the list of detections no count falls, and each point counts more of them.
    rises = all((np.diff(counts) >= 0).all() for counts in (hits, false_positives))
    detections = np.diff(hits + false_positives, prepend=0)
    if not rises or (np.diff(scores) >= 0).any() or (detections <= 0).any():
        raise row.wrong("scores, hits, false_positives: expected falling scores, rising counts")
    if len(hits) and hits[-1] > objects:
        raise row.wrong(f"hits: expected at most the {objects} objects, got {hits[-1]}")
    return PrecisionRecall(scores, hits, false_positives, objects)


def _check_arguments(
    detections: Sequence[Detections],
    gt_boxes: Sequence[Array],
    gt_classes: Sequence[Array],
    difficult: Sequence[Array] | None,
    count: int,
) -> None:
    """Raise on the first argument of `average_precision` that is wrong."""
    check_image_counts(
        detections=detections, gt_boxes=gt_boxes, gt_classes=gt_classes, difficult=difficult
    )
    for index, of_image in enumerate(detections):
        check_box_list(of_image.boxes, f"detections[{index}].boxes")
        D, M = of_image.boxes.shape[0], gt_boxes[index].shape[0]
        check_shape(of_image.scores, (D,), f"detections[{index}].scores")
        if not np.isfinite(to_host(of_image.scores)).all():
            raise ValueError(f"detections[{index}].scores: not all are finite")
        _check_classes(of_image.classes, D, count, f"detections[{index}].classes")
        check_box_list(gt_boxes[index], f"gt_boxes[{index}]")
        _check_classes(gt_classes[index], M, count, f"gt_classes[{index}]")
        if difficult is not None:
            check_shape(difficult[index], (M,), f"difficult[{index}]")


def _check_classes(labels: Array, length: int, count: int, name: str) -> None:
    """Raise unless `labels` are `length` positions among `count` classes."""
    check_shape(labels, (length,), name)
    on_host = to_host(labels)
    if on_host.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected whole numbers, got {on_host.dtype}")
    if length and not 0 <= on_host.min() <= on_host.max() < count:
        raise ValueError(f"{name}: expected positions in {count} classes")
