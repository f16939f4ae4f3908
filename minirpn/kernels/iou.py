"""Intersection over union of every pair of boxes: the ladder ``iou``."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present


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


_iou_machine = compiled(iou_loops, pair_iou)


def iou_numba(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4) from the compiled loops: (N, M)."""
    return _iou_machine(np.ascontiguousarray(a), np.ascontiguousarray(b))


IOU = Ladder(
    "iou",
    (
        Rung("loops", iou_loops, host_only=True),
        Rung("xp", iou_xp),
        Rung("numba", iou_numba, host_only=True, present=numba_present),
    ),
)
