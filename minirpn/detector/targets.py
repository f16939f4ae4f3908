"""Training targets of the detector: sampled regions, their classes and deltas.

A region (of interest) is a proposal that the detector classifies (Girshick, *Fast R-CNN*, 2015,
section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirpn import boxes as box_ops
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import constant, namespace_of, to_device, to_host
from minirpn.fields import check_count
from minirpn.rpn.targets import IGNORE, draw

BACKGROUND = 0
"""Label of a region without an object; class l of the data set has the label l + 1."""

# Divisors of (tx, ty, tw, th), which give each a standard deviation of about 1.
DELTA_STD = (0.1, 0.1, 0.2, 0.2)


@dataclass(frozen=True)
class RegionConfig:
    """The regions of an image that the detector learns from.

    Parameters
    ----------
    batch_size
        Regions sampled from an image: 128 (py-faster-rcnn; Fast R-CNN, section 2.3, has 64 from
        each of two images).
    positive_fraction
        Largest fraction of objects among them: 25 % (Fast R-CNN, section 2.3).
    positive_iou
        A region with at least this IoU with a ground truth is an object: 0.5.
    background_iou
        A region with at least this IoU, and below `positive_iou`, is background: 0.1 in 4-step
        training (Fast R-CNN, section 2.3), 0 in joint training (py-faster-rcnn). None chooses by
        the training scheme.
    add_gt_boxes
        Whether the ground truths themselves join the proposals, as in Fast R-CNN's released code.
    """

    batch_size: int = 128
    positive_fraction: float = 0.25
    positive_iou: float = 0.5
    background_iou: float | None = None
    add_gt_boxes: bool = True

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        if not 0 <= self.positive_fraction <= 1:
            raise ValueError(
                f"positive_fraction: expected a number in [0, 1], got {self.positive_fraction}"
            )
        if not 0 < self.positive_iou <= 1:
            raise ValueError(f"positive_iou: expected above 0, at most 1, got {self.positive_iou}")
        if self.background_iou is not None and not 0 <= self.background_iou < self.positive_iou:
            raise ValueError(
                "background_iou, positive_iou: expected 0 <= background_iou < positive_iou, "
                f"got {self.background_iou} and {self.positive_iou}"
            )

    @property
    def max_positives(self) -> int:
        """Largest number of objects in a sample: 32 of 128."""
        return round(self.batch_size * self.positive_fraction)


class RegionLabels(NamedTuple):
    """Labels of R regions against M ground truths."""

    labels: Array  # (R,) int64: class + 1, BACKGROUND, or IGNORE (neither)
    matched_gt: Array  # (R,) int64: the ground truth with the largest IoU; -1 if there is none
    max_iou: Array  # (R,) float64: that IoU; 0 if there is none


def label_regions(
    regions: Array,
    gt_boxes: Array,
    gt_classes: Array,
    config: RegionConfig = RegionConfig(),
    *,
    ignored: Array | None = None,
) -> RegionLabels:
    """Return the label of each region: its class, background, or ignored.

    Parameters
    ----------
    regions
        (R, 4) floating point, pixels, half-open.
    gt_boxes
        (M, 4) likewise; M may be 0.
    gt_classes
        (M,) int64, positions in the data set's classes.
    config
        The thresholds; a `background_iou` of None means 0.
    ignored
        (I, 4) like `gt_boxes`: regions of the image that are neither objects nor background, such
        as objects left out of the ground truth. None is the same as no region.

    Notes
    -----
    Ties: a region with equal IoU with several ground truths is matched to the first. Overlaps are
    always float64.

    A region that would be background is ignored if its IoU with one of `ignored` is at least
    `positive_iou`: it would be an object if that were a ground truth.
    """
    xp = namespace_of(regions, gt_boxes, gt_classes)
    check_box_list(regions, "regions")
    check_box_list(gt_boxes, "gt_boxes")
    check_shape(gt_classes, (gt_boxes.shape[0],), "gt_classes")
    if gt_boxes.shape[0] == 0:
        max_iou = xp.zeros_like(regions[:, 0], dtype=xp.float64)
        matched = xp.full_like(max_iou, -1, dtype=xp.int64)
        classes = matched
    else:
        overlaps = box_ops.iou(xp.astype(regions, xp.float64), xp.astype(gt_boxes, xp.float64))
        matched = xp.astype(xp.argmax(overlaps, axis=1), xp.int64)
        max_iou = xp.max(overlaps, axis=1)
        classes = xp.take(xp.astype(gt_classes, xp.int64), matched)
    labels = xp.full_like(matched, IGNORE)
    labels = xp.where(max_iou >= (config.background_iou or 0.0), BACKGROUND, labels)
    labels = xp.where(max_iou >= config.positive_iou, classes + 1, labels)
    if ignored is not None and ignored.shape[0] > 0:
        check_box_list(ignored, "ignored")
        overlaps = box_ops.iou(xp.astype(regions, xp.float64), xp.astype(ignored, xp.float64))
        on_ignored = xp.max(overlaps, axis=1) >= config.positive_iou
        labels = xp.where((labels == BACKGROUND) & on_ignored, IGNORE, labels)
    return RegionLabels(labels, matched, max_iou)


def sample_regions(
    labels: Array, *, rng: np.random.Generator, config: RegionConfig = RegionConfig()
) -> Array:
    """Return the indices of the regions of a random mini-batch, those with objects first.

    Up to 32 regions with objects are drawn, and background up to 128 in all. With too little
    background the mini-batch is smaller.

    Parameters
    ----------
    labels
        (R,) int64 from `label_regions`.
    rng
        Draws the sample.
    config
        The counts.

    Returns
    -------
    Array
        (S,) int64 on the device of `labels`, S <= `batch_size`; S may be 0.

    Notes
    -----
    The draw is always on the host: labels are copied from a device, indices back.
    """
    return to_device(sample_on_host(to_host(labels), rng=rng, config=config), labels)


def sample_on_host(
    labels: np.ndarray, *, rng: np.random.Generator, config: RegionConfig
) -> np.ndarray:
    """Return the result of `sample_regions` on the host, for labels on the host."""
    positives = draw(np.flatnonzero(labels > BACKGROUND), config.max_positives, rng)
    background = np.flatnonzero(labels == BACKGROUND)
    background = draw(background, config.batch_size - len(positives), rng)
    return np.concatenate([np.sort(positives), np.sort(background)])


def region_targets(regions: Array, gt_boxes: Array, matched_gt: Array, labels: Array) -> Array:
    """Return the deltas from each region to its object, divided by `DELTA_STD`; 0 for background.

    Parameters
    ----------
    regions
        (R, 4) floating point, pixels, half-open; those with objects have sides above 0.
    gt_boxes
        (M, 4) likewise.
    matched_gt, labels
        (R,) from `label_regions`.

    Returns
    -------
    Array
        (R, 4).

    Notes
    -----
    Eq. 2 of the paper, normalized as in py-faster-rcnn: mean (0, 0, 0, 0), standard deviation
    (0.1, 0.1, 0.2, 0.2). `decode_regions` is the inverse.
    """
    xp = namespace_of(regions, gt_boxes, matched_gt, labels)
    check_box_list(regions, "regions")
    check_shape(matched_gt, (regions.shape[0],), "matched_gt")
    check_shape(labels, (regions.shape[0],), "labels")
    if gt_boxes.shape[0] == 0:
        return xp.zeros_like(regions)
    is_object = (labels > BACKGROUND)[:, None]
    square = constant(np.array([[0.0, 0.0, 1.0, 1.0]]), regions)
    # The deltas from a box to itself are exactly 0; a region may have no sides, a square has.
    starts = xp.where(is_object, regions, square)
    matched_boxes = xp.where(is_object, xp.take(gt_boxes, matched_gt, axis=0), square)
    return box_ops.encode(starts, matched_boxes) / delta_std(regions)


def decode_regions(regions: Array, deltas: Array) -> Array:
    """Return the boxes that normalized deltas (R, ..., 4) make of the regions (R, 4).

    Returns
    -------
    Array
        (R, ..., 4) half-open pixels, not clipped to an image.
    """
    xp = namespace_of(regions, deltas)
    shape = (regions.shape[0], *(1 for _ in deltas.shape[1:-1]), 4)
    return box_ops.decode(xp.reshape(regions, shape), deltas * delta_std(deltas))


def delta_std(like: Array) -> Array:
    """Return `DELTA_STD` (4,) with the library, device and dtype of `like`."""
    return constant(np.array(DELTA_STD), like)
