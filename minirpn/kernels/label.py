"""Which anchors are positive and which negative, as loops, for the ladder in `rpn.targets`."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array, ImageSize
from minirpn.kernels.assign import assign_loops


def label_loops(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    positive_iou: float,
    negative_iou: float,
    tie_tolerance: float,
    inside_only: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return labels, matched_gt, max_iou, is_best (K,) and gt_max_iou (M,), anchor by anchor.

    The label of an anchor is 1, 0 or -1: positive, negative or ignored; see
    `minirpn.rpn.label_anchors`.
    """
    height, width = image_size
    eligible = np.ones(len(anchors), np.bool_)
    if inside_only:
        for k, (x1, y1, x2, y2) in enumerate(anchors):
            eligible[k] = x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height
    doubles = anchors.astype(np.float64), gt_boxes.astype(np.float64)
    found = assign_loops(*doubles, eligible, tie_tolerance)
    max_iou, matched_gt, gt_max_iou, is_best = found
    labels = np.full(len(anchors), -1, np.int8)
    for k in range(len(anchors)):
        if not eligible[k]:
            continue
        if is_best[k] or max_iou[k] >= positive_iou:
            labels[k] = 1
        elif max_iou[k] < negative_iou:
            labels[k] = 0
    return labels, matched_gt, max_iou, is_best, gt_max_iou
