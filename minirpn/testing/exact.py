"""IoU, NMS, labels and average precision in exact fractions, without rounding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from minirpn._typing import Array, ImageSize
from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE


def pair_iou(a: Array, b: Array) -> Fraction:
    """Return the IoU of two boxes (4,), (4,) as a fraction; 0 if they share no area.

    Division in floating point gives the nearest float of it where the coordinates are whole
    numbers: ``float(pair_iou(a, b)) == minirpn.boxes.iou(a[None], b[None])[0, 0]`` in float64.

    Examples
    --------
    >>> pair_iou((0, 0, 2, 2), (0, 1, 2, 3))
    Fraction(1, 3)
    """
    ax1, ay1, ax2, ay2 = map(_exactly, a)
    bx1, by1, bx2, by2 = map(_exactly, b)
    width = min(ax2, bx2) - max(ax1, bx1)
    height = min(ay2, by2) - max(ay1, by1)
    if width <= 0 or height <= 0:
        return Fraction(0)
    shared = width * height
    return Fraction(shared, (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)


def _exactly(side: float) -> int | Fraction:
    """Return the exact number, a whole one as int: its arithmetic is several times faster."""
    number = float(side)
    return int(number) if number.is_integer() else Fraction(number)


_FINENESS, _FARTHEST = 16, 2**20  # steps a pixel, and pixels; the area has 50 bits at most


def _is_on_grid(boxes: np.ndarray) -> bool:
    """Return whether float64 holds the sides and areas of the boxes, and sums of two, exactly."""
    steps = boxes * _FINENESS
    return bool(np.all((steps == np.trunc(steps)) & (np.abs(boxes) <= _FARTHEST)))


def iou(a: Array, b: Array) -> np.ndarray:
    """Return the float64 nearest to the IoU of each pair of a (N, 4) and b (M, 4): (N, M).

    Coordinates that are multiples of 1/16 (all that `strategies` draw) are computed together in
    float64, where only the division rounds; others pair by pair, in fractions.
    """
    a, b = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (a, b))
    if not (_is_on_grid(a) and _is_on_grid(b)):
        overlaps = np.zeros((len(a), len(b)))
        for n, m in np.ndindex(overlaps.shape):
            overlaps[n, m] = float(pair_iou(a[n], b[m]))
        return overlaps
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    sides = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - low, 0)  # (N, M, 2)
    shared = sides[..., 0] * sides[..., 1]
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    covered = area_a[:, None] + area_b[None] - shared
    return np.asarray(shared / np.where(shared > 0, covered, 1))


def nms(boxes: Array, scores: Array, iou_threshold: float) -> list[int]:
    """Return the indices that greedy suppression keeps.

    The higher score comes first, of equal ones the lower index. An IoU equal to the threshold
    removes nothing.
    """
    overlaps = iou(boxes, boxes)
    left = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    kept = []
    while left:
        best, *others = left
        kept.append(best)
        left = [index for index in others if not overlaps[best, index] > iou_threshold]
    return kept


def batched_nms(boxes: Array, scores: Array, classes: Array, iou_threshold: float) -> list[int]:
    """Return the indices that `nms` keeps in each class, all together in order of score.

    Of equal scores the lower index comes first.
    """
    kept = []
    for one in np.unique(classes):
        members = np.flatnonzero(np.asarray(classes) == one)
        kept += [int(members[k]) for k in nms(boxes[members], scores[members], iou_threshold)]
    return sorted(kept, key=lambda index: (-scores[index], index))


def labels(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    *,
    positive_iou: float = 0.7,
    negative_iou: float = 0.3,
    inside_only: bool = True,
) -> np.ndarray:
    """Return the label of each anchor by the words of section 3.1.2: (K,) int8.

    Overlaps are those of `iou`, equal if the nearest float64 are.
    """
    height, width = image_size
    overlaps = iou(anchors, gt_boxes).tolist()
    inside = [min(x1, y1) >= 0 and x2 <= width and y2 <= height for x1, y1, x2, y2 in anchors]
    allowed = [within or not inside_only for within in inside]
    best = [
        max((row[m] for row, may in zip(overlaps, allowed, strict=True) if may), default=0.0)
        for m in range(len(gt_boxes))
    ]
    return np.array(
        [
            _label(row, best, positive_iou, negative_iou) if may else IGNORE
            for row, may in zip(overlaps, allowed, strict=True)
        ],
        dtype=np.int8,
    )


def _label(
    row: Sequence[float], best: Sequence[float], positive_iou: float, negative_iou: float
) -> int:
    """Return the label of an anchor from its overlaps and the best ones of the ground truths."""
    highest = max(row, default=0.0)
    if highest >= positive_iou or any(
        iou > 0 and iou == top for iou, top in zip(row, best, strict=True)
    ):
        return POSITIVE
    return NEGATIVE if highest < negative_iou else IGNORE


def average_precision(scores: Array, hits: Array, positives: int, *, method: str) -> float:
    """Return the float64 nearest to the average precision of scored answers.

    Parameters
    ----------
    scores
        (D,), in any order; equal ones make one point of the curve.
    hits
        (D,) bool, whether an answer finds an object.
    positives
        How many objects there are, at least 1.
    method
        ``"voc07"`` or ``"area"``; see `minirpn.evaluation.average_precision`.
    """
    points = []
    for least in sorted({float(score) for score in scores}, reverse=True):
        right = [bool(hit) for score, hit in zip(scores, hits, strict=True) if score >= least]
        points.append((Fraction(sum(right), positives), Fraction(sum(right), len(right))))

    def best_from(recall: Fraction) -> Fraction:
        return max((p for r, p in points if r >= recall), default=Fraction(0))

    if method == "voc07":
        return float(sum((best_from(Fraction(k, 10)) for k in range(11)), Fraction(0)) / 11)
    # One object after the other: the k-th is found where the recall reaches k / positives.
    objects = range(1, positives + 1)
    return float(sum((best_from(Fraction(k, positives)) for k in objects), Fraction(0)) / positives)
