"""Training targets of the RPN: labels, the sampled mini-batch, and target deltas (3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirpn._checks import check_box_list, check_image_size, check_shape
from minirpn._typing import Array, ImageSize
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of, to_device, to_host
from minirpn.boxes import encode, iou, is_inside
from minirpn.fields import check_count

POSITIVE = 1
"""Label of an anchor that should find an object."""
NEGATIVE = 0
"""Label of an anchor that should find background."""
IGNORE = -1
"""Label of an anchor that has no part in the loss."""


@dataclass(frozen=True)
class LabelConfig:
    """When an anchor is positive, negative or ignored.

    Parameters
    ----------
    positive_iou
        An anchor with at least this IoU with any ground truth is positive (section 3.1.2).
    negative_iou
        An anchor below this IoU with all ground truths is negative (section 3.1.2).
    tie_tolerance
        An anchor counts as a best one of a ground truth if its IoU is at most this much below the
        best. 0 is right for whole-number anchors, whose ties are exact.
    inside_only
        Anchors that cross the border of the image are ignored (section 3.3).
    """

    positive_iou: float = 0.7
    negative_iou: float = 0.3
    tie_tolerance: float = 0.0
    inside_only: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.negative_iou <= self.positive_iou <= 1:
            raise ValueError(
                "negative_iou, positive_iou: expected 0 < negative_iou <= positive_iou <= 1, "
                f"got {self.negative_iou}, {self.positive_iou}"
            )
        if not 0 <= self.tie_tolerance <= 1:
            raise ValueError(f"tie_tolerance: expected 0 to 1, got {self.tie_tolerance}")


@dataclass(frozen=True)
class SamplingConfig:
    """How many anchors of an image enter the loss.

    Parameters
    ----------
    batch_size
        Anchors sampled (section 3.1.3: 256).
    positive_fraction
        Largest fraction of positives among them (section 3.1.3: a ratio of up to 1:1).
    """

    batch_size: int = 256
    positive_fraction: float = 0.5

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        if not 0 <= self.positive_fraction <= 1:
            raise ValueError(
                f"positive_fraction: expected a number in [0, 1], got {self.positive_fraction}"
            )

    @property
    def max_positives(self) -> int:
        """Largest number of positives in a mini-batch."""
        return int(self.batch_size * self.positive_fraction)


class AnchorLabels(NamedTuple):
    """Labels of K anchors against M ground truths, and the overlaps they come from."""

    labels: Array  # (K,) int8: POSITIVE, NEGATIVE or IGNORE
    matched_gt: Array  # (K,) int64: the ground truth with the largest IoU; -1 if there is none
    max_iou: Array  # (K,) float64: that IoU; 0 if there is none
    by_best: Array  # (K,) bool: a best anchor of a ground truth, so positive by rule (i)
    gt_max_iou: Array  # (M,) float64: a ground truth's best IoU with any eligible anchor


def label_anchors(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    config: LabelConfig = LabelConfig(),
    *,
    ignored: Array | None = None,
) -> AnchorLabels:
    r"""Return the label of each anchor: positive, negative or ignored (sections 3.1.2, 3.3).

    Positive: (i) a best anchor of a ground truth, or (ii) :math:`\max_j \text{IoU}_j \ge 0.7`, with
    j the ground truths. Negative: not positive, and :math:`\max_j \text{IoU}_j < 0.3`. Ignored: the
    rest, and every anchor that crosses the border of the image, or would be negative but lies on an
    ignored region.

    Parameters
    ----------
    anchors
        (K, 4) floating point, pixels, half-open.
    gt_boxes
        (M, 4) likewise. M may be 0: then every anchor inside is negative.
    image_size
        (height, width) of the resized image.
    config
        The thresholds.
    ignored
        (I, 4) likewise: regions that are neither objects nor background, such as objects left out
        of the ground truth. None is the same as no region.

    Returns
    -------
    AnchorLabels
        A positive anchor is positive by rule (i) where ``by_best`` is true, and by rule (ii) where
        ``max_iou >= config.positive_iou``.

    Notes
    -----
    Ties: all anchors that reach the best IoU of a ground truth are positive; an anchor with equal
    IoU with several ground truths is matched to the first. The target of a best anchor is the
    ground truth that *it* overlaps most, which may be another one.

    A ground truth that no anchor inside touches makes no anchor positive; py-faster-rcnn makes
    *every* anchor inside positive then. Overlaps are always float64: with whole-number coordinates
    the labels depend neither on the dtype nor on the device.

    Ignored regions turn negatives into ignored anchors and change nothing else. The positives are
    those of the ground truths alone. The negatives are those that there would be if the ignored
    regions were ground truths too: IoU < 0.3 with all of both, and a best anchor of none.
    """
    namespace_of(anchors, gt_boxes)
    check_box_list(anchors, "anchors")
    check_box_list(gt_boxes, "gt_boxes")
    check_image_size(image_size)
    rules = config.positive_iou, config.negative_iou, config.tie_tolerance, config.inside_only
    assigned = AnchorLabels(*label(anchors, gt_boxes, image_size, *rules))
    if ignored is None or ignored.shape[0] == 0:
        return assigned
    xp = namespace_of(anchors, ignored)
    check_box_list(ignored, "ignored")
    of_regions, *_ = label(anchors, ignored, image_size, *rules)  # as if they were ground truths
    on_region = (assigned.labels == NEGATIVE) & (of_regions != NEGATIVE)
    return assigned._replace(labels=xp.where(on_region, IGNORE, assigned.labels))


@accelerated("label")
def label(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    positive_iou: float,
    negative_iou: float,
    tie_tolerance: float,
    inside_only: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return the fields of `AnchorLabels`: the rules of `label_anchors`."""
    xp = namespace_of(anchors, gt_boxes)
    inside = is_inside(anchors, image_size)
    eligible = inside if inside_only else xp.ones_like(inside)
    max_iou, matched_gt, gt_max_iou, is_best = assign(anchors, gt_boxes, eligible, tie_tolerance)
    positive = eligible & ((max_iou >= positive_iou) | is_best)
    negative = eligible & ~positive & (max_iou < negative_iou)
    # Not `labels[negative] = ...`: that waits for a GPU to count them.
    labels = xp.full_like(matched_gt, IGNORE, dtype=xp.int8)
    labels = xp.where(negative, NEGATIVE, labels)
    labels = xp.where(positive, POSITIVE, labels)
    return labels, matched_gt, max_iou, is_best, gt_max_iou


class Assignment(NamedTuple):
    """The best matches of K anchors and M ground truths."""

    max_iou: Array  # (K,) float64: the best IoU of an anchor with any ground truth
    matched_gt: Array  # (K,) int64: that ground truth, the first of equals; -1 if there is none
    gt_max_iou: Array  # (M,) float64: the best IoU of a ground truth with any eligible anchor
    is_best: Array  # (K,) bool: eligible, and reaches the best IoU of a ground truth it touches


def assign(anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float) -> Assignment:
    """Return for every anchor its best ground truth, and for every ground truth its best anchors.

    The overlaps are always float64, so that equal coordinates in float32 and float64 give equal
    overlaps and ties.

    Parameters
    ----------
    anchors, gt_boxes
        (K, 4) and (M, 4), floating point, pixels, half-open.
    eligible
        (K,) bool: which anchors may be the best of a ground truth.
    tie_tolerance
        See `LabelConfig`.

    Returns
    -------
    Assignment
        ``max_iou``, ``matched_gt``, ``gt_max_iou``, ``is_best``.

    Notes
    -----
    Ties: an anchor with equal IoU with several ground truths is matched to the first; every anchor
    that reaches the best IoU of a ground truth is best. A ground truth without overlap has no best
    anchor.
    """
    xp = namespace_of(anchors, gt_boxes, eligible)
    anchors, gt_boxes = (xp.astype(boxes, xp.float64, copy=False) for boxes in (anchors, gt_boxes))
    return Assignment(*best_overlaps(anchors, gt_boxes, eligible, tie_tolerance))


@accelerated("assign")
def best_overlaps(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment` from the whole (K, M) matrix of overlaps."""
    xp = namespace_of(anchors, gt_boxes, eligible)
    (K, _), (M, _), device = anchors.shape, gt_boxes.shape, device_of(anchors)
    if K == 0 or M == 0:  # there is no maximum of nothing
        return (
            xp.zeros(K, dtype=xp.float64, device=device),
            xp.full(K, -1, dtype=xp.int64, device=device),
            xp.zeros(M, dtype=xp.float64, device=device),
            xp.zeros(K, dtype=xp.bool, device=device),
        )
    overlaps = iou(anchors, gt_boxes)
    open_overlaps = xp.where(eligible[:, None], overlaps, xp.zeros_like(overlaps))
    gt_max_iou = xp.max(open_overlaps, axis=0)
    reaches = (open_overlaps > 0) & (open_overlaps >= gt_max_iou[None, :] - tie_tolerance)
    return (
        xp.max(overlaps, axis=1),
        xp.argmax(overlaps, axis=1),
        gt_max_iou,
        xp.any(reaches, axis=1),
    )


def sample_minibatch(
    labels: Array,
    *,
    rng: np.random.Generator,
    config: SamplingConfig = SamplingConfig(),
) -> Array:
    """Return the labels of a random mini-batch; all other anchors get IGNORE.

    Up to 128 positives are drawn, and negatives up to 256 in all (section 3.1.3). With too few
    negatives the mini-batch is smaller.

    Parameters
    ----------
    labels
        (K,) int8 from `label_anchors`.
    rng
        Draws the sample.
    config
        The counts.

    Returns
    -------
    Array
        (K,) int8, on the device of `labels`.

    Notes
    -----
    The draw is always on the host: labels are copied from a device and back.
    """
    return to_device(sample_on_host(to_host(labels), rng=rng, config=config), labels)


def sample_on_host(
    labels: np.ndarray, *, rng: np.random.Generator, config: SamplingConfig
) -> np.ndarray:
    """Return the result of `sample_minibatch` for labels on the host."""
    drawn = np.full_like(labels, IGNORE)
    positives = draw(np.flatnonzero(labels == POSITIVE), config.max_positives, rng)
    negatives = np.flatnonzero(labels == NEGATIVE)
    negatives = draw(negatives, config.batch_size - len(positives), rng)
    drawn[positives] = POSITIVE
    drawn[negatives] = NEGATIVE
    return drawn


def draw(indices: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` random ones of the indices, or all if there are no more."""
    return rng.choice(indices, count, replace=False) if len(indices) > count else indices


def anchor_targets(anchors: Array, gt_boxes: Array, matched_gt: Array, labels: Array) -> Array:
    """Return the deltas from each positive anchor to its ground truth, and 0 elsewhere: equation 2.

    Parameters
    ----------
    anchors
        (K, 4) floating point, pixels, half-open; sides above 0.
    gt_boxes
        (M, 4) likewise; those matched by a positive have sides above 0.
    matched_gt, labels
        (K,) from `label_anchors`; the labels may be sampled.

    Returns
    -------
    Array
        (K, 4) deltas.

    Notes
    -----
    py-faster-rcnn gives deltas to every anchor inside; its weights hide those not positive.
    """
    xp = namespace_of(anchors, gt_boxes, matched_gt, labels)
    check_box_list(anchors, "anchors")
    check_box_list(gt_boxes, "gt_boxes")
    check_shape(matched_gt, (anchors.shape[0],), "matched_gt")
    check_shape(labels, (anchors.shape[0],), "labels")
    if gt_boxes.shape[0] == 0:
        return xp.zeros_like(anchors)
    matched_boxes = xp.take(gt_boxes, matched_gt, axis=0)
    # The deltas from an anchor to itself are exactly 0.
    matched_boxes = xp.where((labels == POSITIVE)[:, None], matched_boxes, anchors)
    return encode(anchors, matched_boxes)
