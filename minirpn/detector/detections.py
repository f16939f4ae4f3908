"""What a detector finds in an image."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._typing import Array


class Detections(NamedTuple):
    """The objects found in one image, highest score first."""

    boxes: Array  # (D, 4) half-open pixels
    scores: Array  # (D,) probability of the class
    classes: Array  # (D,) int64, positions in the data set's classes; the background is none
