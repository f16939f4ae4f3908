"""Small pictures of boxes: drawn in a millisecond, a few kilobytes each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageDraw

from minirpn._checks import check_box_list
from minirpn._typing import Array
from minirpn.backend import to_host

_COLORS = 48  # of a saved picture; photographs of this size need no more


def draw_small(
    image: Array, groups: Sequence[tuple[Array, str]], *, longer_side: int = 200
) -> np.ndarray:
    """Return a small picture (h, w, 3) uint8 of an image with boxes on it.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    groups
        Boxes (R, 4) in half-open pixels of `image`, and their colour such as ``"#0072B2"``. Later
        ones are drawn over earlier ones.
    longer_side
        Of the picture, in pixels. A smaller image keeps its size.
    """
    pixels = to_host(image)
    H, W, _ = pixels.shape
    scale = min(1.0, longer_side / max(H, W))
    size = (max(round(W * scale), 1), max(round(H * scale), 1))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BOX)
    pen = ImageDraw.Draw(picture)
    for boxes, color in groups:
        check_box_list(boxes)
        # Pillow's rectangles include their last pixel.
        corners = np.rint(to_host(boxes) * scale).astype(int) - (0, 0, 1, 1)
        for x1, y1, x2, y2 in corners.tolist():
            pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color)
    return np.asarray(picture)


def above(upper: np.ndarray, lower: np.ndarray, *, gap: int = 3) -> np.ndarray:
    """Return one picture of two of the same width (h, w, 3), with white between them."""
    white = np.full((gap, upper.shape[1], 3), 255, dtype=np.uint8)
    return np.concatenate([upper, white, lower])


def save_small(picture: np.ndarray, file: BinaryIO) -> None:
    """Write a picture (h, w, 3) uint8 as a PNG of few colours, a quarter of the size."""
    few = Image.fromarray(picture).quantize(_COLORS, dither=Image.Dither.NONE)
    few.save(file, format="PNG", optimize=True)
