"""Checks of non-maximum suppression, for one class and for several, and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import ge, gt
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import exact, strategies
from minirpn.testing.check_boxes import (
    DTYPES,
    FAR,
    ONE,
    PLUS_ONE,
    inclusive,
    inclusive_mistakes,
    rows,
    spoiled_iou,
    unguarded_iou,
)
from minirpn.testing.examine import (
    Asked,
    Contracts,
    Drawn,
    Exercise,
    Grown,
    Mistakes,
    Question,
    Stage,
    Verdict,
    examine,
    expect_one_of,
    spoiled,
)
from minirpn.testing.pictures import draw_boxes_of
from minirpn.testing.words import difference, plain

Overlaps = Callable[[np.ndarray, np.ndarray], np.ndarray]
Ties = Literal["first", "any"]


def _by_score(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def _greedy(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    *,
    order: Callable[[np.ndarray], list[int]] = _by_score,
    overlaps_of: Overlaps = exact.iou,
    suppresses: Callable[[float, float], bool] = gt,
    last_only: bool = False,
    gone_too: bool = False,
) -> list[int]:
    """Return what greedy suppression keeps; each option spoils one of its rules."""
    overlaps = overlaps_of(boxes, boxes)
    kept: list[int] = []
    candidates = order(scores)
    for place, candidate in enumerate(candidates):
        rivals = candidates[:place] if gone_too else kept[-1:] if last_only else kept
        if not any(suppresses(overlaps[rival, candidate], iou_threshold) for rival in rivals):
            kept.append(candidate)
    return kept


def _lower_index_last(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], -index))


def _as_they_come(scores: np.ndarray) -> list[int]:
    return list(range(len(scores)))


def _places_in_order(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    order = _by_score(scores)
    return [order.index(kept) for kept in exact.nms(boxes, scores, iou_threshold)]


def _suppressed(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    kept = exact.nms(boxes, scores, iou_threshold)
    return [index for index in _by_score(scores) if index not in kept]


def _mask(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[bool]:
    """Return whether each box stays, the best first."""
    kept = exact.nms(boxes, scores, iou_threshold)
    return [index in kept for index in _by_score(scores)]


def _each_by_itself(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """Return what stays where a box suppresses itself."""
    overlaps = exact.iou(boxes, boxes)
    kept = exact.nms(boxes, scores, iou_threshold)
    return [index for index in kept if not overlaps[index, index] > iou_threshold]


def _is_not_below(overlap: float, iou_threshold: float) -> bool:
    """Return true for an overlap of NaN, too."""
    return not overlap <= iou_threshold


NOT_GONE = "A box that is gone suppresses nothing any more."
LATER_FIRST = "Of equal scores the lower index is first."
NMS_MISTAKES: Mistakes = {
    "Did you begin with the lowest score?": (
        lambda boxes, scores, iou_threshold: exact.nms(boxes, -scores, iou_threshold)
    ),
    "Give the indices by score, the highest first.": (
        lambda boxes, scores, iou_threshold: sorted(exact.nms(boxes, scores, iou_threshold))
    ),
    "These are places in the sorted list: give places in the input.": _places_in_order,
    "Did you keep what should go?": _suppressed,
    "Give the indices of what stays, not whether each box stays.": _mask,
    "Every box overlaps itself: compare it with others only.": _each_by_itself,
    "0/0: boxes without area share nothing, so they suppress nothing.": partial(
        _greedy, overlaps_of=unguarded_iou, suppresses=_is_not_below
    ),
    **spoiled(
        _greedy,
        suppresses={ge: "An IoU equal to the threshold does not suppress: use >, not >=."},
        overlaps_of={partial(spoiled_iou, one=1): PLUS_ONE},
        order={
            _lower_index_last: LATER_FIRST,
            _as_they_come: "Go by score, the best first, not in the order of the input.",
        },
        gone_too={True: NOT_GONE},
        last_only={True: "Compare with every box that stayed, not with the last one only."},
    ),
}


def _is_clear(question: Question, plus_one: bool) -> bool:
    """Return whether every author's rounding says the same: no IoU is almost the threshold.

    Whole numbers divided by 2 or 4 are exact; every IoU may be compared with 0 and 1.
    """
    boxes, threshold = question["boxes"] + ONE * plus_one, question["iou_threshold"]
    overlaps = exact.iou(boxes, boxes)
    apart = np.abs(overlaps - threshold) > 1e-4
    return threshold in (0, 1) or bool(
        np.all(apart | (threshold in (0.25, 0.5) and overlaps == threshold))
    )


@st.composite
def _scored_boxes(draw: DrawFn, *, ties: bool = False, **options: Any) -> Question:
    drawn = draw(strategies.boxes(min_count=1, max_count=6, **options))
    return {
        "boxes": drawn,
        "scores": draw(strategies.scores(len(drawn), negative=True, distinct=not ties)),
        "iou_threshold": draw(strategies.thresholds()),
    }


def _many(extent: int, iou_threshold: float, levels: int) -> Callable[[int], Question]:
    """Return a function: a size -> a question of so many boxes, with as many levels of scores."""

    def make(size: int) -> Question:
        order = np.random.default_rng(1).permutation(strategies.COUNTS[-1])[:size]
        return {
            "boxes": strategies.crowd(np.random.default_rng(0), size, extent=extent, min_side=0.5),
            "scores": order % levels / 4096 - 1 / 64,
            "iou_threshold": iou_threshold,
        }

    return make


_CHAIN = rows((0, 0, 4, 4), (2, 0, 6, 4), (1, 0, 5, 4), (8, 0, 9, 1))
_PROBES = (
    {"boxes": _CHAIN, "scores": np.array([0.9, 0.7, 0.8, 0.95]), "iou_threshold": 0.5},
    {"boxes": _CHAIN, "scores": np.array([0.4, 0.2, 0.3, 0.1]), "iou_threshold": 0.25},
    {"boxes": _CHAIN, "scores": np.array([0.1, 0.9, 0.5, 0.3]), "iou_threshold": 0.5},
    # IoU 1/2, and 15/25 with sides one longer
    {
        "boxes": rows((0, 0, 4, 4), (0, 0, 4, 2)),
        "scores": np.array([0.2, 0.6]),
        "iou_threshold": 0.5,
    },
    # IoU 1/3, and 15/35
    {
        "boxes": rows((0, 0, 4, 4), (2, 0, 6, 4)),
        "scores": np.array([0.6, 0.2]),
        "iou_threshold": 0.375,
    },
)
_KEYWORDS = frozenset({"iou_threshold"})


def check_nms(f: Callable[..., Any], *, ties: Ties = "first", plus_one: bool = False) -> Verdict:
    """Check greedy suppression: ``f(boxes, scores, iou_threshold=t)`` is the indices that stay.

    Parameters
    ----------
    f
        Takes boxes (N, 4), half-open, and scores (N,), any numbers; returns indices, the highest
        score first. An IoU equal to the threshold suppresses nothing.
    ties
        Of equal scores the lower index comes ``"first"``; or they come in ``"any"`` order: then
        what stays is right if suppression in some order of equal scores leaves it.
    plus_one
        For authors whose boxes are inclusive: their width is x2 - x1 + 1.

    Raises
    ------
    CheckError
        As in `check_iou`.

    Notes
    -----
    Equal scores are asked last. See `minirpn.boxes.nms`.
    """
    expect_one_of("ties", ties, ("first", "any"))
    answer, mistakes = exact.nms, NMS_MISTAKES
    if plus_one:
        answer = inclusive(exact.nms, lists=1)
        mistakes = inclusive_mistakes(exact.nms, NMS_MISTAKES, lists=1)
    exercise = Exercise(
        answer=answer,
        stages=_stages(plus_one),
        probes=_PROBES,
        mistakes=mistakes,
        keywords=_KEYWORDS,
        describe=_describe_indices,
        draw=draw_boxes_of,
    )
    if ties == "any":
        exercise = replace(exercise, describe=partial(_describe_any_order, one=ONE * plus_one))
    options = {"ties": ties, "plus_one": plus_one}
    others: dict[str, dict[str, Any]] = {
        'ties="any"': {"ties": "any"},
        "plus_one=True": {"plus_one": True},
    }
    contracts = _contracts(check_nms, f, options, others)
    return examine(f, exercise, contracts=contracts)


def _stages(plus_one: bool) -> tuple[Stage, ...]:
    """Return the questions about one class, those with equal scores last."""

    def clear(questions: st.SearchStrategy[Question]) -> st.SearchStrategy[Question]:
        return questions.filter(partial(_is_clear, plus_one=plus_one))

    # In half-open coordinates these have no area; inclusive ones would be of negative size.
    least = 1 if plus_one else 0
    wide = clear(
        st.one_of(
            _scored_boxes(extent=FAR, whole=True, min_side=1),
            _scored_boxes(extent=FAR, min_side=0.5),
            _scored_boxes(extent=8, whole=True, min_side=least),
        )
    )
    stored = st.one_of(
        strategies.stored(wide, ("boxes", "scores"), dtypes=(np.float64, np.float32)),
        strategies.stored(wide, ("boxes",), dtypes=DTYPES),
    )
    none = {"boxes": rows(), "scores": np.zeros(0), "iou_threshold": 0.5}
    most = strategies.COUNTS[-1]
    return (
        Drawn(clear(_scored_boxes(extent=8, min_side=1, whole=True))),
        Drawn(clear(_scored_boxes(extent=8, min_side=least, whole=True)), examples=60),
        Drawn(clear(_scored_boxes(extent=8, min_side=0.5)), examples=60),
        Drawn(stored),
        Asked((none,)),
        Grown(_many(64, 0.5, most), strategies.COUNTS),
        Grown(_many(256, 0.25, most), strategies.COUNTS),
        Grown(_many(256, 0.0, most), strategies.COUNTS),
        Drawn(clear(_scored_boxes(extent=8, min_side=1, whole=True, ties=True)), examples=60),
        Grown(_many(64, 0.5, 3), strategies.COUNTS),
    )


@st.composite
def _boxes_of_classes(draw: DrawFn, **options: Any) -> Question:
    """Draw boxes of a few classes from (0, 0) on, so that classes can be moved apart."""
    question = draw(_scored_boxes(**options))
    boxes = question["boxes"] - question["boxes"].min()
    one = st.sampled_from([0, 1, 21, 90])
    classes = draw(st.lists(one, min_size=len(boxes), max_size=len(boxes)))
    return {
        "boxes": boxes,
        "scores": question["scores"],
        "classes": np.array(classes, dtype=np.int64),
        "iou_threshold": question["iou_threshold"],
    }


def _with_classes(make: Callable[[int], Question]) -> Callable[[int], Question]:
    """Return a function: a size -> a question with boxes of 40 classes."""

    def make_with_classes(size: int) -> Question:
        question = make(size)
        classes = np.random.default_rng(2).integers(0, 40, strategies.COUNTS[-1])[:size]
        threshold = question.pop("iou_threshold")
        return question | {"classes": classes, "iou_threshold": threshold}

    return make_with_classes


def _in_classes(nms: Callable[..., Any]) -> Callable[..., list[int]]:
    """Return suppression in each class, the results in order of score."""

    def in_classes(
        boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou_threshold: float
    ) -> list[int]:
        kept = _class_by_class(boxes, scores, classes, iou_threshold, nms=nms)
        return sorted(kept, key=lambda index: (-scores[index], index))

    return in_classes


def _class_by_class(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    iou_threshold: float,
    *,
    nms: Callable[..., Any] = exact.nms,
    places: bool = False,
) -> list[int]:
    """Return what stays of one class after the other; with `places`, as places in the class."""
    kept: list[int] = []
    for one in np.unique(classes):
        members = np.flatnonzero(classes == one)
        stay = nms(boxes[members], scores[members], iou_threshold)
        kept += [int(k if places else members[k]) for k in stay]
    return kept


def _ignore_classes(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou_threshold: float
) -> list[int]:
    return exact.nms(boxes, scores, iou_threshold)


def _against_other_classes(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou_threshold: float
) -> list[int]:
    def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(classes[:, None] == classes[None], 0, exact.iou(a, b))

    return _greedy(boxes, scores, iou_threshold, overlaps_of=overlaps)


def _one_class(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou_threshold: float
) -> list[int]:
    kept = exact.batched_nms(boxes, scores, classes, iou_threshold)
    return [index for index in kept if classes[index] == classes.min()]


BATCHED_MISTAKES: Mistakes = {
    "Only boxes of one class suppress each other: did you ignore the classes?": _ignore_classes,
    "Give the indices by score, the highest first, not class by class.": _class_by_class,
    "These are places in the list of a class: give places in the input.": partial(
        _class_by_class, places=True
    ),
    "Boxes of one class suppress each other, not those of other classes.": _against_other_classes,
    "Give the boxes of all classes, not of the first alone.": _one_class,
    "Give the indices by score, the highest first, not in ascending order.": (
        lambda *question: sorted(exact.batched_nms(*question))
    ),
    "An IoU equal to the threshold does not suppress: use >, not >=.": _in_classes(
        partial(_greedy, suppresses=ge)
    ),
    PLUS_ONE: _in_classes(partial(_greedy, overlaps_of=partial(spoiled_iou, one=1))),
    "0/0: boxes without area share nothing, so they suppress nothing.": _in_classes(
        partial(_greedy, overlaps_of=unguarded_iou, suppresses=_is_not_below)
    ),
    LATER_FIRST: lambda boxes, scores, classes, iou_threshold: sorted(
        _class_by_class(
            boxes, scores, classes, iou_threshold, nms=partial(_greedy, order=_lower_index_last)
        ),
        key=lambda index: (-scores[index], -index),
    ),
}


def check_batched_nms(f: Callable[..., Any], *, ties: Ties = "first") -> Verdict:
    """Check suppression within classes: ``f(boxes, scores, classes, iou_threshold=t)``.

    Boxes (N, 4) with coordinates of at least 0, scores (N,), classes (N,) of whole numbers. What
    stays is what `check_nms` asks for in each class, all together, the highest score first; of
    equal scores the lower index, or, with ``ties="any"``, any. See `minirpn.boxes.nms`, and
    `check_iou` for what is raised.
    """
    expect_one_of("ties", ties, ("first", "any"))

    def clear(**options: Any) -> st.SearchStrategy[Question]:
        return _boxes_of_classes(**options).filter(partial(_is_clear, plus_one=False))

    # Not further: float32 has no room to move the classes of large boxes apart.
    wide = st.one_of(clear(extent=64, min_side=0.5), clear(extent=8, whole=True))
    stored = st.one_of(
        strategies.stored(wide, ("boxes", "scores"), dtypes=(np.float64, np.float32)),
        strategies.stored(wide, ("boxes",), dtypes=DTYPES),
    )
    none = np.zeros(0)
    most = strategies.COUNTS[-1]
    probes = tuple(
        question
        for probe in _PROBES
        for question in (_of_classes(probe, [0, 0, 1, 1]), _of_classes(probe, [1, 0, 1, 0]))
    )
    exercise = Exercise(
        answer=exact.batched_nms,
        stages=(
            Drawn(clear(extent=8, min_side=1, whole=True)),
            Drawn(clear(extent=8, whole=True), examples=50),
            Drawn(stored, examples=80),
            Asked(
                (
                    {
                        "boxes": rows(),
                        "scores": none,
                        "classes": none.astype(np.int64),
                        "iou_threshold": 0.5,
                    },
                    # Classes moved apart by too little still overlap.
                    *(
                        {
                            "boxes": boxes,
                            "scores": np.array([0.75, 0.5]),
                            "classes": np.array([0, 1]),
                            "iou_threshold": 0.25,
                        }
                        for boxes in (
                            rows((0, 0, 10, 10), (1, 1, 11, 11)),
                            rows((0, 0, 1, 1), (0, 0, 1, 1)),
                        )
                    ),
                    # Moved by too much, float32 keeps nothing of a small box.
                    {
                        "boxes": rows((0, 0, 1, 1), (0, 0, 1, 1)).astype(np.float32),
                        "scores": np.array([0.75, 0.5], np.float32),
                        "classes": np.array([90, 90]),
                        "iou_threshold": 0.25,
                    },
                )
            ),
            Grown(_with_classes(_many(64, 0.5, most)), strategies.COUNTS),
            Grown(_with_classes(_many(16, 0.25, most)), strategies.COUNTS),
            Grown(_with_classes(_many(FAR, 0.0, most)), strategies.COUNTS),
            Drawn(clear(extent=8, min_side=1, whole=True, ties=True), examples=50),
            Grown(_with_classes(_many(16, 0.5, 3)), strategies.COUNTS),
        ),
        probes=probes,
        mistakes=BATCHED_MISTAKES,
        keywords=_KEYWORDS,
        describe=_describe_indices if ties == "first" else _describe_any_order,
        draw=draw_boxes_of,
    )
    contracts = _contracts(check_batched_nms, f, {"ties": ties}, {'ties="any"': {"ties": "any"}})
    return examine(f, exercise, contracts=contracts)


def _of_classes(probe: Question, classes: list[int]) -> Question:
    boxes, threshold = probe["boxes"], probe["iou_threshold"]
    members = np.array(classes[: len(boxes)])
    return probe | {"classes": members} | {"iou_threshold": threshold}


def _contracts(
    check: Callable[..., Verdict],
    f: Callable[..., Any],
    options: dict[str, Any],
    others: dict[str, dict[str, Any]],
) -> Contracts:
    """Return the options that are not on, alone and all together."""
    off = {
        words: one for words, one in others.items() if any(options[k] != v for k, v in one.items())
    }
    if len(off) > 1:
        together: dict[str, Any] = {}
        for one in off.values():
            together |= one
        off[", ".join(off)] = together
    return {words: partial(check, f, **(options | one)) for words, one in off.items()}


def _describe_indices(question: Question, got: np.ndarray, right: np.ndarray) -> str:
    """Say which boxes stay, and which ones should."""
    same = not difference(got, right)
    return "" if same else f"yours keeps {plain(got)}, expected {plain(right)}"


def _describe_any_order(
    question: Question, got: np.ndarray, right: np.ndarray, *, one: np.ndarray | float = 0
) -> str:
    """Say what should stay, unless greedy suppression leaves this for some order of equal scores.

    If it does for any order, it does for the one that puts what stays first.
    """
    boxes, scores = question["boxes"] + one, question["scores"]
    stay = got.tolist() if got.ndim == 1 else []
    places = {index: place for place, index in enumerate(stay)}
    last = len(places)

    def order(scores: np.ndarray) -> list[int]:
        return sorted(
            range(len(scores)), key=lambda index: (-scores[index], places.get(index, last), index)
        )

    classes = question.get("classes", np.zeros(len(scores)))

    def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(classes[:, None] == classes[None], exact.iou(a, b), -1)

    possible = _greedy(boxes, scores, question["iou_threshold"], order=order, overlaps_of=overlaps)
    return "" if stay == possible else _describe_indices(question, got, right)
