"""Diagrams of the code, drawn from the code: its storeys, and one training step with its shapes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from docs.extensions import storeys
from minirpn.rpn import NEGATIVE, POSITIVE, label_anchors, rpn_loss_backward, rpn_loss_forward
from minirpn.training.build import build_network, build_objective, build_pipeline, open_dataset
from minirpn.training.config import default_config
from minirpn.training.run_folder import create_run
from minirpn.training.step import make_minibatch
from minirpn.viz.style import BLUE, GREEN, VERMILLION, save

# The purpose of each storey; its units come from the architecture test.
_PURPOSES = (
    "arrays, devices",
    "operations, layers",
    "the paper's network",
    "networks around it",
    "work with it",
    "many trainings",
    "command line",
)
_GREY = "0.3"


def _canvas(width: float, height: float) -> Axes:
    """Return axes without a frame; the unit is an inch, and y grows downward."""
    ax = Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    return ax


def _box(ax: Axes, x: float, y: float, w: float, h: float, text: str, colour: str) -> None:
    """Draw a rounded box with text, its first line larger."""
    style = "round,pad=0,rounding_size=0.06"
    ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=style, fc="white", ec=colour, lw=1.4))
    lines = text.split("\n")
    for number, line in enumerate(lines):
        where = (x + w / 2, y + h / 2 + 0.2 * (number - (len(lines) - 1) / 2))
        size, shade = (11, "black") if number == 0 else (9.5, _GREY)
        ax.text(*where, line, ha="center", va="center", fontsize=size, color=shade)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    patch = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=_GREY,
                            shrinkA=0, shrinkB=0)  # fmt: skip
    ax.add_patch(patch)


def draw_layers(folder: Path, quick: bool) -> None:
    """Draw a band for each storey, the highest on top, with its units."""
    levels = storeys()
    row, pitch, left = 0.5, 0.58, 1.95
    widths = [[0.3 + 0.085 * max(len(unit), 5) for unit in units] for units in levels]
    edge = left + max(sum(of_level) + 0.07 * len(of_level) for of_level in widths)
    bottom = len(levels) * pitch + 0.1
    ax = _canvas(edge + 0.45, bottom)
    for level, (units, purpose) in enumerate(zip(levels, _PURPOSES, strict=True)):
        y = 0.1 + (len(levels) - 1 - level) * pitch
        ax.add_patch(FancyBboxPatch((0.05, y), edge - 0.05, row, boxstyle="square,pad=0",
                                    fc="0.94", ec="none"))  # fmt: skip
        ax.text(0.15, y + row / 2, f"{level}  {purpose}", va="center", fontsize=9.5)
        x = left
        for unit, width in zip(units, widths[level], strict=True):
            _box(ax, x, y + 0.08, width, row - 0.16, unit, BLUE)
            x += width + 0.07
    _arrow(ax, (edge + 0.15, 0.15), (edge + 0.15, bottom - 0.15))
    ax.text(edge + 0.3, bottom / 2, "imports", rotation=90, va="center", ha="center", fontsize=9.5)
    save(ax, folder / "images/layers.svg")


def measured_step() -> dict[str, str]:
    """Return names and shapes of the arrays in one training step of ``minirpn train``."""
    config = default_config(voc=False)
    config = replace(config, synthetic=replace(config.synthetic, images=10))
    rng = np.random.default_rng(0)
    network, objective = build_network(config, rng=rng), build_objective(config)
    with tempfile.TemporaryDirectory() as scratch:
        dataset = open_dataset(config, create_run(Path(scratch) / "run", config), "train")
        with build_pipeline(config, network).in_order(dataset, None) as examples:
            example = max(examples, key=lambda example: len(example.gt_boxes))
    output, cache = network.forward(example.image[None])
    found = label_anchors(output.anchors, example.gt_boxes, example.image_size, config.labels)
    batch = make_minibatch(
        output.anchors, example.gt_boxes, example.image_size, rng=rng, objective=objective
    )
    _, loss_cache = rpn_loss_forward(
        output.objectness[0], output.deltas[0], batch.labels, batch.targets,
        locations=output.locations, config=config.loss,
    )  # fmt: skip
    grads = rpn_loss_backward(1.0, loss_cache)
    dobjectness, ddeltas = grads.dobjectness[None], grads.ddeltas[None]
    dfeatures, _ = network.head.backward(dobjectness, ddeltas, cache.head, need_dx=True)
    all_grads = network.backward(dobjectness, ddeltas, cache)
    numbers = sum(grad.size for grad in all_grads.values())
    return {
        "image": f"image\n{_shape(example.image[None])}",
        "features": f"features\n{_shape(output.features)}",
        "scores": f"objectness, deltas\n{_shape(output.objectness)}, {_shape(output.deltas)}",
        "gt": f"gt_boxes\n{_shape(example.gt_boxes)}",
        "anchors": f"anchors\n{_shape(output.anchors)}",
        "labels": f"labels {_shape(found.labels)}\n{_counts(found.labels)}",
        "batch": f"mini-batch: labels, targets\n{_counts(batch.labels)}",
        "loss": "loss\none number",
        "dscores": f"dobjectness, ddeltas\n{_shape(dobjectness)}, {_shape(ddeltas)}",
        "dfeatures": f"dfeatures\n{_shape(dfeatures)}",
        "grads": f"gradients\n{len(all_grads)} arrays, {numbers:,} numbers",
        "parameters": f"parameters\n{len(network.parameters())} arrays, new values",
    }


def _shape(array: Any) -> str:
    return str(tuple(array.shape))


def _counts(labels: np.ndarray) -> str:
    positive, negative = (labels == POSITIVE).sum(), (labels == NEGATIVE).sum()
    return f"{positive} positive, {negative:,} negative"


def draw_step(folder: Path, quick: bool) -> None:
    """Draw the forward from image to loss, the labels beside it, and the backward."""
    texts = measured_step()
    w, h, pitch, columns = 2.4, 0.52, 0.95, (0.1, 3.2, 6.3)
    ax = _canvas(columns[-1] + w + 0.1, 3 * pitch + h + 1.15)
    ways = (
        (("image", "features", "scores"), ("backbone.forward", "head.forward"), BLUE, 1),
        (("gt", "anchors", "labels", "batch"), ("", "label_anchors", "sample_minibatch"), GREEN, 1),
        (
            ("parameters", "grads", "dfeatures", "dscores"),
            ("SGD.step", "backbone.backward", "head.backward"),
            VERMILLION,
            -1,
        ),
    )
    for x, (names, functions, colour, direction) in zip(columns, ways, strict=True):
        for number, name in enumerate(names):
            _box(ax, x, 0.1 + number * pitch, w, h, texts[name], colour)
        for number, function in enumerate(functions):
            top, bottom = 0.1 + number * pitch + h, 0.1 + (number + 1) * pitch
            if function:
                ends = ((x + w / 2, top), (x + w / 2, bottom))[::direction]
                _arrow(ax, *ends)
                ax.text(x + w / 2 + 0.1, (top + bottom) / 2, function, va="center", fontsize=9.5)
    _joints(ax, texts, columns, w, h, pitch)
    save(ax, folder / "images/step.svg")


def _joints(
    ax: Axes, texts: dict[str, str], columns: tuple[float, ...], w: float, h: float, pitch: float
) -> None:
    """Draw what connects the columns: the anchors' grid, the objects, and the loss."""
    first, second, third = columns
    y = 0.1 + pitch + h / 2
    _arrow(ax, (first + w, y), (second, y))
    ax.text((first + w + second) / 2, y - 0.1, "grid_", ha="center", fontsize=9.5)
    ax.text((first + w + second) / 2, y + 0.2, "anchors", ha="center", fontsize=9.5)
    # The objects go past the anchors, to where both are compared.
    ax.plot([second + w, second + w + 0.2, second + w + 0.2], [0.1 + h / 2] * 2 + [0.1 + 2 * pitch
            + h / 2], color=_GREY, lw=1)  # fmt: skip
    _arrow(ax, (second + w + 0.2, 0.1 + 2 * pitch + h / 2), (second + w, 0.1 + 2 * pitch + h / 2))
    bottom = 0.1 + 4 * pitch
    _box(ax, second, bottom, w, h, texts["loss"], "black")
    middle = second + w / 2
    _arrow(ax, (middle, 0.1 + 3 * pitch + h), (middle, bottom))
    ax.text(middle + 0.1, bottom - 0.21, "rpn_loss_forward", va="center", fontsize=9.5)
    for x, start, end, name in (
        (first, 0.1 + 2 * pitch + h, bottom + h / 2, ""),
        (third, bottom + h / 2, 0.1 + 3 * pitch + h, "rpn_loss_backward"),
    ):
        center = x + w / 2
        if x == first:
            ax.plot([center, center], [start, end], color=_GREY, lw=1)
            _arrow(ax, (center, end), (second, end))
        else:
            ax.plot([second + w, center], [start, start], color=_GREY, lw=1)
            _arrow(ax, (center, start), (center, end))
            ax.text(center + 0.1, (start + end) / 2, name, va="center", fontsize=9.5)
