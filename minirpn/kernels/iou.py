"""Intersection over union of every pair of boxes: the ladder ``iou``."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import is_numpy, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.iou import iou_cuda
from minirpn.kernels.threads import share

# Pairs in one piece of work. Fewer are not worth waking a second thread.
PIECE = 2**20
ZERO = np.float32(0)  # of no dtype wider than another's


def pair_iou(a: Array, b: Array) -> float:
    """Return the IoU of two boxes (4,), (4,): shared area over covered area.

    Boxes that share no area, empty ones among them, have IoU 0; so the division never meets 0/0.
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    if shared == 0:  # two positive sides whose product is too small for the dtype
        return 0.0
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    return shared / (area_a + area_b - shared)


def iou_loops(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4), one pair after the other: (N, M)."""
    overlaps = np.zeros((len(a), len(b)), dtype=a.dtype)
    for n in range(len(a)):
        for m in range(len(b)):
            overlaps[n, m] = pair_iou(a[n], b[m])
    return overlaps


def iou_xp(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4) by broadcasting: (N, M)."""
    xp = namespace_of(a, b)
    # (N, 1, 2) and (1, M, 2) -> (N, M, 2)
    upper_left = xp.maximum(a[:, None, :2], b[None, :, :2])
    lower_right = xp.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = _product_of_sides(xp, upper_left, lower_right)
    area_a = _product_of_sides(xp, a[:, :2], a[:, 2:])
    area_b = _product_of_sides(xp, b[:, :2], b[:, 2:])
    covered = area_a[:, None] + area_b[None, :] - shared
    # Dividing by one where nothing is shared keeps two empty boxes from being 0/0.
    return shared / xp.where(shared > 0, covered, xp.ones_like(covered))


def _product_of_sides(xp: Array, upper_left: Array, lower_right: Array) -> Array:
    """Return width times height (...,) between corners (..., 2); a negative side counts as 0."""
    sides = lower_right - upper_left
    sides = xp.where(sides > 0, sides, xp.zeros_like(sides))
    return sides[..., 0] * sides[..., 1]


def vector_iou(
    x1: Array, y1: Array, x2: Array, y2: Array, area: Array, box: Array, box_area: Array
) -> Array:
    """Return the IoU of a box given by coordinates and area with `box` (4,).

    The numbers are those of `pair_iou`, but there is no branch in it: in a loop over boxes whose
    coordinates lie in arrays of their own it compiles to vectors.
    """
    width = min(x2, box[2]) - max(x1, box[0])
    height = min(y2, box[3]) - max(y1, box[1])
    shared = width * height
    overlaps = (width > 0) & (height > 0) & (shared > 0)
    # Divided in any case, and forgotten where nothing is shared.
    overlap = shared / (area + box_area - shared)
    return overlap if overlaps else ZERO


def iou_rows(a: Array, columns: Array, overlaps: Array) -> None:
    """Write the IoU of a (N, 4) and of boxes in `columns` x1, y1, x2, y2 and area (5, M)."""
    x1, y1, x2, y2, areas = columns[0], columns[1], columns[2], columns[3], columns[4]
    for n in range(len(a)):
        box, row = a[n], overlaps[n]
        area = (box[2] - box[0]) * (box[3] - box[1])
        for m in range(len(row)):
            row[m] = vector_iou(x1[m], y1[m], x2[m], y2[m], areas[m], box, area)


_iou_rows = compiled(iou_rows, vector_iou)


def iou_numba(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4) from compiled loops in vectors: (N, M)."""
    a, columns = np.ascontiguousarray(a), as_columns(b)
    overlaps = np.empty((len(a), len(b)), a.dtype)
    step = max(1, PIECE // max(1, len(b)))
    if len(a) <= step:
        _iou_rows(a, columns, overlaps)
        return overlaps
    starts = range(0, len(a), step)
    share(lambda n: _iou_rows(a[n : n + step], columns, overlaps[n : n + step]), starts)
    return overlaps


def as_columns(boxes: Array) -> Array:
    """Return x1, y1, x2, y2 and area of boxes (M, 4), each in a row of its own: (5, M)."""
    columns = np.empty((5, len(boxes)), boxes.dtype)
    columns[:4] = boxes.T
    columns[4] = (columns[2] - columns[0]) * (columns[3] - columns[1])
    return columns


IOU = Ladder(
    "iou",
    (
        Rung("loops", iou_loops, takes=is_numpy),
        Rung("xp", iou_xp),
        Rung("numba", iou_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", iou_cuda, takes=on_cuda, present=cuda_present),
    ),
)
