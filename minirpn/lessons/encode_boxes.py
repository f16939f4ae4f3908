"""The checks of chapter 03: from an anchor to a box by four numbers, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minirpn.testing import Verdict
from minirpn.testing.check_deltas import USUAL_LIMIT, exercise_of_decode, exercise_of_encode
from minirpn.testing.examine import Mistakes, examine

# Not `check_encode` and `check_decode`: they accept boxes with a + 1, and a limit, if asked to.


def _check_encode(f: Callable[..., Any]) -> Verdict:
    exercise = exercise_of_encode()
    encode = exercise.answer

    def log10(anchors: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return encode(anchors, targets) * [1, 1, 1 / np.log(10), 1 / np.log(10)]

    mistakes: Mistakes = {
        "Take the natural logarithm, np.log: this is the one with base 10.": log10,
        "Take the natural logarithm, np.log: this is the one with base 2.": (
            lambda anchors, boxes: encode(anchors, boxes) * [1, 1, 1 / np.log(2), 1 / np.log(2)]
        ),
        "This leads from the box to the anchor: the anchor comes first.": (
            lambda anchors, boxes: encode(boxes, anchors)
        ),
        "A shift has the wrong sign: take the anchor's center off the box's.": (
            lambda anchors, boxes: encode(anchors, boxes) * [-1, -1, 1, 1]
        ),
        "Did you divide both shifts by the width? y is measured in heights.": (
            lambda anchors, boxes: encode(anchors, boxes) * _with_ratio(anchors, [0, 1])
        ),
        "Four columns are asked for, not four rows: axis=1.": (
            lambda anchors, boxes: encode(anchors, boxes).T
        ),
        "This is the correction of the corners, not of the center and the sides.": (
            lambda anchors, boxes: boxes - anchors
        ),
    }
    return examine(f, replace(exercise, mistakes={**exercise.mistakes, **mistakes}))


def _with_ratio(anchors: np.ndarray, powers: list[int]) -> np.ndarray:
    """Return factors (N, 4) for the deltas: height by width to these powers for x and y, else 1."""
    w, h = (anchors[:, 2:] - anchors[:, :2]).T
    one = np.ones(len(anchors))
    return np.stack([(h / w) ** powers[0], (h / w) ** powers[1], one, one], axis=1)


def _check_decode(f: Callable[..., Any]) -> Verdict:
    exercise = exercise_of_decode(("anchors", "deltas"))
    decode = exercise.answer

    def of(deltas_of: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
        return lambda anchors, deltas: decode(anchors, deltas_of(deltas))

    mistakes: Mistakes = {
        "A limit of tw and th is not asked for here.": of(
            lambda deltas: np.minimum(deltas, [np.inf, np.inf, USUAL_LIMIT, USUAL_LIMIT])
        ),
        "The inverse of the natural logarithm is np.exp: this is a power of 2.": of(
            lambda deltas: deltas * [1, 1, np.log(2), np.log(2)]
        ),
        "A shift has the wrong sign: add it to the anchor's center.": of(
            lambda deltas: deltas * [-1, -1, 1, 1]
        ),
        "Shift by widths and heights of the anchor, not of the new box.": of(
            lambda deltas: deltas * np.exp(np.pad(deltas[:, 2:], ((0, 0), (0, 2))))
        ),
        "Did you shift y by widths? It is measured in heights.": lambda anchors, deltas: decode(
            anchors, deltas / _with_ratio(anchors, [0, 1])
        ),
        "Four columns are asked for, not four rows: axis=1.": (
            lambda anchors, deltas: decode(anchors, deltas).T
        ),
        "The shift starts at the anchor's center, not at its corner: add half its sides.": (
            lambda anchors, deltas: decode(anchors, deltas - [0.5, 0.5, 0, 0])
        ),
    }
    return examine(f, replace(exercise, mistakes={**exercise.mistakes, **mistakes}))


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_encode": _check_encode,
    "my_decode": _check_decode,
}
