"""The checks of chapter 02: the sides of an anchor, the anchors of a cell and of a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from minirpn.rpn import AnchorConfig, base_anchors
from minirpn.testing import Verdict, check_base_anchors, check_equal, check_grid_anchors


def _right_sides(base_size: float, ratio: float) -> np.ndarray:
    anchor = base_anchors(AnchorConfig(base_size=base_size, ratios=(ratio,), scales=(1,)))[0]
    return anchor[2:] - anchor[:2]


def _sides(
    base_size: float,
    ratio: float,
    *,
    rounded: Callable[[float], float] = round,
    width: Callable[[float, float], float] = lambda area, ratio: math.sqrt(area / ratio),
    height: Callable[[float, float], float] = lambda width, ratio: width * ratio,
) -> np.ndarray:
    """Return (width, height); each option spoils one part."""
    across = rounded(width(base_size**2, ratio))
    return np.array([across, rounded(height(across, ratio))])


def _rounded_late(base_size: float, ratio: float) -> np.ndarray:
    across = math.sqrt(base_size**2 / ratio)
    return np.array([round(across), round(across * ratio)])


def _half_up(side: float) -> int:
    return math.floor(side + 0.5)


def _check_sides(f: Callable[..., Any]) -> Verdict:
    mistakes: Mapping[str, Callable[..., Any]] = {
        "Round both sides to whole numbers.": partial(_sides, rounded=float),
        "Take the height from the rounded width.": _rounded_late,
        "Round the height, too.": lambda base_size, ratio: np.array(
            [side := round(math.sqrt(base_size**2 / ratio)), side * ratio]
        ),
        "int() cuts off what is behind the point: round instead.": partial(_sides, rounded=int),
        "A half is rounded to the even number, as round does.": partial(_sides, rounded=_half_up),
        "The ratio is height / width: is yours width / height?": partial(
            _sides,
            width=lambda area, ratio: math.sqrt(area * ratio),
            height=lambda width, ratio: width / ratio,
        ),
        "Under the root, divide the area by the ratio.": partial(
            _sides, width=lambda area, ratio: math.sqrt(area * ratio)
        ),
        "Return the width first, then the height.": lambda *question: _sides(*question)[::-1],
        "The area stays: for a ratio of 2 the width is smaller than base_size.": partial(
            _sides, width=lambda area, ratio: math.sqrt(area)
        ),
        "The width is the square root of area / ratio.": partial(
            _sides, width=lambda area, ratio: area / ratio
        ),
        "The height is the width times the ratio.": partial(
            _sides, height=lambda width, ratio: width / ratio
        ),
    }
    calls = ((16, 1.0), (16, 2.0), (16, 0.5), (8, 3.0), (4, 1.5))
    return check_equal(f, _right_sides, *calls, mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_sides": _check_sides,
    "my_base_anchors": check_base_anchors,
    "my_grid": check_grid_anchors,
}
