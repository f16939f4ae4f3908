"""What each anchor proposes, as loops, for the ladder in `minirpn.rpn.proposals`."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array, ImageSize


def candidates_loops(
    anchors: Array, objectness: Array, deltas: Array, image_size: ImageSize, min_side: float
) -> tuple[Array, Array, Array]:
    """Return boxes (K, 4), scores (K,) and whether a box is large enough (K,) bool.

    Parameters
    ----------
    anchors, deltas
        (K, 4).
    objectness
        (K, 2) softmax scores, or (K, 1) logits.
    image_size
        (height, width), at whose borders boxes are cut off.
    min_side
        The least side of a box that is large enough.
    """
    real, (height, width) = anchors.dtype.type, image_size
    boxes, scores = np.empty_like(anchors), np.empty(len(anchors), anchors.dtype)
    large = np.empty(len(anchors), np.bool_)
    with np.errstate(over="ignore"):  # a wild side is infinite, until the border cuts it
        for k, ((x1, y1, x2, y2), (tx, ty, tw, th)) in enumerate(zip(anchors, deltas, strict=True)):
            # Eq. 2, solved for x, y, w and h.
            x, half_w = tx * (x2 - x1) + (x1 + real(0.5) * (x2 - x1)), real(0.5) * (x2 - x1)
            y, half_h = ty * (y2 - y1) + (y1 + real(0.5) * (y2 - y1)), real(0.5) * (y2 - y1)
            half_w, half_h = half_w * np.exp(tw), half_h * np.exp(th)
            boxes[k] = x - half_w, y - half_h, x + half_w, y + half_h
            for side, far in enumerate((width, height, width, height)):
                boxes[k, side] = min(max(boxes[k, side], 0), far)
            shortest = min(boxes[k, 2] - boxes[k, 0], boxes[k, 3] - boxes[k, 1])
            large[k] = shortest >= real(min_side)
            logit = objectness[k, 0]
            if objectness.shape[1] == 2:  # softmax of two is the logistic function of a difference
                logit = objectness[k, 1] - objectness[k, 0]
            small = np.exp(-abs(logit))  # at most 1: nothing overflows
            scores[k] = (1 if logit >= 0 else small) / (1 + small)
    return boxes, scores, large
