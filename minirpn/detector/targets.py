"""The detector's targets: which proposals it learns from, their classes and deltas.

A proposal given to the detector is a region of interest, a region for short (Girshick, *Fast
R-CNN*, 2015, section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirpn import boxes as box_ops
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import constant, namespace_of, to_device, to_host
from minirpn.rpn.targets import IGNORE, draw

BACKGROUND = 0
"""The label of a region without an object; class l of the data set has the label l + 1."""

# What a delta is divided by: (tx, ty, tw, th) then spread about as much as a standard normal.
DELTA_STD = (0.1, 0.1, 0.2, 0.2)


@dataclass(frozen=True)
class RegionConfig:
    """Which regions of an image the detector learns from.

    Parameters
    ----------
    batch_size
        Regions sampled from an image: 128 (py-faster-rcnn; Fast R-CNN, section 2.3, takes 64 from
        each of two).
    positive_fraction
        Largest share of objects among them: 25 % (Fast R-CNN, section 2.3).
    positive_iou
        From this IoU with a ground truth on, a region is an object: 0.5.
    background_iou
        Below `positive_iou` and from this IoU on, a region is background: 0.1 in training step
        by step (Fast R-CNN, section 2.3), 0 in joint training (py-faster-rcnn); None takes the one
        that goes with the training.
    add_gt_boxes
        Whether the ground truths themselves join the proposals, as in Fast R-CNN's released code.
    """

    batch_size: int = 128
    positive_fraction: float = 0.25
    positive_iou: float = 0.5
    background_iou: float | None = None
    add_gt_boxes: bool = True

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {self.batch_size}")
        if not 0 <= self.positive_fraction <= 1:
            raise ValueError(
                f"positive_fraction: expected a number in [0, 1], got {self.positive_fraction}"
            )
        if not 0 < self.positive_iou <= 1:
            raise ValueError(f"positive_iou: expected above 0, at most 1, got {self.positive_iou}")
        if self.background_iou is not None and not 0 <= self.background_iou < self.positive_iou:
            raise ValueError(
                f"background_iou: expected 0 to below positive_iou, got {self.background_iou}"
            )

    @property
    def max_positives(self) -> int:
        """Largest number of objects in a sample: 32 of 128."""
        return round(self.batch_size * self.positive_fraction)


class RegionLabels(NamedTuple):
    """Labels of R regions against M ground truths."""

    labels: Array  # (R,) int64: class + 1, BACKGROUND, or IGNORE (neither)
    matched_gt: Array  # (R,) int64: the ground truth overlapped most; -1 if there is none
    max_iou: Array  # (R,) float64: the IoU with it; 0 if there is none


def label_regions(
    regions: Array,
    gt_boxes: Array,
    gt_classes: Array,
    config: RegionConfig = RegionConfig(),
) -> RegionLabels:
    """Return the label of each region: its class, background, or ignored.

    Parameters
    ----------
    regions
        (R, 4) floating point, pixels, half-open.
    gt_boxes
        (M, 4) of the same kind; M may be 0.
    gt_classes
        (M,) int64, positions in the data set's classes.
    config
        The thresholds; a `background_iou` of None counts as 0.

    Notes
    -----
    Where a region overlaps several ground truths equally, the first is its own. Overlaps are
    float64 whatever the dtype of the boxes.
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
    return RegionLabels(labels, matched, max_iou)


def sample_regions(
    labels: Array, *, rng: np.random.Generator, config: RegionConfig = RegionConfig()
) -> Array:
    """Return the indices of the regions drawn into the mini-batch, those with objects first.

    Up to 32 regions with objects are drawn; background fills up to 128. Where there is too little
    of it, the mini-batch is smaller.

    Parameters
    ----------
    labels
        (R,) int64 of `label_regions`.
    rng
        Source of the draw.
    config
        The counts.

    Returns
    -------
    Array
        (S,) int64 on the device of `labels`, S <= `batch_size`; S may be 0.

    Notes
    -----
    The draw is made on the host, whatever the device: labels travel there, indices back.
    """
    return to_device(sample_on_host(to_host(labels), rng=rng, config=config), labels)


def sample_on_host(
    labels: np.ndarray, *, rng: np.random.Generator, config: RegionConfig
) -> np.ndarray:
    """Return the indices of `sample_regions`, from labels on the host to indices on the host."""
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
        (M, 4) of the same kind.
    matched_gt, labels
        (R,) of `label_regions`.

    Returns
    -------
    Array
        (R, 4).

    Notes
    -----
    Eq. 2 of the paper, normalised as in py-faster-rcnn: mean (0, 0, 0, 0), deviation (0.1, 0.1,
    0.2, 0.2). `decode_regions` is the inverse.
    """
    xp = namespace_of(regions, gt_boxes, matched_gt, labels)
    check_box_list(regions, "regions")
    check_shape(matched_gt, (regions.shape[0],), "matched_gt")
    check_shape(labels, (regions.shape[0],), "labels")
    if gt_boxes.shape[0] == 0:
        return xp.zeros_like(regions)
    is_object = (labels > BACKGROUND)[:, None]
    square = constant(np.array([[0.0, 0.0, 1.0, 1.0]]), regions)
    # From a box to itself eq. 2 gives exactly 0, and a unit square has sides to divide by.
    starts = xp.where(is_object, regions, square)
    matched_boxes = xp.where(is_object, xp.take(gt_boxes, matched_gt, axis=0), square)
    return box_ops.encode(starts, matched_boxes) / delta_std(regions)


def decode_regions(regions: Array, deltas: Array) -> Array:
    """Return the boxes that normalised deltas (R, ..., 4) lead to from the regions (R, 4).

    Returns
    -------
    Array
        (R, ..., 4) half-open pixels. Nothing is clipped here.
    """
    xp = namespace_of(regions, deltas)
    shape = (regions.shape[0], *(1 for _ in deltas.shape[1:-1]), 4)
    return box_ops.decode(xp.reshape(regions, shape), deltas * delta_std(deltas))


def delta_std(like: Array) -> Array:
    """Return `DELTA_STD` (4,) in the array library, device and dtype of `like`."""
    return constant(np.array(DELTA_STD), like)
