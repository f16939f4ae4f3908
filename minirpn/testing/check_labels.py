"""The check of functions that label anchors, and the mistakes it knows."""

from __future__ import annotations

from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.boxes import is_inside
from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE
from minirpn.testing import exact, strategies
from minirpn.testing.examine import (
    Asked,
    Drawn,
    Exercise,
    Question,
    Verdict,
    examine,
    spoiled,
)
from minirpn.testing.pictures import draw_boxes_of
from minirpn.testing.words import plain

Compare = Callable[[np.ndarray, float], np.ndarray]


def _labels(
    anchors: np.ndarray,
    gt_boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    is_positive: Compare = ge,
    is_negative: Compare = lt,
    best: bool = True,
    all_ties: bool = True,
    touching: bool = True,
    inside_only: bool = True,
    best_inside: bool = True,
    negatives_last: bool = False,
) -> np.ndarray:
    """Return the labels of section 3.1.2; each option spoils one of its rules."""
    overlaps = exact.iou(anchors, gt_boxes)
    inside = is_inside(anchors, image_size) if inside_only else np.ones(len(anchors), dtype=bool)
    highest = overlaps.max(axis=1, initial=0)
    chosen = np.zeros(len(anchors), dtype=bool)
    for column in overlaps.T if best else ():
        candidates = np.where(inside, column, 0) if best_inside else column
        is_best = candidates == candidates.max(initial=0)
        if touching:
            is_best &= candidates > 0
        chosen |= is_best if all_ties else is_best & (np.cumsum(is_best) == 1)
    positive = is_positive(highest, 0.7) | chosen
    negative = is_negative(highest, 0.3)
    rules = [(NEGATIVE, negative), (POSITIVE, positive)]
    labels = np.full(len(anchors), IGNORE)
    for label, mask in reversed(rules) if negatives_last else rules:
        labels[mask & inside] = label
    return labels


MISTAKES = spoiled(
    _labels,
    is_positive={gt: "An IoU of exactly 0.7 is positive: use >=, not >."},
    is_negative={le: "An IoU of exactly 0.3 is not negative: use <, not <=."},
    best={
        False: "Where is rule (i)? The best anchor of a ground truth is positive, whatever its IoU."
    },
    all_ties={
        False: "Several anchors can tie for the best of a ground truth: all of them are positive."
    },
    touching={False: "A ground truth that no anchor touches has no best anchor: IoU must be > 0."},
    inside_only={False: "Anchors that cross the border of the image are ignored."},
    best_inside={False: "Take the best anchor from those inside the image."},
    negatives_last={
        True: "A best anchor stays positive where its IoU is below 0.3: set the positives last."
    },
)


_WORDS = {POSITIVE: "positive", NEGATIVE: "negative", IGNORE: "ignored"}


def _scene(anchors: list[list[float]], gt_boxes: list[list[float]], side: int = 20) -> Question:
    return {
        "anchors": np.array(anchors, dtype=np.float64).reshape(-1, 4),
        "gt_boxes": np.array(gt_boxes, dtype=np.float64).reshape(-1, 4),
        "image_size": (side, side),
    }


_PROBES = (
    # IoU 0.8 (the best) and 0.7: both positive
    _scene([[0, 0, 8, 10], [0, 0, 7, 10], [12, 12, 16, 16]], [[0, 0, 10, 10]]),
    # IoU 1 and 0.3: positive, ignored
    _scene([[0, 0, 3, 10], [0, 0, 10, 10]], [[0, 0, 3, 10]]),
    # IoU 1/7 twice: a tie for the best, below 0.3
    _scene([[0, 0, 4, 4], [2, 2, 6, 6], [14, 14, 18, 18]], [[0, 0, 0, 0], [2, 2, 4, 4]]),
    # a ground truth far from every anchor
    _scene([[0, 0, 4, 4], [2, 2, 6, 6]], [[15, 15, 19, 19]]),
    # the anchor outside is nearer than the one inside
    _scene([[-2, 0, 6, 8], [2, 0, 10, 8]], [[-1, 0, 7, 8]]),
)


@st.composite
def _few_anchors(draw: DrawFn) -> Question:
    """Draw a few anchors in and around a small image, and ground truths like them."""
    few = strategies.boxes(min_count=1, max_count=4, extent=8, min_side=1, whole=True)
    return {"anchors": draw(few), "gt_boxes": draw(few), "image_size": (8, 8)}


def check_label_anchors(f: Callable[..., Any]) -> Verdict:
    """Check a function that labels anchors: ``f(anchors, gt_boxes, image_size)`` is the labels.

    Positive (1): the best anchors of a ground truth, all of them where they tie, and IoU >= 0.7
    with any; negative (0): IoU < 0.3 with all; the rest, and anchors that cross the border of the
    image, ignored (-1). A ground truth that no anchor inside touches has no best anchor.

    Parameters
    ----------
    f
        Takes anchors (K, 4), ground truths (M, 4) and (height, width); returns labels (K,), alone
        or first in a tuple.

    Raises
    ------
    CheckError
        It gives a wrong label; the message has the smallest scene found, and perhaps why.

    Notes
    -----
    Coordinates are whole numbers, so ties are exact in float64. See `minirpn.rpn.label_anchors`.
    """
    exercise = Exercise(
        answer=exact.labels,
        stages=(
            Drawn(_few_anchors()),
            Drawn(strategies.scenes(max_gt=3).map(lambda scene: scene._asdict())),
            Asked((_scene([[0, 0, 4, 4]], []),)),
        ),
        probes=_PROBES,
        mistakes=MISTAKES,
        read=lambda result: result[0] if isinstance(result, tuple) else result,
        describe=_describe,
        draw=draw_boxes_of,
    )
    return examine(f, exercise)


def _describe(question: Question, got: np.ndarray, right: np.ndarray) -> str:
    """Name the first anchor whose label is wrong."""
    if got.shape != right.shape:
        return f"yours has the shape {got.shape}, expected {right.shape}"
    wrong_at = np.flatnonzero(got != right)
    if wrong_at.size == 0:
        return ""
    k = int(wrong_at[0])
    mine, expected = (_WORDS.get(value, str(value)) for value in (got[k].item(), right[k].item()))
    return f"anchor {k}, {plain(question['anchors'][k])}, is {mine} for you, expected {expected}"
