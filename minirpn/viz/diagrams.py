"""Diagrams: curves, bars, numbers in cells, rooflines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.text import for_figure
from minirpn.viz.images import draw_image
from minirpn.viz.style import BLACK, BLUE, CYCLE, DIVERGING, new_axes, style_axes

_MOST_NUMBERS = 400
_CELL = 0.45  # inches


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
        ax.plot(to_host(x), to_host(y), color=color, label=for_figure(name), linewidth=1.8)
    ax.legend(fontsize="small")
    return style_axes(ax, x=x_label, y=y_label, title=title)


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
        Use a logarithmic axis.
    """
    ax = new_axes((6.4, 0.9 + 0.4 * len(values))) if ax is None else ax
    bars = ax.barh(range(len(values)), list(values.values()), color=BLUE, height=0.6)
    ax.set_yticks(range(len(values)), [for_figure(name) for name in values])
    ax.bar_label(bars, fmt=_in_full, padding=4)
    ax.invert_yaxis()
    if log:
        ax.set_xscale("log")
    ax.margins(x=0.15)
    return style_axes(ax, x=x_label, y="", title=title)


def _in_full(value: float) -> str:
    """Return three digits of a number, or all before its point if there are more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def draw_pixels(values: Array, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Return axes with a small grey image, each pixel framed, with its number in it.

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
        _write(ax, row, column, f"{grey[row, column]:g}", dark=shades[row, column] < 140)
    ax.set_xticks(range(W + 1))
    ax.set_yticks(range(H + 1))
    ax.grid(color="0.6", linewidth=0.6)
    return ax


def draw_numbers(
    values: Array,
    ax: Axes | None = None,
    *,
    x_label: str = "column",
    y_label: str = "row",
    title: str = "",
    limit: float | None = None,
) -> Axes:
    """Return axes with a table of numbers, blue below zero and orange above.

    The cell (row, column) covers the square from (x, y) = (column, row) to (column + 1, row + 1),
    as a pixel of `draw_image` does, so that `draw_boxes` can frame cells.

    Parameters
    ----------
    values
        (H, W), at most 400 numbers. A NaN leaves its cell empty.
    ax
        Where to draw; None makes a new figure.
    x_label, y_label
        What the columns and the rows are.
    title
        A line above.
    limit
        The absolute value that gets the full colour; None for the largest of `values`.

    Raises
    ------
    ValueError
        `values` is no matrix, or has too many numbers to read.
    """
    table = np.asarray(to_host(values), dtype=np.float64)
    if table.ndim != 2 or table.size > _MOST_NUMBERS:
        raise ValueError(f"values: expected (H, W) of at most 400 numbers, got {table.shape}")
    H, W = table.shape
    ax = new_axes((max(W * _CELL + 1, 3), max(H * _CELL + 1, 2))) if ax is None else ax
    known = np.isfinite(table)
    limit = np.max(np.abs(table[known]), initial=0) if limit is None else limit
    shade = Normalize(-(limit or 1), limit or 1)
    ax.imshow(
        np.ma.masked_where(~known, table),
        DIVERGING,
        norm=shade,
        extent=(0, W, H, 0),
        aspect="equal",
    )
    for row, column in zip(*np.nonzero(known), strict=True):
        value = table[row, column]
        # Only the blue end of the map is dark.
        _write(ax, row, column, _short(value), dark=shade(value) < 0.15)
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.set_xticks(np.arange(W) + 0.5, labels=map(str, range(W)))
    ax.set_yticks(np.arange(H) + 0.5, labels=map(str, range(H)))
    ax.set_xticks(range(W + 1), minor=True)
    ax.set_yticks(range(H + 1), minor=True)
    ax.tick_params(which="both", length=0)
    ax.grid(which="minor", color="0.6", linewidth=0.6)
    if title:
        ax.set_title(title, fontsize="medium")
    return ax


def _short(value: float) -> str:
    """Return a whole number in full, any other in three digits."""
    return f"{value + 0.0:.0f}" if value.is_integer() else f"{value:.3g}"  # no -0


def _write(ax: Axes, row: int, column: int, text: str, *, dark: bool) -> None:
    """Write into the middle of a cell, in white on a dark one."""
    ax.text(
        column + 0.5,
        row + 0.5,
        text,
        color="white" if dark else BLACK,
        fontsize="small",
        horizontalalignment="center",
        verticalalignment="center",
    )


def plot_roofline(
    points: Mapping[str, tuple[float, float]],
    ax: Axes | None = None,
    *,
    peak: float,
    bandwidth: float,
    colors: Mapping[str, str] | None = None,
    y_label: str = "speed (GFLOP/s)",
    title: str = "",
) -> Axes:
    """Return axes with a named point for each piece of work, under the roof of the machine.

    The roof is ``min(peak, bandwidth x)`` for x operations per byte that moves. Memory is the limit
    under the slope, arithmetic under the flat part.

    Parameters
    ----------
    points
        Name -> (operations per byte that must move, speed in GFLOP/s), both above 0.
    ax
        Where to draw; None makes a new figure.
    peak
        The fastest arithmetic of the machine, GFLOP/s.
    bandwidth
        How fast memory moves, GB/s.
    colors
        Name -> colour; blue for the others.
    y_label
        The quantity of the vertical axis, with its unit in parentheses.
    title
        A line above.

    Notes
    -----
    Williams, Waterman and Patterson, *Roofline*, 2009.
    """
    ax = new_axes() if ax is None else ax
    corner = peak / bandwidth
    intensities = [intensity for intensity, _ in points.values()]
    x = np.geomspace(min(corner, *intensities) / 2, max(corner, *intensities) * 3, 200)
    ax.plot(x, np.minimum(peak, bandwidth * x), color="0.3")
    _note(ax, f"{peak:.0f} GFLOP/s", (corner, peak), (0, 5))
    middle = np.sqrt(x[0] * corner)
    _note(ax, f"{bandwidth:.0f} GB/s", (middle, bandwidth * middle), (8, -8))
    for name, point in points.items():
        ax.plot(*point, "o", color=(colors or {}).get(name, BLUE))
        _note(ax, for_figure(name), point, (5, 4), fontsize="x-small")
    ax.set_xscale("log")
    ax.set_yscale("log")
    return style_axes(ax, x="operations per byte that must move", y=y_label, title=title)


def _note(
    ax: Axes, text: str, place: tuple[float, float], shift: tuple[float, float], **style: Any
) -> None:
    """Write a text beside a place, `shift` in printer's points."""
    style = {"fontsize": "small"} | style
    ax.annotate(text, place, shift, textcoords="offset points", **style)
