"""Speeds beside the two limits of a machine: how fast it multiplies, how fast memory moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minirpn.viz.style import BLUE, dress, new_axes

_ROOF = "0.3"


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

    The roof is ``min(peak, bandwidth x)``: what does x operations with each byte it moves is held
    up by memory on the slope, and by arithmetic under the flat part.

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
        Name -> colour; blue for those not named.
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
    ax.plot(x, np.minimum(peak, bandwidth * x), color=_ROOF)
    _write(ax, f"{peak:.0f} GFLOP/s", (corner, peak), (0, 5))
    middle = np.sqrt(x[0] * corner)
    _write(ax, f"{bandwidth:.0f} GB/s", (middle, bandwidth * middle), (8, -8))
    for name, point in points.items():
        ax.plot(*point, "o", color=(colors or {}).get(name, BLUE))
        _write(ax, name, point, (5, 4), fontsize="x-small")
    ax.set_xscale("log")
    ax.set_yscale("log")
    return dress(ax, x="operations per byte that must move", y=y_label, title=title)


def _write(
    ax: Axes, text: str, place: tuple[float, float], shift: tuple[float, float], **style: Any
) -> None:
    """Write a text some printer's points beside a place."""
    style = {"fontsize": "small"} | style
    ax.annotate(text, place, shift, textcoords="offset points", **style)
