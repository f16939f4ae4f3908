"""Save a picture for a guide: legible on a telephone, and small."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from minirpn import viz

WIDTH = 4.8
"""Inches. On a telephone the text of a wider picture is too small."""
_COLOURS = 128  # looks the same, with a third of the bytes


def save_png(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Write a figure as a PNG of few colours."""
    viz.save(figure, path, dpi=dpi)
    with Image.open(path) as image:
        save_few_colours(image, path)


def save_few_colours(image: Image.Image, path: Path) -> None:
    """Write an image as a PNG of few colours."""
    image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)
