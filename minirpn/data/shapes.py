"""Pictures of simple shapes on a textured ground, drawn from a random generator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from minirpn._typing import ImageSize

SHAPES = ("circle", "cross", "ring", "square", "star", "triangle")
"""The classes of generated pictures."""

_FINER = 4  # a mask is drawn this many times larger and then averaged, for smooth edges
_MIN_VISIBLE = 0.25  # least visible share of an object's pixels
_CUT_OFF = 0.3  # largest share of an object's width or height beyond the image border
_ATTEMPTS = 10  # places tried for an object before it is left out
_DIFFICULT_BELOW = 0.5  # visible share of its pixels below which an object is difficult
_COVERED = 128  # of 255: an object covers a pixel if its mask there is at least this


class Shape(NamedTuple):
    """One object of a picture."""

    name: str
    # (4,) float32 (x1, y1, x2, y2), half-open pixels, tight around what is *visible*, as VOC's
    # guidelines ask.
    box: np.ndarray
    difficult: bool  # less than half of its pixels are visible
    truncated: bool  # the whole object would have another box


class _Placed(NamedTuple):
    """An object's mask (h, w) uint8, and the place of its upper left pixel in the picture."""

    name: str
    mask: np.ndarray
    top: int
    left: int

    @property
    def covered(self) -> np.ndarray:
        """The pixels of the mask that belong to the object, (h, w) bool."""
        return self.mask >= _COVERED


def draw_picture(
    rng: np.random.Generator,
    image_size: ImageSize,
    *,
    names: tuple[str, ...],
    max_objects: int,
    side_range: tuple[float, float],
) -> tuple[np.ndarray, list[Shape]]:
    """Return a picture (H, W, 3) uint8 RGB, and the shapes in it in the order of painting.

    One to `max_objects` shapes are tried, of these `names`; an object that would hide too much of
    another is left out. `side_range` is the smallest and the largest side of an object's box in
    pixels. The geometric mean of its sides is log-uniform, and so is its ratio of width to height,
    between 1/2 and 2.
    """
    canvas = _background(rng, image_size)
    owner = np.full(image_size, -1)  # the number of the object visible at each pixel
    placed: list[_Placed] = []
    for _ in range(rng.integers(1, max_objects, endpoint=True)):
        candidate = _place(rng, owner, placed, names, side_range)
        if candidate is not None:
            _paint(rng, canvas, candidate)
            _claim(owner, candidate, len(placed))
            placed.append(candidate)
    image = np.rint(canvas.clip(0, 255)).astype(np.uint8)
    return image, [_describe(item, owner == number) for number, item in enumerate(placed)]


def _background(rng: np.random.Generator, image_size: ImageSize) -> np.ndarray:
    """Return a background (H, W, 3) float32: soft patches of colour, blotches, lines and noise."""
    height, width = image_size
    patches = rng.integers(30, 226, (3, 4, 3), dtype=np.uint8)
    blotches = rng.integers(0, 256, (height // 10 + 1, width // 10 + 1), dtype=np.uint8)
    ground = Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)
    lines = ImageDraw.Draw(ground)
    for _ in range(rng.integers(0, 6)):
        ends = [tuple(end) for end in (rng.random((2, 2)) * (width, height)).tolist()]
        colour = tuple(rng.integers(0, 256, 3).tolist())
        lines.line(ends, fill=colour, width=int(rng.integers(1, 5)))
    canvas = np.asarray(ground, dtype=np.float32)
    texture = Image.fromarray(blotches).resize((width, height), Image.Resampling.BILINEAR)
    gray = (np.asarray(texture, dtype=np.float32) / 255 - 0.5) * rng.uniform(0, 80)
    gray += rng.standard_normal(image_size, dtype=np.float32) * rng.uniform(2, 12)
    return canvas + gray[:, :, np.newaxis]


def _outline(name: str, angle: float) -> np.ndarray:
    """Return the corners (P, 2), x then y, of a rotated shape that fills the unit square."""
    if name == "cross":
        # The outline of a plus sign whose bars are one wide and three long.
        xs = np.array([1, 2, 2, 3, 3, 2, 2, 1, 1, 0, 0, 1])
        ys = np.array([0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 1, 1])
        points = np.stack((xs, ys), axis=1) - 1.5
    elif name == "star":
        radius = np.tile([1.0, 0.45], 5)
        points = _on_circle(10) * radius[:, np.newaxis]
    else:
        points = _on_circle({"triangle": 3, "square": 4}.get(name, 64))
    if name == "square":
        angle += np.pi / 4
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = points @ rotation
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / (high - low)


def _on_circle(count: int) -> np.ndarray:
    """Return `count` evenly spaced points of the unit circle, (count, 2), the first one on top."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack((np.sin(angles), -np.cos(angles)), axis=1)


def _mask(name: str, height: int, width: int, angle: float) -> np.ndarray:
    """Return how much of each pixel the shape covers, (height, width) uint8, 0 to 255."""
    large = Image.new("L", (width * _FINER, height * _FINER))
    # Pillow paints both ends of a line, so the last pixel is one less than the size.
    corners = _outline(name, angle) * (large.width - 1, large.height - 1)
    pen = ImageDraw.Draw(large)
    pen.polygon([tuple(corner) for corner in corners.tolist()], fill=255)
    if name == "ring":
        inset = (0.25 * large.width, 0.25 * large.height)
        pen.ellipse((*inset, large.width - inset[0], large.height - inset[1]), fill=0)
    return np.asarray(large.reduce(_FINER))


def _place(
    rng: np.random.Generator,
    owner: np.ndarray,
    placed: list[_Placed],
    names: tuple[str, ...],
    side_range: tuple[float, float],
) -> _Placed | None:
    """Return a new object such that enough of every object stays visible, or None."""
    name = names[rng.integers(len(names))]
    side = np.exp(rng.uniform(*np.log(side_range)))
    stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(2))
    height, width = (
        int(np.rint(np.clip(length, *side_range))) for length in (side / stretch, side * stretch)
    )
    mask = _mask(name, height, width, rng.uniform(-0.35, 0.35))
    beyond = [int(_CUT_OFF * size) for size in mask.shape]
    for _ in range(_ATTEMPTS):
        top, left = (
            int(rng.integers(-cut, length - size + cut, endpoint=True))
            for length, size, cut in zip(owner.shape, mask.shape, beyond, strict=True)
        )
        candidate = _Placed(name, mask, top, left)
        trial = owner.copy()
        _claim(trial, candidate, len(placed))
        if all(
            np.count_nonzero(trial == number) >= _MIN_VISIBLE * np.count_nonzero(item.covered)
            for number, item in enumerate([*placed, candidate])
        ):
            return candidate
    return None


def _inside(item: _Placed, image_size: ImageSize) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the window of the picture that an object lies in, and the part of its mask there."""
    (height, width), (H, W) = item.mask.shape, image_size
    y1, y2 = max(item.top, 0), min(item.top + height, H)
    x1, x2 = max(item.left, 0), min(item.left + width, W)
    mask = item.mask[y1 - item.top : y2 - item.top, x1 - item.left : x2 - item.left]
    return (slice(y1, y2), slice(x1, x2)), mask


def _claim(owner: np.ndarray, item: _Placed, number: int) -> None:
    """Write `number` to the pixels that the object covers by half or more."""
    window, mask = _inside(item, owner.shape)
    owner[window][mask >= _COVERED] = number


def _paint(rng: np.random.Generator, canvas: np.ndarray, item: _Placed) -> None:
    """Paint an object on the canvas, in the one of three random colours that stands out most."""
    window, mask = _inside(item, canvas.shape[:2])
    below = canvas[window]
    colours = rng.uniform(10, 245, (3, 3))
    contrast = np.abs(colours - below.mean(axis=(0, 1))).sum(axis=1)
    grain = rng.standard_normal(mask.shape, dtype=np.float32) * rng.uniform(2, 16)
    left, right = rng.uniform(-30, 30, 2).tolist()
    shade = np.linspace(left, right, mask.shape[1], dtype=np.float32)
    fill = colours[np.argmax(contrast)].astype(np.float32) + (grain + shade)[:, :, np.newaxis]
    cover = mask[:, :, np.newaxis].astype(np.float32) / 255
    canvas[window] = below + cover * (fill - below)


def _describe(item: _Placed, visible: np.ndarray) -> Shape:
    """Return the box and the flags of an object, given its visible pixels (H, W) bool."""
    rows, columns = np.nonzero(visible)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    all_rows, all_columns = np.nonzero(item.covered) + np.array([[item.top], [item.left]])
    whole = (all_columns.min(), all_rows.min(), all_columns.max() + 1, all_rows.max() + 1)
    return Shape(
        name=item.name,
        box=np.array(box, dtype=np.float32),
        difficult=rows.size < _DIFFICULT_BELOW * all_rows.size,
        truncated=box != whole,
    )
