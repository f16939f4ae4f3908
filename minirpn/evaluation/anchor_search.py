"""Scales and ratios that fit the objects of a data set: k-means whose distance is 1 - IoU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minirpn.boxes import iou
from minirpn.rpn.anchors import AnchorConfig, base_anchors

_ROUNDS = 50
_ENOUGH = (0.5, 0.7)
# Eighths are exact in binary: with the whole sides of "caffe" rounding all coordinates of anchors
# stay exact, and with them the ties between anchors.
_PARTS = 8


def suggest_anchors(
    sides: np.ndarray, config: AnchorConfig, *, rng: np.random.Generator, restarts: int = 16
) -> AnchorConfig:
    """Return anchors of as many scales and ratios as `config` has that fit the objects better.

    Lloyd's k-means with the distance 1 - IoU of boxes laid centre on centre (Redmon and Farhadi,
    *YOLO9000*, 2017, section 2), except that the clusters stand on a grid: every ratio at every
    scale, because that is what anchors are. Each object goes to the anchor it overlaps most; then
    each scale becomes the median of the scales of its objects, and each ratio likewise. Of all
    anchors met on the way, those are returned that cover most objects, not those of the best mean:
    the mean would give a rare size away for a better fit to the most frequent one.

    Parameters
    ----------
    sides
        (M, 2) width and height of the objects at the training scale.
    config
        Says how many scales and ratios, the base size and the rounding; the first start.
    rng
        Draws the other starts.
    restarts
        How many of those.

    Returns
    -------
    AnchorConfig
        The best by `shape_fit`; `config` itself if nothing is better.

    Notes
    -----
    Scales are multiples of 1/8, ratios have two digits. Ties: an object that overlaps two anchors
    equally goes to the first; of equal results the first found stays.
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
    """Return how well anchors fit objects on the same centres, to be compared as a pair.

    First the share of objects with an IoU of at least 0.5 plus the share of at least 0.7 (what
    counts as found, and what makes a positive); then, among equals, the mean IoU.
    """
    best = iou(_centred(sides), _shapes(config)).max(axis=1)
    return sum(float((best >= enough).mean()) for enough in _ENOUGH), float(best.mean())


def _moved(sides: np.ndarray, config: AnchorConfig) -> AnchorConfig:
    """Return the anchors moved to the middle of the objects that overlap them most."""
    nearest = iou(_centred(sides), _shapes(config)).argmax(axis=1)
    ratio_index, scale_index = np.divmod(nearest, len(config.scales))
    scales, ratios = _scales(sides, config), sides[:, 1] / sides[:, 0]
    return _config(
        config,
        [_median(scales[scale_index == i], old) for i, old in enumerate(config.scales)],
        [_median(ratios[ratio_index == i], old) for i, old in enumerate(config.ratios)],
    )


def _drawn(sides: np.ndarray, config: AnchorConfig, rng: np.random.Generator) -> AnchorConfig:
    """Return anchors with the scales and the ratios of objects drawn by chance, unlike ones.

    As k-means++ does (Arthur and Vassilvitskii 2007): each next object with a probability that
    goes by the square of its distance from those drawn before.
    """
    boxes, drawn = _centred(sides), [int(rng.integers(len(sides)))]
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
    # A ratio so extreme that its anchor would round to no area is held within what has one.
    least = 1 / config.base_size
    kept = sorted(float(f"{np.clip(ratio, least, 1 / least):.2g}") for ratio in ratios)
    short = sorted(max(round(scale * _PARTS), 1) / _PARTS for scale in scales)
    return replace(config, scales=tuple(short), ratios=tuple(kept))


def _scales(sides: np.ndarray, config: AnchorConfig) -> np.ndarray:
    return np.sqrt(sides[:, 0] * sides[:, 1]) / config.base_size


def _median(values: np.ndarray, otherwise: float) -> float:
    return float(np.median(values)) if len(values) else otherwise


def _shapes(config: AnchorConfig) -> np.ndarray:
    """Return the base anchors (A, 4) moved so that their centres lie at (0, 0)."""
    return base_anchors(config) - config.base_size / 2


def _centred(sides: np.ndarray) -> np.ndarray:
    """Return boxes (M, 4) of these sides around (0, 0)."""
    half = np.asarray(sides, dtype=np.float64) / 2
    return np.concatenate([-half, half], axis=1)
