"""Greedy non-maximum suppression of boxes in score order: the ladder ``nms``."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.nms import nms_cuda
from minirpn.kernels.iou import iou_xp, pair_iou, vector_iou


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


# Kept boxes that a candidate is compared with before it is asked whether one covers it.
BLOCK = 64


def nms_blocks(boxes: Array, iou_threshold: float, kept: Array, kept_columns: Array) -> int:
    """Write which boxes stay into `kept` and return how many do; as `nms_loops`.

    A candidate is compared with a block of kept boxes at once, in vectors: more comparisons, and
    yet sooner done. The kept boxes lie in `kept_columns` x1, y1, x2, y2 and area (5, max_keep).
    """
    x1, y1, x2, y2 = kept_columns[0], kept_columns[1], kept_columns[2], kept_columns[3]
    areas = kept_columns[4]
    count = 0
    for candidate in range(len(boxes)):
        if count == len(kept):
            break
        box = boxes[candidate]
        area = (box[2] - box[0]) * (box[3] - box[1])
        covering = 0
        for start in range(0, count, BLOCK):
            for k in range(start, min(start + BLOCK, count)):
                overlap = vector_iou(x1[k], y1[k], x2[k], y2[k], areas[k], box, area)
                covering += overlap > iou_threshold
            if covering:
                break
        if not covering:
            kept[count] = candidate
            x1[count], y1[count], x2[count], y2[count] = box
            areas[count] = area
            count += 1
    return count


_nms_blocks = compiled(nms_blocks, vector_iou)


def nms_numba(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay, from compiled loops in vectors; see `nms_loops`."""
    # NumPy compares an array with a Python float in the array's dtype; so must the machine code.
    threshold = boxes.dtype.type(iou_threshold)
    kept = np.empty(min(max_keep, len(boxes)), np.int64)
    columns = np.empty((5, len(kept)), boxes.dtype)
    count = _nms_blocks(np.ascontiguousarray(boxes), threshold, kept, columns)
    return kept[:count]


NMS = Ladder(
    "nms",
    (
        Rung("loops", nms_loops, takes=is_numpy),
        Rung("xp", nms_xp),
        Rung("numba", nms_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", nms_cuda, takes=on_cuda, present=cuda_present),
    ),
)
