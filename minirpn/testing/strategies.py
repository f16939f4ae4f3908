"""Hypothesis strategies that draw difficult cases: ties, touching, empty and identical boxes.

From top to bottom: images and boxes, scores and other numbers by the row, whole scenes, sizes of
layers, how arrays are held in memory.

Arrays are drawn as NumPy arrays; boxes are (x1, y1, x2, y2) in pixels, half-open. Coordinates are
multiples of 1/16 unless whole ones are asked for: so float32 holds every one of them exactly, and
equal boxes stay equal under shifts and under scaling by powers of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.rpn import AnchorConfig, base_anchors, grid_anchors

FINENESS = 16  # steps a pixel


def image_sizes(*, max_side: int = 128) -> st.SearchStrategy[tuple[int, int]]:
    """Return a strategy for (height, width), each from 1 to `max_side`."""
    return st.tuples(st.integers(1, max_side), st.integers(1, max_side))


@st.composite
def boxes(
    draw: DrawFn,
    *,
    min_count: int = 0,
    max_count: int = 8,
    extent: int = 64,
    min_side: float = 0,
    whole: bool = False,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Draw boxes (N, 4), many of them related to another: equal, touching, nested, of its size.

    Parameters
    ----------
    min_count, max_count
        Bounds of N.
    extent
        Size in pixels of the image the boxes are about, up to 10,000 or so. They start up to half
        of it outside, and go on from there; one that stands in a relation to another may start
        where that one ends.
    min_side
        Shortest side. With 0 there are boxes without area, and with a negative side, too.
    whole
        Draw whole-number coordinates.
    dtype
        Floating-point dtype of the array.
    """
    unit = 1.0 if whole else 1.0 / FINENESS
    steps = round(extent / unit)
    smallest = round(min_side / unit)
    corner = st.integers(-steps // 2, steps + steps // 2)
    sides = st.integers(smallest, steps)
    if min_side == 0:
        sides = st.one_of(sides, st.sampled_from([0, -1, -steps // 4]))
    rows: list[tuple[int, int, int, int]] = []
    for _ in range(draw(st.integers(min_count, max_count))):
        width, height = draw(sides), draw(sides)
        if rows and draw(st.booleans()):
            rows.append(draw(_related(draw(st.sampled_from(rows)), width, height, smallest)))
        else:
            x1, y1 = draw(corner), draw(corner)
            rows.append((x1, y1, x1 + width, y1 + height))
    return (np.array(rows, dtype=np.float64).reshape(-1, 4) * unit).astype(dtype)


def _related(
    box: tuple[int, int, int, int], width: int, height: int, smallest: int
) -> st.SearchStrategy[tuple[int, int, int, int]]:
    """Return a strategy for a box that is related to `box`, on the grid of steps."""
    x1, y1, x2, y2 = box
    related = [
        box,
        (x2, y1, x2 + width, y1 + height),  # touches the right side
        (x1, y2, x1 + width, y2 + height),  # touches the lower side
        (x2, y2, x2 + width, y2 + height),  # touches the corner
        (x2 - 1, y1, x2 - 1 + width, y1 + height),  # shares a step of width
        (x1 + 1, y1, x2 + 1, y2),  # as large, a step to the right
        (x1, y1 - 1, x2, y2 - 1),  # as large, a step up
    ]
    if x2 - x1 > smallest + 1 and y2 - y1 > smallest + 1:
        related += [(x1, y1, x2 - 1, y2 - 1), (x1 + 1, y1 + 1, x2, y2)]  # nested
    if x2 - x1 > smallest + 2 and y2 - y1 > smallest + 2:
        related.append((x1 + 1, y1 + 1, x2 - 1, y2 - 1))  # strictly nested
    return st.sampled_from(related)


def crowd(
    rng: np.random.Generator,
    count: int,
    *,
    extent: int = 64,
    min_side: float = 1,
    whole: bool = False,
) -> np.ndarray:
    """Return boxes (count, 4) that overlap a lot; a smaller count is the beginning of a larger.

    For lists too long to be drawn box by box. Sides go up to a quarter of the extent.
    """
    unit = 1.0 if whole else 1.0 / FINENESS
    low = [0, 0, round(min_side / unit), round(min_side / unit)]
    high = np.maximum(
        [round(side / unit) for side in (extent, extent, extent / 4, extent / 4)], low
    )
    numbers = rng.integers(low, high, size=(count, 4), endpoint=True)  # x1, y1, width, height
    corner, sides = numbers[:, :2], numbers[:, 2:]
    return np.concatenate([corner, corner + sides], axis=1) * unit


COUNTS = (1, 2, 3, 11, 17, 51, 63, 64, 65, 101, 129, 200)
"""Lengths of lists, about those where blocks of vectorised and compiled code end."""


@st.composite
def scores(
    draw: DrawFn,
    count: int,
    *,
    dtype: Any = np.float64,
    negative: bool = False,
    distinct: bool = False,
) -> np.ndarray:
    """Draw scores (count,) in [0, 1], with many ties.

    Parameters
    ----------
    count
        How many.
    dtype
        Floating-point dtype of the array.
    negative
        From -1 on; scores need not be probabilities.
    distinct
        Without ties.
    """
    least = -1 if negative else 0
    if distinct:
        # The simplest first: 0, 1, then halves, quarters and so on.
        steps = range(least * 1024, 1024 + 1)
        simplest = sorted(steps, key=lambda step: (1024 // math.gcd(step, 1024), step < 0))
        chosen = st.lists(st.sampled_from(simplest), min_size=count, max_size=count, unique=True)
        return (np.array(draw(chosen), dtype=np.float64) / 1024).astype(dtype)
    frequent = [0.0, 0.25, 0.5, 1.0] + [-0.25, -1.0] * negative
    score = st.one_of(st.sampled_from(frequent), st.floats(least, 1, width=32))
    return np.array(draw(st.lists(score, min_size=count, max_size=count)), dtype=dtype)


def thresholds() -> st.SearchStrategy[float]:
    """Return a strategy for thresholds of an IoU, the ends 0 and 1 among them."""
    return st.sampled_from([0.5, 0.25, 0.3, 0.7, 0.0, 1.0])


@st.composite
def logits(
    draw: DrawFn, count: int, columns: int, *, largest: float = 100.0, dtype: Any = np.float64
) -> np.ndarray:
    """Draw logits (count, columns), of ordinary size and up to `largest`, with ties."""
    steps = round(largest * FINENESS)
    ordinary = st.integers(-4 * FINENESS, 4 * FINENESS)
    step = st.one_of(ordinary, st.sampled_from([0, -steps, steps]), st.integers(-steps, steps))
    row = st.lists(step, min_size=columns, max_size=columns)
    rows = draw(st.lists(row, min_size=count, max_size=count))
    return (np.array(rows, dtype=np.float64).reshape(count, columns) / FINENESS).astype(dtype)


@st.composite
def errors(
    draw: DrawFn,
    count: int,
    *,
    turn: float = 1.0,
    largest: float = 1e4,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Draw differences (count,), often where a loss turns, now and then as large as `largest`."""
    step = 1 / FINENESS
    error = st.one_of(
        st.sampled_from([0.0, -turn, turn, turn - step, -turn - step]),
        st.integers(-3 * FINENESS, 3 * FINENESS).map(lambda steps: steps * step),
        st.integers(-round(largest), round(largest)).map(float),
    )
    return np.array(draw(st.lists(error, min_size=count, max_size=count)), dtype=dtype)


@st.composite
def deltas(
    draw: DrawFn, count: int, *, largest: float = 2.0, dtype: Any = np.float64
) -> np.ndarray:
    """Draw deltas (count, 4), each from -largest to largest; 0 is frequent."""
    steps = round(largest * FINENESS)
    delta = st.one_of(st.just(0), st.integers(-steps, steps))
    rows = st.lists(st.tuples(delta, delta, delta, delta), min_size=count, max_size=count)
    return (np.array(draw(rows), dtype=np.float64).reshape(-1, 4) / FINENESS).astype(dtype)


@st.composite
def anchor_configs(draw: DrawFn, *, max_count: int = 6) -> AnchorConfig:
    """Draw an anchor configuration small enough for loops, with at most `max_count` anchors."""
    positive = st.sampled_from([0.25, 0.333, 0.5, 1.0, 2.0, 3.0])
    ratios = draw(st.lists(positive, min_size=1, max_size=min(3, max_count), unique=True))
    sizes = st.sampled_from([1.0, 1.5, 2.0, 4.0])
    scales = draw(st.lists(sizes, min_size=1, max_size=max_count // len(ratios), unique=True))
    return AnchorConfig(
        base_size=draw(st.sampled_from([4, 8, 16])),
        ratios=tuple(ratios),
        scales=tuple(scales),
        rounding=draw(st.sampled_from(["caffe", None])),
    )


class Scene(NamedTuple):
    """Anchors (K, 4) on an image of (height, width), and ground truths (M, 4) in and around it."""

    anchors: np.ndarray
    gt_boxes: np.ndarray
    image_size: tuple[int, int]


@st.composite
def scenes(
    draw: DrawFn, *, max_cells: int = 5, max_gt: int = 4, rounding: str | None = "caffe"
) -> Scene:
    """Draw an image with its anchors and ground truths, whole numbers for ``rounding="caffe"``.

    Now and then a ground truth is an anchor itself, lies outside of the image, or has no area;
    there may be none, and no anchor may lie inside.
    """
    config = AnchorConfig(
        base_size=8,
        ratios=draw(st.sampled_from([(1.0,), (0.5, 1.0, 2.0)])),
        scales=draw(st.sampled_from([(2.0,), (2.0, 4.0)])),
        rounding="caffe" if rounding == "caffe" else None,
    )
    rows, columns = draw(st.integers(1, max_cells)), draw(st.integers(1, max_cells))
    anchors = grid_anchors(base_anchors(config), (rows, columns), 8)
    gt_boxes = draw(boxes(max_count=max_gt, extent=8 * max_cells, whole=True))
    if draw(st.booleans()):
        gt_boxes = np.concatenate([gt_boxes, anchors[draw(st.integers(0, len(anchors) - 1)), None]])
    return Scene(anchors, gt_boxes, (8 * rows, 8 * columns))


class ConvShape(NamedTuple):
    """Sizes of a convolution or pooling: images, channels in and out, map, window."""

    N: int
    C: int
    O: int  # noqa: E741 - the O of OIHW
    H: int
    W: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@st.composite
def conv_shapes(
    draw: DrawFn,
    *,
    max_batch: int = 2,
    max_channels: int = 4,
    max_size: int = 9,
    max_kernel: int = 3,
    max_padding: int | None = None,
) -> ConvShape:
    """Draw sizes with at least one output: odd maps, single pixels, strides beyond the kernel.

    The padding goes up to `max_padding`, or, for None, to half the kernel, the most that pooling
    takes.
    """
    kernel = draw(st.tuples(*2 * [st.integers(1, max_kernel)]))
    most = [side // 2 if max_padding is None else max_padding for side in kernel]
    padding = tuple(draw(st.integers(0, limit)) for limit in most)
    H, W = (
        draw(st.integers(least, max(least, max_size)))
        for least in (max(1, side - 2 * pad) for side, pad in zip(kernel, padding, strict=True))
    )
    return ConvShape(
        N=draw(st.integers(1, max_batch)),
        C=draw(st.integers(1, max_channels)),
        O=draw(st.integers(1, max_channels)),
        H=H,
        W=W,
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=(padding[0], padding[1]),
    )


@st.composite
def layouts(draw: DrawFn, array: np.ndarray) -> np.ndarray:
    """Draw a layout in memory for the values of `array`: plain, strided, reversed, read-only."""
    layout = draw(st.sampled_from(["rows", "columns", "strided", "reversed", "read-only"]))
    if layout == "columns":
        return np.asfortranarray(array)
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed" and array.ndim and array.shape[-1] > 1:
        return np.flip(np.flip(array, axis=-1).copy(), axis=-1)
    copy = array.copy()
    copy.setflags(write=layout != "read-only")
    return copy


def in_each_layout(question: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the question once for each odd layout of the named arrays, and once in float32.

    The numbers should be ones that float32 holds.
    """
    ways: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        np.asfortranarray,
        lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
        lambda array: np.flip(np.flip(array, axis=-1).copy(), axis=-1),
        lambda array: np.flip(np.flip(array, axis=0).copy(), axis=0),
        lambda array: array.astype(np.float32),
    )
    return [question | {name: way(question[name]) for name in names} for way in ways]


@st.composite
def stored(
    draw: DrawFn,
    questions: st.SearchStrategy[dict[str, Any]],
    names: tuple[str, ...],
    *,
    dtypes: tuple[Any, ...] = (np.float64, np.float32),
) -> dict[str, Any]:
    """Draw a question and hold some of its arrays in another dtype and in odd layouts.

    Parameters
    ----------
    questions
        Strategy for arguments by name.
    names
        The arrays to hold so. All get the same dtype, each its own layout.
    dtypes
        What to choose from; whole-number dtypes are chosen only where all numbers are whole.
    """
    question = draw(questions)
    arrays = [question[name] for name in names]
    whole = all(np.array_equal(array, np.trunc(array)) for array in arrays)
    dtype = draw(
        st.sampled_from([np.dtype(one) for one in dtypes if whole or np.dtype(one).kind == "f"])
    )
    held = {
        name: draw(layouts(array.astype(dtype))) for name, array in zip(names, arrays, strict=True)
    }
    return question | held
