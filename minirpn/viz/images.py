"""Boxes on images, to the pixel: anchors, labels, proposals, detections, the objectness map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_rgb

from minirpn import boxes as box_ops
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.detector import Detections
from minirpn.rpn.targets import NEGATIVE, POSITIVE
from minirpn.text import for_figure
from minirpn.viz.style import (
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    ORANGE,
    SEQUENTIAL,
    SKY,
    VERMILLION,
    legend_below,
    new_axes,
)

_GOLDEN = (np.sqrt(5) - 1) / 2
_MARGIN = 4  # pixels around anchors that reach beyond the image
_LONGER_SIDE = 6.4  # inches
_CAPTION_WIDTH, _CAPTION_HEIGHT = 5.5, 13  # points, of a letter and of a line


def draw_image(image: Array, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Return axes with the image, whose coordinates are those of half-open boxes.

    Pixel (row, column) covers the square from (x, y) = (column, row) to (column + 1, row + 1). So
    the whole image is the box (0, 0, W, H), and the edges of boxes lie between pixels.
    (matplotlib puts the *center* of the first pixel at 0 by default.)

    Parameters
    ----------
    image
        (H, W, 3) uint8, RGB.
    ax
        Where to draw; None makes a new figure.
    title
        A line above the image.

    Raises
    ------
    ValueError
        `image` has another shape.
    """
    pixels = to_host(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"image: expected shape (H, W, 3), got {pixels.shape}")
    H, W, _ = pixels.shape
    if ax is None:
        inch = _LONGER_SIDE / max(H, W)
        # Room for the labels and the title, on narrow and flat images too.
        ax = new_axes((max(W * inch + 0.7, 5.0), max(H * inch + 0.7, 2.6)))
    ax.imshow(pixels, extent=(0, W, H, 0), interpolation="nearest")
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)")
    if title:
        ax.set_title(title, fontsize="medium")
    return ax


def draw_boxes(
    boxes: Array,
    ax: Axes | None = None,
    *,
    image: Array | None = None,
    names: Sequence[str] | None = None,
    scores: Array | None = None,
    colors: str | Sequence[str] | np.ndarray = BLUE,
    linestyle: str = "-",
    linewidth: float = 1.5,
    label: str | None = None,
) -> Axes:
    """Return axes with the outline of each box.

    Parameters
    ----------
    boxes
        (R, 4) half-open pixels of the image. Later ones are drawn over earlier ones.
    ax
        Where to draw; None makes a new figure.
    image
        (H, W, 3) uint8, drawn first.
    names
        A word for each box, such as its class, written at its upper left corner.
    scores
        (R,) written after the names, with two digits.
    colors
        One colour for all, or one for each box.
    linestyle, linewidth
        As in matplotlib.
    label
        What the legend calls these boxes.

    Raises
    ------
    ValueError
        `boxes` is not (R, 4), or there are more or fewer `names` or `scores`.
    """
    check_box_list(boxes)
    corners = to_host(boxes)
    if image is not None:
        ax = draw_image(image, ax)
    elif ax is None:
        low, high = corners[:, :2].min(axis=0, initial=0), corners[:, 2:].max(axis=0, initial=1)
        ax = pixel_axes(new_axes((_LONGER_SIDE, _LONGER_SIDE)), low, high)
    x1, y1, x2, y2 = corners.T
    outlines = np.stack([x1, y1, x2, y1, x2, y2, x1, y2, x1, y1], axis=1)
    ax.add_collection(
        LineCollection(
            list(outlines.reshape(-1, 5, 2)),  # (R, 10) -> (R, 5 corners, 2), closed
            colors=colors,
            linestyles=linestyle,
            linewidths=linewidth,
            capstyle="projecting" if linestyle == "-" else "butt",
            label=None if label is None else for_figure(label),
        ),
        autolim=False,
    )
    captions = _captions(len(corners), names, scores)
    each = [colors] * len(corners) if isinstance(colors, str) else colors
    taken: list[np.ndarray] = []
    ax.apply_aspect()  # so that places on the page are known before it is drawn
    for box, caption, color in zip(corners, captions, each, strict=False):
        _write(ax, box, caption, color, taken)
    return ax


def pixel_axes(ax: Axes, low: np.ndarray, high: np.ndarray) -> Axes:
    """Return axes that show the pixels from (x, y) `low` to `high`, with y growing downward."""
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)", aspect="equal")
    ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))
    return ax


def _captions(count: int, names: Sequence[str] | None, scores: Array | None) -> list[str]:
    """Return "name score" for each box, or nothing if neither is given."""
    parts = []
    if names is not None:
        parts.append([for_figure(str(name)) for name in names])
    if scores is not None:
        parts.append([f"{score:.2f}" for score in to_host(scores)])
    for part in parts:
        if len(part) != count:
            raise ValueError(f"{count} boxes, but {len(part)} names or scores")
    return [" ".join(words) for words in zip(*parts, strict=True)]


def _write(
    ax: Axes, box: np.ndarray, caption: str, color: str | np.ndarray, taken: list[np.ndarray]
) -> None:
    """Write a caption on a background of `color`, inside the upper left corner of a box.

    Where an earlier one already is, it goes to the first corner that is free: near equal boxes
    keep their names. `taken` has the earlier places, in points; this one is added.
    """
    luminance = np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722))  # ITU-R BT.709
    x, y, right, down = _free_corner(ax, box, caption, taken)
    ax.annotate(
        caption,
        (x, y),
        xytext=(-2 if right else 2, 2 if down else -2),
        textcoords="offset points",
        color="black" if luminance > 0.45 else "white",
        fontsize="small",
        horizontalalignment="right" if right else "left",
        verticalalignment="bottom" if down else "top",
        bbox={"facecolor": color, "edgecolor": "none", "pad": 1.5},
        annotation_clip=True,
    )


def _free_corner(
    ax: Axes, box: np.ndarray, caption: str, taken: list[np.ndarray]
) -> tuple[float, float, bool, bool]:
    """Return the corner (x, y) for a caption, and whether it is a right and a lower one."""
    size = np.array([_CAPTION_WIDTH * len(caption), _CAPTION_HEIGHT])  # points, roughly
    places = []
    for right, down in ((False, False), (True, False), (False, True), (True, True)):
        corner = box[2 if right else 0], box[3 if down else 1]
        at = ax.transData.transform(corner) * 72 / ax.figure.dpi  # y grows upward
        low = at - size * [right, not down]
        places.append((np.concatenate([low, low + size]), (*corner, right, down)))
    place, found = next(
        (both for both in places if not any(_meet(both[0], other) for other in taken)), places[0]
    )
    taken.append(place)
    return found


def _meet(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())


def draw_anchors(image: Array, anchors: Array, ax: Axes | None = None) -> Axes:
    """Return axes with the anchors of a cell, even beyond the border of the image.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    anchors
        (A, 4) half-open pixels, only a few. The colour shows the area; width and height in pixels
        are written at each, and a cross marks the centers.
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
        centers = (corners[:, :2] + corners[:, 2:]) / 2
        ax.plot(*centers.T, "+", color=VERMILLION, markersize=10)
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        x1, y1 = corners[:, :2].min(axis=0) - _MARGIN
        x2, y2 = corners[:, 2:].max(axis=0) + _MARGIN
        ax.set(xlim=(min(left, x1), max(right, x2)), ylim=(max(bottom, y2), min(top, y1)))
    return ax


def draw_labels(
    image: Array,
    anchors: Array,
    labels: Array,
    gt_boxes: Array,
    by_best: Array | None = None,
    ax: Axes | None = None,
    *,
    negatives: int = 30,
    ignored: Array | None = None,
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
        (K,) true for anchors that are positive because they are the best of a ground truth; they
        get another colour. None: one colour for both rules of section 3.1.2.
    ax
        Where to draw; None makes a new figure.
    negatives
        How many of the negative anchors are drawn, spread evenly over all of them.
    ignored
        (I, 4) ignored regions in the same pixels.
    """
    check_box_list(anchors, "anchors")
    check_shape(labels, (anchors.shape[0],), "labels")
    corners, label = to_host(anchors), to_host(labels)
    positive = label == POSITIVE
    best = np.zeros_like(positive) if by_best is None else to_host(by_best) & positive
    ax = draw_image(image, ax)
    negative = np.flatnonzero(label == NEGATIVE)
    drawn = spread_evenly(negative, negatives)
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
    if ignored is not None and ignored.shape[0] > 0:
        name = f"ignored region ({ignored.shape[0]})"
        draw_boxes(ignored, ax, colors=GREY, linestyle="--", linewidth=2, label=name)
    draw_boxes(gt_boxes, ax, colors="white", linewidth=3.5)
    # Black, because vermillion is too near to the orange of the best anchors.
    draw_boxes(gt_boxes, ax, colors=BLACK, linewidth=2, label=f"object ({gt_boxes.shape[0]})")
    legend_below(ax)
    return ax


def spread_evenly(items: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the items (or all), spread evenly over them.

    Every n-th anchor would often have the same shape. Multiples of the golden ratio have no period.
    """
    if len(items) <= count:
        return items
    return items[np.sort((np.arange(1, count + 1) * _GOLDEN % 1 * len(items)).astype(int))]


def plot_objectness(
    objectness: Array, image: Array, ax: Axes | None = None, *, stride: float = 16
) -> Axes:
    """Return axes with the image and, over it, the probability of an object in each cell.

    Parameters
    ----------
    objectness
        (Hf, Wf) probabilities, or (Hf, Wf, A); then each cell shows its largest.
    image
        (H, W, 3) uint8.
    ax
        Where to draw; None makes a new figure.
    stride
        Image pixels a cell covers.

    Raises
    ------
    ValueError
        `objectness` has neither two nor three axes.
    """
    cells = to_host(objectness)
    if cells.ndim not in (2, 3):
        raise ValueError(f"objectness: expected (Hf, Wf) or (Hf, Wf, A), got {cells.shape}")
    if cells.ndim == 3:
        cells = cells.max(axis=2)  # (Hf, Wf, A) -> (Hf, Wf)
    ax = draw_image(image, ax, title="objectness of each cell")
    limits = ax.get_xlim(), ax.get_ylim()
    Hf, Wf = cells.shape
    heat = ax.imshow(
        cells,
        extent=(0, Wf * stride, Hf * stride, 0),
        interpolation="nearest",
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=1,
        alpha=0.6,
    )
    ax.set(xlim=limits[0], ylim=limits[1])  # the last cells may cover more than the image
    ax.figure.colorbar(heat, ax=ax, label="probability of an object", shrink=0.8)
    return ax


def draw_proposals(
    image: Array,
    proposals: Array,
    scores: Array,
    gt_boxes: Array | None = None,
    ax: Axes | None = None,
    *,
    top: int = 50,
    iou_threshold: float = 0.5,
) -> Axes:
    """Return axes with the first proposals, coloured by score, and the objects found and missed.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    proposals, scores
        (R, 4) half-open pixels of the image and (R,) from 0 to 1, the best first.
    gt_boxes
        (M, 4) in the same pixels. Found ones (any of the drawn proposals reaches `iou_threshold`)
        are drawn solid, missed ones dashed.
    ax
        Where to draw; None makes a new figure.
    top
        How many proposals are drawn.
    iou_threshold
        The IoU from which an object counts as found.
    """
    check_box_list(proposals, "proposals")
    check_shape(scores, (proposals.shape[0],), "scores")
    # The worst first, so that the best are on top.
    first, score = to_host(proposals)[:top][::-1], to_host(scores)[:top][::-1]
    ax = draw_image(image, ax)
    scale = ScalarMappable(Normalize(0, 1), colormaps[SEQUENTIAL])
    draw_boxes(first, ax, colors=scale.to_rgba(score), linewidth=1.2)
    ax.figure.colorbar(scale, ax=ax, label="score (probability of an object)", shrink=0.8)
    title = f"the {len(first)} best proposals"
    if gt_boxes is not None:
        objects = to_host(gt_boxes)
        found: Any = (box_ops.iou(first, objects) >= iou_threshold).any(axis=0)
        # Colours that no score has, and a white edge that shows on any image.
        draw_boxes(objects, ax, colors="white", linewidth=4)
        draw_boxes(objects[found], ax, colors=BLACK, linewidth=2.5, label="object, found")
        missed: Any = {"colors": VERMILLION, "linestyle": "--", "label": "object, missed"}
        draw_boxes(objects[~found], ax, linewidth=2.5, **missed)
        legend_below(ax)
        title += f" find {found.sum()} of {len(found)} objects at IoU ≥ {iou_threshold:g}"
    ax.set_title(title, fontsize="medium")
    return ax


def draw_detections(
    image: Array,
    detections: Detections,
    classes: Sequence[str],
    ax: Axes | None = None,
    *,
    score_threshold: float = 0.0,
) -> Axes:
    """Return axes with the image and each detection, with its class and its score.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    detections
        In pixels of the image.
    classes
        The names. A class has the same colour in every image; with more than eight classes, some
        share a colour.
    ax
        Where to draw; None makes a new figure.
    score_threshold
        Detections of a lower score are left out.
    """
    check_box_list(detections.boxes, "detections.boxes")
    D = detections.boxes.shape[0]
    check_shape(detections.scores, (D,), "detections.scores")
    check_shape(detections.classes, (D,), "detections.classes")
    boxes, scores, labels = map(to_host, detections)
    kept = np.flatnonzero(scores >= score_threshold)
    # The lowest score first, so that the highest is on top.
    kept = kept[np.argsort(scores[kept], kind="stable")]
    count = f"{len(kept)} detection{'' if len(kept) == 1 else 's'}"
    least = f" of at least {score_threshold:g}" if score_threshold else ""
    ax = draw_image(image, ax, title=count + least)
    return draw_boxes(
        boxes[kept],
        ax,
        names=[classes[label] for label in labels[kept]],
        scores=scores[kept],
        colors=[CYCLE[label % len(CYCLE)] for label in labels[kept]],
        linewidth=2,
    )
