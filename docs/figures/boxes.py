"""Figures about boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minirpn.data import half_open
from minirpn.viz.style import BLUE, SKY, VERMILLION, save

_SIZE = (6, 4)  # columns and rows of the pictured image


def draw_coordinates(folder: Path, quick: bool) -> None:
    """Draw the same 3 x 2 pixels in half-open, in inclusive and in VOC's coordinates."""
    voc = (2, 2, 4, 3)
    x1, y1, x2, y2 = (int(value) for value in half_open(np.array(voc)))
    inclusive = (x1, y1, x2 - 1, y2 - 1)
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    titles = (
        ("minirpn: edges, half-open", (x1, y1, x2, y2), "width = x2 - x1 = 3"),
        ("pixels from 0, inclusive", inclusive, "width = x2 - x1 + 1 = 3"),
        ("VOC: pixels from 1, inclusive", voc, "width = xmax - xmin + 1 = 3"),
    )
    for ax, (title, corners, width) in zip(figure.subplots(1, 3), titles, strict=True):
        W, H = _SIZE
        for column in range(W):
            for row in range(H):
                inside = x1 <= column < x2 and y1 <= row < y2
                ax.add_patch(Rectangle((column, row), 1, 1, fc=SKY if inside else "white",
                                       ec="0.7", lw=0.8))  # fmt: skip
        # Numbers are at edges in the first panel, and in the middle of pixels in the others.
        first = 1 if corners == voc else 0
        shift = 0 if corners == (x1, y1, x2, y2) else 0.5
        count = 1 if shift == 0 else 0
        ax.set_xticks([k + shift for k in range(W + count)], range(first, first + W + count))
        ax.set_yticks([k + shift for k in range(H + count)], range(first, first + H + count))
        if shift == 0:
            ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=BLUE, lw=2.5))
        for x, y in (corners[:2], corners[2:]):
            ax.plot(x - first + shift, y - first + shift, "o", color=VERMILLION, clip_on=False)
        ax.set(xlim=(0, W), ylim=(H, 0), aspect="equal")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel(f"({', '.join(map(str, corners))}),  {width}")
    save(figure, folder / "images/coordinates.svg")
