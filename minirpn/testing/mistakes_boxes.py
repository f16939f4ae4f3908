"""Functions on boxes as people first write them, each wrong in one way.

Where a function answers as one of these does, its docstring is what the author of it should hear.
"""

from __future__ import annotations

import numpy as np


def _shared_sides(a: np.ndarray, b: np.ndarray, one: float = 0) -> np.ndarray:
    """Return (N, M, 2), the width and height two boxes share; negative where they are apart."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    return np.minimum(a[:, None, 2:], b[None, :, 2:]) - low + one


def _areas(boxes: np.ndarray, one: float = 0) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2] + one, axis=1)


def _iou(
    a: np.ndarray, b: np.ndarray, *, one: float = 0, cut: bool = True, union_less: float = 1
) -> np.ndarray:
    sides = _shared_sides(a, b, one)
    shared = np.prod(np.maximum(sides, 0) if cut else sides, axis=2)
    covered = _areas(a, one)[:, None] + _areas(b, one)[None] - union_less * shared
    return np.where(shared == 0, 0, shared / np.where(shared == 0, 1, covered))


def iou_plus_one(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Did you add 1 to a side? Our boxes are half-open."""
    return _iou(a, b, one=1)


def iou_union_twice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Did you count the union twice?"""
    return _iou(a, b, union_less=0)


def iou_not_cut_off(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Two negative sides have a positive product: cut each off at 0 before you multiply."""
    return _iou(a, b, cut=False)


def iou_shared_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """This is the shared area: divide it by the covered one."""
    return np.prod(np.maximum(_shared_sides(a, b), 0), axis=2)


def iou_over_smaller(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Did you divide by the smaller area, not by the union?"""
    smaller = np.minimum(_areas(a)[:, None], _areas(b)[None])
    return iou_shared_area(a, b) / np.where(smaller == 0, 1, smaller)


def iou_x_y_swapped(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Did you swap x and y of one box?"""
    return _iou(a, b[:, [1, 0, 3, 2]])


def iou_unguarded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """0/0: boxes without area share nothing, so their IoU is 0."""
    shared = iou_shared_area(a, b)
    return shared / (_areas(a)[:, None] + _areas(b)[None] - shared)


def iou_transposed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rows are the boxes of a, columns those of b."""
    return _iou(a, b).T


def _centres_and_sides(boxes: np.ndarray, one: float = 0) -> tuple[np.ndarray, np.ndarray]:
    sides = boxes[:, 2:] - boxes[:, :2] + one
    return boxes[:, :2] + sides / 2, sides


def encode(anchors: np.ndarray, boxes: np.ndarray, *, one: float = 0) -> np.ndarray:
    """Return eq. 2 as it should be (with ``one=0``), the others in this file spoil it."""
    (ca, sa), (c, s) = _centres_and_sides(anchors, one), _centres_and_sides(boxes, one)
    return np.concatenate([(c - ca) / sa, np.log(s / sa)], axis=1)


def encode_plus_one(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Did you add 1 to the sides? Our boxes are half-open."""
    return encode(anchors, boxes, one=1)


def encode_corners(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Did you take the corner for the centre?"""
    shifts = (boxes[:, :2] - anchors[:, :2]) / _centres_and_sides(anchors)[1]
    return np.concatenate([shifts, encode(anchors, boxes)[:, 2:]], axis=1)


def encode_by_box(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Did you divide by the sides of the box, not of the anchor?"""
    right, sides = encode(anchors, boxes), _centres_and_sides(boxes)[1]
    shifts = right[:, :2] * _centres_and_sides(anchors)[1] / sides
    return np.concatenate([shifts, right[:, 2:]], axis=1)


def encode_in_pixels(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Did you forget to divide the shift by the anchor's sides?"""
    right = encode(anchors, boxes)
    shifts = right[:, :2] * _centres_and_sides(anchors)[1]
    return np.concatenate([shifts, right[:, 2:]], axis=1)


def encode_no_log(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Did you forget the logarithm of the sides?"""
    right = encode(anchors, boxes)
    return np.concatenate([right[:, :2], np.exp(right[:, 2:])], axis=1)


def encode_inverse_log(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Is a logarithm upside down? It is log(w / wa)."""
    return encode(anchors, boxes) * [1, 1, -1, -1]


def encode_w_h_swapped(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Did you swap width and height?"""
    return encode(anchors, boxes)[:, [0, 1, 3, 2]]


def encode_order(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The order is (tx, ty, tw, th)."""
    return encode(anchors, boxes)[:, [0, 2, 1, 3]]


def _decode_parts(
    anchors: np.ndarray, deltas: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the anchors' centres and sides, and those of the boxes."""
    centres, sides = _centres_and_sides(anchors)
    return centres, sides, deltas[:, :2] * sides + centres, sides * np.exp(deltas[:, 2:])


def _around(centres: np.ndarray, sides: np.ndarray, share: float = 0.5) -> np.ndarray:
    return np.concatenate([centres - share * sides, centres + share * sides], axis=1)


def decode(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Return eq. 2 solved for the box, as it should be; the others in this file spoil it."""
    *_, centres, sides = _decode_parts(anchors, deltas)
    return _around(centres, sides)


def decode_minus_one(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Did you take 1 off x2 and y2? Our boxes are half-open."""
    return decode(anchors, deltas) - [0, 0, 1, 1]


def decode_corner(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Did you take the centre for the corner?"""
    *_, centres, sides = _decode_parts(anchors, deltas)
    return np.concatenate([centres, centres + sides], axis=1)


def decode_whole_side(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Go half a side to each side of the centre, not a whole one."""
    *_, centres, sides = _decode_parts(anchors, deltas)
    return _around(centres, sides, share=1)


def decode_no_exp(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Did you forget the exponential of tw and th?"""
    _, anchor_sides, centres, _ = _decode_parts(anchors, deltas)
    return _around(centres, anchor_sides * deltas[:, 2:])


def decode_in_pixels(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """tx counts widths of the anchor, not pixels."""
    anchor_centres, _, _, sides = _decode_parts(anchors, deltas)
    return _around(anchor_centres + deltas[:, :2], sides)


def decode_w_h_swapped(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Did you swap width and height?"""
    return decode(anchors, deltas[:, [0, 1, 3, 2]])


def decode_no_centre(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Did you forget to add the anchor's centre?"""
    anchor_centres, _, centres, sides = _decode_parts(anchors, deltas)
    return _around(centres - anchor_centres, sides)


IOU = (
    iou_plus_one,
    iou_union_twice,
    iou_not_cut_off,
    iou_over_smaller,
    iou_shared_area,
    iou_x_y_swapped,
    iou_unguarded,
    iou_transposed,
)
ENCODE = (
    encode_plus_one,
    encode_corners,
    encode_by_box,
    encode_in_pixels,
    encode_no_log,
    encode_inverse_log,
    encode_w_h_swapped,
    encode_order,
)
DECODE = (
    decode_minus_one,
    decode_corner,
    decode_whole_side,
    decode_no_exp,
    decode_in_pixels,
    decode_w_h_swapped,
    decode_no_centre,
)
