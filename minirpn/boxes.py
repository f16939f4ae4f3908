"""Boxes: areas, overlaps, regression targets (equation 2) and non-maximum suppression.

A box is ``(x1, y1, x2, y2)`` in floating-point pixels and half-open: its width is ``x2 - x1``, and
two boxes that touch share nothing. An image covers ``(0, 0, width, height)``. Every function
returns arrays of the library, the device and the dtype of its arguments, and modifies none.
"""

from __future__ import annotations

import math
from typing import Any

from minirpn._checks import (
    check_box_list,
    check_boxes,
    check_floating,
    check_image_size,
    check_shape,
)
from minirpn._typing import Array, ImageSize
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of, to_host

LOG_SCALE_CLAMP = math.log(1000 / 16)
"""Largest log scale torchvision and detectron2 decode: a 16-pixel anchor grows to 1000 at most."""


def area(boxes: Array) -> Array:
    """Return the area of each box, (x2 - x1) (y2 - y1).

    Parameters
    ----------
    boxes
        (..., 4) floating point, pixels, half-open.

    Returns
    -------
    Array
        (...,) square pixels. A negative side counts as 0.
    """
    xp = namespace_of(boxes)
    check_boxes(boxes)
    return _product_of_sides(xp, boxes[..., 2:] - boxes[..., :2])


def _two_box_lists(a: Array, b: Array) -> tuple[Array, Array]:
    """Return two lists of boxes in one dtype; raise where one is not a list of boxes."""
    xp = namespace_of(a, b)
    check_box_list(a, "a")
    check_box_list(b, "b")
    dtype = xp.result_type(a, b)
    return xp.astype(a, dtype, copy=False), xp.astype(b, dtype, copy=False)


@accelerated("iou", checks=_two_box_lists)
def iou(a: Array, b: Array) -> Array:
    r"""Return the intersection over union of every box of `a` with every box of `b`.

    .. math:: \text{IoU}(a, b) = |a \cap b| \, / \, (|a| + |b| - |a \cap b|)

    Parameters
    ----------
    a, b
        (N, 4) and (M, 4) floating point, pixels, half-open.

    Returns
    -------
    Array
        (N, M) in [0, 1].

    Notes
    -----
    A box without area, with a negative or infinite side or with a NaN has IoU 0 with every box,
    itself included: never nan (as in ChainerCV and torchvision) nor 1 (as in py-faster-rcnn).

    Examples
    --------
    >>> import numpy as np
    >>> iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 2, 2], [2, 0, 4, 2]])).tolist()
    [[0.5, 0.0]]
    """
    xp = namespace_of(a, b)
    # (N, 1, 2) and (1, M, 2) -> (N, M, 2)
    upper_left = xp.maximum(a[:, None, :2], b[None, :, :2])
    lower_right = xp.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = _product_of_sides(xp, lower_right - upper_left)
    area_a, area_b = (_product_of_sides(xp, box[:, 2:] - box[:, :2]) for box in (a, b))
    covered = area_a[:, None] + area_b[None, :] - shared
    # Divide 0 by 1 where nothing is shared: two empty boxes would give 0/0. A NaN is never above 0.
    overlaps = (shared > 0) & (covered > 0)
    shared = xp.where(overlaps, shared, xp.zeros_like(shared))
    return shared / xp.where(overlaps, covered, xp.ones_like(covered))


def _product_of_sides(xp: Any, sides: Array) -> Array:
    """Return the areas (...,) of sides (..., 2); a negative side counts as 0."""
    sides = xp.where(sides > 0, sides, xp.zeros_like(sides))
    return sides[..., 0] * sides[..., 1]


def clip(boxes: Array, image_size: ImageSize) -> Array:
    """Return the boxes cut off at the borders of the image.

    Parameters
    ----------
    boxes
        (..., 4) floating point, pixels, half-open.
    image_size
        (height, width).

    Returns
    -------
    Array
        (..., 4). A box entirely outside becomes an empty box on the border.

    Notes
    -----
    Clipping twice is clipping once. A NaN stays one. The far border is ``width``, not ``width-1``.
    """
    xp = namespace_of(boxes)
    check_boxes(boxes)
    check_image_size(image_size)
    height, width = image_size
    # Not `xp.clip`: that of array-api-compat sends both borders to a GPU and waits four times.
    boxes = xp.where(boxes < 0, 0.0, boxes)
    x = xp.where(boxes[..., 0::2] > width, float(width), boxes[..., 0::2])
    y = xp.where(boxes[..., 1::2] > height, float(height), boxes[..., 1::2])
    # (..., corner, x or y) -> (..., 4)
    return xp.reshape(xp.stack([x, y], axis=-1), boxes.shape)


def is_inside(boxes: Array, image_size: ImageSize) -> Array:
    """Return which boxes lie inside the image; a box that touches the border is inside.

    Parameters
    ----------
    boxes
        (..., 4) floating point, pixels, half-open.
    image_size
        (height, width).

    Returns
    -------
    Array
        (...,) bool.
    """
    namespace_of(boxes)  # raises where it is not an array
    check_boxes(boxes)
    check_image_size(image_size)
    height, width = image_size
    starts_inside = (boxes[..., 0] >= 0) & (boxes[..., 1] >= 0)
    return starts_inside & (boxes[..., 2] <= width) & (boxes[..., 3] <= height)


def flip(boxes: Array, width: float) -> Array:
    """Return the boxes of the image mirrored left to right: x becomes width - x.

    Parameters
    ----------
    boxes
        (..., 4) floating point, pixels, half-open.
    width
        Width of the image.

    Returns
    -------
    Array
        (..., 4). A second flip gives the boxes back.
    """
    xp = namespace_of(boxes)
    check_boxes(boxes)
    mirrored = [width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]]
    return xp.stack(mirrored, axis=-1)


def encode(anchors: Array, boxes: Array) -> Array:
    r"""Return the deltas (tx, ty, tw, th) from each anchor to its box: equation 2.

    .. math:: t_x = (x - x_a) / w_a \quad t_y = (y - y_a) / h_a \quad
              t_w = \log(w / w_a) \quad t_h = \log(h / h_a)

    x, y are the center of the box; w, h are its sides; a marks those of the anchor.

    Parameters
    ----------
    anchors, boxes
        (..., 4) floating point, pixels, half-open; shapes that broadcast; all sides above 0.

    Returns
    -------
    Array
        (..., 4) deltas, without a unit.

    Notes
    -----
    `decode` is the inverse. In half-open coordinates this is py-faster-rcnn's ``bbox_transform``.

    Examples
    --------
    >>> import numpy as np
    >>> encode(np.array([0.0, 0, 4, 2]), np.array([1.0, 1, 5, 3])).tolist()
    [0.25, 0.5, 0.0, 0.0]
    """
    xp = namespace_of(anchors, boxes)
    check_boxes(anchors, "anchors")
    check_boxes(boxes)
    anchor_centers, anchor_sides = _centers_and_sides(anchors)
    centers, sides = _centers_and_sides(boxes)
    shifts = (centers - anchor_centers) / anchor_sides
    log_scales = xp.log(sides / anchor_sides)
    return xp.concat([shifts, log_scales], axis=-1)


def decode(anchors: Array, deltas: Array, *, max_log_scale: float | None = None) -> Array:
    r"""Return the boxes that the deltas (tx, ty, tw, th) make of the anchors: equation 2, solved.

    .. math:: x = t_x w_a + x_a \quad y = t_y h_a + y_a \quad w = w_a e^{t_w} \quad h = h_a e^{t_h}

    Parameters
    ----------
    anchors
        (..., 4) floating point, pixels, half-open.
    deltas
        (..., 4); the shape broadcasts with that of `anchors`.
    max_log_scale
        A larger tw or th counts as this, such as `LOG_SCALE_CLAMP`; None for no limit, as in the
        paper and in py-faster-rcnn.

    Returns
    -------
    Array
        (..., 4) boxes, not clipped to an image.

    Notes
    -----
    `encode` is the inverse. py-faster-rcnn's x2 and y2 are one pixel larger than its own
    convention asks for; in half-open coordinates they are equal to these.
    """
    xp = namespace_of(anchors, deltas)
    check_boxes(anchors, "anchors")
    check_boxes(deltas, "deltas")
    anchor_centers, anchor_sides = _centers_and_sides(anchors)
    shifts, log_scales = deltas[..., :2], deltas[..., 2:]
    if max_log_scale is not None:
        log_scales = xp.clip(log_scales, max=max_log_scale)
    centers = shifts * anchor_sides + anchor_centers
    half_sides = 0.5 * anchor_sides * xp.exp(log_scales)
    return xp.concat([centers - half_sides, centers + half_sides], axis=-1)


def _centers_and_sides(boxes: Array) -> tuple[Array, Array]:
    """Return centers (x, y) and sides (w, h), each (..., 2), of boxes (..., 4)."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides


def nms(boxes: Array, scores: Array, *, iou_threshold: float, max_keep: int | None = None) -> Array:
    """Return the indices of the boxes that no better box suppresses.

    Greedy: keep the best box, drop those whose IoU with it is above the threshold, and repeat.

    Parameters
    ----------
    boxes
        (N, 4) floating point, pixels, half-open.
    scores
        (N,) floating point, higher is better.
    iou_threshold
        In [0, 1]; the paper's test setting is 0.7.
    max_keep
        Stop when this many boxes are kept; None for no limit.

    Returns
    -------
    Array
        (R,) int64 indices, highest score first.

    Raises
    ------
    ValueError
        A score is NaN; a shape does not fit; `iou_threshold` or `max_keep` is out of range.

    Notes
    -----
    Ties: of equal scores the lower index comes first. An IoU equal to the threshold (compared in
    the dtype of `boxes`) does not suppress, as in torchvision and py-faster-rcnn's Python version;
    ChainerCV suppresses then. Empty boxes are kept. A device sends one number, to check for NaN.

    Examples
    --------
    >>> import numpy as np
    >>> three = np.array([[0.0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 9, 9]])
    >>> nms(three, np.array([0.5, 0.9, 0.1]), iou_threshold=0.7).tolist()
    [1, 2]
    """
    xp = namespace_of(boxes, scores)
    check_box_list(boxes)
    check_shape(scores, (boxes.shape[0],), "scores")
    check_floating(scores, "scores")
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold: expected a number in [0, 1], got {iou_threshold}")
    if max_keep is not None and max_keep < 0:
        raise ValueError(f"max_keep: expected at least 0 or None, got {max_keep}")
    if to_host(xp.any(xp.isnan(scores))):
        raise ValueError("scores: NaN cannot be ordered")
    order = xp.argsort(scores, descending=True, stable=True)
    limit = boxes.shape[0] if max_keep is None else max_keep
    kept = suppress(xp.take(boxes, order, axis=0), iou_threshold, limit)
    return xp.take(order, kept)


@accelerated("nms")
def suppress(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes (N, 4), best first, are kept: int64 positions (R,), ascending.

    Each round keeps the best of those left and suppresses those that overlap it.
    """
    xp = namespace_of(boxes)
    left = xp.arange(boxes.shape[0], dtype=xp.int64, device=device_of(boxes))
    kept = [left[:0]]
    while left.shape[0] and len(kept) <= max_keep:
        best, others = left[:1], left[1:]
        kept.append(best)
        overlaps = iou(xp.take(boxes, best, axis=0), xp.take(boxes, others, axis=0))
        left = others[~(overlaps[0, :] > iou_threshold)]
    return xp.concat(kept)
