"""Greedy non-maximum suppression of boxes in score order: the ladder ``nms``."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.iou import iou_xp, pair_iou


def nms_loops(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay, asking of each whether a better one that stayed covers it.

    Parameters
    ----------
    boxes
        (N, 4), highest score first.
    iou_threshold
        A box goes when its IoU with a better one that stayed is above this.
    max_keep
        Stop when this many have stayed.

    Returns
    -------
    Array
        (R,) int64 positions in `boxes`, ascending; R <= max_keep.
    """
    kept = np.zeros(min(max_keep, len(boxes)), dtype=np.int64)
    # A copy side by side: the inner loop reads it from end to end.
    kept_boxes = np.zeros((len(kept), 4), dtype=boxes.dtype)
    count = 0
    for candidate in range(len(boxes)):
        if count == len(kept):
            break
        covered = False
        for better in range(count):
            if pair_iou(kept_boxes[better], boxes[candidate]) > iou_threshold:
                covered = True
                break
        if not covered:
            kept[count] = candidate
            kept_boxes[count] = boxes[candidate]
            count += 1
    return kept[:count]


def nms_xp(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay, taking the best left and dropping what it covers, again and again.

    The arguments and the result are those of `nms_loops`.
    """
    xp = namespace_of(boxes)
    left = xp.arange(boxes.shape[0], dtype=xp.int64, device=device_of(boxes))
    kept = [left[:0]]
    while left.shape[0] and len(kept) <= max_keep:
        best, others = left[:1], left[1:]
        kept.append(best)
        overlaps = iou_xp(xp.take(boxes, best, axis=0), xp.take(boxes, others, axis=0))
        left = others[~(overlaps[0, :] > iou_threshold)]
    return xp.concat(kept)


_nms_machine = compiled(nms_loops, pair_iou)


def nms_numba(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay, from the compiled loops; see `nms_loops`."""
    # NumPy compares an array with a Python float in the array's dtype; so must the machine code.
    threshold = boxes.dtype.type(iou_threshold)
    return _nms_machine(np.ascontiguousarray(boxes), threshold, max_keep)


NMS = Ladder(
    "nms",
    (
        Rung("loops", nms_loops, host_only=True),
        Rung("xp", nms_xp),
        Rung("numba", nms_numba, host_only=True, present=numba_present),
    ),
)
