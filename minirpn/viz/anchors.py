"""Anchors on an image: those of one cell, and the labels they get."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.rpn.targets import NEGATIVE, POSITIVE
from minirpn.viz.images import draw_boxes, draw_image
from minirpn.viz.style import GREY, ORANGE, SEQUENTIAL, SKY, VERMILLION, legend_below

_GOLDEN = (np.sqrt(5) - 1) / 2


def draw_anchors(image: Array, anchors: Array, ax: Axes | None = None) -> Axes:
    """Return axes with the anchors of a cell, also where they reach beyond the image.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    anchors
        (A, 4) half-open pixels, few enough to be told apart. The colour goes by area; width and
        height in pixels are written at each, and a cross marks the centres.
    ax
        Where to draw; None makes a new figure.
    """
    check_box_list(anchors, "anchors")
    corners = to_host(anchors)
    ax = draw_image(image, ax)
    widths, heights = (corners[:, 2:] - corners[:, :2]).T
    by_area = np.argsort(widths * heights, kind="stable")
    shades = colormaps[SEQUENTIAL](np.linspace(0, 0.9, len(corners)))
    sides = np.round(np.stack([widths, heights], axis=1)[by_area], 1)
    names = [f"{width:g} × {height:g}" for width, height in sides]
    draw_boxes(corners[by_area], ax, colors=shades, names=names)
    if len(corners):
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        ax.plot(*centres.T, "+", color=VERMILLION, markersize=10)
        _show_all(ax, corners)
    return ax


def _show_all(ax: Axes, corners: np.ndarray) -> None:
    """Widen the axes to where the boxes end."""
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    margin = 4
    x1, y1 = corners[:, :2].min(axis=0) - margin
    x2, y2 = corners[:, 2:].max(axis=0) + margin
    ax.set(xlim=(min(left, x1), max(right, x2)), ylim=(max(bottom, y2), min(top, y1)))


def draw_labels(
    image: Array,
    anchors: Array,
    labels: Array,
    gt_boxes: Array,
    by_best: Array | None = None,
    ax: Axes | None = None,
    *,
    negatives: int = 30,
) -> Axes:
    """Return axes with the positive anchors, some of the negative ones, and the ground truths.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    anchors, labels
        (K, 4) and (K,), as `minirpn.rpn.label_anchors` or `sample_minibatch` gives them.
    gt_boxes
        (M, 4) in the same pixels.
    by_best
        (K,) true for anchors that are positive as the best of a ground truth; drawn in another
        colour. None does not tell the two rules of section 3.1.2 apart.
    ax
        Where to draw; None makes a new figure.
    negatives
        How many of the negative anchors are drawn, spread evenly over them.
    """
    check_box_list(anchors, "anchors")
    check_shape(labels, (anchors.shape[0],), "labels")
    corners, label = to_host(anchors), to_host(labels)
    positive = label == POSITIVE
    best = np.zeros_like(positive) if by_best is None else to_host(by_best) & positive
    ax = draw_image(image, ax)
    negative = np.flatnonzero(label == NEGATIVE)
    drawn = _spread(negative, negatives)
    draw_boxes(
        corners[drawn],
        ax,
        colors=GREY,
        linewidth=0.6,
        label=f"negative ({len(negative)}, {len(drawn)} drawn)",
    )
    by_iou = "positive" if by_best is None else "positive by IoU alone"
    draw_boxes(
        corners[positive & ~best], ax, colors=SKY, label=f"{by_iou} ({(positive & ~best).sum()})"
    )
    if by_best is not None:
        draw_boxes(corners[best], ax, colors=ORANGE, label=f"best of an object ({best.sum()})")
    draw_boxes(gt_boxes, ax, colors="white", linewidth=3.5)
    draw_boxes(gt_boxes, ax, colors=VERMILLION, linewidth=2, label=f"object ({gt_boxes.shape[0]})")
    legend_below(ax)
    return ax


def _spread(items: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the items (or all), spread evenly but in step with no period of theirs.

    Every n-th anchor would often be of the same shape; multiples of the golden ratio keep no step.
    """
    if len(items) <= count:
        return items
    return items[np.sort((np.arange(1, count + 1) * _GOLDEN % 1 * len(items)).astype(int))]
