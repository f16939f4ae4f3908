"""Anchors against the objects of a data set: how well they fit, and where they miss."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter, StrMethodFormatter

from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.evaluation import AnchorFit
from minirpn.rpn.anchors import AnchorConfig, base_anchors
from minirpn.viz.style import BLUE, CYCLE, GREY, VERMILLION, dress, new_axes

_BINS = np.linspace(0, 1, 41)
_MARKERS = ("X", "o", "s", "D")


def plot_best_iou(
    fits: Mapping[str, AnchorFit], ax: Axes | None = None, *, marks: tuple[float, ...] = (0.3, 0.7)
) -> Axes:
    """Return axes with the share of objects by their best IoU, an outline for each fit.

    Parameters
    ----------
    fits
        By the name that the legend gives them; those of training's anchors are drawn.
    ax
        Where to draw; None makes a new figure.
    marks
        Thresholds of the labels, drawn as lines.
    """
    ax = new_axes() if ax is None else ax
    for (name, fit), color in zip(fits.items(), itertools.cycle((BLUE, VERMILLION, *CYCLE[2:]))):
        best = fit.best_iou_inside
        share, _ = np.histogram(best, _BINS)
        shown = fit.share(marks[-1], inside=True)
        label = f"{name}: {100 * shown:.1f} % reach {marks[-1]:g}" if best.size else name
        ax.stairs(share / max(best.size, 1), _BINS, color=color, linewidth=1.8, label=label)
    for mark in marks:
        ax.axvline(mark, color=GREY, linestyle=":", linewidth=1.2)
    ax.set(xlim=(0, 1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(fontsize="small", loc="upper left")
    objects = max((fit.best_iou.size for fit in fits.values()), default=0)
    return dress(
        ax,
        x="IoU of an object with the best anchor that training uses",
        y="objects (%)",
        title=f"fit of the anchors to {objects:,} objects",
    )


def plot_box_shapes(
    sides: Array, anchors: Mapping[str, AnchorConfig], ax: Axes | None = None
) -> Axes:
    """Return axes with the density of objects by size and ratio, and the anchors over it.

    Parameters
    ----------
    sides
        (M, 2) width and height of the objects, pixels at the training scale.
    anchors
        By the name that the legend gives them.
    ax
        Where to draw; None makes a new figure.

    Raises
    ------
    ValueError
        `sides` is not (M, 2).
    """
    width_height = to_host(sides)
    if width_height.ndim != 2 or width_height.shape[1] != 2:
        raise ValueError(f"sides: expected shape (M, 2), got {width_height.shape}")
    ax = new_axes((6.4, 5.0)) if ax is None else ax
    ax.set(xscale="log", yscale="log")
    if len(width_height):
        density = ax.hexbin(
            *_size_and_ratio(width_height),
            gridsize=(44, 30),
            xscale="log",
            yscale="log",
            cmap="Greys",
            bins="log",
            mincnt=1,
            vmin=0.3,  # so that a single object is not white
            linewidths=0.1,
        )
        figure = ax.get_figure()
        if figure is not None:
            figure.colorbar(density, ax=ax, label="objects", pad=0.02)
    for (name, config), color, marker in zip(
        anchors.items(), (BLUE, VERMILLION, *CYCLE[2:]), itertools.cycle(_MARKERS)
    ):
        corners = base_anchors(config)
        ax.plot(
            *_size_and_ratio(corners[:, 2:] - corners[:, :2]),
            marker,
            color=color,
            markersize=9,
            markeredgecolor="white",
            label=name,
        )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(2))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    ax.legend(fontsize="small", loc="upper left")
    title = f"{len(width_height):,} objects at the training scale"
    return dress(ax, x="size: root of the area (pixels)", y="ratio: height / width", title=title)


def _size_and_ratio(sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width, height = np.asarray(sides, dtype=np.float64).T
    return np.sqrt(width * height), height / width
