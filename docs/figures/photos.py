"""The photographs of the front page, with what the model ``voc-small`` finds in them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

import minirpn
from minirpn import samples
from minirpn.viz import save

_PROPOSALS = 8
_SURE = 0.8
_COLOURS = 256  # looks the same, with half of the bytes


def draw(folder: Path, quick: bool) -> None:
    """Draw the best proposals for a photograph, and the surest detections in two."""
    model, photos = minirpn.load("voc-small"), samples.photos()
    figure = Figure(figsize=(12.6, 3.7), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1.2, 1, 451 / 300])
    found = model.propose(photos["astronaut"])
    found.top(_PROPOSALS).plot(axes[0])
    axes[0].set_title(f"propose: {_PROPOSALS} of {len(found)}")
    for ax, name in zip(axes[1:], ("astronaut", "chelsea"), strict=True):
        model.detect(photos[name], score_threshold=_SURE).plot(ax)
        ax.set_title("detect")
    for ax in axes:
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
    path = save(figure, folder / "images/photos.png", dpi=80)
    with Image.open(path) as image:
        image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)
