"""Checks of functions that make anchors, of a cell and of all cells, and the mistakes they know."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import strategies
from minirpn.testing.check_boxes import DTYPES, ONE, rows
from minirpn.testing.examine import (
    Asked,
    Drawn,
    Exercise,
    Grown,
    Mistakes,
    Question,
    Verdict,
    examine,
    expect_one_of,
    spoiled,
)

Rounding = Literal["caffe"] | None


def _half_up(number: float) -> int:
    return math.floor(number + 0.5)


def _base(
    base_size: float,
    ratios: np.ndarray,
    scales: np.ndarray,
    *,
    rounded: Callable[[float], float] | None = round,
    center: float = 0.5,
    keep_area: bool = True,
    inverse: bool = False,
    scale_area: bool = False,
    scales_first: bool = False,
    swapped: bool = False,
    round_last: bool = False,
    scaled: bool = True,
    half: float = 0.5,
    corners: bool = True,
) -> np.ndarray:
    """Return the anchors of a cell (A, 4); each option spoils one part."""
    found = []
    pairs = [(ratio, scale) for ratio in ratios for scale in scales]
    if scales_first:
        pairs = [(ratio, scale) for scale in scales for ratio in ratios]
    for ratio, scale in pairs:
        if inverse:
            ratio = 1 / ratio
        factor = 1 if not scaled else math.sqrt(scale) if scale_area else scale
        width = math.sqrt(base_size**2 / ratio) if keep_area else base_size
        if rounded and not round_last:
            width = rounded(width)
        height = width * ratio
        if rounded and not round_last:
            height = rounded(height)
        sides = np.array([width, height]) * factor
        if rounded and round_last:
            sides = np.round(sides)
        if swapped:
            sides = sides[::-1]
        middle = np.full(2, center * base_size)
        low, high = middle - sides * half, middle + sides * half
        found.append(np.concatenate([low, high] if corners else [middle, sides]))
    return np.array(found)


_COMMON: dict[str, dict[Any, str]] = {
    "center": {
        0: "The center is (base_size / 2, base_size / 2), that of the cell, not (0, 0).",
        1: "The center is (base_size / 2, base_size / 2), not the corner of the cell.",
    },
    "keep_area": {False: "All ratios have the same area: width = sqrt(base_size^2 / ratio)."},
    "inverse": {True: "A ratio is height / width: is yours width / height?"},
    "scaled": {False: "Multiply the sides by the scale."},
    "scale_area": {True: "A scale multiplies the sides, not the area."},
    "half": {1: "Half a side lies on each side of the center, not a whole one."},
    "corners": {False: "Give the corners (x1, y1, x2, y2), not the center and the sides."},
    "scales_first": {
        True: "One ratio after the other, each at every scale, not one scale after the other."
    },
}


INCLUSIVE = "Did you take 1 off x2 and y2? Our boxes are half-open."


def _inclusive_corners(base: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return the anchors as py-faster-rcnn writes them, with inclusive corners."""
    return lambda *question: base(*question) - ONE


BASE_MISTAKES: dict[str | None, Mistakes] = {
    "caffe": {INCLUSIVE: _inclusive_corners(_base)}
    | spoiled(
        _base,
        **_COMMON,
        rounded={
            None: "The sides at scale 1 are rounded to whole pixels.",
            _half_up: "Halves are rounded to the even number, as NumPy does.",
        },
        swapped={True: "x belongs to the width, y to the height: did you swap them?"},
        round_last={True: "Round the sides at scale 1, before you multiply by the scale."},
    ),
    None: {INCLUSIVE: _inclusive_corners(partial(_base, rounded=None))}
    | spoiled(partial(_base, rounded=None), **_COMMON)
    | spoiled(_base, rounded={round: "With rounding=None the sides are not rounded."}),
}


@st.composite
def _cell(draw: DrawFn, *, fractions: bool) -> Question:
    """Draw the arguments of a cell's anchors; without fractions, the paper's and alike."""
    ratio = st.sampled_from([0.5, 1.0, 2.0] + [0.25, 0.333, 0.75, 1.5, 3.0, 4.0] * fractions)
    scale = st.sampled_from([8.0, 16.0, 32.0] + [0.5, 1.0, 1.26, 2.0, 3.5, 64.0] * fractions)
    several: dict[str, Any] = {"min_size": 1, "max_size": 4, "unique": True}
    sides = st.integers(4, 64) if fractions else st.sampled_from([16, 8, 32])
    return {
        "base_size": draw(sides),
        "ratios": np.array(draw(st.lists(ratio, **several))),
        "scales": np.array(draw(st.lists(scale, **several))),
    }


def _has_halves(cell: Question) -> bool:
    """Return whether a side is half a pixel from two whole numbers, and so authors may differ."""
    widths = np.sqrt(cell["base_size"] ** 2 / cell["ratios"])
    sides = np.concatenate([widths, np.round(widths) * cell["ratios"]])
    return bool(np.any(np.abs(sides % 1 - 0.5) < 1e-9))


def check_base_anchors(f: Callable[..., Any], *, rounding: Rounding = "caffe") -> Verdict:
    """Check a function that makes the anchors of cell (0, 0): ``f(base_size, ratios, scales)``.

    Parameters
    ----------
    f
        Takes a number of pixels, ratios (height / width) and scales, both 1-D arrays; returns
        (A, 4), half-open, one ratio after the other, each at every scale, about the center of the
        cell, (base_size / 2, base_size / 2).
    rounding
        ``"caffe"``: the sides at scale 1 are rounded to whole pixels, first the width, then the
        height that it gives, halves to the even number. None: they are not.

    Raises
    ------
    CheckError
        As in `check_iou`.

    Notes
    -----
    See `minirpn.rpn.base_anchors`.
    """
    expect_one_of("rounding", rounding, BASE_MISTAKES)
    probes = (
        {"base_size": 16, "ratios": np.array([0.5, 1, 2]), "scales": np.array([8.0, 16])},
        {"base_size": 9, "ratios": np.array([3.0, 0.7]), "scales": np.array([1.5, 2, 4])},
    )
    halves = {"base_size": 9, "ratios": np.array([0.5, 1.5]), "scales": np.array([1.0, 2])}
    exercise = Exercise(
        answer=partial(_base, rounded=round if rounding else None),
        stages=(
            Drawn(_cell(fractions=False)),
            Drawn(_cell(fractions=True).filter(lambda cell: not _has_halves(cell))),
            Drawn(_cell(fractions=True)),
            Asked((halves,)),
        ),
        probes=probes,
        mistakes=BASE_MISTAKES[rounding],
        telling=True,
    )
    contract = partial(check_base_anchors, f, rounding=None)
    return examine(f, exercise, contracts={"rounding=None": contract} if rounding else {})


def _grid(
    base: np.ndarray,
    feature_size: tuple[int, int],
    stride: float,
    *,
    order: str = "row column anchor",
    offset: float = 0,
    swapped: bool = False,
    axes: tuple[int, ...] = (0, 1, 0, 1),
    step: int | None = None,
    table: bool = False,
) -> np.ndarray:
    """Return the anchors of all cells (K, 4); each option spoils one part."""
    height, width = feature_size[::-1] if swapped else feature_size
    names = ["row", "column", "anchor"]
    axes_in_order = [names.index(name) for name in order.split()]
    row, column, anchor = (
        index.transpose(axes_in_order).reshape(-1)
        for index in np.indices((height, width, len(base)))
    )
    moves = np.stack([column, row, np.zeros_like(row)]) * (step or stride) + offset * stride
    moves[2] = 0
    anchors = base[anchor] + moves[list(axes)].T
    return anchors.reshape(height, width, len(base), 4) if table else anchors


GRID_MISTAKES: Mistakes = spoiled(
    _grid,
    order={
        "column row anchor": "Go through the cells row by row, not column by column.",
        "anchor row column": "All anchors of a cell come together, then those of the next cell.",
        "anchor column row": "All anchors of a cell come together, and the cells row by row.",
    },
    offset={
        0.5: "The base anchors are those of cell (0, 0): did you add half a stride?",
        1: "The cells count from 0: did you begin at 1?",
    },
    swapped={True: "The size of a feature map is (height, width), not (width, height)."},
    axes={
        (1, 0, 1, 0): "x grows with the column, y with the row: did you swap them?",
        (0, 1, 2, 2): "Move both corners, x2 and y2 as well as x1 and y1.",
    },
    step={1: "A cell is stride pixels wide: multiply by the stride."},
    table={True: "Give one list of K anchors: (Hf, Wf, A, 4) becomes (Hf Wf A, 4)."},
)


@st.composite
def _map_of_cells(
    draw: DrawFn, strides: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 3), **options: Any
) -> Question:
    cells = st.integers(1, 4)
    return {
        "base": draw(strategies.boxes(min_count=1, max_count=3, min_side=1, **options)),
        "feature_size": draw(st.tuples(cells, cells)),
        "stride": draw(st.sampled_from(strides)),
    }


def _many_at_a_cell(size: int) -> Question:
    """Return a question about so many base anchors."""
    base = strategies.crowd(np.random.default_rng(0), size, whole=True)
    return {"base": base, "feature_size": (2, 3), "stride": 16}


def _long_map(shape: Callable[[int], tuple[int, int]]) -> Callable[[int], Question]:
    """Return a function: a size -> a question with a map of this shape."""
    base = rows((-4, -4, 12, 12), (-8, 0, 16, 8), (0, -8, 8, 16))
    return lambda size: {"base": base, "feature_size": shape(size), "stride": 16}


def check_grid_anchors(f: Callable[..., Any]) -> Verdict:
    """Check a function that makes the anchors of all cells: ``f(base, feature_size, stride)``.

    Base anchors (A, 4), ``feature_size = (Hf, Wf)`` and the stride in pixels make (K, 4), with
    K = Hf Wf A in the order (row, column, base anchor): those of cell (row, column) are the base
    anchors moved by (column stride, row stride). See `minirpn.rpn.grid_anchors`, and `check_iou`
    for what is raised.
    """
    strides = (16, 2.5, 0.5)
    wide = st.one_of(
        _map_of_cells(strides, extent=512, whole=True), _map_of_cells(strides, extent=512)
    )
    exercise = Exercise(
        answer=_grid,
        stages=(
            Drawn(_map_of_cells(extent=16, whole=True)),
            Drawn(_map_of_cells(extent=64)),
            Drawn(strategies.stored(wide, ("base",), dtypes=DTYPES)),
            Grown(_many_at_a_cell, strategies.COUNTS),
            Grown(_long_map(lambda size: (size, 3)), strategies.COUNTS),
            Grown(_long_map(lambda size: (2, size)), strategies.COUNTS),
        ),
        probes=(
            {
                "base": rows((-2, -2, 6, 6), (-4, 0, 8, 4)),
                "feature_size": (2, 3),
                "stride": 4,
            },
        ),
        mistakes=GRID_MISTAKES,
        telling=True,
    )
    return examine(f, exercise)
