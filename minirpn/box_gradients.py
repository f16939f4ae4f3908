"""The gradients of `minirpn.boxes.decode` and `minirpn.boxes.clip`.

Only one kind of training needs them: the one in which gradients flow through the proposals into
the RPN (the paper's non-approximate joint training).
"""

from __future__ import annotations

from minirpn._checks import check_boxes, check_image_size, check_shape
from minirpn._typing import Array, ImageSize
from minirpn.backend import namespace_of


def decode_backward(dboxes: Array, anchors: Array, deltas: Array) -> Array:
    r"""Return ddeltas: the gradient by the deltas, the backward of `minirpn.boxes.decode`.

    .. math:: dt_x = w_a (dx_1 + dx_2) \quad dt_w = w / 2 \, (dx_2 - dx_1) \quad w = w_a e^{t_w}

    y and h likewise.

    Parameters
    ----------
    dboxes
        (..., 4) gradient by ``decode(anchors, deltas)``.
    anchors, deltas
        (..., 4) the inputs of `decode`, without a limit on the scales.

    Returns
    -------
    Array
        (..., 4).
    """
    xp = namespace_of(dboxes, anchors, deltas)
    check_boxes(anchors, "anchors")
    check_shape(deltas, tuple(dboxes.shape), "deltas")
    anchor_sides = anchors[..., 2:] - anchors[..., :2]
    half_sides = 0.5 * anchor_sides * xp.exp(deltas[..., 2:])
    first, second = dboxes[..., :2], dboxes[..., 2:]
    return xp.concat([(first + second) * anchor_sides, (second - first) * half_sides], axis=-1)


def clip_backward(dclipped: Array, boxes: Array, image_size: ImageSize) -> Array:
    """Return dboxes: the gradient by the boxes, the backward of `minirpn.boxes.clip`.

    A coordinate beyond the border, or on it, gets no gradient.

    Parameters
    ----------
    dclipped
        (..., 4) gradient by ``clip(boxes, image_size)``.
    boxes
        (..., 4) the input of `clip`, half-open pixels.
    image_size
        (height, width).

    Returns
    -------
    Array
        (..., 4).
    """
    xp = namespace_of(dclipped, boxes)
    check_boxes(boxes)
    check_shape(dclipped, tuple(boxes.shape), "dclipped")
    check_image_size(image_size)
    height, width = image_size
    x, y = boxes[..., 0::2], boxes[..., 1::2]
    free_x, free_y = (x > 0) & (x < width), (y > 0) & (y < height)
    # (..., corner, x or y) -> (..., 4)
    free = xp.reshape(xp.stack([free_x, free_y], axis=-1), boxes.shape)
    return xp.where(free, dclipped, xp.zeros_like(dclipped))
