"""Overlaps as exact fractions: an oracle that has no rounding to hide behind."""

from __future__ import annotations

from fractions import Fraction

from minirpn._typing import Array


def pair_iou(a: Array, b: Array) -> Fraction:
    """Return the IoU of two boxes (4,), (4,) as a fraction; 0 if they share no area.

    Division in floating point gives the nearest float of it where the coordinates are whole
    numbers: ``float(pair_iou(a, b)) == minirpn.boxes.iou(a[None], b[None])[0, 0]`` in float64.

    Examples
    --------
    >>> pair_iou((0, 0, 2, 2), (0, 1, 2, 3))
    Fraction(1, 3)
    """
    ax1, ay1, ax2, ay2 = (Fraction(float(side)) for side in a)
    bx1, by1, bx2, by2 = (Fraction(float(side)) for side in b)
    width = min(ax2, bx2) - max(ax1, bx1)
    height = min(ay2, by2) - max(ay1, by1)
    if width <= 0 or height <= 0:
        return Fraction(0)
    shared = width * height
    return shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)
