"""Diagrams of lessons and benchmarks: curves, bars, and the numbers an image is made of."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.viz.images import draw_image
from minirpn.viz.style import BLACK, BLUE, CYCLE, dress, new_axes

_MOST_NUMBERS = 400


def plot_lines(
    x: Array,
    lines: Mapping[str, Array],
    ax: Axes | None = None,
    *,
    x_label: str,
    y_label: str,
    title: str = "",
) -> Axes:
    """Return axes with a named curve for each entry of `lines`.

    Parameters
    ----------
    x
        (N,), shared by all.
    lines
        Name -> (N,) values.
    ax
        Where to draw; None makes a new figure.
    x_label, y_label
        The quantity of each axis, with its unit in parentheses.
    title
        A line above.
    """
    ax = new_axes() if ax is None else ax
    for (name, y), color in zip(lines.items(), itertools.cycle(CYCLE), strict=False):
        ax.plot(to_host(x), to_host(y), color=color, label=name, linewidth=1.8)
    ax.legend(fontsize="small")
    return dress(ax, x=x_label, y=y_label, title=title)


def plot_bars(
    values: Mapping[str, float],
    ax: Axes | None = None,
    *,
    x_label: str,
    title: str = "",
    log: bool = False,
) -> Axes:
    """Return axes with a bar and its number for each entry of `values`, the first on top.

    Parameters
    ----------
    values
        Name -> length.
    ax
        Where to draw; None makes a new figure.
    x_label
        The quantity, with its unit in parentheses.
    title
        A line above.
    log
        Whether a step to the right multiplies.
    """
    ax = new_axes((6.4, 0.9 + 0.4 * len(values))) if ax is None else ax
    bars = ax.barh(list(values), list(values.values()), color=BLUE, height=0.6)
    ax.bar_label(bars, fmt="{:.3g}", padding=4)
    ax.invert_yaxis()
    if log:
        ax.set_xscale("log")
    ax.margins(x=0.15)
    return dress(ax, x=x_label, y="", title=title)


def draw_pixels(values: Array, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Return axes with a small grey image, a line around each pixel and its number in it.

    Parameters
    ----------
    values
        (H, W), 0 (black) to 255 (white), at most 400 pixels.
    ax
        Where to draw; None makes a new figure.
    title
        A line above the image.

    Raises
    ------
    ValueError
        `values` is no matrix, or has too many pixels to read.
    """
    grey = to_host(values)
    if grey.ndim != 2 or grey.size > _MOST_NUMBERS:
        raise ValueError(f"values: expected (H, W) of at most 400 pixels, got {grey.shape}")
    H, W = grey.shape
    shades = np.clip(grey, 0, 255).astype(np.uint8)
    # (H, W) -> (H, W, 3)
    ax = draw_image(np.repeat(shades[:, :, None], 3, axis=2), ax, title=title)
    for row, column in np.ndindex(H, W):
        ax.text(
            column + 0.5,
            row + 0.5,
            f"{grey[row, column]:g}",
            color="white" if shades[row, column] < 140 else BLACK,
            fontsize="small",
            horizontalalignment="center",
            verticalalignment="center",
        )
    ax.set_xticks(range(W + 1))
    ax.set_yticks(range(H + 1))
    ax.grid(color="0.6", linewidth=0.6)
    return ax
