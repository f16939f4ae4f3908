"""How annotation files count pixels: VOC's convention, and those of other tools.

VOC counts pixels from 1 and includes the last one; everything else in this package is half-open.
This is the only place where one convention becomes another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from minirpn._typing import ImageSize

BoxFormat = Literal["voc", "zero-based", "half-open", "one-based-half-open", "normalized"]


_LEAST_SHARE = 0.01  # of the boxes, that speak for a convention


class Convention(NamedTuple):
    """How the corners of a box count pixels along one side of the image."""

    first: int  # the number of the first pixel
    inclusive: bool  # whether the far edge is the last pixel of the box, not the one behind it
    words: str

    def last(self, length: int) -> int:
        """Return the far edge of a box that ends with the image, `length` pixels long."""
        return length + self.first - self.inclusive


CONVENTIONS: Mapping[BoxFormat, Convention] = {
    "voc": Convention(1, True, "pixels from 1, the last one included"),
    "zero-based": Convention(0, True, "pixels from 0, the last one included"),
    "half-open": Convention(0, False, "from 0 to the width, as in COCO"),
    "one-based-half-open": Convention(1, False, "from 1 to the width + 1"),
    # In units of the image's sides.
    "normalized": Convention(0, False, "from 0 to 1, as in YOLO"),
}
"""How the corners of each `BoxFormat` count."""


def half_open(
    corners: np.ndarray, box_format: BoxFormat = "voc", image_size: ImageSize = (1, 1)
) -> np.ndarray:
    """Return half-open boxes for corners in a file; VOC's: ``(xmin - 1, ymin - 1, xmax, ymax)``.

    Parameters
    ----------
    corners
        (..., 4) floating point ``(xmin, ymin, xmax, ymax)``, as the file has them.
    box_format
        How they count pixels.
    image_size
        (height, width), pixels; only ``"normalized"`` corners need it.

    Returns
    -------
    boxes
        (..., 4) ``(x1, y1, x2, y2)``, half-open, the same dtype.

    Notes
    -----
    Inverse of `voc_corners` for VOC's corners.

    Examples
    --------
    >>> half_open(np.array([1.0, 1.0, 500.0, 375.0])).tolist()
    [0.0, 0.0, 500.0, 375.0]
    """
    first, inclusive, _ = CONVENTIONS[box_format]
    far = first - inclusive
    boxes = corners - np.array([first, first, far, far], dtype=corners.dtype)
    if box_format != "normalized":
        return boxes
    height, width = image_size
    return boxes * np.array([width, height, width, height], dtype=corners.dtype)


def voc_corners(boxes: np.ndarray) -> np.ndarray:
    """Return VOC's corners for half-open boxes: ``(x1 + 1, y1 + 1, x2, y2)``.

    Parameters
    ----------
    boxes
        (..., 4) floating point ``(x1, y1, x2, y2)``, half-open.

    Returns
    -------
    corners
        (..., 4) ``(xmin, ymin, xmax, ymax)``, 1-based and inclusive, the same dtype.

    Notes
    -----
    Inverse of `half_open`. Annotation files and VOC result files need it.
    """
    return boxes + np.array([1, 1, 0, 0], dtype=boxes.dtype)


class Evidence(NamedTuple):
    """The convention that the boxes of a data set speak for, and what they show."""

    box_format: BoxFormat
    words: str


def likely_format(corners: np.ndarray, sides: np.ndarray) -> Evidence | None:
    """Return the convention that boxes speak for; None if nothing speaks against VOC's.

    Parameters
    ----------
    corners
        (M, 4) ``(xmin, ymin, xmax, ymax)``, as the files have them.
    sides
        (M, 2) width and height of the image of each.

    Notes
    -----
    Boxes that touch the border tell. Boxes that begin at the first pixel begin at 0 or at 1. Those
    that end with the image end at the width minus 1, at the width, or one beyond it. The more
    frequent number decides, if at least two boxes and one in a hundred have it, so that a few wrong
    boxes among many do not.
    """
    if not len(corners):
        return None
    if np.all((corners >= 0) & (corners <= 1)) and np.any(corners % 1 > 0):
        return Evidence("normalized", f"all {len(corners):,} boxes lie between 0 and 1")
    near, beyond = corners[:, :2], corners[:, 2:] - sides
    at_0, at_1 = (int(np.any(near == edge, axis=1).sum()) for edge in (0, 1))
    inside, at_end, after = (int(np.any(beyond == edge, axis=1).sum()) for edge in (-1, 0, 1))
    enough = max(2, _LEAST_SHARE * len(corners))
    if at_0 > at_1 and at_0 >= enough:
        starts = f"{at_0:,} boxes start at 0 and {at_1:,} at 1"
        if at_end >= inside and at_end:
            return Evidence("half-open", f"{starts}; {at_end:,} end at the width or height")
        return Evidence("zero-based", f"{starts}; {at_end:,} end at the width or height")
    if after > at_end and after >= enough:
        ends = f"{after:,} boxes end one pixel beyond the image"
        return Evidence("one-based-half-open", f"{ends} and {at_end:,} at its width or height")
    return None
