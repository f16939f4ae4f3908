"""Who overlaps whom best, among anchors and ground truths: the ladder ``assign``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.iou import iou_xp, pair_iou


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


_assign_machine = compiled(assign_loops, pair_iou)


def assign_numba(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment` from the compiled loops; see `assign_loops`."""
    return _assign_machine(
        np.ascontiguousarray(anchors),
        np.ascontiguousarray(gt_boxes),
        np.ascontiguousarray(eligible),
        float(tie_tolerance),
    )


ASSIGN = Ladder(
    "assign",
    (
        Rung("loops", assign_loops, host_only=True),
        Rung("xp", assign_xp),
        Rung("numba", assign_numba, host_only=True, present=numba_present),
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
