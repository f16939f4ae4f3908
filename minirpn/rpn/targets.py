"""Training targets of the RPN: labels, the sampled mini-batch, deltas to learn (3.1.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirpn._checks import check_box_list, check_image_size, check_shape
from minirpn._typing import Array, ImageSize
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of, to_device, to_host
from minirpn.boxes import encode, iou, is_inside

POSITIVE = 1
"""Label of an anchor that should say object."""
NEGATIVE = 0
"""Label of an anchor that should say background."""
IGNORE = -1
"""Label of an anchor that is left out of the loss."""


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
        How far below the best IoU of a ground truth an anchor still counts as its best. 0 suits
        whole-number anchors, whose ties are exact.
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
        if not (math.isfinite(self.tie_tolerance) and self.tie_tolerance >= 0):
            raise ValueError(
                f"tie_tolerance: expected a finite number of at least 0, got {self.tie_tolerance}"
            )


@dataclass(frozen=True)
class SamplingConfig:
    """How many anchors of an image enter the loss.

    Parameters
    ----------
    batch_size
        Anchors sampled (section 3.1.3: 256).
    positive_fraction
        Largest share of positives among them (section 3.1.3: a ratio of up to 1:1).
    """

    batch_size: int = 256
    positive_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {self.batch_size}")
        if not 0 <= self.positive_fraction <= 1:
            raise ValueError(
                f"positive_fraction: expected a number in [0, 1], got {self.positive_fraction}"
            )

    @property
    def max_positives(self) -> int:
        """Largest number of positives in a mini-batch."""
        return int(self.batch_size * self.positive_fraction)


class AnchorLabels(NamedTuple):
    """Labels of K anchors against M ground truths, and how they came about."""

    labels: Array  # (K,) int8: POSITIVE, NEGATIVE or IGNORE
    matched_gt: Array  # (K,) int64: the ground truth overlapped most; -1 if there is none
    max_iou: Array  # (K,) float64: the IoU with it; 0 if there is none
    by_best: Array  # (K,) bool: positive as a best anchor of a ground truth (maybe by IoU as well)
    gt_max_iou: Array  # (M,) float64: a ground truth's best IoU with the anchors it may choose from


def label_anchors(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    config: LabelConfig = LabelConfig(),
) -> AnchorLabels:
    """Return for each anchor whether it should say object, background, or is left out.

    Positive: (i) a best anchor of a ground truth, or (ii) IoU >= 0.7 with any ground truth.
    Negative: not positive, and IoU < 0.3 with all. Ignored: the rest, and every anchor that
    crosses the border of the image (sections 3.1.2, 3.3).

    Parameters
    ----------
    anchors
        (K, 4) floating point, pixels, half-open.
    gt_boxes
        (M, 4) of the same kind; M may be 0, then every anchor inside is negative.
    image_size
        (height, width) of the resized image.
    config
        The thresholds.

    Returns
    -------
    AnchorLabels
        ``labels, matched_gt`` and what they rest on. A positive anchor is so by rule (i) where
        ``by_best`` holds, and by rule (ii) where ``max_iou >= config.positive_iou``.

    Notes
    -----
    Ties: all anchors that reach the best IoU of a ground truth are positive; an anchor that
    overlaps several ground truths equally is matched to the first. A best anchor of one ground
    truth regresses to the ground truth *it* overlaps most, which may be another.

    A ground truth that no anchor inside touches makes no anchor positive; py-faster-rcnn makes
    *every* anchor inside positive then. Overlaps are float64 whatever the dtype of the boxes: with
    whole-number coordinates the labels depend neither on precision nor on the device.
    """
    namespace_of(anchors, gt_boxes)
    check_box_list(anchors, "anchors")
    check_box_list(gt_boxes, "gt_boxes")
    check_image_size(image_size)
    thresholds = config.positive_iou, config.negative_iou, config.tie_tolerance
    return AnchorLabels(*label(anchors, gt_boxes, image_size, *thresholds, config.inside_only))


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
    # Not by assignment to a mask: a GPU has to be asked how many there are, and waited for.
    labels = xp.full_like(matched_gt, IGNORE, dtype=xp.int8)
    labels = xp.where(negative, NEGATIVE, labels)
    labels = xp.where(positive, POSITIVE, labels)
    return labels, matched_gt, max_iou, is_best, gt_max_iou


class Assignment(NamedTuple):
    """The best partners of K anchors and M ground truths."""

    max_iou: Array  # (K,) float64: the best IoU of an anchor with any ground truth
    matched_gt: Array  # (K,) int64: that ground truth, the first of equals; -1 if there is none
    gt_max_iou: Array  # (M,) float64: the best IoU of a ground truth with any eligible anchor
    is_best: Array  # (K,) bool: eligible, and reaches the best IoU of a ground truth it touches


def assign(anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float) -> Assignment:
    """Return for every anchor its best ground truth, and for every ground truth its best anchors.

    The overlaps are float64 whatever the dtype of the boxes, so that equal coordinates give equal
    overlaps, ties included, in float32 and float64.

    Parameters
    ----------
    anchors, gt_boxes
        (K, 4) and (M, 4), floating point, pixels, half-open.
    eligible
        (K,) bool: the anchors a ground truth may choose its best from.
    tie_tolerance
        An anchor counts as best when its IoU is at most this much below the best.

    Returns
    -------
    Assignment
        ``max_iou``, ``matched_gt``, ``gt_max_iou``, ``is_best``.

    Notes
    -----
    Ties: an anchor that overlaps several ground truths equally is matched to the first; every
    anchor that reaches the best IoU of a ground truth is best. A ground truth without any overlap
    has no best anchor.
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
    if K == 0 or M == 0:  # a maximum over nothing is an error
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
    """Return the labels with all anchors set to IGNORE that are not drawn into the mini-batch.

    Up to 128 positives are drawn; negatives fill up to 256 (section 3.1.3). Where there are fewer
    negatives than that, the mini-batch is smaller.

    Parameters
    ----------
    labels
        (K,) int8 of `label_anchors`.
    rng
        Source of the draw.
    config
        The counts.

    Returns
    -------
    Array
        (K,) int8, on the device of `labels`.

    Notes
    -----
    The draw is made on the host, whatever the device: the labels travel there and back.
    """
    return to_device(sample_on_host(to_host(labels), rng=rng, config=config), labels)


def sample_on_host(
    labels: np.ndarray, *, rng: np.random.Generator, config: SamplingConfig
) -> np.ndarray:
    """Return what `sample_minibatch` does, of labels on the host and staying there."""
    drawn = np.full_like(labels, IGNORE)
    positives = draw(np.flatnonzero(labels == POSITIVE), config.max_positives, rng)
    negatives = np.flatnonzero(labels == NEGATIVE)
    negatives = draw(negatives, config.batch_size - len(positives), rng)
    drawn[positives] = POSITIVE
    drawn[negatives] = NEGATIVE
    return drawn


def draw(indices: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` of the indices, or all when there are no more."""
    return rng.choice(indices, count, replace=False) if len(indices) > count else indices


def anchor_targets(anchors: Array, gt_boxes: Array, matched_gt: Array, labels: Array) -> Array:
    """Return the deltas from each positive anchor to its ground truth (eq. 2), and 0 elsewhere.

    Parameters
    ----------
    anchors
        (K, 4) floating point, pixels, half-open; sides above 0.
    gt_boxes
        (M, 4) of the same kind; those matched by a positive have sides above 0.
    matched_gt, labels
        (K,) of `label_anchors`; the labels may be sampled.

    Returns
    -------
    Array
        (K, 4) deltas.

    Notes
    -----
    py-faster-rcnn fills in every anchor inside, and lets its weights hide those not positive.
    """
    xp = namespace_of(anchors, gt_boxes, matched_gt, labels)
    check_box_list(anchors, "anchors")
    check_box_list(gt_boxes, "gt_boxes")
    check_shape(matched_gt, (anchors.shape[0],), "matched_gt")
    check_shape(labels, (anchors.shape[0],), "labels")
    if gt_boxes.shape[0] == 0:
        return xp.zeros_like(anchors)
    matched_boxes = xp.take(gt_boxes, matched_gt, axis=0)
    # From an anchor to itself eq. 2 leads by exactly 0.
    matched_boxes = xp.where((labels == POSITIVE)[:, None], matched_boxes, anchors)
    return encode(anchors, matched_boxes)
