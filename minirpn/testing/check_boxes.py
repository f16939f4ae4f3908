"""Checks of functions that measure, cut off and select boxes, and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import ge, gt
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact, strategies
from minirpn.testing.examine import (
    Asked,
    Drawn,
    Exercise,
    Grown,
    Mistakes,
    Question,
    Stage,
    Verdict,
    examine,
    spoiled,
)
from minirpn.testing.pictures import draw_boxes_of
from minirpn.testing.storage import on_host

DTYPES = (np.float64, np.float32, np.int64, np.int32)
FAR = 10_000  # pixels

ONE = np.array([0.0, 0, 1, 1])
"""What makes half-open boxes of inclusive ones, whose width is x2 - x1 + 1."""


def rows(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    """Return boxes (N, 4) as an array; N may be 0."""
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def fine_boxes(seed: int, count: int = 3) -> np.ndarray:
    """Return boxes (count, 4) that float32 cannot hold: far off, in steps of 1/4096 pixel.

    They are large: so the answers of functions that compute in float32 are right to its precision.
    """
    rng = np.random.default_rng(seed)
    corners = rng.integers(5000 * 4096, 7000 * 4096, (count, 2)) / 4096
    sides = rng.integers(3000 * 4096, 6000 * 4096, (count, 2)) / 4096
    return np.concatenate([corners, corners + sides], axis=1)


def _cut_product(width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Return the area that boxes share, for sides that are negative where they are apart."""
    return np.maximum(width, 0) * np.maximum(height, 0)


def _whole_product(width: np.ndarray, height: np.ndarray) -> np.ndarray:
    return width * height


def _product_unless_both_are_negative(width: np.ndarray, height: np.ndarray) -> np.ndarray:
    return np.where((width <= 0) & (height <= 0), 0, width * height)


def spoiled_iou(
    a: np.ndarray,
    b: np.ndarray,
    *,
    one: float = 0,
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = _cut_product,
    union_less: float = 1,
    epsilon: float = 0,
    least: float = 0,
) -> np.ndarray:
    """Return the IoU (N, M); each option spoils one part of the formula."""
    sides = _shared_sides(a, b, one)
    shared = product(sides[..., 0], sides[..., 1])
    covered = _areas(a, one)[:, None] + _areas(b, one)[None] - union_less * shared + epsilon
    covered = np.maximum(covered, least) if least else covered
    return np.where(shared == 0, 0, shared / np.where(shared == 0, 1, covered))


def unguarded_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU (N, M), NaN where neither box has an area."""
    shared = _shared_area(a, b)
    return shared / (_areas(a)[:, None] + _areas(b)[None] - shared)


def _shared_sides(a: np.ndarray, b: np.ndarray, one: float = 0) -> np.ndarray:
    """Return (N, M, 2), the width and height two boxes share; negative where they are apart."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    return np.minimum(a[:, None, 2:], b[None, :, 2:]) - low + one


def _areas(boxes: np.ndarray, one: float = 0) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2] + one, axis=1)


def _shared_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    sides = _shared_sides(a, b)
    return _cut_product(sides[..., 0], sides[..., 1])


def _over_first(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    first = _areas(a)[:, None]
    return _shared_area(a, b) / np.where(first == 0, 1, first)


def _over_areas(
    a: np.ndarray, b: np.ndarray, *, of_a: tuple[int, ...], of_b: tuple[int, ...]
) -> np.ndarray:
    """Return shared over covered area, with new axes in the areas; raises where they do not fit."""
    shared = _shared_area(a, b)
    areas = np.expand_dims(_areas(a), of_a) + np.expand_dims(_areas(b), of_b)
    return shared / np.where(shared > 0, areas - shared, 1)


def _product_of_all(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    shared = np.prod(np.maximum(_shared_sides(a, b), 0))
    covered = _areas(a)[:, None] + _areas(b)[None] - shared
    return np.where(shared > 0, shared / np.where(covered == 0, 1, covered), 0)


def _around_both(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of a reader who takes the box around both for the shared one."""
    low = np.minimum(a[:, None, :2], b[None, :, :2])
    around = np.prod(np.maximum(a[:, None, 2:], b[None, :, 2:]) - low, axis=2)
    return around / (_areas(a)[:, None] + _areas(b)[None] - around)


def _over_smaller(
    a: np.ndarray,
    b: np.ndarray,
    *,
    product: Callable[[np.ndarray, np.ndarray], np.ndarray] = _cut_product,
) -> np.ndarray:
    sides = _shared_sides(a, b)
    smaller = np.minimum(_areas(a)[:, None], _areas(b)[None])
    return product(sides[..., 0], sides[..., 1]) / np.where(smaller == 0, 1, smaller)


def _dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = _areas(a)[:, None] + _areas(b)[None]
    return 2 * _shared_area(a, b) / np.where(both == 0, 1, both)


def _one_for_equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where((a[:, None] == b[None]).all(axis=2), 1, spoiled_iou(a, b))


def from_xywh(boxes: np.ndarray) -> np.ndarray:
    """Return what boxes are to a reader who takes x2, y2 for width and height."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def from_cxcywh(boxes: np.ndarray) -> np.ndarray:
    """Return what boxes are to a reader who takes them for centers and sides."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


PLUS_ONE = "Did you add 1 to the sides? Our boxes are half-open."
TRANSPOSED = "Rows are the boxes of a, columns those of b."
PAIR_MISTAKES: Mistakes = {
    PLUS_ONE: partial(spoiled_iou, one=1),
    "Did you count the shared area twice?": partial(spoiled_iou, union_less=0),
    "Where boxes are apart, a side is negative: cut each off at 0 before you multiply.": partial(
        spoiled_iou, product=_whole_product
    ),
    "Two negative sides have a positive product: cut each off at 0 before you multiply.": partial(
        spoiled_iou, product=lambda width, height: np.maximum(width * height, 0)
    ),
    "Cut off the height at 0, too, not the width alone.": partial(
        spoiled_iou, product=lambda width, height: np.maximum(width, 0) * height
    ),
    "Cut off the width at 0, too, not the height alone.": partial(
        spoiled_iou, product=lambda width, height: width * np.maximum(height, 0)
    ),
    "One negative side is enough: then the boxes share nothing.": partial(
        spoiled_iou, product=_product_unless_both_are_negative
    ),
    "A negative side counts as 0: an absolute value makes it positive.": partial(
        spoiled_iou, product=lambda width, height: np.abs(width * height)
    ),
    "The shared part begins at the larger x1 and ends at the smaller x2.": _around_both,
    "Did you divide by the smaller area, not by the union?": _over_smaller,
    "Divide by the union, not by the smaller area, and cut each side off at 0.": partial(
        _over_smaller, product=_whole_product
    ),
    "Divide by what both boxes cover, not by the area of a.": _over_first,
    "This is the shared area: divide it by the covered one.": _shared_area,
    "Twice the shared area over the sum of both areas is another measure: "
    "divide by what both cover.": _dice,
    "Equal boxes without area share nothing either: their IoU is 0.": _one_for_equal,
    "Did you swap x and y of one box?": lambda a, b: spoiled_iou(a, b[:, [1, 0, 3, 2]]),
    "0/0: boxes without area share nothing, so their IoU is 0.": unguarded_iou,
    "Our boxes are (x1, y1, x2, y2), not (x, y, width, height).": lambda a, b: spoiled_iou(
        from_xywh(a), from_xywh(b)
    ),
    "Our boxes are (x1, y1, x2, y2), not a center and sides.": lambda a, b: spoiled_iou(
        from_cxcywh(a), from_cxcywh(b)
    ),
    **spoiled(
        spoiled_iou,
        epsilon={
            size: f"Did you add {size:g} to the area you divide by? Divide by 1 where it is 0."
            for size in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1.0)
        },
        least={
            1.0: "Did you divide by 1 at least? Boxes can be smaller than a pixel: "
            "divide by 1 where the area is 0."
        },
    ),
}
"""Mistakes in the formula, which functions of two boxes can have, too."""
IOU_MISTAKES: Mistakes = PAIR_MISTAKES | {
    TRANSPOSED: lambda a, b: spoiled_iou(a, b).T,
    "Every overlap is 0: did you write into the table?": lambda a, b: np.zeros((len(a), len(b))),
    "The areas of a belong to the rows, those of b to the columns: each has an axis of its own.": (
        partial(_over_areas, of_a=(), of_b=())
    ),
    "Did you swap the areas? Those of a belong to the rows, those of b to the columns.": partial(
        _over_areas, of_a=(0,), of_b=(1,)
    ),
    "Multiply width and height pair by pair: along the last axis alone.": _product_of_all,
}
"""Mistakes in the table of two lists among them."""


def inclusive(f: Callable[..., Any], lists: int = 2) -> Callable[..., Any]:
    """Return a function of inclusive boxes for one of half-open boxes.

    The first `lists` arguments are boxes, by place or by name.
    """

    def of_inclusive(*places: Any, **named: Any) -> Any:
        values = (*places, *named.values())
        return f(*(boxes + ONE for boxes in values[:lists]), *values[lists:])

    return of_inclusive


def inclusive_mistakes(
    right: Callable[..., Any], mistakes: Mistakes, lists: int = 2
) -> dict[str, Callable[..., Any]]:
    """Return the mistakes of those whose boxes are inclusive; one is to forget that they are.

    `right` and `mistakes` are of half-open boxes, which their first `lists` arguments are.
    """
    return {"Where is the + 1 of the sides?": right} | {
        hint: inclusive(wrong, lists) for hint, wrong in mistakes.items() if hint != PLUS_ONE
    }


@st.composite
def _two_lists(draw: DrawFn, **options: Any) -> Question:
    """Draw boxes that are related to another, and deal them out to a and b."""
    drawn = draw(strategies.boxes(min_count=2, max_count=6, **options))
    count = draw(st.integers(1, len(drawn) - 1))
    parts = [drawn[:count], drawn[count:]]
    a, b = reversed(parts) if draw(st.booleans()) else parts
    return {"a": a, "b": b}


def _many(size_of_a: Callable[[int], int], size_of_b: Callable[[int], int]) -> Callable[..., Any]:
    """Return a function: a size -> a question with lists of these lengths."""

    def make(size: int) -> Question:
        counts = {"a": size_of_a(size), "b": size_of_b(size)}
        return {
            name: strategies.crowd(np.random.default_rng(seed), count, min_side=0.5)
            for seed, (name, count) in enumerate(counts.items())
        }

    return make


_POINTS = {"a": rows((0, 0, 0, 0), (2, 1, 2, 5)), "b": rows((0, 0, 0, 0), (2, 2, 6, 2))}
_THIN = tuple(
    {"a": rows((0, 0, 8, 8)), "b": rows(box)}
    for box in ((7.9375, 0, 12, 8), (0, 7.9375, 8, 12), (-4, -4, 0.0625, 0.0625))
)
"""They share a sixteenth of a pixel of width, of height, and of both."""
_ABOUT_A_BLOCK = strategies.COUNTS[:-1]


def _pair_stages(names: tuple[str, str], plus_one: bool) -> tuple[Stage, ...]:
    """Return the questions that a function of two boxes can be asked, too."""
    # In half-open coordinates these have no area; inclusive ones are pixels and lines.
    odd: Stage = Asked((_POINTS,)) if plus_one else Drawn(_two_lists(extent=12, whole=True))
    wide = st.one_of(
        _two_lists(extent=FAR, whole=True, min_side=1),
        _two_lists(extent=FAR, min_side=0.5),
        _two_lists(extent=12, whole=True, min_side=1 if plus_one else 0),
    )
    return (
        Drawn(_two_lists(extent=12, min_side=1, whole=True)),
        odd,
        Drawn(_two_lists(extent=12, min_side=0.5)),
        Drawn(strategies.stored(wide, names, dtypes=DTYPES)),
        Asked((*_THIN, {"a": fine_boxes(0), "b": fine_boxes(1)})),
    )


_PAIR_PROBES = (
    {"a": rows((0, 0, 4, 4)), "b": rows((2, 1, 6, 5))},
    # Apart: in both directions, above each other, side by side. What they cover is positive by any
    # formula, so that it does not matter what an author does where it is 0.
    {"a": rows((0, 0, 4, 4)), "b": rows((5, 6, 9, 11))},
    {"a": rows((0, 0, 4, 4)), "b": rows((1, 6, 3, 9))},
    {"a": rows((0, 0, 4, 4)), "b": rows((6, 1, 9, 3))},
    {"a": rows((0, 0, 8, 2)), "b": rows((1, 0, 3, 2))},
    {"a": rows((1, 1, 1.5, 1.5)), "b": rows((1, 1, 1.5, 1.5))},
)


def check_iou(f: Callable[..., Any], *, pairwise: bool = False, plus_one: bool = False) -> Verdict:
    """Check a function that measures overlap: ``f(a, b)`` is the IoU of the boxes.

    Parameters
    ----------
    f
        Takes a (N, 4) and b (M, 4), half-open, and returns (N, M); with `pairwise`, takes two
        boxes (4,) and returns a number.
    pairwise
        Which of the two.
    plus_one
        For authors whose boxes are inclusive: their width is x2 - x1 + 1.

    Raises
    ------
    CheckError
        It gives a wrong answer; the message has the smallest one found, and perhaps why.

    Notes
    -----
    Boxes without area have IoU 0 with all. An epsilon of up to 1e-9 in a denominator is accepted.
    Coordinates go up to 10,000 and more. See `minirpn.boxes.iou`.

    Examples
    --------
    >>> from minirpn import boxes
    >>> bool(check_iou(boxes.iou))
    True
    """
    several = {"a": rows((0, 0, 4, 4), (2, 1, 6, 5)), "b": rows((0, 0, 4, 2))}
    answer, mistakes = exact.iou, PAIR_MISTAKES if pairwise else IOU_MISTAKES
    if plus_one:
        answer = inclusive(exact.iou)
        mistakes = inclusive_mistakes(spoiled_iou, mistakes)
    stages = _pair_stages(("a", "b"), plus_one)
    probes: tuple[Question, ...] = (*_PAIR_PROBES, several)
    if pairwise:
        answer, probes = _of_pair(answer), tuple(map(_first_pair, _PAIR_PROBES))
        mistakes = {hint: _of_pair(wrong) for hint, wrong in mistakes.items()}
        stages = tuple(map(_of_first_pairs, stages))
    else:
        one, none = rows((0, 0, 1, 1)), rows()
        stages += (
            Asked(({"a": none, "b": one}, {"a": one, "b": none}, {"a": none, "b": none})),
            Grown(_many(lambda size: size, lambda size: size), _ABOUT_A_BLOCK),
            Grown(_many(lambda size: size, lambda size: 3), strategies.COUNTS),
            Grown(_many(lambda size: 3, lambda size: size), strategies.COUNTS),
        )
    exercise = Exercise(answer, stages, probes, mistakes, draw=draw_boxes_of, telling=True)
    contract = partial(check_iou, f, pairwise=pairwise, plus_one=True)
    return examine(f, exercise, contracts={} if plus_one else {"plus_one=True": contract})


def _first_pair(lists: Question) -> Question:
    return {name: boxes[0] for name, boxes in lists.items()}


def _of_first_pairs(stage: Stage) -> Stage:
    if isinstance(stage, Drawn):
        return Drawn(stage.strategy.map(_first_pair), stage.examples)
    assert isinstance(stage, Asked)
    return Asked(tuple(map(_first_pair, stage.questions)))


def _of_pair(of_lists: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of two boxes for a function of two lists."""
    return lambda a, b: of_lists(a[None], b[None])[0, 0]


def _clip(
    boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    less: float = 0,
    swapped: bool = False,
    one_side: int | None = None,
    below: tuple[int, ...] = (0, 1, 2, 3),
    above: tuple[int, ...] = (0, 1, 2, 3),
) -> np.ndarray:
    """Return the boxes cut off at the borders; each option spoils one part."""
    height, width = image_size[::-1] if swapped else image_size
    limits = np.array([width, height, width, height]) - less
    if one_side is not None:
        limits = np.full(4, image_size[one_side])
    low = np.where(np.isin(range(4), below), 0, -np.inf)
    high = np.where(np.isin(range(4), above), limits, np.inf)
    return np.minimum(np.maximum(boxes, low), high)


def _drop_outside(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    clipped = _clip(boxes, image_size)
    return clipped[(clipped[:, 2:] > clipped[:, :2]).all(axis=1)]


CLIP_MISTAKES: Mistakes = {
    "Give a box for each one: a box outside of the image stays, without area.": _drop_outside
} | spoiled(
    _clip,
    less={1: "The far border is width, not width - 1: our boxes are half-open."},
    swapped={True: "The size of an image is (height, width), not (width, height)."},
    one_side={
        0: "x goes up to the width, y up to the height: you take the height for both.",
        1: "x goes up to the width, y up to the height: you take the width for both.",
    },
    below={
        (): "Coordinates below 0 become 0.",
        (0, 1): "x2 and y2 can be below 0, too, where a box is left of or above the image.",
    },
    above={
        (): "Coordinates beyond the far border become the border.",
        (2, 3): "x1 and y1 can be beyond the far border, too, where the whole box is.",
    },
)


@st.composite
def _boxes_and_image(draw: DrawFn, extent: int, **options: Any) -> Question:
    sides = st.integers(1, extent)
    return {
        "boxes": draw(strategies.boxes(min_count=1, max_count=4, extent=extent, **options)),
        "image_size": draw(st.tuples(sides, sides)),
    }


def _many_and_image(size: int) -> Question:
    boxes = strategies.crowd(np.random.default_rng(0), size, min_side=0.5) - [8, 8, 8, 8]
    return {"boxes": boxes, "image_size": (40, 52)}


def check_clip(f: Callable[..., Any]) -> Verdict:
    """Check a function that cuts boxes off at the borders of an image.

    ``f(boxes, image_size)``, boxes (N, 4) and ``image_size = (height, width)``, is (N, 4): x from 0
    to the width, y from 0 to the height. A box outside of the image becomes one without area. See
    `minirpn.boxes.clip`, and `check_iou` for what is raised.
    """
    wide = st.one_of(
        _boxes_and_image(FAR, whole=True), _boxes_and_image(FAR), _boxes_and_image(12, whole=True)
    )
    exercise = Exercise(
        answer=_clip,
        stages=(
            Drawn(_boxes_and_image(12, whole=True, min_side=1)),
            Drawn(_boxes_and_image(64)),
            Drawn(strategies.stored(wide, ("boxes",), dtypes=DTYPES)),
            Asked(({"boxes": rows(), "image_size": (3, 4)},)),
            Grown(_many_and_image, strategies.COUNTS),
        ),
        probes=(
            {
                "boxes": rows((-3, -2, 9, 9), (1, 2, 3, 4), (9, 8, 12, 11), (-5, -4, -2, -1)),
                "image_size": (5, 7),
            },
        ),
        mistakes=CLIP_MISTAKES,
        draw=draw_boxes_of,
    )
    return examine(f, exercise)


def _large_enough(
    boxes: np.ndarray,
    min_size: float,
    *,
    compare: Callable[[np.ndarray, float], np.ndarray] = ge,
    one: float = 0,
    sides: tuple[int, ...] = (0, 1),
    any_side: bool = False,
) -> np.ndarray:
    """Return the indices of boxes that are large enough; each option spoils one part."""
    enough = compare((boxes[:, 2:] - boxes[:, :2] + one)[:, list(sides)], min_size)
    return np.flatnonzero(enough.any(axis=1) if any_side else enough.all(axis=1))


def _too_small(boxes: np.ndarray, min_size: float) -> np.ndarray:
    return np.setdiff1d(np.arange(len(boxes)), _large_enough(boxes, min_size))


def _by_area(boxes: np.ndarray, min_size: float) -> np.ndarray:
    return np.flatnonzero(_areas(boxes) >= min_size**2)


MIN_SIZE_MISTAKES: Mistakes = {
    "Give the indices of the boxes, not the boxes.": lambda boxes, min_size: boxes[
        _large_enough(boxes, min_size)
    ],
    "Give the boxes that are large enough, not those that are too small.": _too_small,
    "Compare both sides, not the area.": _by_area,
} | spoiled(
    _large_enough,
    compare={gt: "A side of exactly min_size is large enough: use >=, not >."},
    one={1: PLUS_ONE},
    any_side={True: "Both sides have to be large enough, not one of them."},
    sides={
        (0,): "Compare the height, too, not the width alone.",
        (1,): "Compare the width, too, not the height alone.",
    },
)


@st.composite
def _boxes_and_side(draw: DrawFn, **options: Any) -> Question:
    """Draw boxes, and a smallest side that is often one of theirs."""
    boxes = draw(strategies.boxes(min_count=1, max_count=4, **options))
    theirs = [side for side in (boxes[:, 2:] - boxes[:, :2]).flat if side >= 0]
    min_size = draw(st.sampled_from(theirs or [0.0])) + draw(st.sampled_from([0, 0, 1, 0.5]))
    return {"boxes": boxes, "min_size": float(min_size)}


def _many_and_side(size: int) -> Question:
    return {"boxes": strategies.crowd(np.random.default_rng(0), size), "min_size": 4.0}


def _indices(result: Any) -> np.ndarray:
    """Return indices as they are, those of a mask, and those in the tuple of ``np.where``."""
    kept = result[0] if isinstance(result, tuple) and len(result) == 1 else result
    kept = np.asarray(on_host(kept))
    return np.flatnonzero(kept) if kept.dtype == bool else kept


def check_min_size(f: Callable[..., Any]) -> Verdict:
    """Check a function that selects boxes: those of which both sides are at least `min_size`.

    ``f(boxes, min_size)``, boxes (N, 4) and a number of pixels, is their indices, ascending, or a
    mask (N,) of bool. See `minirpn.rpn.ProposalConfig`, and `check_iou` for what is raised.
    """
    wide = st.one_of(
        _boxes_and_side(extent=FAR, whole=True),
        _boxes_and_side(extent=FAR),
        _boxes_and_side(extent=12, whole=True),
    )
    exercise = Exercise(
        answer=_large_enough,
        stages=(
            Drawn(_boxes_and_side(extent=12, whole=True, min_side=1)),
            Drawn(_boxes_and_side(extent=12)),
            Drawn(strategies.stored(wide, ("boxes",), dtypes=DTYPES)),
            Asked(({"boxes": rows(), "min_size": 1.0},)),
            Grown(_many_and_side, strategies.COUNTS),
        ),
        probes=(
            {
                "boxes": rows(
                    (0, 0, 4, 4), (1, 0, 4, 3), (0, 0, 9, 2), (3, 3, 5, 12), (1, 2, 9, 7)
                ),
                "min_size": 4.0,
            },
        ),
        mistakes=MIN_SIZE_MISTAKES,
        read=_indices,
        draw=draw_boxes_of,
    )
    return examine(f, exercise)
