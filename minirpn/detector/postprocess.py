"""From the output of the detector to detections.

decode for every class -> clip -> score above 0.05 -> NMS class by class -> the 100 best
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirpn import boxes as box_ops
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array, ImageSize
from minirpn.backend import namespace_of, to_host
from minirpn.detector.targets import decode_regions
from minirpn.fields import check_count


class Detections(NamedTuple):
    """The objects detected in one image, highest score first.

    The network's own, on its device; `minirpn.results.Detections` is in original pixels on the
    host.
    """

    boxes: Array  # (D, 4) half-open pixels
    scores: Array  # (D,) probability of the class
    classes: Array  # (D,) int64 positions in the classes of the data set, without background


@dataclass(frozen=True)
class DetectionConfig:
    """Which boxes of the detector become detections.

    Parameters
    ----------
    score_threshold
        The score of a detection is above this: 0.05 (py-faster-rcnn's demo and its COCO settings;
        its VOC settings have 0).
    iou_threshold
        Of two boxes of a class with a larger IoU, NMS drops the one with the lower score: 0.3 (Fast
        R-CNN's released code, ``TEST.NMS``).
    max_detections
        Largest number of detections in an image, of all classes together: 100.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.3
    max_detections: int = 100

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        check_count("max_detections", self.max_detections)


def class_probabilities(logits: Array) -> Array:
    """Return the softmax (R, L + 1) of logits (R, L + 1)."""
    xp = namespace_of(logits)
    exponentials = xp.exp(logits - xp.max(logits, axis=1, keepdims=True))
    return exponentials / xp.sum(exponentials, axis=1, keepdims=True)


def postprocess(
    regions: Array,
    logits: Array,
    deltas: Array,
    image_size: ImageSize,
    *,
    config: DetectionConfig = DetectionConfig(),
) -> Detections:
    """Return the detections of one image, highest score first.

    Parameters
    ----------
    regions
        (R, 4) half-open pixels of the resized image.
    logits
        (R, L + 1) before the softmax, background first.
    deltas
        (R, L + 1, 4) normalized.
    image_size
        (height, width) of the resized image.
    config
        Thresholds and counts.

    Returns
    -------
    Detections
        In pixels of the resized image.

    Raises
    ------
    ValueError
        Shapes do not fit, or a logit is NaN.

    Notes
    -----
    One region may give detections of several classes. Ties: of equal scores the lower class comes
    first, and within a class the earlier region. The check for NaN copies one number from a device,
    in addition to those of `minirpn.boxes.nms`.
    """
    xp = namespace_of(regions, logits, deltas)
    check_box_list(regions, "regions")
    R, classes = logits.shape
    check_shape(logits, (regions.shape[0], None), "logits")
    check_shape(deltas, (R, classes, 4), "deltas")
    probabilities = class_probabilities(logits)
    if to_host(xp.any(xp.isnan(probabilities))):
        raise ValueError("logits: a score is NaN and cannot be ordered")
    # A huge t_w makes a side infinite until it is clipped.
    with np.errstate(over="ignore"):
        boxes = box_ops.clip(decode_regions(regions, deltas), image_size)  # (R, L + 1, 4)
    by_class = [
        _of_class(number, boxes[:, number + 1, :], probabilities[:, number + 1], config)
        for number in range(classes - 1)
    ]
    joined = Detections(*(xp.concat(parts, axis=0) for parts in zip(*by_class, strict=True)))
    count = min(config.max_detections, joined.scores.shape[0])
    best = xp.argsort(joined.scores, descending=True, stable=True)[:count]
    return Detections(*(xp.take(part, best, axis=0) for part in joined))


def _of_class(number: int, boxes: Array, scores: Array, config: DetectionConfig) -> Detections:
    """Return the detections of one class: above the threshold, and not suppressed."""
    xp = namespace_of(boxes, scores)
    above = xp.nonzero(scores > config.score_threshold)[0]
    boxes, scores = xp.take(boxes, above, axis=0), xp.take(scores, above, axis=0)
    kept = box_ops.nms(
        boxes, scores, iou_threshold=config.iou_threshold, max_keep=config.max_detections
    )
    classes = xp.full_like(kept, number, dtype=xp.int64)
    return Detections(xp.take(boxes, kept, axis=0), xp.take(scores, kept, axis=0), classes)
