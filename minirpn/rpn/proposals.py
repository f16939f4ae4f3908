"""From the head's output to proposals (sections 3.1.1 and 3.3 of the paper).

decode -> (inside only) -> clip -> drop the small -> best `pre_nms` -> NMS -> best `post_nms`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirpn import boxes as box_ops
from minirpn._checks import check_shape
from minirpn._typing import Array, ImageSize
from minirpn.accel.dispatch import accelerated
from minirpn.backend import namespace_of
from minirpn.fields import check_count

_MOST_SIZE = 1_000_000  # pixels: no image has a longer side


@dataclass(frozen=True)
class ProposalConfig:
    """How many proposals there are, and which are dropped.

    Parameters
    ----------
    pre_nms
        Number of best boxes that enter NMS: 6000 at test, 12000 in training of a detector
        (py-faster-rcnn, ``RPN_PRE_NMS_TOP_N``).
    iou_threshold
        Of two boxes with a larger IoU, NMS drops the one with the lower score: 0.7 (section 3.3).
    post_nms
        Number of proposals after NMS: 300 at test, 2000 in training (section 3.3).
    min_size
        Shortest side of a proposal in pixels of the original image: 16 (py-faster-rcnn,
        ``RPN_MIN_SIZE``).
    inside_only
        Whether only anchors inside the image give proposals. The paper trains on those, but takes
        proposals from all (section 3.3), also from the untrained ones at the border.
    """

    pre_nms: int = 6000
    iou_threshold: float = 0.7
    post_nms: int = 300
    min_size: float = 16.0
    inside_only: bool = False

    def __post_init__(self) -> None:
        check_count("pre_nms", self.pre_nms)
        check_count("post_nms", self.post_nms)
        if not 0 <= self.iou_threshold <= 1:
            raise ValueError(f"iou_threshold: expected 0 to 1, got {self.iou_threshold}")
        if not 0 <= self.min_size <= _MOST_SIZE:
            raise ValueError(f"min_size: expected 0 to {_MOST_SIZE:,}, got {self.min_size}")


class Proposals(NamedTuple):
    """Boxes and their scores, highest score first.

    The network's own, on its device; `minirpn.results.Proposals` is in original pixels on the host.
    """

    boxes: Array  # (R, 4) pixels of the resized image
    scores: Array  # (R,) probability of an object


class TracedProposals(NamedTuple):
    """Proposals, and the anchors they come from."""

    boxes: Array  # (R, 4) pixels of the resized image
    scores: Array  # (R,) probability of an object
    anchors: Array  # (R,) int64 positions among the anchors, each at most once


def object_scores(objectness: Array) -> Array:
    r"""Return the probability that each anchor holds an object.

    .. math:: p = e^{z_1} / (e^{z_0} + e^{z_1}) = 1 / (1 + e^{z_0 - z_1})

    Of one logit z it is :math:`1 / (1 + e^{-z})`.

    Parameters
    ----------
    objectness
        (..., 2) logits (background, object) of a softmax, or (..., 1) logits of the logistic
        function.

    Returns
    -------
    Array
        (...) in [0, 1], of the dtype of `objectness`.
    """
    xp = namespace_of(objectness)
    # The softmax of two logits is the logistic function of their difference.
    if objectness.shape[-1] == 2:
        logits = objectness[..., 1] - objectness[..., 0]
    else:
        logits = objectness[..., 0]
    # exp only of negative numbers: nothing overflows.
    small = xp.exp(-xp.abs(logits))
    return xp.where(logits >= 0, 1 / (1 + small), small / (1 + small))


@accelerated("candidates")
def decode_candidates(
    anchors: Array, objectness: Array, deltas: Array, image_size: ImageSize, min_side: float
) -> tuple[Array, Array, Array]:
    """Return the box (K, 4) and score (K,) of each anchor, and whether it is large enough (K,).

    `objectness` is (K, 2) or (K, 1), `min_side` in pixels.
    """
    xp = namespace_of(anchors, objectness, deltas)
    scores = object_scores(objectness)
    # Early in training a t_w can be huge: the side is then infinite until it is clipped.
    with np.errstate(over="ignore"):
        boxes = box_ops.clip(box_ops.decode(anchors, deltas), image_size)
    shortest = xp.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return boxes, scores, shortest >= min_side


def candidates(
    anchors: Array,
    objectness: Array,
    deltas: Array,
    image_size: ImageSize,
    *,
    scale: float = 1.0,
    config: ProposalConfig | None = None,
) -> TracedProposals:
    """Return the boxes that enter NMS: decoded, clipped, large enough, the `pre_nms` best.

    The parameters are those of `propose`.
    """
    xp = namespace_of(anchors, objectness, deltas)
    config = config or ProposalConfig()
    K = anchors.shape[0]
    check_shape(anchors, (K, 4), "anchors")
    check_shape(deltas, (K, 4), "deltas")
    check_shape(objectness, (K, None), "objectness")
    if objectness.shape[1] not in (1, 2):
        raise ValueError(f"objectness: expected 1 or 2 values, got {objectness.shape[1]}")
    min_side = config.min_size * scale
    boxes, scores, keep = decode_candidates(anchors, objectness, deltas, image_size, min_side)
    if config.inside_only:
        keep = keep & box_ops.is_inside(anchors, image_size)
    kept = xp.nonzero(keep)[0]
    boxes, scores = xp.take(boxes, kept, axis=0), xp.take(scores, kept, axis=0)
    count = min(config.pre_nms, scores.shape[0])
    best = xp.argsort(scores, descending=True, stable=True)[:count]
    return _chosen(TracedProposals(boxes, scores, kept), best)


def propose(
    anchors: Array,
    objectness: Array,
    deltas: Array,
    image_size: ImageSize,
    *,
    scale: float = 1.0,
    config: ProposalConfig | None = None,
) -> Proposals:
    """Return the proposals of one image, highest score first.

    Parameters
    ----------
    anchors
        (K, 4) half-open pixels of the resized image.
    objectness
        (K, 2) or (K, 1) logits of one image.
    deltas
        (K, 4) of one image.
    image_size
        (height, width) of the resized image.
    scale
        Resized over original size; `ProposalConfig.min_size` is in original pixels.
    config
        Counts and thresholds.

    Returns
    -------
    Proposals
        boxes (R, 4) and scores (R,), R <= `post_nms`; R may be 0.

    Raises
    ------
    ValueError
        Shapes do not fit, or a score is NaN.

    Notes
    -----
    Ties: equal scores keep the order of the anchors. The order of the steps (clip, drop the small,
    best, NMS) is that of py-faster-rcnn and ChainerCV; torchvision and detectron2 take the best
    first.
    """
    found = trace_proposals(anchors, objectness, deltas, image_size, scale=scale, config=config)
    return Proposals(found.boxes, found.scores)


def trace_proposals(
    anchors: Array,
    objectness: Array,
    deltas: Array,
    image_size: ImageSize,
    *,
    scale: float = 1.0,
    config: ProposalConfig | None = None,
) -> TracedProposals:
    """Return the proposals of one image as `propose` does, and the anchors they come from.

    The parameters are those of `propose`.
    """
    config = config or ProposalConfig()
    found = candidates(anchors, objectness, deltas, image_size, scale=scale, config=config)
    kept = box_ops.nms(
        found.boxes, found.scores, iou_threshold=config.iou_threshold, max_keep=config.post_nms
    )
    return _chosen(found, kept)


def propose_among(found: Sequence[Proposals], *, config: ProposalConfig | None = None) -> Proposals:
    """Return the proposals of one image that was looked at in several sizes, highest score first.

    Parameters
    ----------
    found
        The candidates of each size, with boxes in the same pixels, those of the original image.
    config
        As of `propose`; `min_size` and `inside_only` are for the candidates.

    Notes
    -----
    Of equal scores those of an earlier size come first.
    """
    config = config or ProposalConfig()
    xp = namespace_of(*(one.boxes for one in found))
    boxes, scores = (xp.concat(parts) for parts in zip(*found, strict=True))
    count = min(config.pre_nms, scores.shape[0])
    best = xp.argsort(scores, descending=True, stable=True)[:count]
    boxes, scores = xp.take(boxes, best, axis=0), xp.take(scores, best, axis=0)
    kept = box_ops.nms(boxes, scores, iou_threshold=config.iou_threshold, max_keep=config.post_nms)
    return Proposals(xp.take(boxes, kept, axis=0), xp.take(scores, kept, axis=0))


def _chosen(proposals: TracedProposals, indices: Array) -> TracedProposals:
    """Return the proposals at `indices`, in that order."""
    xp = namespace_of(proposals.boxes)
    return TracedProposals(*(xp.take(part, indices, axis=0) for part in proposals))
