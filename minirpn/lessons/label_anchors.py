"""The checks of chapter 04: the labels of anchors, and the random mini-batch of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np

from minirpn.lessons import parts
from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE
from minirpn.testing import Verdict, check_label_anchors
from minirpn.testing.examine import Asked, Exercise, FormError, Question, examine

_MOST_POSITIVES, _BATCH = 128, 256  # section 3.1.3
_KINDS = (POSITIVE, NEGATIVE, IGNORE)
_SEEDS = 200
_DEVIATIONS = 8  # of 500 fair draws, one in 10^12 is farther from its mean


def _check_labels(f: Callable[..., Any]) -> Verdict:
    # Arrays that the function refuses are none of a learner's business: `boxes.iou` does.
    return replace(check_label_anchors(f), refused=())


# === Counts and members ===========================================================================
def counts_of(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function (labels, seed) -> how many anchors of each kind became which (3, 3).

    Which ones are drawn is free; how many are is not.
    """

    @wraps(f)
    def counts(labels: np.ndarray, seed: int) -> Any:
        drawn = f(labels, seed)
        if drawn is ...:
            return ...
        drawn = np.asarray(drawn)
        if drawn.shape != labels.shape:
            raise FormError(
                f"has the shape {drawn.shape}, expected {labels.shape}: a label for each anchor"
            )
        if not np.isin(drawn, _KINDS).all():
            raise FormError("gives labels that are not 1, 0 or -1")
        return np.array(
            [[np.sum((labels == was) & (drawn == now)) for now in _KINDS] for was in _KINDS]
        )

    return counts


def _labels_of(positives: int, negatives: int, ignored: int) -> np.ndarray:
    """Return so many labels of each kind, mixed."""
    labels = np.repeat(np.array(_KINDS, dtype=np.int8), (positives, negatives, ignored))
    return np.random.default_rng(0).permutation(labels)


_QUESTIONS: tuple[Question, ...] = (
    {"labels": np.array([1, 0, -1, 0, 1, 0, -1], dtype=np.int8), "seed": 0},
    {"labels": _labels_of(50, 400, 100), "seed": 1},
    {"labels": _labels_of(200, 300, 40), "seed": 2},
    {"labels": _labels_of(200, 60, 40), "seed": 3},
    {"labels": _labels_of(0, 300, 10), "seed": 4},
    {"labels": _labels_of(0, 0, 5), "seed": 5},
)

Symptom = Callable[[np.ndarray, np.ndarray], bool]
"""Of the counts (3, 3) that are given and the right ones."""


def _is_filled_with_zeros(got: np.ndarray, right: np.ndarray) -> bool:
    return bool(got[2, 1] == got[2].sum() > 0 and got[1, 1] == got[1].sum())


_SYMPTOMS: dict[str, Symptom] = {
    "What is not drawn is ignored: begin with -1 everywhere, not with 0.": _is_filled_with_zeros,
    "An ignored anchor is never drawn.": lambda got, right: bool(got[2, :2].any()),
    "A drawn anchor keeps its label.": lambda got, right: bool(got[0, 1] or got[1, 0]),
    "Draw at most 128 positives.": lambda got, right: bool(got[0, 0] > _MOST_POSITIVES),
    "Negatives take the places of missing positives: draw 256 in all, not 128 of each.": (
        lambda got, right: got[0, 0] == right[0, 0] and got[1, 1] == _MOST_POSITIVES < right[1, 1]
    ),
    "Draw 256 in all: the positives take up some of the places.": (
        lambda got, right: got[0, 0] + got[1, 1] > _BATCH
    ),
    "Fill up with negatives to 256, not to as many as there are positives.": (
        lambda got, right: got[0, 0] == got[1, 1] < right[1, 1]
    ),
}
_REPLACED = "An anchor is drawn once: replace=False."
_TOO_FEW = "Where there are not more than you need, take all."


def _check_counts(f: Callable[..., Any]) -> Verdict:
    counts, right_counts = counts_of(f), counts_of(parts.sample)

    def given(labels: np.ndarray, seed: int) -> Any:
        """Return what the function gives; None if it raises, which is no symptom of these."""
        try:
            return counts(labels, seed)
        except Exception:
            return None

    def showing(symptom: Symptom) -> Callable[..., Any]:
        """Return the function itself where it shows the symptom: it gives what the function does.

        The draws of a learner are not known beforehand, so no mistake can be written down.
        """

        def mistake(labels: np.ndarray, seed: int) -> Any:
            got, right = given(labels, seed), right_counts(labels, seed)
            if got is None:
                return None
            return got if np.array_equal(got, right) or symptom(got, right) else None

        return mistake

    def with_replacement(labels: np.ndarray, seed: int) -> Any:
        got, right = given(labels, seed), right_counts(labels, seed)
        if got is None:
            return None
        others = [given(labels, other) for other in range(10, 20)]
        varies = not all(np.array_equal(got, other) for other in others)
        fewer = (np.diag(got)[:2] <= np.diag(right)[:2]).all()
        return got if np.array_equal(got, right) or (varies and fewer) else None

    def asks_for_too_many(labels: np.ndarray, seed: int) -> Any:
        try:
            got = counts(labels, seed)
        except ValueError as error:
            if "larger" in str(error):
                raise  # as the function does
            return None
        return got if np.array_equal(got, right_counts(labels, seed)) else None

    exercise = Exercise(
        answer=right_counts,
        stages=(Asked(()),),
        probes=_QUESTIONS,
        mistakes={
            **{hint: showing(symptom) for hint, symptom in _SYMPTOMS.items()},
            _REPLACED: with_replacement,
            _TOO_FEW: asks_for_too_many,
        },
        describe=_describe_counts,
        plainly=False,
        telling=True,
    )
    return examine(counts, exercise)


def _describe_counts(question: Question, got: np.ndarray, right: np.ndarray) -> str:
    if np.array_equal(got, right):
        return ""
    changed = int(got[0, 1] + got[1, 0] + got[2, 0] + got[2, 1])
    also = f", and gives {changed} anchors another label" if changed else ""
    return (
        f"yours keeps {got[0, 0]} positives and {got[1, 1]} negatives{also}; "
        f"expected {right[0, 0]} and {right[1, 1]}"
    )


# === Chance =======================================================================================
def _often(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function labels -> how often each anchor is drawn in many seeds (K,)."""

    @wraps(f)
    def often(labels: np.ndarray) -> Any:
        samples = [f(labels.copy(), seed) for seed in range(_SEEDS)]
        if any(sample is ... for sample in samples):
            return ...
        if not np.array_equal(samples[0], f(labels.copy(), 0)):
            raise FormError("draws otherwise for the same seed: all chance must come from rng")
        return np.sum(np.array(samples) != IGNORE, axis=0)

    return often


def _shares(labels: np.ndarray) -> np.ndarray:
    """Return the probability of each anchor to be drawn."""
    drawn = parts.sample(labels, 0)
    shares = np.zeros(len(labels))
    for kind in (POSITIVE, NEGATIVE):
        shares[labels == kind] = np.sum(drawn == kind) / np.sum(labels == kind)
    return shares


def _describe_chance(question: Question, got: np.ndarray, mean: np.ndarray) -> str:
    margin = _DEVIATIONS * np.sqrt(mean * (1 - mean / _SEEDS))
    far = np.flatnonzero(np.abs(got - mean) > margin)
    if far.size == 0:
        return ""
    k = int(far[0])
    return f"in {_SEEDS} seeds yours draws anchor {k} {got[k]} times, expected about {mean[k]:.0f}"


def _check_chance(f: Callable[..., Any]) -> Verdict:
    often = _often(f)

    def only(kind: int, from_end: bool) -> Callable[..., Any]:
        """Return the function itself where it draws the same first or last ones every time."""

        def mistake(labels: np.ndarray) -> Any:
            of_kind = often(labels)[labels == kind]
            of_kind = of_kind[::-1] if from_end else of_kind
            count = np.sum(parts.sample(labels, 0) == kind)
            same = (of_kind[:count] == _SEEDS).all() and (of_kind[count:] == 0).all()
            return often(labels) if same else None

        return mistake

    def always_the_same(labels: np.ndarray) -> Any:
        got = often(labels)
        return got if np.isin(got, (0, _SEEDS)).all() else None

    mistakes = {
        f"Draw the {word} at random: these are always the {place} ones.": only(kind, from_end)
        for kind, word in ((POSITIVE, "positives"), (NEGATIVE, "negatives"))
        for place, from_end in (("first", False), ("last", True))
    }
    exercise = Exercise(
        answer=lambda labels: _SEEDS * _shares(labels),
        stages=(Asked(()),),
        probes=({"labels": _labels_of(200, 300, 40)},),
        mistakes={
            **mistakes,
            "Another seed must draw other anchors: use rng.": always_the_same,
        },
        describe=_describe_chance,
        plainly=False,
        telling=True,
    )
    return examine(often, exercise)


def _check_sample(f: Callable[..., Any]) -> Verdict:
    counted = _check_counts(f)
    if not counted:
        return counted
    return replace(counted, questions=counted.questions + _check_chance(f).questions)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_labels": _check_labels,
    "my_sample": _check_sample,
}
