"""The checks of chapter 14: what a detector learns from, and who may change the backbone."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minirpn.detector import BACKGROUND
from minirpn.rpn import IGNORE
from minirpn.testing import Verdict, check_equal


def _region_labels(
    overlaps: np.ndarray,
    gt_classes: np.ndarray,
    *,
    high: float = 0.5,
    low: float = 0.1,
    reaches: Callable[[Any, Any], Any] = operator.ge,
    enters: Callable[[Any, Any], Any] = operator.ge,
    more: int = 1,
    best: Callable[[np.ndarray], int] = np.argmax,
    nothing: int = IGNORE,
    background: int = BACKGROUND,
    rescues: bool = False,
) -> np.ndarray:
    """Return the label of each region; each option spoils one part of it."""
    labels = np.full(len(overlaps), nothing)
    for r, of_region in enumerate(overlaps):
        m = best(of_region)
        if reaches(of_region[m], high):
            labels[r] = gt_classes[m] + more
        elif enters(of_region[m], low):
            labels[r] = background
    if rescues:
        labels[overlaps.argmax(axis=0)] = gt_classes + more
    return labels


def _check_region_labels(f: Callable[..., Any]) -> Verdict:
    def right(overlaps: np.ndarray, gt_classes: np.ndarray) -> np.ndarray:
        return _region_labels(overlaps, gt_classes)

    spoiled = partial(partial, _region_labels)
    mistakes: dict[str, Callable[..., Any]] = {
        "Class 0 has the label 1, since 0 means background: add 1.": spoiled(more=0),
        "An IoU of exactly 0.5 makes an object: >=, not >.": spoiled(reaches=operator.gt),
        "An IoU of exactly 0.1 makes background: >=, not >.": spoiled(enters=operator.gt),
        "Both limits belong to what is above them: >=, not >.": spoiled(
            reaches=operator.gt, enters=operator.gt
        ),
        "Below 0.1 a region is neither: its label is -1.": spoiled(nothing=BACKGROUND),
        "0 and -1 are swapped: background is 0.": spoiled(nothing=BACKGROUND, background=IGNORE),
        "These are the limits of the RPN: a detector has 0.5 and 0.1.": spoiled(high=0.7, low=0.3),
        "Only the object that a region overlaps most gives it its class.": spoiled(
            best=lambda of_region: int(np.flatnonzero(of_region >= min(0.5, of_region.max()))[-1])
        ),
        "Take the object with the largest IoU, not the first one.": spoiled(
            best=lambda of_region: 0
        ),
        "The best region of an object has no right of its own here: that is a rule of the RPN.": (
            spoiled(rescues=True)
        ),
    }
    calls = [
        (np.array([[0.6], [0.4], [0.0]]), np.array([2])),
        (np.array([[0.2, 0.8], [0.7, 0.6], [0.3, 0.0]]), np.array([1, 4])),
        (np.array([[0.5], [0.1]]), np.array([0])),
        (np.array([[0.2], [0.05]]), np.array([0])),
    ]
    return check_equal(f, right, *calls, mistakes=mistakes)


def _slopes(
    w: float,
    r: float,
    d: float,
    *,
    of_w: Callable[[float, float], float] = lambda by_rpn, by_detector: by_rpn + by_detector,
    factor: float = 1,
    wants: tuple[float, float] = (1, 2),
    inner: bool = True,
    heads: bool = True,
) -> tuple[float, float, float]:
    """Return the slopes of both losses together; each option spoils one part of them."""
    rpn, detector = factor * (r * w - wants[0]), factor * (d * w - wants[1])
    of_heads = (rpn * w, detector * w) if heads else (rpn, detector)
    return of_w(rpn * (r if inner else 1), detector * (d if inner else 1)), *of_heads


def _check_slopes(f: Callable[..., Any]) -> Verdict:
    def right(w: float, r: float, d: float) -> tuple[float, float, float]:
        return _slopes(w, r, d)

    spoiled = partial(partial, _slopes)
    mistakes: dict[str, Callable[..., Any]] = {
        "w is in both losses: its slope has a part of each.": spoiled(
            of_w=lambda by_rpn, by_detector: by_rpn
        ),
        "w is in both losses: the part of the RPN is missing in its slope.": spoiled(
            of_w=lambda by_rpn, by_detector: by_detector
        ),
        "The two parts of w's slope are added, not averaged.": spoiled(
            of_w=lambda by_rpn, by_detector: (by_rpn + by_detector) / 2
        ),
        "The two parts of w's slope are added: is one subtracted?": spoiled(
            of_w=lambda by_rpn, by_detector: by_rpn - by_detector
        ),
        "The square has a factor of 1/2, so its slope has no factor of 2.": spoiled(factor=2),
        "The sign is wrong: the slope of (r w - 1)^2 / 2 by r is (r w - 1) w.": spoiled(factor=-1),
        "By w there is a factor inside: r for the RPN, d for the detector.": spoiled(inner=False),
        "By r and by d there is a factor inside: w.": spoiled(heads=False),
        "By each number there is a factor inside: what it is multiplied with.": spoiled(
            inner=False, heads=False
        ),
        "The detector should give 2, not 1.": spoiled(wants=(1, 1)),
    }
    calls = [(1.0, 3.0, 5.0), (2.0, 1.0, 3.0), (0.5, 0.5, 0.5)]
    return check_equal(f, right, *calls, mistakes=mistakes)


def _fits(
    steps: list[set[str]],
    *,
    same_step: bool = True,
    never: bool = False,
    ever: bool = False,
    last_only: bool = False,
    turned: bool = False,
) -> list[bool]:
    """Return whether RPN and detector fit; each option spoils one part of the rule."""
    version = 0
    seen: dict[str, int] = {}
    for learns in steps[-1:] if last_only else steps:
        before = version
        version += "backbone" in learns
        seen |= dict.fromkeys(learns, version if same_step else before)
    parts = ["detector", "rpn"] if turned else ["rpn", "detector"]
    if ever:
        return [part in seen for part in parts]
    return [seen.get(part, version if never else -1) == version for part in parts]


def _check_fits(f: Callable[..., Any]) -> Verdict:
    def right(steps: list[set[str]]) -> list[bool]:
        return _fits(steps)

    spoiled = partial(partial, _fits)
    mistakes: dict[str, Callable[..., Any]] = {
        "It is not enough to have learned: has the backbone learned since then?": spoiled(
            ever=True
        ),
        "Learning in the same step as the backbone is fine: >=, not >.": spoiled(same_step=False),
        "A part that has never learned does not fit.": spoiled(never=True),
        "Look at all steps: a part may have learned before the last one.": spoiled(last_only=True),
        "The RPN comes first, then the detector.": spoiled(turned=True),
    }
    rpn, own, heads = {"backbone", "rpn"}, {"backbone", "detector"}, [{"rpn"}, {"detector"}]
    cases = [[rpn], [rpn, own], [rpn, own, heads[0]], [rpn, own, *heads]]
    cases += [[{"backbone", "rpn", "detector"}], [{"rpn"}, {"backbone"}], [{"detector"}]]
    return check_equal(f, right, *((case,) for case in cases), mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_region_labels": _check_region_labels,
    "my_slopes": _check_slopes,
    "my_fits": _check_fits,
}
