"""The checks of chapter 00: boxes and the pixels they cover."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minirpn import boxes, data
from minirpn.testing import Verdict, check_equal
from minirpn.testing.check_boxes import rows
from minirpn.testing.pictures import draw_boxes_of

_PICTURE = np.arange(20).reshape(4, 5)
"""Rows, columns: no two pixels are equal, and it has not as many rows as columns."""


def _check_area(f: Callable[..., Any]) -> Verdict:
    def area(box: np.ndarray) -> Any:
        return boxes.area(box)

    ordinary = rows((1, 0, 3, 5), (0, 0, 2.5, 3))
    empty = rows((3, 0, 1, 4), (1, 4, 3, 0), (3, 4, 1, 1))  # one side below 0, the other, both
    mistakes = {
        "Did you add 1 to the sides? Our boxes are half-open.": lambda box: np.prod(
            np.maximum(box[2:] - box[:2] + 1, 0)
        ),
        "A width or a height below 0 counts as 0.": lambda box: np.prod(box[2:] - box[:2]),
        "Cut off each side at 0, before you multiply: "
        "two negative sides have a positive product.": lambda box: max(
            np.prod(box[2:] - box[:2]), 0
        ),
        "A side below 0 counts as 0: an absolute value makes it positive.": lambda box: abs(
            np.prod(box[2:] - box[:2])
        ),
        "x2 and y2 are where the box ends, not its width and height.": lambda box: box[2] * box[3],
        "Area, not how far it is around the box: multiply width and height.": (
            lambda box: 2 * np.maximum(box[2:] - box[:2], 0).sum()
        ),
        "The area of such a box need not be a whole number: do not round it.": lambda box: int(
            np.prod(np.maximum(box[2:] - box[:2], 0))
        ),
        "Multiply width and height: this is their sum.": lambda box: np.maximum(
            box[2:] - box[:2], 0
        ).sum(),
    }
    calls = ((box,) for box in (*ordinary, *empty))
    return check_equal(f, area, *calls, mistakes=mistakes, draw=draw_boxes_of)


def _count(
    box: np.ndarray, image_size: tuple[int, int], *, low: float = 0, high: float = 0
) -> float:
    """Return how many pixels a box covers; `low` and `high` move where it begins and ends."""
    x1, y1, x2, y2 = box + np.array([low, low, high, high])
    height, width = image_size
    in_rows = sum(y1 <= row < y2 for row in range(height))
    return float(in_rows * sum(x1 <= column < x2 for column in range(width)))


def _check_count(f: Callable[..., Any]) -> Verdict:
    inside, all_around, outside = rows((1, 0, 4, 2), (-2, 1, 9, 9), (7, 0, 9, 2))
    mistakes: dict[str, Callable[..., Any]] = {
        "The box ends before x2 and y2: < there, not <=.": partial(_count, high=1),
        "The box begins with x1 and y1: <= there, not <.": partial(_count, low=1),
        "Both ends are counted differently: begin with x1, y1 (<=), end before x2, y2 (<).": (
            partial(_count, low=1, high=1)
        ),
        "Only pixels of the image count: the box may reach over its border.": (
            lambda box, image_size: boxes.area(box)
        ),
        # The same number as with x for rows and y for columns.
        "x belongs to columns, y to rows, and image_size is (height, width): did you swap them?": (
            lambda box, image_size: _count(box, image_size[::-1])
        ),
    }
    calls = ((box, (3, 6)) for box in (inside, all_around, outside))
    return check_equal(f, _count_of_an_image, *calls, mistakes=mistakes, draw=draw_boxes_of)


def _count_of_an_image(box: np.ndarray, image_size: tuple[int, int]) -> float:
    return _count(box, image_size)


def _check_half_open(f: Callable[..., Any]) -> Verdict:
    one, two = rows((4, 3, 7, 5)), rows((1, 1, 500, 375), (2, 2, 2, 2))

    def moved(by: tuple[int, int, int, int]) -> Callable[..., Any]:
        return lambda corners: corners + np.array(by)

    mistakes = {
        "xmax and ymax stay: the last pixel of VOC ends where our box does.": moved(
            (-1, -1, -1, -1)
        ),
        "VOC counts from 1, we count from 0: subtract 1 from xmin and ymin.": moved((0, 0, 1, 1)),
        "Subtract 1, not add it: VOC's first pixel has the number 1, ours 0.": moved((1, 1, 0, 0)),
        "Only xmin and ymin change: the last pixel of VOC ends where our box does.": moved(
            (-1, -1, 1, 1)
        ),
        "y counts from 1, too.": moved((-1, 0, 0, 0)),
        "Nothing has changed: VOC's first pixel has the number 1, ours 0.": moved((0, 0, 0, 0)),
    }
    return check_equal(f, data.half_open, (one,), (one[0],), (two,), mistakes=mistakes)


def _crop(image: np.ndarray, box: np.ndarray, *, low: int = 0, high: int = 0) -> np.ndarray:
    """Return what a box cuts out, row by row and column by column."""
    rows_of, columns = (np.arange(size) for size in image.shape)
    in_rows = (rows_of >= box[1] + low) & (rows_of < box[3] + high)
    return image[in_rows][:, (columns >= box[0] + low) & (columns < box[2] + high)]


def _check_crop(f: Callable[..., Any]) -> Verdict:
    def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
        return _crop(image, box)

    mistakes: dict[str, Callable[..., Any]] = {
        "Still one row and one column too many: a slice ends before its end, as the box does.": (
            partial(_crop, high=1)
        ),
        "Rows come first in an array: which of the two slices is for y?": lambda image, box: _crop(
            image, box[[1, 0, 3, 2]]
        ),
        "Now one row and one column too few: a slice ends before its end by itself.": partial(
            _crop, high=-1
        ),
        "The slice begins with y1 and x1 themselves.": partial(_crop, low=1),
        "Cut off columns, too.": lambda image, box: image[int(box[1]) : int(box[3])],
    }
    calls = ((_PICTURE, box) for box in rows((1, 0, 3, 2), (0, 1, 2, 4), (3, 2, 5, 4)))
    return check_equal(f, crop, *calls, mistakes=mistakes)


def _check_flip(f: Callable[..., Any]) -> Verdict:
    def flip(box: np.ndarray, width: float) -> np.ndarray:
        return boxes.flip(box, width)

    mistakes: dict[str, Callable[..., Any]] = {
        "Left becomes right: the new x1 is width - x2.": lambda box, width: np.array(
            [width - box[0], box[1], width - box[2], box[3]]
        ),
        "No - 1: that is for boxes whose end is inside.": lambda box, width: np.array(
            [width - box[2] - 1, box[1], width - box[0] - 1, box[3]]
        ),
        "Mirror left and right; y stays as it is.": lambda box, width: np.array(
            [width - box[2], width - box[3], width - box[0], width - box[1]]
        ),
        "This mirrors the box upside down: x changes, y stays.": lambda box, width: np.array(
            [box[0], width - box[3], box[2], width - box[1]]
        ),
        "Take width - x, not -x: the mirrored box is in the image again.": (
            lambda box, width: np.array([-box[2], box[1], -box[0], box[3]])
        ),
    }
    calls = ((box, 9) for box in rows((3, 2, 7, 5), (0, 0, 1, 1), (4, 0, 9, 6)))
    return check_equal(f, flip, *calls, mistakes=mistakes, draw=draw_boxes_of)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_area": _check_area,
    "my_count": _check_count,
    "my_half_open": _check_half_open,
    "my_crop": _check_crop,
    "my_flip": _check_flip,
}
