"""The check of functions that label anchors, and the mistakes it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from operator import ge, gt, le, lt
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.boxes import is_inside
from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE
from minirpn.testing import exact, strategies
from minirpn.testing.check_boxes import DTYPES, FAR, PLUS_ONE, spoiled_iou
from minirpn.testing.examine import (
    Asked,
    Drawn,
    Exercise,
    Grown,
    Question,
    Verdict,
    examine,
    spoiled,
)
from minirpn.testing.pictures import draw_boxes_of
from minirpn.testing.words import plain

Rows = Sequence[Sequence[float]]
Compare = Callable[[np.ndarray, float], np.ndarray]
Overlaps = Callable[[np.ndarray, np.ndarray], np.ndarray]
Inside = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def _everywhere(anchors: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    return np.ones(len(anchors), dtype=bool)


def _inside_swapped(anchors: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    return is_inside(anchors, image_size[::-1])


def _strictly_inside(anchors: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    height, width = image_size
    return np.asarray(
        (anchors[:, :2] > 0).all(axis=1) & (anchors[:, 2:] < [width, height]).all(axis=1)
    )


def _below_the_far_border(anchors: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    height, width = image_size
    return np.asarray(
        (anchors[:, :2] >= 0).all(axis=1) & (anchors[:, 2:] < [width, height]).all(axis=1)
    )


def _labels(
    anchors: np.ndarray,
    gt_boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    overlaps_of: Overlaps = exact.iou,
    is_positive: Compare = ge,
    is_negative: Compare = lt,
    best: bool = True,
    all_ties: bool = True,
    touching: bool = True,
    inside_of: Inside = is_inside,
    best_inside: bool = True,
    negatives_last: bool = False,
    others: int = IGNORE,
    no_gt: bool = True,
) -> np.ndarray:
    """Return the labels of section 3.1.2; each option spoils one of its rules."""
    overlaps = overlaps_of(anchors, gt_boxes)
    if not (len(gt_boxes) or no_gt):
        raise ValueError("there is no ground truth")
    inside = inside_of(np.asarray(anchors, dtype=np.float64), image_size)
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
    labels = np.full(len(anchors), others)
    for label, mask in reversed(rules) if negatives_last else rules:
        labels[mask & inside] = label
    return labels


def _below_the_positives(highest: np.ndarray, least: float) -> np.ndarray:
    return np.asarray(highest < 0.7)


_plus_one = partial(spoiled_iou, one=1)
MISTAKES = spoiled(
    _labels,
    is_positive={gt: "An IoU of exactly 0.7 is positive: use >=, not >."},
    is_negative={
        le: "An IoU of exactly 0.3 is not negative: use <, not <=.",
        _below_the_positives: "From 0.3 to 0.7 an anchor is ignored, not negative.",
    },
    best={
        False: "Where is rule (i)? The best anchor of a ground truth is positive, whatever its IoU."
    },
    all_ties={
        False: "Several anchors can tie for the best of a ground truth: all of them are positive."
    },
    touching={False: "A ground truth that no anchor touches has no best anchor: IoU must be > 0."},
    inside_of={
        _everywhere: "Anchors that cross the border of the image are ignored.",
        _inside_swapped: "The size of an image is (height, width), not (width, height).",
        _strictly_inside: "An anchor that touches the border is inside: use >= 0 and <= width.",
        _below_the_far_border: "An anchor that touches the far border is inside: use <=, not <.",
    },
    best_inside={False: "Take the best anchor from those inside the image."},
    others={NEGATIVE: "What no rule names is ignored: begin with -1, not with 0."},
    no_gt={False: "Without an object there is no maximum: use initial=0."},
    negatives_last={
        True: "A best anchor stays positive where its IoU is below 0.3: set the positives last."
    },
    overlaps_of={
        _plus_one: PLUS_ONE,
        partial(spoiled_iou, epsilon=1e-6): "Did you add an epsilon to the area you divide by? It "
        "breaks ties, and moves an IoU of exactly 0.7 or 0.3 below it.",
    },
) | {
    "Did you add 1 to the sides, and use < width? Our boxes are half-open.": partial(
        _labels, overlaps_of=_plus_one, inside_of=_below_the_far_border
    )
}


_WORDS = {POSITIVE: "positive", NEGATIVE: "negative", IGNORE: "ignored"}


def _scene(anchors: Rows, gt_boxes: Rows, image_size: tuple[int, int] = (20, 22)) -> Question:
    return {
        "anchors": np.array(anchors, dtype=np.float64).reshape(-1, 4),
        "gt_boxes": np.array(gt_boxes, dtype=np.float64).reshape(-1, 4),
        "image_size": image_size,
    }


_PROBES = (
    # IoU 0.8 (the best) and 0.7: both positive
    _scene([[0, 0, 8, 10], [0, 0, 7, 10], [12, 12, 16, 16]], [[0, 0, 10, 10]]),
    # IoU 1 and 0.5: positive, ignored
    _scene([[0, 0, 5, 10], [0, 0, 10, 10]], [[0, 0, 5, 10]]),
    # IoU 1 and 0.3: positive, ignored
    _scene([[0, 0, 3, 10], [0, 0, 10, 10]], [[0, 0, 3, 10]]),
    # IoU 1/7 twice: a tie for the best, below 0.3
    _scene([[0, 0, 4, 4], [2, 2, 6, 6], [14, 14, 18, 18]], [[0, 0, 0, 0], [2, 2, 4, 4]]),
    # IoU 8/16 and 16/32: a tie for the best of anchors that are not equally large
    _scene([[5, 5, 9, 7], [5, 5, 9, 13]], [[5, 5, 9, 9]]),
    # a ground truth far from every anchor
    _scene([[1, 1, 4, 4], [2, 2, 6, 6]], [[15, 15, 19, 19]]),
    # the anchor outside is nearer than the one inside
    _scene([[-2, 1, 6, 8], [2, 1, 10, 8]], [[-1, 1, 7, 8]]),
    # inside of an image that is wider than it is high, inside of none, inside of a higher one
    _scene([[1, 1, 17, 9], [1, 1, 17, 17], [1, 1, 9, 17]], [], (11, 18)),
    # touching each border
    _scene([[0, 2, 9, 9], [2, 0, 9, 9], [2, 2, 22, 9], [2, 2, 9, 20]], []),
)


def _across_each_border() -> tuple[Question, ...]:
    """Return scenes in which the anchor nearest to an object is a sixteenth outside.

    It crosses one border, or two in a corner.
    """
    height, width = 14, 20
    scenes = []
    for right, down in product((-1, 0, 1), repeat=2):
        if not (right or down):
            continue
        x, y = (1 + right) * (width - 8) / 2, (1 + down) * (height - 6) / 2
        dx, dy = right / strategies.FINENESS, down / strategies.FINENESS
        touching = [x, y, x + 8, y + 6]
        crossing = [x + dx, y + dy, x + dx + 8, y + dy + 6]
        scenes.append(_scene([crossing, [5, 3, 13, 9], touching], [crossing], (height, width)))
        scenes.append(_scene([crossing, [5, 3, 13, 9]], [crossing], (height, width)))
    return tuple(scenes)


_WITHOUT_AREA = tuple(
    _scene([[2, 2, 10, 10], [4, 4, 8, 8], [12, 3, 15, 9]], [gt_box, *others])
    for gt_box in ([5, 5, 5, 5], [2, 2, 2, 10], [4, 6, 8, 6], [2, 2, 10, 2], [8, 8, 4, 4])
    for others in ((), ([12, 3, 15, 8],))
)
"""Points, lines and a box inside out, on anchors: no anchor is positive for them."""


@st.composite
def _few_anchors(draw: DrawFn, *, extent: int = 8, gt_side: float = 1, **options: Any) -> Question:
    """Draw anchors in and around a small image, and ground truths that are related to them."""
    anchors = draw(strategies.boxes(min_count=1, max_count=4, extent=extent, **options))
    gt_boxes = draw(strategies.boxes(max_count=3, extent=extent, **options | {"min_side": gt_side}))
    same = draw(st.lists(st.integers(0, len(anchors) - 1), max_size=1))
    sides = st.integers(extent // 2, 2 * extent)
    return {
        "anchors": anchors,
        "gt_boxes": np.concatenate([gt_boxes, anchors[same]]),
        "image_size": draw(st.tuples(sides, sides)),
    }


@st.composite
def _rivals(draw: DrawFn) -> Question:
    """Draw an object and two anchors on it, of which one is only a little nearer."""
    width, height = draw(st.tuples(*2 * [st.integers(8, 64)]))
    gt_box = np.array([8.0, 8, 8 + width, 8 + height])
    move = np.array(draw(st.tuples(*4 * [st.integers(-3, 3)])))
    step = np.array(draw(st.sampled_from([(1, 0, 1, 0), (0, 1, 0, 1), (1, 0, 0, 0), (0, 0, 0, 1)])))
    anchors = np.stack([gt_box + move, gt_box + move + step / strategies.FINENESS])
    return {"anchors": anchors, "gt_boxes": gt_box[None], "image_size": (88, 96)}


def _in_pairs(size: int) -> Question:
    """Return so many objects; on each of the first six an anchor like it, and one twice as wide."""
    gt_boxes = strategies.crowd(np.random.default_rng(2), size, whole=True)
    like = gt_boxes[:6]
    wider = like.copy()
    wider[:, 2] += like[:, 2] - like[:, 0]
    return {
        "anchors": np.concatenate([like, wider]),
        "gt_boxes": gt_boxes,
        "image_size": (100, 120),
    }


def _far_off(scene: Question, corner: tuple[int, int]) -> Question:
    """Return the scene in a large image, this far from its corner."""
    moved = np.array(2 * corner)
    height, width = scene["image_size"]
    return {
        "anchors": scene["anchors"] + moved,
        "gt_boxes": scene["gt_boxes"] + moved,
        "image_size": (height + corner[1], width + corner[0]),
    }


def _is_clear(scene: Question) -> bool:
    """Return whether float32 says the same: no IoU is almost another, or almost a threshold."""
    overlaps = exact.iou(scene["anchors"], scene["gt_boxes"])
    values = np.unique(overlaps)
    gaps = np.diff(values)
    return bool(
        (gaps > 1e-5).all() and (np.abs(np.subtract.outer(values, (0.3, 0.7))) > 1e-5).all()
    )


def _many(anchors: Callable[[int], int], gt_boxes: Callable[[int], int]) -> Callable[..., Any]:
    """Return a function: a size -> a scene with so many anchors and ground truths."""

    def make(size: int) -> Question:
        rngs = map(np.random.default_rng, (0, 1))
        lists = [
            strategies.crowd(rng, count(size), whole=True)
            for rng, count in zip(rngs, (anchors, gt_boxes), strict=True)
        ]
        return {"anchors": lists[0], "gt_boxes": lists[1], "image_size": (56, 72)}

    return make


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
    Ties are asked where every author's rounding says the same. See `minirpn.rpn.label_anchors`.
    """
    corner = st.tuples(st.integers(0, FAR), st.integers(0, FAR))
    wide = st.one_of(
        st.builds(_far_off, _few_anchors(min_side=1, whole=True), corner),
        st.builds(_far_off, _few_anchors(extent=32, min_side=0.5, gt_side=0.5), corner),
        _few_anchors(min_side=1, whole=True, gt_side=0),
    )
    exercise = Exercise(
        answer=exact.labels,
        stages=(
            Drawn(_few_anchors(min_side=1, whole=True)),
            Drawn(strategies.scenes(max_gt=3).map(lambda scene: scene._asdict())),
            Drawn(_few_anchors(extent=16, min_side=0.5, gt_side=0.5), examples=60),
            Drawn(_few_anchors(min_side=1, whole=True, gt_side=0), examples=60),
            Asked((_scene([[1, 1, 4, 4]], []), _scene([], [[1, 1, 4, 4]]), _scene([], []))),
            Asked(_across_each_border() + _WITHOUT_AREA),
            Drawn(_few_anchors(extent=FAR, min_side=0.5, gt_side=0.5), examples=60),
            Drawn(_rivals().filter(_is_clear), examples=60),
            Drawn(
                strategies.stored(wide.filter(_is_clear), ("anchors", "gt_boxes"), dtypes=DTYPES)
            ),
            Grown(_many(lambda size: size, lambda size: 3), strategies.COUNTS),
            Grown(_many(lambda size: 12, lambda size: size), strategies.COUNTS),
            Grown(_in_pairs, strategies.COUNTS),
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
