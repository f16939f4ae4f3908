"""The photographs that come with minirpn, with what the model ``voc-small`` finds in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import minirpn
from docs.figures.front import MODEL, TITLE
from docs.figures.png import save_png
from minirpn import samples
from minirpn.viz import draw_boxes
from minirpn.viz.style import ORANGE, SKY

_PROPOSALS = 5
_SURE = 0.8
_WRONG = "coffee"  # a photograph of a cup, which is none of VOC's classes
_SIZE = (7.36, 6.9)  # inches


def draw(folder: Path, quick: bool) -> None:
    """Draw the best proposals for a photograph, and the surest detections in all three."""
    model, photos = minirpn.load(MODEL), samples.photos()
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots(2, 2, height_ratios=[3, 2]).flat
    proposals = model.propose(photos["astronaut"])
    _draw(proposals.top(_PROPOSALS).boxes, photos["astronaut"], SKY, axes[0])
    axes[0].set_title(f"propose: {_PROPOSALS} of {len(proposals)}", loc="left", fontsize=TITLE)
    for ax, name in zip(axes[1:], ("astronaut", "chelsea", "coffee"), strict=True):
        found = model.detect(photos[name], score_threshold=_SURE)
        _draw(found.boxes, photos[name], ORANGE, ax)
        said = ", ".join(
            f"{found.names[k]} {score:.2f}"
            for k, score in zip(found.classes, found.scores, strict=True)
        )
        wrong = " (wrong)" if name == _WRONG else ""
        ax.set_title(f"detect: {said}{wrong}", loc="left", fontsize=TITLE)
    save_png(figure, folder / "images/photos.png", dpi=100)


def _draw(boxes: np.ndarray, photo: Path, colour: str, ax: Axes) -> None:
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB"))
    H, W = pixels.shape[:2]
    draw_boxes(boxes, ax, image=pixels, colors=colour, linewidth=3)
    # With a margin, so that a line on the border is whole.
    ax.set(xlabel="", ylabel="", xticks=[], yticks=[], xlim=(-4, W + 4), ylim=(H + 4, -4))
    ax.spines[:].set_visible(False)
