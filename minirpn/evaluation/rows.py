"""Detections from the rows of a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

import numpy as np

from minirpn.detector import Detections

Row = tuple[int, float, tuple[float, float, float, float]]
"""Class, score and half-open box of one detection."""


_MOST = float(np.finfo(np.float32).max)


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether something read from a file is a number that a float32 can hold.

    NaN and infinity are none, nor is a whole number of hundreds of digits, which JSON allows.
    """
    # To Python, true is a whole number too.
    return type(value) in (int, float) and -_MOST <= value <= _MOST


def detections_from(rows: Iterable[Row]) -> Detections:
    """Return the detections of one image, float64, highest score first.

    Equal scores stay in the order of their classes, and within a class in the order of the rows.
    """
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    return Detections(
        np.array([box for _, _, box in ordered], dtype=np.float64).reshape(-1, 4),
        np.array([score for _, score, _ in ordered], dtype=np.float64),
        np.array([label for label, _, _ in ordered], dtype=np.int64),
    )
