"""Labels of anchors as people first write them, each wrong in one way; see `mistakes_boxes`."""

from __future__ import annotations

from collections.abc import Callable
from operator import ge, gt, le, lt

import numpy as np

from minirpn.boxes import is_inside
from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE
from minirpn.testing import exact

Compare = Callable[[np.ndarray, float], np.ndarray]


def _labels(
    anchors: np.ndarray,
    gt_boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    is_positive: Compare = ge,
    is_negative: Compare = lt,
    best: bool = True,
    all_ties: bool = True,
    touching: bool = True,
    inside_only: bool = True,
    best_inside: bool = True,
    negatives_last: bool = False,
) -> np.ndarray:
    """Return the labels by the book; each option spoils one of its rules."""
    overlaps = exact.iou(anchors, gt_boxes)
    inside = is_inside(anchors, image_size) if inside_only else np.ones(len(anchors), dtype=bool)
    highest = overlaps.max(axis=1, initial=0)
    chosen = np.zeros(len(anchors), dtype=bool)
    for column in overlaps.T if best else ():
        open_column = np.where(inside, column, 0) if best_inside else column
        reaches = (open_column == open_column.max(initial=0)) & (
            open_column > 0 if touching else True
        )
        chosen |= reaches if all_ties else reaches & (np.cumsum(reaches) == 1)
    positive = is_positive(highest, 0.7) | chosen
    negative = is_negative(highest, 0.3)
    rules = [(NEGATIVE, negative), (POSITIVE, positive)]
    labels = np.full(len(anchors), IGNORE)
    for label, mask in reversed(rules) if negatives_last else rules:
        labels[mask & inside] = label
    return labels


def strict_positive(
    anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """An IoU of exactly 0.7 is positive: >= it is, not >."""
    return _labels(anchors, gt_boxes, image_size, is_positive=gt)


def lax_negative(
    anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """An IoU of exactly 0.3 is not negative: < it is, not <=."""
    return _labels(anchors, gt_boxes, image_size, is_negative=le)


def no_best(anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Where is rule (i)? The best anchor of a ground truth is positive, whatever its IoU."""
    return _labels(anchors, gt_boxes, image_size, best=False)


def first_of_ties(
    anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Several anchors can tie for the best of a ground truth: all of them are positive."""
    return _labels(anchors, gt_boxes, image_size, all_ties=False)


def untouched_takes_all(
    anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """A ground truth that no anchor touches has no best anchor: 0 == 0 is no tie."""
    return _labels(anchors, gt_boxes, image_size, touching=False)


def outside_too(
    anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Anchors that cross the border of the image are ignored."""
    return _labels(anchors, gt_boxes, image_size, inside_only=False)


def best_from_outside(
    anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """Take the best anchor from those inside the image."""
    return _labels(anchors, gt_boxes, image_size, best_inside=False)


def negatives_last(
    anchors: np.ndarray, gt_boxes: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """A best anchor stays positive where its IoU is below 0.3: set the positives last."""
    return _labels(anchors, gt_boxes, image_size, negatives_last=True)


LABELS = (
    strict_positive,
    lax_negative,
    no_best,
    first_of_ties,
    untouched_takes_all,
    outside_too,
    best_from_outside,
    negatives_last,
)
