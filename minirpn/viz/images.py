"""An image and boxes on it, to the pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from minirpn._checks import check_box_list
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.viz.style import BLUE, new_axes

_LONGER_SIDE = 6.4  # inches


def draw_image(image: Array, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Return axes with the image, whose coordinates are those of half-open boxes.

    Pixel (row, column) covers the square from (x, y) = (column, row) to (column + 1, row + 1), so
    that the whole image is the box (0, 0, W, H) and the edges of boxes lie between pixels.
    (matplotlib alone would put the *centre* of the first pixel at 0.)

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
        # Room for the labels and the title, and for them on narrow and flat images too.
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
        (R,) written behind the names, in two digits.
    colors
        One colour for all, or one for each box.
    linestyle, linewidth
        As matplotlib has them.
    label
        What the legend calls these boxes.

    Raises
    ------
    ValueError
        `boxes` is not (R, 4), or `names` or `scores` are not as many.
    """
    check_box_list(boxes)
    corners = to_host(boxes)
    if image is not None or ax is None:
        ax = _canvas(corners, ax, image)
    x1, y1, x2, y2 = corners.T
    outlines = np.stack([x1, y1, x2, y1, x2, y2, x1, y2, x1, y1], axis=1)
    ax.add_collection(
        LineCollection(
            list(outlines.reshape(-1, 5, 2)),  # (R, 10) -> (R, 5 corners, 2), closed
            colors=colors,
            linestyles=linestyle,
            linewidths=linewidth,
            capstyle="projecting" if linestyle == "-" else "butt",
            label=label,
        ),
        autolim=False,
    )
    captions = _captions(len(corners), names, scores)
    each = [colors] * len(corners) if isinstance(colors, str) else colors
    for (x, y), caption, color in zip(corners[:, :2], captions, each, strict=False):
        _write(ax, x, y, caption, color)
    return ax


def _canvas(corners: np.ndarray, ax: Axes | None, image: Array | None) -> Axes:
    """Return axes with the image, or empty ones in which the boxes have room."""
    if image is not None:
        return draw_image(image, ax)
    ax = new_axes((_LONGER_SIDE, _LONGER_SIDE))
    low = corners[:, :2].min(axis=0, initial=0)
    high = corners[:, 2:].max(axis=0, initial=1)
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)", aspect="equal")
    ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))  # y grows downward
    return ax


def _captions(count: int, names: Sequence[str] | None, scores: Array | None) -> list[str]:
    """Return "name score" for each box, or nothing where neither is given."""
    parts = []
    if names is not None:
        parts.append([str(name) for name in names])
    if scores is not None:
        parts.append([f"{score:.2f}" for score in to_host(scores)])
    for part in parts:
        if len(part) != count:
            raise ValueError(f"{count} boxes, but {len(part)} names or scores")
    return [" ".join(words) for words in zip(*parts, strict=True)]


def _write(ax: Axes, x: float, y: float, caption: str, color: str | np.ndarray) -> None:
    """Write a caption on a ground of `color`, inside the upper left corner of a box."""
    luminance = np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722))  # ITU-R BT.709
    ax.annotate(
        caption,
        (x, y),
        xytext=(2, -2),
        textcoords="offset points",
        color="black" if luminance > 0.45 else "white",
        fontsize="small",
        verticalalignment="top",
        bbox={"facecolor": color, "edgecolor": "none", "pad": 1.5},
        annotation_clip=True,
    )
