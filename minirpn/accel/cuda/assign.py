"""Launches ``assign.cu``, for the operations assign and label."""

from __future__ import annotations

from minirpn._typing import Array, ImageSize
from minirpn.accel.cuda._load import Kernel, contiguous, for_each, real_of
from minirpn.backend import device_of, namespace_of


def assign_cuda(
    anchors: Array,
    gt_boxes: Array,
    eligible: Array,
    tie_tolerance: float,
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment`, a thread for each anchor; see `minirpn.loops.assign`.

    Memory grows with K + M, never with their product: overlaps are computed twice, not kept.
    """
    xp, device = namespace_of(anchors, gt_boxes, eligible), device_of(anchors)
    (K, _), (M, _), dtype = anchors.shape, gt_boxes.shape, real_of(anchors)
    pairs = contiguous(anchors), contiguous(gt_boxes), contiguous(eligible)
    max_iou = xp.empty(K, dtype=xp.float64, device=device)
    matched_gt = xp.empty(K, dtype=xp.int64, device=device)
    gt_max_iou = xp.zeros(M, dtype=xp.float64, device=device)
    is_best = xp.empty(K, dtype=xp.bool, device=device)
    maxima, best = Kernel("assign", "assign_maxima", dtype), Kernel("assign", "assign_best", dtype)
    for_each(maxima, (K, 1), *pairs, max_iou, matched_gt, gt_max_iou, K, M)
    # After the last maximum: launches on a device run one after the other.
    for_each(best, (K, 1), *pairs, max_iou, gt_max_iou, is_best, K, M, float(tie_tolerance))
    return max_iou, matched_gt, gt_max_iou, is_best


def label_cuda(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    positive_iou: float,
    negative_iou: float,
    tie_tolerance: float,
    inside_only: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return what `minirpn.loops.label` does, in two launches: overlaps, then labels."""
    xp, device = namespace_of(anchors, gt_boxes), device_of(anchors)
    # Overlaps are double, so that equal coordinates have equal ones in either dtype.
    anchors, gt_boxes = (
        contiguous(xp.astype(boxes, xp.float64, copy=False)) for boxes in (anchors, gt_boxes)
    )
    K, M = anchors.shape[0], gt_boxes.shape[0]
    max_iou = xp.empty(K, dtype=xp.float64, device=device)
    matched_gt = xp.empty(K, dtype=xp.int64, device=device)
    gt_max_iou = xp.zeros(M, dtype=xp.float64, device=device)
    labels = xp.empty(K, dtype=xp.int8, device=device)
    is_best = xp.empty(K, dtype=xp.bool, device=device)
    sizes = K, M, *map(int, image_size), inside_only
    maxima = Kernel("assign", "label_maxima", "float64")
    for_each(maxima, (K, 1), anchors, gt_boxes, max_iou, matched_gt, gt_max_iou, *sizes)
    thresholds = float(positive_iou), float(negative_iou), float(tie_tolerance)
    results = max_iou, gt_max_iou, labels, is_best
    best = Kernel("assign", "label_best", "float64")
    for_each(best, (K, 1), anchors, gt_boxes, *results, *sizes, *thresholds)
    return labels, matched_gt, max_iou, is_best, gt_max_iou
