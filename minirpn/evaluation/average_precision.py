"""Average precision of detections, as PASCAL VOC measures it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minirpn import boxes
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.detector import Detections
from minirpn.evaluation.ap_result import APResult
from minirpn.evaluation.precision_recall import AVERAGES, Method, precision_recall

HIT = 1
FALSE_POSITIVE = 0
IGNORED = -1


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
    """Return precision, recall and average precision of detections, class by class.

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
        counts neither way.
    iou_threshold
        The IoU from which on a detection finds an object, reached or exceeded.
    method
        ``"voc07"``, the mean over eleven points of recall, which the paper's numbers are in;
        ``"area"``, the area under the curve, VOC's since 2010. The result knows both; this says
        which one is its `ap`.

    Returns
    -------
    APResult
        nan for a class without an object that is not difficult; the mean leaves it out.

    Raises
    ------
    ValueError
        The lists differ in length, an array in shape; a class is none; a score is not finite; no
        such threshold or method.
    TypeError
        Boxes are not floating point.

    Notes
    -----
    Each detection asks for the object of its class and image that it overlaps most, and for no
    other: if a better detection has that one, it is a false positive, however well it fits another.
    Everything else is in `match_detections` and in `minirpn.evaluation.precision_recall`.

    Ties: of objects overlapped equally the first in `gt_boxes` is asked for; detections of equal
    score are counted together, so that neither their order nor that of the images matters.

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
    scores, found_classes, outcomes = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, np.int8)]
    positives = np.zeros(len(classes), dtype=np.int64)
    for index, found in enumerate(detections):
        object_classes = to_host(gt_classes[index]).astype(np.int64)
        hard = np.zeros(len(object_classes), dtype=bool)
        if difficult is not None:
            hard = to_host(difficult[index]).astype(bool)
        positives += np.bincount(object_classes[~hard], minlength=len(classes))
        scores.append(to_host(found.scores).astype(np.float64))
        found_classes.append(to_host(found.classes))
        iou = _iou_within_class(found, gt_boxes[index], object_classes)
        outcomes.append(match_detections(iou, scores[-1], hard, iou_threshold=iou_threshold))
    score, klass, outcome = map(np.concatenate, (scores, found_classes, outcomes))
    curves, ignored = [], []
    for label, count in enumerate(positives.tolist()):
        counted = (klass == label) & (outcome != IGNORED)
        curves.append(precision_recall(score[counted], outcome[counted] == HIT, count))
        ignored.append(int(((klass == label) & (outcome == IGNORED)).sum()))
    return APResult(tuple(classes), tuple(curves), tuple(ignored), iou_threshold, method)


def match_detections(
    iou: np.ndarray, scores: np.ndarray, difficult: np.ndarray, *, iou_threshold: float = 0.5
) -> np.ndarray:
    """Return what became of each detection in an image: found an object, found none, no matter.

    VOC's rule: every detection asks for the object it overlaps most. If the overlap is too small,
    it is a false positive. If the object is difficult, it is ignored. Otherwise the detection of
    the highest score among those that ask for an object has found it, the others are false
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
        What is enough, reached or exceeded.

    Returns
    -------
    outcomes
        (D,) int8: ``HIT``, ``FALSE_POSITIVE`` or ``IGNORED``.

    Notes
    -----
    VOC's own kit (``VOCevaldet.m``) has ``>=`` as here, and so have ChainerCV and mmdetection;
    py-faster-rcnn and detectron2 want more than the threshold, as VOC's papers put it ("must exceed
    50%"). COCO gives a detection the object it overlaps most among those *still free*.

    Ties: of objects overlapped equally the first is asked for; of detections of equal score the
    first finds. The second tie cannot be seen in a curve, where equal scores are one point.
    """
    D, M = iou.shape
    outcomes = np.full(D, FALSE_POSITIVE, dtype=np.int8)
    if not M:
        return outcomes
    asked_for = iou.argmax(axis=1)
    enough = iou.max(axis=1) >= iou_threshold
    outcomes[enough & difficult[asked_for]] = IGNORED
    finders = np.flatnonzero(enough & ~difficult[asked_for])
    finders = finders[np.argsort(-scores[finders], kind="stable")]
    _, first = np.unique(asked_for[finders], return_index=True)
    outcomes[finders[first]] = HIT
    return outcomes


def _iou_within_class(found: Detections, gt_boxes: Array, gt_classes: np.ndarray) -> np.ndarray:
    """Return (D, M) the overlap of detections and objects of the same class, 0 for the others."""
    overlap = boxes.iou(
        to_host(found.boxes).astype(np.float64), to_host(gt_boxes).astype(np.float64)
    )
    return np.where(to_host(found.classes)[:, None] == gt_classes, overlap, 0.0)


def _check_arguments(
    detections: Sequence[Detections],
    gt_boxes: Sequence[Array],
    gt_classes: Sequence[Array],
    difficult: Sequence[Array] | None,
    count: int,
) -> None:
    """Raise on the first image of `average_precision` that something is wrong with."""
    parts = {"gt_boxes": gt_boxes, "gt_classes": gt_classes, "difficult": difficult}
    for name, part in parts.items():
        if part is not None and len(part) != len(detections):
            raise ValueError(f"detections of {len(detections)} images, {name} of {len(part)}")
    for index, found in enumerate(detections):
        check_box_list(found.boxes, f"detections[{index}].boxes")
        D, M = found.boxes.shape[0], gt_boxes[index].shape[0]
        check_shape(found.scores, (D,), f"detections[{index}].scores")
        if not np.isfinite(to_host(found.scores)).all():
            raise ValueError(f"detections[{index}].scores: not all are finite")
        _check_classes(found.classes, D, count, f"detections[{index}].classes")
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
