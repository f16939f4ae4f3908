"""How well anchors fit the objects of a data set before a training, and better anchors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minirpn._typing import ImageSize
from minirpn.boxes import iou
from minirpn.evaluation.recall import IOU_THRESHOLDS, to_plain
from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.targets import NEGATIVE, POSITIVE, LabelConfig, assign, label_anchors

_TABLE_THRESHOLDS = (0.5, 0.6, 0.7)  # the IoU from which on a share of the objects is given

_ROUNDS = 50  # of k-means, at most
_ENOUGH = (0.5, 0.7)  # the IoU that counts as found, and the one that makes a positive
# Scales are multiples of 1/8, which binary numbers hold exactly. With the whole sides of "caffe"
# rounding all coordinates of anchors stay exact, and so do the ties between anchors.
_PARTS = 8


class Scene(NamedTuple):
    """The objects of one image, as the network sees them."""

    gt_boxes: np.ndarray  # (M, 4) half-open pixels of the resized image
    image_size: ImageSize  # of the resized image
    ignored: np.ndarray | None = None  # (I, 4) regions that are neither objects nor background


class Grid(NamedTuple):
    """The grid of the anchors."""

    stride: int  # image pixels per cell
    feature_size: Callable[[ImageSize], ImageSize]  # gives (Hf, Wf) for an image of (height, width)
    offset: tuple[float, float] = (0, 0)  # (dy, dx) pixels, as in `grid_anchors`


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
        The anchors that were measured.
    best_iou
        (M,) the best IoU of an object with any anchor.
    best_iou_inside
        (M,) the same with the anchors that training may use: those inside the image, unless the
        label configuration says otherwise.
    reach
        (M,) how training reaches an object: 2 if an anchor that overlaps it enough learns it; 1 if
        only its best anchors do, which overlap it too little; 0 if none does.
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

    def mean_share(self, *, inside: bool = False) -> float:
        """Return the mean of `share` over IoU 0.5, 0.55 ... 0.95; nan without objects.

        This is the average recall of the anchors as proposals, with no limit on their number.
        """
        return float(np.mean([self.share(iou, inside=inside) for iou in IOU_THRESHOLDS]))

    def reached(self) -> dict[str, int]:
        """Return how many objects training reaches in each way."""
        ways = {"by IoU": 2, "only as the best there is": 1, "not at all": 0}
        return {name: int((self.reach == code).sum()) for name, code in ways.items()}

    @property
    def positives(self) -> np.ndarray:
        """(N,) positive anchors."""
        return self.positives_by_iou + self.positives_as_best

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        positives = self.positives
        shares, shares_inside = (
            {f"{t:g}": to_plain(self.share(t, inside=inside)) for t in _TABLE_THRESHOLDS}
            for inside in (False, True)
        )
        return {
            "scales": list(self.anchors.scales),
            "ratios": list(self.anchors.ratios),
            "base_size": self.anchors.base_size,
            "rounding": self.anchors.rounding,
            "images": len(self.negatives),
            "objects": len(self.best_iou),
            "share_of_objects": shares,
            "share_of_objects_inside": shares_inside,
            "mean_share_of_objects": to_plain(self.mean_share()),
            "mean_share_of_objects_inside": to_plain(self.mean_share(inside=True)),
            "mean_best_iou": _mean(self.best_iou),
            "objects_reached": self.reached(),
            "positives_an_image": {
                "by IoU": _mean(self.positives_by_iou),
                "only as the best there is": _mean(self.positives_as_best),
                "median": float(np.median(positives)) if positives.size else None,
                "images without": int((positives == 0).sum()),
            },
            "negatives_an_image": _mean(self.negatives),
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
        Their grid.
    labels
        When an anchor is positive; None for the paper's rules.

    Notes
    -----
    The overlaps of one image's anchors are not kept, so memory stays small. An object may be
    reached by no anchor although it has a best one: if that anchor overlaps another object more, it
    learns the other one.
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
    """Return (3, M) of the objects: best IoU, the same inside, reach; and (3, 1) anchor counts."""
    size = grid.feature_size(scene.image_size)
    anchors = grid_anchors(base, size, grid.stride, offset=grid.offset)
    gt_boxes = scene.gt_boxes.astype(np.float64)
    everywhere = assign(anchors, gt_boxes, np.ones(len(anchors), dtype=bool), 0.0)
    ignored = None if scene.ignored is None else scene.ignored.astype(np.float64)
    labelled = label_anchors(anchors, gt_boxes, scene.image_size, labels, ignored=ignored)
    positive = labelled.labels == POSITIVE
    enough = positive & (labelled.max_iou >= labels.positive_iou)
    reach = np.zeros(len(gt_boxes))
    reach[labelled.matched_gt[positive]] = 1
    reach[labelled.matched_gt[enough]] = 2
    rows = np.stack([everywhere.gt_max_iou, labelled.gt_max_iou, reach])
    kinds = np.stack([enough, positive & ~enough, labelled.labels == NEGATIVE])
    return rows, kinds.sum(axis=1, keepdims=True)


def _mean(values: np.ndarray) -> float | None:
    """Return the mean, or None if there are no values."""
    return float(values.mean()) if values.size else None


def fit_table(fits: Mapping[str, AnchorFit]) -> str:
    """Return a table with a column for each fit, under its name."""
    columns = [{"": name, **_cells(fit)} for name, fit in fits.items()]
    wide = max(map(len, columns[0]))
    widths = [max(map(len, column.values())) + 3 for column in columns]
    lines = []
    for label in columns[0]:
        cells = (f"{c[label]:>{w}}" for c, w in zip(columns, widths, strict=True))
        lines.append("".join([f"{label:<{wide}}", *cells]))
    return "\n".join(lines)


def _cells(fit: AnchorFit) -> dict[str, str]:
    """Return the cells of one column by the label of their row."""
    cells = {
        "scales": ",".join(f"{scale:g}" for scale in fit.anchors.scales),
        "ratios": ",".join(f"{ratio:g}" for ratio in fit.anchors.ratios),
    }
    for where, inside in (("any anchor", False), ("anchors used in training", True)):
        for threshold in _TABLE_THRESHOLDS:
            share = fit.share(threshold, inside=inside)
            cells[f"objects with IoU >= {threshold:g}, {where}"] = _percent(share)
        mean = fit.mean_share(inside=inside)
        cells[f"objects, mean over IoU 0.5 to 0.95, {where}"] = _percent(mean)
    cells["mean of the best IoU, any anchor"] = _mean_text(fit.best_iou, 3)
    for way, count in fit.reached().items():
        cells[f"objects that training reaches {way}"] = f"{count:,}"
    cells["positives an image, by IoU"] = _mean_text(fit.positives_by_iou, 1)
    cells["positives an image, only as the best there is"] = _mean_text(fit.positives_as_best, 1)
    cells["images without a positive"] = f"{int((fit.positives == 0).sum()):,}"
    cells["negatives an image"] = _mean_text(fit.negatives, 0)
    return cells


def _percent(share: float) -> str:
    """Return a share in percent, or "-" if there is none."""
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def _mean_text(values: np.ndarray, digits: int) -> str:
    """Return the mean of the values with so many digits, or "-" if there are none."""
    return f"{values.mean():,.{digits}f}" if values.size else "-"


def suggest_anchors(
    sides: np.ndarray, config: AnchorConfig, *, rng: np.random.Generator, restarts: int = 16
) -> AnchorConfig:
    """Return anchors that fit the objects better, of as many scales and ratios as `config` has.

    The method is Lloyd's k-means with the distance 1 - IoU of boxes with the same center (Redmon
    and Farhadi, *YOLO9000*, 2017, section 2). As for all anchors, every ratio is used at every
    scale. Each object is assigned to the anchor it overlaps most; then each scale becomes the
    median of the scales of its objects, and each ratio the median of their ratios. Of all
    anchors on the way, those that cover most objects are returned, not those with the best mean:
    the mean would give up a rare size for a better fit to the most frequent one.

    Parameters
    ----------
    sides
        (M, 2) width and height of the objects at the training scale.
    config
        The first start. It also sets the number of scales and of ratios, the base size and the
        rounding.
    rng
        Draws the other starts.
    restarts
        How many other starts there are.

    Returns
    -------
    AnchorConfig
        The best by `shape_fit`; `config` itself if nothing is better.

    Notes
    -----
    Scales are multiples of 1/8, ratios have two digits. Ties: an object that overlaps two anchors
    equally goes to the first; of equal results the first stays.
    """
    if not len(sides):
        return config
    best, best_fit = config, shape_fit(sides, config)
    starts = [config, *(_drawn(sides, config, rng) for _ in range(restarts))]
    for candidate in starts:
        for _ in range(_ROUNDS):
            fit = shape_fit(sides, candidate)
            if fit > best_fit:
                best, best_fit = candidate, fit
            moved = _moved(sides, candidate)
            if moved == candidate:
                break
            candidate = moved
    return best


def shape_fit(sides: np.ndarray, config: AnchorConfig) -> tuple[float, float]:
    """Return how well anchors fit objects with the same centers, as a pair to compare.

    The first number is the share of objects with an IoU of at least 0.5 plus the share with at
    least 0.7 (what counts as found, and what makes a positive). The mean IoU decides among equals.
    """
    best = _overlaps(sides, config).max(axis=1)
    return sum(float((best >= enough).mean()) for enough in _ENOUGH), float(best.mean())


def _moved(sides: np.ndarray, config: AnchorConfig) -> AnchorConfig:
    """Return the anchors moved to the middle of the objects that overlap them most."""
    nearest = _overlaps(sides, config).argmax(axis=1)
    ratio_index, scale_index = np.divmod(nearest, len(config.scales))
    scales, ratios = _scales(sides, config), sides[:, 1] / sides[:, 0]

    def medians(values: np.ndarray, index: np.ndarray, old: tuple[float, ...]) -> list[float]:
        groups = (values[index == i] for i in range(len(old)))
        return [float(np.median(g)) if len(g) else o for g, o in zip(groups, old, strict=True)]

    return _config(
        config,
        medians(scales, scale_index, config.scales),
        medians(ratios, ratio_index, config.ratios),
    )


def _drawn(sides: np.ndarray, config: AnchorConfig, rng: np.random.Generator) -> AnchorConfig:
    """Return anchors with the scales and the ratios of objects drawn at random, unlike each other.

    As in k-means++ (Arthur and Vassilvitskii 2007), the probability of the next object grows with
    the square of its distance from those drawn before.
    """
    boxes, drawn = _centered(sides), [int(rng.integers(len(sides)))]
    while len(drawn) < max(len(config.scales), len(config.ratios)):
        weights = (1 - iou(boxes, boxes[drawn]).max(axis=1)) ** 2
        if not weights.any():  # all objects are of the shapes drawn
            weights = np.ones(len(sides))
        drawn.append(int(rng.choice(len(sides), p=weights / weights.sum())))
    scales, ratios = _scales(sides[drawn], config), sides[drawn, 1] / sides[drawn, 0]
    return _config(
        config, scales[: len(config.scales)].tolist(), ratios[: len(config.ratios)].tolist()
    )


def _config(config: AnchorConfig, scales: list[float], ratios: list[float]) -> AnchorConfig:
    """Return `config` with these scales and ratios, rounded to short numbers and sorted."""
    # Clipped, because an anchor of a more extreme ratio would round to no area.
    least = 1 / config.base_size
    kept = sorted(float(f"{np.clip(ratio, least, 1 / least):.2g}") for ratio in ratios)
    short = sorted(max(round(scale * _PARTS), 1) / _PARTS for scale in scales)
    return replace(config, scales=tuple(short), ratios=tuple(kept))


def _scales(sides: np.ndarray, config: AnchorConfig) -> np.ndarray:
    """Return the scale (M,) of each object."""
    return np.sqrt(sides[:, 0] * sides[:, 1]) / config.base_size


def _overlaps(sides: np.ndarray, config: AnchorConfig) -> np.ndarray:
    """Return the IoU (M, A) of objects and base anchors, all with their centers at (0, 0)."""
    return iou(_centered(sides), base_anchors(config) - config.base_size / 2)


def _centered(sides: np.ndarray) -> np.ndarray:
    """Return boxes (M, 4) of these sides around (0, 0)."""
    half = np.asarray(sides, dtype=np.float64) / 2
    return np.concatenate([-half, half], axis=1)
