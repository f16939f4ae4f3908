"""Variants of a training beside each other, and proposals beside their anchors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.viz.style import BLACK, BLUE, CYCLE, GREY, SKY, VERMILLION, dress, new_axes


def plot_variants(
    values: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    *,
    x_label: str,
    baseline: str | None = None,
    title: str = "",
) -> Axes:
    """Return axes with a row for each variant: a dot for each run, a tick for their mean.

    Parameters
    ----------
    values
        Name -> the values of its runs, perhaps none; the first on top.
    ax
        Where to draw; None makes a new figure.
    x_label
        The quantity, with its unit in parentheses.
    baseline
        The variant whose range is shaded through all rows: what reaches into it does not differ.
    title
        A line above.
    """
    ax = new_axes((6.4, 1.2 + 0.4 * len(values))) if ax is None else ax
    for row, (name, runs) in enumerate(values.items()):
        if len(runs):
            color = VERMILLION if name == baseline else BLUE
            ax.plot([min(runs), max(runs)], [row, row], color=color, linewidth=1.5, alpha=0.6)
            ax.plot(runs, [row] * len(runs), "o", color=color, markersize=5)
        if len(runs) > 1:
            ax.plot([np.mean(runs)], [row], "|", color=BLACK, markersize=14, markeredgewidth=1.8)
            if name == baseline:
                ax.axvspan(min(runs), max(runs), color=SKY, alpha=0.25, linewidth=0)
    ax.set_yticks(range(len(values)), list(values))
    # As an axis with bars has it: the first on top, half a row of room at both ends.
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.margins(x=0.12)
    return dress(ax, x=x_label, y="", title=title)


def plot_proposal_sizes(
    anchors: Array, means: Mapping[str, Array], ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """Return axes with width and height of each anchor, and lines to the means of its proposals.

    Parameters
    ----------
    anchors
        (A, 2) width and height, pixels.
    means
        Name -> (A, 2), nan where an anchor has none.
    ax
        Where to draw; None makes a new figure.
    title
        A line above.

    Raises
    ------
    ValueError
        A mean is not of the shape of `anchors`.
    """
    base = to_host(anchors)
    ax = new_axes((6.0, 5.4)) if ax is None else ax
    for (name, sizes), color, marker in zip(
        means.items(), itertools.cycle((BLUE, VERMILLION, *CYCLE[2:])), itertools.cycle("oD^v")
    ):
        sizes = to_host(sizes)
        if sizes.shape != base.shape:
            raise ValueError(f"means: {name}: expected shape {base.shape}, got {sizes.shape}")
        for start, end in zip(base, sizes, strict=True):
            ax.plot([start[0], end[0]], [start[1], end[1]], color=color, linewidth=1, alpha=0.6)
        if np.any(np.isfinite(sizes)):
            ax.plot(*sizes.T, marker, color=color, markersize=6, label=name)
    ax.plot(*base.T, "s", color=GREY, markerfacecolor="white", markersize=8, label="anchor")
    ax.set(xscale="log", yscale="log", aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(2))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    ax.legend(fontsize="small")
    return dress(ax, x="width (pixels)", y="height (pixels)", title=title)
