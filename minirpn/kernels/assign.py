"""Who overlaps whom best, among anchors and ground truths: the ladder ``assign``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.assign import assign_cuda
from minirpn.kernels.iou import as_columns, iou_xp, pair_iou, vector_iou


class Assignment(NamedTuple):
    """The best partners of K anchors and M ground truths."""

    max_iou: Array  # (K,) float64: the best IoU of an anchor with any ground truth
    matched_gt: Array  # (K,) int64: that ground truth, the first of equals; -1 if there is none
    gt_max_iou: Array  # (M,) float64: the best IoU of a ground truth with any eligible anchor
    is_best: Array  # (K,) bool: eligible, and reaches the best IoU of a ground truth it touches


def assign_loops(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment`, in two walks over all pairs.

    The second walk computes each IoU again instead of keeping all K x M of them.

    Parameters
    ----------
    anchors, gt_boxes
        (K, 4) and (M, 4), float64.
    eligible
        (K,) bool: the anchors a ground truth may choose its best from.
    tie_tolerance
        An anchor reaches a best IoU from this much below it.
    """
    max_iou = np.zeros(len(anchors))
    matched_gt = np.full(len(anchors), -1)
    gt_max_iou = np.zeros(len(gt_boxes))
    for k in range(len(anchors)):
        for m in range(len(gt_boxes)):
            overlap = pair_iou(anchors[k], gt_boxes[m])
            if overlap > max_iou[k] or m == 0:
                max_iou[k] = overlap
                matched_gt[k] = m
            if eligible[k] and overlap > gt_max_iou[m]:
                gt_max_iou[m] = overlap

    is_best = np.zeros(len(anchors), dtype=np.bool_)
    for k in range(len(anchors)):
        if not eligible[k] or max_iou[k] == 0:
            continue
        for m in range(len(gt_boxes)):
            overlap = pair_iou(anchors[k], gt_boxes[m])
            if overlap > 0 and overlap >= gt_max_iou[m] - tie_tolerance:
                is_best[k] = True
                break
    return max_iou, matched_gt, gt_max_iou, is_best


def assign_xp(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment` from the whole (K, M) matrix of overlaps.

    The arguments are those of `assign_loops`.
    """
    xp = namespace_of(anchors, gt_boxes, eligible)
    (K, _), (M, _), device = anchors.shape, gt_boxes.shape, device_of(anchors)
    if K == 0 or M == 0:  # a maximum over nothing is an error
        return (
            xp.zeros(K, dtype=xp.float64, device=device),
            xp.full(K, -1, dtype=xp.int64, device=device),
            xp.zeros(M, dtype=xp.float64, device=device),
            xp.zeros(K, dtype=xp.bool, device=device),
        )
    overlaps = iou_xp(anchors, gt_boxes)
    open_overlaps = xp.where(eligible[:, None], overlaps, xp.zeros_like(overlaps))
    gt_max_iou = xp.max(open_overlaps, axis=0)
    reaches = (open_overlaps > 0) & (open_overlaps >= gt_max_iou[None, :] - tie_tolerance)
    return (
        xp.max(overlaps, axis=1),
        xp.argmax(overlaps, axis=1),
        gt_max_iou,
        xp.any(reaches, axis=1),
    )


# Anchors that meet the ground truths together: their columns stay in the first-level cache.
BLOCK = 512


def assign_columns(
    columns: Array,
    gt_boxes: Array,
    eligible: Array,
    tie_tolerance: float,
    max_iou: Array,
    matched_gt: Array,
    gt_max_iou: Array,
    is_best: Array,
) -> None:
    """Write the fields of `Assignment` into the last four; as `assign_loops`.

    A block of anchors meets one ground truth after the other, in vectors. The anchors lie in
    `columns` x1, y1, x2, y2 and area (5, K). Memory grows with K + M, never with their product.
    """
    x1, y1, x2, y2, areas = columns[0], columns[1], columns[2], columns[3], columns[4]
    max_iou[:] = 0
    matched_gt[:] = 0 if len(gt_boxes) else -1
    # The best of a ground truth is kept for each place in a block, since a maximum over all
    # anchors is one chain of comparisons, which a vector does not shorten.
    best = np.zeros((len(gt_boxes), BLOCK))
    for start in range(0, len(areas), BLOCK):
        count = min(BLOCK, len(areas) - start)
        own = slice(start, start + count)
        ax1, ay1, ax2, ay2, aarea = x1[own], y1[own], x2[own], y2[own], areas[own]
        top, match, open_to_all = max_iou[own], matched_gt[own], eligible[own]
        for m in range(len(gt_boxes)):
            box, best_of_gt = gt_boxes[m], best[m]
            area = (box[2] - box[0]) * (box[3] - box[1])
            for k in range(count):
                overlap = vector_iou(ax1[k], ay1[k], ax2[k], ay2[k], aarea[k], box, area)
                match[k] = m if overlap > top[k] else match[k]
                top[k] = overlap if overlap > top[k] else top[k]
                wins = open_to_all[k] & (overlap > best_of_gt[k])
                best_of_gt[k] = overlap if wins else best_of_gt[k]
    for m in range(len(gt_boxes)):
        gt_max_iou[m] = best[m].max()

    is_best[:] = False
    for m in range(len(gt_boxes)):
        box = gt_boxes[m]
        area = (box[2] - box[0]) * (box[3] - box[1])
        enough = gt_max_iou[m] - tie_tolerance
        for k in range(len(areas)):
            overlap = vector_iou(x1[k], y1[k], x2[k], y2[k], areas[k], box, area)
            is_best[k] |= eligible[k] & (overlap > 0) & (overlap >= enough)


_assign_columns = compiled(assign_columns, vector_iou)


def assign_numba(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment` from compiled loops in vectors; see `assign_loops`."""
    K, M = len(anchors), len(gt_boxes)
    found = np.empty(K), np.empty(K, np.int64), np.empty(M), np.empty(K, np.bool_)
    _assign_columns(
        as_columns(anchors),
        np.ascontiguousarray(gt_boxes),
        np.ascontiguousarray(eligible),
        float(tie_tolerance),
        *found,
    )
    return found


ASSIGN = Ladder(
    "assign",
    (
        Rung("loops", assign_loops, takes=is_numpy),
        Rung("xp", assign_xp),
        Rung("numba", assign_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", assign_cuda, takes=on_cuda, present=cuda_present),
    ),
)


def assign(anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float) -> Assignment:
    """Return for every anchor its best ground truth, and for every ground truth its best anchors.

    The overlaps are float64 whatever the dtype of the boxes, so that equal coordinates give equal
    overlaps, ties included, in float32 and float64.

    Parameters
    ----------
    anchors, gt_boxes
        (K, 4) and (M, 4), floating point, pixels, half-open.
    eligible
        (K,) bool: the anchors a ground truth may choose its best from.
    tie_tolerance
        An anchor counts as best when its IoU is at most this much below the best.

    Returns
    -------
    Assignment
        ``max_iou``, ``matched_gt``, ``gt_max_iou``, ``is_best``.

    Notes
    -----
    Ties: an anchor that overlaps several ground truths equally is matched to the first; every
    anchor that reaches the best IoU of a ground truth is best. A ground truth without any overlap
    has no best anchor.
    """
    xp = namespace_of(anchors, gt_boxes, eligible)
    return Assignment(
        *ASSIGN(
            xp.astype(anchors, xp.float64, copy=False),
            xp.astype(gt_boxes, xp.float64, copy=False),
            eligible,
            tie_tolerance,
        )
    )
