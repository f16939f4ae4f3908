"""How well the anchors fit the objects of a data set, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minirpn._typing import ImageSize
from minirpn.kernels.assign import assign
from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.targets import NEGATIVE, POSITIVE, LabelConfig, label_anchors

IOU_THRESHOLDS = (0.5, 0.6, 0.7)
"""The IoU from which on a share of the objects is given."""


class Scene(NamedTuple):
    """The objects of one image, as the network sees them."""

    gt_boxes: np.ndarray  # (M, 4) half-open pixels of the resized image
    image_size: ImageSize  # of the resized image


@dataclass(frozen=True)
class Grid:
    """Where the anchors stand.

    Parameters
    ----------
    stride
        Image pixels per cell.
    feature_size
        Gives (Hf, Wf) for an image of (height, width).
    offset
        (dy, dx) pixels, as `grid_anchors` has it.
    """

    stride: int
    feature_size: Callable[[ImageSize], ImageSize]
    offset: tuple[float, float] = (0, 0)


def vgg16_feature_size(image_size: ImageSize) -> ImageSize:
    """Return (Hf, Wf) of VGG-16 and ZF in Caffe: four poolings by 2, each rounded up.

    Examples
    --------
    >>> vgg16_feature_size((600, 1000))
    (38, 63)
    """
    return -(-image_size[0] // 16), -(-image_size[1] // 16)


VGG16_GRID = Grid(16, vgg16_feature_size)
"""The grid of the paper's networks."""


@dataclass(frozen=True, eq=False)
class AnchorFit:
    """How well anchors fit M objects in N images.

    Parameters
    ----------
    anchors
        What was measured.
    best_iou
        (M,) the best IoU of an object with any anchor.
    best_iou_inside
        (M,) the same with the anchors that training may use: those inside the image, unless the
        labels are told otherwise.
    reach
        (M,) how training reaches an object: 2 if an anchor that overlaps it enough is taught to
        become it; 1 if only anchors that overlap it best of all, though too little; 0 if none is.
    positives_by_iou, positives_as_best
        (N,) positive anchors that overlap enough; those that are positive only as the best ones.
    negatives
        (N,) negative anchors.
    """

    anchors: AnchorConfig
    best_iou: np.ndarray
    best_iou_inside: np.ndarray
    reach: np.ndarray
    positives_by_iou: np.ndarray
    positives_as_best: np.ndarray
    negatives: np.ndarray

    def share(self, iou: float, *, inside: bool = False) -> float:
        """Return the share of objects whose best IoU is at least `iou`; nan without objects."""
        best = self.best_iou_inside if inside else self.best_iou
        return float((best >= iou).mean()) if best.size else float("nan")

    def reached(self) -> dict[str, int]:
        """Return how many objects training reaches in which way."""
        ways = {"by IoU": 2, "only as the best there is": 1, "not at all": 0}
        return {name: int((self.reach == code).sum()) for name, code in ways.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        positives = self.positives_by_iou + self.positives_as_best
        return {
            "scales": list(self.anchors.scales),
            "ratios": list(self.anchors.ratios),
            "base_size": self.anchors.base_size,
            "rounding": self.anchors.rounding,
            "images": len(self.negatives),
            "objects": len(self.best_iou),
            "share_of_objects": {f"{iou:g}": _known(self.share(iou)) for iou in IOU_THRESHOLDS},
            "share_of_objects_inside": {
                f"{iou:g}": _known(self.share(iou, inside=True)) for iou in IOU_THRESHOLDS
            },
            "mean_best_iou": _known(_mean(self.best_iou)),
            "objects_reached": self.reached(),
            "positives_an_image": {
                "by IoU": _known(_mean(self.positives_by_iou)),
                "only as the best there is": _known(_mean(self.positives_as_best)),
                "median": _known(float(np.median(positives)) if positives.size else float("nan")),
                "images without": int((positives == 0).sum()),
            },
            "negatives_an_image": _known(_mean(self.negatives)),
        }


def anchor_fit(
    scenes: Iterable[Scene],
    config: AnchorConfig,
    *,
    grid: Grid = VGG16_GRID,
    labels: LabelConfig | None = None,
) -> AnchorFit:
    """Return how well the anchors fit the objects.

    Parameters
    ----------
    scenes
        The objects, image by image.
    config
        The anchors.
    grid
        Where they stand.
    labels
        When an anchor is positive; None for the paper's rules.

    Notes
    -----
    Memory is that of one image's anchors: their overlaps are not kept. An object can be reached
    by none although an anchor is its best: where that anchor overlaps another object more, it
    learns to become the other one.
    """
    base, labels = base_anchors(config), LabelConfig() if labels is None else labels
    of_objects, of_images = [np.zeros((3, 0))], [np.zeros((3, 0), dtype=int)]
    for scene in scenes:
        objects, counts = _fit_of(scene, base, grid, labels)
        of_objects.append(objects)
        of_images.append(counts)
    best, inside, reach = np.concatenate(of_objects, axis=1)
    by_iou, as_best, negatives = np.concatenate(of_images, axis=1)
    return AnchorFit(config, best, inside, reach.astype(int), by_iou, as_best, negatives)


def _fit_of(
    scene: Scene, base: np.ndarray, grid: Grid, labels: LabelConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return (3, M): best IoU, best IoU of eligible anchors, reach; and (3, 1): anchor counts."""
    anchors = grid_anchors(
        base, grid.feature_size(scene.image_size), grid.stride, offset=grid.offset
    )
    gt_boxes = scene.gt_boxes.astype(np.float64)
    everywhere = assign(anchors, gt_boxes, np.ones(len(anchors), dtype=bool), 0.0)
    labelled = label_anchors(anchors, gt_boxes, scene.image_size, labels)
    positive = labelled.labels == POSITIVE
    enough = positive & (labelled.max_iou >= labels.positive_iou)
    reach = np.zeros(len(gt_boxes))
    reach[labelled.matched_gt[positive]] = 1
    reach[labelled.matched_gt[enough]] = 2
    rows = np.stack([everywhere.gt_max_iou, labelled.gt_max_iou, reach])
    kinds = np.stack([enough, positive & ~enough, labelled.labels == NEGATIVE])
    return rows, kinds.sum(axis=1, keepdims=True)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _known(value: float) -> float | None:
    """Return the value, or None for nan, which JSON has no word for."""
    return None if np.isnan(value) else value
