"""Curves of a training run: losses, recall on validation images, diagnoses of its stages.

The records are those of ``metrics.jsonl``, as `minirpn.report.read_metrics` returns them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from minirpn.text import for_figure
from minirpn.viz.style import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    INCHES,
    ORANGE,
    PURPLE,
    VERMILLION,
    new_axes,
    style_axes,
)

Records = Sequence[dict[str, Any]]

_LOSSES = {
    "loss": ("total", BLUE),
    "objectness_loss": ("objectness", VERMILLION),
    "box_loss": ("box", GREEN),
    "class_loss": ("class of a region", PURPLE),
    "region_loss": ("box of a region", ORANGE),
}
# The first names all stages, in the order of the network.
_STAGE_KEYS = ("zero_share", "gradient_norm", "weight_norm", "update_ratio")
_MOST_DROPS = 12  # of the learning rate; 4-step training has four
_SMOOTHED_STEPS = 1 / 40  # the share of all steps in one smoothed value


def plot_training(records: Records, ax: Axes | None = None) -> Axes:
    """Return axes with the losses over the steps.

    Thin lines are single steps, thick lines their moving mean, circles the validation images. A
    dotted line marks a drop of the learning rate.

    Parameters
    ----------
    records
        Those of kind ``"train"`` and ``"validate"`` are drawn.
    ax
        Where to draw; None makes a new figure.
    """
    ax = new_axes() if ax is None else ax
    train, validate = _of_kind(records, "train"), _of_kind(records, "validate")
    steps, highest = _column(train, "step"), 0.0
    for key, (name, color) in _LOSSES.items():
        raw, measured = _column(train, key), _column(validate, key)
        if len(raw) and np.all(np.isnan([*raw, *measured])):  # this training has none
            continue
        smooth = moving_mean(raw, max(1, round(len(raw) * _SMOOTHED_STEPS)))
        ax.plot(steps, raw, color=color, alpha=0.25, linewidth=0.7)
        ax.plot(steps, smooth, color=color, linewidth=1.8, label=name)
        ax.plot(
            _column(validate, "step"),
            measured,
            "o",
            color=color,
            markerfacecolor="white",
            label=f"{name}, validation" if np.any(np.isfinite(measured)) else None,
        )
        highest = np.nanmax([highest, *smooth, *measured])
    _mark_drops(ax, steps, _column(train, "lr"))
    # A few very large losses must not flatten the curve.
    ax.set_ylim(0, 1.4 * highest or 1)
    ax.legend(fontsize="small", ncols=2)
    return _over_steps(ax, y="loss of a mini-batch (no unit)", title="training")


def plot_validation_recall(records: Records, ax: Axes | None = None) -> Axes:
    """Return axes with the recall at IoU 0.5 over the steps, a line for each number of proposals.

    Parameters
    ----------
    records
        Those of kind ``"validate"`` are drawn.
    ax
        Where to draw; None makes a new figure.
    """
    ax = new_axes() if ax is None else ax
    validate = [record for record in _of_kind(records, "validate") if "recall" in record]
    _plot_groups(ax, validate, "recall", unit=" proposals")
    ax.set_ylim(0, 1.02)
    return _over_steps(ax, y="recall at IoU 0.5 (share of objects)", title="validation")


def plot_zero_share(records: Records, ax: Axes | None = None) -> Axes:
    """Return axes with the share of activations that are zero, a line for each stage.

    Near 100 % a stage is dying: it passes neither values forward nor gradients back.

    Parameters
    ----------
    records
        Those of kind ``"diagnose"`` are drawn.
    ax
        Where to draw; None makes a new figure.
    """
    ax = new_axes() if ax is None else ax
    _plot_groups(ax, _of_kind(records, "diagnose"), "zero_share")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return _over_steps(ax, y="activations that are zero (%)", title="zeros after each stage")


def plot_gradient_norm(records: Records, ax: Axes | None = None) -> Axes:
    """Return axes with the length of the gradient on a logarithmic scale, a line for each stage.

    Parameters
    ----------
    records
        Those of kind ``"diagnose"`` are drawn. The scale is linear if no gradient is above 0, as
        for an image without any anchor inside.
    ax
        Where to draw; None makes a new figure.
    """
    return _plot_lengths(
        records, "gradient_norm", ax, y="length of the gradient", title="gradient of each stage"
    )


def plot_norms(records: Records) -> tuple[Axes, Axes]:
    """Return the axes of a new figure: lengths of the weights, and of their change in a step.

    Parameters
    ----------
    records
        Those of kind ``"diagnose"`` are drawn.
    """
    upper, lower = _two_axes()
    _plot_lengths(records, "weight_norm", upper, y="length of the weights", title="weights")
    y, title = "length / length of weights", "change by a step"
    _plot_lengths(records, "update_ratio", lower, y=y, title=title)
    return upper, lower


def _plot_lengths(records: Records, key: str, ax: Axes | None, *, y: str, title: str) -> Axes:
    """Draw a line for each stage, on a logarithmic scale if anything is above 0."""
    ax = new_axes() if ax is None else ax
    diagnoses = _of_kind(records, "diagnose")
    lengths = (value for record in diagnoses for value in record.get(key, {}).values())
    if any(value is not None and value > 0 for value in lengths):
        ax.set_yscale("log", nonpositive="mask")
    _plot_groups(ax, diagnoses, key)
    return _over_steps(ax, y=y, title=title)


def plot_stages(records: Records) -> tuple[Axes, Axes]:
    """Return the axes of a new figure: zeros after each stage, and the gradient of each stage.

    Parameters
    ----------
    records
        Those of kind ``"diagnose"`` are drawn.
    """
    upper, lower = _two_axes()
    return plot_zero_share(records, upper), plot_gradient_norm(records, lower)


def _two_axes() -> Sequence[Axes]:
    """Return the axes of a new figure, one above the other."""
    figure = Figure(figsize=(INCHES[0], INCHES[1] * 1.6), layout="constrained")
    return list(figure.subplots(2, 1))


def moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of about `width` neighbours of each value, fewer at the ends.

    Values that are not finite are left out; a mean of none is nan.
    """
    finite = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0.0], np.where(finite, values, 0.0)]))
    counts = np.cumsum(np.concatenate([[0], finite]))
    index = np.arange(len(values))
    low, high = np.maximum(index - width // 2, 0), np.minimum(index + width // 2 + 1, len(values))
    count = counts[high] - counts[low]
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan)


def _of_kind(records: Records, kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record.get("kind") == kind]


def _column(records: Iterable[dict[str, Any]], key: str) -> np.ndarray:
    """Return one number a record, nan if it has none."""
    return np.array([record.get(key) for record in records], dtype=np.float64)  # None becomes nan


def _plot_groups(ax: Axes, records: list[dict[str, Any]], key: str, *, unit: str = "") -> None:
    """Draw a line for each name in the dictionaries `key` of the records, for the first 16.

    More could not be told apart. The colour of a stage depends on its place among all stages: it is
    the same in every picture.
    """
    keys = _STAGE_KEYS if key in _STAGE_KEYS else (key,)
    names = dict.fromkeys(name for k in keys for record in records for name in record.get(k, {}))
    drawn = {name for record in records for name in record.get(key, {})}
    for index, name in enumerate(itertools.islice(names, 2 * len(CYCLE))):
        if name in drawn:
            ax.plot(
                _column(records, "step"),
                _column((record.get(key, {}) for record in records), name),
                color=CYCLE[index % len(CYCLE)],
                marker=".",
                linestyle="-" if index < len(CYCLE) else "--",
                label=for_figure(name) + unit,
            )
    if drawn:
        ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _mark_drops(ax: Axes, steps: np.ndarray, lr: np.ndarray) -> None:
    """Draw a line before each step whose learning rate is lower than the one before.

    Nothing is drawn if it falls more often than a schedule with steps in it does.
    """
    drops = np.flatnonzero(np.diff(lr) < 0) + 1
    if len(drops) > _MOST_DROPS:
        return
    for step, rate in zip(steps[drops], lr[drops], strict=True):
        ax.axvline(step, color=GREY, linestyle=":", label=f"learning rate drops to {rate:g}")


def _over_steps(ax: Axes, *, y: str, title: str) -> Axes:
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return style_axes(ax, x="step (one mini-batch each)", y=y, title=title)
