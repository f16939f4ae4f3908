"""Precision over recall, class by class."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from minirpn.evaluation import APResult, Method, PrecisionRecall, envelope
from minirpn.viz.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, dress, new_axes

_RECALLS = np.linspace(0, 1, 201)  # at which curves are averaged


def plot_precision_recall(
    result: APResult, ax: Axes | None = None, *, method: Method | None = None
) -> Axes:
    """Return axes with the precision-recall curve of each class, and its average precision.

    The lines are the envelopes, under which average precision is the area. Up to eight classes have
    a colour each, and their own curve faintly behind its envelope. Of more, only the best and the
    worst have a colour, the others are grey, and black is the mean of all.

    Parameters
    ----------
    result
        What `minirpn.evaluation.average_precision` measured. A class without objects has no curve.
    ax
        Where to draw; None makes a new figure.
    method
        Which average the legend gives; None for the result's own.
    """
    ax = new_axes() if ax is None else ax
    method = method or result.method
    ap = result.ap_by(method)
    known = [index for index in range(len(ap)) if not np.isnan(ap[index])]
    known.sort(key=lambda index: -ap[index])
    if len(known) <= len(CYCLE):
        for color, index in zip(CYCLE, known, strict=False):
            curve = result.curves[index]
            ax.plot(curve.recall, curve.precision, color=color, linewidth=0.8, alpha=0.4)
            _draw(ax, curve, color, f"{result.classes[index]} ({ap[index]:.3f})")
    else:
        _draw_extremes(ax, result, known, ap)
    if known:
        # Beside the curves, which may run through any corner.
        ax.legend(
            title=f"AP ({method})", fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1)
        )
    mean = f", mean AP {result.mean_by(method):.3f}" if known else ": no objects"
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05))
    return dress(
        ax,
        x="recall (share of objects)",
        y="precision (share of detections)",
        title=f"detections at an IoU of {result.iou_threshold:g}{mean}",
    )


def _draw_extremes(ax: Axes, result: APResult, known: list[int], ap: np.ndarray) -> None:
    """Draw classes, given from best to worst: those two in colour, and the mean of all."""
    best, *others, worst = known
    for index in others:
        label = f"{len(others)} others" if index == others[0] else None
        _draw(ax, result.curves[index], GREY, label, linewidth=0.8)
    for index, color, word in ((best, BLUE, "best"), (worst, VERMILLION, "worst")):
        label = f"{word}: {result.classes[index]} ({ap[index]:.3f})"
        _draw(ax, result.curves[index], color, label)
    mean = np.mean([_envelope_at(result.curves[index], _RECALLS) for index in known], axis=0)
    label = f"mean ({ap[known].mean():.3f})"
    ax.step(_RECALLS, mean, where="pre", color=BLACK, linewidth=2.2, label=label)


def _draw(
    ax: Axes, curve: PrecisionRecall, color: str, label: str | None, *, linewidth: float = 1.8
) -> None:
    """Draw the envelope from recall 0 to the highest that is reached."""
    finds = np.diff(curve.hits, prepend=0) > 0
    recalls, heights = curve.recall[finds], envelope(curve.precision)[finds]
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
    """Return the envelope's precision at points of recall; 0 where recall does not come so far."""
    heights = np.append(envelope(curve.precision), 0.0)
    return heights[np.searchsorted(curve.recall, recall)]
