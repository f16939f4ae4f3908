"""The picture of the front page: anchors, labels, and proposals after training."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from minirpn.data import Example
from minirpn.rpn import NEGATIVE, POSITIVE, RPN, label_anchors
from minirpn.training.build import build_pipeline, load_network, open_dataset
from minirpn.training.config import TrainConfig, default_config
from minirpn.training.evaluate import ImageProposals, propose_all
from minirpn.training.run_folder import RunFolder, create_run
from minirpn.training.train import train
from minirpn.viz import draw_boxes, save
from minirpn.viz.style import BLACK, VERMILLION, YELLOW

_PICTURE = 41  # of the test split: four separate objects on a plain background
_CELL = (7, 10)  # row and column of the cell whose anchors are drawn
_PROPOSALS = 12
_COLOURS = 160  # looks the same, with a third of the bytes


def draw(folder: Path, quick: bool) -> None:
    """Train on generated shapes as ``minirpn train`` does, and draw one held-out picture."""
    config = default_config(voc=False)
    if quick:
        config = replace(config, optimizer=replace(config.optimizer, steps=2))
        config = replace(config, run=replace(config.run, validation_images=2))
    with tempfile.TemporaryDirectory() as scratch:
        run = create_run(Path(scratch) / "run", config)
        train(config, run, progress=False)
        figure = _panels(*load_network(run.path), run)
    path = save(figure, folder / "images/front.png", dpi=100)
    with Image.open(path) as image:
        image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)


def _panels(network: RPN, config: TrainConfig, run: RunFolder) -> Figure:
    """Return the three panels side by side."""
    dataset = open_dataset(config, run, "test")
    pipeline = build_pipeline(config, network)
    image = dataset[_PICTURE].image
    with pipeline.in_order(dataset, _PICTURE + 1) as examples:
        *_, example = examples
    figure = Figure(figsize=(14.4, 4.1), layout="constrained")
    axes = figure.subplots(1, 3)
    _draw_anchors(network, example, image, axes[0])
    _draw_labels(network, config, example, image, axes[1])
    *_, found = propose_all(network, dataset, pipeline, config.proposals, limit=_PICTURE + 1)
    _draw_proposals(found, image, axes[2])
    H, W = image.shape[:2]
    for ax in axes:
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[], xlim=(0, W), ylim=(H, 0))
        ax.spines[:].set_visible(False)
    return figure


def _draw_anchors(network: RPN, example: Example, image: np.ndarray, ax: Axes) -> None:
    """Draw the nine anchors of one cell, and the centers of all cells."""
    output, _ = network.forward(example.image[None])
    Hf, Wf = output.features.shape[2:]
    anchors = output.anchors.reshape(Hf, Wf, -1, 4)  # (K, 4) -> (Hf, Wf, A, 4)
    draw_boxes(anchors[_CELL], ax, image=image, colors=YELLOW, linewidth=1.8)
    centers = (anchors[:, :, 0, :2] + anchors[:, :, 0, 2:]) / 2
    ax.plot(*centers.reshape(-1, 2).T, ".", color="white", markersize=2)
    ax.plot(*centers[_CELL], "o", color=VERMILLION)
    ax.set_title(f"1  nine anchors at each of {Hf} x {Wf} cells", loc="left")


def _draw_labels(
    network: RPN, config: TrainConfig, example: Example, image: np.ndarray, ax: Axes
) -> None:
    """Draw what the network should answer: the positive anchors."""
    anchors = network.forward(example.image[None])[0].anchors
    found = label_anchors(anchors, example.gt_boxes, example.image_size, config.labels)
    positive = found.labels == POSITIVE
    draw_boxes(anchors[positive], ax, image=image, colors=YELLOW, linewidth=1.8)
    _draw_objects(example.gt_boxes, ax)
    negatives = int((found.labels == NEGATIVE).sum())
    ax.set_title(f"2  labels: {positive.sum()} positive, {negatives:,} negative", loc="left")


def _draw_proposals(found: ImageProposals, image: np.ndarray, ax: Axes) -> None:
    """Draw the best proposals."""
    draw_boxes(found.boxes[:_PROPOSALS], ax, image=image, colors=YELLOW, linewidth=1.8)
    _draw_objects(found.annotation.gt_boxes, ax)
    ax.set_title(f"3  learnt: the {_PROPOSALS} best of {len(found.boxes)} proposals", loc="left")


def _draw_objects(gt_boxes: np.ndarray, ax: Axes) -> None:
    draw_boxes(gt_boxes, ax, colors=BLACK, linestyle=(0, (2, 2)), linewidth=2)
