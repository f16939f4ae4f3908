"""The quality of results: recall, precision, the fit of anchors, variants side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.evaluation import (
    AnchorFit,
    APResult,
    Method,
    PrecisionRecall,
    RecallResult,
    envelope,
)
from minirpn.rpn.anchors import AnchorConfig, base_anchors
from minirpn.text import for_figure
from minirpn.viz.style import (
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    SKY,
    VERMILLION,
    new_axes,
    power_of_two_ticks,
    style_axes,
)

_BINS = np.linspace(0, 1, 41)
_MOST_OTHERS = 300  # grey curves: more are a grey area
_RECALLS = np.linspace(0, 1, 201)  # where curves are averaged


def plot_recall(result: RecallResult, ax: Axes | None = None) -> Axes:
    """Return axes with recall over the IoU threshold, a line for each number of proposals.

    Parameters
    ----------
    result
        What `minirpn.evaluation.proposal_recall` measured. The legend gives the average recall.
    ax
        Where to draw; None makes a new figure.
    """
    ax = new_axes() if ax is None else ax
    # Counts beyond the number of proposals give the same line: it is drawn once.
    rows_of_line: dict[bytes, list[int]] = {}
    for row, recall in enumerate(result.recall):
        rows_of_line.setdefault(recall.tobytes(), []).append(row)
    for rows, color in zip(rows_of_line.values(), itertools.cycle(CYCLE), strict=False):
        counts = " or ".join(f"{result.counts[row]:,}" for row in rows)
        ax.plot(
            result.iou_thresholds,
            result.recall[rows[0]],
            "o-",
            markersize=3.5,
            color=color,
            label=f"{counts} (AR {result.average_recall[rows[0]]:.3f})",
        )
    ax.set(ylim=(0, 1.02))
    ax.legend(title="proposals an image", fontsize="small")
    return style_axes(
        ax,
        x="IoU that counts as found",
        y="recall (share of objects)",
        title=f"recall of {result.gt_count:,} objects",
    )


def plot_precision_recall(
    result: APResult, ax: Axes | None = None, *, method: Method | None = None
) -> Axes:
    """Return axes with the precision-recall curve of each class, and its average precision.

    The lines are the envelopes; average precision is the area under them. Up to eight classes have
    a colour each, with the curve itself in pale behind its envelope. With more classes the best and
    the worst have a colour, the others are grey, and the mean of all is black.

    Parameters
    ----------
    result
        Of `minirpn.evaluation.average_precision`. A class without objects has no curve.
    ax
        Where to draw; None makes a new figure.
    method
        Which average is in the legend; None for the one of the result.
    """
    ax = new_axes() if ax is None else ax
    method = method or result.method
    ap = result.ap_by(method)
    known = [index for index in range(len(ap)) if not np.isnan(ap[index])]
    known.sort(key=lambda index: -ap[index])
    names = [for_figure(name) for name in result.classes]
    if len(known) <= len(CYCLE):
        for color, index in zip(CYCLE, known, strict=False):
            curve = result.curves[index]
            ax.plot(curve.recall, curve.precision, color=color, linewidth=0.8, alpha=0.4)
            _draw_envelope(ax, curve, color, f"{names[index]} ({ap[index]:.3f})")
    else:
        _draw_extremes(ax, result, known, ap)
    if known:
        # Beside the curves, because they may pass through any corner.
        ax.legend(
            title=f"AP ({method})", fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1)
        )
    mean = f", mean AP {result.mean_by(method):.3f}" if known else ": no objects"
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05))
    return style_axes(
        ax,
        x="recall (share of objects)",
        y="precision (share of detections)",
        title=f"detections at an IoU of {result.iou_threshold:g}{mean}",
    )


def _draw_extremes(ax: Axes, result: APResult, known: list[int], ap: np.ndarray) -> None:
    """Draw classes, given from best to worst: these two in colour, and the mean of all."""
    best, *others, worst = known
    label: str | None = f"{len(others)} others"
    for index in others[:: 1 + len(others) // _MOST_OTHERS]:
        _draw_envelope(ax, result.curves[index], GREY, label, linewidth=0.8)
        label = None  # one line in the legend is enough
    for index, color, word in ((best, BLUE, "best"), (worst, VERMILLION, "worst")):
        label = f"{word}: {for_figure(result.classes[index])} ({ap[index]:.3f})"
        _draw_envelope(ax, result.curves[index], color, label)
    mean = np.mean([_envelope_at(result.curves[index], _RECALLS) for index in known], axis=0)
    label = f"mean ({ap[known].mean():.3f})"
    ax.step(_RECALLS, mean, where="pre", color=BLACK, linewidth=2.2, label=label)


def _draw_envelope(
    ax: Axes, curve: PrecisionRecall, color: str, label: str | None, *, linewidth: float = 1.8
) -> None:
    """Draw the envelope from recall 0 to the highest recall."""
    is_hit = np.diff(curve.hits, prepend=0) > 0
    recalls, heights = curve.recall[is_hit], envelope(curve.precision)[is_hit]
    # "pre": each height reaches back to the recall before it, the first one to 0.
    ax.step(
        np.append(np.zeros_like(recalls[:1]), recalls),
        np.append(heights[:1], heights),
        where="pre",
        color=color,
        label=label,
        linewidth=linewidth,
    )


def _envelope_at(curve: PrecisionRecall, recall: np.ndarray) -> np.ndarray:
    """Return the envelope's precision at points of recall; 0 beyond the highest recall."""
    heights = np.append(envelope(curve.precision), 0.0)
    return heights[np.searchsorted(curve.recall, recall)]


def plot_best_iou(
    fits: Mapping[str, AnchorFit], ax: Axes | None = None, *, marks: tuple[float, ...] = (0.3, 0.7)
) -> Axes:
    """Return axes with the share of objects by their best IoU, an outline for each fit.

    Parameters
    ----------
    fits
        By the name in the legend. The IoU is that with the anchors that training uses.
    ax
        Where to draw; None makes a new figure.
    marks
        Thresholds of the labels, drawn as lines.
    """
    ax = new_axes() if ax is None else ax
    for (name, fit), color in zip(fits.items(), itertools.cycle(CYCLE)):
        best = fit.best_iou_inside
        share, _ = np.histogram(best, _BINS)
        reach = fit.share(marks[-1], inside=True)
        label = for_figure(name)
        if best.size:
            label += f": {100 * reach:.1f} % reach {marks[-1]:g}"
        ax.stairs(share / max(best.size, 1), _BINS, color=color, linewidth=1.8, label=label)
    for mark in marks:
        ax.axvline(mark, color=GREY, linestyle=":", linewidth=1.2)
    ax.set(xlim=(0, 1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(fontsize="small", loc="upper left")
    objects = max((fit.best_iou.size for fit in fits.values()), default=0)
    return style_axes(
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
        By the name in the legend.
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
            vmin=0.3,  # a single object is not white
            linewidths=0.1,
        )
        figure = ax.get_figure()
        if figure is not None:
            figure.colorbar(density, ax=ax, label="objects", pad=0.02)
    for (name, config), color, marker in zip(anchors.items(), CYCLE, itertools.cycle("XosD")):
        corners = base_anchors(config)
        ax.plot(
            *_size_and_ratio(corners[:, 2:] - corners[:, :2]),
            marker,
            color=color,
            markersize=9,
            markeredgecolor="white",
            label=for_figure(name),
        )
    power_of_two_ticks(ax)
    ax.legend(fontsize="small", loc="upper left")
    title = f"{len(width_height):,} objects at the training scale"
    return style_axes(
        ax, x="size: root of the area (pixels)", y="ratio: height / width", title=title
    )


def _size_and_ratio(sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width, height = np.asarray(sides, dtype=np.float64).T
    return np.sqrt(width * height), height / width


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
        Name -> the values of its runs, perhaps none; the first name on top.
    ax
        Where to draw; None makes a new figure.
    x_label
        The quantity, with its unit in parentheses.
    baseline
        The variant whose range is shaded through all rows: ranges that touch it do not differ.
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
    ax.set_yticks(range(len(values)), [for_figure(name) for name in values])
    # The first on top, half a row of room at both ends, as on an axis with bars.
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.margins(x=0.12)
    return style_axes(ax, x=x_label, y="", title=title)


def plot_proposal_sizes(
    anchors: Array, means: Mapping[str, Array], ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """Return axes with width and height of each anchor, and lines to the means of its proposals.

    Parameters
    ----------
    anchors
        (A, 2) width and height, pixels.
    means
        Name -> (A, 2), NaN for an anchor without a mean.
    ax
        Where to draw; None makes a new figure.
    title
        A line above.

    Raises
    ------
    ValueError
        A mean does not have the shape of `anchors`.
    """
    base = to_host(anchors)
    ax = new_axes((6.0, 5.4)) if ax is None else ax
    for (name, sizes), color, marker in zip(
        means.items(), itertools.cycle(CYCLE), itertools.cycle("oD^v")
    ):
        sizes = to_host(sizes)
        if sizes.shape != base.shape:
            raise ValueError(f"means: {name}: expected shape {base.shape}, got {sizes.shape}")
        for start, end in zip(base, sizes, strict=True):
            ax.plot([start[0], end[0]], [start[1], end[1]], color=color, linewidth=1, alpha=0.6)
        if np.any(np.isfinite(sizes)):
            ax.plot(*sizes.T, marker, color=color, markersize=6, label=for_figure(name))
    ax.plot(*base.T, "s", color=GREY, markerfacecolor="white", markersize=8, label="anchor")
    ax.set(xscale="log", yscale="log", aspect="equal")
    power_of_two_ticks(ax)
    ax.legend(fontsize="small")
    return style_axes(ax, x="width (pixels)", y="height (pixels)", title=title)
