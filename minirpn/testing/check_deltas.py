"""Checks of both directions of equation 2, boxes to deltas and back, and the mistakes they know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import strategies
from minirpn.testing.check_boxes import (
    DTYPES,
    FAR,
    ONE,
    PLUS_ONE,
    fine_boxes,
    from_cxcywh,
    from_xywh,
    inclusive,
    inclusive_mistakes,
    rows,
)
from minirpn.testing.examine import (
    Asked,
    Contracts,
    Drawn,
    Exercise,
    Grown,
    Mistakes,
    Question,
    Verdict,
    examine,
)
from minirpn.testing.pictures import draw_boxes_of

VARIANCES = np.array([0.1, 0.1, 0.2, 0.2])
"""SSD divides its targets by these, as Fast R-CNN does by standard deviations."""

USUAL_LIMIT = math.log(1000 / 16)
"""The limit of tw and th that authors have who have one."""


def _centers_and_sides(boxes: np.ndarray, one: float = 0) -> tuple[np.ndarray, np.ndarray]:
    sides = boxes[:, 2:] - boxes[:, :2] + one
    return boxes[:, :2] + sides / 2, sides


def _encode(anchors: np.ndarray, boxes: np.ndarray, *, one: float = 0) -> np.ndarray:
    """Return eq. 2; `one` is added to the sides."""
    (ca, sa), (c, s) = _centers_and_sides(anchors, one), _centers_and_sides(boxes, one)
    return np.concatenate([(c - ca) / sa, np.log(s / sa)], axis=1)


def _encode_with(shifts: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return eq. 2 with other ``(tx, ty)``, computed from centers and sides: ca, sa, c, s."""

    def encode(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        shift = shifts(*_centers_and_sides(anchors), *_centers_and_sides(boxes))
        return np.concatenate([shift, _encode(anchors, boxes)[:, 2:]], axis=1)

    return encode


def _encode_no_log(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    right = _encode(anchors, boxes)
    return np.concatenate([right[:, :2], np.exp(right[:, 2:])], axis=1)


ENCODE_MISTAKES: Mistakes = {
    PLUS_ONE: partial(_encode, one=1),
    "Did you take the corner for the center?": _encode_with(
        lambda ca, sa, c, s: ((c - s / 2) - (ca - sa / 2)) / sa
    ),
    "Did you divide by the sides of the box, not of the anchor?": _encode_with(
        lambda ca, sa, c, s: (c - ca) / s
    ),
    "Did you forget to divide the shift by the anchor's sides?": _encode_with(
        lambda ca, sa, c, s: c - ca
    ),
    "Did you forget the logarithm of the sides?": _encode_no_log,
    "Is a logarithm upside down? It is log(w / wa).": (
        lambda anchors, boxes: _encode(anchors, boxes) * [1, 1, -1, -1]
    ),
    "Did you swap width and height?": (
        lambda anchors, boxes: _encode(anchors, boxes)[:, [0, 1, 3, 2]]
    ),
    "The order is (tx, ty, tw, th).": (
        lambda anchors, boxes: _encode(anchors, boxes)[:, [0, 2, 1, 3]]
    ),
    "Did you divide by SSD's variances, (0.1, 0.2)? Eq. 2 has none.": (
        lambda anchors, boxes: _encode(anchors, boxes) / VARIANCES
    ),
    "Our boxes are (x1, y1, x2, y2), not (x, y, width, height).": (
        lambda anchors, boxes: _encode(from_xywh(anchors), from_xywh(boxes))
    ),
    "Our boxes are (x1, y1, x2, y2), not a center and sides.": (
        lambda anchors, boxes: _encode(from_cxcywh(anchors), from_cxcywh(boxes))
    ),
}


def _decode(
    anchors: np.ndarray,
    deltas: np.ndarray,
    *,
    one: float = 0,
    before: float = 0.5,
    after: float = 0.5,
    grow: Callable[[np.ndarray], np.ndarray] = np.exp,
) -> np.ndarray:
    """Return eq. 2 solved for the box; each option spoils one part."""
    anchor_centers, anchor_sides = _centers_and_sides(anchors, one)
    centers = deltas[:, :2] * anchor_sides + anchor_centers
    sides = anchor_sides * grow(deltas[:, 2:])
    return np.concatenate([centers - before * sides, centers + after * sides], axis=1)


def _decode_in_pixels(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    shifts = deltas[:, :2] / _centers_and_sides(anchors)[1]
    return _decode(anchors, np.concatenate([shifts, deltas[:, 2:]], axis=1))


def _decode_to_xywh(anchors: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    boxes = _decode(anchors, deltas)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


DECODE_PLUS_ONE: Mistakes = {
    PLUS_ONE: partial(_decode, one=1),
    "Did you add 1 to the sides and take it off x2 and y2? Our boxes are half-open.": (
        lambda anchors, deltas: _decode(anchors, deltas, one=1) - ONE
    ),
    "Did you take 1 off x2 and y2? Our boxes are half-open.": lambda anchors, deltas: (
        _decode(anchors, deltas) - ONE
    ),
}
DECODE_MISTAKES: Mistakes = DECODE_PLUS_ONE | {
    "Did you take the center for the corner?": partial(_decode, before=0, after=1),
    "Go half a side to each side of the center, not a whole one.": partial(
        _decode, before=1, after=1
    ),
    "Did you forget the exponential of tw and th?": partial(_decode, grow=lambda logs: logs),
    "tx counts widths of the anchor, not pixels.": _decode_in_pixels,
    "Did you swap width and height?": lambda anchors, deltas: _decode(
        anchors, deltas[:, [0, 1, 3, 2]]
    ),
    "Did you forget to add the anchor's center?": lambda anchors, deltas: (
        _decode(anchors, deltas) - np.tile(_centers_and_sides(anchors)[0], 2)
    ),
    "Did you multiply by SSD's variances, (0.1, 0.2)? Eq. 2 has none.": (
        lambda anchors, deltas: _decode(anchors, deltas * VARIANCES)
    ),
    "Give (x1, y1, x2, y2), not (x, y, width, height).": _decode_to_xywh,
    "Give (x1, y1, x2, y2), not the center and the sides.": lambda anchors, deltas: np.concatenate(
        _centers_and_sides(_decode(anchors, deltas)), axis=1
    ),
    "Our anchors are (x1, y1, x2, y2), not a center and sides.": lambda anchors, deltas: _decode(
        from_cxcywh(anchors), deltas
    ),
}


@st.composite
def _anchors_and_boxes(draw: DrawFn, **options: Any) -> Question:
    """Draw anchors and as many boxes, many of them related to another."""
    count = draw(st.integers(1, 5))
    drawn = draw(strategies.boxes(min_count=2 * count, max_count=2 * count, **options))
    return {"anchors": drawn[:count], "boxes": drawn[count:]}


@st.composite
def _anchors_and_deltas(
    draw: DrawFn, names: tuple[str, str], *, largest: float = 2, classes: int = 1, **options: Any
) -> Question:
    """Draw boxes and their deltas (N, 4 C), up to `largest`, by these names."""
    count = draw(st.integers(1, 5))
    anchors = draw(strategies.boxes(min_count=count, max_count=count, **options))
    columns = draw(st.integers(1, classes))
    deltas = draw(strategies.deltas(count * columns, largest=largest))
    return {names[0]: anchors, names[1]: deltas.reshape(count, 4 * columns)}


def check_encode(f: Callable[..., Any], *, plus_one: bool = False) -> Verdict:
    """Check equation 2: ``f(anchors, boxes)``, both (N, 4), is ``(tx, ty, tw, th)``, (N, 4).

    With `plus_one`, for authors whose boxes are inclusive, widths are x2 - x1 + 1. See
    `minirpn.boxes.encode`, and `check_iou` for what is raised.
    """
    contract = partial(check_encode, f, plus_one=True)
    contracts = {} if plus_one else {"plus_one=True": contract}
    return examine(f, exercise_of_encode(plus_one), contracts=contracts)


def exercise_of_encode(plus_one: bool = False) -> Exercise:
    """Return the exercise of functions that encode."""
    answer, mistakes = _encode, ENCODE_MISTAKES
    if plus_one:
        answer = inclusive(_encode)
        mistakes = inclusive_mistakes(_encode, ENCODE_MISTAKES)
    wide = st.one_of(
        _anchors_and_boxes(extent=FAR, min_side=1, whole=True),
        _anchors_and_boxes(extent=FAR, min_side=0.5),
        _anchors_and_boxes(extent=32, min_side=1, whole=True),
    )
    return Exercise(
        answer=answer,
        stages=(
            Drawn(_anchors_and_boxes(extent=32, min_side=1, whole=True)),
            Drawn(_anchors_and_boxes(extent=32, min_side=0.5)),
            Drawn(strategies.stored(wide, ("anchors", "boxes"), dtypes=DTYPES)),
            Asked(
                (
                    {"anchors": rows(), "boxes": rows()},
                    {"anchors": fine_boxes(0), "boxes": fine_boxes(1)},
                )
            ),
            Grown(_many_boxes, strategies.COUNTS),
        ),
        probes=(
            {
                "anchors": rows((0, 0, 8, 4), (1, 2, 3, 10)),
                "boxes": rows((2, 1, 6, 7), (0, 1, 5, 4)),
            },
        ),
        mistakes=mistakes,
        draw=draw_boxes_of,
    )


def _many_boxes(size: int) -> Question:
    return {
        name: strategies.crowd(np.random.default_rng(seed), size, min_side=0.5)
        for seed, name in enumerate(("anchors", "boxes"))
    }


def check_decode(
    f: Callable[..., Any], *, max_log_scale: float | None = None, plus_one: bool = False
) -> Verdict:
    """Check equation 2 solved for the box: ``f(anchors, deltas)`` is the boxes, all (N, 4).

    Parameters
    ----------
    f
        The function.
    max_log_scale
        For authors who let a larger tw or th count as this, such as ``math.log(1000 / 16)``, which
        is 4.135166556742356; there is no limit below.
    plus_one
        For authors whose boxes are inclusive: widths are x2 - x1 + 1. Then x2 and y2 may be the
        last pixel, or one more, as in py-faster-rcnn.

    Raises
    ------
    CheckError
        As in `check_iou`.

    Notes
    -----
    See `minirpn.boxes.decode`.
    """
    exercise = exercise_of_decode(("anchors", "deltas"), max_log_scale, plus_one)
    return examine(f, exercise, contracts=_contracts(check_decode, f, max_log_scale, plus_one))


def check_encode_decode(
    f: Callable[..., Any],
    g: Callable[..., Any],
    *,
    max_log_scale: float | None = None,
    plus_one: bool = False,
) -> Verdict:
    """Check both directions of equation 2: ``f`` as `check_encode` does, ``g`` as `check_decode`.

    Both equal to the formula, they are each other's inverse. The options are those of
    `check_decode`; `plus_one` is for both functions, `max_log_scale` for ``g`` alone.
    """
    verdict = check_encode(f, plus_one=plus_one)
    return verdict & check_decode(g, max_log_scale=max_log_scale, plus_one=plus_one)


def check_bbox_transform_inv(
    f: Callable[..., Any], *, max_log_scale: float | None = None, plus_one: bool = False
) -> Verdict:
    """Check a function that decodes one box a class: ``f(boxes, deltas)`` is (N, 4 C).

    Boxes (N, 4), deltas (N, 4 C): four columns for class 0, then four for class 1, and so on; the
    result likewise. The options are those of `check_decode`. See py-faster-rcnn's
    ``bbox_transform_inv``, and `check_iou` for what is raised.
    """
    exercise = exercise_of_decode(("boxes", "deltas"), max_log_scale, plus_one, classes=3)
    mistakes = {hint: of_classes(wrong) for hint, wrong in exercise.mistakes.items()}
    exercise = replace(
        exercise,
        answer=of_classes(exercise.answer),
        mistakes=mistakes | LAYOUT_MISTAKES,
    )
    contracts = _contracts(check_bbox_transform_inv, f, max_log_scale, plus_one)
    return examine(f, exercise, contracts=contracts)


def of_classes(decode: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of deltas (N, 4 C), class by class, for one of deltas (N, 4)."""

    def decode_all(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
        parts = [decode(boxes, deltas[:, k : k + 4]) for k in range(0, deltas.shape[1], 4)]
        return np.concatenate(parts, axis=1)

    return decode_all


def _fields_first(columns: np.ndarray) -> np.ndarray:
    """Return columns (N, 4 C) of all x, then all y and so on, in the order class by class."""
    return columns.reshape(len(columns), 4, -1).transpose(0, 2, 1).reshape(columns.shape)


def _classes_first(columns: np.ndarray) -> np.ndarray:
    """Return columns (N, 4 C) class by class as all x, then all y and so on."""
    return columns.reshape(len(columns), -1, 4).transpose(0, 2, 1).reshape(columns.shape)


_DECODE_ALL = of_classes(_decode)
LAYOUT_MISTAKES: Mistakes = {
    "The four columns of a class stand together, in deltas: tx of class 1 is column 4.": (
        lambda boxes, deltas: _classes_first(_DECODE_ALL(boxes, _fields_first(deltas)))
    ),
    "The four columns of a class stand together, in the result: x1 of class 1 is column 4.": (
        lambda boxes, deltas: _classes_first(_DECODE_ALL(boxes, deltas))
    ),
    "Decode every class, not the first alone.": lambda boxes, deltas: _decode(boxes, deltas[:, :4]),
    "Decode every class with its own deltas, not with those of the first.": (
        lambda boxes, deltas: np.tile(_decode(boxes, deltas[:, :4]), deltas.shape[1] // 4)
    ),
}


def exercise_of_decode(
    names: tuple[str, str],
    max_log_scale: float | None = None,
    plus_one: bool = False,
    classes: int = 1,
) -> Exercise:
    """Return the exercise of functions that decode, for deltas (N, 4) of one class."""
    limit = math.inf if max_log_scale is None else max_log_scale
    shift = ONE if plus_one else np.zeros(4)

    def limited(decode: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with limits, for boxes as the author has them."""

        def decode_limited(*places: np.ndarray, **named: np.ndarray) -> Any:
            boxes, deltas = *places, *named.values()
            most = np.array([math.inf, math.inf, limit, limit])
            return decode(boxes + shift, np.minimum(deltas, most)) - shift

        return decode_limited

    mistakes = {
        hint: limited(wrong)
        for hint, wrong in DECODE_MISTAKES.items()
        if not (plus_one and hint in DECODE_PLUS_ONE)
    }
    if plus_one:
        mistakes["Where is the + 1 of the sides?"] = _decode
    if max_log_scale is not None:
        mistakes |= _limit_mistakes(limit, shift)
    large = 6 if max_log_scale is None else max(6, math.ceil(abs(limit)) + 1)
    draw = partial(_anchors_and_deltas, names, classes=classes)
    wide = st.one_of(
        draw(extent=FAR, min_side=1, whole=True),
        draw(extent=FAR, min_side=0.5),
        draw(extent=32, min_side=1, whole=True, largest=large),
    )
    stored = st.one_of(
        strategies.stored(wide, names, dtypes=(np.float64, np.float32)),
        strategies.stored(wide, names[:1], dtypes=DTYPES),
    )
    probe = (
        rows((0, 0, 8, 4), (1, 2, 3, 10)),
        rows((0.25, -0.5, 1, 0.5), (0, 1, -1, 0)),
    )
    extreme = rows((0, 0.5, large, -large), (0, 0, -large, large))

    def many(size: int) -> Question:
        anchors = strategies.crowd(np.random.default_rng(0), size, min_side=0.5)
        steps = np.random.default_rng(1).integers(-32, 33, (size, 4 * classes))
        return {names[0]: anchors, names[1]: steps / 16}

    of_21_classes = np.arange(2 * 84).reshape(2, 84) % 19 / 16

    def several(anchors: np.ndarray, deltas: np.ndarray) -> Question:
        """Return a question with different deltas for each class."""
        parts = [np.roll(deltas, k, axis=0) for k in range(classes)]
        return {names[0]: anchors, names[1]: np.concatenate(parts, axis=1)}

    exercise = Exercise(
        answer=limited(_decode),
        stages=(
            Drawn(draw(extent=32, min_side=1, whole=True)),
            Drawn(draw(extent=32, min_side=0.5, largest=large)),
            Drawn(stored),
            Asked(
                (
                    several(rows(), rows()),
                    several(fine_boxes(0, 2), probe[1]),
                    several(probe[0], rows((20, -30, 0, 0), (-50, 40, 0, 0))),
                    {names[0]: probe[0], names[1]: of_21_classes if classes > 1 else probe[1]},
                )
            ),
            Grown(many, strategies.COUNTS),
        ),
        probes=(several(*probe), several(probe[0], extreme)),
        mistakes=mistakes,
        draw=draw_boxes_of,
    )
    if not plus_one:
        return exercise

    def describe(question: Question, got: Any, right: Any) -> str:
        """Accept x2 and y2 as the last pixel or one more."""
        ends = np.tile(ONE, right.shape[1] // 4)
        words = exercise.describe(question, got, right)
        return words and exercise.describe(question, got, right + ends) and words

    return replace(exercise, describe=describe)


def _limit_mistakes(limit: float, shift: np.ndarray | float = 0) -> Mistakes:
    """Return the mistakes of those who limit tw and th; `shift` makes their boxes half-open."""

    def clipped(low: np.ndarray, high: np.ndarray) -> Callable[..., Any]:
        return lambda boxes, deltas: _decode(boxes + shift, np.clip(deltas, low, high)) - shift

    none = np.full(4, math.inf)
    top = np.array([math.inf, math.inf, limit, limit])
    return {
        "Where is the limit of tw and th?": clipped(-none, none),
        "tw and th have no limit below: min(t, limit), not a clip to both sides.": clipped(
            -top, top
        ),
        "The limit is for tw and th, not for tx and ty.": clipped(-none, np.full(4, limit)),
    }


def _contracts(
    check: Callable[..., Verdict],
    f: Callable[..., Any],
    max_log_scale: float | None,
    plus_one: bool,
) -> Contracts:
    """Return the options that are not on, alone and together."""
    ones = {} if plus_one else {"plus_one=True": {"plus_one": True}}
    limits = {}
    if max_log_scale is None:
        limits = {f"max_log_scale={USUAL_LIMIT}": {"max_log_scale": USUAL_LIMIT}}
    both = {f"{one}, {limit}": ones[one] | limits[limit] for one in ones for limit in limits}
    on: dict[str, Any] = {"max_log_scale": max_log_scale, "plus_one": plus_one}
    return {
        words: partial(check, f, **(on | options))
        for words, options in (ones | limits | both).items()
    }
