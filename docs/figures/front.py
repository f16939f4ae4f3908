"""The picture of the front page: anchors, labels and proposals on a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import minirpn
from docs.figures.png import save_png
from minirpn import samples
from minirpn.boxes import iou
from minirpn.data import prepare
from minirpn.data.samples import unannotated
from minirpn.rpn import POSITIVE, label_anchors
from minirpn.training.build import build_pipeline
from minirpn.viz import draw_boxes, draw_image
from minirpn.viz.style import BLACK, SKY, YELLOW

MODEL = "voc-small"
# Drawn by hand around what is seen of each object, in half-open pixels of the photograph. The
# model was not trained on these photographs.
OBJECTS = {"chelsea": (0, 0, 396, 300), "astronaut": (20, 15, 362, 512)}
_PHOTO = "chelsea"
_CELL = (9, 13)  # row and column of the cell whose anchors are drawn
_PROPOSALS = 3
_SIZE = (7.36, 5.8)  # inches
_DPI = 100
TITLE = 16.5  # points: 11 pixels, where the picture is shown 355 pixels wide


class Scene(NamedTuple):
    """What is drawn; every box is in pixels of the photograph."""

    image: np.ndarray  # (H, W, 3)
    gt_box: np.ndarray  # (4,) by hand
    anchors: np.ndarray  # (Hf, Wf, A, 4)
    labels: np.ndarray  # (K,)
    proposals: np.ndarray  # (R, 4), surest first
    anchor_iou: np.ndarray  # (K,) with the object
    proposal_iou: np.ndarray  # (R,) with the object


def scene(photo: str) -> Scene:
    """Return anchors, labels and proposals of a photograph, with the model of minirpn."""
    model, path = minirpn.load(MODEL), samples.photos()[photo]
    with Image.open(path) as opened:
        sample = unannotated(path, np.asarray(opened.convert("RGB")))
    gt_boxes = np.array([OBJECTS[photo]], np.float32)
    pipeline = build_pipeline(model.config, model.rpn)
    example = prepare(sample, resize_config=pipeline.resize, to_input=pipeline.preprocessing)
    output, _ = model.rpn.forward(example.image[None])
    Hf, Wf = output.features.shape[2:]
    scaled = gt_boxes * example.scale
    found = label_anchors(output.anchors, scaled, example.image_size, model.config.labels)
    proposals = model.propose(path).boxes
    return Scene(
        sample.image,
        gt_boxes[0],
        (output.anchors / example.scale).reshape(Hf, Wf, -1, 4),  # (K, 4) -> (Hf, Wf, A, 4)
        found.labels,
        proposals,
        iou(output.anchors, scaled)[:, 0],
        iou(proposals.astype(np.float32), gt_boxes)[:, 0],
    )


def draw(folder: Path, quick: bool) -> None:
    """Draw four panels, two by two, so that each stays legible on a telephone."""
    shown = scene(_PHOTO)
    H, W = shown.image.shape[:2]
    figure = Figure(figsize=_SIZE, layout="constrained")
    panels = (_draw_anchors, _draw_labels, _draw_proposals, _draw_first)
    for ax, draw_panel in zip(figure.subplots(2, 2).flat, panels, strict=True):
        draw_image(shown.image, ax)
        title = draw_panel(shown, ax)
        # With a margin, so that a line on the border is whole.
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[], xlim=(-4, W + 4), ylim=(H + 4, -4))
        ax.spines[:].set_visible(False)
        ax.set_title(title, loc="left", fontsize=TITLE)
    save_png(figure, folder / "images/front.png", dpi=_DPI)


def _draw_anchors(shown: Scene, ax: Axes) -> str:
    """Draw the anchors of one cell, and the centers of all cells."""
    draw_boxes(shown.anchors[_CELL], ax, colors=YELLOW, linewidth=2.4)
    centers = (shown.anchors[:, :, 0, :2] + shown.anchors[:, :, 0, 2:]) / 2
    ax.plot(*centers.reshape(-1, 2).T, ".", color="white", markersize=3)
    ax.plot(*centers[_CELL], "o", color=YELLOW, markersize=10, markeredgecolor=BLACK)
    Hf, Wf, A, _ = shown.anchors.shape
    return f"1 Anchors: {A} at {Hf}x{Wf} dots"


def _draw_labels(shown: Scene, ax: Axes) -> str:
    """Draw the object, and the first, the middle and the last of the positive anchors."""
    positive = shown.anchors.reshape(-1, 4)[shown.labels == POSITIVE]
    draw_boxes(positive[[0, len(positive) // 2, -1]], ax, colors=YELLOW, linewidth=3)
    _draw_object(shown, ax)
    best = shown.anchor_iou[shown.labels == POSITIVE].max()
    return f"2 Labels: best IoU {best:.2f}"


def _draw_proposals(shown: Scene, ax: Axes) -> str:
    """Draw the surest proposals."""
    draw_boxes(shown.proposals[:_PROPOSALS], ax, colors=SKY, linewidth=3)
    return f"3 Proposals: {_PROPOSALS} of {len(shown.proposals)}"


def _draw_first(shown: Scene, ax: Axes) -> str:
    """Draw the surest proposal and the object."""
    draw_boxes(shown.proposals[:1], ax, colors=SKY, linewidth=3)
    _draw_object(shown, ax)
    return f"4 The first: IoU {shown.proposal_iou[0]:.2f}"


def _draw_object(shown: Scene, ax: Axes) -> None:
    draw_boxes(shown.gt_box[None], ax, colors=BLACK, linestyle=(0, (2, 2)), linewidth=2.4)
